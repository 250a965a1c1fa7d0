//! Traces by OpenTelemetry. They are off unless its standard environment variables name a collector.
//!
//! From finished work to the platform's answer it takes hours, with restarts in between. So nothing is kept for a trace: its
//! id, and that of its first span, are hashes of the message's id, which account, trigger and work make.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::http::{Request, Response};
use jiff::Timestamp;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer, SdkTracerProvider, Span};
use sha2::{Digest as _, Sha256};

/// How long the last spans may take to leave at the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long the collector may take to answer.
const COLLECTOR: Duration = Duration::from_secs(10);

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Sends what is left when it is told to.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// Whether the environment asks for traces.
fn is_wanted() -> bool {
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|set| set.eq_ignore_ascii_case(value));
    (is_set("OTEL_EXPORTER_OTLP_ENDPOINT") || is_set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
        && !is("OTEL_SDK_DISABLED", "true")
        && !is("OTEL_TRACES_EXPORTER", "none")
}

pub fn are_on() -> bool {
    TRACER.get().is_some()
}

impl Traces {
    /// Begins to send spans, if the environment asks for it. To be called on the runtime that sends them.
    pub fn begin() -> anyhow::Result<Option<Self>> {
        if !is_wanted() {
            return Ok(None);
        }
        let http = reqwest::Client::builder().timeout(COLLECTOR).redirect(reqwest::redirect::Policy::none());
        let poster = Poster { http: http.build()?, runtime: tokio::runtime::Handle::current() };
        let mut exporter = SpanExporter::builder().with_http().with_http_client(poster);
        if !is_set("OTEL_EXPORTER_OTLP_PROTOCOL") && !is_set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") {
            exporter = exporter.with_protocol(Protocol::HttpBinary);
        }
        let mut resource =
            Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        if !is_set("OTEL_SERVICE_NAME") {
            resource = resource.with_service_name("jobber-reviewd");
        }
        let provider = SdkTracerProvider::builder()
            .with_id_generator(Ids)
            .with_resource(resource.build())
            .with_batch_exporter(exporter.build()?)
            .build();
        // Once per process.
        let _first = TRACER.set(provider.tracer("jobber-reviewd"));
        Ok(Some(Self(provider)))
    }

    /// Sends what is left.
    pub async fn end(self) {
        let sent = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FAREWELL)).await;
        if let Ok(Err(error)) = sent {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// Posts to the collector. Spans are exported on a thread that is not the runtime's.
#[derive(Debug)]
struct Poster {
    http: reqwest::Client,
    runtime: tokio::runtime::Handle,
}

#[async_trait::async_trait]
impl HttpClient for Poster {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let request =
            self.http.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
        let sent = self.runtime.spawn(async move {
            let response = request.send().await?;
            let status = response.status();
            response.bytes().await.map(|body| (status, body))
        });
        let (status, body) = sent.await??;
        Ok(Response::builder().status(status).body(body)?)
    }
}

thread_local! {
    /// The ids of the span that is being made, if they are not random.
    static FIRST: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

#[derive(Debug)]
struct Ids;

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        FIRST.get().map_or_else(|| RandomIdGenerator::default().new_trace_id(), |(trace, _)| trace)
    }

    fn new_span_id(&self) -> SpanId {
        FIRST.get().map_or_else(|| RandomIdGenerator::default().new_span_id(), |(_, span)| span)
    }
}

/// The ids of a message's trace and of its first span.
fn ids(message: &str) -> (TraceId, SpanId) {
    let hash: [u8; 32] = Sha256::digest(message).into();
    let (mut trace, mut span) = ([0; 16], [0; 8]);
    trace.copy_from_slice(&hash[..16]);
    span.copy_from_slice(&hash[16..24]);
    (TraceId::from_bytes(trace), SpanId::from_bytes(span))
}

/// A step on the way of a message. It ends when it is told to, or dropped.
#[derive(Debug)]
pub struct Step(Span);

/// The message's first step, which began at `begun`. `None` while traces are off.
pub fn first(message: &str, name: &'static str, begun: Timestamp) -> Option<Step> {
    let tracer = TRACER.get()?;
    let begun = SystemTime::UNIX_EPOCH + Duration::try_from(begun.as_duration()).unwrap_or_default();
    let span = SpanBuilder::from_name(name).with_kind(SpanKind::Consumer).with_start_time(begun);
    FIRST.set(Some(ids(message)));
    let span = span.start_with_context(tracer, &Context::new());
    FIRST.set(None);
    Some(Step(span))
}

/// A later step. `None` while traces are off.
pub fn step(message: &str, name: &'static str) -> Option<Step> {
    let tracer = TRACER.get()?;
    let (trace, first) = ids(message);
    let parent = SpanContext::new(trace, first, TraceFlags::SAMPLED, true, TraceState::default());
    let span = SpanBuilder::from_name(name).with_kind(SpanKind::Client);
    Some(Step(span.start_with_context(tracer, &Context::new().with_remote_span_context(parent))))
}

impl Step {
    /// How the receiver can go on with the trace (W3C Trace Context).
    pub fn traceparent(&self) -> String {
        let of = self.0.span_context();
        format!("00-{}-{}-{:02x}", of.trace_id(), of.span_id(), of.trace_flags())
    }

    /// Says what is known. Nothing that says who somebody is.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<opentelemetry::Value>) -> Self {
        self.0.set_attribute(KeyValue::new(name, value));
        self
    }

    pub fn failed(mut self, why: &str) {
        self.0.set_status(Status::error(why.to_owned()));
    }
}
