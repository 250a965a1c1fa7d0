//! Deletes what is older than the retention: decisions, markers and links.
//!
//! A marker keeps a customer from being asked twice, so it is kept far longer than work can be asked about.
//! Candidates and outbox entries are never deleted.

use jiff::{SignedDuration, Timestamp};

use super::codec::decode;
use super::entry::Bytes;
use super::reviews::forget_ask;
use super::txn::Txn;
use super::{Store, StoreError, find, key};
use crate::clock::minus;
use crate::domain::model::{ActionRecord, AskId, Contacted, Decision, Link, Marker, Outcome, Seen};

const EVERY: SignedDuration = SignedDuration::from_hours(24);

/// Maximum number of entries deleted or erased in one commit: each changes a dozen of the index, and other writes wait meanwhile.
pub(super) const TOGETHER: usize = 32;

/// What was too old to be kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    pub deleted: usize,
    /// Entries that stay, and no longer say who it was.
    pub erased: usize,
}

impl Store {
    /// Deletes what is older than `retention`, and erases who people are from what is older than `personal`, at most once a
    /// day. Returns the number of entries of each.
    pub async fn prune(
        &self,
        now: Timestamp,
        retention: SignedDuration,
        personal: SignedDuration,
    ) -> Result<Pruned, StoreError> {
        let last = self.get::<Timestamp>(&key::pruned_at()).await?;
        if last.is_some_and(|last| now.duration_since(last).abs() < EVERY) {
            return Ok(Pruned::default());
        }
        let before = minus(now, retention);
        let old = self.scan(move |txn| old_keys(txn, before)).await?;
        let mut deleted = 0;
        for keys in old.chunks(TOGETHER) {
            let keys = keys.to_vec();
            deleted += self.write(move |txn| forget(txn, &keys, before)).await?;
        }
        let erased = self.forget_people(now, personal).await?;
        self.write(move |txn| {
            txn.put(&key::pruned_at(), &now);
            Ok(())
        })
        .await?;
        Ok(Pruned { deleted, erased })
    }
}

fn old_keys(txn: &Txn<'_>, before: Timestamp) -> Result<Vec<Bytes>, StoreError> {
    let mut old = Vec::new();
    for family in [key::DECISION, key::MARKER, key::CONTACT, key::SEEN, key::ACTION, key::LINK, key::DAY] {
        for entry in txn.scan(family) {
            let (key, value) = entry?;
            if is_old(txn, &key, &value, before)? {
                old.push(key);
            }
        }
    }
    Ok(old)
}

/// Deletes those of `keys` that are still old: a work can have been finished again meanwhile.
fn forget(txn: &mut Txn<'_>, keys: &[Bytes], before: Timestamp) -> Result<usize, StoreError> {
    let mut forgotten = 0;
    txn.fetch(keys.iter().cloned())?;
    for key in keys {
        let Some(value) = txn.get_raw(key)? else { continue };
        if !is_old(txn, key, &value, before)? {
            continue;
        }
        if key.starts_with(key::DECISION) {
            let decision = find::remove_decision(txn, key)?;
            if let Some(ask) = decision.as_ref().and_then(Decision::ask) {
                forget_ask(txn, &AskId::new(ask));
            }
        } else if key.starts_with(key::ACTION) {
            super::actions::forget(txn, key)?;
        } else {
            txn.remove(key);
        }
        forgotten += 1;
    }
    Ok(forgotten)
}

