//! Work that is handed on: children tell their parent, comments reach whom they concern, goals are broken down; also
//! when the server is killed at the worst moment.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::shape::{assert_field, assert_problem};
use crate::support::{Server, id, is_alive, run_token, signal};

const WAITS: &str = "until test -e go; do sleep 0.02; done";

fn let_go(server: &Server, agent: &str) {
    fs::write(server.path().join("agents").join(agent).join("go"), "").unwrap();
}

async fn task(server: &Server, body: Value) -> String {
    let (status, task) = server.post("/companies/default/tasks", &body).await;
    assert_eq!(status, 201, "{task}");
    id(&task)
}

/// The wakeups of an agent from one source, oldest first.
async fn of_source(server: &Server, agent: &str, source: &str) -> Vec<Value> {
    let mut found = server.all(&format!("/companies/default/wakeups?agent={agent}&source={source}")).await;
    found.sort_by_key(|wakeup| wakeup["requested_at"].as_str().map(str::to_owned));
    found
}

/// The same once there are so many.
async fn until_there_are(server: &Server, agent: &str, source: &str, count: usize) -> Vec<Value> {
    let path = format!("/companies/default/wakeups?agent={agent}&source={source}&limit=200");
    server.until(&path, |page| page["items"].as_array().unwrap().len() >= count).await;
    of_source(server, agent, source).await
}

#[tokio::test]
async fn eight_children_finish_and_the_server_is_killed_at_once_and_the_parent_is_told_eight_times() {
    let mut server = Server::start().await;
    server.patch("/companies/default", &json!({ "max_concurrent_runs": 20 })).await;
    let ann = server.process_agent("ann", "true").await;
    let bob = server.process_agent_with("bob", WAITS, json!({ "max_concurrent_runs": 10 })).await;
    server.post(&format!("/agents/{ann}/pause"), &json!({})).await;
    let parent = task(&server, json!({ "title": "Build", "assignee": ann })).await;
    for number in 0..8 {
        task(&server, json!({ "title": format!("Part {number}"), "assignee": bob, "parent": parent })).await;
    }
    let live = format!("/companies/default/runs?agent={bob}&status=running");
    server.until(&live, |page| page["items"].as_array().unwrap().len() == 8).await;
    let_go(&server, &bob);
    until_there_are(&server, &ann, "child", 1).await;
    server.kill9();
    server.start_again().await;
    let told = until_there_are(&server, &ann, "child", 8).await;
    let ended: std::collections::BTreeSet<String> =
        told.iter().map(|wakeup| wakeup["payload"]["finished_child"]["task"].as_str().unwrap().to_owned()).collect();
    assert_eq!((told.len(), ended.len()), (8, 8));
    assert!(told.iter().all(|wakeup| wakeup["status"] == "pending" && wakeup["task"] == json!(parent)));
    // All of them reach the parent's agent in one run.
    server.post(&format!("/agents/{ann}/resume"), &json!({})).await;
    let run = server.settled(&id(&told[0])).await["run_id"].clone();
    let run = server.show(&format!("/runs/{}", run.as_str().unwrap())).await;
    assert_eq!(run["wakeups"].as_array().unwrap().len(), 9, "with the assignment");
    assert_eq!(of_source(&server, &ann, "child").await.len(), 8);
    server.assert_sound().await;
}

#[tokio::test]
async fn a_child_that_is_killed_is_told_to_its_parent() {
    let mut server = Server::start().await;
    let ann = server.process_agent("ann", "true").await;
    let bob = server.process_agent_with("bob", WAITS, json!({ "retry": { "delays_s": [], "jitter": 0 } })).await;
    let parent = task(&server, json!({ "title": "Build", "assignee": ann })).await;
    let child = task(&server, json!({ "title": "Part", "assignee": bob, "parent": parent })).await;
    let run = server.running(&id(&of_source(&server, &bob, "assignment").await[0])).await;
    let pid = u32::try_from(run["process"]["pid"].as_u64().unwrap()).unwrap();
    server.kill9();
    signal(pid, Signal::KILL);
    while is_alive(pid) {
        tokio::task::yield_now().await;
    }
    server.start_again().await;
    let told = until_there_are(&server, &ann, "child", 1).await;
    let end = &told[0]["payload"]["finished_child"];
    assert_eq!((&end["task"], &end["run"], &end["status"]), (&json!(child), &run["id"], &json!("failed")));
    assert!(end["error"].is_string() && end["usage"].is_object());
    let why = server.cli(&["why", &id(&told[0])]).await.ok();
    let said = format!("ann was woken because {} of T-2 (child of T-1) finished: failed", id(&run));
    assert!(why.contains(&said), "{why}");
    server.settled(&id(&told[0])).await;
    server.assert_sound().await;
}

