//! Agents that end in odd ways, stand still, or do not want to end.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tokio::time::Instant;
use wakeful_test_server::{Server, id, is_alive};

use super::server;
use crate::fakes::{assert_ended, begins, cli_agent, events_of, succeeds};
use crate::machine::is_listed;
use crate::waiting::{ended, nothing_is_left, seconds, until};
use crate::{Case, Measured, Scale};

pub const FAKE_AGENTS: Case = Case {
    name: "fake_agents",
    rows: "5",
    provoked: "agents that exit 0 without an event, fail after their result, hang after it, close their output and live on, never read a prompt of 1 MiB",
    must_hold: "each the right outcome, and none longer than its limits say",
    run: |scale, seed| Box::pin(fake_agents(scale, seed)),
};

pub const STOPPED_AGENT: Case = Case {
    name: "stopped_agent",
    rows: "6",
    provoked: "SIGSTOP of an agent's whole process group, with stale_after_s = 2",
    must_hold: "nudged, told to a person, stopped as `stalled`, once each; the tree is gone though it never woke",
    run: |scale, seed| Box::pin(stopped_agent(scale, seed)),
};

pub const HARD_TO_KILL: Case = Case {
    name: "hard_to_kill",
    rows: "7",
    provoked: "a tree with setsid, double fork, ignored TERM, a stopped grandchild, a held pipe, a cleared environment and a zombie is cancelled",
    must_hold: "terminal only when not one of them is left; a zombie does not count as alive",
    run: |scale, seed| Box::pin(hard_to_kill(scale, seed)),
};

/// Limits that a case can wait for.
fn impatient() -> Value {
    json!({ "limits": { "grace_s": 1, "stale_after_s": 1 } })
}

struct Fake {
    name: &'static str,
    kind: &'static str,
    script: String,
    status: &'static str,
    code: &'static str,
    within_s: u64,
}

fn fakes() -> Vec<Fake> {
    let fake = |name, kind, script: String, (status, code): (&'static str, &'static str), within_s| Fake {
        name,
        kind,
        script,
        status,
        code,
        within_s,
    };
    let (good, silent) = (("succeeded", ""), ("failed", "no_result"));
    let said = format!("{}{}", begins(), succeeds());
    vec![
        fake("no-events", "claude", "exit 0".into(), silent, 10),
        fake("no-events-codex", "codex", "exit 0".into(), silent, 10),
        fake("fails-after-result", "claude", format!("{said}exit 3"), good, 10),
        // Five seconds after its result, and one of grace.
        fake("hangs-after-result", "claude", format!("trap '' TERM; {said}sleep 600; sleep 600"), good, 14),
        fake("closes-after-result", "claude", format!("{said}exec >&- 2>&-; sleep 600"), good, 14),
        fake("closes-and-works-on", "process", "echo a; exec >&- 2>&-; sleep 1; exit 0".into(), good, 10),
        // Four seconds of silence, and one of grace.
        fake("closes-and-hangs", "process", "exec >&- 2>&-; sleep 600".into(), ("failed", "stalled"), 14),
        fake("never-reads", "claude", said, good, 14),
    ]
}

async fn fake_agents(scale: Scale, _seed: u64) -> Measured {
    let server = server(20, &[]).await;
    let rounds = scale.of(1, 3);
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let mut live = Vec::new();
        for fake in fakes() {
            let mut more = match fake.kind {
                "process" => impatient(),
                _ => json!({ "limits": { "grace_s": 1 } }),
            };
            if fake.name == "never-reads" {
                // What may come in one request is less than 1 MiB: a half stands in the agent, a half in the wakeup.
                more["adapter"] = json!({ "prompt": "p".repeat(600_000) });
            }
            let name = format!("{}-{round}", fake.name);
            let agent = match fake.kind {
                "process" => server.process_agent_with(&name, &fake.script, more).await,
                kind => cli_agent(&server, &name, kind, &fake.script, more).await,
            };
            let body = match fake.name {
                "never-reads" => json!({ "payload": { "text": "q".repeat(600_000) } }),
                _ => json!({}),
            };
            let wakeup = server.wake(&agent, body).await;
            live.push((fake, wakeup, Instant::now()));
        }
        for (fake, wakeup, began) in live {
            let run = id(&server.running(&wakeup).await);
            let (over, _) = ended(&server, &run, Duration::from_secs(fake.within_s)).await;
            slowest = slowest.max(began.elapsed());
            assert_ended(&over, fake.status, fake.code);
        }
    }
    nothing_is_left(&server).await;
    server.assert_sound().await;
    let count = fakes().len() * rounds;
    Ok(format!("{count} of {count} outcomes right, the slowest after {}", seconds(slowest)))
}

