//! A connection to a live shim: its reports come in, stop orders go out.
//! It is not the truth about the run: a closed connection alone proves nothing.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::process::Child;

use super::super::identity::Identity;
use super::super::protocol::{Order, Report, encode, take_line};
use super::super::record::{ExitRecord, StartFailure};
use super::find::read_exit_record;

/// Longer reasons are cut on their way to the shim; the whole one stands on the run.
const REASON_BYTES_MAX: usize = 1024;
/// Bytes taken from the socket at a time; reports are small.
const READ_BYTES: usize = 4 * 1024;

/// What a shim reports, in order. `Started`, `Output` and `Stuck` may come again after attaching anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// The agent runs.
    Started(Identity),
    /// The log can be read up to here.
    Output { log_bytes: u64, lines: u64 },
    /// The agent could not be started; `Exited` follows if the disk took the record.
    StartFailed(StartFailure),
    /// The tree is not empty 60 s after KILL; the shim keeps trying.
    Stuck { pids: Vec<i32> },
    /// The tree is proven empty. The last update.
    Exited(Box<ExitRecord>),
    /// The connection is closed and there is no exit record. Ask [`super::find`] what it means. The last update.
    Gone,
}

/// A live connection to the shim of one launch.
#[derive(Debug)]
pub struct Attached {
    stream: Arc<UnixStream>,
    received: Vec<u8>,
    dir: PathBuf,
    number: u32,
    /// Held so that the shim is collected when it ends, if it is our child.
    child: Option<Child>,
}

/// Stops the tree of one launch; may be kept apart from the connection and cloned.
#[derive(Debug, Clone)]
pub struct StopHandle {
    stream: Arc<UnixStream>,
}

impl Attached {
    pub(super) fn new(stream: UnixStream, dir: PathBuf, number: u32, child: Option<Child>) -> Self {
        Self { stream: Arc::new(stream), received: Vec::new(), dir, number, child }
    }

    /// Waits for the next report. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Update {
        loop {
            while let Some(line) = take_line(&mut self.received) {
                match serde_json::from_slice::<Report>(&line) {
                    Ok(report) => return Update::from(report),
                    Err(error) => tracing::warn!(%error, dir = %self.dir.display(), "unreadable report of a shim"),
                }
            }
            let read = match self.stream.readable().await {
                Ok(()) => {
                    self.received.reserve(READ_BYTES);
                    self.stream.try_read_buf(&mut self.received)
                }
                Err(error) => Err(error),
            };
            match read {
                Ok(count) if count > 0 => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => return self.closed(),
            }
        }
    }

    /// Asks for the end of the tree; `grace` replaces the description's.
    /// An error means that the shim was not told: ask [`super::find`].
    pub fn stop(&self, reason: &str, grace: Option<Duration>) -> io::Result<()> {
        stop(&self.stream, reason, grace)
    }

    /// A handle that stops the tree while [`Attached::next`] is being awaited elsewhere.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle { stream: Arc::clone(&self.stream) }
    }

    /// The process id of the shim, if it is a child of this process.
    pub fn shim_pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    fn closed(&self) -> Update {
        // The record is written before the last report: it is there, or the shim did not end well.
        match read_exit_record(&self.dir, self.number) {
            Ok(Some(record)) => Update::Exited(Box::new(record)),
            Ok(None) => Update::Gone,
            Err(error) => {
                tracing::warn!(%error, dir = %self.dir.display(), "cannot read an exit record");
                Update::Gone
            }
        }
    }
}

impl StopHandle {
    /// See [`Attached::stop`].
    pub fn stop(&self, reason: &str, grace: Option<Duration>) -> io::Result<()> {
        stop(&self.stream, reason, grace)
    }
}

fn stop(stream: &UnixStream, reason: &str, grace: Option<Duration>) -> io::Result<()> {
    let grace_ms = grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
    // Cut so that it always fits the socket's buffer: half an order would garble all that follow.
    let reason = reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned();
    let line = encode(&Order::Stop { reason, grace_ms })?;
    // Not through tokio's readiness, which knows nothing yet on a fresh connection. The socket is
    // non-blocking and takes a line of this size whole or not at all, unless the shim has stopped reading.
    let sent = rustix::net::send(stream, &line, rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL)?;
    if sent == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

impl From<Report> for Update {
    fn from(report: Report) -> Self {
        match report {
            Report::Started(identity) => Update::Started(identity),
            Report::Output { log_bytes, lines } => Update::Output { log_bytes, lines },
            Report::StartFailed(failure) => Update::StartFailed(failure),
            Report::Stuck { pids } => Update::Stuck { pids },
            Report::Exited(record) => Update::Exited(record),
        }
    }
}
