//! One-time links, pending authorisations, and the commit that connects an account.

use jiff::{SignedDuration, Timestamp};
use subtle::ConstantTimeEq;

use super::accounts::forget_troubles;
use super::tokens::put_pair;
use super::{Store, StoreError, Tokens, key};
use crate::domain::endpoints::Endpoints;
use crate::domain::model::{
    Account, AccountId, Connection, Link, LinkId, LinkState, LostReason, Pending, Trigger, Turn,
};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkRefusal {
    #[error("this link is not known")]
    Unknown,
    #[error("this link has expired")]
    Expired,
    #[error("this link was already used")]
    Used,
    #[error("this link was revoked")]
    Revoked,
    #[error("this link is being used in another browser")]
    Elsewhere,
    #[error("this authorisation was not started here, was completed, or took too long")]
    UnknownState,
    #[error("this authorisation was started in another browser")]
    OtherBrowser,
    #[error("this link is for another Jobber account")]
    OtherAccount { expected: String },
}

/// A pending authorisation that the link's button starts.
#[derive(Debug, Clone)]
pub struct Start {
    /// Hash of the link's secret.
    pub link: String,
    /// Hash of the OAuth state that is sent to Jobber.
    pub state: String,
    /// Hash of the browser's cookie.
    pub browser: String,
    /// The chosen trigger.
    pub trigger: Trigger,
    /// An answer after this is refused.
    pub expires_at: Timestamp,
}

/// A newly authorised account.
#[derive(Debug, Clone)]
pub struct NewConnection {
    /// The pending authorisation.
    pub pending: Pending,
    /// Jobber's id of the account.
    pub account: AccountId,
    /// Its name in Jobber.
    pub name: String,
    /// The first token pair.
    pub tokens: Tokens,
    /// The time by Jobber's clock, if it gave one.
    pub at: Timestamp,
    /// The time by our clock.
    pub now: Timestamp,
}

/// How long a link is held for the browser that pressed its button. Whoever opened it in an app and then in a browser goes on
/// after that.
const HELD: SignedDuration = SignedDuration::from_mins(15);

