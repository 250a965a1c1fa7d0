//! Jobber's GraphQL API: typed queries in, model types out.
//!
//! An answer is sorted by the table of `api-behaviour.md` §3, in its order, and each kind is one variant of
//! [`ApiError`]: as many as callers have branches, no more. An answer that fits nothing documented is a
//! failed read. It is never taken for an empty page, and never for a deleted record.
//!
//! An operation is one type ([`operation::Operation`]) in `operations/`.

mod answer;
mod client;
pub mod operation;
pub mod operations;
mod query;
pub mod token_endpoint;

use jiff::{SignedDuration, Timestamp};
use reqwest::Url;

pub use answer::{Cost, Refusal};
pub use client::Client;
pub use operation::Operation;

/// The version of the API this program is written against; the schema file carries the same date. It is sent
/// with every request, and an answer served in another version is refused (`api-behaviour.md` §3, Version).
pub const API_VERSION: &str = "2026-07-27";

/// Until when Jobber supports that version at least: 12 months from its date (`api-behaviour.md` §3, Version).
pub fn supported_until() -> Timestamp {
    let date = API_VERSION.parse::<jiff::civil::Date>().unwrap_or_default();
    let end = date.saturating_add(jiff::Span::new().years(1));
    end.to_zoned_datetime(jiff::tz::TimeZone::UTC).map_or(Timestamp::MAX, |end| end.timestamp())
}

/// Why there is no answer to work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// 401: the access token does not count.
    #[error("Jobber refused the access token ({0})")]
    Unauthorized(Refusal),
    /// The budget of points is used up; `wait` is how long the answer says it takes to refill.
    #[error("Jobber throttled the query: it costs {requested} points, and {available} are left")]
    Throttled {
        /// Points the query would cost.
        requested: u64,
        /// Points left.
        available: u64,
        /// Until there are enough.
        wait: SignedDuration,
    },
    /// Network, 5xx, a waiting room: heals itself.
    #[error("Jobber did not answer ({detail})")]
    Unavailable {
        /// What happened; never a body.
        detail: String,
        /// How long Jobber wants to be left alone, if it said so.
        retry_after: Option<SignedDuration>,
    },
    /// 429: too many requests in a while, whatever they cost.
    #[error("Jobber wants fewer requests for this account (HTTP 429)")]
    TooMany {
        /// How long Jobber wants to be left alone, if it said so.
        retry_after: Option<SignedDuration>,
    },
    /// The app lacks a scope.
    #[error(
        "Jobber hides data from this app: {detail}; give the app the scopes read_clients read_jobs read_scheduled_items read_invoices read_users"
    )]
    Hidden {
        /// Jobber's sentence.
        detail: String,
    },
    /// Jobber served another version than was asked for.
    #[error(
        "Jobber answered with API version {served} instead of {API_VERSION}: install a newer jobber-reviewd"
    )]
    WrongVersion {
        /// The version it served.
        served: String,
    },
    /// Jobber does not serve the version that was asked for any more.
    #[error("Jobber no longer serves API version {API_VERSION} ({detail}): install a newer jobber-reviewd")]
    UnknownVersion {
        /// Jobber's sentence.
        detail: String,
    },
    /// Jobber does not accept the query.
    #[error("Jobber did not accept the query: {detail}")]
    Rejected {
        /// What it said.
        detail: String,
    },
    /// Jobber's own rules say no to a mutation: nothing was done.
    #[error("Jobber refused the change: {}", sentences(.0))]
    Refused(Vec<UserError>),
    /// The answer fits nothing documented.
    #[error("Jobber's answer has an unexpected form: {detail}")]
    Unexpected {
        /// What does not fit; never a body.
        detail: String,
    },
}

/// A sentence of Jobber's against a mutation, and the input that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserError {
    /// The sentence.
    pub message: String,
    /// Where in the input.
    pub path: Vec<String>,
}

fn sentences(errors: &[UserError]) -> String {
    errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("; ")
}

/// An answer, and what came with it.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    /// What was asked for.
    pub data: T,
    /// Jobber's clock at the time of the answer.
    pub date: Option<Timestamp>,
    /// What it cost.
    pub cost: Option<Cost>,
    /// What Jobber hid from this app; only in answers to queries that can do without.
    pub hidden: Option<String>,
}

impl<T> Answer<T> {
    /// What stands in for an answer that Jobber hides.
    fn without(data: T, hidden: String) -> Self {
        Self { data, date: None, cost: None, hidden: Some(hidden) }
    }

    fn and_then<U>(self, change: impl FnOnce(T) -> Result<U, ApiError>) -> Result<Answer<U>, ApiError> {
        Ok(Answer { data: change(self.data)?, date: self.date, cost: self.cost, hidden: self.hidden })
    }
}

/// `base` with `name` as one more segment of its path.
pub(crate) fn below(base: &Url, name: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{name}", base.path().trim_end_matches('/')));
    url
}

/// What the fuzzer's bytes came to.
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
