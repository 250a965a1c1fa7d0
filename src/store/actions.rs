//! The record of writes in Jobber: which were begun, and what became of them.

use jiff::Timestamp;

use super::txn::Txn;
use super::{Store, StoreError, key};
use crate::domain::model::{AccountId, ActionOutcome, ActionRecord};

/// What stands under the key of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// It is stored now and may be sent.
    Now,
    /// The key was used before.
    Before(Box<ActionRecord>),
}

impl Store {
    /// Stores a write before its request leaves, unless its key was used before.
    pub async fn begin_action(&self, record: &ActionRecord) -> Result<Begun, StoreError> {
        let record = record.clone();
        self.write(move |txn| {
            let key = key::action(&record.account, &record.key);
            if let Some(before) = txn.get::<ActionRecord>(&key)? {
                return Ok(Begun::Before(Box::new(before)));
            }
            txn.put(&key, &record);
            index(txn, &record);
            Ok(Begun::Now)
        })
        .await
    }

    /// The write under a key.
    pub async fn action(&self, account: &AccountId, name: &str) -> Result<Option<ActionRecord>, StoreError> {
        self.get(&key::action(account, name)).await
    }

    /// Stores what became of a write.
    pub async fn end_action(
        &self,
        account: &AccountId,
        name: &str,
        outcome: ActionOutcome,
    ) -> Result<(), StoreError> {
        let key = key::action(account, name);
        self.write(move |txn| {
            if let Some(record) = txn.get::<ActionRecord>(&key)? {
                txn.put(&key, &ActionRecord { outcome: outcome.clone(), ..record });
            }
            Ok(())
        })
        .await
    }

    /// Frees the key of a write that never left.
    pub async fn free_action(&self, account: &AccountId, name: &str) -> Result<(), StoreError> {
        let key = key::action(account, name);
        self.write(move |txn| {
            forget(txn, &key)?;
            Ok(())
        })
        .await
    }

    /// The writes on one record since an instant, newest first.
    pub async fn actions_on(
        &self,
        account: &AccountId,
        target: &str,
        since: Timestamp,
    ) -> Result<Vec<ActionRecord>, StoreError> {
        let (account, prefix) = (account.clone(), key::acted_on_of(account, target));
        let mut found = self
            .scan(move |txn| {
                let mut found = Vec::new();
                for entry in txn.scan_from(&key::acted_since(&prefix, since), &prefix) {
                    let name = key::action_of(&account, &prefix, &entry?.0).ok_or_else(key::broken)?;
                    found.extend(txn.get::<ActionRecord>(&name)?);
                }
                Ok(found)
            })
            .await?;
        found.reverse();
        Ok(found)
    }

    /// The writes of one account or of all since an instant, newest first.
    pub async fn actions(
        &self,
        account: Option<&AccountId>,
        since: Timestamp,
    ) -> Result<Vec<ActionRecord>, StoreError> {
        let family = account.map_or_else(|| key::ACTION.to_vec(), |id| key::of_account(key::ACTION, id));
        let mut found = self.scan(move |txn| actions_in(txn, &family, since)).await?;
        found.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.key.cmp(&b.key)));
        Ok(found)
    }
}

fn index(txn: &mut Txn<'_>, record: &ActionRecord) {
    if let Some(key) = key::acted_on(record) {
        txn.put_raw(key, vec![]);
    }
}

/// Deletes the record under `key`.
pub(super) fn forget(txn: &mut Txn<'_>, key: &[u8]) -> Result<(), StoreError> {
    if let Some(entry) = txn.get::<ActionRecord>(key)?.as_ref().and_then(key::acted_on) {
        txn.remove(&entry);
    }
    txn.remove(key);
    Ok(())
}

/// Indexes what an earlier program stored.
pub(super) fn index_all(txn: &mut Txn<'_>) -> Result<(), StoreError> {
    for record in txn.values::<ActionRecord>(key::ACTION).collect::<Result<Vec<_>, _>>()? {
        index(txn, &record);
    }
    Ok(())
}

fn actions_in(txn: &Txn<'_>, family: &[u8], since: Timestamp) -> Result<Vec<ActionRecord>, StoreError> {
    let mut found = Vec::new();
    for record in txn.values::<ActionRecord>(family) {
        let record = record?;
        if record.at >= since {
            found.push(record);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{Fixture, at, id};
    use super::*;

    fn note(key: &str) -> ActionRecord {
        ActionRecord {
            account: id(),
            key: key.to_owned(),
            action: "clients.note".to_owned(),
            by: "operator".to_owned(),
            target: None,
            input: "00ff".to_owned(),
            at: at(1),
            outcome: ActionOutcome::Begun,
        }
    }

    #[tokio::test]
    async fn a_key_counts_once_until_it_is_freed() {
        let store = Fixture::connected().await.store;
        assert_eq!(store.begin_action(&note("a")).await.unwrap(), Begun::Now);
        let Begun::Before(before) = store.begin_action(&note("a")).await.unwrap() else { panic!("twice") };
        assert_eq!(before.outcome, ActionOutcome::Begun);
        let done = ActionOutcome::Done { ended_at: at(2), answer: json!({"id": "x"}) };
        store.end_action(&id(), "a", done.clone()).await.unwrap();
        let Begun::Before(before) = store.begin_action(&note("a")).await.unwrap() else { panic!("twice") };
        assert_eq!(before.outcome, done);
        assert_eq!(store.begin_action(&note("b")).await.unwrap(), Begun::Now);
        store.free_action(&id(), "b").await.unwrap();
        assert_eq!(store.begin_action(&note("b")).await.unwrap(), Begun::Now);
        let keys = async |since| {
            let found = store.actions(Some(&id()), since).await.unwrap();
            found.into_iter().map(|record| record.key).collect::<Vec<_>>()
        };
        assert_eq!(keys(at(0)).await, ["a", "b"]);
        assert_eq!(keys(at(2)).await, [""; 0]);
    }

    #[tokio::test]
    async fn the_writes_on_a_record_are_found() {
        let fixture = Fixture::connected().await;
        let on = |key: &str, target: &str, minute| ActionRecord {
            target: Some(target.to_owned()),
            at: at(minute),
            ..note(key)
        };
        for record in [on("a", "c1", 1), on("b", "c1", 3), on("c", "c", 2), on("d", "c1", 5), note("e")] {
            fixture.store.begin_action(&record).await.unwrap();
        }
        fixture.store.free_action(&id(), "d").await.unwrap();
        let found = async |target: &str, since| {
            let found = fixture.store.actions_on(&id(), target, at(since)).await.unwrap();
            found.into_iter().map(|record| record.key).collect::<Vec<_>>()
        };
        assert_eq!(found("c1", 0).await, ["b", "a"]);
        assert_eq!(found("c1", 2).await, ["b"]);
        assert_eq!(found("c", 0).await, ["c"]);
        assert!(found("", 0).await.is_empty());
    }
}
