//! The daemon under systemd: readiness, watchdog, reload, a socket that is handed over.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};

use crate::machine::{Machine, PATIENCE, say, terminate};
use crate::support::{http, local};

/// What a daemon tells systemd.
struct Notified(UnixDatagram);

impl Notified {
    async fn start(machine: &Machine, mut command: Command) -> (Self, Child) {
        let socket = machine.path("notify.sock");
        let notified = Self(UnixDatagram::bind(&socket).unwrap());
        let daemon = command.env("NOTIFY_SOCKET", &socket).env("JOBBER_REVIEWD_LOG", "warn").spawn().unwrap();
        notified.wait_for("READY=1").await;
        (notified, daemon)
    }

    /// Takes messages until one holds `text`; that one.
    async fn wait_for(&self, text: &str) -> String {
        let mut buffer = [0; 1024];
        loop {
            let length = tokio::time::timeout(PATIENCE, self.0.recv(&mut buffer)).await;
            let length = length.unwrap_or_else(|_| panic!("it never told {text}")).unwrap();
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.contains(text) {
                return message;
            }
        }
    }
}

async fn signal(daemon: &Child, name: &str) {
    let id = daemon.id().unwrap().to_string();
    assert!(Command::new("kill").args([name, &id]).status().await.unwrap().success());
}

#[tokio::test]
async fn the_watchdog_is_fed_while_everything_turns_and_not_by_a_daemon_that_stands_still() {
    let machine = Machine::set_up().await;
    let mut command = machine.command(&[]);
    command.env("WATCHDOG_USEC", "300000");
    let (notified, daemon) = Notified::start(&machine, command).await;
    for _ in 0..3 {
        notified.wait_for("WATCHDOG=1").await;
    }
    let status = notified.wait_for("STATUS=").await;
    assert!(status.contains("watching 0 accounts"), "{status}");
    signal(&daemon, "-STOP").await;
    let mut buffer = [0; 1024];
    // What was sent before it stood still comes first.
    while notified.0.try_recv(&mut buffer).is_ok() {}
    let silence = tokio::time::timeout(Duration::from_secs(1), notified.0.recv(&mut buffer)).await;
    assert!(silence.is_err(), "a process that stands still cannot feed it");
    signal(&daemon, "-CONT").await;
    notified.wait_for("WATCHDOG=1").await;
    assert_eq!(terminate(daemon).await, 0);
}

