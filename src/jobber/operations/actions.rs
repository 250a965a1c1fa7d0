//! Documents that are not known when the program is built: actions and the raw call.

use serde_json::{Map, Value, json};

use crate::jobber::operation::{Operation, RawAnswer};
use crate::jobber::schema::{Document, Payload};
use crate::jobber::{Answer, ApiError, UserError};

/// A document with its variables.
#[derive(Debug, Clone)]
pub struct Request {
    pub document: Document,
    pub variables: Map<String, Value>,
    /// Requests of one kind cost the same number of points.
    pub kind: &'static str,
}

impl Request {
    /// What is sent.
    pub fn body(&self) -> Value {
        let mut body = json!({"query": self.document.text(), "variables": self.variables});
        if let Some(name) = self.document.operation() {
            body["operationName"] = name.into();
        }
        body
    }

    pub fn cost(&self) -> u64 {
        self.document.cost(&self.variables)
    }

    fn encode(&self) -> Vec<u8> {
        self.body().to_string().into_bytes()
    }
}

/// A query. Its answer is shown, not decided on.
#[derive(Debug, Clone)]
pub struct Query(pub Request);

impl Operation for Query {
    type Output = Value;

    fn kind(&self) -> &'static str {
        self.0.kind
    }

    fn request(&self) -> Result<Vec<u8>, ApiError> {
        Ok(self.0.encode())
    }

    fn cost(&self) -> Option<u64> {
        Some(self.0.cost())
    }

    /// What Jobber hides beside data is told with the answer.
    fn read(&self, answer: RawAnswer<'_>) -> Result<Answer<Value>, ApiError> {
        answer.data()
    }
}

/// A mutation.
#[derive(Debug, Clone)]
pub struct Mutation(pub Request);

/// What an answer says about a mutation.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Done(Value),
    /// Nothing was done.
    Refused(Vec<UserError>),
    Partly(Value, Vec<UserError>),
    /// It may have been done: the answer does not say.
    Unknown(String),
}

impl Operation for Mutation {
    type Output = Verdict;

    fn kind(&self) -> &'static str {
        self.0.kind
    }

    fn request(&self) -> Result<Vec<u8>, ApiError> {
        Ok(self.0.encode())
    }

    fn cost(&self) -> Option<u64> {
        Some(self.0.cost())
    }

    /// An error means that Jobber did not run it, or any part of it.
    fn read(&self, answer: RawAnswer<'_>) -> Result<Answer<Verdict>, ApiError> {
        let unknown = |detail: String| Ok(Answer::of(Verdict::Unknown(detail)));
        let payloads = self.0.document.payloads();
        // Parts of a mutation run one after the other: that one is hidden says nothing about the others.
        let is_hidden = |hidden: &str| is_of_mutation(hidden) && payloads.len() == 1 && !answer.has_records();
        match answer.data() {
            Ok(answer) => match &answer.hidden {
                Some(hidden) if is_hidden(hidden) => Err(ApiError::Hidden { detail: hidden.clone() }),
                Some(hidden) => unknown(hidden.clone()),
                None => answer.and_then(|data| Ok(verdict(&payloads, data))),
            },
            Err(ApiError::Hidden { detail }) if !is_hidden(&detail) => unknown(detail),
            Err(ApiError::Rejected { detail }) if answer.has_data() => unknown(detail),
            Err(
                error @ (ApiError::Unavailable { .. }
                | ApiError::Unexpected { .. }
                | ApiError::WrongVersion { .. }),
            ) => unknown(error.to_string()),
            // Whatever else it says, something ran.
            Err(error) if answer.has_records() => unknown(error.to_string()),
            Err(error) => Err(error),
        }
    }
}

/// `The field jobClose on an object of type Mutation was hidden due to permissions` (`api-behaviour.md` §3).
fn is_of_mutation(hidden: &str) -> bool {
    hidden.contains("type Mutation ")
}

