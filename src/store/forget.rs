//! People who are forgotten: what is kept about them is found, shown and erased.
//!
//! Nothing is indexed for this. It reads whole families, because an index by every contact would itself be a list of
//! people, and because this is seldom.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::outbox::forget_entry;
use super::people::{self, People};
use super::tallies::put_decision;
use super::txn::Txn;
use super::{Store, StoreError, key};
use crate::clock::minus;
use crate::domain::model::{
    AccountId, ActionRecord, AskId, ClientSnapshot, ContactKey, Contacted, Decision, EncodedId, Forgotten,
    Kept, KeptCard, KeptDecision, MessageId, OutboxEntry, Outcome, Personal, Review, Suppression, WorkRef,
};

/// What a person is known by.
#[derive(Debug, Clone, Default)]
struct Names {
    contacts: BTreeSet<ContactKey>,
    /// Cards in Jobber.
    clients: BTreeSet<(AccountId, EncodedId)>,
    works: BTreeSet<(AccountId, WorkRef)>,
    jobs: BTreeSet<(AccountId, EncodedId)>,
    asks: BTreeSet<MessageId>,
}

impl Names {
    fn is_client(&self, account: &AccountId, client: Option<&EncodedId>) -> bool {
        client.is_some_and(|client| self.clients.contains(&(account.clone(), client.clone())))
    }

    /// The person's contacts and cards, as they are suppressed and forgotten.
    fn keys(&self) -> BTreeSet<ContactKey> {
        let cards = self.clients.iter().map(|(_, client)| ContactKey::card(client.as_str()));
        self.contacts.iter().cloned().chain(cards).collect()
    }

    fn meet(&mut self, account: &AccountId, decision: &Decision) {
        let Decision { work, subject, .. } = decision;
        self.contacts.extend(subject.contacts());
        self.works.insert((account.clone(), work.clone()));
        self.jobs.extend(subject.job_id.clone().map(|job| (account.clone(), job)));
        self.asks.extend(decision.ask().map(MessageId::new));
    }
}

/// What became of the wish to forget somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// Messages that were being sent at that moment. Nothing of them was erased.
    pub under_way: usize,
}

