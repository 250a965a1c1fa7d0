//! The database below the store: sled. Nothing outside this folder uses sled's types, paths or iterators.

mod snapshot;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::StoreError;

pub(super) use snapshot::Snapshot;
pub(super) use writer::Writer;

use snapshot::Snapshots;

/// The only tree. Its name includes the version of the key layout.
const TREE: &str = "jobber-reviewd.1";

const FILE: &str = "db";

const CACHE: u64 = 32 * 1024 * 1024;

#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct DatabaseError(#[from] ::sled::Error);

impl From<::sled::Error> for StoreError {
    fn from(error: ::sled::Error) -> Self {
        Self::Database(DatabaseError(error))
    }
}

/// The writes of one operation by key. `None` deletes the key.
pub(super) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bytes(::sled::IVec);

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[derive(Clone)]
pub(super) struct Table {
    tree: ::sled::Tree,
    snapshots: Snapshots,
}

impl Table {
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.tree.get(key)?.map(Bytes))
    }

    /// Every entry with a key that begins with `prefix`, sorted by key. A concurrent write may or may not be
    /// seen.
    pub(super) fn scan(
        &self,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), StoreError>> + use<> {
        self.tree.scan_prefix(prefix).map(|entry| {
            let (key, value) = entry?;
            Ok((Bytes(key), Bytes(value)))
        })
    }

    /// Every entry at or after `from` with a key that begins with `prefix`.
    pub(super) fn scan_from(
        &self,
        from: &[u8],
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), StoreError>> + use<> {
        let prefix = prefix.to_vec();
        let entries = self.tree.range(from.to_vec()..).map(|entry| {
            let (key, value) = entry?;
            Ok((Bytes(key), Bytes(value)))
        });
        entries.take_while(move |entry: &Result<(Bytes, Bytes), StoreError>| {
            entry.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix))
        })
    }

    /// The first entry at or after `from`.
    pub(super) fn first(&self, from: Bound<Vec<u8>>) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        let first = self.tree.range((from, Bound::Unbounded)).next().transpose()?;
        Ok(first.map(|(key, value)| (Bytes(key), Bytes(value))))
    }

    /// Writes all of it or nothing. It is durable after the next flush.
    pub(super) fn apply(&self, writes: Writes) -> Result<(), StoreError> {
        self.snapshots.keep(&self.tree, &writes)?;
        let mut batch = ::sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        Ok(self.tree.apply_batch(batch)?)
    }

    /// The table as it is between two writes. Only the writer may call this.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot::take(self)
    }

    #[cfg(test)]
    pub(super) fn clear(&self) -> Result<(), StoreError> {
        Ok(self.tree.clear()?)
    }
}

pub(super) struct Database {
    db: ::sled::Db,
    pub(super) table: Table,
    file: File,
}

impl Database {
    /// Makes writes durable. sled's flush survives a crash of the process, the sync survives a power cut.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.db.flush()?;
        self.file.sync_data().map_err(|error| StoreError::from(::sled::Error::Io(error)))
    }
}

pub(super) fn is_there(path: &Path) -> bool {
    path.join(FILE).is_file()
}

/// Opens sled's files. Moves them aside if they cannot be read.
pub(super) fn open(path: &Path) -> Result<Database, StoreError> {
    let open = || {
        let db = ::sled::Config::new().path(path).cache_capacity(CACHE).flush_every_ms(None).open()?;
        let tree = db.open_tree(TREE)?;
        Ok((db, tree))
    };
    // sled panics in cases where it could return an error. A damaged file must not end in a stack trace.
    let detail = match catch_unwind(AssertUnwindSafe(open)) {
        Ok(Ok((db, tree))) => {
            let open_error = |error| StoreError::Open { path: path.to_owned(), error };
            let file = File::open(path.join(FILE)).map_err(open_error)?;
            return Ok(Database { db, table: Table { tree, snapshots: Snapshots::default() }, file });
        }
        Ok(Err(::sled::Error::Io(error))) if is_lock_failure(&error) => {
            return Err(StoreError::Locked { path: path.to_owned() });
        }
        Ok(Err(::sled::Error::Io(error))) if !is_damage(&error) => {
            return Err(StoreError::Open { path: path.to_owned(), error });
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "sled gave up on it".to_owned(),
    };
    Err(quarantine(path, detail))
}

/// Moves a store aside and returns the error for it.
pub(super) fn quarantine(path: &Path, detail: String) -> StoreError {
    let path = path.to_owned();
    match move_aside(&path) {
        Ok(to) => StoreError::Quarantined { path, to, detail },
        Err(error) => StoreError::Open { path, error },
    }
}

fn move_aside(path: &Path) -> std::io::Result<PathBuf> {
    let free = (1_u32..).map(|number| path.with_added_extension(format!("quarantine-{number}")));
    let to =
        free.into_iter().find(|to| !to.exists()).unwrap_or_else(|| path.with_added_extension("quarantine"));
    std::fs::rename(path, &to)?;
    Ok(to)
}

/// sled reports a second opener as an error of kind `Other`.
fn is_lock_failure(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}

/// Whether the file's content is damaged, in contrast to a system error.
fn is_damage(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData)
}
