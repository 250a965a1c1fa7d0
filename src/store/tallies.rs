//! Counts that are kept in the commits that change them, so that a look at them does not grow with history.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::txn::Txn;
use super::{Store, StoreError, find, key};
use crate::clock::minus;
use crate::domain::model::{AccountId, DayTally, Decision, OpenTally, Outcome};

/// Accounts that are looked at together.
const TOGETHER: usize = 256;

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

fn tallies_of(
    txn: &Txn<'_>,
    accounts: &[AccountId],
    since: Timestamp,
) -> Result<Vec<(DayTally, OpenTally)>, StoreError> {
    txn.fetch(accounts.iter().map(key::standing))?;
    let standing = |account| Ok((DayTally::default(), txn.get(&key::standing(account))?.unwrap_or_default()));
    let mut tallies = accounts.iter().map(standing).collect::<Result<Vec<_>, StoreError>>()?;
    let days = |account| (key::day_tally(account, since), key::of_account(key::DAY, account));
    for (number, (_, day)) in txn.ranges(&accounts.iter().map(days).collect::<Vec<_>>())? {
        let (decided, _) = &mut tallies[number];
        *decided = std::mem::take(decided).and(super::codec::decode(&day)?);
    }
    Ok(tallies)
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
        Ok(self.tallies(std::slice::from_ref(account), since).await?.pop().unwrap_or_default())
    }

    /// The same for many accounts, in their order.
    pub async fn tallies(
        &self,
        accounts: &[AccountId],
        since: Timestamp,
    ) -> Result<Vec<(DayTally, OpenTally)>, StoreError> {
        let mut all = Vec::with_capacity(accounts.len());
        for some in accounts.chunks(TOGETHER) {
            let some = some.to_vec();
            all.extend(self.read(move |txn| tallies_of(txn, &some, since)).await?);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixture, at, job};
    use super::*;
    use crate::domain::model::{SkipReason, Subject, Trigger};

    fn skipped(number: usize, day: i64) -> Decision {
        let finished_at = at(day * 24 * 60);
        Decision {
            work: job(&format!("j{number}")),
            released_at: None,
            held_for: SignedDuration::ZERO,
            trigger: Trigger::JobCompleted,
            finished_at,
            at: finished_at,
            outcome: Outcome::Skipped { reason: SkipReason::AlreadyAsked },
            saw: BTreeMap::new(),
            subject: Subject::default(),
        }
    }

    #[tokio::test]
    async fn many_accounts_are_counted_each_by_itself_and_in_their_order() {
        let fixture = Fixture::empty();
        // One id begins with another, and more than are looked at together.
        let mut ids: Vec<AccountId> =
            (0..TOGETHER + 3).map(|number| AccountId::new(format!("a{number}"))).collect();
        let all = ids.clone();
        let put = move |txn: &mut Txn<'_>| {
            for (number, account) in all.iter().enumerate() {
                for work in 0..number % 5 {
                    put_decision(txn, account, &skipped(work, i64::try_from(work).unwrap_or_default()))?;
                }
            }
            Ok(())
        };
        fixture.store.write(put).await.unwrap();
        ids.reverse();
        ids.push(AccountId::new("unknown"));
        let tallies = fixture.store.tallies(&ids, at(2 * 24 * 60 + 7)).await.unwrap();
        let count = |(days, open): &(DayTally, OpenTally)| {
            assert_eq!(*open, OpenTally::default());
            days.skipped.values().sum::<usize>()
        };
        // Of the works of four days those of the last two count.
        let ought = (0..TOGETHER + 3).rev().map(|number| (number % 5).saturating_sub(2)).chain([0]);
        assert_eq!(tallies.iter().map(count).collect::<Vec<_>>(), ought.collect::<Vec<_>>());
        assert!(fixture.store.tallies(&[], at(0)).await.unwrap().is_empty());
    }
}
