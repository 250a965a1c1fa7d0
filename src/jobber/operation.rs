//! What can be asked of Jobber's API, one type for each.

use graphql_client::GraphQLQuery;

use super::answer::{self, Head};
use super::{Answer, ApiError};

/// A query or a mutation: its document with its variables, what is made of the answer, and what it costs.
///
/// Everything about an operation stands in its `impl`; `Session::run` carries any of them out.
pub trait Operation: Send + Sync {
    /// What is made of the answer.
    type Output: Send;

    /// Operations of one kind cost the same number of points.
    fn kind(&self) -> &'static str;

    /// The body of the request.
    fn request(&self) -> Result<Vec<u8>, ApiError>;

    /// Reads the answer.
    fn read(&self, answer: RawAnswer<'_>) -> Result<Answer<Self::Output>, ApiError>;
}

/// Encodes a document with its variables.
pub(super) fn encode<Q: GraphQLQuery>(variables: Q::Variables) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(&Q::build_query(variables))
        .map_err(|error| ApiError::Unexpected { detail: format!("the query does not encode: {error}") })
}

/// An answer that nobody has read yet.
#[derive(Debug, Clone)]
pub struct RawAnswer<'a> {
    head: Head,
    body: &'a [u8],
}

impl<'a> RawAnswer<'a> {
    pub(super) fn new(head: Head, body: &'a [u8]) -> Self {
        Self { head, body }
    }

    /// An answer from which nothing is hidden.
    pub(super) fn whole<Q: GraphQLQuery>(&self) -> Result<Answer<Q::ResponseData>, ApiError> {
        let answer = self.partial::<Q>()?;
        match answer.hidden {
            Some(detail) => Err(ApiError::Hidden { detail }),
            None => Ok(answer),
        }
    }

    /// An answer from which Jobber may have hidden something.
    pub(super) fn partial<Q: GraphQLQuery>(&self) -> Result<Answer<Q::ResponseData>, ApiError> {
        answer::sort(&self.head, self.body)
    }
}
