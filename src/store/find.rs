//! The index of decisions by what people call them. It is kept in the commits that store and delete decisions.
//!
//! A posting is a hash of a term, and the work, as short as they can be written; a decision has about ten of them. The
//! postings of an account lie sorted in blocks: the database pays for each entry, not for each byte. The key of a block
//! is the account, and the first posting that may be in it; the first block of an account has none. Two terms may share
//! a hash, so whatever is found is compared with the question.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::engine::Database;
use super::key::FIND;
use super::short::{put_id, put_work, take_work};
use super::txn::Txn;
use super::{Store, StoreError, key};
use crate::domain::lookup::{Term, Wanted, terms};
use crate::domain::model::{AccountId, Decision, EncodedId, WorkRef};

/// Decisions that an upgrade indexes in one commit, and between two flushes: what is not flushed stays in memory.
const TOGETHER: usize = 256;
const UNFLUSHED: usize = 16 * TOGETHER;

/// Begins a block.
const VERSION: u8 = 1;

/// A larger block is split.
const BLOCK: usize = 16;

const HASH: usize = 6;

type Posting = Vec<u8>;

fn of_account(account: &AccountId) -> Vec<u8> {
    let mut key = FIND.to_vec();
    put_id(&mut key, account.as_str());
    key
}

fn hash(term: &Term) -> [u8; HASH] {
    let mut hash = [0; HASH];
    hash.copy_from_slice(&Sha256::digest(term.as_str())[..HASH]);
    hash
}

fn posting(term: &Term, work: &WorkRef) -> Posting {
    let mut posting = hash(term).to_vec();
    put_work(&mut posting, work);
    posting
}

fn postings(block: &[u8]) -> Result<BTreeSet<Posting>, StoreError> {
    let parse = || {
        let mut rest = block.strip_prefix(&[VERSION])?;
        let mut postings = BTreeSet::new();
        while !rest.is_empty() {
            let mut after = rest.get(HASH..)?;
            take_work(&mut after)?;
            let (posting, next) = rest.split_at(rest.len() - after.len());
            postings.insert(posting.to_vec());
            rest = next;
        }
        Some(postings)
    };
    parse().ok_or_else(|| StoreError::Corrupt {
        family: "index of decisions",
        detail: "a block does not parse".to_owned(),
    })
}

fn put_block(txn: &mut Txn<'_>, key: Vec<u8>, postings: &BTreeSet<Posting>) {
    if postings.is_empty() {
        return txn.remove(&key);
    }
    let block = std::iter::once(VERSION).chain(postings.iter().flatten().copied());
    txn.put_raw(key, block.collect());
}

/// Puts a posting into the index, or takes it out.
fn change(txn: &mut Txn<'_>, prefix: &[u8], posting: Posting, is_there: bool) -> Result<(), StoreError> {
    let place = [prefix, &posting].concat();
    let (key, mut block) = match txn.last_to(prefix, &place)? {
        Some((key, block)) => (key, postings(&block)?),
        None => (prefix.to_vec(), BTreeSet::new()),
    };
    if is_there {
        block.insert(posting);
    } else {
        block.remove(&posting);
    }
    if block.len() > BLOCK
        && let Some(middle) = block.iter().nth(block.len() / 2).cloned()
    {
        let upper = block.split_off(&middle);
        put_block(txn, [prefix, &middle].concat(), &upper);
    }
    put_block(txn, key, &block);
    Ok(())
}

/// The works under a term.
fn works(txn: &Txn<'_>, prefix: &[u8], term: &Term) -> Result<BTreeSet<WorkRef>, StoreError> {
    let hash = hash(term);
    let first = [prefix, &hash].concat();
    let mut works = BTreeSet::new();
    let mut look = |block: &[u8]| {
        for posting in postings(block)? {
            if let Some(mut work) = posting.strip_prefix(&hash) {
                works.extend(take_work(&mut work));
            }
        }
        Ok::<_, StoreError>(())
    };
    if let Some((_, block)) = txn.last_to(prefix, &first)? {
        look(&block)?;
    }
    for block in txn.scan(&first) {
        look(&block?.1)?;
    }
    Ok(works)
}

/// Brings the index from what a decision was to what it is.
pub(super) fn index(
    txn: &mut Txn<'_>,
    account: &AccountId,
    before: Option<&Decision>,
    after: Option<&Decision>,
) -> Result<(), StoreError> {
    let Some(work) = after.or(before).map(|decision| &decision.work) else { return Ok(()) };
    let (old, new) = (before.map(terms).unwrap_or_default(), after.map(terms).unwrap_or_default());
    let prefix = of_account(account);
    let places = old.symmetric_difference(&new).map(|term| [&prefix[..], &posting(term, work)].concat());
    txn.fetch_lasts(&prefix, places)?;
    for term in old.difference(&new) {
        change(txn, &prefix, posting(term, work), false)?;
    }
    for term in new.difference(&old) {
        change(txn, &prefix, posting(term, work), true)?;
    }
    Ok(())
}

/// Deletes the decision under `key`, and returns it.
pub(super) fn remove_decision(txn: &mut Txn<'_>, key: &[u8]) -> Result<Option<Decision>, StoreError> {
    let (account, _) = key::parse_decision(key).ok_or_else(key::broken)?;
    let decision = txn.get::<Decision>(key)?;
    index(txn, &account, decision.as_ref(), None)?;
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
            database.relieve()?;
        }
    }
    let mut indexed = 0_usize;
    for found in Txn::new(&database.table).scan(key::DECISION) {
        let (name, value) = found?;
        let (account, _) = key::parse_decision(&name).ok_or_else(key::broken)?;
        index(&mut txn, &account, None, Some(&super::codec::decode(&value)?))?;
        indexed += 1;
        if indexed.is_multiple_of(TOGETHER) {
            database.table.apply(std::mem::replace(&mut txn, Txn::new(&database.table)).into_writes())?;
        }
        if indexed.is_multiple_of(UNFLUSHED) {
            database.relieve()?;
        }
        if indexed.is_multiple_of(100_000) {
            tracing::info!(decisions = indexed, "indexing what earlier versions decided");
        }
    }
    database.table.apply(txn.into_writes())
}

