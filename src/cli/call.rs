//! The options of a call: its settings, and how replies are printed.

use std::io::Write as _;
use std::path::PathBuf;

use super::exit::{Status, Stop};
use super::reach::ask;
use super::show::{Paper, Show};
use crate::config::{Config, Secrets};
use crate::ops::protocol::Verb;

pub(super) struct Call {
    pub(super) config: Option<PathBuf>,
    pub(super) json: bool,
}

impl Call {
    pub(super) fn config(&self) -> Result<Config, Stop> {
        Config::load(self.config.as_deref()).map_err(Stop::usage)
    }

    pub(super) fn secrets(&self) -> Result<(Config, Secrets), Stop> {
        let config = self.config()?;
        let secrets = Secrets::load(&config).map_err(Stop::usage)?;
        Ok((config, secrets))
    }

    pub(super) async fn run<V: Verb<Reply: Show>>(&self, verb: V) -> Result<Status, Stop> {
        let reply = ask(self.config.as_deref(), &verb).await?;
        self.print(&reply)
    }

    pub(super) fn print(&self, reply: &impl Show) -> Result<Status, Stop> {
        if self.json {
            print_json(reply)?
        } else {
            print_text(&reply.text(&Paper::of_terminal()))?
        };
        Ok(reply.status())
    }
}

pub(super) fn print_text(text: &str) -> Result<Status, Stop> {
    match writeln!(std::io::stdout(), "{text}") {
        // The reader has closed the pipe.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Status::Fine),
        Err(error) => Err(Stop::failed(error)),
        Ok(()) => Ok(Status::Fine),
    }
}

pub(super) fn print_json(value: &impl serde::Serialize) -> Result<Status, Stop> {
    print_text(&serde_json::to_string_pretty(value).map_err(Stop::failed)?)
}
