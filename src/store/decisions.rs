//! Decisions, markers and candidates: what a plan and a verdict write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::outbox::put_entry;
use super::writer::Txn;
use super::{Store, StoreError, key, people};
use crate::digest;
use crate::domain::decide::blocking;
use crate::domain::model::{
    Account, AccountId, Ask, Candidate, Connection, Decision, Delivery, EncodedId, EntryState, Health,
    Marker, OutboxEntry, Outcome, SkipReason, Stream, Subject, Trigger, WorkRef,
};
use crate::domain::plan::{Known, Plan};
use crate::domain::rules::Policy;

/// What a planned sweep stores, in one commit.
#[derive(Debug, Clone)]
pub struct PlanCommit {
    /// Whose sweep.
    pub account: AccountId,
    /// The stream that was planned.
    pub stream: Stream,
    /// What fired, and from when on: a plan of before the account was changed counts for nothing.
    pub planned_for: (Trigger, Timestamp),
    /// What is new.
    pub plan: Plan,
    /// Set by a sweep that looked back over the whole window.
    pub reconciled_at: Option<Timestamp>,
    /// Whether an event led to it, and no sweep.
    pub by_event: bool,
    /// When it was planned.
    pub now: Timestamp,
}

/// What became of an ask that was to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskCommit {
    /// Stored: decision, markers and outbox entry.
    Stored,
    /// Only the decision was stored: nothing is sent.
    Shadowed,
    /// Something else settled this work first; nothing was stored.
    Superseded,
}

