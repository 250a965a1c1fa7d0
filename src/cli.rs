//! The command line: what was asked, whether a daemon or this process does it, and how it is told.

mod args;
mod render;

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

#[cfg(feature = "sandbox")]
use self::args::SandboxArgs;
use self::args::{
    AccountVerb, Cli, ConfigVerb, EventsVerb, LinkVerb, QueueVerb, ShadowVerb, SuppressVerb, Verb,
};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, KEYS, SecretName, Secrets, find_secret, parse_value, value_of};
use crate::context::Context;
use crate::daemon::{Daemon, stop_on_signal};
use crate::domain::import;
use crate::domain::model::{AskId, LinkId};
use crate::ops::{self, Check, CheckState, Handed, Reply, Request, Told};
use crate::server::control::{self, CallError};
use crate::store::{IfMissing, RestoreError, Store, StoreError, is_full};
use crate::text_table;

/// How often a store that is in use is tried again: its daemon may be starting or ending.
const TRIES: u32 = 20;

/// How long between two tries.
const BETWEEN: Duration = Duration::from_millis(150);

/// Hears what is told before the reply.
type Hear<'h> = dyn FnMut(Told) -> std::io::Result<()> + Send + 'h;

/// What a run came to, as the exit status says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// 0
    Fine,
    /// 1
    Failed,
    /// 2
    Usage,
    /// 3
    NeedsHuman,
    /// 4
    Partly,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Fine => 0,
            Status::Failed => 1,
            Status::Usage => 2,
            Status::NeedsHuman => 3,
            Status::Partly => 4,
        })
    }
}

/// Why a run came to nothing: a sentence and an exit status.
#[derive(Debug)]
struct Stop {
    status: Status,
    message: String,
}

impl Stop {
    fn usage(error: impl std::fmt::Display) -> Self {
        Self { status: Status::Usage, message: error.to_string() }
    }

    fn failed(error: impl std::fmt::Display) -> Self {
        Self { status: Status::Failed, message: error.to_string() }
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // --help and --version come here too; clap knows where each goes.
            let _printed = error.print();
            return if error.use_stderr() { Status::Usage } else { Status::Fine }.into();
        }
    };
    start_logging(&cli);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return give_up(&Stop::failed(error)),
    };
    match runtime.block_on(run(cli)) {
        Ok(status) => status.into(),
        Err(stop) => give_up(&stop),
    }
}

fn give_up(stop: &Stop) -> ExitCode {
    // A closed stderr leaves the exit status to speak.
    let _written = writeln!(std::io::stderr(), "jobber-reviewd: {}", stop.message);
    stop.status.into()
}

/// Logs go to stderr: the daemon's for people on a terminal and as JSON elsewhere. A verb is quiet unless something
/// is wrong, and the demo tells its troubles itself.
fn start_logging(cli: &Cli) {
    let is_daemon = cli.verb.is_none() && !cli.once;
    let usual = match &cli.verb {
        None if is_daemon => "warn,jobber_reviewd=info",
        #[cfg(feature = "sandbox")]
        Some(Verb::Demo { .. }) => "error",
        _ => "warn",
    };
    let filter = match std::env::var("JOBBER_REVIEWD_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::new(text),
        _ => EnvFilter::new(usual),
    };
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let is_terminal = std::io::stderr().is_terminal();
    if is_daemon {
        // A panic is an event like others: it must be where the others are.
        std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a panic")));
    }
    // Only a second subscriber could fail; there is none.
    let _first = if is_terminal || !is_daemon {
        logs.with_ansi(is_terminal).with_target(false).try_init()
    } else {
        logs.json().flatten_event(true).with_target(false).try_init()
    };
}

