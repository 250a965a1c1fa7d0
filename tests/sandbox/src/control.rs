//! Control operations: changes without a mutation in Jobber, and the switches.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::authorize;
use super::faults::{Fault, Switches};
use super::hooks;
use super::time::{Time, instant};
use super::world::{
    Account, Bucket, Data, Kind, Row, Stats, TokenState, World, decode_id, encode_id, object,
};

/// An operation of the control endpoint: `{"op": "pay_invoice", "account": 430114, …}`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// Every account with its users, and the clock.
    State,
    /// Adds an account with its owner. Answers its number and its `EncodedId`.
    AddAccount {
        /// The account's name.
        name: String,
        /// Time zone of the owner.
        #[serde(default = "default_zone")]
        timezone: String,
    },
    /// Adds a user. Answers the user's `EncodedId`.
    AddUser {
        /// The account's number.
        account: u64,
        /// First name.
        first: String,
        /// Last name.
        last: String,
    },
    /// Marks an invoice as paid.
    PayInvoice {
        /// The account's number.
        account: u64,
        /// The invoice's `EncodedId`.
        invoice: String,
        /// The day it was paid. If absent, today.
        #[serde(default)]
        received_date: Option<Timestamp>,
    },
    /// Sets a field of a record: backdating, archiving, sample data.
    SetField {
        /// The account's number.
        account: u64,
        /// The record's `EncodedId`.
        id: String,
        /// The field's name in the schema.
        field: String,
        /// The new value.
        value: Value,
        /// Whether `updatedAt` moves to now, as in a real change.
        #[serde(default)]
        touch: bool,
    },
    /// Copies a record, as if there were many like it. Answers the ids of the copies.
    Copy {
        /// The account's number.
        account: u64,
        /// The record's `EncodedId`.
        id: String,
        /// The number of copies.
        copies: u32,
    },
    /// Deletes a record.
    Delete {
        /// The account's number.
        account: u64,
        /// The record's `EncodedId`.
        id: String,
    },
    /// Changes switches of one account or of all.
    Switches {
        /// The account's number. If absent, all accounts.
        #[serde(default)]
        account: Option<u64>,
        /// The switches to change.
        set: Value,
    },
    /// Queues a failure.
    Fault {
        /// The account's number.
        account: u64,
        /// The failure.
        fault: Fault,
    },
    /// Drops all queued failures of an account.
    ClearFaults {
        /// The account's number.
        account: u64,
    },
    /// Another user of the app takes points from an account's budget.
    TakePoints {
        /// The account's number.
        account: u64,
        /// The number of points.
        points: u32,
    },
    /// Ends all access tokens of an account now.
    ExpireTokens {
        /// The account's number.
        account: u64,
    },
    /// Forgets all tokens of an account.
    RevokeTokens {
        /// The account's number.
        account: u64,
    },
    /// The contractor disconnects the app in Jobber.
    Disconnect {
        /// The account's number.
        account: u64,
    },
    /// The account is closed.
    CloseAccount {
        /// The account's number.
        account: u64,
    },
    /// Creates a code as Jobber's marketplace sends it: without state. Answers the code.
    MarketplaceCode {
        /// The account's number.
        account: u64,
    },
    /// Stops the clock at an instant.
    StopClock {
        /// The instant.
        at: Timestamp,
    },
    /// Sends all topics of all accounts to one address, like the setting in the developer centre.
    AppWebhooks {
        /// The address. If absent, sending stops.
        url: Option<String>,
    },
    /// Lets the clock run.
    RunClock {
        /// The start of the clock. If absent, the machine's time.
        #[serde(default)]
        from: Option<Timestamp>,
        /// How many times faster than the machine's clock.
        #[serde(default = "real_time")]
        speed: u32,
    },
    /// Answers the statistics of an account.
    Stats {
        /// The account's number.
        account: u64,
    },
}

fn default_zone() -> String {
    "America/New_York".to_owned()
}

fn real_time() -> u32 {
    1
}

