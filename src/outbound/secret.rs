//! The secret that signs requests to a receiver (Standard Webhooks).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::Sha256;

use crate::domain::model::MessageId;

/// The key that signs messages.
#[derive(Clone)]
pub struct WebhookSecret(Arc<SecretBox<Vec<u8>>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it must be `whsec_` and 24 to 64 bytes in base64: make one with `echo whsec_$(openssl rand -base64 32)`"
)]
pub struct WebhookSecretError;

impl WebhookSecret {
    /// Parses `whsec_…`.
    pub fn parse(text: &SecretString) -> Result<Self, WebhookSecretError> {
        let encoded = text.expose_secret().trim().strip_prefix("whsec_").ok_or(WebhookSecretError)?;
        match STANDARD.decode(encoded) {
            Ok(bytes) if (24..=64).contains(&bytes.len()) => {
                Ok(Self(Arc::new(SecretBox::new(Box::new(bytes)))))
            }
            _ => Err(WebhookSecretError),
        }
    }

    /// Uses exactly these bytes as the key.
    pub fn of(text: &SecretString) -> Self {
        Self(Arc::new(SecretBox::new(Box::new(text.expose_secret().as_bytes().to_vec()))))
    }

    /// The `webhook-signature` of a message: HMAC-SHA256 over id, time in seconds and body.
    pub fn sign(&self, id: &MessageId, at: Timestamp, body: &str) -> String {
        // HMAC accepts a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.expose_secret()) else {
            return String::new();
        };
        mac.update(format!("{id}.{}.{body}", at.as_second()).as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_the_standards_own_library_verifies() {
        let text = format!("whsec_{}", STANDARD.encode([7; 32]));
        let secret = WebhookSecret::parse(&text.clone().into()).unwrap();
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let theirs = standardwebhooks::Webhook::new(&text).unwrap();
        let signature = secret.sign(&MessageId::new("ask_1"), now, "{\"a\":1}");
        assert_eq!(signature, theirs.sign("ask_1", now.as_second(), b"{\"a\":1}").unwrap());
    }

    #[test]
    fn a_secret_has_its_prefix_and_length_and_is_never_shown() {
        for text in ["", "whsec_", "whsec_c2hvcnQ=", &STANDARD.encode([7; 32]), "whsec_not base64"] {
            assert!(WebhookSecret::parse(&text.to_owned().into()).is_err(), "{text}");
        }
        let long = format!("whsec_{}", STANDARD.encode([7; 65]));
        assert!(WebhookSecret::parse(&long.into()).is_err());
        let good = format!("whsec_{}\n", STANDARD.encode([7; 24]));
        assert_eq!(format!("{:?}", WebhookSecret::parse(&good.into()).unwrap()), "WebhookSecret(…)");
    }
}
