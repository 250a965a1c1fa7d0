//! The limits of the public listener: connections, time for a request and its answer, size of a head,
//! requests per caller.
//!
//! Behind a web server on the same machine all connections come from this machine. Then the last address in
//! `X-Forwarded-For` identifies the caller, because that web server wrote it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use governor::clock::DefaultClock;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Concurrent connections. More wait to be accepted.
    pub connections: usize,
    /// Time from the first byte of a connection, or from the end of the previous answer, to the end of the
    /// next head.
    pub head: Duration,
    /// Time from the end of the head to the end of the body.
    pub body: Duration,
    /// Time from the end of the head to the answer.
    pub answer: Duration,
    /// Connections, and requests under way, that one caller may have.
    pub at_once: usize,
    pub burst: NonZeroU32,
    /// Requests per second that one caller may make on average.
    pub rate: NonZeroU32,
}

/// How long a connection that has not said anything is kept when everything ends.
const FIRST_REQUEST: Duration = Duration::from_millis(500);

impl Default for Limits {
    fn default() -> Self {
        let some = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self {
            connections: 512,
            head: Duration::from_secs(10),
            body: Duration::from_secs(5),
            answer: Duration::from_mins(1),
            // Jobber's events come in bursts from few addresses.
            at_once: 256,
            burst: some(60),
            rate: some(5),
        }
    }
}

/// Maximum bytes of a request's body. The routes allow less where they need less.
const LARGEST_BODY: usize = 64 * 1024;

/// Maximum bytes of a request's head, with cookies and a long query.
const LARGEST_HEAD: usize = 16 * 1024;

const MOST_FIELDS: usize = 64;

/// At this many remembered callers, those with a full allowance are forgotten.
const CALLERS: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Caller(IpAddr);

impl Caller {
    /// The caller behind `peer`, given these header fields. An IPv6 caller has a whole network, so only half
    /// of the address counts.
    pub(super) fn of(peer: SocketAddr, headers: &HeaderMap) -> Self {
        let forwarded = || {
            let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
            last.rsplit(',').next()?.trim().parse().ok()
        };
        let peer = peer.ip().to_canonical();
        let address = if peer.is_loopback() { forwarded().unwrap_or(peer) } else { peer };
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

pub(super) struct Rates(RateLimiter<Caller, HashMapStateStore<Caller>, DefaultClock>);

impl Rates {
    pub(super) fn new(limits: Limits) -> Self {
        let quota = Quota::per_second(limits.rate).allow_burst(limits.burst);
        Self(RateLimiter::hashmap(quota))
    }

    pub(super) fn allow(&self, caller: Caller) -> bool {
        if self.0.len() > CALLERS {
            self.0.retain_recent();
        }
        self.0.check_key(&caller).is_ok()
    }
}

/// How many connections or requests each caller has.
#[derive(Debug, Clone, Default)]
struct Busy(Arc<Mutex<HashMap<Caller, usize>>>);

/// One of a caller's connections or requests, until it is dropped.
struct Place {
    busy: Busy,
    caller: Caller,
}

impl Busy {
    /// A place for the caller, unless it has `most` already.
    fn enter(&self, caller: Caller, most: usize) -> Option<Place> {
        let mut busy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = busy.entry(caller).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { busy: self.clone(), caller })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut busy = self.busy.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = busy.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                busy.remove(&self.caller);
            }
        }
    }
}

