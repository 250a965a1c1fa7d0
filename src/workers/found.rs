//! The beginning of the trace of each ask.

use jiff::Timestamp;

use crate::domain::decide::ask_id;
use crate::domain::model::{AccountId, Candidate};
use crate::telemetry::traces;

/// Tells that works were found, by `name`, which began to look at `begun`.
pub(super) fn trace(account: &AccountId, candidates: &[Candidate], name: &'static str, begun: Timestamp) {
    if !traces::are_on() {
        return;
    }
    for Candidate { work, trigger, .. } in candidates {
        if let Some(step) = traces::first(ask_id(account, *trigger, work).as_str(), name, begun) {
            drop(step.with("account.id", account.to_string()).with("work", work.to_string()));
        }
    }
}
