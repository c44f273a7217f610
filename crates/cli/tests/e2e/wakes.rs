//! Accepting wakes: idempotency, policy, many at once.

use reqwest::Method;
use serde_json::{Value, json};

use crate::shape::{assert_field, assert_problem};
use crate::support::{Server, answer, id};

/// A wake with an `Idempotency-Key` header.
async fn keyed(server: &Server, agent: &str, key: &str, body: &Value) -> (u16, Value) {
    let request = server.request(Method::POST, &format!("/agents/{agent}/wake"));
    answer(request.header("idempotency-key", key).json(body)).await
}

#[tokio::test]
async fn the_same_key_wakes_once_whether_it_stands_in_the_header_or_in_the_body() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    let body = json!({ "reason": "once", "delay_ms": 60_000 });
    let (status, first) = keyed(&server, &agent, "key-1", &body).await;
    assert_eq!((status, &first["idempotency_key"]), (202, &json!("key-1")));
    let in_body = json!({ "idempotency_key": "key-1", "delay_ms": 60_000, "reason": "once" });
    let path = format!("/agents/{agent}/wake");
    for again in [
        keyed(&server, &agent, "key-1", &body).await,
        keyed(&server, &agent, "key-1", &in_body).await,
        server.post(&path, &in_body).await,
    ] {
        assert_eq!(again, (200, first.clone()));
    }
    assert_field(&keyed(&server, &agent, "key-2", &in_body).await, "idempotency_key");
    assert_field(&keyed(&server, &agent, "key-1", &json!({ "reason": "another" })).await, "idempotency_key");
    let other = server.process_agent("bob", "true").await;
    assert_field(&keyed(&server, &other, "key-1", &body).await, "idempotency_key");
    assert_field(&keyed(&server, &agent, &"x".repeat(256), &body).await, "Idempotency-Key");
    assert_eq!(server.all("/companies/default/wakeups").await.len(), 1);
    let accepted = server.all("/companies/default/events").await;
    assert_eq!(accepted.iter().filter(|event| event["type"] == "wakeup.accepted").count(), 1);
}

#[tokio::test]
async fn a_key_gives_its_wakeup_after_that_has_ended_and_a_refusal_is_not_remembered() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    server.post(&format!("/agents/{agent}/pause"), &json!({})).await;
    assert_problem(&keyed(&server, &agent, "key", &json!({})).await, 409);
    server.post(&format!("/agents/{agent}/resume"), &json!({})).await;
    let (status, first) = keyed(&server, &agent, "key", &json!({})).await;
    assert_eq!(status, 202);
    server.settled(&id(&first)).await;
    let (status, again) = keyed(&server, &agent, "key", &json!({})).await;
    assert_eq!((status, id(&again), &again["status"]), (200, id(&first), &json!("completed")));
    assert_eq!(server.all("/companies/default/runs").await.len(), 1);
}

#[tokio::test]
async fn twenty_requests_under_one_key_at_the_same_time_make_one_wakeup() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    let body = json!({ "delay_ms": 60_000 });
    let answers = futures_util::future::join_all((0..20).map(|_| keyed(&server, &agent, "key", &body))).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 202).count(), 1);
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 19);
    assert!(answers.iter().all(|(_, wakeup)| wakeup["id"] == answers[0].1["id"]));
}

#[tokio::test]
async fn a_key_makes_a_company_an_agent_or_a_task_only_once() {
    let server = Server::start().await;
    let cases = [
        ("/companies", json!({ "slug": "acme", "name": "Acme" }), json!({ "slug": "acme", "name": "Other" })),
        (
            "/companies/default/agents",
            json!({ "name": "ann", "adapter": { "type": "process", "command": "true" } }),
            json!({ "name": "ann", "adapter": { "type": "process", "command": "false" } }),
        ),
        ("/companies/default/tasks", json!({ "title": "Paint" }), json!({ "title": "Paint it red" })),
    ];
    for (path, body, other) in cases {
        let send = async |body: &Value| {
            answer(server.request(Method::POST, path).header("idempotency-key", path).json(body)).await
        };
        let before = server.all(path).await.len();
        let first = send(&body).await;
        assert_eq!(first.0, 201);
        assert_eq!(send(&body).await, first);
        assert_field(&send(&other).await, "Idempotency-Key");
        assert_eq!(server.all(path).await.len(), before + 1, "{path}");
    }
}

