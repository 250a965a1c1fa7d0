//! Contractors clean up: old and cancelled jobs are closed, many at once.

use jobber_reviewd::testing::model::{AlertKind, Outcome, SkipReason, Trigger, WorkRef};
use jobber_reviewd::testing::protocol::{QueueDropBurst, QueueList, QueueRelease, QueueReleaseBurst, Status};
use jobber_reviewd::testing::{OpError, QueueRow};
use serde_json::json;

use crate::support::*;

async fn connected(trigger: Trigger) -> (TestApp, Contractor) {
    let (app, ace) = TestApp::connected(trigger).await;
    app.pass(minutes(1));
    app.sweep().await;
    (app, ace)
}

/// Closes jobs of as many customers, all within a minute.
fn close_many(app: &TestApp, ace: &Contractor, jobs: usize) -> Vec<WorkRef> {
    let customer = ace.customer(app);
    let jobs: Vec<_> = (0..jobs).map(|_| ace.job(app, &customer, "Mowing", &[])).collect();
    for job in &jobs {
        ace.close(app, job);
    }
    jobs
}

fn are_held(app: &TestApp, ace: &Contractor, works: &[WorkRef]) -> bool {
    works.iter().all(|work| {
        matches!(app.decision(ace, work).map(|decision| decision.outcome), Some(Outcome::Held { .. }))
    })
}

#[tokio::test]
async fn a_job_whose_last_visit_was_long_before_its_close_is_not_asked_about() {
    let (app, ace) = connected(Trigger::JobCompleted).await;
    let customer = ace.customer(&app);
    let [done, forgotten, fresh] =
        ["Spring", "Summer", "Autumn"].map(|title| ace.job(&app, &customer, title, &[]));
    ace.complete(&app, &ace.visits(&app, &done)[0], None);
    app.pass(hours(24 * 15));
    let again = ace.another_visit(&app, &fresh);
    ace.complete(&app, &again, None);
    app.pass(hours(24));
    // The close completes the visit of the second one, which was scheduled 16 days ago, with the present instant.
    for job in [&done, &forgotten, &fresh] {
        ace.close(&app, job);
    }
    app.pass(hours(3));
    app.sweep().await;
    app.sweep().await;
    for job in [&done, &forgotten] {
        assert_eq!(app.skip_reason(&ace, job), SkipReason::VisitTooOld);
        let saw = app.decision(&ace, job).unwrap().saw;
        assert!(saw["last_visit"].starts_with("2026-03-10T1"), "{saw:?}");
    }
    assert_eq!(app.receiver.got().len(), 1);

    app.run(QueueRelease { what: done.id.to_string() }).await.unwrap();
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 2, "the operator knows better");
    app.finish().await;
}

