//! An account's access to Jobber: runs an operation with the right token, repeats it after a refresh, and
//! waits while the account's points are used up.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::Url;

use crate::accounts::budget::{Budget, Level};
use crate::accounts::tokens::{TokenError, TokenSource};
use crate::clock::{JobberClock, SharedClock, plus};
use crate::domain::model::{AccountId, LostReason};
use crate::jobber::operation::Operation;
use crate::jobber::{Answer, ApiError, Client, Cost, Exchange, Refusal, UserError, below, scopes};
use crate::store::StoreError;
use crate::telemetry;
use secrecy::ExposeSecret as _;

/// How often one operation waits for points before it fails.
const WAITS: u32 = 4;

/// The longest single wait for points. A full bucket refills in 20 s (`api-behaviour.md` §3, Cost).
const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(25);

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Only the contractor can restore the connection. The account's state says so from now on.
    #[error("the connection needs authorization: {0}")]
    NeedsAuthorization(LostReason),
    #[error("{detail}")]
    Failed { detail: String, trouble: Trouble },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SessionError {
    pub fn settings(error: impl std::fmt::Display) -> Self {
        let detail = format!(
            "the account's settings cannot be used: {error} (see `account show`, change with `account set`)"
        );
        Self::Failed { detail, trouble: Trouble::Operator }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Jobber cannot be reached or asks for a pause. It affects the whole account and heals itself.
    Outage {
        retry_after: Option<SignedDuration>,
        /// Whether the request had left: then Jobber may have run it.
        may_have_run: bool,
    },
    Answer,
    /// Jobber's rules refused a mutation. Nothing was done.
    Refused(Vec<UserError>),
    /// The operator must act: a scope, the client secret, a newer version of this program.
    Operator,
}

impl Trouble {
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Outage { .. })
    }
}

#[derive(Debug, Clone)]
pub struct Session {
    client: Client,
    tokens: TokenSource,
    clock: SharedClock,
    budget_share: u64,
    budgets: Arc<Mutex<HashMap<AccountId, Budget>>>,
    jobber_clock: Arc<JobberClock>,
}

impl Session {
    /// Uses at most `budget_share` percent of an account's points.
    pub fn new(client: Client, tokens: TokenSource, clock: SharedClock, budget_share: u64) -> Self {
        Self { client, tokens, clock, budget_share, budgets: Arc::default(), jobber_clock: Arc::default() }
    }

    /// Jobber's clock, as measured at its last answer.
    pub fn jobber_clock(&self) -> &JobberClock {
        &self.jobber_clock
    }

    pub async fn reach(&self) -> Result<Option<Timestamp>, ApiError> {
        self.client.reach().await
    }

    pub async fn get(&self, base: Url, name: &str) -> Result<u16, ApiError> {
        self.client.get(below(&base, name)).await
    }

    /// Tests the app's credentials with an invalid refresh token, and returns Jobber's error.
    pub async fn try_app(&self) -> Result<(), TokenError> {
        self.tokens.try_app().await
    }

