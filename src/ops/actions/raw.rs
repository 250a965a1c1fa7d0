//! The raw call: any document.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Caller, OpError, account_of, affordable, allowed, from_session, from_write, key_of, printed};
use crate::context::Context;
use crate::digest;
use crate::domain::actions::API;
use crate::domain::model::{ActionOutcome, Objection};
use crate::jobber::input::Input;
use crate::jobber::operations::{Query, Request};
use crate::jobber::schema::Document;
use crate::ops::actions::ActionStatus;
use crate::workers::actions::Write;

/// A document that somebody wrote.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RawCall {
    /// Id or name. If absent, the only account.
    pub account: Option<String>,
    pub query: String,
    /// The operation that is meant, if there are several.
    pub operation: Option<String>,
    pub variables: Map<String, Value>,
    /// Variables as text, typed by the schema.
    pub data: Vec<(String, String)>,
    /// A name for a mutation, under which it is done once.
    pub key: Option<String>,
    pub is_confirmed: bool,
    /// Only says what would be sent.
    pub only_print: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RawReply {
    pub status: ActionStatus,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
    /// The estimated cost in points.
    pub cost: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Objection>,
    /// What would be sent.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub request: Value,
}

/// Sends a document.
pub async fn raw(context: &Context, caller: Caller, call: RawCall) -> Result<RawReply, OpError> {
    let account = account_of(context, &caller, call.account.as_deref()).await?;
    if !caller.may(API) {
        return Err(super::forbidden(&caller, API));
    }
    let document = Document::parse(&call.query, call.operation.as_deref())
        .map_err(|error| OpError::Refused(error.to_string()))?;
    let is_mutation = document.is_mutation();
    let mut input = Input::new(&document, None, context.settings.zone_of(&account));
    // The document and all its values are their writer's.
    input.as_written();
    let asked = digest::of(&[
        &call.query,
        call.operation.as_deref().unwrap_or_default(),
        &Value::Object(call.variables.clone()).to_string(),
        &serde_json::to_string(&call.data).unwrap_or_default(),
    ]);
    input.begin_with(call.variables);
    for (path, text) in &call.data {
        input.put_text(path, text)?;
    }
    let request = Request { document, variables: input.finish()?, kind: API };
    affordable(&request)?;
    let mut reply = RawReply {
        status: ActionStatus::Done,
        data: Value::Null,
        cost: request.cost(),
        words: None,
        key: None,
        errors: Vec::new(),
        request: Value::Null,
    };
    if call.only_print {
        (reply.status, reply.request) = (ActionStatus::NotSent, printed(&request));
        return Ok(reply);
    }
    if !is_mutation {
        let answer = context.session.run(&account.id, &Query(request)).await.map_err(from_session)?;
        reply.data = answer.data;
        if let Some(hidden) = answer.hidden {
            (reply.status, reply.words) = (ActionStatus::Partly, Some(hidden));
        }
        return Ok(reply);
    }
    allowed(context, &caller, API)?;
    if let Some(payload) = request.document.payloads().into_iter().find(|payload| payload.errors.is_none()) {
        return Err(OpError::Refused(format!(
            "select userErrors {{ message path }} in {}: without them nobody knows whether Jobber refused it",
            payload.key
        )));
    }
    if !call.is_confirmed {
        let roots = request.document.roots().join(", ");
        reply.status = ActionStatus::NeedsYes;
        reply.words = Some(format!("the mutation {roots} is done in {}", account.name));
        return Ok(reply);
    }
    let write = Write {
        account: account.id.clone(),
        key: key_of(call.key.as_deref())?,
        action: API.to_owned(),
        by: caller.name(),
        target: None,
        input: asked,
        requests: vec![("", request)],
    };
    let record = context.writer.write(write).await.map_err(from_write)?;
    reply.key = Some(record.key);
    match record.outcome {
        ActionOutcome::Done { answer, .. } => reply.data = answer,
        ActionOutcome::Refused { errors, .. } => {
            (reply.status, reply.errors) = (ActionStatus::Refused, errors);
        }
        ActionOutcome::Partly { answer, errors, .. } => {
            (reply.status, reply.data, reply.errors) = (ActionStatus::Partly, answer, errors);
        }
        ActionOutcome::Unknown { detail, .. } => {
            reply.status = ActionStatus::Unknown;
            reply.words = Some(format!(
                "what became of it is not known ({detail}); it is not sent again: look in Jobber first"
            ));
        }
        ActionOutcome::Begun => reply.status = ActionStatus::Unknown,
    }
    Ok(reply)
}
