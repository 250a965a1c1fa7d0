//! Everything the demo plays with: the local Jobber, a review platform, a fast clock and the daemon.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{SPEED, SPEED_AFTERWARDS, tell};
use crate::accounts::onboarding::NewLink;
use crate::clock::{Clock, SharedClock, SystemClock, plus};
use crate::config::{Config, Secrets};
use crate::context::Context;
use crate::daemon::Daemon;
use crate::domain::model::{MessageId, Trigger};
use crate::outbound::secret::WebhookSecret;
use crate::store::IfMissing;
use crate::store_key::StoreKey;
use jobber_sandbox::{CLIENT_ID, CLIENT_SECRET, Op, Sandbox, Seed};

#[derive(Debug)]
pub(super) struct FastClock(Mutex<(Timestamp, Instant, u32)>);

impl FastClock {
    fn start(at: Timestamp, speed: u32) -> Self {
        Self(Mutex::new((at, Instant::now(), speed)))
    }

    fn set_speed(&self, speed: u32) {
        let now = self.now();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (now, Instant::now(), speed);
    }
}

impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        let (base, since, speed) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plus(base, SignedDuration::try_from(since.elapsed() * speed).unwrap_or(SignedDuration::MAX))
    }

    fn sleep_until(&self, at: Timestamp) -> Duration {
        let (_, _, speed) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::try_from(at.duration_since(self.now())).unwrap_or(Duration::ZERO) / speed
    }
}

/// A review platform that checks signatures and honours ids.
#[derive(Debug)]
pub(super) struct Platform {
    secret: WebhookSecret,
    failures: u32,
    pub(super) requests: u32,
    pub(super) asks: BTreeMap<MessageId, Value>,
    pub(super) events: BTreeMap<MessageId, Value>,
}

