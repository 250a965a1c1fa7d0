//! One account: what it does otherwise than the others, its rest, its end.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::Value;

use super::{AccountShown, Handed, Reply, Setting, find_account};
use crate::accounts::session::ReadError;
use crate::config::{KEYS, value_of};
use crate::context::Context;
use crate::domain::model::{Account, Connection, Trigger};
use crate::outbound::secret::WebhookSecret;
use crate::store::{Belongings, Change, StoreError};

/// The key that the account keeps a field of its own for: a link chooses it too.
const TRIGGER: &str = "trigger";
/// The keys of files: what an account has is what was in them.
const BODY: &str = "body_file";
const SECRET: &str = "webhook_secret_file";

/// What an account is to do otherwise.
pub(super) struct AccountChange {
    pub(super) set: BTreeMap<String, Value>,
    pub(super) unset: Vec<String>,
    pub(super) body: Option<String>,
    pub(super) secret: Option<Handed>,
}

pub(super) fn show(context: &Context, name: &str) -> Result<Reply, StoreError> {
    match find_account(context, name)? {
        Ok(account) => shown(context, account),
        Err(refusal) => Ok(Reply::Refused(refusal)),
    }
}

fn shown(context: &Context, account: Account) -> Result<Reply, StoreError> {
    let review = context.settings.review(&account.overrides);
    let problem = review.as_ref().err().map(ToString::to_string);
    let review = review.unwrap_or_else(|_| context.settings.defaults());
    let review = serde_json::to_value(review).unwrap_or_default();
    let has_secret = context.store.webhook_secret(&account.id)?.is_some();
    let own = &account.overrides;
    let settings = KEYS
        .iter()
        .filter_map(crate::config::Key::of_account)
        .map(|key| {
            let (value, own) = match key {
                TRIGGER => (
                    Some(account.trigger.as_str().into()),
                    account.trigger != context.settings.defaults().trigger,
                ),
                BODY if own.body.is_some() => (own.body.clone().map(Value::from), true),
                SECRET if has_secret => (Some("(a secret of its own)".into()), true),
                // What cannot be used is shown as it stands.
                key => (
                    own.keys.get(key).or_else(|| value_of(&review, key)).cloned(),
                    own.keys.contains_key(key),
                ),
            };
            Setting { key: key.to_owned(), value: value.unwrap_or_default(), own }
        })
        .collect();
    Ok(Reply::Account(Box::new(AccountShown { account, settings, problem })))
}

/// Tries the account's settings as they would be, and has them so.
pub(super) async fn set(
    context: &Context,
    name: &str,
    wish: AccountChange,
    now: Timestamp,
) -> Result<Reply, StoreError> {
    let account = match find_account(context, name)? {
        Ok(account) => account,
        Err(refusal) => return Ok(Reply::Refused(refusal)),
    };
    let (mut change, mut own) = (Change::default(), account.overrides.clone());
    for (key, value) in wish.set {
        match key.as_str() {
            TRIGGER => match value.as_str().unwrap_or_default().parse() {
                Ok(trigger) => change.trigger = Some(trigger),
                Err(error) => return Ok(Reply::Refused(format!("trigger: `{value}` is none; {error}"))),
            },
            BODY | SECRET => return Ok(Reply::Refused(format!("{key}: give the name of a file"))),
            _ => {
                own.keys.insert(key.clone(), value.clone());
                change.keys.insert(key, Some(value));
            }
        }
    }
    if let Some(body) = wish.body {
        own.body = Some(body.clone());
        change.body = Some(Some(body));
    }
    if let Some(Handed(text)) = wish.secret {
        let secret = SecretString::from(text);
        if let Err(error) = WebhookSecret::parse(&secret) {
            return Ok(Reply::Refused(format!("{SECRET}: {error}")));
        }
        change.secret = Some(Some(secret));
    }
    for key in wish.unset {
        match key.as_str() {
            TRIGGER => change.trigger = Some(default_trigger(context)),
            BODY => {
                own.body = None;
                change.body = Some(None);
            }
            SECRET => change.secret = Some(None),
            key if KEYS.iter().any(|known| known.of_account() == Some(key)) => {
                own.keys.remove(key);
                change.keys.insert(key.to_owned(), None);
            }
            key => {
                let words =
                    format!("--unset {key}: an account has no such key: `account show` lists those it has");
                return Ok(Reply::Refused(words));
            }
        }
    }
    if let Err(error) = context.settings.review(&own) {
        return Ok(Reply::Refused(format!("{error}; nothing was changed")));
    }
    // By Jobber's clock, where it tells: work's instants are its own.
    let at = match change.trigger {
        Some(_) => context.session.reach().await.ok().flatten().unwrap_or(now),
        None => now,
    };
    match context.store.change_account(&account.id, change, at).await? {
        Some(account) => {
            // What is due by its new settings may be due now.
            context.bells.delivery.notify_one();
            shown(context, account)
        }
        None => Ok(Reply::Refused(format!("{name} was removed meanwhile"))),
    }
}

