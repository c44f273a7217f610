//! Adapters: how a kind of agent is started and how its output is read.
//! An adapter is pure: configuration and session in, a [`Command`] out; lines in, [`Signal`]s and
//! an [`Outcome`] out. Processes are the shim's business (`crate::process`).

mod claude;
mod cli;
mod codex;
mod course;
mod cursor;
mod ending;
mod events;
pub(crate) mod excerpt;
mod failures;
mod figures;
mod gemini;
pub mod http;
#[cfg(test)]
mod mutations;
mod opencode;
mod process;
mod report;
mod reset_time;
mod results;
mod session;
mod settings;
mod steps;
#[cfg(test)]
mod testing;
mod tools;

use std::path::Path;

use serde_json::Value;
use wakeful_domain::outcome::{Outcome, SessionState};
use wakeful_domain::time::Timestamp;

pub use steps::{Answer, Step};

/// What an adapter may use in order to say how its agent is started.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// The agent's `adapter` object, `type` included.
    pub config: &'a Value,
    /// What the agent is told.
    pub prompt: &'a str,
    /// The context document (JSON) that `WAKEFUL_CONTEXT_FILE` names.
    pub context_json: &'a str,
    /// The session to resume; `None` starts afresh.
    pub session: Option<&'a SessionState>,
    /// The directory the agent works in.
    pub cwd: &'a Path,
    /// Whether the agent will run as root: some CLIs refuse their permissive mode then.
    pub is_root: bool,
}

/// How an agent is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments. No secret is ever in here.
    pub argv: Vec<String>,
    /// Added to the environment that every run gets.
    pub env: Vec<(String, String)>,
    /// Variables of the server's environment that the agent must not see.
    pub env_remove: Vec<String>,
    /// Written to its standard input.
    pub stdin: String,
    /// Whether its standard input stays open after that, for what [`Adapter::steer`] gives. It is to be closed
    /// once [`Reader::has_ended`] says so; until then such an agent does not exit by itself.
    pub keeps_stdin_open: bool,
    /// The signal that asks it to stop.
    pub stop_signal: StopSignal,
    /// How long it may take to stop before it is killed, in seconds, unless the agent's limits say.
    pub grace_s_default: u32,
}

/// The signal that asks an agent to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    Terminate,
    Interrupt,
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// What a line of output means, for the run's event list.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    /// `session`, `message`, `tool`, `tool_result`, `rate_limit`, `error`, …
    pub kind: &'static str,
    /// An excerpt, but for a `tool_result`, which [`Signal::kept`] cuts.
    pub message: String,
    pub data: Value,
}

/// How the process ended, as the shim found it.
#[derive(Debug, Clone, PartialEq)]
pub struct Exit {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// What the agent wrote to `WAKEFUL_RESULT_FILE`, if anything.
    pub result_file: Option<String>,
    /// When it ended: wall-clock texts ("resets 4pm") are read relative to it.
    pub at: Timestamp,
}

/// What the reader concludes.
#[derive(Debug, Clone, PartialEq)]
pub enum Conclusion {
    /// The run is over.
    Done(Box<Outcome>),
    /// The session to be resumed does not exist: start once more, afresh, within the same run.
    SessionUnknown { error: String },
}

/// Reads an agent's output line by line. Memory is bounded whatever comes.
pub trait Reader: Send + Sync {
    /// Takes one line (without its end). Lines of more than 1 MiB arrive cut.
    fn line(&mut self, stream: Stream, line: &str) -> Vec<Signal>;
    /// Judges the execution once its process tree is gone. Never called for runs that were
    /// stopped or timed out: those outcomes are not the agent's to judge.
    fn conclude(&mut self, exit: &Exit) -> Conclusion;
    /// What is known so far, for runs that were stopped: session, usage, cost, model.
    fn so_far(&self) -> Outcome;
    /// Whether the agent has said that it is done: no further turn is expected, and the process should exit. An
    /// agent that takes another message after that is not done any more.
    fn has_ended(&self) -> bool {
        false
    }
    /// Whether a tool call runs now: its silence is work.
    fn is_in_tool(&self) -> bool {
        false
    }
    /// What the agent has done since this was asked, for a trace of the run. To be asked after each line.
    fn steps(&mut self) -> Vec<Step> {
        Vec::new()
    }
    /// How many of the texts written to its standard input the agent has confirmed, the prompt included. Each one
    /// after the prompt comes as a signal `steered` too, in the order of writing.
    fn inputs_taken(&self) -> u64 {
        0
    }
}

/// What is wrong with a report on a run, if anything.
pub fn check_report(text: &str) -> Result<(), String> {
    report::Report::read(text).map(|_| ())
}

/// The outcome that a report stands for, where it alone is the judgement.
pub fn reported(text: &str) -> Result<Outcome, String> {
    report::Report::read(text).map(|report| report.judge(Outcome::succeeded()))
}

/// An adapter that this binary knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adapter {
    Process,
    Http,
    Claude,
    Codex,
    Gemini,
    Opencode,
    Cursor,
    Cli,
}

/// Why an adapter configuration is refused: the field and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct ConfigError {
    /// Path of the field, as `adapter.command`.
    pub field: String,
    pub message: String,
}

