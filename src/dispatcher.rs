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

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::Url;
use tokio_util::sync::CancellationToken;

use crate::clock::{SharedClock, plus};
use crate::crash::CrashPoint;
use crate::model::{AccountId, AskId, LastAttempt, OutboxEntry};
use crate::retry::{self, Next};
use crate::rules::{LocalHours, SharedRules};
use crate::step::{Entered, InFlight, Workers};
use crate::store::{ReceiverId, Store, StoreError};
use crate::webhook::{Attempted, Sender, TIMEOUT, WebhookSecret};

/// Requests to the receiver at the same time.
const POSTS: usize = 8;

/// Asks that one step takes: what is left is due for the next.
const TAKEN_AT_MOST: usize = 1024;

/// From taking an entry to the latest moment at which its outcome counts: longer than a request can take.
const LEASE: SignedDuration = SignedDuration::from_secs(60);
const _: () = assert!(TIMEOUT.as_secs() + 30 <= Duration::from_mins(1).as_secs());

/// Where asks go.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// The webhook.
    pub url: Url,
    /// What signs for it.
    pub secret: WebhookSecret,
}

impl Receiver {
    /// What the store calls it.
    pub fn id(&self) -> ReceiverId {
        ReceiverId::of(self.url.as_str())
    }
}

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatched {
    /// The ask.
    pub ask: AskId,
    /// What follows; `None` if somebody else had it.
    pub next: Option<Next>,
}

/// Sends what is in the outbox.
#[derive(Debug)]
pub struct Dispatcher {
    store: Store,
    sender: Sender,
    clock: SharedClock,
    receiver: Receiver,
    rules: SharedRules,
    workers: Workers,
    in_flight: InFlight<AskId>,
}

impl Dispatcher {
    /// A dispatcher to `receiver` within the hours of `rules`; after `stop` it begins no other attempt.
    pub fn new(
        store: Store,
        sender: Sender,
        clock: SharedClock,
        receiver: Receiver,
        rules: SharedRules,
        stop: CancellationToken,
    ) -> Self {
        let workers = Workers::new(POSTS, stop);
        Self { store, sender, clock, receiver, rules, workers, in_flight: InFlight::new() }
    }

    /// Where asks go.
    pub fn receiver(&self) -> &Receiver {
        &self.receiver
    }

    /// One attempt at every ask that is due and not under way, of one account or of all. May run while an earlier one
    /// still waits for an answer: each ask is taken by one of them.
    pub async fn dispatch_once(
        self: &Arc<Self>,
        only: Option<&AccountId>,
    ) -> Result<Vec<Dispatched>, StoreError> {
        // In a shadow nothing is sent, also not what was decided before; it stays where it is.
        if self.rules.policy.shadow || self.is_stopped()? {
            return Ok(vec![]);
        }
        let mut queue = Vec::new();
        let at_most = if only.is_some() { usize::MAX } else { TAKEN_AT_MOST };
        for id in self.store.due_asks(self.clock.now(), at_most)? {
            if let Some(only) = only
                && self.store.entry(&id)?.is_none_or(|entry| entry.account != *only)
            {
                continue;
            }
            if let Some(entered) = self.in_flight.enter(&id) {
                queue.push((entered, id));
            }
        }
        let post = |(entered, id): (Entered<AskId>, AskId)| {
            let dispatcher = Arc::clone(self);
            async move {
                let dispatched = dispatcher.dispatch(&id).await;
                drop(entered);
                dispatched
            }
        };
        let mut posting = self.workers.start(queue, post);
        let mut all = Vec::new();
        while let Some(dispatched) = posting.next().await {
            all.extend(dispatched?);
        }
        Ok(all)
    }

    /// Whether the receiver said that it is gone.
    fn is_stopped(&self) -> Result<bool, StoreError> {
        Ok(self.store.receiver(&self.receiver.id())?.stopped_at.is_some())
    }

    async fn dispatch(&self, id: &AskId) -> Result<Option<Dispatched>, StoreError> {
        if self.is_stopped()? {
            return Ok(None);
        }
        let now = self.clock.now();
        let Some(hours) = self.hours_of(id)? else { return Ok(None) };
        if self.store.is_suppressed(id)? {
            tracing::info!(ask.key = %id, "dropped: an admin put its customer on the list of those who are never asked");
            // An attempt that is under way is not ours to drop.
            let _dropped = self.store.drop_entry(id, now).await?;
            return Ok(None);
        }
        let until = hours.leaves(now);
        if until > now {
            // It was decided in time and held up: the customer sleeps now.
            self.store.postpone(id, now, until).await?;
            return Ok(None);
        }
        let Some(entry) = self.store.lease(id, now, plus(now, LEASE)).await? else { return Ok(None) };
        CrashPoint::OutboxLeased.pass();
        let attempted =
            self.sender.post(&self.receiver.url, &self.receiver.secret, id, &entry.body, now).await;
        CrashPoint::OutboxPosted.pass();
        let now = self.clock.now();
        let next = match retry::next(entry.failures + 1, &attempted.reply, now, entropy(&entry)) {
            Next::DueAgain { at } => Next::DueAgain { at: hours.leaves(at) },
            next => next,
        };
        tell(&entry, &attempted, &next);
        let last = last_attempt(&attempted, now);
        let settled = self.store.settle(id, entry.attempt, self.receiver.id(), next.clone(), last).await?;
        CrashPoint::OutboxSettled.pass();
        Ok(Some(Dispatched { ask: id.clone(), next: settled.then_some(next) }))
    }
}

impl Dispatcher {
    /// When the customer of an ask may hear of it. An account that is gone has no hours, and nobody asks for it.
    fn hours_of(&self, id: &AskId) -> Result<Option<LocalHours>, StoreError> {
        let Some(entry) = self.store.entry(id)? else { return Ok(None) };
        Ok(self.store.account(&entry.account)?.map(|account| self.rules.hours_of(&account)))
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
                "the receiver says it is gone: nothing is sent until an ask is retried by hand (queue retry)"
            );
        }
    }
}
