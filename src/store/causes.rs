//! What happened and what rules wait for. A cause is stored in the commit of what happened, so that none is lost and none
//! is invented.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use super::txn::Txn;
use super::{Store, StoreError, key};
use crate::domain::model::{AccountId, Cause};

/// The names of what rules wait for.
pub(super) type Awaited = Arc<BTreeSet<String>>;

/// Stores a cause, if a rule waits for it.
pub(super) fn note(txn: &mut Txn<'_>, awaited: &Awaited, cause: &Cause) {
    if awaited.contains(&cause.what) {
        txn.put(&key::cause(cause), cause);
    }
}

impl Store {
    /// From now on these are stored when they happen.
    pub fn await_causes(&self, names: BTreeSet<String>) {
        *self.0.awaited.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(names);
    }

    pub(super) fn awaited(&self) -> Awaited {
        Arc::clone(&self.0.awaited.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every cause by account, the oldest first.
    pub async fn causes(&self) -> Result<BTreeMap<AccountId, Vec<Cause>>, StoreError> {
        self.scan(|txn| {
            let mut causes: BTreeMap<AccountId, Vec<Cause>> = BTreeMap::new();
            for cause in txn.values::<Cause>(key::CAUSE) {
                let cause = cause?;
                causes.entry(cause.account.clone()).or_default().push(cause);
            }
            Ok(causes)
        })
        .await
    }

    /// Whether there is a cause.
    pub async fn has_causes(&self) -> Result<bool, StoreError> {
        self.read(|txn| Ok(txn.scan(key::CAUSE).next().transpose()?.is_some())).await
    }

    /// Every rule has had its turn.
    pub async fn forget_cause(&self, cause: &Cause) -> Result<(), StoreError> {
        let name = key::cause(cause);
        self.write(move |txn| {
            txn.remove(&name);
            Ok(())
        })
        .await
    }
}
