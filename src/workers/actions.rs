//! Writes in Jobber: each is stored under its key before its request leaves, and never sent again by itself.
//!
//! No mutation of Jobber's can be repeated safely (`actions.md`, unknown outcome). So what became of a request without a
//! usable answer is told as unknown, for a person to look up. A crash between the stored beginning and the stored end
//! is such a case too.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use super::parts::WorkerParts;
use super::pool::InFlight;
use crate::accounts::session::{SessionError, Trouble};
use crate::crash_point::CrashPoint;
use crate::domain::model::{AccountId, ActionOutcome, ActionRecord, Objection};
use crate::jobber::UserError;
use crate::jobber::operations::{Mutation, Request, Verdict};
use crate::store::{Begun, StoreError};
use crate::telemetry;

/// How long writes that are under way may take at the end: a request takes 30 s at most.
const SETTLES: Duration = Duration::from_secs(32);

/// Bytes of an answer that are kept.
const KEPT: usize = 16 * 1024;

/// A write: one request, or several one after the other.
#[derive(Debug, Clone)]
pub struct Write {
    pub account: AccountId,
    pub key: String,
    pub action: String,
    pub by: String,
    pub target: Option<String>,
    /// A hash of what was asked for: with anything else the key is refused.
    pub input: String,
    /// Each with a name, if there are several.
    pub requests: Vec<(&'static str, Request)>,
}

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Nothing was sent, and the key is free.
    #[error(transparent)]
    NotSent(#[from] SessionError),
    #[error("the key {0} was used before for something else: choose another key")]
    OtherInput(String),
    #[error("a request with the key {0} is under way: ask again in a moment")]
    UnderWay(String),
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        Self::NotSent(error.into())
    }
}

/// Does writes.
#[derive(Debug)]
pub struct Writer {
    parts: WorkerParts,
    in_flight: InFlight<(AccountId, String)>,
    under_way: TaskTracker,
}

impl Writer {
    pub fn new(parts: WorkerParts) -> Self {
        Self { parts, in_flight: InFlight::new(), under_way: TaskTracker::new() }
    }

    /// Waits for what is under way.
    pub async fn settle(&self) {
        self.under_way.close();
        if tokio::time::timeout(SETTLES, self.under_way.wait()).await.is_err() {
            tracing::warn!("a write was still under way and was cut off: what became of it is not known");
        }
    }

    /// Whether a request with this key is under way.
    pub fn is_under_way(&self, record: &ActionRecord) -> bool {
        self.in_flight.enter(&(record.account.clone(), record.key.clone())).is_none()
    }

    /// What became of a write under this key before, if there was one.
    pub async fn known(
        &self,
        account: &AccountId,
        key: &str,
        action: &str,
        input: &str,
    ) -> Result<Option<ActionRecord>, WriteError> {
        let Some(before) = self.parts.store.action(account, key).await? else { return Ok(None) };
        let name = (account.clone(), key.to_owned());
        let Some(_entered) = self.in_flight.enter(&name) else {
            return Err(WriteError::UnderWay(key.to_owned()));
        };
        self.before(action, input, before).await.map(Some)
    }

    /// Does a write, or returns what became of it before. It goes on when the caller leaves.
    pub async fn write(self: &Arc<Self>, write: Write) -> Result<ActionRecord, WriteError> {
        if self.parts.stop.is_cancelled() {
            let detail = "the daemon is stopping".to_owned();
            let trouble = Trouble::Outage { retry_after: None, may_have_run: false };
            return Err(SessionError::Failed { detail, trouble }.into());
        }
        let record = ActionRecord {
            account: write.account.clone(),
            key: write.key.clone(),
            action: write.action.clone(),
            by: write.by.clone(),
            target: write.target.clone(),
            input: write.input.clone(),
            // A key counts as long as its record is kept.
            at: self.parts.session.jobber_clock().moment(self.parts.clock.now()).sure,
            outcome: ActionOutcome::Begun,
        };
        let (writer, begun) = (Arc::clone(self), record.clone());
        let written = self.under_way.spawn(async move { writer.carry_out(&write, record).await }).await;
        written.unwrap_or_else(|error| {
            tracing::error!(%error, action = begun.action, "a write was cut off");
            let detail = "this program failed before there was an answer".to_owned();
            let outcome = ActionOutcome::Unknown { ended_at: begun.at, detail };
            Ok(ActionRecord { outcome, ..begun })
        })
    }

