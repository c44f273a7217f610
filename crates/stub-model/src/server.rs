//! The routes. Everything that is asked is recorded first and answered afterwards; what is not
//! known is answered with 404, which is harmless to the probes that CLIs send.

use std::future;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, http::header};
use serde_json::{Value, json};

use crate::script::{Behaviour, Recorded, Script};
use crate::{chat, gemini, messages, responses};

/// Agent CLIs send their whole conversation with every call: some hundred KiB, rarely some MiB.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Headers worth keeping: who asks, in which session, how often already.
const HEADERS: &[&str] = &[
    "authorization",
    "x-api-key",
    "x-goog-api-key",
    "user-agent",
    "anthropic-beta",
    "anthropic-version",
    "x-claude-code-session-id",
    "x-stainless-retry-count",
    "session_id",
    "session-id",
    "thread-id",
    "conversation_id",
    "originator",
];

pub(crate) fn router(script: Script) -> Router {
    Router::new()
        .route("/v1/messages", post(ask_messages))
        .route("/v1/messages/count_tokens", post(count_tokens))
        .route("/v1/responses", post(ask_responses))
        .route("/v1/chat/completions", post(ask_chat))
        .route("/v1beta/models/{target}", post(ask_gemini))
        .route("/stub/requests", get(requests))
        .route("/stub/behaviour", post(set_behaviour))
        .fallback(probe)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(script)
}

async fn ask_messages(
    State(script): State<Script>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = recorded(&method, &uri, &headers, &body);
    let body = request.body.clone();
    let (number, behaviour) = script.take(request);
    wait(&behaviour).await;
    messages::answer(&body, number, &behaviour)
}

async fn ask_responses(
    State(script): State<Script>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = recorded(&method, &uri, &headers, &body);
    let body = request.body.clone();
    let (number, behaviour) = script.take(request);
    wait(&behaviour).await;
    responses::answer(&body, number, &behaviour)
}

async fn ask_chat(State(script): State<Script>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let request = recorded(&method, &uri, &headers, &body);
    let body = request.body.clone();
    if chat::is_aside(&body) {
        script.record(request);
        return chat::aside(&body);
    }
    let (number, behaviour) = script.take(request);
    wait(&behaviour).await;
    chat::answer(&body, number, &behaviour)
}

async fn ask_gemini(
    State(script): State<Script>,
    Path(target): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = recorded(&method, &uri, &headers, &body);
    if target.ends_with(":countTokens") {
        script.record(request);
        return Json(json!({"totalTokens": crate::USAGE.input_tokens})).into_response();
    }
    let body = request.body.clone();
    let (number, behaviour) = script.take(request);
    wait(&behaviour).await;
    gemini::answer(&target, &body, number, &behaviour)
}

