//! The public listener: connect pages, Jobber's callback, health.
//!
//! Pages are plain HTML that works without JavaScript and on a phone. Their policy is strict: no scripts, no
//! frames, no referrer, no caching. A browser gets a random number as a cookie, which binds links and states to
//! it; without it nothing is connected. A second cookie has the link, so that pages about failures lead back to it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Form, Path, Query, Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use jiff::{SignedDuration, Timestamp};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::hardening::{cookie_in, hardened};
use super::limits::{Caller, Limits, Rates, serve};
use super::pages::{self, Connecting, Notice, Style, Voice, words_for};
use super::webhooks;
use crate::accounts::onboarding::{ConnectError, random};
use crate::accounts::tokens::TokenError;
use crate::clock::plus;
use crate::config::{EVENTS_PATH, Logo};
use crate::context::Context;
use crate::digest;
use crate::domain::model::{Link, Trigger};
use crate::domain::webhook_event::Topic;
use crate::store::LinkRefusal;

/// The cookie over http on this machine.
const BROWSER: &str = "jobber_reviewd_browser";

/// The cookie over https. Its prefix binds it to this host.
const BROWSER_ON_HTTPS: &str = "__Host-jobber_reviewd_browser";

const CONNECT: &str = "/connect/";

/// The link that was opened last, so that a page about a failure leads back to it.
const LINK: &str = "jobber_reviewd_link";
const LINK_ON_HTTPS: &str = "__Host-jobber_reviewd_link";

/// How long a browser keeps the cookies, in seconds: until the link expires, plus an hour for Jobber's consent
/// page.
fn cookie_lives(link: &Link, now: Timestamp) -> i64 {
    link.expires_at.duration_since(now).as_secs().max(0) + 60 * 60
}

/// The largest form has two fields.
const LARGEST_BODY: usize = 16 * 1024;

/// The store is probed again after this time.
const PROBE_HOLDS: SignedDuration = SignedDuration::from_secs(2);

struct Site {
    context: Arc<Context>,
    policy: HeaderValue,
    style: Style,
    logo: Option<Logo>,
    secure: bool,
    rates: Rates,
    probed: Mutex<Option<Timestamp>>,
}

/// A bound listener that is not served yet.
#[derive(Debug)]
pub struct Http {
    listener: Arc<TcpListener>,
    router: Router,
    limits: Limits,
}

impl Http {
    /// Serves the pages on `listener`.
    pub fn new(listener: impl Into<Arc<TcpListener>>, context: Arc<Context>) -> Self {
        let limits = Limits::default();
        Self { listener: listener.into(), router: router(context, limits), limits }
    }

    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// The bound address.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop`, then ends running requests.
    pub async fn run(self, stop: CancellationToken) {
        serve(self.listener, self.router, self.limits, stop).await;
    }
}

fn router(context: Arc<Context>, limits: Limits) -> Router {
    let config = &context.config;
    let style = Style::new(config.brand.accent);
    let policy = policy(&config.jobber.api_base.0, &style);
    // The settings were checked, so it is a file that has gone since.
    let logo = config.brand.picture().unwrap_or_else(|error| {
        tracing::warn!(%error, "the pages have no picture");
        None
    });
    let secure = config.http.public_url.0.scheme() == "https";
    let site = Arc::new(Site {
        context: Arc::clone(&context),
        policy,
        style,
        logo,
        secure,
        rates: Rates::new(limits),
        probed: Mutex::default(),
    });
    let events = Router::new()
        .route(&format!("/{EVENTS_PATH}"), axum::routing::post(webhooks::event))
        .layer(DefaultBodyLimit::max(webhooks::LARGEST))
        .with_state(context);
    Router::new()
        .route("/connect/{token}", get(connect_page).post(connect_button))
        .route("/oauth/callback", get(callback))
        .route("/connected", get(connected))
        .route("/", get(front))
        .route("/logo", get(logo_file))
        .route("/healthz", get(health))
        .route("/robots.txt", get(async || "User-agent: *\nDisallow: /\n"))
        .route("/favicon.ico", get(async || StatusCode::NO_CONTENT))
        .fallback(async || notice(Notice::NO_SUCH_PAGE))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(&site), harden))
        .with_state(site)
        // Jobber sends bursts from few addresses. Its signature is checked instead of the rate.
        .merge(events)
}

