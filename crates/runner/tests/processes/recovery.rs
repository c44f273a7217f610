//! The server goes and comes back, or the shim is killed: nothing is lost, doubled or left over.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use wakeful_runner::process::log::{LogStream, close_after_death};
use wakeful_runner::process::{Found, Update, find, sweep};

use super::setup::*;

#[tokio::test]
async fn a_restarted_server_finds_the_run_and_its_whole_output() {
    let launch = sh("echo first; while [ ! -e go ]; do sleep 0.01; done; seq 1 10000; exit 6");
    let mut attached = start(&launch).await;
    output_with(&mut attached, &launch, "first").await;
    drop(attached);
    let Found::Running(mut attached) = in_time(find(&launch.dir, 1)).await.unwrap() else { panic!("it runs") };
    let Update::Started(identity) = in_time(attached.next()).await else { panic!("what is, comes first") };
    assert!(processes_of(&launch).contains(&identity.pid));
    assert!(matches!(in_time(attached.next()).await, Update::Output { lines: 1, .. }));
    // Several servers may listen, as during a hand-over.
    let Found::Running(mut other) = in_time(find(&launch.dir, 1)).await.unwrap() else { panic!("it runs") };
    fs::write(file_in(&launch, "go"), "").unwrap();
    let record = exit_of(&mut attached).await;
    assert_eq!(exit_of(&mut other).await, record);
    assert_eq!(record.code, Some(6));
    let expected: String =
        std::iter::once("first\n".to_owned()).chain((1..=10_000).map(|n| format!("{n}\n"))).collect();
    assert_eq!(String::from_utf8(stdout_of(&launch)).unwrap(), expected);
    assert!(!file_in(&launch, "control-1.sock").exists());
    let Found::Ended(found) = in_time(find(&launch.dir, 1)).await.unwrap() else { panic!("it ended") };
    assert_eq!(*found, record);
}

