//! Keeps the app's webhooks at Jobber equal to what the accounts need: for their triggers, and for what is watched,
//! forwarded and waited for by rules.
//!
//! # Crash points
//!
//! - *After Jobber created an endpoint, before its id was stored*: Jobber refuses a second one, and the endpoint counts as
//!   one that the app has. Nobody knows its id then, so it stays when it is not needed any more.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::backoff::Backoff;
use super::parts::WorkerParts;
use crate::accounts::session::{SessionError, Trouble};
use crate::clock::plus;
use crate::domain::endpoints::{Asked, Endpoint, Endpoints};
use crate::domain::model::{Account, AccountId, Connection, LostReason};
use crate::domain::webhook_event::Topic;
use crate::jobber::operations::{Subscribe, Unsubscribe};
use crate::store::StoreError;

/// How long events that are on their way are waited for before their endpoint is deleted.
const ON_THEIR_WAY: SignedDuration = SignedDuration::from_secs(30);

/// How long an account rests when Jobber could not be asked.
const REST: SignedDuration = SignedDuration::from_mins(5);

/// What Jobber says when the app has an endpoint of the topic (`api-behaviour.md` §4).
const THERE_IS_ONE: &str = "one hook";

#[derive(Debug)]
pub struct Subscriber {
    parts: WorkerParts,
    url: String,
    turn: tokio::sync::Mutex<()>,
    backoff: Backoff<AccountId>,
}

/// What a look through the accounts found. It keeps no account: there may be many.
#[derive(Debug, Default)]
struct Look {
    /// Those that get events now.
    beginners: Vec<AccountId>,
    /// Those that are active and have events.
    with_events: Vec<AccountId>,
    any_active: Option<AccountId>,
    /// Endpoints that nobody depends on.
    unneeded: Vec<Endpoint>,
}

/// Whether the app was taken off an account at Jobber.
fn has_left(account: &Account) -> bool {
    matches!(
        account.connection,
        Connection::Disconnected { .. }
            | Connection::NeedsAuthorization { reason: LostReason::DisconnectedInJobber, .. }
    )
}

impl Subscriber {
    /// `url` is the address that Jobber sends events to.
    pub fn new(parts: WorkerParts, url: String) -> Self {
        Self { parts, url, turn: tokio::sync::Mutex::default(), backoff: Backoff::default() }
    }

    /// Begins the events of every account if the settings want it, and creates and deletes endpoints as they are needed.
    /// What stands already costs no request. Returns the number of changes.
    pub async fn subscribe_once(&self) -> Result<usize, StoreError> {
        let Ok(_turn) = self.turn.try_lock() else { return Ok(0) };
        let (store, now) = (&self.parts.store, self.parts.clock.now());
        self.doubt_those_of_leavers().await?;
        let Look { beginners, with_events, any_active, unneeded } =
            self.look(self.parts.settings.begins_events()).await?;
        for id in &beginners {
            store.note_events(id, true, false).await?;
            store.note_webhook(id, now).await?;
        }
        let Some(first) = any_active else { return Ok(0) };
        let mut changes = unneeded.len();
        let gone = unneeded.into_iter().chain(store.endpoints().await?.elsewhere(&self.url)).collect();
        match self.delete(&first, gone).await {
            Ok(()) => {}
            Err(SessionError::Store(error)) => return Err(error),
            // They are tried again, and what is missing does not wait for them.
            Err(error) => tracing::debug!(%error, "webhooks that are not needed could not be deleted"),
        }
        let mut is_shared = false;
        for id in with_events {
            if self.parts.stop.is_cancelled() {
                break;
            }
            if self.backoff.until(&id, now).is_some() {
                continue;
            }
            // It may have changed while others were asked for.
            let account = store.account(&id).await?.filter(|account| account.is_active() && account.events);
            let Some(account) = account else { continue };
            match self.begin(&account, false, &mut is_shared).await {
                Ok(created) => changes += created,
                Err(SessionError::Store(error)) => return Err(error),
                Err(error) => {
                    tracing::debug!(account.id = %id, %error, "Jobber could not be asked for its events");
                    self.backoff.hold(&id, now, REST);
                }
            }
        }
        if changes > 0 {
            tracing::info!(changes, "Jobber's webhooks were changed to what is needed");
        }
        Ok(changes)
    }

