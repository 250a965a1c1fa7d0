//! Reads the settings, and says of each mistake where it is.

use std::path::Path;

use figment::Figment;
use figment::providers::Serialized;
use serde_json::Value;

use super::{Config, ConfigError, ConfigErrors, ENV_PREFIX, KEYS, Key, Period, SecretName, env_name};
use crate::domain::actions::nearest;

/// More mistakes than anybody mends at once.
const AT_MOST: usize = 20;

/// The settings, or everything that is wrong with them: a value that cannot be read is replaced by its default, so that the
/// others are looked at too.
pub(super) fn extract(
    figment: &Figment,
    mistakes: fn(&Config) -> Vec<ConfigError>,
) -> Result<Config, ConfigErrors> {
    let mut errors: Vec<ConfigError> = Vec::new();
    let mut repaired = figment.clone();
    let config = loop {
        let error = match repaired.extract::<Config>() {
            Ok(config) => break Some(config),
            Err(error) => error,
        };
        let told = explain(&error);
        let is_new = errors.iter().all(|known| known.key != told.key);
        let next = repair(&repaired, &told.key);
        if is_new {
            errors.push(told);
        }
        match next {
            Some(next) if is_new && errors.len() < AT_MOST => repaired = next,
            _ => break None,
        }
    };
    // What is about a setting that has its default only because it was wrong may not be so.
    let is_about = |error: &ConfigError, key: &str| {
        let Some(list) = key.split('.').position(|part| part.parse::<usize>().is_ok()) else {
            return error.key == key || error.problem.contains(key) || error.remedy.contains(key);
        };
        let list: Vec<&str> = key.split('.').take(list).collect();
        error.key.starts_with(&list.join("."))
    };
    let found: Vec<ConfigError> = config.iter().flat_map(mistakes).collect();
    let wrong: Vec<String> = errors.iter().map(|error| error.key.clone()).collect();
    errors.extend(found.into_iter().filter(|error| wrong.iter().all(|key| !is_about(error, key))));
    match config {
        Some(config) if errors.is_empty() => Ok(config),
        _ => {
            for error in &mut errors {
                error.place = place(figment, &error.key);
            }
            Err(ConfigErrors(errors))
        }
    }
}

/// The same settings with a usable value under `key`, or without it if there is no such key.
fn repair(figment: &Figment, key: &str) -> Option<Figment> {
    let mut root: Value = figment.extract().ok()?;
    let known = KEYS.iter().find(|known| known.name == key);
    let usable = match known {
        Some(known) => value_for(known),
        None => section(key),
    };
    let parts: Vec<&str> = key.split('.').collect();
    let (last, sections) = parts.split_last()?;
    let mut section = &mut root;
    for name in sections {
        if !section.get(*name).is_some_and(Value::is_object) {
            if usable.is_none() {
                // Something in a list.
                *section.get_mut(*name).filter(|list| list.is_array())? = Value::Array(vec![]);
                return Some(Figment::from(Serialized::defaults(root)));
            }
            section[*name] = Value::Object(serde_json::Map::new());
        }
        section = section.get_mut(*name)?;
    }
    let section = section.as_object_mut()?;
    match usable {
        Some(usable) => {
            section.insert((*last).to_owned(), usable);
        }
        None => {
            section.remove(*last)?;
        }
    }
    Some(Figment::from(Serialized::defaults(root)))
}

/// A value that can be read.
fn value_for(known: &Key) -> Option<Value> {
    match known.default {
        _ if known.required && known.name.ends_with("url") => Some(Value::from("https://example.com/")),
        _ if known.required => Some(Value::from("x")),
        default => default.map(|text| serde_json::from_str(text).unwrap_or_default()),
    }
}

/// The same for a whole section.
fn section(name: &str) -> Option<Value> {
    let prefix = format!("{name}.");
    let mut section = Value::Null;
    for known in KEYS {
        let (Some(key), Some(value)) = (known.name.strip_prefix(&prefix), value_for(known)) else { continue };
        // Indexing creates missing sections.
        *key.split('.').fold(&mut section, |value, part| &mut value[part]) = value;
    }
    Some(section).filter(|section| !section.is_null())
}

/// The file and the line of a setting, or its variable.
fn place(figment: &Figment, key: &str) -> Option<String> {
    // What is in a list is known by the list.
    let list = key.split('.').take_while(|part| part.parse::<usize>().is_err()).collect::<Vec<_>>().join(".");
    let metadata = figment.find_metadata(&list)?;
    if let Some(file) = metadata.source.as_ref().and_then(figment::Source::file_path) {
        let line = line_of(file, key).map_or_else(String::new, |line| format!(" line {line}"));
        return Some(format!("{}{line}", file.display()));
    }
    metadata.name.contains(ENV_PREFIX).then(|| env_name(key))
}

fn line_of(file: &Path, key: &str) -> Option<usize> {
    let text = std::fs::read_to_string(file).ok()?;
    let document = toml_edit::ImDocument::parse(text.as_str()).ok()?;
    let mut item = document.as_item();
    let mut at = None;
    for part in key.split('.') {
        if let (Some(tables), Ok(number)) = (item.as_array_of_tables(), part.parse::<usize>()) {
            let table = tables.get(number)?;
            at = table.span().or(at);
            let Some((rest_key, _)) = key.rsplit_once('.') else { break };
            let last = &key[rest_key.len() + 1..];
            at = table.get_key_value(last).and_then(|(found, _)| found.span()).or(at);
            break;
        }
        let table = item.as_table_like()?;
        let (found, next) = table.get_key_value(part)?;
        at = found.span().or_else(|| next.span()).or(at);
        item = next;
    }
    Some(text.get(..at?.start)?.matches('\n').count() + 1)
}

