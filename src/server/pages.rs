//! The pages that a contractor sees.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use crate::accounts::settings::Disclosure;
use crate::config::{DayHours, Period, ReviewSection};
use crate::domain::model::{Account, Connection, Link, Trigger, WatchTopic, alike};
use crate::store::LinkRefusal;

/// The only style. Its hash is in the policy.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#17242b;--soft:#5b6b73;--line:#d9e1e5;--paper:#fff;--back:#f3f6f7;--go:#12715b}\
@media(prefers-color-scheme:dark){:root{--ink:#e8eef0;--soft:#9fb0b8;--line:#33434b;--paper:#1b262c;--back:#12191d;--go:#1c7f66}}\
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:17px/1.55 system-ui,sans-serif}\
main{max-width:36rem;margin:0 auto;padding:1.5rem 1.1rem 3rem}\
.card{background:var(--paper);border:1px solid var(--line);border-radius:14px;padding:1.4rem 1.3rem}\
h1{font-size:1.45rem;line-height:1.25;margin:0 0 .6rem}h2{font-size:1rem;margin:1.4rem 0 .3rem}\
p{margin:.5rem 0}ul{margin:.3rem 0;padding-left:1.2rem}\
fieldset{border:0;padding:0;margin:1.4rem 0 0}legend{font-weight:600;padding:0}\
label{display:flex;gap:.7rem;align-items:flex-start;padding:.65rem .2rem;border-bottom:1px solid var(--line)}\
label small{display:block;color:var(--soft)}input[type=radio]{width:1.25rem;height:1.25rem;margin:.15rem 0 0;flex:none}\
button,.button{display:block;width:100%;margin-top:1.3rem;padding:.95rem;font:inherit;font-weight:600;color:#fff;background:var(--go);border:0;border-radius:10px;text-align:center;text-decoration:none}\
:focus-visible{outline:3px solid var(--ink);outline-offset:2px}\
.soft{color:var(--soft);font-size:.92rem}";

pub(super) fn style_hash() -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(STYLE)))
}

fn page(title: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { div.card { (body) } } }
        }
    }
    .into_string()
}

/// Who the pages speak for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Brand<'a> {
    pub(super) name: &'a str,
    pub(super) contact: Option<&'a str>,
}

pub(super) struct Connecting<'a> {
    pub(super) brand: Brand<'a>,
    pub(super) link: &'a Link,
    /// The account that a link for a reconnect is for.
    pub(super) account: Option<&'a Account>,
    pub(super) review: &'a ReviewSection,
    pub(super) disclosure: &'a Disclosure,
    pub(super) csrf: &'a str,
    pub(super) action: &'a str,
}

/// The connect page: who asks, what will be read, what will happen, and one button.
pub(super) fn connect(connecting: &Connecting<'_>) -> String {
    let Connecting { brand, link, account, review, disclosure, csrf, action } = connecting;
    let Brand { name, contact } = brand;
    let begins_anew =
        account.is_some_and(|account| matches!(account.connection, Connection::Disconnected { .. }));
    let body = html! {
        @if let Some(account) = account {
            h1 { "Reconnect " (account.name) }
            @if begins_anew {
                p { "The connection was ended, and with it everything that waited. Your settings are kept; customers are asked about \
                     work that is finished from now on." }
            } @else {
                p {
                    @if !account.connection.is_connected() {
                        "Jobber does not let " (name) " read your account any more, so nobody is asked for a review. "
                    }
                    "Your settings and the requests that wait are kept."
                }
            }
        } @else {
            h1 { "Connect Jobber to " (name) }
            p { "This link was made for " strong { (link.label) } ". It connects your Jobber account, so that your \
                 customers are asked for a review when their work is done. What is read, and who gets it, stands below." }
        }
        form method="post" action={ "/connect/" (action) } {
            input type="hidden" name="csrf" value=(csrf);
            fieldset {
                legend { "When should customers be asked?" }
                @for trigger in Trigger::ALL {
                    label {
                        input type="radio" name="trigger" value=(trigger.as_str()) checked[trigger == link.trigger];
                        span { (title(trigger)) small { (explanation(trigger)) } }
                    }
                }
            }
            button type="submit" id="connect" {
                @if account.is_some() { "Reconnect Jobber" } @else { "Connect my Jobber account" }
            }
        }
        h2 { "What will be read" }
        ul {
            li { "jobs, visits and invoices: number, title, address, total, and whether they are finished" }
            li { "the customer’s name, phones, e-mails and tags, and whether they want review requests" }
            li { "the first names of the people who did the work" }
        }
        p { "For each request, " (name) " gets the customer’s name, phone and e-mail, the number, title, address and total of the \
             work, who did it, and its address in Jobber." (also(disclosure)) }
        p { (changed(disclosure)) }
        h2 { "What will happen" }
        ul {
            li { "The customer gets one request, " (when(review)) "." }
            li { "Customers who opted out in Jobber are never asked." }
            @if account.is_none() || begins_anew {
                li { "Work that was finished before you connect is never asked about." }
            } @else {
                li { "Work that was finished meanwhile is asked about unless it is older than " (in_words(review.max_age))
                     ", or you choose another moment above." }
            }
        }
        p.soft { strong { "Nothing happened in Jobber?" } " Only an account admin can connect an app. If you are one, ask " (name)
                  @if let Some(contact) = contact { " (" (contact) ")" }
                  ": their app may be full, or your Jobber plan may not allow apps." }
        p.soft { "The button takes you to Jobber, where you sign in and allow access. You can end the connection \
                  in Jobber at any time, under Apps." }
    };
    let title = account
        .map_or_else(|| format!("Connect Jobber to {name}"), |account| format!("Reconnect {}", account.name));
    page(&title, &body)
}

