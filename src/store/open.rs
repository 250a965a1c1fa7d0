//! Opens the store: is it ours, is it complete, can we read its schema?
//!
//! A daemon that continues with an empty store would ask everybody again. So a *tally* file beside the
//! store's folder keeps the number of commits that the store is known to hold. It is written only after a
//! flush, so it can only lag behind.
//!
//! | The store | The tally | |
//! |---|---|---|
//! | does not exist | does not exist | first start: the daemon creates one |
//! | does not exist | exists | refused: the store is gone |
//! | is empty | exists | moved aside, refused |
//! | cannot be read | | moved aside, refused |
//! | has fewer commits than the tally | | refused: sled cut off a damaged end, or it is an old copy |
//! | has as many or more | | opened |
//!
//! A store in PostgreSQL has no tally: the database itself is kept from ending short.
//!
//! Older schemas are migrated in the commit that opens the store. The index of decisions is built before it, in parts, and anew if it was cut off.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::engine::Database;
use super::place::Place;
use super::postgres::{NotYet, Session};
use super::sled::is_there;
use super::txn::Txn;
use super::writer::Writer;
use super::{Inner, People, SCHEMA, Sealer, Store, StoreError, find, key, migrations, outbox, sled};
use crate::store_key::StoreKey;

/// How long a process that waits for the store waits before it looks again.
const AGAIN: Duration = Duration::from_secs(1);

/// What to do if there is no store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMissing {
    /// Fail.
    Refuse,
    /// Create an empty one, unless there was one before.
    MakeFirst,
    /// Create an empty one in any case: the operator accepts that everything is forgotten.
    MakeAnyway,
}

#[derive(Debug, Serialize, Deserialize)]
struct Tally {
    commits: u64,
}

pub(super) fn tally_path(path: &Path) -> PathBuf {
    path.with_added_extension("tally")
}

/// Replaces the whole tally atomically.
pub(super) fn write_tally(path: &Path, commits: u64) -> std::io::Result<()> {
    let to = tally_path(path);
    let new = to.with_added_extension("new");
    let mut file = File::create(&new)?;
    serde_json::to_writer(&mut file, &Tally { commits })?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(new, to)
}

