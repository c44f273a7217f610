//! Codex as an agent: the real CLI against a model server on loopback with no model behind it.

use serde_json::{Value, json};
use wakeful_stub_model::{Behaviour, StubModel};

use crate::agents::{CODEX, agent_cli, call_and_result, in_two_days};
use crate::support::{Server, id};

async fn codex(server: &Server, model: &StubModel) -> String {
    let home = server.path().join("codex-home");
    std::fs::create_dir_all(&home).unwrap();
    let settings = [
        "model_provider=\"stub\"".to_owned(),
        "model_providers.stub.name=\"stub\"".to_owned(),
        format!("model_providers.stub.base_url=\"{}/v1\"", model.url()),
        "model_providers.stub.wire_api=\"responses\"".to_owned(),
        "model_providers.stub.env_key=\"STUB_KEY\"".to_owned(),
        "model_providers.stub.request_max_retries=0".to_owned(),
        "model_providers.stub.stream_max_retries=0".to_owned(),
    ];
    let extra: Vec<Value> = settings.iter().flat_map(|setting| [json!("-c"), json!(setting)]).collect();
    let adapter = json!({
        "type": "codex",
        "command": agent_cli(CODEX),
        "extra_args": extra,
        "env": { "HOME": home, "CODEX_HOME": home, "STUB_KEY": "sk-stub" },
    });
    server.agent(&json!({ "name": "cody", "adapter": adapter })).await
}

#[tokio::test]
async fn a_run_has_the_models_text_thread_and_usage_and_the_next_resumes_it() {
    let (server, model) = (Server::start().await, StubModel::start().await.unwrap());
    let agent = codex(&server, &model).await;
    let first = server.run_of(&agent, json!({ "reason": "say hello" })).await;
    assert_eq!((&first["status"], &first["summary"]), (&json!("succeeded"), &json!("stub answer 1")), "{first:#}");
    assert_eq!(first["usage"]["output_tokens"], 50);
    assert_eq!(first["cost_micros"], Value::Null, "Codex reports no cost");
    let thread = first["session_after"].as_str().unwrap();
    let second = server.run_of(&agent, json!({ "reason": "and again" })).await;
    assert_eq!(second["summary"], "stub answer 2");
    assert_eq!(
        (second["session"]["choice"].as_str(), second["session_before"].as_str()),
        (Some("resumed"), Some(thread))
    );
    assert_eq!(second["usage"]["output_tokens"], 50, "what the run added, not the thread's total");
    assert!(model.script().model_requests().last().unwrap().body_contains("say hello"));
    server.assert_sound().await;
}

#[tokio::test]
async fn what_a_command_wrote_is_told_with_its_exit_status() {
    let (server, model) = (Server::start().await, StubModel::start().await.unwrap());
    let agent = codex(&server, &model).await;
    model.script().set(Behaviour::Shell { command: "echo from-the-shell; exit 3".into() });
    let run = server.run_of(&agent, json!({})).await;
    assert_eq!(run["status"], "succeeded", "{run:#}");
    let (call, result) = call_and_result(&server, &run).await;
    assert_eq!(call["data"]["name"], "command_execution");
    assert_eq!(result["message"], "from-the-shell");
    assert_eq!((&result["data"]["failed"], &result["data"]["exit_code"]), (&json!(true), &json!(3)), "{result:#}");
}

#[tokio::test]
async fn a_thread_that_is_gone_is_replaced_by_a_fresh_one_within_the_run() {
    let (server, model) = (Server::start().await, StubModel::start().await.unwrap());
    let agent = codex(&server, &model).await;
    let first = server.run_of(&agent, json!({})).await;
    std::fs::remove_dir_all(server.path().join("codex-home/sessions")).unwrap();
    for entry in std::fs::read_dir(server.path().join("codex-home")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "sqlite") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let second = server.run_of(&agent, json!({})).await;
    assert_eq!((&second["status"], &second["session"]["choice"]), (&json!("succeeded"), &json!("fresh")), "{second:#}");
    assert_ne!(second["session_after"], first["session_after"]);
}

#[tokio::test]
async fn a_usage_limit_waits_and_costs_no_attempt() {
    let (server, model) = (Server::start().await, StubModel::start().await.unwrap());
    let agent = codex(&server, &model).await;
    model.script().set(Behaviour::UsageLimit { resets_at: in_two_days() });
    let wakeup = server.wake(&agent, json!({})).await;
    let run = server.finished(&id(&server.running(&wakeup).await)).await;
    assert_eq!((&run["status"], &run["error_code"]), (&json!("failed"), &json!("usage_limit")), "{run:#}");
    let waiting = server.show(&format!("/wakeups/{wakeup}")).await;
    assert_eq!((&waiting["status"], &waiting["attempt"]), (&json!("pending"), &json!(0)), "{waiting:#}");
    server.assert_sound().await;
}
