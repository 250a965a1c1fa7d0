//! The pages that a contractor sees. Their texts are in `pages/`, by language.

mod words;

use axum::http::StatusCode;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::hardening::hash_of_style;
use crate::accounts::settings::Disclosure;
use crate::config::{BrandSection, Colour, DayHours, Period, ReviewSection};
use crate::domain::model::{Account, Connection, Link, Trigger, WatchTopic, alike};
use crate::store::LinkRefusal;

pub(super) use words::{Words, words_for};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#17242b;--soft:#5b6b73;--line:#d9e1e5;--paper:#fff;--back:#f3f6f7;--go:#12715b;--on-go:#fff}\
@media(prefers-color-scheme:dark){:root{--ink:#e8eef0;--soft:#9fb0b8;--line:#33434b;--paper:#1b262c;--back:#12191d;--go:#1c7f66}}\
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:17px/1.55 system-ui,sans-serif}\
main{max-width:36rem;margin:0 auto;padding:1.5rem 1.1rem 3rem}\
.card{background:var(--paper);border:1px solid var(--line);border-radius:14px;padding:1.4rem 1.3rem}\
.logo{display:block;max-height:2.5rem;max-width:12rem;margin:0 0 .8rem}\
h1{font-size:1.45rem;line-height:1.25;margin:0 0 .6rem}h2{font-size:1rem;margin:1.4rem 0 .3rem}\
p{margin:.5rem 0}ul{margin:.3rem 0;padding-left:1.2rem}\
fieldset{border:0;padding:0;margin:1.1rem 0 0}legend{font-weight:600;padding:0}\
label{display:flex;gap:.7rem;align-items:flex-start;padding:.6rem .2rem;border-bottom:1px solid var(--line)}\
label small{display:block;color:var(--soft)}input[type=radio]{width:1.25rem;height:1.25rem;margin:.15rem 0 0;flex:none}\
button,.button{display:block;width:100%;margin-top:1.1rem;padding:.95rem;font:inherit;font-weight:600;color:var(--on-go);background:var(--go);border:0;border-radius:10px;text-align:center;text-decoration:none}\
a{color:inherit}:focus-visible{outline:3px solid var(--ink);outline-offset:2px}\
.soft{color:var(--soft);font-size:.92rem}";

/// The only style of the pages. Its hash is in the policy.
#[derive(Debug)]
pub(super) struct Style(String);

impl Style {
    pub(super) fn new(accent: Option<Colour>) -> Self {
        // It comes last and so holds in the dark too. The text on it is what can be read better.
        let own = accent.map(|accent| format!(":root{{--go:{accent};--on-go:{}}}", accent.text_on_it()));
        Self(format!("{STYLE}{}", own.unwrap_or_default()))
    }

    pub(super) fn hash(&self) -> String {
        hash_of_style(&self.0)
    }
}

/// Who the pages speak for, and how.
#[derive(Clone, Copy)]
pub(super) struct Voice<'a> {
    pub(super) words: &'static Words,
    pub(super) style: &'a Style,
    pub(super) name: &'a str,
    pub(super) contact: Option<&'a str>,
    pub(super) privacy: Option<&'a str>,
    pub(super) has_logo: bool,
}

impl<'a> Voice<'a> {
    pub(super) fn new(
        brand: &'a BrandSection,
        host: &'a str,
        style: &'a Style,
        words: &'static Words,
    ) -> Self {
        Self {
            words,
            style,
            name: brand.name.as_deref().unwrap_or(host),
            contact: brand.contact.as_deref(),
            privacy: brand.privacy.as_ref().map(|privacy| privacy.0.as_str()),
            has_logo: brand.logo.is_some(),
        }
    }

    /// As a link says it.
    pub(super) fn for_link(self, link: &'a Link) -> Self {
        let Some(own) = &link.brand else { return self };
        Self {
            name: own.name.as_deref().unwrap_or(self.name),
            contact: own.contact.as_deref().or(self.contact),
            ..self
        }
    }

    fn say(&self, id: &str) -> String {
        self.words.with(id, &[("name", self.name)])
    }

    fn with(&self, id: &str, values: &[(&str, &str)]) -> String {
        self.words.with(id, &[&[("name", self.name)], values].concat())
    }