/// Reads the tally. An unreadable tally still proves that there was a store.
fn read_tally(path: &Path) -> std::io::Result<Option<u64>> {
    match std::fs::read(tally_path(path)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).map_or(0, |tally: Tally| tally.commits))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Store {
    /// Whether it is certain that no store is or was in the folder `path`. What may not be looked at is not certain.
    pub fn was_never_in(path: &Path) -> bool {
        let is_missing = |path: &Path| matches!(path.try_exists(), Ok(false));
        is_missing(&sled::file_in(path)) && is_missing(&tally_path(path))
    }

    /// Whether a store is or was in another folder beside `path`.
    pub fn is_beside_another(path: &Path) -> bool {
        let beside = path.parent().and_then(|parent| std::fs::read_dir(parent).ok());
        let own = tally_path(path);
        beside
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .any(|other| other != own && other.extension().is_some_and(|extension| extension == "tally"))
    }

    /// Opens the store in the folder `path`.
    ///
    /// Blocks, because opening reads the log. Leases left by an earlier process are released.
    pub fn open(path: &Path, key: &StoreKey, if_missing: IfMissing) -> Result<Self, StoreError> {
        let open_error = |error| StoreError::Open { path: path.to_owned(), error };
        let tally = read_tally(path).map_err(open_error)?;
        if !is_there(path) {
            match (if_missing, tally) {
                (IfMissing::MakeAnyway, _) | (IfMissing::MakeFirst, None) => {}
                (_, Some(_)) => return Err(StoreError::Gone { path: path.to_owned() }),
                (IfMissing::Refuse, None) => return Err(StoreError::Missing { path: path.to_owned() }),
            }
        }
        std::fs::create_dir_all(path).map_err(open_error)?;
        if !is_ours(path) {
            return Err(StoreError::Foreign { path: path.to_owned() });
        }
        let opened = match sled::open(path) {
            Err(error @ StoreError::Quarantined { .. }) if if_missing == IfMissing::MakeAnyway => {
                tracing::warn!(%error, "an empty store was accepted in its place");
                sled::open(path)
            }
            opened => opened,
        };
        Self::begin(Database::sled(opened?), path.into(), key, if_missing, tally)
    }

    /// Opens the store in a place. Blocks.
    pub fn open_in(place: &Place, key: &StoreKey, if_missing: IfMissing) -> Result<Self, StoreError> {
        match place {
            Place::Folder(path) => Self::open(path, key, if_missing),
            Place::Postgres(address) => match Session::begin_with(address) {
                Ok(session) => Self::begin(Database::postgres(session), place.clone(), key, if_missing, None),
                Err(NotYet::Held(by)) => Err(StoreError::Held { place: place.to_string(), by }),
                Err(NotYet::Away(error)) => Err(error),
            },
        }
    }

    /// Opens the store in a place as soon as nobody else works with it. Blocks. `tell` hears every second why not yet, and says
    /// whether to go on.
    pub fn wait_for(
        place: &Place,
        key: &StoreKey,
        if_missing: IfMissing,
        mut tell: impl FnMut(&StoreError) -> bool,
    ) -> Result<Self, StoreError> {
        loop {
            match Self::open_in(place, key, if_missing) {
                Err(error @ (StoreError::Held { .. } | StoreError::Away(_))) => {
                    if !tell(&error) {
                        return Err(error);
                    }
                    std::thread::sleep(AGAIN);
                }
                opened => return opened,
            }
        }
    }

    /// Takes an open database as a store: complete, readable, with the right key.
    fn begin(
        database: Database,
        place: Place,
        key: &StoreKey,
        if_missing: IfMissing,
        tally: Option<u64>,
    ) -> Result<Self, StoreError> {
        let ready = Self::ready(&database, &place, key, if_missing, tally);
        let (sealer, commits) = ready.inspect_err(|_| database.release())?;
        let named = || place.named();
        if let Some(path) = place.folder() {
            write_tally(path, commits).map_err(|error| StoreError::Open { path: named(), error })?;
        }
        let (table, tenure) = (database.for_readers(), database.tenure());
        let writer =
            Writer::start(database, commits).map_err(|error| StoreError::Open { path: named(), error })?;
        let (awaited, people) = (std::sync::RwLock::default(), People::new(key));
        people.look(&Txn::new(&table))?;
        Ok(Self(Arc::new(Inner { table, writer, sealer, people, place, tenure, awaited })))
    }

    /// Brings the database to the present schema. Returns the number of its commits.
    fn ready(
        database: &Database,
        place: &Place,
        key: &StoreKey,
        if_missing: IfMissing,
        tally: Option<u64>,
    ) -> Result<(Sealer, u64), StoreError> {
        let sealer = Sealer::new(key);
        database.begin()?;
        let mut txn = Txn::new(&database.table);
        match (txn.get::<u32>(&key::schema())?, place.folder()) {
            (None, Some(path)) if tally.is_some() && if_missing != IfMissing::MakeAnyway => {
                // sled treats a file that it does not understand as empty.
                return Err(sled::quarantine(path, "nothing is in it".to_owned()));
            }
            (None, None) if if_missing == IfMissing::Refuse => {
                return Err(StoreError::Missing { path: place.named() });
            }
            (None, _) => {
                txn.put_raw(key::key_check(), sealer.key_check());
                txn.put(&key::commits(), &1_u64);
                tracing::info!(store.place = %place, "made a new, empty store");
            }
            (Some(found @ 1..=SCHEMA), folder) => {
                let commits = match found {
                    // Schema 1 had no commit count.
                    1 => 0,
                    _ => txn.get::<u64>(&key::commits())?.ok_or_else(|| StoreError::Corrupt {
                        family: "counter",
                        detail: "it is missing".to_owned(),
                    })?,
                };
                if let Some(missing @ 1..) = tally.and_then(|tally| tally.checked_sub(commits))
                    && let Some(path) = folder
                {
                    let tally = tally_path(path);
                    return Err(StoreError::Stale { path: path.to_owned(), missing, tally });
                }
                if found < 9 && txn.get_raw(&key::key_check())?.is_some_and(|check| sealer.fits(&check)) {
                    find::index_all(database)?;
                }
                migrations::migrate(&mut txn, found)?;
                txn.put(&key::commits(), &(commits + 1));
            }
            (Some(found), _) => return Err(StoreError::Schema { path: place.named(), found }),
        }
        txn.put(&key::schema(), &SCHEMA);
        if !txn.get_raw(&key::key_check())?.is_some_and(|check| sealer.fits(&check)) {
            return Err(StoreError::WrongKey { path: place.named() });
        }
        outbox::release_leases(&mut txn)?;
        let commits = txn.get::<u64>(&key::commits())?.unwrap_or_default();
        database.table.apply(txn.into_writes())?;
        database.flush()?;
        Ok((sealer, commits))
    }
}

