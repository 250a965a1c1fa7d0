//! The real program, killed again and again: at every named point, and at any instant.
//!
//! `JOBBER_REVIEWD_KILLS=500 cargo test --test it crashing -- --nocapture` is the long run; it prints
//! how often the program died where. `JOBBER_REVIEWD_SEED` plays another one.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use jobber_reviewd::testing::CrashPoint;
use jobber_reviewd::testing::model::{AccountId, Connection, LostReason, Outcome, SkipReason, WorkRef};
use jobber_sandbox::Op;
use serde_json::{Value, json};
use tokio::process::Child;

use crate::machine::{Machine, PATIENCE, open, terminate};

/// Kills in a run that nobody asked to be longer.
const KILLS: usize = WAYS + 4;

/// Every named point, and any instant four times as often.
const WAYS: usize = CrashPoint::ALL.len() + 4;

/// A life that does not come to its crash point ends anyway.
const LONGEST_LIFE: Duration = Duration::from_millis(1500);

/// An unplanned death comes within this time, in milliseconds.
const ANY_INSTANT: u64 = 250;

/// What must become of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Asked,
    Skipped(SkipReason),
}

/// A contractor, as the world knows it.
#[derive(Debug)]
struct Contractor {
    number: u64,
    id: AccountId,
    /// As the daemon last told; `None` before it knew the account.
    connection: Option<Connection>,
    watermark: Option<Timestamp>,
    spent_uses: u64,
}

impl Contractor {
    fn is_connected(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_connected)
    }
}

struct Run {
    machine: Machine,
    random: fastrand::Rng,
    contractors: Vec<Contractor>,
    fates: BTreeMap<(AccountId, String), Fate>,
    kills: BTreeMap<&'static str, usize>,
    lost_to_the_window: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    At(CrashPoint, u64),
    Anytime(Duration),
}

