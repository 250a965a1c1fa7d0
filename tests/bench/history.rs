//! What years of decisions cost.

use std::time::Instant;

use jiff::SignedDuration;
use jobber_reviewd::testing::model::{
    AskId, Decision, Delivery, EncodedId, Outcome, SkipReason, Stream, Subject, Trigger, WorkRef,
};
use jobber_reviewd::testing::protocol::{Scene, Status, Verb as _};
use jobber_reviewd::testing::{Clock as _, Plan, PlanCommit, SystemClock};

use crate::{Bench, RUNS, account, context, median, secrets, tell};

/// `status` over so many accounts, with so many decisions each.
pub(crate) fn measure(bench: &Bench) {
    for (accounts, each) in [(1_000, 100), (1_000, 1_000)] {
        let installation = bench.install(accounts);
        let context = context(&installation, &secrets());
        bench.runtime.block_on(async {
            for number in 0..accounts {
                let id = account(number);
                let known = context.store.account(&id).await.unwrap().unwrap();
                let now = SystemClock.now();
                let commit = PlanCommit {
                    planned_for: (known.trigger, known.asks_from),
                    account: id,
                    stream: Stream::Jobs,
                    plan: Plan {
                        skipped: (0..each).map(|work| past(number, work)).collect(),
                        ..Plan::default()
                    },
                    reconciled_at: None,
                    by_event: false,
                    burst_above: 0,
                    now,
                };
                context.store.commit_plan(commit).await.unwrap();
            }
        });
        let times = (0..RUNS)
            .map(|_| {
                let begun = Instant::now();
                let report = bench.runtime.block_on(async {
                    let (tell, _deaf) = tokio::sync::mpsc::channel(1);
                    Status {}.run(Scene { context: &context, is_daemon: false, tell }).await.unwrap()
                });
                assert_eq!(report.accounts.len(), accounts);
                begun.elapsed().as_secs_f64() * 1000.0
            })
            .collect();
        tell(&format!("status, {} decisions", accounts * each), median(times), "ms");
        bench.runtime.block_on(context.store.close());
    }
}

/// One of two years of decisions.
fn past(account: usize, number: usize) -> Decision {
    let days = i64::try_from(number % 730).unwrap();
    let at = SystemClock.now() - SignedDuration::from_hours(24 * days);
    let outcome = if number.is_multiple_of(2) {
        Outcome::Asked {
            ask_id: AskId::new(format!("ask_{account}_{number}")),
            delivery: Delivery::Delivered { at, status: 200, attempts: 1 },
        }
    } else {
        Outcome::Skipped { reason: SkipReason::AlreadyAsked }
    };
    Decision {
        work: WorkRef::job(EncodedId::new(format!("Z2lkOi8vSm9iYmVyL0pvYi8{number}"))),
        released_at: None,
        held_for: SignedDuration::ZERO,
        trigger: Trigger::JobCompleted,
        finished_at: at,
        at,
        outcome,
        saw: [("payload_sha256".to_owned(), "0".repeat(64))].into(),
        subject: Subject::default(),
    }
}
