//! The window: customers are asked in the contractor's own daytime, whatever holds an ask up.

use jiff::{SignedDuration, Timestamp};
use jobber_reviewd::testing::model::{Outcome, Trigger, WorkRef};
use jobber_sandbox::Op;
use serde_json::json;

use crate::support::*;

const USUAL: [&str; 3] = ["09:00-20:00", "09:00-20:00", "12:00-20:00"];

/// An app that asks in the usual hours, and a contractor whose owner lives in `zone`.
async fn in_zone(zone: &str) -> (TestApp, Contractor) {
    let app =
        TestApp::start_with(|config| config.review.window = serde_json::from_value(window(USUAL)).unwrap())
            .await;
    let op = Op::AddAccount { name: "Ace Plumbing".into(), timezone: zone.into() };
    let made = app.sandbox.control(op).unwrap();
    let id = jobber_reviewd::testing::model::AccountId::new(made["id"].as_str().unwrap());
    let ace = Contractor { number: made["account"].as_u64().unwrap(), id };
    app.connect(&ace, Trigger::JobCompleted).await;
    app.sweep().await;
    (app, ace)
}

/// Lets time pass until `to`, with a sweep every five minutes.
async fn run_until(app: &TestApp, to: &str) {
    while app.clock_now() < at(to) {
        app.pass(minutes(5).min(at(to).duration_since(app.clock_now())));
        app.sweep().await;
    }
}

fn due(app: &TestApp, ace: &Contractor, job: &WorkRef) -> Option<Timestamp> {
    match app.decision(ace, job)?.outcome {
        Outcome::Waiting { due_at } => Some(due_at),
        _ => None,
    }
}

#[tokio::test]
async fn what_falls_due_at_night_leaves_in_the_morning_in_order_and_spread() {
    let (app, ace) = in_zone("America/New_York").await;
    // From 18:30 in New York, one every half hour: all are due after eight.
    run_until(&app, "2026-03-10T22:30:00Z").await;
    let mut jobs = Vec::new();
    for _ in 0..6 {
        jobs.push(ace.closed_job(&app));
        app.pass(minutes(30));
        app.sweep().await;
    }
    run_until(&app, "2026-03-11T12:55:00Z").await;
    assert_eq!(app.receiver.got().len(), 0, "it is five to nine");
    let reads = app.sandbox.stats(ace.number).operations.get("Details").copied();
    assert_eq!(reads, None, "nothing is read to be put off");
    let planned: Vec<_> = jobs.iter().map(|job| due(&app, &ace, job).unwrap()).collect();
    assert!(planned.is_sorted() && planned.windows(2).all(|pair| pair[0] < pair[1]), "{planned:?}");
    assert!(
        planned[0] >= at("2026-03-11T13:00:00Z") && planned[5] < at("2026-03-11T14:00:00Z"),
        "{planned:?}"
    );
    run_until(&app, "2026-03-11T14:05:00Z").await;
    // Two that leave with the same step may overtake each other on the wire.
    let got = app.receiver.got();
    let asked = jobs.iter().map(|job| {
        let of_job = got.iter().find(|got| got.json()["job"]["id"] == json!(job.id));
        of_job.unwrap().json()["timestamp"].as_str().unwrap().parse::<Timestamp>().unwrap()
    });
    assert!(asked.is_sorted());
    assert_eq!(got.len(), jobs.len());
    app.finish().await;
}

#[tokio::test]
async fn the_hours_are_the_contractors_own_however_jobber_names_his_zone() {
    // Closed at 12:00 UTC, due at 14:00: ten in New York, seven in Los Angeles, four in the afternoon in Berlin.
    for (zone, leaves) in [
        ("America/New_York", "2026-03-10T14:00:00Z"),
        ("America/Los_Angeles", "2026-03-10T16:00:00Z"),
        ("Pacific Time (US & Canada)", "2026-03-10T16:00:00Z"),
        ("Europe/Berlin", "2026-03-10T14:00:00Z"),
        // As the settings say where nobody knows the name.
        ("Middle Earth", "2026-03-10T14:00:00Z"),
    ] {
        let (app, ace) = in_zone(zone).await;
        ace.closed_job(&app);
        run_until(&app, leaves).await;
        let early = app.receiver.got().len();
        run_until(&app, "2026-03-10T17:05:00Z").await;
        assert_eq!(app.receiver.got().len(), 1, "{zone}");
        let sent = Timestamp::from_second(
            app.receiver.got()[0].headers["webhook-timestamp"].to_str().unwrap().parse().unwrap(),
        )
        .unwrap();
        let late = sent.duration_since(at(leaves));
        assert!(late >= SignedDuration::ZERO && late <= hours(1), "{zone}: {sent}, {early}");
        app.finish().await;
    }
}

