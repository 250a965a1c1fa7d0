//! Events of Jobber's that wait to be forwarded.
//!
//! An event is stored under its record and the time it happened, in the commit that takes it. Its message is made in the
//! commit that removes it, so none is lost and none is made twice.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::outbox::put_entry;
use super::txn::Txn;
use super::{Store, StoreError, key};
use crate::clock::minus;
use crate::domain::forward::{Pending, Sequence, event_id};
use crate::domain::model::{AccountId, OutboxEntry};
use crate::domain::webhook_event::Event;

/// How long a repeat of an event is known as one.
const REPEATS: SignedDuration = SignedDuration::from_hours(24);

/// How long a record that is silent keeps its count.
const COUNTED: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Stores an event to forward. `false` if it is a repeat.
pub(super) fn note(txn: &mut Txn<'_>, event: &Event, now: Timestamp) -> Result<bool, StoreError> {
    let Event { account, topic, item, occurred_at } = event;
    let occurred_at = occurred_at.unwrap_or(now);
    let id = event_id(account.as_str(), *topic, item.as_str(), occurred_at);
    let heard = key::heard(&id);
    if txn.get::<Timestamp>(&heard)?.is_some() {
        return Ok(false);
    }
    txn.put(&heard, &now);
    let sequence_key = key::sequence(account, item);
    let count = txn.get::<Sequence>(&sequence_key)?.map_or(0, |sequence| sequence.count) + 1;
    txn.put(&sequence_key, &Sequence { count, at: now });
    let pending =
        Pending { topic: *topic, item: item.clone(), occurred_at, received_at: now, sequence: count };
    txn.put(&key::forward(account, &pending, &id), &pending);
    Ok(true)
}

impl Store {
    /// The events that wait, by account; of one record in the order in which they happened.
    pub async fn pending_forwards(&self) -> Result<BTreeMap<AccountId, Vec<Pending>>, StoreError> {
        self.scan(|txn| {
            let mut found: BTreeMap<AccountId, Vec<Pending>> = BTreeMap::new();
            for entry in txn.scan(key::FORWARD) {
                let (name, _) = entry?;
                let account = key::account_of_forward(&name).ok_or_else(key::broken)?;
                found.entry(account).or_default().extend(txn.get::<Pending>(&name)?);
            }
            Ok(found)
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
        let account = account.clone();
        self.write(move |txn| {
            for event in &events {
                let id = event_id(account.as_str(), event.topic, event.item.as_str(), event.occurred_at);
                txn.remove(&key::forward(&account, event, &id));
            }
            for message in &messages {
                put_entry(txn, message);
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
                for name in txn.keys(key::HEARD)? {
                    if txn.get::<Timestamp>(&name)?.is_some_and(|at| at < repeats) {
                        old.push(name);
                    }
                }
                for name in txn.keys(key::SEQUENCE)? {
                    if txn.get::<Sequence>(&name)?.is_some_and(|sequence| sequence.at < counted) {
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
