//! The sections of the settings file, as they are read.

use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::trial::Trial;
use super::values::{
    Amount, Colour, Concurrency, DayHours, HttpsUrl, Language, Percent, Period, Schedule, WeekTime, Zone,
};
use crate::domain::actions::Permission;
use crate::domain::alerting::format::Format;
use crate::domain::forward::{Include, Topics};
use crate::domain::message::{Greet, Texts, TextsError};
use crate::domain::model::{Trigger, WatchTopic};
use crate::domain::rules::{JobberSwitch, KindOfClients, Phones, Policy};
use crate::domain::window::Window;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobberSection {
    pub client_id: String,
    pub client_secret_file: Option<PathBuf>,
    pub api_base: HttpsUrl,
    pub draft_app: bool,
    pub budget_share: Percent,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSection {
    pub listen: SocketAddr,
    pub public_url: HttpsUrl,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsSection {
    pub listen: Option<SocketAddr>,
    #[serde(default = "a_few_hundred")]
    pub accounts: usize,
}

fn a_few_hundred() -> usize {
    500
}

impl Default for MetricsSection {
    fn default() -> Self {
        Self { listen: None, accounts: a_few_hundred() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlSection {
    pub socket: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSection {
    pub path: PathBuf,
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub retention: Period,
    #[serde(default = "a_year")]
    pub personal_retention: Period,
}

fn a_year() -> Period {
    Period(jiff::SignedDuration::from_hours(365 * 24))
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PollSection {
    pub schedule: Schedule,
    pub concurrency: Concurrency,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutgoingSection {
    pub private_addresses: bool,
    pub proxy: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertsSection {
    pub webhook_url: Option<HttpsUrl>,
    pub command: Vec<String>,
    #[serde(default)]
    pub format: Format,
    #[serde(default)]
    pub digest: Option<WeekTime>,
    #[serde(default)]
    pub mail: MailSection,
}

impl AlertsSection {
    pub const REMEDY: &str = "set alerts.webhook_url, alerts.mail or alerts.command";

    /// Whether they go anywhere.
    pub fn are_heard(&self) -> bool {
        self.webhook_url.is_some() || self.mail.server.is_some() || !self.command.is_empty()
    }
}

/// Alerts by mail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailSection {
    pub server: Option<String>,
    pub user: Option<String>,
    pub password_file: Option<PathBuf>,
    pub from: Option<String>,
    #[serde(default)]
    pub to: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsSection {
    pub enabled: bool,
    pub webhook_url: Option<HttpsUrl>,
    pub topics: Vec<WatchTopic>,
    #[serde(default)]
    pub forward: Vec<ForwardSection>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardSection {
    pub topics: Vec<Topics>,
    #[serde(default)]
    pub url: Option<HttpsUrl>,
    #[serde(default)]
    pub include: Include,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionsSection {
    pub write: Vec<Permission>,
}

/// Who the pages speak for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrandSection {
    pub name: Option<String>,
    pub contact: Option<String>,
    pub privacy: Option<HttpsUrl>,
    pub logo: Option<PathBuf>,
    pub accent: Option<Colour>,
    pub languages: Vec<Language>,
}

/// A picture, and its type for browsers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logo {
    pub bytes: Vec<u8>,
    pub media_type: &'static str,
}

impl Default for BrandSection {
    fn default() -> Self {
        let languages = vec![Language::En, Language::Es, Language::Fr];
        Self { name: None, contact: None, privacy: None, logo: None, accent: None, languages }
    }
}

impl BrandSection {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.languages.is_empty() {
            return Err(ConfigError::new(
                "brand.languages",
                "it is empty",
                "give at least one, such as [\"en\"]",
            ));
        }
        self.picture().map(|_| ())
    }

    /// Reads the file `logo`.
    pub fn picture(&self) -> Result<Option<Logo>, ConfigError> {
        const LARGEST: u64 = 256 * 1024;
        const TYPES: [(&str, &str); 5] = [
            ("png", "image/png"),
            ("svg", "image/svg+xml"),
            ("jpg", "image/jpeg"),
            ("jpeg", "image/jpeg"),
            ("webp", "image/webp"),
        ];

        let Some(path) = &self.logo else { return Ok(None) };
        let wrong = |problem: String, remedy: &str| {
            ConfigError::new("brand.logo", format!("{} {problem}", path.display()), remedy)
        };
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let media_type = TYPES.iter().find(|(known, _)| extension.eq_ignore_ascii_case(known));
        let Some((_, media_type)) = media_type else {
            return Err(wrong("is no picture by its name".to_owned(), "give a .png, .svg, .jpg or .webp"));
        };
        let unreadable = |error: std::io::Error| {
            wrong(format!("cannot be read ({})", error.kind()), "give the path of a readable file")
        };
        if std::fs::metadata(path).map_err(unreadable)?.len() > LARGEST {
            return Err(wrong("has more than 256 KiB".to_owned(), "give a smaller picture: phones load it"));
        }
        Ok(Some(Logo { bytes: std::fs::read(path).map_err(unreadable)?, media_type }))
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleSection {
    pub listen: Option<SocketAddr>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiSection {
    pub listen: Option<SocketAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewSection {
    pub trigger: Trigger,
    pub include_drafts: bool,
    pub webhook_url: HttpsUrl,
    pub webhook_secret_file: Option<PathBuf>,
    pub delay: Period,
    pub max_age: Period,
    pub last_visit_within: Period,
    pub burst_above: u32,
    pub cooldown: Period,
    pub cooldown_across_accounts: bool,
    pub shadow: bool,
    pub never_tag: String,
    pub hold_tag: String,
    pub min_total: Option<Amount>,
    pub only_named: Vec<String>,
    pub not_named: Vec<String>,
    /// The old name of `only_named`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_titles: Option<Vec<String>>,
    /// The old name of `not_named`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_titles: Option<Vec<String>>,
    pub greet: Greet,
    pub phones: Phones,
    pub clients: KindOfClients,
    pub jobber_switch: JobberSwitch,
    pub message: Option<String>,
    pub body_file: Option<PathBuf>,
    #[serde(default)]
    pub digest_to: Vec<String>,
    pub window: WindowSection,
}

impl ReviewSection {
    /// Parses and tries the templates. `body` replaces the file `body_file`.
    pub fn texts(&self, body: Option<&str>) -> Result<Texts, ConfigError> {
        let file = self.body_file.as_ref().filter(|_| body.is_none()).map(|path| {
            std::fs::read_to_string(path).map_err(|error| {
                let problem = format!("{} cannot be read ({})", path.display(), error.kind());
                ConfigError::new("review.body_file", problem, "give the path of a readable file")
            })
        });
        let file = file.transpose()?;
        let body = body.or(file.as_deref());
        let wrong = |key: &str, problem: String| {
            let remedy = "correct the template; the documentation lists the fields it can use";
            ConfigError::new(key, problem, remedy)
        };
        let (of_message, of_body) = ("review.message", "review.body_file");
        if let Some(message) = &self.message {
            Trial::Message(message.clone()).run().map_err(|error| wrong(of_message, error.to_string()))?;
        }
        if let Some(body) = body {
            Trial::Body(body.to_owned()).run().map_err(|error| wrong(of_body, error.to_string()))?;
        }
        Texts::new(self.message.as_deref(), body).map_err(|error| match error {
            TextsError::Message(_) => wrong(of_message, error.to_string()),
            TextsError::Body(_) => wrong(of_body, error.to_string()),
        })
    }

    pub fn policy(&self) -> Policy {
        let tag = |tag: &String| Some(tag.clone()).filter(|tag| !tag.trim().is_empty());
        Policy {
            cooldown: self.cooldown.0,
            across_accounts: self.cooldown_across_accounts,
            shadow: self.shadow,
            never_tag: tag(&self.never_tag),
            hold_tag: tag(&self.hold_tag),
            min_total: self.min_total.map(|amount| f64::from(amount.0)),
            only_named: self.only_titles.as_ref().unwrap_or(&self.only_named).clone(),
            not_named: self.not_titles.as_ref().unwrap_or(&self.not_named).clone(),
            clients: self.clients,
            jobber_switch: self.jobber_switch,
            last_visit_within: self.last_visit_within.0,
            burst_above: self.burst_above,
            greet: self.greet,
            phones: self.phones,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSection {
    pub weekdays: DayHours,
    pub saturday: DayHours,
    pub sunday: DayHours,
    pub holidays: Vec<Date>,
    pub timezone: Zone,
}

impl WindowSection {
    pub fn window(&self) -> Window {
        let DayHours(weekday) = self.weekdays;
        let days = [weekday, weekday, weekday, weekday, weekday, self.saturday.0, self.sunday.0];
        Window::new(days, self.holidays.clone())
    }
}
