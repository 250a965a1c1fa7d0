//! The pages of the console.

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::charts;
use crate::domain::funnel::Funnel;
use crate::domain::model::{Decision, EntryState, OutboxEntry, SkipReason};
use crate::ops::accounts::{AccountShown, Setting};
use crate::ops::explain::Explained;
use crate::ops::queue::QueueRow;
use crate::ops::report::DayCount;
use crate::ops::status::{AccountStatus, StatusReport};
use crate::ops::words::{PAYLOAD_HASH, outcome, relative, subject};
use crate::server::hardening::hash_of_style;
use crate::text_table::counted;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#17242b;--soft:#5b6b73;--line:#d9e1e5;--paper:#fff;--back:#f3f6f7;--go:#12715b;--bad:#b3261e}\
@media(prefers-color-scheme:dark){:root{--ink:#e8eef0;--soft:#9fb0b8;--line:#33434b;--paper:#1b262c;--back:#12191d;--go:#7fd1b9;--bad:#f2a49e}}\
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif}\
header{background:var(--paper);border-bottom:1px solid var(--line);padding:.6rem 1rem;display:flex;flex-wrap:wrap;gap:.4rem 1.2rem;align-items:center}\
header form{display:flex;gap:.4rem;flex:1 1 16rem}input,select{font:inherit;padding:.35rem .5rem;border:1px solid var(--line);border-radius:6px;background:var(--paper);color:inherit;min-width:0}\
header input{flex:1}main{max-width:78rem;margin:0 auto;padding:1rem}\
a{color:var(--go)}h1{font-size:1.35rem;margin:.4rem 0 .8rem}h2{font-size:1.05rem;margin:1.4rem 0 .4rem}\
.card{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:.9rem 1rem;margin:0 0 1rem;overflow-x:auto}\
.said{border-left:4px solid var(--go)}.alarm{border-left:4px solid var(--bad)}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.35rem .6rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
th{font-weight:600;color:var(--soft)}td.n,th.n{text-align:right}.bad{color:var(--bad)}.soft{color:var(--soft)}\
.row{display:flex;flex-wrap:wrap;gap:.5rem;align-items:center}\
button{font:inherit;padding:.35rem .8rem;border:1px solid var(--go);border-radius:6px;background:transparent;color:var(--go);cursor:pointer}\
button.sure{background:var(--bad);border-color:var(--bad);color:var(--paper)}\
:focus-visible{outline:3px solid var(--ink);outline-offset:2px}\
.filter{margin:0 0 .8rem}.chart{max-width:100%;height:auto}td .chart{display:block;min-width:120px}th:first-child,td:first-child{min-width:9rem}figure{margin:0 0 1rem}pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0}\
ol.story{list-style:none;margin:0;padding:0 0 0 1rem;border-left:3px solid var(--line)}ol.story li{margin:0 0 .9rem}";

pub(super) fn style_hash() -> String {
    hash_of_style(STYLE)
}

/// What every page needs.
pub(super) struct Frame {
    pub(super) now: Timestamp,
    pub(super) csrf: String,
    /// What became of the last button.
    pub(super) said: Option<String>,
}

fn bare(title: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · jobber-reviewd" }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    }
    .into_string()
}

/// A page for whoever has no session.
pub(super) fn closed() -> String {
    let body = html! {
        main { div.card {
            h1 { "The console is closed" }
            p { "Every browser is let in by an address that works once. Get one on the machine of the daemon:" }
            pre { "jobber-reviewd console" }
        } }
    };
    bare("Closed", &body)
}

impl Frame {
    pub(super) fn page(&self, title: &str, asked: &str, body: &Markup) -> String {
        let body = html! {
            header {
                strong { a href="/" { "jobber-reviewd" } }
                a href="/queue" { "Queue" }
                a href="/digest" { "Week" }
                form action="/explain" role="search" {
                    input name="q" value=(asked) aria-label="Name, phone, e-mail, number or id" placeholder="Name, phone, e-mail, number or id";
                    button { "Explain" }
                }
                (self.button("leave", &[], "Leave", "/"))
            }
            main {
                @if let Some(said) = &self.said { div.card.said role="status" { pre { (said) } } }
                h1 { (title) }
                (body)
            }
        };
        bare(title, &body)
    }

    /// A button that does something; `back` is where the browser goes afterwards.
    fn button(&self, verb: &str, about: &[(&str, &str)], words: &str, back: &str) -> Markup {
        html! {
            form method="post" action="/do" {
                input type="hidden" name="csrf" value=(self.csrf);
                input type="hidden" name="verb" value=(verb);
                input type="hidden" name="back" value=(back);
                @for (name, value) in about { input type="hidden" name=(name) value=(value); }
                button { (words) }
            }
        }
    }

