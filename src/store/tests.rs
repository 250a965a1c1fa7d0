use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use secrecy::ExposeSecret;

use super::outbox::QueueCount;
use super::*;
use crate::clock::plus;
use crate::domain::decide::ask_id;
use crate::domain::model::{
    Ask, AskBody, BodyAccount, BodyClient, Candidate, DeadReason, Delivery, EncodedId, EntryState,
    LastAttempt, Link, LinkId, Outcome, Pending, SkipReason, Stream, Subject, Trigger, WorkKind, WorkRef,
};
use crate::domain::model::{AskId, LostReason, MessageId};
use crate::domain::plan::Plan;
use crate::domain::retry::Next;
use crate::store_key::StoreKey;

pub(super) fn key(byte: u8) -> StoreKey {
    StoreKey::parse(&STANDARD.encode([byte; 32]).into()).unwrap()
}

pub(super) fn at(minute: i64) -> Timestamp {
    plus("2026-03-10T12:00:00Z".parse().unwrap(), SignedDuration::from_mins(minute))
}

pub(super) fn id() -> AccountId {
    AccountId::new("acc")
}

pub(super) fn job(name: &str) -> WorkRef {
    WorkRef::job(EncodedId::new(name))
}

#[path = "../../tests/it/cluster.rs"]
#[expect(dead_code, reason = "no server is killed here")]
pub(super) mod cluster;

pub(super) struct Fixture {
    pub(super) folder: tempfile::TempDir,
    pub(super) store: Store,
}

impl Fixture {
    /// A store of the engine that is tested.
    pub(super) fn empty() -> Self {
        match cluster::wanted() {
            Some(url) => {
                let address = Address::parse(&url, None).unwrap();
                let (folder, place) = (tempfile::tempdir().unwrap(), Place::Postgres(Box::new(address)));
                Self { folder, store: open_again(&place) }
            }
            None => Self::empty_in_folder(),
        }
    }

    /// A store of sled's.
    pub(super) fn empty_in_folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), &key(1), IfMissing::MakeFirst).unwrap();
        Self { folder, store }
    }

    pub(super) async fn connected() -> Self {
        Self::empty().connect_one().await
    }

    pub(super) async fn connected_in_folder() -> Self {
        Self::empty_in_folder().connect_one().await
    }

    async fn connect_one(self) -> Self {
        let fixture = self;
        fixture.link("hash", None).await;
        fixture.connect("hash", "state", id(), Trigger::JobCompleted).await.unwrap();
        fixture
    }

    pub(super) async fn link(&self, hash: &str, account: Option<AccountId>) {
        let link = Link {
            id: LinkId::new(format!("lnk_{hash}")),
            label: "Ace".into(),
            trigger: Trigger::JobCompleted,
            account,
            brand: None,
            created_at: at(0),
            expires_at: at(60),
            state: crate::domain::model::LinkState::Open,
        };
        self.store.put_link(hash, link).await.unwrap();
    }

    pub(super) fn start(link: &str, state: &str, browser: &str) -> Start {
        Start {
            link: link.into(),
            state: state.into(),
            browser: browser.into(),
            trigger: Trigger::JobCompleted,
            expires_at: at(15),
        }
    }

    pub(super) async fn connect(
        &self,
        link: &str,
        state: &str,
        account: AccountId,
        trigger: Trigger,
    ) -> Result<Account, LinkRefusal> {
        let start = Start { trigger, ..Self::start(link, state, "browser") };
        self.store.start_link(start, at(0)).await.unwrap()?;
        let pending = self.store.take_pending(state, "browser", at(1)).await.unwrap()?;
        self.store.connect(new_connection(pending, account)).await.unwrap()
    }

    pub(super) async fn plan(&self, plan: Plan) -> usize {
        let account = self.store.account(&id()).await.unwrap().unwrap();
        let commit = PlanCommit {
            account: id(),
            stream: Stream::Jobs,
            planned_for: (account.trigger, account.asks_from),
            plan,
            reconciled_at: None,
            by_event: false,
            burst_above: 0,
            now: at(0),
        };
        self.store.commit_plan(commit).await.unwrap()
    }

    pub(super) async fn ask(&self, work: &WorkRef) -> AskCommit {
        self.store.commit_ask(&id(), ask(work), "{}".into(), &Arc::default(), at(5)).await.unwrap()
    }

    pub(super) fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("store")
    }

    pub(super) async fn put_away(self) -> tempfile::TempDir {
        self.store.close().await;
        self.folder
    }

    pub(super) async fn asked(&self, name: &str) -> MessageId {
        self.plan(candidates(&[name])).await;
        assert_eq!(self.ask(&job(name)).await, AskCommit::Stored);
        MessageId::from(&ask(&job(name)).id)
    }

    pub(super) async fn reopen(self) -> Self {
        let Self { folder, store } = self;
        store.close().await;
        let place = store.place().clone();
        drop(store);
        Self { folder, store: open_again(&place) }
    }
}

