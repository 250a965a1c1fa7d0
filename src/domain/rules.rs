//! The rules of an account: the settings, and what the account overrides. Pure.

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::message::Texts;
use crate::domain::model::{Account, Trigger};
use crate::domain::window::{Window, zone};

#[derive(Debug, Clone)]
pub struct Rules {
    pub trigger: Trigger,
    pub delay: SignedDuration,
    pub max_age: SignedDuration,
    pub include_drafts: bool,
    /// Work finished before this is never asked about: the first connection, or the last change of the
    /// trigger.
    pub asks_from: Timestamp,
    pub hours: LocalHours,
    pub policy: Arc<Policy>,
    pub texts: Texts,
}

/// Who may be asked, in addition to Jobber's own switches.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Time between two asks of the same person. Zero means no cooldown.
    pub cooldown: SignedDuration,
    /// Whether asks through any account count, or only those of the same account.
    pub across_accounts: bool,
    /// Everything is decided but nothing is sent.
    pub shadow: bool,
    pub never_tag: Option<String>,
    /// Clients with this tag wait until the tag is gone or the work is too old.
    pub hold_tag: Option<String>,
    /// Minimum total of the work, in whole currency units.
    pub min_total: Option<f64>,
    pub only_titles: Vec<String>,
    pub not_titles: Vec<String>,
    pub clients: KindOfClients,
}

impl Default for Policy {
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KindOfClients {
    All,
    People,
    Companies,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalHours {
    window: Arc<Window>,
    zone: TimeZone,
}

impl LocalHours {
    pub fn new(window: Arc<Window>, zone: TimeZone) -> Self {
        Self { window, zone }
    }

    pub fn always() -> Self {
        Self::new(Arc::new(Window::always()), TimeZone::UTC)
    }

    /// When something due at `at` may leave: at once, or after the next opening.
    pub fn leaves(&self, at: Timestamp) -> Timestamp {
        // The settings refuse a window that never opens.
        self.window.leaves(&self.zone, at).unwrap_or(Timestamp::MAX)
    }
}

#[derive(Debug, Clone)]
pub struct SharedRules {
    pub delay: SignedDuration,
    pub max_age: SignedDuration,
    pub include_drafts: bool,
    pub policy: Arc<Policy>,
    pub texts: Texts,
    pub window: Arc<Window>,
    /// The time zone of accounts with an unknown one.
    pub zone: TimeZone,
    /// If set, the time zone of every account, whatever Jobber says.
    pub own_zone: Option<TimeZone>,
}

impl SharedRules {
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

    pub fn hours_of(&self, account: &Account) -> LocalHours {
        LocalHours::new(Arc::clone(&self.window), self.zone_of(account))
    }

    pub fn zone_of(&self, account: &Account) -> TimeZone {
        let told = || account.timezone.as_deref().and_then(zone);
        self.own_zone.clone().or_else(told).unwrap_or_else(|| self.zone.clone())
    }
}
