//! The queue: candidates, queued asks, dead letters.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::explain::{Explained, find};
use super::{Done, OpError, named};
use crate::accounts::settings::ReceiverError;
use crate::clock::minus;
use crate::context::Context;
use crate::domain::model::{
    Account, AccountId, Candidate, Decision, EntryState, MessageId, MessageKind, OutboxEntry, Outcome,
    SkipReason, Subject, Trigger, WorkRef,
};
use crate::store::QueueRefusal;
use crate::text_table::counted;

/// A row of the queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum QueueRow {
    /// Finished work that waits until it is due.
    Candidate {
        /// The account.
        account: AccountId,
        #[serde(default)]
        account_name: String,
        /// The work.
        work: WorkRef,
        /// The trigger that applied.
        trigger: Trigger,
        /// When it is decided.
        due_at: Timestamp,
        /// What is known about the work.
        subject: Subject,
    },
    /// Finished work that is held with a burst.
    Held {
        /// The account.
        account: AccountId,
        #[serde(default)]
        account_name: String,
        /// The work.
        work: WorkRef,
        /// The trigger that applied.
        trigger: Trigger,
        /// Since when it is held.
        since: Timestamp,
        /// What is known about the work.
        subject: Subject,
    },
    /// A queued message or a dead letter.
    Ask {
        /// The message's id.
        id: MessageId,
        /// The account.
        account: AccountId,
        #[serde(default)]
        account_name: String,
        /// The kind of message. Changes are listed too.
        message: MessageKind,
        /// The work.
        work: WorkRef,
        /// What is known about the work. Empty for changes and events.
        #[serde(default)]
        subject: Subject,
        /// Attempts so far.
        attempts: u32,
        /// The state of the delivery.
        #[serde(flatten)]
        state: EntryState,
        /// The error of the last attempt.
        last_error: Option<String>,
    },
}

impl QueueRow {
    /// The account and its name.
    pub fn account(&self) -> (&AccountId, &str) {
        match self {
            Self::Candidate { account, account_name, .. }
            | Self::Held { account, account_name, .. }
            | Self::Ask { account, account_name, .. } => (account, account_name),
        }
    }

    /// `waiting`, `held`, `queued` or `dead`.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Candidate { .. } => "waiting",
            Self::Held { .. } => "held",
            Self::Ask { state: EntryState::Dead { .. }, .. } => "dead",
            Self::Ask { .. } => "queued",
        }
    }
}

impl From<QueueRefusal> for OpError {
    fn from(refusal: QueueRefusal) -> Self {
        match refusal {
            QueueRefusal::NoSuchMessage(_) => Self::NotFound(refusal.to_string()),
            QueueRefusal::UnderWay(_) => Self::Refused(refusal.to_string()),
        }
    }
}

/// Which rows are wanted.
#[derive(Debug, Clone, Default)]
pub struct QueueFilter {
    pub account: Option<AccountId>,
    /// As [`QueueRow::state`] says it.
    pub state: Option<String>,
    /// No more rows than this.
    pub most: Option<usize>,
}

impl QueueFilter {
    fn wants(&self, account: &AccountId, state: &str) -> bool {
        self.account.as_ref().is_none_or(|wanted| wanted == account)
            && self.state.as_ref().is_none_or(|wanted| wanted == state)
    }
}

/// All candidates, the first due first, then what is held, then the whole outbox.
pub async fn list(context: &Context) -> Result<Vec<QueueRow>, OpError> {
    Ok(select(context, &QueueFilter::default()).await?.0)
}

