//! The adapter against the documented format of Cursor's agent (`tests/fixtures/cursor`); nothing here
//! was recorded.

use serde_json::{Map, json};
use wakeful_domain::outcome::{End, SessionChange};

use super::*;
use crate::adapters::Adapter;
use crate::adapters::testing::{CWD, done, exit, failure_of, killed, kinds, read, recorded, results, session_of};

fn outcome(session: Option<&SessionState>, stdout: &str, stderr: &str, exit: &Exit) -> Conclusion {
    read(Adapter::Cursor, &json!({}), session, stdout, stderr).0.conclude(exit)
}

#[test]
fn arguments() {
    let session = session::state("c6b62c6f-7ead-4fd6-9922-e952131177ff", CWD, Map::new());
    let check = |config: Value, session: Option<&SessionState>, expected: &str| {
        let invocation = Invocation {
            config: &config,
            prompt: "do it",
            context_json: "{}",
            session,
            cwd: Path::new(CWD),
            is_root: false,
        };
        let found = command(&invocation).unwrap();
        assert_eq!((found.argv.join(" ").as_str(), found.stdin.as_str()), (expected, "do it"));
    };
    let print = "--print --output-format stream-json --workspace /srv/agent";
    check(json!({}), None, &format!("cursor-agent {print} --force"));
    check(
        json!({"command": "agent", "model": "gpt-5", "mode": "plan", "force": false}),
        Some(&session),
        &format!("agent {print} --resume {} --model gpt-5 --mode plan", session.display_id),
    );
}

#[test]
fn a_success_and_all_that_it_reports() {
    let (stdout, _) = recorded("cursor/success");
    let prefixed: String = stdout.lines().map(|line| format!("stdout: {line}\n")).collect();
    for stdout in [stdout, prefixed] {
        let (mut reader, signals) = read(Adapter::Cursor, &json!({}), None, &stdout, "");
        assert!(reader.has_ended());
        let found = done(reader.conclude(&killed(15)));
        assert_eq!(found.end, End::Succeeded);
        assert_eq!(found.summary.as_deref(), Some("Done! I've created the summary in summary.txt"));
        assert_eq!((found.model.as_deref(), found.billing.as_deref()), (Some("Claude 4 Sonnet"), Some("subscription")));
        let once = Usage { input_tokens: 1_000, output_tokens: 50, cache_read_tokens: 200, cache_write_tokens: 30 };
        assert_eq!(found.usage, Some(once));
        session_of(&found);
        assert_eq!(kinds(&signals)[2], ("tool", "read: README.md"));
        assert_eq!(results(&signals), [("# Project", &json!({"id": signals[2].data["id"], "failed": false}))]);
    }
}

#[test]
fn failures_have_their_code() {
    let check = |stdout: Value, stderr: &str, code: i32, expected: &str| {
        let found = done(outcome(None, &stdout.to_string(), stderr, &exit(code)));
        assert_eq!(failure_of(&found).0, expected, "{stdout} {stderr}");
        found.session
    };
    let failed = |words: &str| json!({"type": "result", "subtype": "error", "is_error": true, "result": words});
    check(failed("You've hit your usage limit"), "", 1, "usage_limit");
    check(failed("it broke"), "", 0, "agent_error");
    check(failed(""), "", 0, "agent_error");
    check(Value::Null, "Error: Authentication required. Please run 'agent login' first.", 1, "auth_required");
    check(Value::Null, "Cannot use this model: gpt-9", 1, "model_not_found");
    check(Value::Null, "", 0, "no_result");
    assert_eq!(check(failed("prompt is too long"), "", 1, "context_too_long"), SessionChange::Clear);
}

#[test]
fn an_unknown_chat_is_no_failure_when_resuming() {
    let session = session::state("c6b62c6f-7ead-4fd6-9922-e952131177ff", CWD, Map::new());
    let found = outcome(Some(&session), "", "Error: Chat not found", &exit(1));
    assert!(matches!(found, Conclusion::SessionUnknown { .. }));
}

#[test]
fn results_are_told_by_the_word_for_what_came_of_the_call() {
    let check = |result: Value, text: &str, data: Value| {
        let call = json!({"completedAtMs": "2", "shellToolCall": {"args": {}, "result": result}, "toolCallId": "a"});
        let event = json!({"type": "tool_call", "subtype": "completed", "call_id": "a", "tool_call": call});
        let (_, signals) = read(Adapter::Cursor, &json!({}), None, &event.to_string(), "");
        assert_eq!(results(&signals), [(text, &data)]);
    };
    let (well, badly) = (json!({"id": "a", "failed": false}), json!({"id": "a", "failed": true}));
    let shell = |code: i64| json!({"command": "x", "exitCode": code, "stdout": "out\n", "stderr": "err"});
    check(json!({"success": shell(0)}), "out\n\nerr", json!({"id": "a", "failed": false, "exit_code": 0}));
    check(json!({"failure": shell(3)}), "out\n\nerr", json!({"id": "a", "failed": true, "exit_code": 3}));
    check(json!({"success": {"linesCreated": 19, "path": "x"}}), r#"{"linesCreated":19,"path":"x"}"#, well.clone());
    check(json!({"startSuccess": {}}), "{}", well.clone());
    check(json!({"rejected": {"command": "x", "reason": "not allowed"}}), "not allowed", badly.clone());
    check(json!({"error": {"errorMessage": "gone"}}), "gone", badly);
    check(Value::Null, "", well);
}
