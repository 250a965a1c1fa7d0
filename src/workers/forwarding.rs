//! Forwards Jobber's events: reads each record once, freezes a message for each event, and leaves the rest to the outbox.
//!
//! It has a step of its own, so that asks never wait for it. Events of one record are frozen in the order in which they
//! happened, and the outbox lets them leave in that order.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::backoff::Backoff;
use super::parts::WorkerParts;
use super::pool::{Entered, InFlight, Pool};
use crate::accounts::forwards::{Forward, Reads};
use crate::accounts::session::{SessionError, Trouble};
use crate::domain::forward::{Pending, Seen, body, event_id};
use crate::domain::model::{
    Account, AccountId, EncodedId, EntryState, MessageId, OutboxEntry, Payload, WorkKind, WorkRef,
};
use crate::domain::webhook_event::Record;
use crate::jobber::operations::Query;
use crate::store::{ReceiverId, StoreError};

/// How long an event waits, so that one that happened earlier and comes later leaves first.
pub const SETTLES: SignedDuration = SignedDuration::from_secs(2);

/// Events of one account that wait at most. With more, records are not read any more.
const PILE: usize = 10_000;

/// How long an account rests when its records cannot be read.
const REST: SignedDuration = SignedDuration::from_secs(30);

/// How long the events of a record wait that cannot be read.
const UNREADABLE: SignedDuration = SignedDuration::from_mins(15);

/// How long messages of records that were read wait for others.
const COMMITTED_EVERY: Duration = Duration::from_secs(1);

/// Events of one account that are taken in one step.
const TOGETHER: usize = 1000;

/// Records of one account that are read in one step.
const AT_ONCE: usize = 64;

#[derive(Debug)]
pub struct Forwarder {
    parts: WorkerParts,
    pool: Pool,
    in_flight: InFlight<AccountId>,
    backoff: Backoff<AccountId>,
    /// Records that cannot be read for a reason of their own.
    unreadable: Arc<Backoff<(AccountId, EncodedId)>>,
    /// Accounts with too many events to read records, until nearly none are left.
    piled_up: Mutex<HashSet<AccountId>>,
}

impl Forwarder {
    pub fn new(parts: WorkerParts) -> Self {
        Self {
            pool: parts.pool(),
            parts,
            in_flight: InFlight::new(),
            backoff: Backoff::default(),
            piled_up: Mutex::default(),
            unreadable: Arc::default(),
        }
    }

