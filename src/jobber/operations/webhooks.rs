//! Jobber's webhooks: create and delete endpoints.

use super::accepted;
use crate::domain::webhook_event::Topic;
use crate::jobber::operation::{Operation, RawAnswer, encode};
use crate::jobber::query::{EncodedId, query};
use crate::jobber::{Answer, ApiError, UserError};

query!(EventOn, "graphql/event_on.graphql");
query!(EventOff, "graphql/event_off.graphql");

/// Creates an endpoint for the events of a topic. Returns its id.
#[derive(Debug, Clone)]
pub struct Subscribe {
    pub topic: Topic,
    pub url: String,
}

impl Operation for Subscribe {
    type Output = EncodedId;

    fn kind(&self) -> &'static str {
        "event on"
    }

    fn request(&self) -> Result<Vec<u8>, ApiError> {
        let input =
            event_on::WebhookEndpointCreateInput { topic: theirs(self.topic)?, url: self.url.clone() };
        encode::<EventOn>(event_on::Variables { input })
    }

    fn read(&self, answer: RawAnswer<'_>) -> Result<Answer<EncodedId>, ApiError> {
        answer.whole::<EventOn>()?.and_then(|data| {
            let payload = data.webhook_endpoint_create;
            if let Some(endpoint) = payload.webhook_endpoint {
                return Ok(endpoint.id);
            }
            let errors = payload.user_errors.into_iter();
            accepted(errors.map(|error| UserError { message: error.message, path: error.path }))?;
            Err(ApiError::Unexpected { detail: "no endpoint and no error".to_owned() })
        })
    }
}

#[derive(Debug, Clone)]
pub struct Unsubscribe {
    pub endpoints: Vec<EncodedId>,
}

impl Operation for Unsubscribe {
    type Output = ();

    fn kind(&self) -> &'static str {
        "event off"
    }

    fn request(&self) -> Result<Vec<u8>, ApiError> {
        encode::<EventOff>(event_off::Variables { ids: self.endpoints.clone() })
    }

    fn read(&self, answer: RawAnswer<'_>) -> Result<Answer<()>, ApiError> {
        answer.whole::<EventOff>()?.and_then(|data| {
            let errors = data.webhook_endpoint_delete.user_errors.into_iter();
            accepted(errors.map(|error| UserError { message: error.message, path: error.path }))
        })
    }
}

fn theirs(topic: Topic) -> Result<event_on::WebHookTopicEnum, ApiError> {
    serde_json::from_value(topic.as_str().into())
        .map_err(|error| ApiError::Unexpected { detail: format!("the topic {}: {error}", topic.as_str()) })
}
