//! `doctor`, `test-event`, `replay`: is everything in order, and how to mend it.

use std::os::unix::fs::PermissionsExt as _;

use jobber_reviewd::testing::model::Trigger;
use jobber_reviewd::testing::protocol::{Doctor, Replay, TestEvent, Verb};
use jobber_reviewd::testing::{Check, CheckState};
use jobber_sandbox::Op;
use serde_json::json;

use crate::machine::{Machine, terminate};
use crate::support::*;

async fn checked<V: Verb<Reply = Vec<Check>>>(app: &TestApp, verb: V) -> Vec<Check> {
    app.run(verb).await.unwrap()
}

/// The names of the checks that failed, and of those that were skipped for it; every failure has a remedy.
fn wrong(checks: &[Check]) -> (Vec<&str>, Vec<&str>) {
    let of = |state| -> Vec<&str> {
        checks.iter().filter(|check| check.state == state).map(|check| check.name.as_str()).collect()
    };
    for check in checks.iter().filter(|check| check.state == CheckState::Failed) {
        assert!(check.remedy.as_ref().is_some_and(|remedy| remedy.len() > 10), "{check:?}");
    }
    (of(CheckState::Failed), of(CheckState::Skipped))
}

#[tokio::test]
async fn a_healthy_installation_has_nothing_to_mend_and_is_left_as_it_was() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    ace.closed_job(&app);
    app.sweep().await;
    let before = app.everything_stored().await;
    let checks = checked(&app, Doctor {}).await;
    assert_eq!(wrong(&checks), (vec![], vec![]), "{checks:#?}");
    assert_eq!(app.everything_stored().await, before);
    let got = app.receiver.got();
    assert_eq!((got.len(), &got[0].json()["type"]), (1, &json!("ping")), "nobody is asked");
}

#[tokio::test]
async fn a_wrong_client_secret_is_told_apart_from_a_dead_connection() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    let app = app.restart_with_client_secret("wrong").await;
    assert_eq!(wrong(&checked(&app, Doctor {}).await).0, ["client id and secret"]);
    let app = app.restart().await;
    app.sandbox.control(Op::RevokeTokens { account: ace.number }).unwrap();
    app.once().await;
    app.pass(minutes(6));
    let checks = checked(&app, Doctor {}).await;
    assert_eq!(wrong(&checks).0, ["account Ace Plumbing"]);
    let remedy =
        checks.iter().find_map(|check| check.remedy.as_ref().filter(|text| text.contains("link create")));
    assert!(remedy.is_some(), "{checks:#?}");
}

#[tokio::test]
async fn what_depends_on_a_jobber_that_is_not_there_is_skipped() {
    let app = TestApp::start_with(|config| {
        // Port 9 is the discard service: nobody listens.
        config.jobber.api_base = serde_json::from_value(json!("http://127.0.0.1:9/api")).unwrap();
    })
    .await;
    let checks = checked(&app, Doctor {}).await;
    assert_eq!(wrong(&checks), (vec!["Jobber's API"], vec!["clock", "client id and secret", "accounts"]));
}

#[tokio::test]
async fn a_clock_that_is_off_is_seen_by_jobbers() {
    let (app, _) = TestApp::connected(Trigger::JobCompleted).await;
    for minutes_off in [10, -10] {
        app.skew(minutes(minutes_off));
        assert_eq!(wrong(&checked(&app, Doctor {}).await).0, ["clock"]);
    }
}

#[tokio::test]
async fn a_receiver_that_refuses_our_signature_or_is_gone_and_dead_letters_are_told() {
    for status in [401, 404, 410, 500] {
        let (app, _) = TestApp::connected(Trigger::JobCompleted).await;
        app.receiver.answers(&[status]);
        assert_eq!(wrong(&checked(&app, Doctor {}).await).0, ["receiver of Ace Plumbing"], "{status}");
    }
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(minutes(10));
    ace.closed_job(&app);
    app.sweep().await;
    app.pass(hours(2));
    app.receiver.answers(&[422]);
    app.once().await;
    assert_eq!(wrong(&checked(&app, Doctor {}).await).0, ["queue"]);
}