pub async fn serve(listener: Arc<TcpListener>, router: Router, limits: Limits, stop: CancellationToken) {
    let (places, connections) = (Arc::new(Semaphore::new(limits.connections)), TaskTracker::new());
    let (connected, requests) = (Busy::default(), Busy::default());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                // A web server on this machine has the connections of all callers.
                let own = if peer.ip().to_canonical().is_loopback() {
                    None
                } else {
                    let caller = Caller::of(peer, &HeaderMap::new());
                    let Some(own) = connected.enter(caller, limits.at_once) else { continue };
                    Some(own)
                };
                let (router, requests, stop) = (router.clone(), requests.clone(), stop.clone());
                connections.spawn(async move {
                    answer(stream, peer, router, requests, limits, stop).await;
                    drop((place, own));
                });
            }
            Err(error) => {
                // For example out of file descriptors: some connection will end.
                tracing::warn!(%error, "the public listener cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

async fn answer(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    requests: Busy,
    limits: Limits,
    stop: CancellationToken,
) {
    let begun = CancellationToken::new();
    let begins = begun.clone();
    let service = tower::service_fn(move |mut request: Request<hyper::body::Incoming>| {
        begins.cancel();
        let caller = Caller::of(peer, request.headers());
        request.extensions_mut().insert(caller);
        let (router, place) = (router.clone(), requests.enter(caller, limits.at_once));
        async move {
            let Some(_place) = place else {
                return Ok(ended(StatusCode::TOO_MANY_REQUESTS, "too many requests at once\n"));
            };
            let answer = respond(router, request, limits.body);
            let answered = tokio::time::timeout(limits.answer, answer).await;
            Ok::<_, Infallible>(answered.unwrap_or_else(|_| late()))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(MOST_FIELDS)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            // The request of whoever has just connected is on its way.
            tokio::select! {
                ended = &mut connection => ended,
                () = first_request(&begun) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Waits for the first request of a connection, and not for long.
async fn first_request(begun: &CancellationToken) {
    let _late = tokio::time::timeout(FIRST_REQUEST, begun.cancelled()).await;
}

/// Reads the whole body, then answers. A body that drips holds up nothing but itself.
async fn respond(
    router: Router,
    request: Request<hyper::body::Incoming>,
    patience: Duration,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = match tokio::time::timeout(patience, axum::body::to_bytes(Body::new(body), LARGEST_BODY)).await
    {
        Err(_) => return late(),
        Ok(Err(_)) => return ended(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large, or was cut off\n"),
        Ok(Ok(body)) => body,
    };
    match router.oneshot(Request::from_parts(head, Body::from(body))).await {
        Ok(response) => response,
    }
}

fn late() -> Response<Body> {
    ended(StatusCode::REQUEST_TIMEOUT, "the request took too long\n")
}

/// An answer after which the connection is closed.
fn ended(status: StatusCode, words: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(words));
    *response.status_mut() = status;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn caller(peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        Caller::of(SocketAddr::new(peer.parse().unwrap(), 1), &headers).0.to_string()
    }

    #[test]
    fn a_caller_is_whom_the_web_server_on_this_machine_saw() {
        assert_eq!(caller("198.51.100.7", &[]), "198.51.100.7");
        assert_eq!(caller("198.51.100.7", &["203.0.113.9"]), "198.51.100.7", "strangers say what they like");
        assert_eq!(caller("127.0.0.1", &["1.2.3.4, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(caller("::ffff:127.0.0.1", &["1.2.3.4", "203.0.113.9"]), "203.0.113.9");
        assert_eq!(caller("127.0.0.1", &["unknown"]), "127.0.0.1");
        assert_eq!(caller("::1", &["2001:db8:1:2:3:4:5:6"]), "2001:db8:1:2::");
    }

    #[test]
    fn callers_do_not_use_up_each_others_requests() {
        let limits =
            Limits { burst: NonZeroU32::new(3).unwrap(), rate: NonZeroU32::MIN, ..Limits::default() };
        let rates = Rates::new(limits);
        let (one, other) = (Caller(Ipv6Addr::LOCALHOST.into()), Caller(Ipv6Addr::UNSPECIFIED.into()));
        let allowed = (0..100).filter(|_| rates.allow(one)).count();
        assert!((3..6).contains(&allowed), "{allowed}");
        assert!(rates.allow(other));
    }

    /// The answer to a client that sends this and then waits.
    async fn heard(limits: Limits, says: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let echo = axum::routing::post(|body: String| async move { body });
        let router = Router::new().route("/", echo.get(async || "hello"));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(Arc::new(listener), router, limits, stop.clone()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(says.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        let read = stream.read_to_end(&mut heard);
        let ended = tokio::time::timeout(Duration::from_secs(20), read).await;
        assert!(ended.is_ok(), "the connection stays open: {}", String::from_utf8_lossy(&heard));
        stop.cancel();
        serving.await.unwrap();
        String::from_utf8(heard).unwrap()
    }

    fn impatient() -> Limits {
        let little = Duration::from_millis(200);
        Limits { head: little, body: little, answer: little, ..Limits::default() }
    }

    #[tokio::test]
    async fn whoever_connects_as_everything_ends_is_still_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let router = Router::new().route("/", axum::routing::get(async || "here"));
        let stop = CancellationToken::new();
        stop.cancel();
        let answering = tokio::spawn(answer(stream, peer, router, Busy::default(), Limits::default(), stop));
        // It has had its turn, and knows that it is to end.
        tokio::task::yield_now().await;
        let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut client, request).await.unwrap();
        let mut said = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut client, &mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("here"), "{said:?}");
        answering.await.unwrap();
    }

    #[tokio::test]
    async fn a_caller_who_keeps_the_listener_waiting_is_shown_the_door() {
        assert_eq!(heard(impatient(), "").await, "");
        assert_eq!(heard(impatient(), "GET / HT").await, "");
        assert_eq!(heard(impatient(), "GET / HTTP/1.1\r\nhost: a\r\nx-slow: ").await, "");
        let answered = heard(impatient(), "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(answered.starts_with("HTTP/1.1 200 OK") && answered.ends_with("hello"), "{answered}");
        let dripping = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nx";
        let answered = heard(impatient(), dripping).await;
        assert!(answered.starts_with("HTTP/1.1 408 "), "{answered}");
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_is_refused() {
        let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx-long: {}\r\n\r\n", "x".repeat(2 * LARGEST_HEAD));
        assert!(heard(impatient(), &long).await.starts_with("HTTP/1.1 431 "));
        let many = "x: y\r\n".repeat(MOST_FIELDS + 1);
        let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n");
        assert!(heard(impatient(), &many).await.starts_with("HTTP/1.1 431 "));
    }

    /// Posts that drip take their caller's places only, and not for long.
    #[tokio::test]
    async fn dripping_posts_of_one_caller_leave_the_others_their_places() {
        let limits = Limits { at_once: 4, body: Duration::from_mins(1), ..Limits::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let echo = axum::routing::post(|body: String| async move { body });
        let router = Router::new().route("/", echo.get(async || "hello"));
        let stop = CancellationToken::new();
        let _serving = tokio::spawn(serve(Arc::new(listener), router, limits, stop.clone()));
        let ask = async |caller: &str, rest: &str| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let text = format!("{rest}x-forwarded-for: {caller}\r\n\r\n");
            stream.write_all(text.as_bytes()).await.unwrap();
            stream
        };
        let drip = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n";
        let get = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
        let mut dripping = Vec::new();
        for _ in 0..4 {
            dripping.push(ask("203.0.113.9", drip).await);
        }
        let hear = async |mut stream: TcpStream| {
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await.unwrap();
            heard
        };
        // The places are taken one after the other; one more finds none.
        loop {
            let heard = hear(ask("203.0.113.9", get).await).await;
            if heard.starts_with("HTTP/1.1 429 ") {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(hear(ask("203.0.113.10", get).await).await.ends_with("hello"), "another caller");
        dripping.clear();
        stop.cancel();
    }

    #[tokio::test]
    async fn more_connections_than_there_are_places_wait_for_one() {
        let limits = Limits { connections: 1, ..impatient() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", axum::routing::get(async || "hello"));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(Arc::new(listener), router, limits, stop.clone()));
        let idle = TcpStream::connect(address).await.unwrap();
        let mut waiting = TcpStream::connect(address).await.unwrap();
        waiting.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut heard = String::new();
        // The idle connection is closed after a while. Then the other is served.
        waiting.read_to_string(&mut heard).await.unwrap();
        assert!(heard.ends_with("hello"), "{heard}");
        drop(idle);
        stop.cancel();
        serving.await.unwrap();
    }
}
