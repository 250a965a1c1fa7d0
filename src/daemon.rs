//! The daemon: its parts, listeners, loops and signals.
//!
//! The scheduler and the listeners only ring bells. Each loop waits for its bell or for the next due item,
//! and then starts the step in its own task. A step skips what an earlier one is still working on, so a slow
//! account or receiver delays nobody and nothing is begun twice.
//!
//! A failure of the store ends the daemon, because it must not act on data that may be lost. Steps handle all
//! other errors themselves.

mod clock_watch;
mod listeners;
mod reload;
mod standby;
mod systemd;
mod watchdog;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

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
use crate::domain::model::{Account, AccountId};
use crate::ops::rules::{react_once, recall_troubles};
use crate::server::control::{Control, Worker};
use crate::server::relayed;
use crate::store::{DueTimes, IfMissing, Store, StoreError};
use crate::workers::forwarding::SETTLES;
use crate::workers::pool::{Effect, no_progress};
use crate::workers::spread::{Rhythm, Turns};
use clock_watch::ClockWatch;
use listeners::{Listeners, Sockets, bind_control};
use reload::Sweeps;
use standby::{Opened, Standby};
use systemd::{in_short, tell_systemd};
use watchdog::{Beat, Pulse};

pub use reload::Reread;

/// How long steps may take to end after the signal. A request to a receiver takes at most 15 s. An
/// interrupted read is harmless. A token refresh is not interrupted: the daemon waits up to another 30 s for
/// it.
const GOODBYE: Duration = Duration::from_secs(20);

/// How long requests may then take that were passed on before this daemon worked.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// The hourly schedule of the store's tally and of pruning. A crash loses at most an hour of the tally.
const TIDY: &str = "0 0 * * * *";

const ALERT: &str = "30 * * * * *";

/// How long a loop waits if nothing is due. It limits the effect of a missed bell.
const LOOK: Duration = Duration::from_secs(5);

/// How long a loop waits if due items were left over, because their account pauses or their receiver is gone. It
/// doubles while nothing can move: a look costs as much as there are items.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const LOOK_AGAIN_AT_MOST: Duration = Duration::from_secs(16);

#[derive(Debug)]
pub struct Daemon {
    context: Arc<Context>,
    listeners: Listeners,
    control: Arc<Control>,
    scheduler: Schedule,
    /// What it passed on before it worked may still be under way.
    standby: Option<Standby>,
}

struct Schedule(Sweeps);

