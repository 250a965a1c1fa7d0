//! Tells the operator what has changed: look, compare, store, send.
//!
//! An alert is stored before it is sent, and marked as told afterwards. A crash in between sends it again
//! under the same id. If a channel fails, the next look tries it again. The secret of a link is never stored:
//! a link is created for the message, and again after a restart before the message was sent.

mod week;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::channels::{Channel, Channels};
use super::parts::WorkerParts;
use crate::accounts::onboarding::{ConnectError, NewLink, Onboarding};
use crate::accounts::settings::ReceiverError;
use crate::clock::{is_over, minus};
use crate::digest;
use crate::domain::alerting::format::recovery;
use crate::domain::alerting::weekly::TimeOfWeek;
use crate::domain::alerting::{
    AccountView, Change, HeldUp, ReceiverView, SILENCE, USUALLY, View, changes, named, over,
};
use crate::domain::model::{
    Account, AccountId, Alert, AlertKind, EntryState, MessageId, MessageKind, OutboxEntry, ReceiverState,
};
use crate::domain::webhook_event::Topic;
use crate::jobber::supported_until;
use crate::store::{ReceiverId, StoreError};

const LINK_LIVES: SignedDuration = SignedDuration::from_hours(7 * 24);

const COUNT_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// An entry that waits longer than the early steps of the schedule was postponed for another reason.
const NOT_TRIED: SignedDuration = SignedDuration::from_hours(3);

const WEEKS_AT_LEAST: f64 = 4.0;

#[derive(Debug)]
pub struct Notifier {
    parts: WorkerParts,
    onboarding: Arc<Onboarding>,
    channels: Channels,
    draft_app: bool,
    digest: Option<(TimeOfWeek, TimeZone)>,
    /// Whom contractors ask, if their link says nobody else.
    contact: Option<String>,
    /// The digest that was made and not sent yet, and its time.
    week: Mutex<Option<(Timestamp, Value)>>,
    turn: tokio::sync::Mutex<()>,
    links: Mutex<HashMap<MessageId, (Timestamp, SecretString)>>,
    posted: Mutex<HashSet<(MessageId, Channel)>>,
    /// Why the last alert could not be sent.
    failing: Mutex<Option<String>>,
    weekly: Mutex<HashMap<AccountId, (Timestamp, Option<f64>)>>,
}

impl Notifier {
    /// `draft_app` says whether Jobber limits the number of accounts, `digest` when the week is told.
    pub fn new(
        parts: WorkerParts,
        onboarding: Arc<Onboarding>,
        channels: Channels,
        draft_app: bool,
        digest: Option<(TimeOfWeek, TimeZone)>,
        contact: Option<String>,
    ) -> Self {
        let (turn, links) = (tokio::sync::Mutex::default(), Mutex::default());
        let (posted, weekly) = (Mutex::default(), Mutex::default());
        Self {
            parts,
            onboarding,
            channels,
            draft_app,
            digest,
            contact,
            week: Mutex::default(),
            turn,
            links,
            posted,
            failing: Mutex::default(),
            weekly,
        }
    }

    /// Takes one look at everything. Returns the alerts that were sent, in order.
    pub async fn notify_once(&self) -> Result<Vec<Alert>, StoreError> {
        let Ok(_turn) = self.turn.try_lock() else { return Ok(vec![]) };
        let now = self.parts.clock.now();
        let known = self.parts.store.alerts().await?;
        let view = self.view(&known, now).await?;
        let mut new = Vec::new();
        let begun: HashSet<(&str, Timestamp)> =
            known.iter().map(|known| (known.key.as_str(), known.since)).collect();
        for change in changes(&known, &view, now) {
            new.push(match change {
                Change::Stands(alert) => {
                    if !alert.told && !begun.contains(&(alert.key.as_str(), alert.since)) {
                        let account = alert.account.as_ref().map(AccountId::as_str);
                        tracing::warn!(alert.kind = %alert.kind, account.id = account, since = %alert.since, "a new alert: run jobber-reviewd status");
                    }
                    alert
                }
                Change::Returned(alert) if self.has_told_the_end(&alert) => {
                    Alert { raised_at: now, told: false, ..alert }
                }
                Change::Returned(alert) => alert,
                Change::Ended(alert) => self.ended(alert, now).await?,
            });
        }
        if !new.is_empty() {
            self.parts.store.put_alerts(new).await?;
        }
        self.tell().await
    }

    fn posted(&self) -> MutexGuard<'_, HashSet<(MessageId, Channel)>> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a channel took the message.
    fn is_posted(&self, id: &MessageId) -> bool {
        self.posted().iter().any(|(posted, _)| posted == id)
    }

