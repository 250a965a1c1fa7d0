//! People: suppressions, and asks by another tool.

use std::collections::BTreeMap;

use super::{Done, OpError, find_account, named};
use crate::context::Context;
use crate::domain::import::AskedBefore;
use crate::domain::model::{AccountId, ContactKey, Suppression};

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
            "{what} is not on the list: `suppress list` shows who is, and for which account"
        )))
    }
}

pub async fn suppressions(context: &Context) -> Result<Vec<Suppression>, OpError> {
    Ok(context.store.suppressions().await?)
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