/// Opens it where waiting for a server holds up nothing.
fn open_again(place: &Place) -> Store {
    let open = || unlocked(|| Store::open_in(place, &key(1), IfMissing::MakeFirst));
    std::thread::scope(|scope| scope.spawn(open).join().unwrap()).unwrap()
}

/// sled's threads can hold the lock a moment longer after the store is closed.
pub(super) fn unlocked<T>(mut open: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let begun = std::time::Instant::now();
    loop {
        match open() {
            Err(StoreError::Locked { .. }) if begun.elapsed().as_secs() < 30 => std::thread::yield_now(),
            other => return other,
        }
    }
}

pub(super) fn new_connection(pending: Pending, account: AccountId) -> NewConnection {
    NewConnection {
        pending,
        account,
        name: "Ace Plumbing".into(),
        tokens: Tokens {
            access: "acc".into(),
            refresh: "ref".into(),
            expires_at: at(60),
            obtained_at: at(1),
        },
        at: at(1),
        now: at(1),
    }
}

pub(super) fn candidates(names: &[&str]) -> Plan {
    let candidates = names
        .iter()
        .map(|name| Candidate {
            work: job(name),
            released_at: None,
            held_for: SignedDuration::ZERO,
            trigger: Trigger::JobCompleted,
            finished_at: at(0),
            due_at: at(5),
            subject: Subject::default(),
        })
        .collect();
    Plan { candidates, skipped: vec![], watermark: None }
}

pub(super) fn ask(work: &WorkRef) -> Ask {
    Ask {
        id: ask_id(&id(), Trigger::JobCompleted, work),
        work: work.clone(),
        job_ids: vec![work.id.clone()],
        finished_at: at(0),
        subject: Subject::default(),
        contacts: vec![],
        body: AskBody {
            kind: "review.requested".into(),
            timestamp: at(5),
            trigger: Trigger::JobCompleted,
            account: BodyAccount { id: id(), name: "Ace".into() },
            job: None,
            visit: None,
            client: BodyClient {
                id: EncodedId::new("c"),
                name: "N".into(),
                first_name: "N".into(),
                phone: None,
                email: Some("n@example.com".into()),
            },
            property: None,
            assigned_users: vec![],
            invoice: None,
            message: "Hi".into(),
            as_in_jobber: std::collections::BTreeMap::new(),
        },
    }
}

pub(super) fn last(minute: i64, status: u16) -> LastAttempt {
    LastAttempt { at: at(minute), status: Some(status), error: format!("HTTP {status}") }
}

pub(super) fn receiver() -> ReceiverId {
    ReceiverId::of("https://platform.example.com/hook")
}

#[tokio::test]
async fn a_second_opener_is_told_who_is_in_the_way() {
    let fixture = Fixture::empty();
    let place = fixture.store.place().clone();
    let open = || Store::open_in(&place, &key(1), IfMissing::MakeFirst).unwrap_err();
    let error = std::thread::scope(|scope| scope.spawn(open).join().unwrap());
    assert!(matches!(error, StoreError::Locked { .. } | StoreError::Held { .. }), "{error}");
    fixture.reopen().await;
}

