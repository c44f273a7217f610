//! What a tree may take, with control groups where the machine lets us make them and without; and that neither they
//! nor what is in them is left over.

use std::process::Command;

use wakeful_runner::process::{Attached, ExitRecord, Launch, Limit, ProcessLimits, Update, sweep};

use super::setup::*;

fn within(memory_bytes_max: Option<u64>, pids_max: Option<u64>, script: &str) -> Launch {
    Launch { limits: ProcessLimits { memory_bytes_max, pids_max }, ..sh(script) }
}

/// Runs it with control groups, with those of version 1 alone, and without.
async fn check(launch: impl Fn() -> Launch, holds: impl Fn(&Launch, &ExitRecord)) {
    let ended = async |launch: Launch, mut attached: Attached| {
        let record = exit_of(&mut attached).await;
        assert!(processes_of(&launch).is_empty() && cgroups_of(&launch).is_empty());
        holds(&launch, &record);
        drop(attached);
        uncontained(&launch).await;
    };
    let with = launch();
    let attached = start(&with).await;
    ended(with, attached).await;
    let earlier = launch();
    let attached = start_with_earlier_cgroups(&earlier).await;
    ended(earlier, attached).await;
    let without = launch();
    let attached = start_without_cgroups(&without).await;
    ended(without, attached).await;
}

#[tokio::test]
async fn a_tree_that_grows_is_ended_at_its_limit() {
    // It doubles every 50 ms; the second one leaves group and session with every process.
    for script in [
        "b() { sleep 0.05; b & b & wait; }; b",
        "export B='sleep 0.05; setsid sh -c \"$B\" & setsid sh -c \"$B\" & wait'; sh -c \"$B\"",
    ] {
        check(
            || within(None, Some(100), script),
            |_, record| assert_eq!((record.limit, record.signal), (Some(Limit::Pids), Some(9)), "{record:?}"),
        )
        .await;
    }
}

#[tokio::test]
async fn a_fork_bomb_is_held_by_its_group_and_ended() {
    let launch = within(None, Some(100), "b() { b | b & }; b; sleep 1000");
    let mut attached = start(&launch).await;
    assert!(matches!(in_time(attached.next()).await, Update::Started(_)));
    // Only where a group may be made: without one it takes what it can until it is looked at.
    if cgroups_of(&launch).iter().any(|group| group.join("pids.max").exists()) {
        let record = exit_of(&mut attached).await;
        assert_eq!((record.limit, record.signal), (Some(Limit::Pids), Some(9)));
    } else {
        // It may have been ended before we looked: then there is nobody to tell.
        attached.stop("there is no group", Some(std::time::Duration::ZERO)).ok();
        exit_of(&mut attached).await;
    }
    assert!(processes_of(&launch).is_empty() && cgroups_of(&launch).is_empty());
}

#[tokio::test]
async fn a_tree_that_takes_too_much_memory_is_ended() {
    // `tail` keeps a line that has no end; the shell would go on without it.
    check(
        || within(Some(64 << 20), None, "(head -c 200000000 /dev/zero; sleep 1000) | tail; sleep 1000"),
        |_, record| assert_eq!(record.limit, Some(Limit::Memory), "{record:?}"),
    )
    .await;
}

#[tokio::test]
async fn within_its_limits_a_run_is_left_alone() {
    check(
        || {
            within(
                Some(256 << 20),
                Some(50),
                "for i in $(seq 20); do sleep 0.3 & done; head -c 1000000 /dev/zero | tail | wc -c; wait",
            )
        },
        |launch, record| {
            assert_eq!((record.limit, record.code), (None, Some(0)));
            assert_eq!(stdout_of(launch), b"1000000\n");
        },
    )
    .await;
}

#[tokio::test]
async fn shared_memory_counts_once() {
    // Thirty shells that share all but a little: each by itself is small, their sum is not.
    let script =
        "x=$(head -c 8000000 /dev/zero | tr '\\0' x); for i in $(seq 30); do (sleep 1; :) & done; wait; echo ${#x}";
    let launch = within(Some(120 << 20), None, script);
    let mut attached = start_without_cgroups(&launch).await;
    let record = exit_of(&mut attached).await;
    assert_eq!((record.limit, record.code), (None, Some(0)));
    uncontained(&launch).await;
}

#[tokio::test]
async fn a_run_without_limits_is_never_looked_at() {
    let launch = sh("s() { grep ^vol /proc/$PPID/status; }; s; sleep 0.4; s; sleep 0.4; s");
    run(&launch).await;
    let out = String::from_utf8(stdout_of(&launch)).unwrap();
    let counts: Vec<u64> = out.lines().map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap()).collect();
    // The line itself, and the hint that it has come.
    assert!(counts[2] - counts[1] <= 3, "{counts:?}");
}

#[tokio::test]
async fn what_cleared_its_environment_is_swept_by_its_group() {
    let launch = sh("env -i setsid sh -c 'echo up; sleep 1000' & sleep 1000");
    let mut attached = start(&launch).await;
    output_with(&mut attached, &launch, "up").await;
    let groups = cgroups_of(&launch);
    Command::new("kill").args(["-9", &attached.shim_pid().unwrap().to_string()]).status().unwrap();
    // Where no group may be made, what hides like this cannot be found.
    if let Some(group) = groups.first() {
        let members = std::fs::read_to_string(group.join("cgroup.procs")).unwrap();
        let swept = in_time(sweep(&launch.run)).await.unwrap();
        for member in members.lines() {
            assert!(swept.pids.contains(&member.parse().unwrap()), "{member} is not among {swept:?}");
            assert!(!std::path::Path::new("/proc").join(member).join("root").exists());
        }
    } else {
        in_time(sweep(&launch.run)).await.unwrap();
    }
    assert!(cgroups_of(&launch).is_empty() && processes_of(&launch).is_empty());
}

#[tokio::test]
async fn what_a_dead_shim_had_frozen_is_swept() {
    let launch = sh("env -i setsid sh -c 'echo up; sleep 1000' & sleep 1000");
    let mut attached = start_with_earlier_cgroups(&launch).await;
    output_with(&mut attached, &launch, "up").await;
    for group in cgroups_of(&launch).iter().filter(|group| group.join("freezer.state").exists()) {
        std::fs::write(group.join("freezer.state"), "FROZEN").unwrap();
    }
    Command::new("kill").args(["-9", &attached.shim_pid().unwrap().to_string()]).status().unwrap();
    in_time(sweep(&launch.run)).await.unwrap();
    assert!(cgroups_of(&launch).is_empty() && processes_of(&launch).is_empty());
}

#[tokio::test]
async fn what_cannot_start_leaves_no_group() {
    let launch = Launch { argv: vec!["no-such-agent".into()], ..within(Some(1 << 30), Some(100), "") };
    assert!(run(&launch).await.start_failed.is_some());
    assert!(cgroups_of(&launch).is_empty());
}
