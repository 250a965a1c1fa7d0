use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::domain::model::{
    ActionOutcome, AskOf, DayTally, DeadReason, Delivery, EntryState, OpenTally, Payload, SkipReason,
    SnapshotEmail, SnapshotPhone, Subject,
};
use crate::domain::plan::Plan;
use crate::domain::retry::Next;
use crate::domain::rules::Policy;
use crate::store::changes::ClientsCommit;
use crate::store::tests::{Fixture, ask, at, candidates, id, job, last, receiver};
use crate::store::{AskCommit, QueueRefusal};

const LONG: SignedDuration = SignedDuration::from_hours(20 * 365 * 24);

/// A customer with one card.
struct Customer {
    name: &'static str,
    card: &'static str,
    phone: &'static str,
    email: &'static str,
}

const JOHN: Customer = Customer {
    name: "Johnathan Smithers",
    card: "Y0pvaG4=",
    phone: "+15550100777",
    email: "jsm@example.com",
};
const MARY: Customer =
    Customer { name: "Mary Byrne", card: "Y01hcnk=", phone: "+15550100888", email: "mb@example.com" };

impl Customer {
    fn who(&self) -> ContactKey {
        ContactKey::phone(self.phone).unwrap()
    }

    fn subject(&self) -> Subject {
        Subject {
            client_id: Some(EncodedId::new(self.card)),
            client_name: Some(self.name.to_owned()),
            phone: Some(self.phone.to_owned()),
            email: Some(self.email.to_owned()),
            job_title: Some(format!("Boiler of {}", self.name)),
            ..Subject::default()
        }
    }

    fn snapshot(&self, minute: i64) -> ClientSnapshot {
        ClientSnapshot {
            id: EncodedId::new(self.card),
            name: self.name.to_owned(),
            first_name: self.name.to_owned(),
            last_name: String::new(),
            company_name: None,
            is_archived: minute > 1,
            receives_review_requests: true,
            phones: vec![SnapshotPhone { number: self.phone.into(), takes_texts: true, is_primary: true }],
            emails: vec![SnapshotEmail { address: self.email.into(), is_primary: true }],
            updated_at: at(minute),
        }
    }

    fn job(&self, what: &str) -> WorkRef {
        job(&format!("{what}-{}", self.card))
    }

    fn plan(&self, what: &str) -> Plan {
        let mut plan = candidates(&[self.job(what).id.as_str()]);
        plan.candidates[0].subject = self.subject();
        plan
    }

    async fn ask(&self, store: &Store, what: &str) -> AskCommit {
        let mut made = ask(&self.job(what));
        made.subject = self.subject();
        made.contacts = made.subject.contacts();
        let body = format!("{} {} {}", self.name, self.phone, self.card);
        // Everybody can be asked again at once.
        let policy = Arc::new(Policy { cooldown: SignedDuration::ZERO, ..Policy::default() });
        store.commit_ask(&id(), made, body, &policy, at(5)).await.unwrap()
    }

    async fn asked(&self, fixture: &Fixture, what: &str) -> MessageId {
        fixture.plan(self.plan(what)).await;
        assert_eq!(self.ask(&fixture.store, what).await, AskCommit::Stored);
        MessageId::from(&ask(&self.job(what)).id)
    }

    async fn cards(&self, store: &Store, minute: i64) -> usize {
        let commit = ClientsCommit {
            account: id(),
            account_name: "Ace".to_owned(),
            cards: vec![self.snapshot(minute)],
            watermark: at(minute),
            now: at(minute),
        };
        store.commit_clients(commit).await.unwrap()
    }

