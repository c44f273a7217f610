//! Whoever has no token gets nothing, and nothing of one company is there for another.

use reqwest::Method;
use rustix::fs::Mode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::shape::assert_problem;
use crate::support::{Client, Server, answer, id, run_token};

/// A company key, put into the store as the route for it will one day do.
pub fn company_key(server: &Server, company: &str, role: &str) -> Client {
    let token = format!("wkf_company_{company}_{role}");
    let hash: String = Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let store = rusqlite::Connection::open(server.path().join("wakeful.db")).unwrap();
    let number = store.query_row("select count(*) from tokens", [], |row| row.get::<_, i64>(0)).unwrap();
    let statement =
        "insert into tokens (id, hash, name, kind, company_id, role, created_at) values (?, ?, ?, 'company', ?, ?, 0)";
    store.execute(statement, (format!("tok_{number:026}"), hash, role, company, role)).unwrap();
    server.with_token(&token)
}

/// A second company beside `default`, with an agent; gives the ids of both.
async fn second_company(server: &Server) -> (String, String) {
    let (_, company) = server.post("/companies", &json!({ "slug": "other", "name": "Other" })).await;
    let body =
        json!({ "name": "bob", "adapter": { "type": "process", "command": "until test -e go; do sleep 0.02; done" } });
    let (_, agent) = server.post("/companies/other/agents", &body).await;
    (id(&company), id(&agent))
}

#[tokio::test]
async fn every_operation_needs_a_good_token() {
    let server = Server::start().await;
    let document = server.show("/openapi.json").await;
    // A session is begun with the token in the body, by a browser, and ended without one.
    let of_tokens = document["paths"].as_object().unwrap().iter().filter(|(path, _)| *path != "/api/v1/session");
    for (path, methods) in of_tokens {
        let path = path.replace("{company}", "default").replace("{id}", "agt_00000000000000000000000000");
        for method in methods.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            for token in ["", "nope", "wkf_admin_nope", &server.token()[..server.token().len() - 1]] {
                let request = server.with_token(token).request(method.clone(), &path).json(&json!({}));
                assert_problem(&answer(request).await, 401);
            }
        }
    }
    let url = format!("{}/api/v1/companies", server.address());
    let plain = reqwest::Client::new();
    assert_problem(&answer(plain.get(&url)).await, 401);
    assert_problem(&answer(plain.get(&url).basic_auth("admin", Some(server.token()))).await, 401);
    assert_problem(&answer(plain.get(&url).header("authorization", "Bearer")).await, 401);
    assert_problem(&answer(plain.get(&url).header("authorization", &b"Bearer \xff"[..])).await, 401);
    assert_problem(&answer(plain.get(format!("{url}?token={}", server.token()))).await, 401);
    let refused = plain.get(&url).send().await.unwrap();
    assert_eq!(refused.headers()["www-authenticate"], "Bearer");
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    assert_eq!(answer(plain.get(&url).header("authorization", format!("bearer {}", server.token()))).await.0, 200);
}

#[tokio::test]
async fn tokens_and_the_data_directory_are_for_the_owner_alone() {
    let server = Server::start().await;
    for (name, expected) in [("", 0o700), ("admin.token", 0o600), ("server.json", 0o600), ("wakeful.pid", 0o600)] {
        let stat = rustix::fs::stat(server.path().join(name)).unwrap();
        assert_eq!(Mode::from_raw_mode(stat.st_mode).bits() & 0o777, expected, "{name}");
    }
}

