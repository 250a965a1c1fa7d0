//! Works that wait until they are due, and the index by due time.

use std::collections::BTreeMap;
use std::ops::Bound;

use jiff::Timestamp;

use super::tallies::put_decision;
use super::txn::Txn;
use super::{StoreError, key};
use crate::domain::model::{AccountId, Candidate, Decision, Outcome, WorkRef};

pub(super) fn due_index(
    txn: &Txn<'_>,
) -> impl Iterator<Item = Result<(Timestamp, AccountId, WorkRef), StoreError>> + use<> {
    txn.scan(key::DUE).map(|entry| key::parse_due(&entry?.0).ok_or_else(key::broken))
}

/// What an index of due times begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueTimes {
    pub is_overdue: bool,
    /// The first time after `now`.
    pub upcoming: Option<Timestamp>,
}

pub(super) fn due_times(txn: &Txn<'_>, family: &[u8], now: Timestamp) -> Result<DueTimes, StoreError> {
    let first = |from: Vec<u8>| -> Result<Option<Timestamp>, StoreError> {
        let found = txn.first(Bound::Included(from))?;
        let Some((found, _)) = found.filter(|(found, _)| found.starts_with(family)) else { return Ok(None) };
        Ok(Some(key::due_at(family, &found).ok_or_else(key::broken)?))
    };
    let is_overdue = first(family.to_vec())?.is_some_and(|at| at <= now);
    Ok(DueTimes { is_overdue, upcoming: first(key::due_after(family, now))? })
}

/// Changes a waiting decision and its place in the index of due candidates.
pub(super) fn update_waiting(
    txn: &mut Txn<'_>,
    account: &AccountId,
    work: &WorkRef,
    change: impl FnOnce(&mut Decision),
) -> Result<bool, StoreError> {
    let Some(mut decision) = txn.get::<Decision>(&key::decision(account, work))? else { return Ok(false) };
    let Outcome::Waiting { due_at } = decision.outcome else { return Ok(false) };
    change(&mut decision);
    txn.remove(&key::due(due_at, account, work));
    if let Outcome::Waiting { due_at } = decision.outcome {
        txn.put_raw(key::due(due_at, account, work), vec![]);
    }
    put_decision(txn, account, &decision)?;
    Ok(true)
}

pub(super) fn put_waiting(
    txn: &mut Txn<'_>,
    account: &AccountId,
    candidate: Candidate,
    now: Timestamp,
) -> Result<(), StoreError> {
    txn.put_raw(key::due(candidate.due_at, account, &candidate.work), vec![]);
    put_decision(
        txn,
        account,
        &Decision {
            work: candidate.work.clone(),
            released_at: candidate.released_at,
            held_for: candidate.held_for,
            trigger: candidate.trigger,
            finished_at: candidate.finished_at,
            at: now,
            outcome: Outcome::Waiting { due_at: candidate.due_at },
            saw: BTreeMap::new(),
            subject: candidate.subject,
        },
    )
}

pub(super) fn waiting(decision: Decision) -> Option<Candidate> {
    let Outcome::Waiting { due_at } = decision.outcome else { return None };
    Some(Candidate {
        work: decision.work,
        released_at: decision.released_at,
        held_for: decision.held_for,
        trigger: decision.trigger,
        finished_at: decision.finished_at,
        due_at,
        subject: decision.subject,
    })
}
