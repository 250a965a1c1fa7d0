//! Whom to ask: each person once in a while, nobody who is not to be asked.

use jobber_reviewd::testing::model::{Outcome, SkipReason, Trigger, WorkRef};
use jobber_reviewd::testing::protocol::{
    AccountSet, Doctor, QueueRelease, ShadowCompare, Status, SuppressAdd, SuppressList, SuppressRemove,
};
use jobber_reviewd::testing::{OpError, Period};
use serde_json::json;

use crate::support::*;

async fn with_cooldown(across_accounts: bool) -> TestApp {
    TestApp::start_with(|config| {
        config.review.cooldown = Period::parse("180d").unwrap();
        config.review.cooldown_across_accounts = across_accounts;
    })
    .await
}

/// A closed job of a new card, and nothing more to do for it.
async fn job_of(app: &TestApp, contractor: &Contractor, card: serde_json::Value) -> WorkRef {
    let customer = contractor.customer_with(app, card);
    let job = contractor.job(app, &customer, "Drain Cleaning", &[]);
    contractor.close(app, &job);
    app.pass(minutes(5));
    app.sweep().await;
    app.pass(hours(3));
    app.sweep().await;
    job
}

fn card(phone: &str, email: &str) -> serde_json::Value {
    json!({
        "phones": [{"number": phone, "smsAllowed": true, "primary": true}],
        "emails": [{"address": email, "primary": true}],
    })
}

fn is_asked(app: &TestApp, contractor: &Contractor, job: &WorkRef) -> bool {
    matches!(app.decision(contractor, job).map(|decision| decision.outcome), Some(Outcome::Asked { .. }))
}

#[tokio::test]
async fn one_person_is_asked_once_through_whichever_card() {
    let app = with_cooldown(false).await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    app.sweep().await;
    let first = job_of(&app, &ace, card("5551234567", "john@example.com")).await;
    assert!(is_asked(&app, &ace, &first));
    // The same telephone on another card; the same address, written otherwise; a card made anew.
    for again in [
        card("+1 (555) 123-4567", "jane@example.com"),
        card("5559999999", "JOHN@Example.com"),
        card("5551234567", "john@example.com"),
    ] {
        let job = job_of(&app, &ace, again).await;
        assert_eq!(app.skip_reason(&ace, &job), SkipReason::AskedRecently);
    }
    let saw = app.decision(&ace, &job_of(&app, &ace, card("5551234567", "x@example.com")).await).unwrap().saw;
    assert!(saw["ask_id"].starts_with("ask_") && saw.contains_key("may_be_asked_from"), "{saw:?}");
    // Somebody else.
    let other = job_of(&app, &ace, card("5552222222", "lee@example.com")).await;
    assert!(is_asked(&app, &ace, &other));
    // Half a year later.
    app.pass(hours(180 * 24));
    app.sweep().await;
    let later = job_of(&app, &ace, card("5551234567", "john@example.com")).await;
    assert!(is_asked(&app, &ace, &later));
    assert_eq!(app.receiver.got().len(), 3);
    app.finish().await;
}

#[tokio::test]
async fn a_visit_and_its_invoice_or_a_switch_of_the_trigger_ask_nobody_twice() {
    let app = with_cooldown(false).await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::VisitCompleted).await;
    app.sweep().await;
    let customer = ace.customer(&app);
    let job = ace.job(&app, &customer, "Lawn care", &[]);
    for _ in 0..3 {
        let visit = ace.another_visit(&app, &job);
        ace.complete(&app, &visit, None);
        app.pass(minutes(5));
        app.sweep().await;
        app.pass(hours(48));
        app.sweep().await;
    }
    app.connect(&ace, Trigger::InvoiceCreated).await;
    app.sweep().await;
    app.pass(hours(1));
    ace.invoice(&app, &customer, Some(&job), true);
    app.sweep().await;
    app.pass(hours(3));
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 1, "every second week is not every second week a question");
    app.finish().await;
}

