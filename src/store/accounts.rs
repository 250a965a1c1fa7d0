//! What an admin says of one account: its own settings, its rest, its end.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::SecretString;

use super::decisions::update_waiting;
use super::outbox::{drop_entries_of, forget_entries_of};
use super::sled::Bytes;
use super::txn::Txn;
use super::{Store, StoreError, key};
use crate::domain::model::{
    Account, AccountId, Connection, Contacted, Decision, Health, OutboxEntry, Outcome, SkipReason, Trigger,
};

/// Keys that one commit forgets, at most: others want to write too.
const TOGETHER: usize = 512;

/// What an admin changes about an account; what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Settings of its own, by key; those without a value go back to what `[review]` says.
    pub keys: BTreeMap<String, Option<serde_json::Value>>,
    /// A template of the body, or none of its own any more.
    pub body: Own<String>,
    /// What signs for its receiver, or none of its own any more.
    pub secret: Own<SecretString>,
    /// What fires an ask from now on.
    pub trigger: Option<Trigger>,
}

/// What becomes of something that an account can have of its own.
#[derive(Debug, Clone, Default)]
pub enum Own<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is this from now on.
    Set(T),
    /// It has none of its own any more.
    Unset,
}

/// How much an account's removal takes with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Belongings {
    /// Decisions, whatever they were.
    pub decisions: usize,
    /// Works that wait for their moment.
    pub waiting: usize,
    /// Asks on their way, and dead letters.
    pub asks: usize,
}

impl Store {
    /// The secret that signs for an account's own receiver.
    pub async fn webhook_secret(&self, id: &AccountId) -> Result<Option<SecretString>, StoreError> {
        let sealed = self.read(|txn| txn.get_raw(&key::webhook_secret(id))).await?;
        sealed.map(|sealed| self.0.sealer.open_secret(id, &sealed)).transpose()
    }

    /// Changes an account; `None` if there is no such one. A changed trigger asks only about work from `at` on, by Jobber's
    /// clock.
    pub async fn change_account(
        &self,
        id: &AccountId,
        change: Change,
        at: Timestamp,
    ) -> Result<Option<Account>, StoreError> {
        let sealed = match &change.secret {
            Own::Keep => Own::Keep,
            Own::Set(secret) => Own::Set(self.0.sealer.seal_secret(id, secret)?),
            Own::Unset => Own::Unset,
        };
        let id = id.clone();
        self.write(move |txn| {
            let Some(mut account) = txn.get::<Account>(&key::account(&id))? else { return Ok(None) };
            for (name, value) in &change.keys {
                match value {
                    Some(value) => account.overrides.keys.insert(name.clone(), value.clone()),
                    None => account.overrides.keys.remove(name),
                };
            }
            match &change.body {
                Own::Keep => {}
                Own::Set(body) => account.overrides.body = Some(body.clone()),
                Own::Unset => account.overrides.body = None,
            }
            if let Some(trigger) = change.trigger.filter(|trigger| *trigger != account.trigger) {
                account.trigger = trigger;
                account.asks_from = at;
                account.reconciled_at = None;
            }
            match &sealed {
                Own::Keep => {}
                Own::Set(sealed) => txn.put_raw(key::webhook_secret(&id), sealed.clone()),
                Own::Unset => txn.remove(&key::webhook_secret(&id)),
            }
            txn.put(&key::account(&id), &account);
            Ok(Some(account))
        })
        .await
    }

    /// Has an account rest, or go on; `false` if it did already.
    pub async fn pause(&self, id: &AccountId, since: Option<Timestamp>) -> Result<bool, StoreError> {
        let key = key::account(id);
        self.write(move |txn| {
            let Some(mut account) = txn.get::<Account>(&key)? else { return Ok(false) };
            if account.paused_at.is_some() == since.is_some() {
                return Ok(false);
            }
            account.paused_at = since;
            txn.put(&key, &account);
            // Troubles from before the rest are to be found anew.
            forget_troubles(txn, &account.id)?;
            Ok(true)
        })
        .await
    }

    /// Ends a connection for good: no tokens, nothing more is read. What was decided stays on record; what waited is not
    /// asked about, and asks that were still on their way are dropped. How many those were.
    pub async fn disconnect(&self, id: &AccountId, now: Timestamp) -> Result<usize, StoreError> {
        let id = id.clone();
        self.write(move |txn| {
            let Some(mut account) = txn.get::<Account>(&key::account(&id))? else { return Ok(0) };
            account.connection = Connection::Disconnected { at: now };
            // Whoever disconnects has ended them before.
            account.endpoints.clear();
            txn.put(&key::account(&id), &account);
            for key in [key::token(&id), key::refreshing(&id)] {
                txn.remove(&key);
            }
            end_waiting(txn, &id, now)?;
            for key in super::inbox::keys_of(txn, &id)? {
                txn.remove(&key);
            }
            drop_entries_of(txn, &id, now)
        })
        .await
    }