/// Words in the names of keys that would select customers by their mood.
const SELECTIVE: &[&str] = &["rating", "sentiment", "stars", "score", "nps", "happy", "satisf", "mood"];

fn explain(error: &figment::Error) -> ConfigError {
    use figment::error::{Actual, Kind};

    let path = error.path.join(".");
    let metadata = error.metadata.as_ref();
    let file = metadata.and_then(|metadata| metadata.source.as_ref()).and_then(figment::Source::file_path);
    let whence = file.map(|file| file.display().to_string());
    let at = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    let about = |key: &str| KEYS.iter().find(|known| known.name == key).map_or("", |known| known.about);
    match &error.kind {
        Kind::MissingField(field) => {
            let key = at(field);
            // A section without any key counts as missing: name the required key.
            let key = KEYS
                .iter()
                .find(|known| known.required && known.name.starts_with(&format!("{key}.")))
                .map_or(key, |known| known.name.to_owned());
            let env = env_name(&key);
            ConfigError::new(
                key.clone(),
                "it is not set",
                format!("set it in the configuration file or as {env}: {}", about(&key)),
            )
        }
        // Google's rules and the FTC forbid asking only happy customers.
        Kind::UnknownField(field, _) if SELECTIVE.iter().any(|word| field.to_lowercase().contains(word)) => {
            let key = if path.ends_with(field.as_str()) { path.clone() } else { at(field) };
            ConfigError::new(
                key,
                "customers must not be chosen by how they feel: Google and the FTC forbid selective asking",
                "remove it; to hold back asks for unfinished work, use review.hold_tag",
            )
        }
        Kind::UnknownField(field, known) => {
            let key = if path.ends_with(field.as_str()) { path.clone() } else { at(field) };
            let secret = SecretName::ALL.iter().find(|name| name.env_key() == key);
            let remedy = match secret {
                Some(name) => format!("secrets do not belong in this file: use {}", name.file_key()),
                None => format!("{}remove it or use one of {}", guess(field, known), known.join(", ")),
            };
            ConfigError::new(key, "there is no such key", remedy)
        }
        Kind::UnknownVariant(found, known) => ConfigError::new(
            path,
            format!("`{found}` is not known"),
            format!("{}use one of {}", guess(found, known), known.join(", ")),
        ),
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            let default = KEYS.iter().find(|known| known.name == path).and_then(|known| known.default);
            let example = default.filter(|_| expected != "a boolean");
            let example = example.map_or_else(String::new, |value| format!(" such as {value}"));
            let remedy = match (found, default.map(|value| value.trim_matches('"'))) {
                // A number without its unit.
                (Actual::Signed(_) | Actual::Unsigned(_), Some(value)) if Period::parse(value).is_ok() => {
                    let number = found.to_string();
                    let number = number.trim_matches(|char: char| !char.is_ascii_digit() && char != '-');
                    format!("write \"{number}s\", \"{number}m\", \"{number}h\" or \"{number}d\"")
                }
                _ => format!("it must be {}{example}", wanted(expected)),
            };
            ConfigError::new(path, format!("it is {}", in_words(found)), remedy)
        }
        Kind::Message(message) if path.is_empty() => {
            let file = whence.unwrap_or_else(|| "the configuration".to_owned());
            if let Some(problem) = syntax(message) {
                return ConfigError::new(file, problem, "correct that line");
            }
            let remedy = "let the user that runs this read it, or name another file with --config";
            ConfigError::new(file, format!("it cannot be read ({message})"), remedy)
        }
        // Errors of our own value types have the form "problem; remedy".
        Kind::Message(message) => {
            let (problem, remedy) = message.split_once("; ").unwrap_or((message, "correct the value"));
            ConfigError::new(path, problem, remedy)
        }
        other => ConfigError::new(path, other.to_string(), "correct the value"),
    }
}

/// "did you mean …? " if one of the names is much like it.
fn guess(text: &str, known: &[&str]) -> String {
    nearest(text, known.iter().map(|name| (*name).to_owned()))
        .map_or_else(String::new, |name| format!("did you mean `{name}`? if not, "))
}

/// Where TOML is wrong, and why. `None` if the error is another one.
fn syntax(message: &str) -> Option<String> {
    let place = message.lines().next()?.strip_prefix("TOML parse error at ")?;
    let why = message.lines().rfind(|line| !line.trim().is_empty())?;
    Some(format!("{place} is not valid TOML ({why})"))
}

fn in_words(found: &figment::error::Actual) -> String {
    use figment::error::Actual;

    match found {
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(number) => format!("the number {number}"),
        Actual::Signed(number) => format!("the number {number}"),
        Actual::Float(number) => format!("the number {number}"),
        Actual::Str(text) => format!("the string {text:?}"),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a section".to_owned(),
        other => other.to_string(),
    }
}

fn wanted(expected: &str) -> &str {
    match expected {
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "i64" => "a whole number",
        "path string" => "a string",
        "socket address" => "an address with a port",
        section if section.starts_with("struct ") => "a section with keys",
        other => other,
    }
}
