//! One sweep: read what changed, plan, store.
//!
//! An idle account costs one request: the first page of its stream has only rows older than the watermark.
//! Once an hour the sweep also covers the whole `max_age` window. That finds what a moving watermark misses:
//! backdated completions, and rows that slipped between two pages.
//!
//! # Crash points
//!
//! - *While pages are read*: nothing was stored, the watermark is unchanged, the next sweep reads the same
//!   again.
//! - *After the commit*: candidates, skips and watermark are stored together. Reading the same rows again
//!   plans nothing.
//!
//! A failed read ends the account's sweep and leaves its watermark unchanged. Other accounts continue.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::backoff::Backoff;
use super::found;
use super::paging::{Known, Paging};
use super::parts::WorkerParts;
use super::pool::{Effect, Entered, InFlight, Pool, Progress, guarded};
use crate::accounts::session::{SessionError, Trouble};
use crate::clock::{is_over, minus};
use crate::crash_point::CrashPoint;
use crate::domain::model::{
    Account, AccountId, Candidate, Decision, Failure, Health, LostReason, Outcome, Record, Stream, Switches,
    WorkKind,
};
use crate::domain::plan::{Plan, plan, reconcile_start, start_of};
use crate::domain::rules::{Respected, remarks};
use crate::jobber::Operation;
use crate::jobber::operations::{InvoiceSwitches, JobSwitches, List, PageRequest, TimezoneOfViewer};
use crate::store::{PlanCommit, StoreError};
use crate::telemetry;

const RECONCILE_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// How often Jobber's switches are counted.
const COUNT_SWITCHES_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// Older records are not counted.
const SWITCHES_WITHIN: SignedDuration = SignedDuration::from_hours(365 * 24);

const NOTED_TOGETHER: usize = 256;

/// What faults of a sweep are counted under.
const SWEEP: &str = "sweep";

/// The result of one account's sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Swept {
    /// The account.
    pub account: AccountId,
    /// The result.
    pub outcome: SweepOutcome,
}

/// The result of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub enum SweepOutcome {
    /// It read everything.
    Polled(Polled),
    /// The account needs authorization. Nothing was read.
    Lost(LostReason),
    /// The operator paused or disconnected the account. Nothing was read.
    Idle,
    /// An earlier sweep of this account is still running.
    Busy,
    /// Jobber asked for a pause until then.
    Resting(Timestamp),
    /// Something could not be read.
    Failed(Failure),
}

