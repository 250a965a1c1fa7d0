//! What the tests stand on: a sandbox, a receiver, the parts, and one clock for all three.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use jobber_reviewd::testing::model::{
    AccountId, DayTally, Decision, OpenTally, Outcome, SkipReason, Trigger, WorkRef,
};
use jobber_reviewd::testing::protocol::{Scene, Verb};
use jobber_reviewd::testing::{
    Clock, Config, Context, Effect, IfMissing, ManualClock, NewLink, OnceReport, OpError, Secrets,
    SharedClock, Store, StoreError, StoreKey, WebhookSecret, no_progress, once, random,
};
use jobber_sandbox::{CLIENT_ID, CLIENT_SECRET, Fault, FaultKind, Op, Sandbox, Seed};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::{cluster, contracts};

pub use crate::contractor::{Contractor, Customer};

/// When every test begins.
pub const START: &str = "2026-03-10T12:00:00Z";

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

pub fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

pub fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Somebody who browses, and follows no redirects by itself.
pub fn http() -> reqwest::Client {
    // reqwest brings no TLS provider of its own; another test may have been first.
    let _already = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// The outcome of a read of a few keys: it is there at once, or as soon as a server answered.
pub fn now<T>(read: impl Future<Output = T>) -> T {
    let mut read = std::pin::pin!(tokio::task::unconstrained(read));
    let begun = std::time::Instant::now();
    loop {
        match read.as_mut().now_or_never() {
            Some(outcome) => return outcome,
            None if cluster::is_wanted() && begun.elapsed() < PATIENCE => std::thread::yield_now(),
            None => panic!("it waits for something"),
        }
    }
}

/// What the receiver got.
#[derive(Debug, Clone)]
pub struct Got {
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Got {
    pub fn id(&self) -> &str {
        self.headers["webhook-id"].to_str().unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Default)]
struct Inbox {
    got: Vec<Got>,
    /// What came and is not as `docs/schema` says.
    misfits: Vec<String>,
    /// Statuses to answer with, the next one last; then 200.
    answers: Vec<(u16, Option<String>)>,
}

/// Longer than any answer takes.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// A review platform.
pub struct Receiver {
    address: SocketAddr,
    inbox: Arc<Mutex<Inbox>>,
    count: tokio::sync::watch::Receiver<usize>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let misfits = std::mem::take(&mut self.inbox.lock().unwrap().misfits);
            assert!(misfits.is_empty(), "not as docs/schema says: {misfits:#?}");
        }
    }
}

impl Receiver {
    pub async fn start() -> Self {
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let (counted, count) = tokio::sync::watch::channel(0);
        let router = axum::Router::new().fallback(receive).with_state((Arc::clone(&inbox), counted));
        let listener = tokio::net::TcpListener::bind(local()).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, inbox, count }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Answers the next requests with these statuses, in this order.
    pub fn answers(&self, statuses: &[u16]) {
        let mut inbox = self.inbox.lock().unwrap();
        inbox.answers = statuses.iter().rev().map(|status| (*status, None)).collect();
    }

    pub fn answers_once_with(&self, status: u16, retry_after: &str) {
        self.inbox.lock().unwrap().answers = vec![(status, Some(retry_after.to_owned()))];
    }

    /// Waits until so many requests came in all.
    pub async fn wait_for(&self, requests: usize) -> Vec<Got> {
        let mut count = self.count.clone();
        let came = tokio::time::timeout(PATIENCE, count.wait_for(|count| *count >= requests)).await;
        came.expect("the receiver waits in vain").unwrap();
        self.got()
    }

    /// Everything that came so far.
    pub fn got(&self) -> Vec<Got> {
        self.inbox.lock().unwrap().got.clone()
    }

    /// The ids of what came, each as often as it came.
    pub fn ids(&self) -> Vec<String> {
        self.got().iter().map(|got| got.id().to_owned()).collect()
    }
}

type Counted = (Arc<Mutex<Inbox>>, tokio::sync::watch::Sender<usize>);

