//! What must survive: accounts, tokens, links, decisions, markers, the outbox. The only place that knows
//! keys and bytes.
//!
//! # How a write becomes durable
//!
//! One thread owns all writes (`store/writer.rs`). It drains its queue, runs each operation against the tree and
//! applies what the operation wrote as one atomic batch, then flushes once, syncs the file once, and only
//! then answers everybody. So an operation is all or nothing, operations are strictly one after the other
//! (an operation may read, decide and write without anybody in between), and an answered write survives
//! `kill -9` and, as far as the disk keeps its word, a power cut. sled's asynchronous flush is never used:
//! several at once can deadlock the process.
//!
//! # What a crash leaves behind
//!
//! - *Before the batch was applied*: nothing happened. The caller never got an answer; it will come back to
//!   the same work, because what it works on (a watermark, a due candidate, a due outbox entry) still stands.
//! - *Between batch and flush*: all of the batch or nothing of it, again without an answer. Every operation
//!   looks at the state before it writes, so doing it twice is the same as once.
//! - *After the flush, before the answer was read*: it is done. The caller repeats and finds it done.
//! - *With a lease out*: only one process can hold the store, so on opening every lease is void and the
//!   entry is due at once. The receiver may have got it: the retry carries the same id.
//!
//! If a flush fails (a full disk), memory is ahead of the disk. The writer then refuses everything from
//! there on with [`StoreError::Failed`], so that nothing is sent on the strength of what may be forgotten.
//! The daemon stops and says so.
//!
//! Beside the folder lies a file with the number of commits the store is known to hold (`store/open.rs`): a store that
//! is gone, emptied or cut short is noticed, and the daemon does not go on with one that forgot whom it asked.
//!
//! Reads go to the tree directly. They may see one operation but not yet the next; whoever acts on a
//! read does so through an operation that looks again.

mod accounts;
mod backup;
mod changes;
mod codec;
mod decisions;
mod inbox;
mod key;
mod links;
mod open;
mod outbox;
mod people;
mod prune;
mod seal;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use crate::digest;
use crate::domain::model::{Account, AccountId, Alert, Connection, Failure, Health, LostReason};

pub use accounts::{Belongings, Change};
pub use backup::{Copied, Export, RestoreError};
pub use changes::{Changed, ClientsCommit, RecordsCommit};
pub use decisions::{AskCommit, PlanCommit};
pub use inbox::Noted;
pub use links::{LinkRefusal, NewConnection, Start};
pub use open::IfMissing;
pub use outbox::{OutboxCounts, QueueCount, QueueRefusal, ReceiverId};
pub use seal::Tokens;

use seal::Sealer;
use writer::{Txn, Writer};

/// The schema this program writes. It reads every earlier one.
const SCHEMA: u32 = 4;

