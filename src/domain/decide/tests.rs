mod reasons;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::domain::model::{
    EncodedId, InvoiceFacts, InvoiceRecord, InvoiceStatus, JobFacts, JobRecord, JobStatus, Person,
    VisitFacts, VisitRecord, WorkKind,
};
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

fn client() -> ClientFacts {
    ClientFacts {
        id: EncodedId::new("c1"),
        name: "John Smith".into(),
        first_name: "John".into(),
        is_company: false,
        is_archived: false,
        sample_data: false,
        receives_review_requests: true,
        is_lead: false,
        tags: vec![],
        phones: vec![Phone { number: "+15551234567".into(), typed: None, primary: true, sms_allowed: true }],
        emails: vec![EmailAddress { address: "john@example.com".into(), primary: true }],
    }
}

fn job_facts() -> JobFacts {
    JobFacts {
        id: EncodedId::new("j1"),
        number: 112,
        title: Some("Water Heater Installation".into()),
        line_items: vec![],
        status: JobStatus::RequiresInvoicing,
        completed_at: Some(at("2026-03-10T09:00:00Z")),
        url: "https://secure.example.com/jobs/112".into(),
        allow_review_request: true,
        total: 2500.0,
    }
}

fn facts() -> Facts {
    Facts {
        record: Record::Job(JobRecord {
            id: EncodedId::new("j1"),
            number: 112,
            client_id: EncodedId::new("c1"),
            updated_at: at("2026-03-10T09:00:01Z"),
            completed_at: Some(at("2026-03-10T09:00:00Z")),
            status: JobStatus::RequiresInvoicing,
        }),
        client: Some(client()),
        job: Some(job_facts()),
        job_ids: vec![EncodedId::new("j1")],
        visit: None,
        invoice: Some(InvoiceFacts {
            id: EncodedId::new("i1"),
            number: "77".into(),
            total: Some(2500.0),
            status: InvoiceStatus::AwaitingPayment,
            allow_review_request: false,
        }),
        address: Some("123 Main St, Springfield".into()),
        visits: None,
        crew: vec![Person { id: EncodedId::new("u1"), name: "Mike".into() }],
    }
}

fn visit_facts() -> Facts {
    Facts {
        record: Record::Visit(VisitRecord {
            id: EncodedId::new("v1"),
            job_id: EncodedId::new("j1"),
            job_number: 112,
            client_id: EncodedId::new("c1"),
            completed_at: Some(at("2026-03-10T09:00:00Z")),
        }),
        visit: Some(VisitFacts {
            id: EncodedId::new("v1"),
            title: Some("John Smith".into()),
            completed_at: Some(at("2026-03-10T09:00:00Z")),
        }),
        ..facts()
    }
}

fn candidate(facts: &Facts, trigger: Trigger) -> Candidate {
    Candidate {
        work: facts.record.work(),
        released_at: None,
        held_for: SignedDuration::ZERO,
        trigger,
        finished_at: at("2026-03-10T09:00:00Z"),
        due_at: at("2026-03-10T11:00:00Z"),
        subject: Subject::default(),
    }
}

fn decide_on(facts: &Facts, trigger: Trigger, markers: &BTreeMap<WorkRef, Marker>) -> Verdict {
    let id = AccountId::new("acc");
    let contractor = Contractor { id: &id, name: "Ace Plumbing" };
    let past = Past { markers: markers.clone(), ..Past::default() };
    decide(contractor, &candidate(facts, trigger), Some(facts), &past, &rules(trigger), at(NOW))
}

fn job_verdict(facts: &Facts) -> Verdict {
    decide_on(facts, Trigger::JobCompleted, &BTreeMap::new())
}

fn reason(verdict: &Verdict) -> SkipReason {
    match verdict {
        Verdict::Skip { reason, .. } => *reason,
        other => panic!("not a skip: {other:?}"),
    }
}

fn marker(by: WorkKind) -> Marker {
    Marker { by, ask_id: AskId::new("ask_0"), at: at("2026-03-01T00:00:00Z") }
}

