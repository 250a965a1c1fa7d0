//! The shared types: ids, triggers, works, records, decisions, asks.
//!
//! Everything here is plain data. Only `jobber` converts API nodes into these types. The store writes them,
//! and the pure core (`plan`, `decide`, `retry`) works on them.

mod account;
mod action;
mod alert;
mod ask;
mod burst;
mod cause;
mod change;
mod contact;
mod decision;
mod facts;
mod link;
mod outbox;
mod person;
mod record;
mod review;
mod switches;
mod tally;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest;

pub use account::{Account, Connection, Failure, HISTORY, Health, LostReason, Moment, Overrides, Turn};
pub use action::{ActionOutcome, ActionRecord, Objection};
pub use alert::{Alert, AlertKind, Over};
pub use ask::{
    Ask, AskBody, BodyAccount, BodyClient, BodyInvoice, BodyJob, BodyPerson, BodyProperty, BodyVisit,
};
pub use burst::Burst;
pub use cause::Cause;
pub use change::{ClientSnapshot, Seen, SnapshotEmail, SnapshotPhone, WatchTopic};
pub use contact::{ContactKey, contacts_of};
pub use decision::{
    Candidate, Contacted, Decision, Delivery, Marker, Outcome, SkipReason, Subject, Suppression,
};
pub use facts::{
    ClientFacts, EmailAddress, Facts, InvoiceFacts, JobFacts, Person, Phone, VisitFacts, VisitsOfJob,
};
pub use link::{Link, LinkBrand, LinkState, Pending, alike};
pub use outbox::{
    DeadReason, EntryState, LastAttempt, MessageKind, Noted, OutboxEntry, Payload, ReceiverState,
};
pub use person::{Forgotten, Kept, KeptCard, KeptDecision, Personal};
pub use record::{InvoiceRecord, InvoiceStatus, JobRecord, JobStatus, Record, Stream, VisitRecord};
pub use review::{ApiKey, AskOf, Review};
pub use switches::{Share, Switches};
pub use tally::{DayTally, OpenTally};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

text_id! {
    /// An opaque id of Jobber: padded base64 of `gid://Jobber/Job/123` (`api-behaviour.md` §3, Formats).
    EncodedId
}
text_id! {
    /// A connected Jobber account: the `EncodedId` of GraphQL's `account.id`.
    AccountId
}
text_id! {
    /// One ask. It is derived from account, trigger and work, so the same work gives the same id.
    AskId
}
text_id! {
    /// One message to a receiver: its webhook id and idempotency key, the same for every attempt.
    MessageId
}
text_id! {
    /// The short public name of a one-time link. It is not the link's secret.
    LinkId
}

impl MessageId {
    /// The id of a message about a change. The parts identify the change.
    pub fn of_change(parts: &[&str]) -> Self {
        Self(format!("evt_{}", digest::short(parts)))
    }
}

impl From<&AskId> for MessageId {
    /// An ask is sent under its own id.
    fn from(ask: &AskId) -> Self {
        Self(ask.0.clone())
    }
}

/// The event in a contractor's work that makes a customer due for an ask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A job was closed. Once per job.
    #[default]
    JobCompleted,
    /// A visit was completed. Once per visit.
    VisitCompleted,
    /// An invoice was first seen. Once per invoice.
    InvoiceCreated,
    /// An invoice became paid. Once per invoice.
    InvoicePaid,
}

impl Trigger {
    /// All four, the recommended one first.
    pub const ALL: [Self; 4] =
        [Self::JobCompleted, Self::VisitCompleted, Self::InvoiceCreated, Self::InvoicePaid];

    /// The name used in configuration, payloads and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JobCompleted => "job_completed",
            Self::VisitCompleted => "visit_completed",
            Self::InvoiceCreated => "invoice_created",
            Self::InvoicePaid => "invoice_paid",
        }
    }

    /// The stream with the records for this trigger.
    pub fn stream(self) -> Stream {
        match self {
            Self::JobCompleted => Stream::Jobs,
            Self::VisitCompleted => Stream::Visits,
            Self::InvoiceCreated | Self::InvoicePaid => Stream::Invoices,
        }
    }

    /// The kind of work that is finished when this trigger fires.
    pub fn work_kind(self) -> WorkKind {
        match self.stream() {
            Stream::Jobs => WorkKind::Job,
            Stream::Visits => WorkKind::Visit,
            Stream::Invoices => WorkKind::Invoice,
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Trigger {
    type Err = UnknownTrigger;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|trigger| trigger.as_str() == text).ok_or(UnknownTrigger)
    }
}

/// The text is not a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use one of job_completed, visit_completed, invoice_created, invoice_paid")]
pub struct UnknownTrigger;

/// What a piece of work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkKind {
    /// A job.
    Job,
    /// One visit of a job.
    Visit,
    /// An invoice.
    Invoice,
    /// A client's card. Events can be about one, asks cannot.
    Client,
    /// Any other record. Only events are about one.
    Record,
}

impl WorkKind {
    /// The name used in keys and output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Visit => "visit",
            Self::Invoice => "invoice",
            Self::Client => "client",
            Self::Record => "record",
        }
    }
}

/// One piece of work inside an account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WorkRef {
    /// Job, visit or invoice.
    pub kind: WorkKind,
    /// Jobber's id of it.
    pub id: EncodedId,
}

impl WorkRef {
    /// Names the job `id`.
    pub fn job(id: EncodedId) -> Self {
        Self { kind: WorkKind::Job, id }
    }

    /// Names the visit `id`.
    pub fn visit(id: EncodedId) -> Self {
        Self { kind: WorkKind::Visit, id }
    }

    /// Names the invoice `id`.
    pub fn invoice(id: EncodedId) -> Self {
        Self { kind: WorkKind::Invoice, id }
    }
}

impl fmt::Display for WorkRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_reads_back_what_it_writes() {
        for trigger in Trigger::ALL {
            assert_eq!(trigger.as_str().parse(), Ok(trigger));
            assert_eq!(serde_json::to_string(&trigger).unwrap(), format!("\"{trigger}\""));
        }
        assert_eq!("job_done".parse::<Trigger>(), Err(UnknownTrigger));
    }
}
