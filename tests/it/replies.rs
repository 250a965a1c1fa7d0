//! What verbs print with `--json` is what `docs/schema/replies` says, field by field.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::LazyLock;

use jobber_sandbox::Op;
use jsonschema::Validator;
use serde_json::{Value, json};
use tokio::io::AsyncBufReadExt as _;
use tokio::process::Child;

use crate::contracts::{strict, validator};
use crate::machine::{Machine, Said, program, terminate};

fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// The schema's name for each verb, as the papers say it.
static NAMES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let paper = std::fs::read_to_string(docs().join("operating.md")).unwrap();
    let mut names = BTreeMap::new();
    for row in paper.lines().filter(|line| line.starts_with("| [`") && line.contains("](schema/replies/")) {
        let [_, schema, verbs, _] = row.split('|').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let name = schema.split('`').nth(1).unwrap();
        assert!(schema.contains(&format!("(schema/replies/{name}.json)")), "{row}");
        for verb in verbs.split('`').skip(1).step_by(2) {
            assert_eq!(names.insert(verb.to_owned(), name.to_owned()), None, "{verb} stands there twice");
        }
    }
    names
});

fn schema(name: &str) -> Value {
    let path = docs().join("schema/replies").join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

static STRICT: LazyLock<BTreeMap<String, Validator>> =
    LazyLock::new(|| strict(&docs().join("schema/replies")));

/// Stands in the papers for what writes in Jobber.
const WRITE: &str = "jobber NOUN VERB";

/// The verb in a command line, as the papers name it.
fn verb_of(arguments: &[&str]) -> Option<&'static str> {
    let is_in = |verb: &&String| {
        let mut words = arguments.iter();
        let is_said = verb.split(' ').all(|part| words.any(|word| *word == part));
        is_said && (verb.starts_with('-') || verb.split(' ').next() == arguments.first().copied())
    };
    let said = NAMES.keys().filter(is_in).max_by_key(|verb| verb.split(' ').count()).map(String::as_str);
    // Reads in Jobber print Jobber's records.
    said.or_else(|| (arguments.first() == Some(&"jobber") && arguments.contains(&"note")).then_some(WRITE))
}

/// What is wrong with what the program said to a command line with `--json`.
pub fn misfit(arguments: &[&str], said: &Said) -> Option<String> {
    let read = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| format!("{error}: {text}"));
    let body = if said.out.is_empty() {
        let told = said.err.lines().last().unwrap_or_default();
        // What is wrong with the words themselves is told as text.
        if said.status == 2 && said.err.starts_with("error: ") {
            return None;
        }
        read(told).map(|told| ("error", told))
    } else {
        match verb_of(arguments) {
            Some(verb) => read(&said.out).map(|body| (NAMES[verb].as_str(), body)),
            None => return None,
        }
    };
    match body {
        Ok((name, body)) => misfit_of(name, &body),
        Err(error) => Some(error),
    }
}

pub fn misfit_of(name: &str, body: &Value) -> Option<String> {
    let errors: Vec<String> =
        STRICT[name].iter_errors(body).map(|error| format!("{error} at {}", error.instance_path())).collect();
    (!errors.is_empty()).then(|| format!("{name}: {}: {body}", errors.join("; ")))
}

/// They are refused here: there is no burst, and no work that was too old. The error has its schema too.
const NOTHING_THERE: [&str; 3] = ["queue release", "queue release-burst", "queue drop-burst"];

/// The schema takes what was printed, and more that may come, and not just anything.
fn holds(verb: &str, name: &str, body: &Value) {
    let one = if let Value::Array(several) = body { several.first() } else { Some(body) };
    let Some(Value::Object(fields)) = one else { panic!("{verb} says nothing: {body}") };
    assert_eq!(misfit_of(name, body), None);
    let wrap = |one: Value| if body.is_array() { json!([one]) } else { one };
    let mut other = fields.clone();
    other.insert("added_later".to_owned(), json!(1));
    assert!(misfit_of(name, &wrap(other.clone().into())).is_some(), "{verb}: the tests would not notice");
    let schema = schema(name);
    let lenient = validator(&schema);
    assert!(lenient.is_valid(&wrap(other.into())), "{verb} refuses what may come");
    assert!(!lenient.is_valid(&json!("text")), "{verb} takes anything");
}

