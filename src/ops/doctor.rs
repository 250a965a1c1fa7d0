//! `doctor`: checks in order, each with a remedy. Checks that depend on a failed one are skipped.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::status::remarks_on;
use super::{OpError, named};
use crate::accounts::onboarding::random;
use crate::accounts::receiver::Receiver;
use crate::accounts::session::SessionError;
use crate::accounts::settings::ReceiverError;
use crate::accounts::tokens::TokenError;
use crate::config::AlertsSection;
use crate::context::Context;
use crate::digest;
use crate::domain::model::{Account, MessageId};
use crate::domain::retry::Reply as Answer;
use crate::jobber::operations::WhoAmI;
use crate::jobber::{API_VERSION, supported_until};
use crate::outbound::resolver::is_loopback;
use crate::outbound::secret::WebhookSecret;
use crate::outbound::sender::Attempted;
use crate::store::StoreError;
use crate::workers::channels::is_runnable;

/// Allowed difference between our clock and Jobber's, because instants of both are compared.
const SKEW: SignedDuration = SignedDuration::from_mins(2);

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// The result.
    pub state: CheckState,
    /// What was found.
    pub detail: String,
    /// What to do, if anything.
    pub remedy: Option<String>,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// In order.
    Fine,
    /// In order as far as this machine can see.
    Unsure,
    /// Something must be done.
    Failed,
    /// Not checked, because it depends on a failed check.
    Skipped,
}

impl Check {
    fn new(
        name: impl Into<String>,
        state: CheckState,
        detail: impl Into<String>,
        remedy: Option<String>,
    ) -> Self {
        Self { name: name.into(), state, detail: detail.into(), remedy }
    }

    /// A check that is in order.
    pub fn fine(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(name, CheckState::Fine, detail, None)
    }

    /// A check that failed.
    pub fn failed(name: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(name, CheckState::Failed, detail, Some(remedy.into()))
    }

    /// A check that was skipped because `what` is missing.
    pub fn skipped(name: impl Into<String>, what: &str) -> Self {
        Self::new(name, CheckState::Skipped, format!("skipped, because this check failed: {what}"), None)
    }

    fn unsure(name: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(name, CheckState::Unsure, detail, Some(remedy.into()))
    }
}

/// All checks in order. Changes nothing, except that an expired token is refreshed.
pub async fn doctor(context: &Context, running: bool) -> Result<Vec<Check>, OpError> {
    let now = context.clock.now();
    let daemon = if running {
        Check::fine("daemon", "it is running")
    } else {
        let start = "start it: sudo systemctl start jobber-reviewd";
        Check::unsure("daemon", "none is running: nobody is asked", start)
    };
    let mut checks = vec![daemon, store(context, now).await];
    let jobber = jobber(context, now).await;
    let reached = jobber.first().is_some_and(|check| check.state != CheckState::Failed);
    checks.extend(jobber);
    checks.push(if reached {
        app(context).await?
    } else {
        Check::skipped("client id and secret", "Jobber's API")
    });
    checks.push(public_url(context).await);
    checks.push(version(now));
    checks.push(alerts(context));
    let known = context.store.accounts().await?;
    if !reached {
        checks.push(Check::skipped("accounts", "Jobber's API"));
    } else if known.is_empty() {
        checks.push(Check::unsure(
            "accounts",
            "no account is connected",
            "run: jobber-reviewd link create NAME",
        ));
    } else {
        checks.extend(accounts(context, &known).await?);
    }
    checks.extend(receivers(context, &known, now).await?);
    checks.push(queue(context).await?);
    Ok(checks)
}

async fn store(context: &Context, now: Timestamp) -> Check {
    match context.store.probe(now).await {
        Ok(()) => Check::fine("store", format!("{} can be written and read back", context.store.place())),
        Err(error) => {
            Check::failed("store", error.to_string(), "fix that and start the daemon again; nothing is lost")
        }
    }
}

async fn jobber(context: &Context, now: Timestamp) -> Vec<Check> {
    let (name, base) = ("Jobber's API", &context.config.jobber.api_base);
    match context.session.reach().await {
        Ok(date) => {
            let reached = Check::fine(name, format!("{base} answers"));
            let clock = match date.map(|date| now.duration_since(date)) {
                None => Check::unsure(
                    "clock",
                    "Jobber's answer does not contain the time",
                    "check that timedatectl shows: System clock synchronized: yes",
                ),
                Some(off) if off.abs() > SKEW => Check::failed(
                    "clock",
                    format!(
                        "this machine is {} s {} Jobber's clock",
                        off.abs().as_secs(),
                        if off.is_positive() { "ahead of" } else { "behind" }
                    ),
                    "set the clock: timedatectl set-ntp true",
                ),
                Some(_) => Check::fine("clock", "it agrees with Jobber's"),
            };
            vec![reached, clock]
        }
        Err(error) => vec![
            Check::failed(
                name,
                format!("{base}: {error}"),
                "check the network, DNS and the machine's CA certificates (package ca-certificates), and jobber.api_base",
            ),
            Check::skipped("clock", name),
        ],
    }
}

