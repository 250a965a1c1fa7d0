//! Jobber's webhooks: switch them on and off, and show whether events arrive.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{OpError, named};
use crate::accounts::session::SessionError;
use crate::context::Context;
use crate::domain::model::AccountId;
use crate::domain::webhook_event::Topic;

/// What Jobber sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsReport {
    pub accounts: Vec<EventsOf>,
    /// The topics that are wanted, sent or were heard.
    pub topics: Vec<TopicOf>,
}

/// A topic of Jobber's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicOf {
    pub topic: String,
    /// How many accounts need it.
    pub wanted_by: usize,
    /// Whether the app has a webhook of it, as far as is known.
    pub is_there: bool,
    /// Why Jobber refused it to an account.
    pub refused: Option<String>,
    /// When it was last heard, to a minute.
    pub heard_at: Option<Timestamp>,
    /// Whether polls find it too.
    pub is_polled: bool,
}

/// The webhooks of one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsOf {
    /// Jobber's id of the account.
    pub id: AccountId,
    /// The account's name.
    pub name: String,
    /// The topics that Jobber sends for it, as far as is known.
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
}

/// Creates the webhooks that an account needs. Without `account`, those of every account.
pub async fn enable(
    context: &Context,
    account: Option<String>,
    is_daemon: bool,
) -> Result<Vec<EventsOf>, OpError> {
    turn(context, account, Turn::On, is_daemon).await
}

/// Ends the events of an account. While a daemon runs, it waits for those that are on their way.
pub async fn disable(
    context: &Context,
    account: Option<String>,
    is_daemon: bool,
) -> Result<Vec<EventsOf>, OpError> {
    turn(context, account, Turn::Off, is_daemon).await
}

/// What Jobber sends for each account, and of each topic.
pub async fn status(context: &Context) -> Result<EventsReport, OpError> {
    let (mut accounts, mut wanted, mut refused) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for account in context.store.accounts().await? {
        if account.events {
            for topic in context.settings.topics_of(&account) {
                *wanted.entry(topic).or_insert(0_usize) += 1;
            }
            for (topic, why) in context.store.asked(&account.id).await?.refused {
                refused.entry(topic).or_insert(why.why);
            }
        }
        accounts.extend(events_of(context, &account.id, None).await?);
    }
    let (endpoints, heard) = (context.store.endpoints().await?, context.store.topics_heard().await?);
    let is_of_use =
        |topic: &Topic| wanted.contains_key(topic) || endpoints.has(*topic) || heard.of(*topic).is_some();
    let topics = Topic::ALL.iter().copied().filter(is_of_use).map(|topic| TopicOf {
        topic: topic.as_str().to_owned(),
        wanted_by: wanted.get(&topic).copied().unwrap_or_default(),
        is_there: endpoints.has(topic),
        refused: refused.remove(&topic),
        heard_at: heard.of(topic),
        is_polled: topic.is_polled(),
    });
    let topics = topics.collect();
    Ok(EventsReport { accounts, topics })
}

async fn turn(
    context: &Context,
    account: Option<String>,
    turn: Turn,
    is_daemon: bool,
) -> Result<Vec<EventsOf>, OpError> {
    let accounts = match named(context, account).await? {
        Some(account) if !account.is_active() => {
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
    // All of them first: then what several share is waited for and deleted once. Paused or disconnected accounts are left
    // unchanged.
    for account in accounts.iter().filter(|account| account.is_active()) {
        context.store.note_events(&account.id, turn == Turn::On, true).await?;
        if turn == Turn::On {
            // From here on missing events are a sign of trouble.
            context.store.note_webhook(&account.id, now).await?;
        }
    }
    let mut rows = Vec::new();
    for account in accounts {
        let done = match turn {
            _ if !account.is_active() => Ok(()),
            Turn::On => context.subscriber.begin_all(&account, is_daemon).await,
            Turn::Off => context.subscriber.end(&account.id, is_daemon).await,
        };
        let error = match done {
            Ok(()) => None,
            Err(SessionError::Store(error)) => return Err(error.into()),
            Err(error) => Some(error.to_string()),
        };
        rows.extend(events_of(context, &account.id, error).await?);
    }
    Ok(rows)
}

/// The events of an account that is still there.
async fn events_of(
    context: &Context,
    id: &AccountId,
    error: Option<String>,
) -> Result<Option<EventsOf>, OpError> {
    let Some(account) = context.store.account(id).await? else { return Ok(None) };
    let last = context.store.health(id).await?.last_webhook_at;
    let (endpoints, asked) = (context.store.endpoints().await?, context.store.asked(id).await?);
    let wanted = if account.events { context.settings.topics_of(&account) } else { vec![] };
    let is_there = |topic: &Topic| endpoints.has(*topic) && !asked.refused.contains_key(topic);
    let mut topics: Vec<String> =
        wanted.iter().copied().filter(is_there).map(|topic| topic.as_str().to_owned()).collect();
    topics.sort();
    let refused = asked.refused.iter().map(|(topic, refused)| format!("{}: {}", topic.as_str(), refused.why));
    let refused = error.into_iter().chain(refused).collect::<Vec<_>>().join("; ");
    let error = Some(refused).filter(|refused| !refused.is_empty());
    Ok(Some(EventsOf { id: account.id, name: account.name, topics, last, error }))
}
