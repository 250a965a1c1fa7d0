//! `searchTerm`: every word of it must be somewhere in the record, whatever its case.

use apollo_compiler::resolvers::FieldError;
use serde_json::{Map, Value};

use super::world::{Data, Kind, Row, reference};

pub(super) struct Search {
    words: Vec<String>,
    /// The digits of the whole term, if it has nothing else to be a phone number.
    digits: Option<String>,
    /// Where to look. Empty is everywhere.
    fields: Vec<String>,
}

impl Search {
    pub(super) fn of(arguments: &Map<String, Value>) -> Result<Option<Self>, FieldError> {
        let Some(term) = arguments.get("searchTerm").and_then(Value::as_str) else { return Ok(None) };
        let fields: Vec<String> = arguments
            .get("searchFields")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|field| field.as_str().map(str::to_owned))
            .collect();
        if let Some(other) =
            fields.iter().find(|field| !["NAMES", "EMAILS", "PHONES"].contains(&field.as_str()))
        {
            return Err(FieldError { message: format!("the sandbox does not model searching in {other}") });
        }
        let digits: String = term.chars().filter(char::is_ascii_digit).collect();
        let is_phone = digits.len() >= 7 && !term.chars().any(char::is_alphabetic);
        let words = term.to_lowercase().split_whitespace().map(str::to_owned).collect();
        Ok(Some(Self { words, digits: is_phone.then_some(digits), fields }))
    }

    pub(super) fn fits(&self, data: &Data, kind: Kind, row: &Row) -> bool {
        let is_in = |field: &str| self.fields.is_empty() || self.fields.iter().any(|wanted| wanted == field);
        let phones = list(row, "phones", "number").chain(list(row, "phones", "normalizedPhoneNumber"));
        if let Some(digits) = &self.digits
            && is_in("PHONES")
        {
            let own = |phone: String| phone.chars().filter(char::is_ascii_digit).collect::<String>();
            if phones.map(own).any(|own| own.ends_with(digits.as_str()) || digits.ends_with(&own)) {
                return true;
            }
        }
        let mut texts: Vec<String> = Vec::new();
        if is_in("NAMES") {
            for field in [
                "name",
                "firstName",
                "lastName",
                "companyName",
                "title",
                "subject",
                "jobNumber",
                "invoiceNumber",
                "quoteNumber",
            ] {
                texts.extend(row.get(field).map(text));
            }
            texts.extend(
                row.get("address")
                    .into_iter()
                    .flat_map(|address| [text(&address["street"]), text(&address["city"])]),
            );
            if kind != Kind::Client
                && let Some(client) =
                    reference(row, "_client").and_then(|number| data.get(Kind::Client, number))
            {
                texts.extend(client.get("name").map(text));
            }
        }
        if is_in("EMAILS") {
            texts.extend(list(row, "emails", "address"));
            texts.extend(row.get("email").map(|email| text(&email["raw"])));
        }
        let all = texts.join(" ").to_lowercase();
        !self.words.is_empty() && self.words.iter().all(|word| all.contains(word.as_str()))
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Object(fields) => fields.get("full").map(text).unwrap_or_default(),
        _ => String::new(),
    }
}

fn list<'r>(row: &'r Row, field: &str, of: &'r str) -> impl Iterator<Item = String> + 'r {
    let items = row.get(field).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(move |item| item.get(of)).map(text)
}
