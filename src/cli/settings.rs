//! Shows and checks the effective settings.

use serde_json::Value;

use super::call::{Call, print_json, print_text};
use super::exit::{Status, Stop};
use crate::accounts::forwards::forwards;
use crate::config::{KEYS, SecretName, find_secret, value_of};
use crate::text_table::plain;
use crate::workers::channels::is_runnable;

pub(super) fn show(call: &Call) -> Result<Status, Stop> {
    let config = call.config()?;
    let mut value = serde_json::to_value(&config).map_err(Stop::failed)?;
    let secrets: serde_json::Map<String, Value> = SecretName::ALL
        .into_iter()
        .filter(|name| name.is_needed(&config))
        .map(|name| {
            let from = match find_secret(&config, name) {
                Ok((_, source)) => source.to_string(),
                Err(error) => format!("missing: {error}"),
            };
            (name.credential().to_owned(), from.into())
        })
        .collect();
    if call.json {
        value["secrets"] = Value::Object(secrets);
        return print_json(&value);
    }
    let mut rows: Vec<[String; 2]> = KEYS
        .iter()
        .map(|key| {
            let value =
                value_of(&value, key.name).map_or_else(|| "(not set)".to_owned(), ToString::to_string);
            [key.name.to_owned(), value]
        })
        .collect();
    rows.extend(
        secrets
            .into_iter()
            .map(|(name, from)| [format!("secret {name}"), from.as_str().unwrap_or_default().to_owned()]),
    );
    print_text(&plain(&["key", "value"], rows))
}

pub(super) fn schema() -> Result<Status, Stop> {
    print_json(&crate::config::schema())
}

/// Settings without errors.
#[derive(serde::Serialize)]
pub(super) struct Checked {
    ok: bool,
    /// Whether `review.message` makes sense without a title, a technician or a first name.
    message_reads_when_parts_are_missing: bool,
}

pub(super) fn check(call: &Call) -> Result<Status, Stop> {
    let (config, secrets) = call.secrets()?;
    forwards(&config, &secrets.webhook_secret).map_err(Stop::usage)?;
    config.mail().map_err(Stop::usage)?;
    if let Some(program) = config.alerts.command.first().filter(|program| !is_runnable(program)) {
        let problem = format!("alerts.command: {program} cannot be started");
        return Err(Stop::usage(format!(
            "{problem}; name a program that is there and may be run, by its whole path"
        )));
    }
    let reads_always = config.review.texts(None).map_err(Stop::usage)?.reads_when_parts_are_missing();
    if call.json {
        return print_json(&Checked { ok: true, message_reads_when_parts_are_missing: reads_always });
    }
    print_text("the configuration is fine")?;
    if !reads_always {
        print_text(
            "review.message does not work when a title, a technician or a first name is missing: the built-in message is sent then",
        )?;
    }
    Ok(Status::Fine)
}
