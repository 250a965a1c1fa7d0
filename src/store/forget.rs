//! People who are forgotten: what is kept about them is found, shown and erased.
//!
//! Nothing is indexed for this. It reads whole families, because an index by every contact would itself be a list of
//! people, and because this is seldom.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::entry::Bytes;
use super::outbox::forget_entry;
use super::people::{self, People};
use super::tallies::put_decision;
use super::txn::Txn;
use super::{Store, StoreError, key};
use crate::clock::minus;
use crate::domain::model::{
    AccountId, ActionRecord, AskId, AskOf, ClientSnapshot, ContactKey, Contacted, Decision, EncodedId,
    Forgotten, Kept, KeptCard, KeptDecision, MessageId, MessageKind, Noted, OutboxEntry, Outcome, Personal,
    Review, Suppression, WorkRef,
};

/// What a person is known by.
#[derive(Debug, Clone, Default)]
struct Names {
    contacts: BTreeSet<ContactKey>,
    /// Those of them that somebody else has too.
    shared: BTreeSet<ContactKey>,
    /// Phones and addresses as they are written.
    written: BTreeMap<String, ContactKey>,
    /// Cards in Jobber.
    clients: BTreeSet<(AccountId, EncodedId)>,
    works: BTreeSet<(AccountId, WorkRef)>,
    /// Works and the jobs behind them.
    records: BTreeSet<(AccountId, EncodedId)>,
    asks: BTreeSet<MessageId>,
}

impl Names {
    fn is_client(&self, account: &AccountId, client: Option<&EncodedId>) -> bool {
        client.is_some_and(|client| self.clients.contains(&(account.clone(), client.clone())))
    }

    /// The person's contacts that are nobody else's, and the cards, as they are suppressed and forgotten.
    fn own(&self) -> BTreeSet<ContactKey> {
        let cards = self.clients.iter().map(|(_, client)| ContactKey::card(client.as_str()));
        self.contacts.difference(&self.shared).cloned().chain(cards).collect()
    }

    /// Remembers how contacts are written. What is no contact (`n/a`, or nothing) is in every text.
    fn read<'a>(
        &mut self,
        phones: impl Iterator<Item = &'a String>,
        emails: impl Iterator<Item = &'a String>,
    ) {
        let phones = phones.filter_map(|text| Some((text.clone(), ContactKey::phone(text)?)));
        let emails = emails.filter_map(|text| Some((text.clone(), ContactKey::email(text)?)));
        self.written.extend(phones.chain(emails));
    }

    fn meet(&mut self, account: &AccountId, decision: &Decision) {
        let Decision { work, subject, .. } = decision;
        self.contacts.extend(subject.contacts());
        self.read(subject.phone.iter(), subject.email.iter());
        self.works.insert((account.clone(), work.clone()));
        let records = subject.job_id.iter().chain([&work.id]).cloned();
        self.records.extend(records.map(|record| (account.clone(), record)));
        self.asks.extend(decision.ask().map(MessageId::new));
    }

    /// Whether a text of an account names one of the person's cards or records, or a contact. Ids are compared with their
    /// quotes: one can begin like another.
    fn are_in(&self, account: &AccountId, text: &str) -> bool {
        let ids = self.clients.iter().chain(&self.records).filter(|(of, _)| of == account);
        ids.map(|(_, id)| format!("\"{id}\"")).any(|id| text.contains(&id))
            || self.written.keys().any(|written| text.contains(&format!("\"{written}\"")))
    }
}

/// What a look through the store found.
#[derive(Debug, Clone, Default)]
struct Found {
    names: Names,
    kept: Kept,
    /// Keys of entries that say when the person was asked, or that they must not be.
    notes: Vec<Bytes>,
}

/// What became of the wish to forget somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// Messages that were being sent at that moment. Nothing of them was erased.
    pub under_way: usize,
    /// Contacts that stand with other customers too, and stay theirs.
    pub shared: usize,
}

impl Store {
    /// Everything that is kept about the person with this contact or card: in one account, or in all.
    pub async fn kept_about(
        &self,
        who: &ContactKey,
        account: Option<&AccountId>,
    ) -> Result<Kept, StoreError> {
        Ok(self.look_for(who, account, Names::default()).await?.kept)
    }