#[tokio::test]
async fn another_contractors_ask_counts_only_where_the_settings_say_so() {
    for across_accounts in [false, true] {
        let app = with_cooldown(across_accounts).await;
        let (ace, best) = (app.contractor("Ace Plumbing"), app.contractor("Best Plumbing"));
        for contractor in [&ace, &best] {
            app.connect(contractor, Trigger::JobCompleted).await;
        }
        app.sweep().await;
        // At the same time: whoever comes second is told so.
        let jobs: Vec<_> =
            [&ace, &best].into_iter().map(|contractor| (contractor, contractor.closed_job(&app))).collect();
        for wait in [5, 180, 5] {
            app.pass(minutes(wait));
            app.sweep().await;
        }
        let asked = jobs.iter().filter(|(contractor, job)| is_asked(&app, contractor, job)).count();
        assert_eq!(asked, if across_accounts { 1 } else { 2 });
        app.finish().await;
    }
}

#[tokio::test]
async fn whoever_is_on_the_list_is_never_asked() {
    let app = with_cooldown(false).await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    app.sweep().await;
    let (what, account, note) = ("(555) 123-4567".to_owned(), None, Some("asked us to stop".to_owned()));
    app.run(SuppressAdd { what: what.clone(), account, note }).await.unwrap();
    let job = job_of(&app, &ace, card("5551234567", "john@example.com")).await;
    assert_eq!(app.skip_reason(&ace, &job), SkipReason::Suppressed);
    assert_eq!(app.decision(&ace, &job).unwrap().saw["note"], "asked us to stop");
    let list = app.run(SuppressList {}).await.unwrap();
    assert_eq!(list.len(), 1);
    let remove = || SuppressRemove { what: what.clone(), account: None };
    assert!(app.run(remove()).await.is_ok());
    assert!(matches!(app.run(remove()).await, Err(OpError::NotFound(_))));
    let job = job_of(&app, &ace, card("5551234567", "john@example.com")).await;
    assert!(is_asked(&app, &ace, &job));
}

#[tokio::test]
async fn tags_in_jobber_say_never_and_not_yet() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    let (never, held, stale) = (ace.customer(&app), ace.customer(&app), ace.customer(&app));
    for (customer, tag) in [(&never, "No-Review"), (&held, "hold-review"), (&stale, "hold-review")] {
        ace.set(&app, &customer.id, "_tags", json!([tag]));
    }
    let jobs: Vec<_> = [&never, &held, &stale]
        .map(|customer| {
            let job = ace.job(&app, customer, "Drain Cleaning", &[]);
            ace.close(&app, &job);
            job
        })
        .into_iter()
        .collect();
    for wait in [5, 180, 180] {
        app.pass(minutes(wait));
        app.sweep().await;
    }
    assert_eq!(app.skip_reason(&ace, &jobs[0]), SkipReason::Tagged);
    assert!(app.waits(&ace, &jobs[1]) && app.waits(&ace, &jobs[2]));
    ace.set(&app, &held.id, "_tags", json!([]));
    app.pass(minutes(61));
    app.sweep().await;
    assert!(is_asked(&app, &ace, &jobs[1]));
    app.pass(hours(7 * 24));
    app.sweep().await;
    assert_eq!(app.skip_reason(&ace, &jobs[2]), SkipReason::TooOld);
    app.finish().await;
}

/// The adapters of `docs/receivers`, byte for byte.
#[tokio::test]
async fn a_chat_and_a_gateway_for_texts_get_what_they_take() {
    for (adapter, expected) in [
        (
            "slack.json.j2",
            r#"{"text": "Ace &amp; Sons &lt;Plumbing&gt;: John Smith is due for a review request (+15551234567)\n> Hi John! How was your Water Heater Installation with Mike?", "unfurl_links": false}"#,
        ),
        (
            "sms.json.j2",
            r#"{"to": "+15551234567", "sender": "Ace & Sons <Plumbing>", "text": "Hi John! How was your Water Heater Installation with Mike?", "reference": "JOB"}"#,
        ),
    ] {
        let body = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/receivers").join(adapter);
        let app = TestApp::start_with(|config| config.review.body_file = Some(body)).await;
        let ace = app.contractor("Ace & Sons <Plumbing>");
        app.connect(&ace, Trigger::JobCompleted).await;
        app.pass(minutes(5));
        let job = ace.closed_job(&app);
        app.sweep().await;
        app.pass(hours(2));
        app.sweep().await;
        let got = app.receiver.got();
        assert_eq!(got[0].body, expected.replace("JOB", job.id.as_str()), "{adapter}");
        app.finish().await;
    }
}