#[tokio::test]
async fn the_last_hint_covers_the_whole_log() {
    let launch = sh("for i in 1 2 3 4 5; do echo $i; done; while [ ! -e go ]; do sleep 0.01; done");
    let mut attached = start(&launch).await;
    let mut lines_hinted = 0;
    while lines_hinted < 5 {
        if let Update::Output { lines, log_bytes } = in_time(attached.next()).await {
            assert!(fs::metadata(file_in(&launch, "log.ndjson")).unwrap().len() >= log_bytes);
            lines_hinted = lines;
        }
    }
    fs::write(file_in(&launch, "go"), "").unwrap();
    exit_of(&mut attached).await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_nothing_up() {
    let launch = sh("for i in $(seq 300); do seq 1 200; done; exit 2");
    let attached = start(&launch).await;
    until("the exit record", || file_in(&launch, "exit-1.json").exists()).await;
    assert_eq!(log_of(&launch).len(), 60_000);
    drop(attached);
}

#[tokio::test]
async fn a_killed_shim_is_found_dead_and_what_it_left_is_swept() {
    let launch = sh("setsid sleep 1000 & (sleep 1000 &) ; trap '' TERM; echo up; while :; do sleep 0.05; done");
    let mut attached = start(&launch).await;
    let Update::Started(agent) = in_time(attached.next()).await else { panic!("it starts") };
    output_with(&mut attached, &launch, "up").await;
    let shim = attached.shim_pid().unwrap().to_string();
    Command::new("kill").args(["-9", &shim]).status().unwrap();
    loop {
        match in_time(attached.next()).await {
            Update::Gone => break,
            Update::Output { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let Found::Died(death) = in_time(find(&launch.dir, 1)).await.unwrap() else { panic!("it is dead") };
    assert!(!death.rebooted);
    assert_eq!(death.agent, Some(agent.clone()));
    assert_eq!(death.shim.unwrap().pid.to_string(), shim);

    // Another run with an id that begins alike is not touched.
    let mut stranger =
        Command::new("sleep").arg("1000").env("WAKEFUL_RUN", format!("{}0", launch.run)).spawn().unwrap();
    let swept = in_time(sweep(&launch.run)).await.unwrap();
    assert!(swept.pids.contains(&agent.pid) && swept.pids.len() >= 3, "{swept:?}");
    assert!(processes_of(&launch).is_empty());
    assert!(stranger.try_wait().unwrap().is_none());
    stranger.kill().unwrap();
    stranger.wait().unwrap();

    let summary = close_after_death(&launch.dir, "the shim was killed: output may be missing here").unwrap();
    let records = log_of(&launch);
    assert_eq!(records.last().unwrap().stream, LogStream::Wakeful);
    assert!(summary.truncated && summary.lines == records.len() as u64);
}

#[tokio::test]
async fn another_boot_means_that_it_died_with_it() {
    let launch = sh("true");
    let identity = r#"{"pid":1,"start_time":1,"boot_id":"another"}"#;
    let line = format!(r#"{{"shim":{{"run":"{}","number":1,"identity":{identity}}}}}"#, launch.run);
    fs::write(file_in(&launch, "shim-1.json"), line + "\n").unwrap();
    let Found::Died(death) = in_time(find(&launch.dir, 1)).await.unwrap() else { panic!("it is dead") };
    assert!(death.rebooted && death.agent.is_none());
}

#[tokio::test]
async fn an_abandoned_launch_is_never_started() {
    let launch = sh("echo started > proof");
    assert!(matches!(in_time(find(&launch.dir, 1)).await.unwrap(), Found::NeverStarted));
    assert!(matches!(in_time(find(&launch.dir, 1)).await.unwrap(), Found::NeverStarted));
    let mut attached = start(&launch).await;
    assert_eq!(in_time(attached.next()).await, Update::Gone);
    assert!(!file_in(&launch, "proof").exists());
    assert!(matches!(in_time(find(&launch.dir, 1)).await.unwrap(), Found::NeverStarted));
}

#[tokio::test]
async fn a_race_for_a_launch_has_one_winner() {
    for _ in 0..20 {
        let launch = sh("echo started > proof");
        let (attached, found) = tokio::join!(start(&launch), find(&launch.dir, 1));
        let mut attached = attached;
        let last = loop {
            let update = in_time(attached.next()).await;
            if matches!(update, Update::Gone | Update::Exited(_)) {
                break update;
            }
        };
        match found.unwrap() {
            Found::NeverStarted => assert_eq!(last, Update::Gone),
            Found::Running(_) | Found::Ended(_) => assert!(matches!(last, Update::Exited(_))),
            Found::Died(death) => panic!("{death:?}"),
        }
        assert_eq!(file_in(&launch, "proof").exists(), last != Update::Gone);
    }
}

#[tokio::test]
async fn half_a_description_starts_nothing() {
    let launch = sh("echo started > proof");
    let description = serde_json::to_vec(&launch).unwrap();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let stdin = Stdio::from(std::os::fd::OwnedFd::from(theirs));
    let mut shim = Command::new(SHIM).env_clear().stdin(stdin).spawn().unwrap();
    ours.write_all(&description[..description.len() - 1]).unwrap();
    drop(ours);
    until("the shim ends", || shim.try_wait().unwrap().is_some()).await;
    assert!(!file_in(&launch, "proof").exists() && !file_in(&launch, "shim-1.json").exists());
}

#[tokio::test]
async fn nothing_of_the_environment_is_on_disk() {
    let mut launch = sh("echo done");
    launch.env.push(("WAKEFUL_TOKEN".into(), "s3cret-token".into()));
    run(&launch).await;
    for entry in fs::read_dir(&launch.dir).unwrap() {
        let text = fs::read(entry.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains("s3cret-token"));
    }
}

#[tokio::test]
async fn a_shim_that_died_while_it_waited_is_replaced() {
    let launch = sh("exit 7");
    let used = file_in(&launch, "used");
    let script =
        format!("if [ ! -e {0} ]; then (exec <&-; sleep 0.05; touch {0}) & exit 0; fi; exec {SHIM}", used.display());
    let shims = wakeful_runner::process::Shims::new(std::path::Path::new("/bin/sh"), &["-c", &script]);
    shims.prepare();
    until("the first shim has come and gone", || used.exists()).await;
    let mut attached = in_time(shims.launch(&launch)).await.unwrap();
    assert_eq!(exit_of(&mut attached).await.code, Some(7));
}
