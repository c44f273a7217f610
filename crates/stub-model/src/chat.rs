//! Answers in the form of the OpenAI Chat Completions API, streamed or whole.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::script::{Behaviour, USAGE};

/// The answer to a `POST /v1/chat/completions`.
pub(crate) fn answer(body: &Value, number: u64, behaviour: &Behaviour) -> Response {
    let model = body["model"].as_str().unwrap_or("stub");
    let plain = format!("stub answer {number}");
    match behaviour {
        Behaviour::Answer { text } => reply(body, number, text_of(text.as_deref().unwrap_or(&plain)), "stop"),
        Behaviour::Shell { command } if !has_tool_result(body) => {
            let arguments = json!({"command": command, "description": "Runs what the test asks for"}).to_string();
            let function = json!({"name": "bash", "arguments": arguments});
            let call =
                json!({"index": 0, "id": format!("call_stub_{number}"), "type": "function", "function": function});
            reply(body, number, json!({"role": "assistant", "content": null, "tool_calls": [call]}), "tool_calls")
        }
        Behaviour::Refusal => reply(body, number, text_of(""), "content_filter"),
        Behaviour::Shell { .. } | Behaviour::Slow { .. } | Behaviour::Hang => {
            reply(body, number, text_of(&plain), "stop")
        }
        Behaviour::RateLimited429 => {
            error(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", "Rate limit reached for requests (stub).")
        }
        Behaviour::Overloaded529 => {
            error(StatusCode::SERVICE_UNAVAILABLE, "server_is_overloaded", "The server is overloaded (stub).")
        }
        Behaviour::UsageLimit { .. } => error(
            StatusCode::TOO_MANY_REQUESTS,
            "insufficient_quota",
            "You exceeded your current quota, please check your plan and billing details.",
        ),
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

/// A call without tools is not the agent's work: a CLI asks for the title of its session.
pub(crate) fn is_aside(body: &Value) -> bool {
    body["tools"].as_array().is_none_or(Vec::is_empty)
}

/// The answer to such a call.
pub(crate) fn aside(body: &Value) -> Response {
    reply(body, 0, text_of("stub title"), "stop")
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let kind = if status.is_server_error() { "server_error" } else { "invalid_request_error" };
    (status, Json(json!({"error": {"message": message, "type": kind, "param": null, "code": code}}))).into_response()
}

fn text_of(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

/// Whether the last message brings the result of a tool.
fn has_tool_result(body: &Value) -> bool {
    body["messages"].as_array().and_then(|messages| messages.last()).is_some_and(|last| last["role"] == "tool")
}

fn reply(body: &Value, number: u64, message: Value, finish_reason: &str) -> Response {
    let input_tokens = USAGE.input_tokens + USAGE.cache_read_tokens + USAGE.cache_write_tokens;
    let usage = json!({
        "prompt_tokens": input_tokens,
        "completion_tokens": USAGE.output_tokens,
        "total_tokens": input_tokens + USAGE.output_tokens,
        "prompt_tokens_details": {"cached_tokens": USAGE.cache_read_tokens},
    });
    let with = |object: &str, choices: Value, usage: Value| {
        json!({
            "id": format!("chatcmpl_stub_{number}"),
            "object": object,
            "created": 0,
            "model": body["model"],
            "choices": choices,
            "usage": usage,
        })
    };
    if body["stream"] != true {
        let choice = json!({"index": 0, "message": message, "finish_reason": finish_reason});
        return Json(with("chat.completion", json!([choice]), usage)).into_response();
    }
    let chunk = |choices: Value, usage: Value| with("chat.completion.chunk", choices, usage);
    let chunks = [
        chunk(json!([{"index": 0, "delta": message, "finish_reason": null}]), Value::Null),
        chunk(json!([{"index": 0, "delta": {}, "finish_reason": finish_reason}]), Value::Null),
        chunk(json!([]), usage),
    ];
    let text: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    ([(header::CONTENT_TYPE, "text/event-stream")], format!("{text}data: [DONE]\n\n")).into_response()
}
