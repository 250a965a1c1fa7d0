//! Receives review requests. Crates: `axum`, `serde_json`, `standardwebhooks`, `tempfile`, `tokio`.
//! `WEBHOOK_SECRET=whsec_… cargo run --example receiver`
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to whoever started it")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use standardwebhooks::Webhook;

/// Stores a message under its id, whole or not at all. Returns whether it is new.
fn store(folder: &Path, id: &str, body: &[u8]) -> std::io::Result<bool> {
    let mut part = tempfile::NamedTempFile::new_in(folder)?;
    part.write_all(body)?;
    part.as_file().sync_all()?;
    match part.persist_noclobber(folder.join(format!("{id}.json"))) {
        Ok(_) => std::fs::File::open(folder)?.sync_all().map(|()| true),
        Err(taken) if taken.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(failed) => Err(failed.error),
    }
}

fn receive(webhook: &Webhook, folder: &Path, headers: &HeaderMap, body: &[u8]) -> StatusCode {
    if webhook.verify(body, headers).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    let id = headers["webhook-id"].to_str().unwrap_or_default();
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
        return StatusCode::BAD_REQUEST;
    }
    if serde_json::from_slice(body).is_ok_and(|message: serde_json::Value| message["type"] == "ping") {
        return StatusCode::NO_CONTENT;
    }
    // Write to the customer later, from what is stored: never before the answer, and never for a `review.test`.
    match store(folder, id, body) {
        Ok(true) => StatusCode::CREATED,
        Ok(false) => StatusCode::OK,
        Err(error) => {
            eprintln!("{error}");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::var("ASKS").unwrap_or("asks".to_owned()));
    std::fs::create_dir_all(&folder)?;
    let known = Arc::new((Webhook::new(&std::env::var("WEBHOOK_SECRET")?)?, folder));
    let take = |State(known): State<Arc<(Webhook, PathBuf)>>, headers: HeaderMap, body: Bytes| async move {
        receive(&known.0, &known.1, &headers, &body)
    };
    let address = format!("127.0.0.1:{}", std::env::var("PORT").unwrap_or("8080".to_owned()));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?.port());
    Ok(axum::serve(listener, Router::new().route("/", post(take)).with_state(known)).await?)
}
