//! Writes the sentence for the customer, and the body for a receiver that wants other field names. Pure.
//!
//! The built-in sentence reads well when parts are missing. The operator can replace it with a template. If
//! the template fails (it names a technician and there is none), the built-in sentence is sent, so that the
//! customer is still asked. A template sees only the ask: no files, no clock, and a limited number of steps.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::model::{Account, AskBody, ClientFacts, EncodedId, JobFacts, Person, Trigger};
use crate::text::{NAME, ORIGINAL, SENTENCE, TITLE, capped, join, tidy};

const FUEL: u64 = 20_000;

/// Template names. The extension selects how values are escaped.
const MESSAGE: &str = "message.txt";
const BODY: &str = "body.json";

/// Line items and people that are read of a work (`graphql/details.graphql`, `graphql/extras.graphql`).
const LINE_ITEMS: usize = 3;
const CREW: usize = 5;

/// More names than this are too long to read: the rest become "the team".
const NAMED_AT_MOST: usize = 3;

/// How a company is greeted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Greet {
    /// By the first name of the contact on its card, if there is one.
    Contact,
    /// By its name.
    Company,
}

/// Titles that people type into the field for the first name.
const HONORIFICS: &[&str] = &[
    "mr", "mrs", "ms", "miss", "mx", "dr", "prof", "sir", "madam", "mister", "sr", "sra", "srta", "mme",
    "mlle",
];

/// The first name by which a customer is greeted. Without one it is the whole name, with its title: "Mr. Deep".
pub fn first_name(client: &ClientFacts, greet: Greet) -> String {
    let name = tidy(&client.name, NAME);
    let first = tidy(&client.first_name, NAME);
    let is_title = |word: &str| HONORIFICS.contains(&word.trim_end_matches('.').to_lowercase().as_str());
    let first = first.split(' ').skip_while(|word| is_title(word)).collect::<Vec<_>>().join(" ");
    let is_known = !first.is_empty() && (!client.is_company || greet == Greet::Contact);
    if is_known { first } else { name }
}

/// What a work is called: its title, or its first line items. Titles are blank in most accounts
/// (`api-behaviour.md` §1, Jobs).
pub fn work_name(job: &JobFacts) -> Option<String> {
    let title = job.title.as_deref().map(|title| tidy(title, TITLE)).filter(|title| !title.is_empty());
    title.or_else(|| {
        let items: Vec<String> = job.line_items.iter().map(|item| tidy(item, TITLE)).collect();
        join(&items.iter().map(String::as_str).collect::<Vec<_>>()).map(|items| tidy(&items, TITLE))
    })
}

/// "Hi John! How was your Water Heater Installation with Mike?", or a shorter form when parts are missing.
pub fn compose(first_name: &str, work: Option<&str>, crew: &[Person]) -> String {
    let greeting = match first_name {
        "" => "Hi!".to_owned(),
        name => format!("Hi {name}!"),
    };
    let question = match (work, names(crew)) {
        (Some(title), Some(names)) => format!("How was your {title} with {names}?"),
        (Some(title), None) => format!("How was your {title}?"),
        (None, Some(names)) => format!("How was the work {names} did for you?"),
        (None, None) => "How was the work we did for you?".to_owned(),
    };
    format!("{greeting} {question}")
}

fn names(crew: &[Person]) -> Option<String> {
    team(&crew.iter().map(|person| tidy(&person.name, NAME)).collect::<Vec<_>>())
}

/// "Ana, Bo and Cy", or "Ana and the team".
fn team(names: &[String]) -> Option<String> {
    let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    match names.as_slice() {
        [first, ..] if names.len() > NAMED_AT_MOST => Some(format!("{first} and the team")),
        names => join(names),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct TemplateError {
    detail: String,
}

impl From<minijinja::Error> for TemplateError {
    fn from(error: minijinja::Error) -> Self {
        let place = error.line().map_or_else(String::new, |line| format!(" in line {line}"));
        let detail = error.detail().map_or_else(String::new, |detail| format!(": {detail}"));
        Self { detail: format!("{}{detail}{place}", error.kind()) }
    }
}

#[derive(Clone)]
struct Template(Arc<Environment<'static>>, &'static str);

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }
}

