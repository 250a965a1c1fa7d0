//! What the operator is told: each trouble once, and its end once.

use jobber_reviewd::testing::model::Trigger;
use jobber_reviewd::testing::protocol::{AccountSet, AlertsTest, Doctor, QueueDrop, QueueRetry, Status};
use jobber_reviewd::testing::{Check, CheckState};
use jobber_sandbox::{FaultKind, Op};
use serde_json::{Value, json};

use crate::support::*;

/// An app whose operator listens, and a contractor.
async fn listened_to() -> (TestApp, Contractor, Receiver) {
    let operator = Receiver::start().await;
    let url = operator.url();
    let app = TestApp::start_with(|config| {
        config.alerts.webhook_url = Some(serde_json::from_value(json!(url)).unwrap());
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    app.pass(minutes(10));
    app.sweep().await;
    (app, ace, operator)
}

/// So many sweeps and looks, five minutes apart.
async fn live(app: &TestApp, times: u32) {
    for _ in 0..times {
        app.once().await;
        app.context.notifier.notify_once().await.unwrap();
        app.pass(minutes(5));
    }
}

/// What the operator was told, in short: what of which kind.
fn told(operator: &Receiver) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    operator.got().iter().map(|got| (text(&got.json()["type"]), text(&got.json()["kind"]))).collect()
}

fn raised_and_over(kind: &str) -> Vec<(String, String)> {
    vec![("alert.raised".into(), kind.into()), ("alert.recovered".into(), kind.into())]
}

#[tokio::test]
async fn all_is_well_and_nobody_is_told_anything() {
    let (app, ace, operator) = listened_to().await;
    ace.closed_job(&app);
    live(&app, 50).await;
    assert_eq!(operator.got().len(), 0);
    app.finish().await;
}

#[tokio::test]
async fn a_lost_connection_comes_with_a_link_and_its_end_with_what_it_held_up() {
    let (app, ace, operator) = listened_to().await;
    app.sandbox.control(Op::Disconnect { account: ace.number }).unwrap();
    live(&app, 10).await;
    let got = operator.got();
    assert_eq!(told(&operator), raised_and_over("connection_lost")[..1]);
    let alert = got[0].json();
    assert_eq!(alert["account"]["id"], json!(ace.id));
    assert!(alert["summary"].as_str().unwrap().contains("disconnected in Jobber"), "{alert}");
    let link = alert["link"].as_str().unwrap().to_owned();
    assert!(!app.everything_stored().await.contains(link.rsplit('/').next().unwrap()));

    let late = ace.closed_job(&app);
    app.pass(hours(5));
    // The very link of the alert mends it.
    let token = secrecy::SecretString::from(link.rsplit('/').next().unwrap().to_owned());
    let browser = jobber_reviewd::testing::random().unwrap();
    let jobber = app.context.onboarding.begin(&token, &browser, Trigger::JobCompleted).await.unwrap();
    let state = jobber.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let code = app.sandbox.control(Op::MarketplaceCode { account: ace.number }).unwrap();
    let code = code["code"].as_str().unwrap().to_owned();
    app.context.onboarding.finish(&state.into(), &code.into(), &browser).await.unwrap();
    app.context.notifier.notify_once().await.unwrap();
    assert_eq!(operator.got().len(), 1, "it is not read yet");
    live(&app, 10).await;
    assert_eq!(told(&operator), raised_and_over("connection_lost"));
    let end = operator.got()[1].json();
    assert_eq!((&end["late"], &end["missed"]), (&json!(1), &json!(0)), "{end}");
    assert!(app.receiver.got()[0].json()["job"]["id"] == json!(late.id));
}

#[tokio::test]
async fn an_outage_is_told_when_it_does_not_heal_at_once() {
    let (app, ace, operator) = listened_to().await;
    let down = FaultKind::Http { status: 503, retry_after: None };
    app.fault(&ace, down.clone(), 3, None);
    live(&app, 6).await;
    assert_eq!(operator.got().len(), 0, "a quarter of an hour heals by itself");
    app.fault(&ace, down, 20, None);
    live(&app, 30).await;
    assert_eq!(told(&operator), raised_and_over("jobber_unreachable"));
    assert!(operator.got()[0].json()["action"].as_str().unwrap().contains("goes away by itself"));
}

#[tokio::test]
async fn what_only_the_operator_can_mend_is_told_with_what_to_do() {
    let (app, ace, operator) = listened_to().await;
    app.switch(&ace, json!({"hidden_fields": ["Query.jobs"]}));
    live(&app, 10).await;
    app.switch(&ace, json!({"hidden_fields": []}));
    live(&app, 3).await;
    assert_eq!(told(&operator), raised_and_over("needs_operator"));
    assert!(operator.got()[0].json()["action"].as_str().unwrap().contains("have an account admin connect"));
}

#[tokio::test]
async fn a_receiver_in_trouble_is_told_once_and_not_for_each_ask() {
    for (answers, kind) in [(vec![500; 12], "receiver_failing"), (vec![410], "receiver_gone")] {
        let (app, ace, operator) = listened_to().await;
        for _ in 0..3 {
            ace.closed_job(&app);
        }
        app.once().await;
        app.pass(hours(2));
        app.receiver.answers(&answers);
        live(&app, 12).await;
        assert_eq!(told(&operator), raised_and_over(kind)[..1]);
        if kind == "receiver_gone" {
            let ask = app.context.store.entries().await.unwrap().remove(0).id;
            app.run(QueueRetry { id: ask }).await.unwrap();
        }
        live(&app, 100).await;
        assert_eq!(told(&operator), raised_and_over(kind));
        assert!(operator.got()[1].json()["late"].as_u64().unwrap() >= 1);
        app.finish_with_repeats().await;
    }
}

#[tokio::test]
async fn dead_letters_are_told_until_somebody_has_looked_after_them() {
    let (app, ace, operator) = listened_to().await;
    ace.closed_job(&app);
    app.once().await;
    app.pass(hours(2));
    app.receiver.answers(&[422]);
    live(&app, 10).await;
    let ask = app.context.store.entries().await.unwrap().remove(0).id;
    app.run(QueueDrop { id: ask }).await.unwrap();
    live(&app, 3).await;
    assert_eq!(told(&operator), raised_and_over("dead_letters"));
}

#[tokio::test]
async fn an_account_that_fell_silent_is_told_of() {
    let (app, ace, operator) = listened_to().await;
    for _ in 0..25 {
        app.pass(hours(40));
        ace.closed_job(&app);
        app.once().await;
        app.context.notifier.notify_once().await.unwrap();
    }
    app.pass(hours(3));
    live(&app, 3).await;
    assert_eq!(operator.got().len(), 0);
    for _ in 0..8 {
        app.pass(hours(24));
        live(&app, 1).await;
    }
    assert_eq!(told(&operator), raised_and_over("no_work")[..1]);
    let summary = operator.got()[0].json()["summary"].as_str().unwrap().to_owned();
    assert!(summary.contains("usually finishes 4 pieces of work a week"), "{summary}");
    ace.closed_job(&app);
    live(&app, 30).await;
    assert_eq!(told(&operator), raised_and_over("no_work"));
}

#[tokio::test]
async fn limits_of_the_app_and_of_the_api_are_told_before_they_are_reached() {
    let operator = Receiver::start().await;
    let url = operator.url();
    let app = TestApp::start_with(|config| {
        config.alerts.webhook_url = Some(serde_json::from_value(json!(url)).unwrap());
        config.jobber.draft_app = true;
    })
    .await;
    for number in 0..4 {
        live(&app, 2).await;
        assert_eq!(operator.got().len(), 0);
        let contractor = app.contractor(&format!("Contractor {number}"));
        app.connect(&contractor, Trigger::JobCompleted).await;
    }
    live(&app, 5).await;
    assert_eq!(told(&operator), raised_and_over("draft_app")[..1]);
    let status = app.run(Status {}).await.unwrap();
    assert_eq!(status.draft_limit, Some(5));
    assert_eq!(status.alerts.len(), 1);

    let near = status.api_supported_until - hours(24 * 59);
    app.pass(near.duration_since(app.clock_now()));
    live(&app, 5).await;
    let told = told(&operator);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[1], ("alert.raised".into(), "api_version".into()));
}

