//! Turns records into GraphQL answers with one resolver for every type, driven by the schema.
//!
//! A field is a relation named below, or is in the record, or is null if the schema allows it. If a required
//! field is missing, the sandbox does not model it and answers with an error that says so.

mod connection;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use apollo_compiler::ast;
use apollo_compiler::resolvers::{FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use apollo_compiler::response::{JsonMap, JsonValue, serde_json_bytes};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use self::connection::{Connection, from_cursor, sort};
use super::faults::Switches;
use super::search;
use super::world::{Data, Kind, Row, reference, references};

/// Maximum rows per page (`api-behaviour.md` §3, Paging).
const PAGE: usize = 100;

/// The fraction that a stored instant has besides what is shown.
const HIDDEN: SignedDuration = SignedDuration::from_millis(400);

/// Makes the order of equal rows another one each time.
static ORDER: AtomicU64 = AtomicU64::new(1);

/// The data of a query.
pub(super) struct Snapshot {
    pub(super) data: Arc<Data>,
    pub(super) viewer: u64,
    pub(super) switches: Switches,
    pub(super) now: Timestamp,
}

type Resolved<'a> = Result<ResolvedValue<'a>, FieldError>;

fn refuse<T>(message: impl Into<String>) -> Result<T, FieldError> {
    Err(FieldError { message: message.into() })
}

impl Snapshot {
    /// The record `number`, or null.
    pub(super) fn one(&self, kind: Kind, number: Option<u64>) -> Resolved<'_> {
        match number.and_then(|number| self.record(kind, number)) {
            Some(record) => self.shown(record),
            None => Ok(ResolvedValue::null()),
        }
    }

    pub(super) fn many(&self, kind: Kind, numbers: &[u64]) -> ResolvedValue<'_> {
        let records: Vec<_> = numbers.iter().filter_map(|number| self.record(kind, *number)).collect();
        ResolvedValue::List(Box::new(records.into_iter().map(|record| self.shown(record))))
    }

    fn shown<'a>(&'a self, record: Record<'a>) -> Resolved<'a> {
        let name = record.kind.name();
        if self.switches.hidden_types.iter().any(|hidden| hidden == name) {
            return refuse(format!("An object of type {name} was hidden due to permissions"));
        }
        Ok(ResolvedValue::object(record))
    }

    fn record(&self, kind: Kind, number: u64) -> Option<Record<'_>> {
        Some(Record { snapshot: self, kind, number, row: self.data.get(kind, number)? })
    }

    /// A page of the records of `kind` that match `wanted`.
    fn connection<'a>(
        &'a self,
        kind: Kind,
        info: &ResolveInfo<'_>,
        wanted: impl Fn(u64, &Row) -> bool,
    ) -> Resolved<'a> {
        let arguments = plain(info.arguments());
        for unmodelled in ["before"] {
            if arguments.get(unmodelled).is_some_and(|value| !value.is_null()) {
                return refuse(format!("the sandbox does not model the argument {unmodelled}"));
            }
        }
        let filter = arguments.get("filter").and_then(Value::as_object);
        let search = search::Search::of(&arguments)?;
        let mut rows = Vec::new();
        for (number, row) in self.data.table(kind) {
            let fits = search.as_ref().is_none_or(|search| search.fits(&self.data, kind, row));
            if fits && wanted(number, row) && self.passes(kind, number, row, filter)? {
                rows.push(Record { snapshot: self, kind, number, row });
            }
        }
        if self.switches.unstable_ties {
            let round = ORDER.fetch_add(1, Relaxed);
            rows.sort_by_key(|row| {
                super::world::encode_id("Tie", row.number.wrapping_mul(round.wrapping_mul(2_654_435_761) | 1))
            });
        }
        sort(&mut rows, arguments.get("sort"))?;

        let total = rows.len();
        let skip = match arguments.get("after").and_then(Value::as_str) {
            None => 0,
            Some(cursor) => match from_cursor(cursor) {
                Some(ordinal) => ordinal,
                None => return refuse("invalid cursor"),
            },
        };
        let number = |name: &str| {
            arguments.get(name).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok())
        };
        let (start, length) = match (number("first"), number("last")) {
            (Some(first), _) => (skip, first.min(PAGE)),
            (None, Some(last)) => (total.saturating_sub(last.min(PAGE)).max(skip), last.min(PAGE)),
            (None, None) => (skip, PAGE),
        };
        let page: Vec<_> = rows.into_iter().skip(start).take(length).collect();
        let type_name = info.field_definition().ty.inner_named_type().to_string();
        Ok(ResolvedValue::object(Connection { snapshot: self, type_name, page, start, total }))
    }

    fn passes(
        &self,
        kind: Kind,
        number: u64,
        row: &Row,
        filter: Option<&Map<String, Value>>,
    ) -> Result<bool, FieldError> {
        for (name, wanted) in filter.into_iter().flatten() {
            if wanted.is_null() {
                continue;
            }
            let field = match (kind, name.as_str()) {
                (_, "ids") => {
                    let ids: Vec<_> =
                        wanted.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                    if !ids.iter().any(|id| self.data.find(kind, id) == Some(number)) {
                        return Ok(false);
                    }
                    continue;
                }
                (Kind::Job, "visitsAssignedToUserId") | (Kind::Visit, "assignedTo") => {
                    let user = wanted.as_str().and_then(|id| self.data.find(Kind::User, id));
                    let has =
                        |visit: &Row| user.is_some_and(|user| references(visit, "_users").contains(&user));
                    let of_job = |visit: &Row| reference(visit, "_job") == Some(number);
                    let fits = match kind {
                        Kind::Job => {
                            self.data.table(Kind::Visit).any(|(_, visit)| of_job(visit) && has(visit))
                        }
                        _ => has(row),
                    };
                    if !fits {
                        return Ok(false);
                    }
                    continue;
                }
                (Kind::Client, "tags") => {
                    let own = row.get("_tags").and_then(Value::as_array).cloned().unwrap_or_default();
                    if !wanted.as_array().is_some_and(|tags| tags.iter().all(|tag| own.contains(tag))) {
                        return Ok(false);
                    }
                    continue;
                }
                (Kind::Invoice | Kind::Quote | Kind::Property, "clientId") => {
                    let client = wanted.as_str().and_then(|id| self.data.find(Kind::Client, id));
                    if client.is_none() || client != reference(row, "_client") {
                        return Ok(false);
                    }
                    continue;
                }
                (
                    _,
                    "createdAt" | "startAt" | "endAt" | "completedAt" | "updatedAt" | "issuedDate" | "sentAt"
                    | "dueDate",
                ) => {
                    if !self.in_range(row.get(name.as_str()), wanted)? {
                        return Ok(false);
                    }
                    continue;
                }
                (Kind::Job, "status") => "jobStatus",
                (Kind::Visit, "status") => "visitStatus",
                (Kind::Invoice, "status") => "invoiceStatus",
                (Kind::Quote, "status") => "quoteStatus",
                (Kind::User, "status") => "status",
                (Kind::Job, "jobType") => "jobType",
                (Kind::Client, "isCompany" | "isLead" | "isArchived") => name.as_str(),
                _ => return refuse(format!("the sandbox does not model the filter {name}")),
            };
            if self.value(kind, row, field).as_ref() != wanted {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether an instant is in a range. `before` and `after` exclude the instant itself, unless a switch
    /// says otherwise.
    fn in_range(&self, value: Option<&Value>, range: &Value) -> Result<bool, FieldError> {
        let bound = |name: &str| match range.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(text) => match instant_of(text) {
                Some(at) => Ok(Some(at)),
                None => refuse(format!("{name} is no ISO8601DateTime")),
            },
        };
        let (after, before, equal) = (bound("after")?, bound("before")?, bound("eq")?);
        if after.is_none() && before.is_none() && equal.is_none() {
            return Ok(true);
        }
        let Some(at) = value.and_then(instant_of) else { return Ok(false) };
        let at = if self.switches.hidden_fractions { at + HIDDEN } else { at };
        let after_ok = after.is_none_or(|bound| at > bound || (self.switches.after_inclusive && at == bound));
        Ok(after_ok && before.is_none_or(|bound| at < bound) && equal.is_none_or(|bound| at == bound))
    }

    /// A field of a record that is not a relation. Some are computed.
    fn value<'r>(&self, kind: Kind, row: &'r Row, field: &str) -> Cow<'r, Value> {
        let completed = || row.get("completedAt").is_some_and(|at| !at.is_null());
        match (kind, field) {
            (Kind::Visit, "isComplete") => Cow::Owned(completed().into()),
            (Kind::Visit, "visitStatus") => {
                let start = row.get("startAt").and_then(instant_of);
                let status = match start {
                    _ if completed() => "COMPLETED",
                    None => "UNSCHEDULED",
                    Some(start) if start < self.now => "LATE",
                    Some(_) => "UPCOMING",
                };
                Cow::Owned(status.into())
            }
            _ => row.get(field).map_or(Cow::Owned(Value::Null), Cow::Borrowed),
        }
    }
}

