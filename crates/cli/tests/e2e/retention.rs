//! What is old goes, with its files; what goes is told before; what is pinned stays; a crash in the middle leaves nothing half.

use std::fs;
use std::time::Duration;

use fastrand::Rng;
use futures_util::StreamExt;
use reqwest::Method;
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use uuid::Uuid;
use wakeful_domain::id::{Id, Kind, RunId, WakeupId};

use crate::shape::assert_problem;
use crate::support::{Server, answer, id};

const DAY_MICROS: i64 = 86_400_000_000;

/// The store of a server that does not run.
fn store(server: &Server) -> Connection {
    Connection::open(server.path().join("wakeful.db")).unwrap()
}

/// The id that this one would be if it had been made so many days earlier.
fn earlier<K: Kind>(id: &str, days: i64) -> String {
    let bits = id.parse::<Id<K>>().unwrap().uuid().as_u128();
    let ms = u128::from((days * DAY_MICROS / 1_000).unsigned_abs());
    let moved = ((bits >> 80) - ms) << 80 | (bits & ((1 << 80) - 1));
    Id::<K>::from_uuid(Uuid::from_u128(moved)).to_string()
}

/// Makes a run and its wakeup so many days older; gives their new ids.
fn age(server: &Server, run: &Value, days: i64) -> (String, String) {
    let (old, wakeup) = (id(run), id(&run["wakeups"][0]));
    let new = (
        earlier::<wakeful_domain::id::kind::Run>(&old, days),
        earlier::<wakeful_domain::id::kind::Wakeup>(&wakeup, days),
    );
    let store = store(server);
    let change = |sql: &str, from: &str, to: &str| store.execute(sql, params![from, to]).unwrap();
    for (table, column) in [("runs", "id"), ("run_events", "run_id"), ("batches", "run_id"), ("wakeups", "run_id")] {
        change(&format!("update {table} set {column} = ?2 where {column} = ?1"), &old, &new.0);
    }
    for (table, column) in [("wakeups", "id"), ("batches", "wakeup_id")] {
        change(&format!("update {table} set {column} = ?2 where {column} = ?1"), &wakeup, &new.1);
    }
    let back = days * DAY_MICROS;
    let both = "update runs set created_at = created_at - ?2, finished_at = finished_at - ?2 where id = ?1";
    store.execute(both, params![new.0, back]).unwrap();
    let both = "update wakeups set requested_at = requested_at - ?2, finished_at = finished_at - ?2 where id = ?1";
    store.execute(both, params![new.1, back]).unwrap();
    fs::rename(server.run_dir(&old), server.run_dir(&new.0)).unwrap();
    assert!(new.0.parse::<RunId>().is_ok() && new.1.parse::<WakeupId>().is_ok());
    new
}

/// What was done about one kind.
fn of<'a>(report: &'a Value, kind: &str) -> &'a Value {
    report["kinds"].as_array().unwrap().iter().find(|gone| gone["kind"] == kind).unwrap()
}

#[tokio::test]
async fn an_old_run_is_told_by_a_dry_run_and_goes_with_its_wakeup_and_its_directory() {
    let mut server = Server::start().await;
    let agent = server.process_agent("ann", "echo hello").await;
    let old = server.run_of(&agent, json!({})).await;
    let young = id(&server.run_of(&agent, json!({})).await);
    server.stop().await;
    let (run, wakeup) = age(&server, &old, 100);
    server.start_again().await;
    let plan = server.cli(&["gc", "--dry-run", "--json"]).await.json();
    assert_eq!((&plan["dry_run"], &of(&plan, "runs")["removed"]), (&json!(true), &json!(1)));
    assert_eq!(of(&plan, "wakeups")["kept"], json!({ "run": 1 }), "{plan:#}");
    assert!(of(&plan, "logs")["bytes"].as_u64().unwrap() > 0);
    server.show(&format!("/runs/{run}")).await;
    assert!(server.cli(&["gc", "--dry-run"]).await.ok().contains("WOULD GO"));
    let done = server.cli(&["gc", "--json"]).await.json();
    assert_eq!((&of(&done, "runs")["removed"], &of(&done, "wakeups")["removed"]), (&json!(1), &json!(1)), "{done:#}");
    assert_eq!(of(&done, "directories")["removed"], 1);
    assert_eq!(server.get(&format!("/runs/{run}")).await.0, 404);
    assert_eq!(server.get(&format!("/wakeups/{wakeup}")).await.0, 404);
    assert!(!server.run_dir(&run).exists() && server.run_dir(&young).exists());
    assert_eq!(server.stdout(&young).await, "hello\n");
    let again = server.cli(&["gc", "--json"]).await.json();
    assert!(again["kinds"].as_array().unwrap().iter().all(|gone| gone["removed"] == 0), "{again:#}");
    server.assert_sound().await;
}

