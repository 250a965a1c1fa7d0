//! Replies of Jobber's actions as text.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Paper, Show};
use crate::cli::exit::Status;
use crate::domain::actions::{self, Permission, Shape};
use crate::domain::model::{ActionOutcome, ActionRecord, Objection};
use crate::ops::actions::{ActionReply, ActionStatus, RawReply};
use crate::ops::explain::Explained;
use crate::ops::reviews::{ApiKeyShown, NewApiKey};
use crate::ops::words::relative;
use crate::text::{SENTENCE, tidy};
use crate::text_table::{counted, rows, table};

impl Show for ActionReply {
    fn text(&self, _: &Paper) -> String {
        if !self.requests.is_empty() {
            let shown =
                self.requests.iter().map(|request| serde_json::to_string_pretty(request).unwrap_or_default());
            return shown.collect::<Vec<_>>().join("\n");
        }
        if let Some(found) = &self.rows {
            return list(&self.action, found, self.has_more);
        }
        let mut text = String::new();
        text.push_str(match self.status {
            ActionStatus::Done if self.key.is_some() => "Done.\n",
            ActionStatus::Refused => "Jobber refused it; nothing was done.\n",
            ActionStatus::Partly => "Only a part of it was done.\n",
            _ => "",
        });
        for error in &self.errors {
            text.push_str(&objection(error));
        }
        if let Some(words) = &self.words {
            text.push_str(words);
            text.push('\n');
        }
        match &self.record {
            Value::Array(records) => {
                for record in records {
                    let _written = writeln!(text, "- {}", in_short(record));
                }
            }
            record => lines(&mut text, record, 0),
        }
        text.trim_end().to_owned()
    }

    fn status(&self) -> Status {
        status(self.status)
    }
}

impl Show for RawReply {
    /// What there is to say beside the answer.
    fn text(&self, _: &Paper) -> String {
        let mut text = format!("cost: {} of 10000 points", self.cost);
        for error in &self.errors {
            text.push('\n');
            text.push_str(objection(error).trim_end());
        }
        if let Some(words) = &self.words {
            text.push('\n');
            text.push_str(words);
        }
        text
    }

    fn status(&self) -> Status {
        status(self.status)
    }
}

impl Show for NewApiKey {
    fn text(&self, _: &Paper) -> String {
        format!("{}\nThis is the key `{}`. It is not shown again.", self.key, self.name)
    }
}

impl Show for Vec<ApiKeyShown> {
    fn text(&self, _: &Paper) -> String {
        table(
            &["name", "account", "may", "created", "last used"],
            "There are no keys. `key create NAME` makes one.",
            self.iter().map(|ApiKeyShown { key }| {
                let may: Vec<&str> = key.may.iter().map(Permission::as_str).collect();
                [
                    key.name.clone(),
                    key.account.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string),
                    may.join(", "),
                    key.created_at.to_string(),
                    key.last_used.map_or_else(|| "never".to_owned(), |at| at.to_string()),
                ]
            }),
        )
    }
}

impl Show for Vec<ActionRecord> {
    fn text(&self, _: &Paper) -> String {
        table(
            &["time", "account", "action", "by", "target", "outcome", "key"],
            "Nothing was written in Jobber.",
            self.iter().map(|record| {
                let detail = match &record.outcome {
                    ActionOutcome::Refused { errors, .. } | ActionOutcome::Partly { errors, .. } => {
                        errors.first().map_or_else(String::new, |error| format!(": {}", error.message))
                    }
                    ActionOutcome::Unknown { detail, .. } => format!(": {detail}"),
                    _ => String::new(),
                };
                [
                    record.at.to_string(),
                    record.account.to_string(),
                    record.action.clone(),
                    record.by.clone(),
                    record.target.clone().unwrap_or_default(),
                    format!("{}{detail}", record.outcome.as_str()),
                    record.key.clone(),
                ]
            }),
        )
    }
}

/// The review and the writes after an ask, a line each.
/// What came after a decision: what the customer wrote, and what was written in Jobber.
pub(super) fn what_followed(row: &Explained, paper: &Paper) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(review) = &row.review {
        let words =
            review.text.as_ref().map_or_else(String::new, |words| format!(": {}", tidy(words, SENTENCE)));
        let at = relative(review.at, paper.now);
        lines.push(("reviewed", format!("with {} {at}{words}", review.rating)));
    }
    for record in &row.writes {
        let (action, by, outcome) = (&record.action, &record.by, record.outcome.as_str());
        let at = relative(record.at, paper.now);
        lines.push(("written", format!("{action} by {by} {at}: {outcome}")));
    }
    lines
}

