//! What work, people and numbers are called, in data as live accounts have it.

use jobber_reviewd::testing::model::{SkipReason, Trigger, WorkRef};
use jobber_reviewd::testing::protocol::{Explain, Status};
use jobber_reviewd::testing::{Config, protocol};
use serde_json::{Value, json};

use crate::support::*;

async fn connected(trigger: Trigger, change: impl FnOnce(&mut Config)) -> (TestApp, Contractor) {
    let app = TestApp::start_with(change).await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, trigger).await;
    app.pass(minutes(1));
    app.sweep().await;
    (app, ace)
}

/// A closed job without a title, with these line items.
fn untitled(app: &TestApp, ace: &Contractor, customer: &Customer, items: &[&str]) -> WorkRef {
    let job = ace.job(app, customer, "", &[]);
    ace.set(app, job.id.as_str(), "title", Value::Null);
    let items: Vec<_> = items.iter().map(|name| json!({"id": "aQ==", "name": name})).collect();
    ace.set(app, job.id.as_str(), "_lineItems", json!(items));
    ace.close(app, &job);
    job
}

async fn ask(app: &TestApp) {
    app.sweep().await;
    app.pass(hours(3));
    app.sweep().await;
}

#[tokio::test]
async fn line_items_name_the_work_when_its_title_is_blank() {
    let (app, ace) = connected(Trigger::JobCompleted, |config| {
        config.review.not_named = vec!["warranty".into()];
    })
    .await;
    let customer = ace.customer(&app);
    let mowing = untitled(&app, &ace, &customer, &["Mowing ", "Edging", "Blowing", "Raking"]);
    let warranty = untitled(&app, &ace, &customer, &["Warranty call"]);
    ask(&app).await;
    assert_eq!(app.skip_reason(&ace, &warranty), SkipReason::TitleExcluded);
    let got = app.receiver.got();
    let [only] = got.as_slice() else { panic!("{} asks", got.len()) };
    let body = only.json();
    assert_eq!(body["message"], "Hi John! How was your Mowing, Edging and Blowing?");
    assert_eq!(body["job"]["line_items"], json!(["Mowing", "Edging", "Blowing"]), "at most three");
    assert_eq!(
        (&body["job"]["title"], &body["job"]["name"]),
        (&Value::Null, &json!("Mowing, Edging and Blowing"))
    );
    let explained = app.run(Explain { what: mowing.id.to_string(), render: false }).await.unwrap();
    assert_eq!(explained[0].decision.subject.job_title.as_deref(), Some("Mowing, Edging and Blowing"));
    app.finish().await;
}

#[tokio::test]
async fn hostile_text_reaches_the_message_as_one_clean_line_and_the_body_has_what_jobber_says() {
    let (app, ace) = connected(Trigger::JobCompleted, |_| {}).await;
    let customer =
        ace.customer_with(&app, json!({"firstName": "Jo\u{1b}[31mhn\n", "lastName": "Smith\u{202E}"}));
    let title = format!("Drain\r\n\u{7}cleaning{}", "!".repeat(200_000));
    let job = ace.job(&app, &customer, "Drain", &[]);
    ace.set(&app, job.id.as_str(), "title", json!(title));
    ace.close(&app, &job);
    ask(&app).await;
    let got = app.receiver.got();
    assert!(got[0].body.len() < 6_000, "{}", got[0].body.len());
    let body = got[0].json();
    let message = body["message"].as_str().unwrap();
    assert!(message.starts_with("Hi Jo[31mhn! How was your Drain cleaning!!!"), "{message}");
    assert!(message.chars().all(|char| !char.is_control() && char != '\u{202E}'));
    let original = body["as_in_jobber"]["job.title"].as_str().unwrap();
    assert!(original.starts_with("Drain\r\n\u{7}cleaning!"));
    assert_eq!(original.chars().count(), 2_000);
    let explained = app.run(Explain { what: job.id.to_string(), render: true }).await.unwrap();
    assert!(!format!("{:?}", explained[0].decision.subject).contains("\\u{1b}"));
    app.finish().await;
}

#[tokio::test]
async fn a_company_is_greeted_by_its_contact_or_by_its_name() {
    for (greet, hello) in [("contact", "Hi Ann!"), ("company", "Hi Oak Street Dental!")] {
        let (app, ace) = connected(Trigger::JobCompleted, |config| {
            config.review.greet = serde_json::from_value(json!(greet)).unwrap();
        })
        .await;
        let company = json!({"firstName": "Ann", "companyName": "Oak  Street Dental ", "isCompany": true});
        let customer = ace.customer_with(&app, company);
        let job = ace.job(&app, &customer, "Cleaning", &[]);
        ace.close(&app, &job);
        ask(&app).await;
        assert_eq!(app.receiver.got()[0].json()["message"], format!("{hello} How was your Cleaning?"));
        app.finish().await;
    }
}

