//! Tokens of a company: given once, good until they are revoked, and each may do what its role says, on every route.

use reqwest::Method;
use serde_json::{Value, json};

use crate::refusals::World;
use crate::shape::{assert_field, assert_problem};
use crate::support::{Client, Server, answer, id};

const TOKENS: &str = "/companies/default/tokens";

async fn given(server: &Server, body: Value) -> (Value, Client) {
    let (status, made) = server.post(TOKENS, &body).await;
    assert_eq!(status, 201, "{made}");
    let client = server.with_token(made["token"].as_str().unwrap());
    (made, client)
}

#[tokio::test]
async fn a_token_is_told_once_and_good_until_it_is_revoked() {
    let server = Server::start().await;
    let (made, admin) = given(&server, json!({ "name": "ops", "role": "admin" })).await;
    assert!(made["token"].as_str().unwrap().starts_with("wkf_company_") && id(&made).starts_with("tok_"), "{made}");
    assert_eq!((&made["role"], &made["agent"]), (&json!("admin"), &Value::Null));
    assert_eq!(admin.show("/me").await["name"], "ops");
    let listed = admin.show(TOKENS).await;
    let mut shown = made.clone();
    shown.as_object_mut().unwrap().remove("token");
    assert_eq!(listed["items"], json!([shown]), "its value is not told again");
    let (_, operator) = given(&server, json!({ "name": "worker", "role": "operator" })).await;
    assert_eq!(operator.post("/companies/default/tasks", &json!({ "title": "Paint" })).await.0, 201);
    for less in [&operator, &given(&server, json!({ "name": "reader", "role": "viewer" })).await.1] {
        assert_problem(&less.get(TOKENS).await, 403);
        assert_problem(&less.post(TOKENS, &json!({ "name": "x", "role": "viewer" })).await, 403);
        assert_problem(&less.delete(&format!("{TOKENS}/{}", id(&made))).await, 403);
    }
    let by_admin = admin.post(TOKENS, &json!({ "name": "third", "role": "viewer" })).await.1;
    assert_eq!(admin.delete(&format!("{TOKENS}/{}", id(&by_admin))).await.0, 204);
    assert_problem(&server.with_token(by_admin["token"].as_str().unwrap()).get("/me").await, 401);
    assert_eq!(admin.delete(&format!("{TOKENS}/{}", id(&made))).await.0, 204, "its own, too");
    assert_problem(&admin.get("/me").await, 401);
    assert_problem(&server.delete(&format!("{TOKENS}/{}", id(&made))).await, 404);
    server.post("/companies", &json!({ "slug": "other", "name": "Other" })).await;
    let (_, stays) = given(&server, json!({ "name": "ops", "role": "viewer" })).await;
    let kept = id(&server.show(TOKENS).await["items"][0]);
    assert_problem(&server.delete(&format!("/companies/other/tokens/{kept}")).await, 404);
    assert_problem(&stays.get("/companies/other").await, 404);
}

#[tokio::test]
async fn the_same_request_under_the_same_key_is_told_the_same_token() {
    let server = Server::start().await;
    let ask = async |key: &str, body: Value| {
        answer(server.request(Method::POST, TOKENS).header("idempotency-key", key).json(&body)).await
    };
    let body = json!({ "name": "ci", "role": "operator" });
    let (first, second) = (ask("once", body.clone()).await, ask("once", body.clone()).await);
    assert_eq!((first.0, &first), (201, &second));
    assert_eq!(server.with_token(first.1["token"].as_str().unwrap()).show("/me").await["name"], "ci");
    assert_field(&ask("once", json!({ "name": "ci", "role": "admin" })).await, "Idempotency-Key");
    let taken = ask("again", body).await;
    assert_problem(&taken, 409);
    assert_eq!(taken.1["code"], "token_exists");
    for (body, field) in [
        (json!({ "name": "admin", "role": "viewer" }), "name"),
        (json!({ "name": "", "role": "viewer" }), "name"),
        (json!({ "name": "a\nb", "role": "viewer" }), "name"),
        (json!({ "name": "x" }), "role"),
        (json!({ "name": "x", "role": "king" }), "role"),
        (json!({ "name": "x", "agent": "nobody" }), "agent"),
        (json!({ "name": "x", "agent": "agt_00000000000000000000000000" }), "agent"),
    ] {
        assert_field(&server.post(TOKENS, &body).await, field);
    }
    let text = std::fs::read(server.path().join("wakeful.db")).unwrap();
    let value = first.1["token"].as_str().unwrap().as_bytes();
    assert!(!text.windows(value.len()).any(|part| part == value), "only its hash is kept");
}

#[tokio::test]
async fn the_key_of_an_agent_speaks_for_it_and_goes_with_it() {
    let server = Server::start().await;
    let ann = server.process_agent("ann", "true").await;
    let (made, key) = given(&server, json!({ "name": "ann outside", "agent": "ann" })).await;
    assert_eq!((&made["agent"], &made["role"]), (&json!(ann), &Value::Null));
    let me = key.show("/me").await;
    assert_eq!((&me["kind"], &me["agent"]), (&json!("agent"), &json!(ann)));
    assert_problem(&key.get(TOKENS).await, 403);
    assert_eq!(server.delete(&format!("/agents/{ann}")).await.0, 204);
    assert_problem(&key.get("/me").await, 401);
}

