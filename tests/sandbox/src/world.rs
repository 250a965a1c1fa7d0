//! The world in memory.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::faults::{Fault, Switches};
use super::time::Time;

/// A record: GraphQL fields by name. Names with a leading `_` are references.
pub(super) type Row = Map<String, Value>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    User,
    Client,
    Property,
    Job,
    Visit,
    Invoice,
    Quote,
    Task,
    Expense,
    Request,
    ClientNote,
    JobNote,
    InvoiceNote,
    QuoteNote,
    WebhookEndpoint,
}

impl Kind {
    pub(super) const ALL: [Self; 15] = [
        Self::User,
        Self::Client,
        Self::Property,
        Self::Job,
        Self::Visit,
        Self::Invoice,
        Self::Quote,
        Self::Task,
        Self::Expense,
        Self::Request,
        Self::ClientNote,
        Self::JobNote,
        Self::InvoiceNote,
        Self::QuoteNote,
        Self::WebhookEndpoint,
    ];

    /// The name of the GraphQL type, also used in global ids.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Client => "Client",
            Self::Property => "Property",
            Self::Job => "Job",
            Self::Visit => "Visit",
            Self::Invoice => "Invoice",
            Self::Quote => "Quote",
            Self::Task => "Task",
            Self::Expense => "Expense",
            Self::Request => "Request",
            Self::ClientNote => "ClientNote",
            Self::JobNote => "JobNote",
            Self::InvoiceNote => "InvoiceNote",
            Self::QuoteNote => "QuoteNote",
            Self::WebhookEndpoint => "WebhookEndpoint",
        }
    }
}

/// An `EncodedId`: padded base64 of `gid://Jobber/Job/123`.
pub(super) fn encode_id(type_name: &str, number: u64) -> String {
    STANDARD.encode(format!("gid://Jobber/{type_name}/{number}"))
}

pub(super) fn decode_id(text: &str) -> Option<(String, u64)> {
    let bytes = STANDARD.decode(text).ok()?;
    let gid = std::str::from_utf8(&bytes).ok()?;
    let (type_name, number) = gid.strip_prefix("gid://Jobber/")?.split_once('/')?;
    Some((type_name.to_owned(), number.parse().ok()?))
}

/// The records of an account. Queries run on a snapshot.
#[derive(Debug, Clone)]
pub(super) struct Data {
    pub(super) account: Row,
    pub(super) tables: BTreeMap<Kind, BTreeMap<u64, Row>>,
}

impl Data {
    pub(super) fn table(&self, kind: Kind) -> impl Iterator<Item = (u64, &Row)> {
        self.tables.get(&kind).into_iter().flatten().map(|(number, row)| (*number, row))
    }

    pub(super) fn get(&self, kind: Kind, number: u64) -> Option<&Row> {
        self.tables.get(&kind)?.get(&number)
    }

    pub(super) fn get_mut(&mut self, kind: Kind, number: u64) -> Option<&mut Row> {
        self.tables.get_mut(&kind)?.get_mut(&number)
    }

    /// The number of the record with this `EncodedId`, if it is of this kind and exists.
    pub(super) fn find(&self, kind: Kind, id: &str) -> Option<u64> {
        let (type_name, number) = decode_id(id)?;
        (type_name == kind.name() && self.get(kind, number).is_some()).then_some(number)
    }

    pub(super) fn insert(&mut self, kind: Kind, number: u64, mut row: Row) {
        row.insert("id".to_owned(), encode_id(kind.name(), number).into());
        self.tables.entry(kind).or_default().insert(number, row);
    }
}

/// The map inside a JSON object.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// A reference from one row to another.
pub(super) fn reference(row: &Row, name: &str) -> Option<u64> {
    row.get(name).and_then(Value::as_u64)
}

/// References from one row to many others.
pub(super) fn references(row: &Row, name: &str) -> Vec<u64> {
    row.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_u64).collect()
}

