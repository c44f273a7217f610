//! Tasks as a team uses them: assigned, taken by runs, given to someone else, waited for, talked about.

use std::fs;

use serde_json::{Value, json};

use crate::shape::{assert_field, assert_problem};
use crate::support::{Server, id, run_token};

const WAITS: &str = "until test -e go; do sleep 0.02; done";

fn let_go(server: &Server, agent: &str) {
    fs::write(server.path().join("agents").join(agent).join("go"), "").unwrap();
}

async fn task(server: &Server, body: Value) -> Value {
    let (status, task) = server.post("/companies/default/tasks", &body).await;
    assert_eq!(status, 201, "{task}");
    task
}

/// The newest wakeup of an agent.
async fn newest(server: &Server, agent: &str) -> Value {
    server.show(&format!("/companies/default/wakeups?agent={agent}&limit=1")).await["items"][0].clone()
}

#[tokio::test]
async fn assigning_a_task_is_all_it_takes_to_have_it_done() {
    let server = Server::start().await;
    let script = r#"wakeful task show "$WAKEFUL_TASK" && wakeful task set "$WAKEFUL_TASK" done"#;
    let agent = server.process_agent("ann", script).await;
    let added = server.cli(&["task", "add", "Paint the door", "--label", "red", "--priority", "high"]).await;
    assert_eq!((added.code, added.stdout.starts_with("T-1 (tsk_")), (0, true), "{}", added.stdout);
    assert_eq!(server.cli(&["task", "assign", "T-1", "ann"]).await.code, 0);
    let settled = server.settled(&id(&newest(&server, &agent).await)).await;
    assert_eq!((&settled["source"], &settled["status"]), (&json!("assignment"), &json!("completed")));
    let shown = server.cli(&["task", "show", "T-1"]).await.ok();
    assert!(shown.contains("status     done") && shown.contains("labels     red"), "{shown}");
    let why = server.cli(&["why", "T-1"]).await.ok();
    assert!(why.starts_with("T-1 \"Paint the door\" is done, assigned to ann; no run works on it."), "{why}");
    server.assert_sound().await;
}

#[tokio::test]
async fn what_a_task_may_hold_comes_back_as_it_was_given() {
    let server = Server::start().await;
    let first = task(&server, json!({ "title": "First" })).await;
    let body = json!({
        "title": "Second", "description": "the door", "status": "backlog", "priority": "critical", "parent": id(&first),
        "wake_parent": "all", "blocked_by": [id(&first)], "due_at": "2026-12-24T12:00:00.000Z", "labels": ["red", "wood"],
        "reward": 5_000_000, "adapter_overrides": { "config": { "model": "x" }, "use_project_workspace": false },
        "workspace": { "worktree": true },
    });
    let made = task(&server, body.clone()).await;
    let shown = server.show(&format!("/tasks/{}", id(&made))).await;
    for (field, value) in body.as_object().unwrap() {
        assert_eq!(&shown[field], value, "{field}");
    }
    assert_eq!((&shown["key"], &shown["held_by"], &shown["closed_at"]), (&json!("T-2"), &Value::Null, &Value::Null));
    let patch =
        json!({ "parent": null, "blocked_by": [], "due_at": null, "labels": [], "reward": null, "status": "done" });
    let (status, changed) = server.patch(&format!("/tasks/{}", id(&made)), &patch).await;
    assert_eq!((status, &changed["parent"], &changed["blocked_by"]), (200, &Value::Null, &json!([])));
    assert!(changed["closed_at"].is_string());
    let of_key = server.show("/companies/default/tasks?key=T-2").await;
    assert_eq!(of_key["items"], json!([changed]));
}

