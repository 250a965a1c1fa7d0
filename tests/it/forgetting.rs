//! A customer wants to be forgotten, or to know what is kept.

use jobber_reviewd::testing::model::Trigger;
use jobber_reviewd::testing::protocol::{Explain, ExportPerson, Forget, QueueList};

use crate::support::*;

#[tokio::test]
async fn a_customer_is_shown_what_is_kept_and_then_forgotten_for_good() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(minutes(10));
    let customer = ace.customer(&app);
    let close_one = async |title: &str| {
        let job = ace.job(&app, &customer, title, &[]);
        ace.close(&app, &job);
        app.sweep().await;
        app.pass(hours(2));
        app.sweep().await;
        job
    };
    let job = close_one("Drain Cleaning").await;
    assert_eq!(app.receiver.ids().len(), 1);

    let what = "(555) 123-4567".to_owned();
    let kept = app.run(ExportPerson { what: what.clone(), account: None }).await.unwrap();
    assert_eq!(kept.decisions.len(), 1);
    assert_eq!(kept.decisions[0].decision.subject.client_name.as_deref(), Some("John Smith"));
    assert_eq!(kept.asked.len(), 1);
    let forget = |write| Forget { what: what.clone(), account: None, write };
    let told = app.run(forget(false)).await.unwrap();
    assert!(!told.erased && told.names.contains("John Smith"), "{told:?}");
    assert_eq!(app.run(ExportPerson { what: what.clone(), account: None }).await.unwrap(), kept);

    let told = app.run(forget(true)).await.unwrap();
    assert!(told.erased && told.decisions == 1 && told.under_way == 0, "{told:?}");
    let nothing = app.run(ExportPerson { what: what.clone(), account: None }).await.unwrap_err();
    assert!(nothing.to_string().contains("they were forgotten on"), "{nothing}");
    let explain = |what: &str| app.run(Explain { what: what.to_owned(), render: false });
    assert_eq!(explain("Smith").await.unwrap(), []);
    assert_eq!(explain(job.id.as_str()).await.unwrap().len(), 1, "that there was an ask stays known");

    // Longer than any cooldown: only the note keeps John from being asked.
    app.pass(hours(200 * 24));
    let job = close_one("Water Heater").await;
    assert_eq!(app.receiver.ids().len(), 1);
    let explained = explain(job.id.as_str()).await.unwrap();
    let decision = serde_json::to_string(&explained[0].decision).unwrap();
    assert!(decision.contains("suppressed"), "{decision}");
    for telling in ["Smith", "123", "john@", "Water Heater"] {
        assert!(!decision.contains(telling), "{telling} in {decision}");
    }
    assert_eq!(app.run(QueueList {}).await.unwrap(), []);
}

#[tokio::test]
async fn whoever_cannot_be_meant_is_refused_with_the_remedy() {
    let (app, _) = TestApp::connected(Trigger::JobCompleted).await;
    let refused =
        app.run(Forget { what: "John Smith".to_owned(), account: None, write: true }).await.unwrap_err();
    assert!(refused.to_string().contains("give a phone number, an e-mail address"), "{refused}");
}
