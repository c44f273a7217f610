//! Nothing of a run outlives its exit record, whatever it does to escape.

use std::time::Duration;

use wakeful_runner::process::Launch;

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
