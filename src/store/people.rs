//! People: when each was last asked, and who is never asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hmac::digest::KeyInit;
use hmac::digest::generic_array::GenericArray;
use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::markers::{marked_by, markers};
use super::txn::Txn;
use super::{Store, StoreError, key};
use crate::digest;
use crate::domain::decide::{Past, rests_until};
use crate::domain::model::{
    AccountId, AskId, ContactKey, Contacted, Decision, EncodedId, Forgotten, Marker, MessageId, MessageKind,
    Noted, OutboxEntry, Personal as _, Subject, Suppression, WorkKind, WorkRef,
};
use crate::domain::rules::Policy;
use crate::store_key::StoreKey;

/// Names people who were forgotten, by a hash that only the holder of the store's key can make.
#[derive(Clone)]
pub(super) struct People {
    key: StoreKey,
    /// Whether anybody was ever forgotten. Mostly nobody was, and then nothing is looked up.
    are_some: Arc<AtomicBool>,
}

impl People {
    pub(super) fn new(key: &StoreKey) -> Self {
        Self { key: key.clone(), are_some: Arc::default() }
    }

    /// Learns whether anybody was forgotten before.
    pub(super) fn look(&self, txn: &Txn<'_>) -> Result<(), StoreError> {
        if txn.scan(key::FORGOTTEN).next().transpose()?.is_some() {
            self.note_some();
        }
        Ok(())
    }

    pub(super) fn note_some(&self) {
        self.are_some.store(true, Ordering::Release);
    }

    /// `scope` is an account or [`key::EVERYWHERE`].
    pub(super) fn hash(&self, scope: &str, who: &ContactKey) -> String {
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(self.key.bytes());
        let mut mac = <Hmac<Sha256> as KeyInit>::new(GenericArray::from_slice(&*block));
        mac.update(digest::of(&["forgotten", scope, who.as_str()]).as_bytes());
        digest::of_bytes(&mac.finalize().into_bytes())
    }

    /// What was noted when a contact or card was forgotten.
    pub(super) fn mark(
        &self,
        txn: &Txn<'_>,
        scope: &str,
        who: &ContactKey,
    ) -> Result<Option<Forgotten>, StoreError> {
        if !self.are_some.load(Ordering::Acquire) {
            return Ok(None);
        }
        txn.get(&key::forgotten(&self.hash(scope, who)))
    }

    /// Since when somebody with one of these contacts, or this card, is forgotten.
    pub(super) fn forgotten(
        &self,
        txn: &Txn<'_>,
        account: &AccountId,
        card: Option<&EncodedId>,
        contacts: &[ContactKey],
    ) -> Result<Option<Timestamp>, StoreError> {
        let scopes = [account.as_str(), key::EVERYWHERE];
        if self.are_some.load(Ordering::Acquire) {
            let marks = named(card, contacts).flat_map(|who| scopes.map(|scope| self.hash(scope, &who)));
            txn.fetch(marks.map(|hash| key::forgotten(&hash)))?;
        }
        for who in named(card, contacts) {
            for scope in scopes {
                if let Some(Forgotten { at, .. }) = self.mark(txn, scope, &who)? {
                    return Ok(Some(at));
                }
            }
        }
        Ok(None)
    }

    /// Erases who somebody is, if they were forgotten.
    pub(super) fn erase_forgotten(
        &self,
        txn: &Txn<'_>,
        account: &AccountId,
        subject: &mut Subject,
    ) -> Result<(), StoreError> {
        if self.forgotten(txn, account, subject.client_id.as_ref(), &subject.contacts())?.is_some() {
            subject.erase();
        }
        Ok(())
    }

