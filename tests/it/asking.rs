//! From finished work to a signed ask, once; and why not.

use jobber_reviewd::testing::model::{Outcome, SkipReason, Trigger, WorkRef};
use jobber_reviewd::testing::{Effect, no_progress, once};
use jobber_sandbox::FaultKind;
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn a_closed_job_becomes_one_signed_ask() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    let first = app.sweep().await;
    assert_eq!(first.accounts[0].candidates, 0);

    app.pass(minutes(30));
    let job = ace.closed_job(&app);
    let seen = app.sweep().await;
    assert_eq!((seen.accounts[0].candidates, seen.accounts[0].asked), (1, 0));
    assert!(app.waits(&ace, &job));
    assert!(app.receiver.got().is_empty(), "not before the delay is over");

    app.pass(hours(2));
    let asked = app.sweep().await;
    assert_eq!((asked.accounts[0].asked, asked.delivered), (1, 1));

    let got = app.receiver.got();
    let [ask] = got.as_slice() else { panic!("{} asks", got.len()) };
    let body = ask.json();
    assert_eq!(body["type"], "review.requested");
    assert_eq!(body["message"], "Hi John! How was your Water Heater Installation with Mike?");
    assert_eq!(body["client"]["phone"], "+15551234567");
    assert_eq!(body["property"]["address"], "123 Main St, Springfield, IL 62704");
    assert_eq!(body["account"]["name"], "Ace Plumbing");
    assert_eq!(body["job"]["jobber_status"], "requires_invoicing");
    let timestamp = ask.headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
    let theirs = standardwebhooks::Webhook::new(&webhook_secret()).unwrap();
    assert_eq!(
        ask.headers["webhook-signature"].to_str().unwrap(),
        theirs.sign(ask.id(), timestamp, &ask.body).unwrap()
    );
    assert_eq!(ask.headers["idempotency-key"], ask.headers["webhook-id"]);

    app.pass(hours(3));
    app.sweep().await;
    app.pass(hours(30));
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 1, "once");
    app.finish().await;
}

#[tokio::test]
async fn the_first_connection_asks_nobody_about_the_past() {
    let app = TestApp::start().await;
    let ace = app.contractor("Ace Plumbing");
    let old = ace.closed_job(&app);
    app.pass(minutes(1));
    app.connect(&ace, Trigger::JobCompleted).await;
    app.sweep().await;
    assert_eq!(app.skip_reason(&ace, &old), SkipReason::BeforeConnection);

    // Somebody edits it afterwards: still old work.
    app.pass(hours(1));
    ace.set(&app, old.id.as_str(), "title", json!("Another title"));
    app.sweep().await;
    app.pass(hours(3));
    app.sweep().await;
    assert_eq!(app.skip_reason(&ace, &old), SkipReason::BeforeConnection);
    app.finish().await;
}

#[tokio::test]
async fn an_idle_sweep_is_one_request() {
    for trigger in Trigger::ALL {
        let (app, ace) = TestApp::connected(trigger).await;
        app.pass(minutes(5));
        app.sweep().await;
        for _ in 0..3 {
            app.pass(minutes(5));
            let before = app.sandbox.stats(ace.number);
            app.sweep().await;
            let after = app.sandbox.stats(ace.number);
            assert_eq!(after.requests - before.requests, 1, "{trigger}");
        }
        app.finish().await;
    }
}

#[tokio::test]
async fn a_reopened_job_is_not_asked_about_until_it_is_closed_again() {
    for clears in [true, false] {
        let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
        app.switch(&ace, json!({"reopen_clears_completed_at": clears}));
        app.pass(minutes(10));
        let job = ace.closed_job(&app);
        app.sweep().await;
        ace.reopen(&app, &job);
        app.pass(hours(2));
        app.sweep().await;
        assert_eq!(app.skip_reason(&ace, &job), SkipReason::NoLongerFinished, "clears: {clears}");
        app.pass(minutes(5));
        app.sweep().await;
        assert_eq!(app.skip_reason(&ace, &job), SkipReason::NoLongerFinished, "clears: {clears}");

        ace.set(&app, job.id.as_str(), "completedAt", json!(null));
        ace.close(&app, &job);
        app.pass(minutes(5));
        app.sweep().await;
        assert!(app.waits(&ace, &job), "finished again, a candidate again");
        app.pass(hours(2));
        assert_eq!(app.sweep().await.delivered, 1);

        // Closed a third time, after the ask: an ask is final.
        ace.reopen(&app, &job);
        ace.set(&app, job.id.as_str(), "completedAt", json!(null));
        app.pass(minutes(5));
        ace.close(&app, &job);
        app.pass(hours(3));
        app.sweep().await;
        assert_eq!(app.receiver.got().len(), 1);
        app.finish().await;
    }
}

