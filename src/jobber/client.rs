//! Sends requests to the API: one document with one token.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::answer::{Head, Refusal};
use super::operation::{Operation, RawAnswer};
use super::{API_VERSION, Answer, ApiError, below};
use crate::outbound::error::describe;

const VERSION_HEADER: &str = "x-jobber-graphql-version";

/// Limit for the whole request, from connecting to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(30);

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
        let body = operation.request()?;
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
        let head = Head::of(&response);
        let body = read(response).await?;
        operation.read(RawAnswer::new(head, &body))
    }
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
    ApiError::Unavailable { detail: describe(error).to_owned(), retry_after: None }
}
