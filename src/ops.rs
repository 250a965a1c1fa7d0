//! What admins ask of the program, as data: the same requests whether a daemon answers them through its control
//! socket or the command line carries them out on the store itself.

mod accounts;
mod doctor;
mod events;
mod explain;
mod people;

pub use self::doctor::{Check, CheckState};
pub use self::events::EventsOf;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::accounts::onboarding::NewLink;
use crate::accounts::settings::ReceiverError;
use crate::clock::minus;
use crate::context::{Context, OnceReport};
use crate::domain::alerting::DRAFT_LIMIT;
use crate::domain::import::AskedBefore;
use crate::domain::model::{
    Account, AccountId, Alert, AskId, Candidate, Connection, Decision, EntryState, Health, Link, LinkId,
    OutboxEntry, Outcome, SkipReason, Subject, Suppression, Trigger, WorkRef,
};
use crate::domain::shadow::ShadowReport;
use crate::jobber::{API_VERSION, supported_until};
use crate::store::{Copied, QueueRefusal, StoreError};
use crate::workers::pool::Effect;

/// How far `status` counts back.
const STATUS_WINDOW: SignedDuration = SignedDuration::from_hours(7 * 24);

/// So many works in a row with the switch off are the default, not a choice.
const SUSPICIOUS: usize = 5;

/// What an admin wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Request {
    /// One sweep.
    Once {
        /// Id or name; all when absent.
        account: Option<String>,
        /// Without a trace.
        dry_run: bool,
    },
    /// A new link.
    LinkCreate {
        /// Whom it is for.
        name: String,
        /// The trigger the page proposes; the configured one when absent.
        trigger: Option<Trigger>,
        /// Id or name of the account it is to mend.
        account: Option<String>,
        /// How long it can be used.
        expires_seconds: i64,
    },
    /// Every link.
    LinkList,
    /// Takes a link back.
    LinkRevoke {
        /// Its short name.
        id: LinkId,
    },
    /// Every account.
    AccountList,
    /// One account, and what it does otherwise than the others.
    AccountShow {
        /// Id or name.
        account: String,
    },
    /// Gives an account settings of its own.
    AccountSet {
        /// Id or name.
        account: String,
        /// By key, as below `review`.
        set: BTreeMap<String, serde_json::Value>,
        /// Keys that go back to what `[review]` says.
        unset: Vec<String>,
        /// A template of the body.
        body: Option<String>,
        /// The secret that signs for its receiver.
        secret: Option<Handed>,
    },
    /// Has an account rest.
    AccountPause {
        /// Id or name.
        account: String,
    },
    /// Has it go on.
    AccountResume {
        /// Id or name.
        account: String,
    },
    /// Ends a connection, here and in Jobber.
    AccountDisconnect {
        /// Id or name.
        account: String,
    },
    /// Forgets an account whose connection is over.
    AccountRemove {
        /// Id or name.
        account: String,
        /// Whether to do it, or only to count.
        write: bool,
    },
    /// Is everything in order?
    Doctor,
    /// Has Jobber send events, or no more.
    EventsTurn {
        /// Id or name of the only account.
        account: Option<String>,
        /// Whether to send them.
        on: bool,
    },
    /// Which events Jobber sends, and whether they come.
    EventsStatus,
    /// A marked sample to a receiver.
    TestEvent {
        /// Id or name of the account whose receiver it is; the configured one when absent.
        account: Option<String>,
    },
    /// Makes dead letters due again.
    Replay {
        /// Id or name of the only account.
        account: Option<String>,
        /// Those given up within this time.
        since_seconds: i64,
        /// Whether to do it, or only to count.
        write: bool,
    },
    /// A copy of the store.
    Export,
    /// How everything stands.
    Status,
    /// Why somebody was or was not asked.
    Explain {
        /// A client, job, invoice, phone, e-mail or ask.
        what: String,
        /// Whether to read the work fresh and write the ask as it would read now.
        render: bool,
    },
    /// Puts somebody on the list of those who are never asked.
    SuppressAdd {
        /// A phone, an e-mail, or the id of a card.
        what: String,
        /// Id or name of the only account that is not to ask; none is when absent.
        account: Option<String>,
        /// Why.
        note: Option<String>,
    },
    /// Takes somebody off that list.
    SuppressRemove {
        /// As it was put on.
        what: String,
        /// As it was put on.
        account: Option<String>,
    },
    /// That list.
    SuppressList,
    /// Notes people whom another tool has asked.
    Import {
        /// Who.
        asked: Vec<AskedBefore>,
        /// Id or name of the account that rows are about which name none.
        account: Option<String>,
        /// Whether to write it down, or only to see whether it could be.
        write: bool,
    },
    /// What would have been sent, beside what an old automation sent.
    ShadowReport {
        /// What it sent.
        theirs: Vec<AskedBefore>,
        /// Id or name of the account that rows are about which name none.
        account: Option<String>,
    },
    /// Every decision, for a customer's complaint.
    Audit {
        /// Id or name of the only account.
        account: Option<String>,
        /// How far back.
        since_seconds: i64,
    },
    /// Candidates, asks on their way, dead letters.
    QueueList,
    /// Has work asked about that was found too old.
    QueueRelease {
        /// A client, job, invoice, phone or e-mail that fits one such work.
        what: String,
    },
    /// One ask, with its body.
    QueueShow {
        /// The ask.
        id: AskId,
    },
    /// Tries an ask again now.
    QueueRetry {
        /// The ask.
        id: AskId,
    },
    /// Gives an ask up.
    QueueDrop {
        /// The ask.
        id: AskId,
    },
}

