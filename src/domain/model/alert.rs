//! Alerts: what the operator is told once when something changes.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::AccountId;

/// The kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A connection needs authorization.
    ConnectionLost,
    /// Jobber does not answer. It heals itself.
    JobberUnreachable,
    /// Sweeps fail for a reason that does not heal itself.
    NeedsOperator,
    /// A receiver does not accept messages.
    ReceiverFailing,
    /// A receiver answered that it is gone.
    ReceiverGone,
    /// Messages became dead letters.
    DeadLetters,
    /// Far more work than usual finished at once, and is held.
    BurstHeld,
    /// An account that usually finishes work has finished none.
    NoWork,
    /// Jobber should send events and sends none.
    EventsStopped,
    /// Jobber refuses to send events of a topic.
    EventsRefused,
    /// A draft app is near the number of accounts at which Jobber cuts it off.
    DraftApp,
    /// No account is read although sweeps are due.
    SweepsStalled,
    /// The program fails on a record again and again.
    ProgramFault,
    /// Rules of the operator were not carried out.
    RulesFail,
    /// Events were forwarded without their records, because too many waited.
    EventsPileUp,
    /// The machine's clock differs from Jobber's.
    ClockOff,
    /// Jobber's support for the API version of this program ends soon.
    ApiVersion,
}

impl AlertKind {
    /// All kinds.
    pub const ALL: [Self; 17] = [
        Self::ConnectionLost,
        Self::JobberUnreachable,
        Self::NeedsOperator,
        Self::ReceiverFailing,
        Self::ReceiverGone,
        Self::DeadLetters,
        Self::BurstHeld,
        Self::NoWork,
        Self::EventsStopped,
        Self::EventsRefused,
        Self::DraftApp,
        Self::SweepsStalled,
        Self::ProgramFault,
        Self::RulesFail,
        Self::EventsPileUp,
        Self::ClockOff,
        Self::ApiVersion,
    ];

    /// The name in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionLost => "connection_lost",
            Self::JobberUnreachable => "jobber_unreachable",
            Self::NeedsOperator => "needs_operator",
            Self::ReceiverFailing => "receiver_failing",
            Self::ReceiverGone => "receiver_gone",
            Self::DeadLetters => "dead_letters",
            Self::BurstHeld => "burst_held",
            Self::NoWork => "no_work",
            Self::EventsStopped => "events_stopped",
            Self::EventsRefused => "events_refused",
            Self::DraftApp => "draft_app",
            Self::SweepsStalled => "sweeps_stalled",
            Self::ProgramFault => "program_fault",
            Self::RulesFail => "rules_fail",
            Self::EventsPileUp => "events_pile_up",
            Self::ClockOff => "clock_off",
            Self::ApiVersion => "api_version",
        }
    }
}

impl fmt::Display for AlertKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A trouble, present or past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Identifies the trouble as long as it lasts.
    pub key: String,
    /// What is wrong.
    pub kind: AlertKind,
    /// The account, if it concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// The account's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_name: Option<String>,
    /// The accounts with asks that it holds up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<AccountId>,
    /// When it began.
    pub since: Timestamp,
    /// When it was noticed.
    pub raised_at: Timestamp,
    /// One sentence about what happened.
    pub summary: String,
    /// What to do.
    pub action: String,
    /// The largest number of asks held up at the same time.
    #[serde(default)]
    pub held_up: usize,
    /// Whether the operator was told its current state.
    pub told: bool,
    /// Set when it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Over>,
}

/// How a trouble ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    /// When it ended.
    pub at: Timestamp,
    /// Asks that are late because of it.
    pub late: usize,
    /// Works that became too old to ask about because of it.
    pub missed: usize,
}
