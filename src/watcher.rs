//! Watches clients: cards that changed since the last look are compared with what was known of them, and whoever listens
//! at `events.webhook_url` gets the difference.
//!
//! The first look only notes where to begin. A card, its place in the stream and the event that tells of it are stored in one
//! commit; the event then goes the way of an ask: leased, signed, retried under one id. What has not been known before
//! is told without a before.
//!
//! # Crash points
//!
//! - *Before the commit*: the watermark stands, the same cards are read again.
//! - *After it*: reading them again finds no difference.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::clock::{SharedClock, minus};
use crate::connection::{Connection, ReadError, Trouble};
use crate::jobber::CardsRequest;
use crate::model::{Account, AccountId, ClientCard};
use crate::step::{Entered, InFlight, Workers};
use crate::store::{CardsCommit, Store, StoreError};

/// A look begins so much before the last card that was seen: clocks and commits of Jobber's are not one.
const OVERLAP: SignedDuration = SignedDuration::from_mins(2);

/// More pages than this are a broken answer: 50,000 cards.
const PAGES_AT_MOST: u32 = 500;

/// Watches clients.
#[derive(Debug)]
pub struct Watcher {
    store: Store,
    connection: Connection,
    clock: SharedClock,
    workers: Workers,
    in_flight: InFlight<AccountId>,
    is_on: bool,
}

impl Watcher {
    /// A watcher of up to `concurrency` accounts at a time; one that is not `is_on` does nothing: nobody listens.
    pub fn new(
        store: Store,
        connection: Connection,
        clock: SharedClock,
        concurrency: usize,
        is_on: bool,
        stop: CancellationToken,
    ) -> Self {
        let workers = Workers::new(concurrency, stop);
        Self { store, connection, clock, workers, in_flight: InFlight::new(), is_on }
    }

    /// One look at every one of `accounts` that is not looked at already; how many events came of it.
    pub async fn watch_once(self: &Arc<Self>, accounts: Vec<Account>) -> Result<usize, StoreError> {
        if !self.is_on {
            return Ok(0);
        }
        let queue: Vec<_> = accounts
            .into_iter()
            .filter(Account::is_active)
            .filter_map(|account| Some((self.in_flight.enter(&account.id)?, account)))
            .collect();
        let look = |(entered, account): (Entered<AccountId>, Account)| {
            let watcher = Arc::clone(self);
            async move {
                let told = watcher.look(&account).await;
                drop(entered);
                match told {
                    Ok(told) => Ok(told),
                    Err(ReadError::Store(error)) => Err(error),
                    Err(error) => {
                        // The sweep of this account tells of such trouble.
                        tracing::debug!(account.id = %account.id, %error, "clients could not be read");
                        Ok(0)
                    }
                }
            }
        };
        let (mut looking, mut events) = (self.workers.start(queue, look), 0);
        while let Some(told) = looking.next().await {
            events += told?;
        }
        Ok(events)
    }

    async fn look(&self, account: &Account) -> Result<usize, ReadError> {
        let Some(watermark) = account.clients_watermark else {
            let begin = self.connection.cards(&account.id, &request(self.clock.now())).await?.date;
            let commit = CardsCommit {
                account: account.id.clone(),
                account_name: account.name.clone(),
                cards: vec![],
                watermark: begin.unwrap_or_else(|| self.clock.now()),
                now: self.clock.now(),
            };
            return Ok(self.store.commit_cards(commit).await?);
        };
        let mut request = request(minus(watermark, OVERLAP));
        let mut cards: Vec<ClientCard> = Vec::new();
        let mut pages = 0;
        loop {
            let page = self.connection.cards(&account.id, &request).await?.data;
            cards.extend(page.cards);
            pages += 1;
            match page.next {
                None => break,
                // Half of it must not move the watermark: what is behind would never be told.
                next if next == request.after || pages == PAGES_AT_MOST => {
                    let detail = "Jobber's pages do not end".to_owned();
                    return Err(ReadError::Failed { detail, trouble: Trouble::Answer });
                }
                next => request.after = next,
            }
        }
        // The oldest change first; of a card that moved while pages were read, the newest row.
        cards.sort_by_key(|card| card.updated_at);
        let Some(newest) = cards.last().map(|card| card.updated_at) else { return Ok(0) };
        let commit = CardsCommit {
            account: account.id.clone(),
            account_name: account.name.clone(),
            cards,
            watermark: newest.max(watermark),
            now: self.clock.now(),
        };
        Ok(self.store.commit_cards(commit).await?)
    }
}

fn request(since: Timestamp) -> CardsRequest {
    CardsRequest { since, after: None }
}
