//! What steps have in common: whether they may act, and what is being worked on right now.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

/// What a step may do besides reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Store and send.
    Apply,
    /// Neither; a token that Jobber rotates or refuses meanwhile is stored all the same.
    DryRun,
}

/// Told how much of a long step is done: so many of so many.
pub type Progress = dyn Fn(usize, usize) + Send + Sync;

/// For whoever does not want to know.
pub fn no_progress(_done: usize, _of: usize) {}

/// A set of keys that are being worked on, so that none is begun twice.
#[derive(Debug)]
pub(crate) struct InFlight<K: Eq + Hash>(Arc<Mutex<HashSet<K>>>);

impl<K: Eq + Hash + Clone> InFlight<K> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Begins work on `key`, unless it is being worked on. It ends when the entry is dropped, even by a panic
    /// or a cancelled task.
    pub(crate) fn enter(&self, key: &K) -> Option<Entered<K>> {
        let fresh = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        fresh.then(|| Entered { set: Arc::clone(&self.0), key: key.clone() })
    }
}

/// Work under way.
#[derive(Debug)]
pub(crate) struct Entered<K: Eq + Hash> {
    set: Arc<Mutex<HashSet<K>>>,
    key: K,
}

impl<K: Eq + Hash> Drop for Entered<K> {
    fn drop(&mut self) {
        self.set.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// Works on `items` in tasks of their own, up to `at_once` at a time, and hands each result to `done` as it comes.
/// A task that panics is told and left out; the others go on.
pub(crate) async fn pool<I, F>(
    at_once: usize,
    items: impl IntoIterator<Item = I>,
    work: impl Fn(I) -> F,
    mut done: impl FnMut(F::Output),
) where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let mut items = items.into_iter();
    let mut tasks = JoinSet::new();
    loop {
        while tasks.len() < at_once.max(1)
            && let Some(item) = items.next()
        {
            tasks.spawn(work(item));
        }
        match tasks.join_next().await {
            Some(Ok(output)) => done(output),
            Some(Err(error)) => tracing::error!(%error, "a task failed"),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_entered_once_until_it_is_left() {
        let set = InFlight::new();
        let entered = set.enter(&1);
        assert!(entered.is_some());
        assert!(set.enter(&1).is_none());
        assert!(set.enter(&2).is_some());
        drop(entered);
        assert!(set.enter(&1).is_some());
    }

    #[tokio::test]
    async fn a_pool_does_everything_and_survives_a_panic() {
        let mut results = Vec::new();
        pool(
            3,
            0..10,
            |number| async move { if number == 4 { panic!("on purpose") } else { number } },
            |number| {
                results.push(number);
            },
        )
        .await;
        results.sort_unstable();
        assert_eq!(results, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    }
}
