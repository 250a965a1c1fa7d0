//! The connect pages in a real browser: a phone's window, no JavaScript.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use jobber_reviewd::testing::model::Trigger;
use jobber_reviewd::testing::{Http, NewLink};
use reqwest::Url;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::console::{Office, address};
use crate::support::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// A driver and its browser, or why there is none.
async fn open_browser(folder: &Path, is_phone: bool) -> Option<(Child, Client)> {
    let installed = Path::new("/usr/bin/chromedriver").exists() && Path::new("/usr/bin/chromium").exists();
    if !installed {
        assert!(std::env::var_os("JOBBER_REVIEWD_TEST_ALL").is_none(), "Chromium and its driver are missing");
        println!("skipped: no Chromium");
        return None;
    }
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port = tokio::time::timeout(PATIENCE, async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                return port.trim_end_matches('.').to_owned();
            }
        }
        panic!("the driver ended");
    })
    .await
    .unwrap();
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let mut options = json!({
        "binary": "/usr/bin/chromium",
        "args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--no-first-run", profile,
        ],
        // 2: blocked everywhere.
        "prefs": {"profile.managed_default_content_settings.javascript": 2},
    });
    if is_phone {
        options["mobileEmulation"] = json!({"deviceMetrics": {"width": 390, "height": 844, "pixelRatio": 2.0, "mobile": false, "touch": false}});
    }
    let capabilities = json!({"goog:chromeOptions": options}).as_object().unwrap().clone();
    let client = ClientBuilder::new(HttpConnector::new())
        .capabilities(capabilities)
        .connect(&format!("http://127.0.0.1:{port}"))
        .await
        .unwrap();
    Some((driver, client))
}

/// A command of the browser's own protocol, for what the driver does not know.
#[derive(Debug)]
struct Devtools(&'static str, serde_json::Value);

impl fantoccini::wd::WebDriverCompatibleCommand for Devtools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, <Url as std::str::FromStr>::Err> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap()))
    }

    fn method_and_body(&self, _: &Url) -> (axum::http::Method, Option<String>) {
        (axum::http::Method::POST, Some(json!({"cmd": self.0, "params": self.1}).to_string()))
    }
}

/// Where screenshots go: beside the build, never into the repository.
fn screenshots() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

async fn shoot(client: &Client, name: &str) {
    let picture = client.screenshot().await.unwrap();
    std::fs::write(screenshots().join(name), picture).unwrap();
}

/// Every page as every visitor sees it: on a phone and on a desk, by day and by night, in each language.
#[tokio::test]
async fn every_language_fits_a_phone_and_a_desk_by_day_and_by_night() {
    let folder = tempfile::tempdir().unwrap();
    let Some((_driver, client)) = open_browser(folder.path(), false).await else { return };
    let looked = tokio::time::timeout(2 * PATIENCE, tokio::spawn(look(client.clone()))).await;
    client.close().await.unwrap();
    looked.expect("the browser hangs").unwrap();
}

/// The console's main path, and pictures of its pages.
#[tokio::test]
async fn an_operator_finds_the_account_in_trouble_and_mends_it_in_the_console() {
    let folder = tempfile::tempdir().unwrap();
    let Some((_driver, client)) = open_browser(folder.path(), false).await else { return };
    let worked = tokio::time::timeout(2 * PATIENCE, tokio::spawn(work(client.clone()))).await;
    client.close().await.unwrap();
    worked.expect("the browser hangs").unwrap();
}

