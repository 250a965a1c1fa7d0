//! Migrates what an earlier program wrote to the current schema, in the commit that opens the store.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::codec::{Stored, decode};
use super::outbox::put_entry;
use super::people::{note_contact, note_untried};
use super::txn::Txn;
use super::{SCHEMA, StoreError, actions, key, tallies};
use crate::domain::endpoints::Endpoints;
use crate::domain::model::{
    Account, AccountId, Decision, EncodedId, EntryState, LastAttempt, MessageId, OutboxEntry, Outcome,
    Payload, Trigger, WatchTopic, WorkKind, WorkRef,
};
use crate::domain::rules::Policy;
use crate::domain::webhook_event::Topic;

pub(super) fn migrate(txn: &mut Txn<'_>, found: u32) -> Result<(), StoreError> {
    if found < 3 {
        index_people(txn)?;
    }
    if found < 5 {
        type_messages(txn)?;
    }
    if found < 6 {
        share_endpoints(txn)?;
    }
    if found < 7 {
        tallies::count_all(txn)?;
    }
    if found < 8 {
        actions::index_all(txn)?;
        note_untried(txn)?;
    }
    if found != SCHEMA {
        tracing::info!(from = found, to = SCHEMA, "the store was upgraded to this program's schema");
    }
    Ok(())
}

/// Derives the contacts of asked people from decisions: schemas 1 and 2 did not store them.
fn index_people(txn: &mut Txn<'_>) -> Result<(), StoreError> {
    let keys = txn.keys(key::DECISION)?;
    for key in keys {
        let account = key::account_of(&key).ok_or_else(key::broken)?;
        let Some(decision) = txn.get::<Decision>(&key)? else { continue };
        let Outcome::Asked { ask_id, .. } = &decision.outcome else { continue };
        let contacts = decision.subject.contacts();
        note_contact(txn, &account, ask_id, &contacts, &Policy::default(), decision.at)?;
    }
    Ok(())
}

/// An outbox entry in schemas 1 to 4. Only its id distinguished asks from events.
#[derive(Debug, Serialize, Deserialize)]
struct Untyped {
    id: MessageId,
    account: AccountId,
    work: WorkRef,
    trigger: Trigger,
    body: String,
    created_at: Timestamp,
    attempt: u32,
    failures: u32,
    #[serde(flatten)]
    state: EntryState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<LastAttempt>,
}

impl Stored for Untyped {
    const FAMILY: &'static str = "outbox entry";
}

impl From<Untyped> for OutboxEntry {
    fn from(old: Untyped) -> Self {
        let Untyped { id, account, work, trigger, body, created_at, attempt, failures, state, last } = old;
        let payload = if id.as_str().starts_with("evt_") {
            let topic = match work.kind {
                WorkKind::Client | WorkKind::Record => WatchTopic::ClientUpdated,
                WorkKind::Job => WatchTopic::JobUpdated,
                WorkKind::Visit => WatchTopic::VisitCompleted,
                WorkKind::Invoice => WatchTopic::InvoiceUpdated,
            };
            Payload::Change { topic, work }
        } else {
            Payload::Ask { work, trigger }
        };
        Self { id, account, payload, body, created_at, attempt, failures, state, last }
    }
}

/// Since schema 5 an outbox entry and its index entry store the kind of message.
fn type_messages(txn: &mut Txn<'_>) -> Result<(), StoreError> {
    for key in txn.keys(key::OUTBOX)? {
        let Some(bytes) = txn.get_raw(&key)? else { continue };
        put_entry(txn, &decode::<Untyped>(&bytes)?.into());
    }
    Ok(())
}

/// What an account had in schemas 1 to 5: its endpoints by topic.
#[derive(Debug, Serialize, Deserialize)]
struct WithEndpoints {
    id: AccountId,
    #[serde(default)]
    endpoints: BTreeMap<String, EncodedId>,
}

impl Stored for WithEndpoints {
    const FAMILY: &'static str = "account";
}

