//! Writes: what is sent, who must say yes, and what is told about it.

use serde_json::{Map, Value, json};

use super::fill::Portion;
use super::target::{self, Found};
use super::{ActionReply, ActionStatus, Caller, Desk, OpError, document, failed, forbidden, from_session};
use crate::context::Context;
use crate::digest;
use crate::domain::actions::{self, Effect, Part};
use crate::domain::model::{ActionOutcome, ActionRecord, Objection};
use crate::jobber::operations::Request;
use crate::workers::actions::{Write, WriteError};

/// Inputs that send messages to people.
const MESSAGES: [&str; 2] = ["notifyTeam", "emailAssignments"];

impl Desk<'_> {
    pub(super) async fn once(&self) -> Result<ActionReply, OpError> {
        let document = document(self.action.document)?;
        let portion = Portion { variable: self.action.variable, flags: None };
        let variables = self.fill(&document, portion, &self.around().await?).await?;
        self.check_whose(&variables).await?;
        let request = Request { document, variables, kind: self.action.noun };
        self.write(vec![("", request)]).await
    }

    /// A client and a property in one request belong together.
    async fn check_whose(&self, variables: &Map<String, Value>) -> Result<(), OpError> {
        let input = self.action.variable.and_then(|variable| variables.get(variable)).unwrap_or(&Value::Null);
        let named = |name: &str| {
            let value = input.get(name).or_else(|| variables.get(name));
            value.and_then(Value::as_str).map(str::to_owned)
        };
        let of_target = || match (self.action.target, &self.target) {
            (Some((actions::Kind::Client, _)), Some(target)) => Some(target.id.clone()),
            _ => None,
        };
        let is_named = self.call.flags.iter().any(|(name, _)| name == "property")
            || self.call.data.iter().any(|(path, _)| path == "propertyId")
            || self.call.input.is_some();
        match (named("clientId").or_else(of_target), named("propertyId")) {
            (Some(client), Some(property)) if is_named && !self.call.only_print => {
                self.check_property(&client, &property).await
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn in_parts(&self, parts: &[Part]) -> Result<ActionReply, OpError> {
        let portion = |part: &Part| Portion { variable: part.variable, flags: Some(part.flags) };
        self.check_paths(&parts.iter().map(portion).collect::<Vec<_>>())?;
        let mut requests = Vec::new();
        for part in parts {
            if !self.is_given(&portion(part)) {
                continue;
            }
            let document = document(part.document)?;
            let variables = match part.variable {
                Some(_) => self.fill(&document, portion(part), &self.around().await?).await?,
                None => Map::from_iter(self.around().await?),
            };
            requests.push((part.name, Request { document, variables, kind: self.action.noun }));
        }
        let has = |name: &str| requests.iter().any(|(part, _)| *part == name);
        if has("schedule") && has("unschedule") {
            return Err(OpError::Refused("give --at or --unschedule, not both".to_owned()));
        }
        if requests.is_empty() {
            let words = "there is nothing to change: name at least one field".to_owned();
            return Err(OpError::Refused(words));
        }
        self.write(requests).await
    }

    /// What must be said before it is done, if it needs a yes.
    async fn warning(&self, requests: &[(&'static str, Request)]) -> Result<Option<String>, OpError> {
        let messages =
            requests.iter().any(|(_, request)| sends_messages(&Value::Object(request.variables.clone())));
        let of = match &self.target {
            Some(target) => format!(" ({}, {})", self.called(target).await?, self.account.name),
            None => format!(" ({})", self.account.name),
        };
        if self.action.name() == "jobs.close"
            && let Some(target) = &self.target
        {
            let document = document(include_str!("../../../graphql/actions/find_visits.graphql"))?;
            let variables = Map::from_iter([("id".to_owned(), json!(target.id))]);
            let data = self.query(Request { document, variables, kind: "find visits" }).await?;
            let job = self.only_record(data)?;
            let open = job["visitsInfo"]["incompleteTotal"].as_u64().unwrap_or_default();
            let decision =
                requests[0].1.variables["input"]["modifyIncompleteVisitsBy"].as_str().unwrap_or_default();
            let what = match (open, decision) {
                (0, _) => "it has no visits that are not completed".to_owned(),
                (open, "DESTROY_ALL") => format!("{} not completed deleted for good", are(open)),
                (open, _) => {
                    let future = job["visitsInfo"]["futureCount"].as_u64().unwrap_or_default().min(open);
                    format!(
                        "{} not completed: {} up to today completed, {future} later deleted for good",
                        are(open),
                        open - future
                    )
                }
            };
            let title = job["title"].as_str().unwrap_or_default();
            let of = &self.account.name;
            return Ok(Some(format!("job #{} {title} ({of}) is closed: {what}", job["jobNumber"])));
        }
        if self.action.effect == Effect::Dangerous {
            return Ok(Some(format!("{}{of}", self.action.about)));
        }
        Ok(messages.then(|| format!("{}{of}: people get a message", self.action.about)))
    }

    /// What people call a record that was named by its id: so that somebody can say no to the wrong one.
    async fn called(&self, target: &Found) -> Result<String, OpError> {
        let show = actions::find(self.action.noun, "show").filter(|_| target.name == target.id);
        let Some(show) = show.filter(|show| show.target.map(|of| of.0) == self.action.target.map(|of| of.0))
        else {
            return Ok(target.name.clone());
        };
        let variables = Map::from_iter([("id".to_owned(), json!(target.id))]);
        let data =
            self.query(Request { document: document(show.document)?, variables, kind: "called" }).await?;
        let name = target::name_of(&self.only_record(data)?);
        Ok(if name.is_empty() { target.name.clone() } else { name })
    }

    async fn write(&self, requests: Vec<(&'static str, Request)>) -> Result<ActionReply, OpError> {
        if self.call.only_print {
            return Ok(self.printed(&requests));
        }
        if !self.call.is_confirmed
            && let Some(warning) = self.warning(&requests).await?
        {
            let mut reply = self.reply(ActionStatus::NeedsYes);
            reply.words = Some(warning);
            return Ok(reply);
        }
        let write = Write {
            account: self.account.id.clone(),
            key: key_of(self.call.key.as_deref())?,
            action: self.action.name(),
            by: self.caller.name(),
            target: self.target.as_ref().map(|target| target.id.clone()).or_else(|| self.call.about.clone()),
            input: self.asked(),
            requests,
        };
        let record = self.context.writer.write(write).await.map_err(from_write)?;
        Ok(self.written(record))
    }

    pub(super) fn written(&self, record: ActionRecord) -> ActionReply {
        let mut reply = self.reply(ActionStatus::Done);
        reply.key = Some(record.key);
        match record.outcome {
            ActionOutcome::Done { answer, .. } => reply.record = shown(answer),
            ActionOutcome::Refused { errors, .. } => {
                (reply.status, reply.errors) = (ActionStatus::Refused, self.with_flags(errors));
            }
            ActionOutcome::Partly { answer, errors, .. } => {
                (reply.status, reply.record) = (ActionStatus::Partly, shown(answer));
                reply.errors = self.with_flags(errors);
            }
            ActionOutcome::Unknown { detail, .. } => {
                reply.status = ActionStatus::Unknown;
                reply.words = Some(format!(
                    "what became of it is not known ({detail}); it is not sent again: look first with `{}`",
                    self.look_up()
                ));
            }
            ActionOutcome::Begun => reply.status = ActionStatus::Unknown,
        }
        reply
    }

    /// The command that shows whether a write was done.
    fn look_up(&self) -> String {
        let noun = self.action.noun;
        let of = self.action.target.filter(|(kind, _)| {
            actions::find(noun, "show")
                .is_some_and(|show| show.target.is_some_and(|(shown, _)| shown == *kind))
        });
        let account = format!("--account {}", self.account.id);
        match (of, &self.target) {
            (Some(_), Some(target)) => format!("jobber-reviewd jobber {noun} show {} {account}", target.id),
            _ if actions::find(noun, "search").is_some() => {
                format!("jobber-reviewd jobber {noun} search {account}")
            }
            _ => format!("jobber-reviewd audit --actions {account}"),
        }
    }

    /// Names the flag that an objection is about.
    fn with_flags(&self, errors: Vec<Objection>) -> Vec<Objection> {
        let name = |mut error: Objection| {
            let path = error.path.iter().skip_while(|step| Some(step.as_str()) == self.action.variable);
            let path = path.cloned().collect::<Vec<_>>().join(".");
            if let Some(flag) = self.action.flags.iter().find(|flag| !path.is_empty() && flag.path == path) {
                error.message = format!("{} (--{})", error.message, flag.name);
            }
            error
        };
        errors.into_iter().map(name).collect()
    }
}

/// Whether `caller` may write, by its own rights and by the settings.
pub(super) fn allowed(context: &Context, caller: &Caller, name: &str) -> Result<(), OpError> {
    if !caller.may(name) {
        return Err(forbidden(caller, name));
    }
    if context.settings.may_write(name) { Ok(()) } else { Err(forbidden(&Caller::Operator, name)) }
}

/// The given key, or a new one.
pub(super) fn key_of(given: Option<&str>) -> Result<String, OpError> {
    match given {
        Some(key) if key.is_empty() || key.len() > 200 || key.contains('\0') => {
            Err(OpError::Refused("a key has 1 to 200 characters".to_owned()))
        }
        Some(key) => Ok(key.to_owned()),
        None => {
            let mut random = [0_u8; 16];
            getrandom::fill(&mut random).map_err(failed)?;
            Ok(format!("act_{}", &digest::of_bytes(&random)[..32]))
        }
    }
}

pub(super) fn from_write(error: WriteError) -> OpError {
    match error {
        WriteError::NotSent(error) => from_session(error),
        error @ (WriteError::OtherInput(_) | WriteError::UnderWay(_)) => OpError::Conflict(error.to_string()),
    }
}

/// "1 visit is", "2 visits are".
fn are(visits: u64) -> String {
    if visits == 1 { "1 visit is".to_owned() } else { format!("{visits} visits are") }
}

/// What an answer is about: the payloads without their empty `userErrors`, the only record by itself.
fn shown(answer: Value) -> Value {
    let Value::Object(mut payloads) = answer else { return answer };
    for payload in payloads.values_mut() {
        if let Value::Object(fields) = payload {
            fields.remove("userErrors");
        }
    }
    let mut records: Vec<Value> = payloads
        .values()
        .flat_map(|payload| {
            payload.as_object().into_iter().flat_map(Map::values).cloned().collect::<Vec<_>>()
        })
        .collect();
    match (records.len(), payloads.len()) {
        (1, 1) => records.remove(0),
        // Several requests about one record: the last answer has it as it is now.
        (2.., 2..) => records.pop().unwrap_or_default(),
        _ => Value::Object(payloads),
    }
}

fn sends_messages(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            MESSAGES.contains(&name.as_str()) && *value == true || sends_messages(value)
        }),
        Value::Array(items) => items.iter().any(sends_messages),
        _ => false,
    }
}