impl Adapter {
    /// Every adapter, by the name that `adapter.type` uses.
    pub const ALL: &'static [(&'static str, Adapter)] = &[
        ("process", Adapter::Process),
        ("http", Adapter::Http),
        ("claude", Adapter::Claude),
        ("codex", Adapter::Codex),
        ("gemini", Adapter::Gemini),
        ("opencode", Adapter::Opencode),
        ("cursor", Adapter::Cursor),
        ("cli", Adapter::Cli),
    ];

    /// The adapter that a configuration names, once the whole configuration has been checked.
    pub fn of(config: &Value) -> Result<Adapter, ConfigError> {
        let name = config.get("type").and_then(Value::as_str).ok_or_else(|| ConfigError {
            field: "adapter.type".into(),
            message: format!("is required: one of {}", Self::names()),
        })?;
        let adapter = Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, adapter)| *adapter);
        let adapter = adapter.ok_or_else(|| ConfigError {
            field: "adapter.type".into(),
            message: format!("`{name}` is not an adapter: use one of {}", Self::names()),
        })?;
        adapter.check(config)?;
        Ok(adapter)
    }

    fn names() -> String {
        Self::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    fn check(self, config: &Value) -> Result<(), ConfigError> {
        match self {
            Adapter::Process => process::check(config),
            Adapter::Http => http::check(config),
            Adapter::Claude => claude::check(config),
            Adapter::Codex => codex::check(config),
            Adapter::Gemini => gemini::check(config),
            Adapter::Opencode => opencode::check(config),
            Adapter::Cursor => cursor::check(config),
            Adapter::Cli => cli::check(config),
        }
    }

    /// What stands at last, given what the agent itself reported: a `process` is judged by its report alone,
    /// so it has been heard already.
    pub fn heard(self, outcome: Outcome, report: Option<&str>) -> Outcome {
        let report = report.filter(|text| self != Adapter::Process && !text.trim().is_empty());
        match report.map(report::Report::read) {
            Some(Ok(report)) => report.overlay(outcome),
            // A file that cannot be understood does not undo what the events say.
            Some(Err(_)) | None => outcome,
        }
    }

    /// How the agent is started.
    pub fn command(self, invocation: &Invocation<'_>) -> Result<Command, ConfigError> {
        match self {
            Adapter::Process => process::command(invocation),
            Adapter::Http => Err(ConfigError { field: "adapter.type".into(), message: "`http` has no command".into() }),
            Adapter::Claude => claude::command(invocation),
            Adapter::Codex => codex::command(invocation),
            Adapter::Gemini => gemini::command(invocation),
            Adapter::Opencode => opencode::command(invocation),
            Adapter::Cursor => cursor::command(invocation),
            Adapter::Cli => cli::command(invocation),
        }
    }

    /// What to write to the standard input of a live agent so that it gets `text` at its next turn; `None` if this
    /// adapter, or this configuration of it, takes nothing while it works.
    pub fn steer(self, config: &Value, text: &str) -> Option<String> {
        match self {
            Adapter::Claude => claude::steer(config, text),
            Adapter::Process
            | Adapter::Http
            | Adapter::Codex
            | Adapter::Gemini
            | Adapter::Opencode
            | Adapter::Cursor
            | Adapter::Cli => None,
        }
    }

    /// A reader for the output of an agent that was started with this configuration, session and
    /// directory.
    pub fn reader(self, config: &Value, session: Option<&SessionState>, cwd: &Path) -> Box<dyn Reader> {
        match self {
            // Nothing comes from a service but its answer.
            Adapter::Process | Adapter::Http => Box::new(process::ProcessReader::new(config)),
            Adapter::Claude => Box::new(claude::ClaudeReader::new(session, cwd)),
            Adapter::Codex => Box::new(codex::CodexReader::new(config, session, cwd)),
            Adapter::Gemini => Box::new(gemini::GeminiReader::new(session, cwd)),
            Adapter::Opencode => Box::new(opencode::OpencodeReader::new(config, session, cwd)),
            Adapter::Cursor => Box::new(cursor::CursorReader::new(session, cwd)),
            Adapter::Cli => Box::new(cli::CliReader::new(config, session, cwd)),
        }
    }

    /// Whether its agents keep sessions that a later run can resume. A `process` agent does if it
    /// reports one.
    pub fn keeps_sessions(self) -> bool {
        match self {
            Adapter::Process
            | Adapter::Http
            | Adapter::Claude
            | Adapter::Codex
            | Adapter::Gemini
            | Adapter::Opencode
            | Adapter::Cursor
            | Adapter::Cli => true,
        }
    }

    /// Whether a session can be resumed in this directory; the error is the reason, for a person.
    /// Asked before every start: a session that cannot is left out of the [`Invocation`].
    pub fn resumable(self, session: &SessionState, cwd: &Path) -> Result<(), String> {
        match self {
            Adapter::Process | Adapter::Http => Ok(()),
            Adapter::Claude | Adapter::Codex | Adapter::Gemini | Adapter::Opencode | Adapter::Cursor | Adapter::Cli => {
                session::resumable(session, cwd)
            }
        }
    }
}
