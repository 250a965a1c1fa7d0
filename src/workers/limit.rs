//! How much may be under way at once: more while it goes well, half as much while it fails.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Below this it is never halved.
const LEAST: f64 = 8.0;

/// How much one outcome counts among the last ones.
const WEIGHT: f64 = 1.0 / 16.0;

#[derive(Debug)]
pub(crate) struct Limit {
    state: Mutex<State>,
    freed: Notify,
    most: f64,
}

#[derive(Debug)]
struct State {
    allowed: f64,
    busy: usize,
    /// The share of failures among the last outcomes.
    failing: f64,
    /// Whether it was halved before. Until then it doubles, afterwards it grows by one at a time.
    was_halved: bool,
}

/// A place among what is under way. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Limit>);

impl Limit {
    /// Begins with `begin`, and grows to `most`.
    pub(crate) fn new(begin: usize, most: usize) -> Arc<Self> {
        let most = as_f64(most.max(1));
        let state =
            State { allowed: as_f64(begin.max(1)).min(most), busy: 0, failing: 0.0, was_halved: false };
        Arc::new(Self { state: Mutex::new(state), freed: Notify::new(), most })
    }

    /// Waits for a place.
    pub(crate) async fn turn(self: &Arc<Self>) -> Turn {
        loop {
            let freed = self.freed.notified();
            {
                let mut state = self.lock();
                if as_f64(state.busy) < state.allowed.floor() {
                    state.busy += 1;
                    if as_f64(state.busy) < state.allowed.floor() {
                        // There is room for another one.
                        self.freed.notify_one();
                    }
                    return Turn(Arc::clone(self));
                }
            }
            freed.await;
        }
    }

    pub(crate) fn went_well(&self) {
        let mut state = self.lock();
        state.failing -= state.failing * WEIGHT;
        let more = if state.was_halved { 1.0 / state.allowed } else { 1.0 };
        state.allowed = (state.allowed + more).min(self.most);
        drop(state);
        self.freed.notify_one();
    }

    /// Notes a failure. A few among many change nothing.
    pub(crate) fn failed(&self) {
        let mut state = self.lock();
        state.failing += (1.0 - state.failing) * WEIGHT;
        if state.failing > 0.5 {
            state.allowed = (state.allowed / 2.0).max(LEAST.min(self.most));
            state.failing = 0.25;
            state.was_halved = true;
        }
    }

    /// Whether many failed lately.
    pub(crate) fn is_failing(&self) -> bool {
        self.lock().failing >= 0.25
    }

    #[cfg(test)]
    fn allowed(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is small and positive"
        )]
        let allowed = self.lock().allowed as usize;
        allowed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.lock().busy -= 1;
        self.0.freed.notify_one();
    }
}

#[expect(clippy::cast_precision_loss, reason = "places are few")]
fn as_f64(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn places_are_given_once_and_come_back() {
        let limit = Limit::new(2, 2);
        let (one, _two) = (limit.turn().await, limit.turn().await);
        let mut third = Box::pin(limit.turn());
        assert!(third.as_mut().now_or_never().is_none());
        drop(one);
        third.await;
    }

    #[tokio::test]
    async fn it_grows_while_it_goes_well_and_halves_while_it_fails() {
        let limit = Limit::new(8, 64);
        for _ in 0..100 {
            limit.went_well();
        }
        assert_eq!(limit.allowed(), 64);
        for _ in 0..8 {
            limit.failed();
        }
        assert_eq!(limit.allowed(), 64, "a few failures are an accident");
        for _ in 0..8 {
            limit.failed();
        }
        assert_eq!(limit.allowed(), 32);
        for _ in 0..100 {
            limit.failed();
        }
        assert_eq!(limit.allowed(), 8, "something is always tried");
        for _ in 0..200 {
            limit.went_well();
        }
        assert!((16..32).contains(&limit.allowed()), "it grows slowly now: {}", limit.allowed());
    }

    #[tokio::test]
    async fn one_failure_in_four_halves_nothing() {
        let limit = Limit::new(64, 64);
        for number in 0..1000 {
            if number % 4 == 0 { limit.failed() } else { limit.went_well() }
        }
        assert_eq!(limit.allowed(), 64);
    }

    #[tokio::test]
    async fn more_places_wake_those_who_wait() {
        let limit = Limit::new(1, 4);
        let _one = limit.turn().await;
        let waiting = tokio::spawn({
            let limit = Arc::clone(&limit);
            async move { (limit.turn().await, limit.turn().await) }
        });
        tokio::task::yield_now().await;
        limit.went_well();
        limit.went_well();
        waiting.await.unwrap();
    }
}