    fn ago(&self, at: Option<Timestamp>) -> String {
        at.map_or_else(|| "never".to_owned(), |at| relative(at, self.now))
    }
}

/// Asks once more before something that cannot be undone.
pub(super) fn sure(frame: &Frame, verb: &str, account: &str, what: &str, back: &str, words: &str) -> String {
    let body = html! {
        div.card {
            p { (words) }
            form method="post" action="/do" {
                input type="hidden" name="csrf" value=(frame.csrf);
                input type="hidden" name="verb" value=(verb);
                input type="hidden" name="account" value=(account);
                input type="hidden" name="what" value=(what);
                input type="hidden" name="back" value=(back);
                input type="hidden" name="yes" value="yes";
                div.row { button.sure { "Yes, do it" } a href=(back) { "No, go back" } }
            }
        }
    };
    frame.page("Are you sure?", "", &body)
}

pub(super) fn failed(frame: &Frame, words: &str) -> String {
    frame.page("That did not work", "", &html! { div.card.alarm { p { (words) } } })
}

/// Which accounts are shown.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) state: String,
    pub(super) text: String,
}

impl Filter {
    pub(super) fn shows(&self, account: &AccountStatus) -> bool {
        let is_state = match self.state.as_str() {
            "" => true,
            "trouble" => account.needs_human() || account.failing_since.is_some(),
            state => account.state == state,
        };
        is_state && account.name.to_lowercase().contains(&self.text.to_lowercase())
    }
}

const STATES: [(&str, &str); 6] = [
    ("", "all"),
    ("trouble", "in trouble"),
    ("connected", "connected"),
    ("paused", "paused"),
    ("needs_authorization", "needs authorization"),
    ("disconnected", "disconnected"),
];

fn path_of(account: &AccountStatus) -> String {
    account_path(account.id.as_str())
}

fn account_path(id: &str) -> String {
    format!("/accounts/{}", part(id))
}

/// A value as a part of an address.
fn part(text: &str) -> String {
    use std::fmt::Write as _;

    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // A String accepts every write.
            let _ok = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// Accounts in a line each, trouble first. `wanted` is how many there are of `shown`.
pub(super) fn overview(
    frame: &Frame,
    report: &StatusReport,
    shown: &[(&AccountStatus, Vec<DayCount>)],
    wanted: usize,
    filter: &Filter,
) -> String {
    let total = |of: fn(&AccountStatus) -> usize| report.accounts.iter().map(of).sum::<usize>();
    let trouble = report.accounts.iter().filter(|account| account.needs_human()).count();
    let body = html! {
        p {
            (counted(report.accounts.len(), "account")) ", "
            @if trouble > 0 { strong.bad { (trouble) " in need of somebody" } } @else { "none in trouble" }
            ". In seven days: " (total(|account| account.asked_7d)) " asked, " (total(|account| account.reviewed_7d)) " reviewed. Now: "
            (total(|account| account.waiting)) " waiting, " (total(|account| account.held)) " held, "
            (total(|account| account.queued)) " queued, " a href="/queue?state=dead" { (counted(total(|account| account.dead), "dead letter")) } "."
            @if report.is_shadow { " Shadow mode: nothing is sent." }
        }
        @if let Some(error) = &report.alerts_fail { div.card.alarm { "Alerts cannot be sent: " (error) } }
        @for alert in &report.alerts {
            div.card.alarm {
                strong { (alert.summary) } " " span.soft { "since " (relative(alert.since, frame.now)) }
                br; (alert.action)
            }
        }
        form.row.filter action="/" {
            label { "State " select name="state" {
                @for (value, words) in STATES { option value=(value) selected[value == filter.state] { (words) } }
            } }
            label { "Name " input name="q" value=(filter.text); }
            button { "Filter" }
        }
        div.card {
            @if shown.is_empty() { p { "No account is like that." } }
            @if wanted > shown.len() { p { "The first " (shown.len()) " of " (wanted) ": filter them by name." } }
            table {
                thead { tr {
                    th { "Account" } th { "State" } th { "30 days" } th.n { "Asked 7 d" } th.n { "Reviewed" } th.n { "Waiting" }
                    th.n { "Dead" } th { "Read" }
                } }
                tbody { @for (account, days) in shown { (line(frame, account, days)) } }
            }
        }
    };
    frame.page("Accounts", "", &body)
}

fn line(frame: &Frame, account: &AccountStatus, days: &[DayCount]) -> Markup {
    let (finished, asked) =
        days.iter().fold((0, 0), |(finished, asked), day| (finished + day.finished, asked + day.asked));
    html! {
        tr {
            td {
                a href=(path_of(account)) { (account.name) }
                @if let Some(action) = &account.next_action { br; span.bad { (action) } }
                @else if let Some(error) = &account.last_error { br; span.soft { (error) } }
            }
            td { (account.state.replace('_', " ")) }
            td title={ (finished) " decided, " (asked) " asked" } { (PreEscaped(charts::sparkline(days))) }
            td.n { (account.asked_7d) } td.n { (account.reviewed_7d) } td.n { (account.waiting + account.held) }
            td.n { (account.dead) } td { (frame.ago(account.last_success)) }
        }
    }
}

pub(super) struct AccountPage<'a> {
    pub(super) shown: &'a AccountShown,
    pub(super) status: &'a AccountStatus,
    pub(super) funnel: &'a Funnel,
    pub(super) days: &'a [DayCount],
    /// The period of the funnel, in days.
    pub(super) period: i64,
}

