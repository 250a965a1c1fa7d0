//! Rules: what is done in Jobber after something happened here.

use jiff::SignedDuration;
use jobber_reviewd::testing::model::{ActionOutcome, AskId, EncodedId, Trigger};
use jobber_reviewd::testing::protocol::{AuditActions, Explain};
use jobber_reviewd::testing::{Caller, Config, Event, Told, Topic, react_once, recall_troubles, review};
use jobber_sandbox::FaultKind;
use serde_json::{Value, json};

use crate::support::*;

const WRITES: [&str; 4] = ["clients.*", "jobs.note", "invoices.note", "tasks.create"];

fn with_rules(rules: Value) -> impl FnOnce(&mut Config) {
    move |config| {
        config.actions.write = serde_json::from_value(json!(WRITES)).unwrap();
        config.rules = serde_json::from_value(rules).unwrap();
    }
}

async fn started(rules: Value) -> (TestApp, Contractor) {
    let app = TestApp::start_with(with_rules(rules)).await;
    let ace = app.contractor("Ace Plumbing");
    let areas = ["clients", "jobs", "scheduled_items", "invoices", "users"];
    let scopes: Vec<String> =
        areas.iter().flat_map(|area| [format!("read_{area}"), format!("write_{area}")]).collect();
    app.switch(&ace, json!({ "scopes": scopes }));
    app.connect(&ace, Trigger::JobCompleted).await;
    app.pass(minutes(1));
    (app, ace)
}

/// The notes and tags of the only client, and the notes of the only job.
fn written(app: &TestApp, ace: &Contractor) -> (Vec<String>, Vec<String>, Vec<String>) {
    let query = "{ clients(first: 1) { nodes { notes(first: 50) { nodes { message } } tags(first: 50) { nodes { label } } } } jobs(first: 1) { nodes { notes(first: 50) { nodes { ... on JobNote { message } } } } } }";
    let answer = app.sandbox.graphql(ace.number, query, json!({}));
    let texts = |list: &Value, field: &str| -> Vec<String> {
        let nodes = list["nodes"].as_array().unwrap();
        nodes.iter().map(|node| node[field].as_str().unwrap().to_owned()).collect()
    };
    let (client, job) = (&answer["data"]["clients"]["nodes"][0], &answer["data"]["jobs"]["nodes"][0]);
    (texts(&client["notes"], "message"), texts(&client["tags"], "label"), texts(&job["notes"], "message"))
}

async fn asked(app: &TestApp, ace: &Contractor) -> String {
    ace.closed_job(app);
    app.sweep().await;
    app.pass(hours(2));
    app.sweep().await;
    app.receiver.got().last().unwrap().id().to_owned()
}

#[tokio::test]
async fn an_ask_and_its_review_are_noted_in_jobber_once() {
    let (app, ace) = started(json!([
        {"on": "ask.delivered", "do": "clients.note", "with": {"message": "Asked for a review on {{ date }} about job {{ job.number }}"}},
        {"on": "ask.delivered", "do": "clients.update", "with": {"add-tag": "asked"}},
        {"on": "review.received", "do": "jobs.note", "with": {"message": "{{ review.rating | int }} stars{% if review.text %}: {{ review.text }}{% endif %}"}},
    ]))
    .await;
    let ask = asked(&app, &ace).await;
    let (notes, tags, _) = written(&app, &ace);
    assert_eq!(notes, ["Asked for a review on 2026-03-10 about job 1"]);
    assert_eq!(tags, ["asked"]);
    app.pass(hours(24));
    for _ in 0..2 {
        let told = Told { rating: 5.0, text: Some("Great!".to_owned()), url: None };
        review(&app.context, &Caller::Operator, &AskId::new(ask.clone()), told).await.unwrap();
        app.once().await;
    }
    let (notes, tags, of_job) = written(&app, &ace);
    assert_eq!((notes.len(), tags.len(), of_job), (1, 1, vec!["5 stars: Great!".to_owned()]));
    let explained = app.run(Explain { what: "Smith".to_owned(), render: false }).await.unwrap();
    let by: Vec<&str> = explained[0].writes.iter().map(|record| record.by.as_str()).collect();
    assert_eq!(by[0], "rule jobs.note after review.received");
    assert_eq!(by.len(), 3);
    app.finish().await;
}

