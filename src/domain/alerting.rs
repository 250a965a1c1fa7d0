//! Finds what is wrong and what has changed since the last look. Pure.
//!
//! Conditions are computed from the current state and compared with the alerts raised before. So one trouble
//! makes one alert and one recovery, however many attempts fail meanwhile. Trouble that heals itself gets a
//! grace period; trouble that needs a human is reported at once.

pub mod format;
pub mod weekly;

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use crate::clock::{minus, plus};
use crate::digest;
use crate::domain::model::{
    Account, AccountId, Alert, AlertKind, Burst, Connection, Decision, Health, LostReason, Outcome, Over,
    SkipReason,
};
use crate::domain::rules::Rules;
use crate::domain::webhook_event::Topic;
use crate::text_table::counted;

/// How long Jobber or a receiver may fail before the operator is told. Most outages end earlier.
const GRACE: SignedDuration = SignedDuration::from_mins(30);

pub const SILENCE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The period before the silence over which the usual number of works is counted.
pub const USUALLY: SignedDuration = SignedDuration::from_hours(8 * 7 * 24);

/// Works per week from which silence is unusual.
const BUSY: f64 = 3.0;

/// Jobber cuts a draft app off at this many accounts (`api-behaviour.md` §2). The warning starts at
/// `DRAFT_NEAR`.
pub const DRAFT_LIMIT: usize = 5;
const DRAFT_NEAR: usize = 4;

const VERSION_NEAR: SignedDuration = SignedDuration::from_hours(60 * 24);

/// This many works without an event are no accident. A restart may lose one event.
const UNHEARD: u32 = 3;

/// Clocks that differ by more than this need the operator.
const CLOCK_OFF: SignedDuration = SignedDuration::from_mins(2);

const LATE: SignedDuration = SignedDuration::from_mins(10);

#[derive(Debug, Clone)]
pub struct View {
    /// Those that matter ([`AccountView::matters`]): there can be very many others.
    pub accounts: Vec<AccountView>,
    /// How many accounts are connected.
    pub connected: usize,
    pub receivers: Vec<ReceiverView>,
    pub draft_app: bool,
    pub version_ends: Timestamp,
    /// How far the machine's clock was ahead of Jobber's at its last answer.
    pub ahead: Option<SignedDuration>,
    /// Whether no account is read although sweeps are due.
    pub is_stalled: bool,
    /// Accounts in which rules have trouble: how many times in a day, and the last one.
    pub rules: Vec<(AccountId, usize, String)>,
    /// Accounts with events that were forwarded without their records in the last hour, and how many.
    pub piles: Vec<(AccountId, usize)>,
    /// Topics that Jobber refuses to send: of which accounts, and why.
    pub refused: BTreeMap<Topic, (Vec<AccountId>, String)>,
    /// Records on which the program fails: what they are, and what it said.
    pub faults: Vec<(AccountId, String, String)>,
}

#[derive(Debug, Clone)]
pub struct AccountView {
    pub account: Account,
    pub health: Health,
    pub dead: usize,
    /// Works it usually finishes in a week. Set only if the account is silent.
    pub weekly: Option<f64>,
    /// The burst that waits for the operator.
    pub burst: Option<Burst>,
}

impl AccountView {
    /// Whether anything can be said of the account. `named` are those that [`named`] names.
    pub fn matters(&self, named: &HashSet<&AccountId>, now: Timestamp) -> bool {
        let Health { failing_since, asking_fails_since, needs_operator, .. } = &self.health;
        failing_since.is_some()
            || asking_fails_since.is_some()
            || *needs_operator
            || !of_account(self, now).is_empty()
            || named.contains(&self.account.id)
    }
}

#[derive(Debug, Clone)]
pub struct ReceiverView {
    /// Identifies it without its address.
    pub id: String,
    /// Of one that it belongs to.
    pub name: String,
    /// How many accounts it belongs to.
    pub accounts: usize,
    pub stopped_at: Option<Timestamp>,
    pub delivered_at: Option<Timestamp>,
    /// Creation time of the oldest ask that it did not take.
    pub failing_since: Option<Timestamp>,
    pub last_error: Option<String>,
    pub waiting: usize,
}