#[test]
fn the_ask_of_the_design() {
    let Verdict::Ask(ask) = job_verdict(&facts()) else { panic!("not asked") };
    let json = serde_json::to_value(&ask.body).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "type": "review.requested",
            "timestamp": "2026-03-10T12:00:00Z",
            "trigger": "job_completed",
            "account": {"id": "acc", "name": "Ace Plumbing"},
            "job": {"id": "j1", "number": 112, "name": "Water Heater Installation", "line_items": [], "title": "Water Heater Installation", "status": "completed",
                    "jobber_status": "requires_invoicing", "completed_at": "2026-03-10T09:00:00Z",
                    "url": "https://secure.example.com/jobs/112"},
            "client": {"id": "c1", "name": "John Smith", "first_name": "John", "phone": "+15551234567",
                       "email": "john@example.com"},
            "property": {"address": "123 Main St, Springfield"},
            "assigned_users": [{"id": "u1", "name": "Mike"}],
            "invoice": {"id": "i1", "number": "77", "total": 2500.0, "status": "awaiting_payment"},
            "message": "Hi John! How was your Water Heater Installation with Mike?"
        })
    );
    assert_eq!(ask.subject.client_name.as_deref(), Some("John Smith"));
    assert_eq!(ask.job_ids, [EncodedId::new("j1")]);
}

#[test]
fn what_jobber_no_longer_has_is_not_asked_about() {
    let id = AccountId::new("acc");
    let verdict = decide(
        Contractor { id: &id, name: "Ace" },
        &candidate(&facts(), Trigger::JobCompleted),
        None,
        &Past::default(),
        &rules(Trigger::JobCompleted),
        at(NOW),
    );
    assert_eq!(reason(&verdict), SkipReason::NotFound);
}

#[test]
fn each_switch_in_jobber_stops_the_ask() {
    type Change = fn(&mut Facts);
    let with_client: &[(Change, SkipReason)] = &[
        (|facts| facts.client = None, SkipReason::NoClient),
        (|facts| facts.client.as_mut().unwrap().sample_data = true, SkipReason::SampleData),
        (|facts| facts.client.as_mut().unwrap().is_archived = true, SkipReason::ClientArchived),
        (|facts| facts.client.as_mut().unwrap().receives_review_requests = false, SkipReason::ClientOptedOut),
        (|facts| facts.job.as_mut().unwrap().allow_review_request = false, SkipReason::WorkOptedOut),
    ];
    for (change, expected) in with_client {
        let mut facts = facts();
        change(&mut facts);
        assert_eq!(reason(&job_verdict(&facts)), *expected);
    }
}

#[test]
fn an_invoice_trigger_looks_at_the_invoices_own_switch() {
    let facts = Facts {
        record: Record::Invoice(InvoiceRecord {
            id: EncodedId::new("i1"),
            number: "77".into(),
            client_id: None,
            created_at: at("2026-03-10T09:00:00Z"),
            updated_at: at("2026-03-10T09:00:00Z"),
            issued_at: None,
            received_at: Some(at("2026-03-10T00:00:00Z")),
            status: InvoiceStatus::Paid,
        }),
        ..facts()
    };
    let verdict = decide_on(&facts, Trigger::InvoicePaid, &BTreeMap::new());
    assert_eq!(reason(&verdict), SkipReason::WorkOptedOut);

    // The same for the switch of the job behind it.
    let mut facts = facts;
    facts.invoice.as_mut().unwrap().allow_review_request = true;
    assert!(matches!(decide_on(&facts, Trigger::InvoicePaid, &BTreeMap::new()), Verdict::Ask(_)));
    facts.job.as_mut().unwrap().allow_review_request = false;
    let verdict = decide_on(&facts, Trigger::InvoicePaid, &BTreeMap::new());
    assert_eq!(reason(&verdict), SkipReason::WorkOptedOut);
}

