//! Asks a contractor's customers for a review when a job in Jobber is done: once, at a good moment.

pub mod accounts;
pub mod cli;
pub mod clock;
pub mod config;
pub mod context;
pub mod crash_point;
pub mod daemon;
#[cfg(feature = "sandbox")]
mod demo;
pub mod digest;
pub mod domain;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
pub mod jobber;
pub mod ops;
pub mod outbound;
pub mod server;
pub mod store;
pub mod store_key;
pub mod telemetry;
mod text_table;
pub mod workers;
