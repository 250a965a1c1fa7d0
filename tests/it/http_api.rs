//! The HTTP API: keys, actions, the raw call, reviews.

use jobber_reviewd::testing::model::Trigger;
use jobber_reviewd::testing::protocol::{Explain, KeyCreate, KeyList, KeyRevoke, Status};
use jobber_reviewd::testing::{Api, Config};
use jobber_sandbox::FaultKind;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::guards::{read, root};
use crate::support::*;

struct Site {
    app: TestApp,
    ace: Contractor,
    url: String,
    _stop: tokio_util::sync::DropGuard,
}

fn allowing(config: &mut Config) {
    config.actions.write =
        serde_json::from_value(json!(["clients.*", "jobs.*", "visits.*", "quotes.*", "tasks.*", "api"]))
            .unwrap();
}

impl Site {
    async fn open() -> Self {
        let app = TestApp::start_with(allowing).await;
        let ace = app.contractor("Ace Plumbing");
        let areas = ["clients", "jobs", "scheduled_items", "invoices", "users", "quotes"];
        let scopes: Vec<String> =
            areas.iter().flat_map(|area| [format!("read_{area}"), format!("write_{area}")]).collect();
        app.switch(&ace, json!({ "scopes": scopes }));
        app.connect(&ace, Trigger::JobCompleted).await;
        let listener = tokio::net::TcpListener::bind(local()).await.unwrap();
        let api = Api::new(listener, app.context());
        let url = format!("http://{}/api/v1", api.address().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(api.run(stop.clone()));
        Self { app, ace, url, _stop: stop.drop_guard() }
    }

    async fn key(&self, name: &str, account: &str, may: &[&str]) -> String {
        let may = may.iter().map(|text| (*text).to_owned()).collect();
        let create = KeyCreate { name: name.to_owned(), account: account.to_owned(), may };
        self.app.run(create).await.unwrap().key
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        idempotency: Option<&str>,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = http().request(method, format!("{}{path}", self.url));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        if let Some(idempotency) = idempotency {
            request = request.header("idempotency-key", idempotency);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}")))
    }

    async fn post(&self, path: &str, key: &str, idempotency: &str, body: Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, Some(key), Some(idempotency), Some(body)).await
    }
}