async fn app(context: &Context) -> Result<Check, StoreError> {
    let name = "client id and secret";
    Ok(match context.session.try_app().await {
        // Jobber refuses the invalid refresh token but accepts the app.
        Err(TokenError::NeedsAuthorization(_)) | Ok(()) => Check::fine(name, "Jobber accepts them"),
        Err(TokenError::Store(error)) => return Err(error),
        Err(TokenError::AppRefused { detail }) => Check::failed(
            name,
            format!("Jobber refused the app: {detail}"),
            "copy jobber.client_id and the client secret from the app's page in Jobber's developer centre",
        ),
        Err(error @ (TokenError::CodeRefused | TokenError::Unavailable { .. })) => Check::unsure(
            name,
            error.to_string(),
            "try again; if it fails again, compare both with the app's page in Jobber",
        ),
    })
}

async fn public_url(context: &Context) -> Check {
    let (name, url) = ("http.public_url", &context.config.http.public_url.0);
    let redirect = format!("the app's redirect URI in Jobber must be {}", context.config.redirect_uri());
    if is_loopback(url) {
        let remedy = "fine for a trial with the sandbox; contractors need a public https address";
        return Check::unsure(name, format!("{url} can be reached only from this machine"), remedy);
    }
    match context.session.get(url.clone(), "healthz").await {
        Ok(200) => Check::unsure(
            name,
            format!("{url} reaches the daemon from this machine; {redirect}"),
            "open it once from a phone: access from outside cannot be checked from here",
        ),
        Ok(status) => Check::failed(
            name,
            format!("{url}healthz answers HTTP {status}"),
            "make the web server forward that host to http.listen, and check that the daemon is running",
        ),
        Err(error) => Check::unsure(
            name,
            format!("{url} cannot be reached from this machine ({error}); {redirect}"),
            "open it once from a phone; in some networks a machine cannot reach its own public address",
        ),
    }
}

fn version(now: Timestamp) -> Check {
    let (name, end) = ("version of the API", supported_until());
    let days = end.duration_since(now).as_hours() / 24;
    let detail =
        format!("{API_VERSION} is supported at least until {} ({days} days left)", end.strftime("%Y-%m-%d"));
    if days < 60 {
        Check::failed(name, detail, "install a newer jobber-reviewd")
    } else {
        Check::fine(name, detail)
    }
}

async fn accounts(context: &Context, known: &[Account]) -> Result<Vec<Check>, StoreError> {
    let (mut checks, mut fine) = (Vec::new(), 0);
    for account in known {
        let name = format!("account {}", account.name);
        if !account.is_active() && account.connection.is_connected() {
            checks.push(Check::fine(name, "it is paused (`account resume` resumes it)"));
            continue;
        }
        if let crate::domain::model::Connection::Disconnected { .. } = account.connection {
            checks.push(Check::fine(name, "it is disconnected (`account remove` deletes it)"));
            continue;
        }
        for remark in remarks_on(context, account) {
            checks.push(Check::fine(format!("review requests of {}", account.name), remark));
        }
        match context.session.run(&account.id, &WhoAmI).await {
            Ok(answer) if answer.data.id == account.id => {
                let health = context.store.health(&account.id).await?;
                match health.last_error.filter(|_| health.needs_operator) {
                    Some(error) => checks.push(Check::failed(name, "its sweeps fail", error)),
                    None => fine += 1,
                }
            }
            Ok(other) => {
                let detail = format!("its token belongs to another account, {}", other.data.id);
                checks.push(Check::failed(name, detail, "disconnect it, and send the contractor a new link"));
            }
            Err(SessionError::Store(error)) => return Err(error),
            Err(SessionError::NeedsAuthorization(reason)) => {
                let remedy = format!(
                    "send a new link: jobber-reviewd link create '{}' --account {}",
                    account.label, account.id
                );
                checks.push(Check::failed(name, reason.describe(), remedy));
            }
            Err(SessionError::Failed { detail, .. }) => {
                checks.push(Check::failed(
                    name,
                    detail,
                    "wait: most such errors go away by themselves; `status` shows since when",
                ));
            }
        }
    }
    if fine > 0 {
        checks.insert(0, Check::fine("accounts", format!("{fine} of {} can be read", known.len())));
    }
    Ok(checks)
}

