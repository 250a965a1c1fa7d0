//! How a contractor connects: a one-time link, Jobber's consent page, and the callback.
//!
//! A link has a secret of 256 bits; the store has only its hash. Opening the link changes nothing, because
//! link previews and mail scanners open links. Its button reserves the link for the browser that pressed it,
//! and sends that browser to Jobber with a `state`, also 256 bits and stored as a hash. The state is accepted
//! once and only in the same browser. After a denial or an interruption the same browser can press the button
//! again.
//!
//! # Crash points
//!
//! - *Before the exchange*: nothing was stored, the button works again.
//! - *Between exchange and commit*: Jobber has issued a pair that is lost. The link is still reserved for its
//!   browser, and pressing the button again gets another pair.
//! - *After the commit*: account, tokens and used link are stored together.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use crate::accounts::tokens::{TokenError, TokenSource};
use crate::clock::{SharedClock, plus};
use crate::crash_point::CrashPoint;
use crate::digest;
use crate::domain::model::{Account, AccountId, Link, LinkBrand, LinkId, LinkState, Trigger};
use crate::jobber::operations::WhoAmI;
use crate::jobber::{ApiError, Client};
use crate::store::{LinkRefusal, NewConnection, Start, Store, StoreError};

const CONSENT: SignedDuration = SignedDuration::from_mins(60);

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Refused(#[from] LinkRefusal),
    #[error(transparent)]
    Token(TokenError),
    #[error(transparent)]
    Api(ApiError),
    #[error(transparent)]
    Random(#[from] NoRandomness),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes: {0}")]
pub struct NoRandomness(getrandom::Error);

/// The properties of a new link.
#[derive(Debug, Clone)]
pub struct NewLink {
    /// The operator's name for the account.
    pub label: String,
    /// The trigger that the page proposes.
    pub trigger: Trigger,
    /// Set for a reconnect of a known account.
    pub account: Option<AccountId>,
    /// How long it is valid.
    pub lives: SignedDuration,
    /// Who its pages speak for, where it is not whoever runs this.
    pub brand: Option<LinkBrand>,
}

#[derive(Debug)]
pub struct Onboarding {
    store: Store,
    tokens: TokenSource,
    client: Client,
    clock: SharedClock,
    public_url: Url,
}

impl Onboarding {
    pub fn new(
        store: Store,
        tokens: TokenSource,
        client: Client,
        clock: SharedClock,
        public_url: Url,
    ) -> Self {
        Self { store, tokens, client, clock, public_url }
    }

    pub async fn create_link(&self, new: NewLink) -> Result<(Link, SecretString), ConnectError> {
        let now = self.clock.now();
        let secret = random()?;
        let id: String = hash(random()?.expose_secret()).chars().take(10).collect();
        let known = match &new.account {
            Some(id) => self.store.account(id).await?,
            None => None,
        };
        let link = Link {
            id: LinkId::new(format!("lnk_{id}")),
            label: new.label,
            trigger: new.trigger,
            account: new.account,
            brand: new.brand.or_else(|| known?.brand),
            created_at: now,
            expires_at: plus(now, new.lives),
            state: LinkState::Open,
        };
        self.store.put_link(&hash(secret.expose_secret()), link.clone()).await?;
        let url = format!("{}connect/{}", self.public_url, secret.expose_secret());
        Ok((link, url.into()))
    }

    /// The link with this `token`, if `browser` may press its button now.
    pub async fn look_up(
        &self,
        token: &SecretString,
        browser: Option<&SecretString>,
    ) -> Result<Result<Link, LinkRefusal>, StoreError> {
        let browser = browser.map(|browser| hash(browser.expose_secret())).unwrap_or_default();
        self.store.usable_link(&hash(token.expose_secret()), &browser, self.clock.now()).await
    }

    /// The link with this `token`, even if it can no longer be used.
    pub async fn link(&self, token: &SecretString) -> Result<Option<Link>, StoreError> {
        self.store.link(&hash(token.expose_secret())).await
    }

    /// The account that this browser connected last, and its link.
    pub async fn connected_by(&self, browser: &SecretString) -> Result<Option<(Account, Link)>, StoreError> {
        self.store.connected_by(&hash(browser.expose_secret())).await
    }

    /// Handles the button: reserves the link for `browser` and returns Jobber's consent page.
    pub async fn begin(
        &self,
        token: &SecretString,
        browser: &SecretString,
        trigger: Trigger,
    ) -> Result<Url, ConnectError> {
        let now = self.clock.now();
        let state = random()?;
        let start = Start {
            link: hash(token.expose_secret()),
            state: hash(state.expose_secret()),
            browser: hash(browser.expose_secret()),
            trigger,
            expires_at: plus(now, CONSENT),
        };
        self.store.start_link(start, now).await??;
        Ok(self.tokens.authorize_url(&state))
    }

    /// Handles the callback: takes the state, exchanges the code for tokens, reads their account, stores it
    /// all.
    pub async fn finish(
        &self,
        state: &SecretString,
        code: &SecretString,
        browser: &SecretString,
    ) -> Result<Account, ConnectError> {
        let (state, browser) = (hash(state.expose_secret()), hash(browser.expose_secret()));
        let pending = self.store.take_pending(&state, &browser, self.clock.now()).await??;
        CrashPoint::ConnectTaken.pass();
        let tokens = self.tokens.exchange(code).await.map_err(ConnectError::Token)?;
        CrashPoint::ConnectExchanged.pass();
        let answer = self.client.run(&tokens.access, &WhoAmI).await.map_err(ConnectError::Api)?;
        let now = self.clock.now();
        let new = NewConnection {
            pending,
            account: answer.data.id,
            name: answer.data.name,
            tokens,
            // Jobber's clock, because it is compared with Jobber's instants.
            at: answer.date.unwrap_or(now),
            now,
        };
        let account = self.store.connect(new).await??;
        CrashPoint::ConnectStored.pass();
        tracing::info!(account.id = %account.id, trigger = %account.trigger, "connected");
        Ok(account)
    }
}

/// 256 random bits, safe in URLs.
pub fn random() -> Result<SecretString, NoRandomness> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).into())
}

fn hash(secret: &str) -> String {
    digest::of(&[secret])
}
