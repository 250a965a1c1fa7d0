use proptest::prelude::*;

use super::*;
use crate::domain::model::{EncodedId, InvoiceStatus, VisitRecord, WorkKind};
use std::sync::Arc;

use crate::domain::message::Texts;
use crate::domain::rules::{LocalHours, Respected};

const NOW: &str = "2026-03-10T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn rules(trigger: Trigger) -> Rules {
    Rules {
        trigger,
        delay: SignedDuration::from_hours(2),
        max_age: SignedDuration::from_hours(7 * 24),
        include_drafts: false,
        asks_from: at("2026-03-01T00:00:00Z"),
        hours: LocalHours::always(),
        respected: Respected::ALL,
        policy: Arc::default(),
        texts: Texts::default(),
    }
}

fn job(id: &str, completed_at: Option<&str>, status: JobStatus) -> Record {
    Record::Job(JobRecord {
        id: EncodedId::new(id),
        number: 1,
        client_id: EncodedId::new("c1"),
        updated_at: completed_at.map_or(at("2026-03-10T09:00:00Z"), at),
        completed_at: completed_at.map(at),
        status,
    })
}

fn closed(id: &str, completed_at: &str) -> Record {
    job(id, Some(completed_at), JobStatus::RequiresInvoicing)
}

fn visit(id: &str, completed_at: Option<&str>) -> Record {
    Record::Visit(VisitRecord {
        id: EncodedId::new(id),
        job_id: EncodedId::new("j1"),
        job_number: 1,
        client_id: EncodedId::new("c1"),
        completed_at: completed_at.map(at),
    })
}

fn invoice(status: InvoiceStatus) -> InvoiceRecord {
    InvoiceRecord {
        id: EncodedId::new("i1"),
        number: "77".into(),
        client_id: Some(EncodedId::new("c1")),
        created_at: at("2026-03-09T10:00:00Z"),
        updated_at: at("2026-03-10T10:00:00Z"),
        issued_at: None,
        received_at: None,
        status,
    }
}

fn plan_now(records: &[Record], known: &Known, rules: &Rules) -> Plan {
    plan(records, known, rules, None, at(NOW), at(NOW))
}

/// What the store would know after `plan` was committed.
fn remember(known: &mut Known, plan: &Plan) {
    for candidate in &plan.candidates {
        known.decisions.insert(
            candidate.work.clone(),
            Decision {
                work: candidate.work.clone(),
                released_at: None,
                held_for: SignedDuration::ZERO,
                trigger: candidate.trigger,
                finished_at: candidate.finished_at,
                at: at(NOW),
                outcome: Outcome::Waiting { due_at: candidate.due_at },
                saw: BTreeMap::new(),
                subject: candidate.subject.clone(),
            },
        );
    }
    for skipped in &plan.skipped {
        known.decisions.insert(skipped.work.clone(), skipped.clone());
    }
}

fn skipped_with(record: &Record, reason: SkipReason) -> Known {
    let Finish::At { at: finished_at, .. } = finish(record, Trigger::JobCompleted, false) else {
        panic!("not finished")
    };
    let decision = Decision {
        work: record.work(),
        released_at: None,
        held_for: SignedDuration::ZERO,
        trigger: Trigger::JobCompleted,
        finished_at,
        at: at(NOW),
        outcome: Outcome::Skipped { reason },
        saw: BTreeMap::new(),
        subject: record.subject(),
    };
    Known { decisions: BTreeMap::from([(record.work(), decision)]), markers: BTreeMap::new() }
}

#[test]
fn a_closed_job_is_a_candidate_after_the_delay() {
    let plan =
        plan_now(&[closed("j1", "2026-03-10T11:00:00Z")], &Known::default(), &rules(Trigger::JobCompleted));
    assert_eq!(plan.candidates.len(), 1);
    assert_eq!(plan.candidates[0].due_at, at("2026-03-10T13:00:00Z"));
    assert_eq!(plan.watermark, Some(at("2026-03-10T11:00:00Z")));
    assert!(plan.skipped.is_empty());
}

#[test]
fn requires_invoicing_without_completed_at_is_an_open_job() {
    let open = job("j1", None, JobStatus::RequiresInvoicing);
    assert_eq!(finish(&open, Trigger::JobCompleted, false), Finish::Open);
}

#[test]
fn a_reopened_job_that_kept_its_completed_at_is_open() {
    for status in [JobStatus::ActionRequired, JobStatus::Active, JobStatus::Late, JobStatus::Unscheduled] {
        let reopened = job("j1", Some("2026-03-10T11:00:00Z"), status);
        assert_eq!(finish(&reopened, Trigger::JobCompleted, false), Finish::Open);
    }
}

