//! How many works were decided, kept with every decision so that nobody has to count them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Decision, Outcome, SkipReason};

/// Decisions of one account on one day (UTC).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayTally {
    #[serde(default)]
    pub asked: usize,
    #[serde(default)]
    pub skipped: BTreeMap<SkipReason, usize>,
}

/// Works of one account that are not decided yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTally {
    #[serde(default)]
    pub waiting: usize,
    #[serde(default)]
    pub held: usize,
}

impl DayTally {
    /// Counts a decision of the day once more.
    pub fn add(&mut self, decision: &Decision) {
        match decision.outcome {
            Outcome::Asked { .. } => self.asked += 1,
            Outcome::Skipped { reason } => *self.skipped.entry(reason).or_default() += 1,
            Outcome::Waiting { .. } | Outcome::Held { .. } => {}
        }
    }

    /// Counts a decision of the day no more.
    pub fn take(&mut self, decision: &Decision) {
        match decision.outcome {
            Outcome::Asked { .. } => self.asked = self.asked.saturating_sub(1),
            Outcome::Skipped { reason } => {
                if let Some(count) = self.skipped.get_mut(&reason) {
                    *count = count.saturating_sub(1);
                }
                self.skipped.retain(|_, count| *count > 0);
            }
            Outcome::Waiting { .. } | Outcome::Held { .. } => {}
        }
    }

    /// Works that were finished while the account was connected.
    pub fn finished_since_connecting(&self) -> u32 {
        let skipped = self.skipped.iter().filter(|(reason, _)| **reason != SkipReason::BeforeConnection);
        u32::try_from(self.asked + skipped.map(|(_, count)| count).sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// Both days together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.asked += other.asked;
        for (reason, count) in other.skipped {
            *self.skipped.entry(reason).or_default() += count;
        }
        self
    }
}

impl OpenTally {
    pub fn add(&mut self, decision: &Decision) {
        match decision.outcome {
            Outcome::Waiting { .. } => self.waiting += 1,
            Outcome::Held { .. } => self.held += 1,
            Outcome::Asked { .. } | Outcome::Skipped { .. } => {}
        }
    }

    pub fn take(&mut self, decision: &Decision) {
        match decision.outcome {
            Outcome::Waiting { .. } => self.waiting = self.waiting.saturating_sub(1),
            Outcome::Held { .. } => self.held = self.held.saturating_sub(1),
            Outcome::Asked { .. } | Outcome::Skipped { .. } => {}
        }
    }
}
