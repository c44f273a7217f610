//! OpenCode as an agent: the real CLI against a model server on loopback with no model behind it.

use serde_json::json;
use wakeful_stub_model::{Behaviour, StubModel};

use crate::agents::{OPENCODE, agent_cli, call_and_result};
use crate::support::{Server, id};

async fn opencode(server: &Server, model: &StubModel) -> String {
    let home = server.path().join("opencode-home");
    std::fs::create_dir_all(&home).unwrap();
    let provider = json!({
        "npm": "@ai-sdk/openai-compatible",
        "name": "stub",
        "options": { "baseURL": format!("{}/v1", model.url()), "apiKey": "sk-stub" },
        "models": { "m": {
            "name": "m",
            "limit": { "context": 100_000, "output": 8_000 },
            "cost": { "input": 1, "output": 2 },
        } },
    });
    let config = json!({ "provider": { "stub": provider } });
    let adapter = json!({
        "type": "opencode",
        "command": agent_cli(OPENCODE),
        "model": "stub/m",
        "env": {
            "HOME": home,
            "XDG_CONFIG_HOME": home.join("config"),
            "XDG_DATA_HOME": home.join("data"),
            "XDG_CACHE_HOME": home.join("cache"),
            "XDG_STATE_HOME": home.join("state"),
            "OPENCODE_CONFIG_CONTENT": config.to_string(),
            // Nothing but the model is asked for; what it would install for its own configuration is not found.
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
            "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
            "OPENCODE_DISABLE_SHARE": "1",
            "npm_config_registry": model.url(),
        },
    });
    server.agent(&json!({ "name": "opal", "adapter": adapter })).await
}

#[tokio::test]
async fn a_run_has_the_models_text_session_usage_and_cost_the_next_resumes_it_and_one_without_it_is_fresh() {
    let (server, model) = (Server::start().await, StubModel::start().await.unwrap());
    let agent = opencode(&server, &model).await;
    let first = server.run_of(&agent, json!({ "reason": "say hello" })).await;
    assert_eq!((&first["status"], &first["summary"]), (&json!("succeeded"), &json!("stub answer 1")), "{first:#}");
    let once = json!({ "input_tokens": 1030, "output_tokens": 50, "cache_read_tokens": 200, "cache_write_tokens": 0 });
    assert_eq!((&first["usage"], &first["cost_micros"]), (&once, &json!(1130)));
    assert_eq!(first["model"], "stub/m");
    let session = first["session_after"].as_str().unwrap();
    model.script().set(Behaviour::Shell { command: "echo written | tee proof.txt".into() });
    let second = server.run_of(&agent, json!({ "reason": "and again" })).await;
    assert_eq!(
        (second["session"]["choice"].as_str(), second["session_before"].as_str(), second["session_after"].as_str()),
        (Some("resumed"), Some(session), Some(session)),
        "{second:#}"
    );
    assert_eq!((&second["summary"], &second["cost_micros"]), (&json!("stub answer 3"), &json!(2260)), "{second:#}");
    let (_, result) = call_and_result(&server, &second).await;
    assert!(result["message"].as_str().unwrap().contains("written"), "{result:#}");
    assert_eq!(result["data"]["failed"], false, "{result:#}");
    let asked = model.script().model_requests();
    assert!(asked.last().unwrap().body_contains("say hello") && asked.last().unwrap().body_contains("and again"));
    std::fs::remove_dir_all(server.path().join("opencode-home/data")).unwrap();
    let third = server.run_of(&agent, json!({})).await;
    assert_eq!((&third["status"], &third["session"]["choice"]), (&json!("succeeded"), &json!("fresh")), "{third:#}");
    assert_ne!(third["session_after"], second["session_after"]);
    server.assert_sound().await;
}

#[tokio::test]
async fn what_it_would_try_again_without_end_is_ended_and_named() {
    let (server, model) = (Server::start().await, StubModel::start().await.unwrap());
    let agent = opencode(&server, &model).await;
    model.script().set(Behaviour::UsageLimit { resets_at: 0 });
    let wakeup = server.wake(&agent, json!({})).await;
    let run = server.finished(&id(&server.running(&wakeup).await)).await;
    assert_eq!((&run["status"], &run["error_code"]), (&json!("failed"), &json!("usage_limit")), "{run:#}");
    let waiting = server.show(&format!("/wakeups/{wakeup}")).await;
    assert_eq!((&waiting["status"], &waiting["attempt"]), (&json!("pending"), &json!(0)), "{waiting:#}");
}
