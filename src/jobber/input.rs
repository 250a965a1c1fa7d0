//! Inputs of operations, put together from what people type and checked on the schema.
//!
//! What is absent stays absent. A null is sent only where it was asked for with [`Input::clear`]: what Jobber makes of a
//! null in a change is not known (`actions.md`, explicit null).

use apollo_compiler::ast::Type;
use apollo_compiler::schema::ExtendedType;
use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::schema::{Document, type_named};
use crate::domain::actions::nearest;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    #[error("`{path}` is not a path: write names with dots, and [0] for items of a list")]
    BadPath { path: String },
    #[error("`{name}` is not a field of {of}{}", nearest_as_words(.nearest.as_deref()))]
    Unknown { name: String, of: String, nearest: Option<String> },
    #[error("`{path}` takes {what}, not `{given}`")]
    Wrong { path: String, what: String, given: String },
    #[error("`{path}` is missing")]
    Missing { path: String },
    #[error("`{path}` is null: leave it out if it should stay as it is, or empty it with --clear {path}")]
    Null { path: String },
    #[error("`{path}` cannot be emptied: Jobber needs it")]
    Needed { path: String },
    #[error("`{given}` is not a time: write 2026-03-12 09:00, or only the date")]
    NoTime { given: String },
    #[error("there is no {given} in {zone}: clocks skip it that day; choose another time")]
    Skipped { given: String, zone: String },
    #[error("{given} comes twice in {zone}: clocks go back that day; add an offset, such as {given}-04:00")]
    Twice { given: String, zone: String },
}

fn nearest_as_words(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?"))
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    Item(usize),
}

/// Items of one list, at most.
const ITEMS: usize = 1000;

fn steps(path: &str) -> Result<Vec<Step>, InputError> {
    let bad = || InputError::BadPath { path: path.to_owned() };
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (name, items) = part.split_once('[').map_or((part, ""), |(name, _)| (name, &part[name.len()..]));
        if name.is_empty() {
            return Err(bad());
        }
        steps.push(Step::Field(name.to_owned()));
        for item in items.split('[').skip(1) {
            let number =
                item.strip_suffix(']').and_then(|number| number.parse().ok()).filter(|at| *at < ITEMS);
            steps.push(Step::Item(number.ok_or_else(bad)?));
        }
    }
    Ok(steps)
}

/// The variables of an operation.
#[derive(Debug, Clone)]
pub struct Input {
    types: Vec<(String, Type)>,
    /// The variable that paths begin in, if any.
    root: Option<&'static str>,
    zone: TimeZone,
    values: Map<String, Value>,
    cleared: Vec<Vec<Step>>,
    is_as_written: bool,
}

impl Input {
    /// An input of `document` in which paths begin in the variable `root`. Times without an offset are in `zone`.
    pub fn new(document: &Document, root: Option<&'static str>, zone: TimeZone) -> Self {
        Self {
            types: document.variables(),
            root,
            zone,
            values: Map::new(),
            cleared: Vec::new(),
            is_as_written: false,
        }
    }

    /// Keeps nulls and empty objects as they are.
    pub fn as_written(&mut self) {
        self.is_as_written = true;
    }

    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// `$name.rest` begins in the variables themselves.
    fn steps(&self, path: &str) -> Result<Vec<Step>, InputError> {
        match (path.strip_prefix('$'), self.root) {
            (Some(path), _) => steps(path),
            (None, Some(root)) => steps(&format!("{root}.{path}")),
            (None, None) => steps(path),
        }
    }

    /// A path as people write it.
    fn words(&self, steps: &[Step]) -> String {
        let steps = match (steps.first(), self.root) {
            (Some(Step::Field(name)), Some(root)) if name == root => &steps[1..],
            _ => steps,
        };
        steps.iter().fold(String::new(), |text, step| match step {
            Step::Field(name) if text.is_empty() => name.clone(),
            Step::Field(name) => format!("{text}.{name}"),
            Step::Item(number) => format!("{text}[{number}]"),
        })
    }

