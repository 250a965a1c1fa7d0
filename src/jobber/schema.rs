//! The schema of our version, for documents and inputs that people write: it says what an operation is, what it costs
//! and which values it takes.
//!
//! It is parsed when it is first needed.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use apollo_compiler::ast::Type;
use apollo_compiler::executable::{Field, Operation, OperationType, Selection, SelectionSet};
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Name, Schema};
use serde_json::{Map, Value};

const TEXT: &str = include_str!("../../schema/jobber-2026-07-27.graphql");

/// Rows of a connection without a limit.
const UNBOUNDED: u64 = 100;

/// A query that requests more never runs (`api-behaviour.md` §3, Cost).
pub const DEAREST: u64 = 10_000;

static SCHEMA: LazyLock<Result<Valid<Schema>, String>> = LazyLock::new(|| {
    Schema::parse_and_validate(TEXT, "schema.graphql").map_err(|error| error.errors.to_string())
});

/// Errors of a document that are told at once.
const TOLD: usize = 3;

/// Why a document cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DocumentError(String);

/// The names in a mutation's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    pub key: String,
    /// Whether a directive can leave it out.
    pub is_optional: bool,
    /// Where `userErrors` are, if they are selected.
    pub errors: Option<String>,
    /// Where the records are.
    pub records: Vec<String>,
}

/// A document that is valid on the schema, with the operation that is meant.
#[derive(Debug, Clone)]
pub struct Document {
    text: String,
    valid: Valid<ExecutableDocument>,
    operation: Option<String>,
}

impl Document {
    /// Parses and validates. A document with several operations needs the name of one.
    pub fn parse(text: &str, operation: Option<&str>) -> Result<Self, DocumentError> {
        let schema = schema()?;
        let valid =
            ExecutableDocument::parse_and_validate(schema, text, "query.graphql").map_err(|error| {
                let place = |error: &apollo_compiler::diagnostic::Diagnostic<'_, _>| {
                    error.line_column_range().map_or_else(String::new, |range| {
                        format!(" (line {}, column {})", range.start.line, range.start.column)
                    })
                };
                // An unknown field alone in a selection is two errors, and the second one says what is wrong.
                let told: Vec<String> = error
                    .errors
                    .iter()
                    .take(TOLD)
                    .map(|error| format!("{}{}", error.error, place(&error)))
                    .collect();
                DocumentError(told.join("; "))
            })?;
        if let Err(error) = valid.operations.get(operation) {
            let names: Vec<_> = valid.operations.named.keys().map(Name::as_str).collect();
            let error = error.message().to_string();
            return Err(DocumentError(match (operation, names.len()) {
                (None, 2..) => {
                    format!("it has several operations: choose one of {} with --operation", names.join(", "))
                }
                _ => error,
            }));
        }
        Ok(Self { text: text.to_owned(), valid, operation: operation.map(str::to_owned) })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn operation(&self) -> Option<&str> {
        self.operation.as_deref()
    }

    fn chosen(&self) -> Option<&Operation> {
        self.valid.operations.get(self.operation.as_deref()).ok().map(|operation| &**operation)
    }

    pub fn is_mutation(&self) -> bool {
        self.chosen().is_some_and(|operation| operation.operation_type == OperationType::Mutation)
    }

    /// What the operation selects at the top, also through fragments.
    fn root_fields(&self) -> impl Iterator<Item = &Field> {
        let operation = self.chosen();
        operation.into_iter().flat_map(|operation| operation.root_fields(&self.valid)).map(|field| &**field)
    }

    /// The names in the answer of what the operation selects at the top.
    pub fn roots(&self) -> Vec<String> {
        self.root_fields().map(|field| field.response_key().to_string()).collect()
    }

