//! Many wakes: a hundred onto one busy lane, and a thousand over a fleet with everything that people do to it meanwhile.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{Client, Server, answer, id};

#[tokio::test]
async fn a_hundred_wakes_onto_one_busy_lane_make_exactly_one_follow_up_in_order() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "until test -e go; do sleep 0.02; done").await;
    let first = id(&server.running(&server.wake(&agent, json!({})).await).await);
    let mut later = Vec::new();
    for number in 0..100 {
        // More and less urgent ones: a batch is in the order of the requests all the same.
        later.push(server.wake(&agent, json!({ "reason": format!("{number}"), "priority": number })).await);
    }
    std::fs::write(server.path().join("agents").join(&agent).join("go"), "").unwrap();
    let follow_up = server.settled(&later[0]).await["run_id"].as_str().unwrap().to_owned();
    let run = server.finished(&follow_up).await;
    let batch: Vec<String> = run["wakeups"].as_array().unwrap().iter().map(id).collect();
    assert_eq!(batch, later);
    let runs = server.all("/companies/default/runs").await;
    assert_eq!(runs.iter().map(id).collect::<BTreeSet<_>>(), BTreeSet::from([first, follow_up]));
    server.assert_sound().await;
}

const AGENTS: usize = 50;
const TASKS: usize = 200;
const CLIENTS: usize = 16;
const WAKES: usize = 1_000;
const KILLS: usize = 5;

/// Asks until it is answered: while the server is down nobody answers.
async fn insist(client: &Client, method: Method, path: &str, body: &Value, key: Option<&str>) -> (u16, Value) {
    loop {
        let mut request = client.request(method.clone(), path).json(body);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answered = answer(request).await;
        if answered.0 != 0 && answered.0 != 503 {
            return answered;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// One client's share of the wakes, with the odd cancel, pause and resume in between.
async fn client(client: &Client, agents: &[String], tasks: &[String], mut rng: Rng) -> Vec<String> {
    let mut accepted = Vec::new();
    while accepted.len() < WAKES / CLIENTS {
        let agent = &agents[rng.usize(..agents.len())];
        let task = rng.bool().then(|| &tasks[rng.usize(..tasks.len())]);
        let body = json!({ "task": task, "priority": rng.u32(0..=100), "delay_ms": if rng.bool() { 0 } else { rng.u32(..500) } });
        let key = rng.u64(..).to_string();
        let (status, wakeup) = insist(client, Method::POST, &format!("/agents/{agent}/wake"), &body, Some(&key)).await;
        match status {
            200 | 202 => accepted.push(id(&wakeup)),
            // Somebody has paused it.
            409 => {
                insist(client, Method::POST, &format!("/agents/{agent}/resume"), &json!({}), None).await;
                continue;
            }
            other => panic!("{other}: {wakeup}"),
        }
        match rng.u32(..40) {
            0 => {
                insist(client, Method::POST, &format!("/wakeups/{}/cancel", id(&wakeup)), &json!({}), None).await;
            }
            1 => {
                let body = json!({ "cancel_runs": rng.bool() });
                insist(client, Method::POST, &format!("/agents/{agent}/pause"), &body, None).await;
            }
            2 => {
                let path = "/companies/default/runs?status=running&limit=1";
                let (_, runs) = insist(client, Method::GET, path, &json!({}), None).await;
                if let Some(run) = runs["items"].as_array().and_then(|runs| runs.first()) {
                    insist(client, Method::POST, &format!("/runs/{}/cancel", id(run)), &json!({}), None).await;
                }
            }
            _ => {}
        }
    }
    accepted
}

#[tokio::test]
async fn a_thousand_wakes_by_sixteen_clients_with_cancels_pauses_and_kills_all_end() {
    let mut server = Server::start_with(&["--max-live-runs", "16"], &[]).await;
    server.patch("/companies/default", &json!({ "max_concurrent_runs": 16 })).await;
    let (mut agents, mut tasks) = (Vec::new(), Vec::new());
    let policy = json!({ "retry": { "delays_s": [0], "jitter": 0 } });
    for number in 0..AGENTS {
        let script = if number % 10 == 0 { "sleep 0.05; exit 1" } else { "sleep 0.02" };
        agents.push(server.process_agent_with(&format!("agent-{number}"), script, policy.clone()).await);
    }
    for number in 0..TASKS {
        let (_, task) = server.post("/companies/default/tasks", &json!({ "title": format!("{number}") })).await;
        tasks.push(id(&task));
    }
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let http = (*server).clone();
    let is_over = Cell::new(false);
    let work = async {
        let clients = (0..CLIENTS).map(|_| client(&http, &agents, &tasks, rng.fork()));
        let accepted = futures_util::future::join_all(clients.collect::<Vec<_>>()).await;
        is_over.set(true);
        accepted.concat()
    };
    let kills = async {
        for _ in 0..KILLS {
            sleep(Duration::from_millis(300)).await;
            if is_over.get() {
                break;
            }
            server.kill9();
            server.start_again_at_once().await;
        }
    };
    let (accepted, ()) = tokio::join!(work, kills);
    // Somebody looks after what was paused and what tripped its circuit, until nothing waits.
    loop {
        for agent in &agents {
            server.post(&format!("/agents/{agent}/resume"), &json!({})).await;
        }
        let stats = server.show("/companies/default/stats").await;
        let open = ["pending", "claimed"].iter().filter_map(|status| stats["wakeups"][status].as_u64()).sum::<u64>();
        if open == 0 {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let found: BTreeSet<String> = server.all("/companies/default/wakeups").await.iter().map(id).collect();
    assert_eq!(found, accepted.into_iter().collect(), "what was answered is there, and nothing else");
    server.assert_sound().await;
    server.until("/me", |_| server.left_over().is_empty()).await;
}
