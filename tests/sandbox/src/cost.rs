//! The cost of a query (`api-behaviour.md` §3, Cost). Every field costs one point, `edges`, `nodes` and
//! `node` cost none. A connection multiplies its content by `first` or `last`, or by 100. The connection's
//! own field costs nothing: only this gives the costs of the documented examples.

use apollo_compiler::ExecutableDocument;
use apollo_compiler::executable::{Field, Operation, Selection, SelectionSet};
use apollo_compiler::response::JsonMap;
use serde_json::Value;

use super::resolve::coerced;

/// Rows of a connection without a limit.
const UNBOUNDED: u64 = 100;

struct Reckoner<'d> {
    document: &'d ExecutableDocument,
    variables: &'d JsonMap,
    page_info_per_row: bool,
}

/// The cost estimated before a query runs.
pub fn requested(
    document: &ExecutableDocument,
    operation: &Operation,
    variables: &JsonMap,
    page_info_per_row: bool,
) -> u64 {
    Reckoner { document, variables, page_info_per_row }.set(&operation.selection_set)
}

impl Reckoner<'_> {
    fn set(&self, set: &SelectionSet) -> u64 {
        self.fields(set).map(|field| self.field(field)).sum()
    }

    /// The fields of a selection, with fragments expanded and skipped fields removed.
    fn fields<'s>(&'s self, set: &'s SelectionSet) -> Box<dyn Iterator<Item = &'s Field> + 's> {
        Box::new(set.selections.iter().filter(|selection| self.is_included(selection)).flat_map(
            |selection| -> Box<dyn Iterator<Item = &'s Field> + 's> {
                match selection {
                    Selection::Field(field) => Box::new(std::iter::once(&**field)),
                    Selection::InlineFragment(inline) => self.fields(&inline.selection_set),
                    Selection::FragmentSpread(spread) => {
                        match self.document.fragments.get(&spread.fragment_name) {
                            Some(fragment) => self.fields(&fragment.selection_set),
                            None => Box::new(std::iter::empty()),
                        }
                    }
                }
            },
        ))
    }

    fn is_included(&self, selection: &Selection) -> bool {
        let condition = |name: &str| {
            let directive = selection.directives().get(name)?;
            let value = directive.specified_argument_by_name("if")?;
            coerced(value, self.variables).as_bool()
        };
        condition("include").unwrap_or(true) && !condition("skip").unwrap_or(false)
    }

    fn field(&self, field: &Field) -> u64 {
        if is_free(field) {
            return self.set(&field.selection_set);
        }
        if !is_connection(field) {
            return 1 + self.set(&field.selection_set);
        }
        let (mut rows_cost, mut once) = (0, 0);
        for inner in self.fields(&field.selection_set) {
            if inner.name == "pageInfo" && !self.page_info_per_row {
                once += self.field(inner);
            } else {
                rows_cost += self.field(inner);
            }
        }
        self.rows(field).saturating_mul(rows_cost).saturating_add(once)
    }

    fn rows(&self, field: &Field) -> u64 {
        ["first", "last"]
            .iter()
            .find_map(|name| coerced(field.specified_argument_by_name(name)?, self.variables).as_u64())
            .unwrap_or(UNBOUNDED)
    }
}

/// The cost of the answer: each existing field counts.
pub(super) fn actual(document: &ExecutableDocument, operation: &Operation, data: &Value) -> u64 {
    let names = Names { document };
    names.count(&operation.selection_set, data)
}

struct Names<'d> {
    document: &'d ExecutableDocument,
}

impl Names<'_> {
    fn count(&self, set: &SelectionSet, value: &Value) -> u64 {
        match value {
            Value::Array(items) => items.iter().map(|item| self.count(set, item)).sum(),
            Value::Object(object) => object
                .iter()
                .filter_map(|(key, value)| self.find(set, key).map(|field| (field, value)))
                .map(|(field, value)| {
                    let own = u64::from(!is_free(field) && !is_connection(field));
                    own + self.count(&field.selection_set, value)
                })
                .sum(),
            _ => 0,
        }
    }

    fn find<'s>(&'s self, set: &'s SelectionSet, key: &str) -> Option<&'s Field> {
        set.selections.iter().find_map(|selection| match selection {
            Selection::Field(field) => (field.response_key() == key).then_some(&**field),
            Selection::InlineFragment(inline) => self.find(&inline.selection_set, key),
            Selection::FragmentSpread(spread) => {
                self.find(&self.document.fragments.get(&spread.fragment_name)?.selection_set, key)
            }
        })
    }
}

fn is_free(field: &Field) -> bool {
    matches!(field.name.as_str(), "edges" | "nodes" | "node")
}

fn is_connection(field: &Field) -> bool {
    field.definition.ty.inner_named_type().ends_with("Connection")
}
