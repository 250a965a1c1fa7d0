//! What this program wrote in Jobber a moment ago, so that the events about it can be told from others.
//!
//! It is kept in memory only: after a restart an event that was caused by the last run is told without its cause.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::domain::forward::{CausedBy, is_as_written};
use crate::domain::model::{AccountId, ActionOutcome, ActionRecord, EncodedId};

/// Jobber tells of a write 4 to 20 s later (`api-behaviour.md` §4).
const TOLD_WITHIN: SignedDuration = SignedDuration::from_secs(60);

/// Writes of one account that are remembered.
const REMEMBERED: usize = 256;

#[derive(Debug)]
struct OwnWrite {
    at: Timestamp,
    by: CausedBy,
    answer: Value,
}

#[derive(Debug, Default)]
pub struct OwnWrites(Mutex<HashMap<AccountId, VecDeque<OwnWrite>>>);

impl OwnWrites {
    /// Remembers a write that changed something.
    pub fn note(&self, record: &ActionRecord, now: Timestamp) {
        let (ActionOutcome::Done { answer, .. } | ActionOutcome::Partly { answer, .. }) = &record.outcome
        else {
            return;
        };
        let by = CausedBy { action: record.action.clone(), by: record.by.clone(), key: record.key.clone() };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, writes| writes.back().is_some_and(|last| is_recent(last.at, now)));
        let writes = all.entry(record.account.clone()).or_default();
        if writes.len() == REMEMBERED {
            writes.pop_front();
        }
        writes.push_back(OwnWrite { at: now, by, answer: answer.clone() });
    }

    /// The write that left `record` as it is, if it was this program's.
    pub fn cause_of(
        &self,
        account: &AccountId,
        item: &EncodedId,
        record: &Value,
        received_at: Timestamp,
    ) -> Option<CausedBy> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut writes = all.get(account)?.iter().rev();
        let is_cause = |write: &&OwnWrite| {
            is_recent(write.at, received_at) && is_as_written(&write.answer, item.as_str(), record)
        };
        writes.find(is_cause).map(|write| write.by.clone())
    }
}

fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at).abs() <= TOLD_WITHIN
}
