//! The `codex` adapter: `codex exec --json`. The prompt goes in on standard input, one JSON event a
//! line comes out. `turn.completed` and `turn.failed` are the judgement; the exit status is only
//! asked when there is neither. Learnt from version 0.169.0; unknown events are passed over.
//! Usage is reported for the whole thread: what earlier runs used is kept in the session and taken off.

#[cfg(test)]
mod tests;

use std::path::Path;

use serde_json::{Map, Value, json};
use wakeful_domain::outcome::{Outcome, SessionChange, SessionState};
use wakeful_domain::usage::Usage;

use super::course::signal;
use super::events::EventLines;
use super::excerpt::{LastLines, cut, cut_bytes};
use super::failures::{CODEX, Failure};
use super::results::{call_id, result, text_of};
use super::settings::{self, Keys, Kind};
use super::steps::{Answer, Step};
use super::tools::RunningTools;
use super::{
    Command, Conclusion, ConfigError, Exit, Invocation, Reader, Signal, StopSignal, Stream, ending, figures, session,
};

const KEYS: Keys = &[
    ("command", Kind::Command),
    ("account", Kind::Text),
    ("model", Kind::Text),
    ("cwd", Kind::Text),
    ("env", Kind::Environment),
    ("extra_args", Kind::Texts),
    ("prompt", Kind::Text),
    ("sandbox", Kind::OneOf(SANDBOXES)),
    ("reasoning_effort", Kind::Text),
];
const SANDBOXES: &[&str] = &["read-only", "workspace-write", "danger-full-access"];
/// An agent that works writes files and reaches the server that it answers to.
const SANDBOX_DEFAULT: &str = "workspace-write";
/// Set by Codex for what it starts: a server started from there must not pass them on.
const ENV_REMOVED: &[&str] = &["CODEX_SANDBOX", "CODEX_SANDBOX_NETWORK_DISABLED", "CODEX_THREAD_ID"];
/// Time to stop after SIGINT: the commands it runs are ended first.
const GRACE_S: u32 = 20;
/// A summary is read by people.
const SUMMARY_BYTES_MAX: usize = 16 * 1024;
/// An explanation is a sentence, not a log.
const ERROR_CHARS_MAX: usize = 2_000;

pub(super) fn check(config: &Value) -> Result<(), ConfigError> {
    settings::check("codex", KEYS, config)
}

pub(super) fn command(invocation: &Invocation<'_>) -> Result<Command, ConfigError> {
    let config = invocation.config;
    check(config)?;
    let session_id = invocation.session.and_then(session::id);
    let mut argv = settings::program(config, "codex");
    let mut add = |arguments: &[&str]| argv.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    // Wakeful's directories are made for agents: whether they are repositories is not Codex's to ask.
    add(&["exec", "--json", "--skip-git-repo-check"]);
    let sandbox = settings::text(config, "sandbox").unwrap_or(SANDBOX_DEFAULT);
    add(&["-c", &format!("sandbox_mode=\"{sandbox}\"")]);
    if sandbox == "workspace-write" {
        add(&["-c", "sandbox_workspace_write.network_access=true"]);
    }
    if let Some(model) = settings::text(config, "model") {
        add(&["--model", model]);
    }
    if let Some(effort) = settings::text(config, "reasoning_effort") {
        add(&["-c", &format!("model_reasoning_effort={}", Value::from(effort))]);
    }
    argv.extend(settings::texts(config, "extra_args"));
    if let Some(id) = session_id {
        argv.extend(["resume".to_owned(), id.to_owned()]);
    }
    argv.push("-".into());

    let stdin = settings::prompt(config, invocation.prompt, session_id.is_none());
    Ok(Command {
        argv,
        env: settings::environment(config),
        env_remove: ENV_REMOVED.iter().map(|name| (*name).to_owned()).collect(),
        stdin,
        keeps_stdin_open: false,
        // On SIGTERM it dies at once and leaves the process groups of its tools behind.
        stop_signal: StopSignal::Interrupt,
        grace_s_default: GRACE_S,
    })
}

/// How the turn ended.
#[derive(Debug)]
enum Turn {
    Completed,
    Failed { error: String },
}

/// Reads the event stream.
#[derive(Debug)]
pub(super) struct CodexReader {
    cwd: String,
    model: Option<String>,
    /// The thread to be resumed, and what it had used until now.
    before: Option<(String, Usage)>,
    thread_id: Option<String>,
    /// What the thread has used in all, as far as reported.
    thread_usage: Option<Usage>,
    text: String,
    turn: Option<Turn>,
    /// How many have begun.
    turns: u64,
    events: EventLines,
    tools: RunningTools,
    last_error: Option<String>,
    stderr: LastLines,
}

