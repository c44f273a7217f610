//! What a console asks for: names of ids, how the server stands, runs by what a person looks for.

use reqwest::Method;
use serde_json::{Value, json};

use crate::access::company_key;
use crate::shape::assert_field;
use crate::support::{Server, id};

#[tokio::test]
async fn names_are_told_in_the_order_of_the_request_and_only_of_what_the_company_has() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    let (_, task) = server.post("/companies/default/tasks", &json!({ "title": "Paint" })).await;
    let run = id(&server.run_of(&agent, json!({ "task": id(&task) })).await);
    server.post("/companies", &json!({ "slug": "other", "name": "Other" })).await;
    let path = |company: &str| format!("/companies/{company}/names?ids={run},{agent},agt_nope,{},", id(&task));
    let named = format!("{} Paint", task["key"].as_str().unwrap());
    let expected = json!({ "items": [
        { "id": run, "name": format!("ann {}", task["key"].as_str().unwrap()) },
        { "id": agent, "name": "ann" },
        { "id": id(&task), "name": named },
    ]});
    assert_eq!(server.show(&path("default")).await, expected);
    assert_eq!(server.show(&path("other")).await, json!({ "items": [] }));
    assert_field(&server.get("/companies/default/names").await, "ids");
    let many = vec!["agt_x"; 201].join(",");
    assert_field(&server.get(&format!("/companies/default/names?ids={many}")).await, "ids");
}

#[tokio::test]
async fn how_the_server_stands_is_told_to_every_token() {
    let server = Server::start().await;
    let default = id(&server.show("/companies/default").await);
    let viewer = company_key(&server, &default, "viewer");
    let standing = viewer.show("/standing").await;
    assert_eq!((&standing["live_runs"], &standing["is_draining"]), (&json!(0), &json!(false)));
    assert_eq!((&standing["store"], &standing["safe_mode"]), (&json!("sqlite"), &Value::Null));
    let whole = server.show("/server").await;
    for field in standing.as_object().unwrap().keys() {
        assert!(whole.get(field).is_some(), "{field} is in both");
    }
    assert!(whole["recovery"].is_object() && standing.get("recovery").is_none());
    assert_eq!(server.with_token("").get("/standing").await.0, 401);
}

#[tokio::test]
async fn runs_are_found_by_group_source_time_and_text() {
    let server = Server::start().await;
    let ann = server.process_agent("ann", "echo '{\"summary\": \"All painted\"}' > $WAKEFUL_RESULT_FILE").await;
    let bob = server.process_agent("bob", "exit 3").await;
    let (good, bad) = (server.run_of(&ann, json!({})).await, server.run_of(&bob, json!({ "source": "comment" })).await);
    let ids = async |query: &str| -> Vec<String> {
        let page = server.show(&format!("/companies/default/runs?{query}")).await;
        page["items"].as_array().unwrap().iter().map(id).collect()
    };
    assert_eq!(ids("status=ended").await, [id(&bad), id(&good)]);
    assert_eq!(ids("status=live").await, [""; 0]);
    assert_eq!(ids("source=comment").await, [id(&bad)]);
    assert_eq!(ids("q=PAINTED").await, [id(&good)]);
    assert_eq!(server.show("/companies/default/runs?q=nothing").await["searched"], 2);
    assert!(server.show("/companies/default/runs").await.get("searched").is_none());
    let second = bad["created_at"].as_str().unwrap();
    assert_eq!(ids(&format!("since={second}")).await, [id(&bad)]);
    assert_eq!(ids(&format!("until={second}")).await, [id(&good)]);
    let requested = server.show(&format!("/companies/default/wakeups?until={second}")).await;
    assert!(!requested["items"].as_array().unwrap().is_empty());
    for (query, field) in [
        ("runs?status=asleep", "status"),
        ("runs?source=boredom", "source"),
        ("runs?since=yesterday", "since"),
        ("runs?until=1", "until"),
        ("wakeups?since=x", "since"),
        ("wakeups?until=x", "until"),
    ] {
        assert_field(&server.get(&format!("/companies/default/{query}")).await, field);
    }
    let long = "x".repeat(201);
    assert_field(&server.get(&format!("/companies/default/runs?q={long}")).await, "q");
    assert_eq!(server.request(Method::GET, "/companies/default/runs?q=%00").send().await.unwrap().status(), 422);
}

#[tokio::test]
async fn what_needs_a_person_is_counted() {
    let server = Server::start().await;
    let path = "/companies/default/attention";
    let nothing = json!({ "escalations": 0, "dead_letters": 0, "mail": 0, "deliveries": 0, "missed": [] });
    assert_eq!(server.show(path).await, nothing);
    let policy = json!({ "retry": { "delays_s": [], "jitter": 0 } });
    let agent = server.process_agent_with("clumsy", "exit 3", policy).await;
    server.run_of(&agent, json!({})).await;
    server.post("/companies/default/escalations", &json!({ "title": "Which branch?" })).await;
    let (status, mail) = server.post("/companies/default/messages", &json!({ "to": "user", "body": "hello" })).await;
    assert_eq!(status, 201, "{mail}");
    let counted = server.show(path).await;
    let expected = json!({ "escalations": 1, "dead_letters": 1, "mail": 1, "deliveries": 0, "missed": [] });
    assert_eq!(counted, expected);
    let later = server.show(&format!("{path}?since=2126-01-01T00:00:00Z")).await;
    assert_eq!((&later["dead_letters"], &later["mail"]), (&json!(0), &json!(1)), "mail waits however old it is");
    assert_field(&server.get(&format!("{path}?since=nonsense")).await, "since");
    server.post(&format!("/messages/{}/ack", id(&mail)), &json!({})).await;
    assert_eq!(server.show(path).await["mail"], 0);
}

#[tokio::test]
async fn blockers_that_are_done_hold_nothing_up() {
    let server = Server::start().await;
    let add = async |body: Value| id(&server.post("/companies/default/tasks", &body).await.1);
    let (first, second) = (add(json!({ "title": "First" })).await, add(json!({ "title": "Second" })).await);
    let blocked = add(json!({ "title": "Third", "blocked_by": [first, second] })).await;
    let shown = server.show(&format!("/tasks/{blocked}")).await;
    assert_eq!(shown["open_blockers"], shown["blocked_by"]);
    server.patch(&format!("/tasks/{first}"), &json!({ "status": "done" })).await;
    let shown = server.show(&format!("/tasks/{blocked}")).await;
    assert_eq!((&shown["open_blockers"], shown["blocked_by"].as_array().unwrap().len()), (&json!([second]), 2));
    let list = server.show("/companies/default/tasks").await;
    assert_eq!(list["items"][0]["open_blockers"], json!([second]));
}

#[tokio::test]
async fn channels_have_names_too() {
    let server = Server::start().await;
    let body = json!({ "name": "ops", "target": { "command": { "command": ["true"] } } });
    let (status, channel) = server.post("/companies/default/channels", &body).await;
    assert_eq!(status, 201, "{channel}");
    let named = server.show(&format!("/companies/default/names?ids={}", id(&channel))).await;
    assert_eq!(named, json!({ "items": [{ "id": id(&channel), "name": "ops" }] }));
}
