//! The log of a run: `log.ndjson`, one record a line, appended to by the shims of its launches one
//! after another and read by anyone. Its `seq` counts from 1 without a gap over the whole file.
//! After the end it may be compressed; offsets are those of the plain file all the same.
//!
//! [`read`], [`compress`] and [`Lines`] are for the server, `write` for the shim; `split` cuts output into records.

mod compress;
mod encode;
mod exchange;
mod file;
mod find;
mod in_place;
mod lines;
mod packed;
pub mod read;
mod resume;
pub(super) mod secrets;
mod source;
pub(super) mod split;
mod tail;
pub(super) mod write;

use serde::{Deserialize, Serialize};
use wakeful_domain::time::Timestamp;

pub use compress::{Compressed, compress};
pub use exchange::{keep_exchange, summary_of_log};
pub use find::Found;
pub use lines::{LINE_BYTES_MAX, Lines};
pub use read::{LogChunk, LogReader, bytes_of, read_log, read_log_lines, tail_log};
pub use write::close_after_death;

/// No record is longer, its line end included.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// One record of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// From 1, without a gap.
    pub seq: u64,
    /// When it was read from the agent.
    pub ts: Timestamp,
    pub stream: LogStream,
    #[serde(flatten)]
    pub content: Content,
    /// No line end followed: the line goes on in the next record of the stream, or the stream ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// What is missing at this place, in a record of Wakeful's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
}

/// What a record holds, without the line end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    Text(String),
    /// For bytes that are not UTF-8.
    Base64(String),
}

/// Where a record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    Stdout,
    Stderr,
    /// Wakeful itself, about the log.
    Wakeful,
}

/// Output that is not in the log. `None` where it cannot be known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    pub bytes: Option<u64>,
    pub lines: Option<u64>,
}