impl std::fmt::Debug for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Schedule")
    }
}

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
    /// Opens the store and binds the listeners, in this order unless another daemon works with the store. `None` if it was
    /// stopped meanwhile. An already bound listener replaces `http.listen`.
    pub async fn prepare(
        config: Config,
        secrets: &Secrets,
        clock: SharedClock,
        listener: Option<TcpListener>,
        if_missing: IfMissing,
    ) -> anyhow::Result<Option<Self>> {
        // While it stands by, a reload is for nobody, and ends nothing.
        let _hangup = signal(SignalKind::hangup())?;
        let handed = listener.map(Arc::new);
        let Opened { store, mut standby, stopped } =
            standby::open(&config, secrets, handed.clone(), if_missing).await?;
        let Some(store) = store else { return Ok(None) };
        let context = Arc::new(Context::new(config, secrets, store, clock)?);
        context.note_clock().await?;
        recall_troubles(&context).await?;
        // A signal that came while it stood by counts.
        let stop = context.stop.clone();
        tokio::spawn(async move {
            stopped.cancelled().await;
            stop.cancel();
        });
        let bound = standby.as_mut().map(|standby| standby.end(&context.config)).transpose()?;
        let (sockets, control) = if let Some(bound) = bound.flatten() {
            bound
        } else {
            let sockets = Sockets::bind(&context.config, handed).await?;
            (sockets, Arc::new(bind_control(&context.config)?))
        };
        let listeners = Listeners::new(&context, sockets).await?;
        let scheduler = schedule(&context, context.config.poll.schedule.as_str())
            .await
            .context("the scheduler cannot be set up")?;
        Ok(Some(Self { context, listeners, control, scheduler: Schedule(scheduler), standby }))
    }

    #[cfg(feature = "demo")]
    pub fn context(&self) -> Arc<Context> {
        Arc::clone(&self.context)
    }

    pub fn stop(&self) -> CancellationToken {
        self.context.stop.clone()
    }

    /// Runs until it is stopped, then ends running work and closes the store. SIGHUP reloads the settings.
    pub async fn run(self, reread: Reread) -> anyhow::Result<()> {
        let Self { context, listeners, control, scheduler: Schedule(mut sweeps), standby } = self;
        let (stop, address) = (context.stop.clone(), listeners.address()?);
        let steps = TaskTracker::new();
        let (fail, mut failed) = mpsc::unbounded_channel();
        let pulse = Arc::new(Pulse::new(Instant::now()));
        let mut hangup = signal(SignalKind::hangup())?;
        let loops = Loops {
            context: Arc::clone(&context),
            stop: stop.clone(),
            steps: steps.clone(),
            pulse: Arc::clone(&pulse),
            fail,
        };

        let mut parts = JoinSet::new();
        if let Some(answerer) = context.store.answerer() {
            let (doors, context) = (listeners.doors(), Arc::clone(&context));
            let (stop, steps) = (stop.clone(), steps.clone());
            parts.spawn(async move {
                relayed::answer(answerer, doors, context, stop, &steps).await;
                Ok(())
            });
        }
        listeners.run(&mut parts, &stop);
        parts.spawn({
            let (context, stop, steps) = (Arc::clone(&context), stop.clone(), steps.clone());
            async move {
                control.run(Worker::Here(context), stop, &steps).await;
                Ok(())
            }
        });
        parts.spawn(loops.clone().sweep());
        parts.spawn(loops.clone().tidy());
        parts.spawn(loops.clone().alert());
        parts.spawn(loops.clone().subscribe());
        parts.spawn(loops.clone().listen());
        parts.spawn(loops.clone().react());
        parts.spawn(loops.clone().forward());
        parts.spawn(loops.clone().ask());
        parts.spawn(loops.dispatch());
        parts.spawn({
            let (context, stop) = (Arc::clone(&context), stop.clone());
            async move {
                watchdog::feed(&context, &pulse, stop).await;
                Ok(())
            }
        });
        let mut watch = ClockWatch::new(context.clock.now(), Instant::now());
        let failure = match announce(&context, address, &sweeps.scheduler).await {
            Ok(()) => loop {
                tokio::select! {
                    // First, because parts end after the stop.
                    biased;
                    () = stop.cancelled() => break None,
                    error = context.store.failed() => break Some(error.into()),
                    error = failed.recv() => {
                        break error.map(|error| anyhow!(error).context("the daemon stopped"));
                    }
                    ended = parts.join_next() => break Some(anyhow!("a part of the daemon ended: {ended:?}")),
                    _ = hangup.recv() => reload::reload(&context, &mut sweeps, &reread).await,
                    () = tokio::time::sleep(clock_watch::EVERY) => {
                        if watch.went_back(context.clock.now(), Instant::now())
                            && let Err(error) = go_on_after_a_step_back(&context, &mut sweeps).await
                        {
                            break Some(error);
                        }
                    }
                }
            },
            Err(error) => Some(error),
        };

        stop.cancel();
        wind_down(&context, &mut sweeps, parts, &steps).await;
        if let Some(standby) = standby {
            // Whoever works next may answer it.
            standby.leave(LAST_ANSWERS).await;
        }
        if let Some(error) = failure {
            return Err(error);
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// The clock went back: a schedule that waits for the old time would oversleep, so it begins anew, and what was put off
/// by the old time is due.
async fn go_on_after_a_step_back(context: &Arc<Context>, sweeps: &mut Sweeps) -> anyhow::Result<()> {
    context.clock_went_back().await?;
    let fresh = schedule(context, &sweeps.schedule).await?;
    fresh.scheduler.start().await?;
    let mut old = std::mem::replace(sweeps, fresh);
    if let Err(error) = old.scheduler.shutdown().await {
        tracing::warn!(%error, "the old schedule could not be stopped cleanly");
    }
    Ok(())
}

/// Lets what is under way come to its end, and closes the store.
async fn wind_down(
    context: &Context,
    sweeps: &mut Sweeps,
    mut parts: JoinSet<anyhow::Result<()>>,
    steps: &TaskTracker,
) {
    tell_systemd(&[NotifyState::Stopping]);
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
}

async fn announce(context: &Context, http: SocketAddr, scheduler: &JobScheduler) -> anyhow::Result<()> {
    scheduler.start().await?;
    context.bells.sweep.notify_one();
    context.bells.prune.notify_one();
    tell_systemd(&[NotifyState::Ready, NotifyState::Status("watching")]);
    let accounts = context.store.account_ids().await?.len();
    tracing::info!(
        http.listen = %http,
        poll.schedule = context.config.poll.schedule.as_str(),
        accounts,
        "running"
    );
    Ok(())
}

async fn schedule(context: &Arc<Context>, when: &str) -> anyhow::Result<Sweeps> {
    let scheduler = JobScheduler::new().await?;
    let ringer = Arc::clone(context);
    let schedule = when.to_owned();
    let bell = Job::new(schedule.as_str(), move |_, _| ringer.bells.schedule.notify_one())?;
    let job = scheduler.add(bell).await?;
    let ringer = Arc::clone(context);
    scheduler.add(Job::new(TIDY, move |_, _| ringer.bells.prune.notify_one())?).await?;
    let ringer = Arc::clone(context);
    scheduler.add(Job::new(ALERT, move |_, _| ringer.bells.notifier.notify_one())?).await?;
    Ok(Sweeps { scheduler, job, schedule })
}

/// Sweeps some accounts as they are now.
async fn poll(context: Arc<Context>, ids: Vec<AccountId>) -> Result<(), StoreError> {
    let swept = context.poller.poll_once(ids, Effect::Apply, &no_progress).await?;
    tracing::debug!(accounts = swept.len(), "swept");
    context.bells.recheck.notify_one();
    Ok(())
}

/// How long a loop waits before it looks again at what was left over.
#[derive(Debug, Default)]
struct Patience(AtomicU32);

impl Patience {
    /// Notes whether the last look moved anything.
    fn note(&self, has_moved: bool) {
        let looks = self.0.load(Ordering::Relaxed);
        self.0.store(if has_moved { 0 } else { looks.saturating_add(1) }, Ordering::Relaxed);
    }

    fn wait(&self) -> Duration {
        let in_vain = self.0.load(Ordering::Relaxed).min(8);
        LOOK_AGAIN.saturating_mul(1 << in_vain).min(LOOK_AGAIN_AT_MOST)
    }
}

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
        let mut rhythm = Rhythm::default();
        loop {
            let over = tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = self.context.bells.sweep.notified() => Duration::ZERO,
                () = self.context.bells.schedule.notified() => rhythm.ring(tokio::time::Instant::now()),
            };
            self.start(move |context| async move {
                let note = |(any, mut ids): (bool, Vec<AccountId>), account: Account| {
                    let any = any || account.is_active();
                    ids.push(account.id);
                    (any, ids)
                };
                let (any_is_active, ids) = context.store.fold_accounts((false, Vec::new()), note).await?;
                if any_is_active {
                    context.sweeps.is_due(Instant::now());
                }
                let (mut turns, mut polls) = (Turns::new(ids, over), JoinSet::new());
                while let Some(ids) = turns.next(&context.stop).await {
                    // Those of the next turn do not wait for the slowest of this one.
                    polls.spawn(poll(Arc::clone(&context), ids));
                }
                while let Some(polled) = polls.join_next().await {
                    match polled {
                        Ok(polled) => polled?,
                        Err(panic) => tracing::error!(%panic, "a part of a sweep was cut off"),
                    }
                }
                if context.watcher.watch_once(context.store.account_ids().await?).await? > 0 {
                    context.bells.delivery.notify_one();
                }
                if context.gaps.fill_once(context.store.account_ids().await?).await? > 0 {
                    context.bells.forwarding.notify_one();
                    context.bells.rules.notify_one();
                }
                context.bells.recheck.notify_one();
                context.bells.notifier.notify_one();
                context.bells.subscriptions.notify_one();
                Ok(())
            });
        }
    }

    /// Keeps Jobber's webhooks as they are needed. Only changes cost requests.
    async fn subscribe(self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = self.context.bells.subscriptions.notified() => {}
            }
            self.start(|context| async move { context.subscriber.subscribe_once().await.map(drop) });
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
                context.notifier.digest_once().await?;
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
                // Items that wait for Jobber to answer again.
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
                if followed.again {
                    // The bell for it found the account under way.
                    context.bells.inbox.notify_one();
                }
                Ok(())
            });
        }
    }

    /// Forwards events, in a step of its own: asks never wait for it. New events ring no bell, because each waits a moment
    /// anyway.
    async fn forward(self) -> anyhow::Result<()> {
        let mut wait = SETTLES.unsigned_abs();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = self.context.bells.forwarding.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
            if !self.context.store.has_forwards().await? {
                wait = SETTLES.unsigned_abs();
                continue;
            }
            wait = SETTLES.unsigned_abs() / 4;
            self.start(|context| async move {
                if context.forwarder.forward_once().await? > 0 {
                    context.bells.delivery.notify_one();
                    // Each step takes only some events per account, so there may be more.
                    context.bells.forwarding.notify_one();
                }
                Ok(())
            });
        }
    }

    /// Carries out rules, soon after what they wait for.
    async fn react(self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = self.context.bells.rules.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            self.start(|context| async move { react_once(&context, None).await.map(drop) });
        }
    }

    async fn tidy(self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = self.context.bells.prune.notified() => {}
            }
            self.start(|context| async move { context.tidy().await.map(drop) });
        }
    }

    async fn ask(self) -> anyhow::Result<()> {
        let patience = Arc::new(Patience::default());
        let (beat, bell) = (&self.pulse.recheck, &self.context.bells.recheck);
        while self.due(beat, bell, &patience, Store::candidates_due).await? {
            let patience = Arc::clone(&patience);
            self.start(move |context| async move {
                patience.note(!context.rechecker.recheck_once(None).await?.is_empty());
                context.bells.delivery.notify_one();
                Ok(())
            });
        }
        Ok(())
    }

    async fn dispatch(self) -> anyhow::Result<()> {
        let patience = Arc::new(Patience::default());
        let (beat, bell) = (&self.pulse.delivery, &self.context.bells.delivery);
        while self.due(beat, bell, &patience, Store::messages_due).await? {
            let patience = Arc::clone(&patience);
            self.start(move |context| async move {
                let has_moved = !context.deliverer.deliver_once(None).await?.is_empty();
                patience.note(has_moved);
                if has_moved {
                    context.bells.rules.notify_one();
                    // Each step takes only some messages per account, so there may be more.
                    context.bells.delivery.notify_one();
                }
                Ok(())
            });
        }
        Ok(())
    }

    /// Waits for the bell or the next due item, until something is due. `false` when it is time to stop.
    async fn due(
        &self,
        beat: &Beat,
        bell: &Notify,
        patience: &Patience,
        times: impl AsyncFn(&Store, Timestamp) -> Result<DueTimes, StoreError>,
    ) -> Result<bool, StoreError> {
        let mut has_waited = Duration::ZERO;
        loop {
            let clock = &self.context.clock;
            let due = times(&self.context.store, clock.now()).await?;
            let left_over = patience.wait().saturating_sub(has_waited);
            if due.is_overdue && left_over.is_zero() {
                return Ok(true);
            }
            let mut wait = LOOK;
            if due.is_overdue {
                wait = wait.min(left_over);
            }
            if let Some(at) = due.upcoming {
                wait = wait.min(clock.sleep_until(at));
            }
            let begun = Instant::now();
            let has_come = tokio::select! {
                () = self.stop.cancelled() => return Ok(false),
                () = bell.notified() => true,
                () = tokio::time::sleep(wait) => due.upcoming.is_some_and(|at| at <= clock.now()),
            };
            beat.now();
            has_waited += begun.elapsed();
            if has_come && times(&self.context.store, clock.now()).await?.is_overdue {
                return Ok(true);
            }
        }
    }

    /// Starts a step in its own task. A fatal error of the store ends the daemon.
    fn start<F>(&self, step: impl FnOnce(Arc<Context>) -> F)
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let (step, fail) = (step(Arc::clone(&self.context)), self.fail.clone());
        self.steps.spawn(async move {
            if let Err(error) = step.await {
                tracing::error!(%error, "a step failed");
                if error.is_fatal() {
                    // During shutdown the receiver is gone.
                    let _ending = fail.send(error);
                }
            }
        });
    }
}