    /// Whether somebody must never be asked.
    pub(super) fn suppression(
        &self,
        txn: &Txn<'_>,
        account: &AccountId,
        card: Option<&EncodedId>,
        contacts: &[ContactKey],
    ) -> Result<Option<Suppression>, StoreError> {
        // What an operator noted may say who it is.
        if let Some(at) = self.forgotten(txn, account, card, contacts)? {
            return Ok(Some(Suppression { what: FORGOTTEN.to_owned(), account: None, note: None, at }));
        }
        let scopes = [account.as_str(), key::EVERYWHERE];
        txn.fetch(named(card, contacts).flat_map(|who| scopes.map(|scope| key::suppression(scope, &who))))?;
        for who in named(card, contacts) {
            for scope in scopes {
                if let Some(suppression) = txn.get(&key::suppression(scope, &who))? {
                    return Ok(Some(suppression));
                }
            }
        }
        Ok(None)
    }
}

/// Everything that somebody is suppressed or forgotten by.
fn named(card: Option<&EncodedId>, contacts: &[ContactKey]) -> impl Iterator<Item = ContactKey> {
    contacts.iter().cloned().chain(card.map(|id| ContactKey::card(id.as_str())))
}

/// Stands for whoever was forgotten.
const FORGOTTEN: &str = "somebody forgotten";

/// The ask id for asks by another tool.
const IMPORTED: &str = "imported";

impl Store {
    /// What is known about a work and about the person with these `contacts` or this `card`.
    pub async fn past(
        &self,
        account: &AccountId,
        work: &WorkRef,
        job_ids: &[EncodedId],
        card: Option<&EncodedId>,
        contacts: &[ContactKey],
        policy: &Policy,
    ) -> Result<Past, StoreError> {
        let (account, work, job_ids) = (account.clone(), work.clone(), job_ids.to_vec());
        let (card, contacts, policy) = (card.cloned(), contacts.to_vec(), policy.clone());
        let people = self.0.people.clone();
        self.read(move |txn| {
            let card = card.as_ref();
            Ok(Past {
                is_forgotten: people.forgotten(txn, &account, card, &contacts)?.is_some(),
                markers: markers(txn, &account, &work, &job_ids)?,
                contacted: last_contact(txn, &account, &contacts, &policy)?,
                suppression: people.suppression(txn, &account, card, &contacts)?,
            })
        })
        .await
    }

    /// Whether a person was suppressed after an ask for them was made.
    pub async fn is_suppressed(&self, ask: &MessageId) -> Result<bool, StoreError> {
        let (ask, noted, people) = (key::outbox(ask), key::noted(ask), self.0.people.clone());
        self.read(move |txn| {
            let Some(entry) = txn.get::<OutboxEntry>(&ask)? else { return Ok(false) };
            let decision = txn.get::<Decision>(&key::decision(&entry.account, entry.payload.work()))?;
            let Some(subject) = decision.map(|decision| decision.subject) else { return Ok(false) };
            let (card, mut contacts) = (subject.client_id.as_ref(), subject.contacts());
            // Also those that it would not go to.
            contacts.extend(txn.get::<Noted>(&noted)?.into_iter().flat_map(|noted| noted.contacts));
            Ok(people.suppression(txn, &entry.account, card, &contacts)?.is_some())
        })
        .await
    }

    /// Whether a person with one of these contacts, or this card, was suppressed.
    pub async fn suppression_of(
        &self,
        account: &AccountId,
        card: &EncodedId,
        contacts: &[ContactKey],
    ) -> Result<Option<Suppression>, StoreError> {
        let (account, card, contacts) = (account.clone(), card.clone(), contacts.to_vec());
        let people = self.0.people.clone();
        self.read(move |txn| people.suppression(txn, &account, Some(&card), &contacts)).await
    }

    /// Suppresses a person: they are never asked.
    pub async fn suppress(&self, who: &ContactKey, suppression: Suppression) -> Result<(), StoreError> {
        let key = suppression_key(who, suppression.account.as_ref());
        self.write(move |txn| {
            txn.put(&key, &suppression);
            Ok(())
        })
        .await
    }

