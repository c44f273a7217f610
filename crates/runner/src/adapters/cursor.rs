//! The `cursor` adapter: Cursor's agent in print mode. The prompt goes in on standard input, one JSON event
//! a line comes out; `result` is the judgement. Written after its documented format, not recorded from it:
//! unknown events and fields are passed over.

#[cfg(test)]
mod tests;

use std::path::Path;

use serde_json::Value;
use wakeful_domain::outcome::{Outcome, SessionState};
use wakeful_domain::usage::Usage;

use super::course::{Course, tool};
use super::excerpt::name;
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
    ("mode", Kind::OneOf(&["ask", "plan"])),
    ("force", Kind::Flag),
];
/// Words for what came of a call that did not fail; the others name what went wrong.
const SUCCESSES: &[&str] = &["approved", "async", "complete", "registered", "stillRunning", "success"];
/// Time to stop after SIGTERM.
const GRACE_S: u32 = 20;

pub(super) fn check(config: &Value) -> Result<(), ConfigError> {
    settings::check("cursor", KEYS, config)
}

pub(super) fn command(invocation: &Invocation<'_>) -> Result<Command, ConfigError> {
    let config = invocation.config;
    check(config)?;
    let session_id = invocation.session.and_then(session::id);
    let mut argv = settings::program(config, "cursor-agent");
    let mut add = |arguments: &[&str]| argv.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    add(&["--print", "--output-format", "stream-json", "--workspace", &invocation.cwd.to_string_lossy()]);
    if let Some(id) = session_id {
        add(&["--resume", id]);
    }
    for (option, setting) in [("--model", "model"), ("--mode", "mode")] {
        if let Some(text) = settings::text(config, setting) {
            add(&[option, text]);
        }
    }
    if settings::flag(config, "force", true) {
        add(&["--force"]);
    }
    argv.extend(settings::texts(config, "extra_args"));
    Ok(Command {
        argv,
        env: settings::environment(config),
        env_remove: vec!["CURSOR_AGENT".into()],
        stdin: settings::prompt(config, invocation.prompt, session_id.is_none()),
        keeps_stdin_open: false,
        stop_signal: StopSignal::Terminate,
        grace_s_default: GRACE_S,
    })
}

/// Reads the event stream.
#[derive(Debug)]
pub(super) struct CursorReader {
    course: Course,
}

impl CursorReader {
    pub(super) fn new(session: Option<&SessionState>, cwd: &Path) -> Self {
        Self { course: Course::new("cursor-agent", &failures::CURSOR, session, cwd) }
    }

    fn event(&mut self, event: &Value) -> Vec<Signal> {
        if let Some(model) = event["model"].as_str() {
            self.course.model = Some(name(model));
        }
        let mut signals = self.course.session(&event["session_id"]);
        match (event["type"].as_str(), event["subtype"].as_str()) {
            (Some("system"), Some("init")) => {
                self.course.billing = match event["apiKeySource"].as_str() {
                    Some("login") => Some("subscription".into()),
                    Some(_) => Some("api".into()),
                    None => None,
                };
                self.course.tools.asked();
            }
            (Some("assistant"), _) => {
                self.course.goes_on();
                self.course.goes_on_answering();
                let blocks = event["message"]["content"].as_array().into_iter().flatten();
                let text: Vec<&str> = blocks.filter_map(|block| block["text"].as_str()).collect();
                signals.extend(self.course.said(&text.concat()));
            }
            (Some("tool_call"), Some("started")) => {
                self.course.goes_on();
                let call = call_of(event);
                let name = call.map_or("tool", |(name, _)| name.trim_end_matches("ToolCall"));
                let input = call.map_or(&Value::Null, |(_, call)| &call["args"]);
                self.course.goes_on_answering();
                self.course.tools.began(&event["call_id"], name);
                signals.push(tool(name, &event["call_id"], input));
            }
            (Some("tool_call"), Some("completed")) => {
                let (is_failed, exit_code, text) =
                    returned(call_of(event).map_or(&Value::Null, |(_, call)| &call["result"]));
                self.course.tools.ended(&event["call_id"], is_failed);
                signals.push(result(&event["call_id"], is_failed, exit_code, text));
            }
            (Some("error"), _) => {
                let message = event["message"].as_str().or(event["error"].as_str());
                signals.extend(self.course.complained(message.unwrap_or("cursor-agent reported an error")));
            }
            (Some("result"), subtype) => self.result(event, subtype),
            _ => {}
        }
        signals
    }

    fn result(&mut self, event: &Value, subtype: Option<&str>) {
        if let usage @ Value::Object(_) = &event["usage"] {
            self.course.usage = Some(usage_of(usage));
        }
        self.course.cost_micros = event["total_cost_usd"].as_f64().and_then(figures::micros_of_dollars);
        let text = event["result"].as_str().unwrap_or_default();
        if event["is_error"] == true || subtype != Some("success") {
            let error = event["error"].as_str().unwrap_or(text).to_owned();
            return self.course.failed(&error, None);
        }
        self.course.said(text);
        self.course.succeeded();
    }
}

impl Reader for CursorReader {
    fn line(&mut self, stream: Stream, line: &str) -> Vec<Signal> {
        match stream {
            Stream::Stderr => {
                self.course.stderr.push(line);
                Vec::new()
            }
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

/// `{"shellToolCall": {"args": {…}, "result": {…}}}`; times and the like may stand beside it.
fn call_of(event: &Value) -> Option<(&String, &Value)> {
    event["tool_call"].as_object()?.iter().find(|(_, call)| call.is_object())
}

/// Whether a call failed, its exit status and its text: `{"success": {…}}`, or another word for what came of it.
fn returned(result: &Value) -> (bool, Option<i64>, String) {
    let Some((kind, told)) = result.as_object().and_then(|result| result.iter().next()) else {
        return (false, None, text_of(result));
    };
    let exit_code = told["exitCode"].as_i64();
    let is_well = SUCCESSES.contains(&kind.as_str()) || kind.ends_with("Success");
    let is_failed = !is_well || exit_code.is_some_and(|code| code != 0);
    let texts = ["stdout", "stderr", "content", "errorMessage", "error", "reason", "message"];
    let texts = texts.iter().filter_map(|name| told[*name].as_str()).filter(|text| !text.is_empty());
    let text = texts.collect::<Vec<_>>().join("\n");
    (is_failed, exit_code, if text.is_empty() { text_of(told) } else { text })
}

/// Named as its maker's interface does, or as others do.
fn usage_of(usage: &Value) -> Usage {
    let count = |names: [&str; 2]| {
        figures::tokens(names.iter().map(|name| &usage[*name]).find(|v| !v.is_null()).unwrap_or(&Value::Null))
    };
    Usage {
        input_tokens: count(["inputTokens", "input_tokens"]),
        output_tokens: count(["outputTokens", "output_tokens"]),
        cache_read_tokens: count(["cacheReadTokens", "cache_read_input_tokens"]),
        cache_write_tokens: count(["cacheWriteTokens", "cache_creation_input_tokens"]),
    }
}
