//! What an earlier program wrote, brought to today's schema in the commit that opens the store.

use super::outbox::put_entry;
use super::people::note_contact;
use super::txn::Txn;
use super::{SCHEMA, StoreError, key};
use crate::domain::model::{Decision, OutboxEntry, Outcome};
use crate::domain::rules::Policy;

/// Brings what schema `found` wrote to [`SCHEMA`].
pub(super) fn migrate(txn: &mut Txn<'_>, found: u32) -> Result<(), StoreError> {
    if found < 3 {
        index_people(txn)?;
    }
    if found < 4 {
        index_accounts(txn)?;
    }
    if found != SCHEMA {
        tracing::info!(from = found, to = SCHEMA, "the store is brought to this program's schema");
    }
    Ok(())
}

/// Notes everybody of whom a decision says that they were asked: an earlier schema kept no notes of people.
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

/// Since schema 4 the index tells whose ask it is.
fn index_accounts(txn: &mut Txn<'_>) -> Result<(), StoreError> {
    let keys = txn.keys(key::OUTBOX)?;
    for key in keys {
        if let Some(entry) = txn.get::<OutboxEntry>(&key)? {
            put_entry(txn, &entry);
        }
    }
    Ok(())
}