#[tokio::test]
async fn closed_again_before_it_was_due_it_waits_from_the_second_time() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(minutes(10));
    let job = ace.closed_job(&app);
    app.sweep().await;
    app.pass(hours(1));
    ace.reopen(&app, &job);
    ace.close(&app, &job);
    app.pass(hours(1));
    let report = app.sweep().await;
    assert_eq!((report.accounts[0].deferred, report.accounts[0].asked), (1, 0));
    app.pass(hours(1));
    assert_eq!(app.sweep().await.delivered, 1);
    app.finish().await;
}

#[tokio::test]
async fn what_changed_in_jobber_meanwhile_is_respected() {
    type Change = fn(&TestApp, &Contractor, &Customer, &WorkRef);
    let changes: [(Change, SkipReason); 6] = [
        (
            |app, ace, customer, _| ace.set(app, &customer.id, "receivesReviewRequests", json!(false)),
            SkipReason::ClientOptedOut,
        ),
        (
            |app, ace, customer, _| ace.set(app, &customer.id, "isArchived", json!(true)),
            SkipReason::ClientArchived,
        ),
        (
            |app, ace, customer, _| ace.set(app, &customer.id, "sampleData", json!(true)),
            SkipReason::SampleData,
        ),
        (
            |app, ace, _, job| ace.set(app, job.id.as_str(), "allowReviewRequest", json!(false)),
            SkipReason::WorkOptedOut,
        ),
        (
            |app, ace, customer, _| {
                ace.set(app, &customer.id, "phones", json!([]));
                ace.set(app, &customer.id, "emails", json!([]));
            },
            SkipReason::NoContact,
        ),
        (|app, ace, _, job| ace.delete(app, job), SkipReason::NotFound),
    ];
    for (change, reason) in changes {
        let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
        app.pass(minutes(10));
        let customer = ace.customer(&app);
        let job = ace.job(&app, &customer, "Drain Cleaning", &[]);
        ace.close(&app, &job);
        app.sweep().await;
        change(&app, &ace, &customer, &job);
        app.pass(hours(2));
        app.sweep().await;
        if reason == SkipReason::NotFound {
            // Null once is not gone.
            app.pass(minutes(1));
            app.sweep().await;
        }
        assert_eq!(app.skip_reason(&ace, &job), reason);
        assert!(app.receiver.got().is_empty());
        app.finish().await;
    }
}

#[tokio::test]
async fn what_is_read_at_the_moment_of_asking_is_what_is_sent() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(minutes(10));
    let customer = ace.customer(&app);
    let job = ace.job(&app, &customer, "Drain Cleaning", &[]);
    ace.close(&app, &job);
    app.sweep().await;
    ace.set(&app, &customer.id, "firstName", json!("Johnny"));
    ace.set(&app, job.id.as_str(), "title", json!("Big Drain Cleaning"));
    app.pass(hours(2));
    app.sweep().await;
    assert_eq!(app.receiver.got()[0].json()["message"], "Hi Johnny! How was your Big Drain Cleaning?");
    app.finish().await;
}

#[tokio::test]
async fn every_completed_visit_is_asked_about_once() {
    let (app, ace) = TestApp::connected(Trigger::VisitCompleted).await;
    app.pass(minutes(10));
    let customer = ace.customer(&app);
    let crew = [ace.worker(&app, "Rosa")];
    let job = ace.job(&app, &customer, "Biweekly Cleaning", &crew);
    let first = ace.visits(&app, &job)[0].clone();
    ace.complete(&app, &first, None);
    app.sweep().await;
    app.pass(hours(2));
    assert_eq!(app.sweep().await.delivered, 1);
    let body = app.receiver.got()[0].json();
    assert_eq!(body["trigger"], "visit_completed");
    assert_eq!(body["visit"]["id"], first.id.as_str());
    assert_eq!(body["job"]["status"], "open");
    assert_eq!(body["message"], "Hi John! How was your Biweekly Cleaning with Rosa?");

    let second = ace.another_visit(&app, &job);
    ace.complete(&app, &second, None);
    app.sweep().await;
    app.pass(hours(2));
    assert_eq!(app.sweep().await.delivered, 1);
    let ids = app.receiver.ids();
    assert_ne!(ids[0], ids[1]);
    app.finish().await;
}

