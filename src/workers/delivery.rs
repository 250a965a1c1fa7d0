//! Delivers from the outbox to the receiver: lease, post, classify the answer, settle.
//!
//! # Crash points
//!
//! - *Before the lease was stored*: the entry is due, nothing was sent.
//! - *Between lease and answer*: the receiver may have the ask or not. On the next start every lease is void
//!   and the entry is due again. The retry has the same id and bytes, so a receiver that honours the id
//!   handles it once.
//! - *After the answer, before it was settled*: the same. An accepted ask may be sent once more under its id.
//! - *After the settlement*: done.
//!
//! An ask is sent only while its account's window is open, also on a retry, because the review platform
//! writes to the customer at once.
//!
//! An ask that has waited for long, or whose account has events that were not followed up, is read again before it is sent: see [`Deliverer::is_wanted`].
//!
//! A lease is longer than the longest request. The attempt's number is its fencing number: if the lease
//! expired and the entry was leased again, the late outcome is ignored.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::absent::Absent;
use super::backoff::Backoff;
use super::parts::WorkerParts;
use super::pool::{Entered, InFlight, Panicked, Pool, guarded};
use crate::accounts::receiver::Receiver;
use crate::accounts::session::SessionError;
use crate::accounts::settings::ReceiverError;
use crate::clock::{is_over, plus};
use crate::crash_point::CrashPoint;
use crate::domain::decide::{outdated, stale};
use crate::domain::model::{
    AccountId, Connection, LastAttempt, MessageId, MessageKind, OutboxEntry, contacts_of,
};
use crate::domain::retry::{self, Next};
use crate::domain::rules::LocalHours;
use crate::jobber::operations::WorkDetails;
use crate::outbound::sender::{Attempted, Sender, TIMEOUT};
use crate::store::{ReceiverId, StoreError};
use crate::telemetry::traces::Step;
use crate::telemetry::{self, traces};

/// An ask that was decided within this time is sent as it is.
const FRESH: SignedDuration = SignedDuration::from_hours(1);

/// How long an older ask waits whose customer cannot be read.
const UNREAD: SignedDuration = SignedDuration::from_mins(5);

/// How long a message waits on which the program failed.
const AFTER_A_FAULT: SignedDuration = SignedDuration::from_mins(15);

/// Posts to one receiver at once: so many at first, and more while it takes them.
const POSTS: usize = 8;
const POSTS_AT_MOST: usize = 64;

const POSTS_IN_ALL: usize = 1024;

/// Maximum asks per account in one step. The rest stay due.
const TAKEN_AT_MOST: usize = 128;

/// The outcome of an attempt counts only within this time. It is longer than the longest request.
const LEASE: SignedDuration = SignedDuration::from_secs(60);
const _: () = assert!(TIMEOUT.as_secs() + 30 <= Duration::from_mins(1).as_secs());

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub message: MessageId,
    /// The next step. `None` if another attempt had the lease.
    pub next: Option<Next>,
}

#[derive(Debug)]
pub struct Deliverer {
    parts: WorkerParts,
    sender: Sender,
    lanes: Mutex<HashMap<ReceiverId, Pool>>,
    posts: Semaphore,
    in_flight: InFlight<MessageId>,
    absent: Absent,
    /// Accounts whose customers cannot be read.
    unread: Backoff<AccountId>,
}

struct Taken {
    message: MessageId,
    kind: MessageKind,
    to: Option<String>,
    account: AccountId,
    entered: Entered<MessageId>,
}

impl Deliverer {
    pub fn new(parts: WorkerParts, sender: Sender) -> Self {
        let (lanes, posts) = (Mutex::default(), Semaphore::new(POSTS_IN_ALL));
        let (absent, unread) = (Absent::default(), Backoff::default());
        Self { parts, sender, lanes, posts, in_flight: InFlight::new(), absent, unread }
    }