#[tokio::test]
async fn without_the_scope_for_users_the_settings_say_where_we_are() {
    let app =
        TestApp::start_with(|config| config.review.window = serde_json::from_value(window(USUAL)).unwrap())
            .await;
    let ace = app.contractor("Ace Plumbing");
    app.switch(&ace, json!({"hidden_types": ["User"]}));
    app.connect(&ace, Trigger::JobCompleted).await;
    app.sweep().await;
    assert_eq!(app.context.store.account(&ace.id).await.unwrap().unwrap().timezone, None);
    ace.closed_job(&app);
    run_until(&app, "2026-03-10T14:05:00Z").await;
    assert_eq!(app.receiver.got().len(), 1);
    // The scope is given: within the hour we know.
    app.switch(&ace, json!({"hidden_types": []}));
    run_until(&app, "2026-03-10T15:30:00Z").await;
    let known = app.context.store.account(&ace.id).await.unwrap().unwrap().timezone;
    assert_eq!(known.as_deref(), Some("America/New_York"));
}

#[tokio::test]
async fn a_retry_does_not_wake_anybody() {
    let (app, ace) = in_zone("America/New_York").await;
    // Closed at 17:50 in New York, asked at 19:50, and the platform is down.
    run_until(&app, "2026-03-10T21:50:00Z").await;
    ace.closed_job(&app);
    app.receiver.answers(&[503; 2]);
    run_until(&app, "2026-03-11T00:00:00Z").await;
    let tried = app.receiver.got().len();
    assert_eq!(tried, 2);
    run_until(&app, "2026-03-11T12:55:00Z").await;
    assert_eq!(app.receiver.got().len(), tried, "nothing at night");
    run_until(&app, "2026-03-11T14:05:00Z").await;
    assert!(app.receiver.got().len() > tried);
    app.finish_with_repeats().await;
}

#[tokio::test]
async fn an_ask_that_was_held_up_into_the_night_waits_for_the_morning() {
    let (app, ace) = in_zone("America/New_York").await;
    run_until(&app, "2026-03-10T20:00:00Z").await;
    ace.closed_job(&app);
    run_until(&app, "2026-03-10T21:55:00Z").await;
    app.pass(minutes(5));
    app.context.rechecker.recheck_once(None).await.unwrap();
    assert_eq!(app.context.store.entries().await.unwrap().len(), 1, "it is in the outbox");
    // The daemon was away until ten in the evening.
    app.pass(hours(4));
    app.context.deliverer.deliver_once(None).await.unwrap();
    assert_eq!(app.receiver.got().len(), 0);
    assert!(app.context.store.next_message_due().await.unwrap().unwrap() >= at("2026-03-11T13:00:00Z"));
    run_until(&app, "2026-03-11T14:05:00Z").await;
    assert_eq!(app.receiver.got().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn whoever_reconnects_keeps_his_hours_and_a_move_is_noticed() {
    let (app, ace) = in_zone("America/Los_Angeles").await;
    let zone = || now(app.context.store.account(&ace.id)).unwrap().unwrap().timezone;
    assert_eq!(zone().as_deref(), Some("America/Los_Angeles"));
    app.sandbox.control(Op::Disconnect { account: ace.number }).unwrap();
    app.once().await;
    app.connect(&ace, Trigger::JobCompleted).await;
    assert_eq!(zone().as_deref(), Some("America/Los_Angeles"), "before any sweep");
    let state = app.sandbox.control(Op::State).unwrap();
    let of_ace =
        state["accounts"].as_array().unwrap().iter().find(|row| row["account"] == ace.number).unwrap();
    let owner = of_ace["users"][0]["id"].as_str().unwrap().to_owned();
    ace.set(&app, &owner, "timezone", json!("America/Denver"));
    app.sweep().await;
    assert_eq!(zone().as_deref(), Some("America/Denver"));
}

#[tokio::test]
async fn explain_names_the_moment_at_which_an_ask_can_really_leave() {
    let app = TestApp::start_with(|config| {
        config.review.window =
            serde_json::from_value(window(["09:00-20:00", "09:00-20:00", "09:00-20:00"])).unwrap();
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    // 19:30 in New York: two hours later nobody is asked any more.
    app.pass(minutes(11 * 60 + 30));
    let job = ace.closed_job(&app);
    app.sweep().await;
    let what = job.id.to_string();
    let explained =
        app.run(jobber_reviewd::testing::protocol::Explain { what, render: false }).await.unwrap();
    let leaves = explained[0].leaves_at.unwrap();
    assert!(leaves >= at("2026-03-11T13:00:00Z") && leaves < at("2026-03-11T14:00:00Z"), "{leaves}");
}
