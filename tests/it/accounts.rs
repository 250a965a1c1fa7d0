//! One account among others: settings and a receiver of its own, its rest, its end.

use std::collections::BTreeMap;

use jobber_reviewd::testing::model::{Connection, Delivery, Outcome, SkipReason, Trigger, WorkRef};
use jobber_reviewd::testing::protocol::{
    AccountDisconnect, AccountPause, AccountRemove, AccountResume, AccountSet, AccountShow, QueueRetry,
    Status, Verb,
};
use jobber_reviewd::testing::{AccountShown, Done, Handed, OpError};
use serde_json::{Value, json};

use crate::support::*;

const ACE: &str = "Ace Plumbing";

/// Two contractors, connected.
async fn two() -> (TestApp, Contractor, Contractor) {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    let bee = app.contractor("Bee Cleaning");
    app.connect(&bee, Trigger::JobCompleted).await;
    app.pass(minutes(10));
    (app, ace, bee)
}

fn wish(keys: Value) -> AccountSet {
    AccountSet {
        account: ACE.into(),
        set: serde_json::from_value(keys).unwrap(),
        unset: vec![],
        body: None,
        secret: None,
    }
}

async fn set(app: &TestApp, keys: Value) -> AccountShown {
    app.run(wish(keys)).await.unwrap()
}

async fn refused<V: Verb<Reply: std::fmt::Debug>>(app: &TestApp, verb: V) -> String {
    match app.run(verb).await {
        Err(OpError::Refused(words) | OpError::NotFound(words)) => words,
        other => panic!("{other:?}"),
    }
}

async fn done<V: Verb<Reply = Done>>(app: &TestApp, verb: V) -> String {
    app.run(verb).await.unwrap().done
}

fn of<'s>(shown: &'s AccountShown, key: &str) -> (&'s Value, bool) {
    let setting = shown.settings.iter().find(|setting| setting.key == key).unwrap();
    (&setting.value, setting.own)
}

#[tokio::test]
async fn an_account_goes_by_its_own_settings_and_the_others_do_not() {
    let (app, ace, bee) = two().await;
    let shown = set(&app, json!({"delay": "30m", "message": "Thanks, {{ client.first_name }}!"})).await;
    assert_eq!(of(&shown, "delay"), (&json!("30m"), true));
    assert_eq!(of(&shown, "max_age"), (&json!("7d"), false));

    let (early, later) = (ace.closed_job(&app), bee.closed_job(&app));
    app.sweep().await;
    app.pass(minutes(30));
    app.sweep().await;
    let got = app.receiver.got();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].json()["job"]["id"], json!(early.id));
    assert_eq!(got[0].json()["message"], "Thanks, John!");
    app.pass(minutes(90));
    app.sweep().await;
    let got = app.receiver.got();
    assert_eq!(got[1].json()["job"]["id"], json!(later.id));
    assert_eq!(got[1].json()["message"], "Hi John! How was your Water Heater Installation with Mike?");
    app.finish().await;
}

#[tokio::test]
async fn own_settings_outlive_a_restart_and_go_back_to_what_all_have() {
    let (app, _, _) = two().await;
    set(&app, json!({"window.sunday": "closed", "min_total": 100})).await;
    let app = app.restart().await;
    let shown = app.run(AccountShow { account: ACE.into() }).await.unwrap();
    assert_eq!(of(&shown, "window.sunday"), (&json!("closed"), true));
    assert_eq!(of(&shown, "min_total"), (&json!(100), true));
    let unset = AccountSet {
        account: ACE.into(),
        set: BTreeMap::new(),
        unset: vec!["window.sunday".into()],
        body: None,
        secret: None,
    };
    let shown = app.run(unset).await.unwrap();
    assert_eq!(of(&shown, "window.sunday"), (&json!("00:00-24:00"), false));
    assert_eq!(of(&shown, "min_total"), (&json!(100), true));
}