    fn type_at(&self, steps: &[Step]) -> Result<Type, InputError> {
        let mut known: Option<Type> = None;
        for (place, step) in steps.iter().enumerate() {
            let unknown = |of: &str, names: Vec<String>, name: &str| InputError::Unknown {
                name: self.words(&steps[..=place]),
                of: of.to_owned(),
                nearest: nearest(name, names),
            };
            known = Some(match (known, step) {
                (None, Step::Field(name)) => {
                    let found = self.types.iter().find(|(known, _)| known == name);
                    let names = || self.types.iter().map(|(name, _)| name.clone()).collect();
                    found.ok_or_else(|| unknown("the operation", names(), name))?.1.clone()
                }
                (Some(ty), Step::Field(name)) => {
                    let of = ty.inner_named_type().clone();
                    if ty.is_list() {
                        let what = "a list: add [0] for its first item".to_owned();
                        let path = self.words(&steps[..place]);
                        return Err(InputError::Wrong { path, what, given: format!(".{name}") });
                    }
                    let Some(ExtendedType::InputObject(object)) = type_named(&of) else {
                        return Err(unknown(&of, vec![], name));
                    };
                    let names = || object.fields.keys().map(ToString::to_string).collect();
                    let field = object.fields.get(name.as_str());
                    (*field.ok_or_else(|| unknown(&of, names(), name))?.ty).clone()
                }
                (Some(ty), Step::Item(_)) if ty.is_list() => ty.item_type().clone(),
                (_, Step::Item(_)) => {
                    let what = "one value".to_owned();
                    return Err(InputError::Wrong {
                        path: self.words(&steps[..place]),
                        what,
                        given: "[…]".to_owned(),
                    });
                }
            });
        }
        known.ok_or_else(|| InputError::BadPath { path: String::new() })
    }

    /// The place for a value, made if it is not there.
    fn place(&mut self, steps: &[Step]) -> &mut Value {
        let (name, rest) = match steps.split_first() {
            Some((Step::Field(name), rest)) => (name.clone(), rest),
            _ => (String::new(), steps),
        };
        let mut place = self.values.entry(name).or_insert(Value::Null);
        for step in rest {
            place = match step {
                Step::Field(name) => {
                    if !place.is_object() {
                        *place = json!({});
                    }
                    &mut place[name.as_str()]
                }
                Step::Item(number) => {
                    if !place.is_array() {
                        *place = json!([]);
                    }
                    if let Value::Array(items) = &mut *place
                        && items.len() <= *number
                    {
                        items.resize(number + 1, Value::Null);
                    }
                    &mut place[*number]
                }
            };
        }
        place
    }

    fn get(&self, steps: &[Step]) -> Option<&Value> {
        let (Step::Field(name), rest) = steps.split_first()? else { return None };
        rest.iter().try_fold(self.values.get(name)?, |value, step| match step {
            Step::Field(name) => value.get(name),
            Step::Item(number) => value.get(number),
        })
    }

    /// What was put at a path so far.
    pub fn at(&self, path: &str) -> Option<&Value> {
        self.get(&self.steps(path).ok()?).filter(|value| !value.is_null())
    }

    /// Begins with an object that was written elsewhere: that of the variable in which paths begin.
    pub fn begin_with(&mut self, given: Map<String, Value>) {
        match self.root {
            Some(root) => {
                self.values.insert(root.to_owned(), Value::Object(given));
            }
            None => self.values.extend(given),
        }
    }

    pub fn put(&mut self, path: &str, value: Value) -> Result<(), InputError> {
        let steps = self.steps(path)?;
        self.type_at(&steps)?;
        *self.place(&steps) = value;
        Ok(())
    }

    /// Puts a text, as what the schema wants there.
    pub fn put_text(&mut self, path: &str, text: &str) -> Result<(), InputError> {
        let steps = self.steps(path)?;
        let ty = self.type_at(&steps)?;
        let value = self.typed(&ty, &steps, text)?;
        *self.place(&steps) = value;
        Ok(())
    }

    /// Adds an item to the list at `path`.
    pub fn push(&mut self, path: &str, value: Value) -> Result<(), InputError> {
        let steps = self.steps(path)?;
        self.type_at(&steps)?;
        let list = self.place(&steps);
        match list {
            Value::Array(items) => items.push(value),
            list => *list = json!([value]),
        }
        Ok(())
    }

