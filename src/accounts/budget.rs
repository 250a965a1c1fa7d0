//! An account's points budget and our share of it. Pure.
//!
//! Jobber gives one budget per app and account: a bucket that refills (`api-behaviour.md` §3, Cost). Other
//! users of the app for that account share the bucket. So the daemon keeps to its share: a request waits if
//! it would lower the level into the part of the others.

use jiff::{SignedDuration, Timestamp};

use crate::clock::plus;

/// Requests for one account that may begin within [`WINDOW`]: well below the 2,500 that Jobber allows to an app and an
/// account (`api-behaviour.md` §3), because others use the app too.
const REQUESTS: u32 = 2000;

/// What Jobber counts requests over.
const WINDOW: SignedDuration = SignedDuration::from_secs(300);

/// Requests are counted together within this time.
const COUNTED_TOGETHER: SignedDuration = SignedDuration::from_secs(10);

/// How long an account rests after a first 429 that does not say how long; each further one in a row doubles it.
const FIRST_REST: SignedDuration = SignedDuration::from_secs(60);

/// And how long at most.
const LONGEST_REST: SignedDuration = SignedDuration::from_secs(300);

/// The level of the bucket after an answer, in points. `rate` is in points per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    pub maximum: u64,
    pub available: u64,
    pub rate: u64,
}

#[derive(Debug, Clone)]
pub struct Budget {
    /// The percentage of the bucket that we may use.
    share: u64,
    level: Option<(Level, Timestamp)>,
    /// What requests without an answer yet are expected to cost: what an answer says may not count them.
    under_way: u64,
    /// The last estimated cost of each kind of operation: a few. A map would take ten times the space.
    costs: Vec<(&'static str, u64)>,
    /// When requests began, and how many at about that time.
    begun: Vec<(Timestamp, u32)>,
    /// Rests in a row.
    refused: u32,
    /// The rest that Jobber asked for with 429: since when, and until when.
    rest: Option<(Timestamp, Timestamp)>,
}

impl Budget {
    pub fn new(share: u64) -> Self {
        Self {
            share,
            level: None,
            under_way: 0,
            costs: Vec::new(),
            begun: Vec::new(),
            refused: 0,
            rest: None,
        }
    }

    /// How long the account is left alone from `now`: Jobber wants fewer requests, or there were [`REQUESTS`] in [`WINDOW`].
    /// A clock that was set back ends the rest.
    pub fn rest(&mut self, now: Timestamp) -> Option<SignedDuration> {
        self.rest = self.rest.filter(|(since, until)| *since <= now && now < *until);
        if let Some((_, until)) = self.rest {
            return Some(until.duration_since(now));
        }
        let soon = plus(now, FIRST_REST);
        self.begun.retain(|(at, _)| *at <= soon && now.duration_since(*at) < WINDOW);
        let (oldest, _) = *self.begun.first()?;
        let is_full = self.begun.iter().map(|(_, count)| count).sum::<u32>() >= REQUESTS;
        is_full.then(|| WINDOW - now.duration_since(oldest))
    }

    /// Counts a request that begins at `at`.
    pub fn begin(&mut self, at: Timestamp) {
        match self.begun.last_mut() {
            Some((first, count)) if at.duration_since(*first) < COUNTED_TOGETHER => *count += 1,
            _ => {
                self.begun.reserve_exact(1);
                self.begun.push((at, 1));
            }
        }
    }

    /// Jobber answered 429: how long to leave the account alone. Answers to requests that were already under way lengthen
    /// the rest only if Jobber asks for a longer one.
    pub fn too_many(&mut self, retry_after: Option<SignedDuration>, now: Timestamp) -> SignedDuration {
        if let Some(rest) = self.rest(now).filter(|_| self.rest.is_some()) {
            let rest = rest.max(retry_after.unwrap_or_default());
            self.rest = Some((now, plus(now, rest)));
            return rest;
        }
        let doubled = FIRST_REST.checked_mul(1 << self.refused.min(8)).unwrap_or(LONGEST_REST);
        let rest = retry_after.unwrap_or(doubled.min(LONGEST_REST));
        self.refused += 1;
        self.rest = Some((now, plus(now, rest)));
        rest
    }

