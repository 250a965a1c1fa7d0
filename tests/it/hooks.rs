//! Jobber's webhooks: proved, stored, followed up at once, and never more than a hint.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use jobber_reviewd::testing::model::{
    AlertKind, Connection, Delivery, Outcome, SkipReason, Trigger, WorkRef,
};
use jobber_reviewd::testing::protocol::{
    AccountDisconnect, AccountPause, AccountResume, AccountSet, EventsStatus, EventsTurn, Replay,
};
use jobber_reviewd::testing::{EventsOf, Followed, Http, Topic, Uses};
use jobber_sandbox::{CLIENT_SECRET, FaultKind, Op};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio_util::sync::CancellationToken;

use crate::support::*;

/// An app whose public listener answers.
struct Heard {
    app: TestApp,
    ace: Contractor,
    url: String,
    stop: tokio_util::sync::DropGuard,
    http: tokio::task::JoinHandle<()>,
}

impl Heard {
    async fn start(trigger: Trigger) -> Self {
        let listener = tokio::net::TcpListener::bind(local()).await.unwrap();
        let public = format!("http://{}", listener.local_addr().unwrap());
        let app = TestApp::start_with(|config| {
            config.http.public_url = serde_json::from_value(json!(public)).unwrap();
        })
        .await;
        let ace = app.contractor("Ace Plumbing");
        app.connect(&ace, trigger).await;
        app.pass(minutes(10));
        app.sweep().await;
        let stop = CancellationToken::new();
        let http = tokio::spawn(Http::new(listener, app.context()).run(stop.clone()));
        Self { app, ace, url: format!("{public}/webhooks/jobber"), stop: stop.drop_guard(), http }
    }

    async fn enabled(trigger: Trigger) -> Self {
        let heard = Self::start(trigger).await;
        let rows = heard.turn(true).await;
        assert!(rows.iter().all(|row| row.error.is_none()), "{rows:?}");
        heard
    }

    async fn turn(&self, on: bool) -> Vec<EventsOf> {
        self.app.run(EventsTurn { account: None, on }).await.unwrap()
    }

    /// Sends what Jobber might; the status.
    async fn send(&self, body: &str, proof: &str) -> u16 {
        let sent =
            http().post(&self.url).header("x-jobber-hmac-sha256", proof).body(body.to_owned()).send().await;
        sent.unwrap().status().as_u16()
    }

    async fn tell(&self, topic: &str, item: &str) -> u16 {
        let body = event(self.ace.id.as_str(), topic, item);
        self.send(&body, &proof(CLIENT_SECRET, &body)).await
    }

    async fn follow_ups(&self, number: usize) {
        self.app
            .until(async || self.app.context.store.follow_ups(&self.ace.id).await.unwrap().len() == number)
            .await;
    }

    async fn listen(&self) -> Followed {
        self.app.context.inbox.follow_up_once().await.unwrap()
    }

    fn asks(&self) -> Vec<Value> {
        self.app.receiver.got().iter().map(|got| got.json()["job"]["id"].clone()).collect()
    }
}

fn event(account: &str, topic: &str, item: &str) -> String {
    let event = json!({"topic": topic, "appId": "app", "accountId": account, "itemId": item, "occurredAt": "2026-03-10T12:00:00Z"});
    json!({"data": {"webHookEvent": event}}).to_string()
}

