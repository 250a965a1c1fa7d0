//! Settings: one TOML file, and an environment variable for every key. Secrets are read separately
//! (`config/secret.rs`).
//!
//! [`KEYS`] defines name, default and meaning of each key. A test compares the documentation's table, the
//! example file and the types below with it.

mod error;
mod keys;
mod secret;
mod sections;
mod trial;
mod values;

use std::collections::BTreeMap;
use std::path::Path;

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::actions::nearest;
use crate::domain::model::WatchTopic;
use crate::domain::reaction::{CLIENT_UPDATED, Reaction, RuleSection};
use crate::outbound::resolver::{is_loopback, is_public, literal};

pub use error::ConfigError;
pub use keys::{KEYS, Key};
use keys::{OF_ACCOUNTS, RENAMED};
pub use secret::{SecretName, Secrets, find_secret};
pub use sections::{
    ActionsSection, AlertsSection, ApiSection, BrandSection, ControlSection, EventsSection, ForwardSection,
    HttpSection, JobberSection, Logo, MetricsSection, OutgoingSection, PollSection, ReviewSection,
    StoreSection,
};
use trial::Trial;
pub use trial::{TRY_TEMPLATES, allow_trials, try_templates};
pub use values::{Colour, Concurrency, DayHours, Language, Percent, Period};

pub const DEFAULT_PATH: &str = "/etc/jobber-reviewd/config.toml";

pub const ENV_PREFIX: &str = "JOBBER_REVIEWD__";

pub const EVENTS_PATH: &str = "webhooks/jobber";

pub fn env_name(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// The effective settings, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Jobber's app and API.
    pub jobber: JobberSection,
    /// The listener for browsers.
    pub http: HttpSection,
    /// The listener for Prometheus.
    #[serde(default)]
    pub metrics: MetricsSection,
    /// The listener for the command line.
    pub control: ControlSection,
    /// The store.
    pub store: StoreSection,
    /// The sweeps.
    pub poll: PollSection,
    /// The allowed targets of requests.
    pub outgoing: OutgoingSection,
    /// The channels for alerts to the operator.
    pub alerts: AlertsSection,
    /// The receiver of changes.
    pub events: EventsSection,
    /// What may be written in Jobber.
    pub actions: ActionsSection,
    /// The HTTP API.
    #[serde(default)]
    pub api: ApiSection,
    /// Who the contractors deal with.
    #[serde(default)]
    pub brand: BrandSection,
    /// What is done in Jobber after something happened.
    pub rules: Vec<RuleSection>,
    /// Whom to ask, when and how.
    pub review: ReviewSection,
}