#[tokio::test]
async fn a_hangup_reads_the_settings_again_and_broken_ones_change_nothing() {
    let machine = Machine::set_up().await;
    let (notified, daemon) = Notified::start(&machine, machine.command(&[])).await;
    machine.connect().await;
    let path = machine.path("config.toml");
    let settings = std::fs::read_to_string(&path).unwrap();
    let delay = async || {
        let shown = machine.run(&["account", "show", "Ace", "--json"]).await.json();
        let all = shown["settings"].as_array().unwrap().clone();
        all.into_iter().find(|setting| setting["key"] == "delay").unwrap()["value"].clone()
    };
    assert_eq!(delay().await, "0s");
    for (text, after) in [
        (settings.replace("delay = \"0s\"", "delay = \"3h\""), "3h"),
        (settings.replace("delay = \"0s\"", "delay = \"soon\""), "3h"),
        (
            settings
                .replace("delay = \"0s\"", "delay = \"0s\"\nmessage = \"Thanks, {{ client.first_name }}!\""),
            "0s",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        signal(&daemon, "-HUP").await;
        let told = notified.wait_for("RELOADING=1").await;
        assert!(told.contains("MONOTONIC_USEC="), "{told}");
        notified.wait_for("READY=1").await;
        std::fs::write(&path, &settings).unwrap();
        assert_eq!(delay().await, after);
    }
    machine.close_a_job();
    assert_eq!(machine.receiver.wait_for(1).await[0].json()["message"], "Thanks, John!");
    assert_eq!(terminate(daemon).await, 0);
}

#[tokio::test]
async fn a_hangup_takes_another_schedule() {
    let machine = Machine::set_up().await;
    let path = machine.path("config.toml");
    let often = std::fs::read_to_string(&path).unwrap();
    let never = often.replace("* * * * * *", "0 0 0 1 1 *");
    std::fs::write(&path, &never).unwrap();
    let (notified, daemon) = Notified::start(&machine, machine.command(&[])).await;
    machine.connect().await;
    std::fs::write(&path, &often).unwrap();
    signal(&daemon, "-HUP").await;
    notified.wait_for("READY=1").await;
    // Only a sweep of the new schedule can find it: the one after the connection is long over.
    let requests = machine.sandbox.stats(machine.account).requests;
    let more = async {
        while machine.sandbox.stats(machine.account).requests < requests + 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, more).await.expect("it is not swept");
    assert_eq!(terminate(daemon).await, 0);
}

#[tokio::test]
async fn a_socket_that_systemd_holds_is_taken_and_waits_while_the_daemon_is_away() {
    let machine = Machine::set_up().await;
    let held = std::net::TcpListener::bind(local()).unwrap().local_addr().unwrap().to_string();
    let mut command = Command::new("systemd-socket-activate");
    command
        .args([
            "--listen",
            &held,
            "--setenv=JOBBER_REVIEWD_LOG=warn",
            "--setenv=JOBBER_REVIEWD_FIRST_START=true",
        ])
        .arg(env!("CARGO_BIN_EXE_jobber-reviewd"));
    command.arg("--config").arg(machine.path("config.toml")).kill_on_drop(true);
    let daemon = match command.spawn() {
        Ok(daemon) => daemon,
        Err(error) => {
            assert!(
                std::env::var_os("JOBBER_REVIEWD_TEST_ALL").is_none(),
                "systemd-socket-activate: {error}"
            );
            println!("skipped: no systemd-socket-activate");
            return;
        }
    };
    // The first look starts the daemon, and is answered when it is up.
    let url = format!("http://{held}/healthz");
    let answer = async {
        loop {
            if let Ok(answer) = http().get(&url).send().await {
                return answer;
            }
            // The holder itself is not up yet.
            tokio::task::yield_now().await;
        }
    };
    let answer = tokio::time::timeout(PATIENCE, answer).await.expect("nobody answers");
    assert_eq!(answer.status(), 200);
    assert_eq!(machine.run(&["status", "--json"]).await.json()["running"], json!(true));
    assert_eq!(terminate(daemon).await, 0);
}

#[tokio::test]
async fn systemd_accepts_the_units_and_finds_little_exposed() {
    if !Path::new("/usr/bin/systemd-analyze").exists()
        && std::env::var_os("JOBBER_REVIEWD_TEST_ALL").is_none()
    {
        println!("skipped: no systemd-analyze");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for unit in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")).unwrap() {
        let unit = unit.unwrap().path();
        if !unit
            .extension()
            .is_some_and(|kind| ["service", "socket", "timer"].iter().any(|known| kind == *known))
        {
            continue;
        }
        // Nothing is installed here: the units are held against the program that was just built.
        let text = std::fs::read_to_string(&unit).unwrap();
        let text = text.replace("/usr/bin/jobber-reviewd", env!("CARGO_BIN_EXE_jobber-reviewd"));
        let copy = folder.path().join(unit.file_name().unwrap());
        std::fs::write(&copy, text).unwrap();
        units.push(copy);
    }
    assert_eq!(units.len(), 4);
    let mut command = Command::new("systemd-analyze");
    command.arg("verify").args(&units);
    // It exits with 0 on keys that it does not know: the words count.
    let said = say(command).await;
    assert_eq!((said.status, said.err.as_str()), (0, ""));
    let mut command = Command::new("systemd-analyze");
    // Tenths: 1.1 of 10.
    command
        .args(["security", "--offline=true", "--threshold=11"])
        .arg(folder.path().join("jobber-reviewd.service"));
    let said = say(command).await;
    assert_eq!(said.status, 0, "{}", said.out);
}
