//! The webhook endpoints at Jobber: which are missing, and which nobody needs any more. Pure.
//!
//! They belong to the app, one for each topic: what one account created brings the events of all of them. It is not
//! known for sure (`api-behaviour.md` §4), they could also belong to each account. So an account tries to create its
//! own, a refusal because there is one already is as good, and an endpoint is deleted only if no other account depends
//! on it.

use serde::{Deserialize, Serialize};

use crate::domain::model::{AccountId, EncodedId};
use crate::domain::webhook_event::Topic;

/// An endpoint at Jobber.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// What it sends.
    pub topic: Topic,
    /// Jobber's id. `None` if Jobber said that there is one, and never which: Jobber cannot list them.
    pub id: Option<EncodedId>,
    /// The account that created it.
    pub by: Option<AccountId>,
}

/// All endpoints of the app that are known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Endpoints(Vec<Endpoint>);

impl Endpoints {
    pub fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.0.iter()
    }

    /// Whether Jobber sends a topic, as far as is known.
    pub fn has(&self, topic: Topic) -> bool {
        self.0.iter().any(|endpoint| endpoint.topic == topic)
    }

    fn is_own(&self, topic: Topic, account: &AccountId) -> bool {
        self.0.iter().any(|endpoint| endpoint.topic == topic && endpoint.by.as_ref() == Some(account))
    }

    /// The topics for which an account has created no endpoint.
    pub fn missing(&self, account: &AccountId, wanted: &[Topic]) -> Vec<Topic> {
        wanted.iter().copied().filter(|topic| !self.is_own(*topic, account)).collect()
    }

    /// Notes an endpoint that an account created.
    pub fn created(&mut self, topic: Topic, id: EncodedId, by: AccountId) {
        self.0.retain(|known| known.topic != topic || known.id.is_some() && known.by.as_ref() != Some(&by));
        self.0.push(Endpoint { topic, id: Some(id), by: Some(by) });
    }

    /// Notes that the app has an endpoint of a topic already.
    pub fn held_by_app(&mut self, topic: Topic) {
        if !self.has(topic) {
            self.0.push(Endpoint { topic, id: None, by: None });
        }
    }

    pub fn forget(&mut self, endpoint: &Endpoint) {
        self.0.retain(|known| known != endpoint);
    }

    /// Forgets what an account created, because its authorisation ended at Jobber. What is there after all reads as
    /// held by the app when it is created again.
    pub fn forget_those_of(&mut self, account: &AccountId) {
        self.0.retain(|known| known.by.as_ref() != Some(account));
    }

    /// The endpoints that can go when `account` needs only `wanted` from now on and the others need `others`.
    pub fn unneeded(
        &self,
        account: &AccountId,
        wanted: &[Topic],
        others: &[(AccountId, Vec<Topic>)],
    ) -> Vec<Endpoint> {
        let depends = |endpoint: &Endpoint, (other, topics): &(AccountId, Vec<Topic>)| {
            // Another account with an endpoint of its own does not need this one.
            let is_own = endpoint.by.as_ref() == Some(other);
            topics.contains(&endpoint.topic) && (is_own || !self.is_own(endpoint.topic, other))
        };
        self.0
            .iter()
            .filter(|endpoint| {
                let of_account = wanted.contains(&endpoint.topic)
                    && (endpoint.by.as_ref() == Some(account) || !self.is_own(endpoint.topic, account));
                !of_account && !others.iter().any(|other| depends(endpoint, other))
            })
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> AccountId {
        AccountId::new(name)
    }

    fn names(endpoints: &[Endpoint]) -> Vec<&str> {
        endpoints.iter().map(|endpoint| endpoint.id.as_ref().map_or("held", EncodedId::as_str)).collect()
    }

    const JOBS: &[Topic] = &[Topic::JobClosed];

    #[test]
    fn a_shared_endpoint_stays_until_nobody_needs_it() {
        let mut endpoints = Endpoints::default();
        endpoints.created(Topic::JobClosed, EncodedId::new("e1"), id("a"));
        // Jobber told the second one that there is one already.
        endpoints.held_by_app(Topic::JobClosed);
        assert_eq!(endpoints.iter().count(), 1);
        assert_eq!(endpoints.missing(&id("b"), JOBS), JOBS, "it asks again each time");
        let b = [(id("b"), JOBS.to_vec())];
        assert!(
            endpoints.unneeded(&id("a"), &[], &b).is_empty(),
            "the first one leaves, the second depends on it"
        );
        assert!(endpoints.unneeded(&id("b"), &[], &[(id("a"), JOBS.to_vec())]).is_empty());
        assert_eq!(names(&endpoints.unneeded(&id("b"), &[], &[])), ["e1"], "whoever created it");
    }

    #[test]
    fn endpoints_of_their_own_go_one_by_one() {
        let mut endpoints = Endpoints::default();
        endpoints.created(Topic::JobClosed, EncodedId::new("e1"), id("a"));
        endpoints.created(Topic::JobClosed, EncodedId::new("e2"), id("b"));
        assert_eq!(names(&endpoints.unneeded(&id("a"), &[], &[(id("b"), JOBS.to_vec())])), ["e1"]);
        assert!(endpoints.missing(&id("b"), JOBS).is_empty());
    }

    #[test]
    fn what_is_held_by_the_app_is_known_once_and_replaced_by_what_is_created() {
        let mut endpoints = Endpoints::default();
        endpoints.held_by_app(Topic::JobClosed);
        endpoints.held_by_app(Topic::JobClosed);
        assert_eq!(names(&endpoints.unneeded(&id("a"), &[], &[])), ["held"]);
        endpoints.created(Topic::JobClosed, EncodedId::new("e1"), id("a"));
        assert_eq!(endpoints.iter().count(), 1);
        endpoints.forget_those_of(&id("a"));
        assert!(!endpoints.has(Topic::JobClosed));
    }
}
