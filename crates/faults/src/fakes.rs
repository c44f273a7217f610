//! Agents that only look like one: shell scripts that speak as a CLI does.

use serde_json::{Value, json};
use wakeful_test_server::Client;

/// A session as Claude Code names one.
pub const SESSION: &str = "6f6b1c1e-0000-4000-8000-000000000000";

/// The shell commands that begin a stream as Claude Code does.
pub fn begins() -> String {
    says(&json!({ "type": "system", "subtype": "init", "session_id": SESSION, "apiKeySource": "none" }))
}

/// The shell commands that end it well.
pub fn succeeds() -> String {
    let result = json!({ "type": "result", "subtype": "success", "is_error": false, "result": "all done", "session_id": SESSION });
    says(&result)
}

/// The shell command that prints an event.
pub fn says(event: &Value) -> String {
    format!("printf '%s\\n' '{}'\n", event.to_string().replace('\'', "'\\''"))
}

/// An agent that runs `script` in a shell in the place of a CLI.
pub async fn cli_agent(client: &Client, name: &str, kind: &str, script: &str, more: Value) -> String {
    let adapter = json!({ "type": kind, "command": ["/bin/sh", "-c", script], "account": name });
    let mut body = json!({ "name": name, "adapter": adapter, "retry": { "delays_s": [], "jitter": 0 } });
    for (field, value) in more.as_object().unwrap() {
        match (body[field].as_object_mut(), value.as_object()) {
            (Some(present), Some(more)) => present.extend(more.clone()),
            _ => body[field] = value.clone(),
        }
    }
    client.agent(&body).await
}

/// The types of a run's events.
pub async fn events_of(client: &Client, run: &str) -> Vec<String> {
    let events = client.show(&format!("/runs/{run}/events")).await;
    let kind = |event: &Value| event["type"].as_str().unwrap().to_owned();
    events["items"].as_array().unwrap().iter().map(kind).collect()
}

/// Fails unless the run ended so; the code is empty for none.
#[track_caller]
pub fn assert_ended(run: &Value, status: &str, code: &str) {
    let found = (run["status"].as_str().unwrap_or_default(), run["error_code"].as_str().unwrap_or_default());
    assert_eq!(found, (status, code), "{run:#}");
}
