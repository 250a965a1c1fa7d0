//! When customers may be asked: hours of each weekday in the contractor's time zone. Pure.
//!
//! What falls due while the window is closed leaves after it opens, in the same order, spread over the first
//! hour. So a night's work is not sent in one burst at nine. Hours are looked up day by day in the calendar,
//! so daylight saving can make a day shorter or longer.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::clock::plus;

/// What fell due while the window was closed is spread over this time, or over half of the opening if that is
/// shorter.
const SPREAD: SignedDuration = SignedDuration::from_hours(1);

/// How many days ahead to look for an opening. A window that does not open in this time never opens.
const DAYS: i32 = 370;

const MIDNIGHT: u16 = 24 * 60;

/// A range of minutes of the day: `09:00-20:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    from: u16,
    to: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write hours such as 09:00-20:00, or closed")]
pub struct NoHours;

impl Hours {
    /// Reads `09:00-20:00`. The end may be `24:00`.
    pub fn parse(text: &str) -> Result<Self, NoHours> {
        let minute = |text: &str| -> Option<u16> {
            let (hours, minutes) = text.trim().split_once(':')?;
            let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
            let minute = hours.checked_mul(60)?.checked_add(minutes)?;
            (minutes < 60 && minute <= MIDNIGHT).then_some(minute)
        };
        let (from, to) = text.split_once('-').ok_or(NoHours)?;
        match (minute(from), minute(to)) {
            (Some(from), Some(to)) if from < to => Ok(Self { from, to }),
            _ => Err(NoHours),
        }
    }
}

impl std::fmt::Display for Hours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (from, to) = (self.from, self.to);
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

/// When customers may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Monday first. `None` means closed.
    days: [Option<Hours>; 7],
    holidays: Vec<Date>,
}

impl Window {
    /// A window with these hours for each weekday, Monday first, closed on the holidays.
    pub fn new(days: [Option<Hours>; 7], holidays: Vec<Date>) -> Self {
        Self { days, holidays }
    }

    /// Open day and night.
    pub fn always() -> Self {
        Self::new([Some(Hours { from: 0, to: MIDNIGHT }); 7], vec![])
    }

    /// Whether the window is open at `at`.
    pub fn is_open(&self, zone: &TimeZone, at: Timestamp) -> bool {
        self.opening(zone, at.to_zoned_datetime(zone.clone()).date())
            .is_some_and(|(from, to)| from <= at && at < to)
    }

    /// When something due at `at` may leave: at once, or some time after the next opening. `None` if it never
    /// opens.
    pub fn leaves(&self, zone: &TimeZone, at: Timestamp) -> Option<Timestamp> {
        if self.is_open(zone, at) {
            return Some(at);
        }
        let today = at.to_zoned_datetime(zone.clone()).date();
        let near = |day: i32| Some(today.saturating_add(jiff::Span::new().days(day)));
        let (opens, closes) = (0..DAYS)
            .filter_map(near)
            .filter_map(|day| self.opening(zone, day))
            .find(|(opens, _)| *opens > at)?;
        let closed = (0..DAYS)
            .filter_map(|day| near(-day))
            .filter_map(|day| self.opening(zone, day))
            .map(|(_, closes)| closes)
            .find(|closes| *closes <= at)
            .unwrap_or(at);
        let (waited, asleep) =
            (at.duration_since(closed).as_millis(), opens.duration_since(closed).as_millis());
        let spread = SPREAD.min(closes.duration_since(opens) / 2).as_millis();
        let after = if asleep > 0 { spread * waited / asleep } else { 0 };
        Some(plus(opens, SignedDuration::from_millis(i64::try_from(after).unwrap_or_default())))
    }

    fn opening(&self, zone: &TimeZone, day: Date) -> Option<(Timestamp, Timestamp)> {
        let hours = self.days[usize::try_from(day.weekday().to_monday_zero_offset()).ok()?]?;
        if self.holidays.contains(&day) {
            return None;
        }
        let instant = |minute: u16| {
            let (day, minute) = if minute == MIDNIGHT { (day.tomorrow().ok()?, 0) } else { (day, minute) };
            let (hour, minute) = (i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?);
            Some(day.at(hour, minute, 0, 0).to_zoned_datetime(zone.clone()).ok()?.timestamp())
        };
        let (from, to) = (instant(hours.from)?, instant(hours.to)?);
        (from < to).then_some((from, to))
    }

    /// The hours of a weekday, if it is open.
    pub fn hours(&self, day: Weekday) -> Option<Hours> {
        self.days[usize::try_from(day.to_monday_zero_offset()).unwrap_or_default()]
    }
}

