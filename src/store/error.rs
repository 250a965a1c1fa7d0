//! Why the store could not do it.

use std::path::PathBuf;

use super::SCHEMA;
use super::sled::DatabaseError;

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error(
        "the store {path} is in use by another process: stop that process, or reach it through its control socket"
    )]
    Locked {
        /// The store's folder.
        path: PathBuf,
    },
    /// There is none.
    #[error("there is no store at {path}: start the daemon once to create it")]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// There was one, and it is gone: what it knew of who was asked is gone with it.
    #[error(
        "the store {path} is gone, and with it the record of past asks: restore a backup (`jobber-reviewd restore FILE`), or start once with --accept-empty-store and send every contractor a new link"
    )]
    Gone {
        /// The folder.
        path: PathBuf,
    },
    /// It cannot be read, and was moved out of the way.
    #[error(
        "the store {path} cannot be read ({detail}) and was moved to {to}: restore a backup (`jobber-reviewd restore FILE`), or start once with --accept-empty-store and send every contractor a new link"
    )]
    Quarantined {
        /// The folder.
        path: PathBuf,
        /// Where it is now.
        to: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// It lacks commits that it once had.
    #[error(
        "the store {path} is damaged or an older copy (missing commits: {missing}), so the record of past asks is incomplete: restore a newer backup (`jobber-reviewd restore FILE`), or, if you put this copy there on purpose, remove {tally} and start again"
    )]
    Stale {
        /// The folder.
        path: PathBuf,
        /// How many are missing.
        missing: u64,
        /// The file that says so.
        tally: PathBuf,
    },
    /// It belongs to another user: what we wrote there, that user's daemon could not read.
    #[error(
        "the store {path} belongs to another user: start the daemon and try again, or run this as that user"
    )]
    Foreign {
        /// The store's folder.
        path: PathBuf,
    },
    /// The folder cannot be made or opened.
    #[error("the store {path} cannot be opened: {error}; {}", remedy(error))]
    Open {
        /// The store's folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Its tokens were sealed with another key.
    #[error("the store key does not match the store {path}: use the key it was created with")]
    WrongKey {
        /// The store's folder.
        path: PathBuf,
    },
    /// A newer or unknown program wrote it.
    #[error(
        "the store {path} has schema {found}, this program reads schema {SCHEMA}: install the version that wrote it"
    )]
    Schema {
        /// The store's folder.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
    /// A value does not decode.
    #[error(
        "a value of the store cannot be read ({family}): {detail}; restore a backup (`jobber-reviewd restore FILE`)"
    )]
    Corrupt {
        /// Which kind of value.
        family: &'static str,
        /// What is wrong with it; never its content.
        detail: String,
    },
    /// The database below it failed.
    #[error("the store failed: {0}")]
    Database(#[from] DatabaseError),
    /// A look at it was cut off by a panic. The store itself is as it was.
    #[error("reading the store was interrupted: {0}; try again")]
    CutOff(String),
    /// A token or a secret could not be sealed.
    #[error("{0} could not be sealed")]
    Unsealed(&'static str),
    /// A flush failed earlier, or the writer is gone.
    #[error("the store no longer accepts writes ({0}); fix that and start again, nothing is lost")]
    Failed(String),
}

fn remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        _ if is_full(error) => "free space on its disk; nothing is lost",
        std::io::ErrorKind::ReadOnlyFilesystem => "make its file system writable",
        _ => "check that its folder exists and belongs to this user",
    }
}

/// Whether there was no room.
pub fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;

    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::FileTooLarge | ErrorKind::QuotaExceeded)
}

impl StoreError {
    /// Whether nothing more may be done on the strength of the store: it does not take writes, or cannot be read.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::CutOff(_) | Self::Unsealed(_))
    }
}