    /// Something of every kind that is kept about people.
    async fn leave_traces(&self, fixture: &Fixture) {
        let store = &fixture.store;
        self.cards(store, 1).await;
        self.cards(store, 2).await;
        let delivered = self.asked(fixture, "delivered").await;
        let entry = store.lease(&delivered, at(6), at(7)).await.unwrap().unwrap();
        store.settle(&delivered, entry.attempt, receiver(), Next::Delivered, last(6, 200)).await.unwrap();
        let dead = self.asked(fixture, "dead").await;
        let entry = store.lease(&dead, at(6), at(7)).await.unwrap().unwrap();
        let refused = Next::Dead(DeadReason::Refused);
        store.settle(&dead, entry.attempt, receiver(), refused, last(6, 400)).await.unwrap();
        self.asked(fixture, "queued").await;
        fixture.plan(self.plan("waiting")).await;
        fixture.plan(self.plan("skipped")).await;
        let saw = BTreeMap::from([("work".to_owned(), self.name.to_owned())]);
        let (skipped, why) = (self.job("skipped"), SkipReason::TitleExcluded);
        store.commit_skip(&id(), &skipped, why, saw, self.subject(), at(8)).await.unwrap();
        let review = Review {
            of: AskOf { account: id(), work: self.job("delivered") },
            at: at(9),
            rating: 5.0,
            text: Some(format!("{} was here", self.name)),
            url: None,
        };
        store.note_review(&AskId::new(delivered.as_str()), &review).await.unwrap();
        // A record that was there, and one that was made.
        for target in [Some(self.card.to_owned()), None] {
            let write = ActionRecord {
                account: id(),
                key: format!("act-{}-{}", self.card, target.is_some()),
                action: "clients.update".to_owned(),
                by: "operator".to_owned(),
                target,
                input: "00ff".to_owned(),
                at: at(9),
                outcome: ActionOutcome::Begun,
            };
            store.begin_action(&write).await.unwrap();
            let answer = json!({"client": {"id": self.card, "name": self.name}});
            let done = ActionOutcome::Done { ended_at: at(9), answer };
            store.end_action(&id(), &write.key, done).await.unwrap();
        }
    }

    /// How many entries tell who it is.
    async fn traces(&self, store: &Store) -> usize {
        let contacts = self.subject().contacts();
        let telling = [self.name, self.phone, self.email, &self.name.to_lowercase()].map(str::to_owned);
        let telling = telling.into_iter().chain(contacts.iter().map(|contact| contact.as_str().to_owned()));
        let telling: Vec<String> = telling.collect();
        let told = move |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            telling.iter().any(|what| text.contains(what))
        };
        let all = store.scan(|txn| txn.scan(b"").collect::<Result<Vec<_>, _>>()).await.unwrap();
        all.iter().filter(|(name, value)| told(name) || told(value)).count()
    }
}

async fn consistent(store: &Store) {
    let (is, ought) = store.indexed().await.unwrap();
    assert_eq!(is, ought, "the index");
    let mut ought = (DayTally::default(), OpenTally::default());
    for decision in store.decisions(&id()).await.unwrap() {
        ought.0.add(&decision);
        ought.1.add(&decision);
    }
    assert_eq!(store.tally(&id(), at(0)).await.unwrap(), ought, "the counts");
}

#[tokio::test]
async fn nothing_tells_who_it_was_and_nobody_else_is_touched() {
    let fixture = Fixture::connected().await;
    let store = &fixture.store;
    JOHN.leave_traces(&fixture).await;
    MARY.leave_traces(&fixture).await;
    for account in [None, Some(AccountId::new("another"))] {
        let suppression = Suppression { what: JOHN.phone.into(), account, note: None, at: at(9) };
        store.suppress(&JOHN.who(), suppression).await.unwrap();
    }
    let (johns, marys) = (JOHN.traces(store).await, MARY.traces(store).await);
    assert!(johns > 12 && marys > 10, "{johns}, {marys}");
    let kept = store.kept_about(&JOHN.who(), None).await.unwrap();
    let counts = (kept.decisions.len(), kept.cards.len(), kept.reviews.len(), kept.writes.len());
    // The asks that are queued and dead, and the changes of the card.
    assert_eq!((counts, kept.messages.len()), ((5, 1, 1, 2), 4));

    assert_eq!(store.forget(&JOHN.who(), None, at(10)).await.unwrap().under_way, 0);
    assert_eq!(JOHN.traces(store).await, 0);
    assert_eq!(MARY.traces(store).await, marys);
    assert_eq!(store.kept_about(&JOHN.who(), None).await.unwrap(), Kept::default());
    assert_eq!(store.forgotten_at(&JOHN.who(), None).await.unwrap(), Some(at(10)));
    consistent(store).await;
    let outcome = async |what: &str| store.decision(&id(), &JOHN.job(what)).await.unwrap().unwrap().outcome;
    assert_eq!(outcome("queued").await, Outcome::Skipped { reason: SkipReason::Suppressed });
    assert!(matches!(outcome("dead").await, Outcome::Asked { delivery: Delivery::Dropped, .. }));
    assert!(matches!(
        outcome("delivered").await,
        Outcome::Asked { delivery: Delivery::Delivered { .. }, .. }
    ));
    let due = store.due_works(at(20)).await.unwrap();
    assert!(due.contains(&(id(), JOHN.job("waiting"))), "it is decided like any other work");
}