#[tokio::test]
async fn a_rule_waits_for_jobber_and_never_repeats_what_is_not_known() {
    let (app, ace) = started(json!([
        {"on": "ask.delivered", "do": "clients.note", "with": {"message": "asked"}},
    ]))
    .await;
    app.fault(&ace, FaultKind::Http { status: 429, retry_after: None }, 1, Some("ClientsNote"));
    asked(&app, &ace).await;
    assert_eq!(written(&app, &ace).0.len(), 0);
    // It waits, also over a restart.
    let app = app.restart().await;
    app.pass(hours(1));
    app.fault(&ace, FaultKind::ResetAfter, 1, Some("ClientsNote"));
    app.once().await;
    assert_eq!(written(&app, &ace).0.len(), 1, "it was done, and the answer was lost");
    for _ in 0..3 {
        app.pass(hours(1));
        app.once().await;
    }
    assert_eq!(written(&app, &ace).0.len(), 1);
    let history = app.run(AuditActions { account: None, since_seconds: 3600 * 24 }).await.unwrap();
    assert_eq!(history.len(), 1);
    assert!(matches!(history[0].outcome, ActionOutcome::Unknown { .. }));
    let told = app.context.notifier.notify_once().await.unwrap();
    let summary = &told.iter().find(|alert| alert.kind.as_str() == "rules_fail").unwrap().summary;
    assert!(summary.contains("clients.note after ask.delivered: it is not known"), "{summary}");
    assert!(!app.context.store.has_causes().await.unwrap());
}

/// A rule that lacks its scope is told about, and holds up no other one.
#[tokio::test]
async fn a_rule_without_its_scope_holds_up_nobody() {
    let (app, ace) = started(json!([
        {"on": "ask.delivered", "do": "jobs.note", "with": {"message": "asked"}},
        {"on": "ask.delivered", "do": "clients.note", "with": {"message": "asked"}},
    ]))
    .await;
    app.switch(&ace, json!({"scopes": ["read_clients", "read_jobs", "read_scheduled_items", "read_invoices", "read_users", "write_clients"]}));
    app.connect(&ace, Trigger::JobCompleted).await;
    asked(&app, &ace).await;
    let (on_client, _, on_job) = written(&app, &ace);
    assert_eq!((on_client.len(), on_job.len()), (1, 0));
    assert!(!app.context.store.has_causes().await.unwrap());
    // Also after a restart, as long as nobody has looked for a day.
    let app = app.restart().await;
    recall_troubles(&app.context).await.unwrap();
    let told = app.context.notifier.notify_once().await.unwrap();
    let summary = &told.iter().find(|alert| alert.kind.as_str() == "rules_fail").unwrap().summary;
    assert!(summary.contains("lacks the scope Jobs: write"), "{summary}");
}

#[tokio::test]
async fn who_was_not_asked_gets_a_task() {
    let (app, ace) = started(json!([
        {"on": "ask.skipped.no_contact", "do": "tasks.create", "with": {"title": "Get a phone number of {{ client.name }}"}},
    ]))
    .await;
    let customer = ace.customer_with(&app, json!({"phones": [], "emails": []}));
    let job = ace.job(&app, &customer, "Sink", &[]);
    ace.close(&app, &job);
    app.sweep().await;
    app.pass(hours(2));
    app.sweep().await;
    let query = "{ tasks(first: 5) { nodes { title client { id } } } }";
    let answer = app.sandbox.graphql(ace.number, query, json!({}));
    let tasks = &answer["data"]["tasks"]["nodes"];
    assert_eq!(tasks[0]["title"], "Get a phone number of John Smith");
    assert_eq!(tasks[0]["client"]["id"], customer.id.as_str());
}

