//! Keeps the app's webhooks at Jobber equal to what the accounts need: for their triggers, and for what is watched,
//! forwarded and waited for by rules.
//!
//! # Crash points
//!
//! - *After Jobber created an endpoint, before its id was stored*: Jobber refuses a second one, and the endpoint counts as
//!   one that the app has. Nobody knows its id then, so it stays when it is not needed any more.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::backoff::Backoff;
use super::parts::WorkerParts;
use crate::accounts::session::{SessionError, Trouble};
use crate::clock::plus;
use crate::domain::endpoints::{Asked, Endpoint, Endpoints, Needs};
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

impl Subscriber {
    /// `url` is the address that Jobber sends events to.
    pub fn new(parts: WorkerParts, url: String) -> Self {
        Self { parts, url, turn: tokio::sync::Mutex::default(), backoff: Backoff::default() }
    }

    /// Begins the events of every account if the settings want it, and creates and deletes endpoints as they are needed.
    /// What stands already costs no request. Returns the number of changes.
    pub async fn subscribe_once(&self) -> Result<usize, StoreError> {
        let Ok(_turn) = self.turn.try_lock() else { return Ok(0) };
        let begins = self.parts.settings.begins_events();
        let have_events = move |any, account: Account| any || account.events;
        let is_needed = begins || self.parts.store.fold_accounts(false, have_events).await?;
        if !is_needed && self.parts.store.endpoints().await?.iter().next().is_none() {
            return Ok(0);
        }
        let mut accounts = self.parts.store.accounts().await?;
        let now = self.parts.clock.now();
        if begins {
            for account in accounts.iter_mut().filter(|account| account.is_active()) {
                if !account.events && !account.events_ended {
                    self.parts.store.note_events(&account.id, true, false).await?;
                    self.parts.store.note_webhook(&account.id, now).await?;
                    account.events = true;
                }
            }
        }
        self.doubt_those_of_leavers(&accounts).await?;
        let active: Vec<&Account> = accounts.iter().filter(|account| account.is_active()).collect();
        let Some(first) = active.first() else { return Ok(0) };
        let endpoints = self.parts.store.endpoints().await?;
        let unneeded = endpoints.unneeded(&self.needs(&accounts));
        let mut changes = unneeded.len();
        let gone = unneeded.into_iter().chain(endpoints.elsewhere(&self.url)).collect();
        match self.delete(&first.id, gone).await {
            Ok(()) => {}
            Err(SessionError::Store(error)) => return Err(error),
            // They are tried again, and what is missing does not wait for them.
            Err(error) => tracing::debug!(%error, "webhooks that are not needed could not be deleted"),
        }
        let mut is_shared = false;
        for account in active.into_iter().filter(|account| account.events) {
            if self.parts.stop.is_cancelled() {
                break;
            }
            if self.backoff.until(&account.id, now).is_some() {
                continue;
            }
            match self.begin(account, false, &mut is_shared).await {
                Ok(created) => changes += created,
                Err(SessionError::Store(error)) => return Err(error),
                Err(error) => {
                    tracing::debug!(account.id = %account.id, %error, "Jobber could not be asked for its events");
                    self.backoff.hold(&account.id, now, REST);
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
    async fn doubt_those_of_leavers(&self, accounts: &[Account]) -> Result<(), StoreError> {
        let has_left = |by: &AccountId| match accounts.iter().find(|account| account.id == *by) {
            None => true,
            Some(account) => matches!(
                account.connection,
                Connection::Disconnected { .. }
                    | Connection::NeedsAuthorization { reason: LostReason::DisconnectedInJobber, .. }
            ),
        };
        let endpoints = self.parts.store.endpoints().await?;
        let doubtful: BTreeSet<Topic> = endpoints
            .iter()
            .filter(|endpoint| endpoint.by.as_ref().is_some_and(has_left))
            .map(|endpoint| endpoint.topic)
            .collect();
        if doubtful.is_empty() {
            return Ok(());
        }
        for account in accounts {
            let mut asked = self.parts.store.asked(&account.id).await?;
            let before = asked.there.len();
            asked.there.retain(|topic| !doubtful.contains(topic));
            if asked.there.len() != before {
                self.parts.store.note_asked(&account.id, asked).await?;
            }
        }
        let known: BTreeSet<AccountId> = accounts
            .iter()
            .filter(|account| !has_left(&account.id))
            .map(|account| account.id.clone())
            .collect();
        self.parts.store.note_endpoints(move |endpoints| endpoints.left_by_others(&known)).await
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

    /// What each account with events needs.
    fn needs(&self, accounts: &[Account]) -> Needs {
        let with_events = accounts.iter().filter(|account| account.events);
        with_events.map(|account| (account.id.clone(), self.parts.settings.topics_of(account))).collect()
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
        let unneeded = async || -> Result<Vec<Endpoint>, StoreError> {
            let needs = self.needs(&self.parts.store.accounts().await?);
            Ok(self.parts.store.endpoints().await?.unneeded(&needs))
        };
        let mut gone = unneeded().await?;
        if waits && gone.iter().any(|endpoint| endpoint.id.is_some()) {
            // With an endpoint Jobber deletes the events that it has not sent yet.
            let clock = &self.parts.clock;
            tokio::time::sleep(clock.sleep_until(plus(clock.now(), ON_THEIR_WAY))).await;
            // Another account may need them now.
            gone = unneeded().await?;
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
