//! The adapter against what Claude Code 2.1.197 really wrote (`tests/fixtures/claude`).

use serde_json::Map;
use wakeful_domain::outcome::End;
use wakeful_domain::time::Timestamp;

use super::*;
use crate::adapters::testing::results;

const CWD: &str = "/srv/agent";

fn resumed() -> SessionState {
    session::state("11111111-2222-4333-8444-555555555555", CWD, Map::new())
}

fn fixture(name: &str) -> &'static str {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/claude").join(name).with_extension("jsonl");
    std::fs::read_to_string(path).unwrap().leak()
}

fn exit(code: i32) -> Exit {
    Exit { code: Some(code), signal: None, result_file: None, at: "2026-11-21T10:18:20Z".parse().unwrap() }
}

fn read(session: Option<&SessionState>, stdout: &str, stderr: &str) -> (ClaudeReader, Vec<Signal>) {
    let mut reader = ClaudeReader::new(session, Path::new(CWD));
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

fn invocation<'a>(config: &'a Value, session: Option<&'a SessionState>, is_root: bool) -> Invocation<'a> {
    Invocation { config, prompt: "do it", context_json: "{}", session, cwd: Path::new(CWD), is_root }
}

#[test]
fn arguments() {
    let session = resumed();
    let check = |config: Value, session: Option<&SessionState>, is_root: bool, expected: &str| {
        let found = command(&invocation(&config, session, is_root)).unwrap();
        assert_eq!(found.argv.join(" "), expected);
    };
    let text = "--print --output-format stream-json --verbose";
    let print = &format!("{text} --input-format stream-json --replay-user-messages");
    check(json!({"steering": false}), None, false, &format!("claude {text} --permission-mode bypassPermissions"));
    check(json!({}), None, false, &format!("claude {print} --permission-mode bypassPermissions"));
    check(
        json!({"model": "opus", "max_turns": 5, "extra_args": ["--effort", "high"]}),
        Some(&session),
        false,
        &format!(
            "claude {print} --resume {} --model opus --max-turns 5 --permission-mode bypassPermissions --effort high",
            session.display_id
        ),
    );
    check(json!({}), None, true, &format!("claude {print} --permission-mode dontAsk --allowedTools {TOOLS_AS_ROOT}"));
    check(
        json!({"command": ["npx", "claude"], "permission_mode": "plan", "allowed_tools": ["Read", "Bash(git *)"]}),
        None,
        true,
        &format!("npx claude {print} --permission-mode plan --allowedTools Read,Bash(git *)"),
    );
    let not_an_id = session::state("--model", CWD, Map::new());
    check(json!({}), Some(&not_an_id), false, &format!("claude {print} --permission-mode bypassPermissions"));
}

#[test]
fn the_standing_prompt_opens_a_session() {
    let session = resumed();
    let config = json!({"prompt": "You keep house."});
    let stdin = |config: &Value, session| command(&invocation(config, session, false)).unwrap().stdin;
    let message = |text: &str| {
        format!(
            "{}\n",
            json!({"type": "user", "message": {"role": "user", "content": [{"type": "text", "text": text}]}})
        )
    };
    assert_eq!(stdin(&config, None), message("You keep house.\n\ndo it"));
    assert_eq!(stdin(&config, Some(&session)), message("do it"));
    assert_eq!(stdin(&json!({"steering": false, "prompt": "p"}), None), "p\n\ndo it");
    assert_eq!(steer(&config, "a\nb"), Some(message("a\nb")));
    assert_eq!(steer(&json!({"steering": false}), "a"), None);
    let refusal = command(&invocation(&json!({"modle": "x"}), None, false)).unwrap_err().to_string();
    assert_eq!(refusal, "adapter.modle: is not a setting of the claude adapter; did you mean `model`?");
}

#[test]
fn a_success_and_all_that_it_reports() {
    let found = outcome(fixture("success"), "", &exit(0));
    assert_eq!((found.end, found.error_code), (End::Succeeded, None));
    assert!(found.summary.is_some_and(|text| text.starts_with("stub answer")));
    assert_eq!(
        found.usage,
        Some(Usage { input_tokens: 1_000, output_tokens: 50, cache_read_tokens: 200, cache_write_tokens: 30 })
    );
    assert_eq!(found.cost_micros, Some(6_538));
    assert_eq!(found.provider.as_deref(), Some("anthropic"));
    assert_eq!(found.billing.as_deref(), Some("api"));
    assert!(found.model.is_some_and(|model| model.starts_with("claude-")));
    match found.session {
        SessionChange::Set(session) => assert_eq!(session::resumable(&session, Path::new(CWD)), Ok(())),
        other => panic!("{other:?}"),
    }
    // A tree that was killed after its result has still succeeded.
    let killed = Exit { code: None, signal: Some(15), ..exit(0) };
    assert_eq!(outcome(fixture("success"), "", &killed).end, End::Succeeded);
}

#[test]
fn failures_have_their_code() {
    let check = |stdout: &str, code: &str, words: &str| {
        let found = outcome(stdout, "", &exit(1));
        assert_eq!(found.end, End::Failed, "{code}");
        assert_eq!(found.error_code.as_deref(), Some(code));
        let error = found.error.unwrap_or_default();
        assert!(error.contains(words), "{error}");
        found.session
    };
    check(fixture("auth_error"), "auth_required", "Invalid API key");
    check(fixture("not_logged_in"), "auth_required", "Please run /login");
    check(fixture("model_not_found"), "model_not_found", "claude-foo-9");
    check(fixture("rate_limited"), "rate_limited", "(429)");
    check(fixture("overloaded"), "overloaded", "529");
    check(fixture("server_error"), "server_error", "500");
    check(fixture("no_connection"), "server_error", "Unable to connect");
    check(fixture("unknown_session"), "agent_error", "No conversation found");
    assert!(matches!(check(fixture("usage_limit"), "usage_limit", "session limit"), SessionChange::Set(_)));
    assert_eq!(check(fixture("refused"), "refused", "Usage Policy"), SessionChange::Clear);
    assert_eq!(check(fixture("max_turns"), "max_turns", "maximum number of turns (1)"), SessionChange::Clear);
}

#[test]
fn a_usage_limit_says_when_it_lifts() {
    let found = outcome(fixture("usage_limit"), "", &exit(1));
    assert_eq!(found.retry_at, Some(Timestamp::from_millis(1_795_263_500_000)));
    assert_eq!(found.billing.as_deref(), Some("subscription"));
    // Without the event the words must do.
    let without: Vec<&str> = fixture("usage_limit").lines().filter(|line| !line.contains("rate_limit_event")).collect();
    let found = outcome(&without.join("\n"), "", &exit(1));
    assert_eq!(found.error_code.as_deref(), Some("usage_limit"));
    assert_eq!(found.retry_at.map(|at| at.to_string()).as_deref(), Some("2026-11-21T12:18:00.000Z"));
}

#[test]
fn an_unknown_session_is_no_failure_when_resuming() {
    let session = resumed();
    let check = |stdout: &str, stderr: &str, code: i32| {
        let (mut reader, _) = read(Some(&session), stdout, stderr);
        assert!(matches!(reader.conclude(&exit(code)), Conclusion::SessionUnknown { .. }), "{stderr}");
    };
    let line = "No conversation found with session ID: 11111111-2222-4333-8444-555555555555";
    check(fixture("unknown_session"), line, 1);
    check("", line, 1);
    check("", line, 0);
    check("", "Error: --resume requires a valid session ID or session title when used with --print.", 1);
    let (mut reader, _) = read(Some(&session), fixture("success"), line);
    assert_eq!(done(reader.conclude(&exit(0))).end, End::Succeeded);
}

#[test]
fn ends_without_a_result() {
    let check = |stderr: &str, exit: Exit, code: &str| {
        let found = outcome(fixture("success").lines().next().unwrap_or_default(), stderr, &exit);
        assert_eq!(found.error_code.as_deref(), Some(code), "{stderr}");
        assert!(matches!(found.session, SessionChange::Set(_)));
    };
    check("", exit(0), "no_result");
    check("boom", exit(143), "exit_nonzero");
    check("", Exit { code: None, signal: Some(9), ..exit(0) }, "killed");
    check("error: unknown option '--nosuchflag'", exit(1), "bad_config");
    check(
        "--dangerously-skip-permissions cannot be used with root/sudo privileges for security reasons",
        exit(1),
        "bad_config",
    );
}

#[test]
fn garbage_is_passed_over() {
    let noisy: String = fixture("success")
        .lines()
        .map(|line| format!("not json\n[1]\n{{\"type\":7}}\n{line}\n{{\"type\":\n"))
        .collect();
    assert_eq!(outcome(&noisy, "", &exit(0)).end, End::Succeeded);
}

#[test]
fn signals_tell_the_course_of_the_run() {
    let kinds = |stdout: &str| -> Vec<(&'static str, String)> {
        read(None, stdout, "").1.into_iter().map(|signal| (signal.kind, signal.message)).collect()
    };
    let found = kinds(fixture("tool"));
    let found: Vec<(&str, &str)> = found.iter().map(|(kind, message)| (*kind, message.as_str())).collect();
    assert_eq!(found[0].0, "session");
    assert_eq!(found[1], ("tool", "Bash: mkdir -p sub; date > sub/x"));
    assert_eq!(found[2], ("tool_result", "(Bash completed with no output)"));
    assert_eq!(found[3].0, "message");
    assert_eq!(found.len(), 4);

    let found = kinds(fixture("usage_limit"));
    assert_eq!(found[1], ("rate_limit", "five_hour limit: rejected".to_owned()));
    assert_eq!(found[2].0, "error");
    let retry = r#"{"type":"system","subtype":"api_retry","attempt":2,"max_retries":10,"error_status":401,"error":"authentication_failed"}"#;
    assert_eq!(kinds(retry), [("error", "the model did not answer (authentication_failed), attempt 2/10".to_owned())]);
}

#[test]
fn so_far_counts_every_message_once() {
    let without_result: Vec<&str> =
        fixture("tool").lines().filter(|line| !line.contains(r#""type":"result""#)).collect();
    let twice = format!("{0}\n{0}", without_result.join("\n"));
    let found = read(None, &twice, "").0.so_far();
    assert_eq!(
        found.usage,
        Some(Usage { input_tokens: 2_000, output_tokens: 2, cache_read_tokens: 400, cache_write_tokens: 60 })
    );
    assert!(matches!(found.session, SessionChange::Set(_)));
    assert_eq!(read(None, "", "").0.so_far(), Outcome::succeeded());
}

#[test]
fn words_are_told_apart() {
    let check = |words: &str, code: &str| {
        let result = json!({"type": "result", "subtype": "success", "is_error": true, "result": words});
        let found = outcome(&result.to_string(), "", &exit(1));
        assert_eq!(found.error_code.as_deref(), Some(code), "{words}");
    };
    check("You've hit your limit · resets 3pm (Europe/Berlin)", "usage_limit");
    check("5-hour limit reached ∙ resets 4pm", "usage_limit");
    check("Claude AI usage limit reached|1795263500", "usage_limit");
    check("Credit balance is too low", "usage_limit");
    check("Prompt is too long", "context_too_long");
    check("API Error: 400 messages.3: `tool_use` ids were found without `tool_result` blocks", "session_broken");
    check("API Error: Connection error.", "server_error");
    check("API Error: Request timed out.", "server_error");
    check("Failed to authenticate. API Error: 401", "auth_required");
    check("OAuth token has expired · Please run /login", "auth_required");
    check("API Error: Overloaded", "overloaded");
    check("I could not find the file", "agent_error");
    check("", "agent_error");
}

#[test]
fn a_message_taken_during_a_turn_is_confirmed_and_a_turn_after_the_result_opens_the_run_again() {
    let mut reader = ClaudeReader::new(None, Path::new(CWD));
    let mut seen = Vec::new();
    for line in fixture("steered").lines() {
        let signals = reader.line(Stream::Stdout, line);
        seen.extend(signals.into_iter().filter(|signal| signal.kind == "steered").map(|signal| signal.message));
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(reader.has_ended(), event["type"] == "result", "{line}");
        assert!(!(reader.has_ended() && reader.is_in_tool()), "{line}");
    }
    assert_eq!(seen, ["steer one", "steer two", "after the result"]);
    assert_eq!(reader.inputs_taken(), 4);
    let found = done(reader.conclude(&exit(0)));
    assert_eq!(found.end, End::Succeeded);
    assert_eq!(
        found.usage,
        Some(Usage { input_tokens: 3_000, output_tokens: 150, cache_read_tokens: 600, cache_write_tokens: 90 }),
        "later results count on from earlier ones"
    );
}

#[test]
fn a_tool_runs_until_its_result() {
    let mut reader = ClaudeReader::new(None, Path::new(CWD));
    let mut course = Vec::new();
    for line in fixture("steered").lines() {
        reader.line(Stream::Stdout, line);
        if course.last() != Some(&reader.is_in_tool()) {
            course.push(reader.is_in_tool());
        }
    }
    assert_eq!(course, [false, true, false]);
}

#[test]
fn a_resumed_session_is_charged_for_what_the_run_added() {
    let once = Usage { input_tokens: 1_000, output_tokens: 50, cache_read_tokens: 200, cache_write_tokens: 30 };
    let extra = |usage: &Usage, cost_micros: i64| match json!({"usage": usage, "cost_micros": cost_micros}) {
        Value::Object(extra) => extra,
        _ => Map::new(),
    };
    let state = |extra| session::state("11111111-2222-4333-8444-555555555555", CWD, extra);
    let charged = |session: &SessionState, stdout: &str| {
        let found = done(read(Some(session), stdout, "").0.conclude(&exit(0)));
        let SessionChange::Set(after) = found.session else { panic!("the session is kept") };
        (found.usage, found.cost_micros, after.params["cost_micros"].as_i64())
    };
    // `resumed` tells 2,000 tokens and twice the price: the session's, not the run's.
    assert_eq!(charged(&state(extra(&once, 5_190)), fixture("resumed")), (Some(once), Some(5_190), Some(10_380)));
    // A CLI that counts from nothing tells less than what was there before, or less than its own messages.
    let before = Usage { input_tokens: 900, output_tokens: 20, cache_read_tokens: 10, cache_write_tokens: 0 };
    assert_eq!(charged(&state(extra(&before, 9_000)), fixture("success")), (Some(once), Some(6_538), Some(15_538)));
    let much = Usage { input_tokens: 50_000, ..once };
    assert_eq!(charged(&state(extra(&much, 90_000)), fixture("success")), (Some(once), Some(6_538), Some(96_538)));
    // A session of an earlier version has no figures.
    let twice = figures::sum(&once, &once);
    assert_eq!(charged(&state(Map::new()), fixture("resumed")), (Some(twice), Some(10_380), Some(10_380)));
    // A run that was killed has told nothing: what it is known to have used is not charged again.
    let lines: Vec<&str> = fixture("resumed").lines().filter(|line| !line.contains(r#""type":"result""#)).collect();
    let found = read(Some(&state(extra(&once, 5_190))), &lines.join("\n"), "").0.so_far();
    assert_eq!(found.usage.map(|usage| usage.input_tokens), Some(1_000));
    let SessionChange::Set(after) = found.session else { panic!("the session is kept") };
    assert_eq!(after.params["usage"]["input_tokens"], 2_000);
}

#[test]
fn the_last_result_judges() {
    let (reader, _) = read(None, fixture("recovered"), "");
    let results = fixture("recovered").lines().filter(|line| line.contains(r#""type":"result""#)).count();
    assert_eq!((results, reader.has_ended()), (2, true));
    let found = outcome(fixture("recovered"), "", &exit(0));
    assert_eq!((found.end, found.error_code), (End::Succeeded, None), "the first turn failed with a 500");
    let lines: Vec<&str> = fixture("recovered").lines().collect();
    let first = lines.iter().position(|line| line.contains(r#""type":"result""#)).unwrap_or_default();
    let found = outcome(&lines[..=first].join("\n"), "", &exit(0));
    assert_eq!(found.error_code.as_deref(), Some("server_error"));
}

#[test]
fn a_result_with_half_a_character_is_read() {
    let line =
        r#"{"type":"result","subtype":"success","is_error":false,"result":"half \ud83d done","total_cost_usd":1e999}"#;
    let found = outcome(line, "", &exit(0));
    assert_eq!((found.end, found.summary.as_deref()), (End::Succeeded, Some("half \u{fffd} done")));
}

#[test]
fn results_have_the_id_of_their_call() {
    let (_, signals) = read(None, fixture("tool"), "");
    assert_eq!(signals[1].data["id"], "toolu_stub_5");
    assert_eq!(signals[2].data, json!({"id": "toolu_stub_5", "failed": false}));

    let check = |block: Value, text: &str, data: Value| {
        let event = json!({"type": "user", "message": {"content": [{"type": "text", "text": "so"}, block]}});
        let (_, signals) = read(None, &event.to_string(), "");
        assert_eq!(results(&signals), [(text, &data)]);
        assert_eq!(signals.len(), 1);
    };
    check(
        json!({"type": "tool_result", "tool_use_id": "a", "content": "Exit code 3\nno", "is_error": true}),
        "Exit code 3\nno",
        json!({"id": "a", "failed": true}),
    );
    let picture = json!({"type": "image", "source": {"type": "base64", "data": "AAAA"}});
    check(
        json!({"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "a plan"}, picture]}),
        "a plan\n[image]",
        json!({"id": "b", "failed": false}),
    );
    check(json!({"type": "tool_result", "tool_use_id": 7}), "", json!({"id": null, "failed": false}));
}

#[test]
fn a_result_says_nothing_of_the_run() {
    // What a tool returns is a stranger's: words that would mean something from the agent itself.
    let words = r#"{"type":"result","subtype":"success","is_error":true,"result":"usage limit reached"}"#;
    let block = json!({"type": "tool_result", "tool_use_id": "a", "content": words, "is_error": true});
    let event = json!({"type": "user", "message": {"content": [block]}});
    let with = fixture("success").replacen('\n', &format!("\n{event}\n"), 1);
    assert_eq!(outcome(&with, "", &exit(0)), outcome(fixture("success"), "", &exit(0)));
}