/// The time zone with this name: an IANA name, or the Rails name of a North American zone. It is unknown
/// which of them Jobber gives (`api-behaviour.md` §2).
pub fn zone(name: &str) -> Option<TimeZone> {
    const RAILS: &[(&str, &str)] = &[
        ("Newfoundland", "America/St_Johns"),
        ("Atlantic Time (Canada)", "America/Halifax"),
        ("Eastern Time (US & Canada)", "America/New_York"),
        ("Indiana (East)", "America/Indiana/Indianapolis"),
        ("Central Time (US & Canada)", "America/Chicago"),
        ("Saskatchewan", "America/Regina"),
        ("Mountain Time (US & Canada)", "America/Denver"),
        ("Arizona", "America/Phoenix"),
        ("Pacific Time (US & Canada)", "America/Los_Angeles"),
        ("Alaska", "America/Juneau"),
        ("Hawaii", "Pacific/Honolulu"),
    ];
    let iana = RAILS.iter().find(|(rails, _)| *rails == name).map_or(name, |(_, iana)| iana);
    TimeZone::get(iana).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn new_york() -> TimeZone {
        zone("America/New_York").unwrap()
    }

    fn usual() -> Window {
        let week = Some(Hours::parse("09:00-20:00").unwrap());
        let sunday = Some(Hours::parse("12:00-20:00").unwrap());
        Window::new([week, week, week, week, week, week, sunday], vec!["2026-12-25".parse().unwrap()])
    }

    fn leaves(text: &str) -> Timestamp {
        usual().leaves(&new_york(), at(text)).unwrap()
    }

    #[test]
    fn hours_are_read_and_written() {
        for text in ["09:00-20:00", "00:00-24:00", "12:30-12:31"] {
            assert_eq!(Hours::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Hours::parse("9:00 - 20:00").unwrap().to_string(), "09:00-20:00");
        for text in
            ["", "09:00", "20:00-09:00", "09:00-09:00", "09:60-11:00", "00:00-24:01", "a-b", "-1:00-2:00"]
        {
            assert_eq!(Hours::parse(text), Err(NoHours), "{text}");
        }
    }

    #[test]
    fn what_falls_due_in_the_window_leaves_at_once() {
        // Tuesday, 10:00 in New York.
        assert_eq!(leaves("2026-03-10T14:00:00Z"), at("2026-03-10T14:00:00Z"));
        assert!(usual().is_open(&new_york(), at("2026-03-10T13:00:00Z")), "nine sharp is in it");
        assert!(!usual().is_open(&new_york(), at("2026-03-11T00:00:00Z")), "eight sharp is not");
    }

    #[test]
    fn what_falls_due_at_night_leaves_in_the_first_hour_of_the_morning_in_order() {
        // Closed at 20:00 on Tuesday, open at 09:00 on Wednesday: thirteen hours become one.
        assert_eq!(leaves("2026-03-11T00:00:00Z"), at("2026-03-11T13:00:00Z"));
        assert_eq!(leaves("2026-03-11T06:30:00Z"), at("2026-03-11T13:30:00Z"));
        assert!(leaves("2026-03-11T12:59:59Z") < at("2026-03-11T14:00:00Z"));
        // Saturday night to Sunday noon.
        assert_eq!(leaves("2026-03-15T00:00:00Z"), at("2026-03-15T16:00:00Z"));
        // Christmas is a Friday.
        assert_eq!(leaves("2026-12-25T01:00:00Z"), at("2026-12-26T14:00:00Z"));
    }

    #[test]
    fn a_window_that_never_opens_says_so() {
        let never = Window::new([None; 7], vec![]);
        assert_eq!(never.leaves(&new_york(), at("2026-03-10T14:00:00Z")), None);
    }

    #[test]
    fn zones_are_known_by_both_kinds_of_names() {
        assert_eq!(zone("Eastern Time (US & Canada)"), zone("America/New_York"));
        assert!(zone("America/Vancouver").is_some());
        assert!(zone("Middle Earth").is_none());
    }

    prop_compose! {
        fn any_hours()(from in 0..MIDNIGHT, length in 1..MIDNIGHT) -> Option<Hours> {
            Some(Hours { from, to: (from + length).min(MIDNIGHT) }).filter(|hours| hours.from < hours.to)
        }
    }

    fn any_zone() -> impl Strategy<Value = TimeZone> {
        let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        prop::sample::select(names).prop_filter_map("a zone", |name| zone(&name))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// In every time zone, at any instant, in years with all their daylight-saving changes.
        #[test]
        fn nobody_leaves_while_it_is_closed_and_everybody_in_order(
            days in prop::array::uniform7(prop_oneof![3 => any_hours(), 1 => Just(None)]),
            zone in any_zone(),
            mut due in prop::collection::vec(1_700_000_000_i64..1_900_000_000, 1..12),
            close in 0_i64..200_000,
        ) {
            let window = Window::new(days, vec![]);
            // Some of them are close together.
            let first = due[0];
            due.extend((0..5).map(|step| first + close * step));
            due.sort_unstable();
            let mut before = Timestamp::MIN;
            for second in due {
                let at = Timestamp::from_second(second).unwrap();
                let Some(leaves) = window.leaves(&zone, at) else {
                    prop_assert!(days.iter().all(Option::is_none), "an opening was missed");
                    continue;
                };
                prop_assert!(leaves >= at && window.is_open(&zone, leaves), "{at} leaves at {leaves}");
                prop_assert_eq!(window.leaves(&zone, leaves), Some(leaves));
                if leaves > at {
                    prop_assert!(leaves >= before, "{leaves} overtakes {before}");
                    before = leaves;
                }
            }
        }
    }
}
