//! Forwarding of Jobber's events: which go where, and what is sent. Pure.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::actions::nearest;
use super::model::{Account, EncodedId};
use super::webhook_event::Topic;
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
}

/// How many events a record had, and when the last one came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    pub count: u64,
    pub at: Timestamp,
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
pub fn body(id: &str, account: &Account, event: &Pending, seen: &Seen, now: Timestamp) -> Value {
    let mut body = json!({
        "type": format!("jobber.{}", event.topic.as_str().to_lowercase()),
        "id": id,
        "timestamp": now,
        "occurred_at": event.occurred_at,
        "sequence": event.sequence,
        "account": {"id": account.id, "name": account.name},
        "topic": event.topic.as_str(),
        "item": event.item,
        "found_by": "event",
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
}
