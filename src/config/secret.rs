//! Secrets come from the environment, a systemd credential, or a private file, in that order. The unit gives
//! the daemon credentials. The files are for verbs run by hand.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::{Config, ConfigError, MailSection, env_name};
use crate::outbound::mail::Mail;
use crate::outbound::secret::WebhookSecret;
use crate::store::{Address, Place};
use crate::store_key::StoreKey;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretName {
    JobberClientSecret,
    StoreKey,
    WebhookSecret,
    /// Needed only where a database wants one.
    StorePassword,
    /// Needed only where a mail server wants a login.
    MailPassword,
}

impl SecretName {
    pub const ALL: [Self; 5] = [
        Self::JobberClientSecret,
        Self::StoreKey,
        Self::WebhookSecret,
        Self::StorePassword,
        Self::MailPassword,
    ];

    pub fn is_needed(self, config: &Config) -> bool {
        match self {
            Self::JobberClientSecret | Self::StoreKey | Self::WebhookSecret => true,
            Self::StorePassword => config.store.url.is_some() && config.store.password_file.is_some(),
            Self::MailPassword => config.mail_user().is_some(),
        }
    }

    pub fn credential(self) -> &'static str {
        match self {
            Self::JobberClientSecret => "jobber_client_secret",
            Self::StoreKey => "store_key",
            Self::WebhookSecret => "webhook_secret",
            Self::StorePassword => "store_password",
            Self::MailPassword => "mail_password",
        }
    }

    pub fn env_key(self) -> &'static str {
        match self {
            Self::JobberClientSecret => "jobber.client_secret",
            Self::StoreKey => "store.key",
            Self::WebhookSecret => "review.webhook_secret",
            Self::StorePassword => "store.password",
            Self::MailPassword => "alerts.mail.password",
        }
    }

    pub fn file_key(self) -> &'static str {
        match self {
            Self::JobberClientSecret => "jobber.client_secret_file",
            Self::StoreKey => "store.key_file",
            Self::WebhookSecret => "review.webhook_secret_file",
            Self::StorePassword => "store.password_file",
            Self::MailPassword => "alerts.mail.password_file",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    Environment(String),
    File(PathBuf),
    Credential(PathBuf),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Credential(path) => write!(f, "credential {}", path.display()),
        }
    }
}

pub fn find_secret(config: &Config, name: SecretName) -> Result<(SecretString, SecretSource), ConfigError> {
    let variable = env_name(name.env_key());
    if let Ok(text) = std::env::var(&variable) {
        return Ok((text.into(), SecretSource::Environment(variable)));
    }
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY")
        .map(|folder| Path::new(&folder).join(name.credential()))
        .filter(|path| path.exists());
    if let Some(path) = credential {
        return Ok((read_private(name, &path)?, SecretSource::Credential(path)));
    }
    let file = match name {
        SecretName::JobberClientSecret => &config.jobber.client_secret_file,
        SecretName::StoreKey => &config.store.key_file,
        SecretName::WebhookSecret => &config.review.webhook_secret_file,
        SecretName::StorePassword => &config.store.password_file,
        SecretName::MailPassword => &config.alerts.mail.password_file,
    };
    match file {
        Some(path) => Ok((read_private(name, path)?, SecretSource::File(path.clone()))),
        None => Err(ConfigError::new(
            name.file_key(),
            "the secret is missing",
            format!(
                "set it to a file with the secret, load the systemd credential {}, or set {variable}",
                name.credential()
            ),
        )),
    }
}

/// Reads a secret's file, and refuses one that everybody can read.
fn read_private(name: SecretName, path: &Path) -> Result<SecretString, ConfigError> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        ConfigError::new(
            name.file_key(),
            format!("{shown} cannot be read ({})", error.kind()),
            "check the path and that this user may read it",
        )
    };
    let mode = std::fs::metadata(path).map_err(unreadable)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(ConfigError::new(
            name.file_key(),
            format!("{shown} is open to every user of this machine (mode {:03o})", mode & 0o777),
            format!("run: chmod 600 {shown}"),
        ));
    }
    std::fs::read_to_string(path).map(SecretString::from).map_err(unreadable)
}

