//! More output than anybody wants: a flood beside quiet runs, and a line that does not end.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep};
use wakeful_test_server::sse::follow;
use wakeful_test_server::{Server, id};

use super::server;
use crate::agent::ticker;
use crate::fakes::assert_ended;
use crate::logs::{marks, numbering_problem, records, stdout_of};
use crate::machine::{now_ns, shim_of, status_kib};
use crate::waiting::{ended, nothing_is_left, percentile};
use crate::{Case, Measured, Scale};

pub const FLOOD: Case = Case {
    name: "flood",
    rows: "13",
    provoked: "10 GB through one run at full speed while 20 others log a line every 50 ms; then one line of 500 MB",
    must_hold: "memory of server and shim bounded, the others' lines arrive as before, kept and missing bytes add up, no record over 64 KiB",
    run: |scale, seed| Box::pin(flood(scale, seed)),
};

const EVERY: Duration = Duration::from_millis(50);
const SETTLING: Duration = Duration::from_secs(1);
/// Neither server nor shim may ever take more.
const SERVER_KIB_MAX: u64 = 400 * 1024;
const SHIM_KIB_MAX: u64 = 64 * 1024;
const RECORD_BYTES_MAX: usize = 64 * 1024;

/// When a line came, and after how many milliseconds.
type Arrivals = RefCell<Vec<(Instant, f64)>>;

async fn flood(scale: Scale, _seed: u64) -> Measured {
    let others = scale.of(5, 20);
    let bytes = scale.of(200_000_000, 10_000_000_000);
    let calm = scale.of(Duration::from_secs(2), Duration::from_secs(10));
    let server = server(others + 2, &[]).await;
    let mut quiet = Vec::new();
    for number in 0..others {
        let adapter = json!({ "type": "process", "command": ticker(EVERY, 100_000) });
        let agent = server.agent(&json!({ "name": format!("quiet-{number}"), "adapter": adapter })).await;
        quiet.push(id(&server.running(&server.wake(&agent, json!({})).await).await));
    }
    let arrivals = Arrivals::default();
    let followers = join_all(quiet.iter().map(|run| listen(&server, run, &arrivals)));
    let flooding = async {
        sleep(calm).await;
        let began = Instant::now();
        let told = pour(&server, "flooder", &flood_of(bytes), bytes).await;
        let took = began.elapsed();
        let rate = bytes as f64 / 1e6 / took.as_secs_f64();
        (began, began + took, format!("{} GB at {rate:.0} MB/s, {told}", bytes as f64 / 1e9))
    };
    let (began, over, poured) = tokio::select! {
        _ = followers => panic!("a quiet run ended"),
        told = flooding => told,
    };
    let (mut before, mut during) = (Vec::new(), Vec::new());
    for (at, latency) in arrivals.into_inner() {
        match at {
            // The start of so many runs is no calm.
            at if at + calm < began + SETTLING => {}
            at if at < began => before.push(latency),
            at if at < over => during.push(latency),
            _ => {}
        }
    }
    let (p50, p99) = (percentile(&mut during, 50), percentile(&mut during, 99));
    assert!(p99 < 2_000.0, "lines of others arrive after {p99:.0} ms");
    let line = scale.of(50_000_000, 500_000_000);
    let endless = format!("head -c {line} /dev/zero | tr '\\0' x");
    let lined = pour(&server, "endless", &endless, line).await;
    for run in &quiet {
        server.post(&format!("/runs/{run}/cancel"), &json!({})).await;
        ended(&server, run, Duration::from_secs(30)).await;
    }
    let server_kib = status_kib(server.pid(), "VmHWM");
    assert!(server_kib < SERVER_KIB_MAX, "the server took {server_kib} KiB");
    nothing_is_left(&server).await;
    server.assert_sound().await;
    Ok(format!(
        "{poured}; a line of {} MB: {lined}; server's peak {} MiB; lines of {others} others to a follower: p50 {p50:.1} ms, p99 {p99:.1} ms \
         (without flood: p50 {:.1} ms, p99 {:.1} ms)",
        line / 1_000_000,
        server_kib / 1024,
        percentile(&mut before, 50),
        percentile(&mut before, 99)
    ))
}

fn flood_of(bytes: u64) -> String {
    format!("yes \"$(printf '%01000d' 0)\" | head -c {bytes}")
}

/// Follows a ticking run for ever.
async fn listen(server: &Server, run: &str, arrivals: &Arrivals) {
    let mut stream = follow(server, &format!("/runs/{run}/log"), None).await;
    while let Some(event) = stream.next().await {
        let sent: u128 = event.data["text"].as_str().unwrap().parse().unwrap();
        arrivals.borrow_mut().push((Instant::now(), now_ns().saturating_sub(sent) as f64 / 1e6));
    }
}

/// Runs what writes so many bytes; says what its shim took and what became of the bytes.
async fn pour(server: &Server, name: &str, script: &str, bytes: u64) -> String {
    let agent = server.process_agent(name, script).await;
    let run = id(&server.running(&server.wake(&agent, json!({})).await).await);
    let (mut peak_kib, within) = (0, Duration::from_secs(600));
    let began = Instant::now();
    loop {
        if let Some(shim) = shim_of(server, &run) {
            peak_kib = peak_kib.max(status_kib(shim, "VmHWM"));
        }
        if server.show(&format!("/runs/{run}")).await["finished_at"].is_string() {
            break;
        }
        assert!(began.elapsed() < within, "{name} does not end");
        sleep(Duration::from_millis(20)).await;
    }
    let (over, _) = ended(server, &run, Duration::from_secs(1)).await;
    assert_ended(&over, "succeeded", "");
    assert!((1..SHIM_KIB_MAX).contains(&peak_kib), "the shim took {peak_kib} KiB");
    let records = records(server, &run).await;
    assert_eq!(numbering_problem(&records), None);
    assert!(records.iter().all(|record| record.to_string().len() < RECORD_BYTES_MAX), "a record is too long");
    let missing: u64 = marks(&records).iter().filter_map(|mark| mark["missing"]["bytes"].as_u64()).sum();
    let cuts = marks(&records).len();
    let mut kept = stdout_of(&records).len() as u64;
    // A line that ends with the stream and not with a line end is whole all the same.
    kept -= kept.saturating_add(missing).saturating_sub(bytes).min(1);
    assert_eq!(kept + missing, bytes, "{name}: kept and missing bytes do not add up");
    assert_eq!(cuts, usize::from(missing > 0), "{name}: the cut is marked once");
    format!("{} MB kept, the cut marked, shim's peak {} MiB", kept / 1_000_000, peak_kib / 1024)
}
