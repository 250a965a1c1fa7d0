//! Records of every kind that events are about, as they are sent on.

use serde_json::{Map, json};

use super::Request;
use crate::domain::model::EncodedId;
use crate::domain::webhook_event::Record;
use crate::jobber::schema::{Document, DocumentError};

fn text(record: Record) -> &'static str {
    match record {
        Record::Account => include_str!("../../../graphql/records/account.graphql"),
        Record::Client => include_str!("../../../graphql/records/client.graphql"),
        Record::Expense => include_str!("../../../graphql/records/expense.graphql"),
        Record::Invoice => include_str!("../../../graphql/records/invoice.graphql"),
        Record::Job => include_str!("../../../graphql/records/job.graphql"),
        Record::MarketingItem => include_str!("../../../graphql/records/marketing_item.graphql"),
        Record::Payment => include_str!("../../../graphql/records/payment.graphql"),
        Record::Payout => include_str!("../../../graphql/records/payout.graphql"),
        Record::Product => include_str!("../../../graphql/records/product.graphql"),
        Record::Property => include_str!("../../../graphql/records/property.graphql"),
        Record::Quote => include_str!("../../../graphql/records/quote.graphql"),
        Record::Request => include_str!("../../../graphql/records/request.graphql"),
        Record::Timesheet => include_str!("../../../graphql/records/timesheet.graphql"),
        Record::User => include_str!("../../../graphql/records/user.graphql"),
        Record::Visit => include_str!("../../../graphql/records/visit.graphql"),
    }
}

/// Reads the record of an event.
pub fn record_of(record: Record, id: &EncodedId) -> Result<Request, DocumentError> {
    let document = Document::parse(text(record), None)?;
    let variables = match record {
        Record::Account => Map::new(),
        _ => Map::from_iter([("id".to_owned(), json!(id))]),
    };
    Ok(Request { document, variables, kind: "record" })
}
