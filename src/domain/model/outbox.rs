//! What is on its way to a receiver, and how far it got.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, MessageId, Trigger, WatchTopic, WorkRef};

/// A message on its way: the exact bytes, and how far they got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Webhook id and idempotency key of every attempt.
    pub id: MessageId,
    /// The account it is about.
    pub account: AccountId,
    /// What it tells.
    #[serde(flatten)]
    pub payload: Payload,
    /// The bytes to send, frozen.
    pub body: String,
    /// When it was decided to send it.
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

/// What a message tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub enum Payload {
    /// A customer is to be asked for a review.
    Ask {
        /// The work asked about.
        work: WorkRef,
        /// What fired.
        trigger: Trigger,
    },
    /// A record in Jobber has changed.
    Change {
        /// What is told of it.
        topic: WatchTopic,
        /// The record.
        work: WorkRef,
    },
}

impl Payload {
    /// Which kind of message it is.
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Ask { .. } => MessageKind::Ask,
            Self::Change { .. } => MessageKind::Change,
        }
    }

    /// The record it is about.
    pub fn work(&self) -> &WorkRef {
        match self {
            Self::Ask { work, .. } | Self::Change { work, .. } => work,
        }
    }
}

/// Which kind of message: each kind goes to a receiver of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// A review request: to the account's review platform, in its hours.
    Ask,
    /// A change: to `events.webhook_url`, whatever the hour.
    Change,
}

impl MessageKind {
    /// The name used in output and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Change => "change",
        }
    }
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
