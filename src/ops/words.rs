//! What is said about decisions, to operators: in the terminal and in the console.

use jiff::Timestamp;

use crate::domain::model::{Delivery, Outcome, Subject};

/// In what a decision saw: for those who compare it, in JSON and in the audit.
pub const PAYLOAD_HASH: &str = "payload_sha256";

/// When something was or will be, as people say it; a date when it is far.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let seconds = at.duration_since(now).as_secs();
    let away = match seconds.abs() {
        ..45 => return "now".to_owned(),
        away @ ..HOUR => format!("{} min", (away + MINUTE / 2) / MINUTE),
        away if away < 36 * HOUR => format!("{} h", (away + HOUR / 2) / HOUR),
        away if away < 14 * DAY => format!("{} days", (away + DAY / 2) / DAY),
        _ => return at.strftime("%Y-%m-%d").to_string(),
    };
    if seconds > 0 { format!("in {away}") } else { format!("{away} ago") }
}

pub fn outcome(outcome: &Outcome, now: Timestamp) -> String {
    match outcome {
        Outcome::Waiting { due_at } => format!("waits, due {}", relative(*due_at, now)),
        Outcome::Held { since, .. } => format!(
            "held with a burst since {} (`queue release-burst`, `queue drop-burst`)",
            relative(*since, now)
        ),
        Outcome::Skipped { reason } => format!("not asked: {}", reason.describe()),
        Outcome::Asked { ask_id, delivery } => {
            format!("asked, {} ({ask_id})", delivered(delivery, now))
        }
    }
}

fn delivered(delivery: &Delivery, now: Timestamp) -> String {
    match delivery {
        Delivery::Queued => "queued for delivery".to_owned(),
        Delivery::Delivered { at, status, attempts } => {
            let attempts = if *attempts == 1 { String::new() } else { format!(", attempt {attempts}") };
            format!("delivered {}, HTTP {status}{attempts}", relative(*at, now))
        }
        Delivery::Dead { reason } => format!("dead letter: {reason}"),
        Delivery::Dropped => "dropped from the queue".to_owned(),
    }
}

pub fn subject(subject: &Subject) -> String {
    let job = subject.job_number.map(|number| format!("#{number}"));
    let parts = [job, subject.job_title.clone(), subject.client_name.clone()];
    let known: Vec<String> = parts.into_iter().flatten().collect();
    if known.is_empty() { "-".to_owned() } else { known.join(" ") }
}