#[tokio::test]
async fn what_the_file_could_not_say_an_account_cannot_either() {
    let (app, ace, _) = two().await;
    for (keys, about) in [
        (json!({"delay": "8d"}), "review.delay"),
        (json!({"delay": "soon"}), "review.delay"),
        (json!({"window.sunday": "late"}), "review.window.sunday"),
        (json!({"webhook_url": "http://platform.example.com/"}), "review.webhook_url"),
        (json!({"webhook_url": "https://10.0.0.1/"}), "review.webhook_url"),
        (json!({"cooldown": "900d"}), "store.retention"),
        (json!({"cooldown_across_accounts": true}), "cooldown_across_accounts"),
        (json!({"min_rating": 4}), "min_rating"),
        (json!({"trigger": "job_done"}), "trigger"),
        (json!({"message": "{{ client."}), "review.message"),
    ] {
        let words = refused(&app, wish(keys.clone())).await;
        assert!(words.starts_with(about) && words.len() > about.len() + 20, "{keys}: {words}");
    }
    let words = refused(
        &app,
        AccountSet {
            account: ACE.into(),
            set: BTreeMap::new(),
            unset: vec![],
            body: None,
            secret: Some(Handed("hunter2".into())),
        },
    )
    .await;
    assert!(words.contains("whsec_") && !words.contains("hunter2"), "{words}");
    assert!(app.context.store.account(&ace.id).await.unwrap().unwrap().overrides.is_empty());
}

#[tokio::test]
async fn settings_that_fit_no_more_stop_their_account_alone_and_say_so() {
    let (app, ace, bee) = two().await;
    set(&app, json!({"delay": "3d"})).await;
    let app = app
        .restart_with_change(|config| {
            config.review.max_age = jobber_reviewd::testing::Period::parse("2d").unwrap();
        })
        .await;
    ace.closed_job(&app);
    bee.closed_job(&app);
    app.once().await;
    app.pass(hours(2));
    app.once().await;
    assert_eq!(app.receiver.got().len(), 1);
    let status = app.run(Status {}).await.unwrap();
    let action = status.accounts.iter().find(|account| account.id == ace.id).unwrap().next_action.clone();
    assert!(action.as_ref().is_some_and(|action| action.contains("review.delay")), "{action:?}");
    set(&app, json!({"delay": "1h"})).await;
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 2, "nothing is lost");
    app.finish().await;
}

