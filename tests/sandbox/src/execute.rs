//! Runs GraphQL: parse, validate, set variables, hide, execute. Cost, tokens and failures are handled
//! elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use apollo_compiler::executable::{Operation, OperationType, Selection, SelectionSet};
use apollo_compiler::request::coerce_variable_values;
use apollo_compiler::resolvers::{Execution, FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use apollo_compiler::response::{JsonMap, serde_json_bytes};
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Schema};
use serde_json::{Value, json};

use super::cost;
use super::hooks;
use super::mutate::{self, Payload, Target};
use super::resolve::{QueryRoot, Snapshot, plain};
use super::world::{Kind, World};
use super::{SCHEMA, Shared};

/// Maximum number of cached documents.
const DOCUMENTS: usize = 256;

pub(super) struct Executor {
    schema: Valid<Schema>,
    documents: Mutex<HashMap<String, Arc<Valid<ExecutableDocument>>>>,
}

/// A validated document with its variables.
pub(super) struct Prepared {
    document: Arc<Valid<ExecutableDocument>>,
    operation_name: Option<String>,
    variables: Valid<JsonMap>,
}

/// An incoming request.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Request {
    pub(super) query: String,
    #[serde(default)]
    pub(super) variables: Option<Value>,
    #[serde(default, rename = "operationName")]
    pub(super) operation_name: Option<String>,
}

impl Executor {
    pub(super) fn new() -> Result<Self, String> {
        let schema =
            Schema::parse_and_validate(SCHEMA, "schema.graphql").map_err(|error| error.errors.to_string())?;
        Ok(Self { schema, documents: Mutex::default() })
    }

    /// Parses and validates. The error is the answer to send.
    pub(super) fn prepare(&self, request: &Request) -> Result<Prepared, Value> {
        let document = self.document(&request.query)?;
        let operation_name = request.operation_name.clone().filter(|name| !name.is_empty());
        let operation = document
            .operations
            .get(operation_name.as_deref())
            .map_err(|error| json!({"errors": [{"message": error.message().to_string()}]}))?;
        let raw = match &request.variables {
            None | Some(Value::Null) => JsonMap::new(),
            Some(given) => match serde_json_bytes::to_value(given) {
                Ok(serde_json_bytes::Value::Object(map)) => map,
                _ => return Err(json!({"errors": [{"message": "variables must be an object"}]})),
            },
        };
        let variables = coerce_variable_values(&self.schema, operation, &raw).map_err(|error| {
            let message = error.message().to_string();
            json!({"errors": [{"message": message, "extensions": {"value": null, "problems": [{"path": [], "explanation": message}]}}]})
        })?;
        Ok(Prepared { document, operation_name, variables })
    }

    fn document(&self, query: &str) -> Result<Arc<Valid<ExecutableDocument>>, Value> {
        let mut documents = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(document) = documents.get(query) {
            return Ok(Arc::clone(document));
        }
        match ExecutableDocument::parse_and_validate(&self.schema, query, "query.graphql") {
            Ok(document) => {
                let document = Arc::new(document);
                if documents.len() >= DOCUMENTS {
                    documents.clear();
                }
                documents.insert(query.to_owned(), Arc::clone(&document));
                Ok(document)
            }
            Err(error) => {
                let errors: Vec<Value> =
                    error.errors.iter().map(|error| json!({"message": error.error.to_string()})).collect();
                Err(json!({ "errors": errors }))
            }
        }
    }
}

impl Prepared {
    fn operation(&self) -> Option<&Operation> {
        self.document.operations.get(self.operation_name.as_deref()).ok().map(|operation| &**operation)
    }

    /// The name of the operation.
    pub(super) fn name(&self) -> String {
        self.operation()
            .and_then(|operation| operation.name.as_ref())
            .map_or_else(|| "anonymous".to_owned(), ToString::to_string)
    }

    /// Its estimated cost.
    pub(super) fn requested(&self, page_info_per_row: bool) -> u64 {
        self.operation().map_or(0, |operation| {
            cost::requested(&self.document, operation, &self.variables, page_info_per_row)
        })
    }

    /// Jobber's message for the first selected field that is hidden from the app.
    pub(super) fn hidden(&self, hidden: &[String]) -> Option<String> {
        let operation = self.operation()?;
        self.hidden_in(&operation.selection_set, hidden)
    }

