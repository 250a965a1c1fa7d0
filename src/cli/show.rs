//! Replies as text for people.

mod actions;
mod events;

use std::fmt::Write as _;

use jiff::Timestamp;

use super::exit::Status;
use crate::domain::model::{
    Account, Alert, Connection, Delivery, EntryState, LinkState, OutboxEntry, Outcome, Subject, Suppression,
};
use crate::domain::shadow::ShadowReport;
use crate::ops::Done;
use crate::ops::accounts::{AccountShown, Setting};
use crate::ops::doctor::{Check, CheckState};
use crate::ops::explain::Explained;
use crate::ops::links::{LinkShown, NewLinkReply};
use crate::ops::once::OnceReport;
use crate::ops::probe::Finding;
use crate::ops::queue::QueueRow;
use crate::ops::status::{AccountStatus, StatusReport};
use crate::store::Copied;
use crate::text_table::table;

const NO_ACCOUNTS: &str = "There are no accounts. `link create NAME` creates a link to connect one.";

/// What keeps people from connecting, as far as is known (`api-behaviour.md` §2).
const NO_ANSWER: &str = "\n\nNo answer from Jobber: the page closes without a word when somebody who is no account admin allows access, when a draft app has\nfive accounts, or when the plan has no API. Ask the contractor to open the link again as an account admin.";

const NOT_RUNNING: &str =
    "No daemon is running: nobody is asked. Start it: sudo systemctl start jobber-reviewd";

const NO_WORK: &str = "No finished work matches.";

pub(super) trait Show: serde::Serialize {
    fn text(&self) -> String;

    fn status(&self) -> Status {
        Status::Fine
    }
}

impl Show for Done {
    fn text(&self) -> String {
        self.done.clone()
    }
}

impl Show for OnceReport {
    fn text(&self) -> String {
        once(self)
    }

    fn status(&self) -> Status {
        let lost = self.accounts.iter().any(|account| account.state == "needs_authorization")
            || self.errors.iter().any(|error| error.needs_operator);
        let worked = self.delivered > 0 || self.accounts.iter().any(|account| account.polled);
        if lost || self.dead > 0 {
            Status::NeedsHuman
        } else if self.errors.is_empty() {
            Status::Fine
        } else if worked {
            Status::Partly
        } else {
            Status::Failed
        }
    }
}

impl Show for NewLinkReply {
    fn text(&self) -> String {
        format!(
            "{}\n\nSend this link to the contractor. It works once, until {}, and is not shown again. Its id is {}.",
            self.url,
            instant(self.expires_at),
            self.id
        )
    }
}

impl Show for Vec<LinkShown> {
    fn text(&self) -> String {
        let header = ["link", "for", "trigger", "state", "expires"];
        let mut text =
            table(&header, "There are no links. `link create NAME` creates one.", self.iter().map(link));
        if self.iter().any(|shown| shown.no_answer_since.is_some()) {
            text.push_str(NO_ANSWER);
        }
        text
    }
}

impl Show for Vec<Account> {
    fn text(&self) -> String {
        let header = ["account", "name", "link's name", "trigger", "state", "connected"];
        table(&header, NO_ACCOUNTS, self.iter().map(account))
    }
}

impl Show for AccountShown {
    fn text(&self) -> String {
        account_shown(self)
    }
}

impl Show for Vec<Check> {
    fn text(&self) -> String {
        checked(self)
    }

    fn status(&self) -> Status {
        let failed = self.iter().any(|check| check.state == CheckState::Failed);
        if failed { Status::NeedsHuman } else { Status::Fine }
    }
}

