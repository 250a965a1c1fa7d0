//! What Jobber's webhooks named: read it at once, and run it through the same plan as the poll.
//!
//! The poll stays the truth; an event only makes it faster. Whatever an event leads to is planned and stored as a sweep
//! would, with the same uniqueness rule in the same commit: webhook and poll that come upon the same work together make
//! one candidate. An event moves no watermark.
//!
//! # Crash points
//!
//! - *Before the event was stored*: Jobber got no answer, and sends it again or does not; the poll finds the work.
//! - *Before its wish was taken out*: the record is read once more, and plans nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::clock::{SharedClock, plus};
use crate::connection::{Connection, ReadError};
use crate::event::Wish;
use crate::model::{Account, AccountId, EncodedId, EntryState, WorkRef};
use crate::plan::{Plan, plan};
use crate::rulebook::Rulebook;
use crate::step::{Entered, InFlight, Workers};
use crate::store::{PlanCommit, Store, StoreError};
use crate::watcher::Watcher;

/// How long an account's events rest after Jobber could not be read.
const REST: SignedDuration = SignedDuration::from_secs(30);

/// What was followed up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Followed {
    /// Works that were read.
    pub read: usize,
    /// New candidates.
    pub candidates: usize,
    /// Asks that are not sent any more.
    pub dropped: usize,
    /// Events that wait for whoever listens.
    pub told: usize,
    /// Accounts that are to be swept.
    pub sweep: Vec<AccountId>,
}

/// Follows events up.
#[derive(Debug)]
pub struct Listener {
    store: Store,
    connection: Connection,
    clock: SharedClock,
    rulebook: Arc<Rulebook>,
    watcher: Arc<Watcher>,
    workers: Workers,
    in_flight: InFlight<AccountId>,
    resting: Mutex<HashMap<AccountId, Timestamp>>,
}

impl Listener {
    /// A listener that works on up to `concurrency` accounts at a time.
    pub fn new(
        store: Store,
        connection: Connection,
        clock: SharedClock,
        rulebook: Arc<Rulebook>,
        watcher: Arc<Watcher>,
        concurrency: usize,
        stop: CancellationToken,
    ) -> Self {
        let workers = Workers::new(concurrency, stop);
        Self {
            store,
            connection,
            clock,
            rulebook,
            watcher,
            workers,
            in_flight: InFlight::new(),
            resting: Mutex::default(),
        }
    }

    /// Follows everything up that was heard, each account in a task of its own.
    pub async fn listen_once(self: &Arc<Self>) -> Result<Followed, StoreError> {
        let mut queue = Vec::new();
        for (id, wishes) in self.store.wishes()? {
            if self.rests(&id) {
                continue;
            }
            let Some(account) = self.store.account(&id)?.filter(Account::is_active) else {
                // Nothing can be read: when it is connected again, a sweep looks back.
                self.store.take_wishes(&id, wishes).await?;
                continue;
            };
            if let Some(entered) = self.in_flight.enter(&id) {
                queue.push((entered, account, wishes));
            }
        }
        let follow = |(entered, account, wishes): (Entered<AccountId>, Account, Vec<Wish>)| {
            let listener = Arc::clone(self);
            async move {
                let followed = listener.follow(&account, wishes).await;
                drop(entered);
                followed
            }
        };
        let mut following = self.workers.start(queue, follow);
        let mut all = Followed::default();
        while let Some(followed) = following.next().await {
            let Followed { read, candidates, dropped, told, sweep } = followed?;
            all.told += told;
            all.read += read;
            all.candidates += candidates;
            all.dropped += dropped;
            all.sweep.extend(sweep);
        }
        Ok(all)
    }

