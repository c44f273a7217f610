//! The machine runs short: of processes, and of room on the disk.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use wakeful_domain::time::Timestamp;
use wakeful_runner::process::control_groups;
use wakeful_test_server::{Client, Server, id, shim_pid, signal};

use super::server;
use crate::fakes::assert_ended;
use crate::logs::{marks, numbering_problem, records, stdout_of};
use crate::waiting::{ended, nothing_is_left, percentile, seconds, until};
use crate::{Case, Measured, Scale, Skipped};

pub const FORK_BOMB: Case = Case {
    name: "fork_bomb",
    rows: "9",
    provoked: "fork bombs one after another under limits.max_processes = 100, while others start",
    must_hold: "each ends as `too_many_processes`, its tree is gone, the others start as before",
    run: |scale, seed| Box::pin(fork_bomb(scale, seed)),
};

pub const DISK_FULL: Case = Case {
    name: "disk_full",
    rows: "11",
    provoked: "a flood fills the disk of the run directory while other runs write to it",
    must_hold: "records stay whole, what is lost is marked, nothing starts (`host_pressure`), nothing hangs, all goes on once there is room",
    run: |scale, seed| Box::pin(disk_full(scale, seed)),
};

pub const END_ON_FULL_DISK: Case = Case {
    name: "end_on_full_disk",
    rows: "11",
    provoked: "runs write and end while the disk of the run directory is full",
    must_hold: "over once there is room, with their true exit code; what they lost is marked in their log",
    run: |scale, seed| Box::pin(end_on_full_disk(scale, seed)),
};

const PROCESSES_MAX: u32 = 100;

/// Doubles again and again, but not for ever: without a limit these are 1,023 shells, which no machine dies of.
const BOMB: &str = "b() { if [ $1 -gt 0 ]; then b $(($1-1)) & b $(($1-1)) & wait; else sleep 20; fi; }; b 9";

/// Milliseconds from the wake to the start of the agent, one agent after another.
async fn start_latencies(client: &Client, agents: &[String], count: usize) -> Vec<f64> {
    let mut latencies = Vec::new();
    for number in 0..count {
        let run = client.run_of(&agents[number % agents.len()], json!({})).await;
        assert_ended(&run, "succeeded", "");
        let wakeup = client.show(&format!("/wakeups/{}", id(&run["wakeups"][0]))).await;
        let at = |document: &Value, field: &str| document[field].as_str().unwrap().parse::<Timestamp>().unwrap();
        latencies.push(at(&run, "started_at").since(at(&wakeup, "requested_at")).as_secs_f64() * 1_000.0);
    }
    latencies
}

async fn fork_bomb(scale: Scale, _seed: u64) -> Measured {
    if !control_groups().pids {
        return Err(Skipped("no control group that limits processes can be made here"));
    }
    let count = scale.of(15, 150);
    let server = server(10, &[]).await;
    let mut others = Vec::new();
    for number in 0..4 {
        others.push(server.process_agent(&format!("other-{number}"), "true").await);
    }
    let limits = json!({ "limits": { "max_processes": PROCESSES_MAX, "grace_s": 1, "max_duration_s": 30 } });
    let bomber = server.process_agent_with("bomber", BOMB, limits).await;
    let mut before = start_latencies(&server, &others, count).await;
    let is_over = Cell::new(false);
    let mut bombs = 0;
    let bombing = async {
        while !is_over.get() || bombs == 0 {
            // Five in a row would open its lane's circuit.
            server.post(&format!("/agents/{bomber}/resume"), &json!({})).await;
            let run = id(&server.running(&server.wake(&bomber, json!({})).await).await);
            let (over, _) = ended(&server, &run, Duration::from_secs(40)).await;
            assert_ended(&over, "failed", "too_many_processes");
            bombs += 1;
        }
    };
    let measuring = async {
        let latencies = start_latencies(&server, &others, count).await;
        is_over.set(true);
        latencies
    };
    let ((), mut during) = tokio::join!(bombing, measuring);
    nothing_is_left(&server).await;
    server.assert_sound().await;
    let p99 = percentile(&mut during, 99);
    assert!(p99 < 5_000.0, "others start after {p99:.0} ms");
    Ok(format!(
        "{bombs} bombs, all `too_many_processes` at {PROCESSES_MAX}, 0 processes left; {count} starts of others meanwhile: \
         p50 {:.0} ms, p99 {p99:.0} ms (before: p50 {:.0} ms, p99 {:.0} ms)",
        percentile(&mut during, 50),
        percentile(&mut before, 50),
        percentile(&mut before, 99)
    ))
}