impl Show for Vec<Finding> {
    fn text(&self) -> String {
        let lines = self.iter().map(|Finding { question, seen }| format!("{question}\n  {seen}"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Show for ShadowReport {
    fn text(&self) -> String {
        shadow(self)
    }
}

impl Show for Vec<Suppression> {
    fn text(&self) -> String {
        let header = ["never asked", "by", "since", "note"];
        table(&header, "Nobody is on the list.", self.iter().map(suppression))
    }
}

impl Show for Copied {
    fn text(&self) -> String {
        format!("export complete: accounts {}, store entries {}", self.accounts, self.entries)
    }
}

impl Show for StatusReport {
    fn text(&self) -> String {
        status(self)
    }

    fn status(&self) -> Status {
        let needs_human = self.accounts.iter().any(AccountStatus::needs_human);
        if needs_human || !self.running { Status::NeedsHuman } else { Status::Fine }
    }
}

impl Show for Vec<Explained> {
    fn text(&self) -> String {
        explain(self)
    }

    fn status(&self) -> Status {
        if self.is_empty() { Status::NotFound } else { Status::Fine }
    }
}

impl Show for Vec<QueueRow> {
    fn text(&self) -> String {
        let header = ["what", "work", "account", "state", "when", "last answer"];
        table(&header, "The queue is empty.", self.iter().map(queue_row))
    }
}

impl Show for OutboxEntry {
    fn text(&self) -> String {
        ask(self)
    }
}

fn shadow(report: &ShadowReport) -> String {
    let lines = |lines: &[u64]| match lines {
        [] => "none".to_owned(),
        lines => format!("lines {}", lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    let us = report
        .only_us
        .iter()
        .map(|row| ["only jobber-reviewd".to_owned(), row.client.clone(), instant(row.at), String::new()]);
    let them = report.only_them.iter().map(|row| {
        let we = row.we.clone().unwrap_or_else(|| "no finished work found".to_owned());
        ["only the old automation".to_owned(), format!("line {}", row.line), instant(row.at), we]
    });
    format!(
        "Asks made by both: {}. The old automation asked again within the cooldown: {}; outside the window: {}.\n\n{}",
        report.both,
        lines(&report.repeats),
        lines(&report.outside_hours),
        table(&["who asked", "whom", "when", "our decision"], "There is no difference.", us.chain(them))
    )
}

fn suppression(suppression: &Suppression) -> [String; 4] {
    [
        suppression.what.clone(),
        suppression.account.as_ref().map_or_else(|| "all accounts".to_owned(), ToString::to_string),
        instant(suppression.at),
        suppression.note.clone().unwrap_or_default(),
    ]
}

fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn maybe(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), instant)
}

fn once(report: &OnceReport) -> String {
    let rows = report.accounts.iter().map(|account| {
        [
            account.name.clone(),
            account.state.clone(),
            if account.polled { "yes" } else { "no" }.to_owned(),
            account.candidates.to_string(),
            account.asked.to_string(),
            account.skipped.to_string(),
            account.deferred.to_string(),
        ]
    });
    let header = ["account", "state", "polled", "candidates", "asked", "skipped", "deferred"];
    let mut text = table(&header, NO_ACCOUNTS, rows);
    let OnceReport { delivered, retrying, dead, .. } = report;
    let _ok = write!(text, "\n\ndelivered: {delivered}, to be tried again: {retrying}, dead letters: {dead}");
    for error in &report.errors {
        let _ok = write!(text, "\nfailed for {}: {}", error.account, error.error);
    }
    text
}

fn link(shown: &LinkShown) -> [String; 5] {
    let link = &shown.link;
    let state = match &link.state {
        LinkState::Open | LinkState::Started { .. } if shown.is_expired => "expired".to_owned(),
        LinkState::Open => "open".to_owned(),
        LinkState::Started { .. } => match shown.no_answer_since {
            Some(since) => format!("no answer from Jobber since {}", instant(since)),
            None => "started".to_owned(),
        },
        LinkState::Used { at, .. } => format!("used {}", instant(*at)),
        LinkState::Revoked { at } => format!("revoked {}", instant(*at)),
    };
    [link.id.to_string(), link.label.clone(), link.trigger.to_string(), state, instant(link.expires_at)]
}

fn account(account: &Account) -> [String; 6] {
    let state = match &account.connection {
        Connection::NeedsAuthorization { reason, .. } => format!("needs authorization: {reason}"),
        Connection::Connected | Connection::Disconnected { .. } => account.state().to_owned(),
    };
    [
        account.id.to_string(),
        account.name.clone(),
        account.label.clone(),
        account.trigger.to_string(),
        state,
        instant(account.connected_at),
    ]
}

fn checked(checks: &[Check]) -> String {
    let lines = checks.iter().map(|Check { name, state, detail, remedy }| {
        let mark = match state {
            CheckState::Fine => "ok    ",
            CheckState::Unsure => "unsure",
            CheckState::Failed => "FAILED",
            CheckState::Skipped => "-     ",
        };
        let remedy = remedy.as_ref().map_or_else(String::new, |remedy| format!("\n         {remedy}"));
        format!("{mark}  {name}: {detail}{remedy}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn account_shown(shown: &AccountShown) -> String {
    let rows = shown.settings.iter().map(|Setting { key, value, own }| {
        let value = match value {
            serde_json::Value::Null => "(not set)".to_owned(),
            value => value.to_string(),
        };
        [key.clone(), value, if *own { "its own" } else { "[review]" }.to_owned()]
    });
    let [id, name, label, _, state, connected] = account(&shown.account);
    let problem = shown
        .problem
        .as_ref()
        .map_or_else(String::new, |problem| format!("\n\nIts settings cannot be used: {problem}"));
    format!(
        "{name} ({label}), {id}\n{state}; connected {connected}; asks about work finished since {}\n\n{}{problem}",
        instant(shown.account.asks_from),
        table(&["key", "value", "from"], "There are no settings.", rows)
    )
}

fn status(report: &StatusReport) -> String {
    let rows = report.accounts.iter().map(|account| {
        let state = match (&account.reason, &account.failing_since) {
            (Some(reason), _) => format!("needs authorization: {reason}"),
            (None, Some(since)) => {
                let error = account.last_error.as_deref().unwrap_or("unknown");
                format!("retrying since {}: {error}", instant(*since))
            }
            (None, None) if account.receiver_stopped_at.is_some() => {
                let since = maybe(account.receiver_stopped_at);
                format!("{}, but nothing is sent: its receiver answered 410 (gone) at {since}", account.state)
            }
            (None, None) => match account.asking_fails_since {
                Some(since) => {
                    format!("{}, but reading due work has failed since {}", account.state, instant(since))
                }
                None => account.state.clone(),
            },
        };
        let skipped: usize = account.skipped_7d.values().sum();
        [
            account.name.clone(),
            state,
            maybe(account.last_success),
            maybe(account.last_event),
            match account.reviewed_7d {
                0 => account.asked_7d.to_string(),
                reviewed => format!("{}, {reviewed} reviewed", account.asked_7d),
            },
            skipped.to_string(),
            queue_of(account),
            account.next_action.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    });
    let header =
        ["account", "state", "last success", "last event", "asked 7d", "skipped 7d", "queue", "next action"];
    let mut text = if report.running { "The daemon is running." } else { NOT_RUNNING }.to_owned();
    let _ok = write!(text, "\n\n{}", table(&header, NO_ACCOUNTS, rows));
    for account in &report.accounts {
        for remark in &account.remarks {
            let _ok = write!(text, "\n\n{}: {remark}.", account.name);
        }
    }
    if let Some(limit) = report.draft_limit {
        // A paused account still has the app installed.
        let is_installed = |state: &str| matches!(state, "connected" | "paused");
        let connected = report.accounts.iter().filter(|account| is_installed(&account.state)).count();
        let _ok = write!(text, "\n\nDraft app: {connected} of {limit} accounts (jobber.draft_app).");
    }
    if let Some(ahead) = report.clock_ahead_seconds.filter(|ahead| ahead.abs() > 2) {
        let way = if ahead > 0 { "ahead of" } else { "behind" };
        let _ok = write!(text, "\nThe machine's clock is {} s {way} Jobber's.", ahead.abs());
    }
    let (version, until) = (&report.api_version, report.api_supported_until.strftime("%Y-%m-%d"));
    let _ok = write!(text, "\nJobber supports API version {version} at least until {until}.");
    for alert in &report.alerts {
        let Alert { kind, since, summary, action, .. } = alert;
        let _ok = write!(text, "\n\n{kind} since {}: {summary}\n  {action}", instant(*since));
    }
    text
}

fn queue_of(account: &AccountStatus) -> String {
    let held = if account.held > 0 { format!(", {} held", account.held) } else { String::new() };
    format!("{} waiting{held}, {} queued, {} dead", account.waiting, account.queued, account.dead)
}

fn explain(explained: &[Explained]) -> String {
    if explained.is_empty() {
        return NO_WORK.to_owned();
    }
    let rows =
        explained.iter().map(|Explained { account_name, finished_local, decision, leaves_at, .. }| {
            let outcome = match leaves_at {
                Some(at) => format!("waits until {}", instant(*at)),
                None => outcome(&decision.outcome),
            };
            [
                subject(&decision.subject),
                decision.work.kind.as_str().to_owned(),
                account_name.clone(),
                decision.trigger.to_string(),
                finished_local.clone(),
                outcome,
                decision
                    .saw
                    .iter()
                    .map(|(name, value)| format!("{name} = {value}"))
                    .collect::<Vec<_>>()
                    .join(", "),
            ]
        });
    let mut text =
        table(&["about", "work", "account", "trigger", "finished", "outcome", "seen"], NO_WORK, rows);
    for row in explained {
        if let Some(sentence) = &row.would_say {
            // A String accepts every write.
            let _written = write!(text, "\n{}: {sentence}", row.decision.work);
        }
        actions::add_what_followed(&mut text, row);
    }
    text
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Waiting { due_at } => format!("waits until {}", instant(*due_at)),
        Outcome::Held { since, .. } => {
            format!("held with a burst since {} (`queue release-burst`, `queue drop-burst`)", instant(*since))
        }
        Outcome::Skipped { reason } => format!("not asked: {}", reason.describe()),
        Outcome::Asked { ask_id, delivery } => format!("asked ({ask_id}), {}", delivered(delivery)),
    }
}

fn delivered(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Queued => "queued for delivery".to_owned(),
        Delivery::Delivered { at, status, attempts } => {
            let attempts = if *attempts == 1 { String::new() } else { format!(", attempt {attempts}") };
            format!("delivered {} (HTTP {status}{attempts})", instant(*at))
        }
        Delivery::Dead { reason } => format!("dead letter: {reason}"),
        Delivery::Dropped => "dropped from the queue".to_owned(),
    }
}

fn subject(subject: &Subject) -> String {
    let job = subject.job_number.map(|number| format!("#{number}"));
    let parts = [job, subject.job_title.clone(), subject.client_name.clone()];
    let known: Vec<String> = parts.into_iter().flatten().collect();
    if known.is_empty() { "-".to_owned() } else { known.join(" ") }
}

fn queue_row(row: &QueueRow) -> [String; 6] {
    match row {
        QueueRow::Candidate { account, work, due_at, subject, .. } => [
            self::subject(subject),
            work.to_string(),
            account.to_string(),
            "waiting until it is due".to_owned(),
            instant(*due_at),
            "-".to_owned(),
        ],
        QueueRow::Held { account, work, since, subject, .. } => [
            self::subject(subject),
            work.to_string(),
            account.to_string(),
            "held with a burst".to_owned(),
            instant(*since),
            "-".to_owned(),
        ],
        QueueRow::Ask { id, account, work, attempts, state, last_error, .. } => {
            let (state, when) = entry_state(state, *attempts);
            let last = last_error.clone().unwrap_or_else(|| "-".to_owned());
            [id.to_string(), work.to_string(), account.to_string(), state, when, last]
        }
    }
}

fn entry_state(state: &EntryState, attempts: u32) -> (String, String) {
    match state {
        EntryState::Due { at } if attempts == 0 => ("to be sent".to_owned(), instant(*at)),
        EntryState::Due { at } => (format!("to be tried again, attempts so far: {attempts}"), instant(*at)),
        EntryState::Leased { until } => ("being sent".to_owned(), instant(*until)),
        EntryState::Dead { at, reason } => (format!("dead letter: {reason}"), instant(*at)),
    }
}

fn ask(entry: &OutboxEntry) -> String {
    let (state, when) = entry_state(&entry.state, entry.attempt);
    let last = entry.last.as_ref().map_or_else(|| "-".to_owned(), |last| last.error.clone());
    format!(
        "{}\n  account      {}\n  work         {}\n  decided      {}\n  state        {state}, {when}\n  last answer  {last}\n  body         {}",
        entry.id,
        entry.account,
        entry.payload.work(),
        instant(entry.created_at),
        entry.body
    )
}
