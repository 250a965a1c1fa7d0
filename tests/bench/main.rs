//! What the daemon costs: `cargo bench`.
//!
//! Jobber and the receiver are played by a server in a process of its own that answers from memory, so that what is
//! measured is the daemon. Every figure is the median of several runs; the machine and its load are yours.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark prints, and stops where it cannot go on; its numbers are small"
)]

#[path = "../it/cluster.rs"]
#[expect(dead_code, reason = "no server is killed here")]
mod cluster;
mod console;
mod daemon;
mod events;
mod filling;
mod forwarding;
mod history;
mod latency;
mod peer;
mod plot;
mod postgres;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jobber_reviewd::testing::model::AccountId;
use jobber_reviewd::testing::{
    AskOutcome, Config, Context, Effect, IfMissing, Secrets, Store, StoreError, StoreKey, SystemClock,
    WebhookSecret, no_progress, once,
};
use serde_json::json;

use cluster::Cluster;
use daemon::Daemon;
use events::Events;
use filling::{connect, make_due, walk};
use peer::{Server, serve};

const RUNS: usize = 7;

fn main() {
    if std::env::args().any(|argument| argument == "--serve") {
        return runtime().block_on(serve());
    }
    // `cargo test --benches` only wants to know that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    // reqwest has no TLS provider of its own. A second call changes nothing.
    let _already = rustls::crypto::ring::default_provider().install_default();
    println!("{:<46} {:>14}", "figure", "median");
    let bench = Bench::start();
    // `cargo bench -- forwarding` measures one part.
    let only: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for (name, measure) in PARTS {
        let is_wanted = only.is_empty() && name != PLOT;
        if is_wanted || only.iter().any(|only| only == name) {
            measure(&bench);
        }
    }
}

/// It writes files, so it runs only by its name.
const PLOT: &str = "plot";