#[tokio::test]
async fn a_wake_that_policy_declines_is_kept_as_skipped_with_its_reason() {
    let server = Server::start().await;
    let quiet = json!({ "heartbeat": { "enabled": false, "wake_on_demand": false } });
    let quiet = server.process_agent_with("quiet", "true", quiet).await;
    let ann = server.process_agent("ann", "true").await;
    let (_, done) = server.post("/companies/default/tasks", &json!({ "title": "x", "status": "done" })).await;
    let cases = [
        (&quiet, json!({}), "wake_on_demand_disabled"),
        (&quiet, json!({ "source": "timer" }), "heartbeat_disabled"),
        (&ann, json!({ "task": "tsk_00000000000000000000000000" }), "task_not_found"),
        (&ann, json!({ "task": id(&done) }), "task_closed"),
    ];
    for (agent, body, reason) in cases {
        let (status, wakeup) = server.post(&format!("/agents/{agent}/wake"), &body).await;
        assert_eq!((status, &wakeup["status"], &wakeup["status_reason"]), (202, &json!("skipped"), &json!(reason)));
        assert!(wakeup["finished_at"].is_string());
    }
    assert_eq!(server.all("/companies/default/runs").await, Vec::<Value>::new());
    server.assert_sound().await;
}

#[tokio::test]
async fn a_wake_has_the_defaults_of_its_source_and_keeps_what_it_is_given() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    for (source, priority) in
        [("manual", 80), ("goal", 75), ("comment", 70), ("child", 65), ("webhook", 60), ("schedule", 50)]
    {
        let body = json!({ "source": source, "delay_ms": 60_000 });
        let (_, wakeup) = server.post(&format!("/agents/{agent}/wake"), &body).await;
        assert_eq!((&wakeup["source"], &wakeup["priority"]), (&json!(source), &json!(priority)));
    }
    let body = json!({
        "reason": "because", "trigger_detail": "button", "priority": 7, "payload": { "n": [1, { "deep": null }] },
        "context": { "reason": "mine stays" }, "due_at": "2099-01-01T10:00:00.000Z", "max_attempts": 3,
        "expires_at": "2099-01-02T10:00:00+01:00",
    });
    assert_field(&server.post(&format!("/agents/{agent}/wake"), &body).await, "due_at");
    let (_, soon) = server.post(&format!("/agents/{agent}/wake"), &json!({ "delay_ms": 3_600_000 })).await;
    let mut body = body;
    body["due_at"] = soon["due_at"].clone();
    let (status, wakeup) = server.post(&format!("/agents/{agent}/wake"), &body).await;
    assert_eq!(status, 202);
    for field in ["reason", "trigger_detail", "priority", "payload", "due_at", "max_attempts"] {
        assert_eq!(wakeup[field], body[field], "{field}");
    }
    assert_eq!(wakeup["expires_at"], "2099-01-02T09:00:00.000Z");
    assert_eq!(wakeup["context"]["reason"], "mine stays");
    assert_eq!(wakeup["context"]["trigger_detail"], "button");
    assert_eq!((&wakeup["attempt"], &wakeup["count"], &wakeup["depth"]), (&json!(0), &json!(1), &json!(0)));
    assert_eq!(wakeup["root_id"], wakeup["id"]);
}