/// Whether the folder belongs to our user, who owns our entry in `/proc`.
fn is_ours(path: &Path) -> bool {
    match (std::fs::metadata(path), std::fs::metadata("/proc/self")) {
        (Ok(folder), Ok(process)) => folder.uid() == process.uid(),
        // Opening it will give the error.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixture, at, id, job, key, unlocked};
    use super::*;
    use crate::domain::model::{
        AccountId, Connection, ContactKey, EncodedId, Marker, MessageId, MessageKind, WorkKind, WorkRef,
    };
    use crate::domain::rules::Policy;

    fn open(path: &Path, if_missing: IfMissing) -> Result<Store, StoreError> {
        unlocked(|| Store::open(path, &key(1), if_missing))
    }

    fn refused(path: &Path) -> StoreError {
        open(path, IfMissing::MakeFirst).unwrap_err()
    }

    #[tokio::test]
    async fn a_store_is_made_once_and_not_again_behind_our_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        assert!(matches!(open(&path, IfMissing::Refuse), Err(StoreError::Missing { .. })));
        assert!(!path.exists());
        open(&path, IfMissing::MakeFirst).unwrap().close().await;

        let away = folder.path().join("away");
        std::fs::rename(&path, &away).unwrap();
        for if_missing in [IfMissing::Refuse, IfMissing::MakeFirst] {
            let error = open(&path, if_missing).unwrap_err();
            assert!(matches!(error, StoreError::Gone { .. }), "{error}");
            assert!(error.to_string().contains("--accept-empty-store"), "{error}");
        }
        assert!(!path.exists());
        open(&path, IfMissing::MakeAnyway).unwrap().close().await;
        open(&path, IfMissing::MakeFirst).unwrap().close().await;
    }

    #[tokio::test]
    async fn an_emptied_store_is_no_store() {
        let fixture = Fixture::connected_in_folder().await;
        let path = fixture.path();
        let _folder = fixture.put_away().await;
        drop(unlocked(|| {
            let database = sled::open(&path)?;
            database.table.clear()?;
            database.flush()
        }));
        assert!(matches!(refused(&path), StoreError::Quarantined { .. }));
        let store = open(&path, IfMissing::MakeAnyway).unwrap();
        assert_eq!(store.accounts().await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_store_that_lost_its_end_is_refused_and_left_alone() {
        let fixture = Fixture::connected_in_folder().await;
        let path = fixture.path();
        let old = fixture.folder.path().join("old");
        let folder = fixture.put_away().await;
        std::process::Command::new("cp").arg("-a").args([&path, &old]).status().unwrap();
        let fixture = Fixture { store: open(&path, IfMissing::MakeFirst).unwrap(), folder };
        fixture.asked("j1").await;
        let _folder = fixture.put_away().await;
        std::fs::remove_dir_all(&path).unwrap();
        std::fs::rename(&old, &path).unwrap();

        let error = refused(&path);
        // The commits of open, plan and ask.
        assert!(matches!(error, StoreError::Stale { missing: 3, .. }), "{error}");
        std::fs::remove_file(tally_path(&path)).unwrap();
        assert_eq!(open(&path, IfMissing::MakeFirst).unwrap().accounts().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_damaged_store_is_moved_aside_and_no_empty_one_takes_its_place() {
        let fixture = Fixture::connected_in_folder().await;
        let path = fixture.path();
        let _folder = fixture.put_away().await;
        for number in 1..=2 {
            std::fs::write(path.join("conf"), "segment_size: much\n").unwrap();
            std::fs::write(path.join("db"), [0x5a; 4096]).unwrap();
            let error = refused(&path);
            let StoreError::Quarantined { to, .. } = &error else { panic!("{error}") };
            assert_eq!(*to, path.with_added_extension(format!("quarantine-{number}")));
            assert!(to.join("db").is_file() && !path.exists(), "{error}");
            assert!(matches!(refused(&path), StoreError::Gone { .. }));
            std::fs::create_dir(&path).unwrap();
        }
        std::fs::write(path.join("conf"), "segment_size: much\n").unwrap();
        std::fs::write(path.join("db"), [0x5a; 4096]).unwrap();
        assert_eq!(open(&path, IfMissing::MakeAnyway).unwrap().accounts().await.unwrap(), []);
    }

    fn write(path: &Path, entries: &[(&[u8], &[u8])]) {
        // A raw string has no escapes, so the version byte is added here.
        let value = |value: &[u8]| {
            value.strip_prefix(br"\x01").map_or(value.to_vec(), |json| [b"\x01", json].concat())
        };
        let entries = entries.iter().map(|(key, raw)| (key.to_vec(), value(raw)));
        sled::write_old(path, entries.collect());
    }

    /// An outbox as schema 4 wrote it: a leased ask, a dead letter, an event. Never change a line.
    #[tokio::test]
    async fn what_schema_4_wrote_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let sealer = Sealer::new(&key(1));
        write(
            &path,
            &[
                (b"meta\0schema", b"\x014"),
                (b"meta\0commits", b"\x0112"),
                (b"meta\0key_check", &sealer.key_check()),
                (
                    b"outbox\0ask_1",
                    br#"\x01{"id":"ask_1","account":"acc","work":{"kind":"job","id":"j1"},"trigger":"job_completed","body":"{}","created_at":"2026-03-10T11:00:00Z","attempt":1,"failures":0,"state":"leased","until":"1970-01-01T00:00:00Z"}"#,
                ),
                (b"outdue\0\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0ask_1", b"acc"),
                (
                    b"outbox\0ask_2",
                    br#"\x01{"id":"ask_2","account":"acc","work":{"kind":"job","id":"j2"},"trigger":"job_completed","body":"{}","created_at":"2026-03-10T11:00:00Z","attempt":10,"failures":10,"state":"dead","at":"2026-03-14T11:00:00Z","reason":"exhausted"}"#,
                ),
                (
                    b"outbox\0evt_1",
                    br#"\x01{"id":"evt_1","account":"acc","work":{"kind":"client","id":"c1"},"trigger":"job_completed","body":"{}","created_at":"2026-03-10T11:00:00Z","attempt":0,"failures":0,"state":"due","at":"1970-01-01T00:00:00Z"}"#,
                ),
                (b"outdue\0\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0evt_1", b"acc"),
            ],
        );
        let store = open(&path, IfMissing::Refuse).unwrap();
        let due = store.due_messages(at(0), 10).await.unwrap();
        let of = |kind| due[&(id(), kind, None)].iter().map(MessageId::as_str).collect::<Vec<_>>();
        assert_eq!((of(MessageKind::Ask), of(MessageKind::Change)), (vec!["ask_1"], vec!["evt_1"]));
        let counts = store.outbox_counts().await.unwrap().by_account[&id()];
        assert_eq!((counts.queued, counts.dead), (2, 1));
        store.close().await;
        assert_eq!(read_tally(&path).unwrap(), Some(13));
    }

    /// A store as schema 1 wrote it. Never change a line.
    #[tokio::test]
    async fn what_schema_1_wrote_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let sealer = Sealer::new(&key(1));
        let entries: [(&[u8], &[u8]); 7] = [
            (b"meta\0schema", b"\x011"),
            (b"meta\0key_check", &sealer.key_check()),
            (
                b"account\0acc",
                br#"\x01{"id":"acc","name":"Ace Plumbing","label":"ace","trigger":"job_completed","connected_at":"2026-03-01T00:00:00Z","asks_from":"2026-03-01T00:00:00Z","connection":{"state":"connected"},"watermarks":{"jobs":"2026-03-10T09:00:00Z"},"reconciled_at":null}"#,
            ),
            (
                b"decision\0acc\0job\0j1",
                br#"\x01{"work":{"kind":"job","id":"j1"},"trigger":"job_completed","finished_at":"2026-03-10T09:00:00Z","at":"2026-03-10T11:00:00Z","outcome":"asked","ask_id":"ask_1","delivery":{"state":"queued"},"subject":{"phone":"+15551234567"}}"#,
            ),
            (b"marker\0acc\0job\0j1", br#"\x01{"by":"job","ask_id":"ask_1","at":"2026-03-10T11:00:00Z"}"#),
            (
                b"outbox\0ask_1",
                br#"\x01{"id":"ask_1","account":"acc","work":{"kind":"job","id":"j1"},"trigger":"job_completed","body":"{}","created_at":"2026-03-10T11:00:00Z","attempt":1,"failures":1,"state":"due","at":"1970-01-01T00:00:00Z","last":{"at":"2026-03-10T11:00:05Z","status":503,"error":"HTTP 503"}}"#,
            ),
            (b"outdue\0\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0ask_1", b""),
        ];
        write(&path, &entries);

        let store = open(&path, IfMissing::Refuse).unwrap();
        assert_eq!(store.get::<u32>(&key::schema()).await.unwrap(), Some(SCHEMA));
        let account = store.account(&AccountId::new("acc")).await.unwrap().unwrap();
        assert_eq!(account.connection, Connection::Connected);
        let work = WorkRef::job(EncodedId::new("j1"));
        let marker = store.markers(&id(), &work, &[]).await.unwrap().remove(&work).unwrap();
        assert!(matches!(marker, Marker { by: WorkKind::Job, .. }));
        assert!(store.decision(&id(), &job("j1")).await.unwrap().is_some());
        // Contacts were not stored then: the decisions tell who was asked.
        let contacts = [ContactKey::phone("(555) 123-4567").unwrap()];
        let past = store.past(&id(), &job("j2"), &[], None, &contacts, &Policy::default()).await.unwrap();
        assert_eq!(past.contacted.unwrap().ask_id.as_str(), "ask_1");
        assert_eq!(store.due_messages(at(0), 10).await.unwrap()[&(id(), MessageKind::Ask, None)].len(), 1);
        store.close().await;
        assert_eq!(read_tally(&path).unwrap(), Some(1));
    }

    #[tokio::test]
    async fn a_newer_schema_is_left_alone() {
        let fixture = Fixture::connected_in_folder().await;
        let path = fixture.path();
        let _folder = fixture.put_away().await;
        unlocked(|| {
            let database = sled::open(&path)?;
            let newer = super::super::codec::encode(&(SCHEMA + 1));
            database.table.apply([(key::schema(), Some(newer))].into())?;
            database.flush()?;
            Ok(())
        })
        .unwrap();
        let error = refused(&path);
        assert!(matches!(error, StoreError::Schema { .. }), "{error}");
        assert!(path.join("db").is_file());
    }
}
