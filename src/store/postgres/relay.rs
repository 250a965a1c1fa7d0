//! Passes requests from daemons that stand by to the one that works, through the database that all of them reach.
//!
//! Whoever stands by writes a *call* and waits for the parts of its answer. The one that works takes it, under the fence
//! of its lease. A notification wakes the other side at once; looks at short intervals are what both rely on. All of it is
//! sealed with the store's key. A call is carried out once or not at all: if the daemon that took it dies, whoever asked is
//! told so, and nobody else takes it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Address, Lease, lock};
use crate::store::StoreError;
use crate::store::seal::Sealer;
use crate::store_key::StoreKey;

/// What the connections of those that stand by are called, before the number of their process.
pub(super) const NAME: &str = "jobber-reviewd stands by, process ";

const LOOK: Duration = Duration::from_millis(500);

/// How long a call waits for a daemon that works: a little longer than a takeover lasts.
const TAKEN_WITHIN: Duration = Duration::from_secs(25);

/// Parts of an answer that may lie unread.
const AHEAD: i32 = 32;

/// How long they may.
const UNREAD: Duration = Duration::from_mins(1);

/// How often what dead daemons left is removed.
const CLEANED: Duration = Duration::from_hours(1);

/// The only call that is answered is one that somebody may still wait for.
const TAKE: &str = "UPDATE jobber_reviewd.calls SET taken = $1, batch = $2 \
    WHERE id IN (SELECT id FROM jobber_reviewd.calls \
        WHERE taken IS NULL AND at > clock_timestamp() - interval '30 seconds' ORDER BY at LIMIT 64 FOR UPDATE SKIP LOCKED) \
    AND EXISTS (SELECT FROM jobber_reviewd.lease WHERE fence = $1 AND until > clock_timestamp()) \
    RETURNING id, sealed, extract(epoch FROM clock_timestamp() - at)::float8";

/// Gives back what was taken in batches of which nobody here heard: nothing of them was begun.
const UNHEARD: &str = "UPDATE jobber_reviewd.calls SET taken = NULL, batch = NULL WHERE batch = ANY($1)";

/// How long the server may still be busy with a batch after its connection is gone.
const LATE: Duration = Duration::from_mins(1);

/// How often a removal is tried. What stays is removed later (`CLEANED`).
const REMOVED_WITHIN: u32 = 20;

const REMOVE: &str = "DELETE FROM jobber_reviewd.calls WHERE id = $1";

#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Nothing was done.
    #[error("no daemon answers for the store at the moment; try again in a minute")]
    Nobody,
    /// Nothing was done.
    #[error(transparent)]
    Away(#[from] StoreError),
    #[error(
        "the answer of the daemon that works with the store was lost; look whether it was done, and try again if not"
    )]
    Lost,
}

fn of_call(id: i64) -> Vec<u8> {
    format!("relayed call {id}").into_bytes()
}

fn of_part(id: i64, part: i32, is_last: bool) -> Vec<u8> {
    format!("part {part} of the answer to {id}, last: {is_last}").into_bytes()
}

fn unsealed() -> StoreError {
    StoreError::Unsealed("a relayed request")
}

fn random() -> Result<i64, StoreError> {
    getrandom::u64().map(u64::cast_signed).map_err(|_| unsealed())
}

/// A connection that hears a channel. It is made again when it is needed and gone.
struct Line {
    address: Address,
    name: String,
    channel: &'static str,
    /// Gets what is told on the channel.
    ring: Arc<dyn Fn(&str) + Send + Sync>,
    state: tokio::sync::Mutex<State>,
    removals: TaskTracker,
}

#[derive(Default)]
struct State {
    client: Option<Arc<Client>>,
    failed: Option<Instant>,
}

impl Line {
    fn new(
        address: &Address,
        name: String,
        channel: &'static str,
        ring: impl Fn(&str) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (ring, state) = (Arc::new(ring), tokio::sync::Mutex::default());
        Arc::new(Self { address: address.clone(), name, channel, ring, state, removals: TaskTracker::new() })
    }

    /// Removes a call, and its answers with it, beside whatever else is done.
    fn remove(self: &Arc<Self>, id: i64) {
        if tokio::runtime::Handle::try_current().is_ok() {
            self.removals.spawn(remove(Arc::clone(self), id));
        }
    }

