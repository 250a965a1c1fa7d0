//! A machine with the program installed: started, asked, killed, as its user does it.

use std::error::Error;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jobber_reviewd::testing::{Address, IfMissing, Place, Store, StoreKey};
use jobber_sandbox::{CLIENT_ID, CLIENT_SECRET, Op, Sandbox, Seed};
use serde_json::{Value, json};
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};

use crate::cluster;
use crate::replies;
use crate::support::{Receiver, http, local, webhook_secret};

/// Longer than anything here takes, so that a hang is a failure and not a hang.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A machine with the program installed, beside a local Jobber and a receiver.
pub struct Machine {
    pub folder: tempfile::TempDir,
    pub sandbox: Sandbox,
    pub receiver: Receiver,
    pub public_url: String,
    pub account: u64,
    /// The address of the database, if the store is not in a folder.
    pub database: Option<String>,
}

/// What a run of the program said.
pub struct Said {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

impl Machine {
    pub async fn set_up() -> Self {
        Self::set_up_with(cluster::wanted()).await
    }

    pub async fn set_up_with(database: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(local(), Seed::Empty).await.unwrap();
        let made = sandbox
            .control(Op::AddAccount { name: "Ace Plumbing".into(), timezone: "America/New_York".into() })
            .unwrap();
        let receiver = Receiver::start().await;
        // Taken and given back: the daemon must find the same port again after a restart.
        let port = std::net::TcpListener::bind(local()).unwrap().local_addr().unwrap().port();
        let machine = Self {
            public_url: format!("http://127.0.0.1:{port}"),
            account: made["account"].as_u64().unwrap(),
            folder,
            sandbox,
            receiver,
            database,
        };
        machine.secret("client_secret", CLIENT_SECRET);
        machine.secret("store_key", &STANDARD.encode([1; 32]));
        machine.secret("webhook_secret", &webhook_secret());
        std::fs::write(machine.path("config.toml"), machine.config(port)).unwrap();
        machine
    }

    pub fn config(&self, port: u16) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        format!(
            r#"
[jobber]
client_id = "{CLIENT_ID}"
client_secret_file = "{}"
api_base = "{}"
[http]
listen = "127.0.0.1:{port}"
public_url = "{}"
[control]
socket = "{}"
[store]
{}
key_file = "{}"
[poll]
schedule = "* * * * * *"
[actions]
write = ["clients.note"]
[review]
webhook_url = "{}"
webhook_secret_file = "{}"
delay = "0s"
cooldown = "0s"
burst_above = 0
[review.window]
weekdays = "00:00-24:00"
saturday = "00:00-24:00"
sunday = "00:00-24:00"
"#,
            path("client_secret"),
            self.sandbox.api_base(),
            self.public_url,
            path("control.sock"),
            match &self.database {
                Some(url) => format!("url = \"{url}\""),
                None => format!("path = \"{}\"", path("store")),
            },
            path("store_key"),
            self.receiver.url(),
            path("webhook_secret"),
        )
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn secret(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.arg("--config").arg(self.path("config.toml")).args(arguments);
        command.env("JOBBER_REVIEWD_FIRST_START", "true");
        command
    }

    pub async fn run(&self, arguments: &[&str]) -> Said {
        let said = say(self.command(arguments)).await;
        if arguments.contains(&"--json") {
            assert_eq!(replies::misfit(arguments, &said), None, "{arguments:?}");
        }
        said
    }

    /// As the daemon does when it is first started.
    pub async fn make_store(&self) {
        open(self).close().await;
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub async fn start(&self) -> Child {
        self.start_logging_to(Stdio::null(), "warn").await
    }

    pub async fn start_logging_to(&self, logs: Stdio, level: &str) -> Child {
        let mut command = self.command(&[]);
        command.env("JOBBER_REVIEWD_LOG", level).stderr(logs);
        match self.begin(command).await {
            Ok(daemon) => daemon,
            Err(status) => panic!("it ended at once: {status}"),
        }
    }

    /// Starts a daemon and waits until it says that it is ready, or ends before.
    pub async fn begin(&self, mut command: Command) -> Result<Child, ExitStatus> {
        let socket = self.path("notify.sock");
        let _left_over = std::fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket).unwrap();
        let mut daemon = command.env("NOTIFY_SOCKET", &socket).spawn().unwrap();
        let mut buffer = [0; 1024];
        let ready = async {
            loop {
                let length = notify.recv(&mut buffer).await.unwrap();
                if String::from_utf8_lossy(&buffer[..length]).contains("READY=1") {
                    break;
                }
            }
        };
        tokio::select! {
            got = tokio::time::timeout(PATIENCE, ready) => {
                got.expect("it never became ready");
                Ok(daemon)
            }
            ended = daemon.wait() => Err(ended.unwrap()),
        }
    }

    /// Walks the contractor through the link of `link create`; the secrets that were used on the way.
    pub async fn connect(&self) -> Vec<String> {
        self.walk(self.account).await.unwrap()
    }

