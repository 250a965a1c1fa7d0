//! Keys that pause for a while after a failure.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::clock::plus;

/// Keys that pause until an instant. Kept only in memory: after a restart everything is tried at once.
#[derive(Debug)]
pub(crate) struct Backoff<K>(Mutex<HashMap<K, Held>>);

#[derive(Debug, Clone, Copy)]
struct Held {
    since: Timestamp,
    until: Timestamp,
}

impl Held {
    /// A pause that began in the future was noted by a clock that was set back since.
    fn lasts(&self, now: Timestamp) -> bool {
        self.since <= now && now < self.until
    }
}

impl<K> Default for Backoff<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone> Backoff<K> {
    pub(crate) fn hold(&self, key: &K, now: Timestamp, time: SignedDuration) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, held| held.lasts(now));
        held.insert(key.clone(), Held { since: now, until: plus(now, time) });
    }

    /// The end of `key`'s pause, if it is pausing at `now`.
    pub(crate) fn until(&self, key: &K, now: Timestamp) -> Option<Timestamp> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(key).filter(|held| held.lasts(now)).map(|held| held.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_left_alone_until_its_time_and_then_forgotten() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let backoff = Backoff::default();
        backoff.hold(&"ace", at(0), SignedDuration::from_secs(30));
        assert_eq!(backoff.until(&"ace", at(29)), Some(at(30)));
        assert_eq!(backoff.until(&"ace", at(30)), None);
        assert_eq!(backoff.until(&"ace", at(-1)), None, "the clock was set back");
        assert_eq!(backoff.until(&"blue", at(0)), None);
        backoff.hold(&"blue", at(31), SignedDuration::from_secs(1));
        assert_eq!(backoff.0.lock().unwrap().len(), 1, "what is over takes no room");
    }
}
