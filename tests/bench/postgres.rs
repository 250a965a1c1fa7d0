//! The store in PostgreSQL, beside bare inserts on the same server.

use std::time::Instant;

use crate::cluster::Cluster;
use crate::{Bench, RUNS, median, tell};

const INSERTS: u32 = 500;

/// The server syncs as in production. Nothing is measured where it is not installed.
pub(crate) fn measure(_: &Bench) {
    let Some(cluster) = Cluster::start_with("on") else {
        println!("skipped: no PostgreSQL");
        return;
    };
    println!("-- on PostgreSQL");
    let url = cluster.database();
    let rates = (0..RUNS).map(|_| bare(&url)).collect();
    tell("bare inserts, committed and synced, 1 at once", median(rates), "/s");
    let bench = Bench { cluster: Some(cluster), ..Bench::start() };
    bench.commits();
    bench.idle_sweep(1_000);
    bench.idle_sweep(10_000);
    bench.asks(1_000);
    bench.events(false);
    println!("-- on PostgreSQL, at a daemon that stands by");
    bench.events(true);
}

fn bare(url: &str) -> f64 {
    let mut client = postgres::Client::connect(url, postgres::NoTls).unwrap();
    client
        .batch_execute("CREATE TABLE IF NOT EXISTS bare (key bytea PRIMARY KEY, value bytea NOT NULL)")
        .unwrap();
    let insert = "INSERT INTO bare VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    let insert = client.prepare(insert).unwrap();
    let begun = Instant::now();
    for number in 0..INSERTS {
        client.execute(&insert, &[&&number.to_be_bytes()[..], &&[7_u8; 200][..]]).unwrap();
    }
    f64::from(INSERTS) / begun.elapsed().as_secs_f64()
}
