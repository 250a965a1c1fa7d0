//! Everything that can go wrong, mixed at random, with work going on all the while.
//!
//! A seed is a story: contractors with different triggers finish, reopen and date back work; Jobber and the receiver
//! fail in every way the local Jobber knows; the daemon is restarted. When the trouble ends, everybody who should have
//! been asked was asked under one id, and nobody else.
//!
//! `JOBBER_REVIEWD_MIXTURES=200 cargo test --test it mixing -- --nocapture` plays two hundred and
//! prints what was mixed; `JOBBER_REVIEWD_SEED` chooses the first one.

mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use jobber_reviewd::testing::model::{Delivery, Outcome, SkipReason, Trigger, WorkRef};
use jobber_reviewd::testing::protocol::{AccountPause, AccountResume, QueueList, QueueRetry};
use jobber_reviewd::testing::{Concurrency, Period, QueueRow, Window};
use jobber_sandbox::{FaultKind, Op, Switches};
use serde_json::{Value, json};

use crate::support::*;

/// Stories in a run that nobody asked to be longer.
const MIXTURES: usize = 12;

/// Old jobs that change in the same second when somebody edits many at once; `JOBBER_REVIEWD_BACKLOG` has other numbers.
const BACKLOG: usize = 150;

/// Things that happen in one story.
const EVENTS: usize = 60;

/// What must become of a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Asked,
    Skipped(SkipReason),
    /// Somebody who may have been asked about other work.
    AskedUnlessRecently,
    /// Reopened before anybody was asked.
    NotAsked,
}

#[derive(Debug)]
struct Work {
    contractor: usize,
    fate: Fate,
    person: u32,
    /// Jobber gave this work a status that nobody knows, for a while.
    was_unclear: bool,
    /// Reopened while its ask was on its way: then it may end as not finished any more.
    was_taken_back: bool,
    customer: Customer,
    /// Not decided when an account was held for weeks: then it may be too old, or its customer opted out meanwhile.
    was_held_up: bool,
}

struct Story {
    app: TestApp,
    random: fastrand::Rng,
    contractors: Vec<(Contractor, Trigger)>,
    works: BTreeMap<WorkRef, Work>,
    /// Who opted out while their account was held, and how many requests the platform had then.
    opted_out: BTreeMap<(usize, String), usize>,
    has_backlog: bool,
    people: u32,
    mixed: BTreeMap<&'static str, usize>,
}

