//! The real program, killed again and again: at every named point, and at any instant.
//!
//! `JOBBER_REVIEWD_KILLS=500 cargo test --test it crashing -- --nocapture` is the long run; it prints
//! how often the program died where. `JOBBER_REVIEWD_SEED` plays another one.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use jobber_reviewd::testing::model::{AccountId, Connection, LostReason, Outcome, SkipReason, WorkRef};
use jobber_reviewd::testing::{ActionReply, ActionStatus, CrashPoint};
use jobber_sandbox::Op;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

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
    /// A client who gets notes.
    client: String,
}

/// A note that somebody wanted written, under a key.
#[derive(Debug)]
struct Note {
    contractor: u64,
    client: String,
    /// What was told about it; `None` while nothing was.
    told: Option<ActionStatus>,
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
    notes: BTreeMap<String, Note>,
    kills: BTreeMap<&'static str, usize>,
    lost_to_the_window: usize,
    suspended: usize,
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
        notes: BTreeMap::new(),
        kills: BTreeMap::new(),
        lost_to_the_window: 0,
        suspended: 0,
    };
    let mut life = 0;
    while life < kills || !run.died_everywhere() && life < 5 * kills {
        let point = if life < kills { CrashPoint::ALL.get(life % WAYS).copied() } else { run.missing() };
        run.live(point).await;
        life += 1;
    }
    run.come_to_rest().await;
    run.check().await;
    run.check_notes().await;
    println!("seed {seed}, {} contractors, {} jobs", run.contractors.len(), run.fates.len());
    println!("{:<22}{:>6}", "killed at", "times");
    for (point, times) in &run.kills {
        println!("{point:<22}{times:>6}");
    }
    println!("{:<22}{:>6}", "in all", run.kills.values().sum::<usize>());
    println!("lives with a test sweep that was suspended: {}", run.suspended);
    println!("connections lost in the window that cannot be closed, and mended: {}", run.lost_to_the_window);
    assert!(run.died_everywhere(), "some points were never reached");
}

impl Run {
    fn died_everywhere(&self) -> bool {
        CrashPoint::ALL.iter().all(|point| self.kills.contains_key(point.name()))
    }

    /// A point at which it did not die yet.
    fn missing(&mut self) -> Option<CrashPoint> {
        let missing: Vec<_> =
            CrashPoint::ALL.iter().filter(|point| !self.kills.contains_key(point.name())).collect();
        self.random.choice(missing).copied()
    }

    /// One life of the daemon: something happens in the world, it starts, works, and is killed.
    async fn live(&mut self, point: Option<CrashPoint>) {
        let death = match point {
            Some(point) => Death::At(point, if self.random.u8(..4) == 0 { 2 } else { 1 }),
            None => Death::Anytime(Duration::from_millis(self.random.u64(1..ANY_INSTANT))),
        };
        let at = |prefix: &str| matches!(death, Death::At(point, _) if point.name().starts_with(prefix));
        let is_nobody_there = !self.contractors.iter().any(Contractor::is_connected);
        let somebody_connects = at("connect.") || is_nobody_there || self.random.u8(..8) == 0;
        let candidate = somebody_connects.then(|| self.somebody_to_connect());
        self.work(if at("outbox.") || at("ask.") { 3 } else { 2 });
        if at("refresh.") || self.random.u8(..4) == 0 {
            self.expire_tokens();
        }
        if self.random.u8(..4) == 0 {
            self.machine.receiver.answers(&[503]);
        }

        let note = match self.random.u8(..3) {
            _ if at("action.") => self.somebody_to_note(true),
            0 => self.somebody_to_note(false),
            _ => None,
        };
        let suspends = self.random.u8(..4) == 0;
        let mut command = self.machine.command(&[]);
        command.stderr(Stdio::null());
        if let Death::At(point, times) = death {
            // A connect is passed by one contractor in a life.
            let times = if at("connect.") || at("action.") { 1 } else { times };
            command.env("JOBBER_REVIEWD_CRASH", format!("{}:{times}", point.name()));
        }
        let (ended, by_itself) = match self.machine.begin(command).await {
            Err(status) => (status, true),
            Ok(daemon) => {
                let suspended = if suspends { Some(self.suspended_sweep().await) } else { None };
                let walk = async {
                    if let Some(number) = candidate {
                        // It may die under the contractor's hands: what it came to is read afterwards.
                        let _cut_off = self.machine.walk(number).await.is_err();
                    }
                };
                let write = async {
                    match &note {
                        Some(key) => self.write(key).await,
                        None => None,
                    }
                };
                let (ended, (), told) = tokio::join!(die(daemon, death, note.is_some()), walk, write);
                if let (Some(key), Some(told)) = (&note, told) {
                    self.tell(key, told);
                }
                if let Some(mut sweep) = suspended {
                    sweep.kill().await.unwrap();
                    self.suspended += 1;
                }
                ended
            }
        };
        assert_eq!(ended.signal(), Some(9), "it did not die, it ended: {ended}");
        let place = match death {
            Death::At(point, _) if by_itself => point.name(),
            _ => "any instant",
        };
        *self.kills.entry(place).or_default() += 1;
        // Notes and sweeps are done by processes of their own if the daemon is dead by then.
        self.look(1 + u64::from(note.is_some()) + u64::from(suspends)).await;
    }

