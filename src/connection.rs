//! An account's line to Jobber: a query with the right token, once more after a refresh, and patience when
//! the account's budget of points is used up.

use std::time::Duration;

use jiff::SignedDuration;
use secrecy::SecretString;

use crate::jobber::{Answer, ApiError, Client, ExtraFacts, Page, PageRequest, Refusal};
use crate::model::{AccountId, Facts, LostReason, WorkRef};
use crate::oauth::{OAuth, TokenError};
use crate::store::StoreError;

/// How often one query waits for points before the read counts as failed.
const WAITS: u32 = 4;

/// The longest single wait for points. A full bucket refills in 20 s (`api-behaviour.md` §3, Cost).
const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(25);

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
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

/// What kind of trouble a failed read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Jobber cannot be reached, or wants to be left alone for a while: everything for this account fails, and
    /// it heals itself.
    Outage {
        /// How long Jobber wants to be left alone, if it said so.
        retry_after: Option<SignedDuration>,
    },
    /// This query got no answer that can be used; another one may.
    Answer,
    /// The operator must do something: a scope, the client secret, a newer version of this program.
    Operator,
}

/// Reads for connected accounts.
#[derive(Debug, Clone)]
pub struct Connection {
    client: Client,
    oauth: OAuth,
}

impl Connection {
    /// Reads through `client` with tokens from `oauth`.
    pub fn new(client: Client, oauth: OAuth) -> Self {
        Self { client, oauth }
    }

    /// One page of a list.
    pub async fn page(&self, account: &AccountId, page: &PageRequest) -> Result<Answer<Page>, ReadError> {
        self.ask(account, page).await
    }

    /// Everything that decides about one piece of work; `None` if Jobber no longer has it.
    pub async fn details(
        &self,
        account: &AccountId,
        work: &WorkRef,
    ) -> Result<Answer<Option<Facts>>, ReadError> {
        self.ask(account, &DetailsOf(work)).await
    }

    /// What makes an ask nicer.
    pub async fn extras(&self, account: &AccountId, work: &WorkRef) -> Result<Answer<ExtraFacts>, ReadError> {
        self.ask(account, &ExtrasOf(work)).await
    }

    async fn ask<Q: Question>(
        &self,
        account: &AccountId,
        question: &Q,
    ) -> Result<Answer<Q::Answer>, ReadError> {
        let mut access = self.oauth.access_token(account).await.map_err(from_token)?;
        let mut renewed = false;
        let mut waits = 0;
        loop {
            let error = match question.put(&self.client, &access.token).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let lost = match error {
                ApiError::Unauthorized(Refusal::Expired | Refusal::Unrecognised) if !renewed => {
                    access = self.oauth.renew(account, &access.pair).await.map_err(from_token)?;
                    renewed = true;
                    continue;
                }
                ApiError::Throttled { wait, .. } if waits < WAITS && wait <= LONGEST_WAIT => {
                    tracing::debug!(account.id = %account, wait_ms = wait.as_millis(), "waiting for points");
                    tokio::time::sleep(Duration::try_from(wait).unwrap_or_default()).await;
                    waits += 1;
                    continue;
                }
                ApiError::Unauthorized(Refusal::Disconnected) => LostReason::DisconnectedInJobber,
                ApiError::Unauthorized(Refusal::Inactive) => LostReason::AccountInactive,
                error => {
                    return Err(ReadError::Failed { trouble: trouble_of(&error), detail: error.to_string() });
                }
            };
            return Err(from_token(self.oauth.lose(account, lost, Some(access.pair)).await?));
        }
    }
}

fn trouble_of(error: &ApiError) -> Trouble {
    match error {
        ApiError::Unavailable { retry_after, .. } => Trouble::Outage { retry_after: *retry_after },
        ApiError::Throttled { wait, .. } => Trouble::Outage { retry_after: Some(*wait) },
        // A fresh token that is refused: the grant just gave it, so it lives. Something in between is broken.
        ApiError::Unauthorized(_) => Trouble::Outage { retry_after: None },
        ApiError::Hidden { .. } | ApiError::WrongVersion { .. } => Trouble::Operator,
        ApiError::Rejected { .. } | ApiError::Unexpected { .. } => Trouble::Answer,
    }
}

/// Something to ask Jobber, once or again.
trait Question: Sync {
    type Answer: Send;

    fn put(
        &self,
        client: &Client,
        token: &SecretString,
    ) -> impl Future<Output = Result<Answer<Self::Answer>, ApiError>> + Send;
}

impl Question for PageRequest {
    type Answer = Page;

    async fn put(&self, client: &Client, token: &SecretString) -> Result<Answer<Page>, ApiError> {
        client.page(token, self).await
    }
}

struct DetailsOf<'w>(&'w WorkRef);

impl Question for DetailsOf<'_> {
    type Answer = Option<Facts>;

    async fn put(&self, client: &Client, token: &SecretString) -> Result<Answer<Option<Facts>>, ApiError> {
        client.details(token, self.0).await
    }
}

struct ExtrasOf<'w>(&'w WorkRef);

impl Question for ExtrasOf<'_> {
    type Answer = ExtraFacts;

    async fn put(&self, client: &Client, token: &SecretString) -> Result<Answer<ExtraFacts>, ApiError> {
        client.extras(token, self.0).await
    }
}

fn from_token(error: TokenError) -> ReadError {
    let trouble = match error {
        TokenError::NeedsAuthorization(reason) => return ReadError::NeedsAuthorization(reason),
        TokenError::Store(error) => return ReadError::Store(error),
        TokenError::AppRefused { .. } => Trouble::Operator,
        TokenError::Unavailable { .. } => Trouble::Outage { retry_after: None },
    };
    ReadError::Failed { detail: error.to_string(), trouble }
}
