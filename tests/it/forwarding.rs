//! Jobber's events, forwarded: any topic, with the record, in order for each record, under one id.

use std::collections::{BTreeMap, BTreeSet};

use apollo_compiler::Schema;
use apollo_compiler::schema::ExtendedType;
use jiff::{SignedDuration, Timestamp};
use jobber_reviewd::testing::model::{AccountId, EncodedId, Trigger};
use jobber_reviewd::testing::protocol::{AccountDisconnect, EventsTurn, JobberAct, QueueList};
use jobber_reviewd::testing::{ActionCall, Config, Event, Http, Topic, Uses};
use jobber_sandbox::{FaultKind, Op};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::*;

async fn forwarding(forward: Value) -> (TestApp, Contractor, Receiver) {
    forwarding_with(forward, |_| ()).await
}

async fn forwarding_with(
    forward: Value,
    change: impl FnOnce(&mut Config),
) -> (TestApp, Contractor, Receiver) {
    let crm = Receiver::start().await;
    let url = crm.url();
    let app = TestApp::start_with(|config| {
        change(config);
        config.events.webhook_url = Some(serde_json::from_value(json!(url)).unwrap());
        config.events.topics = serde_json::from_value(json!([])).unwrap();
        config.events.forward = serde_json::from_value(forward).unwrap();
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    (app, ace, crm)
}

async fn happens(app: &TestApp, account: &AccountId, topic: Topic, item: &str, at: Timestamp) {
    let event = Event { account: account.clone(), topic, item: EncodedId::new(item), occurred_at: Some(at) };
    let now = app.clock_now();
    app.context.store.note_event(event, Uses { is_forwarded: true, ..Uses::default() }, now).await.unwrap();
}

/// Everything that can move, moves.
async fn forward(app: &TestApp) -> usize {
    app.pass(SignedDuration::from_secs(3));
    let made = app.context.forwarder.forward_once().await.unwrap();
    while !app.context.deliverer.deliver_once(None).await.unwrap().is_empty() {}
    made
}

fn bodies(crm: &Receiver) -> Vec<Value> {
    crm.got().iter().map(Got::json).collect()
}

fn quote(app: &TestApp, ace: &Contractor) -> String {
    let customer = ace.customer(app);
    let mutation = "mutation ($c: EncodedId!, $p: EncodedId!) { quoteCreate(attributes: {clientId: $c, propertyId: $p, title: \"Roof\", lineItems: [{name: \"Tiles\", unitPrice: 4, quantity: 100, saveToProductsAndServices: false}]}) { quote { id } userErrors { message } } }";
    let made = app.sandbox.graphql(ace.number, mutation, json!({"c": customer.id, "p": customer.property}));
    made["data"]["quoteCreate"]["quote"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_topic_of_the_schema_is_forwarded() {
    let schema = Schema::parse_and_validate(jobber_sandbox::SCHEMA, "schema.graphql").unwrap();
    let Some(ExtendedType::Enum(topics)) = schema.types.get("WebHookTopicEnum") else { panic!("no topics") };
    let of_schema: BTreeSet<String> = topics.values.keys().map(ToString::to_string).collect();
    let known: BTreeSet<String> = Topic::ALL.iter().map(|topic| topic.as_str().to_owned()).collect();
    assert_eq!(known, of_schema);

    let (app, ace, crm) = forwarding(json!([{"topics": ["*"]}])).await;
    for (number, topic) in Topic::ALL.iter().enumerate() {
        happens(&app, &ace.id, *topic, &format!("item{number}"), app.clock_now()).await;
    }
    // What the local Jobber does not model is no answer, and waits.
    for _ in 0..Topic::ALL.len() {
        app.pass(minutes(1));
        forward(&app).await;
    }
    let told: BTreeSet<String> =
        bodies(&crm).iter().map(|body| body["topic"].as_str().unwrap().to_owned()).collect();
    assert!(told.contains("QUOTE_APPROVED") && told.contains("APP_DISCONNECT"), "{told:?}");
    for body in bodies(&crm) {
        let topic = body["topic"].as_str().unwrap();
        assert_eq!(body["type"], format!("jobber.{}", topic.to_lowercase()));
        assert_eq!(body["account"]["id"], ace.id.as_str());
        assert!(body["missing"] == "gone" || topic == "APP_CONNECT", "{body}");
    }
}

#[tokio::test]
async fn a_record_is_read_once_for_all_its_events_and_missing_says_why() {
    let (app, ace, crm) = forwarding(json!([{"topics": ["CLIENT_*", "JOB_*"]}])).await;
    let customer = ace.customer(&app);
    let job = ace.job(&app, &customer, "Sink", &[]);
    let before = app.sandbox.stats(ace.number).operations.get("RecordClient").copied().unwrap_or(0);
    for seconds in 1..=5 {
        let at = app.clock_now() - SignedDuration::from_secs(seconds);
        happens(&app, &ace.id, Topic::ClientUpdate, &customer.id, at).await;
        // Jobber repeats itself.
        happens(&app, &ace.id, Topic::ClientUpdate, &customer.id, at).await;
    }
    assert_eq!(forward(&app).await, 5);
    assert_eq!(app.sandbox.stats(ace.number).operations["RecordClient"] - before, 1);
    let told = bodies(&crm);
    let times: Vec<&str> = told.iter().map(|body| body["occurred_at"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(told[0]["record"]["name"], "John Smith");
    assert!(told[0]["read_at"].is_string());
    let ids: BTreeSet<String> = crm.got().iter().map(|got| got.id().to_owned()).collect();
    assert_eq!(ids.len(), 5);

    // A failed read is never a deletion.
    app.fault(&ace, FaultKind::Http { status: 503, retry_after: None }, 1, Some("RecordJob"));
    happens(&app, &ace.id, Topic::JobUpdate, job.id.as_str(), app.clock_now()).await;
    assert_eq!(forward(&app).await, 0);
    app.pass(minutes(1));
    assert_eq!(forward(&app).await, 1);
    assert_eq!(bodies(&crm)[5]["record"]["title"], "Sink");
    app.switch(&ace, json!({"hidden_fields": ["Query.job"]}));
    happens(&app, &ace.id, Topic::JobUpdate, job.id.as_str(), app.clock_now()).await;
    forward(&app).await;
    assert_eq!((&bodies(&crm)[6]["missing"], &bodies(&crm)[6]["record"]), (&json!("hidden"), &Value::Null));
    app.switch(&ace, json!({"hidden_fields": []}));
    ace.delete(&app, &job);
    happens(&app, &ace.id, Topic::JobUpdate, job.id.as_str(), app.clock_now()).await;
    happens(&app, &ace.id, Topic::JobDestroy, job.id.as_str(), app.clock_now()).await;
    forward(&app).await;
    assert_eq!((&bodies(&crm)[7]["missing"], &bodies(&crm)[8]["missing"]), (&json!("gone"), &json!("gone")));
    assert_eq!(bodies(&crm)[8]["sequence"], 4);
}

/// Whatever the order of arrival, failures and restarts: each record's events come in order, and none is lost.
#[tokio::test]
async fn events_of_a_record_arrive_in_order_through_failures_and_restarts() {
    for seed in 0..12 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut app, ace, crm) = forwarding(json!([{"topics": ["CLIENT_*"], "include": "ids"}])).await;
        let mut expected: BTreeMap<String, BTreeSet<Timestamp>> = BTreeMap::new();
        for _ in 0..40 {
            let mut burst = Vec::new();
            for _ in 0..random.usize(..6) {
                let at = app.clock_now() + SignedDuration::from_millis(random.i64(0..900));
                burst.push((format!("client{}", random.u8(..4)), at));
            }
            random.shuffle(&mut burst);
            for (item, at) in burst {
                happens(&app, &ace.id, Topic::ClientUpdate, &item, at).await;
                expected.entry(item).or_default().insert(at);
            }
            if random.bool() {
                let statuses: Vec<u16> = (0..random.usize(1..4)).map(|_| 503).collect();
                crm.answers(&statuses);
            }
            forward(&app).await;
            if random.u8(..8) == 0 {
                app = app.restart().await;
            }
        }
        crm.answers(&[]);
        for _ in 0..80 {
            app.pass(hours(1));
            forward(&app).await;
        }
        assert!(app.run(QueueList {}).await.unwrap().is_empty(), "seed {seed}");
        // Of repeats under one id, the first one counts.
        let (mut seen, mut got): (BTreeSet<String>, BTreeMap<String, Vec<Timestamp>>) = Default::default();
        let mut last: BTreeMap<String, String> = BTreeMap::new();
        for request in crm.got() {
            let body = request.json();
            let item = body["item"].as_str().unwrap().to_owned();
            if seen.insert(request.id().to_owned()) {
                let at = body["occurred_at"].as_str().unwrap().parse().unwrap();
                got.entry(item.clone()).or_default().push(at);
            } else {
                assert_eq!(last[&item], request.id(), "seed {seed}: one was overtaken");
            }
            last.insert(item, request.id().to_owned());
        }
        for (item, times) in expected {
            assert_eq!(
                got.remove(&item).unwrap_or_default(),
                times.into_iter().collect::<Vec<_>>(),
                "seed {seed}: {item}"
            );
        }
        assert!(got.is_empty());
    }
}

/// Two who want to know different things of one quote.
#[tokio::test]
async fn a_query_of_the_operator_says_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("quote.graphql");
    let query = "query Mine($id: EncodedId!) { quote(id: $id) { client { name } } }";
    std::fs::write(&path, query).unwrap();
    let elsewhere = Receiver::start().await;
    let (app, ace, crm) = forwarding(json!([
        {"topics": ["QUOTE_*"]},
        {"topics": ["QUOTE_*"], "url": elsewhere.url(), "include": format!("file:{}", path.display())},
    ]))
    .await;
    let quote = quote(&app, &ace);
    for seconds in 1..=3 {
        let at = app.clock_now() - SignedDuration::from_secs(seconds);
        happens(&app, &ace.id, Topic::QuoteUpdate, &quote, at).await;
    }
    assert_eq!(forward(&app).await, 6);
    assert_eq!(bodies(&elsewhere)[0]["record"], json!({"client": {"name": "John Smith"}}));
    assert!(bodies(&crm)[0]["record"]["quoteNumber"].is_string());
    let stats = app.sandbox.stats(ace.number).operations;
    assert_eq!((stats["Mine"], stats["RecordQuote"]), (1, 1), "each is read once");
}

/// With too many waiting, ids leave without their records, in order, and the operator is told.
#[tokio::test]
async fn a_pile_of_events_is_forwarded_without_records_and_told() {
    let (app, ace, crm) = forwarding(json!([{"topics": ["QUOTE_*"]}])).await;
    let begun = app.clock_now();
    let waiting = (0..10_001).map(|number: u32| {
        let at = begun + SignedDuration::from_millis(i64::from(number));
        let item = format!("quote{}", number % 100);
        let app = &app;
        let account = &ace.id;
        async move { happens(app, account, Topic::QuoteUpdate, &item, at).await }
    });
    futures_util::future::join_all(waiting).await;
    app.pass(SignedDuration::from_secs(3));
    let mut made = 0;
    while made < 10_001 {
        made += app.context.forwarder.forward_once().await.unwrap();
    }
    assert_eq!(made, 10_001);
    let read = app.sandbox.stats(ace.number).operations.get("RecordQuote").copied();
    assert!(read.unwrap_or_default() <= 1, "nothing was read until the pile was gone");
    app.context.deliverer.deliver_once(None).await.unwrap();
    for body in bodies(&crm) {
        assert_eq!((&body["record"], &body["missing"]), (&Value::Null, &Value::Null), "{body}");
    }
    assert!(!crm.got().is_empty());
    let told = app.context.notifier.notify_once().await.unwrap();
    let of_pile = |alert: &&jobber_reviewd::testing::model::Alert| alert.kind.as_str() == "events_pile_up";
    let summary = &told.iter().find(of_pile).unwrap().summary;
    assert!(summary.starts_with("10000 events of Jobber's were forwarded without the record"), "{summary}");
    app.pass(SignedDuration::from_hours(2));
    let over = app.context.notifier.notify_once().await.unwrap();
    assert!(over.iter().find(of_pile).unwrap().over.is_some());
}

/// An app that hears Jobber's own webhooks.
async fn listening(forward: Value) -> (TestApp, Contractor, Receiver, tokio_util::sync::DropGuard) {
    let listener = tokio::net::TcpListener::bind(local()).await.unwrap();
    let public = format!("http://{}", listener.local_addr().unwrap());
    let (app, ace, crm) = forwarding_with(forward, |config| {
        config.http.public_url = serde_json::from_value(json!(public)).unwrap();
        config.events.enabled = true;
    })
    .await;
    let stop = CancellationToken::new();
    tokio::spawn(Http::new(listener, app.context()).run(stop.clone()));
    app.context.subscriber.subscribe_once().await.unwrap();
    (app, ace, crm, stop.drop_guard())
}

/// Whatever Jobber does to its webhooks, each record's changes arrive in their order, under one id each, and what got lost is
/// found.
#[tokio::test]
async fn bad_webhooks_leave_each_record_in_order_and_complete() {
    for switches in [
        json!({"webhook_burst": 4, "webhook_copies": 2}),
        json!({"webhook_burst": 3}),
        json!({"webhook_drop_every": 2}),
        json!({"webhook_drop_every": 3, "webhook_copies": 2, "webhook_burst": 5}),
        json!({"webhook_bad_signature": true}),
    ] {
        let (app, ace, crm, _stop) =
            listening(json!([{"topics": ["CLIENT_UPDATE"], "include": "ids"}])).await;
        let fill = async || {
            app.context.gaps.fill_once(app.context.store.account_ids().await.unwrap()).await.unwrap()
        };
        let customers: Vec<String> = (0..3).map(|_| ace.customer(&app).id.clone()).collect();
        app.pass(minutes(10));
        fill().await;
        app.switch(&ace, switches.clone());
        let mut last = BTreeMap::new();
        for round in 0..4 {
            app.pass(minutes(10));
            for id in &customers {
                ace.set(&app, id, "companyName", json!(format!("Company {round}")));
                last.insert(id.clone(), app.clock_now());
            }
        }
        // What is on its way arrives; what was lost does not.
        app.until(async || app.sandbox.is_quiet()).await;
        forward(&app).await;
        app.pass(hours(1));
        fill().await;
        forward(&app).await;
        let mut told: BTreeMap<String, Vec<(Timestamp, u64)>> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for got in crm.got() {
            assert!(ids.insert(got.id().to_owned()), "{switches}: twice");
            let body = got.json();
            let at: Timestamp = body["occurred_at"].as_str().unwrap().parse().unwrap();
            let of_record = told.entry(body["item"].as_str().unwrap().to_owned()).or_default();
            of_record.push((at, body["sequence"].as_u64().unwrap()));
        }
        for (id, at) in last {
            let of_record = &told[&id];
            assert!(of_record.iter().map(|(at, _)| at).is_sorted(), "{switches}: {of_record:?}");
            let newest = of_record.last().unwrap().0;
            assert!(at.duration_since(newest).as_secs() < 2, "{switches}: the last change was not told");
        }
    }
}

#[tokio::test]
async fn an_approved_quote_reaches_whoever_waits_for_it() {
    let crm = Receiver::start().await;
    let listener = tokio::net::TcpListener::bind(local()).await.unwrap();
    let public = format!("http://{}", listener.local_addr().unwrap());
    let url = crm.url();
    let app = TestApp::start_with(|config| {
        config.http.public_url = serde_json::from_value(json!(public)).unwrap();
        config.events.forward =
            serde_json::from_value(json!([{"topics": ["QUOTE_APPROVED"], "url": url}])).unwrap();
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    let stop = CancellationToken::new();
    tokio::spawn(Http::new(listener, app.context()).run(stop.clone()));
    let _stop = stop.drop_guard();
    let rows = app.run(EventsTurn { account: None, on: true }).await.unwrap();
    assert!(rows[0].error.is_none() && rows[0].topics.contains(&"QUOTE_APPROVED".to_owned()), "{rows:?}");
    let quote = quote(&app, &ace);
    let approve = Op::SetField {
        account: ace.number,
        id: quote.clone(),
        field: "quoteStatus".to_owned(),
        value: json!("approved"),
        touch: true,
    };
    app.sandbox.control(approve).unwrap();
    app.until(async || app.context.store.has_forwards().await.unwrap()).await;
    forward(&app).await;
    let told = bodies(&crm);
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0]["type"], &told[0]["item"]), (&json!("jobber.quote_approved"), &json!(quote)));
    assert_eq!(told[0]["record"]["amounts"]["total"], 400.0);
}

/// Jobber loses events: what its lists prove is told an hour later, once, and nothing that was heard is told again.
#[tokio::test]
async fn a_sweep_fills_the_holes_that_lost_events_leave() {
    let (app, ace, crm) =
        forwarding(json!([{"topics": ["CLIENT_*", "QUOTE_*", "JOB_*", "VISIT_*", "EXPENSE_*"]}])).await;
    let fill = async || {
        let accounts = app.context.store.account_ids().await.unwrap();
        app.context.gaps.fill_once(accounts).await.unwrap()
    };
    let old = ace.customer(&app);
    app.pass(hours(1));
    assert_eq!(fill().await, 0, "what was before is nobody's loss");
    app.pass(minutes(10));
    let (lost, customer) = (quote(&app, &ace), ace.customer(&app));
    let job = ace.job(&app, &customer, "Sink", &[]);
    let visit = ace.visits(&app, &job).remove(0);
    app.pass(minutes(10));
    ace.close(&app, &job);
    ace.set(&app, &old.id, "companyName", json!("Smith Ltd"));
    // One event did come.
    happens(&app, &ace.id, Topic::ClientUpdate, &old.id, app.clock_now()).await;
    assert_eq!(forward(&app).await, 1);
    app.pass(minutes(30));
    assert_eq!(fill().await, 0, "the hour is not over");
    app.pass(minutes(20));
    let missing = fill().await;
    forward(&app).await;
    let told: BTreeSet<(String, String)> = bodies(&crm)
        .iter()
        .filter(|body| body["found_by"] == "sweep")
        .map(|body| (body["topic"].as_str().unwrap().to_owned(), body["item"].as_str().unwrap().to_owned()))
        .collect();
    for expected in [
        ("QUOTE_CREATE", &lost),
        ("CLIENT_CREATE", &customer.id),
        ("JOB_CREATE", &job.id.to_string()),
        ("JOB_CLOSED", &job.id.to_string()),
        ("VISIT_COMPLETE", &visit.id.to_string()),
    ] {
        assert!(told.contains(&(expected.0.to_owned(), expected.1.clone())), "{expected:?}: {told:?}");
    }
    assert_eq!(told.len(), missing);
    assert!(!told.iter().any(|(_, item)| *item == old.id), "it was heard");
    app.pass(hours(1));
    assert_eq!(fill().await, 0, "once");
}

/// Nothing can be read of an account that has left, and its end is told all the same.
#[tokio::test]
async fn connections_and_their_ends_are_told_once() {
    let (app, ace, crm) = forwarding(json!([{"topics": ["APP_*"], "include": "ids"}])).await;
    app.context.note_connection(&ace.id, Topic::AppConnect).await.unwrap();
    // Jobber tells of it too.
    happens(&app, &ace.id, Topic::AppConnect, "", app.clock_now() - SignedDuration::from_secs(2)).await;
    assert_eq!(forward(&app).await, 1);
    app.pass(minutes(20));
    app.sandbox.control(Op::Disconnect { account: ace.number }).unwrap();
    for _ in 0..2 {
        app.once().await;
        app.pass(minutes(10));
    }
    let accounts = app.context.store.account_ids().await.unwrap();
    assert_eq!(app.context.gaps.fill_once(accounts.clone()).await.unwrap(), 1);
    assert_eq!(app.context.gaps.fill_once(accounts).await.unwrap(), 0);
    happens(&app, &ace.id, Topic::AppDisconnect, "", app.clock_now()).await;
    assert_eq!(forward(&app).await, 1);
    let told: Vec<Value> = bodies(&crm);
    let types: Vec<&str> = told.iter().map(|body| body["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["jobber.app_connect", "jobber.app_disconnect"]);
    assert_eq!((&told[0]["found_by"], &told[1]["found_by"]), (&json!("daemon"), &json!("daemon")));
    assert!(told.iter().all(|body| body["item"] == ace.id.as_str()));

    let blue = app.contractor("Blue Cleaning");
    app.connect(&blue, Trigger::JobCompleted).await;
    app.run(AccountDisconnect { account: blue.id.to_string(), write: true }).await.unwrap();
    forward(&app).await;
    assert_eq!(bodies(&crm).last().unwrap()["type"], "jobber.app_disconnect", "also at the operator's wish");
}

/// An event about a write of ours says so, as long as the record is as we left it.
#[tokio::test]
async fn what_the_daemon_did_itself_is_marked() {
    let (app, ace, crm) = forwarding_with(json!([{"topics": ["CLIENT_*"]}]), |config| {
        config.actions.write = serde_json::from_value(json!(["clients.update"])).unwrap();
    })
    .await;
    app.switch(&ace, json!({"scopes": ["read_clients", "write_clients", "read_jobs"]}));
    app.connect(&ace, Trigger::JobCompleted).await;
    let customer = ace.customer(&app);
    let update = async |name: &str| {
        let call = ActionCall {
            noun: "clients".to_owned(),
            verb: "update".to_owned(),
            target: Some(customer.id.clone()),
            flags: vec![("company-name".to_owned(), name.to_owned())],
            key: Some(format!("key {name}")),
            is_confirmed: true,
            ..ActionCall::default()
        };
        app.run(JobberAct { call }).await.unwrap();
    };
    let told = async || {
        happens(&app, &ace.id, Topic::ClientUpdate, &customer.id, app.clock_now()).await;
        forward(&app).await;
        bodies(&crm).last().unwrap()["caused_by"].clone()
    };
    update("Smith Ltd").await;
    app.pass(SignedDuration::from_secs(20));
    let expected = json!({"action": "clients.update", "by": "operator", "key": "key Smith Ltd"});
    assert_eq!(told().await, expected);
    // Somebody in Jobber was at it after us.
    update("Smith & Sons").await;
    app.pass(SignedDuration::from_secs(5));
    ace.set(&app, &customer.id, "companyName", json!("Smith and Daughters"));
    assert_eq!(told().await, Value::Null);
    update("Smith").await;
    app.pass(SignedDuration::from_secs(90));
    assert_eq!(told().await, Value::Null, "that is too long ago");
}

/// A scope that is missing for one kind of record, a topic that is wanted only now, and an account that comes back months
/// later: what is told is what happened since it was wanted, of what can be read.
#[tokio::test]
async fn holes_are_filled_from_where_somebody_wanted_to_know() {
    let (app, ace, crm) =
        forwarding(json!([{"topics": ["CLIENT_CREATE", "EXPENSE_*"], "include": "ids"}])).await;
    app.switch(&ace, json!({"hidden_fields": ["Query.expenses"]}));
    let fill = async |app: &TestApp| {
        let found = app.context.gaps.fill_once(app.context.store.account_ids().await.unwrap()).await.unwrap();
        forward(app).await;
        found
    };
    fill(&app).await;
    app.pass(hours(1));
    ace.customer(&app);
    app.pass(hours(1));
    assert_eq!(fill(&app).await, 1, "a kind that is hidden hides no other one");
    let app = app
        .restart_with_change(|config| {
            config.events.forward = serde_json::from_value(
                json!([{"topics": ["CLIENT_CREATE", "JOB_CREATE"], "include": "ids"}]),
            )
            .unwrap();
        })
        .await;
    let customer = ace.customer(&app);
    ace.job(&app, &customer, "Sink", &[]);
    app.pass(hours(1));
    assert_eq!(fill(&app).await, 1, "the job was before anybody wanted to know of jobs");
    let job = ace.job(&app, &customer, "Tap", &[]);
    app.pass(hours(1));
    assert_eq!(fill(&app).await, 1);
    assert_eq!(bodies(&crm).last().unwrap()["item"], job.id.as_str());

    app.run(AccountDisconnect { account: ace.id.to_string(), write: true }).await.unwrap();
    ace.customer(&app);
    app.pass(hours(2));
    app.connect(&ace, Trigger::JobCompleted).await;
    app.pass(hours(1));
    assert_eq!(fill(&app).await, 0, "what happened in between is nobody's loss");
}

/// A webhook that comes after a sweep has told of the change is no other change.
#[tokio::test]
async fn a_late_event_is_not_told_again() {
    let (app, ace, crm) = forwarding(json!([{"topics": ["CLIENT_CREATE"], "include": "ids"}])).await;
    let fill =
        async || app.context.gaps.fill_once(app.context.store.account_ids().await.unwrap()).await.unwrap();
    fill().await;
    app.pass(minutes(30));
    let (customer, created) = (ace.customer(&app), app.clock_now());
    app.pass(hours(1));
    assert_eq!(fill().await, 1);
    let late = created + SignedDuration::from_secs(2);
    happens(&app, &ace.id, Topic::ClientCreate, &customer.id, late).await;
    assert_eq!(forward(&app).await, 1);
    assert_eq!(bodies(&crm).len(), 1);
}

/// One record that cannot be read waits alone.
#[tokio::test]
async fn a_record_that_cannot_be_read_holds_up_no_other_one() {
    let (app, ace, crm) = forwarding(json!([{"topics": ["CLIENT_UPDATE"]}])).await;
    let customers: Vec<Customer> = (0..4).map(|_| ace.customer(&app)).collect();
    for customer in &customers {
        happens(&app, &ace.id, Topic::ClientUpdate, &customer.id, app.clock_now()).await;
    }
    app.fault(&ace, FaultKind::Nonsense, 1, Some("RecordClient"));
    assert_eq!(forward(&app).await, 3);
    app.pass(minutes(16));
    assert_eq!(forward(&app).await, 1);
    assert_eq!(bodies(&crm).len(), 4);
}

/// A clock that is years ahead for one look loses no hole, and hides none afterwards.
#[tokio::test]
async fn a_clock_that_jumps_hides_no_hole() {
    let (app, ace, crm) = forwarding(json!([{"topics": ["CLIENT_CREATE"], "include": "ids"}])).await;
    let fill =
        async || app.context.gaps.fill_once(app.context.store.account_ids().await.unwrap()).await.unwrap();
    fill().await;
    app.pass(minutes(10));
    let lost = ace.customer(&app);
    app.pass(hours(1));
    // Only our clock goes ahead, and comes back.
    let years = hours(3 * 365 * 24);
    app.skew(-years);
    app.pass(years);
    assert_eq!(fill().await, 1, "by Jobber's clock it was an hour ago");
    app.pass(-years);
    app.skew(hours(0));
    let other = ace.customer(&app);
    app.pass(hours(2));
    assert_eq!(fill().await, 1, "it is looked at again");
    forward(&app).await;
    let told: BTreeSet<String> =
        bodies(&crm).iter().map(|body| body["item"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, [lost.id, other.id].into());
}
