//! A reader of server-sent events that can go away at any place and come again.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::Value;
use tokio::time::timeout;

use crate::client::Client;
use crate::server::PATIENCE;

/// An open stream.
#[derive(Debug)]
pub struct Events {
    response: Response,
    received: Vec<u8>,
}

/// One event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Event {
    pub id: String,
    pub kind: String,
    pub data: Value,
}

/// Opens the stream at `path`, behind the event `last` if there is one.
pub async fn follow(client: &Client, path: &str, last: Option<&str>) -> Events {
    let mut request = client.request(Method::GET, path).header("accept", "text/event-stream");
    if let Some(id) = last {
        request = request.header("last-event-id", id);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    Events { response, received: Vec::new() }
}

impl Events {
    /// The next event; `None` when the stream is over or broken.
    pub async fn next(&mut self) -> Option<Event> {
        timeout(PATIENCE, self.read()).await.unwrap_or_else(|_| panic!("the stream says nothing"))
    }

    /// Whether nothing comes for this long.
    pub async fn is_silent(&mut self, period: Duration) -> bool {
        timeout(period, self.read()).await.is_err()
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.received.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.received.drain(..end + 2).collect();
                if let Some(event) = event(std::str::from_utf8(&block).unwrap()) {
                    return Some(event);
                }
            }
            self.received.extend(self.response.chunk().await.ok()??);
        }
    }
}

/// The event of a block; a comment is none.
fn event(block: &str) -> Option<Event> {
    let mut event = Event::default();
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("id", id)) => event.id = id.to_owned(),
            Some(("event", kind)) => event.kind = kind.to_owned(),
            Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
            Some(_) | None => {}
        }
    }
    (!event.id.is_empty()).then_some(event)
}
