//! Several daemons over one database: one works, the others stand by and take over.
//!
//! `JOBBER_REVIEWD_KILLS=100 cargo test --test it standby -- --nocapture` is the long run; it prints how often what
//! happened. `JOBBER_REVIEWD_SEED` plays another one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use jobber_sandbox::Op;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::process::{Child, Command};

use crate::cluster::{Cluster, skips};
use crate::machine::{Machine, program};
use crate::support::{http, local};

/// A takeover after a death or a pause takes at most this long.
const TAKEOVER: Duration = Duration::from_secs(30);

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_mins(2);

const HALF_A_BLINK: Duration = Duration::from_millis(50);

struct Fleet {
    machine: Machine,
    cluster: Cluster,
    daemons: Vec<Option<Child>>,
    /// Where each of them listens.
    listens: Vec<SocketAddr>,
    /// Where the HTTP API of each is.
    apis: Vec<SocketAddr>,
    jobs: BTreeSet<String>,
    /// Connections that were lost because a refresh was answered and its answer was not stored, and mended.
    lost: usize,
}

impl Fleet {
    /// So many daemons, and a contractor who is connected. `None` where PostgreSQL is not installed.
    async fn set_up(size: usize) -> Option<Self> {
        let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap()?;
        let (cluster, url) = tokio::task::spawn_blocking(move || {
            let url = cluster.database();
            (cluster, url)
        })
        .await
        .unwrap();
        let mut machine = Machine::set_up_with(Some(url)).await;
        let ports = (0..2 * size).map(|_| std::net::TcpListener::bind(local()).unwrap()).collect::<Vec<_>>();
        let mut listens = ports.iter().map(|port| port.local_addr().unwrap()).collect::<Vec<_>>();
        drop(ports);
        let apis = listens.split_off(size);
        machine.public_url = balance(listens.clone()).await;
        for (number, listen) in listens.iter().enumerate() {
            let own =
                machine.config(listen.port()).replace("control.sock", &format!("control-{number}.sock"));
            let own = format!("{own}[api]\nlisten = \"{}\"\n", apis[number]);
            std::fs::write(machine.path(&format!("config-{number}.toml")), own).unwrap();
        }
        let (daemons, jobs) = (Vec::new(), BTreeSet::new());
        let mut fleet = Self { machine, cluster, daemons, listens, apis, jobs, lost: 0 };
        fleet.speak_to(0);
        fleet.daemons.push(None);
        fleet.start(0);
        fleet.until("the first daemon works", async |fleet| fleet.working().await == Some(0)).await;
        fleet.machine.connect().await;
        for number in 1..size {
            fleet.daemons.push(None);
            fleet.start(number);
        }
        Some(fleet)
    }

    /// Verbs go to this daemon.
    fn speak_to(&self, number: usize) {
        let own = self.machine.path(&format!("config-{number}.toml"));
        std::fs::copy(own, self.machine.path("config.toml")).unwrap();
    }

    fn start(&mut self, number: usize) {
        let mut command = program();
        command.arg("--config").arg(self.machine.path(&format!("config-{number}.toml")));
        command.env("JOBBER_REVIEWD_FIRST_START", "true").stdout(Stdio::null()).stderr(Stdio::null());
        self.daemons[number] = Some(command.spawn().unwrap());
    }

    /// As systemd does: whoever ended is started again.
    fn keep_up(&mut self) {
        for number in 0..self.daemons.len() {
            let daemon = self.daemons[number].as_mut();
            if daemon.is_none_or(|daemon| daemon.try_wait().unwrap().is_some()) {
                self.start(number);
            }
        }
    }

    /// The daemon that works, as the database knows it.
    async fn working(&self) -> Option<usize> {
        let url = self.machine.database.clone()?;
        let holder = "SELECT coalesce((SELECT substring(owner FROM '[0-9]+$')::bigint FROM jobber_reviewd.lease \
            WHERE until > clock_timestamp()), 0)";
        let holder = tokio::task::spawn_blocking(move || Cluster::try_number(&url, holder)).await.unwrap()?;
        let is_holder =
            |daemon: &Option<Child>| daemon.as_ref().and_then(Child::id).map(i64::from) == Some(holder);
        self.daemons.iter().position(is_holder)
    }

    async fn until(&self, what: &str, is_so: impl AsyncFn(&Self) -> bool) {
        let begun = Instant::now();
        let mut look = tokio::time::interval(HALF_A_BLINK);
        while !is_so(self).await {
            assert!(begun.elapsed() < PATIENCE, "it never came to this: {what}");
            look.tick().await;
        }
    }

