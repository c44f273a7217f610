//! The `claude` adapter: Claude Code in print mode. The prompt goes in on standard input, one JSON
//! event a line comes out. Its `result` event is the judgement; the exit status is only asked when
//! there is none. Learnt from version 2.1.197; unknown events and fields are passed over.

mod classify;
#[cfg(test)]
mod tests;
mod totals;

use std::collections::VecDeque;
use std::path::Path;

use serde_json::{Value, json};
use wakeful_domain::outcome::{Outcome, SessionChange, SessionState};
use wakeful_domain::usage::{USAGE_MAX, Usage};

use self::classify::Judged;
use self::totals::{Totals, answer_of, usage_of_message, usage_of_result};
use super::course::{signal, tool};
use super::events::EventLines;
use super::excerpt::{LastLines, cut, cut_bytes, name};
use super::failures::{CLAUDE, Failure};
use super::results::{result, text_of};
use super::settings::{self, Keys, Kind};
use super::steps::Step;
use super::tools::RunningTools;
use super::{
    Command, Conclusion, ConfigError, Exit, Invocation, Reader, Signal, StopSignal, Stream, ending, figures,
    reset_time, session,
};

const KEYS: Keys = &[
    ("command", Kind::Command),
    ("account", Kind::Text),
    ("model", Kind::Text),
    ("cwd", Kind::Text),
    ("env", Kind::Environment),
    ("extra_args", Kind::Texts),
    ("prompt", Kind::Text),
    ("max_turns", Kind::Count),
    ("permission_mode", Kind::OneOf(PERMISSION_MODES)),
    ("allowed_tools", Kind::Texts),
    ("steering", Kind::Flag),
];
const PERMISSION_MODES: &[&str] = &["acceptEdits", "auto", "bypassPermissions", "default", "dontAsk", "plan"];
/// What an agent may do as root unless its settings say otherwise: the CLI refuses
/// `bypassPermissions` to root, and nobody is there to be asked.
const TOOLS_AS_ROOT: &str = "Bash,Edit,NotebookEdit,Read,Skill,Task,WebFetch,WebSearch,Write";
/// Set by Claude Code for what it starts: a server started from there must not pass them on.
const ENV_REMOVED: &[&str] =
    &["CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SESSION_ID", "CLAUDE_CODE_SSE_PORT"];
/// Time to stop after SIGTERM: tools in flight are ended and the transcript is written.
const GRACE_S: u32 = 20;
/// A summary is read by people.
const SUMMARY_BYTES_MAX: usize = 16 * 1024;
/// Several events repeat the usage of one message; they lie this close together even with subagents.
const MESSAGES_REMEMBERED: usize = 64;

pub(super) fn check(config: &Value) -> Result<(), ConfigError> {
    settings::check("claude", KEYS, config)
}

pub(super) fn command(invocation: &Invocation<'_>) -> Result<Command, ConfigError> {
    let config = invocation.config;
    check(config)?;
    let session_id = invocation.session.and_then(session::id);
    let mut argv = settings::program(config, "claude");
    let mut add = |arguments: &[&str]| argv.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    add(&["--print", "--output-format", "stream-json", "--verbose"]);
    if takes_messages(config) {
        // Each message is repeated once the agent has taken it.
        add(&["--input-format", "stream-json", "--replay-user-messages"]);
    }
    if let Some(id) = session_id {
        add(&["--resume", id]);
    }
    if let Some(model) = settings::text(config, "model") {
        add(&["--model", model]);
    }
    if let Some(turns) = config.get("max_turns").and_then(Value::as_u64) {
        add(&["--max-turns", &turns.to_string()]);
    }
    let mode = settings::text(config, "permission_mode");
    add(&["--permission-mode", mode.unwrap_or(if invocation.is_root { "dontAsk" } else { "bypassPermissions" })]);
    let tools = settings::texts(config, "allowed_tools").join(",");
    if !tools.is_empty() {
        add(&["--allowedTools", &tools]);
    } else if invocation.is_root && mode.is_none() {
        add(&["--allowedTools", TOOLS_AS_ROOT]);
    }
    argv.extend(settings::texts(config, "extra_args"));

    // An update in the middle of a run would change the CLI under all other runs.
    let mut env = vec![("DISABLE_AUTOUPDATER".to_owned(), "1".to_owned())];
    env.extend(settings::environment(config));
    let prompt = settings::prompt(config, invocation.prompt, session_id.is_none());
    let keeps_stdin_open = takes_messages(config);
    Ok(Command {
        argv,
        env,
        env_remove: ENV_REMOVED.iter().map(|name| (*name).to_owned()).collect(),
        stdin: if keeps_stdin_open { message(&prompt) } else { prompt },
        keeps_stdin_open,
        stop_signal: StopSignal::Terminate,
        grace_s_default: GRACE_S,
    })
}

