//! Jobber's webhooks: having Jobber send them, or not any more, and whether they come.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{OpError, named};
use crate::accounts::session::{ReadError, Trouble};
use crate::context::Context;
use crate::domain::model::{Account, AccountId, EncodedId};
use crate::domain::webhook_event::Topic;

/// How an account hears of changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsOf {
    /// Jobber's id of the account.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    /// What Jobber was asked to send.
    pub topics: Vec<String>,
    /// The last event that came, also of what the app's own page in Jobber has it send.
    pub last: Option<Timestamp>,
    /// What went wrong just now.
    pub error: Option<String>,
}

/// What is to be done about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    On,
    Off,
    AsTheyAre,
}

/// Has Jobber send the events that an account has use for; without `account`, for every account.
pub async fn enable(context: &Context, account: Option<String>) -> Result<Vec<EventsOf>, OpError> {
    turn(context, account, Turn::On).await
}

/// Has Jobber send no more of them.
pub async fn disable(context: &Context, account: Option<String>) -> Result<Vec<EventsOf>, OpError> {
    turn(context, account, Turn::Off).await
}

/// What Jobber sends for each account, and when the last event came.
pub async fn status(context: &Context) -> Result<Vec<EventsOf>, OpError> {
    turn(context, None, Turn::AsTheyAre).await
}

async fn turn(context: &Context, account: Option<String>, turn: Turn) -> Result<Vec<EventsOf>, OpError> {
    let accounts = match named(context, account)? {
        Some(account) if turn != Turn::AsTheyAre && !account.is_active() => {
            let state = account.state();
            return Err(OpError::Refused(format!("{} is {state}: Jobber cannot be told", account.name)));
        }
        Some(account) => vec![account],
        None => context.store.accounts()?,
    };
    let now = context.clock.now();
    let mut rows = Vec::new();
    for account in accounts {
        let done = match turn {
            // Who rests or is not connected is left as it is.
            _ if !account.is_active() => Ok(()),
            Turn::AsTheyAre => Ok(()),
            Turn::On => on(context, &account, now).await,
            Turn::Off => off(context, &account, account.endpoints.clone()).await,
        };
        let error = match done {
            Ok(()) => None,
            Err(ReadError::Store(error)) => return Err(error.into()),
            Err(error) => Some(error.to_string()),
        };
        let Some(account) = context.store.account(&account.id)? else { continue };
        let last = context.store.health(&account.id)?.last_webhook_at;
        let topics = account.endpoints.into_keys().collect();
        rows.push(EventsOf { id: account.id, name: account.name, topics, last, error });
    }
    Ok(rows)
}

/// Every topic that the account has use for, and no other. Each endpoint's id is stored as soon as it is known: Jobber
/// cannot list them. A topic that Jobber refuses (it may send it already, and the id was lost with its answer) is told,
/// and keeps none of the others.
async fn on(context: &Context, account: &Account, now: Timestamp) -> Result<(), ReadError> {
    let wanted = Topic::of(account.trigger);
    let is_wanted = |name: &str| wanted.iter().any(|topic| topic.as_str() == name);
    let old = account.endpoints.iter().filter(|(topic, _)| !is_wanted(topic));
    off(context, account, old.map(|(topic, id)| (topic.clone(), id.clone())).collect()).await?;
    let (url, mut refused) = (context.config.events_url(), None);
    for topic in wanted {
        let name = topic.as_str().to_owned();
        if account.endpoints.contains_key(&name) {
            continue;
        }
        match context.session.event_on(&account.id, topic, &url).await {
            Ok(id) => {
                let note = move |endpoints: &mut BTreeMap<String, EncodedId>| {
                    endpoints.insert(name, id);
                };
                context.store.note_endpoints(&account.id, note).await?;
            }
            Err(ReadError::Failed { detail, trouble: trouble @ Trouble::Answer }) => {
                let detail = format!("{name}: {detail}; Jobber may send it already");
                refused = Some(ReadError::Failed { detail, trouble });
            }
            Err(error) => return Err(error),
        }
    }
    // From here on their absence tells something.
    context.store.note_webhook(&account.id, now).await?;
    refused.map_or(Ok(()), Err)
}

/// One at a time: what Jobber does not know any more is gone already, and keeps no other one.
pub(super) async fn off(
    context: &Context,
    account: &Account,
    endpoints: BTreeMap<String, EncodedId>,
) -> Result<(), ReadError> {
    for (topic, id) in endpoints {
        match context.session.event_off(&account.id, std::slice::from_ref(&id)).await {
            Ok(()) | Err(ReadError::Failed { trouble: Trouble::Answer, .. }) => {}
            Err(error) => return Err(error),
        }
        context.store.note_endpoints(&account.id, move |known| drop(known.remove(&topic))).await?;
    }
    Ok(())
}
