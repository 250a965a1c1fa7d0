//! The sandbox itself, held against the documented behaviour (`api-behaviour.md`), over HTTP and without the daemon.

use jobber_sandbox::{CLIENT_ID, CLIENT_SECRET, Fault, FaultKind, Op, Sandbox, Seed, VERSION};
use serde_json::{Value, json};

use crate::support::{http, local};

struct Jobber {
    sandbox: Sandbox,
    account: u64,
    client: reqwest::Client,
}

/// A pair of tokens, as the answer gave it.
struct Pair {
    access: String,
    refresh: String,
    answer: Value,
}

impl Jobber {
    async fn start() -> Self {
        let sandbox = Sandbox::start(local(), Seed::Demo).await.unwrap();
        let state = sandbox.control(Op::State).unwrap();
        let account = state["accounts"][0]["account"].as_u64().unwrap();
        Self { sandbox, account, client: http() }
    }

    async fn post_token(&self, form: &[(&str, &str)]) -> reqwest::Response {
        let mut form = form.to_vec();
        form.extend([("client_id", CLIENT_ID), ("client_secret", CLIENT_SECRET)]);
        self.client.post(format!("{}/oauth/token", self.sandbox.api_base())).form(&form).send().await.unwrap()
    }

    async fn pair(&self, form: &[(&str, &str)]) -> Pair {
        let answer: Value = serde_json::from_str(&self.post_token(form).await.text().await.unwrap()).unwrap();
        let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        Pair { access: text("access_token"), refresh: text("refresh_token"), answer }
    }

    async fn connect(&self) -> Pair {
        let code = self.sandbox.control(Op::MarketplaceCode { account: self.account }).unwrap();
        self.pair(&[("grant_type", "authorization_code"), ("code", code["code"].as_str().unwrap())]).await
    }

    async fn refresh(&self, pair: &Pair) -> Pair {
        self.pair(&[("grant_type", "refresh_token"), ("refresh_token", &pair.refresh)]).await
    }