/// The one tree; its name carries the layout of the keys.
const TREE: &str = "jobber-reviewd.1";

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error(
        "the store {path} is in use by another process: stop that process, or reach it through its control socket"
    )]
    Locked {
        /// The store's folder.
        path: PathBuf,
    },
    /// There is none.
    #[error("there is no store at {path}: start the daemon once, it makes one")]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// There was one, and it is gone: what it knew of who was asked is gone with it.
    #[error(
        "the store {path} is gone, and with it who was asked: restore a backup (`jobber-reviewd restore FILE`), or start once with --accept-empty-store and send every contractor a new link"
    )]
    Gone {
        /// The folder.
        path: PathBuf,
    },
    /// It cannot be read, and was moved out of the way.
    #[error(
        "the store {path} cannot be read ({detail}) and was moved to {to}: restore a backup (`jobber-reviewd restore FILE`), or start once with --accept-empty-store and send every contractor a new link"
    )]
    Quarantined {
        /// The folder.
        path: PathBuf,
        /// Where it is now.
        to: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// It lacks commits that it once had.
    #[error(
        "the store {path} is a damaged or an older copy: its last {missing} commits are missing, and with them who was asked; restore a newer backup (`jobber-reviewd restore FILE`), or, if this copy was put there on purpose, remove {tally} and start again"
    )]
    Stale {
        /// The folder.
        path: PathBuf,
        /// How many are missing.
        missing: u64,
        /// The file that says so.
        tally: PathBuf,
    },
    /// It belongs to another user: what we wrote there, that user's daemon could not read.
    #[error(
        "the store {path} belongs to another user: let the running daemon do this, or do it as that user"
    )]
    Foreign {
        /// The store's folder.
        path: PathBuf,
    },
    /// The folder cannot be made or opened.
    #[error("the store {path} cannot be opened: {error}; {}", remedy(error))]
    Open {
        /// The store's folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Its tokens were sealed with another key.
    #[error("the store key does not fit the store {path}: give the key it was made with")]
    WrongKey {
        /// The store's folder.
        path: PathBuf,
    },
    /// A newer or unknown program wrote it.
    #[error(
        "the store {path} has schema {found}, this program reads schema {SCHEMA}: install the version that wrote it"
    )]
    Schema {
        /// The store's folder.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
    /// A value does not decode.
    #[error("a value of the store cannot be read ({family}): {detail}")]
    Corrupt {
        /// Which kind of value.
        family: &'static str,
        /// What is wrong with it; never its content.
        detail: String,
    },
    /// sled failed.
    #[error("the store failed: {0}")]
    Sled(#[from] sled::Error),
    /// A flush failed earlier, or the writer is gone.
    #[error("the store no longer accepts writes ({0}); mend that and start again, nothing is lost")]
    Failed(String),
}

fn remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        _ if is_full(error) => "make room on its disk, nothing is lost",
        std::io::ErrorKind::ReadOnlyFilesystem => "let it be written to",
        _ => "check that its folder exists and belongs to this user",
    }
}

/// Whether there was no room.
pub fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;

    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::FileTooLarge | ErrorKind::QuotaExceeded)
}

struct Inner {
    tree: sled::Tree,
    writer: Writer,
    sealer: Sealer,
    path: PathBuf,
}

