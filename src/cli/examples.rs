//! Examples for `--help`: one for every verb.

use clap::Command;

/// What stands below the help of each verb.
const EXAMPLES: [(&str, &[&str]); 47] = [
    (
        "link create",
        &[
            "link create 'Ace Plumbing'",
            "link create --from contractors.csv",
            "link create 'Ace Plumbing' --account 'Ace Plumbing' --expires 12h",
        ],
    ),
    ("link list", &["link list"]),
    ("link prune", &["link prune"]),
    ("link revoke", &["link revoke lnk_4f1c09a2be"]),
    ("account list", &["account list"]),
    ("account show", &["account show 'Ace Plumbing'"]),
    (
        "account set",
        &[
            "account set 'Ace Plumbing' delay=4h min_total=100",
            "account set --all cooldown=90d",
            "account set 'Ace Plumbing' --unset delay",
        ],
    ),
    ("account pause", &["account pause 'Ace Plumbing'"]),
    ("account resume", &["account resume 'Ace Plumbing'"]),
    ("account disconnect", &["account disconnect 'Ace Plumbing'", "account disconnect 'Ace Plumbing' --yes"]),
    ("account remove", &["account remove 'Ace Plumbing' --yes"]),
    ("export", &["export /root/jobber-reviewd.export", "export -"]),
    ("restore", &["restore /root/jobber-reviewd.export"]),
    ("console", &["console"]),
    ("status", &["status", "status --watch", "status --state needs_authorization"]),
    ("alerts test", &["alerts test"]),
    ("doctor", &["doctor"]),
    ("events enable", &["events enable", "events enable --account 'Ace Plumbing'"]),
    ("events disable", &["events disable"]),
    ("events status", &["events status"]),
    ("probe", &["probe --account 'Ace Plumbing'", "probe --account 'Ace Plumbing' --yes"]),
    ("test-event", &["test-event", "test-event --account 'Ace Plumbing'"]),
    ("replay", &["replay --since 24h", "replay --since 7d --account 'Ace Plumbing' --yes"]),
    ("explain", &["explain 'John Smith'", "explain '#112'", "explain 555-123-4567 --render"]),
    ("shadow report", &["shadow report sent.csv --account 'Ace Plumbing'"]),
    ("audit", &["audit --since 30d", "audit --account 'Ace Plumbing' --actions"]),
    ("key create", &["key create crm --account 'Ace Plumbing' --may clients.note,asks.review"]),
    ("key list", &["key list"]),
    ("key revoke", &["key revoke crm"]),
    ("forget", &["forget '+1 555 123 4567'", "forget john@example.com --account 'Ace Plumbing' --yes"]),
    ("export-person", &["export-person john@example.com"]),
    ("suppress add", &["suppress add '+1 555 123 4567' --note 'asked us to stop'"]),
    ("suppress list", &["suppress list"]),
    ("suppress remove", &["suppress remove john@example.com"]),
    (
        "import",
        &[
            "import asked.csv --account 'Ace Plumbing'",
            "import asked.csv --columns phone=Mobile,asked_at=Sent --yes",
        ],
    ),
    ("queue list", &["queue list", "queue list --state dead --account 'Ace Plumbing'"]),
    ("queue release", &["queue release '#112'"]),
    ("queue release-burst", &["queue release-burst --account 'Ace Plumbing'"]),
    ("queue drop-burst", &["queue drop-burst --account 'Ace Plumbing'"]),
    ("queue show", &["queue show '#112'"]),
    ("queue retry", &["queue retry 'John Smith'"]),
    ("queue drop", &["queue drop '#112'"]),
    ("config show", &["config show --json"]),
    ("config check", &["config check --config new.toml"]),
    ("config schema", &["config schema"]),
    (
        "init",
        &[
            "init",
            "init --client-id 0f1e… --client-secret-file secret --public-url https://reviews.example.com --webhook-url https://platform.example.com/hook --start",
        ],
    ),
    ("secret new", &["secret new webhook-secret", "secret new store-key --file /root/store_key"]),
];

fn examples(verb: &str) -> Option<&'static [&'static str]> {
    EXAMPLES.iter().find(|(known, _)| *known == verb).map(|(_, examples)| *examples)
}

/// The same command line with examples in its help.
pub(super) fn with_examples(command: Command) -> Command {
    add(command, "")
}

fn add(command: Command, above: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| {
        let path = format!("{above} {name}").trim_start().to_owned();
        command.mut_subcommand(&name, |verb| {
            let verb = add(verb, &path);
            match examples(&path) {
                Some(examples) => {
                    let lines: Vec<String> =
                        examples.iter().map(|line| format!("  jobber-reviewd {line}")).collect();
                    verb.after_help(format!("Examples:\n{}", lines.join("\n")))
                }
                None => verb,
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a line, of which some are in single quotes.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
        for char in line.chars() {
            match char {
                '\'' => is_quoted = !is_quoted,
                ' ' if !is_quoted => words.push(std::mem::take(&mut word)),
                char => word.push(char),
            }
        }
        words.push(word);
        words
    }

    fn verbs(command: &Command, above: &str) -> Vec<String> {
        let below = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        below
            .flat_map(|verb| {
                let path = format!("{above} {}", verb.get_name()).trim_start().to_owned();
                if verb.has_subcommands() { verbs(verb, &path) } else { vec![path] }
            })
            .collect()
    }

    #[test]
    fn every_example_is_understood_and_every_verb_has_one() {
        let command = crate::cli::command();
        for (verb, examples) in EXAMPLES {
            for example in examples {
                assert!(example.starts_with(verb), "{example}");
                let line = [vec!["jobber-reviewd".to_owned()], words(example)].concat();
                let parsed = command.clone().try_get_matches_from(line);
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
            }
        }
        // Actions in Jobber say their own; the others only make files.
        let others = ["completions", "man", "sandbox", "demo"];
        for verb in verbs(&command, "") {
            let is_other = verb.starts_with("jobber ") || others.contains(&verb.as_str());
            assert!(is_other || examples(&verb).is_some(), "{verb} has no example");
            if verb.starts_with("jobber ") && verb != "jobber api" {
                let found = verb
                    .split(' ')
                    .fold(command.clone(), |command, name| command.find_subcommand(name).unwrap().clone());
                // What Jobber cannot do has none.
                let Some(help) = found.get_after_help() else { continue };
                let help = help.to_string();
                let (_, line) = help.rsplit_once('\n').unwrap();
                let parsed = command.clone().try_get_matches_from(words(line.trim()));
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            }
        }
    }
}
