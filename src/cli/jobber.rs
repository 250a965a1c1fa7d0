//! `jobber NOUN VERB`: the command line of the actions, made from their table.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Subcommand};
use serde_json::{Map, Value};

use super::call::{Call, print_json, print_text};
use super::confirm;
use super::exit::{Status, Stop};
use super::reach::ask;
use super::show::{Paper, Show as _};
use crate::digest;
use crate::domain::actions::{self, Action, Effect, Flag, Kind, Shape, Takes};
use crate::ops::actions::{ActionCall, ActionReply, ActionStatus, RawCall, RawReply};
use crate::ops::protocol::{JobberAct, JobberApi};

/// What can be done in Jobber.
#[derive(Debug)]
pub(super) enum JobberVerb {
    Act(Box<Act>),
    Api(Box<ApiArgs>),
}

#[derive(Debug)]
pub(super) struct Act {
    call: ActionCall,
    /// The file with the whole input.
    input: Option<PathBuf>,
}

/// Send any GraphQL document to Jobber and print the answer
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  jobber-reviewd jobber api '{ account { name } }'\n  jobber-reviewd jobber api --file jobs.graphql -v first=5"
)]
pub(super) struct ApiArgs {
    /// The document; - is standard input
    query: Option<String>,
    /// A file with the document
    #[arg(long, value_name = "FILE", conflicts_with = "query", required_unless_present = "query")]
    file: Option<PathBuf>,
    /// A variable; the schema says its type
    #[arg(short = 'v', long = "variable", value_name = "NAME=VALUE", value_parser = pair)]
    variable: Vec<(String, String)>,
    /// A file with all variables as a JSON object; - is standard input
    #[arg(long, value_name = "FILE")]
    variables: Option<PathBuf>,
    /// The operation that is meant, if the document has several
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,
    /// The account, by id or name; not needed if there is only one
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// A name for a mutation: under one name it is done once
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Do a mutation without asking
    #[arg(long)]
    yes: bool,
    /// Print what would be sent and what it costs, and send nothing
    #[arg(long)]
    print_query: bool,
}

const NOUNS: [(&str, &str); 10] = [
    ("jobs", "Jobs"),
    ("visits", "Visits of jobs"),
    ("clients", "Clients"),
    ("invoices", "Invoices"),
    ("quotes", "Quotes"),
    ("properties", "Properties of clients"),
    ("tasks", "Tasks"),
    ("users", "Users"),
    ("expenses", "Expenses"),
    ("requests", "Requests of clients"),
];

impl Subcommand for JobberVerb {
    fn augment_subcommands(command: Command) -> Command {
        let command = NOUNS.iter().fold(command, |command, (noun, about)| {
            let verbs = actions::all().filter(|action| action.noun == *noun).map(verb);
            let noun =
                Command::new(*noun).about(*about).subcommand_required(true).arg_required_else_help(true);
            command.subcommand(noun.subcommands(verbs))
        });
        command
            .subcommand(ApiArgs::augment_args(Command::new("api")))
            .subcommand_required(true)
            .arg_required_else_help(true)
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        name == "api" || NOUNS.iter().any(|(noun, _)| *noun == name)
    }
}

