//! The same server on PostgreSQL: a run, a crash, a recovery. The store's own rules are shown on
//! both engines by its conformance tests; here only the whole is shown to stand on this engine too.

use std::fs;
use std::path::Path;

use serde_json::json;
use wakeful_test_postgres::Cluster;

use crate::support::{Server, id, shim_pid};

#[tokio::test]
async fn on_postgresql_a_run_outlives_a_crash_of_the_server_too() {
    let cluster = Cluster::start(&["fsync=off", "max_connections=100"]).unwrap();
    let mut server = Server::start_with(&["--database", &cluster.url()], &[]).await;
    assert!(!Path::exists(&server.path().join("wakeful.db")));
    let agent = server.process_agent("ann", "echo one; until test -e go; do sleep 0.02; done; echo two; rm go").await;
    let wakeup = server.wake(&agent, json!({ "reason": "begin" })).await;
    let run = id(&server.running(&wakeup).await);
    let accepted = server.wake(&agent, json!({ "reason": "and again" })).await;
    server.kill9();
    let home = server.path().join("agents").join(&agent);
    fs::write(home.join("go"), "").unwrap();
    server.start_again().await;
    assert_eq!(server.finished(&run).await["status"], "succeeded");
    assert_eq!(server.stdout(&run).await, "one\ntwo\n");
    assert_eq!(server.settled(&wakeup).await["status"], "completed");
    let follow_up = server.running(&accepted).await;
    fs::write(home.join("go"), "").unwrap();
    assert_eq!(server.finished(&id(&follow_up)).await["status"], "succeeded");
    assert_eq!(server.settled(&accepted).await["run_id"], follow_up["id"]);
    server.assert_sound().await;
}

#[tokio::test]
async fn a_database_that_its_own_tools_have_restored_is_fenced_and_held() {
    let cluster = Cluster::start(&["fsync=off", "max_connections=100"]).unwrap();
    let url = cluster.url();
    let mut server = Server::start_with(&["--database", &url], &[]).await;
    let agent = server.process_agent("ann", "exec sleep 600").await;
    let wakeup = server.wake(&agent, json!({})).await;
    let run = id(&server.running(&wakeup).await);
    server.cli(&["restore", "--database", &url]).await.assert_failed(5, &["in use by process"]);
    server.cli(&["backup"]).await.assert_failed(2, &["pg_dump --format=custom"]);
    let shim = shim_pid(&server.run_dir(&run).join("shim-1.json")).unwrap();
    server.kill9();
    let done = server.cli(&["restore", "--database", &url, "--json"]).await.json();
    assert_eq!((&done["restored"]["epoch"], &done["restored"]["lost_runs"]), (&json!(1), &json!(1)));
    server.start_again().await;
    // The tree is gone; the shim that has said so ends a moment later.
    assert!(server.left_over().iter().all(|pid| *pid == shim), "{:?}", server.left_over());
    assert_eq!(server.show(&format!("/runs/{run}")).await["error_code"], "restored");
    assert_eq!(server.show("/restore").await["is_held"], true);
    server.cli(&["restore", "--go-on"]).await.ok();
    assert_eq!(server.settled(&wakeup).await["status"], "failed");
    server.assert_sound().await;
}