#[tokio::test]
async fn broken_settings_and_open_secrets_are_told_before_anything_else_is_tried() {
    let machine = Machine::set_up().await;
    let daemon = machine.start().await;
    let said = machine.run(&["doctor", "--json"]).await;
    let checks: Vec<Check> = serde_json::from_value(said.json()).unwrap();
    assert_eq!((said.status, wrong(&checks)), (0, (vec![], vec![])), "{}", said.out);
    assert_eq!(terminate(daemon).await, 0);
    machine.receiver.answers(&[]);
    let said = machine.run(&["doctor"]).await;
    assert_eq!(said.status, 0, "without a daemon too: {}{}", said.out, said.err);

    std::fs::set_permissions(machine.path("store_key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = machine.run(&["doctor"]).await;
    assert_eq!(said.status, 3);
    assert!(said.out.contains("FAILED  secrets") && said.out.contains("chmod 600"), "{}", said.out);
    assert!(
        said.out.contains("everything else: skipped, because this check failed: secrets"),
        "{}",
        said.out
    );

    std::fs::write(machine.path("config.toml"), "[poll]\nschedule = \"*/5 * * * *\"\n").unwrap();
    let said = machine.run(&["doctor", "--json"]).await;
    let checks: Vec<Check> = serde_json::from_value(said.json()).unwrap();
    // All at once: the schedule, and three keys that must be set.
    assert_eq!((said.status, wrong(&checks)), (3, (vec!["configuration"; 4], vec!["everything else"])));
    for key in ["poll.schedule", "jobber.client_id", "http.public_url", "review.webhook_url"] {
        assert!(said.out.contains(&format!("{key}: ")), "{key}: {}", said.out);
    }
}

#[tokio::test]
async fn a_receiver_is_tried_with_a_sample_that_is_marked_and_counts_for_nothing() {
    let (app, _) = TestApp::connected(Trigger::JobCompleted).await;
    app.receiver.answers(&[401, 200, 200]);
    let checks = checked(&app, TestEvent { account: Some("Ace Plumbing".into()) }).await;
    assert_eq!(wrong(&checks), (vec![], vec![]), "{checks:#?}");
    let got = app.receiver.got();
    assert_eq!(got.len(), 3);
    assert_eq!((got[1].id(), &got[1].body), (got[2].id(), &got[2].body));
    assert_ne!(got[0].id(), got[1].id());
    let sample = got[1].json();
    assert_eq!((&sample["type"], &sample["test"]), (&json!("review.test"), &json!(true)));
    assert_eq!(sample["account"]["name"], "Ace Plumbing");
    assert_eq!(sample["client"]["name"], "Test Customer");
    let by = standardwebhooks::Webhook::new(&webhook_secret()).unwrap();
    let verify = |got: &Got| {
        let at = got.headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
        got.headers["webhook-signature"] == by.sign(got.id(), at, &got.body).unwrap().as_str()
    };
    assert!(!verify(&got[0]) && verify(&got[1]) && verify(&got[2]));
    app.finish_with_repeats().await;
}

#[tokio::test]
async fn a_receiver_with_bad_habits_is_told_which() {
    for (answers, failed, skipped) in [
        (vec![200, 200, 200], vec!["a wrong signature"], vec![]),
        (vec![401, 401], vec!["a sample"], vec!["the same sample again"]),
        (vec![401, 200, 500], vec!["the same sample again"], vec![]),
    ] {
        let app = TestApp::start().await;
        app.receiver.answers(&answers);
        let checks = checked(&app, TestEvent { account: None }).await;
        assert_eq!(wrong(&checks), (failed, skipped), "{answers:?}");
    }
}

#[tokio::test]
async fn dead_letters_are_replayed_under_their_old_ids_after_they_were_counted() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(minutes(10));
    for _ in 0..3 {
        ace.closed_job(&app);
    }
    app.sweep().await;
    app.pass(hours(2));
    app.receiver.answers(&[422, 422, 422]);
    app.once().await;
    let first = app.receiver.ids();
    let replay = |since_seconds, write| Replay { account: None, since_seconds, write };
    let said = app.run(replay(3600, false)).await.unwrap().done;
    assert_eq!(said, "3 dead letters would be sent again: add --yes to do it");
    app.pass(hours(2));
    assert!(app.run(replay(3600, true)).await.unwrap().done.starts_with("0 "));
    app.once().await;
    assert_eq!(app.receiver.got().len(), 3);
    assert!(app.run(replay(4 * 3600, true)).await.unwrap().done.starts_with("3 "));
    app.once().await;
    let mut ids = app.receiver.ids()[3..].to_vec();
    let mut first = first;
    ids.sort();
    first.sort();
    assert_eq!(ids, first);
    app.finish_with_repeats().await;
}
