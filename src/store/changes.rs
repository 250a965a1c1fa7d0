//! The last known state of watched records, and the messages about their changes.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::causes;
use super::outbox::put_entry;
use super::txn::Txn;
use super::{Store, StoreError, key};
use crate::digest;
use crate::domain::model::{
    Account, AccountId, Cause, ClientSnapshot, EntryState, MessageId, OutboxEntry, Payload, Seen, Stream,
    WatchTopic, WorkKind, WorkRef,
};
use crate::domain::reaction::CLIENT_UPDATED;

#[derive(Debug, Clone)]
pub struct ClientsCommit {
    pub account: AccountId,
    pub account_name: String,
    pub cards: Vec<ClientSnapshot>,
    pub watermark: Timestamp,
    pub now: Timestamp,
}

impl Store {
    /// Stores changed cards and a message for each that differs from the known one. Returns the number of
    /// messages.
    pub async fn commit_clients(&self, commit: ClientsCommit) -> Result<usize, StoreError> {
        let (awaited, people) = (self.awaited(), self.0.people.clone());
        self.write(move |txn| {
            let ClientsCommit { account: id, account_name, cards, watermark, now } = &commit;
            let Some(mut account) = txn.get::<Account>(&key::account(id))? else { return Ok(0) };
            let (watermark, now) = (*watermark, *now);
            let mut events = 0;
            for card in cards {
                if people.forgotten(txn, id, Some(&card.id), &card.contacts())?.is_some() {
                    continue;
                }
                let key = key::card(id, &card.id);
                let before = txn.get::<ClientSnapshot>(&key)?;
                // Jobber's instants are whole seconds: two edits can have the same one. Only the content tells.
                let is_old = |before: &ClientSnapshot| before.updated_at > card.updated_at;
                if before.as_ref().is_some_and(|before| is_old(before) || !card.differs(before)) {
                    continue;
                }
                txn.put(&key, card);
                // A look begins a little earlier than the one before ended.
                if before.is_none() && account.clients_since.is_some_and(|since| card.updated_at < since) {
                    continue;
                }
                let content = serde_json::to_string(card).unwrap_or_default();
                let parts = [id.as_str(), card.id.as_str(), &card.updated_at.to_string(), &content];
                let message = MessageId::of_change(&parts);
                let body = json!({
                    "type": "client.updated",
                    "timestamp": now,
                    "account": {"id": id, "name": account_name},
                    "before": before,
                    "after": card,
                });
                // A card that is seen for the first time did not change.
                if before.is_some() {
                    let cause = Cause {
                        id: message.to_string(),
                        what: CLIENT_UPDATED.to_owned(),
                        account: id.clone(),
                        at: now,
                        work: None,
                        ask: None,
                        client: Some(card.id.clone()),
                        item: None,
                        heard_at: None,
                    };
                    causes::note(txn, &awaited, &cause);
                }
                let work = WorkRef { kind: WorkKind::Client, id: card.id.clone() };
                let payload = Payload::Change { topic: WatchTopic::ClientUpdated, work };
                put_change(txn, id, message, payload, &body, now);
                events += 1;
            }
            if account.clients_watermark.is_none() {
                account.clients_since = Some(watermark);
            }
            account.clients_watermark =
                Some(account.clients_watermark.map_or(watermark, |at| at.max(watermark)));
            txn.put(&key::account(id), &account);
            Ok(events)
        })
        .await
    }

    /// The name on a client's card, as far as it is known.
    pub async fn card_name(
        &self,
        account: &AccountId,
        client: &crate::domain::model::EncodedId,
    ) -> Result<Option<String>, StoreError> {
        let card = self.get::<ClientSnapshot>(&key::card(account, client)).await?;
        Ok(card.map(|card| card.name))
    }

    /// Stores changed records and a message for each change that was not reported yet. Returns the number of
    /// messages.
    pub async fn commit_records(&self, commit: RecordsCommit) -> Result<usize, StoreError> {
        self.write(move |txn| {
            let RecordsCommit { account: id, topic, stream, records, watermark, now } = &commit;
            let (watermark, now) = (*watermark, *now);
            let Some(mut account) = txn.get::<Account>(&key::account(id))? else { return Ok(0) };
            let mut events = 0;
            for Changed { work, at, fields } in records {
                let key = key::seen(id, work);
                let digest = digest::short(&[&fields.to_string()]);
                if txn.get::<Seen>(&key)?.is_some_and(|seen| seen.is_current(*at, &digest)) {
                    continue;
                }
                txn.put(&key, &Seen::Content { at: *at, digest: digest.clone() });
                if account.watched_since.get(stream).is_some_and(|since| at < since) {
                    continue;
                }
                let kind = work.kind.as_str();
                let parts = [id.as_str(), topic.as_str(), work.id.as_str(), &at.to_string(), &digest];
                let message = MessageId::of_change(&parts);
                let body = json!({
                    "type": topic.as_str(),
                    "timestamp": now,
                    "account": {"id": id, "name": account.name},
                    kind: fields,
                });
                let payload = Payload::Change { topic: *topic, work: work.clone() };
                put_change(txn, id, message, payload, &body, now);
                events += 1;
            }
            if !account.watched.contains_key(stream) {
                account.watched_since.insert(*stream, watermark);
            }
            let at = account.watched.entry(*stream).or_insert(watermark);
            *at = watermark.max(*at);
            txn.put(&key::account(id), &account);
            Ok(events)
        })
        .await
    }
}

#[derive(Debug, Clone)]
pub struct RecordsCommit {
    pub account: AccountId,
    pub topic: WatchTopic,
    pub stream: Stream,
    pub records: Vec<Changed>,
    pub watermark: Timestamp,
    pub now: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    pub work: WorkRef,
    pub at: Timestamp,
    pub fields: Value,
}

fn put_change(
    txn: &mut Txn<'_>,
    account: &AccountId,
    id: MessageId,
    payload: Payload,
    body: &Value,
    now: Timestamp,
) {
    put_entry(
        txn,
        &OutboxEntry {
            id,
            account: account.clone(),
            payload,
            body: body.to_string(),
            created_at: now,
            attempt: 0,
            failures: 0,
            state: EntryState::Due { at: now },
            last: None,
        },
    );
}