    /// Runs an operation for `account`. It is repeated only if Jobber refused it before running it: once
    /// after a refused token, and a few times while the account's points are used up.
    pub async fn run<O: Operation>(
        &self,
        account: &AccountId,
        operation: &O,
    ) -> Result<Answer<O::Output>, SessionError> {
        let mut access = self.tokens.access_token(account).await.map_err(from_token)?;
        let mut renewed = false;
        let mut waits = 0;
        loop {
            let sent = self.wait_for_a_turn(account, operation.kind(), operation.cost()).await?;
            let begun = std::time::Instant::now();
            let answered = self.client.run(&access.token, operation).await;
            drop(sent);
            telemetry::asked_jobber(begun.elapsed());
            let error = match answered {
                Ok(answer) => {
                    if let Some(date) = answer.date {
                        self.jobber_clock.note(date, self.clock.now());
                    }
                    self.note_cost(account, operation.kind(), answer.cost);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let lost = match error {
                ApiError::Unauthorized(Refusal::Expired | Refusal::Unrecognised) if !renewed => {
                    access = self.tokens.renew(account, &access.pair).await.map_err(from_token)?;
                    renewed = true;
                    continue;
                }
                ApiError::Throttled { wait, .. } if waits < WAITS && wait <= LONGEST_WAIT => {
                    tracing::debug!(account.id = %account, wait_ms = wait.as_millis(), "waiting for points");
                    tokio::time::sleep(Duration::try_from(wait).unwrap_or_default()).await;
                    waits += 1;
                    continue;
                }
                ApiError::TooMany { retry_after } => {
                    let now = self.clock.now();
                    let rest = self.with_budget(account, |budget| budget.too_many(retry_after, now));
                    let trouble = Trouble::Outage { retry_after: Some(rest), may_have_run: false };
                    return Err(SessionError::Failed { trouble, detail: error.to_string() });
                }
                ApiError::Hidden { .. } => {
                    let remedy = scopes::remedy(access.token.expose_secret());
                    let (trouble, detail) = (Trouble::Operator, format!("{error}; {remedy}"));
                    return Err(SessionError::Failed { detail, trouble });
                }
                ApiError::Unauthorized(Refusal::Disconnected) => LostReason::DisconnectedInJobber,
                ApiError::Unauthorized(Refusal::Inactive) => LostReason::AccountInactive,
                error => {
                    return Err(SessionError::Failed {
                        trouble: trouble_of(&error),
                        detail: error.to_string(),
                    });
                }
            };
            return Err(from_token(self.tokens.lose(account, lost, Some(access.pair)).await?));
        }
    }
}

impl Session {
    /// Sends a document of any kind, asking for a version of the API, and returns what came. A refused token is renewed
    /// once.
    pub async fn exchange(
        &self,
        account: &AccountId,
        version: &str,
        body: &serde_json::Value,
    ) -> Result<Exchange, SessionError> {
        let mut access = self.tokens.access_token(account).await.map_err(from_token)?;
        let mut renewed = false;
        loop {
            let sent = self.wait_for_a_turn(account, "any", None).await?;
            let answered = self.client.exchange(&access.token, version, body.to_string().into_bytes()).await;
            drop(sent);
            match answered {
                Ok(answer) if answer.status == 401 && !renewed => {
                    access = self.tokens.renew(account, &access.pair).await.map_err(from_token)?;
                    renewed = true;
                }
                Ok(answer) => {
                    let cost = answer.body.pointer("/extensions/cost").cloned().unwrap_or_default();
                    self.note_cost(account, "any", serde_json::from_value(cost).ok());
                    return Ok(answer);
                }
                Err(error) => {
                    return Err(SessionError::Failed {
                        trouble: trouble_of(&error),
                        detail: error.to_string(),
                    });
                }
            }
        }
    }

    /// The scopes of the account's token. `None` if it does not say.
    pub async fn granted(&self, account: &AccountId) -> Result<Option<BTreeSet<String>>, SessionError> {
        let access = self.tokens.access_token(account).await.map_err(from_token)?;
        Ok(scopes::granted(access.token.expose_secret()))
    }

    async fn wait_for_a_turn(
        &self,
        account: &AccountId,
        kind: &'static str,
        cost: Option<u64>,
    ) -> Result<Sent, SessionError> {
        let now = self.clock.now();
        if let Some(rest) = self.with_budget(account, |budget| budget.rest(now)) {
            let detail = "Jobber allows no more requests for this account for a few minutes".to_owned();
            let trouble = Trouble::Outage { retry_after: Some(rest), may_have_run: false };
            return Err(SessionError::Failed { detail, trouble });
        }
        let wait = self.with_budget(account, |budget| budget.wait(kind, cost, now));
        if wait > LONGEST_WAIT {
            self.with_budget(account, Budget::give_up);
            let detail =
                "other programs have used up the account's API points; it is tried again later".to_owned();
            return Err(SessionError::Failed {
                detail,
                trouble: Trouble::Outage { retry_after: Some(wait), may_have_run: false },
            });
        }
        let cost = self.with_budget(account, |budget| {
            budget.begin(plus(now, wait));
            let cost = budget.expected(kind, cost);
            budget.leaves(cost);
            cost
        });
        let sent = Sent { budgets: Arc::clone(&self.budgets), account: account.clone(), cost };
        if !wait.is_zero() {
            tracing::debug!(account.id = %account, wait_ms = wait.as_millis(), "leaving points to others");
            tokio::time::sleep(self.clock.sleep_until(plus(now, wait))).await;
        }
        Ok(sent)
    }

    fn note_cost(&self, account: &AccountId, kind: &'static str, cost: Option<Cost>) {
        let Some(Cost { requested, throttle_status: status }) = cost else { return };
        let level = Level {
            maximum: status.maximum_available,
            available: status.currently_available,
            rate: status.restore_rate,
        };
        let now = self.clock.now();
        self.with_budget(account, |budget| budget.note(kind, requested, level, now));
    }

    /// The points that an account had left at the last answer.
    pub fn points(&self, account: &AccountId) -> Option<u64> {
        let budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        budgets.get(account)?.available()
    }

    fn with_budget<T>(&self, account: &AccountId, act: impl FnOnce(&mut Budget) -> T) -> T {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        act(budgets.entry(account.clone()).or_insert_with(|| Budget::new(self.budget_share)))
    }
}

/// A request that was not answered yet. Its points count as spent until this is dropped.
struct Sent {
    budgets: Arc<Mutex<HashMap<AccountId, Budget>>>,
    account: AccountId,
    cost: u64,
}

impl Drop for Sent {
    fn drop(&mut self) {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = budgets.get_mut(&self.account) {
            budget.ended(self.cost);
        }
    }
}

fn trouble_of(error: &ApiError) -> Trouble {
    match error {
        ApiError::Unavailable { retry_after, .. } => {
            Trouble::Outage { retry_after: *retry_after, may_have_run: true }
        }
        ApiError::TooMany { retry_after } => {
            Trouble::Outage { retry_after: *retry_after, may_have_run: false }
        }
        ApiError::Throttled { wait, .. } => Trouble::Outage { retry_after: Some(*wait), may_have_run: false },
        // Jobber refuses a token that it has just issued, so the fault is elsewhere.
        ApiError::Unauthorized(_) | ApiError::Unreachable { .. } => {
            Trouble::Outage { retry_after: None, may_have_run: false }
        }
        ApiError::Hidden { .. } | ApiError::WrongVersion { .. } | ApiError::UnknownVersion { .. } => {
            Trouble::Operator
        }
        ApiError::Refused(errors) => Trouble::Refused(errors.clone()),
        ApiError::Rejected { .. } | ApiError::Unexpected { .. } => Trouble::Answer,
    }
}

fn from_token(error: TokenError) -> SessionError {
    let trouble = match error {
        TokenError::NeedsAuthorization(reason) => return SessionError::NeedsAuthorization(reason),
        TokenError::Store(error) => return SessionError::Store(error),
        TokenError::AppRefused { .. } => Trouble::Operator,
        TokenError::CodeRefused | TokenError::Unavailable { .. } => {
            Trouble::Outage { retry_after: None, may_have_run: false }
        }
    };
    SessionError::Failed { detail: error.to_string(), trouble }
}
