//! Reads another tool's CSV of people that it has already asked: one row per person and ask. Pure.
//!
//! The first line names the columns, in any order: `phone` and `email` (one of them must be filled),
//! `asked_at` (a day or an instant), and `account` if the file is about several. Other columns are ignored.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::domain::model::ContactKey;

/// A person who was asked before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedBefore {
    /// The line in the file, from 1.
    pub line: u64,
    /// The account that asked, by id or name. If absent, the account of the command line.
    pub account: Option<String>,
    /// The person's contacts.
    pub contacts: Vec<ContactKey>,
    /// When the person was asked.
    pub at: Timestamp,
}

/// A row that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRow {
    /// The line in the file, from 1.
    pub line: u64,
    /// What is wrong with the row, without any of its content.
    pub problem: String,
}

/// The content of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Rows to store.
    pub asked: Vec<AskedBefore>,
    /// Rows that cannot be used.
    pub bad: Vec<BadRow>,
}

/// The file as a whole cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}; the first line must name the columns phone, email and asked_at, or --columns phone=…,asked_at=… must"
)]
pub struct NoTable(String);

#[derive(Debug, Deserialize)]
struct Row {
    #[serde(default)]
    phone: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    account: Option<String>,
    #[serde(default)]
    asked_at: String,
}

const COLUMNS: [&str; 4] = ["phone", "email", "asked_at", "account"];

/// Reads a CSV.
pub fn parse(text: &[u8], now: Timestamp) -> Result<Parsed, NoTable> {
    parse_named(text, &[], now)
}

/// Reads a CSV that calls its columns something else: `phone=Mobile`.
pub fn parse_named(text: &[u8], named: &[String], now: Timestamp) -> Result<Parsed, NoTable> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text);
    let found = reader.headers().map_err(|error| NoTable(format!("it is not a CSV table ({error})")))?;
    let mut columns: Vec<String> =
        found.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect();
    for pair in named {
        let (ours, theirs) = pair.split_once('=').unwrap_or((pair, ""));
        if !COLUMNS.contains(&ours) {
            let known = COLUMNS.join(", ");
            return Err(NoTable(format!("`{pair}` is not NAME=COLUMN with a name of {known}")));
        }
        let place = columns.iter().position(|column| column == theirs);
        let place = place.ok_or_else(|| NoTable(format!("it has no column `{theirs}`")))?;
        // What has our name and is something else is not read.
        for column in columns.iter_mut().filter(|column| *column == ours) {
            column.clear();
        }
        ours.clone_into(&mut columns[place]);
    }
    let columns = csv::StringRecord::from(columns);
    let has = |name: &str| columns.iter().any(|column| column == name);
    if !has("asked_at") || !has("phone") && !has("email") {
        return Err(NoTable("columns are missing".to_owned()));
    }
    let mut parsed = Parsed::default();
    let mut record = csv::StringRecord::new();
    loop {
        let read = reader.read_record(&mut record);
        let line = record.position().map_or(0, csv::Position::line);
        match read {
            Ok(false) => return Ok(parsed),
            Ok(true) => match understand(&record, &columns, line, now) {
                Ok(asked) => parsed.asked.push(asked),
                Err(problem) => parsed.bad.push(BadRow { line, problem: problem.to_owned() }),
            },
            Err(error) => {
                let line = error.position().map_or(line, csv::Position::line);
                parsed.bad.push(BadRow { line, problem: "it cannot be read".to_owned() });
                if matches!(error.kind(), csv::ErrorKind::Io(_)) {
                    return Ok(parsed);
                }
            }
        }
    }
}