fn setting(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

#[tokio::test]
async fn whenever_it_is_killed_every_customer_is_asked_under_one_id() {
    let kills = setting("JOBBER_REVIEWD_KILLS", KILLS);
    let seed = setting("JOBBER_REVIEWD_SEED", 1);
    let mut run = Run {
        machine: Machine::set_up().await,
        random: fastrand::Rng::with_seed(seed as u64),
        contractors: Vec::new(),
        fates: BTreeMap::new(),
        kills: BTreeMap::new(),
        lost_to_the_window: 0,
    };
    let mut life = 0;
    while life < kills || !run.died_everywhere() && life < 3 * kills {
        run.live(life).await;
        life += 1;
    }
    run.come_to_rest().await;
    run.check().await;
    println!("seed {seed}, {} contractors, {} jobs", run.contractors.len(), run.fates.len());
    println!("{:<22}{:>6}", "killed at", "times");
    for (point, times) in &run.kills {
        println!("{point:<22}{times:>6}");
    }
    println!("{:<22}{:>6}", "in all", run.kills.values().sum::<usize>());
    println!("connections lost in the window that cannot be closed, and mended: {}", run.lost_to_the_window);
    assert!(run.died_everywhere(), "some points were never reached");
}

impl Run {
    fn died_everywhere(&self) -> bool {
        CrashPoint::ALL.iter().all(|point| self.kills.contains_key(point.name()))
    }

    /// One life of the daemon: something happens in the world, it starts, works, and is killed.
    async fn live(&mut self, life: usize) {
        let death = match CrashPoint::ALL.get(life % WAYS) {
            Some(point) => Death::At(*point, if self.random.u8(..4) == 0 { 2 } else { 1 }),
            None => Death::Anytime(Duration::from_millis(self.random.u64(1..ANY_INSTANT))),
        };
        let at = |prefix: &str| matches!(death, Death::At(point, _) if point.name().starts_with(prefix));
        let somebody_connects = at("connect.") || self.contractors.is_empty() || self.random.u8(..8) == 0;
        let candidate = somebody_connects.then(|| self.somebody_to_connect());
        self.work(if at("outbox.") || at("ask.") { 3 } else { 2 });
        if at("refresh.") || self.random.u8(..4) == 0 {
            self.expire_tokens();
        }
        if self.random.u8(..4) == 0 {
            self.machine.receiver.answers(&[503]);
        }

        let mut command = self.machine.command(&[]);
        command.stderr(Stdio::null());
        if let Death::At(point, times) = death {
            // A connect is passed by one contractor in a life.
            let times = if at("connect.") { 1 } else { times };
            command.env("JOBBER_REVIEWD_CRASH", format!("{}:{times}", point.name()));
        }
        let (ended, by_itself) = match self.machine.begin(command).await {
            Err(status) => (status, true),
            Ok(daemon) => {
                let walk = async {
                    if let Some(number) = candidate {
                        // It may die under the contractor's hands: what it came to is read afterwards.
                        let _cut_off = self.machine.walk(number).await.is_err();
                    }
                };
                let (ended, ()) = tokio::join!(die(daemon, death), walk);
                ended
            }
        };
        assert_eq!(ended.signal(), Some(9), "it did not die, it ended: {ended}");
        let place = match death {
            Death::At(point, _) if by_itself => point.name(),
            _ => "any instant",
        };
        *self.kills.entry(place).or_default() += 1;
        self.look().await;
    }

    /// Somebody who is not connected, new or lost.
    fn somebody_to_connect(&mut self) -> u64 {
        if let Some(lost) = self.contractors.iter().find(|contractor| !contractor.is_connected()) {
            return lost.number;
        }
        let name = format!("Contractor {}", self.contractors.len() + 1);
        let made = self
            .machine
            .sandbox
            .control(Op::AddAccount { name, timezone: "America/New_York".into() })
            .unwrap();
        let number = made["account"].as_u64().unwrap();
        let id = AccountId::new(made["id"].as_str().unwrap());
        // What was finished before nobody is asked about.
        let job = self.machine.close_a_job_of(number, customer());
        for (field, value) in [("completedAt", "2026-01-05T10:00:00Z"), ("updatedAt", "2026-01-05T10:00:00Z")]
        {
            let op = Op::SetField {
                account: number,
                id: job.clone(),
                field: field.into(),
                value: value.into(),
                touch: field == "completedAt",
            };
            self.machine.sandbox.control(op).unwrap();
        }
        self.contractors.push(Contractor { number, id, connection: None, watermark: None, spent_uses: 0 });
        number
    }

    /// Jobs are closed for contractors that were connected once, whether they are now or not.
    fn work(&mut self, jobs: usize) {
        let known: Vec<_> =
            self.contractors.iter().filter(|contractor| contractor.connection.is_some()).collect();
        for _ in 0..jobs {
            let Some(contractor) = self.random.choice(&known) else { return };
            let (customer, fate) = match self.random.u8(..8) {
                0 => (
                    json!({"firstName": "Nobody", "lastName": "Reachable"}),
                    Fate::Skipped(SkipReason::NoContact),
                ),
                1 => {
                    let mut customer = customer();
                    customer["receivesReviewRequests"] = json!(false);
                    (customer, Fate::Skipped(SkipReason::ClientOptedOut))
                }
                _ => (customer(), Fate::Asked),
            };
            let job = self.machine.close_a_job_of(contractor.number, customer);
            self.fates.insert((contractor.id.clone(), job), fate);
        }
    }

    fn expire_tokens(&self) {
        for contractor in &self.contractors {
            self.machine.sandbox.control(Op::ExpireTokens { account: contractor.number }).unwrap();
        }
    }

    /// What the store says after a death, and whether that can be.
    async fn look(&mut self) {
        let told = self.machine.run(&["account", "list", "--json"]).await;
        if told.status == 2 && self.contractors.iter().all(|contractor| contractor.connection.is_none()) {
            return;
        }
        assert_eq!(told.status, 0, "{}", told.err);
        let told = told.json();
        for contractor in &mut self.contractors {
            let spent = self.machine.sandbox.stats(contractor.number).spent_refresh_uses;
            let uses = spent - contractor.spent_uses;
            contractor.spent_uses = spent;
            assert!(uses <= 1, "one life used a spent refresh token {uses} times");
            let account = told.as_array().unwrap().iter().find(|row| row["id"] == contractor.id.as_str());
            let Some(account) = account else {
                assert!(contractor.connection.is_none(), "an account was forgotten");
                continue;
            };
            let connection: Connection = serde_json::from_value(account["connection"].clone()).unwrap();
            if let Connection::NeedsAuthorization { reason, .. } = &connection
                && contractor.is_connected()
            {
                assert_eq!(*reason, LostReason::RefreshInterrupted);
                self.lost_to_the_window += 1;
            }
            let watermark = account["watermarks"]["jobs"].as_str().map(|text| text.parse().unwrap());
            assert!(contractor.watermark <= watermark, "a watermark moved back");
            contractor.watermark = watermark;
            contractor.connection = Some(connection);
        }
    }

    /// No more deaths: what is lost is mended, what waits is done.
    async fn come_to_rest(&mut self) {
        let daemon = self.machine.start().await;
        self.expire_tokens();
        assert_eq!(terminate(daemon).await, 0);
        for _ in 0..3 {
            let once = self.machine.run(&["--once", "--json"]).await;
            assert!(once.status == 0 || once.status == 3 || once.status == 4, "{}", once.err);
        }
        self.look().await;
        let daemon = self.machine.start().await;
        let lost: Vec<_> = self
            .contractors
            .iter()
            .filter(|contractor| contractor.connection.is_some() && !contractor.is_connected())
            .map(|contractor| contractor.number)
            .collect();
        for number in lost {
            self.machine.walk(number).await.unwrap();
        }
        assert_eq!(terminate(daemon).await, 0);
        for _ in 0..3 {
            // What a receiver turned away waits for minutes: an admin does not.
            let queue = self.machine.run(&["queue", "list", "--json"]).await.json();
            for ask in queue.as_array().unwrap().iter().filter(|row| row["kind"] == "ask") {
                let retried = self.machine.run(&["queue", "retry", ask["id"].as_str().unwrap()]).await;
                assert_eq!(retried.status, 0, "{}", retried.err);
            }
            let once = self.machine.run(&["--once", "--json"]).await;
            assert!(once.status == 0 || once.status == 3, "{}{}", once.out, once.err);
        }
        self.look().await;
    }

    async fn check(&self) {
        let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for got in self.machine.receiver.got() {
            let body = got.json();
            ids.entry(body["job"]["id"].as_str().unwrap().to_owned())
                .or_default()
                .insert(got.id().to_owned());
        }
        let store = open(&self.machine);
        for ((account, job), fate) in &self.fates {
            let asked = ids.remove(job).unwrap_or_default();
            let work = WorkRef::job(jobber_reviewd::testing::model::EncodedId::new(job));
            let decision = store.decision(account, &work).await.unwrap();
            let decision = decision.unwrap_or_else(|| panic!("there is no decision on {work}"));
            match (fate, &decision.outcome) {
                (Fate::Asked, Outcome::Asked { ask_id, .. }) => {
                    assert_eq!(asked, BTreeSet::from([ask_id.to_string()]), "{work}");
                }
                (Fate::Skipped(expected), Outcome::Skipped { reason }) => {
                    assert_eq!((reason, asked.len()), (expected, 0), "{work}");
                }
                (fate, outcome) => panic!("{work} should be {fate:?} and is {outcome:?}"),
            }
        }
        assert!(ids.is_empty(), "nobody else may be asked: {ids:?}");
        assert_eq!(store.entries().await.unwrap().len(), 0, "something is left in the outbox");
        store.close().await;
    }
}

fn customer() -> Value {
    json!({
        "firstName": "John", "lastName": "Smith", "emails": [{"address": "john@example.com"}],
        "phones": [{"number": "5551234567", "smsAllowed": true}],
    })
}

/// Waits for the death of a daemon, and brings it about when it does not come; whether it came by itself.
async fn die(mut daemon: Child, death: Death) -> (ExitStatus, bool) {
    let patience = match death {
        Death::At(..) => LONGEST_LIFE,
        Death::Anytime(after) => after,
    };
    if let Ok(ended) = tokio::time::timeout(patience, daemon.wait()).await {
        return (ended.unwrap(), true);
    }
    daemon.start_kill().unwrap();
    let ended = tokio::time::timeout(PATIENCE, daemon.wait()).await.expect("it cannot be killed");
    (ended.unwrap(), false)
}
