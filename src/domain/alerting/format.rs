//! An alert in the form that a channel takes. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::model::AlertKind;
use crate::text::capped;

/// Longest message that Discord takes, in characters.
const DISCORD: usize = 2_000;

/// What is sent to a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// All that is known, for programs.
    #[default]
    Json,
    /// An incoming webhook of Slack, or of what takes the same.
    Slack,
    /// A webhook of Discord.
    Discord,
    /// Sentences for people.
    Text,
}

impl Format {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json | Self::Slack | Self::Discord => "application/json",
            Self::Text => "text/plain; charset=utf-8",
        }
    }

    /// The message for an alert, given as [`Format::Json`] has it.
    pub fn write(self, alert: &Value) -> String {
        match self {
            Self::Json => alert.to_string(),
            Self::Text => in_words(alert),
            Self::Slack => {
                // Slack reads these three as marks of its own.
                let text = in_words(alert).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                json!({ "text": text }).to_string()
            }
            Self::Discord => {
                let content = capped(&in_words(alert), DISCORD);
                json!({"content": content, "allowed_mentions": {"parse": []}}).to_string()
            }
        }
    }
}

fn in_words(alert: &Value) -> String {
    let text = |name: &str| alert[name].as_str().unwrap_or_default();
    let number = |name: &str| alert[name].as_u64().filter(|number| *number > 0);
    let is_over = text("type") == "alert.recovered";
    let mut lines = vec![format!("{}: {}.", if is_over { "Over" } else { "Trouble" }, text("summary"))];
    let counts = [
        ("late", "Requests that leave later because of it"),
        ("missed", "Work that is too old to ask about now"),
    ];
    lines.extend(counts.iter().filter_map(|(name, words)| Some(format!("{words}: {}.", number(name)?))));
    lines.extend([("action", "To do: "), ("link", "")].iter().filter_map(|(name, words)| {
        Some(text(name)).filter(|text| !text.is_empty()).map(|text| format!("{words}{text}"))
    }));
    lines.join("\n")
}

/// What works again, without a full stop.
pub fn recovery(kind: AlertKind, account: Option<&str>) -> String {
    let account = account.unwrap_or("an account");
    match kind {
        AlertKind::ConnectionLost => format!("{account} is connected again"),
        AlertKind::JobberUnreachable => "Jobber answers again".to_owned(),
        AlertKind::NeedsOperator => "accounts that needed the operator can be read again".to_owned(),
        AlertKind::ReceiverFailing => "the receiver takes requests again".to_owned(),
        AlertKind::ReceiverGone => "the receiver that was gone is used again".to_owned(),
        AlertKind::DeadLetters => format!("{account} has no dead letters any more"),
        AlertKind::BurstHeld => format!("the works of {account} that were held are decided"),
        AlertKind::NoWork => format!("{account} finishes work again"),
        AlertKind::EventsStopped => format!("events of {account} arrive again"),
        AlertKind::EventsRefused => "Jobber sends the events that it refused".to_owned(),
        AlertKind::DraftApp => "the draft app has room for accounts again".to_owned(),
        AlertKind::SweepsStalled => "accounts are read again".to_owned(),
        AlertKind::ProgramFault => "what the program failed on works again".to_owned(),
        AlertKind::RulesFail => format!("rules are carried out in {account} again"),
        AlertKind::EventsPileUp => format!("events of {account} are forwarded with their records again"),
        AlertKind::ClockOff => "the machine's clock agrees with Jobber's again".to_owned(),
        AlertKind::ApiVersion => "the version of Jobber's API is supported long enough again".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_gets_its_form() {
        let alert = json!({
            "type": "alert.raised", "summary": "Ace & <Sons> is not connected any more", "action": "send the contractor a new link",
            "link": "https://reviews.example.com/connect/x", "late": 0,
        });
        let words = "Trouble: Ace & <Sons> is not connected any more.\nTo do: send the contractor a new link\nhttps://reviews.example.com/connect/x";
        assert_eq!(Format::Text.write(&alert), words);
        let of = |format: Format| serde_json::from_str::<Value>(&format.write(&alert)).unwrap();
        assert_eq!(of(Format::Json), alert);
        assert!(of(Format::Slack)["text"].as_str().unwrap().contains("Ace &amp; &lt;Sons&gt; is"));
        assert_eq!(of(Format::Discord)["content"], words);
        assert_eq!(of(Format::Discord)["allowed_mentions"], json!({"parse": []}), "it pings nobody");

        let long = json!({"type": "alert.recovered", "summary": "x".repeat(5_000), "late": 3, "missed": 1});
        let content = serde_json::from_str::<Value>(&Format::Discord.write(&long)).unwrap();
        assert_eq!(content["content"].as_str().unwrap().chars().count(), DISCORD);
        let over = json!({"type": "alert.recovered", "summary": recovery(AlertKind::ConnectionLost, Some("Ace")), "late": 3, "missed": 1});
        let words = "Over: Ace is connected again.\nRequests that leave later because of it: 3.\nWork that is too old to ask about now: 1.";
        assert_eq!(Format::Text.write(&over), words);
    }
}
