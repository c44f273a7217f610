//! The server is killed again and again at random moments, with ten runs live, others starting, and wakes coming in:
//! in the end every wakeup that was accepted has one fate and had its run, and every run its true end.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{Client, Server, answer, id};

/// Agents that are at work whenever the server is killed.
const STEADY: usize = 10;
/// Agents that end at once, so that some are just being started whenever the server is killed.
const QUICK: usize = 4;
const KILLS: usize = 20;
/// Lines that a steady agent writes; a quick one writes one.
const LINES: usize = 25;

/// Writes its lines, then exits with the code that its lead wakeup names.
fn script(lines: usize) -> String {
    let line = r#"echo "$WAKEFUL_RUN line $i"; test $i = 1 || sleep 0.03"#;
    format!(r#"i=0; while [ $i -lt {lines} ]; do i=$((i+1)); {line}; done; exit "$WAKEFUL_REASON""#)
}

/// The seed of this storm: a new one each time, unless `WAKEFUL_TEST_SEED` asks for one again.
#[expect(clippy::disallowed_methods, reason = "a storm that failed is raised again by its seed")]
fn seed() -> u64 {
    let seed =
        std::env::var("WAKEFUL_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("WAKEFUL_TEST_SEED={seed}");
    seed
}

/// Wakes agents until the storm is over. What breaks off is sent again under its key, until it is answered.
async fn sends(
    client: &Client,
    agents: &[String],
    mut rng: Rng,
    is_over: &Cell<bool>,
    accepted: &RefCell<BTreeSet<String>>,
) {
    while !is_over.get() {
        let agent = &agents[rng.usize(..agents.len())];
        let code = if rng.bool() { 0 } else { rng.u8(1..100) };
        let body = json!({ "reason": code.to_string(), "payload": { "code": code } });
        let key = rng.u64(..).to_string();
        loop {
            let request = client.request(Method::POST, &format!("/agents/{agent}/wake"));
            let (status, wakeup) = answer(request.header("idempotency-key", &key).json(&body)).await;
            if status == 0 {
                sleep(Duration::from_millis(5)).await;
                continue;
            }
            assert!([200, 202].contains(&status), "{wakeup}");
            accepted.borrow_mut().insert(id(&wakeup));
            break;
        }
        sleep(Duration::from_millis(rng.u64(..80))).await;
    }
}

/// Kills the server and starts it again, at random moments with all agents at work.
async fn kills(server: &mut Server, agents: &[String], rng: &mut Rng) {
    for _ in 0..KILLS {
        let at_work = |stats: &Value| {
            ["starting", "running"].iter().filter_map(|status| stats["runs"][status].as_u64()).sum::<u64>()
        };
        server.until("/companies/default/stats", |stats| at_work(stats) >= STEADY as u64).await;
        sleep(Duration::from_millis(rng.u64(..300))).await;
        server.kill9();
        sleep(Duration::from_millis(rng.u64(..150))).await;
        server.start_again_at_once().await;
        resume(server, agents).await;
    }
}

/// Half of the runs fail, so lanes trip their circuits all the time: somebody looks after them.
async fn resume(server: &Server, agents: &[String]) {
    for agent in agents {
        assert_eq!(server.post(&format!("/agents/{agent}/resume"), &json!({})).await.0, 200);
    }
}

#[tokio::test]
async fn twenty_kills_at_random_moments_lose_nothing_and_run_nothing_twice() {
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    let mut server = Server::start_with(&["--max-live-runs", "20"], &[]).await;
    server.patch("/companies/default", &json!({ "max_concurrent_runs": 20 })).await;
    let mut agents = Vec::new();
    for number in 0..STEADY + QUICK {
        let lines = if number < STEADY { LINES } else { 1 };
        agents.push(server.process_agent(&format!("writes-{lines}-{number}"), &script(lines)).await);
    }
    let (is_over, accepted) = (Cell::new(false), RefCell::default());
    let client = (*server).clone();
    let senders = (0..4).map(|_| sends(&client, &agents, rng.fork(), &is_over, &accepted));
    let senders = futures_util::future::join_all(senders.collect::<Vec<_>>());
    let storm = async {
        kills(&mut server, &agents, &mut rng).await;
        is_over.set(true);
    };
    tokio::join!(storm, senders);
    while open(&server.show("/companies/default/stats").await) > 0 {
        resume(&server, &agents).await;
        sleep(Duration::from_millis(100)).await;
    }
    assert_true(&server, &accepted.into_inner()).await;
    server.assert_sound().await;
    server.until("/me", |_| server.left_over().is_empty()).await;
}

fn open(stats: &Value) -> u64 {
    ["pending", "claimed"].iter().filter_map(|status| stats["wakeups"][status].as_u64()).sum()
}

async fn assert_true(server: &Server, accepted: &BTreeSet<String>) {
    let runs = server.all("/companies/default/runs").await;
    let mut ran: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for run in &runs {
        // A server that dies between the claim and the start leaves a run that never was one.
        if run["error_code"] == "launch_interrupted" {
            assert_eq!((&run["status"], &run["process"]), (&json!("lost"), &Value::Null), "{run:#}");
            continue;
        }
        assert_true_end(server, run).await;
        for wakeup in run["wakeups"].as_array().unwrap() {
            ran.entry(id(wakeup)).or_default().push(run);
        }
    }
    let wakeups = server.all("/companies/default/wakeups").await;
    assert_eq!(wakeups.iter().map(id).collect::<BTreeSet<_>>(), *accepted);
    for wakeup in &wakeups {
        let [run] = ran.get(&id(wakeup)).map_or(&[][..], Vec::as_slice) else {
            panic!("not run exactly once: {wakeup:#}")
        };
        let expected = if run["exit_code"] == 0 { "completed" } else { "failed" };
        assert_eq!(
            (&wakeup["status"], &wakeup["run_id"], &wakeup["attempt"]),
            (&json!(expected), &run["id"], &json!(1))
        );
    }
    assert_one_fate_each(&server.all("/companies/default/events").await, accepted);
    let interrupted = runs.iter().filter(|run| run["status"] == "lost").count();
    println!("{} wakeups in {} runs, {interrupted} of them interrupted before they began", wakeups.len(), runs.len());
}

/// The run ended as its agent did, and its log is whole.
async fn assert_true_end(server: &Server, run: &Value) {
    let lead = run["wakeups"].as_array().unwrap().iter().find(|wakeup| wakeup["lead"] == true).unwrap();
    assert_eq!(run["exit_code"], lead["payload"]["code"], "{run:#}");
    assert_eq!(run["status"], if run["exit_code"] == 0 { "succeeded" } else { "failed" });
    let agent = server.show(&format!("/agents/{}", run["agent"].as_str().unwrap())).await;
    let lines: usize = agent["name"].as_str().unwrap().split('-').nth(1).unwrap().parse().unwrap();
    let expected: String = (1..=lines).map(|number| format!("{} line {number}\n", id(run))).collect();
    assert_eq!(server.stdout(&id(run)).await, expected);
    let log = std::fs::read_to_string(server.run_dir(&id(run)).join("log.ndjson")).unwrap();
    let numbers = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap());
    assert!(numbers.eq(1..=lines as u64), "{log}");
    assert_eq!((&run["log"]["bytes"], &run["log"]["lines"]), (&json!(log.len()), &json!(lines)));
}

fn assert_one_fate_each(events: &[Value], accepted: &BTreeSet<String>) {
    let mut fates: BTreeMap<&str, usize> = BTreeMap::new();
    for event in events {
        if ["wakeup.completed", "wakeup.failed"].contains(&event["type"].as_str().unwrap()) {
            *fates.entry(event["subject"].as_str().unwrap()).or_default() += 1;
        }
    }
    assert!(fates.values().all(|count| *count == 1), "{fates:?}");
    assert!(fates.keys().copied().eq(accepted.iter().map(String::as_str)));
}