/// Since schema 6 the endpoints belong to the app.
fn share_endpoints(txn: &mut Txn<'_>) -> Result<(), StoreError> {
    let mut shared = Endpoints::default();
    for key in txn.keys(key::ACCOUNT)? {
        let Some(bytes) = txn.get_raw(&key)? else { continue };
        let WithEndpoints { id, endpoints } = decode(&bytes)?;
        if endpoints.is_empty() {
            continue;
        }
        for (topic, endpoint) in endpoints {
            if let Some(topic) = Topic::named(&topic) {
                shared.created(topic, endpoint, id.clone(), None);
            }
        }
        let account: Account = decode(&bytes)?;
        txn.put(&key, &Account { events: true, ..account });
    }
    txn.put(&key::endpoints(), &shared);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes written by an earlier version. Never change a line.
    const SAMPLES: [&str; 4] = [
        r#"{"id":"ask_1","account":"Z2lk","work":{"kind":"job","id":"ajE="},"trigger":"job_completed","body":"{}","created_at":"2026-03-10T11:00:00Z","attempt":2,"failures":2,"state":"due","at":"2026-03-10T11:05:00Z","last":{"at":"2026-03-10T11:00:05Z","status":503,"error":"HTTP 503"}}"#,
        r#"{"id":"ask_1","account":"Z2lk","work":{"kind":"job","id":"ajE="},"trigger":"job_completed","body":"{}","created_at":"2026-03-10T11:00:00Z","attempt":1,"failures":0,"state":"leased","until":"2026-03-10T11:01:00Z"}"#,
        r#"{"id":"ask_1","account":"Z2lk","work":{"kind":"job","id":"ajE="},"trigger":"job_completed","body":"{}","created_at":"2026-03-10T11:00:00Z","attempt":10,"failures":10,"state":"dead","at":"2026-03-14T11:00:00Z","reason":"exhausted"}"#,
        r#"{"id":"evt_1","account":"Z2lk","work":{"kind":"client","id":"YzE="},"trigger":"job_completed","body":"{}","created_at":"2026-03-10T11:00:00Z","attempt":0,"failures":0,"state":"due","at":"2026-03-10T11:05:00Z"}"#,
    ];

    #[tokio::test]
    async fn endpoints_of_an_account_become_those_of_the_app() {
        let store = crate::store::tests::Fixture::empty().store;
        let old = r#"{"id":"Z2lk","name":"Ace Plumbing","label":"ace","trigger":"job_completed","connected_at":"2026-03-01T00:00:00Z","asks_from":"2026-03-01T00:00:00Z","connection":{"state":"connected"},"watermarks":{},"reconciled_at":null,"endpoints":{"JOB_CLOSED":"ZTE="}}"#;
        let id = AccountId::new("Z2lk");
        let key = key::account(&id);
        store
            .write(move |txn| {
                txn.put_raw(key.clone(), [&[1], old.as_bytes()].concat());
                Ok(())
            })
            .await
            .unwrap();
        store.write(share_endpoints).await.unwrap();
        let shared = store.endpoints().await.unwrap();
        assert!(shared.has(Topic::JobClosed) && shared.missing(&id, &[Topic::JobClosed]).is_empty());
        assert!(store.account(&id).await.unwrap().unwrap().events);
    }

    #[test]
    fn untyped_entries_are_typed_by_what_their_ids_said() {
        let entries = SAMPLES.map(|json| {
            let old: Untyped = decode(&[&[1], json.as_bytes()].concat()).unwrap();
            assert_eq!(serde_json::to_string(&old).unwrap(), json, "nothing of it is lost");
            OutboxEntry::from(old)
        });
        let [due, leased, dead, event] = &entries;
        for ask in [due, leased, dead] {
            let Payload::Ask { work, trigger } = &ask.payload else { panic!("{ask:?}") };
            assert_eq!((work.kind, *trigger), (WorkKind::Job, Trigger::JobCompleted));
        }
        assert_eq!((due.failures, due.last.as_ref().and_then(|last| last.status)), (2, Some(503)));
        assert!(
            matches!(leased.state, EntryState::Leased { .. })
                && matches!(dead.state, EntryState::Dead { .. })
        );
        let Payload::Change { topic, work } = &event.payload else { panic!("{event:?}") };
        assert_eq!((*topic, work.kind), (WatchTopic::ClientUpdated, WorkKind::Client));
    }
}