    async fn carry_out(&self, write: &Write, record: ActionRecord) -> Result<ActionRecord, WriteError> {
        let name = (write.account.clone(), write.key.clone());
        let under_way = || WriteError::UnderWay(write.key.clone());
        let _entered = self.in_flight.enter(&name).ok_or_else(under_way)?;
        if let Begun::Before(before) = self.parts.store.begin_action(&record).await? {
            return self.before(&write.action, &write.input, *before).await;
        }
        CrashPoint::ActionBegun.pass();
        let outcome = match self.send(write).await {
            Ok(outcome) => outcome,
            Err(error) => {
                telemetry::acted(&write.action, "not_sent");
                self.parts.store.free_action(&write.account, &write.key).await?;
                return Err(error.into());
            }
        };
        CrashPoint::ActionAnswered.pass();
        telemetry::acted(&write.action, outcome.as_str());
        let ended = self.parts.store.end_action(&write.account, &write.key, kept(outcome.clone())).await;
        if let Err(error) = ended {
            // What became of it is known here, whatever becomes of the store.
            tracing::error!(%error, action = write.action, "the outcome of a write was not stored");
        }
        CrashPoint::ActionEnded.pass();
        let record = ActionRecord { outcome, ..record };
        self.parts.own_writes.note(&record, self.parts.clock.now());
        Ok(record)
    }

    /// The first outcome under a key that was used before.
    async fn before(
        &self,
        action: &str,
        input: &str,
        before: ActionRecord,
    ) -> Result<ActionRecord, WriteError> {
        if (before.input.as_str(), before.action.as_str()) != (input, action) {
            return Err(WriteError::OtherInput(before.key));
        }
        if before.outcome != ActionOutcome::Begun {
            return Ok(before);
        }
        // Nobody is at it any more: the program ended between the beginning and the end.
        let detail = "the program ended before there was an answer".to_owned();
        let outcome = ActionOutcome::Unknown { ended_at: self.parts.clock.now(), detail };
        self.parts.store.end_action(&before.account, &before.key, outcome.clone()).await?;
        Ok(ActionRecord { outcome, ..before })
    }

    /// Sends the requests one after the other, until one is not done. An error means that nothing was sent.
    async fn send(&self, write: &Write) -> Result<ActionOutcome, SessionError> {
        let mut answers = serde_json::Map::new();
        let mut done: Vec<&str> = Vec::new();
        for (name, request) in &write.requests {
            let answered = self.parts.session.run(&write.account, &Mutation(request.clone())).await;
            let ended_at = self.parts.clock.now();
            let so_far = |errors: Vec<Objection>, answers: serde_json::Map<String, Value>| {
                ActionOutcome::Partly { ended_at, answer: Value::Object(answers), errors }
            };
            let verdict = match answered {
                Ok(answer) => answer.data,
                Err(SessionError::Failed { detail, trouble: Trouble::Outage { may_have_run: true, .. } }) => {
                    Verdict::Unknown(detail)
                }
                Err(error) if done.is_empty() => return Err(error),
                Err(error) => {
                    let message = format!("{} done; {name} was not sent: {error}", done.join(" and "));
                    return Ok(so_far(vec![Objection { message, path: vec![] }], answers));
                }
            };
            match verdict {
                Verdict::Done(answer) => {
                    done.push(name);
                    add(&mut answers, answer);
                }
                Verdict::Refused(errors) if done.is_empty() => {
                    return Ok(ActionOutcome::Refused { ended_at, errors: objections(errors) });
                }
                Verdict::Refused(errors) => {
                    let mut errors = objections(errors);
                    let message = format!("{} done; {name} was refused", done.join(" and "));
                    errors.insert(0, Objection { message, path: vec![] });
                    return Ok(so_far(errors, answers));
                }
                Verdict::Partly(answer, errors) => {
                    add(&mut answers, answer);
                    return Ok(so_far(objections(errors), answers));
                }
                Verdict::Unknown(detail) => {
                    let detail = match done.as_slice() {
                        [] => detail,
                        done => format!(
                            "{} done; what became of {name} is not known: {detail}",
                            done.join(" and ")
                        ),
                    };
                    return Ok(ActionOutcome::Unknown { ended_at, detail });
                }
            }
        }
        Ok(ActionOutcome::Done { ended_at: self.parts.clock.now(), answer: Value::Object(answers) })
    }
}

fn add(answers: &mut serde_json::Map<String, Value>, answer: Value) {
    if let Value::Object(payloads) = answer {
        answers.extend(payloads);
    }
}

/// An outcome without an answer that is too long to be kept.
fn kept(outcome: ActionOutcome) -> ActionOutcome {
    let short = |answer: Value| {
        let is_long = answer.to_string().len() > KEPT;
        if is_long { json!({"note": "the answer is too long to be kept"}) } else { answer }
    };
    match outcome {
        ActionOutcome::Done { ended_at, answer } => ActionOutcome::Done { ended_at, answer: short(answer) },
        ActionOutcome::Partly { ended_at, answer, errors } => {
            ActionOutcome::Partly { ended_at, answer: short(answer), errors }
        }
        outcome => outcome,
    }
}

fn objections(errors: Vec<UserError>) -> Vec<Objection> {
    errors.into_iter().map(|UserError { message, path }| Objection { message, path }).collect()
}