#[tokio::test]
async fn a_key_may_only_what_was_named() {
    let site = Site::open().await;
    let bea = site.app.contractor("Bea's Lawns");
    site.app.connect(&bea, Trigger::JobCompleted).await;
    let customer = site.ace.customer(&site.app);
    let key = site.key("crm", "Ace Plumbing", &["clients.note", "clients.show"]).await;
    let show = format!("/accounts/Ace%20Plumbing/clients/show?target={}", customer.id.replace('=', "%3D"));
    for wrong in [None, Some("jrk_wrong"), Some("")] {
        let (status, _) = site.send(Method::GET, &show, wrong, None, None).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{wrong:?}");
    }
    let (status, client) = site.send(Method::GET, &show, Some(&key), None, None).await;
    assert_eq!((status, client["name"].as_str()), (StatusCode::OK, Some("John Smith")));
    let (status, error) =
        site.send(Method::GET, "/accounts/Ace%20Plumbing/jobs/search", Some(&key), None, None).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{error}");
    assert!(error["error"].as_str().unwrap().contains("does not allow jobs.search"));
    let (status, _) =
        site.send(Method::GET, "/accounts/Bea's%20Lawns/clients/show?target=x", Some(&key), None, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "another account is not there");
    let hidden =
        site.send(Method::GET, "/accounts/Bea's%20Lawns/clients/show?target=x", Some(&key), None, None).await;
    let unknown =
        site.send(Method::GET, "/accounts/Nobody/clients/show?target=x", Some(&key), None, None).await;
    assert_eq!(
        hidden.1.to_string().replace("Bea's Lawns", "Nobody"),
        unknown.1.to_string(),
        "and not hinted at"
    );
    // A key that may not search is told nothing about whom it might mean.
    let writer = site.key("writer", "all", &["clients.note"]).await;
    site.ace.customer(&site.app);
    let note = json!({"target": "John Smith", "input": {"message": "x"}});
    let (status, error) = site.post("/accounts/Ace%20Plumbing/clients/note", &writer, "w", note).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(error["error"], "2 clients fit `John Smith`: use an id");
    let listed = site.app.run(KeyList {}).await.unwrap();
    assert!(listed[0].key.last_used.is_some() && listed[0].key.hash.is_empty());
    site.app.run(KeyRevoke { name: "crm".to_owned() }).await.unwrap();
    let (status, _) = site.send(Method::GET, &show, Some(&key), None, None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(!site.app.everything_stored().await.contains(&key));
}

#[tokio::test]
async fn actions_of_each_kind_with_their_statuses() {
    let site = Site::open().await;
    let customer = site.ace.customer(&site.app);
    let key =
        site.key("all", "all", &["clients.*", "jobs.*", "visits.*", "quotes.*", "invoices.*", "api"]).await;
    let at = |rest: &str| format!("/accounts/Ace%20Plumbing/{rest}");
    let note = json!({"target": customer.id, "input": {"message": "hello"}});
    let (status, _) =
        site.send(Method::POST, &at("clients/note"), Some(&key), None, Some(note.clone())).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "a write needs a key of its own");
    let (status, done) = site.post(&at("clients/note"), &key, "n1", note.clone()).await;
    assert_eq!((status, done["status"].as_str()), (StatusCode::OK, Some("done")));
    assert_eq!(site.post(&at("clients/note"), &key, "n1", note.clone()).await, (StatusCode::OK, done));
    let other = json!({"target": customer.id, "input": {"message": "other"}});
    assert_eq!(site.post(&at("clients/note"), &key, "n1", other).await.0, StatusCode::CONFLICT);

    // Flags work as on the command line, and an explicit null is refused.
    let job = json!({"target": customer.id, "with": {"title": "Sink", "line": ["Pipe;1;2", "Valve;2;3"]}});
    let (status, made) = site.post(&at("jobs/create"), &key, "j1", job).await;
    assert_eq!((status, made["record"]["total"].as_f64()), (StatusCode::OK, Some(8.0)), "{made}");
    let number = made["record"]["jobNumber"].to_string();
    let (status, error) =
        site.post(&at("jobs/update"), &key, "j2", json!({"target": number, "input": {"title": null}})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(error["error"].as_str().unwrap().contains("--clear title"), "{error}");
    let long = json!({"target": number, "input": {"title": "x".repeat(300)}});
    let (status, refused) = site.post(&at("jobs/update"), &key, "j3", long).await;
    assert_eq!((status, refused["status"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("refused")));
    let close = json!({"target": number, "with": {"incomplete-visits": "destroy"}});
    let (status, error) = site.post(&at("jobs/close"), &key, "j4", close.clone()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(error["error"].as_str().unwrap().contains("\"yes\": true"), "{error}");
    let mut yes = close;
    yes["yes"] = true.into();
    assert_eq!(site.post(&at("jobs/close"), &key, "j4", yes).await.0, StatusCode::OK);
    let (status, list) =
        site.send(Method::GET, &at("jobs/search?text=sink&limit=5"), Some(&key), None, None).await;
    assert_eq!((status, list["rows"].as_array().map(Vec::len)), (StatusCode::OK, Some(1)));

    // What became of it is not known; Jobber cannot be reached; there is no such thing.
    site.app.fault(&site.ace, FaultKind::ResetAfter, 1, Some("ClientsNote"));
    let (status, unknown) = site.post(&at("clients/note"), &key, "n2", note.clone()).await;
    assert_eq!((status, unknown["status"].as_str()), (StatusCode::FAILED_DEPENDENCY, Some("unknown")));
    site.app.fault(&site.ace, FaultKind::Http { status: 429, retry_after: Some("30".into()) }, 1, None);
    let response =
        http().get(format!("{}{}", site.url, at("jobs/search"))).bearer_auth(&key).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 30);
    site.app.pass(hours(1));
    for path in ["jobs/show?target=999", "jobs/explode"] {
        assert_eq!(
            site.send(Method::GET, &at(path), Some(&key), None, None).await.0,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let (status, _) = site.send(Method::GET, &at("jobs/close?target=1"), Some(&key), None, None).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    for wrong in [json!({"tarket": "x"}), json!({"target": customer.id, "with": {"message": null}})] {
        let (status, _) = site.post(&at("clients/note"), &key, "n3", wrong).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }

    let query = json!({"query": "{ account { name } }"});
    let (status, answer) = site.send(Method::POST, &at("api"), Some(&key), None, Some(query)).await;
    assert_eq!((status, answer["data"]["account"]["name"].as_str()), (StatusCode::OK, Some("Ace Plumbing")));
    let mutation = json!({"query": "mutation { clientCreate(input: {firstName: \"Ann\"}) { client { id } userErrors { message path } } }", "yes": true});
    let (status, _) = site.send(Method::POST, &at("api"), Some(&key), None, Some(mutation.clone())).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "without a key of its own it is not done");
    assert_eq!(site.post(&at("api"), &key, "m1", mutation).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_review_comes_back() {
    let site = Site::open().await;
    site.app.pass(minutes(1));
    site.ace.closed_job(&site.app);
    site.app.sweep().await;
    site.app.pass(hours(2));
    site.app.sweep().await;
    let ask = site.app.receiver.got()[0].id().to_owned();
    let key = site.key("platform", "all", &["asks.review"]).await;
    let path = format!("/asks/{ask}/review");
    let told = json!({"rating": 5, "text": " Great work! ", "url": "https://example.com/r/1"});
    for _ in 0..2 {
        let (status, kept) = site.send(Method::POST, &path, Some(&key), None, Some(told.clone())).await;
        assert_eq!((status, kept["text"].as_str()), (StatusCode::OK, Some("Great work!")), "{kept}");
    }
    let explained = site.app.run(Explain { what: "Smith".to_owned(), render: false }).await.unwrap();
    assert!((explained[0].review.as_ref().unwrap().rating - 5.0).abs() < f64::EPSILON);
    assert_eq!(site.app.run(Status {}).await.unwrap().accounts[0].reviewed_7d, 1);
    for (path, body, expected) in [
        ("/asks/ask_none/review".to_owned(), told.clone(), StatusCode::NOT_FOUND),
        (path.clone(), json!({"rating": 11}), StatusCode::UNPROCESSABLE_ENTITY),
        (path.clone(), json!({"rating": 5, "url": "javascript:alert(1)"}), StatusCode::UNPROCESSABLE_ENTITY),
        (path.clone(), json!({"stars": 5}), StatusCode::BAD_REQUEST),
        (path.clone(), json!({}), StatusCode::BAD_REQUEST),
    ] {
        let (status, error) = site.send(Method::POST, &path, Some(&key), None, Some(body.clone())).await;
        assert_eq!(status, expected, "{body}: {error}");
    }
    let other = site.key("reader", "all", &["clients.show"]).await;
    assert_eq!(site.send(Method::POST, &path, Some(&other), None, Some(told)).await.0, StatusCode::FORBIDDEN);
}

/// `docs/openapi.json` is what is served.
#[tokio::test]
async fn the_description_is_checked_in() {
    let site = Site::open().await;
    let (status, served) = site.send(Method::GET, "/openapi.json", None, None, None).await;
    assert_eq!(status, StatusCode::OK);
    let path = "docs/openapi.json";
    let text = format!("{}\n", serde_json::to_string_pretty(&served).unwrap());
    if std::env::var_os("JOBBER_REVIEWD_WRITE_PAPERS").is_some() {
        std::fs::write(root().join(path), &text).unwrap();
    }
    assert!(read(path) == text, "run JOBBER_REVIEWD_WRITE_PAPERS=1 cargo test --test it http_api");
    assert_eq!(served["openapi"], "3.1.0");
    // Every reference leads somewhere.
    for reference in text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(served["components"]["schemas"][reference].is_object(), "{reference}");
    }
}
