//! The adapter against what Gemini CLI 0.61.0 really wrote (`tests/fixtures/gemini`).

use serde_json::{Map, json};
use wakeful_domain::outcome::{End, SessionChange};

use super::*;
use crate::adapters::Adapter;
use crate::adapters::testing::{CWD, done, exit, failure_of, killed, kinds, read, recorded, results, session_of};

fn outcome_of(name: &str, session: Option<&SessionState>, exit: &Exit) -> Outcome {
    let (stdout, stderr) = recorded(&format!("gemini/{name}"));
    done(read(Adapter::Gemini, &json!({}), session, &stdout, &stderr).0.conclude(exit))
}

#[test]
fn arguments() {
    let session = session::state("2c895854-6c6c-474d-8de6-9407ce80ae82", CWD, Map::new());
    let check = |config: Value, session: Option<&SessionState>, expected: &str, stdin: &str| {
        let invocation = Invocation {
            config: &config,
            prompt: "do it",
            context_json: "{}",
            session,
            cwd: Path::new(CWD),
            is_root: true,
        };
        let found = command(&invocation).unwrap();
        assert_eq!((found.argv.join(" ").as_str(), found.stdin.as_str()), (expected, stdin));
    };
    check(
        json!({"prompt": "You keep house."}),
        None,
        "gemini --output-format stream-json --approval-mode yolo",
        "You keep house.\n\ndo it",
    );
    check(
        json!({"prompt": "p", "model": "gemini-2.5-pro", "sandbox": true, "approval_mode": "plan", "extra_args": ["-d"]}),
        Some(&session),
        &format!(
            "gemini --output-format stream-json --resume {} --model gemini-2.5-pro --approval-mode plan --sandbox -d",
            session.display_id
        ),
        "do it",
    );
}

#[test]
fn a_success_and_all_that_it_reports() {
    let found = outcome_of("success", None, &exit(0));
    assert_eq!((found.end, found.summary.as_deref()), (End::Succeeded, Some("stub answer 1")));
    let once = Usage { input_tokens: 1_030, output_tokens: 50, cache_read_tokens: 200, cache_write_tokens: 0 };
    assert_eq!((found.usage, found.cost_micros), (Some(once), None));
    assert_eq!((found.model.as_deref(), found.provider.as_deref()), (Some("gemini-2.5-pro"), Some("google")));
    let session = session_of(&found);
    let second = outcome_of("resumed", Some(&session), &exit(0));
    assert_eq!((second.usage, session_of(&second)), (Some(once), session), "usage is the run's own");
    assert_eq!(outcome_of("success", None, &killed(15)).end, End::Succeeded);
}

#[test]
fn failures_have_their_code() {
    let check = |name: &str, code: i32, expected: &str, words: &str| {
        let found = outcome_of(name, None, &exit(code));
        let (found_code, error) = failure_of(&found);
        assert_eq!(found_code, expected, "{name}: {error}");
        assert!(error.contains(words), "{name}: {error}");
        found.session
    };
    check("auth_error", 145, "auth_required", "API key not valid");
    check("no_key", 41, "auth_required", "GEMINI_API_KEY");
    check("model_not_found", 1, "model_not_found", "is not found");
    check("rate_limited", 173, "rate_limited", "exhausted");
    check("overloaded", 247, "overloaded", "overloaded");
    check("server_error", 244, "server_error", "internal error");
    check("no_connection", 1, "server_error", "fetch failed");
    assert!(matches!(check("usage_limit", 173, "usage_limit", "daily quota"), SessionChange::Set(_)));
    assert_eq!(check("refused", 0, "refused", "safety"), SessionChange::Clear);
    assert_eq!(check("max_turns", 53, "max_turns", "max session turns"), SessionChange::Clear);
}

#[test]
fn an_unknown_session_is_no_failure_when_resuming() {
    let session = session::state("11111111-2222-4333-8444-555555555555", CWD, Map::new());
    let (_, stderr) = recorded("gemini/unknown_session");
    let (mut reader, _) = read(Adapter::Gemini, &json!({}), Some(&session), "", &stderr);
    assert!(matches!(reader.conclude(&exit(42)), Conclusion::SessionUnknown { .. }));
    assert_eq!(failure_of(&outcome_of("unknown_session", None, &exit(42))).0, "bad_config");
}

#[test]
fn signals_tell_the_course_of_the_run() {
    let (stdout, stderr) = recorded("gemini/tool");
    let (mut reader, signals) = read(Adapter::Gemini, &json!({}), None, "", &stderr);
    assert_eq!(signals, []);
    let mut course = Vec::new();
    let mut signals = Vec::new();
    for line in stdout.lines() {
        signals.extend(reader.line(Stream::Stdout, line));
        course.push((reader.is_in_tool(), reader.has_ended()));
    }
    let found = kinds(&signals);
    assert_eq!(found[0].0, "session");
    let call = ("tool", "run_shell_command: mkdir -p sub; date > sub/x");
    assert_eq!(found[1..], [call, ("tool_result", ""), ("message", "stub answer 4")]);
    assert_eq!(signals[1].data["id"], signals[2].data["id"]);
    assert_eq!(course[2], (true, false));
    assert_eq!(course[3], (false, false));
    assert_eq!(course.last(), Some(&(false, true)));
}

#[test]
fn an_answer_in_pieces_is_one_message() {
    let piece =
        |text: &str| json!({"type": "message", "role": "assistant", "content": text, "delta": true}).to_string();
    let end = r#"{"type":"result","status":"success","stats":{}}"#;
    let (mut reader, signals) =
        read(Adapter::Gemini, &json!({}), None, &format!("{}\n{}\n{end}", piece("one "), piece("two")), "");
    assert_eq!(kinds(&signals), [("message", "one two")]);
    assert_eq!(done(reader.conclude(&exit(0))).summary.as_deref(), Some("one two"));
    let flood: String = (0..100_000).map(|_| piece("äöü") + "\n").collect();
    let (mut reader, signals) = read(Adapter::Gemini, &json!({}), None, &format!("{flood}{end}"), "");
    assert_eq!(signals.len(), 1);
    assert!(done(reader.conclude(&exit(0))).summary.is_some_and(|text| text.len() <= PIECES_BYTES_MAX));
}

#[test]
fn results_are_told_with_the_id_of_their_call() {
    let check = |event: Value, text: &str, is_failed: bool| {
        let (_, signals) = read(Adapter::Gemini, &json!({}), None, &event.to_string(), "");
        assert_eq!(results(&signals), [(text, &json!({"id": "a", "failed": is_failed}))]);
    };
    let result = |status: &str| json!({"type": "tool_result", "tool_id": "a", "status": status, "output": "a\nb"});
    check(result("success"), "a\nb", false);
    check(result("error"), "a\nb", true);
    let error = json!({"type": "not_found", "message": "no such file"});
    check(json!({"type": "tool_result", "tool_id": "a", "status": "error", "error": error}), "no such file", true);
}
