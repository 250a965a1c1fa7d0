//! The database below the store: sled. Nothing outside this folder uses sled's types, paths or iterators.

mod layout;
mod snapshot;

use std::fs::File;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::entry::{Bytes, Entry, Writes};
use super::{StoreError, key};

pub(super) use snapshot::Snapshot;

use layout::short_key;
use snapshot::Snapshots;

/// The tree. Its name includes the version of the layout.
const TREE: &str = "jobber-reviewd.2";

/// The tree of schemas 1 to 8, with keys and values as they are.
const OLD_TREE: &str = "jobber-reviewd.1";

const FILE: &str = "db";

const CACHE: u64 = 8 * 1024 * 1024;

/// Entries that are moved at once: one by one they take several times the space.
const TOGETHER: usize = 256;

/// Bytes that are moved between two flushes: what is not flushed stays in memory.
const UNFLUSHED: usize = 8 * 1024 * 1024;

/// The schema that the old tree has after everything was moved out of it, as `codec.rs` writes it.
const MOVED: &[u8] = b"\x019";

#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct DatabaseError(#[from] ::sled::Error);

impl From<::sled::Error> for StoreError {
    fn from(error: ::sled::Error) -> Self {
        Self::Database(DatabaseError(error))
    }
}

#[derive(Clone)]
pub(super) struct Table {
    tree: ::sled::Tree,
    snapshots: Snapshots,
}

impl Table {
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let key = short_key(key);
        self.tree.get(&key)?.map(|value| layout::unpacked(&key, value)).transpose()
    }

    /// Every entry with a key that begins with `prefix`: a family, or an account of one, with what sorts by time in
    /// its order. A concurrent write may or may not be seen.
    pub(super) fn scan(&self, prefix: &[u8]) -> impl Iterator<Item = Result<Entry, StoreError>> + use<> {
        self.tree.scan_prefix(short_key(prefix)).map(layout::entry)
    }

    /// Every entry at or after `from` with a key that begins with `prefix`.
    pub(super) fn scan_from(
        &self,
        from: &[u8],
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<Entry, StoreError>> + use<> {
        let prefix = short_key(prefix);
        let entries = self.tree.range(short_key(from)..);
        entries
            .take_while(move |entry| entry.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix)))
            .map(layout::entry)
    }

    /// The first entry at or after `from`.
    pub(super) fn first(&self, from: Bound<Vec<u8>>) -> Result<Option<Entry>, StoreError> {
        let from = from.map(|key| short_key(&key));
        self.tree.range((from, Bound::Unbounded)).next().map(layout::entry).transpose()
    }

    /// The entries at or before `last` with a key that begins with `prefix`, the last first.
    pub(super) fn back_from(
        &self,
        prefix: &[u8],
        last: &[u8],
    ) -> impl Iterator<Item = Result<Entry, StoreError>> + use<> {
        self.tree.range(short_key(prefix)..=short_key(last)).rev().map(layout::entry)
    }

    /// Writes all of it or nothing. It is durable after the next flush.
    pub(super) fn apply(&self, writes: Writes) -> Result<(), StoreError> {
        let short = |(key, value): (Vec<u8>, Option<Vec<u8>>)| {
            let key = short_key(&key);
            let value = value.map(|value| layout::packed(&key, value));
            (key, value)
        };
        let writes: Writes = writes.into_iter().map(short).collect();
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
    file_in(path).is_file()
}

/// The database's file in a store's folder.
pub(super) fn file_in(path: &Path) -> PathBuf {
    path.join(FILE)
}

