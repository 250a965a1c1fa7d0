//! Jobber, as far as it sends events.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use serde_json::json;
use sha2::Sha256;

#[derive(Clone)]
pub(crate) struct Events {
    client: reqwest::Client,
    url: String,
    topic: &'static str,
}

impl Events {
    pub(crate) fn new(port: u16, topic: &'static str) -> Self {
        // reqwest has no TLS provider of its own. A second call changes nothing.
        let _already = rustls::crypto::ring::default_provider().install_default();
        let url = format!("http://127.0.0.1:{port}/webhooks/jobber");
        Self { client: reqwest::Client::new(), url, topic }
    }

    /// Tells of a record; milliseconds until the answer.
    pub(crate) async fn send(&self, account: usize, record: &str) -> f64 {
        let body = json!({"data": {"webHookEvent": {"topic": self.topic, "appId": "bench",
            "accountId": crate::account(account), "itemId": Self::item(record), "occurredAt": "2026-03-10T12:00:00Z"}}})
        .to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(b"secret").unwrap();
        mac.update(body.as_bytes());
        let proof = STANDARD.encode(mac.finalize().into_bytes());
        let begun = Instant::now();
        let sent = self.client.post(&self.url).header("x-jobber-hmac-sha256", proof).body(body).send().await;
        assert_eq!(sent.unwrap().status(), 200);
        begun.elapsed().as_secs_f64() * 1000.0
    }

    pub(crate) fn item(record: &str) -> String {
        STANDARD.encode(format!("gid://Jobber/Job/{record}"))
    }
}
