//! Watching clients: what changed on a card is told to whoever listens.

use jobber_reviewd::testing::model::Trigger;
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
    let told = app.context.watcher.watch_once(app.context.store.account_ids().await.unwrap()).await.unwrap();
    app.context.deliverer.deliver_once(None).await.unwrap();
    told
}

fn bodies(crm: &Receiver) -> Vec<Value> {
    crm.got().iter().map(Got::json).collect()
}

/// A look begins two minutes before the last one ended: what changed before the first one is no news all the same.
#[tokio::test]
async fn what_changed_just_before_clients_were_watched_is_no_news() {
    let (app, ace, crm) = watched().await;
    let old = ace.customer(&app);
    app.pass(jiff::SignedDuration::from_secs(20));
    assert_eq!(look(&app).await, 0);
    app.pass(jiff::SignedDuration::from_secs(20));
    assert_eq!(look(&app).await, 0, "it was there before");
    ace.set(&app, &old.id, "firstName", json!("Johnny"));
    let new = ace.customer(&app);
    assert_eq!(look(&app).await, 2);
    let told = bodies(&crm);
    let of = |id: &str| told.iter().find(|event| event["after"]["id"] == id).unwrap();
    assert_eq!(of(&old.id)["before"]["first_name"], "John");
    assert_eq!(of(&new.id)["before"], Value::Null);
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
    app.finish().await;
}

/// A change that the receiver did not take holds back the later ones of its record, and of no other.
#[tokio::test]
async fn changes_of_one_record_leave_in_order() {
    let (app, ace, crm) = watched().await;
    look(&app).await;
    let (john, jane) = (ace.customer(&app), ace.customer(&app));
    app.pass(minutes(10));
    assert_eq!(look(&app).await, 2);
    let edit = |who: &Customer, name: &str| {
        app.pass(minutes(10));
        ace.set(&app, &who.id, "firstName", json!(name));
    };
    crm.answers(&[503]);
    edit(&john, "first");
    look(&app).await;
    edit(&john, "second");
    edit(&jane, "other");
    app.context.watcher.watch_once(app.context.store.account_ids().await.unwrap()).await.unwrap();
    let names = || -> Vec<String> {
        let told = bodies(&crm);
        told[2..].iter().map(|event| event["after"]["first_name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(), ["first"]);
    // The first one is due again, and refused again: the second one waits for it.
    crm.answers(&[503, 503]);
    app.context.deliverer.deliver_once(None).await.unwrap();
    app.context.deliverer.deliver_once(None).await.unwrap();
    assert!(!names().contains(&"second".to_owned()), "{:?}", names());
    for _ in 0..3 {
        app.pass(hours(1));
        app.context.deliverer.deliver_once(None).await.unwrap();
    }
    let of_john: Vec<String> = names().into_iter().filter(|name| name != "other").collect();
    assert_eq!(of_john, ["first", "first", "first", "second"]);
    assert!(names().contains(&"other".to_owned()));
    let before = names().len();
    // A dead letter lets its record go on.
    crm.answers(&[422]);
    edit(&john, "third");
    look(&app).await;
    edit(&john, "fourth");
    look(&app).await;
    assert_eq!(names()[before..], ["third", "fourth"]);
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
    app.finish_with_repeats().await;
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
    while !app.context.store.entries().await.unwrap().is_empty() {
        look(&app).await;
    }
    assert_eq!(crm.got().len(), 150);
}

#[tokio::test]
async fn where_nobody_listens_no_client_is_read() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    ace.customer(&app);
    app.sweep().await;
    app.context.watcher.watch_once(app.context.store.account_ids().await.unwrap()).await.unwrap();
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
    assert!(app.context.store.entries().await.unwrap().len() > 150, "it said that it is gone");
    ace.closed_job(&app);
    app.sweep().await;
    app.pass(hours(2));
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 1);
}

#[tokio::test]
async fn jobs_visits_and_invoices_are_told_too_where_that_is_wanted() {
    let crm = Receiver::start().await;
    let url = crm.url();
    let app = TestApp::start_with(|config| {
        config.events = serde_json::from_value(json!({
            "enabled": false, "webhook_url": url, "topics": ["job.updated", "visit.completed", "invoice.updated"],
        }))
        .unwrap();
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    let customer = ace.customer(&app);
    for _ in 0..30 {
        ace.job(&app, &customer, "Old", &[]);
    }
    app.pass(minutes(10));
    assert_eq!(look(&app).await, 0, "the first look only notes where to begin");
    app.pass(minutes(10));
    let job = ace.job(&app, &customer, "Drain Cleaning", &[]);
    let invoice = ace.invoice(&app, &customer, Some(&job), true);
    assert_eq!((look(&app).await, look(&app).await), (2, 0));
    app.pass(minutes(10));
    let visit = ace.visits(&app, &job).remove(0);
    ace.complete(&app, &visit, None);
    app.pass(minutes(10));
    ace.close(&app, &job);
    ace.pay(&app, &invoice);
    for _ in 0..150 {
        ace.job(&app, &customer, "New", &[]);
    }
    // The visit, the job, the invoice, and 150 new jobs: over several pages.
    assert_eq!((look(&app).await, look(&app).await), (153, 0));
    while !app.context.store.entries().await.unwrap().is_empty() {
        look(&app).await;
    }
    let told = bodies(&crm);
    let of = |topic: &str, kind: &str, id: &str| -> Vec<Value> {
        let of = |event: &&Value| event["type"] == topic && event[kind]["id"] == id;
        told.iter().filter(of).map(|event| event[kind].clone()).collect()
    };
    let jobs = of("job.updated", "job", job.id.as_str());
    assert_eq!(jobs.len(), 2);
    assert_eq!(jobs[0]["completed_at"], Value::Null);
    assert!(jobs[1]["completed_at"].is_string(), "{jobs:?}");
    assert_eq!(of("visit.completed", "visit", visit.id.as_str()).len(), 1);
    let invoices = of("invoice.updated", "invoice", invoice.id.as_str());
    assert_eq!((invoices.len(), &invoices[1]["status"]), (2, &json!("paid")));
    let mut ids = crm.ids();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), told.len(), "each once");
}

#[tokio::test]
async fn events_that_nobody_listens_to_any_more_are_dropped() {
    let (app, ace, crm) = watched().await;
    look(&app).await;
    app.pass(minutes(1));
    ace.customer(&app);
    crm.answers(&[500]);
    look(&app).await;
    let app = app.restart_with_change(|config| config.events.webhook_url = None).await;
    app.pass(minutes(1));
    app.context.deliverer.deliver_once(None).await.unwrap();
    assert_eq!(app.context.store.next_message_due().await.unwrap(), None);
    app.finish().await;
}
