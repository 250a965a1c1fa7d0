//! The sealed tokens of accounts. A pair can be replaced only by a caller who names that pair.

use jiff::Timestamp;

use super::txn::Txn;
use super::{Store, StoreError, Tokens, key};
use crate::digest;
use crate::domain::model::{Account, AccountId, Connection, LostReason, Turn};

impl Store {
    /// Stores that Jobber refused the tokens. Returns whether that is new.
    ///
    /// It counts only for the refused pair, because the contractor may have authorised again meanwhile.
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
            account.note(Turn::Lost { reason }, now);
            txn.put(&key::account(&id), &account);
            Ok(true)
        })
        .await
    }

    /// The tokens of an account.
    pub async fn tokens(&self, id: &AccountId) -> Result<Option<Held>, StoreError> {
        let key = key::token(id);
        match self.read(move |txn| txn.get_raw(&key)).await? {
            Some(sealed) => {
                let tokens = self.0.sealer.open(id, &sealed)?;
                Ok(Some(Held { tokens, pair: PairId::of(&sealed) }))
            }
            None => Ok(None),
        }
    }

    /// Stores durably, before the request to Jobber, that this pair is about to be refreshed. Returns the
    /// time of an earlier refresh that never brought a new pair: the refresh token may be spent.
    ///
    /// If the store cannot write, this fails while the old pair is still valid.
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

    /// Stores that a refresh was answered without a new pair: the old one is unchanged.
    pub async fn end_refresh(&self, id: &AccountId) -> Result<(), StoreError> {
        let key = key::refreshing(id);
        self.write(move |txn| {
            txn.remove(&key);
            Ok(())
        })
        .await
    }

    /// Replaces the pair `old` with a new one, durably. `false` if another pair is stored meanwhile: that one
    /// stays.
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

#[derive(Debug, Clone)]
pub struct Held {
    pub tokens: Tokens,
    pub pair: PairId,
}

/// Identifies a pair of tokens without revealing it: the digest of the sealed pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairId(String);

impl PairId {
    fn of(sealed: &[u8]) -> Self {
        Self(digest::of_bytes(sealed))
    }

    #[cfg(test)]
    pub(crate) fn of_test(text: &str) -> Self {
        Self::of(text.as_bytes())
    }
}

/// Whether the stored pair is `pair`. `None` means that there is no pair.
fn holds(txn: &Txn<'_>, id: &AccountId, pair: Option<&PairId>) -> Result<bool, StoreError> {
    let stored = txn.get_raw(&key::token(id))?.map(|sealed| PairId::of(&sealed));
    Ok(stored.as_ref() == pair)
}

pub(super) fn put_pair(txn: &mut Txn<'_>, id: &AccountId, sealed: Vec<u8>) {
    txn.put_raw(key::token(id), sealed);
    txn.remove(&key::refreshing(id));
}