#[tokio::test]
async fn an_account_has_its_own_receiver_secret_and_body() {
    let (app, ace, bee) = two().await;
    let theirs = Receiver::start().await;
    let secret =
        format!("whsec_{}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [9; 32]));
    let reply = app
        .run(AccountSet {
            account: ACE.into(),
            set: BTreeMap::from([("webhook_url".into(), json!(theirs.url()))]),
            unset: vec![],
            body: Some(r#"{"to": {{ client.phone or none }}}"#.into()),
            secret: Some(Handed(secret.clone())),
        })
        .await;
    let shown = reply.unwrap();
    assert_eq!(of(&shown, "webhook_secret_file"), (&json!("(a secret of its own)"), true));
    assert!(!format!("{shown:?}{}", app.everything_stored().await).contains(&secret[6..]));

    ace.closed_job(&app);
    bee.closed_job(&app);
    app.sweep().await;
    app.pass(hours(2));
    app.sweep().await;
    let (ours, theirs) = (app.receiver.got(), theirs.got());
    assert_eq!((ours.len(), theirs.len()), (1, 1));
    assert_eq!(theirs[0].json(), json!({"to": "+15551234567"}));
    assert_eq!(ours[0].json()["type"], "review.requested");
    for (got, secret, other) in
        [(&theirs[0], &secret, &webhook_secret()), (&ours[0], &webhook_secret(), &secret)]
    {
        let by = |secret: &str| {
            let at = got.headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
            standardwebhooks::Webhook::new(secret).unwrap().sign(got.id(), at, &got.body).unwrap()
        };
        assert_eq!(got.headers["webhook-signature"], by(secret).as_str());
        assert_ne!(got.headers["webhook-signature"], by(other).as_str());
    }
    app.finish().await;
}

#[tokio::test]
async fn a_receiver_that_hangs_delays_nobody_elses_asks() {
    let (app, ace, bee) = two().await;
    let hangs = tokio::net::TcpListener::bind(local()).await.unwrap();
    set(&app, json!({"webhook_url": format!("http://{}/", hangs.local_addr().unwrap())})).await;
    for _ in 0..20 {
        ace.closed_job(&app);
    }
    app.pass(minutes(1));
    let job = bee.closed_job(&app);
    app.sweep().await;
    app.pass(hours(2));
    app.context.rechecker.recheck_once(None).await.unwrap();
    assert_eq!(app.context.store.entries().await.unwrap().len(), 21);

    let deliverer = std::sync::Arc::clone(&app.context.deliverer);
    let step = tokio::spawn(async move { deliverer.deliver_once(None).await });
    assert_eq!(app.receiver.wait_for(1).await[0].json()["job"]["id"], json!(job.id));
    app.until(async || app.context.store.entries().await.unwrap().len() == 20).await;
    // A second step has nothing to do, and does not wait for the first one either.
    assert_eq!(app.context.deliverer.deliver_once(Some(&bee.id)).await.unwrap(), []);
    step.abort();
}

#[tokio::test]
async fn a_receiver_that_is_gone_stops_its_own_account_only() {
    let (app, ace, bee) = two().await;
    let theirs = Receiver::start().await;
    theirs.answers(&[410]);
    set(&app, json!({"webhook_url": theirs.url()})).await;
    for contractor in [&ace, &bee] {
        contractor.closed_job(&app);
    }
    app.sweep().await;
    app.pass(hours(2));
    app.once().await;
    ace.closed_job(&app);
    bee.closed_job(&app);
    app.once().await;
    app.pass(hours(2));
    app.once().await;
    assert_eq!((app.receiver.got().len(), theirs.got().len()), (2, 1));
    assert_eq!(app.context.store.entries().await.unwrap().len(), 2);
    let ask = app.context.store.entries().await.unwrap().remove(0).id;
    done(&app, QueueRetry { id: ask }).await;
    app.once().await;
    assert_eq!(theirs.got().len(), 3);
    app.finish_with_repeats().await;
}

#[tokio::test]
async fn a_paused_account_rests_and_what_was_finished_meanwhile_is_asked_about_afterwards() {
    let (app, ace, bee) = two().await;
    let (waiting, queued) = (ace.closed_job(&app), ace.closed_job(&app));
    app.sweep().await;
    app.pass(hours(2));
    app.receiver.answers(&[503, 503]);
    app.once().await;
    assert_eq!(app.context.store.entries().await.unwrap().len(), 2);
    let words = done(&app, AccountPause { account: ACE.into() }).await;
    assert!(words.contains("account resume"), "{words}");
    let requests = app.sandbox.stats(ace.number).requests;
    let meanwhile = ace.closed_job(&app);
    bee.closed_job(&app);
    for _ in 0..3 {
        app.pass(hours(2));
        let report = app.once().await;
        assert_eq!(report.errors, []);
    }
    assert_eq!(app.sandbox.stats(ace.number).requests, requests, "nothing is read");
    assert_eq!(app.receiver.got().len(), 3, "two attempts before, and the other contractor's");
    assert_eq!(app.decision(&ace, &meanwhile), None);
    let status = app.run(Status {}).await.unwrap();
    let row = status.accounts.iter().find(|account| account.id == ace.id).unwrap();
    assert_eq!((row.state.as_str(), &row.next_action), ("paused", &None));

    done(&app, AccountResume { account: ACE.into() }).await;
    app.sweep().await;
    app.pass(hours(2));
    app.sweep().await;
    for work in [waiting, queued, meanwhile] {
        let outcome = app.decision(&ace, &work).unwrap().outcome;
        assert!(
            matches!(outcome, Outcome::Asked { delivery: Delivery::Delivered { .. }, .. }),
            "{outcome:?}"
        );
    }
    app.finish_with_repeats().await;
}

#[tokio::test]
async fn disconnecting_tells_jobber_and_a_new_connection_begins_anew() {
    let (app, ace, bee) = two().await;
    let queued = ace.closed_job(&app);
    app.sweep().await;
    app.pass(hours(2));
    app.receiver.answers(&[503]);
    app.once().await;
    let waiting = ace.closed_job(&app);
    app.sweep().await;

    let words = done(&app, AccountDisconnect { account: ACE.into(), write: false }).await;
    assert!(words.contains("1 work waiting and 1 queued ask would be dropped: add --yes"), "{words}");
    assert!(app.context.store.tokens(&ace.id).await.unwrap().is_some());
    let words = done(&app, AccountDisconnect { account: ACE.into(), write: true }).await;
    assert!(words.contains("Queued asks that were dropped: 1"), "{words}");
    assert!(app.context.store.tokens(&ace.id).await.unwrap().is_none());
    assert_eq!(app.skip_reason(&ace, &waiting), SkipReason::Disconnected);
    let outcome = app.decision(&ace, &queued).unwrap().outcome;
    assert!(matches!(outcome, Outcome::Asked { delivery: Delivery::Dropped, .. }), "{outcome:?}");
    app.pass(hours(1));
    let meanwhile = ace.closed_job(&app);
    bee.closed_job(&app);
    app.sweep().await;
    let status = app.run(Status {}).await.unwrap();
    assert!(status.accounts.iter().all(|account| !account.needs_human()), "it was meant");

    app.pass(minutes(5));
    app.connect(&ace, Trigger::JobCompleted).await;
    app.pass(minutes(5));
    let after = ace.closed_job(&app);
    app.sweep().await;
    app.pass(hours(3));
    app.sweep().await;
    assert_eq!(app.skip_reason(&ace, &meanwhile), SkipReason::BeforeConnection);
    let outcome = app.decision(&ace, &after).unwrap().outcome;
    assert!(matches!(outcome, Outcome::Asked { .. }), "{outcome:?}");
}

#[tokio::test]
async fn disconnecting_waits_until_jobber_can_be_told() {
    let (app, ace, _) = two().await;
    app.fault(&ace, jobber_sandbox::FaultKind::Http { status: 503, retry_after: None }, 1, None);
    let reply = app.run(AccountDisconnect { account: ACE.into(), write: true }).await;
    assert!(matches!(&reply, Err(OpError::Failed(words)) if words.contains("still connected")), "{reply:?}");
    app.sweep().await;
    // A contractor who disconnected in Jobber has done it already.
    app.sandbox.control(jobber_sandbox::Op::Disconnect { account: ace.number }).unwrap();
    done(&app, AccountDisconnect { account: ACE.into(), write: true }).await;
    let account = app.context.store.account(&ace.id).await.unwrap().unwrap();
    assert!(matches!(account.connection, Connection::Disconnected { .. }));
}

#[tokio::test]
async fn removing_forgets_one_account_whole_and_leaves_the_others() {
    let (app, ace, bee) = two().await;
    let jobs: Vec<(Contractor, WorkRef)> =
        [&ace, &bee].map(|contractor| (contractor.clone(), contractor.closed_job(&app))).into();
    app.sweep().await;
    app.pass(hours(2));
    app.sweep().await;
    ace.closed_job(&app);
    bee.closed_job(&app);
    app.sweep().await;
    let remove = |write| AccountRemove { account: ACE.into(), write };
    assert!(refused(&app, remove(true)).await.contains("account disconnect"));
    done(&app, AccountDisconnect { account: ACE.into(), write: true }).await;
    let words = done(&app, remove(false)).await;
    assert!(words.contains("2 decisions (0 still waiting)") && words.contains("--yes"), "{words}");
    assert!(app.context.store.account(&ace.id).await.unwrap().is_some());
    done(&app, remove(true)).await;
    assert_eq!(app.context.store.account(&ace.id).await.unwrap(), None);
    assert_eq!(app.decision(&ace, &jobs[0].1), None);
    assert!(app.context.store.markers(&ace.id, &jobs[0].1, &[]).await.unwrap().is_empty());
    assert!(!app.context.store.markers(&bee.id, &jobs[1].1, &[]).await.unwrap().is_empty());
    app.pass(hours(2));
    app.sweep().await;
    assert_eq!(app.context.store.decisions(&bee.id).await.unwrap().len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn another_trigger_asks_only_about_work_from_then_on() {
    let (app, ace, _) = two().await;
    let job = ace.closed_job(&app);
    let visit = ace.visits(&app, &job).remove(0);
    app.pass(minutes(1));
    let shown = set(&app, json!({"trigger": "visit_completed"})).await;
    assert_eq!(of(&shown, "trigger"), (&json!("visit_completed"), true));
    app.pass(minutes(1));
    app.sweep().await;
    app.pass(hours(3));
    app.sweep().await;
    assert_eq!(app.skip_reason(&ace, &visit), SkipReason::BeforeConnection);
    assert_eq!(app.receiver.got().len(), 0);
}

/// A plan that was made before the account was changed counts for nothing.
#[tokio::test]
async fn a_sweep_that_is_under_way_while_the_trigger_changes_plans_nothing_for_the_old_one() {
    let (app, ace, _) = two().await;
    app.sweep().await;
    app.pass(minutes(5));
    app.fault(&ace, jobber_sandbox::FaultKind::Hang { ms: 300 }, 1, Some("Jobs"));
    let job = ace.closed_job(&app);
    let before = app.sandbox.stats(ace.number).operations["Jobs"];
    let context = app.context();
    let sweep = tokio::spawn(async move {
        let accounts = context.store.account_ids().await.unwrap();
        context
            .poller
            .poll_once(
                accounts,
                jobber_reviewd::testing::Effect::Apply,
                &jobber_reviewd::testing::no_progress,
            )
            .await
    });
    app.until(async || app.sandbox.stats(ace.number).operations["Jobs"] > before).await;
    set(&app, json!({"trigger": "invoice_paid"})).await;
    sweep.await.unwrap().unwrap();
    assert_eq!(app.decision(&ace, &job), None);
}

/// An ask that is being sent while its account is removed leaves nothing behind, whatever the answer.
#[tokio::test]
async fn removing_while_an_ask_is_on_the_wire_leaves_nothing_behind() {
    let (app, ace, _) = two().await;
    let hangs = tokio::net::TcpListener::bind(local()).await.unwrap();
    set(&app, json!({"webhook_url": format!("http://{}/", hangs.local_addr().unwrap())})).await;
    ace.closed_job(&app);
    app.sweep().await;
    app.pass(hours(2));
    app.context.rechecker.recheck_once(None).await.unwrap();
    let deliverer = std::sync::Arc::clone(&app.context.deliverer);
    let step = tokio::spawn(async move { deliverer.deliver_once(None).await });
    let (wire, _) = hangs.accept().await.unwrap();
    done(&app, AccountDisconnect { account: ACE.into(), write: true }).await;
    done(&app, AccountRemove { account: ACE.into(), write: true }).await;
    drop(wire);
    step.await.unwrap().unwrap();
    let store = &app.context.store;
    assert_eq!(store.entries().await.unwrap().len(), 0);
    assert_eq!(store.next_message_due().await.unwrap(), None);
    assert_eq!(store.next_candidate_due().await.unwrap(), None);
    assert_eq!(store.account(&ace.id).await.unwrap(), None);
}

/// The machine's clock is ahead: what is finished after the change counts all the same.
#[tokio::test]
async fn a_trigger_changes_by_jobbers_clock() {
    let (app, ace, _) = two().await;
    app.skew(minutes(-10));
    set(&app, json!({"trigger": "visit_completed"})).await;
    app.pass(minutes(1));
    let customer = ace.customer(&app);
    let job = ace.job(&app, &customer, "Drain Cleaning", &[]);
    let visit = ace.visits(&app, &job).remove(0);
    ace.complete(&app, &visit, None);
    app.pass(minutes(5));
    app.sweep().await;
    assert!(app.waits(&ace, &visit));
}
