//! How much work an account usually finishes, and when far more than that finishes at once. Pure.
//!
//! Contractors clean up: hundreds of old jobs are closed in one sitting. Nothing on a single job tells such a close
//! from a real one, the number does.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clock::plus;

/// Minutes in which a crowd finishes.
const CROWDED_WITHIN: i64 = 60;

/// A crowd is more than this many times the usual works of a day.
const TIMES_USUAL: u32 = 3;

/// The usual number is the median of this many past days.
const DAYS: i64 = 28;

/// Minutes before the newest one that are kept: what finished then can still become part of a crowd.
const MINUTES_KEPT: i64 = 2 * CROWDED_WITHIN;

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;

/// The works that an account finished lately, by day and by minute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Works by day (UTC, days since the epoch), past days and today.
    days: BTreeMap<i64, u32>,
    /// Works by minute (since the epoch).
    minutes: BTreeMap<i64, u32>,
}

/// Minutes in which a crowd finished, and the number that a day usually has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crowd {
    minutes: BTreeSet<i64>,
    latest: Timestamp,
    /// The median of the works of a day.
    pub usual: u32,
}

impl Crowd {
    /// Whether work that finished then belongs to it.
    pub fn holds(&self, finished_at: Timestamp) -> bool {
        self.minutes.contains(&minute(finished_at.min(self.latest)))
    }

    /// When it began.
    pub fn begun_at(&self) -> Timestamp {
        instant(self.minutes.first().copied().unwrap_or_default())
    }

    /// When it ended, as far as it is known.
    pub fn ended_at(&self) -> Timestamp {
        plus(instant(self.minutes.last().copied().unwrap_or_default()), SignedDuration::from_secs(MINUTE))
    }
}

impl Pace {
    /// Counts works by the instants at which they were finished, and returns the crowd if there is one: more than
    /// `above` works, and more than three times the usual number of a day, within an hour. `connected_at` is the day
    /// from which days without work count.
    pub fn note(
        &mut self,
        finished: impl IntoIterator<Item = Timestamp>,
        connected_at: Timestamp,
        above: u32,
        now: Timestamp,
    ) -> Option<Crowd> {
        let mut touched = Vec::new();
        for at in finished {
            // A record can be dated ahead of time.
            let at = at.min(latest(now));
            *self.days.entry(at.as_second().div_euclid(DAY)).or_default() += 1;
            *self.minutes.entry(minute(at)).or_default() += 1;
            touched.push(minute(at));
        }
        let today = now.as_second().div_euclid(DAY);
        let usual = self.usual(connected_at.as_second().div_euclid(DAY), today);
        let limit = above.max(usual.saturating_mul(TIMES_USUAL));
        let mut crowded = BTreeSet::new();
        for start in self.minutes.keys() {
            let window = || self.minutes.range(*start..*start + CROWDED_WITHIN);
            let works = window().fold(0u32, |sum, (_, works)| sum.saturating_add(*works));
            if works > limit {
                crowded.extend(window().map(|(minute, _)| *minute));
            }
        }
        // What is dated ahead must not push out the present.
        let newest = self.minutes.keys().next_back().copied().unwrap_or_default().min(minute(now));
        self.minutes.retain(|minute, _| *minute > newest - MINUTES_KEPT);
        self.days.retain(|day, _| (today - DAYS..=today + 1).contains(day));
        let is_new = touched.iter().any(|minute| crowded.contains(minute));
        is_new.then_some(Crowd { minutes: crowded, latest: latest(now), usual })
    }

    /// Forgets what finished just now, because the operator said that it is no crowd.
    pub fn forgive(&mut self) {
        self.minutes.clear();
    }

    /// The median of the past days, days without work included. Today does not count, it is not over.
    fn usual(&self, connected: i64, today: i64) -> u32 {
        let first = connected.max(today - DAYS);
        let mut works: Vec<u32> =
            (first..today).map(|day| self.days.get(&day).copied().unwrap_or_default()).collect();
        works.sort_unstable();
        works.get(works.len() / 2).copied().unwrap_or_default()
    }
}

/// A record that is dated further ahead counts as finished then.
fn latest(now: Timestamp) -> Timestamp {
    plus(now, SignedDuration::from_secs(DAY))
}

fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(MINUTE)
}