impl FromArgMatches for JobberVerb {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let missing = || clap::Error::new(clap::error::ErrorKind::MissingSubcommand);
        let (noun, matches) = matches.subcommand().ok_or_else(missing)?;
        if noun == "api" {
            return Ok(Self::Api(Box::new(ApiArgs::from_arg_matches(matches)?)));
        }
        let (verb, matches) = matches.subcommand().ok_or_else(missing)?;
        let action = actions::find(noun, verb).ok_or_else(missing)?;
        Ok(Self::Act(Box::new(from_matches(action, matches))))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn verb(action: &'static Action) -> Command {
    let mut command = Command::new(action.verb).about(action.about);
    let account = Arg::new("account").long("account").value_name("ACCOUNT");
    command = command.arg(account.help("The account, by id or name; not needed if there is only one"));
    if let Some((kind, _)) = action.target {
        let is_needed = !matches!(action.shape, Shape::Impossible(_));
        let help = match kind.in_ids() {
            Some("Client") => "The client: its name, phone, e-mail, id or address in Jobber",
            Some("Job" | "Invoice" | "Quote") => "The record: its number, id or address in Jobber",
            _ => "The record: its id or address in Jobber",
        };
        let target = Arg::new("target").value_name(placeholder(kind));
        command = command.arg(target.required(is_needed).help(help));
    }
    if matches!(action.shape, Shape::Impossible(_)) {
        return command;
    }
    for flag in action.flags {
        command = command.arg(argument(flag));
    }
    if let Shape::List { takes_text, sort, .. } = action.shape {
        if takes_text {
            let text = Arg::new("text").value_name("TEXT");
            command = command.arg(text.help("What to look for; Jobber finds new records a few seconds late"));
        }
        let limit = Arg::new("limit").long("limit").value_name("N").value_parser(clap::value_parser!(usize));
        let all = Arg::new("all").long("all").action(ArgAction::SetTrue).conflicts_with("limit");
        command = command.arg(limit.help("How many rows [default: 25]")).arg(all.help("All rows"));
        if let Some(sort) = sort {
            let words = format!(
                "A key of Jobber's, and :asc or :desc [default: {}]",
                usual(sort.key, sort.direction)
            );
            command = command.arg(Arg::new("sort").long("sort").value_name("KEY:ORDER").help(words));
        }
    }
    if action.variable.is_some() || !action.flags.is_empty() {
        let data =
            Arg::new("data").short('d').long("data").value_name("PATH=VALUE").action(ArgAction::Append);
        command = command.arg(
            data.value_parser(pair)
                .help("Any other field: -d timeframe.startAt=2026-03-10, -d 'lineItems[0].name=Filter'"),
        );
        let input =
            Arg::new("input").long("input").value_name("FILE").value_parser(clap::value_parser!(PathBuf));
        command = command.arg(input.help("A file with the whole input as JSON; - is standard input"));
    }
    if action.writes() {
        if action.variable.is_some() {
            let clear = Arg::new("clear").long("clear").value_name("FIELD").action(ArgAction::Append);
            command = command.arg(clear.help("A field that is emptied"));
        }
        let key = Arg::new("key").long("key").value_name("KEY");
        let yes = Arg::new("yes").long("yes").action(ArgAction::SetTrue);
        command = command
            .arg(key.help("A name for this write: under one name it is done once"))
            .arg(yes.help("Do it without asking"));
    }
    let print = Arg::new("print-query").long("print-query").action(ArgAction::SetTrue);
    command = command.arg(print.help("Print what would be sent and what it costs, and send nothing"));
    let scope = crate::jobber::scopes::label(action.scope);
    let permission = if action.writes() {
        format!("Needs `{}` in actions.write and the scope {scope}.", action.name())
    } else {
        format!("Needs the scope {scope}.")
    };
    let warning = if action.effect == Effect::Dangerous { " Asks first, or needs --yes." } else { "" };
    command.after_help(format!("{permission}{warning}\n\nExample:\n  {}", example(action)))
}

/// A line that does the action, made from its table.
fn example(action: &Action) -> String {
    let mut line = format!("jobber-reviewd jobber {} {}", action.noun, action.verb);
    let mut add = |words: &str| {
        line.push(' ');
        line.push_str(words);
    };
    if let Some((kind, _)) = action.target {
        add(&sample_of(kind));
    }
    // Something that it needs, or else the first plain flag that it has.
    let needed = action.flags.iter().find(|flag| action.needs.iter().any(|path| flag.path.starts_with(path)));
    let plain = || {
        let values = action.flags.iter().find(|flag| flag.takes == Takes::Value);
        // A switch may do more than people want who copy the line.
        let is_switch = |flag: &&Flag| matches!(flag.takes, Takes::Switch | Takes::Nobody);
        values.or(action.flags.first().filter(|flag| !is_switch(flag)))
    };
    if let Some(flag) = needed.or_else(|| plain().filter(|_| action.writes())) {
        add(&match flag.takes {
            Takes::Switch | Takes::Nobody => format!("--{}", flag.name),
            Takes::Line => format!("--{} 'Furnace filter;2;19.50'", flag.name),
            Takes::Phone => format!("--{} '+1 555 123 4567'", flag.name),
            Takes::Email => format!("--{} john@example.com", flag.name),
            Takes::Record(kind) | Takes::Records(kind) => format!("--{} {}", flag.name, sample_of(kind)),
            Takes::Choice(choices) => {
                format!("--{} {}", flag.name, choices.first().map_or("", |(word, _)| word))
            }
            Takes::Date => format!("--{} 2026-03-10", flag.name),
            Takes::Instant | Takes::Start { .. } | Takes::End => {
                format!("--{} '2026-03-10 14:00'", flag.name)
            }
            Takes::Length => format!("--{} 2h", flag.name),
            Takes::Value | Takes::Items => format!("--{} '{}'", flag.name, word_for(action.noun, flag.name)),
        });
    }
    if matches!(action.shape, Shape::List { .. }) {
        add("--limit 10");
    }
    line
}

fn sample_of(kind: Kind) -> String {
    match kind {
        Kind::Client => "'John Smith'".to_owned(),
        Kind::Job | Kind::Invoice | Kind::Quote => "112".to_owned(),
        _ => STANDARD.encode(format!("gid://Jobber/{}/7", kind.in_ids().unwrap_or("JobNote"))),
    }
}

fn word_for(noun: &str, flag: &str) -> &'static str {
    match (noun, flag) {
        ("clients", "first-name") => "John",
        ("clients", "title") => "Mrs.",
        ("properties", "name") => "Rental on Oak Street",
        (_, "message") => "Gate code is 4711",
        _ => "Water heater",
    }
}

