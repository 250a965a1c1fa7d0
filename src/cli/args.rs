//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Period;
use crate::domain::model::Trigger;

/// How long a link works when nobody says otherwise.
const LINK_LIVES: &str = "7d";

/// How far an audit looks back when nobody says otherwise.
const AUDITED: &str = "90d";

/// Asks a contractor's customers for a review when a job in Jobber is done.
///
/// Without a verb it runs the daemon. While a daemon runs, every verb reaches it through its control socket;
/// otherwise the verb opens the store itself.
#[derive(Debug, Parser)]
#[command(
    name = "jobber-reviewd",
    version,
    after_help = "Exit status: 0 fine, 1 failed, 2 usage or configuration, 3 needs a human (dead connection, dead \
                  letters, a store that is gone), 4 partly done, 5 what was named is not there.\nLogging: JOBBER_REVIEWD_LOG=debug, or as in tracing's filters; logs go to stderr."
)]
pub(super) struct Cli {
    /// The configuration file [default: /etc/jobber-reviewd/config.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE", env = "JOBBER_REVIEWD_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// Print one JSON object or array instead of text
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// One sweep: poll, ask what is due, deliver what is due, report
    #[arg(long)]
    pub(super) once: bool,
    /// With --once: send nothing and store nothing, except a token that Jobber rotates
    #[arg(long, requires = "once")]
    pub(super) dry_run: bool,
    /// With --once: only this account, by id or name
    #[arg(long, requires = "once", value_name = "ACCOUNT")]
    pub(super) account: Option<String>,
    /// Start with an empty store although there was one before: nobody is connected then, and who was asked is forgotten
    #[arg(
        long,
        conflicts_with_all = ["once", "dry_run", "account"],
        env = "JOBBER_REVIEWD_ACCEPT_EMPTY_STORE"
    )]
    pub(super) accept_empty_store: bool,
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
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
    /// Make the store anew from an export; the daemon must be stopped, and the old store moved away
    Restore {
        /// The file
        file: PathBuf,
    },
    /// How every account stands, and what to do
    Status {
        /// Show it again every two seconds, until Ctrl-C
        #[arg(long, conflicts_with = "json")]
        watch: bool,
    },
    /// Is everything in order? Ordered checks, each with a remedy
    Doctor,
    /// Jobber's webhooks: work is seen at once instead of with the next sweep
    #[command(subcommand)]
    Events(EventsVerb),
    /// Send a marked sample to the review platform: with a wrong signature, then signed, then the same again
    TestEvent {
        /// The platform of this account, by id or name
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
        /// Do it; without this it is only counted
        #[arg(long)]
        yes: bool,
    },
    /// Why a customer was or was not asked
    Explain {
        /// A client, job or invoice by number, name or id; a phone, an e-mail, or the id of an ask
        what: String,
        /// Read the work fresh and show the sentence as it would read now; nothing is sent
        #[arg(long)]
        render: bool,
    },
    /// A run beside an old automation (review.shadow)
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
    },
    /// People who are never asked
    #[command(subcommand)]
    Suppress(SuppressVerb),
    /// Note people whom another tool has asked: they rest for review.cooldown, as if we had asked them
    Import {
        /// A CSV; its first line names the columns phone, email, `asked_at` and, if it is about several, account
        file: PathBuf,
        /// The account, by id or name, of rows that name none
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// Write it down; without this it is only counted
        #[arg(long)]
        yes: bool,
    },
    /// Candidates, asks on their way, dead letters
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
        /// The folder; it is made if need be
        folder: PathBuf,
    },
    /// Run a local Jobber to try things on
    #[cfg(feature = "demo")]
    Sandbox(SandboxArgs),
    /// Tell the whole story on a local Jobber, in one command
    #[cfg(feature = "demo")]
    Demo {
        /// Leave everything running and print the addresses to click
        #[arg(long)]
        keep: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum LinkVerb {
    /// Make a link for a contractor; it is shown this once
    Create(LinkArgs),
    /// Every link and where it stands
    List,
    /// Take a link back
    Revoke {
        /// The link's short name, lnk_…
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct LinkArgs {
    /// Whom it is for
    pub(super) name: String,
    /// The trigger its page proposes: `job_completed`, `visit_completed`, `invoice_created` or `invoice_paid`
    #[arg(long, value_name = "TRIGGER")]
    pub(super) trigger: Option<Trigger>,
    /// How long it works: 90m, 12h, 7d
    #[arg(long, value_name = "PERIOD", default_value = LINK_LIVES, value_parser = Period::parse)]
    pub(super) expires: Period,
    /// Mend the connection of this account, by id or name; no other account is accepted
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) account: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum AccountVerb {
    /// Every account
    List,
    /// One account, and what it does otherwise than the others
    Show {
        /// The account, by id or name
        account: String,
    },
    /// Give an account settings of its own: any key below `review`
    Set {
        /// The account, by id or name
        account: String,
        /// A key and its value, as in an environment variable: `delay=4h`, `trigger=visit_completed`.
        /// Of a key that names a file, what is in the file now is kept
        #[arg(value_name = "KEY=VALUE", value_parser = setting)]
        set: Vec<(String, String)>,
        /// Go back to what the settings say for all
        #[arg(long, value_name = "KEY")]
        unset: Vec<String>,
    },
    /// Have an account rest: nothing is read, nothing is sent, what waits is kept
    Pause {
        /// The account, by id or name
        account: String,
    },
    /// Have it go on
    Resume {
        /// The account, by id or name
        account: String,
    },
    /// End a connection, here and in Jobber
    Disconnect {
        /// The account, by id or name
        account: String,
    },
    /// Forget an account whose connection is over, and everything that was decided for it
    Remove {
        /// The account, by id or name
        account: String,
        /// Do it; without this it is only counted
        #[arg(long)]
        yes: bool,
    },
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, such as delay=4h")?;
    Ok((key.trim().trim_start_matches("review.").to_owned(), value.to_owned()))
}

#[derive(Debug, Subcommand)]
pub(super) enum EventsVerb {
    /// Have Jobber send them to `http.public_url`
    Enable {
        /// Only for this account, by id or name
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Have Jobber send no more
    Disable {
        /// Only for this account, by id or name
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// What Jobber sends, and when the last one came
    Status,
}

#[derive(Debug, Subcommand)]
pub(super) enum ShadowVerb {
    /// What would have been sent, beside what the old automation sent
    Report {
        /// A CSV of what it sent, with the columns of `import`
        file: PathBuf,
        /// The account, by id or name, of rows that name none
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum SuppressVerb {
    /// Never ask somebody
    Add {
        /// A phone, an e-mail, or the id of a client's card in Jobber
        what: String,
        /// Only this account is not to ask, by id or name; without it none is
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// Why
        #[arg(long)]
        note: Option<String>,
    },
    /// Everybody on the list
    List,
    /// Take somebody off the list
    Remove {
        /// As it was put on
        what: String,
        /// As it was put on
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum QueueVerb {
    /// What waits, what is on its way, what was given up
    List,
    /// Have work asked about that was found too old
    Release {
        /// The work: a client, job or invoice by number, name or id; a phone or an e-mail
        what: String,
    },
    /// One ask, with the body that is sent
    Show {
        /// The ask, ask_…
        id: String,
    },
    /// Try an ask again now; resumes a receiver that said it is gone
    Retry {
        /// The ask, ask_…
        id: String,
    },
    /// Give an ask up; its customer is not asked again
    Drop {
        /// The ask, ask_…
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// Every key with its value, and where each secret comes from
    Show,
    /// Read everything, secrets too, and say what is wrong
    Check,
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
    /// Fill it with so many accounts
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) accounts: usize,
    /// With --accounts: so many jobs each
    #[arg(long, value_name = "M", default_value_t = 10)]
    pub(super) jobs: usize,
}
