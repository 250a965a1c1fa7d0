//! What years of decisions cost.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use jobber_reviewd::testing::model::{
    AskId, Decision, Delivery, EncodedId, Outcome, SkipReason, Stream, Subject, Trigger, WorkRef,
};
use jobber_reviewd::testing::protocol::{Explain, QueueList, Scene, Status, Verb};
use jobber_reviewd::testing::{Clock as _, Context, Plan, PlanCommit, Store, StoreError, SystemClock};

use crate::daemon::Daemon;
use crate::{Bench, Installation, RUNS, account, context, free_port, median, open, secrets, tell};

/// What people wait for over so many accounts, with so many decisions each.
pub(crate) fn measure(bench: &Bench) {
    for (accounts, each) in [(1_000, 100), (1_000, 1_000)] {
        let decisions = accounts * each;
        let installation = bench.install(accounts);
        let context = context(&installation, &secrets());
        bench.runtime.block_on(fill(&context, accounts, each));
        let figure = |what: &str| format!("{what}, {decisions} decisions");
        let size = bench.runtime.block_on(context.store.size_on_disk()) as f64 / decisions as f64;
        tell(&figure("disk for each"), size, "bytes");
        tell(&figure("status"), time(|| bench.runtime.block_on(said(&context, Status {}))), "ms");
        tell(&figure("queue list"), time(|| bench.runtime.block_on(said(&context, QueueList {}))), "ms");
        let one = past(accounts / 2, each / 2);
        let Subject { client_name, phone, email, client_id, job_number, .. } = one.subject.clone();
        for (what, question) in [
            ("name", client_name.clone().unwrap()),
            ("first name", client_name.unwrap().split(' ').next().unwrap().to_owned()),
            ("phone", phone.unwrap()),
            ("e-mail", email.unwrap()),
            ("client", client_id.unwrap().to_string()),
            ("number", format!("#{}", job_number.unwrap())),
            ("id", one.work.id.to_string()),
            ("ask", one.ask().unwrap_or_default().to_owned()),
        ] {
            let explain = || Explain { what: question.clone(), render: false };
            let found = bench.runtime.block_on(said(&context, explain())).len();
            let took = time(|| bench.runtime.block_on(said(&context, explain())));
            tell(&figure(&format!("explain by {what} ({found} found)")), took, "ms");
        }
        bench.runtime.block_on(context.store.close());
        drop(context);
        let reopen = || {
            let begun = Instant::now();
            let store = open(&installation);
            let took = begun.elapsed().as_secs_f64() * 1000.0;
            (store, took)
        };
        let (store, took) = reopen();
        tell(&figure("opened"), took, "ms");
        bench.runtime.block_on(store.close());
        drop(store);
        downgrade(&installation);
        let (store, took) = reopen();
        tell(&figure("opened after an upgrade"), took, "ms");
        tell(
            &figure("disk for each after it"),
            bench.runtime.block_on(store.size_on_disk()) as f64 / decisions as f64,
            "bytes",
        );
        bench.runtime.block_on(store.close());
        drop(store);
        written_anew(&installation);
        let (store, _) = reopen();
        tell(
            &figure("disk for each, restored"),
            bench.runtime.block_on(store.size_on_disk()) as f64 / decisions as f64,
            "bytes",
        );
        bench.runtime.block_on(store.close());
        drop(store);
        beside(bench, &installation, decisions);
        pruning(bench, &installation, decisions);
    }
}

/// Milliseconds that people wait over so many decisions.
pub(crate) struct Cost {
    pub(crate) status: f64,
    pub(crate) explain: f64,
    pub(crate) open: f64,
}

