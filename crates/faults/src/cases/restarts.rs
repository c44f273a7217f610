//! The server in the background is started again and again while work goes on.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::server;
use crate::load::Load;
use crate::waiting::{nothing_is_left, percentile};
use crate::{Case, Measured, Scale};

pub const RESTARTS: Case = Case {
    name: "restarts",
    rows: "1, 27",
    provoked: "the server is stopped by SIGTERM and started again, 50 times, while agents are woken and work",
    must_hold: "no wake and no run is lost or done twice, no log line either, every run is found again, the API is away for a moment only",
    run: |scale, seed| Box::pin(restarts(scale, seed)),
};

/// Between two questions whether the API answers.
const ASK_EVERY: Duration = Duration::from_millis(2);

/// How long the API did not answer, each time, in milliseconds.
async fn silences(url: &str, is_over: &Cell<bool>, found: &RefCell<Vec<f64>>) {
    let http = reqwest::Client::new();
    let mut answered = Instant::now();
    let mut is_silent = false;
    while !is_over.get() {
        let asked = http.get(format!("{url}/healthz")).timeout(Duration::from_secs(2)).send().await;
        if asked.is_ok_and(|answer| answer.status().is_success()) {
            if is_silent {
                found.borrow_mut().push(answered.elapsed().as_secs_f64() * 1_000.0);
            }
            (answered, is_silent) = (Instant::now(), false);
        } else {
            is_silent = true;
        }
        sleep(ASK_EVERY).await;
    }
}

async fn restarts(scale: Scale, _seed: u64) -> Measured {
    let (agents, rounds) = scale.of((4, 6), (20, 50));
    let mut server = server(agents, &[]).await;
    let load = Load::on(&server, agents, 10, Duration::from_millis(150)).await;
    let (is_over, found) = (Cell::new(false), RefCell::new(Vec::new()));
    let url = server.address().to_owned();
    let restarting = async {
        let (mut ready_ms, mut live) = (Vec::new(), 0);
        for _ in 0..rounds {
            sleep(Duration::from_millis(400)).await;
            assert!(server.stop().await.success());
            let began = Instant::now();
            server.start_again().await;
            ready_ms.push(began.elapsed().as_secs_f64() * 1_000.0);
            let (_, told) = server.get("/server").await;
            live += told["live_runs"].as_u64().unwrap_or(0);
        }
        load.end();
        is_over.set(true);
        (server, ready_ms, live)
    };
    let ((server, mut ready_ms, live), (), ()) =
        tokio::join!(restarting, load.drive(Duration::from_millis(30)), silences(&url, &is_over, &found));
    let settled = load.settled(&server, Duration::from_secs(120)).await;
    nothing_is_left(&server).await;
    server.assert_sound().await;
    assert!(live > 0, "no run was live over a restart");
    let crashes = server.cli(&["daemon", "status", "--json"]).await.stdout;
    let status: Value = serde_json::from_str(&crashes).unwrap();
    assert_eq!(status.get("last_crash"), None, "a restart is no crash");
    let mut silences = found.into_inner();
    let told =
        |values: &mut [f64]| format!("p50 {:.0} ms, max {:.0} ms", percentile(values, 50), percentile(values, 100));
    Ok(format!(
        "{rounds} restarts, {} wakes, {} runs: 0 lost, 0 twice, 0 of {} lines lost or doubled; {live} runs lived on over a restart; \
         without an answer: {}, from the start of the process until ready: {}",
        settled.wakes,
        settled.runs,
        settled.lines,
        told(&mut silences),
        told(&mut ready_ms)
    ))
}
