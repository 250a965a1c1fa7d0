//! An alert in the form that a channel takes. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::model::AlertKind;
use crate::text::capped;

/// Longest message that Discord takes, in characters.
const DISCORD: usize = 2_000;

/// Longest digest elsewhere, in characters: nobody reads more, and Slack takes 40,000.
const LONGEST: usize = 30_000;

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
            Self::Text => in_words(alert, LONGEST),
            Self::Slack => {
                // Slack reads these three as marks of its own.
                let text =
                    in_words(alert, LONGEST).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                json!({ "text": text }).to_string()
            }
            Self::Discord => {
                let content = capped(&in_words(alert, DISCORD), DISCORD);
                json!({"content": content, "allowed_mentions": {"parse": []}}).to_string()
            }
        }
    }
}

fn in_words(alert: &Value, longest: usize) -> String {
    if alert["type"] == "digest" {
        return super::weekly::in_words(alert, longest);
    }
    let text = |name: &str| alert[name].as_str().unwrap_or_default();
    let number = |name: &str| alert[name].as_u64().filter(|number| *number > 0);
    let is_over = text("type") == "alert.recovered";
    let name = alert["account"]["name"].as_str().filter(|name| !text("summary").contains(name));
    let of = name.map_or_else(String::new, |name| format!(" ({name})"));
    let what = if is_over { "Over" } else { "Trouble" };
    let mut lines = vec![format!("{what}{of}: {}.", text("summary"))];
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

/// What can be said about the end of a trouble, without a full stop. It may have ended because nobody looks any more.
pub fn recovery(kind: AlertKind, account: Option<&str>, is_watched: bool) -> String {
    let account = account.unwrap_or("an account");
    if !is_watched {
        return format!("{account} is not watched any more");
    }
    match kind {
        AlertKind::ConnectionLost => format!("{account} is connected again"),
        AlertKind::JobberUnreachable => "Jobber answers again".to_owned(),
        AlertKind::NeedsOperator => "what needed the operator is settled".to_owned(),
        AlertKind::ReceiverFailing => "nothing waits any more that the receiver did not take".to_owned(),
        AlertKind::ReceiverGone => "the receiver that was gone is used again".to_owned(),
        AlertKind::DeadLetters => format!("{account} has no dead letters any more"),
        AlertKind::BurstHeld => format!("no work of {account} is held any more"),
        AlertKind::NoWork => format!("{account} finishes work again"),
        AlertKind::EventsStopped => format!("no event of {account} is missed any more"),
        AlertKind::EventsRefused => "no event that is needed is refused any more".to_owned(),
        AlertKind::DraftApp => "the draft app has room for accounts again".to_owned(),
        AlertKind::SweepsStalled => "accounts are read again".to_owned(),
        AlertKind::ProgramFault => format!("the program does not fail on it any more ({account})"),
        AlertKind::RulesFail => format!("no rule failed in {account} in the last day"),
        AlertKind::EventsPileUp => format!("events of {account} do not pile up any more"),
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
        let gone = recovery(AlertKind::NoWork, Some("Ace"), false);
        assert_eq!(gone, "Ace is not watched any more", "it ended without being mended");
        let over = json!({"type": "alert.recovered", "summary": recovery(AlertKind::ConnectionLost, Some("Ace"), true), "late": 3, "missed": 1});
        let words = "Over: Ace is connected again.\nRequests that leave later because of it: 3.\nWork that is too old to ask about now: 1.";
        assert_eq!(Format::Text.write(&over), words);
    }
}
