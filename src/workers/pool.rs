//! What all steps share: effects, progress, and the set of work under way.

use std::collections::HashMap;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::limit::{Limit, Turn};

/// Work that takes longer than this gives its place to another.
const SLOW: Duration = Duration::from_secs(2);

/// What a step may do besides reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Store and send.
    Apply,
    /// Neither. Rotated or refused tokens are stored all the same.
    DryRun,
}

/// Reports the progress of a long step: done, total.
pub type Progress = dyn Fn(usize, usize) + Send + Sync;

/// Ignores progress.
pub fn no_progress(_done: usize, _of: usize) {}

/// The keys under way, and whether somebody else wanted to work on each meanwhile.
#[derive(Debug)]
pub(crate) struct InFlight<K: Eq + Hash>(Arc<Mutex<HashMap<K, bool>>>);

impl<K: Eq + Hash + Clone> InFlight<K> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Begins work on `key`, unless it is under way. The work ends when the result is dropped, even by a
    /// panic or a cancelled task.
    pub(crate) fn enter(&self, key: &K) -> Option<Entered<K>> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wanted) = under_way.get_mut(key) {
            *wanted = true;
            return None;
        }
        under_way.insert(key.clone(), false);
        Some(Entered { under_way: Arc::clone(&self.0), key: key.clone() })
    }
}

#[derive(Debug)]
pub(crate) struct Entered<K: Eq + Hash> {
    under_way: Arc<Mutex<HashMap<K, bool>>>,
    key: K,
}

impl<K: Eq + Hash> Entered<K> {
    /// Ends the work. Returns whether somebody else wanted to work on the key meanwhile, and was turned away.
    pub(crate) fn leave(self) -> bool {
        self.end()
    }

    fn end(&self) -> bool {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key).unwrap_or_default()
    }
}

impl<K: Eq + Hash> Drop for Entered<K> {
    fn drop(&mut self) {
        self.end();
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Pool {
    limit: Arc<Limit>,
    at_most: usize,
    /// How long work keeps its place.
    patience: Duration,
    stop: CancellationToken,
}

impl Pool {
    /// For work that shares nothing: what hangs gives its place to another.
    pub(crate) fn new(most: usize, stop: CancellationToken) -> Self {
        Self { limit: Limit::new(most, most), at_most: most.max(1).saturating_mul(2), patience: SLOW, stop }
    }

    /// For work on one neighbour: begins with `begin` at once, and grows to `most` while that goes well.
    pub(crate) fn on_one(begin: usize, most: usize, stop: CancellationToken) -> Self {
        Self { limit: Limit::new(begin, most), at_most: most.max(1), patience: Duration::MAX, stop }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Notes whether the other side did what it was asked.
    pub(crate) fn note(&self, went_well: bool) {
        if went_well { self.limit.went_well() } else { self.limit.failed() }
    }

    /// Works on `items`, each in its own task. After the stop nothing new is begun.
    pub(crate) fn start<I, W, F>(&self, items: Vec<I>, work: W) -> Running<I, W, F::Output>
    where
        W: Fn(I) -> F,
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Running { pool: self.clone(), items: items.into_iter(), work, tasks: JoinSet::new() }
    }
}

/// Running tasks. They make progress while results are taken. Dropping it cancels them.
pub(crate) struct Running<I, W, T> {
    pool: Pool,
    items: std::vec::IntoIter<I>,
    work: W,
    tasks: JoinSet<T>,
}

impl<I, W, F> Running<I, W, F::Output>
where
    W: Fn(I) -> F,
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    /// The next finished result. `None` when all are done. A task that panicked is logged and left out.
    pub(crate) async fn next(&mut self) -> Option<F::Output> {
        loop {
            let has_more = !self.items.as_slice().is_empty() && !self.pool.stop.is_cancelled();
            let limit = Arc::clone(&self.pool.limit);
            tokio::select! {
                turn = limit.turn(), if has_more && self.tasks.len() < self.pool.at_most => self.begin(turn),
                Some(done) = self.tasks.join_next() => match done {
                    Ok(output) => return Some(output),
                    Err(error) => tracing::error!(%error, "a task failed"),
                },
                else => return None,
            }
        }
    }

    fn begin(&mut self, turn: Turn) {
        let Some(item) = self.items.next() else { return };
        let (work, patience) = ((self.work)(item), self.pool.patience);
        let limit = Arc::clone(&self.pool.limit);
        self.tasks.spawn(async move {
            let mut work = std::pin::pin!(work);
            tokio::select! {
                output = &mut work => output,
                () = tokio::time::sleep(patience) => {
                    // Unless everything hangs.
                    let _kept = limit.is_failing().then_some(turn);
                    work.await
                }
            }
        });
    }
}

/// A panic, caught.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Panicked {
    pub(crate) words: String,
}

