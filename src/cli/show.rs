//! Replies as text for people.

mod actions;
mod events;
mod explain;
mod queue;
mod status;

use std::fmt::Write as _;

use jiff::Timestamp;

use super::exit::Status;
use super::style::{Style, is_coloured, styled, wrapped};
use crate::clock::{Clock as _, SystemClock};
use crate::domain::model::{Account, Connection, LinkState, OutboxEntry, Suppression};
use crate::domain::shadow::ShadowReport;
use crate::ops::Done;
use crate::ops::accounts::{AccountShown, Setting};
use crate::ops::console::ConsoleOpened;
use crate::ops::doctor::{Check, CheckState};
use crate::ops::explain::Explained;
use crate::ops::links::{LinkShown, NewLinkReply};
use crate::ops::once::OnceReport;
use crate::ops::people::Forgetting;
use crate::ops::probe::Finding;
use crate::ops::queue::QueueRow;
use crate::ops::status::{AccountStatus, StatusReport};
use crate::ops::words::relative;
use crate::store::Copied;
use crate::text_table::{counted, rows as table_of, table};

const NO_ACCOUNTS: &str = "There are no accounts. `link create NAME` creates a link to connect one.";

/// What keeps people from connecting, as far as is known (`api-behaviour.md` §2).
const NO_ANSWER: &str = "\n\nNo answer from Jobber: the page closes without a word when somebody who is no account admin allows access, when a draft app has\nfive accounts, or when the plan has no API. Ask the contractor to open the link again as an account admin.";

const NO_WORK: &str = "No finished work matches.";

/// What a text is written for: the time it is read, and whether in colour.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paper {
    now: Timestamp,
    is_coloured: bool,
}

impl Paper {
    pub(super) fn of_terminal() -> Self {
        Self { now: SystemClock.now(), is_coloured: is_coloured() }
    }

    fn styled(&self, style: Style, text: &str) -> String {
        if self.is_coloured { styled(style, text) } else { text.to_owned() }
    }
}

pub(super) trait Show: serde::Serialize {
    fn text(&self, _: &Paper) -> String;

    fn status(&self) -> Status {
        Status::Fine
    }
}

impl Show for Done {
    fn text(&self, _: &Paper) -> String {
        self.done.clone()
    }
}

impl Show for OnceReport {
    fn text(&self, _: &Paper) -> String {
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
    fn text(&self, _: &Paper) -> String {
        format!(
            "{}\n\nSend this link to the contractor. It works once, until {}, and is not shown again. Its id is {}.",
            self.url,
            instant(self.expires_at),
            self.id
        )
    }
}

impl Show for ConsoleOpened {
    fn text(&self, paper: &Paper) -> String {
        format!(
            "{}\n\nOpen this address in a browser on this machine. It works once, {}.\nFrom another machine, lead its port there first: ssh -L PORT:127.0.0.1:PORT HOST",
            self.url,
            relative(self.expires_at, paper.now)
        )
    }
}

impl Show for Vec<LinkShown> {
    fn text(&self, paper: &Paper) -> String {
        let header = ["for", "state", "expires", "trigger", "link"];
        let mut text = table(
            &header,
            "There are no links. `link create NAME` creates one.",
            self.iter().map(|shown| link(shown, paper.now)),
        );
        if self.iter().any(|shown| shown.no_answer_since.is_some()) {
            text.push_str(NO_ANSWER);
        }
        text
    }
}

impl Show for Vec<Account> {
    fn text(&self, paper: &Paper) -> String {
        if self.is_empty() {
            return NO_ACCOUNTS.to_owned();
        }
        let mut header = vec!["account", "state", "connected", "trigger", "link's name", "id"];
        let mut rows: Vec<Vec<String>> =
            self.iter().map(|account| self::account(account, paper.now).to_vec()).collect();
        rows.sort_by_key(|row| row[0].to_lowercase());
        // A name says it, unless two accounts bear it.
        if rows.windows(2).all(|pair| !pair[0][0].eq_ignore_ascii_case(&pair[1][0])) {
            leave_out(&mut header, &mut rows, 5);
        }
        if rows.iter().all(|row| row[4].is_empty()) {
            leave_out(&mut header, &mut rows, 4);
        }
        table_of(&header, rows)
    }
}

impl Show for AccountShown {
    fn text(&self, paper: &Paper) -> String {
        account_shown(self, paper.now)
    }
}

impl Show for Vec<Check> {
    fn text(&self, paper: &Paper) -> String {
        checked(self, paper)
    }

