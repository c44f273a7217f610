//! The `gemini` adapter: Gemini CLI with `--output-format stream-json`. The prompt goes in on standard
//! input, one JSON event a line comes out; `result` is the judgement. Learnt from version 0.61.0;
//! unknown events are passed over. Usage is the run's own, over all models; a cost is not reported.

#[cfg(test)]
mod tests;

use std::path::Path;

use serde_json::Value;
use wakeful_domain::outcome::{Outcome, SessionState};
use wakeful_domain::usage::Usage;

use super::course::{Course, tool};
use super::excerpt::{cut_bytes, name};
use super::results::{result, text_of};
use super::settings::{self, Keys, Kind};
use super::{Command, Conclusion, ConfigError, Exit, Invocation, Reader, Signal, Step, StopSignal, Stream};
use super::{failures, figures, session};

const KEYS: Keys = &[
    ("command", Kind::Command),
    ("account", Kind::Text),
    ("model", Kind::Text),
    ("cwd", Kind::Text),
    ("env", Kind::Environment),
    ("extra_args", Kind::Texts),
    ("prompt", Kind::Text),
    ("approval_mode", Kind::OneOf(&["auto_edit", "default", "plan", "yolo"])),
    ("sandbox", Kind::Flag),
];
/// Set by Gemini CLI for what it starts: a server started from there must not pass them on.
const ENV_REMOVED: &[&str] = &["GEMINI_CLI", "GEMINI_CLI_IDE_SERVER_PORT", "GEMINI_CLI_IDE_WORKSPACE_PATH"];
/// Nobody is there to trust the directory, and a second process over the first would keep signals from it.
const ENV: &[(&str, &str)] = &[("GEMINI_CLI_TRUST_WORKSPACE", "true"), ("GEMINI_CLI_NO_RELAUNCH", "true")];
/// Time to stop after SIGTERM: tools in flight are ended and the session is written.
const GRACE_S: u32 = 20;
/// An answer comes in pieces: no more of it is kept than a summary takes.
const PIECES_BYTES_MAX: usize = 16 * 1024;
/// Lines on standard error that say nothing about the run.
const NOISE: &[&str] = &["Warning: ", "YOLO mode is enabled", "Ripgrep is not available", "[STARTUP]", "    at "];

pub(super) fn check(config: &Value) -> Result<(), ConfigError> {
    settings::check("gemini", KEYS, config)
}

pub(super) fn command(invocation: &Invocation<'_>) -> Result<Command, ConfigError> {
    let config = invocation.config;
    check(config)?;
    let session_id = invocation.session.and_then(session::id);
    let mut argv = settings::program(config, "gemini");
    let mut add = |arguments: &[&str]| argv.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    add(&["--output-format", "stream-json"]);
    if let Some(id) = session_id {
        add(&["--resume", id]);
    }
    if let Some(model) = settings::text(config, "model") {
        add(&["--model", model]);
    }
    add(&["--approval-mode", settings::text(config, "approval_mode").unwrap_or("yolo")]);
    if settings::flag(config, "sandbox", false) {
        add(&["--sandbox"]);
    }
    argv.extend(settings::texts(config, "extra_args"));
    let mut env: Vec<(String, String)> = ENV.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    env.extend(settings::environment(config));
    Ok(Command {
        argv,
        env,
        env_remove: ENV_REMOVED.iter().map(|name| (*name).to_owned()).collect(),
        stdin: settings::prompt(config, invocation.prompt, session_id.is_none()),
        keeps_stdin_open: false,
        stop_signal: StopSignal::Terminate,
        grace_s_default: GRACE_S,
    })
}

/// Reads the event stream.
#[derive(Debug)]
pub(super) struct GeminiReader {
    course: Course,
    /// The answer that is coming in.
    pieces: String,
}

impl GeminiReader {
    pub(super) fn new(session: Option<&SessionState>, cwd: &Path) -> Self {
        Self { course: Course::new("gemini", &failures::GEMINI, session, cwd), pieces: String::new() }
    }