/// What the agent reads as a message at its next turn.
pub(super) fn steer(config: &Value, text: &str) -> Option<String> {
    takes_messages(config).then(|| message(text))
}

fn takes_messages(config: &Value) -> bool {
    settings::flag(config, "steering", true)
}

fn message(text: &str) -> String {
    let content = json!([{"type": "text", "text": text}]);
    format!("{}\n", json!({"type": "user", "message": {"role": "user", "content": content}}))
}

/// Reads the event stream.
#[derive(Debug)]
pub(super) struct ClaudeReader {
    resumes: bool,
    /// What the session to be resumed had used before: the CLI counts on from it.
    before: Totals,
    cwd: String,
    session_id: Option<String>,
    model: Option<String>,
    /// Where the key comes from: `none` is a login.
    key_source: Option<String>,
    /// The last text of the agent itself; those of its subagents are not an answer.
    text: String,
    /// What the last `assistant` event calls an error of the API.
    api_error: Option<String>,
    /// When the limit lifts that stopped the run.
    limit_resets_at: Option<i64>,
    limit_is_reached: bool,
    counted: Usage,
    messages_counted: VecDeque<String>,
    result: Option<Value>,
    events: EventLines,
    /// The result stands: nothing has begun since.
    has_ended: bool,
    inputs_taken: u64,
    tools: RunningTools,
    stderr: LastLines,
}

impl ClaudeReader {
    pub(super) fn new(session: Option<&SessionState>, cwd: &Path) -> Self {
        Self {
            resumes: session.is_some(),
            before: session.map(Totals::of).unwrap_or_default(),
            cwd: cwd.to_string_lossy().into_owned(),
            session_id: None,
            model: None,
            key_source: None,
            text: String::new(),
            api_error: None,
            limit_resets_at: None,
            limit_is_reached: false,
            counted: Usage::default(),
            messages_counted: VecDeque::new(),
            result: None,
            events: EventLines::default(),
            has_ended: false,
            inputs_taken: 0,
            tools: RunningTools::default(),
            stderr: LastLines::default(),
        }
    }