async fn run(cli: Cli) -> Result<Status, Stop> {
    if cli.once && cli.verb.is_some() {
        return Err(Stop::usage("--once is a verb of its own: leave the other one out"));
    }
    let output = Output { json: cli.json };
    let request = match cli.verb {
        None if cli.once => Request::Once { account: cli.account, dry_run: cli.dry_run },
        None => return daemon(cli.config, cli.accept_empty_store).await,
        Some(Verb::Shadow(ShadowVerb::Report { file, account })) => {
            let import::Parsed { asked, bad } = read_asked(&file)?;
            let reply = admin_request(cli.config, Request::ShadowReport { theirs: asked, account }).await?;
            for row in bad {
                tracing::warn!("line {}: {}", row.line, row.problem);
            }
            return output.reply(&reply);
        }
        Some(Verb::Import { file, account, yes }) => {
            return import_asked(cli.config, &file, account, yes, &output).await;
        }
        Some(Verb::Export { file }) => return export(cli.config, &file, &output).await,
        Some(Verb::Restore { file }) => return restore(cli.config, &file, &output).await,
        Some(Verb::Config(ConfigVerb::Show)) => return show_config(cli.config, &output),
        Some(Verb::Config(ConfigVerb::Check)) => return check_config(cli.config, &output),
        #[cfg(feature = "sandbox")]
        Some(Verb::Sandbox(args)) => return sandbox(args, &output).await,
        #[cfg(feature = "sandbox")]
        Some(Verb::Demo { keep }) => {
            crate::demo::run(keep).await.map_err(|error| Stop::failed(format!("{error:#}")))?;
            return Ok(Status::Fine);
        }
        Some(Verb::Link(LinkVerb::Create(args))) => Request::LinkCreate {
            name: args.name,
            trigger: args.trigger,
            account: args.account,
            expires_seconds: args.expires.0.as_secs(),
        },
        Some(Verb::Link(LinkVerb::List)) => Request::LinkList,
        Some(Verb::Link(LinkVerb::Revoke { id })) => Request::LinkRevoke { id: LinkId::new(id) },
        Some(Verb::Account(verb)) => account_request(verb)?,
        Some(Verb::Status { watch: true }) => return watch(cli.config).await,
        Some(Verb::Status { watch: false }) => Request::Status,
        Some(Verb::Completions { shell }) => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "jobber-reviewd", &mut text);
            return print_text(String::from_utf8_lossy(&text).trim_end());
        }
        Some(Verb::Man { folder }) => return man(&folder),
        Some(Verb::Doctor) => return doctor(cli.config, &output).await,
        Some(Verb::Events(EventsVerb::Enable { account })) => Request::EventsTurn { account, on: true },
        Some(Verb::Events(EventsVerb::Disable { account })) => Request::EventsTurn { account, on: false },
        Some(Verb::Events(EventsVerb::Status)) => Request::EventsStatus,
        Some(Verb::TestEvent { account }) => Request::TestEvent { account },
        Some(Verb::Replay { since, account, yes }) => {
            Request::Replay { account, since_seconds: since.0.as_secs(), write: yes }
        }
        Some(Verb::Explain { what, render }) => Request::Explain { what, render },
        Some(Verb::Audit { account, since }) => {
            let request = Request::Audit { account, since_seconds: since.0.as_secs() };
            return match admin_request(cli.config, request).await? {
                Reply::Explained(rows) if output.json => print_json(&rows),
                Reply::Explained(rows) => print_text(&render::audit(&rows).map_err(Stop::failed)?),
                other => output.reply(&other),
            };
        }
        Some(Verb::Suppress(SuppressVerb::Add { what, account, note })) => {
            Request::SuppressAdd { what, account, note }
        }
        Some(Verb::Suppress(SuppressVerb::Remove { what, account })) => {
            Request::SuppressRemove { what, account }
        }
        Some(Verb::Suppress(SuppressVerb::List)) => Request::SuppressList,
        Some(Verb::Queue(QueueVerb::List)) => Request::QueueList,
        Some(Verb::Queue(QueueVerb::Release { what })) => Request::QueueRelease { what },
        Some(Verb::Queue(QueueVerb::Show { id })) => Request::QueueShow { id: AskId::new(id) },
        Some(Verb::Queue(QueueVerb::Retry { id })) => Request::QueueRetry { id: AskId::new(id) },
        Some(Verb::Queue(QueueVerb::Drop { id })) => Request::QueueDrop { id: AskId::new(id) },
    };
    let reply = admin_request(cli.config, request).await?;
    output.reply(&reply)
}

