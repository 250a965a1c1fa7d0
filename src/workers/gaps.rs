//! Finds what Jobber's events did not tell: lists of records that changed are compared with the events that came.
//!
//! Jobber may lose events, and nothing says so. Each hour one list is read for each kind of record of which topics are
//! wanted. A creation, an end or another change without an event since is told as one that a sweep found. Kinds of
//! records without such a list have events only.
//!
//! # Crash points
//!
//! - *Before the commit*: the same lists are read again.
//! - *After the commit*: what was told counts as heard.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::paging::{Known, Paging};
use super::parts::WorkerParts;
use super::pool::{Entered, InFlight, Pool};
use crate::accounts::session::SessionError;
use crate::clock::{is_over, minus};
use crate::domain::gaps::{ON_ITS_WAY, happened};
use crate::domain::model::{Account, AccountId, Connection, EncodedId, LostReason};
use crate::domain::webhook_event::{Event, Record, Topic};
use crate::jobber::operations::ChangedRecords;
use crate::store::{GapsCommit, StoreError};

/// How often the lists are read.
const LOOK_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// What happened longer ago than this is told no more.
const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

#[derive(Debug)]
pub struct GapFiller {
    parts: WorkerParts,
    pool: Pool,
    in_flight: InFlight<AccountId>,
    paging: Paging,
}

impl GapFiller {
    pub fn new(parts: WorkerParts) -> Self {
        let paging = Paging::new(Arc::clone(&parts.sweeps));
        Self { pool: parts.pool(), parts, in_flight: InFlight::new(), paging }
    }

    /// Looks at the accounts whose hour is over. Returns the number of events that were missing.
    pub async fn fill_once(self: &Arc<Self>, accounts: Vec<AccountId>) -> Result<usize, StoreError> {
        let wanted = self.parts.settings.told_topics();
        if wanted.is_empty() {
            // Whoever wants events later begins then.
            self.parts.store.forget_gap_marks().await?;
            return Ok(0);
        }
        let (now, mut found) = (self.parts.clock.now(), 0);
        let mut queue = Vec::new();
        for id in accounts {
            let Some(account) = self.parts.store.account(&id).await? else { continue };
            found += usize::from(self.note_disconnect(&account, now).await?);
            if !account.is_active() {
                continue;
            }
            let looked_at = self.parts.store.gap_marks(&account.id).await?.looked_at;
            if looked_at.is_none_or(|last| is_over(last, LOOK_EVERY, now))
                && let Some(entered) = self.in_flight.enter(&account.id)
            {
                queue.push((entered, account));
            }
        }
        let wanted: Arc<[Topic]> = wanted.into();
        let look = |(entered, account): (Entered<AccountId>, Account)| {
            let (filler, wanted) = (Arc::clone(self), Arc::clone(&wanted));
            async move {
                let found = filler.look(&account, &wanted).await;
                drop(entered);
                match found {
                    Ok(found) => Ok(found),
                    Err(SessionError::Store(error)) => Err(error),
                    Err(error) => {
                        // The account's sweep reports this trouble.
                        tracing::debug!(account.id = %account.id, %error, "lists of changes could not be read");
                        Ok(0)
                    }
                }
            }
        };
        let mut looking = self.pool.start(queue, look);
        while let Some(missing) = looking.next().await {
            found += missing?;
        }
        Ok(found)
    }

    /// Notes that an app was disconnected in Jobber, if no event said so.
    async fn note_disconnect(&self, account: &Account, now: Timestamp) -> Result<bool, StoreError> {
        let Connection::NeedsAuthorization { reason: LostReason::DisconnectedInJobber, since } =
            account.connection
        else {
            return Ok(false);
        };
        // For a while only: later everybody knows.
        if is_over(since, LOOK_EVERY, now) {
            return Ok(false);
        }
        let topic = Topic::AppDisconnect;
        let item = EncodedId::new(account.id.as_str());
        let event = Event { account: account.id.clone(), topic, item, occurred_at: Some(since) };
        self.parts.store.note_own_event(event, self.parts.settings.uses_of(topic), now).await
    }