impl Store {
    /// All links, newest first.
    pub async fn links(&self) -> Result<Vec<Link>, StoreError> {
        let mut links: Vec<Link> = self.scan(|txn| txn.values(key::LINK).collect()).await?;
        links.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.id.cmp(&b.id)));
        Ok(links)
    }

    /// Stores a new link under the hash of its secret.
    pub async fn put_link(&self, hash: &str, link: Link) -> Result<(), StoreError> {
        let key = key::link(hash);
        self.write(move |txn| {
            txn.put(&key, &link);
            Ok(())
        })
        .await
    }

    /// Revokes an unused link.
    pub async fn revoke_link(
        &self,
        id: &LinkId,
        now: Timestamp,
    ) -> Result<Result<Link, LinkRefusal>, StoreError> {
        let id = id.clone();
        self.write(move |txn| {
            for record in txn.records::<Link>(key::LINK).collect::<Vec<_>>() {
                let (key, mut link) = record?;
                if link.id != id {
                    continue;
                }
                if let LinkState::Used { .. } = link.state {
                    return Ok(Err(LinkRefusal::Used));
                }
                link.state = LinkState::Revoked { at: now };
                txn.put(&key, &link);
                return Ok(Ok(link));
            }
            Ok(Err(LinkRefusal::Unknown))
        })
        .await
    }

    /// Forgets the authorisations that were begun and never finished.
    pub async fn forget_pending(&self, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |txn| {
            let mut over = Vec::new();
            for record in txn.records::<Pending>(key::PENDING) {
                let (key, pending) = record?;
                if pending.expires_at <= now {
                    over.push(key);
                }
            }
            for key in &over {
                txn.remove(key);
            }
            Ok(())
        })
        .await
    }

    /// Deletes the links that cannot be used any more. Returns their number.
    pub async fn forget_links(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.write(move |txn| {
            let mut over = Vec::new();
            for record in txn.records::<Link>(key::LINK) {
                let (key, link) = record?;
                let is_ended = matches!(link.state, LinkState::Used { .. } | LinkState::Revoked { .. });
                if is_ended || link.expires_at <= now {
                    over.push(key);
                }
            }
            for key in &over {
                txn.remove(key);
            }
            Ok(over.len())
        })
        .await
    }

    /// The link with this hash, if `browser` may press its button now.
    pub async fn usable_link(
        &self,
        hash: &str,
        browser: &str,
        now: Timestamp,
    ) -> Result<Result<Link, LinkRefusal>, StoreError> {
        Ok(usable(self.link(hash).await?, browser, now))
    }

    /// The link with this hash, whatever became of it.
    pub async fn link(&self, hash: &str) -> Result<Option<Link>, StoreError> {
        self.get(&key::link(hash)).await
    }

    /// The account that this browser connected last, and its link.
    pub async fn connected_by(&self, browser: &str) -> Result<Option<(Account, Link)>, StoreError> {
        let mine = browser.to_owned();
        self.scan(move |txn| {
            let mut last: Option<(Timestamp, AccountId, Link)> = None;
            for link in txn.values::<Link>(key::LINK) {
                let link = link?;
                if let LinkState::Used { by, at, browser: Some(browser) } = &link.state
                    && *browser == mine
                    && last.as_ref().is_none_or(|(latest, ..)| latest < at)
                {
                    last = Some((*at, by.clone(), link));
                }
            }
            let Some((_, id, link)) = last else { return Ok(None) };
            Ok(txn.get::<Account>(&key::account(&id))?.map(|account| (account, link)))
        })
        .await
    }

    /// Handles the button: reserves the link for this browser and stores the pending authorisation. Of two at
    /// once the first wins.
    pub async fn start_link(
        &self,
        start: Start,
        now: Timestamp,
    ) -> Result<Result<(), LinkRefusal>, StoreError> {
        self.write(move |txn| {
            let link_key = key::link(&start.link);
            let mut link = match usable(txn.get(&link_key)?, &start.browser, now) {
                Ok(link) => link,
                Err(refusal) => return Ok(Err(refusal)),
            };
            link.state = LinkState::Started { browser: start.browser.clone(), at: Some(now) };
            txn.put(&link_key, &link);
            let Start { link, state, browser, trigger, expires_at } = start.clone();
            txn.put(&key::pending(&state), &Pending { link, browser, trigger, expires_at });
            Ok(Ok(()))
        })
        .await
    }

    /// Takes the pending authorisation of a state, once. An attempt by another browser does not use it up.
    pub async fn take_pending(
        &self,
        state: &str,
        browser: &str,
        now: Timestamp,
    ) -> Result<Result<Pending, LinkRefusal>, StoreError> {
        let (key, browser) = (key::pending(state), browser.to_owned());
        self.write(move |txn| {
            let Some(pending) = txn.get::<Pending>(&key)? else {
                return Ok(Err(LinkRefusal::UnknownState));
            };
            if !bool::from(pending.browser.as_bytes().ct_eq(browser.as_bytes())) {
                return Ok(Err(LinkRefusal::OtherBrowser));
            }
            txn.remove(&key);
            if pending.expires_at <= now {
                return Ok(Err(LinkRefusal::UnknownState));
            }
            Ok(open(txn.get(&key::link(&pending.link))?, now).map(|_| pending))
        })
        .await
    }

    /// Connects or reconnects an account: account, tokens and used link in one commit. A known account keeps
    /// everything. After a change of trigger only newer work is asked about.
    pub async fn connect(&self, new: NewConnection) -> Result<Result<Account, LinkRefusal>, StoreError> {
        let sealed = self.0.sealer.seal(&new.account, &new.tokens)?;
        self.write(move |txn| {
            let link_key = key::link(&new.pending.link);
            let mut link = match open(txn.get(&link_key)?, new.now) {
                Ok(link) => link,
                Err(refusal) => return Ok(Err(refusal)),
            };
            if let Some(pinned) = &link.account
                && *pinned != new.account
            {
                let expected = txn.get::<Account>(&key::account(pinned))?.map(|account| account.name);
                return Ok(Err(LinkRefusal::OtherAccount {
                    expected: expected.unwrap_or_else(|| link.label.clone()),
                }));
            }
            let trigger = new.pending.trigger;
            let account = match txn.get::<Account>(&key::account(&new.account))? {
                Some(known) => {
                    if known.trigger != trigger {
                        // Another kind of work has a pace of its own.
                        txn.remove(&key::pace(&new.account));
                    }
                    // After a deliberate disconnect the account starts from scratch.
                    let goes_on = !matches!(known.connection, Connection::Disconnected { .. });
                    // The new authorisation may have scopes that the old one lacked.
                    txn.remove(&key::asked(&new.account));
                    // The endpoints ended with an authorisation that was revoked in Jobber.
                    let ended = matches!(
                        known.connection,
                        Connection::NeedsAuthorization { reason: LostReason::DisconnectedInJobber, .. }
                    );
                    if ended {
                        let mut endpoints: Endpoints = txn.get(&key::endpoints())?.unwrap_or_default();
                        endpoints.forget_those_of(&new.account);
                        txn.put(&key::endpoints(), &endpoints);
                    }
                    let mut known = known;
                    known.note(Turn::Connected, new.now);
                    Account {
                        paused_at: known.paused_at.filter(|_| goes_on),
                        name: new.name.clone(),
                        connection: Connection::Connected,
                        asks_from: if goes_on && known.trigger == trigger { known.asks_from } else { new.at },
                        trigger,
                        // Another user may have authorised: the next sweep covers the whole window and reads
                        // the time zone.
                        reconciled_at: None,
                        ..known
                    }
                }
                None => {
                    Account::new(new.account.clone(), new.name.clone(), link.label.clone(), trigger, new.at)
                }
            };
            let account = Account { brand: link.brand.clone().or(account.brand), ..account };
            link.state = LinkState::Used {
                by: new.account.clone(),
                at: new.now,
                browser: Some(new.pending.browser.clone()),
            };
            txn.put(&link_key, &link);
            txn.put(&key::account(&new.account), &account);
            put_pair(txn, &new.account, sealed.clone());
            forget_troubles(txn, &new.account)?;
            Ok(Ok(account))
        })
        .await
    }
}

