//! What every worker is made of.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::pool::Pool;
use crate::accounts::session::Session;
use crate::accounts::settings::Settings;
use crate::clock::SharedClock;
use crate::store::Store;

/// What every worker is made of. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WorkerParts {
    /// What survives.
    pub store: Store,
    /// Every account's session with Jobber.
    pub session: Session,
    /// What time it is.
    pub clock: SharedClock,
    /// What each account asks by.
    pub settings: Arc<Settings>,
    /// Accounts that one worker works on at the same time.
    pub concurrency: usize,
    /// After this nothing new is begun.
    pub stop: CancellationToken,
}

impl WorkerParts {
    /// Turns for one worker's accounts.
    pub(super) fn pool(&self) -> Pool {
        Pool::new(self.concurrency, self.stop.clone())
    }
}