    async fn client(&self) -> Result<Arc<Client>, StoreError> {
        let mut state = self.state.lock().await;
        if let Some(client) = state.client.as_ref().filter(|client| !client.is_closed()) {
            return Ok(Arc::clone(client));
        }
        let away = |why: &str| StoreError::Away(why.to_owned());
        if state.failed.is_some_and(|at| at.elapsed() < LOOK) {
            // Many may ask: they do not wait for one attempt after the other.
            return Err(away("it cannot be reached"));
        }
        let ring = Arc::clone(&self.ring);
        let made = self.address.listen(&self.name, self.channel, move |told| ring(told));
        let made = tokio::time::timeout(self.address.patience(), made).await;
        match made.unwrap_or_else(|_| Err(away("it does not answer"))) {
            Ok(client) => Ok(Arc::clone(state.client.insert(Arc::new(client)))),
            Err(error) => {
                state.failed = Some(Instant::now());
                Err(error)
            }
        }
    }
}

/// Asks the daemon that works, for one that stands by.
pub struct Asker {
    line: Arc<Line>,
    sealer: Sealer,
    waiting: Arc<Waiting>,
}

/// The bells of the calls that wait for an answer.
#[derive(Default)]
struct Waiting(Mutex<HashMap<i64, Arc<Notify>>>);

impl Asker {
    pub fn new(address: &Address, key: &StoreKey) -> Self {
        let waiting = Arc::<Waiting>::default();
        let heard = Arc::clone(&waiting);
        let ring = move |id: &str| {
            let calls = lock(&heard.0);
            if let Some(bell) = id.parse().ok().and_then(|id: i64| calls.get(&id)) {
                bell.notify_one();
            }
        };
        let name = format!("{NAME}{}", std::process::id());
        Self {
            line: Line::new(address, name, "jobber_reviewd_answers", ring),
            sealer: Sealer::new(key),
            waiting,
        }
    }

