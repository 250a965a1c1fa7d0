//! People: who is never asked, who was asked before by another tool, and whose work is asked about although it is old.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Reply, explain, find_account, named};
use crate::context::Context;
use crate::domain::import::AskedBefore;
use crate::domain::model::{Account, AccountId, ContactKey, Outcome, SkipReason, Suppression};
use crate::domain::shadow::{ShadowReport, compare};
use crate::store::StoreError;

pub(super) async fn suppress(
    context: &Context,
    what: String,
    account: Option<String>,
    note: Option<String>,
    now: Timestamp,
) -> Result<Reply, StoreError> {
    let account = match named(context, account)? {
        Ok(account) => account.map(|account| account.id),
        Err(refusal) => return Ok(Reply::Refused(refusal)),
    };
    let Some(who) = ContactKey::of(&what) else { return Ok(Reply::Refused(nobody(&what))) };
    context.store.suppress(&who, Suppression { what: what.clone(), account, note, at: now }).await?;
    Ok(Reply::Done(format!(
        "{what} is never asked; an ask that is on its way is dropped before its next attempt"
    )))
}

pub(super) async fn unsuppress(
    context: &Context,
    what: String,
    account: Option<String>,
) -> Result<Reply, StoreError> {
    let account = match named(context, account)? {
        Ok(account) => account.map(|account| account.id),
        Err(refusal) => return Ok(Reply::Refused(refusal)),
    };
    let Some(who) = ContactKey::of(&what) else { return Ok(Reply::Refused(nobody(&what))) };
    Ok(if context.store.unsuppress(&who, account.as_ref()).await? {
        Reply::Done(format!("{what} can be asked again"))
    } else {
        Reply::Refused(format!("{what} is not on the list: `suppress list` shows who is, and for whom"))
    })
}

fn nobody(what: &str) -> String {
    format!(
        "`{what}` names nobody: give a phone number, an e-mail address, or the id of a client as Jobber's API gives it"
    )
}

pub(super) fn shadow_report(
    context: &Context,
    theirs: Vec<AskedBefore>,
    otherwise: Option<String>,
) -> Result<Reply, StoreError> {
    // An account for which the old automation sent nothing has a difference too.
    let meant = match named(context, otherwise.clone())? {
        Ok(Some(account)) => vec![account],
        Ok(None) => context.store.accounts()?,
        Err(refusal) => return Ok(Reply::Refused(refusal)),
    };
    let mut by_account: BTreeMap<AccountId, (Account, Vec<AskedBefore>)> =
        meant.into_iter().map(|account| (account.id.clone(), (account, vec![]))).collect();
    for row in theirs {
        match named(context, row.account.clone().or_else(|| otherwise.clone()))? {
            Ok(Some(account)) => {
                by_account.entry(account.id.clone()).or_insert_with(|| (account, vec![])).1.push(row);
            }
            Ok(None) => {
                let words = format!("line {}: no account; add a column account, or --account", row.line);
                return Ok(Reply::Refused(words));
            }
            Err(refusal) => return Ok(Reply::Refused(format!("line {}: {refusal}", row.line))),
        }
    }
    let mut whole = ShadowReport::default();
    for (account, rows) in by_account.into_values() {
        let decisions: Vec<_> = context.store.decisions(&account.id).collect::<Result<_, _>>()?;
        let rules = match context.settings.rules_of(&account) {
            Ok(rules) => rules,
            Err(error) => return Ok(Reply::Refused(format!("{}: {error}", account.name))),
        };
        let report = compare(&decisions, &rows, &rules);
        whole.both += report.both;
        whole.only_us.extend(report.only_us);
        whole.only_them.extend(report.only_them);
        whole.repeats.extend(report.repeats);
        whole.outside_hours.extend(report.outside_hours);
    }
    Ok(Reply::Shadow(whole))
}

pub(super) async fn release(context: &Context, what: &str, now: Timestamp) -> Result<Reply, StoreError> {
    let mut stale = explain::find(context, what)?;
    stale.retain(|row| matches!(row.decision.outcome, Outcome::Skipped { reason: SkipReason::TooOld }));
    let [row] = stale.as_slice() else {
        let words = match stale.as_slice() {
            [] => format!("no work that was found too old fits `{what}`: `explain` shows what became of it"),
            several => {
                format!("`{what}` fits {} works that were found too old: use the id of one", several.len())
            }
        };
        return Ok(Reply::Refused(words));
    };
    if !context.store.release(&row.account, &row.decision.work, now).await? {
        return Ok(Reply::Refused(format!(
            "{} was decided about anew meanwhile: look at `explain`",
            row.decision.work
        )));
    }
    context.bells.recheck.notify_one();
    Ok(Reply::Done(format!("{} is looked at again, although it is old", row.decision.work)))
}

pub(super) async fn import(
    context: &Context,
    asked: Vec<AskedBefore>,
    otherwise: Option<String>,
    write: bool,
) -> Result<Reply, StoreError> {
    let mut people = Vec::with_capacity(asked.len());
    let mut known = BTreeMap::new();
    for row in asked {
        let Some(name) = row.account.or_else(|| otherwise.clone()) else {
            let words = format!("line {}: no account; add a column account, or --account", row.line);
            return Ok(Reply::Refused(words));
        };
        let id = match known.get(&name) {
            Some(id) => id,
            None => match find_account(context, &name)? {
                Ok(account) => known.entry(name).or_insert(account.id),
                Err(refusal) => return Ok(Reply::Refused(format!("line {}: {refusal}", row.line))),
            },
        };
        people.push((AccountId::clone(id), row.contacts, row.at));
    }
    let count = people.len();
    if write {
        context.store.note_asked_before(people).await?;
    }
    Ok(Reply::Done(format!("{count} rows")))
}
