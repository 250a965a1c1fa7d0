//! Asks a contractor's customers for a review when a job in Jobber is done: once, at a good moment.

pub mod clock;
pub mod config;
pub mod decide;
pub mod jobber;
pub mod message;
pub mod model;
pub mod oauth;
pub mod plan;
pub mod retry;
pub mod store;
pub mod webhook;
