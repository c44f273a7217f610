//! A receiver of OTLP on loopback: it takes traces and metrics, refuses them or hangs, and keeps what came.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::support::{LOOK_EVERY, PATIENCE};

/// How it answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Manner {
    #[default]
    Takes,
    /// 503.
    IsBusy,
    /// Takes the connection and never answers.
    Hangs,
}

#[derive(Debug, Default)]
struct Kept {
    manner: Manner,
    spans: Vec<Span>,
    resource: Option<Resource>,
    metrics: Vec<Vec<Metric>>,
    bodies: Vec<Bytes>,
    headers: Vec<HeaderMap>,
    requests: usize,
}

/// The receiver.
#[derive(Debug, Clone)]
pub struct Collector {
    pub url: String,
    kept: Arc<Mutex<Kept>>,
}

impl Collector {
    pub async fn start() -> Collector {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kept = Arc::<Mutex<Kept>>::default();
        let router = axum::Router::new()
            .route("/v1/traces", post(traces))
            .route("/v1/metrics", post(metrics))
            .with_state(Arc::clone(&kept));
        let serving = async move { axum::serve(listener, router).await.unwrap() };
        spawn(serving);
        Collector { url, kept }
    }

    pub fn answers(&self, manner: Manner) {
        self.kept.lock().unwrap().manner = manner;
    }

    /// Requests so far, those that were not taken included.
    pub fn requests(&self) -> usize {
        self.kept.lock().unwrap().requests
    }

    pub fn spans(&self) -> Vec<Span> {
        self.kept.lock().unwrap().spans.clone()
    }

    /// The spans of a run, once its own has come.
    pub async fn trace_of(&self, run: &str) -> Vec<Span> {
        let is_its_own = |span: &&Span| attributes(&span.attributes).get("wakeful.run.id").is_some_and(|id| id == run);
        self.until(|kept| {
            let root = kept.spans.iter().find(is_its_own)?.trace_id.clone();
            Some(kept.spans.iter().filter(|span| span.trace_id == root).cloned().collect())
        })
        .await
    }

    /// The metrics of the newest request in which `is_wanted` finds something.
    pub async fn metrics_with(&self, is_wanted: impl Fn(&[Metric]) -> bool) -> Vec<Metric> {
        self.until(|kept| kept.metrics.last().filter(|metrics| is_wanted(metrics)).cloned()).await
    }

    pub fn resource(&self) -> BTreeMap<String, String> {
        attributes(&self.kept.lock().unwrap().resource.clone().unwrap_or_default().attributes)
    }

    /// Whether these bytes came in any request.
    pub fn has_been_told(&self, text: &str) -> bool {
        let kept = self.kept.lock().unwrap();
        kept.bodies.iter().any(|body| body.windows(text.len()).any(|part| part == text.as_bytes()))
    }

    /// Whether every request had this header.
    pub fn was_always_given(&self, name: &str, value: &str) -> bool {
        let kept = self.kept.lock().unwrap();
        !kept.headers.is_empty() && kept.headers.iter().all(|headers| headers.get(name).is_some_and(|v| v == value))
    }

    async fn until<T>(&self, find: impl Fn(&Kept) -> Option<T>) -> T {
        let looking = async {
            loop {
                let found = find(&self.kept.lock().unwrap());
                if let Some(found) = found {
                    return found;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.expect("the receiver gets what is waited for")
    }
}

#[expect(clippy::disallowed_methods, reason = "a test has no engine; the receiver ends with it")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

/// Keeps a request; the answer, if there is one.
async fn take(kept: &Mutex<Kept>, headers: HeaderMap, body: &Bytes) -> Result<(), StatusCode> {
    let manner = {
        let mut kept = kept.lock().unwrap();
        kept.requests += 1;
        if kept.manner == Manner::Takes {
            kept.headers.push(headers);
            kept.bodies.push(body.clone());
        }
        kept.manner
    };
    match manner {
        Manner::Takes => Ok(()),
        Manner::IsBusy => Err(StatusCode::SERVICE_UNAVAILABLE),
        Manner::Hangs => std::future::pending().await,
    }
}

async fn traces(State(kept): State<Arc<Mutex<Kept>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if let Err(status) = take(&kept, headers, &body).await {
        return status;
    }
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut kept = kept.lock().unwrap();
    for of_resource in request.resource_spans {
        kept.resource = of_resource.resource;
        kept.spans.extend(of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans));
    }
    StatusCode::OK
}

async fn metrics(State(kept): State<Arc<Mutex<Kept>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if let Err(status) = take(&kept, headers, &body).await {
        return status;
    }
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    let of_scopes = request.resource_metrics.into_iter().flat_map(|of_resource| of_resource.scope_metrics);
    kept.lock().unwrap().metrics.push(of_scopes.flat_map(|of_scope| of_scope.metrics).collect());
    StatusCode::OK
}

/// Attributes as text.
pub fn attributes(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let said = |attribute: &KeyValue| {
        let value = match attribute.value.as_ref().and_then(|value| value.value.as_ref())? {
            Value::StringValue(text) => text.clone(),
            Value::IntValue(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        Some((attribute.key.clone(), value))
    };
    attributes.iter().filter_map(said).collect()
}