/// The content policy. The redirects of a form count as its target: the button leads to Jobber, and Jobber's
/// sign-in is on a sibling of the API's host.
fn policy(api_base: &Url, style: &Style) -> HeaderValue {
    let origin = api_base.origin().ascii_serialization();
    let siblings = match api_base.domain().and_then(|host| host.split_once('.')) {
        Some((_, parent)) if parent.contains('.') => format!(" https://*.{parent}"),
        _ => String::new(),
    };
    let text = format!(
        "default-src 'none'; img-src 'self'; style-src '{}'; form-action 'self' {origin}{siblings}; frame-ancestors 'none'; base-uri 'none'",
        style.hash()
    );
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

async fn harden(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let link = match request.uri().path() {
        // The page is about this link, and not about one that was opened before.
        path if path.starts_with(CONNECT) => path.strip_prefix(CONNECT).map(SecretString::from),
        "/oauth/callback" => cookie_in(request.headers(), site.link_cookie()),
        _ => None,
    };
    let asked = request.headers().clone();
    let is_allowed = request.extensions().get::<Caller>().is_none_or(|caller| site.rates.allow(*caller));
    let mut response = if is_allowed { next.run(request).await } else { notice(Notice::TOO_MANY) };
    if let Some(notice) = response.extensions_mut().remove::<Notice>() {
        let known = match &link {
            Some(token) => site.context.onboarding.link(token).await.ok().flatten(),
            None => None,
        };
        let voice = site.voice(&asked);
        let voice = known.as_ref().map_or(voice, |known| voice.for_link(known));
        let page = pages::notice(&notice, link.as_ref().map(ExposeSecret::expose_secret), voice);
        *response.body_mut() = page.into();
    }
    hardened(&mut response, site.policy.clone());
    response
}

async fn connect_page(
    State(site): State<Arc<Site>>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    let token = SecretString::from(token);
    let browser = site.browser_of(&headers);
    let link = match site.context.onboarding.look_up(&token, browser.as_ref()).await {
        Ok(Ok(link)) => link,
        Ok(Err(refusal)) => return notice(Notice::of(&refusal)),
        Err(error) => return broken(&error),
    };
    let browser = match browser.map_or_else(random, Ok) {
        Ok(browser) => browser,
        Err(error) => return broken(&error),
    };
    let account = match &link.account {
        Some(id) => site.context.store.account(id).await,
        None => Ok(None),
    };
    let account = match account {
        Ok(account) => account,
        Err(error) => return broken(&error),
    };
    let own = account.as_ref().and_then(|account| site.context.settings.review(&account.overrides).ok());
    let review = own.unwrap_or_else(|| site.context.settings.defaults());
    let page = pages::connect(&Connecting {
        voice: site.voice(&headers).for_link(&link),
        link: &link,
        account: account.as_ref(),
        review: &review,
        disclosure: &site.context.settings.disclosure(),
        csrf: &csrf(&browser, &token),
        action: token.expose_secret(),
    });
    let mut response = Html(page).into_response();
    let lives = cookie_lives(&link, site.context.clock.now());
    for (name, value) in [(site.browser_cookie(), &browser), (site.link_cookie(), &token)] {
        if let Ok(cookie) = HeaderValue::from_str(&site.cookie(name, value, lives)) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }
    response
}

#[derive(Debug, Deserialize)]
struct ConnectForm {
    trigger: String,
    csrf: String,
}

async fn connect_button(
    State(site): State<Arc<Site>>,
    Path(token): Path<String>,
    headers: HeaderMap,
    form: Result<Form<ConnectForm>, FormRejection>,
) -> Response {
    let token = SecretString::from(token);
    let Some(browser) = site.browser_of(&headers) else { return notice(Notice::NO_COOKIE) };
    let Ok(Form(form)) = form else { return notice(Notice::BAD_FORM) };
    if !bool::from(csrf(&browser, &token).as_bytes().ct_eq(form.csrf.as_bytes())) {
        return notice(Notice::BAD_FORM);
    }
    let Ok(trigger) = form.trigger.parse::<Trigger>() else { return notice(Notice::BAD_FORM) };
    match site.context.onboarding.begin(&token, &browser, trigger).await {
        Ok(url) => (StatusCode::SEE_OTHER, [(LOCATION, url.to_string())]).into_response(),
        Err(error) => failed(&error),
    }
}

#[derive(Debug, Default, Deserialize)]
struct CallbackQuery {
    code: Option<String>,
    state: Option<String>,
}

/// Jobber sends the browser back: with code and state, without anything if access was denied, or with only a
/// code if the contractor started in Jobber's marketplace (`api-behaviour.md` §2).
async fn callback(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    query: Result<Query<CallbackQuery>, QueryRejection>,
) -> Response {
    let query = query.map(|Query(query)| query).unwrap_or_default();
    let (code, state) = match (query.code, query.state) {
        (Some(code), Some(state)) => (SecretString::from(code), SecretString::from(state)),
        (Some(_), None) => return notice(Notice::MARKETPLACE),
        (None, _) => return notice(Notice::DENIED),
    };
    let Some(browser) = site.browser_of(&headers) else { return notice(Notice::NO_COOKIE) };
    // In its own task, so that a browser that disconnects does not interrupt the exchange with Jobber.
    let context = Arc::clone(&site.context);
    let finish = tokio::spawn(async move { context.onboarding.finish(&state, &code, &browser).await });
    let Ok(finished) = finish.await else { return notice(Notice::BROKEN) };
    match finished {
        Ok(account) => {
            if let Err(error) = site.context.note_connection(&account.id, Topic::AppConnect).await {
                tracing::error!(%error, "a new connection could not be told");
            }
            site.context.bells.sweep.notify_one();
            // A page that can be loaded again.
            (StatusCode::SEE_OTHER, [(LOCATION, "/connected")]).into_response()
        }
        Err(error) => failed(&error),
    }
}

/// What this browser connected last.
async fn connected(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let Some(browser) = site.browser_of(&headers) else { return notice(Notice::NOTHING_CONNECTED) };
    match site.context.onboarding.connected_by(&browser).await {
        Ok(Some((account, link))) if account.connection.is_connected() => {
            let review = site.context.settings.review(&account.overrides);
            let review = review.unwrap_or_else(|_| site.context.settings.defaults());
            Html(pages::connected(&account, &link, &review, site.voice(&headers).for_link(&link)))
                .into_response()
        }
        Ok(_) => notice(Notice::NOTHING_CONNECTED),
        Err(error) => broken(&error),
    }
}

async fn front(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    Html(pages::front(site.voice(&headers))).into_response()
}

async fn logo_file(State(site): State<Arc<Site>>) -> Response {
    match &site.logo {
        Some(logo) => ([(CONTENT_TYPE, logo.media_type)], logo.bytes.clone()).into_response(),
        None => notice(Notice::NO_SUCH_PAGE),
    }
}

/// `ok` if the store writes, flushes and reads back.
async fn health(State(site): State<Arc<Site>>) -> Response {
    if site.context.sweeps.is_stalled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "no account is read although sweeps are due\n")
            .into_response();
    }
    let now = site.context.clock.now();
    let probed = *site.probed.lock().unwrap_or_else(PoisonError::into_inner);
    if probed.is_some_and(|at| at <= now && plus(at, PROBE_HOLDS) > now) {
        return (StatusCode::OK, "ok\n").into_response();
    }
    match site.context.store.probe(now).await {
        Ok(()) => {
            *site.probed.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
            (StatusCode::OK, "ok\n").into_response()
        }
        Err(error) => {
            tracing::error!(%error, "the store does not answer its probe");
            (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n").into_response()
        }
    }
}

