//! The metrics and their names. Prometheus reads them on their own listener (`server/metrics.rs`).
//!
//! Steps count through the functions here. Without the listener, counting costs almost nothing and has no
//! effect.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

#[derive(Debug, Clone, Copy)]
pub struct Series {
    pub name: &'static str,
    /// Its meaning, with unit and labels.
    pub about: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Seconds,
}

macro_rules! series {
    ($($constant:ident = $kind:ident $name:literal $about:literal;)+) => {
        $(const $constant: &str = $name;)+

        /// All metrics.
        pub const ALL: &[Series] = &[$(Series { name: $name, about: $about, kind: Kind::$kind },)+];
    };
}

series! {
    SWEEPS = Counter "jobber_reviewd_sweeps_total" "Sweeps of accounts, by `result`: polled, failed, lost, resting, busy or idle.";
    DECISIONS = Counter "jobber_reviewd_decisions_total" "Decisions about finished work, by `outcome` (asked, skipped, deferred, superseded, failed) and `reason`.";
    DELIVERIES = Counter "jobber_reviewd_deliveries_total" "Attempts to deliver an ask, a change or an event, by `result`: delivered, again, dead or gone.";
    REFRESHES = Counter "jobber_reviewd_token_refreshes_total" "Refreshes of tokens, by `result`: refreshed, refused, app_refused or unanswered.";
    REQUESTS = Seconds "jobber_reviewd_request_seconds" "How long requests took, in seconds, by `to`: jobber or receiver.";
    EVENTS = Counter "jobber_reviewd_events_total" "Webhooks of Jobber's, by `result`: new, known, swept, forwarded, unknown, other_topic, nonsense or refused.";
    ACTIONS = Counter "jobber_reviewd_actions_total" "Writes in Jobber, by `action` and `outcome`: done, refused, partly, unknown or not_sent.";
    LAST_SUCCESS = Gauge "jobber_reviewd_account_last_success_seconds" "Seconds since an account was last read completely, by `account` and `name`; only for active accounts.";
    ACCOUNTS = Gauge "jobber_reviewd_accounts" "Accounts, by `state`.";
    CLOCK_AHEAD = Gauge "jobber_reviewd_clock_ahead_seconds" "Seconds by which the machine's clock was ahead of Jobber's at its last answer; negative if it was behind.";
    POINTS = Gauge "jobber_reviewd_points_available" "API points that an account had left at Jobber's last answer, by `account`.";
    CANDIDATES = Gauge "jobber_reviewd_candidates" "Finished work that waits until it is due.";
    OUTBOX = Gauge "jobber_reviewd_outbox" "Asks on their way, by `state`: due, leased or dead.";
    OVERDUE = Gauge "jobber_reviewd_overdue_seconds" "How long the oldest one is overdue, in seconds, by `what`: candidate or ask.";
    ALERTS = Gauge "jobber_reviewd_alerts" "Open alerts, by `kind`.";
    STORE_BYTES = Gauge "jobber_reviewd_store_bytes" "Size of the store on disk, in bytes.";
    BUILD = Gauge "jobber_reviewd_build_info" "Always 1, by `version` and `api_version`.";
}

pub fn describe() {
    for Series { name, about, kind } in ALL {
        match kind {
            Kind::Counter => describe_counter!(*name, *about),
            Kind::Gauge => describe_gauge!(*name, *about),
            Kind::Seconds => describe_histogram!(*name, Unit::Seconds, *about),
        }
    }
}

pub fn swept(result: &'static str) {
    counter!(SWEEPS, "result" => result).increment(1);
}

pub fn decided(outcome: &'static str, reason: &'static str) {
    counter!(DECISIONS, "outcome" => outcome, "reason" => reason).increment(1);
}

pub fn delivered(result: &'static str, took: Duration) {
    counter!(DELIVERIES, "result" => result).increment(1);
    histogram!(REQUESTS, "to" => "receiver").record(took.as_secs_f64());
}

pub fn refreshed(result: &'static str) {
    counter!(REFRESHES, "result" => result).increment(1);
}

pub fn heard(result: &'static str) {
    counter!(EVENTS, "result" => result).increment(1);
}

pub fn acted(action: &str, outcome: &'static str) {
    counter!(ACTIONS, "action" => action.to_owned(), "outcome" => outcome).increment(1);
}

pub fn asked_jobber(took: Duration) {
    histogram!(REQUESTS, "to" => "jobber").record(took.as_secs_f64());
}

#[expect(clippy::cast_precision_loss, reason = "points are few")]
pub fn points(account: &str, available: u64) {
    gauge!(POINTS, "account" => account.to_owned()).set(available as f64);
}

#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Account id, name, and seconds since the last successful sweep.
    pub last_success: Vec<(String, String, f64)>,
    pub accounts: Vec<(&'static str, usize)>,
    pub candidates: usize,
    pub outbox: [(&'static str, usize); 3],
    pub overdue: [(&'static str, f64); 2],
    pub alerts: Vec<(&'static str, usize)>,
    pub store_bytes: u64,
    /// Seconds by which the machine's clock was ahead of Jobber's at its last answer.
    pub clock_ahead: Option<f64>,
    pub api_version: &'static str,
}

#[expect(clippy::cast_precision_loss, reason = "numbers are far below what a float holds")]
pub fn show(standing: &Standing) {
    for (account, name, seconds) in &standing.last_success {
        gauge!(LAST_SUCCESS, "account" => account.clone(), "name" => name.clone()).set(*seconds);
    }
    if let Some(ahead) = standing.clock_ahead {
        gauge!(CLOCK_AHEAD).set(ahead);
    }
    for (state, number) in &standing.accounts {
        gauge!(ACCOUNTS, "state" => *state).set(*number as f64);
    }
    for (state, number) in &standing.outbox {
        gauge!(OUTBOX, "state" => *state).set(*number as f64);
    }
    for (what, seconds) in &standing.overdue {
        gauge!(OVERDUE, "what" => *what).set(*seconds);
    }
    for (kind, number) in &standing.alerts {
        gauge!(ALERTS, "kind" => *kind).set(*number as f64);
    }
    gauge!(CANDIDATES).set(standing.candidates as f64);
    gauge!(STORE_BYTES).set(standing.store_bytes as f64);
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION"), "api_version" => standing.api_version).set(1.0);
}
