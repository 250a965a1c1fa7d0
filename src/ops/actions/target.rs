//! Which record somebody means: an id, a number, an address of Jobber's pages, or the name, phone or e-mail of a client.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::tz::TimeZone;
use reqwest::Url;
use serde_json::{Map, Value, json};

use super::{Desk, OpError, failed};
use crate::domain::actions::{self, Kind};
use crate::jobber::operations::{Query, Request};
use crate::jobber::schema::Document;

/// Rows of a page of a search for one record, and pages that are read at most.
const ROWS: i64 = 25;
const PAGES: usize = 4;

/// Records that are listed when several fit.
const LISTED: usize = 10;

const ID: &str = "gid://Jobber/";

/// A record that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: String,
    /// What people call it.
    pub(super) name: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Named {
    Id(String),
    Number(String),
    Text(String),
}

/// What `text` is, as far as it says without asking Jobber.
fn named(kind: Kind, text: &str) -> Result<Named, OpError> {
    let text = text.trim();
    let bytes = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some(of) =
        bytes.as_deref().and_then(|gid| gid.strip_prefix(ID)).and_then(|gid| gid.split('/').next())
    {
        return match kind.in_ids() {
            Some(wanted) if wanted != of => {
                Err(OpError::Refused(format!("`{text}` is the id of a {of}, not of a {}", kind.as_str())))
            }
            _ => Ok(Named::Id(text.to_owned())),
        };
    }
    if let Ok(url) = Url::parse(text)
        && url.host().is_some()
    {
        return address(kind, &url);
    }
    let number = text.trim_start_matches('#');
    if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) && kind != Kind::Client {
        return match kind {
            Kind::Job | Kind::Invoice | Kind::Quote => Ok(Named::Number(number.to_owned())),
            _ => Err(OpError::Refused(format!(
                "a {} has no number: name it by its id or its address in Jobber",
                kind.as_str()
            ))),
        };
    }
    match kind {
        Kind::Client | Kind::User => Ok(Named::Text(text.to_owned())),
        Kind::Job | Kind::Invoice | Kind::Quote => Err(OpError::Refused(format!(
            "`{text}` is not a {}: name it by its number, its id or its address in Jobber",
            kind.as_str()
        ))),
        _ => Err(OpError::Refused(format!(
            "`{text}` is not a {}: name it by its id or its address in Jobber",
            kind.as_str()
        ))),
    }
}