async fn wait(behaviour: &Behaviour) {
    match behaviour {
        Behaviour::Hang => future::pending().await,
        Behaviour::Slow { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
        _ => {}
    }
}

async fn count_tokens(
    State(script): State<Script>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Json<Value> {
    script.record(recorded(&method, &uri, &headers, &body));
    Json(json!({"input_tokens": crate::USAGE.input_tokens}))
}

/// Everything else: `GET /` and `HEAD /` find a server, other paths find nothing.
async fn probe(State(script): State<Script>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    script.record(recorded(&method, &uri, &headers, &body));
    match uri.path() {
        "/" => StatusCode::OK.into_response(),
        path => {
            let message = format!("the stub has nothing at {path}");
            (
                StatusCode::NOT_FOUND,
                Json(json!({"type": "error", "error": {"type": "not_found_error", "message": message}})),
            )
                .into_response()
        }
    }
}

async fn requests(State(script): State<Script>) -> Json<Vec<Recorded>> {
    Json(script.requests())
}

/// Takes one behaviour, or a list: the last holds, those before it are used once each.
async fn set_behaviour(State(script): State<Script>, Json(body): Json<Value>) -> Response {
    let list = match body {
        Value::Array(list) => list,
        one => vec![one],
    };
    let behaviours: Result<Vec<Behaviour>, _> = list.into_iter().map(serde_json::from_value).collect();
    match behaviours {
        Ok(mut behaviours) => {
            let Some(last) = behaviours.pop() else {
                return (StatusCode::BAD_REQUEST, "an empty list says nothing\n").into_response();
            };
            script.set(last);
            behaviours.into_iter().for_each(|behaviour| script.queue(behaviour));
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

fn recorded(method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Recorded {
    let headers = HEADERS.iter().filter_map(|name| {
        let value = headers.get(*name)?.to_str().ok()?;
        Some(((*name).to_owned(), value.to_owned()))
    });
    let body = match body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(body).unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned().into()),
    };
    Recorded {
        method: method.to_string(),
        path: uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string),
        headers: headers.collect(),
        body,
        model_call: None,
    }
}

/// An answer as server-sent events, each named as its `type`.
pub(crate) fn event_stream(events: &[Value]) -> Response {
    let text: String = events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("message")))
        .collect();
    ([(header::CONTENT_TYPE, "text/event-stream")], text).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(script: &Script, path: &str, body: Value) -> (u16, String) {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .header("x-api-key", "sk-stub")
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = router(script.clone()).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn answers_are_numbered_and_recorded() {
        let script = Script::default();
        let (status, whole) =
            ask(&script, "/v1/messages?beta=true", json!({"model": "m", "messages": ["hello"]})).await;
        assert_eq!(status, 200);
        assert!(whole.contains("stub answer 1"), "{whole}");
        let (_, streamed) = ask(&script, "/v1/responses", json!({"model": "m", "stream": true})).await;
        assert!(streamed.contains("event: response.completed"), "{streamed}");
        assert!(streamed.contains("stub answer 2"), "{streamed}");
        let (_, counted) = ask(&script, "/v1/messages/count_tokens", json!({})).await;
        assert_eq!(counted, r#"{"input_tokens":1000}"#);
        assert_eq!(ask(&script, "/elsewhere", json!({})).await.0, 404);

        assert_eq!(script.model_calls(), 2);
        assert_eq!(script.requests().len(), 4);
        let first = &script.model_requests()[0];
        assert_eq!((first.header("x-api-key"), first.body_contains("hello")), (Some("sk-stub"), true));
    }

    #[tokio::test]
    async fn a_shell_command_is_asked_for_once() {
        let script = Script::default();
        script.set(Behaviour::Shell { command: "date".into() });
        let (_, first) = ask(&script, "/v1/messages", json!({"messages": []})).await;
        assert!(first.contains("tool_use") && first.contains("date"), "{first}");
        let result = json!({"messages": [{"content": [{"type": "tool_result"}]}]});
        assert!(ask(&script, "/v1/messages", result).await.1.contains("stub answer 2"));
        let result = json!({"input": [{"type": "function_call_output"}]});
        assert!(ask(&script, "/v1/responses", result).await.1.contains("stub answer 3"));
        let result = json!({"tools": [{}], "messages": [{"role": "tool"}]});
        assert!(ask(&script, "/v1/chat/completions", result).await.1.contains("stub answer 4"));
        let result = json!({"contents": [{"parts": [{"functionResponse": {}}]}]});
        assert!(ask(&script, "/v1beta/models/m:generateContent", result).await.1.contains("stub answer 5"));
    }

    #[tokio::test]
    async fn what_is_not_the_agents_work_is_not_counted() {
        let script = Script::default();
        let (_, title) = ask(&script, "/v1/chat/completions", json!({"messages": []})).await;
        assert!(title.contains("stub title"), "{title}");
        let (_, counted) = ask(&script, "/v1beta/models/m:countTokens", json!({})).await;
        assert_eq!(counted, r#"{"totalTokens":1000}"#);
        assert_eq!((script.model_calls(), script.requests().len()), (0, 2));
    }

    #[tokio::test]
    async fn behaviours_give_their_status() {
        const CHAT: &str = "/v1/chat/completions";
        const GEMINI: &str = "/v1beta/models/m:streamGenerateContent?alt=sse";
        let check = async |kind: Value, messages: u16, others: u16| {
            let script = Script::default();
            assert_eq!(ask(&script, "/stub/behaviour", kind.clone()).await.0, 204, "{kind}");
            assert_eq!(ask(&script, "/v1/messages", json!({})).await.0, messages, "{kind}");
            for path in ["/v1/responses", CHAT, GEMINI] {
                // Each of them is asked first, so that a queued behaviour is for it.
                ask(&script, "/stub/behaviour", kind.clone()).await;
                if kind.is_array() {
                    ask(&script, path, json!({"tools": [{}]})).await;
                }
                assert_eq!(ask(&script, path, json!({"tools": [{}]})).await.0, others, "{kind} {path}");
            }
        };
        check(json!({"kind": "answer", "text": "yes"}), 200, 200).await;
        check(json!({"kind": "refusal"}), 200, 200).await;
        check(json!({"kind": "slow", "ms": 1}), 200, 200).await;
        check(json!({"kind": "rate_limited429"}), 429, 429).await;
        check(json!({"kind": "usage_limit", "resets_at": 1_795_263_500}), 429, 429).await;
        check(json!({"kind": "overloaded529"}), 529, 503).await;
        check(json!({"kind": "auth_error401"}), 401, 401).await;
        check(json!({"kind": "model_not_found404"}), 404, 404).await;
        check(json!({"kind": "server_error500"}), 500, 500).await;
        check(json!([{"kind": "server_error500"}, {"kind": "answer", "text": null}]), 500, 200).await;

        let script = Script::default();
        assert_eq!(ask(&script, "/stub/behaviour", json!({"kind": "explode"})).await.0, 400);
        assert_eq!(ask(&script, "/stub/behaviour", json!([])).await.0, 400);
    }
}
