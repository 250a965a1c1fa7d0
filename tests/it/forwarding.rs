//! Jobber's events, forwarded: any topic, with the record, in order for each record, under one id.

use std::collections::{BTreeMap, BTreeSet};

use apollo_compiler::Schema;
use apollo_compiler::schema::ExtendedType;
use jiff::{SignedDuration, Timestamp};
use jobber_reviewd::testing::model::{AccountId, EncodedId, Trigger};
use jobber_reviewd::testing::protocol::{EventsTurn, QueueList};
use jobber_reviewd::testing::{Event, Http, Topic, Uses};
use jobber_sandbox::{FaultKind, Op};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::*;

async fn forwarding(forward: Value) -> (TestApp, Contractor, Receiver) {
    let crm = Receiver::start().await;
    let url = crm.url();
    let app = TestApp::start_with(|config| {
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

/// From Jobber's change to the receiver, with its own webhooks.
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
    assert_eq!(app.context.forwarder.forward_once().await.unwrap(), 10_001);
    let read = app.sandbox.stats(ace.number).operations.get("RecordQuote").copied();
    assert_eq!(read, None, "nothing was read");
    app.context.deliverer.deliver_once(None).await.unwrap();
    for body in bodies(&crm) {
        assert_eq!((&body["record"], &body["missing"]), (&Value::Null, &Value::Null), "{body}");
    }
    assert!(!crm.got().is_empty());
    let told = app.context.notifier.notify_once().await.unwrap();
    let of_pile = |alert: &&jobber_reviewd::testing::model::Alert| alert.kind.as_str() == "events_pile_up";
    let summary = &told.iter().find(of_pile).unwrap().summary;
    assert!(summary.starts_with("10001 events of Jobber's were forwarded without the record"), "{summary}");
    app.pass(SignedDuration::from_hours(2));
    let over = app.context.notifier.notify_once().await.unwrap();
    assert!(over.iter().find(of_pile).unwrap().over.is_some());
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
