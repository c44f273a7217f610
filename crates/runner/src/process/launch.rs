//! The launch description: all that a shim is told. It travels over a socket and is never on disk,
//! because its environment holds the token of the run.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::adapters::StopSignal;

/// What a shim shall start, where, and within which limits.
#[derive(Clone, Serialize, Deserialize)]
pub struct Launch {
    /// The id of the run, as in `WAKEFUL_RUN`.
    pub run: String,
    /// Which launch of the run this is, from 1.
    pub number: u32,
    /// The directory of the run's log and records; absolute. The agent does not work there.
    pub dir: PathBuf,
    /// Program and arguments. A program without `/` is looked up in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The directory the agent works in; absolute.
    pub cwd: PathBuf,
    /// The whole environment of the agent. `WAKEFUL_RUN` must be in it, or [`super::sweep`] finds nothing.
    pub env: Vec<(String, String)>,
    /// Written to the standard input of the agent, which is then closed.
    pub stdin: String,
    /// The signal that asks it to stop.
    #[serde(with = "StopSignalName")]
    pub stop_signal: StopSignal,
    /// How long it may take to stop before it is killed.
    pub grace_ms: u64,
    /// How long it may run.
    pub max_duration_ms: Option<u64>,
    /// How long what it left behind may take to end by itself, once it has ended.
    pub linger_ms: u64,
    pub log: LogLimits,
}

impl Launch {
    /// The default of `linger_ms`.
    pub const LINGER_MS_DEFAULT: u64 = 5_000;
    /// A longer description is refused: the largest batch is 8 MiB, and escapes may multiply it.
    pub const BYTES_MAX: usize = 64 * 1024 * 1024;
}

/// Without the values of the environment and without the input: they may hold secrets.
impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Launch")
            .field("run", &self.run)
            .field("number", &self.number)
            .field("dir", &self.dir)
            .field("argv", &self.argv)
            .field("cwd", &self.cwd)
            .field("env", &names)
            .field("stdin_bytes", &self.stdin.len())
            .field("max_duration_ms", &self.max_duration_ms)
            .finish_non_exhaustive()
    }
}

/// How much output of a run is kept. Text is counted before encoding, line ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    /// Text kept from the beginning.
    pub text_bytes_max: u64,
    /// Text kept from the end, when there was more; held in memory until then.
    pub tail_bytes_max: u64,
}

impl LogLimits {
    /// A log file is at most this many times `text_bytes_max`: many short lines cost more to frame than to hold.
    pub const FRAMING_MAX: u64 = 8;
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { text_bytes_max: 64 * 1024 * 1024, tail_bytes_max: 256 * 1024 }
    }
}

/// How [`StopSignal`] is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "StopSignal", rename_all = "snake_case")]
enum StopSignalName {
    Terminate,
    Interrupt,
}
