//! One attempt at a receiver's webhook: sign, post, classify the answer (Standard Webhooks).
//!
//! Only the status counts. The body is drained so that the connection can be reused, but never evaluated.
//! Redirects are not followed, because a signed request is for one address.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};

use super::error::describe;
use super::secret::WebhookSecret;
use crate::domain::model::MessageId;
use crate::domain::retry::{self, Reply};

/// Limit for the whole request, from connecting to the end of the answer. A lease is longer.
pub const TIMEOUT: Duration = Duration::from_secs(15);

const DRAINED_AT_MOST: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempted {
    pub reply: Reply,
    /// A short description for people, without payload or address.
    pub note: String,
}

#[derive(Debug, Clone)]
pub struct Sender {
    http: reqwest::Client,
    timeout: Duration,
}

impl Sender {
    /// `http` must not follow redirects. An attempt takes at most `timeout`.
    pub fn new(http: reqwest::Client, timeout: Duration) -> Self {
        Self { http, timeout }
    }

    /// Posts JSON.
    pub async fn post(
        &self,
        url: &Url,
        secret: &WebhookSecret,
        id: &MessageId,
        body: &str,
        now: Timestamp,
    ) -> Attempted {
        self.post_as("application/json", url, secret, id, body, now, None).await
    }

    /// Posts a body of any type, as part of a trace if there is one.
    #[expect(clippy::too_many_arguments, reason = "each is a part of one request")]
    pub async fn post_as(
        &self,
        content_type: &'static str,
        url: &Url,
        secret: &WebhookSecret,
        id: &MessageId,
        body: &str,
        now: Timestamp,
        traceparent: Option<&str>,
    ) -> Attempted {
        let mut request = self
            .http
            .post(url.clone())
            .timeout(self.timeout)
            .header(CONTENT_TYPE, content_type)
            .header("webhook-id", id.as_str())
            .header("webhook-timestamp", now.as_second())
            .header("webhook-signature", secret.sign(id, now, body))
            .header("idempotency-key", id.as_str())
            .body(body.to_owned());
        if let Some(traceparent) = traceparent {
            request = request.header("traceparent", traceparent);
        }
        match request.send().await {
            Ok(mut response) => {
                let status = response.status().as_u16();
                let retry_after = response
                    .headers()
                    .get(RETRY_AFTER)
                    .and_then(|value| value.to_str().ok())
                    .and_then(|value| retry::retry_after(value, now));
                drain(&mut response).await;
                Attempted { reply: Reply::from_status(status, retry_after), note: format!("HTTP {status}") }
            }
            Err(error) => Attempted {
                reply: Reply::Failed { status: None, retry_after: None },
                note: describe(&error).to_owned(),
            },
        }
    }
}

/// Drains an answer so that its connection can be reused. A long or broken answer is dropped, because the
/// status is already known.
async fn drain(response: &mut reqwest::Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > DRAINED_AT_MOST {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// What a test receiver does with a connection after it has read a request.
    type Habit = fn(tokio::net::TcpStream) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

    async fn attempt_at(habit: Habit, scheme: &str) -> Attempted {
        let _already = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}://{}/hook", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The request is small enough to arrive in one piece.
            tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 4096]).await.unwrap();
            habit(stream).await;
        });
        let secret = WebhookSecret::parse(&format!("whsec_{}", STANDARD.encode([7; 32])).into()).unwrap();
        let sender = Sender::new(reqwest::Client::new(), Duration::from_millis(300));
        sender.post(&url, &secret, &MessageId::new("ask_1"), "{}", Timestamp::UNIX_EPOCH).await
    }

    async fn say(stream: &mut tokio::net::TcpStream, text: &str) {
        // The caller may have closed the connection.
        let _gone = tokio::io::AsyncWriteExt::write_all(stream, text.as_bytes()).await;
    }

    #[tokio::test]
    async fn a_receiver_that_misbehaves_is_an_attempt_that_failed_in_time() {
        let failed = |note: &str| Attempted {
            reply: Reply::Failed { status: None, retry_after: None },
            note: note.to_owned(),
        };
        let hangs: Habit = |stream| Box::pin(async { drop((stream, std::future::pending::<()>().await)) });
        assert_eq!(attempt_at(hangs, "http").await, failed("no answer in time"));
        let hangs_in_the_head: Habit = |mut stream| {
            Box::pin(async move {
                say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-").await;
                std::future::pending::<()>().await;
            })
        };
        assert_eq!(attempt_at(hangs_in_the_head, "http").await, failed("no answer in time"));
        let hangs_up: Habit = |stream| Box::pin(async { drop(stream) });
        assert_eq!(attempt_at(hangs_up, "http").await, failed("the connection broke"));
        let speaks_nonsense: Habit =
            |mut stream| Box::pin(async move { say(&mut stream, "220 mail.example.com ESMTP\r\n").await });
        assert_eq!(attempt_at(speaks_nonsense, "http").await, failed("the connection broke"));
        assert_eq!(attempt_at(speaks_nonsense, "https").await, failed("no connection"), "TLS fails");
        let endless_head: Habit = |mut stream| {
            Box::pin(async move {
                say(&mut stream, "HTTP/1.1 200 OK\r\n").await;
                for _ in 0..100_000 {
                    say(
                        &mut stream,
                        "x-filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
                    )
                    .await;
                }
            })
        };
        assert_eq!(attempt_at(endless_head, "http").await, failed("the connection broke"));
    }

    #[tokio::test]
    async fn the_status_counts_however_long_the_rest_takes() {
        let accepted = Attempted { reply: Reply::Accepted { status: 200 }, note: "HTTP 200".to_owned() };
        let huge: Habit = |mut stream| {
            Box::pin(async move {
                say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await;
                for _ in 0..100_000 {
                    say(&mut stream, &"x".repeat(10_000)).await;
                }
            })
        };
        assert_eq!(attempt_at(huge, "http").await, accepted);
        let drips: Habit = |mut stream| {
            Box::pin(async move {
                say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx").await;
                std::future::pending::<()>().await;
            })
        };
        assert_eq!(attempt_at(drips, "http").await, accepted);
    }
}