#[tokio::test]
async fn the_operators_words_and_field_names_reach_the_platform() {
    let folder = tempfile::tempdir().unwrap();
    let body = folder.path().join("body.json");
    std::fs::write(
        &body,
        r#"{"to": {{ client.phone or none }}, "text": {{ message }}, "by": {{ account.name }}}"#,
    )
    .unwrap();
    let app = TestApp::start_with(|config| {
        config.review.message = Some("{{ client.first_name }}, how was {{ team }}?".into());
        config.review.body_file = Some(body);
    })
    .await;
    let ace = app.contractor("Ace \"Fast\" Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    app.sweep().await;
    app.pass(minutes(5));
    let with_crew = ace.closed_job(&app);
    let customer = ace.customer(&app);
    let without = ace.job(&app, &customer, "Drain Cleaning", &[]);
    ace.close(&app, &without);
    app.sweep().await;
    app.pass(hours(2));
    app.sweep().await;
    let mut texts: Vec<_> =
        app.receiver.got().iter().map(|got| got.json()["text"].as_str().unwrap().to_owned()).collect();
    texts.sort();
    assert_eq!(texts, ["Hi John! How was your Drain Cleaning?", "John, how was Mike?"]);
    assert_eq!(app.receiver.got()[0].json()["by"], "Ace \"Fast\" Plumbing");
    assert!(is_asked(&app, &ace, &with_crew));
    app.finish().await;
}

#[tokio::test]
async fn a_shadow_decides_everything_and_sends_nothing() {
    let app = TestApp::start_with(|config| {
        config.review.cooldown = Period::parse("180d").unwrap();
        config.review.shadow = true;
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    app.sweep().await;
    let first = job_of(&app, &ace, card("5551234567", "john@example.com")).await;
    assert_eq!(app.skip_reason(&ace, &first), SkipReason::Shadow);
    let again = job_of(&app, &ace, card("5551234567", "jane@example.com")).await;
    assert_eq!(app.skip_reason(&ace, &again), SkipReason::AskedRecently, "as it would be");
    let lonely = job_of(&app, &ace, card("5552222222", "lee@example.com")).await;
    assert_eq!(app.skip_reason(&ace, &lonely), SkipReason::Shadow);
    assert_eq!(app.receiver.got().len(), 0);
    let sent =
        "phone,email,asked_at\n555-123-4567,,2026-03-10T15:00:00Z\n,jane@example.com,2026-03-10T19:00:00Z\n";
    let theirs = jobber_reviewd::testing::import::parse(sent.as_bytes(), app.clock_now()).unwrap().asked;
    let request = ShadowCompare { theirs, account: Some("Ace Plumbing".into()) };
    let report = app.run(request).await.unwrap();
    assert_eq!((report.both, report.only_us.len()), (1, 1));
    assert_eq!(report.only_them[0].we.as_deref(), Some("asked_recently"));

    // Sending begins: who would have been asked in the shadow was not, and may be.
    let app = app.restart_with_change(|config| config.review.shadow = false).await;
    let now_sent = job_of(&app, &ace, card("5551234567", "john@example.com")).await;
    assert!(is_asked(&app, &ace, &now_sent));
    app.finish().await;
}

#[tokio::test]
async fn what_was_found_too_old_can_be_released_by_hand() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    let job = ace.closed_job(&app);
    app.pass(hours(8 * 24));
    app.sweep().await;
    assert_eq!(app.skip_reason(&ace, &job), SkipReason::TooOld);
    let release = |what: &str| app.run(QueueRelease { what: what.to_owned() });
    assert!(matches!(release("Nobody").await, Err(OpError::NotFound(_))));
    assert!(release(job.id.as_str()).await.is_ok());
    app.sweep().await;
    assert!(is_asked(&app, &ace, &job));
    assert!(matches!(release(job.id.as_str()).await, Err(OpError::NotFound(_))), "it was asked about");
    app.finish().await;
}

/// Closes a job with Jobber's switch off, and lets its moment come.
async fn switched_off(app: &TestApp, ace: &Contractor) -> WorkRef {
    let customer = ace.customer(app);
    let job = ace.job(app, &customer, "Drain Cleaning", &[]);
    ace.set(app, job.id.as_str(), "allowReviewRequest", json!(false));
    ace.close(app, &job);
    app.pass(minutes(5));
    app.sweep().await;
    app.pass(hours(2));
    app.sweep().await;
    job
}

#[tokio::test]
async fn a_switch_that_is_off_on_nearly_every_job_does_not_count() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    let remarks = async || app.run(Status {}).await.unwrap().accounts[0].remarks.clone();
    for number in 1..=5 {
        let job = switched_off(&app, &ace).await;
        assert_eq!(app.skip_reason(&ace, &job), SkipReason::WorkOptedOut, "{number}");
    }
    assert_eq!(remarks().await, Vec::<String>::new(), "it is counted once a day");
    app.pass(hours(24));
    app.sweep().await;
    assert_eq!(
        remarks().await,
        [
            "review requests are off in Jobber for 5 of the 5 finished jobs that changed last: this switch is ignored (review.jobber_switch is auto)"
        ]
    );
    let doctor = app.run(Doctor {}).await.unwrap();
    assert!(doctor.iter().any(|check| check.detail.contains("this switch is ignored")), "{doctor:?}");
    let job = switched_off(&app, &ace).await;
    assert!(is_asked(&app, &ace, &job));

    // The contractor begins to use it: one job of seven has it on.
    ace.closed_job(&app);
    app.pass(hours(24));
    app.sweep().await;
    assert_eq!(remarks().await, Vec::<String>::new());
    let job = switched_off(&app, &ace).await;
    assert_eq!(app.skip_reason(&ace, &job), SkipReason::WorkOptedOut);
}

#[tokio::test]
async fn what_the_switch_means_can_be_set() {
    for (setting, asked) in [("respect", 0), ("ignore", 1)] {
        let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
        let set = std::iter::once(("jobber_switch".to_owned(), json!(setting))).collect();
        let account = ace.id.to_string();
        app.run(AccountSet { account, set, unset: vec![], body: None, secret: None }).await.unwrap();
        switched_off(&app, &ace).await;
        assert_eq!(app.receiver.got().len(), asked, "{setting}");
    }
}

#[tokio::test]
async fn a_client_who_receives_no_review_requests_is_never_asked() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.sweep().await;
    for _ in 0..5 {
        let customer = ace.customer(&app);
        ace.set(&app, &customer.id, "receivesReviewRequests", json!(false));
        let job = ace.job(&app, &customer, "Drain Cleaning", &[]);
        ace.close(&app, &job);
    }
    app.pass(hours(24));
    app.sweep().await;
    let status = app.run(Status {}).await.unwrap();
    assert!(
        status.accounts[0].remarks[0].starts_with("5 of the 5 clients"),
        "{:?}",
        status.accounts[0].remarks
    );
    assert_eq!(app.receiver.got().len(), 0);
}