fn setting(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

#[tokio::test]
async fn whatever_is_mixed_everybody_is_asked_once_when_it_is_over() {
    let first = setting("JOBBER_REVIEWD_SEED", 1);
    let mixtures = setting("JOBBER_REVIEWD_MIXTURES", MIXTURES);
    let mut mixed = BTreeMap::new();
    let (mut works, mut asks) = (0, 0);
    for seed in first..first + mixtures {
        println!("seed {seed}");
        let story = Story::begin(seed as u64).await.play().await;
        works += story.works.len();
        asks += story.app.receiver.ids().into_iter().collect::<BTreeSet<_>>().len();
        for (what, times) in story.mixed {
            *mixed.entry(what).or_insert(0) += times;
        }
    }
    println!("{mixtures} stories, {works} pieces of work, {asks} asks");
    for (what, times) in &mixed {
        println!("{what:<40}{times:>6}");
    }
}

impl Story {
    async fn begin(seed: u64) -> Self {
        // One account after the other: the same seed tells the same story.
        let app = TestApp::start_with(|config| {
            config.poll.concurrency = Concurrency(1);
            config.review.cooldown = Period::parse("180d").unwrap();
            config.review.window =
                serde_json::from_value(window(["09:00-20:00", "10:00-18:00", "closed"])).unwrap();
        })
        .await;
        let mut random = fastrand::Rng::with_seed(seed);
        let mut contractors = Vec::new();
        for name in ["Ace Plumbing", "Bright Windows", "Clear Gutters"] {
            let contractor = app.contractor(name);
            let trigger = *random.choice(&Trigger::ALL).unwrap();
            app.connect(&contractor, trigger).await;
            contractors.push((contractor, trigger));
        }
        app.pass(hours(4));
        Self {
            app,
            random,
            contractors,
            works: BTreeMap::new(),
            opted_out: BTreeMap::new(),
            has_backlog: false,
            people: 0,
            mixed: BTreeMap::new(),
        }
    }

    async fn play(mut self) -> Self {
        for _ in 0..EVENTS {
            match self.random.u8(..14) {
                0..=2 => self.somebody_works(),
                3 => self.something_is_reopened(),
                4 => self.jobber_fails(),
                5 => self.jobber_behaves_oddly(),
                6 => self.the_receiver_fails(),
                7 => self.tokens_end().await,
                8 => self.clocks_drift(),
                9 => self = self.a_clock_jumps().await,
                10 => self.a_record_fails().await,
                12 if self.random.u8(..4) == 0 => self.an_account_is_held_for_weeks().await,
                13 if !self.has_backlog => self.many_old_jobs_change(),
                12 | 13 => {}
                _ => {
                    if self.random.u8(..3) == 0 {
                        self.mix("restarts");
                        self.app = self.app.restart().await;
                    }
                }
            }
            self.app.pass(minutes(self.random.i64(1..40)));
            self.app.once().await;
        }
        self.trouble_ends().await;
        self.check().await;
        self
    }

    fn mix(&mut self, what: &'static str) {
        *self.mixed.entry(what).or_default() += 1;
    }

    fn anybody(&mut self) -> usize {
        self.random.usize(..self.contractors.len())
    }

    fn somebody_works(&mut self) {
        let index = self.anybody();
        let (contractor, trigger) = self.contractors[index].clone();
        let app = &self.app;
        // Most are new; some come again, on a card of their own and with the number written otherwise.
        let is_known = self.people > 0 && self.random.u8(..6) == 0;
        let person = if is_known { self.random.u32(..self.people) } else { self.people };
        self.people = self.people.max(person + 1);
        let number = if is_known { format!("+1 555-{person:07}") } else { format!("555{person:07}") };
        let mut card = json!({"phones": [{"number": number, "smsAllowed": true}], "emails": []});
        let fate = match self.random.u8(..6) {
            0 => {
                card["phones"] = json!([]);
                Fate::Skipped(SkipReason::NoContact)
            }
            1 => {
                card["receivesReviewRequests"] = json!(false);
                Fate::Skipped(SkipReason::ClientOptedOut)
            }
            _ if is_known => Fate::AskedUnlessRecently,
            _ => Fate::Asked,
        };
        let customer = contractor.customer_with(app, card);
        let job = contractor.job(app, &customer, "Gutter Cleaning", &[]);
        let work = match trigger {
            Trigger::JobCompleted => {
                contractor.close(app, &job);
                job
            }
            Trigger::VisitCompleted => {
                let visit = contractor.another_visit(app, &job);
                // Up to three hours ago: no moving watermark sees it.
                let ago = minutes(self.random.i64(0..180));
                contractor.complete(app, &visit, Some(app.clock_now() - ago));
                visit
            }
            Trigger::InvoiceCreated => contractor.invoice(app, &customer, Some(&job), true),
            Trigger::InvoicePaid => {
                let invoice = contractor.invoice(app, &customer, Some(&job), true);
                contractor.pay(app, &invoice);
                invoice
            }
        };
        self.works.insert(
            work,
            Work {
                contractor: index,
                fate,
                was_unclear: false,
                was_taken_back: false,
                person,
                customer,
                was_held_up: false,
            },
        );
        if is_known {
            // Whoever comes first is asked: that may be this one.
            for work in
                self.works.values_mut().filter(|work| work.person == person && work.fate == Fate::Asked)
            {
                work.fate = Fate::AskedUnlessRecently;
            }
            self.mix("people who come again");
        }
        self.mix("pieces of work");
    }

    /// Some work is not finished after all; sometimes it is finished again.
    fn something_is_reopened(&mut self) {
        let undone: Vec<_> = self
            .works
            .iter()
            .filter(|(_, work)| matches!(work.fate, Fate::Asked | Fate::AskedUnlessRecently))
            .collect();
        let Some((reference, work)) = self.random.choice(undone) else { return };
        let (contractor, trigger) = self.contractors[work.contractor].clone();
        let reference = reference.clone();
        let app = &self.app;
        match trigger {
            Trigger::JobCompleted => contractor.reopen(app, &reference),
            Trigger::VisitCompleted => contractor.uncomplete(app, &reference),
            Trigger::InvoicePaid => contractor.reopen_invoice(app, &reference),
            Trigger::InvoiceCreated => return,
        }
        let asked = matches!(
            app.decision(&contractor, &reference).map(|decision| decision.outcome),
            Some(Outcome::Asked { .. })
        );
        let again = self.random.bool();
        if again {
            match trigger {
                Trigger::JobCompleted => contractor.close(app, &reference),
                Trigger::VisitCompleted => contractor.complete(app, &reference, None),
                Trigger::InvoicePaid | Trigger::InvoiceCreated => contractor.pay(app, &reference),
            }
        }
        let work = self.works.get_mut(&reference).unwrap();
        if !asked && !again {
            work.fate = Fate::NotAsked;
        }
        work.was_taken_back |= asked;
        self.mix(if again { "reopened and finished again" } else { "reopened" });
    }

    fn jobber_fails(&mut self) {
        let status = |status| FaultKind::Http { status, retry_after: None };
        let (what, kind) = match self.random.u8(..10) {
            0 => ("connection reset", FaultKind::Reset),
            1 => ("answer cut off", FaultKind::Truncate),
            2 => ("slow answer", FaultKind::Hang { ms: 3 }),
            3 => ("HTTP 500", status(500)),
            4 => ("HTTP 502", status(502)),
            5 => ("HTTP 429", FaultKind::Http { status: 429, retry_after: Some("120".into()) }),
            6 => ("waiting room", FaultKind::WaitingRoom),
            7 => ("JSON that means nothing", FaultKind::Nonsense),
            8 => ("token expired in the middle of a sweep", FaultKind::Expired),
            _ => ("HTTP 401 without words", status(401)),
        };
        let operation = *self
            .random
            .choice(
                [None, Some("Jobs"), Some("Visits"), Some("Invoices"), Some("Details"), Some("Extras")]
                    .iter(),
            )
            .unwrap();
        let index = self.anybody();
        let times = self.random.u32(1..4);
        self.app.fault(&self.contractors[index].0, kind, times, operation);
        self.mix(what);
    }

    fn jobber_behaves_oddly(&mut self) {
        let index = self.anybody();
        let (contractor, _) = self.contractors[index].clone();
        let (what, on, off): (_, Value, Value) = match self.random.u8(..15) {
            0 => ("rotation off", json!({"rotation": false}), json!({"rotation": true})),
            1 => (
                "`after` includes its instant",
                json!({"after_inclusive": true}),
                json!({"after_inclusive": false}),
            ),
            2 => (
                "reopening keeps completedAt",
                json!({"reopen_clears_completed_at": false}),
                json!({"reopen_clears_completed_at": true}),
            ),
            3 => (
                "throttled",
                json!({"bucket_size": 100.0, "bucket_refill": 50_000.0}),
                json!({"bucket_size": 10_000.0, "bucket_refill": 500.0}),
            ),
            4 => {
                ("no requests left", json!({"requests_per_window": 0}), json!({"requests_per_window": 2500}))
            }
            5 => (
                "another version served",
                json!({"served_version": "2022-09-01"}),
                json!({"served_version": null}),
            ),
            6 => (
                "fields hidden",
                json!({"hidden_fields": ["Query.jobs", "Query.visits", "Query.invoices"]}),
                json!({"hidden_fields": []}),
            ),
            12 => ("hidden fractions", json!({"hidden_fractions": true}), json!({"hidden_fractions": false})),
            13 => ("ties in any order", json!({"unstable_ties": true}), json!({"unstable_ties": false})),
            7 => ("users hidden", json!({"hidden_types": ["User"]}), json!({"hidden_types": []})),
            8 => ("clients hidden", json!({"hidden_types": ["Client"]}), json!({"hidden_types": []})),
            9 => ("extra fields", json!({"extra_fields": true}), json!({"extra_fields": false})),
            10 => ("errors beside data", json!({"partial_errors": true}), json!({"partial_errors": false})),
            11 => (
                "unknown status",
                json!({"unknown_enum": {"field": "jobStatus", "value": "paused_by_weather"}}),
                json!({"unknown_enum": null}),
            ),
            _ => (
                "tokens that live a minute",
                json!({"token_ttl_seconds": 60}),
                json!({"token_ttl_seconds": 3600}),
            ),
        };
        if self.random.bool() {
            self.app.switch(&contractor, on);
            self.mix(what);
        } else {
            self.app.switch(&contractor, off);
        }
        if what == "unknown status" {
            for work in self.works.values_mut().filter(|work| work.contractor == index) {
                work.was_unclear = true;
            }
        }
    }

    fn the_receiver_fails(&mut self) {
        let answers: Vec<u16> = (0..self.random.usize(1..4))
            .map(|_| *self.random.choice(&[500, 503, 429, 404, 302]).unwrap())
            .collect();
        self.app.receiver.answers(&answers);
        self.mix("receiver refuses");
    }

    /// Tokens run out, are revoked, or the contractor disconnects; who has to authorises anew, sooner or later.
    async fn tokens_end(&mut self) {
        let index = self.anybody();
        let (contractor, trigger) = self.contractors[index].clone();
        let account = contractor.number;
        if self.random.u8(..3) == 0 {
            let (what, kind) = match self.random.u8(..3) {
                0 => ("no token: HTTP 500", FaultKind::Http { status: 500, retry_after: None }),
                1 => ("no token: connection reset", FaultKind::Reset),
                _ => ("token rotated, answer lost", FaultKind::ResetAfter),
            };
            self.app.fault(&contractor, kind, 1, Some("token"));
            self.mix(what);
        }
        let (what, op) = match self.random.u8(..4) {
            0 => ("tokens revoked", Op::RevokeTokens { account }),
            1 => ("disconnected in Jobber", Op::Disconnect { account }),
            _ => ("tokens expired", Op::ExpireTokens { account }),
        };
        self.app.sandbox.control(op).unwrap();
        self.mix(what);
        if self.random.bool() {
            self.app.once().await;
            self.reconnect(&contractor, trigger).await;
        }
    }

    async fn reconnect(&mut self, contractor: &Contractor, trigger: Trigger) {
        self.app.sandbox.control(Op::ClearFaults { account: contractor.number }).unwrap();
        self.app.switch(contractor, json!({"served_version": null, "partial_errors": false, "requests_per_window": 2500, "bucket_size": 10_000.0}));
        self.app.connect(contractor, trigger).await;
    }

    fn clocks_drift(&mut self) {
        let skew = minutes(self.random.i64(-10..=10));
        self.app.skew(skew);
        self.mix("clocks drift");
    }

    /// The machine's clock is wrong for a while, and Jobber's is right. The daemon runs on, or is started meanwhile or
    /// afterwards.
    async fn a_clock_jumps(mut self) -> Self {
        let (what, by) = match self.random.u8(..6) {
            0 => ("clock a minute back", minutes(-1)),
            1 => ("clock a day back", hours(-24)),
            2 => ("clock three years back", hours(-3 * 365 * 24)),
            3 => ("clock ten minutes ahead", minutes(10)),
            4 => ("clock ten days ahead", hours(240)),
            _ => ("clock three years ahead", hours(3 * 365 * 24)),
        };
        self.app.clock.advance(by);
        if self.random.bool() {
            self.app = self.app.restart().await;
        }
        for _ in 0..self.random.u8(..3) {
            self.app.once().await;
            self.app.context.tidy().await.unwrap();
        }
        let is_down_when_it_goes_back = self.random.bool();
        self.app.clock.advance(-by);
        if is_down_when_it_goes_back {
            self.app = self.app.restart().await;
        }
        self.mix(what);
        self
    }

    /// The program fails on one record, over and over, until it is mended.
    async fn a_record_fails(&mut self) {
        let records: Vec<_> = self.works.keys().collect();
        let Some(record) = self.random.choice(records) else { return };
        jobber_reviewd::testing::poison(Some(record.id.as_str()));
        for _ in 0..3 {
            self.app.once().await;
            self.app.pass(minutes(2));
        }
        jobber_reviewd::testing::poison(None);
        self.mix("the program fails on a record");
    }

    /// An account is paused for weeks; some of its customers opt out meanwhile.
    async fn an_account_is_held_for_weeks(&mut self) {
        let index = self.anybody();
        let contractor = self.contractors[index].0.clone();
        let account = contractor.id.to_string();
        self.app.run(AccountPause { account: account.clone() }).await.unwrap();
        for (reference, work) in &mut self.works {
            let decision = self.app.decision(&self.contractors[work.contractor].0, reference);
            let is_over = decision.is_some_and(|decision| match decision.outcome {
                Outcome::Asked { delivery, .. } => matches!(delivery, Delivery::Delivered { .. }),
                Outcome::Skipped { .. } => true,
                _ => false,
            });
            work.was_held_up |= !is_over;
            if work.contractor == index && !is_over && self.random.bool() {
                contractor.set(&self.app, &work.customer.id, "receivesReviewRequests", json!(false));
                let known = self.app.receiver.got().len();
                self.opted_out.insert((index, work.customer.id.clone()), known);
            }
        }
        for _ in 0..self.random.u8(2..8) {
            self.app.pass(hours(7 * 24 / 2));
            self.app.once().await;
        }
        self.app.run(AccountResume { account }).await.unwrap();
        self.mix("held for weeks");
    }

    /// Somebody edits all their old jobs at once: a long list of jobs that changed in the same second.
    fn many_old_jobs_change(&mut self) {
        let jobs = |(_, trigger): &&(Contractor, Trigger)| *trigger == Trigger::JobCompleted;
        let Some((contractor, _)) = self.contractors.iter().find(jobs).cloned() else { return };
        let customer = contractor.customer(&self.app);
        let job = contractor.job(&self.app, &customer, "Old work", &[]);
        contractor.close(&self.app, &job);
        contractor.set(&self.app, job.id.as_str(), "completedAt", json!("2026-01-05T10:00:00Z"));
        let copies = u32::try_from(setting("JOBBER_REVIEWD_BACKLOG", BACKLOG)).unwrap();
        let account = contractor.number;
        self.app.sandbox.control(Op::Copy { account, id: job.id.to_string(), copies }).unwrap();
        self.has_backlog = true;
        self.mix("many old jobs that change at once");
    }

    async fn trouble_ends(&mut self) {
        self.app.skew(minutes(0));
        self.app.receiver.answers(&[]);
        let all: Vec<_> = self.contractors.clone();
        for (contractor, trigger) in all {
            self.app.sandbox.control(Op::ClearFaults { account: contractor.number }).unwrap();
            self.app.switch(&contractor, serde_json::to_value(Switches::default()).unwrap());
            self.app.once().await;
            self.app.pass(minutes(6));
            self.app.once().await;
            let account = self.app.context.store.account(&contractor.id).await.unwrap().unwrap();
            // When several are refused at once, nobody is called lost, but the operator is told.
            let health = self.app.context.store.health(&contractor.id).await.unwrap();
            if !account.connection.is_connected() || health.failing_since.is_some() {
                self.reconnect(&contractor, trigger).await;
            }
        }
        // Over a weekend, whenever it is.
        for _ in 0..72 {
            self.app.pass(hours(1));
            self.app.once().await;
        }
        while !self.window().is_open(&Self::zone(), self.app.clock_now()) {
            self.app.pass(minutes(30));
        }
        // What the receiver turned away waits for hours: an admin does not.
        let rows = self.app.run(QueueList {}).await.unwrap();
        for row in rows {
            if let QueueRow::Ask { id, .. } = row {
                self.app.run(QueueRetry { id }).await.unwrap();
            }
        }
        self.app.sweep().await;
    }

    fn window(&self) -> Window {
        self.app.context.config.review.window.window()
    }

    fn zone() -> TimeZone {
        TimeZone::get("America/New_York").unwrap()
    }
}
