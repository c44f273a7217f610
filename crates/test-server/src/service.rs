//! A service that an `http` agent calls: a real one on loopback. It answers as it was told to, and
//! remembers what came.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::time::sleep;

/// What came.
#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub bytes: Bytes,
    pub body: Value,
}

/// What is answered.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub after: Duration,
}

#[derive(Debug, Default)]
struct Inner {
    received: Vec<Received>,
    replies: VecDeque<Reply>,
}

/// The service; it ends with the test.
#[derive(Debug, Clone)]
pub struct Service {
    inner: Arc<Mutex<Inner>>,
    pub address: String,
}

impl Reply {
    pub fn new(status: u16, body: &str) -> Reply {
        Reply { status, headers: Vec::new(), body: body.into(), after: Duration::ZERO }
    }

    pub fn with(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn after(mut self, time: Duration) -> Reply {
        self.after = time;
        self
    }
}

impl Service {
    #[expect(clippy::disallowed_methods, reason = "it ends with the runtime of its test")]
    pub async fn start() -> Service {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let service = Service { inner: Arc::default(), address };
        let router = Router::new().fallback(take).with_state(service.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        service
    }

    /// What is answered next; without any it is an empty 200.
    pub fn reply(&self, reply: Reply) {
        self.inner.lock().unwrap().replies.push_back(reply);
    }

    pub fn received(&self) -> Vec<Received> {
        self.inner.lock().unwrap().received.clone()
    }
}

async fn take(State(service): State<Service>, uri: axum::http::Uri, headers: HeaderMap, bytes: Bytes) -> Response {
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    let reply = {
        let mut inner = service.inner.lock().unwrap();
        inner.received.push(Received { path: uri.path().to_owned(), headers, bytes, body });
        inner.replies.pop_front().unwrap_or(Reply::new(200, ""))
    };
    sleep(reply.after).await;
    let mut response = (StatusCode::from_u16(reply.status).unwrap(), reply.body).into_response();
    for (name, value) in reply.headers {
        let name: axum::http::HeaderName = name.parse().unwrap();
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}
