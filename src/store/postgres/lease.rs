//! The lease: which process works with the store. It counts by the server's clock.
//!
//! Its holder extends it every few seconds, and has a lock of PostgreSQL as long as its connection lives. A holder that
//! died is followed at once, because the lock ends with its connection; one that was paused, or that nobody hears, when
//! its lease ran out: its connection is ended then. Whoever follows gets a higher *fence*, and a commit with an older
//! fence is refused. So a holder that was paused cannot write, whatever its own clock says.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::postgres::{Client, Statement};
use tokio::sync::watch;

use super::{Address, NotYet};
use crate::store::StoreError;

/// How long a lease is good after it was extended.
const LIFE: Duration = Duration::from_secs(15);

/// Stands for an extension that has to wait for the end of the old connection.
const NOT_YET: u64 = u64::MAX;

/// How often it is extended.
const EVERY: Duration = Duration::from_secs(4);

/// The lock of PostgreSQL that the holder's connection has: `reviewd` in ASCII.
const LOCK: i64 = 0x0072_6576_6965_7764;

/// For how long its holder relies on it: it stops a little before the end.
const RELIED_ON: Duration = Duration::from_secs(12);

/// What a process knows about its lease.
#[derive(Clone)]
pub(in crate::store) struct Lease {
    fence: i64,
    /// Until when it is good for certain, by this machine's steady clock.
    until: Arc<Mutex<Instant>>,
    lost: watch::Receiver<Option<String>>,
}

