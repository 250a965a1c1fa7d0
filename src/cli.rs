//! The command line: runs verbs through the daemon or in this process, and prints the replies.

mod args;
mod audit;
mod call;
mod completions;
mod doctor;
mod examples;
mod exit;
mod files;
mod init;
mod jobber;
mod links;
mod man;
mod only;
mod reach;
mod settings;
mod show;
mod style;
mod version;

use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _};
use tracing_subscriber::EnvFilter;

#[cfg(feature = "demo")]
use self::args::SandboxArgs;
use self::args::settings_of;
use self::args::{
    AccountVerb, AlertsVerb, Cli, ConfigVerb, EventsVerb, KeyVerb, LinkVerb, Only, ProbeArgs, QueueVerb,
    ShadowVerb, SuppressVerb, Verb,
};
use self::call::Call;
#[cfg(feature = "demo")]
use self::call::{print_json, print_text};
use self::examples::with_examples;
use self::exit::{Status, Stop, status_of_store};
use self::reach::{ask, reach};
use self::show::{Paper, Show as _};
use self::version::Version;
use crate::clock::SystemClock;
use crate::config::{Config, allow_trials, parse_value, try_templates};
use crate::daemon::{Daemon, stop_on_signal};
use crate::domain::model::{LinkId, MessageId};
use crate::ops::Done;
use crate::ops::accounts::Handed;
use crate::ops::protocol;
use crate::store::{IfMissing, Store, StoreError};
use crate::telemetry::traces::Traces;

/// How long threads are waited for when everything is done.
const LAST_THREADS: Duration = Duration::from_secs(2);

const LOOK: Duration = Duration::from_secs(2);

/// The definition of the command line.
#[doc(hidden)]
pub fn command() -> clap::Command {
    with_examples(Cli::command())
}

/// Runs the program.
pub fn main() -> ExitCode {
    match completions::answered() {
        Ok(false) => {}
        Ok(true) => return Status::Fine.into(),
        Err(error) => {
            // clap prints to the right stream.
            let _printed = error.print();
            return Status::Usage.into();
        }
    }
    let parsed = command().try_get_matches().and_then(|found| Cli::from_arg_matches(&found));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // --help and --version come here too. clap prints each to the right stream.
            let _printed = error.print();
            return if error.use_stderr() { Status::Usage } else { Status::Fine }.into();
        }
    };
    if cli.version {
        let call = Call { config: None, json: cli.json };
        return match call.print(&Version::of_this(cli.verbose)) {
            Ok(status) => status.into(),
            Err(stop) => give_up(&stop, cli.json),
        };
    }
    if matches!(cli.verb, Some(Verb::TryTemplates)) {
        return try_templates();
    }
    allow_trials();
    start_logging(&cli);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return give_up(&Stop::failed(error), cli.json),
    };
    let is_json = cli.json;
    let ran = runtime.block_on(run(cli));
    // A thread that waits for a database need not come back.
    runtime.shutdown_timeout(LAST_THREADS);
    match ran {
        Ok(status) => status.into(),
        Err(stop) => give_up(&stop, is_json),
    }
}

/// Why the program gave up, on stderr.
#[derive(serde::Serialize)]
struct GaveUp<'s> {
    error: &'s str,
    exit_status: u8,
}

fn give_up(stop: &Stop, is_json: bool) -> ExitCode {
    let told = if is_json {
        // Text and a number always become JSON.
        serde_json::to_string(&GaveUp { error: &stop.message, exit_status: stop.status.code() })
            .unwrap_or_default()
    } else {
        format!("jobber-reviewd: {}", stop.message)
    };
    // If stderr is closed, only the exit status remains.
    let _written = writeln!(std::io::stderr(), "{told}");
    stop.status.into()
}

/// Logs go to stderr. The daemon logs for people on a terminal and as JSON elsewhere. Verbs log only
/// problems, and the demo prints its own.
fn start_logging(cli: &Cli) {
    let is_daemon = cli.verb.is_none() && !cli.once;
    let usual = match &cli.verb {
        None if is_daemon => "warn,jobber_reviewd=info",
        #[cfg(feature = "demo")]
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
        // Panics go to the log like other events.
        std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "the program panicked")));
    }
    // This fails only if there is a subscriber already, and there is none.
    let _first = if is_terminal || !is_daemon {
        logs.with_ansi(is_terminal).with_target(false).try_init()
    } else {
        logs.json().flatten_event(true).with_target(false).try_init()
    };
}

