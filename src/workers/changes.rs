//! Watches changes in Jobber for the receiver at `events.webhook_url`. Changed client cards are compared with
//! their last known state and the difference is reported. For jobs, visits and invoices each change is
//! reported.
//!
//! The first look only stores where to begin. A card, the watermark and the message about the change are
//! stored in one commit. The message is then delivered like an ask: leased, signed, and retried under one id.
//! A card that was not known before is reported without a previous state.
//!
//! # Crash points
//!
//! - *Before the commit*: the watermark is unchanged, the same cards are read again.
//! - *After the commit*: reading them again finds no difference.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::paging::{Known, Paging};
use super::parts::WorkerParts;
use super::pool::{Entered, InFlight, Pool};
use crate::accounts::session::SessionError;
use crate::clock::minus;
use crate::domain::model::{Account, AccountId, ClientSnapshot, Record, Stream, WatchTopic};
use crate::jobber::operations::{ChangedClients, List, PageRequest};
use crate::store::{Changed, ClientsCommit, RecordsCommit, StoreError};

/// A look starts this long before the last seen change, because Jobber's clocks and commits are not in strict
/// order.
const OVERLAP: SignedDuration = SignedDuration::from_mins(2);

#[derive(Debug)]
pub struct ChangeWatcher {
    parts: WorkerParts,
    pool: Pool,
    in_flight: InFlight<AccountId>,
    topics: Vec<WatchTopic>,
    paging: Paging,
}

impl ChangeWatcher {
    /// With empty `topics` it does nothing.
    pub fn new(parts: WorkerParts, topics: Vec<WatchTopic>) -> Self {
        let paging = Paging::new(Arc::clone(&parts.sweeps));
        Self { pool: parts.pool(), parts, in_flight: InFlight::new(), topics, paging }
    }

    /// One look at each of `accounts`, except those already under way. Returns the number of messages.
    pub async fn watch_once(self: &Arc<Self>, accounts: Vec<AccountId>) -> Result<usize, StoreError> {
        if self.topics.is_empty() {
            return Ok(0);
        }
        let queue: Vec<_> =
            accounts.into_iter().filter_map(|id| Some((self.in_flight.enter(&id)?, id))).collect();
        let look = |(entered, id): (Entered<AccountId>, AccountId)| {
            let watcher = Arc::clone(self);
            async move {
                let known = watcher.parts.store.account(&id).await?;
                let Some(account) = known.filter(Account::is_active) else { return Ok(0) };
                let told = watcher.look(&account).await;
                drop(entered);
                match told {
                    Ok(told) => Ok(told),
                    Err(SessionError::Store(error)) => Err(error),
                    Err(error) => {
                        // The account's sweep reports this trouble.
                        tracing::debug!(account.id = %account.id, %error, "watched changes could not be read");
                        Ok(0)
                    }
                }
            }
        };
        let (mut looking, mut events) = (self.pool.start(queue, look), 0);
        while let Some(told) = looking.next().await {
            events += told?;
        }
        Ok(events)
    }

    async fn look(&self, account: &Account) -> Result<usize, SessionError> {
        let mut events = 0;
        for topic in &self.topics {
            events += match topic.stream() {
                Some(stream) => self.look_at_records(account, *topic, stream).await?,
                None => self.look_at_cards(account).await?,
            };
        }
        Ok(events)
    }

