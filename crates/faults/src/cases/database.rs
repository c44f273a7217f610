//! PostgreSQL goes away under a server: it crashes and recovers, stays away for a while, cuts every connection.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use wakeful_test_postgres::Cluster;
use wakeful_test_server::Server;

use crate::load::Load;
use crate::waiting::{nothing_is_left, seconds, until};
use crate::{Case, Measured, Scale};

pub const DATABASE_AWAY: Case = Case {
    name: "database_away",
    rows: "24",
    provoked: "PostgreSQL crashes and recovers, is away for a minute, and ends every connection again and again, while agents are woken and work",
    must_hold: "the server lives, says 503 and goes on by itself; what it has accepted is done once, runs go on meanwhile and their ends are kept",
    run: |scale, seed| Box::pin(database_away(scale, seed)),
};

async fn goes_on(server: &Server) -> Duration {
    until("an answer of the server", Duration::from_secs(60), async || server.get("/companies").await.0 == 200).await
}

async fn database_away(scale: Scale, _seed: u64) -> Measured {
    let (agents, crashes, away, cuts) = scale.of((4, 1, 3, 5), (10, 5, 60, 50));
    let mut cluster = Cluster::start(&["max_connections=100"]).unwrap();
    let server = Server::start_with(&["--database", &cluster.url(), "--max-live-runs", "20"], &[]).await;
    let load = Load::on(&server, agents, 6, Duration::from_millis(200)).await;
    let pid = server.pid();
    let breaking = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..crashes {
            sleep(Duration::from_millis(700)).await;
            cluster.crash();
            cluster.start_again().unwrap();
            slowest = slowest.max(goes_on(&server).await);
        }
        cluster.crash();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(away) {
            let (status, problem) = server.get("/companies").await;
            assert!([0, 503].contains(&status), "{status} {problem}");
            sleep(Duration::from_millis(200)).await;
        }
        cluster.start_again().unwrap();
        slowest = slowest.max(goes_on(&server).await);
        for _ in 0..cuts {
            cluster.end_connections().unwrap();
            sleep(Duration::from_millis(100)).await;
        }
        load.end();
        slowest
    };
    let (slowest, ()) = tokio::join!(breaking, load.drive(Duration::from_millis(50)));
    let settled = load.settled(&server, Duration::from_secs(120)).await;
    assert_eq!(server.pid(), pid);
    nothing_is_left(&server).await;
    server.assert_sound().await;
    Ok(format!(
        "{crashes} crashes of PostgreSQL, {away} s without it, {cuts} times every connection cut: {} wakes accepted and done once in {} runs, \
         0 of {} lines lost; it answered again within {}, a wake was sent again for {} at most",
        settled.wakes,
        settled.runs,
        settled.lines,
        seconds(slowest),
        seconds(settled.longest_unanswered)
    ))
}
