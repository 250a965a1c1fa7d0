//! Where a store is.

use std::fmt;
use std::path::{Path, PathBuf};

use super::postgres::Address;

/// Where a store is: in a folder of this machine, or in a PostgreSQL database.
#[derive(Debug, Clone)]
pub enum Place {
    Folder(PathBuf),
    Postgres(Box<Address>),
}

impl Place {
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }

    /// As errors name it.
    pub(super) fn named(&self) -> PathBuf {
        PathBuf::from(self.to_string())
    }
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Self {
        Self::Folder(path.to_owned())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Postgres(address) => address.fmt(f),
        }
    }
}
