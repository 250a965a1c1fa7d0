//! The database below the store: PostgreSQL. Nothing outside this folder uses its types or speaks SQL.
//!
//! All entries lie in one table of keys and values, as they do in sled. One process at a time works with the store: the
//! one that holds the lease (`store/postgres/lease.rs`). Others wait for it and take over. Every commit checks the
//! lease in its own transaction, so a process that was paused past its lease commits nothing any more.
//!
//! Whoever waits is asked things all the same. Two tables beside the entries carry them to the holder and back
//! (`store/postgres/relay.rs`); they hold nothing that must survive.
//!
//! A transaction takes the operations of one group of the writer. Only the holder of the lease writes, so it conflicts
//! with nobody. If a commit's answer is lost, the writer refuses everything from then on and the daemon starts again, as
//! after a crash: the source of whatever was not answered is unchanged.

mod address;
mod cache;
mod lease;
mod relay;
mod table;

pub use address::Address;
pub(super) use lease::Lease;
pub use relay::{Answerer, Asked, Asker, Call, RelayError};
pub use table::Tenants;
pub(super) use table::{Snapshot, Table};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::postgres::{Client, Statement};

use self::cache::Cache;
use self::lease::Keeper;
use self::table::Source;
use super::StoreError;

/// What makes the tables and views; done again, it changes nothing.
const DEFINITION: &str = include_str!("postgres/definition.sql");

/// The version in it. It is done only where there is an older one: changing a view waits for whoever reads it.
const VERSION: i32 = 2;

/// How long a reader waits for a connection.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connections that read at the same time.
const READERS: u32 = 16;

impl From<::postgres::Error> for StoreError {
    fn from(error: ::postgres::Error) -> Self {
        // What the server says about a row could quote it.
        let words = match error.as_db_error() {
            Some(said) => format!("{} ({})", said.message(), said.code().code()),
            None => std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), |source| format!("{error}: {source}")),
        };
        Self::Away(words)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection with its statements.
struct Connection {
    /// `None` only while it is dropped.
    client: Option<Client>,
    statements: Statements,
}

struct Statements {
    get: Statement,
    get_together: Statement,
    last_together: Statement,
    ranges: Statement,
    up: Statement,
    down: Statement,
    put: Statement,
    delete: Statement,
    ours: Statement,
}

impl Connection {
    fn new(mut client: Client) -> Result<Self, ::postgres::Error> {
        let statements = Statements {
            get: client.prepare("SELECT value FROM jobber_reviewd.entries WHERE key = $1")?,
            get_together: client
                .prepare("SELECT key, value FROM jobber_reviewd.entries WHERE key = ANY($1)")?,
            last_together: client.prepare(
                "SELECT found.key, found.value, place FROM unnest($2::bytea[]) AS place, LATERAL (\
                 SELECT key, value FROM jobber_reviewd.entries WHERE key >= $1 AND key <= place ORDER BY key DESC LIMIT 1) AS found",
            )?,
            ranges: client.prepare(
                "SELECT key, value, number FROM unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY AS range (low, high, number), \
                 LATERAL (SELECT key, value FROM jobber_reviewd.entries WHERE key >= low AND key < high) AS found \
                 ORDER BY number, key",
            )?,
            up: client.prepare(
                "SELECT key, value FROM jobber_reviewd.entries WHERE key >= $1 AND key < $2 ORDER BY key LIMIT $3",
            )?,
            down: client.prepare(
                "SELECT key, value FROM jobber_reviewd.entries WHERE key >= $1 AND key < $2 ORDER BY key DESC LIMIT $3",
            )?,
            put: client.prepare(
                "INSERT INTO jobber_reviewd.entries SELECT * FROM unnest($1::bytea[], $2::bytea[]) \
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            )?,
            delete: client.prepare("DELETE FROM jobber_reviewd.entries WHERE key = ANY($1)")?,
            ours: client.prepare(lease::OURS)?,
        };
        Ok(Self { client: Some(client), statements })
    }

    fn is_closed(&self) -> bool {
        self.client.as_ref().is_none_or(Client::is_closed)
    }

    fn parts(&mut self) -> Result<(&mut Client, &Statements), StoreError> {
        let closed = || StoreError::Away("the connection is closed".to_owned());
        Ok((self.client.as_mut().ok_or_else(closed)?, &self.statements))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let client = self.client.take();
        // Its farewell waits for the server, which no async thread may.
        let _thread = std::thread::Builder::new().spawn(move || drop(client));
    }
}

/// Makes connections for the pool.
struct Connector(Address);

impl r2d2::ManageConnection for Connector {
    type Connection = Connection;
    type Error = StoreError;

