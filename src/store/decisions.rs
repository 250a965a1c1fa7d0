//! Decisions, markers and candidates: the writes of a plan and a verdict.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::causes;
use super::markers::{marked_by, markers};
use super::outbox::put_entry;
use super::tallies::put_decision;
use super::txn::Txn;
use super::waiting::{DueTimes, due_index, due_times, put_waiting, update_waiting, waiting};
use super::{Store, StoreError, bursts, key, people};
use crate::clock::Moment;
use crate::digest;
use crate::domain::decide::blocking;
use crate::domain::model::{
    Account, AccountId, Ask, AskOf, Candidate, Cause, Connection, Decision, Delivery, EntryState, Health,
    Marker, MessageId, Noted, OutboxEntry, Outcome, Payload, SkipReason, Stream, Subject, Trigger, WorkRef,
};
use crate::domain::plan::{Known, Plan};
use crate::domain::reaction::SKIPPED;
use crate::domain::rules::Policy;

/// Up to this many works are read directly. More are read on a separate thread.
const FEW: usize = 64;

/// The result of a planned sweep, stored in one commit.
#[derive(Debug, Clone)]
pub struct PlanCommit {
    /// The account.
    pub account: AccountId,
    /// The swept stream.
    pub stream: Stream,
    /// The trigger and `asks_from` of the plan. The plan is ignored if they have changed since.
    pub planned_for: (Trigger, Timestamp),
    /// The new results.
    pub plan: Plan,
    /// Set by a sweep over the whole window.
    pub reconciled_at: Option<Timestamp>,
    /// Whether an event caused it instead of a sweep.
    pub by_event: bool,
    /// This many works that finish within an hour are never held as a burst. Zero means that nothing is.
    pub burst_above: u32,
    /// When it was planned.
    pub now: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskCommit {
    Stored,
    /// Shadow mode: only the decision was stored.
    Shadowed,
    /// The work was already settled. Nothing was stored.
    Superseded,
}

impl Store {
    /// What is known about these works.
    pub async fn known(&self, account: &AccountId, works: Vec<WorkRef>) -> Result<Known, StoreError> {
        let (account, count) = (account.clone(), works.len());
        let known = move |txn: &Txn<'_>| {
            let mut known = Known::default();
            txn.fetch(
                works.iter().flat_map(|work| [key::decision(&account, work), key::marker(&account, work)]),
            )?;
            for work in works {
                if let Some(decision) = txn.get(&key::decision(&account, &work))? {
                    known.decisions.insert(work.clone(), decision);
                }
                if let Some(marker) = txn.get(&key::marker(&account, &work))? {
                    known.markers.insert(work, marker);
                }
            }
            Ok(known)
        };
        // An idle sweep looks up a few works, a reconcile sweep almost all.
        if count <= FEW { self.read(known).await } else { self.scan(known).await }
    }

    /// The decision on one work.
    pub async fn decision(
        &self,
        account: &AccountId,
        work: &WorkRef,
    ) -> Result<Option<Decision>, StoreError> {
        self.get(&key::decision(account, work)).await
    }

    /// All decisions of an account.
    pub async fn decisions(&self, account: &AccountId) -> Result<Vec<Decision>, StoreError> {
        let prefix = key::of_account(key::DECISION, account);
        self.scan(move |txn| txn.values(&prefix).collect()).await
    }