fn is_old(txn: &Txn<'_>, key: &[u8], value: &[u8], before: Timestamp) -> Result<bool, StoreError> {
    let is_queued = |ask: &AskId| Ok::<_, StoreError>(txn.get_raw(&key::outbox(&ask.into()))?.is_some());
    if key.starts_with(key::DECISION) {
        let decision: Decision = decode(value)?;
        // A clock that was years behind stamped it so; the work has Jobber's instant.
        return Ok(decision.at.max(decision.finished_at) < before
            && match &decision.outcome {
                Outcome::Waiting { .. } | Outcome::Held { .. } => false,
                Outcome::Skipped { .. } => true,
                Outcome::Asked { ask_id, .. } => !is_queued(ask_id)?,
            });
    }
    if key.starts_with(key::MARKER) {
        let marker: Marker = decode(value)?;
        return Ok(marker.at < before && !is_queued(&marker.ask_id)?);
    }
    if key.starts_with(key::CONTACT) {
        return Ok(decode::<Contacted>(value)?.at < before);
    }
    if key.starts_with(key::SEEN) {
        return Ok(decode::<Seen>(value)?.at() < before);
    }
    if key.starts_with(key::ACTION) {
        return Ok(decode::<ActionRecord>(value)?.at < before);
    }
    if key.starts_with(key::DAY) {
        return Ok(key::end_of_day(key).is_some_and(|end| end < before));
    }
    let link: Link = decode(value)?;
    Ok(link.created_at < before && link.expires_at < before)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixture, at, candidates, id, job, last, receiver};
    use super::*;
    use std::collections::BTreeMap;

    use crate::domain::model::{Decision, Outcome, SkipReason, Subject, Trigger};
    use crate::domain::plan::Plan;
    use crate::domain::retry::Next;

    const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);
    /// A year after everything else.
    const LATER: i64 = 366 * 24 * 60;

    async fn deliver(fixture: &Fixture, name: &str) {
        let ask = fixture.asked(name).await;
        let entry = fixture.store.lease(&ask, at(6), at(7)).await.unwrap().unwrap();
        let settled =
            fixture.store.settle(&ask, entry.attempt, receiver(), Next::Delivered, last(6, 200)).await;
        assert!(settled.unwrap());
    }

    #[tokio::test]
    async fn what_is_old_is_forgotten_and_what_is_under_way_is_not() {
        let fixture = Fixture::connected().await;
        deliver(&fixture, "delivered").await;
        fixture.asked("queued").await;
        fixture.plan(candidates(&["waiting", "skipped"])).await;
        fixture
            .store
            .commit_skip(
                &id(),
                &job("skipped"),
                SkipReason::NoContact,
                BTreeMap::new(),
                Subject::default(),
                at(8),
            )
            .await
            .unwrap();

        assert_eq!(fixture.store.prune(at(60), YEAR, YEAR).await.unwrap().deleted, 0, "nothing is old yet");
        // The used link, the two decisions, one marker, and the count of the day.
        assert_eq!(fixture.store.prune(at(LATER), YEAR, YEAR).await.unwrap().deleted, 5);
        for gone in ["delivered", "skipped"] {
            assert_eq!(fixture.store.decision(&id(), &job(gone)).await.unwrap(), None);
        }
        for kept in ["queued", "waiting"] {
            assert!(fixture.store.decision(&id(), &job(kept)).await.unwrap().is_some(), "{kept}");
        }
        let marked = async |name| !fixture.store.markers(&id(), &job(name), &[]).await.unwrap().is_empty();
        assert!(marked("queued").await && !marked("delivered").await);
        assert_eq!(fixture.store.prune(at(LATER + 60), YEAR, YEAR).await.unwrap().deleted, 0, "once a day");
    }

    /// Its own instant is by our clock, that of the work is by Jobber's.
    #[tokio::test]
    async fn what_was_decided_by_a_clock_years_behind_is_as_young_as_its_work() {
        let fixture = Fixture::connected().await;
        let work = |name: &str, finished_at| Decision {
            work: job(name),
            released_at: None,
            held_for: SignedDuration::ZERO,
            trigger: Trigger::JobCompleted,
            finished_at,
            at: at(0),
            outcome: Outcome::Skipped { reason: SkipReason::DroppedByOperator },
            subject: Subject::default(),
            saw: BTreeMap::new(),
        };
        let skipped = vec![work("young", at(LATER - 60)), work("old", at(0))];
        fixture.plan(Plan { candidates: vec![], skipped, watermark: None }).await;
        fixture.store.prune(at(LATER), YEAR, YEAR).await.unwrap();
        assert!(fixture.store.decision(&id(), &job("young")).await.unwrap().is_some());
        assert_eq!(fixture.store.decision(&id(), &job("old")).await.unwrap(), None);
    }

    #[tokio::test]
    async fn who_was_asked_is_known_for_the_whole_retention() {
        let fixture = Fixture::connected().await;
        deliver(&fixture, "j").await;
        assert_eq!(fixture.store.prune(at(364 * 24 * 60), YEAR, YEAR).await.unwrap().deleted, 0);
        assert_eq!(fixture.plan(candidates(&["j"])).await, 0, "it is settled");
    }

    /// Years of work, one step per month: the store grows until the retention is reached, and then no more.
    #[tokio::test]
    async fn the_files_size_levels_off() {
        const MONTH: i64 = 30 * 24 * 60;
        const WORKS: usize = 400;
        let fixture = Fixture::connected().await;
        let mut sizes = Vec::new();
        for month in 0..48 {
            let names: Vec<String> = (0..WORKS).map(|number| format!("month {month} job {number}")).collect();
            let skipped = names
                .iter()
                .map(|name| Decision {
                    work: job(name),
                    released_at: None,
                    held_for: SignedDuration::ZERO,
                    trigger: Trigger::JobCompleted,
                    finished_at: at(month * MONTH),
                    at: at(month * MONTH),
                    outcome: Outcome::Skipped { reason: SkipReason::NoContact },
                    subject: Subject::default(),
                    saw: BTreeMap::new(),
                })
                .collect();
            fixture.plan(Plan { candidates: vec![], skipped, watermark: None }).await;
            fixture.store.prune(at(month * MONTH), YEAR, YEAR).await.unwrap();
            sizes.push(fixture.store.size_on_disk().await);
        }
        let known = fixture.store.decisions(&id()).await.unwrap().len();
        assert!((12 * WORKS..=14 * WORKS).contains(&known), "{known}");
        let largest = |months: std::ops::Range<usize>| *sizes[months].iter().max().unwrap();
        assert!(largest(24..48) <= 2 * largest(12..24), "it grows: {sizes:?}");
    }
}
