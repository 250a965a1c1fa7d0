//! Why a customer was or was not asked.

use std::fmt::Write as _;

use super::{NO_WORK, Paper, actions};
use crate::cli::style::{Style, wrapped};
use crate::ops::explain::Explained;
use crate::ops::words::{PAYLOAD_HASH, outcome, relative, subject};

/// One paragraph for each work, the newest first.
pub(super) fn explain(explained: &[Explained], paper: &Paper) -> String {
    if explained.is_empty() {
        return NO_WORK.to_owned();
    }
    explained.iter().map(|row| paragraph(row, paper)).collect::<Vec<_>>().join("\n\n")
}

fn paragraph(row: &Explained, paper: &Paper) -> String {
    let Explained { account_name, finished_local, decision, leaves_at, .. } = row;
    let mut text = paper.styled(Style::Strong, &wrapped(&subject(&decision.subject), 0));
    let mut add = |label: &str, words: &str| {
        // The first line is behind the label, the others below it.
        let words = wrapped(words, 12);
        let _ok = write!(text, "\n  {label:<10}{}", words.trim_start());
    };
    add("account", account_name);
    add("work", &decision.work.to_string());
    add("finished", &format!("{finished_local} ({})", relative(decision.finished_at, paper.now)));
    add("trigger", &decision.trigger.to_string());
    add(
        "outcome",
        &match leaves_at {
            Some(at) => format!("waits, leaves {}", relative(*at, paper.now)),
            None => outcome(&decision.outcome, paper.now),
        },
    );
    // The hash is for those who compare it, in JSON and in the audit.
    let saw = decision.saw.iter().filter(|(name, _)| *name != PAYLOAD_HASH);
    let saw: Vec<String> = saw.map(|(name, value)| format!("{name} = {value}")).collect();
    if !saw.is_empty() {
        add("seen", &saw.join(", "));
    }
    if let Some(sentence) = &row.would_say {
        add("says", sentence);
    }
    for (label, words) in actions::what_followed(row, paper) {
        add(label, &words);
    }
    text
}