    /// It is not known whether endpoints end with the authorisation of the account that created them. So the others ask
    /// again for what a leaver created: that there is one already is as good.
    async fn doubt_those_of_leavers(&self) -> Result<(), StoreError> {
        let store = &self.parts.store;
        let endpoints = store.endpoints().await?;
        let creators: BTreeSet<&AccountId> =
            endpoints.iter().filter_map(|endpoint| endpoint.by.as_ref()).collect();
        let mut leavers = BTreeSet::new();
        for creator in creators {
            if store.account(creator).await?.is_none_or(|account| has_left(&account)) {
                leavers.insert(creator.clone());
            }
        }
        let is_theirs = |endpoint: &&Endpoint| endpoint.by.as_ref().is_some_and(|by| leavers.contains(by));
        let doubtful: BTreeSet<Topic> =
            endpoints.iter().filter(is_theirs).map(|endpoint| endpoint.topic).collect();
        if doubtful.is_empty() {
            return Ok(());
        }
        for id in store.account_ids().await? {
            let mut asked = store.asked(&id).await?;
            let before = asked.there.len();
            asked.there.retain(|topic| !doubtful.contains(topic));
            if asked.there.len() != before {
                store.note_asked(&id, asked).await?;
            }
        }
        store.note_endpoints(move |endpoints| endpoints.left_by(&leavers)).await
    }

    /// Goes through the accounts once. `begins`: those without events get them, unless they were ended.
    async fn look(&self, begins: bool) -> Result<Look, StoreError> {
        let endpoints = self.parts.store.endpoints().await?;
        let settings = Arc::clone(&self.parts.settings);
        let start = Look { unneeded: endpoints.iter().cloned().collect(), ..Look::default() };
        let note = move |mut look: Look, account: Account| {
            let is_active = account.is_active();
            let begins = begins && is_active && !account.events && !account.events_ended;
            let has_events = account.events || begins;
            if has_events && !look.unneeded.is_empty() {
                endpoints.keep_for(&account.id, &settings.topics_of(&account), &mut look.unneeded);
            }
            if begins {
                look.beginners.push(account.id.clone());
            }
            if has_events && is_active {
                look.with_events.push(account.id.clone());
            }
            if is_active && look.any_active.is_none() {
                look.any_active = Some(account.id);
            }
            look
        };
        self.parts.store.fold_accounts(start, note).await
    }

    /// Asks Jobber for everything that an account needs, also for what was refused before. `waits` gives events that are
    /// on their way time to arrive, before an endpoint that nobody needs is deleted.
    pub async fn begin_all(&self, account: &Account, waits: bool) -> Result<(), SessionError> {
        let _turn = self.turn.lock().await;
        self.delete_unneeded(&account.id, waits).await?;
        self.delete(&account.id, self.parts.store.endpoints().await?.elsewhere(&self.url)).await?;
        self.begin(account, true, &mut false).await?;
        Ok(())
    }

    /// Deletes what only this account needed.
    pub async fn end(&self, account: &AccountId, waits: bool) -> Result<(), SessionError> {
        let _turn = self.turn.lock().await;
        self.delete_unneeded(account, waits).await
    }