/// The accounts that something is said of by name: alerts that stand, and troubles of rules, events and the program.
pub fn named<'a>(
    raised: &'a [Alert],
    rules: &'a [(AccountId, usize, String)],
    piles: &'a [(AccountId, usize)],
    faults: &'a [(AccountId, String, String)],
) -> HashSet<&'a AccountId> {
    let of_troubles = rules.iter().map(|(id, ..)| id).chain(piles.iter().map(|(id, _)| id));
    let all = of_troubles.chain(faults.iter().map(|(id, ..)| id));
    all.chain(raised.iter().filter_map(|alert| alert.account.as_ref())).collect()
}

pub fn conditions(view: &View, now: Timestamp) -> Vec<Alert> {
    let mut found: Vec<Alert> = view.accounts.iter().flat_map(|account| of_account(account, now)).collect();
    found.extend(jobber_unreachable(view, now));
    found.extend(needs_operator(view, now));
    found.extend(view.receivers.iter().filter_map(|receiver| of_receiver(receiver, now)));
    let connected = view.connected;
    if view.draft_app && connected >= DRAFT_NEAR {
        found.push(alert(
            AlertKind::DraftApp,
            "",
            now,
            now,
            format!("{connected} accounts are connected, and Jobber blocks a draft app that is installed on more than {DRAFT_LIMIT} paying accounts"),
            "publish the app in Jobber's developer centre, then set jobber.draft_app = false".to_owned(),
        ));
    }
    if view.is_stalled {
        let action =
            "look at the log, and restart the service if it goes on: systemctl restart jobber-reviewd"
                .to_owned();
        let words = "no account was read in several sweeps, although some should have been".to_owned();
        found.push(alert(AlertKind::SweepsStalled, "", now, now, words, action));
    }
    let name_of = |id: &AccountId| {
        view.accounts.iter().find(|view| view.account.id == *id).map(|view| view.account.name.clone())
    };
    for (account, what, words) in &view.faults {
        let summary = format!("the program fails on {what} again and again ({words})");
        let action =
            "everything else goes on; report it with the log of the panic, and install a newer version"
                .to_owned();
        let of = digest::short(&[account.as_str(), what]);
        let alert = alert(AlertKind::ProgramFault, &of, now, now, summary, action);
        found.push(Alert {
            account: Some(account.clone()),
            account_name: name_of(account),
            accounts: vec![account.clone()],
            ..alert
        });
    }
    for (account, times, last) in &view.rules {
        let (verb, rules) = if *times == 1 { ("was", "rule") } else { ("were", "rules") };
        let summary = format!("{times} {rules} {verb} not carried out in a day, or it is not known: {last}");
        let action =
            format!("look at the record of writes: jobber-reviewd audit --actions --account {account}");
        let alert = alert(AlertKind::RulesFail, account.as_str(), now, now, summary, action);
        found.push(Alert {
            account: Some(account.clone()),
            account_name: name_of(account),
            accounts: vec![account.clone()],
            ..alert
        });
    }
    for (account, events) in &view.piles {
        let were = if *events == 1 { "was" } else { "were" };
        let summary = format!(
            "{} of Jobber's {were} forwarded without the record: too many waited to have it read",
            counted(*events, "event")
        );
        let action = "nothing is lost, and the ids went out: the receiver can read the records itself, or set include = \"ids\"".to_owned();
        let alert = alert(AlertKind::EventsPileUp, account.as_str(), now, now, summary, action);
        found.push(Alert {
            account: Some(account.clone()),
            account_name: name_of(account),
            accounts: vec![account.clone()],
            ..alert
        });
    }
    found.extend(view.refused.iter().map(|(topic, refused)| events_refused(*topic, refused, now)));
    if let Some(ahead) = view.ahead.filter(|ahead| ahead.abs() > CLOCK_OFF) {
        let way = if ahead.is_positive() { "ahead of" } else { "behind" };
        let words = format!("the machine's clock is {} {way} Jobber's", in_words(ahead.abs()));
        let action = "set the clock, and let a time service keep it (timedatectl set-ntp true)".to_owned();
        found.push(alert(AlertKind::ClockOff, "", now, now, words, action));
    }
    if now >= minus(view.version_ends, VERSION_NEAR) {
        let day = view.version_ends.strftime("%Y-%m-%d");
        let action = "install a newer jobber-reviewd before then".to_owned();
        let words = format!("Jobber guarantees the API version that this program uses only until {day}");
        found.push(alert(AlertKind::ApiVersion, "", now, now, words, action));
    }
    found
}

