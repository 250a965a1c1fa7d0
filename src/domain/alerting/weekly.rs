//! What happened in a week, for the operator. Pure.

use std::fmt::Write as _;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use crate::domain::funnel::Funnel;
use crate::domain::model::{AccountId, SkipReason};

/// When a digest is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOfWeek {
    pub weekday: Weekday,
    pub hour: i8,
    pub minute: i8,
}

const DAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

impl TimeOfWeek {
    /// The day with a name, or with at least its first three letters.
    pub fn weekday(name: &str) -> Option<Weekday> {
        let name = name.to_lowercase();
        let found = DAYS.iter().find(|(day, _)| name.len() >= 3 && day.starts_with(&name));
        found.map(|(_, weekday)| *weekday)
    }

    pub fn name(self) -> &'static str {
        DAYS.iter().find(|(_, weekday)| *weekday == self.weekday).map_or("monday", |(name, _)| name)
    }

    /// The last two such times at or before `now`, in `zone`.
    pub fn last_two(self, zone: &TimeZone, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let local = now.to_zoned_datetime(zone.clone());
        let back = i64::from(local.weekday().since(self.weekday));
        let at = |weeks: i64| {
            let day = local.date().checked_sub((back + 7 * weeks).days()).ok()?;
            let at = day.at(self.hour, self.minute, 0, 0).to_zoned_datetime(zone.clone()).ok()?;
            Some(at.timestamp())
        };
        let weeks = i64::from(at(0)? > now);
        Some((at(weeks + 1)?, at(weeks)?))
    }
}

/// What happened in an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountWeek {
    pub id: AccountId,
    pub name: String,
    pub state: &'static str,
    pub funnel: Funnel,
    pub dead: usize,
    /// What somebody has to do.
    pub to_do: Vec<String>,
}

/// The digest as programs get it.
/// `to_do` is what concerns all accounts.
pub fn body(id: &str, from: Timestamp, to: Timestamp, to_do: &[String], accounts: &[AccountWeek]) -> Value {
    let of = |week: &AccountWeek| {
        let Funnel { finished, waiting, asked, delivered, reviewed, skipped, .. } = &week.funnel;
        json!({
            "id": week.id, "name": week.name, "state": week.state, "finished": finished, "waiting": waiting, "asked": asked,
            "delivered": delivered, "reviewed": reviewed, "skipped": skipped, "dead": week.dead, "to_do": week.to_do,
        })
    };
    let total = |count: fn(&AccountWeek) -> usize| accounts.iter().map(count).sum::<usize>();
    json!({
        "type": "digest", "timestamp": to, "id": id, "from": from, "to": to, "to_do": to_do,
        "totals": {
            "accounts": accounts.len(), "finished": total(|week| week.funnel.finished), "asked": total(|week| week.funnel.asked),
            "delivered": total(|week| week.funnel.delivered), "reviewed": total(|week| week.funnel.reviewed),
            "dead": total(|week| week.dead),
        },
        "accounts": accounts.iter().map(of).collect::<Vec<_>>(),
    })
}

/// The digest, given as [`body`] makes it, for people: in at most about `longest` characters. Accounts with something to do
/// come first; those that find no room are counted.
pub(super) fn in_words(digest: &Value, longest: usize) -> String {
    let totals = &digest["totals"];
    let mut text = format!(
        "The week of {} accounts: {} asked, {} delivered, {} reviewed, {} dead letters.",
        number(totals, "accounts"),
        number(totals, "asked"),
        number(totals, "delivered"),
        number(totals, "reviewed"),
        number(totals, "dead"),
    );
    for to_do in to_do_in(digest) {
        // A String accepts every write.
        let _ok = write!(text, "\nTo do: {to_do}");
    }
    let mut accounts: Vec<&Value> = digest["accounts"].as_array().into_iter().flatten().collect();
    accounts.sort_by_key(|account| to_do_in(account).next().is_none());
    let mut left = accounts.len();
    for account in accounts {
        let paragraph = paragraph(account);
        if text.chars().count() + paragraph.chars().count() + ROOM > longest {
            let _ok = write!(text, "\n\nAnd {left} more.");
            break;
        }
        text.push_str(&paragraph);
        left -= 1;
    }
    text
}

/// The week of one account for the contractor, from the digest's part about it. What the operator has to do is not in it.
/// `contact` is whom to ask.
pub fn for_contractor(account: &Value, contact: Option<&str>) -> String {
    let name = account["name"].as_str().unwrap_or_default();
    let count = |what: &str, one: &str, many: &str| {
        let number = number(account, what);
        format!("{number} {}", if number == 1 { one } else { many })
    };
    let mut text = format!(
        "{name}: the week's review requests\n\n{} finished, {} asked for a review, {} came in.",
        count("finished", "work was", "works were"),
        count("asked", "customer was", "customers were"),
        count("reviewed", "review", "reviews"),
    );
    if number(account, "waiting") > 0 {
        // A String accepts every write.
        let _ok = write!(text, "\nTo be asked later: {}.", number(account, "waiting"));
    }
    not_asked(account, &mut text);
    let state = account["state"].as_str().unwrap_or_default();
    if state == "needs_authorization" {
        text.push_str("\n\nThe connection with Jobber is lost: nobody is asked until it is made again.");
    }
    if let Some(contact) = contact {
        let _ok = write!(text, "\n\nQuestions: {contact}");
    }
    text
}

