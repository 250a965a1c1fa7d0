//! A PostgreSQL of the tests' own, in a temporary folder. It ends with the process that started it.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Starts a server and says so; ends it when the standard input closes. `$1` is the folder, `$2` that of the programs.
/// `$3` says whether what is written survives the end of the machine too.
const SCRIPT: &str = r#"
set -e
as=; [ "$(id -u)" != 0 ] || { as='setpriv --reuid postgres --regid postgres --clear-groups'; chown postgres "$1"; }
cd "$1"
serve() {
    $as "$2/postgres" -D "$1/data" -c listen_addresses= -c unix_socket_directories="$1" -c fsync="$3" -c max_connections=400 >>"$1/log" 2>&1 &
    server=$!
    until $as "$2/pg_isready" -q -h "$1"; do sleep 0.05; done
    echo ready
}
$as "$2/initdb" -D "$1/data" -A trust -U reviewd --no-sync -E UTF8 --locale C >"$1/log" 2>&1
serve "$@"
while read -r order; do
    case $order in
        kill) kill -KILL "$server"; wait "$server" || true; echo gone;;
        serve) rm -f "$1/data/postmaster.pid"; serve "$@";;
    esac
done
kill -INT "$server" || true
wait "$server" || true
rm -rf "$1"
"#;

pub struct Cluster {
    folder: PathBuf,
    server: Child,
    said: std::io::Lines<BufReader<std::process::ChildStdout>>,
    made: AtomicU32,
}

/// Where PostgreSQL's programs are, if they are installed.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut folders: Vec<_> = versions.flatten().map(|version| version.path().join("bin")).collect();
    folders.retain(|folder| folder.join("initdb").exists());
    folders.sort();
    folders.pop()
}

impl Cluster {
    /// `None` where PostgreSQL is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with("off")
    }

    /// As [`Cluster::start`]; `fsync` says whether it syncs, as in production, or is fast.
    pub fn start_with(fsync: &str) -> Option<Self> {
        let programs = programs()?;
        // The script removes it.
        let folder = tempfile::tempdir().unwrap().keep();
        let mut server = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .args([&folder, &programs])
            .arg(fsync)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(server.stdout.take().unwrap()).lines();
        let mut cluster = Self { folder, server, said, made: AtomicU32::new(0) };
        cluster.hear("ready");
        Some(cluster)
    }

    fn hear(&mut self, word: &str) {
        let said = self.said.next().and_then(Result::ok);
        let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        assert_eq!(said.as_deref(), Some(word), "PostgreSQL: {}", log());
    }

    fn order(&mut self, order: &str) {
        use std::io::Write as _;

        self.server.stdin.as_mut().unwrap().write_all(format!("{order}\n").as_bytes()).unwrap();
    }

    /// `kill -9`, and no farewell.
    pub fn kill(&mut self) {
        self.order("kill");
        self.hear("gone");
    }

    pub fn serve_again(&mut self) {
        self.order("serve");
        self.hear("ready");
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&user=reviewd", self.folder.display())
    }

    /// The address of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("reviewd_{}", self.made.fetch_add(1, Ordering::Relaxed));
        self.run("postgres", &format!("CREATE DATABASE {name}"));
        self.url_of(&name)
    }

    /// The number that a query says.
    pub fn number(url: &str, query: &str) -> i64 {
        let mut client = postgres::Client::connect(url, postgres::NoTls).unwrap();
        client.query_one(query, &[]).unwrap().get(0)
    }

    /// As [`Cluster::number`], of a server that may be away.
    pub fn try_number(url: &str, query: &str) -> Option<i64> {
        let mut client = postgres::Client::connect(url, postgres::NoTls).ok()?;
        Some(client.query_one(query, &[]).ok()?.get(0))
    }

    fn run(&self, database: &str, statement: &str) {
        let mut client = postgres::Client::connect(&self.url_of(database), postgres::NoTls).unwrap();
        client.batch_execute(statement).unwrap();
    }
}

/// Whether the tests are to use PostgreSQL.
pub fn is_wanted() -> bool {
    std::env::var("JOBBER_REVIEWD_TEST_STORE").is_ok_and(|store| store == "postgres")
}

/// A new database on the server of this process, if its tests are to use PostgreSQL.
pub fn wanted() -> Option<String> {
    if !is_wanted() {
        return None;
    }
    let made = any();
    assert!(made.is_some(), "PostgreSQL is not installed");
    made
}

/// A new database on the server of this process. `None` where PostgreSQL is not installed.
pub fn any() -> Option<String> {
    static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
    // No async thread may wait for the server.
    let made = std::thread::spawn(|| Some(SHARED.get_or_init(Cluster::start).as_ref()?.database()));
    let made = made.join().unwrap();
    if made.is_none() {
        skips();
    }
    made
}

/// Says that there is no PostgreSQL, which is a failure where everything must run.
pub fn skips() {
    assert!(std::env::var_os("JOBBER_REVIEWD_TEST_ALL").is_none(), "there is no PostgreSQL");
    println!("skipped: no PostgreSQL");
}
