//! Verbs with files: export and restore, and the lists of other tools.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::call::{Call, print_json, print_text};
use super::exit::{Status, Stop};
use super::reach::{ask, reach};
use crate::clock::{Clock as _, SystemClock};
use crate::domain::import;
use crate::ops::Told;
use crate::ops::protocol::{Export, Import, ShadowCompare};
use crate::store::{RestoreError, Store};
use crate::text_table::counted;

const ROWS_AT_ONCE: usize = 10_000;

/// Writes an export to a temporary file and renames it: the copy is complete or absent.
pub(super) async fn export(call: &Call, file: &Path) -> Result<Status, Stop> {
    let config = call.config()?;
    let cannot =
        |error: std::io::Error| Stop::usage(format!("{} cannot be written: {error}", file.display()));
    if file == Path::new("-") {
        let mut stdout = std::io::stdout();
        reach(&config, &Export {}, &mut |told| write_part(&mut stdout, told)).await?;
        // Stdout already has the export.
        return Ok(Status::Fine);
    }
    let new = file.with_added_extension("new");
    let mut written = std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .map_err(cannot)?;
    let copied = reach(&config, &Export {}, &mut |told| write_part(&mut written, told)).await;
    let put = match &copied {
        Ok(_) => written.sync_all().and_then(|()| std::fs::rename(&new, file)),
        Err(_) => std::fs::remove_file(&new),
    };
    put.map_err(cannot)?;
    call.print(&copied?)
}

fn write_part(to: &mut impl std::io::Write, told: Told) -> std::io::Result<()> {
    match told {
        Told::Part(part) => to.write_all(part.as_bytes()),
        Told::Progress { .. } => Ok(()),
    }
}

pub(super) async fn restore(call: &Call, file: &Path) -> Result<Status, Stop> {
    let (config, secrets) = call.secrets()?;
    if tokio::net::UnixStream::connect(&config.control.socket).await.is_ok() {
        return Err(Stop::usage("the daemon is running: stop it, and move its store away"));
    }
    let export = std::fs::File::open(file)
        .map_err(|error| Stop::usage(format!("{} cannot be read: {error}", file.display())))?;
    let place = config.place().map_err(Stop::usage)?;
    let restored = tokio::task::spawn_blocking(move || {
        Store::restore_in(&place, &secrets.store_key, std::io::BufReader::new(export))
    });
    let copied = restored.await.map_err(Stop::failed)?.map_err(|error| match error {
        RestoreError::Io(_) | RestoreError::Write { .. } | RestoreError::Store(_) => Stop::failed(error),
        error => Stop::usage(error),
    })?;
    if call.json {
        return print_json(&copied);
    }
    print_text(&format!(
        "restored {} from the export of {}; asks made since then may be sent again, under the same ids",
        counted(copied.accounts, "account"),
        copied.made_at
    ))
}

/// What became of the rows of a file.
#[derive(serde::Serialize)]
pub(super) struct Imported<'b> {
    /// Rows that can be used.
    rows: usize,
    /// Rows that cannot be used.
    bad: &'b [import::BadRow],
    /// Whether the rows were stored, or only checked.
    written: bool,
}

fn read_asked(file: &Path, columns: &[String]) -> Result<import::Parsed, Stop> {
    let cannot = |error: &dyn std::fmt::Display| Stop::usage(format!("{}: {error}", file.display()));
    let text = std::fs::read(file).map_err(|error| cannot(&error))?;
    import::parse_named(&text, columns, SystemClock.now()).map_err(|error| cannot(&error))
}

pub(super) async fn import_asked(
    call: &Call,
    file: &Path,
    account: Option<String>,
    columns: &[String],
    yes: bool,
) -> Result<Status, Stop> {
    let config = call.config()?;
    let import::Parsed { asked, bad } = read_asked(file, columns)?;
    for write in [false, true] {
        if write && !yes {
            break;
        }
        for rows in asked.chunks(ROWS_AT_ONCE) {
            let import = Import { asked: rows.to_vec(), account: account.clone(), write };
            reach(&config, &import, &mut |_| Ok(())).await?;
        }
    }
    if call.json {
        print_json(&Imported { rows: asked.len(), bad: &bad, written: yes })?;
    } else {
        for row in &bad {
            print_text(&format!("line {}: {}", row.line, row.problem))?;
        }
        let then = if yes { "imported" } else { "can be imported (add --yes to do it)" };
        print_text(&format!("{} {then}, {} cannot be used", counted(asked.len(), "row"), bad.len()))?;
    }
    Ok(if bad.is_empty() { Status::Fine } else { Status::Partly })
}

pub(super) async fn shadow_report(call: &Call, file: &Path, account: Option<String>) -> Result<Status, Stop> {
    let import::Parsed { asked: theirs, bad } = read_asked(file, &[])?;
    let report = ask(call.config.as_deref(), &ShadowCompare { theirs, account }).await?;
    for row in bad {
        tracing::warn!("line {}: {}", row.line, row.problem);
    }
    call.print(&report)
}
