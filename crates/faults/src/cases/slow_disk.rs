//! A disk that does not answer for a while: a file system of its own is frozen, as a storage array that hangs would do
//! it, and thawed again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use wakeful_test_server::{Server, id, is_alive};

use super::server;
use crate::fakes::assert_ended;
use crate::logs::{Wanted, lines_problem, records};
use crate::machine::shim_of;
use crate::waiting::{ended, nothing_is_left, seconds, until};
use crate::{Case, Measured, Scale, Skipped};

pub const SLOW_DISK: Case = Case {
    name: "slow_disk",
    rows: "11",
    provoked: "the file system of the run directory is frozen (`fsfreeze`) while runs write to it; one of them is cancelled meanwhile",
    must_hold: "an event `log_slow` and `host_pressure`, the server answers, the cancelled tree is gone while the disk still stands, no line is lost once it goes on",
    run: |scale, seed| Box::pin(slow_disk(scale, seed)),
};

const NO_FREEZE: &str =
    "no file system can be made, mounted and frozen here: it takes root, loop devices, mkfs.ext4 and fsfreeze";
const DISK_MIB: u64 = 256;
/// More lines than pipes and buffers hold.
const FLOOD_LINES: usize = 500_000;

/// A file system in a file; thawed and unmounted at last.
struct Disk(PathBuf);

impl Disk {
    /// Mounts a new one, if it can be frozen.
    fn mount(image: &Path, target: &Path) -> Option<Disk> {
        fs::create_dir_all(target).unwrap();
        fs::File::create(image).and_then(|file| file.set_len(DISK_MIB * 1024 * 1024)).unwrap();
        let works = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        let is_mounted = works(Command::new("mkfs.ext4").arg("-q").arg(image))
            && works(Command::new("mount").args(["-o", "loop"]).arg(image).arg(target));
        let disk = is_mounted.then(|| Disk(target.to_owned()))?;
        (disk.set(Flow::Stands) && disk.set(Flow::Flows)).then_some(disk)
    }

    fn set(&self, flow: Flow) -> bool {
        let option = match flow {
            Flow::Stands => "-f",
            Flow::Flows => "-u",
        };
        Command::new("fsfreeze").arg(option).arg(&self.0).output().is_ok_and(|output| output.status.success())
    }
}

enum Flow {
    Stands,
    Flows,
}