impl Config {
    /// The mail server that gets alerts, if there is one.
    pub fn mail(&self) -> Result<Option<Mail>, ConfigError> {
        let login = match self.mail_user() {
            Some(user) => Some((user.to_owned(), find_secret(self, SecretName::MailPassword)?.0)),
            None => None,
        };
        self.mail_as(login)
    }

    /// Where the store is, with the password that opens it.
    pub fn place(&self) -> Result<Place, ConfigError> {
        let password = match find_secret(self, SecretName::StorePassword) {
            Ok((password, _)) => Some(password),
            Err(error) if self.store.url.is_some() && self.store.password_file.is_some() => {
                return Err(error);
            }
            // The server may know this machine or its user.
            Err(_) => None,
        };
        self.place_with(password.as_ref())
    }

    pub(super) fn place_with(&self, password: Option<&SecretString>) -> Result<Place, ConfigError> {
        let Some(url) = &self.store.url else { return Ok(Place::Folder(self.store.path.clone())) };
        let wrong = |text: String| {
            let (problem, remedy) = text.split_once("; ").unwrap_or((&text, "correct it"));
            ConfigError::new("store.url", problem, remedy)
        };
        Address::parse(url, password).map(|address| Place::Postgres(Box::new(address))).map_err(wrong)
    }

    /// Who logs in at the mail server.
    fn mail_user(&self) -> Option<&str> {
        let mail = &self.alerts.mail;
        mail.user.as_deref().filter(|_| mail.server.is_some())
    }

    /// The mail server, to which nobody logs in without a `login`.
    pub(super) fn mail_as(&self, login: Option<(String, SecretString)>) -> Result<Option<Mail>, ConfigError> {
        let MailSection { server, from, to, .. } = &self.alerts.mail;
        let Some(server) = server else { return Ok(None) };
        let wrong = |key: &str, text: &str| {
            let (problem, remedy) = text.split_once("; ").unwrap_or((text, "correct it"));
            ConfigError::new(format!("alerts.mail.{key}"), problem, remedy)
        };
        let from =
            from.as_deref().ok_or_else(|| wrong("from", "it is not set; write reviews@example.com"))?;
        Mail::new(server, login, from, to).map(Some).map_err(|(key, text)| wrong(key, &text))
    }
}

/// All secrets, read and checked.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// The app's client secret.
    pub client_secret: SecretString,
    /// The key that seals tokens.
    pub store_key: StoreKey,
    /// The secret that signs messages.
    pub webhook_secret: WebhookSecret,
}

impl Secrets {
    /// Reads all secrets.
    pub fn load(config: &Config) -> Result<Self, ConfigError> {
        let wrong = |name: SecretName, source: &SecretSource, remedy: String| {
            ConfigError::new(name.file_key(), format!("the secret from {source} cannot be used"), remedy)
        };
        let (client_secret, source) = find_secret(config, SecretName::JobberClientSecret)?;
        let client_secret = SecretString::from(client_secret.expose_secret().trim().to_owned());
        if client_secret.expose_secret().is_empty() {
            let remedy = "it is empty: copy the client secret from Jobber's developer centre".to_owned();
            return Err(wrong(SecretName::JobberClientSecret, &source, remedy));
        }
        let (text, source) = find_secret(config, SecretName::StoreKey)?;
        let store_key = StoreKey::parse(&text)
            .map_err(|error| wrong(SecretName::StoreKey, &source, error.to_string()))?;
        let (text, source) = find_secret(config, SecretName::WebhookSecret)?;
        let webhook_secret = WebhookSecret::parse(&text)
            .map_err(|error| wrong(SecretName::WebhookSecret, &source, error.to_string()))?;
        Ok(Self { client_secret, store_key, webhook_secret })
    }
}