fn account_request(verb: AccountVerb) -> Result<Request, Stop> {
    Ok(match verb {
        AccountVerb::List => Request::AccountList,
        AccountVerb::Show { account } => Request::AccountShow { account },
        AccountVerb::Set { account, set, unset } => {
            let (mut values, mut body, mut secret) = (BTreeMap::new(), None, None);
            for (key, value) in set {
                match key.as_str() {
                    "body_file" => body = Some(read_text(Path::new(&value))?),
                    "webhook_secret_file" => {
                        secret = Some(Handed(read_text(Path::new(&value))?.trim().to_owned()));
                    }
                    _ => {
                        values.insert(key, parse_value(&value));
                    }
                }
            }
            Request::AccountSet { account, set: values, unset, body, secret }
        }
        AccountVerb::Pause { account } => Request::AccountPause { account },
        AccountVerb::Resume { account } => Request::AccountResume { account },
        AccountVerb::Disconnect { account } => Request::AccountDisconnect { account },
        AccountVerb::Remove { account, yes } => Request::AccountRemove { account, write: yes },
    })
}

fn read_text(file: &Path) -> Result<String, Stop> {
    std::fs::read_to_string(file).map_err(|error| Stop::usage(format!("{}: {error}", file.display())))
}

async fn daemon(config: Option<PathBuf>, accept_empty_store: bool) -> Result<Status, Stop> {
    let path = config;
    let (config, secrets) = load(path.clone())?;
    let reread = Box::new(move || Config::load(path.as_deref()));
    let if_missing = if accept_empty_store { IfMissing::MakeAnyway } else { IfMissing::MakeFirst };
    let handed = handed_over()
        .map_err(|error| Stop::usage(format!("the socket that systemd handed over: {error}")))?;
    let daemon = Daemon::prepare(config, &secrets, Arc::new(SystemClock), handed, if_missing).await.map_err(
        |error| Stop { status: status_of_store(error.downcast_ref()), message: format!("{error:#}") },
    )?;
    stop_on_signal(daemon.stop()).map_err(Stop::failed)?;
    daemon.run(reread).await.map_err(|error| Stop::failed(format!("{error:#}")))?;
    Ok(Status::Fine)
}

/// The listener that the socket unit bound, if there is one: it stays bound while the daemon is restarted.
fn handed_over() -> std::io::Result<Option<tokio::net::TcpListener>> {
    let Some(listener) = listenfd::ListenFd::from_env().take_tcp_listener(0)? else { return Ok(None) };
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener).map(Some)
}

fn load(config: Option<PathBuf>) -> Result<(Config, Secrets), Stop> {
    let config = Config::load(config.as_deref()).map_err(Stop::usage)?;
    let secrets = Secrets::load(&config).map_err(Stop::usage)?;
    Ok((config, secrets))
}

/// Has the daemon do it, or does it on the store itself.
async fn admin_request(config: Option<PathBuf>, request: Request) -> Result<Reply, Stop> {
    let config = Config::load(config.as_deref()).map_err(Stop::usage)?;
    let bar = progress_bar();
    let mut hear = |told| {
        if let Told::Progress { done, of } = told {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        }
        Ok(())
    };
    let reply = reach(config, &request, &mut hear).await;
    bar.finish_and_clear();
    reply
}

