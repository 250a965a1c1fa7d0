//! Mutations of clients and their properties.

use serde_json::{Map, Value, json};

use super::more::whole_address;
use super::{Desk, Done, Refusal, Target, edit_list, user};
use crate::time::instant;
use crate::world::{Kind, encode_id, object};

impl Desk<'_> {
    pub(super) fn client_create(&mut self) -> Done {
        let input = self.input();
        let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
        let flag = |name: &str, default: bool| input.get(name).and_then(Value::as_bool).unwrap_or(default);
        let (first, last, company) = (text("firstName"), text("lastName"), text("companyName"));
        let is_company = flag("isCompany", false);
        let name = if is_company { company.clone() } else { format!("{first} {last}").trim().to_owned() };
        if name.is_empty() {
            return user("Client name can't be blank", &["input", "firstName"]);
        }
        let number = self.number();
        let phones = self.phones(input.get("phones"));
        let emails = self.emails(input.get("emails"));
        let now = instant(self.now);
        let row = json!({
            "firstName": first, "lastName": last, "companyName": company, "isCompany": is_company, "name": name,
            "isArchived": false, "isLead": false, "isArchivable": true, "sampleData": false, "balance": 0.0,
            "billingAddressPresent": false,
            "title": input.get("title"),
            "billingAddress": input.get("billingAddress").cloned().map(object).map(|given| whole_address("", &given)),
            "receivesReviewRequests": flag("receivesReviewRequests", true),
            "receivesReminders": flag("receivesReminders", true),
            "receivesFollowUps": flag("receivesFollowUps", true),
            "receivesInvoiceFollowUps": flag("receivesInvoiceFollowUps", true),
            "receivesQuoteFollowUps": flag("receivesQuoteFollowUps", true),
            "phones": phones, "emails": emails, "_tags": [],
            "createdAt": now, "updatedAt": now,
            "jobberWebUri": format!("https://secure.example.com/clients/{number}"),
        });
        self.data.insert(Kind::Client, number, object(row));
        for property in input.get("properties").and_then(Value::as_array).into_iter().flatten() {
            self.property(number, property);
        }
        Ok(vec![("client", Target::One(Kind::Client, Some(number)))])
    }

    pub(super) fn phones(&mut self, given: Option<&Value>) -> Vec<Value> {
        let given: Vec<Value> = given.and_then(Value::as_array).cloned().unwrap_or_default();
        given
            .into_iter()
            .enumerate()
            .map(|(place, phone)| {
                let number = phone.get("number").and_then(Value::as_str).unwrap_or_default().to_owned();
                let digits: String = number.chars().filter(char::is_ascii_digit).collect();
                let normalised = match digits.len() {
                    10 => Some(format!("+1{digits}")),
                    11.. => Some(format!("+{digits}")),
                    _ => None,
                };
                json!({
                    "id": encode_id("ClientPhoneNumber", self.number()),
                    "number": number, "friendly": number, "normalizedPhoneNumber": normalised,
                    "description": "MAIN",
                    "primary": phone.get("primary").and_then(Value::as_bool).unwrap_or(place == 0),
                    "smsAllowed": phone.get("smsAllowed").and_then(Value::as_bool).unwrap_or(false),
                })
            })
            .collect()
    }

    pub(super) fn emails(&mut self, given: Option<&Value>) -> Vec<Value> {
        let given: Vec<Value> = given.and_then(Value::as_array).cloned().unwrap_or_default();
        given
            .into_iter()
            .enumerate()
            .map(|(place, email)| {
                json!({
                    "id": encode_id("Email", self.number()),
                    "address": email.get("address").and_then(Value::as_str).unwrap_or_default(),
                    "description": "MAIN",
                    "primary": email.get("primary").and_then(Value::as_bool).unwrap_or(place == 0),
                })
            })
            .collect()
    }

    pub(super) fn client_edit(&mut self) -> Done {
        let client = self.target(Kind::Client, "clientId")?;
        let mut input = self.input();
        let new_phones = self.phones(input.remove("phonesToAdd").as_ref());
        let new_emails = self.emails(input.remove("emailsToAdd").as_ref());
        let changes = |input: &mut Map<String, Value>, name: &str| -> Vec<Value> {
            input.remove(name).and_then(|list| list.as_array().cloned()).unwrap_or_default()
        };
        let phones = (changes(&mut input, "phonesToEdit"), changes(&mut input, "phonesToDelete"));
        let emails = (changes(&mut input, "emailsToEdit"), changes(&mut input, "emailsToDelete"));
        let (add, delete) = (changes(&mut input, "tagsToAdd"), changes(&mut input, "tagsToDelete"));
        let address = input.remove("billingAddress").map(object);
        let row = self.touch(Kind::Client, client)?;
        if let Some(address) = address {
            row.insert("billingAddress".to_owned(), whole_address("", &address));
            row.insert("billingAddressPresent".to_owned(), true.into());
        }
        edit_list(row, "phones", new_phones, &phones.0, &phones.1);
        edit_list(row, "emails", new_emails, &emails.0, &emails.1);
        if let Some(Value::Array(tags)) = row.get_mut("_tags") {
            tags.retain(|tag| !delete.contains(tag));
            tags.extend(add);
        }
        for (name, value) in input {
            match name.as_str() {
                "firstName"
                | "lastName"
                | "companyName"
                | "isCompany"
                | "receivesReviewRequests"
                | "receivesReminders"
                | "receivesFollowUps"
                | "receivesInvoiceFollowUps"
                | "receivesQuoteFollowUps"
                | "title" => {
                    row.insert(name, value);
                }
                _ => {
                    return Err(Refusal::Unmodelled(format!("the sandbox does not model clientEdit.{name}")));
                }
            }
        }
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let is_company = row.get("isCompany").and_then(Value::as_bool).unwrap_or(false);
        let name = if is_company {
            text("companyName")
        } else {
            format!("{} {}", text("firstName"), text("lastName")).trim().to_owned()
        };
        row.insert("name".to_owned(), name.into());
        Ok(vec![("client", Target::One(Kind::Client, Some(client)))])
    }

    pub(super) fn client_archived(&mut self, archived: bool) -> Done {
        let client = self.target(Kind::Client, "clientId")?;
        self.touch(Kind::Client, client)?.insert("isArchived".to_owned(), archived.into());
        Ok(vec![("client", Target::One(Kind::Client, Some(client)))])
    }

    pub(super) fn property_create(&mut self) -> Done {
        let client = self.target(Kind::Client, "clientId")?;
        let given = self.input().get("properties").and_then(Value::as_array).cloned().unwrap_or_default();
        let made = given.iter().map(|property| self.property(client, property)).collect();
        Ok(vec![
            ("client", Target::One(Kind::Client, Some(client))),
            ("properties", Target::Many(Kind::Property, made)),
        ])
    }

    pub(super) fn property(&mut self, client: u64, given: &Value) -> u64 {
        let number = self.number();
        let address = given.get("address").cloned().map(object).unwrap_or_default();
        let row = json!({
            "_client": client,
            "name": given.get("name"),
            "address": whole_address(&encode_id("PropertyAddress", number), &address),
            "createdAt": instant(self.now),
            "jobberWebUri": format!("https://secure.example.com/properties/{number}"),
        });
        self.data.insert(Kind::Property, number, object(row));
        number
    }

    // Jobs
}