impl Store {
    /// What is known about these works.
    pub fn known<'w>(
        &self,
        account: &AccountId,
        works: impl IntoIterator<Item = &'w WorkRef>,
    ) -> Result<Known, StoreError> {
        let mut known = Known::default();
        for work in works {
            if let Some(decision) = self.get(&key::decision(account, work))? {
                known.decisions.insert(work.clone(), decision);
            }
            if let Some(marker) = self.get(&key::marker(account, work))? {
                known.markers.insert(work.clone(), marker);
            }
        }
        Ok(known)
    }

    /// The decision on one work.
    pub fn decision(&self, account: &AccountId, work: &WorkRef) -> Result<Option<Decision>, StoreError> {
        self.get(&key::decision(account, work))
    }

    /// Every decision of an account.
    pub fn decisions(
        &self,
        account: &AccountId,
    ) -> impl Iterator<Item = Result<Decision, StoreError>> + use<> {
        self.scan(&key::of_account(key::DECISION, account)).map(|entry| entry.map(|(_, decision)| decision))
    }

    /// Stores a plan: candidates, skips, watermark, and when the window was last looked over. The number of
    /// works that were new.
    ///
    /// A work that got a candidate or an ask since the plan was made keeps it.
    pub async fn commit_plan(&self, commit: PlanCommit) -> Result<usize, StoreError> {
        self.write(move |txn| {
            let PlanCommit { account: id, stream, planned_for, plan, reconciled_at, by_event, now } = commit;
            let Some(mut account) = txn.get::<Account>(&key::account(&id))? else { return Ok(0) };
            let is_over = matches!(account.connection, Connection::Disconnected { .. });
            if is_over || planned_for != (account.trigger, account.asks_from) {
                return Ok(0);
            }
            let mut health: Health = txn.get(&key::health(&id))?.unwrap_or_default();
            let mut new = 0;
            for candidate in plan.candidates {
                if is_settled(txn, &id, &candidate.work)? {
                    continue;
                }
                // An event of it was to come, and a sweep was first.
                let was_due = !by_event && !account.endpoints.is_empty();
                if was_due && health.last_webhook_at.is_some_and(|heard| candidate.finished_at > heard) {
                    health.unheard += 1;
                }
                put_waiting(txn, &id, candidate, now);
                new += 1;
            }
            for decision in plan.skipped {
                if is_settled(txn, &id, &decision.work)? {
                    continue;
                }
                txn.put(&key::decision(&id, &decision.work), &decision);
                new += 1;
            }
            if let Some(at) = plan.watermark {
                let watermark = account.watermarks.entry(stream).or_insert(at);
                *watermark = at.max(*watermark);
            }
            if reconciled_at.is_some() {
                account.reconciled_at = reconciled_at;
            }
            if new > 0 {
                health.last_finished_at = Some(now);
                txn.put(&key::health(&id), &health);
            }
            txn.put(&key::account(&id), &account);
            Ok(new)
        })
        .await
    }

    /// Works whose candidates are due at `now`, the longest waiting first.
    pub fn due_works(&self, now: Timestamp) -> Result<Vec<(AccountId, WorkRef)>, StoreError> {
        let mut works = Vec::new();
        for due in self.due_index() {
            let (at, account, work) = due?;
            if at > now {
                break;
            }
            works.push((account, work));
        }
        Ok(works)
    }

    /// When the next candidate is due.
    pub fn next_candidate_due(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.due_index().next().transpose()?.map(|(at, ..)| at))
    }

    /// How many candidates wait.
    pub fn waiting_count(&self) -> Result<usize, StoreError> {
        self.due_index().try_fold(0, |count, due| due.map(|_| count + 1))
    }

    /// Every waiting candidate, the first due first.
    pub fn candidates(&self) -> Result<Vec<(AccountId, Candidate)>, StoreError> {
        let mut candidates = Vec::new();
        for (account, work) in self.due_works(Timestamp::MAX)? {
            if let Some(candidate) = self.candidate(&account, &work)? {
                candidates.push((account, candidate));
            }
        }
        Ok(candidates)
    }

    /// One waiting candidate.
    pub fn candidate(&self, account: &AccountId, work: &WorkRef) -> Result<Option<Candidate>, StoreError> {
        Ok(self.decision(account, work)?.and_then(waiting))
    }

    fn due_index(&self) -> impl Iterator<Item = Result<(Timestamp, AccountId, WorkRef), StoreError>> + use<> {
        self.0.tree.scan_prefix(key::DUE).keys().map(|key| key::parse_due(&key?).ok_or_else(key::broken))
    }

    /// Markers on the work and on every job behind it.
    pub fn markers(
        &self,
        account: &AccountId,
        work: &WorkRef,
        job_ids: &[EncodedId],
    ) -> Result<BTreeMap<WorkRef, Marker>, StoreError> {
        let mut markers = BTreeMap::new();
        for work in marked_by(work, job_ids) {
            if let Some(marker) = self.get(&key::marker(account, &work))? {
                markers.insert(work, marker);
            }
        }
        Ok(markers)
    }

    /// Stores an ask: decision, markers and the frozen outbox entry, in one commit. The uniqueness rule is
    /// applied again here, where nobody can come in between.
    pub async fn commit_ask(
        &self,
        account: &AccountId,
        ask: Ask,
        body: String,
        policy: &Arc<Policy>,
        now: Timestamp,
    ) -> Result<AskCommit, StoreError> {
        let (id, policy) = (account.clone(), Arc::clone(policy));
        self.write(move |txn| {
            let Some(mut decision) = txn.get::<Decision>(&key::decision(&id, &ask.work))? else {
                return Ok(AskCommit::Superseded);
            };
            let Outcome::Waiting { due_at } = decision.outcome else { return Ok(AskCommit::Superseded) };
            let mut markers = BTreeMap::new();
            for work in marked_by(&ask.work, &ask.job_ids) {
                if let Some(marker) = txn.get::<Marker>(&key::marker(&id, &work))? {
                    markers.insert(work, marker);
                }
            }
            if blocking(&ask.work, &ask.job_ids, &markers).is_some() {
                return Ok(AskCommit::Superseded);
            }
            // Two works of one person can be decided about at once: the second comes again, and is told why not.
            if people::rests(txn, &id, &ask.contacts, &policy, now)? {
                return Ok(AskCommit::Superseded);
            }
            people::note_contact(txn, &id, &ask.id, &ask.contacts, &policy, now)?;
            decision.outcome = if policy.shadow {
                Outcome::Skipped { reason: SkipReason::Shadow }
            } else {
                Outcome::Asked { ask_id: ask.id.clone(), delivery: Delivery::Queued }
            };
            decision.finished_at = ask.finished_at;
            decision.at = now;
            decision.subject = ask.subject;
            // The payload goes when it is delivered; this proves what it was.
            decision.saw = BTreeMap::from([("payload_sha256".to_owned(), digest::of_bytes(body.as_bytes()))]);
            txn.put(&key::decision(&id, &ask.work), &decision);
            txn.remove(&key::due(due_at, &id, &ask.work));
            if policy.shadow {
                return Ok(AskCommit::Shadowed);
            }
            let marker = Marker { by: ask.work.kind, ask_id: ask.id.clone(), at: now };
            for work in marked_by(&ask.work, &ask.job_ids) {
                txn.put(&key::marker(&id, &work), &marker);
            }
            let trigger = decision.trigger;
            put_entry(
                txn,
                &OutboxEntry {
                    id: ask.id,
                    account: id.clone(),
                    work: ask.work,
                    trigger,
                    body,
                    created_at: now,
                    attempt: 0,
                    failures: 0,
                    state: EntryState::Due { at: now },
                    last: None,
                },
            );
            Ok(AskCommit::Stored)
        })
        .await
    }

    /// Stores that a waiting candidate is not asked about; whether it was still waiting.
    pub async fn commit_skip(
        &self,
        account: &AccountId,
        work: &WorkRef,
        reason: SkipReason,
        saw: BTreeMap<String, String>,
        subject: Subject,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (id, work) = (account.clone(), work.clone());
        self.write(move |txn| {
            update_waiting(txn, &id, &work, |decision| {
                decision.outcome = Outcome::Skipped { reason };
                decision.saw = saw;
                decision.subject = subject;
                decision.at = now;
            })
        })
        .await
    }

    /// Lets a work that was found too old be asked about all the same; whether it was.
    pub async fn release(
        &self,
        account: &AccountId,
        work: &WorkRef,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (id, work) = (account.clone(), work.clone());
        self.write(move |txn| {
            let Some(decision) = txn.get::<Decision>(&key::decision(&id, &work))? else { return Ok(false) };
            if !matches!(decision.outcome, Outcome::Skipped { reason: SkipReason::TooOld }) {
                return Ok(false);
            }
            let released = Candidate {
                work,
                trigger: decision.trigger,
                finished_at: decision.finished_at,
                due_at: now,
                released_at: Some(now),
                subject: decision.subject,
            };
            put_waiting(txn, &id, released, now);
            Ok(true)
        })
        .await
    }

    /// Stores that a waiting candidate waits longer; whether it was still waiting.
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