    /// Ends a suppression, also one of somebody who was forgotten. Returns whether there was one.
    pub async fn unsuppress(
        &self,
        who: &ContactKey,
        account: Option<&AccountId>,
    ) -> Result<bool, StoreError> {
        let key = suppression_key(who, account);
        let forgotten = key::forgotten(&self.0.people.hash(scope(account), who));
        self.write(move |txn| {
            let mut was_there = txn.get_raw(&key)?.is_some();
            txn.remove(&key);
            if let Some(Forgotten { of, .. }) = txn.get(&forgotten)? {
                was_there = true;
                for entry in txn.scan(key::FORGOTTEN) {
                    let (name, value) = entry?;
                    if super::codec::decode::<Forgotten>(&value)?.of == of {
                        txn.remove(&name);
                    }
                }
            }
            Ok(was_there)
        })
        .await
    }

    /// Stores people that another tool has asked.
    pub async fn note_asked_before(
        &self,
        people: Vec<(AccountId, Vec<ContactKey>, Timestamp)>,
    ) -> Result<(), StoreError> {
        self.write(move |txn| {
            for (account, contacts, at) in &people {
                note_contact(txn, account, &AskId::new(IMPORTED), contacts, &Policy::default(), *at)?;
            }
            Ok(())
        })
        .await
    }

    /// All suppressions.
    pub async fn suppressions(&self) -> Result<Vec<Suppression>, StoreError> {
        self.scan(|txn| txn.values(key::SUPPRESSION).collect()).await
    }
}

fn suppression_key(who: &ContactKey, account: Option<&AccountId>) -> Vec<u8> {
    key::suppression(scope(account), who)
}

/// One account, or all.
pub(super) fn scope(account: Option<&AccountId>) -> &str {
    account.map_or(key::EVERYWHERE, AccountId::as_str)
}

fn last_contact(
    txn: &Txn<'_>,
    account: &AccountId,
    contacts: &[ContactKey],
    policy: &Policy,
) -> Result<Option<Contacted>, StoreError> {
    let scope = if policy.across_accounts { key::EVERYWHERE } else { account.as_str() };
    let mut scopes = vec![scope.to_owned()];
    if policy.shadow {
        scopes.push(shadow_of(scope));
    }
    let mut last: Option<Contacted> = None;
    txn.fetch(contacts.iter().flat_map(|contact| scopes.iter().map(|scope| key::contact(scope, contact))))?;
    for contact in contacts {
        for scope in &scopes {
            let contacted = txn.get::<Contacted>(&key::contact(scope, contact))?;
            if contacted.as_ref().map(|contacted| contacted.at) > last.as_ref().map(|last| last.at) {
                last = contacted;
            }
        }
    }
    Ok(last)
}

/// The scope for people who would have been asked in shadow mode. It blocks nobody once asks are really sent.
fn shadow_of(scope: &str) -> String {
    format!("~{scope}")
}

/// Whether this person's cooldown is still running at `now`.
pub(super) fn rests(
    txn: &Txn<'_>,
    account: &AccountId,
    contacts: &[ContactKey],
    policy: &Policy,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let last = last_contact(txn, account, contacts, policy)?;
    Ok(last.is_some_and(|contacted| rests_until(&contacted, policy) > now))
}

pub(super) fn note_contact(
    txn: &mut Txn<'_>,
    account: &AccountId,
    ask_id: &AskId,
    contacts: &[ContactKey],
    policy: &Policy,
    at: Timestamp,
) -> Result<(), StoreError> {
    let contacted = Contacted { account: account.clone(), ask_id: ask_id.clone(), at };
    let scopes = [account.as_str(), key::EVERYWHERE];
    let scopes = scopes.map(|scope| if policy.shadow { shadow_of(scope) } else { scope.to_owned() });
    txn.fetch(contacts.iter().flat_map(|contact| scopes.iter().map(|scope| key::contact(scope, contact))))?;
    for contact in contacts {
        for scope in &scopes {
            let key = key::contact(scope, contact);
            if txn.get::<Contacted>(&key)?.is_none_or(|known| known.at < at) {
                txn.put(&key, &contacted);
            }
        }
    }
    Ok(())
}