impl Config {
    /// Reads the file at `path`, with the environment on top. Only the default file may be missing.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let file = match path {
            Some(path) if !path.is_file() => {
                return Err(ConfigError::new(
                    path.display().to_string(),
                    "there is no such file",
                    "give the right path with --config",
                ));
            }
            Some(path) => Toml::file_exact(path),
            // It may be missing, because the environment can set everything.
            None => Toml::file(DEFAULT_PATH),
        };
        Self::read(file)
    }

    #[cfg(feature = "fuzzing")]
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let figment = Figment::from(Serialized::defaults(defaults())).merge(Toml::string(text));
        Self::extract(&figment)
    }

    fn read(file: figment::providers::Data<Toml>) -> Result<Self, ConfigError> {
        let secrets: Vec<String> =
            SecretName::ALL.iter().map(|name| name.env_key().replace('.', "__")).collect();
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let figment = Figment::from(Serialized::defaults(defaults()))
            .merge(file)
            .merge(Env::prefixed(ENV_PREFIX).ignore(&secrets).split("__"));
        Self::extract(&figment)
    }

    fn extract(figment: &Figment) -> Result<Self, ConfigError> {
        let config: Self = figment.extract().map_err(|error| explain(&error))?;
        config.check()?;
        Ok(config)
    }

    /// The rules, checked.
    pub fn reactions(&self) -> Result<Vec<Reaction>, ConfigError> {
        let mut reactions = Vec::new();
        for (number, rule) in self.rules.iter().enumerate() {
            let wrong = |problem: String, remedy: &'static str| {
                ConfigError::new(format!("rules (number {})", number + 1), problem, remedy)
            };
            let is_watched = self.events.topics.contains(&WatchTopic::ClientUpdated);
            if rule.on == CLIENT_UPDATED && (self.events.webhook_url.is_none() || !is_watched) {
                let problem = "on = \"client.updated\" needs events.webhook_url and client.updated in events.topics: without them clients are not watched";
                return Err(wrong(problem.to_owned(), "set both, or remove the rule"));
            }
            let trial = Trial::Rule(rule.clone(), self.actions.write.clone());
            trial.run().map_err(|error| wrong(error.to_string(), "correct the templates in `with`"))?;
            let reaction = Reaction::new(rule, &self.actions.write);
            reactions.push(reaction.map_err(|error| wrong(error.to_string(), "correct the rule"))?);
        }
        Ok(reactions)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.jobber.client_id.trim().is_empty() {
            return Err(ConfigError::new(
                "jobber.client_id",
                "it is empty",
                "copy it from your app's page in Jobber's developer centre",
            ));
        }
        let public = &self.http.public_url.0;
        if public.path() != "/" || public.query().is_some() || public.fragment().is_some() {
            return Err(ConfigError::new(
                "http.public_url",
                "it has a path",
                "give only scheme, host and port, such as https://reviews.example.com",
            ));
        }
        if self.review.delay.0 >= self.review.max_age.0 {
            return Err(ConfigError::new(
                "review.delay",
                format!("{} is not shorter than review.max_age, {}", self.review.delay, self.review.max_age),
                "every ask would be too old before it is due: shorten review.delay or raise review.max_age",
            ));
        }
        self.brand.check()?;
        if let Some(proxy) = &self.outgoing.proxy
            && let Err(error) = reqwest::Proxy::all(proxy)
        {
            return Err(ConfigError::new(
                "outgoing.proxy",
                format!("it cannot be used ({error})"),
                "give the address of an HTTP proxy, such as http://proxy.example.com:3128",
            ));
        }
        self.reactions()?;
        let has_no_url =
            |forward: &&ForwardSection| forward.url.is_none() && self.events.webhook_url.is_none();
        if self.events.forward.iter().any(|forward| has_no_url(&forward)) {
            return Err(ConfigError::new(
                "events.forward",
                "it has no url, and events.webhook_url is not set",
                "give it a url, or set events.webhook_url",
            ));
        }
        let review = &self.review;
        let both = [
            ("only", review.only_titles.is_some(), review.only_named.is_empty()),
            ("not", review.not_titles.is_some(), review.not_named.is_empty()),
        ];
        if let Some((which, ..)) = both.into_iter().find(|(_, is_old, is_new_free)| *is_old && !is_new_free) {
            return Err(ConfigError::new(
                format!("review.{which}_titles"),
                format!("it is the old name of review.{which}_named, and both are set"),
                format!("keep only review.{which}_named"),
            ));
        }
        self.review.texts(None)?;
        let addresses = [
            ("jobber.api_base", Some(&self.jobber.api_base)),
            ("review.webhook_url", Some(&self.review.webhook_url)),
            ("events.webhook_url", self.events.webhook_url.as_ref()),
            ("alerts.webhook_url", self.alerts.webhook_url.as_ref()),
        ];
        for (key, url) in addresses.into_iter().filter_map(|(key, url)| Some((key, url?))) {
            let is_reachable = literal(&url.0).is_none_or(is_public) || is_loopback(&url.0);
            if !is_reachable && !self.outgoing.private_addresses {
                return Err(ConfigError::new(
                    key,
                    "it is not a public address",
                    "use a public address, or set outgoing.private_addresses = true if it is in your own network",
                ));
            }
        }
        if self.review.window.window().leaves(&self.review.window.timezone.0, Timestamp::UNIX_EPOCH).is_none()
        {
            return Err(ConfigError::new(
                "review.window",
                "it is never open, so nobody would be asked",
                "set hours such as 09:00-20:00 for at least one day",
            ));
        }
        if self.store.retention <= self.review.cooldown {
            return Err(ConfigError::new(
                "store.retention",
                "it is not longer than review.cooldown: past asks would be forgotten before the cooldown is over",
                "raise it, or shorten review.cooldown",
            ));
        }
        if self.store.retention <= self.review.max_age {
            return Err(ConfigError::new(
                "store.retention",
                "it is not longer than review.max_age: past asks would be forgotten while the work can still be asked about",
                "raise it, or shorten review.max_age",
            ));
        }
        Ok(())
    }

    /// The settings with an account's overrides, such as `delay`.
    pub fn with_overrides(&self, own: &BTreeMap<String, serde_json::Value>) -> Result<Self, ConfigError> {
        let mut root = serde_json::to_value(self)
            .map_err(|error| ConfigError::new("the settings", error.to_string(), "mend them"))?;
        for (name, value) in own {
            let present =
                RENAMED.iter().find(|(old, _)| old == name).map(|(_, present)| (*present).to_owned());
            let name = present.as_ref().unwrap_or(name);
            if !KEYS.iter().any(|key| key.of_account() == Some(name)) {
                let own: Vec<_> = KEYS.iter().filter_map(Key::of_account).collect();
                let remedy = format!("use one of {}", own.join(", "));
                return Err(ConfigError::new(name, "this key cannot be set for one account", remedy));
            }
            let place = format!("{OF_ACCOUNTS}{name}");
            *place.split('.').fold(&mut root, |value, part| &mut value[part]) = value.clone();
        }
        Self::extract(&Figment::from(Serialized::defaults(root)))
    }

    /// The address for Jobber's webhooks.
    pub fn events_url(&self) -> String {
        format!("{}{EVENTS_PATH}", self.http.public_url.0)
    }

    /// The address for Jobber's OAuth callback.
    pub fn redirect_uri(&self) -> String {
        format!("{}oauth/callback", self.http.public_url.0)
    }
}

