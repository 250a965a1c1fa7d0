//! The sandbox's own clock: the machine's clock with an offset and a speed, or stopped.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

/// The state of the sandbox's clock.
#[derive(Debug, Clone, Copy)]
pub(super) enum Time {
    /// It showed `base` at `since`, and runs `speed` times as fast as the machine's.
    Running { base: Timestamp, since: Instant, speed: u32 },
    /// It always shows this.
    Stopped(Timestamp),
}

impl Time {
    /// A clock that shows `base` now.
    pub(super) fn running(base: Timestamp, speed: u32) -> Self {
        Self::Running { base, since: Instant::now(), speed }
    }

    /// The machine's.
    #[expect(
        clippy::disallowed_methods,
        reason = "the sandbox is a world of its own, with a clock of its own"
    )]
    pub(super) fn machine() -> Timestamp {
        Timestamp::now()
    }

    pub(super) fn now(self) -> Timestamp {
        match self {
            Self::Running { base, since, speed } => {
                let passed = SignedDuration::try_from(since.elapsed() * speed).unwrap_or(SignedDuration::MAX);
                base.saturating_add(passed).unwrap_or(Timestamp::MAX)
            }
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
