//! What happens while a run is live: follow-ups, inbox, checkpoint, progress; and what comes too late.

use std::fs;

use serde_json::{Value, json};

use crate::shape::{assert_field, assert_problem};
use crate::support::{Client, Server, id, run_token};

const WAITS: &str = "until test -e go; do sleep 0.02; done";

fn let_go(server: &Server, agent: &str) {
    fs::write(server.path().join("agents").join(agent).join("go"), "").unwrap();
}

/// A live run of a new agent that waits to be let go, and a client with its token.
async fn live(server: &Server, name: &str, more: Value) -> (String, Value, Client) {
    let agent = server.process_agent_with(name, WAITS, more).await;
    let run = server.running(&server.wake(&agent, json!({ "reason": "first" })).await).await;
    let own = server.with_token(&run_token(&run));
    (agent, run, own)
}

#[tokio::test]
async fn wakes_that_come_mid_run_make_exactly_one_follow_up_with_all_of_them() {
    let server = Server::start().await;
    let (agent, run, _) = live(&server, "ann", json!({})).await;
    let mut later = Vec::new();
    for number in 0..5 {
        later.push(server.wake(&agent, json!({ "reason": format!("later {number}") })).await);
    }
    let waiting = server.show(&format!("/wakeups/{}", later[0])).await;
    assert_eq!((&waiting["status"], &waiting["waiting"]["reason"]), (&json!("pending"), &json!("lane_busy")));
    assert!(waiting["waiting"]["detail"].as_str().unwrap().contains(&id(&run)));
    let_go(&server, &agent);
    let mut runs = Vec::new();
    for wakeup in &later {
        runs.push(server.settled(wakeup).await["run_id"].clone());
    }
    assert!(runs.iter().all(|run| *run == runs[0]) && runs[0] != run["id"]);
    let follow_up = server.show(&format!("/runs/{}", runs[0].as_str().unwrap())).await;
    let batch: Vec<String> = follow_up["wakeups"].as_array().unwrap().iter().map(id).collect();
    assert_eq!(batch, later);
    assert_eq!(server.all("/companies/default/runs").await.len(), 2);
    server.assert_sound().await;
}

#[tokio::test]
async fn a_nudge_waits_in_the_inbox_until_it_is_read_and_starts_nothing() {
    let server = Server::start().await;
    let script = "until wakeful inbox | grep -q 'nudge.*Nothing was heard'; do sleep 0.1; done; wakeful inbox --ack-all; wakeful inbox";
    let more = json!({ "limits": { "stale_after_s": 3, "grace_s": 1 } });
    let agent = server.process_agent_with("ann", script, more.clone()).await;
    let run = server.run_of(&agent, json!({})).await;
    assert_eq!(run["status"], "succeeded", "{run:#}");
    let text = server.stdout(&id(&run)).await;
    assert!(text.contains("[nudge] Nothing was heard from you") && text.ends_with("nothing new\n"), "{text}");
    let events = server.show(&format!("/runs/{}/events", id(&run))).await;
    let kinds: Vec<&str> =
        events["items"].as_array().unwrap().iter().filter_map(|event| event["type"].as_str()).collect();
    assert!(kinds.contains(&"nudged") && kinds.contains(&"message_read"), "{kinds:?}");

    // Unread, it ends with its run.
    let (deaf, run, own) = live(&server, "deaf", more).await;
    let inbox = server.until(&format!("/runs/{}/inbox", id(&run)), |inbox| inbox["messages"][0].is_object()).await;
    let message = &inbox["messages"][0];
    assert_eq!(message["kind"], "nudge");
    assert_eq!(own.show("/me").await["inbox"], json!({ "wakeups": 0, "messages": 1 }));
    let body = json!({ "messages": ["nudge-0"] });
    let (status, answer) = own.post(&format!("/runs/{}/inbox/ack", id(&run)), &body).await;
    assert_eq!((status, &answer["refused"][0]["reason"]), (200, &json!("not_found")));
    let_go(&server, &deaf);
    server.finished(&id(&run)).await;
    assert_eq!(server.show(&format!("/runs/{}/inbox", id(&run))).await["messages"], json!([]));
    assert_eq!(server.all(&format!("/companies/default/runs?agent={deaf}")).await.len(), 1, "nothing follows");
    server.assert_sound().await;
}

