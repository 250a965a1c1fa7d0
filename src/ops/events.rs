//! Jobber's webhooks: having Jobber send them, or not any more, and whether they come.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{OpError, named};
use crate::accounts::session::{SessionError, Trouble};
use crate::context::Context;
use crate::domain::model::{Account, AccountId, EncodedId};
use crate::domain::webhook_event::Topic;
use crate::jobber::operations::{Subscribe, Unsubscribe};

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
    let accounts = match named(context, account).await? {
        Some(account) if turn != Turn::AsTheyAre && !account.is_active() => {
            let state = account.state();
            return Err(OpError::Refused(format!(
                "{} is {state}: its events cannot be changed now; `status` shows what to do",
                account.name
            )));
        }
        Some(account) => vec![account],
        None => context.store.accounts().await?,
    };
    let now = context.clock.now();
    let mut rows = Vec::new();
    for account in accounts {
        let done = match turn {
            // Who rests or is not connected is left as it is.
            _ if !account.is_active() => Ok(vec![]),
            Turn::AsTheyAre => Ok(vec![]),
            Turn::On => on(context, &account, now).await,
            Turn::Off => off(context, &account, account.endpoints.clone()).await.map(|()| vec![]),
        };
        let error = match done {
            Ok(refused) => Some(refused.join("; ")).filter(|refused| !refused.is_empty()),
            Err(SessionError::Store(error)) => return Err(error.into()),
            Err(error) => Some(error.to_string()),
        };
        let Some(account) = context.store.account(&account.id).await? else { continue };
        let last = context.store.health(&account.id).await?.last_webhook_at;
        let topics = account.endpoints.into_keys().collect();
        rows.push(EventsOf { id: account.id, name: account.name, topics, last, error });
    }
    Ok(rows)
}

/// Every topic that the account has use for, and no other. Each endpoint's id is stored as soon as it is known: Jobber
/// cannot list them. A topic that Jobber refuses keeps none of the others; what was refused is returned.
async fn on(context: &Context, account: &Account, now: Timestamp) -> Result<Vec<String>, SessionError> {
    let wanted = Topic::of(account.trigger);
    let is_wanted = |name: &str| wanted.iter().any(|topic| topic.as_str() == name);
    let old = account.endpoints.iter().filter(|(topic, _)| !is_wanted(topic));
    off(context, account, old.map(|(topic, id)| (topic.clone(), id.clone())).collect()).await?;
    let (url, mut refused) = (context.config.events_url(), vec![]);
    for topic in wanted {
        let name = topic.as_str().to_owned();
        if account.endpoints.contains_key(&name) {
            continue;
        }
        match context.session.run(&account.id, &Subscribe { topic, url: url.clone() }).await {
            Ok(answer) => {
                let id = answer.data;
                let note = move |endpoints: &mut BTreeMap<String, EncodedId>| {
                    endpoints.insert(name.clone(), id.clone());
                };
                context.store.note_endpoints(&account.id, note).await?;
            }
            // Jobber may send it already, and the endpoint's id was lost with its answer.
            Err(error @ SessionError::Failed { trouble: Trouble::Answer | Trouble::Refused(_), .. }) => {
                refused.push(format!("{name}: {error}; Jobber may send it already"));
            }
            Err(error) => return Err(error),
        }
    }
    // From here on their absence tells something.
    context.store.note_webhook(&account.id, now).await?;
    Ok(refused)
}

/// One at a time: what Jobber does not know any more is gone already, and keeps no other one.
pub(super) async fn off(
    context: &Context,
    account: &Account,
    endpoints: BTreeMap<String, EncodedId>,
) -> Result<(), SessionError> {
    for (topic, id) in endpoints {
        match context.session.run(&account.id, &Unsubscribe { endpoints: vec![id] }).await {
            Ok(_) | Err(SessionError::Failed { trouble: Trouble::Answer | Trouble::Refused(_), .. }) => {}
            Err(error) => return Err(error),
        }
        context.store.note_endpoints(&account.id, move |known| drop(known.remove(&topic))).await?;
    }
    Ok(())
}
