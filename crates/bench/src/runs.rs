//! From an accepted wake to a started process, and whole runs a second.

use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::ceilings;
use crate::report::{Report, percentile};
use crate::server::Server;

/// Wakes one after the other.
const WAKES: usize = 200;
/// Runs of `/bin/true`.
const RUNS: usize = 2_000;
/// Runs at once.
const AT_ONCE: usize = 16;

/// The agent that is measured: it tells the benchmark that it has been started.
pub fn stamp(address: &str) -> Result<()> {
    UdpSocket::bind("127.0.0.1:0")?.send_to(b"started", address)?;
    Ok(())
}

/// Sends wakes one by one; each is measured from before the request to the word of its process.
pub fn latency(binary: &Path, report: &mut Report) -> Result<()> {
    let mut bare = ceilings::spawn_latencies(WAKES * 2)?;
    let (bare_p50, bare_p99) = (percentile(&mut bare, 50.0), percentile(&mut bare, 99.0));
    let server = Server::start(binary, 4)?;
    let ear = UdpSocket::bind("127.0.0.1:0")?;
    ear.set_read_timeout(Some(Duration::from_secs(20)))?;
    let own = std::env::current_exe()?;
    let agent = server.agent("stamper", &json!([own, "stamp", ear.local_addr()?.to_string()]), &json!({}))?;
    let mut connection = server.connect()?;
    let mut figures = Vec::with_capacity(WAKES);
    for _ in 0..WAKES {
        let start = Instant::now();
        let wakeup = connection.json("POST", &format!("/api/v1/agents/{agent}/wake"), &json!({}))?;
        ear.recv(&mut [0; 16])?;
        figures.push(start.elapsed().as_secs_f64() * 1_000.0);
        let path = format!("/api/v1/wakeups/{}", wakeup["id"].as_str().unwrap_or_default());
        until(Duration::from_millis(2), || Ok(connection.json("GET", &path, &Value::Null)?["status"] == "completed"))?;
    }
    let (p50, p99) = (percentile(&mut figures, 50.0), percentile(&mut figures, 99.0));
    let against = |value: f64, bare: f64| format!("{:.1} × bare start of /bin/true ({bare:.2} ms)", value / bare);
    report.note("wake → process started, p50, idle", format!("{p50:.2} ms, {}", against(p50, bare_p50)));
    report.at_most("wake → process started, p99, idle", p99, "ms", against(p99, bare_p99), 20.0);
    report.at_most("the same as a ratio of p99s", p99 / bare_p99, "×", String::new(), 5.0);
    Ok(())
}

/// Lets many lanes of one agent become ready at once and measures until all runs are over.
pub fn throughput(binary: &Path, report: &mut Report) -> Result<()> {
    let bare = ceilings::spawn_rate(AT_ONCE)?;
    let server = Server::start(binary, AT_ONCE)?;
    let agent = server.agent("truth", &json!(["/bin/true"]), &json!({ "max_concurrent_runs": AT_ONCE }))?;
    let mut connection = server.connect()?;
    connection.json("PATCH", "/api/v1/companies/default", &json!({ "max_concurrent_runs": 1_000 }))?;
    connection.json("POST", "/api/v1/companies/default/pause", &json!({}))?;
    let mut wakes = Vec::with_capacity(RUNS);
    for number in 0..RUNS {
        let task = connection.json(
            "POST",
            "/api/v1/companies/default/tasks",
            &json!({ "title": format!("task {number}") }),
        )?;
        wakes.push(json!({ "agent": agent, "task": task["id"] }));
    }
    for part in wakes.chunks(1_000) {
        connection.json("POST", "/api/v1/companies/default/wakes", &json!({ "wakes": part }))?;
    }
    let start = Instant::now();
    connection.json("POST", "/api/v1/companies/default/resume", &json!({}))?;
    // Asked seldom: the question costs the server time that it needs for the runs.
    let all_over = format!("wakeful_runs_ended_total{{status=\"succeeded\",class=\"none\"}} {RUNS}\n");
    until(Duration::from_millis(50), || {
        let (_, metrics) = connection.request("GET", "/metrics", "")?;
        Ok(String::from_utf8_lossy(&metrics).contains(&all_over))
    })?;
    let rate = RUNS as f64 / start.elapsed().as_secs_f64();
    let ended = connection.json("GET", "/api/v1/companies/default/stats", &Value::Null)?;
    ensure!(ended["wakeups"]["completed"] == json!(RUNS), "not every wakeup was completed: {ended}");
    report.at_least("runs of /bin/true, 16 at once", rate, "/s", ("bare starts, 16 at once", bare), 0.25);
    Ok(())
}

/// Asks again and again, for two minutes at most.
pub fn until(between: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !is_so()? {
        ensure!(start.elapsed() < Duration::from_secs(120), "it did not happen within two minutes");
        std::thread::sleep(between);
    }
    Ok(())
}
