//! The disk of the whole data directory is full: of its store, its logs and everything else.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use wakeful_test_server::{Server, id};

use super::limits::{NO_MOUNT, Tmpfs};
use crate::fakes::assert_ended;
use crate::waiting::{ended, nothing_is_left, seconds, until};
use crate::{Case, Measured, Scale, Skipped};

pub const STORE_FULL: Case = Case {
    name: "store_full",
    rows: "11",
    provoked: "the disk of the data directory, store and all, is filled to the last byte while runs are live; again after its reserve was given up; then there is room; a start on a disk that is full",
    must_hold: "nothing starts (`host_pressure`), live runs end as they do, old logs go, reads are answered; then writes are refused (507) and nothing is half written; all goes on by itself, everything that was answered is there",
    run: |scale, seed| Box::pin(store_full(scale, seed)),
};

const DISK_MIB: u64 = 192;
const MIB: usize = 1024 * 1024;
const NOTE_BYTES: usize = 700 * 1024;
/// Wakes that the given-up reserve has room for, at least.
const TAKEN_BEFORE: usize = 5;

/// Writes until there is not a byte left.
fn fill(ballast: &Path) {
    let mut file = File::options().create(true).append(true).open(ballast).unwrap();
    for size in [MIB, 4_096, 1] {
        let chunk = vec![1; size];
        while file.write_all(&chunk).is_ok() {}
    }
}

async fn reserve(server: &Server) -> u64 {
    fs::metadata(server.path().join("reserve")).map_or(0, |metadata| metadata.len())
}

async fn store_full(scale: Scale, _seed: u64) -> Measured {
    let workers = scale.of(3, 10);
    let dir = tempfile::Builder::new().prefix("wakeful-full-").tempdir().unwrap();
    let Some(disk) = Tmpfs::mount(&dir.path().join("data"), DISK_MIB, "") else { return Err(Skipped(NO_MOUNT)) };
    let options = ["--min-free-disk-mb", "8", "--max-live-runs", "30"];
    let mut server = Server::start_in(dir, &options, &[]).await;
    let (status, company) = server.patch("/companies/default", &json!({ "max_concurrent_runs": 30 })).await;
    assert_eq!(status, 200, "{company}");
    let old = server.process_agent("old", "echo hello").await;
    let old_run = id(&server.run_of(&old, json!({})).await);
    server.stop().await;
    let store = rusqlite::Connection::open(server.path().join("wakeful.db")).unwrap();
    store.execute("update runs set finished_at = finished_at - 40 * 86400000000", []).unwrap();
    drop(store);
    server.start_again().await;
    until("a reserve", Duration::from_secs(10), async || reserve(&server).await > 0).await;
    let go = server.outside().join("go");
    let script = format!("until test -e {}; do sleep 0.05; done; exit 7", go.display());
    let mut live = Vec::new();
    for number in 0..workers {
        let agent = server.process_agent(&format!("worker-{number}"), &script).await;
        live.push(id(&server.running(&server.wake(&agent, json!({})).await).await));
    }

    let ballast = server.path().join("ballast");
    fill(&ballast);
    let full = Instant::now();
    until("the reserve is given up", Duration::from_secs(10), async || reserve(&server).await == 0).await;
    let given_up = full.elapsed();
    let gone = async || server.show(&format!("/runs/{old_run}")).await["log_removed_at"].is_string();
    until("old logs go while the disk is full", Duration::from_secs(10), gone).await;
    let late = server.process_agent("late", "echo here").await;
    let waits = server.wake(&late, json!({})).await;
    let path = format!("/wakeups/{waits}");
    server.until(&path, |wakeup| wakeup["waiting"]["reason"] == "host_pressure").await;
    fs::write(&go, "").unwrap();
    for run in &live {
        let (over, _) = ended(&server, run, Duration::from_secs(30)).await;
        assert_ended(&over, "failed", "exit_nonzero");
    }
    let plan = server.cli(&["gc", "--json"]).await;
    assert_eq!(plan.code, 0, "gc on a full disk: {}", plan.stderr);

    let (mut answered, mut refused) = (vec![waits.clone()], 0);
    let body = json!({ "delay_ms": 3_600_000, "payload": { "note": "x".repeat(NOTE_BYTES) } });
    let path = format!("/agents/{late}/wake");
    let until_refused = Instant::now();
    while refused < 5 {
        assert!(until_refused.elapsed() < Duration::from_secs(60), "nothing is ever refused");
        if answered.len() > TAKEN_BEFORE {
            fill(&ballast);
        }
        let (status, found) = server.post(&path, &body).await;
        match status {
            202 => answered.push(id(&found)),
            507 => refused += told_what_to_do(&found),
            _ => panic!("neither taken nor refused for lack of room: {status} {found}"),
        }
    }
    let asked = Instant::now();
    for wakeup in &answered {
        assert_eq!(server.get(&format!("/wakeups/{wakeup}")).await.0, 200);
    }
    assert!(asked.elapsed() < Duration::from_secs(5), "reads hang on a full disk");
    server.assert_sound().await;
    fs::remove_file(&ballast).unwrap();
    let freed = Instant::now();
    assert_eq!(server.settled(&waits).await["status"], "completed");
    let resumed = freed.elapsed();
    until("the reserve is held again", Duration::from_secs(20), async || reserve(&server).await > 0).await;
    // What was refused left nothing.
    let pending = server.all(&format!("/companies/default/wakeups?status=pending&agent={late}")).await;
    assert_eq!(pending.len(), answered.len() - 1);

    server.kill9();
    fill(&ballast);
    server.start_again().await;
    for wakeup in &answered {
        assert_eq!(server.get(&format!("/wakeups/{wakeup}")).await.0, 200, "{wakeup} was answered and is gone");
    }
    fs::remove_file(&ballast).unwrap();
    let run = server.run_of(&late, json!({})).await;
    assert_ended(&run, "succeeded", "");
    nothing_is_left(&server).await;
    server.assert_sound().await;
    drop(disk);
    Ok(format!(
        "{DISK_MIB} MiB filled; the reserve given up after {}, old logs removed and {} runs ended with it; {} large wakes taken, then {refused} of {refused} refused with 507; with room the next run started by itself {} later; killed and filled again, it starts on the full disk with all {} answered wakes",
        seconds(given_up),
        live.len(),
        answered.len() - 1,
        seconds(resumed),
        answered.len()
    ))
}

/// One refusal that names its cause and the remedy.
pub fn told_what_to_do(problem: &Value) -> usize {
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(problem["code"] == "store_full" && detail.contains("make room"), "{problem}");
    1
}