    /// Folds `look` over all decisions of an account, beginning with `start`.
    pub async fn fold_decisions<S: Send + 'static>(
        &self,
        account: &AccountId,
        start: S,
        look: impl Fn(&mut S, Decision) + Send + 'static,
    ) -> Result<S, StoreError> {
        let prefix = key::of_account(key::DECISION, account);
        self.scan(move |txn| {
            let mut seen = start;
            for decision in txn.values(&prefix) {
                look(&mut seen, decision?);
            }
            Ok(seen)
        })
        .await
    }

    /// Stores a plan: candidates, skips, watermark, and the time of a reconcile sweep. Returns the number of
    /// new works.
    ///
    /// A work that got a candidate or an ask since the plan was made keeps it.
    pub async fn commit_plan(&self, commit: PlanCommit) -> Result<usize, StoreError> {
        let people = self.0.people.clone();
        self.write(move |txn| {
            let PlanCommit {
                account: id,
                stream,
                planned_for,
                plan,
                reconciled_at,
                by_event,
                burst_above,
                now,
            } = &commit;
            let Some(mut account) = txn.get::<Account>(&key::account(id))? else { return Ok(0) };
            let is_over = matches!(account.connection, Connection::Disconnected { .. });
            if is_over || *planned_for != (account.trigger, account.asks_from) {
                return Ok(0);
            }
            let mut health: Health = txn.get(&key::health(id))?.unwrap_or_default();
            let (mut new, mut finished) = (0, Vec::new());
            for candidate in &plan.candidates {
                if is_settled(txn, id, &candidate.work)? {
                    continue;
                }
                // An event about it should have come, but the sweep was first.
                let was_due = !by_event && account.events;
                if was_due && health.last_webhook_at.is_some_and(|heard| candidate.finished_at > heard) {
                    health.unheard += 1;
                }
                let mut candidate = candidate.clone();
                people.erase_forgotten(txn, id, &mut candidate.subject)?;
                put_waiting(txn, id, candidate.clone(), *now)?;
                finished.push((candidate.work.clone(), candidate.finished_at));
                new += 1;
            }
            for decision in &plan.skipped {
                if is_settled(txn, id, &decision.work)? {
                    continue;
                }
                let mut decision = decision.clone();
                people.erase_forgotten(txn, id, &mut decision.subject)?;
                put_decision(txn, id, &decision)?;
                new += 1;
            }
            if *burst_above > 0 && !finished.is_empty() {
                bursts::brake(txn, &account, finished, *burst_above, *now)?;
            }
            if let Some(at) = plan.watermark {
                let watermark = account.watermarks.entry(*stream).or_insert(at);
                *watermark = at.max(*watermark);
            }
            if reconciled_at.is_some() {
                account.reconciled_at = *reconciled_at;
            }
            if new > 0 {
                health.last_finished_at = Some(*now);
                txn.put(&key::health(id), &health);
            }
            txn.put(&key::account(id), &account);
            Ok(new)
        })
        .await
    }

    /// Works with candidates due at `now`, the longest due first.
    pub async fn due_works(&self, now: Timestamp) -> Result<Vec<(AccountId, WorkRef)>, StoreError> {
        self.scan(move |txn| {
            let mut works = Vec::new();
            for due in due_index(txn) {
                let (at, account, work) = due?;
                if at > now {
                    break;
                }
                works.push((account, work));
            }
            Ok(works)
        })
        .await
    }

    /// Makes every candidate due now, and every message that waits for its next attempt. Each is read and decided as
    /// usual, and put off again if it is too early. Returns their number.
    pub async fn due_again(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.write(move |txn| {
            let later: Vec<_> = due_index(txn).collect::<Result<_, _>>()?;
            let mut moved = 0;
            for (_, account, work) in later.into_iter().filter(|(at, ..)| *at > now) {
                moved += usize::from(update_waiting(txn, &account, &work, |decision| {
                    decision.outcome = Outcome::Waiting { due_at: now };
                })?);
            }
            Ok(moved + super::outbox::due_again(txn, now)?)
        })
        .await
    }

    /// When the next candidate is due.
    pub async fn next_candidate_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|txn| Ok(due_index(txn).next().transpose()?.map(|(at, ..)| at))).await
    }

    /// Whether a candidate is due at `now`, and when the next one will be.
    pub async fn candidates_due(&self, now: Timestamp) -> Result<DueTimes, StoreError> {
        self.read(move |txn| due_times(txn, key::DUE, now)).await
    }

    /// The number of candidates.
    pub async fn waiting_count(&self) -> Result<usize, StoreError> {
        self.scan(|txn| due_index(txn).try_fold(0, |count, due| due.map(|_| count + 1))).await
    }

    /// All candidates, the first due first.
    pub async fn candidates(&self) -> Result<Vec<(AccountId, Candidate)>, StoreError> {
        self.scan(|txn| {
            let mut candidates = Vec::new();
            for due in due_index(txn) {
                let (_, account, work) = due?;
                let decision = txn.get::<Decision>(&key::decision(&account, &work))?;
                candidates.extend(decision.and_then(waiting).map(|candidate| (account, candidate)));
            }
            Ok(candidates)
        })
        .await
    }

    /// The candidate of one work.
    pub async fn candidate(
        &self,
        account: &AccountId,
        work: &WorkRef,
    ) -> Result<Option<Candidate>, StoreError> {
        Ok(self.decision(account, work).await?.and_then(waiting))
    }

    /// Stores an ask: decision, markers and outbox entry in one commit. The uniqueness rule is checked again
    /// here, where no other write can interfere.
    pub async fn commit_ask(
        &self,
        account: &AccountId,
        ask: Ask,
        body: String,
        policy: &Arc<Policy>,
        now: impl Into<Moment>,
    ) -> Result<AskCommit, StoreError> {
        let (id, policy, people) = (account.clone(), Arc::clone(policy), self.0.people.clone());
        let Moment { ours, sure } = now.into();
        self.write(move |txn| {
            let Some(mut decision) = txn.get::<Decision>(&key::decision(&id, &ask.work))? else {
                return Ok(AskCommit::Superseded);
            };
            let Outcome::Waiting { due_at } = decision.outcome else { return Ok(AskCommit::Superseded) };
            let markers = markers(txn, &id, &ask.work, &ask.job_ids)?;
            if blocking(&ask.work, &ask.job_ids, &markers).is_some() {
                return Ok(AskCommit::Superseded);
            }
            // Two works of one person can be decided at once. The second is rechecked and then skipped with a
            // reason.
            let card = ask.subject.client_id.as_ref();
            if people.suppression(txn, &id, card, &ask.contacts)?.is_some() {
                return Ok(AskCommit::Superseded);
            }
            if people::rests(txn, &id, &ask.contacts, &policy, sure)? {
                return Ok(AskCommit::Superseded);
            }
            people::note_contact(txn, &id, &ask.id, &ask.contacts, &policy, sure)?;
            decision.outcome = if policy.shadow {
                Outcome::Skipped { reason: SkipReason::Shadow }
            } else {
                Outcome::Asked { ask_id: ask.id.clone(), delivery: Delivery::Queued }
            };
            decision.finished_at = ask.finished_at;
            decision.at = sure;
            decision.subject = ask.subject.clone();
            // The payload is deleted after delivery. This digest proves what it was.
            decision.saw = BTreeMap::from([("payload_sha256".to_owned(), digest::of_bytes(body.as_bytes()))]);
            put_decision(txn, &id, &decision)?;
            txn.remove(&key::due(due_at, &id, &ask.work));
            if policy.shadow {
                return Ok(AskCommit::Shadowed);
            }
            let marker = Marker { by: ask.work.kind, ask_id: ask.id.clone(), at: sure };
            for work in marked_by(&ask.work, &ask.job_ids) {
                txn.put(&key::marker(&id, &work), &marker);
            }
            txn.put(&key::ask(&ask.id), &AskOf { account: id.clone(), work: ask.work.clone() });
            let noted = Noted { contacts: ask.contacts.clone(), jobs: ask.job_ids.clone() };
            txn.put(&key::noted(&MessageId::from(&ask.id)), &noted);
            let trigger = decision.trigger;
            put_entry(
                txn,
                &OutboxEntry {
                    id: MessageId::from(&ask.id),
                    account: id.clone(),
                    payload: Payload::Ask { work: ask.work.clone(), trigger },
                    body: body.clone(),
                    created_at: ours,
                    attempt: 0,
                    failures: 0,
                    state: EntryState::Due { at: ours },
                    last: None,
                },
            );
            Ok(AskCommit::Stored)
        })
        .await
    }

    /// Skips a candidate. Returns whether it was still waiting.
    pub async fn commit_skip(
        &self,
        account: &AccountId,
        work: &WorkRef,
        reason: SkipReason,
        saw: BTreeMap<String, String>,
        subject: Subject,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (id, work, awaited) = (account.clone(), work.clone(), self.awaited());
        let people = self.0.people.clone();
        self.write(move |txn| {
            let mut subject = subject.clone();
            people.erase_forgotten(txn, &id, &mut subject)?;
            let was_waiting = update_waiting(txn, &id, &work, |decision| {
                decision.outcome = Outcome::Skipped { reason };
                decision.saw.clone_from(&saw);
                decision.subject.clone_from(&subject);
                decision.at = now;
            })?;
            if was_waiting {
                let cause = Cause {
                    id: format!("{work} {now}"),
                    what: format!("{SKIPPED}{}", reason.as_str()),
                    account: id.clone(),
                    at: now,
                    work: Some(work.clone()),
                    ask: None,
                    client: None,
                    item: None,
                    heard_at: None,
                };
                causes::note(txn, &awaited, &cause);
            }
            Ok(was_waiting)
        })
        .await
    }

    /// Allows an ask about a work that was skipped for its age. Returns whether it was one.
    pub async fn release(
        &self,
        account: &AccountId,
        work: &WorkRef,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (id, work) = (account.clone(), work.clone());
        self.write(move |txn| {
            let Some(decision) = txn.get::<Decision>(&key::decision(&id, &work))? else { return Ok(false) };
            if !matches!(decision.outcome, Outcome::Skipped { reason } if reason.can_be_released()) {
                return Ok(false);
            }
            let released = Candidate {
                work: work.clone(),
                trigger: decision.trigger,
                finished_at: decision.finished_at,
                due_at: now,
                released_at: Some(now),
                held_for: SignedDuration::ZERO,
                subject: decision.subject,
            };
            put_waiting(txn, &id, released, now)?;
            Ok(true)
        })
        .await
    }

    /// Moves a candidate to a later time. Returns whether it was still waiting.
    pub async fn commit_defer(
        &self,
        account: &AccountId,
        work: &WorkRef,
        finished_at: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let (id, work) = (account.clone(), work.clone());
        self.write(move |txn| {
            update_waiting(txn, &id, &work, |decision| {
                decision.outcome = Outcome::Waiting { due_at: until };
                decision.finished_at = finished_at;
            })
        })
        .await
    }
}

fn is_settled(txn: &Txn<'_>, account: &AccountId, work: &WorkRef) -> Result<bool, StoreError> {
    Ok(match txn.get::<Decision>(&key::decision(account, work))? {
        Some(decision) => !matches!(decision.outcome, Outcome::Skipped { .. }),
        None => false,
    })
}
