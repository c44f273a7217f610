//! Descriptions of CLIs: what is refused, how they are started, how they are judged.

use serde_json::{Map, json};

use super::*;
use crate::adapters::testing::{CWD, done, exit, failure_of, killed, kinds, read, session_of};
use crate::adapters::{Adapter, StopSignal};

fn described() -> Value {
    json!({
        "type": "cli",
        "command": ["fancy", "--json"],
        "session_args": ["--continue", "{session}"],
        "model_args": ["--model={model}"],
        "events": "json_lines",
        "fields": {
            "session_id": "/meta/sid",
            "text": "/message/text",
            "tool": "/tool/name",
            "error": "/problem",
            "input_tokens": "/usage/in",
            "output_tokens": "/usage/out",
            "cost_dollars": "/usage/usd",
        },
        "success": {"/type": "end", "/ok": true},
        "failure": {"/type": "end", "/ok": false},
        "session_unknown": ["no such conversation"],
        "error_patterns": {"out of credit": "usage_limit", "credit": "agent_error", "too big": "context_too_long"},
    })
}

fn with(changes: Value) -> Value {
    let mut config = described();
    config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    config
}

fn invocation<'a>(config: &'a Value, session: Option<&'a SessionState>) -> Invocation<'a> {
    Invocation { config, prompt: "do it", context_json: "{}", session, cwd: Path::new(CWD), is_root: true }
}

#[test]
fn the_agent_is_started_as_described() {
    let session = session::state("s-1", CWD, Map::new());
    let found = command(&invocation(&described(), None)).unwrap();
    assert_eq!((found.argv.join(" ").as_str(), found.stdin.as_str()), ("fancy --json", "do it"));
    let config = with(json!({"model": "m", "stop_signal": "interrupt"}));
    let found = command(&invocation(&config, Some(&session))).unwrap();
    assert_eq!(found.argv.join(" "), "fancy --json --continue s-1 --model=m");
    assert_eq!(found.stop_signal, StopSignal::Interrupt);
    let check = |command_line: Value, expected: &[&str]| {
        let config = with(json!({"command": command_line, "prompt_via": "argument"}));
        let found = command(&invocation(&config, None)).unwrap();
        assert_eq!(
            (found.argv, found.stdin),
            (expected.iter().map(|text| (*text).to_owned()).collect(), String::new())
        );
    };
    check(json!("fancy"), &["fancy", "do it"]);
    check(json!(["fancy", "-p", "{prompt}", "--now"]), &["fancy", "-p", "do it", "--now"]);
}

#[test]
fn a_prompt_in_a_file_is_named_to_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let config = with(json!({"command": ["cat", "{prompt_file}"], "prompt_via": "file"}));
    let command = command(&invocation(&config, None)).unwrap();
    let mut child = std::process::Command::new(&command.argv[0])
        .args(&command.argv[1..])
        .env("WAKEFUL_RESULT_FILE", dir.path().join("result.json"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), command.stdin.as_bytes()).unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"do it");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&dir.path().join("prompt.txt").metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn mistakes_are_named_with_their_remedy() {
    let check = |changes: Value, expected: &str| {
        let error = check(&with(changes.clone())).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{changes}: {error}");
    };
    check(json!({"session_args": ["--resume"]}), "adapter.session_args: must hold `{session}`");
    check(json!({"model_args": ["-m"]}), "adapter.model_args: must hold `{model}`");
    check(json!({"model": "m", "model_args": []}), "adapter.model: needs model_args");
    check(json!({"prompt_via": "pipe"}), "adapter.prompt_via: must be one of stdin, argument, file");
    check(json!({"prompt_via": "file"}), "adapter.prompt_via: `file` needs an argument `{prompt_file}`");
    check(json!({"events": "text"}), "adapter.fields: speaks of events: set adapter.events");
    check(json!({"fields": {"session_id": "sid"}}), "adapter.fields.session_id: must be a JSON pointer");
    check(json!({"fields": {"session_id": "/a~2"}}), "adapter.fields.session_id: must be a JSON pointer");
    check(json!({"fields": {"txt": "/a"}}), "adapter.fields.txt: is not known: use session_id");
    check(json!({"fields": {"text": "/a"}}), "adapter.session_args: needs fields.session_id");
    check(json!({"fields": []}), "adapter.fields: must be an object, as");
    check(
        json!({"fields": {"session_id": "/s", "cost_dollars": "/a", "cost_micros": "/b"}}),
        "adapter.fields.cost_micros: cannot stand beside cost_dollars",
    );
    check(json!({"success": {}}), "adapter.success: must name at least one pointer");
    check(json!({"success": {"type": "x"}}), "adapter.success.type: is not a JSON pointer");
    check(json!({"failure": {"/a": []}}), "adapter.failure./a: must be a text, a number");
    check(json!({"error_patterns": {" ": "x"}}), "adapter.error_patterns. : matches everything");
    check(json!({"error_patterns": {"x": "Bad"}}), "adapter.error_patterns.x: error_code must be");
    check(
        json!({"error_patterns": {"x": "drained"}}),
        "adapter.error_patterns.x: error_code `drained` is the server's",
    );
    check(json!({"success_exit_codes": []}), "adapter.success_exit_codes: must be a list of exit statuses");
    check(json!({"success_exit_codes": [256]}), "adapter.success_exit_codes: must be a list");
    let error = super::check(&json!({"type": "cli"})).unwrap_err().to_string();
    assert!(error.starts_with("adapter.command: is required"), "{error}");
}

