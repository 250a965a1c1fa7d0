//! One-time links: create, list, revoke.

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::{Done, OpError, named};
use crate::accounts::onboarding::NewLink;
use crate::context::Context;
use crate::domain::model::{Link, LinkBrand, LinkId, LinkState, Trigger};
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
    brand: LinkBrand,
) -> Result<NewLinkReply, OpError> {
    if label.trim().is_empty() {
        return Err(OpError::Refused("a link needs a name: that of the contractor".to_owned()));
    }
    if lives.is_zero() {
        return Err(OpError::Refused(
            "a link that expires at once cannot be used: write --expires 7d".to_owned(),
        ));
    }
    let account = named(context, account).await?;
    // A link for a reconnect proposes the account's current trigger.
    let present = account.as_ref().map(|account| account.trigger);
    let new = NewLink {
        label,
        trigger: trigger.or(present).unwrap_or_else(|| context.settings.defaults().trigger),
        account: account.map(|account| account.id),
        lives,
        brand: Some(brand).filter(|brand| *brand != LinkBrand::default()),
    };
    let (link, url) = context.onboarding.create_link(new).await?;
    Ok(NewLinkReply { id: link.id, url: url.expose_secret().to_owned(), expires_at: link.expires_at })
}

/// How long after the button Jobber may take to send the browser back.
const CALLBACK: SignedDuration = SignedDuration::from_mins(10);

/// A link with what can be said about it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkShown {
    #[serde(flatten)]
    pub link: Link,
    /// Since when Jobber has not sent the browser back: nothing comes when somebody may not connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_answer_since: Option<Timestamp>,
    /// Whether it was not used in time.
    #[serde(default)]
    pub is_expired: bool,
}

pub async fn list(context: &Context) -> Result<Vec<LinkShown>, OpError> {
    let now = context.clock.now();
    let shown = |link: Link| {
        let pressed = match link.state {
            LinkState::Started { at, .. } if link.expires_at > now => at,
            _ => None,
        };
        let is_unused = matches!(link.state, LinkState::Open | LinkState::Started { .. });
        let is_expired = is_unused && link.expires_at <= now;
        let no_answer_since = pressed.filter(|at| now.duration_since(*at) >= CALLBACK);
        LinkShown { link, no_answer_since, is_expired }
    };
    Ok(context.store.links().await?.into_iter().map(shown).collect())
}

/// Forgets links that cannot be used any more.
pub async fn prune(context: &Context) -> Result<Done, OpError> {
    let forgotten = context.store.forget_links(context.clock.now()).await?;
    Ok(Done::new(format!("links forgotten: {forgotten}")))
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