    /// Whether a channel heard of the end of an alert, before the others did.
    fn has_told_the_end(&self, alert: &Alert) -> bool {
        self.is_posted(&id_as(alert, true))
    }

    pub async fn standing(&self) -> Result<Vec<Alert>, StoreError> {
        Ok(self.parts.store.alerts().await?.into_iter().filter(|alert| alert.over.is_none()).collect())
    }

    async fn ended(&self, alert: Alert, now: Timestamp) -> Result<Alert, StoreError> {
        let account = alert.account.as_ref().map(AccountId::as_str);
        tracing::info!(alert.kind = %alert.kind, account.id = account, since = %alert.since, "the alert is over");
        let is_connection = matches!(
            alert.kind,
            AlertKind::ConnectionLost | AlertKind::JobberUnreachable | AlertKind::NeedsOperator
        );
        let concerned = if is_connection { alert.accounts.as_slice() } else { &[] };
        let (mut late, mut missed) = (0, 0);
        for id in concerned {
            let Some(account) = self.parts.store.account(id).await? else { continue };
            let Ok(rules) = self.parts.settings.rules_of(&account) else { continue };
            let since = alert.since;
            let count = move |held: &mut HeldUp, decision| held.count(&decision, &rules, since, now);
            let held = self.parts.store.fold_decisions(id, HeldUp::default(), count).await?;
            late += held.late;
            missed += held.missed;
        }
        // One channel is enough to have to hear of the end.
        let was_told = alert.told || self.is_posted(&id_of(&alert));
        // If its beginning was not reported, its end is not reported either.
        Ok(Alert { told: !was_told, ..over(alert, now, late, missed) })
    }

