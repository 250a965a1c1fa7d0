//! The rules of an account: the settings, and what the account overrides. Pure.

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::message::{Greet, Texts};
use crate::domain::model::{Account, Share, Switches, Trigger};
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
    /// Which of Jobber's switches on jobs and invoices count.
    pub respected: Respected,
    pub policy: Arc<Policy>,
    pub texts: Texts,
}

/// Which of Jobber's `allowReviewRequest` switches count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Respected {
    pub on_jobs: bool,
    pub on_invoices: bool,
}

impl Respected {
    pub const ALL: Self = Self { on_jobs: true, on_invoices: true };

    /// What `switch` means for an account. Switches that were never counted are respected.
    pub fn of(switch: JobberSwitch, counted: Option<&Switches>) -> Self {
        let respects = |share: fn(&Switches) -> Share| match switch {
            JobberSwitch::Respect => true,
            JobberSwitch::Ignore => false,
            JobberSwitch::Auto => !counted.is_some_and(|counted| share(counted).is_nearly_all()),
        };
        Self { on_jobs: respects(|counted| counted.jobs), on_invoices: respects(|counted| counted.invoices) }
    }
}

/// What an operator should know about the switches of an account, a sentence each.
pub fn remarks(trigger: Trigger, policy: &Policy, counted: &Switches) -> Vec<String> {
    let Policy { jobber_switch: switch, phones, .. } = *policy;
    let mut remarks = Vec::new();
    for (share, what) in [(counted.jobs, "finished jobs"), (counted.invoices, "invoices")] {
        let Share { seen, off } = share;
        let means = match switch {
            JobberSwitch::Auto => "this switch is ignored (review.jobber_switch is auto)",
            JobberSwitch::Respect => "this work is skipped (review.jobber_switch is respect)",
            JobberSwitch::Ignore => continue,
        };
        if share.is_nearly_all() {
            remarks.push(format!(
                "review requests are off in Jobber for {off} of the {seen} {what} that changed last: {means}"
            ));
        }
    }
    if counted.clients.is_most() {
        let Share { seen, off } = counted.clients;
        remarks.push(format!(
            "{off} of the {seen} clients of the finished jobs that changed last receive no review requests (a setting on their client cards in Jobber): they are not asked"
        ));
    }
    if counted.texts.is_all() && phones == Phones::SmsAllowed {
        remarks.push(format!(
            "none of the {} clients with a phone (of the finished jobs that changed last) has one that Jobber marks as taking texts: if they may be texted, set review.phones to any",
            counted.texts.seen
        ));
    }
    if trigger == Trigger::JobCompleted && counted.one_off.is_most() {
        let Share { seen, off } = counted.one_off;
        remarks.push(format!(
            "{off} of the {seen} jobs that changed last are recurring: they stay open for a long time, so the trigger visit_completed would ask after each visit (account set)"
        ));
    }
    remarks
}

/// Whether Jobber's `allowReviewRequest` on a job or invoice counts. It belongs to the review text that Jobber
/// itself sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobberSwitch {
    /// It counts, unless it is off on nearly all records.
    Auto,
    /// It counts.
    Respect,
    /// It does not count.
    Ignore,
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
    /// Words of which one must be in the name of the work.
    pub only_named: Vec<String>,
    /// Words that must not be in it.
    pub not_named: Vec<String>,
    pub clients: KindOfClients,
    pub jobber_switch: JobberSwitch,
    /// How long before its close the last completed visit of a job may lie.
    pub last_visit_within: SignedDuration,
    /// This many works that finish within an hour are never held as a burst. Zero means that nothing is.
    pub burst_above: u32,
    pub greet: Greet,
    pub phones: Phones,
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
            only_named: vec![],
            not_named: vec![],
            clients: KindOfClients::All,
            jobber_switch: JobberSwitch::Auto,
            last_visit_within: SignedDuration::from_hours(14 * 24),
            burst_above: 20,
            greet: Greet::Contact,
            phones: Phones::SmsAllowed,
        }
    }
}

/// Which phone numbers an ask may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phones {
    /// Those that Jobber marks as taking texts.
    SmsAllowed,
    /// Any.
    Any,
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

    /// Whether customers are asked at `at`.
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.window.is_open(&self.zone, at)
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
            respected: self.respected(account.switches.as_ref().map(|(_, counted)| counted)),
            policy: Arc::clone(&self.policy),
            texts: self.texts.clone(),
        }
    }

    /// Which switches count for an account with these.
    pub fn respected(&self, counted: Option<&Switches>) -> Respected {
        Respected::of(self.policy.jobber_switch, counted)
    }

    pub fn hours_of(&self, account: &Account) -> LocalHours {
        LocalHours::new(Arc::clone(&self.window), self.zone_of(account))
    }

    pub fn zone_of(&self, account: &Account) -> TimeZone {
        let told = || account.timezone.as_deref().and_then(zone);
        self.own_zone.clone().or_else(told).unwrap_or_else(|| self.zone.clone())
    }
}
