//! The wall clock is set by a day, forward while work goes on and back again. Only the server and its runs see it.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use wakeful_test_server::{Server, id};

use crate::preload::{WALL_CLOCK, built};
use crate::waiting::{ended, nothing_is_left, until};
use crate::{Case, Measured, Scale};

pub const CLOCK: Case = Case {
    name: "clock",
    rows: "16",
    provoked: "the wall clock is set a day ahead while runs are live and schedules fire each second, and back again before the next start",
    must_hold: "no run is ended early, what was jumped over makes no burst, schedules go on after both, and no slot fires twice",
    run: |scale, seed| Box::pin(clock(scale, seed)),
};

const DAY_S: i64 = 86_400;

async fn slots(server: &Server, schedule: &str) -> Vec<Value> {
    server.all(&format!("/schedules/{schedule}/slots")).await
}

fn count(slots: &[Value], status: &str) -> usize {
    slots.iter().filter(|slot| slot["status"] == status).count()
}

async fn clock(scale: Scale, _seed: u64) -> Measured {
    let rounds = scale.of(1, 5);
    let dir = tempfile::Builder::new().prefix("wakeful-e2e-").tempdir().unwrap();
    let layer = built(WALL_CLOCK, dir.path())?;
    let clock = dir.path().join("clock");
    // Written in place: whoever has it mapped sees it.
    fs::write(&clock, 0_i64.to_ne_bytes()).unwrap();
    let set = |ahead_s: i64| {
        use std::os::unix::fs::FileExt;
        fs::File::options().write(true).open(&clock).unwrap().write_all_at(&ahead_s.to_ne_bytes(), 0).unwrap();
    };
    let variables = [("LD_PRELOAD", layer.as_str()), ("FAULT_CLOCK", clock.to_str().unwrap())];
    let mut server = Server::start_in(dir, &["--max-live-runs", "20"], &variables).await;
    let ticker = server.process_agent("ticker", "true").await;
    let every =
        json!({ "name": "each-second", "trigger": { "every": "1s" }, "target": { "wake": { "agent": ticker } } });
    let schedule = id(&server.post("/companies/default/schedules", &every).await.1);
    let limits = json!({ "limits": { "max_duration_s": 3_600, "stale_after_s": 1_800 } });
    let worker = server.process_agent_with("worker", "sleep 6", limits).await;
    let fires = async |server: &Server| {
        let before = count(&slots(server, &schedule).await, "fired");
        until("a further slot fires", Duration::from_secs(30), async || {
            count(&slots(server, &schedule).await, "fired") > before
        })
        .await
    };
    let (mut burst, mut slowest) = (0, Duration::ZERO);
    for _ in 0..rounds {
        let run = server.running(&server.wake(&worker, json!({})).await).await;
        fires(&server).await;
        let before = count(&slots(&server, &schedule).await, "fired");
        set(DAY_S);
        sleep(Duration::from_secs(3)).await;
        burst = burst.max(count(&slots(&server, &schedule).await, "fired") - before);
        slowest = slowest.max(fires(&server).await);
        let (over, _) = ended(&server, &id(&run), Duration::from_secs(30)).await;
        assert_eq!(over["status"], "succeeded", "{over:#}");
        server.stop().await;
        set(0);
        server.start_again().await;
        slowest = slowest.max(fires(&server).await);
    }
    assert!(burst <= 6, "{burst} slots fired within three seconds");
    server.delete(&format!("/schedules/{schedule}")).await;
    nothing_is_left(&server).await;
    server.assert_sound().await;
    Ok(format!(
        "{rounds} times a day ahead and back: at most {burst} slots fired in the three seconds after it instead of 86,400, each slot once, the \
         next one {} ms later at most; 0 runs ended early",
        slowest.as_millis()
    ))
}