async fn reach(config: Config, request: &Request, hear: &mut Hear<'_>) -> Result<Reply, Stop> {
    let mut secrets = None;
    for _ in 0..TRIES {
        match control::call(&config.control.socket, request, hear).await {
            Ok(reply) => return Ok(reply),
            Err(CallError::NoDaemon(_)) => {}
            Err(error @ CallError::Forbidden(_)) => return Err(Stop::usage(error)),
            Err(error @ (CallError::Broken(_) | CallError::Unheard(_))) => return Err(Stop::failed(error)),
        }
        let secrets = match &secrets {
            Some(secrets) => secrets,
            None => secrets.insert(Secrets::load(&config).map_err(|error| {
                Stop::usage(format!(
                    "no daemon is running, and on its own this verb needs the secrets: {error}"
                ))
            })?),
        };
        let (path, key) = (config.store.path.clone(), secrets.store_key.clone());
        let opened = tokio::task::spawn_blocking(move || Store::open(&path, &key, IfMissing::Refuse)).await;
        match opened.map_err(Stop::failed)? {
            Ok(store) => {
                let context = Context::new(config.clone(), secrets, store, Arc::new(SystemClock))
                    .map_err(Stop::failed)?;
                stop_on_signal(context.stop.clone()).map_err(Stop::failed)?;
                let reply = carry_out_here(&context, request.clone(), hear).await;
                context.close().await;
                return reply;
            }
            // A daemon holds it that does not listen yet, or not any more.
            Err(StoreError::Locked { .. }) => tokio::time::sleep(BETWEEN).await,
            Err(error) => {
                return Err(Stop { status: status_of_store(Some(&error)), message: error.to_string() });
            }
        }
    }
    Err(Stop::usage(format!(
        "{}, and nobody answers on control.socket {}: is it another daemon's store?",
        StoreError::Locked { path: config.store.path },
        config.control.socket.display()
    )))
}

async fn carry_out_here(context: &Context, request: Request, hear: &mut Hear<'_>) -> Result<Reply, Stop> {
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let carried_out = ops::carry_out(context, request, false, tell);
    tokio::pin!(carried_out);
    loop {
        tokio::select! {
            biased;
            Some(told) = told.recv() => hear(told).map_err(|error| Stop::failed(CallError::Unheard(error)))?,
            reply = &mut carried_out => {
                while let Ok(told) = told.try_recv() {
                    hear(told).map_err(|error| Stop::failed(CallError::Unheard(error)))?;
                }
                return Ok(reply);
            }
        }
    }
}

/// Writes an export beside its place and then puts it there: a copy is whole or it is not there.
async fn export(config: Option<PathBuf>, file: &Path, output: &Output) -> Result<Status, Stop> {
    let config = Config::load(config.as_deref()).map_err(Stop::usage)?;
    let cannot =
        |error: std::io::Error| Stop::usage(format!("{} cannot be written: {error}", file.display()));
    if file == Path::new("-") {
        let mut stdout = std::io::stdout();
        let reply = reach(config, &Request::Export, &mut |told| write_part(&mut stdout, told)).await?;
        // Stdout is taken.
        return match reply {
            Reply::Exported(_) => Ok(Status::Fine),
            other => output.reply(&other),
        };
    }
    let new = file.with_added_extension("new");
    let mut written = std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .map_err(cannot)?;
    let reply = reach(config, &Request::Export, &mut |told| write_part(&mut written, told)).await;
    let put = match &reply {
        Ok(Reply::Exported(_)) => written.sync_all().and_then(|()| std::fs::rename(&new, file)),
        _ => std::fs::remove_file(&new),
    };
    put.map_err(cannot)?;
    output.reply(&reply?)
}

fn write_part(to: &mut impl std::io::Write, told: Told) -> std::io::Result<()> {
    match told {
        Told::Part(part) => to.write_all(part.as_bytes()),
        Told::Progress { .. } => Ok(()),
    }
}

