//! Jobber and the receiver, played by a process of its own that answers from memory.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use jobber_reviewd::testing::{Clock as _, SystemClock};
use serde_json::{Value, json};

#[derive(Default)]
struct Served {
    graphql: AtomicU64,
    asks: AtomicU64,
    /// Milliseconds before each answer of Jobber's.
    latency: AtomicU64,
    /// One account in so many is answered only after half a minute. 0 for none.
    hangs: AtomicU64,
}

pub(crate) async fn serve() {
    let served = Arc::new(Served::default());
    let router = Router::new()
        .route("/api/graphql", post(answer))
        .route(
            "/hook",
            post(async |State(served): State<Arc<Served>>| {
                served.asks.fetch_add(1, Ordering::Relaxed);
            }),
        )
        .route(
            "/slow/{latency}/{hangs}",
            post(async |State(served): State<Arc<Served>>, Path((latency, hangs)): Path<(u64, u64)>| {
                served.latency.store(latency, Ordering::Relaxed);
                served.hangs.store(hangs, Ordering::Relaxed);
            }),
        )
        .route(
            "/count",
            get(async |State(served): State<Arc<Served>>| {
                format!("{} {}", served.graphql.load(Ordering::Relaxed), served.asks.load(Ordering::Relaxed))
            }),
        )
        .with_state(served);
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    axum::serve(listener, router).await.unwrap();
}

/// Old jobs for a sweep, and one job's details: the shapes of the real schema.
async fn answer(
    State(served): State<Arc<Served>>,
    headers: HeaderMap,
    body: Bytes,
) -> ([(&'static str, &'static str); 1], String) {
    served.graphql.fetch_add(1, Ordering::Relaxed);
    let hangs = served.hangs.load(Ordering::Relaxed);
    let token = headers["authorization"].to_str().unwrap().rsplit('.').next().unwrap();
    let is_hanging = hangs > 0 && token.parse::<u64>().is_ok_and(|account| account.is_multiple_of(hangs));
    let latency = if is_hanging { 30_000 } else { served.latency.load(Ordering::Relaxed) };
    if latency > 0 {
        tokio::time::sleep(Duration::from_millis(latency)).await;
    }
    let request: Value = serde_json::from_slice(&body).unwrap();
    // Single documents do not name theirs beside the query.
    let name = request["operationName"].as_str().unwrap_or_else(|| {
        let query = request["query"].as_str().unwrap();
        query.split("query ").nth(1).unwrap().split('(').next().unwrap()
    });
    let data = match name {
        "Jobs" => {
            let old: Vec<Value> = (0..20)
                .map(|number| {
                    json!({"id": STANDARD.encode(format!("gid://Jobber/Job/{number}")), "jobNumber": number,
                        "updatedAt": "2020-01-01T00:00:00Z", "completedAt": null, "jobStatus": "active",
                        "client": {"id": "Z2lkOi8vSm9iYmVyL0NsaWVudC8x"}})
                })
                .collect();
            json!({"jobs": {"nodes": old, "pageInfo": {"hasNextPage": true, "endCursor": "MjA"}}})
        }
        "Details" => {
            let now = SystemClock.now();
            // A job that an event names is closed just now.
            let id = STANDARD.decode(request["variables"]["id"].as_str().unwrap()).unwrap();
            let is_new = String::from_utf8_lossy(&id).contains("/Job/new");
            let completed = if is_new { now } else { now - SignedDuration::from_hours(3) };
            json!({"account": {"countryCode": "US"}, "job": {
                "id": request["variables"]["id"], "jobNumber": 1, "title": "Drain Cleaning", "updatedAt": now,
                "completedAt": completed, "jobStatus": "requires_invoicing",
                "jobberWebUri": "https://secure.example.com/1", "allowReviewRequest": true, "total": 250.0,
                "lineItems": {"nodes": []},
                "client": {"id": "Z2lkOi8vSm9iYmVyL0NsaWVudC8x", "name": "John Smith", "firstName": "John",
                    "isCompany": false, "isArchived": false, "sampleData": false, "receivesReviewRequests": true,
                    "isLead": false, "tags": {"nodes": []},
                    "phones": [{"number": "5551234567", "normalizedPhoneNumber": "+15551234567", "primary": true, "smsAllowed": true}],
                    "emails": [{"address": "john@example.com", "primary": true}]},
                "property": {"address": {"street": "1 Main St", "city": "Springfield", "province": "IL", "postalCode": "62704"}},
            }})
        }
        "ChangedQuotes" => {
            json!({"quotes": {"nodes": [], "pageInfo": {"hasNextPage": false, "endCursor": null}}})
        }
        "RecordQuote" => json!({"quote": {
            "id": request["variables"]["id"], "quoteNumber": "12", "title": "Roof", "quoteStatus": "approved",
            "sentAt": null, "createdAt": "2026-03-01T10:00:00Z", "updatedAt": "2026-03-10T10:00:00Z",
            "transitionedAt": null, "jobberWebUri": "https://secure.example.com/1",
            "amounts": {"subtotal": 400.0, "total": 400.0},
            "client": {"id": "Z2lkOi8vSm9iYmVyL0NsaWVudC8x", "name": "John Smith"}, "property": null,
        }}),
        _ => json!({"job": {
            "invoices": {"nodes": []},
            "completed": {"nodes": [{"completedAt": SystemClock.now(), "endAt": SystemClock.now(), "assignedUsers": {"nodes": [
                {"id": "Z2lkOi8vSm9iYmVyL1VzZXIvMQ==", "name": {"first": "Mike", "full": "Mike Torres"}}]}}]},
            "any": {"nodes": [{"id": "Z2lkOi8vSm9iYmVyL1Zpc2l0LzE="}]},
        }}),
    };
    let answer = json!({"data": data, "extensions": {
        "cost": {"requestedQueryCost": 143, "actualQueryCost": 143, "throttleStatus":
            {"maximumAvailable": 10000, "currentlyAvailable": 9857, "restoreRate": 500}},
        "versioning": {"version": jobber_reviewd::testing::API_VERSION}}});
    ([("content-type", "application/json")], answer.to_string())
}

pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("--serve")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { child, address: address.trim().to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

// The daemon's side