#[tokio::test]
async fn an_ask_on_its_way_is_dropped_when_its_customer_is_put_on_the_list() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.sweep().await;
    app.receiver.answers(&[503; 3]);
    let job = job_of(&app, &ace, card("5551234567", "john@example.com")).await;
    let tried = app.receiver.got().len();
    assert!(tried > 0 && app.context.store.entries().await.unwrap().len() == 1);
    let what = "(555) 123-4567 ext. 9".to_owned();
    let refused = SuppressAdd { what: "John Smith".into(), account: None, note: None };
    assert!(matches!(app.run(refused).await, Err(OpError::Refused(_))), "a name is nobody");
    app.run(SuppressAdd { what, account: None, note: None }).await.unwrap();
    app.pass(hours(30));
    app.sweep().await;
    assert_eq!((app.receiver.got().len(), app.context.store.entries().await.unwrap().len()), (tried, 0));
    let Some(Outcome::Asked { delivery, .. }) = app.decision(&ace, &job).map(|decision| decision.outcome)
    else {
        panic!("it was asked about")
    };
    assert_eq!(delivery, jobber_reviewd::testing::model::Delivery::Dropped);
}

#[tokio::test]
async fn in_a_shadow_nothing_is_sent_that_was_decided_before_either() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.sweep().await;
    app.receiver.answers(&[503]);
    job_of(&app, &ace, card("5551234567", "john@example.com")).await;
    let app = app.restart_with_change(|config| config.review.shadow = true).await;
    app.pass(hours(1));
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 1);
    let app = app.restart_with_change(|config| config.review.shadow = false).await;
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 2);
    app.finish_with_repeats().await;
}
