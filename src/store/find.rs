//! The index of decisions by what people call them. It is kept in the commits that store and delete decisions.
//!
//! An entry is the account, a hash of a term, and the work, with the ids as short as they can be written: a decision has about
//! ten of them. They begin with the account, so that a commit changes few pages of the database; a question costs one look
//! for each account. Two terms may share a hash, so whatever is found is compared with the question.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::sled::Database;
use super::txn::Txn;
use super::{Store, StoreError, key};
use crate::domain::lookup::{Term, Wanted, terms};
use crate::domain::model::{AccountId, Decision, EncodedId, WorkKind, WorkRef};

const FIND: &[u8] = b"find\0";

/// Decisions that an upgrade indexes in one commit, and between two flushes: what is not flushed stays in memory.
const TOGETHER: usize = 256;
const UNFLUSHED: usize = 16 * TOGETHER;

/// Types in the ids of Jobber (`api-behaviour.md` §1): the base64 of `gid://Jobber/TYPE/NUMBER`. Never change a tag.
const TYPES: [(u8, &str); 5] = [(1, "Account"), (2, "Job"), (3, "Visit"), (4, "Invoice"), (5, "Client")];

/// Begins an id that is written as it is.
const AS_IT_IS: u8 = 0;

const KINDS: [(WorkKind, u8); 5] = [
    (WorkKind::Job, b'j'),
    (WorkKind::Visit, b'v'),
    (WorkKind::Invoice, b'i'),
    (WorkKind::Client, b'c'),
    (WorkKind::Record, b'r'),
];

/// Tag and number of an id, if the id can be written again from them.
fn parts(id: &str) -> Option<(u8, u64)> {
    let text = String::from_utf8(STANDARD.decode(id).ok()?).ok()?;
    let (name, number) = text.strip_prefix("gid://Jobber/")?.split_once('/')?;
    let (tag, _) = TYPES.into_iter().find(|(_, known)| *known == name)?;
    let number = number.parse().ok()?;
    (long(tag, number)? == id).then_some((tag, number))
}

fn long(tag: u8, number: u64) -> Option<String> {
    let (_, name) = TYPES.into_iter().find(|(known, _)| *known == tag)?;
    Some(STANDARD.encode(format!("gid://Jobber/{name}/{number}")))
}

/// Nothing written so begins anything else written so.
fn put_id(key: &mut Vec<u8>, id: &str) {
    if let Some((tag, number)) = parts(id) {
        let bytes = number.to_be_bytes();
        let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        // At most eight of them.
        key.extend([tag, bytes.len().to_le_bytes()[0]]);
        key.extend(bytes);
    } else {
        key.push(AS_IT_IS);
        key.extend(id.bytes().chain([0]));
    }
}

fn take_id(rest: &mut &[u8]) -> Option<String> {
    let (tag, after) = rest.split_first()?;
    if *tag == AS_IT_IS {
        let end = after.iter().position(|byte| *byte == 0)?;
        *rest = &after[end + 1..];
        return String::from_utf8(after[..end].to_vec()).ok();
    }
    let (length, after) = after.split_first()?;
    let bytes;
    (bytes, *rest) = after.split_at_checked(usize::from(*length))?;
    let number = bytes.iter().try_fold(0_u64, |sum, byte| Some(sum.checked_mul(256)? + u64::from(*byte)))?;
    long(*tag, number)
}

fn prefix(account: &AccountId, term: &Term) -> Vec<u8> {
    let mut key = of_account(account);
    key.extend(&Sha256::digest(term.as_str())[..8]);
    key
}

fn of_account(account: &AccountId) -> Vec<u8> {
    let mut key = FIND.to_vec();
    put_id(&mut key, account.as_str());
    key
}

fn entry(account: &AccountId, term: &Term, work: &WorkRef) -> Vec<u8> {
    let mut key = prefix(account, term);
    let kind = KINDS.iter().find(|(kind, _)| *kind == work.kind);
    key.extend(kind.map(|(_, letter)| *letter));
    put_id(&mut key, work.id.as_str());
    key
}

/// The work that an entry ends with.
fn parse(mut rest: &[u8]) -> Option<WorkRef> {
    let letter = rest.split_off_first()?;
    let (kind, _) = KINDS.into_iter().find(|(_, known)| known == letter)?;
    let id = EncodedId::new(take_id(&mut rest)?);
    rest.is_empty().then_some(WorkRef { kind, id })
}

/// Brings the index from what a decision was to what it is.
pub(super) fn index(
    txn: &mut Txn<'_>,
    account: &AccountId,
    before: Option<&Decision>,
    after: Option<&Decision>,
) {
    let Some(work) = after.or(before).map(|decision| &decision.work) else { return };
    let (old, new) = (before.map(terms).unwrap_or_default(), after.map(terms).unwrap_or_default());
    for term in old.difference(&new) {
        txn.remove(&entry(account, term, work));
    }
    for term in new.difference(&old) {
        txn.put_raw(entry(account, term, work), vec![]);
    }
}

