//! OAuth as Jobber does it (`api-behaviour.md` §2): codes, access tokens as JWTs, rotating refresh tokens.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::Sha256;

use super::app::{CLIENT_ID, CLIENT_SECRET};
use super::hooks;
use super::world::{Access, Grant, Kind, Refresh, TokenState, World, encode_id};

/// An answer of the token endpoint.
pub(super) enum TokenAnswer {
    Pair(Value),
    /// An HTTP status, and `text/plain`.
    Refused(StatusCode, &'static str),
    /// An error of RFC 6749.
    Error(u16, &'static str),
}

#[derive(Debug, serde::Deserialize)]
pub(super) struct TokenForm {
    grant_type: String,
    client_id: Option<String>,
    client_secret: Option<String>,
    code: Option<String>,
    refresh_token: Option<String>,
}

impl TokenForm {
    /// The account of the token or code, if known.
    pub(super) fn account(&self, world: &World) -> Option<u64> {
        let grant = match (&self.code, &self.refresh_token) {
            (Some(code), _) => world.codes.get(code)?,
            (None, Some(refresh)) => &world.refresh.get(refresh)?.grant,
            (None, None) => return None,
        };
        Some(grant.account)
    }
}

pub(super) fn token(world: &mut World, form: &TokenForm) -> TokenAnswer {
    if form.client_id.as_deref() != Some(CLIENT_ID) || form.client_secret.as_deref() != Some(CLIENT_SECRET) {
        let words = "The provided client id and secret do not match an existing application";
        return TokenAnswer::Refused(StatusCode::UNAUTHORIZED, words);
    }
    match form.grant_type.as_str() {
        "authorization_code" => {
            let Some(grant) = form.code.as_ref().and_then(|code| world.codes.remove(code)) else {
                let words = "The provided authorization code was not valid.";
                return TokenAnswer::Refused(StatusCode::BAD_REQUEST, words);
            };
            if let Some(account) = world.accounts.get_mut(&grant.account) {
                account.stats.exchanges += 1;
            }
            let access = new_access(world, &grant);
            let refresh = new_refresh(world, &grant);
            hooks::emit(world, grant.account, "APP_CONNECT", &encode_id("Account", grant.account));
            // Jobber's answer has only these two: no token_type, no expires_in.
            TokenAnswer::Pair(json!({"access_token": access, "refresh_token": refresh}))
        }
        "refresh_token" => refresh(world, form.refresh_token.as_deref().unwrap_or_default()),
        _ => TokenAnswer::Error(400, "unsupported_grant_type"),
    }
}

fn refresh(world: &mut World, token: &str) -> TokenAnswer {
    const REFUSED: TokenAnswer =
        TokenAnswer::Refused(StatusCode::UNAUTHORIZED, "The provided refresh token is not valid");

    let Some(known) = world.refresh.get(token).cloned() else { return REFUSED };
    let grant = known.grant;
    let Some(account) = world.accounts.get_mut(&grant.account) else { return REFUSED };
    if known.state == TokenState::Spent {
        account.stats.spent_refresh_uses += 1;
    }
    if known.state != TokenState::Valid || account.closed {
        return REFUSED;
    }
    account.stats.refreshes += 1;
    let rotation = account.switches.rotation;
    let expires_at = world.now() + SignedDuration::from_secs(ttl(world, grant.account));
    let access = new_access(world, &grant);
    let expires_at = expires_at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    if !rotation {
        return TokenAnswer::Pair(json!({
            "access_token": access, "refresh_token": token, "expires_at": expires_at,
            "warning": "Refresh token rotation is off for this app",
        }));
    }
    if let Some(spent) = world.refresh.get_mut(token) {
        spent.state = TokenState::Spent;
    }
    let refresh = new_refresh(world, &grant);
    TokenAnswer::Pair(json!({"access_token": access, "refresh_token": refresh, "expires_at": expires_at}))
}

fn ttl(world: &World, account: u64) -> i64 {
    world.accounts.get(&account).map_or(3600, |account| account.switches.token_ttl_seconds)
}

fn new_access(world: &mut World, grant: &Grant) -> String {
    let expires_at: Timestamp = world.now() + SignedDuration::from_secs(ttl(world, grant.account));
    let claims = json!({
        "sub": grant.user, "iss": "https://api.getjobber.com", "client_id": CLIENT_ID,
        "scope": world.accounts.get(&grant.account).map(|account| account.switches.scopes.join(" ")), "app_id": "sandbox",
        "user_id": grant.user, "account_id": grant.account, "exp": expires_at.as_second(), "jti": random(),
    });
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut token = signed.clone();
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(b"a key that only the sandbox has") {
        mac.update(signed.as_bytes());
        token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
    }
    let access = Access { grant: grant.clone(), expires_at, state: TokenState::Valid };
    world.access.insert(token.clone(), access);
    token
}

fn new_refresh(world: &mut World, grant: &Grant) -> String {
    let token = random();
    world.refresh.insert(token.clone(), Refresh { grant: grant.clone(), state: TokenState::Valid });
    token
}

/// A code for the account's first user.
pub(super) fn new_code(world: &mut World, account: u64) -> Result<String, String> {
    let user = world
        .accounts
        .get(&account)
        .and_then(|account| account.data.table(Kind::User).map(|(number, _)| number).next())
        .ok_or("no such account")?;
    let code = random();
    world.codes.insert(code.clone(), Grant { account, user });
    Ok(code)
}

/// Ends all tokens of an account.
pub(super) fn end_grants(world: &mut World, account: u64, state: TokenState) {
    for access in world.access.values_mut().filter(|access| access.grant.account == account) {
        access.state = state;
    }
    for refresh in world.refresh.values_mut().filter(|refresh| refresh.grant.account == account) {
        if refresh.state == TokenState::Valid {
            refresh.state = state;
        }
    }
    if state == TokenState::Disconnected {
        hooks::emit(world, account, "APP_DISCONNECT", &encode_id("Account", account));
    }
}

fn random() -> String {
    let mut bytes = [0; 24];
    // OAuth needs randomness. Without it repeated tokens would be noticed at once.
    let _filled = getrandom::fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}
