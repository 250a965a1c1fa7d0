//! Feeds systemd's watchdog while the daemon works: its loops run, and its store writes, flushes and reads
//! back. A daemon that hangs is killed and restarted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// The loops with a timer of their own run every few seconds.
const LOOKS: Duration = Duration::from_mins(1);

/// The scheduler rings at least once a minute.
const RINGS: Duration = Duration::from_mins(3);

#[derive(Debug)]
pub(super) struct Pulse {
    pub(super) recheck: Beat,
    pub(super) delivery: Beat,
    pub(super) bell: Beat,
}

#[derive(Debug)]
pub(super) struct Beat(Mutex<Instant>);

impl Beat {
    fn new(at: Instant) -> Self {
        Self(Mutex::new(at))
    }

    pub(super) fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(*self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Pulse {
    pub(super) fn new(at: Instant) -> Self {
        Self { recheck: Beat::new(at), delivery: Beat::new(at), bell: Beat::new(at) }
    }

    /// A loop that has not run for too long.
    fn stuck(&self, now: Instant) -> Option<&'static str> {
        [
            ("the recheck loop", &self.recheck, LOOKS),
            ("the delivery loop", &self.delivery, LOOKS),
            ("the scheduler", &self.bell, RINGS),
        ]
        .into_iter()
        .find_map(|(name, beat, patience)| (beat.since(now) > patience).then_some(name))
    }
}

pub(super) async fn feed(context: &Context, pulse: &Pulse, stop: CancellationToken) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return stop.cancelled().await };
    let every = patience / 3;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        if let Some(name) = pulse.stuck(Instant::now()) {
            tracing::error!(part = name, "this part no longer runs: systemd is not notified");
            continue;
        }
        if context.sweeps.is_stalled() {
            tracing::error!("no account is read although sweeps are due: systemd is not notified");
            continue;
        }
        match tokio::time::timeout(every, context.store.probe(context.clock.now())).await {
            Ok(Ok(())) => super::tell_systemd(&[NotifyState::Watchdog]),
            Ok(Err(error)) => tracing::error!(%error, "the store does not answer: systemd is not notified"),
            Err(_) => tracing::error!("the store does not answer in time: systemd is not notified"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stands_still_is_named() {
        let begun = Instant::now();
        let pulse = Pulse::new(begun);
        let after = |seconds| pulse.stuck(begun + Duration::from_secs(seconds));
        assert_eq!(after(60), None);
        assert_eq!(after(61), Some("the recheck loop"));
        *pulse.recheck.0.lock().unwrap() = begun + Duration::from_secs(100);
        *pulse.delivery.0.lock().unwrap() = begun + Duration::from_secs(150);
        assert_eq!(after(155), None);
        assert_eq!(after(170), Some("the recheck loop"));
        *pulse.recheck.0.lock().unwrap() = begun + Duration::from_secs(150);
        assert_eq!(after(181), Some("the scheduler"));
    }
}
