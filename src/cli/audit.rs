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
    let mut printed = Printed { out: io::BufWriter::new(io::stdout()), is_json, rows: 0 };
    printed.begin().or_else(closed).map_err(Stop::failed)?;
    reach(&config, audit, &mut |told| match told {
        Told::Part(row) => printed.row(&row),
        Told::Progress { .. } => Ok(()),
    })
    .await?;
    printed.end().or_else(closed).map_err(Stop::failed)?;
    Ok(Status::Fine)
}

/// The reader may close the pipe.
fn closed(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

struct Printed<W> {
    out: W,
    is_json: bool,
    rows: usize,
}

impl<W: Write> Printed<W> {
    fn begin(&mut self) -> io::Result<()> {
        if self.is_json { self.out.write_all(b"[") } else { self.record(AUDIT_COLUMNS.map(str::to_owned)) }
    }

    fn row(&mut self, row: &str) -> io::Result<()> {
        let explained: Explained = serde_json::from_str(row)?;
        if !self.is_json {
            return self.record(columns(&explained));
        }
        let between = if self.rows == 0 { "\n" } else { ",\n" };
        self.rows += 1;
        write!(self.out, "{between}{row}")
    }

    fn end(&mut self) -> io::Result<()> {
        if self.is_json {
            self.out.write_all(if self.rows == 0 { b"]\n" } else { b"\n]\n" })?;
        }
        self.out.flush()
    }

    fn record(&mut self, columns: [String; 20]) -> io::Result<()> {
        let mut csv = csv::Writer::from_writer(&mut self.out);
        csv.write_record(columns)?;
        csv.flush()
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
