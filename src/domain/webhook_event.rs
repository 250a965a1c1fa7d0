//! Reads Jobber's webhooks and decides what follows for an account. Pure.
//!
//! An event holds only ids, and can be late, doubled or out of order (`api-behaviour.md` §4). So it never
//! decides anything: it only names a record that should be read now.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::model::{AccountId, EncodedId, Stream, Trigger, WatchTopic, WorkKind, WorkRef};

macro_rules! topics {
    ($($variant:ident = $name:literal of $record:ident,)+) => {
        /// A topic of Jobber's webhooks. A test compares them with the schema.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
        pub enum Topic {
            $($variant,)+
        }

        impl Topic {
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Jobber's name of the topic.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The kind of record that it is about.
            pub fn record(self) -> Record {
                match self {
                    $(Self::$variant => Record::$record,)+
                }
            }
        }
    };
}

topics! {
    AppConnect = "APP_CONNECT" of Account,
    AppDisconnect = "APP_DISCONNECT" of Account,
    ClientCreate = "CLIENT_CREATE" of Client,
    ClientDestroy = "CLIENT_DESTROY" of Client,
    ClientUpdate = "CLIENT_UPDATE" of Client,
    InvoiceCreate = "INVOICE_CREATE" of Invoice,
    InvoiceDestroy = "INVOICE_DESTROY" of Invoice,
    InvoiceUpdate = "INVOICE_UPDATE" of Invoice,
    JobCreate = "JOB_CREATE" of Job,
    JobDestroy = "JOB_DESTROY" of Job,
    JobUpdate = "JOB_UPDATE" of Job,
    JobClosed = "JOB_CLOSED" of Job,
    PropertyCreate = "PROPERTY_CREATE" of Property,
    PropertyDestroy = "PROPERTY_DESTROY" of Property,
    PropertyUpdate = "PROPERTY_UPDATE" of Property,
    QuoteCreate = "QUOTE_CREATE" of Quote,
    QuoteDestroy = "QUOTE_DESTROY" of Quote,
    QuoteUpdate = "QUOTE_UPDATE" of Quote,
    QuoteSent = "QUOTE_SENT" of Quote,
    QuoteApproved = "QUOTE_APPROVED" of Quote,
    RequestCreate = "REQUEST_CREATE" of Request,
    RequestDestroy = "REQUEST_DESTROY" of Request,
    RequestUpdate = "REQUEST_UPDATE" of Request,
    VisitComplete = "VISIT_COMPLETE" of Visit,
    VisitCreate = "VISIT_CREATE" of Visit,
    VisitDestroy = "VISIT_DESTROY" of Visit,
    VisitUpdate = "VISIT_UPDATE" of Visit,
    ProductOrServiceCreate = "PRODUCT_OR_SERVICE_CREATE" of Product,
    ProductOrServiceDestroy = "PRODUCT_OR_SERVICE_DESTROY" of Product,
    ProductOrServiceUpdate = "PRODUCT_OR_SERVICE_UPDATE" of Product,
    PaymentCreate = "PAYMENT_CREATE" of Payment,
    PaymentDestroy = "PAYMENT_DESTROY" of Payment,
    PaymentUpdate = "PAYMENT_UPDATE" of Payment,
    PayoutCreate = "PAYOUT_CREATE" of Payout,
    PayoutDestroy = "PAYOUT_DESTROY" of Payout,
    PayoutUpdate = "PAYOUT_UPDATE" of Payout,
    TimesheetCreate = "TIMESHEET_CREATE" of Timesheet,
    TimesheetDestroy = "TIMESHEET_DESTROY" of Timesheet,
    TimesheetUpdate = "TIMESHEET_UPDATE" of Timesheet,
    ExpenseCreate = "EXPENSE_CREATE" of Expense,
    ExpenseDestroy = "EXPENSE_DESTROY" of Expense,
    ExpenseUpdate = "EXPENSE_UPDATE" of Expense,
    OnMyWayTrackingLinkRequest = "ON_MY_WAY_TRACKING_LINK_REQUEST" of Visit,
    MarketingItemUpdate = "MARKETING_ITEM_UPDATE" of MarketingItem,
    UserCreate = "USER_CREATE" of User,
    UserUpdate = "USER_UPDATE" of User,
}