pub(super) struct QueryRoot<'s>(pub(super) &'s Snapshot);

impl ObjectValue for QueryRoot<'_> {
    fn type_name(&self) -> &'static str {
        "Query"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Resolved<'a> {
        let snapshot = self.0;
        let by_id = |kind: Kind| {
            let number = info.arguments().get("id").and_then(JsonValue::as_str);
            snapshot.one(kind, number.and_then(|id| snapshot.data.find(kind, id)))
        };
        match info.field_name() {
            "account" => Ok(ResolvedValue::object(Nested {
                type_name: Cow::Borrowed("Account"),
                fields: Cow::Borrowed(&snapshot.data.account),
            })),
            // Without an id: the user who authorised the app.
            "user" if info.arguments().get("id").is_none_or(JsonValue::is_null) => {
                snapshot.one(Kind::User, Some(snapshot.viewer))
            }
            "user" => by_id(Kind::User),
            "client" => by_id(Kind::Client),
            "property" => by_id(Kind::Property),
            "job" => by_id(Kind::Job),
            "visit" => by_id(Kind::Visit),
            "invoice" => by_id(Kind::Invoice),
            "quote" => by_id(Kind::Quote),
            "task" => by_id(Kind::Task),
            "expense" => by_id(Kind::Expense),
            "request" => by_id(Kind::Request),
            "quotes" => snapshot.connection(Kind::Quote, info, |_, _| true),
            "tasks" => snapshot.connection(Kind::Task, info, |_, _| true),
            "expenses" => snapshot.connection(Kind::Expense, info, |_, _| true),
            "requests" => snapshot.connection(Kind::Request, info, |_, _| true),
            "users" => snapshot.connection(Kind::User, info, |_, _| true),
            "clients" => snapshot.connection(Kind::Client, info, |_, _| true),
            "properties" => snapshot.connection(Kind::Property, info, |_, _| true),
            "jobs" => snapshot.connection(Kind::Job, info, |_, _| true),
            "visits" => snapshot.connection(Kind::Visit, info, |_, _| true),
            "invoices" => snapshot.connection(Kind::Invoice, info, |_, _| true),
            other => refuse(format!("the sandbox does not model Query.{other}")),
        }
    }
}

