//! The webhook endpoints at Jobber: which are missing, and which nobody needs any more. Pure.
//!
//! They belong to the app, one for each topic: what one account created brings the events of all of them. It is not
//! known for sure (`api-behaviour.md` §4), they could also belong to each account. So an account tries to create its
//! own, a refusal because there is one already is as good, and an endpoint is deleted only if no other account depends
//! on it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::model::{AccountId, EncodedId};
use crate::domain::webhook_event::Topic;

/// How long a refused topic is not asked for again.
const ASK_AGAIN: SignedDuration = SignedDuration::from_hours(24);

/// A topic that is heard again within this time is not noted again.
const HEARD_ONCE: SignedDuration = SignedDuration::from_mins(1);

/// An endpoint at Jobber.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// What it sends.
    pub topic: Topic,
    /// Jobber's id. `None` if Jobber said that there is one, and never which: Jobber cannot list them.
    pub id: Option<EncodedId>,
    /// The account that created it.
    pub by: Option<AccountId>,
    /// Where it sends. `None` if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl Endpoint {
    /// Whether it is known to send elsewhere.
    pub fn is_elsewhere(&self, url: &str) -> bool {
        self.url.as_deref().is_some_and(|own| own != url)
    }
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

    /// Whether what one account created brings the events of another one: that one was told that there is one already.
    pub fn is_shared(&self, account: &AccountId, asked: &Asked) -> bool {
        self.0.iter().any(|known| {
            let is_of_another = known.by.as_ref().is_some_and(|by| by != account);
            is_of_another && asked.there.contains(&known.topic) && !self.is_own(known.topic, account)
        })
    }

    /// Notes an endpoint that an account created.
    pub fn created(&mut self, topic: Topic, id: EncodedId, by: AccountId, url: Option<String>) {
        // One that nobody here created, or whose creator has left, was none then.
        self.0.retain(|known| known.topic != topic || known.by.as_ref().is_some_and(|other| *other != by));
        self.0.push(Endpoint { topic, id: Some(id), by: Some(by), url });
    }

    /// Notes that the app has an endpoint of a topic already.
    pub fn held_by_app(&mut self, topic: Topic) {
        if !self.has(topic) {
            self.0.push(Endpoint { topic, id: None, by: None, url: None });
        }
    }

    /// Notes that these accounts have left: what they created may have ended with them.
    pub fn left_by(&mut self, leavers: &BTreeSet<AccountId>) {
        for endpoint in &mut self.0 {
            endpoint.by = endpoint.by.take().filter(|by| !leavers.contains(by));
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

    /// Takes those away from `unneeded` that an account which needs these topics depends on.
    pub fn keep_for(&self, account: &AccountId, topics: &[Topic], unneeded: &mut Vec<Endpoint>) {
        unneeded.retain(|endpoint| {
            // An account with an endpoint of its own does not need this one.
            let is_own = endpoint.by.as_ref() == Some(account);
            !topics.contains(&endpoint.topic) || (!is_own && self.is_own(endpoint.topic, account))
        });
    }

    /// The endpoints that send to another address than `url`.
    pub fn elsewhere(&self, url: &str) -> Vec<Endpoint> {
        self.0.iter().filter(|endpoint| endpoint.is_elsewhere(url)).cloned().collect()
    }
}

/// When an event of each topic last came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LastHeard(BTreeMap<Topic, Timestamp>);

impl LastHeard {
    pub fn of(&self, topic: Topic) -> Option<Timestamp> {
        self.0.get(&topic).copied()
    }

    /// Notes a topic. Returns whether that is news: within a minute it is not.
    pub fn note(&mut self, topic: Topic, now: Timestamp) -> bool {
        let is_news = self.of(topic).is_none_or(|last| now.duration_since(last).abs() >= HEARD_ONCE);
        if is_news {
            self.0.insert(topic, now);
        }
        is_news
    }
}

/// What an account asked Jobber to send, and what Jobber said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The address that it was to be sent to.
    pub url: String,
    /// What Jobber sends.
    #[serde(default)]
    pub there: BTreeSet<Topic>,
    /// What Jobber refused to send.
    #[serde(default)]
    pub refused: BTreeMap<Topic, Refused>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub at: Timestamp,
    pub why: String,
}

impl Asked {
    /// The topics of `wanted` to ask Jobber for.
    pub fn missing(&self, wanted: &[Topic], endpoints: &Endpoints, url: &str, now: Timestamp) -> Vec<Topic> {
        let was_refused = |topic: &Topic| {
            let refused = self.refused.get(topic);
            refused.is_some_and(|refused| now.duration_since(refused.at).abs() < ASK_AGAIN)
        };
        let is_there = |topic: &Topic| self.there.contains(topic) && endpoints.has(*topic);
        let is_known = |topic: &Topic| self.url == url && (is_there(topic) || was_refused(topic));
        wanted.iter().copied().filter(|topic| !is_known(topic)).collect()
    }

