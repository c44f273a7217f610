//! Answers in the form of the Gemini API (`generateContent`, `streamGenerateContent?alt=sse`).

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::script::{Behaviour, USAGE};

/// The answer to `POST /v1beta/models/<model>:<method>`.
pub(crate) fn answer(target: &str, body: &Value, number: u64, behaviour: &Behaviour) -> Response {
    let (model, method) = target.split_once(':').unwrap_or((target, ""));
    let streams = method == "streamGenerateContent";
    let plain = format!("stub answer {number}");
    let say = |text: &str| reply(streams, model, number, json!({"text": text}), "STOP");
    match behaviour {
        Behaviour::Answer { text } => say(text.as_deref().unwrap_or(&plain)),
        Behaviour::Shell { command } if !has_tool_result(body) => {
            let arguments = json!({"command": command, "description": "Runs what the test asks for"});
            let call = json!({"functionCall": {"name": "run_shell_command", "args": arguments}});
            reply(streams, model, number, call, "STOP")
        }
        Behaviour::Refusal => reply(streams, model, number, json!({"text": ""}), "SAFETY"),
        Behaviour::Shell { .. } | Behaviour::Slow { .. } | Behaviour::Hang => say(&plain),
        Behaviour::RateLimited429 => {
            error(StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED", "Resource has been exhausted (stub).", json!([]))
        }
        Behaviour::Overloaded529 => {
            let told = "The model is overloaded. Please try again later.";
            error(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", told, json!([]))
        }
        Behaviour::UsageLimit { .. } => error(
            StatusCode::TOO_MANY_REQUESTS,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota, please check your plan and billing details.",
            json!([{
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}],
            }]),
        ),
        Behaviour::AuthError401 => {
            let told = "API key not valid. Please pass a valid API key.";
            let reason = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]);
            error(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", told, reason)
        }
        Behaviour::ModelNotFound404 => {
            let told = format!("models/{model} is not found for API version v1beta.");
            error(StatusCode::NOT_FOUND, "NOT_FOUND", &told, json!([]))
        }
        Behaviour::ServerError500 => {
            let told = "An internal error has occurred (stub).";
            error(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", told, json!([]))
        }
    }
}

fn error(status: StatusCode, kind: &str, message: &str, details: Value) -> Response {
    let error = json!({"code": status.as_u16(), "message": message, "status": kind, "details": details});
    (status, Json(json!({"error": error}))).into_response()
}

/// Whether the last content brings the result of a function.
fn has_tool_result(body: &Value) -> bool {
    let last = body["contents"].as_array().and_then(|contents| contents.last());
    let parts = last.and_then(|content| content["parts"].as_array());
    parts.is_some_and(|parts| parts.iter().any(|part| part.get("functionResponse").is_some()))
}

fn reply(streams: bool, model: &str, number: u64, part: Value, finish_reason: &str) -> Response {
    let prompt_tokens = USAGE.input_tokens + USAGE.cache_read_tokens + USAGE.cache_write_tokens;
    let content = json!({"role": "model", "parts": [part]});
    let whole = json!({
        "candidates": [{"index": 0, "content": content, "finishReason": finish_reason}],
        "usageMetadata": {
            "promptTokenCount": prompt_tokens,
            "cachedContentTokenCount": USAGE.cache_read_tokens,
            "candidatesTokenCount": USAGE.output_tokens,
            "totalTokenCount": prompt_tokens + USAGE.output_tokens,
        },
        "modelVersion": model,
        "responseId": format!("resp_stub_{number}"),
    });
    match streams {
        true => ([(header::CONTENT_TYPE, "text/event-stream")], format!("data: {whole}\r\n\r\n")).into_response(),
        false => Json(whole).into_response(),
    }
}