struct Record<'s> {
    snapshot: &'s Snapshot,
    kind: Kind,
    number: u64,
    row: &'s Row,
}

impl Record<'_> {
    fn relation<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Option<Resolved<'a>> {
        let (snapshot, row, number) = (self.snapshot, self.row, self.number);
        let of = |field: &'static str| move |_: u64, row: &Row| reference(row, field) == Some(number);
        let among = |field: &'static str| {
            let numbers = references(row, field);
            move |other: u64, _: &Row| numbers.contains(&other)
        };
        Some(match (self.kind, info.field_name()) {
            (
                Kind::Job
                | Kind::Visit
                | Kind::Invoice
                | Kind::Property
                | Kind::Quote
                | Kind::Task
                | Kind::Request,
                "client",
            ) => snapshot.one(Kind::Client, reference(row, "_client")),
            (Kind::Job | Kind::Visit | Kind::Quote | Kind::Task | Kind::Request, "property") => {
                snapshot.one(Kind::Property, reference(row, "_property"))
            }
            (Kind::Job, "notes") => snapshot.connection(Kind::JobNote, info, of("_of")),
            (Kind::Client, "notes") => snapshot.connection(Kind::ClientNote, info, of("_of")),
            (Kind::Invoice, "notes") => snapshot.connection(Kind::InvoiceNote, info, of("_of")),
            (Kind::Quote, "notes") => snapshot.connection(Kind::QuoteNote, info, of("_of")),
            (Kind::Job, "visitsInfo") => return Some(Ok(self.visits_info())),
            (Kind::Invoice, "lineItems") => return Some(Ok(self.items("InvoiceLineItemConnection", info))),
            (Kind::Quote, "lineItems") => return Some(Ok(self.items("QuoteLineItemConnection", info))),
            (Kind::Visit, "job") | (Kind::Expense, "linkedJob") => {
                snapshot.one(Kind::Job, reference(row, "_job"))
            }
            (Kind::Visit, "invoice") => {
                let invoice = snapshot
                    .data
                    .table(Kind::Invoice)
                    .find(|(_, invoice)| references(invoice, "_visits").contains(&number));
                snapshot.one(Kind::Invoice, invoice.map(|(number, _)| number))
            }
            (Kind::Visit, "assignedUsers") => snapshot.connection(Kind::User, info, among("_users")),
            (Kind::Job, "visits") => snapshot.connection(Kind::Visit, info, of("_job")),
            (Kind::Job, "invoices") => snapshot.connection(Kind::Invoice, info, move |_, invoice| {
                references(invoice, "_jobs").contains(&number)
            }),
            (Kind::Invoice, "jobs") => snapshot.connection(Kind::Job, info, among("_jobs")),
            (Kind::Invoice, "visits") => snapshot.connection(Kind::Visit, info, among("_visits")),
            (Kind::Invoice, "properties") => snapshot.connection(Kind::Property, info, among("_properties")),
            (Kind::Client, "jobs") => snapshot.connection(Kind::Job, info, of("_client")),
            (Kind::Client, "invoices") => snapshot.connection(Kind::Invoice, info, of("_client")),
            (Kind::Client, "clientProperties") => snapshot.connection(Kind::Property, info, of("_client")),
            (Kind::Client, "tags") => return Some(Ok(self.tags(info))),
            (Kind::Job | Kind::Visit, "lineItems") => {
                return Some(Ok(self.items("JobLineItemConnection", info)));
            }
            (Kind::Property, "jobs") => snapshot.connection(Kind::Job, info, of("_property")),
            _ => return None,
        })
    }

    fn tags<'a>(&'a self, info: &'a ResolveInfo<'a>) -> ResolvedValue<'a> {
        let tags: Vec<Value> = self
            .row
            .get("_tags")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(|label| json!({"id": super::world::encode_id("Tag", hash(label)), "label": label}))
            .collect();
        first_of("TagConnection", &tags, info)
    }

    fn items<'a>(&'a self, of: &'static str, info: &'a ResolveInfo<'a>) -> ResolvedValue<'a> {
        let items = self.row.get("_lineItems").and_then(Value::as_array).cloned().unwrap_or_default();
        first_of(of, &items, info)
    }

    fn visits_info(&self) -> ResolvedValue<'_> {
        let snapshot = self.snapshot;
        let visits: Vec<&Row> = snapshot
            .data
            .table(Kind::Visit)
            .filter(|(_, visit)| reference(visit, "_job") == Some(self.number))
            .map(|(_, visit)| visit)
            .collect();
        let count = |fits: &dyn Fn(Option<Timestamp>, bool) -> bool| {
            let fits = |visit: &&&Row| {
                let is_open = visit.get("completedAt").is_none_or(Value::is_null);
                fits(visit.get("startAt").and_then(instant_of), is_open)
            };
            visits.iter().filter(fits).count()
        };
        let fields = json!({
            "incompleteTotal": count(&|_, is_open| is_open),
            "futureCount": count(&|start, _| start.is_some_and(|start| start > snapshot.now)),
            "pastCount": count(&|start, _| start.is_some_and(|start| start <= snapshot.now)),
            "scheduledCount": count(&|start, _| start.is_some()),
            "unscheduledCount": count(&|start, _| start.is_none()),
        });
        ResolvedValue::object(Nested {
            type_name: Cow::Borrowed("VisitsInfo"),
            fields: Cow::Owned(super::world::object(fields)),
        })
    }
}

