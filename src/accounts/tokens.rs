//! OAuth with Jobber, and one source of access tokens for each account.
//!
//! # Rotation
//!
//! Jobber's refresh tokens are spent by use (`api-behaviour.md` §2): a refresh gives a new pair, and the old
//! refresh token is dead from that moment. Three rules follow.
//!
//! - **Single flight**: an account's refreshes stand in a line. Whoever gets to the front reads the store
//!   again first and leaves at once if somebody else has refreshed meanwhile.
//! - **Store before use**: the new pair is written, flushed and synced before anybody sees the new access token.
//! - **A refusal is believed only when it is one**: a grant counts as dead when Jobber says that the refresh
//!   token is not valid, or answers `invalid_grant`. An outage, a proxy's page, a wrong client secret or an
//!   answer that fits nothing leave the pair where it is.
//!
//! A refresh runs in a task of its own: whoever waits for it may go away (a daemon that stops, a command line that is
//! cut off), and the new pair is stored all the same. Before Jobber is asked, the intent is committed: a store that
//! cannot take a write shows while the old pair still stands, and a refresh that was never answered is remembered.
//!
//! What is written about a pair (a new one in its place, or that Jobber refused it) counts only while that pair is the
//! stored one: the contractor may have authorised anew meanwhile.
//!
//! # Crash points
//!
//! - *Before the intent was flushed*: nothing was sent.
//! - *Between intent and request*: the old pair stands and works.
//! - *After Jobber rotated, before the new pair was flushed*: the one window that cannot be closed. The old
//!   refresh token is spent, the new one is lost. The next refresh is refused, the intent tells why, and the account
//!   needs authorization, with one link; markers and candidates are untouched.
//! - *After the flush*: the new pair stands and works.
//!
//! The library's own error for an answer that it cannot parse prints the answer, tokens included. So answers
//! are sorted before the library sees them, and it is shown only what it understands.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use oauth2::basic::{
    BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse,
    BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AccessToken, AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken,
    EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, RedirectUrl, RefreshToken, RequestTokenError,
    Scope, StandardRevocableToken, TokenResponse, TokenUrl,
};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;

use crate::clock::{SharedClock, minus, plus};
use crate::crash_point::CrashPoint;
use crate::domain::model::{AccountId, LostReason};
use crate::jobber::below;
use crate::outbound::error::describe;
use crate::store::{Held, PairId, Store, StoreError, Tokens};
use crate::telemetry;

/// From the first byte of the connection to the last of the answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A token answer longer than this is none.
const LONGEST_ANSWER: usize = 64 * 1024;

/// How long an access token lives when nothing says so (`api-behaviour.md` §2).
const ASSUMED_LIFE: SignedDuration = SignedDuration::from_mins(60);

/// A token is refreshed this long before it runs out, or a quarter of its life if that is less.
const EARLY: SignedDuration = SignedDuration::from_mins(5);

