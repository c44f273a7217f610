//! Every route answers with the documents of the contract.

use reqwest::Method;
use serde_json::{Value, json};

use crate::shape::{
    AGENT, COMPANY, RUN, TASK, WAKEUP, assert_problem, assert_shape, assert_well_formed, fields, is_type_id,
};
use crate::support::{Server, answer, id};

/// A server with one of everything: a task, an agent that worked on it, and a wakeup that waits.
async fn world() -> (Server, World) {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "echo out; echo err >&2").await;
    let (status, task) = server.post("/companies/default/tasks", &json!({ "title": "Paint" })).await;
    assert_eq!(status, 201);
    let run = server.run_of(&agent, json!({ "task": id(&task), "reason": "begin" })).await;
    let pending = server.wake(&agent, json!({ "delay_ms": 3_600_000 })).await;
    let world = World { done: id(&run["wakeups"][0]), run: id(&run), task: id(&task), agent, pending };
    (server, world)
}

struct World {
    agent: String,
    task: String,
    run: String,
    done: String,
    pending: String,
}

#[tokio::test]
async fn every_document_has_the_fields_of_the_contract() {
    let (server, world) = world().await;
    let World { agent, task, run, done, pending } = &world;
    let mut waiting: Vec<&str> = WAKEUP.iter().copied().chain(["waiting"]).collect();
    waiting.sort_unstable();
    let shapes: &[(String, &[&str])] = &[
        ("/companies/default".into(), COMPANY),
        (format!("/agents/{agent}"), AGENT),
        (format!("/tasks/{task}"), TASK),
        (format!("/runs/{run}"), RUN),
        (format!("/wakeups/{done}"), WAKEUP),
        (format!("/wakeups/{pending}"), &waiting),
        (format!("/wakeups/{done}/why"), &["chain", "summary"]),
        (format!("/wakeups/{pending}/why"), &["chain", "next", "summary", "waiting"]),
        (format!("/runs/{run}/why"), &["chain", "summary"]),
        (format!("/agents/{agent}/why"), &["chain", "next", "summary", "waiting"]),
        (format!("/tasks/{task}/why"), &["chain", "next", "summary"]),
        (format!("/runs/{run}/inbox"), &["messages", "wakeups"]),
        ("/companies/default/stats".into(), &["oldest_pending_at", "runs", "waiting", "wakes_avoided", "wakeups"]),
        ("/invariants".into(), &["checked", "violations"]),
        ("/me".into(), &["kind"]),
        ("/healthz".into(), &["status", "version"]),
    ];
    for (path, expected) in shapes {
        assert_shape(&server.show(path).await, expected);
    }
    let lists: &[(&str, &[&str])] = &[
        ("/companies", COMPANY),
        ("/companies/default/agents", AGENT),
        ("/companies/default/tasks", TASK),
        ("/companies/default/runs", RUN),
        ("/companies/default/wakeups?status=completed", WAKEUP),
        ("/companies/default/events", &["at", "company", "data", "id", "subject", "type"]),
    ];
    for (path, expected) in lists {
        let page = server.show(path).await;
        assert_shape(&page, &["items", "next_cursor"]);
        assert_shape(&page["items"][0], expected);
    }
}