/// Objects that are no records of their own.
pub(super) fn values<'a>(of: &'static str, values: &[Value]) -> ResolvedValue<'a> {
    let objects: Vec<_> = values
        .iter()
        .map(|value| {
            Ok(ResolvedValue::object(Nested {
                type_name: Cow::Borrowed(of),
                fields: Cow::Owned(super::world::object(value.clone())),
            }))
        })
        .collect();
    ResolvedValue::List(Box::new(objects.into_iter()))
}

/// A connection over what a record holds itself.
fn first_of<'a>(type_name: &'static str, all: &[Value], info: &'a ResolveInfo<'a>) -> ResolvedValue<'a> {
    let first = info.arguments().get("first").and_then(JsonValue::as_u64).unwrap_or(100);
    let shown: Vec<Value> =
        all.iter().take(usize::try_from(first).unwrap_or(PAGE).min(PAGE)).cloned().collect();
    let fields = json!({
        "nodes": shown,
        "totalCount": all.len(),
        "pageInfo": {"hasNextPage": shown.len() < all.len(), "hasPreviousPage": false},
    });
    ResolvedValue::object(Nested {
        type_name: Cow::Borrowed(type_name),
        fields: Cow::Owned(super::world::object(fields)),
    })
}

impl ObjectValue for Record<'_> {
    fn type_name(&self) -> &str {
        self.kind.name()
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Resolved<'a> {
        if let Some(relation) = self.relation(info) {
            return relation;
        }
        match self.snapshot.value(self.kind, self.row, info.field_name()) {
            Cow::Borrowed(value) => finish(self.type_name(), info, value),
            Cow::Owned(value) => finish_owned(self.type_name(), info, value),
        }
    }
}