#[tokio::test]
async fn each_wake_of_a_list_has_its_own_answer_in_the_order_of_the_request() {
    let server = Server::start().await;
    let ann = server.process_agent("ann", "true").await;
    let paused = server.process_agent("paused", "true").await;
    server.post(&format!("/agents/{paused}/pause"), &json!({})).await;
    let wakes = json!({ "wakes": [
        { "agent": "ann", "delay_ms": 60_000, "reason": "by name" },
        { "agent": "nobody" },
        { "agent": ann, "delay_ms": 60_000, "reason": "by id", "idempotency_key": "k" },
        { "agent": "ann", "nope": 1 },
        { "reason": "for whom?" },
        { "agent": "paused" },
        { "agent": "ann", "priority": 500 },
        { "agent": "ann", "delay_ms": 60_000, "reason": "by id", "idempotency_key": "k" },
        5,
        { "agent": "ann", "delay_ms": 60_000, "reason": "last" },
    ] });
    let (status, answered) = server.post("/companies/default/wakes", &wakes).await;
    assert_eq!(status, 202);
    let items = answered["items"].as_array().unwrap();
    let told: Vec<Value> = items
        .iter()
        .map(|item| match &item["error"] {
            Value::Null => item["reason"].clone(),
            error => json!([error["status"], error["errors"][0]["field"]]),
        })
        .collect();
    let expected = json!([
        "by name",
        [404, null],
        "by id",
        [422, "nope"],
        [422, "agent"],
        [409, null],
        [422, "priority"],
        "by id",
        [422, "body"],
        "last"
    ]);
    assert_eq!(json!(told), expected);
    assert_eq!(items[2]["id"], items[7]["id"]);
    assert_eq!(server.all("/companies/default/wakeups").await.len(), 3);
    server.assert_sound().await;
}

#[tokio::test]
async fn a_thousand_wakes_are_one_request_and_a_thousand_and_one_are_too_many() {
    let server = Server::start().await;
    server.process_agent("ann", "true").await;
    let wakes = |count: usize| json!({ "wakes": vec![json!({ "agent": "ann", "delay_ms": 60_000 }); count] });
    assert_field(&server.post("/companies/default/wakes", &wakes(1_001)).await, "wakes");
    assert_eq!(server.show("/companies/default/wakeups?limit=1").await["items"], json!([]));
    let (status, answered) = server.post("/companies/default/wakes", &wakes(1_000)).await;
    assert_eq!(status, 202);
    let mut ids: Vec<String> = answered["items"].as_array().unwrap().iter().map(id).collect();
    assert!(ids.is_sorted(), "accepted in the order of the request");
    ids.dedup();
    assert_eq!(ids.len(), 1_000);
    assert_eq!(server.show("/companies/default/stats").await["wakeups"], json!({ "pending": 1_000 }));
}

#[tokio::test]
async fn a_pending_wakeup_is_cancelled_and_a_failed_one_is_tried_again() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "test -e mended").await;
    let waiting = server.wake(&agent, json!({ "delay_ms": 60_000 })).await;
    let (status, cancelled) = server.post(&format!("/wakeups/{waiting}/cancel"), &json!({})).await;
    assert_eq!((status, &cancelled["status"]), (200, &json!("cancelled")));
    assert_problem(&server.post(&format!("/wakeups/{waiting}/cancel"), &json!({})).await, 409);
    let run = server.run_of(&agent, json!({})).await;
    let failed = server.settled(&id(&run["wakeups"][0])).await;
    assert_eq!(
        (&failed["status"], &failed["error_code"], &failed["attempt"]),
        (&json!("failed"), &json!("exit_nonzero"), &json!(1))
    );
    std::fs::write(server.path().join("agents").join(&agent).join("mended"), "").unwrap();
    let (status, retried) = server.post(&format!("/wakeups/{}/retry", id(&failed)), &json!({})).await;
    assert_eq!((status, &retried["attempt"]), (200, &json!(0)));
    assert_eq!(server.settled(&id(&failed)).await["status"], "completed");
    server.assert_sound().await;
}
