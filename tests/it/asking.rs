//! From a finished job to a signed ask, once.

use jobber_reviewd::model::Trigger;

use crate::support::*;

#[tokio::test]
async fn a_closed_job_becomes_one_signed_ask() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    let first = app.sweep().await;
    assert_eq!(first.accounts[0].candidates, 0);

    app.pass(minutes(30));
    let job = ace.closed_job(&app);
    let seen = app.sweep().await;
    assert_eq!((seen.accounts[0].candidates, seen.accounts[0].asked), (1, 0));
    assert!(app.waits(&ace, &job));
    assert!(app.receiver.got().is_empty(), "not before the delay is over");

    app.pass(hours(2));
    let asked = app.sweep().await;
    assert_eq!((asked.accounts[0].asked, asked.delivered), (1, 1));

    let got = app.receiver.got();
    let [ask] = got.as_slice() else { panic!("{} asks", got.len()) };
    let body = ask.json();
    assert_eq!(body["type"], "review.requested");
    assert_eq!(body["message"], "Hi John! How was your Water Heater Installation with Mike?");
    assert_eq!(body["client"]["phone"], "+15551234567");
    assert_eq!(body["property"]["address"], "123 Main St, Springfield, IL 62704");
    assert_eq!(body["account"]["name"], "Ace Plumbing");
    assert_eq!(body["job"]["jobber_status"], "requires_invoicing");
    let timestamp = ask.headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
    let theirs = standardwebhooks::Webhook::new(&webhook_secret()).unwrap();
    assert_eq!(
        ask.headers["webhook-signature"].to_str().unwrap(),
        theirs.sign(ask.id(), timestamp, &ask.body).unwrap()
    );
    assert_eq!(ask.headers["idempotency-key"], ask.headers["webhook-id"]);

    app.pass(hours(3));
    app.sweep().await;
    app.pass(hours(30));
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 1, "once");
    app.finish();
}