/// The store. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.0.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Waits until every accepted write is durable, and gives the folder free for another process once
    /// the last clone is dropped.
    pub async fn close(&self) {
        if let Some(commits) = self.0.writer.stop().await {
            self.note_tally(commits);
        }
    }

    /// Writes down, beside the store, how many commits it holds: whoever opens it next sees when some are missing.
    pub async fn keep_tally(&self) -> Result<(), StoreError> {
        // Read by the writer: there it is the number that was flushed.
        let commits = self.write(|txn| txn.get::<u64>(&key::commits())).await?;
        self.note_tally(commits.unwrap_or_default());
        Ok(())
    }

    fn note_tally(&self, commits: u64) {
        if let Err(error) = open::write_tally(&self.0.path, commits) {
            tracing::warn!(%error, "the store's tally was not written");
        }
    }

    /// Waits until a write has failed: from then on all do, and nothing may be acted on.
    pub async fn failed(&self) -> StoreError {
        self.0.writer.failed().await
    }

    /// The store's folder.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Bytes on disk.
    pub fn size_on_disk(&self) -> u64 {
        std::fs::read_dir(&self.0.path)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.metadata().ok())
            .filter(std::fs::Metadata::is_file)
            .map(|meta| meta.len())
            .sum()
    }

    /// Writes, flushes and reads back, as every real write does.
    pub async fn probe(&self, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |txn| {
            txn.put(&key::probe(), &now);
            Ok(())
        })
        .await?;
        match self.get::<Timestamp>(&key::probe())? {
            Some(read) if read >= now => Ok(()),
            _ => Err(StoreError::Failed("the probe did not read back what it wrote".to_owned())),
        }
    }

    /// Every connected account, by id.
    pub fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.scan(key::ACCOUNT).map(|entry| entry.map(|(_, account)| account)).collect()
    }

    /// One account.
    pub fn account(&self, id: &AccountId) -> Result<Option<Account>, StoreError> {
        self.get(&key::account(id))
    }

    /// Notes the time zone of an account.
    pub async fn note_timezone(&self, id: &AccountId, timezone: String) -> Result<(), StoreError> {
        let key = key::account(id);
        self.write(move |txn| {
            let Some(mut account) = txn.get::<Account>(&key)? else { return Ok(()) };
            account.timezone = Some(timezone);
            txn.put(&key, &account);
            Ok(())
        })
        .await
    }

    /// Every trouble that stands, and every end of one that was not told yet.
    pub fn alerts(&self) -> Result<Vec<Alert>, StoreError> {
        self.scan(key::ALERT).map(|entry| entry.map(|(_, alert)| alert)).collect()
    }

    /// Stores troubles as they stand now, and forgets those that are over and told.
    pub async fn put_alerts(&self, alerts: Vec<Alert>) -> Result<(), StoreError> {
        self.write(move |txn| {
            for alert in alerts {
                if alert.over.is_some() && alert.told {
                    txn.remove(&key::alert(&alert.key));
                } else {
                    txn.put(&key::alert(&alert.key), &alert);
                }
            }
            Ok(())
        })
        .await
    }

    /// How the last sweeps of an account went.
    pub fn health(&self, id: &AccountId) -> Result<Health, StoreError> {
        Ok(self.get(&key::health(id))?.unwrap_or_default())
    }

    /// Notes how the sweeps of several accounts went, in one commit: well, or what failed and whether that needs the
    /// operator. Answers how each stood before and stands now.
    pub async fn note_sweeps(
        &self,
        notes: Vec<(AccountId, Result<(), Failure>)>,
        now: Timestamp,
    ) -> Result<Vec<(AccountId, Health, Health)>, StoreError> {
        self.write(move |txn| {
            let mut changes = Vec::with_capacity(notes.len());
            for (id, result) in notes {
                // Removed while it was swept.
                if txn.get_raw(&key::account(&id))?.is_none() {
                    continue;
                }
                let before: Health = txn.get(&key::health(&id))?.unwrap_or_default();
                let mut after = before.clone();
                match result {
                    Ok(()) => {
                        after.last_success = Some(now);
                        after.failing_since = None;
                        after.last_error = None;
                        after.needs_operator = false;
                    }
                    Err(failure) => {
                        after.failing_since = before.failing_since.or(Some(now));
                        // An outage in the middle does not mend what only the operator can.
                        if failure.needs_operator || !before.needs_operator {
                            after.last_error = Some(failure.detail);
                            after.needs_operator = failure.needs_operator;
                        }
                    }
                }
                txn.put(&key::health(&id), &after);
                changes.push((id, before, after));
            }
            Ok(changes)
        })
        .await
    }

    /// Notes whether what is due in an account can be read.
    pub async fn note_asking(&self, id: &AccountId, works: bool, now: Timestamp) -> Result<(), StoreError> {
        if works == self.health(id)?.asking_fails_since.is_none() {
            return Ok(());
        }
        let key = key::health(id);
        self.write(move |txn| {
            let mut health: Health = txn.get(&key)?.unwrap_or_default();
            health.asking_fails_since = if works { None } else { health.asking_fails_since.or(Some(now)) };
            txn.put(&key, &health);
            Ok(())
        })
        .await
    }

    /// Notes that Jobber does not let us in any more; whether that was news.
    ///
    /// It counts only for the pair of tokens that Jobber refused: the contractor may have authorised anew while
    /// the refusal was on its way.
    pub async fn lose_connection(
        &self,
        id: &AccountId,
        reason: LostReason,
        refused: Option<PairId>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let id = id.clone();
        self.write(move |txn| {
            let Some(mut account) = txn.get::<Account>(&key::account(&id))? else { return Ok(false) };
            if !account.connection.is_connected() || !holds(txn, &id, refused.as_ref())? {
                return Ok(false);
            }
            account.connection = Connection::NeedsAuthorization { reason, since: now };
            txn.put(&key::account(&id), &account);
            Ok(true)
        })
        .await
    }

    /// The tokens of an account.
    pub fn tokens(&self, id: &AccountId) -> Result<Option<Held>, StoreError> {
        match self.0.tree.get(key::token(id))? {
            Some(sealed) => {
                let tokens = self.0.sealer.open(id, &sealed)?;
                Ok(Some(Held { tokens, pair: PairId::of(&sealed) }))
            }
            None => Ok(None),
        }
    }

    /// Notes, durably and before Jobber is asked, that this pair is about to be refreshed. Answers when that was
    /// noted before without a new pair having come of it: the refresh token may be spent.
    ///
    /// A store that cannot take a write shows here, while the old pair still stands.
    pub async fn begin_refresh(
        &self,
        id: &AccountId,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let key = key::refreshing(id);
        self.write(move |txn| {
            let before = txn.get::<Timestamp>(&key)?;
            if before.is_none() {
                txn.put(&key, &now);
            }
            Ok(before)
        })
        .await
    }

    /// Notes that a refresh was answered and brought no new pair: the old one stands as it was.
    pub async fn end_refresh(&self, id: &AccountId) -> Result<(), StoreError> {
        let key = key::refreshing(id);
        self.write(move |txn| {
            txn.remove(&key);
            Ok(())
        })
        .await
    }

    /// Stores a new pair in place of `old`; durable when this returns. `false` if another pair took its place
    /// meanwhile: that one stays.
    pub async fn replace_tokens(
        &self,
        id: &AccountId,
        old: &PairId,
        new: &Tokens,
    ) -> Result<bool, StoreError> {
        let sealed = self.0.sealer.seal(id, new)?;
        let (id, old) = (id.clone(), old.clone());
        self.write(move |txn| {
            if !holds(txn, &id, Some(&old))? {
                return Ok(false);
            }
            put_pair(txn, &id, sealed);
            Ok(true)
        })
        .await
    }

    async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.0.writer.run(operation).await
    }

    fn get<V: codec::Stored>(&self, key: &[u8]) -> Result<Option<V>, StoreError> {
        self.0.tree.get(key)?.map(|bytes| codec::decode(&bytes)).transpose()
    }

    fn scan<V: codec::Stored>(
        &self,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(sled::IVec, V), StoreError>> + use<V> {
        self.0.tree.scan_prefix(prefix).map(|entry| {
            let (key, bytes) = entry?;
            Ok((key, codec::decode(&bytes)?))
        })
    }
}