/// Whom to ask, on every page.
fn questions(brand: Brand<'_>) -> Markup {
    html! {
        @if let Some(contact) = brand.contact {
            p.soft { "Questions? Ask " (brand.name) ": " (contact) }
        }
    }
}

/// What else is told to whoever runs this.
fn also(disclosure: &Disclosure) -> String {
    let watched = disclosure.watched.iter().map(|topic| match topic {
        WatchTopic::ClientUpdated => "changed names and contacts of clients",
        WatchTopic::JobUpdated => "changes of jobs",
        WatchTopic::VisitCompleted => "completed visits",
        WatchTopic::InvoiceUpdated => "changes of invoices",
    });
    let mut told: Vec<String> = watched.map(str::to_owned).collect();
    if !disclosure.events.is_empty() {
        let records = if disclosure.with_records { ", with the records" } else { "" };
        told.push(format!("what happens to {}{records}", listed(&disclosure.events)));
    }
    if told.is_empty() { String::new() } else { format!(" It is also told of {}.", told.join("; ")) }
}

/// What is changed in Jobber.
fn changed(disclosure: &Disclosure) -> String {
    if disclosure.writes.is_empty() {
        return "Nothing is changed in Jobber.".to_owned();
    }
    if disclosure.writes.iter().any(|kind| kind == "api") {
        return "It may also write in Jobber for you: anything that its permissions there allow.".to_owned();
    }
    let kinds: Vec<&str> = disclosure.writes.iter().map(String::as_str).collect();
    format!("It may also write in Jobber for you, on {}.", listed(&kinds))
}

fn listed(words: &[&str]) -> String {
    match words {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        words => words.concat(),
    }
}

/// "about 2 hours after the work is done, between 09:00 and 20:00 (Sundays 12:00-20:00)"
fn when(review: &ReviewSection) -> String {
    let after = match review.delay.0.as_mins() {
        0 => "right after the work is done".to_owned(),
        _ => format!("about {} after the work is done", in_words(review.delay)),
    };
    let window = &review.window;
    let in_short = |day: DayHours| day.0.map_or_else(|| "never".to_owned(), |hours| hours.to_string());
    let usual = in_short(window.weekdays);
    let others = [("Saturdays", window.saturday), ("Sundays", window.sunday)]
        .map(|(day, hours)| (day, in_short(hours)));
    let others: Vec<String> = others
        .iter()
        .filter(|(_, hours)| *hours != usual)
        .map(|(day, hours)| format!("{day} {hours}"))
        .collect();
    let usual = match usual.split_once('-') {
        Some(("00:00", "24:00")) if others.is_empty() => return after,
        Some((from, to)) => format!("between {from} and {to}"),
        None => "not on weekdays".to_owned(),
    };
    let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
    format!("{after}, {usual}{others}")
}