/// Runs `work`, and turns its panic into a value: it must cost only the record that caused it.
pub(crate) async fn guarded<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        // After a panic the future is not polled again.
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(cause) => {
                let words = cause.downcast_ref::<&str>().map(|words| (*words).to_owned());
                let words = words.or_else(|| cause.downcast_ref::<String>().cloned());
                Poll::Ready(Err(Panicked { words: words.unwrap_or_else(|| "no words".to_owned()) }))
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_key_is_entered_once_until_it_is_left() {
        let set = InFlight::new();
        let entered = set.enter(&1);
        assert!(entered.is_some());
        assert!(set.enter(&1).is_none());
        assert!(set.enter(&2).is_some());
        assert!(entered.unwrap().leave(), "the second one was turned away");
        assert!(!set.enter(&1).unwrap().leave());
        assert!(set.enter(&1).is_some());
    }

    #[tokio::test]
    async fn everything_is_done_and_a_panic_is_survived() {
        let pool = Pool::new(3, CancellationToken::new());
        let mut running = pool.start((0..10).collect(), |number| async move {
            if number == 4 { panic!("on purpose") } else { number }
        });
        let mut results = Vec::new();
        while let Some(number) = running.next().await {
            results.push(number);
        }
        results.sort_unstable();
        assert_eq!(results, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    }

    #[tokio::test]
    async fn a_panic_is_a_value() {
        assert_eq!(guarded(async { 7 }).await, Ok(7));
        let fails = async {
            tokio::task::yield_now().await;
            let nothing: [u8; 0] = [];
            nothing[std::hint::black_box(0)]
        };
        assert!(guarded(fails).await.unwrap_err().words.contains("out of bounds"));
    }

    #[tokio::test]
    async fn after_the_stop_nothing_new_is_begun() {
        let stop = CancellationToken::new();
        let mut running =
            Pool::new(2, stop.clone()).start((0..100).collect(), |number| async move { number });
        running.next().await.unwrap();
        stop.cancel();
        let mut more = 0;
        while running.next().await.is_some() {
            more += 1;
        }
        assert!(more < 4, "four are begun at most, and one was taken: {more}");
    }

    #[tokio::test]
    async fn two_runs_share_their_turns() {
        let pool = Pool::new(1, CancellationToken::new());
        let busy = Arc::new(AtomicUsize::new(0));
        let work = |()| {
            let busy = Arc::clone(&busy);
            async move {
                let others = busy.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                busy.fetch_sub(1, Ordering::SeqCst);
                others == 0
            }
        };
        let (mut one, mut two) = (pool.start(vec![(); 20], work), pool.start(vec![(); 20], work));
        while let (Some(a), Some(b)) = tokio::join!(one.next(), two.next()) {
            assert!(a && b);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_delays_nobody() {
        let pool = Pool::new(4, CancellationToken::new());
        let begun = tokio::time::Instant::now();
        let mut running = pool.start((0..40).collect(), |number| async move {
            // Three hang, and the others take a second.
            let takes = if number < 3 { 300 } else { 1 };
            tokio::time::sleep(Duration::from_secs(takes)).await;
            number
        });
        for _ in 0..37 {
            assert!(running.next().await.unwrap() >= 3);
        }
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(13), "{took:?}");
        assert!(running.next().await.unwrap() < 3);
    }
}