#[tokio::test]
async fn an_uncompleted_visit_is_not_asked_about() {
    let (app, ace) = TestApp::connected(Trigger::VisitCompleted).await;
    app.pass(minutes(10));
    let customer = ace.customer(&app);
    let job = ace.job(&app, &customer, "Biweekly Cleaning", &[]);
    let visit = ace.visits(&app, &job)[0].clone();
    ace.complete(&app, &visit, None);
    app.sweep().await;
    ace.uncomplete(&app, &visit);
    app.pass(hours(2));
    app.sweep().await;
    assert_eq!(app.skip_reason(&ace, &visit), SkipReason::NoLongerFinished);
    app.finish().await;
}

#[tokio::test]
async fn a_completion_that_was_dated_back_is_found_within_the_hour() {
    let (app, ace) = TestApp::connected(Trigger::VisitCompleted).await;
    let customer = ace.customer(&app);
    let job = ace.job(&app, &customer, "Biweekly Cleaning", &[]);
    let (recent, late) = (ace.visits(&app, &job)[0].clone(), ace.another_visit(&app, &job));
    app.pass(hours(20));
    app.sweep().await;
    // The watermark stands at this visit.
    ace.complete(&app, &recent, None);
    app.pass(minutes(5));
    app.sweep().await;
    let yesterday = app.clock_now() - hours(15);
    ace.complete(&app, &late, Some(yesterday));
    app.pass(minutes(5));
    app.sweep().await;
    assert_eq!(app.decision(&ace, &late), None, "behind the watermark");
    app.pass(hours(1));
    app.sweep().await;
    assert!(app.decision(&ace, &late).is_some(), "the reconcile sweep looks back");
    app.pass(hours(2));
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn an_invoice_is_asked_about_when_it_leaves_draft() {
    let (app, ace) = TestApp::connected(Trigger::InvoiceCreated).await;
    app.pass(minutes(10));
    let customer = ace.customer(&app);
    let draft = ace.invoice(&app, &customer, None, false);
    app.sweep().await;
    assert_eq!(app.decision(&ace, &draft), None);

    app.pass(hours(24 * 9));
    ace.mark_sent(&app, &draft);
    app.sweep().await;
    assert!(app.waits(&ace, &draft), "it counts from its issue date, not from the draft");
    app.pass(hours(2));
    assert_eq!(app.sweep().await.delivered, 1);
    let body = app.receiver.got()[0].json();
    assert_eq!(body["invoice"]["total"], 2500.0);
    assert_eq!(body["invoice"]["status"], "awaiting_payment");
    app.finish().await;
}

#[tokio::test]
async fn drafts_count_where_the_operator_says_so() {
    let app = TestApp::start_with(|config| config.review.include_drafts = true).await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::InvoiceCreated).await;
    app.pass(minutes(10));
    let customer = ace.customer(&app);
    let draft = ace.invoice(&app, &customer, None, false);
    app.sweep().await;
    assert!(app.waits(&ace, &draft));
}

