//! Reviews that came of asks, and the keys of the HTTP API.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use subtle::ConstantTimeEq as _;

use super::causes;
use super::txn::Txn;
use super::{Store, StoreError, key};
use crate::domain::model::{
    AccountId, ApiKey, AskId, AskOf, Cause, Decision, Outcome, Personal as _, Review,
};
use crate::domain::reaction::REVIEWED;

/// How exactly the last use of a key is kept.
const A_MINUTE: SignedDuration = SignedDuration::from_mins(1);

impl Store {
    /// The work that an ask is about.
    pub async fn ask_of(&self, ask: &AskId) -> Result<Option<AskOf>, StoreError> {
        if let Some(of) = self.get::<AskOf>(&key::ask(ask)).await? {
            return Ok(Some(of));
        }
        // Asks of earlier versions have no entry in the index.
        let ask = ask.clone();
        self.scan(move |txn| {
            for entry in txn.scan(key::DECISION) {
                let (name, _) = entry?;
                let decision = txn.get::<Decision>(&name)?;
                let is_it = |decision: &Decision| {
                    matches!(&decision.outcome, Outcome::Asked { ask_id, .. } if *ask_id == ask)
                };
                if decision.as_ref().is_some_and(is_it) {
                    let found = key::parse_decision(&name).ok_or_else(key::broken)?;
                    return Ok(Some(AskOf { account: found.0, work: found.1 }));
                }
            }
            Ok(None)
        })
        .await
    }

    /// Keeps what a customer wrote. A later one for the same ask replaces it. Returns whether it is the first.
    pub async fn note_review(&self, ask: &AskId, review: &Review) -> Result<bool, StoreError> {
        let (ask, review, awaited) = (ask.clone(), review.clone(), self.awaited());
        let people = self.0.people.clone();
        self.write(move |txn| {
            let mut review = review.clone();
            let AskOf { account, work } = &review.of;
            let decision = txn.get::<Decision>(&key::decision(account, work))?;
            let card = decision.and_then(|decision| decision.subject.client_id);
            if people.forgotten(txn, account, card.as_ref(), &[])?.is_some() {
                review.erase();
            }
            let name = key::review(&ask);
            let is_first = txn.get::<Review>(&name)?.is_none();
            if is_first {
                let cause = Cause {
                    id: ask.to_string(),
                    what: REVIEWED.to_owned(),
                    account: review.of.account.clone(),
                    at: review.at,
                    work: Some(review.of.work.clone()),
                    ask: Some(ask.clone()),
                    client: None,
                    item: None,
                    heard_at: None,
                };
                causes::note(txn, &awaited, &cause);
            }
            txn.put(&name, &review);
            Ok(is_first)
        })
        .await
    }

    pub async fn review(&self, ask: &AskId) -> Result<Option<Review>, StoreError> {
        self.get(&key::review(ask)).await
    }

    /// How many reviews came since an instant, by account.
    pub async fn reviews_since(&self, since: Timestamp) -> Result<BTreeMap<AccountId, usize>, StoreError> {
        self.reviews_between(since, Timestamp::MAX).await
    }

    /// The same for those that came before `until`.
    pub async fn reviews_between(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<BTreeMap<AccountId, usize>, StoreError> {
        self.scan(move |txn| {
            let mut counts = BTreeMap::new();
            for review in txn.values::<Review>(key::REVIEW) {
                let review = review?;
                if (since..until).contains(&review.at) {
                    *counts.entry(review.of.account).or_default() += 1;
                }
            }
            Ok(counts)
        })
        .await
    }

    /// Stores a key of the API, unless there is one of that name.
    pub async fn add_api_key(&self, new: &ApiKey) -> Result<bool, StoreError> {
        let new = new.clone();
        self.write(move |txn| {
            let name = key::api_key(&new.name);
            if txn.get::<ApiKey>(&name)?.is_some() {
                return Ok(false);
            }
            txn.put(&name, &new);
            Ok(true)
        })
        .await
    }

    /// Deletes a key of the API. Returns whether it was there.
    pub async fn remove_api_key(&self, name: &str) -> Result<bool, StoreError> {
        let name = key::api_key(name);
        self.write(move |txn| {
            let is_there = txn.get::<ApiKey>(&name)?.is_some();
            txn.remove(&name);
            Ok(is_there)
        })
        .await
    }

    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.read(|txn| txn.values(key::API_KEY).collect()).await
    }

    /// The key with this hash, whose use is noted.
    pub async fn use_api_key(&self, hash: &str, now: Timestamp) -> Result<Option<ApiKey>, StoreError> {
        let keys = self.api_keys().await?;
        let is_it = |known: &ApiKey| bool::from(known.hash.as_bytes().ct_eq(hash.as_bytes()));
        // All are compared, so that the time says nothing.
        let found =
            keys.into_iter().fold(None, |found, known| if is_it(&known) { Some(known) } else { found });
        if let Some(known) = &found
            && known.last_used.is_none_or(|last| now.duration_since(last).abs() >= A_MINUTE)
        {
            let name = key::api_key(&known.name);
            self.write(move |txn| {
                if let Some(known) = txn.get::<ApiKey>(&name)? {
                    txn.put(&name, &ApiKey { last_used: Some(now), ..known });
                }
                Ok(())
            })
            .await?;
        }
        Ok(found)
    }
}

/// What is kept about an ask beside its decision.
pub(super) fn forget_ask(txn: &mut Txn<'_>, ask: &AskId) {
    txn.remove(&key::ask(ask));
    txn.remove(&key::review(ask));
}
