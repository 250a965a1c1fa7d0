//! How long the console's pages take when there are many accounts.

use std::time::Instant;

use super::daemon::Daemon;
use super::history::fill;
use super::{Bench, RUNS, context, free_port, median, secrets, tell};

const ACCOUNTS: usize = 400;

const EACH: usize = 100;

pub(crate) fn measure(bench: &Bench) {
    let installation = bench.install(ACCOUNTS);
    let filled = context(&installation, &secrets());
    bench.runtime.block_on(fill(&filled, ACCOUNTS, EACH));
    bench.runtime.block_on(filled.store.close());
    drop(filled);
    let address = format!("127.0.0.1:{}", free_port());
    let _daemon = Daemon::start_with(&installation, &[("CONSOLE__LISTEN", &address)]);
    let said = Daemon::verb(installation.folder.path(), &["console"]);
    let said = String::from_utf8(said.stdout).unwrap();
    let entrance = said.split_whitespace().find(|word| word.starts_with("http")).unwrap();
    bench.runtime.block_on(async {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let entered = client.get(entrance).send().await.unwrap();
        let cookie = entered.headers()["set-cookie"].to_str().unwrap();
        let cookie = cookie.split_once(';').map_or(cookie, |(cookie, _)| cookie);
        for (name, path) in [("overview", "/"), ("queue", "/queue"), ("week", "/digest")] {
            let mut times = Vec::new();
            for _ in 0..RUNS {
                let begun = Instant::now();
                let page = client.get(format!("http://{address}{path}")).header("cookie", cookie);
                let page = page.send().await.unwrap().error_for_status().unwrap();
                assert!(!page.bytes().await.unwrap().is_empty());
                times.push(begun.elapsed().as_secs_f64() * 1000.0);
            }
            tell(
                &format!("console, {name}, {ACCOUNTS} accounts, {EACH} decisions each"),
                median(times),
                "ms",
            );
        }
    });
}
