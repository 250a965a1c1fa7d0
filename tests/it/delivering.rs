//! From the outbox to the receiver.

use jobber_reviewd::testing::model::{DeadReason, EntryState, MessageId, Trigger};
use jobber_reviewd::testing::protocol::{QueueDrop, QueueRetry, QueueShow, Status};
use jobber_reviewd::testing::{OpError, SCHEDULE};

use crate::support::*;

/// An app with one ask in the outbox, not sent yet.
async fn with_an_ask() -> (TestApp, MessageId) {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(minutes(10));
    ace.closed_job(&app);
    app.sweep().await;
    app.pass(hours(2));
    app.context.rechecker.recheck_once(None).await.unwrap();
    let entry = app.context.store.entries().await.unwrap().remove(0);
    (app, entry.id)
}

#[tokio::test]
async fn a_failed_attempt_is_repeated_with_the_same_id_and_bytes_and_a_fresh_signature() {
    let (app, ask) = with_an_ask().await;
    app.receiver.answers(&[503, 401, 404]);
    app.context.deliverer.deliver_once(None).await.unwrap();
    for wait in &SCHEDULE[1..4] {
        app.context.deliverer.deliver_once(None).await.unwrap();
        app.pass(*wait * 11 / 10);
        app.context.deliverer.deliver_once(None).await.unwrap();
    }
    let got = app.receiver.got();
    assert_eq!(got.len(), 4, "never before its time");
    for attempt in &got {
        assert_eq!(attempt.id(), ask.as_str());
        assert_eq!(attempt.body, got[0].body);
    }
    assert_ne!(got[0].headers["webhook-signature"], got[1].headers["webhook-signature"]);
    assert_eq!(app.context.store.entries().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_receivers_retry_after_is_honoured() {
    // Two hours, in both forms that there are.
    for retry_after in ["7200", "Tue, 10 Mar 2026 16:10:00 GMT"] {
        let (app, _) = with_an_ask().await;
        assert_eq!(app.clock_now(), at("2026-03-10T14:10:00Z"));
        app.receiver.answers_once_with(429, retry_after);
        app.context.deliverer.deliver_once(None).await.unwrap();
        app.pass(minutes(119));
        app.context.deliverer.deliver_once(None).await.unwrap();
        assert_eq!(app.receiver.got().len(), 1);
        app.pass(minutes(1));
        app.context.deliverer.deliver_once(None).await.unwrap();
        assert_eq!(app.receiver.got().len(), 2);
    }
}

#[tokio::test]
async fn a_receiver_that_is_down_for_days_gets_ten_attempts_and_then_a_dead_letter_is_kept() {
    let (app, ask) = with_an_ask().await;
    app.receiver.answers(&[500; 10]);
    for wait in SCHEDULE {
        app.pass(wait * 11 / 10);
        app.context.deliverer.deliver_once(None).await.unwrap();
    }
    app.pass(hours(24));
    app.context.deliverer.deliver_once(None).await.unwrap();
    assert_eq!(app.receiver.got().len(), 10);
    let entry = app.context.store.entry(&ask).await.unwrap().unwrap();
    assert!(matches!(entry.state, EntryState::Dead { reason: DeadReason::Exhausted, .. }));

    let done = app.run(QueueRetry { id: ask.clone() }).await.unwrap().done;
    assert_eq!(done, format!("ask {ask} is due now"));
    app.context.deliverer.deliver_once(None).await.unwrap();
    assert_eq!(app.receiver.got().len(), 11);
    assert_eq!(app.context.store.entries().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_payload_that_will_never_do_is_a_dead_letter_at_once_and_can_be_dropped() {
    for status in [400, 413, 415, 422] {
        let (app, ask) = with_an_ask().await;
        app.receiver.answers(&[status]);
        app.context.deliverer.deliver_once(None).await.unwrap();
        app.pass(hours(100));
        let report = app.once().await;
        assert_eq!((app.receiver.got().len(), report.dead), (1, 1), "{status}");
        let entry = app.run(QueueShow { id: ask.clone() }).await.unwrap();
        assert_eq!(entry.last.unwrap().error, format!("HTTP {status}"));
        app.run(QueueDrop { id: ask.clone() }).await.unwrap();
        let reply = app.run(QueueDrop { id: ask.clone() }).await;
        assert!(matches!(reply, Err(OpError::NotFound(_))), "{reply:?}");
        app.once().await;
        assert_eq!(app.receiver.got().len(), 1, "dropped is dropped");
    }
}

#[tokio::test]
async fn a_receiver_that_is_gone_gets_nothing_until_an_ask_is_retried() {
    let (app, ask) = with_an_ask().await;
    app.receiver.answers(&[410]);
    app.context.deliverer.deliver_once(None).await.unwrap();
    app.pass(hours(100));
    app.context.deliverer.deliver_once(None).await.unwrap();
    assert_eq!(app.receiver.got().len(), 1);
    let status = app.run(Status {}).await.unwrap();
    assert!(status.accounts[0].receiver_stopped_at.is_some());
    assert!(status.accounts[0].next_action.as_ref().unwrap().contains("queue retry"));

    app.run(QueueRetry { id: ask }).await.unwrap();
    app.context.deliverer.deliver_once(None).await.unwrap();
    assert_eq!(app.receiver.got().len(), 2);
    app.finish_with_repeats().await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (app, _) = with_an_ask().await;
    app.receiver.answers(&[302]);
    app.context.deliverer.deliver_once(None).await.unwrap();
    assert_eq!(app.receiver.got().len(), 1);
    assert_eq!(app.context.store.entries().await.unwrap().len(), 1, "and not counted as delivered");
}

#[tokio::test]
async fn a_closed_port_is_an_attempt_that_failed() {
    let app = TestApp::start_with(|config| {
        // Port 9 is the discard service: nobody listens.
        config.review.webhook_url = serde_json::from_str("\"http://127.0.0.1:9/hook\"").unwrap();
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    app.pass(minutes(10));
    ace.closed_job(&app);
    app.sweep().await;
    app.pass(hours(2));
    let report = app.sweep().await;
    assert_eq!((report.delivered, report.retrying), (0, 1));
    let entry = app.context.store.entries().await.unwrap().remove(0);
    assert_eq!(entry.last.unwrap().error, "no connection");
}

#[tokio::test]
async fn a_crash_between_lease_and_outcome_sends_again_under_the_same_id() {
    let (app, ask) = with_an_ask().await;
    let now = app.clock_now();
    app.context.store.lease(&ask, now, now + minutes(1)).await.unwrap().unwrap();
    let app = app.restart().await;
    app.context.deliverer.deliver_once(None).await.unwrap();
    assert_eq!(app.receiver.ids(), [ask.to_string()]);
    app.finish().await;
}

#[tokio::test]
async fn a_crash_at_any_point_of_the_way_loses_nothing() {
    let (mut app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app = app.restart().await;
    app.pass(minutes(10));
    let job = ace.closed_job(&app);
    app.sweep().await;
    app = app.restart().await;
    assert!(app.waits(&ace, &job));
    app.pass(hours(2));
    app.context.rechecker.recheck_once(None).await.unwrap();
    app = app.restart().await;
    app.context.deliverer.deliver_once(None).await.unwrap();
    app = app.restart().await;
    app.pass(hours(3));
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn many_asks_leave_side_by_side_and_each_once() {
    let app = TestApp::start_with(|config| config.review.burst_above = 0).await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    app.pass(minutes(10));
    let customer = ace.customer(&app);
    for number in 0..40 {
        let job = ace.job(&app, &customer, &format!("Job {number}"), &[]);
        ace.close(&app, &job);
    }
    app.sweep().await;
    app.pass(hours(2));
    app.context.rechecker.recheck_once(None).await.unwrap();
    let deliverer = &app.context.deliverer;
    let (one, two) = tokio::join!(deliverer.deliver_once(None), deliverer.deliver_once(None));
    assert_eq!(one.unwrap().len() + two.unwrap().len(), 40);
    assert_eq!(app.receiver.got().len(), 40);
    app.finish().await;
}
