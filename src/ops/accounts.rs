//! One account: its own settings, pause, disconnect, removal.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Done, OpError, find_account};
use crate::accounts::session::SessionError;
use crate::config::{KEYS, Key, value_of};
use crate::context::Context;
use crate::domain::actions::nearest;
use crate::domain::model::{Account, Connection, Trigger};
use crate::domain::webhook_event::Topic;
use crate::jobber::operations::DisconnectApp;
use crate::outbound::secret::WebhookSecret;
use crate::store::{Belongings, Change, Own};
use crate::text_table::counted;

/// This key has its own field in the account, because a link chooses it too.
const TRIGGER: &str = "trigger";
/// The keys of files. An account stores the content of the file.
const BODY: &str = "body_file";
const SECRET: &str = "webhook_secret_file";

/// A secret on its way from the command line to the daemon, over a private socket.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handed(pub String);

impl std::fmt::Debug for Handed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handed(…)")
    }
}

/// One account with its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountShown {
    /// The account.
    #[serde(flatten)]
    pub account: Account,
    /// Its effective settings.
    pub settings: Vec<Setting>,
    /// Why its own settings cannot be used.
    pub problem: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    pub key: String,
    pub value: serde_json::Value,
    pub own: bool,
}

#[derive(Debug, Default)]
pub struct AccountChange {
    pub set: BTreeMap<String, Value>,
    pub unset: Vec<String>,
    pub body: Option<String>,
    /// The secret that signs for the account's own receiver.
    pub secret: Option<Handed>,
}

pub async fn list(context: &Context) -> Result<Vec<Account>, OpError> {
    Ok(context.store.accounts().await?)
}

pub async fn show(context: &Context, name: &str) -> Result<AccountShown, OpError> {
    shown(context, find_account(context, name).await?).await
}

async fn shown(context: &Context, account: Account) -> Result<AccountShown, OpError> {
    let review = context.settings.review(&account.overrides);
    let problem = review.as_ref().err().map(ToString::to_string);
    let review = review.unwrap_or_else(|_| context.settings.defaults());
    let review = serde_json::to_value(review).unwrap_or_default();
    let has_secret = context.store.webhook_secret(&account.id).await?.is_some();
    let own = &account.overrides;
    let settings = KEYS
        .iter()
        .filter_map(Key::of_account)
        .map(|key| {
            let (value, own) = match key {
                TRIGGER => (
                    Some(account.trigger.as_str().into()),
                    account.trigger != context.settings.defaults().trigger,
                ),
                BODY if own.body.is_some() => (own.body.clone().map(Value::from), true),
                SECRET if has_secret => (Some("(a secret of its own)".into()), true),
                // An unusable value is shown as it is stored.
                key => (
                    own.keys.get(key).or_else(|| value_of(&review, key)).cloned(),
                    own.keys.contains_key(key),
                ),
            };
            Setting { key: key.to_owned(), value: value.unwrap_or_default(), own }
        })
        .collect();
    Ok(AccountShown { account, settings, problem })
}

/// Gives an account settings of its own. They are first validated as a whole: unusable settings change
/// nothing.
pub async fn set(context: &Context, name: &str, wanted: AccountChange) -> Result<AccountShown, OpError> {
    let account = find_account(context, name).await?;
    let refused = |words: String| Err(OpError::Refused(words));
    let (mut change, mut own) = (Change::default(), account.overrides.clone());
    for (key, value) in wanted.set {
        match key.as_str() {
            TRIGGER => match value.as_str().unwrap_or_default().parse() {
                Ok(trigger) => change.trigger = Some(trigger),
                Err(error) => return refused(format!("trigger: {value} is not a trigger; {error}")),
            },
            BODY | SECRET => return refused(format!("{key}: give the name of a file")),
            _ => {
                own.keys.insert(key.clone(), value.clone());
                change.keys.insert(key, Some(value));
            }
        }
    }
    if let Some(body) = wanted.body {
        own.body = Some(body.clone());
        change.body = Own::Set(body);
    }
    if let Some(Handed(text)) = wanted.secret {
        let secret = SecretString::from(text);
        if let Err(error) = WebhookSecret::parse(&secret) {
            return refused(format!("{SECRET}: {error}"));
        }
        change.secret = Own::Set(secret);
    }
    for key in wanted.unset {
        match key.as_str() {
            TRIGGER => change.trigger = Some(default_trigger(context)),
            BODY => {
                own.body = None;
                change.body = Own::Unset;
            }
            SECRET => change.secret = Own::Unset,
            key if KEYS.iter().any(|known| known.of_account() == Some(key)) => {
                own.keys.remove(key);
                change.keys.insert(key.to_owned(), None);
            }
            key => {
                let known = KEYS.iter().filter_map(Key::of_account).map(str::to_owned);
                let guess =
                    nearest(key, known).map_or_else(String::new, |name| format!("did you mean `{name}`? "));
                return refused(format!(
                    "--unset {key}: there is no such key; {guess}`account show` lists the keys"
                ));
            }
        }
    }
    if let Err(error) = context.settings.review(&own) {
        return refused(format!("{error}; nothing was changed"));
    }
    // Jobber's clock if it answers, because works have Jobber's instants.
    let now = context.clock.now();
    let at = match change.trigger {
        Some(_) => context.session.reach().await.ok().flatten().unwrap_or(now),
        None => now,
    };
    match context.store.change_account(&account.id, change, at).await? {
        Some(account) => {
            // With the new settings something may be due now.
            context.bells.delivery.notify_one();
            shown(context, account).await
        }
        None => Err(OpError::NotFound(format!("{name} was removed meanwhile"))),
    }
}