async fn run(cli: Cli) -> Result<Status, Stop> {
    if cli.once && cli.verb.is_some() {
        return Err(Stop::usage("--once cannot be combined with a verb: use only one of them"));
    }
    let call = Call { config: cli.config, json: cli.json };
    let Some(verb) = cli.verb else {
        if cli.once {
            return call.run(protocol::Once { account: cli.account, dry_run: cli.dry_run }).await;
        }
        let may_begin = if cli.accept_empty_store {
            IfMissing::MakeAnyway
        } else if cli.first_start {
            IfMissing::MakeFirst
        } else {
            IfMissing::Refuse
        };
        return daemon(call, may_begin).await;
    };
    match verb {
        Verb::Link(verb) => link(&call, verb).await,
        Verb::Account(verb) => account(&call, verb).await,
        Verb::Events(verb) => events(&call, verb).await,
        Verb::Key(verb) => key(&call, verb).await,
        Verb::Suppress(verb) => suppress(&call, verb).await,
        Verb::Forget { what, account, yes } => call.run(protocol::Forget { what, account, write: yes }).await,
        Verb::ExportPerson { what, account } => {
            call::print_json(&ask(call.config.as_deref(), &protocol::ExportPerson { what, account }).await?)
        }
        Verb::Queue(verb) => queue(&call, verb).await,
        Verb::Shadow(ShadowVerb::Report { file, account }) => {
            files::shadow_report(&call, &file, account).await
        }
        Verb::Import { file, account, columns, yes } => {
            files::import_asked(&call, &file, account, &columns, yes).await
        }
        Verb::Export { file } => files::export(&call, &file).await,
        Verb::Restore { file } => files::restore(&call, &file).await,
        Verb::Config(ConfigVerb::Show) => settings::show(&call),
        Verb::Config(ConfigVerb::Check) => settings::check(&call),
        Verb::Config(ConfigVerb::Schema) => settings::schema(),
        Verb::Init(args) => init::init(call, args).await,
        Verb::Secret(verb) => init::secret(&call, verb),
        Verb::Console => call.run(protocol::ConsoleOpen {}).await,
        Verb::Status { watch: true, only } => watch(&call, &only).await,
        Verb::Status { watch: false, only } => {
            let mut report = ask(call.config.as_deref(), &protocol::Status {}).await?;
            only.of_accounts(&call, &mut report).await?;
            call.print(&report)
        }
        Verb::Alerts(AlertsVerb::Test) => call.run(protocol::AlertsTest {}).await,
        Verb::Doctor => doctor::doctor(&call).await,
        Verb::Probe(args) => {
            let ProbeArgs { account, yes: ask, api_version, job, client } = args;
            call.run(protocol::Probe { account, ask, api_version, job, client }).await
        }
        Verb::TestEvent { account } => call.run(protocol::TestEvent { account }).await,
        Verb::Replay { since, account, yes } => {
            call.run(protocol::Replay { account, since_seconds: since.0.as_secs(), write: yes }).await
        }
        Verb::Explain { what, render } => call.run(protocol::Explain { what, render }).await,
        Verb::Jobber(verb) => jobber::jobber(&call, verb).await,
        Verb::Audit { account, since, actions: true } => {
            call.run(protocol::AuditActions { account, since_seconds: since.0.as_secs() }).await
        }
        Verb::Audit { account, since, actions: false } => {
            let audit = protocol::Audit { account, since_seconds: since.0.as_secs() };
            audit::audit(call.config.as_deref(), &audit, call.json).await
        }
        Verb::Completions { shell } => completions::write(shell),
        Verb::Man { folder } => man::write(&folder),
        Verb::TryTemplates => Ok(Status::Fine),
        #[cfg(feature = "demo")]
        Verb::Sandbox(args) => sandbox(args, &call).await,
        #[cfg(feature = "demo")]
        Verb::Demo { keep } => {
            crate::demo::run(keep).await.map_err(|error| Stop::failed(format!("{error:#}")))?;
            Ok(Status::Fine)
        }
    }
}

async fn link(call: &Call, verb: LinkVerb) -> Result<Status, Stop> {
    match verb {
        LinkVerb::Create(args) => links::create(call, args).await,
        LinkVerb::Prune => call.run(protocol::LinkPrune {}).await,
        LinkVerb::List => call.run(protocol::LinkList {}).await,
        LinkVerb::Revoke { id } => call.run(protocol::LinkRevoke { id: LinkId::new(id) }).await,
    }
}

async fn account(call: &Call, verb: AccountVerb) -> Result<Status, Stop> {
    match verb {
        AccountVerb::List => call.run(protocol::AccountList {}).await,
        AccountVerb::Show { account } => call.run(protocol::AccountShow { account }).await,
        AccountVerb::Set { all: false, words, unset } => {
            let Some((account, pairs)) = words.split_first() else {
                return Err(Stop::usage("name an account, or write --all"));
            };
            call.run(account_set(account.clone(), settings_of(pairs)?, unset)?).await
        }
        AccountVerb::Set { all: true, words, unset } => set_all(call, &words, unset).await,
        AccountVerb::Pause { account } => call.run(protocol::AccountPause { account }).await,
        AccountVerb::Resume { account } => call.run(protocol::AccountResume { account }).await,
        AccountVerb::Disconnect { account, yes } => {
            call.run(protocol::AccountDisconnect { account, write: yes }).await
        }
        AccountVerb::Remove { account, yes } => {
            call.run(protocol::AccountRemove { account, write: yes }).await
        }
    }
}

