//! One-time links: create, list, revoke.

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::{Done, OpError, named};
use crate::accounts::onboarding::NewLink;
use crate::context::Context;
use crate::domain::model::{Link, LinkId, Trigger};
use crate::store::LinkRefusal;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewLinkReply {
    pub id: LinkId,
    pub url: String,
    pub expires_at: Timestamp,
}

/// Creates a link for `label`. With `account` (id or name) it reconnects that account and refuses any other.
pub async fn create(
    context: &Context,
    label: String,
    trigger: Option<Trigger>,
    account: Option<String>,
    lives: SignedDuration,
) -> Result<NewLinkReply, OpError> {
    let account = named(context, account).await?;
    // A link for a reconnect proposes the account's current trigger.
    let present = account.as_ref().map(|account| account.trigger);
    let new = NewLink {
        label,
        trigger: trigger.or(present).unwrap_or_else(|| context.settings.defaults().trigger),
        account: account.map(|account| account.id),
        lives,
    };
    let (link, url) = context.onboarding.create_link(new).await?;
    Ok(NewLinkReply { id: link.id, url: url.expose_secret().to_owned(), expires_at: link.expires_at })
}

pub async fn list(context: &Context) -> Result<Vec<Link>, OpError> {
    Ok(context.store.links().await?)
}

pub async fn revoke(context: &Context, id: &LinkId) -> Result<Done, OpError> {
    match context.store.revoke_link(id, context.clock.now()).await? {
        Ok(link) => Ok(Done::new(format!("link {} for {} is revoked", link.id, link.label))),
        Err(LinkRefusal::Unknown) => {
            Err(OpError::NotFound(format!("there is no link `{id}`: `link list` shows every link")))
        }
        Err(refusal) => Err(OpError::Refused(format!("{id}: {refusal}; `link list` shows every link"))),
    }
}
