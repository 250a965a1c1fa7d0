//! Jobber's GraphQL API: typed queries in, model types out.
//!
//! An answer is sorted by the table of `api-behaviour.md` §3, in its order, and each kind is one variant of
//! [`ApiError`]: as many as callers have branches, no more. An answer that fits nothing documented is a
//! failed read. It is never taken for an empty page, and never for a deleted record.

mod answer;
mod convert;
pub mod queries;
pub mod token_endpoint;

use std::time::Duration;

use graphql_client::GraphQLQuery;
use jiff::{SignedDuration, Timestamp};
use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use crate::domain::model::{ClientSnapshot, EncodedId, Facts, InvoiceFacts, Person, Record, Stream, WorkRef};
use crate::domain::webhook_event::Topic;

pub use answer::{Cost, Refusal};
use queries::{
    Clients, ConnectedAccount, Details, Disconnect, EventOff, EventOn, Extras, Invoices, Jobs,
    ViewerTimezone, Visits,
};

/// The version of the API this program is written against; the schema file carries the same date. It is sent
/// with every request, and an answer served in another version is refused (`api-behaviour.md` §3, Version).
pub const API_VERSION: &str = "2026-07-27";

/// Until when Jobber supports that version at least: 12 months from its date (`api-behaviour.md` §3, Version).
pub fn supported_until() -> Timestamp {
    let date = API_VERSION.parse::<jiff::civil::Date>().unwrap_or_default();
    let end = date.saturating_add(jiff::Span::new().years(1));
    end.to_zoned_datetime(jiff::tz::TimeZone::UTC).map_or(Timestamp::MAX, |end| end.timestamp())
}

/// Header that asks for a version.
const VERSION_HEADER: &str = "x-jobber-graphql-version";

/// From the first byte of the connection to the last of the answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// An answer longer than this is not Jobber's.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;

/// Rows of a sweep's first page: an idle sweep reads no more.
const FIRST_PAGE: i64 = 20;

/// Rows of every further page: the most that Jobber gives (`api-behaviour.md` §3, Paging).
const NEXT_PAGE: i64 = 100;

/// Why there is no answer to work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// 401: the access token does not count.
    #[error("Jobber refused the access token ({0})")]
    Unauthorized(Refusal),
    /// The budget of points is used up; `wait` is how long the answer says it takes to refill.
    #[error("Jobber throttled the query, {requested} points asked, {available} left")]
    Throttled {
        /// Points the query would cost.
        requested: u64,
        /// Points left.
        available: u64,
        /// Until there are enough.
        wait: SignedDuration,
    },
    /// Network, 429, 5xx, a waiting room: heals itself.
    #[error("Jobber did not answer ({detail})")]
    Unavailable {
        /// What happened; never a body.
        detail: String,
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
        "Jobber served API version {served} where {API_VERSION} was asked for: install a newer jobber-reviewd"
    )]
    WrongVersion {
        /// The version it served.
        served: String,
    },
    /// Jobber does not accept the query.
    #[error("Jobber did not accept the query: {detail}")]
    Rejected {
        /// What it said.
        detail: String,
    },
    /// The answer fits nothing documented.
    #[error("Jobber's answer is not understood: {detail}")]
    Unexpected {
        /// What does not fit; never a body.
        detail: String,
    },
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
    fn and_then<U>(self, change: impl FnOnce(T) -> Result<U, ApiError>) -> Result<Answer<U>, ApiError> {
        Ok(Answer { data: change(self.data)?, date: self.date, cost: self.cost, hidden: self.hidden })
    }
}

/// Who an access token belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Jobber's id of the account.
    pub id: crate::domain::model::AccountId,
    /// Its name.
    pub name: String,
}

/// Which page of which list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// The list.
    pub list: List,
    /// The page cursor of the page before; `None` for the first page.
    pub after: Option<String>,
}