impl Store {
    /// Everything that is kept about the person with this contact or card: in one account, or in all.
    pub async fn kept_about(
        &self,
        who: &ContactKey,
        account: Option<&AccountId>,
    ) -> Result<Kept, StoreError> {
        Ok(self.look_for(who, account, Names::default()).await?.1)
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
            let (found, kept) = self.look_for(who, account, names).await?;
            names = found;
            let (who, scope) = (who.clone(), people::scope(account).to_owned());
            let (people, names, account) = (self.0.people.clone(), names.clone(), account.cloned());
            self.write(move |txn| {
                mark(txn, &people, &scope, &who, &names, now)?;
                erase(txn, &kept, now)?;
                forget_contacts(txn, &names, account.as_ref())
            })
            .await?;
        }
        let left = self.look_for(who, account, names).await?.1;
        Ok(Erased { under_way: left.messages.len() })
    }

    async fn look_for(
        &self,
        who: &ContactKey,
        account: Option<&AccountId>,
        known: Names,
    ) -> Result<(Names, Kept), StoreError> {
        let (who, account) = (who.clone(), account.cloned());
        self.scan(move |txn| {
            let names = names_of(txn, &who, account.as_ref(), known)?;
            let kept = kept(txn, &names, account.as_ref())?;
            Ok((names, kept))
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

/// The cards on which somebody stands, and then all that these cards and their works say.
fn names_of(
    txn: &Txn<'_>,
    who: &ContactKey,
    only: Option<&AccountId>,
    known: Names,
) -> Result<Names, StoreError> {
    let mut names = known;
    let is_meant = |client: Option<&EncodedId>, contacts: &[ContactKey]| {
        client.is_some_and(|client| ContactKey::card(client.as_str()) == *who) || contacts.contains(who)
    };
    names.contacts.insert(who.clone());
    for found in decisions(txn, only) {
        let (account, decision) = found?;
        let client = decision.subject.client_id.as_ref();
        if is_meant(client, &decision.subject.contacts()) {
            names.clients.extend(client.cloned().map(|client| (account.clone(), client)));
            names.meet(&account, &decision);
        }
    }
    for found in cards(txn, only) {
        let (account, card) = found?;
        if is_meant(Some(&card.id), &card.contacts()) {
            names.clients.insert((account, card.id));
        }
    }
    for found in decisions(txn, only) {
        let (account, decision) = found?;
        if names.is_client(&account, decision.subject.client_id.as_ref()) {
            names.meet(&account, &decision);
        }
    }
    for found in cards(txn, only) {
        let (account, card) = found?;
        if names.is_client(&account, Some(&card.id)) {
            names.contacts.extend(card.contacts());
        }
    }
    Ok(names)
}

fn kept(txn: &Txn<'_>, names: &Names, only: Option<&AccountId>) -> Result<Kept, StoreError> {
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
    let records = names.clients.iter().chain(&names.jobs).cloned();
    let records = records.chain(names.works.iter().map(|(account, work)| (account.clone(), work.id.clone())));
    for (account, target) in records.collect::<BTreeSet<_>>() {
        let prefix = key::acted_on_of(&account, target.as_str());
        for name in txn.keys(&prefix)? {
            let name = key::action_of(&account, &prefix, &name).ok_or_else(key::broken)?;
            kept.writes.extend(txn.get::<ActionRecord>(&name)?.filter(ActionRecord::is_personal));
        }
    }
    for entry in txn.scan(key::CONTACT) {
        let (name, value) = entry?;
        let contact = key::parse_contact(&name).ok_or_else(key::broken)?;
        let contacted: Contacted = super::codec::decode(&value)?;
        let is_known = kept.asked.contains(&contacted);
        if names.contacts.contains(&contact) && is_in(&contacted.account, only) && !is_known {
            kept.asked.push(contacted);
        }
    }
    for contact in names.keys() {
        for scope in scopes(names, only) {
            kept.suppressions.extend(txn.get::<Suppression>(&key::suppression(&scope, &contact))?);
        }
    }
    Ok(kept)
}

/// Where a suppression of the person can stand.
fn scopes(names: &Names, only: Option<&AccountId>) -> BTreeSet<String> {
    if let Some(only) = only {
        return BTreeSet::from([only.to_string()]);
    }
    let accounts = names.clients.iter().map(|(account, _)| account.to_string());
    accounts.chain([key::EVERYWHERE.to_owned()]).collect()
}

/// Whether a message is about one of the person's works or cards. Jobber's ids are unique in any text.
fn is_about(entry: &OutboxEntry, names: &Names) -> bool {
    let about = (entry.account.clone(), entry.payload.work().clone());
    names.works.contains(&about)
        || names.clients.iter().any(|(account, client)| {
            *account == entry.account && (about.1.id == *client || entry.body.contains(client.as_str()))
        })
}

/// Notes that the person is never asked, instead of what said it before.
fn mark(
    txn: &mut Txn<'_>,
    people: &People,
    scope: &str,
    who: &ContactKey,
    names: &Names,
    now: Timestamp,
) -> Result<(), StoreError> {
    let of = people.hash(scope, who);
    for contact in names.keys() {
        let key = key::forgotten(&people.hash(scope, &contact));
        if txn.get::<Forgotten>(&key)?.is_none() {
            txn.put(&key, &Forgotten { at: now, of: of.clone() });
        }
        txn.remove(&key::suppression(scope, &contact));
    }
    Ok(())
}

fn erase(txn: &mut Txn<'_>, kept: &Kept, now: Timestamp) -> Result<(), StoreError> {
    for entry in &kept.messages {
        forget_entry(txn, &entry.id, now)?;
    }
    for KeptDecision { account, decision } in &kept.decisions {
        erase_decision(txn, account, &key::decision(account, &decision.work))?;
    }
    for KeptDecision { decision, .. } in &kept.decisions {
        if let Some(ask) = decision.ask() {
            erase_record::<Review>(txn, &key::review(&AskId::new(ask)))?;
        }
    }
    for record in &kept.writes {
        erase_record::<ActionRecord>(txn, &key::action(&record.account, &record.key))?;
    }
    for KeptCard { account, card } in &kept.cards {
        txn.remove(&key::card(account, &card.id));
    }
    Ok(())
}

/// When somebody was asked matters no more: they are never asked.
fn forget_contacts(txn: &mut Txn<'_>, names: &Names, only: Option<&AccountId>) -> Result<(), StoreError> {
    for entry in txn.scan(key::CONTACT) {
        let (name, value) = entry?;
        let contact = key::parse_contact(&name).ok_or_else(key::broken)?;
        let contacted: Contacted = super::codec::decode(&value)?;
        if names.contacts.contains(&contact) && is_in(&contacted.account, only) {
            txn.remove(&name);
        }
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
) -> Result<Vec<super::entry::Bytes>, StoreError> {
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
