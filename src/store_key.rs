//! The key that seals tokens in the store. It is never in the store.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use zeroize::Zeroizing;

/// The key that seals tokens: 32 random bytes.
#[derive(Clone)]
pub struct StoreKey(Arc<SecretBox<[u8; 32]>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it must be 32 random bytes in base64: make one with `openssl rand -base64 32`")]
pub struct StoreKeyError;

impl StoreKey {
    /// Reads a key: 32 bytes in base64, as `openssl rand -base64 32` prints them.
    pub fn parse(text: &SecretString) -> Result<Self, StoreKeyError> {
        let decoded = STANDARD.decode(text.expose_secret().trim()).map_err(|_| StoreKeyError)?;
        let decoded = Zeroizing::new(decoded);
        let bytes: [u8; 32] = decoded.as_slice().try_into().map_err(|_| StoreKeyError)?;
        Ok(Self(Arc::new(SecretBox::new(Box::new(bytes)))))
    }

    /// The bytes, for the cipher.
    pub fn bytes(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}

impl std::fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_in_base64() {
        for text in ["", "c2hvcnQ=", "not base64!", &STANDARD.encode([0; 33])] {
            assert_eq!(StoreKey::parse(&text.to_owned().into()).unwrap_err(), StoreKeyError);
        }
        assert!(StoreKey::parse(&format!("{}\n", STANDARD.encode([0; 32])).into()).is_ok());
        assert_eq!(
            format!("{:?}", StoreKey::parse(&STANDARD.encode([1; 32]).into()).unwrap()),
            "StoreKey(…)"
        );
    }
}