#[tokio::test]
async fn a_paid_invoice_is_asked_about_once_however_often_it_is_reopened() {
    let (app, ace) = TestApp::connected(Trigger::InvoicePaid).await;
    app.pass(minutes(10));
    let customer = ace.customer(&app);
    let invoice = ace.invoice(&app, &customer, None, true);
    app.sweep().await;
    assert_eq!(app.decision(&ace, &invoice), None, "not paid yet");
    ace.pay(&app, &invoice);
    app.sweep().await;
    app.pass(hours(2));
    assert_eq!(app.sweep().await.delivered, 1);
    ace.reopen_invoice(&app, &invoice);
    app.pass(minutes(5));
    app.sweep().await;
    ace.pay(&app, &invoice);
    app.pass(hours(3));
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_payment_that_was_taken_back_is_not_asked_about() {
    let (app, ace) = TestApp::connected(Trigger::InvoicePaid).await;
    app.pass(minutes(10));
    let customer = ace.customer(&app);
    let invoice = ace.invoice(&app, &customer, None, true);
    ace.pay(&app, &invoice);
    app.sweep().await;
    ace.reopen_invoice(&app, &invoice);
    app.pass(hours(2));
    app.sweep().await;
    assert_eq!(app.skip_reason(&ace, &invoice), SkipReason::NoLongerFinished);
    app.finish().await;
}

#[tokio::test]
async fn switching_the_trigger_asks_nobody_again() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(minutes(10));
    let customer = ace.customer(&app);
    let job = ace.job(&app, &customer, "Water Heater Installation", &[]);
    ace.close(&app, &job);
    app.sweep().await;
    app.pass(hours(2));
    assert_eq!(app.sweep().await.delivered, 1);

    app.connect(&ace, Trigger::InvoicePaid).await;
    app.pass(minutes(10));
    let invoice = ace.invoice(&app, &customer, Some(&job), true);
    ace.pay(&app, &invoice);
    app.sweep().await;
    app.pass(hours(2));
    app.sweep().await;
    assert_eq!(app.skip_reason(&ace, &invoice), SkipReason::AlreadyAsked);

    app.connect(&ace, Trigger::VisitCompleted).await;
    app.pass(minutes(10));
    let visit = ace.another_visit(&app, &job);
    ace.complete(&app, &visit, None);
    app.sweep().await;
    app.pass(hours(2));
    app.sweep().await;
    assert_eq!(app.skip_reason(&ace, &visit), SkipReason::AlreadyAsked);
    assert_eq!(app.receiver.got().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn work_from_a_long_outage_is_found_and_what_is_stale_is_not_asked_about() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.sweep().await;
    app.pass(minutes(10));
    let stale = ace.closed_job(&app);
    app.pass(hours(24 * 5));
    let fresh = ace.closed_job(&app);
    app.pass(hours(24 * 3));
    app.sweep().await;
    app.sweep().await;
    assert_eq!(app.skip_reason(&ace, &stale), SkipReason::TooOld);
    assert!(matches!(app.decision(&ace, &fresh).unwrap().outcome, Outcome::Asked { .. }));
    assert_eq!(app.receiver.got().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_busy_week_is_read_over_many_pages() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.sweep().await;
    app.pass(minutes(10));
    let customer = ace.customer(&app);
    let jobs: Vec<WorkRef> =
        (0..250).map(|number| ace.job(&app, &customer, &format!("Job {number}"), &[])).collect();
    for job in &jobs {
        ace.close(&app, job);
    }
    app.pass(minutes(5));
    let before = app.sandbox.stats(ace.number).requests;
    let report = app.sweep().await;
    assert_eq!(report.accounts[0].candidates, 250);
    assert_eq!(app.sandbox.stats(ace.number).requests - before, 4, "20, then 100 a page");
    app.pass(minutes(5));
    assert_eq!(app.sweep().await.accounts[0].candidates, 0);
}

#[tokio::test]
async fn work_on_the_very_instant_of_the_watermark_is_found_by_both_readings_of_after() {
    for inclusive in [true, false] {
        let (app, ace) = TestApp::connected(Trigger::VisitCompleted).await;
        app.switch(&ace, json!({"after_inclusive": inclusive}));
        app.pass(minutes(30));
        let customer = ace.customer(&app);
        let job = ace.job(&app, &customer, "Cleaning", &[]);
        let (first, second) = (ace.visits(&app, &job)[0].clone(), ace.another_visit(&app, &job));
        ace.complete(&app, &first, None);
        app.sweep().await;
        ace.complete(&app, &second, None);
        app.pass(minutes(5));
        app.sweep().await;
        assert!(app.waits(&ace, &first) && app.waits(&ace, &second), "inclusive: {inclusive}");
        app.pass(hours(2));
        app.sweep().await;
        assert_eq!(app.receiver.got().len(), 2);
        app.finish().await;
    }
}

#[tokio::test]
async fn an_app_without_the_scope_for_users_still_asks() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.switch(&ace, json!({"hidden_types": ["User"]}));
    app.pass(minutes(10));
    ace.closed_job(&app);
    app.sweep().await;
    app.pass(hours(2));
    assert_eq!(app.sweep().await.delivered, 1);
    let body = app.receiver.got()[0].json();
    assert_eq!(body["assigned_users"], json!([]));
    assert_eq!(body["message"], "Hi John! How was your Water Heater Installation?");

    app.switch(&ace, json!({"hidden_types": [], "hidden_fields": ["Visit.assignedUsers"]}));
    app.pass(minutes(10));
    ace.closed_job(&app);
    app.sweep().await;
    app.pass(hours(2));
    assert_eq!(app.sweep().await.delivered, 1);
    app.finish().await;
}

#[tokio::test]
async fn a_status_of_the_future_is_skipped_with_its_name() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.switch(
        &ace,
        json!({"unknown_enum": {"field": "jobStatus", "value": "paused_by_weather"}, "extra_fields": true}),
    );
    app.pass(minutes(10));
    let job = ace.closed_job(&app);
    app.sweep().await;
    assert_eq!(app.skip_reason(&ace, &job), SkipReason::UnknownStatus);
    assert_eq!(app.decision(&ace, &job).unwrap().saw["status"], "paused_by_weather");

    // A newer daemon, or a Jobber that thought better of it.
    app.switch(&ace, json!({"unknown_enum": null}));
    app.pass(minutes(5));
    app.sweep().await;
    assert!(app.waits(&ace, &job));
}