fn verdict(payloads: &[Payload], data: Value) -> Verdict {
    let (mut done, mut errors) = (0, Vec::new());
    let is_there = |value: &Value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        _ => true,
    };
    for Payload { key, is_optional, errors: errors_key, records } in payloads {
        let payload = match data.get(key) {
            None if *is_optional => continue,
            payload => payload.and_then(Value::as_object),
        };
        let Some(payload) = payload else {
            return Verdict::Unknown(format!("the answer has no {key}"));
        };
        let objections = errors_key.as_ref().and_then(|key| payload.get(key)?.as_array());
        let objections = objections.cloned().unwrap_or_default();
        let has_record = records.iter().any(|record| payload.get(record).is_some_and(is_there));
        if objections.is_empty() && !records.is_empty() && !has_record {
            return Verdict::Unknown(format!("{key} was answered without a record and without an error"));
        }
        done += usize::from(has_record || objections.is_empty());
        errors.extend(objections.iter().map(|error| {
            UserError {
                message: error["message"].as_str().unwrap_or("refused without words").to_owned(),
                path: error["path"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|step| step.as_str().map(str::to_owned))
                    .collect(),
            }
        }));
    }
    match (errors.is_empty(), done) {
        (true, _) => Verdict::Done(data),
        (false, 0) => Verdict::Refused(errors),
        (false, _) => Verdict::Partly(data, errors),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobber::answer::Head;

    fn read(status: u16, body: &Value) -> Result<Verdict, ApiError> {
        read_as(include_str!("../../../graphql/actions/visits_create.graphql"), status, body)
    }

    fn read_as(text: &str, status: u16, body: &Value) -> Result<Verdict, ApiError> {
        let document = Document::parse(text, None).unwrap();
        let request = Request { document, variables: Map::new(), kind: "visits.create" };
        let text = body.to_string();
        let head = Head { status, ..Head::default() };
        Mutation(request).read(RawAnswer::new(head, text.as_bytes())).map(|answer| answer.data)
    }

    fn payload(visits: Value, errors: Value) -> Value {
        json!({"data": {"visitCreate": {"createdVisits": visits, "userErrors": errors}}})
    }

    #[test]
    fn only_a_record_without_objections_is_done() {
        let errors = json!([{"message": "Title is too long", "path": ["input", "title"]}]);
        assert!(matches!(read(200, &payload(json!([{"id": "a"}]), json!([]))), Ok(Verdict::Done(_))));
        let Ok(Verdict::Refused(refused)) = read(200, &payload(json!([]), errors.clone())) else {
            panic!("refused")
        };
        assert_eq!(refused[0].path, ["input", "title"]);
        assert!(matches!(read(200, &payload(json!([{"id": "a"}]), errors)), Ok(Verdict::Partly(..))));
        assert!(matches!(read(200, &payload(json!([]), json!([]))), Ok(Verdict::Unknown(_))));
    }

    /// Whatever one part of a document says, another may have run.
    #[test]
    fn a_document_of_several_parts_did_not_run_only_if_nothing_did() {
        let both = "mutation { a: clientUnarchive(clientId: \"x\") { client { id } userErrors { message path } } ...F } fragment F on Mutation { b: jobReopen(jobId: \"y\") { __typename job { id } said: userErrors { message path } } }";
        let hidden = json!([{"message": "The field jobReopen on an object of type Mutation was hidden due to permissions"}]);
        for data in [Value::Null, json!({"a": {"client": {"id": "x"}, "userErrors": []}, "b": null})] {
            let answer = json!({"data": data, "errors": hidden});
            assert!(matches!(read_as(both, 200, &answer), Ok(Verdict::Unknown(_))), "{answer}");
        }
        let throttled = json!({"data": {"a": {"client": {"id": "x"}, "userErrors": []}, "b": null}, "errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]});
        assert!(matches!(read_as(both, 200, &throttled), Ok(Verdict::Unknown(_))));
        let done = json!({"client": {"id": "x"}, "userErrors": []});
        let refused =
            json!({"__typename": "JobReopenPayload", "job": null, "said": [{"message": "no", "path": []}]});
        let answer = json!({"data": {"a": done, "b": refused}});
        assert!(matches!(read_as(both, 200, &answer), Ok(Verdict::Partly(..))));
        let one = "mutation { ...F } fragment F on Mutation { jobReopen(jobId: \"y\") { __typename job { id } userErrors { message path } } }";
        let answer = json!({"data": {"jobReopen": {"__typename": "x", "job": null, "userErrors": [{"message": "no", "path": []}]}}});
        assert!(matches!(read_as(one, 200, &answer), Ok(Verdict::Refused(_))));
    }

    #[test]
    fn what_may_have_run_is_unknown_and_what_did_not_run_is_an_error() {
        let hidden =
            |of: &str| json!([{"message": format!("An object of {of} was hidden due to permissions")}]);
        let beside = payload(json!([{"id": "a"}]), json!([]));
        let mut beside_errors = beside.clone();
        beside_errors["errors"] = json!([{"message": "Something went wrong"}]);
        let unknown = [
            (500, json!({"message": "Service temporarily unavailable"})),
            (200, json!({"message": "Service temporarily unavailable"})),
            (200, json!({"data": null})),
            (200, json!({"data": {"visitCreate": null}})),
            (200, json!({"data": null, "errors": hidden("type User")})),
            (200, json!({"data": {"visitCreate": null}, "errors": hidden("type Visit")})),
            (200, json!({"data": null, "errors": [{"message": "Internal error"}]})),
            (200, beside_errors),
            (200, json!({"data": beside["data"], "extensions": {"versioning": {"version": "2022-09-01"}}})),
            (302, json!({})),
        ];
        for (status, body) in unknown {
            assert!(matches!(read(status, &body), Ok(Verdict::Unknown(_))), "{status} {body}");
        }
        let did_not_run = [
            (401, json!({"message": "Access token expired"})),
            (429, json!({"message": "Too many requests"})),
            (200, json!({"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]})),
            (
                200,
                json!({"errors": [{"message": "Variable $input is invalid", "extensions": {"problems": []}}]}),
            ),
            (
                200,
                json!({"data": null, "errors": [{"message": "The field visitCreate on an object of type Mutation was hidden due to permissions"}]}),
            ),
        ];
        for (status, body) in did_not_run {
            assert!(read(status, &body).is_err(), "{status} {body}");
        }
    }
}