#[tokio::test]
async fn the_parts_of_documents_have_the_fields_of_the_contract() {
    let (server, world) = world().await;
    let run = server.show(&format!("/runs/{}", world.run)).await;
    assert_eq!(fields(&run["log"]), ["bytes", "lines", "sha256", "truncated"]);
    assert_eq!(fields(&run["usage"]), ["cache_read_tokens", "cache_write_tokens", "input_tokens", "output_tokens"]);
    assert_eq!(fields(&run["lane"]), ["agent", "task"]);
    assert_eq!(fields(&run["process"]), ["boot_id", "pid", "start_time"]);
    assert_eq!(fields(&run["wakeups"][0]), ["id", "lead", "payload", "reason", "source", "status"]);
    assert_eq!(run["wakeups"][0]["lead"], true);
    assert_eq!(run["wakeups"][0]["reason"], "begin");
    let agent = server.show(&format!("/agents/{}", world.agent)).await;
    assert_eq!(fields(&agent["liveness"]), ["reason", "since", "status"]);
    assert_eq!(fields(&agent["totals"]), ["cost_micros", "runs", "tokens"]);
    assert_eq!(fields(&agent["last_run"]), ["finished_at", "id", "status"]);
    let expected =
        [("state", json!("active")), ("status", json!("idle")), ("live_runs", json!(0)), ("pending_wakeups", json!(1))];
    expected.iter().for_each(|(field, value)| assert_eq!(&agent[*field], value, "{field}"));
    let pending = server.show(&format!("/wakeups/{}", world.pending)).await;
    assert_eq!(fields(&pending["waiting"]), ["detail", "reason", "until"]);
    assert_eq!(pending["waiting"]["reason"], "not_due");
    assert_eq!(pending["waiting"]["until"], pending["due_at"]);
    assert_eq!(pending["actor"], json!({ "type": "user", "id": "admin" }));
    let why = server.show(&format!("/wakeups/{}/why", world.done)).await;
    assert_eq!(fields(&why["chain"][0]), ["at", "id", "kind", "text"]);
    let stats = server.show("/companies/default/stats").await;
    assert_eq!(stats["wakeups"], json!({ "completed": 1, "pending": 1 }));
    assert_eq!(stats["waiting"], json!({ "not_due": 1 }));
    assert_eq!(stats["runs"], json!({ "succeeded": 1 }));
    let events = server.show(&format!("/runs/{}/events", world.run)).await;
    assert_eq!(fields(&events), ["items"]);
    assert_eq!(fields(&events["items"][0]), ["at", "data", "level", "message", "seq", "type"]);
    for event in server.all("/companies/default/events").await {
        assert!(is_type_id(event["id"].as_str().unwrap(), "evt"), "{event}");
        assert_well_formed(&event);
    }
}

#[tokio::test]
async fn what_is_made_answers_201_with_its_row_and_what_changes_answers_with_the_changed_row() {
    let server = Server::start().await;
    let body = json!({ "slug": "acme", "name": "Acme", "max_concurrent_runs": 7, "time_zone": "Europe/Paris" });
    let (status, company) = server.post("/companies", &body).await;
    assert_eq!(status, 201);
    assert_shape(&company, COMPANY);
    for (field, value) in body.as_object().unwrap() {
        assert_eq!(&company[field], value);
    }
    assert_eq!(server.show("/companies/acme").await, company);
    assert_eq!(server.show(&format!("/companies/{}", id(&company))).await, company);
    let (status, changed) = server.patch("/companies/acme", &json!({ "name": "Acme Ltd" })).await;
    assert_eq!((status, &changed["name"], &changed["slug"]), (200, &json!("Acme Ltd"), &json!("acme")));
    let body = json!({
        "name": "ann", "title": "Painter", "adapter": { "type": "process", "command": ["true"] }, "capabilities": ["paint"],
        "heartbeat": { "enabled": false, "wake_on_demand": true, "only_when_work": true }, "max_concurrent_runs": 3,
        "retry": { "delays_s": [1, 2], "jitter": 0.5 }, "limits": { "max_duration_s": 60, "grace_s": 2 },
    });
    let (status, agent) = server.post("/companies/acme/agents", &body).await;
    assert_eq!(status, 201, "{agent}");
    assert_shape(&agent, AGENT);
    for (field, value) in body.as_object().unwrap() {
        assert_eq!(&agent[field], value, "{field}");
    }
    let path = format!("/agents/{}", id(&agent));
    let (status, changed) = server.patch(&path, &json!({ "title": null, "max_concurrent_runs": 1 })).await;
    assert_eq!((status, &changed["title"], &changed["max_concurrent_runs"]), (200, &Value::Null, &json!(1)));
    assert_eq!(changed["capabilities"], json!(["paint"]));
    let (status, task) = server.post("/companies/acme/tasks", &json!({ "title": "Paint" })).await;
    assert_eq!((status, &task["status"]), (201, &json!("todo")));
    assert_shape(&task, TASK);
    let body = json!({ "status": "done", "assignee": id(&agent), "description": "Red" });
    let (status, changed) = server.patch(&format!("/tasks/{}", id(&task)), &body).await;
    assert_eq!(status, 200);
    for (field, value) in body.as_object().unwrap() {
        assert_eq!(&changed[field], value, "{field}");
    }
    assert_problem(&server.post("/companies", &json!({ "slug": "acme", "name": "Again" })).await, 409);
    let again = json!({ "name": "ann", "adapter": { "type": "process", "command": "true" } });
    assert_problem(&server.post("/companies/acme/agents", &again).await, 409);
    assert_eq!(server.delete(&path).await, (204, Value::Null));
    assert_eq!(server.show("/companies/acme/agents").await["items"], json!([]));
}