/// The link, if it can still connect an account. Of two browsers the first that comes back from Jobber has it.
fn open(link: Option<Link>, now: Timestamp) -> Result<Link, LinkRefusal> {
    let link = link.ok_or(LinkRefusal::Unknown)?;
    match &link.state {
        LinkState::Used { .. } => Err(LinkRefusal::Used),
        LinkState::Revoked { .. } => Err(LinkRefusal::Revoked),
        _ if link.expires_at <= now => Err(LinkRefusal::Expired),
        LinkState::Open | LinkState::Started { .. } => Ok(link),
    }
}

/// The link, if this browser may press its button.
fn usable(link: Option<Link>, browser: &str, now: Timestamp) -> Result<Link, LinkRefusal> {
    let link = open(link, now)?;
    match &link.state {
        LinkState::Started { browser: first, at } if first != browser && is_held(*at, now) => {
            Err(LinkRefusal::Elsewhere)
        }
        _ => Ok(link),
    }
}

/// Whether the button was pressed so lately that nobody else may press it.
fn is_held(pressed_at: Option<Timestamp>, now: Timestamp) -> bool {
    pressed_at.is_some_and(|at| now.duration_since(at).abs() < HELD)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixture, at, id};
    use super::*;

    #[tokio::test]
    async fn what_was_begun_and_never_finished_is_forgotten_when_it_is_over() {
        let fixture = Fixture::empty();
        fixture.link("hash", None).await;
        fixture.store.start_link(Fixture::start("hash", "state", "browser"), at(1)).await.unwrap().unwrap();
        let pending = || fixture.store.read(|txn| txn.keys(key::PENDING));
        fixture.store.forget_pending(at(14)).await.unwrap();
        assert_eq!(pending().await.unwrap().len(), 1);
        fixture.store.forget_pending(at(15)).await.unwrap();
        assert_eq!(pending().await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn a_link_connects_once() {
        let fixture = Fixture::connected().await;
        let refused = fixture.connect("hash", "state2", AccountId::new("other"), Trigger::JobCompleted).await;
        assert_eq!(refused, Err(LinkRefusal::Used));
        assert_eq!(fixture.store.accounts().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn of_two_browsers_at_once_the_first_has_the_link() {
        let fixture = Fixture::empty();
        fixture.link("hash", None).await;
        let store = &fixture.store;
        let (one, two) = tokio::join!(
            store.start_link(Fixture::start("hash", "s1", "b1"), at(0)),
            store.start_link(Fixture::start("hash", "s2", "b2"), at(0)),
        );
        let outcomes = [one.unwrap(), two.unwrap()];
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert!(outcomes.contains(&Err(LinkRefusal::Elsewhere)));
        // The first may press again, after a denial say.
        let winner = if outcomes[0].is_ok() { "b1" } else { "b2" };
        assert_eq!(store.start_link(Fixture::start("hash", "s3", winner), at(0)).await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn a_link_that_ran_out_or_was_revoked_starts_nothing() {
        let fixture = Fixture::empty();
        fixture.link("hash", None).await;
        let store = &fixture.store;
        let start = |link: &str| store.start_link(Fixture::start(link, "s", "b"), at(60));
        assert_eq!(start("hash").await.unwrap(), Err(LinkRefusal::Expired));
        assert_eq!(start("nonsense").await.unwrap(), Err(LinkRefusal::Unknown));
        store.revoke_link(&LinkId::new("lnk_hash"), at(1)).await.unwrap().unwrap();
        assert_eq!(start("hash").await.unwrap(), Err(LinkRefusal::Revoked));
        let unknown = store.revoke_link(&LinkId::new("lnk_nonsense"), at(1)).await.unwrap();
        assert_eq!(unknown, Err(LinkRefusal::Unknown));
    }

    #[tokio::test]
    async fn a_state_counts_once_and_for_its_own_browser() {
        let fixture = Fixture::empty();
        fixture.link("hash", None).await;
        let store = &fixture.store;
        store.start_link(Fixture::start("hash", "s", "b"), at(0)).await.unwrap().unwrap();
        assert_eq!(store.take_pending("forged", "b", at(1)).await.unwrap(), Err(LinkRefusal::UnknownState));
        assert_eq!(store.take_pending("s", "thief", at(1)).await.unwrap(), Err(LinkRefusal::OtherBrowser));
        assert!(store.take_pending("s", "b", at(1)).await.unwrap().is_ok());
        assert_eq!(store.take_pending("s", "b", at(1)).await.unwrap(), Err(LinkRefusal::UnknownState));

        store.start_link(Fixture::start("hash", "late", "b"), at(0)).await.unwrap().unwrap();
        assert_eq!(store.take_pending("late", "b", at(15)).await.unwrap(), Err(LinkRefusal::UnknownState));
    }

    #[tokio::test]
    async fn a_link_for_a_known_account_refuses_another_one() {
        let fixture = Fixture::connected().await;
        fixture.link("mend", Some(id())).await;
        let refused = fixture.connect("mend", "s2", AccountId::new("other"), Trigger::JobCompleted).await;
        assert_eq!(refused, Err(LinkRefusal::OtherAccount { expected: "Ace Plumbing".into() }));
        assert_eq!(fixture.store.tokens(&AccountId::new("other")).await.unwrap().map(|_| ()), None);
    }
}