    /// Begins anew for another address, and forgets what is not wanted any more.
    pub fn begin(&mut self, wanted: &[Topic], url: &str) {
        if self.url != url {
            *self = Self { url: url.to_owned(), ..Self::default() };
        }
        self.there.retain(|topic| wanted.contains(topic));
        self.refused.retain(|topic, _| wanted.contains(topic));
    }

    pub fn is_there(&mut self, topic: Topic) {
        self.refused.remove(&topic);
        self.there.insert(topic);
    }

    pub fn was_refused(&mut self, topic: Topic, why: String, at: Timestamp) {
        self.there.remove(&topic);
        self.refused.insert(topic, Refused { at, why });
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

    /// What can go if accounts need only this.
    fn unneeded(endpoints: &Endpoints, accounts: &[&str]) -> Vec<Endpoint> {
        let mut unneeded = endpoints.0.clone();
        for account in accounts {
            endpoints.keep_for(&id(account), JOBS, &mut unneeded);
        }
        unneeded
    }

    const HERE: &str = "https://here.example.com/webhooks/jobber";
    const JOBS: &[Topic] = &[Topic::JobClosed];

    #[test]
    fn a_shared_endpoint_stays_until_nobody_needs_it() {
        let mut endpoints = Endpoints::default();
        endpoints.created(Topic::JobClosed, EncodedId::new("e1"), id("a"), Some(HERE.to_owned()));
        // Jobber told the second one that there is one already.
        endpoints.held_by_app(Topic::JobClosed);
        assert_eq!(endpoints.iter().count(), 1);
        assert_eq!(endpoints.missing(&id("b"), JOBS), JOBS, "it asks again each time");
        assert!(unneeded(&endpoints, &["b"]).is_empty(), "the first one leaves, the second depends on it");
        assert!(unneeded(&endpoints, &["a"]).is_empty());
        assert_eq!(names(&unneeded(&endpoints, &[])), ["e1"], "whoever created it");
        let mut others = endpoints.0.clone();
        endpoints.keep_for(&id("b"), &[Topic::VisitComplete], &mut others);
        assert_eq!(names(&others), ["e1"], "another topic is no reason");
    }

    #[test]
    fn endpoints_of_their_own_go_one_by_one() {
        let mut endpoints = Endpoints::default();
        endpoints.created(Topic::JobClosed, EncodedId::new("e1"), id("a"), Some(HERE.to_owned()));
        endpoints.created(Topic::JobClosed, EncodedId::new("e2"), id("b"), Some(HERE.to_owned()));
        assert_eq!(names(&unneeded(&endpoints, &["b"])), ["e1"]);
        assert!(unneeded(&endpoints, &["b", "a"]).is_empty());
        assert!(endpoints.missing(&id("b"), JOBS).is_empty());
    }

    #[test]
    fn what_is_held_by_the_app_is_known_once_and_replaced_by_what_is_created() {
        let mut endpoints = Endpoints::default();
        endpoints.held_by_app(Topic::JobClosed);
        endpoints.held_by_app(Topic::JobClosed);
        assert_eq!(names(&unneeded(&endpoints, &[])), ["held"]);
        endpoints.created(Topic::JobClosed, EncodedId::new("e1"), id("a"), Some(HERE.to_owned()));
        assert_eq!(endpoints.iter().count(), 1);
        endpoints.forget_those_of(&id("a"));
        assert!(!endpoints.has(Topic::JobClosed));
    }

    #[test]
    fn a_topic_is_asked_for_until_it_is_there_and_again_at_another_address() {
        let at = |hours: i64| Timestamp::from_second(hours * 3600).unwrap();
        let mut endpoints = Endpoints::default();
        let mut asked = Asked::default();
        asked.begin(JOBS, HERE);
        assert_eq!(asked.missing(JOBS, &endpoints, HERE, at(0)), JOBS);
        asked.is_there(Topic::JobClosed);
        assert_eq!(asked.missing(JOBS, &endpoints, HERE, at(0)), JOBS, "nobody knows of an endpoint");
        endpoints.created(Topic::JobClosed, EncodedId::new("e1"), id("a"), Some(HERE.to_owned()));
        assert!(asked.missing(JOBS, &endpoints, HERE, at(0)).is_empty());
        assert!(!endpoints.is_shared(&id("a"), &asked) && endpoints.is_shared(&id("b"), &asked));
        let there = "https://there.example.com/webhooks/jobber";
        assert_eq!(asked.missing(JOBS, &endpoints, there, at(0)), JOBS);
        assert_eq!(names(&endpoints.elsewhere(there)), ["e1"]);
        assert!(endpoints.elsewhere(HERE).is_empty());

        asked.was_refused(Topic::JobClosed, "a scope is missing".to_owned(), at(0));
        assert!(asked.missing(JOBS, &endpoints, HERE, at(23)).is_empty());
        assert_eq!(asked.missing(JOBS, &endpoints, HERE, at(24)), JOBS);
        asked.begin(&[], HERE);
        assert!(asked.refused.is_empty(), "it is not wanted any more");
    }
}
