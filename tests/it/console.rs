//! The operator's console: who gets in, what is seen, and what buttons do.

use jobber_reviewd::testing::model::{Delivery, Outcome, Trigger};
use jobber_reviewd::testing::protocol::{AccountList, ConsoleOpen, Scene, Verb as _};
use jobber_reviewd::testing::{Config, Console};
use reqwest::StatusCode;
use reqwest::header::{COOKIE, HOST, LOCATION, SET_COOKIE};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::*;

pub struct Office {
    pub app: TestApp,
    pub ace: Contractor,
    pub base: String,
    cookie: String,
    _stop: tokio_util::sync::DropGuard,
}

/// An address that works once.
pub async fn address(app: &TestApp) -> String {
    let (tell, _told) = tokio::sync::mpsc::channel(1);
    let scene = Scene { context: &app.context, is_daemon: true, tell };
    ConsoleOpen {}.run(scene).await.unwrap().url
}

impl Office {
    pub async fn open_with(change: impl FnOnce(&mut Config)) -> Self {
        let listener = tokio::net::TcpListener::bind(local()).await.unwrap();
        let listen = listener.local_addr().unwrap();
        let app = TestApp::start_with(|config| {
            config.console.listen = Some(listen);
            change(config);
        })
        .await;
        let ace = app.contractor("Ace <b>& Sons");
        app.connect(&ace, Trigger::JobCompleted).await;
        let stop = CancellationToken::new();
        tokio::spawn(Console::new(listener, app.context()).run(stop.clone()));
        let base = format!("http://{listen}");
        let entered = http().get(address(&app).await).send().await.unwrap();
        assert_eq!(
            (entered.status(), &entered.headers()[LOCATION]),
            (StatusCode::SEE_OTHER, &"/".parse().unwrap())
        );
        let cookie = entered.headers()[SET_COOKIE].to_str().unwrap().to_owned();
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self { app, ace, base, cookie, _stop: stop.drop_guard() }
    }

    async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let answer =
            http().get(format!("{}{path}", self.base)).header(COOKIE, &self.cookie).send().await.unwrap();
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        (answer.status(), answer.text().await.unwrap())
    }

    async fn page(&self, path: &str) -> String {
        let (status, page) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {page}");
        assert!(!page.contains("<script") && !page.contains("style=") && !page.contains("<b>&"), "{page}");
        page
    }

    async fn press(&self, fields: &[(&str, &str)]) -> (StatusCode, String) {
        let page = self.page("/").await;
        let csrf = page.split_once("name=\"csrf\" value=\"").unwrap().1.split('"').next().unwrap();
        let form: Vec<_> = fields.iter().copied().chain([("csrf", csrf)]).collect();
        let request = http().post(format!("{}/do", self.base)).header(COOKIE, &self.cookie).form(&form);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// A job that was asked about, under its customer's name.
    pub async fn asked(&self) -> String {
        let before = self.app.receiver.ids().len();
        let customer = self.ace.customer(&self.app);
        let job = self.ace.job(&self.app, &customer, "Drain Cleaning", &[]);
        self.ace.close(&self.app, &job);
        self.app.sweep().await;
        self.app.pass(hours(2));
        self.app.sweep().await;
        self.app.receiver.ids()[before].clone()
    }

    async fn delivery(&self) -> Delivery {
        let decisions = self.app.context.store.decisions(&self.ace.id).await.unwrap();
        let Outcome::Asked { delivery, .. } = &decisions[0].outcome else { panic!("{decisions:?}") };
        delivery.clone()
    }
}

#[tokio::test]
async fn nobody_gets_in_without_an_address_that_works_once() {
    let office = Office::open().await;
    let url = address(&office.app).await;
    let plain =
        async |path: &str| http().get(format!("{}{path}", office.base)).send().await.unwrap().status();
    for path in ["/", "/queue", "/explain?q=smith", "/accounts/x", "/digest", "/open/guess"] {
        assert_eq!(plain(path).await, StatusCode::UNAUTHORIZED, "{path}");
    }
    let posted = http().post(format!("{}/do", office.base)).send().await.unwrap();
    assert_eq!(posted.status(), StatusCode::UNAUTHORIZED);
    let first = http().get(&url).send().await.unwrap();
    assert_eq!(first.status(), StatusCode::SEE_OTHER);
    assert_eq!(http().get(&url).send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "it was used");

    // A page elsewhere whose name points here.
    let rebound = http()
        .get(format!("{}/", office.base))
        .header(COOKIE, &office.cookie)
        .header(HOST, "evil.example.com");
    assert_eq!(rebound.send().await.unwrap().status(), StatusCode::MISDIRECTED_REQUEST);

    office.page("/").await;
    office.app.pass(hours(13));
    assert_eq!(office.get("/").await.0, StatusCode::UNAUTHORIZED, "it rested");
}

