//! Memory, start and size.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::report::Report;
use crate::server::Server;

/// Live runs while the shims are weighed.
const SHIMS: usize = 4;

pub fn measure(binary: &Path, report: &mut Report) -> Result<()> {
    let mut starts = Vec::new();
    for _ in 0..5 {
        starts.push(Server::start(binary, 4)?.healthy_after.as_secs_f64() * 1_000.0);
    }
    let start = crate::report::percentile(&mut starts, 50.0);
    report.at_most("start to healthy, median of 5", start, "ms", String::new(), 200.0);
    let server = Server::start(binary, SHIMS)?;
    std::thread::sleep(Duration::from_secs(2));
    report.at_most("resident memory, idle", resident_mb(server.pid())?, "MB", String::new(), 30.0);
    for number in 0..SHIMS {
        let agent = server.agent(&format!("sleeper-{number}"), &json!(["/bin/sleep", "30"]), &json!({}))?;
        server.connect()?.json("POST", &format!("/api/v1/agents/{agent}/wake"), &json!({}))?;
    }
    std::thread::sleep(Duration::from_secs(1));
    let shims = shims_of(&server)?;
    let weights: Vec<f64> = shims.iter().map(|pid| resident_mb(*pid)).collect::<Result<_>>()?;
    let mean = weights.iter().sum::<f64>() / weights.len() as f64;
    report.at_most("resident memory per live shim", mean, "MB", format!("mean of {}", weights.len()), 3.0);
    report.at_most("resident memory with four live runs", resident_mb(server.pid())?, "MB", String::new(), 30.0);
    let size = std::fs::metadata(binary)?.len() as f64 / 1e6;
    report.note("size of the binary", format!("{size:.1} MB"));
    for pid in shims {
        // Stops the sleeping agents; they would end by themselves.
        std::process::Command::new("kill").arg(pid.to_string()).status().context("stopping a shim")?;
    }
    Ok(())
}

/// Memory of a process that is in use.
pub fn resident_mb(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kb: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kb / 1_024.0)
}

/// The shims, by the records they leave in the runs' directories.
fn shims_of(server: &Server) -> Result<Vec<u32>> {
    let mut pids = Vec::new();
    for run in std::fs::read_dir(server.dir().join("runs"))? {
        let text = std::fs::read_to_string(run?.path().join("shim-1.json"))?;
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap_or_default())?;
        let pid = first["shim"]["identity"]["pid"].as_u64().context("no pid in a shim's record")?;
        pids.push(u32::try_from(pid)?);
    }
    Ok(pids)
}
