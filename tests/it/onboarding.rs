//! What stops people from connecting, and what keeps an app from reading, said in words that help.

use jobber_reviewd::testing::model::{LinkBrand, Trigger};
use jobber_reviewd::testing::protocol::{AccountSet, LinkCreate, LinkList, Status};
use jobber_reviewd::testing::{Http, random};
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn a_missing_scope_is_named_as_the_developer_centre_names_it() {
    let app = TestApp::start().await;
    let ace = app.contractor("Ace Plumbing");
    app.switch(&ace, json!({"scopes": ["read_clients", "read_jobs"], "hidden_fields": ["Query.visits"]}));
    app.connect(&ace, Trigger::VisitCompleted).await;
    app.once().await;
    let status = app.run(Status {}).await.unwrap();
    let error = status.accounts[0].next_action.clone().unwrap();
    assert!(
        error.contains("the app lacks the scope Scheduled Items: read, Invoices: read, Users: read"),
        "{error}"
    );

    // Every scope is there, so it is the person's permission.
    let app = TestApp::start().await;
    let ace = app.contractor("Ace Plumbing");
    app.switch(&ace, json!({"hidden_fields": ["Query.visits"]}));
    app.connect(&ace, Trigger::VisitCompleted).await;
    app.once().await;
    let status = app.run(Status {}).await.unwrap();
    let error = status.accounts[0].next_action.clone().unwrap();
    assert!(error.contains("have an account admin connect"), "{error}");
}

#[tokio::test]
async fn a_link_whose_consent_page_just_closed_shows_as_waiting() {
    let app = TestApp::start().await;
    let create = |name: &str| LinkCreate {
        name: name.to_owned(),
        trigger: None,
        account: None,
        expires_seconds: 7 * 24 * 3600,
        brand: LinkBrand::default(),
    };
    let made = app.run(create("Ace")).await.unwrap();
    app.run(create("Bright")).await.unwrap();
    let token = made.url.rsplit('/').next().unwrap().to_owned().into();
    app.context.onboarding.begin(&token, &random().unwrap(), Trigger::JobCompleted).await.unwrap();
    let waiting = async || {
        let links = app.run(LinkList {}).await.unwrap();
        links
            .iter()
            .filter_map(|shown| shown.no_answer_since.map(|_| shown.link.label.clone()))
            .collect::<Vec<_>>()
    };
    app.pass(minutes(9));
    assert_eq!(waiting().await, [""; 0]);
    app.pass(minutes(1));
    assert_eq!(waiting().await, ["Ace"]);
    app.pass(hours(24 * 8));
    assert_eq!(waiting().await, [""; 0], "it is over anyhow");
}

#[tokio::test]
async fn a_link_that_nobody_can_use_is_refused_and_an_expired_one_says_so() {
    let app = TestApp::start().await;
    let create = LinkCreate {
        name: "Ace".into(),
        trigger: None,
        account: None,
        expires_seconds: 3600,
        brand: LinkBrand::default(),
    };
    for (wrong, said) in [
        (LinkCreate { name: " ".into(), ..create.clone() }, "a link needs a name"),
        (LinkCreate { expires_seconds: 0, ..create.clone() }, "expires at once"),
    ] {
        let refused = app.run(wrong).await.unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
    app.run(create).await.unwrap();
    assert!(!app.run(LinkList {}).await.unwrap()[0].is_expired);
    app.pass(hours(2));
    assert!(app.run(LinkList {}).await.unwrap()[0].is_expired);
}

#[tokio::test]
async fn the_connect_page_says_who_can_connect() {
    let app = TestApp::start().await;
    let create = LinkCreate {
        name: "Ace".into(),
        trigger: None,
        account: None,
        expires_seconds: 3600,
        brand: LinkBrand::default(),
    };
    let made = app.run(create).await.unwrap();
    let listener = tokio::net::TcpListener::bind(local()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(Http::new(listener, app.context()).run(stop));
    let path = made.url.split_once("/connect/").unwrap().1;
    let page =
        http().get(format!("http://{address}/connect/{path}")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("Nothing happened in Jobber?") && page.contains("Only an account admin"), "{page}");
}

#[tokio::test]
async fn a_contractor_with_recurring_jobs_is_advised_to_ask_after_visits() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    let customer = ace.customer(&app);
    for number in 0..6 {
        let job = ace.job(&app, &customer, "Weekly mowing", &[]);
        if number > 0 {
            ace.set(&app, job.id.as_str(), "jobType", json!("RECURRING"));
        }
    }
    app.sweep().await;
    let remarks = async || app.run(Status {}).await.unwrap().accounts[0].remarks.join("\n");
    assert!(
        remarks().await.contains("5 of the 6 jobs that changed last are recurring"),
        "{}",
        remarks().await
    );
    let set = [("trigger".to_owned(), json!("visit_completed"))].into();
    let account = ace.id.to_string();
    app.run(AccountSet { account, set, unset: vec![], body: None, secret: None }).await.unwrap();
    assert_eq!(remarks().await, "", "and not any more when it does");
}
