//! Many runs through random kills: of the server and of agents, or of shims. Every run and every
//! wakeup is held against what was asked of it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::sleep;
use wakeful_test_server::{Client, Server, answer, id, is_alive, signal};

use super::server;
use crate::logs::{Wanted, lines_problem, marks, records};
use crate::machine::{kill_of_run, shim_of};
use crate::waiting::nothing_is_left;
use crate::{Case, Measured, Scale};

pub const STORM: Case = Case {
    name: "storm",
    rows: "1, 2, 4",
    provoked: "1,000 wakes through kill -9 of server and agents at random moments",
    must_hold: "every wakeup one fate, every run its true end, no log line lost or doubled, no process left, every invariant",
    run: |scale, seed| Box::pin(storm(scale, seed)),
};

pub const SHIM_STORM: Case = Case {
    name: "shim_storm",
    rows: "2, 4",
    provoked: "kill -9 of shims at random moments",
    must_hold: "the gap is marked in the log, the run is `lost` (`process_lost`) and tried again, no process left",
    run: |scale, seed| Box::pin(shim_storm(scale, seed)),
};

/// Lines of one run, and the pause after each.
const LINES: usize = 8;
const PAUSE_MS: u64 = 100;
/// Every try of a wakeup, the first included.
const ATTEMPTS_MAX: i64 = 6;

/// What was asked for, and what was done to it.
struct Town {
    client: Client,
    /// Of every wakeup the code that its agent exits with.
    asked: RefCell<BTreeMap<String, u8>>,
    /// Runs of which a process was killed, or may have been.
    aimed: RefCell<BTreeSet<String>>,
    kills: Cell<usize>,
    is_over: Cell<bool>,
}

/// A run as it was found.
#[derive(Debug, Default)]
struct Counts {
    runs: usize,
    cut: usize,
    interrupted: usize,
    lines: usize,
}

fn script() -> String {
    format!(
        "i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo \"$WAKEFUL_RUN line $i\"; sleep 0.{PAUSE_MS}; done; exit \"$WAKEFUL_REASON\""
    )
}

impl Town {
    async fn found(server: &Server, agents: usize) -> (Town, Vec<String>) {
        let policy =
            json!({ "retry": { "delays_s": vec![0; usize::try_from(ATTEMPTS_MAX - 1).unwrap()], "jitter": 0 } });
        let mut ids = Vec::new();
        for number in 0..agents {
            ids.push(server.process_agent_with(&format!("writer-{number}"), &script(), policy.clone()).await);
        }
        let town = Town {
            client: (**server).clone(),
            asked: RefCell::default(),
            aimed: RefCell::default(),
            kills: Cell::default(),
            is_over: Cell::default(),
        };
        (town, ids)
    }

    /// Wakes an agent so many times, each time once the last wakeup has its fate.
    async fn drive(&self, agent: &str, wakes: usize, mut rng: Rng) {
        for _ in 0..wakes {
            let code = if rng.u8(..10) == 0 { rng.u8(1..70) } else { 0 };
            let wakeup = self.wake(agent, code, &rng.u64(..).to_string()).await;
            self.asked.borrow_mut().insert(wakeup.clone(), code);
            loop {
                sleep(Duration::from_millis(100)).await;
                let (status, found) = self.client.get(&format!("/wakeups/{wakeup}")).await;
                match found["status"].as_str() {
                    Some("pending" | "claimed") | None => {}
                    Some(_) => break,
                }
                assert!([0, 200, 503].contains(&status), "{found}");
                if found["waiting"]["reason"] == "circuit_open" {
                    self.client.post(&format!("/agents/{agent}/resume"), &json!({})).await;
                }
            }
        }
    }

    /// What breaks off is sent again under its key, until it is answered.
    async fn wake(&self, agent: &str, code: u8, key: &str) -> String {
        loop {
            let request = self.client.request(Method::POST, &format!("/agents/{agent}/wake"));
            let body = json!({ "reason": code.to_string() });
            let (status, wakeup) = answer(request.header("idempotency-key", key).json(&body)).await;
            match status {
                200 | 202 => return id(&wakeup),
                0 | 503 => sleep(Duration::from_millis(20)).await,
                _ => panic!("{wakeup}"),
            }
        }
    }

    /// Some run that is live now.
    async fn some_run(&self, rng: &mut Rng) -> Option<Value> {
        let (_, found) = self.client.get("/companies/default/runs?status=running&limit=100").await;
        let runs = found["items"].as_array()?;
        (!runs.is_empty()).then(|| runs[rng.usize(..runs.len())].clone())
    }

    fn aim(&self, run: &Value) -> String {
        self.aimed.borrow_mut().insert(id(run));
        id(run)
    }