    fn hidden_in(&self, set: &SelectionSet, hidden: &[String]) -> Option<String> {
        set.selections.iter().find_map(|selection| match selection {
            Selection::Field(field) => {
                let name = format!("{}.{}", set.ty, field.name);
                if hidden.contains(&name) {
                    return Some(format!(
                        "The field {} on an object of type {} was hidden due to permissions",
                        field.name, set.ty
                    ));
                }
                self.hidden_in(&field.selection_set, hidden)
            }
            Selection::InlineFragment(inline) => self.hidden_in(&inline.selection_set, hidden),
            Selection::FragmentSpread(spread) => {
                let fragment = self.document.fragments.get(&spread.fragment_name)?;
                self.hidden_in(&fragment.selection_set, hidden)
            }
        })
    }
}

/// The caller of a document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub(super) account: u64,
    pub(super) viewer: u64,
    /// Whether the caller is the app, from which things can be hidden, and not a person in Jobber.
    pub(super) is_app: bool,
}

/// Runs a document. Returns the answer and its cost.
pub(super) fn run(shared: &Shared, caller: Caller, prepared: &Prepared) -> (Value, u64) {
    let Some(operation) = prepared.operation() else { return (json!({"errors": []}), 0) };
    let Some(snapshot) = snapshot(&shared.world(), caller) else {
        return (json!({"errors": []}), 0);
    };
    let execution = Execution::new(&shared.executor.schema, &prepared.document)
        .operation(operation)
        .coerced_variable_values(&prepared.variables)
        .enable_schema_introspection(true);
    let result = match operation.operation_type {
        OperationType::Mutation => execution.execute_sync(&MutationRoot { shared, caller }),
        OperationType::Query | OperationType::Subscription => execution.execute_sync(&QueryRoot(&snapshot)),
    };
    let mut answer = match result {
        Ok(response) => serde_json::to_value(response).unwrap_or(Value::Null),
        Err(error) => json!({"errors": [{"message": error.message().to_string()}]}),
    };
    if let Some(errors) = answer.get_mut("errors").and_then(Value::as_array_mut) {
        for error in errors {
            let words = error.get("message").and_then(Value::as_str).unwrap_or_default();
            let words = words.strip_prefix("resolver error: ").unwrap_or(words).to_owned();
            error["message"] = words.into();
        }
    }
    let cost = answer.get("data").map_or(0, |data| cost::actual(&prepared.document, operation, data));
    (answer, cost)
}

/// Runs an operation as the account's first user, without tokens, cost, failures and scopes.
pub(super) fn privileged(shared: &Shared, account: u64, query: &str, variables: Value) -> Value {
    let request = Request { query: query.to_owned(), variables: Some(variables), operation_name: None };
    let viewer = shared
        .world()
        .accounts
        .get(&account)
        .and_then(|account| account.data.table(Kind::User).map(|(number, _)| number).next());
    match shared.executor.prepare(&request) {
        Ok(prepared) => {
            run(shared, Caller { account, viewer: viewer.unwrap_or_default(), is_app: false }, &prepared).0
        }
        Err(answer) => answer,
    }
}

fn snapshot(world: &World, caller: Caller) -> Option<Snapshot> {
    let now = world.now();
    let account = world.accounts.get(&caller.account)?;
    let mut switches = account.switches.clone();
    if !caller.is_app {
        switches.hidden_types.clear();
    }
    Some(Snapshot { data: Arc::clone(&account.data), viewer: caller.viewer, switches, now })
}

/// The root of a mutation. Its fields run one after the other.
struct MutationRoot<'s> {
    shared: &'s Shared,
    caller: Caller,
}

impl ObjectValue for MutationRoot<'_> {
    fn type_name(&self) -> &'static str {
        "Mutation"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        let mut world = self.shared.world();
        let (account, arguments) = (self.caller.account, plain(info.arguments()));
        let payload = hooks::watched(&mut world, account, |world| {
            mutate::mutate(world, account, info.field_name(), &arguments)
        });
        let payload = payload.map_err(|message| FieldError { message })?;
        let Some(snapshot) = snapshot(&world, self.caller) else {
            return Err(FieldError { message: "no such account".to_owned() });
        };
        let type_name = info.field_definition().ty.inner_named_type().to_string();
        Ok(ResolvedValue::object(PayloadObject { snapshot, payload, type_name }))
    }
}

