//! Sets a machine up: settings and secrets, written once and never over others.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand, ValueEnum};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::call::{Call, print_json, print_text};
use super::doctor;
use super::exit::{Status, Stop};
use crate::config::{Config, DEFAULT_PATH, SecretName};
use crate::jobber::scopes::NEEDED;

/// What the settings are made of: the file that the package installs.
const EXAMPLE: &str = include_str!("../../systemd/config.example.toml");

/// What stands in it for values that nobody else can know.
const PLACEHOLDERS: [(&str, &str); 3] = [
    ("client_id", "00000000-0000-0000-0000-000000000000"),
    ("public_url", "https://reviews.example.com"),
    ("webhook_url", "https://platform.example.com/api/webhooks/trigger-review"),
];

const UNIT: &str = "jobber-reviewd";

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The app's client id, from its page in Jobber's developer centre
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// A file with the app's client secret; - reads it from stdin. It is never taken from the command line itself
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// How browsers reach this machine, such as `https://reviews.example.com`
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Where review requests are posted: the webhook of your review platform
    #[arg(long, value_name = "URL")]
    webhook_url: Option<String>,
    /// Enable and start the service afterwards, and have `doctor` look at it
    #[arg(long)]
    start: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum SecretVerb {
    /// Make a new secret and print it, or write it into a file that is not there yet
    New {
        /// What it is for
        kind: Kind,
        /// The file; only its owner can read it
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Seals the tokens in the store
    StoreKey,
    /// Signs what is sent
    WebhookSecret,
}

impl Kind {
    fn make(self) -> Result<SecretString, Stop> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(Stop::failed)?;
        let text = STANDARD.encode(bytes);
        Ok(match self {
            Self::StoreKey => text.into(),
            Self::WebhookSecret => format!("whsec_{text}").into(),
        })
    }
}

/// A new secret, or the file that it is in.
#[derive(serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NewSecret<'s> {
    Secret(&'s str),
    File(&'s Path),
}

pub(super) fn secret(call: &Call, verb: SecretVerb) -> Result<Status, Stop> {
    let SecretVerb::New { kind, file } = verb;
    let secret = kind.make()?;
    let Some(file) = file else {
        return if call.json {
            print_json(&NewSecret::Secret(secret.expose_secret()))
        } else {
            print_text(secret.expose_secret())
        };
    };
    if !create(&file, &secret)? {
        return Err(Stop::usage(format!("{} is there already: move it away first", file.display())));
    }
    if call.json {
        print_json(&NewSecret::File(&file))
    } else {
        print_text(&format!("a new secret is in {}", file.display()))
    }
}

/// What is to be written, found out and checked before anything is.
struct Plan {
    settings: PathBuf,
    text: String,
    config: Config,
    client_secret: Option<SecretString>,
}

/// What was written, and what has to be handed over.
#[derive(serde::Serialize)]
pub(super) struct Initialised<'p> {
    settings: &'p Path,
    /// For the app in Jobber's developer centre.
    redirect_uri: &'p str,
    /// For the app in Jobber's developer centre.
    scopes: &'p [&'p str],
    store_key_file: &'p Path,
    /// For the receiver.
    webhook_secret: &'p str,
}