    async fn follow(&self, account: &Account, wishes: Vec<Wish>) -> Result<Followed, StoreError> {
        let mut followed = Followed::default();
        if wishes.iter().any(|wish| matches!(wish, Wish::Client { .. })) {
            followed.told += self.watcher.watch_once(vec![account.clone()]).await?;
        }
        if wishes.contains(&Wish::Sweep) {
            // It reads everything that the others would, and more.
            let (connection, rest): (Vec<_>, Vec<_>) =
                wishes.into_iter().partition(|wish| matches!(wish, Wish::Connection | Wish::Client { .. }));
            self.store.take_wishes(&account.id, rest).await?;
            followed.sweep.push(account.id.clone());
            self.one_by_one(account, connection, &mut followed).await?;
        } else {
            self.one_by_one(account, wishes, &mut followed).await?;
        }
        Ok(followed)
    }

    async fn one_by_one(
        &self,
        account: &Account,
        wishes: Vec<Wish>,
        followed: &mut Followed,
    ) -> Result<(), StoreError> {
        for wish in wishes {
            if self.workers.is_stopped() {
                break;
            }
            let outcome = match &wish {
                Wish::Read { work } => self.read(account, work, followed).await,
                Wish::Client { id } => self.client(account, id, followed).await,
                // Whoever is not let in any more is told so, and the account is noted as lost.
                Wish::Connection => self.connection.identity(&account.id).await.map(|_| ()),
                Wish::Sweep => Ok(()),
            };
            match outcome {
                Ok(()) => self.store.take_wishes(&account.id, vec![wish]).await?,
                Err(ReadError::Store(error)) => return Err(error),
                Err(ReadError::NeedsAuthorization(_)) => {
                    self.store.take_wishes(&account.id, vec![wish]).await?;
                    break;
                }
                Err(ReadError::Failed { detail, .. }) => {
                    tracing::debug!(account.id = %account.id, detail, "an event could not be followed up; it waits");
                    let until = plus(self.clock.now(), REST);
                    self.resting
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(account.id.clone(), until);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Reads one work and plans it, as a sweep would that saw only this row.
    async fn read(
        &self,
        account: &Account,
        work: &WorkRef,
        followed: &mut Followed,
    ) -> Result<(), ReadError> {
        let rules = self.rulebook.rules_of(account).map_err(ReadError::settings)?;
        if work.kind != rules.trigger.work_kind() {
            return Ok(());
        }
        let answer = self.connection.details(&account.id, work).await?;
        followed.read += 1;
        // Deleted meanwhile.
        let Some(facts) = answer.data else { return Ok(()) };
        let now = self.clock.now();
        let known = self.store.known(&account.id, [work])?;
        let plan = plan(&[facts.record], &known, &rules, None, answer.date.unwrap_or(now), now);
        let plan = Plan { watermark: None, ..plan };
        if !plan.is_empty() {
            let stream = rules.trigger.stream();
            let commit = PlanCommit { account: account.id.clone(), stream, plan, reconciled_at: None, now };
            followed.candidates += self.store.commit_plan(commit).await?;
        }
        Ok(())
    }

    /// A card has changed: what waits in the outbox for it is dropped if the client does not want it any more. What is not
    /// decided yet is read fresh anyway.
    async fn client(
        &self,
        account: &Account,
        id: &EncodedId,
        followed: &mut Followed,
    ) -> Result<(), ReadError> {
        let waiting: Vec<_> = self
            .store
            .entries()
            .filter_map(Result::ok)
            .filter(|entry| entry.account == account.id && matches!(entry.state, EntryState::Due { .. }))
            .collect();
        for entry in waiting {
            let decision = self.store.decision(&account.id, &entry.work)?;
            if decision.and_then(|decision| decision.subject.client_id).as_ref() != Some(id) {
                continue;
            }
            let facts = self.connection.details(&account.id, &entry.work).await?.data;
            let client = facts.and_then(|facts| facts.client);
            if client.is_none_or(|client| client.receives_review_requests && !client.is_archived) {
                continue;
            }
            tracing::info!(ask.key = %entry.id, "dropped: its customer does not want review requests any more");
            let dropped = self.store.drop_entry(&entry.id, self.clock.now()).await?;
            followed.dropped += usize::from(dropped.is_ok());
        }
        Ok(())
    }

    fn rests(&self, account: &AccountId) -> bool {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.get(account).is_some_and(|until| *until > self.clock.now())
    }
}
