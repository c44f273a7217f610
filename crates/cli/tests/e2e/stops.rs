//! Stopping: a run is over when its whole process tree is, and what becomes of its wakeups is said.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::support::{Client, Server, id, is_alive};

/// Four processes that ignore SIGTERM: the leader, its child, one in a session of its own, and one
/// there that nobody is the parent of. Each leaves its pid in a file.
const STUBBORN: &str = "trap '' TERM
    setsid sh -c 'echo $$ > session; exec sleep 600' &
    (setsid sh -c 'echo $$ > orphan; exec sleep 600' &)
    sh -c 'echo $$ > child; exec sleep 600' &
    echo $$ > leader
    sleep 600; sleep 600";
const STUBBORN_FILES: [&str; 4] = ["leader", "child", "session", "orphan"];

/// Waits for a file, whose name an agent has announced.
async fn until_there(client: &Client, path: &PathBuf) -> String {
    let is_there = || fs::read_to_string(path).is_ok_and(|text| text.ends_with('\n'));
    client.until("/me", |_| is_there()).await;
    fs::read_to_string(path).unwrap()
}

fn home(server: &Server, agent: &str) -> PathBuf {
    server.path().join("agents").join(agent)
}

/// The processes of a stubborn agent, once all are there.
async fn stubborn_pids(server: &Server, agent: &str) -> Vec<u32> {
    let mut pids = Vec::new();
    for name in STUBBORN_FILES {
        pids.push(until_there(server, &home(server, agent).join(name)).await.trim().parse().unwrap());
    }
    pids
}

fn short_grace() -> serde_json::Value {
    json!({ "limits": { "grace_s": 1 } })
}

#[tokio::test]
async fn a_run_is_cancelled_only_when_a_tree_that_ignores_term_is_dead_to_the_last_process() {
    let server = Server::start().await;
    let agent = server.process_agent_with("ann", STUBBORN, short_grace()).await;
    let wakeup = server.wake(&agent, json!({})).await;
    let run = id(&server.running(&wakeup).await);
    let pids = stubborn_pids(&server, &agent).await;
    let (status, asked) = server.post(&format!("/runs/{run}/cancel"), &json!({ "reason": "enough" })).await;
    assert_eq!((status, &asked["status"], &asked["stop"]["reason"]), (202, &json!("running"), &json!("enough")));
    let ended = server.finished(&run).await;
    assert!(!pids.iter().any(|pid| is_alive(*pid)), "terminal while something lives");
    assert_eq!((&ended["status"], &ended["error_code"]), (&json!("cancelled"), &json!("cancelled")));
    let wakeup = server.show(&format!("/wakeups/{wakeup}")).await;
    assert_eq!(wakeup["status"], "cancelled");
    assert_eq!(server.show(&format!("/agents/{agent}")).await["live_runs"], 0);
    server.assert_sound().await;
}

#[tokio::test]
async fn a_run_that_is_cancelled_while_it_starts_is_cancelled_and_leaves_nothing() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "sleep 600").await;
    for _ in 0..10 {
        let wakeup = server.wake(&agent, json!({})).await;
        let claimed = server.until(&format!("/wakeups/{wakeup}"), |wakeup| wakeup["run_id"].is_string()).await;
        let run = claimed["run_id"].as_str().unwrap();
        assert_eq!(server.post(&format!("/runs/{run}/cancel"), &json!({})).await.0, 202);
        assert_eq!(server.finished(run).await["status"], "cancelled");
        assert_eq!(server.settled(&wakeup).await["status"], "cancelled");
    }
    server.assert_sound().await;
    server.until("/me", |_| server.left_over().is_empty()).await;
}

#[tokio::test]
async fn a_stop_beats_a_later_result_and_until_the_end_the_token_still_writes() {
    let server = Server::start().await;
    let script = "trap 'wakeful checkpoint \"{\\\"saved\\\": true}\"; wakeful done -m finished; exit 0' TERM
        touch ready; while :; do sleep 0.02; done";
    let agent = server.process_agent("ann", script).await;
    let wakeup = server.wake(&agent, json!({})).await;
    let run = id(&server.running(&wakeup).await);
    server.until("/me", |_| home(&server, &agent).join("ready").exists()).await;
    server.post(&format!("/runs/{run}/cancel"), &json!({})).await;
    assert_eq!(server.finished(&run).await["status"], "cancelled");
    assert_eq!(server.show(&format!("/runs/{run}/checkpoint")).await, json!({ "saved": true }));
    assert_eq!(server.settled(&wakeup).await["status"], "cancelled");
}

