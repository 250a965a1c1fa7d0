//! Settings: one TOML file, and an environment variable for every key. Secrets are read separately
//! (`config/secret.rs`).
//!
//! [`KEYS`] defines name, default and meaning of each key. A test compares the documentation's table, the
//! example file and the types below with it.

mod error;
mod keys;
mod reading;
mod schema;
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

use crate::domain::model::WatchTopic;
use crate::domain::reaction::{CLIENT_UPDATED, Reaction, RuleSection};
use crate::outbound::mail::is_address;
use crate::outbound::resolver::{is_loopback, is_public, literal};

pub use error::{ConfigError, ConfigErrors};
pub use keys::{KEYS, Key};
use keys::{OF_ACCOUNTS, RENAMED};
pub use schema::schema;
pub use secret::{SecretName, Secrets, find_secret};
pub use sections::{
    ActionsSection, AlertsSection, ApiSection, BrandSection, ConsoleSection, ControlSection, EventsSection,
    ForwardSection, HttpSection, JobberSection, Logo, MailSection, MetricsSection, OutgoingSection,
    PollSection, ReviewSection, StoreSection,
};
use trial::Trial;
pub use trial::{TRY_TEMPLATES, allow_trials, try_templates};
use values::HttpsUrl;
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
    /// The operator's console.
    #[serde(default)]
    pub console: ConsoleSection,
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
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigErrors> {
        let file = match path {
            Some(path) if !path.is_file() => {
                return Err(ConfigErrors(vec![ConfigError::new(
                    path.display().to_string(),
                    "there is no such file",
                    "give the right path with --config",
                )]));
            }
            Some(path) => Toml::file_exact(path),
            // It may be missing, because the environment can set everything.
            None => Toml::file(DEFAULT_PATH),
        };
        Self::read(file)
    }

    /// The settings in a text, without the environment.
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigErrors> {
        let figment = Figment::from(Serialized::defaults(defaults())).merge(Toml::string(text));
        reading::extract(&figment, Self::mistakes)
    }

    fn read(file: figment::providers::Data<Toml>) -> Result<Self, ConfigErrors> {
        let secrets: Vec<String> =
            SecretName::ALL.iter().map(|name| name.env_key().replace('.', "__")).collect();
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let figment = Figment::from(Serialized::defaults(defaults()))
            .merge(file)
            .merge(Env::prefixed(ENV_PREFIX).ignore(&secrets).split("__"));
        reading::extract(&figment, Self::mistakes)
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

    /// Whatever fits each setting by itself and does not fit together.
    fn mistakes(&self) -> Vec<ConfigError> {
        let mut found = Vec::new();
        let mut wrong =
            |key: &str, problem: &str, remedy: &str| found.push(ConfigError::new(key, problem, remedy));
        if self.jobber.client_id.trim().is_empty() {
            wrong(
                "jobber.client_id",
                "it is empty",
                "copy it from your app's page in Jobber's developer centre",
            );
        }
        let public = &self.http.public_url.0;
        if public.path() != "/" || public.query().is_some() || public.fragment().is_some() {
            let remedy = "give only scheme, host and port, such as https://reviews.example.com";
            wrong("http.public_url", "it has a path", remedy);
        }
        if self.console.listen.is_some_and(|address| !address.ip().is_loopback()) {
            let remedy = "use 127.0.0.1 and reach it from elsewhere with ssh -L";
            wrong("console.listen", "it is not an address of this machine only", remedy);
        }
        if let Some(proxy) = &self.outgoing.proxy
            && let Err(error) = reqwest::Proxy::all(proxy)
        {
            let remedy = "give the address of an HTTP proxy, such as http://proxy.example.com:3128";
            wrong("outgoing.proxy", &format!("it cannot be used ({error})"), remedy);
        }
        let has_no_url =
            |forward: &ForwardSection| forward.url.is_none() && self.events.webhook_url.is_none();
        if self.events.forward.iter().any(has_no_url) {
            let problem = "it has no url, and events.webhook_url is not set";
            wrong("events.forward", problem, "give it a url, or set events.webhook_url");
        }
        if self.alerts.digest.is_some() && !self.alerts.are_heard() {
            wrong("alerts.digest", "nobody would get it", AlertsSection::REMEDY);
        }
        found.extend(self.brand.check().err());
        // Only the daemon may be able to read the password.
        found.extend(self.mail_as(None).err());
        found.extend(self.place_with(None).err());
        found.extend(self.reactions().err());
        found.extend(self.review_mistakes());
        found
    }

    /// The same of what an account may have of its own.
    fn review_mistakes(&self) -> Vec<ConfigError> {
        let mut found = Vec::new();
        let mut wrong = |key: &str, problem: &str, remedy: &str| {
            found.push(ConfigError::new(key, problem, remedy));
        };
        let review = &self.review;
        if review.delay.0 >= review.max_age.0 {
            wrong(
                "review.delay",
                &format!("{} is not shorter than review.max_age, {}", review.delay, review.max_age),
                "every ask would be too old before it is due: shorten review.delay or raise review.max_age",
            );
        }
        if let Some(text) = review.digest_to.iter().find(|text| !is_address(text)) {
            let problem = format!("`{text}` is not an address");
            wrong("review.digest_to", &problem, "write one such as owner@example.com");
        }
        let is_mailed = self.alerts.digest.is_some() && self.alerts.mail.server.is_some();
        if !review.digest_to.is_empty() && !is_mailed {
            wrong("review.digest_to", "nothing would be mailed", "set alerts.digest and alerts.mail");
        }
        if review.window.window().leaves(&review.window.timezone.0, Timestamp::UNIX_EPOCH).is_none() {
            let problem = "it is never open, so nobody would be asked";
            wrong("review.window", problem, "set hours such as 09:00-20:00 for at least one day");
        }
        if self.store.retention <= review.cooldown {
            wrong(
                "store.retention",
                "it is not longer than review.cooldown: past asks would be forgotten before the cooldown is over",
                "raise it, or shorten review.cooldown",
            );
        }
        if self.store.retention <= review.max_age {
            wrong(
                "store.retention",
                "it is not longer than review.max_age: past asks would be forgotten while the work can still be asked about",
                "raise it, or shorten review.max_age",
            );
        }
        found.extend(self.old_names());
        found.extend(self.unreachable());
        found.extend(review.texts(None).err());
        found
    }

    fn old_names(&self) -> Option<ConfigError> {
        let review = &self.review;
        let both = [
            ("only", review.only_titles.is_some(), review.only_named.is_empty()),
            ("not", review.not_titles.is_some(), review.not_named.is_empty()),
        ];
        let (which, ..) = both.into_iter().find(|(_, is_old, is_new_free)| *is_old && !is_new_free)?;
        Some(ConfigError::new(
            format!("review.{which}_titles"),
            format!("it is the old name of review.{which}_named, and both are set"),
            format!("keep only review.{which}_named"),
        ))
    }

    fn unreachable(&self) -> Vec<ConfigError> {
        let addresses = [
            ("jobber.api_base", Some(&self.jobber.api_base)),
            ("review.webhook_url", Some(&self.review.webhook_url)),
            ("events.webhook_url", self.events.webhook_url.as_ref()),
            ("alerts.webhook_url", self.alerts.webhook_url.as_ref()),
        ];
        let may_be_private = self.outgoing.private_addresses;
        let is_reachable =
            |url: &HttpsUrl| may_be_private || literal(&url.0).is_none_or(is_public) || is_loopback(&url.0);
        let remedy =
            "use a public address, or set outgoing.private_addresses = true if it is in your own network";
        let wrong = addresses.into_iter().filter(|(_, url)| url.is_some_and(|url| !is_reachable(url)));
        wrong.map(|(key, _)| ConfigError::new(key, "it is not a public address", remedy)).collect()
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
        reading::extract(&Figment::from(Serialized::defaults(root)), Self::review_mistakes)
            .map_err(ConfigErrors::into_first)
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

#[cfg(test)]
mod tests;