/// Changes every account, by its id, up to the first that refuses.
async fn set_all(call: &Call, words: &[String], unset: Vec<String>) -> Result<Status, Stop> {
    let set = settings_of(words)?;
    let accounts = ask(call.config.as_deref(), &protocol::AccountList {}).await?;
    let mut changed = Vec::new();
    for account in accounts {
        let wanted = account_set(account.id.to_string(), set.clone(), unset.clone())?;
        ask(call.config.as_deref(), &wanted).await.map_err(|stop| {
            let told = format!("{}: {}; accounts changed: {}", account.name, stop.message, changed.len());
            Stop::new(if changed.is_empty() { stop.status } else { Status::Partly }, told)
        })?;
        changed.push(account.name);
    }
    call.print(&Done::new(format!("accounts changed: {}", changed.len())))
}

/// Reads the named files here, because the daemon's user may have no permission.
fn account_set(
    account: String,
    set: Vec<(String, String)>,
    unset: Vec<String>,
) -> Result<protocol::AccountSet, Stop> {
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
    Ok(protocol::AccountSet { account, set: values, unset, body, secret })
}

async fn events(call: &Call, verb: EventsVerb) -> Result<Status, Stop> {
    match verb {
        EventsVerb::Enable { account } => call.run(protocol::EventsTurn { account, on: true }).await,
        EventsVerb::Disable { account } => call.run(protocol::EventsTurn { account, on: false }).await,
        EventsVerb::Status => call.run(protocol::EventsStatus {}).await,
    }
}

async fn key(call: &Call, verb: KeyVerb) -> Result<Status, Stop> {
    match verb {
        KeyVerb::Create { name, account, may } => call.run(protocol::KeyCreate { name, account, may }).await,
        KeyVerb::List => call.run(protocol::KeyList {}).await,
        KeyVerb::Revoke { name } => call.run(protocol::KeyRevoke { name }).await,
    }
}

async fn suppress(call: &Call, verb: SuppressVerb) -> Result<Status, Stop> {
    match verb {
        SuppressVerb::Add { what, account, note } => {
            call.run(protocol::SuppressAdd { what, account, note }).await
        }
        SuppressVerb::Remove { what, account } => call.run(protocol::SuppressRemove { what, account }).await,
        SuppressVerb::List => call.run(protocol::SuppressList {}).await,
    }
}

async fn queue(call: &Call, verb: QueueVerb) -> Result<Status, Stop> {
    match verb {
        QueueVerb::List { only } => {
            let mut rows = ask(call.config.as_deref(), &protocol::QueueList {}).await?;
            only.of_queue(call, &mut rows).await?;
            call.print(&rows)
        }
        QueueVerb::Release { what } => call.run(protocol::QueueRelease { what }).await,
        QueueVerb::ReleaseBurst { account } => call.run(protocol::QueueReleaseBurst { account }).await,
        QueueVerb::DropBurst { account } => call.run(protocol::QueueDropBurst { account }).await,
        QueueVerb::Show { id } => call.run(protocol::QueueShow { id: MessageId::new(id) }).await,
        QueueVerb::Retry { id } => call.run(protocol::QueueRetry { id: MessageId::new(id) }).await,
        QueueVerb::Drop { id } => call.run(protocol::QueueDrop { id: MessageId::new(id) }).await,
    }
}

fn read_text(file: &Path) -> Result<String, Stop> {
    std::fs::read_to_string(file).map_err(|error| Stop::usage(format!("{}: {error}", file.display())))
}