#[test]
fn reopened_work_is_skipped_and_work_finished_later_waits_again() {
    let mut reopened = facts();
    let Record::Job(job) = &mut reopened.record else { unreachable!() };
    job.completed_at = None;
    job.status = JobStatus::ActionRequired;
    assert_eq!(reason(&job_verdict(&reopened)), SkipReason::NoLongerFinished);

    let mut again = facts();
    let Record::Job(job) = &mut again.record else { unreachable!() };
    job.completed_at = Some(at("2026-03-10T11:00:00Z"));
    assert_eq!(
        job_verdict(&again),
        Verdict::Defer { finished_at: at("2026-03-10T11:00:00Z"), until: at("2026-03-10T13:00:00Z") }
    );
}

#[test]
fn nothing_stale_is_asked_after_an_outage() {
    let mut old = facts();
    let Record::Job(job) = &mut old.record else { unreachable!() };
    job.completed_at = Some(at("2026-03-02T09:00:00Z"));
    assert_eq!(reason(&job_verdict(&old)), SkipReason::TooOld);
}

#[test]
fn who_cannot_be_reached_is_not_asked() {
    let mut facts = facts();
    let client = facts.client.as_mut().unwrap();
    client.emails.clear();
    client.phones[0].sms_allowed = false;
    assert_eq!(reason(&job_verdict(&facts)), SkipReason::NoContact);
}

#[test]
fn the_primary_phone_that_takes_texts_is_preferred() {
    let mut facts = facts();
    let client = facts.client.as_mut().unwrap();
    client.emails.clear();
    client.phones = vec![
        Phone { number: "+1555000".into(), typed: None, primary: true, sms_allowed: false },
        Phone { number: "+1555001".into(), typed: None, primary: false, sms_allowed: true },
        Phone { number: "+1555002".into(), typed: None, primary: false, sms_allowed: true },
    ];
    let Verdict::Ask(ask) = job_verdict(&facts) else { panic!() };
    assert_eq!(ask.body.client.phone.as_deref(), Some("+1555001"));
    assert_eq!(ask.body.client.email, None);
}

#[test]
fn the_job_behind_a_visit_or_invoice_is_marked_too() {
    let job = || WorkRef::job(EncodedId::new("j1"));
    let visit = || WorkRef::visit(EncodedId::new("v1"));
    let markers = |work: WorkRef, by| BTreeMap::from([(work, marker(by))]);

    // Asked about the visit, then the trigger is switched to jobs.
    let verdict = decide_on(&facts(), Trigger::JobCompleted, &markers(job(), WorkKind::Visit));
    assert_eq!(reason(&verdict), SkipReason::AlreadyAsked);
    // Asked about the job, then the trigger is switched to visits.
    let verdict = decide_on(&visit_facts(), Trigger::VisitCompleted, &markers(job(), WorkKind::Job));
    assert_eq!(reason(&verdict), SkipReason::AlreadyAsked);
    // Asked about the invoice, then the trigger is switched to visits.
    let verdict = decide_on(&visit_facts(), Trigger::VisitCompleted, &markers(job(), WorkKind::Invoice));
    assert_eq!(reason(&verdict), SkipReason::AlreadyAsked);
    // The next visit of the same job is its own piece of work.
    let verdict = decide_on(&visit_facts(), Trigger::VisitCompleted, &markers(job(), WorkKind::Visit));
    assert!(matches!(verdict, Verdict::Ask(_)));
    // The same visit is not.
    let verdict = decide_on(&visit_facts(), Trigger::VisitCompleted, &markers(visit(), WorkKind::Visit));
    assert_eq!(reason(&verdict), SkipReason::AlreadyAsked);
}

#[test]
fn the_id_of_an_ask_is_frozen() {
    let id = ask_id(&AccountId::new("acc"), Trigger::JobCompleted, &WorkRef::job(EncodedId::new("j1")));
    assert_eq!(id.as_str(), "ask_9109f3ed2d656ea80002f6ee95825f58");
}