impl Template {
    fn parse(name: &'static str, source: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        // A missing value cannot be printed, but it can be tested.
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_auto_escape_callback(|name| match name {
            BODY => AutoEscape::Json,
            _ => AutoEscape::None,
        });
        environment.add_template_owned(name, source.to_owned())?;
        Ok(Self(Arc::new(environment), name))
    }

    fn render(&self, values: &Value) -> Result<String, TemplateError> {
        let Self(environment, name) = self;
        Ok(environment.get_template(name)?.render(values)?)
    }
}

/// A short text with values in it, for rules.
#[derive(Debug, Clone)]
pub struct Phrase(Template);

impl Phrase {
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        Template::parse(MESSAGE, source).map(Self)
    }

    /// The text with these values. What is null is not there.
    pub fn render(&self, facts: &Value) -> Result<String, TemplateError> {
        let mut facts = facts.clone();
        without_nulls(&mut facts);
        self.0.render(&facts)
    }
}

#[derive(Debug, Clone, Default)]
pub struct Texts {
    message: Option<Template>,
    body: Option<Template>,
}

impl Texts {
    /// Parses the operator's templates for the sentence and for the whole body. Both are tried on samples.
    pub fn new(message: Option<&str>, body: Option<&str>) -> Result<Self, TextsError> {
        let message = message.map(|source| Template::parse(MESSAGE, source)).transpose();
        let body = body.map(|source| Template::parse(BODY, source)).transpose();
        let texts =
            Self { message: message.map_err(TextsError::Message)?, body: body.map_err(TextsError::Body)? };
        let (full, bare) = (sample(true), sample(false));
        let (sparse, largest) = (sparse(full.clone()), largest(full.clone()));
        if let Some(message) = &texts.message {
            message.render(&values(largest.clone())).map_err(TextsError::Message)?;
            let text = message.render(&values(full.clone())).map_err(TextsError::Message)?;
            if text.trim().is_empty() {
                let detail = "its text is empty".to_owned();
                return Err(TextsError::Message(TemplateError { detail }));
            }
        }
        if let Some(body) = &texts.body {
            for ask in [full, sparse, bare, largest] {
                in_json(body, ask).map_err(TextsError::Body)?;
            }
        }
        Ok(texts)
    }

    /// The sentence for the customer. The message of `ask` is still empty.
    pub fn sentence(&self, ask: &AskBody, built_in: String) -> String {
        self.sentence_of(serde_json::to_value(ask).unwrap_or_default(), built_in)
    }

    fn sentence_of(&self, ask: Value, built_in: String) -> String {
        let Some(message) = &self.message else { return built_in };
        match message.render(&values(ask)) {
            Ok(text) if !text.trim().is_empty() => capped(text.trim(), SENTENCE),
            _ => built_in,
        }
    }

    /// Whether the operator's sentence still works without title, technician and first name.
    pub fn reads_when_parts_are_missing(&self) -> bool {
        let samples = [sample(false), sparse(sample(true))];
        self.message
            .as_ref()
            .is_none_or(|message| samples.into_iter().all(|ask| message.render(&values(ask)).is_ok()))
    }

    /// The body of a test ask about nobody, as this account would send it: with its trigger, its sentence and its body.
    pub fn sample(&self, account: Option<&Account>, now: Timestamp) -> Result<String, TemplateError> {
        let mut ask = sample(true);
        ask["type"] = "review.test".into();
        ask["test"] = true.into();
        ask["timestamp"] = now.to_string().into();
        // A number reserved for fiction.
        ask["client"] = json!({
            "id": "test", "name": "Test Customer", "first_name": "Test", "phone": "+15550100100", "email": "test@example.com",
        });
        if let Some(Account { id, name, .. }) = account {
            ask["account"] = json!({"id": id, "name": name});
        }
        let trigger = account.map(|account| account.trigger).unwrap_or_default();
        ask["trigger"] = json!(trigger);
        if trigger != Trigger::VisitCompleted
            && let Some(sections) = ask.as_object_mut()
        {
            sections.remove("visit");
        }
        let person = |name: &str| Person { id: EncodedId::new("test"), name: name.to_owned() };
        let built_in = compose("Test", Some("Water Heater Installation"), &["Mike", "Ana"].map(person));
        ask["message"] = self.sentence_of(ask.clone(), built_in).into();
        match &self.body {
            Some(body) => in_json(body, ask),
            None => Ok(ask.to_string()),
        }
    }