#[tokio::test]
async fn whoever_was_forgotten_is_never_asked_and_never_stored_again() {
    let fixture = Fixture::connected().await;
    let store = &fixture.store;
    JOHN.leave_traces(&fixture).await;
    store.forget(&ContactKey::email(JOHN.email).unwrap(), None, at(10)).await.unwrap();

    fixture.plan(JOHN.plan("new")).await;
    assert_eq!(JOHN.ask(store, "new").await, AskCommit::Superseded);
    let (new, why) = (JOHN.job("new"), SkipReason::Suppressed);
    assert!(store.commit_skip(&id(), &new, why, BTreeMap::new(), JOHN.subject(), at(11)).await.unwrap());
    assert_eq!(JOHN.cards(store, 12).await, 0);
    let ask = AskId::new(ask(&JOHN.job("delivered")).id.as_str());
    let of = AskOf { account: id(), work: JOHN.job("delivered") };
    let review = Review { of, at: at(12), rating: 1.0, text: Some(JOHN.name.to_owned()), url: None };
    store.note_review(&ask, &review).await.unwrap();
    assert_eq!(JOHN.traces(store).await, 0);
    for who in [&[JOHN.who()][..], &[]] {
        let known = store.suppression_of(&id(), &EncodedId::new(JOHN.card), who).await.unwrap();
        assert_eq!(known.map(|known| known.at), Some(at(10)), "by the card too");
    }

    assert!(store.unsuppress(&ContactKey::email(JOHN.email).unwrap(), None).await.unwrap());
    fixture.plan(JOHN.plan("after")).await;
    assert_eq!(JOHN.ask(store, "after").await, AskCommit::Stored);
}

#[tokio::test]
async fn what_is_being_sent_is_said_and_forgotten_later() {
    let fixture = Fixture::connected().await;
    let store = &fixture.store;
    let sent = JOHN.asked(&fixture, "sent").await;
    let entry = store.lease(&sent, at(6), at(20)).await.unwrap().unwrap();
    assert_eq!(store.forget(&JOHN.who(), None, at(10)).await.unwrap().under_way, 1);
    let failed = Next::DueAgain { at: at(30) };
    store.settle(&sent, entry.attempt, receiver(), failed, last(12, 503)).await.unwrap();
    assert!(JOHN.traces(store).await > 0);
    // Nothing but the note that he was forgotten says any more that it is his.
    assert_eq!(store.forget(&JOHN.who(), None, at(21)).await.unwrap().under_way, 0);
    assert_eq!(JOHN.traces(store).await, 0);
    let refused = store.retry_entry(&sent, None, at(22)).await.unwrap();
    assert_eq!(refused, Err(QueueRefusal::NoSuchMessage(sent)));
}

#[tokio::test]
async fn one_account_forgets_and_another_keeps_what_is_its_own() {
    let fixture = Fixture::connected().await;
    let store = &fixture.store;
    JOHN.leave_traces(&fixture).await;
    let before = JOHN.traces(store).await;
    let other = AccountId::new("another");
    store.forget(&JOHN.who(), Some(&other), at(10)).await.unwrap();
    assert_eq!(JOHN.traces(store).await, before);
    fixture.plan(JOHN.plan("new")).await;
    assert_eq!(JOHN.ask(store, "new").await, AskCommit::Stored);
    store.forget(&JOHN.who(), Some(&id()), at(11)).await.unwrap();
    // Hashes of his two contacts, which keep every account from asking him too soon.
    assert_eq!(JOHN.traces(store).await, 2);
    assert_eq!(store.forgotten_at(&JOHN.who(), None).await.unwrap(), None);
    assert_eq!(store.forgotten_at(&JOHN.who(), Some(&id())).await.unwrap(), Some(at(11)));
}