async fn receive(State((inbox, counted)): State<Counted>, headers: HeaderMap, body: Bytes) -> Response {
    let mut inbox = inbox.lock().unwrap();
    inbox.misfits.extend(contracts::misfit(&body));
    inbox.got.push(Got { headers, body });
    counted.send_replace(inbox.got.len());
    let (status, retry_after) = inbox.answers.pop().unwrap_or((200, None));
    let mut response = StatusCode::from_u16(status).unwrap().into_response();
    if let Some(value) = retry_after {
        response.headers_mut().insert("retry-after", HeaderValue::from_str(&value).unwrap());
    }
    if status == 302 {
        response.headers_mut().insert("location", HeaderValue::from_static("/elsewhere"));
    }
    response
}

pub fn webhook_secret() -> String {
    format!("whsec_{}", STANDARD.encode([7; 32]))
}

pub fn secrets() -> Secrets {
    Secrets {
        client_secret: CLIENT_SECRET.into(),
        store_key: StoreKey::parse(&STANDARD.encode([1; 32]).into()).unwrap(),
        webhook_secret: WebhookSecret::parse(&webhook_secret().into()).unwrap(),
    }
}

/// Hours from Monday to Friday, on Saturdays and on Sundays; in New York where Jobber does not say.
pub fn window([weekdays, saturday, sunday]: [&str; 3]) -> Value {
    json!({
        "weekdays": weekdays, "saturday": saturday, "sunday": sunday, "holidays": [], "timezone": "America/New_York",
    })
}

/// Settings for an context between `sandbox` and `receiver`.
pub fn config(sandbox: &Sandbox, receiver_url: &str, folder: &std::path::Path) -> Config {
    let text = json!({
        "jobber": {"client_id": CLIENT_ID, "client_secret_file": null, "api_base": sandbox.api_base(), "draft_app": false, "budget_share": 100},
        "http": {"listen": "127.0.0.1:0", "public_url": "http://127.0.0.1:1"},
        "metrics": {"listen": null},
        "control": {"socket": folder.join("control.sock")},
        "store": {"path": folder.join("store"), "key_file": null, "retention": "730d"},
        "poll": {"schedule": "0 */5 * * * *", "concurrency": 16},
        "outgoing": {"private_addresses": false, "proxy": null},
        "alerts": {"webhook_url": null, "command": []},
        "events": {"enabled": false, "webhook_url": null, "topics": ["client.updated"], "forward": []},
        "rules": [],
        "actions": {"write": []},
        "api": {"listen": null},
        "review": {
            "trigger": "job_completed", "include_drafts": false, "webhook_url": receiver_url,
            "webhook_secret_file": null, "delay": "2h", "max_age": "7d", "last_visit_within": "14d", "burst_above": 20, "cooldown": "0s", "cooldown_across_accounts": false, "shadow": false, "never_tag": "no-review",
            "hold_tag": "hold-review", "only_named": [], "not_named": [], "greet": "contact", "phones": "sms_allowed", "clients": "all", "jobber_switch": "auto", "window": window(["00:00-24:00"; 3]),
        },
    });
    serde_json::from_value(text).unwrap()
}

