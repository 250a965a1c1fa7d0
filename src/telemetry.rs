//! The metrics and their names. Prometheus reads them on their own listener (`server/metrics.rs`).
//!
//! Steps count through the functions here. Without the listener, counting costs almost nothing and has no
//! effect.

pub mod traces;

use std::time::Duration;

use jiff::Timestamp;
use metrics::{Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

#[derive(Debug, Clone, Copy)]
pub struct Series {
    pub name: &'static str,
    /// Its meaning, with unit and labels.
    pub about: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Seconds,
}

macro_rules! series {
    ($($constant:ident = $kind:ident $name:literal $about:literal;)+) => {
        $(const $constant: &str = $name;)+

        /// All metrics.
        pub const ALL: &[Series] = &[$(Series { name: $name, about: $about, kind: Kind::$kind },)+];
    };
}

series! {
    SWEEPS = Counter "jobber_reviewd_sweeps_total" "Sweeps of accounts, by `result`: polled, failed, lost, resting, busy or idle.";
    DECISIONS = Counter "jobber_reviewd_decisions_total" "Decisions about finished work, by `outcome` (asked, skipped, deferred, superseded, failed) and `reason`.";
    DELIVERIES = Counter "jobber_reviewd_deliveries_total" "Attempts to deliver an ask, a change or an event, by `result`: delivered, again, dead or gone.";
    REFRESHES = Counter "jobber_reviewd_token_refreshes_total" "Refreshes of tokens, by `result`: refreshed, refused, app_refused or unanswered.";
    REQUESTS = Seconds "jobber_reviewd_request_seconds" "How long requests took, in seconds, by `to`: jobber or receiver.";
    EVENTS = Counter "jobber_reviewd_events_total" "Webhooks of Jobber's, by `result`: new, known, swept, forwarded, unknown, other_topic, nonsense or refused.";
    ACTIONS = Counter "jobber_reviewd_actions_total" "Writes in Jobber, by `action` and `outcome`: done, refused, partly, unknown or not_sent.";
    LAST_SUCCESS = Gauge "jobber_reviewd_account_last_success_seconds" "Seconds since an account was last read completely, by `account` and `account_name`; for active accounts, at most `metrics.accounts`.";
    LAST_SUCCESS_AT = Gauge "jobber_reviewd_account_last_success_timestamp_seconds" "When that was, in seconds since 1970.";
    OLDEST_SUCCESS_AT = Gauge "jobber_reviewd_oldest_success_timestamp_seconds" "When the active account that was not read for the longest time was last read completely, in seconds since 1970; of all accounts.";
    ACCOUNT_WORKS = Gauge "jobber_reviewd_account_works" "Finished work of an account, by `account`, `account_name` and `outcome`: asked and skipped in the last seven days, waiting and held now; at most `metrics.accounts` accounts.";
    ACCOUNTS = Gauge "jobber_reviewd_accounts" "Accounts, by `state`.";
    CLOCK_AHEAD = Gauge "jobber_reviewd_clock_ahead_seconds" "Seconds by which the machine's clock was ahead of Jobber's at its last answer; negative if it was behind.";
    POINTS = Gauge "jobber_reviewd_points_available" "API points that an account had left at Jobber's last answer, by `account` and `account_name`; at most `metrics.accounts` accounts.";
    CANDIDATES = Gauge "jobber_reviewd_candidates" "Finished work that waits until it is due.";
    OUTBOX = Gauge "jobber_reviewd_outbox" "Asks on their way, by `state`: due, leased or dead.";
    NEXT_DUE_AT = Gauge "jobber_reviewd_next_due_timestamp_seconds" "When the next one is or was due, in seconds since 1970, by `what`: candidate or ask; 0 if there is none.";
    OVERDUE = Gauge "jobber_reviewd_overdue_seconds" "How long the oldest one is overdue, in seconds, by `what`: candidate or ask.";
    ALERTS = Gauge "jobber_reviewd_alerts" "Open alerts, by `kind`.";
    STORE_BYTES = Gauge "jobber_reviewd_store_bytes" "Size of the store on disk, in bytes.";
    BUILD = Gauge "jobber_reviewd_build_info" "Always 1, by `version` and `api_version`.";
}

pub fn describe() {
    for Series { name, about, kind } in ALL {
        match kind {
            Kind::Counter => describe_counter!(*name, *about),
            Kind::Gauge => describe_gauge!(*name, *about),
            Kind::Seconds => describe_histogram!(*name, Unit::Seconds, *about),
        }
    }
}

pub fn swept(result: &'static str) {
    counter!(SWEEPS, "result" => result).increment(1);
}

pub fn decided(outcome: &'static str, reason: &'static str) {
    counter!(DECISIONS, "outcome" => outcome, "reason" => reason).increment(1);
}

pub fn delivered(result: &'static str, took: Duration) {
    counter!(DELIVERIES, "result" => result).increment(1);
    histogram!(REQUESTS, "to" => "receiver").record(took.as_secs_f64());
}

pub fn refreshed(result: &'static str) {
    counter!(REFRESHES, "result" => result).increment(1);
}

pub fn heard(result: &'static str) {
    counter!(EVENTS, "result" => result).increment(1);
}

pub fn acted(action: &str, outcome: &'static str) {
    counter!(ACTIONS, "action" => action.to_owned(), "outcome" => outcome).increment(1);
}

pub fn asked_jobber(took: Duration) {
    histogram!(REQUESTS, "to" => "jobber").record(took.as_secs_f64());
}

/// What is shown of one account.
#[derive(Debug, Clone)]
pub struct OfAccount {
    pub id: String,
    pub name: String,
    pub last_success: Timestamp,
    /// Works by outcome.
    pub works: [(&'static str, usize); 4],
    pub points: Option<u64>,
}

#[derive(Debug, Clone, Default)]
pub struct Standing {
    pub now: Timestamp,
    /// Those that have series of their own.
    pub each: Vec<OfAccount>,
    /// When the account that was not read for the longest time was read.
    pub oldest_success: Option<Timestamp>,
    pub accounts: Vec<(&'static str, usize)>,
    pub candidates: usize,
    pub outbox: [(&'static str, usize); 3],
    /// When the next one is or was due.
    pub next_due: [(&'static str, Option<Timestamp>); 2],
    pub alerts: Vec<(&'static str, usize)>,
    pub store_bytes: u64,
    /// Seconds by which the machine's clock was ahead of Jobber's at its last answer.
    pub clock_ahead: Option<f64>,
    pub api_version: &'static str,
}

#[expect(clippy::cast_precision_loss, reason = "numbers are far below what a float holds")]
pub fn show(standing: &Standing) {
    let since_1970 = |at: Timestamp| at.as_millisecond() as f64 / 1000.0;
    let over = |at: Timestamp| standing.now.duration_since(at).as_secs_f64().max(0.0);
    for OfAccount { id, name, last_success, works, points } in &standing.each {
        let of = [Label::new("account", id.clone()), Label::new("account_name", name.clone())];
        gauge!(LAST_SUCCESS, of.to_vec()).set(over(*last_success));
        gauge!(LAST_SUCCESS_AT, of.to_vec()).set(since_1970(*last_success));
        for (outcome, number) in works {
            let labels = [&of[..], &[Label::new("outcome", *outcome)]].concat();
            gauge!(ACCOUNT_WORKS, labels).set(*number as f64);
        }
        if let Some(points) = points {
            gauge!(POINTS, of.to_vec()).set(*points as f64);
        }
    }
    gauge!(OLDEST_SUCCESS_AT).set(since_1970(standing.oldest_success.unwrap_or(standing.now)));
    if let Some(ahead) = standing.clock_ahead {
        gauge!(CLOCK_AHEAD).set(ahead);
    }
    for (state, number) in &standing.accounts {
        gauge!(ACCOUNTS, "state" => *state).set(*number as f64);
    }
    for (state, number) in &standing.outbox {
        gauge!(OUTBOX, "state" => *state).set(*number as f64);
    }
    for (what, at) in &standing.next_due {
        gauge!(OVERDUE, "what" => *what).set(at.map_or(0.0, over));
        gauge!(NEXT_DUE_AT, "what" => *what).set(at.map_or(0.0, since_1970));
    }
    for (kind, number) in &standing.alerts {
        gauge!(ALERTS, "kind" => *kind).set(*number as f64);
    }
    gauge!(CANDIDATES).set(standing.candidates as f64);
    gauge!(STORE_BYTES).set(standing.store_bytes as f64);
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION"), "api_version" => standing.api_version).set(1.0);
}
