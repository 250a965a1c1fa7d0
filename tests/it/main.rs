//! The program against a local Jobber and a real receiver.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where it cannot go on, and says when it is skipped"
)]

mod accounts;
mod acting;
mod alerting;
mod asking;
mod backlog;
mod binary;
mod browser;
mod checking;
mod cleaning_up;
mod clients;
mod clocks;
mod cluster;
mod connecting;
mod console;
mod contractor;
mod contracts;
mod crashing;
mod delivering;
mod explaining;
mod findings;
mod following;
mod forgetting;
mod forwarding;
mod guards;
mod held_up;
mod hooks;
mod hours;
mod http_api;
mod installing;
mod keeping;
mod layers;
mod local_jobber;
mod machine;
mod mixing;
mod naming;
mod onboarding;
mod papers;
mod policy;
mod probing;
mod receivers;
mod replies;
mod seconds;
mod service;
mod standby;
mod subscribing;
mod support;
mod terminal;
mod tokens;
mod tracing;
mod trouble;
mod watching;
