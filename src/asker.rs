//! What is due: read it fresh, decide, store the ask.
//!
//! Between completion and ask lie hours in which a job is reopened, a customer opts out, a phone number
//! changes. So nothing of what the sweep saw is sent: everything that decides is read again at this moment.
//!
//! # Crash points
//!
//! - *Before the commit*: the candidate still waits and is considered again.
//! - *After the commit*: decision, markers and the frozen outbox entry are stored together. Considering the
//!   same work again finds it settled; the dispatcher takes it from there.
//!
//! A recheck that fails changes nothing: the candidate stays due. Its account then rests for a moment, so that
//! a dead Jobber is not asked in a loop.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::clock::{SharedClock, plus};
use crate::connection::{Connection, ReadError};
use crate::decide::{Contractor, Verdict, decide};
use crate::model::{Account, AccountId, Ask, AskId, Candidate, Facts, SharedRules, SkipReason, WorkRef};
use crate::step::{Effect, Entered, InFlight, pool};
use crate::store::{AskCommit, Store, StoreError};
use crate::webhook::freeze;

/// How long an account rests after a failed recheck, unless Jobber asks for longer.
const REST: SignedDuration = SignedDuration::from_secs(30);

/// What became of one candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Considered {
    /// Whose work.
    pub account: AccountId,
    /// The work.
    pub work: WorkRef,
    /// What became of it.
    pub outcome: AskOutcome,
}

/// What became of a candidate.
#[derive(Debug, Clone, PartialEq)]
pub enum AskOutcome {
    /// An ask is in the outbox; in a dry run it would be.
    Asked(AskId),
    /// It is not asked about.
    Skipped(SkipReason),
    /// It waits longer.
    Deferred(Timestamp),
    /// Something else settled it first.
    Superseded,
    /// It could not be read; it stays due.
    Failed(String),
}

/// Considers what is due.
#[derive(Debug)]
pub struct Asker {
    store: Store,
    connection: Connection,
    clock: SharedClock,
    rules: SharedRules,
    concurrency: usize,
    in_flight: InFlight<AccountId>,
    resting: Mutex<HashMap<AccountId, Timestamp>>,
}

impl Asker {
    /// An asker that works on up to `concurrency` accounts at a time.
    pub fn new(
        store: Store,
        connection: Connection,
        clock: SharedClock,
        rules: SharedRules,
        concurrency: usize,
    ) -> Self {
        Self {
            store,
            connection,
            clock,
            rules,
            concurrency,
            in_flight: InFlight::new(),
            resting: Mutex::default(),
        }
    }