    async fn tell(&self) -> Result<Vec<Alert>, StoreError> {
        let (mut told, mut deaf) = (Vec::new(), HashSet::new());
        for alert in self.parts.store.alerts().await?.into_iter().filter(|alert| !alert.told) {
            let sent = self.send(&alert, &mut deaf).await?;
            self.note_failing(sent.as_ref().err());
            if let Err(error) = sent {
                tracing::warn!(alert.kind = %alert.kind, error, "the alert could not be sent; it is tried again in a minute");
                // Another channel may accept it.
                continue;
            }
            let alert = Alert { told: true, ..alert };
            self.parts.store.put_alerts(vec![alert.clone()]).await?;
            told.push(alert);
        }
        // Alerts that are told, or ended before that, need no link in memory.
        let open: HashSet<MessageId> =
            self.parts.store.alerts().await?.iter().filter(|alert| !alert.told).map(id_of).collect();
        self.links.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| open.contains(id));
        let is_open = |id: &MessageId| open.contains(id) || id.as_str().starts_with(week::PREFIX);
        self.posted().retain(|(id, _)| is_open(id));
        Ok(told)
    }

    /// `deaf` are the channels that failed in this round: they hold up nobody a second time.
    async fn send(
        &self,
        alert: &Alert,
        deaf: &mut HashSet<Channel>,
    ) -> Result<Result<(), String>, StoreError> {
        if self.channels.are_none() {
            return Ok(Ok(()));
        }
        let body = self.body(alert).await?;
        Ok(self.deliver(&id_of(alert), &body, deaf).await)
    }

    /// Sends a message to every channel that does not have it yet.
    async fn deliver(&self, id: &MessageId, body: &Value, deaf: &mut HashSet<Channel>) -> Result<(), String> {
        let now = self.parts.clock.now();
        let mut failed = Vec::new();
        for channel in self.channels.all() {
            let place = (id.clone(), channel);
            if self.posted().contains(&place) {
                continue;
            }
            if deaf.contains(&channel) {
                failed.push(format!("{}: it failed a moment ago", channel.key()));
                continue;
            }
            match self.channels.send(channel, id, body, now).await {
                Ok(()) => {
                    self.posted().insert(place);
                }
                Err(error) => {
                    deaf.insert(channel);
                    failed.push(format!("{}: {error}", channel.key()));
                }
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }

    async fn body(&self, alert: &Alert) -> Result<Value, StoreError> {
        let is_watched = match &alert.account {
            Some(id) => self.parts.store.account(id).await?.is_some_and(|account| account.is_active()),
            None => true,
        };
        let mut body = json!({
            "type": if alert.over.is_some() { "alert.recovered" } else { "alert.raised" },
            "timestamp": alert.over.map_or(alert.raised_at, |over| over.at),
            "id": id_of(alert),
            "kind": alert.kind,
            "since": alert.since,
            "summary": match alert.over {
                Some(_) => recovery(alert.kind, alert.account_name.as_deref(), is_watched),
                None => alert.summary.clone(),
            },
        });
        if let (Some(id), Some(name)) = (&alert.account, &alert.account_name) {
            body["account"] = json!({"id": id, "name": name});
        }
        if let Some(over) = alert.over {
            body["late"] = over.late.into();
            body["missed"] = over.missed.into();
        } else {
            body["action"] = alert.action.clone().into();
            if alert.kind == AlertKind::ConnectionLost {
                body["link"] = self.link(alert).await?;
            }
        }
        Ok(body)
    }

    /// Sends a sample to each channel. Returns what became of it, by the name of the setting.
    pub async fn try_channels(&self) -> Vec<(&'static str, Result<(), String>)> {
        let now = self.parts.clock.now();
        let id = MessageId::new(format!("alr_{}", digest::short(&["test", &now.to_string()])));
        let sample = json!({
            "type": "alert.test", "timestamp": now, "id": id, "kind": "test", "since": now,
            "summary": "this is a test of the alerts of jobber-reviewd, nothing is wrong", "action": "nothing",
        });
        let mut tried = Vec::new();
        for channel in self.channels.all() {
            tried.push((channel.key(), self.channels.send(channel, &id, &sample, now).await));
        }
        tried
    }

    fn note_failing(&self, error: Option<&String>) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = error.cloned();
    }

    /// Why the last alert could not be sent, if it could not.
    pub fn failing(&self) -> Option<String> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A link that restores the account's connection, ready to be forwarded.
    async fn link(&self, alert: &Alert) -> Result<Value, StoreError> {
        let (id_of_alert, now) = (id_of(alert), self.parts.clock.now());
        let made = self.links.lock().unwrap_or_else(PoisonError::into_inner).get(&id_of_alert).cloned();
        if let Some((_, url)) = made.filter(|(at, _)| !is_over(*at, LINK_LIVES / 2, now)) {
            return Ok(url.expose_secret().into());
        }
        let Some(id) = &alert.account else { return Ok(Value::Null) };
        let Some(account) = self.parts.store.account(id).await? else { return Ok(Value::Null) };
        let Account { id, label, trigger, .. } = account;
        let new = NewLink { label, trigger, account: Some(id), lives: LINK_LIVES, brand: None };
        let url = match self.onboarding.create_link(new).await {
            Ok((_, url)) => url,
            Err(ConnectError::Store(error)) => return Err(error),
            Err(error) => {
                tracing::warn!(alert.kind = %alert.kind, %error, "the alert is sent without a link");
                return Ok(Value::Null);
            }
        };
        self.links.lock().unwrap_or_else(PoisonError::into_inner).insert(id_of_alert, (now, url.clone()));
        Ok(url.expose_secret().into())
    }

    /// What there is to say, given the alerts that stand.
    async fn view(&self, known: &[Alert], now: Timestamp) -> Result<View, StoreError> {
        let counts = self.parts.store.outbox_counts().await?;
        let (rules, piles) = (self.parts.rule_troubles.standing(now), self.parts.piles.standing(now));
        let faults: Vec<(AccountId, String, String)> = self
            .parts
            .faults
            .standing()
            .into_iter()
            .map(|fault| (fault.account, fault.what, fault.words))
            .collect();
        let named = named(known, &rules, &piles, &faults);
        let (mut accounts, mut connected, mut receivers) = (Vec::new(), 0, Receivers::default());
        let mut refused: BTreeMap<Topic, (Vec<AccountId>, String)> = BTreeMap::new();
        for id in self.parts.store.account_ids().await? {
            let Some(account) = self.parts.store.account(&id).await? else { continue };
            connected += usize::from(account.connection.is_connected());
            let health = self.parts.store.health(&account.id).await?;
            let count = counts.by_account.get(&account.id);
            let dead = count.map_or(0, |count| count.dead);
            let since = health.last_finished_at.unwrap_or(account.connected_at);
            let is_silent = account.is_active() && now.duration_since(since) >= SILENCE;
            let weekly = if is_silent { self.weekly(&account, now).await? } else { None };
            match self.parts.settings.receiver_of(&account).await {
                Ok(receiver) if account.paused_at.is_none() => {
                    let id = receiver.id();
                    let state = self.parts.store.receiver(&id).await?;
                    if count.is_some() {
                        receivers.of.insert(account.id.clone(), id.clone());
                    }
                    let view = receivers
                        .views
                        .entry(id.clone())
                        .or_insert_with(|| untried(&id, &account.name, &state));
                    view.accounts += 1;
                }
                Err(ReceiverError::Store(error)) => return Err(error),
                // The account's sweeps report unusable settings.
                Ok(_) | Err(ReceiverError::Settings(_)) => {}
            }
            if account.is_active() && account.events {
                for (topic, why) in self.parts.store.asked(&account.id).await?.refused {
                    refused.entry(topic).or_insert((vec![], why.why)).0.push(account.id.clone());
                }
            }
            let burst = self.parts.store.burst(&account.id).await?;
            let view = AccountView { account, health, dead, weekly, burst };
            if view.matters(&named, now) {
                accounts.push(view);
            }
        }
        if let Some(receiver) = self.parts.settings.events_receiver() {
            let id = receiver.id();
            let view = untried(&id, "events.webhook_url", &self.parts.store.receiver(&id).await?);
            receivers.events = Some(ReceiverView { accounts: 1, ..view });
        }
        let note = move |receivers: &mut Receivers, entry| receivers.note(entry, now);
        let Receivers { views, events, .. } = self.parts.store.fold_entries(receivers, note).await?;
        let receivers = views.into_values().chain(events).collect();
        let ahead = self.parts.session.jobber_clock().ahead();
        Ok(View {
            accounts,
            connected,
            receivers,
            draft_app: self.draft_app,
            version_ends: supported_until(),
            ahead,
            is_stalled: self.parts.sweeps.is_stalled(),
            rules,
            piles,
            refused,
            faults,
        })
    }

    async fn weekly(&self, account: &Account, now: Timestamp) -> Result<Option<f64>, StoreError> {
        let known = self.weekly.lock().unwrap_or_else(PoisonError::into_inner).get(&account.id).copied();
        if let Some((_, weekly)) = known.filter(|(at, _)| !is_over(*at, COUNT_EVERY, now)) {
            return Ok(weekly);
        }
        let until = minus(now, SILENCE);
        let from = minus(until, USUALLY).max(account.connected_at);
        let weeks =
            until.duration_since(from).as_secs_f64() / SignedDuration::from_hours(7 * 24).as_secs_f64();
        let decided = async |since| {
            let (days, _) = self.parts.store.tally(&account.id, since).await?;
            Ok::<_, StoreError>(days.finished_since_connecting())
        };
        let works = decided(from).await?.saturating_sub(decided(until).await?);
        let weekly = (weeks >= WEEKS_AT_LEAST).then(|| f64::from(works) / weeks);
        self.weekly.lock().unwrap_or_else(PoisonError::into_inner).insert(account.id.clone(), (now, weekly));
        Ok(weekly)
    }
}

