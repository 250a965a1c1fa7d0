//! Links, pages and the way to Jobber and back, over HTTP as a browser sees it.

use std::net::SocketAddr;
use std::sync::Arc;

use jobber_reviewd::testing::model::{AccountId, LinkBrand, LinkId, Trigger};
use jobber_reviewd::testing::protocol::Status;
use jobber_reviewd::testing::{Config, Context, Http, NewLink};
use jobber_sandbox::{CLIENT_ID, Op};
use reqwest::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, LOCATION, REFERRER_POLICY, SET_COOKIE,
};
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::*;

/// The public listener of an app, and somebody who walks through it.
struct Site {
    app: TestApp,
    context: Arc<Context>,
    base: String,
    client: reqwest::Client,
    _stop: tokio_util::sync::DropGuard,
}

/// A page as the browser got it.
struct Page {
    status: u16,
    text: String,
    location: Option<String>,
    headers: reqwest::header::HeaderMap,
}

/// A browser: its cookie.
#[derive(Default, Clone)]
struct Browser(Option<String>);

impl Site {
    async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let listener = tokio::net::TcpListener::bind(local()).await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let base = format!("http://{address}");
        let public_url = base.clone();
        let app = TestApp::start_with(move |config| {
            config.http.public_url = serde_json::from_value(public_url.into()).unwrap();
            change(config);
        })
        .await;
        let context = app.context();
        let stop = CancellationToken::new();
        tokio::spawn(Http::new(listener, Arc::clone(&context)).run(stop.clone()));
        let client = http();
        Self { app, context, base, client, _stop: stop.drop_guard() }
    }

    async fn link(&self, account: Option<AccountId>) -> (LinkId, String) {
        let new = NewLink {
            label: "Ace <b>&".into(),
            trigger: Trigger::JobCompleted,
            account,
            lives: hours(24),
            brand: None,
        };
        let (link, url) = self.context.onboarding.create_link(new).await.unwrap();
        (link.id, url.expose_secret().to_owned())
    }

    async fn get(&self, browser: &mut Browser, url: &str) -> Page {
        let mut request = self.client.get(url);
        if let Some(cookie) = &browser.0 {
            request = request.header(COOKIE, cookie);
        }
        browser.read(request.send().await.unwrap()).await
    }

    /// Comes back from Jobber, and follows the redirect to the page that can be loaded again.
    async fn come_back(&self, browser: &mut Browser, url: &str) -> Page {
        let page = self.get(browser, url).await;
        let Some(to) = &page.location else { return page };
        assert_eq!((page.status, to.as_str()), (303, "/connected"));
        let url = format!("{}{to}", self.base);
        let first = self.get(browser, &url).await;
        assert_eq!(first.text, self.get(browser, &url).await.text, "it is loaded again");
        first
    }

    async fn post(&self, browser: &mut Browser, url: &str, form: &[(&str, &str)]) -> Page {
        let mut request = self.client.post(url).form(form);
        if let Some(cookie) = &browser.0 {
            request = request.header(COOKIE, cookie);
        }
        browser.read(request.send().await.unwrap()).await
    }

    /// Opens a link and presses its button; where the browser is sent.
    async fn press(&self, browser: &mut Browser, url: &str, trigger: Trigger) -> Page {
        let page = self.get(browser, url).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let csrf = page.hidden("csrf");
        self.post(browser, url, &[("csrf", &csrf), ("trigger", trigger.as_str())]).await
    }

    /// Allows access in Jobber; where the browser is sent back to.
    async fn allow(&self, jobber: &str, account: u64) -> String {
        let consent = self.client.get(jobber).send().await.unwrap().text().await.unwrap();
        let hidden = |name: &str| hidden(&consent, name);
        let form = [
            ("redirect_uri", hidden("redirect_uri")),
            ("state", hidden("state")),
            ("account", account.to_string()),
            ("decision", "allow".to_owned()),
        ];
        let url = format!("http://{}/api/oauth/decide", self.app.sandbox.address());
        let answer = self.client.post(url).form(&form).send().await.unwrap();
        answer.headers()[LOCATION].to_str().unwrap().to_owned()
    }

    async fn accounts(&self) -> usize {
        self.context.store.accounts().await.unwrap().len()
    }
}