/// A small file system in memory; what still writes to it is killed with it.
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounted with these options more, each behind a comma; nothing where that is not possible.
    pub fn mount(target: &Path, mib: u64, more: &str) -> Option<Tmpfs> {
        fs::create_dir_all(target).unwrap();
        let options = format!("size={mib}m,mode=700{more}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "wakeful-faults"]).arg(target);
        let is_mounted = mount.output().is_ok_and(|output| output.status.success());
        is_mounted.then(|| Tmpfs(target.to_owned()))
    }

    fn free_kib(&self) -> u64 {
        let space = rustix::fs::statvfs(&self.0).unwrap();
        space.f_bavail * space.f_frsize / 1_024
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let runs = fs::read_dir(&self.0).into_iter().flatten().flatten();
        // Only those that are left after a failure: an ended run has its exit record.
        let live = runs.filter(|run| !run.path().join("exit-1.json").exists());
        live.filter_map(|run| shim_pid(&run.path().join("shim-1.json"))).for_each(|pid| {
            if crate::machine::command_of(pid).trim_end().ends_with(" shim") {
                signal(pid, Signal::KILL);
            }
        });
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

pub const NO_MOUNT: &str = "no file system can be mounted here: run it as root or in `unshare -rm`";
const DISK_MIB: u64 = 64;
/// More than what has to be free again before anything starts.
const BALLAST_MIB: usize = 28;
const FREE_MIN_MIB: &str = "16";

async fn disk_full(scale: Scale, _seed: u64) -> Measured {
    let writers = scale.of(3, 10);
    let server = server(30, &["--min-free-disk-mb", FREE_MIN_MIB]).await;
    let Some(disk) = Tmpfs::mount(&server.path().join("runs"), DISK_MIB, "") else {
        return Err(Skipped(NO_MOUNT));
    };
    let ballast = server.path().join("runs").join("ballast");
    fs::write(&ballast, vec![1; BALLAST_MIB * 1024 * 1024]).unwrap();
    let end = server.outside().join("end");
    let writing = "echo \"line $i\"; sleep 0.04; i=$((i+1))";
    let script = format!("until test -e {}; do {writing}; done; for j in 1 2 3 4 5; do {writing}; done", end.display());
    let live = written_by(&server, writers, &script).await;
    let flood = "yes \"$(printf '%0500d' 0)\" | head -c 300000000";
    // Its log would fill what the ballast leaves, and leaves enough once that is gone.
    let limits = json!({ "limits": { "max_log_mb": 34 } });
    let flooder = server.process_agent_with("flooder", flood, limits).await;
    let flooded = id(&server.running(&server.wake(&flooder, json!({})).await).await);
    until("the disk is full", Duration::from_secs(60), async || disk.free_kib() < 256).await;
    // The writers lose some of what they write.
    sleep(Duration::from_secs(1)).await;
    let late = server.process_agent("late", "echo here").await;
    let waits = server.wake(&late, json!({})).await;
    let path = format!("/wakeups/{waits}");
    server.until(&path, |wakeup| wakeup["waiting"]["reason"] == "host_pressure").await;
    let asked = Instant::now();
    for (run, _) in &live {
        assert!(
            server.get(&format!("/runs/{run}")).await.0 == 200
                && server.get(&format!("/runs/{run}/log")).await.0 == 200
        );
    }
    assert!(asked.elapsed() < Duration::from_secs(2), "the server hangs on a full disk");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(server.show(&path).await["status"], "pending", "it was started on a full disk");

    fs::remove_file(&ballast).unwrap();
    let freed = Instant::now();
    assert_eq!(server.settled(&waits).await["status"], "completed");
    let resumed = freed.elapsed();
    fs::write(&end, "").unwrap();
    let told = lost_and_kept(&server, &live).await;
    let (over, _) = ended(&server, &flooded, Duration::from_secs(60)).await;
    assert_ended(&over, "succeeded", "");
    assert_eq!(over["log"]["truncated"], true, "the flood lost output and does not say so: {over:#}");
    nothing_is_left(&server).await;
    server.assert_sound().await;
    Ok(format!(
        "{DISK_MIB} MiB filled; {told}; the next run waited as `host_pressure` and started {} after there was room",
        seconds(resumed)
    ))
}

async fn end_on_full_disk(scale: Scale, _seed: u64) -> Measured {
    let writers = scale.of(2, 10);
    let server = server(30, &["--min-free-disk-mb", FREE_MIN_MIB]).await;
    let Some(disk) = Tmpfs::mount(&server.path().join("runs"), DISK_MIB, "") else {
        return Err(Skipped(NO_MOUNT));
    };
    let go = server.outside().join("go");
    let writing = "while [ $i -lt 200 ]; do echo \"line $i\"; i=$((i+1)); done";
    let script = format!("until test -e {}; do sleep 0.02; done; {writing}", go.display());
    let live = written_by(&server, writers, &script).await;
    let ballast = server.path().join("runs").join("ballast");
    let filled = fs::write(&ballast, vec![1; usize::try_from(DISK_MIB).unwrap() * 1024 * 1024]);
    assert!(filled.is_err() && disk.free_kib() == 0, "the disk is not full");
    fs::write(&go, "").unwrap();
    sleep(Duration::from_secs(2)).await;
    fs::remove_file(&ballast).unwrap();
    let told = lost_and_kept(&server, &live).await;
    nothing_is_left(&server).await;
    server.assert_sound().await;
    Ok(told)
}

/// Agents that count in `i` what they write, leave the count beside the data directory, and exit with 7.
async fn written_by(server: &Server, writers: usize, script: &str) -> Vec<(String, PathBuf)> {
    let mut live = Vec::new();
    for number in 0..writers {
        let count = server.outside().join(format!("count-{number}"));
        let script = format!("i=0; {script}; echo $i > {}; exit 7", count.display());
        let agent = server.process_agent(&format!("writer-{number}"), &script).await;
        live.push((id(&server.running(&server.wake(&agent, json!({})).await).await), count));
    }
    live
}

/// Every line of a writer is in the log or is said to be missing, and its exit code is its own.
async fn lost_and_kept(server: &Server, runs: &[(String, PathBuf)]) -> String {
    let (mut kept_in_all, mut lost_in_all) = (0, 0);
    for (run, count) in runs {
        let (over, _) = ended(server, run, Duration::from_secs(90)).await;
        assert_ended(&over, "failed", "exit_nonzero");
        assert_eq!(over["exit_code"], 7);
        let records = records(server, run).await;
        assert_eq!(numbering_problem(&records), None, "{run}");
        let kept = String::from_utf8(stdout_of(&records)).unwrap();
        let numbers: Vec<usize> =
            kept.lines().map(|line| line.strip_prefix("line ").unwrap().parse().unwrap()).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "doubled or out of order: {numbers:?}");
        let written: u64 = fs::read_to_string(count).unwrap().trim().parse().unwrap();
        let lost: u64 = marks(&records).iter().filter_map(|mark| mark["missing"]["lines"].as_u64()).sum();
        assert_eq!(numbers.len() as u64 + lost, written, "{run}: what is lost is not all marked");
        kept_in_all += numbers.len();
        lost_in_all += lost;
    }
    assert!(lost_in_all > 0, "nothing was lost: the disk was not full");
    format!("{} writers: {kept_in_all} lines kept whole, {lost_in_all} lost and marked, 0 unaccounted for", runs.len())
}
