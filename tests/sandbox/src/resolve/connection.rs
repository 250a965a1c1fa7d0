//! Pages of records: sorted rows, cursors, and the objects of a connection.

use std::borrow::Cow;
use std::cmp::Ordering;

use apollo_compiler::resolvers::{FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use super::{Nested, Record, Resolved, Snapshot, instant_of, refuse};
use crate::world::object;

pub(super) struct Connection<'s> {
    pub(super) snapshot: &'s Snapshot,
    pub(super) type_name: String,
    pub(super) page: Vec<Record<'s>>,
    pub(super) start: usize,
    pub(super) total: usize,
}

impl Connection<'_> {
    fn records(&self) -> impl Iterator<Item = (usize, Record<'_>)> {
        self.page.iter().enumerate().map(|(offset, record)| {
            let Record { snapshot, kind, number, row } = *record;
            (self.start + offset + 1, Record { snapshot, kind, number, row })
        })
    }
}

impl ObjectValue for Connection<'_> {
    fn type_name(&self) -> &str {
        &self.type_name
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Resolved<'a> {
        match info.field_name() {
            "nodes" => Ok(ResolvedValue::List(Box::new(
                self.records().map(|(_, record)| self.snapshot.shown(record)),
            ))),
            "edges" => {
                let type_name = info.field_definition().ty.inner_named_type().to_string();
                Ok(ResolvedValue::List(Box::new(self.records().map(move |(ordinal, record)| {
                    Ok(ResolvedValue::object(Edge { type_name: type_name.clone(), ordinal, record }))
                }))))
            }
            "totalCount" => Ok(ResolvedValue::leaf(self.total as u64)),
            "pageInfo" => {
                let end = self.start + self.page.len();
                let cursor = |ordinal: usize| (!self.page.is_empty()).then(|| to_cursor(ordinal));
                let fields = json!({
                    "hasNextPage": end < self.total,
                    "hasPreviousPage": self.start > 0,
                    "startCursor": cursor(self.start + 1),
                    "endCursor": cursor(end),
                });
                Ok(ResolvedValue::object(Nested {
                    type_name: Cow::Borrowed("PageInfo"),
                    fields: Cow::Owned(object(fields)),
                }))
            }
            other => refuse(format!("the sandbox does not model {}.{other}", self.type_name)),
        }
    }
}

struct Edge<'s> {
    type_name: String,
    ordinal: usize,
    record: Record<'s>,
}

impl ObjectValue for Edge<'_> {
    fn type_name(&self) -> &str {
        &self.type_name
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Resolved<'a> {
        if info.field_name() == "cursor" {
            Ok(ResolvedValue::leaf(to_cursor(self.ordinal)))
        } else {
            let Record { snapshot, kind, number, row } = self.record;
            snapshot.shown(Record { snapshot, kind, number, row })
        }
    }
}

pub(super) fn sort(rows: &mut [Record<'_>], orders: Option<&Value>) -> Result<(), FieldError> {
    let orders: Vec<&Value> = match orders {
        Some(Value::Array(orders)) => orders.iter().collect(),
        Some(order @ Value::Object(_)) => vec![order],
        _ => vec![],
    };
    // Stable sorts, from the least important order to the most important one.
    for order in orders.into_iter().rev() {
        let key = order.get("key").and_then(Value::as_str).unwrap_or_default();
        let field = match key {
            "UPDATED_AT" => "updatedAt",
            "CREATED_AT" => "createdAt",
            "START_AT" => "startAt",
            "ISSUED_DATE" => "issuedDate",
            "RECEIVED_DATE" => "receivedDate",
            "JOB_NUMBER" => "jobNumber",
            "INVOICE_NUMBER" => "invoiceNumber",
            "QUOTE_NUMBER" => "quoteNumber",
            "PRIMARY_NAME" => "name",
            "FIRST_NAME" => "firstName",
            "LAST_NAME" => "lastName",
            "STATUS" => "status",
            "NAME" => {
                rows.sort_by(|a, b| {
                    let full =
                        |row: &Record<'_>| row.row.get("name").and_then(|name| name.get("full")).cloned();
                    let ordering = compare(full(a).as_ref(), full(b).as_ref());
                    if order.get("direction").and_then(Value::as_str) == Some("DESCENDING") {
                        ordering.reverse()
                    } else {
                        ordering
                    }
                });
                continue;
            }
            _ => return refuse(format!("the sandbox does not model sorting by {key}")),
        };
        let descending = order.get("direction").and_then(Value::as_str) == Some("DESCENDING");
        rows.sort_by(|a, b| {
            let ordering = compare(a.row.get(field), b.row.get(field));
            if descending { ordering.reverse() } else { ordering }
        });
    }
    Ok(())
}

fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    let instants = (a.and_then(instant_of), b.and_then(instant_of));
    if let (Some(a), Some(b)) = instants {
        return a.cmp(&b);
    }
    let number = |value: Option<&Value>| value.and_then(Value::as_f64);
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        a.total_cmp(&b)
    } else {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        text(a).cmp(&text(b))
    }
}

/// Cursors are offsets: unpadded base64 of the ordinal (`api-behaviour.md` §3, Paging).
pub(super) fn to_cursor(ordinal: usize) -> String {
    STANDARD_NO_PAD.encode(ordinal.to_string())
}

pub(super) fn from_cursor(cursor: &str) -> Option<usize> {
    let bytes = STANDARD_NO_PAD.decode(cursor.trim_end_matches('=')).ok()?;
    std::str::from_utf8(&bytes).ok()?.parse().ok()
}