fn address(kind: Kind, url: &Url) -> Result<Named, OpError> {
    let steps: Vec<&str> = url.path_segments().into_iter().flatten().collect();
    let number = |folders: &[&str]| {
        let place = steps.iter().position(|step| folders.contains(step))?;
        steps
            .get(place + 1)
            .filter(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match (number(kind.in_addresses()), kind.in_ids()) {
        (Some(number), Some(of)) => Ok(Named::Id(STANDARD.encode(format!("{ID}{of}/{number}")))),
        _ => Err(OpError::Refused(format!("`{url}` is not the address of a {}", kind.as_str()))),
    }
}

impl Desk<'_> {
    /// The record that `text` names. None: not found. Several: refused with the list.
    pub(super) async fn find(&self, kind: Kind, text: &str) -> Result<Found, OpError> {
        let named = named(kind, text)?;
        if let Named::Id(id) = named {
            return Ok(Found { name: text.to_owned(), id });
        }
        if self.call.only_print {
            return Err(OpError::Refused(format!(
                "`{text}` must be looked up, and --print-query sends nothing: name the {} by its id or its address",
                kind.as_str()
            )));
        }
        let fits: Vec<Found> = match &named {
            Named::Number(number) => self.search(kind, number, &|row| has_number(row, number)).await?,
            Named::Text(text) if kind == Kind::Client => self.clients(text).await?,
            Named::Text(text) | Named::Id(text) => self.search(kind, text, &|row| is_user(row, text)).await?,
        };
        match fits.as_slice() {
            [] => Err(OpError::NotFound(format!(
                "there is no {} `{text}` in {}",
                kind.as_str(),
                self.account.name
            ))),
            [only] => Ok(only.clone()),
            // Whom it might mean is not for someone who may not search.
            several if !self.caller.may(&format!("{}s.search", kind.as_str())) => {
                Err(OpError::Refused(format!("{} {}s fit `{text}`: use an id", several.len(), kind.as_str())))
            }
            several => {
                let listed =
                    several.iter().take(LISTED).map(|found| format!("\n  {}  {}", found.id, found.name));
                Err(OpError::Refused(format!(
                    "{} {}s fit `{text}`: use the id of one{}",
                    several.len(),
                    kind.as_str(),
                    listed.collect::<String>()
                )))
            }
        }
    }

    /// A client by name, phone or e-mail. Whoever has exactly that comes before whoever has the words among others.
    async fn clients(&self, text: &str) -> Result<Vec<Found>, OpError> {
        let exact = self.search(Kind::Client, text, &|row| is_client(row, text)).await?;
        if !exact.is_empty() {
            return Ok(exact);
        }
        let words: Vec<String> = text.to_lowercase().split_whitespace().map(str::to_owned).collect();
        let has_words = |row: &Value| {
            let name = row["name"].as_str().unwrap_or_default().to_lowercase();
            words.iter().all(|word| name.split_whitespace().any(|part| part == word))
        };
        self.search(Kind::Client, text, &has_words).await
    }

    async fn search(
        &self,
        kind: Kind,
        text: &str,
        fits: &(dyn Fn(&Value) -> bool + Sync),
    ) -> Result<Vec<Found>, OpError> {
        let noun = noun_of(kind);
        let Some(action) = actions::find(noun, "search") else { return Ok(Vec::new()) };
        let document = Document::parse(action.document, None).map_err(failed)?;
        let (mut found, mut after): (Vec<Found>, Option<String>) = (Vec::new(), None);
        for _ in 0..PAGES {
            let mut variables =
                Map::from_iter([("searchTerm".to_owned(), json!(text)), ("first".to_owned(), json!(ROWS))]);
            if let Some(cursor) = &after {
                variables.insert("after".to_owned(), json!(cursor));
            }
            let data = self.query(Request { document: document.clone(), variables, kind: noun }).await?;
            let page = &data[noun];
            for row in page["nodes"].as_array().into_iter().flatten().filter(|row| fits(row)) {
                let found_now =
                    Found { id: row["id"].as_str().unwrap_or_default().to_owned(), name: name_of(row) };
                if !found.contains(&found_now) {
                    found.push(found_now);
                }
            }
            after = page["pageInfo"]["endCursor"].as_str().map(str::to_owned);
            if page["pageInfo"]["hasNextPage"] != true || after.is_none() {
                break;
            }
        }
        Ok(found)
    }

    /// Whether a property belongs to a client. What Jobber does with another one's is not known.
    pub(super) async fn check_property(&self, client: &str, property: &str) -> Result<(), OpError> {
        let Some(show) = actions::find("properties", "show") else { return Ok(()) };
        let document = Document::parse(show.document, None).map_err(failed)?;
        let variables = Map::from_iter([("id".to_owned(), json!(property))]);
        let data = self.query(Request { document, variables, kind: "property" }).await?;
        let property_of = &data["property"]["client"];
        if data["property"].is_null() {
            return Err(OpError::NotFound(format!(
                "there is no property `{property}` in {}",
                self.account.name
            )));
        }
        if property_of["id"].as_str().is_some_and(|id| id != client) {
            let of = property_of["name"].as_str().unwrap_or("another client");
            return Err(OpError::Refused(format!("that property belongs to {of}, not to this client")));
        }
        Ok(())
    }

    /// The property for something new of a client: the only one.
    pub(super) async fn only_property(&self, client: &Found) -> Result<String, OpError> {
        let text = include_str!("../../../graphql/actions/find_properties.graphql");
        let document = Document::parse(text, None).map_err(failed)?;
        let variables = Map::from_iter([("id".to_owned(), json!(client.id))]);
        let data = self.query(Request { document, variables, kind: "find properties" }).await?;
        let name = &client.name;
        if data["client"].is_null() {
            return Err(OpError::NotFound(format!("there is no client `{name}` in {}", self.account.name)));
        }
        let nodes = data["client"]["clientProperties"]["nodes"].as_array().cloned().unwrap_or_default();
        match nodes.as_slice() {
            [] => Err(OpError::Refused(format!(
                "{name} has no property: add one with `jobber properties create`"
            ))),
            [only] => Ok(only["id"].as_str().unwrap_or_default().to_owned()),
            several if !self.caller.may("properties.search") => Err(OpError::Refused(format!(
                "{name} has {} properties: choose one by its id",
                several.len()
            ))),
            several => {
                let listed = several.iter().take(LISTED).map(|property| {
                    let address = &property["address"];
                    let words = |name: &str| address[name].as_str().unwrap_or_default().to_owned();
                    format!(
                        "\n  {}  {}, {}",
                        property["id"].as_str().unwrap_or_default(),
                        words("street"),
                        words("city")
                    )
                });
                Err(OpError::Refused(format!(
                    "{name} has {} properties: choose one with --property{}",
                    several.len(),
                    listed.collect::<String>()
                )))
            }
        }
    }

    pub(super) async fn query(&self, request: Request) -> Result<Value, OpError> {
        let answer = self.context.session.run(&self.account.id, &Query(request)).await;
        let answer = answer.map_err(super::from_session)?;
        match answer.hidden {
            Some(hidden) => Err(OpError::NeedsHuman(format!("Jobber hides data from this app: {hidden}"))),
            None => Ok(answer.data),
        }
    }

    pub(super) fn zone(&self) -> TimeZone {
        self.context.settings.zone_of(&self.account)
    }
}

/// The noun under which records are searched.
fn noun_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Invoice => "invoices",
        Kind::Quote => "quotes",
        Kind::User => "users",
        Kind::Client => "clients",
        _ => "jobs",
    }
}

