//! The outbox: entries, leases, dead letters, and stopped receivers.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::causes::{self, Awaited};
use super::tallies::put_decision;
use super::txn::Txn;
use super::waiting::{DueTimes, due_times};
use super::{Store, StoreError, key, people};
use crate::digest;
use crate::domain::model::{
    AccountId, AskId, Cause, Decision, Delivery, EntryState, LastAttempt, MessageId, MessageKind,
    OutboxEntry, Outcome, Payload, ReceiverState, SkipReason,
};
use crate::domain::reaction::{DEAD, DELIVERED, SKIPPED};
use crate::domain::retry::Next;

/// Precision of the stored time of a receiver's last success.
const A_MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// Messages by account, kind, and receiver if the kind does not say it.
pub type DueMessages = BTreeMap<(AccountId, MessageKind, Option<String>), Vec<MessageId>>;

/// A receiver, identified by a hash of its address, because addresses can hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiverId(String);

impl ReceiverId {
    pub fn of(url: &str) -> Self {
        Self(digest::short(&[url]))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueRefusal {
    #[error("there is no ask {0} in the queue: `queue list` shows what is there")]
    NoSuchMessage(MessageId),
    #[error("ask {0} is being sent right now: try again in a minute")]
    UnderWay(MessageId),
}

impl Store {
    /// Messages due at `now` by account and kind, the longest due first, and at most `each` of each. So
    /// messages to a failing receiver do not hide those to others.
    pub async fn due_messages(&self, now: Timestamp, each: usize) -> Result<DueMessages, StoreError> {
        self.scan(move |txn| {
            let mut due = DueMessages::new();
            for entry in due_index(txn) {
                let Indexed { at, id, whose, record } = entry?;
                if at > now {
                    break;
                }
                let messages = due.entry(whose.clone()).or_default();
                if messages.len() < each && is_first(txn, &whose.0, record.as_deref(), &id)? {
                    messages.push(id);
                }
            }
            Ok(due)
        })
        .await
    }

    /// When the next attempt is due.
    pub async fn next_message_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|txn| Ok(due_index(txn).next().transpose()?.map(|entry| entry.at))).await
    }

    /// Whether an attempt is due at `now`, and when the next one will be.
    pub async fn messages_due(&self, now: Timestamp) -> Result<DueTimes, StoreError> {
        self.read(move |txn| due_times(txn, key::OUTBOX_DUE, now)).await
    }

    /// One entry.
    pub async fn entry(&self, id: &MessageId) -> Result<Option<OutboxEntry>, StoreError> {
        self.get(&key::outbox(id)).await
    }

