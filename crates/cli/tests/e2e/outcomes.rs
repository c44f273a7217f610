//! How a run ends is told honestly, and what follows from it is what its class says.

use serde_json::{Value, json};

use crate::shape::{SESSION, assert_shape};
use crate::support::{Server, id};

/// Asserts on fields by name.
#[track_caller]
fn assert_fields(document: &Value, expected: Value) {
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&document[field], value, "{field}: {document:#}");
    }
}

/// Retries that nobody waits for.
fn retried_later() -> Value {
    json!({ "retry": { "delays_s": [3_600], "jitter": 0 } })
}

/// Runs `script` once under retries that are an hour away; gives the run and its wakeup.
async fn once(server: &Server, script: &str, more: Value) -> (Value, Value) {
    let mut fields = retried_later();
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let agent = server.process_agent_with("ann", script, fields).await;
    let run = server.run_of(&agent, json!({ "reason": "try" })).await;
    let wakeup = server.show(&format!("/wakeups/{}", id(&run["wakeups"][0]))).await;
    server.assert_sound().await;
    (run, wakeup)
}

/// The wakeup is put back and due in an hour.
fn put_back(code: &str) -> Value {
    json!({ "status": "pending", "attempt": 1, "error_code": code, "run_id": null })
}

/// The wakeup is a dead letter.
fn given_up(code: &str) -> Value {
    json!({ "status": "failed", "attempt": 1, "error_code": code })
}

#[tokio::test]
async fn exit_0_is_success() {
    let server = Server::start().await;
    let (run, wakeup) = once(&server, "echo hello; echo trouble >&2", json!({})).await;
    let expected = json!({ "status": "succeeded", "exit_code": 0, "signal": null, "error_code": null, "error": null, "stop": null });
    assert_fields(&run, expected);
    assert_fields(&wakeup, json!({ "status": "completed", "run_id": id(&run), "lead": true, "error_code": null }));
    assert_eq!(run["log"]["lines"], 2);
    assert!(
        run["started_at"].as_str() >= run["created_at"].as_str()
            && run["finished_at"].as_str() >= run["started_at"].as_str()
    );
}

#[tokio::test]
async fn what_the_result_file_says_stands_on_the_run() {
    let server = Server::start().await;
    let usage = json!({ "input_tokens": 10, "output_tokens": 5, "cache_read_tokens": 3, "cache_write_tokens": 2 });
    let said = json!({ "summary": "painted", "result": { "colour": "red" }, "usage": usage, "cost_micros": 1_234, "session": "s-1" });
    let script = format!("cat > \"$WAKEFUL_RESULT_FILE\" <<'END'\n{said}\nEND");
    let (run, _) = once(&server, &script, json!({})).await;
    assert_fields(
        &run,
        json!({
            "status": "succeeded", "summary": "painted", "result": { "colour": "red" }, "usage": usage, "cost_micros": 1_234,
            "session_before": null, "session_after": "s-1",
        }),
    );
    let agent = server.show(&format!("/agents/{}", run["agent"].as_str().unwrap())).await;
    assert_eq!(agent["totals"], json!({ "runs": 1, "tokens": 20, "cost_micros": 1_234 }));
    let again = server.run_of(agent["id"].as_str().unwrap(), json!({})).await;
    assert_eq!((&again["session_before"], &again["session"]["choice"]), (&json!("s-1"), &json!("resumed")));
}

#[tokio::test]
async fn wakeful_done_reports_the_outcome_and_the_run_ends_with_its_process() {
    let server = Server::start().await;
    let script = "wakeful done --failed 'no paint' --result '{\"left\": 3}' >&2; exit 0";
    let (run, wakeup) = once(&server, script, json!({})).await;
    assert_fields(
        &run,
        json!({ "status": "failed", "error_code": "agent_error", "error": "no paint", "result": { "left": 3 }, "exit_code": 0 }),
    );
    assert_fields(&wakeup, put_back("agent_error"));
}

