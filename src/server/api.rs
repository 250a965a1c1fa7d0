//! The HTTP API for the review platform and other programs: actions in Jobber, the raw call, and reviews.
//!
//! It has a listener of its own, never the public one. Every request but the one for the API's description needs a key
//! (`Authorization: Bearer`), and a key may only what was named when it was made. Actions are the same functions as those
//! of the command line.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::limits::{self, Limits, Rates, serve};
use super::openapi;
use crate::context::Context;
use crate::domain::actions;
use crate::domain::model::AskId;
use crate::ops::OpError;
use crate::ops::actions::{ActionCall, ActionReply, ActionStatus, Caller, RawCall, act, raw};
use crate::ops::reviews::{self, Told};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What is said when there is no better time to come again, in seconds.
const COME_AGAIN: i64 = 60;

/// A bound listener that is not served yet.
#[derive(Debug)]
pub struct Api {
    listener: Arc<TcpListener>,
    router: Router,
    limits: Limits,
}

impl Api {
    pub fn new(listener: impl Into<Arc<TcpListener>>, context: Arc<Context>) -> Self {
        let limits = Self::limits();
        Self { listener: listener.into(), router: router(context, limits), limits }
    }

    pub fn limits() -> Limits {
        let some = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Limits { burst: some(100), rate: some(20), ..Limits::default() }
    }

    pub fn router(&self) -> Router {
        self.router.clone()
    }

    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub async fn run(self, stop: CancellationToken) {
        serve(self.listener, self.router, self.limits, stop).await;
    }
}

fn router(context: Arc<Context>, limits: Limits) -> Router {
    let rates = Arc::new(Rates::new(limits));
    let with_key = Router::new()
        .route("/api/v1/accounts/{account}/api", post(raw_call))
        .route("/api/v1/accounts/{account}/{noun}/{verb}", post(action).get(reading))
        .route("/api/v1/asks/{id}/review", post(review))
        .layer(middleware::from_fn_with_state(Arc::clone(&context), authenticate));
    Router::new()
        .route("/api/v1/openapi.json", get(description))
        .merge(with_key)
        .fallback(async || refusal(StatusCode::NOT_FOUND, "there is no such path: see /api/v1/openapi.json"))
        .layer(middleware::from_fn_with_state(rates, limit))
        .with_state(context)
}

async fn limit(State(rates): State<Arc<Rates>>, request: Request, next: Next) -> Response {
    let is_allowed = request.extensions().get::<limits::Caller>().is_none_or(|caller| rates.allow(*caller));
    if is_allowed {
        return next.run(request).await;
    }
    let words = "too many requests: come again in a second";
    with_retry_after(refusal(StatusCode::TOO_MANY_REQUESTS, words), 1)
}

async fn authenticate(State(context): State<Arc<Context>>, mut request: Request, next: Next) -> Response {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let secret = header
        .and_then(|value| value.split_once(' '))
        .and_then(|(scheme, secret)| scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim().to_owned()));
    let caller = match secret {
        Some(secret) => reviews::caller(&context, &secret).await,
        None => Ok(None),
    };
    match caller {
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Ok(None) => {
            let words = "the key is missing or not known: send it as Authorization: Bearer";
            let mut response = refusal(StatusCode::UNAUTHORIZED, words);
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
        Err(error) => failed(error),
    }
}

async fn description() -> Response {
    json_response(StatusCode::OK, openapi::description())
}

/// The body of an action. Everything may be left out that it does not need.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    target: Option<String>,
    text: Option<String>,
    input: Option<Map<String, Value>>,
    /// Flags as the command line has them.
    with: Map<String, Value>,
    clear: Vec<String>,
    sort: Option<String>,
    limit: Option<usize>,
    /// A yes to what cannot be undone or messages people.
    yes: bool,
}

