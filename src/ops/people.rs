//! People: suppressions, and asks by another tool.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Done, OpError, find_account, named};
use crate::context::Context;
use crate::domain::import::AskedBefore;
use crate::domain::model::{AccountId, ContactKey, Kept, Suppression};
use crate::store::Erased;

/// Suppresses a person for `account`, or without one for all accounts.
pub async fn suppress(
    context: &Context,
    what: String,
    account: Option<String>,
    note: Option<String>,
) -> Result<Done, OpError> {
    let account = named(context, account).await?.map(|account| account.id);
    let who = contact(&what)?;
    let at = context.clock.now();
    context.store.suppress(&who, Suppression { what: what.clone(), account, note, at }).await?;
    Ok(Done::new(format!(
        "{what} is never asked from now on; an ask in the queue is dropped before its next attempt"
    )))
}

pub async fn unsuppress(context: &Context, what: &str, account: Option<String>) -> Result<Done, OpError> {
    let account = named(context, account).await?.map(|account| account.id);
    if context.store.unsuppress(&contact(what)?, account.as_ref()).await? {
        Ok(Done::new(format!("{what} can be asked again")))
    } else {
        Err(OpError::NotFound(format!(
            "{what} is not on the list: `suppress list` shows who is, and for which account; whoever was forgotten is not shown there, and needs the same --account"
        )))
    }
}

pub async fn suppressions(context: &Context) -> Result<Vec<Suppression>, OpError> {
    Ok(context.store.suppressions().await?)
}

/// What is kept about a person, in numbers, and whether it was erased.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgetting {
    pub erased: bool,
    /// As the cards and decisions call the person.
    pub names: BTreeSet<String>,
    pub accounts: usize,
    pub decisions: usize,
    pub cards: usize,
    pub messages: usize,
    pub reviews: usize,
    pub writes: usize,
    /// Notes of when the person was asked, and that they must not be.
    pub notes: usize,
    /// Messages that were being sent, and so were not erased.
    pub under_way: usize,
    /// Contacts that stand with other customers too, and stay theirs.
    pub shared: usize,
}

/// Erases who a person is. Without `write` it only counts what there is.
pub async fn forget(
    context: &Context,
    what: &str,
    account: Option<String>,
    write: bool,
) -> Result<Forgetting, OpError> {
    let account = named(context, account).await?.map(|account| account.id);
    let who = contact(what)?;
    let kept = context.store.kept_about(&who, account.as_ref()).await?;
    let mut told = counts(&kept);
    if write {
        let now = context.clock.now();
        let Erased { under_way, shared } = context.store.forget(&who, account.as_ref(), now).await?;
        tracing::info!(
            decisions = told.decisions,
            cards = told.cards,
            messages = told.messages,
            reviews = told.reviews,
            writes = told.writes,
            "somebody was forgotten"
        );
        told = Forgetting { erased: true, under_way, shared, names: BTreeSet::new(), ..told };
    }
    Ok(told)
}

fn counts(kept: &Kept) -> Forgetting {
    let decisions = kept.decisions.iter().map(|kept| &kept.account);
    let accounts: BTreeSet<_> = decisions.chain(kept.cards.iter().map(|kept| &kept.account)).collect();
    let names = kept.decisions.iter().filter_map(|kept| kept.decision.subject.client_name.clone());
    Forgetting {
        erased: false,
        names: names.chain(kept.cards.iter().map(|kept| kept.card.name.clone())).collect(),
        accounts: accounts.len(),
        decisions: kept.decisions.len(),
        cards: kept.cards.len(),
        messages: kept.messages.len(),
        reviews: kept.reviews.len(),
        writes: kept.writes.len(),
        notes: kept.asked.len() + kept.suppressions.len(),
        under_way: 0,
        shared: 0,
    }
}

/// Everything that is kept about a person.
pub async fn export(context: &Context, what: &str, account: Option<String>) -> Result<Kept, OpError> {
    let account = named(context, account).await?.map(|account| account.id);
    let who = contact(what)?;
    let kept = context.store.kept_about(&who, account.as_ref()).await?;
    if !kept.is_empty() {
        return Ok(kept);
    }
    Err(OpError::NotFound(match context.store.forgotten_at(&who, account.as_ref()).await? {
        Some(at) => {
            format!("nothing is kept about {what}: they were forgotten on {}", at.strftime("%Y-%m-%d"))
        }
        None => format!("nothing is kept about {what}"),
    }))
}

fn contact(what: &str) -> Result<ContactKey, OpError> {
    ContactKey::of(what).ok_or_else(|| {
        OpError::Refused(format!(
            "`{what}` cannot be used: give a phone number, an e-mail address, or the id of a client from Jobber's API"
        ))
    })
}

/// Stores people that another tool has asked. `otherwise` is the account of rows without one. Without `write`
/// it only checks the rows.
pub async fn import(
    context: &Context,
    asked: Vec<AskedBefore>,
    otherwise: Option<String>,
    write: bool,
) -> Result<Done, OpError> {
    let mut people = Vec::with_capacity(asked.len());
    let mut known = BTreeMap::new();
    for row in asked {
        let Some(name) = row.account.or_else(|| otherwise.clone()) else { return Err(no_account(row.line)) };
        let id = if let Some(id) = known.get(&name) {
            id
        } else {
            let account = find_account(context, &name).await.map_err(|error| error.at_line(row.line))?;
            known.entry(name).or_insert(account.id)
        };
        people.push((AccountId::clone(id), row.contacts, row.at));
    }
    let count = people.len();
    if write {
        context.store.note_asked_before(people).await?;
    }
    Ok(Done::new(format!("{count} rows")))
}

pub(super) fn no_account(line: u64) -> OpError {
    OpError::Refused(format!("line {line}: no account; add a column account, or --account"))
}