fn events_refused(topic: Topic, (accounts, why): &(Vec<AccountId>, String), now: Timestamp) -> Alert {
    let topic = topic.as_str();
    let summary = format!("Jobber refuses to send {topic} of {}: {why}", counted(accounts.len(), "account"));
    let action = "give the app the scope that reads such records in Jobber's developer centre and let the contractors open a new link, or take the topic out of the settings; the other topics go on".to_owned();
    let alert = alert(AlertKind::EventsRefused, topic, now, now, summary, action);
    Alert { accounts: accounts.clone(), ..alert }
}

fn in_words(time: SignedDuration) -> String {
    let minutes = usize::try_from(time.as_mins()).unwrap_or(usize::MAX);
    match minutes {
        0..180 => counted(minutes, "minute"),
        180..4320 => counted(minutes / 60, "hour"),
        _ => counted(minutes / 60 / 24, "day"),
    }
}

fn alert(
    kind: AlertKind,
    of: &str,
    since: Timestamp,
    now: Timestamp,
    summary: String,
    action: String,
) -> Alert {
    Alert {
        key: format!("{kind}/{of}"),
        kind,
        account: None,
        account_name: None,
        accounts: vec![],
        since,
        raised_at: now,
        summary,
        action,
        held_up: 0,
        told: false,
        over: None,
    }
}

fn of_account(view: &AccountView, now: Timestamp) -> Vec<Alert> {
    let AccountView { account, health, dead, weekly, burst } = view;
    let id = account.id.as_str();
    let mut found = Vec::new();
    if let Connection::NeedsAuthorization { reason, since } = account.connection {
        let more = match reason {
            LostReason::RefreshTokenRefused => {
                "; if a second copy of this daemon runs with this store, stop it first"
            }
            LostReason::AccountInactive => "; ask the contractor whether the Jobber plan has ended",
            _ => "",
        };
        let summary = format!("{} is no longer connected: {reason}", account.name);
        let action = format!("send the contractor a new link{more}");
        found.push(alert(AlertKind::ConnectionLost, id, since, now, summary, action));
    }
    if *dead > 0 {
        let summary = format!("{} of {} could not be delivered", counted(*dead, "ask"), account.name);
        let action = "run: jobber-reviewd queue list; then use queue retry, queue drop or replay".to_owned();
        found.push(alert(AlertKind::DeadLetters, id, now, now, summary, action));
    }
    if account.is_active()
        && let Some(weekly) = weekly.filter(|weekly| *weekly >= BUSY)
    {
        let since = health.last_finished_at.unwrap_or(account.connected_at);
        let summary = format!(
            "{} usually finishes {weekly:.0} pieces of work a week, but none in the last 7 days",
            account.name
        );
        let action =
            "ask the contractor whether work is still closed in Jobber, and check the trigger".to_owned();
        found.push(alert(AlertKind::NoWork, id, since, now, summary, action));
    }
    if account.is_active() && account.events && health.unheard >= UNHEARD {
        let since = health.last_webhook_at.unwrap_or(account.connected_at);
        let summary =
            format!("Jobber no longer sends events of {}; sweeps still find its work", account.name);
        let action =
            format!("run: jobber-reviewd events disable --account {id}; then: events enable --account {id}");
        found.push(alert(AlertKind::EventsStopped, id, since, now, summary, action));
    }
    found.extend(burst.as_ref().map(|burst| burst_held(account, burst, now)));
    for alert in &mut found {
        alert.account = Some(account.id.clone());
        alert.accounts = vec![account.id.clone()];
        alert.account_name = Some(account.name.clone());
    }
    found
}

