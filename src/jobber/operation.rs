//! Operations of Jobber's API.

use graphql_client::GraphQLQuery;
use jiff::Timestamp;

use super::answer::{self, Head};
use super::{Answer, ApiError};
use crate::domain::model::EncodedId;

/// A query or mutation: its document with variables, the conversion of its answer, and its kind for the cost.
///
/// `Session::run` runs it.
pub trait Operation: Send + Sync {
    type Output: Send;

    /// Operations of one kind cost the same number of points.
    fn kind(&self) -> &'static str;

    /// What it costs in points, if that is known before. Otherwise the last one of its kind says it.
    fn cost(&self) -> Option<u64> {
        None
    }

    fn request(&self) -> Result<Vec<u8>, ApiError>;

    fn read(&self, answer: RawAnswer<'_>) -> Result<Answer<Self::Output>, ApiError>;
}

/// A query for a page of a list.
pub trait ListOperation: Operation {
    type Row: Listed + Send;

    /// The same list, from a cursor on.
    fn at_cursor(&self, cursor: Option<String>) -> Self;

    /// The rows of a page, and the cursor of the next one if there is one.
    fn split(page: Self::Output) -> (Vec<Self::Row>, Option<String>);
}

/// A row of a list.
pub trait Listed {
    fn id(&self) -> &EncodedId;

    /// The instant by which the list is sorted or filtered.
    fn at(&self) -> Option<Timestamp>;
}

pub(super) fn encode<Q: GraphQLQuery>(variables: Q::Variables) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(&Q::build_query(variables))
        .map_err(|error| ApiError::Unexpected { detail: format!("the query does not encode: {error}") })
}

#[derive(Debug, Clone)]
pub struct RawAnswer<'a> {
    head: Head,
    body: &'a [u8],
}

impl<'a> RawAnswer<'a> {
    pub(super) fn new(head: Head, body: &'a [u8]) -> Self {
        Self { head, body }
    }

    /// Reads an answer in which nothing may be hidden.
    pub(super) fn whole<Q: GraphQLQuery>(&self) -> Result<Answer<Q::ResponseData>, ApiError> {
        let answer = self.partial::<Q>()?;
        match answer.hidden {
            Some(detail) => Err(ApiError::Hidden { detail }),
            None => Ok(answer),
        }
    }

    /// Reads an answer of any shape, in which Jobber may have hidden something.
    pub(super) fn data(&self) -> Result<Answer<serde_json::Value>, ApiError> {
        answer::sort(&self.head, self.body)
    }

    /// Whether there is anything in `data`: then a part of it ran.
    pub(super) fn has_records(&self) -> bool {
        let body = serde_json::from_slice::<serde_json::Value>(self.body).unwrap_or_default();
        let data = body.get("data").and_then(serde_json::Value::as_object);
        data.is_some_and(|data| data.values().any(|value| !value.is_null()))
    }

    /// Whether there is a `data` beside the errors, be it null: then Jobber began to run it.
    pub(super) fn has_data(&self) -> bool {
        let body = serde_json::from_slice::<serde_json::Value>(self.body);
        body.is_ok_and(|body| body.get("data").is_some())
    }

    /// Reads an answer in which Jobber may have hidden something.
    pub(super) fn partial<Q: GraphQLQuery>(&self) -> Result<Answer<Q::ResponseData>, ApiError> {
        answer::sort(&self.head, self.body)
    }
}
