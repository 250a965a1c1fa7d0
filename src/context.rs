//! The parts, put together: what the daemon runs in loops and the command line runs once.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::accounts::onboarding::Onboarding;
use crate::accounts::session::Session;
use crate::accounts::settings::{Receiver, Settings};
use crate::accounts::tokens::{BadEndpoint, TokenSource};
use crate::clock::SharedClock;
use crate::config::{Config, ConfigError, Secrets};
use crate::domain::model::{Account, AccountId, Candidate, EntryState};
use crate::domain::retry::Next;
use crate::jobber::Client;
use crate::outbound::resolver::Resolver;
use crate::outbound::sender::{Sender, TIMEOUT};
use crate::store::{Store, StoreError};
use crate::workers::changes::ChangeWatcher;
use crate::workers::delivery::Deliverer;
use crate::workers::inbox::Inbox;
use crate::workers::notifier::{Channels, Notifier};
use crate::workers::poller::{Poller, SweepOutcome, Swept};
use crate::workers::pool::{Effect, Progress};
use crate::workers::recheck::{AskOutcome, Considered, Rechecker};

/// Why the parts do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// TLS or the resolver could not be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Http(#[from] reqwest::Error),
    /// A template of the settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address of the settings.
    #[error(transparent)]
    Endpoint(#[from] BadEndpoint),
}

/// What makes the daemon's loops look before their time.
#[derive(Debug, Default)]
pub struct Bells {
    /// A sweep.
    pub sweep: Notify,
    /// What is due.
    pub recheck: Notify,
    /// The outbox.
    pub delivery: Notify,
    /// What is old.
    pub prune: Notify,
    /// An event of Jobber's.
    pub inbox: Notify,
    /// What has changed about how everything stands.
    pub notifier: Notify,
}

/// The parts.
#[derive(Debug)]
pub struct Context {
    /// The settings they were made with.
    pub config: Config,
    /// What survives.
    pub store: Store,
    /// What time it is.
    pub clock: SharedClock,
    /// Links and authorisations.
    pub onboarding: Arc<Onboarding>,
    /// Every account's line to Jobber.
    pub session: Session,
    /// Reads what changed.
    pub poller: Arc<Poller>,
    /// Decides about what is due.
    pub rechecker: Arc<Rechecker>,
    /// Delivers.
    pub deliverer: Arc<Deliverer>,
    /// Tells the operator what has changed.
    pub notifier: Arc<Notifier>,
    /// Posts to receivers.
    pub sender: Sender,
    /// Follows changes of clients.
    pub watcher: Arc<ChangeWatcher>,
    /// Follows Jobber's events up.
    pub inbox: Arc<Inbox>,
    /// What accounts ask by.
    pub settings: Arc<Settings>,
    /// Rung by whoever made something due; only the daemon listens.
    pub bells: Bells,
    /// After this nothing new is begun.
    pub stop: CancellationToken,
    /// What proves that an event is Jobber's.
    pub event_secret: SecretString,
    tokens: TokenSource,
}

