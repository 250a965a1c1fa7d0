//! A client's card as it is watched: how the client is called and reached.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::EncodedId;

/// A card. Field names are a promise to receivers of `client.updated`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCard {
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
    pub phones: Vec<CardPhone>,
    /// Its addresses.
    pub emails: Vec<CardEmail>,
    /// Last change of anything on it.
    pub updated_at: Timestamp,
}

/// A number on a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardPhone {
    /// As Jobber normalises it, or as it was written.
    pub number: String,
    /// Whether it takes texts.
    pub takes_texts: bool,
    /// Whether it is the first to use.
    pub is_primary: bool,
}

/// An address on a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardEmail {
    /// The address.
    pub address: String,
    /// Whether it is the first to use.
    pub is_primary: bool,
}

impl ClientCard {
    /// Whether anything that is watched differs: a note or a visit touches a card too.
    pub fn differs(&self, other: &Self) -> bool {
        Self { updated_at: other.updated_at, ..self.clone() } != *other
    }
}