impl CodexReader {
    pub(super) fn new(config: &Value, session: Option<&SessionState>, cwd: &Path) -> Self {
        let before = session.and_then(|session| {
            let usage = serde_json::from_value(session.params.get("usage").cloned().unwrap_or_default());
            Some((session::id(session)?.to_owned(), usage.unwrap_or_default()))
        });
        Self {
            cwd: cwd.to_string_lossy().into_owned(),
            model: settings::text(config, "model").map(str::to_owned),
            before,
            thread_id: None,
            thread_usage: None,
            text: String::new(),
            turn: None,
            turns: 0,
            events: EventLines::default(),
            tools: RunningTools::default(),
            last_error: None,
            stderr: LastLines::default(),
        }
    }

    fn event(&mut self, event: &Value) -> Vec<Signal> {
        match event["type"].as_str() {
            Some("thread.started") => {
                self.thread_id = event["thread_id"].as_str().filter(|id| session::is_id(id)).map(str::to_owned);
                let id = self.thread_id.as_deref().unwrap_or_default();
                vec![signal("session", id, json!({"session_id": id}))]
            }
            Some("turn.started") => {
                self.tools.asked();
                self.turns += 1;
                self.answered(None);
                Vec::new()
            }
            Some("item.started") => match event["item"]["type"].as_str() {
                Some("command_execution" | "mcp_tool_call" | "web_search") => {
                    let name = event["item"]["type"].as_str().unwrap_or("tool");
                    self.tools.began(&event["item"]["id"], name);
                    // What is searched for is only known at the end.
                    if event["item"]["type"] == "web_search" { Vec::new() } else { vec![tool(&event["item"])] }
                }
                _ => Vec::new(),
            },
            Some("item.completed") => {
                let item = &event["item"];
                let is_failed = matches!(item["status"].as_str(), Some("failed" | "declined"))
                    || item["exit_code"].as_i64().is_some_and(|code| code != 0);
                self.tools.ended(&item["id"], is_failed);
                if item["type"] == "file_change" {
                    self.tools.told(&item["id"], "file_change", is_failed, None);
                }
                let mut signals = self.item(item);
                signals.extend(returned(item, is_failed));
                signals
            }
            Some("error") => {
                let message = event["message"].as_str().unwrap_or("codex reported an error");
                self.last_error = Some(cut(message, ERROR_CHARS_MAX));
                vec![signal("error", message, Value::Null)]
            }
            Some("turn.completed") => {
                let before = self.usage().unwrap_or_default();
                self.thread_usage = Some(usage_of_turn(&event["usage"]));
                self.answered(self.usage().and_then(|usage| figures::since(&usage, &before)));
                self.turn = Some(Turn::Completed);
                self.tools.all_ended();
                Vec::new()
            }
            Some("turn.failed") => {
                let error = event["error"]["message"].as_str().or(self.last_error.as_deref());
                let error = cut(error.unwrap_or("codex reported a failed turn"), ERROR_CHARS_MAX);
                self.turn = Some(Turn::Failed { error });
                self.tools.all_ended();
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// What codex calls a turn is all its model says to one prompt; nothing finer has figures.
    fn answered(&mut self, usage: Option<Usage>) {
        let id = Some(format!("turn {}", self.turns));
        let output_is_known = usage.is_some();
        self.tools.answered(Answer { id, model: self.model.clone(), within: None, usage, output_is_known });
    }

    fn item(&mut self, item: &Value) -> Vec<Signal> {
        match item["type"].as_str() {
            Some("agent_message") => {
                let text = item["text"].as_str().unwrap_or_default();
                self.text = cut_bytes(text, SUMMARY_BYTES_MAX);
                vec![signal("message", text, Value::Null)]
            }
            Some("file_change" | "web_search") => vec![tool(item)],
            // A warning: errors that matter come as events of their own.
            Some("error") => vec![signal("error", item["message"].as_str().unwrap_or("error"), Value::Null)],
            _ => Vec::new(),
        }
    }

    /// What this run used: the thread's total without what it had used before.
    fn usage(&self) -> Option<Usage> {
        let total = self.thread_usage?;
        let before = match (&self.before, &self.thread_id) {
            (Some((id, usage)), Some(thread_id)) if id == thread_id => *usage,
            _ => Usage::default(),
        };
        // A total below the earlier one was not counted on from it: then it is this run's own.
        Some(figures::since(&total, &before).unwrap_or(total))
    }

    fn session(&self) -> SessionChange {
        let Some(id) = &self.thread_id else { return SessionChange::Keep };
        let earlier = self.before.as_ref().filter(|(known, _)| known == id).map(|(_, usage)| *usage);
        let total = self.thread_usage.or(earlier).unwrap_or_default();
        let mut extra = Map::new();
        extra.insert("usage".into(), json!(total));
        SessionChange::Set(session::state(id, &self.cwd, extra))
    }

    /// What every outcome carries, however the run ended.
    fn base(&self) -> Outcome {
        Outcome {
            session: self.session(),
            usage: self.usage(),
            model: self.model.clone(),
            summary: (!self.text.is_empty()).then(|| self.text.clone()),
            ..Outcome::succeeded()
        }
    }

    fn failed(&self, failure: Failure, error: &str, exit: &Exit) -> Outcome {
        ending::failed(failure, error, exit, self.base())
    }

    fn conclude_without_turn(&self, exit: &Exit) -> Conclusion {
        // Once a thread has begun the session is there, whatever is complained about.
        if self.before.is_some()
            && self.thread_id.is_none()
            && let Some(line) =
                self.stderr.newest_first().chain(self.last_error.as_deref()).find(|line| CODEX.is_session_unknown(line))
        {
            return Conclusion::SessionUnknown { error: line.to_owned() };
        }
        let by_exit = ending::without_result_among(
            self.events.unreadable(),
            exit,
            "codex",
            self.last_error.as_deref().or(self.stderr.last()),
        );
        let stderr = self.stderr.newest_first();
        let told = self.last_error.as_deref().into_iter().chain(stderr);
        let told = told.filter_map(|line| Some((CODEX.of_words(line)?, line))).next();
        Conclusion::Done(Box::new(match told {
            Some((failure, line)) if exit.signal.is_none() && exit.code != Some(0) => self.failed(failure, line, exit),
            _ => Outcome { summary: None, ..ending::judged_by(by_exit, self.base()) },
        }))
    }
}

impl Reader for CodexReader {
    fn line(&mut self, stream: Stream, line: &str) -> Vec<Signal> {
        match stream {
            Stream::Stderr => {
                if !line.starts_with("WARNING: ") {
                    self.stderr.push(line);
                }
                Vec::new()
            }
            Stream::Stdout => self.events.read(line).map_or_else(Vec::new, |event| self.event(&event)),
        }
    }

    fn conclude(&mut self, exit: &Exit) -> Conclusion {
        match &self.turn {
            Some(Turn::Completed) => Conclusion::Done(Box::new(self.base())),
            Some(Turn::Failed { error }) if self.before.is_some() && CODEX.is_session_unknown(error) => {
                Conclusion::SessionUnknown { error: error.clone() }
            }
            Some(Turn::Failed { error }) => {
                let failure = CODEX.of_words(error).unwrap_or(Failure::UNKNOWN);
                Conclusion::Done(Box::new(self.failed(failure, error, exit)))
            }
            None => self.conclude_without_turn(exit),
        }
    }

    fn so_far(&self) -> Outcome {
        self.base()
    }

    fn has_ended(&self) -> bool {
        self.turn.is_some()
    }

    fn is_in_tool(&self) -> bool {
        self.tools.is_any()
    }

    fn steps(&mut self) -> Vec<Step> {
        self.tools.take_steps()
    }
}

/// A tool and what it is used on.
fn tool(item: &Value) -> Signal {
    let kind = item["type"].as_str().unwrap_or("tool");
    let subject = match kind {
        "command_execution" => item["command"].as_str().map(str::to_owned),
        "mcp_tool_call" => Some(format!(
            "{} {}",
            item["server"].as_str().unwrap_or_default(),
            item["tool"].as_str().unwrap_or_default()
        )),
        "file_change" => {
            let changes = item["changes"].as_array().into_iter().flatten();
            let paths: Vec<&str> = changes.filter_map(|change| change["path"].as_str()).collect();
            Some(paths.join(", "))
        }
        _ => item["query"].as_str().map(str::to_owned),
    };
    let message = subject.map_or_else(|| kind.to_owned(), |subject| format!("{kind}: {subject}"));
    signal("tool", &message, json!({"name": kind, "id": call_id(&item["id"])}))
}

/// What came of a tool; of a search nothing is told but that it is over.
fn returned(item: &Value, is_failed: bool) -> Option<Signal> {
    let text = match item["type"].as_str()? {
        "command_execution" => text_of(&item["aggregated_output"]),
        "mcp_tool_call" => match item["error"]["message"].as_str() {
            Some(error) => error.to_owned(),
            None => {
                let (content, structured) = (&item["result"]["content"], &item["result"]["structured_content"]);
                let text = text_of(content);
                if text.is_empty() { text_of(structured) } else { text }
            }
        },
        "file_change" => {
            let changes = item["changes"].as_array().into_iter().flatten();
            let word = |change: &Value, name: &str| change[name].as_str().unwrap_or_default().to_owned();
            let lines = changes.map(|change| format!("{} {}", word(change, "kind"), word(change, "path")));
            lines.collect::<Vec<_>>().join("\n")
        }
        "web_search" => String::new(),
        _ => return None,
    };
    Some(result(&item["id"], is_failed, item["exit_code"].as_i64(), text))
}

/// The cached tokens are a part of the input, and so are those written to a cache.
fn usage_of_turn(usage: &Value) -> Usage {
    let count = |name: &str| figures::tokens(&usage[name]);
    let (read, written) = (count("cached_input_tokens"), count("cache_write_input_tokens"));
    Usage {
        input_tokens: (count("input_tokens") - read - written).max(0),
        output_tokens: count("output_tokens"),
        cache_read_tokens: read,
        cache_write_tokens: written,
    }
}
