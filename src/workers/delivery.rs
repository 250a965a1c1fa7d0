//! From the outbox to the receiver: lease, post, sort the answer, settle.
//!
//! # Crash points
//!
//! - *Before the lease was stored*: the entry is due, nothing was sent.
//! - *Between lease and answer*: the receiver may have the ask or not. On the next start every lease is void and
//!   the entry is due again; the retry carries the same id and the same bytes, so a receiver that honours the
//!   id sees it once.
//! - *After the answer, before it was settled*: as above. An accepted ask may be sent once more, under its id.
//! - *After the settlement*: done.
//!
//! An ask leaves only while the window of its account is open, also when it is tried again: the review platform writes
//! to the customer when it gets it.
//!
//! A lease is longer than a request can take, and the number of the attempt is its fencing number: an outcome
//! that comes after its lease ran out and the entry was leased again is ignored.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::parts::WorkerParts;
use super::pool::{Entered, InFlight, Pool};
use crate::accounts::settings::{Receiver, ReceiverError};
use crate::clock::plus;
use crate::crash_point::CrashPoint;
use crate::domain::model::{AccountId, Connection, LastAttempt, MessageId, MessageKind, OutboxEntry};
use crate::domain::retry::{self, Next};
use crate::domain::rules::LocalHours;
use crate::outbound::sender::{Attempted, Sender, TIMEOUT};
use crate::store::{ReceiverId, StoreError};
use crate::telemetry;

/// Requests to one receiver at the same time.
const POSTS: usize = 8;

/// Requests to all receivers together.
const POSTS_IN_ALL: usize = 1024;

/// Asks of one account that one step takes: what is left is due for the next.
const TAKEN_AT_MOST: usize = 128;

/// From taking an entry to the latest moment at which its outcome counts: longer than a request can take.
const LEASE: SignedDuration = SignedDuration::from_secs(60);
const _: () = assert!(TIMEOUT.as_secs() + 30 <= Duration::from_mins(1).as_secs());

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The message.
    pub message: MessageId,
    /// What follows; `None` if somebody else had it.
    pub next: Option<Next>,
}

/// Sends what is in the outbox.
#[derive(Debug)]
pub struct Deliverer {
    parts: WorkerParts,
    sender: Sender,
    lanes: Mutex<HashMap<ReceiverId, Pool>>,
    posts: Semaphore,
    in_flight: InFlight<MessageId>,
}

/// A message that is taken.
struct Taken {
    message: MessageId,
    kind: MessageKind,
    account: AccountId,
    entered: Entered<MessageId>,
}

impl Deliverer {
    /// A deliverer through `sender`; after the stop it begins no other attempt.
    pub fn new(parts: WorkerParts, sender: Sender) -> Self {
        let (lanes, posts) = (Mutex::default(), Semaphore::new(POSTS_IN_ALL));
        Self { parts, sender, lanes, posts, in_flight: InFlight::new() }
    }

    /// One attempt at every ask that is due and not under way, of one account or of all. May run while an earlier one
    /// still waits for an answer: each ask is taken by one of them.
    pub async fn deliver_once(
        self: &Arc<Self>,
        only: Option<&AccountId>,
    ) -> Result<Vec<Attempt>, StoreError> {
        let mut queues: BTreeMap<ReceiverId, Vec<Taken>> = BTreeMap::new();
        let due = self.parts.store.due_messages(self.parts.clock.now(), TAKEN_AT_MOST).await?;
        for ((account, kind), messages) in due {
            if only.is_some_and(|only| *only != account) {
                continue;
            }
            if kind == MessageKind::Change && self.parts.settings.events_receiver().is_none() {
                // Nobody listens any more.
                for message in messages {
                    let _dropped = self.parts.store.drop_entry(&message, self.parts.clock.now()).await?;
                }
                continue;
            }
            let Some(route) = self.route(&account, kind).await? else { continue };
            let queue = queues.entry(route.receiver.id()).or_default();
            for message in messages {
                if let Some(entered) = self.in_flight.enter(&message) {
                    queue.push(Taken { message, kind, account: account.clone(), entered });
                }
            }
        }
        let mut posting = JoinSet::new();
        for (receiver, queue) in queues {
            posting.spawn(Arc::clone(self).post_all(receiver, queue));
        }
        let mut all = Vec::new();
        while let Some(posted) = posting.join_next().await {
            match posted {
                Ok(posted) => all.extend(posted?),
                Err(error) => tracing::error!(%error, "a task failed"),
            }
        }
        Ok(all)
    }

    /// Attempts what goes to one receiver. Each has a lane of its own: one that hangs keeps no other one waiting.
    async fn post_all(
        self: Arc<Self>,
        receiver: ReceiverId,
        queue: Vec<Taken>,
    ) -> Result<Vec<Attempt>, StoreError> {
        let lane = {
            let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            lanes.entry(receiver).or_insert_with(|| Pool::new(POSTS, self.parts.stop.clone())).clone()
        };
        let mut posting = lane.start(queue, |taken: Taken| {
            let deliverer = Arc::clone(&self);
            async move {
                let attempt = deliverer.attempt(&taken).await;
                drop(taken.entered);
                attempt
            }
        });
        let mut all = Vec::new();
        while let Some(attempt) = posting.next().await {
            all.extend(attempt?);
        }
        Ok(all)
    }