impl Context {
    /// Puts the parts together over an open store.
    pub fn new(
        config: Config,
        secrets: &Secrets,
        store: Store,
        clock: SharedClock,
    ) -> Result<Self, ContextError> {
        // reqwest brings no TLS provider of its own. A second call finds the first one's and changes nothing.
        let _already = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("jobber-reviewd/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(Resolver::new(config.outgoing.private_addresses)))
            .connect_timeout(std::time::Duration::from_secs(10))
            .build()?;
        let api_base = &config.jobber.api_base.0;
        let client = Client::new(http.clone(), api_base);
        let tokens = TokenSource::new(
            http.clone(),
            api_base,
            &config.jobber.client_id,
            &secrets.client_secret,
            config.redirect_uri(),
            store.clone(),
            Arc::clone(&clock),
        )?;
        let stop = CancellationToken::new();
        let session =
            Session::new(client.clone(), tokens.clone(), Arc::clone(&clock), config.jobber.budget_share.0);
        let settings = Arc::new(Settings::new(&config, secrets.webhook_secret.clone(), store.clone())?);
        let concurrency = config.poll.concurrency.0;
        let onboarding = Arc::new(Onboarding::new(
            store.clone(),
            tokens.clone(),
            client,
            Arc::clone(&clock),
            config.http.public_url.0.clone(),
        ));
        let alert_webhook = config.alerts.webhook_url.as_ref();
        let channels = Channels {
            webhook: alert_webhook
                .map(|url| Receiver { url: url.0.clone(), secret: secrets.webhook_secret.clone() }),
            command: config.alerts.command.clone(),
        };
        let sender = Sender::new(http, TIMEOUT);
        let watcher = Arc::new(ChangeWatcher::new(
            store.clone(),
            session.clone(),
            Arc::clone(&clock),
            concurrency,
            // Without somebody who listens nothing is watched.
            config.events.webhook_url.as_ref().map(|_| config.events.topics.clone()).unwrap_or_default(),
            stop.clone(),
        ));
        Ok(Self {
            notifier: Arc::new(Notifier::new(
                store.clone(),
                Arc::clone(&onboarding),
                sender.clone(),
                Arc::clone(&clock),
                Arc::clone(&settings),
                channels,
                config.jobber.draft_app,
            )),
            onboarding,
            poller: Arc::new(Poller::new(
                store.clone(),
                session.clone(),
                Arc::clone(&clock),
                Arc::clone(&settings),
                concurrency,
                stop.clone(),
            )),
            rechecker: Arc::new(Rechecker::new(
                store.clone(),
                session.clone(),
                Arc::clone(&clock),
                Arc::clone(&settings),
                concurrency,
                stop.clone(),
            )),
            inbox: Arc::new(Inbox::new(
                store.clone(),
                session.clone(),
                Arc::clone(&clock),
                Arc::clone(&settings),
                Arc::clone(&watcher),
                concurrency,
                stop.clone(),
            )),
            watcher,
            session,
            deliverer: Arc::new(Deliverer::new(
                store.clone(),
                sender.clone(),
                Arc::clone(&clock),
                Arc::clone(&settings),
                stop.clone(),
            )),
            sender,
            settings,
            bells: Bells::default(),
            stop,
            event_secret: secrets.client_secret.clone(),
            tokens,
            config,
            store,
            clock,
        })
    }

    /// One sweep: poll, ask what is due, deliver what is due, report.
    pub async fn once(
        &self,
        only: Option<&AccountId>,
        effect: Effect,
        progress: &Progress,
    ) -> Result<OnceReport, StoreError> {
        let swept = self.poller.poll_once(self.accounts(only)?, effect, progress).await?;
        // Again: a sweep can find that a connection is lost.
        let accounts = self.accounts(only)?;
        let considered = match effect {
            Effect::Apply => self.rechecker.recheck_once(only).await?,
            Effect::DryRun => self.rehearse(&accounts, &swept).await?,
        };
        let delivered = match effect {
            Effect::Apply => self.deliver(only).await?,
            Effect::DryRun => 0,
        };
        self.report(&accounts, &swept, &considered, delivered)
    }

    /// Attempts everything that is due; how much was delivered.
    async fn deliver(&self, only: Option<&AccountId>) -> Result<usize, StoreError> {
        let mut delivered = 0;
        loop {
            let dispatched = self.deliverer.deliver_once(only).await?;
            if dispatched.is_empty() {
                return Ok(delivered);
            }
            delivered += dispatched.iter().filter(|attempt| attempt.next == Some(Next::Delivered)).count();
        }
    }

    /// Ends what must not be cut off, and closes the store. Steps begin nothing new from here on.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tokens.settle().await;
        self.store.close().await;
    }

    fn accounts(&self, only: Option<&AccountId>) -> Result<Vec<Account>, StoreError> {
        match only {
            Some(id) => Ok(self.store.account(id)?.into_iter().collect()),
            None => self.store.accounts(),
        }
    }

    /// Considers what is due, and what the sweep found that would be, without a trace.
    async fn rehearse(&self, accounts: &[Account], swept: &[Swept]) -> Result<Vec<Considered>, StoreError> {
        let now = self.clock.now();
        let stored = self.store.candidates()?;
        let mut considered = Vec::new();
        for account in accounts.iter().filter(|account| account.is_active()) {
            let old = stored.iter().filter(|(id, _)| *id == account.id).map(|(_, candidate)| candidate);
            let new = swept.iter().filter(|swept| swept.account.id == account.id).flat_map(|swept| {
                match &swept.outcome {
                    SweepOutcome::Polled(polled) => polled.candidates.as_slice(),
                    _ => &[],
                }
            });
            let due: Vec<&Candidate> = old.chain(new).filter(|candidate| candidate.due_at <= now).collect();
            for candidate in due {
                let outcome = self.rechecker.consider(account, candidate, Effect::DryRun).await?;
                let work = candidate.work.clone();
                considered.push(Considered { account: account.id.clone(), work, outcome });
            }
        }
        Ok(considered)
    }