#[test]
fn an_unknown_status_is_skipped_with_its_name_and_looked_at_again_once_it_is_known() {
    let rules = rules(Trigger::JobCompleted);
    let strange = job("j1", Some("2026-03-10T11:00:00Z"), JobStatus::Unknown("paused".into()));
    let mut known = Known::default();
    let first = plan_now(std::slice::from_ref(&strange), &known, &rules);
    assert_eq!(first.skipped.len(), 1);
    assert_eq!(first.skipped[0].outcome, Outcome::Skipped { reason: SkipReason::UnknownStatus });
    assert_eq!(first.skipped[0].saw["status"], "paused");
    remember(&mut known, &first);
    assert!(plan_now(&[strange], &known, &rules).skipped.is_empty());
    assert_eq!(plan_now(&[closed("j1", "2026-03-10T11:00:00Z")], &known, &rules).candidates.len(), 1);
}

#[test]
fn work_from_before_the_connection_is_never_asked_about() {
    let rules = Rules { asks_from: at("2026-03-10T11:30:00Z"), ..rules(Trigger::JobCompleted) };
    let plan = plan_now(
        &[closed("old", "2026-03-10T11:00:00Z"), closed("new", "2026-03-10T11:45:00Z")],
        &Known::default(),
        &rules,
    );
    assert_eq!(plan.candidates.len(), 1);
    assert_eq!(plan.candidates[0].work, WorkRef::job(EncodedId::new("new")));
    assert_eq!(plan.skipped[0].outcome, Outcome::Skipped { reason: SkipReason::BeforeConnection });
}

#[test]
fn stale_work_is_skipped() {
    let plan =
        plan_now(&[closed("j1", "2026-03-03T11:59:59Z")], &Known::default(), &rules(Trigger::JobCompleted));
    assert_eq!(plan.skipped[0].outcome, Outcome::Skipped { reason: SkipReason::TooOld });
    let plan =
        plan_now(&[closed("j1", "2026-03-03T12:00:00Z")], &Known::default(), &rules(Trigger::JobCompleted));
    assert_eq!(plan.candidates.len(), 1);
}

#[test]
fn what_the_operator_dropped_stays_dropped_however_often_it_is_finished() {
    let before = closed("j1", "2026-03-10T09:00:00Z");
    let again = closed("j1", "2026-03-10T11:30:00Z");
    let plan_of = |reason| {
        let known = skipped_with(&before, reason);
        plan_now(std::slice::from_ref(&again), &known, &rules(Trigger::JobCompleted)).candidates.len()
    };
    assert_eq!(plan_of(SkipReason::DroppedByOperator), 0);
    assert_eq!(plan_of(SkipReason::NoContact), 1, "it was finished anew");
}

#[test]
fn a_skipped_work_comes_back_only_when_it_is_finished_again() {
    let rules = rules(Trigger::JobCompleted);
    let before = closed("j1", "2026-03-10T10:00:00Z");
    let again = closed("j1", "2026-03-10T11:00:00Z");
    let known = skipped_with(&before, SkipReason::ClientOptedOut);
    assert!(plan_now(std::slice::from_ref(&before), &known, &rules).candidates.is_empty());
    assert_eq!(plan_now(&[again], &known, &rules).candidates.len(), 1);

    let reopened = skipped_with(&before, SkipReason::NoLongerFinished);
    assert_eq!(plan_now(&[before], &reopened, &rules).candidates.len(), 1, "its key was freed");
}

#[test]
fn a_marker_without_a_decision_still_stops_the_work() {
    let record = closed("j1", "2026-03-10T11:00:00Z");
    let marker = Marker {
        by: WorkKind::Visit,
        ask_id: crate::domain::model::AskId::new("ask_1"),
        at: at("2026-03-09T00:00:00Z"),
    };
    let known = Known { decisions: BTreeMap::new(), markers: BTreeMap::from([(record.work(), marker)]) };
    let plan = plan_now(&[record], &known, &rules(Trigger::JobCompleted));
    assert_eq!(plan.skipped[0].outcome, Outcome::Skipped { reason: SkipReason::AlreadyAsked });
}

#[test]
fn a_visit_from_the_future_does_not_move_the_watermark() {
    let records = [visit("v1", Some("2026-03-10T11:00:00Z")), visit("v2", Some("2027-01-01T00:00:00Z"))];
    let plan = plan_now(&records, &Known::default(), &rules(Trigger::VisitCompleted));
    assert_eq!(plan.watermark, Some(at("2026-03-10T11:00:00Z")));
    assert_eq!(plan.candidates.len(), 2);
}

