//! Somebody edits all their old jobs at once.
//!
//! `JOBBER_REVIEWD_BACKLOG=60000 cargo test --test it backlog -- --nocapture` is the long run.

use jobber_reviewd::testing::model::Trigger;
use jobber_sandbox::Op;
use serde_json::json;

use crate::support::*;

/// More than one part of a list (5,000 rows), all changed in the same second.
const BACKLOG: u32 = 6_000;

#[tokio::test]
async fn a_back_log_is_read_to_its_end_in_parts_and_new_work_is_asked_about() {
    let jobs =
        std::env::var("JOBBER_REVIEWD_BACKLOG").map_or(BACKLOG, |text| text.parse().expect("a number"));
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    // The local Jobber's clock stands during a sweep, so that points do not come back as they do in life.
    app.switch(&ace, json!({"bucket_size": 10_000_000.0, "bucket_refill": 1_000_000.0}));
    app.pass(hours(1));
    let customer = ace.customer(&app);
    let old = ace.job(&app, &customer, "Old work", &[]);
    ace.close(&app, &old);
    ace.set(&app, old.id.as_str(), "completedAt", json!("2026-01-05T10:00:00Z"));
    app.sandbox.control(Op::Copy { account: ace.number, id: old.id.to_string(), copies: jobs }).unwrap();
    // Later than sweeps overlap: until something changes later, what changed last is read again each time.
    app.pass(minutes(15));
    let new = ace.closed_job(&app);

    let asked = || app.sandbox.stats(ace.number).operations.get("Jobs").copied().unwrap_or_default();
    let (before, mut sweeps) = (asked(), 0);
    loop {
        let begun = asked();
        app.sweep().await;
        sweeps += 1;
        app.pass(minutes(5));
        // Read to its end: the next sweep has nothing to catch up with.
        if asked() - begun <= 2 {
            break;
        }
        assert!(sweeps <= jobs / 5_000 + 3, "it is not read to its end");
    }
    let requests = asked() - before;
    println!("{jobs} jobs: {sweeps} sweeps, {requests} requests");
    // A page has 100 rows, and each row is read once.
    assert!(
        requests <= u64::from(jobs) / 100 + 5 * u64::from(sweeps),
        "{requests} requests in {sweeps} sweeps"
    );
    assert!(app.waits(&ace, &new));
    app.pass(hours(2));
    app.once().await;
    app.once().await;
    assert_eq!(app.receiver.ids().len(), 1, "only the new work is asked about");
}