async fn work(client: Client) {
    let office = Office::open_with(|_| {}).await;
    for name in ["Green Acre Landscaping", "Sparkle Cleaning Co", "Two Rivers Plumbing"] {
        let contractor = office.app.contractor(name);
        office.app.connect(&contractor, Trigger::JobCompleted).await;
    }
    office.app.pass(minutes(10));
    for _ in 0..3 {
        office.asked().await;
        office.app.pass(hours(26));
    }
    office.app.receiver.answers(&[422]);
    let id = office.asked().await;

    client.goto(&address(&office.app).await).await.unwrap();
    assert_eq!(headline(&client).await, "Accounts");
    let first = client.find(Locator::Css("tbody tr td")).await.unwrap().text().await.unwrap();
    assert!(first.contains("Ace <b>& Sons") && first.contains("dead letters"), "trouble first: {first}");
    let tell = async |command, parameters| client.issue_cmd(Devtools(command, parameters)).await.unwrap();
    let path = format!("/accounts/{}", office.ace.id.as_str().replace('=', "%3D"));
    let pages = [("console", "/"), ("account", &path), ("explain", "/explain?q=smith"), ("queue", "/queue")];
    let message = format!("/queue/{id}");
    let pages = pages.into_iter().chain([("message", message.as_str()), ("week", "/digest")]);
    for (name, page) in pages {
        for (width, light) in [(1280, "light"), (1280, "dark"), (390, "light")] {
            let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
            tell("Emulation.setDeviceMetricsOverride", size).await;
            let features = json!({"features": [{"name": "prefers-color-scheme", "value": light}]});
            tell("Emulation.setEmulatedMedia", features).await;
            client.goto(&format!("{}{page}", office.base)).await.unwrap();
            let (.., wide, _) = client.find(Locator::Css("html")).await.unwrap().rectangle().await.unwrap();
            assert!(wide <= f64::from(width), "{name} is {wide} wide at {width}");
            shoot(&client, &format!("office-{name}-{width}-{light}.png")).await;
        }
    }

    client.goto(&format!("{}/queue", office.base)).await.unwrap();
    client.find(Locator::XPath("//button[.='Try now']")).await.unwrap().click().await.unwrap();
    let said = client.wait().at_most(PATIENCE).for_element(Locator::Css(".said")).await.unwrap();
    assert_eq!(said.text().await.unwrap(), format!("ask {id} is due now"));
    office.app.sweep().await;
    client.goto(&format!("{}/queue?state=dead", office.base)).await.unwrap();
    client.find(Locator::XPath("//p[.='Nothing is in the queue.']")).await.unwrap();
    client.goto(&format!("{}{path}", office.base)).await.unwrap();
    client.find(Locator::XPath("//button[.='Pause']")).await.unwrap().click().await.unwrap();
    client.wait().at_most(PATIENCE).for_element(Locator::XPath("//button[.='Resume']")).await.unwrap();
}

async fn look(client: Client) {
    let listener = tokio::net::TcpListener::bind(local()).await.unwrap();
    let public_url = format!("http://{}", listener.local_addr().unwrap());
    let app = TestApp::start_with(|config| {
        config.http.public_url = serde_json::from_value(public_url.clone().into()).unwrap();
        config.brand.name = Some("Five Star Reviews".into());
        config.brand.contact = Some("help@example.com".into());
    })
    .await;
    let stop = CancellationToken::new();
    tokio::spawn(Http::new(listener, app.context()).run(stop.clone()));
    let new = NewLink {
        label: "Green Acre Landscaping".into(),
        trigger: Trigger::JobCompleted,
        account: None,
        lives: hours(24),
        brand: None,
    };
    let (_, url) = app.context.onboarding.create_link(new).await.unwrap();
    let gone = format!("{public_url}/connect/{}", "x".repeat(43));
    let pages =
        [("connect", url.expose_secret()), ("unknown", gone.as_str()), ("front", public_url.as_str())];
    let tell = async |command, parameters| client.issue_cmd(Devtools(command, parameters)).await.unwrap();
    for (language, tag) in [("en-US", "en"), ("es-MX", "es"), ("fr-CA", "fr-CA")] {
        let agent = json!({"userAgent": "test", "acceptLanguage": language});
        tell("Emulation.setUserAgentOverride", agent).await;
        for (width, height, is_phone) in [(390.0, 844.0, true), (1280.0, 800.0, false)] {
            let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone});
            tell("Emulation.setDeviceMetricsOverride", size).await;
            for light in ["light", "dark"] {
                let features = json!({"features": [{"name": "prefers-color-scheme", "value": light}]});
                tell("Emulation.setEmulatedMedia", features).await;
                for (name, page) in pages {
                    client.goto(page).await.unwrap();
                    let root = client.find(Locator::Css("html")).await.unwrap();
                    assert_eq!(root.attr("lang").await.unwrap().as_deref(), Some(tag));
                    let (.., root, _) = root.rectangle().await.unwrap();
                    assert!(
                        root <= width && root > width - 20.0,
                        "{name} in {tag} is {root} wide at {width}"
                    );
                    if name == "connect" {
                        let button = client.find(Locator::Id("connect")).await.unwrap();
                        let (x, y, wide, high) = button.rectangle().await.unwrap();
                        assert!(y + high <= 844.0, "{tag} at {width}: the button ends at {}", y + high);
                        assert!(x >= 0.0 && x + wide <= width && high >= 44.0, "{tag}: {x} {wide} {high}");
                    }
                    shoot(&client, &format!("{name}-{tag}-{width}-{light}.png")).await;
                }
            }
        }
    }
}