    /// Kills agents until all is over.
    async fn kill_agents(&self, mut rng: Rng) {
        while !self.is_over.get() {
            sleep(Duration::from_millis(rng.u64(50..500))).await;
            let Some(run) = self.some_run(&mut rng).await else { continue };
            let Some(pid) = run["process"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()) else { continue };
            let run = self.aim(&run);
            if kill_of_run(pid, &run) {
                self.kills.set(self.kills.get() + 1);
            }
        }
    }

    /// Kills shims until all is over.
    async fn kill_shims(&self, server: &Server, mut rng: Rng) {
        while !self.is_over.get() {
            sleep(Duration::from_millis(rng.u64(50..400))).await;
            let Some(run) = self.some_run(&mut rng).await else { continue };
            let Some(shim) = shim_of(server, &id(&run)) else { continue };
            if is_alive(shim) && crate::machine::command_of(shim).trim_end().ends_with(" shim") {
                self.aim(&run);
                signal(shim, Signal::KILL);
                self.kills.set(self.kills.get() + 1);
            }
        }
    }

    /// Kills the server and starts it again until all is over; says how often.
    async fn kill_server(&self, server: &mut Server, mut rng: Rng) -> usize {
        let mut kills = 0;
        while !self.is_over.get() {
            sleep(Duration::from_millis(rng.u64(200..900))).await;
            server.kill9();
            kills += 1;
            sleep(Duration::from_millis(rng.u64(..150))).await;
            server.start_again_at_once().await;
        }
        kills
    }

    /// Holds every run and every wakeup against what was asked.
    async fn judge(&self, server: &Server, cut: &Cut) -> Counts {
        let mut counts = Counts::default();
        let mut tries: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let asked = self.asked.borrow().clone();
        for run in server.all("/companies/default/runs").await {
            // A server that dies between the claim and the start leaves a run that never was one.
            if run["error_code"] == "launch_interrupted" {
                assert_eq!((&run["status"], &run["process"]), (&json!("lost"), &Value::Null), "{run:#}");
                counts.interrupted += 1;
                continue;
            }
            let [wakeup] = run["wakeups"].as_array().unwrap().as_slice() else { panic!("not one wakeup: {run:#}") };
            let was_cut = self.true_end(server, &run, asked[&id(wakeup)], cut, &mut counts).await;
            counts.runs += 1;
            counts.cut += usize::from(was_cut);
            tries.entry(id(wakeup)).or_default().push(run);
        }
        let wakeups = server.all("/companies/default/wakeups").await;
        assert_eq!(wakeups.iter().map(id).collect::<BTreeSet<_>>(), asked.keys().cloned().collect::<BTreeSet<_>>());
        for wakeup in &wakeups {
            assert_fate(wakeup, tries.get_mut(&id(wakeup)).unwrap());
        }
        assert_one_fate_each(&server.all("/companies/default/events").await, asked.len());
        counts
    }

    /// The run ended as its agent did, or as it was made to; whether it was cut short.
    async fn true_end(&self, server: &Server, run: &Value, code: u8, cut: &Cut, counts: &mut Counts) -> bool {
        let name = id(run);
        let records = records(server, &name).await;
        let was_cut = (run["status"].as_str(), run["error_code"].as_str()) == (Some(cut.status), Some(cut.code));
        if was_cut {
            assert!(self.aimed.borrow().contains(&name), "nobody touched it: {run:#}");
            assert_eq!(marks(&records).len(), cut.marks, "marks in the log of {name}: {records:?}");
        } else {
            assert_eq!(run["exit_code"], code, "{run:#}");
            assert_eq!(run["status"], if code == 0 { "succeeded" } else { "failed" }, "{run:#}");
        }
        let wanted = if was_cut { Wanted::First(LINES) } else { Wanted::All(LINES) };
        assert_eq!(lines_problem(&records, &name, wanted), None, "{name}");
        counts.lines += records.iter().filter(|record| record["stream"] == "stdout").count();
        was_cut
    }
}

/// How a run ends whose processes were killed.
struct Cut {
    status: &'static str,
    code: &'static str,
    /// Gaps that its log names.
    marks: usize,
}

/// One attempt for each run; the last one decides.
fn assert_fate(wakeup: &Value, runs: &mut [Value]) {
    runs.sort_by_key(|run| run["fence"].as_i64());
    let (last, before) = runs.split_last().unwrap();
    assert!(before.iter().all(|run| run["status"] != "succeeded"), "run again after a success: {wakeup:#}");
    assert_eq!((wakeup["attempt"].as_u64(), &wakeup["run_id"]), (Some(runs.len() as u64), &last["id"]), "{wakeup:#}");
    match wakeup["status"].as_str() {
        Some("completed") => assert_eq!(last["status"], "succeeded", "{wakeup:#}"),
        Some("failed") => assert!(last["status"] != "succeeded" && wakeup["attempt"] == ATTEMPTS_MAX, "{wakeup:#}"),
        _ => panic!("no fate: {wakeup:#}"),
    }
}

