//! The adapter against what Codex 0.169.0 really wrote (`tests/fixtures/codex`).

use wakeful_domain::outcome::End;

use super::*;
use crate::adapters::testing::results;

const CWD: &str = "/srv/agent";

fn fixture(name: &str) -> &'static str {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/codex").join(name).with_extension("jsonl");
    std::fs::read_to_string(path).unwrap().leak()
}

fn exit(code: i32) -> Exit {
    Exit { code: Some(code), signal: None, result_file: None, at: "2026-11-21T10:18:20Z".parse().unwrap() }
}

fn read(session: Option<&SessionState>, stdout: &str, stderr: &str) -> (CodexReader, Vec<Signal>) {
    let mut reader = CodexReader::new(&json!({"model": "gpt-5"}), session, Path::new(CWD));
    let mut signals: Vec<Signal> = stdout.lines().flat_map(|line| reader.line(Stream::Stdout, line)).collect();
    signals.extend(stderr.lines().flat_map(|line| reader.line(Stream::Stderr, line)));
    (reader, signals)
}

fn done(conclusion: Conclusion) -> Outcome {
    match conclusion {
        Conclusion::Done(outcome) => *outcome,
        Conclusion::SessionUnknown { error } => panic!("the session is not known: {error}"),
    }
}

fn outcome(stdout: &str, stderr: &str, exit: &Exit) -> Outcome {
    done(read(None, stdout, stderr).0.conclude(exit))
}

