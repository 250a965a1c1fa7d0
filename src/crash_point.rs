//! The named instants at which a crash is most critical.
//!
//! The comments of the steps say what a crash at each point leaves behind. Tests use these names to kill the
//! real program at each point. With the feature `crash-points`, a program with
//! `JOBBER_REVIEWD_CRASH=outbox.posted:2` in its environment dies by SIGKILL when it reaches that point the
//! second time. The shipped program has none of this.

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// A point at which the process may die.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CrashPoint {
            $($(#[$doc])* $variant,)+
        }

        impl CrashPoint {
            /// All points.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

points! {
    /// A store operation is decided, nothing is written.
    StoreDecided = "store.decided",
    /// Its batch is in sled's memory but not on the disk.
    StoreApplied = "store.applied",
    /// It is on the disk, but not answered.
    StoreFlushed = "store.flushed",
    /// A sweep has read its pages and planned. Nothing is stored.
    SweepPlanned = "sweep.planned",
    /// Candidates, skips and watermark are stored.
    SweepStored = "sweep.stored",
    /// A candidate was read fresh and decided. Nothing is stored.
    AskDecided = "ask.decided",
    /// The ask is in the outbox, with its markers.
    AskStored = "ask.stored",
    /// An entry is leased, nothing is sent.
    OutboxLeased = "outbox.leased",
    /// The receiver has answered, the outcome is not stored.
    OutboxPosted = "outbox.posted",
    /// The outcome is stored.
    OutboxSettled = "outbox.settled",
    /// The intent to refresh is stored. Jobber was not asked.
    RefreshAnnounced = "refresh.announced",
    /// Jobber has rotated, the new pair is only in memory. This window cannot be closed.
    RefreshAnswered = "refresh.answered",
    /// The new pair is stored but not used yet.
    RefreshStored = "refresh.stored",
    /// A write in Jobber is stored, nothing is sent. What became of it is not known afterwards, and it is told.
    ActionBegun = "action.begun",
    /// Jobber has answered a write, and the answer is not stored. The same holds.
    ActionAnswered = "action.answered",
    /// What became of a write is stored, whoever asked has no answer.
    ActionEnded = "action.ended",
    /// A callback's state is used up, its code is not.
    ConnectTaken = "connect.taken",
    /// The code is exchanged, the pair is only in memory.
    ConnectExchanged = "connect.exchanged",
    /// Account, tokens and used link are stored, the browser has no answer.
    ConnectStored = "connect.stored",
}

impl CrashPoint {
    /// Marks that the process has reached this point.
    #[inline]
    pub(crate) fn pass(self) {
        armed::pass(self);
    }
}

/// Panics on a record that a test poisoned, if the feature is on.
#[inline]
pub(crate) fn poisoned(record: &str) {
    armed::poisoned(record);
}

/// Makes every step on this thread panic on this record, for tests. `None` ends it.
#[cfg(feature = "crash-points")]
pub fn poison(record: Option<&str>) {
    armed::poison(record);
}

#[cfg(not(feature = "crash-points"))]
mod armed {
    #[inline]
    pub(super) fn poisoned(_record: &str) {}

    #[inline]
    pub(super) fn pass(_point: super::CrashPoint) {}
}

#[cfg(feature = "crash-points")]
mod armed {
    use std::cell::RefCell;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    use super::CrashPoint;

    /// The point at which to die, and how often it is passed before that.
    static ARMED: OnceLock<Option<(CrashPoint, AtomicU32)>> = OnceLock::new();

    pub(super) fn pass(point: CrashPoint) {
        let Some((armed, left)) = ARMED.get_or_init(read) else { return };
        if *armed == point && left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // Nothing runs after this.
            let _dead = kill_process(getpid(), Signal::KILL);
        }
    }

    thread_local! {
        /// Of one test: each has a thread of its own.
        static POISONED: RefCell<Option<String>> = const { RefCell::new(None) };
    }

    pub(super) fn poison(record: Option<&str>) {
        POISONED.set(record.map(str::to_owned));
    }

    pub(super) fn poisoned(record: &str) {
        let is_meant = POISONED.with_borrow(|poisoned| poisoned.as_deref() == Some(record));
        assert!(!is_meant, "a poisoned record");
    }

    fn read() -> Option<(CrashPoint, AtomicU32)> {
        let text = std::env::var("JOBBER_REVIEWD_CRASH").ok()?;
        let (name, times) = text.rsplit_once(':')?;
        let point = CrashPoint::ALL.iter().copied().find(|point| point.name() == name)?;
        Some((point, AtomicU32::new(times.parse().ok()?)))
    }
}