async fn restore(config: Option<PathBuf>, file: &Path, output: &Output) -> Result<Status, Stop> {
    let (config, secrets) = load(config)?;
    if tokio::net::UnixStream::connect(&config.control.socket).await.is_ok() {
        return Err(Stop::usage("the daemon is running: stop it, and move its store away"));
    }
    let export = std::fs::File::open(file)
        .map_err(|error| Stop::usage(format!("{} cannot be read: {error}", file.display())))?;
    let path = config.store.path.clone();
    let restored = tokio::task::spawn_blocking(move || {
        Store::restore(&path, &secrets.store_key, std::io::BufReader::new(export))
    });
    let copied = restored.await.map_err(Stop::failed)?.map_err(|error| match error {
        RestoreError::Io(_) | RestoreError::Write { .. } | RestoreError::Store(_) => Stop::failed(error),
        error => Stop::usage(error),
    })?;
    if output.json {
        return print_json(&copied);
    }
    print_text(&format!(
        "restored {} accounts as they were at {}; what was asked since then may be asked again, under the same ids",
        copied.accounts, copied.made_at
    ))
}

fn read_asked(file: &Path) -> Result<import::Parsed, Stop> {
    let cannot = |error: &dyn std::fmt::Display| Stop::usage(format!("{}: {error}", file.display()));
    let text = std::fs::read(file).map_err(|error| cannot(&error))?;
    import::parse(&text, SystemClock.now()).map_err(|error| cannot(&error))
}

/// So many rows go to the daemon at once: a request has a longest size.
const ROWS_AT_ONCE: usize = 10_000;

/// Tries every row before the first is written.
async fn import_asked(
    config: Option<PathBuf>,
    file: &Path,
    account: Option<String>,
    yes: bool,
    output: &Output,
) -> Result<Status, Stop> {
    let config = Config::load(config.as_deref()).map_err(Stop::usage)?;
    let import::Parsed { asked, bad } = read_asked(file)?;
    for write in [false, true] {
        if write && !yes {
            break;
        }
        for rows in asked.chunks(ROWS_AT_ONCE) {
            let request = Request::Import { asked: rows.to_vec(), account: account.clone(), write };
            match reach(config.clone(), &request, &mut |_| Ok(())).await? {
                Reply::Done(_) => {}
                other => return output.reply(&other),
            }
        }
    }
    if output.json {
        print_json(&json!({"rows": asked.len(), "bad": bad, "written": yes}))?;
    } else {
        for row in &bad {
            print_text(&format!("line {}: {}", row.line, row.problem))?;
        }
        let then = if yes { "noted" } else { "could be noted: add --yes to do it" };
        print_text(&format!("{} rows {then}, {} cannot be used", asked.len(), bad.len()))?;
    }
    Ok(if bad.is_empty() { Status::Fine } else { Status::Partly })
}

/// A store that forgot whom it asked is for a human to decide about; everything else at the start is the settings.
fn status_of_store(error: Option<&StoreError>) -> Status {
    match error {
        Some(StoreError::Gone { .. } | StoreError::Quarantined { .. } | StoreError::Stale { .. }) => {
            Status::NeedsHuman
        }
        // It heals, or can be healed, without touching the settings: systemd may try again.
        Some(StoreError::Sled(_) | StoreError::Failed(_)) => Status::Failed,
        Some(StoreError::Open { error, .. }) if is_full(error) => Status::Failed,
        _ => Status::Usage,
    }
}

/// A bar on a terminal, nothing elsewhere.
fn progress_bar() -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(None, target);
    match ProgressStyle::with_template("sweeping {wide_bar} {pos}/{len} accounts") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// How long `status --watch` shows one look.
const LOOK: Duration = Duration::from_secs(2);

/// The status, again and again.
async fn watch(path: Option<PathBuf>) -> Result<Status, Stop> {
    let config = Config::load(path.as_deref()).map_err(Stop::usage)?;
    let begin = if std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
    loop {
        let reply = reach(config.clone(), &Request::Status, &mut |_| Ok(())).await?;
        let text = format!("{begin}{}", render::reply(&reply));
        if writeln!(std::io::stdout(), "{text}").is_err() {
            // Whoever reads has enough.
            return Ok(Status::Fine);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Status::Fine),
        }
    }
}

fn man(folder: &Path) -> Result<Status, Stop> {
    let written =
        std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
    written.map_err(|error| Stop::usage(format!("{}: {error}", folder.display())))?;
    Ok(Status::Fine)
}

