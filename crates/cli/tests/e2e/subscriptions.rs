//! Subscriptions from outside: waits of agents, topics, keys; a server that is killed; who may subscribe whom.

use std::fs;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::shape::{assert_code, assert_field};
use crate::support::{Server, id, run_token};

const SUBSCRIPTIONS: &str = "/companies/default/subscriptions";

/// The wakeups of an agent that come of subscriptions.
async fn told(server: &Server, agent: &str) -> Vec<Value> {
    server.all(&format!("/companies/default/wakeups?agent={agent}&source=subscription")).await
}

async fn subscribe(server: &Server, body: Value) -> Value {
    let (status, made) = server.post(SUBSCRIPTIONS, &body).await;
    assert_eq!(status, 201, "{made:#}");
    made
}

#[tokio::test]
async fn eight_children_finish_and_the_server_is_killed_at_once() {
    let mut server = Server::start().await;
    let parent = server.process_agent("parent", "true").await;
    server.post(&format!("/agents/{parent}/pause"), &json!({})).await;
    let mut runs = Vec::new();
    for n in 0..8 {
        let more = json!({ "max_concurrent_runs": 1 });
        let worker =
            server.process_agent_with(&format!("w{n}"), "until test -e ../go; do sleep 0.02; done", more).await;
        runs.push((worker.clone(), server.wake(&worker, json!({})).await));
    }
    server.patch("/companies/default", &json!({ "max_concurrent_runs": 20 })).await;
    for (_, wakeup) in &runs {
        let run = server.running(wakeup).await;
        subscribe(&server, json!({ "agent": parent, "source": { "run": id(&run) } })).await;
    }
    fs::write(server.path().join("agents/go"), "").unwrap();
    // As soon as the first is told the server is gone, in the middle of the others.
    server.until(&format!("/companies/default/wakeups?agent={parent}"), |page| page["items"][0].is_object()).await;
    server.kill9();
    server.start_again().await;
    for (_, wakeup) in &runs {
        server.settled(wakeup).await;
    }
    let told = told(&server, &parent).await;
    let mut children: Vec<String> =
        told.iter().map(|one| one["payload"]["finished_child"]["run"].as_str().unwrap().to_owned()).collect();
    children.sort_unstable();
    children.dedup();
    assert_eq!((told.len(), children.len()), (8, 8), "each once");
    server.post(&format!("/agents/{parent}/resume"), &json!({})).await;
    let run = server.settled(&id(&told[0])).await["run_id"].clone();
    for one in &told {
        assert_eq!(server.settled(&id(one)).await["run_id"], run, "all in one run");
    }
    server.assert_sound().await;
}

#[tokio::test]
async fn windows_and_waits_are_kept_by_a_server_that_is_killed() {
    let mut server = Server::start().await;
    let ann = server.process_agent("ann", "true").await;
    let burst = json!({ "agent": ann, "source": { "topic": "burst" }, "debounce": "2s" });
    subscribe(&server, burst).await;
    let silent = json!({ "agent": ann, "source": { "topic": "silent" }, "once": true, "timeout": "2s" });
    let silent = subscribe(&server, silent).await;
    for n in 0..3 {
        let (status, published) = server.post("/companies/default/topics/burst/publish", &json!({ "n": n })).await;
        assert_eq!((status, &published["matched"]), (200, &json!(1)));
    }
    server.kill9();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    server.start_again().await;
    server.until(&format!("/subscriptions/{}", id(&silent)), |one| one["end_reason"] == "timed_out").await;
    server.until(&format!("{SUBSCRIPTIONS}?topic=burst"), |page| page["items"][0]["wakeups"] == 1).await;
    let told = told(&server, &ann).await;
    assert_eq!(told.len(), 2);
    let of = |topic: &str| told.iter().find(|one| one["payload"]["source"]["topic"] == topic).unwrap();
    let numbers: Vec<&Value> =
        of("burst")["payload"]["matches"].as_array().unwrap().iter().map(|one| &one["data"]["n"]).collect();
    assert_eq!(numbers, [0, 1, 2]);
    assert_eq!(of("silent")["payload"]["timeout"], true);
    server.assert_sound().await;
}