    async fn look(&self, account: &Account, wanted: &[Topic]) -> Result<usize, SessionError> {
        let now = self.parts.clock.now();
        let mut marks = self.parts.store.gap_marks(&account.id).await?;
        // A topic that is wanted since the last look begins now.
        let told: Vec<Topic> = wanted.iter().copied().filter(|topic| marks.topics.contains(topic)).collect();
        let polled = wanted.iter().filter(|topic| topic.is_polled());
        let kinds: BTreeSet<Record> = polled.map(|topic| topic.record()).collect();
        marks.known_to.retain(|kind, _| kinds.contains(kind));
        let mut all = Vec::new();
        let mut places = Vec::new();
        let mut is_whole = true;
        for kind in kinds {
            let since = marks.known_to.get(&kind).copied();
            let Some(list) = ChangedRecords::new(kind, since.unwrap_or(now)) else { continue };
            let Some(since) = since else {
                // What was before is nobody's loss.
                let date = match self.parts.session.run(&account.id, &list).await {
                    Ok(answer) => answer.date,
                    Err(error) if is_about(&error, kind, account) => continue,
                    Err(error) => return Err(error),
                };
                marks.known_to.insert(kind, minus(date.unwrap_or(now), ON_ITS_WAY));
                continue;
            };
            let until = list.is_endless().then_some(since);
            let read =
                match self.paging.read(&self.parts.session, &account.id, name(kind), &list, until).await {
                    Ok(read) => read,
                    Err(error) if is_about(&error, kind, account) => continue,
                    Err(error) => return Err(error),
                };
            // By Jobber's clock: ours may have jumped.
            let known_to = minus(read.observed_at.unwrap_or(now), ON_ITS_WAY);
            let from = since.max(minus(known_to, LONGEST));
            for row in &read.rows {
                let of_row = happened(kind, row, &told, from, known_to);
                all.extend(of_row.into_iter().map(|(topic, at)| (topic, row.id.clone(), at)));
            }
            let until = match read.until {
                Some(Known::All) => Some(known_to),
                // What changed while the parts were read is left to the next look.
                Some(Known::To(newest)) => newest.map(|newest| newest.min(known_to)),
                None => {
                    is_whole = false;
                    None
                }
            };
            if let Some(until) = until {
                marks.known_to.insert(kind, until.max(since.min(known_to)));
            }
            places.push(read.place);
        }
        all.sort_by_key(|(_, _, at)| *at);
        marks.topics = wanted.iter().copied().collect();
        // The next part of a long list is read with the next sweep.
        marks.looked_at = is_whole.then_some(now);
        let forwarded =
            wanted.iter().copied().filter(|topic| self.parts.settings.uses_of(*topic).is_forwarded);
        let commit = GapsCommit {
            account: account.id.clone(),
            marks,
            happened: all,
            forwarded: forwarded.collect(),
            now,
        };
        let missing = self.parts.store.commit_gaps(commit).await?;
        for place in places {
            self.paging.keep(place);
        }
        if missing > 0 {
            tracing::info!(account.id = %account.id, missing, "a sweep found what no event of Jobber's told");
        }
        Ok(missing)
    }
}

/// Whether only this kind of record cannot be read: a scope may be missing.
fn is_about(error: &SessionError, kind: Record, account: &Account) -> bool {
    let SessionError::Failed { detail, trouble } = error else { return false };
    if !trouble.is_outage() {
        tracing::debug!(account.id = %account.id, ?kind, detail, "a list of changes cannot be read");
    }
    !trouble.is_outage()
}

/// Tells the lists of an account apart.
fn name(kind: Record) -> &'static str {
    match kind {
        Record::Client => "gaps client",
        Record::Expense => "gaps expense",
        Record::Invoice => "gaps invoice",
        Record::Job => "gaps job",
        Record::Payout => "gaps payout",
        Record::Quote => "gaps quote",
        Record::Request => "gaps request",
        Record::Timesheet => "gaps timesheet",
        _ => "gaps visit",
    }
}
