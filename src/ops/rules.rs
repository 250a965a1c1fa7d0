//! Carries out the operator's rules: what happened is a stored cause, and each rule that waits for it does its action,
//! once for each cause.
//!
//! The key of a rule's write is made of the rule and the cause, so a crash repeats nothing. An outcome that is not known is
//! not repeated either: it stays in the record of writes. Causes of one account are taken in order.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::OpError;
use super::actions::{ActionCall, ActionStatus, Caller, act, from_session};
use crate::accounts::forwards::Reads;
use crate::accounts::session::{SessionError, Trouble};
use crate::clock::{minus, plus};
use crate::context::Context;
use crate::domain::actions::{Kind, Takes};
use crate::domain::forward::{CausedBy, Seen};
use crate::domain::model::{
    Account, AccountId, ActionOutcome, ActionRecord, Cause, Decision, EncodedId, Objection, Subject,
    WorkKind, WorkRef,
};
use crate::domain::reaction::Reaction;
use crate::domain::webhook_event::{Record, Topic};
use crate::store::StoreError;

/// Writes of rules on one record in a day. More would be a loop.
const MOST_A_DAY: usize = 10;

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Causes of one account that are taken before the others get their turn.
const TOGETHER: usize = 20;

/// How long an account rests when a rule cannot be carried out yet.
const REST: SignedDuration = SignedDuration::from_mins(1);

/// Carries out what waits, in one account or in all. Returns the number of causes that are done.
pub async fn react_once(context: &Context, only: Option<&AccountId>) -> Result<usize, StoreError> {
    if !context.store.has_causes().await? {
        return Ok(0);
    }
    // Whoever is at it already takes what came meanwhile with the next look.
    let Ok(mut rests) = context.reacting.try_lock() else { return Ok(0) };
    let mut done = 0;
    for (id, causes) in context.store.causes().await? {
        let now = context.clock.now();
        rests.retain(|_, until| *until > now && until.duration_since(now) <= REST);
        if rests.contains_key(&id) || only.is_some_and(|only| *only != id) {
            continue;
        }
        let Some(account) = context.store.account(&id).await? else {
            for cause in &causes {
                context.store.forget_cause(cause).await?;
            }
            continue;
        };
        if !account.is_active() {
            continue;
        }
        // The others get their turn.
        for cause in causes.iter().take(TOGETHER) {
            if context.stop.is_cancelled() {
                return Ok(done);
            }
            match react(context, &account, cause).await {
                Ok(()) => {
                    context.store.forget_cause(cause).await?;
                    done += 1;
                }
                Err(OpError::Store(error)) => return Err(error),
                Err(error) => {
                    tracing::warn!(account.id = %id, cause = cause.what, %error, "a rule waits");
                    rests.insert(id.clone(), plus(now, REST));
                    break;
                }
            }
        }
    }
    Ok(done)
}

/// Notes again what rules could not do in the last day: nobody may have looked yet.
pub async fn recall_troubles(context: &Context) -> Result<(), StoreError> {
    let since = minus(context.clock.now(), DAY);
    for record in context.store.actions(None, since).await? {
        let words = match &record.outcome {
            ActionOutcome::Refused { errors, .. } | ActionOutcome::Partly { errors, .. } => {
                errors.first().map_or_else(String::new, |error| error.message.clone())
            }
            ActionOutcome::Unknown { .. } => "it is not known whether it was done".to_owned(),
            ActionOutcome::Begun | ActionOutcome::Done { .. } => continue,
        };
        if let Some(rule) = record.by.strip_prefix("rule ") {
            context.rule_troubles.note(&record.account, record.at, format!("{rule}: {words}"));
        }
    }
    Ok(())
}

/// Carries out every rule for one cause. An error means that it has to be tried again.
async fn react(context: &Context, account: &Account, cause: &Cause) -> Result<(), OpError> {
    let rules = context.settings.reactions();
    let mut facts: Option<Facts> = None;
    for rule in rules.iter().filter(|rule| rule.on == cause.what) {
        if let Some(Facts { caused_by: Some(by), .. }) = &facts {
            tracing::debug!(account.id = %account.id, %rule, ?by, "not done: this program caused it itself");
            continue;
        }
        let facts = match &facts {
            Some(facts) => facts,
            None => facts.insert(Facts::of(context, account, cause).await?),
        };
        if facts.caused_by.is_none() {
            carry_out(context, account, cause, rule, facts).await?;
        }
    }
    Ok(())
}

/// What is known about a cause.
struct Facts {
    shown: Value,
    subject: Subject,
    work: Option<WorkRef>,
    /// The own write that an event of Jobber's tells of.
    caused_by: Option<CausedBy>,
}

