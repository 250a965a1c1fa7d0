//! A bounded inbox per account for events that are not followed up yet.

use std::collections::BTreeSet;
use std::ops::Bound;

use jiff::Timestamp;

use super::entry::Bytes;
use super::txn::Txn;
use super::{Store, StoreError, key};
use super::{forwards, subscriptions};
use crate::digest;
use crate::domain::model::{Account, AccountId, Connection, Health};
use crate::domain::webhook_event::{Event, FollowUp, FoundBy, InboxEntry, Record, Topic, Uses};

/// At most this many follow-ups per account are queued. Beyond that the account is swept.
const KEPT: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    New,
    Known,
    Swept,
    /// Nothing follows here, and it is forwarded.
    Forwarded,
    Unknown,
}

impl Store {
    /// Puts an event's follow-ups into the account's inbox, and the event among those that are forwarded if that is
    /// wanted. It is durable when this returns.
    pub async fn note_event(&self, event: Event, uses: Uses, now: Timestamp) -> Result<Noted, StoreError> {
        let awaited = self.awaited();
        self.write(move |txn| {
            let Some(account) = txn.get::<Account>(&key::account(&event.account))? else {
                return Ok(Noted::Unknown);
            };
            let is_over = matches!(account.connection, Connection::Disconnected { .. });
            if is_over && event.topic.record() != Record::Account {
                // Nothing can be read of it any more.
                return Ok(Noted::Unknown);
            }
            subscriptions::note_heard(txn, event.topic, now)?;
            let is_new = forwards::note(txn, &awaited, &event, (uses.is_forwarded, FoundBy::Event), now)?;
            // A changed card looks at what is watched too.
            if uses.is_watched && event.topic != Topic::ClientUpdate {
                note_follow_up(txn, &account.id, FollowUp::Watched)?;
            }
            let Some(follow_up) = event.follow_up(account.trigger) else {
                return Ok(if uses.is_watched {
                    Noted::New
                } else if is_new {
                    Noted::Forwarded
                } else {
                    Noted::Unknown
                });
            };
            let health_key = key::health(&account.id);
            let mut health: Health = txn.get(&health_key)?.unwrap_or_default();
            if health.unheard > 0
                || health.last_webhook_at.is_none_or(|last| now.duration_since(last).as_secs() >= 1)
            {
                health.last_webhook_at = Some(now);
                health.unheard = 0;
                txn.put(&health_key, &health);
            }
            let follow_up_key = follow_up_key(&account.id, &follow_up);
            if let Some(known) = txn.get::<InboxEntry>(&follow_up_key)? {
                txn.put(&follow_up_key, &InboxEntry { again: known.again + 1, ..known });
                return Ok(Noted::Known);
            }
            let inbox = key::of_account(key::EVENT, &account.id);
            if txn.scan(&inbox).take(KEPT).count() < KEPT {
                txn.put(&follow_up_key, &InboxEntry { follow_up, again: 0 });
                return Ok(Noted::New);
            }
            // A sweep reads works but no cards.
            let follow_up =
                if let FollowUp::Client { .. } = follow_up { FollowUp::Outbox } else { FollowUp::Sweep };
            note_follow_up(txn, &account.id, follow_up)?;
            Ok(Noted::Swept)
        })
        .await
    }

    /// Accounts with a non-empty inbox.
    pub async fn accounts_with_follow_ups(&self) -> Result<BTreeSet<AccountId>, StoreError> {
        self.scan(|txn| {
            let (mut accounts, mut from) = (BTreeSet::new(), key::EVENT.to_vec());
            // Jumps from account to account, because an inbox can be long.
            while let Some((key, _)) = txn.first(Bound::Included(from))? {
                if !key.starts_with(key::EVENT) {
                    break;
                }
                let account = key::account_of_event(&key).ok_or_else(key::broken)?;
                from = key::after_account(key::EVENT, &account);
                accounts.insert(account);
            }
            Ok(accounts)
        })
        .await
    }

    /// The inbox of an account.
    pub async fn follow_ups(&self, id: &AccountId) -> Result<Vec<InboxEntry>, StoreError> {
        let prefix = key::of_account(key::EVENT, id);
        self.scan(move |txn| txn.values(&prefix).collect()).await
    }

    /// Whether any inbox has an entry.
    pub async fn has_follow_ups(&self) -> Result<bool, StoreError> {
        self.read(|txn| Ok(txn.scan(key::EVENT).next().transpose()?.is_some())).await
    }

    /// Whether the inbox of an account has an entry.
    pub async fn has_follow_ups_of(&self, id: &AccountId) -> Result<bool, StoreError> {
        let prefix = key::of_account(key::EVENT, id);
        self.read(move |txn| Ok(txn.scan(&prefix).next().transpose()?.is_some())).await
    }

    /// Removes finished follow-ups, unless they were requested again meanwhile.
    pub async fn take_from_inbox(&self, id: &AccountId, followed: Vec<InboxEntry>) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(move |txn| {
            for wanted in &followed {
                let key = follow_up_key(&id, &wanted.follow_up);
                if txn.get::<InboxEntry>(&key)?.as_ref() == Some(wanted) {
                    txn.remove(&key);
                }
            }
            Ok(())
        })
        .await
    }

    /// Stores that events are expected from now on, or that one came.
    pub async fn note_webhook(&self, id: &AccountId, now: Timestamp) -> Result<(), StoreError> {
        let key = key::health(id);
        self.write(move |txn| {
            let mut health: Health = txn.get(&key)?.unwrap_or_default();
            health.last_webhook_at = Some(now);
            health.unheard = 0;
            txn.put(&key, &health);
            Ok(())
        })
        .await
    }
}

fn note_follow_up(txn: &mut Txn<'_>, id: &AccountId, follow_up: FollowUp) -> Result<(), StoreError> {
    let key = follow_up_key(id, &follow_up);
    let again = txn.get::<InboxEntry>(&key)?.map_or(0, |known| known.again + 1);
    txn.put(&key, &InboxEntry { follow_up, again });
    Ok(())
}

fn follow_up_key(account: &AccountId, follow_up: &FollowUp) -> Vec<u8> {
    let name = match follow_up {
        FollowUp::Read { work } => digest::short(&[work.kind.as_str(), work.id.as_str()]),
        FollowUp::Client { id } => digest::short(&["client", id.as_str()]),
        FollowUp::Outbox => "outbox".to_owned(),
        FollowUp::Watched => "watched".to_owned(),
        FollowUp::Connection => "connection".to_owned(),
        FollowUp::Sweep => "sweep".to_owned(),
    };
    key::event(account, &name)
}

pub(super) fn keys_of(txn: &Txn<'_>, id: &AccountId) -> Result<Vec<Bytes>, StoreError> {
    txn.keys(&key::of_account(key::EVENT, id))
}