/// What can be seen without a daemon first, then what only the store and the network tell.
async fn doctor(path: Option<PathBuf>, output: &Output) -> Result<Status, Stop> {
    let mut checks = Vec::new();
    let mut rest = "configuration";
    match Config::load(path.as_deref()) {
        Err(error) => {
            checks.push(Check::failed(
                "configuration",
                error.to_string(),
                "mend it; config check reads it again",
            ));
        }
        Ok(config) => {
            checks.push(Check::fine("configuration", "it reads"));
            let reached = tokio::net::UnixStream::connect(&config.control.socket).await;
            if reached.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied) {
                return Err(Stop::usage(CallError::Forbidden(config.control.socket)));
            }
            match (reached.is_ok(), Secrets::load(&config)) {
                (true, _) => checks.push(Check::fine("daemon", "it runs, and has its secrets")),
                (false, Ok(_)) => {
                    checks.push(Check::fine("secrets", "all are there, and only we can read them"));
                }
                (false, Err(error)) => {
                    checks.push(Check::failed(
                        "secrets",
                        error.to_string(),
                        "or start the service: its unit has them",
                    ));
                    rest = "secrets";
                }
            }
            if rest == "configuration" {
                match reach(config, &Request::Doctor, &mut |_| Ok(())).await {
                    Ok(Reply::Checked(more)) => {
                        checks.extend(more);
                        rest = "";
                    }
                    Ok(other) => return output.reply(&other),
                    Err(stop) => {
                        checks.push(Check::failed("store", stop.message, "start the daemon, or mend that"));
                        rest = "store";
                    }
                }
            }
        }
    }
    if !rest.is_empty() {
        checks.push(Check::skipped("everything else", rest));
    }
    output.reply(&Reply::Checked(checks))
}

fn show_config(path: Option<PathBuf>, output: &Output) -> Result<Status, Stop> {
    let config = Config::load(path.as_deref()).map_err(Stop::usage)?;
    let mut value = serde_json::to_value(&config).map_err(Stop::failed)?;
    let secrets: serde_json::Map<String, Value> = SecretName::ALL
        .into_iter()
        .map(|name| {
            let from = match find_secret(&config, name) {
                Ok((_, source)) => source.to_string(),
                Err(error) => format!("missing: {error}"),
            };
            (name.credential().to_owned(), from.into())
        })
        .collect();
    if output.json {
        value["secrets"] = Value::Object(secrets);
        return print_json(&value);
    }
    let mut rows: Vec<[String; 2]> = KEYS
        .iter()
        .map(|key| {
            let value =
                value_of(&value, key.name).map_or_else(|| "(not set)".to_owned(), ToString::to_string);
            [key.name.to_owned(), value]
        })
        .collect();
    rows.extend(
        secrets
            .into_iter()
            .map(|(name, from)| [format!("secret {name}"), from.as_str().unwrap_or_default().to_owned()]),
    );
    print_text(&text_table::plain(&["key", "value"], rows))
}

fn check_config(path: Option<PathBuf>, output: &Output) -> Result<Status, Stop> {
    let (config, _) = load(path)?;
    let reads_always = config.review.texts(None).map_err(Stop::usage)?.reads_when_parts_are_missing();
    if output.json {
        return print_json(&json!({"ok": true, "message_reads_when_parts_are_missing": reads_always}));
    }
    print_text("the configuration is fine")?;
    if !reads_always {
        print_text(
            "review.message does not read where a title, a technician or a first name is missing: then the built-in sentence is sent",
        )?;
    }
    Ok(Status::Fine)
}