#[tokio::test]
async fn who_it_was_is_kept_for_its_own_time() {
    let fixture = Fixture::connected().await;
    let store = &fixture.store;
    JOHN.leave_traces(&fixture).await;
    let (day, year) = (24 * 60, 365 * 24 * 60);
    let month = SignedDuration::from_hours(30 * 24);
    assert_eq!(store.prune(at(20 * day), LONG, month).await.unwrap().erased, 0);
    // Delivered and skipped, the review and the two writes. The others wait or lie in the queue, if only as dead letters.
    assert_eq!(store.prune(at(year), LONG, month).await.unwrap().erased, 5);
    consistent(store).await;
    let subject = async |what: &str| store.decision(&id(), &JOHN.job(what)).await.unwrap().unwrap().subject;
    for (what, is_there) in [("delivered", false), ("skipped", false), ("queued", true), ("waiting", true)] {
        assert_eq!(subject(what).await.client_name.is_some(), is_there, "{what}");
        assert!(subject(what).await.client_id.is_some(), "{what}");
    }
    assert_eq!(store.prune(at(2 * year), LONG, month).await.unwrap().erased, 0, "once");
    let entry = store.entry(&MessageId::from(&ask(&JOHN.job("queued")).id)).await.unwrap().unwrap();
    assert!(matches!(entry.state, EntryState::Due { .. }) && matches!(entry.payload, Payload::Ask { .. }));
}

/// As after Jobber was asked: more contacts than the ask goes to.
async fn ask_with(fixture: &Fixture, customer: &Customer, what: &str, more: &[ContactKey]) {
    fixture.plan(customer.plan(what)).await;
    let mut made = ask(&customer.job(what));
    made.subject = customer.subject();
    made.contacts = [customer.subject().contacts().as_slice(), more].concat();
    let policy = Arc::new(Policy { cooldown: SignedDuration::ZERO, ..Policy::default() });
    let stored = fixture.store.commit_ask(&id(), made, "{}".into(), &policy, at(5)).await.unwrap();
    assert_eq!(stored, AskCommit::Stored);
}

#[tokio::test]
async fn a_number_that_no_ask_goes_to_names_a_person_too() {
    let fixture = Fixture::connected().await;
    let store = &fixture.store;
    let landline = ContactKey::phone("+15550100999").unwrap();
    ask_with(&fixture, &JOHN, "one", std::slice::from_ref(&landline)).await;
    let ask = MessageId::from(&ask(&JOHN.job("one")).id);
    let suppression = Suppression { what: "landline".into(), account: None, note: None, at: at(6) };
    store.suppress(&landline, suppression).await.unwrap();
    assert!(store.is_suppressed(&ask).await.unwrap());
    store.unsuppress(&landline, None).await.unwrap();
    assert!(!store.is_suppressed(&ask).await.unwrap());

    store.forget(&landline, None, at(7)).await.unwrap();
    assert_eq!(JOHN.traces(store).await, 0);
    fixture.plan(JOHN.plan("two")).await;
    assert_eq!(JOHN.ask(store, "two").await, AskCommit::Superseded);
}

#[tokio::test]
async fn whoever_shares_a_contact_or_the_beginning_of_an_id_is_somebody_else() {
    let fixture = Fixture::connected().await;
    let store = &fixture.store;
    // The office's address, and an id that goes on where John's ends.
    let neighbour = Customer { email: JOHN.email, card: "Y0pvaG4=8", ..MARY };
    JOHN.leave_traces(&fixture).await;
    neighbour.leave_traces(&fixture).await;
    let suppression = Suppression { what: JOHN.email.into(), account: None, note: None, at: at(9) };
    let office = ContactKey::email(JOHN.email).unwrap();
    store.suppress(&office, suppression).await.unwrap();
    let before = store.kept_about(&neighbour.who(), None).await.unwrap();

    store.forget(&JOHN.who(), None, at(10)).await.unwrap();
    let after = store.kept_about(&neighbour.who(), None).await.unwrap();
    let of =
        |kept: &Kept| (kept.decisions.clone(), kept.cards.clone(), kept.messages.len(), kept.writes.len());
    assert_eq!(of(&after), of(&before));
    assert!(store.suppressions().await.unwrap().iter().any(|known| known.what == JOHN.email));
    store.unsuppress(&office, None).await.unwrap();
    fixture.plan(neighbour.plan("new")).await;
    assert_eq!(neighbour.ask(store, "new").await, AskCommit::Stored);
    fixture.plan(JOHN.plan("new")).await;
    assert_eq!(JOHN.ask(store, "new").await, AskCommit::Superseded);
    assert!(store.kept_about(&JOHN.who(), None).await.unwrap().decisions.is_empty());
}