fn has_number(row: &Value, number: &str) -> bool {
    ["jobNumber", "invoiceNumber", "quoteNumber"].iter().any(|field| match &row[*field] {
        Value::Number(own) => own.to_string() == number,
        Value::String(own) => own == number,
        _ => false,
    })
}

fn is_user(row: &Value, text: &str) -> bool {
    let is = |value: &Value| value.as_str().is_some_and(|own| own.eq_ignore_ascii_case(text));
    is(&row["name"]["full"]) || is(&row["email"]["raw"])
}

fn is_client(row: &Value, text: &str) -> bool {
    let is = |value: &Value| value.as_str().is_some_and(|own| own.to_lowercase() == text.to_lowercase());
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let wanted = digits(text);
    let is_phone = |phone: &Value| {
        let own = [&phone["number"], &phone["normalizedPhoneNumber"]];
        own.iter().filter_map(|number| number.as_str()).any(|number| {
            let own = digits(number);
            wanted.len() >= 7 && (own == wanted || own.ends_with(&wanted) && own.len() - wanted.len() <= 3)
        })
    };
    let items = |field: &str| row[field].as_array().cloned().unwrap_or_default();
    is(&row["name"])
        || is(&row["companyName"])
        || items("emails").iter().any(|email| is(&email["address"]))
        || items("phones").iter().any(is_phone)
}

/// What a row is called.
pub(super) fn name_of(row: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => format!("#{number}"),
        _ => String::new(),
    };
    let parts = ["jobNumber", "invoiceNumber", "quoteNumber", "name", "title", "subject"];
    let mut words: Vec<String> =
        parts.iter().map(|part| text(&row[*part])).filter(|text| !text.is_empty()).collect();
    words.push(text(&row["name"]["full"]));
    words.push(text(&row["client"]["name"]));
    words.push(text(&row["emails"][0]["address"]));
    words.retain(|word| !word.is_empty());
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(of: &str, number: u64) -> String {
        STANDARD.encode(format!("gid://Jobber/{of}/{number}"))
    }

    #[test]
    fn ids_numbers_and_addresses_are_told_apart() {
        let job = id("Job", 118_404_039);
        assert_eq!(named(Kind::Job, &job).unwrap(), Named::Id(job.clone()));
        for address in [
            "https://secure.getjobber.com/jobs/118404039",
            "https://secure.getjobber.com/work_orders/118404039/edit?x=1",
        ] {
            assert_eq!(named(Kind::Job, address).unwrap(), Named::Id(job.clone()), "{address}");
        }
        assert_eq!(named(Kind::Job, " #112 ").unwrap(), Named::Number("112".to_owned()));
        assert_eq!(named(Kind::Client, "5551234567").unwrap(), Named::Text("5551234567".to_owned()));
        assert_eq!(named(Kind::Note, &id("QuoteNote", 7)).unwrap(), Named::Id(id("QuoteNote", 7)));
        let refused = |kind, text: &str| named(kind, text).unwrap_err().to_string();
        assert!(refused(Kind::Job, &id("Quote", 7)).contains("is the id of a Quote, not of a job"));
        assert!(
            refused(Kind::Job, "https://secure.getjobber.com/quotes/7")
                .contains("is not the address of a job")
        );
        assert!(refused(Kind::Visit, "112").contains("a visit has no number"));
        assert!(refused(Kind::Job, "Drain Cleaning").contains("by its number, its id or its address"));
    }

    #[test]
    fn a_client_is_known_by_name_phone_or_mail() {
        let row = json!({
            "name": "John Smith", "companyName": "Smith LLC", "emails": [{"address": "John@Example.com"}],
            "phones": [{"number": "(555) 123-4567", "normalizedPhoneNumber": "+15551234567"}],
        });
        for text in
            ["john smith", "smith llc", "john@example.com", "555-123-4567", "+1 555 123 4567", "1234567"]
        {
            assert!(is_client(&row, text), "{text}");
        }
        for text in ["john", "smith", "4567", "5551234568", "jane smith"] {
            assert!(!is_client(&row, text), "{text}");
        }
    }
}