pub(super) async fn init(call: Call, args: InitArgs) -> Result<Status, Stop> {
    let starts = args.start;
    let settings = call.config.clone().unwrap_or_else(|| DEFAULT_PATH.into());
    // The places of secrets are written down as whole paths.
    let settings = std::path::absolute(settings).map_err(Stop::failed)?;
    if starts && call.json {
        return Err(Stop::usage("--start prints what doctor finds: leave --json out"));
    }
    let plan = plan(settings, args)?;
    let file_of = |name: SecretName| plan.settings.with_file_name(name.credential());
    let folder = plan.settings.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| cannot(folder, &error))?;
    // The settings come last: as long as they have the placeholders, this can be run again.
    if let Some(secret) = &plan.client_secret {
        create(&file_of(SecretName::JobberClientSecret), secret)?;
    }
    let store_key = file_of(SecretName::StoreKey);
    create(&store_key, &Kind::StoreKey.make()?)?;
    let webhook_secret = file_of(SecretName::WebhookSecret);
    create(&webhook_secret, &Kind::WebhookSecret.make()?)?;
    replace(&plan.settings, &plan.text)?;

    let signing = read(&webhook_secret)?;
    let redirect = plan.config.redirect_uri();
    let scopes = NEEDED.map(|(_, label)| label);
    if call.json {
        return print_json(&Initialised {
            settings: &plan.settings,
            redirect_uri: &redirect,
            scopes: &scopes,
            store_key_file: &store_key,
            webhook_secret: signing.expose_secret(),
        });
    }
    let mut text = format!(
        "Written: {} and its secrets.\n\nIn Jobber's developer centre, give the app\n  the redirect URI  {redirect}\n  the scopes        {}\n\nYour review platform needs this secret to verify what it gets. It is shown once; it stays in {}:\n  {}\n\nKeep a copy of {} in a safe place: without it every contractor has to connect again.\n",
        plan.settings.display(),
        scopes.join(", "),
        webhook_secret.display(),
        signing.expose_secret(),
        store_key.display(),
    );
    if !starts {
        text.push_str("\nNext: sudo systemctl enable --now jobber-reviewd && sudo jobber-reviewd doctor");
        return print_text(&text);
    }
    print_text(&text)?;
    let started = tokio::process::Command::new("systemctl").args(["enable", "--now", UNIT]).status().await;
    match started {
        Ok(status) if status.success() => {}
        Ok(_) => {
            let remedy = format!("the service did not start: journalctl -u {UNIT} -n 20 says why");
            return Err(Stop::new(Status::NeedsHuman, remedy));
        }
        Err(error) => return Err(Stop::failed(format!("systemctl cannot be started: {error}"))),
    }
    doctor::doctor(&call).await
}

fn plan(settings: PathBuf, args: InitArgs) -> Result<Plan, Stop> {
    let present = match std::fs::read_to_string(&settings) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => EXAMPLE.to_owned(),
        Err(error) => return Err(cannot(&settings, &error)),
    };
    let shown = settings.display();
    let [client_id, ..] = PLACEHOLDERS;
    if !present.lines().any(|line| line == line_of(client_id.0, client_id.1)) {
        return Err(Stop::usage(format!(
            "{shown} has settings already, and nothing is written over them: edit it, or move it away first"
        )));
    }
    let secret_file = settings.with_file_name(SecretName::JobberClientSecret.credential());
    let needs_secret = !secret_file.exists();
    let given_secret = args.client_secret_file.as_deref().map(read).transpose()?;
    if !needs_secret {
        let kept = read(&secret_file)?;
        let is_other = |given: &SecretString| given.expose_secret() != kept.expose_secret();
        if kept.expose_secret().is_empty() || given_secret.as_ref().is_some_and(is_other) {
            let problem = if kept.expose_secret().is_empty() { "is empty" } else { "has another secret" };
            return Err(Stop::usage(format!("{} {problem}: move it away first", secret_file.display())));
        }
    }
    let is_open =
        |name: &str, placeholder: &str| present.lines().any(|line| line == line_of(name, placeholder));
    let given = [args.client_id, args.public_url, args.webhook_url];
    if !std::io::stdin().is_terminal() {
        let unknown = PLACEHOLDERS.into_iter().zip(&given);
        let unknown = unknown.filter(|((name, holder), given)| given.is_none() && is_open(name, holder));
        let mut missing: Vec<String> = unknown.map(|((name, _), _)| flag(name)).collect();
        if needs_secret && given_secret.is_none() {
            missing.push("--client-secret-file".to_owned());
        }
        if !missing.is_empty() {
            return Err(Stop::usage(format!("nobody can be asked here: give {}", missing.join(", "))));
        }
    }
    let questions = [
        "Client id of your app in Jobber's developer centre",
        "How contractors' browsers reach this machine (https://reviews.example.com)",
        "Where review requests are posted (your platform's webhook)",
    ];
    let mut text = present.clone();
    for (((name, placeholder), given), question) in PLACEHOLDERS.into_iter().zip(given).zip(questions) {
        let value = match given {
            Some(value) => value,
            None if is_open(name, placeholder) => ask(question)?,
            None => continue,
        };
        text = filled(&text, name, placeholder, value.trim())
            .ok_or_else(|| Stop::usage(format!("{shown} has {name} already: leave {} out", flag(name))))?;
    }
    for name in [SecretName::JobberClientSecret, SecretName::StoreKey, SecretName::WebhookSecret] {
        text = with_file(&text, name, &settings.with_file_name(name.credential()));
    }
    let config = Config::parse(&text).map_err(Stop::usage)?;
    let client_secret = match given_secret {
        _ if !needs_secret => None,
        Some(secret) => Some(secret),
        None => {
            Some(rpassword::prompt_password("Its client secret (not shown): ").map_err(Stop::failed)?.into())
        }
    };
    if client_secret.as_ref().is_some_and(|secret| secret.expose_secret().trim().is_empty()) {
        return Err(Stop::usage(
            "the client secret is empty: copy it from the app's page in Jobber's developer centre",
        ));
    }
    Ok(Plan { settings, text, config, client_secret })
}

