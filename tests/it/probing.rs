//! `probe`: what a live account is asked, and what it is not.

use jobber_reviewd::testing::OpError;
use jobber_reviewd::testing::model::Trigger;
use jobber_reviewd::testing::protocol::Probe;
use serde_json::json;

use crate::support::*;

fn probe(account: &str) -> Probe {
    Probe { account: account.to_owned(), ask: true, api_version: None, job: None, client: None }
}

#[tokio::test]
async fn without_yes_nothing_is_asked_and_the_questions_are_listed() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    let before = app.sandbox.stats(ace.number).requests;
    let list = app.run(Probe { ask: false, ..probe("Ace Plumbing") }).await.unwrap();
    assert_eq!(list.len(), 10);
    assert!(list.iter().any(|finding| finding.seen.contains("never asked")));
    assert_eq!(app.sandbox.stats(ace.number).requests, before);
}

#[tokio::test]
async fn reading_tells_the_answers_of_each_switch_and_no_names_or_numbers() {
    for (switches, at_its_own) in [
        (json!({}), "after its own instant: not found"),
        (json!({"after_inclusive": true}), "after its own instant: found"),
        (json!({"hidden_fractions": true}), "after its own instant: found"),
    ] {
        let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
        for _ in 0..3 {
            ace.closed_job(&app);
        }
        app.switch(&ace, switches);
        let before = app.everything_stored().await;
        let found = app.run(probe("Ace Plumbing")).await.unwrap();
        assert_eq!(app.everything_stored().await, before, "it decides nothing");
        let text = found
            .iter()
            .map(|finding| format!("{}: {}", finding.question, finding.seen))
            .collect::<Vec<_>>()
            .join("\n");
        assert!(text.contains(at_its_own), "{text}");
        assert!(text.contains("asked for 2026-07-27: HTTP 200"), "{text}");
        assert!(text.contains("0 with a fraction") && text.contains("3 of 3 rows share"), "{text}");
        assert!(text.contains("3 rows read of 3, 0 came twice"), "{text}");
        for private in ["John", "Smith", "5551234567", "Heater", "Z2lk"] {
            assert!(!text.contains(private), "{private}: {text}");
        }
    }
}

#[tokio::test]
async fn a_newer_version_can_be_tried() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.switch(&ace, json!({"version_gone": true}));
    let version = Some("2026-09-25".to_owned());
    let found = app.run(Probe { api_version: version, ..probe("Ace Plumbing") }).await.unwrap();
    assert!(found[0].seen.contains("asked for 2026-09-25: HTTP 404"), "{found:?}");
    assert!(found[0].seen.contains("does not exist"), "{found:?}");
}

#[tokio::test]
async fn named_records_are_written_and_put_back() {
    for clears in [true, false] {
        let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
        app.switch(&ace, json!({"reopen_clears_completed_at": clears}));
        let job = ace.closed_job(&app);
        let company = json!({"companyName": "Oak Street Dental", "isCompany": true});
        let client = ace.customer_with(&app, company);
        app.pass(minutes(1));
        let ask =
            Probe { job: Some(job.id.to_string()), client: Some(client.id.clone()), ..probe("Ace Plumbing") };
        let found = app.run(ask).await.unwrap();
        let [reopened, cleared] = &found[found.len() - 2..] else { panic!("{found:?}") };
        assert_eq!(reopened.seen.contains("completedAt null"), clears, "{reopened:?}");
        assert_eq!(cleared.seen, "the field is null afterwards; it was put back");
        let query = "query ($j: EncodedId!, $c: EncodedId!) { job(id: $j) { completedAt } client(id: $c) { companyName } }";
        let data =
            app.sandbox.graphql(ace.number, query, json!({"j": job.id, "c": client.id}))["data"].clone();
        assert!(!data["job"]["completedAt"].is_null());
        assert_eq!(data["client"]["companyName"], "Oak Street Dental");
    }
    // An open job is not touched.
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    ace.closed_job(&app);
    let customer = ace.customer(&app);
    let open = ace.job(&app, &customer, "Mowing", &[]);
    let ask = Probe { job: Some(open.id.to_string()), ..probe("Ace Plumbing") };
    assert!(matches!(app.run(ask).await, Err(OpError::Refused(_))));
    assert!(!app.sandbox.stats(ace.number).operations.contains_key("JobReopen"));
}
