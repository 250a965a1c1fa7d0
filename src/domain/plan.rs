//! Turns the records of a sweep into candidates, skips and the next watermark. Pure.
//!
//! A record is identified by its work, never by its place on a page: pages shift while they are read
//! (`api-behaviour.md` §3, Paging), sweeps overlap, and the reconcile sweep sees everything again. So the
//! same record plans nothing the second time, whatever came in between.
//!
//! The watermark comes from the records. It never moves back. A record from the future does not move it,
//! because it would hide everything before that instant (a visit can be completed with any instant).

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::clock::{minus, plus};
use crate::domain::model::{
    Candidate, Decision, InvoiceRecord, InvoiceStatus, JobRecord, JobStatus, Marker, Outcome, Record,
    SkipReason, Trigger, WorkRef,
};
use crate::domain::rules::Rules;

/// How far behind its watermark a sweep starts. It is unknown whether Jobber's `after` includes the instant
/// itself, and a one-off close is written twice, about a second apart (`api-behaviour.md` §1).
pub const OVERLAP: SignedDuration = SignedDuration::from_mins(10);

/// `receivedDate` is a day: the invoice was paid at some time on it (`api-behaviour.md` §1, Invoices).
const A_DAY: SignedDuration = SignedDuration::from_hours(24);

/// Work that is too old is still noted for this long, so that `explain` finds it.
const EXPLAINED: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Where a stream's sweep starts. Nothing before `asks_from` matters, even if the watermark is older because
/// the trigger was changed since, and nothing that has been too old to be asked about for long.
pub fn start_of(watermark: Option<Timestamp>, rules: &Rules, now: Timestamp) -> Timestamp {
    let from = rules.asks_from.max(minus(minus(now, rules.max_age), EXPLAINED));
    minus(watermark.map_or(from, |at| at.max(from)), OVERLAP)
}

/// Where the reconcile sweep starts. It covers all work that can still be asked about.
pub fn reconcile_start(now: Timestamp, rules: &Rules) -> Timestamp {
    minus(now, rules.max_age)
}

/// Whether a piece of work is finished, by the rule of a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// Not finished, or reopened.
    Open,
    At {
        /// The instant from which `delay` and `max_age` count.
        at: Timestamp,
        /// The instant compared with `asks_from`. For a paid invoice it is the latest possible payment time.
        /// If nothing proves that the work is newer than the record, it is the record's creation.
        proven: Timestamp,
    },
    Unclear {
        status: String,
    },
}

pub fn finish(record: &Record, trigger: Trigger, include_drafts: bool) -> Finish {
    match record {
        Record::Job(job) => job_finish(job),
        Record::Visit(visit) => match visit.completed_at {
            Some(at) => Finish::At { at, proven: at },
            None => Finish::Open,
        },
        Record::Invoice(invoice) if trigger == Trigger::InvoicePaid => paid_finish(invoice),
        Record::Invoice(invoice) => created_finish(invoice, include_drafts),
    }
}

/// `completedAt` decides. The status only detects a job that was reopened and kept its `completedAt`: it is
/// unknown whether reopening clears it (`api-behaviour.md` §1, Jobs).
fn job_finish(job: &JobRecord) -> Finish {
    let Some(at) = job.completed_at else { return Finish::Open };
    match &job.status {
        JobStatus::RequiresInvoicing | JobStatus::Archived => Finish::At { at, proven: at },
        JobStatus::Unknown(status) => Finish::Unclear { status: status.clone() },
        JobStatus::Late
        | JobStatus::Today
        | JobStatus::Upcoming
        | JobStatus::ActionRequired
        | JobStatus::OnHold
        | JobStatus::Unscheduled
        | JobStatus::Active
        | JobStatus::ExpiringWithin30Days => Finish::Open,
    }
}

