//! Jobber misbehaves.

use jobber_reviewd::testing::model::{Outcome, Trigger};
use jobber_reviewd::testing::protocol::Status;
use jobber_reviewd::testing::{Concurrency, Effect, Percent, SweepOutcome, Swept, no_progress};
use jobber_sandbox::{FaultKind, Op};
use serde_json::json;

use crate::support::*;

/// A failed read stores nothing and moves nothing; the next sweep finds everything.
async fn survives(app: &TestApp, ace: &Contractor, what: &str, trouble: impl Fn(), relief: impl Fn()) {
    app.pass(minutes(10));
    let before = app.receiver.got().len();
    let job = ace.closed_job(app);
    let watermarks = app.context.store.account(&ace.id).await.unwrap().unwrap().watermarks;
    trouble();
    let report = app.once().await;
    assert_eq!(report.errors.len(), 1, "{what}");
    assert!(!report.accounts[0].polled, "{what}");
    assert_eq!(app.context.store.account(&ace.id).await.unwrap().unwrap().watermarks, watermarks, "{what}");
    assert_eq!(app.decision(ace, &job), None, "{what}");
    relief();
    app.pass(minutes(5));
    app.sweep().await;
    assert!(app.waits(ace, &job), "{what}");
    app.pass(hours(2));
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), before + 1, "{what}");
}

#[tokio::test]
async fn a_failed_read_is_never_empty_and_never_deleted() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.sweep().await;
    let kinds = [
        FaultKind::Http { status: 500, retry_after: None },
        FaultKind::Http { status: 502, retry_after: None },
        FaultKind::Http { status: 429, retry_after: Some("60".into()) },
        FaultKind::WaitingRoom,
        FaultKind::Nonsense,
        FaultKind::Reset,
        FaultKind::Truncate,
    ];
    for kind in kinds {
        let fault = || app.fault(&ace, kind.clone(), 1, Some("Jobs"));
        survives(&app, &ace, &format!("{kind:?}"), fault, || {}).await;
    }
    let switches = [
        ("hidden field", json!({"hidden_fields": ["Query.jobs"]}), json!({"hidden_fields": []})),
        ("hidden object", json!({"hidden_types": ["Job"]}), json!({"hidden_types": []})),
        ("errors beside data", json!({"partial_errors": true}), json!({"partial_errors": false})),
        ("another version", json!({"served_version": "2022-09-01"}), json!({"served_version": null})),
        ("request limit", json!({"requests_per_window": 0}), json!({"requests_per_window": 2500})),
        ("a query too dear", json!({"bucket_size": 10.0}), json!({"bucket_size": 10000.0})),
    ];
    for (what, on, off) in switches {
        let switch = |set: &serde_json::Value| app.switch(&ace, set.clone());
        survives(&app, &ace, what, || switch(&on), || switch(&off)).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_recheck_that_fails_leaves_the_candidate_waiting() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    for operation in ["Details", "Extras"] {
        app.pass(minutes(10));
        let job = ace.closed_job(&app);
        app.sweep().await;
        app.fault(&ace, FaultKind::Http { status: 503, retry_after: None }, 1, Some(operation));
        app.pass(hours(2));
        let report = app.once().await;
        assert_eq!((report.errors.len(), report.accounts[0].asked), (1, 0), "{operation}");
        assert!(app.waits(&ace, &job));
        assert!(app.context.store.health(&ace.id).await.unwrap().asking_fails_since.is_some());
        // It waits for a moment: a dead Jobber is not asked in a loop.
        assert_eq!(app.sweep().await.accounts[0].asked, 0);
        app.pass(minutes(1));
        assert_eq!(app.sweep().await.accounts[0].asked, 1, "{operation}");
        assert_eq!(app.context.store.health(&ace.id).await.unwrap().asking_fails_since, None);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_record_that_jobber_cannot_give_keeps_no_other_one_waiting() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(minutes(10));
    let poison = ace.closed_job(&app);
    // A field that must not be null is: the whole answer is an error, today and tomorrow.
    ace.set(&app, poison.id.as_str(), "jobberWebUri", json!(null));
    app.pass(minutes(1));
    let sound = ace.closed_job(&app);
    app.sweep().await;
    app.pass(hours(2));
    let report = app.once().await;
    assert_eq!((report.errors.len(), report.delivered), (1, 1));
    assert!(app.waits(&ace, &poison));
    assert!(!app.waits(&ace, &sound));

    // It is tried again, and in the end it is stale, without having been read.
    app.pass(hours(24 * 7));
    app.once().await;
    assert_eq!(app.skip_reason(&ace, &poison), jobber_reviewd::testing::model::SkipReason::TooOld);
    app.finish().await;
}

#[tokio::test]
async fn extras_that_cannot_be_had_are_done_without() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(minutes(10));
    ace.closed_job(&app);
    app.sweep().await;
    app.fault(&ace, FaultKind::Nonsense, 1, Some("Extras"));
    app.pass(hours(2));
    assert_eq!(app.sweep().await.delivered, 1);
    assert_eq!(app.receiver.got()[0].json()["assigned_users"], json!([]));
}

