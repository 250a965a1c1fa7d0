//! The program's parts. The daemon runs them in loops, the command line once.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use secrecy::SecretString;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::accounts::onboarding::Onboarding;
use crate::accounts::receiver::Receiver;
use crate::accounts::session::Session;
use crate::accounts::settings::Settings;
use crate::accounts::tokens::TokenSource;
use crate::clock::{STEP_BACK, SharedClock};
use crate::config::{Config, ConfigError, Secrets};
use crate::domain::model::{AccountId, EncodedId};
use crate::domain::webhook_event::{Event, Topic};
use crate::door::Door;
use crate::jobber::Client;
use crate::jobber::token_endpoint::{App, BadEndpoint, TokenEndpoint};
use crate::outbound::resolver::Resolver;
use crate::outbound::sender::{Sender, TIMEOUT};
use crate::store::{Pruned, Store, StoreError};
use crate::workers::actions::Writer;
use crate::workers::changes::ChangeWatcher;
use crate::workers::channels::Channels;
use crate::workers::delivery::Deliverer;
use crate::workers::forwarding::Forwarder;
use crate::workers::gaps::GapFiller;
use crate::workers::inbox::Inbox;
use crate::workers::notifier::Notifier;
use crate::workers::own_writes::OwnWrites;
use crate::workers::parts::WorkerParts;
use crate::workers::poller::Poller;
use crate::workers::recheck::Rechecker;
use crate::workers::subscriptions::Subscriber;
use crate::workers::watch::{RuleTroubles, SweepWatch};

#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    #[error("the HTTP client cannot be set up: {0}")]
    Http(#[from] reqwest::Error),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Endpoint(#[from] BadEndpoint),
}

#[derive(Debug, Default)]
pub struct Bells {
    /// It is time for a sweep by the schedule.
    pub schedule: Notify,
    /// A sweep is wanted at once.
    pub sweep: Notify,
    pub recheck: Notify,
    pub delivery: Notify,
    pub prune: Notify,
    pub inbox: Notify,
    pub rules: Notify,
    pub subscriptions: Notify,
    pub forwarding: Notify,
    pub notifier: Notify,
}

/// The program's parts.
#[derive(Debug)]
pub struct Context {
    /// The settings.
    pub config: Config,
    /// The store.
    pub store: Store,
    /// The clock.
    pub clock: SharedClock,
    /// Links and authorisations.
    pub onboarding: Arc<Onboarding>,
    /// Access to Jobber for every account.
    pub session: Session,
    /// Sweeps accounts.
    pub poller: Arc<Poller>,
    /// Rechecks due candidates.
    pub rechecker: Arc<Rechecker>,
    /// Delivers messages.
    pub deliverer: Arc<Deliverer>,
    /// Does writes in Jobber.
    pub writer: Arc<Writer>,
    /// What rules could not do.
    pub rule_troubles: Arc<RuleTroubles>,
    /// Held while rules are carried out: accounts that rest, and until when.
    pub reacting: tokio::sync::Mutex<HashMap<AccountId, Timestamp>>,
    /// Tells the operator about changes.
    pub notifier: Arc<Notifier>,
    /// Posts to receivers.
    pub sender: Sender,
    /// Watches changes of clients.
    pub watcher: Arc<ChangeWatcher>,
    /// Finds what Jobber's events did not tell.
    pub gaps: Arc<GapFiller>,
    /// What was written in Jobber a moment ago.
    pub own_writes: Arc<OwnWrites>,
    /// Forwards Jobber's events.
    pub forwarder: Arc<Forwarder>,
    /// Keeps Jobber's webhooks as they are needed.
    pub subscriber: Arc<Subscriber>,
    /// Follows up Jobber's events.
    pub inbox: Arc<Inbox>,
    /// The settings of every account.
    pub settings: Arc<Settings>,
    /// Who may use the console.
    pub console: Door,
    /// Rung when something becomes due. Only the daemon listens.
    pub bells: Bells,
    /// After this no new work is begun.
    pub stop: CancellationToken,
    /// Whether accounts are read when they should be.
    pub sweeps: Arc<SweepWatch>,
    /// The secret that verifies Jobber's events.
    pub event_secret: SecretString,
    tokens: TokenSource,
}

