//! Tells the operator once a week what happened.

use std::collections::HashMap;
use std::sync::PoisonError;

use jiff::{SignedDuration, Timestamp};

use super::Notifier;
use crate::clock::minus;
use crate::digest;
use crate::domain::alerting::weekly::{AccountWeek, body};
use crate::domain::funnel::{Funnel, is_since};
use crate::domain::model::{AccountId, Decision, MessageId};
use crate::store::StoreError;

/// Begins the ids of digests.
pub(super) const PREFIX: &str = "dig_";

const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Notifier {
    /// Sends the digest if its time has come since the last one. Returns whether it was sent.
    pub async fn digest_once(&self) -> Result<bool, StoreError> {
        let Some((time, zone)) = &self.digest else { return Ok(false) };
        let Ok(_turn) = self.turn.try_lock() else { return Ok(false) };
        let now = self.parts.clock.now();
        let Some(due) = time.last(zone, now) else { return Ok(false) };
        match self.parts.store.digest_at().await? {
            Some(told) if told >= due && told <= now => return Ok(false),
            Some(told) if told < due => {}
            // The first week has nothing to tell yet, and a clock that was ahead told a time that has not come.
            _ => {
                self.parts.store.note_digest(due).await?;
                return Ok(false);
            }
        }
        let from = minus(due, WEEK);
        let id = MessageId::new(format!("{PREFIX}{}", digest::short(&["digest", &due.to_string()])));
        let body = body(id.as_str(), from, due, &self.weeks(from).await?);
        let sent = self.deliver(&id, &body).await;
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = sent.clone().err();
        if let Err(error) = sent {
            tracing::warn!(error, "the digest could not be sent; it is tried again in a minute");
            return Ok(false);
        }
        self.parts.store.note_digest(due).await?;
        Ok(true)
    }

    /// What happened in every account since `from`.
    async fn weeks(&self, from: Timestamp) -> Result<Vec<AccountWeek>, StoreError> {
        let store = &self.parts.store;
        let (reviews, counts) = (store.reviews_since(from).await?, store.outbox_counts().await?);
        let mut to_do: HashMap<Option<AccountId>, Vec<String>> = HashMap::new();
        for alert in self.standing().await? {
            to_do.entry(alert.account).or_default().push(format!("{}: {}", alert.summary, alert.action));
        }
        let mut weeks = Vec::new();
        for account in store.accounts().await? {
            let zone = self.parts.settings.zone_of(&account);
            let add = move |funnel: &mut Funnel, decision: Decision| {
                if is_since(&decision, from) {
                    funnel.add(&decision, &zone);
                }
            };
            let mut funnel = store.fold_decisions(&account.id, Funnel::default(), add).await?;
            funnel.reviewed = reviews.get(&account.id).copied().unwrap_or_default();
            weeks.push(AccountWeek {
                state: account.state(),
                dead: counts.by_account.get(&account.id).map_or(0, |count| count.dead),
                to_do: to_do.remove(&Some(account.id.clone())).unwrap_or_default(),
                id: account.id,
                name: account.name,
                funnel,
            });
        }
        weeks.sort_by_cached_key(|week| (week.to_do.is_empty(), week.name.to_lowercase()));
        Ok(weeks)
    }
}
