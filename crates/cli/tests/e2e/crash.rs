//! Whatever is killed, and when: nothing is lost, nothing runs twice, nothing is left over.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Printed, Server, clean, id, is_alive, printed, program, shim_pid, signal};

const WAITS: &str = "until test -e go; do sleep 0.02; done";

fn let_go(server: &Server, agent: &str) {
    fs::write(server.path().join("agents").join(agent).join("go"), "").unwrap();
}

fn pid(run: &Value) -> u32 {
    u32::try_from(run["process"]["pid"].as_u64().unwrap()).unwrap()
}

/// Tries to start another server on the same data directory.
async fn another(server: &Server) -> Printed {
    let mut command = std::process::Command::new(program());
    clean(&mut command, server.outside()).args(["up", "--listen", "127.0.0.1:0", "--data-dir"]).arg(server.path());
    printed(command).await
}

#[tokio::test]
async fn a_wake_that_was_answered_is_there_after_the_server_is_killed_at_once() {
    let mut server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    let mut accepted = Vec::new();
    for _ in 0..10 {
        let (path, body) = (format!("/agents/{agent}/wake"), json!({ "delay_ms": 3_600_000 }));
        // The first answer of four: the others are still under way.
        let four = (0..4).map(|_| Box::pin(server.post(&path, &body)));
        let ((status, wakeup), ..) = futures_util::future::select_all(four).await;
        server.kill9();
        assert_eq!(status, 202);
        accepted.push(wakeup);
        server.start_again().await;
    }
    for wakeup in accepted {
        let found = server.show(&format!("/wakeups/{}", id(&wakeup))).await;
        assert_eq!((&found["status"], &found["requested_at"]), (&json!("pending"), &wakeup["requested_at"]));
    }
    server.assert_sound().await;
}

#[tokio::test]
async fn a_run_that_ends_while_no_server_is_there_ends_with_its_true_exit_status() {
    let mut server = Server::start().await;
    let script = format!("{WAITS}; echo over; exit 7");
    let agent = server.process_agent("ann", &script).await;
    let wakeup = server.wake(&agent, json!({})).await;
    let run = server.running(&wakeup).await;
    server.kill9();
    let_go(&server, &agent);
    while is_alive(pid(&run)) {
        tokio::task::yield_now().await;
    }
    server.start_again().await;
    let ended = server.finished(&id(&run)).await;
    assert_eq!((&ended["status"], &ended["exit_code"]), (&json!("failed"), &json!(7)));
    assert_eq!(server.stdout(&id(&run)).await, "over\n");
    let wakeup = server.settled(&wakeup).await;
    assert_eq!((&wakeup["status"], &wakeup["run_id"]), (&json!("failed"), &run["id"]));
    server.assert_sound().await;
}

#[tokio::test]
async fn sigterm_leaves_runs_alive_and_the_next_start_adopts_them() {
    let mut server = Server::start().await;
    let agent = server.process_agent("ann", &format!("echo one; {WAITS}; echo two")).await;
    let run = server.running(&server.wake(&agent, json!({})).await).await;
    assert!(server.stop().await.success());
    assert!(is_alive(pid(&run)));
    server.start_again().await;
    let adopted = server.show(&format!("/runs/{}", id(&run))).await;
    assert_eq!((&adopted["status"], &adopted["process"]), (&json!("running"), &run["process"]));
    let events = format!("/runs/{}/events", id(&run));
    let is_found_again = |event: &Value| event["message"].as_str().is_some_and(|told| told.contains("was found again"));
    server.until(&events, |events| events["items"].as_array().unwrap().iter().any(is_found_again)).await;
    assert_eq!(server.show(&format!("/agents/{agent}")).await["live_runs"], 1);
    let_go(&server, &agent);
    assert_eq!(server.finished(&id(&run)).await["status"], "succeeded");
    assert_eq!(server.stdout(&id(&run)).await, "one\ntwo\n");
    server.assert_sound().await;
}

#[tokio::test]
async fn a_stop_that_was_asked_for_is_carried_out_after_a_crash() {
    let mut server = Server::start().await;
    let agent = server.process_agent("ann", "trap '' TERM; sleep 600; sleep 600").await;
    server.patch(&format!("/agents/{agent}"), &json!({ "limits": { "grace_s": 1 } })).await;
    let run = server.running(&server.wake(&agent, json!({})).await).await;
    server.post(&format!("/runs/{}/cancel", id(&run)), &json!({ "reason": "enough" })).await;
    server.kill9();
    server.start_again().await;
    let ended = server.finished(&id(&run)).await;
    assert_eq!((&ended["status"], &ended["stop"]["reason"]), (&json!("cancelled"), &json!("enough")));
    assert!(!is_alive(pid(&run)));
    server.assert_sound().await;
}