fn session_of(outcome: &Outcome) -> SessionState {
    match &outcome.session {
        SessionChange::Set(session) => session.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn arguments() {
    let session = session::state("01a1fd9e-3bf2-7e23-a20f-e8f4894b54c0", CWD, Map::new());
    let check = |config: Value, session: Option<&SessionState>, expected: &str| {
        let invocation = Invocation {
            config: &config,
            prompt: "do it",
            context_json: "{}",
            session,
            cwd: Path::new(CWD),
            is_root: true,
        };
        let found = command(&invocation).unwrap();
        assert_eq!(found.argv.join(" "), expected);
        assert_eq!(found.stdin, "do it");
    };
    let exec = "exec --json --skip-git-repo-check";
    let writes = r#"-c sandbox_mode="workspace-write" -c sandbox_workspace_write.network_access=true"#;
    check(json!({}), None, &format!("codex {exec} {writes} -"));
    check(
        json!({"model": "gpt-5", "reasoning_effort": "high", "extra_args": ["--search"]}),
        Some(&session),
        &format!(
            r#"codex {exec} {writes} --model gpt-5 -c model_reasoning_effort="high" --search resume {} -"#,
            session.display_id
        ),
    );
    check(
        json!({"sandbox": "danger-full-access", "command": "/opt/codex"}),
        None,
        &format!(r#"/opt/codex {exec} -c sandbox_mode="danger-full-access" -"#),
    );
}

#[test]
fn a_run_is_charged_for_itself_only() {
    let first = outcome(fixture("success"), "", &exit(0));
    assert_eq!((first.end, first.error_code.as_deref(), first.cost_micros), (End::Succeeded, None, None));
    assert!(first.summary.as_deref().is_some_and(|text| text.starts_with("stub answer")));
    let once = Usage { input_tokens: 1_000, output_tokens: 50, cache_read_tokens: 200, cache_write_tokens: 30 };
    assert_eq!(first.usage, Some(once));
    assert_eq!(first.model.as_deref(), Some("gpt-5"));

    let session = session_of(&first);
    assert_eq!(session::resumable(&session, Path::new(CWD)), Ok(()));
    let second = done(read(Some(&session), fixture("resumed"), "").0.conclude(&exit(0)));
    assert_eq!(second.usage, Some(once), "the thread's total is twice as much");
    let third = done(read(Some(&session_of(&second)), fixture("resumed"), "").0.conclude(&exit(0)));
    assert_eq!(third.usage, Some(Usage::default()));

    // A failed turn reports no usage: the next one is counted on from the last total known.
    let thread = fixture("success").lines().next().unwrap_or_default();
    let failed = format!("{thread}\n{}", r#"{"type":"turn.failed","error":{"message":"stream disconnected"}}"#);
    let failed = done(read(Some(&session), &failed, "").0.conclude(&exit(1)));
    assert_eq!((failed.usage, session_of(&failed)), (None, session.clone()));
    // Another thread than the one to be resumed starts from nothing.
    let other = session::state("another", CWD, session.params.as_object().cloned().unwrap_or_default());
    assert_eq!(done(read(Some(&other), fixture("success"), "").0.conclude(&exit(0))).usage, Some(once));
}

#[test]
fn failures_have_their_code() {
    let check = |stdout: &str, code: &str, words: &str| {
        let found = outcome(stdout, "", &exit(1));
        assert_eq!(found.error_code.as_deref(), Some(code));
        let error = found.error.clone().unwrap_or_default();
        assert!(error.contains(words), "{error}");
        session_of(&found)
    };
    check(fixture("auth_error"), "auth_required", "401 Unauthorized");
    check(fixture("model_not_found"), "model_not_found", "does not exist");
    check(fixture("rate_limited"), "rate_limited", "429");
    check(fixture("overloaded"), "overloaded", "at capacity");
    check(fixture("server_error"), "server_error", "high demand");
    check(fixture("reconnecting"), "server_error", "high demand");
    check(fixture("usage_limit"), "usage_limit", "hit your usage limit");
}

#[test]
fn an_unknown_thread_is_no_failure_when_resuming() {
    let session = session::state("01a1fd9e-0000-7e23-a20f-e8f4894b54c0", CWD, Map::new());
    let line = "Error: thread/resume: thread/resume failed: no rollout found for thread id \
                01a1fd9e-0000-7e23-a20f-e8f4894b54c0 (code -32600)";
    for code in [0, 1] {
        let (mut reader, _) = read(Some(&session), "", line);
        assert!(matches!(reader.conclude(&exit(code)), Conclusion::SessionUnknown { .. }));
    }
    assert_eq!(outcome("", line, &exit(1)).error_code.as_deref(), Some("exit_nonzero"));
    let started = fixture("success").lines().next().unwrap_or_default();
    let (mut reader, _) = read(Some(&session), started, line);
    assert_eq!(done(reader.conclude(&exit(1))).error_code.as_deref(), Some("exit_nonzero"));
}

#[test]
fn ends_without_a_judgement() {
    let started = fixture("success").lines().next().unwrap_or_default();
    let check = |stdout: &str, stderr: &str, exit: Exit, code: &str, error: &str| {
        let found = outcome(stdout, stderr, &exit);
        assert_eq!((found.error_code.as_deref(), found.error.as_deref()), (Some(code), Some(error)));
    };
    check(started, "", exit(0), "no_result", "codex exited without a result");
    check(started, "boom", exit(1), "exit_nonzero", "codex exited with status 1: boom");
    check(started, "WARNING: proceeding", exit(1), "exit_nonzero", "codex exited with status 1");
    let killed = Exit { code: None, signal: Some(9), ..exit(0) };
    check(started, "boom", killed, "killed", "the process was killed by SIGKILL");
    let line = "Error loading config.toml: unknown variant `foo`";
    check("", line, exit(1), "bad_config", line);
    check(
        "",
        "error: unexpected argument '--nonsense' found",
        exit(2),
        "bad_config",
        "error: unexpected argument '--nonsense' found",
    );
}

#[test]
fn signals_tell_the_course_of_the_run() {
    let (_, signals) = read(None, fixture("tool"), "");
    let kinds: Vec<&str> = signals.iter().map(|signal| signal.kind).collect();
    assert_eq!(kinds, ["session", "error", "tool", "tool_result", "message"]);
    assert!(signals[2].message.starts_with("command_execution: "), "{}", signals[2].message);
    let (_, signals) = read(None, fixture("reconnecting"), "");
    assert!(signals[1].message.starts_with("Reconnecting... 1/5"));
}

#[test]
fn words_are_told_apart() {
    let check = |words: &str, code: &str| {
        let failed = json!({"type": "turn.failed", "error": {"message": words}});
        let found = outcome(&failed.to_string(), "", &exit(1));
        assert_eq!(found.error_code.as_deref(), Some(code), "{words}");
    };
    check("You’ve hit your usage limit. Try again later.", "usage_limit");
    check(
        "You've hit your usage limit for gpt-5. Switch to another model now, or try again at 1:05 PM.",
        "usage_limit",
    );
    check("Your workspace is out of credits. Add credits to continue.", "usage_limit");
    check("You hit your spend cap set in your workspace. Increase your spend cap to continue.", "usage_limit");
    check("Quota exceeded. Check your plan and billing details.", "usage_limit");
    check("To use Codex with your ChatGPT plan, upgrade to Plus", "auth_required");
    check("Missing environment variable: `STUB_KEY`.", "auth_required");
    check("Your access token could not be refreshed because your refresh token was already used.", "auth_required");
    check("unexpected status 403 Forbidden: no", "auth_required");
    check("Access blocked by Cloudflare. (status 403 Forbidden)", "server_error");
    check("The 'x' model is not supported when using Codex with a ChatGPT account.", "model_not_found");
    check("Codex ran out of room in the model's context window.", "context_too_long");
    check("stream disconnected before completion: closed", "server_error");
    check("exceeded retry limit, last status: 502 Bad Gateway", "server_error");
    check("unexpected status 503 Service Unavailable: busy", "overloaded");
    check("internal error; agent loop died unexpectedly", "agent_error");
}

#[test]
fn a_usage_limit_says_when_it_lifts() {
    let words = r#"{"type":"turn.failed","error":{"message":"You’ve hit your usage limit. Try again in 2 hours."}}"#;
    let found = outcome(words, "", &exit(1));
    assert_eq!(found.retry_at.map(|at| at.to_string()).as_deref(), Some("2026-11-21T12:18:20.000Z"));
}

#[test]
fn a_command_runs_until_it_is_completed() {
    let mut reader = CodexReader::new(&json!({}), None, Path::new(CWD));
    let mut course = Vec::new();
    for line in fixture("tool").lines() {
        reader.line(Stream::Stdout, line);
        let now = (reader.is_in_tool(), reader.has_ended());
        if course.last() != Some(&now) {
            course.push(now);
        }
    }
    assert_eq!(course, [(false, false), (true, false), (false, false), (false, true)]);
}

#[test]
fn a_process_that_lingers_after_its_turn_has_succeeded_all_the_same() {
    let killed = Exit { code: None, signal: Some(9), ..exit(0) };
    for exit in [killed, exit(1)] {
        assert_eq!(outcome(fixture("success"), "", &exit).end, End::Succeeded);
    }
}

#[test]
fn what_is_done_tells_what_came_of_it() {
    let (_, signals) = read(None, fixture("tool"), "");
    assert_eq!(signals[2].data, json!({"name": "command_execution", "id": "item_1"}));
    assert_eq!(results(&signals), [("", &json!({"id": "item_1", "failed": false, "exit_code": 0}))]);

    let check = |item: Value, text: &str, data: Value| {
        let event = json!({"type": "item.completed", "item": item});
        let (_, signals) = read(None, &event.to_string(), "");
        assert_eq!(results(&signals), [(text, &data)], "{item}");
    };
    check(
        json!({"id": "1", "type": "command_execution", "aggregated_output": "no\n", "exit_code": 3, "status": "failed"}),
        "no\n",
        json!({"id": "1", "failed": true, "exit_code": 3}),
    );
    check(
        json!({"id": "1", "type": "command_execution", "aggregated_output": "", "exit_code": null, "status": "declined"}),
        "",
        json!({"id": "1", "failed": true}),
    );
    let mcp = |result: Value, error: Value, status: &str| json!({"id": "2", "type": "mcp_tool_call", "result": result, "error": error, "status": status});
    let (well, badly) = (json!({"id": "2", "failed": false}), json!({"id": "2", "failed": true}));
    let blocks = json!({"content": [{"type": "text", "text": "found"}], "structured_content": {"n": 1}});
    check(mcp(blocks, Value::Null, "completed"), "found", well.clone());
    check(mcp(json!({"content": [], "structured_content": {"n": 1}}), Value::Null, "completed"), r#"{"n":1}"#, well);
    check(mcp(Value::Null, json!({"message": "gone"}), "failed"), "gone", badly);
    let changes = json!([{"path": "a.rs", "kind": "update"}, {"path": "b.rs", "kind": "add"}]);
    check(
        json!({"id": "3", "type": "file_change", "changes": changes, "status": "completed"}),
        "update a.rs\nadd b.rs",
        json!({"id": "3", "failed": false}),
    );
    check(json!({"id": "4", "type": "web_search", "query": "x"}), "", json!({"id": "4", "failed": false}));
}
