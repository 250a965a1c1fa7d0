//! Types of settings. Each parses its text, and its errors say what is wrong and what to write.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, SpanRelativeTo};
use reqwest::Url;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::alerting::weekly::TimeOfWeek;
use crate::domain::window::{Hours, zone};
use crate::outbound::resolver::is_loopback;

/// A duration: `90s`, `30m`, `2h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub SignedDuration);

const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 36_525);

impl Period {
    /// Parses a period. A day is 24 hours.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a length of time; write one such as 90s, 30m, 2h or 7d");
        let span: Span = text.trim().parse().map_err(|_| wrong())?;
        let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
        if duration.is_negative() {
            return Err(wrong());
        }
        if duration > LONGEST {
            return Err(format!("`{text}` is longer than a century; write one such as 90s, 30m, 2h or 7d"));
        }
        Ok(Self(duration))
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let days = self.0.as_hours() / 24;
        if days > 0 && SignedDuration::from_hours(24 * days) == self.0 {
            write!(f, "{days}d")
        } else {
            write!(f, "{:#}", self.0)
        }
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A colour as `#rrggbb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour([u8; 3]);

impl Colour {
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a colour; write one such as #12715b");
        let digits = text
            .strip_prefix('#')
            .filter(|digits| digits.len() == 6 && !digits.starts_with('+'))
            .ok_or_else(wrong)?;
        let number = u32::from_str_radix(digits, 16).map_err(|_| wrong())?;
        let [_, red, green, blue] = number.to_be_bytes();
        Ok(Self([red, green, blue]))
    }

    /// White or nearly black, whatever can be read better on it: never below 4.5 to 1 (WCAG 2.2, 1.4.3).
    pub fn text_on_it(self) -> &'static str {
        if 1.05 / (self.luminance() + 0.05) >= 4.5 { "#fff" } else { "#000" }
    }

    /// Relative luminance, as WCAG defines it.
    fn luminance(self) -> f64 {
        let part = |byte: u8| {
            let part = f64::from(byte) / 255.0;
            if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        let [red, green, blue] = self.0.map(part);
        0.0722_f64.mul_add(blue, 0.2126_f64.mul_add(red, 0.7152 * green))
    }
}

impl std::fmt::Display for Colour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl Serialize for Colour {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Colour {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A time of the week: `monday 08:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeekTime(pub TimeOfWeek);

impl WeekTime {
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a time of the week; write one such as monday 08:00");
        let (day, time) = text.trim().split_once(' ').ok_or_else(wrong)?;
        let weekday = TimeOfWeek::weekday(day).ok_or_else(wrong)?;
        let (hour, minute) = time.trim().split_once(':').ok_or_else(wrong)?;
        let number = |text: &str, below: i8| text.parse().ok().filter(|number| (0..below).contains(number));
        let (hour, minute) = number(hour, 24).zip(number(minute, 60)).ok_or_else(wrong)?;
        Ok(Self(TimeOfWeek { weekday, hour, minute }))
    }
}

impl std::fmt::Display for WeekTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TimeOfWeek { hour, minute, .. } = self.0;
        write!(f, "{} {hour:02}:{minute:02}", self.0.name())
    }
}

impl Serialize for WeekTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WeekTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A language of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    En,
    Es,
    /// As in Canada.
    Fr,
}

impl Language {
    pub fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Es => "es",
            Self::Fr => "fr",
        }
    }
}

/// An https address, or an http address on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpsUrl(pub Url);

impl HttpsUrl {
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text)
            .map_err(|_| format!("`{text}` is not a URL; write one such as https://example.com/path"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it contains a user name or password; remove them".to_owned());
        }
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if is_loopback(&url) => Ok(Self(url)),
            _ => Err(format!(
                "`{text}` is not https; use https (http is allowed only for this machine itself)"
            )),
        }
    }
}

impl std::fmt::Display for HttpsUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for HttpsUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for HttpsUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A cron expression with six fields, in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(String);

