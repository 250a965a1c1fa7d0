//! Jobber's webhooks: switch them on and off, and show whether events arrive.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{OpError, named};
use crate::accounts::session::{SessionError, Trouble};
use crate::context::Context;
use crate::domain::model::{Account, AccountId, EncodedId};
use crate::domain::webhook_event::Topic;
use crate::jobber::operations::{Subscribe, Unsubscribe};

/// The webhooks of one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsOf {
    /// Jobber's id of the account.
    pub id: AccountId,
    /// The account's name.
    pub name: String,
    /// The topics that Jobber was asked to send.
    pub topics: Vec<String>,
    /// When the last event arrived, including those set up on the app's page in Jobber.
    pub last: Option<Timestamp>,
    /// The error of this call.
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    On,
    Off,
    AsTheyAre,
}

/// Creates the webhooks that an account needs. Without `account`, those of every account.
pub async fn enable(context: &Context, account: Option<String>) -> Result<Vec<EventsOf>, OpError> {
    turn(context, account, Turn::On).await
}

pub async fn disable(context: &Context, account: Option<String>) -> Result<Vec<EventsOf>, OpError> {
    turn(context, account, Turn::Off).await
}

/// The webhooks of each account, and the time of its last event.
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
            // Paused or disconnected accounts are left unchanged.
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

/// Creates exactly the needed webhooks. Each endpoint's id is stored at once, because Jobber cannot list
/// them. A refused topic does not stop the others. Returns the refused topics.
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
            // Jobber may send the topic already, if an earlier answer with the endpoint's id was lost.
            Err(error @ SessionError::Failed { trouble: Trouble::Answer | Trouble::Refused(_), .. }) => {
                refused.push(format!("{name}: {error}; Jobber may send it already"));
            }
            Err(error) => return Err(error),
        }
    }
    // From here on missing events are a sign of trouble.
    context.store.note_webhook(&account.id, now).await?;
    Ok(refused)
}

/// Deletes endpoints one by one, so that one unknown to Jobber does not stop the others.
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
