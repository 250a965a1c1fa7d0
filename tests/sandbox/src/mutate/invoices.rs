//! Mutations of invoices.

use serde_json::{Value, json};

use super::{Desk, Done, Refusal, Target, is_null, total_of, user};
use crate::time::instant;
use crate::world::{Data, Kind, object, reference};

impl Desk<'_> {
    pub(super) fn invoice_create(&mut self) -> Done {
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

    pub(super) fn invoice_edit(&mut self) -> Done {
        let invoice = self.target(Kind::Invoice, "invoiceId")?;
        let input = self.input();
        let row = self.touch(Kind::Invoice, invoice)?;
        for (name, value) in input {
            match name.as_str() {
                "subject" | "message" | "invoiceNumber" | "issuedDate" | "allowReviewRequest" => {
                    row.insert(name, value);
                }
                "dueDetails" => {
                    row.insert("dueDate".to_owned(), value.get("dueDate").cloned().unwrap_or_default());
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

    pub(super) fn invoice_status(&mut self, status: &str) -> Done {
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

    pub(super) fn invoice_close(&mut self) -> Done {
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
