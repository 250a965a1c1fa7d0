//! What keeps the project in shape: layers, documents, and the tables that must agree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use apollo_compiler::{ExecutableDocument, Schema};
use jobber_reviewd::testing::API_VERSION;

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn files(folder: impl AsRef<Path>, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Checked by a validator that is not the one that derives the types: that one does not look at arguments.
#[test]
fn every_document_is_valid_on_the_schema() {
    let schema = Schema::parse_and_validate(jobber_sandbox::SCHEMA, "schema.graphql").unwrap();
    let documents = files("graphql", "graphql");
    assert!(documents.len() >= 6);
    for file in documents {
        let text = std::fs::read_to_string(&file).unwrap();
        let document = ExecutableDocument::parse_and_validate(&schema, &text, &file)
            .unwrap_or_else(|error| panic!("{}", error.errors));
        assert_eq!(document.operations.len(), 1, "{}: one operation a document", file.display());
        assert!(text.starts_with('#'), "{}: say what it is for", file.display());
    }
}

/// Lists and prices every document, so that a change of cost is seen.
#[test]
fn documents_cost_what_they_did() {
    let schema = Schema::parse_and_validate(jobber_sandbox::SCHEMA, "schema.graphql").unwrap();
    let variables = serde_json::json!({"first": 20, "job": true, "visit": false, "invoice": false});
    let variables = serde_json::from_value(variables).unwrap();
    let mut costs = BTreeMap::new();
    // Actions have their own table.
    let is_action = |file: &PathBuf| file.parent().is_some_and(|folder| folder.ends_with("actions"));
    for file in files("graphql", "graphql").into_iter().filter(|file| !is_action(file)) {
        let text = std::fs::read_to_string(&file).unwrap();
        let document = ExecutableDocument::parse_and_validate(&schema, &text, &file).unwrap();
        let operation = document.operations.iter().next().unwrap();
        let cost = jobber_sandbox::requested(&document, operation, &variables, false);
        let name = file.strip_prefix(root().join("graphql")).unwrap().with_extension("");
        costs.insert(name.to_str().unwrap().to_owned(), cost);
    }
    let expected = [
        ("account", 3),
        ("changes/clients", 63),
        ("changes/expenses", 63),
        ("changes/invoices", 63),
        ("changes/jobs", 83),
        ("changes/payouts", 63),
        ("changes/quotes", 63),
        ("changes/requests", 63),
        ("changes/timesheets", 63),
        ("changes/visits", 43),
        ("client_edit", 4),
        ("clients", 323),
        ("details", 68),
        ("disconnect", 4),
        ("event_off", 4),
        ("event_on", 6),
        ("extras", 52),
        ("invoice_switches", 40),
        ("invoices", 183),
        ("job_switches", 140),
        ("job_close", 4),
        ("job_reopen", 4),
        ("jobs", 143),
        ("probe_client", 4),
        ("probe_job", 4),
        ("probe_jobs", 223),
        ("records/account", 4),
        ("records/client", 41),
        ("records/expense", 11),
        ("records/invoice", 18),
        ("records/job", 18),
        ("records/marketing_item", 6),
        ("records/payment", 15),
        ("records/payout", 11),
        ("records/product", 8),
        ("records/property", 13),
        ("records/quote", 18),
        ("records/request", 13),
        ("records/timesheet", 13),
        ("records/user", 9),
        ("records/visit", 15),
        ("timezone", 2),
        ("visits", 143),
    ];
    assert_eq!(costs, expected.into_iter().map(|(name, cost)| (name.to_owned(), cost)).collect());
}

/// What is read at the moment of asking about one piece of work.
#[test]
fn an_ask_costs_at_most_120_points() {
    let schema = Schema::parse_and_validate(jobber_sandbox::SCHEMA, "schema.graphql").unwrap();
    for kind in ["job", "visit", "invoice"] {
        let mut variables = serde_json::json!({"job": false, "visit": false, "invoice": false});
        variables[kind] = true.into();
        let variables = serde_json::from_value(variables).unwrap();
        let cost = |name: &str| {
            let file = root().join(format!("graphql/{name}.graphql"));
            let text = std::fs::read_to_string(&file).unwrap();
            let document = ExecutableDocument::parse_and_validate(&schema, &text, &file).unwrap();
            let operation = document.operations.iter().next().unwrap();
            jobber_sandbox::requested(&document, operation, &variables, false)
        };
        let points = cost("details") + cost("extras");
        assert!(points <= 120, "{kind}: {points}");
    }
}

#[test]
fn the_version_asked_for_is_the_schemas() {
    let schemas = files("schema", "graphql");
    let names: Vec<_> = schemas.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, [format!("jobber-{API_VERSION}.graphql")]);
    assert_eq!(jobber_sandbox::VERSION, API_VERSION);
    assert!(read("src/jobber/query.rs").contains(&format!("schema/jobber-{API_VERSION}.graphql")));
}

#[test]
fn the_visible_top_level_is_what_was_agreed() {
    let mut visible: Vec<String> = std::fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    visible.sort();
    let agreed = [
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "SECURITY.md",
        "docs",
        "graphql",
        "schema",
        "src",
        "systemd",
        "tests",
    ];
    assert_eq!(visible, agreed);
}