#[tokio::test]
async fn a_dry_run_leaves_no_trace() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.sweep().await;
    app.pass(minutes(10));
    // One to be asked, one to be skipped, one that is known and will wait longer, and one that cannot be read.
    let job = ace.closed_job(&app);
    let silent = ace.customer_with(&app, json!({"phones": [], "emails": []}));
    let skipped = ace.job(&app, &silent, "Drain Cleaning", &[]);
    ace.close(&app, &skipped);
    let reopened = ace.closed_job(&app);
    app.sweep().await;
    app.pass(hours(1));
    ace.reopen(&app, &reopened);
    ace.close(&app, &reopened);
    app.pass(hours(1));
    let unseen = ace.closed_job(&app);
    app.pass(hours(2));
    let dry = async || once(&app.context, None, Effect::DryRun, &no_progress).await.unwrap();
    // The one exception: a token that Jobber rotates is stored.
    dry().await;
    let before = app.everything_stored().await;
    for _ in 0..2 {
        let report = dry().await;
        let row = &report.accounts[0];
        assert_eq!((row.candidates, row.asked, row.skipped, report.delivered), (1, 3, 1, 0));
    }
    ace.set(&app, job.id.as_str(), "jobberWebUri", json!(null));
    app.fault(&ace, FaultKind::WaitingRoom, 1, Some("Jobs"));
    assert_eq!(dry().await.errors.len(), 2, "the sweep and one recheck");
    assert_eq!(app.everything_stored().await, before);
    assert!(app.receiver.got().is_empty());
    assert_eq!(app.decision(&ace, &unseen), None);
    assert!(app.waits(&ace, &skipped));

    ace.set(&app, job.id.as_str(), "jobberWebUri", json!("https://secure.example.com/1"));
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 3);
    app.finish().await;
}

#[tokio::test]
async fn an_invoice_paid_on_the_day_of_the_connection_but_before_it_is_not_asked_about() {
    let app = TestApp::start().await;
    let ace = app.contractor("Ace Plumbing");
    let customer = ace.customer(&app);
    let invoice = ace.invoice(&app, &customer, None, true);
    ace.pay_on(&app, &invoice, at("2026-03-10T00:00:00Z"));
    app.pass(hours(1));
    app.connect(&ace, Trigger::InvoicePaid).await;
    app.sweep().await;
    assert_eq!(app.skip_reason(&ace, &invoice), SkipReason::BeforeConnection);
    app.pass(hours(1));
    ace.set(&app, invoice.id.as_str(), "subject", json!("A better subject"));
    app.sweep().await;
    app.pass(hours(3));
    app.sweep().await;
    assert_eq!(app.skip_reason(&ace, &invoice), SkipReason::BeforeConnection);
    app.finish().await;
}

#[tokio::test]
async fn a_sweep_of_one_account_delivers_its_own_asks_only() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    let green = app.contractor("Green Acre");
    app.connect(&green, Trigger::JobCompleted).await;
    app.pass(minutes(10));
    ace.closed_job(&app);
    green.closed_job(&app);
    app.sweep().await;
    app.pass(hours(2));
    let report = once(&app.context, Some(&green.id), Effect::Apply, &no_progress).await.unwrap();
    assert_eq!((report.delivered, app.receiver.got().len()), (1, 1));
    assert_eq!(app.receiver.got()[0].json()["account"]["name"], "Green Acre");
    app.sweep().await;
    app.finish().await;
}

#[tokio::test]
async fn one_account_of_many_can_be_swept_alone() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    let green = app.contractor("Green Acre");
    app.connect(&green, Trigger::JobCompleted).await;
    let report = once(&app.context, Some(&green.id), Effect::Apply, &no_progress).await.unwrap();
    assert_eq!(report.accounts.len(), 1);
    assert_eq!(report.accounts[0].name, "Green Acre");
    assert_eq!(app.sandbox.stats(ace.number).operations.get("Jobs"), None);
}

#[tokio::test]
async fn a_failing_account_keeps_no_other_one_waiting() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    let green = app.contractor("Green Acre");
    app.connect(&green, Trigger::JobCompleted).await;
    app.fault(&ace, FaultKind::Http { status: 503, retry_after: None }, 10, None);
    app.pass(minutes(10));
    green.closed_job(&app);
    let report = app.once().await;
    assert_eq!(report.errors.len(), 1);
    app.pass(hours(2));
    assert_eq!(app.once().await.delivered, 1);
}