/// Those that are wanted, in the same order, and how many there are.
pub async fn select(context: &Context, filter: &QueueFilter) -> Result<(Vec<QueueRow>, usize), OpError> {
    let (store, most) = (&context.store, filter.most.unwrap_or(usize::MAX));
    let names: HashMap<AccountId, String> =
        store.accounts().await?.into_iter().map(|account| (account.id, account.name)).collect();
    let name_of = |account: &AccountId| names.get(account).cloned().unwrap_or_else(|| account.to_string());
    let (mut rows, mut count) = (Vec::new(), 0);
    let mut add = |row: QueueRow| {
        count += 1;
        if count <= most {
            rows.push(row);
        }
    };
    for (account, candidate) in store.candidates().await? {
        if !filter.wants(&account, "waiting") {
            continue;
        }
        let Candidate { work, trigger, due_at, subject, .. } = candidate;
        let account_name = name_of(&account);
        add(QueueRow::Candidate { account, account_name, work, trigger, due_at, subject });
    }
    for (account, decision) in store.held_works().await? {
        let Decision { work, trigger, outcome, subject, .. } = decision;
        let Outcome::Held { since, .. } = outcome else { continue };
        if filter.wants(&account, "held") {
            let account_name = name_of(&account);
            add(QueueRow::Held { account, account_name, work, trigger, since, subject });
        }
    }
    let left = most.saturating_sub(rows.len());
    let (wanted, found) = (filter.clone(), (Vec::new(), 0));
    let keep = move |(entries, count): &mut (Vec<OutboxEntry>, usize), entry: OutboxEntry| {
        let state = if matches!(entry.state, EntryState::Dead { .. }) { "dead" } else { "queued" };
        if !wanted.wants(&entry.account, state) {
            return;
        }
        *count += 1;
        if entries.len() < left {
            // Bodies can be large, and are not listed.
            entries.push(OutboxEntry { body: String::new(), ..entry });
        }
    };
    let (entries, of_entries) = store.fold_entries(found, keep).await?;
    count += of_entries;
    for entry in entries {
        let OutboxEntry { id, account, payload, attempt, state, last, .. } = entry;
        let (message, work) = (payload.kind(), payload.work().clone());
        let decision = match message {
            MessageKind::Ask => store.decision(&account, &work).await?,
            MessageKind::Change | MessageKind::Event => None,
        };
        rows.push(QueueRow::Ask {
            account_name: name_of(&account),
            subject: decision.map(|decision| decision.subject).unwrap_or_default(),
            last_error: last.map(|last| last.error),
            attempts: attempt,
            id,
            account,
            message,
            work,
            state,
        });
    }
    Ok((rows, count))
}

/// What somebody means by the id of a message, or by a customer or work: a message, or work that waits.
enum Meant {
    Message(MessageId),
    Waiting(Box<Explained>),
}

async fn meant(context: &Context, what: &MessageId) -> Result<Meant, OpError> {
    if context.store.entry(what).await?.is_some() {
        return Ok(Meant::Message(what.clone()));
    }
    let found = find(context, what.as_str()).await?;
    // Whatever became of the others: a number of two contractors, or a name of two customers, may be of the wrong one.
    let whose = |row: &Explained| (row.account.clone(), row.decision.subject.client_id.clone());
    let is_clear = found.windows(2).all(|pair| whose(&pair[0]) == whose(&pair[1]));
    let mut meant = Vec::new();
    for row in found {
        match &row.decision.outcome {
            Outcome::Asked { ask_id, .. } => {
                let id = MessageId::from(ask_id);
                if context.store.entry(&id).await?.is_some() {
                    meant.push((format!("{id} ({})", row.account_name), Meant::Message(id)));
                }
            }
            Outcome::Waiting { .. } | Outcome::Held { .. } => {
                let id = format!("{} ({})", row.decision.work.id, row.account_name);
                meant.push((id, Meant::Waiting(Box::new(row))));
            }
            Outcome::Skipped { .. } => {}
        }
    }
    match meant.len() {
        0 => Err(QueueRefusal::NoSuchMessage(what.clone()).into()),
        1 if is_clear => Ok(meant.remove(0).1),
        _ => {
            let ids: Vec<String> = meant.into_iter().map(|(id, _)| id).collect();
            Err(OpError::Refused(format!(
                "`{what}` may be several: use the id of the one in the queue: {}",
                ids.join(", ")
            )))
        }
    }
}

/// The id of the message that is meant.
async fn message(context: &Context, what: &MessageId) -> Result<MessageId, OpError> {
    match meant(context, what).await? {
        Meant::Message(id) => Ok(id),
        Meant::Waiting(row) => Err(OpError::Refused(format!(
            "{} waits and has no message yet: `explain {what}` shows until when",
            row.decision.work
        ))),
    }
}

pub async fn show(context: &Context, what: &MessageId) -> Result<OutboxEntry, OpError> {
    let id = message(context, what).await?;
    context.store.entry(&id).await?.ok_or_else(|| QueueRefusal::NoSuchMessage(id).into())
}

/// Makes an ask due now, and resumes its receiver if that was gone.
pub async fn retry(context: &Context, what: &MessageId) -> Result<Done, OpError> {
    let id = message(context, what).await?;
    make_due(context, &id).await?;
    context.bells.delivery.notify_one();
    Ok(Done::new(format!("ask {id} is due now")))
}

/// Takes an ask, or work that waits, out of the queue.
pub async fn drop_ask(context: &Context, what: &MessageId) -> Result<Done, OpError> {
    let now = context.clock.now();
    match meant(context, what).await? {
        Meant::Message(id) => {
            context.store.drop_entry(&id, now).await??;
            Ok(Done::new(format!("ask {id} is dropped; its customer is not asked again")))
        }
        Meant::Waiting(row) => {
            let Decision { work, subject, outcome, .. } = row.decision;
            if matches!(outcome, Outcome::Held { .. }) {
                let remedy = "queue release-burst or queue drop-burst";
                return Err(OpError::Refused(format!("{work} is held with a burst: use {remedy}")));
            }
            let (reason, saw) = (SkipReason::DroppedByOperator, BTreeMap::new());
            if !context.store.commit_skip(&row.account, &work, reason, saw, subject, now).await? {
                return Err(OpError::Refused(format!("{work} was decided in the meantime: see `explain`")));
            }
            Ok(Done::new(format!(
                "{work} is dropped: nobody is asked about it (`queue release` takes it back)"
            )))
        }
    }
}