impl Facts {
    async fn of(context: &Context, account: &Account, cause: &Cause) -> Result<Self, OpError> {
        let local = cause.at.to_zoned_datetime(context.settings.zone_of(account));
        let mut subject = match &cause.work {
            Some(work) => {
                let decision: Option<Decision> = context.store.decision(&account.id, work).await?;
                decision.map(|decision| decision.subject).unwrap_or_default()
            }
            None => Subject::default(),
        };
        if let Some(client) = &cause.client {
            subject.client_name = context.store.card_name(&account.id, client).await?;
            subject.client_id = Some(client.clone());
        }
        let mut shown = json!({
            "on": cause.what,
            "date": local.strftime("%Y-%m-%d").to_string(),
            "time": local.strftime("%H:%M").to_string(),
            "account": {"id": account.id, "name": account.name},
            "client": {"id": subject.client_id, "name": subject.client_name},
        });
        let (mut work, mut caused_by) = (cause.work.clone(), None);
        if let (Some(topic), Some(item)) = (Topic::named(&cause.what), &cause.item) {
            let record = record_of(context, account, topic, item).await?;
            caused_by =
                context.own_writes.cause_of(&account.id, item, &record, cause.heard_at.unwrap_or(cause.at));
            let id = |path: &str| record.pointer(path).and_then(Value::as_str).map(EncodedId::new);
            subject.client_id =
                if topic.record() == Record::Client { Some(item.clone()) } else { id("/client/id") };
            subject.job_id = if topic.record() == Record::Job { Some(item.clone()) } else { id("/job/id") };
            let (kind, of) = match topic.record() {
                Record::Visit => (WorkKind::Visit, Some(item.clone())),
                Record::Invoice => (WorkKind::Invoice, Some(item.clone())),
                _ => (WorkKind::Invoice, id("/invoice/id")),
            };
            work = of.map(|id| WorkRef { kind, id });
            let name = record.get("name").filter(|_| topic.record() == Record::Client);
            let name = name.or_else(|| record.pointer("/client/name")).cloned();
            shown["client"] = json!({"id": subject.client_id, "name": name});
            shown["record"] = record;
        } else if let Some(work) = &cause.work {
            shown["work"] = json!({"kind": work.kind.as_str(), "id": work.id});
            shown["job"] =
                json!({"id": subject.job_id, "number": subject.job_number, "title": subject.job_title});
            shown["invoice"] = json!({"number": subject.invoice_number});
        }
        if let Some(ask) = &cause.ask {
            shown["ask"] = json!({"id": ask});
            if let Some(review) = context.store.review(ask).await? {
                shown["review"] = json!({"rating": review.rating, "text": review.text, "url": review.url});
            }
        }
        Ok(Self { shown, subject, work, caused_by })
    }

    /// The id of the record that an action of this kind is about.
    fn target(&self, kind: Kind) -> Option<String> {
        let of_work = |wanted: WorkKind| {
            self.work.as_ref().filter(|work| work.kind == wanted).map(|work| work.id.to_string())
        };
        match kind {
            Kind::Client => self.subject.client_id.as_ref().map(ToString::to_string),
            Kind::Job => {
                self.subject.job_id.as_ref().map(ToString::to_string).or_else(|| of_work(WorkKind::Job))
            }
            Kind::Visit => of_work(WorkKind::Visit),
            Kind::Invoice => of_work(WorkKind::Invoice),
            _ => None,
        }
    }
}

/// The record of an event as it is now. `Null` if it is gone or cannot be seen.
async fn record_of(
    context: &Context,
    account: &Account,
    topic: Topic,
    item: &EncodedId,
) -> Result<Value, OpError> {
    if topic.ends_it() {
        return Ok(Value::Null);
    }
    match context.forwarder.read(account, &Reads::Record, topic.record(), item).await {
        Ok(Seen::Read { record, .. }) => Ok(record),
        // Where there is no usable answer, no later read would be better.
        Ok(Seen::NotRead | Seen::Gone | Seen::Hidden)
        | Err(SessionError::Failed { trouble: Trouble::Answer | Trouble::Refused(_), .. }) => Ok(Value::Null),
        Err(error) => Err(from_session(error)),
    }
}

