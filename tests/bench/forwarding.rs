//! Jobber's events on their way to whoever wants them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::daemon::Daemon;
use crate::events::Events;
use crate::{Bench, free_port, percentile, tell};

/// Where events go: which record each was about, and when it came.
async fn receiver() -> (SocketAddr, UnboundedReceiver<(String, Instant)>) {
    let (arrived, arrivals) = tokio::sync::mpsc::unbounded_channel();
    let router = Router::new().route(
        "/crm",
        post(async move |body: Bytes| {
            let body: Value = serde_json::from_slice(&body).unwrap();
            let _listening = arrived.send((body["item"].as_str().unwrap().to_owned(), Instant::now()));
        }),
    );
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, arrivals)
}

async fn send(sender: &Events, lanes: usize, events: usize, accounts: usize, name: &str) {
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..lanes {
        let (sender, name) = (sender.clone(), name.to_owned());
        tasks.spawn(async move {
            for number in (lane..events).step_by(lanes) {
                sender.send(number % accounts, &format!("{name}{number}")).await;
            }
        });
    }
    tasks.join_all().await;
}

/// How long an event is on its way, and how many get through.
pub(crate) fn speed(bench: &Bench, include: &str) {
    const PACED: usize = 2_000;
    const AT_ONCE: usize = 20_000;

    let installation = bench.install(100);
    let port = free_port();
    let (crm, mut arrivals) = bench.runtime.block_on(receiver());
    let forward = format!(r#"[{{topics=["QUOTE_APPROVED"],url="http://{crm}/crm",include="{include}"}}]"#);
    let daemon = Daemon::start_with(
        &installation,
        &[("HTTP__LISTEN", &format!("127.0.0.1:{port}")), ("EVENTS__FORWARD", &forward)],
    );
    let sender = Events::new(port, "QUOTE_APPROVED");
    let times = bench.runtime.block_on(async {
        let mut sent = HashMap::new();
        let mut tasks = tokio::task::JoinSet::new();
        let begun = tokio::time::Instant::now();
        for number in 0..PACED {
            let sender = sender.clone();
            tasks.spawn(async move {
                // 200 a second.
                let at = begun + Duration::from_millis(5) * u32::try_from(number).unwrap();
                tokio::time::sleep_until(at).await;
                let record = format!("paced{number}");
                let left = Instant::now();
                sender.send(number % 100, &record).await;
                (Events::item(&record), left)
            });
        }
        sent.extend(tasks.join_all().await);
        let mut times = Vec::new();
        while times.len() < PACED {
            let (item, at) = arrivals.recv().await.unwrap();
            times.push((at - sent[&item]).as_secs_f64() * 1000.0);
        }
        times
    });
    tell(&format!("event forwarded ({include}), 200 a second, median"), percentile(&times, 0.5), "ms");
    tell("  99th percentile", percentile(&times, 0.99), "ms");
    let begun = Instant::now();
    bench.runtime.block_on(async {
        send(&sender, 32, AT_ONCE, 100, "flood").await;
        for _ in 0..AT_ONCE {
            arrivals.recv().await.unwrap();
        }
    });
    let rate = AT_ONCE as f64 / begun.elapsed().as_secs_f64();
    tell(&format!("events taken and forwarded ({include})"), rate, "/s");
    drop(daemon);
}

/// What piles up to be forwarded while Jobber is down.
pub(crate) fn pile(bench: &Bench, accounts: usize, each: usize) {
    let installation = bench.install(accounts);
    let port = free_port();
    let daemon = Daemon::start_with(
        &installation,
        &[
            ("HTTP__LISTEN", &format!("127.0.0.1:{port}")),
            // The discard service: nobody listens.
            ("JOBBER__API_BASE", "http://127.0.0.1:9/api"),
            ("EVENTS__FORWARD", r#"[{topics=["QUOTE_*"],url="http://127.0.0.1:9/crm"}]"#),
        ],
    );
    let before = daemon.resident();
    let sender = Events::new(port, "QUOTE_UPDATE");
    bench.runtime.block_on(send(&sender, 32, accounts * each, accounts, "pile"));
    std::thread::sleep(Duration::from_secs(5));
    let title = format!("resident with {} events waiting to be forwarded", accounts * each);
    tell(&title, daemon.resident() as f64 / 1024.0, "MiB");
    tell("  before", before as f64 / 1024.0, "MiB");
}
