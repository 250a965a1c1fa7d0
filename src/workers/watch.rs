//! Watches over the steps themselves: whether sweeps happen, and which records make the program fail.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::domain::model::AccountId;

/// Sweeps that may be due without an account being read. Then something is wrong, whatever it is.
const SWEEPS: u32 = 4;

/// Events can ask for many sweeps in a short time: they count once in this time.
const COUNTED_ONCE: Duration = Duration::from_mins(4);

/// Whether accounts are read when they should be. It does not depend on the machine's clock.
#[derive(Debug, Default)]
pub struct SweepWatch(Mutex<Due>);

#[derive(Debug, Default)]
struct Due {
    /// Sweeps that were due since an account was last looked at.
    sweeps: u32,
    counted_at: Option<Instant>,
}

impl SweepWatch {
    /// Notes that a sweep is due, and that there are accounts to read.
    pub fn is_due(&self, now: Instant) {
        let mut due = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if due.counted_at.is_none_or(|at| now.saturating_duration_since(at) >= COUNTED_ONCE) {
            due.sweeps += 1;
            due.counted_at = Some(now);
        }
    }

    /// Notes that an account was looked at, with whatever result.
    pub fn looked(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sweeps = 0;
    }

    /// Whether no account was looked at although several sweeps were due.
    pub fn is_stalled(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sweeps >= SWEEPS
    }
}

/// Failures of the program in a row on one record that need the operator.
const IN_A_ROW: u32 = 3;

/// A fault of the program that comes again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub account: AccountId,
    /// The record, or the step.
    pub what: String,
    /// What the program said.
    pub words: String,
}

/// Records on which the program panicked, with the number of times in a row.
#[derive(Debug, Default)]
pub struct Faults(Mutex<HashMap<(AccountId, String), (u32, String)>>);

impl Faults {
    /// Counts a panic. Returns whether it needs the operator.
    pub fn count(&self, account: &AccountId, what: &str, words: &str) -> bool {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = faults.entry((account.clone(), what.to_owned())).or_default();
        fault.0 += 1;
        words.clone_into(&mut fault.1);
        fault.0 >= IN_A_ROW
    }

    /// Notes that it went well.
    pub fn clear(&self, account: &AccountId, what: &str) {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !faults.is_empty() {
            faults.remove(&(account.clone(), what.to_owned()));
        }
    }

    /// The faults that need the operator.
    pub fn standing(&self) -> Vec<Fault> {
        let faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut standing: Vec<Fault> = faults
            .iter()
            .filter(|(_, (times, _))| *times >= IN_A_ROW)
            .map(|((account, what), (_, words))| Fault {
                account: account.clone(),
                what: what.clone(),
                words: words.clone(),
            })
            .collect();
        standing.sort_by(|a, b| (&a.account, &a.what).cmp(&(&b.account, &b.what)));
        standing
    }
}

/// Rules that were not carried out, or of which that is not known, in the last day.
#[derive(Debug, Default)]
pub struct RuleTroubles(Mutex<BTreeMap<AccountId, Vec<(Timestamp, String)>>>);

/// How long a rule's trouble counts.
const COUNTS: SignedDuration = SignedDuration::from_hours(24);

/// Troubles of one account that are remembered.
const REMEMBERED: usize = 100;

impl RuleTroubles {
    pub fn note(&self, account: &AccountId, at: Timestamp, words: String) {
        let mut troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_account = troubles.entry(account.clone()).or_default();
        if of_account.len() == REMEMBERED {
            of_account.remove(0);
        }
        of_account.push((at, words));
    }

    /// The accounts in which rules have trouble: how many times, and what the last one was.
    pub fn standing(&self, now: Timestamp) -> Vec<(AccountId, usize, String)> {
        let mut troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for of_account in troubles.values_mut() {
            of_account.retain(|(at, _)| now.duration_since(*at).abs() < COUNTS);
        }
        troubles.retain(|_, of_account| !of_account.is_empty());
        let last = |of_account: &[(Timestamp, String)]| of_account.last().map(|(_, words)| words.clone());
        troubles
            .iter()
            .map(|(id, of_account)| (id.clone(), of_account.len(), last(of_account).unwrap_or_default()))
            .collect()
    }
}

/// Events that were forwarded without their records, because too many waited.
#[derive(Debug, Default)]
pub struct Piles(Mutex<BTreeMap<AccountId, (Timestamp, usize)>>);

/// How long a pile counts after the last event of it.
const PILED: SignedDuration = SignedDuration::from_hours(1);

impl Piles {
    pub fn note(&self, account: &AccountId, at: Timestamp, events: usize) {
        let mut piles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, all) = piles.entry(account.clone()).or_insert((at, 0));
        *last = at;
        *all += events;
    }

    /// The accounts with a pile, and how many events were in it.
    pub fn standing(&self, now: Timestamp) -> Vec<(AccountId, usize)> {
        let mut piles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        piles.retain(|_, (last, _)| now.duration_since(*last).abs() < PILED);
        piles.iter().map(|(id, (_, events))| (id.clone(), *events)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_sweeps_without_a_look_are_a_stall() {
        let (watch, begun) = (SweepWatch::default(), Instant::now());
        for second in 0..700 {
            watch.is_due(begun + Duration::from_secs(second));
        }
        assert!(!watch.is_stalled(), "a flood of events is no stall");
        watch.is_due(begun + Duration::from_mins(12));
        assert!(watch.is_stalled());
        watch.looked();
        assert!(!watch.is_stalled());
    }

    #[test]
    fn three_panics_in_a_row_are_the_operators() {
        let (faults, account) = (Faults::default(), AccountId::new("ace"));
        assert!(!faults.count(&account, "job 1", "index"));
        assert!(!faults.count(&account, "job 2", "index"));
        assert!(!faults.count(&account, "job 1", "index"));
        assert!(faults.standing().is_empty());
        assert!(faults.count(&account, "job 1", "out of range"));
        assert_eq!(
            faults.standing().iter().map(|fault| fault.words.as_str()).collect::<Vec<_>>(),
            ["out of range"]
        );
        faults.clear(&account, "job 1");
        assert!(faults.standing().is_empty());
    }
}
