//! What keeps a fleet from running away, and what keeps a host from starting: circuits, loops, escalations, drain,
//! safe mode, memory.

use serde_json::{Value, json};

use crate::shape::assert_problem;
use crate::support::{Server, id};

/// An agent that fails at once and is not tried again.
async fn clumsy(server: &Server) -> String {
    let policy = json!({ "retry": { "delays_s": [], "jitter": 0 } });
    server.process_agent_with("clumsy", "echo 'spilt it' >&2; exit 3", policy).await
}

async fn reason_of(server: &Server, wakeup: &str) -> Value {
    server.show(&format!("/wakeups/{wakeup}")).await["waiting"]["reason"].clone()
}

#[tokio::test]
async fn a_lane_that_fails_five_times_in_a_row_waits_for_a_person_who_is_told() {
    let server = Server::start().await;
    let agent = clumsy(&server).await;
    for _ in 0..5 {
        server.run_of(&agent, json!({})).await;
    }
    let waiting = server.wake(&agent, json!({})).await;
    assert_eq!(reason_of(&server, &waiting).await, "circuit_open");
    let circuits = server.show(&format!("/agents/{agent}")).await["open_circuits"].clone();
    assert_eq!((circuits.as_array().unwrap().len(), &circuits[0]["task"]), (1, &Value::Null), "{circuits:#}");
    let why = server.cli(&["why", &waiting]).await.ok();
    assert!(why.contains("5 runs in a row failed on this lane"), "{why}");
    assert!(why.contains("`wakeful agent resume clumsy`"), "{why}");
    let told = server.cli(&["escalation", "ls"]).await.ok();
    assert!(told.contains("clumsy failed 5 times in a row outside any task"), "{told}");
    assert_eq!(server.show("/companies/default/stats").await["waiting"], json!({ "circuit_open": 1 }));
    server.cli(&["agent", "resume", "clumsy"]).await.ok();
    assert_eq!(server.settled(&waiting).await["status"], "failed");
    assert_eq!(server.cli(&["escalation", "ls"]).await.ok().trim(), "nothing waits for you");
    assert_eq!(server.show(&format!("/agents/{agent}")).await["open_circuits"], json!([]));
    server.assert_sound().await;
}

#[tokio::test]
async fn a_run_says_what_its_wakeup_waits_for_now_and_not_what_it_waited_for_then() {
    let server = Server::start().await;
    let policy = json!({ "retry": { "delays_s": [1, 1, 1, 1, 1, 1], "jitter": 0 } });
    let agent = server.process_agent_with("clumsy", "exit 3", policy).await;
    let wakeup = server.wake(&agent, json!({})).await;
    let path = format!("/wakeups/{wakeup}");
    server.until(&path, |wakeup| wakeup["waiting"]["reason"] == "circuit_open").await;
    let runs = server.show(&format!("/companies/default/runs?agent={agent}")).await;
    let runs = runs["items"].as_array().unwrap();
    assert_eq!(runs.len(), 5);
    let why = server.show(&format!("/runs/{}/why", id(&runs[0]))).await;
    let next = why["next"].as_str().unwrap();
    assert!(next.contains(&format!("{wakeup} waits: 5 runs in a row failed on this lane")), "{next}");
    assert!(next.ends_with("`wakeful agent resume clumsy` lets it start again."), "{next}");
    let end = why["chain"].as_array().unwrap().iter().find(|link| link["kind"] == "finished").unwrap();
    assert_eq!(end["status"], "failed", "{why:#}");
}

#[tokio::test]
async fn agents_that_wake_each_other_without_end_are_cut_and_why_shows_the_whole_chain() {
    let server = Server::start().await;
    server.patch("/companies/default", &json!({ "max_runs_per_root_hour": 4 })).await;
    let ping = server.process_agent("ping", "wakeful wake pong -m 'your turn'").await;
    server.process_agent("pong", "wakeful wake ping -m 'no, yours'").await;
    server.wake(&ping, json!({ "reason": "begin" })).await;
    let skipped = server
        .until("/companies/default/wakeups?status=skipped", |list| !list["items"].as_array().unwrap().is_empty())
        .await["items"][0]
        .clone();
    assert_eq!(skipped["status_reason"], "loop_limit");
    let why = server.cli(&["why", &id(&skipped)]).await.ok();
    assert!(why.starts_with("Not acted on: agents wake each other without end"), "{why}");
    assert_eq!(why.matches("asked ping to wake").count() + why.matches("asked pong to wake").count(), 6, "{why}");
    assert!(why.contains("admin asked ping to wake (manual: begin)"), "{why}");
    let told = server.show("/companies/default/escalations").await;
    assert_eq!((told["items"].as_array().unwrap().len(), &told["items"][0]["kind"]), (1, &json!("loop_limit")));
    server.assert_sound().await;
}