    /// Creates the endpoints that an account needs, with each id stored at once, because Jobber cannot list them. That the
    /// app has one already is as good. A refused topic does not stop the others. Returns the number of new endpoints.
    async fn begin(
        &self,
        account: &Account,
        asks_again: bool,
        is_shared: &mut bool,
    ) -> Result<usize, SessionError> {
        let store = &self.parts.store;
        let wanted = self.parts.settings.topics_of(account);
        let (endpoints, before) = (store.endpoints().await?, store.asked(&account.id).await?);
        let now = self.parts.clock.now();
        let mut asked = before.clone();
        asked.begin(&wanted, &self.url);
        let not_own = endpoints.missing(&account.id, &wanted);
        for topic in wanted.iter().filter(|topic| !not_own.contains(topic)) {
            asked.is_there(*topic);
        }
        let missing = if asks_again { not_own } else { asked.missing(&wanted, &endpoints, &self.url, now) };
        let (mut created, mut outcome) = (0, Ok(()));
        for topic in missing {
            if *is_shared && !asks_again && endpoints.has(topic) {
                asked.is_there(topic);
                continue;
            }
            match self.ask_for(account, topic, &mut asked, now).await {
                Ok(is_new) => created += usize::from(is_new),
                Err(error) => {
                    // An answer that means nothing may be about this topic only.
                    let goes_on = matches!(error, SessionError::Failed { trouble: Trouble::Answer, .. });
                    outcome = Err(error);
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        *is_shared |= store.endpoints().await?.is_shared(&account.id, &asked);
        if asked != before {
            store.note_asked(&account.id, asked).await?;
        }
        outcome.map(|()| created)
    }

    /// Asks Jobber for one topic. Returns whether an endpoint was created.
    async fn ask_for(
        &self,
        account: &Account,
        topic: Topic,
        asked: &mut Asked,
        now: Timestamp,
    ) -> Result<bool, SessionError> {
        let store = &self.parts.store;
        let request = Subscribe { topic, url: self.url.clone() };
        match self.parts.session.run(&account.id, &request).await {
            Ok(answer) => {
                let (id, by, url) = (answer.data, account.id.clone(), self.url.clone());
                let note = move |known: &mut Endpoints| {
                    known.created(topic, id.clone(), by.clone(), Some(url.clone()));
                };
                store.note_endpoints(note).await?;
                asked.is_there(topic);
                Ok(true)
            }
            Err(SessionError::Failed { trouble: Trouble::Refused(errors), .. })
                if errors.iter().any(|error| error.message.to_lowercase().contains(THERE_IS_ONE)) =>
            {
                store.note_endpoints(move |known| known.held_by_app(topic)).await?;
                asked.is_there(topic);
                Ok(false)
            }
            Err(SessionError::Failed { trouble: Trouble::Refused(_) | Trouble::Operator, detail }) => {
                tracing::warn!(account.id = %account.id, topic = topic.as_str(), detail, "Jobber refuses to send events of a topic");
                asked.was_refused(topic, detail, now);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn delete_unneeded(&self, account: &AccountId, waits: bool) -> Result<(), SessionError> {
        let mut gone = self.look(false).await?.unneeded;
        if waits && gone.iter().any(|endpoint| endpoint.id.is_some()) {
            // With an endpoint Jobber deletes the events that it has not sent yet.
            let clock = &self.parts.clock;
            tokio::time::sleep(clock.sleep_until(plus(clock.now(), ON_THEIR_WAY))).await;
            // Another account may need them now.
            gone = self.look(false).await?.unneeded;
        }
        self.delete(account, gone).await
    }

    /// Deletes endpoints one by one, so that one unknown to Jobber does not stop the others.
    async fn delete(&self, account: &AccountId, endpoints: Vec<Endpoint>) -> Result<(), SessionError> {
        let mut outcome = Ok(());
        for endpoint in endpoints {
            if let Some(id) = endpoint.id.clone() {
                // If endpoints belong to accounts after all, only the one that created it can delete it.
                let creator = match &endpoint.by {
                    Some(by) => self.parts.store.account(by).await?.filter(Account::is_active),
                    None => None,
                };
                let by = creator.map_or_else(|| account.clone(), |creator| creator.id);
                match self.parts.session.run(&by, &Unsubscribe { endpoints: vec![id] }).await {
                    Ok(_)
                    | Err(SessionError::Failed { trouble: Trouble::Answer | Trouble::Refused(_), .. }) => {}
                    Err(SessionError::Store(error)) => return Err(error.into()),
                    Err(error) => {
                        // Another one may belong to an account that can be reached.
                        outcome = Err(error);
                        continue;
                    }
                }
            }
            self.parts.store.note_endpoints(move |known| known.forget(&endpoint)).await?;
        }
        outcome
    }
}
