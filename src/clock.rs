//! The clock as a parameter.
//!
//! Only this file reads the machine's clock: pure code takes `now` as an argument, steps take a [`Clock`].
//! This is the only trait that exists for tests.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A clock that goes back by less is the work of a time service.
pub const STEP_BACK: SignedDuration = SignedDuration::from_secs(30);

/// The source of `now`.
pub trait Clock: std::fmt::Debug + Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;

    /// How long to sleep until this clock shows `at`. Zero if that is past.
    fn sleep_until(&self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.now())).unwrap_or(Duration::ZERO)
    }
}

/// A shared clock.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that moves only on command.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(Mutex::new(start))
    }

    /// Moves the clock to `to`.
    pub fn set(&self, to: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }

    /// Moves the clock by `by` and returns the new time.
    pub fn advance(&self, by: SignedDuration) -> Timestamp {
        let mut hands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *hands = plus(*hands, by);
        *hands
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Jobber's clock beside ours, measured at each answer. Our clock can jump; what forgets or gives up goes by what both
/// say.
#[derive(Debug, Default)]
pub struct JobberClock(Mutex<Option<Measured>>);

#[derive(Debug, Clone, Copy)]
struct Measured {
    theirs: Timestamp,
    ours: Timestamp,
}

impl JobberClock {
    /// Notes the `Date` of an answer, and our clock when it came.
    pub fn note(&self, theirs: Timestamp, ours: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Measured { theirs, ours });
    }

    /// How far our clock was ahead of Jobber's at the last answer. `None` before the first one.
    pub fn ahead(&self) -> Option<SignedDuration> {
        self.measured().map(|Measured { theirs, ours }| ours.duration_since(theirs))
    }

    /// The newest instant that both clocks had reached at the last answer. `None` before the first one of this process:
    /// then nothing is sure.
    pub fn agreed(&self) -> Option<Timestamp> {
        self.measured().map(|Measured { theirs, ours }| theirs.min(ours))
    }

    /// Now, if our clock has not jumped since the last answer.
    pub fn moment(&self, ours: Timestamp) -> Moment {
        Moment::new(ours, self.ahead().map(|ahead| minus(ours, ahead)))
    }

    fn measured(&self) -> Option<Measured> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clocks are never quite the same; but if ours is further from Jobber's than this, it has jumped.
const DRIFT: SignedDuration = SignedDuration::from_mins(15);

/// An instant, by our clock and by the one that is surely not wrong by much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// By our clock, which says when something is due.
    pub ours: Timestamp,
    /// What is remembered for long: who was asked when. By Jobber's clock if ours has jumped.
    pub sure: Timestamp,
}

impl Moment {
    /// Now by our clock, when Jobber's clock said `theirs`.
    pub fn new(ours: Timestamp, theirs: Option<Timestamp>) -> Self {
        let sure = theirs.filter(|theirs| ours.duration_since(*theirs).abs() > DRIFT).unwrap_or(ours);
        Self { ours, sure }
    }
}

impl From<Timestamp> for Moment {
    /// Where both clocks agree.
    fn from(now: Timestamp) -> Self {
        Self { ours: now, sure: now }
    }
}

/// Whether `time` has passed since `last`. What lies in the future was written by a clock that was set back since, and
/// is over, too: otherwise it would be waited for as long as that clock was ahead.
pub fn is_over(last: Timestamp, time: SignedDuration, now: Timestamp) -> bool {
    last > now || now.duration_since(last) >= time
}

/// `instant + duration`, limited to the calendar's range instead of overflowing.
pub fn plus(instant: Timestamp, duration: SignedDuration) -> Timestamp {
    instant.saturating_add(duration).unwrap_or(if duration.is_negative() {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// `instant - duration`, limited to the calendar's range instead of overflowing.
pub fn minus(instant: Timestamp, duration: SignedDuration) -> Timestamp {
    plus(instant, duration.checked_neg().unwrap_or(SignedDuration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_stops_at_the_ends_of_the_calendar() {
        assert_eq!(plus(Timestamp::MAX, SignedDuration::from_secs(1)), Timestamp::MAX);
        assert_eq!(minus(Timestamp::MIN, SignedDuration::from_secs(1)), Timestamp::MIN);
        assert_eq!(minus(Timestamp::UNIX_EPOCH, SignedDuration::MIN), Timestamp::MAX);
        assert_eq!(
            plus(Timestamp::UNIX_EPOCH, SignedDuration::from_secs(90)),
            Timestamp::from_second(90).unwrap()
        );
    }

    #[test]
    fn a_clock_that_was_set_back_puts_nothing_off() {
        let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        for (last, now, over) in [(0, 59, false), (0, 60, true), (60, 60, false), (50_000, 60, true)] {
            assert_eq!(is_over(at(last), SignedDuration::from_hours(1), at(now)), over, "{last} {now}");
        }
    }

    #[test]
    fn nothing_is_sure_before_jobber_has_answered_and_then_only_what_both_clocks_say() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let jobber = JobberClock::default();
        assert_eq!((jobber.agreed(), jobber.ahead()), (None, None));
        jobber.note(at(100), at(160));
        assert_eq!((jobber.agreed(), jobber.ahead()), (Some(at(100)), Some(SignedDuration::from_secs(60))));
        jobber.note(at(200), at(190));
        assert_eq!((jobber.agreed(), jobber.ahead()), (Some(at(190)), Some(SignedDuration::from_secs(-10))));
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.now(), clock.now());
        let later = clock.advance(SignedDuration::from_secs(60));
        assert_eq!(clock.now(), later);
    }
}
