//! The tokens of accounts, sealed: a pair is replaced only by whoever knows which pair that is.

use jiff::Timestamp;

use super::txn::Txn;
use super::{Store, StoreError, Tokens, key};
use crate::digest;
use crate::domain::model::{Account, AccountId, Connection, LostReason};

impl Store {
    /// Notes that Jobber does not let us in any more; whether that was news.
    ///
    /// It counts only for the pair of tokens that Jobber refused: the contractor may have authorised anew while
    /// the refusal was on its way.
    pub async fn lose_connection(
        &self,
        id: &AccountId,
        reason: LostReason,
        refused: Option<PairId>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let id = id.clone();
        self.write(move |txn| {
            let Some(mut account) = txn.get::<Account>(&key::account(&id))? else { return Ok(false) };
            if !account.connection.is_connected() || !holds(txn, &id, refused.as_ref())? {
                return Ok(false);
            }
            account.connection = Connection::NeedsAuthorization { reason, since: now };
            txn.put(&key::account(&id), &account);
            Ok(true)
        })
        .await
    }

    /// The tokens of an account.
    pub async fn tokens(&self, id: &AccountId) -> Result<Option<Held>, StoreError> {
        match self.read(|txn| txn.get_raw(&key::token(id))).await? {
            Some(sealed) => {
                let tokens = self.0.sealer.open(id, &sealed)?;
                Ok(Some(Held { tokens, pair: PairId::of(&sealed) }))
            }
            None => Ok(None),
        }
    }

    /// Notes, durably and before Jobber is asked, that this pair is about to be refreshed. Answers when that was
    /// noted before without a new pair having come of it: the refresh token may be spent.
    ///
    /// A store that cannot take a write shows here, while the old pair still stands.
    pub async fn begin_refresh(
        &self,
        id: &AccountId,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let key = key::refreshing(id);
        self.write(move |txn| {
            let before = txn.get::<Timestamp>(&key)?;
            if before.is_none() {
                txn.put(&key, &now);
            }
            Ok(before)
        })
        .await
    }

    /// Notes that a refresh was answered and brought no new pair: the old one stands as it was.
    pub async fn end_refresh(&self, id: &AccountId) -> Result<(), StoreError> {
        let key = key::refreshing(id);
        self.write(move |txn| {
            txn.remove(&key);
            Ok(())
        })
        .await
    }

    /// Stores a new pair in place of `old`; durable when this returns. `false` if another pair took its place
    /// meanwhile: that one stays.
    pub async fn replace_tokens(
        &self,
        id: &AccountId,
        old: &PairId,
        new: &Tokens,
    ) -> Result<bool, StoreError> {
        let sealed = self.0.sealer.seal(id, new)?;
        let (id, old) = (id.clone(), old.clone());
        self.write(move |txn| {
            if !holds(txn, &id, Some(&old))? {
                return Ok(false);
            }
            put_pair(txn, &id, sealed.clone());
            Ok(true)
        })
        .await
    }
}

/// An account's tokens, and which pair they are.
#[derive(Debug, Clone)]
pub struct Held {
    /// The tokens.
    pub tokens: Tokens,
    /// Which pair.
    pub pair: PairId,
}

/// Names a pair of tokens without telling anything of it: the digest of the sealed pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairId(String);

impl PairId {
    fn of(sealed: &[u8]) -> Self {
        Self(digest::of_bytes(sealed))
    }
}

/// Whether the stored pair is `pair`; where there is none, whether none was meant.
fn holds(txn: &Txn<'_>, id: &AccountId, pair: Option<&PairId>) -> Result<bool, StoreError> {
    let stored = txn.get_raw(&key::token(id))?.map(|sealed| PairId::of(&sealed));
    Ok(stored.as_ref() == pair)
}

/// Writes a pair. Whatever refresh was under way is over.
pub(super) fn put_pair(txn: &mut Txn<'_>, id: &AccountId, sealed: Vec<u8>) {
    txn.put_raw(key::token(id), sealed);
    txn.remove(&key::refreshing(id));
}