    /// Folds `look` over all entries (due, leased, dead), beginning with `start`.
    pub async fn fold_entries<S: Send + 'static>(
        &self,
        start: S,
        look: impl Fn(&mut S, OutboxEntry) + Send + 'static,
    ) -> Result<S, StoreError> {
        self.scan(move |txn| {
            let mut seen = start;
            for entry in txn.values(key::OUTBOX) {
                look(&mut seen, entry?);
            }
            Ok(seen)
        })
        .await
    }

    /// Every entry.
    #[doc(hidden)]
    pub async fn entries(&self) -> Result<Vec<OutboxEntry>, StoreError> {
        self.scan(|txn| txn.values(key::OUTBOX).collect()).await
    }

    /// The state of a receiver.
    pub async fn receiver(&self, id: &ReceiverId) -> Result<ReceiverState, StoreError> {
        Ok(self.get(&key::receiver(&id.0)).await?.unwrap_or_default())
    }

    /// Begins an attempt: counts it and leases the entry until `until`. `None` if it is no longer due. An
    /// expired lease counts as due.
    pub async fn lease(
        &self,
        id: &MessageId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<OutboxEntry>, StoreError> {
        let id = id.clone();
        self.write(move |txn| {
            let Some(mut entry) = txn.get::<OutboxEntry>(&key::outbox(&id))? else { return Ok(None) };
            match next_at(&entry) {
                Some(at) if at <= now => {}
                _ => return Ok(None),
            }
            take_from_index(txn, &entry);
            // From now on it may have reached the customer.
            txn.remove(&key::noted(&id));
            entry.attempt += 1;
            entry.state = EntryState::Leased { until };
            put_entry(txn, &entry);
            Ok(Some(entry))
        })
        .await
    }

    /// Postpones an entry, unless an attempt is running. An expired lease does not count.
    pub async fn postpone(&self, id: &MessageId, now: Timestamp, until: Timestamp) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(move |txn| {
            let Some(mut entry) = txn.get::<OutboxEntry>(&key::outbox(&id))? else { return Ok(()) };
            if next_at(&entry).is_some_and(|at| at <= now) {
                take_from_index(txn, &entry);
                entry.state = EntryState::Due { at: until };
                put_entry(txn, &entry);
            }
            Ok(())
        })
        .await
    }

    /// Ends attempt number `attempt` of an entry. `false` if that attempt no longer holds the lease: its
    /// outcome is ignored.
    pub async fn settle(
        &self,
        id: &MessageId,
        attempt: u32,
        receiver: ReceiverId,
        next: Next,
        last: LastAttempt,
    ) -> Result<bool, StoreError> {
        let (id, awaited) = (id.clone(), self.awaited());
        self.write(move |txn| {
            let Some(mut entry) = txn.get::<OutboxEntry>(&key::outbox(&id))? else { return Ok(false) };
            if entry.attempt != attempt || !matches!(entry.state, EntryState::Leased { .. }) {
                return Ok(false);
            }
            take_from_index(txn, &entry);
            match &next {
                Next::Delivered => {
                    let delivery = Delivery::Delivered {
                        at: last.at,
                        status: last.status.unwrap_or(200),
                        attempts: attempt,
                    };
                    note_delivery(txn, &entry, delivery)?;
                    note_cause(txn, &awaited, &entry, DELIVERED, last.at);
                    remove_entry(txn, &entry);
                    let key = key::receiver(&receiver.0);
                    let mut state = txn.get::<ReceiverState>(&key)?.unwrap_or_default();
                    if state.delivered_at.is_none_or(|at| last.at.duration_since(at) >= A_MINUTE) {
                        state.delivered_at = Some(last.at);
                        txn.put(&key, &state);
                    }
                    return Ok(true);
                }
                Next::DueAgain { at } => {
                    entry.failures += 1;
                    entry.state = EntryState::Due { at: *at };
                }
                Next::Dead(reason) => {
                    entry.failures += 1;
                    entry.state = EntryState::Dead { at: last.at, reason: *reason };
                    note_delivery(txn, &entry, Delivery::Dead { reason: *reason })?;
                    note_cause(txn, &awaited, &entry, DEAD, last.at);
                }
                Next::ReceiverGone => {
                    // The receiver refused everything, so this is no failure of the ask.
                    entry.state = EntryState::Due { at: last.at };
                    let key = key::receiver(&receiver.0);
                    let state = txn.get::<ReceiverState>(&key)?.unwrap_or_default();
                    txn.put(&key, &ReceiverState { stopped_at: Some(last.at), ..state });
                }
            }
            entry.last = Some(last.clone());
            put_entry(txn, &entry);
            Ok(true)
        })
        .await
    }

    /// Makes a waiting or dead entry due at once and restarts its schedule. Resumes its receiver, if that is
    /// known.
    pub async fn retry_entry(
        &self,
        id: &MessageId,
        receiver: Option<ReceiverId>,
        now: Timestamp,
    ) -> Result<Result<(), QueueRefusal>, StoreError> {
        let id = id.clone();
        self.write(move |txn| {
            let Some(mut entry) = txn.get::<OutboxEntry>(&key::outbox(&id))? else {
                return Ok(Err(QueueRefusal::NoSuchMessage(id.clone())));
            };
            if is_under_way(&entry, now) {
                return Ok(Err(QueueRefusal::UnderWay(id.clone())));
            }
            take_from_index(txn, &entry);
            note_delivery(txn, &entry, Delivery::Queued)?;
            entry.failures = 0;
            entry.state = EntryState::Due { at: now };
            put_entry(txn, &entry);
            if let Some(receiver) = &receiver {
                txn.remove(&key::receiver(&receiver.0));
            }
            Ok(Ok(()))
        })
        .await
    }

    /// Removes an entry from the queue for good. Its markers stay, so the customer is not asked again.
    pub async fn drop_entry(
        &self,
        id: &MessageId,
        now: Timestamp,
    ) -> Result<Result<(), QueueRefusal>, StoreError> {
        let id = id.clone();
        self.write(move |txn| {
            let Some(entry) = txn.get::<OutboxEntry>(&key::outbox(&id))? else {
                return Ok(Err(QueueRefusal::NoSuchMessage(id.clone())));
            };
            if is_under_way(&entry, now) {
                return Ok(Err(QueueRefusal::UnderWay(id.clone())));
            }
            drop_from_queue(txn, &entry)?;
            Ok(Ok(()))
        })
        .await
    }

    /// Takes an ask out of the queue and records why it is not sent. If there was an attempt, its markers stay: it may
    /// have reached the customer. If there was none, nobody was asked, and the work can be asked about when it is
    /// finished again. `false` if an attempt is running or it is gone.
    pub async fn skip_entry(
        &self,
        id: &MessageId,
        reason: SkipReason,
        saw: BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (id, awaited) = (id.clone(), self.awaited());
        self.write(move |txn| {
            let Some(entry) = txn.get::<OutboxEntry>(&key::outbox(&id))? else { return Ok(false) };
            if is_under_way(&entry, now) {
                return Ok(false);
            }
            note_cause(txn, &awaited, &entry, &format!("{SKIPPED}{}", reason.as_str()), now);
            skip_in_queue(txn, &entry, reason, saw.clone(), now)?;
            Ok(true)
        })
        .await
    }

    /// Counts queued asks and dead letters.
    pub async fn outbox_counts(&self) -> Result<OutboxCounts, StoreError> {
        self.fold_entries(OutboxCounts::default(), |counts, entry| {
            let account = counts.by_account.entry(entry.account).or_default();
            match entry.state {
                EntryState::Dead { .. } => account.dead += 1,
                EntryState::Due { .. } | EntryState::Leased { .. } => account.queued += 1,
            }
        })
        .await
    }
}

