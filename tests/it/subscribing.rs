//! The app's webhooks at Jobber, kept as they are needed without anybody's hand.

use std::collections::BTreeSet;

use jobber_reviewd::testing::model::{AlertKind, Trigger};
use jobber_reviewd::testing::protocol::{AccountSet, EventsStatus, EventsTurn};
use jobber_sandbox::FaultKind;
use serde_json::json;

use crate::support::*;

const ADDRESS: &str = "https://reviews.example.com";

async fn enabled(forward: serde_json::Value) -> (TestApp, Contractor) {
    let app = TestApp::start_with(|config| {
        config.http.public_url = serde_json::from_value(json!(ADDRESS)).unwrap();
        config.events.enabled = true;
        config.events.webhook_url = Some(serde_json::from_value(json!("https://crm.example.com/")).unwrap());
        config.events.topics = serde_json::from_value(json!([])).unwrap();
        config.events.forward = serde_json::from_value(forward).unwrap();
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    (app, ace)
}

async fn subscribe(app: &TestApp) -> usize {
    app.context.subscriber.subscribe_once().await.unwrap()
}

/// The topics and addresses of the webhooks at the local Jobber.
fn at_jobber(app: &TestApp) -> BTreeSet<(String, String)> {
    app.sandbox.webhooks()
}

fn topics(app: &TestApp) -> Vec<String> {
    at_jobber(app).into_iter().map(|(topic, _)| topic).collect()
}

fn requests(app: &TestApp, account: &Contractor) -> u64 {
    app.sandbox.stats(account.number).requests
}

#[tokio::test]
async fn webhooks_follow_what_is_needed_and_standing_ones_cost_nothing() {
    let (app, ace) = enabled(json!([{"topics": ["QUOTE_APPROVED"]}])).await;
    assert_eq!(subscribe(&app).await, 5);
    let needed = ["APP_DISCONNECT", "CLIENT_UPDATE", "JOB_CLOSED", "JOB_UPDATE", "QUOTE_APPROVED"];
    assert_eq!(topics(&app), needed);
    let before = requests(&app, &ace);
    assert_eq!(subscribe(&app).await, 0);
    assert_eq!(requests(&app, &ace), before);

    let set = AccountSet {
        account: "Ace Plumbing".into(),
        set: [("trigger".to_owned(), json!("visit_completed"))].into(),
        unset: vec![],
        body: None,
        secret: None,
    };
    app.run(set).await.unwrap();
    assert_eq!(subscribe(&app).await, 4, "two go, two come");
    assert_eq!(
        topics(&app),
        ["APP_DISCONNECT", "CLIENT_UPDATE", "QUOTE_APPROVED", "VISIT_COMPLETE", "VISIT_UPDATE"]
    );

    // Whoever connects later has events too, and whose events were ended has none.
    let blue = app.contractor("Blue Cleaning");
    app.connect(&blue, Trigger::JobCompleted).await;
    app.run(EventsTurn { account: Some("Ace Plumbing".into()), on: false }).await.unwrap();
    subscribe(&app).await;
    assert_eq!(topics(&app), needed);
    let report = app.run(EventsStatus {}).await.unwrap();
    let of = |name: &str| report.accounts.iter().find(|row| row.name == name).unwrap().topics.len();
    assert_eq!((of("Ace Plumbing"), of("Blue Cleaning")), (0, 5));
    let quote = report.topics.iter().find(|row| row.topic == "QUOTE_APPROVED").unwrap();
    assert_eq!((quote.wanted_by, quote.is_there, quote.heard_at), (1, true, None));
}

#[tokio::test]
async fn another_address_moves_every_webhook() {
    let (app, _ace) = enabled(json!([])).await;
    subscribe(&app).await;
    let app = app
        .restart_with_change(|config| {
            config.http.public_url = serde_json::from_value(json!("https://new.example.com")).unwrap();
        })
        .await;
    assert_eq!(subscribe(&app).await, 4);
    let addresses: BTreeSet<String> = at_jobber(&app).into_iter().map(|(_, url)| url).collect();
    assert_eq!(addresses, ["https://new.example.com/webhooks/jobber".to_owned()].into());
    assert_eq!(subscribe(&app).await, 0);
}

#[tokio::test]
async fn a_hundred_accounts_share_what_one_created() {
    for per_account in [false, true] {
        let (app, ace) = enabled(json!([])).await;
        app.switch(&ace, json!({"webhooks_per_account": per_account}));
        subscribe(&app).await;
        let mut others = Vec::new();
        for number in 0..8 {
            let contractor = app.contractor(&format!("Contractor {number}"));
            app.switch(&contractor, json!({"webhooks_per_account": per_account}));
            app.connect(&contractor, Trigger::JobCompleted).await;
            others.push((requests(&app, &contractor), contractor));
        }
        subscribe(&app).await;
        let asked: u64 = others.iter().map(|(before, account)| requests(&app, account) - before).sum();
        assert_eq!(asked, if per_account { 8 * 4 } else { 4 }, "one asks for all if the app's serve all");
        assert_eq!(at_jobber(&app).len(), 4);
        assert_eq!(subscribe(&app).await, 0);
    }
}

#[tokio::test]
async fn a_refused_topic_is_told_once_and_keeps_no_other_one() {
    let (app, ace) = enabled(json!([{"topics": ["PAYMENT_CREATE", "QUOTE_SENT"]}])).await;
    app.switch(&ace, json!({"refused_topics": ["PAYMENT_CREATE"]}));
    assert_eq!(subscribe(&app).await, 5);
    assert!(!topics(&app).contains(&"PAYMENT_CREATE".to_owned()));
    let told = app.context.notifier.notify_once().await.unwrap();
    let told: Vec<_> = told.iter().filter(|alert| alert.kind == AlertKind::EventsRefused).collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].summary.contains("PAYMENT_CREATE of 1 account"), "{}", told[0].summary);
    let report = app.run(EventsStatus {}).await.unwrap();
    assert!(report.topics.iter().any(|row| row.topic == "PAYMENT_CREATE" && row.refused.is_some()));
    let before = requests(&app, &ace);
    assert_eq!(subscribe(&app).await, 0);
    assert_eq!(requests(&app, &ace), before, "it is not asked for all the time");
    // The scope comes; a day later it is asked for again.
    app.switch(&ace, json!({"refused_topics": []}));
    app.pass(hours(25));
    assert_eq!(subscribe(&app).await, 1);
    app.context.notifier.notify_once().await.unwrap();
    let standing = app.context.notifier.standing().await.unwrap();
    assert!(standing.iter().all(|alert| alert.kind != AlertKind::EventsRefused));
}

