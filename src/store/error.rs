//! Errors of the store.

use std::path::PathBuf;

use super::SCHEMA;
use super::sled::DatabaseError;

/// Errors of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the store open.
    #[error(
        "the store {path} is in use by another process: stop that process, or reach it through its control socket"
    )]
    Locked {
        /// The store's folder.
        path: PathBuf,
    },
    /// There is no store.
    #[error("there is no store at {path}: start the daemon once to create it")]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// The store existed and is gone, together with the record of who was asked.
    #[error(
        "the store {path} is gone, and with it the record of past asks: restore a backup (`jobber-reviewd restore FILE`), or start once with --accept-empty-store and send every contractor a new link"
    )]
    Gone {
        /// The folder.
        path: PathBuf,
    },
    /// The store cannot be read and was moved aside.
    #[error(
        "the store {path} cannot be read ({detail}) and was moved to {to}: restore a backup (`jobber-reviewd restore FILE`), or start once with --accept-empty-store and send every contractor a new link"
    )]
    Quarantined {
        /// The folder.
        path: PathBuf,
        /// Its new place.
        to: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The store lacks commits that it once had.
    #[error(
        "the store {path} is damaged or an older copy (missing commits: {missing}), so the record of past asks is incomplete: restore a newer backup (`jobber-reviewd restore FILE`), or, if you put this copy there on purpose, remove {tally} and start again"
    )]
    Stale {
        /// The folder.
        path: PathBuf,
        /// The number of missing commits.
        missing: u64,
        /// The file with the expected number.
        tally: PathBuf,
    },
    /// The store belongs to another user. That user's daemon could not read what we write.
    #[error(
        "the store {path} belongs to another user: start the daemon and try again, or run this as that user"
    )]
    Foreign {
        /// The store's folder.
        path: PathBuf,
    },
    /// The folder cannot be created or opened.
    #[error("the store {path} cannot be opened: {error}; {}", remedy(error))]
    Open {
        /// The store's folder.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// The tokens were sealed with another key.
    #[error("the store key does not match the store {path}: use the key it was created with")]
    WrongKey {
        /// The store's folder.
        path: PathBuf,
    },
    /// A newer or unknown program wrote the store.
    #[error(
        "the store {path} has schema {found}, this program reads schema {SCHEMA}: install the version that wrote it"
    )]
    Schema {
        /// The store's folder.
        path: PathBuf,
        /// The schema in the store.
        found: u32,
    },
    /// A value does not decode.
    #[error(
        "a value of the store cannot be read ({family}): {detail}; restore a backup (`jobber-reviewd restore FILE`)"
    )]
    Corrupt {
        /// The kind of value.
        family: &'static str,
        /// What is wrong with it, without its content.
        detail: String,
    },
    /// Another process holds the store's lease.
    #[error(
        "the store {place} is in use by another daemon ({by}): run this where that daemon runs, or stop it"
    )]
    Held {
        /// Where the store is.
        place: String,
        /// Who holds it.
        by: String,
    },
    /// The database server cannot be reached, or refused a request.
    #[error("PostgreSQL did not do it: {0}")]
    Away(String),
    /// The database failed.
    #[error("the store failed: {0}")]
    Database(#[from] DatabaseError),
    /// A panic interrupted a read. The store is unchanged.
    #[error("reading the store was interrupted: {0}; try again")]
    CutOff(String),
    /// A token or a secret could not be sealed.
    #[error("{0} could not be sealed")]
    Unsealed(&'static str),
    /// A flush failed earlier, or the writer ended.
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

/// Whether the disk was full.
pub fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;

    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::FileTooLarge | ErrorKind::QuotaExceeded)
}

impl StoreError {
    /// Whether the daemon must stop: the store does not accept writes or cannot be read.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::CutOff(_) | Self::Unsealed(_))
    }
}
