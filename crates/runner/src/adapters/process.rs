//! The `process` adapter: any command. It is judged by its exit status and by the JSON that it may
//! write to the file that `WAKEFUL_RESULT_FILE` names; its output is a log and nothing else.
//! What it says in its result file beats its exit status; a file that cannot be understood is a failure.

use serde::Deserialize;
use serde_json::Value;
use wakeful_domain::failure::{self, FailureClass};
use wakeful_domain::outcome::{End, Outcome, SessionChange, SessionState};
use wakeful_domain::time::Timestamp;
use wakeful_domain::usage::Usage;

use super::excerpt::{LastLines, cut, cut_bytes};
use super::settings::{self, Keys, Kind};
use super::{Command, Conclusion, ConfigError, Exit, Invocation, Reader, Signal, StopSignal, Stream, ending};

const KEYS: Keys = &[
    ("command", Kind::Command),
    ("cwd", Kind::Text),
    ("env", Kind::Environment),
    ("stdin", Kind::OneOf(&["context", "none"])),
];

/// `EX_TEMPFAIL` of sysexits.h: try again later.
const EXIT_TEMPORARY_FAILURE: i32 = 75;
/// What a shell exits with if it does not find a command.
const EXIT_NOT_FOUND: i32 = 127;
/// A summary is read by people: more belongs into the result.
const SUMMARY_BYTES_MAX: usize = 16 * 1024;
/// An explanation is a sentence, not a log.
const ERROR_CHARS_MAX: usize = 2_000;
/// A session goes to the next run in an environment variable, which has little room.
const SESSION_BYTES_MAX: usize = 16 * 1024;
/// Codes are words to group failures by.
const ERROR_CODE_CHARS_MAX: usize = 64;
/// Time to stop after SIGTERM: an arbitrary command rarely has much to put away.
const GRACE_S: u32 = 15;

pub(super) fn check(config: &Value) -> Result<(), ConfigError> {
    settings::check("process", KEYS, config)?;
    match config.get("command") {
        Some(_) => Ok(()),
        None => Err(ConfigError {
            field: "adapter.command".into(),
            message: "is required: a text for the shell, or a list of program and arguments".into(),
        }),
    }
}

pub(super) fn command(invocation: &Invocation<'_>) -> Result<Command, ConfigError> {
    let config = invocation.config;
    check(config)?;
    let argv = match settings::text(config, "command") {
        Some(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()],
        None => settings::texts(config, "command"),
    };
    let mut env = settings::environment(config);
    if let Some(session) = invocation.session {
        let text = session.params.as_str().map_or_else(|| session.params.to_string(), str::to_owned);
        env.push(("WAKEFUL_SESSION".into(), text));
    }
    let stdin = match settings::text(config, "stdin") {
        Some("context") => invocation.context_json.to_owned(),
        _ => String::new(),
    };
    Ok(Command {
        argv,
        env,
        env_remove: Vec::new(),
        stdin,
        stop_signal: StopSignal::Terminate,
        grace_s_default: GRACE_S,
    })
}

/// Keeps the last lines of standard error; the rest is in the result file.
#[derive(Debug)]
pub(super) struct ProcessReader {
    is_shell_line: bool,
    stderr: LastLines,
}

impl ProcessReader {
    pub(super) fn new(config: &Value) -> Self {
        Self { is_shell_line: settings::text(config, "command").is_some(), stderr: LastLines::default() }
    }

    fn without_file(&self, exit: &Exit) -> Outcome {
        match (exit.signal, exit.code) {
            (Some(signal), _) => ending::killed(signal),
            (None, Some(0)) => Outcome::succeeded(),
            (None, Some(EXIT_TEMPORARY_FAILURE)) => Outcome::failed(
                "temporary_failure",
                ending::with_last_line("the command asked to be tried again (status 75)", self.stderr.last()),
            ),
            (None, Some(EXIT_NOT_FOUND)) if self.is_shell_line && self.shell_found_nothing() => Outcome::failed(
                "command_not_found",
                ending::with_last_line("the shell did not find a command (status 127)", self.stderr.last()),
            ),
            (None, code) => ending::exit_nonzero("the command", code, self.stderr.last()),
        }
    }

