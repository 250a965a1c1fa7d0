//! Sends requests to the API: one document with one token.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::answer::{Head, Refusal};
use super::operation::{Operation, RawAnswer};
use super::{API_VERSION, Answer, ApiError, below};
use crate::outbound::error::describe;
use crate::text::tidy;

const VERSION_HEADER: &str = "x-jobber-graphql-version";

/// Limit for the whole request, from connecting to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(30);

const QUOTED: usize = 300;

const LONGEST_ANSWER: usize = 16 * 1024 * 1024;

/// A client of the API. It knows no accounts: every call takes a token.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    graphql: Url,
}

impl Client {
    pub fn new(http: reqwest::Client, api_base: &Url) -> Self {
        Self { http, graphql: below(api_base, "graphql") }
    }

    pub async fn reach(&self) -> Result<Option<Timestamp>, ApiError> {
        let sent = self.http.get(self.graphql.clone()).timeout(TIMEOUT).send().await;
        Ok(Head::of(&sent.map_err(|error| unavailable(&error))?).date)
    }

    pub async fn get(&self, page: Url) -> Result<u16, ApiError> {
        let sent = self.http.get(page).timeout(TIMEOUT).send().await;
        Ok(sent.map_err(|error| unavailable(&error))?.status().as_u16())
    }

    pub async fn run<O: Operation>(
        &self,
        token: &SecretString,
        operation: &O,
    ) -> Result<Answer<O::Output>, ApiError> {
        let (head, body) = self.post(token, API_VERSION, operation.request()?).await?;
        operation.read(RawAnswer::new(head, &body))
    }

    /// Sends a request as it is and returns what came, whatever it says.
    pub async fn exchange(
        &self,
        token: &SecretString,
        version: &str,
        body: Vec<u8>,
    ) -> Result<Exchange, ApiError> {
        let (head, body) = self.post(token, version, body).await?;
        let body = serde_json::from_slice(&body).unwrap_or_else(|_| Value::String("no JSON".to_owned()));
        Ok(Exchange { status: head.status, body })
    }

    async fn post(
        &self,
        token: &SecretString,
        version: &str,
        body: Vec<u8>,
    ) -> Result<(Head, Vec<u8>), ApiError> {
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
            .header(VERSION_HEADER, version)
            .body(body)
            .send()
            .await
            .map_err(|error| if error.is_connect() { unreachable(&error) } else { unavailable(&error) })?;
        let head = Head::of(&response);
        Ok((head, read(response).await?))
    }
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    pub status: u16,
    pub body: Value,
}

impl Exchange {
    /// The messages of errors at the top and of a mutation's `userErrors`. `None` if there are none.
    pub fn errors(&self) -> Option<String> {
        let messages = |errors: &Value| {
            let errors = errors.as_array().cloned().unwrap_or_default();
            errors.iter().filter_map(|error| error["message"].as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let mut found = messages(&self.body["errors"]);
        found.extend(self.body["message"].as_str().map(str::to_owned));
        let payloads = self.body["data"].as_object().into_iter().flat_map(|data| data.values());
        found.extend(payloads.flat_map(|payload| messages(&payload["userErrors"])));
        (!found.is_empty()).then(|| tidy(&found.join("; "), QUOTED))
    }
}

async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unavailable(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST_ANSWER {
            return Err(ApiError::Unavailable {
                detail: "the answer is too long".to_owned(),
                retry_after: None,
            });
        }
    }
    Ok(body)
}

fn unreachable(error: &reqwest::Error) -> ApiError {
    ApiError::Unreachable { detail: describe(error).to_owned() }
}

fn unavailable(error: &reqwest::Error) -> ApiError {
    ApiError::Unavailable { detail: describe(error).to_owned(), retry_after: None }
}
