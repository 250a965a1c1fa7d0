//! How a contractor connects: a one-time link, Jobber's consent page, and back.
//!
//! A link carries a secret of 256 bits; the store knows its hash. Opening the link uses nothing up: link previews
//! and mail scanners open links. Its button reserves it for the browser that pressed it and sends that browser to
//! Jobber with a `state`, again 256 bits and known by its hash. The state comes back once, in the same browser, or
//! it counts for nothing. Whoever denied access, or was cut off, presses the button again in the same browser.
//!
//! # Crash points
//!
//! - *Before the exchange*: nothing was stored; the button works again.
//! - *Between exchange and commit*: Jobber has issued a pair that nobody knows. The link is still reserved for its
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
use crate::domain::model::{Account, AccountId, Link, LinkId, LinkState, Trigger};
use crate::jobber::operations::WhoAmI;
use crate::jobber::{ApiError, Client};
use crate::store::{LinkRefusal, NewConnection, Start, Store, StoreError};

/// How long somebody may take on Jobber's consent page.
const CONSENT: SignedDuration = SignedDuration::from_mins(60);

/// Why nobody was connected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The link or the state does not count.
    #[error(transparent)]
    Refused(#[from] LinkRefusal),
    /// Jobber did not give tokens for the code.
    #[error(transparent)]
    Token(TokenError),
    /// Jobber gave tokens and then did not say whose they are.
    #[error(transparent)]
    Api(ApiError),
    /// No secret could be made.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The system gives no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes: {0}")]
pub struct NoRandomness(getrandom::Error);

/// What a new link is to be.
#[derive(Debug, Clone)]
pub struct NewLink {
    /// Whom it is for.
    pub label: String,
    /// The trigger the page proposes.
    pub trigger: Trigger,
    /// For mending a known account.
    pub account: Option<AccountId>,
    /// How long it can be used.
    pub lives: SignedDuration,
}

/// Makes links and turns them into connections.
#[derive(Debug)]
pub struct Onboarding {
    store: Store,
    tokens: TokenSource,
    client: Client,
    clock: SharedClock,
    public_url: Url,
}

impl Onboarding {
    /// Puts the flow together; links begin with `public_url`.
    pub fn new(
        store: Store,
        tokens: TokenSource,
        client: Client,
        clock: SharedClock,
        public_url: Url,
    ) -> Self {
        Self { store, tokens, client, clock, public_url }
    }

    /// Makes a link. Its address is known from here on to nobody but the caller.
    pub async fn create_link(&self, new: NewLink) -> Result<(Link, SecretString), ConnectError> {
        let now = self.clock.now();
        let secret = random()?;
        let id: String = hash(random()?.expose_secret()).chars().take(10).collect();
        let link = Link {
            id: LinkId::new(format!("lnk_{id}")),
            label: new.label,
            trigger: new.trigger,
            account: new.account,
            created_at: now,
            expires_at: plus(now, new.lives),
            state: LinkState::Open,
        };
        self.store.put_link(&hash(secret.expose_secret()), link.clone()).await?;
        let url = format!("{}connect/{}", self.public_url, secret.expose_secret());
        Ok((link, url.into()))
    }

    /// The link behind `token`, if `browser` may press its button now.
    pub async fn look_up(
        &self,
        token: &SecretString,
        browser: Option<&SecretString>,
    ) -> Result<Result<Link, LinkRefusal>, StoreError> {
        let browser = browser.map(|browser| hash(browser.expose_secret())).unwrap_or_default();
        self.store.usable_link(&hash(token.expose_secret()), &browser, self.clock.now()).await
    }

    /// The button: reserves the link for `browser` and answers where at Jobber the browser goes.
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

    /// The callback: takes the state, buys tokens with the code, asks whose they are, stores it all.
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
            // By Jobber's clock: it is compared with Jobber's instants.
            at: answer.date.unwrap_or(now),
            now,
        };
        let account = self.store.connect(new).await??;
        CrashPoint::ConnectStored.pass();
        tracing::info!(account.id = %account.id, trigger = %account.trigger, "connected");
        Ok(account)
    }
}

/// 256 random bits, fit for an address.
pub fn random() -> Result<SecretString, NoRandomness> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).into())
}

/// What the store knows of a secret.
fn hash(secret: &str) -> String {
    digest::of(&[secret])
}