/// What an admin gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", content = "value", rename_all = "snake_case")]
pub enum Reply {
    /// To `Once`.
    Once(OnceReport),
    /// To `LinkCreate`.
    LinkCreated(NewLinkReply),
    /// To `LinkList`.
    Links(Vec<Link>),
    /// To `AccountList`.
    Accounts(Vec<Account>),
    /// To `AccountShow` and `AccountSet`.
    Account(Box<AccountShown>),
    /// To `EventsTurn` and `EventsStatus`.
    Events(Vec<EventsOf>),
    /// To `Doctor` and `TestEvent`.
    Checked(Vec<Check>),
    /// To `ShadowReport`.
    Shadow(ShadowReport),
    /// To `SuppressList`.
    Suppressed(Vec<Suppression>),
    /// To `Export`, after its last part.
    Exported(Copied),
    /// To `Status`.
    Status(StatusReport),
    /// To `Explain`.
    Explained(Vec<Explained>),
    /// To `QueueList`.
    Queue(Vec<QueueRow>),
    /// To `QueueShow`.
    Ask(Box<OutboxEntry>),
    /// Done, in a sentence.
    Done(String),
    /// Not done, in a sentence that names the remedy: the request was at fault.
    Refused(String),
    /// Not done: the program or its store was at fault.
    Failed(String),
}

/// A new link. The address is shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewLinkReply {
    /// Its short name.
    pub id: LinkId,
    /// What to send to the contractor.
    pub url: String,
    /// Until when it can be used.
    pub expires_at: Timestamp,
}

/// A secret on its way from the command line to the daemon, over a socket that is theirs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handed(pub String);

impl std::fmt::Debug for Handed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handed(…)")
    }
}

/// One account, and what it does otherwise than the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountShown {
    /// The account.
    #[serde(flatten)]
    pub account: Account,
    /// How it goes by `[review]` and its own settings.
    pub settings: Vec<Setting>,
    /// Why its own settings cannot be used.
    pub problem: Option<String>,
}

/// One setting of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The key below `review`.
    pub key: String,
    /// What counts for this account.
    pub value: serde_json::Value,
    /// Whether it is its own.
    pub own: bool,
}

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
}

impl AccountStatus {
    /// Whether a human has to do something.
    pub fn needs_human(&self) -> bool {
        self.next_action.is_some()
    }
}

/// A decision, and whose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// Jobber's id of the account.
    pub account: AccountId,
    /// Its name.
    pub account_name: String,
    /// When it was finished, in the contractor's own time.
    pub finished_local: String,
    /// The sentence as it would read now, or why there is none; only where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_say: Option<String>,
    /// The decision.
    #[serde(flatten)]
    pub decision: Decision,
}

