//! The server and agents are killed.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use wakeful_test_server::{Server, id, signal};

use super::server;
use crate::fakes::assert_ended;
use crate::logs::{Wanted, lines_problem, marks, records};
use crate::machine::is_listed;
use crate::waiting::{ended, nothing_is_left, seconds};
use crate::{Case, Measured, Scale};

pub const SERVER_KILLED: Case = Case {
    name: "server_killed",
    rows: "2",
    provoked: "kill -9 of the server while agents work, again and again",
    must_hold: "every run is adopted as the process it was, its log goes on without a gap, its exit code is true, nothing is left",
    run: |scale, seed| Box::pin(server_killed(scale, seed)),
};

pub const AGENT_KILLED: Case = Case {
    name: "agent_killed",
    rows: "4",
    provoked: "kill -9 of agents with children; agents that take more memory than their limit",
    must_hold: "`killed` and `out_of_memory`, tried again by policy, the whole tree gone before the run is over",
    run: |scale, seed| Box::pin(agent_killed(scale, seed)),
};

/// Between two lines of an agent.
const PAUSE_S: f64 = 0.05;

/// The process of a live run.
fn pid(run: &Value) -> u32 {
    u32::try_from(run["process"]["pid"].as_u64().unwrap()).unwrap()
}

async fn server_killed(scale: Scale, seed: u64) -> Measured {
    let (agents, rounds) = (scale.of(6, 20), scale.of(3, 10));
    let lines = rounds * 40;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut server = server(agents, &[]).await;
    let mut live = Vec::new();
    for number in 0..agents {
        let code = if number % 2 == 0 { 0 } else { rng.u8(1..70) };
        let script = format!(
            "i=0; while [ $i -lt {lines} ]; do i=$((i+1)); echo \"$WAKEFUL_RUN line $i\"; sleep {PAUSE_S}; done; exit {code}"
        );
        let agent = server.process_agent(&format!("writer-{number}"), &script).await;
        let run = server.running(&server.wake(&agent, json!({})).await).await;
        live.push((id(&run), run["process"].clone(), code));
    }
    let mut away = Duration::ZERO;
    for _ in 0..rounds {
        sleep(Duration::from_millis(rng.u64(50..600))).await;
        server.kill9();
        let began = tokio::time::Instant::now();
        server.start_again().await;
        away = away.max(began.elapsed());
        for (run, process, _) in &live {
            let adopted = server.show(&format!("/runs/{run}")).await;
            let is_same = adopted["process"] == *process || adopted["finished_at"].is_string();
            assert!(is_same, "not adopted as it was: {adopted:#}");
        }
    }
    for (run, _, code) in &live {
        let (over, _) = ended(&server, run, Duration::from_secs(120)).await;
        let (status, error) = if *code == 0 { ("succeeded", "") } else { ("failed", "exit_nonzero") };
        assert_ended(&over, status, error);
        assert_eq!(over["exit_code"], *code, "{over:#}");
        assert_eq!(lines_problem(&records(&server, run).await, run, Wanted::All(lines)), None, "{run}");
    }
    nothing_is_left(&server).await;
    server.assert_sound().await;
    Ok(format!(
        "{agents} agents, {rounds} kills: all adopted, {} lines, 0 lost or doubled, {agents} true exit codes, 0 processes left; \
         ready again within {} each time",
        agents * lines,
        seconds(away)
    ))
}

/// Works for ever at the first try, with a child in its own and one in another session; ends at once at the second.
const TWICE: &str = "test -e once && exit 0; touch once
    sleep 600 &
    setsid sh -c 'echo $$ > session; exec sleep 600' &
    echo begun; sleep 600";

async fn agent_killed(scale: Scale, _seed: u64) -> Measured {
    let count = scale.of(3, 20);
    let server = server(count, &[]).await;
    let policy = json!({ "retry": { "delays_s": [0], "jitter": 0 } });
    let mut live = Vec::new();
    for number in 0..count {
        let agent = server.process_agent_with(&format!("worker-{number}"), TWICE, policy.clone()).await;
        let wakeup = server.wake(&agent, json!({})).await;
        let run = server.running(&wakeup).await;
        let session = server.path().join("agents").join(&agent).join("session");
        let text = || std::fs::read_to_string(&session).unwrap_or_default();
        server.until("/me", |_| text().ends_with('\n')).await;
        live.push((wakeup, run, text().trim().parse::<u32>().unwrap()));
    }
    live.iter().for_each(|(_, run, _)| signal(pid(run), rustix::process::Signal::KILL));
    let mut slowest = Duration::ZERO;
    for (wakeup, run, session) in &live {
        let (killed, took) = ended(&server, &id(run), Duration::from_secs(30)).await;
        slowest = slowest.max(took);
        assert_ended(&killed, "failed", "killed");
        assert_eq!(killed["signal"], 9, "{killed:#}");
        assert!(!is_listed(pid(run)) && !is_listed(*session), "over while something of it lives");
        let settled = server.settled(wakeup).await;
        assert_eq!((&settled["status"], &settled["attempt"]), (&json!("completed"), &json!(2)), "{settled:#}");
    }
    let greedy = out_of_memory(&server, scale).await;
    nothing_is_left(&server).await;
    server.assert_sound().await;
    Ok(format!(
        "{count} of {count} `killed`, trees gone after {} at most, {count} retries completed; {greedy}",
        seconds(slowest)
    ))
}

/// Agents that want far more than they may have.
async fn out_of_memory(server: &Server, scale: Scale) -> String {
    let count = scale.of(1, 5);
    let limits = json!({ "limits": { "max_memory_mb": 48 } });
    let mut slowest = Duration::ZERO;
    for number in 0..count {
        // `tail` keeps a line without an end whole.
        let script = "head -c 512M /dev/zero | tail";
        let agent = server.process_agent_with(&format!("greedy-{number}"), script, limits.clone()).await;
        let run = server.running(&server.wake(&agent, json!({})).await).await;
        let (over, took) = ended(server, &id(&run), Duration::from_secs(60)).await;
        slowest = slowest.max(took);
        assert_ended(&over, "failed", "out_of_memory");
        assert!(marks(&records(server, &id(&run)).await).is_empty());
    }
    format!("{count} of {count} `out_of_memory` at 48 MiB, after {} at most", seconds(slowest))
}
