//! The table of entries, and a view of it as of one moment.

use std::ops::Bound;
use std::sync::{Arc, Mutex};

use ::postgres::Row;
use serde::{Deserialize, Serialize};

use super::cache::Cache;
use super::{Address, Connection, Connector, lock, relay};
use crate::store::StoreError;
use crate::store::entry::{Bytes, Entry, Last, Value, Writes};

/// Entries that are read at once. The first part is smaller: many scans want only what comes first.
const FIRST: i64 = 32;
const PART: i64 = 1_000;
const SNAPSHOT: i64 = 256;

/// Greater than every key: they begin with letters.
const END: &[u8] = &[0xff];

#[derive(Clone)]
pub(super) enum Source {
    /// Sees what the open transaction wrote.
    Writer(Arc<Mutex<Connection>>),
    Readers(r2d2::Pool<Connector>),
}

/// The daemons that share a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenants {
    /// The machine and process of the one that works.
    pub works: String,
    /// Those that would take over.
    pub stand_by: Vec<String>,
}

#[derive(Clone)]
pub(in crate::store) struct Table {
    source: Source,
    cache: Arc<Cache>,
    address: Address,
}

impl Table {
    pub(super) fn new(source: Source, cache: Arc<Cache>, address: Address) -> Self {
        Self { source, cache, address }
    }

    fn with<T>(&self, work: impl Fn(&mut Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &self.source {
            Source::Writer(connection) => work(&mut lock(connection)),
            Source::Readers(pool) => {
                let get = || pool.get().map_err(|error| StoreError::Away(error.to_string()));
                let mut taken = get()?;
                match work(&mut taken) {
                    // It was closed while nobody used it.
                    Err(_) if taken.is_closed() => {
                        taken = get()?;
                        work(&mut taken)
                    }
                    done => done,
                }
            }
        }
    }

    /// A value, if it can be had without asking the server.
    pub(in crate::store) fn at_hand(&self, key: &[u8]) -> Option<Value> {
        self.cache.get(key)
    }

    pub(in crate::store) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let read = || {
            self.with(|connection| {
                let (client, statements) = connection.parts()?;
                Ok(client.query_opt(&statements.get, &[&key])?.map(|row| row.get(0)))
            })
        };
        match self.uncommitted(key) {
            Some(value) => Ok(value),
            None => self.cache.get_or(key, read),
        }
    }

    /// What the writer sees before others do.
    fn uncommitted(&self, key: &[u8]) -> Option<Value> {
        match &self.source {
            Source::Writer(_) => self.cache.uncommitted(key),
            Source::Readers(_) => None,
        }
    }

    pub(in crate::store) fn get_together(&self, keys: &[Vec<u8>]) -> Result<Vec<Entry>, StoreError> {
        let (mut found, mut asked) = (Vec::new(), Vec::new());
        for key in keys {
            match self.uncommitted(key).or_else(|| self.cache.get(key)) {
                Some(value) => found.extend(value.map(|value| (key.clone(), value))),
                None => asked.push(key),
            }
        }
        if !asked.is_empty() {
            found.extend(self.with(|connection| {
                let (client, statements) = connection.parts()?;
                Ok(client.query(&statements.get_together, &[&asked])?.iter().map(entry).collect::<Vec<_>>())
            })?);
        }
        Ok(found)
    }

    pub(in crate::store) fn last_together(
        &self,
        prefix: &[u8],
        places: &[Vec<u8>],
    ) -> Result<Vec<Last>, StoreError> {
        self.with(|connection| {
            let (client, statements) = connection.parts()?;
            let rows = client.query(&statements.last_together, &[&prefix, &places])?;
            Ok(rows.iter().map(|row| (row.get(2), entry(row))).collect())
        })
    }

