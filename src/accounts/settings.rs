//! The settings of each account: `[review]` with the account's own settings on top, and its receiver.
//!
//! An account's settings are validated like the file, key by key and then as a whole. So an account cannot
//! have what the file could not: a delay longer than `max_age`, or a window that never opens. If settings no
//! longer fit (for example because the file changed), only that account has an error. It asks nobody until it
//! is corrected.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::tz::TimeZone;

use super::forwards::{Forward, forwards};
use super::receiver::Receiver;
use crate::config::{Config, ConfigError, ReviewSection};
use crate::domain::actions::Permission;
use crate::domain::message::Texts;
use crate::domain::model::{Account, AccountId, MessageKind, Overrides, WatchTopic};
use crate::domain::reaction::Reaction;
use crate::domain::rules::{Rules, SharedRules};
use crate::domain::webhook_event::{Topic, Uses};
use crate::outbound::secret::WebhookSecret;
use crate::store::{Store, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    #[error(transparent)]
    Settings(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug)]
pub struct Settings {
    store: Store,
    secret: WebhookSecret,
    edition: RwLock<Arc<Edition>>,
}

/// What leaves for whom, besides asks, and what may be written in Jobber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disclosure {
    pub watched: Vec<WatchTopic>,
    /// The kinds of records whose events are forwarded.
    pub events: Vec<&'static str>,
    /// Whether the records go with them.
    pub with_records: bool,
    /// The kinds of records that actions may write; `api` for anything.
    pub writes: Vec<String>,
}

#[derive(Debug)]
struct Edition {
    config: Config,
    reactions: Arc<[Reaction]>,
    forwards: Arc<[Forward]>,
    defaults: Arc<Terms>,
    /// Accounts with settings of their own, with the overrides from which the terms were made.
    own: Mutex<HashMap<AccountId, (Overrides, Arc<Terms>)>>,
}

#[derive(Debug)]
struct Terms {
    review: ReviewSection,
    rules: SharedRules,
}

impl Terms {
    fn new(
        review: &ReviewSection,
        body: Option<&str>,
        own_zone: Option<TimeZone>,
    ) -> Result<Self, ConfigError> {
        let rules = SharedRules {
            delay: review.delay.0,
            max_age: review.max_age.0,
            include_drafts: review.include_drafts,
            policy: Arc::new(review.policy()),
            texts: review.texts(body)?,
            window: Arc::new(review.window.window()),
            zone: review.window.timezone.0.clone(),
            own_zone,
        };
        Ok(Self { review: review.clone(), rules })
    }
}

impl Edition {
    fn new(config: &Config, secret: &WebhookSecret) -> Result<Self, ConfigError> {
        let defaults = Arc::new(Terms::new(&config.review, None, None)?);
        let reactions = config.reactions()?.into();
        let forwards = forwards(config, secret)?.into();
        Ok(Self { config: config.clone(), reactions, forwards, defaults, own: Mutex::default() })
    }

    /// What is watched. Without a receiver that is nothing.
    fn watched(&self) -> impl Iterator<Item = WatchTopic> {
        let events = &self.config.events;
        events.topics.iter().copied().filter(|_| events.webhook_url.is_some())
    }

    /// The topics that are forwarded or that rules wait for.
    fn told(&self) -> Vec<Topic> {
        let forwarded = self.forwards.iter().flat_map(|forward| forward.topics.iter().copied());
        forwarded.chain(self.reactions.iter().filter_map(|rule| Topic::named(&rule.on))).collect()
    }

    /// The names of what rules wait for.
    fn awaited(&self) -> BTreeSet<String> {
        self.reactions.iter().map(|rule| rule.on.clone()).collect()
    }

    fn terms(&self, overrides: &Overrides) -> Result<Terms, ConfigError> {
        let review = self.config.with_overrides(&overrides.keys)?.review;
        let own_zone =
            overrides.keys.contains_key("window.timezone").then(|| review.window.timezone.0.clone());
        Terms::new(&review, overrides.body.as_deref(), own_zone)
    }

    fn terms_of(&self, account: &Account) -> Result<Arc<Terms>, ConfigError> {
        if account.overrides.is_empty() {
            return Ok(Arc::clone(&self.defaults));
        }
        let own = || self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((overrides, terms)) = own().get(&account.id)
            && *overrides == account.overrides
        {
            return Ok(Arc::clone(terms));
        }
        // Nobody else waits while templates are tried.
        let terms = Arc::new(self.terms(&account.overrides)?);
        own().insert(account.id.clone(), (account.overrides.clone(), Arc::clone(&terms)));
        Ok(terms)
    }
}

impl Settings {
    pub fn new(config: &Config, secret: WebhookSecret, store: Store) -> Result<Self, ConfigError> {
        let edition = Edition::new(config, &secret)?;
        store.await_causes(edition.awaited());
        Ok(Self { store, secret, edition: RwLock::new(Arc::new(edition)) })
    }

    pub fn replace(&self, config: &Config) -> Result<(), ConfigError> {
        let edition = Arc::new(Edition::new(config, &self.secret)?);
        self.store.await_causes(edition.awaited());
        *self.edition.write().unwrap_or_else(PoisonError::into_inner) = edition;
        Ok(())
    }

