//! Watching clients: what changed on a card is told to whoever listens.

use jobber_reviewd::model::Trigger;
use serde_json::{Value, json};

use crate::support::*;

/// An app with somebody who listens to events, and a contractor who was looked at once.
async fn watched() -> (TestApp, Contractor, Receiver) {
    let crm = Receiver::start().await;
    let url = crm.url();
    let app = TestApp::start_with(|config| {
        config.events.webhook_url = Some(serde_json::from_value(json!(url)).unwrap());
        // Nobody is asked at any hour, and nothing is sent: events are no asks.
        config.review.shadow = true;
        config.review.window = serde_json::from_value(window(["03:00-03:10", "closed", "closed"])).unwrap();
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    app.pass(minutes(10));
    (app, ace, crm)
}

/// One look, and everything sent that is due.
async fn look(app: &TestApp) -> usize {
    let told = app.engine.watcher.watch_once(app.engine.store.accounts().unwrap()).await.unwrap();
    app.engine.dispatcher.dispatch_once(None).await.unwrap();
    told
}

fn bodies(crm: &Receiver) -> Vec<Value> {
    crm.got().iter().map(Got::json).collect()
}

#[tokio::test]
async fn a_changed_card_is_told_with_before_and_after() {
    let (app, ace, crm) = watched().await;
    let old = ace.customer(&app);
    app.pass(minutes(10));
    assert_eq!(look(&app).await, 0, "the first look only notes where to begin");
    app.pass(minutes(10));
    let john = ace.customer(&app);
    assert_eq!(look(&app).await, 1);
    assert_eq!(look(&app).await, 0, "the same cards again are no news");
    app.pass(minutes(10));
    ace.set(&app, &john.id, "receivesReviewRequests", json!(false));
    ace.set(&app, &old.id, "firstName", json!("Johnny"));
    assert_eq!(look(&app).await, 2);

    let told = bodies(&crm);
    assert_eq!(told.len(), 3);
    assert_eq!((&told[0]["type"], &told[0]["before"]), (&json!("client.updated"), &Value::Null));
    assert_eq!(told[0]["account"]["name"], "Ace Plumbing");
    assert_eq!(
        told[0]["after"]["phones"][0],
        json!({"number": "+15551234567", "takes_texts": true, "is_primary": true})
    );
    let of = |id: &str| told[1..].iter().find(|event| event["after"]["id"] == id).unwrap();
    let optout = of(&john.id);
    assert_eq!(optout["before"]["receives_review_requests"], true);
    assert_eq!(optout["after"]["receives_review_requests"], false);
    assert_eq!(
        (&of(&old.id)["before"], &of(&old.id)["after"]["first_name"]),
        (&Value::Null, &json!("Johnny"))
    );
    let by = standardwebhooks::Webhook::new(&webhook_secret()).unwrap();
    for got in crm.got() {
        let at = got.headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
        assert_eq!(got.headers["webhook-signature"], by.sign(got.id(), at, &got.body).unwrap().as_str());
        assert!(got.id().starts_with("evt_"));
    }
    assert_eq!(app.receiver.got().len(), 0, "nobody is asked");
    app.finish();
}

#[tokio::test]
async fn a_card_that_was_merely_touched_is_no_news() {
    let (app, ace, crm) = watched().await;
    look(&app).await;
    app.pass(minutes(1));
    let john = ace.customer(&app);
    look(&app).await;
    app.pass(minutes(1));
    ace.set(&app, &john.id, "balance", json!(12.5));
    assert_eq!(look(&app).await, 0);
    assert_eq!(crm.got().len(), 1);
}

#[tokio::test]
async fn an_event_is_tried_again_under_its_id_and_survives_a_restart() {
    let (app, ace, crm) = watched().await;
    look(&app).await;
    app.pass(minutes(1));
    ace.customer(&app);
    crm.answers(&[500]);
    assert_eq!(look(&app).await, 1);
    let app = app.restart().await;
    app.pass(minutes(1));
    assert_eq!(look(&app).await, 0);
    let ids = crm.ids();
    assert_eq!((ids.len(), &ids[0]), (2, &ids[1]));
    assert_eq!(crm.got()[0].body, crm.got()[1].body);
    app.finish_with_repeats();
}

#[tokio::test]
async fn many_changes_are_read_to_their_end_and_each_is_told() {
    let (app, ace, crm) = watched().await;
    look(&app).await;
    app.pass(minutes(1));
    for _ in 0..150 {
        ace.customer(&app);
    }
    assert_eq!(look(&app).await, 150);
    while app.engine.store.entries().count() > 0 {
        look(&app).await;
    }
    assert_eq!(crm.got().len(), 150);
}

#[tokio::test]
async fn where_nobody_listens_no_client_is_read() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    ace.customer(&app);
    app.sweep().await;
    app.engine.watcher.watch_once(app.engine.store.accounts().unwrap()).await.unwrap();
    assert!(!app.sandbox.stats(ace.number).operations.contains_key("Clients"));
}

/// What cannot be delivered to one keeps nothing from the other, and events that nobody listens to any more least of all.
#[tokio::test]
async fn events_that_pile_up_keep_no_ask_waiting() {
    let crm = Receiver::start().await;
    let url = crm.url();
    let app = TestApp::start_with(|config| {
        config.events.webhook_url = Some(serde_json::from_value(json!(url)).unwrap());
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    app.pass(minutes(10));
    look(&app).await;
    app.pass(minutes(1));
    for _ in 0..200 {
        ace.customer(&app);
    }
    crm.answers(&[410]);
    assert_eq!(look(&app).await, 200);
    assert!(app.engine.store.entries().count() > 150, "it said that it is gone");
    ace.closed_job(&app);
    app.sweep().await;
    app.pass(hours(2));
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 1);
}