#[tokio::test]
async fn what_a_run_acknowledges_shares_its_end_and_makes_no_follow_up() {
    let server = Server::start().await;
    let script = "until wakeful inbox | grep -q later; do sleep 0.05; done; wakeful inbox --ack-all";
    let agent = server.process_agent("ann", script).await;
    let first = server.wake(&agent, json!({})).await;
    let run = id(&server.running(&first).await);
    let second = server.wake(&agent, json!({ "reason": "later" })).await;
    let settled = server.settled(&second).await;
    assert_eq!((&settled["status"], settled["run_id"].as_str()), (&json!("completed"), Some(run.as_str())));
    let run = server.finished(&run).await;
    let leads: Vec<&Value> = run["wakeups"].as_array().unwrap().iter().map(|wakeup| &wakeup["lead"]).collect();
    assert_eq!(leads, [&json!(true), &json!(false)]);
    assert!(server.stdout(&id(&run)).await.contains("1 taken over"));
    assert_eq!(server.all("/companies/default/runs").await.len(), 1);
    server.assert_sound().await;
}

#[tokio::test]
async fn an_acknowledgement_can_be_repeated_and_refuses_by_name_what_is_not_the_runs_to_take() {
    let server = Server::start().await;
    let policy = json!({ "retry": { "delays_s": [3_600], "jitter": 0 } });
    let (agent, run, own) = live(&server, "ann", policy).await;
    let (bob, ..) = live(&server, "bob", json!({})).await;
    let eligible = server.wake(&agent, json!({ "reason": "second" })).await;
    let not_due = server.wake(&agent, json!({ "delay_ms": 3_600_000 })).await;
    let other_lane = server.wake(&bob, json!({})).await;
    let unknown = "wak_00000000000000000000000000";
    let inbox = own.show(&format!("/runs/{}/inbox", id(&run))).await;
    assert_eq!((id(&inbox["wakeups"][0]), inbox["wakeups"].as_array().unwrap().len()), (eligible.clone(), 1));
    assert_eq!(own.show("/me").await["inbox"], json!({ "wakeups": 1, "messages": 0 }));
    let path = format!("/runs/{}/inbox/ack", id(&run));
    let wanted =
        json!({ "wakeups": [eligible, not_due, other_lane, unknown, id(&run["wakeups"][0])], "messages": ["msg_x"] });
    let expected = json!({
        "acknowledged": [eligible, id(&run["wakeups"][0])],
        "refused": [
            { "id": not_due, "reason": "not_due" }, { "id": other_lane, "reason": "other_lane" },
            { "id": unknown, "reason": "not_found" }, { "id": "msg_x", "reason": "not_found" },
        ],
    });
    for _ in 0..2 {
        assert_eq!(own.post(&path, &wanted).await, (200, expected.clone()));
    }
    assert_field(&own.post(&path, &json!({ "wakeups": ["nope"] })).await, "wakeups");
    assert_eq!(own.show(&format!("/runs/{}/inbox", id(&run))).await["wakeups"], json!([]));
    server.post(&format!("/runs/{}/finish", id(&run)), &json!({ "fence": run["fence"], "outcome": "failed" })).await;
    let_go(&server, &agent);
    server.finished(&id(&run)).await;
    for wakeup in [&eligible, &id(&run["wakeups"][0])] {
        let put_back = server.show(&format!("/wakeups/{wakeup}")).await;
        assert_eq!(
            (&put_back["status"], &put_back["error_code"]),
            (&json!("pending"), &json!("agent_error")),
            "{wakeup}"
        );
        assert_eq!(put_back["waiting"]["reason"], "not_due");
    }
    server.assert_sound().await;
}

#[tokio::test]
async fn a_checkpoint_reaches_the_next_run_of_its_lane_and_no_other() {
    let server = Server::start().await;
    let script = r#"cat "$WAKEFUL_CONTEXT_FILE"; wakeful checkpoint "{\"by\": \"$WAKEFUL_RUN\"}" >&2"#;
    let ann = server.process_agent("ann", script).await;
    let bob = server.process_agent("bob", script).await;
    let (_, task) = server.post("/companies/default/tasks", &json!({ "title": "Paint" })).await;
    let seen = async |agent: &str, body: Value| {
        let run = server.run_of(agent, body).await;
        assert_eq!(run["status"], "succeeded", "{run:#}");
        let context: Value = serde_json::from_str(&server.stdout(&id(&run)).await).unwrap();
        (id(&run), context["checkpoint"].clone())
    };
    let (first, noted) = seen(&ann, json!({})).await;
    assert_eq!(noted, Value::Null);
    assert_eq!(server.show(&format!("/runs/{first}/checkpoint")).await, json!({ "by": first }));
    assert_eq!(seen(&ann, json!({ "task": id(&task) })).await.1, Value::Null, "another lane of the agent");
    assert_eq!(seen(&bob, json!({})).await.1, Value::Null, "another agent");
    assert_eq!(seen(&ann, json!({})).await.1, json!({ "by": first }), "the same lane");
}

