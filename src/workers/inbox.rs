//! Follows up Jobber's webhooks: reads each named record at once and plans it like a sweep.
//!
//! The poll stays the source of truth; an event only makes it faster. The plan of an event is stored in the
//! same way as a sweep's, with the same uniqueness rule in the same commit. So an event and a sweep that find
//! the same work make one candidate. An event moves no watermark.
//!
//! # Crash points
//!
//! - *Before the event was stored*: Jobber got no answer and may send it again. If not, the poll finds the
//!   work.
//! - *Before its follow-up was removed*: the record is read once more and plans nothing.

use std::sync::Arc;

use jiff::SignedDuration;

use super::backoff::Backoff;
use super::changes::ChangeWatcher;
use super::found;
use super::parts::WorkerParts;
use super::pool::{Entered, InFlight, Pool, guarded};
use crate::accounts::session::{SessionError, Trouble};
use crate::domain::model::{
    Account, AccountId, Delivery, EncodedId, MessageId, MessageKind, OutboxEntry, Outcome, WorkRef,
};
use crate::domain::plan::{Plan, plan};
use crate::domain::webhook_event::{FollowUp, InboxEntry};
use crate::jobber::operations::{WhoAmI, WorkDetails};
use crate::store::{PlanCommit, QueueRefusal, StoreError};

/// How long an account's events wait after Jobber could not be read.
const REST: SignedDuration = SignedDuration::from_secs(30);

/// How long they wait if a client's work cannot be read for another reason.
const WAIT_FOR_AN_ANSWER: SignedDuration = SignedDuration::from_mins(15);

/// The results of following up events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Followed {
    /// Number of works read.
    pub read: usize,
    /// New candidates.
    pub candidates: usize,
    /// Number of asks dropped because the client no longer wants them.
    pub dropped: usize,
    /// Number of messages about changes.
    pub told: usize,
    /// Accounts that need a sweep.
    pub sweep: Vec<AccountId>,
    /// Whether more came for an account while it was followed.
    pub again: bool,
}

#[derive(Debug)]
pub struct Inbox {
    parts: WorkerParts,
    watcher: Arc<ChangeWatcher>,
    pool: Pool,
    in_flight: InFlight<AccountId>,
    backoff: Backoff<AccountId>,
}

impl Inbox {
    pub fn new(parts: WorkerParts, watcher: Arc<ChangeWatcher>) -> Self {
        let (in_flight, backoff) = (InFlight::new(), Backoff::default());
        Self { pool: parts.pool(), parts, watcher, in_flight, backoff }
    }

    pub async fn follow_up_once(self: &Arc<Self>) -> Result<Followed, StoreError> {
        let mut queue = Vec::new();
        for id in self.parts.store.accounts_with_follow_ups().await? {
            if self.rests(&id) {
                continue;
            }
            if let Some(entered) = self.in_flight.enter(&id) {
                queue.push((entered, id));
            }
        }
        let follow = |(entered, id): (Entered<AccountId>, AccountId)| {
            let inbox = Arc::clone(self);
            async move {
                let followed = inbox.follow(&id).await;
                let again = entered.leave();
                followed.map(|followed| Followed { again, ..followed })
            }
        };
        let mut following = self.pool.start(queue, follow);
        let mut all = Followed::default();
        while let Some(followed) = following.next().await {
            let Followed { read, candidates, dropped, told, sweep, again } = followed?;
            all.again |= again;
            all.read += read;
            all.candidates += candidates;
            all.dropped += dropped;
            all.told += told;
            all.sweep.extend(sweep);
        }
        Ok(all)
    }

    async fn follow(&self, id: &AccountId) -> Result<Followed, StoreError> {
        let mut followed = Followed::default();
        let mut follow_ups = self.parts.store.follow_ups(id).await?;
        let about_cards =
            |wanted: &InboxEntry| matches!(wanted.follow_up, FollowUp::Client { .. } | FollowUp::Outbox);
        // Works first: a card that cannot be read must not delay them.
        follow_ups.sort_by_key(about_cards);
        let Some(account) = self.parts.store.account(id).await?.filter(Account::is_active) else {
            // Nothing can be read now. The next sweep will find works, but not cards, so only cards stay.
            let rest = follow_ups.into_iter().filter(|wanted| !about_cards(wanted)).collect();
            self.parts.store.take_from_inbox(id, rest).await?;
            return Ok(followed);
        };
        if follow_ups.iter().any(|wanted| about_cards(wanted) || wanted.follow_up == FollowUp::Watched) {
            followed.told += self.watcher.watch_once(vec![account.id.clone()]).await?;
        }
        let sweeps = follow_ups.iter().any(|wanted| wanted.follow_up == FollowUp::Sweep);
        if sweeps {
            followed.sweep.push(id.clone());
        }
        for wanted in follow_ups {
            if self.pool.is_stopped() {
                break;
            }
            let outcome = match &wanted.follow_up {
                // The sweep reads this and more.
                FollowUp::Sweep | FollowUp::Watched => Ok(true),
                FollowUp::Read { .. } if sweeps => Ok(true),
                FollowUp::Read { work } => match guarded(self.read(&account, work, &mut followed)).await {
                    Ok(read) => read.map(|()| true),
                    // The sweep meets it again, and counts it.
                    Err(panic) => {
                        tracing::error!(account.id = %id, work = %work, panic.words, "a fault of this program");
                        Ok(true)
                    }
                },
                FollowUp::Client { id } => self.cards(&account, Some(id), &mut followed).await,
                FollowUp::Outbox => self.cards(&account, None, &mut followed).await,
                // If Jobber refuses the tokens, this request notices it and stores the lost connection.
                FollowUp::Connection => self.parts.session.run(id, &WhoAmI).await.map(|_| true),
            };
            let is_done = match outcome {
                Ok(is_done) => is_done,
                Err(SessionError::Store(error)) => return Err(error),
                Err(SessionError::NeedsAuthorization(_)) => {
                    let done = if about_cards(&wanted) { vec![] } else { vec![wanted] };
                    self.parts.store.take_from_inbox(id, done).await?;
                    break;
                }
                Err(SessionError::Failed { trouble: Trouble::Outage { retry_after, .. }, .. }) => {
                    self.rest(id, retry_after.map_or(REST, |asked| asked.max(REST)));
                    break;
                }
                // A retry does not help. A work is left to the sweep, a card waits for a while.
                Err(SessionError::Failed { detail, .. }) => {
                    tracing::debug!(account.id = %id, detail, "an event could not be followed up");
                    if about_cards(&wanted) {
                        self.rest(id, WAIT_FOR_AN_ANSWER);
                        break;
                    }
                    true
                }
            };
            if is_done {
                self.parts.store.take_from_inbox(id, vec![wanted]).await?;
            }
        }
        Ok(followed)
    }