/// Why there is no access token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Only the contractor can mend it.
    #[error("the connection needs authorization: {0}")]
    NeedsAuthorization(LostReason),
    /// Jobber does not accept the app itself: client id or secret.
    #[error("Jobber refused the app ({detail}): check jobber.client_id and the client secret")]
    AppRefused {
        /// Jobber's error code.
        detail: String,
    },
    /// Jobber did not answer, or not in a way that means anything. Heals itself.
    #[error("Jobber gave no token ({detail})")]
    Unavailable {
        /// What happened; never a body.
        detail: String,
        /// Whether there was an answer: then nothing was rotated.
        answered: bool,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The settings cannot be made into an OAuth client.
#[derive(Debug, thiserror::Error)]
#[error("{0} is no usable address")]
pub struct BadEndpoint(&'static str);

type JobberOAuth = oauth2::Client<
    BasicErrorResponse,
    JobberTokens,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// Jobber's token answer: no `token_type`, no `expires_in` (`api-behaviour.md` §2).
#[derive(Debug, Serialize, Deserialize)]
struct JobberTokens {
    access_token: AccessToken,
    #[serde(skip, default = "bearer")]
    token_type: BasicTokenType,
    refresh_token: Option<RefreshToken>,
    // Nice to have: whatever stands here, a rotated pair must not be thrown away over it.
    expires_at: Option<serde_json::Value>,
    warning: Option<serde_json::Value>,
}

fn bearer() -> BasicTokenType {
    BasicTokenType::Bearer
}

impl TokenResponse for JobberTokens {
    type TokenType = BasicTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &BasicTokenType {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        None
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

/// What an answer was that is not for the library.
#[derive(Debug, thiserror::Error)]
enum Sorted {
    #[error("the refresh token is not valid")]
    GrantRefused,
    #[error("{0}")]
    Unanswered(String),
    #[error("{0}")]
    Meaningless(String),
}

/// An access token, and the pair it is of.
#[derive(Debug, Clone)]
pub struct Access {
    /// The token.
    pub token: SecretString,
    /// Names the pair, for what Jobber says about it.
    pub pair: PairId,
}

/// Where access tokens come from. All clones are the same source.
#[derive(Clone)]
pub struct TokenSource(Arc<Source>);

struct Source {
    client: JobberOAuth,
    transport: Transport,
    store: Store,
    clock: SharedClock,
    lines: Mutex<HashMap<AccountId, Arc<tokio::sync::Mutex<()>>>>,
    refreshes: TaskTracker,
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSource").finish_non_exhaustive()
    }
}

impl TokenSource {
    /// A token source for the app `client_id` at `api_base`.
    pub fn new(
        http: reqwest::Client,
        api_base: &Url,
        client_id: &str,
        client_secret: &SecretString,
        redirect_uri: String,
        store: Store,
        clock: SharedClock,
    ) -> Result<Self, BadEndpoint> {
        let authorize = AuthUrl::new(below(api_base, "oauth/authorize").into())
            .map_err(|_| BadEndpoint("jobber.api_base"))?;
        let token = TokenUrl::new(below(api_base, "oauth/token").into())
            .map_err(|_| BadEndpoint("jobber.api_base"))?;
        let redirect = RedirectUrl::new(redirect_uri).map_err(|_| BadEndpoint("http.public_url"))?;
        let client = oauth2::Client::new(ClientId::new(client_id.to_owned()))
            .set_client_secret(ClientSecret::new(client_secret.expose_secret().to_owned()))
            .set_auth_type(AuthType::RequestBody)
            .set_auth_uri(authorize)
            .set_token_uri(token)
            .set_redirect_uri(redirect);
        let (transport, lines, refreshes) = (Transport(http), Mutex::default(), TaskTracker::new());
        Ok(Self(Arc::new(Source { client, transport, store, clock, lines, refreshes })))
    }

    /// Where a browser goes to authorise us; Jobber sends `state` back.
    pub fn authorize_url(&self, state: &SecretString) -> Url {
        let state = state.expose_secret().to_owned();
        self.0.client.authorize_url(|| CsrfToken::new(state)).url().0
    }

    /// Turns the code of a callback into the first pair.
    pub async fn exchange(&self, code: &SecretString) -> Result<Tokens, TokenError> {
        let code = AuthorizationCode::new(code.expose_secret().to_owned());
        let answer = self.0.client.exchange_code(code).request_async(&self.0.transport).await;
        let answer = answer.map_err(|error| token_error(&error))?;
        let Some(refresh) = answer.refresh_token() else {
            let detail = "an answer without a refresh token".to_owned();
            return Err(TokenError::Unavailable { detail, answered: true });
        };
        let refresh = SecretString::from(refresh.secret().clone());
        Ok(self.0.pair(&answer, refresh))
    }

    /// An access token for `account`, refreshed early.
    pub async fn access_token(&self, account: &AccountId) -> Result<Access, TokenError> {
        let held = self.0.held(account).await?;
        if is_stale(&held.tokens, self.0.clock.now()) {
            self.renew(account, &held.pair).await
        } else {
            Ok(Access { token: held.tokens.access, pair: held.pair })
        }
    }

    /// An access token of another pair than `refused`, which ran out or which Jobber did not accept.
    pub async fn renew(&self, account: &AccountId, refused: &PairId) -> Result<Access, TokenError> {
        let source = Arc::clone(&self.0);
        let (account, refused) = (account.clone(), refused.clone());
        let refresh = self.0.refreshes.spawn(async move { source.refresh(&account, &refused).await });
        match refresh.await {
            Ok(outcome) => outcome,
            Err(error) => {
                let detail = format!("the refresh failed: {error}");
                Err(TokenError::Unavailable { detail, answered: false })
            }
        }
    }

    /// Brings a refresh token that nobody gave out: what Jobber says tells whether it knows the app.
    pub async fn try_app(&self) -> Result<(), TokenError> {
        let nobodys = RefreshToken::new("jobber-reviewd-doctor".to_owned());
        let answer = self.0.client.exchange_refresh_token(&nobodys).request_async(&self.0.transport).await;
        answer.map(|_| ()).map_err(|error| token_error(&error))
    }

    /// Notes that only the contractor can mend the connection that `pair` opened.
    pub async fn lose(
        &self,
        account: &AccountId,
        reason: LostReason,
        pair: Option<PairId>,
    ) -> Result<TokenError, StoreError> {
        self.0.lose(account, reason, pair).await
    }

    /// Waits until no refresh is under way. None may be begun any more.
    pub async fn settle(&self) {
        self.0.refreshes.close();
        self.0.refreshes.wait().await;
    }
}

impl Source {
    async fn lose(
        &self,
        account: &AccountId,
        reason: LostReason,
        pair: Option<PairId>,
    ) -> Result<TokenError, StoreError> {
        if self.store.lose_connection(account, reason, pair, self.clock.now()).await? {
            tracing::warn!(account.id = %account, %reason, "the connection needs authorization: make a link and send it to the contractor");
        }
        Ok(TokenError::NeedsAuthorization(reason))
    }

    async fn held(&self, account: &AccountId) -> Result<Held, TokenError> {
        match self.store.tokens(account)? {
            Some(held) => Ok(held),
            None => Err(self.lose(account, LostReason::NoToken, None).await?),
        }
    }

    /// Refreshes, unless the pair was replaced while we stood in line.
    async fn refresh(&self, account: &AccountId, refused: &PairId) -> Result<Access, TokenError> {
        let line = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(lines.entry(account.clone()).or_default())
        };
        let _front = line.lock().await;
        let Held { tokens, pair } = self.held(account).await?;
        if pair != *refused {
            return Ok(Access { token: tokens.access, pair });
        }
        let interrupted = self.store.begin_refresh(account, self.clock.now()).await?;
        CrashPoint::RefreshAnnounced.pass();
        let refresh = RefreshToken::new(tokens.refresh.expose_secret().to_owned());
        let answer = self.client.exchange_refresh_token(&refresh).request_async(&self.transport).await;
        let answer = answer.map_err(|error| token_error(&error));
        telemetry::refreshed(match &answer {
            Ok(_) => "refreshed",
            Err(TokenError::NeedsAuthorization(_)) => "refused",
            Err(TokenError::AppRefused { .. }) => "app_refused",
            Err(_) => "unanswered",
        });
        let answer = match answer {
            Ok(answer) => answer,
            Err(TokenError::NeedsAuthorization(reason)) => {
                let reason = if interrupted.is_some() { LostReason::RefreshInterrupted } else { reason };
                return Err(self.lose(account, reason, Some(pair)).await?);
            }
            Err(error) => {
                // Without an answer Jobber may have rotated: the intent stays.
                if !matches!(error, TokenError::Unavailable { answered: false, .. }) && interrupted.is_none()
                {
                    self.store.end_refresh(account).await?;
                }
                return Err(error);
            }
        };
        if answer.warning.is_some() {
            tracing::debug!(account.id = %account, "Jobber warns that refresh tokens of this app do not rotate");
        }
        let kept = tokens.refresh;
        let refresh =
            answer.refresh_token().map_or(kept, |refresh| SecretString::from(refresh.secret().clone()));
        let new = self.pair(&answer, refresh);
        CrashPoint::RefreshAnswered.pass();
        if self.store.replace_tokens(account, &pair, &new).await? {
            tracing::debug!(account.id = %account, token.expires_at = %new.expires_at, "refreshed");
        }
        CrashPoint::RefreshStored.pass();
        let Held { tokens, pair } = self.held(account).await?;
        Ok(Access { token: tokens.access, pair })
    }

    fn pair(&self, answer: &JobberTokens, refresh: SecretString) -> Tokens {
        let now = self.clock.now();
        let access = answer.access_token.secret();
        let expires_at = jwt_expiry(access)
            .or_else(|| answer.expires_at.as_ref().and_then(|at| stated_expiry(at.as_str()?)))
            .unwrap_or_else(|| plus(now, ASSUMED_LIFE));
        Tokens { access: SecretString::from(access.clone()), refresh, expires_at, obtained_at: now }
    }
}

/// Sends token requests for the library.
struct Transport(reqwest::Client);

impl<'c> AsyncHttpClient<'c> for Transport {
    type Error = Sorted;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Sorted>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

impl Transport {
    /// Sends a token request and sorts what comes back.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Sorted> {
        let unavailable = |error: reqwest::Error| Sorted::Unanswered(describe(&error).to_owned());
        let mut request = reqwest::Request::try_from(request).map_err(unavailable)?;
        *request.timeout_mut() = Some(TIMEOUT);
        let mut response = self.0.execute(request).await.map_err(unavailable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST_ANSWER {
                return Err(Sorted::Unanswered("an answer that is too long".to_owned()));
            }
        }
        match sort(status.as_u16(), &body) {
            Kind::ForTheLibrary(status) => {
                let mut response = HttpResponse::new(body);
                *response.status_mut() = status;
                Ok(response)
            }
            Kind::GrantRefused => Err(Sorted::GrantRefused),
            Kind::Meaningless => {
                let detail = format!("HTTP {} without a token", status.as_u16());
                // A success that cannot be read may have rotated.
                Err(if status.is_success() {
                    Sorted::Unanswered(detail)
                } else {
                    Sorted::Meaningless(detail)
                })
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// Tokens, or an error of RFC 6749, with the status that the library expects of it.
    ForTheLibrary(reqwest::StatusCode),
    /// The documented refusal of a refresh token.
    GrantRefused,
    /// Anything else.
    Meaningless,
}

/// Sorts an answer of the token endpoint (`api-behaviour.md` §2). Success is 2xx and a JSON object and a
/// string `access_token`.
fn sort(status: u16, body: &[u8]) -> Kind {
    #[derive(Deserialize)]
    struct Shape {
        access_token: Option<String>,
        error: Option<String>,
    }

    if status == 401
        && std::str::from_utf8(body)
            .is_ok_and(|text| text.to_lowercase().contains("refresh token is not valid"))
    {
        return Kind::GrantRefused;
    }
    let shape = serde_json::from_slice::<Shape>(body).ok();
    match shape {
        Some(Shape { access_token: Some(_), .. }) if (200..300).contains(&status) => {
            Kind::ForTheLibrary(reqwest::StatusCode::OK)
        }
        Some(Shape { error: Some(_), .. }) if (400..500).contains(&status) && status != 429 => {
            Kind::ForTheLibrary(reqwest::StatusCode::BAD_REQUEST)
        }
        _ => Kind::Meaningless,
    }
}

fn token_error(error: &RequestTokenError<Sorted, BasicErrorResponse>) -> TokenError {
    match error {
        RequestTokenError::Request(Sorted::GrantRefused) => {
            TokenError::NeedsAuthorization(LostReason::RefreshTokenRefused)
        }
        RequestTokenError::Request(Sorted::Unanswered(detail)) => {
            TokenError::Unavailable { detail: detail.clone(), answered: false }
        }
        RequestTokenError::Request(Sorted::Meaningless(detail)) => {
            TokenError::Unavailable { detail: detail.clone(), answered: true }
        }
        RequestTokenError::ServerResponse(answer) => match answer.error() {
            BasicErrorResponseType::InvalidGrant => {
                TokenError::NeedsAuthorization(LostReason::RefreshTokenRefused)
            }
            BasicErrorResponseType::InvalidClient | BasicErrorResponseType::UnauthorizedClient => {
                TokenError::AppRefused { detail: answer.error().to_string() }
            }
            other => TokenError::Unavailable { detail: other.to_string(), answered: true },
        },
        // The parse error holds the body: only its kind is told.
        RequestTokenError::Parse(..) => {
            TokenError::Unavailable { detail: "an answer of another shape".to_owned(), answered: false }
        }
        RequestTokenError::Other(_) => {
            TokenError::Unavailable { detail: "an empty answer".to_owned(), answered: false }
        }
    }
}

/// Whether it is time to refresh. A pair that was old when it came says that one of the clocks is wrong:
/// it is used until Jobber refuses it.
fn is_stale(tokens: &Tokens, now: Timestamp) -> bool {
    let life = tokens.expires_at.duration_since(tokens.obtained_at);
    life.is_positive() && now >= minus(tokens.expires_at, EARLY.min(life / 4))
}

/// The `exp` of a JWT. The signature is Jobber's business: nothing is granted on the strength of it.
fn jwt_expiry(token: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }

    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    Timestamp::from_second(claims.exp).ok()
}

/// Jobber's `2024-04-09 21:04:31 UTC`.
fn stated_expiry(text: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime("%Y-%m-%d %H:%M:%S UTC", text).ok()?;
    Some(civil.to_zoned_datetime(TimeZone::UTC).ok()?.timestamp())
}

/// Reads `body` as an answer of the token endpoint; whether it holds tokens.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzzed(status: u16, body: &[u8]) -> bool {
    let kind = sort(status, body);
    let Ok(tokens) = serde_json::from_slice::<JobberTokens>(body) else { return false };
    jwt_expiry(tokens.access_token.secret());
    tokens.expires_at.as_ref().and_then(|at| stated_expiry(at.as_str()?));
    matches!(kind, Kind::ForTheLibrary(shown) if shown.is_success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn the_expiry_is_the_jwts() {
        assert_eq!(jwt_expiry(&jwt(r#"{"sub":1,"exp":1655140617}"#)), Some(at(1_655_140_617)));
        for token in ["", "a.b", "a.!!.c", &jwt("{}"), &jwt(r#"{"exp":"soon"}"#), &jwt("[]")] {
            assert_eq!(jwt_expiry(token), None, "{token}");
        }
    }

    #[test]
    fn the_stated_expiry_is_jobbers_own_format() {
        assert_eq!(stated_expiry("2024-04-09 21:04:31 UTC"), Some("2024-04-09T21:04:31Z".parse().unwrap()));
        assert_eq!(stated_expiry("2024-04-09T21:04:31Z"), None);
    }

    #[test]
    fn a_pair_is_refreshed_early_but_not_all_the_time() {
        let pair = |obtained: i64, expires: i64| Tokens {
            access: "a".into(),
            refresh: "r".into(),
            expires_at: at(expires),
            obtained_at: at(obtained),
        };
        let hour = pair(0, 3600);
        assert!(!is_stale(&hour, at(3299)));
        assert!(is_stale(&hour, at(3300)));
        let minute = pair(0, 60);
        assert!(!is_stale(&minute, at(44)));
        assert!(is_stale(&minute, at(45)));
        let born_old = pair(7200, 3600);
        assert!(!is_stale(&born_old, at(7200)), "our clock is ahead: wait for a 401");
    }

    #[test]
    fn only_a_refusal_is_a_refusal() {
        let refusal: &[u8] = b"The provided refresh token is not valid";
        assert_eq!(sort(401, refusal), Kind::GrantRefused);
        let for_the_library =
            |status, body: &str| matches!(sort(status, body.as_bytes()), Kind::ForTheLibrary(_));
        assert!(for_the_library(200, r#"{"access_token":"a","refresh_token":"r"}"#));
        assert!(for_the_library(201, r#"{"access_token":"a"}"#));
        assert!(for_the_library(400, r#"{"error":"invalid_grant"}"#));
        assert!(for_the_library(401, r#"{"error":"invalid_client"}"#));
        for (status, body) in [
            (200, ""),
            (200, "<html>waiting room</html>"),
            (200, "{}"),
            (200, r#"{"access_token":7}"#),
            (200, "[]"),
            (401, "Unauthorized"),
            (401, r#"{"message":"no"}"#),
            (429, r#"{"error":"slow down"}"#),
            (500, r#"{"error":"invalid_grant"}"#),
            (503, "The provided refresh token is not valid"),
            (302, ""),
        ] {
            assert_eq!(sort(status, body.as_bytes()), Kind::Meaningless, "{status} {body}");
        }
    }
}
