//! Events that were heard and not followed up yet: an inbox for each account, with an end.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::writer::Txn;
use super::{Store, StoreError, key};
use crate::digest;
use crate::event::{Event, Wish};
use crate::model::{Account, AccountId, EncodedId, Health};

/// Wishes of one account that are kept one by one; more become one sweep.
const KEPT: usize = 1_000;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It is in the inbox.
    New,
    /// The same wish was there already.
    Known,
    /// The inbox was full: the account is swept instead.
    Swept,
    /// No account has use for it.
    Unknown,
}

impl Store {
    /// Puts what an event asks for into its account's inbox; durable when this returns.
    pub async fn note_event(&self, event: Event, now: Timestamp) -> Result<Noted, StoreError> {
        self.write(move |txn| {
            let Some(account) = txn.get::<Account>(&key::account(&event.account))? else {
                return Ok(Noted::Unknown);
            };
            let Some(wish) = event.wish(account.trigger) else { return Ok(Noted::Unknown) };
            let health_key = key::health(&account.id);
            let mut health: Health = txn.get(&health_key)?.unwrap_or_default();
            if health.last_webhook.is_none_or(|last| now.duration_since(last).as_secs() >= 1) {
                health.last_webhook = Some(now);
                txn.put(&health_key, &health);
            }
            let wish_key = wish_key(&account.id, &wish);
            if txn.get_raw(&wish_key)?.is_some() {
                return Ok(Noted::Known);
            }
            let inbox = key::of_account(key::EVENT, &account.id);
            if txn.committed_keys(&inbox).take(KEPT).count() < KEPT {
                txn.put(&wish_key, &wish);
                return Ok(Noted::New);
            }
            let sweep = wish_key_of_sweep(&account.id);
            txn.put(&sweep, &Wish::Sweep);
            Ok(Noted::Swept)
        })
        .await
    }

    /// What every account's inbox holds.
    pub fn wishes(&self) -> Result<BTreeMap<AccountId, Vec<Wish>>, StoreError> {
        let mut wishes: BTreeMap<AccountId, Vec<Wish>> = BTreeMap::new();
        for entry in self.scan::<Wish>(key::EVENT) {
            let (key, wish) = entry?;
            let account = key::account_of_event(&key).ok_or_else(key::broken)?;
            wishes.entry(account).or_default().push(wish);
        }
        Ok(wishes)
    }

    /// Whether any inbox holds anything.
    pub fn has_wishes(&self) -> Result<bool, StoreError> {
        Ok(self.0.tree.scan_prefix(key::EVENT).next().transpose()?.is_some())
    }

    /// Takes wishes out: they were followed.
    pub async fn take_wishes(&self, id: &AccountId, wishes: Vec<Wish>) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(move |txn| {
            for wish in &wishes {
                txn.remove(&wish_key(&id, wish));
            }
            Ok(())
        })
        .await
    }

    /// Notes that events may be expected, or that one came.
    pub async fn note_webhook(&self, id: &AccountId, now: Timestamp) -> Result<(), StoreError> {
        let key = key::health(id);
        self.write(move |txn| {
            let mut health: Health = txn.get(&key)?.unwrap_or_default();
            health.last_webhook = Some(now);
            txn.put(&key, &health);
            Ok(())
        })
        .await
    }

    /// Notes the endpoints at Jobber that send an account's events.
    pub async fn note_endpoints(
        &self,
        id: &AccountId,
        change: impl FnOnce(&mut BTreeMap<String, EncodedId>) + Send + 'static,
    ) -> Result<(), StoreError> {
        let key = key::account(id);
        self.write(move |txn| {
            let Some(mut account) = txn.get::<Account>(&key)? else { return Ok(()) };
            change(&mut account.endpoints);
            txn.put(&key, &account);
            Ok(())
        })
        .await
    }
}

fn wish_key(account: &AccountId, wish: &Wish) -> Vec<u8> {
    let name = match wish {
        Wish::Read { work } => digest::short(&[work.kind.as_str(), work.id.as_str()]),
        Wish::Client { id } => digest::short(&["client", id.as_str()]),
        Wish::Connection => "connection".to_owned(),
        Wish::Sweep => return wish_key_of_sweep(account),
    };
    key::event(account, &name)
}

fn wish_key_of_sweep(account: &AccountId) -> Vec<u8> {
    key::event(account, "sweep")
}

/// Forgets an account's inbox.
pub(super) fn keys_of(txn: &Txn<'_>, id: &AccountId) -> Result<Vec<sled::IVec>, StoreError> {
    txn.committed_keys(&key::of_account(key::EVENT, id)).collect()
}