#[tokio::test]
async fn a_checkpoint_is_any_json_up_to_256_kib() {
    let server = Server::start().await;
    let (_, run, own) = live(&server, "ann", json!({})).await;
    let path = format!("/runs/{}/checkpoint", id(&run));
    assert_eq!(own.show(&path).await, Value::Null);
    for note in [json!({ "a": [1, null] }), json!("text"), json!([1, 2]), json!(7), json!("x".repeat(256 * 1024 - 2))] {
        assert_eq!(own.put(&path, &note).await, (200, note.clone()));
        assert_eq!(own.show(&path).await, note);
    }
    assert_problem(&own.put(&path, &json!("x".repeat(256 * 1024 - 1))).await, 413);
}

#[tokio::test]
async fn progress_is_kept_with_its_usage_and_run_events_have_no_gap_whoever_writes_at_once() {
    let server = Server::start().await;
    let (agent, run, own) = live(&server, "ann", json!({})).await;
    let path = format!("/runs/{}/progress", id(&run));
    let usage = json!({ "input_tokens": 7, "output_tokens": 3, "cache_read_tokens": 0, "cache_write_tokens": 0 });
    let (status, shown) =
        own.post(&path, &json!({ "message": "half way", "usage": usage, "data": { "percent": 50 } })).await;
    assert_eq!((status, &shown["usage"]), (200, &usage));
    assert!(shown["last_event_at"].is_string());
    let many = (0..250).map(|number| {
        let (own, path) = (&own, &path);
        async move { own.post(path, &json!({ "message": format!("step {number}") })).await.0 }
    });
    assert!(futures_util::future::join_all(many).await.iter().all(|status| *status == 200));
    let_go(&server, &agent);
    server.finished(&id(&run)).await;
    let (mut events, mut after) = (Vec::new(), 0);
    loop {
        let page = server.show(&format!("/runs/{}/events?after={after}", id(&run))).await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 200);
        let Some(last) = items.last() else { break };
        after = last["seq"].as_i64().unwrap();
        events.extend(items.iter().cloned());
    }
    let numbers: Vec<i64> = events.iter().map(|event| event["seq"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (1..=i64::try_from(events.len()).unwrap()).collect::<Vec<_>>());
    let progress: Vec<&Value> = events.iter().filter(|event| event["type"] == "progress").collect();
    assert_eq!(progress.len(), 251);
    assert_eq!((&progress[0]["message"], &progress[0]["data"]["percent"]), (&json!("half way"), &json!(50)));
    server.assert_sound().await;
}

#[tokio::test]
async fn a_write_after_the_end_is_fenced_kept_as_an_event_and_changes_nothing() {
    let server = Server::start().await;
    let (agent, run, own) = live(&server, "ann", json!({})).await;
    let path = format!("/runs/{}", id(&run));
    let old_fence = json!({ "fence": 0, "outcome": "failed", "error": "an old one" });
    let refused = own.post(&format!("{path}/finish"), &old_fence).await;
    assert_problem(&refused, 409);
    assert_eq!(refused.1["code"], "fenced");
    let_go(&server, &agent);
    let ended = server.finished(&id(&run)).await;
    assert_eq!(ended["status"], "succeeded");
    let waiting = server.wake(&agent, json!({ "delay_ms": 60_000 })).await;
    let late = [
        own.post(&format!("{path}/progress"), &json!({ "message": "late progress" })).await,
        own.post(
            &format!("{path}/finish"),
            &json!({ "fence": run["fence"], "outcome": "failed", "error": "late result" }),
        )
        .await,
        own.post(&format!("{path}/inbox/ack"), &json!({ "wakeups": [waiting] })).await,
        own.put(&format!("{path}/checkpoint"), &json!({ "late": "checkpoint" })).await,
    ];
    for refused in &late {
        assert_problem(refused, 409);
        assert_eq!((&refused.1["code"], &refused.1["current"]), (&json!("fenced"), &json!("succeeded")));
    }
    let mut after = server.show(&path).await;
    after["last_event_at"] = ended["last_event_at"].clone();
    assert_eq!(after, ended);
    assert_eq!(server.show(&format!("{path}/checkpoint")).await, Value::Null);
    assert_eq!(server.show(&format!("/wakeups/{waiting}")).await["status"], "pending");
    let events = server.show(&format!("{path}/events")).await;
    let kept: Vec<&Value> =
        events["items"].as_array().unwrap().iter().filter(|event| event["type"] == "late").collect();
    assert_eq!(kept.len(), 5, "{events:#}");
    assert!(kept.iter().any(|event| event["data"]["error"] == "late result"));
    server.assert_sound().await;
}