    fn event(&mut self, event: &Value) -> Vec<Signal> {
        let kind = event["type"].as_str();
        let is_piece = kind == Some("message") && event["role"] != "user";
        let mut signals = if is_piece { Vec::new() } else { self.whole() };
        match kind {
            Some("init") => {
                self.course.model = event["model"].as_str().map(name);
                self.course.provider = Some("google".into());
                signals.extend(self.course.session(&event["session_id"]));
                self.course.tools.asked();
            }
            Some("message") if is_piece => {
                let text = event["content"].as_str().unwrap_or_default();
                if event["delta"] != true {
                    signals.extend(self.whole());
                }
                self.course.goes_on();
                self.course.goes_on_answering();
                let room = PIECES_BYTES_MAX.saturating_sub(self.pieces.len());
                self.pieces.push_str(if text.len() <= room { text } else { "" });
                if text.len() > room && !self.pieces.ends_with('…') {
                    let rest = cut_bytes(text, room.max('…'.len_utf8()));
                    self.pieces.push_str(&rest);
                }
            }
            Some("tool_use") => {
                self.course.goes_on();
                self.course.goes_on_answering();
                let tool_name = event["tool_name"].as_str().unwrap_or("tool");
                self.course.tools.began(&event["tool_id"], tool_name);
                signals.push(tool(tool_name, &event["tool_id"], &event["parameters"]));
            }
            Some("tool_result") => {
                let (id, is_failed) = (&event["tool_id"], event["status"] == "error");
                self.course.tools.ended(id, is_failed);
                let error = event["error"]["message"].as_str().filter(|_| is_failed);
                let text = error.map_or_else(|| text_of(&event["output"]), str::to_owned);
                signals.push(result(id, is_failed, None, text));
            }
            Some("error") => {
                let message = event["message"].as_str().unwrap_or("gemini reported an error");
                signals.extend(self.course.complained(message));
            }
            Some("result") => self.result(event),
            _ => {}
        }
        signals
    }

    /// The answer is whole as soon as something else comes.
    fn whole(&mut self) -> Vec<Signal> {
        let text = std::mem::take(&mut self.pieces);
        self.course.said(&text)
    }

    fn result(&mut self, event: &Value) {
        self.course.usage = Some(usage_of(&event["stats"]));
        if event["status"] == "success" {
            return self.course.succeeded();
        }
        let error = event["error"]["message"].as_str().or(event["error"].as_str());
        let error = error.or(self.course.last_error()).unwrap_or_default().to_owned();
        self.course.failed(&error, None);
    }
}

impl Reader for GeminiReader {
    fn line(&mut self, stream: Stream, line: &str) -> Vec<Signal> {
        match stream {
            Stream::Stderr => {
                if !NOISE.iter().any(|noise| line.starts_with(noise)) {
                    self.course.stderr.push(line);
                }
                Vec::new()
            }
            Stream::Stdout => self.course.events.read(line).map_or_else(Vec::new, |event| self.event(&event)),
        }
    }

    fn conclude(&mut self, exit: &Exit) -> Conclusion {
        self.whole();
        self.course.conclude(exit)
    }

    fn so_far(&self) -> Outcome {
        self.course.so_far()
    }

    fn has_ended(&self) -> bool {
        self.course.has_ended()
    }

    fn is_in_tool(&self) -> bool {
        self.course.tools.is_any()
    }

    fn steps(&mut self) -> Vec<Step> {
        self.course.tools.take_steps()
    }
}

/// The cached tokens are a part of the input, thoughts and tools a part of the total only.
fn usage_of(stats: &Value) -> Usage {
    let (input, cached) = (figures::tokens(&stats["input_tokens"]), figures::tokens(&stats["cached"]));
    let (output, total) = (figures::tokens(&stats["output_tokens"]), figures::tokens(&stats["total_tokens"]));
    Usage {
        input_tokens: (input - cached).max(0),
        output_tokens: output.max(total - input),
        cache_read_tokens: cached,
        cache_write_tokens: 0,
    }
}
