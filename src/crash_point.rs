//! The instants at which a death would hurt most, by name.
//!
//! Every step says what a crash leaves behind at which point; this is where those points are named, so that a test can
//! kill the real program at each of them. Built with the feature `crash-points`, a program that finds
//! `JOBBER_REVIEWD_CRASH=outbox.posted:2` in its environment dies by SIGKILL the second time it gets there. The program
//! as it is shipped has nothing of it.

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// Where the process may die.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CrashPoint {
            $($(#[$doc])* $variant,)+
        }

        impl CrashPoint {
            /// All of them.
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
    /// An operation on the store is decided; nothing is written.
    StoreDecided = "store.decided",
    /// Its batch is in sled's memory, not on the disk.
    StoreApplied = "store.applied",
    /// It is on the disk; nobody knows it.
    StoreFlushed = "store.flushed",
    /// A sweep has read its pages and planned; nothing is stored.
    SweepPlanned = "sweep.planned",
    /// Candidates, skips and watermark are stored.
    SweepStored = "sweep.stored",
    /// A candidate was read fresh and decided about; nothing is stored.
    AskDecided = "ask.decided",
    /// The ask is in the outbox, with its markers.
    AskStored = "ask.stored",
    /// An entry is leased; nothing is sent.
    OutboxLeased = "outbox.leased",
    /// The receiver has answered; nobody wrote it down.
    OutboxPosted = "outbox.posted",
    /// The outcome is stored.
    OutboxSettled = "outbox.settled",
    /// A refresh is announced in the store; Jobber was not asked.
    RefreshAnnounced = "refresh.announced",
    /// Jobber has rotated; the new pair is in memory only. The one window that cannot be closed.
    RefreshAnswered = "refresh.answered",
    /// The new pair is stored; nobody has used it.
    RefreshStored = "refresh.stored",
    /// A callback's state is used up; its code is not.
    ConnectTaken = "connect.taken",
    /// The code is exchanged; the pair is in memory only.
    ConnectExchanged = "connect.exchanged",
    /// Account, tokens and used link are stored; the browser knows nothing.
    ConnectStored = "connect.stored",
}

impl CrashPoint {
    /// The process gets to this point.
    #[inline]
    pub(crate) fn pass(self) {
        armed::pass(self);
    }
}

#[cfg(not(feature = "crash-points"))]
mod armed {
    #[inline]
    pub(super) fn pass(_point: super::CrashPoint) {}
}

#[cfg(feature = "crash-points")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    use super::CrashPoint;

    /// The point at which to die, and how often it is passed before.
    static ARMED: OnceLock<Option<(CrashPoint, AtomicU32)>> = OnceLock::new();

    pub(super) fn pass(point: CrashPoint) {
        let Some((armed, left)) = ARMED.get_or_init(read) else { return };
        if *armed == point && left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // Nothing of us sees whether it worked.
            let _dead = kill_process(getpid(), Signal::KILL);
        }
    }

    fn read() -> Option<(CrashPoint, AtomicU32)> {
        let text = std::env::var("JOBBER_REVIEWD_CRASH").ok()?;
        let (name, times) = text.rsplit_once(':')?;
        let point = CrashPoint::ALL.iter().copied().find(|point| point.name() == name)?;
        Some((point, AtomicU32::new(times.parse().ok()?)))
    }
}