#[tokio::test]
async fn a_run_cannot_wake_its_own_lane_now_but_may_ask_for_later_and_for_others() {
    let server = Server::start().await;
    let (agent, run, own) = live(&server, "ann", json!({})).await;
    let path = format!("/agents/{agent}/wake");
    let (status, skipped) = own.post(&path, &json!({})).await;
    assert_eq!(
        (status, &skipped["status"], &skipped["status_reason"]),
        (202, &json!("skipped"), &json!("self_caused"))
    );
    let (_, later) = own.post(&path, &json!({ "delay_ms": 60_000 })).await;
    assert_eq!(later["status"], "pending");
    let bob = server.process_agent("bob", "true").await;
    let (_, caused) = own.post(&format!("/agents/{bob}/wake"), &json!({ "reason": "help" })).await;
    assert_eq!((&caused["cause_id"], &caused["depth"]), (&run["id"], &json!(1)));
    assert_eq!(caused["root_id"], run["wakeups"][0]["id"]);
    assert_eq!(caused["actor"], json!({ "type": "agent", "id": agent }));
    assert_eq!(server.settled(&id(&caused)).await["status"], "completed");
}

#[tokio::test]
async fn an_agent_comments_and_asks_with_two_words() {
    let server = Server::start().await;
    let script =
        "wakeful comment 'half done' && wakeful ask 'may I drop it?' && wakeful ask 'may I drop it?' && wakeful skill";
    let agent = server.process_agent("ann", script).await;
    let (status, task) = server.post("/companies/default/tasks", &json!({ "title": "t", "assignee": agent })).await;
    assert_eq!(status, 201, "{task}");
    let runs = |found: &serde_json::Value| {
        found["items"].as_array().is_some_and(|runs| runs.iter().any(|run| run["finished_at"].is_string()))
    };
    let runs = server.until("/companies/default/runs", runs).await;
    let run = &runs["items"][0];
    assert_eq!(run["status"], "succeeded", "{run:#}");
    assert!(server.stdout(&id(run)).await.contains("# Working under Wakeful"));
    let comments = server.show(&format!("/tasks/{}/comments", id(&task))).await;
    assert_eq!(comments["items"][0]["body"], "half done");
    let asked = server.show("/companies/default/escalations").await;
    let asked = asked["items"].as_array().unwrap();
    assert_eq!((asked.len(), &asked[0]["title"], &asked[0]["count"]), (1, &json!("may I drop it?"), &json!(2)));
    assert!(asked[0]["detail"].as_str().unwrap().contains("wakeful wake ann --task"), "{asked:?}");
    let outside = server.cli(&["comment", "x"]).await;
    assert!(outside.code == 2 && outside.stderr.contains("within a run only"), "{}", outside.stderr);
}

#[tokio::test]
async fn the_processes_of_a_live_run_can_be_seen() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "sleep 61 & sleep 62 & wait").await;
    let run = id(&server.running(&server.wake(&agent, json!({})).await).await);
    let path = format!("/runs/{run}/processes");
    let tree = server.until(&path, |tree| tree["items"].as_array().is_some_and(|items| items.len() == 3)).await;
    let commands: Vec<_> =
        tree["items"].as_array().unwrap().iter().map(|one| one["command"].as_str().unwrap()).collect();
    assert!(commands[0].starts_with("/bin/sh -c") && commands.contains(&"sleep 61"), "{commands:?}");
    assert_eq!(tree["items"][1]["parent"], tree["items"][0]["pid"]);
    let shown = server.cli(&["run", "show", &run]).await.stdout;
    assert!(shown.contains("processes") && shown.contains("sleep 62"), "{shown}");
    server.post(&format!("/runs/{run}/cancel"), &json!({})).await;
    server.finished(&run).await;
    assert_eq!(server.show(&path).await["items"], json!([]));
}
