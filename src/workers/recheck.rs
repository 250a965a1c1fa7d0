//! Rechecks due candidates: read fresh, decide, store the ask.
//!
//! Hours pass between completion and ask. Meanwhile a job may be reopened, a customer may opt out, a phone
//! number may change. So everything that the decision needs is read again now.
//!
//! # Crash points
//!
//! - *Before the commit*: the candidate still waits and is rechecked again.
//! - *After the commit*: decision, markers and outbox entry are stored together. Another recheck finds the
//!   work settled. The deliverer continues from there.
//!
//! A work that Jobber does not have is looked at again a minute later: one null is no proof that it was deleted.
//!
//! A failed recheck decides nothing. The candidate is due again a little later, so one unreadable record does
//! not block the others. If Jobber itself cannot be reached, the whole account pauses briefly.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use jiff::{SignedDuration, Timestamp};

use super::absent::Absent;
use super::backoff::Backoff;
use super::parts::WorkerParts;
use super::pool::{Effect, Entered, InFlight, Panicked, Pool, guarded};
use crate::accounts::session::{SessionError, Trouble};
use crate::clock::{Moment, plus};
use crate::crash_point::CrashPoint;
use crate::domain::decide::{Contractor, Verdict, ask_id, decide, preview};
use crate::domain::model::{
    Account, AccountId, Ask, AskBody, AskId, Candidate, Facts, Failure, SkipReason, Subject, Trigger,
    WorkRef, contacts_of,
};
use crate::domain::plan::too_old;
use crate::domain::rules::Rules;
use crate::jobber::operations::{WorkDetails, WorkExtras};
use crate::store::{AskCommit, StoreError};
use crate::telemetry::{self, traces};

/// How long an account pauses after a failed recheck, unless Jobber asks for longer.
const REST: SignedDuration = SignedDuration::from_secs(30);

const WAIT_FOR_AN_ANSWER: SignedDuration = SignedDuration::from_mins(15);

#[derive(Debug, Clone, PartialEq)]
pub struct Considered {
    pub account: AccountId,
    pub work: WorkRef,
    pub outcome: AskOutcome,
}

#[derive(Debug, Clone, PartialEq)]
pub enum AskOutcome {
    /// An ask is in the outbox. In a dry run it would be.
    Asked(AskId),
    Skipped(SkipReason),
    Deferred(Timestamp),
    Superseded,
    /// It could not be read and is due again soon.
    Failed {
        failure: Failure,
        /// Whether Jobber could not be reached. Then all works of the account fail alike.
        outage: bool,
    },
}

impl AskOutcome {
    fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Asked(_) => ("asked", ""),
            Self::Skipped(reason) => ("skipped", reason.as_str()),
            Self::Deferred(_) => ("deferred", ""),
            Self::Superseded => ("superseded", ""),
            Self::Failed { .. } => ("failed", ""),
        }
    }
}

/// What is known before a decision.
enum Prepared {
    /// The account's settings cannot be used.
    Unusable(SessionError),
    /// Nobody is asked before this.
    Early(Timestamp),
    Unread(Box<Rules>, SessionError),
    /// The rules, the facts if the work is still there, and Jobber's clock.
    Read(Box<(Rules, Option<Facts>, Option<Timestamp>)>),
}

/// Works of one account that are read at once. Its budget bounds them too.
const SIDE_BY_SIDE: usize = 4;

#[derive(Debug)]
pub struct Rechecker {
    parts: WorkerParts,
    pool: Pool,
    in_flight: InFlight<AccountId>,
    backoff: Backoff<AccountId>,
    absent: Absent,
}

impl Rechecker {
    pub fn new(parts: WorkerParts) -> Self {
        Self {
            pool: parts.pool(),
            parts,
            in_flight: InFlight::new(),
            backoff: Backoff::default(),
            absent: Absent::default(),
        }
    }