    /// When the person was forgotten.
    pub async fn forgotten_at(
        &self,
        who: &ContactKey,
        account: Option<&AccountId>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let scope = people::scope(account).to_owned();
        let key = key::forgotten(&self.0.people.hash(&scope, who));
        Ok(self.get::<Forgotten>(&key).await?.map(|forgotten| forgotten.at))
    }

    /// Erases who a person is, wherever it is kept, and notes that they are never asked. Whatever is stored about them later
    /// is erased as it is stored.
    pub async fn forget(
        &self,
        who: &ContactKey,
        account: Option<&AccountId>,
        now: Timestamp,
    ) -> Result<Erased, StoreError> {
        let mut names = Names::default();
        // The second time for what was stored while the first looked.
        for _ in 0..2 {
            let found = self.look_for(who, account, names).await?;
            names = found.names.clone();
            let (who, scope) = (who.clone(), people::scope(account).to_owned());
            let people = self.0.people.clone();
            self.write(move |txn| {
                mark(txn, &people, &scope, &who, &found.names, now)?;
                erase(txn, &found, now)
            })
            .await?;
        }
        let shared = names.shared.len();
        let left = self.look_for(who, account, names).await?.kept;
        Ok(Erased { under_way: left.messages.len(), shared })
    }

    async fn look_for(
        &self,
        who: &ContactKey,
        account: Option<&AccountId>,
        known: Names,
    ) -> Result<Found, StoreError> {
        let (who, account, people) = (who.clone(), account.cloned(), self.0.people.clone());
        self.scan(move |txn| {
            let names = names_of(txn, &people, &who, account.as_ref(), known.clone())?;
            let notes = notes(txn, &names, account.as_ref())?;
            let kept = kept(txn, &names, &notes, account.as_ref())?;
            Ok(Found { names, kept, notes })
        })
        .await
    }

    /// Erases who people are from what is older than `kept_for` and settled.
    pub(super) async fn forget_people(
        &self,
        now: Timestamp,
        kept_for: SignedDuration,
    ) -> Result<usize, StoreError> {
        let before = minus(now, kept_for);
        let mut old = self.scan(move |txn| old_records::<Decision>(txn, key::DECISION, before)).await?;
        old.extend(self.scan(move |txn| old_records::<Review>(txn, key::REVIEW, before)).await?);
        old.extend(self.scan(move |txn| old_records::<ActionRecord>(txn, key::ACTION, before)).await?);
        let mut erased = 0;
        for keys in old.chunks(super::prune::TOGETHER) {
            let keys = keys.to_vec();
            erased += self
                .write(move |txn| {
                    txn.fetch(keys.iter().cloned())?;
                    keys.iter().try_fold(0, |erased, key| Ok(erased + usize::from(erase_at(txn, key)?)))
                })
                .await?;
        }
        Ok(erased)
    }
}

fn is_in(account: &AccountId, only: Option<&AccountId>) -> bool {
    only.is_none_or(|only| only == account)
}

fn decisions(
    txn: &Txn<'_>,
    only: Option<&AccountId>,
) -> impl Iterator<Item = Result<(AccountId, Decision), StoreError>> + use<> {
    let family = only.map_or_else(|| key::DECISION.to_vec(), |id| key::of_account(key::DECISION, id));
    txn.scan(&family).map(|entry| {
        let (name, value) = entry?;
        let (account, _) = key::parse_decision(&name).ok_or_else(key::broken)?;
        Ok((account, super::codec::decode(&value)?))
    })
}

fn cards(
    txn: &Txn<'_>,
    only: Option<&AccountId>,
) -> impl Iterator<Item = Result<(AccountId, ClientSnapshot), StoreError>> + use<> {
    let family = only.map_or_else(|| key::CARD.to_vec(), |id| key::of_account(key::CARD, id));
    txn.scan(&family).map(|entry| {
        let (name, value) = entry?;
        let account = key::account_of_card(&name).ok_or_else(key::broken)?;
        Ok((account, super::codec::decode(&value)?))
    })
}

/// The cards of somebody who was forgotten before: nothing else says any more that they belong together.
struct Marks<'t> {
    txn: &'t Txn<'t>,
    people: &'t People,
    who: &'t ContactKey,
    /// What the contact was forgotten with, by scope: a few accounts, however many cards there are.
    with: RefCell<BTreeMap<String, Option<String>>>,
}

