//! Rules of the operator: what is done in Jobber after something happened here. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::actions::{self, Action, Kind, Permission, nearest};
use super::message::{Phrase, TemplateError};
use super::model::SkipReason;
use super::webhook_event::{Record, Topic};

/// Actions that rules may do: none of them takes anything away.
const ALLOWED: [&str; 6] =
    ["clients.note", "clients.update", "jobs.note", "invoices.note", "visits.complete", "tasks.create"];

/// Flags that message people.
const MESSAGES: [&str; 2] = ["notify-team", "email-assignments"];

pub const DELIVERED: &str = "ask.delivered";
pub const DEAD: &str = "ask.dead";
pub const SKIPPED: &str = "ask.skipped.";
pub const REVIEWED: &str = "review.received";
pub const CLIENT_UPDATED: &str = "client.updated";

/// A rule as the settings have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSection {
    pub on: String,
    #[serde(rename = "do")]
    pub action: String,
    #[serde(default)]
    pub with: BTreeMap<String, Value>,
}

/// A rule that can be used.
#[derive(Debug, Clone)]
pub struct Reaction {
    pub on: String,
    pub action: &'static Action,
    /// Flags and the templates of their values.
    with: Vec<(&'static str, Phrase)>,
    section: RuleSection,
}

impl fmt::Display for Reaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {}", self.action.name(), self.on)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error(
        "on = \"{0}\" is not something that happens{1}; write ask.delivered, ask.dead, ask.skipped.REASON, review.received, client.updated or a topic of Jobber's, such as QUOTE_APPROVED"
    )]
    Cause(String, String),
    #[error("do = \"{action}\" cannot be done by a rule{nearest}; write one of {}", ALLOWED.join(", "))]
    Action { action: String, nearest: String },
    #[error("do = \"{0}\" is not allowed: add it to actions.write")]
    NotAllowed(String),
    #[error("with: {action} has no `{flag}`{nearest}")]
    Flag { action: String, flag: String, nearest: String },
    #[error("with: `{0}` messages people, and a rule may not")]
    Messages(String),
    #[error("with: `{0}` takes a text, true, false, a number, or a list of texts")]
    Value(String),
    #[error("with: the template of `{flag}` fails: {error}")]
    Template { flag: String, error: TemplateError },
    #[error("with: {0} needs more: say what it writes, such as `message`, `title` or `add-tag`")]
    Nothing(String),
    #[error("{action} after {on}: there is no {kind} then")]
    NoRecord { action: String, on: String, kind: &'static str },
}