/// Runs an operation and sends webhooks about its changes.
pub(super) fn watched(world: &mut World, op: Op) -> Result<Value, String> {
    match op {
        Op::PayInvoice { account, .. } | Op::SetField { account, .. } | Op::Delete { account, .. } => {
            hooks::watched(world, account, |world| carry_out(world, op))
        }
        op => carry_out(world, op),
    }
}

fn carry_out(world: &mut World, op: Op) -> Result<Value, String> {
    let now = world.now();
    match op {
        Op::State => Ok(state(world)),
        Op::AddAccount { name, timezone } => {
            let number = add_account(world, &name, &timezone);
            Ok(json!({"account": number, "id": encode_id("Account", number)}))
        }
        Op::AddUser { account, first, last } => {
            let number = world.number();
            let id = add_user(data(world, account)?, number, &first, &last, false, &default_zone(), now);
            Ok(json!({ "id": id }))
        }
        Op::PayInvoice { account, invoice, received_date } => {
            let data = data(world, account)?;
            let number = data.find(Kind::Invoice, &invoice).ok_or("no such invoice")?;
            let row = data.get_mut(Kind::Invoice, number).ok_or("no such invoice")?;
            row.insert("invoiceStatus".to_owned(), "paid".into());
            row.insert("receivedDate".to_owned(), instant(received_date.unwrap_or(now)).into());
            row.insert("updatedAt".to_owned(), instant(now).into());
            Ok(json!({}))
        }
        Op::SetField { account, id, field, value, touch } => {
            let data = data(world, account)?;
            let row = record(data, &id)?;
            row.insert(field, value);
            if touch {
                row.insert("updatedAt".to_owned(), instant(now).into());
            }
            Ok(json!({}))
        }
        Op::Copy { account, id, copies } => copy(world, account, &id, copies),
        Op::Delete { account, id } => {
            let data = data(world, account)?;
            let (kind, number) = kind_of(&id)?;
            let removed = data.tables.get_mut(&kind).and_then(|table| table.remove(&number));
            removed.map(|_| json!({})).ok_or_else(|| "no such record".to_owned())
        }
        Op::Switches { account, set } => {
            let numbers: Vec<u64> = match account {
                Some(number) => vec![number],
                None => world.accounts.keys().copied().collect(),
            };
            for number in numbers {
                let account = known(world, number)?;
                account.switches = merged(&account.switches, &set)?;
                account.bucket = Bucket::full(&account.switches, now);
            }
            Ok(json!({}))
        }
        Op::Fault { account, fault } => {
            known(world, account)?.faults.push(fault);
            Ok(json!({}))
        }
        Op::ClearFaults { account } => {
            known(world, account)?.faults.clear();
            Ok(json!({}))
        }
        Op::TakePoints { account, points } => {
            known(world, account)?.bucket.take(f64::from(points));
            Ok(json!({}))
        }
        Op::ExpireTokens { account } => {
            for access in world.access.values_mut().filter(|access| access.grant.account == account) {
                access.expires_at = access.expires_at.min(now);
            }
            Ok(json!({}))
        }
        Op::RevokeTokens { account } => {
            authorize::end_grants(world, account, TokenState::Revoked);
            Ok(json!({}))
        }
        Op::Disconnect { account } => {
            authorize::end_grants(world, account, TokenState::Disconnected);
            Ok(json!({}))
        }
        Op::CloseAccount { account } => {
            known(world, account)?.closed = true;
            Ok(json!({}))
        }
        Op::MarketplaceCode { account } => Ok(json!({ "code": authorize::new_code(world, account)? })),
        Op::AppWebhooks { url } => {
            world.app_webhooks = url;
            Ok(json!({}))
        }
        Op::StopClock { at } => {
            world.time = Time::Stopped(at);
            Ok(json!({}))
        }
        Op::RunClock { from, speed } => {
            world.time = Time::running(from.unwrap_or_else(Time::machine), speed);
            Ok(json!({}))
        }
        Op::Stats { account } => {
            serde_json::to_value(&known(world, account)?.stats).map_err(|error| error.to_string())
        }
    }
}