/// A draft that is issued later counts from its issue date. The date is editable, so it is limited to the
/// time between creation and last change.
fn created_finish(invoice: &InvoiceRecord, include_drafts: bool) -> Finish {
    match &invoice.status {
        InvoiceStatus::Draft if !include_drafts => Finish::Open,
        InvoiceStatus::Voided => Finish::Open,
        InvoiceStatus::Unknown(status) => Finish::Unclear { status: status.clone() },
        InvoiceStatus::Draft
        | InvoiceStatus::AwaitingPayment
        | InvoiceStatus::Paid
        | InvoiceStatus::PastDue
        | InvoiceStatus::BadDebt
        | InvoiceStatus::SentNotDue => {
            let issued = invoice.issued_at.unwrap_or(invoice.created_at).min(invoice.updated_at);
            Finish::At { at: issued.max(invoice.created_at), proven: invoice.created_at }
        }
    }
}

/// Only the status says that an invoice is paid. The instant is the last change if that fell on the day the
/// money was received, else that day. Without a received date nothing proves that an invoice from before the
/// connection was paid after it.
fn paid_finish(invoice: &InvoiceRecord) -> Finish {
    match (&invoice.status, invoice.received_at) {
        (InvoiceStatus::Paid, Some(day)) => {
            let end_of_day = plus(day, A_DAY);
            let at = if invoice.updated_at < end_of_day { invoice.updated_at } else { day };
            Finish::At { at, proven: invoice.updated_at.min(end_of_day) }
        }
        (InvoiceStatus::Paid, None) => Finish::At { at: invoice.updated_at, proven: invoice.created_at },
        (InvoiceStatus::Unknown(status), _) => Finish::Unclear { status: status.clone() },
        _ => Finish::Open,
    }
}

/// What the store knows about the works of a sweep.
#[derive(Debug, Clone, Default)]
pub struct Known {
    pub decisions: BTreeMap<WorkRef, Decision>,
    /// The existing markers. A marker can outlive its decision, and a job can carry the marker of one of its
    /// visits or invoices.
    pub markers: BTreeMap<WorkRef, Marker>,
}

/// The new results of a sweep.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Finished works that now wait until they are due.
    pub candidates: Vec<Candidate>,
    /// Finished works that are not asked about.
    pub skipped: Vec<Decision>,
    /// The stream's new watermark, if it moved.
    pub watermark: Option<Timestamp>,
}

impl Plan {
    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty() && self.skipped.is_empty() && self.watermark.is_none()
    }
}

/// Plans one stream of one sweep.
///
/// `observed_at` is Jobber's time of the answer if it gave one, else ours. It limits how far a record can move the
/// watermark, and age counts by it: our clock can jump.
pub fn plan(
    records: &[Record],
    known: &Known,
    rules: &Rules,
    watermark: Option<Timestamp>,
    observed_at: Timestamp,
    now: Timestamp,
) -> Plan {
    let mut newest: BTreeMap<WorkRef, &Record> = BTreeMap::new();
    for record in records {
        newest
            .entry(record.work())
            .and_modify(|seen| {
                if record.stream_at() > seen.stream_at() {
                    *seen = record;
                }
            })
            .or_insert(record);
    }

    let mut plan = Plan::default();
    for (work, record) in newest {
        match judge(record, &work, known, rules, observed_at) {
            Judgement::Nothing => {}
            Judgement::Wait { finished_at } => plan.candidates.push(Candidate {
                work,
                released_at: None,
                held_for: SignedDuration::ZERO,
                trigger: rules.trigger,
                finished_at,
                due_at: plus(finished_at, rules.delay),
                subject: record.subject(),
            }),
            Judgement::Skip { finished_at, reason, saw } => plan.skipped.push(Decision {
                work,
                released_at: None,
                held_for: SignedDuration::ZERO,
                trigger: rules.trigger,
                finished_at,
                at: now,
                outcome: Outcome::Skipped { reason },
                saw: saw.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
                subject: record.subject(),
            }),
        }
    }
    plan.watermark = records
        .iter()
        .filter_map(Record::stream_at)
        .filter(|at| *at <= observed_at)
        .max()
        .filter(|at| watermark.is_none_or(|old| *at > old));
    plan
}

