//! One-time links and pending authorisations.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, LinkId, Trigger};

/// A one-time link for an authorisation. It is stored under the hash of its secret, without the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The short public name.
    pub id: LinkId,
    /// The operator's name for the account.
    pub label: String,
    /// The trigger that the page proposes.
    pub trigger: Trigger,
    /// Set for a reconnect: only this account can be connected through the link.
    #[serde(default)]
    pub account: Option<AccountId>,
    /// Who the pages speak for, where it is not whoever runs this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand: Option<LinkBrand>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// The link's state.
    #[serde(flatten)]
    pub state: LinkState,
}

/// Name and contact for one link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkBrand {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
}

/// The state of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LinkState {
    /// Its button was not pressed yet.
    Open,
    /// Its button was pressed. Only that browser can continue.
    Started {
        /// Hash of that browser's cookie.
        browser: String,
        /// When it was pressed last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
    /// It connected an account.
    Used {
        /// The account.
        by: AccountId,
        /// When it was connected.
        at: Timestamp,
        /// Hash of the cookie of the browser that did it. Links of earlier versions do not say it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        browser: Option<String>,
    },
    /// The operator revoked it.
    Revoked {
        /// When it was revoked.
        at: Timestamp,
    },
}

/// A pending authorisation at Jobber, stored under the hash of the `state` parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Store key of the link.
    pub link: String,
    /// Hash of the browser's cookie.
    pub browser: String,
    /// The trigger that was chosen.
    pub trigger: Trigger,
    /// An answer after this is refused.
    pub expires_at: Timestamp,
}

/// Whether two names may be of one contractor: one is in the other, or they are spelt nearly alike.
pub fn alike(one: &str, other: &str) -> bool {
    let bare = |name: &str| {
        let letters = name.chars().filter(|char| char.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect::<String>()
    };
    let (one, other) = (bare(one), bare(other));
    one.contains(&other) || other.contains(&one) || strsim::jaro_winkler(&one, &other) > 0.85
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_contractor_are_alike() {
        for (one, other) in [
            ("Ace", "Ace Plumbing, Inc."),
            ("Green-Acre", "green acre landscaping"),
            ("Brite Windows", "Bright Windows"),
        ] {
            assert!(alike(one, other), "{one} {other}");
        }
        assert!(!alike("Ace Plumbing", "Bright Windows"));
    }
}
