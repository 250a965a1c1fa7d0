//! The health of accounts: results of sweeps, and alerts.

use jiff::Timestamp;

use super::{Store, StoreError, key};
use crate::domain::model::{AccountId, Alert, Failure, Health};

impl Store {
    /// The end of the last week that was told.
    pub async fn digest_at(&self) -> Result<Option<Timestamp>, StoreError> {
        self.get(&key::digest_at()).await
    }

    pub async fn note_digest(&self, at: Timestamp) -> Result<(), StoreError> {
        self.write(move |txn| {
            txn.put(&key::digest_at(), &at);
            Ok(())
        })
        .await
    }

    /// How the last sweeps of an account went.
    pub async fn health(&self, id: &AccountId) -> Result<Health, StoreError> {
        Ok(self.get(&key::health(id)).await?.unwrap_or_default())
    }

    /// Stores the results of several accounts' sweeps in one commit: success, or the failure. Returns each
    /// account's health before and after.
    pub async fn note_sweeps(
        &self,
        notes: Vec<(AccountId, Result<(), Failure>)>,
        now: Timestamp,
    ) -> Result<Vec<(AccountId, Health, Health)>, StoreError> {
        self.write(move |txn| {
            let mut changes = Vec::with_capacity(notes.len());
            txn.fetch(notes.iter().flat_map(|(id, _)| [key::account(id), key::health(id)]))?;
            for (id, result) in &notes {
                // Removed during the sweep.
                if txn.get_raw(&key::account(id))?.is_none() {
                    continue;
                }
                let before: Health = txn.get(&key::health(id))?.unwrap_or_default();
                let mut after = before.clone();
                match result {
                    Ok(()) => {
                        after.last_success = Some(now);
                        after.failing_since = None;
                        after.last_error = None;
                        after.needs_operator = false;
                    }
                    Err(failure) => {
                        after.failing_since = before.failing_since.or(Some(now));
                        // An outage in between does not solve a problem that needs the operator.
                        if failure.needs_operator || !before.needs_operator {
                            after.last_error = Some(failure.detail.clone());
                            after.needs_operator = failure.needs_operator;
                        }
                    }
                }
                txn.put(&key::health(id), &after);
                changes.push((id.clone(), before, after));
            }
            Ok(changes)
        })
        .await
    }

    /// Stores whether the due candidates of an account can be read.
    pub async fn note_asking(&self, id: &AccountId, works: bool, now: Timestamp) -> Result<(), StoreError> {
        if works == self.health(id).await?.asking_fails_since.is_none() {
            return Ok(());
        }
        let key = key::health(id);
        self.write(move |txn| {
            let mut health: Health = txn.get(&key)?.unwrap_or_default();
            health.asking_fails_since = if works { None } else { health.asking_fails_since.or(Some(now)) };
            txn.put(&key, &health);
            Ok(())
        })
        .await
    }

    /// All current alerts, and ended ones that were not reported yet.
    pub async fn alerts(&self) -> Result<Vec<Alert>, StoreError> {
        self.scan(|txn| txn.values(key::ALERT).collect()).await
    }

    /// Stores alerts, and deletes those that are over and reported.
    pub async fn put_alerts(&self, alerts: Vec<Alert>) -> Result<(), StoreError> {
        self.write(move |txn| {
            for alert in &alerts {
                if alert.over.is_some() && alert.told {
                    txn.remove(&key::alert(&alert.key));
                } else {
                    txn.put(&key::alert(&alert.key), alert);
                }
            }
            Ok(())
        })
        .await
    }
}
