//! The operator's verbs: one function each. The command line and the control socket are thin adapters over
//! them; [`protocol`] is their wire format.

pub mod accounts;
pub mod actions;
pub mod backup;
pub mod console;
pub mod doctor;
pub mod events;
pub mod explain;
pub mod links;
pub mod once;
pub mod people;
pub mod probe;
pub mod protocol;
pub mod queue;
pub mod report;
pub mod reviews;
pub mod rules;
pub mod shadow;
pub mod status;
pub mod words;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::accounts::onboarding::ConnectError;
use crate::context::Context;
use crate::domain::actions::nearest;
use crate::domain::model::Account;
use crate::store::StoreError;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    /// The request is wrong. The message names the remedy.
    #[error("{0}")]
    Refused(String),
    /// The named thing does not exist.
    #[error("{0}")]
    NotFound(String),
    /// Something outside the program failed.
    #[error("{0}")]
    Failed(String),
    /// Jobber said no, and would say it again.
    #[error("{0}")]
    Rejected(String),
    /// It may work later.
    #[error("{detail}")]
    Later { detail: String, retry_after: Option<SignedDuration> },
    /// Somebody must act first: a connection, a scope, a permission.
    #[error("{0}")]
    NeedsHuman(String),
    /// It contradicts what was asked before.
    #[error("{0}")]
    Conflict(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ConnectError> for OpError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Store(error) => Self::Store(error),
            error => Self::Failed(error.to_string()),
        }
    }
}

impl OpError {
    fn at_line(self, line: u64) -> Self {
        match self {
            Self::Refused(words) => Self::Refused(format!("line {line}: {words}")),
            Self::NotFound(words) => Self::NotFound(format!("line {line}: {words}")),
            other => other,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    Progress { done: usize, of: usize },
    Part(String),
}

/// A sentence about what was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The sentence.
    pub done: String,
}

impl Done {
    pub fn new(done: String) -> Self {
        Self { done }
    }
}

async fn named(context: &Context, name: Option<String>) -> Result<Option<Account>, OpError> {
    match name {
        Some(name) => find_account(context, &name).await.map(Some),
        None => Ok(None),
    }
}

async fn find_account(context: &Context, text: &str) -> Result<Account, OpError> {
    pick_account(context.store.accounts().await?, text)
}

fn pick_account(accounts: Vec<Account>, text: &str) -> Result<Account, OpError> {
    if let Some(account) = accounts.iter().find(|account| account.id.as_str() == text) {
        return Ok(account.clone());
    }
    let wanted = text.to_lowercase();
    let named: Vec<&Account> = accounts
        .iter()
        .filter(|account| account.name.to_lowercase() == wanted || account.label.to_lowercase() == wanted)
        .collect();
    match named.as_slice() {
        [only] => Ok((*only).clone()),
        [] => {
            let names = accounts.iter().map(|account| account.name.clone());
            let near =
                nearest(text, names).map_or_else(String::new, |name| format!("did you mean `{name}`? "));
            let told = format!("there is no account `{text}`: {near}`account list` shows every account");
            Err(OpError::NotFound(told))
        }
        several => {
            let ids: Vec<&str> = several.iter().map(|account| account.id.as_str()).collect();
            let ids = ids.join(", ");
            Err(OpError::Refused(format!(
                "`{text}` names {} accounts: use one of the ids {ids}",
                several.len()
            )))
        }
    }
}
