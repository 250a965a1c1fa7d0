//! Receives Jobber's webhooks: verify, store, acknowledge.
//!
//! Jobber waits one second, and may stop sending to a slow receiver (`api-behaviour.md` §4). So nothing is
//! read from Jobber here: the follow-up is stored and flushed, and a step carries it out.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::context::Context;
use crate::domain::webhook_event::{Heard, read};
use crate::store::Noted;
use crate::telemetry;

const PROOF: &str = "x-jobber-hmac-sha256";

pub(super) const LARGEST: usize = 64 * 1024;

pub(super) async fn event(
    State(context): State<Arc<Context>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let proof = headers.get(PROOF).and_then(|proof| proof.to_str().ok()).unwrap_or_default();
    if !is_jobbers(&context.event_secret, proof, &body) {
        telemetry::heard("refused");
        return StatusCode::UNAUTHORIZED;
    }
    let event = match read(&body) {
        Heard::Event(event) => event,
        Heard::OtherTopic => {
            telemetry::heard("other_topic");
            return StatusCode::OK;
        }
        // The signature is valid, and sending it again would not help.
        Heard::Nonsense => {
            telemetry::heard("nonsense");
            return StatusCode::OK;
        }
    };
    let uses = context.settings.uses_of(event.topic);
    match context.store.note_event(event, uses, context.clock.now()).await {
        Ok(noted) => {
            telemetry::heard(match noted {
                Noted::New => "new",
                Noted::Known => "known",
                Noted::Swept => "swept",
                Noted::Forwarded => "forwarded",
                Noted::Unknown => "unknown",
            });
            if noted != Noted::Unknown {
                context.bells.inbox.notify_one();
            }
            context.bells.rules.notify_one();
            StatusCode::OK
        }
        Err(error) => {
            tracing::error!(%error, "an event could not be stored");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// Checks the HMAC-SHA256 of the raw body with the app's client secret, in constant time.
fn is_jobbers(secret: &SecretString, proof: &str, body: &[u8]) -> bool {
    let Ok(proof) = STANDARD.decode(proof.trim()) else { return false };
    // HMAC accepts a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else { return false };
    mac.update(body);
    mac.verify_slice(&proof).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_secret_over_the_very_bytes_is_a_proof() {
        let secret = SecretString::from("secret".to_owned());
        let mut mac = Hmac::<Sha256>::new_from_slice(b"secret").unwrap();
        mac.update(b"{}");
        let right = STANDARD.encode(mac.finalize().into_bytes());
        assert!(is_jobbers(&secret, &right, b"{}"));
        assert!(!is_jobbers(&secret, &right, b"{} "));
        assert!(!is_jobbers(&SecretString::from("other".to_owned()), &right, b"{}"));
        for wrong in ["", "not base64!", &right[..20], &STANDARD.encode([0; 32])] {
            assert!(!is_jobbers(&secret, wrong, b"{}"), "{wrong}");
        }
    }
}
