//! The receivers of `docs/receivers`, each against the daemon: nothing to complain about, and each message once.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use jiff::Timestamp;
use jobber_reviewd::testing::model::Trigger;
use jobber_reviewd::testing::protocol::TestEvent;
use jobber_reviewd::testing::{Check, CheckState, Clock as _, SystemClock};

use crate::support::*;

/// Where `.ci/run` puts the libraries of other languages.
fn libraries() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("receivers")
}

fn paper(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/receivers").join(name)
}

fn works(program: &Path, arguments: &[&str]) -> bool {
    let tried = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

fn skips(what: &str) {
    assert!(std::env::var_os("JOBBER_REVIEWD_TEST_ALL").is_none(), "there is no {what}");
    println!("skipped: no {what}");
}

/// A port that was free a moment ago, for a server that does not take one by itself.
fn free_port() -> u16 {
    std::net::TcpListener::bind(local()).unwrap().local_addr().unwrap().port()
}

struct Running {
    program: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.program.kill().and_then(|()| self.program.wait());
    }
}

impl Running {
    /// Starts a receiver that says its port.
    fn start(mut command: Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        command.env("PORT", "0").stdout(Stdio::piped());
        let mut program = Self::spawn(command, &folder);
        let mut line = String::new();
        BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("listening on ").and_then(|port| port.parse().ok());
        Self { program, port: port.unwrap_or_else(|| panic!("it said {line:?}")), folder }
    }

    /// PHP's own server says on stderr that it listens.
    fn start_php() -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let mut command = Command::new("php");
        command.args(["-S", &format!("127.0.0.1:{port}")]).arg(paper("receiver.php")).stderr(Stdio::piped());
        let mut program = Self::spawn(command, &folder);
        let mut told = BufReader::new(program.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("started") {
            line.clear();
            assert!(told.read_line(&mut line).unwrap() > 0, "it ended");
        }
        // It writes a line for each request and must not wait for a reader.
        std::thread::spawn(move || told.read_to_end(&mut Vec::new()));
        Self { program, port, folder }
    }

    fn spawn(mut command: Command, folder: &tempfile::TempDir) -> Child {
        command.env("WEBHOOK_SECRET", webhook_secret()).env("ASKS", folder.path().join("asks"));
        command.spawn().unwrap()
    }

    fn stored(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.folder.path().join("asks")).unwrap();
        let mut names: Vec<String> =
            files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    async fn behaves(self) {
        let url = format!("http://127.0.0.1:{}/", self.port);
        let app = TestApp::start_with(|config| {
            config.review.webhook_url = serde_json::from_value(url.into()).unwrap();
        })
        .await;
        let pass_to = |at: Timestamp| app.pass(at.duration_since(app.clock_now()));
        pass_to(SystemClock.now() - hours(3));
        let ace = app.contractor("Ace Plumbing");
        app.connect(&ace, Trigger::JobCompleted).await;
        app.pass(minutes(10));
        let job = ace.closed_job(&app);
        app.sweep().await;
        // Receivers refuse what is signed for another time than their own.
        pass_to(SystemClock.now());
        assert_eq!(app.once().await.delivered, 1);
        let stored = self.stored();
        assert!(stored.len() == 1 && stored[0].starts_with("ask_"), "{stored:?}");
        let body = std::fs::read_to_string(self.folder.path().join("asks").join(&stored[0])).unwrap();
        assert!(body.contains(job.id.as_str()), "{body}");

        let checks: Vec<Check> = app.run(TestEvent { account: None }).await.unwrap();
        assert!(checks.iter().all(|check| check.state != CheckState::Failed), "{checks:#?}");
        assert!(checks[0].detail.contains("401"), "{checks:#?}");
        let stored = self.stored();
        assert_eq!(stored.len(), 2, "the sample came twice and is there once: {stored:?}");
        assert!(stored[1].starts_with("test_"));
    }
}

#[tokio::test]
async fn in_rust() {
    let deps = std::env::current_exe().unwrap();
    let program = deps.parent().unwrap().parent().unwrap().join("examples/receiver");
    if !program.exists() {
        return skips("receiver in Rust: cargo build --example receiver");
    }
    Running::start(Command::new(program)).behaves().await;
}

#[tokio::test]
async fn in_python() {
    let own = libraries().join("python/bin/python3");
    let Some(python) =
        [own, "python3".into()].into_iter().find(|python| works(python, &["-c", "import standardwebhooks"]))
    else {
        return skips("Python with standardwebhooks");
    };
    let mut command = Command::new(python);
    command.arg(paper("receiver.py"));
    Running::start(command).behaves().await;
}

#[tokio::test]
async fn in_node() {
    // Node looks for libraries beside the file.
    let beside = libraries().join("node_modules/standardwebhooks");
    if !beside.exists() || !works(Path::new("node"), &["--version"]) {
        return skips("Node with standardwebhooks");
    }
    let program = libraries().join("receiver.mjs");
    std::fs::copy(paper("receiver.mjs"), &program).unwrap();
    let mut command = Command::new("node");
    command.arg(program);
    Running::start(command).behaves().await;
}

#[tokio::test]
async fn in_php() {
    if !works(Path::new("php"), &["--version"]) {
        return skips("PHP");
    }
    Running::start_php().behaves().await;
}