/// Opens sled's files. Moves them aside if they cannot be read.
pub(super) fn open(path: &Path) -> Result<Database, StoreError> {
    let open = || {
        let db = ::sled::Config::new().path(path).cache_capacity(CACHE).flush_every_ms(None).open()?;
        let tree = current_tree(&db, path)?;
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

/// The tree, with everything that an earlier program put into the old one. Cut off, this begins anew.
fn current_tree(db: &::sled::Db, path: &Path) -> ::sled::Result<::sled::Tree> {
    // The flush survives a crash of the process, the sync a power cut.
    let sync = || File::open(path.join(FILE))?.sync_data().map_err(::sled::Error::Io);
    let old = db.open_tree(OLD_TREE)?;
    let schema = key::schema();
    if old.get(&schema)?.is_some_and(|mark| mark == MOVED) {
        return db.open_tree(TREE);
    }
    if !old.is_empty() {
        tracing::info!("moving the store to the layout of this version");
        db.drop_tree(TREE)?;
        let tree = db.open_tree(TREE)?;
        let (mut moved, mut unflushed) = (0_usize, 0);
        let mut together = ::sled::Batch::default();
        for entry in &old {
            let (key, value) = entry?;
            // The index of decisions is made anew.
            if key.starts_with(key::FIND) {
                continue;
            }
            unflushed += key.len() + value.len();
            let short = short_key(&key);
            let value = layout::packed(&short, value.to_vec());
            together.insert(short, value);
            moved += 1;
            if moved.is_multiple_of(TOGETHER) {
                tree.apply_batch(std::mem::take(&mut together))?;
            }
            if unflushed >= UNFLUSHED {
                db.flush()?;
                unflushed = 0;
            }
            if moved.is_multiple_of(1_000_000) {
                tracing::info!(entries = moved, "moving the store to the layout of this version");
            }
        }
        tree.apply_batch(together)?;
        db.flush()?;
        sync()?;
        db.drop_tree(OLD_TREE)?;
    }
    // An earlier program finds a schema that it does not know, and leaves the store alone.
    db.open_tree(OLD_TREE)?.insert(schema, MOVED)?;
    db.flush()?;
    sync()?;
    db.open_tree(TREE)
}

/// Leaves the store in `path` as schema 7 had it.
pub(super) fn downgrade(path: &Path) -> Result<(), StoreError> {
    let database = open(path)?;
    let Database { db, table, .. } = &database;
    db.drop_tree(OLD_TREE).map_err(StoreError::from)?;
    let old = db.open_tree(OLD_TREE).map_err(StoreError::from)?;
    let mut unflushed = 0;
    for entry in table.scan(b"") {
        let (key, value) = entry?;
        if key.starts_with(key::FIND) {
            continue;
        }
        unflushed += key.len() + value.len();
        old.insert(&*key, &*value).map_err(StoreError::from)?;
        if unflushed >= UNFLUSHED {
            database.flush()?;
            unflushed = 0;
        }
    }
    old.insert(key::schema(), b"\x017").map_err(StoreError::from)?;
    db.drop_tree(TREE).map_err(StoreError::from)?;
    database.flush()
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

/// The database itself, as soon as sled's threads have let go of it.
#[cfg(test)]
fn raw(path: &Path) -> ::sled::Db {
    loop {
        match ::sled::Config::new().path(path).open() {
            Err(::sled::Error::Io(error)) if is_lock_failure(&error) => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

/// Writes entries as schemas 1 to 8 had them.
#[cfg(test)]
pub(super) fn write_old(path: &Path, entries: Vec<(Vec<u8>, Vec<u8>)>) {
    let db = raw(path);
    let tree = db.open_tree(OLD_TREE).unwrap();
    for (key, value) in entries {
        tree.insert(key, value).unwrap();
    }
    db.flush().unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_marked(db: &::sled::Db) -> bool {
        db.open_tree(OLD_TREE).unwrap().get(key::schema()).unwrap().is_some_and(|mark| mark == MOVED)
    }

    /// Again while sled's threads still hold the lock.
    fn unlocked<T>(mut open: impl FnMut() -> Result<T, StoreError>) -> T {
        loop {
            match open() {
                Err(StoreError::Locked { .. }) => std::thread::yield_now(),
                opened => return opened.unwrap(),
            }
        }
    }

    #[test]
    fn a_move_that_was_cut_off_begins_anew_or_is_completed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let names: Vec<String> = (0..600).map(|number| format!("decision\0acc\0job\0j{number}")).collect();
        let entry = |name: &String| (name.clone().into_bytes(), b"\x01{}".to_vec());
        write_old(&path, names.iter().map(entry).chain([(b"find\0old".to_vec(), vec![])]).collect());
        {
            // Killed while it copied: something is there, and more than that is not.
            let db = raw(&path);
            db.open_tree(TREE).unwrap().insert(b"\x01half", b"").unwrap();
            db.flush().unwrap();
        }
        let there = |database: &Database| {
            let mut keys = 0;
            for entry in database.table.scan(b"") {
                assert!(entry.unwrap().0.starts_with(key::DECISION));
                keys += 1;
            }
            keys
        };
        let database = unlocked(|| open(&path));
        assert_eq!(there(&database), names.len());
        assert!(is_marked(&database.db));
        // Killed between the end of the old tree and its mark.
        database.db.drop_tree(OLD_TREE).unwrap();
        database.flush().unwrap();
        drop(database);
        let database = unlocked(|| open(&path));
        assert_eq!(there(&database), names.len());
        assert!(is_marked(&database.db), "an earlier program leaves it alone");
    }
}