#[tokio::test]
async fn other_wakeups_of_the_lane_stay_and_start_the_follow_up() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "test -e once && exit 0; touch once; sleep 600").await;
    let first = server.wake(&agent, json!({})).await;
    let run = id(&server.running(&first).await);
    server.until("/me", |_| home(&server, &agent).join("once").exists()).await;
    let second = server.wake(&agent, json!({})).await;
    let refused = server.post(&format!("/wakeups/{first}/cancel"), &json!({})).await;
    assert_eq!((refused.0, &refused.1["code"]), (409, &json!("wakeup_claimed")));
    server.post(&format!("/runs/{run}/cancel"), &json!({})).await;
    assert_eq!(server.settled(&first).await["status"], "cancelled");
    let followed = server.settled(&second).await;
    assert_eq!(followed["status"], "completed");
    assert_ne!(followed["run_id"], run);
    server.assert_sound().await;
}

#[tokio::test]
async fn a_pause_lets_live_runs_end_and_a_pause_now_puts_their_wakeups_back_uncounted() {
    let server = Server::start().await;
    let script = "test -e once && exit 0; touch once; until test -e go; do sleep 0.02; done";
    let agent = server.process_agent("ann", script).await;
    let first = server.wake(&agent, json!({})).await;
    let run = id(&server.running(&first).await);
    server.until("/me", |_| home(&server, &agent).join("once").exists()).await;
    let (_, paused) = server.post(&format!("/agents/{agent}/pause"), &json!({})).await;
    assert_eq!((&paused["state"], &paused["live_runs"]), (&json!("paused"), &json!(1)));
    server.post(&format!("/agents/{agent}/pause"), &json!({ "cancel_runs": true })).await;
    assert_eq!(server.finished(&run).await["status"], "cancelled");
    let waiting = server.show(&format!("/wakeups/{first}")).await;
    assert_eq!(
        (&waiting["status"], &waiting["attempt"], &waiting["run_id"]),
        (&json!("pending"), &json!(0), &json!(null))
    );
    assert_eq!(waiting["waiting"]["reason"], "agent_paused");
    server.post(&format!("/agents/{agent}/resume"), &json!({})).await;
    let settled = server.settled(&first).await;
    assert_eq!((&settled["status"], &settled["attempt"]), (&json!("completed"), &json!(1)));
    server.assert_sound().await;
}

#[tokio::test]
async fn a_paused_company_starts_nothing_and_when_asked_stops_what_is_live() {
    let server = Server::start().await;
    let script = "test -e once && exit 0; touch once; sleep 600";
    let agent = server.process_agent("ann", script).await;
    let first = server.wake(&agent, json!({})).await;
    let run = id(&server.running(&first).await);
    server.until("/me", |_| home(&server, &agent).join("once").exists()).await;
    let (status, company) =
        server.post("/companies/default/pause", &json!({ "reason": "night", "cancel_runs": true })).await;
    assert_eq!((status, &company["state"], &company["state_reason"]), (200, &json!("paused"), &json!("night")));
    assert_eq!(server.finished(&run).await["status"], "cancelled");
    let second = server.wake(&agent, json!({})).await;
    for wakeup in [&first, &second] {
        let waiting = server.show(&format!("/wakeups/{wakeup}")).await;
        assert_eq!((&waiting["status"], &waiting["waiting"]["reason"]), (&json!("pending"), &json!("company_paused")));
        assert!(waiting["waiting"]["detail"].as_str().unwrap().contains("night"));
    }
    server.post("/companies/default/resume", &json!({})).await;
    let (first, second) = (server.settled(&first).await, server.settled(&second).await);
    assert_eq!((&first["status"], &second["status"]), (&json!("completed"), &json!("completed")));
    assert_eq!(first["run_id"], second["run_id"], "one batch");
    server.assert_sound().await;
}

#[tokio::test]
async fn a_terminated_or_removed_agent_has_its_runs_stopped_and_its_wakeups_cancelled() {
    let server = Server::start().await;
    for name in ["terminated", "removed"] {
        let agent = server.process_agent_with(name, STUBBORN, short_grace()).await;
        let claimed = server.wake(&agent, json!({})).await;
        let run = id(&server.running(&claimed).await);
        let pids = stubborn_pids(&server, &agent).await;
        let waiting = server.wake(&agent, json!({})).await;
        let (status, _) = match name {
            "removed" => server.delete(&format!("/agents/{agent}")).await,
            _ => server.post(&format!("/agents/{agent}/terminate"), &json!({})).await,
        };
        assert!([200, 204].contains(&status));
        assert_eq!(server.finished(&run).await["status"], "cancelled");
        assert!(!pids.iter().any(|pid| is_alive(*pid)));
        assert_eq!(server.settled(&claimed).await["status"], "cancelled");
        assert_eq!(server.settled(&waiting).await["status"], "cancelled");
    }
    assert_eq!(server.all("/companies/default/runs").await.len(), 2, "nothing was started after that");
    server.assert_sound().await;
}
