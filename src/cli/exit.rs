//! The result of a run: an exit status, and a message on failure.

use std::process::ExitCode;

use crate::ops::protocol::{Refusal, RefusalKind};
use crate::store::{StoreError, is_full};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// 0
    Fine,
    /// 1
    Failed,
    /// 2
    Usage,
    /// 3
    NeedsHuman,
    /// 4
    Partly,
    /// 5
    NotFound,
}

impl Status {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NeedsHuman => 3,
            Self::Partly => 4,
            Self::NotFound => 5,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}

#[derive(Debug)]
pub(super) struct Stop {
    pub(super) status: Status,
    pub(super) message: String,
    /// The daemon ended before it replied.
    pub(super) is_cut_off: bool,
}

impl Stop {
    pub(super) fn new(status: Status, error: impl std::fmt::Display) -> Self {
        Self { status, message: error.to_string(), is_cut_off: false }
    }

    pub(super) fn usage(error: impl std::fmt::Display) -> Self {
        Self::new(Status::Usage, error)
    }

    pub(super) fn failed(error: impl std::fmt::Display) -> Self {
        Self::new(Status::Failed, error)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.kind {
            RefusalKind::Refused => Status::Usage,
            RefusalKind::NotFound => Status::NotFound,
            RefusalKind::Failed => Status::Failed,
            RefusalKind::NeedsHuman => Status::NeedsHuman,
        };
        Self::new(status, refusal.message)
    }
}

/// The operator must decide about a store that lost its data. Other startup errors are configuration errors.
pub(super) fn status_of_store(error: Option<&StoreError>) -> Status {
    match error {
        Some(StoreError::Gone { .. } | StoreError::Quarantined { .. } | StoreError::Stale { .. }) => {
            Status::NeedsHuman
        }
        // These errors do not need new settings: systemd may try again.
        Some(
            StoreError::Database(_) | StoreError::Failed(_) | StoreError::Held { .. } | StoreError::Away(_),
        ) => Status::Failed,
        Some(StoreError::Open { error, .. }) if is_full(error) => Status::Failed,
        _ => Status::Usage,
    }
}