    fn edition(&self) -> Arc<Edition> {
        Arc::clone(&self.edition.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// `[review]`, for accounts without settings of their own.
    pub fn defaults(&self) -> ReviewSection {
        self.edition().defaults.review.clone()
    }

    pub fn review(&self, overrides: &Overrides) -> Result<ReviewSection, ConfigError> {
        Ok(self.edition().terms(overrides)?.review)
    }

    pub fn default_receiver(&self) -> Receiver {
        Receiver { url: self.defaults().webhook_url.0, secret: self.secret.clone() }
    }

    pub fn default_texts(&self) -> Texts {
        self.edition().defaults.rules.texts.clone()
    }

    pub fn rules_of(&self, account: &Account) -> Result<Rules, ConfigError> {
        Ok(self.edition().terms_of(account)?.rules.of(account))
    }

    pub fn zone_of(&self, account: &Account) -> TimeZone {
        let edition = self.edition();
        let terms = edition.terms_of(account).unwrap_or_else(|_| Arc::clone(&edition.defaults));
        terms.rules.zone_of(account)
    }

    /// The receiver of a kind of message. `None` for changes without a receiver.
    pub async fn receiver_for(
        &self,
        account: &Account,
        kind: MessageKind,
        to: Option<&str>,
    ) -> Result<Option<Receiver>, ReceiverError> {
        match kind {
            MessageKind::Event => Ok(self.forward_receiver(to)),
            MessageKind::Ask => self.receiver_of(account).await.map(Some),
            MessageKind::Change => Ok(self.events_receiver()),
        }
    }

    /// The rules of what is done after something happened.
    pub fn reactions(&self) -> Arc<[Reaction]> {
        Arc::clone(&self.edition().reactions)
    }

    /// Whether the settings allow an action that writes.
    pub fn may_write(&self, name: &str) -> bool {
        self.edition().config.actions.write.iter().any(|permission| permission.allows(name))
    }

    /// Where events of Jobber's go.
    pub fn forwards(&self) -> Arc<[Forward]> {
        Arc::clone(&self.edition().forwards)
    }

    /// The receiver of events with this id, if there is one.
    pub fn forward_receiver(&self, to: Option<&str>) -> Option<Receiver> {
        let forwards = self.forwards();
        let found = forwards.iter().find(|forward| Some(forward.receiver.id().as_str()) == to);
        found.map(|forward| forward.receiver.clone())
    }

    /// What leaves for whom, and what is written in Jobber, as contractors are told before they connect.
    pub fn disclosure(&self) -> Disclosure {
        let edition = self.edition();
        let forwarded = edition.forwards.iter().flat_map(|forward| forward.topics.iter());
        let mut events: Vec<&'static str> = forwarded.map(|topic| topic.record().in_words()).collect();
        events.sort_unstable();
        events.dedup();
        let allowed = edition.config.actions.write.iter().map(Permission::as_str);
        let mut writes: Vec<String> =
            allowed.map(|name| name.split('.').next().unwrap_or(name).to_owned()).collect();
        writes.sort();
        writes.dedup();
        let with_records = edition.forwards.iter().any(|forward| forward.reads.name().is_some());
        Disclosure { watched: edition.watched().collect(), events, with_records, writes }
    }

    /// Whether the events of every account begin by themselves.
    pub fn begins_events(&self) -> bool {
        self.edition().config.events.enabled
    }

    /// What is done with events of a topic, besides what triggers make of them.
    pub fn uses_of(&self, topic: Topic) -> Uses {
        let edition = self.edition();
        Uses {
            is_forwarded: edition.forwards.iter().any(|forward| forward.takes(topic)),
            is_watched: edition.watched().any(|watched| Topic::of_watched(watched).contains(&topic)),
        }
    }

    /// The topics that are forwarded or that rules wait for.
    pub fn told_topics(&self) -> Vec<Topic> {
        let mut topics = self.edition().told();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// The topics that an account needs: for its trigger, for what is watched and forwarded, and for rules.
    pub fn topics_of(&self, account: &Account) -> Vec<Topic> {
        let edition = self.edition();
        let watched = edition.watched().flat_map(Topic::of_watched).copied();
        let own = Topic::of(account.trigger);
        let mut topics: Vec<Topic> = own.into_iter().chain(edition.told()).chain(watched).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    pub fn events_receiver(&self) -> Option<Receiver> {
        let url = self.edition().config.events.webhook_url.clone()?;
        Some(Receiver { url: url.0, secret: self.secret.clone() })
    }

    pub async fn receiver_of(&self, account: &Account) -> Result<Receiver, ReceiverError> {
        let url = self.edition().terms_of(account)?.review.webhook_url.0.clone();
        let secret = self.store.webhook_secret(&account.id).await?.map(|text| WebhookSecret::parse(&text));
        // It was checked before it was stored.
        let secret = secret.transpose().map_err(|error| ConfigError::of("webhook_secret_file", error))?;
        Ok(Receiver { url, secret: secret.unwrap_or_else(|| self.secret.clone()) })
    }
}
