//! Many at once. The measurement is run by hand: `cargo test --release … -- --ignored --nocapture measure`.

use std::fs;
use std::time::Instant;

use wakeful_runner::process::Update;

use super::setup::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_runs_at_once_do_not_mix() {
    let mut runs = tokio::task::JoinSet::new();
    for number in 0..10 {
        runs.spawn(async move {
            let launch = sh(&format!("for i in $(seq 1000); do echo {number}-$i; done; exit {number}"));
            let record = run(&launch).await;
            assert_eq!(record.code, Some(number));
            let expected: String = (1..=1_000).map(|i| format!("{number}-{i}\n")).collect();
            assert_eq!(String::from_utf8(stdout_of(&launch)).unwrap(), expected);
        });
    }
    while let Some(joined) = in_time(runs.join_next()).await {
        joined.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, to be run alone and in release"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
async fn measure() {
    const RUNS: u32 = 2_000;
    let begun = Instant::now();
    let mut runs = tokio::task::JoinSet::new();
    for _ in 0..16 {
        runs.spawn(async {
            for _ in 0..RUNS / 16 {
                assert_eq!(run(&launch_of(&["/bin/true"])).await.code, Some(0));
            }
        });
    }
    while let Some(joined) = runs.join_next().await {
        joined.unwrap();
    }
    println!("runs/s of /bin/true, 16 at once: {:.0}", f64::from(RUNS) / begun.elapsed().as_secs_f64());

    let mut latencies = Vec::new();
    for _ in 0..300 {
        let launch = launch_of(&["/bin/true"]);
        let begun = Instant::now();
        let mut attached = start(&launch).await;
        assert!(matches!(attached.next().await, Update::Started(_)));
        latencies.push(begun.elapsed());
        exit_of(&mut attached).await;
    }
    latencies.sort();
    println!("launch to started: p50 {:?}, p99 {:?}", latencies[150], latencies[297]);

    let launch = sh("echo up; while [ ! -e go ]; do sleep 0.1; done");
    let mut attached = start(&launch).await;
    output_with(&mut attached, &launch, "up").await;
    let status = fs::read_to_string(format!("/proc/{}/status", attached.shim_pid().unwrap())).unwrap();
    for line in status.lines().filter(|line| line.contains("Rss") || line.contains("VmRSS") || line.contains("VmHWM")) {
        println!("{line}");
    }
    fs::write(file_in(&launch, "go"), "").unwrap();
    exit_of(&mut attached).await;

    let launch = sh("yes 'a line of ordinary length, as agents write them' | head -c 1000000000");
    let begun = Instant::now();
    let record = run(&launch).await;
    println!("a flood of 1 GB: {:?}, log {:?}", begun.elapsed(), record.log);
}