fn did_you_mean(text: &str, names: impl IntoIterator<Item = String>) -> String {
    nearest(text, names).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

impl Reaction {
    /// Checks a rule: its action must stand in `allowed` too. Its templates are tried on a sample.
    pub fn new(section: &RuleSection, allowed: &[Permission]) -> Result<Self, RuleError> {
        let on = section.on.clone();
        let is_skip = |on: &str| on.strip_prefix(SKIPPED).is_some_and(is_reason);
        let topic = Topic::named(&on);
        if ![DELIVERED, DEAD, REVIEWED, CLIENT_UPDATED].contains(&on.as_str())
            && !is_skip(&on)
            && topic.is_none()
        {
            let nearest = did_you_mean(&on, Topic::ALL.iter().map(|topic| topic.as_str().to_owned()));
            return Err(RuleError::Cause(on, nearest));
        }
        let name = section.action.clone();
        let action = name.split_once('.').and_then(|(noun, verb)| actions::find(noun, verb));
        let Some(action) = action.filter(|_| ALLOWED.contains(&name.as_str())) else {
            let nearest = did_you_mean(&name, ALLOWED.map(str::to_owned));
            return Err(RuleError::Action { action: name, nearest });
        };
        if !allowed.iter().any(|permission| permission.allows(&name)) {
            return Err(RuleError::NotAllowed(name));
        }
        let has = match (action.target, topic) {
            (None, _) | (Some((Kind::Client, _)), None) => true,
            (Some((kind, _)), Some(topic)) => !topic.ends_it() && leads_to(topic.record(), kind),
            (Some(_), None) => on != CLIENT_UPDATED,
        };
        if !has {
            let kind = action.target.map_or("", |(kind, _)| kind.as_str());
            return Err(RuleError::NoRecord { action: name, on, kind });
        }
        let mut with = Vec::new();
        for (flag, value) in &section.with {
            let Some(known) = action.flag(flag) else {
                let nearest = did_you_mean(flag, action.flags.iter().map(|flag| flag.name.to_owned()));
                return Err(RuleError::Flag { action: name, flag: flag.clone(), nearest });
            };
            if MESSAGES.contains(&known.name) {
                return Err(RuleError::Messages(flag.clone()));
            }
            for text in texts(value).ok_or_else(|| RuleError::Value(flag.clone()))? {
                let failed = |error| RuleError::Template { flag: flag.clone(), error };
                let phrase = Phrase::parse(&text).map_err(failed)?;
                let tried = phrase.render(&sample(&on));
                // What a record of Jobber's holds is known when it is read.
                if topic.is_none() {
                    tried.map_err(failed)?;
                }
                with.push((known.name, phrase));
            }
        }
        let is_given = |path: &&'static str| {
            let path: &str = path;
            let mut flags = action.flags.iter().filter(|flag| flag.path == path);
            flags.any(|flag| section.with.contains_key(flag.name))
        };
        if action.verb != "complete" && section.with.is_empty()
            || !action.needs.is_empty() && !action.needs.iter().any(is_given)
        {
            return Err(RuleError::Nothing(name));
        }
        Ok(Self { on, action, with, section: section.clone() })
    }

    /// What tells this rule from others: an edited rule is another one.
    pub fn digest(&self) -> String {
        let text = serde_json::to_string(&self.section).unwrap_or_default();
        crate::digest::short(&[&text])[..12].to_owned()
    }

    /// The flags of its action, for what happened.
    pub fn flags(&self, facts: &Value) -> Result<Vec<(String, String)>, TemplateError> {
        let rendered = self.with.iter().map(|(flag, phrase)| Ok(((*flag).to_owned(), phrase.render(facts)?)));
        rendered.collect()
    }
}

/// Whether a record names one of this kind: itself, its client or its job.
fn leads_to(record: Record, kind: Kind) -> bool {
    match kind {
        Kind::Client => matches!(
            record,
            Record::Client
                | Record::Invoice
                | Record::Job
                | Record::Payment
                | Record::Property
                | Record::Quote
                | Record::Request
                | Record::Visit
        ),
        Kind::Job => matches!(record, Record::Job | Record::Visit),
        Kind::Visit => record == Record::Visit,
        Kind::Invoice => matches!(record, Record::Invoice | Record::Payment),
        _ => false,
    }
}

/// Whether it is a reason that is found when work is due. Others are found earlier, for much work at once.
fn is_reason(text: &str) -> bool {
    use SkipReason::{BeforeConnection, BurstDropped, Disconnected, Shadow};

    serde_json::from_value(text.into())
        .is_ok_and(|reason| !matches!(reason, BeforeConnection | BurstDropped | Disconnected | Shadow))
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Bool(_) | Value::Number(_) => Some(vec![value.to_string()]),
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        }
        Value::Null | Value::Object(_) => None,
    }
}

