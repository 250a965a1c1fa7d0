//! The sentence a customer reads. Pure.

use crate::model::{ClientFacts, Person};

/// More names than this read like a roll call: the rest become "the team".
const NAMED_AT_MOST: usize = 3;

/// What a customer is called: the first name, or the whole name of a company or of somebody without one.
pub fn first_name(client: &ClientFacts) -> &str {
    let first = client.first_name.trim();
    if client.is_company || first.is_empty() { client.name.trim() } else { first }
}

/// "Hi John! How was your Water Heater Installation with Mike?", and what reads well when parts are missing.
pub fn compose(client: &ClientFacts, title: Option<&str>, crew: &[Person]) -> String {
    let greeting = match first_name(client) {
        "" => "Hi!".to_owned(),
        name => format!("Hi {name}!"),
    };
    let title = title.map(str::trim).filter(|title| !title.is_empty());
    let question = match (title, names(crew)) {
        (Some(title), Some(names)) => format!("How was your {title} with {names}?"),
        (Some(title), None) => format!("How was your {title}?"),
        (None, Some(names)) => format!("How was the work {names} did for you?"),
        (None, None) => "How was the work we did for you?".to_owned(),
    };
    format!("{greeting} {question}")
}

fn names(crew: &[Person]) -> Option<String> {
    let names: Vec<&str> =
        crew.iter().map(|person| person.name.trim()).filter(|name| !name.is_empty()).collect();
    match names.as_slice() {
        [] => None,
        [only] => Some((*only).to_owned()),
        [first, ..] if names.len() > NAMED_AT_MOST => Some(format!("{first} and the team")),
        [before @ .., last] => Some(format!("{} and {last}", before.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EncodedId;

    fn client(name: &str, first_name: &str) -> ClientFacts {
        ClientFacts {
            id: EncodedId::new("c1"),
            name: name.into(),
            first_name: first_name.into(),
            is_company: false,
            is_archived: false,
            sample_data: false,
            receives_review_requests: true,
            is_lead: false,
            tags: vec![],
            phones: vec![],
            emails: vec![],
        }
    }

    fn crew(names: &[&str]) -> Vec<Person> {
        names.iter().map(|name| Person { id: EncodedId::new(*name), name: (*name).to_owned() }).collect()
    }

    #[test]
    fn the_usual_sentence() {
        assert_eq!(
            compose(&client("John Smith", "John"), Some("Water Heater Installation"), &crew(&["Mike"])),
            "Hi John! How was your Water Heater Installation with Mike?"
        );
    }

    #[test]
    fn missing_parts_still_read_well() {
        let john = client("John Smith", "John");
        assert_eq!(compose(&john, Some("  "), &[]), "Hi John! How was the work we did for you?");
        assert_eq!(compose(&john, None, &crew(&["Mike"])), "Hi John! How was the work Mike did for you?");
        assert_eq!(compose(&john, Some("Lawn care"), &crew(&[""])), "Hi John! How was your Lawn care?");
        assert_eq!(compose(&client("", ""), Some("Lawn care"), &[]), "Hi! How was your Lawn care?");
        let company = ClientFacts { is_company: true, ..client("Oak Street Dental", "Ann") };
        assert_eq!(compose(&company, Some("cleaning"), &[]), "Hi Oak Street Dental! How was your cleaning?");
    }

    #[test]
    fn several_people_are_joined_and_many_become_the_team() {
        let lee = client("Lee Park", "Lee");
        let ask = |names| compose(&lee, Some("move"), &crew(names));
        assert_eq!(ask(&["Ana", "Bo"]), "Hi Lee! How was your move with Ana and Bo?");
        assert_eq!(ask(&["Ana", "Bo", "Cy"]), "Hi Lee! How was your move with Ana, Bo and Cy?");
        assert_eq!(ask(&["Ana", "Bo", "Cy", "Di"]), "Hi Lee! How was your move with Ana and the team?");
    }
}
