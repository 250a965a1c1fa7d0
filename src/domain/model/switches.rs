//! Jobber's switches for review requests, counted over the finished records that changed last.
//!
//! `allowReviewRequest` belongs to the review text that Jobber itself sends. A contractor who uses this daemon
//! instead has it off everywhere (`api-behaviour.md` §1), so the switch of one record means something only if other
//! records have it on.

use serde::{Deserialize, Serialize};

/// Fewer records prove nothing.
const ENOUGH: u32 = 5;

/// The switches of the finished records that changed last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switches {
    /// Completed jobs: `allowReviewRequest`.
    pub jobs: Share,
    /// Invoices that are no drafts: `allowReviewRequest`. None are seen unless the trigger is about invoices.
    pub invoices: Share,
    /// Clients of these jobs: `receivesReviewRequests`.
    pub clients: Share,
    /// Clients of these jobs who have a phone: off if none of their phones is marked as taking texts.
    #[serde(default, skip_serializing_if = "Share::is_empty")]
    pub texts: Share,
    /// Jobs that changed last, finished or not: off if they are recurring.
    #[serde(default, skip_serializing_if = "Share::is_empty")]
    pub one_off: Share,
}

impl Switches {
    /// What an operator should know: off on nearly all jobs, on nearly all invoices, for most clients; no phone takes
    /// texts; most jobs are recurring.
    pub fn remarkable(&self) -> [bool; 5] {
        let Self { jobs, invoices, clients, texts, one_off } = self;
        [jobs.is_nearly_all(), invoices.is_nearly_all(), clients.is_most(), texts.is_all(), one_off.is_most()]
    }
}

/// How many of the records that were seen have a switch off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Records.
    pub seen: u32,
    /// Records with the switch off.
    pub off: u32,
}

impl Share {
    /// Counts the switches that are off.
    pub fn off(switches: impl IntoIterator<Item = bool>) -> Self {
        switches
            .into_iter()
            .fold(Self::default(), |share, on| Self { seen: share.seen + 1, off: share.off + u32::from(!on) })
    }

    /// Whether the switch is off on nearly all records: 95 %.
    pub fn is_nearly_all(self) -> bool {
        self.seen >= ENOUGH && u64::from(self.off) * 100 >= u64::from(self.seen) * 95
    }

    /// Whether no records were seen.
    pub fn is_empty(&self) -> bool {
        self.seen == 0
    }

    /// Whether the switch is off on all records.
    pub fn is_all(self) -> bool {
        self.seen >= ENOUGH && self.off == self.seen
    }

    /// Whether the switch is off on more than half of the records.
    pub fn is_most(self) -> bool {
        self.seen >= ENOUGH && u64::from(self.off) * 2 > u64::from(self.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_all_means_95_percent_of_enough_records() {
        for (seen, off, nearly_all, most) in [
            (0, 0, false, false),
            (4, 4, false, false),
            (5, 5, true, true),
            (5, 4, false, true),
            (6, 3, false, false),
            (50, 47, false, true),
            (50, 48, true, true),
        ] {
            let share = Share { seen, off };
            assert_eq!((share.is_nearly_all(), share.is_most()), (nearly_all, most), "{share:?}");
        }
        assert_eq!(Share::off([true, false, false]), Share { seen: 3, off: 2 });
    }
}
