//! OAuth with Jobber: one token source for all accounts.
//!
//! # Rotation
//!
//! A refresh token of Jobber works once (`api-behaviour.md` §2): a refresh gives a new pair and ends the old
//! refresh token. Three rules follow.
//!
//! - **Single flight**: refreshes of an account run one after the other. Each reads the store again first,
//!   and ends at once if another caller has refreshed meanwhile.
//! - **Store before use**: the new pair is written, flushed and synced before its access token is used.
//! - **Only a real refusal counts**: a grant is dead only if Jobber says that the refresh token is not valid,
//!   or answers `invalid_grant`, twice, some minutes apart, and not for many accounts at once. An outage, a proxy's page, a wrong client secret or an unknown answer
//!   changes nothing.
//!
//! A refresh runs in its own task. The new pair is stored even if the caller is gone (the daemon stops, a
//! command is interrupted). The intent is committed before the request to Jobber. So a store that cannot
//! write fails while the old pair is still valid, and a refresh that was never answered is remembered.
//!
//! A change to a pair (its replacement, or its refusal by Jobber) counts only while that pair is stored,
//! because the contractor may have authorised again meanwhile.
//!
//! # Crash points
//!
//! - *Before the intent was flushed*: nothing was sent.
//! - *Between intent and request*: the old pair is unchanged and works.
//! - *After Jobber rotated, before the new pair was flushed*: the one window that cannot be closed. The old
//!   refresh token is spent and the new one is lost. The next refresh is refused, the intent explains it, and
//!   the account needs authorization with one link. Markers and candidates are unchanged.
//! - *After the flush*: the new pair is stored and works.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use reqwest::Url;
use secrecy::SecretString;
use tokio_util::task::TaskTracker;

use super::doubt::{Doubt, Doubts};
use crate::clock::{SharedClock, minus, plus};
use crate::crash_point::CrashPoint;
use crate::domain::model::{AccountId, LostReason};
use crate::jobber::token_endpoint::{EndpointError, TokenEndpoint};
use crate::store::{Held, PairId, Store, StoreError, Tokens};
use crate::telemetry;

const ONCE_MORE: &str = "Jobber refused the refresh token; it is asked once more in five minutes";

/// Assumed life of an access token if nothing states it (`api-behaviour.md` §2).
const ASSUMED_LIFE: SignedDuration = SignedDuration::from_mins(60);

/// A token is refreshed this long before it expires, or a quarter of its life if that is shorter.
const EARLY: SignedDuration = SignedDuration::from_mins(5);

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the connection needs authorization: {0}")]
    NeedsAuthorization(LostReason),
    /// Jobber refuses the authorization code: it was used, or is too old.
    #[error("Jobber refused the authorization code: open the link again")]
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
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<EndpointError> for TokenError {
    fn from(error: EndpointError) -> Self {
        match error {
            EndpointError::GrantRefused => Self::NeedsAuthorization(LostReason::RefreshTokenRefused),
            EndpointError::CodeRefused => Self::CodeRefused,
            EndpointError::AppRefused { detail } => Self::AppRefused { detail },
            EndpointError::Unavailable { detail, answered } => Self::Unavailable { detail, answered },
        }
    }
}

#[derive(Debug, Clone)]
pub struct Access {
    pub token: SecretString,
    /// Identifies the pair if Jobber refuses it.
    pub pair: PairId,
}

/// The source of access tokens. All clones are the same source.
#[derive(Clone)]
pub struct TokenSource(Arc<Source>);

struct Source {
    endpoint: TokenEndpoint,
    store: Store,
    clock: SharedClock,
    lines: Mutex<HashMap<AccountId, Arc<tokio::sync::Mutex<()>>>>,
    refreshes: TaskTracker,
    doubts: Mutex<Doubts>,
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSource").finish_non_exhaustive()
    }
}

impl TokenSource {
    pub fn new(endpoint: TokenEndpoint, store: Store, clock: SharedClock) -> Self {
        let (lines, refreshes) = (Mutex::default(), TaskTracker::new());
        Self(Arc::new(Source { endpoint, store, clock, lines, refreshes, doubts: Mutex::default() }))
    }

    /// Jobber's consent page. Jobber sends `state` back.
    pub fn authorize_url(&self, state: &SecretString) -> Url {
        self.0.endpoint.authorize_url(state)
    }

    pub async fn exchange(&self, code: &SecretString) -> Result<Tokens, TokenError> {
        let granted = self.0.endpoint.exchange(code).await?;
        let Some(refresh) = granted.refresh else {
            let detail = "an answer without a refresh token".to_owned();
            return Err(TokenError::Unavailable { detail, answered: true });
        };
        Ok(self.0.pair(granted.access, refresh, granted.expires_at))
    }