fn burst_held(account: &Account, burst: &Burst, now: Timestamp) -> Alert {
    let Burst { noticed_at, begun_at, ended_at, works, usual, examples } = burst;
    let took = ended_at.duration_since(*begun_at).max(SignedDuration::from_mins(1));
    let works = usize::try_from(*works).unwrap_or(usize::MAX);
    let summary = format!(
        "{} of {} finished within {}, and a usual day has {usual}: they are held. Examples: {}",
        counted(works, "work"),
        account.name,
        in_words(took),
        examples.join(", ")
    );
    let id = &account.id;
    let action = format!(
        "if it was a clean-up, run: jobber-reviewd queue drop-burst --account {id}; if all of it is real, run: queue release-burst --account {id}"
    );
    let held_up = works;
    Alert { held_up, ..alert(AlertKind::BurstHeld, id.as_str(), *noticed_at, now, summary, action) }
}

/// One alert for all accounts: there is only one Jobber.
fn jobber_unreachable(view: &View, now: Timestamp) -> Option<Alert> {
    let failing: Vec<(&AccountView, Timestamp)> = view
        .accounts
        .iter()
        .filter(|view| view.account.is_active() && !view.health.needs_operator)
        .filter_map(|view| Some((view, view.health.failing_since.or(view.health.asking_fails_since)?)))
        .collect();
    let first = failing.iter().map(|(_, since)| *since).min();
    let first = first.filter(|first| now.duration_since(*first) >= GRACE)?;
    let error = failing.iter().find_map(|(view, _)| view.health.last_error.as_deref());
    let (accounts, error) = (failing.len(), error.unwrap_or("due work cannot be read"));
    let summary = format!("{} cannot be read: {error}", counted(accounts, "account"));
    let action = "nothing to do: every sweep tries again, and the problem goes away by itself".to_owned();
    let accounts = failing.iter().map(|(view, _)| view.account.id.clone()).collect();
    Some(Alert { accounts, ..alert(AlertKind::JobberUnreachable, "", first, now, summary, action) })
}

/// One alert per distinct trouble: a wrong client secret fails every account alike.
fn needs_operator(view: &View, now: Timestamp) -> Vec<Alert> {
    let mut found: Vec<(Alert, usize)> = Vec::new();
    for AccountView { account, health, .. } in &view.accounts {
        let Some(error) = health.last_error.as_ref().filter(|_| health.needs_operator && account.is_active())
        else {
            continue;
        };
        let key = digest::short(&[error]);
        let since = health.failing_since.unwrap_or(now);
        if let Some((alert, more)) = found.iter_mut().find(|(alert, _)| alert.key.ends_with(&key)) {
            *more += 1;
            alert.accounts.push(account.id.clone());
            alert.since = alert.since.min(since);
            alert.summary = format!("{} and {more} more cannot be read", account.name);
        } else {
            let summary = format!("{} cannot be read", account.name);
            let alert = alert(AlertKind::NeedsOperator, &key, since, now, summary, error.clone());
            found.push((Alert { accounts: vec![account.id.clone()], ..alert }, 0));
        }
    }
    found.into_iter().map(|(alert, _)| alert).collect()
}

fn of_receiver(receiver: &ReceiverView, now: Timestamp) -> Option<Alert> {
    let whose = match receiver.accounts {
        1 => receiver.name.clone(),
        several => format!("{several} accounts"),
    };
    let waiting = receiver.waiting;
    let found = if let Some(since) = receiver.stopped_at {
        let summary = format!("the receiver of {whose} answered 410 (gone); asks waiting: {waiting}");
        let action = "fix it, then run: jobber-reviewd queue retry ASK; this resumes the receiver".to_owned();
        alert(AlertKind::ReceiverGone, &receiver.id, since, now, summary, action)
    } else {
        let since = receiver.failing_since.filter(|since| now.duration_since(*since) >= GRACE)?;
        let error = receiver.last_error.as_deref().unwrap_or("no answer");
        let summary =
            format!("the receiver of {whose} does not accept asks ({error}); asks waiting: {waiting}");
        let action = "fix it: asks are tried again for three days and then become dead letters".to_owned();
        alert(AlertKind::ReceiverFailing, &receiver.id, since, now, summary, action)
    };
    Some(Alert { held_up: waiting, ..found })
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is new, or the facts are other than before. It is stored, and reported if it is new.
    Stands(Alert),
    /// It is over. What it held up is still to be counted.
    Ended(Alert),
    /// It came back before its end was reported, so it counts as never ended.
    Returned(Alert),
}