    /// Where the asks of an account go now, and when; `None` while none may leave: it rests or is gone, it is a shadow, its
    /// receiver said that it is gone, its settings are broken (which its sweeps tell). What waits stays where it is.
    async fn route(&self, id: &AccountId, kind: MessageKind) -> Result<Option<Route>, StoreError> {
        let Some(account) = self.parts.store.account(id).await? else { return Ok(None) };
        let is_over = matches!(account.connection, Connection::Disconnected { .. });
        if account.paused_at.is_some() || is_over {
            return Ok(None);
        }
        let Ok(rules) = self.parts.settings.rules_of(&account) else { return Ok(None) };
        let receiver = match self.parts.settings.receiver_for(&account, kind).await {
            Ok(Some(receiver)) => receiver,
            Err(ReceiverError::Store(error)) => return Err(error),
            Ok(None) | Err(ReceiverError::Settings(_)) => return Ok(None),
        };
        let stopped = self.parts.store.receiver(&receiver.id()).await?.stopped_at.is_some();
        if stopped || (rules.policy.shadow && kind == MessageKind::Ask) {
            return Ok(None);
        }
        let hours = match kind {
            MessageKind::Ask => rules.hours,
            // A program reads it, whatever the hour.
            MessageKind::Change => LocalHours::always(),
        };
        Ok(Some(Route { receiver, hours }))
    }

    async fn attempt(&self, taken: &Taken) -> Result<Option<Attempt>, StoreError> {
        let Taken { message: id, kind, account, .. } = taken;
        // Never closed: a turn always comes.
        let _turn = self.posts.acquire().await;
        // Again: others had their turn, and something may have happened meanwhile.
        let Some(Route { receiver, hours }) = self.route(account, *kind).await? else { return Ok(None) };
        let now = self.parts.clock.now();
        if *kind == MessageKind::Ask && self.parts.store.is_suppressed(id).await? {
            tracing::info!(ask.key = %id, "dropped: the customer was put on the list of people who are never asked");
            // An attempt that is under way is not ours to drop.
            let _dropped = self.parts.store.drop_entry(id, now).await?;
            return Ok(None);
        }
        let until = hours.leaves(now);
        if until > now {
            // It was decided in time and held up: the customer sleeps now.
            self.parts.store.postpone(id, now, until).await?;
            return Ok(None);
        }
        let Some(entry) = self.parts.store.lease(id, now, plus(now, LEASE)).await? else { return Ok(None) };
        CrashPoint::OutboxLeased.pass();
        let begun = std::time::Instant::now();
        let attempted = self.sender.post(&receiver.url, &receiver.secret, id, &entry.body, now).await;
        CrashPoint::OutboxPosted.pass();
        let now = self.parts.clock.now();
        let next = match retry::next(entry.failures + 1, &attempted.reply, now, entropy(&entry)) {
            Next::DueAgain { at } => Next::DueAgain { at: hours.leaves(at) },
            next => next,
        };
        telemetry::delivered(name_of(&next), begun.elapsed());
        tell(&entry, &attempted, &next);
        let last = last_attempt(&attempted, now);
        let settled = self.parts.store.settle(id, entry.attempt, receiver.id(), next.clone(), last).await?;
        CrashPoint::OutboxSettled.pass();
        Ok(Some(Attempt { message: id.clone(), next: settled.then_some(next) }))
    }
}

/// Where asks go, and in which hours.
struct Route {
    receiver: Receiver,
    hours: LocalHours,
}

/// What an attempt is counted as.
fn name_of(next: &Next) -> &'static str {
    match next {
        Next::Delivered => "delivered",
        Next::DueAgain { .. } => "again",
        Next::Dead(_) => "dead",
        Next::ReceiverGone => "gone",
    }
}

fn last_attempt(attempted: &Attempted, at: Timestamp) -> LastAttempt {
    use retry::Reply;

    let status = match attempted.reply {
        Reply::Accepted { status } | Reply::Refused { status } => Some(status),
        Reply::Gone => Some(410),
        Reply::Failed { status, .. } => status,
    };
    LastAttempt { at, status, error: attempted.note.clone() }
}

/// Spreads what failed together. The same attempt always waits the same: a crash changes nothing.
fn entropy(entry: &OutboxEntry) -> u64 {
    // FNV-1a.
    entry
        .id
        .as_str()
        .bytes()
        .chain(entry.attempt.to_be_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn tell(entry: &OutboxEntry, attempted: &Attempted, next: &Next) {
    let (key, attempt, note) = (&entry.id, entry.attempt, attempted.note.as_str());
    match next {
        Next::Delivered => tracing::info!(ask.key = %key, attempt, note, "delivered"),
        Next::DueAgain { at } => {
            tracing::warn!(ask.key = %key, attempt, note, next_attempt = %at, "not delivered yet");
        }
        Next::Dead(reason) => tracing::error!(ask.key = %key, attempt, note, %reason, "dead letter"),
        Next::ReceiverGone => {
            tracing::error!(
                ask.key = %key, attempt, note,
                "the receiver answered 410 (gone): nothing is sent to it until somebody runs queue retry"
            );
        }
    }
}