/// A daemon with everything that can be asked for: an account, an ask, two dead letters, alerts and a console.
async fn with_all(machine: &Machine) -> Child {
    let config = std::fs::read_to_string(machine.path("config.toml")).unwrap();
    let url = machine.receiver.url();
    let config = format!("{config}[alerts]\nwebhook_url = \"{url}\"\n[console]\nlisten = \"127.0.0.1:0\"\n");
    std::fs::write(machine.path("config.toml"), config).unwrap();
    let daemon = machine.start().await;
    let set = json!({"scopes": ["read_clients", "write_clients", "read_jobs", "read_scheduled_items", "read_invoices", "read_users"]});
    machine.sandbox.control(Op::Switches { account: Some(machine.account), set }).unwrap();
    machine.connect().await;
    machine.close_a_job();
    machine.receiver.wait_for(1).await;
    machine.receiver.answers(&[422, 422]);
    for name in ["jane", "joe"] {
        let customer = json!({"firstName": name, "emails": [{"address": format!("{name}@example.com")}]});
        machine.close_a_job_of(machine.account, customer);
    }
    machine.receiver.wait_for(3).await;
    daemon
}

#[tokio::test]
async fn every_verb_prints_what_its_schema_says() {
    let machine = Machine::set_up().await;
    let daemon = with_all(&machine).await;
    let mut said_of = BTreeMap::new();
    let file = |name: &str, text: &str| {
        std::fs::write(machine.path(name), text).unwrap();
        machine.path(name).to_str().unwrap().to_owned()
    };
    let asked = file("asked.csv", "email,asked_at\nold@example.com,2026-01-05\nnobody,never\n");
    let links = file("links.csv", "name\nBright Windows\n");
    let new_secret = machine.path("new_secret").to_str().unwrap().to_owned();
    let copy = machine.path("copy").to_str().unwrap().to_owned();
    let mut run = async |arguments: &[&str]| {
        let said = machine.run(&[arguments, &["--json"]].concat()).await;
        let verb = verb_of(arguments).unwrap_or_else(|| panic!("{arguments:?} is not in the papers"));
        if NOTHING_THERE.contains(&verb) && said.out.is_empty() {
            return Value::Null;
        }
        let body = said.json();
        said_of.insert(verb, body.clone());
        body
    };
    let link = run(&["link", "create", "Clear Gutters"]).await["id"].as_str().unwrap().to_owned();
    run(&["link", "create", "--from", &links]).await;
    run(&["link", "list"]).await;
    run(&["link", "revoke", &link]).await;
    run(&["link", "prune"]).await;
    run(&["--once"]).await;
    run(&["account", "list"]).await;
    run(&["account", "set", "Ace Plumbing", "min_total=0"]).await;
    run(&["account", "set", "--all", "cooldown=0s"]).await;
    run(&["account", "show", "Ace Plumbing"]).await;
    run(&["account", "pause", "Ace Plumbing"]).await;
    run(&["account", "resume", "Ace Plumbing"]).await;
    run(&["status"]).await;
    run(&["doctor"]).await;
    run(&["test-event"]).await;
    run(&["alerts", "test"]).await;
    run(&["events", "enable"]).await;
    run(&["events", "status"]).await;
    run(&["probe", "--account", "Ace Plumbing"]).await;
    run(&["key", "create", "crm", "--account", "Ace Plumbing", "--may", "clients.note,asks.review"]).await;
    run(&["key", "list"]).await;
    run(&["key", "revoke", "crm"]).await;
    run(&["jobber", "api", "query { account { id name } }"]).await;
    let found = run(&["explain", "john@example.com", "--render"]).await;
    let client = found[0]["subject"]["client_id"].as_str().unwrap().to_owned();
    run(&["jobber", "clients", "note", &client, "--message", "asked"]).await;
    run(&["audit", "--since", "30d"]).await;
    run(&["audit", "--actions"]).await;
    let dead = run(&["queue", "list"]).await;
    let [jane, joe] = [0, 1].map(|row: usize| dead[row]["id"].as_str().unwrap().to_owned());
    run(&["queue", "show", &joe]).await;
    let dropped = run(&["queue", "drop", &joe]).await;
    assert!(dropped["done"].as_str().unwrap().contains("dropped"), "{dropped}");
    run(&["queue", "release", dead[1]["work"]["id"].as_str().unwrap()]).await;
    run(&["queue", "retry", &jane]).await;
    run(&["replay", "--since", "24h"]).await;
    run(&["queue", "release-burst", "--account", "Ace Plumbing"]).await;
    run(&["queue", "drop-burst", "--account", "Ace Plumbing"]).await;
    run(&["import", &asked, "--account", "Ace Plumbing"]).await;
    run(&["shadow", "report", &asked, "--account", "Ace Plumbing"]).await;
    run(&["suppress", "add", "old@example.com", "--note", "asked us to stop"]).await;
    run(&["suppress", "list"]).await;
    run(&["suppress", "remove", "old@example.com"]).await;
    run(&["export-person", "john@example.com"]).await;
    run(&["forget", "john@example.com"]).await;
    run(&["config", "check"]).await;
    run(&["console"]).await;
    run(&["secret", "new", "webhook-secret", "--file", &new_secret]).await;
    run(&["secret", "new", "store-key"]).await;
    run(&["--version", "--verbose"]).await;
    run(&["export", &copy]).await;
    assert_eq!(terminate(daemon).await, 0);
    // A daemon waits for events that are on their way.
    run(&["events", "disable"]).await;
    run(&["account", "disconnect", "Ace Plumbing", "--yes"]).await;
    run(&["account", "remove", "Ace Plumbing", "--yes"]).await;
    std::fs::remove_dir_all(machine.path("store")).unwrap();
    run(&["restore", &copy]).await;

    for (verb, name) in &*NAMES {
        // They have tests of their own.
        if ["sandbox", "init"].contains(&verb.as_str()) {
            continue;
        }
        let body = said_of.get(verb.as_str());
        if NOTHING_THERE.contains(&verb.as_str()) && body.is_none() {
            continue;
        }
        let body = body.unwrap_or_else(|| panic!("{verb} was not run"));
        holds(verb, name, body);
    }
}