fn default_trigger(context: &Context) -> Trigger {
    context.settings.defaults().trigger
}

/// Pauses an account: nothing is read or sent, and what is queued is kept.
pub async fn pause(context: &Context, name: &str) -> Result<Done, OpError> {
    let account = find_account(context, name).await?;
    let changed = context.store.pause(&account.id, true, context.clock.now()).await?;
    let name = &account.name;
    if !changed {
        return Ok(Done::new(format!("{name} is paused already")));
    }
    let max_age = match context.settings.review(&account.overrides) {
        Ok(review) => review.max_age.to_string(),
        Err(_) => "review.max_age".to_owned(),
    };
    Ok(Done::new(format!(
        "{name} is paused: nothing is read and nothing is sent. Work finished during the pause is asked about after `account resume`, unless it is older than {max_age} by then"
    )))
}

pub async fn resume(context: &Context, name: &str) -> Result<Done, OpError> {
    let account = find_account(context, name).await?;
    let changed = context.store.pause(&account.id, false, context.clock.now()).await?;
    context.bells.sweep.notify_one();
    context.bells.delivery.notify_one();
    let name = &account.name;
    Ok(Done::new(if changed { format!("{name} is resumed") } else { format!("{name} was not paused") }))
}

/// Disconnects at Jobber, then deletes the tokens. If Jobber cannot be reached, nothing changes. Without `write` it only
/// counts.
pub async fn disconnect(context: &Context, name: &str, write: bool) -> Result<Done, OpError> {
    let account = find_account(context, name).await?;
    if let Connection::Disconnected { .. } = account.connection {
        return Ok(Done::new(format!("{} is disconnected already", account.name)));
    }
    if !write {
        let Belongings { waiting, asks, .. } = context.store.belongings(&account.id).await?;
        let (waiting, asks) = (counted(waiting, "work"), counted(asks, "queued ask"));
        return Ok(Done::new(format!(
            "{} would be disconnected, here and in Jobber; {waiting} waiting and {asks} would be dropped: add --yes to do it",
            account.name
        )));
    }
    let told = match account.connection {
        Connection::Connected => {
            // It is unknown whether endpoints end with the authorisation. What cannot be deleted refers to an
            // account that is gone.
            context.store.note_events(&account.id, false, false).await?;
            let _ended = context.subscriber.end(&account.id, false).await;
            context.session.run(&account.id, &DisconnectApp).await.map(|_| ())
        }
        _ => Ok(()),
    };
    match told {
        // Jobber already refuses our tokens, so the goal is reached.
        Ok(()) | Err(SessionError::NeedsAuthorization(_)) => {}
        Err(SessionError::Store(error)) => return Err(error.into()),
        Err(error) => {
            return Err(OpError::Failed(format!(
                "Jobber did not confirm it ({error}): the account is still connected, but Jobber may no longer send its events; try again"
            )));
        }
    }
    let where_to = if account.connection.is_connected() {
        "here and in Jobber"
    } else {
        "here; Jobber had already ended the connection"
    };
    let dropped = context.store.disconnect(&account.id, context.clock.now()).await?;
    context.note_connection(&account.id, Topic::AppDisconnect).await?;
    tracing::info!(account.id = %account.id, asks = dropped, "disconnected by an operator");
    Ok(Done::new(format!(
        "{} is disconnected {where_to}. Waiting work is not asked about. Queued asks that were dropped: {dropped}. `account remove` deletes the account",
        account.name
    )))
}

/// Deletes a disconnected account and all its decisions. Without `write` it only counts.
pub async fn remove(context: &Context, name: &str, write: bool) -> Result<Done, OpError> {
    let account = find_account(context, name).await?;
    if account.connection.is_connected() {
        return Err(OpError::Refused(format!(
            "{} is connected: run `account disconnect` first",
            account.name
        )));
    }
    let Belongings { decisions, waiting, asks } = context.store.belongings(&account.id).await?;
    let what = format!(
        "{} ({waiting} still waiting) and {}",
        counted(decisions, "decision"),
        counted(asks, "queued ask")
    );
    let name = &account.name;
    if !write {
        return Ok(Done::new(format!("{name} would be deleted, with {what}: add --yes to do it")));
    }
    if !context.store.remove_account(&account.id, context.clock.now()).await? {
        return Err(OpError::Refused(format!(
            "{name} was connected again in the meantime: run `account disconnect` first"
        )));
    }
    tracing::info!(account.id = %account.id, "removed by an operator");
    Ok(Done::new(format!("{name} is deleted, with {what}")))
}
