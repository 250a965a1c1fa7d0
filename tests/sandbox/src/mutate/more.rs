//! Mutations of quotes, tasks, expenses, requests and notes, and of visits as appointments.

use serde_json::{Map, Value, json};

use super::{Desk, Done, Refusal, Target, local_instant, total_of, user};
use crate::time::instant;
use crate::world::{Kind, encode_id, object};

/// The longest title that is taken.
const TITLE: usize = 255;

impl Desk<'_> {
    fn attributes(&self) -> Map<String, Value> {
        self.arguments.get("attributes").cloned().map(object).unwrap_or_default()
    }

    /// A record that an input names, if it names one.
    fn named(
        &self,
        input: &Map<String, Value>,
        name: &'static str,
        kind: Kind,
    ) -> Result<Option<u64>, Refusal> {
        match input.get(name).and_then(Value::as_str) {
            None => Ok(None),
            Some(id) => match self.data.find(kind, id) {
                Some(number) => Ok(Some(number)),
                None => user(&format!("{} not found", kind.name()), &["input", name]),
            },
        }
    }

    fn sound_title(input: &Map<String, Value>) -> Result<(), Refusal> {
        let title = input.get("title").and_then(Value::as_str).unwrap_or_default();
        if title.chars().count() > TITLE {
            return user("Title is too long (maximum is 255 characters)", &["input", "title"]);
        }
        Ok(())
    }

    /// Takes the named fields of an input into a record. Others are not modelled.
    fn edit(
        &mut self,
        kind: Kind,
        number: u64,
        input: Map<String, Value>,
        fields: &[&str],
    ) -> Result<(), Refusal> {
        let row = self.touch(kind, number)?;
        for (name, value) in input {
            if !fields.contains(&name.as_str()) {
                let what = format!("the sandbox does not model {name} of a {}", kind.name());
                return Err(Refusal::Unmodelled(what));
            }
            row.insert(name, value);
        }
        Ok(())
    }

    // Notes

    pub(super) fn note(&mut self, of: Kind, argument: &'static str, kind: Kind, field: &'static str) -> Done {
        let target = self.target(of, argument)?;
        let input = self.input();
        let message = input.get("message").and_then(Value::as_str).unwrap_or_default();
        if message.trim().is_empty() {
            return user("Message can't be blank", &["input", "message"]);
        }
        let number = self.number();
        let row = json!({
            "_of": target, "message": message, "createdAt": instant(self.now),
            "pinned": input.get("pinned").and_then(Value::as_bool).unwrap_or(false),
        });
        self.data.insert(kind, number, object(row));
        Ok(vec![(field, Target::One(kind, Some(number)))])
    }

    pub(super) fn quote_edit_note(&mut self) -> Done {
        let input = self.input();
        let Some(note) = self.named(&input, "noteId", Kind::QuoteNote)? else {
            return user("Note not found", &["input", "noteId"]);
        };
        let message = input.get("message").cloned().unwrap_or_default();
        self.row(Kind::QuoteNote, note)?.insert("message".to_owned(), message);
        Ok(vec![("quoteNote", Target::One(Kind::QuoteNote, Some(note)))])
    }

    // Quotes

    pub(super) fn quote_create(&mut self) -> Done {
        let input = self.attributes();
        Self::sound_title(&input)?;
        let (client, property) = (
            self.named(&input, "clientId", Kind::Client)?,
            self.named(&input, "propertyId", Kind::Property)?,
        );
        let number = self.number();
        let total = total_of(input.get("lineItems"));
        let items = self.line_items(input.get("lineItems"));
        let now = instant(self.now);
        let is_sent = input.get("transitionQuoteTo").is_some_and(|to| !to.is_null());
        let row = json!({
            "_client": client, "_property": property, "_lineItems": items,
            "quoteNumber": input.get("quoteNumber").and_then(Value::as_u64).unwrap_or(number).to_string(),
            "title": input.get("title"), "message": input.get("message"),
            "quoteStatus": if is_sent { "awaiting_response" } else { "draft" }, "sentAt": null,
            "amounts": {"subtotal": total, "taxAmount": 0.0, "discountAmount": 0.0, "total": total},
            "transitionedAt": now, "createdAt": now, "updatedAt": now,
            "jobberWebUri": format!("https://secure.example.com/quotes/{number}"),
        });
        self.data.insert(Kind::Quote, number, object(row));
        Ok(vec![("quote", Target::One(Kind::Quote, Some(number)))])
    }

    pub(super) fn quote_edit(&mut self) -> Done {
        let quote = self.target(Kind::Quote, "quoteId")?;
        let input = self.attributes();
        Self::sound_title(&input)?;
        self.edit(Kind::Quote, quote, input, &["title", "message", "quoteNumber"])?;
        Ok(vec![("quote", Target::One(Kind::Quote, Some(quote)))])
    }

    // Tasks

    pub(super) fn task_create(&mut self) -> Done {
        let input = self.input();
        Self::sound_title(&input)?;
        let around = self.arguments.clone();
        let client = self.named(&around, "clientId", Kind::Client)?;
        let property = self.named(&around, "propertyId", Kind::Property)?;
        let number = self.number();
        let row = json!({
            "_client": client, "_property": property, "title": input.get("title"), "instructions": input.get("instructions"),
            "isComplete": false, "isRecurring": false, "isDefaultTitle": false,
            "allDay": input.get("allDay").and_then(Value::as_bool).unwrap_or(false),
            "startAt": input.get("startAt"), "endAt": input.get("endAt"),
        });
        self.data.insert(Kind::Task, number, object(row));
        Ok(vec![("task", Target::One(Kind::Task, Some(number)))])
    }

    pub(super) fn task_edit(&mut self) -> Done {
        let task = self.target(Kind::Task, "taskId")?;
        let mut input = self.input();
        Self::sound_title(&input)?;
        let client = self.named(&input, "clientId", Kind::Client)?;
        input.remove("clientId");
        for unused in ["assignedTo", "editFutureRecurring"] {
            input.remove(unused);
        }
        self.edit(Kind::Task, task, input, &["title", "instructions", "startAt", "endAt", "allDay"])?;
        if let Some(client) = client {
            self.row(Kind::Task, task)?.insert("_client".to_owned(), client.into());
        }
        Ok(vec![("task", Target::One(Kind::Task, Some(task)))])
    }

    pub(super) fn task_delete(&mut self) -> Done {
        let ids = self.arguments.get("taskIds").and_then(Value::as_array).cloned().unwrap_or_default();
        for id in ids.iter().filter_map(Value::as_str) {
            self.remove(Kind::Task, id, "taskIds")?;
        }
        Ok(vec![("deletedTasks", Target::Many(Kind::Task, vec![]))])
    }

    fn remove(&mut self, kind: Kind, id: &str, argument: &'static str) -> Result<(), Refusal> {
        let Some(number) = self.data.find(kind, id) else {
            return user(&format!("{} not found", kind.name()), &[argument]);
        };
        if let Some(rows) = self.data.tables.get_mut(&kind) {
            rows.remove(&number);
        }
        Ok(())
    }

    // Appointments: visits and tasks

    fn appointment(&self) -> Result<(Kind, u64), Refusal> {
        let id = self.arguments.get("appointmentId").and_then(Value::as_str).unwrap_or_default();
        let found =
            [Kind::Task, Kind::Visit].into_iter().find_map(|kind| Some((kind, self.data.find(kind, id)?)));
        match found {
            Some(found) => Ok(found),
            None => user("Appointment not found", &["appointmentId"]),
        }
    }

    pub(super) fn appointment_completeness(&mut self) -> Done {
        let (kind, number) = self.appointment()?;
        let is_complete = self.input().get("completed").and_then(Value::as_bool).unwrap_or(false);
        let at = if is_complete { instant(self.now).into() } else { Value::Null };
        let row = self.row(kind, number)?;
        match kind {
            Kind::Task => row.insert("isComplete".to_owned(), is_complete.into()),
            _ => row.insert("completedAt".to_owned(), at),
        };
        Ok(vec![("appointment", Target::One(kind, Some(number)))])
    }

    pub(super) fn appointment_schedule(&mut self) -> Done {
        let (kind, number) = self.appointment()?;
        if self.input().get("unschedule").and_then(Value::as_bool) != Some(true) {
            return Err(Refusal::Unmodelled(
                "the sandbox models only unschedule of an appointment".to_owned(),
            ));
        }
        let row = self.row(kind, number)?;
        for field in ["startAt", "endAt"] {
            row.insert(field.to_owned(), Value::Null);
        }
        Ok(vec![("appointment", Target::One(kind, Some(number)))])
    }

    pub(super) fn visit_edit(&mut self) -> Done {
        let visit = self.target(Kind::Visit, "id")?;
        let input = self.attributes();
        Self::sound_title(&input)?;
        self.edit(Kind::Visit, visit, input, &["title", "instructions"])?;
        Ok(vec![("visit", Target::One(Kind::Visit, Some(visit)))])
    }

    pub(super) fn visit_edit_schedule(&mut self) -> Done {
        let visit = self.target(Kind::Visit, "id")?;
        let input = self.input();
        for field in ["startAt", "endAt"] {
            if let Some(at) = input.get(field).and_then(local_instant) {
                self.row(Kind::Visit, visit)?.insert(field.to_owned(), instant(at).into());
            }
        }
        Ok(vec![("visit", Target::One(Kind::Visit, Some(visit)))])
    }

    // Line items

    pub(super) fn job_line_items(&mut self) -> Done {
        let job = self.target(Kind::Job, "jobId")?;
        let added = self.add_items(Kind::Job, job)?;
        Ok(vec![("createdLineItems", Target::Values("JobLineItem", added))])
    }

    pub(super) fn visit_line_items(&mut self) -> Done {
        let visit = self.target(Kind::Visit, "visitId")?;
        self.add_items(Kind::Visit, visit)?;
        Ok(vec![("visit", Target::One(Kind::Visit, Some(visit)))])
    }

    fn add_items(&mut self, kind: Kind, number: u64) -> Result<Vec<Value>, Refusal> {
        let added = self.line_items(self.input().get("lineItems"));
        let row = self.touch(kind, number)?;
        let items = row.entry("_lineItems").or_insert_with(|| json!([]));
        if let Value::Array(items) = items {
            items.extend(added.iter().cloned());
        }
        Ok(added)
    }

    // Properties

    pub(super) fn property_edit(&mut self) -> Done {
        let property = self.target(Kind::Property, "propertyId")?;
        let mut input = self.input();
        let address = input.remove("address").map(object);
        self.edit(Kind::Property, property, input, &["name"])?;
        if let Some(address) = address {
            let id = encode_id("PropertyAddress", property);
            let address = whole_address(&id, &address);
            self.row(Kind::Property, property)?.insert("address".to_owned(), address);
        }
        Ok(vec![("property", Target::One(Kind::Property, Some(property)))])
    }

    // Expenses

    pub(super) fn expense_create(&mut self) -> Done {
        let input = self.input();
        Self::sound_title(&input)?;
        let job = self.named(&input, "linkedJobId", Kind::Job)?;
        let number = self.number();
        let row = json!({
            "_job": job, "title": input.get("title"), "description": input.get("description"), "date": input.get("date"),
            "total": input.get("total"), "createdAt": instant(self.now), "updatedAt": instant(self.now),
        });
        self.data.insert(Kind::Expense, number, object(row));
        Ok(vec![("expense", Target::One(Kind::Expense, Some(number)))])
    }

    pub(super) fn expense_edit(&mut self) -> Done {
        let expense = self.target(Kind::Expense, "expenseId")?;
        let input = self.input();
        Self::sound_title(&input)?;
        self.edit(Kind::Expense, expense, input, &["title", "description", "date", "total"])?;
        Ok(vec![("expense", Target::One(Kind::Expense, Some(expense)))])
    }

    pub(super) fn expense_delete(&mut self) -> Done {
        let id = self.arguments.get("expenseId").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.remove(Kind::Expense, &id, "expenseId")?;
        Ok(vec![("deletedExpense", Target::Nothing)])
    }

    // Requests

    pub(super) fn request_create(&mut self) -> Done {
        let input = self.input();
        Self::sound_title(&input)?;
        let (client, property) = (
            self.named(&input, "clientId", Kind::Client)?,
            self.named(&input, "propertyId", Kind::Property)?,
        );
        let number = self.number();
        let now = instant(self.now);
        let row = json!({
            "_client": client, "_property": property, "title": input.get("title"), "requestStatus": "new",
            "isArchivable": true, "isScheduled": false, "source": "GQL_API", "createdAt": now, "updatedAt": now,
            "jobberWebUri": format!("https://secure.example.com/requests/{number}"),
        });
        self.data.insert(Kind::Request, number, object(row));
        Ok(vec![("request", Target::One(Kind::Request, Some(number)))])
    }

    pub(super) fn request_archived(&mut self, is_archived: bool) -> Done {
        let request = self.target(Kind::Request, "requestId")?;
        let status = if is_archived { "archived" } else { "new" };
        self.touch(Kind::Request, request)?.insert("requestStatus".to_owned(), status.into());
        Ok(vec![("request", Target::One(Kind::Request, Some(request)))])
    }
}

/// An address as it reads: with the street as a whole. Parts that are left out are blank.
pub(super) fn whole_address(id: &str, given: &Map<String, Value>) -> Value {
    let part = |name: &str| given.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let street = [part("street1"), part("street2")];
    let street = street.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" ");
    json!({
        "id": id, "street": street, "street1": part("street1"), "street2": part("street2"), "city": part("city"),
        "province": part("province"), "postalCode": part("postalCode"), "country": part("country"),
    })
}