async fn stopped_agent(scale: Scale, _seed: u64) -> Measured {
    let count = scale.of(2, 10);
    let server = server(count, &[]).await;
    let limits = json!({ "limits": { "grace_s": 1, "stale_after_s": 2 } });
    let mut live = Vec::new();
    for number in 0..count {
        let script = "sleep 600 & setsid sleep 600 & while :; do echo at work; sleep 0.2; done";
        let agent = server.process_agent_with(&format!("ann-{number}"), script, limits.clone()).await;
        let run = server.running(&server.wake(&agent, json!({})).await).await;
        let path = format!("/runs/{}", id(&run));
        server.until(&path, |run| run["log"]["lines"].as_u64() >= Some(1)).await;
        live.push(run);
    }
    let mut before = Vec::new();
    for run in &live {
        before.push(events_of(&server, &id(run)).await.len());
    }
    let began = Instant::now();
    for run in &live {
        let group = Pid::from_raw(i32::try_from(run["process"]["pid"].as_u64().unwrap()).unwrap()).unwrap();
        kill_process_group(group, Signal::STOP).unwrap();
    }
    let mut slowest = Duration::ZERO;
    for (run, before) in live.iter().zip(before) {
        let (over, _) = ended(&server, &id(run), Duration::from_secs(20)).await;
        slowest = slowest.max(began.elapsed());
        assert_ended(&over, "failed", "stalled");
        assert!(!is_listed(u32::try_from(run["process"]["pid"].as_u64().unwrap()).unwrap()));
        // On a slow machine it may have been nudged before.
        let kinds = events_of(&server, &id(run)).await.split_off(before);
        for step in ["nudged", "silent", "stalled"] {
            assert_eq!(kinds.iter().filter(|kind| *kind == step).count(), 1, "{step} in {kinds:?}");
        }
    }
    nothing_is_left(&server).await;
    server.assert_sound().await;
    Ok(format!(
        "{count} of {count} nudged, shown and stopped as `stalled`, gone {} after the SIGSTOP at most (8 s of silence, 1 s of grace)",
        seconds(slowest)
    ))
}

/// Every process leaves its pid in a file of its own; none of them ends when it is asked to.
const STUBBORN: &str = r#"trap '' TERM
    setsid sh -c 'echo $$ > session; exec sleep 600' &
    (setsid sh -c 'echo $$ > orphan; exec sleep 600' &)
    sh -c 'echo $$ > child; exec sleep 600' &
    sh -c 'echo $$ > stopped; kill -STOP $$; exec sleep 600' &
    (env -i /usr/bin/setsid /bin/sh -c 'echo $$ > cleared; exec /bin/sleep 600' &)
    sh -c 'sleep 0.2 & echo $! > zombie; echo $$ > parent; exec sleep 600' &
    echo $$ > leader
    sleep 600; sleep 600"#;
const STUBBORN_FILES: [&str; 8] = ["leader", "child", "session", "orphan", "stopped", "cleared", "zombie", "parent"];

async fn stubborn_pids(server: &Server, agent: &str) -> Vec<u32> {
    let mut pids = Vec::new();
    for name in STUBBORN_FILES {
        let path = server.path().join("agents").join(agent).join(name);
        let text = || fs::read_to_string(&path).unwrap_or_default();
        until(name, Duration::from_secs(20), async || text().ends_with('\n')).await;
        pids.push(text().trim().parse().unwrap());
    }
    pids
}

async fn hard_to_kill(scale: Scale, _seed: u64) -> Measured {
    let count = scale.of(2, 10);
    let server = server(count, &[]).await;
    let limits = json!({ "limits": { "grace_s": 1 } });
    let (mut slowest, mut processes) = (Duration::ZERO, 0);
    for number in 0..count {
        let agent = server.process_agent_with(&format!("ann-{number}"), STUBBORN, limits.clone()).await;
        let run = id(&server.running(&server.wake(&agent, json!({})).await).await);
        let pids = stubborn_pids(&server, &agent).await;
        let zombie = pids[6];
        until("the zombie", Duration::from_secs(5), async || !is_alive(zombie)).await;
        assert!(is_listed(zombie), "no zombie was made");
        let live = pids.iter().filter(|pid| is_alive(**pid)).count();
        assert_eq!(live, pids.len() - 1, "all live but the zombie");
        processes += live;
        let began = Instant::now();
        server.post(&format!("/runs/{run}/cancel"), &json!({})).await;
        let (over, _) = ended(&server, &run, Duration::from_secs(20)).await;
        slowest = slowest.max(began.elapsed());
        assert_ended(&over, "cancelled", "cancelled");
        let left: Vec<_> = STUBBORN_FILES.iter().zip(&pids).filter(|(_, pid)| is_alive(**pid)).collect();
        assert!(left.is_empty(), "terminal while these live: {left:?}");
    }
    only_a_zombie_is_left(&server).await;
    nothing_is_left(&server).await;
    server.assert_sound().await;
    Ok(format!(
        "{count} trees of 7 processes and a zombie, {processes} processes: 0 left, gone {} after the cancel at most (1 s of grace); \
         with a zombie beside it an agent ends in time",
        seconds(slowest)
    ))
}

/// The main process ends and leaves a zombie to the shim: nothing that lives, so the run is over at once.
async fn only_a_zombie_is_left(server: &Server) {
    let agent = server.process_agent("zombie", "(sh -c 'sleep 0 & exec sleep 1' &) ; sleep 0.2; exit 0").await;
    let run = id(&server.running(&server.wake(&agent, json!({})).await).await);
    let (over, _) = ended(server, &run, Duration::from_secs(4)).await;
    assert_ended(&over, "succeeded", "");
}
