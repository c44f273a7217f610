//! Reading server-sent events. A stream that breaks is opened again behind the last event seen,
//! so that nothing is missed and nothing comes twice.

use std::time::Duration;

use futures_util::StreamExt;

use crate::client::Client;
use crate::failure::{Failure, UNREACHABLE};

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamEvent {
    pub id: String,
    pub kind: String,
    pub data: String,
}

/// A stream that survives restarts of the server.
#[derive(Debug)]
pub struct EventStream {
    client: Client,
    path: String,
    last_id: Option<String>,
    open: Option<Open>,
}

struct Open {
    bytes: futures_util::stream::BoxStream<'static, reqwest::Result<Vec<u8>>>,
    received: Vec<u8>,
    begun: StreamEvent,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").finish_non_exhaustive()
    }
}

/// Between tries to reach a server that was there before.
const PAUSE: Duration = Duration::from_millis(300);
/// Tries before it is called gone: half a minute.
const TRIES_MAX: u32 = 100;

impl EventStream {
    /// Opens the stream at once, so that nothing that happens from now on is missed.
    pub async fn open(client: &Client, path: &str) -> Result<EventStream, Failure> {
        let mut stream = EventStream { client: client.clone(), path: path.to_owned(), last_id: None, open: None };
        stream.connect().await?;
        Ok(stream)
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        let response = self.client.stream(&self.path, self.last_id.as_deref()).await?;
        let bytes = response.bytes_stream().map(|chunk| chunk.map(|bytes| bytes.to_vec())).boxed();
        self.open = Some(Open { bytes, received: Vec::new(), begun: StreamEvent::default() });
        Ok(())
    }

    /// The next event.
    pub async fn next(&mut self) -> Result<StreamEvent, Failure> {
        let mut tries = 0;
        loop {
            if let Some(open) = &mut self.open {
                if let Some(event) = open.next().await {
                    if !event.id.is_empty() {
                        self.last_id = Some(event.id.clone());
                    }
                    return Ok(event);
                }
                self.open = None;
            }
            match self.connect().await {
                Ok(()) => tries = 0,
                Err(failure) if failure.code == UNREACHABLE && tries < TRIES_MAX => {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }
}

impl Open {
    /// The next whole event; `None` when the stream has ended.
    async fn next(&mut self) -> Option<StreamEvent> {
        loop {
            while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                if let Some(event) = self.begun.take_line(line.trim_end_matches(['\r', '\n'])) {
                    return Some(event);
                }
            }
            match self.bytes.next().await {
                Some(Ok(bytes)) => self.received.extend(bytes),
                Some(Err(_)) | None => return None,
            }
        }
    }
}

impl StreamEvent {
    /// Takes a line; gives the event that an empty one completes.
    fn take_line(&mut self, line: &str) -> Option<StreamEvent> {
        if line.is_empty() {
            let event = std::mem::take(self);
            return (!event.data.is_empty() || !event.kind.is_empty()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = value.to_owned(),
            "event" => self.kind = value.to_owned(),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_make_events_and_comments_do_not() {
        let mut begun = StreamEvent::default();
        let mut events = Vec::new();
        for line in [": keep-alive", "", "id: 7", "event: run.finished", "data: {\"a\":", "data: 1}", ""] {
            events.extend(begun.take_line(line));
        }
        let expected = StreamEvent { id: "7".into(), kind: "run.finished".into(), data: "{\"a\":\n1}".into() };
        assert_eq!(events, [expected]);
    }
}
