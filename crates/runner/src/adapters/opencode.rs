//! The `opencode` adapter: `opencode run --format json`. The prompt goes in on standard input, one JSON
//! event a line comes out: a step that ends for another reason than its tools is the end of the turn.
//! Usage and cost come with every step. Learnt from version 1.18.33; unknown events are passed over.
//! It tries calls that were refused again without end and without an event: its error log is read for them.

#[cfg(test)]
mod tests;

use std::path::Path;

use serde_json::Value;
use wakeful_domain::outcome::{Outcome, SessionState};
use wakeful_domain::usage::Usage;

use super::course::{Course, signal, tool};
use super::results::{result, text_of};
use super::settings::{self, Keys, Kind};
use super::steps::{Answer, named};
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
    ("agent", Kind::Text),
    ("variant", Kind::Text),
    ("auto_approve", Kind::Flag),
];
/// Set by `OpenCode` for what it starts: a server started from there must not pass them on.
const ENV_REMOVED: &[&str] = &["OPENCODE", "OPENCODE_PID", "OPENCODE_SERVER_PASSWORD", "OPENCODE_SERVER_USERNAME"];
/// An update in the middle of a run would change the CLI under all other runs.
const ENV: &[(&str, &str)] = &[("OPENCODE_DISABLE_AUTOUPDATE", "1"), ("OPENCODE_DISABLE_TERMINAL_TITLE", "1")];
/// Time to stop after SIGTERM: tools in flight are ended and the session is written.
const GRACE_S: u32 = 20;
/// Refused calls in a row after which the run has failed: with its pauses of 2, 4, 8 and 16 s about half a minute.
const REFUSALS_MAX: u32 = 5;

pub(super) fn check(config: &Value) -> Result<(), ConfigError> {
    settings::check("opencode", KEYS, config)
}

