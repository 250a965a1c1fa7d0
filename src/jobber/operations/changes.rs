//! Lists of records that changed, of every kind that has such a list.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Query, Request, next, rows};
use crate::domain::gaps::Changed;
use crate::domain::model::EncodedId;
use crate::domain::webhook_event::Record;
use crate::jobber::operation::{ListOperation, Listed, Operation, RawAnswer};
use crate::jobber::schema::Document;
use crate::jobber::{Answer, ApiError};

/// The list of a kind of record. `None` for kinds without one.
fn text(record: Record) -> Option<&'static str> {
    Some(match record {
        Record::Client => include_str!("../../../graphql/changes/clients.graphql"),
        Record::Expense => include_str!("../../../graphql/changes/expenses.graphql"),
        Record::Invoice => include_str!("../../../graphql/changes/invoices.graphql"),
        Record::Job => include_str!("../../../graphql/changes/jobs.graphql"),
        Record::Payout => include_str!("../../../graphql/changes/payouts.graphql"),
        Record::Quote => include_str!("../../../graphql/changes/quotes.graphql"),
        Record::Request => include_str!("../../../graphql/changes/requests.graphql"),
        Record::Timesheet => include_str!("../../../graphql/changes/timesheets.graphql"),
        Record::Visit => include_str!("../../../graphql/changes/visits.graphql"),
        Record::Account
        | Record::MarketingItem
        | Record::Payment
        | Record::Product
        | Record::Property
        | Record::User => return None,
    })
}

/// Records that changed after an instant.
#[derive(Debug, Clone)]
pub struct ChangedRecords {
    record: Record,
    document: Document,
    since: Timestamp,
    after: Option<String>,
}

impl ChangedRecords {
    /// `None` for a kind of record whose changes cannot be listed.
    pub fn new(record: Record, since: Timestamp) -> Option<Self> {
        let document = Document::parse(text(record)?, None).ok()?;
        Some(Self { record, document, since, after: None })
    }

    /// Whether the list goes back without end, and is read down to an instant.
    pub fn is_endless(&self) -> bool {
        self.record == Record::Job
    }

    fn query(&self) -> Query {
        let mut variables = Map::from_iter([
            ("first".to_owned(), json!(rows(self.after.as_ref()))),
            ("after".to_owned(), json!(self.after)),
        ]);
        if !self.is_endless() {
            variables.insert("since".to_owned(), json!(self.since));
        }
        Query(Request { document: self.document.clone(), variables, kind: "changes" })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    nodes: Vec<Node>,
    page_info: PageInfo,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    id: EncodedId,
    created_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    has_next_page: bool,
    end_cursor: Option<String>,
}

impl Operation for ChangedRecords {
    type Output = (Vec<Changed>, Option<String>);

    fn kind(&self) -> &'static str {
        "changes"
    }

    fn request(&self) -> Result<Vec<u8>, ApiError> {
        self.query().request()
    }

    fn cost(&self) -> Option<u64> {
        self.query().cost()
    }

    fn read(&self, answer: RawAnswer<'_>) -> Result<Answer<Self::Output>, ApiError> {
        self.query().read(answer)?.and_then(|data| {
            let unexpected = |detail: String| ApiError::Unexpected { detail };
            let list = match data {
                Value::Object(roots) => roots.into_iter().next().map(|(_, list)| list),
                _ => None,
            };
            let list = list.ok_or_else(|| unexpected("no list".to_owned()))?;
            let list: List = serde_json::from_value(list).map_err(|error| unexpected(error.to_string()))?;
            let changed = list.nodes.into_iter().map(|node| Changed {
                id: node.id,
                created_at: node.created_at,
                updated_at: node.updated_at,
                completed_at: node.completed_at,
            });
            Ok((changed.collect(), next(list.page_info.has_next_page, list.page_info.end_cursor)?))
        })
    }
}

impl ListOperation for ChangedRecords {
    type Row = Changed;

    fn at_cursor(&self, cursor: Option<String>) -> Self {
        Self { after: cursor, ..self.clone() }
    }

    fn split(page: Self::Output) -> (Vec<Changed>, Option<String>) {
        page
    }
}

impl Listed for Changed {
    fn id(&self) -> &EncodedId {
        &self.id
    }

    fn at(&self) -> Option<Timestamp> {
        self.updated_at.or(self.completed_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::webhook_event::Topic;

    #[test]
    fn every_polled_kind_has_a_list_that_the_schema_knows() {
        for topic in Topic::ALL {
            let list = ChangedRecords::new(topic.record(), Timestamp::UNIX_EPOCH);
            if topic.is_polled() {
                let cost = list.unwrap_or_else(|| panic!("{topic:?} has no list")).cost().unwrap();
                assert!(cost < 400, "{topic:?}: {cost}");
            }
        }
    }
}
