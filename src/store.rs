//! Everything that must survive a restart: accounts, tokens, links, decisions, markers, the outbox. Only this
//! folder knows keys and bytes.
//!
//! # How a write becomes durable
//!
//! One thread does all writes (`store/writer.rs`). It drains its queue, runs each operation against the
//! table and applies its writes as one atomic batch. Then it flushes once, syncs the file once, and answers
//! all callers. So an operation is atomic, operations run strictly one after the other (an operation can
//! read, decide and write without interference), and an answered write survives `kill -9` and, if the disk is
//! honest, a power cut. sled's asynchronous flush is never used: several at once can deadlock the process.
//!
//! # What a crash leaves behind
//!
//! - *Before the batch was applied*: nothing happened. The caller got no answer and will repeat the work,
//!   because its source (a watermark, a due candidate, a due outbox entry) is unchanged.
//! - *Between batch and flush*: all of the batch or nothing, again without an answer. Every operation reads
//!   the state before it writes, so running it twice is harmless.
//! - *After the flush, before the answer was read*: it is done. The caller repeats and finds it done.
//! - *With a lease out*: only one process can open the store, so opening it voids every lease and the entry
//!   is due at once. The receiver may have got it: the retry has the same id.
//!
//! If a flush fails (a full disk), memory is ahead of the disk. From then on the writer refuses everything
//! with [`StoreError::Failed`], so that nothing is sent based on data that may be lost. The daemon stops and
//! says so.
//!
//! A file beside the folder has the number of commits that the store is known to hold (`store/open.rs`). So a
//! store that is gone, emptied or cut short is noticed, and the daemon does not continue without its record
//! of who was asked.
//!
//! Reads go to the table directly and may see one operation but not yet the next, and of an operation that is not
//! answered yet one key but not yet another. A caller that acts on a read uses an operation that checks again. A read
//! of a few keys is done at once. A read of a whole family runs on its own thread, so that no async thread waits for it.
//!
//! # The seam
//!
//! Everything is read and written through a transaction (`store/txn.rs`), and an operation can run again. Below it is
//! one of two engines (`store/engine.rs`). Only `store/sled/` knows sled, only `store/postgres/` knows PostgreSQL.

mod accounts;
mod actions;
mod backup;
mod bursts;
mod causes;
mod changes;
mod codec;
mod decisions;
mod engine;
mod entry;
mod error;
mod find;
mod forget;
mod forwards;
mod health;
mod inbox;
mod key;
mod links;
mod markers;
mod migrations;
mod open;
mod outbox;
mod people;
mod place;
mod postgres;
mod prune;
mod reviews;
mod seal;
mod short;
mod sled;
mod subscriptions;
mod tallies;
mod tokens;
mod txn;
mod waiting;
mod writer;

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::model::{Account, AccountId, Switches};

pub use accounts::{Belongings, Change, Own};
pub use actions::Begun;
pub use backup::{Copied, RestoreError};
pub use changes::{Changed, ClientsCommit, RecordsCommit};
pub use decisions::{AskCommit, PlanCommit};
pub use error::{StoreError, is_full};
pub use forget::Erased;
pub use forwards::GapsCommit;
pub use inbox::Noted;
pub use links::{LinkRefusal, NewConnection, Start};
pub use open::IfMissing;
pub use outbox::{QueueRefusal, ReceiverId};
pub use place::Place;
pub use postgres::{Address, Answerer, Asked, Asker, Call, RelayError, Tenants};
pub use prune::Pruned;
pub use seal::Tokens;
pub use tokens::{Held, PairId};
pub use waiting::DueTimes;

use self::engine::{Table, Tenure};
use self::people::People;
use self::writer::Writer;
use seal::Sealer;
use txn::Txn;

/// The schema that this program writes. It reads every earlier one.
const SCHEMA: u32 = 9;

struct Inner {
    table: Table,
    writer: Writer,
    sealer: Sealer,
    people: People,
    place: Place,
    tenure: Tenure,
    awaited: std::sync::RwLock<causes::Awaited>,
}

/// The store. Cheap to clone: all clones are the same store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("place", &self.0.place).finish_non_exhaustive()
    }
}

impl Store {
    /// Waits until every accepted write is durable. The folder is free for another process when the last
    /// clone is dropped.
    pub async fn close(&self) {
        if let Some(commits) = self.0.writer.stop().await {
            self.note_tally(commits);
        }
    }

    /// Writes the number of commits beside the store, so that the next opening notices missing ones.
    pub async fn keep_tally(&self) -> Result<(), StoreError> {
        // The writer reads it, so it is the flushed number.
        let commits = self.write(|txn| txn.get::<u64>(&key::commits())).await?;
        self.note_tally(commits.unwrap_or_default());
        Ok(())
    }

    fn note_tally(&self, commits: u64) {
        if let Some(path) = self.0.place.folder()
            && let Err(error) = open::write_tally(path, commits)
        {
            tracing::warn!(%error, "the store's tally was not written");
        }
    }

    /// Waits until a write has failed, or another process may have taken the store over. After that all writes fail,
    /// and nothing may be acted on.
    pub async fn failed(&self) -> StoreError {
        match &self.0.tenure {
            Tenure::Own => self.0.writer.failed().await,
            Tenure::Leased(lease) => tokio::select! {
                failed = self.0.writer.failed() => failed,
                why = lease.lost() => StoreError::Failed(why),
            },
        }
    }

    /// Whether the store is still this process's own, as far as it can know by itself: not after a pause. To be asked right
    /// before something that must not be done twice and cannot be taken back.
    pub fn is_ours(&self) -> bool {
        match &self.0.tenure {
            Tenure::Own => true,
            Tenure::Leased(lease) => lease.is_good(),
        }
    }

