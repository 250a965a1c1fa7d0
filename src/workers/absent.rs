//! Works that Jobber did not have: one null is no proof that a work was deleted (`api-behaviour.md` §1).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::clock::{is_over, plus};
use crate::domain::model::{AccountId, WorkRef};

/// Time after which a work that is not there is looked at again, before that decides anything.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// Works that left the queue otherwise are forgotten after this time.
const KEEP_ABSENT: SignedDuration = SignedDuration::from_hours(1);

/// Works that Jobber did not have, with the instant when that was first seen. Kept only in memory: after a restart they
/// are looked at once more.
#[derive(Debug, Default)]
pub(super) struct Absent(Mutex<HashMap<(AccountId, WorkRef), Timestamp>>);

impl Absent {
    /// When to look again at a work. `None` if it is there, or was away long enough to believe it.
    pub(super) fn look_again(
        &self,
        work: (AccountId, WorkRef),
        is_absent: bool,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let mut absent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_absent {
            absent.remove(&work);
            return None;
        }
        absent.retain(|other, first| *other == work || !is_over(*first, KEEP_ABSENT, now));
        let first = absent.entry(work.clone()).or_insert(now);
        // A clock that was set back makes nobody wait longer.
        *first = (*first).min(now);
        let until = plus(*first, LOOK_AGAIN);
        if now >= until {
            absent.remove(&work);
            return None;
        }
        Some(until)
    }
}
