//! What waits to be decided, sent, or looked at.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;

use super::{Paper, instant, relative};
use crate::domain::model::{EntryState, OutboxEntry};
use crate::ops::queue::QueueRow;
use crate::text_table::table;

pub(super) fn list(queue: &[QueueRow], paper: &Paper) -> String {
    let header = ["about", "account", "state", "when", "last answer", "id"];
    let mut text = table(&header, "The queue is empty.", queue.iter().map(|shown| row(shown, paper.now)));
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

fn row(row: &QueueRow, now: Timestamp) -> [String; 6] {
    let nothing = || "-".to_owned();
    match row {
        QueueRow::Candidate { account_name, work, due_at, subject, .. } => [
            super::subject(subject),
            account_name.clone(),
            "waiting until it is due".to_owned(),
            relative(*due_at, now),
            nothing(),
            work.to_string(),
        ],
        QueueRow::Held { account_name, work, since, subject, .. } => [
            super::subject(subject),
            account_name.clone(),
            "held with a burst".to_owned(),
            relative(*since, now),
            nothing(),
            work.to_string(),
        ],
        QueueRow::Ask { id, account_name, attempts, state, last_error, subject, .. } => {
            let (state, at) = entry_state(state, *attempts);
            let last = last_error.clone().unwrap_or_else(nothing);
            [super::subject(subject), account_name.clone(), state, relative(at, now), last, id.to_string()]
        }
    }
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
