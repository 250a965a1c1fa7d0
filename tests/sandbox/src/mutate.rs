//! Jobber's own mutations, as far as the world needs them.
//!
//! A user's mistake gives `userErrors` and a null record. Requests that violate the schema are refused
//! earlier.

use std::sync::Arc;

use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::authorize;
use super::time::instant;
use super::world::{Data, Kind, Row, TokenState, World, encode_id, object, reference, references};

/// The answer of a mutation.
pub(super) struct Payload {
    pub(super) fields: Vec<(&'static str, Target)>,
    pub(super) user_errors: Vec<Value>,
}

pub(super) enum Target {
    One(Kind, Option<u64>),
    Many(Kind, Vec<u64>),
    Nothing,
}

/// Why a mutation did nothing.
enum Refusal {
    /// Reported in `userErrors`.
    User { message: String, path: Vec<&'static str> },
    /// Reported as a GraphQL error.
    Unmodelled(String),
}

type Done = Result<Vec<(&'static str, Target)>, Refusal>;

fn user<T>(message: &str, path: &[&'static str]) -> Result<T, Refusal> {
    Err(Refusal::User { message: message.to_owned(), path: path.to_vec() })
}

/// Runs the mutation `name` in `account`. An error means that the sandbox does not model it.
pub(super) fn mutate(
    world: &mut World,
    account: u64,
    name: &str,
    arguments: &Map<String, Value>,
) -> Result<Payload, String> {
    let now = world.now();
    if name == "appDisconnect" {
        authorize::end_grants(world, account, TokenState::Disconnected);
        return Ok(Payload { fields: vec![("app", Target::Nothing)], user_errors: vec![] });
    }
    let mut numbers: Vec<u64> = (0..64).map(|_| world.number()).collect();
    numbers.reverse();
    let Some(account) = world.accounts.get_mut(&account) else { return Err("no such account".to_owned()) };
    let reopen_clears = account.switches.reopen_clears_completed_at;
    let mut desk = Desk { data: Arc::make_mut(&mut account.data), arguments, now, numbers, reopen_clears };
    match desk.carry_out(name) {
        Ok(fields) => Ok(Payload { fields, user_errors: vec![] }),
        Err(Refusal::User { message, path }) => Ok(Payload {
            fields: desk.nothing(name),
            user_errors: vec![json!({"message": message, "path": path})],
        }),
        Err(Refusal::Unmodelled(what)) => Err(what),
    }
}

struct Desk<'w> {
    data: &'w mut Data,
    arguments: &'w Map<String, Value>,
    now: Timestamp,
    numbers: Vec<u64>,
    reopen_clears: bool,
}

impl Desk<'_> {
    fn carry_out(&mut self, name: &str) -> Done {
        match name {
            "clientCreate" => self.client_create(),
            "clientEdit" => self.client_edit(),
            "clientArchive" => self.client_archived(true),
            "clientUnarchive" => self.client_archived(false),
            "propertyCreate" => self.property_create(),
            "jobCreate" => self.job_create(),
            "jobEdit" => self.job_edit(),
            "jobClose" => self.job_close(),
            "jobReopen" => self.job_reopen(),
            "visitCreate" => self.visit_create(),
            "visitComplete" => self.visit_complete(),
            "visitUncomplete" => self.visit_uncomplete(),
            "visitEditAssignedUsers" => self.visit_edit_assigned_users(),
            "visitDelete" => self.visit_delete(),
            "invoiceCreate" => self.invoice_create(),
            "invoiceEdit" => self.invoice_edit(),
            "invoiceMarkAsSent" | "invoiceReopen" => self.invoice_status("awaiting_payment"),
            "invoiceVoid" => self.invoice_status("voided"),
            "invoiceClose" => self.invoice_close(),
            "webhookEndpointCreate" => self.webhook_endpoint_create(),
            "webhookEndpointDelete" => self.webhook_endpoint_delete(),
            other => Err(Refusal::Unmodelled(format!("the sandbox does not model the mutation {other}"))),
        }
    }

    /// The record fields in the payload of a failed mutation.
    fn nothing(&self, name: &str) -> Vec<(&'static str, Target)> {
        match name {
            "propertyCreate" => {
                vec![("client", Target::Nothing), ("properties", Target::Many(Kind::Property, vec![]))]
            }
            // In the schema this payload must have its job.
            "visitCreate" => vec![
                ("job", Target::One(Kind::Job, self.data.table(Kind::Job).map(|(number, _)| number).next())),
                ("createdVisits", Target::Many(Kind::Visit, vec![])),
            ],
            _ => vec![],
        }
    }

    fn input(&self) -> Map<String, Value> {
        self.arguments.get("input").cloned().map(object).unwrap_or_default()
    }

    fn number(&mut self) -> u64 {
        self.numbers.pop().unwrap_or_default()
    }

    fn target(&self, kind: Kind, argument: &'static str) -> Result<u64, Refusal> {
        let id = self.arguments.get(argument).and_then(Value::as_str);
        match id.and_then(|id| self.data.find(kind, id)) {
            Some(number) => Ok(number),
            None => user(&format!("{} not found", kind.name()), &[argument]),
        }
    }

    fn row(&mut self, kind: Kind, number: u64) -> Result<&mut Row, Refusal> {
        match self.data.get_mut(kind, number) {
            Some(row) => Ok(row),
            None => user(&format!("{} not found", kind.name()), &[]),
        }
    }

    fn touch(&mut self, kind: Kind, number: u64) -> Result<&mut Row, Refusal> {
        let now = instant(self.now);
        let row = self.row(kind, number)?;
        row.insert("updatedAt".to_owned(), now.into());
        Ok(row)
    }

    // Clients and properties

    fn client_create(&mut self) -> Done {
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

    fn phones(&mut self, given: Option<&Value>) -> Vec<Value> {
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

    fn emails(&mut self, given: Option<&Value>) -> Vec<Value> {
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

    fn client_edit(&mut self) -> Done {
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
        let row = self.touch(Kind::Client, client)?;
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

    fn client_archived(&mut self, archived: bool) -> Done {
        let client = self.target(Kind::Client, "clientId")?;
        self.touch(Kind::Client, client)?.insert("isArchived".to_owned(), archived.into());
        Ok(vec![("client", Target::One(Kind::Client, Some(client)))])
    }

    fn property_create(&mut self) -> Done {
        let client = self.target(Kind::Client, "clientId")?;
        let given = self.input().get("properties").and_then(Value::as_array).cloned().unwrap_or_default();
        let made = given.iter().map(|property| self.property(client, property)).collect();
        Ok(vec![
            ("client", Target::One(Kind::Client, Some(client))),
            ("properties", Target::Many(Kind::Property, made)),
        ])
    }

    fn property(&mut self, client: u64, given: &Value) -> u64 {
        let number = self.number();
        let address = given.get("address").cloned().map(object).unwrap_or_default();
        let part = |name: &str| address.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let street = [part("street1"), part("street2")];
        let street = street.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" ");
        let row = json!({
            "_client": client,
            "name": given.get("name"),
            "address": {
                "id": encode_id("PropertyAddress", number),
                "street": street, "street1": part("street1"), "street2": part("street2"), "city": part("city"),
                "province": part("province"), "postalCode": part("postalCode"), "country": part("country"),
            },
            "createdAt": instant(self.now),
            "jobberWebUri": format!("https://secure.example.com/properties/{number}"),
        });
        self.data.insert(Kind::Property, number, object(row));
        number
    }

    // Jobs

    fn job_create(&mut self) -> Done {
        let input = self.input();
        let property = input.get("propertyId").and_then(Value::as_str);
        let Some(property) = property.and_then(|id| self.data.find(Kind::Property, id)) else {
            return user("Property not found", &["input", "propertyId"]);
        };
        let client = self.data.get(Kind::Property, property).and_then(|row| reference(row, "_client"));
        let highest = self
            .data
            .table(Kind::Job)
            .filter_map(|(_, job)| job.get("jobNumber").and_then(Value::as_u64))
            .max()
            .unwrap_or(0);
        let number = self.number();
        let total: f64 = total_of(input.get("lineItems"));
        let now = instant(self.now);
        let row = json!({
            "_client": client, "_property": property,
            "jobNumber": input.get("jobNumber").and_then(Value::as_u64).unwrap_or(highest + 1),
            "title": input.get("title"),
            "instructions": input.get("instructions"),
            "jobStatus": "upcoming", "jobType": "ONE_OFF", "completedAt": null,
            "billingType": "FIXED_PRICE", "source": "GQL_API",
            "total": total, "invoicedTotal": 0.0, "uninvoicedTotal": total,
            "completedAndUninvoicedVisitsCount": 0, "completedAndUninvoicedVisitsTotal": 0.0,
            "defaultVisitTitle": input.get("title").and_then(Value::as_str).unwrap_or_default(),
            "allowReviewRequest": input.get("allowReviewRequest").and_then(Value::as_bool).unwrap_or(true),
            "createdAt": now, "updatedAt": now,
            "jobberWebUri": format!("https://secure.example.com/work_orders/{number}"),
        });
        self.data.insert(Kind::Job, number, object(row));
        let scheduling = input.get("scheduling").cloned().map(object).unwrap_or_default();
        if scheduling.get("createVisits").and_then(Value::as_bool) == Some(true) {
            let crew = self.users(scheduling.get("assignedTo"));
            let start = input
                .get("timeframe")
                .and_then(|timeframe| timeframe.get("startAt"))
                .and_then(Value::as_str)
                .and_then(|date| date.parse::<civil::Date>().ok())
                .and_then(|date| date.to_zoned_datetime(TimeZone::UTC).ok())
                .map_or(self.now, |start| start.timestamp());
            self.visit(number, None, None, Some(start), crew)?;
        }
        Ok(vec![("job", Target::One(Kind::Job, Some(number)))])
    }

    fn users(&self, ids: Option<&Value>) -> Vec<u64> {
        ids.and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter_map(|id| self.data.find(Kind::User, id))
            .collect()
    }

    fn job_edit(&mut self) -> Done {
        let job = self.target(Kind::Job, "jobId")?;
        let input = self.input();
        let row = self.touch(Kind::Job, job)?;
        for (name, value) in input {
            match name.as_str() {
                "title" | "instructions" | "jobNumber" | "allowReviewRequest" => {
                    row.insert(name, value);
                }
                _ => return Err(Refusal::Unmodelled(format!("the sandbox does not model jobEdit.{name}"))),
            }
        }
        Ok(vec![("job", Target::One(Kind::Job, Some(job)))])
    }

    fn job_close(&mut self) -> Done {
        let job = self.target(Kind::Job, "jobId")?;
        let row = self.row(Kind::Job, job)?;
        // A reopened job may have kept its date.
        let was_reopened = row.get("jobStatus").and_then(Value::as_str) == Some("action_required");
        if !is_null(row, "completedAt") && !was_reopened {
            return user("Job is already closed", &["jobId"]);
        }
        let complete_past = self.input().get("modifyIncompleteVisitsBy").and_then(Value::as_str)
            == Some("COMPLETE_PAST_DESTROY_FUTURE");
        let now = self.now;
        let open: Vec<(u64, bool)> = self
            .data
            .table(Kind::Visit)
            .filter(|(_, visit)| reference(visit, "_job") == Some(job) && is_null(visit, "completedAt"))
            .map(|(number, visit)| {
                let start = visit.get("startAt").and_then(Value::as_str).and_then(|at| at.parse().ok());
                (number, start.is_none_or(|start: Timestamp| start <= now))
            })
            .collect();
        for (visit, is_past) in open {
            if complete_past && is_past {
                self.row(Kind::Visit, visit)?.insert("completedAt".to_owned(), instant(now).into());
            } else if let Some(visits) = self.data.tables.get_mut(&Kind::Visit) {
                visits.remove(&visit);
            }
        }
        let invoiced = self.data.table(Kind::Invoice).any(|(_, row)| references(row, "_jobs").contains(&job));
        let row = self.touch(Kind::Job, job)?;
        row.insert("completedAt".to_owned(), instant(now).into());
        row.insert("jobStatus".to_owned(), if invoiced { "archived" } else { "requires_invoicing" }.into());
        Ok(vec![("job", Target::One(Kind::Job, Some(job)))])
    }

    fn job_reopen(&mut self) -> Done {
        let job = self.target(Kind::Job, "jobId")?;
        let clears = self.reopen_clears;
        let row = self.touch(Kind::Job, job)?;
        if clears {
            row.insert("completedAt".to_owned(), Value::Null);
        }
        row.insert("jobStatus".to_owned(), "action_required".into());
        Ok(vec![("job", Target::One(Kind::Job, Some(job)))])
    }

    // Visits

    fn visit_create(&mut self) -> Done {
        let job = self.target(Kind::Job, "jobId")?;
        let given = self.input().get("visits").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut made = Vec::new();
        for visit in given {
            let schedule = visit.get("schedule").cloned().map(object).unwrap_or_default();
            let crew = self.users(schedule.get("teamMemberIdsToAssign"));
            let start = schedule.get("startAt").and_then(local_instant);
            let title = visit.get("title").and_then(Value::as_str).map(str::to_owned);
            let instructions = visit.get("instructions").and_then(Value::as_str).map(str::to_owned);
            made.push(self.visit(job, title, instructions, start, crew)?);
        }
        self.touch(Kind::Job, job)?;
        Ok(vec![
            ("job", Target::One(Kind::Job, Some(job))),
            ("createdVisits", Target::Many(Kind::Visit, made)),
        ])
    }

    fn visit(
        &mut self,
        job: u64,
        title: Option<String>,
        instructions: Option<String>,
        start: Option<Timestamp>,
        crew: Vec<u64>,
    ) -> Result<u64, Refusal> {
        let number = self.number();
        let row = self.row(Kind::Job, job)?;
        let (client, property) = (reference(row, "_client"), reference(row, "_property"));
        let default_title = row.get("defaultVisitTitle").cloned();
        let end = start.and_then(|start| start.saturating_add(SignedDuration::from_hours(2)).ok());
        let row = json!({
            "_job": job, "_client": client, "_property": property, "_users": crew,
            "isDefaultTitle": title.is_none(), "title": title.map_or(default_title, |title| Some(title.into())),
            "instructions": instructions,
            "startAt": start.map(instant), "endAt": end.map(instant), "completedAt": null,
            "allDay": false, "clientConfirmed": false, "incompleteJobFormsCount": 0, "isLastScheduledVisit": false,
            "actionsUponComplete": [], "createdAt": instant(self.now),
        });
        self.data.insert(Kind::Visit, number, object(row));
        Ok(number)
    }

    fn visit_complete(&mut self) -> Done {
        let visit = self.target(Kind::Visit, "visitId")?;
        let at =
            self.input().get("completedAt").and_then(Value::as_str).map_or(instant(self.now), str::to_owned);
        self.row(Kind::Visit, visit)?.insert("completedAt".to_owned(), at.into());
        Ok(vec![("visit", Target::One(Kind::Visit, Some(visit)))])
    }

    fn visit_uncomplete(&mut self) -> Done {
        let visit = self.target(Kind::Visit, "visitId")?;
        self.row(Kind::Visit, visit)?.insert("completedAt".to_owned(), Value::Null);
        Ok(vec![("visit", Target::One(Kind::Visit, Some(visit)))])
    }

    fn visit_edit_assigned_users(&mut self) -> Done {
        let visit = self.target(Kind::Visit, "visitId")?;
        let crew = self.users(self.input().get("assignedUserIds"));
        self.row(Kind::Visit, visit)?.insert("_users".to_owned(), crew.into());
        Ok(vec![("visit", Target::One(Kind::Visit, Some(visit)))])
    }

    fn visit_delete(&mut self) -> Done {
        let ids = self.arguments.get("visitIds").and_then(Value::as_array).cloned().unwrap_or_default();
        for id in ids.iter().filter_map(Value::as_str) {
            let Some(number) = self.data.find(Kind::Visit, id) else {
                return user("Visit not found", &["visitIds"]);
            };
            if let Some(visits) = self.data.tables.get_mut(&Kind::Visit) {
                visits.remove(&number);
            }
        }
        Ok(vec![("visits", Target::Many(Kind::Visit, vec![]))])
    }

    // Webhooks

    fn webhook_endpoint_create(&mut self) -> Done {
        let input = self.input();
        let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (topic, url) = (text("topic"), text("url"));
        let is_there = |(_, endpoint): (u64, &Row)| {
            endpoint.get("topic").and_then(Value::as_str) == Some(&topic)
                && endpoint.get("url").and_then(Value::as_str) == Some(&url)
        };
        if self.data.table(Kind::WebhookEndpoint).any(is_there) {
            return user("Url has already been taken", &["input", "url"]);
        }
        let (number, now) = (self.number(), instant(self.now));
        let row = json!({"topic": topic, "url": url, "createdAt": now, "updatedAt": now});
        self.data.insert(Kind::WebhookEndpoint, number, object(row));
        Ok(vec![("webhookEndpoint", Target::One(Kind::WebhookEndpoint, Some(number)))])
    }

    fn webhook_endpoint_delete(&mut self) -> Done {
        let ids =
            self.arguments.get("webhookEndpointsIds").and_then(Value::as_array).cloned().unwrap_or_default();
        for id in ids.iter().filter_map(Value::as_str) {
            let Some(number) = self.data.find(Kind::WebhookEndpoint, id) else {
                return user("Webhook endpoint not found", &["webhookEndpointsIds"]);
            };
            if let Some(endpoints) = self.data.tables.get_mut(&Kind::WebhookEndpoint) {
                endpoints.remove(&number);
            }
        }
        Ok(vec![])
    }

    // Invoices

    fn invoice_create(&mut self) -> Done {
        let input = self.input();
        let client = input.get("clientId").and_then(Value::as_str);
        let Some(client) = client.and_then(|id| self.data.find(Kind::Client, id)) else {
            return user("Client not found", &["input", "clientId"]);
        };
        let find_all = |data: &Data, kind: Kind, ids: Option<&Value>| -> Vec<u64> {
            let ids: Vec<Value> = match ids {
                Some(Value::Array(ids)) => ids.clone(),
                Some(id @ Value::String(_)) => vec![id.clone()],
                _ => vec![],
            };
            ids.iter().filter_map(Value::as_str).filter_map(|id| data.find(kind, id)).collect()
        };
        let mut jobs = find_all(self.data, Kind::Job, input.get("jobIds"));
        jobs.extend(find_all(self.data, Kind::Job, input.get("jobId")));
        let visits = find_all(self.data, Kind::Visit, input.get("visitIds"));
        let mut properties = find_all(self.data, Kind::Property, input.get("propertyId"));
        for job in &jobs {
            properties.extend(self.data.get(Kind::Job, *job).and_then(|job| reference(job, "_property")));
        }
        properties.dedup();
        let number = self.number();
        let total = total_of(input.get("lineItems"));
        let sent = input.get("markSent").and_then(Value::as_bool).unwrap_or(false);
        let now = instant(self.now);
        let issued = input.get("issuedDate").filter(|date| !date.is_null()).cloned();
        let row = json!({
            "_client": client, "_jobs": jobs, "_visits": visits, "_properties": properties,
            "invoiceNumber": input.get("invoiceNumber").and_then(Value::as_str).map_or(number.to_string(), str::to_owned),
            "subject": input.get("subject").and_then(Value::as_str).unwrap_or("For Services Rendered"),
            "message": input.get("message"),
            "invoiceStatus": if sent { "awaiting_payment" } else { "draft" },
            "issuedDate": issued.or_else(|| sent.then(|| now.clone().into())), "receivedDate": null,
            "allowReviewRequest": input.get("allowReviewRequest").and_then(Value::as_bool).unwrap_or(true),
            "amounts": {
                "total": total, "subtotal": total, "invoiceBalance": total, "paymentsTotal": 0.0, "taxAmount": 0.0,
                "nonTaxAmount": total, "depositAmount": 0.0, "discountAmount": 0.0, "legacyDiscountAmount": 0.0,
                "tipsTotal": 0.0,
            },
            "createdAt": now, "updatedAt": now,
            "jobberWebUri": format!("https://secure.example.com/invoices/{number}"),
        });
        self.data.insert(Kind::Invoice, number, object(row));
        for job in jobs {
            let row = self.touch(Kind::Job, job)?;
            if row.get("jobStatus").and_then(Value::as_str) == Some("requires_invoicing") {
                row.insert("jobStatus".to_owned(), "archived".into());
            }
        }
        Ok(vec![("invoice", Target::One(Kind::Invoice, Some(number)))])
    }

    fn invoice_edit(&mut self) -> Done {
        let invoice = self.target(Kind::Invoice, "invoiceId")?;
        let input = self.input();
        let row = self.touch(Kind::Invoice, invoice)?;
        for (name, value) in input {
            match name.as_str() {
                "subject" | "message" | "invoiceNumber" | "issuedDate" | "allowReviewRequest" => {
                    row.insert(name, value);
                }
                _ => {
                    return Err(Refusal::Unmodelled(format!(
                        "the sandbox does not model invoiceEdit.{name}"
                    )));
                }
            }
        }
        Ok(vec![("invoice", Target::One(Kind::Invoice, Some(invoice)))])
    }

    fn invoice_status(&mut self, status: &str) -> Done {
        let invoice = self.target(Kind::Invoice, "id")?;
        let now = instant(self.now);
        let row = self.touch(Kind::Invoice, invoice)?;
        row.insert("invoiceStatus".to_owned(), status.into());
        row.insert("receivedDate".to_owned(), Value::Null);
        if status == "awaiting_payment" && is_null(row, "issuedDate") {
            row.insert("issuedDate".to_owned(), now.into());
        }
        Ok(vec![("invoice", Target::One(Kind::Invoice, Some(invoice)))])
    }

    fn invoice_close(&mut self) -> Done {
        let invoice = self.target(Kind::Invoice, "id")?;
        let received = self.input().get("closeOption").and_then(Value::as_str) == Some("MARK_RECEIVED");
        let now = instant(self.now);
        let row = self.touch(Kind::Invoice, invoice)?;
        row.insert("invoiceStatus".to_owned(), if received { "paid" } else { "bad_debt" }.into());
        if received {
            row.insert("receivedDate".to_owned(), now.into());
        }
        Ok(vec![("invoice", Target::One(Kind::Invoice, Some(invoice)))])
    }
}

fn is_null(row: &Row, field: &str) -> bool {
    row.get(field).is_none_or(Value::is_null)
}

fn total_of(line_items: Option<&Value>) -> f64 {
    line_items
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|item| {
            let number = |name: &str, default: f64| item.get(name).and_then(Value::as_f64).unwrap_or(default);
            number("unitPrice", 0.0) * number("quantity", 1.0)
        })
        .sum()
}

fn edit_list(row: &mut Row, field: &str, add: Vec<Value>, edit: &[Value], delete: &[Value]) {
    let Some(Value::Array(list)) = row.get_mut(field) else { return };
    list.retain(|item| !item.get("id").is_some_and(|id| delete.contains(id)));
    for change in edit {
        for item in list.iter_mut().filter(|item| item.get("id") == change.get("id")) {
            if let (Value::Object(item), Value::Object(change)) = (item, change) {
                item.extend(change.iter().map(|(name, value)| (name.clone(), value.clone())));
                if field == "phones"
                    && let Some(number) = change.get("number").and_then(Value::as_str)
                {
                    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
                    item.insert("normalizedPhoneNumber".to_owned(), format!("+1{digits}").into());
                }
            }
        }
    }
    list.extend(add);
}

/// `LocalDateTimeAttributes`: a date, a time and a time zone.
fn local_instant(value: &Value) -> Option<Timestamp> {
    let date: civil::Date = value.get("date")?.as_str()?.parse().ok()?;
    let time = value.get("time").and_then(Value::as_str).and_then(|time| time.parse::<civil::Time>().ok());
    let zone = value.get("timezone").and_then(Value::as_str).unwrap_or("UTC");
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    Some(date.to_datetime(time.unwrap_or(civil::Time::midnight())).to_zoned_datetime(zone).ok()?.timestamp())
}
