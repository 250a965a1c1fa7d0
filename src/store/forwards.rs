//! Events of Jobber's that wait to be forwarded.
//!
//! An event is stored under its record and the time it happened, in the commit that takes it. Its message is made in the
//! commit that removes it, so none is lost and none is made twice.

use std::collections::BTreeSet;
use std::ops::Bound;

use jiff::{SignedDuration, Timestamp};

use super::causes::{self, Awaited};
use super::outbox::put_entry;
use super::txn::Txn;
use super::{Store, StoreError, key};
use crate::clock::{minus, plus};
use crate::domain::forward::{Pending, Sequence, event_id};
use crate::domain::gaps::{GapMarks, are_near, was_heard};
use crate::domain::model::{AccountId, Cause, EncodedId, OutboxEntry, Payload};
use crate::domain::webhook_event::{Event, FoundBy, Record, Topic, Uses};

/// How long a repeat of an event is known as one.
const REPEATS: SignedDuration = SignedDuration::from_hours(24);

/// How long a record that is silent keeps its count.
const COUNTED: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Jobber's own event of a connection or its end, when this program has told of it within this time, is the same one.
const SAME_CONNECTION: SignedDuration = SignedDuration::from_hours(1);

/// Our clock and Jobber's may differ by this.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(15);

/// Stores an event for those who wait for it: receivers, and rules. `false` if it is a repeat, or nobody waits.
pub(super) fn note(
    txn: &mut Txn<'_>,
    awaited: &Awaited,
    event: &Event,
    (is_forwarded, found_by): (bool, FoundBy),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Event { account, topic, item, occurred_at } = event;
    let is_wanted = is_forwarded || awaited.contains(topic.as_str());
    let is_connection = topic.record() == Record::Account;
    if !is_wanted && !is_connection {
        return Ok(false);
    }
    let item = if is_connection { EncodedId::new(account.as_str()) } else { item.clone() };
    let occurred_at = occurred_at.unwrap_or(now);
    let id = event_id(account.as_str(), *topic, item.as_str(), occurred_at);
    let heard = key::heard(&id);
    if txn.get::<Timestamp>(&heard)?.is_some() {
        return Ok(false);
    }
    let sequence_key = key::sequence(account, &item);
    let known: Option<Sequence> = txn.get(&sequence_key)?;
    let mut sequence = known.unwrap_or_else(|| Sequence::new(now));
    let last = sequence.heard.get(topic).copied();
    if is_connection && last.is_some_and(|last| occurred_at.duration_since(last).abs() < SAME_CONNECTION) {
        return Ok(false);
    }
    let told = sequence.swept.get(topic);
    if found_by == FoundBy::Event && told.is_some_and(|told| are_near(*told, occurred_at)) {
        // It is late, and a sweep has told of it.
        return Ok(false);
    }
    if found_by == FoundBy::Sweep {
        sequence.swept.insert(*topic, occurred_at);
    }
    sequence.count += u64::from(is_wanted);
    sequence.at = now;
    if is_connection {
        // After a disconnection a connection is another one.
        sequence.heard.retain(|other, _| other == topic);
    }
    // One from the future hides nothing; clocks may differ a little.
    let newest = last.max(Some(occurred_at.min(plus(now, CLOCKS_DIFFER))));
    sequence.heard.extend(newest.map(|newest| (*topic, newest)));
    txn.put(&sequence_key, &sequence);
    if !is_wanted {
        // It is noted only so that the next connection is another one.
        return Ok(false);
    }
    txn.put(&heard, &now);
    if is_forwarded {
        let pending = Pending {
            topic: *topic,
            item: item.clone(),
            occurred_at,
            received_at: now,
            sequence: sequence.count,
            found_by,
        };
        txn.put(&key::forward(account, &pending, &id), &pending);
    }
    let cause = Cause {
        id,
        what: topic.as_str().to_owned(),
        account: account.clone(),
        at: occurred_at,
        work: None,
        ask: None,
        client: None,
        item: Some(item),
        heard_at: Some(now),
    };
    causes::note(txn, awaited, &cause);
    Ok(true)
}

/// What a look at the lists of an account found.
#[derive(Debug, Clone)]
pub struct GapsCommit {
    pub account: AccountId,
    pub marks: GapMarks,
    /// What happened, to which record, and when.
    pub happened: Vec<(Topic, EncodedId, Timestamp)>,
    /// The topics that are forwarded.
    pub forwarded: Vec<Topic>,
    pub now: Timestamp,
}

impl Store {
    /// The accounts with events that wait.
    pub async fn accounts_with_forwards(&self) -> Result<Vec<AccountId>, StoreError> {
        self.scan(|txn| {
            let (mut accounts, mut from) = (Vec::new(), key::FORWARD.to_vec());
            // Jumps from account to account, because a queue can be long.
            while let Some((name, _)) = txn.first(Bound::Included(from))? {
                let Some(account) = key::account_of_forward(&name) else { break };
                from = key::after_account(key::FORWARD, &account);
                accounts.push(account);
            }
            Ok(accounts)
        })
        .await
    }

