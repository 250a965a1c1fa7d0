//! Reads Jobber's webhooks and decides what follows for an account. Pure.
//!
//! An event holds only ids, and can be late, doubled or out of order (`api-behaviour.md` §4). So it never
//! decides anything: it only names a record that should be read now.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::model::{AccountId, EncodedId, Stream, Trigger, WorkKind, WorkRef};

/// A topic that the daemon uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Topic {
    /// A job was closed.
    JobClosed,
    /// A job was changed.
    JobUpdate,
    /// A visit was completed.
    VisitComplete,
    /// A visit was changed.
    VisitUpdate,
    /// An invoice was created.
    InvoiceCreate,
    /// An invoice was changed.
    InvoiceUpdate,
    /// A client was changed.
    ClientUpdate,
    /// The contractor disconnected the app.
    AppDisconnect,
    /// The contractor connected the app.
    AppConnect,
}

impl Topic {
    const ALL: [Self; 9] = [
        Self::JobClosed,
        Self::JobUpdate,
        Self::VisitComplete,
        Self::VisitUpdate,
        Self::InvoiceCreate,
        Self::InvoiceUpdate,
        Self::ClientUpdate,
        Self::AppDisconnect,
        Self::AppConnect,
    ];

    /// The topic with a name of Jobber's. `None` if the daemon does not use it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }

    /// Jobber's name of the topic.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JobClosed => "JOB_CLOSED",
            Self::JobUpdate => "JOB_UPDATE",
            Self::VisitComplete => "VISIT_COMPLETE",
            Self::VisitUpdate => "VISIT_UPDATE",
            Self::InvoiceCreate => "INVOICE_CREATE",
            Self::InvoiceUpdate => "INVOICE_UPDATE",
            Self::ClientUpdate => "CLIENT_UPDATE",
            Self::AppDisconnect => "APP_DISCONNECT",
            Self::AppConnect => "APP_CONNECT",
        }
    }

    /// The topics that an account with this trigger needs.
    pub fn of(trigger: Trigger) -> Vec<Self> {
        let own: &[Self] = match trigger.stream() {
            Stream::Jobs => &[Self::JobClosed, Self::JobUpdate],
            Stream::Visits => &[Self::VisitComplete, Self::VisitUpdate],
            Stream::Invoices => &[Self::InvoiceCreate, Self::InvoiceUpdate],
        };
        own.iter().copied().chain([Self::ClientUpdate, Self::AppDisconnect]).collect()
    }

    fn work(self) -> Option<WorkKind> {
        match self {
            Self::JobClosed | Self::JobUpdate => Some(WorkKind::Job),
            Self::VisitComplete | Self::VisitUpdate => Some(WorkKind::Visit),
            Self::InvoiceCreate | Self::InvoiceUpdate => Some(WorkKind::Invoice),
            Self::ClientUpdate | Self::AppDisconnect | Self::AppConnect => None,
        }
    }
}

/// Something that happened in an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The account.
    pub account: AccountId,
    /// What happened.
    pub topic: Topic,
    /// The record it happened to.
    pub item: EncodedId,
    /// When it happened, if the body says so in a readable form.
    pub occurred_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Event(Event),
    OtherTopic,
    Nonsense,
}

/// Reads a body: JSON, or the form encoding of older apps.
pub fn read(body: &[u8]) -> Heard {
    let fields = match serde_json::from_slice::<Value>(body) {
        Ok(json) => json.pointer("/data/webHookEvent").cloned(),
        Err(_) => form(body),
    };
    let Some(fields) = fields else { return Heard::Nonsense };
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let (Some(topic), Some(account)) = (text("topic"), text("accountId")) else { return Heard::Nonsense };
    let Some(topic) = Topic::named(topic) else { return Heard::OtherTopic };
    // Only events about the app itself have no item.
    if text("itemId").is_none_or(str::is_empty) && !matches!(topic, Topic::AppDisconnect | Topic::AppConnect)
    {
        return Heard::Nonsense;
    }
    Heard::Event(Event {
        account: AccountId::new(account),
        topic,
        item: EncodedId::new(text("itemId").unwrap_or_default()),
        // Apps from before December 2023 get the other spelling.
        occurred_at: text("occurredAt").or_else(|| text("occuredAt")).and_then(|at| at.parse().ok()),
    })
}

