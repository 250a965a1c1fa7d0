//! A local Jobber: real GraphQL on the real schema, OAuth, cost, throttling, and switches to misbehave.
//!
//! It is a second, independent reading of Jobber's documented behaviour (`api-behaviour.md`) and shares no code
//! with the daemon: a misunderstanding that both had in common would be invisible to every test.
//!
//! The world lives in memory: accounts with users, clients, properties, jobs, visits and invoices. Queries run on
//! a snapshot of an account; mutations change it. What has no mutation in Jobber (paying an invoice, dating
//! something back) and every switch is an operation of the control endpoint, `POST /control`, or of
//! [`Sandbox::control`] inside the same process.
//!
//! What it does not model, it refuses with a GraphQL error that says so. It never makes an answer up.

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
mod seed;
mod serve;
mod time;
mod world;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

pub use app::{CLIENT_ID, CLIENT_SECRET};
pub use control::Op;
pub use cost::requested;
pub use faults::{Fault, FaultKind, Switches};
pub use seed::Seed;
pub use world::Stats;

use world::World;

/// The version of the API that is served; the schema file carries the same date.
pub const VERSION: &str = "2026-07-27";

/// The schema, as text.
pub const SCHEMA: &str = include_str!("../../../schema/jobber-2026-07-27.graphql");

/// What all parts of a running sandbox share.
struct Shared {
    world: Mutex<World>,
    executor: execute::Executor,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running sandbox. It stops when this is dropped.
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
        let shared = Arc::new(Shared { world: Mutex::new(world), executor });
        let stop = CancellationToken::new();
        tokio::spawn(hooks::send(requests, stop.clone()));
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

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What `jobber.api_base` must be to reach it.
    pub fn api_base(&self) -> String {
        format!("http://{}/api", self.address)
    }

    /// Carries out an operation of the control endpoint.
    pub fn control(&self, op: Op) -> Result<serde_json::Value, String> {
        control::watched(&mut self.shared.world(), op)
    }

    /// What happened to an account so far.
    pub fn stats(&self, account: u64) -> Stats {
        self.shared.world().accounts.get(&account).map(|account| account.stats.clone()).unwrap_or_default()
    }

    /// Runs a query or mutation as the first user of `account`, without tokens, cost or faults.
    pub fn graphql(&self, account: u64, query: &str, variables: serde_json::Value) -> serde_json::Value {
        execute::privileged(&self.shared, account, query, variables)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