    fn page(&self, title: &str, body: &Markup) -> String {
        html! {
            (DOCTYPE)
            html lang=(self.words.tag) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="robots" content="noindex";
                    title { (title) }
                    style { (PreEscaped(&self.style.0)) }
                }
                body { main { div.card {
                    @if self.has_logo { img.logo src="/logo" alt=(self.name); }
                    (body)
                    @if let Some(privacy) = self.privacy {
                        p.soft { a href=(privacy) { (self.say("privacy")) } }
                    }
                } } }
            }
        }
        .into_string()
    }

    /// Whom to ask, on every page.
    fn questions(&self) -> Markup {
        html! {
            @if let Some(contact) = self.contact {
                p.soft { (self.with("questions", &[("contact", contact)])) }
            }
        }
    }

    fn records(&self, names: &[&str]) -> String {
        let name = |name: &&str| {
            let id = format!("record-{}", name.replace(' ', "-"));
            if self.words.has(&id) { self.say(&id) } else { (*name).to_owned() }
        };
        self.words.list(&names.iter().map(name).collect::<Vec<_>>())
    }

    /// What else is told to whoever runs this.
    fn also(&self, disclosure: &Disclosure) -> String {
        let watched = disclosure.watched.iter().map(|topic| {
            self.say(match topic {
                WatchTopic::ClientUpdated => "watched-clients",
                WatchTopic::JobUpdated => "watched-jobs",
                WatchTopic::VisitCompleted => "watched-visits",
                WatchTopic::InvoiceUpdated => "watched-invoices",
            })
        });
        let mut told: Vec<String> = watched.collect();
        if !disclosure.events.is_empty() {
            let id = if disclosure.with_records { "told-records" } else { "told-events" };
            told.push(self.with(id, &[("records", &self.records(&disclosure.events))]));
        }
        if told.is_empty() {
            return String::new();
        }
        format!(" {}", self.with("read-also", &[("what", &told.join("; "))]))
    }

    /// What is changed in Jobber.
    fn changed(&self, disclosure: &Disclosure) -> String {
        if disclosure.writes.is_empty() {
            return self.say("writes-nothing");
        }
        if disclosure.writes.iter().any(|kind| kind == "api") {
            return self.say("writes-anything");
        }
        let kinds: Vec<&str> = disclosure.writes.iter().map(String::as_str).collect();
        self.with("writes-on", &[("records", &self.records(&kinds))])
    }

    /// "about 2 hours after the work is done, between 09:00 and 20:00 (Sundays 12:00-20:00)"
    fn when(&self, review: &ReviewSection) -> String {
        let after = match review.delay.0.as_mins() {
            0 => self.say("when-at-once"),
            _ => self.with("when-after", &[("delay", &self.in_words(review.delay))]),
        };
        let window = &review.window;
        let in_short =
            |day: DayHours| day.0.map_or_else(|| self.say("hours-never"), |hours| hours.to_string());
        let usual = in_short(window.weekdays);
        let others = [("hours-saturday", window.saturday), ("hours-sunday", window.sunday)]
            .map(|(day, hours)| (day, in_short(hours)));
        let others: Vec<String> = others
            .iter()
            .filter(|(_, hours)| *hours != usual)
            .map(|(day, hours)| self.with(day, &[("hours", hours)]))
            .collect();
        let usual = match usual.split_once('-') {
            Some(("00:00", "24:00")) if others.is_empty() => return after,
            Some((from, to)) => self.with("hours-between", &[("from", from), ("to", to)]),
            None => self.say("hours-not-on-weekdays"),
        };
        let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
        format!("{after}, {usual}{others}")
    }

    fn in_words(&self, delay: Period) -> String {
        let minutes = delay.0.as_mins();
        match minutes {
            ..60 => self.words.count("minutes", minutes),
            _ if minutes % 1440 == 0 => self.words.count("days", minutes / 1440),
            _ if minutes % 60 == 0 => self.words.count("hours", minutes / 60),
            _ => self.words.count("minutes", minutes),
        }
    }
}

const fn id_of(trigger: Trigger) -> (&'static str, &'static str) {
    match trigger {
        Trigger::JobCompleted => ("job-completed", "job-completed.why"),
        Trigger::VisitCompleted => ("visit-completed", "visit-completed.why"),
        Trigger::InvoiceCreated => ("invoice-created", "invoice-created.why"),
        Trigger::InvoicePaid => ("invoice-paid", "invoice-paid.why"),
    }
}

