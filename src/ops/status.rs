//! How every account stands, and what to do.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::OpError;
use crate::accounts::settings::ReceiverError;
use crate::clock::minus;
use crate::context::Context;
use crate::domain::alerting::DRAFT_LIMIT;
use crate::domain::model::{
    Account, AccountId, Alert, Connection, Decision, Health, Outcome, SkipReason, Trigger,
};
use crate::domain::rules::remarks;
use crate::jobber::{API_VERSION, supported_until};

/// How far `status` counts back.
const STATUS_WINDOW: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How everything stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// Whether a daemon answered.
    pub running: bool,
    /// At how many accounts a draft app is cut off; only of a draft.
    pub draft_limit: Option<usize>,
    /// The version of Jobber's API that this program speaks.
    pub api_version: String,
    /// Until when Jobber supports it at least.
    pub api_supported_until: Timestamp,
    /// What is wrong, each once.
    pub alerts: Vec<Alert>,
    /// One row for each account.
    pub accounts: Vec<AccountStatus>,
}

/// How an account stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountStatus {
    /// Jobber's id of it.
    pub id: AccountId,
    /// Its name in Jobber.
    pub name: String,
    /// What fires an ask.
    pub trigger: Trigger,
    /// `connected`, `paused`, `needs_authorization` or `disconnected`.
    pub state: String,
    /// Why it needs authorization.
    pub reason: Option<String>,
    /// The last sweep that read everything.
    pub last_success: Option<Timestamp>,
    /// Since when sweeps fail.
    pub failing_since: Option<Timestamp>,
    /// The last failure.
    pub last_error: Option<String>,
    /// Since when what is due cannot be read.
    pub asking_fails_since: Option<Timestamp>,
    /// The last finished work that was seen.
    pub last_event: Option<Timestamp>,
    /// Since when nothing is sent because its receiver said it is gone.
    pub receiver_stopped_at: Option<Timestamp>,
    /// Asks in the last seven days.
    pub asked_7d: usize,
    /// Skips in the last seven days, by reason.
    pub skipped_7d: BTreeMap<SkipReason, usize>,
    /// Candidates that wait for their moment.
    pub waiting: usize,
    /// Asks on their way.
    pub queued: usize,
    /// Dead letters.
    pub dead: usize,
    /// What to do, if anything.
    pub next_action: Option<String>,
    /// What to know, though nothing has to be done.
    pub remarks: Vec<String>,
}

impl AccountStatus {
    /// Whether a human has to do something.
    pub fn needs_human(&self) -> bool {
        self.next_action.is_some()
    }
}

/// What is remarkable about Jobber's switches in an account.
pub(super) fn remarks_on(context: &Context, account: &Account) -> Vec<String> {
    let Some((_, counted)) = account.switches.filter(|_| account.is_active()) else { return vec![] };
    match context.settings.rules_of(account) {
        Ok(rules) => remarks(rules.policy.jobber_switch, &counted),
        // The sweep fails with that error, and says so.
        Err(_) => vec![],
    }
}

/// What an account decided.
#[derive(Debug, Default)]
struct Counted {
    asked: usize,
    waiting: usize,
    skipped: BTreeMap<SkipReason, usize>,
}

impl Counted {
    /// Counts what still waits, and what was decided since `since`.
    fn count(&mut self, decision: &Decision, since: Timestamp) {
        match decision.outcome {
            Outcome::Waiting { .. } => self.waiting += 1,
            Outcome::Asked { .. } if decision.at >= since => self.asked += 1,
            Outcome::Skipped { reason } if decision.at >= since => {
                *self.skipped.entry(reason).or_default() += 1;
            }
            Outcome::Asked { .. } | Outcome::Skipped { .. } => {}
        }
    }
}

/// How every account stands. `running` says whether a daemon answers.
pub async fn status(context: &Context, running: bool) -> Result<StatusReport, OpError> {
    let (store, now) = (&context.store, context.clock.now());
    let counts = store.outbox_counts().await?;
    let since = minus(now, STATUS_WINDOW);
    let mut accounts = Vec::new();
    for account in store.accounts().await? {
        let count = move |counted: &mut Counted, decision| counted.count(&decision, since);
        let counted = store.fold_decisions(&account.id, Counted::default(), count).await?;
        let Counted { asked, waiting, skipped } = counted;
        let health = store.health(&account.id).await?;
        let count = counts.by_account.get(&account.id).copied().unwrap_or_default();
        let stopped_at = match context.settings.receiver_of(&account).await {
            Ok(receiver) => store.receiver(&receiver.id()).await?.stopped_at,
            Err(ReceiverError::Store(error)) => return Err(error.into()),
            Err(ReceiverError::Settings(_)) => None,
        };
        let stopped = stopped_at.is_some() && count.queued > 0;
        accounts.push(AccountStatus {
            next_action: next_action(&account, &health, count.dead, stopped),
            remarks: remarks_on(context, &account),
            state: account.state().to_owned(),
            receiver_stopped_at: stopped_at,
            reason: match &account.connection {
                Connection::Connected | Connection::Disconnected { .. } => None,
                Connection::NeedsAuthorization { reason, .. } => Some(reason.describe().to_owned()),
            },
            id: account.id,
            name: account.name,
            trigger: account.trigger,
            last_success: health.last_success,
            failing_since: health.failing_since,
            last_error: health.last_error,
            asking_fails_since: health.asking_fails_since,
            last_event: health.last_finished_at,
            asked_7d: asked,
            skipped_7d: skipped,
            waiting,
            queued: count.queued,
            dead: count.dead,
        });
    }
    Ok(StatusReport {
        running,
        draft_limit: context.config.jobber.draft_app.then_some(DRAFT_LIMIT),
        api_version: API_VERSION.to_owned(),
        api_supported_until: supported_until(),
        alerts: context.notifier.standing().await?,
        accounts,
    })
}

fn next_action(account: &Account, health: &Health, dead: usize, receiver_stopped: bool) -> Option<String> {
    if let Connection::Disconnected { .. } = account.connection {
        // It was meant.
        return None;
    }
    if !account.connection.is_connected() {
        let Account { id, label, .. } = account;
        return Some(format!("send a new link: jobber-reviewd link create '{label}' --account {id}"));
    }
    if let Some(error) = health.last_error.as_ref().filter(|_| health.needs_operator && account.is_active()) {
        return Some(error.clone());
    }
    if receiver_stopped {
        return Some(
            "the receiver answered 410 (gone): fix it, then run: jobber-reviewd queue retry ASK".to_owned(),
        );
    }
    (dead > 0).then(|| "look at the dead letters: jobber-reviewd queue list".to_owned())
}
