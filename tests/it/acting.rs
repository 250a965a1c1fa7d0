//! Actions in Jobber, each from end to end: what is typed, what Jobber then has, and what is told.

use jobber_reviewd::testing::model::{ActionOutcome, Trigger};
use jobber_reviewd::testing::protocol::{AuditActions, JobberAct, JobberApi};
use jobber_reviewd::testing::{ActionCall, ActionReply, ActionStatus, OpError, RawCall};
use jobber_sandbox::FaultKind;
use serde_json::{Value, json};

use crate::support::*;

const NOUNS: [&str; 9] =
    ["jobs", "visits", "clients", "invoices", "quotes", "properties", "tasks", "expenses", "requests"];

/// An account whose app may write everything.
async fn writing() -> (TestApp, Contractor) {
    let app = TestApp::start_with(|config| {
        let all: Vec<String> = NOUNS.iter().map(|noun| format!("{noun}.*")).collect();
        config.actions.write = serde_json::from_value(json!(all)).unwrap();
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.switch(&ace, json!({"scopes": scopes(true)}));
    app.connect(&ace, Trigger::JobCompleted).await;
    (app, ace)
}

fn scopes(writes: bool) -> Vec<String> {
    let areas = ["clients", "jobs", "scheduled_items", "invoices", "users", "quotes", "expenses", "requests"];
    let levels: &[&str] = if writes { &["read", "write"] } else { &["read"] };
    areas.iter().flat_map(|area| levels.iter().map(move |level| format!("{level}_{area}"))).collect()
}

fn call(words: &str, flags: &[(&str, &str)]) -> ActionCall {
    let mut words = words.splitn(3, ' ').map(str::to_owned);
    ActionCall {
        noun: words.next().unwrap(),
        verb: words.next().unwrap(),
        target: words.next(),
        flags: flags.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
        is_confirmed: true,
        ..ActionCall::default()
    }
}

async fn act(app: &TestApp, call: ActionCall) -> Result<ActionReply, OpError> {
    app.run(JobberAct { call }).await
}

async fn done(app: &TestApp, words: &str, flags: &[(&str, &str)]) -> Value {
    let reply = act(app, call(words, flags)).await.unwrap_or_else(|error| panic!("{words}: {error}"));
    assert_eq!(reply.status, ActionStatus::Done, "{words}: {reply:?}");
    reply.record
}

async fn refused(app: &TestApp, words: &str, flags: &[(&str, &str)]) -> String {
    act(app, call(words, flags)).await.expect_err(words).to_string()
}

async fn rows(app: &TestApp, words: &str, text: Option<&str>, flags: &[(&str, &str)]) -> Vec<Value> {
    let call = ActionCall { text: text.map(str::to_owned), ..call(words, flags) };
    act(app, call).await.unwrap().rows.unwrap()
}

fn id(record: &Value) -> String {
    record["id"].as_str().unwrap_or_else(|| panic!("{record}")).to_owned()
}

#[tokio::test]
async fn clients_and_their_properties() {
    let (app, _) = writing().await;
    let names = [
        ("first-name", "Ann"),
        ("last-name", "Lee"),
        ("phone", "555-123-4567"),
        ("email", "ann@example.com"),
    ];
    let ann = id(&done(&app, "clients create", &names).await);
    assert!(
        refused(&app, "clients create", &[("phone", "555")]).await.contains("--first-name or --last-name")
    );
    // By name, phone, e-mail, id and address.
    let shown = done(&app, "clients show Ann Lee", &[]).await;
    assert_eq!(shown["phones"][0]["smsAllowed"], true);
    let page = shown["jobberWebUri"].as_str().unwrap();
    for who in ["ann lee", "(555) 123 4567", "ann@example.com", &ann, page] {
        assert_eq!(id(&done(&app, &format!("clients show {who}"), &[]).await), ann, "{who}");
    }
    let tags = [("add-tag", "vip"), ("receives-review-requests", "false"), ("city", "Springfield")];
    done(&app, "clients update Ann Lee", &tags).await;
    done(&app, "clients update Ann Lee", &[("street", "1 Elm St")]).await;
    let shown = done(&app, "clients show Ann Lee", &[]).await;
    assert_eq!(shown["tags"]["nodes"][0]["label"], "vip");
    assert_eq!(shown["receivesReviewRequests"], false);
    assert_eq!(shown["billingAddress"]["street1"], "1 Elm St");
    assert_eq!(shown["billingAddress"]["city"], "Springfield", "an address is sent whole");
    done(&app, "clients note Ann Lee", &[("message", "likes mornings")]).await;
    assert!(refused(&app, "clients note Ann Lee", &[("message", "  ")]).await.contains("needs --message"));
    assert_eq!(
        done(&app, "clients show Ann Lee", &[]).await["notes"]["nodes"][0]["message"],
        "likes mornings"
    );
    // A second one with the same name is never guessed.
    done(&app, "clients create", &names[..2]).await;
    let error = refused(&app, "clients show Ann Lee", &[]).await;
    assert!(error.starts_with("2 clients fit `Ann Lee`") && error.contains(&ann), "{error}");
    assert!(matches!(act(&app, call("clients show Nobody", &[])).await, Err(OpError::NotFound(_))));
    assert_eq!(rows(&app, "clients search", Some("ann"), &[]).await.len(), 2);
    assert_eq!(rows(&app, "clients search", None, &[("tag", "vip")]).await.len(), 1);
    done(&app, &format!("clients archive {ann}"), &[]).await;
    assert_eq!(rows(&app, "clients search", None, &[("archived", "true")]).await.len(), 1);
    done(&app, &format!("clients unarchive {ann}"), &[]).await;

    let home =
        done(&app, &format!("properties create {ann}"), &[("street", "1 Elm St"), ("city", "Springfield")])
            .await;
    let home = id(&home[0]);
    done(&app, &format!("properties update {home}"), &[("street", "2 Elm St")]).await;
    let shown = done(&app, &format!("properties show {home}"), &[]).await;
    assert_eq!(shown["address"]["street"], "2 Elm St");
    assert_eq!(shown["address"]["city"], "Springfield", "an address is sent whole");
    assert_eq!(rows(&app, "properties search", Some("elm"), &[("client", &ann)]).await.len(), 1);
    // Something new of a client goes to its only property; with several the caller chooses.
    done(&app, &format!("jobs create {ann}"), &[("title", "Sink")]).await;
    done(&app, &format!("properties create {ann}"), &[("street", "9 Oak St"), ("city", "Springfield")]).await;
    let error = refused(&app, &format!("jobs create {ann}"), &[("title", "Sink")]).await;
    assert!(
        error.contains("has 2 properties: choose one with --property") && error.contains("9 Oak St"),
        "{error}"
    );
    done(&app, &format!("jobs create {ann}"), &[("title", "Sink"), ("property", &home)]).await;
}

#[tokio::test]
async fn jobs_and_their_visits() {
    let (app, ace) = writing().await;
    let customer = ace.customer(&app);
    let mike = ace.worker(&app, "Mike");
    let flags = [
        ("title", "Sink"),
        ("line", "Faucet;1;120"),
        ("line", "Labour;2;80.5"),
        ("create-visits", "true"),
        ("assign", &mike),
        ("start", "2026-03-12"),
    ];
    let job = done(&app, &format!("jobs create {}", customer.id), &flags).await;
    assert_eq!(job["total"], 281.0);
    let number = job["jobNumber"].to_string();
    let by_number = |verb: &str| format!("jobs {verb} {number}");
    done(&app, &by_number("update"), &[("title", "Kitchen sink")]).await;
    done(&app, &by_number("note"), &[("message", "Bring a ladder"), ("pinned", "true")]).await;
    done(&app, &by_number("add-line"), &[("line", "Pipe;3;10")]).await;
    let shown = done(&app, &by_number("show"), &[]).await;
    assert_eq!(shown["title"], "Kitchen sink");
    assert_eq!(shown["lineItems"]["nodes"].as_array().unwrap().len(), 3);
    assert_eq!(shown["notes"]["nodes"][0]["message"], "Bring a ladder");
    assert_eq!(rows(&app, "jobs search", Some("kitchen"), &[]).await.len(), 1);
    assert_eq!(rows(&app, "jobs search", None, &[("assigned-to", &mike)]).await.len(), 1);
    assert!(refused(&app, &by_number("update"), &[]).await.contains("nothing to change"));

    let when = [("at", "2026-03-12 09:00"), ("for", "2h"), ("title", "Second")];
    let visits =
        done(&app, &by_number("visits create").replace("jobs visits create", "visits create"), &when).await;
    assert_eq!(visits[0]["startAt"], "2026-03-12T13:00:00Z");
    assert_eq!(visits[0]["endAt"], "2026-03-12T15:00:00Z");
    let visit = id(&visits[0]);
    let on = |verb: &str| format!("visits {verb} {visit}");
    let changes = [
        ("title", "Moved"),
        ("at", "2026-03-13 10:00"),
        ("until", "2026-03-13 11:30"),
        ("assign", mike.as_str()),
    ];
    done(&app, &on("update"), &changes).await;
    let shown = done(&app, &on("show"), &[]).await;
    assert_eq!(
        (shown["title"].as_str(), shown["endAt"].as_str()),
        (Some("Moved"), Some("2026-03-13T15:30:00Z"))
    );
    done(&app, &on("update"), &[("unschedule", "true"), ("nobody", "true")]).await;
    assert_eq!(done(&app, &on("show"), &[]).await["visitStatus"], "UNSCHEDULED");
    for (flags, words) in [
        (vec![("at", "2026-03-08 02:30"), ("for", "1h")], "clocks skip it"),
        (vec![("at", "2026-03-13 10:00")], "--for 2h, or --until"),
        (vec![("for", "2h")], "need --at"),
        (vec![("at", "2026-03-13 10:00"), ("until", "2026-03-13 09:00")], "end before it begins"),
        (vec![("at", "2026-03-13 10:00"), ("for", "1h"), ("unschedule", "true")], "not both"),
        (vec![], "nothing to change"),
    ] {
        let error = refused(&app, &on("update"), &flags).await;
        assert!(error.contains(words), "{flags:?}: {error}");
    }
    done(&app, &on("add-line"), &[("line", "Valve;1;30")]).await;
    done(&app, &on("complete"), &[("at", "2026-03-10 08:00")]).await;
    assert_eq!(done(&app, &on("show"), &[]).await["completedAt"], "2026-03-10T08:00:00-04:00");
    assert_eq!(rows(&app, "visits list", None, &[("status", "completed")]).await.len(), 1);
    done(&app, &on("uncomplete"), &[]).await;
    done(&app, &on("delete"), &[]).await;
    assert!(matches!(act(&app, call(&on("show"), &[])).await, Err(OpError::NotFound(_))));

    let missing = refused(&app, &by_number("close"), &[]).await;
    assert!(missing.contains("`modifyIncompleteVisitsBy` is missing"), "{missing}");
    done(&app, &by_number("close"), &[("incomplete-visits", "complete-past")]).await;
    let again = act(&app, call(&by_number("close"), &[("incomplete-visits", "destroy")])).await.unwrap();
    assert_eq!(again.status, ActionStatus::Refused);
    assert_eq!(again.errors[0].message, "Job is already closed");
    done(&app, &by_number("reopen"), &[]).await;
}

#[tokio::test]
async fn quotes_invoices_tasks_expenses_and_requests() {
    let (app, ace) = writing().await;
    let customer = ace.customer(&app);
    let client = &customer.id;
    let quote =
        done(&app, &format!("quotes create {client}"), &[("title", "Roof"), ("line", "Tiles;100;4")]).await;
    assert_eq!(quote["quoteStatus"], "draft");
    let number = quote["quoteNumber"].as_str().unwrap().to_owned();
    done(&app, &format!("quotes update {number}"), &[("title", "New roof")]).await;
    let note = id(&done(&app, &format!("quotes note {number}"), &[("message", "cheaper tiles?")]).await);
    done(&app, &format!("quotes edit-note {note}"), &[("message", "red tiles")]).await;
    let shown = done(&app, &format!("quotes show {number}"), &[]).await;
    assert_eq!(
        (shown["title"].as_str(), shown["amounts"]["total"].as_f64()),
        (Some("New roof"), Some(400.0))
    );
    assert_eq!(shown["notes"]["nodes"][0]["message"], "red tiles");
    assert_eq!(rows(&app, "quotes search", None, &[("status", "draft"), ("client", client)]).await.len(), 1);

    let job = ace.job(&app, &customer, "Roof", &[]);
    let invoice = ace.invoice(&app, &customer, Some(&job), true);
    let on = |verb: &str| format!("invoices {verb} {}", invoice.id);
    done(&app, &on("update"), &[("subject", "Roof, half"), ("due", "2026-04-01")]).await;
    done(&app, &on("note"), &[("message", "paid by cheque")]).await;
    let shown = done(&app, &on("show"), &[]).await;
    assert_eq!(shown["subject"], "Roof, half");
    assert_eq!(shown["dueDate"], "2026-04-01T00:00:00-04:00", "a day of the contractor's");
    assert_eq!(rows(&app, "invoices search", Some("roof"), &[]).await.len(), 1);

    let when =
        [("title", "Call back"), ("client", client.as_str()), ("at", "2026-03-12 09:00"), ("for", "30m")];
    let task = id(&done(&app, "tasks create", &when).await);
    done(&app, &format!("tasks update {task}"), &[("title", "Call again")]).await;
    done(&app, &format!("tasks complete {task}"), &[]).await;
    let shown = done(&app, &format!("tasks show {task}"), &[]).await;
    assert_eq!((shown["title"].as_str(), shown["isComplete"].as_bool()), (Some("Call again"), Some(true)));
    assert_eq!(shown["endAt"], "2026-03-12T09:30:00-04:00");
    done(&app, &format!("tasks delete {task}"), &[]).await;

    let flags = [("title", "Pipes"), ("date", "2026-03-09"), ("total", "40.5"), ("job", job.id.as_str())];
    let expense = id(&done(&app, "expenses create", &flags).await);
    done(&app, &format!("expenses update {expense}"), &[("total", "41")]).await;
    done(&app, &format!("expenses delete {expense}"), &[]).await;
    let gone = act(&app, call(&format!("expenses delete {expense}"), &[])).await.unwrap();
    assert_eq!((gone.status, gone.errors[0].message.as_str()), (ActionStatus::Refused, "Expense not found"));

    let request = id(&done(&app, &format!("requests create {client}"), &[("title", "Leak")]).await);
    assert_eq!(done(&app, &format!("requests archive {request}"), &[]).await["requestStatus"], "archived");
    done(&app, &format!("requests unarchive {request}"), &[]).await;
    assert!(!rows(&app, "users search", None, &[("status", "activated")]).await.is_empty());
}

#[tokio::test]
async fn what_jobber_cannot_do_is_said_with_the_nearest_thing() {
    let (app, ace) = writing().await;
    let customer = ace.customer(&app);
    let quote =
        done(&app, &format!("quotes create {}", customer.id), &[("title", "Roof"), ("line", "Tiles;1;4")])
            .await;
    let closed = act(&app, call(&format!("quotes close {}", id(&quote)), &[])).await.unwrap();
    assert_eq!(closed.status, ActionStatus::Impossible);
    assert!(closed.words.unwrap().contains(quote["jobberWebUri"].as_str().unwrap()));
    for (words, nearest) in
        [("tasks archive", "complete or delete it"), ("users create", "invite them in Jobber")]
    {
        let reply = act(&app, call(words, &[])).await.unwrap();
        assert!(reply.words.unwrap().contains(nearest));
    }
}

#[tokio::test]
async fn nothing_is_written_without_permission_scope_and_a_yes() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    let customer = ace.customer(&app);
    let note = format!("clients note {}", customer.id);
    let message = [("message", "hello")];
    let error = act(&app, call(&note, &message)).await.unwrap_err();
    assert!(matches!(error, OpError::NeedsHuman(_)));
    assert!(error.to_string().contains("write = [\"clients.note\"]"), "{error}");
    let mut app = app
        .restart_with_change(|config| {
            config.actions.write = serde_json::from_value(json!(["clients.note", "jobs.*"])).unwrap();
        })
        .await;
    let error = act(&app, call(&note, &message)).await.unwrap_err();
    assert!(matches!(error, OpError::NeedsHuman(_)));
    assert!(error.to_string().contains("lacks the scope Clients: write"), "{error}");
    app.switch(&ace, json!({"scopes": scopes(true)}));
    app.connect(&ace, Trigger::JobCompleted).await;
    done(&app, &note, &message).await;

    // Closing a job says what it destroys.
    let job = ace.job(&app, &customer, "Sink", &[]);
    app.pass(hours(1));
    ace.another_visit(&app, &job);
    let mut close = call(&format!("jobs close {}", job.id), &[("incomplete-visits", "destroy")]);
    close.is_confirmed = false;
    let asked = act(&app, close.clone()).await.unwrap();
    assert_eq!(asked.status, ActionStatus::NeedsYes);
    assert!(asked.words.unwrap().contains("not completed deleted for good"));
    assert!(!ace.visits(&app, &job).is_empty(), "nothing was done");
    // So does whatever messages people.
    let mut create =
        call(&format!("jobs create {}", customer.id), &[("title", "x"), ("notify-team", "true")]);
    create.is_confirmed = false;
    assert!(act(&app, create).await.unwrap().words.unwrap().contains("people get a message"));
    // What is only printed is not sent.
    close.only_print = true;
    let printed = act(&app, close).await.unwrap();
    assert_eq!(printed.requests[0]["variables"]["input"]["modifyIncompleteVisitsBy"], "DESTROY_ALL");
    assert!(printed.requests[0]["cost"].as_u64().unwrap() > 3);
    app = app.restart().await;
    let history = app.run(AuditActions { account: None, since_seconds: 3600 * 24 }).await.unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!((history[0].action.as_str(), history[0].by.as_str()), ("clients.note", "operator"));
    assert_eq!(history[0].target.as_deref(), Some(customer.id.as_str()));
}

fn notes(app: &TestApp, ace: &Contractor, client: &str) -> usize {
    let query = "query ($id: EncodedId!) { client(id: $id) { notes(first: 100) { nodes { id } } } }";
    let answer = app.sandbox.graphql(ace.number, query, json!({ "id": client }));
    answer["data"]["client"]["notes"]["nodes"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_key_is_done_once_whatever_happens() {
    let (app, ace) = writing().await;
    let customer = ace.customer(&app);
    let note = |key: &str, message: &str| ActionCall {
        key: Some(key.to_owned()),
        ..call(&format!("clients note {}", customer.id), &[("message", message)])
    };
    let count = || notes(&app, &ace, &customer.id);
    let first = act(&app, note("a", "one")).await.unwrap();
    let again = act(&app, note("a", "one")).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(count(), 1);
    let error = act(&app, note("a", "two")).await.unwrap_err();
    assert!(error.to_string().contains("was used before for something else"), "{error}");

    // It was done, and the answer was lost.
    app.fault(&ace, FaultKind::ResetAfter, 1, Some("ClientsNote"));
    let lost = act(&app, note("b", "one")).await.unwrap();
    assert_eq!(lost.status, ActionStatus::Unknown);
    assert!(lost.words.unwrap().contains(&format!("jobber-reviewd jobber clients show {}", customer.id)));
    assert_eq!(count(), 2);
    assert_eq!(act(&app, note("b", "one")).await.unwrap().status, ActionStatus::Unknown);
    assert_eq!(count(), 2, "it is never sent again");

    // Other answers that do not say whether it was done.
    let faults = [
        FaultKind::Http { status: 502, retry_after: None },
        FaultKind::WaitingRoom,
        FaultKind::Truncate,
        FaultKind::Nonsense,
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        app.fault(&ace, fault.clone(), 1, Some("ClientsNote"));
        let reply = act(&app, note(&format!("c{number}"), "one")).await.unwrap();
        assert_eq!(reply.status, ActionStatus::Unknown, "{fault:?}");
    }
    app.switch(&ace, json!({"hidden_types": ["ClientNote"]}));
    assert_eq!(act(&app, note("d", "one")).await.unwrap().status, ActionStatus::Unknown, "a hidden object");
    app.switch(&ace, json!({"hidden_types": [], "partial_errors": true}));
    assert_eq!(
        act(&app, note("e", "one")).await.unwrap().status,
        ActionStatus::Unknown,
        "errors beside data"
    );
    app.switch(&ace, json!({"partial_errors": false}));

    // What Jobber refused before it ran is repeated, or frees the key.
    let before = count();
    app.fault(&ace, FaultKind::Expired, 1, Some("ClientsNote"));
    assert_eq!(act(&app, note("f", "one")).await.unwrap().status, ActionStatus::Done);
    assert_eq!(count(), before + 1);
    app.switch(&ace, json!({"hidden_fields": ["Mutation.clientCreateNote"]}));
    assert!(matches!(act(&app, note("g", "one")).await, Err(OpError::NeedsHuman(_))));
    app.switch(&ace, json!({"hidden_fields": []}));
    app.fault(&ace, FaultKind::Http { status: 429, retry_after: None }, 1, Some("ClientsNote"));
    assert!(matches!(act(&app, note("g", "one")).await, Err(OpError::Later { .. })));
    app.pass(hours(1));
    assert_eq!(act(&app, note("g", "one")).await.unwrap().status, ActionStatus::Done);
    assert_eq!(count(), before + 2);

    // What Jobber's rules refused stays refused under its key.
    let long = "x".repeat(300);
    let job = ace.job(&app, &customer, "Sink", &[]);
    let update = ActionCall {
        key: Some("h".to_owned()),
        ..call(&format!("jobs update {}", job.id), &[("title", &long)])
    };
    let reply = act(&app, update.clone()).await.unwrap();
    assert_eq!(reply.status, ActionStatus::Refused);
    assert_eq!(reply.errors[0].message, "Title is too long (maximum is 255 characters) (--title)");
    assert_eq!(act(&app, update).await.unwrap().status, ActionStatus::Refused);
}

#[tokio::test]
async fn a_part_that_was_not_done_is_told() {
    let (app, ace) = writing().await;
    let customer = ace.customer(&app);
    let job = ace.job(&app, &customer, "Sink", &[]);
    let long = "x".repeat(300);
    // Two visits in one request, one of them refused.
    let input = json!({"visits": [{"title": "good"}, {"title": long}]});
    let both =
        ActionCall { input: input.as_object().cloned(), ..call(&format!("visits create {}", job.id), &[]) };
    let reply = act(&app, both).await.unwrap();
    assert_eq!((reply.status, reply.errors.len()), (ActionStatus::Partly, 1));
    // Four requests for one action.
    let visit = ace.another_visit(&app, &job);
    let flags = [("title", "Moved"), ("at", "2026-03-13 10:00"), ("for", "1h"), ("unschedule", "false")];
    app.switch(&ace, json!({"hidden_fields": ["Mutation.visitEditSchedule"]}));
    let reply = act(&app, call(&format!("visits update {}", visit.id), &flags[..3])).await.unwrap();
    assert_eq!(reply.status, ActionStatus::Partly);
    assert!(reply.errors[0].message.starts_with("text done; schedule was not sent"), "{reply:?}");
    app.switch(&ace, json!({"hidden_fields": []}));
    app.fault(&ace, FaultKind::ResetAfter, 1, Some("VisitsUpdateSchedule"));
    let reply = act(&app, call(&format!("visits update {}", visit.id), &flags[..3])).await.unwrap();
    assert_eq!(reply.status, ActionStatus::Unknown);
    assert!(reply.words.unwrap().contains("text done; what became of schedule is not known"));
}

/// What was found by trying it: each of these once wrote something that nobody meant.
#[tokio::test]
async fn nothing_is_written_that_nobody_meant() {
    let (app, ace) = writing().await;
    let john = ace.customer(&app);
    let jane = ace.customer_with(&app, json!({"firstName": "Jane", "phones": [], "emails": []}));
    let job = ace.job(&app, &john, "Sink", &[]);
    let visit = ace.another_visit(&app, &job);
    let on = |verb: &str| format!("visits {verb} {}", visit.id);
    done(&app, &on("update"), &[("at", "2026-03-13 10:00"), ("for", "1h")]).await;
    let start = async || done(&app, &on("show"), &[]).await["startAt"].clone();
    let before = start().await;
    // A switch that is off.
    done(&app, &on("update"), &[("title", "x"), ("unschedule", "false"), ("nobody", "no")]).await;
    let off = json!({"title": "y", "unschedule": false});
    let off = ActionCall { input: off.as_object().cloned(), ..call(&on("update"), &[]) };
    assert_eq!(act(&app, off).await.unwrap().status, ActionStatus::Done);
    assert_eq!(start().await, before);
    for (words, flags, said) in [
        (on("update"), vec![("unschedule", "maybe")], "takes true or false"),
        (on("update"), vec![("nobody", "true"), ("assign", "x")], "not both"),
        (format!("jobs update {}", job.id), vec![("title", "")], "--clear title"),
        (
            format!("jobs create {}", jane.id),
            vec![("property", &*john.property), ("title", "x")],
            "belongs to John Smith",
        ),
        (
            format!("quotes create {}", jane.id),
            vec![("property", &*john.property), ("line", "a;1;1")],
            "belongs to John Smith",
        ),
        (
            "tasks create".to_owned(),
            vec![("client", &*jane.id), ("property", &*john.property), ("title", "x")],
            "belongs to John Smith",
        ),
        (
            format!("visits create {}", job.id),
            vec![("at", "2026-12-01"), ("for", "2h")],
            "needs a time of day",
        ),
        (format!("properties create {}", jane.id), vec![], "needs --street"),
        (format!("jobs close {}", job.id), vec![], "--incomplete-visits is missing"),
    ] {
        let error = refused(&app, &words, &flags).await;
        assert!(error.contains(said), "{words} {flags:?}: {error}");
    }
    let both = ActionCall {
        clear: vec!["firstName".to_owned()],
        ..call(&format!("clients update {}", jane.id), &[("first-name", "Ann")])
    };
    assert!(act(&app, both).await.unwrap_err().to_string().contains("at once"));
    // Another number is not the first one.
    let add = ActionCall {
        only_print: true,
        ..call(&format!("clients update {}", john.id), &[("add-phone", "5550000000")])
    };
    let printed = act(&app, add).await.unwrap();
    assert_eq!(printed.requests[0]["variables"]["input"]["phonesToAdd"][0]["primary"], false);
}

/// The first outcome of a key, whatever became of the names in it.
#[tokio::test]
async fn a_key_gives_its_outcome_when_the_record_is_called_otherwise() {
    let (app, ace) = writing().await;
    let customer = ace.customer(&app);
    let rename = ActionCall {
        key: Some("r".to_owned()),
        ..call("clients update John Smith", &[("last-name", "Miller")])
    };
    let first = act(&app, rename.clone()).await.unwrap();
    assert_eq!(first.status, ActionStatus::Done);
    app.fault(&ace, FaultKind::Http { status: 503, retry_after: None }, 9, None);
    assert_eq!(act(&app, rename.clone()).await.unwrap(), first, "nothing is asked");
    let other = ActionCall { flags: vec![("last-name".to_owned(), "Moore".to_owned())], ..rename };
    assert!(matches!(act(&app, other).await, Err(OpError::Conflict(_))));
    drop(customer);
}

#[tokio::test]
async fn lists_are_read_to_the_end_and_repeats_are_dropped() {
    let (app, ace) = writing().await;
    let customer = ace.customer(&app);
    let job = ace.job(&app, &customer, "Mowing", &[]);
    app.sandbox
        .control(jobber_sandbox::Op::Copy { account: ace.number, id: job.id.to_string(), copies: 149 })
        .unwrap();
    let list = async |limit| {
        let reply = act(&app, ActionCall { limit, ..call("jobs search", &[]) }).await.unwrap();
        (reply.rows.unwrap().len(), reply.has_more)
    };
    assert_eq!(list(None).await, (25, true));
    assert_eq!(list(Some(120)).await, (120, true));
    assert_eq!(list(Some(0)).await, (150, false));
    app.switch(&ace, json!({"unstable_ties": true}));
    let (rows, _) = list(Some(0)).await;
    assert!(rows <= 150, "{rows}");
    let sorted = ActionCall { sort: Some("job-number:asc".to_owned()), ..call("jobs search", &[]) };
    assert!(act(&app, sorted).await.is_ok());
    let sorted = ActionCall { sort: Some("colour".to_owned()), ..call("jobs search", &[]) };
    assert!(act(&app, sorted).await.unwrap_err().to_string().contains("takes one of"));
}

#[tokio::test]
async fn any_document_can_be_sent() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    let api = async |query: &str, change: &dyn Fn(&mut RawCall)| {
        let mut call = RawCall { query: query.to_owned(), is_confirmed: true, ..RawCall::default() };
        change(&mut call);
        app.run(JobberApi { call }).await
    };
    let reply = api("{ account { name } }", &|_| {}).await.unwrap();
    assert_eq!((reply.data["account"]["name"].as_str(), reply.cost), (Some("Ace Plumbing"), 2));
    let jobs = "query ($n: Int!) { jobs(first: $n) { nodes { id title } } }";
    let typed = |call: &mut RawCall| call.data = vec![("n".to_owned(), "5".to_owned())];
    assert_eq!(api(jobs, &typed).await.unwrap().cost, 10);
    let dear = "{ jobs(first: 100) { nodes { visits(first: 100) { nodes { id title } } } } }";
    assert!(api(dear, &|_| {}).await.unwrap_err().to_string().contains("it costs 20000 points"));
    assert!(
        api("{ jobs(frist: 1) { nodes { id } } }", &|_| {}).await.unwrap_err().to_string().contains("frist")
    );
    app.switch(&ace, json!({"hidden_fields": ["Query.jobs"]}));
    assert!(matches!(api(jobs, &typed).await, Err(OpError::NeedsHuman(_))));

    // A mutation is told by what it is, needs its own permission, and is done once under its key.
    let customer = ace.customer(&app);
    let note = "mutation query($id: EncodedId!) { clientCreateNote(clientId: $id, input: {message: \"x\"}) { clientNote { id } userErrors { message path } } }";
    let with = |call: &mut RawCall| {
        call.data = vec![("id".to_owned(), customer.id.clone())];
        call.key = Some("k".to_owned());
    };
    assert!(api(note, &with).await.unwrap_err().to_string().contains("write = [\"api\"]"));
    let app = app
        .restart_with_change(|config| {
            config.actions.write = serde_json::from_value(json!(["api"])).unwrap();
        })
        .await;
    let mut call = RawCall { query: note.to_owned(), ..RawCall::default() };
    with(&mut call);
    let asked = app.run(JobberApi { call: call.clone() }).await.unwrap();
    assert_eq!(asked.status, ActionStatus::NeedsYes);
    call.is_confirmed = true;
    for _ in 0..2 {
        assert_eq!(app.run(JobberApi { call: call.clone() }).await.unwrap().status, ActionStatus::Done);
    }
    assert_eq!(notes(&app, &ace, &customer.id), 1);
    let history = app.run(AuditActions { account: None, since_seconds: 60 }).await.unwrap();
    assert!(matches!(history[0].outcome, ActionOutcome::Done { .. }));
}
