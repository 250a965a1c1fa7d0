//! What the program knows and decides. Pure: every function takes `now` as an argument, and nothing here uses
//! the network, the store or the runtime.

pub mod actions;
pub mod alerting;
pub mod decide;
pub mod endpoints;
pub mod forward;
pub mod funnel;
pub mod gaps;
pub mod import;
pub mod lookup;
pub mod message;
pub mod model;
pub mod pace;
pub mod plan;
pub mod reaction;
pub mod retry;
pub mod rules;
pub mod shadow;
pub mod webhook_event;
pub mod window;