fn proof(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[tokio::test]
async fn a_close_is_known_at_once_without_a_sweep() {
    for trigger in [Trigger::JobCompleted, Trigger::VisitCompleted, Trigger::InvoicePaid] {
        let heard = Heard::enabled(trigger).await;
        let (app, ace) = (&heard.app, &heard.ace);
        let customer = ace.customer(app);
        let job = ace.job(app, &customer, "Drain Cleaning", &[]);
        let work = match trigger {
            Trigger::JobCompleted => job.clone(),
            Trigger::VisitCompleted => ace.visits(app, &job).remove(0),
            _ => ace.invoice(app, &customer, Some(&job), true),
        };
        match trigger {
            Trigger::InvoicePaid => ace.pay(app, &work),
            _ => ace.close(app, &job),
        }
        // What was told before the close is read as not finished; the close itself follows.
        while !app.waits(ace, &work) {
            app.until(async || app.context.store.has_follow_ups().await.unwrap()).await;
            heard.listen().await;
        }
        app.pass(hours(2));
        app.context.rechecker.recheck_once(None).await.unwrap();
        app.context.deliverer.deliver_once(None).await.unwrap();
        assert_eq!(app.receiver.got().len(), 1, "{trigger}");
    }
}

#[tokio::test]
async fn only_jobber_is_believed() {
    let heard = Heard::start(Trigger::JobCompleted).await;
    let job = heard.ace.closed_job(&heard.app);
    let body = event(heard.ace.id.as_str(), "JOB_CLOSED", job.id.as_str());
    for wrong in ["", "AAAA", "not base64!", &proof("another secret", &body), &proof(CLIENT_SECRET, "{}")] {
        assert_eq!(heard.send(&body, wrong).await, 401, "{wrong}");
    }
    assert!(!heard.app.context.store.has_follow_ups().await.unwrap());
    assert_eq!(heard.send(&body, &proof(CLIENT_SECRET, &body)).await, 200);
    assert!(heard.app.context.store.has_follow_ups().await.unwrap());
}

#[tokio::test]
async fn what_means_nothing_here_is_acknowledged_and_kept_nowhere() {
    let heard = Heard::start(Trigger::JobCompleted).await;
    for (account, topic) in [
        ("nobody", "JOB_CLOSED"),
        (heard.ace.id.as_str(), "QUOTE_SENT"),
        (heard.ace.id.as_str(), "VISIT_COMPLETE"),
    ] {
        let body = event(account, topic, "x");
        assert_eq!(heard.send(&body, &proof(CLIENT_SECRET, &body)).await, 200, "{topic}");
    }
    assert_eq!(heard.send("{}", &proof(CLIENT_SECRET, "{}")).await, 200);
    assert!(!heard.app.context.store.has_follow_ups().await.unwrap());
}

#[tokio::test]
async fn an_event_survives_a_crash_and_repeats_are_one() {
    let heard = Heard::start(Trigger::JobCompleted).await;
    let job = heard.ace.closed_job(&heard.app);
    for topic in ["JOB_CLOSED", "JOB_UPDATE", "JOB_CLOSED"] {
        assert_eq!(heard.tell(topic, job.id.as_str()).await, 200);
    }
    heard.follow_ups(1).await;
    let Heard { app, ace, stop, http, .. } = heard;
    drop(stop);
    http.await.unwrap();
    let app = app.restart().await;
    let followed = app.context.inbox.follow_up_once().await.unwrap();
    assert_eq!((followed.read, followed.candidates), (1, 1));
    assert!(app.waits(&ace, &job));
    assert!(!app.context.store.has_follow_ups().await.unwrap());
}

#[tokio::test]
async fn spelling_encoding_order_copies_and_delay_change_nothing() {
    for switch in [
        json!({"webhook_old_spelling": true}),
        json!({"webhook_form": true}),
        json!({"webhook_form": true, "webhook_old_spelling": true}),
        json!({"webhook_copies": 4}),
        json!({"webhook_delay_ms": 20, "webhook_copies": 2}),
        json!({"webhook_reorder": true, "webhook_copies": 3}),
    ] {
        let heard = Heard::enabled(Trigger::JobCompleted).await;
        heard.app.switch(&heard.ace, switch.clone());
        let job = heard.ace.closed_job(&heard.app);
        while !heard.app.waits(&heard.ace, &job) {
            heard.app.until(async || heard.app.context.store.has_follow_ups().await.unwrap()).await;
            heard.listen().await;
        }
        heard.app.pass(hours(2));
        heard.listen().await;
        heard.app.sweep().await;
        assert_eq!(heard.asks(), [json!(job.id)], "{switch}");
    }
    let heard = Heard::enabled(Trigger::JobCompleted).await;
    heard.app.switch(&heard.ace, json!({"webhook_bad_signature": true}));
    let job = heard.ace.closed_job(&heard.app);
    heard.app.sweep().await;
    assert!(heard.app.waits(&heard.ace, &job), "the poll is the truth");
    assert!(!heard.app.context.store.has_follow_ups().await.unwrap());
}

/// Both ways round, and in any order: one work is one ask.
#[tokio::test]
async fn webhook_and_poll_on_the_same_work_ask_once() {
    let heard = Heard::start(Trigger::JobCompleted).await;
    let (app, ace) = (&heard.app, &heard.ace);
    let mut random = fastrand::Rng::with_seed(7);
    let mut jobs = BTreeSet::new();
    for _ in 0..30 {
        let job = ace.closed_job(app);
        jobs.insert(job.id.to_string());
        assert_eq!(heard.tell("JOB_CLOSED", job.id.as_str()).await, 200);
        let mut steps: Vec<u8> = (0..6).collect();
        random.shuffle(&mut steps);
        for step in steps {
            match step {
                0 => drop(app.sweep().await),
                1 => drop(heard.listen().await),
                2 => drop(tokio::join!(app.once(), heard.listen())),
                3 => app.pass(hours(2)),
                4 => drop(heard.tell("JOB_UPDATE", job.id.as_str()).await),
                _ => drop(tokio::join!(heard.listen(), app.context.rechecker.recheck_once(None))),
            }
        }
    }
    app.pass(hours(2));
    heard.listen().await;
    app.sweep().await;
    app.sweep().await;
    let asked: Vec<String> = heard.asks().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    assert_eq!(asked.len(), 30);
    assert_eq!(asked.into_iter().collect::<BTreeSet<_>>(), jobs);
}

#[tokio::test]
async fn a_flood_becomes_one_sweep_and_nothing_is_lost() {
    let heard = Heard::start(Trigger::JobCompleted).await;
    let job = heard.ace.closed_job(&heard.app);
    let now = heard.app.clock_now();
    for number in 0..300 {
        let event = jobber_reviewd::testing::Event {
            account: heard.ace.id.clone(),
            topic: jobber_reviewd::testing::Topic::JobUpdate,
            item: jobber_reviewd::testing::model::EncodedId::new(format!("job {number}")),
            occurred_at: None,
        };
        heard.app.context.store.note_event(event, Uses::default(), now).await.unwrap();
    }
    heard.follow_ups(257).await;
    let followed = heard.listen().await;
    assert_eq!((followed.read, followed.sweep.len()), (0, 1));
    assert!(!heard.app.context.store.has_follow_ups().await.unwrap());
    heard.app.sweep().await;
    assert!(heard.app.waits(&heard.ace, &job));
}

#[tokio::test]
async fn events_wait_while_jobber_is_down() {
    let heard = Heard::start(Trigger::JobCompleted).await;
    let job = heard.ace.closed_job(&heard.app);
    heard.tell("JOB_CLOSED", job.id.as_str()).await;
    heard.app.fault(&heard.ace, FaultKind::Http { status: 503, retry_after: None }, 1, None);
    assert_eq!(heard.listen().await.candidates, 0);
    assert_eq!(heard.listen().await.read, 0, "it rests");
    heard.app.pass(minutes(1));
    assert_eq!(heard.listen().await.candidates, 1);
}

#[tokio::test]
async fn a_disconnect_is_noticed_at_once_and_a_late_one_ends_nothing() {
    let heard = Heard::enabled(Trigger::JobCompleted).await;
    let (app, ace) = (&heard.app, &heard.ace);
    app.sandbox.control(Op::Disconnect { account: ace.number }).unwrap();
    app.until(async || app.context.store.has_follow_ups().await.unwrap()).await;
    heard.listen().await;
    let state = || now(app.context.store.account(&ace.id)).unwrap().unwrap().connection;
    assert!(matches!(state(), Connection::NeedsAuthorization { .. }));
    app.connect(ace, Trigger::JobCompleted).await;
    // It comes again, after the contractor has.
    heard.tell("APP_DISCONNECT", ace.id.as_str()).await;
    heard.listen().await;
    assert_eq!(state(), Connection::Connected);
}

#[tokio::test]
async fn a_client_who_opts_out_is_not_sent_what_waits_for_the_receiver() {
    let heard = Heard::enabled(Trigger::JobCompleted).await;
    let (app, ace) = (&heard.app, &heard.ace);
    let (john, jane) = (ace.customer(app), ace.customer(app));
    let jobs: Vec<WorkRef> =
        [&john, &jane].map(|customer| ace.job(app, customer, "Drain Cleaning", &[])).into();
    for job in &jobs {
        ace.close(app, job);
    }
    app.sweep().await;
    app.pass(hours(2));
    app.receiver.answers(&[503, 503]);
    app.once().await;
    assert_eq!(app.context.store.entries().await.unwrap().len(), 2);
    while app.context.store.has_follow_ups().await.unwrap() {
        heard.listen().await;
    }
    ace.set(app, &john.id, "receivesReviewRequests", json!(false));
    while app.context.store.entries().await.unwrap().len() == 2 {
        app.until(async || app.context.store.has_follow_ups().await.unwrap()).await;
        heard.listen().await;
    }
    let outcome = app.decision(ace, &jobs[0]).unwrap().outcome;
    assert!(matches!(outcome, Outcome::Asked { delivery: Delivery::Dropped, .. }), "{outcome:?}");
    let left = app.context.store.entries().await.unwrap().remove(0);
    assert_eq!(*left.payload.work(), jobs[1], "the other customer's stays");
}

#[tokio::test]
async fn jobber_is_told_what_to_send_and_what_no_more() {
    let heard = Heard::enabled(Trigger::JobCompleted).await;
    let app = &heard.app;
    let topics = |rows: &[EventsOf]| rows[0].topics.clone();
    let rows = heard.turn(true).await;
    assert_eq!(
        topics(&rows),
        ["APP_DISCONNECT", "CLIENT_UPDATE", "JOB_CLOSED", "JOB_UPDATE"],
        "twice is once"
    );
    // One id got lost with its answer, and one endpoint is gone: neither keeps the others.
    let store = &app.context.store;
    let lost = store.endpoints().await.unwrap().iter().find(|known| known.topic == Topic::JobClosed).cloned();
    let gone = lost.clone().unwrap();
    store.note_endpoints(move |known| known.forget(&gone)).await.unwrap();
    let rows = heard.turn(true).await;
    assert_eq!(topics(&rows), ["APP_DISCONNECT", "CLIENT_UPDATE", "JOB_CLOSED", "JOB_UPDATE"]);
    assert_eq!(rows[0].error, None, "the app has it, whoever knows its id");
    let gone = jobber_reviewd::testing::model::EncodedId::new("Z29uZQ==");
    let ace = heard.ace.id.clone();
    store
        .note_endpoints(move |known| known.created(Topic::JobClosed, gone.clone(), ace.clone(), None))
        .await
        .unwrap();
    let set = AccountSet {
        account: "Ace Plumbing".into(),
        set: [("trigger".to_owned(), json!("visit_completed"))].into(),
        unset: vec![],
        body: None,
        secret: None,
    };
    app.run(set).await.unwrap();
    assert_eq!(
        topics(&heard.turn(true).await),
        ["APP_DISCONNECT", "CLIENT_UPDATE", "VISIT_COMPLETE", "VISIT_UPDATE"]
    );
    let report = app.run(EventsStatus {}).await.unwrap();
    assert!(report.accounts[0].last.is_some());
    assert_eq!(topics(&heard.turn(false).await), [""; 0]);
    let customer = heard.ace.customer(app);
    let job = heard.ace.job(app, &customer, "Drain Cleaning", &[]);
    heard.ace.close(app, &job);
    assert!(!app.context.store.has_follow_ups().await.unwrap());
}

#[tokio::test]
async fn three_accounts_share_the_apps_endpoints_and_none_silences_the_others() {
    for per_account in [false, true] {
        let heard = Heard::start(Trigger::JobCompleted).await;
        let app = &heard.app;
        let (bright, clear) = (app.contractor("Bright Windows"), app.contractor("Clear Gutters"));
        for contractor in [&bright, &clear] {
            app.connect(contractor, Trigger::JobCompleted).await;
        }
        for contractor in [&heard.ace, &bright, &clear] {
            app.switch(contractor, json!({"webhooks_per_account": per_account}));
        }
        app.pass(minutes(10));
        app.sweep().await;
        let turn = async |account: &Contractor, on: bool| {
            let rows = app.run(EventsTurn { account: Some(account.id.to_string()), on }).await.unwrap();
            assert_eq!(rows[0].error, None, "per account: {per_account}");
            rows[0].topics.len()
        };
        for contractor in [&heard.ace, &bright, &clear] {
            assert_eq!(turn(contractor, true).await, 4);
        }
        let endpoints = async || app.context.store.endpoints().await.unwrap().iter().count();
        assert_eq!(endpoints().await, if per_account { 12 } else { 4 });
        let is_heard = async |account: &Contractor| {
            let job = account.closed_job(app);
            while !app.waits(account, &job) {
                app.until(async || app.context.store.has_follow_ups().await.unwrap()).await;
                heard.listen().await;
            }
        };
        is_heard(&clear).await;
        // The one that created them leaves, by either door.
        assert_eq!(turn(&heard.ace, false).await, 0);
        is_heard(&clear).await;
        app.run(AccountDisconnect { account: bright.id.to_string(), write: true }).await.unwrap();
        is_heard(&clear).await;
        assert_eq!(endpoints().await, 4, "per account: {per_account}");
        assert_eq!(turn(&clear, false).await, 0);
        assert_eq!(endpoints().await, 0);
    }
}

#[tokio::test]
async fn an_endpoint_that_somebody_else_made_is_held_by_the_app_and_judged_by_what_comes() {
    let heard = Heard::start(Trigger::JobCompleted).await;
    let app = &heard.app;
    let make = "mutation ($input: WebhookEndpointCreateInput!) { webhookEndpointCreate(input: $input) { userErrors { message } } }";
    app.sandbox.graphql(heard.ace.number, make, json!({"input": {"topic": "JOB_CLOSED", "url": heard.url}}));
    let rows = heard.turn(true).await;
    assert_eq!((rows[0].error.as_deref(), rows[0].topics.len()), (None, 4));
    let job = heard.ace.closed_job(app);
    while !app.waits(&heard.ace, &job) {
        app.until(async || app.context.store.has_follow_ups().await.unwrap()).await;
        heard.listen().await;
    }
    // Nobody here knows its id, so it stays.
    assert_eq!(heard.turn(false).await[0].topics.len(), 0);
    assert_eq!(app.context.store.endpoints().await.unwrap().iter().count(), 0);
}

#[tokio::test]
async fn events_of_unknown_and_lost_accounts_are_taken_and_nothing_is_read() {
    let heard = Heard::enabled(Trigger::JobCompleted).await;
    let job = heard.ace.closed_job(&heard.app);
    let body = event("Z2lkOi8vSm9iYmVyL0FjY291bnQvOQ==", "JOB_CLOSED", job.id.as_str());
    assert_eq!(heard.send(&body, &proof(CLIENT_SECRET, &body)).await, 200);
    heard.app.sandbox.control(Op::RevokeTokens { account: heard.ace.number }).unwrap();
    for _ in 0..2 {
        heard.app.pass(minutes(10));
        heard.app.once().await;
    }
    let before = heard.app.sandbox.stats(heard.ace.number).requests;
    assert_eq!(heard.tell("JOB_CLOSED", job.id.as_str()).await, 200);
    heard.follow_ups(1).await;
    assert_eq!(heard.listen().await, Followed::default());
    assert_eq!(heard.app.sandbox.stats(heard.ace.number).requests, before);
}

#[tokio::test]
async fn the_apps_own_page_in_jobber_does_too() {
    let heard = Heard::start(Trigger::JobCompleted).await;
    heard.app.sandbox.control(Op::AppWebhooks { url: Some(heard.url.clone()) }).unwrap();
    let job = heard.ace.closed_job(&heard.app);
    while !heard.app.waits(&heard.ace, &job) {
        heard.app.until(async || heard.app.context.store.has_follow_ups().await.unwrap()).await;
        heard.listen().await;
    }
}

#[tokio::test]
async fn events_that_do_not_come_any_more_are_told_and_the_poll_carries_on() {
    let heard = Heard::enabled(Trigger::JobCompleted).await;
    let (app, ace) = (&heard.app, &heard.ace);
    app.switch(ace, json!({"webhook_bad_signature": true}));
    let mut job = None;
    for _ in 0..3 {
        app.context.notifier.notify_once().await.unwrap();
        assert_eq!(app.context.notifier.standing().await.unwrap(), [], "one may get lost");
        app.pass(minutes(30));
        job = Some(ace.closed_job(app));
        app.sweep().await;
    }
    let job = job.unwrap();
    app.context.notifier.notify_once().await.unwrap();
    let alerts = app.context.notifier.standing().await.unwrap();
    assert_eq!(alerts.iter().map(|alert| alert.kind).collect::<Vec<_>>(), [AlertKind::EventsStopped]);
    app.switch(ace, json!({"webhook_bad_signature": false}));
    let other = ace.closed_job(app);
    while !app.waits(ace, &other) {
        app.until(async || app.context.store.has_follow_ups().await.unwrap()).await;
        heard.listen().await;
    }
    app.context.notifier.notify_once().await.unwrap();
    assert_eq!(app.context.notifier.standing().await.unwrap(), []);
    assert!(app.waits(ace, &job));
}

#[tokio::test]
async fn a_work_of_before_the_connection_stays_unasked_whatever_is_told_of_it() {
    let heard = Heard::start(Trigger::JobCompleted).await;
    let (app, ace) = (&heard.app, &heard.ace);
    let job = ace.closed_job(app);
    ace.set(app, job.id.as_str(), "completedAt", json!("2026-03-01T10:00:00Z"));
    heard.tell("JOB_UPDATE", job.id.as_str()).await;
    heard.listen().await;
    assert_eq!(app.skip_reason(ace, &job), SkipReason::BeforeConnection);
}

/// What is heard while it is followed is not followed yet.
#[tokio::test]
async fn an_event_that_comes_while_its_record_is_read_is_followed_again() {
    let heard = Heard::start(Trigger::JobCompleted).await;
    let (app, ace) = (&heard.app, &heard.ace);
    let customer = ace.customer(app);
    let job = ace.job(app, &customer, "Drain Cleaning", &[]);
    heard.tell("JOB_UPDATE", job.id.as_str()).await;
    let store = &app.context.store;
    let read = store.follow_ups(&ace.id).await.unwrap();
    // The job is read as open; then it is closed, and told of, before the first event counts as followed.
    ace.close(app, &job);
    heard.tell("JOB_CLOSED", job.id.as_str()).await;
    store.take_from_inbox(&ace.id, read).await.unwrap();
    assert_eq!(heard.listen().await.candidates, 1);
    assert!(!store.has_follow_ups().await.unwrap());
}

#[tokio::test]
async fn a_record_that_cannot_be_read_keeps_no_other_one_waiting() {
    let heard = Heard::start(Trigger::JobCompleted).await;
    let (app, ace) = (&heard.app, &heard.ace);
    let jobs: Vec<WorkRef> = (0..5).map(|_| ace.closed_job(app)).collect();
    for job in &jobs {
        heard.tell("JOB_CLOSED", job.id.as_str()).await;
    }
    app.fault(ace, FaultKind::Nonsense, 1, Some("Details"));
    let followed = heard.listen().await;
    assert_eq!((followed.candidates, app.context.store.has_follow_ups().await.unwrap()), (4, false));
    app.sweep().await;
    assert!(jobs.iter().all(|job| app.waits(ace, job)), "the poll is the truth");
}

/// What was told while an account rests counts when it goes on.
#[tokio::test]
async fn an_opt_out_during_a_pause_is_not_forgotten() {
    let heard = Heard::enabled(Trigger::JobCompleted).await;
    let (app, ace) = (&heard.app, &heard.ace);
    let john = ace.customer(app);
    let job = ace.job(app, &john, "Drain Cleaning", &[]);
    ace.close(app, &job);
    app.sweep().await;
    app.pass(hours(2));
    app.receiver.answers(&[422]);
    app.once().await;
    while app.context.store.has_follow_ups().await.unwrap() {
        heard.listen().await;
    }
    let of_ace = || "Ace Plumbing".to_owned();
    app.run(AccountPause { account: of_ace() }).await.unwrap();
    ace.set(app, &john.id, "receivesReviewRequests", json!(false));
    app.until(async || app.context.store.has_follow_ups().await.unwrap()).await;
    heard.listen().await;
    app.run(AccountResume { account: of_ace() }).await.unwrap();
    assert_eq!(heard.listen().await.dropped, 1, "also what was given up");
    let replay = Replay { account: None, since_seconds: 1_000_000, write: true };
    assert!(app.run(replay).await.unwrap().done.starts_with("0 "));
}

#[tokio::test]
async fn a_resume_does_not_overtake_an_opt_out_that_was_heard() {
    let heard = Heard::enabled(Trigger::JobCompleted).await;
    let (app, ace) = (&heard.app, &heard.ace);
    let john = ace.customer(app);
    let job = ace.job(app, &john, "Drain Cleaning", &[]);
    ace.close(app, &job);
    app.sweep().await;
    app.pass(hours(2));
    app.receiver.answers(&[503]);
    app.once().await;
    while app.context.store.has_follow_ups().await.unwrap() {
        heard.listen().await;
    }
    app.run(AccountPause { account: "Ace Plumbing".into() }).await.unwrap();
    ace.set(app, &john.id, "receivesReviewRequests", json!(false));
    app.until(async || app.context.store.has_follow_ups().await.unwrap()).await;
    app.run(AccountResume { account: "Ace Plumbing".into() }).await.unwrap();
    // Delivery is first, minutes after the ask was decided.
    app.pass(minutes(10));
    app.context.deliverer.deliver_once(None).await.unwrap();
    assert_eq!(app.receiver.got().len(), 1, "the one attempt of before");
    assert_eq!(app.skip_reason(ace, &job), SkipReason::ClientOptedOut);
}

#[tokio::test]
async fn an_event_that_finds_its_account_under_way_is_followed_at_once() {
    let heard = Heard::start(Trigger::JobCompleted).await;
    let (app, ace) = (&heard.app, &heard.ace);
    let first = ace.closed_job(app);
    let second = ace.closed_job(app);
    heard.tell("JOB_CLOSED", first.id.as_str()).await;
    app.fault(ace, FaultKind::Hang { ms: 300 }, 1, Some("Details"));
    let begun = app.sandbox.stats(ace.number).operations.get("Details").copied().unwrap_or_default();
    let (slow, turned_away) = tokio::join!(heard.listen(), async {
        app.until(async || {
            app.sandbox.stats(ace.number).operations.get("Details").copied().unwrap_or_default() > begun
        })
        .await;
        heard.tell("JOB_CLOSED", second.id.as_str()).await;
        heard.listen().await
    });
    assert_eq!((slow.candidates, turned_away.candidates), (1, 0));
    assert!(slow.again, "the loop is rung again when the first step ends");
    assert_eq!(heard.listen().await.candidates, 1);
}