fn copy(world: &mut World, account: u64, id: &str, copies: u32) -> Result<Value, String> {
    let (kind, _) = kind_of(id)?;
    let row = record(data(world, account)?, id)?.clone();
    let mut ids = Vec::new();
    for _ in 0..copies {
        let number = world.number();
        data(world, account)?.insert(kind, number, row.clone());
        ids.push(encode_id(kind.name(), number));
    }
    Ok(json!({ "ids": ids }))
}

fn state(world: &World) -> Value {
    let accounts: Vec<Value> = world
        .accounts
        .iter()
        .map(|(number, account)| {
            let users: Vec<Value> = account
                .data
                .table(Kind::User)
                .map(|(_, user)| json!({"id": user.get("id"), "name": user.get("name")}))
                .collect();
            json!({
                "account": number,
                "id": encode_id("Account", *number),
                "name": account.data.account.get("name"),
                "users": users,
                "jobs": account.data.table(Kind::Job).count(),
                "stats": account.stats,
            })
        })
        .collect();
    json!({"now": instant(world.now()), "accounts": accounts})
}

/// Adds an account with its owner. Returns the account's number.
pub(super) fn add_account(world: &mut World, name: &str, timezone: &str) -> u64 {
    let (number, owner, now) = (world.number(), world.number(), world.now());
    let mut account = Row::new();
    account.insert("id".to_owned(), encode_id("Account", number).into());
    account.insert("name".to_owned(), name.into());
    account.insert("countryCode".to_owned(), "US".into());
    account.insert("createdAt".to_owned(), instant(now).into());
    let mut data = Data { account, tables: BTreeMap::new() };
    add_user(&mut data, owner, "Office", name, true, timezone, now);
    let switches = Switches::default();
    let bucket = Bucket::full(&switches, now);
    world.accounts.insert(
        number,
        Account {
            data: Arc::new(data),
            switches,
            faults: vec![],
            bucket,
            recent_requests: VecDeque::new(),
            stats: Stats::default(),
            closed: false,
        },
    );
    number
}

/// Adds a user. Returns the user's `EncodedId`.
pub(super) fn add_user(
    data: &mut Data,
    number: u64,
    first: &str,
    last: &str,
    owner: bool,
    timezone: &str,
    now: Timestamp,
) -> String {
    let row = json!({
        "name": {"first": first, "last": last, "full": format!("{first} {last}").trim()},
        "email": {"raw": format!("user{number}@example.com"), "isValid": true},
        "isAccountOwner": owner,
        "isAccountAdmin": owner,
        "status": "ACTIVATED",
        "timezone": timezone,
        "createdAt": instant(now),
        "uuid": format!("00000000-0000-4000-8000-{number:012}"),
    });
    data.insert(Kind::User, number, object(row));
    encode_id("User", number)
}

fn known(world: &mut World, number: u64) -> Result<&mut Account, String> {
    world.accounts.get_mut(&number).ok_or_else(|| format!("there is no account {number}"))
}

fn data(world: &mut World, number: u64) -> Result<&mut Data, String> {
    known(world, number).map(|account| Arc::make_mut(&mut account.data))
}

fn kind_of(id: &str) -> Result<(Kind, u64), String> {
    let (type_name, number) = decode_id(id).ok_or("that is no id")?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == type_name).ok_or("no such kind of record")?;
    Ok((kind, number))
}

fn record<'d>(data: &'d mut Data, id: &str) -> Result<&'d mut Row, String> {
    let (kind, number) = kind_of(id)?;
    data.get_mut(kind, number).ok_or_else(|| "no such record".to_owned())
}

fn merged(switches: &Switches, set: &Value) -> Result<Switches, String> {
    let mut value = serde_json::to_value(switches).map_err(|error| error.to_string())?;
    match (&mut value, set) {
        (Value::Object(all), Value::Object(some)) => {
            all.extend(some.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        _ => return Err("`set` must be an object".to_owned()),
    }
    serde_json::from_value(value).map_err(|error| error.to_string())
}