#[tokio::test]
async fn an_escalation_goes_from_open_to_resolved() {
    let server = Server::start().await;
    let agent =
        server.process_agent("ann", "wakeful escalate 'Which red?' -m 'there are two' --severity low --key red").await;
    for _ in 0..2 {
        assert_eq!(server.run_of(&agent, json!({})).await["status"], "succeeded");
    }
    let list = server.show("/companies/default/escalations").await["items"].clone();
    let [raised] = &list.as_array().unwrap()[..] else { panic!("one under its key: {list}") };
    assert_eq!(
        (&raised["count"], &raised["status"], &raised["actor"]["type"]),
        (&json!(2), &json!("open"), &json!("agent"))
    );
    assert!(raised["subject"].as_str().unwrap().starts_with("run_"));
    server.cli(&["escalation", "ack", &id(raised)]).await.ok();
    let path = format!("/companies/default/escalations/{}", id(raised));
    let (status, resolved) = server.post(&format!("{path}/resolve"), &json!({})).await;
    assert_eq!((status, &resolved["status"], &resolved["acked_by"]), (200, &json!("resolved"), &json!("admin")));
    assert_problem(&server.post(&format!("{path}/ack"), &json!({})).await, 409);
    assert_eq!(server.show("/companies/default/escalations?status=open").await["items"], json!([]));
    server.post("/companies", &json!({ "slug": "other", "name": "Other" })).await;
    let elsewhere = format!("/companies/other/escalations/{}/resolve", id(raised));
    assert_problem(&server.post(&elsewhere, &json!({})).await, 404);
}

#[tokio::test]
async fn what_no_retry_mends_is_told_to_the_operator_with_the_remedy() {
    let server = Server::start().await;
    let adapter = json!({ "type": "process", "command": ["no-such-command"] });
    let agent = server.process_agent_with("absent", "", json!({ "adapter": adapter })).await;
    server.run_of(&agent, json!({})).await;
    let told = server.show("/companies/default/escalations").await["items"][0].clone();
    assert_eq!(
        (&told["kind"], &told["title"]),
        (&json!("permanent_failure"), &json!("absent cannot run: command not found"))
    );
    assert!(told["detail"].as_str().unwrap().contains("install the command"), "{told}");
}

#[tokio::test]
async fn a_draining_server_finishes_what_runs_and_starts_nothing() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "until test -e go; do sleep 0.02; done").await;
    let other = server.process_agent("bob", "true").await;
    let live = server.wake(&agent, json!({})).await;
    server.running(&live).await;
    server.cli(&["drain"]).await.ok();
    let waiting = server.wake(&other, json!({})).await;
    assert_eq!(reason_of(&server, &waiting).await, "draining");
    assert_eq!(server.get("/readyz").await.0, 503);
    std::fs::write(server.path().join("agents").join(&agent).join("go"), "").unwrap();
    assert_eq!(server.settled(&live).await["status"], "completed");
    assert_eq!(reason_of(&server, &waiting).await, "draining");
    server.cli(&["drain", "--off"]).await.ok();
    assert_eq!(server.settled(&waiting).await["status"], "completed");
}

#[tokio::test]
async fn in_safe_mode_everything_works_but_nothing_starts() {
    let mut server = Server::start_with(&["--safe-mode"], &[]).await;
    let agent = server.process_agent("ann", "true").await;
    let waiting = server.wake(&agent, json!({})).await;
    assert_eq!(reason_of(&server, &waiting).await, "safe_mode");
    let why = server.cli(&["why", &waiting]).await.ok();
    assert!(why.contains("without --safe-mode"), "{why}");
    assert!(server.stop().await.success());
}

#[tokio::test]
async fn a_host_short_of_memory_starts_nothing_and_says_so() {
    let server = Server::start_with(&["--min-free-memory-mb", "1048576"], &[]).await;
    let agent = server.process_agent("ann", "true").await;
    let waiting = server.wake(&agent, json!({})).await;
    assert_eq!(reason_of(&server, &waiting).await, "host_pressure");
}

#[tokio::test]
async fn a_timer_waits_for_the_agents_active_hours_and_a_person_does_not() {
    let server = Server::start().await;
    // A window of one minute on one day of the week: it is practically never open.
    let hours = json!({ "from": "03:17", "to": "03:18", "days": ["sun"] });
    let heartbeat = json!({ "heartbeat": { "enabled": true, "active_hours": hours, "time_zone": "Europe/Paris" } });
    let agent = server.process_agent_with("ann", "true", heartbeat.clone()).await;
    assert_eq!(server.show(&format!("/agents/{agent}")).await["heartbeat"]["active_hours"], hours);
    let tick = server.wake(&agent, json!({ "source": "timer" })).await;
    let waiting = server.show(&format!("/wakeups/{tick}")).await["waiting"].clone();
    assert_eq!(waiting["reason"], "quiet_hours");
    assert!(waiting["until"].is_string());
    assert_eq!(server.run_of(&agent, json!({})).await["status"], "succeeded");
    assert_eq!(reason_of(&server, &tick).await, "quiet_hours");
    for (wrong, field) in [
        (json!({ "from": "3:17", "to": "04:00" }), "heartbeat.active_hours.from"),
        (json!({ "from": "03:17", "to": "04:00", "days": [] }), "heartbeat.active_hours.days"),
    ] {
        let answer =
            server.patch(&format!("/agents/{agent}"), &json!({ "heartbeat": { "active_hours": wrong } })).await;
        crate::shape::assert_field(&answer, field);
    }
    let zone = json!({ "heartbeat": { "time_zone": "Mars" } });
    crate::shape::assert_field(&server.patch(&format!("/agents/{agent}"), &zone).await, "heartbeat.time_zone");
}
