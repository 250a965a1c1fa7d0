//! Mails to the operator.

use std::time::Duration;

use lettre::message::{Mailbox, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use super::resolver::is_loopback;
use crate::domain::model::MessageId;
use crate::text::capped;

const PATIENCE: Duration = Duration::from_secs(30);

/// Longest subject, in characters.
const SUBJECT: usize = 120;

/// A mail server, and who gets what through it.
#[derive(Debug, Clone)]
pub struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

/// Why a mail was not sent.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Unsent {
    pub why: String,
    /// What the server said to it. `None` if it said nothing.
    pub refused: Option<Refused>,
}

/// How a server refuses a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// 4xx: it may take it later.
    ForNow,
    /// 5xx: another try would change nothing.
    ForGood,
}

/// Whether `text` is an address for mail, with or without a name.
pub fn is_address(text: &str) -> bool {
    text.parse::<Mailbox>().is_ok()
}

impl Mail {
    /// `server` is `smtps://HOST[:PORT]`, or `smtp://HOST[:PORT]` for STARTTLS, without which only this machine itself gets
    /// mail. An error names the setting below `alerts.mail`, and what is wrong with it.
    pub fn new(
        server: &str,
        login: Option<(String, SecretString)>,
        from: &str,
        to: &[String],
    ) -> Result<Self, (&'static str, String)> {
        let mailbox = |key: &'static str, text: &str| {
            let wrong = |_| (key, format!("`{text}` is not an address; write one such as ops@example.com"));
            text.parse::<Mailbox>().map_err(wrong)
        };
        let wrong = || {
            // It may contain a password.
            let named = if server.contains('@') { "it".to_owned() } else { format!("`{server}`") };
            ("server", format!("{named} is not a mail server; write one such as smtps://mail.example.com"))
        };
        let url = Url::parse(server).map_err(|_| wrong())?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let host = host.trim_matches(['[', ']']);
        if !url.username().is_empty() || url.password().is_some() {
            let problem =
                "it contains a user name or password; use alerts.mail.user and alerts.mail.password_file";
            return Err(("server", problem.to_owned()));
        }
        let relay = match url.scheme() {
            "smtps" => AsyncSmtpTransport::<Tokio1Executor>::relay(host),
            "smtp" if is_loopback(&url) => Ok(AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)),
            "smtp" => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host),
            _ => return Err(wrong()),
        };
        let mut relay = relay
            .map_err(|error| ("server", format!("it cannot be used ({error}); correct it")))?
            .timeout(Some(PATIENCE));
        if let Some(port) = url.port() {
            relay = relay.port(port);
        }
        if let Some((user, password)) = login {
            relay = relay.credentials(Credentials::new(user, password.expose_secret().trim().to_owned()));
        }
        let to = to.iter().map(|text| mailbox("to", text)).collect::<Result<Vec<_>, _>>()?;
        if to.is_empty() {
            return Err(("to", "nobody would get the mails; write [\"ops@example.com\"]".to_owned()));
        }
        Ok(Self { transport: relay.build(), from: mailbox("from", from)?, to })
    }

    /// The same server and sender, for others. What is no address gets nothing.
    pub fn to(&self, to: &[String]) -> Self {
        Self { to: to.iter().filter_map(|text| text.parse().ok()).collect(), ..self.clone() }
    }

    /// Sends a text; its first line is the subject. Sent again under the same id, it has the same `Message-ID`.
    pub async fn send(&self, id: &MessageId, text: &str) -> Result<(), Unsent> {
        let again = |why: String| Unsent { why, refused: None };
        let subject = capped(text.lines().next().unwrap_or_default(), SUBJECT);
        let mut mail = Message::builder()
            .from(self.from.clone())
            .subject(subject)
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .header(header::ContentType::TEXT_PLAIN);
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        let mail = mail.body(text.to_owned()).map_err(|error| again(error.to_string()))?;
        match tokio::time::timeout(PATIENCE, self.transport.send(mail)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                let for_good = error.is_permanent().then_some(Refused::ForGood);
                let refused = for_good.or(error.is_transient().then_some(Refused::ForNow));
                Err(Unsent { why: error.to_string(), refused })
            }
            Err(_) => Err(again("the mail server took too long".to_owned())),
        }
    }
}
