//! The papers hold for the program as it is: keys, verbs and links that they name are there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jobber_reviewd::testing::{Config, CrashPoint, KEYS};

use crate::guards::{files, read, root};

/// What looks like a key and is the type of a message.
const MESSAGES: [&str; 3] = ["review.requested", "review.test", "review.received"];

fn papers() -> Vec<PathBuf> {
    let mut papers = files("docs", "md");
    let beside = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];
    papers.extend(beside.map(|name| root().join(name)));
    papers
}

fn text(paper: &Path) -> String {
    std::fs::read_to_string(paper).unwrap_or_else(|error| panic!("{}: {error}", paper.display()))
}

/// What stands between backticks, in prose and in tables; blocks of code are read as lines.
fn quoted(text: &str) -> Vec<String> {
    let mut quoted = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            quoted.push(line.to_owned());
        } else {
            quoted.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    quoted
}

#[test]
fn every_key_that_a_paper_names_is_there() {
    let sections: BTreeSet<&str> =
        KEYS.iter().filter_map(|key| key.name.split_once('.')).map(|key| key.0).collect();
    let is_known = |name: &str| {
        let below = format!("{name}.");
        KEYS.iter().any(|key| key.name == name || key.name.starts_with(&below))
            || MESSAGES.contains(&name)
            || CrashPoint::ALL.iter().any(|point| point.name() == name)
    };
    let mut seen = 0;
    for paper in papers() {
        for quote in quoted(&text(&paper)) {
            let Some((section, rest)) = quote.split_once('.') else { continue };
            let is_word = |char: char| char.is_ascii_lowercase() || char == '_' || char == '.';
            if !sections.contains(section) || rest.is_empty() || !rest.chars().all(is_word) {
                continue;
            }
            // A file, or all keys of a section.
            if rest.ends_with('.') || ["sock", "md", "rs", "toml", "tally", "service"].contains(&rest) {
                continue;
            }
            assert!(is_known(&quote), "{}: `{quote}` is no key", paper.display());
            seen += 1;
        }
    }
    assert!(seen > 30, "keys are looked for in the wrong place");
}

#[test]
fn every_verb_that_a_paper_names_is_there() {
    let program = jobber_reviewd::testing::command();
    let mut seen = 0;
    for paper in papers() {
        for quote in quoted(&text(&paper)) {
            let Some((before, call)) = quote.split_once("jobber-reviewd ") else { continue };
            if before.ends_with(['/', '-', '.']) {
                continue;
            }
            let mut command = &program;
            for word in call.split_whitespace() {
                let is_verb = word.chars().all(|char| char.is_ascii_lowercase() || char == '-');
                if !is_verb || word.starts_with('-') || !command.has_subcommands() {
                    break;
                }
                let found = command.find_subcommand(word);
                command = found.unwrap_or_else(|| panic!("{}: `{quote}`: no verb {word}", paper.display()));
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "verbs are looked for in the wrong place");
}

#[test]
fn every_link_of_a_paper_leads_somewhere() {
    for paper in papers() {
        let text = text(&paper);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
                continue;
            }
            let to = paper.parent().unwrap().join(file);
            assert!(to.exists(), "{}: {link} leads nowhere", paper.display());
        }
    }
}

#[test]
fn the_table_of_settings_is_the_programs() {
    let paper = read("docs/configuration.md");
    let table: Vec<&str> = paper
        .lines()
        .skip_while(|line| !line.starts_with("| Key | Default | Meaning |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let expected: Vec<String> = KEYS
        .iter()
        .map(|key| {
            let default = match (key.required, key.default) {
                (true, _) => "required".to_owned(),
                (false, Some(default)) => format!("`{default}`"),
                (false, None) => "not set".to_owned(),
            };
            format!("| `{}` | {default} | {} |", key.name, key.about)
        })
        .collect();
    assert_eq!(table, expected);
}

#[test]
fn the_example_file_lists_every_setting() {
    let example = read("systemd/config.example.toml");
    let mut section = String::new();
    let mut listed = Vec::new();
    for line in example.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some((key, value)) = line.trim_start_matches("# ").split_once(" = ") {
            let name = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
            let known = KEYS.iter().find(|known| known.name == name);
            let known = known.unwrap_or_else(|| panic!("{name} is no key"));
            if let Some(default) = known.default {
                assert_eq!(value, default, "the example shows the default of {name}");
            }
            assert_eq!(line.starts_with('#'), !known.required, "{name}: only what is required is set");
            listed.push(name);
        }
    }
    let keys: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(listed, keys, "the example file");
    assert!(Config::load(Some(&root().join("systemd/config.example.toml"))).is_ok());
}

/// The table of `docs/actions.md`: each action with its command, operation, scope and cost.
#[test]
fn the_table_of_actions_is_the_programs() {
    use jobber_reviewd::testing::actions::{self, Shape};
    use jobber_reviewd::testing::{Document, scope_label};

    let mut expected: Vec<String> = actions::all()
        .map(|action| {
            let documents: Vec<Document> =
                action.documents().map(|text| Document::parse(text, None).unwrap()).collect();
            let rows = serde_json::Map::from_iter([("first".to_owned(), 25.into())]);
            let costs: Vec<String> =
                documents.iter().map(|document| document.cost(&rows).to_string()).collect();
            let roots: Vec<String> =
                documents.iter().flat_map(Document::roots).map(|root| format!("`{root}`")).collect();
            let operation = match action.shape {
                Shape::Impossible(_) => "none".to_owned(),
                _ => roots.join(", "),
            };
            let target = action
                .target
                .map_or_else(String::new, |(kind, _)| format!(" {}", kind.as_str().to_uppercase()));
            let cost = if costs.is_empty() { "0".to_owned() } else { costs.join(", ") };
            format!(
                "| {} | `jobber {} {}{target}` | {operation} | {} | {cost} |",
                action.make.unwrap_or(""),
                action.noun,
                action.verb,
                scope_label(action.scope),
            )
        })
        .collect();
    expected.push("| Make an API Call | `jobber api QUERY` | any | what it names | shown |".to_owned());
    let path = "docs/actions.md";
    let paper = read(path);
    let head = "|---|---|---|---|---|\n";
    let (before, table) = paper.rsplit_once(head).unwrap();
    if std::env::var_os("JOBBER_REVIEWD_WRITE_PAPERS").is_some() {
        std::fs::write(root().join(path), format!("{before}{head}{}\n", expected.join("\n"))).unwrap();
        return;
    }
    assert_eq!(table.lines().collect::<Vec<_>>(), expected);
}
