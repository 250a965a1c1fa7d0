//! Jobber's own mutations, as far as the world needs them.
//!
//! A user's mistake gives `userErrors` and a null record. Requests that violate the schema are refused
//! earlier.

mod clients;
mod endpoints;
mod invoices;
mod jobs;
mod more;

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::authorize;
use super::time::instant;
use super::world::{Data, Kind, Row, TokenState, World, object};

/// The answer of a mutation.
pub(super) struct Payload {
    pub(super) fields: Vec<(&'static str, Target)>,
    pub(super) user_errors: Vec<Value>,
}

pub(super) enum Target {
    One(Kind, Option<u64>),
    Many(Kind, Vec<u64>),
    /// Objects of a type that are no records of their own.
    Values(&'static str, Vec<Value>),
    Nothing,
}

/// Why a mutation did nothing.
enum Refusal {
    /// Reported in `userErrors`.
    User { message: String, path: Vec<&'static str> },
    /// Reported as a GraphQL error.
    Unmodelled(String),
}

type Done = Result<Vec<(&'static str, Target)>, Refusal>;

fn user<T>(message: &str, path: &[&'static str]) -> Result<T, Refusal> {
    Err(Refusal::User { message: message.to_owned(), path: path.to_vec() })
}

/// Runs the mutation `name` in `account`. An error means that the sandbox does not model it.
pub(super) fn mutate(
    world: &mut World,
    account: u64,
    name: &str,
    arguments: &Map<String, Value>,
) -> Result<Payload, String> {
    let now = world.now();
    if name == "appDisconnect" {
        authorize::end_grants(world, account, TokenState::Disconnected);
        return Ok(Payload { fields: vec![("app", Target::Nothing)], user_errors: vec![] });
    }
    match name {
        "webhookEndpointCreate" => return Ok(endpoints::create(world, account, arguments)),
        "webhookEndpointDelete" => return Ok(endpoints::delete(world, account, arguments)),
        _ => {}
    }
    let mut numbers: Vec<u64> = (0..64).map(|_| world.number()).collect();
    numbers.reverse();
    let Some(account) = world.accounts.get_mut(&account) else { return Err("no such account".to_owned()) };
    let reopen_clears = account.switches.reopen_clears_completed_at;
    let data = Arc::make_mut(&mut account.data);
    let mut desk = Desk { data, arguments, now, numbers, reopen_clears, objections: vec![] };
    match desk.carry_out(name) {
        Ok(fields) => Ok(Payload { fields, user_errors: desk.objections }),
        Err(Refusal::User { message, path }) => Ok(Payload {
            fields: desk.nothing(name),
            user_errors: vec![json!({"message": message, "path": path})],
        }),
        Err(Refusal::Unmodelled(what)) => Err(what),
    }
}

struct Desk<'w> {
    data: &'w mut Data,
    arguments: &'w Map<String, Value>,
    now: Timestamp,
    numbers: Vec<u64>,
    reopen_clears: bool,
    /// Objections to a part of what was wanted.
    objections: Vec<Value>,
}

impl Desk<'_> {
    fn carry_out(&mut self, name: &str) -> Done {
        match name {
            "clientCreate" => self.client_create(),
            "clientEdit" => self.client_edit(),
            "clientArchive" => self.client_archived(true),
            "clientUnarchive" => self.client_archived(false),
            "propertyCreate" => self.property_create(),
            "jobCreate" => self.job_create(),
            "jobEdit" => self.job_edit(),
            "jobClose" => self.job_close(),
            "jobReopen" => self.job_reopen(),
            "visitCreate" => self.visit_create(),
            "visitComplete" => self.visit_complete(),
            "visitUncomplete" => self.visit_uncomplete(),
            "visitEditAssignedUsers" => self.visit_edit_assigned_users(),
            "visitDelete" => self.visit_delete(),
            "invoiceCreate" => self.invoice_create(),
            "invoiceEdit" => self.invoice_edit(),
            "invoiceMarkAsSent" | "invoiceReopen" => self.invoice_status("awaiting_payment"),
            "invoiceVoid" => self.invoice_status("voided"),
            "invoiceClose" => self.invoice_close(),
            "clientCreateNote" => self.note(Kind::Client, "clientId", Kind::ClientNote, "clientNote"),
            "jobCreateNote" => self.note(Kind::Job, "jobId", Kind::JobNote, "jobNote"),
            "invoiceCreateNote" => self.note(Kind::Invoice, "invoiceId", Kind::InvoiceNote, "invoiceNote"),
            "quoteCreateNote" => self.note(Kind::Quote, "quoteId", Kind::QuoteNote, "quoteNote"),
            "quoteEditNote" => self.quote_edit_note(),
            "quoteCreate" => self.quote_create(),
            "quoteEdit" => self.quote_edit(),
            "jobCreateLineItems" => self.job_line_items(),
            "visitCreateLineItems" => self.visit_line_items(),
            "visitEdit" => self.visit_edit(),
            "visitEditSchedule" => self.visit_edit_schedule(),
            "appointmentEditSchedule" => self.appointment_schedule(),
            "appointmentEditCompleteness" => self.appointment_completeness(),
            "propertyEdit" => self.property_edit(),
            "taskCreate" => self.task_create(),
            "taskEdit" => self.task_edit(),
            "taskDelete" => self.task_delete(),
            "expenseCreate" => self.expense_create(),
            "expenseEdit" => self.expense_edit(),
            "expenseDelete" => self.expense_delete(),
            "requestCreate" => self.request_create(),
            "requestArchive" => self.request_archived(true),
            "requestUnarchive" => self.request_archived(false),
            other => Err(Refusal::Unmodelled(format!("the sandbox does not model the mutation {other}"))),
        }
    }

    /// The record fields in the payload of a failed mutation.
    fn nothing(&self, name: &str) -> Vec<(&'static str, Target)> {
        match name {
            "propertyCreate" => {
                vec![("client", Target::Nothing), ("properties", Target::Many(Kind::Property, vec![]))]
            }
            // In the schema this payload must have its job.
            "visitCreate" => vec![
                ("job", Target::One(Kind::Job, self.data.table(Kind::Job).map(|(number, _)| number).next())),
                ("createdVisits", Target::Many(Kind::Visit, vec![])),
            ],
            "jobCreateLineItems" => vec![("createdLineItems", Target::Values("JobLineItem", vec![]))],
            "taskDelete" => vec![("deletedTasks", Target::Many(Kind::Task, vec![]))],
            _ => vec![],
        }
    }

    fn input(&self) -> Map<String, Value> {
        self.arguments.get("input").cloned().map(object).unwrap_or_default()
    }

    fn number(&mut self) -> u64 {
        self.numbers.pop().unwrap_or_default()
    }

    fn target(&self, kind: Kind, argument: &'static str) -> Result<u64, Refusal> {
        let id = self.arguments.get(argument).and_then(Value::as_str);
        match id.and_then(|id| self.data.find(kind, id)) {
            Some(number) => Ok(number),
            None => user(&format!("{} not found", kind.name()), &[argument]),
        }
    }

    fn row(&mut self, kind: Kind, number: u64) -> Result<&mut Row, Refusal> {
        match self.data.get_mut(kind, number) {
            Some(row) => Ok(row),
            None => user(&format!("{} not found", kind.name()), &[]),
        }
    }

    fn touch(&mut self, kind: Kind, number: u64) -> Result<&mut Row, Refusal> {
        let now = instant(self.now);
        let row = self.row(kind, number)?;
        row.insert("updatedAt".to_owned(), now.into());
        Ok(row)
    }
}

fn is_null(row: &Row, field: &str) -> bool {
    row.get(field).is_none_or(Value::is_null)
}

fn total_of(line_items: Option<&Value>) -> f64 {
    line_items
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|item| {
            let number = |name: &str, default: f64| item.get(name).and_then(Value::as_f64).unwrap_or(default);
            number("unitPrice", 0.0) * number("quantity", 1.0)
        })
        .sum()
}

fn edit_list(row: &mut Row, field: &str, add: Vec<Value>, edit: &[Value], delete: &[Value]) {
    let Some(Value::Array(list)) = row.get_mut(field) else { return };
    list.retain(|item| !item.get("id").is_some_and(|id| delete.contains(id)));
    for change in edit {
        for item in list.iter_mut().filter(|item| item.get("id") == change.get("id")) {
            if let (Value::Object(item), Value::Object(change)) = (item, change) {
                item.extend(change.iter().map(|(name, value)| (name.clone(), value.clone())));
                if field == "phones"
                    && let Some(number) = change.get("number").and_then(Value::as_str)
                {
                    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
                    item.insert("normalizedPhoneNumber".to_owned(), format!("+1{digits}").into());
                }
            }
        }
    }
    list.extend(add);
}

/// `LocalDateTimeAttributes`: a date, a time and a time zone.
fn local_instant(value: &Value) -> Option<Timestamp> {
    let date: civil::Date = value.get("date")?.as_str()?.parse().ok()?;
    let time = value.get("time").and_then(Value::as_str).and_then(|time| time.parse::<civil::Time>().ok());
    let zone = value.get("timezone").and_then(Value::as_str).unwrap_or("UTC");
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    Some(date.to_datetime(time.unwrap_or(civil::Time::midnight())).to_zoned_datetime(zone).ok()?.timestamp())
}