#[test]
fn every_schema_is_one_and_stands_in_the_papers() {
    for name in STRICT.keys() {
        assert!(jsonschema::draft202012::meta::is_valid(&schema(name)), "{name}");
        assert!(name == "error" || NAMES.values().any(|known| known == name), "nothing prints {name}");
    }
}

#[test]
fn every_verb_is_in_the_papers_and_every_schema_names_its_verbs() {
    fn verbs(command: &clap::Command, above: &str) -> Vec<String> {
        let below = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        below
            .flat_map(|verb| {
                let path = format!("{above} {}", verb.get_name()).trim_start().to_owned();
                if verb.has_subcommands() { verbs(verb, &path) } else { vec![path] }
            })
            .collect()
    }

    // They print text, files, or the settings.
    let others = ["completions", "man", "demo", "config show", "config schema"];
    for verb in verbs(&jobber_reviewd::testing::command(), "") {
        let is_other = verb.starts_with("jobber ") || others.contains(&verb.as_str());
        assert!(is_other || NAMES.contains_key(&verb), "{verb} has no schema");
    }
    for name in STRICT.keys().filter(|name| *name != "error") {
        let title = schema(name)["title"].as_str().unwrap().to_owned();
        let verbs = NAMES.iter().filter(|(_, known)| *known == name);
        let named: BTreeSet<String> = verbs.map(|(verb, _)| format!("`{verb} --json`")).collect();
        assert_eq!(title.split(", ").map(str::to_owned).collect::<BTreeSet<_>>(), named, "{name}");
    }
}

#[tokio::test]
async fn the_local_jobber_says_where_it_is() {
    let mut command = program();
    let mut jobber =
        command.args(["sandbox", "--port", "0", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = tokio::io::BufReader::new(jobber.stdout.take().unwrap()).lines();
    let mut said = String::new();
    while !said.ends_with('}') {
        said += &out.next_line().await.unwrap().expect("it says nothing");
    }
    assert_eq!(misfit_of("sandbox", &serde_json::from_str(&said).unwrap()), None);
    assert_eq!(terminate(jobber).await, 0);
}
