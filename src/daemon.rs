//! The daemon: parts, listeners, loops, signals.
//!
//! The scheduler and the listeners only ring bells. Each loop waits for its bell or for the next thing that is due,
//! and then starts the step in a task of its own: a step leaves alone what an earlier one is still working on, so
//! a slow account or receiver keeps nobody waiting and nothing is begun twice.
//!
//! A failure of the store ends the daemon: it must not act on what it may forget. Everything else is a step's own
//! business.

mod reload;
mod watchdog;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_cron_scheduler::{Job, JobScheduler};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::SharedClock;
use crate::config::{Config, Secrets};
use crate::context::Context;
use crate::server::control::Control;
use crate::server::{Http, Metrics};
use crate::store::{IfMissing, Store, StoreError};
use crate::text_table::counted;
use crate::workers::pool::{Effect, no_progress};
use reload::Sweeps;
use watchdog::{Beat, Pulse};

pub use reload::Reread;

/// How long steps may take to end after the signal: a request to a receiver takes 15 s at most. A read that is cut off
/// costs nothing; a refresh of tokens is not cut off but waited for, another 30 s at most.
const GOODBYE: Duration = Duration::from_secs(20);

/// When the store's tally is written and what is old is forgotten: every hour, so that a crash costs an hour of the tally.
const TIDY: &str = "0 0 * * * *";

/// When it is looked at what has changed, for the operator.
const ALERT: &str = "30 * * * * *";

/// How long a loop waits when nothing is due: a missed bell costs no more than this.
const LOOK: Duration = Duration::from_secs(5);

/// How long a loop waits when what is due was left over: its account rests, or its receiver is gone.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A daemon whose store is open and whose listeners are bound, but which does nothing yet.
#[derive(Debug)]
pub struct Daemon {
    context: Arc<Context>,
    http: Http,
    metrics: Option<Metrics>,
    control: Control,
    scheduler: Schedule,
}

struct Schedule(Sweeps);

impl std::fmt::Debug for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Schedule")
    }
}

/// Cancels `stop` when the system or a person asks us to end.
pub(crate) fn stop_on_signal(stop: CancellationToken) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}

impl Daemon {
    /// Opens the store and binds the listeners. A listener that is bound already is taken instead of
    /// `http.listen`.
    pub async fn prepare(
        config: Config,
        secrets: &Secrets,
        clock: SharedClock,
        listener: Option<TcpListener>,
        if_missing: IfMissing,
    ) -> anyhow::Result<Self> {
        let (path, key) = (config.store.path.clone(), secrets.store_key.clone());
        let store = tokio::task::spawn_blocking(move || Store::open(&path, &key, if_missing)).await??;
        let context = Arc::new(Context::new(config, secrets, store, clock)?);
        let listener = if let Some(listener) = listener {
            listener
        } else {
            let address = context.config.http.listen;
            TcpListener::bind(address).await.with_context(|| {
                format!("http.listen: {address} cannot be bound; free the port or choose another address")
            })?
        };
        let http = Http::new(listener, Arc::clone(&context));
        let metrics = match context.config.metrics.listen {
            Some(address) => {
                let listener = TcpListener::bind(address).await.with_context(|| {
                    format!(
                        "metrics.listen: {address} cannot be bound; free the port or choose another address"
                    )
                })?;
                Some(Metrics::new(listener, Arc::clone(&context)).context("metrics cannot be set up")?)
            }
            None => None,
        };
        let socket = &context.config.control.socket;
        let control = Control::bind(socket).with_context(|| {
            format!(
                "control.socket: {} cannot be created; check that its folder exists and belongs to this user",
                socket.display()
            )
        })?;
        let scheduler = schedule(&context).await.context("the scheduler cannot be set up")?;
        Ok(Self { context, http, metrics, control, scheduler: Schedule(scheduler) })
    }

    /// The parts.
    #[cfg(feature = "demo")]
    pub fn context(&self) -> Arc<Context> {
        Arc::clone(&self.context)
    }

    /// What ends it.
    pub fn stop(&self) -> CancellationToken {
        self.context.stop.clone()
    }