fn usual(key: &str, direction: &str) -> String {
    let direction = if direction == "DESCENDING" { "desc" } else { "asc" };
    format!("{}:{direction}", key.to_lowercase())
}

fn argument(flag: &'static Flag) -> Arg {
    let about = flag.about;
    let about = about
        .chars()
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(about.chars().skip(1)).collect());
    let argument = Arg::new(flag.name).long(flag.name).help(about);
    match flag.takes {
        Takes::Switch | Takes::Nobody => argument
            .value_name("true|false")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Takes::Items | Takes::Line | Takes::Phone | Takes::Email | Takes::Records(_) => {
            argument.value_name(named(flag)).action(ArgAction::Append)
        }
        Takes::Choice(choices) => argument
            .value_parser(clap::builder::PossibleValuesParser::new(choices.iter().map(|(word, _)| *word))),
        _ => argument.value_name(named(flag)).allow_hyphen_values(matches!(flag.takes, Takes::Value)),
    }
}

fn named(flag: &Flag) -> &'static str {
    match flag.takes {
        Takes::Line => "NAME;QUANTITY;PRICE",
        Takes::Phone => "NUMBER",
        Takes::Email => "ADDRESS",
        Takes::Record(kind) | Takes::Records(kind) => placeholder(kind),
        Takes::Date => "DATE",
        Takes::Instant | Takes::Start { .. } | Takes::End => "TIME",
        Takes::Length => "PERIOD",
        _ => "VALUE",
    }
}