fn title(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::JobCompleted => "When a job is closed (recommended)",
        Trigger::VisitCompleted => "After every completed visit",
        Trigger::InvoiceCreated => "When an invoice is created",
        Trigger::InvoicePaid => "When an invoice is paid",
    }
}

fn explanation(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::JobCompleted => "All work on the job is done.",
        Trigger::VisitCompleted => "For recurring jobs that stay open for a long time.",
        Trigger::InvoiceCreated => "The invoice is on its way to the customer.",
        Trigger::InvoicePaid => "Only customers who have paid are asked.",
    }
}

fn in_words(delay: Period) -> String {
    let minutes = delay.0.as_mins();
    let count = |number: i64, unit: &str| format!("{number} {unit}{}", if number == 1 { "" } else { "s" });
    match minutes {
        ..60 => count(minutes, "minute"),
        _ if minutes % 1440 == 0 => count(minutes / 1440, "day"),
        _ if minutes % 60 == 0 => count(minutes / 60, "hour"),
        _ => count(minutes, "minute"),
    }
}

/// What this browser connected, what happens next, how to end it, and whom to ask.
pub(super) fn connected(account: &Account, link: &Link, review: &ReviewSection, brand: Brand<'_>) -> String {
    let is_as_expected = link.account.is_some() || alike(&account.name, &link.label);
    let body = html! {
        h1 { (account.name) " is connected" }
        @if !is_as_expected {
            p { strong { "Is this the right account?" } " The link was made for " strong { (link.label) } ". If you signed in to another \
                 account than you meant to, end the connection in Jobber under Apps, and ask " (brand.name) " for a new link." }
        }
        h2 { "What happens next" }
        ul {
            li { (title(account.trigger).trim_end_matches(" (recommended)")) ", the customer is asked for a review, " (when(review)) "." }
            li { "Nothing has to be done. You can close this page." }
        }
        h2 { "How to end it" }
        p { "In Jobber, under Apps, at any time." }
        (questions(brand))
    };
    page(&format!("{} is connected", account.name), &body)
}

/// For whoever comes without a link.
pub(super) fn front(brand: Brand<'_>) -> String {
    let body = html! {
        h1 { (brand.name) }
        p { "Contractors connect Jobber here through a personal link. If you have one, open it from the message you got it in." }
        (questions(brand))
    };
    page(brand.name, &body)
}

#[derive(Debug, Clone)]
pub(super) struct Notice {
    pub(super) status: StatusCode,
    title: &'static str,
    what: &'static str,
    remedy: &'static str,
    detail: Option<String>,
    /// Whether the link can be used again.
    leads_back: bool,
}

const fn told(status: StatusCode, title: &'static str, what: &'static str, remedy: &'static str) -> Notice {
    Notice { status, title, what, remedy, detail: None, leads_back: false }
}

/// With a button that opens the link again.
const fn back(status: StatusCode, title: &'static str, what: &'static str, remedy: &'static str) -> Notice {
    Notice { status, title, what, remedy, detail: None, leads_back: true }
}

