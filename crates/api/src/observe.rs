//! What is known of each request once it is answered: counted by its route, and logged at `debug`. The route is that of
//! the table, never the path as it came: that could hold anything.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

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
    /// How many each token has open.
    of_tokens: Arc<Mutex<HashMap<String, usize>>>,
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

/// Streams that one token may have open at once: some six for each of forty people's browsers. Each is a file of the
/// server's, which runs need too.
const STREAMS_OF_TOKEN_MAX: usize = 250;

/// An open stream; it is counted for as long as this lives.
#[derive(Debug)]
pub struct OpenStream {
    all: Gauge,
    of_tokens: Arc<Mutex<HashMap<String, usize>>>,
    token_hash: String,
}

impl HttpMeters {
    /// Counts a stream of a token; `None` if it has too many open.
    pub fn stream(&self, token_hash: String) -> Option<OpenStream> {
        let mut of_tokens = self.of_tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let open = of_tokens.entry(token_hash.clone()).or_default();
        if *open >= STREAMS_OF_TOKEN_MAX {
            return None;
        }
        *open += 1;
        self.streams.inc();
        Some(OpenStream { all: self.streams.clone(), of_tokens: Arc::clone(&self.of_tokens), token_hash })
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.all.dec();
        let mut of_tokens = self.of_tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut open) = of_tokens.entry(std::mem::take(&mut self.token_hash)) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_so_many_streams_and_another_is_not_concerned() {
        let meters = HttpMeters::default();
        let mut open: Vec<OpenStream> = Vec::new();
        while let Some(stream) = meters.stream("a".into()) {
            open.push(stream);
        }
        assert_eq!(open.len(), STREAMS_OF_TOKEN_MAX);
        assert!(meters.stream("b".into()).is_some());
        open.pop();
        assert!(meters.stream("a".into()).is_some());
        assert_eq!(meters.streams.get(), open.len() as i64);
        drop(open);
        assert!(meters.of_tokens.lock().unwrap().is_empty());
    }
}