fn defaults() -> serde_json::Value {
    let mut root = serde_json::json!({});
    for key in KEYS {
        let Some(text) = key.default else { continue };
        // Indexing creates missing sections.
        let place = key.name.split('.').fold(&mut root, |value, part| &mut value[part]);
        *place = serde_json::from_str(text).unwrap_or_default();
    }
    root
}

pub fn value_of<'v>(settings: &'v serde_json::Value, name: &str) -> Option<&'v serde_json::Value> {
    name.split('.').try_fold(settings, |value, part| value.get(part)).filter(|value| !value.is_null())
}

/// Parses a value like one from the environment: `true`, `5` and `["a", "b"]` have their types, all else is
/// text.
pub fn parse_value(text: &str) -> serde_json::Value {
    let Ok(value) = text.parse::<figment::value::Value>();
    serde_json::to_value(value).unwrap_or_default()
}

/// Words in the names of keys that would select customers by their mood.
const SELECTIVE: &[&str] = &["rating", "sentiment", "stars", "score", "nps", "happy", "satisf", "mood"];

fn explain(error: &figment::Error) -> ConfigError {
    use figment::error::{Actual, Kind};

    let path = error.path.join(".");
    let whence = error
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.source.as_ref())
        .and_then(figment::Source::file_path)
        .map(|file| file.display().to_string());
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
            let source = whence.unwrap_or_else(|| "the environment".to_owned());
            ConfigError::new(key, format!("there is no such key ({source})"), remedy)
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
                (Actual::Signed(number), Some(value)) if Period::parse(value).is_ok() => {
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

#[cfg(test)]
mod tests;
