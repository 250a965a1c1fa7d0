//! Outbox entries and their delivery state.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest;

use super::{AccountId, ContactKey, EncodedId, MessageId, Trigger, WatchTopic, WorkRef};

/// A message in the outbox: its exact bytes and its delivery state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Webhook id and idempotency key of every attempt.
    pub id: MessageId,
    /// The account it is about.
    pub account: AccountId,
    /// What the message says.
    #[serde(flatten)]
    pub payload: Payload,
    /// The bytes to send. They never change.
    pub body: String,
    /// When it was decided to send it.
    pub created_at: Timestamp,
    /// Number of attempts ever begun. It is the fencing number of the lease.
    pub attempt: u32,
    /// Failed attempts since the entry was queued or retried by hand: its place in the schedule.
    pub failures: u32,
    /// The state of the delivery.
    #[serde(flatten)]
    pub state: EntryState,
    /// The result of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastAttempt>,
}

/// What was noted with an ask, so that it can be taken back as long as nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// All contacts of the customer.
    pub contacts: Vec<ContactKey>,
    /// The jobs behind the work.
    pub jobs: Vec<EncodedId>,
}

/// The content of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub enum Payload {
    /// A customer is due for a review request.
    Ask {
        /// The work asked about.
        work: WorkRef,
        /// The trigger that applied.
        trigger: Trigger,
    },
    /// An event of Jobber's is forwarded.
    Event {
        /// Jobber's name of the topic.
        topic: String,
        /// The record.
        work: WorkRef,
        /// The receiver, by a hash of its address.
        to: String,
        occurred_at: Timestamp,
        /// Counts the events of the record.
        sequence: u64,
    },
    /// A record in Jobber changed.
    Change {
        /// What changed.
        topic: WatchTopic,
        /// The record.
        work: WorkRef,
    },
}

impl Payload {
    /// The kind of message.
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Ask { .. } => MessageKind::Ask,
            Self::Change { .. } => MessageKind::Change,
            Self::Event { .. } => MessageKind::Event,
        }
    }

    /// Names the record whose messages leave in order. `None` for asks: no two are about one record.
    pub fn record(&self) -> Option<String> {
        match self {
            Self::Ask { .. } => None,
            Self::Change { work, .. } => Some(digest::short(&[work.kind.as_str(), work.id.as_str()])),
            Self::Event { work, to, .. } => Some(digest::short(&["event", to, work.id.as_str()])),
        }
    }

    /// The receiver of an event, by a hash of its address.
    pub fn to(&self) -> Option<&str> {
        match self {
            Self::Event { to, .. } => Some(to),
            Self::Ask { .. } | Self::Change { .. } => None,
        }
    }

    /// The place among the messages of its record.
    pub fn place(&self, created_at: Timestamp) -> (Timestamp, u64) {
        match self {
            Self::Event { occurred_at, sequence, .. } => (*occurred_at, *sequence),
            Self::Ask { .. } | Self::Change { .. } => (created_at, 0),
        }
    }

    /// The record that the message is about.
    pub fn work(&self) -> &WorkRef {
        match self {
            Self::Ask { work, .. } | Self::Change { work, .. } | Self::Event { work, .. } => work,
        }
    }
}

/// The kind of message. Each kind goes to its own receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// A review request. It goes to the account's review platform within its window.
    Ask,
    /// A change. It goes to `events.webhook_url` at any hour.
    Change,
    /// An event of Jobber's. It goes where `events.forward` says, at any hour.
    Event,
}

impl MessageKind {
    /// The name used in output and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Change => "change",
            Self::Event => "event",
        }
    }
}

/// The state of an outbox entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum EntryState {
    /// It waits for its next attempt.
    Due {
        /// Not before this.
        at: Timestamp,
    },
    /// An attempt is under way.
    Leased {
        /// When the attempt counts as lost.
        until: Timestamp,
    },
    /// It was given up.
    Dead {
        /// When it was given up.
        at: Timestamp,
        /// Why it was given up.
        reason: DeadReason,
    },
}

/// Why an ask became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// The receiver will never accept this payload (400, 413, 415, 422).
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

/// The result of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastAttempt {
    /// When it ended.
    pub at: Timestamp,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// A short description of the error, without any of the payload.
    pub error: String,
}

/// What is known about a receiver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverState {
    /// When it answered 410. Nothing is sent until the operator retries.
    pub stopped_at: Option<Timestamp>,
    /// When it last accepted a message, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
}