async fn make_due(context: &Context, id: &MessageId) -> Result<(), OpError> {
    let Some(entry) = context.store.entry(id).await? else {
        return Err(QueueRefusal::NoSuchMessage(id.clone()).into());
    };
    let receiver = match context.store.account(&entry.account).await? {
        Some(account) => {
            match context.settings.receiver_for(&account, entry.payload.kind(), entry.payload.to()).await {
                Ok(receiver) => receiver.map(|receiver| receiver.id()),
                Err(ReceiverError::Store(error)) => return Err(error.into()),
                // It is due again, and is sent when the settings are corrected.
                Err(ReceiverError::Settings(_)) => None,
            }
        }
        None => None,
    };
    Ok(context.store.retry_entry(id, receiver, context.clock.now()).await??)
}

/// Makes every dead letter from within `within` due, with the same bytes and ids. Without `write` it only
/// counts.
pub async fn replay(
    context: &Context,
    account: Option<String>,
    within: SignedDuration,
    write: bool,
) -> Result<Done, OpError> {
    let only = named(context, account).await?.map(|account| account.id);
    let since = minus(context.clock.now(), within);
    let pick = move |dead: &mut Vec<MessageId>, entry: OutboxEntry| {
        let is_meant = only.as_ref().is_none_or(|only| *only == entry.account);
        if is_meant && matches!(entry.state, EntryState::Dead { at, .. } if at >= since) {
            dead.push(entry.id);
        }
    };
    let dead = context.store.fold_entries(vec![], pick).await?;
    if !write {
        let count = counted(dead.len(), "dead letter");
        return Ok(Done::new(format!("{count} would be sent again: add --yes to do it")));
    }
    let mut due = 0;
    for id in dead {
        match make_due(context, &id).await {
            Ok(()) => due += 1,
            Err(error @ OpError::Store(_)) => return Err(error),
            // It was dropped or retried meanwhile, which is fine.
            Err(_) => {}
        }
    }
    context.bells.delivery.notify_one();
    Ok(Done::new(format!(
        "{} will be sent again now, under the old ids, unless they are too old or no longer wanted",
        counted(due, "dead letter")
    )))
}

/// Allows an ask about the one work that matches `what`, whatever its age.
pub async fn release(context: &Context, what: &str) -> Result<Done, OpError> {
    let mut aged = find(context, what).await?;
    aged.retain(
        |row| matches!(row.decision.outcome, Outcome::Skipped { reason } if reason.can_be_released()),
    );
    let row = match aged.as_slice() {
        [row] => row,
        [] => {
            return Err(OpError::NotFound(format!(
                "no work that was skipped for its age matches `{what}`: `explain` shows what became of it"
            )));
        }
        several => {
            return Err(OpError::Refused(format!(
                "`{what}` matches {} works that were skipped for their age: use the id of one of them",
                several.len()
            )));
        }
    };
    if !context.store.release(&row.account, &row.decision.work, context.clock.now()).await? {
        return Err(OpError::Refused(format!(
            "{} was decided again in the meantime: see `explain`",
            row.decision.work
        )));
    }
    context.bells.recheck.notify_one();
    Ok(Done::new(format!("{} is decided again now, whatever its age", row.decision.work)))
}

/// Lets the works that are held with the burst of an account go on.
pub async fn release_burst(context: &Context, account: String) -> Result<Done, OpError> {
    let account = one(context, account).await?;
    let Some(works) = context.store.release_burst(&account.id, context.clock.now()).await? else {
        return Err(no_burst(&account));
    };
    context.bells.recheck.notify_one();
    let (name, works) = (&account.name, counted(works, "work"));
    Ok(Done::new(format!("{works} of {name} will be decided as soon as due, like any other work")))
}

/// Skips the works that are held with the burst of an account.
pub async fn drop_burst(context: &Context, account: String) -> Result<Done, OpError> {
    let account = one(context, account).await?;
    let Some(works) = context.store.drop_burst(&account.id, context.clock.now()).await? else {
        return Err(no_burst(&account));
    };
    let (name, works) = (&account.name, counted(works, "work"));
    Ok(Done::new(format!("{works} of {name} will not be asked about")))
}

async fn one(context: &Context, account: String) -> Result<Account, OpError> {
    let unnamed = || OpError::Refused("name an account".to_owned());
    named(context, Some(account)).await?.ok_or_else(unnamed)
}

fn no_burst(account: &Account) -> OpError {
    OpError::NotFound(format!("no burst of {} is held", account.name))
}