    /// Every daemon answers on its socket, whether it works or stands by.
    async fn all_listen(&self) {
        self.until("every daemon listens", async |fleet| {
            for number in 0..fleet.daemons.len() {
                let socket = fleet.machine.path(&format!("control-{number}.sock"));
                if UnixStream::connect(socket).await.is_err() {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// Asks a daemon for its health while nobody works. Returns when the question is on its way, with the status to come.
    async fn ask_meanwhile(&self, number: usize) -> tokio::task::JoinHandle<u16> {
        let request = http().get(format!("http://{}/healthz", self.listens[number])).send();
        let asked = tokio::spawn(async { request.await.unwrap().status().as_u16() });
        self.until("it is passed on", async |fleet| {
            fleet.number("SELECT count(*) FROM jobber_reviewd.calls WHERE taken IS NULL").await > 0
        })
        .await;
        asked
    }

    async fn standing_by(&self) -> usize {
        let status = self.machine.run(&["status", "--json"]).await.json();
        status["daemons"]["stand_by"].as_array().unwrap().len()
    }

    /// A number that the database says.
    async fn number(&self, query: &'static str) -> i64 {
        let url = self.machine.database.clone().unwrap();
        tokio::task::spawn_blocking(move || Cluster::number(&url, query)).await.unwrap()
    }

    async fn signal(&self, number: usize, name: &str) {
        let id = self.daemons[number].as_ref().and_then(Child::id).unwrap().to_string();
        assert!(Command::new("kill").args([name, &id]).status().await.unwrap().success());
    }

    async fn ended(&mut self, number: usize) -> ExitStatus {
        let daemon = self.daemons[number].take();
        tokio::time::timeout(PATIENCE, daemon.unwrap().wait()).await.expect("it did not end").unwrap()
    }

    fn close_a_job(&mut self) {
        let job = self.machine.close_a_job();
        self.jobs.insert(job);
    }

    /// The ids under which each job was asked about.
    fn asked(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for got in self.machine.receiver.got() {
            let job = got.json()["job"]["id"].as_str().unwrap().to_owned();
            ids.entry(job).or_default().insert(got.id().to_owned());
        }
        ids
    }

    /// Sends the contractor a new link if the connection is lost, through any of the daemons. Returns whether somebody
    /// works.
    async fn mend(&mut self, any: usize) -> bool {
        if self.working().await.is_none() {
            return false;
        }
        self.speak_to(any);
        let told = self.machine.run(&["account", "list", "--json"]).await;
        if told.status != 0 {
            return false;
        }
        let connection = &told.json()[0]["connection"];
        if connection["state"] == "needs_authorization" {
            assert_eq!(connection["reason"], "refresh_interrupted");
            // It may be killed on the way.
            self.lost += usize::from(self.machine.walk(self.machine.account).await.is_ok());
        }
        true
    }

    /// All jobs were asked about, each under one id, and no refresh token was used twice: after a lost answer it is tried
    /// once more.
    async fn all_asked(&self) {
        self.until("every job is asked about", async |fleet| fleet.asked().len() == fleet.jobs.len()).await;
        for (job, ids) in self.asked() {
            assert!(self.jobs.contains(&job) && ids.len() == 1, "{job}: {ids:?}");
        }
        let spent = self.machine.sandbox.stats(self.machine.account).spent_refresh_uses;
        assert!(spent <= self.lost as u64, "{spent} uses of spent tokens, {} connections lost", self.lost);
    }
}

/// A load balancer before daemons: each connection goes to the next one that takes it. Returns its address.
async fn balance(behind: Vec<SocketAddr>) -> String {
    let listener = TcpListener::bind(local()).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut turn = 0;
        while let Ok((mut browser, _)) = listener.accept().await {
            for _ in 0..behind.len() {
                turn += 1;
                if let Ok(mut daemon) = TcpStream::connect(behind[turn % behind.len()]).await {
                    tokio::spawn(async move {
                        // It ends when either side does.
                        let _ended = tokio::io::copy_bidirectional(&mut browser, &mut daemon).await;
                    });
                    break;
                }
            }
        }
    });
    url
}

#[tokio::test]
async fn any_daemon_serves_pages_events_the_api_and_verbs() {
    let Some(mut fleet) = Fleet::set_up(3).await else { return skips() };
    fleet.all_listen().await;
    fleet.until("two stand by", async |fleet| fleet.standing_by().await == 2).await;

    // Every step of the contractor's way may be at another daemon.
    fleet.machine.connect().await;
    let client = http();
    for (number, listen) in fleet.listens.iter().enumerate() {
        let get = async |path: &str| client.get(format!("http://{listen}{path}")).send().await.unwrap();
        let health = get("/healthz").await;
        assert_eq!((health.status().as_u16(), health.text().await.unwrap().as_str()), (200, "ok\n"));
        let strange = get("/connect/unknown").await;
        assert_eq!(strange.status(), 404, "{number}");
        assert!(
            strange.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'")
        );
        assert!(strange.text().await.unwrap().contains("<html"));
        let forged = client.post(format!("http://{listen}/webhooks/jobber")).body("{}").send().await.unwrap();
        assert_eq!(forged.status(), 401, "{number}");

        let of_api = async |path: &str| {
            client.get(format!("http://{}{path}", fleet.apis[number])).send().await.unwrap()
        };
        let description = of_api("/api/v1/openapi.json").await;
        assert!(description.text().await.unwrap().contains("\"openapi\""));
        assert_eq!(of_api("/api/v1/accounts/Ace/jobs/list").await.status(), 401, "{number}");

        fleet.speak_to(number);
        let status = fleet.machine.run(&["status", "--json"]).await.json();
        assert_eq!(status["running"], true);
        assert_eq!(status["accounts"][0]["state"], "connected", "{status}");
        let of = |number: usize| {
            format!("process {}", fleet.daemons[number].as_ref().and_then(Child::id).unwrap())
        };
        assert!(status["daemons"]["works"].as_str().unwrap().ends_with(&of(0)), "{status}");
        assert_eq!(status["daemons"]["stand_by"].as_array().unwrap().len(), 2, "{status}");
        let exported =
            fleet.machine.run(&["export", fleet.machine.path(&number.to_string()).to_str().unwrap()]).await;
        assert_eq!(exported.status, 0, "{}", exported.err);
    }
    let exported = |number: usize| {
        std::fs::read_to_string(fleet.machine.path(&number.to_string())).unwrap().lines().count()
    };
    assert!(exported(2) > 10 && exported(2) == exported(1), "an export comes through");

    // A request that arrives between two that work is answered by the second.
    fleet.signal(0, "-STOP").await;
    let asked = fleet.ask_meanwhile(1).await;
    fleet.signal(0, "-KILL").await;
    fleet.ended(0).await;
    assert_eq!(asked.await.unwrap(), 200);

    // Whoever is stopped while it stands by ends what it has begun.
    fleet.start(0);
    fleet.all_listen().await;
    fleet.until("the first stands by", async |fleet| fleet.standing_by().await == 2).await;
    let working = fleet.working().await.unwrap();
    fleet.signal(working, "-STOP").await;
    let asked = fleet.ask_meanwhile(0).await;
    fleet.signal(0, "-TERM").await;
    fleet.signal(working, "-CONT").await;
    assert_eq!(asked.await.unwrap(), 200);
    assert_eq!(fleet.ended(0).await.code(), Some(0));

    // Without the database there is an answer, and it is no.
    let other = 3 - working;
    let fleet = to_the_database(fleet, Cluster::kill).await;
    let url = format!("http://{}/healthz", fleet.listens[other]);
    fleet.until("it says no", async |_| client.get(&url).send().await.unwrap().status() == 503).await;
}

#[tokio::test]
async fn whoever_works_is_followed_when_it_dies_is_paused_or_stopped() {
    let Some(mut fleet) = Fleet::set_up(2).await else { return skips() };
    fleet.close_a_job();
    fleet.all_asked().await;
    let url = fleet.machine.database.clone().unwrap();
    let asked = "SELECT count(*) FROM jobber_reviewd.asks JOIN jobber_reviewd.accounts ON accounts.id = account_id \
        WHERE work_kind = 'job' AND client_name = 'John Smith' AND accounts.state = 'connected'";
    let asked = tokio::task::spawn_blocking(move || Cluster::number(&url, asked)).await.unwrap();
    assert_eq!(asked, 1, "reports see it");

    let died = Instant::now();
    fleet.signal(0, "-KILL").await;
    fleet.ended(0).await;
    fleet.close_a_job();
    fleet.all_asked().await;
    assert!(died.elapsed() < TAKEOVER, "{:?}", died.elapsed());
    assert_eq!(fleet.working().await, Some(1));

    // Paused past its lease, it finds itself replaced.
    fleet.start(0);
    let paused = Instant::now();
    fleet.signal(1, "-STOP").await;
    fleet.close_a_job();
    fleet.machine.sandbox.control(Op::ExpireTokens { account: fleet.machine.account }).unwrap();
    fleet.all_asked().await;
    assert!(paused.elapsed() < TAKEOVER, "{:?}", paused.elapsed());
    fleet.signal(1, "-CONT").await;
    assert_eq!(fleet.ended(1).await.code(), Some(1), "the store is another one's");
    assert_eq!(fleet.working().await, Some(0));

    // A verb where no daemon runs is told where one does.
    fleet.speak_to(1);
    let said = fleet.machine.run(&["status"]).await;
    assert!(said.status == 1 && said.err.contains("in use by another daemon"), "{}", said.err);

    fleet.start(1);
    fleet.all_listen().await;
    let stopped = Instant::now();
    fleet.signal(0, "-TERM").await;
    assert_eq!(fleet.ended(0).await.code(), Some(0));
    fleet.close_a_job();
    fleet.all_asked().await;
    assert!(stopped.elapsed() < TAKEOVER / 2, "{:?}", stopped.elapsed());

    // Without the database nothing is done; with it everything goes on.
    let mut fleet = to_the_database(fleet, Cluster::kill).await;
    fleet.keep_up();
    fleet.close_a_job();
    fleet = to_the_database(fleet, Cluster::serve_again).await;
    fleet.all_asked().await;
}

/// Does something to the server, which no async thread may wait for.
async fn to_the_database(mut fleet: Fleet, what: fn(&mut Cluster)) -> Fleet {
    let done = tokio::task::spawn_blocking(move || {
        what(&mut fleet.cluster);
        fleet
    });
    done.await.unwrap()
}

/// What happens in a run that nobody asked to be longer.
const EVENTS: usize = 5;

fn setting(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

#[tokio::test]
async fn whatever_happens_to_three_daemons_and_their_database_nobody_is_lost_or_asked_twice() {
    let Some(mut fleet) = Fleet::set_up(3).await else { return skips() };
    let (events, seed) = (setting("JOBBER_REVIEWD_KILLS", EVENTS), setting("JOBBER_REVIEWD_SEED", 1));
    let mut random = fastrand::Rng::with_seed(seed as u64);
    let mut happened: BTreeMap<&str, usize> = BTreeMap::new();
    for event in 0..events {
        while !fleet.mend(random.usize(..3)).await {
            fleet.keep_up();
            tokio::time::sleep(HALF_A_BLINK).await;
        }
        for _ in 0..2 {
            fleet.close_a_job();
        }
        if random.bool() {
            fleet.machine.sandbox.control(Op::ExpireTokens { account: fleet.machine.account }).unwrap();
        }
        let working = fleet.working().await.unwrap_or_else(|| random.usize(..3));
        tokio::time::sleep(Duration::from_millis(random.u64(..1_500))).await;
        // A pause takes its time: in a short run there is one.
        let what = match if event == 1 { 9 } else { random.u8(..10) } {
            0..4 => {
                fleet.signal(working, "-KILL").await;
                fleet.ended(working).await;
                "whoever works is killed"
            }
            4..6 => {
                let any = random.usize(..3);
                fleet.signal(any, "-KILL").await;
                fleet.ended(any).await;
                "anyone is killed"
            }
            6..8 => {
                fleet = to_the_database(fleet, Cluster::kill).await;
                tokio::time::sleep(Duration::from_millis(random.u64(..2_000))).await;
                fleet = to_the_database(fleet, Cluster::serve_again).await;
                "the database is killed"
            }
            8 => {
                fleet.signal(working, "-TERM").await;
                fleet.ended(working).await;
                "whoever works is stopped"
            }
            _ => {
                fleet.signal(working, "-STOP").await;
                let others = async |fleet: &Fleet| {
                    let is_asked = fleet.asked().len() == fleet.jobs.len();
                    is_asked && fleet.working().await.is_some_and(|now| now != working)
                };
                // Whoever lost the connection meanwhile is mended afterwards.
                let _mended_later =
                    tokio::time::timeout(TAKEOVER, fleet.until("another one works", others)).await;
                fleet.signal(working, "-CONT").await;
                "whoever works is paused past its lease"
            }
        };
        *happened.entry(what).or_default() += 1;
        fleet.keep_up();
    }
    let begun = Instant::now();
    while fleet.asked().len() < fleet.jobs.len() {
        assert!(begun.elapsed() < PATIENCE, "{} of {} asked", fleet.asked().len(), fleet.jobs.len());
        tokio::time::sleep(HALF_A_BLINK).await;
        fleet.keep_up();
        fleet.mend(random.usize(..3)).await;
    }
    fleet.all_asked().await;
    println!("seed {seed}, {} jobs, three daemons, one database", fleet.jobs.len());
    println!("{:<42}{:>6}", "connections lost in the window, and mended", fleet.lost);
    for (what, times) in &happened {
        println!("{what:<42}{times:>6}");
    }
}