/// An object inside a record, such as an address or a name.
struct Nested<'s> {
    type_name: Cow<'s, str>,
    fields: Cow<'s, Map<String, Value>>,
}

impl ObjectValue for Nested<'_> {
    fn type_name(&self) -> &str {
        &self.type_name
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Resolved<'a> {
        finish(&self.type_name, info, self.fields.get(info.field_name()).unwrap_or(&Value::Null))
    }
}

/// Converts a stored value to its type in the schema.
fn finish<'a>(type_name: &str, info: &ResolveInfo<'_>, value: &'a Value) -> Resolved<'a> {
    let inner = info.field_definition().ty.inner_named_type();
    match value {
        Value::Object(fields) => Ok(ResolvedValue::object(Nested {
            type_name: Cow::Owned(inner.to_string()),
            fields: Cow::Borrowed(fields),
        })),
        Value::Array(items) => {
            let inner = inner.to_string();
            Ok(ResolvedValue::list(items.iter().map(move |item| match item {
                Value::Object(fields) => ResolvedValue::object(Nested {
                    type_name: Cow::Owned(inner.clone()),
                    fields: Cow::Borrowed(fields),
                }),
                other => ResolvedValue::Leaf(leaf(other)),
            })))
        }
        Value::Null if info.field_definition().ty.is_non_null() => {
            refuse(format!("the sandbox does not model {type_name}.{}", info.field_name()))
        }
        other => Ok(ResolvedValue::Leaf(leaf(other))),
    }
}

fn finish_owned<'a>(type_name: &str, info: &ResolveInfo<'_>, value: Value) -> Resolved<'a> {
    match value {
        Value::Null if info.field_definition().ty.is_non_null() => {
            refuse(format!("the sandbox does not model {type_name}.{}", info.field_name()))
        }
        other => Ok(ResolvedValue::Leaf(leaf(&other))),
    }
}

fn leaf(value: &Value) -> JsonValue {
    serde_json_bytes::to_value(value).unwrap_or(JsonValue::Null)
}

/// The arguments as plain JSON.
pub(super) fn plain(arguments: &JsonMap) -> Map<String, Value> {
    match serde_json::to_value(arguments) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// A value of the document with its variables replaced.
pub(super) fn coerced(value: &ast::Value, variables: &JsonMap) -> Value {
    match value {
        ast::Value::Variable(name) => variables
            .get(name.as_str())
            .and_then(|value| serde_json::to_value(value).ok())
            .unwrap_or(Value::Null),
        ast::Value::Boolean(value) => (*value).into(),
        ast::Value::Int(value) => value.try_to_i32().map_or(Value::Null, Value::from),
        _ => Value::Null,
    }
}

fn instant_of(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

fn hash(label: &str) -> u64 {
    label.bytes().fold(5381, |hash: u64, byte| hash.wrapping_mul(33) ^ u64::from(byte)) % 1_000_000
}