/// Whether a record finished at `now_at` means the same completion as one finished at `before`. A payment is
/// known by its day: an edit on that day moves the instant but is no other payment.
fn is_same_finish(record: &Record, before: Timestamp, now_at: Timestamp) -> bool {
    let same_day = |day: Timestamp| day <= before && before < plus(day, A_DAY);
    match record {
        Record::Invoice(InvoiceRecord { status: InvoiceStatus::Paid, received_at: Some(day), .. }) => {
            before == now_at || same_day(*day)
        }
        _ => before == now_at,
    }
}

enum Judgement {
    Nothing,
    Wait { finished_at: Timestamp },
    Skip { finished_at: Timestamp, reason: SkipReason, saw: Vec<(&'static str, String)> },
}

fn judge(record: &Record, work: &WorkRef, known: &Known, rules: &Rules, observed_at: Timestamp) -> Judgement {
    let decision = known.decisions.get(work);
    let (at, proven) = match finish(record, rules.trigger, rules.include_drafts) {
        // The recheck reads fresh and judges a reopened candidate.
        Finish::Open => return Judgement::Nothing,
        Finish::Unclear { status } => {
            return match decision {
                Some(_) => Judgement::Nothing,
                None => Judgement::Skip {
                    finished_at: record.stream_at().unwrap_or(observed_at),
                    reason: SkipReason::UnknownStatus,
                    saw: vec![("status", status)],
                },
            };
        }
        Finish::At { at, proven } => (at, proven),
    };
    match decision.map(|decision| (&decision.outcome, decision.finished_at)) {
        Some((Outcome::Waiting { .. } | Outcome::Held { .. } | Outcome::Asked { .. }, _)) => {
            return Judgement::Nothing;
        }
        // However often it is finished: only the operator takes it back.
        Some((Outcome::Skipped { reason: SkipReason::DroppedByOperator }, _)) => return Judgement::Nothing,
        Some((Outcome::Skipped { reason }, finished_at))
            if is_same_finish(record, finished_at, at) && !reason.frees_key() =>
        {
            // Found too old by a clock that was wrong, it is planned again.
            let is_young = *reason == SkipReason::TooOld
                && too_old(at, SignedDuration::ZERO, rules, observed_at).is_none();
            if !is_young {
                return Judgement::Nothing;
            }
        }
        Some((Outcome::Skipped { .. }, _)) | None => {}
    }
    if let Some(marker) = known.markers.get(work) {
        return Judgement::Skip {
            finished_at: at,
            reason: SkipReason::AlreadyAsked,
            saw: vec![("asked_at", marker.at.to_string()), ("ask_id", marker.ask_id.to_string())],
        };
    }
    if proven < rules.asks_from {
        return Judgement::Skip {
            finished_at: at,
            reason: SkipReason::BeforeConnection,
            saw: vec![("finished_at", proven.to_string()), ("asks_from", rules.asks_from.to_string())],
        };
    }
    if let Some(saw) = too_old(at, SignedDuration::ZERO, rules, observed_at) {
        return Judgement::Skip { finished_at: at, reason: SkipReason::TooOld, saw };
    }
    Judgement::Wait { finished_at: at }
}

/// The values for the reason `too_old`, if it applies. Time on hold does not count.
pub(crate) fn too_old(
    finished_at: Timestamp,
    held_for: SignedDuration,
    rules: &Rules,
    now: Timestamp,
) -> Option<Vec<(&'static str, String)>> {
    (plus(plus(finished_at, rules.max_age), held_for) < now)
        .then(|| vec![("finished_at", finished_at.to_string()), ("max_age", format!("{:#}", rules.max_age))])
}

#[cfg(test)]
mod tests;