/// What a template sees when everything is known.
fn sample(on: &str) -> Value {
    let mut facts = json!({
        "on": on, "date": "2026-03-10", "time": "09:15",
        "account": {"id": "Z2lk", "name": "Ace Plumbing"},
        "client": {"id": "Z2lk", "name": "John Smith"},
    });
    if on != CLIENT_UPDATED {
        facts["work"] = json!({"kind": "job", "id": "Z2lk"});
        facts["job"] = json!({"id": "Z2lk", "number": 112, "title": "Water Heater Installation"});
        facts["invoice"] = json!({"number": "77"});
    }
    if [DELIVERED, DEAD, REVIEWED].contains(&on) {
        facts["ask"] = json!({"id": "ask_0"});
    }
    if on == REVIEWED {
        facts["review"] = json!({"rating": 5.0, "text": "Great!", "url": "https://example.com/"});
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(on: &str, action: &str, with: Value) -> Result<Reaction, String> {
        let with = serde_json::from_value(with).unwrap();
        let section = RuleSection { on: on.to_owned(), action: action.to_owned(), with };
        let allowed = ["clients.*", "jobs.*", "tasks.create"].map(|text| text.parse().unwrap());
        Reaction::new(&section, &allowed).map_err(|error| error.to_string())
    }

    #[test]
    fn a_rule_writes_what_it_was_told() {
        let message =
            "Asked on {{ date }} about job {{ job.number }}{% if review %}: {{ review.rating }}{% endif %}";
        let note = rule(DELIVERED, "clients.note", json!({"message": message, "pinned": true})).unwrap();
        assert_eq!(note.to_string(), "clients.note after ask.delivered");
        let flags = note.flags(&sample(DELIVERED)).unwrap();
        let expected = [("message", "Asked on 2026-03-10 about job 112"), ("pinned", "true")];
        assert_eq!(flags, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
        let tags = rule(
            REVIEWED,
            "clients.update",
            json!({"add-tag": ["asked", "{{ review.rating | int }} stars"]}),
        );
        assert_eq!(tags.unwrap().flags(&sample(REVIEWED)).unwrap()[1].1, "5 stars");
        assert!(rule("ask.skipped.client_opted_out", "tasks.create", json!({"title": "call"})).is_ok());
    }

    #[test]
    fn what_a_rule_may_not_is_said() {
        let refused = |on: &str, action: &str, with: Value| rule(on, action, with).unwrap_err();
        assert!(refused("ask.sent", "clients.note", json!({})).contains("is not something that happens"));
        assert!(
            refused("ask.skipped.bad_mood", "clients.note", json!({}))
                .contains("is not something that happens")
        );
        for dangerous in ["jobs.close", "clients.archive", "visits.delete", "client.note", "api"] {
            assert!(
                refused(DELIVERED, dangerous, json!({})).contains("cannot be done by a rule"),
                "{dangerous}"
            );
        }
        assert!(refused(DELIVERED, "client.note", json!({})).contains("did you mean `clients.note`?"));
        assert!(refused(DELIVERED, "invoices.note", json!({})).contains("add it to actions.write"));
        assert!(
            refused(DELIVERED, "clients.note", json!({"mesage": "x"})).contains("did you mean `message`?")
        );
        assert!(
            refused(DELIVERED, "tasks.create", json!({"email-assignments": true}))
                .contains("messages people")
        );
        assert!(refused(DELIVERED, "clients.note", json!({"message": {"a": 1}})).contains("takes a text"));
        assert!(
            refused(DELIVERED, "clients.note", json!({"message": "{{ review.rating }}"})).contains("fails")
        );
        assert!(
            refused(CLIENT_UPDATED, "jobs.note", json!({"message": "x"})).contains("there is no job then")
        );
    }

    #[test]
    fn a_rule_may_wait_for_any_topic_that_leads_to_its_record() {
        let note = json!({"message": "Quote {{ record.quoteNumber }} is approved"});
        assert!(rule("QUOTE_APPROVED", "clients.note", note.clone()).is_ok());
        assert!(rule("VISIT_COMPLETE", "jobs.note", note.clone()).is_ok());
        assert!(rule("PAYOUT_CREATE", "tasks.create", json!({"title": "book it"})).is_ok());
        let refused = |on: &str, action: &str| rule(on, action, note.clone()).unwrap_err();
        assert!(refused("QUOTE_APPROVED", "jobs.note").contains("there is no job then"));
        assert!(refused("CLIENT_DESTROY", "clients.note").contains("there is no client then"));
        assert!(refused("QUOTE_APROVED", "clients.note").contains("did you mean `QUOTE_APPROVED`?"));
    }
}