fn not_asked(account: &Value, text: &mut String) {
    for (reason, count) in account["skipped"].as_object().into_iter().flatten() {
        let known = serde_json::from_value::<SkipReason>(reason.clone().into());
        let words = known.map_or_else(|_| reason.clone(), |known| known.describe().to_owned());
        // A String accepts every write.
        let _ok = write!(text, "\n  {count} not asked: {words}");
    }
}

/// For the last line, in characters.
const ROOM: usize = 32;

fn number(of: &Value, name: &str) -> u64 {
    of[name].as_u64().unwrap_or_default()
}

fn to_do_in(of: &Value) -> impl Iterator<Item = &str> {
    of["to_do"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn paragraph(account: &Value) -> String {
    let mut text = format!(
        "\n\n{}: {} finished, {} asked, {} delivered, {} reviewed, {} waiting.",
        account["name"].as_str().unwrap_or_default(),
        number(account, "finished"),
        number(account, "asked"),
        number(account, "delivered"),
        number(account, "reviewed"),
        number(account, "waiting"),
    );
    not_asked(account, &mut text);
    for to_do in to_do_in(account) {
        // A String accepts every write.
        let _ok = write!(text, "\n  To do: {to_do}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_last_time_of_the_week_is_by_the_zones_clock() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let monday = TimeOfWeek { weekday: Weekday::Monday, hour: 8, minute: 0 };
        // The clocks went ahead on Sunday, March 8th 2026.
        for (now, last) in [
            ("2026-03-09T11:59:59Z", "2026-03-02T13:00:00Z"),
            ("2026-03-09T12:00:00Z", "2026-03-09T12:00:00Z"),
            ("2026-03-15T23:00:00Z", "2026-03-09T12:00:00Z"),
            ("2026-03-16T12:00:00Z", "2026-03-16T12:00:00Z"),
        ] {
            assert_eq!(monday.last_two(&zone, at(now)).map(|(_, last)| last), Some(at(last)), "{now}");
        }
        let sunday = TimeOfWeek { weekday: Weekday::Sunday, hour: 2, minute: 30 };
        let two = |now: &str| sunday.last_two(&zone, at(now)).unwrap();
        // There is no half past two on that day: an hour later stands for it.
        assert_eq!(two("2026-03-08T07:29:00Z"), (at("2026-02-22T07:30:00Z"), at("2026-03-01T07:30:00Z")));
        assert_eq!(two("2026-03-08T07:30:00Z"), (at("2026-03-01T07:30:00Z"), at("2026-03-08T07:30:00Z")));
        assert_eq!(two("2026-03-15T06:30:00Z"), (at("2026-03-08T07:30:00Z"), at("2026-03-15T06:30:00Z")));
    }

    #[test]
    fn the_words_begin_with_what_is_to_do() {
        let account = |name: &str, to_do: &[&str]| AccountWeek {
            id: AccountId::new("acc"),
            name: name.to_owned(),
            state: "connected",
            funnel: Funnel {
                finished: 3,
                asked: 2,
                delivered: 1,
                skipped: [(SkipReason::NoContact, 1)].into(),
                ..Funnel::default()
            },
            dead: 1,
            to_do: to_do.iter().map(|text| (*text).to_owned()).collect(),
        };
        let accounts = [account("Calm", &[]), account("Ace", &["send the contractor a new link"])];
        let (from, to) = (at("2026-03-02T13:00:00Z"), at("2026-03-09T12:00:00Z"));
        let digest = body("dig_1", from, to, &["look at the clock".to_owned()], &accounts);
        let words = in_words(&digest, 10_000);
        assert_eq!(
            words,
            "The week of 2 accounts: 4 asked, 2 delivered, 0 reviewed, 2 dead letters.\nTo do: look at the clock\n\n\
             Ace: 3 finished, 2 asked, 1 delivered, 0 reviewed, 0 waiting.\n  \
             1 not asked: no phone that takes texts and no e-mail address\n  To do: send the contractor a new link\n\n\
             Calm: 3 finished, 2 asked, 1 delivered, 0 reviewed, 0 waiting.\n  \
             1 not asked: no phone that takes texts and no e-mail address"
        );
        let short = in_words(&digest, 300);
        assert!(
            short.contains("Ace: ") && short.ends_with("\n\nAnd 1 more.") && short.len() <= 300,
            "{short}"
        );
    }
}
