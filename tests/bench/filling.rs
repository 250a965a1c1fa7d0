//! Stores with connected accounts and work that is due.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::SignedDuration;
use jobber_reviewd::testing::model::{
    AccountId, Candidate, EncodedId, Link, LinkId, LinkState, Stream, Subject, Trigger, WorkRef,
};
use jobber_reviewd::testing::{
    Clock as _, Context, NewConnection, Plan, PlanCommit, Start, Store, SystemClock, Tokens,
};
use serde_json::json;

use crate::account;

/// Connects the sandbox's account.
pub(crate) async fn walk(context: &Context, sandbox: &jobber_sandbox::Sandbox, number: u64) {
    use jobber_reviewd::testing::{NewLink, random};
    use secrecy::ExposeSecret as _;

    let lives = SignedDuration::from_hours(1);
    let new =
        NewLink { label: "bench".into(), trigger: Trigger::JobCompleted, account: None, lives, brand: None };
    let (_, url) = context.onboarding.create_link(new).await.unwrap();
    let token = url.expose_secret().rsplit('/').next().unwrap().to_owned().into();
    let browser = random().unwrap();
    let jobber = context.onboarding.begin(&token, &browser, Trigger::JobCompleted).await.unwrap();
    let state = jobber.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let op = jobber_sandbox::Op::MarketplaceCode { account: number };
    let code = sandbox.control(op).unwrap()["code"].as_str().unwrap().to_owned();
    context.onboarding.finish(&state.into(), &code.into(), &browser).await.unwrap();
}

/// Connects accounts as the pages do, past Jobber.
pub(crate) async fn connect(store: Store, accounts: usize) {
    let now = SystemClock.now();
    let later = now + SignedDuration::from_hours(1000);
    let claims = URL_SAFE_NO_PAD
        .encode(json!({"exp": later.as_second(), "account_id": 430_114, "client_id": "bench"}).to_string());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..accounts {
        let (store, claims) = (store.clone(), claims.clone());
        tasks.spawn(async move {
            let name = |kind: &str| format!("{kind}{number}");
            let link = Link {
                id: LinkId::new(name("lnk_")),
                label: name("Contractor "),
                trigger: Trigger::JobCompleted,
                account: None,
                brand: None,
                created_at: now,
                expires_at: later,
                state: LinkState::Open,
            };
            store.put_link(&name("link"), link).await.unwrap();
            let start = Start {
                link: name("link"),
                state: name("state"),
                browser: "browser".into(),
                trigger: Trigger::JobCompleted,
                expires_at: later,
            };
            store.start_link(start, now).await.unwrap().unwrap();
            let pending = store.take_pending(&name("state"), "browser", now).await.unwrap().unwrap();
            let tokens = Tokens {
                access: format!("e30.{claims}.{number:064}").into(),
                refresh: format!("{number:032}").into(),
                expires_at: later,
                obtained_at: now,
            };
            let new = NewConnection {
                pending,
                account: account(number),
                name: name("Contractor "),
                tokens,
                at: now,
                now,
            };
            store.connect(new).await.unwrap().unwrap();
            // The look-back over the window was just made: what follows are idle sweeps.
            let commit = PlanCommit {
                account: account(number),
                stream: Stream::Jobs,
                planned_for: (Trigger::JobCompleted, now),
                plan: Plan { watermark: Some(now), ..Plan::default() },
                reconciled_at: Some(now),
                by_event: false,
                burst_above: 0,
                now,
            };
            store.commit_plan(commit).await.unwrap();
        });
    }
    tasks.join_all().await;
    store.close().await;
}

/// Candidates that are due now, spread over a hundred accounts.
pub(crate) async fn make_due(store: &Store, asks: usize, accounts: usize) {
    let now = SystemClock.now();
    let mut plans: BTreeMap<AccountId, Plan> = BTreeMap::new();
    for number in 0..asks {
        let id = EncodedId::new(STANDARD.encode(format!("gid://Jobber/Job/{number}")));
        plans.entry(account(number % accounts)).or_default().candidates.push(Candidate {
            work: WorkRef::job(id),
            released_at: None,
            held_for: SignedDuration::ZERO,
            trigger: Trigger::JobCompleted,
            finished_at: now - SignedDuration::from_hours(3),
            due_at: now - SignedDuration::from_hours(1),
            subject: Subject::default(),
        });
    }
    for (account, plan) in plans {
        let known = store.account(&account).await.unwrap().unwrap();
        let planned_for = (known.trigger, known.asks_from);
        let commit = PlanCommit {
            account,
            stream: Stream::Jobs,
            planned_for,
            plan,
            reconciled_at: None,
            by_event: false,
            burst_above: 0,
            now,
        };
        store.commit_plan(commit).await.unwrap();
    }
}
