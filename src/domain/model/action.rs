//! Writes in Jobber that somebody asked for, and what became of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::AccountId;

/// One objection of Jobber's: a sentence, and the input it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objection {
    pub message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
}

/// A write under its key. It is stored before the request leaves, so that it is never done twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionRecord {
    pub account: AccountId,
    pub key: String,
    /// `jobs.close`, or `api`.
    pub action: String,
    /// Who asked for it: `operator`, a key of the API, or a rule.
    pub by: String,
    /// The id of the record it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// A hash of what was to be sent.
    pub input: String,
    pub at: Timestamp,
    #[serde(flatten)]
    pub outcome: ActionOutcome,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ActionOutcome {
    /// The request may have left. If nobody is at it any more, what became of it is not known.
    Begun,
    Done {
        ended_at: Timestamp,
        answer: Value,
    },
    /// Jobber's rules refused it. Nothing was done.
    Refused {
        ended_at: Timestamp,
        errors: Vec<Objection>,
    },
    Partly {
        ended_at: Timestamp,
        answer: Value,
        errors: Vec<Objection>,
    },
    /// It may have been done or not: there was no answer that says so.
    Unknown {
        ended_at: Timestamp,
        detail: String,
    },
}

impl ActionOutcome {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Done { .. } => "done",
            Self::Refused { .. } => "refused",
            Self::Partly { .. } => "partly",
            Self::Unknown { .. } => "unknown",
        }
    }
}
