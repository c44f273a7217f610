//! A day of a fleet in minutes: nothing may grow with time but what is kept on purpose.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use wakeful_test_server::{Server, id};

use super::server;
use crate::load::Load;
use crate::machine::{cpu, status_kib};
use crate::waiting::nothing_is_left;
use crate::{Case, Measured, Scale};

pub const SOAK: Case = Case {
    name: "soak",
    rows: "(soak)",
    provoked: "a fleet with schedules of seconds, wakes and readers of its events works without a pause: more runs than a working day of 20 agents has",
    must_hold: "memory, open files and processor time per run of the server stay as they were after the first third; every run is accounted for",
    run: |scale, seed| Box::pin(soak(scale, seed)),
};

const SAMPLE_EVERY: Duration = Duration::from_millis(500);
/// What allocators and caches may still take after the first third.
const MEMORY_SLACK: f64 = 1.15;
const MEMORY_SLACK_KIB: u64 = 12 * 1024;
const FILES_SLACK: usize = 16;

/// The server at one moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    rss_kib: u64,
    files: usize,
    cpu: Duration,
}

fn sample(server: &Server) -> Sample {
    let pid = server.pid();
    let files = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    Sample { rss_kib: status_kib(pid, "VmRSS"), files, cpu: cpu(pid) }
}

fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_below(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |metadata| metadata.len()),
        Ok(_) | Err(_) => 0,
    };
    entries.map(size).sum()
}

fn median<T: Ord + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}

async fn runs_so_far(server: &Server) -> u64 {
    let stats = server.show("/companies/default/stats").await;
    stats["runs"].as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum()
}

async fn soak(scale: Scale, _seed: u64) -> Measured {
    let (agents, length) = scale.of((6, Duration::from_secs(24)), (20, Duration::from_secs(600)));
    let server = server(agents, &[]).await;
    let load = Load::on(&server, agents, 3, Duration::from_millis(50)).await;
    let mut schedules = Vec::new();
    for (number, agent) in server.all("/companies/default/agents").await.iter().enumerate() {
        let every = json!({ "name": format!("often-{number}"), "trigger": { "every": "2s" }, "target": { "wake": { "agent": id(agent) } } });
        let (status, made) = server.post("/companies/default/schedules", &every).await;
        assert_eq!(status, 201, "{made}");
        schedules.push(id(&made));
    }
    let watching = async {
        let (began, mut samples, mut runs_at) = (Instant::now(), Vec::new(), Vec::new());
        for third in 1..=3 {
            while began.elapsed() < length * third / 3 {
                // A reader comes, looks and goes, as a page does.
                server.get("/companies/default/events?limit=50").await;
                samples.push((third, sample(&server)));
                sleep(SAMPLE_EVERY).await;
            }
            runs_at.push(runs_so_far(&server).await);
        }
        for schedule in &schedules {
            server.delete(&format!("/schedules/{schedule}")).await;
        }
        load.end();
        (samples, runs_at)
    };
    let ((samples, runs_at), ()) = tokio::join!(watching, load.drive(Duration::from_millis(60)));
    let settled = load.settled(&server, Duration::from_secs(120)).await;
    nothing_is_left(&server).await;
    server.assert_sound().await;

    let of = |third: u32| samples.iter().filter(move |(found, _)| *found == third).map(|(_, sample)| *sample);
    let rss = |third| median(of(third).map(|sample| sample.rss_kib));
    let files = |third| median(of(third).map(|sample| sample.files));
    let spent = |third: u32| of(third).next_back().unwrap().cpu - of(third).next().unwrap().cpu;
    let per_run = |third: u32| {
        let runs = runs_at[third as usize - 1] - runs_at[third as usize - 2];
        spent(third).as_secs_f64() * 1_000.0 / runs as f64
    };
    let (second, last) = ((rss(2), files(2), per_run(2)), (rss(3), files(3), per_run(3)));
    let rss_max = (second.0 as f64 * MEMORY_SLACK) as u64 + MEMORY_SLACK_KIB;
    assert!(last.0 <= rss_max, "memory grew from {} to {} KiB", second.0, last.0);
    assert!(last.1 <= second.1 + FILES_SLACK, "open files grew from {} to {}", second.1, last.1);
    // Short lives measure the noise of the machine.
    let is_flat = scale == Scale::Small || last.2 <= second.2 * 1.5;
    assert!(is_flat, "a run took {:.1} ms of the server's processor time, and then {:.1}", second.2, last.2);
    let kept = bytes_below(server.path()) / settled.runs.max(1) as u64;
    Ok(format!(
        "{} s, {} runs, {} wakes under keys, each accounted for; memory of the server {} → {} MiB, open files {} → {}, processor time \
         {:.1} → {:.1} ms a run (medians of the second and the last third); {} KiB a run kept on the disk",
        length.as_secs(),
        settled.runs,
        settled.wakes,
        second.0 / 1024,
        last.0 / 1024,
        second.1,
        last.1,
        second.2,
        last.2,
        kept / 1024
    ))
}
