//! Asks a contractor's customers for a review when a job in Jobber is done: once, at a good moment.

pub mod admin;
pub mod alert;
pub mod alerter;
pub mod app;
pub mod asker;
pub mod budget;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connect;
pub mod connection;
pub mod control;
pub mod crash;
pub mod decide;
#[cfg(feature = "sandbox")]
mod demo;
pub mod dial;
pub mod digest;
pub mod dispatcher;
pub mod engine;
pub mod event;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
pub mod http;
pub mod import;
pub mod jobber;
pub mod listener;
pub mod message;
pub mod meter;
pub mod model;
pub mod oauth;
pub mod plan;
pub mod poller;
pub mod retry;
pub mod rulebook;
pub mod rules;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod shadow;
pub mod step;
pub mod store;
mod table;
pub mod watcher;
pub mod webhook;
pub mod window;