/// One account: what happened, when, and what is different about it.
pub(super) fn account(frame: &Frame, page: &AccountPage<'_>) -> String {
    let AccountPage { shown, status, funnel, days, period } = page;
    let path = path_of(status);
    let id = status.id.as_str();
    let about = [("account", id)];
    let to = |step: &str, count: usize| html! { a href={ (path) "/works?days=" (period) "&step=" (step) } { (count) } };
    let own: Vec<&Setting> = shown.settings.iter().filter(|setting| setting.own).collect();
    let is_paused = status.state == "paused";
    let body = html! {
        @if let Some(action) = &status.next_action { div.card.alarm { (action) } }
        @for remark in &status.remarks { div.card { (remark) "." } }
        div.row {
            @if is_paused { (frame.button("resume", &about, "Resume", &path)) }
            @else { (frame.button("pause", &about, "Pause", &path)) }
            (frame.button("link", &about, "New link for a reconnect", &path))
            @if status.held > 0 {
                (frame.button("release-burst", &about, "Release the burst", &path))
                (frame.button("drop-burst", &about, "Drop the burst", &path))
            }
            a href={ "/queue?account=" (part(id)) } { "Its queue" }
        }
        h2 { "The last " (period) " days" }
        p.row { @for other in [7, 30, 90] { a href={ (path) "?days=" (other) } { (other) " days" } } }
        div.card {
            table {
                tr { th { "Finished" } td.n { (to("finished", funnel.finished)) } td {} }
                tr { th { "Waiting" } td.n { (to("waiting", funnel.waiting)) } td {} }
                tr { th { "Asked" } td.n { (to("asked", funnel.asked)) } td { (share(funnel.asked, funnel.finished)) " of what was finished" } }
                tr { th { "Delivered" } td.n { (to("delivered", funnel.delivered)) } td { (share(funnel.delivered, funnel.asked)) " of the asks" } }
                tr { th { "Reviewed" } td.n { (funnel.reviewed) } td { "came in this time" } }
                @for (reason, count) in &funnel.skipped {
                    tr { th { "Not asked" } td.n { (to(reason.as_str(), *count)) } td { (reason.describe()) } }
                }
            }
        }
        h2 { "Decided and asked in 90 days" }
        figure.card { (PreEscaped(charts::days(days))) figcaption.soft { (in_all(days)) } }
        h2 { "When customers are asked, in the contractor’s time" }
        figure.card { (PreEscaped(charts::hours(&funnel.hours))) figcaption.soft { (busiest(funnel)) } }
        h2 { "Settings of its own" }
        div.card {
            @if own.is_empty() { p { "None: everything is as for all accounts." } }
            table { @for setting in own { tr { th { (setting.key) } td { (setting.value) } } } }
        }
        h2 { "Connection" }
        div.card {
            table {
                tr { th { "Id" } td { (id) } }
                tr { th { "Trigger" } td { (status.trigger) } }
                tr { th { "Connected" } td { (relative(shown.account.connected_at, frame.now)) } }
                tr { th { "Work counts from" } td { (relative(shown.account.asks_from, frame.now)) } }
                tr { th { "State" } td { (status.state.replace('_', " ")) @if let Some(reason) = &status.reason { ": " (reason) } } }
                tr { th { "Read" } td { (frame.ago(status.last_success)) } }
                @if let (Some(since), Some(error)) = (status.failing_since, &status.last_error) {
                    tr { th { "Fails" } td.bad { "since " (relative(since, frame.now)) ": " (error) } }
                }
            }
            @if !shown.account.history.is_empty() {
                h3 { "What became of it" }
                ol.story { @for moment in shown.account.history.iter().rev() {
                    li { strong { (relative(moment.at, frame.now)) } " " (moment.turn) }
                } }
            }
        }
    };
    frame.page(&status.name, "", &body)
}

