//! Gemini CLI as an agent: the real CLI against a model server on loopback with no model behind it.

use serde_json::{Value, json};
use wakeful_stub_model::{Behaviour, StubModel};

use crate::agents::{GEMINI, agent_cli, call_and_result};
use crate::support::{Server, id};

async fn gemini(server: &Server, model: &StubModel) -> String {
    let home = server.path().join("gemini-home");
    std::fs::create_dir_all(home.join(".gemini")).unwrap();
    // Nothing but the model is asked for, and a refused call is not tried ten times.
    let settings = json!({
        "security": { "auth": { "selectedType": "gemini-api-key" } },
        "privacy": { "usageStatisticsEnabled": false },
        "general": { "enableAutoUpdate": false, "maxAttempts": 1 },
    });
    std::fs::write(home.join(".gemini/settings.json"), settings.to_string()).unwrap();
    let adapter = json!({
        "type": "gemini",
        "command": agent_cli(GEMINI),
        "model": "gemini-2.5-pro",
        "env": { "HOME": home, "GEMINI_API_KEY": "stub", "GOOGLE_GEMINI_BASE_URL": model.url() },
    });
    server.agent(&json!({ "name": "gemma", "adapter": adapter })).await
}

#[tokio::test]
async fn a_run_has_the_models_text_session_and_usage_the_next_resumes_it_and_one_without_it_is_fresh() {
    let (server, model) = (Server::start().await, StubModel::start().await.unwrap());
    let agent = gemini(&server, &model).await;
    let first = server.run_of(&agent, json!({ "reason": "say hello" })).await;
    assert_eq!((&first["status"], &first["summary"]), (&json!("succeeded"), &json!("stub answer 1")), "{first:#}");
    let once = json!({ "input_tokens": 1030, "output_tokens": 50, "cache_read_tokens": 200, "cache_write_tokens": 0 });
    assert_eq!((&first["usage"], &first["cost_micros"]), (&once, &Value::Null), "Gemini CLI reports no cost");
    assert_eq!(first["model"], "gemini-2.5-pro");
    let session = first["session_after"].as_str().unwrap();
    model.script().set(Behaviour::Shell { command: "echo written | tee proof.txt".into() });
    let second = server.run_of(&agent, json!({ "reason": "and again" })).await;
    assert_eq!(
        (second["session"]["choice"].as_str(), second["session_before"].as_str(), second["session_after"].as_str()),
        (Some("resumed"), Some(session), Some(session)),
        "{second:#}"
    );
    assert_eq!((&second["summary"], &second["usage"]["output_tokens"]), (&json!("stub answer 3"), &json!(100)));
    let (_, result) = call_and_result(&server, &second).await;
    assert!(result["message"].as_str().unwrap().contains("written"), "{result:#}");
    assert_eq!(result["data"]["failed"], false, "{result:#}");
    let asked = model.script().model_requests();
    assert!(asked.last().unwrap().body_contains("say hello") && asked.last().unwrap().body_contains("and again"));
    std::fs::remove_dir_all(server.path().join("gemini-home/.gemini/tmp")).unwrap();
    let third = server.run_of(&agent, json!({})).await;
    assert_eq!((&third["status"], &third["session"]["choice"]), (&json!("succeeded"), &json!("fresh")), "{third:#}");
    assert_ne!(third["session_after"], second["session_after"]);
    server.assert_sound().await;
}

#[tokio::test]
async fn failures_of_the_model_server_are_named_for_what_they_are() {
    let (server, model) = (Server::start().await, StubModel::start().await.unwrap());
    let agent = gemini(&server, &model).await;
    for (behaviour, code, status) in [
        (Behaviour::AuthError401, "auth_required", "failed"),
        (Behaviour::Overloaded529, "overloaded", "pending"),
        (Behaviour::UsageLimit { resets_at: 0 }, "usage_limit", "pending"),
    ] {
        model.script().set(behaviour.clone());
        let wakeup = server.wake(&agent, json!({})).await;
        let run = server.finished(&id(&server.running(&wakeup).await)).await;
        assert_eq!(run["error_code"], code, "{behaviour:?}: {run:#}");
        let wakeup = server.show(&format!("/wakeups/{wakeup}")).await;
        assert_eq!(wakeup["status"], status, "{behaviour:?}: {wakeup:#}");
    }
}
