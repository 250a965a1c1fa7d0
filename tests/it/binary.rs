//! The real program, as its user runs it.

use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jobber_sandbox::{CLIENT_SECRET, Op};
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::process::Command;

use crate::machine::{Machine, kill, open, program, say, terminate};
use crate::support::webhook_secret;

#[tokio::test]
async fn a_contractor_connects_a_job_is_closed_and_the_platform_is_asked() {
    let machine = Machine::set_up().await;
    let daemon = machine.start().await;
    machine.connect().await;
    let job = machine.close_a_job();
    let got = machine.receiver.wait_for(1).await;
    assert_eq!(got[0].json()["job"]["id"], job.as_str());

    // Beside the daemon, through its control socket.
    let status = machine.run(&["status", "--json"]).await;
    assert_eq!((status.status, &status.json()["running"]), (0, &json!(true)), "{}", status.err);
    let mode = std::fs::metadata(machine.path("control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let text = machine.run(&["status"]).await;
    assert!(text.out.contains("Ace Plumbing") && text.out.contains("The daemon is running."), "{}", text.out);

    assert_eq!(terminate(daemon).await, 0);
    assert!(!machine.path("control.sock").exists());

    // And without it, on the store itself.
    let status = machine.run(&["status", "--json"]).await;
    assert_eq!((status.status, &status.json()["running"]), (3, &json!(false)), "a dead daemon is not fine");
    assert_eq!(status.json()["accounts"][0]["asked_7d"], 1);
    let explained = machine.run(&["explain", "john@example.com", "--json"]).await.json();
    assert_eq!(explained[0]["outcome"], "asked");
    assert_eq!(explained[0]["work"]["id"], job.as_str());
    assert_eq!(explained[0]["delivery"]["state"], "delivered");
    let rendered = machine.run(&["explain", "john@example.com", "--render"]).await;
    assert!(
        rendered.out.contains("Hi John! How was your Drain Cleaning?"),
        "{}{}",
        rendered.out,
        rendered.err
    );
    assert_eq!(machine.receiver.got().len(), 1, "nothing is sent");
}

/// A whole run, everything logged that any part of the program can log.
#[tokio::test]
async fn no_secret_and_no_person_gets_into_a_log() {
    let machine = Machine::set_up().await;
    let logs = std::fs::File::create(machine.path("logs")).unwrap();
    let daemon = machine.start_logging_to(logs.into(), "trace").await;
    let mut secrets = machine.connect().await;
    machine.receiver.answers(&[422]);
    machine.close_a_job();
    machine.receiver.wait_for(1).await;
    let ask = machine.receiver.ids()[0].clone();
    machine.sandbox.control(Op::ExpireTokens { account: machine.account }).unwrap();
    machine.run(&["--once"]).await;
    machine.run(&["explain", "John Smith"]).await;
    machine.run(&["queue", "show", &ask]).await;
    machine.sandbox.control(Op::Disconnect { account: machine.account }).unwrap();
    machine.run(&["--once"]).await;
    assert_eq!(terminate(daemon).await, 0);

    let logs = std::fs::read_to_string(machine.path("logs")).unwrap();
    for expected in ["connected", "asked", "dead letter", "refreshed", "needs authorization", &ask] {
        assert!(logs.contains(expected), "{expected} was not logged");
    }
    let store = open(&machine);
    let account = store.accounts().await.unwrap().remove(0);
    let tokens = store.tokens(&account.id).await.unwrap().unwrap().tokens;
    secrets.extend([&tokens.access, &tokens.refresh].map(|token| token.expose_secret().to_owned()));
    // And whatever else looks like a token of the sandbox's: all its JWTs begin alike.
    secrets.push(tokens.access.expose_secret().split('.').next().unwrap().to_owned());
    secrets.extend([CLIENT_SECRET.to_owned(), webhook_secret(), STANDARD.encode([1; 32])]);
    secrets.extend(
        ["John", "Smith", "john@example.com", "5551234567", "1 Main St", "Drain Cleaning"].map(str::to_owned),
    );
    for secret in secrets {
        let line = logs.lines().find(|line| line.contains(&secret));
        assert_eq!(line, None, "{secret} was logged");
    }
}

#[tokio::test]
async fn killed_at_every_step_and_restarted_it_asks_once_under_one_id() {
    let machine = Machine::set_up().await;
    kill(machine.start().await).await;

    let daemon = machine.start().await;
    machine.connect().await;
    kill(daemon).await;

    machine.close_a_job();
    // Killed as soon as the platform has it: before the outcome can be stored, or just after.
    machine.receiver.answers(&[503]);
    let daemon = machine.start().await;
    machine.receiver.wait_for(1).await;
    kill(daemon).await;

    // Killed while it is on its way.
    kill(machine.start().await).await;

    let daemon = machine.start().await;
    machine.receiver.wait_for(2).await;
    let once = machine.run(&["--once", "--json"]).await;
    assert_eq!(once.json()["dead"], 0);
    assert_eq!(terminate(daemon).await, 0);

    let mut ids = machine.receiver.ids();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let asked = machine.run(&["explain", "John Smith", "--json"]).await.json();
    assert_eq!(asked.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_test_sweep_reports_what_scripts_rely_on() {
    let machine = Machine::set_up().await;
    let daemon = machine.start().await;
    machine.connect().await;
    assert_eq!(terminate(daemon).await, 0);
    machine.close_a_job();

    let dry = machine.run(&["--once", "--dry-run", "--json"]).await;
    assert_eq!((dry.status, &dry.json()["accounts"][0]["asked"]), (0, &json!(1)), "{}", dry.err);
    assert!(machine.receiver.got().is_empty());

    let once = machine.run(&["--once", "--account", "ace plumbing", "--json"]).await;
    assert_eq!(once.status, 0, "{}", once.err);
    let report = once.json();
    let keys: Vec<&str> = report["accounts"][0].as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = ["id", "name", "state", "polled", "candidates", "asked", "skipped", "deferred"];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(
        (&report["delivered"], &report["dead"], &report["errors"]),
        (&json!(1), &json!(0), &json!([]))
    );
    let text = machine.run(&["--once"]).await;
    assert!(text.out.contains("delivered: 0, to be tried again: 0, dead letters: 0"), "{}", text.out);

    machine.sandbox.control(Op::Disconnect { account: machine.account }).unwrap();
    let lost = machine.run(&["--once", "--json"]).await;
    assert_eq!((lost.status, &lost.json()["accounts"][0]["state"]), (3, &json!("needs_authorization")));
    let status = machine.run(&["status"]).await;
    assert_eq!(status.status, 3);
    assert!(status.out.contains("link create"), "{}", status.out);
}

#[tokio::test]
async fn links_are_made_listed_and_revoked() {
    let machine = Machine::set_up().await;
    let early = machine.run(&["link", "create", "Ace"]).await;
    assert_eq!(early.status, 2);
    assert!(early.err.contains("there is no store at") && !machine.path("store").exists(), "{}", early.err);
    machine.make_store().await;
    let made = machine
        .run(&["link", "create", "Ace", "--trigger", "invoice_paid", "--expires", "12h", "--json"])
        .await;
    let link = made.json();
    let keys: Vec<&str> = link.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["expires_at", "id", "url"]);
    let id = link["id"].as_str().unwrap();
    let list = machine.run(&["link", "list"]).await;
    assert!(
        list.out.contains(id) && list.out.contains("invoice_paid") && list.out.contains("open"),
        "{}",
        list.out
    );
    assert!(!list.out.contains(link["url"].as_str().unwrap()));
    assert_eq!(machine.run(&["link", "revoke", id]).await.status, 0);
    assert!(machine.run(&["link", "list"]).await.out.contains("revoked"));
    let unknown = machine.run(&["link", "revoke", "lnk_none"]).await;
    assert_eq!((unknown.status, unknown.err.contains("there is no link")), (5, true));
}

#[tokio::test]
async fn bad_input_is_one_sentence_with_the_remedy_and_exit_status_2() {
    let machine = Machine::set_up().await;
    machine.make_store().await;
    let config = std::fs::read_to_string(machine.path("config.toml")).unwrap();
    let cases: &[(&str, &str, &str)] = &[
        ("client_id = ", "# client_id = ", "jobber.client_id: it is not set; "),
        (
            "schedule = \"* * * * * *\"",
            "schedule = \"*/5 * * * *\"",
            "poll.schedule: `*/5 * * * *` has 5 fields; ",
        ),
        ("delay = \"0s\"", "delay = \"soon\"", "review.delay: `soon` is not a length of time; "),
        ("delay = \"0s\"", "dealy = \"0s\"", "review.dealy: there is no such key"),
        ("webhook_url = \"http://127.0.0.1", "webhook_url = \"http://10.0.0.1", "review.webhook_url: "),
    ];
    for (from, to, expected) in cases {
        assert!(config.contains(from), "{from}");
        std::fs::write(machine.path("config.toml"), config.replacen(from, to, 1)).unwrap();
        for arguments in [&["config", "check"][..], &[]] {
            let said = machine.run(arguments).await;
            assert_eq!(said.status, 2, "{}", said.err);
            assert!(said.err.starts_with("jobber-reviewd: ") && said.err.contains(expected), "{}", said.err);
            assert_eq!(said.err.trim_end().lines().count(), 1, "{}", said.err);
        }
    }
    std::fs::write(machine.path("config.toml"), &config).unwrap();
    assert_eq!(machine.run(&["config", "check"]).await.status, 0);

    machine.secret("webhook_secret", "hunter2");
    let said = machine.run(&["config", "check"]).await;
    assert!(said.err.contains("review.webhook_secret_file") && !said.err.contains("hunter2"), "{}", said.err);
    machine.secret("webhook_secret", &webhook_secret());
    std::fs::set_permissions(machine.path("store_key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = machine.run(&["config", "check"]).await;
    assert!(said.status == 2 && said.err.contains("run: chmod 600"), "{}", said.err);
    std::fs::set_permissions(machine.path("store_key"), std::fs::Permissions::from_mode(0o600)).unwrap();

    for (arguments, status, expected) in [
        (&["--once", "--account", "Nobody"][..], 5, "there is no account `Nobody`"),
        (&["link", "create", "Ace", "--account", "Nobody"], 5, "there is no account `Nobody`"),
        (&["link", "create", "Ace", "--trigger", "job_done"], 2, "use one of job_completed"),
        (&["link", "create", "Ace", "--expires", "soon"], 2, "is not a length of time"),
        (&["queue", "show", "ask_none"], 5, "there is no ask ask_none"),
        (&["queue", "retry", "ask_none"], 5, "there is no ask ask_none"),
        (&["--dry-run"], 2, "--once"),
        (&["--once", "status"], 2, "--once cannot be combined with a verb"),
        (&["frobnicate"], 2, "frobnicate"),
    ] {
        let said = machine.run(arguments).await;
        assert_eq!(said.status, status, "{arguments:?}: {}{}", said.out, said.err);
        assert!(said.err.contains(expected), "{arguments:?}: {}", said.err);
    }
    let nobody = machine.run(&["explain", "Mrs Jones"]).await;
    assert_eq!((nobody.status, nobody.out.trim()), (5, "No finished work matches."));
}

#[tokio::test]
async fn a_store_held_by_a_stranger_is_named() {
    let machine = Machine::set_up().await;
    let _stranger = open(&machine);
    for arguments in [&["status"][..], &[]] {
        let said = machine.run(arguments).await;
        assert_eq!(said.status, 2, "{}", said.err);
        assert!(said.err.contains("is in use by another process"), "{}", said.err);
    }
}

#[tokio::test]
async fn settings_are_shown_without_secrets_and_the_environment_wins() {
    let machine = Machine::set_up().await;
    let mut command = machine.command(&["config", "show", "--json"]);
    command
        .env("JOBBER_REVIEWD__REVIEW__DELAY", "3h")
        .env("JOBBER_REVIEWD__JOBBER__CLIENT_SECRET", "hunter2");
    let said = say(command).await;
    let shown = said.json();
    assert_eq!(shown["review"]["delay"], "3h");
    assert_eq!(
        shown["secrets"]["jobber_client_secret"],
        "environment variable JOBBER_REVIEWD__JOBBER__CLIENT_SECRET"
    );
    for secret in ["hunter2", CLIENT_SECRET, &webhook_secret(), &STANDARD.encode([1; 32])] {
        assert!(!said.out.contains(secret));
    }
    let text = machine.run(&["config", "show"]).await;
    assert!(text.out.contains("poll.schedule") && text.out.contains("secret store_key"), "{}", text.out);
}

/// The engine bounds the steps of a template, not what a step makes.
#[tokio::test]
async fn a_template_that_grows_without_end_is_refused_and_ends_nobody() {
    let machine = Machine::set_up().await;
    let config = std::fs::read_to_string(machine.path("config.toml")).unwrap();
    let doubled = format!("{{% set a = 'review' %}}{}{{{{ a }}}}", "{% set a = a ~ a %}".repeat(60));
    let in_a_loop = "{% set n = namespace(l=[1]) %}{% for i in range(60) %}{% set n.l = n.l + n.l %}{% endfor %}{{ n.l|list|length }}";
    let by_name = "{% set n = namespace(t='') %}{% for c in client.name %}{% set n.t = n.t ~ n.t ~ c %}{% endfor %}{{ n.t }}";
    for message in [doubled.as_str(), in_a_loop, by_name] {
        let text =
            config.replacen("delay = \"0s\"", &format!("delay = \"0s\"\nmessage = {}", json!(message)), 1);
        std::fs::write(machine.path("config.toml"), text).unwrap();
        let said = machine.run(&["config", "check"]).await;
        assert_eq!(said.status, 2, "{message}: {}", said.err);
        assert!(said.err.contains("review.message: its samples need more than 64 MiB"), "{}", said.err);
    }
    let rule = "\n[[rules]]\non = \"QUOTE_APPROVED\"\ndo = \"clients.note\"\n";
    std::fs::write(
        machine.path("config.toml"),
        format!("{config}{rule}with = {{ message = {} }}\n", json!(doubled)),
    )
    .unwrap();
    let said = machine.run(&["config", "check"]).await;
    assert!(said.status == 2 && said.err.contains("rules (number 1): its samples need"), "{}", said.err);

    std::fs::write(machine.path("config.toml"), &config).unwrap();
    let daemon = machine.start().await;
    machine.connect().await;
    let said = machine.run(&["account", "set", "Ace Plumbing", &format!("message={doubled}")]).await;
    assert_eq!(said.status, 2, "{}", said.err);
    assert!(said.err.contains("its samples need more than 64 MiB"), "{}", said.err);
    machine.close_a_job();
    machine.receiver.wait_for(1).await;
    assert_eq!(terminate(daemon).await, 0);
}

#[tokio::test]
async fn without_a_file_the_environment_is_enough() {
    let machine = Machine::set_up().await;
    let mut command = program();
    command
        .args(["config", "show", "--json"])
        .env("JOBBER_REVIEWD__JOBBER__CLIENT_ID", "from the environment");
    let said = say(command).await;
    assert_eq!(said.status, 2);
    assert!(said.err.contains("http.public_url: it is not set"), "{}", said.err);

    let mut command = program();
    command
        .args(["config", "check"])
        .env("JOBBER_REVIEWD__JOBBER__CLIENT_ID", "id")
        .env("JOBBER_REVIEWD__JOBBER__CLIENT_SECRET", "secret")
        .env("JOBBER_REVIEWD__HTTP__PUBLIC_URL", &machine.public_url)
        .env("JOBBER_REVIEWD__REVIEW__WEBHOOK_URL", machine.receiver.url())
        .env("JOBBER_REVIEWD__REVIEW__WEBHOOK_SECRET", webhook_secret())
        .env("JOBBER_REVIEWD__STORE__KEY", STANDARD.encode([1; 32]));
    let said = say(command).await;
    assert_eq!((said.status, said.out.trim()), (0, "the configuration is fine"), "{}", said.err);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let machine = Machine::set_up().await;
    let address = machine.public_url.strip_prefix("http://").unwrap().to_owned();
    let _taken = std::net::TcpListener::bind(&address).unwrap();
    let said = machine.run(&[]).await;
    assert_eq!(said.status, 2);
    assert!(said.err.contains(&format!("http.listen: {address} cannot be bound")), "{}", said.err);
}

#[tokio::test]
async fn the_demo_tells_its_story_to_the_end() {
    let mut command = program();
    command.arg("demo");
    let said = say(command).await;
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    for words in [
        "Hi John! How was your Water Heater Installation with Mike?",
        "client_opted_out",
        "no_contact",
        "no_longer_finished",
        "already_asked",
        "asked_recently",
        "before_connection",
        "on the job:    5 stars: Hot water again, thank you!",
        "QUOTE_APPROVED of quote",
    ] {
        assert!(said.out.contains(words), "{words}\n{}", said.out);
    }
    assert_eq!(said.err, "");
}

/// Even where somebody loosened the modes.
#[tokio::test]
async fn a_stranger_at_the_control_socket_is_turned_away() {
    let machine = Machine::set_up().await;
    let daemon = machine.start().await;
    for (path, mode) in [(machine.folder.path().to_owned(), 0o777), (machine.path("control.sock"), 0o777)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    // Where a stranger can get at it.
    let copy = machine.path("jobber-reviewd");
    std::fs::copy(env!("CARGO_BIN_EXE_jobber-reviewd"), &copy).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy);
    command.arg("--config").arg(machine.path("config.toml")).args(["account", "list"]);
    match command.output().await {
        Ok(asked) if !String::from_utf8_lossy(&asked.stderr).starts_with("setpriv") => {
            let words = String::from_utf8_lossy(&asked.stderr);
            assert!(asked.status.code() == Some(1) && words.contains("before it replied"), "{words}");
        }
        other => {
            assert!(std::env::var_os("JOBBER_REVIEWD_TEST_ALL").is_none(), "{other:?}");
            println!("skipped: no setpriv, or not root");
        }
    }
    assert_eq!(machine.run(&["account", "list"]).await.status, 0);
    assert_eq!(terminate(daemon).await, 0);
}

#[tokio::test]
async fn people_whom_another_tool_asked_are_not_asked_again() {
    let machine = Machine::set_up().await;
    let config = std::fs::read_to_string(machine.path("config.toml")).unwrap();
    std::fs::write(machine.path("config.toml"), config.replace("cooldown = \"0s\"", "cooldown = \"180d\""))
        .unwrap();
    let daemon = machine.start().await;
    machine.connect().await;
    let today = jobber_reviewd::testing::Clock::now(&jobber_reviewd::testing::SystemClock).to_string();
    let mut rows = vec![format!("email,phone,asked_at\nJOHN@example.com,,{today}\n,call me,{today}")];
    rows.extend((0..500).map(|row| format!("{row}@example.com,,{today}")));
    let csv = rows.join("\n");
    std::fs::write(machine.path("asked.csv"), csv).unwrap();
    let file = machine.path("asked.csv");
    let file = file.to_str().unwrap();
    let nobody = machine.run(&["import", file]).await;
    assert!(nobody.status == 2 && nobody.err.contains("line 2: no account"), "{}", nobody.err);
    let counted = machine.run(&["import", file, "--account", "Ace Plumbing"]).await;
    assert_eq!(counted.status, 4);
    assert!(counted.out.contains("line 3: its phone is not a phone number"), "{}", counted.out);
    assert!(counted.out.contains("501 rows can be imported"), "{}", counted.out);
    let noted = machine.run(&["import", file, "--account", "Ace Plumbing", "--yes", "--json"]).await;
    assert_eq!((noted.status, &noted.json()["written"]), (4, &json!(true)), "{}", noted.err);
    let job = machine.close_a_job();
    let explained = async {
        loop {
            let explained = machine.run(&["explain", &job, "--json"]).await;
            if explained.status == 0 && explained.json()[0]["outcome"] == "skipped" {
                return explained.json();
            }
        }
    };
    let explained = tokio::time::timeout(crate::machine::PATIENCE, explained).await.unwrap();
    assert_eq!(explained[0]["reason"], "asked_recently");
    assert_eq!(explained[0]["saw"]["ask_id"], "imported");
    assert_eq!(terminate(daemon).await, 0);
    assert_eq!(machine.receiver.got().len(), 0);
}

#[tokio::test]
async fn an_audit_proves_what_was_sent_and_when() {
    let machine = Machine::set_up().await;
    let daemon = machine.start().await;
    machine.connect().await;
    machine.close_a_job();
    let got = machine.receiver.wait_for(1).await;
    assert_eq!(terminate(daemon).await, 0);
    let audit = machine.run(&["audit"]).await;
    let rows: Vec<&str> = audit.out.lines().collect();
    assert_eq!((audit.status, rows.len()), (0, 2), "{}", audit.err);
    assert!(rows[0].starts_with("account,work,id,trigger,client,phone,email,job,"), "{}", rows[0]);
    let hash = jobber_reviewd::testing::of_bytes(&got[0].body);
    for proof in ["Ace Plumbing", "John Smith", "asked", got[0].id(), "delivered", ",200,1", &hash] {
        assert!(rows[1].contains(proof), "{proof}: {}", rows[1]);
    }
    assert_eq!(machine.run(&["audit", "--since", "0s", "--json"]).await.json(), json!([]));
    let local = machine.run(&["explain", "John Smith", "--json"]).await.json()[0]["finished_local"].clone();
    assert!(local.as_str().unwrap().ends_with("ST") || local.as_str().unwrap().ends_with("DT"), "{local}");
}

/// A proxy of the environment gets nothing; the one of the settings gets everything.
#[tokio::test]
async fn only_a_proxy_of_the_settings_is_used() {
    let proxy = crate::support::Receiver::start().await;
    let url = proxy.url().trim_end_matches("hook").to_owned();
    let machine = Machine::set_up().await;
    let daemon = machine.start().await;
    machine.connect().await;
    terminate(daemon).await;
    let mut command = machine.command(&["--once"]);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, &url);
    }
    let swept = command.output().await.unwrap();
    assert!(swept.status.success(), "{swept:?}");
    assert!(proxy.got().is_empty(), "a token went to a proxy that nobody configured");

    let mut command = machine.command(&["--once"]);
    command.env("JOBBER_REVIEWD__OUTGOING__PROXY", &url);
    command.output().await.unwrap();
    assert!(
        proxy.got().iter().any(|got| got.headers.contains_key("authorization")),
        "it is used if it is wanted"
    );
}

/// A mistyped path must not become a store that knows nobody.
#[tokio::test]
async fn a_store_path_that_was_never_used_is_not_taken_silently() {
    let machine = Machine::set_up().await;
    let start = |state: Option<std::path::PathBuf>| {
        let mut command = program();
        command.arg("--config").arg(machine.path("config.toml"));
        if let Some(state) = state {
            command.env("STATE_DIRECTORY", state);
        }
        command
    };
    let refused = say(start(None)).await;
    assert_eq!(refused.status, 2, "{}", refused.err);
    assert!(refused.err.contains("store.path: there was never a store in"), "{}", refused.err);
    assert!(refused.err.contains("--first-start"), "{}", refused.err);
    assert!(!machine.path("store").exists(), "nothing is left behind");
    // Another store lies in the folder of the unit: the name was mistyped.
    let tally = machine.path("stor.tally");
    std::fs::write(&tally, "{}").unwrap();
    assert_eq!(say(start(Some(machine.path("")))).await.status, 2);
    std::fs::remove_file(tally).unwrap();
    let daemon = machine.begin(start(Some(machine.path("")))).await.unwrap();
    assert_eq!(terminate(daemon).await, 0);
    let daemon = machine.begin(start(None)).await.unwrap();
    assert_eq!(terminate(daemon).await, 0, "it is known now");
}