#[derive(Debug, Clone, Default)]
pub struct OutboxCounts {
    pub by_account: BTreeMap<AccountId, QueueCount>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueCount {
    pub queued: usize,
    pub dead: usize,
}

/// An entry of the index of due times.
struct Indexed {
    at: Timestamp,
    id: MessageId,
    whose: (AccountId, MessageKind, Option<String>),
    /// The record that the message is about, if its messages leave in order.
    record: Option<String>,
}

fn due_index(txn: &Txn<'_>) -> impl Iterator<Item = Result<Indexed, StoreError>> + use<> {
    txn.scan(key::OUTBOX_DUE).map(|entry| {
        let (key, value) = entry?;
        let (at, id) = key::parse_outbox_due(&key).ok_or_else(key::broken)?;
        let value = key::parse_outbox_due_value(&value).ok_or_else(key::broken)?;
        let key::DueValue { kind, account, record, to } = value;
        Ok(Indexed { at, id, whose: (account, kind, to), record })
    })
}

/// Whether no older message about the same record is still on its way.
fn is_first(
    txn: &Txn<'_>,
    account: &AccountId,
    record: Option<&str>,
    id: &MessageId,
) -> Result<bool, StoreError> {
    let Some(record) = record else { return Ok(true) };
    let family = key::order_of(account, record);
    let first = txn.scan(&family).next().transpose()?;
    Ok(first.is_none_or(|(key, _)| key.ends_with(id.as_str().as_bytes())))
}

pub(super) fn put_entry(txn: &mut Txn<'_>, entry: &OutboxEntry) {
    let record = entry.payload.record();
    if let Some(at) = next_at(entry) {
        let value = key::outbox_due_value(
            entry.payload.kind(),
            &entry.account,
            record.as_deref(),
            entry.payload.to(),
        );
        txn.put_raw(key::outbox_due(at, &entry.id), value);
    }
    if let Some(record) = record {
        let order = key::order(&entry.account, &record, entry.payload.place(entry.created_at), &entry.id);
        if matches!(entry.state, EntryState::Dead { .. }) {
            // The next one may leave.
            txn.remove(&order);
        } else {
            txn.put_raw(order, Vec::new());
        }
    }
    txn.put(&key::outbox(&entry.id), entry);
}

/// Its markers stay, so the customer is not asked again.
fn drop_from_queue(txn: &mut Txn<'_>, entry: &OutboxEntry) -> Result<(), StoreError> {
    take_from_index(txn, entry);
    note_delivery(txn, entry, Delivery::Dropped)?;
    remove_entry(txn, entry);
    Ok(())
}

fn skip_in_queue(
    txn: &mut Txn<'_>,
    entry: &OutboxEntry,
    reason: SkipReason,
    saw: BTreeMap<String, String>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let decision_key = key::decision(&entry.account, entry.payload.work());
    if let Some(mut decision) = txn.get::<Decision>(&decision_key)? {
        decision.outcome = Outcome::Skipped { reason };
        decision.saw = saw;
        decision.saw.insert("attempts".to_owned(), entry.attempt.to_string());
        decision.saw.insert("ask_not_sent".to_owned(), entry.id.to_string());
        if entry.attempt == 0 {
            people::take_back(txn, entry)?;
        }
        decision.at = now;
        put_decision(txn, &entry.account, &decision)?;
    }
    take_from_index(txn, entry);
    remove_entry(txn, entry);
    Ok(())
}

/// Deletes a message about somebody who is forgotten, unless it is being sent.
pub(super) fn forget_entry(txn: &mut Txn<'_>, id: &MessageId, now: Timestamp) -> Result<(), StoreError> {
    match txn.get::<OutboxEntry>(&key::outbox(id))? {
        Some(entry) if is_under_way(&entry, now) => Ok(()),
        Some(entry)
            if entry.payload.kind() == MessageKind::Ask
                && !matches!(entry.state, EntryState::Dead { .. }) =>
        {
            skip_in_queue(txn, &entry, SkipReason::Suppressed, BTreeMap::new(), now)
        }
        Some(entry) => drop_from_queue(txn, &entry),
        None => Ok(()),
    }
}

/// Removes an entry that was taken from the index.
fn remove_entry(txn: &mut Txn<'_>, entry: &OutboxEntry) {
    if let Some(record) = entry.payload.record() {
        txn.remove(&key::order(&entry.account, &record, entry.payload.place(entry.created_at), &entry.id));
    }
    txn.remove(&key::noted(&entry.id));
    txn.remove(&key::outbox(&entry.id));
}

/// Makes every entry that waits for its next attempt due now. Returns their number.
pub(super) fn due_again(txn: &mut Txn<'_>, now: Timestamp) -> Result<usize, StoreError> {
    let mut moved = 0;
    for entry in txn.values::<OutboxEntry>(key::OUTBOX).collect::<Result<Vec<_>, _>>()? {
        if matches!(entry.state, EntryState::Due { at } if at > now) {
            take_from_index(txn, &entry);
            put_entry(txn, &OutboxEntry { state: EntryState::Due { at: now }, ..entry });
            moved += 1;
        }
    }
    Ok(moved)
}

/// Notes what became of an ask, for rules.
fn note_cause(txn: &mut Txn<'_>, awaited: &Awaited, entry: &OutboxEntry, what: &str, at: Timestamp) {
    if let Payload::Ask { work, .. } = &entry.payload {
        let ask = AskId::new(entry.id.as_str());
        let cause = Cause {
            id: entry.id.to_string(),
            what: what.to_owned(),
            account: entry.account.clone(),
            at,
            work: Some(work.clone()),
            ask: Some(ask),
            client: None,
            item: None,
            heard_at: None,
        };
        causes::note(txn, awaited, &cause);
    }
}

fn take_from_index(txn: &mut Txn<'_>, entry: &OutboxEntry) {
    if let Some(at) = next_at(entry) {
        txn.remove(&key::outbox_due(at, &entry.id));
    }
}

/// The time of the next action for an entry: its next attempt, or the end of its lease.
fn next_at(entry: &OutboxEntry) -> Option<Timestamp> {
    match entry.state {
        EntryState::Due { at } => Some(at),
        EntryState::Leased { until } => Some(until),
        EntryState::Dead { .. } => None,
    }
}

fn is_under_way(entry: &OutboxEntry, now: Timestamp) -> bool {
    matches!(entry.state, EntryState::Leased { until } if until > now)
}

/// Drops all asks of an account, except leased ones, which will still be settled. Returns their number.
pub(super) fn drop_entries_of(
    txn: &mut Txn<'_>,
    account: &AccountId,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let mut dropped = 0;
    for entry in entries_of(txn, account)? {
        if !is_under_way(&entry, now) {
            take_from_index(txn, &entry);
            note_delivery(txn, &entry, Delivery::Dropped)?;
            remove_entry(txn, &entry);
            dropped += 1;
        }
    }
    Ok(dropped)
}

/// Deletes all asks of an account, leased ones too.
pub(super) fn forget_entries_of(txn: &mut Txn<'_>, account: &AccountId) -> Result<(), StoreError> {
    for entry in entries_of(txn, account)? {
        take_from_index(txn, &entry);
        remove_entry(txn, &entry);
    }
    Ok(())
}

fn entries_of(txn: &Txn<'_>, account: &AccountId) -> Result<Vec<OutboxEntry>, StoreError> {
    let mut entries = Vec::new();
    for record in txn.records::<OutboxEntry>(key::OUTBOX) {
        let (_, entry) = record?;
        if entry.account == *account {
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// Makes every leased entry due: the process that leased it is gone.
pub(super) fn release_leases(txn: &mut Txn<'_>) -> Result<(), StoreError> {
    let mut leased = Vec::new();
    for record in txn.records::<OutboxEntry>(key::OUTBOX) {
        let (_, entry) = record?;
        if let EntryState::Leased { .. } = entry.state {
            leased.push(entry);
        }
    }
    for mut entry in leased {
        take_from_index(txn, &entry);
        entry.state = EntryState::Due { at: entry.created_at };
        put_entry(txn, &entry);
    }
    Ok(())
}

fn note_delivery(txn: &mut Txn<'_>, entry: &OutboxEntry, delivery: Delivery) -> Result<(), StoreError> {
    let Payload::Ask { work, .. } = &entry.payload else { return Ok(()) };
    let key = key::decision(&entry.account, work);
    let Some(mut decision) = txn.get::<Decision>(&key)? else { return Ok(()) };
    if let Outcome::Asked { ask_id, delivery: stands } = &mut decision.outcome
        && MessageId::from(&*ask_id) == entry.id
    {
        *stands = delivery;
        put_decision(txn, &entry.account, &decision)?;
    }
    Ok(())
}
