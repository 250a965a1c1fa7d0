//! The rules an account asks by: what the settings say, and what is the account's own. Pure.

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::model::{Account, Trigger};
use crate::window::{Window, zone};

/// The rules of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// The rules that all accounts share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedRules {
    /// From completion to the ask.
    pub delay: SignedDuration,
    /// Work finished longer ago is stale.
    pub max_age: SignedDuration,
    /// Whether `invoice_created` counts drafts.
    pub include_drafts: bool,
    /// When customers may be asked.
    pub window: Arc<Window>,
    /// The time zone of accounts that have told none.
    pub zone: TimeZone,
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
        }
    }

    /// When customers of this account may be asked.
    pub fn hours_of(&self, account: &Account) -> LocalHours {
        let zone = account.timezone.as_deref().and_then(zone).unwrap_or_else(|| self.zone.clone());
        LocalHours::new(Arc::clone(&self.window), zone)
    }
}
