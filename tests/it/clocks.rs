//! Clocks that jump, forward and back, for seconds and for years.

use jobber_reviewd::testing::Period;
use jobber_reviewd::testing::model::{SkipReason, Trigger};
use jobber_sandbox::FaultKind;
use serde_json::json;

use crate::support::*;

const YEAR: i64 = 365 * 24;

/// Moves only the daemon's clock; Jobber's stays right.
fn jump(app: &TestApp, by: jiff::SignedDuration) {
    app.clock.advance(by);
}

#[tokio::test]
async fn a_start_with_a_clock_three_years_ahead_forgets_nobody() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(minutes(1));
    let job = ace.closed_job(&app);
    app.pass(hours(3));
    app.sweep().await;
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 1);
    jump(&app, hours(3 * YEAR));
    // Jobber cannot be reached meanwhile.
    app.fault(&ace, FaultKind::Http { status: 503, retry_after: None }, 100, None);
    let app = app.restart().await;
    app.once().await;
    assert_eq!(app.context.tidy().await.unwrap(), 0, "nothing is sure yet");
    // Jobber answers, and says what time it is.
    app.sandbox.control(jobber_sandbox::Op::ClearFaults { account: ace.number }).unwrap();
    app.once().await;
    assert_eq!(app.context.tidy().await.unwrap(), 0, "not by our clock alone");
    jump(&app, hours(-3 * YEAR));
    ace.reopen(&app, &job);
    ace.close(&app, &job);
    app.once().await;
    app.pass(hours(3));
    app.once().await;
    assert_eq!(app.receiver.got().len(), 1, "nobody is asked again");
}

#[tokio::test]
async fn ten_days_ahead_for_a_few_seconds_drops_nothing_that_waits() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(minutes(1));
    let waiting = ace.closed_job(&app);
    app.sweep().await;
    jump(&app, hours(240));
    let fresh = ace.closed_job(&app);
    app.once().await;
    app.once().await;
    for job in [&waiting, &fresh] {
        assert!(app.waits(&ace, job), "{:?}", app.decision(&ace, job));
    }
    assert!(app.receiver.got().is_empty(), "it is not due by Jobber's clock");
    jump(&app, hours(-240));
    app.context.clock_went_back().await.unwrap();
    app.sweep().await;
    assert!(app.receiver.got().is_empty());
    app.pass(hours(2));
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 2);
    app.finish().await;
}

/// The daemon was down while work became too old by a clock that was wrong: it is planned again.
#[tokio::test]
async fn what_was_too_old_by_a_wrong_clock_is_planned_again() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(minutes(1));
    let job = ace.closed_job(&app);
    // Jobber's own clock is wrong for a while.
    app.skew(hours(240));
    app.once().await;
    assert_eq!(app.skip_reason(&ace, &job), SkipReason::TooOld);
    app.skew(hours(0));
    app.pass(hours(1));
    app.sweep().await;
    assert!(app.waits(&ace, &job));
    app.pass(hours(2));
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_message_that_waits_for_its_next_attempt_waits_no_longer_when_the_clock_goes_back() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(minutes(1));
    ace.closed_job(&app);
    app.sweep().await;
    app.pass(hours(2));
    app.receiver.answers(&[503]);
    jump(&app, hours(24));
    app.skew(hours(-24));
    app.once().await;
    app.once().await;
    assert_eq!(app.receiver.got().len(), 1, "one attempt");
    jump(&app, hours(-24));
    app.skew(hours(0));
    // The clock went back while nothing ran: the next start notices.
    let app = app.restart().await;
    app.once().await;
    assert_eq!(app.receiver.got().len(), 2);
    app.finish_with_repeats().await;
}

#[tokio::test]
async fn a_visit_dated_ahead_ends_no_stream() {
    let crm = Receiver::start().await;
    let url = crm.url();
    let app = TestApp::start_with(|config| {
        config.events.webhook_url = Some(serde_json::from_value(json!(url)).unwrap());
        config.events.topics = serde_json::from_value(json!(["visit.completed"])).unwrap();
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    let look = async || {
        app.context.watcher.watch_once(app.context.store.account_ids().await.unwrap()).await.unwrap()
    };
    look().await;
    app.pass(minutes(10));
    let customer = ace.customer(&app);
    let job = ace.job(&app, &customer, "Mowing", &[]);
    ace.complete(&app, &ace.visits(&app, &job)[0], Some(app.clock_now() + hours(24 * 365)));
    assert_eq!(look().await, 1);
    app.pass(minutes(10));
    let visit = ace.another_visit(&app, &job);
    ace.complete(&app, &visit, None);
    assert_eq!(look().await, 1, "what comes after it is still told");
    assert_eq!(look().await, 0);
}

#[tokio::test]
async fn clocks_that_differ_are_shown_and_told() {
    let (app, _) = TestApp::connected(Trigger::JobCompleted).await;
    app.sweep().await;
    let ahead =
        async || app.run(jobber_reviewd::testing::protocol::Status {}).await.unwrap().clock_ahead_seconds;
    assert_eq!(ahead().await, Some(0));
    assert_eq!(app.context.notifier.notify_once().await.unwrap(), []);
    app.skew(minutes(-3));
    app.pass(minutes(5));
    app.sweep().await;
    assert_eq!(ahead().await, Some(180));
    let told = app.context.notifier.notify_once().await.unwrap();
    assert_eq!(told.len(), 1);
    assert!(told[0].summary.contains("3 minutes ahead of Jobber's"), "{told:?}");
    app.skew(minutes(0));
    app.pass(minutes(5));
    app.sweep().await;
    let over = app.context.notifier.notify_once().await.unwrap();
    assert!(over[0].over.is_some(), "{over:?}");
}

/// Who was asked is remembered by Jobber's clock when ours is wrong: otherwise it would be forgotten as years old.
#[tokio::test]
async fn whoever_was_asked_by_a_clock_years_behind_is_remembered_when_it_is_right() {
    let app = TestApp::start_with(|config| config.review.cooldown = Period::parse("180d").unwrap()).await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    app.pass(minutes(10));
    app.sweep().await;
    let customer = ace.customer(&app);
    let job = ace.job(&app, &customer, "Mowing", &[]);
    ace.close(&app, &job);
    app.sweep().await;
    app.pass(hours(3));
    let years = hours(3 * 365 * 24);
    app.clock.advance(-years);
    app.context.clock_went_back().await.unwrap();
    app.once().await;
    assert_eq!(app.receiver.ids().len(), 1);
    app.clock.advance(years);
    app.pass(minutes(5));
    app.sweep().await;
    app.context.tidy().await.unwrap();
    assert!(app.decision(&ace, &job).is_some(), "it is known");
    // Neither about this work, nor about another of the same customer.
    ace.reopen(&app, &job);
    ace.close(&app, &job);
    let other = ace.job(&app, &customer, "Hedges", &[]);
    ace.close(&app, &other);
    app.sweep().await;
    app.pass(hours(3));
    app.sweep().await;
    assert_eq!(app.receiver.ids().len(), 1);
    assert_eq!(app.skip_reason(&ace, &other), SkipReason::AskedRecently);
}