pub fn changes(raised: &[Alert], view: &View, now: Timestamp) -> Vec<Change> {
    let conditions = conditions(view, now);
    let by_key: HashMap<&str, &Alert> = raised.iter().map(|alert| (alert.key.as_str(), alert)).collect();
    let mut changes = Vec::new();
    for condition in &conditions {
        match by_key.get(condition.key.as_str()).copied() {
            None => changes.push(Change::Stands(condition.clone())),
            // Reconnected and lost again between two looks: it needs another link.
            Some(alert) if alert.kind == AlertKind::ConnectionLost && condition.since > alert.since => {
                changes.push(Change::Stands(condition.clone()));
            }
            Some(alert) if alert.over.is_some() => {
                changes.push(Change::Returned(Alert { over: None, told: true, ..alert.clone() }));
            }
            Some(alert) => {
                let Alert { summary, action, .. } = condition.clone();
                let held_up = condition.held_up.max(alert.held_up);
                // Those that it ever concerned: their asks are counted at the end.
                let before: HashSet<&AccountId> = alert.accounts.iter().collect();
                let more = condition.accounts.iter().filter(|id| !before.contains(id));
                let accounts = alert.accounts.iter().chain(more).cloned().collect();
                let now = Alert { accounts, summary, action, held_up, ..alert.clone() };
                if now != *alert {
                    changes.push(Change::Stands(now));
                }
            }
        }
    }
    let there: HashSet<&str> = conditions.iter().map(|condition| condition.key.as_str()).collect();
    let accounts: HashMap<&AccountId, &AccountView> =
        view.accounts.iter().map(|view| (&view.account.id, view)).collect();
    let ended = raised.iter().filter(|alert| {
        let account =
            alert.account.as_ref().and_then(|id| accounts.get(id)).filter(|view| view.account.is_active());
        alert.over.is_none()
            && !there.contains(alert.key.as_str())
            && !account.is_some_and(|view| is_unread_yet(alert, view) || is_silent_still(alert, view))
    });
    changes.extend(ended.cloned().map(Change::Ended));
    changes
}

/// A reconnected account counts as recovered only after a sweep: only then is it known what it missed.
fn is_unread_yet(alert: &Alert, view: &AccountView) -> bool {
    alert.kind == AlertKind::ConnectionLost && view.health.last_success.is_none_or(|read| read <= alert.since)
}

/// The usual number fades from the period in which it is counted. Only new work ends the silence.
fn is_silent_still(alert: &Alert, view: &AccountView) -> bool {
    alert.kind == AlertKind::NoWork && view.health.last_finished_at.is_none_or(|work| work <= alert.since)
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeldUp {
    pub late: usize,
    pub missed: usize,
}

impl HeldUp {
    /// Counts one decision of an account with these `rules`, for a trouble from `since` to `now`.
    pub fn count(&mut self, decision: &Decision, rules: &Rules, since: Timestamp, now: Timestamp) {
        let due = rules.hours.leaves(plus(decision.finished_at, rules.delay));
        if due < since || due > minus(now, LATE) {
            return;
        }
        match decision.outcome {
            Outcome::Waiting { .. } => self.late += 1,
            Outcome::Asked { .. } if decision.at.duration_since(due) > LATE => self.late += 1,
            Outcome::Skipped { reason: SkipReason::TooOld } => self.missed += 1,
            Outcome::Held { .. } | Outcome::Asked { .. } | Outcome::Skipped { .. } => {}
        }
    }
}

pub fn over(alert: Alert, at: Timestamp, late: usize, missed: usize) -> Alert {
    Alert { over: Some(Over { at, late: late.max(alert.held_up), missed }), told: false, ..alert }
}

#[cfg(test)]
mod tests;