    /// Keeps the connection open, by which the others see that this daemon stands by.
    pub async fn keep(&self) {
        loop {
            if let Err(error) = self.line.client().await {
                tracing::debug!(%error, "the relay has no connection");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until what was given up is removed.
    pub async fn settle(&self) {
        self.line.removals.close();
        self.line.removals.wait().await;
    }

    pub async fn ask(&self, request: &[u8]) -> Result<Asked, RelayError> {
        let client = self.line.client().await?;
        let id = random()?;
        let sealed = self.sealer.seal_bytes(&of_call(id), request).ok_or_else(unsealed)?;
        let bell = Arc::new(Notify::new());
        lock(&self.waiting.0).insert(id, Arc::clone(&bell));
        let asked = Asked {
            id,
            bell,
            line: Arc::clone(&self.line),
            sealer: self.sealer.clone(),
            waiting: Arc::clone(&self.waiting),
            parts: VecDeque::new(),
            read: 0,
            has_last: false,
            since: Instant::now(),
        };
        let put = "INSERT INTO jobber_reviewd.calls (id, sealed) VALUES ($1, $2) RETURNING pg_notify('jobber_reviewd_calls', '')";
        client.execute(put, &[&id, &sealed]).await.map_err(|error| match error.as_db_error() {
            Some(_) => RelayError::Away(error.into()),
            // It may be there all the same.
            None => RelayError::Lost,
        })?;
        Ok(asked)
    }
}

/// A call that waits for its answer. Dropping it gives it up.
pub struct Asked {
    id: i64,
    bell: Arc<Notify>,
    line: Arc<Line>,
    sealer: Sealer,
    waiting: Arc<Waiting>,
    parts: VecDeque<Vec<u8>>,
    /// How many parts were read.
    read: i32,
    has_last: bool,
    since: Instant,
}

impl Asked {
    /// Waits for the next part of the answer. `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, RelayError> {
        while self.parts.is_empty() && !self.has_last {
            let _at_latest = tokio::time::timeout(LOOK, self.bell.notified()).await;
            self.look().await?;
        }
        Ok(self.parts.pop_front())
    }

    async fn look(&mut self) -> Result<(), RelayError> {
        let lost = |error: tokio_postgres::Error| {
            tracing::debug!(%error, "an answer could not be read");
            RelayError::Lost
        };
        let client = self.line.client().await.map_err(|_| RelayError::Lost)?;
        // Before the parts: whoever loses the lease afterwards may still have told the last one.
        let state =
            "SELECT calls.taken, lease.fence FROM jobber_reviewd.calls, jobber_reviewd.lease WHERE id = $1";
        let state = client.query_opt(state, &[&self.id]).await.map_err(lost)?;
        let read = "DELETE FROM jobber_reviewd.answers WHERE call = $1 RETURNING part, is_last, sealed";
        let mut rows = client.query(read, &[&self.id]).await.map_err(lost)?;
        rows.sort_by_key(|row| row.get::<_, i32>(0));
        for row in rows {
            let (part, is_last, sealed): (i32, bool, Vec<u8>) = (row.get(0), row.get(1), row.get(2));
            if part < self.read {
                // It was told again, because nobody heard that it had arrived.
                continue;
            }
            let plain = self.sealer.open_bytes(&of_part(self.id, part, is_last), &sealed);
            let plain = plain.filter(|_| part == self.read).ok_or(RelayError::Lost)?;
            self.parts.push_back(plain.to_vec());
            (self.read, self.has_last) = (part + 1, is_last);
        }
        if !self.parts.is_empty() || self.has_last {
            return Ok(());
        }
        match state.map(|row| (row.get::<_, Option<i64>>(0), row.get::<_, i64>(1))) {
            Some((None, _)) if self.since.elapsed() > TAKEN_WITHIN => {
                let withdraw = "DELETE FROM jobber_reviewd.calls WHERE id = $1 AND taken IS NULL";
                match client.execute(withdraw, &[&self.id]).await.map_err(lost)? {
                    0 => Ok(()),
                    _ => Err(RelayError::Nobody),
                }
            }
            Some((None, _)) => Ok(()),
            Some((Some(taken), fence)) if taken == fence => Ok(()),
            _ => Err(RelayError::Lost),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        lock(&self.waiting.0).remove(&self.id);
        self.line.remove(self.id);
    }
}

/// Takes calls, for the daemon that works.
pub struct Answerer {
    line: Arc<Line>,
    fence: i64,
    sealer: Sealer,
    bell: Arc<Notify>,
    taken: VecDeque<Call>,
    /// Batches of which nobody heard, and since when.
    unheard: Vec<(i64, Instant)>,
    cleaned: Option<Instant>,
}

impl Answerer {
    pub(in crate::store) fn new(address: &Address, lease: &Lease, sealer: Sealer) -> Self {
        let bell = Arc::<Notify>::default();
        let rings = Arc::clone(&bell);
        let line = Line::new(address, "jobber-reviewd".to_owned(), "jobber_reviewd_calls", move |_| {
            rings.notify_one();
        });
        Self {
            line,
            fence: lease.fence(),
            sealer,
            bell,
            taken: VecDeque::new(),
            unheard: Vec::new(),
            cleaned: None,
        }
    }

    /// Waits for the next call, also while the database is away. `None` after `stop`: what was not begun is there for whoever
    /// works next.
    pub async fn next(&mut self, stop: &CancellationToken) -> Option<Call> {
        while !stop.is_cancelled() {
            if let Some(call) = self.taken.pop_front() {
                return Some(call);
            }
            // To its end: what was taken must be known.
            if let Err(error) = self.take().await {
                tracing::debug!(%error, "the relay cannot look for calls");
            }
            if self.taken.is_empty() {
                let bell = tokio::time::timeout(LOOK, self.bell.notified());
                let _at_latest = stop.run_until_cancelled(bell).await;
            }
        }
        for call in self.taken.drain(..) {
            call.give_back().await;
        }
        None
    }

    async fn take(&mut self) -> Result<(), StoreError> {
        let client = self.line.client().await?;
        if self.cleaned.is_none_or(|at| at.elapsed() > CLEANED) {
            // No verb runs for that long.
            let old = "DELETE FROM jobber_reviewd.calls WHERE at < clock_timestamp() - interval '1 day'";
            client.execute(old, &[]).await?;
            self.cleaned = Some(Instant::now());
        }
        if !self.unheard.is_empty() {
            let batches: Vec<i64> = self.unheard.iter().map(|(batch, _)| *batch).collect();
            client.execute(UNHEARD, &[&batches]).await?;
            self.unheard.retain(|(_, since)| since.elapsed() < LATE);
        }
        let batch = random()?;
        let rows = client.query(TAKE, &[&self.fence, &batch]).await;
        let rows = rows.inspect_err(|_| self.unheard.push((batch, Instant::now())))?;
        for row in rows {
            let (id, sealed, age): (i64, Vec<u8>, f64) = (row.get(0), row.get(1), row.get(2));
            let Some(request) = self.sealer.open_bytes(&of_call(id), &sealed) else {
                tracing::warn!("a relayed request was sealed with another key: store.key_file differs");
                self.line.remove(id);
                continue;
            };
            let (line, sealer) = (Arc::clone(&self.line), self.sealer.clone());
            let asked = Instant::now().checked_sub(Duration::try_from_secs_f64(age).unwrap_or_default());
            self.taken.push_back(Call {
                id,
                request: request.to_vec(),
                asked: asked.unwrap_or_else(Instant::now),
                line,
                sealer,
                told: 0,
                is_over: false,
            });
        }
        Ok(())
    }
}

/// A request that another daemon passed on.
pub struct Call {
    pub request: Vec<u8>,
    /// When it was asked, by this machine's steady clock.
    pub asked: Instant,
    id: i64,
    line: Arc<Line>,
    sealer: Sealer,
    told: i32,
    /// Whether the last part was told, or the call is another one's.
    is_over: bool,
}

impl Call {
    /// Tells a part of the answer. Waits while many lie unread; fails if nobody waits for it any more.
    pub async fn tell(&mut self, part: &[u8], is_last: bool) -> Result<(), StoreError> {
        if self.told > 0 && self.told % AHEAD == 0 {
            self.until_read().await?;
        }
        let sealed =
            self.sealer.seal_bytes(&of_part(self.id, self.told, is_last), part).ok_or_else(unsealed)?;
        if self.put(&sealed, is_last).await.is_err() {
            // The connection may have ended while the work was done. What is there already stays as it is.
            self.put(&sealed, is_last).await?;
        }
        self.told += 1;
        self.is_over = is_last;
        Ok(())
    }

    async fn put(&self, sealed: &[u8], is_last: bool) -> Result<(), StoreError> {
        let put = "INSERT INTO jobber_reviewd.answers (call, part, is_last, sealed) VALUES ($1, $2, $3, $4) \
            ON CONFLICT DO NOTHING RETURNING pg_notify('jobber_reviewd_answers', call::text)";
        self.line.client().await?.execute(put, &[&self.id, &self.told, &is_last, &sealed]).await?;
        Ok(())
    }

    /// Lets another daemon take it. Nothing of it was begun.
    async fn give_back(mut self) {
        self.is_over = true;
        if let Ok(client) = self.line.client().await {
            // If it fails, whoever asked is told when the lease is another one's.
            let back = "UPDATE jobber_reviewd.calls SET taken = NULL, batch = NULL WHERE id = $1";
            let _given = client.execute(back, &[&self.id]).await;
        }
    }

    async fn until_read(&self) -> Result<(), StoreError> {
        let begun = Instant::now();
        let unread = "SELECT count(*) FROM jobber_reviewd.answers WHERE call = $1";
        while self.line.client().await?.query_one(unread, &[&self.id]).await?.get::<_, i64>(0) > 0 {
            if begun.elapsed() > UNREAD {
                return Err(StoreError::CutOff("nobody reads what was asked for".to_owned()));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

/// Whoever waits for the rest is told that there is none.
impl Drop for Call {
    fn drop(&mut self) {
        if !self.is_over {
            self.line.remove(self.id);
        }
    }
}

/// Removes a call, and its answers with it.
async fn remove(line: Arc<Line>, id: i64) {
    for _ in 0..REMOVED_WITHIN {
        let client = line.client().await;
        if let Ok(client) = client
            && client.execute(REMOVE, &[&id]).await.is_ok()
        {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests;