#[tokio::test]
async fn a_non_zero_exit_is_a_failure_that_is_tried_again_later() {
    let server = Server::start().await;
    let (run, wakeup) = once(&server, "echo 'no paint left' >&2; exit 3", json!({})).await;
    assert_fields(&run, json!({ "status": "failed", "error_code": "exit_nonzero", "exit_code": 3, "signal": null }));
    assert!(run["error"].as_str().unwrap().contains("no paint left"), "{}", run["error"]);
    assert_fields(&wakeup, put_back("exit_nonzero"));
    assert_eq!(wakeup["waiting"]["reason"], "not_due");
}

#[tokio::test]
async fn exit_75_asks_to_be_tried_again() {
    let server = Server::start().await;
    let (run, wakeup) = once(&server, "exit 75", json!({})).await;
    assert_fields(&run, json!({ "status": "failed", "error_code": "temporary_failure", "exit_code": 75 }));
    assert_fields(&wakeup, put_back("temporary_failure"));
}

#[tokio::test]
async fn death_by_a_signal_is_never_success() {
    let server = Server::start().await;
    let script = r#"echo '{"outcome": "succ' > "$WAKEFUL_RESULT_FILE"; kill -KILL $$"#;
    let (run, wakeup) = once(&server, script, json!({})).await;
    assert_fields(&run, json!({ "status": "failed", "error_code": "killed", "exit_code": null, "signal": 9 }));
    assert_fields(&wakeup, put_back("killed"));
}