    /// Rechecks all due candidates of one account or of all, per account the longest due first. It may run
    /// while an earlier call is still working: accounts under way are left out.
    pub async fn recheck_once(
        self: &Arc<Self>,
        only: Option<&AccountId>,
    ) -> Result<Vec<Considered>, StoreError> {
        let mut due: BTreeMap<AccountId, Vec<WorkRef>> = BTreeMap::new();
        for (account, work) in self.parts.store.due_works(self.parts.clock.now()).await? {
            if only.is_none_or(|only| *only == account) {
                due.entry(account).or_default().push(work);
            }
        }
        let mut queue = Vec::new();
        for (id, works) in due {
            if self.rests(&id) {
                continue;
            }
            let account = self.parts.store.account(&id).await?.filter(Account::is_active);
            let Some(account) = account else { continue };
            if let Some(entered) = self.in_flight.enter(&id) {
                queue.push((entered, account, works));
            }
        }
        let work = |(entered, account, works): (Entered<AccountId>, Account, Vec<WorkRef>)| {
            let rechecker = Arc::clone(self);
            async move {
                let considered = rechecker.ask_account(&account, works).await;
                drop(entered);
                considered
            }
        };
        let mut asking = self.pool.start(queue, work);
        let mut all = Vec::new();
        while let Some(considered) = asking.next().await {
            all.extend(considered?);
        }
        Ok(all)
    }

    async fn ask_account(
        &self,
        account: &Account,
        works: Vec<WorkRef>,
    ) -> Result<Vec<Considered>, StoreError> {
        let mut considered = Vec::new();
        let read = |work: WorkRef| async move {
            if self.rests(&account.id) || self.pool.is_stopped() {
                return Ok(None);
            }
            let Some(candidate) = self.parts.store.candidate(&account.id, &work).await? else {
                return Ok(None);
            };
            let step = traces::are_on()
                .then(|| ask_id(&account.id, candidate.trigger, &work))
                .and_then(|ask| traces::step(ask.as_str(), "decide"));
            let prepared = guarded(self.prepare(account, &candidate)).await;
            Ok::<_, StoreError>(Some((work, candidate, prepared, step)))
        };
        // Read side by side, decided and stored one after the other: the longest due leaves first.
        let mut reading = stream::iter(works).map(read).buffered(SIDE_BY_SIDE);
        while let Some(prepared) = reading.next().await {
            if self.rests(&account.id) || self.pool.is_stopped() {
                break;
            }
            let Some((work, candidate, prepared, step)) = prepared? else { continue };
            let concluded = match prepared {
                Ok(prepared) => guarded(self.conclude(account, &candidate, prepared?, Effect::Apply)).await,
                Err(panic) => Err(panic),
            };
            let outcome = match concluded {
                Ok(outcome) => {
                    self.parts.faults.clear(&account.id, &work.to_string());
                    outcome?
                }
                Err(panic) => self.faulty(account, &candidate, &panic).await?,
            };
            let (of, reason) = outcome.names();
            telemetry::decided(of, reason);
            if let Some(step) = step {
                let step = step.with("account.id", account.id.to_string()).with("work", work.to_string());
                drop(step.with("outcome", of).with("reason", reason));
            }
            let works = !matches!(outcome, AskOutcome::Failed { outage: true, .. });
            self.pool.note(works);
            self.parts.store.note_asking(&account.id, works, self.parts.clock.now()).await?;
            considered.push(Considered { account: account.id.clone(), work, outcome });
        }
        Ok(considered)
    }

    pub async fn consider(
        &self,
        account: &Account,
        candidate: &Candidate,
        effect: Effect,
    ) -> Result<AskOutcome, StoreError> {
        let prepared = self.prepare(account, candidate).await?;
        self.conclude(account, candidate, prepared, effect).await
    }

    /// Reads what decides about a candidate. Nothing is stored.
    async fn prepare(&self, account: &Account, candidate: &Candidate) -> Result<Prepared, StoreError> {
        let rules = match self.parts.settings.rules_of(account) {
            Ok(rules) => rules,
            Err(error) => return Ok(Prepared::Unusable(SessionError::settings(error))),
        };
        let now = self.parts.clock.now();
        let until = rules.hours.leaves(now);
        if until > now {
            // A read now would only be repeated when the window opens.
            return Ok(Prepared::Early(until));
        }
        Ok(match self.read(account, &candidate.work).await {
            Ok((facts, date)) => Prepared::Read(Box::new((rules, facts, date))),
            Err(SessionError::Store(error)) => return Err(error),
            Err(error) => Prepared::Unread(Box::new(rules), error),
        })
    }

