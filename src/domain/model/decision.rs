//! Decisions about finished work.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{AccountId, AskId, DeadReason, EncodedId, Trigger, WorkKind, WorkRef};

/// Fields to find a decision by, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// Jobber's id of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<EncodedId>,
    /// The client's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// The number that an ask would go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// The address that an ask would go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The job, or the job behind the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<EncodedId>,
    /// That job's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_number: Option<i64>,
    /// What that job is called: its title, or else its first line items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_title: Option<String>,
    /// The invoice's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoice_number: Option<String>,
}

/// Finished work that waits until it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The work.
    pub work: WorkRef,
    /// The trigger that applied.
    pub trigger: Trigger,
    /// When it was finished.
    pub finished_at: Timestamp,
    /// The earliest time to ask: completion plus `delay`, or later.
    pub due_at: Timestamp,
    /// When the operator allowed the ask although the work is too old.
    pub released_at: Option<Timestamp>,
    /// How long it was held with a burst. That time does not make it too old.
    pub held_for: SignedDuration,
    /// What is known about the work.
    pub subject: Subject,
}

/// Why a finished work is not asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Finished before the contractor connected, or before the trigger was changed.
    BeforeConnection,
    /// Finished longer than `max_age` ago.
    TooOld,
    /// The last visit took place long before the job was closed.
    VisitTooOld,
    /// The job was closed and none of its visits was completed: it was cancelled.
    NoVisitCompleted,
    /// The operator dropped the burst it was held with.
    BurstDropped,
    /// The operator dropped it from the queue.
    DroppedByOperator,
    /// Reopened, uncompleted or unpaid since.
    NoLongerFinished,
    /// Jobber no longer has it.
    NotFound,
    /// Jobber gives a status that this version does not know.
    UnknownStatus,
    /// This work or the job behind it was already asked about.
    AlreadyAsked,
    /// The invoice has no client.
    NoClient,
    /// One of Jobber's demo clients.
    SampleData,
    /// The client's card is archived.
    ClientArchived,
    /// The client does not want review requests.
    ClientOptedOut,
    /// Review requests are off for this job or invoice.
    WorkOptedOut,
    /// No phone that accepts text messages, and no e-mail address.
    NoContact,
    /// The client is a lead: no work was done for them yet.
    ClientIsLead,
    /// The client has the configured tag for "never ask".
    Tagged,
    /// The operator suppressed this person.
    Suppressed,
    /// The operator ended the connection before the work was due.
    Disconnected,
    /// The work's total is below the configured minimum.
    BelowMinimum,
    /// The settings exclude work with this name.
    TitleExcluded,
    /// The settings exclude companies, or people.
    KindOfClient,
    /// This person was asked recently, perhaps through another card, work or trigger.
    AskedRecently,
    /// Shadow mode: an ask was decided, and nothing is sent.
    Shadow,
}

