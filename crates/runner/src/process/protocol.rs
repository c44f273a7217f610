//! What server and shim say to each other: one JSON object a line, over a Unix socket.
//! A lost connection or a dropped line never matters: what counts is on disk. A line of a later build
//! that is not understood is left alone.

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use super::record::{ExitRecord, StartFailure};

/// More input than this waiting for the agent is refused; the one at the start does not count.
pub const INPUT_BYTES_MAX: usize = 1024 * 1024;

/// Server to shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Stop the tree; a second stop may only shorten the grace period.
    Stop {
        reason: String,
        /// The description's, unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace_ms: Option<u64>,
    },
    /// Text for an agent that listens while it works; answered by `InputTaken` or `InputRefused`.
    /// An id that was given before is not written again, only answered again.
    Input { id: String, text: String },
    /// Close the agent's input once it has taken what waits.
    CloseInput,
    /// The agent has said its last word: close its input, and end the tree if the main process is
    /// still there after this long. It is not a stop.
    Finish { within_ms: u64 },
}

/// Shim to server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The agent runs.
    Started(Identity),
    /// The log has grown to this many bytes and lines. A hint: some are dropped, never the last.
    Output { log_bytes: u64, lines: u64 },
    /// The agent could not be started; the exit record follows if it could be written.
    StartFailed(StartFailure),
    /// The agent has been given the whole input; whether it reads it is its business.
    InputTaken { id: String },
    /// The input was not written, or not to its end.
    InputRefused { id: String, reason: String },
    /// The disk has been busy with one write or sync of the log for this long. The agent is waited for as before.
    LogSlow { for_ms: u64 },
    /// The disk has taken that write or sync after all, after this long.
    LogCaughtUp { after_ms: u64 },
    /// The tree outlives KILL; the shim keeps trying.
    Stuck { pids: Vec<i32> },
    /// The tree is gone and the exit record is on disk.
    Exited(Box<ExitRecord>),
}

/// One message as a line, its end included.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Takes the first whole line out of `buffer`, without its end.
pub fn take_line(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    let mut line: Vec<u8> = buffer.drain(..=end).collect();
    line.pop();
    Some(line)
}