fn assert_one_fate_each(events: &[Value], wakeups: usize) {
    let is_fate = |event: &&Value| ["wakeup.completed", "wakeup.failed"].contains(&event["type"].as_str().unwrap());
    let fates: Vec<&str> = events.iter().filter(is_fate).map(|event| event["subject"].as_str().unwrap()).collect();
    assert_eq!((fates.len(), fates.iter().collect::<BTreeSet<_>>().len()), (wakeups, wakeups), "fates told");
}

async fn storm(scale: Scale, seed: u64) -> Measured {
    let (agents, wakes) = scale.of((10, 6), (40, 25));
    let mut rng = Rng::with_seed(seed);
    let mut server = server(agents, &[]).await;
    let (town, ids) = Town::found(&server, agents).await;
    let drivers = join_all(ids.iter().map(|agent| town.drive(agent, wakes, rng.fork())).collect::<Vec<_>>());
    let driving = async {
        drivers.await;
        town.is_over.set(true);
    };
    let (agent_rng, server_rng) = (rng.fork(), rng.fork());
    let ((), (), server_kills) =
        tokio::join!(driving, town.kill_agents(agent_rng), town.kill_server(&mut server, server_rng));
    server.until("/readyz", |ready| ready["status"] == "ok" || ready["status"] == "ready").await;
    nothing_is_left(&server).await;
    let counts = town.judge(&server, &Cut { status: "failed", code: "killed", marks: 0 }).await;
    server.assert_sound().await;
    Ok(format!(
        "{} wakes in {} runs ({} interrupted before they began), {server_kills} kills of the server, {} of agents ({} runs cut short): \
         0 orphans, 0 of {} log lines lost or doubled, 0 wrong outcomes, 0 violated invariants",
        agents * wakes,
        counts.runs,
        counts.interrupted,
        town.kills.get(),
        counts.cut,
        counts.lines
    ))
}

async fn shim_storm(scale: Scale, seed: u64) -> Measured {
    let (agents, wakes) = scale.of((5, 4), (20, 10));
    let mut rng = Rng::with_seed(seed);
    let server = server(agents, &[]).await;
    let (town, ids) = Town::found(&server, agents).await;
    let drivers = join_all(ids.iter().map(|agent| town.drive(agent, wakes, rng.fork())).collect::<Vec<_>>());
    let driving = async {
        drivers.await;
        town.is_over.set(true);
    };
    tokio::join!(driving, town.kill_shims(&server, rng.fork()));
    nothing_is_left(&server).await;
    let counts = town.judge(&server, &Cut { status: "lost", code: "process_lost", marks: 1 }).await;
    server.assert_sound().await;
    assert!(counts.cut > 0, "no shim was killed in time");
    Ok(format!(
        "{} wakes in {} runs, {} kills of shims: {} runs `lost`, each with its gap marked, and tried again; 0 processes left, \
         0 of {} log lines doubled or out of order",
        agents * wakes,
        counts.runs,
        town.kills.get(),
        counts.cut,
        counts.lines
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: &str, attempt: i64, runs: &[&str], is_right: bool) {
        let run = |(fence, status): (usize, &&str)| json!({ "id": fence, "fence": fence, "status": status });
        let mut runs: Vec<Value> = runs.iter().enumerate().map(run).collect();
        let wakeup = json!({ "status": status, "attempt": attempt, "run_id": runs.len() - 1 });
        let judged = std::panic::catch_unwind(move || assert_fate(&wakeup, &mut runs));
        assert_eq!(judged.is_ok(), is_right, "{status} {attempt}");
    }

    #[test]
    fn a_wrong_fate_is_noticed() {
        check("completed", 2, &["failed", "succeeded"], true);
        check("completed", 1, &["failed", "succeeded"], false);
        check("completed", 2, &["succeeded", "failed"], false);
        check("completed", 2, &["succeeded", "succeeded"], false);
        check("failed", 2, &["failed", "failed"], false);
        check("pending", 1, &["failed"], false);
        let events =
            [json!({ "type": "wakeup.completed", "subject": "w" }), json!({ "type": "wakeup.failed", "subject": "w" })];
        assert!(std::panic::catch_unwind(|| assert_one_fate_each(&events, 2)).is_err());
    }
}