    /// A test sweep from a shell that is suspended: it reads nothing of what the daemon tells.
    async fn suspended_sweep(&self) -> Child {
        let mut command = self.machine.command(&["--once", "--json"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let sweep = command.spawn().unwrap();
        let id = sweep.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-STOP", &id]).status().await.unwrap().success());
        sweep
    }

    /// The key of a note that is to be written: a new one, or one of which nothing was told.
    fn somebody_to_note(&mut self, is_new: bool) -> Option<String> {
        let open: Vec<_> = self.notes.iter().filter(|(_, note)| note.told.is_none()).collect();
        if let Some((key, _)) = self.random.choice(open).filter(|_| !is_new) {
            return Some(key.clone());
        }
        let known: Vec<_> = self.contractors.iter().filter(|contractor| contractor.is_connected()).collect();
        let contractor = self.random.choice(known)?;
        let key = format!("note {}", self.notes.len());
        let note = Note { contractor: contractor.number, client: contractor.client.clone(), told: None };
        self.notes.insert(key.clone(), note);
        Some(key)
    }

    /// Writes a note, and what was told about it, if anything was.
    async fn write(&self, key: &str) -> Option<ActionStatus> {
        let note = &self.notes[key];
        let id = self.contractors.iter().find(|contractor| contractor.number == note.contractor)?.id.as_str();
        let words =
            ["jobber", "clients", "note", &note.client, "--account", id, "--message", key, "--key", key];
        let said = self.machine.run(&[&words[..], &["--json"]].concat()).await;
        let reply: ActionReply = serde_json::from_str(&said.out).ok()?;
        let status = match reply.status {
            ActionStatus::Done => 0,
            ActionStatus::Unknown => 4,
            other => panic!("a note is {other:?}: {}", said.out),
        };
        assert_eq!(said.status, status, "{}", said.out);
        Some(reply.status)
    }

    fn tell(&mut self, key: &str, told: ActionStatus) {
        if let Some(note) = self.notes.get_mut(key) {
            note.told = Some(told);
        }
    }

    /// A note that is told to be done is there once. One of which it is not known may be there once.
    async fn check_notes(&mut self) {
        let open: Vec<String> =
            self.notes.iter().filter(|(_, note)| note.told.is_none()).map(|(key, _)| key.clone()).collect();
        for key in open {
            let told = self.write(&key).await;
            self.tell(&key, told.unwrap_or_else(|| panic!("nothing is told about {key}")));
        }
        let audit = self.machine.run(&["audit", "--actions", "--json"]).await.json();
        for (key, note) in &self.notes {
            let query =
                "query ($id: EncodedId!) { client(id: $id) { notes(first: 100) { nodes { message } } } }";
            let answer = self.machine.sandbox.graphql(note.contractor, query, json!({ "id": note.client }));
            let written = answer["data"]["client"]["notes"]["nodes"].as_array().unwrap();
            let times = written.iter().filter(|row| row["message"] == key.as_str()).count();
            let record = audit.as_array().unwrap().iter().find(|row| row["key"] == key.as_str()).unwrap();
            match note.told {
                Some(ActionStatus::Done) => {
                    assert_eq!((times, record["outcome"].as_str()), (1, Some("done")), "{key}");
                }
                _ => assert!(times <= 1 && record["outcome"] == "unknown", "{key}: {times} times, {record}"),
            }
        }
        let unknown = self.notes.values().filter(|note| note.told == Some(ActionStatus::Unknown)).count();
        println!(
            "notes written: {}, of which it is not known whether they were: {unknown}",
            self.notes.len()
        );
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
        let scopes: Vec<String> = ["clients", "jobs", "scheduled_items", "invoices", "users"]
            .iter()
            .flat_map(|area| [format!("read_{area}"), format!("write_{area}")])
            .collect();
        let set = json!({ "scopes": scopes });
        self.machine.sandbox.control(Op::Switches { account: Some(number), set }).unwrap();
        let made = self.machine.sandbox.graphql(
            number,
            "mutation { clientCreate(input: {firstName: \"Noted\"}) { client { id } } }",
            json!({}),
        );
        let client = made["data"]["clientCreate"]["client"]["id"].as_str().unwrap().to_owned();
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
        self.contractors.push(Contractor {
            number,
            id,
            connection: None,
            watermark: None,
            spent_uses: 0,
            client,
        });
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
    async fn look(&mut self, processes: u64) {
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
            assert!(uses <= processes, "{processes} lives used a spent refresh token {uses} times");
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
        self.look(1).await;
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
        self.look(1).await;
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
async fn die(mut daemon: Child, death: Death, is_writing: bool) -> (ExitStatus, bool) {
    let patience = match death {
        // The schema is parsed for the first write of a life.
        Death::At(point, _) if is_writing && point.name().starts_with("action.") => PATIENCE,
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