/// A list that a sweep reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum List {
    /// All jobs, the last changed first.
    ChangedJobs,
    /// Jobs completed after an instant, the last changed first.
    CompletedJobs(Timestamp),
    /// Visits completed after an instant.
    CompletedVisits(Timestamp),
    /// Invoices changed after an instant, the last changed first.
    ChangedInvoices(Timestamp),
}

impl List {
    /// The stream its rows belong to.
    pub fn stream(&self) -> Stream {
        match self {
            Self::ChangedJobs | Self::CompletedJobs(_) => Stream::Jobs,
            Self::CompletedVisits(_) => Stream::Visits,
            Self::ChangedInvoices(_) => Stream::Invoices,
        }
    }
}

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its rows.
    pub records: Vec<Record>,
    /// The page cursor for the next one, if there is one. Valid inside this sweep only.
    pub next: Option<String>,
}

/// Which page of the clients that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardsRequest {
    /// Changed after this.
    pub since: Timestamp,
    /// The page cursor of the page before; `None` for the first page.
    pub after: Option<String>,
}

/// One page of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cards {
    /// Its rows.
    pub cards: Vec<ClientSnapshot>,
    /// The page cursor for the next one, if there is one.
    pub next: Option<String>,
}

/// What makes an ask nicer and may be missing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExtraFacts {
    /// Who did the work.
    pub crew: Vec<Person>,
    /// The job's newest invoice.
    pub invoice: Option<InvoiceFacts>,
}

/// A client of the API. Knows no accounts: every call takes a token.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    graphql: Url,
}

impl Client {
    /// A client for the API under `api_base`.
    pub fn new(http: reqwest::Client, api_base: &Url) -> Self {
        Self { http, graphql: below(api_base, "graphql") }
    }

    /// Whether the API answers at all, whatever it says, and what time it is there.
    pub async fn reach(&self) -> Result<Option<Timestamp>, ApiError> {
        let sent = self.http.get(self.graphql.clone()).timeout(TIMEOUT).send().await;
        Ok(answer::Head::of(&sent.map_err(|error| unavailable(&error))?).date)
    }

    /// The status of a page.
    pub async fn get(&self, page: Url) -> Result<u16, ApiError> {
        let sent = self.http.get(page).timeout(TIMEOUT).send().await;
        Ok(sent.map_err(|error| unavailable(&error))?.status().as_u16())
    }

    /// Whose account `token` opens.
    pub async fn identity(&self, token: &SecretString) -> Result<Answer<Identity>, ApiError> {
        let answer = self.whole::<ConnectedAccount>(token, queries::connected_account::Variables).await?;
        answer.and_then(convert::identity)
    }

    /// The time zone of the user who authorised; `None` where Jobber hides users from this app.
    pub async fn timezone(&self, token: &SecretString) -> Result<Answer<Option<String>>, ApiError> {
        match self.query::<ViewerTimezone>(token, queries::viewer_timezone::Variables).await {
            Ok(answer) => answer.and_then(|data| Ok(data.user.and_then(|user| user.timezone))),
            Err(ApiError::Hidden { detail }) => {
                Ok(Answer { data: None, date: None, cost: None, hidden: Some(detail) })
            }
            Err(error) => Err(error),
        }
    }

    /// One page of a list.
    pub async fn page(&self, token: &SecretString, page: &PageRequest) -> Result<Answer<Page>, ApiError> {
        let first = if page.after.is_some() { NEXT_PAGE } else { FIRST_PAGE };
        let after = page.after.clone();
        match page.list {
            List::ChangedJobs => {
                let variables = queries::jobs::Variables { filter: None, first, after };
                self.whole::<Jobs>(token, variables).await?.and_then(convert::jobs)
            }
            List::CompletedJobs(since) => {
                let filter = Some(convert::completed_after(since));
                let variables = queries::jobs::Variables { filter, first, after };
                self.whole::<Jobs>(token, variables).await?.and_then(convert::jobs)
            }
            List::CompletedVisits(since) => {
                let variables = queries::visits::Variables { since, first, after };
                self.whole::<Visits>(token, variables).await?.and_then(convert::visits)
            }
            List::ChangedInvoices(since) => {
                let variables = queries::invoices::Variables { since, first, after };
                self.whole::<Invoices>(token, variables).await?.and_then(convert::invoices)
            }
        }
    }

