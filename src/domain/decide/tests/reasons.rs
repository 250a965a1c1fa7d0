//! Each reason by itself: where it begins, and what it says that it saw.

use super::*;
use crate::domain::model::{Delivery, Outcome};

fn saw(verdict: &Verdict) -> Vec<(&str, &str)> {
    match verdict {
        Verdict::Skip { saw, .. } => {
            saw.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
        }
        other => panic!("not a skip: {other:?}"),
    }
}

fn visited(visits: VisitsOfJob) -> Facts {
    Facts { visits: Some(visits), ..facts() }
}

#[test]
fn a_closed_job_counts_as_done_by_its_last_visit() {
    assert!(matches!(job_verdict(&visited(VisitsOfJob::NoVisits)), Verdict::Ask(_)));
    let cancelled = job_verdict(&visited(VisitsOfJob::NoneCompleted));
    assert_eq!(reason(&cancelled), SkipReason::NoVisitCompleted);
    assert_eq!(saw(&cancelled), [("completed_visits", "0")]);
    let last = |text: &str| job_verdict(&visited(VisitsOfJob::Completed(at(text))));
    // Two weeks before the close, to the second.
    assert!(matches!(last("2026-02-24T09:00:00Z"), Verdict::Ask(_)));
    let old = last("2026-02-24T08:59:59Z");
    assert_eq!(reason(&old), SkipReason::VisitTooOld);
    assert!(saw(&old).contains(&("last_visit", "2026-02-24T08:59:59Z")), "{old:?}");
    assert!(saw(&old).contains(&("closed_at", "2026-03-10T09:00:00Z")), "{old:?}");

    let visit = Facts { visits: Some(VisitsOfJob::NoneCompleted), ..visit_facts() };
    let verdict = decide_on(&visit, Trigger::VisitCompleted, &BTreeMap::new());
    assert!(matches!(verdict, Verdict::Ask(_)), "a visit is done whatever became of the others: {verdict:?}");
}

#[test]
fn what_was_reopened_says_in_which_status_it_is() {
    let mut job = facts();
    let Record::Job(record) = &mut job.record else { panic!("no job") };
    record.status = JobStatus::ActionRequired;
    assert_eq!(saw(&job_verdict(&job)), [("status", "action_required")]);
    let mut visit = visit_facts();
    let Record::Visit(record) = &mut visit.record else { panic!("no visit") };
    record.completed_at = None;
    let verdict = decide_on(&visit, Trigger::VisitCompleted, &BTreeMap::new());
    assert_eq!(saw(&verdict), [("status", "not completed")]);
}

fn invoice(total: f64) -> Facts {
    let at = at("2026-03-10T09:00:00Z");
    let record = InvoiceRecord {
        id: EncodedId::new("i1"),
        number: "77".into(),
        client_id: Some(EncodedId::new("c1")),
        created_at: at,
        updated_at: at,
        issued_at: Some(at),
        received_at: None,
        status: InvoiceStatus::AwaitingPayment,
    };
    let mut facts = Facts { record: Record::Invoice(record), ..facts() };
    let invoice = facts.invoice.as_mut().unwrap();
    (invoice.total, invoice.allow_review_request) = (Some(total), true);
    facts
}

#[test]
fn an_invoice_over_nothing_is_no_occasion_to_ask() {
    let verdict = |total| decide_on(&invoice(total), Trigger::InvoiceCreated, &BTreeMap::new());
    assert_eq!(reason(&verdict(0.0)), SkipReason::BelowMinimum);
    assert_eq!(saw(&verdict(0.0)), [("min_total", "more than 0"), ("total", "0")]);
    assert_eq!(reason(&verdict(-5.0)), SkipReason::BelowMinimum);
    assert!(matches!(verdict(0.01), Verdict::Ask(_)));
    let mut free = facts();
    free.invoice = None;
    free.job.as_mut().unwrap().total = 0.0;
    assert!(matches!(job_verdict(&free), Verdict::Ask(_)), "a job has no total until it is invoiced");
}

