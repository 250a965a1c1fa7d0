//! How text looks on a terminal.

use std::io::IsTerminal as _;

use crate::text_table::width;

/// Lines are not made longer than this, however wide the terminal is.
const LONGEST_LINE: usize = 110;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Good,
    Bad,
    Strong,
}

/// Whether colours are shown: on a terminal, unless `NO_COLOR` is set.
pub(super) fn is_coloured() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb
}

/// The text in a style. What is in it must be fit for a terminal already.
pub(super) fn styled(style: Style, text: &str) -> String {
    let code = match style {
        Style::Good => "32",
        Style::Bad => "31",
        Style::Strong => "1",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// A paragraph whose lines fit the terminal, each behind so many blanks.
pub(super) fn wrapped(text: &str, indent: usize) -> String {
    let text = crate::text_table::visible(text);
    let blanks = " ".repeat(indent);
    let Some(width) = width() else { return format!("{blanks}{text}") };
    let options = textwrap::Options::new(usize::from(width).min(LONGEST_LINE))
        .initial_indent(&blanks)
        .subsequent_indent(&blanks)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .break_words(false);
    textwrap::fill(&text, options)
}
