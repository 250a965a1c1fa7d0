//! A contractor at work in the local Jobber: customers, jobs, visits, invoices.

use jiff::Timestamp;
use jobber_reviewd::testing::model::{AccountId, WorkRef};
use jobber_sandbox::Op;
use serde_json::{Value, json};

use crate::support::TestApp;

/// A contractor in the sandbox.
#[derive(Debug, Clone)]
pub struct Contractor {
    pub number: u64,
    pub id: AccountId,
}

/// A customer in the sandbox.
#[derive(Debug, Clone)]
pub struct Customer {
    pub id: String,
    pub property: String,
}

impl Contractor {
    fn run(&self, app: &TestApp, query: &str, variables: Value) -> Value {
        let answer = app.sandbox.graphql(self.number, query, variables);
        assert!(answer.get("errors").is_none(), "{answer}");
        let payload = answer["data"].as_object().unwrap().values().next().unwrap().clone();
        assert_eq!(payload["userErrors"], json!([]), "{payload}");
        payload
    }

    pub fn worker(&self, app: &TestApp, first: &str) -> String {
        let op = Op::AddUser { account: self.number, first: first.to_owned(), last: "Torres".to_owned() };
        app.sandbox.control(op).unwrap()["id"].as_str().unwrap().to_owned()
    }

    pub fn customer(&self, app: &TestApp) -> Customer {
        self.customer_with(app, json!({}))
    }

    /// A customer with these fields changed.
    pub fn customer_with(&self, app: &TestApp, changes: Value) -> Customer {
        let mut input = json!({
            "firstName": "John", "lastName": "Smith",
            "phones": [{"number": "5551234567", "smsAllowed": true, "primary": true}],
            "emails": [{"address": "john@example.com", "primary": true}],
        });
        for (name, value) in changes.as_object().unwrap() {
            input[name] = value.clone();
        }
        let made = self.run(
            app,
            "mutation ($input: ClientCreateInput!) { clientCreate(input: $input) { client { id } userErrors { message path } } }",
            json!({ "input": input }),
        );
        let id = made["client"]["id"].as_str().unwrap().to_owned();
        let address =
            json!({"street1": "123 Main St", "city": "Springfield", "province": "IL", "postalCode": "62704"});
        let made = self.run(
            app,
            "mutation ($id: EncodedId!, $input: PropertyCreateInput!) { propertyCreate(clientId: $id, input: $input) { properties { id } userErrors { message path } } }",
            json!({"id": id, "input": {"properties": [{"address": address}]}}),
        );
        let property = made["properties"][0]["id"].as_str().unwrap().to_owned();
        Customer { id, property }
    }

    /// Changes a customer's card.
    pub fn edit(&self, app: &TestApp, customer: &Customer, input: Value) {
        let mutation = "mutation ($id: EncodedId!, $input: ClientEditInput!) { clientEdit(clientId: $id, input: $input) { userErrors { message path } } }";
        self.run(app, mutation, json!({"id": customer.id, "input": input}));
    }

    pub fn job(&self, app: &TestApp, customer: &Customer, title: &str, crew: &[String]) -> WorkRef {
        let made = self.run(
            app,
            "mutation ($input: JobCreateAttributes!) { jobCreate(input: $input) { job { id } userErrors { message path } } }",
            json!({"input": {
                "propertyId": customer.property, "title": title,
                "invoicing": {"invoicingType": "FIXED_PRICE", "invoicingSchedule": "ON_COMPLETION"},
                "scheduling": {"createVisits": true, "notifyTeam": false, "assignedTo": crew},
            }}),
        );
        WorkRef::job(id(&made["job"]))
    }

    /// A job that is closed right away, with a crew of one.
    pub fn closed_job(&self, app: &TestApp) -> WorkRef {
        let customer = self.customer(app);
        let crew = [self.worker(app, "Mike")];
        let job = self.job(app, &customer, "Water Heater Installation", &crew);
        self.close(app, &job);
        job
    }

    pub fn close(&self, app: &TestApp, job: &WorkRef) {
        self.run(
            app,
            "mutation ($id: EncodedId!) { jobClose(jobId: $id, input: {modifyIncompleteVisitsBy: COMPLETE_PAST_DESTROY_FUTURE}) { job { id completedAt } userErrors { message path } } }",
            json!({"id": job.id}),
        );
    }