pub(crate) fn cost(bench: &Bench, accounts: usize, each: usize) -> Cost {
    let installation = bench.install(accounts);
    let context = context(&installation, &secrets());
    bench.runtime.block_on(fill(&context, accounts, each));
    let status = time(|| bench.runtime.block_on(said(&context, Status {})));
    let what = past(accounts / 2, each / 2).subject.client_name.unwrap();
    let explain = time(|| {
        let explain = Explain { what: what.clone(), render: false };
        bench.runtime.block_on(said(&context, explain))
    });
    bench.runtime.block_on(context.store.close());
    drop(context);
    // The first one reads what the last process wrote.
    for _ in 0..2 {
        bench.runtime.block_on(open(&installation).close());
    }
    let begun = Instant::now();
    let store = open(&installation);
    let open = begun.elapsed().as_secs_f64() * 1000.0;
    bench.runtime.block_on(store.close());
    Cost { status, explain, open }
}

/// Export and restore.
fn written_anew(installation: &Installation) {
    let folder = installation.folder.path();
    let copy = folder.join("copy.jsonl");
    let done = Daemon::verb(folder, &["export", copy.to_str().unwrap()]);
    assert!(done.status.success(), "{done:?}");
    std::fs::remove_dir_all(&installation.config.store.path).unwrap();
    let done = Daemon::verb(folder, &["restore", copy.to_str().unwrap()]);
    assert!(done.status.success(), "{done:?}");
    std::fs::remove_file(copy).unwrap();
}

/// What the daemon needs while verbs run, and what they do to those who ask it something.
fn beside(bench: &Bench, installation: &Installation, decisions: usize) {
    let figure = |what: &str| format!("{what}, {decisions} decisions");
    let port = free_port();
    let begun = Instant::now();
    let daemon = Daemon::start_with(installation, &[("HTTP__LISTEN", &format!("127.0.0.1:{port}"))]);
    tell(&figure("start to READY"), begun.elapsed().as_secs_f64() * 1000.0, "ms");
    daemon.peak();
    tell(&figure("resident after READY"), daemon.resident(), "MiB");
    for words in
        [&["status"] as &'static [&'static str], &["explain", "First7 Last7"], &["audit"], &["export", "-"]]
    {
        let verb = words[0];
        let mut times = bench.runtime.block_on(async {
            let url = format!("http://127.0.0.1:{port}/healthz");
            let client = reqwest::Client::new();
            let (folder, words) = (installation.folder.path().to_owned(), words.to_vec());
            let verb = tokio::task::spawn_blocking(move || Daemon::verb(&folder, &words));
            let mut times = Vec::new();
            while !verb.is_finished() {
                let begun = Instant::now();
                client.get(&url).send().await.unwrap();
                times.push(begun.elapsed().as_secs_f64() * 1000.0);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            assert!(verb.await.unwrap().status.success());
            times
        });
        times.sort_by(f64::total_cmp);
        tell(&figure(&format!("/healthz beside {verb}, p99")), times[times.len() * 99 / 100], "ms");
        tell(&figure(&format!("peak during {verb}")), daemon.peak(), "MiB");
    }
}