#[tokio::test]
async fn a_cancelled_job_is_not_asked_about_and_one_without_visits_counts_by_its_close() {
    let (app, ace) = connected(Trigger::JobCompleted).await;
    let customer = ace.customer(&app);
    let [cancelled, bare] = ["Weekly", "Errand"].map(|title| ace.job(&app, &customer, title, &[]));
    let visit = ace.visits(&app, &cancelled)[0].clone();
    for job in [&cancelled, &bare] {
        ace.close(&app, job);
    }
    ace.uncomplete(&app, &visit);
    ace.delete(&app, &ace.visits(&app, &bare)[0]);
    app.pass(hours(3));
    app.sweep().await;
    app.sweep().await;
    assert_eq!(app.skip_reason(&ace, &cancelled), SkipReason::NoVisitCompleted);
    assert_eq!(app.receiver.got().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn visits_that_the_app_may_not_see_keep_nobody_from_being_asked() {
    let (app, ace) = connected(Trigger::JobCompleted).await;
    app.switch(&ace, json!({"hidden_fields": ["Job.visits"]}));
    ace.closed_job(&app);
    app.pass(hours(3));
    app.sweep().await;
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_burst_is_held_and_told_once_and_released_however_long_it_took() {
    let (app, ace) = connected(Trigger::JobCompleted).await;
    let first = close_many(&app, &ace, 20);
    app.sweep().await;
    assert!(first.iter().all(|job| app.waits(&ace, job)), "twenty within an hour are work");
    app.pass(minutes(30));
    let more = close_many(&app, &ace, 3);
    app.sweep().await;
    assert!(are_held(&app, &ace, &first) && are_held(&app, &ace, &more), "the first ones belong to it");

    let told = app.context.notifier.notify_once().await.unwrap();
    let [alert] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((alert.kind, alert.held_up), (AlertKind::BurstHeld, 23));
    assert!(
        alert.summary.contains("23 works of Ace Plumbing") && alert.summary.contains("job 1,"),
        "{}",
        alert.summary
    );
    app.pass(minutes(40));
    let last = close_many(&app, &ace, 1);
    app.sweep().await;
    assert!(app.waits(&ace, &last[0]), "an hour after most of them it is no part of them any more");
    assert_eq!(app.context.notifier.notify_once().await.unwrap(), [], "once");
    let status = app.run(Status {}).await.unwrap();
    assert_eq!((status.accounts[0].held, status.accounts[0].waiting), (23, 1));
    assert!(status.accounts[0].next_action.as_ref().unwrap().contains("queue release-burst"), "{status:?}");
    let rows = app.run(QueueList {}).await.unwrap();
    assert_eq!(rows.iter().filter(|row| matches!(row, QueueRow::Held { .. })).count(), 23);

    app.pass(hours(24 * 30));
    app.sweep().await;
    let app = app.restart().await;
    app.run(QueueReleaseBurst { account: "Ace Plumbing".into() }).await.unwrap();
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 23, "the time on hold makes nothing too old");
    assert_eq!(app.skip_reason(&ace, &last[0]), SkipReason::TooOld, "what was not held is");
    let over = app.context.notifier.notify_once().await.unwrap();
    assert!(over.iter().any(|alert| alert.kind == AlertKind::BurstHeld && alert.over.is_some()), "{over:?}");
    assert!(matches!(
        app.run(QueueReleaseBurst { account: "Ace Plumbing".into() }).await,
        Err(OpError::NotFound(_))
    ));
    app.finish().await;
}

#[tokio::test]
async fn a_burst_that_is_dropped_asks_nobody_and_what_is_reopened_counts_again() {
    let (app, ace) = connected(Trigger::JobCompleted).await;
    let jobs = close_many(&app, &ace, 60);
    app.sweep().await;
    assert!(are_held(&app, &ace, &jobs));
    app.run(QueueDropBurst { account: ace.id.to_string() }).await.unwrap();
    assert!(jobs.iter().all(|job| app.skip_reason(&ace, job) == SkipReason::BurstDropped));
    app.pass(hours(24));
    app.sweep().await;
    assert!(app.receiver.got().is_empty());
    ace.reopen(&app, &jobs[0]);
    ace.close(&app, &jobs[0]);
    app.sweep().await;
    app.pass(hours(3));
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn invoices_that_a_nightly_run_marks_as_paid_are_a_burst_in_shadow_mode_too() {
    let app = TestApp::start_with(|config| config.review.shadow = true).await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::InvoicePaid).await;
    app.pass(minutes(1));
    let customer = ace.customer(&app);
    let invoices: Vec<_> = (0..30).map(|_| ace.invoice(&app, &customer, None, true)).collect();
    for invoice in &invoices {
        ace.pay(&app, invoice);
    }
    app.sweep().await;
    assert!(are_held(&app, &ace, &invoices));
    let told = app.context.notifier.notify_once().await.unwrap();
    assert!(told[0].summary.contains("invoice "), "{told:?}");
    app.finish().await;
}

#[tokio::test]
async fn nothing_is_held_if_the_operator_says_so_and_a_disconnected_account_keeps_nothing_held() {
    let app = TestApp::start_with(|config| config.review.burst_above = 0).await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    app.pass(minutes(1));
    let jobs = close_many(&app, &ace, 60);
    app.sweep().await;
    assert!(jobs.iter().all(|job| app.waits(&ace, job)));
    app.context.store.disconnect(&ace.id, app.clock_now()).await.unwrap();

    let (app, ace) = connected(Trigger::JobCompleted).await;
    let jobs = close_many(&app, &ace, 60);
    app.sweep().await;
    app.context.store.disconnect(&ace.id, app.clock_now()).await.unwrap();
    assert!(jobs.iter().all(|job| app.skip_reason(&ace, job) == SkipReason::Disconnected));
    assert!(matches!(
        app.run(QueueDropBurst { account: ace.id.to_string() }).await,
        Err(OpError::NotFound(_))
    ));
    app.finish().await;
}