    pub async fn access_token(&self, account: &AccountId) -> Result<Access, TokenError> {
        let held = self.0.held(account).await?;
        if is_stale(&held.tokens, self.0.clock.now()) {
            self.renew(account, &held.pair).await
        } else {
            Ok(Access { token: held.tokens.access, pair: held.pair })
        }
    }

    /// An access token of a newer pair than `refused`, which expired or was refused.
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

    /// Sends an invalid refresh token: Jobber's error shows whether it accepts the app.
    pub async fn try_app(&self) -> Result<(), TokenError> {
        self.0.endpoint.refresh(&"jobber-reviewd-doctor".into()).await?;
        Ok(())
    }

    /// Stores that only the contractor can restore the connection of `pair`.
    pub async fn lose(
        &self,
        account: &AccountId,
        reason: LostReason,
        pair: Option<PairId>,
    ) -> Result<TokenError, StoreError> {
        self.0.lose(account, reason, pair).await
    }

    /// Waits until no refresh is running. No new one may begin.
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
        match self.store.tokens(account).await? {
            Some(held) => Ok(held),
            None => Err(self.lose(account, LostReason::NoToken, None).await?),
        }
    }

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
        if self.doubts().is_waiting(account, &pair, self.clock.now()) {
            return Err(TokenError::Unavailable { detail: ONCE_MORE.to_owned(), answered: true });
        }
        let interrupted = self.store.begin_refresh(account, self.clock.now()).await?;
        CrashPoint::RefreshAnnounced.pass();
        if !self.store.is_ours() {
            // Whoever took the store over may be refreshing the same pair.
            let why = "another process may have taken it over".to_owned();
            return Err(StoreError::Failed(why).into());
        }
        let answer = self.endpoint.refresh(&tokens.refresh).await.map_err(TokenError::from);
        telemetry::refreshed(match &answer {
            Ok(_) => "refreshed",
            Err(TokenError::NeedsAuthorization(_)) => "refused",
            Err(TokenError::AppRefused { .. }) => "app_refused",
            Err(_) => "unanswered",
        });
        let answer = match answer {
            Ok(answer) => answer,
            Err(TokenError::NeedsAuthorization(reason)) => {
                if interrupted.is_some() {
                    // The answer with the new token was lost: there is no doubt.
                    return Err(self.lose(account, LostReason::RefreshInterrupted, Some(pair)).await?);
                }
                let doubt = self.doubts().refused(account, &pair, self.clock.now());
                let detail = match doubt {
                    Doubt::None => return Err(self.lose(account, reason, Some(pair)).await?),
                    Doubt::Once => ONCE_MORE.to_owned(),
                    Doubt::Many(accounts) => format!(
                        "Jobber refuses the refresh tokens of {accounts} accounts at once: it has trouble, or the app's rotation was switched; they are tried again"
                    ),
                };
                self.store.end_refresh(account).await?;
                return Err(TokenError::Unavailable { detail, answered: true });
            }
            Err(error) => {
                // Without an answer Jobber may have rotated, so the intent stays.
                if !matches!(error, TokenError::Unavailable { answered: false, .. }) && interrupted.is_none()
                {
                    self.store.end_refresh(account).await?;
                }
                return Err(error);
            }
        };
        if answer.is_warned {
            tracing::debug!(account.id = %account, "Jobber warns that refresh tokens of this app do not rotate");
        }
        self.doubts().accepted(account, self.clock.now());
        let refresh = answer.refresh.unwrap_or(tokens.refresh);
        let new = self.pair(answer.access, refresh, answer.expires_at);
        CrashPoint::RefreshAnswered.pass();
        if self.store.replace_tokens(account, &pair, &new).await? {
            tracing::debug!(account.id = %account, token.expires_at = %new.expires_at, "refreshed");
        }
        CrashPoint::RefreshStored.pass();
        let Held { tokens, pair } = self.held(account).await?;
        Ok(Access { token: tokens.access, pair })
    }

    fn doubts(&self) -> std::sync::MutexGuard<'_, Doubts> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pair(&self, access: SecretString, refresh: SecretString, expires_at: Option<Timestamp>) -> Tokens {
        let now = self.clock.now();
        Tokens {
            access,
            refresh,
            expires_at: expires_at.unwrap_or_else(|| plus(now, ASSUMED_LIFE)),
            obtained_at: now,
        }
    }
}

/// Whether it is time to refresh. If a pair was already old when it arrived, one of the clocks is wrong: it
/// is used until Jobber refuses it.
fn is_stale(tokens: &Tokens, now: Timestamp) -> bool {
    let life = tokens.expires_at.duration_since(tokens.obtained_at);
    life.is_positive() && now >= minus(tokens.expires_at, EARLY.min(life / 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
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
}