fn placeholder(kind: Kind) -> &'static str {
    match kind {
        Kind::Client => "CLIENT",
        Kind::Expense => "EXPENSE",
        Kind::Invoice => "INVOICE",
        Kind::Job => "JOB",
        Kind::Note => "NOTE",
        Kind::Property => "PROPERTY",
        Kind::Quote => "QUOTE",
        Kind::Request => "REQUEST",
        Kind::Task => "TASK",
        Kind::User => "USER",
        Kind::Visit => "VISIT",
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((path, value)) if !path.is_empty() => Ok((path.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

fn from_matches(action: &'static Action, matches: &ArgMatches) -> Act {
    fn given<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Vec<T> {
        matches.try_get_many::<T>(name).ok().flatten().into_iter().flatten().cloned().collect()
    }
    let text = |name: &str| given::<String>(matches, name).into_iter().next();
    let is = |name: &str| given::<bool>(matches, name).contains(&true);
    let flags = action.flags.iter().flat_map(|flag| {
        given::<String>(matches, flag.name).into_iter().map(|text| (flag.name.to_owned(), text))
    });
    let call = ActionCall {
        account: text("account"),
        noun: action.noun.to_owned(),
        verb: action.verb.to_owned(),
        target: text("target"),
        text: text("text"),
        flags: flags.collect(),
        data: given(matches, "data"),
        input: None,
        clear: given(matches, "clear"),
        sort: text("sort"),
        limit: if is("all") { Some(0) } else { given::<usize>(matches, "limit").into_iter().next() },
        key: text("key"),
        is_confirmed: is("yes"),
        only_print: is("print-query"),
        ..ActionCall::default()
    };
    Act { call, input: given::<PathBuf>(matches, "input").into_iter().next() }
}

pub(super) async fn jobber(call: &Call, verb: JobberVerb) -> Result<Status, Stop> {
    match verb {
        JobberVerb::Act(act) => self::act(call, *act).await,
        JobberVerb::Api(args) => api(call, *args).await,
    }
}

async fn act(call: &Call, act: Act) -> Result<Status, Stop> {
    let Act { call: mut wanted, input } = act;
    if let Some(file) = input {
        wanted.input = Some(object(&file)?);
    }
    let config = call.config.as_deref();
    let is_write = actions::find(&wanted.noun, &wanted.verb).is_some_and(Action::writes);
    if is_write && wanted.key.is_none() {
        wanted.key = Some(new_key()?);
    }
    let key = wanted.key.clone().filter(|_| is_write);
    let cut = |stop: Stop| cut_off(stop, key.as_deref());
    let mut reply = ask(config, &JobberAct { call: wanted.clone() }).await.map_err(cut)?;
    if reply.status == ActionStatus::NeedsYes {
        confirm(reply.words.as_deref().unwrap_or_default())?;
        wanted.is_confirmed = true;
        reply = ask(config, &JobberAct { call: wanted }).await.map_err(cut)?;
    }
    if call.json {
        print_action(&reply)?;
    } else {
        print_text(&reply.text(&Paper::of_terminal()))?;
    }
    Ok(reply.status())
}

/// A key for a write that was given none. It is made here, so that it is known whatever becomes of the daemon.
fn new_key() -> Result<String, Stop> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random).map_err(Stop::failed)?;
    Ok(format!("act_{}", &digest::of_bytes(&random)[..32]))
}

/// The daemon ended in the middle of a write: what became of it is not known.
fn cut_off(stop: Stop, key: Option<&str>) -> Stop {
    match key.filter(|_| stop.is_cut_off) {
        Some(key) => Stop {
            status: Status::Partly,
            message: format!(
                "{}; if it was a write, what became of it is not known: the same command with --key '{key}' says what is known and does nothing twice, and `jobber-reviewd audit --actions` lists it",
                stop.message
            ),
            ..stop
        },
        None => stop,
    }
}

/// Reads print Jobber's record or rows alone; writes print what became of them too.
fn print_action(reply: &ActionReply) -> Result<Status, Stop> {
    match (&reply.rows, reply.requests.as_slice()) {
        (Some(rows), _) => print_json(rows),
        (None, [only]) => print_json(only),
        (None, [_, ..]) => print_json(&reply.requests),
        (None, []) if reply.key.is_none() && reply.status == ActionStatus::Done => print_json(&reply.record),
        (None, []) => print_json(reply),
    }
}

async fn api(call: &Call, args: ApiArgs) -> Result<Status, Stop> {
    let query = match (args.query.as_deref(), &args.file) {
        (Some("-"), _) => read(Path::new("-"))?,
        (Some(query), _) => query.to_owned(),
        (None, Some(file)) => read(file)?,
        (None, None) => return Err(Stop::usage("give a document, or --file")),
    };
    let mut wanted = RawCall {
        account: args.account,
        query,
        operation: args.operation,
        variables: args.variables.as_deref().map(object).transpose()?.unwrap_or_default(),
        data: args.variable,
        key: args.key,
        is_confirmed: args.yes,
        only_print: args.print_query,
    };
    let config = call.config.as_deref();
    let key = match wanted.key.clone() {
        Some(key) => key,
        None => new_key()?,
    };
    wanted.key = Some(key.clone());
    let cut = |stop: Stop| cut_off(stop, Some(&key));
    let mut reply = ask(config, &JobberApi { call: wanted.clone() }).await.map_err(cut)?;
    if reply.status == ActionStatus::NeedsYes {
        confirm(reply.words.as_deref().unwrap_or_default())?;
        wanted.is_confirmed = true;
        reply = ask(config, &JobberApi { call: wanted }).await.map_err(cut)?;
    }
    print_api(call, &reply)
}

/// The answer goes to stdout, what there is to say about it to stderr.
fn print_api(call: &Call, reply: &RawReply) -> Result<Status, Stop> {
    if call.json {
        print_json(reply)?;
        return Ok(reply.status());
    }
    let text = reply.text(&Paper::of_terminal());
    let answer = if reply.request.is_null() { &reply.data } else { &reply.request };
    if !answer.is_null() {
        print_json(answer)?;
    }
    // If stderr is closed, only the exit status remains.
    let _written = writeln!(std::io::stderr(), "{text}");
    Ok(reply.status())
}

fn read(file: &Path) -> Result<String, Stop> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(Stop::usage)?;
        return Ok(text);
    }
    super::read_text(file)
}

fn object(file: &Path) -> Result<Map<String, Value>, Stop> {
    match serde_json::from_str(&read(file)?) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Stop::usage(format!("{}: it is not a JSON object", file.display()))),
        Err(error) => Err(Stop::usage(format!("{}: it is not JSON: {error}", file.display()))),
    }
}