    /// As [`Machine::connect`], for any account, with a daemon that may die on the way.
    pub async fn walk(&self, account: u64) -> Result<Vec<String>, Box<dyn Error>> {
        let link = self.run(&["link", "create", "Ace", "--json"]).await;
        if link.status != 0 {
            return Err(link.err.into());
        }
        let link = link.json();
        let url = link["url"].as_str().unwrap();
        assert!(url.starts_with(&format!("{}/connect/", self.public_url)));
        let client = http();
        let page = client.get(url).send().await?;
        let cookie = page.headers()["set-cookie"].to_str()?.split(';').next().unwrap().to_owned();
        let page = page.text().await?;
        let csrf = page.split_once("name=\"csrf\" value=\"").unwrap().1.split_once('"').unwrap().0;
        let form = [("csrf", csrf), ("trigger", "job_completed")];
        let pressed = client.post(url).header("cookie", &cookie).form(&form).send().await?;
        let jobber = pressed.headers()["location"].to_str()?;
        let state = jobber.split_once("state=").unwrap().1.split('&').next().unwrap();
        let code = self.sandbox.control(Op::MarketplaceCode { account })?;
        let code = code["code"].as_str().unwrap();
        let back = format!("{}/oauth/callback?code={code}&state={state}", self.public_url);
        let back = client.get(back).header("cookie", &cookie).send().await?;
        let last = back.headers().get("location").ok_or("the browser is sent nowhere")?.to_str()?;
        let page = client.get(format!("{}{last}", self.public_url));
        let page = page.header("cookie", &cookie).send().await?.text().await?;
        assert!(page.contains(" is connected"), "{page}");
        let token = url.rsplit('/').next().unwrap();
        Ok([token, cookie.split_once('=').unwrap().1, state, code].map(str::to_owned).to_vec())
    }

    /// A job that is closed by Jobber's own mutations; its `EncodedId`.
    pub fn close_a_job(&self) -> String {
        let customer = json!({
            "firstName": "John", "lastName": "Smith", "emails": [{"address": "john@example.com"}],
            "phones": [{"number": "5551234567", "smsAllowed": true}],
        });
        self.close_a_job_of(self.account, customer)
    }

    /// Closes a job earlier than it was: the clocks of HTTP count whole seconds.
    pub fn date_back(&self, job: &str) {
        let (account, id) = (self.account, job.to_owned());
        let (field, value) = ("completedAt".to_owned(), json!("2026-01-05T10:00:00Z"));
        self.sandbox.control(Op::SetField { account, id, field, value, touch: true }).unwrap();
    }

    /// As [`Machine::close_a_job`], for any account and a new customer.
    pub fn close_a_job_of(&self, account: u64, mut customer: Value) -> String {
        let graphql = |document, variables| {
            let answer = self.sandbox.graphql(account, document, variables);
            assert!(answer.get("errors").is_none(), "{answer}");
            answer["data"].clone()
        };
        customer["properties"] = json!([{"address": {"street1": "1 Main St"}}]);
        let made = graphql(
            "mutation ($c: ClientCreateInput!) { clientCreate(input: $c) { client { id clientProperties(first: 1) { nodes { id } } } } }",
            json!({ "c": customer }),
        );
        let property = &made["clientCreate"]["client"]["clientProperties"]["nodes"][0]["id"];
        let made = graphql(
            "mutation ($p: EncodedId!) { jobCreate(input: {propertyId: $p, title: \"Drain Cleaning\", invoicing: {invoicingType: FIXED_PRICE, invoicingSchedule: ON_COMPLETION}}) { job { id } } }",
            json!({ "p": property }),
        );
        let job = made["jobCreate"]["job"]["id"].as_str().unwrap().to_owned();
        graphql(
            "mutation ($id: EncodedId!) { jobClose(jobId: $id, input: {modifyIncompleteVisitsBy: DESTROY_ALL}) { job { id } } }",
            json!({"id": job}),
        );
        job
    }
}

pub fn open(machine: &Machine) -> Store {
    let key = StoreKey::parse(&STANDARD.encode([1; 32]).into()).unwrap();
    let place = match &machine.database {
        Some(url) => Place::Postgres(Box::new(Address::parse(url, None).unwrap())),
        None => Place::Folder(machine.path("store")),
    };
    // No async thread may wait for a server.
    let open = || Store::wait_for(&place, &key, IfMissing::MakeFirst, |_| true);
    std::thread::scope(|scope| scope.spawn(open).join().unwrap()).unwrap()
}

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobber-reviewd"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("JOBBER_REVIEWD") {
            command.env_remove(name);
        }
    }
    command.env_remove("NOTIFY_SOCKET").env_remove("CREDENTIALS_DIRECTORY").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub async fn say(mut command: Command) -> Said {
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it did not end").unwrap();
    Said {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

pub async fn terminate(mut daemon: Child) -> i32 {
    let id = daemon.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    tokio::time::timeout(PATIENCE, daemon.wait()).await.expect("it did not end").unwrap().code().unwrap()
}

pub async fn kill(mut daemon: Child) {
    daemon.kill().await.unwrap();
}