    /// Decides about a candidate by what was read, and stores the decision.
    async fn conclude(
        &self,
        account: &Account,
        candidate: &Candidate,
        prepared: Prepared,
        effect: Effect,
    ) -> Result<AskOutcome, StoreError> {
        let (rules, facts, date) = match prepared {
            Prepared::Read(read) => *read,
            Prepared::Unusable(error) => return self.put_off(account, candidate, &error, effect).await,
            Prepared::Early(until) => {
                return self.defer(account, candidate, candidate.finished_at, until, effect).await;
            }
            Prepared::Unread(rules, error) => {
                return self.unread(account, candidate, &rules, &error, effect).await;
            }
        };
        let now = self.parts.clock.now();
        if effect == Effect::Apply {
            let key = (account.id.clone(), candidate.work.clone());
            if let Some(until) = self.absent.look_again(key, facts.is_none(), now) {
                return self.defer(account, candidate, candidate.finished_at, until, effect).await;
            }
        }
        crate::crash_point::poisoned(candidate.work.id.as_str());
        let client = facts.as_ref().and_then(|facts| facts.client.as_ref());
        let past = self
            .parts
            .store
            .past(
                &account.id,
                &candidate.work,
                facts.as_ref().map(|facts| facts.job_ids.as_slice()).unwrap_or_default(),
                client.map(|client| &client.id),
                &client.map(contacts_of).unwrap_or_default(),
                &rules.policy,
            )
            .await?;
        let contractor = Contractor { id: &account.id, name: &account.name };
        // Nothing final is decided by a clock that has jumped.
        let moment = Moment::new(now, date);
        match decide(contractor, candidate, facts.as_ref(), &past, &rules, moment.sure) {
            Verdict::Ask(ask) => self.ask(account, candidate, *ask, &rules, moment, effect).await,
            Verdict::Skip { reason, saw, subject } => {
                self.skip(account, candidate, reason, saw, *subject, effect).await
            }
            Verdict::Defer { finished_at, until } => {
                if moment.sure != now && until <= now {
                    // It is due by our clock all the time, until that is right again.
                    self.backoff.hold(&account.id, now, REST);
                }
                self.defer(account, candidate, finished_at, until, effect).await
            }
        }
    }

    /// A panic of this program is a failure of the one record: it is put off, counted and, if it comes again, the
    /// operator's.
    async fn faulty(
        &self,
        account: &Account,
        candidate: &Candidate,
        panic: &Panicked,
    ) -> Result<AskOutcome, StoreError> {
        let needs_operator = self.parts.faults.count(&account.id, &candidate.work.to_string(), &panic.words);
        let trouble = if needs_operator { Trouble::Operator } else { Trouble::Answer };
        let detail = format!("a fault of this program: {}", panic.words);
        self.put_off(account, candidate, &SessionError::Failed { detail, trouble }, Effect::Apply).await
    }

    /// What cannot be read is tried again until it is too old by both clocks.
    async fn unread(
        &self,
        account: &Account,
        candidate: &Candidate,
        rules: &Rules,
        error: &SessionError,
        effect: Effect,
    ) -> Result<AskOutcome, StoreError> {
        let agreed = self.parts.session.jobber_clock().agreed();
        let age = |now| too_old(candidate.finished_at, candidate.held_for, rules, now);
        match agreed.filter(|_| candidate.released_at.is_none()).and_then(age) {
            Some(saw) => {
                let saw = saw.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                let subject = candidate.subject.clone();
                self.skip(account, candidate, SkipReason::TooOld, saw, subject, effect).await
            }
            None => self.put_off(account, candidate, error, effect).await,
        }
    }

    async fn defer(
        &self,
        account: &Account,
        candidate: &Candidate,
        finished_at: Timestamp,
        until: Timestamp,
        effect: Effect,
    ) -> Result<AskOutcome, StoreError> {
        if effect == Effect::Apply {
            self.parts.store.commit_defer(&account.id, &candidate.work, finished_at, until).await?;
        }
        Ok(AskOutcome::Deferred(until))
    }

    async fn skip(
        &self,
        account: &Account,
        candidate: &Candidate,
        reason: SkipReason,
        saw: BTreeMap<String, String>,
        subject: Subject,
        effect: Effect,
    ) -> Result<AskOutcome, StoreError> {
        if effect == Effect::Apply {
            let work = &candidate.work;
            let now = self.parts.session.jobber_clock().moment(self.parts.clock.now());
            tracing::info!(account.id = %account.id, work = %work, %reason, "not asked");
            self.parts.store.commit_skip(&account.id, work, reason, saw, subject, now.sure).await?;
        }
        Ok(AskOutcome::Skipped(reason))
    }