#[test]
fn events_are_read_where_the_description_says() {
    let stdout = [
        json!({"type": "start", "meta": {"sid": "s-1"}}),
        json!({"tool": {"name": "grep"}}),
        json!({"message": {"text": "half"}, "usage": {"in": 5, "out": 1, "usd": 0.000_002}}),
        json!({"message": {"text": "whole"}, "usage": {"in": 9, "out": 2, "usd": 0.000_005}}),
        json!({"type": "end", "ok": true}),
    ];
    let stdout: Vec<String> = stdout.iter().map(Value::to_string).collect();
    let found = |config: &Value| {
        let (mut reader, signals) = read(Adapter::Cli, config, None, &stdout.join("\n"), "");
        assert!(reader.has_ended());
        assert_eq!(kinds(&signals), [("session", "s-1"), ("tool", "grep"), ("message", "half"), ("message", "whole")]);
        done(reader.conclude(&exit(3)))
    };
    let last = found(&described());
    assert_eq!((last.end, last.summary.as_deref()), (End::Succeeded, Some("whole")));
    assert_eq!(
        (last.usage.map(|usage| (usage.input_tokens, usage.output_tokens)), last.cost_micros),
        (Some((9, 2)), Some(5))
    );
    assert_eq!(session_of(&last).display_id, "s-1");
    let summed = found(&with(json!({"usage": "sum"})));
    assert_eq!((summed.usage.map(|usage| usage.input_tokens), summed.cost_micros), (Some(14), Some(7)));
}

#[test]
fn failures_are_named_by_the_patterns() {
    let check = |stdout: Value, stderr: &str, exit: Exit, expected: (&str, &str)| {
        let (mut reader, _) = read(Adapter::Cli, &described(), None, &stdout.to_string(), stderr);
        let found = done(reader.conclude(&exit));
        assert_eq!(failure_of(&found), expected, "{stdout} {stderr}");
        found
    };
    let failed = |words: &str| json!({"type": "end", "ok": false, "problem": words});
    let limit = "You are out of credit, try again in 2 hours";
    let found = check(failed(limit), "", exit(1), ("usage_limit", limit));
    assert_eq!(found.retry_at.map(|at| at.to_string()).as_deref(), Some("2026-11-21T12:18:20.000Z"));
    let found = check(failed("Too big"), "", exit(0), ("context_too_long", "Too big"));
    assert_eq!(found.session, SessionChange::Clear);
    check(failed("boom"), "", exit(1), ("agent_error", "boom"));
    check(failed("Invalid API key"), "", exit(1), ("auth_required", "Invalid API key"));
    check(json!({}), "fatal: too big", exit(2), ("context_too_long", "fancy exited with status 2: fatal: too big"));
    check(json!({}), "fatal: too big", killed(9), ("killed", "the process was killed by SIGKILL"));
    check(json!({}), "", exit(0), ("no_result", "fancy exited without a result"));
}

#[test]
fn an_unknown_session_is_no_failure_when_resuming() {
    let session = session::state("s-1", CWD, Map::new());
    let conclude =
        |session| read(Adapter::Cli, &described(), session, "", "No such conversation: s-1").0.conclude(&exit(1));
    assert!(matches!(conclude(Some(&session)), Conclusion::SessionUnknown { .. }));
    assert_eq!(failure_of(&done(conclude(None))).0, "exit_nonzero");
}

#[test]
fn text_is_judged_by_the_exit() {
    let config = json!({"command": "old", "success_exit_codes": [0, 3], "error_patterns": {"denied": "auth_required"}});
    let outcome = |stdout: &str, stderr: &str, exit: &Exit| {
        done(read(Adapter::Cli, &config, None, stdout, stderr).0.conclude(exit))
    };
    let found = outcome("one\n\ntwo\n", "denied", &exit(3));
    assert_eq!((found.end, found.summary.as_deref()), (End::Succeeded, Some("one\ntwo")));
    assert_eq!(failure_of(&outcome("", "", &exit(1))), ("exit_nonzero", "old exited with status 1"));
    assert_eq!(failure_of(&outcome("Access denied", "", &exit(1))), ("auth_required", "Access denied"));
    assert_eq!(failure_of(&outcome("Access denied", "", &killed(9))).0, "killed");
}
