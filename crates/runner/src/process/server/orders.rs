//! What goes out to a live shim. An order that the socket does not take at once waits here and goes out while
//! [`super::Attached::next`] is awaited, so that no half of one ever garbles those that follow.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::{SendFlags, send};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::Notify;

use super::super::protocol::{INPUT_BYTES_MAX, Order, encode};

/// Longer reasons are cut on their way to the shim; the whole one stands on the run.
const REASON_BYTES_MAX: usize = 1024;
/// More than this waiting for a shim that does not read is refused.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Gives orders to the shim of one launch; may be kept apart from the connection and cloned.
///
/// An error means that the shim was not told: ask [`super::find`].
#[derive(Debug, Clone)]
pub struct Orders {
    outgoing: Arc<Outgoing>,
}

#[derive(Debug)]
struct Outgoing {
    stream: UnixStream,
    waiting: Mutex<Vec<u8>>,
    has_waiting: Notify,
}

impl Orders {
    pub(super) fn new(stream: UnixStream) -> Orders {
        Orders { outgoing: Arc::new(Outgoing { stream, waiting: Mutex::default(), has_waiting: Notify::new() }) }
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.outgoing.stream
    }

    /// Asks for the end of the tree; `grace` replaces the description's.
    pub fn stop(&self, reason: &str, grace: Option<Duration>) -> io::Result<()> {
        let reason = reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned();
        self.give(&Order::Stop { reason, grace_ms: grace.map(ms_of) })
    }

    /// Writes `text` to the agent's standard input, if that is open.
    ///
    /// The answer comes as [`super::Update::InputTaken`] or [`super::Update::InputRefused`] with the same id. After a
    /// broken connection it may be given again: the shim writes no id twice. A shim of an earlier build does not answer.
    pub fn input(&self, id: &str, text: &str) -> io::Result<()> {
        if text.len() > INPUT_BYTES_MAX {
            let why = format!("an input of {} bytes is longer than {INPUT_BYTES_MAX}", text.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        self.give(&Order::Input { id: id.to_owned(), text: text.to_owned() })
    }

    /// Closes the agent's standard input once it has taken what waits.
    pub fn close_input(&self) -> io::Result<()> {
        self.give(&Order::CloseInput)
    }

    /// The agent has said its last word: its input is closed, and it is ended if it is still there after `within`.
    pub fn finish(&self, within: Duration) -> io::Result<()> {
        self.give(&Order::Finish { within_ms: ms_of(within) })
    }

    fn give(&self, order: &Order) -> io::Result<()> {
        let line = encode(order)?;
        let mut waiting = self.waiting();
        if waiting.len() + line.len() > WAITING_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "the shim does not take its orders"));
        }
        // Not through tokio's readiness, which knows nothing yet on a fresh connection.
        let sent = if waiting.is_empty() { sent(&self.outgoing.stream, &line)? } else { 0 };
        waiting.extend_from_slice(&line[sent..]);
        if !waiting.is_empty() {
            self.outgoing.has_waiting.notify_one();
        }
        Ok(())
    }

    /// Returns when something waits and the socket may take some of it. Dropping the future loses nothing.
    pub(super) async fn writable(&self) -> io::Result<()> {
        while self.waiting().is_empty() {
            self.outgoing.has_waiting.notified().await;
        }
        self.outgoing.stream.writable().await
    }

    /// Sends what the socket takes now.
    pub(super) fn proceed(&self) -> io::Result<()> {
        let mut waiting = self.waiting();
        while !waiting.is_empty() {
            let attempt = || send_now(&self.outgoing.stream, &waiting);
            match self.outgoing.stream.try_io(Interest::WRITABLE, attempt) {
                Ok(count) => drop(waiting.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<u8>> {
        self.outgoing.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many bytes the socket takes now.
fn sent(stream: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
    match send_now(stream, bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

fn send_now(stream: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(send(stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
}

fn ms_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