    fn status(&self) -> Status {
        let failed = self.iter().any(|check| check.state == CheckState::Failed);
        if failed { Status::NeedsHuman } else { Status::Fine }
    }
}

impl Show for Vec<Finding> {
    fn text(&self, _: &Paper) -> String {
        let lines = self.iter().map(|Finding { question, seen }| format!("{question}\n  {seen}"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Show for ShadowReport {
    fn text(&self, _: &Paper) -> String {
        shadow(self)
    }
}

impl Show for Vec<Suppression> {
    fn text(&self, paper: &Paper) -> String {
        let header = ["never asked", "by", "since", "note"];
        table(&header, "Nobody is on the list.", self.iter().map(|row| suppression(row, paper.now)))
    }
}

impl Show for Forgetting {
    fn text(&self, _: &Paper) -> String {
        forgetting(self)
    }

    fn status(&self) -> Status {
        if self.under_way > 0 { Status::Partly } else { Status::Fine }
    }
}

impl Show for Copied {
    fn text(&self, _: &Paper) -> String {
        format!("export complete: accounts {}, store entries {}", self.accounts, self.entries)
    }
}

impl Show for StatusReport {
    fn text(&self, paper: &Paper) -> String {
        status::status(self, paper)
    }

    fn status(&self) -> Status {
        let needs_human = self.accounts.iter().any(AccountStatus::needs_human);
        if needs_human || !self.running { Status::NeedsHuman } else { Status::Fine }
    }
}

impl Show for Vec<Explained> {
    fn text(&self, paper: &Paper) -> String {
        explain::explain(self, paper)
    }

    fn status(&self) -> Status {
        if self.is_empty() { Status::NotFound } else { Status::Fine }
    }
}

impl Show for Vec<QueueRow> {
    fn text(&self, paper: &Paper) -> String {
        queue::list(self, paper)
    }
}

impl Show for OutboxEntry {
    fn text(&self, paper: &Paper) -> String {
        queue::entry(self, paper)
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

fn forgetting(told: &Forgetting) -> String {
    let Forgetting {
        erased,
        names,
        accounts,
        decisions,
        cards,
        messages,
        reviews,
        writes,
        notes,
        under_way,
        shared,
    } = told;
    let counts = [
        (decisions, "decision"),
        (cards, "card"),
        (messages, "message"),
        (reviews, "review"),
        (writes, "write in Jobber"),
        (notes, "note of asks or suppressions"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| **count > 0);
    let mut what: Vec<String> = counts
        .map(|(count, what)| match what.split_once(' ') {
            Some((first, rest)) => format!("{} {rest}", counted(*count, first)),
            None => counted(*count, what),
        })
        .collect();
    if what.is_empty() {
        what.push("nothing".to_owned());
    }
    let mut what = what.join(", ");
    if *accounts > 1 {
        // A string takes every write.
        let _ok = write!(what, ", in {accounts} accounts");
    }
    if !*erased {
        let named = names.iter().cloned().collect::<Vec<_>>().join(", ");
        let named = if named.is_empty() { String::new() } else { format!(" about {named}") };
        return format!(
            "Kept{named}: {what}.\nAdd --yes to erase who it is. Ids, reasons and times stay, and they are never asked again.\n`export-person` shows all of it."
        );
    }
    let mut text = format!("Erased: {what}. They are never asked again; `suppress remove` ends that.");
    if *shared > 0 {
        let kept = counted(*shared, "contact");
        let _ok = write!(
            text,
            "\nNot erased: {kept} that another customer has too. If that is the same person, run this with the id of the other card."
        );
    }
    if *under_way > 0 {
        let left = counted(*under_way, "message");
        let _ok = write!(text, "\nNot erased: {left} that was being sent. Run this again in a minute.");
    }
    text
}

fn suppression(suppression: &Suppression, now: Timestamp) -> [String; 4] {
    [
        suppression.what.clone(),
        suppression.account.as_ref().map_or_else(|| "all accounts".to_owned(), ToString::to_string),
        relative(suppression.at, now),
        suppression.note.clone().unwrap_or_default(),
    ]
}

fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
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

fn link(shown: &LinkShown, now: Timestamp) -> [String; 5] {
    let link = &shown.link;
    let state = match &link.state {
        LinkState::Open | LinkState::Started { .. } if shown.is_expired => "expired".to_owned(),
        LinkState::Open => "open".to_owned(),
        LinkState::Started { .. } => match shown.no_answer_since {
            Some(since) => format!("no answer from Jobber since {}", relative(since, now)),
            None => "started".to_owned(),
        },
        LinkState::Used { at, .. } => format!("used {}", relative(*at, now)),
        LinkState::Revoked { at } => format!("revoked {}", relative(*at, now)),
    };
    [link.label.clone(), state, relative(link.expires_at, now), link.trigger.to_string(), link.id.to_string()]
}

fn leave_out(header: &mut Vec<&str>, rows: &mut [Vec<String>], column: usize) {
    header.remove(column);
    for row in rows {
        row.remove(column);
    }
}

fn account(account: &Account, now: Timestamp) -> [String; 6] {
    let state = match &account.connection {
        Connection::NeedsAuthorization { reason, .. } => format!("needs authorization: {reason}"),
        Connection::Connected | Connection::Disconnected { .. } => account.state().to_owned(),
    };
    let label = if account.label == account.name { "" } else { &account.label };
    [
        account.name.clone(),
        state,
        relative(account.connected_at, now),
        account.trigger.to_string(),
        label.to_owned(),
        account.id.to_string(),
    ]
}

fn checked(checks: &[Check], paper: &Paper) -> String {
    let lines = checks.iter().map(|Check { name, state, detail, remedy }| {
        let mark = match state {
            CheckState::Fine => paper.styled(Style::Good, "ok    "),
            CheckState::Unsure => paper.styled(Style::Strong, "unsure"),
            CheckState::Failed => paper.styled(Style::Bad, "FAILED"),
            CheckState::Skipped => "-     ".to_owned(),
        };
        let detail = wrapped(&format!("{name}: {detail}"), 8);
        let remedy = remedy.as_ref().map_or_else(String::new, |remedy| format!("\n{}", wrapped(remedy, 10)));
        format!("{mark}  {}{remedy}", detail.trim_start())
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn account_shown(shown: &AccountShown, now: Timestamp) -> String {
    let rows = shown.settings.iter().map(|Setting { key, value, own }| {
        let value = match value {
            serde_json::Value::Null => "(not set)".to_owned(),
            value => value.to_string(),
        };
        [key.clone(), value, if *own { "its own" } else { "[review]" }.to_owned()]
    });
    let [name, state, connected, _, label, id] = account(&shown.account, now);
    let label = if label.is_empty() { label } else { format!(" ({label})") };
    let problem = shown
        .problem
        .as_ref()
        .map_or_else(String::new, |problem| format!("\n\nIts settings cannot be used: {problem}"));
    let history = shown.account.history.iter().rev();
    let mut history: Vec<String> =
        history.map(|moment| format!("{}  {}", instant(moment.at), moment.turn)).collect();
    if !history.is_empty() {
        history.insert(0, "\n\nWhat became of its connection:".to_owned());
    }
    let history = history.join("\n");
    format!(
        "{name}{label}, {id}\n{state}; connected {connected}; asks about work finished since {}\n\n{}{history}{problem}",
        instant(shown.account.asks_from),
        table(&["key", "value", "from"], "There are no settings.", rows)
    )
}
