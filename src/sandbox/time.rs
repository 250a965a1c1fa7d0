//! The sandbox's own clock: the machine's, moved by an offset, or standing still.

use jiff::{SignedDuration, Timestamp};

/// What the sandbox's clock shows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Time {
    /// The machine's time plus an offset.
    Running(SignedDuration),
    /// Always this.
    Stopped(Timestamp),
}

impl Time {
    #[expect(
        clippy::disallowed_methods,
        reason = "the sandbox is a world of its own, with a clock of its own"
    )]
    pub(super) fn now(self) -> Timestamp {
        match self {
            Self::Running(offset) => Timestamp::now().saturating_add(offset).unwrap_or(Timestamp::MAX),
            Self::Stopped(at) => at,
        }
    }
}

/// `Fri, 31 Dec 1999 23:59:59 GMT`
pub(super) fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// RFC 3339 with whole seconds, as Jobber writes instants.
pub(super) fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