impl Notice {
    pub(super) const NOTHING_CONNECTED: Self = told(
        StatusCode::NOT_FOUND,
        "Nothing is connected",
        "This page shows what this browser has connected last, as long as the connection stands.",
        "If you connected in another browser, look there. If the connection has ended, ask for a new link.",
    );
    pub(super) const NO_SUCH_PAGE: Self = told(
        StatusCode::NOT_FOUND,
        "Page not found",
        "The address is incomplete or wrong.",
        "Open the link again from the message you got it in.",
    );
    pub(super) const TOO_MANY: Self = told(
        StatusCode::TOO_MANY_REQUESTS,
        "One moment, please",
        "There were too many requests from your address.",
        "Wait a few seconds, then open the page again.",
    );
    pub(super) const NO_COOKIE: Self = back(
        StatusCode::BAD_REQUEST,
        "Your browser did not send its cookie",
        "This page needs a cookie to recognise you when you come back from Jobber.",
        "Allow cookies for this site, open the link again, and stay in the same browser.",
    );
    pub(super) const BAD_FORM: Self = back(
        StatusCode::BAD_REQUEST,
        "That did not come from this page",
        "Your browser sent a form that does not match this page.",
        "Open the link again and press the button.",
    );
    pub(super) const DENIED: Self = back(
        StatusCode::OK,
        "Nothing was connected",
        "You did not allow access in Jobber, so nothing was stored.",
        "If that was a mistake, open the link again in this browser and allow access.",
    );
    pub(super) const MARKETPLACE: Self = told(
        StatusCode::BAD_REQUEST,
        "One step is missing",
        "You started in Jobber, but this app is connected through a personal link.",
        "Ask the people who run this service for your link, and open it. Nothing was stored.",
    );
    pub(super) const NO_TOKENS: Self = back(
        StatusCode::BAD_GATEWAY,
        "Jobber did not complete the connection",
        "You allowed access, but Jobber did not confirm it to us. Nothing was stored.",
        "Open the link again in this browser in a minute. If it happens again, tell the people who sent it.",
    );
    pub(super) const CODE_REFUSED: Self = back(
        StatusCode::BAD_GATEWAY,
        "Jobber did not accept this attempt",
        "The permission that Jobber gave was used already or is too old. Nothing was stored.",
        "Open the link again in this browser and press its button once more.",
    );
    pub(super) const BROKEN: Self = back(
        StatusCode::INTERNAL_SERVER_ERROR,
        "Something is wrong here",
        "It is not your fault, and nothing was stored.",
        "Try again in a minute. If it happens again, tell the people who sent you the link.",
    );

    pub(super) fn of(refusal: &LinkRefusal) -> Self {
        match refusal {
            LinkRefusal::Unknown => told(
                StatusCode::NOT_FOUND,
                "This link is not known",
                "The address is incomplete, or the link was not created here.",
                "Open it again from the message you got it in, or ask for a new one.",
            ),
            LinkRefusal::Expired => told(
                StatusCode::GONE,
                "This link has expired",
                "Links work for a limited time.",
                "Ask the people who sent it for a new one.",
            ),
            LinkRefusal::Used => told(
                StatusCode::GONE,
                "This link was already used",
                "It has connected an account, and a link works only once.",
                "If that was you, everything is fine. If not, tell the people who sent it.",
            ),
            LinkRefusal::Revoked => told(
                StatusCode::GONE,
                "This link was withdrawn",
                "The people who sent it have taken it back.",
                "Ask them for a new one.",
            ),
            LinkRefusal::Elsewhere => back(
                StatusCode::CONFLICT,
                "This link is being used in another browser",
                "Somebody pressed its button in another browser or on another device.",
                "Continue there. If you cannot, open the link here again a quarter of an hour after that.",
            ),
            LinkRefusal::UnknownState => back(
                StatusCode::BAD_REQUEST,
                "This was completed already, or took too long",
                "Jobber sent you back, but this attempt was already completed or has expired. Nothing was changed.",
                "If your account is not connected yet, open the link again.",
            ),
            LinkRefusal::OtherBrowser => back(
                StatusCode::BAD_REQUEST,
                "Please use one browser",
                "You started in one browser and came back from Jobber in another. Nothing was stored.",
                "Open the link again and stay in the same browser.",
            ),
            LinkRefusal::OtherAccount { expected } => Self {
                detail: Some(expected.clone()),
                leads_back: true,
                ..told(
                    StatusCode::CONFLICT,
                    "This is another Jobber account",
                    "You signed in to another account than the one this link is for. Nothing was stored. The link is for:",
                    "Sign out of Jobber, sign in to that account, and open the link again.",
                )
            },
        }
    }
}

/// A page about a failure. `link` is the link that the browser opened last.
pub(super) fn notice(notice: &Notice, link: Option<&str>, brand: Brand<'_>) -> String {
    let body = html! {
        h1 { (notice.title) }
        p { (notice.what) @if let Some(detail) = &notice.detail { " " strong { (detail) } } }
        p { (notice.remedy) }
        @if let Some(link) = link.filter(|_| notice.leads_back) {
            a.button id="again" href={ "/connect/" (link) } { "Open the link again" }
        }
        (questions(brand))
    };
    page(notice.title, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_read_like_a_person_says_them() {
        let cases = [("1m", "1 minute"), ("90m", "90 minutes"), ("1h", "1 hour"), ("2d", "2 days")];
        for (text, words) in cases {
            assert_eq!(in_words(Period::parse(text).unwrap()), words);
        }
    }
}
