//! Runs a verb in the daemon, through its control socket, or in this process on the store itself.

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::exit::{Stop, status_of_store};
use crate::clock::SystemClock;
use crate::config::{Config, Secrets};
use crate::context::Context;
use crate::daemon::stop_on_signal;
use crate::ops::Told;
use crate::ops::protocol::{Refusal, Scene, Verb};
use crate::server::control::{self, CallError};
use crate::store::{IfMissing, Store, StoreError};

/// How often a locked store is tried again: its daemon may be starting or stopping.
const TRIES: u32 = 20;

const BETWEEN: Duration = Duration::from_millis(150);

pub(super) type Hear<'h> = dyn FnMut(Told) -> std::io::Result<()> + Send + 'h;

pub(super) async fn ask<V: Verb>(config: Option<&Path>, verb: &V) -> Result<V::Reply, Stop> {
    let config = Config::load(config).map_err(Stop::usage)?;
    let bar = progress_bar();
    let mut hear = |told| {
        if let Told::Progress { done, of } = told {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        }
        Ok(())
    };
    let reply = reach(&config, verb, &mut hear).await;
    bar.finish_and_clear();
    reply
}

pub(super) async fn reach<V: Verb>(config: &Config, verb: &V, hear: &mut Hear<'_>) -> Result<V::Reply, Stop> {
    let mut secrets = None;
    let mut in_the_way = StoreError::Locked { path: config.store.path.clone() };
    for _ in 0..TRIES {
        match control::call(&config.control.socket, verb, hear).await {
            Ok(reply) => return reply.map_err(Stop::from),
            Err(CallError::NoDaemon(_)) => {}
            Err(error @ CallError::Forbidden(_)) => return Err(Stop::usage(error)),
            Err(error @ CallError::Broken(_)) => {
                return Err(Stop { is_cut_off: true, ..Stop::failed(error) });
            }
            Err(error @ CallError::Unheard(_)) => return Err(Stop::failed(error)),
        }
        let secrets = match &secrets {
            Some(secrets) => secrets,
            None => secrets.insert(Secrets::load(config).map_err(|error| {
                Stop::usage(format!(
                    "no daemon is running, and without it this verb needs the secrets: {error}"
                ))
            })?),
        };
        match open(config, secrets).await? {
            Ok(store) => {
                let context = Context::new(config.clone(), secrets, store, Arc::new(SystemClock))
                    .map_err(Stop::failed)?;
                stop_on_signal(context.stop.clone()).map_err(Stop::failed)?;
                let reply = carry_out_here(&context, verb.clone(), hear).await;
                context.close().await;
                return reply;
            }
            // The daemon that holds it is not listening yet, or no longer; or it runs elsewhere.
            Err(error @ (StoreError::Locked { .. } | StoreError::Held { .. })) => {
                in_the_way = error;
                tokio::time::sleep(BETWEEN).await;
            }
            Err(error) => {
                return Err(Stop::new(status_of_store(Some(&error)), error));
            }
        }
    }
    if matches!(in_the_way, StoreError::Held { .. }) {
        return Err(Stop::failed(in_the_way));
    }
    Err(Stop::usage(format!(
        "{in_the_way}; no daemon answers on control.socket {}: check that store.path and control.socket belong to the same daemon",
        config.control.socket.display()
    )))
}

async fn open(config: &Config, secrets: &Secrets) -> Result<Result<Store, StoreError>, Stop> {
    let (place, key) = (config.place().map_err(Stop::usage)?, secrets.store_key.clone());
    let opened = tokio::task::spawn_blocking(move || Store::open_in(&place, &key, IfMissing::Refuse)).await;
    opened.map_err(Stop::failed)
}

async fn carry_out_here<V: Verb>(context: &Context, verb: V, hear: &mut Hear<'_>) -> Result<V::Reply, Stop> {
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let carried_out = verb.run(Scene { context, is_daemon: false, tell });
    tokio::pin!(carried_out);
    loop {
        tokio::select! {
            biased;
            Some(told) = told.recv() => hear(told).map_err(|error| Stop::failed(CallError::Unheard(error)))?,
            reply = &mut carried_out => {
                while let Ok(told) = told.try_recv() {
                    hear(told).map_err(|error| Stop::failed(CallError::Unheard(error)))?;
                }
                return reply.map_err(|error| Stop::from(Refusal::from(error)));
            }
        }
    }
}

fn progress_bar() -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(None, target);
    match ProgressStyle::with_template("sweeping {wide_bar} {pos}/{len} accounts") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
