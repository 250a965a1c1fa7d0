//! Decides about a candidate from fresh facts: ask, skip or wait. Pure.
//!
//! The checks run in the order in which a person would want to read the reasons: first what happened to the
//! work, then whether it was asked about, then what the customer wants, then whether the customer can be
//! reached.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::clock::plus;
use crate::digest;
use crate::domain::message;
use crate::domain::model::{
    AccountId, Ask, AskBody, AskId, BodyAccount, BodyClient, BodyInvoice, BodyJob, BodyPerson, BodyProperty,
    BodyVisit, Candidate, ClientFacts, Contacted, Decision, EmailAddress, Facts, Marker, Personal as _,
    Phone, Record, SkipReason, Subject, Suppression, Trigger, VisitsOfJob, WorkKind, WorkRef, contacts_of,
};
use crate::domain::plan::{Finish, finish, too_old};
use crate::domain::rules::{KindOfClients, Phones, Policy, Respected, Rules};
use crate::text::{NAME, ORIGINAL, TITLE, capped, tidy};

#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Ask(Box<Ask>),
    Skip {
        reason: SkipReason,
        /// The values that led to the reason.
        saw: BTreeMap<String, String>,
        /// What is known about the work now.
        subject: Box<Subject>,
    },
    /// Not yet: the work was finished later than the candidate says.
    Defer {
        finished_at: Timestamp,
        until: Timestamp,
    },
}

#[derive(Debug, Clone, Copy)]
pub struct Contractor<'a> {
    pub id: &'a AccountId,
    pub name: &'a str,
}

/// What is known about earlier asks and about the person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    pub markers: BTreeMap<WorkRef, Marker>,
    /// The last time this person was asked, by any contact.
    pub contacted: Option<Contacted>,
    /// Set if the operator said that this person is never asked.
    pub suppression: Option<Suppression>,
    /// Nothing that says who it is may be kept.
    pub is_forgotten: bool,
}

const HOLD: SignedDuration = SignedDuration::from_hours(1);