/// Changes a decision that still waits, and its place in the index of due candidates.
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
    txn.put(&key::decision(account, work), &decision);
    Ok(true)
}

fn put_waiting(txn: &mut Txn<'_>, account: &AccountId, candidate: Candidate, now: Timestamp) {
    txn.put_raw(key::due(candidate.due_at, account, &candidate.work), vec![]);
    txn.put(
        &key::decision(account, &candidate.work),
        &Decision {
            work: candidate.work.clone(),
            released_at: candidate.released_at,
            trigger: candidate.trigger,
            finished_at: candidate.finished_at,
            at: now,
            outcome: Outcome::Waiting { due_at: candidate.due_at },
            saw: BTreeMap::new(),
            subject: candidate.subject,
        },
    );
}

/// Whether a work has a candidate or an ask already.
fn is_settled(txn: &Txn<'_>, account: &AccountId, work: &WorkRef) -> Result<bool, StoreError> {
    Ok(match txn.get::<Decision>(&key::decision(account, work))? {
        Some(decision) => !matches!(decision.outcome, Outcome::Skipped { .. }),
        None => false,
    })
}

fn waiting(decision: Decision) -> Option<Candidate> {
    let Outcome::Waiting { due_at } = decision.outcome else { return None };
    Some(Candidate {
        work: decision.work,
        released_at: decision.released_at,
        trigger: decision.trigger,
        finished_at: decision.finished_at,
        due_at,
        subject: decision.subject,
    })
}

/// The work and every job behind it, each once.
fn marked_by(work: &WorkRef, job_ids: &[EncodedId]) -> BTreeSet<WorkRef> {
    std::iter::once(work.clone()).chain(job_ids.iter().cloned().map(WorkRef::job)).collect()
}
