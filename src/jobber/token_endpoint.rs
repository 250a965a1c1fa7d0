//! Jobber's OAuth endpoints: the consent page's address, and the answers of the token endpoint
//! (`api-behaviour.md` §2).
//!
//! If the library cannot parse an answer, its error prints the answer, tokens included. So answers are
//! classified before the library sees them, and it gets only what it understands.

use std::pin::Pin;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
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

use super::below;
use crate::outbound::error::describe;

/// Limit for the whole request, from connecting to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(30);

const LONGEST_ANSWER: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("Jobber says that the refresh token is not valid")]
    GrantRefused,
    /// The authorization code is refused: it was used, or is too old.
    #[error("Jobber says that the authorization code is not valid")]
    CodeRefused,
    #[error("Jobber refused the app ({detail}): check jobber.client_id and the client secret")]
    AppRefused { detail: String },
    /// Jobber did not answer, or not in a usable way. It heals itself.
    #[error("Jobber gave no token ({detail})")]
    Unavailable {
        detail: String,
        /// Whether there was an answer. Then nothing was rotated.
        answered: bool,
    },
}

/// The app as registered in Jobber's developer centre.
#[derive(Debug, Clone)]
pub struct App<'a> {
    pub client_id: &'a str,
    pub client_secret: &'a SecretString,
    pub redirect_uri: String,
}

#[derive(Debug)]
pub struct Granted {
    pub access: SecretString,
    /// The next refresh token. `None` if rotation is off and the old one stays valid.
    pub refresh: Option<SecretString>,
    pub expires_at: Option<Timestamp>,
    /// Whether Jobber warns that this app's refresh tokens do not rotate.
    pub is_warned: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("{0} cannot be used: write a URL such as https://example.com")]
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

/// Jobber's token answer. It has no `token_type` and no `expires_in` (`api-behaviour.md` §2).
#[derive(Debug, Serialize, Deserialize)]
struct JobberTokens {
    access_token: AccessToken,
    #[serde(skip, default = "bearer")]
    token_type: BasicTokenType,
    refresh_token: Option<RefreshToken>,
    // Optional. A malformed value must not lose a rotated pair.
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

#[derive(Debug, thiserror::Error)]
enum Sorted {
    #[error("the refresh token is not valid")]
    GrantRefused,
    #[error("the authorization code is not valid")]
    CodeRefused,
    #[error("client id and secret do not match an app")]
    AppRefused,
    #[error("{0}")]
    Unanswered(String),
    #[error("{0}")]
    Meaningless(String),
}

pub struct TokenEndpoint {
    client: JobberOAuth,
    transport: Transport,
}

impl std::fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenEndpoint").finish_non_exhaustive()
    }
}

impl TokenEndpoint {
    pub fn new(http: reqwest::Client, api_base: &Url, app: App<'_>) -> Result<Self, BadEndpoint> {
        let authorize = AuthUrl::new(below(api_base, "oauth/authorize").into())
            .map_err(|_| BadEndpoint("jobber.api_base"))?;
        let token = TokenUrl::new(below(api_base, "oauth/token").into())
            .map_err(|_| BadEndpoint("jobber.api_base"))?;
        let redirect = RedirectUrl::new(app.redirect_uri).map_err(|_| BadEndpoint("http.public_url"))?;
        let client = oauth2::Client::new(ClientId::new(app.client_id.to_owned()))
            .set_client_secret(ClientSecret::new(app.client_secret.expose_secret().to_owned()))
            .set_auth_type(AuthType::RequestBody)
            .set_auth_uri(authorize)
            .set_token_uri(token)
            .set_redirect_uri(redirect);
        Ok(Self { client, transport: Transport(http) })
    }

    pub fn authorize_url(&self, state: &SecretString) -> Url {
        let state = state.expose_secret().to_owned();
        self.client.authorize_url(|| CsrfToken::new(state)).url().0
    }

    pub async fn exchange(&self, code: &SecretString) -> Result<Granted, EndpointError> {
        let code = AuthorizationCode::new(code.expose_secret().to_owned());
        let answer = self.client.exchange_code(code).request_async(&self.transport).await;
        answer.map(Granted::from).map_err(|error| match endpoint_error(&error) {
            // `invalid_grant`: here the grant is the code.
            EndpointError::GrantRefused => EndpointError::CodeRefused,
            other => other,
        })
    }

    /// Exchanges a refresh token for new tokens. With rotation this spends the refresh token.
    pub async fn refresh(&self, refresh: &SecretString) -> Result<Granted, EndpointError> {
        let refresh = RefreshToken::new(refresh.expose_secret().to_owned());
        let answer = self.client.exchange_refresh_token(&refresh).request_async(&self.transport).await;
        answer.map(Granted::from).map_err(|error| endpoint_error(&error))
    }
}