#[tokio::test]
async fn what_belongs_to_another_company_is_404() {
    let server = Server::start().await;
    let (other, bob) = second_company(&server).await;
    let wakeup = server.wake(&bob, json!({})).await;
    let run = server.running(&wakeup).await;
    let (_, task) = server.post("/companies/other/tasks", &json!({ "title": "secret" })).await;
    let (run_id, task) = (id(&run), id(&task));
    let (_, project) = server.post("/companies/other/projects", &json!({ "name": "secret" })).await;
    let (_, goal) = server.post("/companies/other/goals", &json!({ "title": "secret" })).await;
    let foreign = [format!("/projects/{}", id(&project)), format!("/goals/{}", id(&goal))];
    let default = id(&server.show("/companies/default").await);
    let ann = server.process_agent("ann", "until test -e go; do sleep 0.02; done").await;
    let own = server.running(&server.wake(&ann, json!({})).await).await;
    let strangers = [company_key(&server, &default, "admin"), server.with_token(&run_token(&own))];
    for stranger in strangers {
        let mut paths = Vec::new();
        for list in
            ["", "/agents", "/tasks", "/wakeups", "/runs", "/events", "/stats", "/projects", "/goals", "/worktrees"]
        {
            paths.extend([format!("/companies/other{list}"), format!("/companies/{other}{list}")]);
        }
        for more in ["", "/why", "/sessions"] {
            paths.push(format!("/agents/{bob}{more}"));
        }
        for more in ["", "/why", "/events", "/log", "/log/text", "/inbox", "/checkpoint"] {
            paths.push(format!("/runs/{run_id}{more}"));
        }
        for more in ["", "/why"] {
            paths.extend([format!("/wakeups/{wakeup}{more}"), format!("/tasks/{task}{more}")]);
        }
        paths.extend(foreign.clone());
        for path in paths {
            assert_problem(&stranger.get(&path).await, 404);
        }
        assert_problem(&stranger.post(&format!("/agents/{bob}/wake"), &json!({})).await, 404);
        assert_problem(&stranger.post("/companies/other/wakes", &json!({ "wakes": [{ "agent": bob }] })).await, 404);
        let (_, answered) = stranger
            .post("/companies/default/wakes", &json!({ "wakes": [{ "agent": bob }, { "agent": "bob" }] }))
            .await;
        for item in answered["items"].as_array().unwrap() {
            assert_eq!(item["error"]["status"], 404, "{item}");
        }
        assert_problem(&stranger.patch(&format!("/tasks/{task}"), &json!({ "title": "mine" })).await, 404);
        let seen: Vec<Value> = stranger.all("/companies").await;
        assert_eq!(seen.iter().map(id).collect::<Vec<_>>(), [default.as_str()]);
        let foreign = stranger.post(&format!("/agents/{ann}/wake"), &json!({ "task": task, "delay_ms": 9_000 })).await;
        assert_eq!((foreign.0, &foreign.1["status_reason"]), (202, &json!("task_not_found")));
    }
    let manager = company_key(&server, &default, "operator");
    for path in foreign {
        assert_problem(&manager.patch(&path, &json!({})).await, 404);
    }
    for (path, body) in [
        (format!("/wakeups/{wakeup}/cancel"), json!({})),
        (format!("/wakeups/{wakeup}/retry"), json!({})),
        (format!("/runs/{run_id}/cancel"), json!({})),
        (format!("/runs/{run_id}/progress"), json!({ "message": "x" })),
        (format!("/runs/{run_id}/inbox/ack"), json!({})),
        (format!("/runs/{run_id}/finish"), json!({ "fence": 1, "outcome": "succeeded" })),
        (format!("/agents/{bob}/pause"), json!({})),
        (format!("/agents/{bob}/terminate"), json!({})),
        ("/companies/other/pause".to_owned(), json!({})),
        (
            "/companies/other/agents".into(),
            json!({ "name": "spy", "adapter": { "type": "process", "command": "true" } }),
        ),
    ] {
        assert_problem(&manager.post(&path, &body).await, 404);
    }
    assert_problem(&manager.put(&format!("/runs/{run_id}/checkpoint"), &json!({})).await, 404);
    assert_problem(&manager.delete(&format!("/agents/{bob}")).await, 404);
    assert_eq!(server.show(&format!("/runs/{run_id}")).await["status"], "running");
    server.assert_sound().await;
}