#[tokio::test]
async fn trouble_that_does_not_heal_itself_asks_for_the_operator() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    let action = async || app.run(Status {}).await.unwrap().accounts[0].next_action.clone();
    for (set, expected) in [
        (json!({"hidden_fields": ["Query.jobs"]}), Some("have an account admin connect")),
        (json!({"served_version": "2022-09-01"}), Some("install a newer")),
        (json!({"version_gone": true}), Some("install a newer")),
        (json!({"requests_per_window": 0}), None),
    ] {
        app.switch(&ace, set);
        assert_eq!(app.once().await.errors[0].needs_operator, expected.is_some());
        let seen = action().await;
        assert_eq!(seen.is_some(), expected.is_some(), "{seen:?}");
        assert!(seen.unwrap_or_default().contains(expected.unwrap_or_default()));
        // An outage in the middle mends nothing.
        app.switch(&ace, json!({"hidden_fields": [], "served_version": null, "version_gone": false, "requests_per_window": 0}));
        assert!(!app.once().await.errors[0].needs_operator);
        assert_eq!(action().await.is_some(), expected.is_some());
        app.switch(&ace, json!({"requests_per_window": 2500}));
        app.pass(minutes(10));
        app.sweep().await;
        assert_eq!(action().await, None);
    }
}

#[tokio::test]
async fn a_throttled_query_waits_as_the_answer_says_and_goes_on() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.sweep().await;
    app.pass(minutes(10));
    let customer = ace.customer(&app);
    for number in 0..150 {
        let job = ace.job(&app, &customer, &format!("Job {number}"), &[]);
        ace.close(&app, &job);
    }
    // Room for one page at a time; it refills within milliseconds of real time, so the clock must run.
    app.let_the_clocks_run();
    app.switch(&ace, json!({"bucket_size": 1100.0, "bucket_refill": 20000.0}));
    app.sandbox.control(Op::TakePoints { account: ace.number, points: 1100 }).unwrap();
    let report = app.sweep().await;
    assert_eq!(report.accounts[0].candidates, 150);
    assert!(app.sandbox.stats(ace.number).throttled > 0);
}

#[tokio::test]
async fn an_account_that_asks_for_rest_is_left_alone() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.fault(&ace, FaultKind::Http { status: 429, retry_after: Some("600".into()) }, 1, None);
    app.once().await;
    let before = app.sandbox.stats(ace.number).requests;
    app.pass(minutes(5));
    let report = app.once().await;
    assert!(report.errors[0].error.contains("asked for a pause"), "{}", report.errors[0].error);
    assert_eq!(app.sandbox.stats(ace.number).requests, before);
    app.pass(minutes(5));
    app.sweep().await;
}

#[tokio::test]
async fn trouble_and_relief_show_in_the_health_of_the_account() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.sweep().await;
    let well = app.context.store.health(&ace.id).await.unwrap();
    assert_eq!((well.last_success, well.failing_since), (Some(app.clock_now()), None));
    app.fault(&ace, FaultKind::WaitingRoom, 2, None);
    app.pass(minutes(5));
    app.once().await;
    let since = app.clock_now();
    app.pass(minutes(5));
    app.once().await;
    let ill = app.context.store.health(&ace.id).await.unwrap();
    assert_eq!((ill.last_success, ill.failing_since), (well.last_success, Some(since)));
    assert!(ill.last_error.unwrap().contains("waiting room"));
    app.pass(minutes(5));
    app.sweep().await;
    let again = app.context.store.health(&ace.id).await.unwrap();
    assert_eq!(
        (again.last_success, again.failing_since, again.last_error),
        (Some(app.clock_now()), None, None)
    );
}

#[tokio::test]
async fn a_clock_that_is_ten_minutes_off_loses_nobody() {
    for skew in [minutes(10), -minutes(10)] {
        let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
        app.skew(skew);
        app.pass(minutes(30));
        app.sweep().await;
        let job = ace.closed_job(&app);
        app.pass(minutes(5));
        app.sweep().await;
        assert!(app.waits(&ace, &job), "{skew:?}");
        app.pass(hours(3));
        app.sweep().await;
        assert_eq!(app.receiver.got().len(), 1, "{skew:?}");
        app.finish().await;
    }
}

#[tokio::test]
async fn a_record_that_is_away_once_is_looked_at_again_a_minute_later() {
    for (times, asked) in [(1, 1), (2, 0)] {
        let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
        app.pass(minutes(10));
        let job = ace.closed_job(&app);
        app.sweep().await;
        app.fault(&ace, FaultKind::Absent, times, Some("Details"));
        app.pass(hours(2));
        app.sweep().await;
        let outcome = app.decision(&ace, &job).map(|decision| decision.outcome);
        assert!(matches!(outcome, Some(Outcome::Waiting { .. })), "{outcome:?}");
        app.pass(minutes(1));
        app.sweep().await;
        assert_eq!(app.receiver.got().len(), asked, "null {times} times");
        app.finish().await;
    }
}

