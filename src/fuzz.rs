//! Entry points of the fuzzers in `tests/fuzz`: everything that takes bytes from outside, with its
//! invariants. Built only with the feature `fuzzing`.
//!
//! Nothing here may panic: a panic is a finding.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::config::{Config, ConfigError, Period};
use crate::domain::decide::{Contractor, Past, decide};
use crate::domain::message::Texts;
use crate::domain::model::{AccountId, EncodedId, Facts, Record, Trigger, WorkRef};
use crate::domain::plan::{Known, plan};
use crate::domain::rules::{LocalHours, Respected, Rules};
use crate::domain::webhook_event::{self, FollowUp, Heard};
use crate::domain::{import, retry};
use crate::jobber::{self, token_endpoint};
use crate::ops::protocol;
use crate::{server, store};

/// An answer of Jobber's API. The first byte selects the query and the envelope.
pub fn graphql_answers(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    let status = match kind >> 4 {
        0..=11 => 200,
        12 => 401,
        13 => 429,
        14 => 503,
        _ => 404,
    };
    let work = match kind & 3 {
        3 => WorkRef::job(EncodedId::new("1")),
        1 => WorkRef::visit(EncodedId::new("1")),
        _ => WorkRef::invoice(EncodedId::new("1")),
    };
    match jobber::fuzzed(kind & 7, status, body, &work) {
        jobber::Fuzzed::Records(records) => sweep(&records, trigger_of(kind & 3)),
        jobber::Fuzzed::Facts(facts) => recheck(&facts, &work, trigger_of(kind & 3)),
        jobber::Fuzzed::Nothing => {}
    }
}

fn trigger_of(number: u8) -> Trigger {
    Trigger::ALL[usize::from(number) % Trigger::ALL.len()]
}

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 56)
}

fn rules(trigger: Trigger) -> Rules {
    Rules {
        trigger,
        delay: SignedDuration::from_hours(2),
        max_age: SignedDuration::from_hours(7 * 24),
        include_drafts: true,
        asks_from: Timestamp::UNIX_EPOCH,
        hours: LocalHours::always(),
        respected: Respected::ALL,
        policy: Arc::default(),
        texts: Texts::default(),
    }
}

/// A plan names each work once, and planning it again plans nothing.
fn sweep(records: &[Record], trigger: Trigger) {
    let made = plan(records, &Known::default(), &rules(trigger), None, now(), now());
    let works: Vec<_> = made
        .candidates
        .iter()
        .map(|candidate| &candidate.work)
        .chain(made.skipped.iter().map(|skipped| &skipped.work))
        .collect();
    let distinct: std::collections::BTreeSet<_> = works.iter().collect();
    claim(distinct.len() == works.len(), "a work is planned twice");
    claim(made.watermark.is_none_or(|at| at <= now()), "a watermark lies in the future");
}

fn recheck(facts: &Facts, work: &WorkRef, trigger: Trigger) {
    let candidate = crate::domain::model::Candidate {
        work: work.clone(),
        released_at: None,
        held_for: jiff::SignedDuration::ZERO,
        trigger,
        finished_at: now(),
        due_at: now(),
        subject: facts.record.subject(),
    };
    let id = AccountId::new("account");
    let contractor = Contractor { id: &id, name: "Ace" };
    let verdict = decide(contractor, &candidate, Some(facts), &Past::default(), &rules(trigger), now());
    if let crate::domain::decide::Verdict::Ask(ask) = verdict {
        claim(
            Texts::default().freeze(&ask.body).is_ok_and(|body| !body.is_empty()),
            "an ask does not encode",
        );
        let reach = (&ask.body.client.phone, &ask.body.client.email);
        claim(reach != (&None, &None), "somebody is asked who cannot be reached");
    }
}

/// An answer of the token endpoint. The first two bytes are its status.
pub fn token_answers(bytes: &[u8]) {
    let [high, low, body @ ..] = bytes else { return };
    let status = u16::from_be_bytes([*high, *low]) % 600;
    claim(!token_endpoint::fuzzed(status, body) || (200..300).contains(&status), "tokens without success");
}

/// A value or a key of the store.
pub fn store_values(bytes: &[u8]) {
    store::fuzzed(bytes);
}

/// A configuration file, or a CSV of people who were asked before.
pub fn configuration(bytes: &[u8]) {
    if let Ok(parsed) = import::parse(bytes, now()) {
        claim(parsed.asked.iter().all(|asked| !asked.contacts.is_empty()), "nobody was asked");
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Config::parse(text) {
        Ok(config) => {
            let shown = serde_json::to_value(&config).and_then(serde_json::from_value::<Config>);
            claim(shown.is_ok_and(|read| read == config), "settings that do not read back as they are shown");
        }
        Err(error) => {
            let is_told = |error: &ConfigError| !error.remedy.is_empty() && !error.problem.is_empty();
            claim(error.0.iter().all(is_told) && !error.0.is_empty(), "an error without a remedy");
            let is_a_line = |error: &ConfigError| error.to_string().lines().count() == 1;
            claim(error.0.iter().all(is_a_line), "an error of several lines");
        }
    }
    if let Ok(period) = Period::parse(text) {
        claim(Period::parse(&period.to_string()) == Ok(period), "a period that does not read back");
    }
}

/// Input from callers, receivers, Jobber's webhooks and the command line: header fields, events, and control
/// socket requests.
pub fn requests(bytes: &[u8]) {
    if let Heard::Event(event) = webhook_event::read(bytes) {
        for trigger in Trigger::ALL {
            let is_read =
                matches!(event.follow_up(trigger), Some(FollowUp::Read { .. } | FollowUp::Client { .. }));
            claim(!is_read || !event.item.as_str().is_empty(), "a record without an id is read");
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(wait) = retry::retry_after(text, now()) {
        claim(!wait.is_negative(), "a negative wait");
    }
    server::fuzzed(text);
    protocol::fuzzed(text);
}

/// Panics if a claim does not hold.
pub(crate) fn claim(holds: bool, otherwise: &str) {
    assert!(holds, "{otherwise}");
}
