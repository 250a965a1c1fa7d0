//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::exit::Stop;
use super::init::{InitArgs, SecretVerb};
use super::jobber::JobberVerb;
use crate::config::{Period, TRY_TEMPLATES};
use crate::domain::model::Trigger;

/// How long a link works when nobody says otherwise.
const LINK_LIVES: &str = "7d";

/// How far an audit looks back when nobody says otherwise.
const AUDITED: &str = "90d";

/// Asks a contractor's customers for a review when a job in Jobber is done.
///
/// Without a verb, it runs the daemon. While the daemon runs, every verb goes through its control socket; otherwise
/// the verb opens the store itself.
#[derive(Debug, Parser)]
#[command(
    name = "jobber-reviewd",
    disable_version_flag = true,
    after_help = "Exit status: 0 success, 1 failure, 2 wrong usage or configuration, 3 somebody must act (lost \
                  connection, dead letters, missing store), 4 partly done, 5 not found.\nLogs go to stderr. JOBBER_REVIEWD_LOG=debug shows more; it also takes the filters of tracing."
)]
pub(super) struct Cli {
    /// The configuration file [default: /etc/jobber-reviewd/config.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE", env = "JOBBER_REVIEWD_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// Print one JSON object or array instead of text
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Run one sweep and exit: poll Jobber, decide what is due, deliver what is due, print a report
    #[arg(long)]
    pub(super) once: bool,
    /// With --once: send nothing and store nothing, except a token that Jobber rotates
    #[arg(long, requires = "once")]
    pub(super) dry_run: bool,
    /// With --once: only this account, by id or name
    #[arg(long, requires = "once", value_name = "ACCOUNT")]
    pub(super) account: Option<String>,
    /// Start with an empty store even if there was one before: no account is connected then, and past asks are forgotten
    #[arg(
        long,
        conflicts_with_all = ["once", "dry_run", "account"],
        env = "JOBBER_REVIEWD_ACCEPT_EMPTY_STORE"
    )]
    pub(super) accept_empty_store: bool,
    /// Create the store: without this, a store.path that was never used is asked about, or refused where nobody can answer; an empty store.url is refused
    #[arg(long, env = "JOBBER_REVIEWD_FIRST_START")]
    pub(super) first_start: bool,
    /// Print the version
    #[arg(short = 'V', long)]
    pub(super) version: bool,
    /// With --version: also the commit, the version of Jobber's API, the features, the target and the compiler
    #[arg(long, requires = "version")]
    pub(super) verbose: bool,
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Write settings and secrets for a new installation: asks for what is not given, and writes over nothing
    Init(InitArgs),
    /// Secrets that are ours to make
    #[command(subcommand)]
    Secret(SecretVerb),
    /// One-time authorisation links
    #[command(subcommand)]
    Link(LinkVerb),
    /// Connected Jobber accounts
    #[command(subcommand)]
    Account(AccountVerb),
    /// Copy the whole store into a file, whether the daemon runs or not; tokens in it stay sealed
    Export {
        /// The file; - is stdout
        file: PathBuf,
    },
    /// Create the store from an export; stop the daemon and move the old store away first
    Restore {
        /// The file
        file: PathBuf,
    },
    /// Open the operator's console for one browser: prints an address that works once
    Console,
    /// Show the state of every account and what to do
    Status {
        /// Show it again every two seconds, until Ctrl-C
        #[arg(long, conflicts_with = "json")]
        watch: bool,
        #[command(flatten)]
        only: Only,
    },
    /// Alerts of the daemon
    #[command(subcommand)]
    Alerts(AlertsVerb),
    /// Check the installation step by step; every problem comes with a remedy
    Doctor,
    /// Jobber's webhooks: with them, finished work is seen at once, not only by the next sweep
    #[command(subcommand)]
    Events(EventsVerb),
    /// Ask a live account what is not known about Jobber; the answers hold no names, numbers or ids
    Probe(ProbeArgs),
    /// Send a sample, marked as a test, to the review platform: with a wrong signature, with the right one, and a repeat
    TestEvent {
        /// Use the review platform of this account, by id or name
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Send dead letters again, the same bytes under the same ids
    Replay {
        /// Those given up within this time: 24h, 7d
        #[arg(long, value_name = "PERIOD", value_parser = Period::parse)]
        since: Period,
        /// Only this account, by id or name
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// Do it; without this, only count
        #[arg(long)]
        yes: bool,
    },
    /// Why a customer was or was not asked
    Explain {
        /// A client, job or invoice by number, name or id; a phone, an e-mail, or the id of an ask
        what: String,
        /// Also read the work from Jobber and show the message as it would be now; nothing is sent
        #[arg(long)]
        render: bool,
    },
    /// Compare with an old automation that still sends (review.shadow)
    #[command(subcommand)]
    Shadow(ShadowVerb),
    /// Every decision as CSV (or --json): who was asked, who was not and why, and proof of each delivery
    Audit {
        /// Only this account, by id or name
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// How far back: 90d, 12h
        #[arg(long, value_name = "PERIOD", default_value = AUDITED, value_parser = Period::parse)]
        since: Period,
        /// What was written in Jobber instead
        #[arg(long)]
        actions: bool,
    },
    /// Do something in Jobber: search, show, create, change; and any GraphQL document
    #[command(subcommand)]
    Jobber(JobberVerb),
    /// Keys of the HTTP API
    #[command(subcommand)]
    Key(KeyVerb),
    /// People who are never asked
    #[command(subcommand)]
    Suppress(SuppressVerb),
    /// Erase who somebody is from everything that is kept, and never ask them again; ids, reasons and times stay
    Forget {
        /// A phone number, an e-mail address, or the id of a client from Jobber's API
        what: String,
        /// Only what this account keeps, by id or name
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// Do it; without this, only show what there is
        #[arg(long)]
        yes: bool,
    },
    /// Everything that is kept about somebody, as JSON
    ExportPerson {
        /// A phone number, an e-mail address, or the id of a client from Jobber's API
        what: String,
        /// Only what this account keeps, by id or name
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Import people whom another tool has asked, so that review.cooldown applies to them too
    Import {
        /// A CSV file with the columns phone, email, `asked_at` and, if it covers several accounts, account
        file: PathBuf,
        /// The account, by id or name, for rows without one
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// What the file calls its columns, such as `phone=Mobile,asked_at=Sent`
        #[arg(long, value_name = "NAME=COLUMN,…", value_delimiter = ',')]
        columns: Vec<String>,
        /// Store the people; without this, only count
        #[arg(long)]
        yes: bool,
    },
    /// Candidates, queued asks and dead letters
    #[command(subcommand)]
    Queue(QueueVerb),
    /// The effective settings
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Print what a shell needs to complete this command line
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a folder
    Man {
        /// The folder; it is created if it does not exist
        folder: PathBuf,
    },
    /// Render the templates that stand on the standard input, with little memory
    #[command(name = TRY_TEMPLATES, hide = true)]
    TryTemplates,
    /// Run a local imitation of Jobber for trials
    #[cfg(feature = "demo")]
    Sandbox(SandboxArgs),
    /// Show a complete run with a local imitation of Jobber
    #[cfg(feature = "demo")]
    Demo {
        /// Leave everything running and print the addresses to click
        #[arg(long)]
        keep: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct ProbeArgs {
    /// The account, by id or name
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) account: String,
    /// Ask; without this, only list the questions
    #[arg(long)]
    pub(super) yes: bool,
    /// Ask for another version of the API, such as 2026-09-25
    #[arg(long, value_name = "VERSION")]
    pub(super) api_version: Option<String>,
    /// The id of a closed job that may be reopened and closed again; take one made for this, because its customer can be asked for a review
    #[arg(long, value_name = "ID")]
    pub(super) job: Option<String>,
    /// The id of a client whose company name may be cleared and put back
    #[arg(long, value_name = "ID")]
    pub(super) client: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum LinkVerb {
    /// Create a link for a contractor; it is shown only once
    Create(LinkArgs),
    /// List all links and their states
    List,
    /// Forget links that were used, revoked or not used in time
    Prune,
    /// Revoke a link
    Revoke {
        /// The link's short name, lnk_…
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct LinkArgs {
    /// Who the link is for, such as "Ace Plumbing"
    pub(super) name: Option<String>,
    /// A CSV file with a link for each line: a column `name`, and `trigger` and `account` if there are such. It is printed
    /// again with the links
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "account"])]
    pub(super) from: Option<PathBuf>,
    /// The trigger that is preselected on its page: `job_completed`, `visit_completed`, `invoice_created` or `invoice_paid`
    #[arg(long, value_name = "TRIGGER")]
    pub(super) trigger: Option<Trigger>,
    /// How long the link works, such as 90m, 12h or 7d
    #[arg(long, value_name = "PERIOD", default_value = LINK_LIVES, value_parser = Period::parse)]
    pub(super) expires: Period,
    /// Reconnect this account, by id or name; the link accepts no other account
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) account: Option<String>,
    /// Who its pages speak for, in place of `brand.name`
    #[arg(long, value_name = "NAME")]
    pub(super) brand_name: Option<String>,
    /// Whom its pages name for questions, in place of `brand.contact`
    #[arg(long, value_name = "CONTACT")]
    pub(super) brand_contact: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum AccountVerb {
    /// Every account
    List,
    /// Show one account and its settings
    Show {
        /// The account, by id or name
        account: String,
    },
    /// Change settings for one account: any key below `review`
    Set {
        /// Change every account; then no account is named
        #[arg(long)]
        all: bool,
        /// The account by id or name, then keys with their values as in an environment variable: `delay=4h`,
        /// `trigger=visit_completed`. For a key that names a file, the content of the file is stored now
        #[arg(value_names = ["ACCOUNT", "KEY=VALUE"], num_args = 0..)]
        words: Vec<String>,
        /// Remove the account's own value, so that the configuration file applies again
        #[arg(long, value_name = "KEY")]
        unset: Vec<String>,
    },
    /// Pause an account: nothing is read, nothing is sent, and what waits is kept
    Pause {
        /// The account, by id or name
        account: String,
    },
    /// Resume a paused account
    Resume {
        /// The account, by id or name
        account: String,
    },
    /// Disconnect an account, here and in Jobber
    Disconnect {
        /// The account, by id or name
        account: String,
        /// Disconnect; without this, only count what would be dropped
        #[arg(long)]
        yes: bool,
    },
    /// Delete a disconnected account and all its decisions
    Remove {
        /// The account, by id or name
        account: String,
        /// Do it; without this, only count
        #[arg(long)]
        yes: bool,
    },
}

/// Keys and values, as they were written.
pub(super) fn settings_of(words: &[String]) -> Result<Vec<(String, String)>, Stop> {
    let pair = |word: &String| {
        let wrong = || Stop::usage(format!("`{word}`: write KEY=VALUE, such as delay=4h"));
        let (key, value) = word.split_once('=').ok_or_else(wrong)?;
        Ok((key.trim().trim_start_matches("review.").to_owned(), value.to_owned()))
    };
    words.iter().map(pair).collect()
}

#[derive(Debug, Subcommand)]
pub(super) enum AlertsVerb {
    /// Send a sample to the webhook, the mail addresses and the program that get alerts
    Test,
}

#[derive(Debug, Subcommand)]
pub(super) enum EventsVerb {
    /// Make Jobber send events to `http.public_url`
    Enable {
        /// Only for this account, by id or name
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Make Jobber stop sending events
    Disable {
        /// Only for this account, by id or name
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Show which events Jobber sends, and when the last one arrived
    Status,
}

#[derive(Debug, Subcommand)]
pub(super) enum ShadowVerb {
    /// Compare what would have been sent with what the old automation sent
    Report {
        /// A CSV file of what the old automation sent, with the columns of `import`
        file: PathBuf,
        /// The account, by id or name, for rows without one
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum SuppressVerb {
    /// Add a person, who is then never asked
    Add {
        /// A phone number, an e-mail address, or the id of a client in Jobber's API
        what: String,
        /// Only for this account, by id or name; without it, for all accounts
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// Why
        #[arg(long)]
        note: Option<String>,
    },
    /// Everybody on the list
    List,
    /// Remove a person from the list
    Remove {
        /// The phone number, e-mail address or id, as it was added
        what: String,
        /// The account, if one was given when it was added
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
}

/// Which rows are listed.
#[derive(Debug, Default, Args)]
pub(super) struct Only {
    /// Only this account, by id or name
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) account: Option<String>,
    /// Only this state: `connected`, `paused`, `needs_authorization` or `disconnected` of accounts; `waiting`, `held`, `queued` or `dead` in the queue
    #[arg(long, value_name = "STATE")]
    pub(super) state: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum QueueVerb {
    /// List candidates, queued asks and dead letters
    List {
        #[command(flatten)]
        only: Only,
    },
    /// Ask about work that was skipped for its age: too old, its last visit long ago, no visit completed, or dropped with a burst
    Release {
        /// The work: a client, job or invoice by number, name or id; a phone or an e-mail
        what: String,
    },
    /// Let the works go on that are held because far more than usual finished at once
    ReleaseBurst {
        /// The account, by id or name
        #[arg(long, value_name = "ACCOUNT")]
        account: String,
    },
    /// Do not ask about the works that are held because far more than usual finished at once
    DropBurst {
        /// The account, by id or name
        #[arg(long, value_name = "ACCOUNT")]
        account: String,
    },
    /// One ask, with the body that is sent
    Show {
        /// The ask by id, number or customer
        id: String,
    },
    /// Send an ask again now; this also resumes a receiver that answered 410 (gone)
    Retry {
        /// The ask by id, number or customer
        id: String,
    },
    /// Drop an ask or work that waits; its customer is not asked
    Drop {
        /// The ask or work by id, number or customer
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// Every key with its value, and where each secret comes from
    Show,
    /// Read all settings and secrets, and report every mistake
    Check,
    /// The settings as JSON Schema, for editors that complete and check them
    Schema,
}

#[cfg(feature = "demo")]
#[derive(Debug, Args)]
pub(super) struct SandboxArgs {
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 9100)]
    pub(super) port: u16,
    /// Fill it with a few contractors and their week
    #[arg(long, value_name = "NAME", value_parser = ["demo"], conflicts_with_all = ["accounts", "jobs"])]
    pub(super) seed: Option<String>,
    /// Fill it with this many accounts
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) accounts: usize,
    /// With --accounts: so many jobs each
    #[arg(long, value_name = "M", default_value_t = 10)]
    pub(super) jobs: usize,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyVerb {
    /// Create a key; it is shown once
    Create {
        /// Its name
        name: String,
        /// The account it is for, by id or name, or all
        #[arg(long, value_name = "ACCOUNT")]
        account: String,
        /// What it may do: clients.note, jobs.*, asks.review, api
        #[arg(long, value_name = "ACTION,…", value_delimiter = ',', required = true)]
        may: Vec<String>,
    },
    /// List the keys
    List,
    /// Revoke a key
    Revoke {
        /// Its name
        name: String,
    },
}
