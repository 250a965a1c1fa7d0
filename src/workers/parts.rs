//! What all workers share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::own_writes::OwnWrites;
use super::pool::Pool;
use super::watch::{Faults, Piles, RuleTroubles, SweepWatch};
use crate::accounts::session::Session;
use crate::accounts::settings::Settings;
use crate::clock::SharedClock;
use crate::store::Store;

/// What all workers share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WorkerParts {
    pub store: Store,
    pub session: Session,
    pub clock: SharedClock,
    pub settings: Arc<Settings>,
    pub concurrency: usize,
    pub stop: CancellationToken,
    pub sweeps: Arc<SweepWatch>,
    pub faults: Arc<Faults>,
    pub rule_troubles: Arc<RuleTroubles>,
    pub piles: Arc<Piles>,
    pub own_writes: Arc<OwnWrites>,
}

impl WorkerParts {
    pub(super) fn pool(&self) -> Pool {
        Pool::new(self.concurrency, self.stop.clone())
    }
}