/// A kind of record that topics are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    Account,
    Client,
    Expense,
    Invoice,
    Job,
    MarketingItem,
    Payment,
    Payout,
    Product,
    Property,
    Quote,
    Request,
    Timesheet,
    User,
    Visit,
}

impl Record {
    /// What people call many of them.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Account => "the connection",
            Self::Client => "clients",
            Self::Expense => "expenses",
            Self::Invoice => "invoices",
            Self::Job => "jobs",
            Self::MarketingItem => "marketing",
            Self::Payment => "payments",
            Self::Payout => "payouts",
            Self::Product => "products and services",
            Self::Property => "properties",
            Self::Quote => "quotes",
            Self::Request => "requests",
            Self::Timesheet => "timesheets",
            Self::User => "users",
            Self::Visit => "visits",
        }
    }
}

impl Topic {
    /// The topic with a name of Jobber's.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.as_str() == name)
    }

    /// Whether the record is gone afterwards.
    pub fn ends_it(self) -> bool {
        self.as_str().ends_with("_DESTROY") || self == Self::AppDisconnect
    }

    /// Whether polls find what it tells of too: holes are filled then.
    pub fn is_polled(self) -> bool {
        match self.record() {
            Record::Client
            | Record::Expense
            | Record::Invoice
            | Record::Job
            | Record::Payout
            | Record::Quote
            | Record::Request
            | Record::Timesheet => {
                self.as_str().ends_with("_CREATE")
                    || self.as_str().ends_with("_UPDATE")
                    || self == Self::JobClosed
            }
            Record::Visit => self == Self::VisitComplete,
            _ => false,
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

    /// The topics that tell of a watched change.
    pub fn of_watched(watched: WatchTopic) -> &'static [Self] {
        match watched {
            WatchTopic::ClientUpdated => &[Self::ClientUpdate],
            WatchTopic::JobUpdated => &[Self::JobUpdate],
            WatchTopic::VisitCompleted => &[Self::VisitComplete],
            WatchTopic::InvoiceUpdated => &[Self::InvoiceCreate, Self::InvoiceUpdate],
        }
    }

    fn work(self) -> Option<WorkKind> {
        match self {
            Self::JobClosed | Self::JobUpdate => Some(WorkKind::Job),
            Self::VisitComplete | Self::VisitUpdate => Some(WorkKind::Visit),
            Self::InvoiceCreate | Self::InvoiceUpdate => Some(WorkKind::Invoice),
            _ => None,
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
    /// Something that is watched changed: look at what is watched.
    Watched,
    /// Jobber may have revoked or restored the connection.
    Connection,
    /// Too much happened to read one by one.
    Sweep,
}

/// How it was found that something happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FoundBy {
    /// Jobber sent an event.
    #[default]
    Event,
    /// No event came, and a sweep found it.
    Sweep,
    /// This program did it or noticed it.
    Daemon,
}

impl FoundBy {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    pub fn is_event(&self) -> bool {
        *self == Self::Event
    }
}

/// What the settings make of an event, besides what its account's trigger makes of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Uses {
    pub is_forwarded: bool,
    pub is_watched: bool,
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
            (Topic::ClientUpdate, None) => Some(FollowUp::Client { id: self.item.clone() }),
            (Topic::AppDisconnect | Topic::AppConnect, None) => Some(FollowUp::Connection),
            _ => None,
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
        let other = r#"{"data":{"webHookEvent":{"topic":"MOON_RISEN","accountId":"a","itemId":"b"}}}"#;
        assert_eq!(read(other.as_bytes()), Heard::OtherTopic);
    }

    #[test]
    fn only_work_of_the_accounts_own_kind_is_worth_a_read() {
        for trigger in Trigger::ALL {
            for topic in Topic::ALL.iter().copied() {
                let follow_up = event(topic).follow_up(trigger);
                let is_of_use = match topic.work() {
                    Some(kind) => kind == trigger.work_kind(),
                    None => matches!(topic, Topic::ClientUpdate | Topic::AppConnect | Topic::AppDisconnect),
                };
                assert_eq!(follow_up.is_some(), is_of_use, "{topic:?} {trigger}");
            }
            for topic in Topic::of(trigger) {
                assert!(event(topic).follow_up(trigger).is_some(), "{topic:?} is of no use to {trigger}");
            }
        }
    }
}
