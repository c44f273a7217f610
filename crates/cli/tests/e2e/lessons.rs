//! Weaknesses of systems that came before, each shown not to be here, under the number it has in
//! docs/reference/lessons.md. What needs no process is in the store's tests.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Server, clean, id, is_alive, printed, program, shim_pid, signal};

const WAITS: &str = "until test -e go; do sleep 0.02; done";

fn let_go(server: &Server, agent: &str) {
    fs::write(server.path().join("agents").join(agent).join("go"), "").unwrap();
}

/// The pid that a run has printed first.
async fn printed_pid(server: &Server, run: &str) -> u32 {
    loop {
        if let Some(pid) = server.stdout(run).await.lines().next().and_then(|line| line.parse().ok()) {
            return pid;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn cancelled(server: &Server, run: &str) -> Value {
    server.post(&format!("/runs/{run}/cancel"), &json!({})).await;
    server.finished(run).await
}

#[tokio::test]
async fn w01_an_agent_that_ignores_term_is_killed() {
    let server = Server::start().await;
    let limits = json!({ "limits": { "grace_s": 0 } });
    let agent = server.process_agent_with("deaf", "trap '' TERM; echo $$; while :; do sleep 0.05; done", limits).await;
    let run = id(&server.running(&server.wake(&agent, json!({})).await).await);
    let pid = printed_pid(&server, &run).await;
    assert_eq!(cancelled(&server, &run).await["status"], "cancelled");
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn w02_what_the_agent_started_dies_with_it() {
    let server = Server::start().await;
    let agent = server.process_agent("parent", "setsid sleep 600 & echo $!; wait").await;
    let run = id(&server.running(&server.wake(&agent, json!({})).await).await);
    let pid = printed_pid(&server, &run).await;
    assert_eq!(cancelled(&server, &run).await["status"], "cancelled");
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn w03_death_by_a_signal_is_no_success() {
    let server = Server::start().await;
    let policy = json!({ "retry": { "delays_s": [], "jitter": 0 } });
    let agent = server.process_agent_with("shot", "kill -9 $$", policy).await;
    let run = server.run_of(&agent, json!({})).await;
    assert_eq!((&run["status"], &run["error_code"], &run["signal"]), (&json!("failed"), &json!("killed"), &json!(9)));
}

#[tokio::test]
async fn w04_w21_a_crash_ends_no_run_and_fails_nothing_that_waits() {
    let mut server = Server::start().await;
    let agent = server.process_agent("ann", WAITS).await;
    let live = server.wake(&agent, json!({})).await;
    let run = id(&server.running(&live).await);
    let waiting = server.wake(&agent, json!({})).await;
    server.kill9();
    server.start_again().await;
    assert_eq!(server.show(&format!("/runs/{run}")).await["status"], "running");
    assert_eq!(server.show(&format!("/wakeups/{waiting}")).await["status"], "pending");
    let_go(&server, &agent);
    assert_eq!(server.settled(&live).await["run_id"], run);
    assert_eq!(server.settled(&waiting).await["status"], "completed");
}

#[tokio::test]
async fn w06_t05_ending_a_dead_run_leaves_the_next_one_alone() {
    let mut server = Server::start().await;
    let policy = json!({ "retry": { "delays_s": [], "jitter": 0 } });
    let agent = server.process_agent_with("ann", WAITS, policy).await;
    let first = server.wake(&agent, json!({})).await;
    let dead = id(&server.running(&first).await);
    let second = server.wake(&agent, json!({})).await;
    server.kill9();
    signal(shim_pid(&server.run_dir(&dead).join("shim-1.json")).unwrap(), Signal::KILL);
    server.start_again().await;
    assert_eq!(server.finished(&dead).await["status"], "lost");
    let run = server.running(&second).await;
    let_go(&server, &agent);
    assert_eq!(server.finished(&id(&run)).await["status"], "succeeded");
    assert_eq!(server.show(&format!("/runs/{dead}")).await["status"], "lost");
}

#[tokio::test]
async fn w07_ticks_do_not_keep_a_dead_run_alive() {
    let server = Server::start().await;
    let heartbeat = json!({ "heartbeat": { "enabled": true }, "retry": { "delays_s": [], "jitter": 0 } });
    let agent = server.process_agent_with("ann", "exec sleep 600", heartbeat).await;
    let run = id(&server.running(&server.wake(&agent, json!({})).await).await);
    for _ in 0..3 {
        server.wake(&agent, json!({ "source": "timer" })).await;
    }
    signal(shim_pid(&server.run_dir(&run).join("shim-1.json")).unwrap(), Signal::KILL);
    assert_eq!(server.finished(&run).await["status"], "lost");
}

#[tokio::test]
async fn w19_a_pause_ends_the_tree_before_the_task_is_handed_on() {
    let server = Server::start().await;
    let slow = "trap '' TERM; echo $$; while :; do sleep 0.05; done";
    let ann = server.process_agent_with("ann", slow, json!({ "limits": { "grace_s": 1 } })).await;
    let (_, task) = server.post("/companies/default/tasks", &json!({ "title": "Shared" })).await;
    let body = json!({ "task": id(&task) });
    let first = server.wake(&ann, body.clone()).await;
    let run = id(&server.running(&first).await);
    let pid = printed_pid(&server, &run).await;
    let looks = format!("kill -0 {pid} 2>/dev/null && exit 9; exit 0");
    let bob = server.process_agent_with("bob", &looks, json!({ "retry": { "delays_s": [], "jitter": 0 } })).await;
    let second = server.wake(&bob, body).await;
    server.post(&format!("/agents/{ann}/pause"), &json!({ "cancel_runs": true })).await;
    assert_eq!(server.settled(&second).await["status"], "completed", "the other one found the first still alive");
    let put_back = server.show(&format!("/wakeups/{first}")).await;
    assert_eq!((&put_back["status"], &put_back["attempt"]), (&json!("pending"), &json!(0)));
}

#[tokio::test]
async fn w20_a_cancel_while_the_run_is_being_started_ends_it_and_frees_one_place() {
    let server = Server::start_with(&["--max-live-runs", "1"], &[]).await;
    let agent = server.process_agent("ann", "exec sleep 600").await;
    for _ in 0..5 {
        let wakeup = server.wake(&agent, json!({})).await;
        let is_live =
            |list: &Value| ["starting", "running"].contains(&list["items"][0]["status"].as_str().unwrap_or_default());
        let path = format!("/companies/default/runs?agent={agent}&limit=1");
        let run = id(&server.until(&path, is_live).await["items"][0]);
        assert_eq!(cancelled(&server, &run).await["status"], "cancelled");
        assert_eq!(server.settled(&wakeup).await["status"], "cancelled");
    }
    assert_eq!(server.show(&format!("/agents/{agent}")).await["live_runs"], 0);
    server.assert_sound().await;
    server.until("/me", |_| server.left_over().is_empty()).await;
}

#[tokio::test]
async fn w22_a_second_server_on_the_same_store_is_refused() {
    let server = Server::start().await;
    let mut command = Command::new(program());
    clean(&mut command, server.outside());
    command.args(["up", "--listen", "127.0.0.1:0", "--data-dir"]).arg(server.path());
    let refused = printed(command).await;
    assert_eq!((refused.code, refused.stderr.contains(&server.pid().to_string())), (5, true), "{}", refused.stderr);
}

#[tokio::test]
async fn w23_costs_below_a_cent_add_up() {
    let server = Server::start().await;
    let script = r#"echo '{"cost_micros": 1234, "usage": {"input_tokens": 7}}' >"$WAKEFUL_RESULT_FILE""#;
    let agent = server.process_agent("cheap", script).await;
    for _ in 0..3 {
        server.run_of(&agent, json!({})).await;
    }
    let totals = server.show(&format!("/agents/{agent}")).await["totals"].clone();
    assert_eq!((&totals["cost_micros"], &totals["tokens"]), (&json!(3_702), &json!(21)));
}

#[tokio::test]
async fn w24_a_character_that_comes_in_two_reads_stays_whole() {
    let server = Server::start().await;
    let agent = server.process_agent("slow", r"printf 'gr\303'; sleep 0.3; printf '\274n\n'").await;
    let run = server.run_of(&agent, json!({})).await;
    assert_eq!(server.stdout(&id(&run)).await, "grün\n");
}

#[tokio::test]
async fn w25_neither_settings_nor_a_result_without_end_get_into_the_events() {
    let server = Server::start().await;
    let script = r#"head -c 3000000 /dev/zero | tr '\0' x >"$WAKEFUL_RESULT_FILE""#;
    let env =
        json!({ "adapter": { "type": "process", "command": ["sh", "-c", script], "env": { "KEY": "topsecret" } } });
    let agent = server.process_agent_with("loud", "", env).await;
    let run = server.run_of(&agent, json!({})).await;
    let told = server.show(&format!("/runs/{}/events", id(&run))).await.to_string() + &run.to_string();
    assert!(!told.contains("topsecret") && told.len() < 100_000, "{} bytes", told.len());
    let events = json!(server.all("/companies/default/events").await).to_string();
    assert!(!events.contains("topsecret") && events.len() < 100_000);
}

#[tokio::test]
async fn t12_liveness_comes_from_what_ran_and_not_from_what_waits() {
    let server = Server::start().await;
    let policy = json!({ "retry": { "delays_s": [], "jitter": 0 } });
    let agent = server.process_agent_with("ann", "exit 1", policy).await;
    for _ in 0..3 {
        server.run_of(&agent, json!({})).await;
    }
    server.wake(&agent, json!({ "delay_ms": 3_600_000 })).await;
    let shown = server.show(&format!("/agents/{agent}")).await;
    assert_eq!(shown["liveness"]["status"], "failing", "{shown:#}");
}
