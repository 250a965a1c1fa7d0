//! The state of every account, trouble first.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{NO_ACCOUNTS, Paper};
use crate::cli::style::{Style, wrapped};
use crate::domain::model::Alert;
use crate::ops::status::{AccountStatus, StatusReport};
use crate::ops::words::relative;
use crate::store::Tenants;
use crate::text_table::{counted, rows, visible};

const NOT_RUNNING: &str =
    "No daemon is running: nobody is asked. Start it: sudo systemctl start jobber-reviewd";

/// What a column has of an account. One that is empty for every account is left out.
struct Column {
    name: &'static str,
    is_always_there: bool,
    cell: fn(&AccountStatus, Timestamp) -> String,
}

const fn always(name: &'static str, cell: fn(&AccountStatus, Timestamp) -> String) -> Column {
    Column { name, is_always_there: true, cell }
}

const fn if_any(name: &'static str, cell: fn(&AccountStatus, Timestamp) -> String) -> Column {
    Column { name, is_always_there: false, cell }
}

const COLUMNS: [Column; 11] = [
    always("account", |account, _| account.name.clone()),
    always("state", |account, _| account.state.replace('_', " ")),
    always("read", |account, now| since(account.last_success, now)),
    if_any("finished", |account, now| since(account.last_event, now)),
    always("asked 7d", |account, _| account.asked_7d.to_string()),
    if_any("reviewed", |account, _| number(account.reviewed_7d)),
    if_any("skipped", |account, _| number(account.skipped_7d.values().sum())),
    if_any("waiting", |account, _| number(account.waiting)),
    if_any("held", |account, _| number(account.held)),
    if_any("queued", |account, _| number(account.queued)),
    if_any("dead", |account, _| number(account.dead)),
];

fn number(count: usize) -> String {
    if count == 0 { String::new() } else { count.to_string() }
}

fn since(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(String::new, |at| relative(at, now))
}

pub(super) fn status(report: &StatusReport, paper: &Paper) -> String {
    let running = if report.running { "The daemon is running." } else { NOT_RUNNING };
    let mut text = paper.styled(if report.running { Style::Good } else { Style::Bad }, running);
    if report.is_shadow {
        text.push_str("\nShadow mode: everything is decided, and nothing is sent (review.shadow).");
    }
    if let Some(Tenants { works, stand_by }) = &report.daemons {
        let others = if stand_by.is_empty() {
            "no other daemon stands by, so nobody takes over if it dies".to_owned()
        } else {
            format!("standing by: {}", stand_by.join("; "))
        };
        let words = format!("The daemon at {works} works with the store; {others}.");
        let _ok = write!(text, "\n{}", wrapped(&visible(&words), 0));
    }
    for account in &report.accounts {
        add_trouble(&mut text, account, paper);
    }
    let _ok = write!(text, "\n\n{}", overview(report, paper.now));
    for account in &report.accounts {
        for remark in &account.remarks {
            let _ok = write!(text, "\n\n{}", wrapped(&format!("{}: {remark}.", account.name), 0));
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
    if let Some(error) = &report.alerts_fail {
        let words = wrapped(&format!("Alerts cannot be sent: {error}"), 0);
        let _ok = write!(
            text,
            "\n\n{}\n  check it with: jobber-reviewd alerts test",
            paper.styled(Style::Bad, &words)
        );
    }
    for alert in &report.alerts {
        let Alert { kind, since, summary, action, .. } = alert;
        let head = format!("{kind} since {}: {summary}", relative(*since, paper.now));
        let head = paper.styled(Style::Bad, &wrapped(&head, 0));
        let _ok = write!(text, "\n\n{head}\n{}", wrapped(action, 2));
    }
    text
}

/// What is wrong with an account, and what to do.
fn add_trouble(text: &mut String, account: &AccountStatus, paper: &Paper) {
    let trouble = match (&account.reason, account.failing_since) {
        (Some(reason), _) => Some(format!("needs authorization: {reason}")),
        (None, Some(since)) => {
            let error = account.last_error.as_deref().unwrap_or("unknown");
            Some(format!("cannot be read since {}: {error}", relative(since, paper.now)))
        }
        (None, None) => match (account.receiver_stopped_at, account.asking_fails_since) {
            (Some(at), _) => {
                let at = relative(at, paper.now);
                Some(format!("nothing is sent: its receiver answered 410 (gone) {at}"))
            }
            (None, Some(since)) => {
                Some(format!("reading due work has failed since {}", relative(since, paper.now)))
            }
            (None, None) if account.dead > 0 => Some(counted(account.dead, "dead letter")),
            (None, None) => account.next_action.is_some().then(|| "needs a decision".to_owned()),
        },
    };
    if let Some(trouble) = trouble {
        let head = wrapped(&format!("{}: {trouble}", account.name), 0);
        let _ok = write!(text, "\n\n{}", paper.styled(Style::Bad, &head));
    }
    if let Some(action) = &account.next_action {
        let _ok = match action.split_once(": jobber-reviewd ") {
            // A command is copied: it stays on one line.
            Some((words, command)) => {
                let command = visible(command);
                write!(text, "\n{}\n    jobber-reviewd {command}", wrapped(&format!("{words}:"), 2))
            }
            None => write!(text, "\n{}", wrapped(action, 2)),
        };
    }
}

fn overview(report: &StatusReport, now: Timestamp) -> String {
    let accounts = &report.accounts;
    if accounts.is_empty() {
        return if report.is_filtered { "No account matches." } else { NO_ACCOUNTS }.to_owned();
    }
    let is_shown = |column: &&Column| {
        column.is_always_there || accounts.iter().any(|account| !(column.cell)(account, now).is_empty())
    };
    let columns: Vec<&Column> = COLUMNS.iter().filter(is_shown).collect();
    let header: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let cells = |account| columns.iter().map(|column| (column.cell)(account, now)).collect();
    let mut table = rows(&header, accounts.iter().map(cells).collect());
    if accounts.len() > 1 {
        let total = |count: fn(&AccountStatus) -> usize| accounts.iter().map(count).sum::<usize>();
        let _ok = write!(
            table,
            "\n\n{}: asked {} in 7 days, waiting {}, queued {}, dead {}",
            counted(accounts.len(), "account"),
            total(|account| account.asked_7d),
            total(|account| account.waiting + account.held),
            total(|account| account.queued),
            total(|account| account.dead),
        );
    }
    table
}