type Part = (&'static str, fn(&Bench));

const PARTS: [Part; 13] = [
    ("start", Bench::cold_start),
    ("commits", Bench::commits),
    ("sweep", |bench| bench.idle_sweep(1_000)),
    ("points", Bench::points),
    ("asks", |bench| bench.asks(1_000)),
    ("events", |bench| {
        bench.events(false);
        bench.pile_of_events(400, 250);
    }),
    ("postgres", postgres::measure),
    ("console", console::measure),
    ("latency", latency::measure),
    ("history", history::measure),
    ("forwarding", |bench| {
        forwarding::speed(bench, "ids");
        forwarding::speed(bench, "record");
        forwarding::pile(bench, 400, 250);
    }),
    ("memory", |bench| {
        for accounts in [0, 1_000, 10_000] {
            bench.memory(accounts);
        }
    }),
    (PLOT, plot::measure),
];

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

fn tell(figure: &str, value: f64, unit: &str) {
    println!("{figure:<46} {value:>14.1} {unit}");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

// Jobber and the receiver, from memory

struct Bench {
    server: Server,
    /// Where stores are, if not in folders.
    cluster: Option<Cluster>,
    runtime: tokio::runtime::Runtime,
}

/// A store with so many connected accounts, and settings for a daemon on it.
struct Installation {
    folder: tempfile::TempDir,
    config: Config,
}

fn key() -> StoreKey {
    StoreKey::parse(&STANDARD.encode([1; 32]).into()).unwrap()
}

fn secrets() -> Secrets {
    Secrets {
        client_secret: "secret".into(),
        store_key: key(),
        webhook_secret: WebhookSecret::parse(&format!("whsec_{}", STANDARD.encode([7; 32])).into()).unwrap(),
    }
}

/// The threads of sled can hold its lock a moment longer after the store is closed.
fn open(installation: &Installation) -> Store {
    loop {
        match Store::open_in(&installation.config.place().unwrap(), &key(), IfMissing::MakeFirst) {
            Err(StoreError::Locked { .. }) => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

fn context(installation: &Installation, secrets: &Secrets) -> Context {
    let store = open(installation);
    Context::new(installation.config.clone(), secrets, store, Arc::new(SystemClock)).unwrap()
}

fn account(number: usize) -> AccountId {
    AccountId::new(STANDARD.encode(format!("gid://Jobber/Account/{number}")))
}

impl Bench {
    fn start() -> Self {
        Self { server: Server::start(), runtime: runtime(), cluster: None }
    }

    fn count(&self) -> (u64, u64) {
        let url = format!("http://{}/count", self.server.address);
        let text = self.runtime.block_on(async { reqwest::get(url).await.unwrap().text().await.unwrap() });
        let (graphql, asks) = text.split_once(' ').unwrap();
        (graphql.parse().unwrap(), asks.parse().unwrap())
    }

    fn install(&self, accounts: usize) -> Installation {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let path = |name: &str| path(name).display().to_string();
        let server = &self.server.address;
        let text = format!(
            r#"
jobber.client_id = "bench"
jobber.client_secret_file = "{}"
jobber.api_base = "http://{server}/api"
http.listen = "127.0.0.1:0"
http.public_url = "http://127.0.0.1:1"
control.socket = "{}"
store.path = "{}"
store.key_file = "{}"
poll.schedule = "0 0 0 1 1 *"
review.webhook_url = "http://{server}/hook"
review.webhook_secret_file = "{}"
review.cooldown = "0s"
review.burst_above = 0
review.window = {{ weekdays = "00:00-24:00", saturday = "00:00-24:00", sunday = "00:00-24:00" }}
"#,
            path("client_secret"),
            path("control.sock"),
            path("store"),
            path("store_key"),
            path("webhook_secret"),
        );
        std::fs::write(path("config.toml"), text).unwrap();
        let mut config = Config::load(Some(Path::new(&path("config.toml")))).unwrap();
        config.store.url = self.cluster.as_ref().map(Cluster::database);
        let installation = Installation { folder, config };
        if accounts > 0 {
            let store = open(&installation);
            self.runtime.block_on(connect(store, accounts));
        }
        installation
    }

    fn cold_start(&self) {
        let times = (0..RUNS)
            .map(|_| {
                let installation = self.install(0);
                let begun = Instant::now();
                let daemon = Daemon::start(&installation);
                let time = begun.elapsed().as_secs_f64() * 1000.0;
                drop(daemon);
                time
            })
            .collect();
        tell("start to READY, empty store", median(times), "ms");
    }

    fn commits(&self) {
        let installation = self.install(0);
        let store = open(&installation);
        for (clients, each) in [(1, 500), (64, 50)] {
            let rates = (0..RUNS)
                .map(|_| {
                    let begun = Instant::now();
                    self.runtime.block_on(async {
                        let mut tasks = tokio::task::JoinSet::new();
                        for _ in 0..clients {
                            let store = store.clone();
                            tasks.spawn(async move {
                                for _ in 0..each {
                                    store.probe(Timestamp::UNIX_EPOCH).await.unwrap();
                                }
                            });
                        }
                        tasks.join_all().await;
                    });
                    f64::from(clients * each) / begun.elapsed().as_secs_f64()
                })
                .collect();
            tell(&format!("store commits, flushed and synced, {clients} at once"), median(rates), "/s");
        }
    }

    fn idle_sweep(&self, accounts: usize) {
        let installation = self.install(accounts);
        let context = context(&installation, &secrets());
        let sweep = || {
            self.runtime.block_on(async {
                let all = context.store.account_ids().await.unwrap();
                let swept = context.poller.poll_once(all, Effect::Apply, &no_progress).await.unwrap();
                assert_eq!(swept.len(), accounts);
            });
        };
        sweep();
        let (before, _) = self.count();
        let (mut rates, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let (begun, ticks) = (Instant::now(), own_cpu());
            sweep();
            rates.push(accounts as f64 / begun.elapsed().as_secs_f64());
            cpu.push(own_cpu().checked_sub(ticks).unwrap().as_secs_f64() * 1e6 / accounts as f64);
        }
        let (after, _) = self.count();
        tell(&format!("idle sweep over {accounts} accounts"), median(rates), "accounts/s");
        tell("  CPU of the daemon", median(cpu), "µs/account");
        let bare = (0..RUNS).map(|_| self.runtime.block_on(self.bare(accounts)));
        tell("  CPU of a bare client on the same answers", median(bare.collect()), "µs/account");
        tell("  requests", (after - before) as f64 / (RUNS * accounts) as f64, "/account");
        self.runtime.block_on(context.store.close());
    }

    /// Microseconds of CPU an account, of a client that reads the same answers and does nothing with them.
    async fn bare(&self, accounts: usize) -> f64 {
        let client = reqwest::Client::builder().build().unwrap();
        let url = format!("http://{}/api/graphql", self.server.address);
        let query = include_str!("../../graphql/jobs.graphql");
        let body =
            json!({"operationName": "Jobs", "query": query, "variables": {"first": 20, "after": null}});
        let body = body.to_string();
        let ticks = own_cpu();
        let places = Arc::new(tokio::sync::Semaphore::new(256));
        let mut reads = tokio::task::JoinSet::new();
        for number in 0..accounts {
            let request = client.post(&url).bearer_auth(format!("a.b.{number}")).body(body.clone());
            let places = Arc::clone(&places);
            reads.spawn(async move {
                let _place = places.acquire().await.unwrap();
                let answer = request.header("content-type", "application/json").send().await.unwrap();
                answer.bytes().await.unwrap()
            });
        }
        assert!(reads.join_all().await.iter().all(|body| !body.is_empty()));
        own_cpu().checked_sub(ticks).unwrap().as_secs_f64() * 1e6 / accounts as f64
    }

    /// What an idle sweep takes from an account's budget, as the sandbox counts.
    fn points(&self) {
        use jobber_sandbox::{CLIENT_ID, CLIENT_SECRET, Op, Sandbox, Seed};

        let (points, requests) = self.runtime.block_on(async {
            let address = SocketAddr::from(([127, 0, 0, 1], 0));
            let sandbox = Sandbox::start(address, Seed::Large { accounts: 1, jobs: 100 }).await.unwrap();
            let state = sandbox.control(Op::State).unwrap();
            let number = state["accounts"][0]["account"].as_u64().unwrap();
            let mut installation = self.install(0);
            installation.config.jobber.client_id = CLIENT_ID.into();
            installation.config.jobber.api_base = serde_json::from_value(sandbox.api_base().into()).unwrap();
            let secrets = Secrets { client_secret: CLIENT_SECRET.into(), ..secrets() };
            let context = context(&installation, &secrets);
            walk(&context, &sandbox, number).await;
            once(&context, None, Effect::Apply, &no_progress).await.unwrap();
            let before = sandbox.stats(number);
            once(&context, None, Effect::Apply, &no_progress).await.unwrap();
            let after = sandbox.stats(number);
            context.store.close().await;
            (after.points - before.points, after.requests - before.requests)
        });
        tell("  points of Jobber's budget", points as f64, "/account");
        assert_eq!(requests, 1);
    }

    fn asks(&self, asks: usize) {
        let rates = (0..RUNS)
            .map(|_| {
                let installation = self.install(100);
                let context = context(&installation, &secrets());
                self.runtime.block_on(make_due(&context.store, asks, 100));
                let (_, before) = self.count();
                let begun = Instant::now();
                self.runtime.block_on(async {
                    let considered = context.rechecker.recheck_once(None).await.unwrap();
                    assert_eq!(considered.len(), asks);
                    assert!(matches!(considered[0].outcome, AskOutcome::Asked(_)), "{:?}", considered[0]);
                    while !context.deliverer.deliver_once(None).await.unwrap().is_empty() {}
                });
                let rate = asks as f64 / begun.elapsed().as_secs_f64();
                let (_, after) = self.count();
                assert_eq!(after - before, asks as u64);
                self.runtime.block_on(context.store.close());
                rate
            })
            .collect();
        tell("asks: read fresh, decided, stored, delivered", median(rates), "/s");
    }

    /// From the event to the ask at the receiver, and how many events are taken.
    /// `is_passed_on`: the events come to a daemon that stands by.
    fn events(&self, is_passed_on: bool) {
        const ASKS: usize = 300;
        const PACED: usize = 2_000;
        const AT_ONCE: usize = 20_000;

        let installation = self.install(100);
        let port = free_port();
        let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
        let hook = self.runtime.block_on(async {
            let router = Router::new().route(
                "/hook",
                post(async move || {
                    let _listening = arrived.send(Instant::now());
                }),
            );
            let listener =
                tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move { axum::serve(listener, router).await });
            address
        });
        let daemon = Daemon::start_with(
            &installation,
            &[
                ("HTTP__LISTEN", &format!("127.0.0.1:{port}")),
                ("REVIEW__WEBHOOK_URL", &format!("http://{hook}/hook")),
                ("REVIEW__DELAY", "0s"),
            ],
        );
        let standby = is_passed_on.then(|| {
            let port = free_port();
            let socket = installation.folder.path().join("standby.sock");
            let keys = [
                ("HTTP__LISTEN", &*format!("127.0.0.1:{port}")),
                ("CONTROL__SOCKET", socket.to_str().unwrap()),
            ];
            let standby = Daemon::start_with(&installation, &keys);
            while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
                std::thread::yield_now();
            }
            (standby, port)
        });
        let port = standby.as_ref().map_or(port, |(_, port)| *port);
        let sender = Events::new(port, "JOB_CLOSED");
        let times = self.runtime.block_on(async {
            let mut times = Vec::new();
            for number in 0..ASKS {
                let begun = Instant::now();
                sender.send(number % 100, &format!("new{number}")).await;
                times.push((arrivals.recv().await.unwrap() - begun).as_secs_f64() * 1000.0);
            }
            times
        });
        tell("event to ask at the receiver, median", percentile(&times, 0.5), "ms");
        tell("  99th percentile", percentile(&times, 0.99), "ms");

        // What follows names records that are old: they are read, and nothing comes of it.
        let times = self.runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            let begun = tokio::time::Instant::now();
            for number in 0..PACED {
                let sender = sender.clone();
                tasks.spawn(async move {
                    // 200 a second.
                    tokio::time::sleep_until(
                        begun + Duration::from_millis(5) * u32::try_from(number).unwrap(),
                    )
                    .await;
                    sender.send(number % 100, &format!("paced{number}")).await
                });
            }
            tasks.join_all().await
        });
        tell("answer to an event, 200 a second, median", percentile(&times, 0.5), "ms");
        tell("  99th percentile", percentile(&times, 0.99), "ms");
        let begun = Instant::now();
        self.runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for lane in 0..32 {
                let sender = sender.clone();
                tasks.spawn(async move {
                    for number in 0..AT_ONCE / 32 {
                        sender.send((lane + number) % 100, &format!("flood{lane}x{number}")).await;
                    }
                });
            }
            tasks.join_all().await;
        });
        tell("events taken, stored and flushed", AT_ONCE as f64 / begun.elapsed().as_secs_f64(), "/s");
        drop((daemon, standby));
    }

    /// What piles up while Jobber is down.
    fn pile_of_events(&self, accounts: usize, each: usize) {
        let installation = self.install(accounts);
        let port = free_port();
        let daemon = Daemon::start_with(
            &installation,
            &[
                ("HTTP__LISTEN", &format!("127.0.0.1:{port}")),
                // The discard service: nobody listens.
                ("JOBBER__API_BASE", "http://127.0.0.1:9/api"),
            ],
        );
        let before = daemon.resident();
        let sender = Events::new(port, "JOB_CLOSED");
        self.runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for lane in 0..32 {
                let sender = sender.clone();
                tasks.spawn(async move {
                    for number in (lane..accounts * each).step_by(32) {
                        sender.send(number % accounts, &format!("pile{number}")).await;
                    }
                });
            }
            tasks.join_all().await;
        });
        let title = format!("resident with {} events waiting", accounts * each);
        tell(&title, daemon.resident() as f64 / 1024.0, "MiB");
        tell("  before", before as f64 / 1024.0, "MiB");
    }

    fn memory(&self, accounts: usize) {
        let installation = self.install(accounts);
        let (before, _) = self.count();
        let daemon = Daemon::start(&installation);
        // It sweeps once when it starts.
        while self.count().0 - before < accounts as u64 {
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_secs(1));
        tell(&format!("resident after a sweep, {accounts} accounts"), daemon.resident(), "MiB");
    }
}

fn free_port() -> u16 {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    std::net::TcpListener::bind(address).unwrap().local_addr().unwrap().port()
}

fn percentile(times: &[f64], share: f64) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[((times.len() - 1) as f64 * share) as usize]
}

/// CPU time of this process so far. The kernel counts in hundredths of a second.
fn own_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}