#[tokio::test]
async fn a_log_goes_before_its_run_which_says_so_and_a_pinned_one_stays() {
    let mut server = Server::start().await;
    let agent = server.process_agent("ann", "echo hello").await;
    let (old, pinned) = (id(&server.run_of(&agent, json!({})).await), id(&server.run_of(&agent, json!({})).await));
    server.cli(&["run", "pin", &pinned]).await.ok();
    assert!(server.show(&format!("/runs/{pinned}")).await["pinned_at"].is_string());
    server.stop().await;
    store(&server).execute("update runs set finished_at = finished_at - ?1", params![40 * DAY_MICROS]).unwrap();
    server.start_again().await;
    let done = server.cli(&["gc", "--json"]).await.json();
    assert_eq!(of(&done, "logs")["removed"], 1, "{done:#}");
    let run = server.show(&format!("/runs/{old}")).await;
    assert!(run["log_removed_at"].is_string() && run["log"]["bytes"].as_u64().unwrap() > 0, "{run:#}");
    for path in ["log", "log/text"] {
        let refused = answer(server.request(Method::GET, &format!("/runs/{old}/{path}"))).await;
        assert_problem(&refused, 410);
        assert_eq!(refused.1["code"], "log_removed");
    }
    server.cli(&["run", "logs", &old]).await.assert_failed(3, &["was removed at", "--retain-logs-days"]);
    assert_eq!(server.stdout(&pinned).await, "hello\n");
    server.cli(&["run", "unpin", &pinned]).await.ok();
    assert_eq!(of(&server.cli(&["gc", "--json"]).await.json(), "logs")["removed"], 1);
    server.assert_sound().await;
}

#[tokio::test]
async fn a_log_that_a_crash_left_behind_goes_the_next_time() {
    let mut server = Server::start().await;
    let agent = server.process_agent("ann", "echo hello").await;
    let (left, young) = (id(&server.run_of(&agent, json!({})).await), id(&server.run_of(&agent, json!({})).await));
    server.stop().await;
    // As a crash leaves it between the commit and the removal of the file.
    let rows = store(&server);
    rows.execute("update runs set log_removed_at = finished_at where id = ?1", params![left]).unwrap();
    rows.execute("insert into removed_runs (run_id) values (?1)", params![left]).unwrap();
    drop(rows);
    server.start_again().await;
    let plan = server.cli(&["gc", "--dry-run", "--json"]).await.json();
    assert!(of(&plan, "logs")["bytes"].as_u64().unwrap() > 0, "{plan:#}");
    let there = |run: &str| fs::read_dir(server.run_dir(run)).unwrap().any(|file| is_log(&file.unwrap()));
    assert!(there(&left));
    let done = server.cli(&["gc", "--json"]).await.json();
    assert!(of(&done, "logs")["bytes"].as_u64().unwrap() > 0, "{done:#}");
    assert!(!there(&left) && there(&young));
    assert_eq!(server.show(&format!("/runs/{left}")).await["status"], "succeeded", "only its log has gone");
    let again = server.cli(&["gc", "--json"]).await.json();
    assert_eq!(of(&again, "logs")["bytes"], 0, "{again:#}");
    server.assert_sound().await;
}

fn is_log(file: &fs::DirEntry) -> bool {
    file.file_name().to_str().is_some_and(|name| name.starts_with("log.ndjson"))
}