#[tokio::test]
async fn an_agent_hands_parts_of_its_task_on_and_is_woken_with_what_came_of_them() {
    let server = Server::start().await;
    // The first run hands on; the next one is told.
    let lead = "if [ \"$WAKEFUL_SOURCE\" = assignment ]; then \
        wakeful task add 'paint it' --assignee bob --parent && wakeful task add 'dry it' --assignee bob --parent T-1 \
        --wake-parent never; fi";
    let ann = server.process_agent("ann", lead).await;
    server.process_agent("bob", "wakeful task set \"$WAKEFUL_TASK\" done && wakeful done -m 'it is red'").await;
    let parent = task(&server, json!({ "title": "Door", "assignee": ann })).await;
    let told = until_there_are(&server, &ann, "child", 1).await;
    assert_eq!(server.settled(&id(&told[0])).await["status"], "completed");
    let end = &told[0]["payload"]["finished_child"];
    assert_eq!(
        (&end["summary"], &end["key"], &end["task_status"]),
        (&json!("it is red"), &json!("T-2"), &json!("done"))
    );
    let children = server.all(&format!("/companies/default/tasks?parent={parent}")).await;
    assert_eq!(children.len(), 2);
    assert_eq!(of_source(&server, &ann, "child").await.len(), 1, "one end, one wakeup");
    server.cli(&["task", "add", "x", "--parent"]).await.assert_failed(2, &["--parent has no value"]);
    server.assert_sound().await;
}

#[tokio::test]
async fn comments_made_during_a_run_reach_it_or_the_follow_up_also_over_a_crash() {
    let mut server = Server::start().await;
    let ann = server.process_agent("ann", WAITS).await;
    let bob = server.process_agent("bob", "true").await;
    let about = task(&server, json!({ "title": "Paint", "assignee": ann })).await;
    let run = server.running(&id(&of_source(&server, &ann, "assignment").await[0])).await;
    for number in 0..5 {
        server.cli(&["task", "comment", "T-1", "-m", &format!("thought {number}, @bob")]).await.ok();
    }
    let own = server.with_token(&run_token(&run));
    let (status, _) = own.post(&format!("/tasks/{about}/comments"), &json!({ "body": "mine, @ann" })).await;
    assert_eq!(status, 201);
    server.kill9();
    server.start_again().await;
    assert_eq!(server.show(&format!("/runs/{}/inbox", id(&run))).await["wakeups"].as_array().unwrap().len(), 5);
    let_go(&server, &ann);
    let told = of_source(&server, &ann, "comment").await;
    assert_eq!(told.len(), 5, "its own is not told to it");
    let mut runs = Vec::new();
    for (number, wakeup) in told.iter().enumerate() {
        assert!(wakeup["reason"].as_str().unwrap().ends_with(&format!("commented on T-1: thought {number}, @bob")));
        runs.push(server.settled(&id(wakeup)).await["run_id"].clone());
    }
    assert!(runs.iter().all(|of| *of == runs[0] && *of != run["id"]), "one follow-up");
    let mentions = of_source(&server, &bob, "comment").await;
    assert_eq!(mentions.len(), 5);
    for wakeup in &mentions {
        assert_eq!(server.settled(&id(wakeup)).await["status"], "completed");
    }
    assert_eq!(server.show(&format!("/tasks/{about}")).await["assignee"], json!(ann));
    server.assert_sound().await;
}

#[tokio::test]
async fn a_goal_is_broken_down_and_every_run_is_told_what_it_is_for() {
    let server = Server::start().await;
    let ann = server.process_agent("ann", "cat \"$WAKEFUL_CONTEXT_FILE\"").await;
    let made = server.cli(&["goal", "add", "Open a shop", "--json"]).await.json();
    let shop = id(&made);
    let house = id(&server.cli(&["goal", "add", "A house", "--parent", &shop, "--json"]).await.json());
    let asked = server.cli(&["goal", "decompose", &house, "ann", "-m", "small parts", "--json"]).await.json();
    assert_eq!((&asked["source"], &asked["priority"]), (&json!("goal"), &json!(75)));
    let settled = server.settled(&id(&asked)).await;
    let context: Value = serde_json::from_str(&server.stdout(settled["run_id"].as_str().unwrap()).await).unwrap();
    let titles = |context: &Value| -> Vec<String> {
        context["why"].as_array().unwrap().iter().map(|one| one["title"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(titles(&context), ["Open a shop", "A house"]);
    assert_eq!(context["wakeups"][0]["reason"], "break down the goal `A house` into tasks: small parts");
    // A part of a part serves the goal of the whole.
    let whole = task(&server, json!({ "title": "Walls", "goal": house })).await;
    let part = task(&server, json!({ "title": "Bricks", "parent": whole, "assignee": ann })).await;
    let settled = server.settled(&id(&of_source(&server, &ann, "assignment").await[0])).await;
    assert_eq!(settled["task"], json!(part));
    let context: Value = serde_json::from_str(&server.stdout(settled["run_id"].as_str().unwrap()).await).unwrap();
    assert_eq!(titles(&context), ["Open a shop", "A house", "Walls", "Bricks"]);
    assert_eq!(context["goals"][0]["id"], json!(house));
    assert_field(&server.post(&format!("/goals/{house}/decompose"), &json!({ "agent": "x" })).await, "agent");
    let unknown = "/goals/goal_00000000000000000000000000/decompose";
    assert_problem(&server.post(unknown, &json!({ "agent": ann })).await, 404);
}