impl Lease {
    /// Whether it is good as far as this process can know: not after a pause. Commits are proved by the server.
    pub(in crate::store) fn is_good(&self) -> bool {
        Instant::now() < *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fence(&self) -> i64 {
        self.fence
    }

    /// Waits until the lease is lost, or was not extended for too long, whatever the thread waits for.
    pub(in crate::store) async fn lost(&self) -> String {
        let mut lost = self.lost.clone();
        while self.is_good() {
            let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
            let heard = async { lost.wait_for(Option::is_some).await.ok().and_then(|why| why.clone()) };
            tokio::select! {
                why = heard => match why {
                    Some(why) => return why,
                    // It was given back.
                    None => return std::future::pending().await,
                },
                () = tokio::time::sleep_until(until.into()) => {}
            }
        }
        AWAY.to_owned()
    }

    /// Fails if another process may hold the lease. Nobody can take it until the transaction of `client` ends.
    pub(super) fn prove(&self, client: &mut Client, ours: &Statement) -> Result<(), StoreError> {
        match client.query_opt(ours, &[&self.fence])? {
            Some(_) => Ok(()),
            None => Err(StoreError::Failed(GONE.to_owned())),
        }
    }
}

const AWAY: &str = "PostgreSQL is away, and the lease ran out";

const GONE: &str =
    "another process may have taken it over, because this one was paused or the server was away";

/// Finds the lease of a fence, if it is good, and keeps it from being taken until the transaction ends.
pub(super) const OURS: &str =
    "SELECT 1 FROM jobber_reviewd.lease WHERE one AND fence = $1 AND until > clock_timestamp() FOR SHARE";

/// Keeps the lease on a thread of its own.
pub(super) struct Keeper {
    lease: Lease,
    stop: Sender<()>,
    /// Hears nothing until the thread has ended.
    ended: Mutex<Receiver<()>>,
}

impl Keeper {
    /// Takes the lease if nobody holds it.
    pub(super) fn take(mut client: Client, address: &Address) -> Result<Self, NotYet> {
        let away = |error: ::postgres::Error| NotYet::Away(error.into());
        let asked = Instant::now();
        if !has_lock(&mut client).map_err(away)? {
            let holder = "SELECT owner, until < clock_timestamp() FROM jobber_reviewd.lease";
            let (owner, is_over) = match client.query_opt(holder, &[]).map_err(away)? {
                Some(row) => (row.get(0), row.get(1)),
                None => (String::new(), false),
            };
            if !is_over || !evict(&mut client).map_err(away)? {
                return Err(NotYet::Held(owner));
            }
        }
        let row = client
            .query_one(
                "INSERT INTO jobber_reviewd.lease AS held (owner, backend, fence, until) \
                 VALUES (coalesce(host(inet_client_addr()), 'its own machine') || ', process ' || $1::text, \
                         pg_backend_pid(), extract(epoch FROM clock_timestamp())::bigint, \
                         clock_timestamp() + $2::text::interval) \
                 ON CONFLICT (one) DO UPDATE SET owner = excluded.owner, backend = excluded.backend, \
                         fence = held.fence + 1, until = excluded.until \
                 RETURNING fence",
                &[&std::process::id().to_string(), &life()],
            )
            .map_err(away)?;
        let until = Arc::new(Mutex::new(good_until(asked)));
        let (lose, lost) = watch::channel(None);
        let (stop, stopped) = channel();
        let (is_alive, ended) = channel();
        let lease = Lease { fence: row.get(0), until, lost };
        let (mine, address) = (lease.clone(), address.clone());
        std::thread::Builder::new()
            .name("store-lease".to_owned())
            .spawn(move || {
                let _alive: Sender<()> = is_alive;
                let mut client = Some(client);
                while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                    if let Err(why) = extend(&mut client, &address, &mine)
                        && (why.is_some() || !mine.is_good())
                    {
                        lose.send_replace(Some(why.unwrap_or_else(|| AWAY.to_owned())));
                        return;
                    }
                }
                let back = "UPDATE jobber_reviewd.lease SET until = '-infinity' WHERE fence = $1";
                if let Some(client) = &mut client {
                    // If it does not come through, the lease ends by itself.
                    let _ends = client.execute(back, &[&mine.fence]);
                }
            })
            .map_err(|error| NotYet::Away(StoreError::Away(error.to_string())))?;
        Ok(Self { lease, stop, ended: Mutex::new(ended) })
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Gives it back, so that others need not wait for its end.
    pub(super) fn release(&self) {
        let _ended = self.stop.send(());
        // A server that does not answer ends the lease by itself.
        let _ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(EVERY);
    }
}

/// Extends the lease. The error says why it is lost, or nothing if the server was not reached.
fn extend(client: &mut Option<Client>, address: &Address, lease: &Lease) -> Result<(), Option<String>> {
    let asked = Instant::now();
    let extended = match client {
        Some(client) => client.execute(
            "UPDATE jobber_reviewd.lease SET backend = pg_backend_pid(), \
             until = clock_timestamp() + $2::text::interval WHERE fence = $1",
            &[&lease.fence, &life()],
        ),
        None => match address.connect() {
            Ok(mut again) => match has_lock(&mut again) {
                Ok(true) => {
                    *client = Some(again);
                    return extend(client, address, lease);
                }
                // The server has not noticed yet that our old connection is gone; or another process was faster.
                Ok(false) => again
                    .execute(
                        "SELECT pg_terminate_backend(backend) FROM jobber_reviewd.lease WHERE fence = $1",
                        &[&lease.fence],
                    )
                    .map(|ours| if ours == 0 { 0 } else { NOT_YET }),
                Err(error) => Err(error),
            },
            Err(error) => {
                tracing::warn!(%error, "the store's lease could not be extended");
                return Err(None);
            }
        },
    };
    match extended {
        Ok(NOT_YET) => Err(None),
        Ok(1..) => {
            *lease.until.lock().unwrap_or_else(PoisonError::into_inner) = good_until(asked);
            Ok(())
        }
        Ok(0) => Err(Some(GONE.to_owned())),
        Err(error) => {
            let error = StoreError::from(error);
            tracing::warn!(%error, "the store's lease could not be extended");
            *client = None;
            Err(None)
        }
    }
}

/// Takes the lock that tells others that the holder's connection lives. It ends with the connection.
fn has_lock(client: &mut Client) -> Result<bool, ::postgres::Error> {
    Ok(client.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK])?.get(0))
}

/// Ends the connection of a holder whose lease ran out, and of nobody who was faster than we. Returns whether the lock is
/// ours now.
fn evict(client: &mut Client) -> Result<bool, ::postgres::Error> {
    let over =
        "SELECT pg_terminate_backend(backend) FROM jobber_reviewd.lease WHERE until < clock_timestamp()";
    client.query(over, &[])?;
    has_lock(client)
}

fn life() -> String {
    format!("{} seconds", LIFE.as_secs())
}

fn good_until(asked: Instant) -> Instant {
    asked + RELIED_ON
}
