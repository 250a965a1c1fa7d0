use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::model::{AccountId, AskId, Delivery, EncodedId, Subject, Trigger, WorkRef};

fn at(minutes: i64) -> Timestamp {
    "2026-03-10T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minutes)
}

fn account(name: &str) -> AccountView {
    AccountView {
        account: Account::new(
            AccountId::new(name),
            name.to_owned(),
            name.to_owned(),
            Trigger::JobCompleted,
            at(-100_000),
        ),
        health: Health { last_success: Some(at(0)), ..Health::default() },
        dead: 0,
        weekly: None,
        burst: None,
    }
}

/// Asks ten minutes after completion, at any hour.
fn rules() -> Rules {
    Rules {
        trigger: Trigger::JobCompleted,
        delay: SignedDuration::from_mins(10),
        max_age: SignedDuration::from_hours(24 * 7),
        include_drafts: false,
        asks_from: Timestamp::UNIX_EPOCH,
        hours: crate::domain::rules::LocalHours::always(),
        respected: crate::domain::rules::Respected::ALL,
        policy: std::sync::Arc::default(),
        texts: crate::domain::message::Texts::default(),
    }
}

fn view(accounts: Vec<AccountView>) -> View {
    View {
        connected: accounts.iter().filter(|view| view.account.connection.is_connected()).count(),
        accounts,
        receivers: vec![],
        draft_app: false,
        version_ends: "2027-07-27T00:00:00Z".parse().unwrap(),
        ahead: None,
        is_stalled: false,
        faults: vec![],
        rules: vec![],
        piles: vec![],
        refused: BTreeMap::new(),
    }
}

fn kinds(view: &View, minutes: i64) -> Vec<AlertKind> {
    conditions(view, at(minutes)).iter().map(|alert| alert.kind).collect()
}

fn lost(name: &str, since: i64) -> AccountView {
    let mut view = account(name);
    view.account.connection =
        Connection::NeedsAuthorization { reason: LostReason::DisconnectedInJobber, since: at(since) };
    view
}

#[test]
fn what_needs_a_human_is_told_at_once_and_what_heals_is_given_time() {
    assert_eq!(kinds(&view(vec![account("a")]), 0), []);
    assert_eq!(kinds(&view(vec![lost("a", 0)]), 0), [AlertKind::ConnectionLost]);
    let mut failing = account("a");
    failing.health.failing_since = Some(at(0));
    failing.health.last_error = Some("HTTP 503".into());
    assert_eq!(kinds(&view(vec![failing.clone()]), 29), []);
    assert_eq!(kinds(&view(vec![failing.clone()]), 30), [AlertKind::JobberUnreachable]);
    failing.health.needs_operator = true;
    assert_eq!(kinds(&view(vec![failing.clone()]), 0), [AlertKind::NeedsOperator]);
    failing.account.paused_at = Some(at(0));
    assert_eq!(kinds(&view(vec![failing]), 60), [], "nobody wants to hear of an account that rests");
}

#[test]
fn one_trouble_of_many_accounts_is_one_alert() {
    let failing = |name: &str, error: &str, needs_operator| {
        let mut view = account(name);
        view.health.failing_since = Some(at(0));
        view.health.last_error = Some(error.into());
        view.health.needs_operator = needs_operator;
        view
    };
    let many: Vec<_> = (0..100).map(|number| failing(&format!("a{number}"), "HTTP 503", false)).collect();
    let found = conditions(&view(many), at(30));
    assert_eq!(found.len(), 1);
    assert!(found[0].summary.starts_with("100 accounts"), "{}", found[0].summary);
    let many: Vec<_> = (0..100)
        .map(|number| failing(&format!("a{number}"), if number < 99 { "secret" } else { "scope" }, true))
        .collect();
    let found = conditions(&view(many), at(0));
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].action, "secret");
    assert!(found[0].summary.contains("98 more"), "{}", found[0].summary);
}

#[test]
fn silence_counts_only_where_there_was_work() {
    for (weekly, found) in [(None, 0), (Some(2.9), 0), (Some(3.0), 1), (Some(12.0), 1)] {
        let mut account = account("a");
        account.weekly = weekly;
        assert_eq!(kinds(&view(vec![account]), 0).len(), found, "{weekly:?}");
    }
}

#[test]
fn the_app_and_the_api_have_their_limits() {
    let accounts =
        |number: usize| (0..number).map(|number| account(&format!("a{number}"))).collect::<Vec<_>>();
    let draft = |number| View { draft_app: true, ..view(accounts(number)) };
    assert_eq!(kinds(&draft(3), 0), []);
    assert_eq!(kinds(&draft(4), 0), [AlertKind::DraftApp]);
    assert_eq!(kinds(&view(accounts(9)), 0), []);
    let days = |days: i64| {
        "2027-07-27T00:00:00Z".parse::<Timestamp>().unwrap() - SignedDuration::from_hours(24 * days)
    };
    let of = |now| conditions(&view(vec![]), now).len();
    assert_eq!((of(days(61)), of(days(60)), of(days(-1))), (0, 1, 1));
}

#[test]
fn a_receiver_that_is_gone_is_told_at_once_and_one_that_fails_later() {
    let receiver = |stopped_at, failing_since| ReceiverView {
        id: "r".into(),
        name: "Ace".into(),
        accounts: 1,
        stopped_at,
        delivered_at: None,
        failing_since,
        last_error: Some("HTTP 500".into()),
        waiting: 3,
    };
    let of = |receiver, minutes| {
        let view = View { receivers: vec![receiver], ..view(vec![]) };
        conditions(&view, at(minutes)).first().map(|alert| (alert.kind, alert.held_up))
    };
    assert_eq!(of(receiver(None, None), 60), None);
    assert_eq!(of(receiver(None, Some(at(0))), 29), None);
    assert_eq!(of(receiver(None, Some(at(0))), 30), Some((AlertKind::ReceiverFailing, 3)));
    assert_eq!(of(receiver(Some(at(0)), Some(at(0))), 0), Some((AlertKind::ReceiverGone, 3)));
}