impl SkipReason {
    /// The name used in output and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeConnection => "before_connection",
            Self::TooOld => "too_old",
            Self::VisitTooOld => "visit_too_old",
            Self::NoVisitCompleted => "no_visit_completed",
            Self::BurstDropped => "burst_dropped",
            Self::DroppedByOperator => "dropped_by_operator",
            Self::NoLongerFinished => "no_longer_finished",
            Self::NotFound => "not_found",
            Self::UnknownStatus => "unknown_status",
            Self::AlreadyAsked => "already_asked",
            Self::NoClient => "no_client",
            Self::SampleData => "sample_data",
            Self::ClientArchived => "client_archived",
            Self::ClientOptedOut => "client_opted_out",
            Self::WorkOptedOut => "work_opted_out",
            Self::NoContact => "no_contact",
            Self::ClientIsLead => "client_is_lead",
            Self::Tagged => "tagged",
            Self::Suppressed => "suppressed",
            Self::Disconnected => "disconnected",
            Self::BelowMinimum => "below_minimum",
            Self::TitleExcluded => "title_excluded",
            Self::KindOfClient => "kind_of_client",
            Self::AskedRecently => "asked_recently",
            Self::Shadow => "shadow",
        }
    }

    /// One sentence for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::BeforeConnection => "finished before the account was connected (or its trigger changed)",
            Self::TooOld => "finished longer ago than max_age",
            Self::VisitTooOld => "its last visit was longer before the close than review.last_visit_within",
            Self::NoVisitCompleted => "the job was closed without a completed visit (cancelled)",
            Self::DroppedByOperator => "it was dropped from the queue (`queue drop`)",
            Self::BurstDropped => "the burst it was held with was dropped (`queue drop-burst`)",
            Self::NoLongerFinished => "reopened before it was asked about",
            Self::NotFound => "it no longer exists in Jobber",
            Self::UnknownStatus => "it has a status in Jobber that this version does not know",
            Self::AlreadyAsked => "this work or its job was already asked about",
            Self::NoClient => "the invoice has no client",
            Self::SampleData => "one of Jobber's demo clients",
            Self::ClientArchived => "the client is archived in Jobber",
            Self::ClientOptedOut => "review requests are turned off for this client in Jobber",
            Self::WorkOptedOut => "review requests are turned off for this job or invoice in Jobber",
            Self::NoContact => "no phone that takes texts and no e-mail address",
            Self::ClientIsLead => "the client is a lead",
            Self::Tagged => "the client has the tag of review.never_tag",
            Self::Disconnected => "the account was disconnected before the ask was due",
            Self::Suppressed => "this person must never be asked (`suppress list`)",
            Self::BelowMinimum => "the total of the work is below review.min_total",
            Self::TitleExcluded => "the name of the work is excluded (review.only_named, review.not_named)",
            Self::KindOfClient => "this kind of client is excluded (review.clients)",
            Self::AskedRecently => "this person was asked within review.cooldown",
            Self::Shadow => "it would be asked about, but nothing is sent because review.shadow is on",
        }
    }

    /// Whether the operator may have the work decided again although it was skipped for its age.
    pub fn can_be_released(self) -> bool {
        matches!(
            self,
            Self::TooOld
                | Self::VisitTooOld
                | Self::NoVisitCompleted
                | Self::BurstDropped
                | Self::DroppedByOperator
        )
    }

    /// Whether a sweep judges the same work with the same completion time again.
    pub fn frees_key(self) -> bool {
        matches!(self, Self::NoLongerFinished | Self::UnknownStatus)
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The result for a finished work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It is a candidate.
    Waiting {
        /// The earliest time to ask.
        due_at: Timestamp,
    },
    /// Held with a burst until the operator decides.
    Held {
        /// The earliest time to ask.
        due_at: Timestamp,
        /// Since when it is held.
        since: Timestamp,
    },
    /// An outbox entry was made. Final.
    Asked {
        /// The ask.
        ask_id: AskId,
        /// The state of its delivery.
        delivery: Delivery,
    },
    /// Not asked.
    Skipped {
        /// Why it was skipped.
        reason: SkipReason,
    },
}

/// The delivery state of an ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Delivery {
    /// In the outbox.
    Queued,
    /// The receiver took it.
    Delivered {
        /// When it was taken.
        at: Timestamp,
        /// The HTTP status of the answer.
        status: u16,
        /// Number of attempts.
        attempts: u32,
    },
    /// Given up and kept as a dead letter.
    Dead {
        /// Why it was given up.
        reason: DeadReason,
    },
    /// The operator dropped it from the queue.
    Dropped,
}

/// The decision about one finished work, and its reason. There is one per work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The work.
    pub work: WorkRef,
    /// The trigger that applied.
    pub trigger: Trigger,
    /// When the work was finished, as known at this decision.
    pub finished_at: Timestamp,
    /// When this was decided.
    pub at: Timestamp,
    /// What was decided.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The values that led to the reason, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub saw: BTreeMap<String, String>,
    /// When the operator allowed the ask although the work is too old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
    /// How long it was held with a burst. That time does not make it too old.
    #[serde(default, skip_serializing_if = "SignedDuration::is_zero", with = "held_seconds")]
    pub held_for: SignedDuration,
    /// Whom and what it is about.
    #[serde(default)]
    pub subject: Subject,
}

impl Decision {
    /// The ask that was made about it, sent or not.
    pub fn ask(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Asked { ask_id, .. } => Some(ask_id.as_str()),
            // It was tried, or waited, and was not wanted any more.
            _ => self.saw.get("ask_not_sent").map(String::as_str),
        }
    }
}

mod held_seconds {
    use jiff::SignedDuration;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(held: &SignedDuration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(held.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SignedDuration, D::Error> {
        i64::deserialize(from).map(SignedDuration::from_secs)
    }
}

/// Proof that something was asked about. It is written with the ask and outlives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The kind of work that was asked about. The jobs behind the work carry the same value.
    pub by: WorkKind,
    /// The ask.
    pub ask_id: AskId,
    /// When it was asked about.
    pub at: Timestamp,
}

/// The last time a person was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contacted {
    /// The account that asked.
    pub account: AccountId,
    /// The ask.
    pub ask_id: AskId,
    /// When the person was asked.
    pub at: Timestamp,
}

/// A person who is never asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// A number, an address or a card, as the operator wrote it.
    pub what: String,
    /// Only this account never asks. If absent, no account does.
    pub account: Option<AccountId>,
    /// The operator's reason.
    pub note: Option<String>,
    /// When it was added.
    pub at: Timestamp,
}
