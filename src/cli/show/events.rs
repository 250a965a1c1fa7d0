//! Replies about Jobber's events as text.

use jiff::Timestamp;

use super::{NO_ACCOUNTS, Paper, Show};
use crate::cli::exit::Status;
use crate::ops::events::{EventsOf, EventsReport, TopicOf};
use crate::ops::words::relative;
use crate::text_table::{counted, table};

impl Show for EventsReport {
    fn text(&self, paper: &Paper) -> String {
        if self.accounts.is_empty() {
            return self.accounts.text(paper);
        }
        let header = ["account", "events", "last event", "error"];
        let accounts = table(&header, NO_ACCOUNTS, self.accounts.iter().map(|row| in_short(row, paper.now)));
        let header = ["topic", "needed by", "there", "last heard", "found by"];
        let topics = table(
            &header,
            "No topic is needed, and none was heard.",
            self.topics.iter().map(|row| topic(row, paper.now)),
        );
        format!("{accounts}\n\n{topics}")
    }

    fn status(&self) -> Status {
        self.accounts.status()
    }
}

impl Show for Vec<EventsOf> {
    fn text(&self, paper: &Paper) -> String {
        let header = ["account", "Jobber sends", "last event", "error"];
        table(&header, NO_ACCOUNTS, self.iter().map(|row| events(row, paper.now)))
    }

    fn status(&self) -> Status {
        let failed = self.iter().filter(|row| row.error.is_some()).count();
        match failed {
            0 => Status::Fine,
            _ if failed == self.len() => Status::Failed,
            _ => Status::Partly,
        }
    }
}

fn maybe(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(|| "-".to_owned(), |at| relative(at, now))
}

fn events(row: &EventsOf, now: Timestamp) -> [String; 4] {
    let topics = if row.topics.is_empty() { "-".to_owned() } else { row.topics.join(" ") };
    [row.name.clone(), topics, maybe(row.last, now), row.error.clone().unwrap_or_else(|| "-".to_owned())]
}

fn in_short(row: &EventsOf, now: Timestamp) -> [String; 4] {
    let [name, _, last, error] = events(row, now);
    let topics = if row.topics.is_empty() { "none".to_owned() } else { counted(row.topics.len(), "topic") };
    [name, topics, last, error]
}

fn topic(row: &TopicOf, now: Timestamp) -> [String; 5] {
    let needed = match row.wanted_by {
        0 => "nobody".to_owned(),
        accounts => counted(accounts, "account"),
    };
    let there = match (&row.refused, row.is_there) {
        (Some(_), _) => "refused",
        (None, true) => "yes",
        (None, false) => "no",
    };
    let found = match row.topic.as_str() {
        "APP_CONNECT" | "APP_DISCONNECT" => "events and the daemon",
        _ if row.is_polled => "poll and events",
        _ => "events only",
    };
    [row.topic.clone(), needed, there.to_owned(), maybe(row.heard_at, now), found.to_owned()]
}
