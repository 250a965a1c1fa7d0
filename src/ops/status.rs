//! The state of every account, and what to do.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::OpError;
use crate::accounts::settings::ReceiverError;
use crate::clock::minus;
use crate::context::Context;
use crate::domain::alerting::DRAFT_LIMIT;
use crate::domain::model::{
    Account, AccountId, Alert, Connection, DayTally, Health, OpenTally, SkipReason, Trigger, alike,
};
use crate::domain::rules::remarks;
use crate::jobber::{API_VERSION, supported_until};
use crate::store::Tenants;

const STATUS_WINDOW: SignedDuration = SignedDuration::from_hours(7 * 24);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    pub running: bool,
    /// For a draft app: the number of accounts at which Jobber cuts it off.
    pub draft_limit: Option<usize>,
    pub api_version: String,
    /// When Jobber's support for it ends at the earliest.
    pub api_supported_until: Timestamp,
    /// How far the machine's clock was ahead of Jobber's at its last answer, in seconds. `None` if this process had none.
    pub clock_ahead_seconds: Option<i64>,
    /// Whether `review.shadow` is on for all accounts that have no other setting: nothing is sent.
    #[serde(default)]
    pub is_shadow: bool,
    /// The daemons that share the store, if it is one that can be shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemons: Option<Tenants>,
    pub alerts: Vec<Alert>,
    /// Why the last alert could not be sent, if it could not.
    #[serde(default)]
    pub alerts_fail: Option<String>,
    /// Whether only some accounts are shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_filtered: bool,
    /// Those that need somebody first, then by name.
    pub accounts: Vec<AccountStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountStatus {
    pub id: AccountId,
    pub name: String,
    pub trigger: Trigger,
    pub state: String,
    pub reason: Option<String>,
    pub last_success: Option<Timestamp>,
    pub failing_since: Option<Timestamp>,
    pub last_error: Option<String>,
    /// Since when due candidates cannot be read.
    pub asking_fails_since: Option<Timestamp>,
    pub last_event: Option<Timestamp>,
    /// Since when nothing is sent because the receiver is gone.
    pub receiver_stopped_at: Option<Timestamp>,
    pub asked_7d: usize,
    /// Reviews that the platform told about.
    #[serde(default)]
    pub reviewed_7d: usize,
    pub skipped_7d: BTreeMap<SkipReason, usize>,
    pub waiting: usize,
    /// Works held with a burst until the operator decides.
    pub held: usize,
    pub queued: usize,
    pub dead: usize,
    pub next_action: Option<String>,
    /// What to know, though nothing has to be done.
    pub remarks: Vec<String>,
}

impl AccountStatus {
    pub fn needs_human(&self) -> bool {
        self.next_action.is_some()
    }
}

/// How long after connecting an account of another name is remarked on.
const NEW: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What to know about an account: that it may be the wrong one, and what is remarkable about Jobber's switches in it.
pub(super) fn remarks_on(context: &Context, account: &Account) -> Vec<String> {
    let is_new = context.clock.now().duration_since(account.connected_at) < NEW;
    let is_other = is_new && !alike(&account.name, &account.label);
    let named = is_other.then(|| {
        format!("its link was made for `{}`: check that the right account was connected", account.label)
    });
    named.into_iter().chain(switches_of(context, account)).collect()
}

fn switches_of(context: &Context, account: &Account) -> Vec<String> {
    let Some((_, counted)) = account.switches.filter(|_| account.is_active()) else { return vec![] };
    match context.settings.rules_of(account) {
        Ok(rules) => remarks(rules.trigger, &rules.policy, &counted),
        // The sweep fails with that error, and says so.
        Err(_) => vec![],
    }
}

pub async fn status(context: &Context, running: bool) -> Result<StatusReport, OpError> {
    let (store, now) = (&context.store, context.clock.now());
    let counts = store.outbox_counts().await?;
    let since = minus(now, STATUS_WINDOW);
    let reviews = store.reviews_since(since).await?;
    let mut accounts = Vec::new();
    let known = store.accounts().await?;
    let mut names: HashMap<String, usize> = HashMap::new();
    for account in &known {
        *names.entry(account.name.to_lowercase()).or_default() += 1;
    }
    let is_alone = |name: &str| names.get(&name.to_lowercase()) == Some(&1);
    let ids: Vec<AccountId> = known.iter().map(|account| account.id.clone()).collect();
    let tallies = store.tallies(&ids, since).await?;
    for (account, tally) in known.into_iter().zip(tallies) {
        let (DayTally { asked, skipped }, OpenTally { waiting, held }) = tally;
        let health = store.health(&account.id).await?;
        let count = counts.by_account.get(&account.id).copied().unwrap_or_default();
        let stopped_at = match context.settings.receiver_of(&account).await {
            Ok(receiver) => store.receiver(&receiver.id()).await?.stopped_at,
            Err(ReceiverError::Store(error)) => return Err(error.into()),
            Err(ReceiverError::Settings(_)) => None,
        };
        let stopped = stopped_at.is_some() && count.queued > 0;
        accounts.push(AccountStatus {
            next_action: next_action(&account, is_alone(&account.name), &health, count.dead, stopped, held),
            remarks: remarks_on(context, &account),
            state: account.state().to_owned(),
            receiver_stopped_at: stopped_at,
            reason: match &account.connection {
                Connection::Connected | Connection::Disconnected { .. } => None,
                Connection::NeedsAuthorization { reason, .. } => Some(reason.describe().to_owned()),
            },
            reviewed_7d: reviews.get(&account.id).copied().unwrap_or_default(),
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
            held,
            queued: count.queued,
            dead: count.dead,
        });
    }
    accounts.sort_by_cached_key(|account| {
        (!account.needs_human(), account.failing_since.is_none(), account.name.to_lowercase())
    });
    Ok(StatusReport {
        running,
        is_filtered: false,
        is_shadow: context.settings.defaults().shadow,
        draft_limit: context.config.jobber.draft_app.then_some(DRAFT_LIMIT),
        api_version: API_VERSION.to_owned(),
        api_supported_until: supported_until(),
        clock_ahead_seconds: context.session.jobber_clock().ahead().map(|ahead| ahead.as_secs()),
        daemons: if running { store.tenants().await? } else { None },
        alerts: context.notifier.standing().await?,
        alerts_fail: context.notifier.failing(),
        accounts,
    })
}

fn next_action(
    account: &Account,
    has_own_name: bool,
    health: &Health,
    dead: usize,
    receiver_stopped: bool,
    held: usize,
) -> Option<String> {
    if let Connection::Disconnected { .. } = account.connection {
        // It was intended.
        return None;
    }
    let Account { id, name, label, .. } = account;
    let named = if has_own_name { quoted(name) } else { id.to_string() };
    if !account.connection.is_connected() {
        return Some(format!(
            "send a new link: jobber-reviewd link create {} --account {named}",
            quoted(label)
        ));
    }
    if let Some(error) = health.last_error.as_ref().filter(|_| health.needs_operator && account.is_active()) {
        return Some(error.clone());
    }
    if receiver_stopped {
        return Some(
            "the receiver answered 410 (gone): fix it, then run: jobber-reviewd queue retry ASK".to_owned(),
        );
    }
    if held > 0 {
        return Some(format!(
            "decide about the burst, with release-burst or drop-burst: jobber-reviewd queue release-burst --account {named}"
        ));
    }
    (dead > 0).then(|| "look at the dead letters: jobber-reviewd queue list".to_owned())
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