#[tokio::test]
async fn an_outage_is_made_up_for() {
    let (app, ace) = enabled(json!([])).await;
    app.fault(&ace, FaultKind::Http { status: 503, retry_after: None }, 1, Some("EventOn"));
    assert_eq!(subscribe(&app).await, 0);
    app.pass(minutes(6));
    assert_eq!(subscribe(&app).await, 4);
}

/// A change that is watched is looked at when Jobber tells of it, whatever the account's trigger.
#[tokio::test]
async fn what_is_watched_is_looked_at_when_jobber_tells_of_it() {
    let crm = Receiver::start().await;
    let url = crm.url();
    let app = TestApp::start_with(|config| {
        config.events.webhook_url = Some(serde_json::from_value(json!(url)).unwrap());
        config.events.topics = serde_json::from_value(json!(["invoice.updated"])).unwrap();
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    app.context.watcher.watch_once(app.context.store.account_ids().await.unwrap()).await.unwrap();
    app.pass(minutes(5));
    let customer = ace.customer(&app);
    let invoice = ace.invoice(&app, &customer, None, false);
    let topic = jobber_reviewd::testing::Topic::InvoiceCreate;
    let event = jobber_reviewd::testing::Event {
        account: ace.id.clone(),
        topic,
        item: invoice.id.clone(),
        occurred_at: None,
    };
    let uses = app.context.settings.uses_of(topic);
    app.context.store.note_event(event, uses, app.clock_now()).await.unwrap();
    assert_eq!(app.context.inbox.follow_up_once().await.unwrap().told, 1);
    assert!(!app.context.store.has_follow_ups().await.unwrap());
}

/// It is not known whether webhooks end with the account that created them: when it leaves, the others ask again.
#[tokio::test]
async fn what_a_leaver_created_is_asked_for_again() {
    let (app, ace) = enabled(json!([])).await;
    subscribe(&app).await;
    let blue = app.contractor("Blue Cleaning");
    app.connect(&blue, Trigger::JobCompleted).await;
    subscribe(&app).await;
    app.sandbox.control(jobber_sandbox::Op::Disconnect { account: ace.number }).unwrap();
    for _ in 0..2 {
        app.once().await;
        app.pass(minutes(10));
    }
    let before = requests(&app, &blue);
    subscribe(&app).await;
    assert_eq!(requests(&app, &blue) - before, 4);
    assert_eq!(at_jobber(&app).len(), 4);
    let before = requests(&app, &blue);
    assert_eq!(subscribe(&app).await, 0);
    assert_eq!(requests(&app, &blue), before, "once is enough");
}
