//! What a daemon does while another one works with the store: it passes on what it is asked (`server/relay.rs`), so that
//! a load balancer and an operator need not know which one works.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listeners::{Sockets, bind_control};
use super::systemd::{stand_by, tell_systemd};
use super::{GOODBYE, stop_on_signal};
use crate::config::{Config, Secrets};
use crate::server::control::{Control, Worker};
use crate::store::{Asker, IfMissing, Place, Store};
use crate::store_key::StoreKey;

/// How long an attempt to open the store may still take after the stop. It may be in the middle of an upgrade, which then
/// begins anew.
const PATIENCE_AFTER_STOP: Duration = Duration::from_secs(5);

/// Opens the store. As long as another daemon works with it, this one passes on what it is asked.
pub(super) async fn open(
    config: &Config,
    secrets: &Secrets,
    handed: Option<Arc<TcpListener>>,
    if_missing: IfMissing,
) -> anyhow::Result<Opened> {
    let (place, key) = (config.place()?, secrets.store_key.clone());
    let ((waits, mut waiting), stopped) = (oneshot::channel(), CancellationToken::new());
    let mut opening = tokio::task::spawn_blocking({
        let (place, key, mut waits, stopped) = (place.clone(), key.clone(), Some(waits), stopped.clone());
        move || {
            Store::wait_for(&place, &key, if_missing, |why| {
                stand_by(why);
                let _gone = waits.take().map(|waits| waits.send(()));
                !stopped.is_cancelled()
            })
        }
    });
    let has_to_wait = tokio::select! {
        biased;
        opened = &mut opening => return Ok(Opened { store: Some(opened??), standby: None, stopped }),
        has_to_wait = &mut waiting => has_to_wait.is_ok(),
    };
    if !has_to_wait {
        return Ok(Opened { store: Some(opening.await??), standby: None, stopped });
    }
    stop_on_signal(stopped.clone())?;
    let standby = Standby::begin(config, &place, &key, handed).await;
    let opened = tokio::select! {
        opened = &mut opening => Some(opened?),
        () = stopped_for(&stopped, PATIENCE_AFTER_STOP) => None,
    };
    let standby = match (opened, stopped.is_cancelled()) {
        (Some(opened), false) => return Ok(Opened { store: Some(opened?), standby, stopped }),
        (Some(Ok(store)), true) => {
            store.close().await;
            standby
        }
        (Some(Err(_)) | None, _) => standby,
    };
    tell_systemd(&[NotifyState::Stopping]);
    if let Some(standby) = standby {
        standby.leave(GOODBYE).await;
    }
    Ok(Opened { store: None, standby: None, stopped })
}

async fn stopped_for(stopped: &CancellationToken, time: Duration) {
    stopped.cancelled().await;
    tokio::time::sleep(time).await;
}

/// What came of opening the store.
pub(super) struct Opened {
    /// `None` if the daemon was stopped while it stood by.
    pub(super) store: Option<Store>,
    pub(super) standby: Option<Standby>,
    /// Cancelled by a signal that came while it stood by.
    pub(super) stopped: CancellationToken,
}

pub(super) struct Standby {
    /// `None` if this machine's addresses are taken, as by another daemon on it.
    bound: Option<(Sockets, Arc<Control>)>,
    /// `None` when this daemon works: then its connection is gone as soon as nothing needs it.
    asker: Option<Arc<Asker>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Standby {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standby").finish_non_exhaustive()
    }
}

impl Standby {
    /// Begins to pass on. `None` if nobody can work elsewhere.
    async fn begin(
        config: &Config,
        place: &Place,
        key: &StoreKey,
        handed: Option<Arc<TcpListener>>,
    ) -> Option<Self> {
        let Place::Postgres(address) = place else { return None };
        let (asker, stop, tasks) =
            (Arc::new(Asker::new(address, key)), CancellationToken::new(), TaskTracker::new());
        let bound = bind(config, handed).await;
        if let Some((sockets, control)) = &bound {
            sockets.pass_on(&asker, &stop, &tasks);
            let (control, worker) = (Arc::clone(control), Worker::Elsewhere(Arc::clone(&asker)));
            let (stop, under_way) = (stop.clone(), tasks.clone());
            tasks.spawn(async move { control.run(worker, stop, &under_way).await });
        }
        let keeper = Arc::clone(&asker);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move { keeper.keep().await }));
        Some(Self { bound, asker: Some(asker), stop, tasks })
    }

    /// What is asked from now on is this daemon's own.
    pub(super) fn end(&mut self, config: &Config) -> anyhow::Result<Option<(Sockets, Arc<Control>)>> {
        self.stop.cancel();
        self.asker = None;
        let Some((sockets, control)) = self.bound.take() else { return Ok(None) };
        // Another daemon on this machine may have put its own in the place.
        let control = if control.is_in_place() { control } else { Arc::new(bind_control(config)?) };
        Ok(Some((sockets, control)))
    }

    /// Ends when what was passed on has its answer, and not later than `within`.
    pub(super) async fn leave(self, within: Duration) {
        self.stop.cancel();
        self.tasks.close();
        let ended = async {
            self.tasks.wait().await;
            if let Some(asker) = &self.asker {
                asker.settle().await;
            }
        };
        if tokio::time::timeout(within, ended).await.is_err() {
            tracing::warn!("something was still passed on and was cut off");
        }
    }
}

async fn bind(config: &Config, handed: Option<Arc<TcpListener>>) -> Option<(Sockets, Arc<Control>)> {
    let is_free = match UnixStream::connect(&config.control.socket).await {
        Ok(_) => false,
        Err(error) => matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound),
    };
    if !is_free {
        tracing::info!("another daemon has control.socket: this one passes nothing on");
        return None;
    }
    let bound =
        async { Ok::<_, anyhow::Error>((Sockets::bind(config, handed).await?, bind_control(config)?)) };
    match bound.await {
        Ok((sockets, control)) => Some((sockets, Arc::new(control))),
        Err(error) => {
            tracing::warn!("{error:#}; while this daemon stands by it passes nothing on");
            None
        }
    }
}
