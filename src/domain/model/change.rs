//! Changes that are watched besides asks: their topics, and a client's name and contacts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EncodedId, Stream};

/// What can be watched and reported to `events.webhook_url`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WatchTopic {
    /// A client's name or contacts changed.
    #[serde(rename = "client.updated")]
    ClientUpdated,
    /// Anything of a job changed.
    #[serde(rename = "job.updated")]
    JobUpdated,
    /// A visit was completed.
    #[serde(rename = "visit.completed")]
    VisitCompleted,
    /// Anything of an invoice changed.
    #[serde(rename = "invoice.updated")]
    InvoiceUpdated,
}

impl WatchTopic {
    /// The topic's name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientUpdated => "client.updated",
            Self::JobUpdated => "job.updated",
            Self::VisitCompleted => "visit.completed",
            Self::InvoiceUpdated => "invoice.updated",
        }
    }

    /// The stream it is found in. None for clients, which no trigger follows.
    pub fn stream(self) -> Option<Stream> {
        match self {
            Self::ClientUpdated => None,
            Self::JobUpdated => Some(Stream::Jobs),
            Self::VisitCompleted => Some(Stream::Visits),
            Self::InvoiceUpdated => Some(Stream::Invoices),
        }
    }
}

/// A client's card. Receivers of `client.updated` rely on the field names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSnapshot {
    /// Jobber's id.
    pub id: EncodedId,
    /// Display name.
    pub name: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// The company's name.
    pub company_name: Option<String>,
    /// Whether the card is archived.
    pub is_archived: bool,
    /// The client's switch for review requests.
    pub receives_review_requests: bool,
    /// The client's phone numbers.
    pub phones: Vec<SnapshotPhone>,
    /// The client's e-mail addresses.
    pub emails: Vec<SnapshotEmail>,
    /// Last change of anything on the card.
    pub updated_at: Timestamp,
}

/// A phone number on a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPhone {
    /// As Jobber normalises it, or else as it was typed.
    pub number: String,
    /// Whether it accepts text messages.
    pub takes_texts: bool,
    /// Whether it is the client's main number.
    pub is_primary: bool,
}

/// An e-mail address on a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotEmail {
    /// The address.
    pub address: String,
    /// Whether it is the client's main address.
    pub is_primary: bool,
}

impl ClientSnapshot {
    /// Whether a watched field differs. Notes and visits change a card's `updated_at` too.
    pub fn differs(&self, other: &Self) -> bool {
        Self { updated_at: other.updated_at, ..self.clone() } != *other
    }
}

/// What was last reported of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Seen {
    /// Its content, and the instant of its change.
    Content {
        /// When it changed.
        at: Timestamp,
        /// A digest of the reported fields.
        digest: String,
    },
    /// Only the instant, as earlier versions noted it.
    Instant(Timestamp),
}

impl Seen {
    /// The instant of the change.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Content { at, .. } | Self::Instant(at) => *at,
        }
    }

    /// Whether a record with this instant and content was reported already. Jobber's instants are whole seconds: with
    /// the same one, the content tells.
    pub fn is_current(&self, at: Timestamp, digest: &str) -> bool {
        match self {
            Self::Content { at: seen, digest: known } => *seen > at || *seen == at && known == digest,
            Self::Instant(seen) => *seen >= at,
        }
    }
}