#[tokio::test]
async fn another_key_does_not_open_the_store() {
    let fixture = Fixture::connected().await;
    let place = fixture.store.place().clone();
    fixture.store.close().await;
    drop(fixture.store);
    open_again(&place).close().await;
    let open = || unlocked(|| Store::open_in(&place, &key(2), IfMissing::MakeFirst));
    let refused = std::thread::scope(|scope| scope.spawn(open).join().unwrap());
    assert!(matches!(refused, Err(StoreError::WrongKey { .. })));
    open_again(&place);
}

#[tokio::test]
async fn what_was_answered_is_there_after_reopening() {
    let fixture = Fixture::connected().await;
    let asked = fixture.asked("j1").await;
    fixture.store.probe(at(6)).await.unwrap();
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.store.accounts().await.unwrap().len(), 1);
    assert_eq!(fixture.store.entry(&asked).await.unwrap().unwrap().body, "{}");
    assert_eq!(fixture.store.tokens(&id()).await.unwrap().unwrap().tokens.refresh.expose_secret(), "ref");
}

#[tokio::test]
async fn after_closing_nothing_is_written_and_the_caller_hears_it() {
    let fixture = Fixture::connected().await;
    fixture.store.close().await;
    assert!(matches!(fixture.store.probe(at(0)).await, Err(StoreError::Failed(_))));
}

#[tokio::test]
async fn an_operation_that_panics_writes_nothing_and_the_next_one_works() {
    let fixture = Fixture::empty();
    let result: Result<(), _> = fixture
        .store
        .write(|txn| {
            txn.put(&key::probe(), &at(0));
            panic!("on purpose")
        })
        .await;
    assert!(matches!(result, Err(StoreError::Failed(_))));
    assert_eq!(fixture.store.get::<Timestamp>(&key::probe()).await.unwrap(), None);
    fixture.store.probe(at(1)).await.unwrap();
}

