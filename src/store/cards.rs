//! Clients' cards as they were last seen, and the events that tell how they changed.

use jiff::Timestamp;
use serde_json::json;

use super::outbox::put_entry;
use super::{Store, StoreError, key};
use crate::digest;
use crate::model::{Account, AccountId, AskId, ClientCard, EntryState, OutboxEntry, WorkKind, WorkRef};

/// What a look at an account's clients stores, in one commit.
#[derive(Debug, Clone)]
pub struct CardsCommit {
    /// Whose clients.
    pub account: AccountId,
    /// The account's name.
    pub account_name: String,
    /// Cards, the oldest change first.
    pub cards: Vec<ClientCard>,
    /// Where the next look begins.
    pub watermark: Timestamp,
    /// When it was looked.
    pub now: Timestamp,
}

impl Store {
    /// Stores cards that changed, and an event for each that differs from what was known; how many those were.
    pub async fn commit_cards(&self, commit: CardsCommit) -> Result<usize, StoreError> {
        self.write(move |txn| {
            let CardsCommit { account: id, account_name, cards, watermark, now } = commit;
            let Some(mut account) = txn.get::<Account>(&key::account(&id))? else { return Ok(0) };
            let mut events = 0;
            for card in cards {
                let key = key::card(&id, &card.id);
                let before = txn.get::<ClientCard>(&key)?;
                if before
                    .as_ref()
                    .is_some_and(|before| before.updated_at >= card.updated_at || !card.differs(before))
                {
                    continue;
                }
                txn.put(&key, &card);
                let event = AskId::event(&digest::short(&[
                    id.as_str(),
                    card.id.as_str(),
                    &card.updated_at.to_string(),
                ]));
                let body = json!({
                    "type": "client.updated",
                    "timestamp": now,
                    "account": {"id": id, "name": account_name},
                    "before": before,
                    "after": card,
                });
                put_entry(
                    txn,
                    &OutboxEntry {
                        id: event,
                        account: id.clone(),
                        work: WorkRef { kind: WorkKind::Client, id: card.id },
                        trigger: account.trigger,
                        body: body.to_string(),
                        created_at: now,
                        attempt: 0,
                        failures: 0,
                        state: EntryState::Due { at: now },
                        last: None,
                    },
                );
                events += 1;
            }
            account.clients_watermark =
                Some(account.clients_watermark.map_or(watermark, |at| at.max(watermark)));
            txn.put(&key::account(&id), &account);
            Ok(events)
        })
        .await
    }
}
