//! Tries templates in a process of their own, before they are rendered in this one.
//!
//! The template engine bounds how many steps a template takes, not how much memory a step takes. A template that doubles a
//! text again and again would end the process that renders it. So the program runs itself once for each new template, with
//! little memory and time, and renders the samples there.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::domain::actions::Permission;
use crate::domain::message::Texts;
use crate::domain::reaction::{Reaction, RuleSection};

/// The verb by which the program runs itself.
pub const TRY_TEMPLATES: &str = "try-templates";

/// What the samples of a template may take. The unit forbids the calls by which the system would limit a process, so the
/// other process watches itself.
const MEMORY: u64 = 64 * 1024 * 1024;
const TIME: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_micros(200);

/// This process, under its name in `/proc`: it is the same program even after an upgrade replaced its file.
const THIS_PROGRAM: &str = "/proc/self/exe";

static IS_PROGRAM: OnceLock<()> = OnceLock::new();
/// What became of each trial, by its digest.
static TRIED: LazyLock<Mutex<HashMap<String, Result<(), TooBig>>>> = LazyLock::new(Mutex::default);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its samples need more than {} MiB of memory or {} s to render", MEMORY / 1024 / 1024, TIME.as_secs())]
pub struct TooBig;

/// The templates of one place in the settings.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trial {
    Message(String),
    Body(String),
    Rule(RuleSection, Vec<Permission>),
}

/// Makes trials possible. Where this process is not the program, as in a test of the library, there are none.
pub fn allow_trials() {
    IS_PROGRAM.get_or_init(|| ());
}

impl Trial {
    /// Renders the samples in another process. Whether the templates are right is not judged there.
    pub fn run(&self) -> Result<(), TooBig> {
        let Ok(text) = serde_json::to_string(self) else { return Ok(()) };
        let digest = crate::digest::of(&[&text]);
        if IS_PROGRAM.get().is_none() {
            return Ok(());
        }
        let tried = TRIED.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        if let Some(tried) = tried {
            return tried;
        }
        let ended = || {
            let mut child = Command::new(THIS_PROGRAM)
                .arg(TRY_TEMPLATES)
                .env_clear()
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                // One that died early is known by its end.
                let _written = stdin.write_all(text.as_bytes());
            }
            child.wait()
        };
        let tried = match ended() {
            Ok(status) if !status.success() => Err(TooBig),
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "templates could not be tried in a process of their own");
                Ok(())
            }
        };
        TRIED.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, tried.clone());
        tried
    }
}

/// What the other process does: renders what it reads from its standard input, and ends if that takes too much.
pub fn try_templates() -> ExitCode {
    let mut text = String::new();
    if std::io::stdin().read_to_string(&mut text).is_err() {
        return ExitCode::FAILURE;
    }
    let Some(before) = memory() else {
        // Nothing is tried here, and so nothing is known against it.
        return ExitCode::SUCCESS;
    };
    let began = Instant::now();
    std::thread::spawn(move || {
        while began.elapsed() < TIME && memory().is_some_and(|now| now < before + MEMORY) {
            std::thread::sleep(LOOK_EVERY);
        }
        std::process::exit(1);
    });
    match serde_json::from_str(&text) {
        Ok(Trial::Message(message)) => drop(Texts::new(Some(&message), None)),
        Ok(Trial::Body(body)) => drop(Texts::new(None, Some(&body))),
        Ok(Trial::Rule(rule, allowed)) => drop(Reaction::new(&rule, &allowed)),
        Err(_) => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

/// Bytes that this process has in memory.
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
