//! What verbs print with `--json` is what `docs/schema/replies` says, field by field.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use jobber_sandbox::Op;
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::contracts::validator;
use crate::machine::{Machine, Said, terminate};

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

/// Others may be added later. We want to notice it.
fn without_others(schema: &mut Value, is_part: bool) {
    match schema {
        Value::Object(fields) => {
            let parts = ["oneOf", "anyOf", "allOf"];
            let has_fields = fields.contains_key("properties");
            let is_joined = has_fields && parts.iter().any(|part| fields.contains_key(*part));
            for (name, field) in fields.iter_mut() {
                let is_part = (is_joined || is_part) && parts.contains(&name.as_str());
                match field {
                    Value::Array(several) if parts.contains(&name.as_str()) => {
                        for one in several {
                            without_others(one, is_part);
                        }
                    }
                    field => without_others(field, false),
                }
            }
            if has_fields && !is_part {
                let others = if is_joined { "unevaluatedProperties" } else { "additionalProperties" };
                fields.insert(others.to_owned(), false.into());
            }
        }
        Value::Array(several) => several.iter_mut().for_each(|one| without_others(one, false)),
        _ => {}
    }
}

static STRICT: LazyLock<BTreeMap<String, Validator>> = LazyLock::new(|| {
    let files = std::fs::read_dir(docs().join("schema/replies")).unwrap();
    files
        .map(|file| {
            let name = file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
            let mut strict = schema(&name);
            without_others(&mut strict, false);
            let strict = validator(&strict);
            (name, strict)
        })
        .collect()
});

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
    let (name, body): (&str, Value) = match verb_of(arguments) {
        _ if said.out.is_empty() => ("error", serde_json::from_str(said.err.lines().last()?).ok()?),
        Some(verb) => (&NAMES[verb], serde_json::from_str(&said.out).ok()?),
        None => return None,
    };
    misfit_of(name, &body)
}

pub fn misfit_of(name: &str, body: &Value) -> Option<String> {
    let errors: Vec<String> =
        STRICT[name].iter_errors(body).map(|error| format!("{error} at {}", error.instance_path())).collect();
    (!errors.is_empty()).then(|| format!("{name}: {}: {body}", errors.join("; ")))
}

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

#[tokio::test]
async fn every_verb_prints_what_its_schema_says() {
    let machine = Machine::set_up().await;
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
    machine.receiver.answers(&[422]);
    let jane = json!({"firstName": "Jane", "lastName": "Doe", "emails": [{"address": "jane@example.com"}]});
    machine.close_a_job_of(machine.account, jane);
    machine.receiver.wait_for(2).await;
    let mut said_of = BTreeMap::new();
    let file = |name: &str, text: &str| {
        std::fs::write(machine.path(name), text).unwrap();
        machine.path(name).to_str().unwrap().to_owned()
    };
    let asked = file("asked.csv", "email,asked_at\nold@example.com,2026-01-05\nnobody,never\n");
    let links = file("links.csv", "name\nBright Windows\n");
    let copy = machine.path("copy").to_str().unwrap().to_owned();
    let mut run = async |arguments: &[&str]| {
        let said = machine.run(&[arguments, &["--json"]].concat()).await;
        let verb = verb_of(arguments).unwrap_or_else(|| panic!("{arguments:?} is not in the papers"));
        if NAMES[verb] == "done" && said.out.is_empty() {
            // There is no such thing to do. The error has its schema too.
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
    let ask = run(&["queue", "list"]).await[0]["id"].as_str().unwrap().to_owned();
    run(&["queue", "show", &ask]).await;
    run(&["queue", "retry", &ask]).await;
    run(&["replay", "--since", "24h"]).await;
    run(&["queue", "drop", &ask]).await;
    run(&["queue", "release", "jane@example.com"]).await;
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
        // One runs until it is stopped; the other has tests of its own.
        if ["sandbox", "init"].contains(&verb.as_str()) {
            continue;
        }
        let Some(body) = said_of.get(verb.as_str()) else {
            assert_eq!(name, "done", "{verb} was not run");
            continue;
        };
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