#[test]
fn a_trouble_is_one_alert_and_one_end_however_long_it_lasts() {
    let trouble = view(vec![lost("a", 0)]);
    let Some(Change::Stands(alert)) = changes(&[], &trouble, at(0)).pop() else { panic!() };
    assert!(!alert.told);
    let told = Alert { told: true, ..alert };
    for minutes in 1..100 {
        assert_eq!(changes(std::slice::from_ref(&told), &trouble, at(minutes)), []);
    }
    // Authorised again but not swept yet: nobody knows what was missed.
    let mut mended = account("a");
    mended.health.last_success = Some(at(-5));
    assert_eq!(changes(std::slice::from_ref(&told), &view(vec![mended.clone()]), at(101)), []);
    mended.health.last_success = Some(at(102));
    assert_eq!(
        changes(std::slice::from_ref(&told), &view(vec![mended.clone()]), at(102)),
        [Change::Ended(told.clone())]
    );
    let ended = over(told.clone(), at(102), 2, 1);
    assert_eq!(changes(std::slice::from_ref(&ended), &view(vec![mended]), at(103)), []);
    assert_eq!(changes(std::slice::from_ref(&ended), &trouble, at(103)), [Change::Returned(told.clone())]);
    // A removed account has no trouble.
    assert_eq!(changes(std::slice::from_ref(&told), &view(vec![]), at(103)), [Change::Ended(told)]);
}

#[test]
fn what_was_held_up_is_counted_by_what_became_of_it() {
    let decision = |finished: i64, decided: i64, outcome| Decision {
        work: WorkRef::job(EncodedId::new("j")),
        trigger: Trigger::JobCompleted,
        finished_at: at(finished),
        at: at(decided),
        outcome,
        saw: BTreeMap::new(),
        released_at: None,
        held_for: SignedDuration::ZERO,
        subject: Subject::default(),
    };
    let asked = || Outcome::Asked { ask_id: AskId::new("a"), delivery: Delivery::Queued };
    let of = |decision| {
        let mut held = HeldUp::default();
        held.count(&decision, &rules(), at(0), at(1000));
        (held.late, held.missed)
    };
    assert_eq!(of(decision(-60, 990, asked())), (0, 0), "due before it began");
    assert_eq!(of(decision(100, 990, asked())), (1, 0));
    assert_eq!(of(decision(100, 111, asked())), (0, 0), "in time all the same");
    assert_eq!(of(decision(100, 990, Outcome::Waiting { due_at: at(995) })), (1, 0));
    assert_eq!(of(decision(100, 990, Outcome::Skipped { reason: SkipReason::TooOld })), (0, 1));
    assert_eq!(of(decision(100, 990, Outcome::Skipped { reason: SkipReason::NoContact })), (0, 0));
    assert_eq!(of(decision(995, 999, Outcome::Waiting { due_at: at(1005) })), (0, 0), "not due yet");
}

/// An account in one of many states.
fn any_account(name: String, state: [u8; 6]) -> AccountView {
    let [connection, health, events, burst, weekly, rest] = state;
    let mut view = if connection == 0 { lost(&name, 0) } else { account(&name) };
    view.health.failing_since = (health == 0).then(|| at(0));
    view.health.asking_fails_since = (health == 1).then(|| at(0));
    view.health.needs_operator = health == 2;
    view.health.last_error = (health != 3).then(|| "secret".to_owned());
    view.health.last_success = (connection != 1).then(|| at(i64::from(rest)));
    view.health.last_finished_at = (weekly != 1).then(|| at(i64::from(rest)));
    view.health.unheard = u32::from(events) * 2;
    view.account.events = events != 1;
    view.account.paused_at = (rest == 0).then(|| at(0));
    view.weekly = (weekly == 0).then_some(9.0);
    view.dead = usize::from(burst == 0);
    view
}

proptest! {
    #[test]
    fn whoever_does_not_matter_changes_nothing(
        before in proptest::collection::vec(proptest::array::uniform6(0..5_u8), 0..12),
        after in proptest::collection::vec(proptest::array::uniform6(0..5_u8), 0..12),
        troubles in proptest::collection::vec(0..12_u8, 0..3),
        draft_app: bool,
    ) {
        let accounts = |states: &[[u8; 6]]| {
            let named = |(number, state): (usize, &[u8; 6])| any_account(format!("a{number}"), *state);
            states.iter().enumerate().map(named).collect::<Vec<_>>()
        };
        let raised = conditions(&view(accounts(&before)), at(40));
        let mut all = View { draft_app, ..view(accounts(&after)) };
        let of = |number: u8| AccountId::new(format!("a{number}"));
        all.rules = troubles.iter().map(|number| (of(*number), 1, "no".to_owned())).collect();
        all.piles = troubles.iter().map(|number| (of(number + 1), 1)).collect();
        all.faults = troubles.iter().map(|number| (of(number + 2), "it".to_owned(), "no".to_owned())).collect();
        let named = named(&raised, &all.rules, &all.piles, &all.faults);
        let mut few = all.clone();
        few.accounts.retain(|view| view.matters(&named, at(80)));
        prop_assert_eq!(changes(&raised, &few, at(80)), changes(&raised, &all, at(80)));
    }
}
