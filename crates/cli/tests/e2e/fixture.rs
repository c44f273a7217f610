//! The fixture itself: what the other tests lean on.

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Server, id, is_alive, signal};

#[tokio::test]
async fn a_server_is_killed_started_again_and_stopped_and_its_run_goes_on() {
    let mut server = Server::start().await;
    let agent = server.process_agent("sleeper", "until test -e go; do sleep 0.02; done; echo done").await;
    let wakeup = server.wake(&agent, json!({})).await;
    let run = id(&server.running(&wakeup).await);
    let before = server.pid();
    server.kill9();
    assert!(!is_alive(before));
    server.start_again().await;
    assert_ne!(server.pid(), before);
    assert!(server.stop().await.success());
    server.start_again().await;
    std::fs::write(server.path().join("agents").join(&agent).join("go"), "").unwrap();
    assert_eq!(server.finished(&run).await["status"], "succeeded");
    assert_eq!(server.stdout(&run).await, "done\n");
    server.assert_sound().await;
}

#[tokio::test]
async fn a_test_leaves_no_process_behind() {
    let server = Server::start().await;
    let agent = server.process_agent("stubborn", "trap '' TERM; setsid sleep 600 & sleep 600").await;
    let wakeup = server.wake(&agent, json!({})).await;
    server.running(&wakeup).await;
    let pid = server.pid();
    // The shim, the shell, two sleepers; they may not all be there yet.
    while server.left_over().len() < 4 {
        tokio::task::yield_now().await;
    }
    let left = server.left_over();
    signal(pid, Signal::STOP);
    drop(server);
    assert!(!is_alive(pid) && !left.into_iter().any(is_alive));
}