    pub fn push_text(&mut self, path: &str, text: &str) -> Result<(), InputError> {
        let steps = self.steps(path)?;
        let ty = self.type_at(&steps)?;
        let value = self.typed(ty.item_type(), &steps, text)?;
        self.push(path, value)
    }

    /// Empties a field: an explicit null.
    pub fn clear(&mut self, path: &str) -> Result<(), InputError> {
        let steps = self.steps(path)?;
        if self.type_at(&steps)?.is_non_null() {
            return Err(InputError::Needed { path: path.to_owned() });
        }
        *self.place(&steps) = Value::Null;
        self.cleared.push(steps);
        Ok(())
    }

    /// Puts a value that must not be left out, where nothing is. `a?.b` puts `b` only if there is an `a`, and `a[].b`
    /// puts it into every item of `a`.
    pub fn default(&mut self, path: &str, text: &str) -> Result<(), InputError> {
        if let Some((list, rest)) = path.split_once("[].") {
            let items = self.at(list).and_then(Value::as_array).map_or(0, Vec::len);
            for item in 0..items {
                self.default(&format!("{list}[{item}].{rest}"), text)?;
            }
            return Ok(());
        }
        if let Some((parent, rest)) = path.split_once("?.") {
            return match self.at(parent) {
                Some(_) => self.default(&format!("{parent}.{rest}"), text),
                None => Ok(()),
            };
        }
        if self.at(path).is_some() { Ok(()) } else { self.put_text(path, text) }
    }

    /// The variables, checked on the schema.
    pub fn finish(mut self) -> Result<Map<String, Value>, InputError> {
        if !self.is_as_written {
            self.values.values_mut().for_each(drop_empty);
            self.values.retain(|_, value| !is_empty_object(value));
        }
        for (name, value) in &self.values {
            let at = vec![Step::Field(name.clone())];
            let ty = self.type_at(&at)?;
            self.check(&ty, value, at)?;
        }
        for (name, ty) in &self.types {
            if ty.is_non_null() && !self.values.contains_key(name) {
                // An input without a field is told by what it needs.
                let empty = json!({});
                if let Some(ExtendedType::InputObject(_)) = type_named(ty.inner_named_type()) {
                    self.check(ty, &empty, vec![Step::Field(name.clone())])?;
                    self.values.insert(name.clone(), empty);
                    return Ok(self.values);
                }
                return Err(InputError::Missing { path: name.clone() });
            }
        }
        Ok(self.values)
    }

    fn check(&self, ty: &Type, value: &Value, at: Vec<Step>) -> Result<(), InputError> {
        if value.is_null() {
            let path = self.words(&at);
            let is_meant = self.is_as_written && !ty.is_non_null();
            return if is_meant || self.cleared.contains(&at) {
                Ok(())
            } else {
                Err(InputError::Null { path })
            };
        }
        if ty.is_list() {
            let Value::Array(items) = value else {
                return Err(self.wrong(&at, "a list", value));
            };
            for (number, item) in items.iter().enumerate() {
                let at = at.iter().cloned().chain([Step::Item(number)]).collect();
                self.check(ty.item_type(), item, at)?;
            }
            return Ok(());
        }
        let name = ty.inner_named_type();
        match type_named(name) {
            Some(ExtendedType::InputObject(object)) => {
                let Value::Object(fields) = value else {
                    return Err(self.wrong(&at, "an object", value));
                };
                for (field, value) in fields {
                    let at: Vec<Step> = at.iter().cloned().chain([Step::Field(field.clone())]).collect();
                    let ty = self.type_at(&at)?;
                    self.check(&ty, value, at)?;
                }
                let missing = object.fields.iter().find(|(name, field)| {
                    field.ty.is_non_null()
                        && field.default_value.is_none()
                        && !fields.contains_key(name.as_str())
                });
                match missing {
                    Some((name, _)) => {
                        let at: Vec<Step> = at.into_iter().chain([Step::Field(name.to_string())]).collect();
                        Err(InputError::Missing { path: self.words(&at) })
                    }
                    None => Ok(()),
                }
            }
            Some(ExtendedType::Enum(of)) => {
                let is_known = value.as_str().is_some_and(|text| of.values.contains_key(text));
                if is_known { Ok(()) } else { Err(self.wrong(&at, &one_of(ty, value.as_str()), value)) }
            }
            _ => match scalar(name, value) {
                Some(what) => Err(self.wrong(&at, what, value)),
                None => Ok(()),
            },
        }
    }