#[tokio::test]
async fn a_crash_while_old_things_go_leaves_nothing_half_and_the_next_time_finishes() {
    const RUNS: i64 = 1_000;
    let mut server = Server::start().await;
    let agent = server.process_agent("ann", "echo hello").await;
    let template = server.run_of(&agent, json!({})).await;
    server.stop().await;
    let mut store = store(&server);
    let all = store.transaction().unwrap();
    all.execute("update lanes set fence = 1000000", []).unwrap();
    for number in 1..=RUNS {
        let run = earlier::<wakeful_domain::id::kind::Run>(&id(&template), 100 + number);
        all.execute(
            "insert into runs (id, company_id, agent_id, task_id, adapter, fence, status, created_at, finished_at, event_seq)
             select ?1, company_id, agent_id, task_id, adapter, ?2, 'succeeded', 0, 1, 3 from runs where id = ?3",
            params![run, 1_000 + number, id(&template)],
        )
        .unwrap();
        for seq in 1..=3 {
            let sql = "insert into run_events (run_id, seq, at, type, level, message, data) values (?1, ?2, 0, 'x', 'info', '', '{}')";
            all.execute(sql, params![run, seq]).unwrap();
        }
        fs::create_dir_all(server.run_dir(&run)).unwrap();
        fs::write(server.run_dir(&run).join("log.ndjson"), "{}\n").unwrap();
    }
    all.commit().unwrap();
    drop(store);
    let mut rng = Rng::with_seed(1);
    for _ in 0..4 {
        server.start_again().await;
        let (asked, body) = (server.with_token(server.token()), json!({}));
        let killing = async {
            tokio::time::sleep(Duration::from_millis(rng.u64(20..120))).await;
            server.kill9();
        };
        tokio::join!(asked.post("/gc", &body), killing);
    }
    server.start_again().await;
    server.assert_sound().await;
    let done = server.cli(&["gc", "--json"]).await.json();
    assert!(done["slowest_bite_ms"].is_u64());
    assert_eq!(server.all("/companies/default/runs").await.len(), 1);
    assert_eq!(fs::read_dir(server.path().join("runs")).unwrap().count(), 1, "directories are left");
    server.assert_sound().await;
}

#[tokio::test]
async fn a_reader_of_events_that_are_gone_gets_a_gap_and_then_what_is_there() {
    let mut server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    server.run_of(&agent, json!({})).await;
    let first = id(&server.all("/companies/default/events").await[0]);
    server.stop().await;
    store(&server).execute("update events set at = at - ?1", params![40 * DAY_MICROS]).unwrap();
    server.start_again().await;
    let run = server.run_of(&agent, json!({})).await;
    let done = server.cli(&["gc", "--json"]).await.json();
    assert!(of(&done, "events")["removed"].as_u64().unwrap() > 5, "{done:#}");
    let path = format!("/companies/default/events?after={first}");
    let listed = server.request(Method::GET, &path).send().await.unwrap();
    assert!(listed.headers().contains_key("wakeful-gap"));
    let request = server.request(Method::GET, "/companies/default/events").header("accept", "text/event-stream");
    let mut stream = request.header("last-event-id", &first).send().await.unwrap().bytes_stream();
    let mut text = String::new();
    while !text.contains("run.finished") {
        text.push_str(&String::from_utf8_lossy(&stream.next().await.unwrap().unwrap()));
    }
    assert!(text.starts_with("id: evt_") && text.contains("event: gap") && text.contains(&id(&run)), "{text}");
    assert_eq!(text.matches("event: gap").count(), 1);
}

#[tokio::test]
async fn less_than_a_day_cannot_be_asked_for_and_strangers_may_not_collect() {
    let server = Server::start().await;
    let company = id(&server.show("/companies/default").await);
    let operator = crate::access::company_key(&server, &company, "admin");
    assert_eq!(operator.post("/gc", &json!({ "dry_run": true })).await.0, 403);
    let mut command = std::process::Command::new(crate::support::program());
    crate::support::clean(&mut command, server.outside()).args(["up", "--retain-logs-days", "0"]);
    crate::support::printed(command).await.assert_failed(2, &["--retain-logs-days"]);
}