proptest! {
    #[test]
    fn ids_differ_when_anything_differs(a in "[a-c]{1,3}", b in "[a-c]{1,3}", c in "[a-c]{1,3}", d in "[a-c]{1,3}") {
        let id = |account: &str, work: &str| {
            ask_id(&AccountId::new(account), Trigger::JobCompleted, &WorkRef::job(EncodedId::new(work)))
        };
        prop_assert_eq!(id(&a, &b) == id(&c, &d), a == c && b == d);
    }
}

fn decide_by(policy: Policy, facts: &Facts, past: &Past) -> Verdict {
    let id = AccountId::new("acc");
    let contractor = Contractor { id: &id, name: "Ace Plumbing" };
    let rules = Rules { policy: Arc::new(policy), ..rules(Trigger::JobCompleted) };
    decide(contractor, &candidate(facts, Trigger::JobCompleted), Some(facts), past, &rules, at(NOW))
}

fn with_client(change: impl FnOnce(&mut ClientFacts)) -> Facts {
    let mut facts = facts();
    change(facts.client.as_mut().unwrap());
    facts
}

#[test]
fn who_is_not_wanted_is_not_asked_and_the_record_says_what_was_seen() {
    let policy = |change: fn(&mut Policy)| {
        let mut policy = Policy::default();
        change(&mut policy);
        policy
    };
    let tagged = with_client(|client| client.tags = vec!["VIP".into(), " No-Review ".into()]);
    let lead = with_client(|client| client.is_lead = true);
    let company = with_client(|client| client.is_company = true);
    let cases: [(Policy, &Facts, Option<SkipReason>); 12] = [
        (policy(|policy| policy.never_tag = Some("no-review".into())), &tagged, Some(SkipReason::Tagged)),
        (Policy::default(), &tagged, None),
        (Policy::default(), &lead, Some(SkipReason::ClientIsLead)),
        (policy(|policy| policy.clients = KindOfClients::People), &company, Some(SkipReason::KindOfClient)),
        (
            policy(|policy| policy.clients = KindOfClients::Companies),
            &facts(),
            Some(SkipReason::KindOfClient),
        ),
        (policy(|policy| policy.clients = KindOfClients::Companies), &company, None),
        (policy(|policy| policy.not_named = vec!["WATER".into()]), &facts(), Some(SkipReason::TitleExcluded)),
        (policy(|policy| policy.only_named = vec!["lawn".into()]), &facts(), Some(SkipReason::TitleExcluded)),
        (policy(|policy| policy.only_named = vec!["lawn".into(), "heater".into()]), &facts(), None),
        (policy(|policy| policy.min_total = Some(2500.5)), &facts(), Some(SkipReason::BelowMinimum)),
        (policy(|policy| policy.min_total = Some(2500.0)), &facts(), None),
        (Policy::default(), &facts(), None),
    ];
    for (index, (policy, facts, expected)) in cases.into_iter().enumerate() {
        match (decide_by(policy, facts, &Past::default()), expected) {
            (Verdict::Ask(_), None) => {}
            (Verdict::Skip { reason, saw, .. }, Some(expected)) => {
                assert_eq!(reason, expected, "case {index}");
                assert!(!saw.is_empty(), "case {index}");
            }
            (verdict, expected) => panic!("case {index}: {expected:?}, but {verdict:?}"),
        }
    }
}

#[test]
fn a_person_that_was_asked_rests_for_the_cooldown() {
    let contacted = Contacted {
        account: AccountId::new("acc"),
        ask_id: AskId::new("ask_0"),
        at: at("2026-01-01T00:00:00Z"),
    };
    let past = Past { contacted: Some(contacted), ..Past::default() };
    let after = |days: i64| Policy { cooldown: SignedDuration::from_hours(24 * days), ..Policy::default() };
    let Verdict::Skip { reason, saw, .. } = decide_by(after(180), &facts(), &past) else { panic!("asked") };
    assert_eq!(reason, SkipReason::AskedRecently);
    assert_eq!(saw["may_be_asked_from"], "2026-06-30T00:00:00Z");
    assert!(matches!(decide_by(after(30), &facts(), &past), Verdict::Ask(_)));
    assert!(matches!(decide_by(after(0), &facts(), &past), Verdict::Ask(_)));
}