impl Schedule {
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields = text.split_whitespace().count();
        if fields != 6 {
            return Err(format!(
                "`{text}` has {fields} fields; write six, seconds first, such as `0 */5 * * * *` for every five minutes"
            ));
        }
        match tokio_cron_scheduler::Job::new(text, |_, _| {}) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(format!(
                "`{text}` is not a schedule; write second, minute, hour, day, month and weekday, such as `0 */5 * * * *`"
            )),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A number of concurrent tasks: 1 to 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Concurrency(pub usize);

impl<'de> Deserialize<'de> for Concurrency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i64::deserialize(deserializer)? {
            number @ 1..=1024 => Ok(Self(usize::try_from(number).unwrap_or(1))),
            number => Err(serde::de::Error::custom(format!("{number} is out of range; write 1 to 1024"))),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayHours(pub Option<Hours>);

impl Serialize for DayHours {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(hours) => serializer.collect_str(&hours),
            None => serializer.serialize_str(CLOSED),
        }
    }
}

impl<'de> Deserialize<'de> for DayHours {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            CLOSED => Ok(Self(None)),
            text => Hours::parse(text).map(|hours| Self(Some(hours))).map_err(|error| {
                serde::de::Error::custom(format!("`{text}` is not a range of hours; {error}"))
            }),
        }
    }
}

const CLOSED: &str = "closed";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(pub TimeZone);

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.iana_name().unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let zone = zone(&name).filter(|zone| zone.iana_name().is_some()).ok_or_else(|| {
            let like = closest_zone(&name).unwrap_or_else(|| "America/Chicago".to_owned());
            serde::de::Error::custom(format!(
                "`{name}` is not a known time zone; use an IANA name such as {like}"
            ))
        })?;
        Ok(Self(zone))
    }
}

/// The known time zone with the most similar name, if any is similar.
fn closest_zone(name: &str) -> Option<String> {
    /// From this similarity on, a name counts as mistyped.
    const ALIKE: f64 = 0.9;

    let alike = |known: &str| strsim::jaro_winkler(&known.to_lowercase(), &name.to_lowercase());
    jiff::tz::db()
        .available()
        .map(|known| known.as_str().to_owned())
        .max_by(|one, other| alike(one).total_cmp(&alike(other)))
        .filter(|known| alike(known) > ALIKE)
}

/// A non-negative amount of money in whole currency units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Amount(pub u32);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        let wrong = |_| {
            serde::de::Error::custom(format!("{number} is out of range; write a whole amount such as 100"))
        };
        u32::try_from(number).map(Self).map_err(wrong)
    }
}

/// A percentage: 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Percent(pub u64);

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i64::deserialize(deserializer)? {
            number @ 1..=100 => Ok(Self(number.unsigned_abs())),
            number => Err(serde::de::Error::custom(format!("{number} is out of range; write 1 to 100"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_on_a_colour_can_be_read(parts: [u8; 3]) {
            // 4.5 to 1 against white is the same as a luminance up to 0.1833; black has 4.66 to 1 above that.
            let colour = Colour(parts);
            prop_assert_eq!(Colour::parse(&colour.to_string()), Ok(colour));
            let luminance = colour.luminance();
            let (light, dark) = match colour.text_on_it() {
                "#fff" => (1.0, luminance),
                _ => (luminance, 0.0),
            };
            prop_assert!((light + 0.05) / (dark + 0.05) >= 4.5);
        }
    }

    #[test]
    fn a_time_of_the_week_reads_back() {
        for text in ["monday 08:00", "sunday 23:59"] {
            assert_eq!(WeekTime::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(WeekTime::parse(" Mon 8:00").unwrap().to_string(), "monday 08:00");
        for wrong in ["", "monday", "08:00", "funday 08:00", "monday 24:00", "monday 08:60", "monday -1:00"] {
            assert!(WeekTime::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_colour_is_told() {
        for wrong in ["", "#fff", "12715b", "#12715g", "#+2715b", "red", "#12715b00"] {
            assert!(Colour::parse(wrong).is_err(), "{wrong}");
        }
    }
}
