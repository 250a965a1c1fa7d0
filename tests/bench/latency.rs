//! A Jobber that takes 300 ms for each answer, as it does across a continent.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use jobber_reviewd::testing::Effect;

use crate::filling::make_due;
use crate::{Bench, context, secrets, tell};

const LATENCY: u64 = 300;

pub(crate) fn measure(bench: &Bench) {
    slow(bench, LATENCY, 0);
    tell("20,000 idle accounts swept, 300 ms an answer", sweep(bench, 20_000, 20_000), "s");
    for (asks, accounts) in [(1_000, 100), (10_000, 1_000)] {
        let title = format!("{asks} asks over {accounts} accounts, 300 ms");
        tell(&title, ask(bench, asks, accounts), "s");
    }
    let all = sweep(bench, 3_000, 3_000);
    tell("3,000 idle accounts swept, 300 ms", all, "s");
    slow(bench, LATENCY, 100);
    tell("  all but the 1 % that take 30 s", sweep(bench, 3_000, 2_970), "s");
    slow(bench, 0, 0);
}

fn slow(bench: &Bench, latency: u64, hangs: u64) {
    let url = format!("http://{}/slow/{latency}/{hangs}", bench.server.address);
    bench.runtime.block_on(async { reqwest::Client::new().post(url).send().await.unwrap() });
}

/// Seconds for a sweep with so many milliseconds to each answer.
pub(crate) fn sweep_of(bench: &Bench, accounts: usize, latency: u64) -> f64 {
    slow(bench, latency, 0);
    let took = sweep(bench, accounts, accounts);
    slow(bench, 0, 0);
    took
}

/// Seconds until `counted` of the accounts were read.
fn sweep(bench: &Bench, accounts: usize, counted: usize) -> f64 {
    let installation = bench.install(accounts);
    let context = context(&installation, &secrets());
    let (begun, seen) = (Instant::now(), AtomicUsize::new(0));
    let reached = Arc::new(Mutex::new(0.0));
    let note = Arc::clone(&reached);
    bench.runtime.block_on(async {
        let all = context.store.account_ids().await.unwrap();
        let progress = move |done: usize, _: usize| {
            if seen.swap(done, Ordering::Relaxed) < counted && done >= counted {
                *note.lock().unwrap() = begun.elapsed().as_secs_f64();
            }
        };
        let swept = context.poller.poll_once(all, Effect::Apply, &progress).await.unwrap();
        assert_eq!(swept.len(), accounts);
        context.store.close().await;
    });
    let seconds = reached.lock().unwrap();
    *seconds
}

/// Seconds until everything that is due was read, decided, stored and delivered.
fn ask(bench: &Bench, asks: usize, accounts: usize) -> f64 {
    let installation = bench.install(accounts);
    let context = context(&installation, &secrets());
    bench.runtime.block_on(make_due(&context.store, asks, accounts));
    let begun = Instant::now();
    bench.runtime.block_on(async {
        let considered = context.rechecker.recheck_once(None).await.unwrap();
        assert_eq!(considered.len(), asks);
        while !context.deliverer.deliver_once(None).await.unwrap().is_empty() {}
        let took = begun.elapsed().as_secs_f64();
        context.store.close().await;
        took
    })
}