fn understand(
    record: &csv::StringRecord,
    columns: &csv::StringRecord,
    line: u64,
    now: Timestamp,
) -> Result<AskedBefore, &'static str> {
    let row: Row =
        record.deserialize(Some(columns)).map_err(|_| "its columns do not match the first line")?;
    let phone = ContactKey::phone(&row.phone);
    if phone.is_none() && !row.phone.is_empty() {
        return Err("its phone is not a phone number");
    }
    let email = ContactKey::email(&row.email);
    if email.is_none() && !row.email.is_empty() {
        return Err("its email is not an e-mail address");
    }
    let contacts: Vec<_> = phone.into_iter().chain(email).collect();
    if contacts.is_empty() {
        return Err("it has neither phone nor email");
    }
    let day = |text: &str| {
        let midnight = text.parse::<Date>().ok()?.to_datetime(jiff::civil::Time::midnight());
        Some(midnight.to_zoned_datetime(TimeZone::UTC).ok()?.timestamp())
    };
    let at = row.asked_at.parse().ok().or_else(|| day(&row.asked_at));
    match at {
        None => Err("its asked_at is not a date such as 2026-03-10 or a time such as 2026-03-10T14:00:00Z"),
        Some(at) if at > now => Err("its asked_at is in the future"),
        Some(at) => {
            let account = row.account.filter(|account| !account.is_empty());
            Ok(AskedBefore { line, account, contacts, at })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_other_names_are_read_by_them() {
        let text = "\u{feff}Mobile,asked_at,Sent\n5551234567,never,2026-03-01\n";
        let now = "2026-03-10T12:00:00Z".parse().unwrap();
        let read = |named: &[&str]| {
            let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
            parse_named(text.as_bytes(), &named, now)
        };
        let parsed = read(&["phone=Mobile", "asked_at=Sent"]).unwrap();
        assert_eq!((parsed.asked.len(), parsed.bad.len()), (1, 0), "{parsed:?}");
        for (named, told) in [
            (&["phone=Handy"][..], "it has no column `Handy`; "),
            (
                &["fone=Mobile"],
                "`fone=Mobile` is not NAME=COLUMN with a name of phone, email, asked_at, account; ",
            ),
            (&["phone"], "it has no column ``; "),
            (&[], "columns are missing; "),
        ] {
            let error = read(named).unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
        }
    }

    fn read(text: &str) -> Result<Parsed, NoTable> {
        parse(text.as_bytes(), "2026-03-10T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn good_rows_are_taken_and_bad_ones_named_by_their_line() {
        let parsed = read(
            "name,email,phone,asked_at\n\
             John,john@example.com,(555) 123-4567,2026-01-05\n\
             Lee,,+15552222222,2026-02-01T10:00:00Z\n\
             Ann,,,2026-02-01\n\
             Bob,nobody,,2026-02-01\n\
             Cy,,911,2026-02-01\n\
             Di,di@example.com,,yesterday\n\
             Ed,ed@example.com,,2027-01-01\n\
             \"Fay, Inc.\",fay@example.com,,2026-02-01\n",
        )
        .unwrap();
        let lines: Vec<_> = parsed.asked.iter().map(|asked| (asked.line, asked.contacts.len())).collect();
        assert_eq!(lines, [(2, 2), (3, 1), (9, 1)]);
        assert_eq!(parsed.asked[0].at, "2026-01-05T00:00:00Z".parse().unwrap());
        let bad: Vec<_> = parsed.bad.iter().map(|bad| (bad.line, bad.problem.as_str())).collect();
        assert_eq!(
            bad,
            [
                (4, "it has neither phone nor email"),
                (5, "its email is not an e-mail address"),
                (6, "its phone is not a phone number"),
                (7, "its asked_at is not a date such as 2026-03-10 or a time such as 2026-03-10T14:00:00Z"),
                (8, "its asked_at is in the future"),
            ]
        );
    }

    #[test]
    fn a_file_without_the_columns_is_refused_as_a_whole() {
        for text in ["", "a,b\n1,2\n", "phone,email\n5551234567,\n", "asked_at\n2026-01-01\n"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(read("phone,asked_at\n").unwrap(), Parsed::default());
        assert_eq!(read("phone,asked_at\n\u{fffd}\u{0},x,y,z\n").unwrap().bad.len(), 1);
        let invalid =
            parse(b"phone,asked_at\n\xff\xfe,2026-01-01\n5551234567,2026-01-01\n", Timestamp::MAX).unwrap();
        assert_eq!((invalid.bad.len(), invalid.asked.len()), (1, 1));
    }
}