    /// The points that were left at the last answer.
    pub fn available(&self) -> Option<u64> {
        self.level.map(|(level, _)| level.available)
    }

    /// What an operation of this kind is expected to cost.
    pub fn expected(&self, kind: &'static str, cost: Option<u64>) -> u64 {
        let last = || self.costs.iter().find(|(known, _)| *known == kind).map(|(_, cost)| *cost);
        cost.or_else(last).unwrap_or_default()
    }

    /// Notes that a request for `cost` points leaves.
    pub fn leaves(&mut self, cost: u64) {
        self.under_way = self.under_way.saturating_add(cost);
    }

    /// Notes that it has ended, with or without an answer.
    pub fn ended(&mut self, cost: u64) {
        self.under_way = self.under_way.saturating_sub(cost);
    }

    /// How long an operation of this kind must wait from `now` for points. It counts as sent after that wait.
    pub fn wait(&mut self, kind: &'static str, cost: Option<u64>, now: Timestamp) -> SignedDuration {
        let cost = self.expected(kind, cost);
        let Some((level, at)) = self.level else { return SignedDuration::ZERO };
        // Nothing waits that long: the clock was set back.
        let at = if at > plus(now, WINDOW) { now } else { at };
        // Operations that already wait come first.
        let from = now.max(at);
        let full = u128::from(level.maximum) * 1000;
        let elapsed = u128::try_from(from.duration_since(at).as_millis()).unwrap_or_default();
        let available =
            (u128::from(level.available) * 1000).saturating_add(elapsed * u128::from(level.rate)).min(full);
        // The part of the others. An operation that costs more than our share waits for a full bucket.
        let left = (full * u128::from(100_u64.saturating_sub(self.share)) / 100)
            .min(full.saturating_sub(u128::from(cost) * 1000));
        let missing = (left + u128::from(cost) * 1000).saturating_sub(available);
        let refill = match missing.div_ceil(u128::from(level.rate.max(1))) {
            0 => SignedDuration::ZERO,
            millis => SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX)),
        };
        let until = plus(from, refill);
        let spent = (available + missing).saturating_sub(u128::from(cost) * 1000) / 1000;
        let available = u64::try_from(spent).unwrap_or(level.maximum);
        self.level = Some((Level { available, ..level }, until));
        until.duration_since(now)
    }

    /// Takes back an operation that was not sent. The level is unknown afterwards.
    pub fn give_up(&mut self) {
        self.level = None;
    }

    pub fn note(&mut self, kind: &'static str, cost: u64, level: Level, now: Timestamp) {
        self.refused = 0;
        if let Some((_, last)) = self.costs.iter_mut().find(|(known, _)| *known == kind) {
            *last = cost;
        } else {
            self.costs.reserve_exact(1);
            self.costs.push((kind, cost));
        }
        let available = level.available.saturating_sub(self.under_way);
        self.level = Some((Level { available, ..level }, now));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    fn level(available: u64) -> Level {
        Level { maximum: 10_000, available, rate: 500 }
    }

    #[test]
    fn requests_stay_below_what_jobber_counts() {
        let mut budget = Budget::new(100);
        for number in 0..i64::from(REQUESTS) {
            assert_eq!(budget.rest(at(number * 10)), None);
            budget.begin(at(number * 10));
        }
        let rest = budget.rest(at(20_000));
        assert_eq!(rest, Some(SignedDuration::from_secs(280)), "until the first ones leave the window");
        assert_eq!(budget.rest(at(301_000)), None);
        assert_eq!(budget.rest(at(-100_000)), None, "a clock that was set back");
    }

    #[test]
    fn a_429_without_a_time_is_left_alone_for_longer_and_longer() {
        let mut budget = Budget::new(100);
        let (mut now, mut rests) = (0, vec![]);
        for _ in 0..5 {
            assert_eq!(budget.rest(at(now)), None);
            let rest = budget.too_many(None, at(now));
            assert_eq!(budget.too_many(None, at(now + 1000)).as_secs(), rest.as_secs() - 1, "the same rest");
            assert!(budget.rest(at(now + 59_999)).is_some());
            rests.push(rest.as_secs());
            now += i64::try_from(rest.as_millis()).unwrap();
        }
        assert_eq!(rests, [60, 120, 240, 300, 300]);
        assert_eq!(budget.too_many(Some(SignedDuration::from_secs(3)), at(now)).as_secs(), 3);
        assert_eq!(budget.too_many(Some(SignedDuration::from_secs(7)), at(now)).as_secs(), 7, "a longer one");
        assert_eq!(budget.rest(at(now + 6000)).map(|rest| rest.as_secs()), Some(1));
        budget.note("jobs", 1, level(100), at(now + 7000));
        assert_eq!(budget.too_many(None, at(now + 7000)).as_secs(), 60, "an answer in between begins anew");
        assert_eq!(budget.rest(at(now)), None, "a clock that was set back");
    }

    #[test]
    fn a_question_waits_until_our_share_allows_it() {
        let mut budget = Budget::new(50);
        assert_eq!(budget.wait("jobs", None, at(0)), SignedDuration::ZERO, "nothing is known");
        budget.note("jobs", 1000, level(6000), at(0));
        assert_eq!(budget.wait("jobs", None, at(0)), SignedDuration::ZERO, "6000 - 1000 leaves half");
        assert_eq!(budget.wait("jobs", None, at(0)), SignedDuration::from_secs(2), "the next one does not");
        assert_eq!(budget.wait("jobs", None, at(0)), SignedDuration::from_secs(4), "and stands behind it");
        budget.note("jobs", 1000, level(5000), at(10_000));
        assert_eq!(
            budget.wait("jobs", None, at(12_000)),
            SignedDuration::ZERO,
            "two seconds bring a thousand"
        );
    }

    #[test]
    fn a_question_dearer_than_the_share_waits_for_a_full_bucket() {
        let mut budget = Budget::new(10);
        budget.note("jobs", 4000, level(9000), at(0));
        assert_eq!(budget.wait("jobs", None, at(0)), SignedDuration::from_secs(2));
        let mut all = Budget::new(100);
        all.note("jobs", 4000, level(4000), at(0));
        assert_eq!(all.wait("jobs", None, at(0)), SignedDuration::ZERO);
    }

    #[test]
    fn a_bucket_that_never_refills_is_waited_for_without_end_or_panic() {
        let mut budget = Budget::new(1);
        budget.note("jobs", u64::MAX, Level { maximum: u64::MAX, available: 0, rate: 0 }, Timestamp::MIN);
        assert!(budget.wait("jobs", None, Timestamp::MAX) >= SignedDuration::ZERO);
        budget.note("jobs", 5, Level { maximum: 0, available: 0, rate: 0 }, Timestamp::MAX);
        assert!(budget.wait("jobs", None, Timestamp::MIN) >= SignedDuration::ZERO);
    }

    proptest! {
        /// Compared with a real bucket: a caller that waits as told never uses the part of the others, even
        /// with late answers and several operations under way.
        #[test]
        fn the_bucket_never_falls_below_the_share_of_others(
            share in 1_u64..=100,
            steps in prop::collection::vec((0_usize..3, 0_i64..5_000, any::<bool>()), 1..60),
        ) {
            const COSTS: [u64; 3] = [5, 143, 900];
            const KINDS: [&str; 3] = ["a", "b", "c"];
            let mut budget = Budget::new(share);
            let (mut real, mut now) = (10_000_f64, 0_i64);
            for (kind, cost) in KINDS.iter().zip(COSTS) {
                budget.note(kind, cost, level(10_000), at(0));
            }
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            for (kind, pause, is_answered) in steps {
                let wait = i64::try_from(budget.wait(KINDS[kind], None, at(now)).as_millis()).unwrap();
                let advance = wait + pause;
                real = (real + wait as f64 / 2.0).min(10_000.0) - COSTS[kind] as f64;
                let left = (10_000.0 - 100.0 * share as f64).min(10_000.0 - COSTS[kind] as f64);
                prop_assert!(real >= left - 2.0, "{real} after {wait} ms, {left} is for others");
                if is_answered {
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 10,000")]
                    budget.note(KINDS[kind], COSTS[kind], level(real as u64), at(now + wait));
                }
                real = (real + pause as f64 / 2.0).min(10_000.0);
                now += advance;
            }
        }
    }
}
