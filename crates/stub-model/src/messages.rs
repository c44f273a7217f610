//! Answers in the form of the Anthropic Messages API, streamed or whole.

use axum::Json;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::script::{Behaviour, USAGE};
use crate::server::event_stream;

/// The answer to a `POST /v1/messages`.
pub(crate) fn answer(body: &Value, number: u64, behaviour: &Behaviour) -> Response {
    let model = body["model"].as_str().unwrap_or("stub");
    let plain = format!("stub answer {number}");
    match behaviour {
        Behaviour::Answer { text } => reply(body, number, text_block(text.as_deref().unwrap_or(&plain)), "end_turn"),
        Behaviour::Shell { command } if !has_tool_result(body) => {
            let input = json!({"command": command, "description": "Runs what the test asks for"});
            let block =
                json!({"type": "tool_use", "id": format!("toolu_stub_{number}"), "name": "Bash", "input": input});
            reply(body, number, block, "tool_use")
        }
        Behaviour::Refusal => reply(body, number, text_block(""), "refusal"),
        Behaviour::Shell { .. } | Behaviour::Slow { .. } | Behaviour::Hang => {
            reply(body, number, text_block(&plain), "end_turn")
        }
        Behaviour::RateLimited429 => error(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limit_error",
            "This request would exceed your rate limit (stub).",
        ),
        Behaviour::Overloaded529 => error(overloaded(), "overloaded_error", "Overloaded"),
        Behaviour::UsageLimit { resets_at } => (
            unified_limit(*resets_at),
            error(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_error",
                "This request would exceed your account's rate limit.",
            ),
        )
            .into_response(),
        Behaviour::AuthError401 => error(StatusCode::UNAUTHORIZED, "authentication_error", "invalid x-api-key"),
        Behaviour::ModelNotFound404 => error(StatusCode::NOT_FOUND, "not_found_error", &format!("model: {model}")),
        Behaviour::ServerError500 => {
            error(StatusCode::INTERNAL_SERVER_ERROR, "api_error", "Internal server error (stub)")
        }
    }
}

fn overloaded() -> StatusCode {
    StatusCode::from_u16(529).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
}

/// What a subscription's limit adds to the answer: a CLI that is logged in reads its reset time here.
fn unified_limit(resets_at: i64) -> [(HeaderName, String); 4] {
    let name = HeaderName::from_static;
    [
        (name("anthropic-ratelimit-unified-status"), "rejected".into()),
        (name("anthropic-ratelimit-unified-reset"), resets_at.to_string()),
        (name("anthropic-ratelimit-unified-representative-claim"), "five_hour".into()),
        (name("anthropic-ratelimit-unified-5h-reset"), resets_at.to_string()),
    ]
}

fn error(status: StatusCode, kind: &str, message: &str) -> Response {
    let body = json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_stub"});
    (status, Json(body)).into_response()
}

fn text_block(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// Whether the last message brings the result of a tool.
fn has_tool_result(body: &Value) -> bool {
    let last = body["messages"].as_array().and_then(|messages| messages.last());
    let blocks = last.and_then(|message| message["content"].as_array());
    blocks.is_some_and(|blocks| blocks.iter().any(|block| block["type"] == "tool_result"))
}

fn reply(body: &Value, number: u64, block: Value, stop_reason: &str) -> Response {
    let usage = json!({
        "input_tokens": USAGE.input_tokens,
        "output_tokens": USAGE.output_tokens,
        "cache_read_input_tokens": USAGE.cache_read_tokens,
        "cache_creation_input_tokens": USAGE.cache_write_tokens,
    });
    let message = json!({
        "id": format!("msg_stub_{number}"),
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [block],
        "stop_reason": stop_reason,
        "stop_sequence": null,
        "usage": usage,
    });
    match body["stream"].as_bool() {
        Some(true) => event_stream(&events(message)),
        _ => Json(message).into_response(),
    }
}

/// A whole message, taken apart into the events of a stream.
fn events(mut message: Value) -> [Value; 6] {
    let block = message["content"][0].take();
    let stop_reason = message["stop_reason"].take();
    let usage = message["usage"].clone();
    message["content"] = json!([]);
    message["usage"]["output_tokens"] = json!(1);
    let (start, delta) = match block["type"].as_str() {
        Some("tool_use") => {
            let mut start = block.clone();
            start["input"] = json!({});
            (start, json!({"type": "input_json_delta", "partial_json": block["input"].to_string()}))
        }
        _ => (text_block(""), json!({"type": "text_delta", "text": block["text"]})),
    };
    [
        json!({"type": "message_start", "message": message}),
        json!({"type": "content_block_start", "index": 0, "content_block": start}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": stop_reason, "stop_sequence": null}, "usage": usage}),
        json!({"type": "message_stop"}),
    ]
}
