//! The server is asked to stop, twice, and replaced by another build while runs are live.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use wakeful_test_server::{id, is_alive, program, signal};

use super::server;
use crate::fakes::assert_ended;
use crate::logs::{Wanted, lines_problem, records};
use crate::waiting::{ended, nothing_is_left, seconds};
use crate::{Case, Measured, Scale};

pub const STOP_AND_UPGRADE: Case = Case {
    name: "stop_and_upgrade",
    rows: "27",
    provoked: "SIGTERM with live runs, a second SIGTERM at once, then another build of the binary on the same data; the old file is gone",
    must_hold: "runs live on and are adopted, logs without a gap, results applied, a wake that fell due meanwhile is not lost",
    run: |scale, seed| Box::pin(stop_and_upgrade(scale, seed)),
};

/// Another build of the product, where whoever runs the suite has one.
pub static OTHER_BUILD: OnceLock<PathBuf> = OnceLock::new();

/// Puts the next build where the next server is started from: by turns another one, if there is one, and our own.
fn next_build(round: usize, to: &Path) -> bool {
    let other = OTHER_BUILD.get().filter(|_| round.is_multiple_of(2));
    fs::copy(other.map_or(Path::new(program()), PathBuf::as_path), to).unwrap();
    other.is_some()
}

/// Says how it went in its result file, so that there is a result to apply.
fn script(lines: usize) -> String {
    format!(
        "i=0; while [ $i -lt {lines} ]; do i=$((i+1)); echo \"$WAKEFUL_RUN line $i\"; sleep 0.05; done
        echo '{{\"summary\": \"wrote {lines}\", \"session\": \"s-1\"}}' > \"$WAKEFUL_RESULT_FILE\""
    )
}

async fn stop_and_upgrade(scale: Scale, _seed: u64) -> Measured {
    let (agents, rounds) = scale.of((4, 2), (20, 6));
    let mut server = server(agents + 1, &[]).await;
    let mut others = 0;
    let mut slowest_stop = Duration::ZERO;
    let mut runs = 0;
    for round in 0..rounds {
        // Some end while no server is there, some after.
        let mut live = Vec::new();
        for number in 0..agents {
            let lines = if number % 2 == 0 { 12 } else { 80 };
            let agent = server.process_agent(&format!("writer-{round}-{number}"), &script(lines)).await;
            let run = server.running(&server.wake(&agent, json!({})).await).await;
            live.push((run, lines));
        }
        let sleeper = server.process_agent(&format!("later-{round}"), "true").await;
        let later = server.wake(&sleeper, json!({ "delay_ms": 500 })).await;
        let began = Instant::now();
        signal(server.pid(), rustix::process::Signal::TERM);
        // The second follows at once.
        assert!(server.stop().await.success());
        slowest_stop = slowest_stop.max(began.elapsed());
        let still = live.iter().filter(|(run, _)| is_alive(pid(run))).count();
        assert!(still > 0, "no run outlived the server");
        sleep(Duration::from_millis(900)).await;
        let next = server.outside().join(format!("wakeful-{round}"));
        others += usize::from(next_build(round, &next));
        if round > 0 {
            fs::remove_file(server.outside().join(format!("wakeful-{}", round - 1))).unwrap();
        }
        server.use_program(&next);
        server.start_again().await;
        assert_eq!(fs::read_link(format!("/proc/{}/exe", server.pid())).unwrap(), next, "it is the same program");
        for (run, lines) in &live {
            let (over, _) = ended(&server, &id(run), Duration::from_secs(30)).await;
            assert_ended(&over, "succeeded", "");
            let applied = (&over["process"], &over["summary"], &over["session_after"]);
            assert_eq!(applied, (&run["process"], &json!(format!("wrote {lines}")), &json!("s-1")), "{over:#}");
            assert_eq!(lines_problem(&records(&server, &id(run)).await, &id(run), Wanted::All(*lines)), None);
            runs += 1;
        }
        assert_eq!(server.settled(&later).await["status"], "completed");
    }
    nothing_is_left(&server).await;
    server.assert_sound().await;
    Ok(format!(
        "{rounds} upgrades ({others} between builds, the others to a copy under another path), {runs} runs: all adopted or ended \
         meanwhile, 0 lines lost, results applied, {rounds} of {rounds} wakes that fell due meanwhile done; stopped within {}",
        seconds(slowest_stop)
    ))
}

fn pid(run: &Value) -> u32 {
    u32::try_from(run["process"]["pid"].as_u64().unwrap()).unwrap()
}
