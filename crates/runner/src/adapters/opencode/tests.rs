//! The adapter against what `OpenCode` 1.18.33 really wrote (`tests/fixtures/opencode`).

use serde_json::{Map, json};
use wakeful_domain::outcome::{End, SessionChange};

use super::*;
use crate::adapters::Adapter;
use crate::adapters::testing::{CWD, done, exit, failure_of, killed, kinds, read, recorded, results, session_of};

fn reader_of(name: &str, session: Option<&SessionState>) -> (Box<dyn Reader>, Vec<Signal>) {
    let (stdout, stderr) = recorded(&format!("opencode/{name}"));
    read(Adapter::Opencode, &json!({"model": "stub/m"}), session, &stdout, &stderr)
}

#[test]
fn arguments() {
    let session = session::state("ses_e010fe52dffeRHuGJvyPhLHBeU", CWD, Map::new());
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
        assert_eq!((found.argv.join(" ").as_str(), found.stdin.as_str()), (expected, "do it"));
    };
    let run = "opencode run --format json --print-logs --log-level ERROR";
    check(json!({}), None, &format!("{run} --auto"));
    check(
        json!({"model": "a/b", "agent": "build", "variant": "high", "auto_approve": false, "extra_args": ["--pure"]}),
        Some(&session),
        &format!("{run} --session {} --model a/b --agent build --variant high --pure", session.display_id),
    );
}

#[test]
fn a_success_and_all_that_it_reports() {
    let found = done(reader_of("success", None).0.conclude(&exit(0)));
    assert_eq!((found.end, found.summary.as_deref()), (End::Succeeded, Some("stub answer 1")));
    let once = Usage { input_tokens: 1_030, output_tokens: 50, cache_read_tokens: 200, cache_write_tokens: 0 };
    assert_eq!((found.usage, found.cost_micros), (Some(once), Some(1_130)));
    assert_eq!((found.model.as_deref(), found.provider.as_deref()), (Some("stub/m"), Some("stub")));
    let session = session_of(&found);
    let second = done(reader_of("resumed", Some(&session)).0.conclude(&killed(15)));
    assert_eq!((second.end, second.usage, session_of(&second)), (End::Succeeded, Some(once), session));
    // Two steps: usage and cost of both.
    let tool = done(reader_of("tool", None).0.conclude(&exit(0)));
    assert_eq!((tool.usage, tool.cost_micros), (Some(figures::sum(&once, &once)), Some(2_260)));
}

#[test]
fn failures_have_their_code() {
    let check = |name: &str, expected: &str, words: &str| {
        let (mut reader, _) = reader_of(name, None);
        let found = done(reader.conclude(&exit(1)));
        let (code, error) = failure_of(&found);
        assert_eq!(code, expected, "{name}: {error}");
        assert!(error.contains(words), "{name}: {error}");
        (reader.has_ended(), found.session)
    };
    check("auth_error", "auth_required", "Incorrect API key");
    check("model_not_found", "model_not_found", "does not exist");
    check("bad_model", "model_not_found", "stub/none");
    check("rate_limited", "rate_limited", "Rate limit reached");
    check("overloaded", "overloaded", "overloaded");
    check("server_error", "exit_nonzero", "had an error");
    assert!(check("usage_limit", "usage_limit", "exceeded your current quota").0, "it would try again without end");
    assert_eq!(check("refused", "refused", "content filter").1, SessionChange::Clear);
}

#[test]
fn refused_calls_are_waited_for_a_while_only() {
    let (_, stderr) = recorded("opencode/overloaded");
    let line = stderr.lines().next().unwrap_or_default();
    let lines = |count: usize| vec![line; count].join("\n");
    let has_ended = |stderr: &str| read(Adapter::Opencode, &json!({}), None, "", stderr).0.has_ended();
    assert!(!has_ended(&lines(4)));
    assert!(has_ended(&lines(5)));
    assert!(!has_ended(&lines(50).replace("small=false", "small=true")), "titles are not the agent's work");
    // One that was answered ends the row.
    let (mut reader, signals) = read(Adapter::Opencode, &json!({}), None, "", &lines(4));
    assert_eq!(kinds(&signals)[0], ("error", "AI_APICallError: The server is overloaded (stub)."));
    let (stdout, _) = recorded("opencode/success");
    stdout.lines().for_each(|line| drop(reader.line(Stream::Stdout, line)));
    assert!(reader.has_ended());
    assert_eq!(done(reader.conclude(&exit(0))).end, End::Succeeded);
}

#[test]
fn an_unknown_session_is_no_failure_when_resuming() {
    let session = session::state("ses_e01127c99ffenzaavXEN6ET19X", CWD, Map::new());
    let (mut reader, _) = reader_of("unknown_session", Some(&session));
    match reader.conclude(&exit(1)) {
        Conclusion::SessionUnknown { error } => assert_eq!(error, "Error: Session not found"),
        Conclusion::Done(outcome) => panic!("{outcome:?}"),
    }
    let alone = done(reader_of("unknown_session", None).0.conclude(&exit(1)));
    assert_eq!(failure_of(&alone).0, "exit_nonzero");
}

#[test]
fn signals_tell_the_course_of_the_run() {
    let (_, signals) = reader_of("tool", None);
    let found = kinds(&signals);
    assert_eq!(found[0].0, "session");
    let call = ("tool", "bash: mkdir -p sub; date > sub/x");
    assert_eq!(found[1..], [call, ("tool_result", "(no output)"), ("message", "stub answer 4")]);
    let (stdout, _) = recorded("opencode/tool");
    let first_step: Vec<&str> = stdout.lines().take(3).collect();
    let (mut reader, _) = read(Adapter::Opencode, &json!({}), None, &first_step.join("\n"), "");
    assert!(!reader.has_ended(), "the tools' results are answered yet");
    assert_eq!(failure_of(&done(reader.conclude(&exit(0)))).0, "no_result");
}

#[test]
fn a_call_is_told_with_what_it_returned() {
    let check = |state: Value, text: &str, data: Value| {
        let event = json!({"type": "tool_use", "part": {"tool": "bash", "callID": "a", "state": state}});
        let (_, signals) = read(Adapter::Opencode, &json!({}), None, &event.to_string(), "");
        assert_eq!(signals[0].data["id"], "a");
        assert_eq!(results(&signals), [(text, &data)]);
    };
    check(
        json!({"status": "completed", "output": "no", "metadata": {"exit": 3}}),
        "no",
        json!({"id": "a", "failed": true, "exit_code": 3}),
    );
    check(json!({"status": "completed", "output": "yes"}), "yes", json!({"id": "a", "failed": false}));
    check(json!({"status": "error", "error": "denied"}), "denied", json!({"id": "a", "failed": true}));
}
