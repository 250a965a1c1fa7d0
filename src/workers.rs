//! The steps of the daemon's loops. Each is a function that does one round and returns what it did.

mod absent;
pub mod actions;
mod backoff;
pub mod changes;
pub mod channels;
pub mod delivery;
pub mod forwarding;
mod found;
pub mod gaps;
pub mod inbox;
pub(crate) mod limit;
pub mod notifier;
pub mod own_writes;
mod paging;
pub mod parts;
pub mod poller;
pub mod pool;
pub mod recheck;
pub mod spread;
pub mod subscriptions;
pub mod watch;