#[test]
fn of_two_sightings_on_shifting_pages_the_newer_counts() {
    let older = job("j1", None, JobStatus::Active);
    let newer = closed("j1", "2026-03-10T11:00:00Z");
    for records in [[older.clone(), newer.clone()], [newer, older]] {
        let plan = plan_now(&records, &Known::default(), &rules(Trigger::JobCompleted));
        assert_eq!(plan.candidates.len(), 1);
    }
}

#[test]
fn a_created_invoice_counts_once_it_is_no_draft() {
    let draft = Record::Invoice(invoice(InvoiceStatus::Draft));
    assert_eq!(finish(&draft, Trigger::InvoiceCreated, false), Finish::Open);
    assert_eq!(
        finish(&draft, Trigger::InvoiceCreated, true),
        Finish::At { at: at("2026-03-09T10:00:00Z"), proven: at("2026-03-09T10:00:00Z") }
    );
    let issued = Record::Invoice(InvoiceRecord {
        issued_at: Some(at("2026-03-10T08:00:00Z")),
        ..invoice(InvoiceStatus::AwaitingPayment)
    });
    assert_eq!(
        finish(&issued, Trigger::InvoiceCreated, false),
        Finish::At { at: at("2026-03-10T08:00:00Z"), proven: at("2026-03-09T10:00:00Z") }
    );
    let dated_ahead = Record::Invoice(InvoiceRecord {
        issued_at: Some(at("2027-03-10T08:00:00Z")),
        ..invoice(InvoiceStatus::AwaitingPayment)
    });
    assert_eq!(
        finish(&dated_ahead, Trigger::InvoiceCreated, false),
        Finish::At { at: at("2026-03-10T10:00:00Z"), proven: at("2026-03-09T10:00:00Z") }
    );
    let voided = Record::Invoice(invoice(InvoiceStatus::Voided));
    assert_eq!(finish(&voided, Trigger::InvoiceCreated, true), Finish::Open);
}

#[test]
fn an_empty_plan_has_nothing_to_store() {
    let plan = Plan::default();
    assert!(plan.is_empty());
    assert!(!Plan { watermark: Some(at(NOW)), ..plan.clone() }.is_empty());
    let all =
        plan_now(&[closed("j1", "2026-03-10T09:00:00Z")], &Known::default(), &rules(Trigger::JobCompleted));
    let candidates = Plan { candidates: all.candidates.clone(), ..Plan::default() };
    assert!(!all.candidates.is_empty() && !candidates.is_empty());
}

#[test]
fn paid_is_the_status_and_nothing_else() {
    let unknown = Record::Invoice(invoice(InvoiceStatus::Unknown("refunded".into())));
    let unclear = Finish::Unclear { status: "refunded".into() };
    assert_eq!(finish(&unknown, Trigger::InvoicePaid, true), unclear);
    for status in [
        InvoiceStatus::Draft,
        InvoiceStatus::AwaitingPayment,
        InvoiceStatus::PastDue,
        InvoiceStatus::BadDebt,
        InvoiceStatus::SentNotDue,
        InvoiceStatus::Voided,
    ] {
        let record = Record::Invoice(InvoiceRecord {
            received_at: Some(at("2026-03-10T00:00:00Z")),
            ..invoice(status)
        });
        assert_eq!(finish(&record, Trigger::InvoicePaid, true), Finish::Open);
    }
    let paid = |received_at: Option<&str>, updated_at: &str| {
        let record = Record::Invoice(InvoiceRecord {
            received_at: received_at.map(at),
            updated_at: at(updated_at),
            ..invoice(InvoiceStatus::Paid)
        });
        match finish(&record, Trigger::InvoicePaid, false) {
            Finish::At { at, proven } => (at, proven),
            other => panic!("{other:?}"),
        }
    };
    let paid_today = paid(Some("2026-03-10T00:00:00Z"), "2026-03-10T10:00:00Z");
    assert_eq!(paid_today, (at("2026-03-10T10:00:00Z"), at("2026-03-10T10:00:00Z")));
    let edited_later = paid(Some("2026-03-05T00:00:00Z"), "2026-03-10T10:00:00Z");
    assert_eq!(edited_later, (at("2026-03-05T00:00:00Z"), at("2026-03-06T00:00:00Z")));
    let at_its_end = paid(Some("2026-03-09T10:00:00Z"), "2026-03-10T10:00:00Z");
    assert_eq!(at_its_end.0, at("2026-03-09T10:00:00Z"), "a change after the day is another one");
    let unknown_day = paid(None, "2026-03-10T10:00:00Z");
    assert_eq!(unknown_day, (at("2026-03-10T10:00:00Z"), at("2026-03-09T10:00:00Z")));
}