/// The page is written when it is known which link the browser has.
fn notice(notice: Notice) -> Response {
    let mut response = (notice.status, Html("")).into_response();
    response.extensions_mut().insert(notice);
    response
}

fn broken(error: &impl std::fmt::Display) -> Response {
    tracing::error!(%error, "a page could not be made");
    notice(Notice::BROKEN)
}

fn failed(error: &ConnectError) -> Response {
    match error {
        ConnectError::Refused(refusal) => {
            if let LinkRefusal::OtherAccount { .. } = refusal {
                tracing::warn!(
                    "a link was used with another account than the one it is for; nothing was stored"
                );
            }
            notice(Notice::of(refusal))
        }
        ConnectError::Token(TokenError::CodeRefused) => notice(Notice::CODE_REFUSED),
        ConnectError::Token(error) => {
            tracing::warn!(%error, "Jobber gave no tokens after a callback");
            notice(Notice::NO_TOKENS)
        }
        ConnectError::Api(error) => {
            tracing::warn!(%error, "Jobber did not say which account the new tokens belong to");
            notice(Notice::NO_TOKENS)
        }
        ConnectError::Random(error) => broken(error),
        ConnectError::Store(error) => broken(error),
    }
}

impl Site {
    /// Who the pages speak for, in the language of a browser.
    fn voice(&self, headers: &HeaderMap) -> Voice<'_> {
        let config = &self.context.config;
        let host = config.http.public_url.0.host_str().unwrap_or("this site");
        let words = words_for(headers, &config.brand.languages);
        let voice = Voice::new(&config.brand, host, &self.style, words);
        Voice { has_logo: self.logo.is_some(), ..voice }
    }

    fn browser_cookie(&self) -> &'static str {
        if self.secure { BROWSER_ON_HTTPS } else { BROWSER }
    }

    fn link_cookie(&self) -> &'static str {
        if self.secure { LINK_ON_HTTPS } else { LINK }
    }

    fn cookie(&self, name: &str, value: &SecretString, lives: i64) -> String {
        let value = value.expose_secret();
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={lives}{secure}")
    }

    fn browser_of(&self, headers: &HeaderMap) -> Option<SecretString> {
        cookie_in(headers, self.browser_cookie())
    }
}

/// A value in the form that proves that this browser got it from us.
fn csrf(browser: &SecretString, token: &SecretString) -> String {
    digest::of(&["csrf", browser.expose_secret(), token.expose_secret()])
}

#[cfg(feature = "fuzzing")]
pub(crate) fn fuzzed(text: &str) {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(axum::http::header::COOKIE, value.clone());
        headers.insert("x-forwarded-for", value);
    }
    cookie_in(&headers, BROWSER);
    Caller::of(SocketAddr::from(([127, 0, 0, 1], 1)), &headers);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_lets_the_button_reach_jobber_and_nothing_else() {
        let style = Style::new(None);
        let policy = policy(&Url::parse("https://api.getjobber.com/api").unwrap(), &style);
        let policy = policy.to_str().unwrap();
        assert!(
            policy.contains("form-action 'self' https://api.getjobber.com https://*.getjobber.com;"),
            "{policy}"
        );
        assert!(policy.starts_with("default-src 'none'; img-src 'self'; style-src 'sha256-"));
        let policy = super::policy(&Url::parse("http://127.0.0.1:9000/api").unwrap(), &style);
        assert!(policy.to_str().unwrap().contains("form-action 'self' http://127.0.0.1:9000;"));
    }
}
