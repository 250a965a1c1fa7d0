//! Which of Jobber's events come: the app's webhook endpoints, what each account asked for, and when topics were heard.

use jiff::Timestamp;

use super::txn::Txn;
use super::{Store, StoreError, key};
use crate::domain::endpoints::{Asked, Endpoints, LastHeard};
use crate::domain::model::{Account, AccountId};
use crate::domain::webhook_event::Topic;

/// Notes that an event of a topic came.
pub(super) fn note_heard(txn: &mut Txn<'_>, topic: Topic, now: Timestamp) -> Result<(), StoreError> {
    let mut heard: LastHeard = txn.get(&key::topics_heard())?.unwrap_or_default();
    if heard.note(topic, now) {
        txn.put(&key::topics_heard(), &heard);
    }
    Ok(())
}

impl Store {
    /// When an event of each topic last came, to a minute.
    pub async fn topics_heard(&self) -> Result<LastHeard, StoreError> {
        Ok(self.get(&key::topics_heard()).await?.unwrap_or_default())
    }

    /// The webhook endpoints of the app at Jobber.
    pub async fn endpoints(&self) -> Result<Endpoints, StoreError> {
        Ok(self.get(&key::endpoints()).await?.unwrap_or_default())
    }

    /// Changes what is known about the app's webhook endpoints.
    pub async fn note_endpoints(
        &self,
        change: impl Fn(&mut Endpoints) + Send + 'static,
    ) -> Result<(), StoreError> {
        self.write(move |txn| {
            let mut endpoints: Endpoints = txn.get(&key::endpoints())?.unwrap_or_default();
            change(&mut endpoints);
            txn.put(&key::endpoints(), &endpoints);
            Ok(())
        })
        .await
    }

    /// What an account asked Jobber to send.
    pub async fn asked(&self, id: &AccountId) -> Result<Asked, StoreError> {
        Ok(self.get(&key::asked(id)).await?.unwrap_or_default())
    }

    pub async fn note_asked(&self, id: &AccountId, asked: Asked) -> Result<(), StoreError> {
        let key = key::asked(id);
        self.write(move |txn| {
            txn.put(&key, &asked);
            Ok(())
        })
        .await
    }

    /// Stores whether Jobber is to send an account's events. `is_wish` says that the operator wants it so.
    pub async fn note_events(&self, id: &AccountId, are_on: bool, is_wish: bool) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(move |txn| {
            let key = key::account(&id);
            let Some(mut account) = txn.get::<Account>(&key)? else { return Ok(()) };
            account.events = are_on;
            if is_wish {
                account.events_ended = !are_on;
            }
            txn.put(&key, &account);
            if !are_on {
                txn.remove(&key::asked(&id));
            }
            Ok(())
        })
        .await
    }
}
