//! A connection to a live shim: its reports come in, orders go out.
//! It is not the truth about the run: a closed connection alone proves nothing.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::process::Child;

use super::super::identity::Identity;
use super::super::protocol::{Report, take_line};
use super::super::record::{ExitRecord, StartFailure};
use super::find::read_exit_record;
use super::orders::Orders;

/// Bytes taken from the socket at a time; reports are small.
const READ_BYTES: usize = 4 * 1024;

/// What a shim reports, in order. `Started`, `Output`, `LogSlow` and `Stuck` may come again after attaching anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// The agent runs.
    Started(Identity),
    /// The log can be read up to here.
    Output { log_bytes: u64, lines: u64 },
    /// The agent could not be started; `Exited` follows if the disk took the record.
    StartFailed(StartFailure),
    /// The agent has been given the whole input.
    InputTaken { id: String },
    /// The input was not written, or not to its end.
    InputRefused { id: String, reason: String },
    /// The disk has been busy with one write or sync of the log for this long; the agent may have to wait.
    LogSlow { for_ms: u64 },
    /// The disk has taken it after this long.
    LogCaughtUp { after_ms: u64 },
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
    orders: Orders,
    received: Vec<u8>,
    dir: PathBuf,
    number: u32,
    /// Held so that the shim is collected when it ends, if it is our child.
    child: Option<Child>,
}

impl Attached {
    pub(super) fn new(stream: UnixStream, dir: PathBuf, number: u32, child: Option<Child>) -> Self {
        Self { orders: Orders::new(stream), received: Vec::new(), dir, number, child }
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
            let stream = self.orders.stream();
            let readable = tokio::select! {
                readable = stream.readable() => readable,
                writable = self.orders.writable() => match writable.and_then(|()| self.orders.proceed()) {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
            };
            self.received.reserve(READ_BYTES);
            let read = readable.and_then(|()| stream.try_read_buf(&mut self.received));
            match read {
                Ok(count) if count > 0 => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => return self.closed(),
            }
        }
    }

    /// Gives orders, also while [`Attached::next`] is being awaited elsewhere.
    pub fn orders(&self) -> Orders {
        self.orders.clone()
    }

    /// See [`Orders::stop`].
    pub fn stop(&self, reason: &str, grace: Option<Duration>) -> io::Result<()> {
        self.orders.stop(reason, grace)
    }

    /// See [`Orders::input`].
    pub fn input(&self, id: &str, text: &str) -> io::Result<()> {
        self.orders.input(id, text)
    }

    /// See [`Orders::close_input`].
    pub fn close_input(&self) -> io::Result<()> {
        self.orders.close_input()
    }

    /// See [`Orders::finish`].
    pub fn finish(&self, within: Duration) -> io::Result<()> {
        self.orders.finish(within)
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

impl From<Report> for Update {
    fn from(report: Report) -> Self {
        match report {
            Report::Started(identity) => Update::Started(identity),
            Report::Output { log_bytes, lines } => Update::Output { log_bytes, lines },
            Report::StartFailed(failure) => Update::StartFailed(failure),
            Report::InputTaken { id } => Update::InputTaken { id },
            Report::InputRefused { id, reason } => Update::InputRefused { id, reason },
            Report::LogSlow { for_ms } => Update::LogSlow { for_ms },
            Report::LogCaughtUp { after_ms } => Update::LogCaughtUp { after_ms },
            Report::Stuck { pids } => Update::Stuck { pids },
            Report::Exited(record) => Update::Exited(record),
        }
    }
}
