//! An account's line to Jobber: a query with the right token, once more after a refresh, and patience when
//! the account's budget of points is used up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::Url;

use crate::accounts::budget::{Budget, Level};
use crate::accounts::tokens::{TokenError, TokenSource};
use crate::clock::{SharedClock, plus};
use crate::domain::model::{AccountId, LostReason};
use crate::jobber::operation::Operation;
use crate::jobber::{Answer, ApiError, Client, Cost, Refusal, UserError, below};
use crate::store::StoreError;
use crate::telemetry;

/// How often one query waits for points before the read counts as failed.
const WAITS: u32 = 4;

/// The longest single wait for points. A full bucket refills in 20 s (`api-behaviour.md` §3, Cost).
const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(25);

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Only the contractor can mend it. The account says so from now on.
    #[error("the connection needs authorization: {0}")]
    NeedsAuthorization(LostReason),
    /// This read failed; a later one may not.
    #[error("{detail}")]
    Failed {
        /// What happened, in a sentence.
        detail: String,
        /// What kind of trouble it is.
        trouble: Trouble,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SessionError {
    /// Nothing can be read by settings that cannot be used.
    pub fn settings(error: impl std::fmt::Display) -> Self {
        let detail = format!(
            "the account's settings cannot be used: {error} (see `account show`, change with `account set`)"
        );
        Self::Failed { detail, trouble: Trouble::Operator }
    }
}

/// What kind of trouble a failed read is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Jobber cannot be reached, or wants to be left alone for a while: everything for this account fails, and
    /// it heals itself.
    Outage {
        /// How long Jobber wants to be left alone, if it said so.
        retry_after: Option<SignedDuration>,
    },
    /// This query got no answer that can be used; another one may.
    Answer,
    /// Jobber's own rules say no to a mutation: nothing was done.
    Refused(Vec<UserError>),
    /// The operator must do something: a scope, the client secret, a newer version of this program.
    Operator,
}

/// Reads for connected accounts.
#[derive(Debug, Clone)]
pub struct Session {
    client: Client,
    tokens: TokenSource,
    clock: SharedClock,
    budget_share: u64,
    budgets: Arc<Mutex<HashMap<AccountId, Budget>>>,
}

impl Session {
    /// Reads through `client` with tokens from `oauth`, and takes no more of an account's points than `budget_share`
    /// percent.
    pub fn new(client: Client, tokens: TokenSource, clock: SharedClock, budget_share: u64) -> Self {
        Self { client, tokens, clock, budget_share, budgets: Arc::default() }
    }

    /// Whether Jobber's API answers at all, and its clock.
    pub async fn reach(&self) -> Result<Option<Timestamp>, ApiError> {
        self.client.reach().await
    }

    /// The status of a page below `base`.
    pub async fn get(&self, base: Url, name: &str) -> Result<u16, ApiError> {
        self.client.get(below(&base, name)).await
    }

    /// Shows Jobber the app with a refresh token that it never gave out, and tells what it says of that.
    pub async fn try_app(&self) -> Result<(), TokenError> {
        self.tokens.try_app().await
    }

    /// Carries an operation out for `account`. It is repeated only where Jobber refused it before it ran: once after a token
    /// was refused, and a few times while the account's points are used up.
    pub async fn run<O: Operation>(
        &self,
        account: &AccountId,
        operation: &O,
    ) -> Result<Answer<O::Output>, SessionError> {
        let mut access = self.tokens.access_token(account).await.map_err(from_token)?;
        let mut renewed = false;
        let mut waits = 0;
        loop {
            self.wait_for_points(account, operation.kind()).await?;
            let begun = std::time::Instant::now();
            let answered = self.client.run(&access.token, operation).await;
            telemetry::asked_jobber(begun.elapsed());
            let error = match answered {
                Ok(answer) => {
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
                    let trouble = Trouble::Outage { retry_after: Some(rest) };
                    return Err(SessionError::Failed { trouble, detail: error.to_string() });
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
    /// Waits while the operation would take more of the budget than our share.
    async fn wait_for_points(&self, account: &AccountId, kind: &'static str) -> Result<(), SessionError> {
        let now = self.clock.now();
        let wait = self.with_budget(account, |budget| budget.wait(kind, now));
        if wait > LONGEST_WAIT {
            self.with_budget(account, Budget::give_up);
            let detail =
                "other programs have used up the account's API points; it is tried again later".to_owned();
            return Err(SessionError::Failed {
                detail,
                trouble: Trouble::Outage { retry_after: Some(wait) },
            });
        }
        if !wait.is_zero() {
            tracing::debug!(account.id = %account, wait_ms = wait.as_millis(), "leaving points to others");
            tokio::time::sleep(self.clock.sleep_until(plus(now, wait))).await;
        }
        Ok(())
    }

    fn note_cost(&self, account: &AccountId, kind: &'static str, cost: Option<Cost>) {
        let Some(Cost { requested, throttle_status: status }) = cost else { return };
        let level = Level {
            maximum: status.maximum_available,
            available: status.currently_available,
            rate: status.restore_rate,
        };
        telemetry::points(account.as_str(), status.currently_available);
        let now = self.clock.now();
        self.with_budget(account, |budget| budget.note(kind, requested, level, now));
    }

    fn with_budget<T>(&self, account: &AccountId, act: impl FnOnce(&mut Budget) -> T) -> T {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        act(budgets.entry(account.clone()).or_insert_with(|| Budget::new(self.budget_share)))
    }
}

fn trouble_of(error: &ApiError) -> Trouble {
    match error {
        ApiError::Unavailable { retry_after, .. } | ApiError::TooMany { retry_after } => {
            Trouble::Outage { retry_after: *retry_after }
        }
        ApiError::Throttled { wait, .. } => Trouble::Outage { retry_after: Some(*wait) },
        // A fresh token that is refused: the grant just gave it, so it lives. Something in between is broken.
        ApiError::Unauthorized(_) => Trouble::Outage { retry_after: None },
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
        TokenError::CodeRefused | TokenError::Unavailable { .. } => Trouble::Outage { retry_after: None },
    };
    SessionError::Failed { detail: error.to_string(), trouble }
}
