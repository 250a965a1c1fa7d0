//! The sandbox over HTTP: consent page, token endpoint, GraphQL, control, and a page to click through.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Form, Query, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::app::{AuthorizeQuery, CLIENT_ID};
use super::authorize::{self, TokenAnswer, TokenForm};
use super::control::{self, Op};
use super::execute::{self, Caller, Prepared, Request};
use super::faults::{FaultKind, Switches};
use super::hooks;
use super::pages;
use super::time::http_date;
use super::world::{Account, Grant, TokenState, World};
use super::{Shared, VERSION};

/// The version that replaces an unknown one (`api-behaviour.md` §3, Version).
const OLDEST_VERSION: &str = "2022-09-01";

/// The window of the request limit.
const WINDOW: SignedDuration = SignedDuration::from_secs(300);

type App = State<Arc<Shared>>;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/click", post(click))
        .route("/control", post(control_endpoint))
        .route("/control/graphql", post(privileged))
        .route("/api/oauth/authorize", get(consent))
        .route("/api/oauth/decide", post(decide))
        .route("/api/oauth/token", post(token))
        .route("/api/graphql", post(graphql).fallback(not_this_way))
        .with_state(shared)
}

/// The answer to a wrong method, which still has the time.
async fn not_this_way(State(shared): App) -> Response {
    dated(StatusCode::METHOD_NOT_ALLOWED.into_response(), shared.world().now())
}

// OAuth

async fn consent(State(shared): App, Query(query): Query<AuthorizeQuery>) -> Response {
    let known = query.client_id.as_deref() == Some(CLIENT_ID)
        && query.response_type.as_deref() == Some("code")
        && query.redirect_uri.is_some();
    if !known {
        return (StatusCode::BAD_REQUEST, Html(pages::refused())).into_response();
    }
    Html(pages::consent(&shared.world(), &query)).into_response()
}

#[derive(Debug, Deserialize)]
struct DecideForm {
    redirect_uri: String,
    state: Option<String>,
    account: u64,
    decision: String,
}

async fn decide(State(shared): App, Form(form): Form<DecideForm>) -> Response {
    let mut target = form.redirect_uri.clone();
    // A denial has no parameters at all.
    if form.decision == "allow" {
        let code = match authorize::new_code(&mut shared.world(), form.account) {
            Ok(code) => code,
            Err(error) => return (StatusCode::BAD_REQUEST, error).into_response(),
        };
        target = format!("{target}?code={code}");
        if let Some(state) = form.state {
            target = format!("{target}&state={state}");
        }
    }
    (StatusCode::FOUND, [(LOCATION, target)]).into_response()
}

async fn token(State(shared): App, Form(form): Form<TokenForm>) -> Response {
    let fault = {
        let mut world = shared.world();
        let account = form.account(&world).and_then(|number| world.accounts.get_mut(&number));
        account.and_then(|account| take_fault(account, "token"))
    };
    disturbed(fault, || {
        let mut world = shared.world();
        let response = match authorize::token(&mut world, &form) {
            TokenAnswer::Pair(pair) => axum::Json(pair).into_response(),
            TokenAnswer::Refused(status, words) => {
                (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], words).into_response()
            }
            TokenAnswer::Error(status, code) => json_answer(status, &json!({ "error": code })),
        };
        dated(response, world.now())
    })
    .await
}

// GraphQL

