//! Jobber's webhooks: switch them on and off, and show whether events arrive.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{OpError, named};
use crate::accounts::session::{SessionError, Trouble};
use crate::clock::plus;
use crate::context::Context;
use crate::domain::endpoints::Endpoints;
use crate::domain::model::{Account, AccountId};
use crate::domain::webhook_event::Topic;
use crate::jobber::operations::{Subscribe, Unsubscribe};

/// How long events that are on their way are waited for before their endpoint is deleted.
const ON_THEIR_WAY: SignedDuration = SignedDuration::from_secs(30);

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
    AsTheyAre,
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

/// The webhooks of each account, and the time of its last event.
pub async fn status(context: &Context) -> Result<Vec<EventsOf>, OpError> {
    turn(context, None, Turn::AsTheyAre, false).await
}

async fn turn(
    context: &Context,
    account: Option<String>,
    turn: Turn,
    is_daemon: bool,
) -> Result<Vec<EventsOf>, OpError> {
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
    if turn == Turn::Off {
        // All of them first: then what several share is waited for and deleted once.
        for account in accounts.iter().filter(|account| account.is_active()) {
            context.store.note_events(&account.id, false).await?;
        }
    }
    let mut rows = Vec::new();
    for account in accounts {
        let done = match turn {
            // Paused or disconnected accounts are left unchanged.
            _ if !account.is_active() => Ok(vec![]),
            Turn::AsTheyAre => Ok(vec![]),
            Turn::On => on(context, &account, is_daemon, now).await,
            Turn::Off => off(context, &account, is_daemon).await.map(|()| vec![]),
        };
        let error = match done {
            Ok(refused) => Some(refused.join("; ")).filter(|refused| !refused.is_empty()),
            Err(SessionError::Store(error)) => return Err(error.into()),
            Err(error) => Some(error.to_string()),
        };
        let Some(account) = context.store.account(&account.id).await? else { continue };
        let last = context.store.health(&account.id).await?.last_webhook_at;
        let endpoints = context.store.endpoints().await?;
        let wanted = if account.events { wanted_by(context, &account) } else { vec![] };
        let mut topics: Vec<String> = wanted
            .into_iter()
            .filter(|topic| endpoints.has(*topic))
            .map(|topic| topic.as_str().to_owned())
            .collect();
        topics.sort();
        rows.push(EventsOf { id: account.id, name: account.name, topics, last, error });
    }
    Ok(rows)
}

/// The topics that an account needs: for its trigger, and to be forwarded.
fn wanted_by(context: &Context, account: &Account) -> Vec<Topic> {
    let mut topics = Topic::of(account.trigger);
    topics.extend(context.settings.forwarded_topics());
    topics.sort_unstable();
    topics.dedup();
    topics
}

/// What Jobber says when the app has an endpoint of the topic (`api-behaviour.md` §4).
const THERE_IS_ONE: &str = "one hook";

/// Creates the webhooks that an account needs. Each endpoint's id is stored at once, because Jobber cannot list them.
/// That the app has one already is as good. A refused topic does not stop the others. Returns the refused topics.
async fn on(
    context: &Context,
    account: &Account,
    is_daemon: bool,
    now: Timestamp,
) -> Result<Vec<String>, SessionError> {
    let wanted = wanted_by(context, account);
    remove_unneeded(context, account, &wanted, is_daemon).await?;
    let (url, mut refused) = (context.config.events_url(), vec![]);
    for topic in context.store.endpoints().await?.missing(&account.id, &wanted) {
        match context.session.run(&account.id, &Subscribe { topic, url: url.clone() }).await {
            Ok(answer) => {
                let (id, by) = (answer.data, account.id.clone());
                let note = move |known: &mut Endpoints| known.created(topic, id.clone(), by.clone());
                context.store.note_endpoints(note).await?;
            }
            Err(SessionError::Failed { trouble: Trouble::Refused(errors), .. })
                if errors.iter().any(|error| error.message.to_lowercase().contains(THERE_IS_ONE)) =>
            {
                context.store.note_endpoints(move |known| known.held_by_app(topic)).await?;
            }
            Err(error @ SessionError::Failed { trouble: Trouble::Answer | Trouble::Refused(_), .. }) => {
                refused.push(format!("{}: {error}", topic.as_str()));
            }
            Err(error) => return Err(error),
        }
    }
    context.store.note_events(&account.id, true).await?;
    // From here on missing events are a sign of trouble.
    context.store.note_webhook(&account.id, now).await?;
    Ok(refused)
}

/// Ends an account's events. Endpoints that other accounts depend on stay.
pub(super) async fn off(context: &Context, account: &Account, is_daemon: bool) -> Result<(), SessionError> {
    context.store.note_events(&account.id, false).await?;
    remove_unneeded(context, account, &[], is_daemon).await
}

async fn needed_by_others(
    context: &Context,
    account: &Account,
) -> Result<Vec<(AccountId, Vec<Topic>)>, SessionError> {
    let others = context.store.accounts().await?.into_iter();
    let others = others.filter(|other| other.id != account.id && other.events);
    Ok(others.map(|other| (other.id.clone(), wanted_by(context, &other))).collect())
}

/// Deletes endpoints that nobody needs, one by one, so that one unknown to Jobber does not stop the others.
async fn remove_unneeded(
    context: &Context,
    account: &Account,
    wanted: &[Topic],
    is_daemon: bool,
) -> Result<(), SessionError> {
    let others = needed_by_others(context, account).await?;
    let mut unneeded = context.store.endpoints().await?.unneeded(&account.id, wanted, &others);
    if is_daemon && unneeded.iter().any(|endpoint| endpoint.id.is_some()) {
        // With an endpoint Jobber deletes the events that it has not sent yet.
        tokio::time::sleep(context.clock.sleep_until(plus(context.clock.now(), ON_THEIR_WAY))).await;
        // Another account may need them now.
        unneeded = context.store.endpoints().await?.unneeded(
            &account.id,
            wanted,
            &needed_by_others(context, account).await?,
        );
    }
    for endpoint in unneeded {
        if let Some(id) = endpoint.id.clone() {
            // If endpoints belong to accounts after all, only the one that created it can delete it.
            let creator = match &endpoint.by {
                Some(by) => context.store.account(by).await?.filter(Account::is_active),
                None => None,
            };
            let by = creator.map_or_else(|| account.id.clone(), |creator| creator.id);
            match context.session.run(&by, &Unsubscribe { endpoints: vec![id] }).await {
                Ok(_) | Err(SessionError::Failed { trouble: Trouble::Answer | Trouble::Refused(_), .. }) => {}
                Err(error) => return Err(error),
            }
        }
        context.store.note_endpoints(move |known| known.forget(&endpoint)).await?;
    }
    Ok(())
}