#[tokio::test]
async fn an_agent_is_paused_resumed_and_terminated_and_a_wake_is_refused_by_its_state() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    let path = format!("/agents/{agent}");
    let wake = format!("{path}/wake");
    let (status, paused) = server.post(&format!("{path}/pause"), &json!({ "reason": "lunch" })).await;
    assert_eq!((status, &paused["state"], &paused["state_reason"]), (200, &json!("paused"), &json!("lunch")));
    let refused = server.post(&wake, &json!({})).await;
    assert_problem(&refused, 409);
    assert_eq!((&refused.1["code"], &refused.1["state"]), (&json!("agent_not_wakeable"), &json!("paused")));
    assert_problem(&server.post(&format!("{path}/approve"), &json!({})).await, 409);
    let (_, resumed) = server.post(&format!("{path}/resume"), &json!({})).await;
    assert_eq!((&resumed["state"], &resumed["state_reason"]), (&json!("active"), &Value::Null));
    let waiting = server.wake(&agent, json!({ "delay_ms": 60_000 })).await;
    let (_, ended) = server.post(&format!("{path}/terminate"), &json!({})).await;
    assert_eq!(ended["state"], "terminated");
    assert_eq!(server.show(&format!("/wakeups/{waiting}")).await["status"], "cancelled");
    assert_problem(&server.post(&wake, &json!({})).await, 409);
    assert_problem(&server.post(&format!("{path}/resume"), &json!({})).await, 409);
    assert_eq!(server.all("/companies/default/wakeups").await.len(), 1, "a refusal records nothing");
    server.assert_sound().await;
}

#[tokio::test]
async fn lists_are_newest_first_and_their_pages_join_without_gap_or_overlap() {
    let server = Server::start().await;
    let agent = server.process_agent("agent-0", "true").await;
    for number in 1..5 {
        server.process_agent(&format!("agent-{number}"), "true").await;
        server.post("/companies/default/tasks", &json!({ "title": format!("task {number}") })).await;
        server.post("/companies", &json!({ "slug": format!("company-{number}"), "name": "More" })).await;
        server.run_of(&agent, json!({})).await;
    }
    for list in [
        "/companies",
        "/companies/default/agents",
        "/companies/default/tasks",
        "/companies/default/wakeups",
        "/companies/default/runs",
    ] {
        let whole = server.show(list).await;
        assert_eq!(whole["next_cursor"], Value::Null);
        let whole: Vec<String> = whole["items"].as_array().unwrap().iter().map(id).collect();
        assert!(whole.len() >= 4 && whole.is_sorted_by(|one, two| one > two), "{list}: {whole:?}");
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = server.show(&format!("{list}?limit=2{cursor}")).await;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 2);
            paged.extend(items.iter().map(id));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(paged, whole, "{list}");
    }
    let filtered = server.show(&format!("/companies/default/runs?agent={agent}&status=succeeded&limit=200")).await;
    assert_eq!(filtered["items"].as_array().unwrap().len(), 4);
    let none = server.show("/companies/default/wakeups?status=failed&source=manual").await;
    assert_eq!(none, json!({ "items": [], "next_cursor": null }));
}

#[tokio::test]
async fn health_and_readiness_need_no_token_and_metrics_do() {
    let server = Server::start().await;
    let nobody = server.with_token("");
    assert_eq!(nobody.get("/healthz").await.1["status"], "ok");
    let (status, ready) = nobody.get("/readyz").await;
    assert_eq!((status, &ready["missing"]), (200, &json!([])));
    assert_eq!(ready["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(answer(nobody.request(Method::GET, "/metrics")).await.0, 401);
    let metrics = server.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("wakeful_live_runs 0") && metrics.ends_with("# EOF\n"), "{metrics}");
    assert_eq!(answer(nobody.request(Method::GET, "/companies")).await.0, 401);
}

#[tokio::test]
async fn the_openapi_document_names_every_route_and_every_reference_in_it_leads_somewhere() {
    let server = Server::start().await;
    let mut document = server.show("/openapi.json").await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        assert!(path.starts_with("/api/v1/"), "{path}");
        for (method, operation) in methods.as_object().unwrap() {
            assert!(!operation["responses"].as_object().unwrap().is_empty(), "{method} {path}");
            operations.push(format!("{} {path}", method.to_uppercase()));
        }
    }
    operations.sort_unstable();
    let text = document.to_string();
    for reference in text.split(r##""$ref":"#"##).skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
    }
    document["info"]["version"] = json!("[version]");
    insta::assert_json_snapshot!("openapi_operations", operations);
    insta::assert_json_snapshot!("openapi_info", document["info"]);
}
