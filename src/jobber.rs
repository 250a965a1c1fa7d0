//! Jobber's GraphQL API: typed operations in, model types out.
//!
//! Answers are classified by the table of `api-behaviour.md` §3, in its order. [`ApiError`] has one variant
//! for each case that callers handle differently. An answer that fits nothing documented is a failed read. It
//! never counts as an empty page or a deleted record.
//!
//! Each operation is one type ([`operation::Operation`]) in `operations/`.

mod answer;
mod client;
pub mod input;
pub mod operation;
pub mod operations;
mod query;
pub mod schema;
pub mod scopes;
pub mod token_endpoint;

use jiff::{SignedDuration, Timestamp};
use reqwest::Url;

pub use answer::{Cost, Refusal};
pub use client::{Client, Exchange};
pub use operation::{ListOperation, Listed, Operation};

/// The API version of this program. The schema file has the same date. It is sent with every request, and an
/// answer in another version is refused (`api-behaviour.md` §3, Version).
pub const API_VERSION: &str = "2026-07-27";

/// When support for that version ends at the earliest: 12 months after its date (`api-behaviour.md` §3,
/// Version).
pub fn supported_until() -> Timestamp {
    let date = API_VERSION.parse::<jiff::civil::Date>().unwrap_or_default();
    let end = date.saturating_add(jiff::Span::new().years(1));
    end.to_zoned_datetime(jiff::tz::TimeZone::UTC).map_or(Timestamp::MAX, |end| end.timestamp())
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// 401: the access token is refused.
    #[error("Jobber refused the access token ({0})")]
    Unauthorized(Refusal),
    /// The points are used up. `wait` is the time until enough are refilled.
    #[error("Jobber throttled the query: it costs {requested} points, and {available} are left")]
    Throttled { requested: u64, available: u64, wait: SignedDuration },
    /// No answer after the request was sent, 5xx, or a waiting room. It heals itself.
    #[error("Jobber did not answer ({detail})")]
    Unavailable { detail: String, retry_after: Option<SignedDuration> },
    /// The request never left.
    #[error("Jobber cannot be reached ({detail})")]
    Unreachable { detail: String },
    /// 429: too many requests in a while, whatever they cost.
    #[error("Jobber wants fewer requests for this account (HTTP 429)")]
    TooMany { retry_after: Option<SignedDuration> },
    /// A scope or a permission is missing. [`scopes::remedy`] says what to do.
    #[error("Jobber hides data from this app: {detail}")]
    Hidden { detail: String },
    #[error(
        "Jobber answered with API version {served} instead of {API_VERSION}: install a newer jobber-reviewd"
    )]
    WrongVersion { served: String },
    /// Jobber does not serve the version that was asked for any more.
    #[error("Jobber no longer serves API version {API_VERSION} ({detail}): install a newer jobber-reviewd")]
    UnknownVersion { detail: String },
    #[error("Jobber did not accept the query: {detail}")]
    Rejected { detail: String },
    /// Jobber's rules refused a mutation. Nothing was done.
    #[error("Jobber refused the change: {}", sentences(.0))]
    Refused(Vec<UserError>),
    #[error("Jobber's answer has an unexpected form: {detail}")]
    Unexpected { detail: String },
}

/// Jobber's objection to a mutation, with the input that it concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserError {
    pub message: String,
    pub path: Vec<String>,
}

fn sentences(errors: &[UserError]) -> String {
    errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("; ")
}

#[derive(Debug, Clone)]
pub struct Answer<T> {
    pub data: T,
    /// Jobber's clock at the answer.
    pub date: Option<Timestamp>,
    pub cost: Option<Cost>,
    /// What Jobber hid from this app. Only for queries that work without it.
    pub hidden: Option<String>,
}

impl<T> Answer<T> {
    fn of(data: T) -> Self {
        Self { data, date: None, cost: None, hidden: None }
    }

    fn without(data: T, hidden: String) -> Self {
        Self { data, date: None, cost: None, hidden: Some(hidden) }
    }

    fn and_then<U>(self, change: impl FnOnce(T) -> Result<U, ApiError>) -> Result<Answer<U>, ApiError> {
        Ok(Answer { data: change(self.data)?, date: self.date, cost: self.cost, hidden: self.hidden })
    }
}

/// `base` with `name` as another path segment.
pub(crate) fn below(base: &Url, name: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{name}", base.path().trim_end_matches('/')));
    url
}

#[cfg(feature = "fuzzing")]
pub(crate) enum Fuzzed {
    Records(Vec<crate::domain::model::Record>),
    Facts(Box<crate::domain::model::Facts>),
    Nothing,
}

/// Reads `body` as the answer to one of the operations.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzzed(query: u8, status: u16, body: &[u8], work: &crate::domain::model::WorkRef) -> Fuzzed {
    use operation::{Operation, RawAnswer};
    use operations::{ChangedClients, List, PageRequest, WhoAmI, WorkDetails, WorkExtras};

    fn read<O: Operation>(operation: &O, status: u16, body: &[u8]) -> Option<O::Output> {
        let head = answer::Head { status, ..answer::Head::default() };
        match operation.read(RawAnswer::new(head, body)) {
            Ok(answer) => {
                assert!(status == 200 || answer.hidden.is_some(), "an answer out of a failure");
                Some(answer.data)
            }
            Err(error) => {
                assert!(error.to_string().len() < 1000, "a whole body in an error");
                None
            }
        }
    }
    let page = |list| match read(&PageRequest { list, after: None }, status, body) {
        Some(page) => Fuzzed::Records(page.records),
        None => Fuzzed::Nothing,
    };
    match query {
        0 => page(List::ChangedJobs),
        1 => page(List::CompletedVisits(Timestamp::UNIX_EPOCH)),
        2 => page(List::ChangedInvoices(Timestamp::UNIX_EPOCH)),
        3 => {
            read(&WhoAmI, status, body);
            Fuzzed::Nothing
        }
        7 => {
            let request = ChangedClients { since: Timestamp::UNIX_EPOCH, after: None };
            if let Some(page) = read(&request, status, body) {
                let differs = page.clients.iter().any(|client| client.differs(client));
                assert!(!differs, "a client that differs from itself");
            }
            Fuzzed::Nothing
        }
        4 => {
            read(&WorkExtras { work }, status, body);
            Fuzzed::Nothing
        }
        _ => match read(&WorkDetails { work }, status, body).flatten() {
            Some(facts) => Fuzzed::Facts(Box::new(facts)),
            None => Fuzzed::Nothing,
        },
    }
}
