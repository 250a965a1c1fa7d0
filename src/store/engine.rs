//! The database below the store: sled's files on this machine, or PostgreSQL. The rest of the store knows only this.

use std::ops::Bound;

use super::entry::{Bytes, Entry, Last, Value, Writes};
use super::{StoreError, postgres, sled};

/// Entries in the order of their keys.
pub(super) type Entries = Box<dyn Iterator<Item = Result<Entry, StoreError>> + Send>;

#[derive(Clone)]
pub(super) enum Table {
    Sled(sled::Table),
    Postgres(postgres::Table),
}

impl Table {
    /// Whether a read of a few keys takes so long that no async thread may wait for it.
    pub(super) fn is_remote(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// A value that a remote database has, if it can be had without asking it.
    pub(super) fn at_hand(&self, key: &[u8]) -> Option<Value> {
        match self {
            Self::Sled(_) => None,
            Self::Postgres(table) => table.at_hand(key),
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self {
            Self::Sled(table) => table.get(key),
            Self::Postgres(table) => table.get(key),
        }
    }

    /// Those of these keys that are there. A server is asked once.
    pub(super) fn get_together(&self, keys: &[Vec<u8>]) -> Result<Vec<Entry>, StoreError> {
        match self {
            Self::Sled(table) => {
                let entry = |key: &Vec<u8>| Ok(table.get(key)?.map(|value| (key.clone(), value)));
                keys.iter().filter_map(|key| entry(key).transpose()).collect()
            }
            Self::Postgres(table) => table.get_together(keys),
        }
    }

    /// For each of these places the last entry at or before it with a key that begins with `prefix`, if there is one. A
    /// server is asked once.
    pub(super) fn last_together(&self, prefix: &[u8], places: &[Vec<u8>]) -> Result<Vec<Last>, StoreError> {
        match self {
            Self::Sled(table) => {
                let last = |place: &Vec<u8>| {
                    let entry = table.back_from(prefix, place).next()?;
                    Some(entry.map(|entry| (place.clone(), entry)))
                };
                places.iter().filter_map(last).collect()
            }
            Self::Postgres(table) => table.last_together(prefix, places),
        }
    }

    /// Every entry with a key that begins with `prefix`: a family, or an account of one, with what sorts by time in
    /// its order. A concurrent write may or may not be seen.
    pub(super) fn scan(&self, prefix: &[u8]) -> Entries {
        match self {
            Self::Sled(table) => Box::new(table.scan(prefix)),
            Self::Postgres(table) => Box::new(table.scan_from(prefix, prefix)),
        }
    }

    /// Every entry at or after `from` with a key that begins with `prefix`.
    pub(super) fn scan_from(&self, from: &[u8], prefix: &[u8]) -> Entries {
        match self {
            Self::Sled(table) => Box::new(table.scan_from(from, prefix)),
            Self::Postgres(table) => Box::new(table.scan_from(from, prefix)),
        }
    }

    /// The entries of some ranges, each from a key to the end of a prefix, with the number of the range. A server is asked
    /// once.
    pub(super) fn ranges(&self, ranges: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<(usize, Entry)>, StoreError> {
        match self {
            Self::Sled(table) => {
                let entries = |(number, (from, prefix)): (usize, &(Vec<u8>, Vec<u8>))| {
                    table.scan_from(from, prefix).map(move |entry| Ok((number, entry?)))
                };
                ranges.iter().enumerate().flat_map(entries).collect()
            }
            Self::Postgres(table) => table.ranges(ranges),
        }
    }

    /// The first entry at or after `from`.
    pub(super) fn first(&self, from: Bound<Vec<u8>>) -> Result<Option<Entry>, StoreError> {
        match self {
            Self::Sled(table) => table.first(from),
            Self::Postgres(table) => table.first(from),
        }
    }

    /// The entries at or before `last` with a key that begins with `prefix`, the last first.
    pub(super) fn back_from(&self, prefix: &[u8], last: &[u8]) -> Entries {
        match self {
            Self::Sled(table) => Box::new(table.back_from(prefix, last)),
            Self::Postgres(table) => Box::new(table.back_from(prefix, last)),
        }
    }

    /// Writes all of it or nothing. It is durable after the next flush.
    pub(super) fn apply(&self, writes: Writes) -> Result<(), StoreError> {
        match self {
            Self::Sled(table) => table.apply(writes),
            Self::Postgres(table) => table.apply(writes),
        }
    }

    /// The table as it is between two writes. Only the writer may call this.
    pub(super) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Ok(match self {
            Self::Sled(table) => Snapshot::Sled(table.snapshot()),
            Self::Postgres(table) => Snapshot::Postgres(Box::new(table.snapshot()?)),
        })
    }
}

pub(super) enum Snapshot {
    Sled(sled::Snapshot),
    Postgres(Box<postgres::Snapshot>),
}

impl Snapshot {
    /// The next entries by key, about `bytes` in all. Empty at the end.
    pub(super) fn next(&self, bytes: usize) -> Result<Vec<Entry>, StoreError> {
        match self {
            Self::Sled(snapshot) => snapshot.next(bytes),
            Self::Postgres(snapshot) => snapshot.next(bytes),
        }
    }
}

/// An open database, for the one who writes.
pub(super) struct Database {
    /// It sees what was applied and is not flushed yet.
    pub(super) table: Table,
    kind: Kind,
}

enum Kind {
    Sled(sled::Database),
    Postgres(Box<postgres::Session>),
}

impl Database {
    pub(super) fn sled(database: sled::Database) -> Self {
        Self { table: Table::Sled(database.table.clone()), kind: Kind::Sled(database) }
    }

    pub(super) fn postgres(session: postgres::Session) -> Self {
        Self { table: Table::Postgres(session.table()), kind: Kind::Postgres(Box::new(session)) }
    }

    /// The table for everybody else.
    pub(super) fn for_readers(&self) -> Table {
        match &self.kind {
            Kind::Sled(database) => Table::Sled(database.table.clone()),
            Kind::Postgres(session) => Table::Postgres(session.for_readers()),
        }
    }

    /// Before the first operation of a group.
    pub(super) fn begin(&self) -> Result<(), StoreError> {
        match &self.kind {
            Kind::Sled(_) => Ok(()),
            Kind::Postgres(session) => session.begin(),
        }
    }

    /// Makes what was applied durable.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        match &self.kind {
            Kind::Sled(database) => database.flush(),
            Kind::Postgres(session) => session.commit(),
        }
    }

    /// Ends a group that wrote nothing.
    pub(super) fn end(&self) -> Result<(), StoreError> {
        match &self.kind {
            Kind::Sled(_) => Ok(()),
            Kind::Postgres(session) => session.roll_back(),
        }
    }

    /// Lets go of what is not flushed, where that takes memory. The whole stays one group where it does not.
    pub(super) fn relieve(&self) -> Result<(), StoreError> {
        match &self.kind {
            Kind::Sled(database) => database.flush(),
            Kind::Postgres(_) => Ok(()),
        }
    }

    /// Lets another process take over. Nothing is written afterwards.
    pub(super) fn release(&self) {
        if let Kind::Postgres(session) = &self.kind {
            session.release();
        }
    }

    /// Whether this process may still act for the store.
    pub(super) fn tenure(&self) -> Tenure {
        match &self.kind {
            Kind::Sled(_) => Tenure::Own,
            Kind::Postgres(session) => Tenure::Leased(session.lease()),
        }
    }
}

/// For how long the store is this process's own.
#[derive(Clone)]
pub(super) enum Tenure {
    /// As long as it runs: a lock of the file system keeps others out.
    Own,
    Leased(postgres::Lease),
}
