//! Claude Code as an agent: the real CLI against a model server on loopback with no model behind it.

use serde_json::{Value, json};
use wakeful_stub_model::{Behaviour, StubModel};

use wakeful_domain::time::Timestamp;

use crate::agents::{CLAUDE, agent_cli, call_and_result, in_two_days};
use crate::secrets::set;
use crate::support::{Server, id};

async fn claude(server: &Server, model: &StubModel, env: Value) -> String {
    let home = server.path().join("claude-home");
    let mut variables = json!({
        "ANTHROPIC_BASE_URL": model.url(),
        "ANTHROPIC_API_KEY": "sk-stub",
        "HOME": home,
        "CLAUDE_CONFIG_DIR": home.join(".claude"),
        "CLAUDE_CODE_MAX_RETRIES": "0",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
    });
    variables.as_object_mut().unwrap().extend(env.as_object().unwrap().clone());
    let adapter = json!({ "type": "claude", "command": agent_cli(CLAUDE), "env": variables });
    server.agent(&json!({ "name": "ann", "adapter": adapter })).await
}

#[tokio::test]
async fn a_run_has_the_models_text_session_usage_and_cost_and_the_next_resumes_it() {
    let (server, model) = (Server::start().await, StubModel::start().await.unwrap());
    let agent = claude(&server, &model, json!({})).await;
    let first = server.run_of(&agent, json!({ "reason": "say hello" })).await;
    assert_eq!((&first["status"], &first["summary"]), (&json!("succeeded"), &json!("stub answer 1")), "{first:#}");
    assert_eq!(first["session"]["choice"], "fresh");
    assert_eq!(
        first["usage"],
        json!({ "input_tokens": 1000, "output_tokens": 50, "cache_read_tokens": 200, "cache_write_tokens": 30 })
    );
    assert!(first["cost_micros"].as_i64().unwrap() > 0 && first["model"].is_string(), "{first:#}");
    let session = first["session_after"].as_str().unwrap();

    let second = server.run_of(&agent, json!({ "reason": "and again" })).await;
    assert_eq!(second["summary"], "stub answer 2");
    assert_eq!(
        (second["session"]["choice"].as_str(), second["session_before"].as_str()),
        (Some("resumed"), Some(session))
    );
    let asked = model.script().model_requests();
    assert!(asked.last().unwrap().body_contains("say hello"), "the session has what was said before");
    assert!(asked.last().unwrap().body_contains("and again"));
    server.assert_sound().await;
}

#[tokio::test]
async fn a_session_that_is_gone_is_replaced_by_a_fresh_one_within_the_run() {
    let (server, model) = (Server::start().await, StubModel::start().await.unwrap());
    let agent = claude(&server, &model, json!({})).await;
    let first = server.run_of(&agent, json!({})).await;
    std::fs::remove_dir_all(server.path().join("claude-home/.claude/projects")).unwrap();
    let second = server.run_of(&agent, json!({ "reason": "once more" })).await;
    assert_eq!(second["status"], "succeeded", "{second:#}");
    assert_eq!(second["session"]["choice"], "fresh");
    assert_ne!(second["session_after"], first["session_after"]);
    let events = server.show(&format!("/runs/{}/events", id(&second))).await;
    let kinds: Vec<&str> =
        events["items"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"session_unknown"), "{kinds:?}");
    assert_eq!(server.all(&format!("/companies/default/runs?agent={agent}")).await.len(), 2, "no third run");
}