    /// Postpones an unreadable candidate, and pauses its account if Jobber cannot be reached.
    async fn put_off(
        &self,
        account: &Account,
        candidate: &Candidate,
        error: &SessionError,
        effect: Effect,
    ) -> Result<AskOutcome, StoreError> {
        let (work, now, wait) = (&candidate.work, self.parts.clock.now(), wait_after(error));
        if effect == Effect::Apply {
            tracing::warn!(account.id = %account.id, work = %work, %error, "a recheck failed; it will be tried again");
            self.parts.store.commit_defer(&account.id, work, candidate.finished_at, plus(now, wait)).await?;
            if let SessionError::Failed { trouble: Trouble::Outage { .. }, .. } = error {
                self.backoff.hold(&account.id, now, wait);
            }
        }
        let needs_operator = matches!(error, SessionError::Failed { trouble: Trouble::Operator, .. });
        let outage = matches!(error, SessionError::Failed { trouble: Trouble::Outage { .. }, .. });
        let failure = Failure { detail: error.to_string(), needs_operator };
        Ok(AskOutcome::Failed { failure, outage })
    }

    async fn ask(
        &self,
        account: &Account,
        candidate: &Candidate,
        ask: Ask,
        rules: &Rules,
        now: Moment,
        effect: Effect,
    ) -> Result<AskOutcome, StoreError> {
        let id = ask.id.clone();
        if effect == Effect::DryRun {
            let shadow = AskOutcome::Skipped(SkipReason::Shadow);
            return Ok(if rules.policy.shadow { shadow } else { AskOutcome::Asked(id) });
        }
        let work = ask.work.clone();
        let body = match rules.texts.freeze(&ask.body) {
            Ok(body) => body,
            Err(error) => {
                let detail = format!("review.body_file: {error}");
                let failure = SessionError::Failed { detail, trouble: Trouble::Operator };
                return self.put_off(account, candidate, &failure, effect).await;
            }
        };
        CrashPoint::AskDecided.pass();
        match self.parts.store.commit_ask(&account.id, ask, body, &rules.policy, now).await? {
            AskCommit::Stored => {
                CrashPoint::AskStored.pass();
                tracing::info!(account.id = %account.id, work = %work, ask.key = %id, "asked");
                Ok(AskOutcome::Asked(id))
            }
            AskCommit::Shadowed => {
                tracing::info!(account.id = %account.id, work = %work, ask.key = %id, "would be asked");
                Ok(AskOutcome::Skipped(SkipReason::Shadow))
            }
            AskCommit::Superseded => Ok(AskOutcome::Superseded),
        }
    }

    /// The ask for a work as it would read now. `None` if Jobber no longer has it or there is nobody to ask.
    pub async fn preview(
        &self,
        account: &Account,
        work: &WorkRef,
        trigger: Trigger,
    ) -> Result<Option<AskBody>, SessionError> {
        let rules = self.parts.settings.rules_of(account).map_err(SessionError::settings)?;
        let (Some(facts), _) = self.read(account, work).await? else { return Ok(None) };
        let contractor = Contractor { id: &account.id, name: &account.name };
        Ok(preview(contractor, trigger, &facts, &rules, self.parts.clock.now()))
    }

    /// Reads all facts fresh. The crew and a job's invoice are read only if the work may be asked about. If
    /// Jobber hides them, the ask is sent without them.
    async fn read(
        &self,
        account: &Account,
        work: &WorkRef,
    ) -> Result<(Option<Facts>, Option<Timestamp>), SessionError> {
        let answer = self.parts.session.run(&account.id, &WorkDetails { work }).await?;
        let Some(mut facts) = answer.data else { return Ok((None, answer.date)) };
        let extras = self.parts.session.run(&account.id, &WorkExtras { work }).await?;
        if let Some(hidden) = extras.hidden {
            tracing::debug!(account.id = %account.id, work = %work, hidden, "an ask without its extras");
        }
        facts.crew = extras.data.crew;
        facts.visits = extras.data.visits;
        facts.invoice = facts.invoice.or(extras.data.invoice);
        Ok((Some(facts), answer.date))
    }

    fn rests(&self, account: &AccountId) -> bool {
        self.backoff.until(account, self.parts.clock.now()).is_some()
    }
}

fn wait_after(error: &SessionError) -> SignedDuration {
    match error {
        SessionError::Failed { trouble: Trouble::Answer | Trouble::Operator, .. } => WAIT_FOR_AN_ANSWER,
        SessionError::Failed { trouble: Trouble::Outage { retry_after: Some(asked), .. }, .. } => {
            REST.max(*asked)
        }
        _ => REST,
    }
}