    /// Considers every candidate of `accounts` that is due, each account's in the order in which they became due.
    /// May run while an earlier one is still at work: accounts that are under way are left to it.
    pub async fn ask_once(self: &Arc<Self>, accounts: Vec<Account>) -> Result<Vec<Considered>, StoreError> {
        let mut due: BTreeMap<AccountId, Vec<WorkRef>> = BTreeMap::new();
        for (account, work) in self.store.due_works(self.clock.now()) {
            due.entry(account).or_default().push(work);
        }
        let queue: Vec<_> = accounts
            .into_iter()
            .filter(|account| account.connection.is_connected() && !self.rests(&account.id))
            .filter_map(|account| {
                let works = due.remove(&account.id)?;
                let entered = self.in_flight.enter(&account.id)?;
                Some((entered, account, works))
            })
            .collect();
        let work = |(entered, account, works): (Entered<AccountId>, Account, Vec<WorkRef>)| {
            let asker = Arc::clone(self);
            async move {
                let considered = asker.ask_account(&account, works).await;
                drop(entered);
                considered
            }
        };
        let mut considered: Vec<Result<Vec<Considered>, StoreError>> = Vec::new();
        pool(self.concurrency, queue, work, |outcome| considered.push(outcome)).await;
        Ok(considered.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
    }

    async fn ask_account(
        &self,
        account: &Account,
        works: Vec<WorkRef>,
    ) -> Result<Vec<Considered>, StoreError> {
        let mut considered = Vec::new();
        for work in works {
            if self.rests(&account.id) {
                break;
            }
            let Some(candidate) = self.store.candidate(&account.id, &work)? else { continue };
            let outcome = self.consider(account, &candidate, Effect::Apply).await?;
            considered.push(Considered { account: account.id.clone(), work, outcome });
        }
        Ok(considered)
    }

    /// Considers one candidate.
    pub async fn consider(
        &self,
        account: &Account,
        candidate: &Candidate,
        effect: Effect,
    ) -> Result<AskOutcome, StoreError> {
        let facts = match self.read(account, candidate).await {
            Ok(facts) => facts,
            Err(ReadError::Store(error)) => return Err(error),
            Err(error) => {
                self.rest(account, &error);
                return Ok(AskOutcome::Failed(error.to_string()));
            }
        };
        let now = self.clock.now();
        let rules = self.rules.of(account);
        let job_ids = facts.as_ref().map(|facts| facts.job_ids.clone()).unwrap_or_default();
        let markers = self.store.markers(&account.id, &candidate.work, &job_ids)?;
        let contractor = Contractor { id: &account.id, name: &account.name };
        match decide(contractor, candidate, facts.as_ref(), &markers, &rules, now) {
            Verdict::Ask(ask) => self.ask(account, *ask, now, effect).await,
            Verdict::Skip { reason, saw, subject } => {
                if effect == Effect::Apply {
                    let work = &candidate.work;
                    tracing::info!(account.id = %account.id, work = %work, %reason, "not asked");
                    self.store.commit_skip(&account.id, work, reason, saw, *subject, now).await?;
                }
                Ok(AskOutcome::Skipped(reason))
            }
            Verdict::Defer { finished_at, until } => {
                if effect == Effect::Apply {
                    self.store.commit_defer(&account.id, &candidate.work, finished_at, until).await?;
                }
                Ok(AskOutcome::Deferred(until))
            }
        }
    }

    async fn ask(
        &self,
        account: &Account,
        ask: Ask,
        now: Timestamp,
        effect: Effect,
    ) -> Result<AskOutcome, StoreError> {
        let id = ask.id.clone();
        if effect == Effect::DryRun {
            return Ok(AskOutcome::Asked(id));
        }
        let work = ask.work.clone();
        let body = freeze(&ask.body);
        match self.store.commit_ask(&account.id, ask, body, now).await? {
            AskCommit::Stored => {
                tracing::info!(account.id = %account.id, work = %work, ask.key = %id, "asked");
                Ok(AskOutcome::Asked(id))
            }
            AskCommit::Superseded => Ok(AskOutcome::Superseded),
        }
    }

    /// Everything that decides, fresh. The crew and a job's invoice are read only for work that is worth it,
    /// and an ask goes out without them where Jobber hides them.
    async fn read(&self, account: &Account, candidate: &Candidate) -> Result<Option<Facts>, ReadError> {
        let work = &candidate.work;
        let Some(mut facts) = self.connection.details(&account.id, work).await?.data else { return Ok(None) };
        let extras = self.connection.extras(&account.id, work).await?;
        if let Some(hidden) = extras.hidden {
            tracing::debug!(account.id = %account.id, work = %work, hidden, "an ask without its extras");
        }
        facts.crew = extras.data.crew;
        facts.invoice = facts.invoice.or(extras.data.invoice);
        Ok(Some(facts))
    }

    fn rests(&self, account: &AccountId) -> bool {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.get(account).is_some_and(|until| *until > self.clock.now())
    }

    fn rest(&self, account: &Account, error: &ReadError) {
        let rest = match error {
            ReadError::Failed { retry_after: Some(asked), .. } => REST.max(*asked),
            _ => REST,
        };
        let until = plus(self.clock.now(), rest);
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        if resting.insert(account.id.clone(), until).is_none_or(|before| before < self.clock.now()) {
            tracing::warn!(account.id = %account.id, %error, "a recheck failed; what is due stays due");
        }
    }
}
