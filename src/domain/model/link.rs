//! One-time links, and authorisations under way.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, LinkId, Trigger};

/// A one-time authorisation link. Its secret is not here, only the secret's hash is its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The short name admins see.
    pub id: LinkId,
    /// Whom it is for.
    pub label: String,
    /// The trigger the page proposes.
    pub trigger: Trigger,
    /// For mending a known account: no other may be connected through it.
    #[serde(default)]
    pub account: Option<AccountId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// Where it stands.
    #[serde(flatten)]
    pub state: LinkState,
}

/// Where a link stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LinkState {
    /// Nobody pressed its button yet.
    Open,
    /// Somebody pressed its button: only that browser can go on with it.
    Started {
        /// Hash of that browser's cookie.
        browser: String,
    },
    /// It connected an account.
    Used {
        /// Which one.
        by: AccountId,
        /// When.
        at: Timestamp,
    },
    /// An admin revoked it.
    Revoked {
        /// When.
        at: Timestamp,
    },
}

/// An authorisation under way at Jobber: what the `state` parameter stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Key of the link it began with.
    pub link: String,
    /// Hash of the browser's cookie.
    pub browser: String,
    /// The trigger that was chosen.
    pub trigger: Trigger,
    /// After this the answer is refused.
    pub expires_at: Timestamp,
}