#[tokio::test]
async fn a_command_that_is_not_there_is_a_clear_failure_and_not_tried_again() {
    let server = Server::start().await;
    let by_shell = once(&server, "no-such-command --really", json!({})).await;
    let directly =
        once(&server, "", json!({ "name": "bob", "adapter": { "type": "process", "command": ["no-such-command"] } }))
            .await;
    for (run, wakeup) in [by_shell, directly] {
        assert_fields(&run, json!({ "status": "failed", "error_code": "command_not_found" }));
        assert!(run["error"].as_str().unwrap().contains("no-such-command"), "{}", run["error"]);
        assert_fields(&wakeup, given_up("command_not_found"));
    }
    assert_eq!(server.all("/companies/default/runs").await.len(), 2);
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_a_clear_failure_and_not_tried_again() {
    let server = Server::start().await;
    let adapter = json!({ "type": "process", "command": "true", "cwd": "/no/such/directory" });
    let (run, wakeup) = once(&server, "", json!({ "adapter": adapter })).await;
    assert_fields(&run, json!({ "status": "failed", "error_code": "working_directory_missing" }));
    assert!(run["error"].as_str().unwrap().contains("/no/such/directory"), "{}", run["error"]);
    assert_fields(&wakeup, given_up("working_directory_missing"));
}

#[tokio::test]
async fn a_run_over_its_time_is_stopped_as_timed_out_and_tried_once_more() {
    let server = Server::start().await;
    let limits = json!({ "limits": { "max_duration_s": 1, "grace_s": 1 } });
    let (run, wakeup) = once(&server, "trap '' TERM; echo begun; sleep 600; sleep 600", limits).await;
    assert_fields(&run, json!({ "status": "timed_out", "error_code": "timed_out" }));
    assert_fields(&wakeup, put_back("timed_out"));
    assert_eq!(server.stdout(&id(&run)).await, "begun\n");
    assert!(server.left_over().is_empty());
}

#[tokio::test]
async fn a_failing_wakeup_is_tried_as_often_as_its_agent_says_and_then_kept_as_a_dead_letter() {
    let server = Server::start().await;
    let policy = json!({ "retry": { "delays_s": [1, 0], "jitter": 0 } });
    let agent = server.process_agent_with("ann", "exit 1", policy).await;
    let wakeup = server.settled(&server.wake(&agent, json!({})).await).await;
    assert_fields(
        &wakeup,
        json!({ "status": "failed", "attempt": 3, "max_attempts": 3, "error_code": "exit_nonzero" }),
    );
    let runs = server.all(&format!("/companies/default/runs?agent={agent}")).await;
    assert_eq!(runs.iter().map(|run| run["fence"].as_i64().unwrap()).collect::<Vec<_>>(), [3, 2, 1]);
    let kinds: Vec<String> = server
        .all("/companies/default/events")
        .await
        .iter()
        .filter(|event| event["subject"] == wakeup["id"])
        .map(|event| event["type"].as_str().unwrap().to_owned())
        .collect();
    let expected = [
        "wakeup.accepted",
        "wakeup.claimed",
        "wakeup.retry_scheduled",
        "wakeup.claimed",
        "wakeup.retry_scheduled",
        "wakeup.claimed",
        "wakeup.failed",
    ];
    assert_eq!(kinds, expected);
    server.assert_sound().await;
}

#[tokio::test]
async fn a_dead_letter_that_somebody_has_seen_is_listed_apart_until_it_is_tried_again() {
    let server = Server::start().await;
    let policy = json!({ "retry": { "delays_s": [], "jitter": 0 } });
    let agent = server.process_agent_with("ann", "exit 1", policy).await;
    let wakeup = server.wake(&agent, json!({})).await;
    server.settled(&wakeup).await;
    let listed = async |acknowledged: bool| {
        let path = format!("/companies/default/wakeups?status=failed&acknowledged={acknowledged}");
        server.show(&path).await["items"].as_array().unwrap().len()
    };
    assert_eq!((listed(false).await, listed(true).await), (1, 0));
    let path = format!("/wakeups/{wakeup}/ack");
    for _ in 0..2 {
        assert_eq!(server.post(&path, &json!({})).await.0, 200);
    }
    assert_eq!((listed(false).await, listed(true).await), (0, 1));
    let told = server.all("/companies/default/events").await;
    let told: Vec<_> = told.iter().filter(|event| event["type"] == "wakeup.acknowledged").collect();
    assert_eq!((told.len(), &told[0]["data"]["by"]), (1, &json!("admin")));
    server.post(&format!("/wakeups/{wakeup}/retry"), &json!({})).await;
    server.settled(&wakeup).await;
    assert_eq!((listed(false).await, listed(true).await), (1, 0), "it has failed anew");
    let printed = server.cli(&["wakeup", "ack", &wakeup]).await.ok();
    assert!(printed.contains("is failed"), "{printed}");
    assert_eq!(listed(false).await, 0);
    let later = server.wake(&agent, json!({ "delay_ms": 60_000 })).await;
    let (status, refused) = server.post(&format!("/wakeups/{later}/ack"), &json!({})).await;
    assert_eq!((status, &refused["code"]), (409, &json!("wakeup_not_failed")));
}

#[tokio::test]
async fn a_session_is_resumed_until_the_operator_resets_it() {
    let server = Server::start().await;
    let script = r#"echo "${WAKEFUL_SESSION:-none}"; echo '{"session": "s-1"}' > "$WAKEFUL_RESULT_FILE""#;
    let agent = server.process_agent("ann", script).await;
    let path = format!("/agents/{agent}/sessions");
    let resumed = async || server.stdout(&id(&server.run_of(&agent, json!({})).await)).await;
    assert_eq!((resumed().await, resumed().await), ("none\n".into(), "s-1\n".into()));
    let sessions = server.show(&path).await;
    assert_shape(&sessions["items"][0], SESSION);
    assert_fields(
        &sessions["items"][0],
        json!({ "adapter": "process", "task": null, "display_id": "s-1", "turns": 2 }),
    );
    assert_eq!(server.delete(&format!("{path}?task=none")).await.0, 204);
    assert_eq!(server.show(&path).await, json!({ "items": [] }));
    assert_eq!(resumed().await, "none\n");
}
