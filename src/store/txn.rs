//! Transactions: all reads and writes of the database go through them.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use super::StoreError;
use super::codec::{self, Stored};
use super::engine::{Entries, Snapshot, Table};
use super::entry::{Bytes, Entry, Writes};

/// The reads and writes of one operation. It reads committed entries and its own writes.
pub(super) struct Txn<'t> {
    table: &'t Table,
    writes: Writes,
    fetched: RefCell<Fetched>,
}

/// What was asked for together, as it is in the table.
#[derive(Default)]
struct Fetched {
    values: HashMap<Vec<u8>, Option<Bytes>>,
    /// The last entry at or before a place.
    lasts: HashMap<Vec<u8>, Option<Entry>>,
}

impl<'t> Txn<'t> {
    pub(super) fn new(table: &'t Table) -> Self {
        Self { table, writes: BTreeMap::new(), fetched: RefCell::default() }
    }

    /// Says that these keys will be read. A server is asked for all of them at once.
    pub(super) fn fetch(&self, keys: impl IntoIterator<Item = Vec<u8>>) -> Result<(), StoreError> {
        if self.table.is_remote() { self.ask(keys) } else { Ok(()) }
    }

    fn ask(&self, keys: impl IntoIterator<Item = Vec<u8>>) -> Result<(), StoreError> {
        let is_new = |key: &Vec<u8>| !self.fetched.borrow().values.contains_key(key);
        let keys: Vec<Vec<u8>> = keys.into_iter().filter(is_new).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let found = self.table.get_together(&keys)?;
        let mut fetched = self.fetched.borrow_mut();
        fetched.values.extend(keys.into_iter().map(|key| (key, None)));
        fetched.values.extend(found.into_iter().map(|(key, value)| (key, Some(value))));
        Ok(())
    }

    /// Says that [`Self::last_to`] will be called for these places, with one prefix.
    pub(super) fn fetch_lasts(
        &self,
        prefix: &[u8],
        places: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<(), StoreError> {
        if self.table.is_remote() { self.ask_lasts(prefix, places) } else { Ok(()) }
    }

    pub(super) fn ask_lasts(
        &self,
        prefix: &[u8],
        places: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<(), StoreError> {
        let places: Vec<Vec<u8>> = places.into_iter().collect();
        if places.is_empty() {
            return Ok(());
        }
        let found = self.table.last_together(prefix, &places)?;
        let mut fetched = self.fetched.borrow_mut();
        fetched.lasts.extend(places.into_iter().map(|place| (place, None)));
        fetched.lasts.extend(found.into_iter().map(|(place, entry)| (place, Some(entry))));
        Ok(())
    }

    fn committed(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.fetched.borrow().values.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.table.get(key),
        }
    }

    pub(super) fn get<V: Stored>(&self, key: &[u8]) -> Result<Option<V>, StoreError> {
        match self.writes.get(key) {
            Some(written) => written.as_deref().map(codec::decode).transpose(),
            None => self.committed(key)?.map(|bytes| codec::decode(&bytes)).transpose(),
        }
    }

    pub(super) fn get_raw(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.writes.get(key) {
            Some(written) => Ok(written.clone()),
            None => self.committed(key),
        }
    }

    /// Every entry with a key that begins with `prefix`, sorted by key, as of before this operation's writes.
    pub(super) fn scan(&self, prefix: &[u8]) -> Entries {
        self.table.scan(prefix)
    }

    pub(super) fn values<V: Stored>(
        &self,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<V, StoreError>> + use<V> {
        self.scan(prefix).map(|entry| codec::decode(&entry?.1))
    }

    /// Every entry at or after `from` with a key that begins with `prefix`.
    pub(super) fn scan_from(&self, from: &[u8], prefix: &[u8]) -> Entries {
        self.table.scan_from(from, prefix)
    }

    /// The entries of some ranges, as [`Self::scan_from`] has each, with the number of the range. A server is asked once.
    pub(super) fn ranges(&self, ranges: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<(usize, Entry)>, StoreError> {
        self.table.ranges(ranges)
    }

    /// The entries of a family as they are after this operation's writes to entries that were there before. One read of the
    /// table, however many there are.
    pub(super) fn records<V: Stored>(
        &self,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(Bytes, V), StoreError>> {
        self.scan(prefix).filter_map(|entry| {
            let (key, value) = match entry {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error)),
            };
            let value = match self.writes.get(&key[..]) {
                Some(written) => written.as_ref()?,
                None => &value,
            };
            Some(codec::decode(value).map(|value| (key, value)))
        })
    }

    pub(super) fn keys(&self, prefix: &[u8]) -> Result<Vec<Bytes>, StoreError> {
        self.scan(prefix).map(|entry| Ok(entry?.0)).collect()
    }

    /// The first entry at or after `from`.
    pub(super) fn first(&self, from: Bound<Vec<u8>>) -> Result<Option<Entry>, StoreError> {
        self.table.first(from)
    }

    /// The last entry at or before `last` with a key that begins with `prefix`, as of this operation's writes.
    pub(super) fn last_to(&self, prefix: &[u8], last: &[u8]) -> Result<Option<Entry>, StoreError> {
        let mut range = self.writes.range(prefix.to_vec()..=last.to_vec()).rev();
        let written = range.find_map(|(key, value)| Some((key, value.as_ref()?)));
        let fetched = self.fetched.borrow().lasts.get(last).cloned();
        let is_removed = |entry: &Entry| matches!(self.writes.get(&entry.0[..]), Some(None));
        let found: Entries = match fetched {
            Some(entry) if !entry.as_ref().is_some_and(is_removed) => Box::new(entry.map(Ok).into_iter()),
            _ => self.table.back_from(prefix, last),
        };
        for entry in found {
            let (key, value) = entry?;
            if written.is_some_and(|(written, _)| written[..] >= key[..]) {
                break;
            }
            // What was replaced was found above.
            if !self.writes.contains_key(&key[..]) {
                return Ok(Some((key, value)));
            }
        }
        Ok(written.map(|(key, value)| (key.clone(), value.clone())))
    }

    /// Everything as of before this operation's writes. For operations of the writer only.
    pub(super) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.table.snapshot()
    }

    pub(super) fn put<V: Stored>(&mut self, key: &[u8], value: &V) {
        self.put_raw(key.to_vec(), codec::encode(value));
    }

    pub(super) fn put_raw(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes.insert(key, Some(value));
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.writes.insert(key.to_vec(), None);
    }

    pub(super) fn into_writes(self) -> Writes {
        self.writes
    }
}
