//! Bad input is refused with a problem that names the field, and leaves no trace.

use reqwest::Method;
use serde_json::{Value, json};

use crate::shape::{assert_field, assert_problem};
use crate::support::{Client, Server, answer, id};

/// A server with one of each thing that a path can name, and what a refusal must leave as it is.
pub struct World {
    pub server: Server,
    agent: String,
    before: Value,
}

const LISTS: &[&str] = &[
    "/companies",
    "/companies/default/agents",
    "/companies/default/tasks",
    "/companies/default/wakeups",
    "/companies/default/runs",
    "/companies/default/escalations",
    "/companies/default/projects",
    "/companies/default/goals",
    "/companies/default/budgets",
    "/companies/default/schedules",
    "/companies/default/channels",
    "/companies/default/notifications",
    "/companies/default/deliveries",
    "/companies/default/messages",
    "/companies/default/subscriptions",
    "/companies/default/webhooks",
    "/companies/default/tokens",
    "/companies/default/events",
];

impl World {
    pub async fn new() -> World {
        let server = Server::start().await;
        let agent = server.process_agent("ann", "true").await;
        server.run_of(&agent, json!({})).await;
        server.post("/companies/default/tasks", &json!({ "title": "Paint" })).await;
        server.post("/companies/default/escalations", &json!({ "title": "Look" })).await;
        server.post("/companies/default/projects", &json!({ "name": "app" })).await;
        server.post("/companies/default/goals", &json!({ "title": "Grow" })).await;
        let budget = json!({ "window": "lifetime", "metric": "runs", "limit": 1_000 });
        server.post("/companies/default/budgets", &budget).await;
        server.post("/companies/default/messages", &json!({ "to": "user", "body": "look" })).await;
        let target = json!({ "wake": { "agent": agent } });
        let schedule = json!({ "name": "often", "trigger": { "every": "300d" }, "target": target });
        let (_, schedule) = server.post("/companies/default/schedules", &schedule).await;
        // What it says of its next slot changes with time.
        server.post(&format!("/schedules/{}/pause", id(&schedule)), &json!({})).await;
        // Nothing is let in there, so that its delivery is over at once.
        let channel = json!({ "name": "ops", "target": { "webhook": { "url": "http://127.0.0.1:9" } } });
        let (_, channel) = server.post("/companies/default/channels", &channel).await;
        let (_, test) = server.post(&format!("/channels/{}/test", id(&channel)), &json!({})).await;
        server.until(&format!("/deliveries/{}", id(&test)), |test| test["finished_at"].is_string()).await;
        let waits = json!({ "agent": agent, "source": { "topic": "quiet" } });
        server.post("/companies/default/subscriptions", &waits).await;
        let (_, hook) = server.post("/companies/default/webhooks", &json!({ "name": "ci", "scheme": "bearer" })).await;
        let told = reqwest::Client::new().post(format!("{}/hooks/{}", server.address(), id(&hook)));
        told.bearer_auth(hook["secret"].as_str().unwrap()).body("{}").send().await.unwrap();
        server.post("/companies/default/tokens", &json!({ "name": "reader", "role": "viewer" })).await;
        let before = everything(&server).await;
        World { server, agent, before }
    }

    /// Every operation with a body, with the ids of things that are there.
    async fn operations(&self) -> Vec<(Method, String)> {
        let document = self.server.show("/openapi.json").await;
        let mut found = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            let concrete = self.concrete(path).await;
            for (method, operation) in methods.as_object().unwrap() {
                if operation["requestBody"].is_object() {
                    found.push((method.to_uppercase().parse().unwrap(), concrete.clone()));
                }
            }
        }
        assert!(found.len() > 15, "{found:?}");
        found
    }

    /// A path of the document with things that are there.
    pub async fn concrete(&self, path: &str) -> String {
        let mut concrete = path.replace("{company}", "default").replace("{name}/publish", "news/publish");
        if path.contains("/receipts/{id}") {
            let page = self.server.show("/companies/default/webhooks").await;
            let page = self.server.show(&format!("/webhooks/{}/receipts", id(&page["items"][0]))).await;
            return concrete.replace("{id}", &id(&page["items"][0]));
        }
        // What stands before an id is the name of the list that it is in.
        if let Some(list) =
            path.split("/{id}").next().filter(|_| path.contains("{id}")).and_then(|p| p.rsplit('/').next())
        {
            let page = self.server.show(&format!("/companies/default/{list}")).await;
            concrete = concrete.replace("{id}", &id(&page["items"][0]));
        }
        concrete
    }

    /// Fails if anything was written since the beginning.
    pub async fn assert_untouched(&self) {
        assert_eq!(everything(&self.server).await, self.before);
        self.server.assert_sound().await;
    }
}