fn instant(minute: i64) -> Timestamp {
    Timestamp::from_second(minute.saturating_mul(MINUTE)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOON: i64 = 20_522 * DAY + 12 * 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn connected() -> Timestamp {
        at(NOON - 40 * DAY)
    }

    fn spread(works: i64, seconds: i64) -> Vec<Timestamp> {
        (0..works).map(|work| at(NOON + work * seconds / works)).collect()
    }

    #[test]
    fn twenty_within_an_hour_are_work_and_twenty_one_are_a_crowd() {
        let note = |works| Pace::default().note(spread(works, 3599), connected(), 20, at(NOON + 3600));
        assert_eq!(note(20), None);
        let crowd = note(21).unwrap();
        assert_eq!((crowd.usual, crowd.begun_at(), crowd.ended_at()), (0, at(NOON), at(NOON + 3480)));
        assert!(crowd.holds(at(NOON)) && crowd.holds(at(NOON + 3427)) && !crowd.holds(at(NOON + 7200)));
        assert_eq!(
            Pace::default().note(spread(21, 3 * 3600), connected(), 20, at(NOON + 4 * 3600)),
            None,
            "spread"
        );
    }

    #[test]
    fn a_crowd_that_comes_in_parts_is_seen_as_a_whole() {
        let mut pace = Pace::default();
        let (mut seen, mut found) = (0, None);
        for part in spread(30, 1800).chunks(5) {
            seen += part.len();
            found = pace.note(part.iter().copied(), connected(), 20, at(NOON + 1800));
            assert_eq!(found.is_some(), seen > 20, "{seen}");
        }
        assert!(found.unwrap().holds(at(NOON)), "the first ones belong to it");
    }

    #[test]
    fn what_is_found_late_belongs_to_the_crowd_of_its_time() {
        let mut pace = Pace::default();
        let mut note = |works: u32, minute: i64| {
            pace.note((0..works).map(|_| at(NOON + minute * 60)), connected(), 20, at(NOON + 7000))
        };
        assert_eq!(note(15, 0), None);
        assert_eq!(note(1, 100), None);
        let crowd = note(6, 10).unwrap();
        assert_eq!((crowd.begun_at(), crowd.ended_at()), (at(NOON), at(NOON + 660)));
    }

    #[test]
    fn the_usual_number_is_that_of_four_weeks() {
        let mut pace = Pace::default();
        let years_ago = at(NOON - 1_000 * DAY);
        for day in (1..=28).rev() {
            pace.note((0..40).map(|_| at(NOON - day * DAY)), years_ago, u32::MAX, at(NOON - day * DAY));
        }
        assert_eq!(pace.note(spread(200, 600), years_ago, 20, at(NOON)).unwrap().usual, 40);
    }

    #[test]
    fn work_dated_tomorrow_counts_when_tomorrow_is_over() {
        let mut pace = Pace::default();
        pace.note((0..40).map(|_| at(NOON + DAY)), at(NOON), u32::MAX, at(NOON));
        let later = NOON + 2 * DAY;
        let crowd = pace.note((0..200).map(|_| at(later)), at(NOON), 20, at(later)).unwrap();
        assert_eq!(crowd.usual, 40);
    }

    #[test]
    fn three_times_the_usual_is_usual_for_a_busy_account() {
        let mut pace = Pace::default();
        // Every evening 40 visits are completed at once; weekends are free.
        for day in (1..=28).rev() {
            if day % 7 > 1 {
                let evening = NOON - day * DAY;
                pace.note(
                    (0..40).map(|visit| at(evening + visit * 30)),
                    connected(),
                    u32::MAX,
                    at(evening + 3600),
                );
            }
        }
        assert_eq!(pace.clone().note(spread(120, 600), connected(), 20, at(NOON)), None);
        assert_eq!(pace.note(spread(121, 600), connected(), 20, at(NOON)).unwrap().usual, 40);
    }

    #[test]
    fn one_clean_up_does_not_make_the_next_one_usual() {
        let mut pace = Pace::default();
        pace.note(
            spread(663, 900).into_iter().map(|at| crate::clock::minus(at, SignedDuration::from_hours(24))),
            connected(),
            20,
            at(NOON - DAY),
        );
        assert!(pace.note(spread(75, 900), connected(), 20, at(NOON)).is_some());
    }

    #[test]
    fn a_record_dated_ahead_hides_no_crowd() {
        let mut pace = Pace::default();
        pace.note([at(NOON + 30 * DAY)], connected(), 20, at(NOON));
        let found: Vec<_> = spread(30, 1800)
            .chunks(5)
            .map(|part| pace.note(part.iter().copied(), connected(), 20, at(NOON + 1800)).is_some())
            .collect();
        assert_eq!(found, [false, false, false, false, true, true]);
    }

    #[test]
    fn what_is_forgiven_begins_from_nothing() {
        let mut pace = Pace::default();
        assert!(pace.note(spread(60, 900), connected(), 20, at(NOON)).is_some());
        pace.forgive();
        assert_eq!(pace.note(spread(3, 900), connected(), 20, at(NOON)), None);
    }

    proptest! {
        #[test]
        fn it_stays_small_whatever_comes(seconds in prop::collection::vec(-1_000_000_000i64..4_000_000_000, 0..300)) {
            let mut pace = Pace::default();
            for second in seconds {
                pace.note([at(second)], connected(), 20, at(NOON));
            }
            let newest = pace.minutes.keys().next_back().copied().unwrap_or_default().min(minute(at(NOON)));
            prop_assert!(pace.minutes.keys().all(|minute| *minute > newest - MINUTES_KEPT));
            prop_assert!(pace.minutes.len() <= usize::try_from(MINUTES_KEPT + DAY / MINUTE + 1).unwrap());
            prop_assert!(pace.days.keys().all(|day| *day >= NOON.div_euclid(DAY) - DAYS));
        }
    }
}