    /// What the answer to a mutation has, for each field at the top.
    pub fn payloads(&self) -> Vec<Payload> {
        let of_root = |root: &Field| {
            let fields: Vec<&Field> =
                root.selection_set.root_fields(&self.valid).map(|field| &**field).collect();
            let key = |field: &&Field| field.response_key().to_string();
            let is_record =
                |field: &&&Field| !field.selection_set.selections.is_empty() && field.name != "userErrors";
            Payload {
                key: root.response_key().to_string(),
                is_optional: root.directives.has("skip") || root.directives.has("include"),
                errors: fields.iter().find(|field| field.name == "userErrors").map(key),
                records: fields.iter().filter(is_record).map(key).collect(),
            }
        };
        self.root_fields().map(of_root).collect()
    }

    /// The variables by name, with their types.
    pub fn variables(&self) -> Vec<(String, Type)> {
        let variables = self.chosen().into_iter().flat_map(|operation| &operation.variables);
        variables.map(|variable| (variable.name.to_string(), (*variable.ty).clone())).collect()
    }

    /// What Jobber estimates before it runs it, in points (`api-behaviour.md` §3, Cost): each field costs one, `edges`,
    /// `nodes` and `node` cost none, a connection multiplies what is in it by its rows and costs nothing itself.
    pub fn cost(&self, variables: &Map<String, Value>) -> u64 {
        let reckoner = Reckoner { document: &self.valid, variables, seen: Cell::new(0) };
        self.chosen().map_or(0, |operation| reckoner.set(&operation.selection_set))
    }
}

pub(super) fn schema() -> Result<&'static Valid<Schema>, DocumentError> {
    SCHEMA.as_ref().map_err(|error| DocumentError(error.clone()))
}

/// The type with this name, for inputs.
pub(super) fn type_named(name: &str) -> Option<&'static ExtendedType> {
    schema().ok()?.types.get(name)
}

/// Fields that are priced at most: what has more costs too much anyway.
const FIELDS: u32 = 50_000;

struct Reckoner<'d> {
    document: &'d ExecutableDocument,
    variables: &'d Map<String, Value>,
    /// Fields that were priced.
    seen: Cell<u32>,
}