/// The statistics of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// GraphQL requests, refused ones included.
    pub requests: u64,
    /// Points used.
    pub points: u64,
    /// The lowest number of remaining points.
    pub lowest_points: Option<i64>,
    /// Requests by the name of their operation.
    pub operations: BTreeMap<String, u64>,
    /// Requests that were throttled.
    pub throttled: u64,
    /// Refreshes that gave a new pair.
    pub refreshes: u64,
    /// Uses of a refresh token that was already spent.
    pub spent_refresh_uses: u64,
    /// Exchanged codes.
    pub exchanges: u64,
}

/// A webhook that is to be sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) url: String,
    pub(super) kind: &'static str,
    pub(super) body: String,
    pub(super) signature: String,
    pub(super) delay: Duration,
}

/// One contractor.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) data: Arc<Data>,
    pub(super) switches: Switches,
    pub(super) faults: Vec<Fault>,
    pub(super) bucket: Bucket,
    pub(super) recent_requests: VecDeque<Timestamp>,
    pub(super) stats: Stats,
    pub(super) closed: bool,
}

/// The points budget of one app and account.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    available: f64,
    at: Timestamp,
}

impl Bucket {
    pub(super) fn full(switches: &Switches, now: Timestamp) -> Self {
        Self { available: switches.bucket_size, at: now }
    }

    /// The points available at `now`.
    pub(super) fn available(&mut self, switches: &Switches, now: Timestamp) -> f64 {
        let refilled =
            now.duration_since(self.at).max(SignedDuration::ZERO).as_secs_f64() * switches.bucket_refill;
        self.available = (self.available + refilled).min(switches.bucket_size);
        self.at = now;
        self.available
    }

    pub(super) fn take(&mut self, points: f64) {
        self.available -= points;
    }
}

/// The rights behind a token.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) account: u64,
    pub(super) user: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) grant: Grant,
    pub(super) expires_at: Timestamp,
    pub(super) state: TokenState,
}

#[derive(Debug, Clone)]
pub(super) struct Refresh {
    pub(super) grant: Grant,
    pub(super) state: TokenState,
}

/// The state of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenState {
    Valid,
    /// A used refresh token. Only with rotation.
    Spent,
    /// Revoked, and from then on unknown.
    Revoked,
    /// The contractor disconnected the app.
    Disconnected,
}

/// The whole world.
#[derive(Debug)]
pub(super) struct World {
    pub(super) time: Time,
    pub(super) accounts: BTreeMap<u64, Account>,
    pub(super) codes: HashMap<String, Grant>,
    pub(super) access: HashMap<String, Access>,
    pub(super) refresh: HashMap<String, Refresh>,
    /// The receiver of all topics of all accounts, if set in the developer centre.
    pub(super) app_webhooks: Option<String>,
    /// The queue of webhooks to send.
    pub(super) outgoing: Option<mpsc::UnboundedSender<Outgoing>>,
    /// Webhooks that are sent with later ones.
    pub(super) held_webhooks: Vec<Outgoing>,
    /// Webhooks that are on their way.
    pub(super) under_way: Arc<AtomicUsize>,
    /// How many webhooks there were to send.
    pub(super) webhooks: u64,
    next_number: u64,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            time: Time::running(Time::machine(), 1),
            accounts: BTreeMap::new(),
            codes: HashMap::new(),
            access: HashMap::new(),
            refresh: HashMap::new(),
            app_webhooks: None,
            outgoing: None,
            held_webhooks: vec![],
            under_way: Arc::default(),
            webhooks: 0,
            next_number: 1000,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.time.now()
    }

    /// The webhook endpoints that send the events of an account: the account that created each, and its number.
    pub(super) fn endpoints_of(&self, account: u64) -> Vec<(u64, u64)> {
        let is_own_only =
            self.accounts.get(&account).is_some_and(|account| account.switches.webhooks_per_account);
        self.accounts
            .iter()
            .filter(|(number, _)| !is_own_only || **number == account)
            .flat_map(|(of, known)| known.data.table(Kind::WebhookEndpoint).map(|(number, _)| (*of, number)))
            .collect()
    }

    /// An unused number.
    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}
