//! Agents that do nothing cost nothing.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use wakeful_stub_model::StubModel;
use wakeful_test_server::{Server, id};

use crate::machine::{cpu, shim_of, status_kib};
use crate::waiting::{ended, nothing_is_left};
use crate::{Case, Measured, Scale};

pub const IDLE: Case = Case {
    name: "idle",
    rows: "(idle)",
    provoked: "200 live agents that wait",
    must_hold: "server and shims take no processor time to speak of, and no model is asked",
    run: |scale, seed| Box::pin(idle(scale, seed)),
};

async fn idle(scale: Scale, _seed: u64) -> Measured {
    let (agents, period) = scale.of((20, Duration::from_secs(5)), (200, Duration::from_secs(60)));
    let model = StubModel::start().await.unwrap();
    let url = model.url();
    let live = agents.to_string();
    let variables = [("ANTHROPIC_BASE_URL", url.as_str()), ("OPENAI_BASE_URL", url.as_str())];
    let server = Server::start_with(&["--max-live-runs", &live, "--min-free-memory-mb", "0"], &variables).await;
    server.patch("/companies/default", &json!({ "max_concurrent_runs": agents })).await;
    let mut runs = Vec::new();
    for number in 0..agents {
        let agent = server.process_agent(&format!("waits-{number}"), "exec sleep 600").await;
        runs.push(server.wake(&agent, json!({})).await);
    }
    for run in &mut runs {
        *run = id(&server.running(run).await);
    }
    let shims: Vec<u32> = runs.iter().map(|run| shim_of(&server, run).unwrap()).collect();
    // What starting took is not counted.
    sleep(Duration::from_secs(2)).await;
    let spent = || (cpu(server.pid()), shims.iter().map(|pid| cpu(*pid)).sum::<Duration>());
    let before = spent();
    assert!(!before.0.is_zero(), "the meter of processor time is blind");
    sleep(period).await;
    let after = spent();
    let (server_ms, shims_ms) = ((after.0 - before.0).as_millis(), (after.1 - before.1).as_millis());
    let mut rss: Vec<u64> = shims.iter().map(|pid| status_kib(*pid, "VmRSS")).collect();
    rss.sort_unstable();
    let server_mib = status_kib(server.pid(), "VmRSS") / 1024;
    for run in &runs {
        server.post(&format!("/runs/{run}/cancel"), &json!({})).await;
    }
    for run in &runs {
        ended(&server, run, Duration::from_secs(60)).await;
    }
    nothing_is_left(&server).await;
    let calls = model.script().model_calls();
    assert_eq!(calls, 0, "a model was asked");
    let budget = period.as_millis() / 100;
    assert!(server_ms + shims_ms <= budget, "{server_ms} ms of the server, {shims_ms} ms of the shims");
    server.assert_sound().await;
    Ok(format!(
        "{agents} live agents, {} s: {server_ms} ms of the server, {shims_ms} ms of all shims together (in ticks of 10 ms a process); \
         RSS of a shim {} KiB (median), of the server {server_mib} MiB; {calls} calls of a model",
        period.as_secs(),
        rss[rss.len() / 2]
    ))
}
