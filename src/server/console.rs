//! The operator's console: server-rendered pages on a listener of this machine, for whoever can reach the control socket.
//!
//! `jobber-reviewd console` makes an address that works once; it gives a browser a session cookie. What changes something is
//! a form with a token of the session, and calls the function that the verb of the command line calls.

mod charts;
mod pages;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Extension, Form, Path, Query, Request, State};
use axum::http::header::{HOST, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use jiff::SignedDuration;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::hardening::{cookie_in, hardened};
use super::limits::{Limits, serve};
use crate::accounts::onboarding::random;
use crate::clock::minus;
use crate::context::Context;
use crate::digest;
use crate::domain::funnel::Step;
use crate::domain::model::{AccountId, LinkBrand, MessageId, SkipReason};
use crate::ops::protocol::{
    AccountPause, AccountResume, AccountShow, Explain, LinkCreate, QueueDrop, QueueDropBurst, QueueRelease,
    QueueReleaseBurst, QueueRetry, QueueShow, Scene, Status, Verb,
};
use crate::ops::queue::{self, QueueFilter};
use crate::ops::report;
use crate::ops::status::AccountStatus;
use crate::ops::{Done, OpError};
use pages::{AccountPage, Filter, Frame};

/// Cookies are shared by all ports of a machine, so the name has ours.
fn cookie_name(context: &Context) -> String {
    let port = context.config.console.listen.map_or(0, |listen| listen.port());
    format!("jobber_reviewd_console_{port}")
}

/// The most rows of a page.
const MOST: usize = 500;

/// Works of one explanation.
const EXPLAINED: usize = 100;

const LINK_LIVES: i64 = 7 * 24 * 60 * 60;

/// A bound listener that is not served yet.
#[derive(Debug)]
pub struct Console {
    listener: Arc<TcpListener>,
    router: Router,
}

impl Console {
    pub fn new(listener: impl Into<Arc<TcpListener>>, context: Arc<Context>) -> Self {
        Self { listener: listener.into(), router: router(context) }
    }

    pub fn router(&self) -> Router {
        self.router.clone()
    }

    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub async fn run(self, stop: CancellationToken) {
        serve(self.listener, self.router, Limits::default(), stop).await;
    }
}

fn router(context: Arc<Context>) -> Router {
    let inside = Router::new()
        .route("/", get(overview))
        .route("/accounts/{id}", get(account))
        .route("/accounts/{id}/works", get(works))
        .route("/explain", get(explain))
        .route("/queue", get(queue_page))
        .route("/queue/{id}", get(message))
        .route("/digest", get(week))
        .route("/do", post(act))
        .layer(middleware::from_fn_with_state(Arc::clone(&context), let_in));
    Router::new()
        .route("/open/{key}", get(open))
        .merge(inside)
        .layer(DefaultBodyLimit::max(16 * 1024))
        .layer(middleware::from_fn(harden))
        .with_state(context)
}

/// Names that a browser on this machine, or at the end of a tunnel to it, has for us. Another name is of a page elsewhere
/// that let its name point here.
fn is_ours(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name =
        host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    let is_loopback =
        name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    is_loopback || name == "localhost"
}

async fn harden(request: Request, next: Next) -> Response {
    let mut response = if is_ours(request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::MISDIRECTED_REQUEST, "open the console as 127.0.0.1 or localhost\n").into_response()
    };
    let policy = format!(
        "default-src 'none'; style-src '{}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        pages::style_hash()
    );
    let policy = HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    hardened(&mut response, policy);
    response
}

/// The session of a request.
#[derive(Clone)]
struct Visitor(SecretString);

impl Visitor {
    fn csrf(&self) -> String {
        digest::of(&["console form", self.0.expose_secret()])
    }

    fn frame(&self, context: &Context) -> Frame {
        Frame { now: context.clock.now(), csrf: self.csrf(), said: context.console.take_said(&self.0) }
    }
}

async fn let_in(State(context): State<Arc<Context>>, mut request: Request, next: Next) -> Response {
    let session = cookie_in(request.headers(), &cookie_name(&context));
    match session {
        Some(session) if context.console.knows(&session, context.clock.now()) => {
            request.extensions_mut().insert(Visitor(session));
            next.run(request).await
        }
        _ => closed(),
    }
}

fn closed() -> Response {
    (StatusCode::UNAUTHORIZED, Html(pages::closed())).into_response()
}