fn share(part: usize, whole: usize) -> String {
    match whole {
        0 => "-".to_owned(),
        _ => format!("{} %", (100 * part + whole / 2) / whole),
    }
}

fn in_all(days: &[DayCount]) -> String {
    let finished: usize = days.iter().map(|day| day.finished).sum();
    let asked: usize = days.iter().map(|day| day.asked).sum();
    format!("{finished} decided (grey), {asked} asked (green), by day (UTC).")
}

fn busiest(funnel: &Funnel) -> String {
    let days = ["Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"];
    let all = funnel
        .hours
        .iter()
        .zip(days)
        .flat_map(|(hours, day)| hours.iter().enumerate().map(move |(hour, count)| (*count, day, hour)));
    match all.max_by_key(|(count, ..)| *count).filter(|(count, ..)| *count > 0) {
        Some((count, day, hour)) => format!("Most are asked on {day} from {hour}:00: {count}."),
        None => "Nobody was asked in this time.".to_owned(),
    }
}

/// Decisions as a table.
pub(super) fn works(frame: &Frame, name: &str, title: &str, decisions: &[Decision], most: usize) -> String {
    let body = html! {
        @if decisions.len() >= most { p { "The newest " (most) "." } }
        div.card { table {
            thead { tr { th { "Work" } th { "Finished" } th { "Outcome" } } }
            tbody { @for decision in decisions {
                tr {
                    td { a href={ "/explain?q=" (part(decision.work.id.as_str())) } { (subject(&decision.subject)) } br; span.soft { (decision.work) } }
                    td { (relative(decision.finished_at, frame.now)) }
                    td { (outcome(&decision.outcome, frame.now)) }
                }
            } }
        } }
    };
    frame.page(&format!("{name}: {title}"), "", &body)
}

/// The story of a person or a work.
pub(super) fn explain(frame: &Frame, asked: &str, found: &[Explained], most: usize) -> String {
    let body = html! {
        @if found.is_empty() && !asked.is_empty() { p { "Nothing is known by that. A name, a whole phone number, an e-mail address, a number or an id works." } }
        @if found.len() > most { p { "The newest " (most) " of " (found.len()) "." } }
        @for row in found.iter().take(most) { (story(frame, row)) }
    };
    let title = if asked.is_empty() { "Explain".to_owned() } else { format!("“{asked}”") };
    frame.page(&title, asked, &body)
}

fn story(frame: &Frame, row: &Explained) -> Markup {
    let Explained { decision, account, account_name, finished_local, .. } = row;
    let can_be_released = matches!(
        decision.outcome,
        crate::domain::model::Outcome::Skipped { reason } if SkipReason::can_be_released(reason)
    );
    let back = format!("/explain?q={}", part(decision.work.id.as_str()));
    let seen: Vec<String> = decision
        .saw
        .iter()
        .filter(|(name, _)| *name != PAYLOAD_HASH)
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    html! {
        div.card {
            h2 { (subject(&decision.subject)) }
            p.soft { a href=(account_path(account.as_str())) { (account_name) } " · " (decision.work) " · " (decision.trigger) }
            ol.story {
                li { strong { "Finished" } " " (finished_local) " (" (relative(decision.finished_at, frame.now)) ")" }
                li {
                    strong { "Decided" } " " (relative(decision.at, frame.now)) ": " (outcome(&decision.outcome, frame.now))
                    @if let Some(at) = row.leaves_at { "; leaves " (relative(at, frame.now)) }
                    @if !seen.is_empty() { br; span.soft { "seen: " (seen.join("; ")) } }
                }
                @if let Some(review) = &row.review {
                    li {
                        strong { "Reviewed" } " " (relative(review.at, frame.now))
                        ", " (review.rating) " of 5"
                        @if let Some(text) = &review.text { br; "“" (text) "”" }
                    }
                }
                @for write in row.writes.iter().rev() {
                    li { strong { "Written in Jobber" } " " (relative(write.at, frame.now)) ": " (write.action) " by " (write.by) }
                }
            }
            @if can_be_released {
                (frame.button("release", &[("what", decision.work.id.as_str())], "Ask about it all the same", &back))
            }
        }
    }
}

