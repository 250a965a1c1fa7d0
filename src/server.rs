//! The listeners: public pages and Jobber's webhooks, the HTTP API, the console, the control socket, the metrics. While
//! another daemon works, they pass on what they are asked (`server/relay.rs`, `server/relayed.rs`).

mod api;
mod console;
pub mod control;
mod hardening;
pub mod limits;
mod metrics;
mod openapi;
mod pages;
mod public;
pub mod relay;
pub mod relayed;
mod webhooks;

pub use api::Api;
pub use console::Console;
pub use metrics::Metrics;
#[doc(hidden)]
pub use openapi::description;
pub use public::Http;
#[cfg(feature = "fuzzing")]
pub(crate) use public::fuzzed;