#[test]
fn an_invoice_paid_before_the_connections_day_and_edited_after_it_stays_unasked() {
    let rules = Rules { asks_from: at("2026-03-08T15:00:00Z"), ..rules(Trigger::InvoicePaid) };
    let edited = Record::Invoice(InvoiceRecord {
        created_at: at("2026-03-01T10:00:00Z"),
        received_at: Some(at("2026-03-07T00:00:00Z")),
        ..invoice(InvoiceStatus::Paid)
    });
    let plan = plan_now(&[edited], &Known::default(), &rules);
    assert_eq!(plan.skipped[0].outcome, Outcome::Skipped { reason: SkipReason::BeforeConnection });
}

#[test]
fn an_edit_on_the_day_of_the_payment_is_no_other_payment() {
    let rules = Rules { asks_from: at("2026-03-10T11:00:00Z"), ..rules(Trigger::InvoicePaid) };
    let paid_in_the_morning = InvoiceRecord {
        received_at: Some(at("2026-03-10T00:00:00Z")),
        updated_at: at("2026-03-10T09:00:00Z"),
        ..invoice(InvoiceStatus::Paid)
    };
    let mut known = Known::default();
    let first = plan_now(&[Record::Invoice(paid_in_the_morning.clone())], &known, &rules);
    assert_eq!(first.skipped[0].outcome, Outcome::Skipped { reason: SkipReason::BeforeConnection });
    remember(&mut known, &first);
    let edited = InvoiceRecord { updated_at: at("2026-03-10T11:30:00Z"), ..paid_in_the_morning.clone() };
    assert!(plan_now(&[Record::Invoice(edited)], &known, &rules).candidates.is_empty());
    // Paid again on another day: that is another payment.
    let again = InvoiceRecord {
        received_at: Some(at("2026-03-11T00:00:00Z")),
        updated_at: at("2026-03-11T09:00:00Z"),
        ..paid_in_the_morning
    };
    let later = at("2026-03-11T12:00:00Z");
    let plan = plan(&[Record::Invoice(again)], &known, &rules, None, later, later);
    assert_eq!(plan.candidates.len(), 1);
}

#[test]
fn a_sweep_starts_an_overlap_before_its_watermark_or_the_connection() {
    let rules = rules(Trigger::JobCompleted);
    let early = at("2026-03-04T00:00:00Z");
    assert_eq!(start_of(None, &rules, early), at("2026-02-28T23:50:00Z"));
    assert_eq!(start_of(Some(at(NOW)), &rules, at(NOW)), at("2026-03-10T11:50:00Z"));
    // What has been too old for long is not read, however old the watermark is.
    let late = plus(at(NOW), SignedDuration::from_hours(24 * 300));
    assert_eq!(
        start_of(Some(at(NOW)), &rules, late),
        // Its 300 days, without a week, 30 days and ten minutes.
        at("2026-11-28T11:50:00Z")
    );
    assert_eq!(reconcile_start(at(NOW), &rules), at("2026-03-03T12:00:00Z"));
}

fn any_instant() -> impl Strategy<Value = Timestamp> {
    // Two weeks around NOW in steps of ten minutes, so that instants coincide.
    (-1440_i64..576).prop_map(|step| plus(at(NOW), SignedDuration::from_mins(10 * step)))
}

fn any_job() -> impl Strategy<Value = Record> {
    let status = prop_oneof![
        4 => Just(JobStatus::RequiresInvoicing),
        4 => Just(JobStatus::Archived),
        2 => Just(JobStatus::Active),
        1 => Just(JobStatus::Unknown("paused".into())),
    ];
    (0..12_u8, any_instant(), prop::option::weighted(0.8, any_instant()), status).prop_map(
        |(id, updated_at, completed_at, status)| {
            Record::Job(JobRecord {
                id: EncodedId::new(format!("j{id}")),
                number: i64::from(id),
                client_id: EncodedId::new("c1"),
                updated_at,
                completed_at,
                status,
            })
        },
    )
}

fn any_visit() -> impl Strategy<Value = Record> {
    (0..12_u8, prop::option::weighted(0.8, any_instant())).prop_map(|(id, completed_at)| {
        Record::Visit(VisitRecord {
            id: EncodedId::new(format!("v{id}")),
            job_id: EncodedId::new("j1"),
            job_number: 1,
            client_id: EncodedId::new("c1"),
            completed_at,
        })
    })
}

