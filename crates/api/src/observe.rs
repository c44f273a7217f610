//! What is known of each request once it is answered: counted by its route, and logged at `debug`. The route is that of
//! the table, never the path as it came: that could hold anything.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use wakeful_engine::clock;

use crate::Api;

/// What is counted of HTTP.
#[derive(Debug, Clone, Default)]
pub struct HttpMeters {
    pub requests: Family<Answered, Counter>,
    /// Streams of server-sent events that are open.
    pub streams: Gauge,
}

/// An answer: as many kinds as there are routes and statuses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Answered {
    method: String,
    route: String,
    status: u16,
}

/// Of what no route is for.
const UNMATCHED: &str = "unmatched";

/// Counts a request and says how it was answered.
pub async fn observe(State(api): State<Api>, request: Request, next: Next) -> Response {
    let began = clock::monotonic();
    let route = request.extensions().get::<MatchedPath>().map_or(UNMATCHED, MatchedPath::as_str).to_owned();
    // A method may be any word.
    let method = if route == UNMATCHED { UNMATCHED.to_owned() } else { request.method().to_string() };
    let answer = next.run(request).await;
    let (status, duration_ms) = (answer.status().as_u16(), began.elapsed().as_millis() as u64);
    tracing::debug!(method, route, status, duration_ms, "{method} {route} is answered with {status}");
    api.http.requests.get_or_create(&Answered { method, route, status }).inc();
    answer
}

/// An open stream; it is counted for as long as this lives.
#[derive(Debug)]
pub struct OpenStream(Gauge);

impl HttpMeters {
    pub fn stream(&self) -> OpenStream {
        self.streams.inc();
        OpenStream(self.streams.clone())
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}