impl Drop for Disk {
    fn drop(&mut self) {
        // After a failure it may still stand, and shims wait for it.
        self.set(Flow::Flows);
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

async fn slow_disk(scale: Scale, _seed: u64) -> Measured {
    let writers = scale.of(3, 20);
    let stands = scale.of(Duration::from_secs(5), Duration::from_secs(20));
    let server = server(writers + 5, &[]).await;
    let Some(disk) = Disk::mount(&server.outside().join("disk"), &server.path().join("runs")) else {
        return Err(Skipped(NO_FREEZE));
    };
    let end = server.outside().join("end");
    let mut live = Vec::new();
    for number in 0..writers {
        let name = format!("writer-{number}");
        let count = server.outside().join(&name);
        let script = format!(
            "i=0; until test -e {}; do i=$((i+1)); echo \"{name} line $i\"; sleep 0.02; done; echo $i > {}; exit 7",
            end.display(),
            count.display()
        );
        live.push((name, start(&server, &format!("writer-{number}"), &script).await, count));
    }
    let go = server.outside().join("go");
    let wait = format!("until test -e {}; do sleep 0.02; done", go.display());
    let flood = format!("{wait}; seq -f 'flooder line %.0f' {FLOOD_LINES}");
    let flooder = start(&server, "flooder", &flood).await;
    let victim_pid = server.outside().join("victim.pid");
    let script =
        format!("(trap '' TERM; while :; do sleep 0.1; echo here; done) & echo $! > {}; wait", victim_pid.display());
    let victim = start(&server, "victim", &script).await;
    let has_pid = async || fs::read_to_string(&victim_pid).is_ok_and(|text| text.ends_with('\n'));
    until("the victim's process", Duration::from_secs(10), has_pid).await;
    let pid: u32 = fs::read_to_string(&victim_pid).unwrap().trim().parse().unwrap();

    assert!(disk.set(Flow::Stands), "the disk was not frozen");
    let frozen = Instant::now();
    fs::write(&go, "").unwrap();
    let (_, first, _) = &live[0];
    let is_told = async || has_event(&server, first, "log_slow").await;
    until("an event that the log is slow", Duration::from_secs(10), is_told).await;
    let told = frozen.elapsed();
    let late = server.process_agent("late", "echo here").await;
    let waits = server.wake(&late, json!({})).await;
    let path = format!("/wakeups/{waits}");
    server.until(&path, |wakeup| wakeup["waiting"]["reason"] == "host_pressure").await;
    let asked = Instant::now();
    for (_, run, _) in &live {
        assert!(
            server.get(&format!("/runs/{run}")).await.0 == 200
                && server.get(&format!("/runs/{run}/log")).await.0 == 200
        );
    }
    assert!(asked.elapsed() < Duration::from_secs(2), "the server hangs on a disk that stands");
    let cancelled = Instant::now();
    let (status, _) = server.post(&format!("/runs/{victim}/cancel"), &json!({})).await;
    assert_eq!(status, 202);
    until("the end of the cancelled tree", Duration::from_secs(25), async || !is_alive(pid)).await;
    let gone = cancelled.elapsed();
    assert!(server.show(&format!("/runs/{victim}")).await["finished_at"].is_null(), "over before its end is on disk");
    sleep(stands.saturating_sub(frozen.elapsed())).await;
    assert!(fs::exists(&end).is_ok_and(|is_there| !is_there) && shim_of(&server, first).is_some_and(is_alive));

    assert!(disk.set(Flow::Flows), "the disk was not thawed");
    let thawed = Instant::now();
    let stood = thawed - frozen;
    let (over, _) = ended(&server, &victim, Duration::from_secs(30)).await;
    assert_ended(&over, "cancelled", "cancelled");
    assert_eq!(server.settled(&waits).await["status"], "completed");
    let resumed = thawed.elapsed();
    fs::write(&end, "").unwrap();
    let mut lines = 0;
    for (name, run, count) in &live {
        let (over, _) = ended(&server, run, Duration::from_secs(60)).await;
        assert_ended(&over, "failed", "exit_nonzero");
        let written: usize = fs::read_to_string(count).unwrap().trim().parse().unwrap();
        assert_eq!(lines_problem(&records(&server, run).await, name, Wanted::All(written)), None);
        assert_eq!(over["log"]["truncated"], false);
        assert!(has_event(&server, run, "log_slow").await && has_event(&server, run, "log_caught_up").await);
        lines += written;
    }
    let (over, _) = ended(&server, &flooder, Duration::from_secs(60)).await;
    assert_ended(&over, "succeeded", "");
    assert_eq!(lines_problem(&records(&server, &flooder).await, "flooder", Wanted::All(FLOOD_LINES)), None);
    nothing_is_left(&server).await;
    server.assert_sound().await;
    Ok(format!(
        "the disk stood for {}; told after {}; the cancelled tree, which ignores TERM, was gone after {} with the disk still standing; \
         {lines} lines of {writers} writers and {FLOOD_LINES} of a flood, 0 lost; the next run started {} after the thaw",
        seconds(stood),
        seconds(told),
        seconds(gone),
        seconds(resumed)
    ))
}

/// Starts an agent with a grace of a second.
async fn start(server: &Server, name: &str, script: &str) -> String {
    let agent = server.process_agent_with(name, script, json!({ "limits": { "grace_s": 1 } })).await;
    id(&server.running(&server.wake(&agent, json!({})).await).await)
}

async fn has_event(server: &Server, run: &str, kind: &str) -> bool {
    let events = server.show(&format!("/runs/{run}/events")).await;
    events["items"].as_array().is_some_and(|events| events.iter().any(|event: &Value| event["type"] == kind))
}