impl From<JobberTokens> for Granted {
    fn from(answer: JobberTokens) -> Self {
        let access = answer.access_token.secret();
        let stated = || answer.expires_at.as_ref().and_then(|at| stated_expiry(at.as_str()?));
        Self {
            expires_at: jwt_expiry(access).or_else(stated),
            refresh: answer.refresh_token.as_ref().map(|refresh| refresh.secret().clone().into()),
            is_warned: answer.warning.is_some(),
            access: access.clone().into(),
        }
    }
}

struct Transport(reqwest::Client);

impl<'c> AsyncHttpClient<'c> for Transport {
    type Error = Sorted;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Sorted>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

impl Transport {
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
            Kind::CodeRefused => Err(Sorted::CodeRefused),
            Kind::AppRefused => Err(Sorted::AppRefused),
            Kind::Meaningless => {
                let detail = format!("HTTP {} without a token", status.as_u16());
                // An unreadable success may have rotated.
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
    /// Tokens or an RFC 6749 error, with the status that the library expects for it.
    ForTheLibrary(reqwest::StatusCode),
    GrantRefused,
    CodeRefused,
    /// The same status as for a refused refresh token.
    AppRefused,
    Meaningless,
}

/// Classifies an answer of the token endpoint (`api-behaviour.md` §2). Success means 2xx and a JSON object
/// with a string `access_token`.
fn sort(status: u16, body: &[u8]) -> Kind {
    #[derive(Deserialize)]
    struct Shape {
        access_token: Option<String>,
        error: Option<String>,
    }

    let words = std::str::from_utf8(body).unwrap_or_default().to_lowercase();
    match status {
        401 if words.contains("refresh token is not valid") => return Kind::GrantRefused,
        401 if words.contains("do not match an existing application") => return Kind::AppRefused,
        400 if words.contains("authorization code was not valid") => return Kind::CodeRefused,
        _ => {}
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

fn endpoint_error(error: &RequestTokenError<Sorted, BasicErrorResponse>) -> EndpointError {
    match error {
        RequestTokenError::Request(Sorted::GrantRefused) => EndpointError::GrantRefused,
        RequestTokenError::Request(Sorted::CodeRefused) => EndpointError::CodeRefused,
        RequestTokenError::Request(refused @ Sorted::AppRefused) => {
            EndpointError::AppRefused { detail: refused.to_string() }
        }
        RequestTokenError::Request(Sorted::Unanswered(detail)) => {
            EndpointError::Unavailable { detail: detail.clone(), answered: false }
        }
        RequestTokenError::Request(Sorted::Meaningless(detail)) => {
            EndpointError::Unavailable { detail: detail.clone(), answered: true }
        }
        RequestTokenError::ServerResponse(answer) => match answer.error() {
            BasicErrorResponseType::InvalidGrant => EndpointError::GrantRefused,
            BasicErrorResponseType::InvalidClient | BasicErrorResponseType::UnauthorizedClient => {
                EndpointError::AppRefused { detail: answer.error().to_string() }
            }
            other => EndpointError::Unavailable { detail: other.to_string(), answered: true },
        },
        // The parse error contains the body, so only its kind is reported.
        RequestTokenError::Parse(..) => {
            EndpointError::Unavailable { detail: "an answer of another shape".to_owned(), answered: false }
        }
        RequestTokenError::Other(_) => {
            EndpointError::Unavailable { detail: "an empty answer".to_owned(), answered: false }
        }
    }
}

/// The `exp` of a JWT. The signature is not checked, because nothing depends on it.
fn jwt_expiry(token: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }

    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    Timestamp::from_second(claims.exp).ok()
}

/// Parses Jobber's `2024-04-09 21:04:31 UTC`.
fn stated_expiry(text: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime("%Y-%m-%d %H:%M:%S UTC", text).ok()?;
    Some(civil.to_zoned_datetime(TimeZone::UTC).ok()?.timestamp())
}

/// Reads `body` as an answer of the token endpoint. Returns whether it has tokens.
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
    fn only_a_refusal_is_a_refusal() {
        let refusal: &[u8] = b"The provided refresh token is not valid";
        assert_eq!(sort(401, refusal), Kind::GrantRefused);
        let stranger: &[u8] = b"The provided client id and secret do not match an existing application";
        assert_eq!(sort(401, stranger), Kind::AppRefused, "the same status, told by its words alone");
        assert_eq!(sort(400, b"The provided authorization code was not valid."), Kind::CodeRefused);
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