fn any_invoice() -> impl Strategy<Value = Record> {
    let status = prop_oneof![
        Just(InvoiceStatus::Draft),
        Just(InvoiceStatus::Paid),
        Just(InvoiceStatus::AwaitingPayment),
        Just(InvoiceStatus::Voided),
        Just(InvoiceStatus::Unknown("shared".into())),
    ];
    let optional = || prop::option::of(any_instant());
    (0..12_u8, any_instant(), any_instant(), optional(), optional(), status).prop_map(
        |(id, created_at, updated_at, issued_at, received_at, status)| {
            Record::Invoice(InvoiceRecord {
                id: EncodedId::new(format!("i{id}")),
                number: id.to_string(),
                client_id: None,
                created_at,
                updated_at: updated_at.max(created_at),
                issued_at,
                received_at,
                status,
            })
        },
    )
}

fn any_stream() -> impl Strategy<Value = (Trigger, Vec<Record>)> {
    prop_oneof![
        (Just(Trigger::JobCompleted), prop::collection::vec(any_job(), 0..40)),
        (Just(Trigger::VisitCompleted), prop::collection::vec(any_visit(), 0..40)),
        (Just(Trigger::InvoiceCreated), prop::collection::vec(any_invoice(), 0..40)),
        (Just(Trigger::InvoicePaid), prop::collection::vec(any_invoice(), 0..40)),
    ]
}

/// One record per work, so that "the newer sighting" does not depend on a tie.
fn distinct(records: Vec<Record>) -> Vec<Record> {
    let by_work: BTreeMap<WorkRef, Record> =
        records.into_iter().map(|record| (record.work(), record)).collect();
    by_work.into_values().collect()
}

proptest! {
    #[test]
    fn every_finished_record_ends_in_exactly_one_place((trigger, records) in any_stream()) {
        let rules = rules(trigger);
        let records = distinct(records);
        let plan = plan_now(&records, &Known::default(), &rules);
        for record in &records {
            let places = plan.candidates.iter().filter(|candidate| candidate.work == record.work()).count()
                + plan.skipped.iter().filter(|decision| decision.work == record.work()).count();
            let expected = usize::from(finish(record, trigger, false) != Finish::Open);
            prop_assert_eq!(places, expected);
        }
    }

    #[test]
    fn the_same_page_twice_gives_an_empty_second_plan((trigger, records) in any_stream()) {
        let rules = rules(trigger);
        let records = distinct(records);
        let mut known = Known::default();
        let first = plan_now(&records, &known, &rules);
        remember(&mut known, &first);
        let second = plan(&records, &known, &rules, first.watermark, at(NOW), at(NOW));
        prop_assert!(second.is_empty(), "{:?}", second);
    }

    #[test]
    fn the_order_of_a_page_does_not_matter(
        (trigger, records, shuffled) in any_stream().prop_flat_map(|(trigger, records)| {
            let records = distinct(records);
            (Just(trigger), Just(records.clone()), Just(records).prop_shuffle())
        })
    ) {
        let rules = rules(trigger);
        prop_assert_eq!(
            plan_now(&records, &Known::default(), &rules),
            plan_now(&shuffled, &Known::default(), &rules)
        );
    }

    #[test]
    fn the_watermark_never_goes_back_nor_past_the_answer(
        (trigger, records) in any_stream(), old in any_instant(),
    ) {
        let plan = plan(&records, &Known::default(), &rules(trigger), Some(old), at(NOW), at(NOW));
        if let Some(new) = plan.watermark {
            prop_assert!(new > old);
            prop_assert!(new <= at(NOW));
        }
    }

    #[test]
    fn nobody_is_a_candidate_for_work_from_before_the_connection(
        (trigger, records) in any_stream(), asks_from in any_instant(),
    ) {
        let rules = Rules { asks_from, ..rules(trigger) };
        let records = distinct(records);
        let plan = plan_now(&records, &Known::default(), &rules);
        for record in &records {
            let Finish::At { at: finished_at, proven } = finish(record, trigger, false) else { continue };
            let candidate = plan.candidates.iter().find(|candidate| candidate.work == record.work());
            let fresh = plus(finished_at, rules.max_age) >= at(NOW);
            prop_assert_eq!(candidate.is_some(), fresh && proven >= asks_from);
            if let Some(candidate) = candidate {
                prop_assert_eq!(candidate.due_at, plus(finished_at, rules.delay));
            }
        }
    }
}
