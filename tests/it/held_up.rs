//! Asks that were held up: what leaves late is still wanted.

use jobber_reviewd::testing::model::{SkipReason, Trigger, WorkRef};
use jobber_reviewd::testing::protocol::{AccountPause, AccountResume, QueueRetry, Replay, SuppressAdd};
use jobber_sandbox::FaultKind;
use serde_json::json;

use crate::support::*;

/// An ask that the platform did not take, and the customer's card.
async fn refused(status: u16) -> (TestApp, Contractor, Customer, WorkRef) {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(minutes(1));
    let customer = ace.customer(&app);
    let job = ace.job(&app, &customer, "Mowing", &[]);
    ace.close(&app, &job);
    app.sweep().await;
    app.pass(hours(2));
    app.receiver.answers(&[status]);
    app.once().await;
    assert_eq!(app.receiver.got().len(), 1);
    (app, ace, customer, job)
}

async fn paused_for(app: &TestApp, time: jiff::SignedDuration) {
    let account = || "Ace Plumbing".to_owned();
    app.run(AccountPause { account: account() }).await.unwrap();
    app.pass(time);
    app.once().await;
    app.run(AccountResume { account: account() }).await.unwrap();
}

#[tokio::test]
async fn what_was_held_for_a_month_is_too_old() {
    let (app, ace, _, job) = refused(503).await;
    paused_for(&app, hours(24 * 30)).await;
    app.once().await;
    assert_eq!(app.skip_reason(&ace, &job), SkipReason::TooOld);
    assert_eq!(app.decision(&ace, &job).unwrap().saw["attempts"], "1");
    assert_eq!(app.receiver.got().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn whoever_opted_out_meanwhile_by_any_way_is_not_sent_it() {
    for (what, reason) in [
        ("switch", SkipReason::ClientOptedOut),
        ("archived", SkipReason::ClientArchived),
        ("second number", SkipReason::Suppressed),
        ("reopened", SkipReason::NoLongerFinished),
        ("deleted", SkipReason::NotFound),
    ] {
        let (app, ace, customer, job) = refused(503).await;
        app.run(AccountPause { account: "Ace Plumbing".into() }).await.unwrap();
        match what {
            "switch" => ace.set(&app, &customer.id, "receivesReviewRequests", json!(false)),
            "archived" => ace.set(&app, &customer.id, "isArchived", json!(true)),
            "reopened" => ace.reopen(&app, &job),
            "deleted" => ace.delete(&app, &job),
            _ => {
                // A number that was not on the card when it was asked about.
                let phones = json!([
                    {"id": "cA==", "number": "5551234567", "friendly": "", "normalizedPhoneNumber": "+15551234567", "description": "MAIN", "primary": true, "smsAllowed": true},
                    {"id": "cB==", "number": "5550001111", "friendly": "", "normalizedPhoneNumber": "+15550001111", "description": "HOME", "primary": false, "smsAllowed": true},
                ]);
                ace.set(&app, &customer.id, "phones", phones);
                app.run(SuppressAdd { what: "5550001111".into(), account: None, note: None }).await.unwrap();
            }
        }
        app.pass(hours(24));
        app.run(AccountResume { account: "Ace Plumbing".into() }).await.unwrap();
        app.once().await;
        if what == "deleted" {
            // Null once is not gone.
            assert!(!app.decision(&ace, &job).unwrap().saw.contains_key("attempts"));
            app.pass(minutes(1));
            app.once().await;
        }
        assert_eq!(app.skip_reason(&ace, &job), reason, "{what}");
        assert_eq!(app.receiver.got().len(), 1, "{what}");
        app.finish().await;
    }
}

#[tokio::test]
async fn a_dead_letter_that_is_sent_again_is_looked_at_too() {
    for replayed in [true, false] {
        let (app, ace, customer, job) = refused(400).await;
        ace.set(&app, &customer.id, "receivesReviewRequests", json!(false));
        app.pass(hours(24));
        if replayed {
            app.run(Replay { account: None, since_seconds: 7 * 24 * 3600, write: true }).await.unwrap();
        } else {
            let id = app.context.store.entries().await.unwrap()[0].id.clone();
            app.run(QueueRetry { id }).await.unwrap();
        }
        app.once().await;
        assert_eq!(app.skip_reason(&ace, &job), SkipReason::ClientOptedOut);
        assert_eq!(app.receiver.got().len(), 1);
        app.finish().await;
    }
}

#[tokio::test]
async fn what_is_tried_again_within_minutes_is_not_read_again_and_what_cannot_be_read_waits() {
    let (app, ace, _, _) = refused(503).await;
    let details = || app.sandbox.stats(ace.number).operations["Details"];
    let before = details();
    app.pass(minutes(10));
    app.receiver.answers(&[503, 503, 503]);
    app.once().await;
    assert_eq!(app.receiver.got().len(), 2);
    assert_eq!(details(), before, "it costs nothing");
    app.pass(hours(3));
    app.fault(&ace, FaultKind::Http { status: 503, retry_after: None }, 1, Some("Details"));
    app.once().await;
    assert_eq!(app.receiver.got().len(), 2, "not without knowing");
    app.pass(minutes(6));
    app.receiver.answers(&[]);
    app.once().await;
    assert_eq!(app.receiver.got().len(), 3);
    app.finish_with_repeats().await;
}

/// Nothing was tried yet, so nobody was asked: finished again, the work is asked about.
#[tokio::test]
async fn what_never_left_can_be_asked_about_when_it_is_finished_again() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(minutes(1));
    let job = ace.closed_job(&app);
    app.sweep().await;
    app.pass(hours(2));
    app.context.rechecker.recheck_once(None).await.unwrap();
    app.run(AccountPause { account: "Ace Plumbing".into() }).await.unwrap();
    ace.reopen(&app, &job);
    app.pass(hours(5));
    app.run(AccountResume { account: "Ace Plumbing".into() }).await.unwrap();
    app.once().await;
    assert_eq!(app.skip_reason(&ace, &job), SkipReason::NoLongerFinished);
    assert!(app.receiver.got().is_empty());
    ace.close(&app, &job);
    app.sweep().await;
    app.pass(hours(3));
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 1);
    app.finish().await;
}
