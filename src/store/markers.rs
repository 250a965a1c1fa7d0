//! Markers: proof that a piece of work or a job behind it was asked about.

use std::collections::{BTreeMap, BTreeSet};

use super::txn::Txn;
use super::{Store, StoreError, key};
use crate::domain::model::{AccountId, EncodedId, Marker, WorkRef};

impl Store {
    /// The markers of the work and of every job behind it.
    #[doc(hidden)]
    pub async fn markers(
        &self,
        account: &AccountId,
        work: &WorkRef,
        job_ids: &[EncodedId],
    ) -> Result<BTreeMap<WorkRef, Marker>, StoreError> {
        let (account, work, job_ids) = (account.clone(), work.clone(), job_ids.to_vec());
        self.read(move |txn| markers(txn, &account, &work, &job_ids)).await
    }
}

pub(super) fn markers(
    txn: &Txn<'_>,
    account: &AccountId,
    work: &WorkRef,
    job_ids: &[EncodedId],
) -> Result<BTreeMap<WorkRef, Marker>, StoreError> {
    let mut markers = BTreeMap::new();
    txn.fetch(marked_by(work, job_ids).iter().map(|work| key::marker(account, work)))?;
    for work in marked_by(work, job_ids) {
        if let Some(marker) = txn.get(&key::marker(account, &work))? {
            markers.insert(work, marker);
        }
    }
    Ok(markers)
}

pub(super) fn marked_by(work: &WorkRef, job_ids: &[EncodedId]) -> BTreeSet<WorkRef> {
    std::iter::once(work.clone()).chain(job_ids.iter().cloned().map(WorkRef::job)).collect()
}