/// Checks each receiver once with a signed ping, which asks nobody.
async fn receivers(context: &Context, known: &[Account], now: Timestamp) -> Result<Vec<Check>, StoreError> {
    // By address and secret, because an account can have its own of each.
    let mut receivers: BTreeMap<_, (Receiver, Vec<&str>)> = BTreeMap::new();
    let default = context.settings.default_receiver();
    receivers.insert((default.id(), None), (default, vec![]));
    for account in known {
        match context.settings.receiver_of(account).await {
            Ok(receiver) => {
                let own = context.store.webhook_secret(&account.id).await?.map(|_| account.id.clone());
                receivers
                    .entry((receiver.id(), own))
                    .or_insert_with(|| (receiver, vec![]))
                    .1
                    .push(&account.name);
            }
            Err(ReceiverError::Store(error)) => return Err(error),
            // Its sweeps fail, and that is reported already.
            Err(ReceiverError::Settings(_)) => {}
        }
    }
    let mut checks = Vec::new();
    for (receiver, accounts) in receivers.into_values() {
        let whose = if accounts.is_empty() { "review.webhook_url".to_owned() } else { accounts.join(", ") };
        let body = format!(r#"{{"type":"ping","timestamp":"{now}"}}"#);
        let id = MessageId::new(format!("ping_{}", digest::short(&[&now.to_string(), &whose])));
        let signed = context.sender.post(&receiver.url, &receiver.secret, &id, &body, now).await;
        checks.push(of_ping(format!("receiver of {whose}"), &signed));
    }
    Ok(checks)
}

fn of_ping(name: String, signed: &Attempted) -> Check {
    let remedy = |words: &str| format!("{words}; then run: jobber-reviewd test-event");
    match &signed.reply {
        Answer::Accepted { status } => Check::fine(name, format!("it took a signed ping (HTTP {status})")),
        Answer::Gone => Check::failed(
            name,
            "it answers 410: gone",
            remedy("correct its address (review.webhook_url or `account set`)"),
        ),
        Answer::Refused { status } => {
            Check::fine(name, format!("it answers, but does not support pings (HTTP {status})"))
        }
        Answer::Failed { status: Some(status @ (401 | 403)), .. } => Check::failed(
            name,
            format!("it refused our signature (HTTP {status})"),
            remedy("enter the content of webhook_secret on the platform"),
        ),
        Answer::Failed { status: Some(404 | 405), .. } => {
            Check::failed(name, signed.note.clone(), remedy("correct the path of its address"))
        }
        Answer::Failed { .. } => Check::failed(
            name,
            signed.note.clone(),
            remedy("check that the platform is up and its address is correct"),
        ),
    }
}

async fn queue(context: &Context) -> Result<Check, StoreError> {
    let counts = context.store.outbox_counts().await?;
    let (queued, dead) =
        counts.by_account.values().fold((0, 0), |sum, count| (sum.0 + count.queued, sum.1 + count.dead));
    let detail = format!("queued asks: {queued}, dead letters: {dead}");
    Ok(if dead > 0 {
        Check::failed(
            "queue",
            detail,
            "run: jobber-reviewd queue list; then use replay, queue retry or queue drop",
        )
    } else {
        Check::fine("queue", detail)
    })
}

/// Whether somebody hears of trouble.
fn alerts(context: &Context) -> Check {
    let section = &context.config.alerts;
    let unknown = section.command.first().filter(|program| !is_runnable(program));
    if let Some(error) = context.notifier.failing() {
        return Check::failed("alerts", error, "correct it, then run: jobber-reviewd alerts test");
    }
    if let Some(program) = unknown {
        let remedy = "name a program that is there and may be run, by its whole path";
        return Check::failed("alerts", format!("alerts.command: {program} cannot be started"), remedy);
    }
    if let Err(error) = context.config.mail() {
        let problem = format!("{}: {}", error.key, error.problem);
        return Check::failed("alerts", problem, error.remedy);
    }
    if !section.are_heard() {
        let remedy = AlertsSection::REMEDY;
        return Check::unsure("alerts", "nobody is told of trouble, except by `status` and the log", remedy);
    }
    Check::fine("alerts", "they go somewhere; `alerts test` sends a sample")
}

/// Sends a sample alert to each channel.
pub async fn test_alerts(context: &Context) -> Result<Vec<Check>, OpError> {
    let tried = context.notifier.try_channels().await;
    if tried.is_empty() {
        let remedy = AlertsSection::REMEDY;
        return Err(OpError::Refused(format!(
            "nobody gets alerts; {remedy}: until then, only `status` and the log tell of trouble"
        )));
    }
    let check = |(name, sent): (&'static str, Result<(), String>)| match sent {
        Ok(()) => Check::fine(name, "it took the sample"),
        Err(error) => Check::failed(name, error, "correct it, then run: jobber-reviewd alerts test"),
    };
    Ok(tried.into_iter().map(check).collect())
}

/// Tests a receiver: first a wrong signature, then a marked sample twice under one id.
pub async fn test_event(context: &Context, account: Option<String>) -> Result<Vec<Check>, OpError> {
    let now = context.clock.now();
    let account = named(context, account).await?;
    let (receiver, texts) = match &account {
        Some(account) => {
            let rules = context.settings.rules_of(account);
            let rules = rules.map_err(|error| OpError::Refused(error.to_string()))?;
            match context.settings.receiver_of(account).await {
                Ok(receiver) => (receiver, rules.texts),
                Err(ReceiverError::Store(error)) => return Err(error.into()),
                Err(ReceiverError::Settings(error)) => return Err(OpError::Refused(error.to_string())),
            }
        }
        None => (context.settings.default_receiver(), context.settings.default_texts()),
    };
    let body = match texts.sample(account.as_ref(), now) {
        Ok(body) => body,
        Err(error) => return Err(OpError::Refused(format!("review.body_file: {error}"))),
    };
    let id = |what: &str| {
        MessageId::new(format!("test_{}", digest::short(&[what, &now.to_string(), receiver.url.as_str()])))
    };
    // A secret that the receiver does not know.
    let stranger = WebhookSecret::of(&random().map_err(|error| OpError::Failed(error.to_string()))?);
    let (forged, sample) = (id("forged"), id("sample"));
    let wrong = context.sender.post(&receiver.url, &stranger, &forged, &body, now).await;
    let first = context.sender.post(&receiver.url, &receiver.secret, &sample, &body, now).await;
    let mut checks = vec![of_forged(&wrong)];
    let taken = matches!(first.reply, Answer::Accepted { .. });
    checks.push(if taken {
        Check::fine("a sample", format!("it was accepted ({}), with the id {sample}", first.note))
    } else {
        Check::failed(
            "a sample",
            format!("it was not accepted: {}", first.note),
            "check that the platform has the content of webhook_secret and answers 2xx within 15 s",
        )
    });
    checks.push(if taken {
        let again = context.sender.post(&receiver.url, &receiver.secret, &sample, &body, now).await;
        of_repeat(&again, &sample)
    } else {
        Check::skipped("the same sample again", "a sample")
    });
    Ok(checks)
}

fn of_forged(wrong: &Attempted) -> Check {
    let name = "a wrong signature";
    match &wrong.reply {
        Answer::Accepted { .. } => Check::failed(
            name,
            format!("it was accepted ({}): anybody who knows the address can send false asks", wrong.note),
            "have the platform verify webhook-signature (Standard Webhooks)",
        ),
        Answer::Failed { status: None, .. } => Check::failed(
            name,
            wrong.note.clone(),
            "check that the platform is up and its address is correct",
        ),
        Answer::Failed { status: Some(500..), .. } => {
            Check::unsure(name, wrong.note.clone(), "the platform should answer a wrong signature with 401")
        }
        Answer::Failed { .. } | Answer::Refused { .. } | Answer::Gone => {
            Check::fine(name, format!("it was refused ({})", wrong.note))
        }
    }
}

fn of_repeat(again: &Attempted, id: &MessageId) -> Check {
    let name = "the same sample again";
    match &again.reply {
        Answer::Accepted { .. } => Check::new(
            name,
            CheckState::Unsure,
            format!("it was accepted again ({}), as it should be", again.note),
            Some(format!("check on the platform: {id} must be there once, not twice")),
        ),
        Answer::Failed { status: Some(409), .. } => Check::unsure(
            name,
            "it was refused as a repeat (HTTP 409)",
            "make the platform answer a repeat with 2xx: after any other answer the ask is sent again",
        ),
        _ => Check::failed(
            name,
            again.note.clone(),
            "make the platform answer a repeat with 2xx: after any other answer the ask is sent again",
        ),
    }
}