impl Browser {
    async fn read(&mut self, response: reqwest::Response) -> Page {
        let headers = response.headers().clone();
        for cookie in headers.get_all(SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let name = pair.split_once('=').unwrap().0;
            let known = self.0.take().unwrap_or_default();
            let others = known.split("; ").filter(|known| !known.is_empty() && !known.starts_with(name));
            self.0 = Some(others.chain([pair]).collect::<Vec<_>>().join("; "));
        }
        let location = headers.get(LOCATION).map(|location| location.to_str().unwrap().to_owned());
        Page { status: response.status().as_u16(), text: response.text().await.unwrap(), location, headers }
    }
}

impl Page {
    fn hidden(&self, name: &str) -> String {
        hidden(&self.text, name)
    }

    fn says(&self, status: u16, words: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert!(self.text.contains(words), "expected: {words}\n{}", self.text);
    }
}

fn hidden(page: &str, name: &str) -> String {
    let rest = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap().1;
    rest.split_once('"').unwrap().0.to_owned()
}

#[tokio::test]
async fn a_link_connects_the_account_that_allowed_it() {
    let site = Site::start().await;
    let ace = site.app.contractor("Ace Plumbing");
    let (_, url) = site.link(None).await;
    let mut browser = Browser::default();

    // Previews and scanners open links: that uses nothing up.
    for _ in 0..3 {
        site.get(&mut Browser::default(), &url).await.says(200, "Connect my Jobber account");
    }
    let page = site.get(&mut browser, &url).await;
    page.says(200, "Ace &lt;b&gt;&amp;");
    assert!(page.text.contains(r#"value="job_completed" checked"#) && page.text.contains("(recommended)"));
    assert!(!page.text.contains("<script"));

    let pressed = site.press(&mut browser, &url, Trigger::VisitCompleted).await;
    assert_eq!(pressed.status, 303);
    let jobber = pressed.location.unwrap();
    assert!(
        jobber.starts_with(&format!("{}/oauth/authorize?response_type=code", site.app.sandbox.api_base()))
    );
    assert!(jobber.contains(&format!("client_id={CLIENT_ID}")));
    let back = site.allow(&jobber, ace.number).await;
    site.come_back(&mut browser, &back).await.says(200, "Ace Plumbing is connected");

    let account = site.context.store.account(&ace.id).await.unwrap().unwrap();
    assert_eq!((account.trigger, account.label.as_str()), (Trigger::VisitCompleted, "Ace <b>&"));
    site.get(&mut browser, &url).await.says(410, "This link was already used");
    site.get(&mut browser, &back).await.says(400, "completed already, or took too long");
}

#[tokio::test]
async fn pages_are_hardened() {
    let site = Site::start().await;
    let (_, url) = site.link(None).await;
    let callback = format!("{}/oauth/callback", site.base);
    let nowhere = format!("{}/nowhere", site.base);
    for url in [&url, &callback, &nowhere] {
        let page = site.get(&mut Browser::default(), url).await;
        let policy = page.headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
        assert_eq!(page.headers[REFERRER_POLICY], "no-referrer");
        assert_eq!(page.headers[CACHE_CONTROL], "no-store");
    }
    let page = site.get(&mut Browser::default(), &url).await;
    let cookie = page.headers[SET_COOKIE].to_str().unwrap();
    assert!(cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
}

#[tokio::test]
async fn denied_access_stores_nothing_and_the_button_works_again() {
    let site = Site::start().await;
    let ace = site.app.contractor("Ace Plumbing");
    let (_, url) = site.link(None).await;
    let mut browser = Browser::default();
    site.press(&mut browser, &url, Trigger::JobCompleted).await;
    let callback = format!("{}/oauth/callback", site.base);
    site.get(&mut browser, &callback).await.says(200, "Nothing was connected");
    assert_eq!(site.accounts().await, 0);

    let again = site.press(&mut browser, &url, Trigger::JobCompleted).await;
    let back = site.allow(&again.location.unwrap(), ace.number).await;
    site.come_back(&mut browser, &back).await.says(200, "is connected");
}

#[tokio::test]
async fn whoever_starts_in_jobbers_marketplace_is_told_what_is_missing() {
    let site = Site::start().await;
    let ace = site.app.contractor("Ace Plumbing");
    let code = site.app.sandbox.control(Op::MarketplaceCode { account: ace.number }).unwrap();
    let url = format!("{}/oauth/callback?code={}", site.base, code["code"].as_str().unwrap());
    site.get(&mut Browser::default(), &url).await.says(400, "One step is missing");
    assert_eq!(site.accounts().await, 0);
    assert_eq!(site.app.sandbox.stats(ace.number).exchanges, 0);
}

#[tokio::test]
async fn forged_and_foreign_states_buy_nothing() {
    let site = Site::start().await;
    let ace = site.app.contractor("Ace Plumbing");
    let (_, url) = site.link(None).await;
    let mut browser = Browser::default();
    let pressed = site.press(&mut browser, &url, Trigger::JobCompleted).await;
    let back = site.allow(&pressed.location.unwrap(), ace.number).await;

    let (before, _) = back.split_once("state=").unwrap();
    let forged = format!("{before}state=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    site.get(&mut browser, &forged).await.says(400, "completed already, or took too long");
    site.get(&mut Browser::default(), &back).await.says(400, "did not send its cookie");
    let mut thief = Browser::default();
    let (_, other) = site.link(None).await;
    site.get(&mut thief, &other).await;
    site.get(&mut thief, &back).await.says(400, "Please use one browser");
    assert_eq!(site.accounts().await, 0);
    assert_eq!(site.app.sandbox.stats(ace.number).exchanges, 0);

    // None of that used the state up.
    site.come_back(&mut browser, &back).await.says(200, "is connected");
}

#[tokio::test]
async fn links_that_do_not_count_say_why_and_what_to_do() {
    let site = Site::start().await;
    let mut browser = Browser::default();
    let unknown = format!("{}/connect/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", site.base);
    site.get(&mut browser, &unknown).await.says(404, "This link is not known");

    let (id, url) = site.link(None).await;
    site.context.store.revoke_link(&id, site.app.clock_now()).await.unwrap().unwrap();
    site.get(&mut browser, &url).await.says(410, "This link was withdrawn");

    let (_, url) = site.link(None).await;
    site.press(&mut browser, &url, Trigger::JobCompleted).await;
    site.get(&mut Browser::default(), &url).await.says(409, "being used in another browser");
    site.app.pass(hours(25));
    site.get(&mut browser, &url).await.says(410, "This link has expired");
}

#[tokio::test]
async fn a_button_that_was_not_on_our_page_does_nothing() {
    let site = Site::start().await;
    let (_, url) = site.link(None).await;
    let mut browser = Browser::default();
    let page = site.get(&mut browser, &url).await;
    let csrf = page.hidden("csrf");
    let post = async |browser: &Browser, form: &[(&str, &str)]| {
        let mut browser = browser.clone();
        site.post(&mut browser, &url, form).await
    };
    let good = [("csrf", csrf.as_str()), ("trigger", "job_completed")];
    post(&Browser::default(), &good).await.says(400, "did not send its cookie");
    post(&browser, &[("csrf", "00"), good[1]]).await.says(400, "did not come from this page");
    post(&browser, &[good[0], ("trigger", "job_done")]).await.says(400, "did not come from this page");
    post(&browser, &[good[1]]).await.says(400, "did not come from this page");
    assert_eq!(post(&browser, &good).await.status, 303);
}

#[tokio::test]
async fn a_link_for_one_account_refuses_another() {
    let site = Site::start().await;
    let ace = site.app.contractor("Ace Plumbing");
    let other = site.app.contractor("Somebody Else");
    site.app.connect(&ace, Trigger::JobCompleted).await;
    let (_, url) = site.link(Some(ace.id.clone())).await;
    let mut browser = Browser::default();
    let pressed = site.press(&mut browser, &url, Trigger::JobCompleted).await;
    let back = site.allow(&pressed.location.unwrap(), other.number).await;
    let page = site.get(&mut browser, &back).await;
    page.says(409, "This is another Jobber account");
    assert!(page.text.contains("Ace Plumbing"));
    assert_eq!(site.accounts().await, 1);
    assert!(site.context.store.tokens(&other.id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_code_that_jobber_does_not_honour_is_told_and_stores_nothing() {
    let site = Site::start().await;
    let (_, url) = site.link(None).await;
    let mut browser = Browser::default();
    let pressed = site.press(&mut browser, &url, Trigger::JobCompleted).await;
    let state =
        pressed.location.unwrap().split_once("state=").unwrap().1.split('&').next().unwrap().to_owned();
    let url = format!("{}/oauth/callback?code=nonsense&state={state}", site.base);
    site.get(&mut browser, &url).await.says(502, "Open the link again");
    assert_eq!(site.accounts().await, 0);
}

#[tokio::test]
async fn health_touches_the_store() {
    let site = Site::start().await;
    let url = format!("{}/healthz", site.base);
    site.get(&mut Browser::default(), &url).await.says(200, "ok");
    site.app.pass(minutes(1));
    site.context.store.close().await;
    site.get(&mut Browser::default(), &url).await.says(503, "does not answer");
}

#[tokio::test]
async fn a_state_that_comes_back_twice_at_once_connects_once() {
    let site = Site::start().await;
    let ace = site.app.contractor("Ace Plumbing");
    let (_, url) = site.link(None).await;
    let mut browser = Browser::default();
    let jobber = site.press(&mut browser, &url, Trigger::JobCompleted).await.location.unwrap();
    let back = site.allow(&jobber, ace.number).await;
    let (mut one, mut other) = (browser.clone(), browser);
    let (one, other) = tokio::join!(site.get(&mut one, &back), site.get(&mut other, &back));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[1] >= 400), (303, true), "{statuses:?}");
    assert_eq!(site.app.sandbox.stats(ace.number).exchanges, 1);
    assert_eq!(site.accounts().await, 1);
}

#[tokio::test]
async fn whoever_asks_too_often_waits_and_nobody_else_does() {
    let site = Site::start().await;
    let status = async |from: &str| {
        let request = site.client.get(format!("{}/healthz", site.base)).header("x-forwarded-for", from);
        request.send().await.unwrap().status().as_u16()
    };
    let mut answers = Vec::new();
    while answers.last() != Some(&429) {
        answers.push(status("198.51.100.7").await);
    }
    assert!(
        answers.len() > 60 && answers.iter().filter(|status| **status != 200).count() == 1,
        "{answers:?}"
    );
    assert_eq!(status("203.0.113.9").await, 200);
}

#[tokio::test]
async fn health_says_when_no_account_is_read() {
    let app = TestApp::start().await;
    let listener = tokio::net::TcpListener::bind(local()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(jobber_reviewd::testing::Http::new(listener, app.context()).run(stop));
    let health =
        async || http().get(format!("http://{address}/healthz")).send().await.unwrap().status().as_u16();
    assert_eq!(health().await, 200);
    let begun = std::time::Instant::now();
    for sweep in 0..4 {
        app.context.sweeps.is_due(begun + std::time::Duration::from_mins(5 * sweep));
    }
    assert_eq!(health().await, 503);
    let told = app.context.notifier.notify_once().await.unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    let ace = app.contractor("Ace Plumbing");
    app.connect(&ace, jobber_reviewd::testing::model::Trigger::JobCompleted).await;
    app.sweep().await;
    assert_eq!(health().await, 200);
}

/// What a contractor reads before pressing the button is what the settings really do.
#[tokio::test]
async fn the_connect_page_says_who_gets_what_and_what_is_written() {
    let site = Site::start_with(|config| {
        let hours = |text: &str| serde_json::from_value(json!(text)).unwrap();
        (config.review.window.weekdays, config.review.window.saturday) =
            (hours("09:00-20:00"), hours("09:00-20:00"));
        config.review.window.sunday = hours("12:00-20:00");
    })
    .await;
    let (_, url) = site.link(None).await;
    let page = site.get(&mut Browser::default(), &url).await;
    page.says(200, "Connect Jobber to 127.0.0.1");
    page.says(200, "Nothing is changed in Jobber.");
    page.says(200, "about 2 hours after the work is done, between 09:00 and 20:00 (Sundays 12:00-20:00)");
    assert!(!page.text.contains("is also told"), "{}", page.text);
    assert!(page.text.contains("Ace &lt;b&gt;&amp;") && !page.text.contains("<b>&"));
    assert_eq!(page.text.matches(" checked").count(), 1);
    page.says(200, r#"value="job_completed" checked"#);

    let site = Site::start_with(|config| {
        config.brand.name = Some("Stars & Co".to_owned());
        config.brand.contact = Some("help@example.com".to_owned());
        config.actions.write =
            serde_json::from_value(json!(["clients.note", "clients.update", "jobs.note"])).unwrap();
        config.events.webhook_url = Some(serde_json::from_value(json!("https://crm.example.com/")).unwrap());
        config.events.forward =
            serde_json::from_value(json!([{"topics": ["QUOTE_*", "PAYMENT_CREATE"]}])).unwrap();
        config.review.delay = serde_json::from_value(json!("0s")).unwrap();
    })
    .await;
    let (_, url) = site.link(None).await;
    let page = site.get(&mut Browser::default(), &url).await;
    for said in [
        "Connect Jobber to Stars &amp; Co",
        "ask Stars &amp; Co (help@example.com)",
        "Stars &amp; Co is also told of changed names and contacts of clients; what happens to payments and quotes, with the records.",
        "Stars &amp; Co may also write in Jobber for you, on clients and jobs.",
        "right after the work is done",
    ] {
        page.says(200, said);
    }
    assert!(!page.text.contains("Nothing is changed"), "{}", page.text);
    site.get(&mut Browser::default(), &format!("{}/robots.txt", site.base)).await.says(200, "Disallow: /");
}

#[tokio::test]
async fn the_pages_speak_the_browsers_language_and_look_like_whoever_runs_this() {
    let folder = tempfile::tempdir().unwrap();
    let logo = folder.path().join("logo.svg");
    let picture = r#"<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>"#;
    std::fs::write(&logo, picture).unwrap();
    let site = Site::start_with(|config| {
        config.brand.name = Some("Stars & Co".to_owned());
        config.brand.contact = Some("help@example.com".to_owned());
        config.brand.logo = Some(logo);
        config.brand.accent = Some(serde_json::from_value(json!("#2fa384")).unwrap());
        config.brand.privacy = Some(serde_json::from_value(json!("https://example.com/privacy")).unwrap());
    })
    .await;
    let in_language = async |language: &str, url: &str| {
        let request = site.client.get(url).header("accept-language", language);
        Browser::default().read(request.send().await.unwrap()).await
    };
    let new = NewLink {
        label: "Ace".into(),
        trigger: Trigger::JobCompleted,
        account: None,
        lives: hours(24),
        brand: Some(LinkBrand { name: Some("Ace’s Agency".into()), contact: None }),
    };
    let (_, url) = site.context.onboarding.create_link(new).await.unwrap();
    let url = url.expose_secret();
    for (language, tag, title, after) in [
        ("en-US,en", "en", "Connect Jobber to Ace’s Agency", "about 2 hours after"),
        ("es-MX,es;q=0.9", "es", "Conectar Jobber con Ace’s Agency", "aproximadamente 2 horas después"),
        ("fr-CA,fr;q=0.9", "fr-CA", "Connecter Jobber à Ace’s Agency", "environ 2 heures après"),
        ("de", "en", "Connect Jobber to Ace’s Agency", "about 2 hours after"),
    ] {
        let page = in_language(language, url).await;
        page.says(200, &format!("<html lang=\"{tag}\">"));
        page.says(200, title);
        page.says(200, after);
        page.says(200, "Ace’s Agency (help@example.com)");
        page.says(200, r#"<img class="logo" src="/logo""#);
        page.says(200, r#"href="https://example.com/privacy""#);
        page.says(200, "--go:#2fa384;--on-go:#000");
        assert!(!page.text.contains("{ $") && !page.text.contains("undefined"), "{}", page.text);
        in_language(language, &format!("{}/nowhere", site.base)).await.says(404, "Stars &amp; Co");
    }
    // A later link to repair the connection speaks for the same people.
    let ace = site.app.contractor("Ace");
    let mut browser = Browser::default();
    let jobber = site.press(&mut browser, url, Trigger::JobCompleted).await.location.unwrap();
    let back = site.allow(&jobber, ace.number).await;
    site.come_back(&mut browser, &back).await.says(200, "Ace’s Agency");
    // So does a page about what is wrong with a link.
    in_language("en", url).await.says(410, "tell Ace’s Agency.");
    let (_, repair) = site.link(Some(ace.id.clone())).await;
    in_language("en", &repair).await.says(200, "Ace’s Agency (help@example.com)");
    let unknown = format!("{}/connect/{}", site.base, "x".repeat(43));
    in_language("fr", &unknown).await.says(404, "Ce lien est inconnu");
    let served = site.client.get(format!("{}/logo", site.base)).send().await.unwrap();
    assert_eq!(served.headers()["content-type"], "image/svg+xml");
    assert!(served.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    assert_eq!(served.text().await.unwrap(), picture);
}

#[tokio::test]
async fn a_reconnect_says_what_it_is_and_what_is_kept() {
    let site = Site::start().await;
    let ace = site.app.contractor("Green Acre Landscaping");
    let (_, url) = site.link(None).await;
    let mut browser = Browser::default();
    let jobber = site.press(&mut browser, &url, Trigger::JobCompleted).await.location.unwrap();
    let back = site.allow(&jobber, ace.number).await;
    let page = site.come_back(&mut browser, &back).await;
    page.says(200, "Is this the right account?");
    let remarks = async || site.app.run(Status {}).await.unwrap().accounts[0].remarks.join("\n");
    let told = "its link was made for `Ace <b>&`: check that the right account was connected";
    assert_eq!(remarks().await, told);
    site.app.pass(hours(8 * 24));
    assert_eq!(remarks().await, "", "after a week everybody knows");
    page.says(200, "In Jobber, under Apps, at any time.");

    site.app.pass(minutes(1));
    let (_, url) = site.link(Some(ace.id.clone())).await;
    let page = site.get(&mut browser, &url).await;
    page.says(200, "Reconnect Green Acre Landscaping");
    page.says(200, "requests that wait are kept");
    assert!(!page.text.contains("any more"), "it is still connected");
    assert!(!page.text.contains("finished before you connect"), "{}", page.text);
    let jobber = site.press(&mut browser, &url, Trigger::JobCompleted).await.location.unwrap();
    let back = site.allow(&jobber, ace.number).await;
    let page = site.come_back(&mut browser, &back).await;
    page.says(200, "Green Acre Landscaping is connected");
    assert!(!page.text.contains("Is this the right account?"), "the link says which account it is");
    site.get(&mut Browser::default(), &format!("{}/connected", site.base))
        .await
        .says(404, "Nothing is connected");
    site.get(&mut Browser::default(), &format!("{}/", site.base)).await.says(200, "a personal link");
}

#[tokio::test]
async fn a_page_about_a_failure_leads_back_to_the_link() {
    let site = Site::start().await;
    let (_, url) = site.link(None).await;
    let mut browser = Browser::default();
    let path = url.strip_prefix(&site.base).unwrap();
    let again = format!("href=\"{path}\"");
    let callback = format!("{}/oauth/callback", site.base);
    assert!(!site.get(&mut browser, &callback).await.text.contains("href"), "it has no link yet");
    site.press(&mut browser, &url, Trigger::JobCompleted).await;
    site.get(&mut browser, &callback).await.says(200, &again);
    // A page about another link leads to that one.
    let (_, other) = site.link(None).await;
    site.press(&mut Browser::default(), &other, Trigger::JobCompleted).await;
    let path = other.strip_prefix(&site.base).unwrap();
    site.get(&mut browser, &other).await.says(409, &format!("href=\"{path}\""));
    let nonsense = format!("{callback}?code=nonsense&state=nonsense");
    site.get(&mut browser, &nonsense).await.says(400, &again);
    site.post(&mut browser, &url, &[("csrf", "no"), ("trigger", "job_completed")]).await.says(400, &again);
    let nowhere = site.get(&mut browser, &format!("{}/nowhere", site.base)).await;
    assert!(!nowhere.text.contains("href"), "{}", nowhere.text);
}

/// A link from a message opens in the app of the message first, and then in a browser.
#[tokio::test]
async fn another_browser_gets_the_link_after_a_while() {
    let site = Site::start().await;
    let (_, url) = site.link(None).await;
    let (mut app, mut browser) = (Browser::default(), Browser::default());
    site.press(&mut app, &url, Trigger::JobCompleted).await;
    site.get(&mut browser, &url).await.says(409, "in another browser");
    site.app.pass(minutes(16));
    let ace = site.app.contractor("Ace");
    let jobber = site.press(&mut browser, &url, Trigger::JobCompleted).await.location.unwrap();
    let back = site.allow(&jobber, ace.number).await;
    site.come_back(&mut browser, &back).await.says(200, "Ace is connected");
}