/// Decides about `candidate`. `facts` is `None` if Jobber no longer has the work.
pub fn decide(
    contractor: Contractor<'_>,
    candidate: &Candidate,
    facts: Option<&Facts>,
    past: &Past,
    rules: &Rules,
    now: Timestamp,
) -> Verdict {
    let Some(facts) = facts else {
        return skip(SkipReason::NotFound, vec![], candidate.subject.clone());
    };
    let mut subject = subject_of(candidate, facts, &rules.policy);
    if past.is_forgotten {
        subject.erase();
    }
    let no = |reason, saw| skip(reason, saw, subject.clone());

    let finished_at = match finish(&facts.record, candidate.trigger, rules.include_drafts) {
        Finish::Open => {
            return no(SkipReason::NoLongerFinished, vec![("status", status_of(&facts.record))]);
        }
        Finish::Unclear { status } => return no(SkipReason::UnknownStatus, vec![("status", status)]),
        Finish::At { at, .. } => at,
    };
    if let Some((work, marker)) = blocking(&candidate.work, &facts.job_ids, &past.markers) {
        let saw = vec![
            ("asked_about", work.to_string()),
            ("asked_at", marker.at.to_string()),
            ("ask_id", marker.ask_id.to_string()),
        ];
        return no(SkipReason::AlreadyAsked, saw);
    }
    if candidate.released_at.is_none()
        && let Some(saw) = too_old(finished_at, candidate.held_for, rules, now)
    {
        return no(SkipReason::TooOld, saw);
    }
    if candidate.released_at.is_none()
        && candidate.trigger == Trigger::JobCompleted
        && let Some((reason, saw)) = not_done_lately(facts.visits, finished_at, rules)
    {
        return no(reason, saw);
    }
    let until = rules.hours.leaves(plus(finished_at, rules.delay).max(now));
    if until > now {
        return Verdict::Defer { finished_at, until };
    }

    let Some(client) = &facts.client else { return no(SkipReason::NoClient, vec![]) };
    if client.sample_data {
        return no(SkipReason::SampleData, vec![("sampleData", "true".into())]);
    }
    if client.is_archived {
        return no(SkipReason::ClientArchived, vec![("isArchived", "true".into())]);
    }
    if !client.receives_review_requests {
        return no(SkipReason::ClientOptedOut, vec![("receivesReviewRequests", "false".into())]);
    }
    if let Some(of) = opted_out_work(facts, candidate.trigger, rules.respected) {
        return no(SkipReason::WorkOptedOut, vec![(of, "false".into())]);
    }
    if let Some((reason, saw)) = unwanted(facts, client, past, candidate.trigger, &rules.policy) {
        return no(reason, saw);
    }
    if best_phone(client, &rules.policy).is_none() && best_email(&client.emails).is_none() {
        let saw = vec![
            ("phones", client.phones.len().to_string()),
            ("phones_that_take_texts", "0".into()),
            ("emails", client.emails.len().to_string()),
        ];
        return no(SkipReason::NoContact, saw);
    }
    if let Some(contacted) = &past.contacted
        && rests_until(contacted, &rules.policy) > now
    {
        let saw = vec![
            ("asked_at", contacted.at.to_string()),
            ("ask_id", contacted.ask_id.to_string()),
            ("cooldown", format!("{:#}", rules.policy.cooldown)),
            ("may_be_asked_from", rests_until(contacted, &rules.policy).to_string()),
        ];
        return no(SkipReason::AskedRecently, saw);
    }
    if tagged(client, rules.policy.hold_tag.as_ref()) {
        return Verdict::Defer { finished_at, until: rules.hours.leaves(plus(now, HOLD)) };
    }
    Verdict::Ask(Box::new(Ask {
        id: ask_id(contractor.id, candidate.trigger, &candidate.work),
        work: candidate.work.clone(),
        job_ids: facts.job_ids.clone(),
        finished_at,
        subject,
        contacts: contacts_of(client),
        body: said(body(contractor, candidate.trigger, facts, client, &rules.policy, now), facts, rules),
    }))
}

/// Why an ask that was decided long ago is not sent any more. `None` if it still may.
///
/// It waited because its platform failed, its account was paused, or somebody sent a dead letter again. Meanwhile the
/// work may have been reopened, and the customer may have opted out by any contact of the card.
pub fn outdated(
    decision: &Decision,
    facts: Option<&Facts>,
    suppression: Option<&Suppression>,
    rules: &Rules,
    now: Timestamp,
) -> Option<(SkipReason, BTreeMap<String, String>)> {
    let held = |saw: Vec<(&str, String)>| {
        saw.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>()
    };
    let Some(facts) = facts else { return Some((SkipReason::NotFound, held(vec![]))) };
    if finish(&facts.record, decision.trigger, rules.include_drafts) == Finish::Open {
        return Some((SkipReason::NoLongerFinished, held(vec![("status", status_of(&facts.record))])));
    }
    if let Some((reason, saw)) = stale(decision, rules, now) {
        return Some((reason, saw));
    }
    let Some(client) = &facts.client else { return Some((SkipReason::NoClient, held(vec![]))) };
    if client.is_archived {
        return Some((SkipReason::ClientArchived, held(vec![("isArchived", "true".into())])));
    }
    if !client.receives_review_requests {
        return Some((SkipReason::ClientOptedOut, held(vec![("receivesReviewRequests", "false".into())])));
    }
    let suppression = suppression?;
    Some((SkipReason::Suppressed, held(vec![("since", suppression.at.to_string())])))
}

