//! What can be done in Jobber by hand, by the HTTP API and by rules: the table of actions, as data. Pure.
//!
//! An action is a noun, a verb and a document in `graphql/actions/`. What may stand in its input is not repeated here:
//! the schema says it. A flag is a short name for a path in that input.

mod table;

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use table::all;

/// The kinds of records that actions are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Client,
    Expense,
    Invoice,
    Job,
    Note,
    Property,
    Quote,
    Request,
    Task,
    User,
    Visit,
}

impl Kind {
    /// As the command line calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Expense => "expense",
            Self::Invoice => "invoice",
            Self::Job => "job",
            Self::Note => "note",
            Self::Property => "property",
            Self::Quote => "quote",
            Self::Request => "request",
            Self::Task => "task",
            Self::User => "user",
            Self::Visit => "visit",
        }
    }

    /// The type's name in Jobber's ids. Notes have several.
    pub fn in_ids(self) -> Option<&'static str> {
        Some(match self {
            Self::Client => "Client",
            Self::Expense => "Expense",
            Self::Invoice => "Invoice",
            Self::Job => "Job",
            Self::Note => return None,
            Self::Property => "Property",
            Self::Quote => "Quote",
            Self::Request => "Request",
            Self::Task => "Task",
            Self::User => "User",
            Self::Visit => "Visit",
        })
    }

    /// The folders of Jobber's pages about such records.
    pub fn in_addresses(self) -> &'static [&'static str] {
        match self {
            Self::Client => &["clients"],
            Self::Expense => &["expenses"],
            Self::Invoice => &["invoices"],
            Self::Job => &["jobs", "work_orders"],
            Self::Note => &["notes"],
            Self::Property => &["properties"],
            Self::Quote => &["quotes"],
            Self::Request => &["requests"],
            Self::Task => &["tasks", "to_dos"],
            Self::User => &["users"],
            Self::Visit => &["visits"],
        }
    }
}

/// What an action does to Jobber's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Reads,
    Writes,
    /// It needs a yes: it cannot be undone, or takes something away from where people look for it.
    Dangerous,
}

/// How the words of a flag become a part of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// One value, as the schema types it.
    Value,
    /// Yes if the flag stands alone.
    Switch,
    /// One more item of a list each time.
    Items,
    /// A line item: `Name;quantity;unit price`.
    Line,
    /// A phone number; the first is the primary one.
    Phone,
    /// An e-mail address; the first is the primary one.
    Email,
    /// A record, by anything that names one.
    Record(Kind),
    /// Records, one each time.
    Records(Kind),
    /// An empty list.
    Nobody,
    /// Words for the values of an enum.
    Choice(&'static [(&'static str, &'static str)]),
    /// A local date, sent as a date.
    Date,
    /// A local date or time, sent as an instant.
    Instant,
    /// A local time at which something begins. `for` and `until` say when it ends; `end` is where that goes.
    Start { end: &'static str, form: Form },
    /// With `at`: how long.
    Length,
    /// With `at`: until when.
    End,
}

/// How Jobber wants times of a kind of record (`api-behaviour.md` and `actions.md`, time types).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An instant.
    Instant,
    /// A local date, a time and a time zone.
    Local,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    pub name: &'static str,
    /// Where its value goes in the input.
    pub path: &'static str,
    pub takes: Takes,
    pub about: &'static str,
}

/// How a search is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sorting {
    /// Whether Jobber takes a list of keys.
    pub is_list: bool,
    pub key: &'static str,
    pub direction: &'static str,
}

/// What stands in an action besides its flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A list, perhaps of what matches a text.
    List {
        takes_text: bool,
        sort: Option<Sorting>,
        /// Headings and where their values are in a row.
        columns: &'static [(&'static str, &'static str)],
    },
    /// One record is read.
    Show,
    /// One request with an input.
    Once,
    /// Several requests, one for each part of the input that is given.
    InParts(&'static [Part]),
    /// Jobber has no operation for it. Says so, and what can be done instead.
    Impossible(&'static str),
}

/// One request of an action that takes several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub name: &'static str,
    pub document: &'static str,
    /// The variable that takes the input.
    pub variable: Option<&'static str>,
    /// The flags that belong to it.
    pub flags: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    pub noun: &'static str,
    pub verb: &'static str,
    pub about: &'static str,
    /// What Make's module calls it, if it has it.
    pub make: Option<&'static str>,
    pub shape: Shape,
    pub document: &'static str,
    /// The record it is about or that its new record belongs to, and the path in the variables for its id. Without a path
    /// it only finds the property.
    pub target: Option<(Kind, &'static str)>,
    /// The variable with the input. Without one, flags fill the variables.
    pub variable: Option<&'static str>,
    pub flags: &'static [Flag],
    /// At least one of these must be in the input.
    pub needs: &'static [&'static str],
    /// An address in the input that is sent whole: what Jobber does with the parts that are left out is not known.
    pub whole: Option<&'static str>,
    /// Where the client's property goes if none is named: the only one, or the caller chooses.
    pub property: Option<&'static str>,
    /// Values of fields that must not be left out, where they are.
    pub defaults: &'static [(&'static str, &'static str)],
    pub effect: Effect,
    /// The scope that Jobber asks for, by its name in tokens.
    pub scope: &'static str,
}