    fn is_piled_up(&self, id: &AccountId) -> bool {
        self.piled_up.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    fn note_pile(&self, id: &AccountId, is_piled_up: bool) {
        let mut piled_up = self.piled_up.lock().unwrap_or_else(PoisonError::into_inner);
        if is_piled_up {
            piled_up.insert(id.clone());
        } else {
            piled_up.remove(id);
        }
    }

    /// Makes messages of the events that wait. Returns their number.
    pub async fn forward_once(self: &Arc<Self>) -> Result<usize, StoreError> {
        let mut queue = Vec::new();
        for id in self.parts.store.accounts_with_forwards().await? {
            if self.backoff.until(&id, self.parts.clock.now()).is_some() {
                continue;
            }
            if let Some(entered) = self.in_flight.enter(&id) {
                queue.push((entered, id));
            }
        }
        let work = |(entered, id): (Entered<AccountId>, AccountId)| {
            let forwarder = Arc::clone(self);
            async move {
                let made = forwarder.forward(&id).await;
                drop(entered);
                made
            }
        };
        let mut working = self.pool.start(queue, work);
        let mut all = 0;
        while let Some(made) = working.next().await {
            all += made?;
        }
        Ok(all)
    }

    async fn forward(&self, id: &AccountId) -> Result<usize, StoreError> {
        let (unreadable, account, begun) = (Arc::clone(&self.unreadable), id.clone(), self.parts.clock.now());
        // What cannot be read takes no room from the others.
        let waits =
            move |event: &Pending| unreadable.until(&(account.clone(), event.item.clone()), begun).is_some();
        let pending = self.parts.store.pending_forwards(id, TOGETHER, waits).await?;
        // Counted only if it can be a pile.
        let is_long = pending.len() == TOGETHER;
        let is_piled_up =
            is_long && (self.is_piled_up(id) || self.parts.store.has_more_forwards(id, PILE).await?);
        self.note_pile(id, is_piled_up);
        let forwards = self.parts.settings.forwards();
        let account = self.parts.store.account(id).await?;
        let now = self.parts.clock.now();
        let (mut ready, mut reads, mut made) = (Ready::default(), 0, 0);
        let mut begun = Instant::now();
        for events in settled(pending, now) {
            if self.pool.is_stopped() {
                break;
            }
            let Some(account) = &account else {
                ready.events.extend(events);
                continue;
            };
            let wants_record =
                |event: &&Pending| forwards.iter().any(|forward| reads_for(forward, event).is_some());
            let wanted = events.iter().filter(wants_record).count();
            let mut seen = BTreeMap::new();
            if wanted > 0 && is_piled_up {
                self.parts.piles.note(id, now, wanted);
            } else if wanted > 0 {
                if reads == AT_ONCE {
                    // The other accounts get their turn.
                    break;
                }
                reads += 1;
                let record = (id.clone(), events[0].item.clone());
                match self.read_all(account, &events, &forwards).await {
                    Ok(read) => seen = read,
                    Err(SessionError::Store(error)) => return Err(error),
                    Err(SessionError::Failed { detail, trouble }) if !trouble.is_outage() => {
                        // Only this record waits.
                        tracing::warn!(account.id = %id, item = %record.1, detail, "a record cannot be read: its events wait");
                        self.unreadable.hold(&record, now, UNREADABLE);
                        continue;
                    }
                    Err(error) => {
                        tracing::debug!(account.id = %id, %error, "events wait to be forwarded");
                        let rest = match error {
                            SessionError::Failed {
                                trouble: Trouble::Outage { retry_after: Some(asked), .. },
                                ..
                            } => asked.max(REST),
                            _ => REST,
                        };
                        self.backoff.hold(id, now, rest);
                        break;
                    }
                }
            }
            for (event, forward) in pairs(&events, &forwards) {
                ready.messages.push(self.message(account, event, forward, &seen, now));
            }
            ready.events.extend(events);
            if begun.elapsed() >= COMMITTED_EVERY {
                // What was read leaves before the rest is.
                made += self.commit(id, std::mem::take(&mut ready)).await?;
                begun = Instant::now();
            }
        }
        Ok(made + self.commit(id, ready).await?)
    }

    async fn commit(&self, id: &AccountId, ready: Ready) -> Result<usize, StoreError> {
        let made = ready.messages.len();
        self.parts.store.commit_forwards(id, ready.events, ready.messages).await?;
        Ok(made)
    }

    /// Reads the record of `events` once for each way in which it is wanted.
    async fn read_all<'f>(
        &self,
        account: &Account,
        events: &[Pending],
        forwards: &'f [Forward],
    ) -> Result<BTreeMap<&'f str, Seen>, SessionError> {
        let mut seen = BTreeMap::new();
        for (event, forward) in pairs(events, forwards) {
            let Some(name) = reads_for(forward, event) else { continue };
            if !seen.contains_key(name) {
                let record = event.topic.record();
                seen.insert(name, self.read(account, &forward.reads, record, &event.item).await?);
            }
        }
        Ok(seen)
    }

    /// Reads the record of an event.
    pub async fn read(
        &self,
        account: &Account,
        reads: &Reads,
        record: Record,
        item: &EncodedId,
    ) -> Result<Seen, SessionError> {
        let request = reads.request(record, item).map_err(SessionError::settings)?;
        let Some(request) = request else { return Ok(Seen::NotRead) };
        let root = request.document.roots().into_iter().next().unwrap_or_default();
        let at = self.parts.clock.now();
        match self.parts.session.run(&account.id, &Query(request)).await {
            Ok(answer) if answer.hidden.is_some() => Ok(Seen::Hidden),
            Ok(answer) => Ok(match answer.data.get(&root) {
                None | Some(Value::Null) => Seen::Gone,
                Some(record) => Seen::Read { record: record.clone(), at },
            }),
            // A scope or a permission is missing: no later read would find it.
            Err(SessionError::Failed { trouble: Trouble::Operator, .. }) => Ok(Seen::Hidden),
            Err(error) => Err(error),
        }
    }

    fn message(
        &self,
        account: &Account,
        event: &Pending,
        forward: &Forward,
        seen: &BTreeMap<&str, Seen>,
        now: Timestamp,
    ) -> OutboxEntry {
        let of_event = event_id(account.id.as_str(), event.topic, event.item.as_str(), event.occurred_at);
        let to = ReceiverId::of(forward.receiver.url.as_str()).as_str().to_owned();
        let id = MessageId::of_change(&[&of_event, &to]);
        let seen = match forward.reads.name() {
            None => &Seen::NotRead,
            Some(_) if event.topic.ends_it() => &Seen::Gone,
            Some(name) => seen.get(name).unwrap_or(&Seen::NotRead),
        };
        let caused_by = match seen {
            Seen::Read { record, .. } => {
                self.parts.own_writes.cause_of(&account.id, &event.item, record, event.received_at)
            }
            _ => None,
        };
        let body = body(id.as_str(), account, event, seen, caused_by.as_ref(), now).to_string();
        let kind = match event.topic.record() {
            Record::Client => WorkKind::Client,
            Record::Job => WorkKind::Job,
            Record::Visit => WorkKind::Visit,
            Record::Invoice => WorkKind::Invoice,
            _ => WorkKind::Record,
        };
        let work = WorkRef { kind, id: event.item.clone() };
        let topic = event.topic.as_str().to_owned();
        OutboxEntry {
            id,
            account: account.id.clone(),
            payload: Payload::Event {
                topic,
                work,
                to,
                occurred_at: event.occurred_at,
                sequence: event.sequence,
            },
            body,
            created_at: now,
            attempt: 0,
            failures: 0,
            state: EntryState::Due { at: now },
            last: None,
        }
    }
}