impl Marks<'_> {
    /// Whether a card was marked together with the contact: in its account, or in all.
    fn have(&self, account: &AccountId, card: &ContactKey) -> Result<bool, StoreError> {
        for scope in [account.as_str(), key::EVERYWHERE] {
            let Some(with) = self.forgotten_with(scope)? else { continue };
            if self.people.mark(self.txn, scope, card)?.is_some_and(|mark| mark.of == with) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn forgotten_with(&self, scope: &str) -> Result<Option<String>, StoreError> {
        if let Some(known) = self.with.borrow().get(scope) {
            return Ok(known.clone());
        }
        let with = self.people.mark(self.txn, scope, self.who)?.map(|mark| mark.of);
        self.with.borrow_mut().insert(scope.to_owned(), with.clone());
        Ok(with)
    }
}

/// The cards on which somebody stands, and then all that these cards and their works say.
fn names_of(
    txn: &Txn<'_>,
    people: &People,
    who: &ContactKey,
    only: Option<&AccountId>,
    known: Names,
) -> Result<Names, StoreError> {
    let mut names = known;
    let marks = Marks { txn, people, who, with: RefCell::default() };
    let is_meant = |account: &AccountId, client: Option<&EncodedId>, contacts: &[ContactKey]| {
        let card = client.map(|client| ContactKey::card(client.as_str()));
        if contacts.contains(who) || card.as_ref() == Some(who) {
            return Ok(true);
        }
        card.map_or(Ok(false), |card| marks.have(account, &card))
    };
    names.contacts.insert(who.clone());
    for (account, work) in asked_by(txn, who, only)? {
        let Some(decision) = txn.get::<Decision>(&key::decision(&account, &work))? else { continue };
        let Some(client) = decision.subject.client_id.clone() else { continue };
        // A number can have gone on to somebody else since.
        let card = txn.get::<ClientSnapshot>(&key::card(&account, &client))?;
        if card.is_none_or(|card| card.contacts().contains(who)) {
            names.clients.insert((account.clone(), client));
            names.meet(&account, &decision);
        }
    }
    for found in decisions(txn, only) {
        let (account, decision) = found?;
        let client = decision.subject.client_id.as_ref();
        if is_meant(&account, client, &decision.subject.contacts())? {
            names.clients.extend(client.cloned().map(|client| (account.clone(), client)));
            names.meet(&account, &decision);
        }
    }
    for found in cards(txn, only) {
        let (account, card) = found?;
        if is_meant(&account, Some(&card.id), &card.contacts())? {
            names.clients.insert((account, card.id));
        }
    }
    let is_own = |names: &Names, account: &AccountId, decision: &Decision| {
        names.works.contains(&(account.clone(), decision.work.clone()))
            || names.is_client(account, decision.subject.client_id.as_ref())
    };
    for found in decisions(txn, only) {
        let (account, decision) = found?;
        if is_own(&names, &account, &decision) {
            names.meet(&account, &decision);
        }
    }
    for (account, client) in names.clients.clone() {
        if let Some(card) = txn.get::<ClientSnapshot>(&key::card(&account, &client))? {
            names.contacts.extend(card.contacts());
            let (phones, emails) = (card.phones.iter(), card.emails.iter());
            names.read(phones.map(|phone| &phone.number), emails.map(|email| &email.address));
        }
    }
    // Once more, now that all of them are known: nobody else's contacts are held in memory.
    let mut shared = BTreeSet::new();
    let mut note = |contacts: Vec<ContactKey>| {
        shared.extend(
            contacts.into_iter().filter(|contact| contact != who && names.contacts.contains(contact)),
        );
    };
    for found in decisions(txn, only) {
        let (account, decision) = found?;
        if !is_own(&names, &account, &decision) {
            note(decision.subject.contacts());
        }
    }
    for found in cards(txn, only) {
        let (account, card) = found?;
        if !names.is_client(&account, Some(&card.id)) {
            note(card.contacts());
        }
    }
    names.shared = shared;
    let shared = &names.shared;
    names.written.retain(|_, contact| !shared.contains(contact));
    Ok(names)
}

/// The works that somebody was asked about, or is to be: by contacts that no decision shows.
fn asked_by(
    txn: &Txn<'_>,
    who: &ContactKey,
    only: Option<&AccountId>,
) -> Result<Vec<(AccountId, WorkRef)>, StoreError> {
    let mut works = Vec::new();
    for entry in txn.scan(key::CONTACT) {
        let (name, value) = entry?;
        let (_, contact) = key::parse_contact(&name).ok_or_else(key::broken)?;
        if contact == *who {
            let contacted: Contacted = super::codec::decode(&value)?;
            let of = txn.get::<AskOf>(&key::ask(&contacted.ask_id))?;
            works.extend(of.map(|of| (of.account, of.work)));
        }
    }
    for entry in txn.values::<OutboxEntry>(key::OUTBOX) {
        let entry = entry?;
        if entry.payload.kind() == MessageKind::Ask
            && txn.get::<Noted>(&key::noted(&entry.id))?.is_some_and(|noted| noted.contacts.contains(who))
        {
            works.push((entry.account.clone(), entry.payload.work().clone()));
        }
    }
    works.retain(|(account, _)| is_in(account, only));
    Ok(works)
}

/// Keys that say when the person was asked, or that they must not be. Of one account only its own: what counts for all
/// accounts keeps the others from asking too soon.
fn notes(txn: &Txn<'_>, names: &Names, only: Option<&AccountId>) -> Result<Vec<Bytes>, StoreError> {
    let own = names.own();
    let is_here = |scope: &str| only.is_none_or(|only| scope.trim_start_matches('~') == only.as_str());
    let mut notes = Vec::new();
    for (family, parse) in [
        (key::CONTACT, key::parse_contact as fn(&[u8]) -> Option<(String, ContactKey)>),
        (key::SUPPRESSION, key::parse_suppression),
    ] {
        for entry in txn.scan(family) {
            let (name, _) = entry?;
            let (scope, contact) = parse(&name).ok_or_else(key::broken)?;
            if own.contains(&contact) && is_here(&scope) {
                notes.push(name);
            }
        }
    }
    Ok(notes)
}

fn kept(txn: &Txn<'_>, names: &Names, notes: &[Bytes], only: Option<&AccountId>) -> Result<Kept, StoreError> {
    let mut kept = Kept::default();
    for (account, work) in &names.works {
        let decision = txn.get::<Decision>(&key::decision(account, work))?.filter(Decision::is_personal);
        kept.decisions.extend(decision.map(|decision| KeptDecision { account: account.clone(), decision }));
    }
    for (account, client) in &names.clients {
        let card = txn.get(&key::card(account, client))?;
        kept.cards.extend(card.map(|card| KeptCard { account: account.clone(), card }));
    }
    for entry in txn.values::<OutboxEntry>(key::OUTBOX) {
        let entry = entry?;
        if is_in(&entry.account, only) && is_about(&entry, names) {
            kept.messages.push(entry);
        }
    }
    for ask in &names.asks {
        let review = txn.get::<Review>(&key::review(&AskId::new(ask.as_str())))?;
        kept.reviews.extend(review.filter(Review::is_personal));
    }
    for record in txn.values::<ActionRecord>(key::ACTION) {
        let record = record?;
        if is_in(&record.account, only) && record.is_personal() && is_on(&record, names) {
            kept.writes.push(record);
        }
    }
    for name in notes {
        if name.starts_with(key::SUPPRESSION) {
            kept.suppressions.extend(txn.get::<Suppression>(name)?);
        } else if let Some(contacted) = txn.get::<Contacted>(name)?.filter(|new| !kept.asked.contains(new)) {
            kept.asked.push(contacted);
        }
    }
    Ok(kept)
}

/// Whether a message is about one of the person's works or cards.
fn is_about(entry: &OutboxEntry, names: &Names) -> bool {
    let (account, work) = (&entry.account, entry.payload.work());
    let record = (account.clone(), work.id.clone());
    names.clients.contains(&record) || names.records.contains(&record) || names.are_in(account, &entry.body)
}

/// Whether a write was on one of the person's records, or Jobber's answer names one.
fn is_on(record: &ActionRecord, names: &Names) -> bool {
    let target = record.target.as_deref().map(|target| (record.account.clone(), EncodedId::new(target)));
    let is_target = target.is_some_and(|on| names.clients.contains(&on) || names.records.contains(&on));
    // Plain data with text keys encodes.
    is_target || names.are_in(&record.account, &serde_json::to_string(&record.outcome).unwrap_or_default())
}

/// Notes that the person is never asked.
fn mark(
    txn: &mut Txn<'_>,
    people: &People,
    scope: &str,
    who: &ContactKey,
    names: &Names,
    now: Timestamp,
) -> Result<(), StoreError> {
    people.note_some();
    let of = people.hash(scope, who);
    for contact in names.own() {
        let key = key::forgotten(&people.hash(scope, &contact));
        if txn.get::<Forgotten>(&key)?.is_none() {
            txn.put(&key, &Forgotten { at: now, of: of.clone() });
        }
    }
    Ok(())
}

fn erase(txn: &mut Txn<'_>, found: &Found, now: Timestamp) -> Result<(), StoreError> {
    let Found { names, kept, notes } = found;
    for entry in &kept.messages {
        forget_entry(txn, &entry.id, now)?;
    }
    for KeptDecision { account, decision } in &kept.decisions {
        erase_decision(txn, account, &key::decision(account, &decision.work))?;
    }
    for ask in &names.asks {
        erase_record::<Review>(txn, &key::review(&AskId::new(ask.as_str())))?;
    }
    for record in &kept.writes {
        erase_record::<ActionRecord>(txn, &key::action(&record.account, &record.key))?;
    }
    for KeptCard { account, card } in &kept.cards {
        txn.remove(&key::card(account, &card.id));
    }
    // They are never asked now, whatever stood there.
    for name in notes {
        txn.remove(name);
    }
    Ok(())
}

fn erase_decision(txn: &mut Txn<'_>, account: &AccountId, key: &[u8]) -> Result<(), StoreError> {
    let Some(mut decision) = txn.get::<Decision>(key)?.filter(Decision::is_personal) else { return Ok(()) };
    decision.erase();
    put_decision(txn, account, &decision)
}

fn erase_record<R: Personal + super::codec::Stored>(txn: &mut Txn<'_>, key: &[u8]) -> Result<(), StoreError> {
    if let Some(mut record) = txn.get::<R>(key)? {
        record.erase();
        txn.put(key, &record);
    }
    Ok(())
}

/// Something that is settled at some time.
trait Settled {
    fn settled_at(&self) -> Option<Timestamp>;
}

impl Settled for Decision {
    fn settled_at(&self) -> Option<Timestamp> {
        let is_open = matches!(self.outcome, Outcome::Waiting { .. } | Outcome::Held { .. });
        // A clock that was years behind stamped it so; the work has Jobber's instant.
        (!is_open).then(|| self.at.max(self.finished_at))
    }
}

impl Settled for Review {
    fn settled_at(&self) -> Option<Timestamp> {
        Some(self.at)
    }
}

impl Settled for ActionRecord {
    fn settled_at(&self) -> Option<Timestamp> {
        Some(self.at)
    }
}

fn old_records<R: Personal + Settled + super::codec::Stored>(
    txn: &Txn<'_>,
    family: &[u8],
    before: Timestamp,
) -> Result<Vec<Bytes>, StoreError> {
    let mut old = Vec::new();
    for entry in txn.scan(family) {
        let (key, value) = entry?;
        let record: R = super::codec::decode(&value)?;
        if record.settled_at().is_some_and(|at| at < before) && record.is_personal() {
            old.push(key);
        }
    }
    Ok(old)
}

/// Erases an old record, unless it is no longer settled. Returns whether it did.
fn erase_at(txn: &mut Txn<'_>, key: &[u8]) -> Result<bool, StoreError> {
    if key.starts_with(key::REVIEW) {
        return erase_record::<Review>(txn, key).map(|()| true);
    }
    if key.starts_with(key::ACTION) {
        return erase_record::<ActionRecord>(txn, key).map(|()| true);
    }
    let (account, _) = key::parse_decision(key).ok_or_else(key::broken)?;
    let decision = txn.get::<Decision>(key)?;
    // It can have been finished again meanwhile, and its ask can still be on its way.
    let is_settled = decision.as_ref().is_some_and(|decision| decision.settled_at().is_some());
    let ask = decision.as_ref().and_then(Decision::ask).map(MessageId::new);
    let is_queued = match ask {
        Some(ask) => txn.get_raw(&key::outbox(&ask))?.is_some(),
        None => false,
    };
    if !is_settled || is_queued {
        return Ok(false);
    }
    erase_decision(txn, &account, key)?;
    Ok(true)
}

#[cfg(test)]
mod tests;