impl Reckoner<'_> {
    fn set(&self, set: &SelectionSet) -> u64 {
        self.fields(set).into_iter().fold(0, |sum, field| sum.saturating_add(self.field(field)))
    }

    /// The fields of a selection. A fragment counts once, however often it is named: Jobber merges equal fields.
    fn fields<'s>(&'s self, set: &'s SelectionSet) -> Vec<&'s Field> {
        let (mut fields, mut named, mut open) = (Vec::new(), BTreeSet::new(), vec![set]);
        while let Some(set) = open.pop() {
            for selection in set.selections.iter().filter(|selection| self.is_included(selection)) {
                match selection {
                    Selection::Field(field) => fields.push(&**field),
                    Selection::InlineFragment(inline) => open.push(&inline.selection_set),
                    Selection::FragmentSpread(spread) => {
                        if named.insert(spread.fragment_name.as_str())
                            && let Some(fragment) = self.document.fragments.get(&spread.fragment_name)
                        {
                            open.push(&fragment.selection_set);
                        }
                    }
                }
            }
        }
        fields
    }

    fn is_included(&self, selection: &Selection) -> bool {
        let condition = |name: &str| {
            let value = selection.directives().get(name)?.specified_argument_by_name("if")?;
            self.value(value).as_bool()
        };
        condition("include").unwrap_or(true) && !condition("skip").unwrap_or(false)
    }

    fn field(&self, field: &Field) -> u64 {
        self.seen.set(self.seen.get() + 1);
        if self.seen.get() > FIELDS {
            return u64::MAX;
        }
        if matches!(field.name.as_str(), "edges" | "nodes" | "node") {
            return self.set(&field.selection_set);
        }
        if !field.definition.ty.inner_named_type().ends_with("Connection") {
            return self.set(&field.selection_set).saturating_add(1);
        }
        let (mut in_rows, mut once) = (0_u64, 0_u64);
        for inner in self.fields(&field.selection_set) {
            let sum = if inner.name == "pageInfo" { &mut once } else { &mut in_rows };
            *sum = sum.saturating_add(self.field(inner));
        }
        self.rows(field).saturating_mul(in_rows).saturating_add(once)
    }

    fn rows(&self, field: &Field) -> u64 {
        let limit = |name: &str| self.value(field.specified_argument_by_name(name)?).as_u64();
        limit("first").or_else(|| limit("last")).unwrap_or(UNBOUNDED)
    }

    fn value(&self, value: &apollo_compiler::ast::Value) -> Value {
        use apollo_compiler::ast::Value as Ast;
        match value {
            Ast::Variable(name) => self.variables.get(name.as_str()).cloned().unwrap_or_default(),
            Ast::Boolean(is) => (*is).into(),
            Ast::Int(number) => number.try_to_i32().map_or(Value::Null, Value::from),
            _ => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde_json::json;

    use super::*;

    fn cost(text: &str, variables: Value) -> u64 {
        let variables = variables.as_object().cloned().unwrap_or_default();
        Document::parse(text, None).unwrap().cost(&variables)
    }

    /// The documented examples (`api-behaviour.md` §3, Cost).
    #[test]
    fn documents_cost_what_jobber_says() {
        let five = "edges { node { id title cost quoteNumber quoteStatus } }";
        let one = "query ($id: EncodedId!) { quote(id: $id) { id cost title client { id firstName } } }";
        assert_eq!(cost(one, json!({"id": "MQ=="})), 7);
        assert_eq!(cost(&format!("{{ quotes(first: 10) {{ {five} }} }}"), json!({})), 50);
        assert_eq!(cost(&format!("{{ quotes {{ {five} }} }}"), json!({})), 500);
        assert_eq!(
            cost(&format!("query ($n: Int!) {{ quotes(first: $n) {{ {five} }} }}"), json!({"n": 3})),
            15
        );
        let fragment = "{ account { ...a } } fragment a on Account { name id @skip(if: true) }";
        assert_eq!(cost(fragment, json!({})), 2);
    }

    /// Fragments in fragments, and selections in selections, that are worth billions of fields.
    #[test]
    fn a_document_that_explodes_is_priced_at_once() {
        let mut spreads = "{ account { ...f0 } }".to_owned();
        let mut nested = "{ jobs(first: 1) { nodes { client { ...g0 } } } }".to_owned();
        for number in 0..35 {
            let next = number + 1;
            let _written = write!(spreads, " fragment f{number} on Account {{ ...f{next} ...f{next} }}");
        }
        for number in 0..20 {
            let next = number + 1;
            let _written = write!(
                nested,
                " fragment g{number} on Client {{ a: jobs(first: 1) {{ nodes {{ client {{ ...g{next} }} }} }} b: jobs(first: 1) {{ nodes {{ client {{ ...g{next} }} }} }} }}"
            );
        }
        spreads += " fragment f35 on Account { name }";
        nested += " fragment g20 on Client { name }";
        assert_eq!(Document::parse(&spreads, None).map(|document| document.cost(&Map::new())), Ok(2));
        let cost = Document::parse(&nested, None).map(|document| document.cost(&Map::new()));
        assert!(cost.is_err() || cost.is_ok_and(|cost| cost > DEAREST));
    }

    #[test]
    fn a_mutation_is_told_by_what_it_is_and_not_by_its_name() {
        let is_mutation =
            |text: &str, operation| Document::parse(text, operation).map(|document| document.is_mutation());
        assert_eq!(is_mutation("query mutation { account { name } }", None), Ok(false));
        let both = "query read { account { name } } mutation write($id: EncodedId!) { jobReopen(jobId: $id) { userErrors { message } } }";
        assert_eq!(is_mutation(both, Some("write")), Ok(true));
        assert_eq!(is_mutation(both, Some("read")), Ok(false));
        let error = is_mutation(both, None).unwrap_err().to_string();
        assert_eq!(error, "it has several operations: choose one of read, write with --operation");
        let error = is_mutation("{ jobs(frist: 1) { nodes { id } } }", None).unwrap_err().to_string();
        assert!(error.contains("frist") && error.contains("line 1"), "{error}");
        assert!(is_mutation("", None).is_err() && is_mutation("{ nonsense }", None).is_err());
    }
}