/// Events whose messages are made.
#[derive(Default)]
struct Ready {
    events: Vec<Pending>,
    messages: Vec<OutboxEntry>,
}

/// The events of each record that have settled, in the order in which they happened, up to one that has not.
fn settled(pending: Vec<Pending>, now: Timestamp) -> Vec<Vec<Pending>> {
    let mut records: BTreeMap<EncodedId, Vec<Pending>> = BTreeMap::new();
    for event in pending {
        records.entry(event.item.clone()).or_default().push(event);
    }
    // A clock that was set back does not hold them up.
    let has_settled = |event: &Pending| now.duration_since(event.received_at).abs() >= SETTLES;
    let mut all: Vec<Vec<Pending>> = records.into_values().collect();
    for events in &mut all {
        events.truncate(events.iter().take_while(|event| has_settled(event)).count());
    }
    all.retain(|events| !events.is_empty());
    all
}

/// The events with those who want them.
fn pairs<'e, 'f>(
    events: &'e [Pending],
    forwards: &'f [Forward],
) -> impl Iterator<Item = (&'e Pending, &'f Forward)> {
    let pair = move |event| forwards.iter().map(move |forward| (event, forward));
    events.iter().flat_map(pair).filter(|(event, forward)| forward.takes(event.topic))
}

/// What `forward` reads for `event`, if it wants it and there is something to read.
fn reads_for<'f>(forward: &'f Forward, event: &Pending) -> Option<&'f str> {
    let is_wanted = forward.takes(event.topic) && !event.topic.ends_it();
    forward.reads.name().filter(|_| is_wanted)
}