#[tokio::test]
async fn a_review_is_erased_although_its_decision_was_before() {
    let fixture = Fixture::connected().await;
    let store = &fixture.store;
    JOHN.leave_traces(&fixture).await;
    let (work, year) = (JOHN.job("delivered"), 365 * 24 * 60);
    store.prune(at(year), LONG, SignedDuration::from_hours(24)).await.unwrap();
    let of = AskOf { account: id(), work: work.clone() };
    let late = Review { of, at: at(year), rating: 4.0, text: Some(JOHN.name.to_owned()), url: None };
    store.note_review(&AskId::new(ask(&work).id.as_str()), &late).await.unwrap();
    store.forget(&ContactKey::card(JOHN.card), None, at(year + 1)).await.unwrap();
    assert_eq!(JOHN.traces(store).await, 0);
}

#[tokio::test]
async fn what_is_no_contact_names_nobody() {
    let fixture = Fixture::connected().await;
    let store = &fixture.store;
    let john = Customer { phone: "", email: "n/a", ..JOHN };
    john.leave_traces(&fixture).await;
    MARY.leave_traces(&fixture).await;
    let before = MARY.traces(store).await;
    let kept = store.kept_about(&ContactKey::card(john.card), None).await.unwrap();
    assert!(kept.messages.iter().all(|entry| !entry.body.contains(MARY.name)));
    store.forget(&ContactKey::card(john.card), None, at(10)).await.unwrap();
    assert_eq!(MARY.traces(store).await, before);
}

#[tokio::test]
async fn a_number_that_went_on_to_somebody_else_names_only_them() {
    let fixture = Fixture::connected().await;
    let store = &fixture.store;
    // When Mary was asked, it was hers too. Her card says that it is not any more.
    ask_with(&fixture, &MARY, "one", &[JOHN.who()]).await;
    let ask = MessageId::from(&ask(&MARY.job("one")).id);
    let entry = store.lease(&ask, at(6), at(7)).await.unwrap().unwrap();
    store.settle(&ask, entry.attempt, receiver(), Next::Delivered, last(6, 200)).await.unwrap();
    MARY.cards(store, 1).await;
    JOHN.cards(store, 2).await;
    store.forget(&JOHN.who(), None, at(10)).await.unwrap();
    let work = store.decision(&id(), &MARY.job("one")).await.unwrap().unwrap();
    assert_eq!(work.subject.client_name.as_deref(), Some(MARY.name));
    assert_eq!(store.kept_about(&JOHN.who(), None).await.unwrap().cards, []);
}

#[tokio::test]
async fn a_second_run_finds_what_the_first_left_in_whatever_accounts() {
    for (first, second) in [(None, Some(id())), (Some(id()), None)] {
        let fixture = Fixture::connected().await;
        let store = &fixture.store;
        let sent = JOHN.asked(&fixture, "sent").await;
        let entry = store.lease(&sent, at(6), at(20)).await.unwrap().unwrap();
        assert_eq!(store.forget(&JOHN.who(), first.as_ref(), at(10)).await.unwrap().under_way, 1);
        let refused = Next::Dead(DeadReason::Refused);
        store.settle(&sent, entry.attempt, receiver(), refused, last(12, 400)).await.unwrap();
        store.forget(&JOHN.who(), second.as_ref(), at(21)).await.unwrap();
        assert_eq!(store.entry(&sent).await.unwrap(), None);
    }
}