/// Something that is waiting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum QueueRow {
    /// Finished work that waits for its moment.
    Candidate {
        /// Whose.
        account: AccountId,
        /// The work.
        work: WorkRef,
        /// What it fired.
        trigger: Trigger,
        /// When it is decided about.
        due_at: Timestamp,
        /// What is known of it.
        subject: Subject,
    },
    /// An ask on its way, or a dead letter.
    Ask {
        /// Its id.
        id: AskId,
        /// Whose.
        account: AccountId,
        /// The work.
        work: WorkRef,
        /// Attempts so far.
        attempts: u32,
        /// Where it stands.
        #[serde(flatten)]
        state: EntryState,
        /// What the last attempt brought.
        last_error: Option<String>,
    },
}

/// What an admin hears before the reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// So many of so many accounts are done.
    Progress {
        /// So many.
        done: usize,
        /// Of so many.
        of: usize,
    },
    /// A part of an export: whole lines.
    Part(String),
}

/// Carries out a request. `running` says whether a daemon does it. Parts wait for whoever listens; progress does not.
pub async fn carry_out(
    context: &Context,
    request: Request,
    running: bool,
    tell: mpsc::Sender<Told>,
) -> Reply {
    match attempt(context, request, running, tell).await {
        Ok(reply) => reply,
        Err(error) => {
            tracing::error!(%error, "a request of an admin failed");
            Reply::Failed(error.to_string())
        }
    }
}

async fn attempt(
    context: &Context,
    request: Request,
    running: bool,
    tell: mpsc::Sender<Told>,
) -> Result<Reply, StoreError> {
    let store = &context.store;
    let now = context.clock.now();
    match request {
        Request::Once { account, dry_run } => {
            let only = match named(context, account)? {
                Ok(account) => account.map(|account| account.id),
                Err(refusal) => return Ok(Reply::Refused(refusal)),
            };
            let effect = if dry_run { Effect::DryRun } else { Effect::Apply };
            let progress = move |done, of| {
                // Whoever is slow to read misses a number.
                let _heard = tell.try_send(Told::Progress { done, of });
            };
            Ok(Reply::Once(context.once(only.as_ref(), effect, &progress).await?))
        }
        Request::LinkCreate { name, trigger, account, expires_seconds } => {
            create_link(context, name, trigger, account, SignedDuration::from_secs(expires_seconds)).await
        }
        Request::LinkList => Ok(Reply::Links(store.links()?)),
        Request::LinkRevoke { id } => Ok(match store.revoke_link(&id, now).await? {
            Ok(link) => Reply::Done(format!("link {} for {} is revoked", link.id, link.label)),
            Err(refusal) => Reply::Refused(format!("{id}: {refusal}; `link list` shows what there is")),
        }),
        Request::AccountList => Ok(Reply::Accounts(store.accounts()?)),
        Request::AccountShow { account } => accounts::show(context, &account),
        Request::AccountSet { account, set, unset, body, secret } => {
            accounts::set(context, &account, accounts::AccountChange { set, unset, body, secret }, now).await
        }
        Request::AccountPause { account } => accounts::pause(context, &account, Some(now)).await,
        Request::AccountResume { account } => accounts::pause(context, &account, None).await,
        Request::AccountDisconnect { account } => accounts::disconnect(context, &account, now).await,
        Request::AccountRemove { account, write } => accounts::remove(context, &account, write).await,
        Request::EventsTurn { account, on } => {
            let turn = if on { events::Turn::On } else { events::Turn::Off };
            events::events(context, account, turn, now).await
        }
        Request::EventsStatus => events::events(context, None, events::Turn::AsTheyAre, now).await,
        Request::Doctor => doctor::doctor(context, now).await,
        Request::TestEvent { account } => doctor::test_event(context, account, now).await,
        Request::Replay { account, since_seconds, write } => {
            replay(context, account, minus(now, SignedDuration::from_secs(since_seconds)), write, now).await
        }
        Request::Export => {
            let export = store.export(now).await?;
            let copied = export.contents().clone();
            for part in export {
                if tell.send(Told::Part(part)).await.is_err() {
                    return Ok(Reply::Refused("nobody took the export".to_owned()));
                }
            }
            Ok(Reply::Exported(copied))
        }
        Request::Status => Ok(Reply::Status(status(context, running, now)?)),
        Request::Audit { account, since_seconds } => {
            explain::audit(context, account, minus(now, SignedDuration::from_secs(since_seconds)))
        }
        Request::Explain { what, render } => explain::explain(context, &what, render).await,
        Request::SuppressAdd { what, account, note } => {
            people::suppress(context, what, account, note, now).await
        }
        Request::SuppressRemove { what, account } => people::unsuppress(context, what, account).await,
        Request::SuppressList => Ok(Reply::Suppressed(store.suppressions()?)),
        Request::Import { asked, account, write } => people::import(context, asked, account, write).await,
        Request::ShadowReport { theirs, account } => people::shadow_report(context, theirs, account),
        Request::QueueList => Ok(Reply::Queue(queue(context)?)),
        Request::QueueRelease { what } => people::release(context, &what, now).await,
        Request::QueueShow { id } => Ok(match store.entry(&id)? {
            Some(entry) => Reply::Ask(Box::new(entry)),
            None => {
                Reply::Refused(format!("there is no ask {id} in the queue: `queue list` shows what is there"))
            }
        }),
        Request::QueueRetry { id } => Ok(match retry(context, &id, now).await? {
            Ok(()) => {
                context.bells.delivery.notify_one();
                Reply::Done(format!("ask {id} is due now"))
            }
            Err(refusal) => Reply::Refused(refusal.to_string()),
        }),
        Request::QueueDrop { id } => Ok(match store.drop_entry(&id, now).await? {
            Ok(()) => Reply::Done(format!("ask {id} is dropped; its customer is not asked again")),
            Err(refusal) => Reply::Refused(refusal.to_string()),
        }),
    }
}