async fn everything(client: &Client) -> Value {
    let mut found = Vec::new();
    for list in LISTS {
        found.push(json!(client.all(list).await));
    }
    json!(found)
}

async fn send(
    client: &Client,
    method: &Method,
    path: &str,
    kind: &str,
    body: impl Into<reqwest::Body>,
) -> (u16, Value) {
    answer(client.request(method.clone(), path).header("content-type", kind).body(body)).await
}

#[tokio::test]
async fn what_is_no_json_is_400_on_every_route() {
    let world = World::new().await;
    let deep = format!(r#"{{"payload":{{"x":{}{}}}}}"#, "[".repeat(128), "]".repeat(128));
    for (method, path) in world.operations().await {
        for body in ["{", "", " ", "{\"a\": 1}}", "{\"a\": \u{1}}", "nope", deep.as_str()] {
            let answered = send(&world.server, &method, &path, "application/json", body.to_owned()).await;
            let is_default = body.is_empty();
            match is_default {
                // Some bodies may be left out; then nothing may be wrong but a missing field.
                true => assert!([200, 202, 403, 409, 422].contains(&answered.0), "{method} {path}: {answered:?}"),
                false => assert_problem(&answered, 400),
            }
        }
    }
}

#[tokio::test]
async fn a_body_of_another_type_is_415_and_one_over_1_mib_413_on_every_route() {
    let world = World::new().await;
    let oversize = format!(r#"{{"x": "{}"}}"#, "x".repeat(1024 * 1024));
    for (method, path) in world.operations().await {
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml"] {
            assert_problem(&send(&world.server, &method, &path, kind, "{}").await, 415);
        }
        assert_problem(&send(&world.server, &method, &path, "application/json", oversize.clone()).await, 413);
    }
    world.assert_untouched().await;
}

#[tokio::test]
async fn an_unknown_field_is_422_on_every_route() {
    let world = World::new().await;
    for (method, path) in world.operations().await {
        // Any JSON is a checkpoint, and any object can be published.
        if !path.ends_with("/checkpoint") && !path.ends_with("/publish") {
            assert_field(&answer(world.server.request(method, &path).json(&json!({ "nope": 1 }))).await, "nope");
        }
    }
    world.assert_untouched().await;
}

#[tokio::test]
async fn a_wrong_or_missing_field_is_422_and_named() {
    let world = World::new().await;
    let wake = format!("/agents/{}/wake", world.agent);
    let agent = format!("/agents/{}", world.agent);
    let adapter = json!({ "type": "process", "command": "true" });
    let long = "x".repeat(70_000);
    let agents = "/companies/default/agents".to_owned();
    let tasks = "/companies/default/tasks".to_owned();
    let companies = "/companies".to_owned();
    let wakes = "/companies/default/wakes".to_owned();
    let cases: Vec<(&String, Value, &str)> = vec![
        (&companies, json!({ "name": "x" }), "slug"),
        (&companies, json!({ "slug": "x" }), "name"),
        (&companies, json!({ "slug": "Not A Slug", "name": "x" }), "slug"),
        (&companies, json!({ "slug": "x", "name": "" }), "name"),
        (&companies, json!({ "slug": "x", "name": 5 }), "name"),
        (&companies, json!({ "slug": "x", "name": "x", "max_concurrent_runs": 0 }), "max_concurrent_runs"),
        (&companies, json!({ "slug": "x", "name": "x", "time_zone": "Mars/Base" }), "time_zone"),
        (&agents, json!({ "adapter": adapter }), "name"),
        (&agents, json!({ "name": "x" }), "adapter"),
        (&agents, json!({ "name": "two words", "adapter": adapter }), "name"),
        (&agents, json!({ "name": "x", "adapter": { "type": "process" } }), "adapter.command"),
        (&agents, json!({ "name": "x", "adapter": { "type": "abacus" } }), "adapter.type"),
        (&agents, json!({ "name": "x", "adapter": { "command": "true" } }), "adapter.type"),
        (
            &agents,
            json!({ "name": "x", "adapter": { "type": "process", "command": "true", "nope": 1 } }),
            "adapter.nope",
        ),
        (&agents, json!({ "name": "x", "adapter": { "type": "process", "command": 5 } }), "adapter.command"),
        (&agents, json!({ "name": "x", "adapter": adapter, "max_concurrent_runs": 51 }), "max_concurrent_runs"),
        (&agents, json!({ "name": "x", "adapter": adapter, "retry": { "delays_s": [-1] } }), "retry.delays_s[0]"),
        (
            &agents,
            json!({ "name": "x", "adapter": adapter, "retry": { "delays_s": [], "jitter": 2.0 } }),
            "retry.jitter",
        ),
        (
            &agents,
            json!({ "name": "x", "adapter": adapter, "retry": { "delays_s": [], "jitter": 0, "nope": 1 } }),
            "retry.nope",
        ),
        (
            &agents,
            json!({ "name": "x", "adapter": adapter, "limits": { "max_duration_s": "long" } }),
            "limits.max_duration_s",
        ),
        (&agents, json!({ "name": "x", "adapter": adapter, "heartbeat": { "nope": 1 } }), "heartbeat.nope"),
        (&tasks, json!({}), "title"),
        (&tasks, json!({ "title": " " }), "title"),
        (&tasks, json!({ "title": "x", "status": "sleeping" }), "status"),
        (&tasks, json!({ "title": "x", "assignee": "ann" }), "assignee"),
        (&tasks, json!({ "title": "x", "assignee": "agt_00000000000000000000000000" }), "assignee"),
        (&wake, json!({ "source": "boredom" }), "source"),
        (&wake, json!({ "priority": 101 }), "priority"),
        (&wake, json!({ "priority": -1 }), "priority"),
        (&wake, json!({ "priority": "high" }), "priority"),
        (&wake, json!({ "priority": 1.5 }), "priority"),
        (&wake, json!({ "delay_ms": -1 }), "delay_ms"),
        (&wake, json!({ "due_at": "tomorrow" }), "due_at"),
        (&wake, json!({ "due_at": "2026-11-21T09:00:00.000Z", "delay_ms": 1 }), "delay_ms"),
        (&wake, json!({ "due_at": "9999-01-01T00:00:00Z" }), "due_at"),
        (&wake, json!({ "expires_at": "2001-01-01T00:00:00.000Z" }), "expires_at"),
        (&wake, json!({ "max_attempts": 0 }), "max_attempts"),
        (&wake, json!({ "payload": [1] }), "payload"),
        (&wake, json!({ "context": "x" }), "context"),
        (&wake, json!({ "task": "tsk_nope" }), "task"),
        (&wake, json!({ "idempotency_key": "" }), "idempotency_key"),
        (&wake, json!({ "reason": long }), "reason"),
        (&wake, json!([]), "body"),
        (&wakes, json!({}), "wakes"),
        (&wakes, json!({ "wakes": [] }), "wakes"),
        (&wakes, json!({ "wakes": "all" }), "wakes"),
    ];
    for (path, body, field) in cases {
        let answered = world.server.post(path, &body).await;
        assert_eq!(answered.1["errors"][0]["field"], field, "POST {path} {}: {}", brief(&body), answered.1);
        assert_field(&answered, field);
    }
    for (body, field) in [
        (json!({ "name": "" }), "name"),
        (json!({ "name": null, "max_concurrent_runs": 0 }), "max_concurrent_runs"),
        (json!({ "adapter": {} }), "adapter.type"),
        (json!({ "capabilities": "all" }), "capabilities"),
    ] {
        assert_field(&world.server.patch(&agent, &body).await, field);
    }
    world.assert_untouched().await;
}

fn brief(body: &Value) -> String {
    body.to_string().chars().take(200).collect()
}

#[tokio::test]
async fn a_wrong_parameter_is_422_and_named() {
    let world = World::new().await;
    for list in LISTS {
        for limit in ["0", "201", "-1", "many", "1.5", ""] {
            assert_field(&world.server.get(&format!("{list}?limit={limit}")).await, "limit");
        }
        assert_eq!(world.server.get(&format!("{list}?limit=200")).await.0, 200);
        assert_eq!(world.server.get(&format!("{list}?limit=1")).await.0, 200);
        assert_field(&world.server.get(&format!("{list}?nope=1")).await, "nope");
        let cursor = if list.ends_with("/events") { "after" } else { "cursor" };
        assert_field(&world.server.get(&format!("{list}?{cursor}=nope")).await, cursor);
    }
    let run = id(&world.server.show("/companies/default/runs").await["items"][0]);
    for (path, field) in [
        ("/companies/default/wakeups?status=asleep".to_owned(), "status"),
        ("/companies/default/wakeups?source=boredom".into(), "source"),
        ("/companies/default/wakeups?agent=ann".into(), "agent"),
        ("/companies/default/runs?status=asleep".into(), "status"),
        ("/companies/default/runs?task=x".into(), "task"),
        ("/companies/default/tasks?status=asleep".into(), "status"),
        (format!("/runs/{run}/log?offset=-1"), "offset"),
        (format!("/runs/{run}/log?limit=0"), "limit"),
        (format!("/runs/{run}/log/text?stream=stdin"), "stream"),
        (format!("/runs/{run}/log/text?tail=10001"), "tail"),
        (format!("/runs/{run}/events?after=x"), "after"),
    ] {
        let answered = world.server.get(&path).await;
        assert_eq!(answered.1["errors"][0]["field"], field, "{path}: {}", answered.1);
        assert_field(&answered, field);
    }
}

#[tokio::test]
async fn what_is_not_there_is_404_and_what_a_route_does_not_take_405() {
    let world = World::new().await;
    let nothing = "00000000000000000000000000";
    for path in [
        "/nope".to_owned(),
        "/api/v2/companies".into(),
        "/api".into(),
        "/companies/nope".into(),
        "/companies/nope/agents".into(),
        format!("/companies/co_{nothing}/runs"),
        format!("/agents/agt_{nothing}"),
        format!("/agents/{}/nope", world.agent),
        "/agents/ann".into(),
        format!("/agents/wak_{nothing}"),
        format!("/wakeups/wak_{nothing}"),
        format!("/wakeups/wak_{nothing}/why"),
        format!("/runs/run_{nothing}"),
        format!("/runs/run_{nothing}/log"),
        format!("/runs/run_{nothing}/log/text"),
        format!("/runs/run_{nothing}/events"),
        format!("/runs/run_{nothing}/inbox"),
        format!("/runs/run_{nothing}/checkpoint"),
        format!("/tasks/tsk_{nothing}"),
    ] {
        assert_problem(&world.server.get(&path).await, 404);
    }
    for path in [
        format!("/agents/agt_{nothing}/wake"),
        format!("/wakeups/wak_{nothing}/cancel"),
        format!("/wakeups/wak_{nothing}/retry"),
        format!("/runs/run_{nothing}/cancel"),
        "/companies/nope/pause".into(),
    ] {
        assert_problem(&world.server.post(&path, &json!({})).await, 404);
    }
    assert_problem(&world.server.delete("/companies").await, 405);
    assert_problem(&world.server.put("/companies/default", &json!({})).await, 405);
    assert_problem(&world.server.get(&format!("/agents/{}/wake", world.agent)).await, 405);
    assert_problem(&world.server.post("/healthz", &json!({})).await, 405);
    assert_problem(&world.server.post("/openapi.json", &json!({})).await, 405);
    world.assert_untouched().await;
}

#[tokio::test]
async fn what_is_over_cannot_be_cancelled_or_retried() {
    let world = World::new().await;
    let wakeup = id(&world.server.show("/companies/default/wakeups").await["items"][0]);
    let run = id(&world.server.show("/companies/default/runs").await["items"][0]);
    for path in [format!("/wakeups/{wakeup}/cancel"), format!("/wakeups/{wakeup}/retry"), format!("/runs/{run}/cancel")]
    {
        let refused = world.server.post(&path, &json!({})).await;
        assert_problem(&refused, 409);
        assert!(refused.1["current"].is_string(), "the state it is in: {}", refused.1);
    }
    world.assert_untouched().await;
}