    fn wrong(&self, at: &[Step], what: &str, given: &Value) -> InputError {
        let given = given.as_str().map_or_else(|| given.to_string(), str::to_owned);
        InputError::Wrong { path: self.words(at), what: what.to_owned(), given }
    }

    /// A text as a value of `ty`.
    fn typed(&self, ty: &Type, at: &[Step], text: &str) -> Result<Value, InputError> {
        let wrong = |what: &str| InputError::Wrong {
            path: self.words(at),
            what: what.to_owned(),
            given: text.to_owned(),
        };
        let looks_like_json = text.starts_with('[') || text.starts_with('{');
        if ty.is_list() && !looks_like_json {
            return Ok(json!([self.typed(ty.item_type(), at, text)?]));
        }
        let name = ty.inner_named_type();
        match (type_named(name), name.as_str()) {
            _ if ty.is_list() => serde_json::from_str(text).map_err(|_| wrong("a list as JSON")),
            (Some(ExtendedType::InputObject(_)), _) => {
                serde_json::from_str(text).map_err(|_| wrong("an object as JSON"))
            }
            (Some(ExtendedType::Enum(of)), _) => {
                let wanted = text.replace(['-', ' '], "_");
                let found = of.values.keys().find(|value| value.eq_ignore_ascii_case(&wanted));
                Ok(found.ok_or_else(|| wrong(&one_of(ty, Some(text))))?.as_str().into())
            }
            (_, "Boolean" | "True") => match text {
                "true" | "yes" => Ok(true.into()),
                "false" | "no" => Ok(false.into()),
                _ => Err(wrong("true or false")),
            },
            (_, "Int" | "Minutes" | "Seconds") => {
                text.parse::<i64>().map(Value::from).map_err(|_| wrong("a whole number"))
            }
            (_, "Float") => text
                .parse::<f64>()
                .ok()
                .and_then(serde_json::Number::from_f64)
                .map(Value::Number)
                .ok_or_else(|| wrong("a number")),
            (_, "ISO8601DateTime") => Ok(moment(text, &self.zone)?.0.to_string().into()),
            (_, "JSON") => Ok(serde_json::from_str(text).unwrap_or_else(|_| text.into())),
            _ => Ok(text.into()),
        }
    }
}

fn one_of(ty: &Type, given: Option<&str>) -> String {
    let Some(ExtendedType::Enum(of)) = type_named(ty.inner_named_type()) else {
        return "another value".to_owned();
    };
    let names: Vec<String> = of.values.keys().map(ToString::to_string).collect();
    match given.and_then(|given| nearest(given, names.clone())) {
        Some(nearest) if names.len() > 12 => format!("{nearest} or one of {} others", names.len() - 1),
        _ => format!("one of {}", names.join(", ")),
    }
}

/// What a scalar takes, if it does not take `value`.
fn scalar(name: &str, value: &Value) -> Option<&'static str> {
    let text = value.as_str();
    let (is_right, what) = match name {
        "Boolean" => (value.is_boolean(), "true or false"),
        "True" => (value == &Value::Bool(true), "true"),
        "Int" => (value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()), "a whole number"),
        "Minutes" | "Seconds" => (value.is_i64() || value.is_u64(), "a whole number"),
        "Float" => (value.is_number(), "a number"),
        "ISO8601Date" => (text.is_some_and(|text| date(text).is_some()), "a date, such as 2026-03-12"),
        "ISO8601Time" => (
            text.is_some_and(|text| !text.contains('-') && text.parse::<civil::Time>().is_ok()),
            "a time, such as 09:00",
        ),
        "ISO8601DateTime" => (
            text.is_some_and(|text| text.parse::<Timestamp>().is_ok()),
            "an instant, such as 2026-03-12T09:00:00-05:00",
        ),
        "ICalendarRule" => {
            (text.is_some_and(|text| text.starts_with("RRULE:")), "a rule that begins with RRULE:")
        }
        "Timezone" => {
            (text.is_some_and(|text| TimeZone::get(text).is_ok()), "a time zone, such as America/New_York")
        }
        "JSON" => (true, ""),
        _ => (text.is_some(), "a text"),
    };
    (!is_right).then_some(what)
}

