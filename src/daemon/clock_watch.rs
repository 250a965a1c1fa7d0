//! Notices that the machine's clock went back, by the clock that only runs forward.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::clock::{STEP_BACK, plus};

/// How often the two are compared.
pub(super) const EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct ClockWatch {
    wall: Timestamp,
    steady: Instant,
}

impl ClockWatch {
    pub(super) fn new(wall: Timestamp, steady: Instant) -> Self {
        Self { wall, steady }
    }

    /// Whether the clock went back since the last look.
    pub(super) fn went_back(&mut self, wall: Timestamp, steady: Instant) -> bool {
        let passed = steady.saturating_duration_since(self.steady);
        let expected = plus(self.wall, SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX));
        (self.wall, self.steady) = (wall, steady);
        expected.duration_since(wall) > STEP_BACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_real_step_back_is_noticed_and_once() {
        let (begun, at) = (Instant::now(), |second: i64| Timestamp::from_second(second).unwrap());
        let after = |seconds| begun + Duration::from_secs(seconds);
        let mut watch = ClockWatch::new(at(1_000), begun);
        assert!(!watch.went_back(at(1_005), after(5)));
        assert!(!watch.went_back(at(990), after(10)), "a time service at work");
        assert!(!watch.went_back(at(900_000), after(15)), "ahead is another matter");
        assert!(watch.went_back(at(1_000), after(20)));
        assert!(!watch.went_back(at(1_005), after(25)));
        assert!(!watch.went_back(at(1_500), after(520)), "it was asleep");
    }
}
