//! The scopes that the daemon needs. Jobber's developer centre shows labels instead of names (`api-behaviour.md` §2).

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The scopes of everything that the daemon reads, with their labels.
pub const NEEDED: [(&str, &str); 5] = [
    ("read_clients", "Clients: read"),
    ("read_jobs", "Jobs: read"),
    ("read_scheduled_items", "Scheduled Items: read"),
    ("read_invoices", "Invoices: read"),
    ("read_users", "Users: read"),
];

/// What to do when Jobber hides something from the app: names the scopes that `token` lacks, as far as it says.
pub fn remedy(token: &str) -> String {
    let labels = |labels: &[&str]| labels.join(", ");
    let all: Vec<&str> = NEEDED.iter().map(|(_, label)| *label).collect();
    match missing(token).as_deref() {
        Some([]) => "the app has every scope that is needed, so the Jobber user who connected may not see it: have an account admin connect".to_owned(),
        Some(some) => format!(
            "the app lacks the scope {}: add it in Jobber's developer centre, then send the contractor a new link",
            labels(some)
        ),
        None => format!("give the app the scopes {} in Jobber's developer centre", labels(&all)),
    }
}

/// The labels of needed scopes that a token lacks. `None` if it does not say which it has.
pub fn missing(token: &str) -> Option<Vec<&'static str>> {
    let granted = granted(token)?;
    Some(NEEDED.iter().filter(|(name, _)| !granted.contains(*name)).map(|(_, label)| *label).collect())
}

/// A scope as the developer centre shows it: `write_scheduled_items` is `Scheduled Items: write`.
pub fn label(scope: &str) -> String {
    let (level, area) = scope.split_once('_').unwrap_or(("", scope));
    let words = area.split('_').map(|word| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    });
    format!("{}: {level}", words.collect::<Vec<String>>().join(" "))
}

/// The `scope` of a JWT. The signature is not checked, because nothing depends on it.
pub fn granted(token: &str) -> Option<BTreeSet<String>> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    match claims.get("scope")? {
        Value::String(names) => Some(names.split_whitespace().map(str::to_owned).collect()),
        Value::Array(names) => Some(names.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn what_a_token_lacks_is_named_by_its_label() {
        let all = "read_clients read_jobs read_scheduled_items read_invoices read_users write_clients";
        assert_eq!(missing(&token(&format!(r#"{{"scope":"{all}"}}"#))), Some(vec![]));
        let some = token(r#"{"scope":["read_clients","read_jobs","read_invoices"]}"#);
        assert_eq!(missing(&some), Some(vec!["Scheduled Items: read", "Users: read"]));
        assert!(remedy(&some).starts_with("the app lacks the scope Scheduled Items: read, Users: read"));
        for (name, shown) in NEEDED {
            assert_eq!(label(name), shown);
        }
        assert_eq!(label("write_scheduled_items"), "Scheduled Items: write");
        for silent in ["", "opaque", "a.b.c", &token("{}"), &token(r#"{"scope":7}"#)] {
            assert_eq!(missing(silent), None, "{silent}");
            assert!(remedy(silent).contains("Clients: read, Jobs: read"));
        }
    }
}
