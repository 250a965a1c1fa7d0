//! Bursts: works that are held because far more than usual were finished at once.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::tallies::put_decision;
use super::txn::Txn;
use super::waiting::{due_index, put_waiting, update_waiting};
use super::{Store, StoreError, key};
use crate::domain::model::{
    Account, AccountId, Burst, Candidate, Decision, Outcome, SkipReason, Subject, WorkRef,
};
use crate::domain::pace::Pace;

const EXAMPLES: usize = 5;

impl Store {
    /// The burst of an account that waits for the operator.
    pub async fn burst(&self, account: &AccountId) -> Result<Option<Burst>, StoreError> {
        self.get(&key::burst(account)).await
    }

    /// The works held with the bursts of all accounts.
    pub async fn held_works(&self) -> Result<Vec<(AccountId, Decision)>, StoreError> {
        self.scan(|txn| {
            let mut found = Vec::new();
            for entry in txn.scan(key::HELD) {
                let (account, work) = key::parse_held(&entry?.0).ok_or_else(key::broken)?;
                let decision = txn.get(&key::decision(&account, &work))?;
                found.extend(decision.map(|decision| (account, decision)));
            }
            Ok(found)
        })
        .await
    }

    /// Lets the held works of an account go on. They are decided as soon as they are due, and the time on hold does
    /// not make them too old. Returns their number; `None` if there is no burst.
    pub async fn release_burst(
        &self,
        account: &AccountId,
        now: Timestamp,
    ) -> Result<Option<usize>, StoreError> {
        let id = account.clone();
        self.write(move |txn| {
            if txn.get::<Burst>(&key::burst(&id))?.is_none() {
                return Ok(None);
            }
            let held = held_of(txn, &id)?;
            for decision in &held {
                let Outcome::Held { due_at, since } = decision.outcome else { continue };
                let held = now.duration_since(since).max(SignedDuration::ZERO);
                let held_for = decision.held_for.saturating_add(held);
                let Decision { work, trigger, finished_at, released_at, subject, .. } = decision.clone();
                let due_at = due_at.max(now);
                let candidate =
                    Candidate { work, trigger, finished_at, due_at, released_at, held_for, subject };
                put_waiting(txn, &id, candidate, now)?;
            }
            clear(txn, &id)?;
            // What follows is judged anew.
            if let Some(mut pace) = txn.get::<Pace>(&key::pace(&id))? {
                pace.forgive();
                txn.put(&key::pace(&id), &pace);
            }
            Ok(Some(held.len()))
        })
        .await
    }

    /// Skips the held works of an account. Returns their number; `None` if there is no burst.
    pub async fn drop_burst(&self, account: &AccountId, now: Timestamp) -> Result<Option<usize>, StoreError> {
        let id = account.clone();
        self.write(move |txn| {
            if txn.get::<Burst>(&key::burst(&id))?.is_none() {
                return Ok(None);
            }
            end(txn, &id, now, SkipReason::BurstDropped).map(Some)
        })
        .await
    }
}

/// Counts the `new` candidates of this operation, with the instants at which they were finished. If they make a burst, it is held, with all other works of the account that
/// wait and were finished in the same time.
pub(super) fn brake(
    txn: &mut Txn<'_>,
    account: &Account,
    new: Vec<(WorkRef, Timestamp)>,
    above: u32,
    now: Timestamp,
) -> Result<(), StoreError> {
    let id = &account.id;
    let mut pace: Pace = txn.get(&key::pace(id))?.unwrap_or_default();
    let crowd = pace.note(new.iter().map(|(_, at)| *at), account.connected_at, above, now);
    txn.put(&key::pace(id), &pace);
    let Some(crowd) = crowd else { return Ok(()) };

    let waiting = due_index(txn).collect::<Result<Vec<_>, _>>()?;
    let waiting = waiting.into_iter().filter(|(_, of, _)| of == id).map(|(_, _, work)| work);
    // The index does not have this operation's own candidates yet.
    let waiting: BTreeSet<WorkRef> = waiting.chain(new.into_iter().map(|(work, _)| work)).collect();
    let known = txn.get::<Burst>(&key::burst(id))?;
    let mut burst = known.unwrap_or_else(|| Burst {
        noticed_at: now,
        begun_at: crowd.begun_at(),
        ended_at: crowd.ended_at(),
        works: 0,
        usual: crowd.usual,
        examples: vec![],
    });
    burst.ended_at = burst.ended_at.max(crowd.ended_at());
    for work in waiting {
        let Some(decision) = txn.get::<Decision>(&key::decision(id, &work))? else { continue };
        // What the operator released by hand goes on.
        let was_released = decision.released_at.is_some() || !decision.held_for.is_zero();
        if !crowd.holds(decision.finished_at) || was_released {
            continue;
        }
        update_waiting(txn, id, &work, |decision| {
            if let Outcome::Waiting { due_at } = decision.outcome {
                decision.outcome = Outcome::Held { due_at, since: now };
                decision.at = now;
            }
        })?;
        txn.put_raw(key::held(id, &work), vec![]);
        burst.works += 1;
        if burst.examples.len() < EXAMPLES {
            burst.examples.push(named(&work, &decision.subject));
        }
    }
    txn.put(&key::burst(id), &burst);
    Ok(())
}

/// Ends the hold of an account's works and skips them. Returns their number.
pub(super) fn end(
    txn: &mut Txn<'_>,
    account: &AccountId,
    now: Timestamp,
    reason: SkipReason,
) -> Result<usize, StoreError> {
    let held = held_of(txn, account)?;
    for decision in &held {
        let mut decision = decision.clone();
        decision.outcome = Outcome::Skipped { reason };
        decision.at = now;
        put_decision(txn, account, &decision)?;
    }
    clear(txn, account)?;
    Ok(held.len())
}

fn held_of(txn: &Txn<'_>, account: &AccountId) -> Result<Vec<Decision>, StoreError> {
    let mut held = Vec::new();
    for key in txn.keys(&key::of_account(key::HELD, account))? {
        let (_, work) = key::parse_held(&key).ok_or_else(key::broken)?;
        let decision = txn.get::<Decision>(&key::decision(account, &work))?;
        held.extend(decision.filter(|decision| matches!(decision.outcome, Outcome::Held { .. })));
    }
    Ok(held)
}

fn clear(txn: &mut Txn<'_>, account: &AccountId) -> Result<(), StoreError> {
    for key in txn.keys(&key::of_account(key::HELD, account))? {
        txn.remove(&key);
    }
    txn.remove(&key::burst(account));
    Ok(())
}

/// What people call a work.
fn named(work: &WorkRef, subject: &Subject) -> String {
    match (&subject.invoice_number, subject.job_number) {
        (Some(number), _) => format!("invoice {number}"),
        (None, Some(number)) => format!("job {number}"),
        (None, None) => work.to_string(),
    }
}