#[test]
fn texts_that_were_changed_are_passed_on_as_they_were() {
    let mut facts = facts();
    facts.job.as_mut().unwrap().title = Some("Water\n Heater".into());
    let Verdict::Ask(ask) = job_verdict(&facts) else { panic!("not asked") };
    assert_eq!(ask.body.job.unwrap().title.as_deref(), Some("Water Heater"));
    let original = ("job.title".to_owned(), "Water\n Heater".to_owned());
    assert_eq!(ask.body.as_in_jobber, BTreeMap::from([original]), "and nothing that was not changed");
}

/// Asked about on the tenth of March, and not delivered yet.
fn decision() -> Decision {
    Decision {
        work: WorkRef::job(EncodedId::new("j1")),
        trigger: Trigger::JobCompleted,
        finished_at: at("2026-03-10T09:00:00Z"),
        at: at(NOW),
        outcome: Outcome::Asked { ask_id: AskId::new("ask_0"), delivery: Delivery::Queued },
        saw: BTreeMap::new(),
        released_at: None,
        held_for: SignedDuration::ZERO,
        subject: Subject::default(),
    }
}

#[test]
fn an_ask_that_waited_long_is_sent_only_if_it_still_may() {
    let rules = rules(Trigger::JobCompleted);
    let suppression = Suppression {
        what: "john@example.com".into(),
        account: None,
        note: None,
        at: at("2026-03-11T00:00:00Z"),
    };
    let judged = |facts: Option<&Facts>, suppression: Option<&Suppression>, now: &str| {
        outdated(&decision(), facts, suppression, &rules, at(now))
            .map(|(reason, saw)| (reason, saw.into_iter().collect::<Vec<_>>()))
    };
    let seen = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let fine = facts();
    let soon = "2026-03-12T00:00:00Z";
    assert_eq!(judged(Some(&fine), None, soon), None);
    assert_eq!(judged(None, None, soon), Some((SkipReason::NotFound, vec![])));

    let mut reopened = facts();
    let Record::Job(record) = &mut reopened.record else { panic!("no job") };
    record.status = JobStatus::Late;
    let found = judged(Some(&reopened), None, soon);
    assert_eq!(found, Some((SkipReason::NoLongerFinished, seen("status", "late"))));

    let with = |change: fn(&mut ClientFacts)| {
        let mut facts = facts();
        change(facts.client.as_mut().unwrap());
        judged(Some(&facts), None, soon)
    };
    let archived = with(|client| client.is_archived = true);
    assert_eq!(archived, Some((SkipReason::ClientArchived, seen("isArchived", "true"))));
    let opted_out = with(|client| client.receives_review_requests = false);
    assert_eq!(opted_out, Some((SkipReason::ClientOptedOut, seen("receivesReviewRequests", "false"))));
    let nobody = judged(Some(&Facts { client: None, ..facts() }), None, soon);
    assert_eq!(nobody, Some((SkipReason::NoClient, vec![])));
    let suppressed = judged(Some(&fine), Some(&suppression), soon);
    assert_eq!(suppressed, Some((SkipReason::Suppressed, seen("since", "2026-03-11T00:00:00Z"))));

    // A week after the work was finished, to the second.
    assert_eq!(judged(Some(&fine), None, "2026-03-17T09:00:00Z"), None);
    let old = judged(Some(&fine), None, "2026-03-17T09:00:01Z").unwrap();
    assert_eq!(old.0, SkipReason::TooOld);
    let released = Decision { released_at: Some(at("2026-03-15T00:00:00Z")), ..decision() };
    assert_eq!(stale(&released, &rules, at("2026-03-22T00:00:00Z")), None);
    assert_eq!(stale(&released, &rules, at("2026-03-22T00:00:01Z")).unwrap().0, SkipReason::TooOld);
}