#[tokio::test]
async fn what_a_task_may_not_hold_is_refused_by_name() {
    let server = Server::start().await;
    let first = id(&task(&server, json!({ "title": "First" })).await);
    let unknown = "tsk_00000000000000000000000000";
    let cases = [
        (json!({ "priority": "urgent" }), "priority"),
        (json!({ "parent": "T-9" }), "parent"),
        (json!({ "parent": unknown }), "parent"),
        (json!({ "goal": "goal_00000000000000000000000000" }), "goal"),
        (json!({ "project": "prj_00000000000000000000000000" }), "project"),
        (json!({ "blocked_by": [unknown] }), "blocked_by[0]"),
        (json!({ "blocked_by": [first, "x"] }), "blocked_by[1]"),
        (json!({ "due_at": "tomorrow" }), "due_at"),
        (json!({ "labels": ["x", " "] }), "labels[1]"),
        (json!({ "reward": -1 }), "reward"),
        (json!({ "wake_parent": "sometimes" }), "wake_parent"),
        (json!({ "workspace": { "tree": true } }), "workspace.tree"),
        (json!({ "adapter_overrides": { "config": { "type": "http" } } }), "adapter_overrides.config.type"),
        (json!({ "adapter_overrides": { "config": 1 } }), "adapter_overrides.config"),
    ];
    for (mut body, field) in cases {
        body["title"] = json!("x");
        assert_field(&server.post("/companies/default/tasks", &body).await, field);
    }
    let second = id(&task(&server, json!({ "title": "Second", "blocked_by": [first] })).await);
    assert_field(&server.patch(&format!("/tasks/{first}"), &json!({ "blocked_by": [second] })).await, "blocked_by[0]");
    assert_eq!(server.all("/companies/default/tasks").await.len(), 2);
}

#[tokio::test]
async fn a_task_is_named_by_its_key_wherever_one_is_named() {
    let server = Server::start().await;
    let first = task(&server, json!({ "title": "First" })).await;
    let (key, first) = (first["key"].clone(), first["id"].clone());
    let second = task(&server, json!({ "title": "Second", "parent": key, "blocked_by": [key] })).await;
    assert_eq!((&second["parent"], &second["blocked_by"]), (&first, &json!([first])));
    let path = format!("/tasks/{}", id(&second));
    let free = server.patch(&path, &json!({ "parent": null, "blocked_by": [] })).await.1;
    assert_eq!((&free["parent"], &free["blocked_by"]), (&Value::Null, &json!([])));
    let again = server.patch(&path, &json!({ "parent": key, "blocked_by": [key] })).await.1;
    assert_eq!((&again["parent"], &again["blocked_by"]), (&first, &json!([first])));
    let agent = server.process_agent("ann", "true").await;
    let wake = json!({ "task": key, "delay_ms": 60_000 });
    let (status, wakeup) = server.post(&format!("/agents/{agent}/wake"), &wake).await;
    assert_eq!((status, &wakeup["task"]), (202, &first), "{wakeup}");
    let mail = json!({ "to": "ann", "body": "Look at it", "task": key });
    assert_eq!(server.post("/companies/default/messages", &mail).await.1["task"], first);
    server.post("/companies", &json!({ "slug": "other", "name": "Other" })).await;
    let elsewhere = json!({ "title": "x", "parent": key });
    assert_field(&server.post("/companies/other/tasks", &elsewhere).await, "parent");
    assert_field(&server.post(&format!("/agents/{agent}/wake"), &json!({ "task": "T-9" })).await, "task");
}

#[tokio::test]
async fn a_run_holds_what_it_checks_out_and_others_are_told_who() {
    let server = Server::start().await;
    let about = id(&task(&server, json!({ "title": "Shared" })).await);
    let mut own = Vec::new();
    for name in ["ann", "bob"] {
        let agent = server.process_agent(name, WAITS).await;
        let run = server.running(&server.wake(&agent, json!({})).await).await;
        own.push((agent, id(&run), server.with_token(&run_token(&run))));
    }
    let (ann, run, first) = &own[0];
    let (bob, _, second) = &own[1];
    let path = format!("/tasks/{about}/checkout");
    let (status, taken) = first.post(&path, &json!({})).await;
    assert_eq!((status, &taken["held_by"], &taken["assignee"]), (200, &json!(run), &json!(ann)));
    let refused = second.post(&path, &json!({})).await;
    assert_problem(&refused, 409);
    let problem = &refused.1;
    assert_eq!(
        (&problem["code"], &problem["live"], &problem["advice"]),
        (&json!("task_held"), &json!(true), &json!("yield"))
    );
    assert_eq!((&problem["holder"]["run"], &problem["holder"]["agent_name"]), (&json!(run), &json!("ann")));
    assert!(problem.as_object().unwrap().contains_key("until"));
    assert_problem(&server.post(&path, &json!({})).await, 403);
    let waiting = server.wake(bob, json!({ "task": about })).await;
    let why = server.cli(&["why", &waiting]).await.ok();
    assert!(why.contains("is held by") || why.contains("has 1 of 1 runs live"), "{why}");
    let (status, released) = first.post(&format!("/tasks/{about}/release"), &json!({})).await;
    assert_eq!((status, &released["held_by"]), (200, &Value::Null));
    first.post(&path, &json!({})).await;
    let_go(&server, ann);
    server.finished(run).await;
    assert_eq!(server.show(&format!("/tasks/{about}")).await["held_by"], Value::Null, "a hold ends with its run");
    let_go(&server, bob);
    server.settled(&waiting).await;
    server.assert_sound().await;
}

