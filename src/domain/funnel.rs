//! From finished work to reviews, in numbers. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::domain::model::{Decision, Delivery, Outcome, SkipReason};

/// From finished work to reviews.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Funnel {
    /// Finished while the account was connected.
    pub finished: usize,
    pub waiting: usize,
    pub asked: usize,
    pub delivered: usize,
    pub reviewed: usize,
    pub skipped: BTreeMap<SkipReason, usize>,
    /// Asks by weekday (Monday first) and hour, in the contractor's time.
    pub hours: [[usize; 24]; 7],
}

/// What became of a work, as a step of the funnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Finished,
    Waiting,
    Asked,
    Delivered,
    Skipped(SkipReason),
}

impl Step {
    pub fn is_of(self, decision: &Decision) -> bool {
        let outcome = &decision.outcome;
        match self {
            Self::Finished => !is_before(outcome),
            Self::Waiting => matches!(outcome, Outcome::Waiting { .. } | Outcome::Held { .. }),
            Self::Asked => matches!(outcome, Outcome::Asked { .. }),
            Self::Delivered => {
                matches!(outcome, Outcome::Asked { delivery: Delivery::Delivered { .. }, .. })
            }
            Self::Skipped(reason) => {
                matches!(outcome, Outcome::Skipped { reason: found } if *found == reason)
            }
        }
    }
}

fn is_before(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Skipped { reason: SkipReason::BeforeConnection })
}

impl Funnel {
    pub fn add(&mut self, decision: &Decision, zone: &TimeZone) {
        if is_before(&decision.outcome) {
            return;
        }
        self.finished += 1;
        match &decision.outcome {
            Outcome::Waiting { .. } | Outcome::Held { .. } => self.waiting += 1,
            Outcome::Skipped { reason } => *self.skipped.entry(*reason).or_default() += 1,
            Outcome::Asked { delivery, .. } => {
                self.asked += 1;
                self.delivered += usize::from(matches!(delivery, Delivery::Delivered { .. }));
                let local = decision.at.to_zoned_datetime(zone.clone());
                let weekday = local.weekday().to_monday_zero_offset();
                let place = usize::try_from(weekday).ok().zip(usize::try_from(local.hour()).ok());
                if let Some((weekday, hour)) = place {
                    self.hours[weekday][hour] += 1;
                }
            }
        }
    }
}

/// Whether a decision belongs to the time since `since`: it was decided then, or is not decided yet.
pub fn is_since(decision: &Decision, since: Timestamp) -> bool {
    decision.at >= since || Step::Waiting.is_of(decision)
}

/// Whether it belongs to the time from `from` to before `to`; what is not decided yet belongs to where it was finished.
pub fn is_within(decision: &Decision, from: Timestamp, to: Timestamp) -> bool {
    let at = if Step::Waiting.is_of(decision) { decision.finished_at } else { decision.at };
    (from..to).contains(&at)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::domain::model::{AskId, EncodedId, Subject, Trigger, WorkRef};

    fn decision(outcome: Outcome) -> Decision {
        Decision {
            work: WorkRef::job(EncodedId::new("j1")),
            trigger: Trigger::JobCompleted,
            finished_at: Timestamp::UNIX_EPOCH,
            // Thursday, 20:30 in New York.
            at: "2026-03-13T00:30:00Z".parse().unwrap(),
            outcome,
            saw: BTreeMap::new(),
            released_at: None,
            held_for: SignedDuration::ZERO,
            subject: Subject::default(),
        }
    }

    #[test]
    fn every_outcome_is_a_step_and_what_was_before_is_none() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let ask = |delivery| Outcome::Asked { ask_id: AskId::new("ask_1"), delivery };
        let at = Timestamp::UNIX_EPOCH;
        let mut funnel = Funnel::default();
        for outcome in [
            Outcome::Skipped { reason: SkipReason::BeforeConnection },
            Outcome::Skipped { reason: SkipReason::NoContact },
            Outcome::Waiting { due_at: at },
            ask(Delivery::Queued),
            ask(Delivery::Delivered { at, status: 200, attempts: 1 }),
        ] {
            funnel.add(&decision(outcome), &zone);
        }
        let Funnel { finished, waiting, asked, delivered, skipped, hours, .. } = funnel;
        assert_eq!((finished, waiting, asked, delivered), (4, 1, 2, 1));
        assert_eq!(skipped, BTreeMap::from([(SkipReason::NoContact, 1)]));
        assert_eq!((hours[3][20], hours.iter().flatten().sum::<usize>()), (2, 2));
    }

    #[test]
    fn what_waits_belongs_to_any_time() {
        let since = "2026-03-14T00:00:00Z".parse().unwrap();
        assert!(is_since(&decision(Outcome::Waiting { due_at: since }), since));
        assert!(!is_since(&decision(Outcome::Skipped { reason: SkipReason::TooOld }), since));
        let (day, next) = ("2026-03-13T00:00:00Z".parse().unwrap(), "2026-03-14T00:00:00Z".parse().unwrap());
        assert!(is_within(&decision(Outcome::Skipped { reason: SkipReason::TooOld }), day, next));
        assert!(!is_within(&decision(Outcome::Skipped { reason: SkipReason::TooOld }), next, Timestamp::MAX));
        assert!(
            !is_within(&decision(Outcome::Waiting { due_at: next }), day, next),
            "it was finished long ago"
        );
    }
}
