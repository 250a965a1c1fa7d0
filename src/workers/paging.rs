//! Reads a list of Jobber's to its end.
//!
//! Cursors are offsets: rows move while pages are read, and rows with the same second can change places
//! (`api-behaviour.md` §3, Paging). A row that slips to an earlier page pushes another one onto the next page, where it
//! is seen twice. So a row that is seen twice means that others may be missing, and the list is read again until it
//! has nothing new.
//!
//! A list with very many pages is read in parts, one part each time. Where the next part begins is kept in memory; after
//! a restart the list is read from its beginning.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::watch::SweepWatch;
use crate::accounts::session::{Session, SessionError, Trouble};
use crate::domain::model::{AccountId, EncodedId};
use crate::jobber::{ListOperation, Listed};

/// Pages of one part (5,000 rows).
const PAGES: u32 = 50;

/// How often a list is read again at most.
const ROUNDS: u32 = 4;

/// What was read of a list.
#[derive(Debug)]
pub(super) struct Reading<R> {
    /// The rows, each once, in the order of the list.
    pub rows: Vec<R>,
    pub requests: u32,
    /// Jobber's clock at the first page. Later changes are left to the next time.
    pub observed_at: Option<Timestamp>,
    /// Up to where the list is known now. `None` if there is more to read.
    pub until: Option<Known>,
    /// Where the next part begins. It counts when [`Paging::keep`] is told that this part is stored.
    pub place: Place,
}

/// Where a list goes on.
#[derive(Debug)]
pub(super) struct Place {
    key: (AccountId, &'static str),
    unfinished: Option<Unfinished>,
}

/// Up to where a list is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// To its newest row.
    All,
    /// To what was its newest row when its first part was read.
    To(Option<Timestamp>),
}

#[derive(Debug, Clone)]
struct Unfinished {
    cursor: String,
    newest: Option<Timestamp>,
    rows: usize,
}

/// Where lists that are read in parts go on.
#[derive(Debug)]
pub(super) struct Paging {
    unfinished: Mutex<HashMap<(AccountId, &'static str), Unfinished>>,
    sweeps: Arc<SweepWatch>,
}

struct Round<R> {
    rows: Vec<R>,
    requests: u32,
    observed_at: Option<Timestamp>,
    /// The cursor of the next part.
    next: Option<String>,
}

impl Paging {
    /// Each page that is read shows `sweeps` that work goes on.
    pub(super) fn new(sweeps: Arc<SweepWatch>) -> Self {
        Self { unfinished: Mutex::default(), sweeps }
    }

    /// Goes on from there the next time, because what was read up to there is stored.
    pub(super) fn keep(&self, place: Place) {
        let mut unfinished = self.lock();
        match place.unfinished {
            Some(next) => unfinished.insert(place.key, next),
            None => unfinished.remove(&place.key),
        };
    }

    /// Reads `list`, down to rows that changed before `until`. `name` tells the lists of an account apart.
    pub(super) async fn read<L: ListOperation>(
        &self,
        session: &Session,
        account: &AccountId,
        name: &'static str,
        list: &L,
        until: Option<Timestamp>,
    ) -> Result<Reading<L::Row>, SessionError> {
        let key = (account.clone(), name);
        let begun = self.lock().get(&key).cloned();
        let from = begun.as_ref().map(|begun| begun.cursor.clone());
        let first = match self.round(session, account, list, from.clone(), until).await {
            Ok(first) => first,
            Err(error) => {
                if !matches!(error, SessionError::Failed { trouble: Trouble::Outage { .. }, .. }) {
                    // Jobber may not know the cursor any more: the list begins anew.
                    self.lock().remove(&key);
                }
                return Err(error);
            }
        };
        let Round { rows: of_first, mut requests, observed_at, next } = first;
        let (mut rows, mut places) = (Vec::new(), HashMap::new());
        let mut is_suspect = merge(&mut rows, &mut places, of_first).doubled;
        for _ in 1..ROUNDS {
            if !is_suspect || next.is_some() {
                break;
            }
            let again = self.round(session, account, list, from.clone(), until).await?;
            requests += again.requests;
            is_suspect = merge(&mut rows, &mut places, again.rows).is_new;
        }
        let newest = match &begun {
            Some(begun) => begun.newest,
            // A row from the future hides nothing.
            None => {
                rows.iter().filter_map(Listed::at).filter(|at| observed_at.is_none_or(|now| *at <= now)).max()
            }
        };
        let (until, unfinished) = match next {
            Some(cursor) if from.as_ref() != Some(&cursor) => {
                let total = begun.map_or(0, |begun| begun.rows) + rows.len();
                tracing::info!(account.id = %account, rows = total, "a long list of Jobber's is read in parts");
                (None, Some(Unfinished { cursor, newest, rows: total }))
            }
            Some(_) => {
                self.lock().remove(&key);
                return Err(endless());
            }
            None => (Some(begun.map_or(Known::All, |begun| Known::To(begun.newest))), None),
        };
        let place = Place { key, unfinished };
        Ok(Reading { rows, requests, observed_at, until, place })
    }

    async fn round<L: ListOperation>(
        &self,
        session: &Session,
        account: &AccountId,
        list: &L,
        mut cursor: Option<String>,
        until: Option<Timestamp>,
    ) -> Result<Round<L::Row>, SessionError> {
        let mut round = Round { rows: Vec::new(), requests: 0, observed_at: None, next: None };
        for _ in 0..PAGES {
            let answer = session.run(account, &list.at_cursor(cursor.clone())).await?;
            round.requests += 1;
            self.sweeps.looked();
            round.observed_at = round.observed_at.or(answer.date);
            let (rows, next) = L::split(answer.data);
            // A row of the very second is still read: its fraction is not known.
            let is_old = |row: &L::Row| row.at() < until;
            let reached = until.is_some() && rows.iter().any(is_old);
            round.rows.extend(rows.into_iter().filter(|row| !is_old(row)));
            match next {
                Some(next) if !reached => {
                    if cursor.as_ref() == Some(&next) {
                        return Err(endless());
                    }
                    cursor = Some(next);
                }
                _ => return Ok(round),
            }
        }
        round.next = cursor;
        Ok(round)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(AccountId, &'static str), Unfinished>> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Merged {
    /// A row came twice within one round.
    doubled: bool,
    /// A row was not known before.
    is_new: bool,
}

/// Adds the rows of a round. The newest version of each counts.
fn merge<R: Listed>(rows: &mut Vec<R>, places: &mut HashMap<EncodedId, usize>, more: Vec<R>) -> Merged {
    let mut seen = HashSet::new();
    let mut merged = Merged { doubled: false, is_new: false };
    for row in more {
        merged.doubled |= !seen.insert(row.id().clone());
        match places.get(row.id()).and_then(|place| rows.get_mut(*place)) {
            Some(known) if known.at() <= row.at() => *known = row,
            Some(_) => {}
            None => {
                places.insert(row.id().clone(), rows.len());
                rows.push(row);
                merged.is_new = true;
            }
        }
    }
    merged
}

fn endless() -> SessionError {
    SessionError::Failed {
        detail: "Jobber's list of pages does not go on".to_owned(),
        trouble: Trouble::Answer,
    }
}