#[tokio::test]
async fn a_retry_that_was_scheduled_comes_after_a_crash() {
    let mut server = Server::start().await;
    let policy = json!({ "retry": { "delays_s": [1], "jitter": 0 } });
    let agent = server.process_agent_with("ann", "test -e once && exit 0; touch once; exit 1", policy).await;
    let wakeup = server.wake(&agent, json!({})).await;
    server.until(&format!("/wakeups/{wakeup}"), |wakeup| wakeup["attempt"] == 1 && wakeup["status"] == "pending").await;
    server.kill9();
    server.start_again().await;
    let settled = server.settled(&wakeup).await;
    assert_eq!((&settled["status"], &settled["attempt"]), (&json!("completed"), &json!(2)));
    server.assert_sound().await;
}

/// An agent whose first run does not end by itself, and whose second does.
async fn twice(server: &Server) -> (String, String, Value) {
    let script =
        "test -e once && exit 0; touch once; setsid sh -c 'echo $$ > session; exec sleep 600' & echo begun; sleep 600";
    let policy = json!({ "retry": { "delays_s": [0], "jitter": 0 } });
    let agent = server.process_agent_with("ann", script, policy).await;
    let wakeup = server.wake(&agent, json!({})).await;
    let run = server.running(&wakeup).await;
    let session = server.path().join("agents").join(&agent).join("session");
    server.until("/me", |_| fs::read_to_string(&session).is_ok_and(|text| text.ends_with('\n'))).await;
    (wakeup, fs::read_to_string(session).unwrap(), run)
}

/// The run is lost, its tree is gone, and its wakeup had another run.
async fn assert_lost_and_retried(server: &Server, wakeup: &str, session: &str, run: &Value) {
    let lost = server.finished(&id(run)).await;
    assert_eq!((&lost["status"], &lost["error_code"]), (&json!("lost"), &json!("process_lost")));
    assert!(!is_alive(pid(run)) && !is_alive(session.trim().parse().unwrap()));
    let settled = server.settled(wakeup).await;
    assert_eq!((&settled["status"], &settled["attempt"]), (&json!("completed"), &json!(2)));
    assert_ne!(settled["run_id"], run["id"]);
    assert!(server.stdout(&id(run)).await.starts_with("begun\n"));
    server.assert_sound().await;
}

#[tokio::test]
async fn a_run_whose_shim_is_killed_is_lost_its_tree_is_ended_and_its_wakeup_tried_again() {
    let server = Server::start().await;
    let (wakeup, session, run) = twice(&server).await;
    signal(shim_pid(&server.run_dir(&id(&run)).join("shim-1.json")).unwrap(), Signal::KILL);
    assert_lost_and_retried(&server, &wakeup, &session, &run).await;
}

#[tokio::test]
async fn a_shim_that_is_killed_while_no_server_is_there_is_found_out_at_the_next_start() {
    let mut server = Server::start().await;
    let (wakeup, session, run) = twice(&server).await;
    let shim = shim_pid(&server.run_dir(&id(&run)).join("shim-1.json")).unwrap();
    server.kill9();
    signal(shim, Signal::KILL);
    assert!(is_alive(session.trim().parse().unwrap()), "nobody has ended it yet");
    server.start_again().await;
    assert_lost_and_retried(&server, &wakeup, &session, &run).await;
}

#[tokio::test]
async fn a_run_whose_agent_is_killed_has_failed_as_killed_and_what_the_agent_left_is_ended() {
    let server = Server::start().await;
    let (wakeup, session, run) = twice(&server).await;
    signal(pid(&run), Signal::KILL);
    let ended = server.finished(&id(&run)).await;
    assert_eq!(
        (&ended["status"], &ended["error_code"], &ended["signal"]),
        (&json!("failed"), &json!("killed"), &json!(9))
    );
    assert!(!is_alive(session.trim().parse().unwrap()));
    assert_eq!(server.settled(&wakeup).await["status"], "completed");
    server.assert_sound().await;
}

#[tokio::test]
async fn a_second_server_on_the_same_directory_is_refused_and_told_whose_it_is() {
    let mut server = Server::start().await;
    let refused = another(&server).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (5, ""));
    assert!(refused.stderr.contains(&format!("process {}", server.pid())), "{}", refused.stderr);
    assert!(refused.stderr.contains(server.address()) && refused.stderr.contains("hint: "), "{}", refused.stderr);
    assert_eq!(server.get("/me").await.0, 200);
    server.kill9();
    server.start_again().await;
    assert_eq!(server.get("/me").await.0, 200);
}

#[tokio::test]
async fn a_store_that_a_newer_version_made_is_refused_and_left_as_it_is() {
    let mut server = Server::start().await;
    assert!(server.stop().await.success());
    let store = rusqlite::Connection::open(server.path().join("wakeful.db")).unwrap();
    store.execute("insert into schema_migrations (version, checksum) values (9999, 'x')", []).unwrap();
    let refused = another(&server).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.contains("9999") && refused.stderr.contains("newer"), "{}", refused.stderr);
    store.execute("delete from schema_migrations where version = 9999", []).unwrap();
    drop(store);
    server.start_again().await;
    assert_eq!(server.get("/me").await.0, 200);
}