/// Deletes the decision under `key`, and returns it.
pub(super) fn remove_decision(txn: &mut Txn<'_>, key: &[u8]) -> Result<Option<Decision>, StoreError> {
    let (account, _) = key::parse_decision(key).ok_or_else(key::broken)?;
    let decision = txn.get::<Decision>(key)?;
    index(txn, &account, decision.as_ref(), None);
    txn.remove(key);
    Ok(decision)
}

/// Indexes what an earlier program stored, some at a time. It may be cut off, and begins anew then.
pub(super) fn index_all(database: &Database) -> Result<(), StoreError> {
    let mut txn = Txn::new(&database.table);
    // What an upgrade that was cut off left may be of decisions that are gone since.
    for (number, entry) in Txn::new(&database.table).scan(FIND).enumerate() {
        txn.remove(&entry?.0);
        if number.is_multiple_of(UNFLUSHED) {
            database.table.apply(std::mem::replace(&mut txn, Txn::new(&database.table)).into_writes())?;
        }
    }
    let mut indexed = 0_usize;
    for found in Txn::new(&database.table).scan(key::DECISION) {
        let (name, value) = found?;
        let (account, _) = key::parse_decision(&name).ok_or_else(key::broken)?;
        index(&mut txn, &account, None, Some(&super::codec::decode(&value)?));
        indexed += 1;
        if indexed.is_multiple_of(TOGETHER) {
            database.table.apply(std::mem::replace(&mut txn, Txn::new(&database.table)).into_writes())?;
        }
        if indexed.is_multiple_of(UNFLUSHED) {
            database.flush()?;
        }
        if indexed.is_multiple_of(100_000) {
            tracing::info!(decisions = indexed, "indexing what earlier versions decided");
        }
    }
    database.table.apply(txn.into_writes())
}

/// The decisions of an account that have all these terms, and some that have not.
fn having(txn: &Txn<'_>, account: &AccountId, terms: &BTreeSet<Term>) -> Result<Vec<Decision>, StoreError> {
    let mut having: Option<BTreeSet<WorkRef>> = None;
    for term in terms {
        let prefix = prefix(account, term);
        let mut has = BTreeSet::new();
        for entry in txn.scan(&prefix) {
            has.insert(parse(&entry?.0[prefix.len()..]).ok_or_else(key::broken)?);
        }
        if let Some(known) = &having {
            has.retain(|work| known.contains(work));
        }
        if has.is_empty() {
            return Ok(vec![]);
        }
        having = Some(has);
    }
    let decisions = having.unwrap_or_default().into_iter();
    decisions.filter_map(|work| txn.get::<Decision>(&key::decision(account, &work)).transpose()).collect()
}

/// All decisions about a client.
fn of_client(txn: &Txn<'_>, account: &AccountId, client: &EncodedId) -> Result<Vec<Decision>, StoreError> {
    let mut decisions = having(txn, account, &BTreeSet::from([Term::word(client.as_str())]))?;
    decisions.retain(|decision| decision.subject.client_id.as_ref() == Some(client));
    Ok(decisions)
}

/// The decisions of an account that are meant, and all others about the same customers.
fn meant(txn: &Txn<'_>, account: &AccountId, wanted: &Wanted) -> Result<Vec<Decision>, StoreError> {
    let mut meant = BTreeMap::new();
    for terms in wanted.lookups() {
        let having = having(txn, account, &terms)?;
        meant.extend(having.into_iter().map(|decision| (decision.work.clone(), decision)));
    }
    meant.retain(|_, decision| wanted.is_meant(decision));
    let is_person = |decision: &&Decision| wanted.is_person(&decision.subject);
    let people = meant.values().filter(is_person);
    let clients: BTreeSet<EncodedId> =
        people.filter_map(|decision| decision.subject.client_id.clone()).collect();
    for client in &clients {
        let all = of_client(txn, account, client)?;
        meant.extend(all.into_iter().map(|decision| (decision.work.clone(), decision)));
    }
    Ok(meant.into_values().collect())
}

impl Store {
    /// The decisions that are meant, and all others about the same customers: a sweep knows only a client's id.
    pub async fn find(&self, wanted: Arc<Wanted>) -> Result<Vec<(AccountId, Decision)>, StoreError> {
        self.scan(move |txn| {
            let mut found = Vec::new();
            for name in txn.keys(key::ACCOUNT)? {
                let account = key::parse_account_key(&name).ok_or_else(key::broken)?;
                let decisions = meant(txn, &account, &wanted)?;
                found.extend(decisions.into_iter().map(|decision| (account.clone(), decision)));
            }
            Ok(found)
        })
        .await
    }