    async fn look_at_records(
        &self,
        account: &Account,
        topic: WatchTopic,
        stream: Stream,
    ) -> Result<usize, SessionError> {
        let now = self.parts.clock.now();
        let watermark = account.watched.get(&stream).copied();
        let since = watermark.map_or(now, |at| minus(at, OVERLAP));
        let list = match stream {
            Stream::Jobs => List::ChangedJobs,
            Stream::Visits => List::CompletedVisits(since),
            Stream::Invoices => List::ChangedInvoices(since),
        };
        let request = PageRequest { list, after: None };
        let Some(watermark) = watermark else {
            let begin = self.parts.session.run(&account.id, &request).await?.date;
            return self.commit(account, topic, stream, vec![], begin.unwrap_or(now)).await;
        };
        // Jobs are sorted by change and include all of the past.
        let until = (stream == Stream::Jobs).then_some(since);
        let name = topic.as_str();
        let read = self.paging.read(&self.parts.session, &account.id, name, &request, until).await?;
        let observed_at = read.observed_at.unwrap_or(now);
        let mut changed: Vec<_> =
            read.rows.iter().filter_map(changed_of).filter(|row| row.at >= since).collect();
        changed.sort_by_key(|row| row.at);
        let newest = match read.until {
            None => None,
            // A record from the future is reported, but hides nothing that comes before it.
            Some(Known::All) => changed.iter().map(|row| row.at).filter(|at| *at <= observed_at).max(),
            Some(Known::To(newest)) => newest,
        };
        let watermark = newest.map_or(watermark, |at| at.max(watermark));
        let told = self.commit(account, topic, stream, changed, watermark).await?;
        self.paging.keep(read.place);
        Ok(told)
    }

    async fn commit(
        &self,
        account: &Account,
        topic: WatchTopic,
        stream: Stream,
        records: Vec<Changed>,
        watermark: Timestamp,
    ) -> Result<usize, SessionError> {
        if records.is_empty() && account.watched.get(&stream) == Some(&watermark) {
            return Ok(0);
        }
        let (account, now) = (account.id.clone(), self.parts.clock.now());
        let commit = RecordsCommit { account, topic, stream, records, watermark, now };
        Ok(self.parts.store.commit_records(commit).await?)
    }

    async fn look_at_cards(&self, account: &Account) -> Result<usize, SessionError> {
        let Some(watermark) = account.clients_watermark else {
            let begin = self.parts.session.run(&account.id, &request(self.parts.clock.now())).await?.date;
            let commit = ClientsCommit {
                account: account.id.clone(),
                account_name: account.name.clone(),
                cards: vec![],
                watermark: begin.unwrap_or_else(|| self.parts.clock.now()),
                now: self.parts.clock.now(),
            };
            return Ok(self.parts.store.commit_clients(commit).await?);
        };
        let request = request(minus(watermark, OVERLAP));
        let name = WatchTopic::ClientUpdated.as_str();
        let read = self.paging.read(&self.parts.session, &account.id, name, &request, None).await?;
        let observed_at = read.observed_at.unwrap_or_else(|| self.parts.clock.now());
        let mut cards: Vec<ClientSnapshot> = read.rows;
        // Oldest change first. If a card moved while pages were read, its newest row counts.
        cards.sort_by_key(|card| card.updated_at);
        let newest = match read.until {
            // A partial read must not move the watermark, or the rest would never be reported.
            None => None,
            Some(Known::All) => {
                cards.iter().map(|card| card.updated_at).filter(|at| *at <= observed_at).max()
            }
            Some(Known::To(newest)) => newest,
        };
        if cards.is_empty() && newest.is_none() {
            self.paging.keep(read.place);
            return Ok(0);
        }
        let commit = ClientsCommit {
            account: account.id.clone(),
            account_name: account.name.clone(),
            cards,
            watermark: newest.map_or(watermark, |at| at.max(watermark)),
            now: self.parts.clock.now(),
        };
        let told = self.parts.store.commit_clients(commit).await?;
        self.paging.keep(read.place);
        Ok(told)
    }
}

fn request(since: Timestamp) -> ChangedClients {
    ChangedClients { since, after: None }
}

fn changed_of(record: &Record) -> Option<Changed> {
    let fields = match record {
        Record::Job(job) => json!({
            "id": job.id, "number": job.number, "client_id": job.client_id, "jobber_status": job.status,
            "completed_at": job.completed_at, "updated_at": job.updated_at,
        }),
        Record::Visit(visit) => json!({
            "id": visit.id, "job_id": visit.job_id, "job_number": visit.job_number, "client_id": visit.client_id,
            "completed_at": visit.completed_at,
        }),
        Record::Invoice(invoice) => json!({
            "id": invoice.id, "number": invoice.number, "client_id": invoice.client_id, "status": invoice.status,
            "issued_at": invoice.issued_at, "received_at": invoice.received_at, "updated_at": invoice.updated_at,
        }),
    };
    Some(Changed { work: record.work(), at: record.stream_at()?, fields })
}
