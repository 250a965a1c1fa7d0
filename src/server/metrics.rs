//! The listener for Prometheus: counters of the steps, and gauges computed at each scrape.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::SignedDuration;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::limits::{Limits, serve};
use crate::clock::minus;
use crate::context::Context;
use crate::domain::model::{AccountId, AlertKind, EntryState, OutboxEntry};
use crate::jobber::API_VERSION;
use crate::store::StoreError;
use crate::telemetry::{self, OfAccount, Standing};

/// Histogram buckets of request times in seconds, up to the longest timeout.
const BUCKETS: &[f64] = &[0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0];

/// How far back the works of an account are counted.
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

const UPKEEP: Duration = Duration::from_secs(5);

/// How long a series is shown after its last update.
const FORGOTTEN: Duration = Duration::from_hours(1);

#[derive(Debug)]
pub struct Metrics {
    listener: Arc<TcpListener>,
    router: Router,
    handle: PrometheusHandle,
}

#[derive(Clone)]
struct Board {
    context: Arc<Context>,
    handle: PrometheusHandle,
}

impl Metrics {
    /// Starts counting, and shows the counters on `listener`. Once per process.
    pub fn new(listener: Arc<TcpListener>, context: Arc<Context>) -> Result<Self, BuildError> {
        let builder = PrometheusBuilder::new().set_buckets(BUCKETS)?;
        // The series of removed accounts must disappear.
        let builder = builder.idle_timeout(MetricKindMask::GAUGE, Some(FORGOTTEN));
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(BuildError::FailedToSetGlobalRecorder)?;
        telemetry::describe();
        let router =
            Router::new().route("/metrics", get(board)).with_state(Board { context, handle: handle.clone() });
        Ok(Self { listener, router, handle })
    }

    pub async fn run(self, stop: CancellationToken) {
        // Aggregates regularly, also if nobody scrapes.
        let upkeep = async {
            loop {
                tokio::time::sleep(UPKEEP).await;
                self.handle.run_upkeep();
            }
        };
        tokio::select! {
            () = serve(self.listener, self.router, Limits::default(), stop) => {}
            () = upkeep => {}
        }
    }
}

async fn board(State(Board { context, handle }): State<Board>) -> Response {
    match standing(&context).await {
        Ok(standing) => telemetry::show(&standing),
        Err(error) => return (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
    handle.run_upkeep();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render()).into_response()
}

async fn standing(context: &Context) -> Result<Standing, StoreError> {
    let (store, now) = (&context.store, context.clock.now());
    let mut standing = Standing {
        now,
        api_version: API_VERSION,
        store_bytes: store.size_on_disk().await,
        clock_ahead: context.session.jobber_clock().ahead().map(|ahead| ahead.as_secs_f64()),
        ..Standing::default()
    };
    let mut states = ["connected", "paused", "needs_authorization", "disconnected"].map(|state| (state, 0));
    let mut active = Vec::new();
    for id in store.account_ids().await? {
        let Some(account) = store.account(&id).await? else { continue };
        if let Some((_, number)) = states.iter_mut().find(|(state, _)| *state == account.state()) {
            *number += 1;
        }
        if account.is_active() {
            let last = store.health(&account.id).await?.last_success.unwrap_or(account.connected_at);
            standing.oldest_success = Some(standing.oldest_success.map_or(last, |oldest| oldest.min(last)));
            active.push((account.name, account.id, last));
        }
    }
    active.sort();
    active.truncate(context.config.metrics.accounts);
    let ids: Vec<AccountId> = active.iter().map(|(_, id, _)| id.clone()).collect();
    let tallies = store.tallies(&ids, minus(now, WEEK)).await?;
    for ((name, id, last_success), (week, open)) in active.into_iter().zip(tallies) {
        let skipped = week.skipped.values().sum();
        standing.each.push(OfAccount {
            points: context.session.points(&id),
            id: id.to_string(),
            name,
            last_success,
            works: [
                ("asked", week.asked),
                ("skipped", skipped),
                ("waiting", open.waiting),
                ("held", open.held),
            ],
        });
    }
    standing.accounts = states.into();
    standing.candidates = store.waiting_count().await?;
    let count = |[due, leased, dead]: &mut [usize; 3], entry: OutboxEntry| match entry.state {
        EntryState::Due { .. } => *due += 1,
        EntryState::Leased { .. } => *leased += 1,
        EntryState::Dead { .. } => *dead += 1,
    };
    let [due, leased, dead] = store.fold_entries([0; 3], count).await?;
    standing.outbox = [("due", due), ("leased", leased), ("dead", dead)];
    standing.next_due =
        [("candidate", store.next_candidate_due().await?), ("ask", store.next_message_due().await?)];
    let mut kinds = AlertKind::ALL.map(|kind| (kind.as_str(), 0));
    for alert in context.notifier.standing().await? {
        if let Some((_, number)) = kinds.iter_mut().find(|(kind, _)| *kind == alert.kind.as_str()) {
            *number += 1;
        }
    }
    standing.alerts = kinds.into();
    Ok(standing)
}
