//! What a shim leaves on disk besides the log: its own identity before the agent starts, and the
//! exit record once the tree is gone. Here are their shapes and file names, not when they are written.

use serde::{Deserialize, Serialize};
use wakeful_domain::time::Timestamp;

use super::identity::Identity;

/// The log of a run, over all its launches.
pub const LOG_FILE: &str = "log.ndjson";

/// The same log after the end, compressed.
pub const PACKED_LOG_FILE: &str = "log.ndjson.zst";

/// The file that a shim creates before it starts anything; whoever creates it first decides.
pub fn shim_file(number: u32) -> String {
    format!("shim-{number}.json")
}

/// The exit record; it exists only when the tree is gone.
pub fn exit_file(number: u32) -> String {
    format!("exit-{number}.json")
}

/// The socket that a shim listens on while it lives.
pub fn control_socket(number: u32) -> String {
    format!("control-{number}.sock")
}

/// The first line of the shim file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShimRecord {
    /// A shim owns this launch.
    Shim { run: String, number: u32, identity: Identity },
    /// The server gave this launch up before a shim came: no shim may start it any more.
    Abandoned,
}

/// The second line of the shim file, once the agent runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct AgentRecord {
    pub agent: Identity,
}

/// How a launch ended. It is written after the tree was proven empty and the log was synced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// The exit code of the main process, unless a signal ended it or it never started.
    pub code: Option<i32>,
    /// The signal that ended the main process.
    pub signal: Option<i32>,
    /// Whether the limit of wall time ended it: all that a record of an earlier build knows of [`ExitRecord::limit`].
    pub timed_out: bool,
    /// The limit that ended it. Read it through [`ExitRecord::limit_hit`].
    #[serde(default)]
    pub limit: Option<Limit>,
    /// Whether it had said its last word ([`super::protocol::Order::Finish`]), did not end in time and was ended.
    #[serde(default)]
    pub ended_after_finish: bool,
    /// How many processes the main process had left behind, if they did not end in time and were ended.
    #[serde(default)]
    pub held_open: Option<u32>,
    /// The stop that was asked for, if one was.
    pub stop: Option<StopRecord>,
    /// Why there was nothing to run.
    pub start_failed: Option<StartFailure>,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub log: LogSummary,
    pub rusage: ResourceUsage,
    /// Whether the kernel's log says that it killed the main process for lack of memory.
    pub out_of_memory: bool,
}

impl ExitRecord {
    /// The limit that ended it, in records of any build.
    pub fn limit_hit(&self) -> Option<Limit> {
        self.limit.or(self.timed_out.then_some(Limit::WallTime))
    }
}

/// A limit of the launch that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// It ran for longer than `max_duration_ms`.
    WallTime,
    /// It wrote nothing within `first_output_ms`.
    FirstOutput,
    /// The tree took more than `memory_bytes_max`.
    Memory,
    /// The tree wanted more than `pids_max`.
    Pids,
}

/// A stop that someone asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRecord {
    pub reason: String,
    pub at: Timestamp,
}

/// Why an agent could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFailure {
    /// `command_not_found`, `not_executable`, `working_directory_missing`, `spawn_failed`.
    pub code: String,
    /// A sentence that names the command, the directory and the `PATH`.
    pub message: String,
}

/// The log file as it stands, over all launches of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSummary {
    /// Bytes of the file.
    pub bytes: u64,
    /// Lines of the file; the `seq` of its last record.
    pub lines: u64,
    /// Of the whole file, in hexadecimal.
    pub sha256: String,
    /// Whether output is missing, cut by the cap or lost to the disk.
    pub truncated: bool,
    /// Bytes of output of this launch that could not be written to disk.
    pub lost_bytes: u64,
}

/// What the whole tree used, as far as it was waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceUsage {
    pub user_ms: u64,
    pub system_ms: u64,
    /// Of the largest single process.
    pub max_rss_kb: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_record_of_an_earlier_build_is_understood() {
        let earlier = r#"{"code":null,"signal":9,"timed_out":true,"stop":null,"start_failed":null,
            "started_at":"2026-11-21T10:00:00.000Z","ended_at":"2026-11-21T10:00:01.000Z",
            "log":{"bytes":0,"lines":0,"sha256":"","truncated":false,"lost_bytes":0},
            "rusage":{"user_ms":1,"system_ms":1,"max_rss_kb":1},"out_of_memory":false}"#;
        let record: ExitRecord = serde_json::from_str(earlier).unwrap();
        assert_eq!((record.limit, record.limit_hit()), (None, Some(Limit::WallTime)));
        assert!(!record.ended_after_finish && record.held_open.is_none());
    }
}