impl Context {
    /// Builds the parts over an open store.
    pub fn new(
        config: Config,
        secrets: &Secrets,
        store: Store,
        clock: SharedClock,
    ) -> Result<Self, ContextError> {
        let http = http_client(&config)?;
        let api_base = &config.jobber.api_base.0;
        let client = Client::new(http.clone(), api_base);
        let app = App {
            client_id: &config.jobber.client_id,
            client_secret: &secrets.client_secret,
            redirect_uri: config.redirect_uri(),
        };
        let endpoint = TokenEndpoint::new(http.clone(), api_base, app)?;
        let tokens = TokenSource::new(endpoint, store.clone(), Arc::clone(&clock));
        let settings = Arc::new(Settings::new(&config, secrets.webhook_secret.clone(), store.clone())?);
        let parts = WorkerParts {
            session: Session::new(
                client.clone(),
                tokens.clone(),
                Arc::clone(&clock),
                config.jobber.budget_share.0,
            ),
            store,
            clock,
            settings,
            concurrency: config.poll.concurrency.0,
            stop: CancellationToken::new(),
            sweeps: Arc::default(),
            faults: Arc::default(),
            rule_troubles: Arc::default(),
            piles: Arc::default(),
            own_writes: Arc::default(),
        };
        let sender = Sender::new(http, TIMEOUT);
        let onboarding = Arc::new(Onboarding::new(
            parts.store.clone(),
            tokens.clone(),
            client,
            Arc::clone(&parts.clock),
            config.http.public_url.0.clone(),
        ));
        // Without a receiver nothing is watched.
        let topics = config.events.webhook_url.as_ref().map(|_| config.events.topics.clone());
        let watcher = Arc::new(ChangeWatcher::new(parts.clone(), topics.unwrap_or_default()));
        let channels = Channels {
            webhook: config
                .alerts
                .webhook_url
                .as_ref()
                .map(|url| Receiver { url: url.0.clone(), secret: secrets.webhook_secret.clone() }),
            // A password that cannot be read keeps nothing else from working: `status` says it.
            mail: config.mail().map_err(|error| error.to_string()).transpose(),
            command: config.alerts.command.clone(),
            format: config.alerts.format,
            sender: sender.clone(),
        };
        Ok(Self {
            poller: Arc::new(Poller::new(parts.clone())),
            rechecker: Arc::new(Rechecker::new(parts.clone())),
            writer: Arc::new(Writer::new(parts.clone())),
            reacting: tokio::sync::Mutex::default(),
            deliverer: Arc::new(Deliverer::new(parts.clone(), sender.clone())),
            gaps: Arc::new(GapFiller::new(parts.clone())),
            forwarder: Arc::new(Forwarder::new(parts.clone())),
            subscriber: Arc::new(Subscriber::new(parts.clone(), config.events_url())),
            inbox: Arc::new(Inbox::new(parts.clone(), Arc::clone(&watcher))),
            notifier: Arc::new(Notifier::new(
                parts.clone(),
                Arc::clone(&onboarding),
                channels,
                config.jobber.draft_app,
                config.alerts.digest.map(|time| (time.0, config.review.window.timezone.0.clone())),
                config.brand.contact.clone(),
            )),
            watcher,
            onboarding,
            sender,
            bells: Bells::default(),
            event_secret: secrets.client_secret.clone(),
            tokens,
            config,
            store: parts.store,
            session: parts.session,
            clock: parts.clock,
            settings: parts.settings,
            console: Door::default(),
            sweeps: parts.sweeps,
            rule_troubles: parts.rule_troubles,
            own_writes: parts.own_writes,
            stop: parts.stop,
        })
    }

    /// Tells those who wait for it that an account was connected or disconnected here.
    pub async fn note_connection(&self, account: &AccountId, topic: Topic) -> Result<(), StoreError> {
        let item = EncodedId::new(account.as_str());
        let now = self.clock.now();
        let event = Event { account: account.clone(), topic, item, occurred_at: Some(now) };
        if self.store.note_own_event(event, self.settings.uses_of(topic), now).await? {
            self.bells.forwarding.notify_one();
            self.bells.rules.notify_one();
        }
        Ok(())
    }

    /// Notes the store's tally, and deletes what is older than the retention. Returns the number of deleted entries.
    ///
    /// What was asked is forgotten only by an instant that Jobber's clock and ours agree on: before Jobber has answered
    /// nothing is deleted.
    pub async fn tidy(&self) -> Result<usize, StoreError> {
        self.store.keep_tally().await?;
        self.store.forget_heard(self.clock.now()).await?;
        self.store.forget_pending(self.clock.now()).await?;
        let Some(now) = self.session.jobber_clock().agreed() else { return Ok(0) };
        let kept = &self.config.store;
        let Pruned { deleted, erased } =
            self.store.prune(now, kept.retention.0, kept.personal_retention.0).await?;
        if deleted > 0 {
            tracing::info!(entries = deleted, "deleted entries older than store.retention");
        }
        if erased > 0 {
            tracing::info!(
                entries = erased,
                "erased who people are from entries older than store.personal_retention"
            );
        }
        Ok(deleted)
    }

    /// Compares the clock with the newest instant in the store, at a start: it may have gone back while nothing ran.
    pub async fn note_clock(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        if self.store.last_probe().await?.is_some_and(|last| last.duration_since(now) > STEP_BACK) {
            self.clock_went_back().await?;
        }
        self.store.probe(now).await
    }

    /// What was put off by a clock that was ahead is due now: otherwise it would wait for as long as that clock was ahead.
    pub async fn clock_went_back(&self) -> Result<(), StoreError> {
        let works = self.store.due_again(self.clock.now()).await?;
        tracing::warn!(works, "the machine's clock went back: what waits is looked at again now");
        for bell in [&self.bells.sweep, &self.bells.recheck, &self.bells.delivery] {
            bell.notify_one();
        }
        Ok(())
    }

    /// Waits for work that must not be interrupted, and closes the store. Steps begin nothing new from here
    /// on.
    pub async fn close(&self) {
        self.stop.cancel();
        self.writer.settle().await;
        self.tokens.settle().await;
        self.store.close().await;
    }
}

/// The client of all outgoing requests. It follows no redirects and reaches only allowed addresses.
fn http_client(config: &Config) -> reqwest::Result<reqwest::Client> {
    // reqwest has no TLS provider of its own. A second call changes nothing.
    let _already = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder();
    let builder = match &config.outgoing.proxy {
        Some(proxy) => builder.proxy(reqwest::Proxy::all(proxy)?),
        // A proxy of the environment would read every token and look up every name.
        None => builder.no_proxy(),
    };
    builder
        .user_agent(concat!("jobber-reviewd/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .dns_resolver(Arc::new(Resolver::new(config.outgoing.private_addresses)))
        .connect_timeout(std::time::Duration::from_secs(10))
        .build()
}