/// The decisions of an account that have all these terms, and some that have not.
fn having(txn: &Txn<'_>, account: &AccountId, terms: &BTreeSet<Term>) -> Result<Vec<Decision>, StoreError> {
    let prefix = of_account(account);
    let mut having: Option<BTreeSet<WorkRef>> = None;
    for term in terms {
        let mut has = works(txn, &prefix, term)?;
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

    /// Leaves the store in the folder `path` as schema 7 is upgraded from. Blocks, and must not be cut off: for tests and benchmarks.
    #[doc(hidden)]
    pub fn downgrade(path: &Path) -> Result<(), StoreError> {
        super::sled::downgrade(path)
    }

    /// How many entries the index has, and how many it should have.
    #[doc(hidden)]
    pub async fn indexed(&self) -> Result<(usize, usize), StoreError> {
        self.scan(|txn| {
            let blocks = txn.scan(FIND).map(|block| Ok(postings(&block?.1)?.len()));
            let is = blocks.sum::<Result<_, StoreError>>()?;
            let ought = txn.values::<Decision>(key::DECISION);
            Ok((is, ought.map(|decision| Ok(terms(&decision?).len())).sum::<Result<_, StoreError>>()?))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::IfMissing;
    use super::super::tests::{Fixture, candidates, id, job, key as store_key, unlocked};
    use super::*;

    async fn found(fixture: &Fixture, what: &str) -> Vec<String> {
        let found = fixture.store.find(Arc::new(Wanted::new(what))).await.unwrap();
        found.into_iter().map(|(_, decision)| decision.work.id.as_str().to_owned()).collect()
    }

    #[tokio::test]
    async fn what_an_earlier_version_decided_is_found_after_the_upgrade() {
        let fixture = Fixture::connected_in_folder().await;
        fixture.asked("j1").await;
        fixture.plan(candidates(&["j2", "j3"])).await;
        let path = fixture.path();
        let folder = fixture.put_away().await;
        unlocked(|| {
            Store::downgrade(&path)?;
            // The upgrade was cut off once: some of it is there already.
            let database = Database::sled(super::super::sled::open(&path)?);
            let mut txn = Txn::new(&database.table);
            let decision = txn.get::<Decision>(&key::decision(&id(), &job("j2")))?;
            index(&mut txn, &id(), None, decision.as_ref())?;
            database.table.apply(txn.into_writes())?;
            database.flush()
        })
        .unwrap();
        let store = unlocked(|| Store::open(&path, &store_key(1), IfMissing::Refuse)).unwrap();
        let fixture = Fixture { folder, store };
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
    fn blocks_are_frozen() {
        let (account, work) = (AccountId::new("acc"), WorkRef::job(EncodedId::new("j1")));
        assert_eq!(of_account(&account), b"find\0\0acc\0");
        let posting = posting(&Term::word("j1"), &work);
        assert_eq!(posting, b"\x21\xf1\xa2\x76\xe0\x9bj\0j1\0");
        let block = [&[VERSION], &posting[..]].concat();
        assert_eq!(postings(&block).unwrap(), BTreeSet::from([posting]));
        for broken in [&block[1..], &block[..block.len() - 1], &block[..3], &[][..]] {
            assert!(postings(broken).is_err(), "{broken:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// In one commit or in several, whatever the order and the size.
        #[test]
        fn the_index_has_what_was_put_in_and_not_taken_out(
            changes in prop::collection::vec((0..9_u8, 0..40_u8, prop::bool::weighted(0.7), any::<bool>()), 0..200),
            asks_together: bool,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let database = Database::sled(super::super::sled::open(folder.path()).unwrap());
            let prefix = of_account(&AccountId::new("acc"));
            let mut model: BTreeMap<Term, BTreeSet<WorkRef>> = BTreeMap::new();
            let mut txn = Txn::new(&database.table);
            // Another account does not get in the way.
            let work = |number: u8| WorkRef::job(EncodedId::new(format!("j{number}")));
            change(&mut txn, &of_account(&AccountId::new("acd")), posting(&Term::word("0"), &work(0)), true).unwrap();
            for (term, number, is_there, is_end) in changes {
                let (term, work) = (Term::word(&term.to_string()), work(number));
                if asks_together {
                    // As where the database is a server.
                    txn.ask_lasts(&prefix, [[&prefix[..], &posting(&term, &work)].concat()]).unwrap();
                }
                change(&mut txn, &prefix, posting(&term, &work), is_there).unwrap();
                let known = model.entry(term).or_default();
                if is_there { known.insert(work); } else { known.remove(&work); }
                if is_end {
                    let done = std::mem::replace(&mut txn, Txn::new(&database.table));
                    database.table.apply(done.into_writes()).unwrap();
                }
            }
            database.table.apply(txn.into_writes()).unwrap();
            let txn = Txn::new(&database.table);
            for (term, known) in &model {
                prop_assert_eq!(&works(&txn, &prefix, term).unwrap(), known);
            }
            for block in txn.scan(&prefix) {
                let (_, block) = block.unwrap();
                prop_assert!((1..=BLOCK).contains(&postings(&block).unwrap().len()));
            }
        }
    }
}