/// Writes down what earlier versions noted with asks that were not tried yet.
pub(super) fn note_untried(txn: &mut Txn<'_>) -> Result<(), StoreError> {
    let mut untried: BTreeMap<String, Noted> = BTreeMap::new();
    for key in txn.keys(key::OUTBOX)? {
        let Some(entry) = txn.get::<OutboxEntry>(&key)? else { continue };
        if entry.attempt == 0 && entry.payload.kind() == MessageKind::Ask {
            untried.insert(entry.id.to_string(), Noted { contacts: vec![], jobs: vec![] });
        }
    }
    if untried.is_empty() {
        return Ok(());
    }
    for found in txn.scan(key::MARKER) {
        let (name, value) = found?;
        let (_, work) = key::parse_marker(&name).ok_or_else(key::broken)?;
        let marker: Marker = super::codec::decode(&value)?;
        if let Some(noted) = untried.get_mut(marker.ask_id.as_str()).filter(|_| work.kind == WorkKind::Job) {
            noted.jobs.push(work.id);
        }
    }
    for found in txn.scan(key::CONTACT) {
        let (name, value) = found?;
        let (_, contact) = key::parse_contact(&name).ok_or_else(key::broken)?;
        let contacted: Contacted = super::codec::decode(&value)?;
        if let Some(noted) = untried.get_mut(contacted.ask_id.as_str()) {
            noted.contacts.push(contact);
        }
    }
    for (ask, noted) in untried {
        txn.put(&key::noted(&MessageId::new(ask)), &noted);
    }
    Ok(())
}

