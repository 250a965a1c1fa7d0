//! Text that people wrote, made fit for a message. Pure.

/// Longest title of a work, in characters.
pub const TITLE: usize = 120;

/// Longest name of a person or company, in characters.
pub const NAME: usize = 80;

/// Longest message to a customer, in characters.
pub const SENTENCE: usize = 1_000;

/// Longest original text that is passed on, in characters.
pub const ORIGINAL: usize = 2_000;

/// One line of at most `longest` characters: white space of any kind becomes single blanks, control characters and
/// invisible marks that change the direction of writing go. A longer text ends with `…`.
pub fn tidy(text: &str, longest: usize) -> String {
    let mut line = String::new();
    let mut count = 0;
    let mut gap = false;
    for char in text.chars() {
        if char.is_whitespace() {
            gap = !line.is_empty();
            continue;
        }
        if char.is_control() || is_direction(char) {
            continue;
        }
        for next in gap.then_some(' ').into_iter().chain([char]) {
            if count == longest {
                line.pop();
                while line.ends_with(' ') {
                    line.pop();
                }
                line.push('…');
                return line;
            }
            line.push(next);
            count += 1;
        }
        gap = false;
    }
    line
}

/// At most `longest` characters, else unchanged.
pub fn capped(text: &str, longest: usize) -> String {
    text.chars().take(longest).collect()
}

/// Marks that reverse what is written after them, and the byte order mark.
fn is_direction(char: char) -> bool {
    matches!(char, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

/// "A", "A and B", "A, B and C". Empty parts are left out; `None` if nothing is left.
pub fn join(parts: &[&str]) -> Option<String> {
    let parts: Vec<&str> = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [] => None,
        [only] => Some((*only).to_owned()),
        [before @ .., last] => Some(format!("{} and {last}", before.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_becomes_one_clean_line() {
        for (text, line) in [
            ("  Lawn \t care\r\n weekly ", "Lawn care weekly"),
            ("bell\u{7} esc\u{1b}[31m", "bell esc[31m"),
            ("abc\u{202E}fed\u{2066}", "abcfed"),
            ("Zoë 満足 👍🏽", "Zoë 満足 👍🏽"),
            ("\u{200B} \n", "\u{200B}"),
            ("0123456789 12345", "0123456789 12345"),
            ("0123456789 123456", "0123456789 1234…"),
            ("012345678901234 67", "012345678901234…"),
        ] {
            assert_eq!(tidy(text, 16), line, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn it_is_always_one_short_line(text in ".{0,300}", longest in 1usize..50) {
            let line = tidy(&text, longest);
            prop_assert!(line.chars().count() <= longest);
            prop_assert!(!line.contains("  ") && line.trim() == line);
            prop_assert!(line.chars().all(|char| !char.is_control() && !is_direction(char)));
            prop_assert_eq!(tidy(&line, longest), line.clone());
        }
    }
}
