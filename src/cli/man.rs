//! The man pages: one per verb, and one for the settings file.

use std::path::Path;

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::exit::{Status, Stop};
use crate::config::{DEFAULT_PATH, KEYS, Key};

pub(super) fn write(folder: &Path) -> Result<Status, Stop> {
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(super::command(), folder))
        .and_then(|()| std::fs::write(folder.join("jobber-reviewd.toml.5"), settings()));
    written.map_err(|error| Stop::usage(format!("{}: {error}", folder.display())))?;
    Ok(Status::Fine)
}

/// `jobber-reviewd.toml(5)`, from the table of keys.
fn settings() -> String {
    let mut page = Roff::new();
    page.control("TH", ["jobber-reviewd.toml", "5"]);
    page.control("SH", ["NAME"]);
    page.text([roman("jobber-reviewd.toml - settings of jobber-reviewd")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([
        roman("The daemon and every verb read "),
        italic(DEFAULT_PATH),
        roman(", or the file named with "),
        bold("--config"),
        roman(". It is TOML: a key such as "),
        bold("review.delay"),
        roman(" stands as "),
        bold("delay"),
        roman(" below "),
        bold("[review]"),
        roman(". Each key can also be set as an environment variable, such as "),
        bold("JOBBER_REVIEWD__REVIEW__DELAY"),
        roman("."),
    ]);
    page.control("SH", ["KEYS"]);
    for key in KEYS {
        page.control("TP", []);
        page.text([bold(key.name), roman(" "), default_of(key)]);
        page.text([roman(key.about.replace('`', ""))]);
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("jobber-reviewd"), roman("(1)")]);
    page.render()
}

fn default_of(key: &Key) -> Inline {
    match (key.required, key.default) {
        (true, _) => roman("(required)"),
        (false, Some(default)) => roman(format!("(default: {default})")),
        (false, None) => roman("(not set by default)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_paragraph() {
        let page = settings();
        for key in KEYS {
            assert!(page.contains(&key.name.replace('-', "\\-")), "{}", key.name);
        }
        assert_eq!(page.lines().filter(|line| *line == ".TP").count(), KEYS.len());
    }
}
