//! The launch description: all that a shim is told. It travels over a socket and is never on disk,
//! because its environment holds the token of the run and its secrets.
//!
//! Server and shim may be of different builds: what was added later has a default.

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
    /// Written to the standard input of the agent, which is then closed. It may hold secrets.
    pub stdin: String,
    /// Keeps the standard input open after `stdin`, for [`super::Orders::input`], until it is closed by order.
    #[serde(default)]
    pub keeps_stdin_open: bool,
    /// The signal that asks it to stop.
    #[serde(with = "StopSignalName")]
    pub stop_signal: StopSignal,
    /// How long it may take to stop before it is killed.
    pub grace_ms: u64,
    /// How long it may run.
    pub max_duration_ms: Option<u64>,
    /// How long it may take to write its first byte, to either output.
    #[serde(default)]
    pub first_output_ms: Option<u64>,
    /// What the tree may take of the machine.
    #[serde(default)]
    pub limits: ProcessLimits,
    /// How long what it left behind may take to end by itself, once it has ended.
    pub linger_ms: u64,
    pub log: LogLimits,
    /// Values that stand as `***` in the log, wherever they come from. Those shorter than 4 bytes are left alone.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Secrets that the agent finds in files which are on no disk.
    #[serde(default)]
    pub secret_files: Vec<SecretFile>,
}

/// What the whole tree may take at once. Where there is no cgroup it is sampled, so that more may be taken briefly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLimits {
    #[serde(default)]
    pub memory_bytes_max: Option<u64>,
    /// Processes and their threads.
    #[serde(default)]
    pub pids_max: Option<u64>,
}

/// A secret as a file: it can be read while the run lasts, through the path that the variable holds.
#[derive(Clone, Serialize, Deserialize)]
pub struct SecretFile {
    /// The variable of the agent's environment that is given the path.
    pub variable: String,
    pub content: String,
}

/// Without the content.
impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretFile").field("variable", &self.variable).finish_non_exhaustive()
    }
}

impl Launch {
    /// The default of `linger_ms`.
    pub const LINGER_MS_DEFAULT: u64 = 5_000;
    /// A longer description is refused: the largest batch is 8 MiB, and escapes may multiply it.
    pub const BYTES_MAX: usize = 64 * 1024 * 1024;
}

/// Without the values of the environment, the input and the secrets.
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
            .field("limits", &self.limits)
            .field("secrets", &self.secrets.len())
            .field("secret_files", &self.secret_files)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As a build before `keeps_stdin_open` wrote it.
    const EARLIER: &str = r#"{"run":"run_1","number":1,"dir":"/d","argv":["true"],"cwd":"/c","env":[["A","b"]],"stdin":"in",
        "stop_signal":"terminate","grace_ms":1,"max_duration_ms":null,"linger_ms":2,
        "log":{"text_bytes_max":3,"tail_bytes_max":4}}"#;

    #[test]
    fn a_description_of_an_earlier_build_asks_for_nothing_new() {
        let launch: Launch = serde_json::from_str(EARLIER).unwrap();
        assert!(!launch.keeps_stdin_open && launch.first_output_ms.is_none());
        assert_eq!(launch.limits, ProcessLimits::default());
        assert!(launch.secrets.is_empty() && launch.secret_files.is_empty());
    }

    #[test]
    fn what_is_secret_is_not_shown() {
        let mut launch: Launch = serde_json::from_str(EARLIER).unwrap();
        launch.env = vec![("TOKEN".into(), "s3cret".into())];
        launch.stdin = "s3cret".into();
        launch.secrets = vec!["s3cret".into()];
        launch.secret_files = vec![SecretFile { variable: "KEY_FILE".into(), content: "s3cret".into() }];
        let shown = format!("{launch:?}");
        assert!(!shown.contains("s3cret") && shown.contains("TOKEN") && shown.contains("KEY_FILE"), "{shown}");
    }
}