    /// What would be gone with an account.
    pub async fn belongings(&self, id: &AccountId) -> Result<Belongings, StoreError> {
        let id = id.clone();
        self.scan(move |txn| {
            let mut found = Belongings::default();
            for decision in txn.values::<Decision>(&key::of_account(key::DECISION, &id)) {
                found.decisions += 1;
                found.waiting += usize::from(matches!(decision?.outcome, Outcome::Waiting { .. }));
            }
            for entry in txn.values::<OutboxEntry>(key::OUTBOX) {
                found.asks += usize::from(entry?.account == id);
            }
            Ok(found)
        })
        .await
    }

    /// Forgets everything about an account that is not connected; `false` if it was connected meanwhile. First nothing of it
    /// can be under way any more, and the account itself goes last: cut off half way, it is simply done again.
    pub async fn remove_account(&self, id: &AccountId, now: Timestamp) -> Result<bool, StoreError> {
        let is_connected = |account: &Account| matches!(account.connection, Connection::Connected);
        let key = key::account(id);
        let mine = id.clone();
        let begun = self
            .write(move |txn| {
                let Some(mut account) = txn.get::<Account>(&key)? else { return Ok(true) };
                if is_connected(&account) {
                    return Ok(false);
                }
                account.connection = Connection::Disconnected { at: now };
                txn.put(&key, &account);
                end_waiting(txn, &mine, now)?;
                forget_entries_of(txn, &mine)?;
                Ok(true)
            })
            .await?;
        if !begun {
            return Ok(false);
        }
        let account = id.clone();
        let keys = self.scan(move |txn| keys_of(txn, &account)).await?;
        for keys in keys.chunks(TOGETHER) {
            let keys = keys.to_vec();
            self.write(move |txn| {
                for key in &keys {
                    txn.remove(key);
                }
                Ok(())
            })
            .await?;
        }
        let id = id.clone();
        self.write(move |txn| {
            let key = key::account(&id);
            if txn.get::<Account>(&key)?.as_ref().is_some_and(is_connected) {
                return Ok(false);
            }
            for key in
                [key::token(&id), key::refreshing(&id), key::webhook_secret(&id), key::health(&id), key]
            {
                txn.remove(&key);
            }
            Ok(true)
        })
        .await
    }
}

fn keys_of(txn: &Txn<'_>, id: &AccountId) -> Result<Vec<Bytes>, StoreError> {
    let mut keys = super::inbox::keys_of(txn, id)?;
    for family in [key::DECISION, key::MARKER, key::CONTACT, key::SUPPRESSION, key::CARD, key::SEEN] {
        keys.extend(txn.keys(&key::of_account(family, id))?);
    }
    // Notes of a shadow, and those that all accounts share.
    for entry in txn.scan(key::CONTACT) {
        let (key, _) = entry?;
        if txn.get::<Contacted>(&key)?.is_some_and(|contacted| contacted.account == *id) {
            keys.push(key);
        }
    }
    Ok(keys)
}

/// What waits is not asked about any more.
fn end_waiting(txn: &mut Txn<'_>, id: &AccountId, now: Timestamp) -> Result<(), StoreError> {
    let due = txn.keys(key::DUE)?;
    for key in due {
        let (_, account, work) = key::parse_due(&key).ok_or_else(key::broken)?;
        if account == *id {
            update_waiting(txn, id, &work, |decision| {
                decision.outcome = Outcome::Skipped { reason: SkipReason::Disconnected };
                decision.at = now;
            })?;
        }
    }
    Ok(())
}

/// Whatever was wrong with an account before it rested or was connected again, nobody knows whether it still is.
pub(super) fn forget_troubles(txn: &mut Txn<'_>, id: &AccountId) -> Result<(), StoreError> {
    let key = key::health(id);
    let Some(mut health) = txn.get::<Health>(&key)? else { return Ok(()) };
    health.failing_since = None;
    health.last_error = None;
    health.needs_operator = false;
    health.asking_fails_since = None;
    txn.put(&key, &health);
    Ok(())
}
