//! Where alerts go: a webhook, mail, and a program.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::accounts::receiver::Receiver;
use crate::config::{SecretName, env_name};
use crate::domain::alerting::format::Format;
use crate::domain::model::MessageId;
use crate::domain::retry::Reply;
use crate::outbound::mail::{Mail, Unsent};
use crate::outbound::sender::Sender;

const PATIENCE: Duration = Duration::from_secs(30);

/// A way to tell the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    Webhook,
    Mail,
    Command,
}

impl Channel {
    /// The setting that it is.
    pub fn key(self) -> &'static str {
        match self {
            Self::Webhook => "alerts.webhook_url",
            Self::Mail => "alerts.mail",
            Self::Command => "alerts.command",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Channels {
    /// A webhook, signed like asks.
    pub webhook: Option<Receiver>,
    /// A program and its arguments. It gets the alert on stdin.
    pub command: Vec<String>,
    /// Mails, as text.
    pub mail: Option<Result<Mail, String>>,
    /// What the webhook and the program get.
    pub format: Format,
    pub sender: Sender,
}

/// Whether the program can be started: it is a file that may be executed, at its path or in one of the folders of `PATH`.
pub fn is_runnable(program: &str) -> bool {
    let is_one = |path: &Path| {
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return is_one(Path::new(program));
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| is_one(&folder.join(program)))
}

impl Channels {
    pub(super) fn are_none(&self) -> bool {
        self.all().is_empty()
    }

    /// The channels that there are.
    pub(super) fn all(&self) -> Vec<Channel> {
        let webhook = self.webhook.as_ref().map(|_| Channel::Webhook);
        let mail = self.mail.as_ref().map(|_| Channel::Mail);
        let command = (!self.command.is_empty()).then_some(Channel::Command);
        webhook.into_iter().chain(mail).chain(command).collect()
    }

    /// Mails a text to others than the operator.
    pub(super) async fn mail_to(&self, to: &[String], id: &MessageId, text: &str) -> Result<(), Unsent> {
        match &self.mail {
            Some(Ok(mail)) => mail.to(to).send(id, text).await,
            Some(Err(why)) => Err(Unsent { why: why.clone(), refused: None }),
            None => Ok(()),
        }
    }

    /// Sends a message, given as [`Format::Json`] has it.
    pub(super) async fn send(
        &self,
        channel: Channel,
        id: &MessageId,
        message: &Value,
        now: Timestamp,
    ) -> Result<(), String> {
        match (channel, &self.webhook, &self.mail, self.command.split_first()) {
            (Channel::Webhook, Some(Receiver { url, secret }), ..) => {
                let (kind, body) = (self.format.content_type(), self.format.write(message));
                let attempted = self.sender.post_as(kind, url, secret, id, &body, now, None).await;
                match attempted.reply {
                    Reply::Accepted { .. } => Ok(()),
                    _ => Err(attempted.note),
                }
            }
            (Channel::Mail, _, Some(mail), _) => match mail {
                Ok(mail) => mail.send(id, &Format::Text.write(message)).await.map_err(|unsent| unsent.why),
                Err(error) => Err(error.clone()),
            },
            (Channel::Command, .., Some((program, arguments))) => {
                let body = self.format.write(message);
                let ran = tokio::time::timeout(PATIENCE, run(program, arguments, &body)).await;
                ran.unwrap_or_else(|_| Err("it took too long".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

/// A program that inherits no secret of ours.
fn without_secrets(program: &str) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(program);
    for name in SecretName::ALL {
        command.env_remove(env_name(name.env_key()));
    }
    // The folder of systemd's credentials.
    command.env_remove("CREDENTIALS_DIRECTORY");
    command
}

async fn run(program: &str, arguments: &[String], body: &str) -> Result<(), String> {
    let mut child = without_secrets(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{program} cannot be started: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program may ignore part of its input.
        let _unread = stdin.write_all(body.as_bytes()).await;
    }
    match child.wait().await {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} ended with {status}")),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_for_alerts_inherits_no_secrets() {
        let command = without_secrets("tell");
        let removed: Vec<_> = command.as_std().get_envs().filter(|(_, value)| value.is_none()).collect();
        assert_eq!(removed.len(), SecretName::ALL.len() + 1);
        assert!(removed.iter().any(|(name, _)| *name == "JOBBER_REVIEWD__STORE__KEY"), "{removed:?}");
    }
}