    /// Attempts every due ask of one account or of all. It may run while an earlier call still waits for
    /// answers: each ask is taken by only one of them.
    pub async fn deliver_once(
        self: &Arc<Self>,
        only: Option<&AccountId>,
    ) -> Result<Vec<Attempt>, StoreError> {
        let mut queues: BTreeMap<ReceiverId, Vec<Taken>> = BTreeMap::new();
        let due = self.parts.store.due_messages(self.parts.clock.now(), TAKEN_AT_MOST).await?;
        for ((account, kind, to), messages) in due {
            if only.is_some_and(|only| *only != account) {
                continue;
            }
            let settings = &self.parts.settings;
            let is_unheard = match kind {
                MessageKind::Ask => false,
                MessageKind::Change => settings.events_receiver().is_none(),
                MessageKind::Event => settings.forward_receiver(to.as_deref()).is_none(),
            };
            if is_unheard {
                // There is no receiver any more.
                tracing::warn!(account.id = %account, messages = messages.len(), "dropped: the settings no longer say where these go");
                for message in messages {
                    let _dropped = self.parts.store.drop_entry(&message, self.parts.clock.now()).await?;
                }
                continue;
            }
            let Some(route) = self.route(&account, kind, to.as_deref()).await? else { continue };
            let queue = queues.entry(route.receiver.id()).or_default();
            for message in messages {
                if let Some(entered) = self.in_flight.enter(&message) {
                    queue.push(Taken { message, kind, to: to.clone(), account: account.clone(), entered });
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

    /// Attempts everything for one receiver. Each receiver is served separately, so one that hangs does not
    /// delay the others.
    async fn post_all(
        self: Arc<Self>,
        receiver: ReceiverId,
        queue: Vec<Taken>,
    ) -> Result<Vec<Attempt>, StoreError> {
        let lane = {
            let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            lanes
                .entry(receiver)
                .or_insert_with(|| Pool::on_one(POSTS, POSTS_AT_MOST, self.parts.stop.clone()))
                .clone()
        };
        let noted = lane.clone();
        let mut posting = lane.start(queue, |taken: Taken| {
            let deliverer = Arc::clone(&self);
            async move {
                let attempt = match guarded(deliverer.attempt(&taken)).await {
                    Ok(attempt) => {
                        deliverer.parts.faults.clear(&taken.account, taken.message.as_str());
                        attempt
                    }
                    Err(panic) => deliverer.faulty(&taken, &panic).await,
                };
                drop(taken.entered);
                attempt
            }
        });
        let mut all = Vec::new();
        while let Some(attempt) = posting.next().await {
            let attempt = attempt?;
            match attempt.as_ref().and_then(|attempt| attempt.next.as_ref()) {
                Some(Next::Delivered) => noted.note(true),
                Some(Next::DueAgain { .. }) => noted.note(false),
                _ => {}
            }
            all.extend(attempt);
        }
        Ok(all)
    }

    /// The account's current receiver and window. `None` while nothing may be sent: the account is paused or
    /// gone, in shadow mode, its receiver is gone, or its settings are broken (its sweeps report that). Its
    /// messages stay queued.
    async fn route(
        &self,
        id: &AccountId,
        kind: MessageKind,
        to: Option<&str>,
    ) -> Result<Option<Route>, StoreError> {
        let Some(account) = self.parts.store.account(id).await? else { return Ok(None) };
        let is_over = matches!(account.connection, Connection::Disconnected { .. });
        // Of a connection's end receivers are told after it.
        if account.paused_at.is_some() || is_over && kind != MessageKind::Event {
            return Ok(None);
        }
        let Ok(rules) = self.parts.settings.rules_of(&account) else { return Ok(None) };
        let receiver = match self.parts.settings.receiver_for(&account, kind, to).await {
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
            // A program reads it, so the hour does not matter.
            MessageKind::Change | MessageKind::Event => LocalHours::always(),
        };
        Ok(Some(Route { receiver, hours }))
    }

    async fn attempt(&self, taken: &Taken) -> Result<Option<Attempt>, StoreError> {
        let Taken { message: id, kind, to, account, .. } = taken;
        // The semaphore is never closed.
        let _turn = self.posts.acquire().await;
        if *kind == MessageKind::Ask && self.parts.store.is_suppressed(id).await? {
            tracing::info!(ask.key = %id, "dropped: the customer was put on the list of people who are never asked");
            // A running attempt cannot be dropped.
            let _dropped = self.parts.store.drop_entry(id, self.parts.clock.now()).await?;
            return Ok(None);
        }
        if *kind == MessageKind::Ask && !self.is_wanted(id, account).await? {
            return Ok(None);
        }
        // Check again: the state may have changed while waiting and reading.
        let Some(Route { receiver, hours }) = self.route(account, *kind, to.as_deref()).await? else {
            return Ok(None);
        };
        let now = self.parts.clock.now();
        let until = hours.leaves(now);
        if until > now {
            // It was decided in time but delayed, and now the window is closed.
            self.parts.store.postpone(id, now, until).await?;
            return Ok(None);
        }
        let Some(entry) = self.parts.store.lease(id, now, plus(now, LEASE)).await? else { return Ok(None) };
        CrashPoint::OutboxLeased.pass();
        let begun = std::time::Instant::now();
        let step = traces::step(id.as_str(), "deliver");
        let trace = step.as_ref().map(Step::traceparent);
        let Receiver { url, secret, .. } = &receiver;
        let json = "application/json";
        let attempted = self.sender.post_as(json, url, secret, id, &entry.body, now, trace.as_deref()).await;
        CrashPoint::OutboxPosted.pass();
        let now = self.parts.clock.now();
        let next = match retry::next(entry.failures + 1, &attempted.reply, now, entropy(&entry)) {
            Next::DueAgain { at } => Next::DueAgain { at: hours.leaves(at) },
            next => next,
        };
        telemetry::delivered(name_of(&next), begun.elapsed());
        trace_attempt(step, &entry, &attempted, &next);
        tell(&entry, &attempted, &next);
        let last = last_attempt(&attempted, now);
        let settled = self.parts.store.settle(id, entry.attempt, receiver.id(), next.clone(), last).await?;
        CrashPoint::OutboxSettled.pass();
        Ok(Some(Attempt { message: id.clone(), next: settled.then_some(next) }))
    }
}

impl Deliverer {
    /// A panic of this program costs only the one message: it is put off, counted and, if it comes again, told.
    async fn faulty(&self, taken: &Taken, panic: &Panicked) -> Result<Option<Attempt>, StoreError> {
        self.parts.faults.count(&taken.account, taken.message.as_str(), &panic.words);
        tracing::error!(ask.key = %taken.message, panic.words, "a fault of this program");
        let now = self.parts.clock.now();
        self.parts.store.postpone(&taken.message, now, plus(now, AFTER_A_FAULT)).await?;
        Ok(None)
    }

    /// Whether an ask may still be sent. One that is tried within the hour costs nothing; an older one is read again,
    /// because meanwhile the customer may have opted out. What cannot be read waits.
    async fn is_wanted(&self, id: &MessageId, account: &AccountId) -> Result<bool, StoreError> {
        let now = self.parts.clock.now();
        let Some(entry) = self.parts.store.entry(id).await? else { return Ok(false) };
        // An event that nobody has followed up may be an opt-out.
        let is_unheard = self.parts.store.has_follow_ups_of(account).await?;
        if !is_over(entry.created_at, FRESH, now) && !is_unheard {
            return Ok(true);
        }
        let work = entry.payload.work();
        let Some(decision) = self.parts.store.decision(account, work).await? else { return Ok(true) };
        let Some(account) = self.parts.store.account(account).await? else { return Ok(false) };
        let Ok(rules) = self.parts.settings.rules_of(&account) else { return Ok(false) };
        if !rules.hours.is_open(now) || account.paused_at.is_some() {
            // It is put off anyhow.
            return Ok(true);
        }
        if self.unread.until(&account.id, now).is_some() {
            self.parts.store.postpone(id, now, plus(now, UNREAD)).await?;
            return Ok(false);
        }
        let read = self.parts.session.run(&account.id, &WorkDetails { work }).await;
        let now = self.parts.clock.now();
        let verdict = match read {
            Ok(answer) => {
                let key = (account.id.clone(), work.clone());
                if let Some(until) = self.absent.look_again(key, answer.data.is_none(), now) {
                    self.parts.store.postpone(id, now, until).await?;
                    return Ok(false);
                }
                let client = answer.data.as_ref().and_then(|facts| facts.client.as_ref());
                let suppression = match client {
                    Some(client) => {
                        let contacts = contacts_of(client);
                        self.parts.store.suppression_of(&account.id, &client.id, &contacts).await?
                    }
                    None => None,
                };
                let date = answer.date.unwrap_or(now).min(now);
                outdated(&decision, answer.data.as_ref(), suppression.as_ref(), &rules, date)
            }
            Err(SessionError::Store(error)) => return Err(error),
            Err(error) => {
                // One read tells enough about the account: its other asks wait without.
                self.unread.hold(&account.id, now, UNREAD);
                let agreed = self.parts.session.jobber_clock().agreed();
                let Some(verdict) = agreed.and_then(|agreed| stale(&decision, &rules, agreed)) else {
                    tracing::debug!(ask.key = %id, %error, "an old ask waits, because its customer cannot be read");
                    self.parts.store.postpone(id, now, plus(now, UNREAD)).await?;
                    return Ok(false);
                };
                Some(verdict)
            }
        };
        let Some((reason, saw)) = verdict else { return Ok(true) };
        tracing::info!(ask.key = %id, %reason, "not sent any more");
        self.parts.store.skip_entry(id, reason, saw, now).await?;
        Ok(false)
    }
}

fn trace_attempt(step: Option<Step>, entry: &OutboxEntry, attempted: &Attempted, next: &Next) {
    let Some(step) = step else { return };
    let step = step
        .with("account.id", entry.account.to_string())
        .with("message.id", entry.id.to_string())
        .with("attempt", i64::from(entry.attempt))
        .with("answer", attempted.note.clone())
        .with("result", name_of(next));
    if !matches!(next, Next::Delivered) {
        step.failed(name_of(next));
    }
}

struct Route {
    receiver: Receiver,
    hours: LocalHours,
}

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

/// Spreads messages that failed together. It is the same after a crash, because it depends only on the
/// attempt.
fn entropy(entry: &OutboxEntry) -> u64 {
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