async fn carry_out(
    context: &Context,
    account: &Account,
    cause: &Cause,
    rule: &Reaction,
    facts: &Facts,
) -> Result<(), OpError> {
    let key = format!("rule {} {}", rule.digest(), cause.id);
    let by = format!("rule {rule}");
    let target = match rule.action.target {
        Some((kind, _)) => {
            let Some(id) = facts.target(kind) else {
                let words = format!("there is no {} to do it on", kind.as_str());
                return not_done(context, account, rule, &key, &by, None, words).await;
            };
            Some(id)
        }
        None => None,
    };
    let mut flags = match rule.flags(&facts.shown) {
        Ok(flags) => flags,
        Err(error) => {
            return not_done(
                context,
                account,
                rule,
                &key,
                &by,
                target,
                format!("its template fails: {error}"),
            )
            .await;
        }
    };
    // Something new belongs to the client.
    let takes_client = rule.action.flags.iter().any(|flag| flag.takes == Takes::Record(Kind::Client));
    if target.is_none()
        && takes_client
        && !flags.iter().any(|(name, _)| name == "client")
        && let Some(client) = facts.target(Kind::Client)
    {
        flags.push(("client".to_owned(), client));
    }
    let of = target.clone().or_else(|| facts.target(Kind::Client));
    if is_too_often(context, account, &key, of.as_deref()).await? {
        let words =
            format!("rules have written on this record {MOST_A_DAY} times in a day: that looks like a loop");
        return not_done(context, account, rule, &key, &by, target, words).await;
    }
    let caller = Caller::Rule { name: by.clone() };
    if rule.action.name() == "clients.update"
        && is_so_already(context, &caller, account, target.as_deref(), &flags).await?
    {
        return Ok(());
    }
    let call = ActionCall {
        account: Some(account.id.to_string()),
        noun: rule.action.noun.to_owned(),
        verb: rule.action.verb.to_owned(),
        target: target.clone(),
        flags,
        key: Some(key.clone()),
        about: of,
        is_confirmed: true,
        ..ActionCall::default()
    };
    match act(context, caller, call).await {
        Ok(reply) if reply.status == ActionStatus::Done => Ok(()),
        Ok(reply) => {
            // It stays in the record of writes, and is not repeated.
            tracing::warn!(account.id = %account.id, %rule, status = ?reply.status, "a rule was not done");
            let what = match reply.status {
                ActionStatus::Unknown => "it is not known whether it was done",
                ActionStatus::Partly => "only a part was done",
                _ => "Jobber refused it",
            };
            context.rule_troubles.note(&account.id, context.clock.now(), format!("{rule}: {what}"));
            Ok(())
        }
        // Jobber cannot be asked now.
        Err(error @ (OpError::Later { .. } | OpError::Store(_))) => Err(error),
        Err(error) => {
            // A connection that was lost meanwhile comes back.
            let is_active =
                context.store.account(&account.id).await?.is_some_and(|account| account.is_active());
            if !is_active {
                return Err(error);
            }
            // A scope is missing, the record is gone, or the input does not fit: trying again changes nothing, and would
            // hold up everything else.
            not_done(context, account, rule, &key, &by, target, error.to_string()).await
        }
    }
}

/// Notes that a rule does not do its action, and why.
async fn not_done(
    context: &Context,
    account: &Account,
    rule: &Reaction,
    key: &str,
    by: &str,
    target: Option<String>,
    words: String,
) -> Result<(), OpError> {
    tracing::warn!(account.id = %account.id, %rule, words, "a rule was not done");
    let now = context.clock.now();
    context.rule_troubles.note(&account.id, now, format!("{rule}: {words}"));
    let errors = vec![Objection { message: words, path: vec![] }];
    let record = ActionRecord {
        account: account.id.clone(),
        key: key.to_owned(),
        action: rule.action.name(),
        by: by.to_owned(),
        target,
        input: String::new(),
        at: now,
        outcome: ActionOutcome::Refused { ended_at: now, errors },
    };
    context.store.begin_action(&record).await?;
    Ok(())
}

async fn is_too_often(
    context: &Context,
    account: &Account,
    key: &str,
    target: Option<&str>,
) -> Result<bool, StoreError> {
    let Some(target) = target else { return Ok(false) };
    let since: Timestamp = minus(context.clock.now(), DAY);
    let written = context.store.actions_on(&account.id, target, since).await?;
    let is_one = |record: &&ActionRecord| {
        let is_write = !matches!(record.outcome, ActionOutcome::Refused { .. });
        is_write && record.key.starts_with("rule ") && record.key != key
    };
    Ok(written.iter().filter(is_one).count() >= MOST_A_DAY)
}

/// Whether a client's card already is as the rule would make it. This ends the loop of a rule that hears of its own write.
async fn is_so_already(
    context: &Context,
    caller: &Caller,
    account: &Account,
    target: Option<&str>,
    flags: &[(String, String)],
) -> Result<bool, OpError> {
    let show = ActionCall {
        account: Some(account.id.to_string()),
        noun: "clients".to_owned(),
        verb: "show".to_owned(),
        target: target.map(str::to_owned),
        ..ActionCall::default()
    };
    let card = match act(context, caller.clone(), show).await {
        Ok(reply) => reply.record,
        Err(OpError::NotFound(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let tags = card["tags"]["nodes"].as_array().cloned().unwrap_or_default();
    let has_tag = |label: &str| tags.iter().any(|tag| tag["label"] == label);
    let known: BTreeMap<&str, &str> = [
        ("title", "title"),
        ("first-name", "firstName"),
        ("last-name", "lastName"),
        ("company-name", "companyName"),
        ("company", "isCompany"),
        ("receives-review-requests", "receivesReviewRequests"),
        ("receives-reminders", "receivesReminders"),
        ("receives-follow-ups", "receivesFollowUps"),
    ]
    .into();
    Ok(flags.iter().all(|(name, text)| match name.as_str() {
        "add-tag" => has_tag(text),
        "remove-tag" => !has_tag(text),
        name => known.get(name).is_some_and(|field| match &card[*field] {
            Value::String(own) => own == text,
            Value::Bool(own) => own.to_string() == *text,
            _ => false,
        }),
    }))
}
