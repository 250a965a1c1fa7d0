//! Traces by OpenTelemetry: from the sweep to the platform's answer, and nothing about anybody.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;

use crate::machine::{Machine, terminate};
use crate::support::local;

type Bodies = Arc<Mutex<Vec<String>>>;

/// A collector: takes everything.
async fn collector() -> (String, Bodies) {
    async fn take(State(bodies): State<Bodies>, body: Bytes) -> StatusCode {
        bodies.lock().unwrap().push(String::from_utf8_lossy(&body).into_owned());
        StatusCode::OK
    }

    let bodies = Bodies::default();
    let router = axum::Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&bodies));
    let listener = tokio::net::TcpListener::bind(local()).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, bodies)
}

fn spans(bodies: &Bodies) -> Vec<Value> {
    let mut spans = Vec::new();
    for body in bodies.lock().unwrap().iter() {
        let body: Value = serde_json::from_str(body).unwrap();
        for resource in body["resourceSpans"].as_array().unwrap() {
            let service = resource["resource"]["attributes"].to_string();
            assert!(service.contains("jobber-reviewd"), "{service}");
            for scope in resource["scopeSpans"].as_array().unwrap() {
                spans.extend(scope["spans"].as_array().unwrap().iter().cloned());
            }
        }
    }
    spans
}

#[tokio::test]
async fn a_trace_leads_from_the_sweep_through_a_restart_to_the_platforms_answer() {
    let machine = Machine::set_up().await;
    let (url, bodies) = collector().await;
    let daemon = || {
        let mut command = machine.command(&[]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &url).env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
        command
    };
    let first = machine.begin(daemon()).await.unwrap();
    machine.connect().await;
    machine.receiver.answers(&[503]);
    machine.close_a_job();
    machine.receiver.wait_for(1).await;
    assert_eq!(terminate(first).await, 0);
    let second = machine.begin(daemon()).await.unwrap();
    let id = machine.receiver.got()[0].id().to_owned();
    assert_eq!(machine.run(&["queue", "retry", &id]).await.status, 0);
    let got = machine.receiver.wait_for(2).await;
    assert_eq!(terminate(second).await, 0);

    let parents: Vec<Vec<&str>> =
        got.iter().map(|got| got.headers["traceparent"].to_str().unwrap().split('-').collect()).collect();
    let trace = parents[0][1];
    assert!(parents.iter().all(|parent| parent[0] == "00" && parent[1] == trace && parent[3] == "01"));
    let spans: Vec<Value> = spans(&bodies).into_iter().filter(|span| span["traceId"] == trace).collect();
    let named = |name: &str| spans.iter().filter(|span| span["name"] == name).cloned().collect::<Vec<_>>();
    let (found, decided, delivered) = (named("sweep"), named("decide"), named("deliver"));
    assert_eq!((found.len(), delivered.len()), (1, 2), "{spans:#?}");
    assert!(!decided.is_empty());
    for later in decided.iter().chain(&delivered) {
        assert_eq!(later["parentSpanId"], found[0]["spanId"], "{later}");
    }
    for parent in &parents {
        assert!(delivered.iter().any(|span| span["spanId"] == parent[2]), "{parent:?}");
    }
    let failed = delivered.iter().filter(|span| span["status"]["code"] == 2).count();
    assert_eq!(failed, 1, "{delivered:#?}");

    let all = bodies.lock().unwrap().concat();
    for telling in ["John", "Smith", "5551234567", "555-123", "john@"] {
        assert!(!all.contains(telling), "{telling} in {all}");
    }
}

#[tokio::test]
async fn without_a_collector_nothing_is_traced() {
    let machine = Machine::set_up().await;
    let daemon = machine.begin(machine.command(&[])).await.unwrap();
    machine.connect().await;
    machine.close_a_job();
    let got = machine.receiver.wait_for(1).await;
    assert!(!got[0].headers.contains_key("traceparent"));
    assert_eq!(terminate(daemon).await, 0);
}