async fn graphql(State(shared): App, headers: HeaderMap, body: Bytes) -> Response {
    let (grant, now) = {
        let world = shared.world();
        match authenticate(&world, &headers) {
            Ok(grant) => (grant, world.now()),
            Err(refusal) => return dated(*refusal, world.now()),
        }
    };
    let asked = headers.get("x-jobber-graphql-version").and_then(|value| value.to_str().ok());
    if shared.world().accounts.get(&grant.account).is_some_and(|account| account.switches.version_gone) {
        let words = format!("GraphQL API version '{}' does not exist", asked.unwrap_or_default());
        return dated(json_answer(404, &json!({ "message": words })), now);
    }
    let Ok(request) = serde_json::from_slice::<Request>(&body) else {
        return dated(json_answer(400, &json!({"message": "Bad Request"})), now);
    };
    let prepared = shared.executor.prepare(&request);
    let name = prepared.as_ref().map_or_else(|_| "invalid".to_owned(), Prepared::name);
    let Some((fault, switches)) = admit(&shared, &grant, &name) else {
        return dated(json_answer(429, &json!({"message": "Too many requests"})), now);
    };
    pause(&switches).await;
    let version = served_version(&switches, &headers);
    disturbed(fault, || {
        let answer = answer(&shared, &grant, &switches, prepared, &version);
        dated(json_answer(200, &answer), shared.world().now())
    })
    .await
}

/// The grant of a request's token, or the answer that refuses it.
fn authenticate(world: &World, headers: &HeaderMap) -> Result<Grant, Box<Response>> {
    let refuse = |words: &str| Err(Box::new(json_answer(401, &json!({ "message": words }))));
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        return Err(Box::new(json_answer(200, &unauthenticated())));
    };
    let Some(access) = world.access.get(token) else { return refuse("Token not recognized") };
    match access.state {
        TokenState::Disconnected => {
            return refuse("User has disconnected this app from their account. Please delete this token");
        }
        TokenState::Revoked | TokenState::Spent => return refuse("Token not recognized"),
        TokenState::Valid => {}
    }
    let Some(account) = world.accounts.get(&access.grant.account) else {
        return refuse("Token not recognized");
    };
    if account.closed {
        let body = json!({"error": {"message": "This account is not active"}});
        return Err(Box::new(json_answer(account.switches.inactive_status, &body)));
    }
    if access.expires_at <= world.now() {
        return refuse("Access token expired");
    }
    Ok(access.grant.clone())
}

/// What a request without a token gets (`live-findings.md`, Corrected).
fn unauthenticated() -> Value {
    let message = "An object of type Account was hidden because you are unauthenticated";
    json!({
        "data": {"account": null},
        "errors": [{"message": message, "extensions": {"code": "UNAUTHENTICATED"}}],
    })
}

/// The answer to a question for one record that is not there.
fn absent() -> Value {
    json!({
        "data": {"job": null, "visit": null, "invoice": null},
        "extensions": {"versioning": {"version": VERSION}},
    })
}

/// Counts a request and takes its queued failure. `None` if it exceeds the request limit.
fn admit(shared: &Shared, grant: &Grant, operation: &str) -> Option<(Option<FaultKind>, Switches)> {
    let mut world = shared.world();
    let now = world.now();
    let account = world.accounts.get_mut(&grant.account)?;
    account.stats.requests += 1;
    *account.stats.operations.entry(operation.to_owned()).or_default() += 1;
    while account.recent_requests.front().is_some_and(|at| now.duration_since(*at) > WINDOW) {
        account.recent_requests.pop_front();
    }
    if account.recent_requests.len() >= account.switches.requests_per_window {
        return None;
    }
    account.recent_requests.push_back(now);
    Some((take_fault(account, operation), account.switches.clone()))
}

