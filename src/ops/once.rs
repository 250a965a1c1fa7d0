//! `--once`: one run of everything that the daemon's loops do, with a report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rules;
use crate::context::Context;
use crate::domain::model::{Account, AccountId, Candidate};
use crate::domain::retry::Next;
use crate::store::StoreError;
use crate::workers::poller::{SweepOutcome, Swept};
use crate::workers::pool::{Effect, Progress};
use crate::workers::recheck::{AskOutcome, Considered};

/// One run over all accounts or over `only` one: poll, recheck, deliver, report.
pub async fn once(
    context: &Context,
    only: Option<&AccountId>,
    effect: Effect,
    progress: &Progress,
) -> Result<OnceReport, StoreError> {
    if effect == Effect::Apply {
        context.note_clock().await?;
    }
    let ids = match only {
        Some(id) => vec![id.clone()],
        None => context.store.account_ids().await?,
    };
    let swept = context.poller.poll_once(ids, effect, progress).await?;
    // Read again, because a sweep can find that a connection is lost.
    let accounts = accounts(context, only).await?;
    let considered = match effect {
        Effect::Apply => context.rechecker.recheck_once(only).await?,
        Effect::DryRun => rehearse(context, &accounts, &swept).await?,
    };
    let delivered = match effect {
        Effect::Apply => {
            let delivered = deliver(context, only).await?;
            rules::react_once(context, only).await?;
            delivered
        }
        Effect::DryRun => 0,
    };
    report(context, &accounts, &swept, &considered, delivered).await
}

async fn deliver(context: &Context, only: Option<&AccountId>) -> Result<usize, StoreError> {
    let mut delivered = 0;
    loop {
        let dispatched = context.deliverer.deliver_once(only).await?;
        if dispatched.is_empty() {
            return Ok(delivered);
        }
        delivered += dispatched.iter().filter(|attempt| attempt.next == Some(Next::Delivered)).count();
    }
}

async fn accounts(context: &Context, only: Option<&AccountId>) -> Result<Vec<Account>, StoreError> {
    match only {
        Some(id) => Ok(context.store.account(id).await?.into_iter().collect()),
        None => context.store.accounts().await,
    }
}

/// Rechecks due candidates, and those that the sweep would create, without storing anything.
async fn rehearse(
    context: &Context,
    accounts: &[Account],
    swept: &[Swept],
) -> Result<Vec<Considered>, StoreError> {
    let now = context.clock.now();
    let stored = context.store.candidates().await?;
    let mut considered = Vec::new();
    for account in accounts.iter().filter(|account| account.is_active()) {
        let old = stored.iter().filter(|(id, _)| *id == account.id).map(|(_, candidate)| candidate);
        let new =
            swept.iter().filter(|swept| swept.account == account.id).flat_map(|swept| match &swept.outcome {
                SweepOutcome::Polled(polled) => polled.candidates.as_slice(),
                _ => &[],
            });
        let due: Vec<&Candidate> = old.chain(new).filter(|candidate| candidate.due_at <= now).collect();
        for candidate in due {
            let outcome = context.rechecker.consider(account, candidate, Effect::DryRun).await?;
            let work = candidate.work.clone();
            considered.push(Considered { account: account.id.clone(), work, outcome });
        }
    }
    Ok(considered)
}

async fn report(
    context: &Context,
    accounts: &[Account],
    swept: &[Swept],
    considered: &[Considered],
    delivered: usize,
) -> Result<OnceReport, StoreError> {
    let mut report = OnceReport { delivered, ..OnceReport::default() };
    let mut rows: BTreeMap<AccountId, AccountReport> = BTreeMap::new();
    for account in accounts {
        rows.insert(
            account.id.clone(),
            AccountReport {
                id: account.id.clone(),
                name: account.name.clone(),
                state: account.state().to_owned(),
                polled: false,
                candidates: 0,
                asked: 0,
                skipped: 0,
                deferred: 0,
            },
        );
    }
    let mut error = |account: &AccountId, error: &str, needs_operator: bool| {
        report.errors.push(ErrorReport { account: account.clone(), error: error.to_owned(), needs_operator });
    };
    for Swept { account, outcome } in swept {
        let Some(row) = rows.get_mut(account) else { continue };
        match outcome {
            SweepOutcome::Polled(polled) => {
                row.polled = true;
                row.candidates = polled.candidates.len();
                row.skipped = polled.skipped.len();
            }
            SweepOutcome::Failed(failure) => error(account, &failure.detail, failure.needs_operator),

            SweepOutcome::Lost(reason) => error(account, reason.describe(), true),
            SweepOutcome::Idle => {}
            SweepOutcome::Busy => error(account, "another sweep of this account is running", false),
            SweepOutcome::Resting(until) => {
                error(
                    account,
                    &format!("Jobber asked for a pause until {until}; a later sweep tries again"),
                    false,
                );
            }
        }
    }
    for Considered { account, work, outcome } in considered {
        let Some(row) = rows.get_mut(account) else { continue };
        match outcome {
            AskOutcome::Asked(_) => row.asked += 1,
            AskOutcome::Skipped(_) => row.skipped += 1,
            AskOutcome::Deferred(_) => row.deferred += 1,
            AskOutcome::Superseded => {}
            AskOutcome::Failed { failure, .. } => {
                error(account, &format!("{work}: {}", failure.detail), failure.needs_operator);
            }
        }
    }
    report.accounts = rows.into_values().collect();
    let counts = context.store.outbox_counts().await?;
    for count in accounts.iter().filter_map(|account| counts.by_account.get(&account.id)) {
        report.retrying += count.queued;
        report.dead += count.dead;
    }
    Ok(report)
}

/// The report of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnceReport {
    /// One row per account.
    pub accounts: Vec<AccountReport>,
    /// Asks accepted by a receiver in this run.
    pub delivered: usize,
    /// Asks that wait for another attempt.
    pub retrying: usize,
    /// Dead letters.
    pub dead: usize,
    /// What failed.
    pub errors: Vec<ErrorReport>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountReport {
    pub id: AccountId,
    pub name: String,
    pub state: String,
    pub polled: bool,
    pub candidates: usize,
    pub asked: usize,
    pub skipped: usize,
    pub deferred: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReport {
    pub account: AccountId,
    pub error: String,
    /// Whether it needs the operator. Otherwise it heals itself.
    pub needs_operator: bool,
}