async fn daemon(call: Call, may_begin: IfMissing) -> Result<Status, Stop> {
    let (config, secrets) = call.secrets()?;
    let path = call.config;
    let reread = Box::new(move || Config::load(path.as_deref()));
    let if_missing = match may_begin {
        // A database says so when it is opened.
        IfMissing::Refuse if config.store.url.is_none() && Store::was_never_in(&config.store.path) => {
            first_start(&config.store.path)?
        }
        other => other,
    };
    let is_database = config.store.url.is_some();
    let handed = handed_over().map_err(|error| {
        Stop::usage(format!("the socket from systemd cannot be used: {error}; check jobber-reviewd.socket"))
    })?;
    let daemon = Daemon::prepare(config, &secrets, Arc::new(SystemClock), handed, if_missing).await.map_err(
        |error| match error.downcast_ref() {
            Some(StoreError::Missing { path }) if is_database => Stop::usage(no_store_in(path)),
            store => Stop::new(status_of_store(store), format!("{error:#}")),
        },
    )?;
    // It was stopped while another one worked.
    let Some(daemon) = daemon else { return Ok(Status::Fine) };
    let traces = Traces::begin().map_err(|error| {
        Stop::usage(format!("traces: {error}; correct the OTEL_… variables, or leave them out"))
    })?;
    stop_on_signal(daemon.stop()).map_err(Stop::failed)?;
    let ran = daemon.run(reread).await;
    if let Some(traces) = traces {
        traces.end().await;
    }
    ran.map_err(|error| Stop::failed(format!("{error:#}")))?;
    Ok(Status::Fine)
}

/// Whether a store may begin in a folder that never had one: a mistyped path would forget who was asked. The folder that
/// systemd makes for the service cannot be mistyped, unless another store lies in it.
fn first_start(path: &Path) -> Result<IfMissing, Stop> {
    let given = std::env::var_os("STATE_DIRECTORY").unwrap_or_default();
    let is_given =
        std::env::split_paths(&given).any(|folder| folder.is_absolute() && path.starts_with(folder));
    if is_given && !Store::is_beside_another(path) {
        return Ok(IfMissing::MakeFirst);
    }
    let there = path.display();
    let fact =
        format!("store.path: there was never a store in {there}, and a new one knows nobody who was asked");
    if std::io::stdin().is_terminal() {
        confirm(&format!("{fact}. Now one is made there"))?;
        return Ok(IfMissing::MakeFirst);
    }
    Err(Stop::usage(format!("{fact}; correct it, or add --first-start if this is the first start")))
}

fn no_store_in(database: &Path) -> String {
    format!(
        "store.url: there was never a store in {}, and a new one knows nobody who was asked; correct it, restore an export (`jobber-reviewd restore FILE`), or add --first-start if this is the first start",
        database.display()
    )
}

/// Asks a person for a yes.
fn confirm(warning: &str) -> Result<(), Stop> {
    if !std::io::stdin().is_terminal() {
        return Err(Stop::usage(format!("{warning}. Add --yes to do it")));
    }
    let mut stderr = std::io::stderr();
    let mut line = String::new();
    let asked = write!(stderr, "{warning}.\nDo it? [y/N] ").and_then(|()| stderr.flush());
    asked.and_then(|()| std::io::stdin().lock().read_line(&mut line)).map_err(Stop::failed)?;
    if matches!(line.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Stop::usage("nothing was done")) }
}

/// The listener from the socket unit, if there is one. It stays bound while the daemon restarts.
fn handed_over() -> std::io::Result<Option<tokio::net::TcpListener>> {
    let Some(listener) = listenfd::ListenFd::from_env().take_tcp_listener(0)? else { return Ok(None) };
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener).map(Some)
}

async fn watch(call: &Call, only: &Only) -> Result<Status, Stop> {
    let config = call.config()?;
    let begin = if std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
    loop {
        let mut report = reach(&config, &protocol::Status {}, &mut |_| Ok(())).await?;
        only.of_accounts(call, &mut report).await?;
        if writeln!(std::io::stdout(), "{begin}{}", report.text(&Paper::of_terminal())).is_err() {
            // The reader has closed the pipe.
            return Ok(Status::Fine);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Status::Fine),
        }
    }
}

/// Where the local Jobber is.
#[cfg(feature = "demo")]
#[derive(serde::Serialize)]
struct SandboxRuns<'s> {
    home: &'s str,
    api_base: &'s str,
    client_id: &'s str,
    client_secret: &'s str,
}

#[cfg(feature = "demo")]
async fn sandbox(args: SandboxArgs, call: &Call) -> Result<Status, Stop> {
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
    // Before anybody is told that it runs.
    let stop = tokio_util::sync::CancellationToken::new();
    stop_on_signal(stop.clone()).map_err(Stop::failed)?;
    let (home, api) = (format!("http://{}/", sandbox.address()), sandbox.api_base());
    if call.json {
        let running =
            SandboxRuns { home: &home, api_base: &api, client_id: CLIENT_ID, client_secret: CLIENT_SECRET };
        print_json(&running)?;
    } else {
        print_text(&format!(
            "A local Jobber runs at {home}\n  jobber.api_base   {api}\n  jobber.client_id  {CLIENT_ID}\n  client secret     {CLIENT_SECRET}\n  control           POST {home}control\nPress Ctrl-C to stop it."
        ))?;
    }
    stop.cancelled().await;
    Ok(Status::Fine)
}
