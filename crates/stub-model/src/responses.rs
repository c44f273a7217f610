//! Answers in the form of the OpenAI Responses API, streamed or whole.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::script::{Behaviour, USAGE};
use crate::server::event_stream;

/// Names that a shell tool has had, the preferred one first: which of them exists depends on the CLI's version.
const SHELL_TOOLS: &[&str] = &["exec_command", "shell_command", "shell"];

/// The answer to a `POST /v1/responses`.
pub(crate) fn answer(body: &Value, number: u64, behaviour: &Behaviour) -> Response {
    let model = body["model"].as_str().unwrap_or("stub");
    let plain = format!("stub answer {number}");
    match behaviour {
        Behaviour::Answer { text } => reply(body, number, message(number, text.as_deref().unwrap_or(&plain))),
        Behaviour::Shell { command } if !has_tool_output(body) => {
            reply(body, number, shell_call(body, number, command))
        }
        Behaviour::Refusal => reply(body, number, refusal(number)),
        Behaviour::Shell { .. } | Behaviour::Slow { .. } | Behaviour::Hang => {
            reply(body, number, message(number, &plain))
        }
        Behaviour::RateLimited429 => {
            error(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", "Rate limit reached for requests (stub).")
        }
        Behaviour::Overloaded529 => {
            error(StatusCode::SERVICE_UNAVAILABLE, "server_is_overloaded", "The server is currently overloaded (stub).")
        }
        Behaviour::UsageLimit { resets_at } => {
            let body = json!({"error": {
                "type": "usage_limit_reached",
                "message": "The usage limit has been reached",
                "plan_type": "plus",
                "resets_at": resets_at,
            }});
            (StatusCode::TOO_MANY_REQUESTS, Json(body)).into_response()
        }
        Behaviour::AuthError401 => error(StatusCode::UNAUTHORIZED, "invalid_api_key", "Incorrect API key provided."),
        Behaviour::ModelNotFound404 => error(
            StatusCode::NOT_FOUND,
            "model_not_found",
            &format!("The model `{model}` does not exist or you do not have access to it."),
        ),
        Behaviour::ServerError500 => {
            error(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "The server had an error (stub).")
        }
    }
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let kind = if status.is_server_error() { "server_error" } else { "invalid_request_error" };
    (status, Json(json!({"error": {"message": message, "type": kind, "param": null, "code": code}}))).into_response()
}

fn message(number: u64, text: &str) -> Value {
    let content = json!([{"type": "output_text", "text": text, "annotations": []}]);
    json!({"type": "message", "id": format!("msg_stub_{number}"), "role": "assistant", "status": "completed", "content": content})
}

fn refusal(number: u64) -> Value {
    let content = json!([{"type": "refusal", "refusal": "I cannot help with that (stub)."}]);
    json!({"type": "message", "id": format!("msg_stub_{number}"), "role": "assistant", "status": "completed", "content": content})
}

fn shell_call(body: &Value, number: u64, command: &str) -> Value {
    let offered =
        |name: &&&str| body["tools"].as_array().is_some_and(|tools| tools.iter().any(|tool| tool["name"] == **name));
    let name = SHELL_TOOLS.iter().find(offered).unwrap_or(&SHELL_TOOLS[0]);
    let arguments = match *name {
        "exec_command" => json!({"cmd": command}),
        "shell_command" => json!({"command": command}),
        _ => json!({"command": ["sh", "-c", command]}),
    };
    json!({
        "type": "function_call",
        "id": format!("fc_stub_{number}"),
        "call_id": format!("call_stub_{number}"),
        "name": name,
        "arguments": arguments.to_string(),
        "status": "completed",
    })
}

/// Whether the last item of the input is what a tool returned.
fn has_tool_output(body: &Value) -> bool {
    let last = body["input"].as_array().and_then(|items| items.last());
    last.is_some_and(|item| item["type"].as_str().is_some_and(|kind| kind.ends_with("_call_output")))
}

fn reply(body: &Value, number: u64, item: Value) -> Response {
    let input_tokens = USAGE.input_tokens + USAGE.cache_read_tokens + USAGE.cache_write_tokens;
    let response = json!({
        "id": format!("resp_stub_{number}"),
        "object": "response",
        "created_at": 0,
        "model": body["model"],
        "status": "completed",
        "output": [item],
        "usage": {
            "input_tokens": input_tokens,
            "input_tokens_details": {
                "cached_tokens": USAGE.cache_read_tokens,
                "cache_write_tokens": USAGE.cache_write_tokens,
            },
            "output_tokens": USAGE.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input_tokens + USAGE.output_tokens,
        },
    });
    match body["stream"].as_bool() {
        Some(true) => event_stream(&events(response)),
        _ => Json(response).into_response(),
    }
}

/// A whole response, taken apart into the events of a stream.
fn events(response: Value) -> [Value; 4] {
    let item = response["output"][0].clone();
    let mut created = response.clone();
    created["status"] = json!("in_progress");
    created["output"] = json!([]);
    created["usage"] = Value::Null;
    [
        json!({"type": "response.created", "response": created}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
        json!({"type": "response.completed", "response": response}),
    ]
}
