//! Completions for shells: verbs and flags, and the names of accounts, for which the running daemon is asked.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};

use super::exit::{Status, Stop};
use super::{call, command};
use crate::config::Config;
use crate::ops::protocol::AccountList;
use crate::server::control;

/// Set by the shell's script when it asks for completions.
const VARIABLE: &str = "JOBBER_REVIEWD_COMPLETE";

/// Whoever types waits no longer for the daemon.
const PATIENCE: Duration = Duration::from_millis(100);

/// Answers a shell that asks for completions. Returns whether one did.
pub(super) fn answered() -> clap::error::Result<bool> {
    let is_bash = std::env::var_os(VARIABLE).is_some_and(|shell| shell == "bash");
    let factory = || with_accounts(command(), is_bash);
    let folder = std::env::current_dir().ok();
    CompleteEnv::with_factory(factory).var(VARIABLE).try_complete(std::env::args_os(), folder.as_deref())
}

/// Prints the script that a shell loads.
pub(super) fn write(shell: clap_complete::Shell) -> Result<Status, Stop> {
    let shell = shell.to_string();
    let shells = Shells::builtins();
    let completer =
        shells.completer(&shell).ok_or_else(|| Stop::usage(format!("{shell} has no completions")))?;
    let (name, mut script) = (command().get_name().to_owned(), Vec::new());
    completer.write_registration(VARIABLE, &name, &name, &name, &mut script).map_err(Stop::failed)?;
    call::print_text(String::from_utf8_lossy(&script).trim_end())
}

/// Every place for an account knows their names.
fn with_accounts(command: Command, is_bash: bool) -> Command {
    let is_account = |arg: &Arg| {
        let name = arg.get_value_names().and_then(<[_]>::first);
        arg.get_id() == "account" || name.is_some_and(|name| name == "ACCOUNT")
    };
    let names = move |typed: &OsStr| candidates(typed, is_bash);
    command
        .mut_args(|arg| if is_account(&arg) { arg.add(ArgValueCompleter::new(names)) } else { arg })
        .mut_subcommands(|verb| with_accounts(verb, is_bash))
}

fn candidates(typed: &OsStr, is_bash: bool) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy().replace('\\', "");
    let names = names().unwrap_or_default();
    matching(names, &typed, is_bash).into_iter().map(CompletionCandidate::new).collect()
}

/// The names that go on as `typed`, sorted. bash takes what it gets as it would be typed.
fn matching(mut names: Vec<String>, typed: &str, is_bash: bool) -> Vec<String> {
    let typed = typed.to_lowercase();
    names.retain(|name| name.to_lowercase().starts_with(&typed) && !name.contains(char::is_control));
    names.sort_by_cached_key(|name| name.to_lowercase());
    if is_bash {
        for name in &mut names {
            *name = escaped(name);
        }
    }
    names
}

fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for char in name.chars() {
        if char.is_ascii() && !char.is_ascii_alphanumeric() && !"-_.,/:@%+=".contains(char) {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}

/// The names of all accounts, if the daemon says them in time.
fn names() -> Option<Vec<String>> {
    let config = Config::load(named_config().as_deref()).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let accounts = runtime.block_on(async {
        let mut hear = |_| Ok(());
        let list = AccountList {};
        let asked = control::call(&config.control.socket, &list, &mut hear);
        tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?.ok()
    })?;
    Some(accounts.into_iter().map(|account| account.name).collect())
}

/// The settings that are named on the line that is being typed, or by the environment.
fn named_config() -> Option<PathBuf> {
    let words: Vec<_> = std::env::args_os().collect();
    let named = words.windows(2).find(|two| two[0] == "--config").map(|two| two[1].clone());
    let joined = || {
        words.iter().find_map(|word| word.to_str()?.strip_prefix("--config=").map(std::ffi::OsString::from))
    };
    named.or_else(joined).or_else(|| std::env::var_os("JOBBER_REVIEWD_CONFIG")).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_on_as_typed_and_bash_gets_them_as_typed() {
        let names =
            || ["Greener's", "ace", "Green Acre (1)", "Zoë & Söhne", "a\nb"].map(str::to_owned).to_vec();
        assert_eq!(matching(names(), "green", false), ["Green Acre (1)", "Greener's"]);
        assert_eq!(matching(names(), "green a", true), [r"Green\ Acre\ \(1\)"]);
        assert_eq!(
            matching(names(), "", true),
            ["ace", r"Green\ Acre\ \(1\)", r"Greener\'s", r"Zoë\ \&\ Söhne"]
        );
    }

    #[test]
    fn every_place_for_an_account_completes() {
        fn places(command: &Command) -> usize {
            let own = command.get_arguments().filter(|arg| arg.get::<ArgValueCompleter>().is_some()).count();
            own + command.get_subcommands().map(places).sum::<usize>()
        }
        assert!(places(&with_accounts(command(), true)) > 60);
    }
}