async fn pause(switches: &Switches) {
    let mut random = [0; 8];
    let jitter = match getrandom::fill(&mut random) {
        Ok(()) if switches.jitter_ms > 0 => u64::from_le_bytes(random) % (switches.jitter_ms + 1),
        _ => 0,
    };
    let pause = switches.latency_ms + jitter;
    if pause > 0 {
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// An unknown version is silently replaced by the oldest one.
fn served_version(switches: &Switches, headers: &HeaderMap) -> String {
    if let Some(version) = &switches.served_version {
        return version.clone();
    }
    let asked = headers.get("x-jobber-graphql-version").and_then(|value| value.to_str().ok());
    if asked == Some(VERSION) { VERSION.to_owned() } else { OLDEST_VERSION.to_owned() }
}

fn answer(
    shared: &Shared,
    grant: &Grant,
    switches: &Switches,
    prepared: Result<Prepared, Value>,
    version: &str,
) -> Value {
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(errors) => return errors,
    };
    let requested = prepared.requested(switches.page_info_per_row);
    let budget = |shared: &Shared, take: u64| -> Option<f64> {
        let mut world = shared.world();
        let now = world.now();
        let account = world.accounts.get_mut(&grant.account)?;
        account.bucket.take(points(take));
        account.stats.points += take;
        let available = account.bucket.available(switches, now);
        let lowest = account.stats.lowest_points.get_or_insert(whole(available));
        *lowest = whole(available).min(*lowest);
        Some(available)
    };
    let extensions = |actual: u64, available: f64| {
        json!({
            "cost": {
                "requestedQueryCost": requested, "actualQueryCost": actual,
                "throttleStatus": {
                    "maximumAvailable": whole(switches.bucket_size),
                    "currentlyAvailable": whole(available),
                    "restoreRate": whole(switches.bucket_refill),
                },
            },
            "versioning": { "version": version },
        })
    };
    let available = budget(shared, 0).unwrap_or_default();
    if points(requested) > available {
        if let Some(account) = shared.world().accounts.get_mut(&grant.account) {
            account.stats.throttled += 1;
        }
        return json!({
            "errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}],
            "extensions": extensions(0, available),
        });
    }
    if let Some(words) = prepared.hidden(&switches.hidden_fields) {
        return json!({"data": null, "errors": [{"message": words}], "extensions": extensions(0, available)});
    }
    let caller = Caller { account: grant.account, viewer: grant.user, is_app: true };
    let (mut answer, actual) = execute::run(shared, caller, &prepared);
    let available = budget(shared, actual).unwrap_or_default();
    if let Some(data) = answer.get_mut("data") {
        distort(data, switches);
    }
    if switches.partial_errors
        && let Some(answer) = answer.as_object_mut()
        && let Value::Array(errors) = answer.entry("errors").or_insert_with(|| json!([]))
    {
        errors.push(json!({"message": "Something went wrong"}));
    }
    answer["extensions"] = extensions(actual, available);
    answer
}

#[expect(clippy::cast_precision_loss, reason = "points are far below 2^52")]
fn points(points: u64) -> f64 {
    points as f64
}

#[expect(clippy::cast_possible_truncation, reason = "points are far below 2^52")]
fn whole(points: f64) -> i64 {
    points.floor() as i64
}

/// Applies the switches that change the content of an answer.
fn distort(data: &mut Value, switches: &Switches) {
    match data {
        Value::Array(items) => items.iter_mut().for_each(|item| distort(item, switches)),
        Value::Object(fields) => {
            if let Some(unknown) = &switches.unknown_enum
                && let Some(value) = fields.get_mut(&unknown.field)
            {
                *value = unknown.value.clone().into();
            }
            fields.values_mut().for_each(|value| distort(value, switches));
            if switches.extra_fields {
                fields.insert("fieldOfTheFuture".to_owned(), json!({"unknown": [1, 2, 3]}));
            }
        }
        _ => {}
    }
}

// Failures

fn take_fault(account: &mut Account, operation: &str) -> Option<FaultKind> {
    let place = account
        .faults
        .iter()
        .position(|fault| fault.operation.as_deref().is_none_or(|only| only == operation))?;
    let fault = account.faults.get_mut(place)?;
    let kind = fault.kind.clone();
    fault.times = fault.times.saturating_sub(1);
    if fault.times == 0 {
        account.faults.remove(place);
    }
    Some(kind)
}

/// Answers, fails instead, or answers and then fails.
async fn disturbed(fault: Option<FaultKind>, answer: impl FnOnce() -> Response) -> Response {
    match fault {
        None => answer(),
        Some(FaultKind::Hang { ms }) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            answer()
        }
        Some(FaultKind::Reset) => broken(Bytes::new()),
        Some(FaultKind::ResetAfter) => {
            drop(answer());
            broken(Bytes::new())
        }
        Some(FaultKind::Truncate) => {
            let whole = axum::body::to_bytes(answer().into_body(), usize::MAX).await.unwrap_or_default();
            broken(whole.slice(..whole.len() / 2))
        }
        Some(FaultKind::Http { status, retry_after }) => {
            let mut response = json_answer(status, &json!({"message": "Service temporarily unavailable"}));
            if let Some(value) = retry_after.and_then(|value| HeaderValue::from_str(&value).ok()) {
                response.headers_mut().insert(RETRY_AFTER, value);
            }
            response
        }
        Some(FaultKind::WaitingRoom) => {
            Html("<html><body>You are now in line.</body></html>").into_response()
        }
        Some(FaultKind::Unauthenticated) => json_answer(200, &unauthenticated()),
        Some(FaultKind::Expired) => json_answer(401, &json!({"message": "Access token expired"})),
        Some(FaultKind::RefreshRefused) => {
            let kind = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
            (StatusCode::UNAUTHORIZED, kind, "The provided refresh token is not valid").into_response()
        }
        Some(FaultKind::Absent) => json_answer(200, &absent()),
        Some(FaultKind::Nonsense) => json_answer(200, &json!({"unexpected": true})),
    }
}

