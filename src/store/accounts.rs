//! Operator commands for one account: its own settings, pause, disconnect, removal.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::SecretString;

use super::entry::Bytes;
use super::outbox::{drop_entries_of, forget_entries_of};
use super::txn::Txn;
use super::waiting::update_waiting;
use super::{Store, StoreError, find, key};
use crate::domain::model::{
    Account, AccountId, ApiKey, AskOf, Connection, Contacted, Decision, Health, OutboxEntry, Outcome, Review,
    SkipReason, Trigger, Turn,
};

/// Maximum number of keys deleted in one commit, so that other writes get their turn.
const TOGETHER: usize = 512;

/// The changes to an account. Absent fields stay as they are.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub keys: BTreeMap<String, Option<serde_json::Value>>,
    pub body: Own<String>,
    pub secret: Own<SecretString>,
    pub trigger: Option<Trigger>,
}

#[derive(Debug, Clone, Default)]
pub enum Own<T> {
    #[default]
    Keep,
    Set(T),
    /// The account goes back to the shared value.
    Unset,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Belongings {
    pub decisions: usize,
    pub waiting: usize,
    pub asks: usize,
}

impl Store {
    /// The secret that signs for the account's own receiver.
    pub async fn webhook_secret(&self, id: &AccountId) -> Result<Option<SecretString>, StoreError> {
        let key = key::webhook_secret(id);
        let sealed = self.read(move |txn| txn.get_raw(&key)).await?;
        sealed.map(|sealed| self.0.sealer.open_secret(id, &sealed)).transpose()
    }

    /// Changes an account. `None` if it does not exist. A new trigger asks only about work finished after
    /// `at`, by Jobber's clock.
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
                // Another kind of work has a pace of its own.
                txn.remove(&key::pace(&id));
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

    /// Pauses an account, or resumes it. `false` if that was its state already.
    pub async fn pause(&self, id: &AccountId, is_pause: bool, now: Timestamp) -> Result<bool, StoreError> {
        let key = key::account(id);
        self.write(move |txn| {
            let Some(mut account) = txn.get::<Account>(&key)? else { return Ok(false) };
            if account.paused_at.is_some() == is_pause {
                return Ok(false);
            }
            account.paused_at = is_pause.then_some(now);
            account.note(if is_pause { Turn::Paused } else { Turn::Resumed }, now);
            txn.put(&key, &account);
            // Alerts from before the pause must be raised again.
            forget_troubles(txn, &account.id)?;
            Ok(true)
        })
        .await
    }

    /// Ends a connection for good and deletes its tokens. Decisions stay. Candidates are skipped and queued
    /// asks are dropped. Returns the number of dropped asks.
    pub async fn disconnect(&self, id: &AccountId, now: Timestamp) -> Result<usize, StoreError> {
        let id = id.clone();
        self.write(move |txn| {
            let Some(mut account) = txn.get::<Account>(&key::account(&id))? else { return Ok(0) };
            account.connection = Connection::Disconnected { at: now };
            account.note(Turn::Disconnected, now);
            account.events = false;
            txn.put(&key::account(&id), &account);
            for key in [key::token(&id), key::refreshing(&id), key::asked(&id), key::gaps(&id)] {
                txn.remove(&key);
            }
            end_waiting(txn, &id, now)?;
            let causes = txn.keys(&key::of_account(key::CAUSE, &id))?;
            let forwards = txn.keys(&key::of_account(key::FORWARD, &id))?;
            for key in super::inbox::keys_of(txn, &id)?.into_iter().chain(causes).chain(forwards) {
                txn.remove(&key);
            }
            drop_entries_of(txn, &id, now)
        })
        .await
    }

    /// Counts what a removal would delete.
    pub async fn belongings(&self, id: &AccountId) -> Result<Belongings, StoreError> {
        let id = id.clone();
        self.scan(move |txn| {
            let mut found = Belongings::default();
            for decision in txn.values::<Decision>(&key::of_account(key::DECISION, &id)) {
                found.decisions += 1;
                found.waiting +=
                    usize::from(matches!(decision?.outcome, Outcome::Waiting { .. } | Outcome::Held { .. }));
            }
            for entry in txn.values::<OutboxEntry>(key::OUTBOX) {
                found.asks += usize::from(entry?.account == id);
            }
            Ok(found)
        })
        .await
    }

    /// Deletes everything about a disconnected account. `false` if it was connected meanwhile. Running work
    /// is ended first and the account itself is deleted last, so an interrupted removal can be repeated.
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
                    if key.starts_with(key::DECISION) {
                        find::remove_decision(txn, key)?;
                    } else {
                        txn.remove(key);
                    }
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
            for key in [
                key::token(&id),
                key::refreshing(&id),
                key::webhook_secret(&id),
                key::health(&id),
                key::pace(&id),
                key::asked(&id),
                key::gaps(&id),
                key::standing(&id),
                key,
            ] {
                txn.remove(&key);
            }
            Ok(true)
        })
        .await
    }
}

fn keys_of(txn: &Txn<'_>, id: &AccountId) -> Result<Vec<Bytes>, StoreError> {
    let mut keys = super::inbox::keys_of(txn, id)?;
    for family in [
        key::DAY,
        key::DECISION,
        key::MARKER,
        key::CONTACT,
        key::SUPPRESSION,
        key::CARD,
        key::SEEN,
        key::HELD,
        key::ACTED_ON,
        key::ACTION,
        key::CAUSE,
        key::ORDER,
        key::FORWARD,
        key::SEQUENCE,
    ] {
        keys.extend(txn.keys(&key::of_account(family, id))?);
    }
    for entry in txn.scan(key::ASK) {
        let (key, _) = entry?;
        if txn.get::<AskOf>(&key)?.is_some_and(|of| of.account == *id) {
            keys.push(key);
        }
    }
    for entry in txn.scan(key::API_KEY) {
        let (key, _) = entry?;
        if txn.get::<ApiKey>(&key)?.is_some_and(|known| known.account.as_ref() == Some(id)) {
            keys.push(key);
        }
    }
    for entry in txn.scan(key::REVIEW) {
        let (key, _) = entry?;
        if txn.get::<Review>(&key)?.is_some_and(|review| review.of.account == *id) {
            keys.push(key);
        }
    }
    // Shadow notes, and notes shared by all accounts.
    for entry in txn.scan(key::CONTACT) {
        let (key, _) = entry?;
        if txn.get::<Contacted>(&key)?.is_some_and(|contacted| contacted.account == *id) {
            keys.push(key);
        }
    }
    Ok(keys)
}

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
    super::bursts::end(txn, id, now, SkipReason::Disconnected)?;
    Ok(())
}

/// Nobody knows whether an alert from before a pause or a reconnect still applies.
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