#[tokio::test]
async fn a_usage_limit_parks_the_account_until_its_reset_and_nothing_is_asked_meanwhile() {
    let (server, model) = (Server::start().await, StubModel::start().await.unwrap());
    // Only a subscription has usage limits; with an API key the same answer is a plain 429.
    let subscription = json!({ "ANTHROPIC_API_KEY": "", "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-stub" });
    let agent = claude(&server, &model, subscription).await;
    let reset = in_two_days();
    model.script().set(Behaviour::UsageLimit { resets_at: reset });
    let wakeup = server.wake(&agent, json!({})).await;
    let run = server.finished(&id(&server.running(&wakeup).await)).await;
    assert_eq!((&run["status"], &run["error_code"]), (&json!("failed"), &json!("usage_limit")), "{run:#}");
    let asked = model.script().model_calls();
    let waiting = server.show(&format!("/wakeups/{wakeup}")).await;
    assert_eq!((&waiting["status"], &waiting["attempt"]), (&json!("pending"), &json!(0)), "{waiting:#}");
    let due: Timestamp = waiting["due_at"].as_str().unwrap().parse().unwrap();
    assert!(
        (0..=60).contains(&(due.as_millis() / 1_000 - reset)),
        "due when the limit lifts, spread over a minute: {waiting:#}"
    );
    let other = server.show(&format!("/wakeups/{}", server.wake(&agent, json!({})).await)).await;
    assert_eq!(other["waiting"]["reason"], "quota_until", "{other:#}");
    assert_eq!(model.script().model_calls(), asked, "no retry storm");
    server.assert_sound().await;
}

#[tokio::test]
async fn failures_of_the_model_server_are_named_for_what_they_are() {
    let (server, model) = (Server::start().await, StubModel::start().await.unwrap());
    let agent = claude(&server, &model, json!({})).await;
    for (behaviour, code, is_retried) in [
        (Behaviour::Overloaded529, "overloaded", true),
        (Behaviour::RateLimited429, "rate_limited", true),
        (Behaviour::ServerError500, "server_error", true),
        (Behaviour::AuthError401, "auth_required", false),
        (Behaviour::ModelNotFound404, "model_not_found", false),
    ] {
        model.script().set(behaviour.clone());
        let wakeup = server.wake(&agent, json!({})).await;
        let run = server.finished(&id(&server.running(&wakeup).await)).await;
        assert_eq!(run["error_code"], code, "{behaviour:?}: {run:#}");
        let wakeup = server.show(&format!("/wakeups/{wakeup}")).await;
        let expected = if is_retried { "pending" } else { "failed" };
        assert_eq!(wakeup["status"], expected, "{behaviour:?}: {wakeup:#}");
    }
}

#[tokio::test]
async fn an_exit_without_a_result_is_no_success() {
    let server = Server::start().await;
    let adapter = json!({ "type": "claude", "command": ["/bin/sh", "-c", "head -n 1 > /dev/null; exit 0"] });
    let agent = server.agent(&json!({ "name": "silent", "adapter": adapter })).await;
    let run = server.run_of(&agent, json!({})).await;
    assert_eq!((&run["status"], &run["error_code"]), (&json!("failed"), &json!("no_result")), "{run:#}");
}

#[tokio::test]
async fn a_rotated_session_begins_with_a_note_and_without_the_words_of_the_old_one() {
    let (server, model) = (Server::start().await, StubModel::start().await.unwrap());
    let agent = claude(&server, &model, json!({})).await;
    server.patch(&format!("/agents/{agent}"), &json!({ "session": { "max_runs": 2 } })).await;
    let first = server.run_of(&agent, json!({ "reason": "say hello" })).await;
    let second = server.run_of(&agent, json!({ "reason": "and again" })).await;
    assert_eq!((&second["session"]["choice"], &second["session_after"]), (&json!("resumed"), &first["session_after"]));
    let third = server.run_of(&agent, json!({ "reason": "once more" })).await;
    assert_eq!(third["session"]["choice"], "rotated", "{third:#}");
    assert_ne!(third["session_after"], second["session_after"]);
    let asked = model.script().model_requests();
    let last = asked.last().unwrap();
    assert!(!last.body_contains("say hello"), "nothing of the old session");
    assert!(last.body_contains("stub answer 2") && last.body_contains(&id(&second)), "but the account of its last run");
    assert!(last.body_contains("once more"));
    let fourth = server.run_of(&agent, json!({})).await;
    assert_eq!((&fourth["session"]["choice"], &fourth["session_before"]), (&json!("resumed"), &third["session_after"]));
}

