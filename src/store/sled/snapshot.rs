//! The table as of one moment, read in parts while writes go on.
//!
//! A write that replaces something that a snapshot has not read yet keeps the old value for it. So a snapshot
//! costs memory only for what changes while it is read.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{Table, layout};
use crate::store::StoreError;
use crate::store::entry::{Entry, Writes};

/// What a snapshot still has to read, and what was replaced there since. `None` was not there.
struct Unread {
    /// `None` when everything was read.
    from: Option<Bound<Vec<u8>>>,
    replaced: BTreeMap<Vec<u8>, Option<::sled::IVec>>,
}

impl Unread {
    fn covers(&self, key: &[u8]) -> bool {
        match &self.from {
            Some(Bound::Included(from)) => key >= from.as_slice(),
            Some(Bound::Excluded(from)) => key > from.as_slice(),
            Some(Bound::Unbounded) => true,
            None => false,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The snapshots that are being read. A snapshot that was dropped is forgotten with the next write.
#[derive(Clone, Default)]
pub(super) struct Snapshots(Arc<Mutex<Vec<Weak<Mutex<Unread>>>>>);

impl Snapshots {
    /// Keeps what `writes` replace. Called before they are applied.
    pub(super) fn keep(&self, table: &::sled::Tree, writes: &Writes) -> Result<(), StoreError> {
        let mut snapshots = lock(&self.0);
        snapshots.retain(|snapshot| snapshot.strong_count() > 0);
        for snapshot in snapshots.iter().filter_map(Weak::upgrade) {
            let mut unread = lock(&snapshot);
            for key in writes.keys() {
                if unread.covers(key) && !unread.replaced.contains_key(key) {
                    let old = table.get(key)?;
                    unread.replaced.insert(key.clone(), old);
                }
            }
        }
        Ok(())
    }
}

pub(in crate::store) struct Snapshot {
    table: ::sled::Tree,
    unread: Arc<Mutex<Unread>>,
}

impl Snapshot {
    /// The table as it is. Only the writer may call this: nothing is half written then.
    pub(super) fn take(table: &Table) -> Self {
        let unread = Arc::new(Mutex::new(Unread { from: Some(Bound::Unbounded), replaced: BTreeMap::new() }));
        lock(&table.snapshots.0).push(Arc::downgrade(&unread));
        Self { table: table.tree.clone(), unread }
    }

    /// The next entries by key, about `bytes` in all. Empty at the end.
    pub(in crate::store) fn next(&self, bytes: usize) -> Result<Vec<Entry>, StoreError> {
        loop {
            // Writes to what is read here wait meanwhile.
            let mut unread = lock(&self.unread);
            let Some(from) = unread.from.clone() else { return Ok(Vec::new()) };
            let mut part = BTreeMap::new();
            let mut size = 0;
            let mut is_end = true;
            for entry in self.table.range((from, Bound::Unbounded)) {
                let (key, value) = entry?;
                size += key.len() + value.len();
                part.insert(key.to_vec(), value);
                if size >= bytes {
                    is_end = false;
                    break;
                }
            }
            let last = if is_end { None } else { part.last_key_value().map(|(key, _)| key.clone()) };
            let later = match &last {
                Some(last) => {
                    let mut later = unread.replaced.split_off(last);
                    if let Some(old) = later.remove(last) {
                        unread.replaced.insert(last.clone(), old);
                    }
                    later
                }
                None => BTreeMap::new(),
            };
            for (key, old) in std::mem::replace(&mut unread.replaced, later) {
                match old {
                    Some(old) => part.insert(key, old),
                    None => part.remove(&key),
                };
            }
            unread.from = last.map(Bound::Excluded);
            if is_end || !part.is_empty() {
                return part.into_iter().map(|(key, value)| layout::entry(Ok((key.into(), value)))).collect();
            }
        }
    }
}
