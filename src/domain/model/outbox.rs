//! What is on its way to a receiver, and how far it got.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, AskId, Trigger, WorkRef};

/// An ask on its way: the exact bytes, and how far they got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Webhook id and idempotency key of every attempt.
    pub id: AskId,
    /// Whose ask.
    pub account: AccountId,
    /// The work asked about.
    pub work: WorkRef,
    /// What fired.
    pub trigger: Trigger,
    /// The bytes to send, frozen.
    pub body: String,
    /// When it was decided to ask.
    pub created_at: Timestamp,
    /// Attempts begun, ever: the fencing number of the lease.
    pub attempt: u32,
    /// Attempts that failed since the entry was queued or retried by hand: where it stands in the schedule.
    pub failures: u32,
    /// Where it stands.
    #[serde(flatten)]
    pub state: EntryState,
    /// What the last attempt brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastAttempt>,
}

/// Where an outbox entry stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum EntryState {
    /// Waits for its next attempt.
    Due {
        /// Not before this.
        at: Timestamp,
    },
    /// An attempt is under way.
    Leased {
        /// When the attempt counts as lost.
        until: Timestamp,
    },
    /// Given up.
    Dead {
        /// Since when.
        at: Timestamp,
        /// Why.
        reason: DeadReason,
    },
}

/// Why an ask became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// The receiver said that this payload will never do (400, 413, 415, 422).
    Refused,
    /// Every attempt of the schedule failed.
    Exhausted,
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Refused => "refused by the receiver",
            Self::Exhausted => "every attempt failed",
        })
    }
}

/// What one attempt brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastAttempt {
    /// When it ended.
    pub at: Timestamp,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// What went wrong, in a few words that hold nothing of the payload.
    pub error: String,
}

/// What is known of a receiver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverState {
    /// It answered 410: nothing is sent until an admin retries.
    pub stopped_at: Option<Timestamp>,
    /// When it last took something, give or take a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
}