    /// Runs until it is stopped, then ends what is under way and closes the store. On SIGHUP the settings are read again.
    pub async fn run(self, reread: Reread) -> anyhow::Result<()> {
        let Self { context, http, metrics, control, scheduler: Schedule(mut sweeps) } = self;
        let (stop, address) = (context.stop.clone(), http.address()?);
        let steps = TaskTracker::new();
        let (fail, mut failed) = mpsc::unbounded_channel();
        let pulse = Arc::new(Pulse::new(std::time::Instant::now()));
        let mut hangup = signal(SignalKind::hangup())?;
        let loops = Loops {
            context: Arc::clone(&context),
            stop: stop.clone(),
            steps: steps.clone(),
            pulse: Arc::clone(&pulse),
            fail,
        };

        let mut parts = JoinSet::new();
        parts.spawn({
            let stop = stop.clone();
            async move {
                http.run(stop).await;
                Ok(())
            }
        });
        if let Some(metrics) = metrics {
            let stop = stop.clone();
            parts.spawn(async move {
                metrics.run(stop).await;
                Ok(())
            });
        }
        parts.spawn({
            let (context, stop, steps) = (Arc::clone(&context), stop.clone(), steps.clone());
            async move {
                control.run(context, stop, &steps).await;
                Ok(())
            }
        });
        parts.spawn(loops.clone().sweep());
        parts.spawn(loops.clone().tidy());
        parts.spawn(loops.clone().alert());
        parts.spawn(loops.clone().listen());
        parts.spawn(loops.clone().ask());
        parts.spawn(loops.dispatch());
        parts.spawn({
            let (context, stop) = (Arc::clone(&context), stop.clone());
            async move {
                watchdog::feed(&context, &pulse, stop).await;
                Ok(())
            }
        });
        let failure = match announce(&context, address, &sweeps.scheduler).await {
            Ok(()) => loop {
                tokio::select! {
                    // First: parts end because of the stop.
                    biased;
                    () = stop.cancelled() => break None,
                    error = context.store.failed() => break Some(error.into()),
                    error = failed.recv() => {
                        break error.map(|error| anyhow!(error).context("the daemon stopped"));
                    }
                    ended = parts.join_next() => break Some(anyhow!("a part of the daemon ended: {ended:?}")),
                    _ = hangup.recv() => reload::reload(&context, &mut sweeps, &reread).await,
                }
            },
            Err(error) => Some(error),
        };

        tell_systemd(&[NotifyState::Stopping]);
        stop.cancel();
        if let Err(error) = sweeps.scheduler.shutdown().await {
            tracing::warn!(%error, "the scheduler could not be stopped cleanly");
        }
        steps.close();
        let ended = async {
            while parts.join_next().await.is_some() {}
            steps.wait().await;
        };
        if tokio::time::timeout(GOODBYE, ended).await.is_err() {
            tracing::warn!(seconds = GOODBYE.as_secs(), "something was still under way and was cut off");
        }
        context.close().await;
        if let Some(error) = failure {
            return Err(error);
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Starts the schedule and says that everything is up.
async fn announce(context: &Context, http: SocketAddr, scheduler: &JobScheduler) -> anyhow::Result<()> {
    scheduler.start().await?;
    context.bells.sweep.notify_one();
    context.bells.prune.notify_one();
    tell_systemd(&[NotifyState::Ready, NotifyState::Status("watching")]);
    let accounts = context.store.accounts().await?.len();
    tracing::info!(
        http.listen = %http,
        poll.schedule = context.config.poll.schedule.as_str(),
        accounts,
        "running"
    );
    Ok(())
}

/// Cron in UTC that only rings a bell.
async fn schedule(context: &Arc<Context>) -> anyhow::Result<Sweeps> {
    let scheduler = JobScheduler::new().await?;
    let ringer = Arc::clone(context);
    let schedule = context.config.poll.schedule.as_str().to_owned();
    let bell = Job::new(schedule.as_str(), move |_, _| ringer.bells.sweep.notify_one())?;
    let job = scheduler.add(bell).await?;
    let ringer = Arc::clone(context);
    scheduler.add(Job::new(TIDY, move |_, _| ringer.bells.prune.notify_one())?).await?;
    let ringer = Arc::clone(context);
    scheduler.add(Job::new(ALERT, move |_, _| ringer.bells.notifier.notify_one())?).await?;
    Ok(Sweeps { scheduler, job, schedule })
}

/// How everything stands, in a line for `systemctl status`.
async fn in_short(context: &Context) -> Result<String, StoreError> {
    let (mut active, mut lost) = (0, 0);
    for account in context.store.accounts().await? {
        active += usize::from(account.is_active());
        lost += usize::from(account.state() == "needs_authorization");
    }
    let waiting = context.store.waiting_count().await?;
    let troubles = match (lost, context.notifier.standing().await?.len()) {
        (0, 0) => "all is well".to_owned(),
        (0, alerts) => format!("alerts: {alerts} (jobber-reviewd status)"),
        (lost, _) => format!("accounts that need a new link: {lost} (jobber-reviewd status)"),
    };
    Ok(format!("watching {}; candidates waiting: {waiting}; {troubles}", counted(active, "account")))
}

/// Tells systemd, if it is there. A socket that does not take the message is systemd's to notice.
fn tell_systemd(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd could not be notified");
    }
}

/// The loops.
#[derive(Clone)]
struct Loops {
    context: Arc<Context>,
    stop: CancellationToken,
    steps: TaskTracker,
    pulse: Arc<Pulse>,
    fail: mpsc::UnboundedSender<StoreError>,
}

impl Loops {
    async fn sweep(self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = self.context.bells.sweep.notified() => {}
            }
            self.start(|context| async move {
                let accounts = context.store.accounts().await?;
                let swept = context.poller.poll_once(accounts, Effect::Apply, &no_progress).await?;
                tracing::debug!(accounts = swept.len(), "swept");
                if context.watcher.watch_once(context.store.accounts().await?).await? > 0 {
                    context.bells.delivery.notify_one();
                }
                context.bells.recheck.notify_one();
                context.bells.notifier.notify_one();
                Ok(())
            });
        }
    }