    /// One page of the clients that changed.
    pub async fn cards(&self, token: &SecretString, page: &CardsRequest) -> Result<Answer<Cards>, ApiError> {
        let first = if page.after.is_some() { NEXT_PAGE } else { FIRST_PAGE };
        let variables = queries::clients::Variables { since: page.since, first, after: page.after.clone() };
        self.whole::<Clients>(token, variables).await?.and_then(convert::cards)
    }

    /// Everything that decides about one piece of work; `None` if Jobber no longer has it.
    pub async fn details(
        &self,
        token: &SecretString,
        work: &WorkRef,
    ) -> Result<Answer<Option<Facts>>, ApiError> {
        let answer = self.whole::<Details>(token, convert::details_variables(work)).await?;
        answer.and_then(|data| Ok(convert::facts(data, work)))
    }

    /// What makes an ask nicer. What Jobber hides from this app, or does not answer in a way that can be used, is left
    /// out.
    pub async fn extras(&self, token: &SecretString, work: &WorkRef) -> Result<Answer<ExtraFacts>, ApiError> {
        match self.query::<Extras>(token, convert::extras_variables(work)).await {
            Ok(answer) => answer.and_then(|data| Ok(convert::extras(data))),
            // What could not be had for good is done without; what may be had later is waited for.
            Err(
                error @ (ApiError::Hidden { .. } | ApiError::Rejected { .. } | ApiError::Unexpected { .. }),
            ) => Ok(Answer {
                data: ExtraFacts::default(),
                date: None,
                cost: None,
                hidden: Some(error.to_string()),
            }),
            Err(error) => Err(error),
        }
    }

    /// Tells Jobber that this app gives the account up. The token is worth nothing afterwards.
    pub async fn disconnect(&self, token: &SecretString) -> Result<Answer<()>, ApiError> {
        let answer = self.whole::<Disconnect>(token, queries::disconnect::Variables).await?;
        answer.and_then(|data| match data.app_disconnect.user_errors.into_iter().next() {
            Some(error) => Err(ApiError::Rejected { detail: error.message }),
            None => Ok(()),
        })
    }

    /// Has Jobber send the events of `topic` to `url`; the endpoint's id.
    pub async fn event_on(
        &self,
        token: &SecretString,
        topic: Topic,
        url: &str,
    ) -> Result<Answer<EncodedId>, ApiError> {
        let topic = convert::topic(topic);
        let input = queries::event_on::WebhookEndpointCreateInput { topic, url: url.to_owned() };
        let answer = self.whole::<EventOn>(token, queries::event_on::Variables { input }).await?;
        answer.and_then(|data| {
            let payload = data.webhook_endpoint_create;
            match (payload.webhook_endpoint, payload.user_errors.into_iter().next()) {
                (Some(endpoint), _) => Ok(endpoint.id),
                (None, Some(error)) => Err(ApiError::Rejected { detail: error.message }),
                (None, None) => Err(ApiError::Unexpected { detail: "no endpoint and no error".to_owned() }),
            }
        })
    }

    /// Has Jobber send nothing more to these endpoints.
    pub async fn event_off(&self, token: &SecretString, ids: &[EncodedId]) -> Result<Answer<()>, ApiError> {
        let variables = queries::event_off::Variables { ids: ids.to_vec() };
        let answer = self.whole::<EventOff>(token, variables).await?;
        answer.and_then(|data| match data.webhook_endpoint_delete.user_errors.into_iter().next() {
            Some(error) => Err(ApiError::Rejected { detail: error.message }),
            None => Ok(()),
        })
    }