#[derive(Default)]
struct Receivers {
    of: HashMap<AccountId, ReceiverId>,
    views: BTreeMap<ReceiverId, ReceiverView>,
    events: Option<ReceiverView>,
}

impl Receivers {
    fn note(&mut self, entry: OutboxEntry, now: Timestamp) {
        let receiver = match entry.payload.kind() {
            MessageKind::Change => self.events.as_mut(),
            // They have receivers of their own, and become dead letters.
            MessageKind::Event => None,
            MessageKind::Ask => self.of.get(&entry.account).and_then(|id| self.views.get_mut(id)),
        };
        let Some(view) = receiver.filter(|_| !matches!(entry.state, EntryState::Dead { .. })) else { return };
        view.waiting += 1;
        // If the receiver accepted something later, the problem is with this entry only.
        let refused = entry.last.filter(|last| view.delivered_at.is_none_or(|taken| last.at > taken));
        // Entries postponed to the next opening are not tried meanwhile.
        let is_tried = !matches!(entry.state, EntryState::Due { at } if at.duration_since(now) > NOT_TRIED);
        if let Some(last) = refused.filter(|_| is_tried)
            && view.failing_since.is_none_or(|since| entry.created_at < since)
        {
            view.failing_since = Some(entry.created_at);
            view.last_error = Some(last.error);
        }
    }
}

fn untried(id: &ReceiverId, name: &str, state: &ReceiverState) -> ReceiverView {
    ReceiverView {
        id: id.as_str().to_owned(),
        name: name.to_owned(),
        accounts: 0,
        stopped_at: state.stopped_at,
        delivered_at: state.delivered_at,
        failing_since: None,
        last_error: None,
        waiting: 0,
    }
}

fn id_of(alert: &Alert) -> MessageId {
    id_as(alert, alert.over.is_some())
}

fn id_as(alert: &Alert, is_over: bool) -> MessageId {
    let (raised, end) = (alert.raised_at.to_string(), if is_over { "over" } else { "raised" });
    MessageId::new(format!("alr_{}", digest::short(&[&alert.key, &raised, end])))
}