impl Action {
    /// `jobs.close`: its name in permissions, records and alerts.
    pub fn name(&self) -> String {
        format!("{}.{}", self.noun, self.verb)
    }

    pub fn writes(&self) -> bool {
        self.effect != Effect::Reads
    }

    pub fn flag(&self, name: &str) -> Option<&'static Flag> {
        self.flags.iter().find(|flag| flag.name == name)
    }

    /// All documents of the action.
    pub fn documents(&self) -> impl Iterator<Item = &'static str> {
        let parts = match self.shape {
            Shape::InParts(parts) => parts,
            _ => &[],
        };
        let own = Some(self.document).filter(|document| parts.is_empty() && !document.is_empty());
        own.into_iter().chain(parts.iter().map(|part| part.document))
    }
}

/// The action of a noun and a verb.
pub fn find(noun: &str, verb: &str) -> Option<&'static Action> {
    all().find(|action| action.noun == noun && action.verb == verb)
}

/// The permission for mutations through the raw API call.
pub const API: &str = "api";

/// The permission to tell about reviews.
pub const REVIEW: &str = "asks.review";

/// Which actions may be done: `clients.note`, `jobs.*`, or `api` for the raw call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Permission(String);

impl Permission {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it allows `name`: an action, or something else that has a permission of its own.
    pub fn allows(&self, name: &str) -> bool {
        match self.0.strip_suffix(".*") {
            Some(noun) => name.strip_prefix(noun).is_some_and(|rest| rest.starts_with('.')),
            None => self.0 == name,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not an action{nearest}; `jobber-reviewd jobber --help` lists them")]
pub struct UnknownPermission {
    name: String,
    nearest: String,
}

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, UnknownPermission> {
        let is_known = [API, REVIEW].contains(&text)
            || all().any(|action| text.strip_suffix(".*") == Some(action.noun) || text == action.name());
        if is_known {
            return Ok(Self(text.to_owned()));
        }
        let names = all().map(Action::name).chain([API, REVIEW].map(str::to_owned));
        let nearest =
            nearest(text, names).map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        Err(UnknownPermission { name: text.to_owned(), nearest })
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

/// The name that is most like `text`, if one is.
pub fn nearest(text: &str, names: impl IntoIterator<Item = String>) -> Option<String> {
    let alike = |name: &String| strsim::jaro_winkler(&text.to_lowercase(), &name.to_lowercase());
    let best = names.into_iter().map(|name| (alike(&name), name)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.8).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_name_actions() {
        let allows = |permission: &str, name: &str| permission.parse::<Permission>().unwrap().allows(name);
        assert!(allows("jobs.*", "jobs.add-line") && allows("jobs.close", "jobs.close"));
        assert!(!allows("jobs.*", "visits.create") && !allows("jobs.close", "jobs.create"));
        assert!(allows("api", "api") && !allows("api", "jobs.close"));
        let error = "client.note".parse::<Permission>().unwrap_err().to_string();
        assert_eq!(
            error,
            "`client.note` is not an action; did you mean `clients.note`?; `jobber-reviewd jobber --help` lists them"
        );
        assert!("*".parse::<Permission>().is_err() && "jobs".parse::<Permission>().is_err());
    }

    #[test]
    fn names_and_flags_are_not_given_twice() {
        let mut names: Vec<_> = all().map(Action::name).collect();
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        for action in super::all() {
            let mut flags: Vec<_> = action.flags.iter().map(|flag| flag.name).collect();
            flags.sort_unstable();
            let all = flags.len();
            flags.dedup();
            assert_eq!(flags.len(), all, "{}", action.name());
        }
    }

    #[test]
    fn everything_that_make_has_is_here() {
        let make: Vec<_> = all().filter_map(|action| action.make).collect();
        // And the raw call.
        assert_eq!(make.len() + 1, 43);
    }
}
