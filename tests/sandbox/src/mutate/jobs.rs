//! Mutations of jobs and their visits.

use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Desk, Done, Refusal, Target, is_null, local_instant, total_of, user};
use crate::time::instant;
use crate::world::{Kind, object, reference, references};

impl Desk<'_> {
    pub(super) fn job_create(&mut self) -> Done {
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
        let items = self.line_items(input.get("lineItems"));
        let now = instant(self.now);
        let row = json!({
            "_client": client, "_property": property, "_lineItems": items,
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

    pub(super) fn line_items(&mut self, given: Option<&Value>) -> Vec<Value> {
        let given = given.and_then(Value::as_array).cloned().unwrap_or_default();
        given
            .iter()
            .map(|item| {
                let number =
                    |name: &str, default: f64| item.get(name).and_then(Value::as_f64).unwrap_or(default);
                let (price, quantity) = (number("unitPrice", 0.0), number("quantity", 1.0));
                json!({
                    "id": crate::world::encode_id("JobLineItem", self.number()),
                    "name": item.get("name"), "description": item.get("description").unwrap_or(&"".into()),
                    "unitPrice": price, "quantity": quantity, "totalPrice": price * quantity,
                    "optional": item.get("optional").and_then(Value::as_bool).unwrap_or(false),
                })
            })
            .collect()
    }

    pub(super) fn users(&self, ids: Option<&Value>) -> Vec<u64> {
        ids.and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter_map(|id| self.data.find(Kind::User, id))
            .collect()
    }

    pub(super) fn job_edit(&mut self) -> Done {
        let job = self.target(Kind::Job, "jobId")?;
        let input = self.input();
        let row = self.touch(Kind::Job, job)?;
        for (name, value) in input {
            match name.as_str() {
                "title" if value.as_str().is_some_and(|title| title.len() > 255) => {
                    return user("Title is too long (maximum is 255 characters)", &["input", "title"]);
                }
                "title" | "instructions" | "jobNumber" | "allowReviewRequest" => {
                    row.insert(name, value);
                }
                _ => return Err(Refusal::Unmodelled(format!("the sandbox does not model jobEdit.{name}"))),
            }
        }
        Ok(vec![("job", Target::One(Kind::Job, Some(job)))])
    }

    pub(super) fn job_close(&mut self) -> Done {
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

    pub(super) fn job_reopen(&mut self) -> Done {
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

    pub(super) fn visit_create(&mut self) -> Done {
        let job = self.target(Kind::Job, "jobId")?;
        let given = self.input().get("visits").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut made = Vec::new();
        for visit in given {
            // One visit can be refused and another made: the answer then has both.
            if visit.get("title").and_then(Value::as_str).is_some_and(|title| title.len() > 255) {
                let message = "Title is too long (maximum is 255 characters)";
                self.objections.push(json!({"message": message, "path": ["input", "visits", "title"]}));
                continue;
            }
            let schedule = visit.get("schedule").cloned().map(object).unwrap_or_default();
            let crew = self.users(schedule.get("teamMemberIdsToAssign"));
            let start = schedule.get("startAt").and_then(local_instant);
            let title = visit.get("title").and_then(Value::as_str).map(str::to_owned);
            let instructions = visit.get("instructions").and_then(Value::as_str).map(str::to_owned);
            let number = self.visit(job, title, instructions, start, crew)?;
            if let Some(end) = schedule.get("endAt").and_then(local_instant) {
                self.row(Kind::Visit, number)?.insert("endAt".to_owned(), instant(end).into());
            }
            made.push(number);
        }
        self.touch(Kind::Job, job)?;
        Ok(vec![
            ("job", Target::One(Kind::Job, Some(job))),
            ("createdVisits", Target::Many(Kind::Visit, made)),
        ])
    }

    pub(super) fn visit(
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

    pub(super) fn visit_complete(&mut self) -> Done {
        let visit = self.target(Kind::Visit, "visitId")?;
        let at =
            self.input().get("completedAt").and_then(Value::as_str).map_or(instant(self.now), str::to_owned);
        self.row(Kind::Visit, visit)?.insert("completedAt".to_owned(), at.into());
        Ok(vec![("visit", Target::One(Kind::Visit, Some(visit)))])
    }

    pub(super) fn visit_uncomplete(&mut self) -> Done {
        let visit = self.target(Kind::Visit, "visitId")?;
        self.row(Kind::Visit, visit)?.insert("completedAt".to_owned(), Value::Null);
        Ok(vec![("visit", Target::One(Kind::Visit, Some(visit)))])
    }

    pub(super) fn visit_edit_assigned_users(&mut self) -> Done {
        let visit = self.target(Kind::Visit, "visitId")?;
        let crew = self.users(self.input().get("assignedUserIds"));
        self.row(Kind::Visit, visit)?.insert("_users".to_owned(), crew.into());
        Ok(vec![("visit", Target::One(Kind::Visit, Some(visit)))])
    }

    pub(super) fn visit_delete(&mut self) -> Done {
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
}
