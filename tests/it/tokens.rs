//! Refreshing, rotation, and connections that end.

use jobber_reviewd::testing::model::{Connection, EncodedId, LostReason, Trigger, WorkRef};
use jobber_reviewd::testing::{Effect, SweepOutcome, WorkDetails, no_progress};
use jobber_sandbox::{FaultKind, Op};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::support::*;

fn lost(app: &TestApp, contractor: &Contractor) -> Option<LostReason> {
    match now(app.context.store.account(&contractor.id)).unwrap().unwrap().connection {
        Connection::Connected | Connection::Disconnected { .. } => None,
        Connection::NeedsAuthorization { reason, .. } => Some(reason),
    }
}

#[tokio::test]
async fn a_token_is_refreshed_before_it_runs_out_and_rotates() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    let first = app.context.store.tokens(&ace.id).await.unwrap().unwrap().tokens;
    app.pass(minutes(54));
    app.sweep().await;
    assert_eq!(app.sandbox.stats(ace.number).refreshes, 0);
    app.pass(minutes(2));
    app.sweep().await;
    let stats = app.sandbox.stats(ace.number);
    assert_eq!((stats.refreshes, stats.spent_refresh_uses), (1, 0));
    let second = app.context.store.tokens(&ace.id).await.unwrap().unwrap().tokens;
    assert_ne!(first.refresh.expose_secret(), second.refresh.expose_secret());
    for _ in 0..30 {
        app.pass(minutes(40));
        app.sweep().await;
    }
    assert_eq!(app.sandbox.stats(ace.number).spent_refresh_uses, 0);
    assert_eq!(lost(&app, &ace), None);
}

#[tokio::test]
async fn without_rotation_the_same_refresh_token_is_kept() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.switch(&ace, json!({"rotation": false}));
    for _ in 0..3 {
        app.pass(hours(2));
        app.sweep().await;
    }
    assert_eq!(app.sandbox.stats(ace.number).refreshes, 3);
}

/// A token that ran out is answered as a missing one is: HTTP 200, hidden data, and a code that tells it from a missing scope.
#[tokio::test]
async fn a_token_that_hides_everything_is_refreshed() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.fault(&ace, FaultKind::Unauthenticated, 1, None);
    app.pass(minutes(10));
    app.sweep().await;
    assert_eq!(app.sandbox.stats(ace.number).refreshes, 1);
    assert_eq!(lost(&app, &ace), None);
}

#[tokio::test]
async fn ten_at_once_refresh_once() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(hours(2));
    let work = WorkRef::job(EncodedId::new("bm9uZQ=="));
    let details = WorkDetails { work: &work };
    let reads = (0..10).map(|_| app.context.session.run(&ace.id, &details));
    for read in futures_util::future::join_all(reads).await {
        assert!(read.unwrap().data.is_none());
    }
    let stats = app.sandbox.stats(ace.number);
    assert_eq!((stats.refreshes, stats.spent_refresh_uses), (1, 0));
}

#[tokio::test]
async fn a_token_that_ran_out_early_is_replaced_in_the_middle_of_a_sweep() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.sandbox.control(Op::ExpireTokens { account: ace.number }).unwrap();
    app.sweep().await;
    assert_eq!(app.sandbox.stats(ace.number).refreshes, 1);
    assert_eq!(lost(&app, &ace), None);
}

#[tokio::test]
async fn an_outage_of_the_token_endpoint_costs_no_grant() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    for kind in [
        FaultKind::Http { status: 500, retry_after: None },
        FaultKind::Http { status: 401, retry_after: None },
        FaultKind::Http { status: 429, retry_after: Some("30".into()) },
        FaultKind::WaitingRoom,
        FaultKind::Nonsense,
        FaultKind::Reset,
    ] {
        app.fault(&ace, kind.clone(), 1, Some("token"));
        app.pass(hours(2));
        let report = app.once().await;
        assert_eq!(report.errors.len(), 1, "{kind:?}");
        assert_eq!(lost(&app, &ace), None, "{kind:?}");
        app.sweep().await;
    }
}

#[tokio::test]
async fn a_wrong_client_secret_costs_no_grant_and_names_the_key() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    let app = app.restart_with_client_secret("rolled").await;
    app.pass(hours(2));
    let report = app.once().await;
    assert!(report.errors[0].error.contains("jobber.client_id"), "{}", report.errors[0].error);
    assert_eq!(lost(&app, &ace), None);
    let app = app.restart().await;
    app.sweep().await;
}

#[tokio::test]
async fn a_refused_refresh_token_pauses_its_account_and_nobody_else() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    let green = app.contractor("Green Acre");
    app.connect(&green, Trigger::JobCompleted).await;
    app.sandbox.control(Op::RevokeTokens { account: ace.number }).unwrap();
    app.pass(hours(2));
    let report = app.once().await;
    assert_eq!(report.errors.len(), 1);
    assert_eq!(lost(&app, &ace), None, "a refusal can be an accident");
    app.pass(minutes(6));
    app.once().await;
    assert_eq!(lost(&app, &ace), Some(LostReason::RefreshTokenRefused));
    assert_eq!(lost(&app, &green), None);

    let before = app.sandbox.stats(ace.number);
    app.pass(hours(2));
    app.once().await;
    assert_eq!(app.sandbox.stats(ace.number), before, "Jobber is not bothered any more");
}