#[tokio::test]
async fn a_message_reaches_the_live_session_between_two_tool_calls_and_is_confirmed() {
    let (server, model) = (Server::start().await, StubModel::start().await.unwrap());
    let agent = claude(&server, &model, json!({})).await;
    // The tool runs until it is told that the message is on its way.
    let flag = server.path().join("said");
    let command = format!("for i in $(seq 100); do test -e '{}' && break; sleep 0.1; done; sleep 0.5", flag.display());
    model.script().set(Behaviour::answers());
    model.script().queue(Behaviour::Shell { command });
    let wakeup = server.wake(&agent, json!({ "reason": "begin" })).await;
    let run = id(&server.running(&wakeup).await);
    while model.script().model_calls() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let (status, said) = server.post(&format!("/runs/{run}/steer"), &json!({ "message": "mind the gap" })).await;
    assert_eq!((status, &said["delivery"]), (202, &json!("session")), "{said:#}");
    std::fs::write(&flag, "").unwrap();
    let ended = server.finished(&run).await;
    assert_eq!((&ended["status"], &ended["summary"]), (&json!("succeeded"), &json!("stub answer 2")), "{ended:#}");
    assert_eq!(ended["usage"]["input_tokens"], 2_000, "both calls, once: {ended:#}");
    assert!(model.script().model_requests()[1].body_contains("mind the gap"), "the second call has the message");
    let events = server.show(&format!("/runs/{run}/events")).await;
    assert!(events["items"].as_array().unwrap().iter().any(|event| event["type"] == "steered"), "{events:#}");
    assert_eq!(server.settled(said["wakeup"]["id"].as_str().unwrap()).await["run_id"], json!(run));
    // The next run resumes the session, and is charged for itself only.
    let next = server.run_of(&agent, json!({})).await;
    assert_eq!((&next["session"]["choice"], &next["usage"]["input_tokens"]), (&json!("resumed"), &json!(1_000)));
    let cost = |run: &Value| run["cost_micros"].as_i64().unwrap();
    assert_eq!(cost(&next) * 2, cost(&ended), "{next:#}");
    server.assert_sound().await;
}

#[tokio::test]
async fn what_a_tool_returned_is_told_with_its_call_and_without_secrets() {
    let (server, model) = (Server::start().await, StubModel::start().await.unwrap());
    assert_eq!(set(&server, "api-key", "canary-8f3b\"quoted").code, 0);
    let agent = claude(&server, &model, json!({ "KEY": { "secret": "api-key" } })).await;
    // As it is, and as a document in a document has it, which no line of the log shows.
    let command = r#"echo "said $KEY"; echo '"canary-8f''3b\"quoted"'; exit 3"#;
    model.script().set(Behaviour::Shell { command: command.into() });
    let run = server.run_of(&agent, json!({})).await;
    assert_eq!(run["status"], "succeeded", "{run:#}");
    let (call, result) = call_and_result(&server, &run).await;
    assert_eq!((&call["data"]["name"], &result["data"]["failed"]), (&json!("Bash"), &json!(true)), "{result:#}");
    let text = result["message"].as_str().unwrap();
    assert!(text.contains("said ***\n\"***\"") && !text.contains("canary"), "{result:#}");
    assert_eq!(result["level"], "info", "a tool that fails is no failure of the run");
}

#[tokio::test]
async fn a_schedule_wakes_it_with_a_model_of_its_own() {
    let (server, model) = (Server::start().await, StubModel::start().await.unwrap());
    let agent = claude(&server, &model, json!({})).await;
    let own = server.run_of(&agent, json!({})).await;
    assert_ne!(own["model"], "claude-haiku-4-5", "{own:#}");
    // A person's context is information for the agent, no setting.
    let said = server.run_of(&agent, json!({ "context": { "model": "claude-haiku-4-5" } })).await;
    assert_eq!(said["model"], own["model"], "{said:#}");
    let target = json!({ "wake": { "agent": agent, "model": "claude-haiku-4-5" } });
    let body = json!({ "name": "cheap", "trigger": { "at": "2030-01-01T00:00:00Z" }, "target": target });
    let (status, schedule) = server.post("/companies/default/schedules", &body).await;
    assert_eq!(status, 201, "{schedule}");
    let (_, slot) = server.post(&format!("/schedules/{}/run", id(&schedule)), &json!({})).await;
    let wakeup = server.settled(slot["wakeup"].as_str().unwrap()).await;
    let run = server.show(&format!("/runs/{}", wakeup["run_id"].as_str().unwrap())).await;
    assert_eq!((&run["status"], &run["model"]), (&json!("succeeded"), &json!("claude-haiku-4-5")), "{run:#}");
}