#[tokio::test]
async fn others_find_their_share_of_the_points() {
    // The second is given no more than the bucket holds, and hardly a refill: what it takes shows on a slow machine too.
    for (share, refill) in [(20, 1_000.0), (100, 10.0)] {
        let app = TestApp::start_with(|config| {
            config.jobber.budget_share = Percent(share);
            config.review.burst_above = 0;
        })
        .await;
        let ace = app.contractor("Ace Plumbing");
        app.connect(&ace, Trigger::JobCompleted).await;
        app.sweep().await;
        app.pass(minutes(10));
        let customer = ace.customer(&app);
        for number in 0..60 {
            let job = ace.job(&app, &customer, &format!("Job {number}"), &[]);
            ace.close(&app, &job);
        }
        app.pass(hours(3));
        app.let_the_clocks_run();
        app.switch(&ace, json!({"bucket_refill": refill}));
        let report = app.sweep().await;
        assert_eq!(report.accounts[0].asked, 60);
        let stats = app.sandbox.stats(ace.number);
        assert_eq!(stats.throttled, 0);
        let lowest = stats.lowest_points.unwrap();
        assert_eq!(lowest >= 8000, share == 20, "{share}: {lowest}");
    }
}

/// One account is dead in every way there is; ninety-nine are swept and asked for all the same.
#[tokio::test]
async fn one_dead_account_delays_none_of_a_hundred() {
    let app = TestApp::start_with(|config| config.poll.concurrency = Concurrency(4)).await;
    let contractors: Vec<_> =
        (0..100).map(|number| app.contractor(&format!("Contractor {number}"))).collect();
    for contractor in &contractors {
        app.connect(contractor, Trigger::JobCompleted).await;
    }
    app.sweep().await;
    app.pass(minutes(10));
    for contractor in &contractors {
        contractor.closed_job(&app);
    }
    let (dead, alive) = contractors.split_first().unwrap();
    // It takes every question and answers none.
    app.fault(dead, FaultKind::Hang { ms: 600_000 }, 1000, None);
    let sweeping = {
        let context = app.context();
        tokio::spawn(async move {
            let accounts = context.store.account_ids().await?;
            context.poller.poll_once(accounts, Effect::Apply, &no_progress).await
        })
    };
    app.operation_begins(dead, "Jobs").await;
    let all_wait = async || {
        let waiting = app.context.store.candidates().await.unwrap().len();
        waiting == alive.len()
    };
    app.until(all_wait).await;
    // The next sweep leaves the one alone that still hangs, and reads all others.
    app.pass(hours(2));
    loop {
        let accounts = app.context.store.account_ids().await.unwrap();
        let swept = app.context.poller.poll_once(accounts, Effect::Apply, &no_progress).await.unwrap();
        let is_polled = |swept: &&Swept| matches!(swept.outcome, SweepOutcome::Polled(_));
        assert!(swept.iter().all(|swept| swept.account != dead.id || !is_polled(&swept)));
        // The first one may not have let go of the last yet.
        if swept.iter().filter(is_polled).count() == alive.len() {
            break;
        }
    }
    app.context.rechecker.recheck_once(None).await.unwrap();
    app.context.deliverer.deliver_once(None).await.unwrap();
    assert_eq!(app.receiver.got().len(), alive.len());
    sweeping.abort();
}

/// The program panics on one record: that one is put off and told, everything else goes on.
#[tokio::test]
async fn a_record_on_which_the_program_fails_costs_only_itself() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(minutes(10));
    let poison = ace.closed_job(&app);
    app.pass(minutes(1));
    let sound = ace.closed_job(&app);
    app.sweep().await;
    jobber_reviewd::testing::poison(Some(poison.id.as_str()));
    app.pass(hours(2));
    let report = app.once().await;
    assert!(report.errors[0].error.contains("a fault of this program: a poisoned record"), "{report:?}");
    assert_eq!(report.delivered, 1);
    assert!(app.waits(&ace, &poison) && !app.waits(&ace, &sound));
    assert_eq!(app.context.notifier.notify_once().await.unwrap(), [], "once is no trouble yet");
    for _ in 0..2 {
        app.pass(minutes(15));
        app.once().await;
    }
    let told = app.context.notifier.notify_once().await.unwrap();
    assert_eq!(told.len(), 1);
    assert!(told[0].summary.contains(poison.id.as_str()), "{told:?}");
    jobber_reviewd::testing::poison(None);
    app.pass(minutes(15));
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 2);
    assert!(app.context.notifier.notify_once().await.unwrap()[0].over.is_some());
    app.finish().await;
}
