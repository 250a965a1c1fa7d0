//! Jobber's webhooks: having Jobber send them, or not any more, and whether they come.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Reply, named};
use crate::connection::ReadError;
use crate::engine::Engine;
use crate::event::Topic;
use crate::model::{Account, AccountId, EncodedId};
use crate::store::StoreError;

/// Stands for an endpoint's id that is not known.
const LOST: &str = "";

/// How an account hears of changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsOf {
    /// Jobber's id of the account.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    /// What Jobber sends at our wish.
    pub topics: Vec<String>,
    /// The last event that came, also of what the app's own page in Jobber has it send.
    pub last: Option<Timestamp>,
    /// What went wrong just now.
    pub error: Option<String>,
}

/// What is to be done about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    On,
    Off,
    AsTheyAre,
}

pub(super) async fn events(
    engine: &Engine,
    account: Option<String>,
    turn: Turn,
    now: Timestamp,
) -> Result<Reply, StoreError> {
    let accounts = match named(engine, account)? {
        Ok(Some(account)) if turn != Turn::AsTheyAre && !account.is_active() => {
            return Ok(Reply::Refused(format!(
                "{} is {}: Jobber cannot be told",
                account.name,
                account.state()
            )));
        }
        Ok(Some(account)) => vec![account],
        Ok(None) => engine.store.accounts()?,
        Err(refusal) => return Ok(Reply::Refused(refusal)),
    };
    let mut rows = Vec::new();
    for account in accounts {
        let done = match turn {
            // Who rests or is not connected is left as it is.
            _ if !account.is_active() => Ok(()),
            Turn::AsTheyAre => Ok(()),
            Turn::On => on(engine, &account, now).await,
            Turn::Off => off(engine, &account, account.endpoints.clone()).await,
        };
        let error = match done {
            Ok(()) => None,
            Err(ReadError::Store(error)) => return Err(error),
            Err(error) => Some(error.to_string()),
        };
        let Some(account) = engine.store.account(&account.id)? else { continue };
        let last = engine.store.health(&account.id)?.last_webhook;
        let topics = account.endpoints.into_keys().collect();
        rows.push(EventsOf { id: account.id, name: account.name, topics, last, error });
    }
    Ok(Reply::Events(rows))
}

/// Every topic that the account has use for, and no other. Each endpoint's id is stored as soon as it is known: Jobber
/// cannot list them. One that Jobber has already, under an id that got lost with its answer, is as good.
async fn on(engine: &Engine, account: &Account, now: Timestamp) -> Result<(), ReadError> {
    let wanted = Topic::of(account.trigger);
    let is_wanted = |name: &str| wanted.iter().any(|topic| topic.as_str() == name);
    let old = account.endpoints.iter().filter(|(topic, _)| !is_wanted(topic));
    off(engine, account, old.map(|(topic, id)| (topic.clone(), id.clone())).collect()).await?;
    let url = engine.config.events_url();
    for topic in wanted {
        let name = topic.as_str().to_owned();
        if account.endpoints.contains_key(&name) {
            continue;
        }
        let id = match engine.connection.event_on(&account.id, topic, &url).await {
            Ok(id) => id,
            Err(ReadError::Failed { detail, .. }) if detail.contains("taken") => EncodedId::new(LOST),
            Err(error) => return Err(error),
        };
        let note = move |endpoints: &mut BTreeMap<String, EncodedId>| {
            endpoints.insert(name, id);
        };
        engine.store.note_endpoints(&account.id, note).await?;
    }
    // From here on their absence tells something.
    engine.store.note_webhook(&account.id, now).await?;
    Ok(())
}

/// One at a time: what Jobber does not know any more keeps no other one.
pub(super) async fn off(
    engine: &Engine,
    account: &Account,
    endpoints: BTreeMap<String, EncodedId>,
) -> Result<(), ReadError> {
    for (topic, id) in endpoints {
        if id.as_str() != LOST {
            match engine.connection.event_off(&account.id, std::slice::from_ref(&id)).await {
                Ok(()) => {}
                // It is gone already.
                Err(ReadError::Failed { detail, .. }) if detail.contains("not found") => {}
                Err(error) => return Err(error),
            }
        }
        engine.store.note_endpoints(&account.id, move |known| drop(known.remove(&topic))).await?;
    }
    Ok(())
}
