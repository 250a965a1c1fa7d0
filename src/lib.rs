//! Asks a contractor's customers for a review when a job in Jobber is done: once, at a good moment.
//!
//! The program is [`main`]. `docs/architecture.md` describes the modules.

mod accounts;
mod cli;
mod clock;
mod config;
mod context;
mod crash_point;
mod daemon;
#[cfg(feature = "demo")]
mod demo;
mod digest;
mod domain;
mod door;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
mod jobber;
mod ops;
mod outbound;
mod server;
mod store;
mod store_key;
mod telemetry;
mod text;
mod text_table;
mod workers;

pub use cli::main;

/// For tests and benchmarks. There is no stability promise.
#[doc(hidden)]
pub mod testing {
    pub use crate::accounts::onboarding::{NewLink, random};
    pub use crate::cli::command;
    pub use crate::clock::{Clock, ManualClock, SharedClock, SystemClock};
    pub use crate::config::{Concurrency, Config, KEYS, Percent, Period, Secrets};
    pub use crate::context::Context;
    pub use crate::crash_point::CrashPoint;
    #[cfg(feature = "crash-points")]
    pub use crate::crash_point::poison;
    pub use crate::digest::of_bytes;
    pub use crate::domain::actions;
    pub use crate::domain::plan::Plan;
    pub use crate::domain::retry::SCHEDULE;
    pub use crate::domain::webhook_event::{Event, Topic, Uses};
    pub use crate::domain::window::Window;
    pub use crate::domain::{import, model};
    pub use crate::jobber::API_VERSION;
    pub use crate::jobber::operations::WorkDetails;
    pub use crate::jobber::schema::Document;
    pub use crate::jobber::scopes::label as scope_label;
    pub use crate::ops::accounts::{AccountShown, Handed};
    pub use crate::ops::actions::{ActionCall, ActionReply, ActionStatus, Caller, RawCall};
    pub use crate::ops::doctor::{Check, CheckState};
    pub use crate::ops::events::EventsOf;
    pub use crate::ops::once::{OnceReport, once};
    pub use crate::ops::queue::QueueRow;
    pub use crate::ops::reviews::{Told, review};
    pub use crate::ops::rules::{react_once, recall_troubles};
    pub use crate::ops::{Done, OpError, protocol};
    pub use crate::outbound::secret::WebhookSecret;
    pub use crate::server::{Api, Console, Http, description};
    pub use crate::store::{
        Address, IfMissing, NewConnection, Place, PlanCommit, Start, Store, StoreError, Tokens,
    };
    pub use crate::store_key::StoreKey;
    pub use crate::telemetry::ALL as SERIES;
    pub use crate::workers::inbox::Followed;
    pub use crate::workers::poller::{SweepOutcome, Swept};
    pub use crate::workers::pool::{Effect, no_progress};
    pub use crate::workers::recheck::AskOutcome;
}