#[tokio::test]
async fn the_command_line_gives_lists_and_revokes_tokens() {
    let server = Server::start().await;
    let added = server.cli(&["token", "add", "ci", "--role", "viewer", "--quiet"]).await;
    let token = added.stdout.trim();
    assert!(token.starts_with("wkf_company_") && added.stderr.is_empty() && added.stdout.lines().count() == 1);
    let reader = server.with_token(token);
    assert_eq!(reader.show("/me").await["role"], "viewer");
    let listed = server.cli(&["token", "ls"]).await.stdout;
    assert!(listed.contains("ci") && listed.contains("viewer") && !listed.contains(token), "{listed}");
    assert_eq!(server.cli(&["token", "rm", "ci"]).await.code, 0);
    assert_eq!(reader.get("/me").await.0, 401);
    assert_eq!(server.cli(&["token", "rm", "ci"]).await.code, 3);
    assert_eq!(server.cli(&["token", "add", "x"]).await.code, 2);
}

/// What a viewer is not shown: what others could pose with, what is configured, and what is the whole instance's.
const HIDDEN: &[&str] = &[
    "/secrets",
    "/webhooks",
    "/receipts",
    "/signing-secret",
    "/tokens",
    "/channels",
    "/declarations",
    "/invariants",
    "/restore",
    "/server",
];
/// What the document does not say of a body.
const KNOWN: &[(&str, &str, &str)] = &[
    ("POST", "/companies/{company}/budgets", r#"{"metric": "runs", "limit": 1, "window": "run"}"#),
    ("POST", "/companies/{company}/channels", r#"{"name": "x", "target": {"webhook": {"url": "http://127.0.0.1:9"}}}"#),
    (
        "POST",
        "/companies/{company}/schedules",
        r#"{"name": "x", "trigger": {"every": "1h"}, "target": {"task": {"title": "x"}}}"#,
    ),
    ("POST", "/runs/{id}/finish", r#"{"fence": 1, "outcome": "succeeded"}"#),
];

/// A value that a schema allows.
fn sample(document: &Value, schema: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return sample(document, document.pointer(&reference[1..]).unwrap());
    }
    if let Some(one) = ["oneOf", "anyOf", "allOf"].iter().find_map(|of| schema[of].as_array()).and_then(|of| of.first())
    {
        return sample(document, one);
    }
    if let Some(value) = schema["enum"].as_array().and_then(|values| values.first()) {
        return value.clone();
    }
    let kind = schema["type"].as_str().or(schema["type"][0].as_str()).unwrap_or("object");
    match kind {
        "string" => json!("x"),
        "integer" | "number" => json!(1),
        "boolean" => json!(true),
        "array" => json!([sample(document, &schema["items"])]),
        _ => {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let names = required.iter().filter_map(Value::as_str);
            Value::Object(names.map(|name| (name.into(), sample(document, &schema["properties"][name]))).collect())
        }
    }
}

#[tokio::test]
async fn a_viewer_reads_everything_and_writes_nothing_on_every_route() {
    let world = World::new().await;
    let listed = world.server.show(TOKENS).await;
    assert_eq!(world.server.delete(&format!("{TOKENS}/{}", id(&listed["items"][0]))).await.0, 204);
    let viewer = given(&world.server, json!({ "name": "reader", "role": "viewer" })).await.1;
    let document = world.server.show("/openapi.json").await;
    let mut wrong = Vec::new();
    // A link signs a viewer in as the viewer that it is.
    let routes = document["paths"].as_object().unwrap().iter().filter(|(path, _)| *path != "/api/v1/session/links");
    for (path, methods) in routes {
        let concrete = world.concrete(path).await;
        for (method, operation) in methods.as_object().unwrap() {
            let name: Method = method.to_uppercase().parse().unwrap();
            let concrete = match name == Method::DELETE && path.ends_with("/declarations") {
                true => format!("{concrete}?kind=agent&name=x"),
                false => concrete.clone(),
            };
            let known = KNOWN.iter().find(|(of, end, _)| *of == name.as_str() && path.ends_with(end));
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            let mut request = viewer.request(name.clone(), &concrete);
            if let Some((_, _, body)) = known {
                request = request.json(&serde_json::from_str::<Value>(body).unwrap());
            } else if !body.is_null() {
                request = request.json(&sample(&document, body));
            }
            let (status, told) = answer(request).await;
            let is_hidden = HIDDEN.iter().any(|hidden| path.contains(hidden));
            let is_right = match name == Method::GET && !is_hidden {
                true => ![401, 403].contains(&status) && status < 500,
                false => status == 403,
            };
            if !is_right {
                wrong.push(format!("{name} {path}: {status} {told}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