    fn event(&mut self, mut event: Value) -> Vec<Signal> {
        match event["type"].as_str() {
            Some("system") => self.system(&event),
            Some("assistant") => self.assistant(&event),
            Some("user") => self.user(&event),
            Some("rate_limit_event") => self.rate_limit(event["rate_limit_info"].take()),
            Some("result") => {
                self.take_session_id(&event);
                self.result = Some(event);
                self.has_ended = true;
                self.tools.all_ended();
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn take_session_id(&mut self, event: &Value) {
        if let Some(id) = event["session_id"].as_str().filter(|id| session::is_id(id)) {
            self.session_id = Some(id.to_owned());
        }
    }

    fn system(&mut self, event: &Value) -> Vec<Signal> {
        match event["subtype"].as_str() {
            Some("init") => {
                // One at the beginning, and one before each further turn.
                let is_known = self.session_id.is_some() && self.session_id.as_deref() == event["session_id"].as_str();
                self.has_ended = false;
                self.take_session_id(event);
                self.model = event["model"].as_str().map(name);
                self.key_source = event["apiKeySource"].as_str().map(name);
                self.tools.asked();
                if is_known {
                    return Vec::new();
                }
                let data = json!({"session_id": self.session_id, "model": self.model});
                vec![signal("session", self.session_id.as_deref().unwrap_or_default(), data)]
            }
            Some("api_retry") => {
                let attempts = format!("{}/{}", event["attempt"], event["max_retries"]);
                let why = event["error"].as_str().unwrap_or("error");
                let message = format!("the model did not answer ({why}), attempt {attempts}");
                vec![signal(
                    "error",
                    &message,
                    json!({"status": event["error_status"], "delay_ms": event["retry_delay_ms"]}),
                )]
            }
            _ => Vec::new(),
        }
    }

    /// What tools returned, and the messages that the agent has taken.
    fn user(&mut self, event: &Value) -> Vec<Signal> {
        let content = &event["message"]["content"];
        let mut signals = Vec::new();
        for block in content.as_array().into_iter().flatten().filter(|block| block["type"] == "tool_result") {
            let (id, is_failed) = (&block["tool_use_id"], block["is_error"] == true);
            self.tools.ended(id, is_failed);
            signals.push(result(id, is_failed, None, text_of(&block["content"])));
        }
        if event["isReplay"] != true {
            return signals;
        }
        self.has_ended = false;
        self.inputs_taken += 1;
        let blocks = content.as_array().into_iter().flatten();
        let text = content.as_str().or_else(|| blocks.filter_map(|block| block["text"].as_str()).next());
        if self.inputs_taken > 1 {
            signals.push(signal("steered", text.unwrap_or_default(), Value::Null));
        }
        signals
    }

    fn assistant(&mut self, event: &Value) -> Vec<Signal> {
        self.has_ended = false;
        self.take_session_id(event);
        self.api_error = event["error"].as_str().map(name);
        let message = &event["message"];
        self.count(message);
        self.tools.answered(answer_of(event));
        let is_its_own = event["parent_tool_use_id"].is_null();
        let mut signals = Vec::new();
        for block in message["content"].as_array().into_iter().flatten() {
            match (block["type"].as_str(), block["text"].as_str()) {
                (Some("text"), Some(text)) if self.api_error.is_some() => {
                    signals.push(signal("error", text, json!({"error": self.api_error})));
                }
                (Some("text"), Some(text)) if is_its_own && !text.is_empty() => {
                    self.text = cut_bytes(text, SUMMARY_BYTES_MAX);
                    signals.push(signal("message", text, Value::Null));
                }
                (Some("tool_use"), _) => {
                    let name = block["name"].as_str().unwrap_or("tool");
                    self.tools.began(&block["id"], name);
                    signals.push(tool(name, &block["id"], &block["input"]));
                }
                _ => {}
            }
        }
        signals
    }

    /// Counts a message once, however many events it comes in. Only asked when there is no result:
    /// the output of a message is not known yet when its events are written.
    fn count(&mut self, message: &Value) {
        let Some(id) = message["id"].as_str() else { return };
        if self.messages_counted.iter().any(|known| known == id) {
            return;
        }
        if self.messages_counted.len() == MESSAGES_REMEMBERED {
            self.messages_counted.pop_front();
        }
        self.messages_counted.push_back(cut(id, SessionState::DISPLAY_CHARS_MAX));
        self.counted = figures::sum(&self.counted, &usage_of_message(&message["usage"]));
    }

    fn rate_limit(&mut self, info: Value) -> Vec<Signal> {
        let status = info["status"].as_str().unwrap_or_default();
        self.limit_is_reached = status == "rejected";
        if self.limit_is_reached {
            self.limit_resets_at = info["resetsAt"].as_i64();
        }
        match status {
            "" | "allowed" => Vec::new(),
            status => {
                let kind = info["rateLimitType"].as_str().unwrap_or("unnamed");
                vec![signal("rate_limit", &format!("{kind} limit: {status}"), info.clone())]
            }
        }
    }

    /// What every outcome carries, however the run ended.
    fn base(&self) -> Outcome {
        let is_elsewhere =
            self.model.as_deref().is_some_and(|model| model.contains("anthropic.") || model.contains('@'));
        let (used, totals) = self.figures();
        let session = self.session_id.as_deref().map(|id| session::state(id, &self.cwd, totals.extra()));
        Outcome {
            session: session.map_or(SessionChange::Keep, SessionChange::Set),
            usage: (used.usage != Usage::default() || self.result.is_some()).then_some(used.usage),
            cost_micros: used.cost_micros,
            model: self.model.clone(),
            provider: (self.model.is_some() && !is_elsewhere).then(|| "anthropic".into()),
            billing: match self.key_source.as_deref() {
                Some("none") if is_elsewhere => None,
                Some("none") => Some("subscription".into()),
                Some(_) => Some("api".into()),
                None => None,
            },
            ..Outcome::succeeded()
        }
    }

    /// What this run used, and what the session has used in all.
    fn figures(&self) -> (Totals, Totals) {
        let Some(result) = &self.result else {
            let used = Totals { usage: self.counted, cost_micros: None };
            return (used, self.before.plus(&used));
        };
        let told = Totals {
            usage: usage_of_result(result),
            cost_micros: result["total_cost_usd"].as_f64().and_then(figures::micros_of_dollars),
        };
        // Everything that was counted message by message must be in what is left: otherwise what is told is
        // the run's own already.
        let is_whole = |usage: &Usage| figures::since(&Usage { output_tokens: USAGE_MAX, ..*usage }, &self.counted);
        match figures::since(&told.usage, &self.before.usage).filter(|usage| is_whole(usage).is_some()) {
            Some(usage) => {
                let before = self.before.cost_micros.unwrap_or(0);
                let cost_micros = told.cost_micros.map(|cost| if cost < before { cost } else { cost - before });
                (Totals { usage, cost_micros }, told)
            }
            None => (told, self.before.plus(&told)),
        }
    }

    fn failed(&self, failure: &Failure, sentence: String, exit: &Exit) -> Outcome {
        let zone = jiff::tz::TimeZone::system();
        let retry_at = || {
            let told =
                self.limit_resets_at.and_then(reset_time::epoch).filter(|at| reset_time::is_believed(*at, exit.at));
            told.or_else(|| reset_time::read(&sentence, exit.at, &zone))
        };
        let base = self.base();
        Outcome {
            retry_at: if failure.code == "usage_limit" { retry_at() } else { None },
            session: if failure.ends_session { SessionChange::Clear } else { base.session.clone() },
            ..ending::judged_by(Outcome::failed(failure.code, sentence), base)
        }
    }

    fn conclude_by_result(&self, result: &Value, exit: &Exit) -> Conclusion {
        let judged = Judged {
            result,
            api_error: self.api_error.as_deref(),
            limit_is_reached: self.limit_is_reached,
            resumes: self.resumes,
        };
        match classify::judge(&judged) {
            Ok(()) => {
                let text = result["result"].as_str().filter(|text| !text.is_empty()).unwrap_or(&self.text);
                let summary = (!text.is_empty()).then(|| cut_bytes(text, SUMMARY_BYTES_MAX));
                Conclusion::Done(Box::new(Outcome { summary, ..self.base() }))
            }
            Err((classify::SESSION_UNKNOWN, error)) => Conclusion::SessionUnknown { error },
            Err((failure, error)) => Conclusion::Done(Box::new(self.failed(&failure, error, exit))),
        }
    }

    fn of_stderr(&self, line: &str) -> Option<Failure> {
        match self.resumes && CLAUDE.is_session_unknown(line) {
            true => Some(classify::SESSION_UNKNOWN),
            false => CLAUDE.of_stderr(line),
        }
    }

    fn conclude_without_result(&self, exit: &Exit) -> Conclusion {
        let by_exit = ending::without_result_among(self.events.unreadable(), exit, "claude", self.stderr.last());
        let lines = self.stderr.newest_first();
        let told = lines.filter_map(|line| Some((self.of_stderr(line)?, line))).next();
        let outcome = match told {
            // Nothing was done yet when the session was not found, whatever the exit says.
            Some((classify::SESSION_UNKNOWN, line)) => return Conclusion::SessionUnknown { error: line.to_owned() },
            Some((failure, line)) if exit.signal.is_none() => self.failed(&failure, line.to_owned(), exit),
            _ => ending::judged_by(by_exit, self.base()),
        };
        Conclusion::Done(Box::new(outcome))
    }
}

impl Reader for ClaudeReader {
    fn line(&mut self, stream: Stream, line: &str) -> Vec<Signal> {
        match stream {
            Stream::Stderr => {
                self.stderr.push(line);
                Vec::new()
            }
            Stream::Stdout => self.events.read(line).map_or_else(Vec::new, |event| self.event(event)),
        }
    }

    fn conclude(&mut self, exit: &Exit) -> Conclusion {
        match &self.result {
            Some(result) => self.conclude_by_result(result, exit),
            None => self.conclude_without_result(exit),
        }
    }

    fn so_far(&self) -> Outcome {
        Outcome { summary: (!self.text.is_empty()).then(|| self.text.clone()), ..self.base() }
    }

    fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn is_in_tool(&self) -> bool {
        self.tools.is_any()
    }

    fn inputs_taken(&self) -> u64 {
        self.inputs_taken
    }

    fn steps(&mut self) -> Vec<Step> {
        self.tools.take_steps()
    }
}