pub(super) fn command(invocation: &Invocation<'_>) -> Result<Command, ConfigError> {
    let config = invocation.config;
    check(config)?;
    let session_id = invocation.session.and_then(session::id);
    let mut argv = settings::program(config, "opencode");
    let mut add = |arguments: &[&str]| argv.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    add(&["run", "--format", "json", "--print-logs", "--log-level", "ERROR"]);
    if let Some(id) = session_id {
        add(&["--session", id]);
    }
    for (option, setting) in [("--model", "model"), ("--agent", "agent"), ("--variant", "variant")] {
        if let Some(text) = settings::text(config, setting) {
            add(&[option, text]);
        }
    }
    if settings::flag(config, "auto_approve", true) {
        add(&["--auto"]);
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

/// Reads the event stream and the error log.
#[derive(Debug)]
pub(super) struct OpencodeReader {
    course: Course,
    /// Calls refused since the last event.
    refusals: u32,
}

impl OpencodeReader {
    pub(super) fn new(config: &Value, session: Option<&SessionState>, cwd: &Path) -> Self {
        let mut course = Course::new("opencode", &failures::OPENCODE, session, cwd);
        course.model = settings::text(config, "model").map(str::to_owned);
        course.provider = course.model.as_deref().and_then(|model| model.split_once('/')).map(|(name, _)| name.into());
        Self { course, refusals: 0 }
    }

    fn event(&mut self, event: &Value) -> Vec<Signal> {
        let mut signals = self.course.session(&event["sessionID"]);
        let part = &event["part"];
        match event["type"].as_str() {
            Some("step_start") => {
                self.refusals = 0;
                self.course.goes_on();
                self.course.tools.asked();
                self.answered(part, None);
            }
            Some("text") => signals.extend(self.course.said(part["text"].as_str().unwrap_or_default())),
            Some("tool_use") => {
                // It is told when it has ended.
                let name = part["tool"].as_str().unwrap_or("tool");
                let (state, exit_code) = (&part["state"], part["state"]["metadata"]["exit"].as_i64());
                let is_failed = state["status"] == "error" || exit_code.is_some_and(|code| code != 0);
                let ends = state["time"]["end"].as_u64().zip(state["time"]["start"].as_u64());
                let took_ms = ends.and_then(|(end, start)| end.checked_sub(start));
                self.course.tools.told(&part["callID"], name, is_failed, took_ms);
                signals.push(tool(name, &part["callID"], &state["input"]));
                let text = text_of(if state["error"].is_null() { &state["output"] } else { &state["error"] });
                signals.push(result(&part["callID"], is_failed, exit_code, text));
            }
            Some("step_finish") => self.step_finish(part),
            Some("error") => {
                let error = &event["error"];
                let name = error["name"].as_str().unwrap_or("error");
                let message = error["data"]["message"].as_str().unwrap_or(name);
                signals.push(signal("error", message, Value::from(name)));
                let known = failures::OPENCODE.of_words(name).or_else(|| failures::OPENCODE.of_words(message));
                let by_status = failures::of_status(error["data"]["statusCode"].as_u64());
                self.course.failed(message, known.or(by_status));
            }
            _ => {}
        }
        signals
    }

    /// A step is an answer of the model with the tool calls that it asks for.
    fn answered(&mut self, part: &Value, usage: Option<Usage>) {
        let (id, model) = (named(&part["messageID"]), self.course.model.clone());
        let output_is_known = usage.is_some();
        self.course.tools.answered(Answer { id, model, within: None, usage, output_is_known });
    }

    fn step_finish(&mut self, part: &Value) {
        let usage = usage_of(&part["tokens"]);
        self.course.used(&usage);
        self.answered(part, Some(usage));
        self.course.cost(part["cost"].as_f64().and_then(figures::micros_of_dollars));
        match part["reason"].as_str() {
            // It goes on after both, as after a provider that does not say why it stopped.
            Some("tool-calls" | "unknown") => self.course.goes_on(),
            Some("content-filter") => {
                self.course.failed("the response was blocked by the provider's content filter", None);
            }
            Some("length") => self.course.failed("the answer was cut off at the model's longest", None),
            Some("error") => self.course.failed("the model's answer ended with an error", None),
            _ => self.course.succeeded(),
        }
    }

    /// A line of the error log. Calls for the title of a session are not the agent's work.
    fn log_line(&mut self, line: &str) -> Vec<Signal> {
        if !line.contains("message=\"stream error\"") || line.contains("small=true") {
            self.course.stderr.push(&without_colours(line));
            return Vec::new();
        }
        let told = line.split_once("error.error=").map_or(line, |(_, told)| told).trim_matches('"');
        self.refusals += 1;
        let failure = failures::OPENCODE.of_words(told);
        let is_final = failure.is_some_and(|failure| failure.code == "usage_limit") || self.refusals >= REFUSALS_MAX;
        let signals = self.course.complained(told);
        if is_final {
            self.course.failed(told, failure.or(Some(failures::Failure::new("server_error"))));
        }
        signals
    }
}

impl Reader for OpencodeReader {
    fn line(&mut self, stream: Stream, line: &str) -> Vec<Signal> {
        match stream {
            Stream::Stderr => self.log_line(line),
            Stream::Stdout => self.course.events.read(line).map_or_else(Vec::new, |event| self.event(&event)),
        }
    }

    fn conclude(&mut self, exit: &Exit) -> Conclusion {
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

/// What is cached is not a part of the input here; reasoning is paid for as output.
fn usage_of(tokens: &Value) -> Usage {
    let count = |value: &Value| figures::tokens(value);
    let answered = Usage { output_tokens: count(&tokens["reasoning"]), ..Usage::default() };
    let used = Usage {
        input_tokens: count(&tokens["input"]),
        output_tokens: count(&tokens["output"]),
        cache_read_tokens: count(&tokens["cache"]["read"]),
        cache_write_tokens: count(&tokens["cache"]["write"]),
    };
    figures::sum(&used, &answered)
}

/// Its last words come in colours, whatever it writes to.
fn without_colours(line: &str) -> String {
    let mut pieces = line.split('\u{1b}');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        text.push_str(piece.find('m').map_or(piece, |end| &piece[end + 1..]));
    }
    text
}