    pub fn reopen(&self, app: &TestApp, job: &WorkRef) {
        self.run(
            app,
            "mutation ($id: EncodedId!) { jobReopen(jobId: $id) { job { id } userErrors { message path } } }",
            json!({"id": job.id}),
        );
    }

    /// The visits of a job.
    pub fn visits(&self, app: &TestApp, job: &WorkRef) -> Vec<WorkRef> {
        let answer = app.sandbox.graphql(
            self.number,
            "query ($id: EncodedId!) { job(id: $id) { visits(first: 50) { nodes { id } } } }",
            json!({"id": job.id}),
        );
        let visits = answer["data"]["job"]["visits"]["nodes"].as_array().unwrap().clone();
        visits.iter().map(|visit| WorkRef::visit(id(visit))).collect()
    }

    pub fn another_visit(&self, app: &TestApp, job: &WorkRef) -> WorkRef {
        let made = self.run(
            app,
            "mutation ($id: EncodedId!) { visitCreate(jobId: $id, input: {visits: [{title: \"Again\"}]}) { createdVisits { id } userErrors { message path } } }",
            json!({"id": job.id}),
        );
        WorkRef::visit(id(&made["createdVisits"][0]))
    }

    pub fn complete(&self, app: &TestApp, visit: &WorkRef, completed_at: Option<Timestamp>) {
        self.run(
            app,
            "mutation ($id: EncodedId!, $at: ISO8601DateTime) { visitComplete(visitId: $id, input: {completedAt: $at}) { visit { id } userErrors { message path } } }",
            match completed_at {
                Some(at) => json!({"id": visit.id, "at": at}),
                None => json!({"id": visit.id}),
            },
        );
    }

    pub fn uncomplete(&self, app: &TestApp, visit: &WorkRef) {
        self.run(
            app,
            "mutation ($id: EncodedId!) { visitUncomplete(visitId: $id) { visit { id } userErrors { message path } } }",
            json!({"id": visit.id}),
        );
    }

    pub fn invoice(&self, app: &TestApp, customer: &Customer, job: Option<&WorkRef>, sent: bool) -> WorkRef {
        let jobs: Vec<_> = job.iter().map(|job| job.id.clone()).collect();
        let made = self.run(
            app,
            "mutation ($input: InvoiceCreateInput!) { invoiceCreate(input: $input) { invoice { id } userErrors { message path } } }",
            json!({"input": {
                "clientId": customer.id, "jobIds": jobs, "markSent": sent, "dueDetails": {},
                "tax": {"taxCalculationMethod": "EXCLUSIVE"},
                "lineItems": [{"name": "Work", "unitPrice": 2500.0, "quantity": 1.0}],
            }}),
        );
        WorkRef::invoice(id(&made["invoice"]))
    }

    pub fn pay(&self, app: &TestApp, invoice: &WorkRef) {
        self.pay_on(app, invoice, app.clock_now());
    }

    pub fn pay_on(&self, app: &TestApp, invoice: &WorkRef, day: Timestamp) {
        let invoice = invoice.id.to_string();
        let op = Op::PayInvoice { account: self.number, invoice, received_date: Some(day) };
        app.sandbox.control(op).unwrap();
    }

    pub fn mark_sent(&self, app: &TestApp, invoice: &WorkRef) {
        self.run(
            app,
            "mutation ($id: EncodedId!) { invoiceMarkAsSent(id: $id) { invoice { id } userErrors { message path } } }",
            json!({"id": invoice.id}),
        );
    }

    pub fn reopen_invoice(&self, app: &TestApp, invoice: &WorkRef) {
        self.run(
            app,
            "mutation ($id: EncodedId!) { invoiceReopen(id: $id) { invoice { id } userErrors { message path } } }",
            json!({"id": invoice.id}),
        );
    }

    pub fn delete(&self, app: &TestApp, work: &WorkRef) {
        app.sandbox.control(Op::Delete { account: self.number, id: work.id.to_string() }).unwrap();
    }

    pub fn set(&self, app: &TestApp, id: &str, field: &str, value: Value) {
        let op = Op::SetField {
            account: self.number,
            id: id.to_owned(),
            field: field.to_owned(),
            value,
            touch: true,
        };
        app.sandbox.control(op).unwrap();
    }
}

fn id(record: &Value) -> jobber_reviewd::testing::model::EncodedId {
    jobber_reviewd::testing::model::EncodedId::new(record["id"].as_str().unwrap())
}
