//! The listeners: public pages and Jobber's webhooks, the control socket, the metrics.

pub mod control;
mod limits;
mod metrics;
mod pages;
mod public;
mod webhooks;

pub use metrics::Metrics;
pub use public::Http;
#[cfg(feature = "fuzzing")]
pub(crate) use public::fuzzed;