struct PayloadObject {
    snapshot: Snapshot,
    payload: Payload,
    type_name: String,
}

impl ObjectValue for PayloadObject {
    fn type_name(&self) -> &str {
        &self.type_name
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        if info.field_name() == "userErrors" {
            return Ok(ResolvedValue::list(
                self.payload.user_errors.iter().map(|error| ResolvedValue::object(UserError(error))),
            ));
        }
        let target = self.payload.fields.iter().find(|(name, _)| *name == info.field_name());
        match target.map(|(_, target)| target) {
            Some(Target::One(kind, number)) => self.snapshot.one(*kind, *number),
            Some(Target::Values(of, values)) => Ok(super::resolve::values(of, values)),
            Some(Target::Many(kind, numbers)) => Ok(self.snapshot.many(*kind, numbers)),
            Some(Target::Nothing) | None => Ok(ResolvedValue::null()),
        }
    }
}

struct UserError<'e>(&'e Value);

impl ObjectValue for UserError<'_> {
    fn type_name(&self) -> &'static str {
        "MutationErrors"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        let value = self.0.get(info.field_name()).cloned().unwrap_or(Value::Null);
        match value {
            Value::Array(items) => Ok(ResolvedValue::list(
                items
                    .into_iter()
                    .map(|item| ResolvedValue::leaf(item.as_str().unwrap_or_default().to_owned())),
            )),
            other => Ok(ResolvedValue::leaf(other.as_str().unwrap_or_default().to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documented examples (`api-behaviour.md` §3, Cost).
    #[test]
    fn the_documented_examples_of_cost() {
        let executor = Executor::new().unwrap();
        let cost = |query: &str, variables: Value| {
            let request =
                Request { query: query.to_owned(), variables: Some(variables), operation_name: None };
            executor.prepare(&request).map(|prepared| prepared.requested(true)).unwrap()
        };
        let five = "edges { node { id title cost quoteNumber quoteStatus } }";
        let one = "query ($id: EncodedId!) { quote(id: $id) { id cost title client { id firstName } } }";
        assert_eq!(cost(one, json!({"id": "MQ=="})), 7);
        assert_eq!(cost(&format!("{{ quotes(first: 10) {{ {five} }} }}"), Value::Null), 50);
        assert_eq!(cost(&format!("{{ quotes {{ {five} }} }}"), Value::Null), 500);
        let variable = format!("query ($n: Int!) {{ quotes(first: $n) {{ {five} }} }}");
        assert_eq!(cost(&variable, json!({"n": 3})), 15);
    }

    #[test]
    fn what_is_skipped_costs_nothing_and_nesting_multiplies() {
        let executor = Executor::new().unwrap();
        let cost = |query: &str, per_row: bool| {
            let request = Request { query: query.to_owned(), variables: None, operation_name: None };
            executor.prepare(&request).map(|prepared| prepared.requested(per_row)).unwrap()
        };
        assert_eq!(cost("{ jobs(first: 10) { nodes { id title @include(if: false) } } }", true), 10);
        assert_eq!(cost("{ jobs(first: 10) { nodes { visits(first: 5) { nodes { id } } } } }", true), 50);
        let paged = "{ jobs(first: 10) { nodes { id } pageInfo { hasNextPage endCursor } } }";
        assert_eq!(cost(paged, true), 40);
        assert_eq!(cost(paged, false), 13);
    }

    #[test]
    fn a_document_that_does_not_fit_the_schema_is_refused() {
        let executor = Executor::new().unwrap();
        let refused = |query: &str| {
            let request = Request { query: query.to_owned(), variables: None, operation_name: None };
            executor.prepare(&request).err().map(|answer| answer["errors"][0]["message"].to_string())
        };
        assert!(refused("{ jobs(frist: 1) { nodes { id } } }").unwrap().contains("frist"));
        assert!(
            refused("{ jobs(sort: [{key: NOT_A_KEY, direction: ASCENDING}]) { nodes { id } } }").is_some()
        );
        assert!(refused("query ($id: EncodedId!) { job(id: $id) { id } }").is_some(), "a missing variable");
        assert!(refused("{ __schema { queryType { name } } }").is_none());
    }
}