#[cfg(feature = "sandbox")]
async fn sandbox(args: SandboxArgs, output: &Output) -> Result<Status, Stop> {
    use jobber_sandbox::{CLIENT_ID, CLIENT_SECRET, Sandbox, Seed};

    let seed = match (args.seed, args.accounts) {
        (Some(_), _) => Seed::Demo,
        (None, 0) => Seed::Empty,
        (None, accounts) => Seed::Large { accounts, jobs: args.jobs },
    };
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], args.port));
    let sandbox = Sandbox::start(address, seed).await.map_err(|error| {
        Stop::usage(format!("--port: {address} cannot be bound: {error}; choose another port"))
    })?;
    let (home, api) = (format!("http://{}/", sandbox.address()), sandbox.api_base());
    if output.json {
        print_json(
            &json!({"home": home, "api_base": api, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}),
        )?;
    } else {
        print_text(&format!(
            "A local Jobber runs at {home}\n  jobber.api_base   {api}\n  jobber.client_id  {CLIENT_ID}\n  client secret     {CLIENT_SECRET}\n  control           POST {home}control\nCtrl-C ends it."
        ))?;
    }
    let stop = tokio_util::sync::CancellationToken::new();
    stop_on_signal(stop.clone()).map_err(Stop::failed)?;
    stop.cancelled().await;
    Ok(Status::Fine)
}

fn print_text(text: &str) -> Result<Status, Stop> {
    match writeln!(std::io::stdout(), "{text}") {
        // Whoever reads has enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Status::Fine),
        Err(error) => Err(Stop::failed(error)),
        Ok(()) => Ok(Status::Fine),
    }
}

fn print_json(value: &impl serde::Serialize) -> Result<Status, Stop> {
    print_text(&serde_json::to_string_pretty(value).map_err(Stop::failed)?)
}

/// How replies are printed to stdout.
struct Output {
    json: bool,
}

impl Output {
    fn reply(&self, reply: &Reply) -> Result<Status, Stop> {
        match reply {
            Reply::Refused(message) => return Err(Stop::usage(message)),
            Reply::Failed(message) => return Err(Stop::failed(message)),
            Reply::Done(message) if self.json => print_json(&json!({"done": message}))?,
            Reply::Once(value) if self.json => print_json(value)?,
            Reply::LinkCreated(value) if self.json => print_json(value)?,
            Reply::Links(value) if self.json => print_json(value)?,
            Reply::Accounts(value) if self.json => print_json(value)?,
            Reply::Account(value) if self.json => print_json(value)?,
            Reply::Events(value) if self.json => print_json(value)?,
            Reply::Checked(value) if self.json => print_json(value)?,
            Reply::Shadow(value) if self.json => print_json(value)?,
            Reply::Suppressed(value) if self.json => print_json(value)?,
            Reply::Exported(value) if self.json => print_json(value)?,
            Reply::Status(value) if self.json => print_json(value)?,
            Reply::Explained(value) if self.json => print_json(value)?,
            Reply::Queue(value) if self.json => print_json(value)?,
            Reply::Ask(value) if self.json => print_json(value)?,
            other => print_text(&render::reply(other))?,
        };
        Ok(status_of(reply))
    }
}

fn status_of(reply: &Reply) -> Status {
    match reply {
        Reply::Once(report) => {
            let lost = report.accounts.iter().any(|account| account.state == "needs_authorization")
                || report.errors.iter().any(|error| error.needs_operator);
            let worked = report.delivered > 0 || report.accounts.iter().any(|account| account.polled);
            if lost || report.dead > 0 {
                Status::NeedsHuman
            } else if report.errors.is_empty() {
                Status::Fine
            } else if worked {
                Status::Partly
            } else {
                Status::Failed
            }
        }
        Reply::Status(report) if report.accounts.iter().any(ops::AccountStatus::needs_human) => {
            Status::NeedsHuman
        }
        Reply::Checked(checks) if checks.iter().any(|check| check.state == CheckState::Failed) => {
            Status::NeedsHuman
        }
        Reply::Events(rows) if rows.iter().all(|row| row.error.is_none()) => Status::Fine,
        Reply::Events(rows) if rows.iter().all(|row| row.error.is_some()) => Status::Failed,
        Reply::Events(_) => Status::Partly,
        Reply::Explained(explained) if explained.is_empty() => Status::Failed,
        _ => Status::Fine,
    }
}