/// Takes back what was noted with an ask that was never tried: nobody was asked.
pub(super) fn take_back(txn: &mut Txn<'_>, entry: &OutboxEntry) -> Result<(), StoreError> {
    let Some(Noted { contacts, jobs }) = txn.get(&key::noted(&entry.id))? else { return Ok(()) };
    for work in marked_by(entry.payload.work(), &jobs) {
        let key = key::marker(&entry.account, &work);
        if txn.get::<Marker>(&key)?.is_some_and(|marker| marker.ask_id.as_str() == entry.id.as_str()) {
            txn.remove(&key);
        }
    }
    for contact in &contacts {
        for scope in [entry.account.as_str(), key::EVERYWHERE] {
            let key = key::contact(scope, contact);
            let noted = txn.get::<Contacted>(&key)?;
            if noted.is_some_and(|noted| noted.ask_id.as_str() == entry.id.as_str()) {
                txn.remove(&key);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::super::AskCommit;
    use super::super::tests::{Fixture, at, candidates, id, job};
    use super::*;
    use crate::clock::plus;

    fn phone(number: u32) -> ContactKey {
        ContactKey::phone(&format!("555000{number:04}")).unwrap()
    }

    fn suppression(what: &str, account: Option<AccountId>) -> Suppression {
        Suppression { what: what.into(), account, note: None, at: at(0) }
    }

    #[tokio::test]
    async fn whoever_is_suppressed_is_known_by_number_address_and_card() {
        let fixture = Fixture::connected().await;
        let suppressed = async |contacts: &[ContactKey], card: Option<&EncodedId>| {
            let past =
                fixture.store.past(&id(), &job("j"), &[], card, contacts, &Policy::default()).await.unwrap();
            past.suppression.is_some()
        };
        let (card, other) = (EncodedId::new("card"), EncodedId::new("other"));
        let number = ContactKey::phone("+15551234567").unwrap();
        for (what, who) in [("(555) 123-4567", number.clone()), ("card", ContactKey::card("card"))] {
            assert!(!suppressed(std::slice::from_ref(&number), Some(&card)).await);
            fixture.store.suppress(&who, suppression(what, None)).await.unwrap();
            assert!(suppressed(std::slice::from_ref(&number), Some(&card)).await);
            assert!(!suppressed(&[], Some(&other)).await);
            assert!(!fixture.store.unsuppress(&who, Some(&id())).await.unwrap(), "not for one account");
            assert!(fixture.store.unsuppress(&who, None).await.unwrap());
        }
        fixture
            .store
            .suppress(&ContactKey::card("card"), suppression("card", Some(AccountId::new("another"))))
            .await
            .unwrap();
        assert!(!suppressed(&[], Some(&card)).await, "another account's");
        fixture.store.suppress(&ContactKey::card("card"), suppression("card", Some(id()))).await.unwrap();
        assert!(suppressed(&[], Some(&card)).await);
        assert_eq!(fixture.store.suppressions().await.unwrap().len(), 2);
    }

    /// As an earlier version left it: the ask waits, and nothing says what was noted with it.
    #[tokio::test]
    async fn an_ask_that_waited_at_the_upgrade_is_taken_back_whole() {
        let fixture = Fixture::connected().await;
        fixture.plan(candidates(&["j"])).await;
        let mut made = super::super::tests::ask(&job("j"));
        made.contacts = vec![phone(1), phone(2)];
        let (ask, policy) = (MessageId::from(&made.id), Arc::new(Policy::default()));
        let stored = fixture.store.commit_ask(&id(), made, "{}".into(), &policy, at(5)).await.unwrap();
        assert_eq!(stored, AskCommit::Stored);
        let last = async || {
            let past = fixture.store.past(&id(), &job("k"), &[], None, &[phone(2)], &policy).await;
            past.unwrap().contacted
        };
        assert!(last().await.is_some());
        let key = key::noted(&ask);
        fixture
            .store
            .write(move |txn| {
                txn.remove(&key);
                Ok(())
            })
            .await
            .unwrap();
        fixture.store.write(note_untried).await.unwrap();
        let reason = crate::domain::model::SkipReason::NoLongerFinished;
        assert!(fixture.store.skip_entry(&ask, reason, BTreeMap::new(), at(6)).await.unwrap());
        assert!(fixture.store.markers(&id(), &job("j"), &[]).await.unwrap().is_empty());
        assert_eq!(last().await, None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Compared with a full list of all asks: nobody is asked twice within the cooldown, by any of their
        /// numbers, and nobody else is held back.
        #[test]
        fn nobody_is_asked_twice_within_the_cooldown(
            asks in prop::collection::vec((prop::collection::vec(0_u32..6, 1..3), 0_i64..400), 1..30),
            cooldown in 0_i64..300,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let fixture = Fixture::connected().await;
                let policy =
                    Arc::new(Policy { cooldown: SignedDuration::from_mins(cooldown), ..Policy::default() });
                let mut all: Vec<(Vec<u32>, i64)> = Vec::new();
                let mut now = 0;
                for (index, (numbers, pause)) in asks.into_iter().enumerate() {
                    now += pause;
                    let name = format!("j{index}");
                    fixture.plan(candidates(&[&name])).await;
                    let mut ask = super::super::tests::ask(&job(&name));
                    ask.contacts = numbers.iter().map(|number| phone(*number)).collect();
                    let stored = fixture.store.commit_ask(&id(), ask, "{}".into(), &policy, at(now)).await.unwrap();
                    let rests = all.iter().any(|(asked, when)| {
                        now - when < cooldown && asked.iter().any(|number| numbers.contains(number))
                    });
                    assert_eq!(stored == AskCommit::Superseded, rests, "{numbers:?} at {now} after {all:?}");
                    if !rests {
                        all.push((numbers, now));
                    }
                }
                let last = fixture.store.past(&id(), &job("x"), &[], None, &[phone(0)], &policy).await.unwrap();
                let expected = all.iter().rfind(|(asked, _)| asked.contains(&0)).map(|(_, when)| at(*when));
                assert_eq!(last.contacted.map(|contacted| contacted.at), expected);
                assert!(expected.is_none_or(|when| plus(when, policy.cooldown) >= when));
            });
        }
    }
}
