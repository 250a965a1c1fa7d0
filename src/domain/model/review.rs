//! What came of an ask, as the platform tells, and the keys by which it may tell.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, WorkRef};
use crate::domain::actions::Permission;

/// Which work an ask is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskOf {
    pub account: AccountId,
    pub work: WorkRef,
}

/// A review that a customer wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Review {
    #[serde(flatten)]
    pub of: AskOf,
    pub at: Timestamp,
    pub rating: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A key of the HTTP API. The secret itself is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    pub name: String,
    /// The only account that it is for. `None` is all.
    pub account: Option<AccountId>,
    pub may: Vec<Permission>,
    /// A hash of the secret.
    pub hash: String,
    pub created_at: Timestamp,
    /// To the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
}
