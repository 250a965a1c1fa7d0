//! What is read for every account again and again, kept in memory as the server has it.
//!
//! Only the holder of the lease writes, and each of its commits passes through here before anybody hears of it. So an
//! entry here is the committed one. When it is not known what was committed, nothing is kept any more: the process ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use quick_cache::Weighter;
use quick_cache::sync::{Cache as Entries, GuardResult};

use crate::store::StoreError;
use crate::store::entry::{Bytes, Writes};
use crate::store::key;

/// Bytes that are kept at most: about those of 10,000 accounts.
const MOST: u64 = 32 * 1024 * 1024;

/// What an entry takes beside its key and its value.
const BESIDE: usize = 128;

#[derive(Clone)]
struct Size;

impl Weighter<Vec<u8>, Option<Bytes>> for Size {
    fn weight(&self, key: &Vec<u8>, value: &Option<Bytes>) -> u64 {
        let value = value.as_ref().map_or(0, Vec::len);
        u64::try_from(BESIDE + key.len() + value).unwrap_or(u64::MAX)
    }
}

pub(super) struct Cache {
    /// `None` is not there.
    entries: Entries<Vec<u8>, Option<Bytes>, Size>,
    /// Written in the open transaction.
    written: Mutex<Writes>,
    is_off: AtomicBool,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            entries: Entries::with_weighter(10_000, MOST, Size),
            written: Mutex::default(),
            is_off: AtomicBool::new(false),
        }
    }
}

impl Cache {
    fn keeps(&self, key: &[u8]) -> bool {
        key::is_read_often(key) && !self.is_off.load(Ordering::Acquire)
    }

    fn written(&self) -> MutexGuard<'_, Writes> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a key, if it is kept.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        if self.keeps(key) { self.entries.get(key) } else { None }
    }

    /// The value of a key: as it is kept, or as it is read and kept from now on. A commit of the key meanwhile wins over
    /// what is read.
    pub(super) fn get_or(
        &self,
        key: &[u8],
        read: impl FnOnce() -> Result<Option<Bytes>, StoreError>,
    ) -> Result<Option<Bytes>, StoreError> {
        if !self.keeps(key) {
            return read();
        }
        match self.entries.get_value_or_guard(key, None) {
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
    pub(super) fn uncommitted(&self, key: &[u8]) -> Option<Option<Bytes>> {
        self.written().get(key).cloned()
    }

    /// Before a group of writes.
    pub(super) fn begin(&self) {
        self.written().clear();
    }

    pub(super) fn note(&self, writes: &Writes) {
        let often = writes.iter().filter(|(key, _)| key::is_read_often(key));
        self.written().extend(often.map(|(key, value)| (key.clone(), value.clone())));
    }

    /// What was noted is committed.
    pub(super) fn committed(&self) {
        for (key, value) in std::mem::take(&mut *self.written()) {
            self.entries.insert(key, value);
        }
    }

    /// It is not known what is committed.
    pub(super) fn give_up(&self) {
        self.is_off.store(true, Ordering::Release);
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Vec<u8> {
        [key::ACCOUNT, b"a"].concat()
    }

    fn read(cache: &Cache) -> Option<Bytes> {
        cache.get_or(&key(), || panic!("it is kept")).unwrap()
    }

    #[test]
    fn a_commit_wins_over_what_is_read_meanwhile() {
        let cache = Cache::default();
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
    fn nothing_is_kept_of_a_read_that_failed_or_of_a_group_that_was_not_committed() {
        let cache = Cache::default();
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
        let cache = Cache::default();
        let decision = [key::DECISION, b"a\0job\0b"].concat();
        cache.note(&Writes::from([(decision.clone(), Some(vec![2]))]));
        cache.committed();
        assert_eq!(cache.get(&decision), None);
        assert_eq!(cache.get_or(&decision, || Ok(Some(vec![1]))).unwrap(), Some(vec![1]));
        assert_eq!(cache.get(&decision), None);
    }
}