#[tokio::test]
async fn an_agent_waits_inside_its_run_and_is_woken() {
    let server = Server::start().await;
    let script = r#"if [ "$WAKEFUL_SOURCE" = subscription ]; then
        echo "woken: $WAKEFUL_REASON"
    else
        wakeful wait topic answer --filter '{"to": "ann"}' --timeout 1h
    fi"#;
    let ann = server.process_agent("ann", script).await;
    let first = server.run_of(&ann, json!({})).await;
    let text = server.stdout(&id(&first)).await;
    assert!(text.contains("you are woken when it comes"), "{text}");
    let why = server.show(&format!("/agents/{ann}/why")).await;
    assert!(why["next"].as_str().unwrap().contains("ann waits for topic.published of topic answer, until"), "{why:#}");
    server.post("/companies/default/topics/answer/publish", &json!({ "to": "bob" })).await;
    assert!(told(&server, &ann).await.is_empty());
    let published = server.cli(&["publish", "answer", r#"{"to": "ann"}"#]).await;
    assert_eq!(published.stdout.trim(), "1 subscription was told");
    let [told] = &told(&server, &ann).await[..] else { panic!("one wakeup") };
    let wakeup = server.settled(&id(told)).await;
    let run = wakeup["run_id"].as_str().unwrap().to_owned();
    assert_eq!(server.stdout(&run).await, "woken: something was published to the topic `answer`\n");
    let why = server.show(&format!("/wakeups/{}/why", id(told))).await;
    let asked = why["chain"].as_array().unwrap().iter().find(|link| link["id"] == told["id"]).unwrap();
    let text = asked["text"].as_str().unwrap();
    assert!(
        text.starts_with(
            "ann was woken because something was published to the topic `answer`, which ann asked for at 20"
        ),
        "{text}"
    );
    server.assert_sound().await;
}

#[tokio::test]
async fn a_run_waits_for_a_child_that_has_ended_already() {
    let server = Server::start().await;
    let bob = server.process_agent("bob", "true").await;
    let child = server.run_of(&bob, json!({})).await;
    let script = format!(
        r#"if [ "$WAKEFUL_SOURCE" = subscription ]; then echo again; else wakeful wait run {}; fi"#,
        id(&child)
    );
    let ann = server.process_agent("ann", &script).await;
    let first = server.run_of(&ann, json!({})).await;
    assert!(server.stdout(&id(&first)).await.contains("it has come already"));
    let [told] = &told(&server, &ann).await[..] else { panic!("one wakeup") };
    assert_eq!(server.settled(&id(told)).await["status"], "completed");
    server.assert_sound().await;
}

#[tokio::test]
async fn verbs_of_subscriptions_make_list_show_and_remove_them() {
    let server = Server::start().await;
    server.process_agent("ann", "true").await;
    let bob = server.process_agent("bob", "true").await;
    let add = ["subscription", "add", "ann", "agent", "bob", "--on", "run.failed", "--key", "k", "--json"];
    let made: Value = serde_json::from_str(&server.cli(&add).await.stdout).unwrap();
    assert_eq!((&made["on"], &made["source"]["agent"]), (&json!(["run.failed"]), &json!(bob)));
    let again: Value = serde_json::from_str(&server.cli(&add).await.stdout).unwrap();
    assert_eq!(again["id"], made["id"]);
    let listed = server.cli(&["subscription", "ls"]).await.stdout;
    assert!(listed.contains("run.failed") && listed.lines().count() == 2, "{listed}");
    let shown = server.cli(&["subscription", "show", &id(&made)]).await.stdout;
    assert!(shown.contains("waits"), "{shown}");
    assert_eq!(server.cli(&["subscription", "rm", &id(&made)]).await.code, 0);
    assert_eq!(server.cli(&["subscription", "show", &id(&made)]).await.code, 3);
    assert_eq!(server.cli(&["subscription", "add", "ann", "agent", "bob", "--filter", "1"]).await.code, 2);
    assert_eq!(server.cli(&["subscription", "add", "nobody", "agent", "bob"]).await.code, 3);
    assert_eq!(server.cli(&["wait", "topic", "t"]).await.code, 2, "within a run only");
    assert_eq!(server.cli(&["publish", "a b"]).await.code, 2);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_its_field() {
    let server = Server::start().await;
    let ann = server.process_agent("ann", "true").await;
    let topic = json!({ "topic": "t" });
    let check = async |body: Value, field: &str| {
        let (status, problem) = server.post(SUBSCRIPTIONS, &body).await;
        assert_field(&(status, problem), field);
    };
    check(json!({ "source": topic }), "agent").await;
    check(json!({ "agent": ann }), "source").await;
    check(json!({ "agent": ann, "source": {} }), "source").await;
    check(json!({ "agent": ann, "source": { "topic": "t", "agent": "ann" } }), "source").await;
    check(json!({ "agent": ann, "source": { "topic": "a b" } }), "source.topic").await;
    check(json!({ "agent": ann, "source": { "run": "tsk_1" } }), "source.run").await;
    check(json!({ "agent": ann, "source": { "task": "T-99" } }), "source.task").await;
    check(json!({ "agent": ann, "source": { "agent": "nobody" } }), "source.agent").await;
    check(json!({ "agent": ann, "source": { "webhook": "nothing" } }), "source.webhook").await;
    check(json!({ "agent": ann, "source": topic, "on": [] }), "on").await;
    check(json!({ "agent": ann, "source": topic, "on": ["run.finished"] }), "on[0]").await;
    check(json!({ "agent": ann, "source": topic, "on": ["nope"] }), "on[0]").await;
    check(json!({ "agent": ann, "source": topic, "filter": { "a": { "gt": 1 } } }), "filter.a").await;
    check(json!({ "agent": ann, "source": topic, "filter": { "a..b": 1 } }), "filter.a..b").await;
    check(json!({ "agent": ann, "source": topic, "filter": [1] }), "filter").await;
    check(json!({ "agent": ann, "source": topic, "debounce": "soon" }), "debounce").await;
    check(json!({ "agent": ann, "source": topic, "debounce": "25h" }), "debounce").await;
    check(json!({ "agent": ann, "source": topic, "timeout": "10ms" }), "timeout").await;
    check(json!({ "agent": ann, "source": topic, "key": "" }), "key").await;
    check(json!({ "agent": ann, "source": topic, "payload": { "source": 1 } }), "payload.source").await;
    check(json!({ "agent": ann, "source": topic, "payload": { "x": "y".repeat(70_000) } }), "payload").await;
    check(json!({ "agent": ann, "source": topic, "nope": 1 }), "nope").await;

    let publish = "/companies/default/topics/t/publish";
    let (status, problem) = server.post(publish, &json!([1])).await;
    assert_field(&(status, problem), "body");
    let many: serde_json::Map<String, Value> = (0..501).map(|n| (format!("f{n}"), json!(n))).collect();
    let (status, problem) = server.post(publish, &Value::Object(many)).await;
    assert_field(&(status, problem), "body");
    let (status, problem) = server.post(publish, &json!({ "x": "y".repeat(256 * 1024) })).await;
    assert_code(&problem, 413, "too_large");
    assert_eq!(status, 413);
    let (status, problem) = server.post("/companies/default/topics/a%20b/publish", &json!({})).await;
    assert_field(&(status, problem), "name");
}

#[tokio::test]
async fn an_agent_subscribes_itself_only_and_no_other_company() {
    let server = Server::start().await;
    let bob = server.process_agent("bob", "true").await;
    let ann = server.process_agent("ann", "until test -e go; do sleep 0.02; done").await;
    let theirs = subscribe(&server, json!({ "agent": bob, "source": { "topic": "t" } })).await;
    let run = server.running(&server.wake(&ann, json!({})).await).await;
    let own = server.with_token(&run_token(&run));
    let (status, mine) = own.post(SUBSCRIPTIONS, &json!({ "source": { "topic": "t" } })).await;
    assert_eq!((status, &mine["agent"], &mine["by_run"]), (201, &json!(ann), &run["id"]));
    let (_, problem) = own.post(SUBSCRIPTIONS, &json!({ "agent": bob, "source": { "topic": "t" } })).await;
    assert_code(&problem, 403, "forbidden");
    let (_, problem) = own.delete(&format!("/subscriptions/{}", id(&theirs))).await;
    assert_code(&problem, 403, "forbidden");
    assert_eq!(own.delete(&format!("/subscriptions/{}", id(&mine))).await.0, 204);
    let (_, problem) = own.post("/companies/default/webhooks", &json!({ "name": "w" })).await;
    assert_code(&problem, 403, "forbidden");

    let (_, other) = server.post("/companies", &json!({ "slug": "other", "name": "Other" })).await;
    let (status, problem) = own.get(&format!("/companies/{}/subscriptions", id(&other))).await;
    assert_code(&problem, 404, "not_found");
    assert_eq!(status, 404);
    let (status, problem) =
        server.post("/companies/other/subscriptions", &json!({ "agent": ann, "source": { "topic": "t" } })).await;
    assert_field(&(status, problem), "agent");
    let (status, _) = own.post("/companies/other/topics/t/publish", &json!({})).await;
    assert_eq!(status, 404);
    fs::write(server.path().join("agents").join(&ann).join("go"), "").unwrap();
    server.finished(&id(&run)).await;
    let (status, _) = own.post(SUBSCRIPTIONS, &json!({ "source": { "topic": "t" } })).await;
    assert_eq!(status, 401, "its run is over");
    server.assert_sound().await;
}

#[tokio::test]
async fn a_request_that_is_sent_twice_subscribes_and_publishes_once() {
    let server = Server::start().await;
    let ann = server.process_agent("ann", "true").await;
    let twice = async |path: &str, body: Value| {
        let mut answers = Vec::new();
        for _ in 0..2 {
            let request = server.request(Method::POST, path).header("idempotency-key", path).json(&body);
            let answer = request.send().await.unwrap();
            answers.push(answer.json::<Value>().await.unwrap());
        }
        answers
    };
    let made = twice(SUBSCRIPTIONS, json!({ "agent": ann, "source": { "topic": "t" } })).await;
    assert_eq!(made[0]["id"], made[1]["id"]);
    let published = twice("/companies/default/topics/t/publish", json!({ "n": 1 })).await;
    assert_eq!(published[0], published[1]);
    assert_eq!((&published[0]["matched"], told(&server, &ann).await.len()), (&json!(1), 1));
}

#[tokio::test]
async fn a_message_to_a_busy_agent_survives_the_server() {
    let mut server = Server::start().await;
    let ann = server.process_agent("ann", "until test -e go; do sleep 0.02; done").await;
    subscribe(&server, json!({ "agent": ann, "source": { "topic": "t" } })).await;
    let run = server.running(&server.wake(&ann, json!({})).await).await;
    for n in 0..5 {
        server.post("/companies/default/topics/t/publish", &json!({ "n": n })).await;
    }
    server.kill9();
    server.start_again().await;
    fs::write(server.path().join("agents").join(&ann).join("go"), "").unwrap();
    server.finished(&id(&run)).await;
    let told = told(&server, &ann).await;
    let mut runs: Vec<Value> = Vec::new();
    for one in &told {
        runs.push(server.settled(&id(one)).await["run_id"].clone());
    }
    runs.dedup();
    assert_eq!((told.len(), runs.len()), (5, 1), "one follow-up with all of them");
    server.assert_sound().await;
}
