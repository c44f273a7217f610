//! Others on the machine: a process that has come by the pid of one of ours, and a second server.

use std::fs;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use wakeful_test_server::{Printed, clean, id, is_alive, printed, program, shim_pid, signal};

use super::server;
use crate::fakes::assert_ended;
use crate::logs::{marks, records};
use crate::machine::{Stranger, start_time};
use crate::waiting::{ended, nothing_is_left, until};
use crate::{Case, Measured, Scale};

pub const PID_REUSE: Case = Case {
    name: "pid_reuse",
    rows: "8",
    provoked: "server and shim are killed, and the shim's record names the pid of a process of somebody else",
    must_hold: "the stranger is never signalled, the run is `lost` with a marked gap, its own tree is ended",
    run: |scale, seed| Box::pin(pid_reuse(scale, seed)),
};

pub const TWO_SERVERS: Case = Case {
    name: "two_servers",
    rows: "10",
    provoked: "more servers are started on a data directory that has one; several at once on one that has none",
    must_hold: "all but one refuse and name the owner's pid, the owner and its runs go on, after its death another may",
    run: |scale, seed| Box::pin(two_servers(scale, seed)),
};

/// Makes every process in the record of a shim the stranger, as if the pid had been used again.
fn name_stranger(path: &Path, stranger: &Stranger, forge: &dyn Fn(&mut Value)) {
    let text = fs::read_to_string(path).unwrap();
    let forged = text.lines().map(|line| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        for pointer in ["/shim/identity", "/agent"] {
            if let Some(identity) = record.pointer_mut(pointer) {
                identity["pid"] = json!(stranger.pid());
                forge(identity);
            }
        }
        format!("{record}\n")
    });
    let forged: String = forged.collect();
    assert_ne!(forged, text);
    fs::write(path, forged).unwrap();
}

async fn pid_reuse(scale: Scale, seed: u64) -> Measured {
    let rounds = scale.of(2, 10);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut server = server(2, &[]).await;
    for round in 0..rounds {
        let stranger = Stranger::start();
        let agent = server.process_agent(&format!("ann-{round}"), "setsid sleep 600 & echo begun; sleep 600").await;
        let run = server.running(&server.wake(&agent, json!({})).await).await;
        let record = server.run_dir(&id(&run)).join("shim-1.json");
        let pid = u32::try_from(run["process"]["pid"].as_u64().unwrap()).unwrap();
        let shim = shim_pid(&record).unwrap();
        server.kill9();
        signal(shim, Signal::KILL);
        until("the death of the shim", Duration::from_secs(5), async || !is_alive(shim)).await;
        let later = start_time(stranger.pid()).unwrap() + rng.u64(1..1_000);
        match round % 2 {
            0 => name_stranger(&record, &stranger, &|identity| identity["start_time"] = json!(later)),
            _ => {
                // As after a reboot, which no process survives; the pid and even the start time are the stranger's.
                server.left_over().into_iter().for_each(|pid| signal(pid, Signal::KILL));
                name_stranger(&record, &stranger, &|identity| {
                    identity["start_time"] = json!(start_time(stranger.pid()));
                    identity["boot_id"] = json!("00000000-0000-4000-8000-000000000000");
                });
            }
        }
        server.start_again().await;
        let (over, _) = ended(&server, &id(&run), Duration::from_secs(30)).await;
        assert_ended(&over, "lost", "process_lost");
        assert!(is_alive(stranger.pid()), "the stranger was killed");
        assert!(!is_alive(pid), "the agent lives on");
        assert_eq!(marks(&records(&server, &id(&run)).await).len(), 1, "no mark in the log");
        nothing_is_left(&server).await;
    }
    server.assert_sound().await;
    Ok(format!(
        "{rounds} forged records (another start time, another boot): {rounds} strangers unharmed, {rounds} runs `lost`, 0 processes left"
    ))
}

async fn another(data_dir: &Path, home: &Path) -> Printed {
    let mut command = std::process::Command::new(program());
    clean(&mut command, home).args(["up", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir);
    printed(command).await
}

async fn two_servers(scale: Scale, _seed: u64) -> Measured {
    let (rivals, rounds) = (scale.of(3, 5), scale.of(1, 5));
    let mut server = server(1, &[]).await;
    let agent = server.process_agent("ann", "sleep 600").await;
    let run = server.running(&server.wake(&agent, json!({})).await).await;
    let (mut refused, mut deaths) = (0, 0);
    for _ in 0..rounds {
        let owner = server.pid().to_string();
        let (data_dir, home) = (server.path(), server.outside());
        for printed in join_all((0..rivals).map(|_| another(data_dir, home))).await {
            assert!(printed.code != 0, "a second server ran and ended well: {}", printed.stderr);
            assert!(printed.stderr.contains(&owner), "the owner {owner} is not named: {}", printed.stderr);
            refused += 1;
        }
        let still = server.show(&format!("/runs/{}", id(&run))).await;
        assert_eq!((&still["status"], &still["process"]), (&json!("running"), &run["process"]));
        server.kill9();
        deaths += 1;
        server.start_again().await;
    }
    let winners = race(scale).await;
    Ok(format!(
        "{refused} of {refused} refused with the owner's pid, its run untouched; after {deaths} kills the next one started; {winners}"
    ))
}

/// Several start at once where there is none: one serves, the others refuse.
async fn race(scale: Scale) -> String {
    let (racers, rounds) = (4, scale.of(1, 10));
    for _ in 0..rounds {
        let dir = tempfile::Builder::new().prefix("wakeful-faults-").tempdir().unwrap();
        let path = dir.path().join("data");
        let start = || {
            let mut command = std::process::Command::new(program());
            clean(&mut command, dir.path()).args(["up", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&path);
            command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
            command.stderr(std::process::Stdio::null()).spawn().unwrap()
        };
        let mut servers: Vec<_> = (0..racers).map(|_| start()).collect();
        let mut live = racers;
        until("all but one refuse", Duration::from_secs(20), async || {
            live = servers.iter_mut().filter_map(|server| server.try_wait().unwrap().is_none().then_some(())).count();
            live <= 1 && path.join("server.json").exists()
        })
        .await;
        let published = fs::read_to_string(path.join("server.json")).unwrap();
        let owner = servers.iter().position(|server| published.contains(&format!("\"pid\":{}", server.id())));
        assert!(live == 1 && owner.is_some(), "{live} of {racers} serve; {published}");
        for server in &mut servers {
            server.kill().ok();
            server.wait().unwrap();
        }
    }
    format!("of {racers} that start at once exactly one serves, {rounds} times of {rounds}")
}
