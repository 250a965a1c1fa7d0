//! A connected account: its connection, its own settings, and how its sweeps go.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, EncodedId, Stream, Trigger};

/// A connected Jobber account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Jobber's id of the account.
    pub id: AccountId,
    /// The account's name in Jobber.
    pub name: String,
    /// The name the admin gave when making the link.
    pub label: String,
    /// What fires an ask.
    pub trigger: Trigger,
    /// When it was first connected.
    pub connected_at: Timestamp,
    /// Work finished before this is never asked about: the first connection, or the last change of trigger.
    pub asks_from: Timestamp,
    /// Whether Jobber still lets us in.
    pub connection: Connection,
    /// High-water instant of each stream that was swept.
    #[serde(default)]
    pub watermarks: BTreeMap<Stream, Timestamp>,
    /// When the look-back over the whole `max_age` window last succeeded.
    #[serde(default)]
    pub reconciled_at: Option<Timestamp>,
    /// The time zone of the user who authorised, as Jobber names it; `None` as long as it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Since when an admin has it rest: nothing is read, decided or sent, and what waits is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Timestamp>,
    /// What it does otherwise than `[review]` says.
    #[serde(default, skip_serializing_if = "Overrides::is_empty")]
    pub overrides: Overrides,
    /// Where the next look at its clients begins, if they are watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients_watermark: Option<Timestamp>,
    /// Where the next look at each stream begins that is watched for whoever listens.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub watched: BTreeMap<Stream, Timestamp>,
    /// Who at Jobber sends its events, by topic: Jobber cannot list them (`api-behaviour.md` §4).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoints: BTreeMap<String, EncodedId>,
}

impl Account {
    /// An account that was connected just now, at `at`.
    pub fn new(id: AccountId, name: String, label: String, trigger: Trigger, at: Timestamp) -> Self {
        Self {
            id,
            name,
            label,
            trigger,
            connected_at: at,
            asks_from: at,
            connection: Connection::Connected,
            watermarks: BTreeMap::new(),
            reconciled_at: None,
            timezone: None,
            paused_at: None,
            overrides: Overrides::default(),
            clients_watermark: None,
            watched: BTreeMap::new(),
            endpoints: BTreeMap::new(),
        }
    }

    /// Whether there is anything to read and to decide for it now.
    pub fn is_active(&self) -> bool {
        self.connection.is_connected() && self.paused_at.is_none()
    }

    /// Its state's name in output.
    pub fn state(&self) -> &'static str {
        match (&self.connection, self.paused_at) {
            (Connection::Connected, Some(_)) => "paused",
            (connection, _) => connection.as_str(),
        }
    }
}

/// Settings of one account: keys below `review`, such as `delay` or `window.sunday`, and their values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overrides {
    /// By key.
    pub keys: BTreeMap<String, serde_json::Value>,
    /// A template of the whole body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

impl Overrides {
    /// Whether the account does everything as `[review]` says.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.body.is_none()
    }
}

/// Whether Jobber still lets us in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Connection {
    /// It does, as far as we know.
    Connected,
    /// It does not; only the contractor can mend it, with a link.
    NeedsAuthorization {
        /// Why.
        reason: LostReason,
        /// Since when we know.
        since: Timestamp,
    },
    /// An admin ended it, here and in Jobber.
    Disconnected {
        /// When.
        at: Timestamp,
    },
}

impl Connection {
    /// Whether polling makes sense.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected)
    }

    /// The state's name in output.
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
    /// Jobber refused the refresh token, and an earlier refresh had never been answered: its pair was lost.
    RefreshInterrupted,
    /// The contractor disconnected the app in Jobber.
    DisconnectedInJobber,
    /// The Jobber account is not active any more.
    AccountInactive,
    /// There is no token for this account in the store.
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

/// How the last sweeps of an account went. Kept apart from [`Account`]: losing it costs nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The last sweep that read everything it wanted.
    pub last_success: Option<Timestamp>,
    /// Since when sweeps fail, if they do.
    pub failing_since: Option<Timestamp>,
    /// What the last failure was.
    pub last_error: Option<String>,
    /// Whether that failure needs the operator: it does not heal itself.
    #[serde(default)]
    pub needs_operator: bool,
    /// Since when what is due cannot be read, if it cannot.
    #[serde(default)]
    pub asking_fails_since: Option<Timestamp>,
    /// The last finished work that was seen for the first time.
    #[serde(rename = "last_event")]
    pub last_finished_at: Option<Timestamp>,
    /// The last event that Jobber sent.
    #[serde(rename = "last_webhook", default, skip_serializing_if = "Option::is_none")]
    pub last_webhook_at: Option<Timestamp>,
    /// Finished works that a sweep found since then and no event told of.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unheard: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened, in a sentence.
    pub detail: String,
    /// Whether it needs the operator; otherwise it heals itself.
    pub needs_operator: bool,
}
