//! The rules an account asks by: what the settings say, and what is the account's own. Pure.

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::message::Texts;
use crate::domain::model::{Account, Trigger};
use crate::domain::window::{Window, zone};

/// The rules of one account.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What fires an ask.
    pub trigger: Trigger,
    /// From completion to the earliest ask.
    pub delay: SignedDuration,
    /// Work finished longer ago than this is stale and not asked about.
    pub max_age: SignedDuration,
    /// Whether `invoice_created` counts drafts.
    pub include_drafts: bool,
    /// Work finished before this instant is never asked about: the first connection, or the day the
    /// trigger was changed.
    pub asks_from: Timestamp,
    /// When customers may be asked.
    pub hours: LocalHours,
    /// Who may be asked.
    pub policy: Arc<Policy>,
    /// What is said.
    pub texts: Texts,
}

/// Who may be asked, besides what Jobber's own switches say.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// From one ask of a person to the next; zero is no cooldown.
    pub cooldown: SignedDuration,
    /// Whether an ask through any account counts, or only through the same.
    pub across_accounts: bool,
    /// Everything is decided and nothing is sent.
    pub shadow: bool,
    /// Clients with this tag are never asked.
    pub never_tag: Option<String>,
    /// Clients with this tag wait until it is gone, or the work is stale.
    pub hold_tag: Option<String>,
    /// What the work must come to at least, in whole currency units.
    pub min_total: Option<f64>,
    /// Where there are any: only work whose title holds one of these words.
    pub only_titles: Vec<String>,
    /// Not work whose title holds one of these words.
    pub not_titles: Vec<String>,
    /// People, companies, or both.
    pub clients: KindOfClients,
}

impl Default for Policy {
    /// Everybody, always.
    fn default() -> Self {
        Self {
            cooldown: SignedDuration::ZERO,
            across_accounts: false,
            shadow: false,
            never_tag: None,
            hold_tag: None,
            min_total: None,
            only_titles: vec![],
            not_titles: vec![],
            clients: KindOfClients::All,
        }
    }
}

/// Which cards are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KindOfClients {
    /// All.
    All,
    /// Those of people.
    People,
    /// Those of companies.
    Companies,
}

/// The window, in somebody's own time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalHours {
    window: Arc<Window>,
    zone: TimeZone,
}

impl LocalHours {
    /// `window` in `zone`.
    pub fn new(window: Arc<Window>, zone: TimeZone) -> Self {
        Self { window, zone }
    }

    /// Day and night.
    pub fn always() -> Self {
        Self::new(Arc::new(Window::always()), TimeZone::UTC)
    }

    /// When what falls due at `at` may leave: at once, or after the next opening.
    pub fn leaves(&self, at: Timestamp) -> Timestamp {
        // The settings refuse a window that never opens.
        self.window.leaves(&self.zone, at).unwrap_or(Timestamp::MAX)
    }
}

/// The rules that accounts with the same settings share.
#[derive(Debug, Clone)]
pub struct SharedRules {
    /// From completion to the ask.
    pub delay: SignedDuration,
    /// Work finished longer ago is stale.
    pub max_age: SignedDuration,
    /// Whether `invoice_created` counts drafts.
    pub include_drafts: bool,
    /// Who may be asked.
    pub policy: Arc<Policy>,
    /// What is said.
    pub texts: Texts,
    /// When customers may be asked.
    pub window: Arc<Window>,
    /// The time zone of accounts that have told none.
    pub zone: TimeZone,
    /// The time zone that counts whatever an account has told.
    pub own_zone: Option<TimeZone>,
}

impl SharedRules {
    /// The rules of one account.
    pub fn of(&self, account: &Account) -> Rules {
        Rules {
            trigger: account.trigger,
            delay: self.delay,
            max_age: self.max_age,
            include_drafts: self.include_drafts,
            asks_from: account.asks_from,
            hours: self.hours_of(account),
            policy: Arc::clone(&self.policy),
            texts: self.texts.clone(),
        }
    }

    /// When customers of this account may be asked.
    pub fn hours_of(&self, account: &Account) -> LocalHours {
        LocalHours::new(Arc::clone(&self.window), self.zone_of(account))
    }

    /// Where the account lives.
    pub fn zone_of(&self, account: &Account) -> TimeZone {
        let told = || account.timezone.as_deref().and_then(zone);
        self.own_zone.clone().or_else(told).unwrap_or_else(|| self.zone.clone())
    }
}