#[tokio::test]
async fn operations_in_one_group_see_each_other() {
    let fixture = Fixture::empty();
    let count = |store: Store| async move {
        store
            .write(|txn| {
                let old: u32 = txn.get(b"count")?.unwrap_or(0);
                txn.put(b"count", &(old + 1));
                Ok(old)
            })
            .await
            .unwrap()
    };
    let all: Vec<_> = (0..200).map(|_| tokio::spawn(count(fixture.store.clone()))).collect();
    let mut seen = Vec::new();
    for one in all {
        seen.push(one.await.unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_plan_is_stored_once() {
    let fixture = Fixture::connected().await;
    let plan = Plan { watermark: Some(at(3)), ..candidates(&["j1", "j2"]) };
    assert_eq!(fixture.plan(plan.clone()).await, 2);
    assert_eq!(fixture.plan(plan).await, 0);
    assert_eq!(fixture.store.account(&id()).await.unwrap().unwrap().watermarks[&Stream::Jobs], at(3));
    assert_eq!(fixture.store.due_works(at(4)).await.unwrap().len(), 0);
    assert_eq!(fixture.store.due_works(at(5)).await.unwrap().len(), 2);
    assert_eq!(fixture.store.next_candidate_due().await.unwrap(), Some(at(5)));
    let times = async |now| fixture.store.candidates_due(now).await.unwrap();
    assert_eq!(times(at(4)).await, DueTimes { is_overdue: false, upcoming: Some(at(5)) });
    assert_eq!(times(at(5)).await, DueTimes { is_overdue: true, upcoming: None });
}

#[tokio::test]
async fn the_watermark_never_goes_back() {
    let fixture = Fixture::connected().await;
    for (minute, expected) in [(3, 3), (1, 3), (7, 7)] {
        fixture.plan(Plan { watermark: Some(at(minute)), ..Plan::default() }).await;
        assert_eq!(
            fixture.store.account(&id()).await.unwrap().unwrap().watermarks[&Stream::Jobs],
            at(expected)
        );
    }
}

#[tokio::test]
async fn an_ask_is_stored_once_whoever_comes_second() {
    let fixture = Fixture::connected().await;
    fixture.plan(candidates(&["j1"])).await;
    assert_eq!(fixture.ask(&job("j1")).await, AskCommit::Stored);
    assert_eq!(fixture.ask(&job("j1")).await, AskCommit::Superseded);
    assert_eq!(fixture.ask(&job("never seen")).await, AskCommit::Superseded);
    assert_eq!(fixture.store.entries().await.unwrap().len(), 1);
    assert_eq!(fixture.store.next_candidate_due().await.unwrap(), None);
    assert_eq!(fixture.plan(candidates(&["j1"])).await, 0, "an asked work gets no candidate again");
}

#[tokio::test]
async fn two_visits_of_a_job_may_be_asked_about_but_not_the_job_as_well() {
    let fixture = Fixture::connected().await;
    let visit = |name: &str| WorkRef::visit(EncodedId::new(name));
    let as_visit = |name: &str| Ask { job_ids: vec![EncodedId::new("j1")], ..ask(&visit(name)) };
    let mut plan = candidates(&["j1"]);
    for name in ["v1", "v2"] {
        plan.candidates.push(Candidate {
            work: visit(name),
            released_at: None,
            held_for: SignedDuration::ZERO,
            trigger: Trigger::VisitCompleted,
            ..plan.candidates[0].clone()
        });
    }
    fixture.plan(plan).await;
    for name in ["v1", "v2"] {
        let stored = fixture
            .store
            .commit_ask(&id(), as_visit(name), "{}".into(), &Arc::default(), at(5))
            .await
            .unwrap();
        assert_eq!(stored, AskCommit::Stored);
    }
    assert_eq!(fixture.ask(&job("j1")).await, AskCommit::Superseded);
    let markers = fixture.store.markers(&id(), &visit("v1"), &[EncodedId::new("j1")]).await.unwrap();
    assert_eq!(markers.len(), 2);
    assert!(markers.values().all(|marker| marker.by == WorkKind::Visit));
}

#[tokio::test]
async fn skip_and_defer_move_the_candidate() {
    let fixture = Fixture::connected().await;
    fixture.plan(candidates(&["j1", "j2"])).await;
    assert!(fixture.store.commit_defer(&id(), &job("j1"), at(2), at(9)).await.unwrap());
    for still_waiting in [true, false] {
        let (saw, subject) = (std::collections::BTreeMap::new(), Subject::default());
        let skipped =
            fixture.store.commit_skip(&id(), &job("j2"), SkipReason::NoContact, saw, subject, at(5)).await;
        assert_eq!(skipped.unwrap(), still_waiting);
    }
    assert_eq!(fixture.store.next_candidate_due().await.unwrap(), Some(at(9)));
    assert_eq!(fixture.store.candidates().await.unwrap().len(), 1);
    let decision = fixture.store.decision(&id(), &job("j2")).await.unwrap().unwrap();
    assert_eq!(decision.outcome, Outcome::Skipped { reason: SkipReason::NoContact });
}

#[tokio::test]
async fn a_lease_is_held_by_one_attempt_and_a_late_outcome_is_ignored() {
    let fixture = Fixture::connected().await;
    let ask = fixture.asked("j1").await;
    let store = &fixture.store;
    let first = store.lease(&ask, at(5), at(6)).await.unwrap().unwrap();
    assert_eq!(first.attempt, 1);
    assert!(store.lease(&ask, at(5), at(6)).await.unwrap().is_none(), "it is out");
    assert!(store.due_messages(at(5), 10).await.unwrap().is_empty());
    assert_eq!(
        store.retry_entry(&ask, Some(receiver()), at(5)).await.unwrap(),
        Err(QueueRefusal::UnderWay(ask.clone()))
    );

    let second = store.lease(&ask, at(6), at(7)).await.unwrap().expect("the lease ran out");
    assert_eq!(second.attempt, 2);
    assert!(!store.settle(&ask, 1, receiver(), Next::Delivered, last(6, 200)).await.unwrap());
    assert!(store.settle(&ask, 2, receiver(), Next::DueAgain { at: at(9) }, last(6, 503)).await.unwrap());
    let entry = store.entry(&ask).await.unwrap().unwrap();
    assert_eq!((entry.failures, entry.state), (1, EntryState::Due { at: at(9) }));
    assert_eq!(store.next_message_due().await.unwrap(), Some(at(9)));
}

#[tokio::test]
async fn opening_voids_every_lease() {
    let fixture = Fixture::connected().await;
    let ask = fixture.asked("j1").await;
    fixture.store.lease(&ask, at(5), at(600)).await.unwrap().unwrap();
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.store.due_messages(at(5), 10).await.unwrap().len(), 1);
    let again = fixture.store.lease(&ask, at(5), at(6)).await.unwrap().unwrap();
    assert_eq!(again.attempt, 2, "attempts are counted across a crash");
}

#[tokio::test]
async fn delivery_is_noted_on_the_decision_and_clears_the_outbox() {
    let fixture = Fixture::connected().await;
    let ask = fixture.asked("j1").await;
    fixture.store.lease(&ask, at(5), at(6)).await.unwrap().unwrap();
    assert!(fixture.store.settle(&ask, 1, receiver(), Next::Delivered, last(6, 202)).await.unwrap());
    assert_eq!(fixture.store.entry(&ask).await.unwrap(), None);
    assert_eq!(fixture.store.next_message_due().await.unwrap(), None);
    let decision = fixture.store.decision(&id(), &job("j1")).await.unwrap().unwrap();
    let delivery = Delivery::Delivered { at: at(6), status: 202, attempts: 1 };
    assert_eq!(decision.outcome, Outcome::Asked { ask_id: AskId::new(ask.as_str()), delivery });
}

#[tokio::test]
async fn a_dead_letter_can_be_retried_or_dropped() {
    let fixture = Fixture::connected().await;
    let store = &fixture.store;
    let (retried, dropped) = (fixture.asked("j1").await, fixture.asked("j2").await);
    for ask in [&retried, &dropped] {
        store.lease(ask, at(5), at(6)).await.unwrap().unwrap();
        store.settle(ask, 1, receiver(), Next::Dead(DeadReason::Refused), last(6, 422)).await.unwrap();
    }
    assert_eq!(store.outbox_counts().await.unwrap().by_account[&id()], QueueCount { queued: 0, dead: 2 });
    assert_eq!(store.next_message_due().await.unwrap(), None);

    assert_eq!(store.retry_entry(&retried, Some(receiver()), at(7)).await.unwrap(), Ok(()));
    let entry = store.entry(&retried).await.unwrap().unwrap();
    assert_eq!((entry.failures, entry.state), (0, EntryState::Due { at: at(7) }));

    assert_eq!(store.drop_entry(&dropped, at(7)).await.unwrap(), Ok(()));
    assert_eq!(
        store.drop_entry(&dropped, at(7)).await.unwrap(),
        Err(QueueRefusal::NoSuchMessage(dropped.clone()))
    );
    let decision = store.decision(&id(), &job("j2")).await.unwrap().unwrap();
    assert_eq!(
        decision.outcome,
        Outcome::Asked { ask_id: AskId::new(dropped.as_str()), delivery: Delivery::Dropped }
    );
    assert_eq!(fixture.plan(candidates(&["j2"])).await, 0, "a dropped ask is not asked again");
}

#[tokio::test]
async fn a_receiver_that_is_gone_stops_and_keeps_its_ask() {
    let fixture = Fixture::connected().await;
    let ask = fixture.asked("j1").await;
    let store = &fixture.store;
    store.lease(&ask, at(5), at(6)).await.unwrap().unwrap();
    store.settle(&ask, 1, receiver(), Next::ReceiverGone, last(6, 410)).await.unwrap();
    assert_eq!(store.receiver(&receiver()).await.unwrap().stopped_at, Some(at(6)));
    let entry = store.entry(&ask).await.unwrap().unwrap();
    assert_eq!((entry.failures, entry.state), (0, EntryState::Due { at: at(6) }));
    assert_eq!(store.retry_entry(&ask, Some(receiver()), at(7)).await.unwrap(), Ok(()));
    assert_eq!(store.receiver(&receiver()).await.unwrap().stopped_at, None);
}

#[tokio::test]
async fn what_is_said_about_a_pair_counts_only_while_it_is_the_stored_one() {
    let fixture = Fixture::connected().await;
    let store = &fixture.store;
    let old = store.tokens(&id()).await.unwrap().unwrap();
    let fresh = Tokens { access: "new".into(), ..old.tokens.clone() };
    assert_eq!(store.begin_refresh(&id(), at(2)).await.unwrap(), None);
    assert_eq!(store.begin_refresh(&id(), at(3)).await.unwrap(), Some(at(2)), "the first one is remembered");
    assert!(store.replace_tokens(&id(), &old.pair, &fresh).await.unwrap());
    assert_eq!(store.begin_refresh(&id(), at(4)).await.unwrap(), None, "a new pair ends the refresh");
    store.end_refresh(&id()).await.unwrap();
    assert_eq!(store.begin_refresh(&id(), at(5)).await.unwrap(), None);

    // A late answer about the old pair changes nothing.
    assert!(!store.replace_tokens(&id(), &old.pair, &old.tokens).await.unwrap());
    let reason = LostReason::DisconnectedInJobber;
    assert!(!store.lose_connection(&id(), reason, Some(old.pair), at(6)).await.unwrap());
    assert!(!store.lose_connection(&id(), LostReason::NoToken, None, at(6)).await.unwrap());
    let held = store.tokens(&id()).await.unwrap().unwrap();
    assert_eq!(held.tokens.access.expose_secret(), "new");
    assert!(store.lose_connection(&id(), reason, Some(held.pair), at(6)).await.unwrap());
}

#[tokio::test]
async fn reconnecting_keeps_everything_and_a_new_trigger_starts_from_now() {
    let fixture = Fixture::connected().await;
    fixture.plan(Plan { watermark: Some(at(3)), ..Plan::default() }).await;
    let pair = async || fixture.store.tokens(&id()).await.unwrap().map(|held| held.pair);
    let reasons = [(LostReason::DisconnectedInJobber, true), (LostReason::RefreshTokenRefused, false)];
    for (reason, is_news) in reasons {
        let lost = fixture.store.lose_connection(&id(), reason, pair().await, at(4)).await.unwrap();
        assert_eq!(lost, is_news, "the first reason stays");
    }

    fixture.link("mend", Some(id())).await;
    let account = fixture.connect("mend", "s2", id(), Trigger::JobCompleted).await.unwrap();
    assert!(account.connection.is_connected());
    assert_eq!(account.watermarks[&Stream::Jobs], at(3));
    assert_eq!(account.asks_from, at(1));

    fixture.link("switch", Some(id())).await;
    let mut pending = Pending {
        link: "switch".into(),
        browser: "browser".into(),
        trigger: Trigger::InvoicePaid,
        expires_at: at(30),
    };
    let switched = Start {
        link: "switch".into(),
        state: "s3".into(),
        browser: "browser".into(),
        trigger: Trigger::InvoicePaid,
        expires_at: at(30),
    };
    fixture.store.start_link(switched, at(0)).await.unwrap().unwrap();
    pending.trigger = Trigger::InvoicePaid;
    let new = NewConnection { at: at(20), now: at(20), ..new_connection(pending, id()) };
    let account = fixture.store.connect(new).await.unwrap().unwrap();
    assert_eq!((account.connected_at, account.asks_from), (at(1), at(20)));
}

#[tokio::test]
async fn an_entry_is_put_off_unless_an_attempt_is_under_way() {
    let fixture = Fixture::connected().await;
    let ask = fixture.asked("j1").await;
    let due = async || fixture.store.next_message_due().await.unwrap().unwrap();
    fixture.store.postpone(&ask, at(6), at(60)).await.unwrap();
    assert_eq!(due().await, at(60));
    fixture.store.postpone(&ask, at(6), at(90)).await.unwrap();
    assert_eq!(due().await, at(60), "it is not due before that");
    fixture.store.lease(&ask, at(60), at(61)).await.unwrap().unwrap();
    fixture.store.postpone(&ask, at(60), at(90)).await.unwrap();
    assert_eq!(due().await, at(61), "somebody is on it");
    fixture.store.postpone(&ask, at(61), at(90)).await.unwrap();
    assert_eq!(due().await, at(90), "nobody is any more");
}

#[tokio::test]
async fn the_size_counts_folders_too() {
    let fixture = Fixture::connected_in_folder().await;
    let store = &fixture.store;
    let before = store.size_on_disk().await;
    let blobs = fixture.path().join("blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(blobs.join("blob"), [0; 4096]).unwrap();
    assert!(store.size_on_disk().await >= before + 4096);
}