impl SweepOutcome {
    fn name(&self) -> &'static str {
        match self {
            Self::Polled(_) => "polled",
            Self::Lost(_) => "lost",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Resting(_) => "resting",
            Self::Failed(_) => "failed",
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Polled {
    pub requests: u32,
    pub candidates: Vec<Candidate>,
    pub skipped: Vec<Decision>,
    pub reconciled: bool,
}

#[derive(Debug)]
pub struct Poller {
    parts: WorkerParts,
    pool: Pool,
    in_flight: InFlight<AccountId>,
    backoff: Backoff<AccountId>,
    paging: Paging,
}

impl Poller {
    pub fn new(parts: WorkerParts) -> Self {
        let paging = Paging::new(Arc::clone(&parts.sweeps));
        Self { pool: parts.pool(), parts, in_flight: InFlight::new(), backoff: Backoff::default(), paging }
    }

    /// One sweep over `accounts`. The next sweep may begin before this one ends. It leaves out accounts that
    /// are still under way, so a slow account does not delay the others.
    pub async fn poll_once(
        self: &Arc<Self>,
        accounts: Vec<AccountId>,
        effect: Effect,
        progress: &Progress,
    ) -> Result<Vec<Swept>, StoreError> {
        let total = accounts.len();
        // An account counts as under way from here, not only when its turn comes. A second sweep leaves it
        // alone.
        let queue: Vec<_> = accounts.into_iter().map(|id| (self.in_flight.enter(&id), id)).collect();
        let sweep = |(entered, id): (Option<Entered<AccountId>>, AccountId)| {
            let poller = Arc::clone(self);
            async move {
                let outcome = match entered {
                    Some(_) => {
                        let outcome = match poller.parts.store.account(&id).await? {
                            Some(account) => poller.poll_account(&account, effect).await?,
                            // It was removed meanwhile.
                            None => SweepOutcome::Idle,
                        };
                        poller.parts.sweeps.looked();
                        match &outcome {
                            SweepOutcome::Polled(_) => poller.pool.note(true),
                            SweepOutcome::Failed(failure) if !failure.needs_operator => {
                                poller.pool.note(false);
                            }
                            _ => {}
                        }
                        outcome
                    }
                    None => SweepOutcome::Busy,
                };
                telemetry::swept(outcome.name());
                drop(entered);
                Ok::<_, StoreError>(Swept { account: id, outcome })
            }
        };
        let mut sweeps = self.pool.start(queue, sweep);
        let mut all = Vec::with_capacity(total);
        let mut noted = 0;
        while let Some(swept) = sweeps.next().await {
            all.push(swept?);
            progress(all.len(), total);
            if effect == Effect::Apply && all.len() - noted >= NOTED_TOGETHER {
                self.note(&all[noted..]).await?;
                noted = all.len();
            }
        }
        if effect == Effect::Apply {
            self.note(&all[noted..]).await?;
        }
        Ok(all)
    }

    async fn poll_account(&self, account: &Account, effect: Effect) -> Result<SweepOutcome, StoreError> {
        if let crate::domain::model::Connection::NeedsAuthorization { reason, .. } = account.connection {
            return Ok(SweepOutcome::Lost(reason));
        }
        if !account.is_active() {
            return Ok(SweepOutcome::Idle);
        }
        if let Some(until) = self.backoff.until(&account.id, self.parts.clock.now()) {
            return Ok(SweepOutcome::Resting(until));
        }
        let swept = match guarded(self.sweep(account, effect)).await {
            Ok(swept) => {
                self.parts.faults.clear(&account.id, SWEEP);
                swept
            }
            Err(panic) => {
                let needs_operator = self.parts.faults.count(&account.id, SWEEP, &panic.words);
                let detail = format!("a fault of this program: {}", panic.words);
                let trouble = if needs_operator { Trouble::Operator } else { Trouble::Answer };
                Err(SessionError::Failed { detail, trouble })
            }
        };
        match swept {
            Ok(polled) => Ok(SweepOutcome::Polled(polled)),
            Err(SessionError::NeedsAuthorization(reason)) => Ok(SweepOutcome::Lost(reason)),
            Err(SessionError::Failed { detail, trouble }) => {
                if let Trouble::Outage { retry_after: Some(rest), .. } = trouble {
                    self.backoff.hold(&account.id, self.parts.clock.now(), rest);
                }
                Ok(SweepOutcome::Failed(Failure { detail, needs_operator: trouble == Trouble::Operator }))
            }
            Err(SessionError::Store(error)) => Err(error),
        }
    }

    async fn sweep(&self, account: &Account, effect: Effect) -> Result<Polled, SessionError> {
        let now = self.parts.clock.now();
        let rules = self.parts.settings.rules_of(account).map_err(SessionError::settings)?;
        let stream = rules.trigger.stream();
        let planned_for = (account.trigger, account.asks_from);
        let watermark = account.watermarks.get(&stream).copied();
        let start = start_of(watermark, &rules, now);
        let reconcile = account.reconciled_at.is_none_or(|last| is_over(last, RECONCILE_EVERY, now));
        let window = reconcile.then(|| reconcile_start(now, &rules));

        let (mut records, mut observed_at, mut requests) = (Vec::new(), None, 0);
        let (mut known_until, mut is_whole, mut places) = (None, true, Vec::new());
        for (name, list) in lists(stream, start, window) {
            // A list sorted by change and without a filter is read down to the start.
            let until = matches!(list, List::ChangedJobs).then_some(start);
            let request = PageRequest { list, after: None };
            let read = self.paging.read(&self.parts.session, &account.id, name, &request, until).await?;
            records.extend(read.rows);
            requests += read.requests;
            observed_at = observed_at.or(read.observed_at);
            is_whole &= read.until.is_some();
            let list_is_followed = name != LOOK_BACK;
            if list_is_followed {
                known_until = read.until;
            }
            places.push(read.place);
        }
        // A list that is read in parts is looked back over when it has been read to its end.
        let reconcile = reconcile && is_whole;
        if reconcile && effect == Effect::Apply {
            self.learn_timezone(account, &mut requests).await?;
            self.count_switches(account, &mut requests).await?;
        }

        let works = records.iter().map(Record::work).collect();
        let known = self.parts.store.known(&account.id, works).await?;
        let plan = plan(&records, &known, &rules, watermark, observed_at.unwrap_or(now), now);
        let moved = match known_until {
            None => None,
            Some(Known::All) => plan.watermark,
            Some(Known::To(newest)) => newest.filter(|at| watermark.is_none_or(|old| *at > old)),
        };
        let plan = Plan { watermark: moved, ..plan };
        let polled = Polled {
            requests,
            candidates: plan.candidates.clone(),
            skipped: plan.skipped.clone(),
            reconciled: reconcile,
        };
        if effect == Effect::Apply && (reconcile || !plan.is_empty()) {
            let reconciled_at = reconcile.then_some(now);
            let commit = PlanCommit {
                account: account.id.clone(),
                stream,
                planned_for,
                plan,
                reconciled_at,
                by_event: false,
                burst_above: rules.policy.burst_above,
                now,
            };
            CrashPoint::SweepPlanned.pass();
            for decision in &polled.skipped {
                if let Outcome::Skipped { reason } = decision.outcome {
                    telemetry::decided("skipped", reason.as_str());
                }
            }
            let new = self.parts.store.commit_plan(commit).await?;
            CrashPoint::SweepStored.pass();
            if new > 0 {
                found::trace(&account.id, &polled.candidates, "sweep", now);
            }
        }
        if effect == Effect::Apply {
            for place in places {
                self.paging.keep(place);
            }
        }
        Ok(polled)
    }

    /// Reads the contractor's time zone once an hour. The app may lack the scope for it. Until it is known
    /// the configured zone applies.
    async fn learn_timezone(&self, account: &Account, requests: &mut u32) -> Result<(), SessionError> {
        match self.optional(account, &TimezoneOfViewer, requests).await? {
            Some(Some(name)) if account.timezone.as_ref() != Some(&name) => {
                self.parts.store.note_timezone(&account.id, name).await.map_err(SessionError::Store)
            }
            _ => Ok(()),
        }
    }

    /// Counts Jobber's switches once a day, and tells the operator about a change. Until they are known, they are
    /// respected.
    async fn count_switches(&self, account: &Account, requests: &mut u32) -> Result<(), SessionError> {
        let now = self.parts.clock.now();
        let before = account.switches;
        if before.is_some_and(|(at, _)| !is_over(at, COUNT_SWITCHES_EVERY, now)) {
            return Ok(());
        }
        let since = minus(now, SWITCHES_WITHIN);
        let Some(mut counted) = self.optional(account, &JobSwitches { since }, requests).await? else {
            return Ok(());
        };
        // Only the invoice triggers look at them; other accounts may not show them to the app.
        if account.trigger.work_kind() == WorkKind::Invoice {
            let Some(invoices) = self.optional(account, &InvoiceSwitches { since }, requests).await? else {
                return Ok(());
            };
            counted.invoices = invoices;
        }
        let policy = self.parts.settings.rules_of(account).map_err(SessionError::settings)?.policy;
        let switch = policy.jobber_switch;
        let respected = |counted: &Switches| Respected::of(switch, Some(counted));
        let before = before.map(|(_, before)| before).unwrap_or_default();
        if before.remarkable() != counted.remarkable() {
            for remark in remarks(account.trigger, &policy, &counted) {
                tracing::info!(account.id = %account.id, account.name, "{remark}");
            }
            if respected(&counted) == Respected::ALL && respected(&before) != Respected::ALL {
                tracing::info!(account.id = %account.id, account.name, "review requests are in use in Jobber again: its switches count");
            }
        }
        self.parts.store.note_switches(&account.id, counted, now).await.map_err(SessionError::Store)
    }

    /// Reads what a sweep can do without. `None` if it could not be read.
    async fn optional<O: Operation>(
        &self,
        account: &Account,
        operation: &O,
        requests: &mut u32,
    ) -> Result<Option<O::Output>, SessionError> {
        *requests += 1;
        match self.parts.session.run(&account.id, operation).await {
            Ok(answer) => Ok(Some(answer.data)),
            Err(error @ (SessionError::Store(_) | SessionError::NeedsAuthorization(_))) => Err(error),
            Err(SessionError::Failed { detail, .. }) => {
                tracing::debug!(account.id = %account.id, detail, "the {} is not known yet", operation.kind());
                Ok(None)
            }
        }
    }

    /// Stores the accounts' results in one commit, and logs each change once.
    async fn note(&self, swept: &[Swept]) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        let notes: Vec<_> = swept
            .iter()
            .filter_map(|Swept { account, outcome }| {
                let result = match outcome {
                    SweepOutcome::Polled(_) => Ok(()),
                    SweepOutcome::Failed(failure) => Err(failure.clone()),
                    SweepOutcome::Lost(_)
                    | SweepOutcome::Idle
                    | SweepOutcome::Busy
                    | SweepOutcome::Resting(_) => return None,
                };
                Some((account.clone(), result))
            })
            .collect();
        if notes.is_empty() {
            return Ok(());
        }
        for (account, before, after) in self.parts.store.note_sweeps(notes, now).await? {
            tell(&account, &before, &after);
        }
        Ok(())
    }
}

/// The list of a look-back for jobs. The watermark moves by the other one.
const LOOK_BACK: &str = "look-back";

/// The lists of a sweep, with their names.
fn lists(stream: Stream, start: Timestamp, window: Option<Timestamp>) -> Vec<(&'static str, List)> {
    let since = window.map_or(start, |window| window.min(start));
    match stream {
        // Jobs have no filter by change, so the reconcile sweep needs its own list (`api-behaviour.md` §1).
        Stream::Jobs => {
            let looked_back = window.map(|since| (LOOK_BACK, List::CompletedJobs(since)));
            std::iter::once(("jobs", List::ChangedJobs)).chain(looked_back).collect()
        }
        Stream::Visits => vec![("visits", List::CompletedVisits(since))],
        Stream::Invoices => vec![("invoices", List::ChangedInvoices(since))],
    }
}

fn tell(id: &AccountId, before: &Health, after: &Health) {
    match (&before.last_error, &after.last_error) {
        (None, Some(error)) => {
            tracing::warn!(account.id = %id, %error, "a sweep failed; every sweep tries again");
        }
        (Some(_), Some(error)) => tracing::debug!(account.id = %id, %error, "a sweep failed again"),
        (Some(_), None) => tracing::info!(account.id = %id, "sweeps work again"),
        (None, None) => {}
    }
}
