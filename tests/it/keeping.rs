//! What becomes of the store when it is copied, lost, damaged, or has no room.

use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;

use crate::machine::{Machine, Said, kill, say, terminate};

/// A machine with one account and one customer who was asked.
async fn with_one_ask() -> Machine {
    let machine = Machine::set_up().await;
    let daemon = machine.start().await;
    machine.connect().await;
    machine.close_a_job();
    machine.receiver.wait_for(1).await;
    assert_eq!(terminate(daemon).await, 0);
    machine
}

fn one_sentence(said: &Said, status: i32, words: &[&str]) {
    assert_eq!((said.status, said.err.trim_end().lines().count()), (status, 1), "{}", said.err);
    for word in words {
        assert!(said.err.contains(word), "{word}: {}", said.err);
    }
}

#[tokio::test]
async fn an_export_of_the_running_daemon_brings_everything_back() {
    let machine = with_one_ask().await;
    let daemon = machine.start().await;
    let file = machine.path("backup.jsonl");
    let file = file.to_str().unwrap();
    let exported = machine.run(&["export", file, "--json"]).await;
    assert_eq!((exported.status, &exported.json()["accounts"]), (0, &json!(1)), "{}", exported.err);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let to_stdout = machine.run(&["export", "-"]).await.out;
    assert_eq!(to_stdout.lines().count(), std::fs::read_to_string(file).unwrap().lines().count());
    let restored = machine.run(&["restore", file]).await;
    one_sentence(&restored, 2, &["the daemon is running"]);
    // Killed: what the restored store knows is older than the tally that the dead one left.
    kill(daemon).await;

    one_sentence(&machine.run(&["restore", file]).await, 2, &["there is a store at", "move it away first"]);
    std::fs::rename(machine.path("store"), machine.path("old")).unwrap();
    for arguments in [&["status"][..], &[]] {
        one_sentence(
            &machine.run(arguments).await,
            3,
            &["the store ", " is gone", "jobber-reviewd restore FILE", "--accept-empty-store"],
        );
    }
    let restored = machine.run(&["restore", file]).await;
    assert_eq!(restored.status, 0, "{}", restored.err);
    assert!(restored.out.contains("restored 1 account from the export of "), "{}", restored.out);

    let daemon = machine.start().await;
    let job = machine.close_a_job();
    let got = machine.receiver.wait_for(2).await;
    assert_eq!(got[1].json()["job"]["id"], job.as_str());
    assert_eq!(terminate(daemon).await, 0);
    let once = machine.run(&["--once", "--json"]).await;
    assert_eq!((once.status, machine.receiver.got().len()), (0, 2), "{}", once.err);

    one_sentence(&machine.run(&["restore", "/nowhere"]).await, 2, &["/nowhere cannot be read"]);
    one_sentence(&machine.run(&["export", "/nowhere/to/be"]).await, 2, &["/nowhere/to/be cannot be written"]);
}

#[tokio::test]
async fn an_empty_store_is_accepted_only_by_a_human() {
    let machine = with_one_ask().await;
    let job = machine.receiver.got()[0].json()["job"]["id"].as_str().unwrap().to_owned();
    std::fs::write(machine.path("store/db"), vec![0x5a; 8192]).unwrap();
    std::fs::write(machine.path("store/conf"), "nonsense").unwrap();
    one_sentence(&machine.run(&[]).await, 3, &["cannot be read", "was moved to ", "store.quarantine-1"]);
    one_sentence(&machine.run(&[]).await, 3, &["is gone"]);

    let mut command = machine.command(&["--accept-empty-store"]);
    command.stderr(Stdio::null());
    let daemon = machine.begin(command).await.unwrap();
    assert_eq!(machine.run(&["account", "list", "--json"]).await.json(), json!([]));
    // The contractor is connected anew: what was finished before is not asked about again.
    machine.date_back(&job);
    machine.connect().await;
    assert_eq!(terminate(daemon).await, 0);
    let once = machine.run(&["--once", "--json"]).await;
    assert_eq!((once.status, &once.json()["errors"]), (0, &json!([])), "{}", once.err);
    assert_eq!(machine.receiver.got().len(), 1);
    assert!(machine.path("store.quarantine-1/db").is_file());
}

#[tokio::test]
async fn a_place_that_cannot_hold_a_store_is_named() {
    let machine = Machine::set_up().await;
    std::fs::write(machine.path("file"), "").unwrap();
    for place in [machine.path("file"), machine.path("file").join("store"), "/proc/store".into()] {
        let mut command = machine.command(&[]);
        command.env("JOBBER_REVIEWD__STORE__PATH", &place);
        let said = say(command).await;
        one_sentence(&said, 2, &[place.to_str().unwrap(), "cannot be opened"]);
    }
}

/// The kernel refuses every byte of a file beyond a limit, as a disk without room does.
#[tokio::test]
async fn a_full_disk_ends_the_daemon_and_loses_nothing() {
    let machine = with_one_ask().await;
    let size = std::fs::metadata(machine.path("store/db")).unwrap().len();
    let limited = |blocks: u64| {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; ulimit -f $1; shift; exec \"$@\"", "sh", &blocks.to_string()]);
        command.args([env!("CARGO_BIN_EXE_jobber-reviewd"), "--config"]).arg(machine.path("config.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    };
    let sentence = |err: &str| {
        let last = err.trim_end().lines().last().unwrap_or_default();
        assert!(last.starts_with("jobber-reviewd: ") && last.contains("File too large"), "{err}");
        assert!(last.contains("nothing is lost"), "{err}");
    };

    // No room at all.
    let said = say(limited(size / 512)).await;
    assert_eq!(said.status, 1, "{}", said.err);
    sentence(&said.err);

    // And some for a while.
    let mut daemon = machine.begin(limited(size / 512 + 2048)).await.unwrap();
    let long_name = "x".repeat(40_000);
    let job = machine.close_a_job();
    while daemon.try_wait().unwrap().is_none() {
        machine.run(&["link", "create", &long_name]).await;
    }
    let ended = daemon.wait_with_output().await.unwrap();
    assert_eq!(ended.status.code(), Some(1));
    sentence(&String::from_utf8(ended.stderr).unwrap());

    let daemon = machine.start().await;
    machine.receiver.wait_for(2).await;
    assert_eq!(terminate(daemon).await, 0);
    let once = machine.run(&["--once", "--json"]).await;
    assert_eq!((once.status, &once.json()["errors"]), (0, &json!([])), "{}", once.err);
    let mut ids = machine.receiver.ids();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2, "{job}");
}
