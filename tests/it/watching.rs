//! What operators watch it with: Prometheus, its rules, a dashboard.

use std::path::{Path, PathBuf};

use jobber_reviewd::testing::{Clock as _, SERIES, SystemClock};
use tokio::process::Command;

use crate::machine::{Machine, terminate};
use crate::support::{http, local};

fn monitoring(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/monitoring").join(name)
}

/// Every name of ours in a text.
fn named(text: &str) -> Vec<String> {
    text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_')
        .filter(|word| word.starts_with("jobber_reviewd_"))
        .map(|word| word.trim_end_matches("_bucket").to_owned())
        .collect()
}

#[test]
fn rules_and_dashboard_name_what_there_is() {
    let known: Vec<&str> = SERIES.iter().map(|series| series.name).collect();
    for file in ["rules.yml", "grafana.json"] {
        let text = std::fs::read_to_string(monitoring(file)).unwrap();
        let names = named(&text);
        assert!(names.len() > 5, "{file}");
        for name in names {
            assert!(known.contains(&name.as_str()), "{file} names {name}");
        }
    }
    let dashboard = std::fs::read_to_string(monitoring("grafana.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert_eq!(dashboard["title"], "jobber-reviewd");
    let paper =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md")).unwrap();
    for series in SERIES {
        assert!(paper.contains(&format!("| `{}` | {} |", series.name, series.about)), "{}", series.name);
    }
}

/// `promtool` with these arguments and this input, if it is installed.
async fn promtool(arguments: &[&str], input: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), input).unwrap();
    let stdin = std::fs::File::open(file.path()).unwrap();
    match Command::new("promtool").args(arguments).stdin(stdin).output().await {
        Ok(output) => {
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(output.status.success(), "promtool {arguments:?}: {said}");
        }
        Err(error) => {
            assert!(std::env::var_os("JOBBER_REVIEWD_TEST_ALL").is_none(), "promtool: {error}");
            println!("skipped: no promtool");
        }
    }
}

#[tokio::test]
async fn prometheus_takes_the_rules() {
    promtool(&["check", "rules", monitoring("rules.yml").to_str().unwrap()], "").await;
}

#[tokio::test]
async fn everything_that_is_counted_is_shown() {
    let machine = Machine::set_up().await;
    let port = std::net::TcpListener::bind(local()).unwrap().local_addr().unwrap();
    let mut command = machine.command(&[]);
    command.env("JOBBER_REVIEWD__METRICS__LISTEN", port.to_string());
    let daemon = machine.begin(command).await.unwrap();
    let set = serde_json::json!({"scopes": ["read_clients", "write_clients", "read_jobs", "read_scheduled_items", "read_invoices", "read_users"]});
    machine.sandbox.control(jobber_sandbox::Op::Switches { account: Some(machine.account), set }).unwrap();
    machine.connect().await;
    let make = "mutation { clientCreate(input: {firstName: \"Ann\"}) { client { id } } }";
    let made = machine.sandbox.graphql(machine.account, make, serde_json::json!({}));
    let client = made["data"]["clientCreate"]["client"]["id"].as_str().unwrap();
    assert_eq!(machine.run(&["jobber", "clients", "note", client, "--message", "x"]).await.status, 0);
    machine.receiver.answers(&[503]);
    machine.close_a_job();
    machine.receiver.wait_for(1).await;
    machine.sandbox.control(jobber_sandbox::Op::ExpireTokens { account: machine.account }).unwrap();
    machine.run(&["--once"]).await;

    let events = format!("{}/webhooks/jobber", machine.public_url);
    assert_eq!(http().post(events).body("{}").send().await.unwrap().status(), 401);
    let url = format!("http://{port}/metrics");
    let text = http().get(&url).send().await.unwrap().text().await.unwrap();
    let accounts = machine.run(&["account", "list", "--json"]).await.json();
    let id = accounts[0]["id"].as_str().unwrap().to_owned();
    // Instants are instants of today, in seconds.
    let value = |name: &str| {
        let line =
            text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let now = SystemClock.now().as_duration().as_secs_f64();
    for name in ["oldest_success", "account_last_success"] {
        let at = value(&format!("jobber_reviewd_{name}_timestamp_seconds"));
        assert!((now - 600.0..=now).contains(&at), "{name}: {at}");
    }
    for series in SERIES {
        assert!(text.contains(&format!("# TYPE {} ", series.name)), "{} is not there: {text}", series.name);
    }
    for line in [
        "jobber_reviewd_accounts{state=\"connected\"} 1",
        "jobber_reviewd_decisions_total{outcome=\"asked\",reason=\"\"} 1",
        "jobber_reviewd_deliveries_total{result=\"again\"} 1",
        "jobber_reviewd_token_refreshes_total{result=\"refreshed\"} 1",
        "jobber_reviewd_actions_total{action=\"clients.note\",outcome=\"done\"} 1",
        "jobber_reviewd_outbox{state=\"due\"} 1",
        "jobber_reviewd_account_works{account=\"ID\",account_name=\"Ace Plumbing\",outcome=\"asked\"} 1",
        "jobber_reviewd_account_last_success_seconds{account=\"ID\",account_name=\"Ace Plumbing\"}",
    ] {
        let line = &line.replace("ID", &id);
        assert!(text.contains(line), "{line}: {text}");
    }
    assert_eq!(terminate(daemon).await, 0);
    promtool(&["check", "metrics"], &text).await;

    // Without series of their own, accounts are only counted.
    let mut command = machine.command(&[]);
    command.env("JOBBER_REVIEWD__METRICS__LISTEN", port.to_string());
    command.env("JOBBER_REVIEWD__METRICS__ACCOUNTS", "0");
    let daemon = machine.begin(command).await.unwrap();
    let text = http().get(&url).send().await.unwrap().text().await.unwrap();
    assert!(text.contains("jobber_reviewd_oldest_success_timestamp_seconds "), "{text}");
    assert!(!text.contains("account_name="), "{text}");
    assert_eq!(terminate(daemon).await, 0);
}