    /// The first events of an account that wait, without those that `is_left_out`: record by record, in the order in
    /// which they happened.
    pub async fn pending_forwards(
        &self,
        id: &AccountId,
        most: usize,
        is_left_out: impl Fn(&Pending) -> bool + Send + 'static,
    ) -> Result<Vec<Pending>, StoreError> {
        let family = key::of_account(key::FORWARD, id);
        self.scan(move |txn| {
            let is_taken = |event: &Result<Pending, StoreError>| {
                event.as_ref().map_or(true, |event| !is_left_out(event))
            };
            txn.values(&family).filter(is_taken).take(most).collect()
        })
        .await
    }

    /// Whether more than `number` events of an account wait.
    pub async fn has_more_forwards(&self, id: &AccountId, number: usize) -> Result<bool, StoreError> {
        let family = key::of_account(key::FORWARD, id);
        self.scan(move |txn| Ok(txn.scan(&family).nth(number).transpose()?.is_some())).await
    }

    /// Stores something that this program did or noticed.
    pub async fn note_own_event(&self, event: Event, uses: Uses, now: Timestamp) -> Result<bool, StoreError> {
        let awaited = self.awaited();
        self.write(move |txn| note(txn, &awaited, &event, (uses.is_forwarded, FoundBy::Daemon), now)).await
    }

    /// How far the lists of an account are known.
    pub async fn gap_marks(&self, id: &AccountId) -> Result<GapMarks, StoreError> {
        Ok(self.get(&key::gaps(id)).await?.unwrap_or_default())
    }

    /// Forgets how far lists are known.
    pub async fn forget_gap_marks(&self) -> Result<(), StoreError> {
        let keys = self.read(|txn| txn.keys(key::GAPS)).await?;
        if keys.is_empty() {
            return Ok(());
        }
        self.write(move |txn| {
            for key in &keys {
                txn.remove(key);
            }
            Ok(())
        })
        .await
    }

    /// Stores what happened without an event, and how far the lists are known. Returns the number of events that were
    /// missing.
    pub async fn commit_gaps(&self, commit: GapsCommit) -> Result<usize, StoreError> {
        let awaited = self.awaited();
        self.write(move |txn| {
            let GapsCommit { account, marks, happened, forwarded, now } = &commit;
            let (mut missing, mut created) = (0, BTreeSet::new());
            for (topic, item, at) in happened {
                if created.contains(item) && topic.as_str().ends_with("_UPDATE") {
                    // Whoever hears of a new record only now gets it as it is.
                    continue;
                }
                let sequence: Option<Sequence> = txn.get(&key::sequence(account, item))?;
                let heard = sequence.and_then(|sequence| sequence.heard.get(topic).copied());
                if was_heard(heard, *at) {
                    continue;
                }
                let event = Event {
                    account: account.clone(),
                    topic: *topic,
                    item: item.clone(),
                    occurred_at: Some(*at),
                };
                let is_new = note(txn, &awaited, &event, (forwarded.contains(topic), FoundBy::Sweep), *now)?;
                missing += usize::from(is_new);
                if is_new && topic.as_str().ends_with("_CREATE") {
                    created.insert(item.clone());
                }
            }
            txn.put(&key::gaps(account), marks);
            Ok(missing)
        })
        .await
    }

    pub async fn has_forwards(&self) -> Result<bool, StoreError> {
        self.read(|txn| Ok(txn.scan(key::FORWARD).next().transpose()?.is_some())).await
    }

    /// Puts the messages of events into the outbox, and removes the events.
    pub async fn commit_forwards(
        &self,
        account: &AccountId,
        events: Vec<Pending>,
        messages: Vec<OutboxEntry>,
    ) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        let account = account.clone();
        self.write(move |txn| {
            // An account that was disconnected or removed meanwhile has none any more.
            let mut present = BTreeSet::new();
            for event in &events {
                let id = event_id(account.as_str(), event.topic, event.item.as_str(), event.occurred_at);
                let key = key::forward(&account, event, &id);
                if txn.get::<Pending>(&key)?.is_some() {
                    present.insert((event.item.clone(), event.sequence));
                    txn.remove(&key);
                }
            }
            for message in &messages {
                let Payload::Event { work, sequence, .. } = &message.payload else { continue };
                if present.contains(&(work.id.clone(), *sequence)) {
                    put_entry(txn, message);
                }
            }
            Ok(())
        })
        .await
    }

    /// Forgets which events were heard more than a day ago, and the counts of records that are silent.
    pub async fn forget_heard(&self, now: Timestamp) -> Result<(), StoreError> {
        let (repeats, counted) = (minus(now, REPEATS), minus(now, COUNTED));
        let old = self
            .scan(move |txn| {
                let mut old = Vec::new();
                for record in txn.records::<Timestamp>(key::HEARD) {
                    let (name, at) = record?;
                    if at < repeats {
                        old.push(name);
                    }
                }
                for record in txn.records::<Sequence>(key::SEQUENCE) {
                    let (name, sequence) = record?;
                    if sequence.at < counted {
                        old.push(name);
                    }
                }
                Ok(old)
            })
            .await?;
        for names in old.chunks(256) {
            let names = names.to_vec();
            self.write(move |txn| {
                for name in &names {
                    txn.remove(name);
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}
