//! All operations, each with its document, its type and its conversion to the model. A new one needs a
//! document in `graphql/` and a type in one of these files.

mod account;
mod actions;
mod changes;
mod clients;
mod details;
mod lists;
mod records;
mod switches;
mod webhooks;

pub use account::{DisconnectApp, TimezoneOfViewer, WhoAmI};
pub use actions::{Mutation, Query, Request, Verdict};
pub use changes::ChangedRecords;
pub use clients::ChangedClients;
pub use details::{WorkDetails, WorkExtras};
pub use lists::{List, PageRequest};
pub use records::record_of;
pub use switches::{InvoiceSwitches, JobSwitches};
pub use webhooks::{Subscribe, Unsubscribe};

use super::{ApiError, UserError};

/// Rows of a sweep's first page. An idle sweep reads no more.
const FIRST_PAGE: i64 = 20;

/// Rows of each further page: Jobber's maximum (`api-behaviour.md` §3, Paging).
const NEXT_PAGE: i64 = 100;

fn rows(after: Option<&String>) -> i64 {
    if after.is_some() { NEXT_PAGE } else { FIRST_PAGE }
}

/// The cursor of the next page. If a next page is announced without a cursor, the answer is unusable, because
/// rows would be missed.
fn next(has_next_page: bool, end_cursor: Option<String>) -> Result<Option<String>, ApiError> {
    match (has_next_page, end_cursor) {
        (false, _) => Ok(None),
        (true, Some(cursor)) => Ok(Some(cursor)),
        (true, None) => Err(ApiError::Unexpected { detail: "a next page without a cursor".to_owned() }),
    }
}

fn accepted(errors: impl IntoIterator<Item = UserError>) -> Result<(), ApiError> {
    let errors: Vec<UserError> = errors.into_iter().collect();
    if errors.is_empty() { Ok(()) } else { Err(ApiError::Refused(errors)) }
}