    fn report(
        &self,
        accounts: &[Account],
        swept: &[Swept],
        considered: &[Considered],
        delivered: usize,
    ) -> Result<OnceReport, StoreError> {
        let mut report = OnceReport { delivered, ..OnceReport::default() };
        let mut rows: BTreeMap<AccountId, AccountReport> = BTreeMap::new();
        for account in accounts {
            rows.insert(
                account.id.clone(),
                AccountReport {
                    id: account.id.clone(),
                    name: account.name.clone(),
                    state: account.state().to_owned(),
                    polled: false,
                    candidates: 0,
                    asked: 0,
                    skipped: 0,
                    deferred: 0,
                },
            );
        }
        let mut error = |account: &AccountId, error: &str, needs_operator: bool| {
            report.errors.push(ErrorReport {
                account: account.clone(),
                error: error.to_owned(),
                needs_operator,
            });
        };
        for Swept { account, outcome } in swept {
            let Some(row) = rows.get_mut(&account.id) else { continue };
            match outcome {
                SweepOutcome::Polled(polled) => {
                    row.polled = true;
                    row.candidates = polled.candidates.len();
                    row.skipped = polled.skipped.len();
                }
                SweepOutcome::Failed(failure) => error(&account.id, &failure.detail, failure.needs_operator),

                SweepOutcome::Lost(reason) => error(&account.id, reason.describe(), true),
                SweepOutcome::Idle => {}
                SweepOutcome::Busy => error(&account.id, "another sweep of this account is running", false),
                SweepOutcome::Resting(until) => {
                    error(&account.id, &format!("Jobber asked to be left alone until {until}"), false);
                }
            }
        }
        for Considered { account, work, outcome } in considered {
            let Some(row) = rows.get_mut(account) else { continue };
            match outcome {
                AskOutcome::Asked(_) => row.asked += 1,
                AskOutcome::Skipped(_) => row.skipped += 1,
                AskOutcome::Deferred(_) => row.deferred += 1,
                AskOutcome::Superseded => {}
                AskOutcome::Failed { failure, .. } => {
                    error(account, &format!("{work}: {}", failure.detail), failure.needs_operator);
                }
            }
        }
        report.accounts = rows.into_values().collect();
        for entry in self.store.entries() {
            let entry = entry?;
            if !accounts.iter().any(|account| account.id == entry.account) {
                continue;
            }
            match entry.state {
                EntryState::Due { .. } | EntryState::Leased { .. } => report.retrying += 1,
                EntryState::Dead { .. } => report.dead += 1,
            }
        }
        Ok(report)
    }
}

/// What one sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnceReport {
    /// One row for each account.
    pub accounts: Vec<AccountReport>,
    /// Asks that a receiver took during this sweep.
    pub delivered: usize,
    /// Asks that wait for another attempt after it.
    pub retrying: usize,
    /// Dead letters after it.
    pub dead: usize,
    /// What could not be done.
    pub errors: Vec<ErrorReport>,
}

/// What one sweep did for one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountReport {
    /// Jobber's id of it.
    pub id: AccountId,
    /// Its name in Jobber.
    pub name: String,
    /// `connected`, `paused`, `needs_authorization` or `disconnected`.
    pub state: String,
    /// Whether everything was read.
    pub polled: bool,
    /// New candidates.
    pub candidates: usize,
    /// Asks made; in a dry run, those that would be made.
    pub asked: usize,
    /// Works found not to be asked about.
    pub skipped: usize,
    /// Candidates that wait longer.
    pub deferred: usize,
}

/// What could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// For which account.
    pub account: AccountId,
    /// What happened.
    pub error: String,
    /// Whether it needs a human; otherwise it heals itself.
    pub needs_operator: bool,
}
