//! A local Jobber: real GraphQL on the real schema, OAuth, cost, throttling, and switches for failures.
//!
//! It is a second, independent implementation of Jobber's documented behaviour (`api-behaviour.md`) and
//! shares no code with the daemon. Otherwise no test would see a misunderstanding that both share.
//!
//! The world is in memory: accounts with users, clients, properties, jobs, visits and invoices. Queries run
//! on a snapshot of an account, mutations change it. Changes without a mutation in Jobber (paying an invoice,
//! backdating) and all switches are operations of the control endpoint, `POST /control`, or of
//! [`Sandbox::control`] inside the same process.
//!
//! For anything that it does not model, it answers with a GraphQL error that says so. It never invents an
//! answer.

#![warn(missing_docs)]

mod app;
mod authorize;
pub mod control;
mod cost;
mod execute;
mod faults;
mod hooks;
mod mutate;
mod pages;
mod resolve;
mod search;
mod seed;
mod serve;
mod time;
mod world;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

pub use app::{CLIENT_ID, CLIENT_SECRET};
pub use control::Op;
pub use cost::requested;
pub use faults::{Fault, FaultKind, Switches};
pub use seed::Seed;
pub use world::Stats;

use world::{Kind, Row, World};

/// The served API version. The schema file has the same date.
pub const VERSION: &str = "2026-07-27";

/// The schema, as text.
pub const SCHEMA: &str = include_str!("../../../schema/jobber-2026-07-27.graphql");

/// The shared state of a running sandbox.
struct Shared {
    world: Mutex<World>,
    executor: execute::Executor,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running sandbox. It stops on drop.
pub struct Sandbox {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: CancellationToken,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Starts a sandbox on `address` (port 0 takes a free one) with the accounts of `seed`.
    pub async fn start(address: SocketAddr, seed: Seed) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let mut world = World::new();
        seed::plant(&mut world, seed);
        let executor = execute::Executor::new().map_err(std::io::Error::other)?;
        let (outgoing, requests) = tokio::sync::mpsc::unbounded_channel();
        world.outgoing = Some(outgoing);
        let under_way = Arc::clone(&world.under_way);
        let shared = Arc::new(Shared { world: Mutex::new(world), executor });
        let stop = CancellationToken::new();
        tokio::spawn(hooks::send(requests, under_way, stop.clone()));
        let router = serve::router(Arc::clone(&shared));
        let stopped = stop.clone();
        tokio::spawn(async move {
            let served =
                axum::serve(listener, router).with_graceful_shutdown(stopped.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::error!(%error, "the sandbox stopped");
            }
        });
        Ok(Self { shared, address, stop })
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The value of `jobber.api_base` for this sandbox.
    pub fn api_base(&self) -> String {
        format!("http://{}/api", self.address)
    }

    /// Runs an operation of the control endpoint.
    pub fn control(&self, op: Op) -> Result<serde_json::Value, String> {
        control::watched(&mut self.shared.world(), op)
    }

    /// The statistics of an account.
    pub fn stats(&self, account: u64) -> Stats {
        self.shared.world().accounts.get(&account).map(|account| account.stats.clone()).unwrap_or_default()
    }

    /// The topics of the app's webhooks, with their addresses.
    pub fn webhooks(&self) -> BTreeSet<(String, String)> {
        let world = self.shared.world();
        let tables = world.accounts.values().flat_map(|account| account.data.table(Kind::WebhookEndpoint));
        let text = |row: &Row, name: &str| {
            row.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
        };
        tables.map(|(_, row)| (text(row, "topic"), text(row, "url"))).collect()
    }

    /// Whether no webhook is on its way.
    pub fn is_quiet(&self) -> bool {
        self.shared.world().under_way.load(Ordering::Relaxed) == 0
    }

    /// Runs a query or mutation as the first user of `account`, without tokens, cost or failures.
    pub fn graphql(&self, account: u64, query: &str, variables: serde_json::Value) -> serde_json::Value {
        execute::privileged(&self.shared, account, query, variables)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