async fn receive(
    State(platform): State<Arc<Mutex<Platform>>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let mut platform = platform.lock().unwrap_or_else(PoisonError::into_inner);
    platform.requests += 1;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (Ok(seconds), Ok(text)) = (header("webhook-timestamp").parse(), std::str::from_utf8(&body)) else {
        return StatusCode::BAD_REQUEST;
    };
    let id = MessageId::new(header("webhook-id"));
    let at = Timestamp::from_second(seconds).unwrap_or_default();
    if platform.secret.sign(&id, at, text) != header("webhook-signature") {
        return StatusCode::UNAUTHORIZED;
    }
    if platform.failures > 0 {
        platform.failures -= 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let Ok(body) = serde_json::from_str::<Value>(text) else { return StatusCode::BAD_REQUEST };
    let is_event = body["type"].as_str().is_some_and(|kind| kind.starts_with("jobber."));
    if is_event { &mut platform.events } else { &mut platform.asks }.insert(id, body);
    StatusCode::OK
}

pub(super) struct Stage {
    pub(super) sandbox: Sandbox,
    platform: Arc<Mutex<Platform>>,
    pub(super) clock: Arc<FastClock>,
    pub(super) context: Arc<Context>,
    daemon: Mutex<Option<Daemon>>,
    pub(super) public_url: String,
    browser: reqwest::Client,
    folder: Folder,
}

struct Folder(std::path::PathBuf);

impl Folder {
    fn make() -> anyhow::Result<Self> {
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(|error| anyhow!("no random bytes: {error}"))?;
        let path =
            std::env::temp_dir().join(format!("jobber-reviewd-demo-{:016x}", u64::from_le_bytes(name)));
        std::fs::create_dir(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It is a temporary folder: the system will delete what remains.
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

impl Stage {
    pub(super) async fn set() -> anyhow::Result<Self> {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let folder = Folder::make()?;
        let sandbox = Sandbox::start(anywhere, Seed::Demo).await?;
        let areas = ["clients", "jobs", "scheduled_items", "invoices", "users", "quotes"];
        let scopes = areas.map(|area| [format!("read_{area}"), format!("write_{area}")]).concat();
        let switches = Op::Switches { account: None, set: json!({ "scopes": scopes }) };
        sandbox.control(switches).map_err(anyhow::Error::msg)?;
        let key: [u8; 32] = [0x5a; 32];
        let webhook_secret = WebhookSecret::parse(&format!("whsec_{}", STANDARD.encode(key)).into())?;
        let platform = Arc::new(Mutex::new(Platform {
            secret: webhook_secret.clone(),
            failures: 2,
            requests: 0,
            asks: BTreeMap::new(),
            events: BTreeMap::new(),
        }));
        let receiver = TcpListener::bind(anywhere).await?;
        let receiver_url = format!("http://{}/api/webhooks/trigger-review", receiver.local_addr()?);
        let router = axum::Router::new().fallback(receive).with_state(Arc::clone(&platform));
        tokio::spawn(async move { axum::serve(receiver, router).await });

        let http = TcpListener::bind(anywhere).await?;
        let public_url = format!("http://{}", http.local_addr()?);
        let config: Config = serde_json::from_value(json!({
            "jobber": {"client_id": CLIENT_ID, "api_base": sandbox.api_base(), "draft_app": true, "budget_share": 50},
            "http": {"listen": http.local_addr()?, "public_url": public_url},
            "metrics": {"listen": null},
            "control": {"socket": folder.0.join("control.sock")},
            "store": {"path": folder.0.join("store"), "retention": "730d"},
            "poll": {"schedule": "* * * * * *", "concurrency": 4},
            "outgoing": {"private_addresses": false, "proxy": null},
            "alerts": {"webhook_url": null, "command": []},
        "events": {
            "enabled": false,
                "webhook_url": null, "topics": ["client.updated"],
                "forward": [{"topics": ["QUOTE_APPROVED"], "url": receiver_url}],
            },
        "rules": [
            {
                "on": "ask.delivered", "do": "clients.note",
                "with": {"message": "Asked for a review on {{ date }} about job {{ job.number }}"},
            },
            {
                "on": "review.received", "do": "jobs.note",
                "with": {"message": "{{ review.rating | int }} stars: {{ review.text }}"},
            },
        ],
        "actions": {"write": ["clients.note", "jobs.note"]},
        "api": {"listen": null},
            "review": {
                "trigger": "job_completed", "include_drafts": false, "webhook_url": receiver_url,
                "delay": "30m", "max_age": "7d", "last_visit_within": "14d", "burst_above": 20, "cooldown": "180d", "cooldown_across_accounts": false, "shadow": false, "never_tag": "no-review",
            "hold_tag": "hold-review", "only_named": [], "not_named": [], "greet": "contact", "phones": "sms_allowed", "clients": "all", "jobber_switch": "auto", "window": {
                    "weekdays": "00:00-24:00", "saturday": "00:00-24:00", "sunday": "00:00-24:00",
                    "holidays": [], "timezone": "America/New_York",
                },
            },
        }))?;
        let secrets = Secrets {
            client_secret: CLIENT_SECRET.into(),
            store_key: StoreKey::parse(&STANDARD.encode(key).into())?,
            webhook_secret,
        };
        let start = SystemClock.now();
        let clock = Arc::new(FastClock::start(start, SPEED));
        sandbox.control(Op::RunClock { from: Some(start), speed: SPEED }).map_err(|error| anyhow!(error))?;
        let shared: SharedClock = Arc::clone(&clock) as SharedClock;
        let daemon = Daemon::prepare(config, &secrets, shared, Some(http), IfMissing::MakeFirst).await?;
        let daemon = daemon.ok_or_else(|| anyhow!("the daemon was stopped"))?;
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self {
            sandbox,
            platform,
            clock,
            context: daemon.context(),
            daemon: Mutex::new(Some(daemon)),
            public_url,
            browser,
            folder,
        })
    }

    pub(super) fn daemon_task(
        &self,
    ) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send + use<>> {
        let daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner).take();
        let daemon = daemon.context("the daemon runs already")?;
        let settings = daemon.context().config.clone();
        Ok(daemon.run(Box::new(move || Ok(settings.clone()))))
    }

    pub(super) fn platform(&self) -> std::sync::MutexGuard<'_, Platform> {
        self.platform.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn slow_down(&self) {
        self.clock.set_speed(SPEED_AFTERWARDS);
        let op = Op::RunClock { from: Some(self.clock.now()), speed: SPEED_AFTERWARDS };
        // The operation cannot fail.
        let _done = self.sandbox.control(op);
    }

    pub(super) async fn invite(&self) -> anyhow::Result<()> {
        let url = self.new_link("Sparkle Home Cleaning", Trigger::JobCompleted).await?;
        tell("")?;
        tell(
            "Everything keeps running. One second is now one minute: an ask is sent 30 seconds after a job is closed.",
        )?;
        tell(&format!("  close and reopen jobs  http://{}/", self.sandbox.address()))?;
        tell(&format!("  connect a contractor   {url}"))?;
        tell(&format!("  health check           {}/healthz", self.public_url))?;
        let config = self.write_config()?;
        tell(&format!("  ask the daemon         cargo run -- --config {} status", config.display()))?;
        tell("Press Ctrl-C to stop it.")
    }

    /// Writes the settings to a file, for verbs that must find this daemon.
    fn write_config(&self) -> anyhow::Result<std::path::PathBuf> {
        let text = toml::to_string(&self.context.config)?;
        let path = self.folder.0.join("config.toml");
        std::fs::write(&path, text)?;
        // What is printed for people to use can be used.
        Config::load(Some(&path))?;
        Ok(path)
    }

    pub(super) async fn new_link(&self, name: &str, trigger: Trigger) -> anyhow::Result<String> {
        let lives = SignedDuration::from_hours(7 * 24);
        let new = NewLink { label: name.to_owned(), trigger, account: None, lives, brand: None };
        let (_, url) = self.context.onboarding.create_link(new).await?;
        Ok(url.expose_secret().to_owned())
    }

    /// Does what a browser does: opens a link, presses its button, allows access in Jobber, and returns.
    pub(super) async fn walk_through(&self, url: &str, account: u64, trigger: Trigger) -> anyhow::Result<()> {
        let page = self.browser.get(url).send().await?.error_for_status()?;
        let cookie = page.headers().get(SET_COOKIE).context("no cookie")?.to_str()?.to_owned();
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let page = page.text().await?;
        let csrf = between(&page, "name=\"csrf\" value=\"", "\"").context("no form")?;
        let form = [("csrf", csrf), ("trigger", trigger.as_str())];
        let pressed = self.browser.post(url).header(COOKIE, &cookie).form(&form).send().await?;
        let jobber = location(&pressed)?;
        let consent = self.browser.get(&jobber).send().await?.error_for_status()?.text().await?;
        if !consent.contains("Allow access") {
            bail!("Jobber shows no consent page");
        }
        let hidden =
            |name: &str| between(&consent, &format!("name=\"{name}\" value=\""), "\"").unwrap_or_default();
        let account = account.to_string();
        let form = [
            ("redirect_uri", hidden("redirect_uri")),
            ("state", hidden("state")),
            ("account", &account),
            ("decision", "allow"),
        ];
        let decide = format!("http://{}/api/oauth/decide", self.sandbox.address());
        let allowed = self.browser.post(decide).form(&form).send().await?;
        let back = self.browser.get(location(&allowed)?).header(COOKIE, &cookie).send().await?;
        let last = reqwest::Url::parse(&location(&allowed)?)?.join(&location(&back)?)?;
        let page = self.browser.get(last).header(COOKIE, &cookie).send().await?;
        let page = page.error_for_status()?.text().await?;
        if page.contains("is connected") {
            Ok(())
        } else {
            bail!("the last page does not confirm the connection")
        }
    }
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let rest = text.split_once(before)?.1;
    Some(rest.split_once(after)?.0)
}

fn location(response: &reqwest::Response) -> anyhow::Result<String> {
    let location = response.headers().get(LOCATION).context("the browser is sent nowhere")?;
    Ok(location.to_str()?.to_owned())
}