    fn connect(&self) -> Result<Connection, StoreError> {
        Ok(Connection::new(self.0.connect()?)?)
    }

    fn is_valid(&self, connection: &mut Connection) -> Result<(), StoreError> {
        Ok(connection.parts()?.0.is_valid(PATIENCE)?)
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.is_closed()
    }
}

/// What the holder of the lease works with.
pub(super) struct Session {
    writer: Arc<Mutex<Connection>>,
    readers: r2d2::Pool<Connector>,
    address: Address,
    keeper: Keeper,
    cache: Arc<Cache>,
}

/// Why a session cannot begin now.
pub(super) enum NotYet {
    /// Another process holds the lease.
    Held(String),
    Away(StoreError),
}

impl Session {
    /// Takes the lease if it is free, and makes what is missing.
    pub(super) fn begin_with(address: &Address) -> Result<Self, NotYet> {
        let away = NotYet::Away;
        let refused = |error: ::postgres::Error| away(error.into());
        let mut client = address.connect().map_err(away)?;
        let known = "SELECT coalesce(substring(obj_description(to_regclass('jobber_reviewd.lease'), 'pg_class') \
            FROM 'definition ([0-9]+)')::integer, 0)";
        if client.query_one(known, &[]).map_err(refused)?.get::<_, i32>(0) < VERSION {
            client.batch_execute(DEFINITION).map_err(refused)?;
        }
        let keeper = Keeper::take(client, address)?;
        let writer = address.connect().and_then(|client| Ok(Connection::new(client)?)).map_err(away)?;
        let readers = r2d2::Pool::builder()
            .max_size(READERS)
            .min_idle(Some(1))
            .connection_timeout(PATIENCE)
            .test_on_check_out(false)
            .build(Connector(address.clone()))
            .map_err(|error| away(StoreError::Away(error.to_string())))?;
        let (writer, lease) = (Arc::new(Mutex::new(writer)), keeper.lease().clone());
        let cache = Arc::new(Cache::new(move || lease.is_good()));
        Ok(Self { writer, readers, address: address.clone(), keeper, cache })
    }

    /// The table as the writer sees it.
    pub(super) fn table(&self) -> Table {
        Table::new(Source::Writer(Arc::clone(&self.writer)), Arc::clone(&self.cache), self.address.clone())
    }

    pub(super) fn for_readers(&self) -> Table {
        Table::new(Source::Readers(self.readers.clone()), Arc::clone(&self.cache), self.address.clone())
    }

    pub(super) fn begin(&self) -> Result<(), StoreError> {
        self.cache.begin();
        Ok(lock(&self.writer).parts()?.0.batch_execute("BEGIN")?)
    }

    /// Commits what was applied, if the lease is still ours.
    pub(super) fn commit(&self) -> Result<(), StoreError> {
        let done = self.try_commit();
        match done {
            Ok(()) => self.cache.committed(),
            Err(_) => self.cache.give_up(),
        }
        done
    }

    fn try_commit(&self) -> Result<(), StoreError> {
        let mut writer = lock(&self.writer);
        let (client, statements) = writer.parts()?;
        self.keeper.lease().prove(client, &statements.ours)?;
        Ok(client.batch_execute("COMMIT")?)
    }

    pub(super) fn roll_back(&self) -> Result<(), StoreError> {
        Ok(lock(&self.writer).parts()?.0.batch_execute("ROLLBACK")?)
    }

    /// Lets a transaction wait for more than the server: for a file that is read meanwhile.
    pub(super) fn take_time(&self) -> Result<(), StoreError> {
        // Nobody reads meanwhile.
        self.cache.give_up();
        let patient = "SET idle_in_transaction_session_timeout = 0";
        Ok(lock(&self.writer).parts()?.0.batch_execute(patient)?)
    }

    pub(super) fn release(&self) {
        self.keeper.release();
    }

    pub(super) fn lease(&self) -> Lease {
        self.keeper.lease().clone()
    }
}