/// Makes an ask due, and its receiver one that takes asks.
async fn retry(
    context: &Context,
    id: &AskId,
    now: Timestamp,
) -> Result<Result<(), QueueRefusal>, StoreError> {
    let account = match context.store.entry(id)? {
        Some(entry) => context.store.account(&entry.account)?,
        None => None,
    };
    let receiver = match account.map(|account| context.settings.receiver_for(&account, id)) {
        Some(Ok(receiver)) => receiver.map(|receiver| receiver.id()),
        Some(Err(ReceiverError::Store(error))) => return Err(error),
        // It is due again, and leaves when the settings are mended.
        Some(Err(ReceiverError::Settings(_))) | None => None,
    };
    context.store.retry_entry(id, receiver, now).await
}

/// Makes every dead letter due that was given up since an instant: the same bytes under the same ids.
async fn replay(
    context: &Context,
    account: Option<String>,
    since: Timestamp,
    write: bool,
    now: Timestamp,
) -> Result<Reply, StoreError> {
    let only = match named(context, account)? {
        Ok(account) => account.map(|account| account.id),
        Err(refusal) => return Ok(Reply::Refused(refusal)),
    };
    let mut dead = Vec::new();
    for entry in context.store.entries() {
        let OutboxEntry { id, account, state, .. } = entry?;
        let is_meant = only.as_ref().is_none_or(|only| *only == account);
        if is_meant && matches!(state, EntryState::Dead { at, .. } if at >= since) {
            dead.push(id);
        }
    }
    if !write {
        return Ok(Reply::Done(format!(
            "{} dead letters would be sent again: add --yes to do it",
            dead.len()
        )));
    }
    let mut due = 0;
    for id in dead {
        // Dropped or retried meanwhile is as good.
        due += usize::from(retry(context, &id, now).await?.is_ok());
    }
    context.bells.delivery.notify_one();
    Ok(Reply::Done(format!("{due} dead letters are due now, under their old ids")))
}

async fn create_link(
    context: &Context,
    name: String,
    trigger: Option<Trigger>,
    account: Option<String>,
    lives: SignedDuration,
) -> Result<Reply, StoreError> {
    let account = match named(context, account)? {
        Ok(account) => account,
        Err(refusal) => return Ok(Reply::Refused(refusal)),
    };
    // A link that mends an account proposes what the account has.
    let present = account.as_ref().map(|account| account.trigger);
    let new = NewLink {
        label: name,
        trigger: trigger.or(present).unwrap_or_else(|| context.settings.defaults().trigger),
        account: account.map(|account| account.id),
        lives,
    };
    let (link, url) = context.onboarding.create_link(new).await?;
    Ok(Reply::LinkCreated(NewLinkReply {
        id: link.id,
        url: url.expose_secret().to_owned(),
        expires_at: link.expires_at,
    }))
}