pub(super) struct Connecting<'a> {
    pub(super) voice: Voice<'a>,
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
    let Connecting { voice, link, account, review, disclosure, csrf, action } = connecting;
    let begins_anew =
        account.is_some_and(|account| matches!(account.connection, Connection::Disconnected { .. }));
    let title = match account {
        Some(account) => voice.with("reconnect-title", &[("account", &account.name)]),
        None => voice.say("connect-title"),
    };
    let whom = match voice.contact {
        Some(contact) => format!("{} ({contact})", voice.name),
        None => voice.name.to_owned(),
    };
    let body = html! {
        h1 { (title) }
        @if let Some(account) = account {
            @if begins_anew {
                p { (voice.say("reconnect-anew")) }
            } @else {
                p {
                    @if !account.connection.is_connected() { (voice.say("reconnect-lost")) " " }
                    (voice.say("reconnect-kept"))
                }
            }
        } @else {
            p { (voice.with("connect-intro", &[("label", &link.label)])) }
        }
        form method="post" action={ "/connect/" (action) } {
            input type="hidden" name="csrf" value=(csrf);
            fieldset {
                legend { (voice.say("when-question")) }
                @for trigger in Trigger::ALL {
                    label {
                        input type="radio" name="trigger" value=(trigger.as_str()) checked[trigger == link.trigger];
                        span {
                            (voice.say(id_of(trigger).0))
                            @if trigger == Trigger::JobCompleted { " (" (voice.say("recommended")) ")" }
                            small { (voice.say(id_of(trigger).1)) }
                        }
                    }
                }
            }
            button type="submit" id="connect" {
                (voice.say(if account.is_some() { "reconnect-button" } else { "connect-button" }))
            }
        }
        h2 { (voice.say("read-title")) }
        ul {
            @for id in ["read-work", "read-customer", "read-crew"] { li { (voice.say(id)) } }
        }
        p { (voice.say("read-given")) (voice.also(disclosure)) }
        p { (voice.changed(disclosure)) }
        h2 { (voice.say("happens-title")) }
        ul {
            li { (voice.with("happens-once", &[("when", &voice.when(review))])) }
            li { (voice.say("happens-opted-out")) }
            @if account.is_none() || begins_anew {
                li { (voice.say("happens-before")) }
            } @else {
                li { (voice.with("happens-meanwhile", &[("age", &voice.in_words(review.max_age))])) }
            }
        }
        p.soft { strong { (voice.say("trouble-question")) } " " (voice.with("trouble-answer", &[("whom", &whom)])) }
        p.soft { (voice.say("button-leads")) }
    };
    voice.page(&title, &body)
}

/// What this browser connected, what happens next, how to end it, and whom to ask.
pub(super) fn connected(account: &Account, link: &Link, review: &ReviewSection, voice: Voice<'_>) -> String {
    let is_as_expected = link.account.is_some() || alike(&account.name, &link.label);
    let title = voice.with("connected-title", &[("account", &account.name)]);
    let trigger = voice.say(id_of(account.trigger).0);
    let body = html! {
        h1 { (title) }
        @if !is_as_expected {
            p { strong { (voice.say("connected-right")) } " " (voice.with("connected-other", &[("label", &link.label)])) }
        }
        h2 { (voice.say("next-title")) }
        ul {
            li { (voice.with("next-asked", &[("trigger", &trigger), ("when", &voice.when(review))])) }
            li { (voice.say("next-nothing")) }
        }
        h2 { (voice.say("end-title")) }
        p { (voice.say("end-how")) }
        (voice.questions())
    };
    voice.page(&title, &body)
}

/// For whoever comes without a link.
pub(super) fn front(voice: Voice<'_>) -> String {
    let body = html! {
        h1 { (voice.name) }
        p { (voice.say("front-text")) }
        (voice.questions())
    };
    voice.page(voice.name, &body)
}

/// A page about a failure.
#[derive(Debug, Clone)]
pub(super) struct Notice {
    pub(super) status: StatusCode,
    /// Its message.
    id: &'static str,
    title: &'static str,
    remedy: &'static str,
    detail: Option<String>,
    /// Whether the link can be used again.
    leads_back: bool,
}

macro_rules! told {
    ($status:ident, $id:literal) => {
        Notice {
            status: StatusCode::$status,
            id: $id,
            title: concat!($id, ".title"),
            remedy: concat!($id, ".remedy"),
            detail: None,
            leads_back: false,
        }
    };
}