fn flag(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

fn line_of(name: &str, value: &str) -> String {
    // Every JSON string is a string of TOML.
    format!("{name} = {}", json!(value))
}

/// The settings with a value instead of its placeholder. `None` if the placeholder is not there.
fn filled(text: &str, name: &str, placeholder: &str, value: &str) -> Option<String> {
    let line = line_of(name, placeholder);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    *lines.iter_mut().find(|found| **found == line)? = line_of(name, value);
    Some(lines.join("\n") + "\n")
}

/// The settings with the place of a secret, for verbs that an administrator runs. The unit hands it over as a credential.
fn with_file(text: &str, name: SecretName, file: &Path) -> String {
    let key = name.file_key().rsplit('.').next().unwrap_or_default();
    let hint = format!("# {key} = ");
    let lines = text.lines().map(|line| {
        if line.starts_with(&hint) { line_of(key, &file.to_string_lossy()) } else { line.to_owned() }
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

fn ask(question: &str) -> Result<String, Stop> {
    let mut stderr = std::io::stderr();
    let mut line = String::new();
    let asked = write!(stderr, "{question}: ").and_then(|()| stderr.flush());
    asked.and_then(|()| std::io::stdin().lock().read_line(&mut line)).map_err(Stop::failed)?;
    if line.trim().is_empty() { Err(Stop::usage("nothing was written")) } else { Ok(line.trim().to_owned()) }
}

/// Reads a secret from a file, or from stdin.
fn read(file: &Path) -> Result<SecretString, Stop> {
    let mut text = String::new();
    let done = if file == Path::new("-") {
        std::io::stdin().lock().read_to_string(&mut text)
    } else {
        File::open(file).and_then(|mut file| file.read_to_string(&mut text))
    };
    done.map_err(|error| cannot(file, &error))?;
    Ok(text.trim().to_owned().into())
}

fn cannot(path: &Path, error: &std::io::Error) -> Stop {
    let hint = if error.kind() == std::io::ErrorKind::PermissionDenied { ": run this as root" } else { "" };
    Stop::usage(format!("{}: {error}{hint}", path.display()))
}

/// Writes a secret whole or not at all, for its owner alone. Returns `false` if the file is there already.
fn create(path: &Path, secret: &SecretString) -> Result<bool, Stop> {
    let part = part_of(path, 0o600, &format!("{}\n", secret.expose_secret()))?;
    let linked = std::fs::hard_link(&part, path);
    std::fs::remove_file(&part).map_err(|error| cannot(&part, &error))?;
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(cannot(path, &error)),
    }
}

fn replace(path: &Path, text: &str) -> Result<(), Stop> {
    // Where a link leads, with the rights that it has.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let known = std::fs::metadata(path).ok();
    let mode = known.as_ref().map_or(0o644, |known| known.mode() & 0o777);
    let part = part_of(path, mode, text)?;
    if let Some(known) = known {
        let given = std::os::unix::fs::chown(&part, Some(known.uid()), Some(known.gid()));
        given.map_err(|error| cannot(path, &error))?;
    }
    std::fs::rename(&part, path).map_err(|error| cannot(path, &error))
}

fn part_of(path: &Path, mode: u32, text: &str) -> Result<PathBuf, Stop> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let part = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&part)?;
        // Whatever the mask of whoever runs this.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error: std::io::Error| {
        // What is not there cannot be removed.
        let _removed = std::fs::remove_file(&part);
        cannot(path, &error)
    })?;
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_has_every_placeholder_and_every_secret() {
        let mut text = EXAMPLE.to_owned();
        for (name, placeholder) in PLACEHOLDERS {
            text = filled(&text, name, placeholder, "https://\"quoted\"/ü").unwrap();
            assert_eq!(filled(&text, name, placeholder, "again"), None);
        }
        for name in [SecretName::JobberClientSecret, SecretName::StoreKey, SecretName::WebhookSecret] {
            let before = text.clone();
            text = with_file(&text, name, Path::new("/tmp/a"));
            assert_ne!(text, before, "{}", name.file_key());
        }
        assert_eq!(text.lines().count(), EXAMPLE.lines().count());
    }
}
