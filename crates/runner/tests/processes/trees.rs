//! Nothing of a run outlives its exit record, whatever it does to escape.

use std::time::Duration;

use wakeful_runner::process::{Launch, process_tree};

use super::setup::*;

#[tokio::test]
async fn what_is_left_behind_may_linger_and_then_is_ended() {
    let check = async |script: &str| {
        let launch = Launch { grace_ms: 100, ..sh(script) };
        let record = run(&launch).await;
        assert_eq!(record.code, Some(0), "{script}");
        assert!(processes_of(&launch).is_empty(), "{script}");
        assert!(stdout_of(&launch).starts_with(b"done"), "{script}");
    };
    // A child in the group, holding the pipes.
    check("sleep 100 & echo done").await;
    // A child without the pipes.
    check("sleep 100 >/dev/null 2>&1 </dev/null & echo done").await;
    // Forked twice, in a session of its own.
    check("setsid sh -c 'sleep 100 & sleep 100 &' >/dev/null 2>&1 & echo done").await;
    // Deaf to the stop signal, in a session of its own.
    check("setsid sh -c \"trap '' TERM INT HUP; while :; do sleep 1; done\" & echo done").await;
    // Stopped.
    check("sh -c 'kill -STOP $$' & echo done").await;
    // Stopped and in a session of its own.
    check("setsid sh -c 'kill -STOP $$; echo woken' & echo done").await;
    // With an empty environment, in a session of its own.
    check("env -i setsid sleep 1000 & echo done").await;
    // One that nobody has waited for, below one that has not ended.
    check("sh -c 'true & exec sleep 1000' & echo done").await;
    // Hundreds.
    check("for i in $(seq 200); do sleep 100 & done; echo done").await;
}

#[tokio::test]
async fn what_ends_by_itself_in_time_is_not_signalled_and_its_output_is_kept() {
    let launch = Launch { linger_ms: 20_000, ..sh("(trap 'echo signalled' TERM; sleep 0.2; echo late) & echo early") };
    assert_eq!(run(&launch).await.code, Some(0));
    assert_eq!(stdout_of(&launch), b"early\nlate\n");
}

#[tokio::test]
async fn a_stop_reaches_what_left_the_group() {
    let script = "setsid sh -c 'trap \"echo child; exit\" TERM; echo up; while :; do sleep 0.01; done' & wait";
    let launch = sh(script);
    let mut attached = start(&launch).await;
    output_with(&mut attached, &launch, "up").await;
    attached.stop("operator", None).unwrap();
    let record = exit_of(&mut attached).await;
    assert_eq!(record.signal, Some(15));
    assert_eq!(stdout_of(&launch), b"up\nchild\n");
    assert!(processes_of(&launch).is_empty());
}

#[tokio::test]
async fn a_stopped_agent_takes_the_stop_signal() {
    let launch = sh("trap 'echo caught; exit 5' TERM; echo ready; kill -STOP $$; echo going on");
    let mut attached = start(&launch).await;
    output_with(&mut attached, &launch, "ready").await;
    attached.stop("operator", None).unwrap();
    assert_eq!(exit_of(&mut attached).await.code, Some(5));
}

#[tokio::test]
async fn a_tree_that_keeps_forking_is_ended() {
    let script = "f() { setsid sh -c \"$S\" & }; export S='trap \"\" TERM; while :; do setsid sleep 100 & sleep 0.02; done'; f; f; echo up; wait";
    let launch = sh(script);
    let mut attached = start(&launch).await;
    output_with(&mut attached, &launch, "up").await;
    attached.stop("operator", Some(Duration::from_millis(100))).unwrap();
    exit_of(&mut attached).await;
    assert!(processes_of(&launch).is_empty());
}

#[tokio::test]
async fn the_tree_of_a_live_run_can_be_looked_at() {
    let long = "x".repeat(500);
    let script = format!("setsid sleep 1001 & sh -c 'kill -STOP $$' {long} & echo up; wait");
    let launch = sh(&script);
    assert!(process_tree(&launch.dir, 1).unwrap().is_empty());
    let mut attached = start(&launch).await;
    output_with(&mut attached, &launch, "up").await;
    let is_whole = |found: &[wakeful_runner::process::TreeProcess]| {
        let is_there =
            |command: &str, state| found.iter().any(|one| one.command.starts_with(command) && one.state == state);
        found.len() == 3 && is_there("sleep 1001", 'S') && is_there("sh -c kill -STOP $$ xxx", 'T')
    };
    until("the tree is whole", || is_whole(&process_tree(&launch.dir, 1).unwrap())).await;
    let found = process_tree(&launch.dir, 1).unwrap();
    assert_eq!(found[0].parent.unsigned_abs(), attached.shim_pid().unwrap());
    assert!(found[0].command.starts_with("/bin/sh -c setsid sleep 1001 & sh"));
    assert!(found[1..].iter().all(|process| process.parent == found[0].pid));
    assert!(found.iter().all(|process| process.rss_bytes > 0 && process.command.len() <= 4_096));
    attached.stop("operator", Some(Duration::ZERO)).unwrap();
    let ended_at = exit_of(&mut attached).await.ended_at;
    assert!(found.iter().all(|process| ended_at.since(process.started_at) < Duration::from_secs(60)), "{found:?}");
    assert!(process_tree(&launch.dir, 1).unwrap().is_empty());
}
