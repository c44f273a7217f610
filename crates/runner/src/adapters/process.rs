//! The `process` adapter: any command. It is judged by its exit status and by the JSON that it may
//! write to the file that `WAKEFUL_RESULT_FILE` names; its output is a log and nothing else.
//! What it says in its result file beats its exit status; a file that cannot be understood is a failure.

use serde_json::Value;
use wakeful_domain::outcome::Outcome;

use super::excerpt::LastLines;
use super::report::Report;
use super::settings::{self, Keys, Kind};
use super::{Command, Conclusion, ConfigError, Exit, Invocation, Reader, Signal, StopSignal, Stream, ending};

const KEYS: Keys = &[
    ("command", Kind::Command),
    ("account", Kind::Text),
    ("cwd", Kind::Text),
    ("env", Kind::Environment),
    ("stdin", Kind::OneOf(&["context", "none"])),
];

/// `EX_TEMPFAIL` of sysexits.h: try again later.
const EXIT_TEMPORARY_FAILURE: i32 = 75;
/// What a shell exits with if it does not find a command.
const EXIT_NOT_FOUND: i32 = 127;
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
        keeps_stdin_open: false,
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
        let outcome = match file.map(Report::read) {
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;
    use wakeful_domain::outcome::{End, SessionChange, SessionState};
    use wakeful_domain::time::Timestamp;
    use wakeful_domain::usage::Usage;

    use super::super::report::{SUMMARY_BYTES_MAX, session_of};
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
        check(r#"{"outcome": "lost"}"#, "unknown variant `lost`");
        check(r#"{"session": "a\u0000b"}"#, "NUL");
        check(r#"{"cost_micros": 9223372036854775807}"#, "at most");
        check(r#"{"usage": {"tokens": 1}}"#, "unknown field `tokens`");
        check(r#"{"usage": {"input_tokens": -1}}"#, "at least 0");
        check(r#"{"cost_micros": -1}"#, "at least 0");
        check(r#"{"error_code": "Bad Code"}"#, "error_code must be 1 to 64");
        check(r#"{"error_code": "drained"}"#, "the server's to give");
        check(r#"{"outcome": "succeeded", "error_code": "x"}"#, "says `succeeded`");
        check(r#"{"session": 7}"#, "session must be");
        check(r#"{"retry_at": "soon"}"#, "not a time");
        assert_eq!(outcome(json!("x"), 0, None, "", Some(" \n")).end, End::Succeeded);
        assert_eq!(outcome(json!("x"), 0, Some(9), "", Some("{\"outc")).error_code.as_deref(), Some("killed"));
    }
}