/// A response with a connection that ends after `head`.
fn broken(head: Bytes) -> Response {
    let cut = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    Body::from_stream(stream::iter([Ok(head), Err(cut)])).into_response()
}

fn json_answer(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(CONTENT_TYPE, "application/json; charset=utf-8")], body.to_string()).into_response()
}

fn dated(mut response: Response, now: Timestamp) -> Response {
    if let Ok(date) = HeaderValue::from_str(&http_date(now)) {
        response.headers_mut().insert(DATE, date);
    }
    response
}

// For people and tests

async fn control_endpoint(State(shared): App, body: Bytes) -> Response {
    let outcome = serde_json::from_slice::<Op>(&body)
        .map_err(|error| error.to_string())
        .and_then(|op| control::watched(&mut shared.world(), op));
    match outcome {
        Ok(value) => json_answer(200, &value),
        Err(error) => json_answer(400, &json!({ "error": error })),
    }
}

/// A document of a person working in Jobber. It needs no token.
#[derive(Debug, Deserialize)]
struct AtWork {
    account: u64,
    query: String,
    #[serde(default)]
    variables: Value,
}

async fn privileged(State(shared): App, body: Bytes) -> Response {
    match serde_json::from_slice::<AtWork>(&body) {
        Ok(AtWork { account, query, variables }) => {
            json_answer(200, &execute::privileged(&shared, account, &query, variables))
        }
        Err(error) => json_answer(400, &json!({ "error": error.to_string() })),
    }
}

async fn home(State(shared): App) -> Html<String> {
    Html(pages::home(&shared.world()))
}

#[derive(Debug, Deserialize)]
struct ClickForm {
    account: u64,
    mutation: String,
    id: String,
}

/// A button of the home page: one of Jobber's own mutations.
async fn click(State(shared): App, Form(form): Form<ClickForm>) -> Response {
    let mut arguments = Map::new();
    let (name, argument) = match form.mutation.as_str() {
        "jobClose" => {
            let visits = json!({"modifyIncompleteVisitsBy": "COMPLETE_PAST_DESTROY_FUTURE"});
            arguments.insert("input".to_owned(), visits);
            ("jobClose", "jobId")
        }
        "jobReopen" => ("jobReopen", "jobId"),
        _ => return (StatusCode::BAD_REQUEST, "no such button").into_response(),
    };
    arguments.insert(argument.to_owned(), form.id.into());
    let clicked = hooks::watched(&mut shared.world(), form.account, |world| {
        super::mutate::mutate(world, form.account, name, &arguments)
    });
    match clicked {
        Ok(_) => (StatusCode::SEE_OTHER, [(LOCATION, "/")]).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error).into_response(),
    }
}