async fn open(State(context): State<Arc<Context>>, Path(key): Path<String>) -> Response {
    let Ok(session) = random() else { return closed() };
    if !context.console.enter(&key.into(), &session, context.clock.now()) {
        return closed();
    }
    let name = cookie_name(&context);
    let cookie = format!("{name}={}; Path=/; HttpOnly; SameSite=Strict", session.expose_secret());
    (StatusCode::SEE_OTHER, [(SET_COOKIE, cookie.as_str()), (LOCATION, "/")]).into_response()
}

async fn run<V: Verb>(context: &Context, verb: V) -> Result<V::Reply, OpError> {
    // Nobody listens to progress.
    let (tell, _told) = mpsc::channel(1);
    verb.run(Scene { context, is_daemon: true, tell }).await
}

/// A page, or what went wrong as one.
fn shown(frame: &Frame, page: Result<String, OpError>) -> Response {
    match page {
        Ok(page) => Html(page).into_response(),
        Err(error) => {
            let status = match &error {
                OpError::NotFound(_) => StatusCode::NOT_FOUND,
                OpError::Refused(_) => StatusCode::BAD_REQUEST,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            (status, Html(pages::failed(frame, &error.to_string()))).into_response()
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    q: String,
    state: String,
    account: String,
    step: String,
    days: Option<i64>,
}

impl Asked {
    fn period(&self) -> i64 {
        self.days.unwrap_or(30).clamp(1, 365)
    }
}

async fn overview(
    State(context): State<Arc<Context>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Response {
    let frame = visitor.frame(&context);
    let page = async {
        let report = run(&context, Status {}).await?;
        let filter = Filter { state: asked.state, text: asked.q };
        let wanted: Vec<&AccountStatus> =
            report.accounts.iter().filter(|account| filter.shows(account)).collect();
        let mut shown = Vec::new();
        for account in wanted.iter().take(MOST) {
            shown.push((*account, report::days(&context, &account.id, 30).await?));
        }
        Ok(pages::overview(&frame, &report, &shown, wanted.len(), &filter))
    };
    shown(&frame, page.await)
}

async fn status_of(context: &Context, id: &AccountId) -> Result<AccountStatus, OpError> {
    let report = run(context, Status {}).await?;
    let found = report.accounts.into_iter().find(|account| account.id == *id);
    found.ok_or_else(|| OpError::NotFound(format!("no account has the id `{id}`")))
}

async fn account(
    State(context): State<Arc<Context>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let frame = visitor.frame(&context);
    let page = async {
        let status = status_of(&context, &AccountId::new(&id)).await?;
        let shown = run(&context, AccountShow { account: id }).await?;
        let period = asked.period();
        let since = minus(frame.now, SignedDuration::from_hours(24 * period));
        let funnel = report::funnel(&context, &shown.account, since).await?;
        let days = report::days(&context, &status.id, 90).await?;
        let page = AccountPage { shown: &shown, status: &status, funnel: &funnel, days: &days, period };
        Ok(pages::account(&frame, &page))
    };
    shown(&frame, page.await)
}

async fn works(
    State(context): State<Arc<Context>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let frame = visitor.frame(&context);
    let page = async {
        let account = run(&context, AccountShow { account: id }).await?.account;
        let reason = || serde_json::from_value::<SkipReason>(asked.step.clone().into()).ok();
        let (step, title) = match asked.step.as_str() {
            "finished" => (Step::Finished, "finished"),
            "waiting" => (Step::Waiting, "waiting"),
            "asked" => (Step::Asked, "asked"),
            "delivered" => (Step::Delivered, "delivered"),
            other => match reason() {
                Some(reason) => (Step::Skipped(reason), reason.describe()),
                None => return Err(OpError::NotFound(format!("there is no step `{other}`"))),
            },
        };
        let since = minus(frame.now, SignedDuration::from_hours(24 * asked.period()));
        let decisions = report::works(&context, &account, since, step, MOST).await?;
        Ok(pages::works(&frame, &account.name, title, &decisions, MOST))
    };
    shown(&frame, page.await)
}

async fn explain(
    State(context): State<Arc<Context>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Response {
    let frame = visitor.frame(&context);
    let page = async {
        let found = match asked.q.trim() {
            "" => vec![],
            what => run(&context, Explain { what: what.to_owned(), render: false }).await?,
        };
        Ok(pages::explain(&frame, asked.q.trim(), &found, EXPLAINED))
    };
    shown(&frame, page.await)
}

async fn queue_page(
    State(context): State<Arc<Context>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Response {
    let frame = visitor.frame(&context);
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let filter = QueueFilter {
        account: some(&asked.account).map(AccountId::new),
        state: some(&asked.state),
        most: Some(MOST),
    };
    let page = queue::select(&context, &filter).await;
    shown(&frame, page.map(|(rows, count)| pages::queue(&frame, &rows, count, &asked.account, &asked.state)))
}

async fn message(
    State(context): State<Arc<Context>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Response {
    let frame = visitor.frame(&context);
    let page = run(&context, QueueShow { id: MessageId::new(id) }).await;
    shown(&frame, page.map(|entry| pages::message(&frame, &entry)))
}

async fn week(State(context): State<Arc<Context>>, Extension(visitor): Extension<Visitor>) -> Response {
    let frame = visitor.frame(&context);
    let page = run(&context, Status {}).await;
    shown(&frame, page.map(|report| pages::week(&frame, &report)))
}

#[derive(Debug, Deserialize)]
struct Wanted {
    csrf: String,
    verb: String,
    back: String,
    #[serde(default)]
    account: String,
    #[serde(default)]
    what: String,
    #[serde(default)]
    yes: String,
}

/// Does what a button says, and leads back.
async fn act(
    State(context): State<Arc<Context>>,
    Extension(visitor): Extension<Visitor>,
    Form(wanted): Form<Wanted>,
) -> Response {
    let Wanted { csrf, verb, back, account, what, yes } = wanted;
    let frame = || visitor.frame(&context);
    if !bool::from(visitor.csrf().as_bytes().ct_eq(csrf.as_bytes())) {
        return (StatusCode::FORBIDDEN, Html(pages::failed(&frame(), "That did not come from this page.")))
            .into_response();
    }
    // Only to a page of the console.
    let is_ours = back.starts_with('/') && !back.starts_with("//") && !back.contains('\\');
    let is_plain = back.bytes().all(|byte| byte.is_ascii_graphic());
    let back = if is_ours && is_plain { back } else { "/".to_owned() };
    let asks_first = match verb.as_str() {
        "drop" => {
            Some("It will not be sent, and if it is a request, its customer will not be asked. Drop it?")
        }
        "drop-burst" => Some("Nobody will be asked about these works. Drop them all?"),
        _ => None,
    };
    if let Some(words) = asks_first.filter(|_| yes != "yes") {
        return Html(pages::sure(&frame(), &verb, &account, &what, &back, words)).into_response();
    }
    if verb == "leave" {
        context.console.leave(&visitor.0);
        return closed();
    }
    tracing::info!(verb, "a button of the console was pressed");
    match carried_out(&context, &verb, account, what).await {
        Ok(said) => {
            context.console.say(&visitor.0, said);
            match HeaderValue::from_str(&back) {
                Ok(back) => (StatusCode::SEE_OTHER, [(LOCATION, back)]).into_response(),
                Err(_) => (StatusCode::SEE_OTHER, [(LOCATION, "/")]).into_response(),
            }
        }
        Err(error) => shown(&frame(), Err(error)),
    }
}

async fn carried_out(
    context: &Context,
    verb: &str,
    account: String,
    what: String,
) -> Result<String, OpError> {
    let said = |done: Done| done.done;
    let id = MessageId::new(&what);
    match verb {
        "pause" => run(context, AccountPause { account }).await.map(said),
        "resume" => run(context, AccountResume { account }).await.map(said),
        "retry" => run(context, QueueRetry { id }).await.map(said),
        "drop" => run(context, QueueDrop { id }).await.map(said),
        "release" => run(context, QueueRelease { what }).await.map(said),
        "release-burst" => run(context, QueueReleaseBurst { account }).await.map(said),
        "drop-burst" => run(context, QueueDropBurst { account }).await.map(said),
        "link" => {
            let name = run(context, AccountShow { account: account.clone() }).await?.account.label;
            let (trigger, brand) = (None, LinkBrand::default());
            let create =
                LinkCreate { name, trigger, account: Some(account), expires_seconds: LINK_LIVES, brand };
            let link = run(context, create).await?;
            Ok(format!(
                "Send this link to the contractor. It works for a week, once, and is not shown again:\n{}",
                link.url
            ))
        }
        other => Err(OpError::Refused(format!("there is no button `{other}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_ours() {
        for (host, ours) in [
            ("127.0.0.1:8790", true),
            ("localhost:9000", true),
            ("localhost", true),
            ("[::1]:8790", true),
            ("[::1]", true),
            ("console.example.com:8790", false),
            ("127.0.0.1.example.com", false),
            ("192.168.1.4:8790", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
            assert_eq!(is_ours(&headers), ours, "{host}");
        }
    }
}