    pub fn freeze(&self, ask: &AskBody) -> Result<String, TemplateError> {
        // Plain data with text keys and finite numbers always encodes.
        match &self.body {
            Some(body) => in_json(body, serde_json::to_value(ask).unwrap_or_default()),
            None => Ok(serde_json::to_string(ask).unwrap_or_default()),
        }
    }
}

fn in_json(body: &Template, ask: Value) -> Result<String, TemplateError> {
    let text = body.render(&values(ask))?;
    match serde_json::from_str::<Value>(&text) {
        Ok(_) => Ok(text.trim().to_owned()),
        Err(error) => Err(TemplateError { detail: format!("its output is not JSON: {error}") }),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextsError {
    #[error(transparent)]
    Message(TemplateError),
    #[error(transparent)]
    Body(TemplateError),
}

/// What a template sees: the ask without its nulls, plus `team`, the names of the crew in words.
fn values(mut ask: Value) -> Value {
    without_nulls(&mut ask);
    for section in ["job", "visit", "property", "invoice"] {
        if ask.get(section).is_none() {
            ask[section] = json!({});
        }
    }
    let crew: Vec<_> = ask["assigned_users"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|person| person["name"].as_str().map(str::to_owned))
        .collect();
    if let Some(team) = team(&crew) {
        ask["team"] = team.into();
    }
    ask
}

fn without_nulls(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
        fields.values_mut().for_each(without_nulls);
    }
}

/// Keeps every section and removes everything that Jobber can leave out.
fn sparse(mut ask: Value) -> Value {
    for field in [
        "/job/title",
        "/job/name",
        "/job/completed_at",
        "/visit/title",
        "/visit/completed_at",
        "/invoice/total",
    ] {
        if let Some(value) = ask.pointer_mut(field) {
            *value = Value::Null;
        }
    }
    ask["client"]["name"] = "".into();
    ask["client"]["first_name"] = "".into();
    ask
}

/// The same with texts and lists as long as they can be.
fn largest(mut ask: Value) -> Value {
    let text = |longest: usize| Value::from("a ".repeat(longest / 2));
    for (field, longest) in [
        ("/account/name", NAME),
        ("/client/name", NAME),
        ("/client/first_name", NAME),
        ("/job/title", TITLE),
        ("/job/name", TITLE),
        ("/visit/title", TITLE),
        ("/property/address", ORIGINAL),
        ("/message", SENTENCE),
    ] {
        if let Some(value) = ask.pointer_mut(field) {
            *value = text(longest);
        }
    }
    ask["job"]["line_items"] = vec![text(TITLE); LINE_ITEMS].into();
    ask["assigned_users"] = vec![json!({"id": "Z2lk", "name": text(NAME)}); CREW].into();
    ask
}

fn sample(is_full: bool) -> Value {
    let mut ask = json!({
        "type": "review.requested", "timestamp": "2026-03-10T14:00:00Z", "trigger": "job_completed",
        "account": {"id": "Z2lk", "name": "Ace Plumbing"},
        "client": {"id": "Z2lk", "name": "Oak Street Dental", "first_name": "", "phone": null, "email": "a@example.com"},
        "assigned_users": [], "message": "How was the work we did for you?",
    });
    if is_full {
        ask["client"] = json!({
            "id": "Z2lk", "name": "John Smith", "first_name": "John",
            "phone": "+15551234567", "email": "john@example.com",
        });
        ask["job"] = json!({
            "id": "Z2lk", "number": 112, "title": "Water Heater Installation", "name": "Water Heater Installation", "line_items": ["Water heater"], "status": "completed",
            "jobber_status": "requires_invoicing", "completed_at": "2026-03-10T12:00:00Z", "url": "https://example.com/",
        });
        ask["visit"] = json!({"id": "Z2lk", "title": "Visit", "completed_at": "2026-03-10T12:00:00Z"});
        ask["property"] = json!({"address": "123 Main St, Springfield"});
        ask["assigned_users"] = json!([{"id": "Z2lk", "name": "Mike"}, {"id": "Z2ll", "name": "Ana"}]);
        ask["invoice"] = json!({"id": "Z2lk", "number": "77", "total": 2500.0, "status": "awaiting_payment"});
    }
    ask
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn greeted(name: &str, first_name: &str, is_company: bool, greet: Greet) -> String {
        let client = ClientFacts { is_company, ..client(name, first_name) };
        super::first_name(&client, greet)
    }

    #[test]
    fn people_are_greeted_by_first_name_and_never_by_a_title_alone() {
        for (name, first, greeted_as) in [
            ("John Smith", "John", "John"),
            (" John   Smith ", " John ", "John"),
            ("Mr. Deep", "Mr.", "Mr. Deep"),
            ("Mr. Deep", "", "Mr. Deep"),
            ("Dr. Ana Lee", "Dr. Ana", "Ana"),
            ("Mary Ann Moss", "Mary  Ann", "Mary Ann"),
            ("Bo\u{202E} Lee", "Bo\u{202E}\n", "Bo"),
            ("", "", ""),
        ] {
            assert_eq!(greeted(name, first, false, Greet::Contact), greeted_as, "{name} {first}");
        }
        assert_eq!(greeted("Oak Street Dental", "Ann", true, Greet::Contact), "Ann");
        assert_eq!(greeted("Oak Street Dental", "Mrs", true, Greet::Contact), "Oak Street Dental");
        assert_eq!(greeted("Oak Street Dental", "Ann", true, Greet::Company), "Oak Street Dental");
    }

    #[test]
    fn work_is_called_by_its_title_or_else_by_its_line_items() {
        let name = |title: Option<&str>, items: &[&str]| {
            work_name(&JobFacts {
                id: EncodedId::new("j1"),
                number: 1,
                title: title.map(str::to_owned),
                line_items: items.iter().map(|item| (*item).to_owned()).collect(),
                status: crate::domain::model::JobStatus::Archived,
                completed_at: None,
                url: String::new(),
                allow_review_request: true,
                total: 1.0,
            })
        };
        assert_eq!(name(Some("Lawn  care"), &["Mowing"]).as_deref(), Some("Lawn care"));
        assert_eq!(name(Some(" \n"), &["Mowing"]).as_deref(), Some("Mowing"));
        assert_eq!(
            name(None, &["Mowing", "", "Edging", "Blowing"]).as_deref(),
            Some("Mowing, Edging and Blowing")
        );
        assert_eq!(name(None, &[" "]), None);
        let long = name(Some(&"x".repeat(200_000)), &[]).unwrap();
        assert_eq!((long.chars().count(), long.chars().last()), (TITLE, Some('…')));
    }

    #[test]
    fn the_usual_sentence() {
        assert_eq!(
            compose("John", Some("Water Heater Installation"), &crew(&["Mike"])),
            "Hi John! How was your Water Heater Installation with Mike?"
        );
    }

    #[test]
    fn missing_parts_still_read_well() {
        assert_eq!(compose("John", None, &[]), "Hi John! How was the work we did for you?");
        assert_eq!(compose("John", None, &crew(&["Mike"])), "Hi John! How was the work Mike did for you?");
        assert_eq!(compose("John", Some("Lawn care"), &crew(&[""])), "Hi John! How was your Lawn care?");
        assert_eq!(compose("", Some("Lawn care"), &[]), "Hi! How was your Lawn care?");
    }

    #[test]
    fn several_people_are_joined_and_many_become_the_team() {
        let ask = |names| compose("Lee", Some("move"), &crew(names));
        assert_eq!(ask(&["Ana", "Bo"]), "Hi Lee! How was your move with Ana and Bo?");
        assert_eq!(ask(&["Ana", "Bo", "Cy"]), "Hi Lee! How was your move with Ana, Bo and Cy?");
        assert_eq!(ask(&["Ana", "Bo", "Cy", "Di"]), "Hi Lee! How was your move with Ana and the team?");
    }

    fn said(message: &str, is_full: bool) -> String {
        let texts = Texts::new(Some(message), None).unwrap();
        texts.sentence(&ask(is_full), "built in".into())
    }

    fn ask(is_full: bool) -> AskBody {
        serde_json::from_value(sample(is_full)).unwrap()
    }

    fn refused(message: Option<&str>, body: Option<&str>) -> String {
        Texts::new(message, body).unwrap_err().to_string()
    }

    #[test]
    fn a_template_says_it_in_the_operators_words() {
        let design =
            "Hi {{ client.first_name }}! How was your {{ job.title }} with {{ assigned_users[0].name }}?";
        assert_eq!(said(design, true), "Hi John! How was your Water Heater Installation with Mike?");
        assert_eq!(said(design, false), "built in", "there is no technician to name");
        let careful =
            "{% if team %}{{ team }} of {% endif %}{{ account.name }}: how was {{ job.title or 'it' }}?";
        assert_eq!(said(careful, true), "Mike and Ana of Ace Plumbing: how was Water Heater Installation?");
        assert_eq!(said(careful, false), "Ace Plumbing: how was it?");
        assert_eq!(
            said("¿Qué tal, {{ client.name }}? 満足ですか？", true),
            "¿Qué tal, John Smith? 満足ですか？"
        );
        assert!(!Texts::new(Some(design), None).unwrap().reads_when_parts_are_missing());
        assert!(Texts::new(Some(careful), None).unwrap().reads_when_parts_are_missing());
        assert!(Texts::default().reads_when_parts_are_missing());
    }

    #[test]
    fn a_template_that_cannot_work_is_refused_with_its_line() {
        for (message, words) in [
            ("Hi {{ client.first_name", "line 1"),
            ("Hi\n{{ client.frist_name }}", "line 2"),
            ("{{ nobody }}", "undefined"),
            ("  ", "its text is empty"),
            ("{% include '/etc/passwd' %}", "line 1"),
            (
                "{{ range(1000000) | length }}{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
                "",
            ),
        ] {
            let error = refused(Some(message), None);
            assert!(error.contains(words), "{message}: {error}");
            assert!(!error.contains("root:"));
        }
    }

    #[test]
    fn a_body_has_the_receivers_own_names_and_is_json_whatever_is_missing() {
        let body =
            r#"{"phone": {{ client.phone }}, "email": {{ client.email or none }}, "text": {{ message }}}"#;
        assert!(refused(None, Some(body)).contains("undefined"), "some have no phone");
        let body = r#"{"phone": {{ client.phone or none }}, "who": {{ client.name or none }}, "text": {{ message }}}"#;
        let texts = Texts::new(None, Some(body)).unwrap();
        let made = |ask: &AskBody| serde_json::from_str::<Value>(&texts.freeze(ask).unwrap()).unwrap();
        assert_eq!(made(&ask(true))["phone"], "+15551234567");
        assert_eq!(made(&ask(false))["phone"], Value::Null);
        let mut quoted = ask(true);
        quoted.client.name = "O\"Brien </script> \\".into();
        assert_eq!(made(&quoted)["who"], quoted.client.name);
        let untitled =
            r#"{"title": {% if job %}{{ job.title }}{% else %}null{% endif %}, "text": {{ message }}}"#;
        assert!(refused(None, Some(untitled)).contains("undefined"), "a job can lack a title");
        assert!(refused(None, Some("{\"a\": }")).contains("not JSON"));
        assert_eq!(Texts::default().freeze(&ask(true)).unwrap(), serde_json::to_string(&ask(true)).unwrap());
    }

    #[test]
    fn a_sample_is_what_the_account_would_send() {
        let now: Timestamp = "2026-03-10T14:00:00Z".parse().unwrap();
        let id = crate::domain::model::AccountId::new("acc");
        let of = |trigger| Account::new(id.clone(), "Ace".into(), "Ace".into(), trigger, now);
        let sample = |texts: &Texts, account: Option<&Account>| -> Value {
            serde_json::from_str(&texts.sample(account, now).unwrap()).unwrap()
        };
        let usual = sample(&Texts::default(), None);
        assert_eq!(usual["message"], "Hi Test! How was your Water Heater Installation with Mike and Ana?");
        assert_eq!((&usual["trigger"], usual.get("visit")), (&json!("job_completed"), None));
        let own = Texts::new(Some("Thanks from {{ account.name }}, {{ client.first_name }}."), None).unwrap();
        let visit = sample(&own, Some(&of(Trigger::VisitCompleted)));
        assert_eq!(visit["message"], "Thanks from Ace, Test.");
        assert_eq!((&visit["trigger"], visit["visit"].is_object()), (&json!("visit_completed"), true));
        // A sentence about what this trigger does not have gives way to the built-in one, as in a real ask.
        let own = Texts::new(Some("How was {{ visit.title }}?"), None).unwrap();
        let job = sample(&own, Some(&of(Trigger::JobCompleted)));
        assert_eq!(job["message"], usual["message"]);
    }
}
