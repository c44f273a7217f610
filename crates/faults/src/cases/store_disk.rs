//! The disk of the store fails to keep what it is told to, or takes its time: a layer between SQLite and the system says
//! so. Only the store's own files are concerned.

use std::fs;
use std::time::Duration;

use tokio::time::sleep;
use wakeful_test_server::Server;

use crate::load::Load;
use crate::preload::{STORE_DISK as STORE_DISK_LAYER, built};
use crate::waiting::{nothing_is_left, seconds};
use crate::{Case, Measured, Scale};

pub const STORE_DISK: Case = Case {
    name: "store_disk",
    rows: "12",
    provoked: "syncs of the store fail with EIO, again and again; then each takes two seconds",
    must_hold: "an EIO ends the server, which never tries it again; the next one has all that was answered, runs have gone on; slow syncs lose nothing",
    run: |scale, seed| Box::pin(store_disk(scale, seed)),
};

async fn store_disk(scale: Scale, _seed: u64) -> Measured {
    let (agents, failures, slow) = scale.of((3, 2, 6), (10, 10, 60));
    let dir = tempfile::Builder::new().prefix("wakeful-e2e-").tempdir().unwrap();
    let library = built(STORE_DISK_LAYER, dir.path())?;
    let flag = dir.path().join("disk");
    fs::write(&flag, "well").unwrap();
    let variables = [("LD_PRELOAD", library.as_str()), ("FAULT_DISK", flag.to_str().unwrap())];
    let mut server = Server::start_in(dir, &["--max-live-runs", "20"], &variables).await;
    let load = Load::on(&server, agents, 6, Duration::from_millis(150)).await;
    let breaking = async {
        for _ in 0..failures {
            sleep(Duration::from_millis(700)).await;
            fs::write(&flag, "eio").unwrap();
            let status = server.ended().await;
            assert_eq!(status.code(), Some(1), "{}", server.log());
            fs::write(&flag, "well").unwrap();
            server.start_again().await;
        }
        let log = server.log();
        assert_eq!(log.matches("takes no more").count(), failures, "{log}");
        fs::write(&flag, "2000").unwrap();
        sleep(Duration::from_secs(slow)).await;
        fs::write(&flag, "well").unwrap();
        load.end();
        server
    };
    let (server, ()) = tokio::join!(breaking, load.drive(Duration::from_millis(50)));
    let settled = load.settled(&server, Duration::from_secs(120)).await;
    nothing_is_left(&server).await;
    server.assert_sound().await;
    Ok(format!(
        "{failures} times EIO: the server ended each time, {} wakes accepted and done once in {} runs, 0 of {} lines lost; {slow} s with \
         syncs of 2 s: 0 runs lost; a wake was sent again for {} at most",
        settled.wakes,
        settled.runs,
        settled.lines,
        seconds(settled.longest_unanswered)
    ))
}
