//! What is watched beside asks: topics, and a client's card: how the client is called and reached.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EncodedId, Stream};

/// What can be watched and told to whoever listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WatchTopic {
    /// How a client is called or reached.
    #[serde(rename = "client.updated")]
    ClientUpdated,
    /// Anything of a job.
    #[serde(rename = "job.updated")]
    JobUpdated,
    /// A visit's completion.
    #[serde(rename = "visit.completed")]
    VisitCompleted,
    /// Anything of an invoice.
    #[serde(rename = "invoice.updated")]
    InvoiceUpdated,
}

impl WatchTopic {
    /// Its name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientUpdated => "client.updated",
            Self::JobUpdated => "job.updated",
            Self::VisitCompleted => "visit.completed",
            Self::InvoiceUpdated => "invoice.updated",
        }
    }

    /// The stream it is found in; none for clients, which no trigger follows.
    pub fn stream(self) -> Option<Stream> {
        match self {
            Self::ClientUpdated => None,
            Self::JobUpdated => Some(Stream::Jobs),
            Self::VisitCompleted => Some(Stream::Visits),
            Self::InvoiceUpdated => Some(Stream::Invoices),
        }
    }
}

/// A card. Field names are a promise to receivers of `client.updated`.
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
    /// Its numbers.
    pub phones: Vec<SnapshotPhone>,
    /// Its addresses.
    pub emails: Vec<SnapshotEmail>,
    /// Last change of anything on it.
    pub updated_at: Timestamp,
}

/// A number on a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPhone {
    /// As Jobber normalises it, or as it was written.
    pub number: String,
    /// Whether it takes texts.
    pub takes_texts: bool,
    /// Whether it is the first to use.
    pub is_primary: bool,
}

/// An address on a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotEmail {
    /// The address.
    pub address: String,
    /// Whether it is the first to use.
    pub is_primary: bool,
}

impl ClientSnapshot {
    /// Whether anything that is watched differs: a note or a visit touches a card too.
    pub fn differs(&self, other: &Self) -> bool {
        Self { updated_at: other.updated_at, ..self.clone() } != *other
    }
}