    /// A program may exit with 127 for reasons of its own: only with the shell's words is it the shell's.
    fn shell_found_nothing(&self) -> bool {
        self.stderr
            .last()
            .is_some_and(|line| line.ends_with("not found") || line.ends_with("No such file or directory"))
    }
}

impl Reader for ProcessReader {
    fn line(&mut self, stream: Stream, line: &str) -> Vec<Signal> {
        if stream == Stream::Stderr {
            self.stderr.push(line);
        }
        Vec::new()
    }

    fn conclude(&mut self, exit: &Exit) -> Conclusion {
        let by_exit = self.without_file(exit);
        let file = exit.result_file.as_deref().filter(|text| !text.trim().is_empty());
        let outcome = match file.map(ResultFile::read) {
            None => by_exit,
            Some(Ok(file)) => file.judge(by_exit),
            // How it died says more than what it could not finish writing.
            Some(Err(_)) if exit.signal.is_some() => by_exit,
            Some(Err(reason)) => Outcome::failed("bad_result_file", format!("the result file is refused: {reason}")),
        };
        Conclusion::Done(Box::new(outcome))
    }

    fn so_far(&self) -> Outcome {
        Outcome::succeeded()
    }
}

/// What a command may say about its run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResultFile {
    outcome: Option<Said>,
    summary: Option<String>,
    /// Missing keeps the session, `null` ends it.
    #[serde(default, deserialize_with = "present")]
    session: Option<Value>,
    usage: Option<Usage>,
    cost_micros: Option<i64>,
    result: Option<Value>,
    error_code: Option<String>,
    error: Option<String>,
    retry_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Succeeded,
    Failed,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl ResultFile {
    fn read(text: &str) -> Result<Self, String> {
        let file: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let counts = file
            .usage
            .map(|usage| [usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens]);
        if counts.into_iter().flatten().chain(file.cost_micros).any(|count| count < 0) {
            return Err("usage and cost_micros are never negative".into());
        }
        if let Some(code) = &file.error_code {
            check_code(code)?;
        }
        match &file.session {
            None | Some(Value::Null) => {}
            Some(session @ (Value::String(_) | Value::Object(_))) if session.to_string().len() <= SESSION_BYTES_MAX => {
            }
            Some(_) => {
                return Err(format!("session must be a text or an object of at most {SESSION_BYTES_MAX} bytes"));
            }
        }
        if file.outcome == Some(Said::Succeeded) && file.error_code.is_some() {
            return Err("it says `succeeded` and gives an error_code".into());
        }
        Ok(file)
    }

    /// What the file says, and where it is silent, what the exit says.
    fn judge(self, by_exit: Outcome) -> Outcome {
        let speaks_of_failure = self.error_code.is_some() || self.error.is_some();
        let end = match self.outcome {
            Some(Said::Succeeded) => End::Succeeded,
            Some(Said::Failed) => End::Failed,
            None if speaks_of_failure => End::Failed,
            None => by_exit.end,
        };
        let (error_code, error) = match end {
            End::Succeeded => (None, None),
            _ => (
                self.error_code.or(by_exit.error_code).or(Some("agent_error".into())),
                self.error.or(by_exit.error).or(Some("the command reported a failure and no reason".into())),
            ),
        };
        let session = match self.session {
            None => SessionChange::Keep,
            Some(Value::Null) => SessionChange::Clear,
            Some(params) => SessionChange::Set(session_of(params)),
        };
        Outcome {
            end,
            error_code,
            error: error.map(|text| cut(&text, ERROR_CHARS_MAX)),
            summary: self.summary.map(|text| cut_bytes(&text, SUMMARY_BYTES_MAX)),
            result: self.result,
            session,
            usage: self.usage,
            cost_micros: self.cost_micros,
            retry_at: self.retry_at,
            ..Outcome::succeeded()
        }
    }
}

fn check_code(code: &str) -> Result<(), String> {
    let of_a_code = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if code.is_empty() || code.len() > ERROR_CODE_CHARS_MAX || !code.chars().all(of_a_code) {
        return Err(format!("error_code must be 1 to {ERROR_CODE_CHARS_MAX} of a-z, 0-9 and _"));
    }
    // Runs released with these codes are repeated without end and without being counted.
    match failure::class_of(code) {
        FailureClass::Release => Err(format!("error_code `{code}` is the server's to give")),
        FailureClass::Transient | FailureClass::Quota | FailureClass::Once | FailureClass::Permanent => Ok(()),
    }
}