/// A rule that changes a card hears of its own change, and of nothing else afterwards.
#[tokio::test]
async fn a_rule_that_hears_its_own_echo_is_silent() {
    let crm = Receiver::start().await;
    let url = crm.url();
    let app = TestApp::start_with(|config| {
        config.events.webhook_url = Some(serde_json::from_value(json!(url)).unwrap());
        with_rules(json!([
            {"on": "client.updated", "do": "clients.update", "with": {"add-tag": "edited", "company-name": "Seen"}},
        ]))(config);
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.switch(&ace, json!({"scopes": ["read_clients", "write_clients"]}));
    app.connect(&ace, Trigger::JobCompleted).await;
    let look = async || {
        app.pass(minutes(5));
        app.context.watcher.watch_once(app.context.store.account_ids().await.unwrap()).await.unwrap();
        react_once(&app.context, None).await.unwrap()
    };
    look().await;
    let customer = ace.customer(&app);
    assert_eq!(look().await, 0, "a card that is seen for the first time did not change");
    ace.edit(&app, &customer, json!({"lastName": "Smythe"}));
    assert_eq!(look().await, 1);
    // Its own change comes back, and makes no other one.
    for _ in 0..5 {
        look().await;
    }
    let history = app.run(AuditActions { account: None, since_seconds: 3600 * 24 }).await.unwrap();
    assert_eq!(history.len(), 1, "{history:?}");
    assert_eq!(written_tags(&app, &ace, &customer.id), ["edited"]);
}

fn written_tags(app: &TestApp, ace: &Contractor, client: &str) -> Vec<String> {
    let query = "query ($id: EncodedId!) { client(id: $id) { tags(first: 9) { nodes { label } } } }";
    let answer = app.sandbox.graphql(ace.number, query, json!({ "id": client }));
    let nodes = answer["data"]["client"]["tags"]["nodes"].as_array().unwrap().clone();
    nodes.iter().map(|node| node["label"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_loop_ends_by_itself() {
    let crm = Receiver::start().await;
    let url = crm.url();
    let app = TestApp::start_with(|config| {
        config.events.webhook_url = Some(serde_json::from_value(json!(url)).unwrap());
        with_rules(json!([
            {"on": "client.updated", "do": "clients.note", "with": {"message": "changed at {{ time }}"}},
        ]))(config);
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.switch(&ace, json!({"scopes": ["read_clients", "write_clients"]}));
    app.connect(&ace, Trigger::JobCompleted).await;
    let look = async || {
        app.pass(minutes(5));
        app.context.watcher.watch_once(app.context.store.account_ids().await.unwrap()).await.unwrap();
        react_once(&app.context, None).await.unwrap()
    };
    look().await;
    let customer = ace.customer(&app);
    look().await;
    for number in 0..15 {
        ace.edit(&app, &customer, json!({"lastName": format!("Smith {number}")}));
        look().await;
    }
    let history = app.run(AuditActions { account: None, since_seconds: 3600 * 24 }).await.unwrap();
    let done = history.iter().filter(|record| matches!(record.outcome, ActionOutcome::Done { .. })).count();
    assert_eq!((done, history.len()), (10, 15));
}

/// A rule waits for any topic of Jobber's, sees the record, and does not follow its own write.
#[tokio::test]
async fn a_topic_of_jobbers_is_followed_and_an_own_write_is_not() {
    let (app, ace) = started(json!([
        {"on": "JOB_CREATE", "do": "clients.note", "with": {"message": "{{ client.name }}: {{ record.title }}"}},
        {"on": "CLIENT_UPDATE", "do": "clients.update", "with": {"add-tag": "seen {{ record.updatedAt }}"}},
    ]))
    .await;
    let customer = ace.customer(&app);
    let job = ace.job(&app, &customer, "Water Heater", &[]);
    let happens = async |topic: Topic, item: &str| {
        let event = Event {
            account: ace.id.clone(),
            topic,
            item: EncodedId::new(item),
            occurred_at: Some(app.clock_now()),
        };
        let uses = app.context.settings.uses_of(topic);
        app.context.store.note_event(event, uses, app.clock_now()).await.unwrap();
        app.pass(SignedDuration::from_secs(1));
        react_once(&app.context, None).await.unwrap();
    };
    happens(Topic::JobCreate, job.id.as_str()).await;
    assert_eq!(written(&app, &ace).0, ["John Smith: Water Heater"]);
    happens(Topic::JobCreate, "Z29uZQ==").await;
    assert_eq!(written(&app, &ace).0.len(), 1, "there is no client of a job that is gone");
    for _ in 0..5 {
        app.pass(SignedDuration::from_secs(8));
        happens(Topic::ClientUpdate, &customer.id).await;
    }
    assert_eq!(written(&app, &ace).1.len(), 1, "its own writes make no loop");
}
