//! Jobber's webhooks (`api-behaviour.md` §4): sent for every change of a record, no matter who made it.
//!
//! Changes are found by comparing an account before and after, but only if there is a receiver. Requests are
//! sent one after the other, signed with the app's client secret. Switches duplicate, delay, reorder, hold back, lose and
//! corrupt them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::app::CLIENT_SECRET;
use super::time::instant;
use super::world::{Data, Kind, Outgoing, Row, World, encode_id};

/// How long Jobber waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs `act` and sends webhooks about its changes in `account`.
pub(super) fn watched<T>(world: &mut World, account: u64, act: impl FnOnce(&mut World) -> T) -> T {
    let before = if listens(world, account) {
        world.accounts.get(&account).map(|account| Arc::clone(&account.data))
    } else {
        None
    };
    let outcome = act(world);
    let after = world.accounts.get(&account).map(|account| Arc::clone(&account.data));
    if let (Some(before), Some(after)) = (before, after) {
        for (topic, item) in differences(&before, &after) {
            emit(world, account, topic, &item);
        }
    }
    outcome
}

fn listens(world: &World, account: u64) -> bool {
    world.app_webhooks.is_some() || !world.endpoints_of(account).is_empty()
}

/// The topics and ids that Jobber would send. The close of a job comes before its update.
fn differences(before: &Data, after: &Data) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for (kind, made, changed, removed) in [
        (Kind::Client, "CLIENT_CREATE", "CLIENT_UPDATE", "CLIENT_DESTROY"),
        (Kind::Job, "JOB_CREATE", "JOB_UPDATE", "JOB_DESTROY"),
        (Kind::Visit, "VISIT_CREATE", "VISIT_UPDATE", "VISIT_DESTROY"),
        (Kind::Invoice, "INVOICE_CREATE", "INVOICE_UPDATE", "INVOICE_DESTROY"),
        (Kind::Property, "PROPERTY_CREATE", "PROPERTY_UPDATE", "PROPERTY_DESTROY"),
        (Kind::Quote, "QUOTE_CREATE", "QUOTE_UPDATE", "QUOTE_DESTROY"),
        (Kind::Request, "REQUEST_CREATE", "REQUEST_UPDATE", "REQUEST_DESTROY"),
        (Kind::Expense, "EXPENSE_CREATE", "EXPENSE_UPDATE", "EXPENSE_DESTROY"),
    ] {
        for (number, row) in after.table(kind) {
            let id = encode_id(kind.name(), number);
            match before.get(kind, number) {
                None => found.push((made, id)),
                Some(old) if old == row => {}
                Some(old) => {
                    let completed = |row: &Row| row.get("completedAt").is_some_and(|at| !at.is_null());
                    if !completed(old) && completed(row) {
                        match kind {
                            Kind::Job => found.push(("JOB_CLOSED", id.clone())),
                            Kind::Visit => found.push(("VISIT_COMPLETE", id.clone())),
                            _ => {}
                        }
                    }
                    let became = |status: &str| {
                        old.get("quoteStatus") != row.get("quoteStatus")
                            && row.get("quoteStatus").and_then(Value::as_str) == Some(status)
                    };
                    if kind == Kind::Quote && became("awaiting_response") {
                        found.push(("QUOTE_SENT", id.clone()));
                    }
                    if kind == Kind::Quote && became("approved") {
                        found.push(("QUOTE_APPROVED", id.clone()));
                    }
                    found.push((changed, id));
                }
            }
        }
        for (number, _) in before.table(kind).filter(|(number, _)| after.get(kind, *number).is_none()) {
            found.push((removed, encode_id(kind.name(), number)));
        }
    }
    found
}

/// Sends one event to its receivers.
pub(super) fn emit(world: &mut World, account: u64, topic: &str, item: &str) {
    let now = instant(world.now());
    let Some(known) = world.accounts.get(&account) else { return };
    let urls: Vec<String> = world
        .endpoints_of(account)
        .into_iter()
        .filter_map(|(of, number)| world.accounts.get(&of)?.data.get(Kind::WebhookEndpoint, number))
        .filter(|endpoint| endpoint.get("topic").and_then(Value::as_str) == Some(topic))
        .filter_map(|endpoint| Some(endpoint.get("url")?.as_str()?.to_owned()))
        .chain(world.app_webhooks.clone())
        .collect();
    let switches = &known.switches;
    let spelling = if switches.webhook_old_spelling { "occuredAt" } else { "occurredAt" };
    let id = encode_id("Account", account);
    let (kind, body) = if switches.webhook_form {
        let fields =
            [("topic", topic), ("appId", "sandbox"), ("accountId", &id), ("itemId", item), (spelling, &now)];
        let mut form = form_urlencoded::Serializer::new(String::new());
        for (name, value) in fields {
            form.append_pair(&format!("data[webHookEvent][{name}]"), value);
        }
        ("application/x-www-form-urlencoded", form.finish())
    } else {
        let event =
            json!({"topic": topic, "appId": "sandbox", "accountId": id, "itemId": item, spelling: now});
        ("application/json", json!({"data": {"webHookEvent": event}}).to_string())
    };
    let secret = if switches.webhook_bad_signature { "another secret" } else { CLIENT_SECRET };
    let signature = sign(secret, &body);
    let delay = Duration::from_millis(switches.webhook_delay_ms);
    let (copies, drop_every) = (switches.webhook_copies, switches.webhook_drop_every);
    let together = if switches.webhook_reorder { 2 } else { switches.webhook_burst.max(1) };
    let Some(outgoing) = &world.outgoing else { return };
    for url in urls {
        world.webhooks += 1;
        if drop_every > 0 && world.webhooks.is_multiple_of(drop_every) {
            continue;
        }
        for _ in 0..copies {
            let request =
                Outgoing { url: url.clone(), kind, body: body.clone(), signature: signature.clone(), delay };
            world.held_webhooks.push(request);
            if world.held_webhooks.len() >= together {
                for request in world.held_webhooks.drain(..).rev() {
                    // A stopped sandbox sends nothing.
                    if outgoing.send(request).is_ok() {
                        world.under_way.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
    }
}

fn sign(secret: &str, body: &str) -> String {
    // HMAC accepts a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(body.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Sends the queued webhooks in order, until `stop`.
pub(super) async fn send(
    mut requests: mpsc::UnboundedReceiver<Outgoing>,
    under_way: Arc<AtomicUsize>,
    stop: CancellationToken,
) {
    // reqwest has no TLS provider of its own.
    let _already = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    loop {
        let request = tokio::select! {
            () = stop.cancelled() => return,
            request = requests.recv() => match request {
                Some(request) => request,
                None => return,
            },
        };
        let (client, under_way) = (client.clone(), Arc::clone(&under_way));
        tokio::spawn(async move {
            if !request.delay.is_zero() {
                tokio::time::sleep(request.delay).await;
            }
            let sent = client
                .post(&request.url)
                .timeout(PATIENCE)
                .header("content-type", request.kind)
                .header("x-jobber-hmac-sha256", request.signature)
                .body(request.body)
                .send()
                .await;
            // Delivery is not guaranteed and losses are not reported: the poll is the source of truth.
            if let Err(error) = sent {
                tracing::debug!(%error, "a webhook was not taken");
            }
            under_way.fetch_sub(1, Ordering::Relaxed);
        });
    }
}