#[tokio::test]
async fn a_form_from_elsewhere_does_nothing() {
    let office = Office::open().await;
    let id = office.ace.id.as_str();
    let form = [("csrf", "00"), ("verb", "pause"), ("account", id), ("back", "/")];
    let answer = http().post(format!("{}/do", office.base)).header(COOKIE, &office.cookie).form(&form).send();
    assert_eq!(answer.await.unwrap().status(), StatusCode::FORBIDDEN);
    assert!(office.app.run(AccountList {}).await.unwrap()[0].paused_at.is_none());
    // It leads nowhere else either.
    let request = [("verb", "pause"), ("account", id), ("back", "//evil.example.com/")];
    let page = office.page("/").await;
    let csrf = page.split_once("name=\"csrf\" value=\"").unwrap().1.split('"').next().unwrap();
    let form: Vec<_> = request.into_iter().chain([("csrf", csrf)]).collect();
    let answer = http()
        .post(format!("{}/do", office.base))
        .header(COOKIE, &office.cookie)
        .form(&form)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()[LOCATION], "/");
    assert!(office.app.run(AccountList {}).await.unwrap()[0].paused_at.is_some());
    let page = office.page("/").await;
    assert!(page.contains("role=\"status\""), "what was done is said: {page}");
    assert!(!office.page("/").await.contains("role=\"status\""), "once");
}

#[tokio::test]
async fn an_account_shows_its_funnel_and_every_number_leads_to_its_list() {
    let office = Office::open().await;
    office.app.pass(minutes(10));
    office.asked().await;
    let page = office.page("/").await;
    assert!(page.contains("Ace &lt;b&gt;&amp; Sons") && page.contains("1 decided, 1 asked"), "{page}");
    assert!(office.page("/?q=nobody").await.contains("No account is like that"));
    assert!(office.page("/?state=trouble").await.contains("No account is like that"));

    let path = format!("/accounts/{}", office.ace.id.as_str().replace('=', "%3D"));
    let page = office.page(&path).await;
    for said in [
        "Most are asked on",
        "1 decided (grey), 1 asked (green), by day (UTC).",
        "100 % of what was finished",
        "None: everything is as for all accounts.",
        "What became of it",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    for (step, count) in [("finished", 1), ("asked", 1), ("delivered", 1), ("waiting", 0)] {
        let link = format!("{path}/works?days=30&amp;step={step}\">{count}</a>");
        assert!(page.contains(&link), "{link}: {page}");
        let list = office.page(&format!("{path}/works?days=30&step={step}")).await;
        assert_eq!(list.matches("Drain Cleaning").count(), count, "{step}");
    }
    assert_eq!(office.get(&format!("{path}/works?step=nonsense")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(office.get("/accounts/nobody").await.0, StatusCode::NOT_FOUND);

    let story = office.page("/explain?q=smith").await;
    for said in ["Drain Cleaning", "<strong>Finished</strong>", "asked, delivered", "/accounts/"] {
        assert!(story.contains(said), "{said}: {story}");
    }
    assert!(office.page("/explain?q=%3Cscript%3E").await.contains("Nothing is known by that"));
    assert!(office.page("/digest").await.contains("Ace &lt;b&gt;&amp; Sons"));
}

#[tokio::test]
async fn a_dead_letter_is_sent_again_or_dropped_by_a_button() {
    let office = Office::open().await;
    office.app.pass(minutes(10));
    office.app.receiver.answers(&[422]);
    let id = office.asked().await;
    assert!(matches!(office.delivery().await, Delivery::Dead { .. }));
    let page = office.page("/queue?state=dead").await;
    assert!(page.contains("#1 Drain Cleaning John Smith") && page.contains("dead letter"), "{page}");
    let shown = office.page(&format!("/queue/{id}")).await;
    assert!(
        shown.contains("HTTP 422") && shown.contains("&quot;type&quot;: &quot;review.requested&quot;"),
        "{shown}"
    );

    let (status, said) = office.press(&[("verb", "retry"), ("what", &id), ("back", "/queue")]).await;
    assert_eq!(status, StatusCode::SEE_OTHER, "{said}");
    office.app.receiver.answers(&[422]);
    office.app.sweep().await;
    let drop = [("verb", "drop"), ("what", id.as_str()), ("back", "/queue")];
    let (status, asked) = office.press(&drop).await;
    assert!(
        status == StatusCode::OK && asked.contains("Are you sure?") && asked.contains("No, go back"),
        "{asked}"
    );
    assert!(matches!(office.delivery().await, Delivery::Dead { .. }), "not yet");
    let (status, _) = office.press(&[&drop[..], &[("yes", "yes")]].concat()).await;
    assert_eq!((status, office.delivery().await), (StatusCode::SEE_OTHER, Delivery::Dropped));
    assert!(office.page("/queue").await.contains("Nothing is in the queue."));
    let (status, said) = office.press(&[("verb", "retry"), ("what", &id), ("back", "/queue")]).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{said}");

    let account = office.ace.id.as_str().to_owned();
    office.press(&[("verb", "link"), ("account", &account), ("back", "/")]).await;
    assert!(office.page("/").await.contains("/connect/"), "the new link is shown");
    assert!(!office.page("/").await.contains("/connect/"), "once");
    assert_eq!(office.press(&[("verb", "leave"), ("back", "/")]).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(office.get("/").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn without_the_setting_there_is_no_console() {
    let app = TestApp::start().await;
    let refused = app.run(ConsoleOpen {}).await.unwrap_err().to_string();
    assert!(refused.contains("set console.listen = \"127.0.0.1:8790\""), "{refused}");
    let config: Result<Config, _> = toml_config(&json!("0.0.0.0:8790"));
    assert!(config.is_err());
}

fn toml_config(listen: &serde_json::Value) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let text = format!(
        "jobber.client_id = \"id\"\nhttp.public_url = \"https://r.example.com\"\nreview.webhook_url = \"https://p.example.com\"\nconsole.listen = {listen}\n"
    );
    std::fs::write(&path, text).unwrap();
    Config::load(Some(&path)).map_err(|error| error.to_string())
}
