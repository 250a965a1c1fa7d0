//! The settings as JSON Schema, so that editors complete and check them.

use serde_json::{Map, Value, json};

use super::keys::{KEYS, Key, OF_ACCOUNTS, RENAMED};

/// JSON Schema (2020-12) of the settings file.
pub fn schema() -> Value {
    let mut root = section();
    for key in KEYS {
        put(&mut root, key.name, of(key), key.required);
    }
    for (old, new) in RENAMED {
        let now = format!("{OF_ACCOUNTS}{new}");
        let words = json!({"type": "array", "items": {"type": "string"}, "deprecated": true, "description": format!("The old name of `{now}`.")});
        put(&mut root, &format!("{OF_ACCOUNTS}{old}"), words, false);
    }
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    root["title"] = "Settings of jobber-reviewd".into();
    root
}

fn section() -> Value {
    json!({"type": "object", "properties": {}, "additionalProperties": false})
}

fn put(root: &mut Value, name: &str, schema: Value, is_required: bool) {
    let mut place = root;
    let (sections, last) = name.rsplit_once('.').unwrap_or(("", name));
    for part in sections.split('.').filter(|part| !part.is_empty()) {
        if is_required {
            require(place, part);
        }
        let properties = &mut place["properties"];
        if properties.get(part).is_none() {
            properties[part] = section();
        }
        place = &mut properties[part];
    }
    if is_required {
        require(place, last);
    }
    place["properties"][last] = schema;
}

fn require(place: &mut Value, name: &str) {
    match place["required"].as_array_mut() {
        Some(names) if names.iter().any(|known| known == name) => {}
        Some(names) => names.push(name.into()),
        None => place["required"] = json!([name]),
    }
}

fn of(key: &Key) -> Value {
    let default: Option<Value> = key.default.and_then(|text| serde_json::from_str(text).ok());
    let mut schema = known(key.name).unwrap_or_else(|| match &default {
        Some(Value::Bool(_)) => json!({"type": "boolean"}),
        Some(Value::Number(_)) => json!({"type": "integer", "minimum": 0}),
        Some(Value::Array(_)) => json!({"type": "array", "items": {"type": "string"}}),
        _ => json!({"type": "string"}),
    });
    schema["description"] = key.about.into();
    if let Some(default) = default {
        schema["default"] = default;
    }
    schema
}

/// Where the default does not say it.
fn known(name: &str) -> Option<Value> {
    let one_of = |names: &[&str]| json!({"type": "string", "enum": names});
    let table = |properties: Value, required: &[&str]| {
        let table = json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
        json!({"type": "array", "items": table})
    };
    let text = json!({"type": "string"});
    Some(match name {
        "review.trigger" => one_of(&["job_completed", "visit_completed", "invoice_created", "invoice_paid"]),
        "review.greet" => one_of(&["contact", "company"]),
        "review.phones" => one_of(&["sms_allowed", "any"]),
        "review.clients" => one_of(&["all", "people", "companies"]),
        "review.jobber_switch" => one_of(&["auto", "respect", "ignore"]),
        "alerts.format" => one_of(&["json", "slack", "discord", "text"]),
        "events.topics" => {
            let topics = ["client.updated", "job.updated", "visit.completed", "invoice.updated"];
            json!({"type": "array", "items": one_of(&topics)})
        }
        "brand.languages" => json!({"type": "array", "items": one_of(&["en", "es", "fr"]), "minItems": 1}),
        "review.min_total" => json!({"type": "number", "minimum": 0}),
        "poll.concurrency" => json!({"type": "integer", "minimum": 1, "maximum": 1024}),
        "jobber.budget_share" => json!({"type": "integer", "minimum": 1, "maximum": 100}),
        "events.forward" => {
            let topics = json!({"type": "array", "items": text});
            table(json!({"topics": topics, "url": text, "include": text}), &["topics"])
        }
        "rules" => {
            let with = Value::Object(Map::from_iter([("type".to_owned(), "object".into())]));
            table(json!({"on": text, "do": text, "with": with}), &["on", "do"])
        }
        _ => return None,
    })
}