#[test]
fn a_client_on_hold_waits() {
    let policy = Policy { hold_tag: Some("hold-review".into()), ..Policy::default() };
    let held = with_client(|client| client.tags = vec!["hold-review".into()]);
    let verdict = decide_by(policy.clone(), &held, &Past::default());
    let Verdict::Defer { until, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!(until, plus(at(NOW), SignedDuration::from_hours(1)));
    assert!(matches!(decide_by(policy, &facts(), &Past::default()), Verdict::Ask(_)));
}

#[test]
fn an_ask_names_every_way_to_reach_the_customer() {
    let Verdict::Ask(ask) = decide_by(Policy::default(), &facts(), &Past::default()) else { panic!() };
    assert_eq!(ask.contacts, contacts_of(facts().client.as_ref().unwrap()));
    assert!(!ask.contacts.is_empty());
}

/// What the decision looks at, as plain flags.
#[derive(Debug, Clone)]
struct World {
    is_gone: bool,
    is_open: bool,
    is_asked: bool,
    /// Three hours are added.
    days_old: i64,
    has_client: bool,
    sample: bool,
    archived: bool,
    opted_out: bool,
    work_opted_out: bool,
    suppressed: bool,
    never_tag: bool,
    lead: bool,
    company: bool,
    title: &'static str,
    total: f64,
    takes_texts: bool,
    has_email: bool,
    asked_days_ago: Option<i64>,
    held: bool,
}

/// The first reason that applies, from top to bottom. `None` means ask or wait.
fn obvious(world: &World) -> Option<SkipReason> {
    let rules = [
        (world.is_gone, SkipReason::NotFound),
        (world.is_open, SkipReason::NoLongerFinished),
        (world.is_asked, SkipReason::AlreadyAsked),
        (world.days_old >= 7, SkipReason::TooOld),
        (!world.has_client, SkipReason::NoClient),
        (world.sample, SkipReason::SampleData),
        (world.archived, SkipReason::ClientArchived),
        (world.opted_out, SkipReason::ClientOptedOut),
        (world.work_opted_out, SkipReason::WorkOptedOut),
        (world.suppressed, SkipReason::Suppressed),
        (world.never_tag, SkipReason::Tagged),
        (world.lead, SkipReason::ClientIsLead),
        (world.company, SkipReason::KindOfClient),
        (world.title == "warranty visit", SkipReason::TitleExcluded),
        (world.total < 100.0, SkipReason::BelowMinimum),
        (!world.takes_texts && !world.has_email, SkipReason::NoContact),
        (world.asked_days_ago.is_some_and(|days| days < 180), SkipReason::AskedRecently),
    ];
    rules.into_iter().find(|(holds, _)| *holds).map(|(_, reason)| reason)
}

fn as_facts(world: &World) -> Facts {
    let mut facts = facts();
    let finished = crate::clock::minus(at(NOW), SignedDuration::from_hours(24 * world.days_old + 3));
    let Record::Job(record) = &mut facts.record else { unreachable!() };
    record.completed_at = Some(finished);
    if world.is_open {
        (record.completed_at, record.status) = (None, JobStatus::ActionRequired);
    }
    let job = facts.job.as_mut().unwrap();
    (job.title, job.total) = (Some(world.title.to_owned()), world.total);
    job.allow_review_request = !world.work_opted_out;
    facts.invoice = None;
    let mut client = client();
    client.sample_data = world.sample;
    client.is_archived = world.archived;
    client.receives_review_requests = !world.opted_out;
    client.is_lead = world.lead;
    client.is_company = world.company;
    client.phones[0].sms_allowed = world.takes_texts;
    client.phones.truncate(1);
    if !world.has_email {
        client.emails.clear();
    }
    for (has, tag) in [(world.never_tag, "no-review"), (world.held, "hold-review")] {
        if has {
            client.tags.push(tag.to_owned());
        }
    }
    facts.client = world.has_client.then_some(client);
    facts
}

fn any_world() -> impl proptest::strategy::Strategy<Value = World> {
    use proptest::prelude::*;

    // Most flags are rarely set: otherwise the first reasons would hide the others.
    let rarely = || prop::bool::weighted(0.08);
    let switches = prop::array::uniform13(rarely());
    let title = prop::sample::select(vec!["Gutter Cleaning", "warranty visit", "Lawn care"]);
    (
        switches,
        0_i64..9,
        title,
        50.0..2000.0_f64,
        any::<bool>(),
        any::<bool>(),
        prop::option::weighted(0.3, 0_i64..400),
    )
        .prop_map(|(switches, days_old, title, total, takes_texts, has_email, asked_days_ago)| {
            let [
                is_gone,
                is_open,
                is_asked,
                no_client,
                sample,
                archived,
                opted_out,
                work_opted_out,
                suppressed,
                never_tag,
                lead,
                company,
                held,
            ] = switches;
            World {
                is_gone,
                is_open,
                is_asked,
                days_old,
                has_client: !no_client,
                sample,
                archived,
                opted_out,
                work_opted_out,
                suppressed,
                never_tag,
                lead,
                company,
                title,
                total,
                takes_texts,
                has_email,
                asked_days_ago,
                held,
            }
        })
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(3000))]

    /// Compares with a list that is read from top to bottom: the same reason, or else an ask or, on hold, a
    /// wait.
    #[test]
    fn the_decision_is_the_obvious_one(world in any_world()) {
        let id = AccountId::new("acc");
        let contractor = Contractor { id: &id, name: "Ace Plumbing" };
        let policy = Policy {
            cooldown: SignedDuration::from_hours(180 * 24),
            never_tag: Some("no-review".into()),
            hold_tag: Some("hold-review".into()),
            min_total: Some(100.0),
            not_named: vec!["warranty".into()],
            clients: KindOfClients::People,
            ..Policy::default()
        };
        let rules = Rules { policy: Arc::new(policy), ..rules(Trigger::JobCompleted) };
        let facts = as_facts(&world);
        let candidate = candidate(&facts, Trigger::JobCompleted);
        let mut past = Past::default();
        if world.is_asked {
            past.markers.insert(candidate.work.clone(), marker(WorkKind::Job));
        }
        past.contacted = world.asked_days_ago.map(|days| Contacted {
            account: id.clone(),
            ask_id: AskId::new("ask_0"),
            at: crate::clock::minus(at(NOW), SignedDuration::from_hours(24 * days)),
        });
        past.suppression = world.suppressed.then(|| Suppression {
            what: "john@example.com".into(), account: None, note: None, at: at(NOW),
        });
        let facts = (!world.is_gone).then_some(&facts);
        let decided = |now| decide(contractor, &candidate, facts, &past, &rules, now);
        let verdict = decided(at(NOW));
        proptest::prop_assert_eq!(&verdict, &decided(at(NOW)), "the same twice");
        match (obvious(&world), verdict) {
            (Some(expected), Verdict::Skip { reason, .. }) => proptest::prop_assert_eq!(reason, expected),
            (None, Verdict::Defer { .. }) => proptest::prop_assert!(world.held),
            (None, Verdict::Ask(ask)) => {
                proptest::prop_assert!(!world.held);
                proptest::prop_assert!(ask.body.client.phone.is_some() || ask.body.client.email.is_some());
            }
            (expected, verdict) => proptest::prop_assert!(false, "{expected:?}, but {verdict:?}"),
        }
    }
}

#[test]
fn a_template_can_build_on_the_built_in_sentence() {
    let texts = Texts::new(Some("{{ message }} - {{ account.name }}"), None).unwrap();
    let id = AccountId::new("acc");
    let contractor = Contractor { id: &id, name: "Ace Plumbing" };
    let rules = Rules { texts, ..rules(Trigger::JobCompleted) };
    let asked = preview(contractor, Trigger::JobCompleted, &facts(), &rules, at(NOW)).unwrap();
    assert_eq!(asked.message, "Hi John! How was your Water Heater Installation with Mike? - Ace Plumbing");
}
