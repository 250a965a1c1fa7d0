//! Reviews that came of asks, and the keys of the HTTP API.

use reqwest::Url;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::actions::Caller;
use super::{Done, OpError, find_account};
use crate::accounts::onboarding::random;
use crate::context::Context;
use crate::digest;
use crate::domain::actions::{Permission, REVIEW};
use crate::domain::model::{ApiKey, AskId, Review};
use crate::text::capped;

/// Characters of a review that are kept.
const TEXT: usize = 5000;

const BEST: f64 = 10.0;

/// What the platform tells about an ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    pub rating: f64,
    #[serde(default)]
    pub text: Option<String>,
    #[serde(default)]
    pub url: Option<String>,
}

/// Keeps a review of the customer who was asked.
pub async fn review(context: &Context, caller: &Caller, ask: &AskId, told: Told) -> Result<Review, OpError> {
    if !caller.may(REVIEW) {
        return Err(caller.forbidden(REVIEW));
    }
    if !(0.0..=BEST).contains(&told.rating) {
        return Err(OpError::Refused(format!("rating: {} is not between 0 and {BEST}", told.rating)));
    }
    let url = match told.url.as_deref().map(Url::parse).transpose() {
        Ok(url) if url.as_ref().is_none_or(|url| matches!(url.scheme(), "http" | "https")) => url,
        _ => return Err(OpError::Refused("url: write an address that begins with https://".to_owned())),
    };
    let of = context.store.ask_of(ask).await?.filter(|of| caller.is_for(&of.account));
    let of = of.ok_or_else(|| OpError::NotFound(format!("there is no ask `{ask}`")))?;
    let review = Review {
        of,
        at: context.clock.now(),
        rating: told.rating,
        text: told.text.map(|text| capped(text.trim(), TEXT)).filter(|text| !text.is_empty()),
        url: url.map(String::from),
    };
    context.store.note_review(ask, &review).await?;
    context.bells.rules.notify_one();
    Ok(review)
}

/// A new key with its secret, which is shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewApiKey {
    pub name: String,
    pub key: String,
}

impl std::fmt::Debug for NewApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewApiKey").field("name", &self.name).finish_non_exhaustive()
    }
}

pub async fn create_key(
    context: &Context,
    name: String,
    account: &str,
    may: Vec<String>,
) -> Result<NewApiKey, OpError> {
    let is_sound = !name.is_empty() && name.len() <= 60 && !name.contains(char::is_control);
    if !is_sound {
        return Err(OpError::Refused("a key's name has 1 to 60 characters".to_owned()));
    }
    let may: Result<Vec<Permission>, _> = may.iter().map(|text| text.parse()).collect();
    let may = may.map_err(|error| OpError::Refused(error.to_string()))?;
    if may.is_empty() {
        return Err(OpError::Refused("say what it may do: --may clients.note,asks.review".to_owned()));
    }
    let account = match account {
        "all" => None,
        name => Some(find_account(context, name).await?.id),
    };
    let secret = random().map_err(|error| OpError::Failed(error.to_string()))?;
    let key = format!("jrk_{}", secret.expose_secret());
    let new = ApiKey {
        name: name.clone(),
        account,
        may,
        hash: hash(&key),
        created_at: context.clock.now(),
        last_used: None,
    };
    if !context.store.add_api_key(&new).await? {
        return Err(OpError::Refused(format!(
            "there is a key `{name}`: revoke it first, or choose another name"
        )));
    }
    Ok(NewApiKey { name, key })
}

/// A key as it is listed: without its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyShown {
    #[serde(flatten)]
    pub key: ApiKey,
}

pub async fn list_keys(context: &Context) -> Result<Vec<ApiKeyShown>, OpError> {
    let keys = context.store.api_keys().await?;
    Ok(keys.into_iter().map(|key| ApiKeyShown { key: ApiKey { hash: String::new(), ..key } }).collect())
}

pub async fn revoke_key(context: &Context, name: &str) -> Result<Done, OpError> {
    if context.store.remove_api_key(name).await? {
        Ok(Done::new(format!("the key {name} is revoked")))
    } else {
        Err(OpError::NotFound(format!("there is no key `{name}`: `key list` shows every key")))
    }
}

/// The caller behind a secret.
pub async fn caller(context: &Context, secret: &str) -> Result<Option<Caller>, OpError> {
    let found = context.store.use_api_key(&hash(secret), context.clock.now()).await?;
    Ok(found.map(|key| Caller::Key { name: key.name, account: key.account, may: key.may }))
}

fn hash(secret: &str) -> String {
    digest::of(&["api key", secret])
}