/// What a day's pruning and erasing takes, and how long a write beside it waits. Everything is two years old at most.
fn pruning(bench: &Bench, installation: &Installation, decisions: usize) {
    const DAY: SignedDuration = SignedDuration::from_hours(24);
    let figure = |what: &str| format!("{what}, {decisions} decisions");
    let (retention, personal) = (DAY * 731, DAY * 365);
    let context = context(installation, &secrets());
    let now = SystemClock.now();
    let begun = Instant::now();
    let first = bench.runtime.block_on(context.store.prune(now, retention, personal)).unwrap();
    tell(&figure(&format!("first erasing ({} entries)", first.erased)), begun.elapsed().as_secs_f64(), "s");
    let (pruned, took, mut waits) = bench.runtime.block_on(async {
        let (store, begun) = (context.store.clone(), Instant::now());
        let pruning = tokio::spawn(async move { store.prune(now + DAY * 3, retention, personal).await });
        let mut waits = Vec::new();
        while !pruning.is_finished() {
            let begun = Instant::now();
            context.store.probe(SystemClock.now()).await.unwrap();
            waits.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        (pruning.await.unwrap().unwrap(), begun.elapsed().as_secs_f64() * 1000.0, waits)
    });
    let what = format!("pruning ({} deleted, {} erased)", pruned.deleted, pruned.erased);
    tell(&figure(&what), took, "ms");
    waits.sort_by(f64::total_cmp);
    tell(&figure("a write beside it, median"), waits[waits.len() / 2], "ms");
    tell(&figure("  most"), *waits.last().unwrap(), "ms");
    bench.runtime.block_on(context.store.close());
}

fn time<T>(mut run: impl FnMut() -> T) -> f64 {
    let times = (0..RUNS).map(|_| {
        let begun = Instant::now();
        run();
        begun.elapsed().as_secs_f64() * 1000.0
    });
    median(times.collect())
}

async fn said<V: Verb>(context: &Context, verb: V) -> V::Reply {
    let (tell, _deaf) = tokio::sync::mpsc::channel(1);
    verb.run(Scene { context, is_daemon: false, tell }).await.unwrap()
}

pub(crate) async fn fill(context: &Context, accounts: usize, each: usize) {
    for number in 0..accounts {
        let id = account(number);
        let known = context.store.account(&id).await.unwrap().unwrap();
        let now = SystemClock.now();
        let commit = PlanCommit {
            planned_for: (known.trigger, known.asks_from),
            account: id,
            stream: Stream::Jobs,
            plan: Plan { skipped: (0..each).map(|work| past(number, work)).collect(), ..Plan::default() },
            reconciled_at: None,
            by_event: false,
            burst_above: 0,
            now,
        };
        context.store.commit_plan(commit).await.unwrap();
    }
}

/// Looks like the digest of a body: nothing packs it.
fn digest(seed: usize) -> String {
    let mut random = fastrand::Rng::with_seed(seed as u64);
    format!("{:032x}{:032x}", random.u128(..), random.u128(..))
}

/// The threads of sled can hold its lock a moment longer after the store is closed.
fn downgrade(installation: &Installation) {
    loop {
        match Store::downgrade(&installation.config.store.path) {
            Err(StoreError::Locked { .. }) => std::thread::yield_now(),
            done => return done.unwrap(),
        }
    }
}

/// One of two years of decisions.
fn past(account: usize, number: usize) -> Decision {
    let days = i64::try_from(number % 730).unwrap();
    let at = SystemClock.now() - SignedDuration::from_hours(24 * days);
    let outcome = if number.is_multiple_of(2) {
        Outcome::Asked {
            ask_id: AskId::new(format!("ask_{account}_{number}")),
            delivery: Delivery::Delivered { at, status: 200, attempts: 1 },
        }
    } else {
        Outcome::Skipped { reason: SkipReason::AlreadyAsked }
    };
    // Every client comes back once.
    let (job, client) = (account * 100_000 + number, account * 100_000 + number / 2);
    let id = |kind: &str, number: usize| {
        EncodedId::new(STANDARD.encode(format!("gid://Jobber/{kind}/{}", 50_000_000 + number)))
    };
    let name = format!("First{} Last{}", client % 197, client % 4_999);
    Decision {
        work: WorkRef::job(id("Job", job)),
        released_at: None,
        held_for: SignedDuration::ZERO,
        trigger: Trigger::JobCompleted,
        finished_at: at,
        at,
        outcome,
        saw: [("payload_sha256".to_owned(), digest(client * 7 + number))].into(),
        subject: Subject {
            client_id: Some(id("Client", client)),
            client_name: Some(name),
            phone: Some(format!("+1555{:07}", client % 10_000_000)),
            email: Some(format!("customer{client}@example.com")),
            job_id: Some(id("Job", job)),
            job_number: i64::try_from(number).ok(),
            job_title: Some("Gutter Cleaning".to_owned()),
            invoice_number: None,
        },
    }
}
