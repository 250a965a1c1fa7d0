//! A daemon that stands by passes what it is asked to the one that works, and sends back what that one answers: pages,
//! Jobber's webhooks, the HTTP API, the console, verbs. `server/relayed.rs` is the other side.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::limits::{Caller, Limits, Rates};
use crate::config::EVENTS_PATH;
use crate::store::{Asked, Asker, RelayError};

/// When to come again, in seconds.
const AGAIN: &str = "5";

/// Where a request arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    Public,
    Api,
    Console,
}

/// What is passed on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Passed {
    Http {
        door: Door,
        caller: Option<Caller>,
        method: String,
        uri: String,
        message: Message,
    },
    /// A line that came to the control socket.
    Verb(String),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answered {
    status: u16,
    message: Message,
}

impl Answered {
    pub(super) fn of(status: StatusCode, fields: &HeaderMap, body: &[u8]) -> Self {
        Self { status: status.as_u16(), message: Message::of(fields, body) }
    }
}

/// Fields and body of a request or an answer. What may be any bytes is in base64.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Message {
    fields: Vec<(String, String)>,
    body: String,
}

impl Message {
    fn of(fields: &HeaderMap, body: &[u8]) -> Self {
        let encoded = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.as_str().to_owned(), STANDARD.encode(value.as_bytes()))
        };
        Self { fields: fields.iter().map(encoded).collect(), body: STANDARD.encode(body) }
    }

    fn fields(&self) -> Option<HeaderMap> {
        let decoded = |(name, value): &(String, String)| {
            let value = HeaderValue::from_bytes(&STANDARD.decode(value).ok()?).ok()?;
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
        };
        let mut fields = HeaderMap::new();
        for field in &self.fields {
            let (name, value) = decoded(field)?;
            fields.append(name, value);
        }
        Some(fields)
    }

    fn body(&self) -> Option<Body> {
        STANDARD.decode(&self.body).ok().map(Body::from)
    }
}

/// A door of a daemon that stands by.
struct Relay {
    door: Door,
    asker: Arc<Asker>,
    /// `None` where whoever works has no limit either.
    rates: Option<Rates>,
}

/// What answers at a door of a daemon that stands by.
pub fn passing_on(door: Door, asker: Arc<Asker>, limits: Limits) -> Router {
    let rates = (door != Door::Console).then(|| Rates::new(limits));
    let relay = Relay { door, asker, rates };
    Router::new().fallback(pass_on).with_state(Arc::new(relay))
}

async fn pass_on(State(relay): State<Arc<Relay>>, request: Request) -> Response {
    // Jobber's bursts come from few addresses: its signature is checked instead, by the one that works.
    let is_event = relay.door == Door::Public && request.uri().path().strip_prefix('/') == Some(EVENTS_PATH);
    let caller = request.extensions().get::<Caller>();
    let rates = relay.rates.as_ref().filter(|_| !is_event);
    if rates.zip(caller).is_some_and(|(rates, caller)| !rates.allow(*caller)) {
        return come_again(StatusCode::TOO_MANY_REQUESTS, "too many requests\n");
    }
    match passed_on(relay.door, &relay.asker, request).await {
        Ok(Some(response)) => response,
        Ok(None) => (StatusCode::BAD_GATEWAY, "the answer cannot be read\n").into_response(),
        Err(error) => {
            tracing::warn!(%error, "a request could not be passed on");
            match error {
                RelayError::Lost => {
                    let words = "the answer was lost: look whether it was done, and try again if not\n";
                    (StatusCode::BAD_GATEWAY, words).into_response()
                }
                RelayError::Nobody | RelayError::Away(_) => {
                    come_again(StatusCode::SERVICE_UNAVAILABLE, "nothing was done: try again in a minute\n")
                }
            }
        }
    }
}

fn come_again(status: StatusCode, words: &'static str) -> Response {
    let mut response = (status, words).into_response();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(AGAIN));
    response
}

async fn passed_on(door: Door, asker: &Asker, request: Request) -> Result<Option<Response>, RelayError> {
    let (head, body) = request.into_parts();
    // The listener limits it.
    let Ok(body) = to_bytes(body, usize::MAX).await else { return Ok(None) };
    let passed = Passed::Http {
        door,
        caller: head.extensions.get().copied(),
        method: head.method.to_string(),
        uri: head.uri.to_string(),
        message: Message::of(&head.headers, &body),
    };
    let Ok(passed) = serde_json::to_vec(&passed) else { return Ok(None) };
    let mut asked = asker.ask(&passed).await?;
    Ok(asked.next().await?.and_then(|answer| response(&answer)))
}

fn response(answer: &[u8]) -> Option<Response> {
    let answer: Answered = serde_json::from_slice(answer).ok()?;
    let mut response = Response::new(answer.message.body()?);
    *response.status_mut() = StatusCode::from_u16(answer.status).ok()?;
    *response.headers_mut() = answer.message.fields()?;
    Some(response)
}

/// Passes on a line that came to the control socket.
pub(super) async fn verb(line: String, asker: &Asker) -> Result<Asked, RelayError> {
    asker.ask(&serde_json::to_vec(&Passed::Verb(line)).unwrap_or_default()).await
}

/// The request that was passed on, if it is one.
pub(super) fn request(method: &str, uri: &str, message: &Message, caller: Option<Caller>) -> Option<Request> {
    let mut request = Request::new(message.body()?);
    *request.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
    *request.uri_mut() = uri.parse::<Uri>().ok()?;
    *request.headers_mut() = message.fields()?;
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on_arrives_as_it_was() {
        let mut fields = HeaderMap::new();
        fields.append("cookie", HeaderValue::from_static("a=b"));
        fields.append("cookie", HeaderValue::from_static("c=d"));
        fields.insert("x-name", HeaderValue::from_bytes(b"caf\xc3\xa9 \xff").unwrap());
        let message = Message::of(&fields, b"\0\xff");
        let text = serde_json::to_string(&message).unwrap();
        let read: Message = serde_json::from_str(&text).unwrap();
        assert_eq!(read.fields().unwrap(), fields);
        let caller = Caller::of(std::net::SocketAddr::from(([203, 0, 113, 9], 1)), &fields);
        let request = request("POST", "/connect/x?y=1", &read, Some(caller)).unwrap();
        assert_eq!((request.method().as_str(), request.uri().query()), ("POST", Some("y=1")));
        assert_eq!(request.extensions().get::<Caller>(), Some(&caller));
        assert!(super::request("P OST", "/", &read, None).is_none());
        let broken = Message { fields: vec![], body: "?".to_owned() };
        assert!(super::request("GET", "/", &broken, None).is_none(), "no panic");
    }
}
