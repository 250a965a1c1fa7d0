//! What waits to be decided, sent, or looked at.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;

use super::{Paper, instant};
use crate::domain::model::{EntryState, OutboxEntry};
use crate::ops::queue::QueueRow;
use crate::ops::words::relative;
use crate::text_table::table;

pub(super) fn list(queue: &[QueueRow], paper: &Paper) -> String {
    let header = ["about", "account", "when", "state"];
    let mut text =
        table(&header, "Nothing in the queue matches.", queue.iter().map(|shown| row(shown, paper.now)));
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for shown in queue {
        *kinds.entry(shown.state()).or_default() += 1;
    }
    if queue.len() > 1 {
        let kinds: Vec<String> = kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let _ok = write!(text, "\n\n{}: {}", format_args!("{} in the queue", queue.len()), kinds.join(", "));
    }
    text
}

/// What an entry is about is also what `queue show` takes; without a subject that is its id.
fn row(row: &QueueRow, now: Timestamp) -> [String; 4] {
    let (_, account) = row.account();
    let (subject, id, at, state) = match row {
        QueueRow::Candidate { work, due_at, subject, .. } => {
            (subject, work.to_string(), *due_at, "waiting".to_owned())
        }
        QueueRow::Held { work, since, subject, .. } => {
            (subject, work.to_string(), *since, "held with a burst".to_owned())
        }
        QueueRow::Ask { id, attempts, state, last_error, subject, .. } => {
            let (state, at) = entry_state(state, *attempts);
            let last = last_error.as_ref().map_or_else(String::new, |last| format!("; last answer: {last}"));
            (subject, id.to_string(), at, format!("{state}{last}"))
        }
    };
    let about = match crate::ops::words::subject(subject) {
        nothing if nothing == "-" => id,
        about => about,
    };
    [about, account.to_owned(), relative(at, now), state]
}

fn entry_state(state: &EntryState, attempts: u32) -> (String, Timestamp) {
    match state {
        EntryState::Due { at } if attempts == 0 => ("to be sent".to_owned(), *at),
        EntryState::Due { at } => (format!("to be tried again, attempts so far: {attempts}"), *at),
        EntryState::Leased { until } => ("being sent".to_owned(), *until),
        EntryState::Dead { at, reason } => (format!("dead letter: {reason}"), *at),
    }
}

pub(super) fn entry(entry: &OutboxEntry, paper: &Paper) -> String {
    let (state, at) = entry_state(&entry.state, entry.attempt);
    let last = entry.last.as_ref().map_or_else(|| "-".to_owned(), |last| last.error.clone());
    format!(
        "{}\n  account      {}\n  work         {}\n  decided      {}\n  state        {state}, {}\n  last answer  {last}\n  body         {}",
        entry.id,
        entry.account,
        entry.payload.work(),
        instant(entry.created_at),
        relative(at, paper.now),
        entry.body
    )
}