#[tokio::test]
async fn a_role_allows_what_it_says_and_no_more() {
    let server = Server::start().await;
    let default = id(&server.show("/companies/default").await);
    let agent = server.process_agent("ann", "true").await;
    let (viewer, operator) = (company_key(&server, &default, "viewer"), company_key(&server, &default, "operator"));
    assert_eq!(viewer.show("/me").await["role"], "viewer");
    assert_eq!(viewer.get(&format!("/agents/{agent}")).await.0, 200);
    let new = json!({ "name": "bob", "adapter": { "type": "process", "command": "true" } });
    let later = json!({ "delay_ms": 60_000 });
    assert_problem(&viewer.post(&format!("/agents/{agent}/wake"), &later).await, 403);
    assert_problem(&viewer.post("/companies/default/agents", &new).await, 403);
    assert_problem(&viewer.post(&format!("/agents/{agent}/pause"), &json!({})).await, 403);
    assert_problem(&viewer.patch("/companies/default", &json!({ "name": "mine" })).await, 403);
    assert_eq!(operator.post(&format!("/agents/{agent}/wake"), &later).await.0, 202);
    assert_eq!(operator.post("/companies/default/agents", &new).await.0, 201);
    assert_problem(&operator.post("/companies", &json!({ "slug": "x", "name": "x" })).await, 403);
    assert_problem(&operator.get("/invariants").await, 403);
}

#[tokio::test]
async fn what_may_hold_keys_is_shown_to_those_alone_who_may_change_it() {
    let server = Server::start().await;
    let default = id(&server.show("/companies/default").await);
    let viewer = company_key(&server, &default, "viewer");
    let adapter = json!({
        "type": "http", "url": "https://example.org/hook?key=canary",
        "headers": { "authorization": "Bearer canary", "x-key": { "secret": "name" } },
    });
    server.put("/companies/default/secrets/name", &json!({ "value": "canary" })).await;
    let (status, agent) = server.post("/companies/default/agents", &json!({ "name": "ann", "adapter": adapter })).await;
    assert_eq!(status, 201, "{agent}");
    let asked = |name: &str, target: Value, gate: Value| json!({ "name": name, "trigger": { "every": "1h" }, "target": target, "gate": gate });
    let wake = json!({ "wake": { "agent": id(&agent) } });
    let schedules = [
        asked("by command", wake.clone(), json!({ "command": ["curl", "-H", "x: canary"] })),
        asked("by url", wake, json!({ "url": "https://me:canary@example.org/" })),
    ];
    let mut paths = vec![format!("/agents/{}", id(&agent)), "/companies/default/agents".into()];
    for schedule in schedules {
        let (status, made) = server.post("/companies/default/schedules", &schedule).await;
        assert!(status == 201 && made.to_string().contains("canary"), "{made}");
        paths.push(format!("/schedules/{}", id(&made)));
    }
    paths.push("/companies/default/schedules".into());
    for path in paths {
        assert!(
            server.show(&path).await.to_string().contains("canary"),
            "{path}: it can be changed only if it is seen"
        );
        let shown = viewer.show(&path).await.to_string();
        assert!(shown.contains("***") && !shown.contains("canary"), "{path}: {shown}");
    }
}

#[tokio::test]
async fn a_run_token_works_for_its_run_while_it_is_live_and_not_beyond() {
    let server = Server::start().await;
    let ann = server.process_agent("ann", "until test -e go; do sleep 0.02; done").await;
    let bob = server.process_agent("bob", "until test -e go; do sleep 0.02; done").await;
    let run = server.running(&server.wake(&ann, json!({})).await).await;
    let other = id(&server.running(&server.wake(&bob, json!({})).await).await);
    let run_id = id(&run);
    let own = server.with_token(&run_token(&run));
    let me = own.show("/me").await;
    for (field, expected) in [("kind", "run"), ("run", run_id.as_str()), ("agent", ann.as_str())] {
        assert_eq!(me[field], expected);
    }
    assert_eq!(own.post(&format!("/agents/{bob}/wake"), &json!({})).await.0, 202);
    assert_problem(&own.post(&format!("/runs/{other}/progress"), &json!({ "message": "x" })).await, 403);
    assert_problem(&own.put(&format!("/runs/{other}/checkpoint"), &json!({})).await, 403);
    assert_problem(&own.post(&format!("/runs/{run_id}/cancel"), &json!({})).await, 403);
    assert_problem(&own.post(&format!("/agents/{ann}/pause"), &json!({})).await, 403);
    server.post(&format!("/runs/{run_id}/cancel"), &json!({})).await;
    server.finished(&run_id).await;
    let (status, problem) = own.get("/me").await;
    assert_eq!((status, &problem["code"]), (401, &json!("token_expired")));
    assert_problem(&own.post(&format!("/agents/{bob}/wake"), &json!({})).await, 401);
}