#[tokio::test]
async fn giving_a_task_to_another_agent_calls_off_what_waits_for_the_first() {
    let server = Server::start().await;
    let ann = server.process_agent("ann", WAITS).await;
    let bob = server.process_agent("bob", "true").await;
    server.running(&server.wake(&ann, json!({})).await).await;
    let about = id(&task(&server, json!({ "title": "Paint", "assignee": ann })).await);
    let waiting = id(&newest(&server, &ann).await);
    assert_eq!(server.show(&format!("/wakeups/{waiting}")).await["waiting"]["reason"], "agent_at_capacity");
    server.cli(&["task", "assign", "T-1", "bob"]).await.ok();
    let called_off = server.show(&format!("/wakeups/{waiting}")).await;
    assert_eq!((&called_off["status"], &called_off["status_reason"]), (&json!("cancelled"), &json!("reassigned")));
    let why = server.cli(&["why", &waiting]).await.ok();
    assert!(why.starts_with("Cancelled: the task was given to another agent."), "{why}");
    let settled = server.settled(&id(&newest(&server, &bob).await)).await;
    assert_eq!((&settled["status"], &settled["task"]), (&json!("completed"), &json!(about)));
    let_go(&server, &ann);
}

#[tokio::test]
async fn a_task_that_is_blocked_starts_by_itself_when_its_blocker_is_done() {
    let server = Server::start().await;
    let ann = server.process_agent("ann", "true").await;
    server.cli(&["task", "add", "Walls"]).await.ok();
    server.cli(&["task", "add", "Roof", "--assignee", "ann", "--blocked-by", "T-1"]).await.ok();
    let why = server.cli(&["why", "T-2"]).await.ok();
    assert!(why.contains("It waits for T-1 \"Walls\" (todo)"), "{why}");
    assert_eq!(server.show(&format!("/agents/{ann}")).await["pending_wakeups"], 0);
    server.cli(&["task", "set", "T-1", "done"]).await.ok();
    let settled = server.settled(&id(&newest(&server, &ann).await)).await;
    assert_eq!((&settled["source"], &settled["status"]), (&json!("dependency"), &json!("completed")));
}

#[tokio::test]
async fn comments_are_kept_in_order_and_open_a_closed_task_only_if_asked() {
    let server = Server::start().await;
    let about = id(&task(&server, json!({ "title": "Paint", "status": "done" })).await);
    let path = format!("/tasks/{about}/comments");
    let (status, comment) = server.post(&path, &json!({ "body": "too red" })).await;
    assert_eq!((status, &comment["body"], &comment["actor"]["id"]), (201, &json!("too red"), &json!("admin")));
    assert_eq!(server.show(&format!("/tasks/{about}")).await["status"], "done");
    server.cli(&["task", "comment", "T-1", "-m", "paint it again", "--reopen"]).await.ok();
    assert_eq!(server.show(&format!("/tasks/{about}")).await["status"], "todo");
    let bodies: Vec<Value> = server.all(&path).await.iter().map(|comment| comment["body"].clone()).collect();
    assert_eq!(bodies, ["paint it again", "too red"]);
    assert_field(&server.post(&path, &json!({ "body": " " })).await, "body");
    assert_field(&server.post(&path, &json!({ "body": "x".repeat(70_000) })).await, "body");
    let shown = server.cli(&["task", "show", "T-1"]).await.ok();
    assert!(shown.find("too red").unwrap() < shown.find("paint it again").unwrap(), "{shown}");
}
