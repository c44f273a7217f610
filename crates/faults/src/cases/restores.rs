//! Yesterday's backup is put back while what was started since still works.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use wakeful_test_server::{Server, id, is_alive, run_token, shim_pid};

use super::server;
use crate::machine::{Stranger, start_time};
use crate::waiting::{nothing_is_left, seconds};
use crate::{Case, Measured, Scale};

pub const RESTORED: Case = Case {
    name: "restored",
    rows: "42",
    provoked: "a backup is restored while runs work that were live in it and runs that began after it; some work of its pending wakeups is done; a record names a process of somebody else",
    must_hold: "all trees of the life before are gone, strangers are not; its tokens change nothing; no work is done again before it is asked for; a reader of events misses nothing",
    run: |scale, seed| Box::pin(restored(scale, seed)),
};

/// A child in the agent's own group and one in another session, which hold on.
const TREE: &str = "trap '' TERM; setsid sh -c 'exec sleep 600' & sleep 600 & echo begun; wait; sleep 600";
/// How long nothing may start.
const HELD_FOR: Duration = Duration::from_secs(3);

async fn live_run(server: &Server, name: &str) -> Value {
    let agent = server.process_agent_with(name, TREE, json!({ "limits": { "grace_s": 1 } })).await;
    server.running(&server.wake(&agent, json!({})).await).await
}

fn times(done: &Path) -> usize {
    fs::read_to_string(done).unwrap_or_default().lines().count()
}

async fn restored(scale: Scale, _seed: u64) -> Measured {
    let count = scale.of(3, 15);
    let mut server = server(count * 3 + 5, &[]).await;
    let mut runs = Vec::new();
    for number in 0..count {
        runs.push(live_run(&server, &format!("known-{number}")).await);
    }
    let done = server.outside().join("done");
    let script = format!("echo done >> {}", done.display());
    let mut pending = Vec::new();
    for number in 0..count {
        let agent = server.process_agent(&format!("worker-{number}"), &script).await;
        pending.push(server.wake(&agent, json!({ "delay_ms": 1_500 })).await);
    }
    let backup = server.outside().join("yesterday.tar.zst").display().to_string();
    server.cli(&["backup", &backup]).await.ok();
    for wakeup in &pending {
        assert_eq!(server.settled(wakeup).await["status"], "completed");
    }
    for number in 0..count {
        runs.push(live_run(&server, &format!("unknown-{number}")).await);
    }
    assert_eq!(times(&done), count);
    let cursor = id(server.all("/companies/default/events").await.last().unwrap());
    let tokens: Vec<String> = runs.iter().map(run_token).collect();
    let shims: Vec<u32> =
        runs.iter().map(|run| shim_pid(&server.run_dir(&id(run)).join("shim-1.json")).unwrap()).collect();
    let stranger = Stranger::start();
    server.kill9();
    forge(&server, &stranger);
    server.cli(&["restore", &backup]).await.ok();
    let began = tokio::time::Instant::now();
    server.start_again().await;
    let ready = began.elapsed();
    assert!(shims.iter().all(|pid| !is_alive(*pid)), "shims of the life before live on");
    nothing_is_left(&server).await;
    assert!(is_alive(stranger.pid()), "a stranger was ended");
    for (run, token) in runs.iter().zip(&tokens) {
        let report = json!({ "fence": run["fence"], "outcome": "succeeded" });
        let (status, problem) = server.with_token(token).post(&format!("/runs/{}/finish", id(run)), &report).await;
        let is_refused = status == 401 || (status == 409 && problem["code"] == "fenced");
        assert!(is_refused, "a write of the life before: {status} {problem}");
    }
    let plan = server.show("/restore").await;
    assert_eq!((&plan["is_held"], &plan["lost_runs"]), (&json!(true), &json!(count)));
    assert_eq!(plan["ended_processes_of"].as_array().unwrap().len(), 2 * count);
    let listed: Vec<String> = plan["wakeups"].as_array().unwrap().iter().map(id).collect();
    assert!(pending.iter().all(|wakeup| listed.contains(wakeup)), "not in the plan: {plan:#}");
    sleep(HELD_FOR).await;
    assert_eq!(times(&done), count, "work is done again without being asked for");
    let told = server.show(&format!("/companies/default/events?after={cursor}")).await;
    assert_eq!(told["items"][0]["type"], "store.restored", "{told:#}");
    let (undone, cancelled) = pending.split_last().unwrap();
    for wakeup in cancelled {
        assert_eq!(server.post(&format!("/wakeups/{wakeup}/cancel"), &json!({})).await.0, 200);
    }
    server.cli(&["restore", "--go-on"]).await.ok();
    assert_eq!(server.settled(undone).await["status"], "completed");
    assert_eq!(times(&done), count + 1);
    for run in runs.iter().take(count) {
        assert_eq!(server.show(&format!("/runs/{}", id(run))).await["error_code"], "restored");
    }
    nothing_is_left(&server).await;
    server.assert_sound().await;
    Ok(format!(
        "{} trees of 4 processes that ignore TERM gone before it was ready, after {}; 1 stranger unharmed; {} late writes refused; 0 of {count} pieces of work done again in {HELD_FOR:?}, the one that was asked for done once",
        2 * count,
        seconds(ready),
        tokens.len()
    ))
}

/// A run directory that nobody knows, whose record names a stranger's pid at another time.
fn forge(server: &Server, stranger: &Stranger) {
    let dir = server.run_dir("run_01k9zz00000000000000000000");
    fs::create_dir_all(&dir).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let began = start_time(stranger.pid()).unwrap() + 7;
    let identity = json!({ "pid": stranger.pid(), "start_time": began, "boot_id": boot.trim() });
    let shim = json!({ "shim": { "run": "run_01k9zz00000000000000000000", "number": 1, "identity": identity } });
    fs::write(dir.join("shim-1.json"), format!("{shim}\n{}\n", json!({ "agent": identity }))).unwrap();
}
