//! What operators read on a terminal: it fits, names come before ids, and mistakes are helped with.

use jobber_sandbox::Op;
use serde_json::json;

use crate::machine::{Machine, program, say, terminate};

async fn at_80_columns(machine: &Machine, arguments: &[&str]) -> String {
    let mut command = machine.command(arguments);
    command.env("COLUMNS", "80");
    let said = say(command).await;
    for line in said.out.lines() {
        assert!(line.chars().count() <= 80, "{arguments:?}: {line}");
    }
    said.out
}

#[tokio::test]
async fn an_operator_makes_all_links_from_one_file_and_finds_who_is_in_trouble() {
    let machine = Machine::set_up().await;
    let daemon = machine.start().await;
    machine.connect().await;
    std::fs::write(
        machine.path("contractors.csv"),
        "e-mail,name,trigger\nb@example.com,\"Bright Windows, Inc.\",visit_completed\nc@example.com,Clear Gutters,\n",
    )
    .unwrap();
    let list = machine.path("contractors.csv");
    let said = machine.run(&["link", "create", "--from", list.to_str().unwrap()]).await;
    assert_eq!(said.status, 0, "{}", said.err);
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines[0], "e-mail,name,trigger,link,expires,link id");
    assert!(lines[1].starts_with("b@example.com,\"Bright Windows, Inc.\",visit_completed,http://127.0.0.1"));
    assert_eq!(lines.len(), 3);
    let links = machine.run(&["link", "list", "--json"]).await.json();
    let bright = links.as_array().unwrap().iter().find(|link| link["label"] == "Bright Windows, Inc.");
    assert_eq!(bright.unwrap()["trigger"], "visit_completed");
    let pruned = machine.run(&["link", "prune"]).await;
    assert_eq!(pruned.out.trim(), "links forgotten: 1", "the one that was used");
    let text = at_80_columns(&machine, &["link", "list"]).await;
    assert!(text.contains("Clear Gutters") && !text.contains("used"), "{text}");

    machine.sandbox.control(Op::Disconnect { account: machine.account }).unwrap();
    machine.run(&["--once"]).await;
    let text = at_80_columns(&machine, &["status"]).await;
    let (trouble, table) = text.split_once("ACCOUNT").unwrap();
    assert!(trouble.contains("Ace Plumbing: needs authorization:"), "{text}");
    let remedy = "  send a new link:\n    jobber-reviewd link create 'Ace' --account 'Ace Plumbing'\n";
    assert!(trouble.contains(remedy), "{text}");
    assert!(!table.contains("DEAD"), "a column of nothing: {text}");
    let only = async |state| machine.run(&["status", "--state", state, "--json"]).await.json();
    assert_eq!(only("connected").await["accounts"], json!([]));
    assert_eq!(only("needs_authorization").await["accounts"][0]["name"], "Ace Plumbing");
    assert_eq!(terminate(daemon).await, 0);
}

#[tokio::test]
async fn the_queue_speaks_of_customers_and_takes_their_names() {
    let machine = Machine::set_up().await;
    let daemon = machine.start().await;
    machine.connect().await;
    machine.receiver.answers(&[422]);
    machine.close_a_job();
    machine.receiver.wait_for(1).await;
    let text = at_80_columns(&machine, &["explain", "john@example.com"]).await;
    assert!(text.contains("John Smith") && text.contains("outcome   asked"), "{text}");

    let rows = machine
        .run(&["queue", "list", "--account", "ace plumbing", "--state", "dead", "--json"])
        .await
        .json();
    assert_eq!(
        (&rows[0]["account_name"], &rows[0]["subject"]["client_name"]),
        (&json!("Ace Plumbing"), &json!("John Smith"))
    );
    let text = at_80_columns(&machine, &["queue", "list"]).await;
    assert!(text.contains("Ace Plumbing") && text.contains("dead letter"), "{text}");
    for what in ["John Smith", "john@example.com", &format!("#{}", rows[0]["subject"]["job_number"])] {
        let shown = machine.run(&["queue", "show", what, "--json"]).await;
        assert_eq!(shown.json()["id"], rows[0]["id"], "{what}: {}", shown.err);
    }
    let dropped = machine.run(&["queue", "drop", "John Smith"]).await;
    assert_eq!(dropped.status, 0, "{}", dropped.err);
    assert_eq!(machine.run(&["queue", "list", "--json"]).await.json(), json!([]));

    // Work that waits is dropped too, and taken back.
    let set = machine.run(&["account", "set", "--all", "delay=4h"]).await;
    assert_eq!((set.status, set.out.trim()), (0, "accounts changed: 1"), "{}", set.err);
    let job = machine.close_a_job();
    assert_eq!(machine.run(&["--once"]).await.status, 0);
    let shown = machine.run(&["queue", "show", &job]).await;
    assert!(shown.status == 2 && shown.err.contains("waits and has no message yet"), "{}", shown.err);
    let dropped = machine.run(&["queue", "drop", &job]).await;
    assert!(dropped.out.contains("is dropped: nobody is asked about it"), "{}{}", dropped.out, dropped.err);
    let explained = machine.run(&["explain", &job, "--json"]).await.json();
    assert_eq!(explained[0]["reason"], "dropped_by_operator");
    assert_eq!(machine.run(&["queue", "release", &job]).await.status, 0);
    assert_eq!(terminate(daemon).await, 0);
}

#[tokio::test]
async fn a_mistake_is_helped_with_and_scripts_can_read_it() {
    let machine = Machine::set_up().await;
    let daemon = machine.start().await;
    machine.connect().await;
    let typed = async |words: &[&str]| {
        let mut command = program();
        let index = (words.len() - 1).to_string();
        command.env("JOBBER_REVIEWD_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", index);
        command.env("JOBBER_REVIEWD_CONFIG", machine.path("config.toml")).arg("--").args(words);
        command.env("_CLAP_IFS", "\n");
        say(command).await.out
    };
    assert_eq!(typed(&["jobber-reviewd", "account", "pause", "ac"]).await, r"Ace\ Plumbing");
    assert_eq!(typed(&["jobber-reviewd", "status", "--account", ""]).await, r"Ace\ Plumbing");
    assert_eq!(typed(&["jobber-reviewd", "account", "pau"]).await, "pause");
    let said = machine.run(&["account", "pause", "Ace Plumbng", "--json"]).await;
    assert_eq!((said.status, said.out.as_str()), (5, ""), "stdout holds only results");
    let error: serde_json::Value = serde_json::from_str(&said.err).unwrap();
    assert_eq!(error["exit_status"], 5);
    assert!(error["error"].as_str().unwrap().contains("did you mean `Ace Plumbing`?"), "{error}");
    for (arguments, expected) in [
        (
            &["status", "--state", "broken"][..],
            "write one of connected, paused, needs_authorization, disconnected",
        ),
        (&["account", "set"], "name an account, or write --all"),
        (&["account", "set", "Ace Plumbing", "delay"], "`delay`: write KEY=VALUE"),
        (&["link", "create"], "name the contractor, or a list of them with --from FILE"),
    ] {
        let said = machine.run(arguments).await;
        assert!(said.status == 2 && said.err.contains(expected), "{arguments:?}: {}", said.err);
    }
    assert_eq!(terminate(daemon).await, 0);
}