fn session_of(params: Value) -> SessionState {
    let named = ["session_id", "id"].iter().find_map(|key| params.get(key)?.as_str());
    let display_id = params.as_str().or(named).map_or_else(|| params.to_string(), str::to_owned);
    SessionState::new(params, &display_id)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn invocation<'a>(config: &'a Value, session: Option<&'a SessionState>) -> Invocation<'a> {
        Invocation { config, prompt: "do it", context_json: "{}", session, cwd: Path::new("/work"), is_root: false }
    }

    #[test]
    fn a_text_goes_through_the_shell_and_a_list_does_not() {
        let config = json!({"type": "process", "command": "echo $HOME | tee x", "env": {"A": "b"}});
        let found = command(&invocation(&config, None)).unwrap();
        assert_eq!(found.argv, ["/bin/sh", "-c", "echo $HOME | tee x"]);
        assert_eq!(found.env, [("A".to_owned(), "b".to_owned())]);
        assert_eq!(found.stdin, "");

        let config = json!({"type": "process", "command": ["echo", "$HOME"], "stdin": "context"});
        let found = command(&invocation(&config, None)).unwrap();
        assert_eq!(found.argv, ["echo", "$HOME"]);
        assert_eq!(found.stdin, "{}");
        assert!(
            check(&json!({"type": "process"})).unwrap_err().to_string().starts_with("adapter.command: is required")
        );
    }

    #[test]
    fn a_session_is_given_on() {
        let config = json!({"command": "x"});
        let check = |params: Value, text: &str, display_id: &str| {
            let session = session_of(params);
            assert_eq!(session.display_id, display_id);
            let found = command(&invocation(&config, Some(&session))).unwrap();
            assert_eq!(found.env, [("WAKEFUL_SESSION".to_owned(), text.to_owned())]);
        };
        check(json!("thread-7"), "thread-7", "thread-7");
        check(json!({"id": "7", "page": 3}), r#"{"id":"7","page":3}"#, "7");
        check(json!({"page": 3}), r#"{"page":3}"#, r#"{"page":3}"#);
    }

    fn outcome(command: Value, code: i32, signal: Option<i32>, stderr: &str, result_file: Option<&str>) -> Outcome {
        let mut reader = ProcessReader::new(&json!({"command": command}));
        stderr.lines().for_each(|line| assert_eq!(reader.line(Stream::Stderr, line), []));
        let exit = Exit {
            code: signal.is_none().then_some(code),
            signal,
            result_file: result_file.map(str::to_owned),
            at: Timestamp::from_millis(0),
        };
        match reader.conclude(&exit) {
            Conclusion::Done(outcome) => *outcome,
            Conclusion::SessionUnknown { error } => panic!("{error}"),
        }
    }

    #[test]
    fn exits_are_judged() {
        let check = |command: Value, code, signal, stderr: &str, expected: (&str, &str)| {
            let found = outcome(command, code, signal, stderr, None);
            assert_eq!(
                (found.error_code.unwrap_or_default(), found.error.unwrap_or_default()),
                (expected.0.into(), expected.1.into())
            );
        };
        check(json!("x"), 0, None, "warning", ("", ""));
        check(json!("x"), 3, None, "a\nb\n\n", ("exit_nonzero", "the command exited with status 3: b"));
        check(json!("x"), 75, None, "", ("temporary_failure", "the command asked to be tried again (status 75)"));
        check(
            json!("x"),
            127,
            None,
            "/bin/sh: 1: x: not found",
            ("command_not_found", "the shell did not find a command (status 127): /bin/sh: 1: x: not found"),
        );
        check(json!("x"), 127, None, "", ("exit_nonzero", "the command exited with status 127"));
        check(json!(["x"]), 127, None, "not found", ("exit_nonzero", "the command exited with status 127: not found"));
        check(
            json!("x"),
            126,
            None,
            "sh: 1: ./x: Permission denied",
            ("exit_nonzero", "the command exited with status 126: sh: 1: ./x: Permission denied"),
        );
        check(json!("x"), 0, Some(15), "", ("killed", "the process was killed by SIGTERM"));
    }

    #[test]
    fn the_result_file_beats_the_exit() {
        let check = |code: i32, signal: Option<i32>, file: Value, expected: (&str, &str)| {
            let found = outcome(json!("x"), code, signal, "", Some(&file.to_string()));
            assert_eq!(found.end == End::Succeeded, expected.0.is_empty(), "{file}");
            assert_eq!(
                (found.error_code.unwrap_or_default(), found.error.unwrap_or_default()),
                (expected.0.into(), expected.1.into()),
                "{file}"
            );
        };
        check(0, None, json!({}), ("", ""));
        check(3, None, json!({"outcome": "succeeded"}), ("", ""));
        check(3, None, json!({"summary": "s"}), ("exit_nonzero", "the command exited with status 3"));
        check(3, None, json!({"error": "no disk"}), ("exit_nonzero", "no disk"));
        check(0, None, json!({"outcome": "failed"}), ("agent_error", "the command reported a failure and no reason"));
        check(0, None, json!({"error_code": "usage_limit", "error": "full"}), ("usage_limit", "full"));
        check(0, Some(9), json!({"summary": "s"}), ("killed", "the process was killed by SIGKILL"));
        check(0, Some(15), json!({"outcome": "succeeded"}), ("", ""));
    }

    #[test]
    fn everything_reported_is_kept() {
        let file = json!({
            "summary": "x".repeat(20_000),
            "session": {"id": "7"},
            "usage": {"input_tokens": 5, "output_tokens": 2},
            "cost_micros": 12,
            "result": [1],
            "retry_at": "2026-11-21T09:00:00Z",
            "outcome": "failed",
            "error_code": "usage_limit",
        });
        let found = outcome(json!("x"), 0, None, "", Some(&file.to_string()));
        assert_eq!(found.summary.map(|text| text.len()), Some(SUMMARY_BYTES_MAX));
        assert_eq!(found.session, SessionChange::Set(SessionState::new(json!({"id": "7"}), "7")));
        assert_eq!(found.usage, Some(Usage { input_tokens: 5, output_tokens: 2, ..Usage::default() }));
        assert_eq!((found.cost_micros, found.result), (Some(12), Some(json!([1]))));
        assert_eq!(found.retry_at.map(|at| at.to_string()).as_deref(), Some("2026-11-21T09:00:00.000Z"));

        let session = |file: &str| outcome(json!("x"), 0, None, "", Some(file)).session;
        assert_eq!(session("{}"), SessionChange::Keep);
        assert_eq!(session(r#"{"session": null}"#), SessionChange::Clear);
        assert_eq!(session(r#"{"session": "s"}"#), SessionChange::Set(SessionState::new(json!("s"), "s")));
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_a_failure() {
        let check = |file: &str, reason: &str| {
            let found = outcome(json!("x"), 0, None, "", Some(file));
            assert_eq!(found.error_code.as_deref(), Some("bad_result_file"), "{file}");
            let error = found.error.unwrap_or_default();
            assert!(error.contains(reason), "{file}: {error}");
        };
        check("done", "expected value at line 1 column 1");
        check(r#"{"outcom": "failed"}"#, "unknown field `outcom`");
        check(r#"{"outcome": "cancelled"}"#, "unknown variant `cancelled`");
        check(r#"{"usage": {"tokens": 1}}"#, "unknown field `tokens`");
        check(r#"{"usage": {"input_tokens": -1}}"#, "never negative");
        check(r#"{"cost_micros": -1}"#, "never negative");
        check(r#"{"error_code": "Bad Code"}"#, "error_code must be 1 to 64");
        check(r#"{"error_code": "drained"}"#, "the server's to give");
        check(r#"{"outcome": "succeeded", "error_code": "x"}"#, "says `succeeded`");
        check(r#"{"session": 7}"#, "session must be");
        check(r#"{"retry_at": "soon"}"#, "not a time");
        assert_eq!(outcome(json!("x"), 0, None, "", Some(" \n")).end, End::Succeeded);
        assert_eq!(outcome(json!("x"), 0, Some(9), "", Some("{\"outc")).error_code.as_deref(), Some("killed"));
    }
}