/// The account that an admin named, if he named one.
fn named(context: &Context, name: Option<String>) -> Result<Result<Option<Account>, String>, StoreError> {
    match name {
        Some(name) => Ok(find_account(context, &name)?.map(Some)),
        None => Ok(Ok(None)),
    }
}

/// The account with this id, or the only one with this name or label.
fn find_account(context: &Context, text: &str) -> Result<Result<Account, String>, StoreError> {
    let accounts = context.store.accounts()?;
    if let Some(account) = accounts.iter().find(|account| account.id.as_str() == text) {
        return Ok(Ok(account.clone()));
    }
    let wanted = text.to_lowercase();
    let named: Vec<&Account> = accounts
        .iter()
        .filter(|account| account.name.to_lowercase() == wanted || account.label.to_lowercase() == wanted)
        .collect();
    Ok(match named.as_slice() {
        [only] => Ok((*only).clone()),
        [] => Err(format!("there is no account `{text}`: `account list` shows those there are")),
        several => {
            let ids: Vec<&str> = several.iter().map(|account| account.id.as_str()).collect();
            Err(format!("`{text}` names {} accounts: use one of the ids {}", ids.len(), ids.join(", ")))
        }
    })
}

/// The add-on's default for new jobs can be "no requests": then nobody is asked, and nobody chose that.
fn every_work_opted_out(asked: usize, skipped: &BTreeMap<SkipReason, usize>) -> Option<String> {
    let opted_out = skipped.get(&SkipReason::WorkOptedOut).copied().unwrap_or_default();
    (asked == 0 && opted_out >= SUSPICIOUS && skipped.len() == 1).then(|| {
        format!(
            "review requests are off on all {opted_out} jobs of this week: is that Jobber's default for new jobs? Switch it on in Jobber's settings for reviews"
        )
    })
}

fn status(context: &Context, running: bool, now: Timestamp) -> Result<StatusReport, StoreError> {
    let store = &context.store;
    let counts = store.outbox_counts()?;
    let since = minus(now, STATUS_WINDOW);
    let mut accounts = Vec::new();
    for account in store.accounts()? {
        let (mut asked, mut waiting, mut skipped) = (0, 0, BTreeMap::new());
        for decision in store.decisions(&account.id) {
            let decision = decision?;
            match decision.outcome {
                Outcome::Waiting { .. } => waiting += 1,
                Outcome::Asked { .. } if decision.at >= since => asked += 1,
                Outcome::Skipped { reason } if decision.at >= since => {
                    *skipped.entry(reason).or_default() += 1;
                }
                Outcome::Asked { .. } | Outcome::Skipped { .. } => {}
            }
        }
        let health = store.health(&account.id)?;
        let count = counts.by_account.get(&account.id).copied().unwrap_or_default();
        let stopped_at = match context.settings.receiver_of(&account) {
            Ok(receiver) => store.receiver(&receiver.id())?.stopped_at,
            Err(ReceiverError::Store(error)) => return Err(error),
            Err(ReceiverError::Settings(_)) => None,
        };
        let stopped = stopped_at.is_some() && count.queued > 0;
        accounts.push(AccountStatus {
            next_action: next_action(&account, &health, count.dead, stopped)
                .or_else(|| every_work_opted_out(asked, &skipped)),
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
        alerts: context.notifier.standing()?,
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
        return Some("the receiver says it is gone: mend it, then jobber-reviewd queue retry ASK".to_owned());
    }
    (dead > 0).then(|| "look at the dead letters: jobber-reviewd queue list".to_owned())
}

fn queue(context: &Context) -> Result<Vec<QueueRow>, StoreError> {
    let mut rows = Vec::new();
    for (account, candidate) in context.store.candidates()? {
        let Candidate { work, trigger, due_at, subject, .. } = candidate;
        rows.push(QueueRow::Candidate { account, work, trigger, due_at, subject });
    }
    for entry in context.store.entries() {
        let OutboxEntry { id, account, work, attempt, state, last, .. } = entry?;
        let last_error = last.map(|last| last.error);
        rows.push(QueueRow::Ask { id, account, work, attempts: attempt, state, last_error });
    }
    Ok(rows)
}