#[tokio::test]
async fn numbers_that_jobber_did_not_normalise_are_read_in_the_accounts_country() {
    let (app, ace) = connected(Trigger::JobCompleted, |_| {}).await;
    let customer = ace.customer(&app);
    let phone = json!([{
        "id": "cA==", "number": "(212) 555-0142", "friendly": "x", "normalizedPhoneNumber": null, "description": "MAIN",
        "primary": true, "smsAllowed": true,
    }]);
    ace.set(&app, &customer.id, "phones", phone);
    let job = ace.job(&app, &customer, "Cleaning", &[]);
    ace.close(&app, &job);
    ask(&app).await;
    assert_eq!(app.receiver.got()[0].json()["client"]["phone"], "+12125550142");
    app.finish().await;
}

#[tokio::test]
async fn an_account_without_a_phone_that_takes_texts_is_told_and_can_use_any() {
    let (app, ace) = connected(Trigger::JobCompleted, |_| {}).await;
    let mut jobs = Vec::new();
    for number in 0..6 {
        let phones = json!([{"number": format!("212555014{number}"), "smsAllowed": false}]);
        let customer = ace.customer_with(&app, json!({"phones": phones, "emails": []}));
        let job = ace.job(&app, &customer, "Cleaning", &[]);
        ace.close(&app, &job);
        jobs.push(job);
    }
    app.sweep().await;
    app.pass(hours(25));
    app.sweep().await;
    assert_eq!(app.skip_reason(&ace, &jobs[0]), SkipReason::NoContact);
    let remarks = app.run(Status {}).await.unwrap().accounts[0].remarks.clone();
    assert!(remarks.iter().any(|remark| remark.contains("review.phones to any")), "{remarks:?}");

    let set = [("phones".to_owned(), json!("any"))].into();
    let account = "Ace Plumbing".to_owned();
    app.run(protocol::AccountSet { account, set, unset: vec![], body: None, secret: None }).await.unwrap();
    let remarks = app.run(Status {}).await.unwrap().accounts[0].remarks.clone();
    assert!(!remarks.iter().any(|remark| remark.contains("review.phones")), "{remarks:?}");
    let customer = ace.customer_with(
        &app,
        json!({
            "emails": [], "phones": [
                {"number": "2125550150", "smsAllowed": false, "primary": true},
                {"number": "2125550151", "smsAllowed": false},
            ],
        }),
    );
    let job = ace.job(&app, &customer, "Cleaning", &[]);
    ace.close(&app, &job);
    ask(&app).await;
    assert_eq!(app.receiver.got()[0].json()["client"]["phone"], "+12125550150", "the main one first");
    app.finish().await;
}

#[tokio::test]
async fn invoices_that_total_zero_are_not_asked_about_unless_the_operator_says_so() {
    for (min_total, asks) in [(None, 0), (Some("0"), 1)] {
        let (app, ace) = connected(Trigger::InvoicePaid, |config| {
            config.review.min_total = min_total.map(|text| serde_json::from_str(text).unwrap());
        })
        .await;
        let customer = ace.customer(&app);
        let invoice = ace.invoice(&app, &customer, None, true);
        ace.set(&app, invoice.id.as_str(), "amounts", json!({"total": 0.0}));
        ace.pay(&app, &invoice);
        ask(&app).await;
        assert_eq!(app.receiver.got().len(), asks, "{min_total:?}");
        if asks == 0 {
            assert_eq!(app.skip_reason(&ace, &invoice), SkipReason::BelowMinimum);
        }
        app.finish().await;
    }
}

#[tokio::test]
async fn every_invoice_of_a_number_is_explained() {
    let (app, ace) = connected(Trigger::InvoicePaid, |_| {}).await;
    let customer = ace.customer(&app);
    for _ in 0..2 {
        let invoice = ace.invoice(&app, &customer, None, true);
        ace.set(&app, invoice.id.as_str(), "invoiceNumber", json!("77"));
        ace.pay(&app, &invoice);
    }
    app.sweep().await;
    let explained = app.run(Explain { what: "77".into(), render: false }).await.unwrap();
    assert_eq!(explained.len(), 2, "numbers are not unique");
    ask(&app).await;
    app.finish().await;
}