/// An account's tokens, and which pair they are.
#[derive(Debug, Clone)]
pub struct Held {
    /// The tokens.
    pub tokens: Tokens,
    /// Which pair.
    pub pair: PairId,
}

/// Names a pair of tokens without telling anything of it: the digest of the sealed pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairId(String);

impl PairId {
    fn of(sealed: &[u8]) -> Self {
        Self(digest::of_bytes(sealed))
    }
}

/// Whether the stored pair is `pair`; where there is none, whether none was meant.
fn holds(txn: &Txn<'_>, id: &AccountId, pair: Option<&PairId>) -> Result<bool, StoreError> {
    let stored = txn.get_raw(&key::token(id))?.map(|sealed| PairId::of(&sealed));
    Ok(stored.as_ref() == pair)
}

/// Writes a pair. Whatever refresh was under way is over.
fn put_pair(txn: &mut Txn<'_>, id: &AccountId, sealed: Vec<u8>) {
    txn.put_raw(key::token(id), sealed);
    txn.remove(&key::refreshing(id));
}

/// Reads bytes as every kind of value, and as the keys that are read back.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzzed(bytes: &[u8]) {
    codec::fuzzed(bytes);
    if let Some((at, account, work)) = key::parse_due(bytes) {
        assert!(key::due(at, &account, &work) == bytes, "a key that does not read back");
    }
    if let Some((at, id)) = key::parse_outbox_due(bytes) {
        assert!(key::outbox_due(at, &id) == bytes, "a key that does not read back");
    }
}

#[cfg(test)]
mod tests;
