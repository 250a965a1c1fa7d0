//! Jobber's instants are whole seconds, many rows have the same one, and pages are cut in the middle of it.

use jobber_reviewd::testing::model::{EncodedId, Trigger, WorkRef};
use jobber_sandbox::Op;
use serde_json::json;

use crate::support::*;

async fn connected(trigger: Trigger) -> (TestApp, Contractor) {
    let app = TestApp::start_with(|config| config.review.burst_above = 0).await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, trigger).await;
    app.pass(minutes(10));
    app.sweep().await;
    (app, ace)
}

#[tokio::test]
async fn a_second_that_fills_pages_is_read_whole_whatever_bounds_and_ties_do() {
    for trigger in [Trigger::JobCompleted, Trigger::VisitCompleted] {
        for switches in [
            json!({"after_inclusive": false}),
            json!({"after_inclusive": true}),
            json!({"hidden_fractions": true}),
            json!({"unstable_ties": true}),
        ] {
            let (app, ace) = connected(trigger).await;
            app.switch(&ace, switches.clone());
            app.pass(minutes(5));
            let customer = ace.customer(&app);
            let mut works = Vec::new();
            for _ in 0..230 {
                let job = ace.job(&app, &customer, "Mowing", &[]);
                let visit = ace.visits(&app, &job)[0].clone();
                ace.close(&app, &job);
                works.push(if trigger == Trigger::JobCompleted { job } else { visit });
            }
            app.sweep().await;
            let missed = works.iter().filter(|work| !app.waits(&ace, work)).count();
            assert_eq!(missed, 0, "{trigger} {switches}");
            app.pass(minutes(5));
            assert_eq!(app.sweep().await.accounts[0].candidates, 0);
        }
    }
}

#[tokio::test]
async fn two_edits_within_one_second_are_two_changes() {
    let crm = Receiver::start().await;
    let url = crm.url();
    let app = TestApp::start_with(|config| {
        config.events.webhook_url = Some(serde_json::from_value(json!(url)).unwrap());
        config.events.topics = serde_json::from_value(json!(["client.updated", "job.updated"])).unwrap();
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    let look = async || {
        app.context.watcher.watch_once(app.context.store.account_ids().await.unwrap()).await.unwrap()
    };
    look().await;
    app.pass(minutes(10));
    let john = ace.customer(&app);
    let job = ace.job(&app, &john, "Mowing", &[]);
    assert_eq!(look().await, 2);
    ace.set(&app, &john.id, "firstName", json!("Johnny"));
    ace.close(&app, &job);
    assert_eq!(look().await, 2, "same second, other content");
    ace.set(&app, &john.id, "firstName", json!("Jack"));
    assert_eq!(look().await, 1);
    assert_eq!(look().await, 0);
    // What is about one record leaves one after the other.
    while !app.context.deliverer.deliver_once(None).await.unwrap().is_empty() {}
    let mut ids = crm.ids();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5, "each under an id of its own");
}

/// More than what is read at a time.
#[tokio::test]
async fn a_back_log_of_thousands_is_read_in_parts_and_nothing_is_left_out() {
    let (app, ace) = connected(Trigger::JobCompleted).await;
    app.pass(minutes(5));
    let job = ace.closed_job(&app);
    let op = Op::Copy { account: ace.number, id: job.id.to_string(), copies: 5_100 };
    let made = app.sandbox.control(op).unwrap();
    let ids = made["ids"].as_array().unwrap();
    let jobs: Vec<_> = ids.iter().map(|id| WorkRef::job(EncodedId::new(id.as_str().unwrap()))).collect();
    app.switch(&ace, json!({"bucket_size": 1e9, "requests_per_window": 1_000_000}));
    let before = app.context.store.accounts().await.unwrap()[0].watermarks.clone();
    app.sweep().await;
    assert!(!jobs.iter().all(|job| app.waits(&ace, job)), "the first part is not all of it");
    assert_eq!(app.context.store.accounts().await.unwrap()[0].watermarks, before);
    app.sweep().await;
    assert!(jobs.iter().all(|job| app.waits(&ace, job)));
    assert_ne!(app.context.store.accounts().await.unwrap()[0].watermarks, before);
    app.pass(minutes(5));
    app.sweep().await;
}
