//! The audit: every decision as CSV, or as JSON, written as it comes.

use std::io::{self, Write};
use std::path::Path;

use super::exit::{Status, Stop};
use super::reach::reach;
use crate::config::Config;
use crate::domain::model::{Delivery, Outcome};
use crate::ops::Told;
use crate::ops::explain::Explained;
use crate::ops::protocol::Audit;

const AUDIT_COLUMNS: [&str; 20] = [
    "account",
    "work",
    "id",
    "trigger",
    "client",
    "phone",
    "email",
    "job",
    "invoice",
    "finished_at",
    "finished_local",
    "decided_at",
    "outcome",
    "reason",
    "seen",
    "ask_id",
    "delivery",
    "delivered_at",
    "http_status",
    "attempts",
];

/// Prints an audit. However long it is, only one decision is in memory.
pub(super) async fn audit(config: Option<&Path>, audit: &Audit, is_json: bool) -> Result<Status, Stop> {
    let config = Config::load(config).map_err(Stop::usage)?;
    let (out, csv) = (io::BufWriter::new(io::stdout()), csv::Writer::from_writer(io::stdout()));
    let (mut printed, mut is_closed) = (Printed { out, csv, is_json, rows: 0 }, false);
    let reached = reach(&config, audit, &mut |told| match told {
        Told::Part(row) => printed.row(&row).inspect_err(|error| is_closed = has_closed(error)),
        Told::Progress { .. } => Ok(()),
    })
    .await;
    match reached {
        Err(_) if is_closed => return Ok(Status::Fine),
        reached => reached?,
    };
    match printed.end() {
        Err(error) if !has_closed(&error) => Err(Stop::failed(error)),
        _ => Ok(Status::Fine),
    }
}

/// Whether the reader has closed the pipe.
fn has_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

struct Printed {
    /// For JSON.
    out: io::BufWriter<io::Stdout>,
    csv: csv::Writer<io::Stdout>,
    is_json: bool,
    rows: usize,
}

impl Printed {
    fn row(&mut self, row: &str) -> io::Result<()> {
        let explained: Explained = serde_json::from_str(row)?;
        let is_first = self.rows == 0;
        self.rows += 1;
        if self.is_json {
            let between = if is_first { "[\n" } else { ",\n" };
            return write!(self.out, "{between}{row}");
        }
        if is_first {
            self.csv.write_record(AUDIT_COLUMNS)?;
        }
        Ok(self.csv.write_record(columns(&explained))?)
    }

    fn end(&mut self) -> io::Result<()> {
        let is_empty = self.rows == 0;
        if self.is_json {
            self.out.write_all(if is_empty { b"[]\n" } else { b"\n]\n" })?;
            return self.out.flush();
        }
        if is_empty {
            self.csv.write_record(AUDIT_COLUMNS)?;
        }
        self.csv.flush()
    }
}

fn columns(explained: &Explained) -> [String; 20] {
    let Explained { account_name, finished_local, decision, .. } = explained;
    let subject = &decision.subject;
    let (mut reason, mut ask, mut delivery) = (String::new(), String::new(), <[String; 4]>::default());
    let outcome = match &decision.outcome {
        Outcome::Waiting { due_at } => {
            reason = format!("due at {due_at}");
            "waiting"
        }
        Outcome::Held { since, .. } => {
            reason = format!("held with a burst since {since}");
            "held"
        }
        Outcome::Skipped { reason: why } => {
            reason = why.to_string();
            "skipped"
        }
        Outcome::Asked { ask_id, delivery: how } => {
            ask = ask_id.to_string();
            delivery = delivery_columns(how);
            "asked"
        }
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let seen: Vec<_> = decision.saw.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let [state, at, status, attempts] = delivery;
    [
        account_name.clone(),
        decision.work.kind.as_str().to_owned(),
        decision.work.id.to_string(),
        decision.trigger.to_string(),
        text(&subject.client_name),
        text(&subject.phone),
        text(&subject.email),
        subject.job_number.map(|number| number.to_string()).unwrap_or_default(),
        text(&subject.invoice_number),
        decision.finished_at.to_string(),
        finished_local.clone(),
        decision.at.to_string(),
        outcome.to_owned(),
        reason,
        seen.join(" "),
        ask,
        state,
        at,
        status,
        attempts,
    ]
}

/// State, time, HTTP status and attempts.
fn delivery_columns(delivery: &Delivery) -> [String; 4] {
    let only = |state: String| [state, String::new(), String::new(), String::new()];
    match delivery {
        Delivery::Queued => only("queued".to_owned()),
        Delivery::Delivered { at, status, attempts } => {
            ["delivered".to_owned(), at.to_string(), status.to_string(), attempts.to_string()]
        }
        Delivery::Dead { reason } => only(format!("dead letter: {reason}")),
        Delivery::Dropped => only("dropped".to_owned()),
    }
}