    /// Where requests arrive that other daemons pass on. `None` if no other daemon can reach the store.
    pub fn answerer(&self) -> Option<Answerer> {
        match (&self.0.place, &self.0.tenure) {
            (Place::Postgres(address), Tenure::Leased(lease)) => {
                Some(Answerer::new(address, lease, self.0.sealer.clone()))
            }
            _ => None,
        }
    }

    /// Which daemons share the store. `None` if no other one can reach it.
    pub async fn tenants(&self) -> Result<Option<Tenants>, StoreError> {
        let Table::Postgres(table) = self.0.table.clone() else { return Ok(None) };
        let look = tokio::task::spawn_blocking(move || table.tenants()).await;
        look.map_err(|error| StoreError::CutOff(error.to_string()))?.map(Some)
    }

    /// Where the store is.
    pub fn place(&self) -> &Place {
        &self.0.place
    }

    /// Size on disk in bytes, with the blobs in folders of their own. 0 if it is not known.
    pub async fn size_on_disk(&self) -> u64 {
        let store = self.clone();
        let measure = move || match (&store.0.place, &store.0.table) {
            (Place::Folder(path), _) => size_of(path),
            (_, Table::Postgres(table)) => table.size().unwrap_or_default(),
            (_, Table::Sled(_)) => 0,
        };
        tokio::task::spawn_blocking(measure).await.unwrap_or_default()
    }

    /// Writes, flushes and reads back, like a real write.
    pub async fn probe(&self, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |txn| {
            txn.put(&key::probe(), &now);
            Ok(())
        })
        .await?;
        match self.get::<Timestamp>(&key::probe()).await? {
            Some(read) if read >= now => Ok(()),
            _ => Err(StoreError::Failed("the probe did not read back what it wrote".to_owned())),
        }
    }

    /// The instant of the last probe, by the clock of then.
    pub async fn last_probe(&self) -> Result<Option<Timestamp>, StoreError> {
        self.get(&key::probe()).await
    }

    /// Every connected account, by id.
    pub async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.scan(|txn| txn.values(key::ACCOUNT).collect()).await
    }

    /// The ids of all accounts: much less than the accounts, if there are many.
    pub async fn account_ids(&self) -> Result<Vec<AccountId>, StoreError> {
        let add = |mut ids: Vec<AccountId>, account: Account| {
            ids.push(account.id);
            ids
        };
        self.fold_accounts(Vec::new(), add).await
    }

    /// Goes through all accounts without keeping them.
    pub async fn fold_accounts<T: Send + 'static>(
        &self,
        start: T,
        mut add: impl FnMut(T, Account) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.scan(move |txn| txn.values(key::ACCOUNT).try_fold(start, |all, account| Ok(add(all, account?))))
            .await
    }

    /// One account.
    pub async fn account(&self, id: &AccountId) -> Result<Option<Account>, StoreError> {
        self.get(&key::account(id)).await
    }

    /// Stores the time zone of an account.
    pub async fn note_timezone(&self, id: &AccountId, timezone: String) -> Result<(), StoreError> {
        let key = key::account(id);
        self.write(move |txn| {
            let Some(mut account) = txn.get::<Account>(&key)? else { return Ok(()) };
            account.timezone = Some(timezone.clone());
            txn.put(&key, &account);
            Ok(())
        })
        .await
    }

    /// Stores that the week which ended at `due` was mailed to an account's contractor.
    pub async fn note_digest_told(&self, id: &AccountId, due: Timestamp) -> Result<(), StoreError> {
        let key = key::account(id);
        self.write(move |txn| {
            let Some(mut account) = txn.get::<Account>(&key)? else { return Ok(()) };
            account.digest_told = Some(due);
            txn.put(&key, &account);
            Ok(())
        })
        .await
    }

    /// Stores the switches that were counted in an account.
    pub async fn note_switches(
        &self,
        id: &AccountId,
        counted: Switches,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let key = key::account(id);
        self.write(move |txn| {
            let Some(mut account) = txn.get::<Account>(&key)? else { return Ok(()) };
            account.switches = Some((now, counted));
            txn.put(&key, &account);
            Ok(())
        })
        .await
    }

    /// Runs an operation and waits until its writes are durable. The operation may run more than once.
    async fn write<T: Send + 'static>(
        &self,
        operation: impl Fn(&mut Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let run = move |table: &Table| {
            let mut txn = Txn::new(table);
            let value = operation(&mut txn)?;
            Ok((value, txn.into_writes()))
        };
        self.0.writer.run(run).await
    }

    /// Reads a few keys, and yields so that many reads in a row do not starve other tasks. A database elsewhere is
    /// waited for on a thread of its own.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.0.table.is_remote() {
            return self.scan(read).await;
        }
        tokio::task::consume_budget().await;
        read(&Txn::new(&self.0.table))
    }

    async fn get<V: codec::Stored + Send + 'static>(&self, key: &[u8]) -> Result<Option<V>, StoreError> {
        if let Some(value) = self.0.table.at_hand(key) {
            tokio::task::consume_budget().await;
            return value.map(|bytes| codec::decode(&bytes)).transpose();
        }
        let key = key.to_vec();
        self.read(move |txn| txn.get(&key)).await
    }

    /// Reads any number of keys on a separate thread.
    async fn scan<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let table = self.0.table.clone();
        let scanned = tokio::task::spawn_blocking(move || read(&Txn::new(&table))).await;
        scanned.map_err(|error| StoreError::CutOff(error.to_string()))?
    }
}

/// Decodes bytes as every kind of value, and as the keys that are parsed.
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

fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            Some(if meta.is_dir() { size_of(&entry.path()) } else { meta.len() })
        })
        .sum()
}

#[cfg(test)]
mod tests;
