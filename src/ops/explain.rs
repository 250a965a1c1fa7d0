//! Explains why a customer was or was not asked: finds decisions by any name.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{OpError, Told, named};
use crate::accounts::session::SessionError;
use crate::clock::minus;
use crate::context::Context;
use crate::domain::lookup::Wanted;
use crate::domain::model::{
    Account, AccountId, ActionRecord, Decision, EncodedId, Outcome, Review, Subject, WorkRef,
};

/// Maximum works that one call reads fresh.
const RENDERED_AT_MOST: usize = 20;

/// Decisions of an audit that are read together.
const TOGETHER: usize = 256;

/// What an audit listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    pub decisions: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    pub account: AccountId,
    pub account_name: String,
    pub finished_local: String,
    /// With `render`: the sentence as it would read now, or why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_say: Option<String>,
    /// For work that waits: when it can leave, given the hours in which customers are asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves_at: Option<Timestamp>,
    /// What the customer wrote after the ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    /// What was written in Jobber on the work, its job and its client, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<ActionRecord>,
    #[serde(flatten)]
    pub decision: Decision,
}

/// The decisions that match `what`, newest work first. With `render` also the sentence as it would read now.
pub async fn explain(context: &Context, what: &str, render: bool) -> Result<Vec<Explained>, OpError> {
    let mut explained = find(context, what).await?;
    add_what_followed(context, &mut explained).await?;
    if render {
        for row in explained.iter_mut().take(RENDERED_AT_MOST) {
            row.would_say = Some(would_say(context, row).await?);
        }
    }
    Ok(explained)
}

/// Adds reviews and writes.
async fn add_what_followed(context: &Context, explained: &mut [Explained]) -> Result<(), OpError> {
    // Customers with many works share their card's writes.
    let mut known: BTreeMap<(AccountId, String), Vec<ActionRecord>> = BTreeMap::new();
    for row in explained {
        if let Outcome::Asked { ask_id, .. } = &row.decision.outcome {
            row.review = context.store.review(ask_id).await?;
        }
        let Subject { client_id, job_id, .. } = &row.decision.subject;
        let records: BTreeSet<&EncodedId> =
            [Some(&row.decision.work.id), client_id.as_ref(), job_id.as_ref()]
                .into_iter()
                .flatten()
                .collect();
        for record in records {
            let target = (row.account.clone(), record.to_string());
            let writes = match known.entry(target) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let writes = context.store.actions_on(&new.key().0, &new.key().1, Timestamp::MIN).await?;
                    new.insert(writes)
                }
            };
            row.writes.extend(writes.iter().cloned());
        }
        row.writes.sort_by_key(|write| std::cmp::Reverse(write.at));
    }
    Ok(())
}

/// The sentence for one work as it would read now, or why there is none.
async fn would_say(context: &Context, row: &Explained) -> Result<String, OpError> {
    let Some(account) = context.store.account(&row.account).await? else {
        return Ok("the account was removed".to_owned());
    };
    match context.rechecker.preview(&account, &row.decision.work, row.decision.trigger).await {
        Ok(Some(ask)) => Ok(ask.message),
        Ok(None) => {
            Ok("there is nobody to ask: the work was deleted in Jobber, or it has no client".to_owned())
        }
        Err(SessionError::Store(error)) => Err(error.into()),
        Err(error) => Ok(format!("it cannot be read from Jobber: {error}")),
    }
}

fn explained_of(context: &Context, account: &Account, decision: Decision) -> Explained {
    let leaves_at = match (&decision.outcome, context.settings.rules_of(account)) {
        (Outcome::Waiting { due_at }, Ok(rules)) => {
            Some(rules.hours.leaves((*due_at).max(context.clock.now())))
        }
        _ => None,
    };
    let local = decision.finished_at.to_zoned_datetime(context.settings.zone_of(account));
    Explained {
        account: account.id.clone(),
        account_name: account.name.clone(),
        finished_local: local.strftime("%a %Y-%m-%d %H:%M %Z").to_string(),
        would_say: None,
        review: None,
        writes: vec![],
        leaves_at,
        decision,
    }
}

pub async fn audit(
    context: &Context,
    account: Option<String>,
    within: SignedDuration,
    tell: &mpsc::Sender<Told>,
) -> Result<Audited, OpError> {
    let only = named(context, account).await?.map(|account| account.id);
    let since = minus(context.clock.now(), within);
    let mut decisions = 0;
    for account in context.store.accounts().await? {
        if only.as_ref().is_some_and(|only| *only != account.id) {
            continue;
        }
        // Only times and ids of a whole account are in memory.
        let pick = move |picked: &mut Vec<(Timestamp, WorkRef)>, decision: Decision| {
            if decision.at >= since {
                picked.push((decision.at, decision.work));
            }
        };
        let mut picked = context.store.fold_decisions(&account.id, vec![], pick).await?;
        picked.sort();
        for some in picked.chunks(TOGETHER) {
            let works: Vec<WorkRef> = some.iter().map(|(_, work)| work.clone()).collect();
            let mut known = context.store.known(&account.id, works.clone()).await?.decisions;
            for decision in works.iter().filter_map(|work| known.remove(work)) {
                let row = serde_json::to_string(&explained_of(context, &account, decision));
                let row = row.map_err(|error| OpError::Failed(error.to_string()))?;
                if tell.send(Told::Part(row)).await.is_err() {
                    return Err(OpError::Refused("nobody took the audit".to_owned()));
                }
                decisions += 1;
            }
        }
    }
    Ok(Audited { decisions })
}

pub(super) async fn find(context: &Context, what: &str) -> Result<Vec<Explained>, OpError> {
    let mut accounts: BTreeMap<AccountId, Option<Account>> = BTreeMap::new();
    let mut explained = Vec::new();
    for (id, decision) in context.store.find(Arc::new(Wanted::new(what))).await? {
        if !accounts.contains_key(&id) {
            accounts.insert(id.clone(), context.store.account(&id).await?);
        }
        // Being removed.
        let Some(Some(account)) = accounts.get(&id) else { continue };
        explained.push(explained_of(context, account, decision));
    }
    explained.sort_by(|a, b| {
        let newest = b.decision.finished_at.cmp(&a.decision.finished_at);
        newest.then_with(|| (&a.account, &a.decision.work).cmp(&(&b.account, &b.decision.work)))
    });
    Ok(explained)
}