async fn headline(client: &Client) -> String {
    client.find(Locator::Css("h1")).await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_contractor_connects_on_a_phone_without_javascript() {
    let folder = tempfile::tempdir().unwrap();
    let Some((_driver, client)) = open_browser(folder.path(), true).await else { return };
    // In a task of its own: the browser must be closed however it ends.
    let walked = tokio::time::timeout(PATIENCE, tokio::spawn(walk(client.clone()))).await;
    client.close().await.unwrap();
    walked.expect("the browser hangs").unwrap();
}

async fn walk(client: Client) {
    let listener = tokio::net::TcpListener::bind(local()).await.unwrap();
    let public_url = format!("http://{}", listener.local_addr().unwrap());
    let app = TestApp::start_with(|config| {
        config.http.public_url = serde_json::from_value(public_url.into()).unwrap();
    })
    .await;
    let ace = app.contractor("Ace Plumbing");
    let stop = CancellationToken::new();
    tokio::spawn(Http::new(listener, app.context()).run(stop.clone()));
    let new = NewLink {
        label: "Ace Plumbing".into(),
        trigger: Trigger::JobCompleted,
        account: None,
        lives: hours(24),
        brand: None,
    };
    let (_, url) = app.context.onboarding.create_link(new).await.unwrap();

    client
        .goto("data:text/html,<h1>off</h1><script>document.querySelector('h1').textContent='on'</script>")
        .await
        .unwrap();
    assert_eq!(headline(&client).await, "off", "JavaScript is really off");

    client.goto(url.expose_secret()).await.unwrap();
    assert!(headline(&client).await.starts_with("Connect Jobber to "));
    let chosen = client.find(Locator::Css("input[name=trigger]:checked")).await.unwrap();
    assert_eq!(chosen.attr("value").await.unwrap().as_deref(), Some("job_completed"));
    let button = client.find(Locator::Id("connect")).await.unwrap();
    let (x, y, width, height) = button.rectangle().await.unwrap();
    assert!(y + height <= 844.0, "it is on the first screen of a phone: {y} {height}");
    assert!(x >= 0.0 && x + width <= 390.0 && height >= 44.0, "a thumb can hit it: {x} {width} {height}");
    shoot(&client, "connect.png").await;
    client.find(Locator::Css("input[value=visit_completed]")).await.unwrap().click().await.unwrap();
    button.click().await.unwrap();

    client.wait().at_most(PATIENCE).for_element(Locator::Id("deny")).await.unwrap().click().await.unwrap();
    client
        .wait()
        .at_most(PATIENCE)
        .for_element(Locator::XPath("//h1[.='Nothing was connected']"))
        .await
        .unwrap();
    shoot(&client, "denied.png").await;

    // The page leads back.
    client.find(Locator::Id("again")).await.unwrap().click().await.unwrap();
    client.wait().at_most(PATIENCE).for_element(Locator::Id("connect")).await.unwrap();
    client.find(Locator::Css("input[value=visit_completed]")).await.unwrap().click().await.unwrap();
    client.find(Locator::Id("connect")).await.unwrap().click().await.unwrap();
    client.wait().at_most(PATIENCE).for_element(Locator::Id("allow")).await.unwrap().click().await.unwrap();
    client
        .wait()
        .at_most(PATIENCE)
        .for_element(Locator::XPath("//h1[.='Ace Plumbing is connected']"))
        .await
        .unwrap();
    shoot(&client, "connected.png").await;
    client.refresh().await.unwrap();
    assert_eq!(headline(&client).await, "Ace Plumbing is connected", "it can be loaded again");

    app.pass(minutes(1));
    let new = NewLink {
        label: "Ace Plumbing".into(),
        trigger: Trigger::VisitCompleted,
        account: Some(ace.id.clone()),
        lives: hours(24),
        brand: None,
    };
    let (_, again) = app.context.onboarding.create_link(new).await.unwrap();
    client.goto(again.expose_secret()).await.unwrap();
    assert_eq!(headline(&client).await, "Reconnect Ace Plumbing");
    let button = client.find(Locator::Id("connect")).await.unwrap();
    let (_, y, _, height) = button.rectangle().await.unwrap();
    assert!(y + height <= 844.0, "it is on the first screen of a phone: {y} {height}");
    shoot(&client, "reconnect.png").await;

    let account = app.context.store.account(&ace.id).await.unwrap().unwrap();
    assert_eq!(account.trigger, Trigger::VisitCompleted);
}