fn status(status: ActionStatus) -> Status {
    match status {
        ActionStatus::Done | ActionStatus::NotSent => Status::Fine,
        ActionStatus::Refused | ActionStatus::Impossible => Status::Failed,
        ActionStatus::Partly | ActionStatus::Unknown => Status::Partly,
        ActionStatus::NeedsYes => Status::Usage,
    }
}

fn objection(error: &Objection) -> String {
    match error.path.as_slice() {
        [] => format!("  {}\n", error.message),
        path => format!("  {}: {}\n", path.join("."), error.message),
    }
}

fn list(action: &str, found: &[Value], has_more: bool) -> String {
    let action = action.split_once('.').and_then(|(noun, verb)| actions::find(noun, verb));
    let Some(Shape::List { columns, .. }) = action.map(|action| action.shape) else {
        return serde_json::to_string_pretty(found).unwrap_or_default();
    };
    if found.is_empty() {
        return "Nothing matches.".to_owned();
    }
    let header: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let cells = found.iter().map(|row| {
        columns.iter().map(|(_, path)| word(row.pointer(&format!("/{}", path.replace('.', "/"))))).collect()
    });
    let mut text = rows(&header, cells.collect());
    if has_more {
        let _written =
            write!(text, "\n{} shown, and there are more: --limit N, or --all.", counted(found.len(), "row"));
    }
    text
}

fn word(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(other) => other.to_string(),
    }
}

/// A record as lines, without what is empty. The rows of a connection are indented below its name.
fn lines(text: &mut String, value: &Value, depth: usize) {
    let Value::Object(fields) = value else { return };
    let indent = "  ".repeat(depth);
    for (name, value) in fields {
        let nodes = value.get("nodes").and_then(Value::as_array).or_else(|| value.as_array());
        match (nodes, value) {
            (Some(nodes), _) if nodes.is_empty() => {}
            (Some(nodes), _) => {
                let _written = writeln!(text, "{indent}{name}:");
                for node in nodes {
                    let _written = writeln!(text, "{indent}  - {}", in_short(node));
                }
                if value["pageInfo"]["hasNextPage"] == true {
                    let _written = writeln!(text, "{indent}  … and more");
                }
            }
            (None, Value::Object(inner)) => {
                let mut below = String::new();
                lines(&mut below, &Value::Object(inner.clone()), depth + 1);
                if !below.is_empty() {
                    let _written = write!(text, "{indent}{name}:\n{below}");
                }
            }
            (None, value) => {
                let word = word(Some(value));
                if !word.is_empty() && name != "__typename" {
                    let word = word.lines().map(|line| tidy(line, usize::MAX)).collect::<Vec<_>>();
                    let _written = writeln!(text, "{indent}{name}: {}", word.join(&format!("\n{indent}  ")));
                }
            }
        }
    }
}

/// A row of a record in one line.
fn in_short(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let parts =
                fields.iter().filter(|(name, _)| *name != "__typename").map(|(name, value)| match value {
                    Value::Object(_) => in_short(value),
                    value => match word(Some(value)) {
                        word if word.is_empty() => String::new(),
                        word => format!("{name}: {word}"),
                    },
                });
            let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
            tidy(&parts.join(", "), usize::MAX)
        }
        value => word(Some(value)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_lines_without_what_is_empty() {
        let mut text = String::new();
        let job = json!({
            "id": "x", "title": null, "total": 12.5, "client": {"id": "c", "name": "Ann"}, "property": {"name": null},
            "visits": {"nodes": [{"id": "v", "title": "Visit", "completedAt": null}]}, "notes": {"nodes": []},
            "instructions": "one\ntwo\u{1b}[31m",
        });
        lines(&mut text, &job, 0);
        assert_eq!(
            text,
            "client:\n  id: c\n  name: Ann\nid: x\ninstructions: one\n  two[31m\ntotal: 12.5\nvisits:\n  - id: v, title: Visit\n"
        );
    }
}