    pub(in crate::store) fn ranges(
        &self,
        ranges: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<Vec<(usize, Entry)>, StoreError> {
        let (from, to): (Vec<&[u8]>, Vec<Vec<u8>>) =
            ranges.iter().map(|(from, prefix)| (&from[..], after(prefix))).unzip();
        self.with(|connection| {
            let (client, statements) = connection.parts()?;
            let rows = client.query(&statements.ranges, &[&from, &to])?;
            let numbered = |row: &Row| {
                // They are counted from 1.
                let number = usize::try_from(row.get::<_, i64>(2) - 1).unwrap_or_default();
                (number, entry(row))
            };
            Ok(rows.iter().map(numbered).collect())
        })
    }

    pub(in crate::store) fn scan_from(
        &self,
        from: &[u8],
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<Entry, StoreError>> + use<> {
        Scan {
            table: self.clone(),
            next: Some(from.to_vec()),
            to: after(prefix),
            part: vec![].into_iter(),
            size: FIRST,
        }
    }

    pub(in crate::store) fn first(&self, from: Bound<Vec<u8>>) -> Result<Option<Entry>, StoreError> {
        let from = match from {
            Bound::Included(key) => key,
            Bound::Excluded(key) => following(&key),
            Bound::Unbounded => vec![],
        };
        Ok(self.up(&from, END, 1)?.into_iter().next())
    }

    pub(in crate::store) fn back_from(
        &self,
        prefix: &[u8],
        last: &[u8],
    ) -> impl Iterator<Item = Result<Entry, StoreError>> + use<> {
        let (table, prefix) = (self.clone(), prefix.to_vec());
        let mut before = Some(following(last));
        let mut part: std::vec::IntoIter<Entry> = vec![].into_iter();
        std::iter::from_fn(move || {
            loop {
                if let Some(entry) = part.next() {
                    return Some(Ok(entry));
                }
                let end = before.take()?;
                let found = table.with(|connection| {
                    let (client, statements) = connection.parts()?;
                    let rows = client.query(&statements.down, &[&&prefix[..], &&end[..], &FIRST])?;
                    Ok(rows.iter().map(entry).collect::<Vec<_>>())
                });
                match found {
                    Ok(found) => {
                        if found.len() >= usize::try_from(FIRST).unwrap_or_default()
                            && let Some((key, _)) = found.last()
                        {
                            before = Some(key.clone());
                        }
                        if found.is_empty() {
                            return None;
                        }
                        part = found.into_iter();
                    }
                    Err(error) => return Some(Err(error)),
                }
            }
        })
    }

    fn up(&self, from: &[u8], to: &[u8], most: i64) -> Result<Vec<Entry>, StoreError> {
        self.with(|connection| {
            let (client, statements) = connection.parts()?;
            let rows = client.query(&statements.up, &[&from, &to, &most])?;
            Ok(rows.iter().map(entry).collect())
        })
    }

    /// Writes in the open transaction.
    pub(in crate::store) fn apply(&self, writes: Writes) -> Result<(), StoreError> {
        self.cache.note(&writes);
        let (mut keys, mut values, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for (key, value) in writes {
            match value {
                Some(value) => {
                    keys.push(key);
                    values.push(value);
                }
                None => gone.push(key),
            }
        }
        self.with(|connection| {
            let (client, statements) = connection.parts()?;
            if !keys.is_empty() {
                client.execute(&statements.put, &[&keys, &values])?;
            }
            if !gone.is_empty() {
                client.execute(&statements.delete, &[&gone])?;
            }
            Ok(())
        })
    }

    /// Bytes on disk, with indexes and what is not cleaned up yet.
    pub(in crate::store) fn size(&self) -> Result<u64, StoreError> {
        self.with(|connection| {
            let (client, _) = connection.parts()?;
            let row = client.query_one("SELECT pg_total_relation_size('jobber_reviewd.entries')", &[])?;
            Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or_default())
        })
    }

    pub(in crate::store) fn tenants(&self) -> Result<Tenants, StoreError> {
        self.with(|connection| {
            let (client, _) = connection.parts()?;
            let works = client.query_one("SELECT owner FROM jobber_reviewd.lease", &[])?.get(0);
            let others = client.query(
                "SELECT coalesce(host(client_addr), 'its own machine') || ', process ' \
                    || substring(application_name FROM '[0-9]+$') \
                 FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user \
                    AND starts_with(application_name, $1) ORDER BY 1",
                &[&relay::NAME],
            )?;
            Ok(Tenants { works, stand_by: others.iter().map(|row| row.get(0)).collect() })
        })
    }

    /// What is committed now, on a connection of its own.
    pub(in crate::store) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let mut client = self.address.connect()?;
        // Whoever reads it may be slow.
        client.batch_execute("SET idle_in_transaction_session_timeout = 0; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT 1")?;
        let connection = Connection::new(client)?;
        Ok(Snapshot { read: Mutex::new((connection, Some(vec![]))) })
    }
}

fn entry(row: &Row) -> Entry {
    (row.get(0), row.get(1))
}

/// The first key after those that begin with `prefix`.
fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return end;
        }
        end.pop();
    }
    END.to_vec()
}

/// The least key after `key`.
fn following(key: &[u8]) -> Vec<u8> {
    [key, b"\0"].concat()
}

struct Scan {
    table: Table,
    /// Where the next part begins. `None` at the end.
    next: Option<Vec<u8>>,
    to: Vec<u8>,
    part: std::vec::IntoIter<Entry>,
    size: i64,
}

impl Iterator for Scan {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.part.next() {
                return Some(Ok(entry));
            }
            let from = self.next.take()?;
            match self.table.up(&from, &self.to, self.size) {
                Ok(found) => {
                    if i64::try_from(found.len()).unwrap_or(i64::MAX) >= self.size
                        && let Some((key, _)) = found.last()
                    {
                        self.next = Some(following(key));
                    }
                    self.size = PART;
                    self.part = found.into_iter();
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The table as of one moment, in a transaction that only reads.
pub(in crate::store) struct Snapshot {
    read: Mutex<(Connection, Option<Vec<u8>>)>,
}

impl Snapshot {
    /// The next entries by key, about `bytes` in all. Empty at the end.
    pub(in crate::store) fn next(&self, bytes: usize) -> Result<Vec<Entry>, StoreError> {
        let mut read = lock(&self.read);
        let (connection, next) = &mut *read;
        let (mut entries, mut size) = (Vec::new(), 0);
        while size < bytes
            && let Some(from) = next.take()
        {
            let (client, statements) = connection.parts()?;
            let rows = client.query(&statements.up, &[&&from[..], &END, &SNAPSHOT])?;
            let found: Vec<Entry> = rows.iter().map(entry).collect();
            if let Some((key, _)) = found.last() {
                *next = Some(following(key));
            }
            size += found.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
            entries.extend(found);
        }
        Ok(entries)
    }
}
