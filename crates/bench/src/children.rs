//! Children: from a child's end to its parent's process, and what a thousand children of one parent that finish at
//! once cost beside the same runs without a parent.

use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::ceilings;
use crate::http::Connection;
use crate::report::{Report, percentile};
use crate::runs::until;
use crate::server::Server;

/// Children one after the other.
const CHILDREN: usize = 100;
/// Children that finish at once.
const AT_ONCE: usize = 1_000;
/// Live runs at once.
const LIVE: usize = 16;

pub fn measure(binary: &Path, report: &mut Report) -> Result<()> {
    latency(binary, report)?;
    let alone = crowd(binary, false)?;
    let told = crowd(binary, true)?;
    let against =
        format!("{:.2} × the same runs without a parent ({:.1} s)", told.seconds / alone.seconds, alone.seconds);
    report.at_most(
        "1,000 children of one parent finish at once, all told",
        told.seconds,
        "s",
        against,
        2.0 * alone.seconds,
    );
    report.note("runs of the parent for these 1,000 ends", told.parents_runs.to_string());
    Ok(())
}

fn task(connection: &mut Connection, body: &Value) -> Result<String> {
    let made = connection.json("POST", "/api/v1/companies/default/tasks", body)?;
    Ok(made["id"].as_str().unwrap_or_default().to_owned())
}

/// Each child says that it is about to end, and then its parent's process that it was started.
fn latency(binary: &Path, report: &mut Report) -> Result<()> {
    let mut bare = ceilings::spawn_latencies(CHILDREN * 2)?;
    let (bare_p50, bare_p99) = (percentile(&mut bare, 50.0), percentile(&mut bare, 99.0));
    let server = Server::start(binary, 4)?;
    let ear = || -> Result<UdpSocket> {
        let ear = UdpSocket::bind("127.0.0.1:0")?;
        ear.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(ear)
    };
    let (of_child, of_parent) = (ear()?, ear()?);
    let own = std::env::current_exe()?;
    let stamper = |name: &str, ear: &UdpSocket| {
        server.agent(name, &json!([own, "stamp", ear.local_addr()?.to_string()]), &json!({}))
    };
    let (worker, boss) = (stamper("worker", &of_child)?, stamper("boss", &of_parent)?);
    let mut connection = server.connect()?;
    let parent = task(&mut connection, &json!({ "title": "whole", "assignee": boss }))?;
    of_parent.recv(&mut [0; 16])?;
    let mut figures = Vec::with_capacity(CHILDREN);
    for number in 0..CHILDREN {
        // Whoever still works would be told by its next run.
        let idle = |agent: &str, connection: &mut Connection| -> Result<bool> {
            let agent = connection.json("GET", &format!("/api/v1/agents/{agent}"), &Value::Null)?;
            Ok(agent["live_runs"] == 0 && agent["pending_wakeups"] == 0)
        };
        until(Duration::from_millis(2), || Ok(idle(&worker, &mut connection)? && idle(&boss, &mut connection)?))?;
        let child = json!({ "title": format!("part {number}"), "assignee": worker, "parent": parent });
        task(&mut connection, &child)?;
        of_child.recv(&mut [0; 16])?;
        let ended = Instant::now();
        of_parent.recv(&mut [0; 16])?;
        figures.push(ended.elapsed().as_secs_f64() * 1_000.0);
    }
    let (p50, p99) = (percentile(&mut figures, 50.0), percentile(&mut figures, 99.0));
    let against = |value: f64, bare: f64| format!("{:.1} × bare start of /bin/true ({bare:.2} ms)", value / bare);
    report.note(
        "a child's last word → parent's process started, p50",
        format!("{p50:.2} ms, {}", against(p50, bare_p50)),
    );
    report.at_most("the same, p99", p99, "ms", against(p99, bare_p99), 40.0);
    Ok(())
}

struct Crowd {
    seconds: f64,
    parents_runs: i64,
}

/// A thousand runs of `/bin/true`, each about a task of its own, which has a parent or not.
fn crowd(binary: &Path, has_parent: bool) -> Result<Crowd> {
    let server = Server::start(binary, LIVE)?;
    let worker = server.agent("worker", &json!(["/bin/true"]), &json!({ "max_concurrent_runs": LIVE }))?;
    let boss = server.agent("boss", &json!(["/bin/true"]), &json!({}))?;
    let mut connection = server.connect()?;
    connection.json(
        "PATCH",
        "/api/v1/companies/default",
        &json!({ "max_concurrent_runs": 1_000, "max_runs_per_root_hour": 100_000 }),
    )?;
    connection.json("POST", "/api/v1/companies/default/pause", &json!({}))?;
    let parent = task(&mut connection, &json!({ "title": "whole", "assignee": boss }))?;
    for number in 0..AT_ONCE {
        let mut child = json!({ "title": format!("part {number}"), "assignee": worker });
        if has_parent {
            child["parent"] = json!(parent);
        }
        task(&mut connection, &child)?;
    }
    let begun = Instant::now();
    connection.json("POST", "/api/v1/companies/default/resume", &json!({}))?;
    let wakeups = AT_ONCE + 1 + if has_parent { AT_ONCE } else { 0 };
    until(Duration::from_millis(50), || {
        let stats = connection.json("GET", "/api/v1/companies/default/stats", &Value::Null)?;
        Ok(stats["wakeups"]["completed"] == json!(wakeups))
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let boss = connection.json("GET", &format!("/api/v1/agents/{boss}"), &Value::Null)?;
    let parents_runs = boss["totals"]["runs"].as_i64().unwrap_or_default();
    ensure!(parents_runs >= 1, "the parent's agent was never started: {boss}");
    Ok(Crowd { seconds, parents_runs })
}
