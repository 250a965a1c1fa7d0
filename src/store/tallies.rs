//! Counts that are kept in the commits that change them, so that a look at them does not grow with history.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::txn::Txn;
use super::{Store, StoreError, find, key};
use crate::clock::minus;
use crate::domain::model::{AccountId, DayTally, Decision, OpenTally, Outcome};

/// How many days an upgrade counts. Longer ago nobody looks.
const COUNTED: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Stores a decision, counts it and indexes it. Every write of a decision goes through here.
pub(super) fn put_decision(
    txn: &mut Txn<'_>,
    account: &AccountId,
    decision: &Decision,
) -> Result<(), StoreError> {
    let key = key::decision(account, &decision.work);
    let before: Option<Decision> = txn.get(&key)?;
    let counts_alike = before.as_ref().is_some_and(|before| {
        std::mem::discriminant(&before.outcome) == std::mem::discriminant(&decision.outcome)
            && !matches!(decision.outcome, Outcome::Skipped { .. })
            && before.at == decision.at
    });
    if !counts_alike {
        recount(txn, account, before.as_ref(), decision)?;
    }
    find::index(txn, account, before.as_ref(), Some(decision))?;
    txn.put(&key, decision);
    Ok(())
}

fn recount(
    txn: &mut Txn<'_>,
    account: &AccountId,
    before: Option<&Decision>,
    after: &Decision,
) -> Result<(), StoreError> {
    let is_open =
        |decision: &Decision| matches!(decision.outcome, Outcome::Waiting { .. } | Outcome::Held { .. });
    if before.is_some_and(is_open) || is_open(after) {
        let key = key::standing(account);
        let mut standing: OpenTally = txn.get(&key)?.unwrap_or_default();
        if let Some(before) = before {
            standing.take(before);
        }
        standing.add(after);
        txn.put(&key, &standing);
    }
    if let Some(before) = before.filter(|before| !is_open(before)) {
        let key = key::day_tally(account, before.at);
        let mut tally: DayTally = txn.get(&key)?.unwrap_or_default();
        tally.take(before);
        txn.put(&key, &tally);
    }
    if !is_open(after) {
        let key = key::day_tally(account, after.at);
        let mut tally: DayTally = txn.get(&key)?.unwrap_or_default();
        tally.add(after);
        txn.put(&key, &tally);
    }
    Ok(())
}

/// Counts what an earlier program stored.
pub(super) fn count_all(txn: &mut Txn<'_>) -> Result<(), StoreError> {
    let mut days: BTreeMap<Vec<u8>, DayTally> = BTreeMap::new();
    let mut standings: BTreeMap<AccountId, OpenTally> = BTreeMap::new();
    let (mut counted, mut newest) = (0_usize, Timestamp::UNIX_EPOCH);
    for entry in txn.scan(key::DECISION) {
        let (name, _) = entry?;
        let (account, _) = key::parse_decision(&name).ok_or_else(key::broken)?;
        let Some(decision) = txn.get::<Decision>(&name)? else { continue };
        newest = newest.max(decision.at);
        if decision.at >= minus(newest, COUNTED) {
            days.entry(key::day_tally(&account, decision.at)).or_default().add(&decision);
        }
        standings.entry(account).or_default().add(&decision);
        counted += 1;
        if counted.is_multiple_of(100_000) {
            tracing::info!(decisions = counted, "counting what earlier versions decided");
        }
    }
    for (key, tally) in days {
        txn.put(&key, &tally);
    }
    for (account, standing) in standings {
        txn.put(&key::standing(&account), &standing);
    }
    Ok(())
}

impl Store {
    /// What was decided in an account on each day (UTC) since that of `since`, in order, with the end of the day. Days without
    /// decisions are left out.
    pub async fn day_tallies(
        &self,
        account: &AccountId,
        since: Timestamp,
    ) -> Result<Vec<(Timestamp, DayTally)>, StoreError> {
        let (from, family) = (key::day_tally(account, since), key::of_account(key::DAY, account));
        self.read(move |txn| {
            let days = txn.scan_from(&from, &family).map(|entry| {
                let (name, value) = entry?;
                let end = key::end_of_day(&name).ok_or_else(key::broken)?;
                Ok((end, super::codec::decode(&value)?))
            });
            days.collect()
        })
        .await
    }

    /// What was decided in an account since the day of `since` (UTC), and what is not decided yet.
    pub async fn tally(
        &self,
        account: &AccountId,
        since: Timestamp,
    ) -> Result<(DayTally, OpenTally), StoreError> {
        let (account, family) = (account.clone(), key::of_account(key::DAY, account));
        self.read(move |txn| {
            let mut all = DayTally::default();
            for day in txn.values_from::<DayTally>(&key::day_tally(&account, since), &family) {
                all = all.and(day?);
            }
            Ok((all, txn.get(&key::standing(&account))?.unwrap_or_default()))
        })
        .await
    }
}