    /// All decisions about a client of an account.
    pub async fn decisions_about(
        &self,
        account: &AccountId,
        client: &EncodedId,
    ) -> Result<Vec<Decision>, StoreError> {
        let (account, client) = (account.clone(), client.clone());
        self.scan(move |txn| of_client(txn, &account, &client)).await
    }

    /// Leaves the store as a version without this index had it.
    #[doc(hidden)]
    pub async fn downgrade(&self) -> Result<(), StoreError> {
        let keys = self.scan(|txn| txn.keys(FIND)).await?;
        for keys in keys.chunks(TOGETHER) {
            let keys = keys.to_vec();
            self.write(move |txn| {
                for key in &keys {
                    txn.remove(key);
                }
                txn.put(&key::schema(), &7_u32);
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// How many entries the index has, and how many it should have.
    #[doc(hidden)]
    pub async fn indexed(&self) -> Result<(usize, usize), StoreError> {
        self.scan(|txn| {
            let is = txn.keys(FIND)?.len();
            let ought = txn.values::<Decision>(key::DECISION);
            Ok((is, ought.map(|decision| Ok(terms(&decision?).len())).sum::<Result<_, StoreError>>()?))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{Fixture, candidates, id, job};
    use super::*;

    async fn found(fixture: &Fixture, what: &str) -> Vec<String> {
        let found = fixture.store.find(Arc::new(Wanted::new(what))).await.unwrap();
        found.into_iter().map(|(_, decision)| decision.work.id.as_str().to_owned()).collect()
    }

    #[tokio::test]
    async fn what_an_earlier_version_decided_is_found_after_the_upgrade() {
        let fixture = Fixture::connected().await;
        fixture.asked("j1").await;
        fixture.plan(candidates(&["j2", "j3"])).await;
        fixture.store.downgrade().await.unwrap();
        // The upgrade was cut off once: one entry is there already.
        fixture
            .store
            .write(|txn| {
                let decision = txn.get::<Decision>(&key::decision(&id(), &job("j2")))?;
                index(txn, &id(), None, decision.as_ref());
                Ok(())
            })
            .await
            .unwrap();
        assert!(found(&fixture, "j3").await.is_empty());
        let fixture = fixture.reopen().await;
        for job in ["j1", "j2", "j3"] {
            assert_eq!(found(&fixture, job).await, [job]);
        }
        let (is, ought) = fixture.store.indexed().await.unwrap();
        assert_eq!(is, ought);
    }

    #[tokio::test]
    async fn what_is_deleted_is_not_found() {
        let fixture = Fixture::connected().await;
        fixture.plan(candidates(&["j1", "j2"])).await;
        let key = key::decision(&id(), &job("j1"));
        fixture.store.write(move |txn| remove_decision(txn, &key).map(|_| ())).await.unwrap();
        assert!(found(&fixture, "j1").await.is_empty());
        let (is, ought) = fixture.store.indexed().await.unwrap();
        assert_eq!(is, ought);
    }

    #[test]
    fn ids_of_jobber_are_short_and_others_are_kept_as_they_are() {
        let job = STANDARD.encode("gid://Jobber/Job/123456");
        let mut key = Vec::new();
        put_id(&mut key, &job);
        assert_eq!(key, [2, 3, 1, 226, 64]);
        for id in [
            job,
            STANDARD.encode("gid://Jobber/Job/0"),
            STANDARD.encode("gid://Jobber/Job/007"),
            STANDARD.encode(format!("gid://Jobber/Visit/{}", u64::MAX)),
            STANDARD.encode("gid://Jobber/Visit/99999999999999999999"),
            STANDARD.encode("gid://Jobber/Quote/7"),
            "Z2lk".to_owned(),
            "acc".to_owned(),
            String::new(),
        ] {
            let mut key = Vec::new();
            put_id(&mut key, &id);
            put_id(&mut key, "next");
            let mut rest = key.as_slice();
            assert_eq!(take_id(&mut rest).as_deref(), Some(id.as_str()));
            assert_eq!(take_id(&mut rest).as_deref(), Some("next"));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn entries_are_frozen() {
        let (account, work) = (AccountId::new("acc"), WorkRef::job(EncodedId::new("j1")));
        let entry = entry(&account, &Term::word("j1"), &work);
        assert_eq!(entry, b"find\0\0acc\0\x21\xf1\xa2\x76\xe0\x9b\x0b\xc4j\0j1\0");
    }

    proptest! {
        #[test]
        fn entries_read_back(account in "\\PC{0,20}", id in "\\PC{0,20}", cut in 0_usize..20) {
            let (account, work) = (AccountId::new(account), WorkRef::visit(EncodedId::new(id)));
            let term = Term::word("x");
            let entry = entry(&account, &term, &work);
            let end = &entry[prefix(&account, &term).len()..];
            prop_assert_eq!(parse(end), Some(work));
            prop_assert_eq!(parse(&end[..end.len() - 1 - cut.min(end.len() - 1)]), None);
        }
    }
}