    /// Reads and plans one work, like a sweep with only this row.
    async fn read(
        &self,
        account: &Account,
        work: &WorkRef,
        followed: &mut Followed,
    ) -> Result<(), SessionError> {
        let rules = self.parts.settings.rules_of(account).map_err(SessionError::settings)?;
        if work.kind != rules.trigger.work_kind() {
            return Ok(());
        }
        let begun = self.parts.clock.now();
        let answer = self.parts.session.run(&account.id, &WorkDetails { work }).await?;
        followed.read += 1;
        // Deleted meanwhile.
        let Some(facts) = answer.data else { return Ok(()) };
        let now = self.parts.clock.now();
        let known = self.parts.store.known(&account.id, vec![work.clone()]).await?;
        let plan = plan(&[facts.record], &known, &rules, None, answer.date.unwrap_or(now), now);
        let plan = Plan { watermark: None, ..plan };
        if !plan.is_empty() {
            let stream = rules.trigger.stream();
            let commit = PlanCommit {
                account: account.id.clone(),
                stream,
                planned_for: (account.trigger, account.asks_from),
                plan,
                reconciled_at: None,
                by_event: true,
                burst_above: rules.policy.burst_above,
                now,
            };
            let candidates = commit.plan.candidates.clone();
            let new = self.parts.store.commit_plan(commit).await?;
            followed.candidates += new;
            if new > 0 {
                found::trace(&account.id, &candidates, "webhook", begun);
            }
        }
        Ok(())
    }

    /// Handles a changed card, or several unnamed ones. Queued asks and dead letters of clients that no
    /// longer want them are dropped. Candidates need nothing, because the recheck reads fresh. Returns
    /// `false` while an attempt is running: then it is checked again later.
    async fn cards(
        &self,
        account: &Account,
        id: Option<&EncodedId>,
        followed: &mut Followed,
    ) -> Result<bool, SessionError> {
        let mut is_done = true;
        let asks = match id {
            Some(client) => self.asks_for(&account.id, client).await?,
            None => self.asks_of(&account.id).await?,
        };
        for (message, work) in &asks {
            let facts = self.parts.session.run(&account.id, &WorkDetails { work }).await?.data;
            let client = facts.and_then(|facts| facts.client);
            if client.is_none_or(|client| client.receives_review_requests && !client.is_archived) {
                continue;
            }
            match self.parts.store.drop_entry(message, self.parts.clock.now()).await? {
                Ok(()) => {
                    tracing::info!(ask.key = %message, "dropped: the customer no longer wants review requests");
                    followed.dropped += 1;
                }
                Err(QueueRefusal::UnderWay(_)) => is_done = false,
                Err(QueueRefusal::NoSuchMessage(_)) => {}
            }
        }
        Ok(is_done)
    }

    /// The queued asks and dead letters of an account.
    async fn asks_of(&self, account: &AccountId) -> Result<Vec<(MessageId, WorkRef)>, StoreError> {
        let mine = account.clone();
        let pick = move |asks: &mut Vec<(MessageId, WorkRef)>, entry: OutboxEntry| {
            if entry.account == mine && entry.payload.kind() == MessageKind::Ask {
                asks.push((entry.id, entry.payload.work().clone()));
            }
        };
        self.parts.store.fold_entries(vec![], pick).await
    }

    /// Those for one client.
    async fn asks_for(
        &self,
        account: &AccountId,
        client: &EncodedId,
    ) -> Result<Vec<(MessageId, WorkRef)>, StoreError> {
        let decisions = self.parts.store.decisions_about(account, client).await?;
        let asks = decisions.into_iter().filter_map(|decision| match decision.outcome {
            Outcome::Asked { ask_id, delivery: Delivery::Queued | Delivery::Dead { .. } } => {
                Some((MessageId::from(&ask_id), decision.work))
            }
            _ => None,
        });
        Ok(asks.collect())
    }

    fn rest(&self, account: &AccountId, time: SignedDuration) {
        self.backoff.hold(account, self.parts.clock.now(), time);
    }

    fn rests(&self, account: &AccountId) -> bool {
        self.backoff.until(account, self.parts.clock.now()).is_some()
    }
}
