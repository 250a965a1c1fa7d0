//! What is read for every account again and again, kept in memory as the server has it.
//!
//! Only the holder of the lease writes, and each of its commits passes through here before anybody hears of it. So as long
//! as the lease is good, an entry here is the committed one, or was it until a commit that nobody was told of yet. When it
//! is not known what was committed, nothing is kept any more: the process ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::Weighter;
use quick_cache::sync::{Cache as Entries, GuardResult};

use crate::store::StoreError;
use crate::store::entry::{Bytes, Value, Writes};
use crate::store::key;

/// Bytes that are kept at most: about those of 10,000 accounts.
const MOST: u64 = 32 * 1024 * 1024;

/// What an entry takes beside its key and its value.
const BESIDE: usize = 128;

#[derive(Clone)]
struct Size;

impl Weighter<Bytes, Value> for Size {
    fn weight(&self, key: &Bytes, value: &Value) -> u64 {
        let value = value.as_ref().map_or(0, Vec::len);
        u64::try_from(BESIDE + key.len() + value).unwrap_or(u64::MAX)
    }
}

pub(super) struct Cache {
    /// `None` is not there.
    entries: Entries<Bytes, Value, Size>,
    /// Written in the open transaction.
    written: Mutex<Writes>,
    is_off: AtomicBool,
    /// Whether nobody else can have written.
    is_ours: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Cache {
    pub(super) fn new(is_ours: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self {
            entries: Entries::with_weighter(10_000, MOST, Size),
            written: Mutex::default(),
            is_off: AtomicBool::new(false),
            is_ours: Box::new(is_ours),
        }
    }

    fn is_off(&self) -> bool {
        self.is_off.load(Ordering::Acquire)
    }

    fn keeps(&self, key: &[u8]) -> bool {
        key::is_read_often(key) && !self.is_off() && (self.is_ours)()
    }

    fn written(&self) -> MutexGuard<'_, Writes> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a key, if it is kept.
    pub(super) fn get(&self, key: &[u8]) -> Option<Value> {
        if self.keeps(key) { self.entries.get(key) } else { None }
    }

    /// The value of a key: as it is kept, or as it is read and kept from now on. A commit of the key meanwhile wins over
    /// what is read. Nobody waits for somebody else who reads the same.
    pub(super) fn get_or(
        &self,
        key: &[u8],
        read: impl FnOnce() -> Result<Value, StoreError>,
    ) -> Result<Value, StoreError> {
        if !self.keeps(key) {
            return read();
        }
        match self.entries.get_value_or_guard(key, Some(Duration::ZERO)) {
            GuardResult::Value(value) => Ok(value),
            GuardResult::Guard(place) => {
                let value = read()?;
                // Without a place something was committed meanwhile.
                let _kept = place.insert(value.clone());
                Ok(value)
            }
            GuardResult::Timeout => read(),
        }
    }

    /// What was written to a key in the open transaction.
    pub(super) fn uncommitted(&self, key: &[u8]) -> Option<Value> {
        self.written().get(key).cloned()
    }

    /// Before a group of writes.
    pub(super) fn begin(&self) {
        self.written().clear();
    }

    pub(super) fn note(&self, writes: &Writes) {
        if self.is_off() {
            return;
        }
        let often = writes.iter().filter(|(key, _)| key::is_read_often(key));
        self.written().extend(often.map(|(key, value)| (key.clone(), value.clone())));
    }

    /// What was noted is committed.
    pub(super) fn committed(&self) {
        for (key, value) in std::mem::take(&mut *self.written()) {
            // What is too large to be kept must end a read that is under way, too.
            self.entries.remove(&key);
            self.entries.insert(key, value);
        }
    }

    /// Keeps nothing any more: it is not known what is committed, or nobody reads.
    pub(super) fn give_up(&self) {
        self.is_off.store(true, Ordering::Release);
        self.written().clear();
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Vec<u8> {
        [key::ACCOUNT, b"a"].concat()
    }

    fn new() -> Cache {
        Cache::new(|| true)
    }

    fn read(cache: &Cache) -> Option<Bytes> {
        cache.get_or(&key(), || panic!("it is kept")).unwrap()
    }

    #[test]
    fn a_commit_wins_over_what_is_read_meanwhile() {
        let cache = new();
        let old = cache.get_or(&key(), || {
            cache.note(&Writes::from([(key(), Some(vec![2]))]));
            cache.committed();
            Ok(Some(vec![1]))
        });
        assert_eq!(old.unwrap(), Some(vec![1]), "as of when it was read");
        assert_eq!(read(&cache), Some(vec![2]));
        cache.note(&Writes::from([(key(), None)]));
        assert_eq!(read(&cache), Some(vec![2]), "not committed yet");
        assert_eq!(cache.uncommitted(&key()), Some(None));
        cache.committed();
        assert_eq!((read(&cache), cache.get(&key())), (None, Some(None)));
    }

    #[test]
    fn a_commit_of_more_than_is_kept_wins_too() {
        let cache = new();
        let large = vec![2; usize::try_from(MOST).unwrap()];
        let old = cache.get_or(&key(), || {
            cache.note(&Writes::from([(key(), Some(large.clone()))]));
            cache.committed();
            Ok(Some(vec![1]))
        });
        assert_eq!(old.unwrap(), Some(vec![1]));
        assert_eq!(cache.get(&key()), None);
        assert_eq!(cache.get_or(&key(), || Ok(Some(vec![3]))).unwrap(), Some(vec![3]), "asked again");
    }

    #[test]
    fn nobody_waits_for_another_reader() {
        let cache = new();
        let outer = cache.get_or(&key(), || cache.get_or(&key(), || Ok(Some(vec![1]))));
        assert_eq!(outer.unwrap(), Some(vec![1]));
    }

    #[test]
    fn whoever_may_have_lost_the_lease_asks_the_server() {
        let is_ours = std::sync::Arc::new(AtomicBool::new(true));
        let ours = std::sync::Arc::clone(&is_ours);
        let cache = Cache::new(move || ours.load(Ordering::Relaxed));
        assert_eq!(cache.get_or(&key(), || Ok(Some(vec![1]))).unwrap(), Some(vec![1]));
        is_ours.store(false, Ordering::Relaxed);
        assert_eq!(
            (cache.get(&key()), cache.get_or(&key(), || Ok(Some(vec![2]))).unwrap()),
            (None, Some(vec![2]))
        );
    }

    #[test]
    fn nothing_is_kept_of_a_read_that_failed_or_of_a_group_that_was_not_committed() {
        let cache = new();
        let failed = cache.get_or(&key(), || Err(StoreError::Away("gone".to_owned())));
        assert!(failed.is_err());
        assert_eq!(cache.get_or(&key(), || Ok(Some(vec![1]))).unwrap(), Some(vec![1]));
        cache.note(&Writes::from([(key(), Some(vec![2]))]));
        cache.begin();
        cache.committed();
        assert_eq!(read(&cache), Some(vec![1]));
        cache.give_up();
        assert_eq!((cache.get(&key()), cache.get_or(&key(), || Ok(None)).unwrap()), (None, None));
    }

    #[test]
    fn what_is_many_times_as_large_as_the_accounts_is_not_kept() {
        let cache = new();
        let decision = [key::DECISION, b"a\0job\0b"].concat();
        cache.note(&Writes::from([(decision.clone(), Some(vec![2]))]));
        cache.committed();
        assert_eq!(cache.get(&decision), None);
        assert_eq!(cache.get_or(&decision, || Ok(Some(vec![1]))).unwrap(), Some(vec![1]));
        assert_eq!(cache.get(&decision), None);
    }
}