#[tokio::test]
async fn an_alert_that_was_not_taken_is_told_again_under_its_id_also_after_a_restart() {
    let (app, ace, operator) = listened_to().await;
    operator.answers(&[500, 500]);
    app.sandbox.control(Op::Disconnect { account: ace.number }).unwrap();
    live(&app, 1).await;
    let app = app.restart().await;
    live(&app, 5).await;
    let ids = operator.ids();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| id.starts_with("alr_") && *id == ids[0]), "{ids:?}");
    let links: Vec<_> = operator.got().iter().map(|got| got.json()["link"].clone()).collect();
    assert!(links.iter().all(Value::is_string), "{links:?}");
}

#[tokio::test]
async fn a_command_gets_the_alert_on_its_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alerts");
    let script = format!("cat >> {0}; echo >> {0}", file.display());
    let app = TestApp::start_with(|config| {
        config.alerts.command = vec!["sh".into(), "-c".into(), script];
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    app.sandbox.control(Op::Disconnect { account: ace.number }).unwrap();
    live(&app, 3).await;
    let text = std::fs::read_to_string(&file).unwrap();
    let alerts: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(alerts.len(), 1, "{text}");
    assert_eq!(alerts[0]["kind"], "connection_lost");
}

#[tokio::test]
async fn slack_gets_sentences_and_the_end_says_what_works_again() {
    let operator = Receiver::start().await;
    let url = operator.url();
    let app = TestApp::start_with(|config| {
        config.alerts.webhook_url = Some(serde_json::from_value(json!(url)).unwrap());
        config.alerts.format = serde_json::from_value(json!("slack")).unwrap();
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    app.sweep().await;
    app.sandbox.control(Op::Disconnect { account: ace.number }).unwrap();
    live(&app, 3).await;
    let text = |number: usize| operator.got()[number].json()["text"].as_str().unwrap().to_owned();
    assert!(text(0).starts_with("Trouble: Ace Plumbing is no longer connected: "), "{}", text(0));
    assert!(text(0).contains("/connect/"), "{}", text(0));
    app.connect(&ace, Trigger::JobCompleted).await;
    live(&app, 3).await;
    assert!(text(1).starts_with("Over: Ace Plumbing is connected again."), "{}", text(1));
    app.finish().await;
}

#[tokio::test]
async fn a_channel_can_be_tried_and_one_that_fails_is_named() {
    let (app, ace, operator) = listened_to().await;
    let checks = app.run(AlertsTest {}).await.unwrap();
    assert_eq!(checks.len(), 1);
    assert_eq!(operator.got()[0].json()["type"], "alert.test");
    assert_eq!(app.run(Status {}).await.unwrap().alerts_fail, None);
    operator.answers(&[500; 8]);
    app.sandbox.control(Op::Disconnect { account: ace.number }).unwrap();
    live(&app, 2).await;
    let fails = app.run(Status {}).await.unwrap().alerts_fail;
    assert_eq!(fails.as_deref(), Some("alerts.webhook_url: HTTP 500"));
    operator.answers(&[]);
    live(&app, 1).await;
    assert_eq!(app.run(Status {}).await.unwrap().alerts_fail, None);

    let deaf = TestApp::start().await;
    let refused = deaf.run(AlertsTest {}).await.unwrap_err();
    assert!(refused.to_string().contains("nobody gets alerts"), "{refused}");
}

/// A mail server that refuses the first so many mails and takes the others; the mails that it took.
async fn mail_server(refuses: usize) -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

    let listener = tokio::net::TcpListener::bind(local()).await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let mails = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let taken = std::sync::Arc::clone(&mails);
    tokio::spawn(async move {
        let mut left = refuses;
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            write.write_all(b"220 here\r\n").await.unwrap();
            while let Ok(Some(line)) = lines.next_line().await {
                let answer = match line.split(' ').next().unwrap() {
                    "DATA" if left > 0 => {
                        left -= 1;
                        "451 come again"
                    }
                    "DATA" => {
                        write.write_all(b"354 go on\r\n").await.unwrap();
                        let mut mail = String::new();
                        while let Ok(Some(line)) = lines.next_line().await {
                            if line == "." {
                                break;
                            }
                            mail.push_str(&line);
                            mail.push('\n');
                        }
                        taken.lock().unwrap().push(mail);
                        "250 taken"
                    }
                    "QUIT" => "221 bye",
                    _ => "250 fine",
                };
                if write.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    });
    (url, mails)
}

#[tokio::test]
async fn mails_tell_the_same_and_the_other_channels_hear_it_once() {
    let (server, mails) = mail_server(2).await;
    let operator = Receiver::start().await;
    let url = operator.url();
    let app = TestApp::start_with(|config| {
        config.alerts.webhook_url = Some(serde_json::from_value(json!(url)).unwrap());
        config.alerts.mail = serde_json::from_value(
            json!({"server": server, "from": "Reviews <reviews@example.com>", "to": ["ops@example.com", "boss@example.com"]}),
        )
        .unwrap();
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    app.pass(minutes(10));
    app.sweep().await;
    app.sandbox.control(Op::Disconnect { account: ace.number }).unwrap();
    live(&app, 1).await;
    let fails = app.run(Status {}).await.unwrap().alerts_fail.unwrap();
    assert!(fails.starts_with("alerts.mail: ") && fails.contains("451"), "{fails}");
    live(&app, 4).await;
    assert_eq!(app.run(Status {}).await.unwrap().alerts_fail, None);
    assert_eq!(operator.got().len(), 1, "the webhook took it the first time");
    let mail = mails.lock().unwrap().join("=====");
    assert_eq!(mail.matches("Message-ID: <alr_").count(), 1, "{mail}");
    for said in [
        "Subject: Trouble: Ace Plumbing is no longer connected: the app was disconnected in Jobber.",
        "From: Reviews <reviews@example.com>",
        "To: ops@example.com, boss@example.com",
        "To do: send the contractor a new link",
    ] {
        assert!(mail.replace("\n ", " ").contains(said), "{said}: {mail}");
    }
    let checks = app.run(AlertsTest {}).await.unwrap();
    assert_eq!(checks.len(), 2);
    assert_eq!(on_alerts(&app).await.state, CheckState::Fine);
    assert!(mails.lock().unwrap().last().unwrap().contains("nothing is wrong"));
}

#[tokio::test]
async fn a_contractor_gets_the_own_week_by_mail_once() {
    // The operator's mail is taken, the first contractor's is not.
    let (server, mails) = mail_server(1).await;
    let app = TestApp::start_with(|config| {
        config.alerts.mail = serde_json::from_value(
            json!({"server": server, "from": "reviews@example.com", "to": ["ops@example.com"]}),
        )
        .unwrap();
        config.alerts.digest = Some(serde_json::from_value(json!("monday 08:00")).unwrap());
        config.brand.contact = Some("help@example.com".to_owned());
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    let bright = app.contractor("Bright Windows");
    app.connect(&bright, Trigger::JobCompleted).await;
    let to = |address: &str| {
        let set = [("digest_to".to_owned(), json!([address]))].into();
        AccountSet { account: "Ace Plumbing".into(), set, unset: vec![], body: None, secret: None }
    };
    let refused = app.run(to("nobody")).await.unwrap_err();
    assert!(refused.to_string().contains("`nobody` is not an address"), "{refused}");
    app.run(to("Ann <ann@ace.example.com>")).await.unwrap();
    app.context.notifier.digest_once().await.unwrap();
    ace.closed_job(&app);
    app.pass(minutes(10));
    app.sweep().await;
    app.pass(hours(2));
    app.sweep().await;
    app.pass(hours(6 * 24));
    let told = async || app.context.notifier.digest_once().await.unwrap();
    assert!(!told().await, "the server refused the operator's mail");
    assert!(told().await && !told().await);
    let mails = mails.lock().unwrap();
    assert_eq!(mails.len(), 2, "{mails:?}");
    assert!(mails[0].contains("To: ops@example.com") && mails[0].contains("Bright Windows"), "{}", mails[0]);
    let own = &mails[1];
    for said in [
        "ann@ace.example.com",
        "Subject: Ace Plumbing: the week's review requests",
        "1 work was finished, 1 customer was asked for a review, 0 reviews came in.",
        "Questions: help@example.com",
    ] {
        assert!(own.contains(said), "{said}: {own}");
    }
    assert!(!own.contains("Bright"), "{own}");
}

#[tokio::test]
async fn the_week_is_told_once_at_its_time_and_never_the_week_before_the_first() {
    let operator = Receiver::start().await;
    let url = operator.url();
    let app = TestApp::start_with(|config| {
        config.alerts.webhook_url = Some(serde_json::from_value(json!(url)).unwrap());
        config.alerts.digest = Some(serde_json::from_value(json!("monday 08:00")).unwrap());
        config.review.window.timezone = serde_json::from_value(json!("America/New_York")).unwrap();
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    let told = async |app: &TestApp| app.context.notifier.digest_once().await.unwrap();
    assert!(!told(&app).await, "there was no week before");
    app.pass(minutes(10));
    ace.closed_job(&app);
    app.sweep().await;
    app.pass(hours(2));
    app.sweep().await;
    assert!(!told(&app).await);
    // The clock of the tests begins on a Tuesday: the next Monday is at most six days away.
    app.pass(hours(6 * 24));
    operator.answers(&[500, 500]);
    assert!(!told(&app).await, "the channel failed");
    app.pass(hours(30));
    assert!(!told(&app).await, "it is not given up after a day");
    assert!(told(&app).await);
    assert!(!told(&app).await, "once");
    let got = operator.got();
    assert_eq!((got.len(), got[0].id()), (3, got[2].id()), "under one id");
    let digest = got[2].json();
    assert_eq!(digest["type"], "digest");
    assert_eq!(digest["to"], "2026-03-16T12:00:00Z");
    assert_eq!(digest["from"], "2026-03-09T12:00:00Z");
    assert_eq!(
        digest["totals"],
        json!({"accounts": 1, "finished": 1, "asked": 1, "delivered": 1, "reviewed": 0, "dead": 0})
    );
    assert_eq!(
        (&digest["accounts"][0]["name"], &digest["accounts"][0]["to_do"]),
        (&json!("Ace Plumbing"), &json!([]))
    );

    // A clock that is three years ahead for a moment tells its week once, and costs no other week its digest.
    let before = app.clock_now();
    app.clock.advance(hours(3 * 365 * 24));
    assert!(told(&app).await && !told(&app).await);
    app.clock.set(before);
    assert!(!told(&app).await, "its time has not come");

    // After a restart it is not told again; after two weeks off, only the last week is.
    let app = app.restart().await;
    assert!(!told(&app).await);
    app.pass(hours(16 * 24));
    assert!(told(&app).await && !told(&app).await);
    assert_eq!(operator.got().len(), 5);
}

#[tokio::test]
async fn who_heard_of_a_trouble_hears_of_its_end_and_of_its_return_though_another_channel_is_deaf() {
    let (server, _) = mail_server(usize::MAX).await;
    let operator = Receiver::start().await;
    let url = operator.url();
    let app = TestApp::start_with(|config| {
        config.alerts.webhook_url = Some(serde_json::from_value(json!(url)).unwrap());
        let mail = json!({"server": server, "from": "a@example.com", "to": ["b@example.com"]});
        config.alerts.mail = serde_json::from_value(mail).unwrap();
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, Trigger::JobCompleted).await;
    app.pass(minutes(10));
    app.fault(&ace, FaultKind::Reset, 10_000, None);
    live(&app, 10).await;
    assert_eq!(told(&operator), raised_and_over("jobber_unreachable")[..1]);
    app.sandbox.control(Op::ClearFaults { account: ace.number }).unwrap();
    live(&app, 3).await;
    assert_eq!(told(&operator), raised_and_over("jobber_unreachable"));
    app.fault(&ace, FaultKind::Reset, 10_000, None);
    live(&app, 10).await;
    let got = told(&operator);
    assert_eq!(got.last(), Some(&("alert.raised".to_owned(), "jobber_unreachable".to_owned())), "{got:?}");
    assert_eq!(got.len(), 3, "{got:?}");
}

/// What the doctor says about them.
async fn on_alerts(app: &TestApp) -> Check {
    let checks = app.run(Doctor {}).await.unwrap();
    checks.into_iter().find(|check| check.name == "alerts").unwrap()
}

#[tokio::test]
async fn who_gets_only_mails_is_told_of_trouble() {
    let (server, _) = mail_server(0).await;
    let app = TestApp::start_with(|config| {
        let mail = json!({"server": server, "from": "a@example.com", "to": ["b@example.com"]});
        config.alerts.mail = serde_json::from_value(mail).unwrap();
    })
    .await;
    assert_eq!(on_alerts(&app).await.state, CheckState::Fine);
}

#[tokio::test]
async fn a_password_that_cannot_be_read_keeps_nothing_but_mail_from_working() {
    let app = TestApp::start_with(|config| {
        let mail = json!({"server": "smtps://mail.example.com", "user": "me", "from": "a@example.com", "to": ["b@example.com"]});
        config.alerts.mail = serde_json::from_value(mail).unwrap();
    })
    .await;
    let checks = app.run(AlertsTest {}).await.unwrap();
    let said = serde_json::to_string(&checks).unwrap();
    assert!(said.contains("alerts.mail.password_file: the secret is missing"), "{said}");
    let check = on_alerts(&app).await;
    assert!(check.state == CheckState::Failed && check.detail.contains("the secret is missing"), "{check:?}");
}