/// The JSON Schema of a type of inputs. Objects and enums go to `known` by their names.
pub fn json_schema(ty: &Type, known: &mut Map<String, Value>) -> Value {
    if ty.is_list() {
        return json!({"type": "array", "items": json_schema(ty.item_type(), known)});
    }
    let name = ty.inner_named_type().to_string();
    let reference = json!({"$ref": format!("#/components/schemas/{name}")});
    match type_named(&name) {
        Some(_) if known.contains_key(&name) => reference,
        Some(ExtendedType::InputObject(object)) => {
            // It may contain itself.
            known.insert(name.clone(), Value::Null);
            let mut properties = Map::new();
            let mut required = Vec::new();
            for (field, of) in &object.fields {
                properties.insert(field.to_string(), json_schema(&of.ty, known));
                if of.ty.is_non_null() && of.default_value.is_none() {
                    required.push(field.to_string());
                }
            }
            let schema = json!({
                "type": "object", "properties": properties, "required": required, "additionalProperties": false,
            });
            known.insert(name, schema);
            reference
        }
        Some(ExtendedType::Enum(of)) => {
            let values: Vec<&str> = of.values.keys().map(apollo_compiler::Name::as_str).collect();
            known.insert(name, json!({"type": "string", "enum": values}));
            reference
        }
        _ => match name.as_str() {
            "Boolean" => json!({"type": "boolean"}),
            "True" => json!({"const": true}),
            "Int" | "Minutes" | "Seconds" => json!({"type": "integer"}),
            "Float" => json!({"type": "number"}),
            "ISO8601DateTime" => json!({"type": "string", "format": "date-time"}),
            "ISO8601Date" => json!({"type": "string", "format": "date"}),
            "ISO8601Time" => json!({"type": "string", "format": "time"}),
            "JSON" => json!({}),
            _ => json!({"type": "string"}),
        },
    }
}

/// Removes objects without content, at any depth.
fn drop_empty(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(drop_empty);
            fields.retain(|_, value| !is_empty_object(value));
        }
        Value::Array(items) => items.iter_mut().for_each(drop_empty),
        _ => {}
    }
}

fn is_empty_object(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

/// `2026-03-12`, and nothing else.
fn date(text: &str) -> Option<civil::Date> {
    text.parse().ok().filter(|_| text.len() == 10)
}

/// A moment that somebody wrote, in `zone` unless it has an offset, and whether it is only a date.
pub fn moment(text: &str, zone: &TimeZone) -> Result<(Timestamp, bool), InputError> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok((at, false));
    }
    let no_time = || InputError::NoTime { given: text.to_owned() };
    if let Some(date) = date(text) {
        let start = date.to_zoned_datetime(zone.clone()).map_err(|_| no_time())?;
        return Ok((start.timestamp(), true));
    }
    let local: civil::DateTime = text.parse().map_err(|_| no_time())?;
    let (given, name) = (text.to_owned(), zone.iana_name().unwrap_or("that time zone").to_owned());
    match zone.to_ambiguous_timestamp(local) {
        found if found.is_ambiguous() => {
            Err(if matches!(found.offset(), jiff::tz::AmbiguousOffset::Gap { .. }) {
                InputError::Skipped { given, zone: name }
            } else {
                InputError::Twice { given, zone: name }
            })
        }
        found => Ok((found.unambiguous().map_err(|_| no_time())?, false)),
    }
}

/// A length of time, such as `2h` or `90m`.
pub fn length(text: &str) -> Result<SignedDuration, InputError> {
    let wrong = || InputError::Wrong {
        path: "for".to_owned(),
        what: "a time, such as 2h or 90m".to_owned(),
        given: text.to_owned(),
    };
    text.parse().ok().filter(SignedDuration::is_positive).ok_or_else(wrong)
}

#[cfg(test)]
mod tests;