fn key_of(headers: &HeaderMap) -> Option<String> {
    headers.get(IDEMPOTENCY_KEY).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

async fn action(
    State(context): State<Arc<Context>>,
    Path((account, noun, verb)): Path<(String, String, String)>,
    axum::Extension(caller): axum::Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let wanted: Wanted = match read(&body) {
        Ok(wanted) => wanted,
        Err(words) => return refusal(StatusCode::BAD_REQUEST, &words),
    };
    let key = key_of(&headers);
    if actions::find(&noun, &verb).is_some_and(actions::Action::writes) && key.is_none() {
        return refusal(
            StatusCode::BAD_REQUEST,
            "a write needs the header Idempotency-Key: under one key it is done once",
        );
    }
    let Wanted { target, text, input, with, clear, sort, limit, yes } = wanted;
    let flags = match flags_of(with) {
        Ok(flags) => flags,
        Err(words) => return refusal(StatusCode::BAD_REQUEST, &words),
    };
    let call = ActionCall {
        account: Some(account),
        noun,
        verb,
        target,
        text,
        flags,
        input,
        clear,
        sort,
        limit,
        key,
        is_confirmed: yes,
        ..ActionCall::default()
    };
    acted(act(&context, caller, call).await)
}

/// Flags as text. What is absent stays absent: there is no null.
fn flags_of(with: Map<String, Value>) -> Result<Vec<(String, String)>, String> {
    let mut flags = Vec::new();
    for (name, value) in with {
        let values = match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        for value in values {
            let text = match value {
                Value::String(text) => text,
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                _ => {
                    return Err(format!(
                        "with: `{name}` takes a text, true, false, a number, or a list of them"
                    ));
                }
            };
            flags.push((name.clone(), text));
        }
    }
    Ok(flags)
}

/// `GET` for what only reads: `target`, `text`, `limit`, `sort` and flags in the query.
async fn reading(
    State(context): State<Arc<Context>>,
    Path((account, noun, verb)): Path<(String, String, String)>,
    axum::Extension(caller): axum::Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Response {
    if actions::find(&noun, &verb).is_some_and(actions::Action::writes) {
        return refusal(StatusCode::METHOD_NOT_ALLOWED, "this action writes: use POST");
    }
    let mut call = ActionCall { account: Some(account), noun, verb, ..ActionCall::default() };
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match name.as_ref() {
            "target" => call.target = Some(value.into_owned()),
            "text" => call.text = Some(value.into_owned()),
            "sort" => call.sort = Some(value.into_owned()),
            "limit" => match value.parse() {
                Ok(limit) => call.limit = Some(limit),
                Err(_) => return refusal(StatusCode::BAD_REQUEST, "limit: write a whole number; 0 is all"),
            },
            _ => call.flags.push((name.into_owned(), value.into_owned())),
        }
    }
    acted(act(&context, caller, call).await)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct WantedCall {
    query: String,
    variables: Map<String, Value>,
    operation_name: Option<String>,
    yes: bool,
}

async fn raw_call(
    State(context): State<Arc<Context>>,
    Path(account): Path<String>,
    axum::Extension(caller): axum::Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let WantedCall { query, variables, operation_name, yes } = match read(&body) {
        Ok(wanted) => wanted,
        Err(words) => return refusal(StatusCode::BAD_REQUEST, &words),
    };
    let key = key_of(&headers);
    // Without a key a mutation is not confirmed, and so not done.
    let is_confirmed = yes && key.is_some();
    let call = RawCall {
        account: Some(account),
        query,
        operation: operation_name,
        variables,
        key,
        is_confirmed,
        ..RawCall::default()
    };
    match raw(&context, caller, call).await {
        Ok(reply) => {
            if reply.status == ActionStatus::NeedsYes {
                let words = "a mutation needs \"yes\": true and the header Idempotency-Key: under one key it is done once";
                return refusal(StatusCode::BAD_REQUEST, words);
            }
            let status = status_of(reply.status);
            json_response(status, serde_json::to_value(reply).unwrap_or_default())
        }
        Err(error) => failed(error),
    }
}

async fn review(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
    axum::Extension(caller): axum::Extension<Caller>,
    body: Bytes,
) -> Response {
    let told: Told = match read(&body) {
        Ok(told) => told,
        Err(words) => return refusal(StatusCode::BAD_REQUEST, &words),
    };
    match reviews::review(&context, &caller, &AskId::new(id), told).await {
        Ok(review) => json_response(StatusCode::OK, serde_json::to_value(review).unwrap_or_default()),
        Err(error) => failed(error),
    }
}

fn read<T: for<'de> Deserialize<'de>>(body: &Bytes) -> Result<T, String> {
    let body = if body.is_empty() { &b"{}"[..] } else { body };
    // A struct could be read from a list too.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err("the body is not a JSON object".to_owned());
    }
    serde_json::from_slice(body).map_err(|error| format!("the body is not what is expected: {error}"))
}

/// Reads answer Jobber's record or rows, as `--json` does; writes what became of them.
fn acted(outcome: Result<ActionReply, OpError>) -> Response {
    let reply = match outcome {
        Ok(reply) => reply,
        Err(error) => return failed(error),
    };
    let status = status_of(reply.status);
    let body = match (&reply.rows, reply.status) {
        (Some(rows), _) => json!({"rows": rows, "has_more": reply.has_more}),
        (None, ActionStatus::Done) if reply.key.is_none() => reply.record,
        (None, ActionStatus::NeedsYes) => {
            let words = reply.words.unwrap_or_default();
            return refusal(status, &format!("{words}. Add \"yes\": true to do it"));
        }
        (None, _) => serde_json::to_value(&reply).unwrap_or_default(),
    };
    json_response(status, body)
}

fn status_of(status: ActionStatus) -> StatusCode {
    match status {
        ActionStatus::Done => StatusCode::OK,
        ActionStatus::Refused | ActionStatus::NeedsYes | ActionStatus::NotSent | ActionStatus::Impossible => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        ActionStatus::Partly | ActionStatus::Unknown => StatusCode::FAILED_DEPENDENCY,
    }
}

fn failed(error: OpError) -> Response {
    let words = error.to_string();
    match error {
        OpError::Refused(_) | OpError::Rejected(_) => refusal(StatusCode::UNPROCESSABLE_ENTITY, &words),
        OpError::NotFound(_) => refusal(StatusCode::NOT_FOUND, &words),
        OpError::Conflict(_) => refusal(StatusCode::CONFLICT, &words),
        OpError::NeedsHuman(_) => refusal(StatusCode::FORBIDDEN, &words),
        OpError::Later { retry_after, .. } => {
            let seconds = retry_after.map_or(COME_AGAIN, |rest: SignedDuration| rest.as_secs().max(1));
            with_retry_after(refusal(StatusCode::SERVICE_UNAVAILABLE, &words), seconds)
        }
        OpError::Failed(_) => with_retry_after(refusal(StatusCode::SERVICE_UNAVAILABLE, &words), COME_AGAIN),
        OpError::Store(error) => {
            tracing::error!(%error, "a request of the API failed");
            with_retry_after(refusal(StatusCode::SERVICE_UNAVAILABLE, "the store failed"), COME_AGAIN)
        }
    }
}

fn with_retry_after(mut response: Response, seconds: i64) -> Response {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn refusal(status: StatusCode, words: &str) -> Response {
    json_response(status, json!({"error": words}))
}

fn json_response(status: StatusCode, body: Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}
