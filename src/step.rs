//! What steps have in common: whether they may act, and what is being worked on right now.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

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
pub(crate) struct InFlight<K: Eq + Hash>(Mutex<HashSet<K>>);

impl<K: Eq + Hash + Clone> InFlight<K> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(HashSet::new()))
    }

    /// Begins work on `key`, unless it is being worked on. It ends when the entry is dropped, even by a panic
    /// or a cancelled task.
    pub(crate) fn enter(&self, key: &K) -> Option<Entered<'_, K>> {
        let fresh = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        fresh.then(|| Entered { set: self, key: key.clone() })
    }
}

/// Work under way.
#[derive(Debug)]
pub(crate) struct Entered<'s, K: Eq + Hash + Clone> {
    set: &'s InFlight<K>,
    key: K,
}

impl<K: Eq + Hash + Clone> Drop for Entered<'_, K> {
    fn drop(&mut self) {
        self.set.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
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
}
