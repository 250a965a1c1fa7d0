//! Encrypts tokens with XChaCha20-Poly1305 under a key that is not in the store. The account's id is
//! authenticated, so a sealed value copied to another account does not open.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::StoreError;
use crate::domain::model::AccountId;
use crate::store_key::StoreKey;

const VERSION: u8 = 1;
const NONCE: usize = 24;
const KEY_CHECK: &[u8] = b"jobber-reviewd store key";

/// An account's token pair.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The access token.
    pub access: SecretString,
    /// The refresh token. It can be used once.
    pub refresh: SecretString,
    /// When the access token expires, by Jobber's clock.
    pub expires_at: Timestamp,
    /// When the pair arrived, by our clock.
    pub obtained_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Plain<'a> {
    access: std::borrow::Cow<'a, str>,
    refresh: std::borrow::Cow<'a, str>,
    expires_at: Timestamp,
    obtained_at: Timestamp,
}

#[derive(Clone)]
pub(super) struct Sealer(XChaCha20Poly1305);

impl Sealer {
    pub(super) fn new(key: &StoreKey) -> Self {
        Self(XChaCha20Poly1305::new(Key::from_slice(key.bytes())))
    }

    pub(super) fn key_check(&self) -> Vec<u8> {
        self.seal_bytes(b"", KEY_CHECK).unwrap_or_default()
    }

    pub(super) fn fits(&self, key_check: &[u8]) -> bool {
        self.open_bytes(b"", key_check).is_some_and(|plain| *plain == KEY_CHECK)
    }

    pub(super) fn seal(&self, account: &AccountId, tokens: &Tokens) -> Result<Vec<u8>, StoreError> {
        let plain = Plain {
            access: tokens.access.expose_secret().into(),
            refresh: tokens.refresh.expose_secret().into(),
            expires_at: tokens.expires_at,
            obtained_at: tokens.obtained_at,
        };
        serde_json::to_vec(&plain)
            .ok()
            .map(Zeroizing::new)
            .and_then(|plain| self.seal_bytes(account.as_str().as_bytes(), &plain))
            .ok_or_else(|| StoreError::Unsealed("a pair of tokens"))
    }

    pub(super) fn open(&self, account: &AccountId, sealed: &[u8]) -> Result<Tokens, StoreError> {
        let corrupt =
            || StoreError::Corrupt { family: "token pair", detail: "the seal does not open".to_owned() };
        let plain = self.open_bytes(account.as_str().as_bytes(), sealed).ok_or_else(corrupt)?;
        let plain: Plain<'_> = serde_json::from_slice(&plain).map_err(|_| corrupt())?;
        Ok(Tokens {
            access: SecretString::from(plain.access.into_owned()),
            refresh: SecretString::from(plain.refresh.into_owned()),
            expires_at: plain.expires_at,
            obtained_at: plain.obtained_at,
        })
    }

    pub(super) fn seal_secret(
        &self,
        account: &AccountId,
        secret: &SecretString,
    ) -> Result<Vec<u8>, StoreError> {
        self.seal_bytes(&of_secret(account), secret.expose_secret().as_bytes())
            .ok_or_else(|| StoreError::Unsealed("a secret"))
    }

    pub(super) fn open_secret(&self, account: &AccountId, sealed: &[u8]) -> Result<SecretString, StoreError> {
        let corrupt =
            || StoreError::Corrupt { family: "webhook secret", detail: "the seal does not open".to_owned() };
        let plain = self.open_bytes(&of_secret(account), sealed).ok_or_else(corrupt)?;
        Ok(SecretString::from(std::str::from_utf8(&plain).map_err(|_| corrupt())?.to_owned()))
    }

    pub(super) fn seal_bytes(&self, bound: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).ok()?;
        let sealed = self.0.encrypt(XNonce::from_slice(&nonce), Payload { msg: plain, aad: bound }).ok()?;
        Some([&[VERSION][..], &nonce, &sealed].concat())
    }

    pub(super) fn open_bytes(&self, bound: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (version, rest) = sealed.split_first()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        if *version != VERSION {
            return None;
        }
        let plain = self.0.decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: bound }).ok()?;
        Some(Zeroizing::new(plain))
    }
}

/// The authenticated data of a sealed secret. It differs from that of a sealed pair.
fn of_secret(account: &AccountId) -> Vec<u8> {
    [b"webhook secret\0", account.as_str().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn key(byte: u8) -> StoreKey {
        StoreKey::parse(&STANDARD.encode([byte; 32]).into()).unwrap()
    }

    fn tokens() -> Tokens {
        Tokens {
            access: "acc".into(),
            refresh: "ref".into(),
            expires_at: Timestamp::UNIX_EPOCH,
            obtained_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn tokens_open_for_their_account_and_key_only() {
        let sealer = Sealer::new(&key(1));
        let (one, other) = (AccountId::new("1"), AccountId::new("2"));
        let sealed = sealer.seal(&one, &tokens()).unwrap();
        assert_eq!(sealer.open(&one, &sealed).unwrap().refresh.expose_secret(), "ref");
        assert!(sealer.open(&other, &sealed).is_err());
        assert!(Sealer::new(&key(2)).open(&one, &sealed).is_err());
        assert!(!sealed.windows(3).any(|window| window == b"ref"));
        for end in 0..sealed.len() {
            assert!(sealer.open(&one, &sealed[..end]).is_err());
        }
    }

    #[test]
    fn a_secret_opens_for_its_account_and_is_no_pair() {
        let sealer = Sealer::new(&key(1));
        let (one, other) = (AccountId::new("1"), AccountId::new("2"));
        let sealed = sealer.seal_secret(&one, &"whsec_abc".into()).unwrap();
        assert_eq!(sealer.open_secret(&one, &sealed).unwrap().expose_secret(), "whsec_abc");
        assert!(sealer.open_secret(&other, &sealed).is_err());
        assert!(sealer.open(&one, &sealed).is_err());
    }

    #[test]
    fn the_same_tokens_never_look_the_same() {
        let sealer = Sealer::new(&key(1));
        let id = AccountId::new("1");
        assert_ne!(sealer.seal(&id, &tokens()).unwrap(), sealer.seal(&id, &tokens()).unwrap());
    }

    #[test]
    fn a_sealed_value_of_an_earlier_version_still_opens() {
        let sealed = STANDARD.decode(SAMPLE).unwrap();
        let tokens = Sealer::new(&key(7)).open(&AccountId::new("Z2lk"), &sealed).unwrap();
        assert_eq!(tokens.access.expose_secret(), "acc");
        assert_eq!(tokens.expires_at, Timestamp::UNIX_EPOCH);
    }

    const SAMPLE: &str = "AZkGcE9G6yPyAQ9zROyou3Dwsc43NPpGvIlRZRzjayiEOdWw7QWO+fT7xzf1dDQF+EpVYP/emJioKkLEA2SPBtGJHQdKeLq6Qp0ZrvzsoWnYNslLhzHEA5KqVdbvFfEIUqlXMIkSsoQWjRm2k4NulJFiMN4z8INsJ7PV9xs4RvoiA8ae59rbDg5mWAiJy9ClM78=";
}