    async fn ask(&self, access: &str, query: &str, variables: Value) -> (u16, Value) {
        let response = self
            .client
            .post(format!("{}/graphql", self.sandbox.api_base()))
            .bearer_auth(access)
            .header("x-jobber-graphql-version", VERSION)
            .header("content-type", "application/json")
            .body(json!({"query": query, "variables": variables}).to_string())
            .send()
            .await
            .unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    fn switch(&self, set: Value) {
        self.sandbox.control(Op::Switches { account: Some(self.account), set }).unwrap();
    }
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn an_exchange_answers_two_fields_and_a_refresh_three() {
    let jobber = Jobber::start().await;
    let first = jobber.connect().await;
    assert_eq!(keys(&first.answer), ["access_token", "refresh_token"]);
    let second = jobber.refresh(&first).await;
    assert_eq!(keys(&second.answer), ["access_token", "expires_at", "refresh_token"]);
    assert_ne!(first.refresh, second.refresh);
    let stated = second.answer["expires_at"].as_str().unwrap();
    assert!(stated.ends_with(" UTC") && stated.len() == "2024-04-09 21:04:31 UTC".len(), "{stated}");
    assert_eq!(second.access.split('.').count(), 3, "a JWT");

    let spent =
        jobber.post_token(&[("grant_type", "refresh_token"), ("refresh_token", &first.refresh)]).await;
    assert_eq!(spent.status(), 401);
    assert!(spent.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    assert_eq!(spent.text().await.unwrap(), "The provided refresh token is not valid");

    jobber.switch(json!({"rotation": false}));
    let third = jobber.refresh(&second).await;
    assert_eq!(third.refresh, second.refresh);
    assert!(third.answer["warning"].is_string());
}

#[tokio::test]
async fn the_consent_page_allows_with_code_and_state_and_denies_with_nothing() {
    let jobber = Jobber::start().await;
    let base = jobber.sandbox.api_base();
    let callback = "http://127.0.0.1:1/oauth/callback";
    let url = format!(
        "{base}/oauth/authorize?response_type=code&client_id={CLIENT_ID}&redirect_uri={callback}&state=xyz"
    );
    let page = jobber.client.get(&url).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("Ace Plumbing") && page.contains("Allow access"));
    let unknown = jobber.client.get(url.replace(CLIENT_ID, "nobody")).send().await.unwrap();
    assert_eq!(unknown.status(), 400);

    let account = jobber.account.to_string();
    let decide = async |decision: &str| {
        let form =
            [("redirect_uri", callback), ("state", "xyz"), ("account", &account), ("decision", decision)];
        let answer = jobber.client.post(format!("{base}/oauth/decide")).form(&form).send().await.unwrap();
        answer.headers()["location"].to_str().unwrap().to_owned()
    };
    assert_eq!(decide("deny").await, callback);
    let allowed = decide("allow").await;
    assert!(
        allowed.starts_with(&format!("{callback}?code=")) && allowed.ends_with("&state=xyz"),
        "{allowed}"
    );
}

#[tokio::test]
async fn refusals_have_jobbers_words() {
    let jobber = Jobber::start().await;
    let pair = jobber.connect().await;
    let account = jobber.account;
    let message = async || jobber.ask(&pair.access, "{ account { id } }", Value::Null).await;

    assert_eq!(message().await.0, 200);
    let (status, body) = jobber.ask("nonsense", "{ account { id } }", Value::Null).await;
    assert_eq!((status, body), (401, json!({"message": "Token not recognized"})));
    jobber.sandbox.control(Op::ExpireTokens { account }).unwrap();
    assert_eq!(message().await, (401, json!({"message": "Access token expired"})));
    jobber.sandbox.control(Op::CloseAccount { account }).unwrap();
    assert_eq!(message().await, (401, json!({"error": {"message": "This account is not active"}})));
    jobber.sandbox.control(Op::Disconnect { account }).unwrap();
    let (status, body) = message().await;
    assert_eq!(status, 401);
    assert!(body["message"].as_str().unwrap().starts_with("User has disconnected this app"));
}

#[tokio::test]
async fn what_is_wrong_with_a_document_is_told_with_http_200_and_without_data() {
    let jobber = Jobber::start().await;
    let pair = jobber.connect().await;
    let (status, body) =
        jobber.ask(&pair.access, "{ tasks(first: 1) { nodes { updatedAt } } }", Value::Null).await;
    assert_eq!(status, 200);
    assert!(body.get("data").is_none() && body["errors"].to_string().contains("updatedAt"));

    let query = "query ($n: Int!) { jobs(first: $n) { nodes { id } } }";
    let (status, body) = jobber.ask(&pair.access, query, json!({"n": "many"})).await;
    assert_eq!(status, 200);
    assert!(body.get("data").is_none() && body["errors"][0]["extensions"]["problems"].is_array());

    let query = "query ($id: EncodedId!) { job(id: $id) { id } }";
    let (_, body) = jobber.ask(&pair.access, query, json!({"id": "Z2lkOi8vSm9iYmVyL0pvYi85OTk="})).await;
    assert_eq!((&body["data"], body.get("errors")), (&json!({"job": null}), None));

    let mutation = "mutation { jobReopen(jobId: \"Z2lkOi8vSm9iYmVyL0pvYi85OTk=\") { job { id } userErrors { message path } } }";
    let (_, body) = jobber.ask(&pair.access, mutation, Value::Null).await;
    assert_eq!(
        body["data"]["jobReopen"],
        json!({"job": null, "userErrors": [{"message": "Job not found", "path": ["jobId"]}]})
    );

    let (_, body) = jobber.ask(&pair.access, "{ __type(name: \"Job\") { kind } }", Value::Null).await;
    assert_eq!(body["data"]["__type"]["kind"], "OBJECT");
    let (_, body) = jobber.ask(&pair.access, "{ products(first: 1) { nodes { id } } }", Value::Null).await;
    assert!(body["errors"][0]["message"].as_str().unwrap().contains("does not model Query.products"));
}

#[tokio::test]
async fn a_hidden_field_takes_the_whole_answer_and_a_hidden_object_what_holds_it() {
    let jobber = Jobber::start().await;
    let pair = jobber.connect().await;
    jobber.switch(json!({"hidden_fields": ["Query.jobs"]}));
    let (status, body) = jobber.ask(&pair.access, "{ jobs(first: 1) { nodes { id } } }", Value::Null).await;
    assert_eq!((status, &body["data"]), (200, &Value::Null));
    assert_eq!(
        body["errors"][0]["message"],
        "The field jobs on an object of type Query was hidden due to permissions"
    );
    jobber.switch(json!({"hidden_fields": [], "hidden_types": ["User"]}));
    let query = "{ visits(first: 1) { nodes { id assignedUsers(first: 1) { nodes { id } } } } }";
    let (_, body) = jobber.ask(&pair.access, query, Value::Null).await;
    assert_eq!(body["data"]["visits"]["nodes"][0]["assignedUsers"], Value::Null);
    assert_eq!(body["errors"][0]["message"], "An object of type User was hidden due to permissions");
}

#[tokio::test]
async fn cost_is_taken_from_a_budget_that_refills() {
    let jobber = Jobber::start().await;
    let pair = jobber.connect().await;
    let start: jiff::Timestamp = "2026-03-10T12:00:00Z".parse().unwrap();
    let at = |seconds: i64| Op::StopClock { at: start + jiff::SignedDuration::from_secs(seconds) };
    jobber.sandbox.control(at(0)).unwrap();
    jobber.switch(json!({"bucket_size": 100.0, "bucket_refill": 5.0}));
    let query = "{ jobs(first: 20) { nodes { id jobNumber client { id } } } }";

    let (_, body) = jobber.ask(&pair.access, query, Value::Null).await;
    let cost = &body["extensions"]["cost"];
    assert_eq!((&cost["requestedQueryCost"], &cost["actualQueryCost"]), (&json!(80), &json!(24)), "six jobs");
    assert_eq!(
        cost["throttleStatus"],
        json!({"maximumAvailable": 100, "currentlyAvailable": 76, "restoreRate": 5})
    );
    let (status, body) = jobber.ask(&pair.access, query, Value::Null).await;
    assert_eq!((status, body.get("data")), (200, None));
    assert_eq!(body["errors"], json!([{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]));
    assert_eq!(body["extensions"]["cost"]["actualQueryCost"], 0);
    jobber.sandbox.control(at(1)).unwrap();
    assert!(jobber.ask(&pair.access, query, Value::Null).await.1.get("data").is_some(), "81 by now");

    let dear = "{ jobs { nodes { id jobNumber } } }";
    jobber.sandbox.control(at(1000)).unwrap();
    let (_, body) = jobber.ask(&pair.access, dear, Value::Null).await;
    assert_eq!(body["extensions"]["cost"]["requestedQueryCost"], 200, "never runs");
    assert_eq!(body["errors"][0]["message"], "Throttled");
}

#[tokio::test]
async fn the_request_limit_answers_429() {
    let jobber = Jobber::start().await;
    let pair = jobber.connect().await;
    jobber.switch(json!({"requests_per_window": 2}));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(jobber.ask(&pair.access, "{ account { id } }", Value::Null).await.0);
    }
    assert_eq!(statuses, [200, 200, 429]);
}

#[tokio::test]
async fn pages_hold_a_hundred_rows_and_cursors_are_offsets() {
    let sandbox = Sandbox::start(local(), Seed::Large { accounts: 1, jobs: 130 }).await.unwrap();
    let state = sandbox.control(Op::State).unwrap();
    let account = state["accounts"][0]["account"].as_u64().unwrap();
    let page = |arguments: &str| {
        let query = format!(
            "{{ jobs({arguments}, sort: [{{key: JOB_NUMBER, direction: ASCENDING}}]) {{ totalCount nodes {{ jobNumber }} edges {{ cursor }} pageInfo {{ hasNextPage hasPreviousPage endCursor }} }} }}"
        );
        let answer = sandbox.graphql(account, &query, Value::Null);
        assert!(answer.get("errors").is_none(), "{answer}");
        answer["data"]["jobs"].clone()
    };
    let first = page("first: 500");
    assert_eq!((first["nodes"].as_array().unwrap().len(), &first["totalCount"]), (100, &json!(130)));
    assert_eq!(
        first["pageInfo"],
        json!({"hasNextPage": true, "hasPreviousPage": false, "endCursor": "MTAw"})
    );
    assert_eq!(first["edges"][0]["cursor"], "MQ");
    let second = page("first: 500, after: \"MTAw\"");
    assert_eq!(
        (second["nodes"].as_array().unwrap().len(), &second["nodes"][0]["jobNumber"]),
        (30, &json!(101))
    );
    assert_eq!(second["pageInfo"]["hasNextPage"], false);
    let last = page("last: 5");
    assert_eq!(last["nodes"][0]["jobNumber"], 126);
}

#[tokio::test]
async fn an_unknown_version_is_served_as_the_oldest_without_a_word() {
    let jobber = Jobber::start().await;
    let pair = jobber.connect().await;
    let served = async |asked: &str| {
        let response = jobber
            .client
            .post(format!("{}/graphql", jobber.sandbox.api_base()))
            .bearer_auth(&pair.access)
            .header("x-jobber-graphql-version", asked)
            .body(r#"{"query": "{ account { id } }"}"#)
            .send()
            .await
            .unwrap();
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        body["extensions"]["versioning"]["version"].as_str().unwrap().to_owned()
    };
    assert_eq!(served(VERSION).await, VERSION);
    assert_eq!(served("2031-01-01").await, "2022-09-01");
}

#[tokio::test]
async fn both_ends_of_a_range_are_excluded_unless_switched() {
    let jobber = Jobber::start().await;
    let query = "query ($after: ISO8601DateTime, $before: ISO8601DateTime) { visits(first: 50, filter: {completedAt: {after: $after, before: $before}}) { nodes { id } } }";
    let visit = jobber.sandbox.graphql(jobber.account, "{ visits(first: 1) { nodes { id } } }", Value::Null);
    let visit = visit["data"]["visits"]["nodes"][0]["id"].clone();
    let complete = "mutation ($id: EncodedId!) { visitComplete(visitId: $id, input: {completedAt: \"2026-03-10T12:00:00Z\"}) { visit { visitStatus isComplete } } }";
    let done = jobber.sandbox.graphql(jobber.account, complete, json!({"id": visit}));
    assert_eq!(
        done["data"]["visitComplete"]["visit"],
        json!({"visitStatus": "COMPLETED", "isComplete": true})
    );
    let found = |variables: Value| {
        let answer = jobber.sandbox.graphql(jobber.account, query, variables);
        answer["data"]["visits"]["nodes"].as_array().unwrap().len()
    };
    let instant = "2026-03-10T12:00:00Z";
    assert_eq!(found(json!({"after": "2026-03-10T11:59:59Z"})), 1);
    assert_eq!(found(json!({"after": "2026-03-10T07:00:00-05:00"})), 0, "an offset is the same instant");
    assert_eq!(found(json!({"after": instant})), 0);
    assert_eq!(found(json!({"before": instant})), 0);
    jobber.switch(json!({"after_inclusive": true}));
    assert_eq!(found(json!({"after": instant})), 1);
}

#[tokio::test]
async fn faults_happen_as_often_as_they_were_ordered() {
    let jobber = Jobber::start().await;
    let pair = jobber.connect().await;
    let fault = Fault {
        kind: FaultKind::Http { status: 503, retry_after: None },
        times: 2,
        operation: Some("Mine".into()),
    };
    jobber.sandbox.control(Op::Fault { account: jobber.account, fault }).unwrap();
    let mut statuses = Vec::new();
    for query in [
        "query Other { account { id } }",
        "query Mine { account { id } }",
        "query Mine { account { id } }",
        "query Mine { account { id } }",
    ] {
        statuses.push(jobber.ask(&pair.access, query, Value::Null).await.0);
    }
    assert_eq!(statuses, [200, 503, 503, 200]);

    // The same over the control endpoint, as a script would.
    let control = format!("http://{}/control", jobber.sandbox.address());
    let order = json!({"op": "fault", "account": jobber.account, "fault": {"kind": "waiting_room"}});
    let ordered = jobber.client.post(&control).body(order.to_string()).send().await.unwrap();
    assert_eq!(ordered.status(), 200);
    let refused = jobber.client.post(&control).body(r#"{"op": "frobnicate"}"#).send().await.unwrap();
    assert_eq!(refused.status(), 400);
}
