//! What leaves is what `docs/schema` says, field by field.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/schema")
}

fn schemas() -> BTreeMap<String, Value> {
    schemas_in(&folder())
}

fn schemas_in(folder: &Path) -> BTreeMap<String, Value> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files
        .filter(|path| path.is_file())
        .map(|path| {
            let schema = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), schema)
        })
        .collect()
}

pub fn validator(schema: &Value) -> Validator {
    jsonschema::draft202012::options().should_validate_formats(true).build(schema).unwrap()
}

/// Whoever reads is told to ignore what they do not know. We want to notice it.
fn without_others(schema: &mut Value, is_part: bool) {
    match schema {
        Value::Object(fields) => {
            let parts = ["oneOf", "anyOf", "allOf"];
            let has_fields = fields.contains_key("properties");
            let is_joined = has_fields && parts.iter().any(|part| fields.contains_key(*part));
            for (name, field) in fields.iter_mut() {
                let is_part = (is_joined || is_part) && parts.contains(&name.as_str());
                match field {
                    Value::Array(several) if parts.contains(&name.as_str()) => {
                        for one in several {
                            without_others(one, is_part);
                        }
                    }
                    field => without_others(field, false),
                }
            }
            if has_fields && !is_part {
                let others = if is_joined { "unevaluatedProperties" } else { "additionalProperties" };
                fields.insert(others.to_owned(), false.into());
            }
        }
        Value::Array(several) => several.iter_mut().for_each(|one| without_others(one, false)),
        _ => {}
    }
}

/// The schemas of a folder by name, which take no other fields.
pub fn strict(folder: &Path) -> BTreeMap<String, Validator> {
    let strict = schemas_in(folder).into_iter().map(|(name, mut schema)| {
        without_others(&mut schema, false);
        (name, validator(&schema))
    });
    strict.collect()
}

static STRICT: LazyLock<BTreeMap<String, Validator>> = LazyLock::new(|| strict(&folder()));

/// The schema for a type of message.
fn name_of(kind: &str) -> &str {
    if kind.starts_with("jobber.") { "jobber.event" } else { kind }
}

/// What is wrong with a body, if it is one of ours. Bodies from templates have no type.
pub fn misfit(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let kind = body["type"].as_str()?;
    let Some(validator) = STRICT.get(name_of(kind)) else {
        return Some(format!("there is no schema for {kind}"));
    };
    let errors: Vec<String> =
        validator.iter_errors(&body).map(|error| format!("{error} at {}", error.instance_path())).collect();
    (!errors.is_empty()).then(|| format!("{}: {body}", errors.join("; ")))
}

#[test]
fn every_schema_fits_its_example_and_not_one_without_a_required_field() {
    for (name, schema) in schemas() {
        assert!(jsonschema::draft202012::meta::is_valid(&schema), "{name}");
        let validator = validator(&schema);
        let examples = schema["examples"].as_array().unwrap();
        assert!(!examples.is_empty(), "{name}");
        for example in examples {
            assert_eq!(misfit(example.to_string().as_bytes()), None, "{name}");
            for required in schema["required"].as_array().unwrap() {
                let mut body = example.clone();
                body.as_object_mut().unwrap().remove(required.as_str().unwrap()).unwrap();
                assert!(!validator.is_valid(&body), "{name} without {required}");
            }
            let mut other = example.clone();
            other["type"] = "something.else".into();
            assert!(!validator.is_valid(&other), "{name} takes any type");
            let mut later = example.clone();
            later["added_later"] = json!(1);
            assert!(validator.is_valid(&later), "{name} refuses what may come");
            assert!(misfit(later.to_string().as_bytes()).is_some(), "{name}: the tests would not notice");
        }
    }
}

#[test]
fn the_examples_in_the_papers_fit() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut checked = 0;
    for paper in ["README.md", "docs/receiver.md", "docs/operating.md"] {
        let text = std::fs::read_to_string(root.join(paper)).unwrap();
        for block in text.split("```json\n").skip(1) {
            let block = block.split("```").next().unwrap();
            // Shortened.
            if block.contains("\"…\"") || !block.starts_with("{\"type\"") {
                continue;
            }
            assert_eq!(misfit(block.as_bytes()), None, "{paper}");
            checked += 1;
        }
    }
    assert!(checked >= 8, "{checked}");
}

#[test]
fn the_openapi_of_the_receiver_names_every_schema() {
    let path = folder().parent().unwrap().join("receiver.openapi.json");
    let api: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(api["openapi"], "3.1.0");
    let text = api.to_string();
    for name in schemas().into_keys() {
        assert!(text.contains(&format!("\"schema/{name}.json\"")), "{name}");
    }
    assert_eq!(text.matches("\"schema/").count(), schemas().len());
}