/// Everything, with one clock.
pub struct TestApp {
    pub sandbox: Sandbox,
    pub receiver: Receiver,
    pub clock: Arc<ManualClock>,
    pub context: Arc<Context>,
    pub folder: tempfile::TempDir,
    config: Config,
    /// How far the sandbox's clock is ahead of the daemon's.
    skew: std::sync::Mutex<SignedDuration>,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let sandbox = Sandbox::start(local(), Seed::Empty).await.unwrap();
        let receiver = Receiver::start().await;
        let clock = Arc::new(ManualClock::new(at(START)));
        sandbox.control(Op::StopClock { at: at(START) }).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(&sandbox, &receiver.url(), folder.path());
        config.store.url = cluster::wanted();
        change(&mut config);
        let context = context(&config, &clock, secrets());
        Self { sandbox, receiver, clock, context, folder, config, skew: SignedDuration::ZERO.into() }
    }

    /// A contractor, connected with `trigger`.
    pub async fn connected(trigger: Trigger) -> (Self, Contractor) {
        let app = Self::start().await;
        let contractor = app.contractor("Ace Plumbing");
        app.connect(&contractor, trigger).await;
        (app, contractor)
    }

    /// Another contractor in Jobber, not connected.
    pub fn contractor(&self, name: &str) -> Contractor {
        let made = self
            .sandbox
            .control(Op::AddAccount { name: name.to_owned(), timezone: "America/New_York".to_owned() })
            .unwrap();
        let number = made["account"].as_u64().unwrap();
        Contractor { number, id: AccountId::new(made["id"].as_str().unwrap()) }
    }

    pub fn context(&self) -> Arc<Context> {
        Arc::clone(&self.context)
    }

    /// Walks a contractor through link and consent.
    pub async fn connect(&self, contractor: &Contractor, trigger: Trigger) {
        let state = self.sandbox.control(Op::State).unwrap();
        let mut accounts = state["accounts"].as_array().unwrap().iter();
        let account = accounts.find(|account| account["account"] == contractor.number).unwrap();
        let label = account["name"].as_str().unwrap().to_owned();
        let new = NewLink { label, trigger, account: None, lives: hours(24), brand: None };
        let (_, url) = self.context.onboarding.create_link(new).await.unwrap();
        let token = SecretString::from(
            secrecy::ExposeSecret::expose_secret(&url).rsplit('/').next().unwrap().to_owned(),
        );
        let browser = random().unwrap();
        let jobber = self.context.onboarding.begin(&token, &browser, trigger).await.unwrap();
        let state = jobber.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        let code = self.sandbox.control(Op::MarketplaceCode { account: contractor.number }).unwrap();
        let code = code["code"].as_str().unwrap().to_owned();
        let account = self.context.onboarding.finish(&state.into(), &code.into(), &browser).await.unwrap();
        assert_eq!(account.id, contractor.id);
    }

    /// Moves the clock of daemon and sandbox.
    pub fn pass(&self, time: SignedDuration) {
        let now = self.clock.advance(time);
        self.sandbox.control(Op::StopClock { at: now + *self.skew.lock().unwrap() }).unwrap();
    }

    /// Sets Jobber's clock off from the daemon's.
    pub fn skew(&self, skew: SignedDuration) {
        *self.skew.lock().unwrap() = skew;
        self.pass(SignedDuration::ZERO);
    }

    /// Lets Jobber's clock run from here, for what refills with time.
    pub fn let_the_clocks_run(&self) {
        self.sandbox.control(Op::RunClock { from: Some(self.clock.now()), speed: 1 }).unwrap();
    }

    pub fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Everything that a step could have left in the store, as text.
    pub async fn everything_stored(&self) -> String {
        let store = &self.context.store;
        let accounts = store.accounts().await.unwrap();
        let (mut of_each, mut tokens) = (vec![], vec![]);
        for account in &accounts {
            let decisions = store.decisions(&account.id).await.unwrap();
            of_each.push((decisions, store.health(&account.id).await.unwrap()));
            tokens.push(store.tokens(&account.id).await.unwrap().unwrap().pair);
        }
        let entries = store.entries().await.unwrap();
        format!("{accounts:?}{of_each:?}{entries:?}{tokens:?}{:?}", store.links().await.unwrap())
    }

    pub async fn once(&self) -> OnceReport {
        once(&self.context, None, Effect::Apply, &no_progress).await.unwrap()
    }

    /// What is counted with each decision is what the decisions are.
    pub async fn assert_counted(&self) {
        let store = &self.context.store;
        for account in store.accounts().await.unwrap() {
            let (mut days, mut open) = (DayTally::default(), OpenTally::default());
            for decision in store.decisions(&account.id).await.unwrap() {
                days.add(&decision);
                open.add(&decision);
            }
            let counted = store.tally(&account.id, Timestamp::UNIX_EPOCH).await.unwrap();
            assert_eq!(counted, (days, open), "{}", account.name);
        }
        let (is, ought) = store.indexed().await.unwrap();
        assert_eq!(is, ought, "entries by which decisions are found");
    }

    /// What an operator asks for, without a daemon.
    pub async fn run<V: Verb>(&self, verb: V) -> Result<V::Reply, OpError> {
        // Nobody listens to what is told on the way.
        let (tell, _deaf) = tokio::sync::mpsc::channel(1);
        verb.run(Scene { context: &self.context, is_daemon: false, tell }).await
    }

    /// One sweep that must not have any trouble.
    pub async fn sweep(&self) -> OnceReport {
        let report = self.once().await;
        assert_eq!(report.errors, [], "a sweep without trouble");
        report
    }

    /// Waits until Jobber has got a request of this operation.
    pub async fn operation_begins(&self, contractor: &Contractor, operation: &str) {
        self.until(async || self.sandbox.stats(contractor.number).operations.contains_key(operation)).await;
    }

    /// Waits until something is so.
    pub async fn until(&self, is_so: impl AsyncFn() -> bool) {
        let wait = async {
            while !is_so().await {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it never comes to that");
    }

    pub fn fault(&self, contractor: &Contractor, kind: FaultKind, times: u32, operation: Option<&str>) {
        let fault = Fault { kind, times, operation: operation.map(str::to_owned) };
        self.sandbox.control(Op::Fault { account: contractor.number, fault }).unwrap();
    }

    pub fn switch(&self, contractor: &Contractor, set: Value) {
        self.sandbox.control(Op::Switches { account: Some(contractor.number), set }).unwrap();
    }

    pub fn decision(&self, contractor: &Contractor, work: &WorkRef) -> Option<Decision> {
        now(self.context.store.decision(&contractor.id, work)).unwrap()
    }

    pub fn skip_reason(&self, contractor: &Contractor, work: &WorkRef) -> SkipReason {
        match self.decision(contractor, work).map(|decision| decision.outcome) {
            Some(Outcome::Skipped { reason }) => reason,
            other => panic!("{work} was not skipped: {other:?}"),
        }
    }

    pub fn waits(&self, contractor: &Contractor, work: &WorkRef) -> bool {
        matches!(
            self.decision(contractor, work).map(|decision| decision.outcome),
            Some(Outcome::Waiting { .. })
        )
    }

    /// The daemon dies and comes back.
    pub async fn restart(self) -> Self {
        self.restart_with(secrets()).await
    }

    pub async fn restart_with_client_secret(self, client_secret: &str) -> Self {
        self.restart_with(Secrets { client_secret: client_secret.to_owned().into(), ..secrets() }).await
    }

    /// The operator changes the settings and restarts the daemon.
    pub async fn restart_with_change(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self.restart().await
    }

    async fn restart_with(self, secrets: Secrets) -> Self {
        let Self { sandbox, receiver, clock, context, folder, config, skew } = self;
        context.close().await;
        drop(context);
        let context = self::context(&config, &clock, secrets);
        Self { sandbox, receiver, clock, context, folder, config, skew }
    }

    /// Nothing may be left over: no queued ask, no dead letter, no candidate that is due, nothing sent twice.
    pub async fn finish(self) {
        let mut ids = self.receiver.ids();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all, "something was delivered twice");
        self.finish_with_repeats().await;
    }

    /// As [`TestApp::finish`], where the receiver itself asked for repeats.
    pub async fn finish_with_repeats(self) {
        let store = &self.context.store;
        self.assert_counted().await;
        assert_eq!(store.entries().await.unwrap().len(), 0, "something is left in the outbox");
        assert_eq!(store.due_works(self.clock.now()).await.unwrap().len(), 0, "a candidate is left behind");
    }
}

/// Opens a store that this very process may just have closed: sled's own threads can hold its lock a moment longer.
fn open_again(config: &Config, secrets: &Secrets) -> Store {
    let begun = std::time::Instant::now();
    let place = config.place().unwrap();
    let open = || loop {
        match Store::open_in(&place, &secrets.store_key, IfMissing::MakeFirst) {
            Err(StoreError::Locked { .. }) if begun.elapsed() < PATIENCE => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    };
    // No async thread may wait for a server.
    std::thread::scope(|scope| scope.spawn(open).join().unwrap())
}

fn context(config: &Config, clock: &Arc<ManualClock>, secrets: Secrets) -> Arc<Context> {
    let store = open_again(config, &secrets);
    let clock: SharedClock = Arc::clone(clock) as SharedClock;
    Arc::new(Context::new(config.clone(), &secrets, store, clock).unwrap())
}