fn default_trigger(context: &Context) -> Trigger {
    context.settings.defaults().trigger
}

pub(super) async fn pause(
    context: &Context,
    name: &str,
    since: Option<Timestamp>,
) -> Result<Reply, StoreError> {
    let account = match find_account(context, name)? {
        Ok(account) => account,
        Err(refusal) => return Ok(Reply::Refused(refusal)),
    };
    let changed = context.store.pause(&account.id, since).await?;
    if since.is_none() {
        context.bells.sweep.notify_one();
        context.bells.delivery.notify_one();
    }
    let (name, max_age) =
        (&account.name, context.settings.review(&account.overrides).map(|review| review.max_age));
    Ok(Reply::Done(match (since, changed) {
        (Some(_), true) => {
            let max_age = max_age.map_or_else(|_| "review.max_age".to_owned(), |max_age| max_age.to_string());
            format!(
                "{name} rests: nothing is read and nothing is sent. Work that is finished meanwhile is asked about after `account resume`, unless it is older than {max_age} by then"
            )
        }
        (Some(_), false) => format!("{name} rests already"),
        (None, true) => format!("{name} goes on"),
        (None, false) => format!("{name} was not paused"),
    }))
}

/// Tells Jobber, and then forgets the tokens. Where Jobber cannot be told nothing changes.
pub(super) async fn disconnect(context: &Context, name: &str, now: Timestamp) -> Result<Reply, StoreError> {
    let account = match find_account(context, name)? {
        Ok(account) => account,
        Err(refusal) => return Ok(Reply::Refused(refusal)),
    };
    if let Connection::Disconnected { .. } = account.connection {
        return Ok(Reply::Done(format!("{} is disconnected already", account.name)));
    }
    let told = match account.connection {
        Connection::Connected => {
            // Nobody knows whether they end with the authorisation. If they cannot be ended, they name an account that is gone.
            let _ended = super::events::off(context, &account, account.endpoints.clone()).await;
            context.session.disconnect(&account.id).await
        }
        _ => Ok(()),
    };
    match told {
        // Jobber does not let us in any more: that is what was wanted.
        Ok(()) | Err(ReadError::NeedsAuthorization(_)) => {}
        Err(ReadError::Store(error)) => return Err(error),
        Err(error) => {
            let words = format!(
                "Jobber could not be told ({error}); it is connected as before, but for its events: try again"
            );
            return Ok(Reply::Failed(words));
        }
    }
    let where_to = if account.connection.is_connected() {
        "here and in Jobber"
    } else {
        "here; Jobber let us in no more"
    };
    let dropped = context.store.disconnect(&account.id, now).await?;
    tracing::info!(account.id = %account.id, asks = dropped, "disconnected by an admin");
    Ok(Reply::Done(format!(
        "{} is disconnected, {where_to}; what waited is not asked about, and {dropped} asks on their way were dropped. `account remove` forgets it",
        account.name
    )))
}

pub(super) async fn remove(context: &Context, name: &str, write: bool) -> Result<Reply, StoreError> {
    let account = match find_account(context, name)? {
        Ok(account) => account,
        Err(refusal) => return Ok(Reply::Refused(refusal)),
    };
    if account.connection.is_connected() {
        let words = format!("{} is connected: `account disconnect` it first", account.name);
        return Ok(Reply::Refused(words));
    }
    let Belongings { decisions, waiting, asks } = context.store.belongings(&account.id)?;
    let what =
        format!("{decisions} decisions ({waiting} of them still waiting) and {asks} asks on their way");
    if !write {
        return Ok(Reply::Done(format!(
            "{} would be forgotten, with {what}: add --yes to do it",
            account.name
        )));
    }
    if !context.store.remove_account(&account.id, context.clock.now()).await? {
        let words = format!("{} was connected meanwhile: `account disconnect` it first", account.name);
        return Ok(Reply::Refused(words));
    }
    tracing::info!(account.id = %account.id, "removed by an admin");
    Ok(Reply::Done(format!("{} is forgotten, with {what}", account.name)))
}