/// With a button that opens the link again.
macro_rules! back {
    ($status:ident, $id:literal) => {
        Notice { leads_back: true, ..told!($status, $id) }
    };
}

impl Notice {
    pub(super) const NOTHING_CONNECTED: Self = told!(NOT_FOUND, "nothing-connected");
    pub(super) const NO_SUCH_PAGE: Self = told!(NOT_FOUND, "no-such-page");
    pub(super) const TOO_MANY: Self = told!(TOO_MANY_REQUESTS, "too-many");
    pub(super) const NO_COOKIE: Self = back!(BAD_REQUEST, "no-cookie");
    pub(super) const BAD_FORM: Self = back!(BAD_REQUEST, "bad-form");
    pub(super) const DENIED: Self = back!(OK, "denied");
    pub(super) const MARKETPLACE: Self = told!(BAD_REQUEST, "marketplace");
    pub(super) const NO_TOKENS: Self = back!(BAD_GATEWAY, "no-tokens");
    pub(super) const CODE_REFUSED: Self = back!(BAD_GATEWAY, "code-refused");
    pub(super) const BROKEN: Self = back!(INTERNAL_SERVER_ERROR, "broken");

    pub(super) fn of(refusal: &LinkRefusal) -> Self {
        match refusal {
            LinkRefusal::Unknown => told!(NOT_FOUND, "link-unknown"),
            LinkRefusal::Expired => told!(GONE, "link-expired"),
            LinkRefusal::Used => told!(GONE, "link-used"),
            LinkRefusal::Revoked => told!(GONE, "link-revoked"),
            LinkRefusal::Elsewhere => back!(CONFLICT, "link-elsewhere"),
            LinkRefusal::UnknownState => back!(BAD_REQUEST, "unknown-state"),
            LinkRefusal::OtherBrowser => back!(BAD_REQUEST, "other-browser"),
            LinkRefusal::OtherAccount { expected } => {
                Self { detail: Some(expected.clone()), ..back!(CONFLICT, "other-account") }
            }
        }
    }
}

/// A page about a failure. `link` is the link that the browser opened last.
pub(super) fn notice(notice: &Notice, link: Option<&str>, voice: Voice<'_>) -> String {
    let title = voice.say(notice.title);
    let body = html! {
        h1 { (title) }
        p { (voice.say(notice.id)) @if let Some(detail) = &notice.detail { " " strong { (detail) } } }
        p { (voice.say(notice.remedy)) }
        @if let Some(link) = link.filter(|_| notice.leads_back) {
            a.button id="again" href={ "/connect/" (link) } { (voice.say("open-again")) }
        }
        (voice.questions())
    };
    voice.page(&title, &body)
}

#[cfg(test)]
mod tests {
    use super::words::words_in;
    use super::*;
    use crate::config::Language;
    use crate::domain::actions;
    use crate::domain::webhook_event::Topic;

    fn voice(style: &Style, language: Language) -> Voice<'_> {
        let words = words_in(language);
        Voice { words, style, name: "Stars", contact: None, privacy: None, has_logo: false }
    }

    #[test]
    fn delays_read_like_a_person_says_them() {
        let style = Style::new(None);
        for (text, english, french) in [
            ("1m", "1 minute", "1 minute"),
            ("90m", "90 minutes", "90 minutes"),
            ("1h", "1 hour", "1 heure"),
            ("2d", "2 days", "2 jours"),
            ("0s", "0 minutes", "0 minute"),
        ] {
            let delay = Period::parse(text).unwrap();
            assert_eq!(voice(&style, Language::En).in_words(delay), english);
            assert_eq!(voice(&style, Language::Fr).in_words(delay), french);
        }
    }

    #[test]
    fn every_kind_of_record_has_a_name_in_every_language() {
        let style = Style::new(None);
        let records = Topic::ALL.iter().map(|topic| topic.record().in_words());
        let nouns = actions::all().map(|action| action.noun);
        for name in records.chain(nouns).chain(["asks"]) {
            assert!(
                voice(&style, Language::En).words.has(&format!("record-{}", name.replace(' ', "-"))),
                "{name}"
            );
        }
        assert_eq!(
            voice(&style, Language::Es).records(&["jobs", "quotes", "the connection"]),
            "trabajos, presupuestos y la conexión"
        );
    }
}