/// What waits, is on its way, or was given up. `count` is how many there are of `rows`.
pub(super) fn queue(frame: &Frame, rows: &[QueueRow], count: usize, account: &str, state: &str) -> String {
    let back = format!("/queue?account={}&state={}", part(account), part(state));
    let body = html! {
        form.row.filter action="/queue" {
            input type="hidden" name="account" value=(account);
            label { "State " select name="state" {
                @for value in ["", "waiting", "held", "queued", "dead"] {
                    option value=(value) selected[value == state] { @if value.is_empty() { "all" } @else { (value) } }
                }
            } }
            button { "Filter" }
        }
        @if count > rows.len() { p { "The first " (rows.len()) " of " (count) "." } }
        div.card {
            @if rows.is_empty() { p { "Nothing is in the queue." } }
            table {
                thead { tr { th { "About" } th { "Account" } th { "State" } th { "What to do" } } }
                tbody { @for row in rows { (queue_row(frame, row, &back)) } }
            }
        }
    };
    frame.page("Queue", "", &body)
}

fn queue_row(frame: &Frame, row: &QueueRow, back: &str) -> Markup {
    let (id, name) = row.account();
    let (about, work, state, what) = match row {
        QueueRow::Candidate { subject, work, due_at, .. } => {
            (subject, work, format!("waiting, due {}", relative(*due_at, frame.now)), work.id.to_string())
        }
        QueueRow::Held { subject, work, since, .. } => {
            (subject, work, format!("held with a burst since {}", relative(*since, frame.now)), String::new())
        }
        QueueRow::Ask { id, subject, work, state, attempts, last_error, .. } => {
            let state = match state {
                EntryState::Dead { reason, .. } => format!("dead letter: {reason}"),
                EntryState::Due { at } => format!("queued, next attempt {}", relative(*at, frame.now)),
                EntryState::Leased { .. } => "being sent".to_owned(),
            };
            let error = last_error.as_ref().map_or_else(String::new, |error| format!("; {error}"));
            (
                subject,
                work,
                format!(
                    "{state}, {}{error}",
                    counted(usize::try_from(*attempts).unwrap_or_default(), "attempt")
                ),
                id.to_string(),
            )
        }
    };
    html! {
        tr {
            td {
                @if let QueueRow::Ask { id, .. } = row { a href={ "/queue/" (part(id.as_str())) } { (crate::ops::words::subject(about)) } }
                @else { a href={ "/explain?q=" (part(work.id.as_str())) } { (crate::ops::words::subject(about)) } }
                br; span.soft { (work) }
            }
            td { a href=(account_path(id.as_str())) { (name) } }
            td { (state) }
            td { div.row {
                @if matches!(row, QueueRow::Ask { .. }) { (frame.button("retry", &[("what", &what)], "Try now", back)) }
                @if !what.is_empty() { (frame.button("drop", &[("what", &what)], "Drop", back)) }
            } }
        }
    }
}

/// One message, with what the receiver answered last.
pub(super) fn message(frame: &Frame, entry: &OutboxEntry) -> String {
    let back = format!("/queue/{}", part(entry.id.as_str()));
    let about = [("what", entry.id.as_str())];
    let pretty = serde_json::from_str::<serde_json::Value>(&entry.body)
        .and_then(|body| serde_json::to_string_pretty(&body))
        .unwrap_or_else(|_| entry.body.clone());
    let body = html! {
        div.row { (frame.button("retry", &about, "Try now", &back)) (frame.button("drop", &about, "Drop", "/queue")) }
        h2 { "The receiver’s last answer" }
        div.card {
            @if let Some(last) = &entry.last {
                p { (relative(last.at, frame.now)) @if let Some(status) = last.status { ": HTTP " (status) } }
                pre { (last.error) }
            } @else { p { "It was not tried yet." } }
        }
        h2 { "What is sent" }
        div.card { pre { (pretty) } }
    };
    frame.page(entry.id.as_str(), "", &body)
}

/// What happened in a week, account by account.
pub(super) fn week(frame: &Frame, report: &StatusReport) -> String {
    let body = html! {
        div.card { table {
            thead { tr { th { "Account" } th.n { "Asked" } th.n { "Reviewed" } th { "Not asked" } th { "What to do" } } }
            tbody { @for account in &report.accounts {
                tr {
                    td { a href=(path_of(account)) { (account.name) } }
                    td.n { (account.asked_7d) } td.n { (account.reviewed_7d) }
                    td { @for (reason, count) in &account.skipped_7d { (count) " × " (reason.describe()) br; } }
                    td { @if let Some(action) = &account.next_action { span.bad { (action) } } @else { "nothing" } }
                }
            } }
        } }
    };
    frame.page("The last seven days", "", &body)
}
