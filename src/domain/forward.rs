//! Forwarding of Jobber's events: which go where, and what is sent. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::actions::nearest;
use super::model::{Account, EncodedId};
use super::webhook_event::{FoundBy, Topic};
use crate::digest;

/// Names of topics: one of Jobber's, or with a `*` at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Topics {
    text: String,
    topics: Vec<Topic>,
}

impl Topics {
    pub fn iter(&self) -> impl Iterator<Item = Topic> {
        self.topics.iter().copied()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a topic of Jobber's{}", nearest.as_ref().map_or_else(String::new, |name| format!("; did you mean `{name}`?")))]
pub struct UnknownTopic {
    name: String,
    nearest: Option<String>,
}

impl TryFrom<String> for Topics {
    type Error = UnknownTopic;

    fn try_from(text: String) -> Result<Self, UnknownTopic> {
        let fits = |topic: &&Topic| match text.strip_suffix('*') {
            Some(begin) => topic.as_str().starts_with(begin),
            None => topic.as_str() == text,
        };
        let topics: Vec<Topic> = Topic::ALL.iter().filter(fits).copied().collect();
        if topics.is_empty() {
            let nearest = nearest(&text, Topic::ALL.iter().map(|topic| topic.as_str().to_owned()));
            return Err(UnknownTopic { name: text, nearest });
        }
        Ok(Self { text, topics })
    }
}

impl From<Topics> for String {
    fn from(topics: Topics) -> Self {
        topics.text
    }
}

/// What is sent besides the ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Include {
    /// Nothing is read.
    Ids,
    /// The record as it is now.
    #[default]
    Record,
    /// What a query of the operator's reads.
    File(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("include is \"record\", \"ids\" or \"file:PATH\", not `{0}`")]
pub struct UnknownInclude(String);

impl TryFrom<String> for Include {
    type Error = UnknownInclude;

    fn try_from(text: String) -> Result<Self, UnknownInclude> {
        match (text.as_str(), text.strip_prefix("file:")) {
            ("ids", _) => Ok(Self::Ids),
            ("record", _) => Ok(Self::Record),
            (_, Some(path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => Err(UnknownInclude(text)),
        }
    }
}

impl From<Include> for String {
    fn from(include: Include) -> Self {
        match include {
            Include::Ids => "ids".to_owned(),
            Include::Record => "record".to_owned(),
            Include::File(path) => format!("file:{}", path.display()),
        }
    }
}

/// An event that waits to be forwarded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    pub topic: Topic,
    pub item: EncodedId,
    pub occurred_at: Timestamp,
    pub received_at: Timestamp,
    /// Counts the events of the record.
    pub sequence: u64,
    #[serde(default, skip_serializing_if = "FoundBy::is_event")]
    pub found_by: FoundBy,
}

/// How many events a record had, and when the last one of each topic happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    pub count: u64,
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub heard: BTreeMap<Topic, Timestamp>,
    /// When that happened which a sweep told last.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub swept: BTreeMap<Topic, Timestamp>,
}

impl Sequence {
    pub fn new(at: Timestamp) -> Self {
        Self { count: 0, at, heard: BTreeMap::new(), swept: BTreeMap::new() }
    }
}

/// A write of this program's that an event tells of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CausedBy {
    /// `jobs.close`, or `api`.
    pub action: String,
    /// Who asked for it.
    pub by: String,
    pub key: String,
}

/// Whether a record is still as the answer to a write shows it. Where the answer has the instant of the last change, that
/// decides; otherwise at least two fields must be known from both, and all of them must be equal.
pub fn is_as_written(answer: &Value, item: &str, record: &Value) -> bool {
    match answer {
        Value::Object(fields) if fields.get("id").and_then(Value::as_str) == Some(item) => {
            if let Some(written) = fields.get("updatedAt") {
                return record.get("updatedAt") == Some(written);
            }
            let known: Vec<bool> = fields
                .iter()
                .filter(|(name, value)| *name != "id" && !value.is_object() && !value.is_array())
                .filter_map(|(name, value)| Some(record.get(name)? == value))
                .collect();
            known.len() >= 2 && known.iter().all(|same| *same)
        }
        Value::Object(fields) => fields.values().any(|inner| is_as_written(inner, item, record)),
        Value::Array(items) => items.iter().any(|inner| is_as_written(inner, item, record)),
        _ => false,
    }
}

/// The id under which an event is sent: the same event has the same id, however often Jobber repeats it.
pub fn event_id(account: &str, topic: Topic, item: &str, occurred_at: Timestamp) -> String {
    digest::short(&[account, topic.as_str(), item, &occurred_at.to_string()])
}

/// What is known about the record of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// Nobody wanted to know.
    NotRead,
    Read {
        record: Value,
        at: Timestamp,
    },
    Gone,
    /// A scope or a permission is missing.
    Hidden,
}

/// The body of a forwarded event.
pub fn body(
    id: &str,
    account: &Account,
    event: &Pending,
    seen: &Seen,
    caused_by: Option<&CausedBy>,
    now: Timestamp,
) -> Value {
    let mut body = json!({
        "type": format!("jobber.{}", event.topic.as_str().to_lowercase()),
        "id": id,
        "timestamp": now,
        "occurred_at": event.occurred_at,
        "sequence": event.sequence,
        "account": {"id": account.id, "name": account.name},
        "topic": event.topic.as_str(),
        "item": event.item,
        "found_by": event.found_by,
        "caused_by": caused_by,
        "record": null,
        "missing": null,
    });
    match seen {
        Seen::NotRead => {}
        Seen::Read { record, at } => {
            body["record"] = record.clone();
            body["read_at"] = json!(at);
        }
        Seen::Gone => body["missing"] = "gone".into(),
        Seen::Hidden => body["missing"] = "hidden".into(),
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_jobbers_names() {
        let topics = |text: &str| Topics::try_from(text.to_owned()).map(|topics| topics.iter().count());
        assert_eq!(topics("QUOTE_*"), Ok(5));
        assert_eq!(topics("*"), Ok(46));
        assert_eq!(topics("JOB_CLOSED"), Ok(1));
        assert_eq!(
            topics("JOB_CLOSE").unwrap_err().to_string(),
            "`JOB_CLOSE` is not a topic of Jobber's; did you mean `JOB_CLOSED`?"
        );
        assert!(topics("").is_err());
    }

    #[test]
    fn an_own_write_is_known_by_what_it_left_behind() {
        let answer = json!({"jobClose": {"job": {"id": "J", "title": "Sink", "updatedAt": "2026-03-10T12:00:00Z"}, "userErrors": []}});
        let job = |at: &str, title: &str| json!({"id": "J", "title": title, "updatedAt": at});
        assert!(is_as_written(&answer, "J", &job("2026-03-10T12:00:00Z", "Sink")));
        assert!(
            !is_as_written(&answer, "J", &job("2026-03-10T12:00:09Z", "Sink")),
            "somebody changed it since"
        );
        assert!(!is_as_written(&answer, "K", &job("2026-03-10T12:00:00Z", "Sink")));
        assert!(!is_as_written(&answer, "J", &json!({"id": "J", "title": "Sink"})), "that cannot be known");
        let visit = json!({"visitEdit": {"visit": {"id": "V", "title": "Sink", "isComplete": true, "job": {"id": "J"}}}});
        let of = |title: &str| json!({"id": "V", "title": title, "isComplete": true});
        assert!(is_as_written(&visit, "V", &of("Sink")) && !is_as_written(&visit, "V", &of("Tap")));
        assert!(!is_as_written(&visit, "V", &json!({"title": "Sink"})), "one field is too little");
    }
}
