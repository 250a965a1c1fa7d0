//! Something that happened and that a rule waits for.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, AskId, EncodedId, WorkRef};

/// It is stored in the commit of what happened, and deleted when every rule has had its turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Names it: the same thing has the same id.
    pub id: String,
    /// What happened, as rules call it.
    pub what: String,
    pub account: AccountId,
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<WorkRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<AskId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<EncodedId>,
    /// The record of an event of Jobber's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<EncodedId>,
    /// When that event came, by our clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<Timestamp>,
}
