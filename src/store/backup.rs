//! Export and restore: the whole store as lines of JSON, independent of the version of sled.
//!
//! The first line is a header, then follows one line per entry, and the last line has a checksum of all
//! before it. So a truncated copy is detected. Tokens stay sealed and are useless without the store key.
//!
//! An export is a consistent snapshot, read in parts while the daemon works on (`store/sled/snapshot.rs`). Asks sent after the export are sent again
//! after a restore, under the same ids, because ids are derived from account, trigger and work.

use std::io::BufRead;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::engine::{Database, Snapshot};
use super::entry::Writes;
use super::open::{tally_path, write_tally};
use super::place::Place;
use super::postgres::{NotYet, Session};
use super::sled::{self, is_there};
use super::txn::Txn;
use super::{SCHEMA, Sealer, Store, StoreError, key};
use crate::store_key::StoreKey;

/// Format 1 counted the entries in its first line, format 2 counts them in its last.
const FORMAT: u32 = 2;

/// Bytes that are read at once.
const PART: usize = 64 * 1024;

/// Entries that are restored at once: one by one they take several times the space.
const TOGETHER: usize = 256;

/// Bytes that are restored between two flushes: what is not flushed stays in memory.
const UNFLUSHED: usize = 8 * 1024 * 1024;

/// Maximum bytes per line. A longer line means that the file is no export.
const LONGEST_LINE: u64 = 64 * 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    jobber_reviewd_export: u32,
    schema: u32,
    made_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entries: Option<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    k: String,
    v: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Tail {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entries: Option<usize>,
    sha256: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    pub made_at: Timestamp,
    pub entries: usize,
    pub accounts: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("the export cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("the store {path} cannot be written: {error}; nothing was restored")]
    Write { path: std::path::PathBuf, error: std::io::Error },
    #[error("the file is not a complete export: {0}; use another copy")]
    Broken(&'static str),
    #[error(
        "the export was made by a newer version (format {format}, schema {schema}): install that version"
    )]
    Newer { format: u32, schema: u32 },
    #[error("there is a store at {0}: move it away first, because restore does not overwrite a store")]
    Occupied(std::path::PathBuf),
    #[error("there is a store in {0}: use another database, because restore does not overwrite a store")]
    Full(String),
    #[error("the store key does not match this export: use the key of the store it was made from")]
    WrongKey,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An export that is being written.
pub struct Export {
    snapshot: Arc<Snapshot>,
    copied: Copied,
    hash: Sha256,
    head: Option<String>,
    is_done: bool,
}

impl Export {
    /// The next part: whole lines, in order. `None` at the end.
    pub async fn next(&mut self) -> Result<Option<String>, StoreError> {
        if self.is_done {
            return Ok(None);
        }
        let snapshot = Arc::clone(&self.snapshot);
        let read = tokio::task::spawn_blocking(move || snapshot.next(PART)).await;
        let entries = read.map_err(|error| StoreError::CutOff(error.to_string()))??;
        self.is_done = entries.is_empty();
        let mut part = self.head.take().unwrap_or_default();
        for (key, value) in &entries {
            self.copied.accounts += usize::from(key.starts_with(key::ACCOUNT));
            part.push_str(&line(&Entry {
                k: STANDARD_NO_PAD.encode(&**key),
                v: STANDARD_NO_PAD.encode(&**value),
            }));
        }
        self.copied.entries += entries.len();
        self.hash.update(part.as_bytes());
        if self.is_done {
            let tail = Tail { entries: Some(self.copied.entries), sha256: hex(self.hash.clone()) };
            part.push_str(&line(&tail));
        }
        Ok(Some(part))
    }

    /// What was written so far.
    pub fn contents(&self) -> &Copied {
        &self.copied
    }
}

fn line(value: &impl Serialize) -> String {
    // Plain data always encodes.
    let mut line = serde_json::to_string(value).unwrap_or_default();
    line.push('\n');
    line
}

fn hex(hash: Sha256) -> String {
    use std::fmt::Write as _;

    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        // A String accepts every write.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

impl Store {
    /// A snapshot of the store between two writes.
    pub async fn export(&self, now: Timestamp) -> Result<Export, StoreError> {
        let snapshot = Arc::new(self.write(|txn| txn.snapshot()).await?);
        let copied = Copied { made_at: now, entries: 0, accounts: 0 };
        let head = Head { jobber_reviewd_export: FORMAT, schema: SCHEMA, made_at: now, entries: None };
        Ok(Export { snapshot, copied, hash: Sha256::new(), head: Some(line(&head)), is_done: false })
    }

    /// Creates a store in a place from an export: completely or not at all. Blocks.
    pub fn restore_in(place: &Place, key: &StoreKey, export: impl BufRead) -> Result<Copied, RestoreError> {
        let address = match place {
            Place::Folder(path) => return Self::restore(path, key, export),
            Place::Postgres(address) => address,
        };
        let database = match Session::begin_with(address) {
            Ok(session) => {
                session.take_time()?;
                Database::postgres(session)
            }
            Err(NotYet::Held(by)) => return Err(StoreError::Held { place: place.to_string(), by }.into()),
            Err(NotYet::Away(error)) => return Err(error.into()),
        };
        let restored = database.begin().map_err(RestoreError::from).and_then(|()| {
            match Txn::new(&database.table).get_raw(&key::schema())? {
                Some(_) => Err(RestoreError::Full(place.to_string())),
                None => fill(&database, key, export),
            }
        });
        // What was not committed is rolled back with the connection.
        database.release();
        restored.map(|(copied, _)| copied)
    }

    /// Creates a store in the folder `path` from an export: completely or not at all.
    ///
    /// Blocks. When run as root, the store is given to the owner of the parent folder.
    pub fn restore(path: &Path, key: &StoreKey, export: impl BufRead) -> Result<Copied, RestoreError> {
        if is_there(path) {
            return Err(RestoreError::Occupied(path.to_owned()));
        }
        let new = path.with_added_extension("restoring");
        let _left_over = std::fs::remove_dir_all(&new);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let restored = sled::open(&new)
            .map_err(RestoreError::from)
            .and_then(|database| fill(&Database::sled(database), key, export));
        let (copied, commits) = match restored {
            Ok(restored) => restored,
            Err(error) => {
                let _nothing_stays = std::fs::remove_dir_all(&new);
                return Err(error);
            }
        };
        // An empty folder may be replaced, any other may not.
        match std::fs::remove_dir(path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => return Err(RestoreError::Occupied(path.to_owned())),
        }
        let put = || {
            write_tally(path, commits)?;
            give_to_owner(&new, path)?;
            std::fs::rename(&new, path)?;
            path.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
        };
        match put() {
            Ok(()) => Ok(copied),
            Err(error) => {
                let _nothing_stays = std::fs::remove_dir_all(&new);
                Err(RestoreError::Write { path: path.to_owned(), error })
            }
        }
    }
}

/// Reads an export into a new store. Returns its contents and its number of commits.
fn fill(
    database: &Database,
    store_key: &StoreKey,
    mut export: impl BufRead,
) -> Result<(Copied, u64), RestoreError> {
    let mut hash = Sha256::new();
    let text = next_line(&mut export)?;
    let head: Head = serde_json::from_str(&text)
        .map_err(|_| RestoreError::Broken("its first line is not that of an export"))?;
    if head.jobber_reviewd_export > FORMAT || head.schema > SCHEMA {
        return Err(RestoreError::Newer { format: head.jobber_reviewd_export, schema: head.schema });
    }
    hash.update(text.as_bytes());
    let mut copied = Copied { made_at: head.made_at, entries: 0, accounts: 0 };
    let (mut together, mut unflushed) = (Writes::new(), 0);
    let tail = loop {
        let text = next_line(&mut export)?;
        let broken = || RestoreError::Broken("one of its lines is not an entry");
        let Ok(entry) = serde_json::from_str::<Entry>(&text) else {
            break serde_json::from_str::<Tail>(&text).map_err(|_| broken())?;
        };
        let (key, value) = (STANDARD_NO_PAD.decode(entry.k), STANDARD_NO_PAD.decode(entry.v));
        let (Ok(key), Ok(value)) = (key, value) else { return Err(broken()) };
        copied.entries += 1;
        copied.accounts += usize::from(key.starts_with(key::ACCOUNT));
        unflushed += key.len() + value.len();
        // The index of earlier schemas is made anew.
        if head.schema >= 9 || !key.starts_with(key::FIND) {
            together.insert(key, Some(value));
        }
        if together.len() >= TOGETHER {
            database.table.apply(std::mem::take(&mut together))?;
        }
        if unflushed >= UNFLUSHED {
            database.relieve()?;
            unflushed = 0;
        }
        hash.update(text.as_bytes());
    };
    database.table.apply(together)?;
    if tail.sha256 != hex(hash) {
        return Err(RestoreError::Broken("its checksum is wrong"));
    }
    if head.entries.or(tail.entries) != Some(copied.entries) {
        return Err(RestoreError::Broken("it does not have as many entries as it says"));
    }
    let txn = Txn::new(&database.table);
    let key_check = txn.get_raw(&key::key_check())?;
    if !key_check.is_some_and(|check| Sealer::new(store_key).fits(&check)) {
        return Err(RestoreError::WrongKey);
    }
    let commits = txn.get::<u64>(&key::commits())?.unwrap_or_default();
    database.flush()?;
    Ok((copied, commits))
}

fn next_line(export: &mut impl BufRead) -> Result<String, RestoreError> {
    let mut text = String::new();
    std::io::Read::take(&mut *export, LONGEST_LINE).read_line(&mut text).map_err(|error| {
        match error.kind() {
            std::io::ErrorKind::InvalidData => RestoreError::Broken("it is not text"),
            _ => RestoreError::Io(error),
        }
    })?;
    if text.ends_with('\n') { Ok(text) } else { Err(RestoreError::Broken("it ends too early")) }
}

/// The folder's owner must be able to open what root restored.
fn give_to_owner(new: &Path, path: &Path) -> std::io::Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    let owner = std::fs::metadata(folder)?;
    if std::fs::metadata(new)?.uid() == owner.uid() {
        return Ok(());
    }
    let mut all = vec![new.to_owned(), tally_path(path)];
    while let Some(next) = all.pop() {
        chown(&next, Some(owner.uid()), Some(owner.gid()))?;
        if next.is_dir() {
            for entry in std::fs::read_dir(&next)? {
                all.push(entry?.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use secrecy::ExposeSecret as _;

    use super::super::IfMissing;
    use super::super::tests::{Fixture, at, cluster, id, job, key as store_key, unlocked};
    use super::*;

    async fn exported() -> (Fixture, String) {
        let fixture = Fixture::connected().await;
        fixture.asked("j1").await;
        let (copied, text) = export(&fixture.store).await;
        assert_eq!((copied.accounts, copied.made_at), (1, at(7)));
        (fixture, text)
    }

    async fn export(store: &Store) -> (Copied, String) {
        let mut export = store.export(at(7)).await.unwrap();
        let mut text = String::new();
        while let Some(part) = export.next().await.unwrap() {
            text.push_str(&part);
        }
        (export.contents().clone(), text)
    }

    #[tokio::test]
    async fn everything_comes_back() {
        let (fixture, text) = exported().await;
        let path = fixture.folder.path().join("restored");
        let copied = Store::restore(&path, &store_key(1), text.as_bytes()).unwrap();
        assert_eq!((copied.accounts, copied.made_at), (1, at(7)));
        let store = unlocked(|| Store::open(&path, &store_key(1), IfMissing::Refuse)).unwrap();
        assert_eq!(store.accounts().await.unwrap(), fixture.store.accounts().await.unwrap());
        assert_eq!(
            store.decision(&id(), &job("j1")).await.unwrap(),
            fixture.store.decision(&id(), &job("j1")).await.unwrap()
        );
        assert_eq!(
            store.due_messages(at(9), 9).await.unwrap(),
            fixture.store.due_messages(at(9), 9).await.unwrap()
        );
        assert_eq!(store.tokens(&id()).await.unwrap().unwrap().tokens.refresh.expose_secret(), "ref");
        let (_, again) = export(&store).await;
        assert_eq!(again.lines().count(), text.lines().count());
        assert!(!text.contains("ref") || !text.contains("acc\""), "tokens are sealed");
    }

    /// Entries that are added, changed and removed while an export is read are in it as they were when it began.
    #[tokio::test]
    async fn an_export_is_of_one_moment() {
        let fixture = Fixture::connected().await;
        let key = |number: u32| format!("test/{number:05}").into_bytes();
        let put = async |numbers: std::ops::Range<u32>, value: Option<&'static [u8]>| {
            let write = move |txn: &mut Txn<'_>| {
                for number in numbers.clone() {
                    match value {
                        Some(value) => txn.put_raw(key(number), value.repeat(20)),
                        None => txn.remove(&key(number)),
                    }
                }
                Ok(())
            };
            fixture.store.write(write).await.unwrap();
        };
        put(0..9_000, Some(b"first")).await;
        let (_, at_first) = export(&fixture.store).await;
        let mut export = fixture.store.export(at(7)).await.unwrap();
        let mut text = String::new();
        let mut parts = 0;
        while let Some(part) = export.next().await.unwrap() {
            text.push_str(&part);
            parts += 1;
            // Before, around and behind what is read now.
            put(parts * 700..parts * 700 + 900, Some(b"second")).await;
            put(8_000 - parts * 300..8_200 - parts * 300, None).await;
            put(9_000 + parts * 50..9_040 + parts * 50, Some(b"new")).await;
        }
        assert!(parts > 9, "{parts} parts");
        let entries = |text: &str| -> Vec<String> {
            // Not the commits, which the test itself counts up.
            text.lines().filter(|line| line.contains("\"k\":\"dGVzdC")).map(str::to_owned).collect()
        };
        assert_eq!(entries(&at_first).len(), 9_000);
        assert!(entries(&text) == entries(&at_first), "the export is not of one moment");
        let path = fixture.folder.path().join("restored");
        Store::restore(&path, &super::super::tests::key(1), text.as_bytes()).unwrap();
    }

    /// Exports of earlier versions have their number of entries in the first line.
    #[tokio::test]
    async fn an_export_of_format_1_is_restored() {
        let (fixture, text) = exported().await;
        let count = text.lines().count() - 2;
        let body: Vec<&str> = text.lines().skip(1).take(count).collect();
        let head = format!(
            "{{\"jobber_reviewd_export\":1,\"schema\":{SCHEMA},\"made_at\":\"{}\",\"entries\":{count}}}\n",
            at(7)
        );
        let mut old = head + &body.join("\n") + "\n";
        let sum = hex(Sha256::new_with_prefix(old.as_bytes()));
        old += &line(&Tail { entries: None, sha256: sum });
        let path = fixture.folder.path().join("restored");
        let copied = Store::restore(&path, &store_key(1), old.as_bytes()).unwrap();
        assert_eq!((copied.entries, copied.accounts), (count, 1));
    }

    #[tokio::test]
    async fn a_copy_that_is_not_whole_is_refused_and_leaves_nothing() {
        let (fixture, text) = exported().await;
        let path = fixture.folder.path().join("restored");
        let restore = |text: &[u8]| Store::restore(&path, &store_key(1), text).unwrap_err().to_string();
        let lines: Vec<&str> = text.lines().collect();
        for count in 0..lines.len() {
            let cut = lines[..count].iter().fold(String::new(), |cut, line| cut + line + "\n");
            assert!(
                restore(cut.as_bytes()).starts_with("the file is not a complete export"),
                "{count} lines"
            );
        }
        assert!(restore(&text.as_bytes()[..text.len() - 1]).starts_with("the file is not a complete export"));
        let changed = text.replacen("\"v\":\"", "\"v\":\"AAAA", 1);
        assert!(restore(changed.as_bytes()).contains("its checksum is wrong"));
        assert!(restore(b"\xff\xfe").contains("it is not text"));
        let newer = text.replacen(&format!("\"schema\":{SCHEMA}"), "\"schema\":99", 1);
        assert!(restore(newer.as_bytes()).contains("install that version"));
        let left: Vec<_> = std::fs::read_dir(fixture.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(left.iter().all(|name| name.to_str().unwrap().starts_with("store")), "{left:?}");
    }

    /// The entries of an export, without the number of commits: opening is one.
    fn entries(text: &str) -> BTreeSet<&str> {
        let commits = STANDARD_NO_PAD.encode(key::commits());
        text.lines().filter(|line| line.starts_with("{\"k\"") && !line.contains(&commits)).collect()
    }

    #[tokio::test]
    async fn an_export_of_either_engine_restores_into_the_other() {
        let Some(url) = cluster::any() else { return };
        let fixture = Fixture::connected_in_folder().await;
        fixture.asked("j1").await;
        let (_, text) = export(&fixture.store).await;
        let place = Place::Postgres(Box::new(super::super::Address::parse(&url, None).unwrap()));
        let on_a_thread = |work: &(dyn Fn() -> Result<Copied, RestoreError> + Sync)| {
            std::thread::scope(|scope| scope.spawn(work).join().unwrap())
        };
        // Cut short, it leaves nothing behind.
        let short = text.rsplit_once("{\"entries\"").unwrap().0;
        let broken = on_a_thread(&|| Store::restore_in(&place, &store_key(1), short.as_bytes()));
        assert!(matches!(broken, Err(RestoreError::Broken(_))), "{broken:?}");
        on_a_thread(&|| Store::restore_in(&place, &store_key(1), text.as_bytes())).unwrap();
        let full = on_a_thread(&|| Store::restore_in(&place, &store_key(1), text.as_bytes()));
        assert!(matches!(full, Err(RestoreError::Full(_))), "{full:?}");

        let open = || Store::open_in(&place, &store_key(1), IfMissing::Refuse);
        let store = std::thread::scope(|scope| scope.spawn(open).join().unwrap()).unwrap();
        let (_, there) = export(&store).await;
        assert_eq!(entries(&there), entries(&text));
        store.close().await;
        let path = fixture.folder.path().join("back");
        Store::restore(&path, &store_key(1), there.as_bytes()).unwrap();
        let store = unlocked(|| Store::open(&path, &store_key(1), IfMissing::Refuse)).unwrap();
        let (_, back) = export(&store).await;
        assert_eq!(entries(&back), entries(&text));
    }

    #[tokio::test]
    async fn another_key_or_a_store_in_the_way_is_refused() {
        let (fixture, text) = exported().await;
        let path = fixture.folder.path().join("restored");
        let error = Store::restore(&path, &store_key(2), text.as_bytes()).unwrap_err();
        assert!(matches!(error, RestoreError::WrongKey), "{error}");
        let place = fixture.store.place();
        let restore = || Store::restore_in(place, &store_key(1), text.as_bytes()).unwrap_err();
        let error = std::thread::scope(|scope| scope.spawn(restore).join().unwrap());
        let is_held = matches!(error, RestoreError::Store(StoreError::Held { .. }));
        assert!(is_held || matches!(error, RestoreError::Occupied(_)), "{error}");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("note"), "mine").unwrap();
        let error = Store::restore(&path, &store_key(1), text.as_bytes()).unwrap_err();
        assert!(matches!(error, RestoreError::Occupied(_)), "{error}");
        assert_eq!(std::fs::read_to_string(path.join("note")).unwrap(), "mine");
    }
}