/// `data[webHookEvent][topic]=…&…`
fn form(body: &[u8]) -> Option<Value> {
    let mut fields = serde_json::Map::new();
    for (name, value) in form_urlencoded::parse(body) {
        if let Some(name) = name.strip_prefix("data[webHookEvent][").and_then(|name| name.strip_suffix(']')) {
            fields.insert(name.to_owned(), value.into_owned().into());
        }
    }
    (!fields.is_empty()).then_some(Value::Object(fields))
}

/// What an event asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "wish", rename_all = "snake_case")]
pub enum FollowUp {
    /// This work may be finished: read it.
    Read { work: WorkRef },
    /// This client changed: its queued asks may not leave any more.
    Client { id: EncodedId },
    /// Too many clients changed to be kept one by one: the whole outbox is checked again.
    Outbox,
    /// Jobber may have revoked or restored the connection.
    Connection,
    /// Too much happened to read one by one.
    Sweep,
}

/// A follow-up in the inbox. An event that arrives while it is carried out raises `again`, so it runs once
/// more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxEntry {
    #[serde(flatten)]
    pub follow_up: FollowUp,
    /// How often it was requested after the first time.
    #[serde(default)]
    pub again: u64,
}

impl Event {
    /// What follows in an account with this trigger, if anything.
    pub fn follow_up(&self, trigger: Trigger) -> Option<FollowUp> {
        match (self.topic, self.topic.work()) {
            (_, Some(kind)) if kind == trigger.work_kind() => {
                Some(FollowUp::Read { work: WorkRef { kind, id: self.item.clone() } })
            }
            (_, Some(_)) => None,
            (Topic::ClientUpdate, None) => Some(FollowUp::Client { id: self.item.clone() }),
            (_, None) => Some(FollowUp::Connection),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(topic: Topic) -> Event {
        Event {
            account: AccountId::new("acc="),
            topic,
            item: EncodedId::new("job="),
            occurred_at: Some("2021-08-12T22:31:36Z".parse().unwrap()),
        }
    }

    #[test]
    fn both_spellings_and_both_encodings_are_the_same_event() {
        let json = |spelling: &str| {
            format!(
                r#"{{"data":{{"webHookEvent":{{"topic":"JOB_CLOSED","appId":"app","accountId":"acc=","itemId":"job=","{spelling}":"2021-08-12T16:31:36-06:00"}}}}}}"#
            )
        };
        let form = "data%5BwebHookEvent%5D%5Btopic%5D=JOB_CLOSED&data[webHookEvent][accountId]=acc%3D&data[webHookEvent][itemId]=job%3D&data[webHookEvent][occuredAt]=2021-08-12T16%3A31%3A36-06%3A00";
        for body in [json("occurredAt"), json("occuredAt"), form.to_owned()] {
            assert_eq!(read(body.as_bytes()), Heard::Event(event(Topic::JobClosed)), "{body}");
        }
    }

    #[test]
    fn what_is_no_event_is_told_from_what_is_not_ours() {
        for body in
            ["", "{}", "[]", "null", "a=b", r#"{"data":{"webHookEvent":{"topic":"JOB_CLOSED"}}}"#, "\u{0}"]
        {
            assert_eq!(read(body.as_bytes()), Heard::Nonsense, "{body}");
        }
        let other = r#"{"data":{"webHookEvent":{"topic":"QUOTE_SENT","accountId":"a","itemId":"b"}}}"#;
        assert_eq!(read(other.as_bytes()), Heard::OtherTopic);
    }

    #[test]
    fn only_work_of_the_accounts_own_kind_is_worth_a_read() {
        for trigger in Trigger::ALL {
            for topic in Topic::ALL {
                let follow_up = event(topic).follow_up(trigger);
                match topic.work() {
                    Some(kind) => {
                        assert_eq!(follow_up.is_some(), kind == trigger.work_kind(), "{topic:?} {trigger}");
                    }
                    None => assert!(follow_up.is_some()),
                }
            }
            for topic in Topic::of(trigger) {
                assert!(event(topic).follow_up(trigger).is_some(), "{topic:?} is of no use to {trigger}");
            }
        }
    }
}
