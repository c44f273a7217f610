//! What server and shim say to each other: one JSON object a line, over a Unix socket.
//! A lost connection or a dropped line never matters: what counts is on disk.

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use super::record::{ExitRecord, StartFailure};

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
    /// Reserved: text for an agent that listens while it works.
    Input(String),
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
