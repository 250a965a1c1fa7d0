//! A connected account: its connection, its own settings, and the health of its sweeps.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, LinkBrand, Stream, Switches, Trigger};

/// A connected Jobber account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Jobber's id of the account.
    pub id: AccountId,
    /// The account's name in Jobber.
    pub name: String,
    /// The operator's name for the account, given with the link.
    pub label: String,
    /// Who its pages speak for, as its last link said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand: Option<LinkBrand>,
    /// The event that makes a customer due for an ask.
    pub trigger: Trigger,
    /// When it was first connected.
    pub connected_at: Timestamp,
    /// Work finished before this is never asked about: the first connection, or the last change of the
    /// trigger.
    pub asks_from: Timestamp,
    /// Whether Jobber accepts the account's tokens.
    pub connection: Connection,
    /// The watermark of each stream that was swept.
    #[serde(default)]
    pub watermarks: BTreeMap<Stream, Timestamp>,
    /// When a sweep over the whole `max_age` window last succeeded.
    #[serde(default)]
    pub reconciled_at: Option<Timestamp>,
    /// Time zone of the user who authorised, as Jobber names it. `None` if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// When Jobber's switches were last counted, and the result. `None` if they never were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switches: Option<(Timestamp, Switches)>,
    /// Since when the operator paused it. Nothing is read, decided or sent; queued work is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Timestamp>,
    /// Settings that differ from `[review]`.
    #[serde(default, skip_serializing_if = "Overrides::is_empty")]
    pub overrides: Overrides,
    /// Where the next look at its clients begins, if clients are watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients_watermark: Option<Timestamp>,
    /// When clients began to be watched. What changed before is no news.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients_since: Option<Timestamp>,
    /// When each watched stream began to be watched.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub watched_since: BTreeMap<Stream, Timestamp>,
    /// Where the next look at each watched stream begins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub watched: BTreeMap<Stream, Timestamp>,
    /// Whether Jobber is to send its events.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub events: bool,
    /// Whether the operator ended its events: then `events.enabled` does not begin them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub events_ended: bool,
    /// What became of the connection, the oldest first, at most [`HISTORY`]. Older stores have none from before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Moment>,
    /// The end of the last week that was mailed to the contractor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest_told: Option<Timestamp>,
}

/// How many moments of its connection an account keeps.
pub const HISTORY: usize = 20;

/// When something became of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    pub at: Timestamp,
    #[serde(flatten)]
    pub turn: Turn,
}

/// What became of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Turn {
    /// The contractor authorised, for the first time or again.
    Connected,
    /// Jobber no longer accepts the tokens.
    Lost {
        reason: LostReason,
    },
    /// The operator ended it.
    Disconnected,
    Paused,
    Resumed,
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.pad("connected"),
            Self::Lost { reason } => write!(f, "lost: {reason}"),
            Self::Disconnected => f.pad("disconnected by the operator"),
            Self::Paused => f.pad("paused"),
            Self::Resumed => f.pad("resumed"),
        }
    }
}

impl Account {
    /// Adds to the history of its connection; what is too much falls off at the old end.
    pub fn note(&mut self, turn: Turn, at: Timestamp) {
        self.history.push(Moment { at, turn });
        let too_many = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..too_many);
    }

    /// An account that was connected at `at`.
    pub fn new(id: AccountId, name: String, label: String, trigger: Trigger, at: Timestamp) -> Self {
        Self {
            id,
            name,
            label,
            brand: None,
            trigger,
            connected_at: at,
            asks_from: at,
            connection: Connection::Connected,
            watermarks: BTreeMap::new(),
            reconciled_at: None,
            timezone: None,
            switches: None,
            paused_at: None,
            overrides: Overrides::default(),
            clients_watermark: None,
            clients_since: None,
            watched_since: BTreeMap::new(),
            watched: BTreeMap::new(),
            events: false,
            events_ended: false,
            history: vec![Moment { at, turn: Turn::Connected }],
            digest_told: None,
        }
    }

    /// Whether it is connected and not paused.
    pub fn is_active(&self) -> bool {
        self.connection.is_connected() && self.paused_at.is_none()
    }

    /// The name of its state in output.
    pub fn state(&self) -> &'static str {
        match (&self.connection, self.paused_at) {
            (Connection::Connected, Some(_)) => "paused",
            (connection, _) => connection.as_str(),
        }
    }
}

/// Settings of one account: keys below `review`, such as `delay` or `window.sunday`, with their values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overrides {
    /// The values by key.
    pub keys: BTreeMap<String, serde_json::Value>,
    /// A template of the whole body of an ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

impl Overrides {
    /// Whether the account has no settings of its own.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.body.is_none()
    }
}

/// Whether Jobber accepts our tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Connection {
    /// It does, as far as is known.
    Connected,
    /// It does not. Only the contractor can restore it, with a link.
    NeedsAuthorization {
        /// Why it was lost.
        reason: LostReason,
        /// When that was noticed.
        since: Timestamp,
    },
    /// The operator ended it, here and at Jobber.
    Disconnected {
        /// When it was ended.
        at: Timestamp,
    },
}

impl Connection {
    /// Whether the account can be polled.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected)
    }

    /// The name of the state in output.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::NeedsAuthorization { .. } => "needs_authorization",
            Self::Disconnected { .. } => "disconnected",
        }
    }
}

/// Why a connection needs a new authorisation (`api-behaviour.md` §2 and §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostReason {
    /// Jobber refused the refresh token.
    RefreshTokenRefused,
    /// Jobber refused the refresh token, and an earlier refresh was never answered: its new pair was lost.
    RefreshInterrupted,
    /// The contractor disconnected the app in Jobber.
    DisconnectedInJobber,
    /// The Jobber account is no longer active.
    AccountInactive,
    /// The store has no token for this account.
    NoToken,
}

impl LostReason {
    /// One sentence for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::RefreshTokenRefused => {
                "Jobber refused the refresh token (used by another program, Jobber admin deactivated, plan or app changed)"
            }
            Self::RefreshInterrupted => {
                "a token refresh was interrupted (a crash or a lost answer), and the new tokens were lost"
            }
            Self::DisconnectedInJobber => "the app was disconnected in Jobber",
            Self::AccountInactive => "the Jobber account is not active",
            Self::NoToken => "there is no token for this account in the store",
        }
    }
}

impl fmt::Display for LostReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.describe())
    }
}

/// How the last sweeps of an account went. It is stored apart from [`Account`]: losing it is harmless.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The last complete sweep.
    pub last_success: Option<Timestamp>,
    /// Since when sweeps fail, if they do.
    pub failing_since: Option<Timestamp>,
    /// The error of the last failed sweep.
    pub last_error: Option<String>,
    /// Whether that error needs the operator. Other errors heal themselves.
    #[serde(default)]
    pub needs_operator: bool,
    /// Since when due candidates cannot be read, if they cannot.
    #[serde(default)]
    pub asking_fails_since: Option<Timestamp>,
    /// When finished work was last seen for the first time.
    #[serde(rename = "last_event")]
    pub last_finished_at: Option<Timestamp>,
    /// When Jobber last sent an event.
    #[serde(rename = "last_webhook", default, skip_serializing_if = "Option::is_none")]
    pub last_webhook_at: Option<Timestamp>,
    /// Finished works found by sweeps since then without an event.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unheard: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One sentence about what happened.
    pub detail: String,
    /// Whether it needs the operator. Otherwise it heals itself.
    pub needs_operator: bool,
}