    async fn alert(self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = self.context.bells.notifier.notified() => {}
            }
            self.pulse.bell.now();
            self.start(|context| async move {
                context.notifier.notify_once().await?;
                tell_systemd(&[NotifyState::Status(&in_short(&context).await?)]);
                Ok(())
            });
        }
    }

    async fn listen(self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = self.context.bells.inbox.notified() => {}
                // What waited for Jobber to answer again.
                () = tokio::time::sleep(LOOK) => {}
            }
            if !self.context.store.has_follow_ups().await? {
                continue;
            }
            self.start(|context| async move {
                let followed = context.inbox.follow_up_once().await?;
                if !followed.sweep.is_empty() {
                    context.bells.sweep.notify_one();
                }
                if followed.told > 0 {
                    context.bells.delivery.notify_one();
                }
                if followed.candidates > 0 {
                    context.bells.recheck.notify_one();
                }
                Ok(())
            });
        }
    }

    async fn tidy(self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = self.context.bells.prune.notified() => {}
            }
            self.start(|context| async move {
                context.store.keep_tally().await?;
                let forgotten =
                    context.store.prune(context.clock.now(), context.config.store.retention.0).await?;
                if forgotten > 0 {
                    tracing::info!(entries = forgotten, "deleted entries older than store.retention");
                }
                Ok(())
            });
        }
    }

    async fn ask(self) -> anyhow::Result<()> {
        while self.due(&self.pulse.recheck, &self.context.bells.recheck, Store::next_candidate_due).await? {
            self.start(|context| async move {
                context.rechecker.recheck_once(None).await?;
                context.bells.delivery.notify_one();
                Ok(())
            });
        }
        Ok(())
    }

    async fn dispatch(self) -> anyhow::Result<()> {
        while self.due(&self.pulse.delivery, &self.context.bells.delivery, Store::next_message_due).await? {
            self.start(|context| async move {
                if !context.deliverer.deliver_once(None).await?.is_empty() {
                    // Of each account it took some; there may be more.
                    context.bells.delivery.notify_one();
                }
                Ok(())
            });
        }
        Ok(())
    }

    /// Waits for the bell or for what is due next, and until something is due; `false` when it is time to stop.
    async fn due(
        &self,
        beat: &Beat,
        bell: &Notify,
        next: impl AsyncFn(&Store) -> Result<Option<Timestamp>, StoreError>,
    ) -> Result<bool, StoreError> {
        let mut wait = LOOK_AGAIN;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(false),
                () = bell.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
            beat.now();
            wait = LOOK;
            if let Some(at) = next(&self.context.store).await? {
                let until = self.context.clock.sleep_until(at);
                if until.is_zero() {
                    return Ok(true);
                }
                wait = LOOK.min(until);
            }
        }
    }

    /// Starts a step in a task of its own. A store that cannot be relied upon ends the daemon.
    fn start<F>(&self, step: impl Fn(Arc<Context>) -> F)
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let (step, fail) = (step(Arc::clone(&self.context)), self.fail.clone());
        self.steps.spawn(async move {
            if let Err(error) = step.await {
                tracing::error!(%error, "a step failed");
                if error.is_fatal() {
                    // Nobody listens any more when the daemon is ending already.
                    let _ending = fail.send(error);
                }
            }
        });
    }
}