/// Whether an ask that was decided long ago is too old now.
pub fn stale(
    decision: &Decision,
    rules: &Rules,
    now: Timestamp,
) -> Option<(SkipReason, BTreeMap<String, String>)> {
    // What was released by hand counts from then.
    let from =
        decision.released_at.map_or(decision.finished_at, |released| released.max(decision.finished_at));
    let saw = too_old(from, decision.held_for, rules, now)?;
    Some((SkipReason::TooOld, saw.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
}

/// The ask for this work as it would read now, whatever the decision. `None` if there is nobody to ask.
pub fn preview(
    contractor: Contractor<'_>,
    trigger: Trigger,
    facts: &Facts,
    rules: &Rules,
    now: Timestamp,
) -> Option<AskBody> {
    let client = facts.client.as_ref()?;
    Some(said(body(contractor, trigger, facts, client, &rules.policy, now), facts, rules))
}

/// The id of the ask for this account, trigger and work. The same input always gives the same id.
pub fn ask_id(account: &AccountId, trigger: Trigger, work: &WorkRef) -> AskId {
    let parts = [account.as_str(), trigger.as_str(), work.kind.as_str(), work.id.as_str()];
    AskId::new(format!("ask_{}", digest::short(&parts)))
}

/// The marker that forbids an ask about `work`, if there is one.
///
/// The work's own marker always does. A job's marker does if the job was asked about through another kind of
/// work: an ask about a visit marks its job and so stops the job and its invoices, but not the next visit.
pub fn blocking<'m>(
    work: &WorkRef,
    job_ids: &[crate::domain::model::EncodedId],
    markers: &'m BTreeMap<WorkRef, Marker>,
) -> Option<(&'m WorkRef, &'m Marker)> {
    markers.get_key_value(work).or_else(|| {
        job_ids
            .iter()
            .filter_map(|id| markers.get_key_value(&WorkRef::job(id.clone())))
            .find(|(_, marker)| marker.by != work.kind)
    })
}

/// When the cooldown of a person who was asked ends.
pub fn rests_until(contacted: &Contacted, policy: &Policy) -> Timestamp {
    plus(contacted.at, policy.cooldown)
}

/// A job that is closed was not always worked on: contractors clean up, and a cancelled contract is closed like a
/// finished one. The last completed visit tells. A job without visits counts by its completion.
fn not_done_lately(
    visits: Option<VisitsOfJob>,
    finished_at: Timestamp,
    rules: &Rules,
) -> Option<(SkipReason, Vec<(&'static str, String)>)> {
    match visits? {
        VisitsOfJob::NoVisits => None,
        VisitsOfJob::NoneCompleted => {
            Some((SkipReason::NoVisitCompleted, vec![("completed_visits", "0".to_owned())]))
        }
        VisitsOfJob::Completed(last) => {
            let within = rules.policy.last_visit_within;
            let saw = || {
                vec![
                    ("last_visit", last.to_string()),
                    ("closed_at", finished_at.to_string()),
                    ("last_visit_within", format!("{within:#}")),
                ]
            };
            (plus(last, within) < finished_at).then(|| (SkipReason::VisitTooOld, saw()))
        }
    }
}

/// Why the contractor or the operator does not want this customer to be asked about this work.
fn unwanted(
    facts: &Facts,
    client: &ClientFacts,
    past: &Past,
    trigger: Trigger,
    policy: &Policy,
) -> Option<(SkipReason, Vec<(&'static str, String)>)> {
    if let Some(suppression) = &past.suppression {
        let note = suppression.note.clone().unwrap_or_default();
        let saw = vec![("since", suppression.at.to_string()), ("note", note)];
        return Some((SkipReason::Suppressed, saw));
    }
    if let Some(tag) = policy.never_tag.as_ref().filter(|tag| tagged(client, Some(tag))) {
        return Some((SkipReason::Tagged, vec![("tag", tag.clone())]));
    }
    if client.is_lead {
        return Some((SkipReason::ClientIsLead, vec![("isLead", "true".into())]));
    }
    let is_wanted = match policy.clients {
        KindOfClients::All => true,
        KindOfClients::People => !client.is_company,
        KindOfClients::Companies => client.is_company,
    };
    if !is_wanted {
        return Some((SkipReason::KindOfClient, vec![("isCompany", client.is_company.to_string())]));
    }
    let name = facts.job.as_ref().and_then(message::work_name).unwrap_or_default();
    let lower = name.to_lowercase();
    let holds = |words: &[String]| words.iter().any(|word| lower.contains(&word.to_lowercase()));
    if holds(&policy.not_named) || !policy.only_named.is_empty() && !holds(&policy.only_named) {
        return Some((SkipReason::TitleExcluded, vec![("work", name)]));
    }
    let invoiced = facts.invoice.as_ref().and_then(|invoice| invoice.total);
    let total = invoiced.or(facts.job.as_ref().map(|job| job.total)).unwrap_or_default();
    let saw = |least: &str| {
        Some((SkipReason::BelowMinimum, vec![("total", total.to_string()), ("min_total", least.to_owned())]))
    };
    match policy.min_total {
        Some(least) if total < least => saw(&least.to_string()),
        // Warranty work and redone work: a poor moment to ask (`api-behaviour.md` §1, Invoices).
        None if trigger.work_kind() == WorkKind::Invoice && total <= 0.0 => saw("more than 0"),
        Some(_) | None => None,
    }
}

fn tagged(client: &ClientFacts, tag: Option<&String>) -> bool {
    tag.is_some_and(|tag| client.tags.iter().any(|label| label.trim().eq_ignore_ascii_case(tag.trim())))
}

fn skip(reason: SkipReason, saw: Vec<(&'static str, String)>, subject: Subject) -> Verdict {
    Verdict::Skip {
        reason,
        saw: saw.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        subject: Box::new(subject),
    }
}

fn status_of(record: &Record) -> String {
    match record {
        Record::Job(job) => job.status.to_string(),
        Record::Visit(_) => "not completed".to_owned(),
        Record::Invoice(invoice) => invoice.status.to_string(),
    }
}

/// Jobber's switch on the record of the trigger and on the job behind it, where it counts.
fn opted_out_work(facts: &Facts, trigger: Trigger, respected: Respected) -> Option<&'static str> {
    let job = respected.on_jobs && facts.job.as_ref().is_some_and(|job| !job.allow_review_request);
    let invoice = match trigger {
        Trigger::JobCompleted | Trigger::VisitCompleted => false,
        Trigger::InvoiceCreated | Trigger::InvoicePaid => {
            respected.on_invoices
                && facts.invoice.as_ref().is_some_and(|invoice| !invoice.allow_review_request)
        }
    };
    match (job, invoice) {
        (_, true) => Some("invoice.allowReviewRequest"),
        (true, false) => Some("job.allowReviewRequest"),
        (false, false) => None,
    }
}

/// The number that an ask goes to: one that takes texts, the main one first. If any number will do, one that is not
/// marked so comes last.
fn best_phone<'c>(client: &'c ClientFacts, policy: &Policy) -> Option<&'c str> {
    let usable = |phone: &&Phone| {
        !phone.number.trim().is_empty() && (phone.sms_allowed || policy.phones == Phones::Any)
    };
    let found = client.phones.iter().filter(usable).max_by_key(|phone| {
        // Of equals, the first one.
        (phone.sms_allowed, phone.primary, std::cmp::Reverse(std::ptr::from_ref(*phone) as usize))
    });
    found.map(|phone| phone.number.trim())
}

fn best_email(emails: &[EmailAddress]) -> Option<&str> {
    let usable = || emails.iter().filter(|email| !email.address.trim().is_empty());
    usable().find(|email| email.primary).or_else(|| usable().next()).map(|email| email.address.trim())
}

fn subject_of(candidate: &Candidate, facts: &Facts, policy: &Policy) -> Subject {
    let known = candidate.subject.clone();
    let client = facts.client.as_ref();
    let job = facts.job.as_ref();
    Subject {
        client_id: client.map(|client| client.id.clone()).or(known.client_id),
        client_name: client.map(|client| tidy(&client.name, NAME)).or(known.client_name),
        phone: client.and_then(|client| best_phone(client, policy)).map(str::to_owned),
        email: client.and_then(|client| best_email(&client.emails)).map(str::to_owned),
        job_id: job.map(|job| job.id.clone()).or(known.job_id),
        job_number: job.map(|job| job.number).or(known.job_number),
        job_title: job.and_then(message::work_name).or(known.job_title),
        invoice_number: facts.invoice.as_ref().map(|invoice| invoice.number.clone()).or(known.invoice_number),
    }
}

fn body(
    contractor: Contractor<'_>,
    trigger: Trigger,
    facts: &Facts,
    client: &ClientFacts,
    policy: &Policy,
    now: Timestamp,
) -> AskBody {
    let job = facts.job.as_ref();
    AskBody {
        kind: "review.requested".to_owned(),
        timestamp: now,
        trigger,
        account: BodyAccount { id: contractor.id.clone(), name: tidy(contractor.name, NAME) },
        job: job.map(|job| BodyJob {
            id: job.id.clone(),
            number: job.number,
            title: job.title.as_deref().map(|title| tidy(title, TITLE)),
            name: message::work_name(job),
            line_items: job.line_items.iter().map(|item| tidy(item, TITLE)).collect(),
            status: if job.completed_at.is_some() { "completed" } else { "open" }.to_owned(),
            jobber_status: job.status.to_string(),
            completed_at: job.completed_at,
            url: job.url.clone(),
        }),
        visit: facts.visit.as_ref().map(|visit| BodyVisit {
            id: visit.id.clone(),
            title: visit.title.as_deref().map(|title| tidy(title, TITLE)),
            completed_at: visit.completed_at,
        }),
        client: BodyClient {
            id: client.id.clone(),
            name: tidy(&client.name, NAME),
            first_name: message::first_name(client, policy.greet),
            phone: best_phone(client, policy).map(str::to_owned),
            email: best_email(&client.emails).map(str::to_owned),
        },
        property: facts.address.as_ref().map(|address| BodyProperty { address: tidy(address, TITLE) }),
        assigned_users: facts
            .crew
            .iter()
            .map(|person| BodyPerson { id: person.id.clone(), name: tidy(&person.name, NAME) })
            .collect(),
        invoice: facts.invoice.as_ref().map(|invoice| BodyInvoice {
            id: invoice.id.clone(),
            number: invoice.number.clone(),
            total: invoice.total,
            status: invoice.status.to_string(),
        }),
        message: String::new(),
        as_in_jobber: changed_texts(facts, client),
    }
}

/// Texts of customers and contractors that were changed to fit a message, by their place in the body.
fn changed_texts(facts: &Facts, client: &ClientFacts) -> BTreeMap<String, String> {
    let job = facts.job.as_ref().and_then(|job| job.title.as_deref());
    let visit = facts.visit.as_ref().and_then(|visit| visit.title.as_deref());
    [
        ("job.title", job, TITLE),
        ("visit.title", visit, TITLE),
        ("client.name", Some(client.name.as_str()), NAME),
    ]
    .into_iter()
    .filter_map(|(place, text, longest)| Some((place, text?, longest)))
    .filter(|(_, text, longest)| tidy(text, *longest) != *text)
    .map(|(place, text, _)| (place.to_owned(), capped(text, ORIGINAL)))
    .collect()
}

fn said(ask: AskBody, facts: &Facts, rules: &Rules) -> AskBody {
    let work = facts.job.as_ref().and_then(message::work_name);
    let built_in = message::compose(&ask.client.first_name, work.as_deref(), &facts.crew);
    let ask = AskBody { message: built_in.clone(), ..ask };
    AskBody { message: rules.texts.sentence(&ask, built_in), ..ask }
}

#[cfg(test)]
mod tests;
