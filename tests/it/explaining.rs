//! Why a customer was or was not asked, by whatever people call them.

use jobber_reviewd::testing::model::Trigger;
use jobber_reviewd::testing::protocol::Explain;

use crate::support::*;

#[tokio::test]
async fn explain_finds_a_decision_by_everything_people_ask_with() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(minutes(10));
    let customer = ace.customer(&app);
    let job = ace.job(&app, &customer, "Drain Cleaning", &[]);
    ace.close(&app, &job);
    app.sweep().await;
    app.pass(hours(2));
    app.sweep().await;
    let ask = app.receiver.ids()[0].clone();
    let words = [
        "John Smith",
        "smith",
        "555-123-4567",
        "john@example.com",
        "#1",
        "1",
        &customer.id,
        job.id.as_str(),
        &ask,
    ];
    for what in words {
        let request = Explain { what: what.to_owned(), render: false };
        assert_eq!(app.run(request).await.unwrap().len(), 1, "{what}");
    }
    let request = Explain { what: "Mrs Jones".to_owned(), render: false };
    assert_eq!(app.run(request).await.unwrap(), []);
}
