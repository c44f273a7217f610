//! What a console shows of many things at once: costs, a timeline, what a search finds, a log that is looked through, and
//! a stream that brings only what was asked for.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::access::company_key;
use crate::shape::{assert_field, assert_problem};
use crate::support::sse::follow;
use crate::support::{Server, id};

const SPENDS: &str = r#"echo '{"summary": "done", "cost_micros": 1500,
    "usage": {"input_tokens": 10, "output_tokens": 5, "cache_read_tokens": 2, "cache_write_tokens": 1}}' > "$WAKEFUL_RESULT_FILE""#;

#[tokio::test]
async fn costs_are_added_up_by_agent_task_schedule_and_day() {
    let server = Server::start().await;
    let ann = server.process_agent("ann", SPENDS).await;
    let (_, task) = server.post("/companies/default/tasks", &json!({ "title": "Paint" })).await;
    server.run_of(&ann, json!({ "task": id(&task) })).await;
    server.run_of(&ann, json!({})).await;
    let schedule = json!({ "name": "often", "trigger": { "every": "300d" }, "target": { "wake": { "agent": ann } } });
    let (_, schedule) = server.post("/companies/default/schedules", &schedule).await;
    server.post(&format!("/schedules/{}/run", id(&schedule)), &json!({})).await;
    let path = "/companies/default/costs";
    let costs = server.until(path, |costs| costs["total"]["runs"] == 3).await;
    let line = &costs["items"][0];
    assert_eq!((&costs["by"], &line["key"], &line["name"]), (&json!("agent"), &json!(ann), &json!("ann")));
    for sums in [line, &costs["total"]] {
        assert_eq!((&sums["cost_micros"], &sums["input_tokens"]), (&json!(4_500), &json!(30)), "{costs:#}");
        assert_eq!((&sums["output_tokens"], &sums["cache_read_tokens"]), (&json!(15), &json!(6)));
        assert!(sums["cache_write_tokens"] == 3 && sums["duration_ms"].as_i64().unwrap() >= 0);
    }
    assert_eq!(costs["others"], Value::Null);
    let keys = async |by: &str| -> Vec<(Value, Value)> {
        let costs = server.show(&format!("{path}?by={by}")).await;
        costs["items"].as_array().unwrap().iter().map(|line| (line["name"].clone(), line["runs"].clone())).collect()
    };
    let named = json!(format!("{} Paint", task["key"].as_str().unwrap()));
    assert_eq!(keys("task").await, [(Value::Null, json!(2)), (named, json!(1))]);
    assert_eq!(keys("schedule").await, [(Value::Null, json!(2)), (json!("often"), json!(1))]);
    let days = keys("day").await;
    assert!(days[0].0.as_str().unwrap().len() == 10 && days.len() <= 2, "{days:?}");
    for (query, field) in [
        ("by=colour", "by"),
        ("from=yesterday", "from"),
        ("to=x", "to"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "to"),
        ("from=2024-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
    ] {
        assert_field(&server.get(&format!("{path}?{query}")).await, field);
    }
    let told = server.cli(&["costs", "--by", "agent", "--since", "1h"]).await.stdout;
    assert!(told.contains("ann") && told.contains("$0.00") && told.contains("total"), "{told}");
    assert_eq!(server.cli(&["costs", "--json"]).await.json()["total"]["cost_micros"], 4_500);
    assert_eq!(server.cli(&["costs", "--since", "soon"]).await.code, 2);
}

#[tokio::test]
async fn a_timeline_shows_runs_wakeups_and_what_waits() {
    let server = Server::start().await;
    let ann = server.process_agent("ann", "true").await;
    let run = server.run_of(&ann, json!({})).await;
    let later = server.wake(&ann, json!({ "delay_ms": 3_600_000 })).await;
    let shown = server.show("/companies/default/timeline").await;
    assert_eq!(shown["runs"][0]["id"], run["id"]);
    assert_eq!(shown["runs"][0]["finished_at"], run["finished_at"]);
    let wakeups = shown["wakeups"].as_array().unwrap();
    assert_eq!((wakeups.len(), &wakeups[0]["id"], &wakeups[0]["run_id"]), (2, &json!(later), &Value::Null));
    assert_eq!((&wakeups[1]["run_id"], &wakeups[1]["claimed_at"]), (&run["id"], &run["created_at"]));
    assert_eq!((&shown["missed"], &shown["truncated"]), (&json!([]), &json!(false)));
    let before = server.show("/companies/default/timeline?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z").await;
    assert_eq!((&before["runs"], &before["wakeups"]), (&json!([]), &json!([])));
    assert_field(&server.get("/companies/default/timeline?from=x").await, "from");
}

#[tokio::test]
async fn a_search_finds_by_letters_and_by_id_and_nothing_of_another_company() {
    let server = Server::start().await;
    let ann = server.process_agent_with("painter", "true", json!({ "title": "Artist" })).await;
    let (_, task) = server.post("/companies/default/tasks", &json!({ "title": "Repaint the fence" })).await;
    let run = id(&server.run_of(&ann, json!({})).await);
    let found = server.show("/companies/default/search?q=Paint").await;
    let names: Vec<&str> = found["items"].as_array().unwrap().iter().map(|hit| hit["kind"].as_str().unwrap()).collect();
    assert_eq!(names, ["agent", "task"]);
    assert_eq!(found["items"][0], json!({ "kind": "agent", "id": ann, "name": "painter", "detail": "Artist" }));
    let found = server.show(&format!("/companies/default/search?q={run}")).await;
    assert_eq!(found["items"], json!([{ "kind": "run", "id": run, "name": "painter", "detail": "succeeded" }]));
    let key = task["key"].as_str().unwrap();
    assert_eq!(server.show(&format!("/companies/default/search?q={key}")).await["items"][0]["id"], task["id"]);
    assert_eq!(server.show("/companies/default/search?q=").await, json!({ "items": [] }));
    server.post("/companies", &json!({ "slug": "other", "name": "Other" })).await;
    for letters in ["paint", &run] {
        assert_eq!(server.show(&format!("/companies/other/search?q={letters}")).await, json!({ "items": [] }));
    }
    assert_field(&server.get(&format!("/companies/default/search?q={}", "x".repeat(201))).await, "q");
}

#[tokio::test]
async fn a_log_is_looked_through_while_it_is_there() {
    let server = Server::start().await;
    let ann = server.process_agent("ann", "for n in 1 2 3 4 5; do echo \"Step $n of five\"; done; echo done >&2").await;
    let run = id(&server.run_of(&ann, json!({})).await);
    let path = format!("/runs/{run}/log/find");
    let found = server.show(&format!("{path}?q=STEP&limit=2")).await;
    assert_eq!((&found["count"], &found["is_whole"], &found["next_from"]), (&json!(5), &json!(true), &Value::Null));
    let lines = found["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 2);
    let from = server.show(&format!("{path}?q=step&from={}", lines[1])).await;
    assert_eq!((&from["count"], &from["lines"][0]), (&json!(4), &lines[1]));
    let line = server.request(Method::GET, &format!("/runs/{run}/log?line={}&limit=1", lines[1])).send().await.unwrap();
    assert!(line.text().await.unwrap().contains("Step 2"));
    assert_eq!(server.show(&format!("{path}?q=nowhere")).await["count"], 0);
    for (query, field) in [("", "q"), ("q=x&limit=0", "limit"), ("q=x&limit=1001", "limit"), ("q=x&from=0", "from")] {
        assert_field(&server.get(&format!("{path}?{query}")).await, field);
    }
    server.post("/companies", &json!({ "slug": "other", "name": "Other" })).await;
    let other = id(&server.show("/companies/other").await);
    assert_problem(&company_key(&server, &other, "viewer").get(&format!("{path}?q=x")).await, 404);
}

#[tokio::test]
async fn a_stream_brings_the_types_that_were_asked_for_and_resumes_behind_those_it_passed_over() {
    let server = Server::start().await;
    let ann = server.process_agent("ann", "true").await;
    let all = "/companies/default/events";
    let begin = id(server.all(all).await.last().unwrap());
    let mut tasks = follow(&server, &format!("{all}?types=task,escalation"), Some(&begin)).await;
    server.run_of(&ann, json!({})).await;
    let quiet = server.all(all).await;
    let last = id(quiet.last().unwrap());
    // An id without data: the place moves on.
    let mut place = tasks.next().await.unwrap();
    while place.id != last {
        assert_eq!((place.kind.as_str(), &place.data), ("", &Value::Null));
        place = tasks.next().await.unwrap();
    }
    drop(tasks);
    let mut tasks = follow(&server, &format!("{all}?types=task"), Some(&last)).await;
    assert!(tasks.is_silent(Duration::from_millis(300)).await);
    let (_, task) = server.post("/companies/default/tasks", &json!({ "title": "Paint" })).await;
    let told = tasks.next().await.unwrap();
    assert_eq!((told.kind.as_str(), &told.data["subject"]), ("task.created", &task["id"]));
    let page = server.show(&format!("{all}?types=task&limit=200")).await;
    assert_eq!((page["items"].as_array().unwrap().len(), &page["items"][0]["type"]), (1, &json!("task.created")));
    let first = server.show(&format!("{all}?types=task&limit=1")).await;
    assert_eq!((&first["items"], first["next_cursor"].is_string()), (&json!([]), true), "its place moves on, too");
    for wrong in ["", "Run", "run.finished", "run,,task"] {
        assert_field(&server.get(&format!("{all}?types={wrong}")).await, "types");
    }
}