#[tokio::test]
async fn every_end_of_a_connection_is_told_apart() {
    for (op, expected) in [
        (Op::Disconnect { account: 0 }, LostReason::DisconnectedInJobber),
        (Op::CloseAccount { account: 0 }, LostReason::AccountInactive),
        (Op::RevokeTokens { account: 0 }, LostReason::RefreshTokenRefused),
    ] {
        for status in [401, 200, 403] {
            let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
            app.switch(&ace, json!({"inactive_status": status}));
            let account = ace.number;
            let op = match op {
                Op::Disconnect { .. } => Op::Disconnect { account },
                Op::CloseAccount { .. } => Op::CloseAccount { account },
                _ => Op::RevokeTokens { account },
            };
            app.sandbox.control(op).unwrap();
            app.once().await;
            app.pass(minutes(6));
            app.once().await;
            assert_eq!(lost(&app, &ace), Some(expected), "{status}");
        }
    }
}

/// Jobber rotated, and its answer never came: the one window that cannot be closed.
#[tokio::test]
async fn a_rotation_that_got_lost_is_mended_with_one_link_and_nobody_is_asked_twice() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(minutes(10));
    ace.closed_job(&app);
    app.sweep().await;
    let waiting = ace.closed_job(&app);
    app.pass(minutes(5));
    app.sweep().await;
    app.pass(hours(2));
    app.fault(&ace, FaultKind::ResetAfter, 1, Some("token"));
    let poller = &app.context.poller;
    let accounts = app.context.store.account_ids().await.unwrap();
    let swept = poller.poll_once(accounts, Effect::Apply, &no_progress).await.unwrap();
    assert!(matches!(swept[0].outcome, SweepOutcome::Failed(_)));
    assert_eq!(lost(&app, &ace), None, "a broken connection proves nothing");
    let report = app.once().await;
    assert_eq!(lost(&app, &ace), Some(LostReason::RefreshInterrupted), "and it is known why");
    assert_eq!(report.accounts[0].asked, 0);
    assert!(app.waits(&ace, &waiting), "what waits is kept");

    app.connect(&ace, Trigger::JobCompleted).await;
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 2);
    app.pass(hours(3));
    app.sweep().await;
    assert_eq!(app.receiver.got().len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn a_refresh_goes_on_when_whoever_waited_for_it_goes_away() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.pass(hours(2));
    app.fault(&ace, FaultKind::Hang { ms: 300 }, 1, Some("token"));
    let work = WorkRef::job(EncodedId::new("bm9uZQ=="));
    let details = WorkDetails { work: &work };
    let read = app.context.session.run(&ace.id, &details);
    // Cut off while Jobber makes up its mind.
    let cut = tokio::time::timeout(std::time::Duration::from_millis(50), read).await;
    assert!(cut.is_err());
    let app = app.restart().await;
    app.sweep().await;
    let stats = app.sandbox.stats(ace.number);
    assert_eq!((stats.refreshes, stats.spent_refresh_uses), (1, 0));
    assert_eq!(lost(&app, &ace), None);
}

#[tokio::test]
async fn a_401_that_does_not_go_away_is_no_end_of_a_connection() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.fault(&ace, FaultKind::Http { status: 401, retry_after: None }, 2, Some("Jobs"));
    let report = app.once().await;
    assert_eq!(report.errors.len(), 1);
    assert_eq!(lost(&app, &ace), None, "the refresh in between showed that the grant lives");
    app.sweep().await;
}

#[tokio::test]
async fn an_authorisation_that_comes_in_between_is_not_undone_by_an_old_answer() {
    let (app, ace) = TestApp::connected(Trigger::JobCompleted).await;
    app.fault(&ace, FaultKind::Hang { ms: 300 }, 1, Some("Jobs"));
    let poller = std::sync::Arc::clone(&app.context.poller);
    let accounts = app.context.store.account_ids().await.unwrap();
    let sweep = tokio::spawn(async move { poller.poll_once(accounts, Effect::Apply, &no_progress).await });
    app.operation_begins(&ace, "Jobs").await;
    // While Jobber thinks, the app is disconnected and connected anew; the old token's answer comes after that.
    app.sandbox.control(Op::Disconnect { account: ace.number }).unwrap();
    app.connect(&ace, Trigger::JobCompleted).await;
    sweep.await.unwrap().unwrap();
    assert_eq!(lost(&app, &ace), None);
    app.sweep().await;
}

/// Jobber refuses every refresh token for an hour: nobody is called lost, one alert tells, and all goes on by itself.
#[tokio::test]
async fn an_incident_at_jobber_loses_no_account() {
    let app = TestApp::start().await;
    let all: Vec<_> = (0..4).map(|number| app.contractor(&format!("Contractor {number}"))).collect();
    for contractor in &all {
        app.connect(contractor, Trigger::JobCompleted).await;
    }
    for contractor in &all {
        app.sandbox.control(Op::ExpireTokens { account: contractor.number }).unwrap();
        app.fault(contractor, FaultKind::RefreshRefused, 100, Some("token"));
    }
    let mut told = Vec::new();
    for _ in 0..9 {
        app.pass(minutes(8));
        app.once().await;
        told.extend(app.context.notifier.notify_once().await.unwrap());
    }
    assert!(all.iter().all(|contractor| lost(&app, contractor).is_none()));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].summary.contains("of 4 accounts at once"), "{told:?}");
    for contractor in &all {
        app.sandbox.control(Op::ClearFaults { account: contractor.number }).unwrap();
    }
    app.pass(minutes(8));
    app.sweep().await;
}
