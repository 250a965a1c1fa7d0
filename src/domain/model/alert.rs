//! What an operator is told when something changes, once.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::AccountId;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A connection needs authorization.
    ConnectionLost,
    /// Jobber does not answer; heals itself.
    JobberUnreachable,
    /// Sweeps fail for a reason that does not heal itself.
    NeedsOperator,
    /// A receiver does not take asks.
    ReceiverFailing,
    /// A receiver said that it is gone.
    ReceiverGone,
    /// Asks were given up.
    DeadLetters,
    /// An account that usually finishes work finished none.
    NoWork,
    /// Jobber was to send events, and sends none.
    EventsStopped,
    /// A draft app is near the number of accounts at which Jobber cuts it off.
    DraftApp,
    /// The version of Jobber's API that this program speaks is near its end.
    ApiVersion,
}

impl AlertKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::ConnectionLost,
        Self::JobberUnreachable,
        Self::NeedsOperator,
        Self::ReceiverFailing,
        Self::ReceiverGone,
        Self::DeadLetters,
        Self::NoWork,
        Self::EventsStopped,
        Self::DraftApp,
        Self::ApiVersion,
    ];

    /// Its name in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionLost => "connection_lost",
            Self::JobberUnreachable => "jobber_unreachable",
            Self::NeedsOperator => "needs_operator",
            Self::ReceiverFailing => "receiver_failing",
            Self::ReceiverGone => "receiver_gone",
            Self::DeadLetters => "dead_letters",
            Self::NoWork => "no_work",
            Self::EventsStopped => "events_stopped",
            Self::DraftApp => "draft_app",
            Self::ApiVersion => "api_version",
        }
    }
}

impl fmt::Display for AlertKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Something that is wrong, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What is wrong with what: the same as long as it is the same trouble.
    pub key: String,
    /// What is wrong.
    pub kind: AlertKind,
    /// With which account, if it is one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// That account's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_name: Option<String>,
    /// Whose asks it holds up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<AccountId>,
    /// Since when.
    pub since: Timestamp,
    /// When it was noticed.
    pub raised_at: Timestamp,
    /// What happened, in a sentence.
    pub summary: String,
    /// What to do.
    pub action: String,
    /// Asks that were held up at the same time, at most.
    #[serde(default)]
    pub held_up: usize,
    /// Whether the operator was told of it as it stands.
    pub told: bool,
    /// Set when it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Over>,
}

/// How a trouble ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    /// When.
    pub at: Timestamp,
    /// Asks that are late because of it.
    pub late: usize,
    /// Works that are not asked about any more because of it.
    pub missed: usize,
}