    /// An answer of which nothing is hidden.
    async fn whole<Q: GraphQLQuery>(
        &self,
        token: &SecretString,
        variables: Q::Variables,
    ) -> Result<Answer<Q::ResponseData>, ApiError> {
        let answer = self.query::<Q>(token, variables).await?;
        match answer.hidden {
            Some(detail) => Err(ApiError::Hidden { detail }),
            None => Ok(answer),
        }
    }

    async fn query<Q: GraphQLQuery>(
        &self,
        token: &SecretString,
        variables: Q::Variables,
    ) -> Result<Answer<Q::ResponseData>, ApiError> {
        let body = serde_json::to_vec(&Q::build_query(variables)).map_err(|error| ApiError::Unexpected {
            detail: format!("the query does not encode: {error}"),
        })?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
            .map_err(|_| ApiError::Unauthorized(Refusal::Unrecognised))?;
        bearer.set_sensitive(true);
        let response = self
            .http
            .post(self.graphql.clone())
            .timeout(TIMEOUT)
            .header(AUTHORIZATION, bearer)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .header(VERSION_HEADER, API_VERSION)
            .body(body)
            .send()
            .await
            .map_err(|error| unavailable(&error))?;
        let head = answer::Head::of(&response);
        let body = read(response).await?;
        answer::sort(&head, &body)
    }
}

/// `base` with `name` as one more segment of its path.
pub(crate) fn below(base: &Url, name: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{name}", base.path().trim_end_matches('/')));
    url
}

async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unavailable(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST_ANSWER {
            return Err(ApiError::Unexpected { detail: "the answer is too long".to_owned() });
        }
    }
    Ok(body)
}

fn unavailable(error: &reqwest::Error) -> ApiError {
    ApiError::Unavailable { detail: crate::outbound::error::describe(error).to_owned(), retry_after: None }
}

/// What the fuzzer's bytes came to.
#[cfg(feature = "fuzzing")]
pub(crate) enum Fuzzed {
    Records(Vec<Record>),
    Facts(Box<Facts>),
    Nothing,
}

/// Reads `body` as the answer to one of the queries.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzzed(query: u8, status: u16, body: &[u8], work: &WorkRef) -> Fuzzed {
    fn sorted<Q: GraphQLQuery>(status: u16, body: &[u8]) -> Option<Q::ResponseData> {
        let head = answer::Head { status, ..answer::Head::default() };
        match answer::sort::<Q::ResponseData>(&head, body) {
            Ok(answer) => {
                assert!(status == 200, "an answer out of a failure");
                Some(answer.data)
            }
            Err(error) => {
                assert!(error.to_string().len() < 1000, "a whole body in an error");
                None
            }
        }
    }
    let page = |page: Option<Result<Page, ApiError>>| match page {
        Some(Ok(page)) => Fuzzed::Records(page.records),
        _ => Fuzzed::Nothing,
    };
    match query {
        0 => page(sorted::<Jobs>(status, body).map(convert::jobs)),
        1 => page(sorted::<Visits>(status, body).map(convert::visits)),
        2 => page(sorted::<Invoices>(status, body).map(convert::invoices)),
        3 => {
            sorted::<ConnectedAccount>(status, body).map(convert::identity);
            Fuzzed::Nothing
        }
        7 => {
            if let Some(Ok(page)) = sorted::<Clients>(status, body).map(convert::cards) {
                assert!(page.cards.iter().all(|card| !card.differs(card)), "a card that differs from itself");
            }
            Fuzzed::Nothing
        }
        4 => {
            sorted::<Extras>(status, body).map(convert::extras);
            Fuzzed::Nothing
        }
        _ => match sorted::<Details>(status, body).and_then(|data| convert::facts(data, work)) {
            Some(facts) => Fuzzed::Facts(Box::new(facts)),
            None => Fuzzed::Nothing,
        },
    }
}
