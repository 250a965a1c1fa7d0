//! Tells the operator once a week what happened.

use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::Notifier;
use crate::clock::is_over;
use crate::digest;
use crate::domain::alerting::weekly::{AccountWeek, body, for_contractor};
use crate::domain::funnel::{Funnel, is_within};
use crate::domain::model::{AccountId, Decision, MessageId};
use crate::outbound::mail::{Refused, Unsent};
use crate::store::StoreError;

/// Begins the ids of digests.
pub(super) const PREFIX: &str = "dig_";

/// Sooner than this after a digest there is no other one.
const SOON: SignedDuration = SignedDuration::from_hours(3 * 24);

/// What contractors are not told after this they are not told any more.
const LONG: SignedDuration = SignedDuration::from_hours(24);

/// Contractors who get their mail in one round.
const AT_ONCE: usize = 25;

/// Who was told.
enum Told {
    All,
    /// The others have their turn in the next round.
    Some,
    Failed(String),
}

impl Notifier {
    /// Sends the digest if its time has come since the last one. Returns whether it was sent.
    pub async fn digest_once(&self) -> Result<bool, StoreError> {
        let Some((time, zone)) = &self.digest else { return Ok(false) };
        let Ok(_turn) = self.turn.try_lock() else { return Ok(false) };
        let now = self.parts.clock.now();
        let Some((from, due)) = time.last_two(zone, now) else { return Ok(false) };
        match self.parts.store.digest_at().await? {
            Some(told) if told >= due && told <= now => return Ok(false),
            // The time of the week was changed a little: the week was told already.
            Some(told) if told < due && due.duration_since(told) >= SOON => {}
            // The first week has nothing to tell yet, and a clock that was ahead told a time that has not come.
            _ => {
                self.posted().retain(|(id, _)| !id.as_str().starts_with(PREFIX));
                self.parts.store.note_digest(due).await?;
                return Ok(false);
            }
        }
        let id = MessageId::new(format!("{PREFIX}{}", digest::short(&["digest", &due.to_string()])));
        // It stays the same until everybody has it.
        let made = self.made(due);
        let body = match made {
            Some(body) => body,
            None => self.week(&id, from, due).await?,
        };
        *self.week.lock().unwrap_or_else(PoisonError::into_inner) = Some((due, body.clone()));
        let sent = match self.deliver(&id, &body, &mut HashSet::new()).await {
            Ok(()) => match self.tell_contractors(&id, &body, due).await? {
                Told::All => Ok(()),
                Told::Some => return Ok(false),
                Told::Failed(error) if is_over(due, LONG, now) => {
                    tracing::warn!(error, "contractors' digests that were not taken for a day are given up");
                    Ok(())
                }
                Told::Failed(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        self.note_failing(sent.as_ref().err());
        if let Err(error) = sent {
            tracing::warn!(error, "the digest could not be sent; it is tried again in a minute");
            return Ok(false);
        }
        self.parts.store.note_digest(due).await?;
        *self.week.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.posted().retain(|(id, _)| !id.as_str().starts_with(PREFIX));
        Ok(true)
    }

    /// Mails every account's own week to whom `review.digest_to` names, a few at a time: alerts go on in between.
    async fn tell_contractors(
        &self,
        id: &MessageId,
        body: &Value,
        due: Timestamp,
    ) -> Result<Told, StoreError> {
        let (mut mailed, mut failed) = (0, None);
        for week in body["accounts"].as_array().into_iter().flatten() {
            let Some(account) = week["id"].as_str().map(AccountId::new) else { continue };
            let Some(account) = self.parts.store.account(&account).await? else { continue };
            // Settings that cannot be used are told elsewhere.
            let Ok(review) = self.parts.settings.review(&account.overrides) else { continue };
            if review.digest_to.is_empty() || account.digest_told == Some(due) {
                continue;
            }
            if mailed == AT_ONCE {
                return Ok(Told::Some);
            }
            let own = digest::short(&[id.as_str(), account.id.as_str()]);
            let own = MessageId::new(format!("{PREFIX}{own}"));
            let contact = account.brand.as_ref().and_then(|brand| brand.contact.as_deref());
            let text = for_contractor(week, contact.or(self.contact.as_deref()));
            mailed += 1;
            match self.channels.mail_to(&review.digest_to, &own, &text).await {
                Ok(()) => {}
                Err(Unsent { why, refused: Some(Refused::ForGood) }) => {
                    tracing::warn!(account.id = %account.id, error = why, "the account's digest was refused: correct its digest_to");
                }
                Err(Unsent { why, refused: Some(Refused::ForNow) }) => {
                    failed = Some(why);
                    continue;
                }
                // The others would wait for the same server.
                Err(Unsent { why, refused: None }) => return Ok(Told::Failed(format!("alerts.mail: {why}"))),
            }
            self.parts.store.note_digest_told(&account.id, due).await?;
        }
        Ok(failed.map_or(Told::All, |why| Told::Failed(format!("alerts.mail: {why}"))))
    }

    fn made(&self, due: Timestamp) -> Option<Value> {
        let made = self.week.lock().unwrap_or_else(PoisonError::into_inner).clone();
        made.filter(|(at, _)| *at == due).map(|(_, body)| body)
    }

    /// What happened in every account from `from` to before `to`.
    async fn week(&self, id: &MessageId, from: Timestamp, to: Timestamp) -> Result<Value, StoreError> {
        let store = &self.parts.store;
        let (reviews, counts) = (store.reviews_between(from, to).await?, store.outbox_counts().await?);
        let mut to_do: HashMap<Option<AccountId>, Vec<String>> = HashMap::new();
        for alert in self.standing().await? {
            to_do.entry(alert.account).or_default().push(format!("{}: {}", alert.summary, alert.action));
        }
        let mut weeks = Vec::new();
        for id in store.account_ids().await? {
            let Some(account) = store.account(&id).await? else { continue };
            let zone = self.parts.settings.zone_of(&account);
            let add = move |funnel: &mut Funnel, decision: Decision| {
                if is_within(&decision, from, to) {
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
        let of_all = to_do.remove(&None).unwrap_or_default();
        Ok(body(id.as_str(), from, to, &of_all, &weeks))
    }
}
