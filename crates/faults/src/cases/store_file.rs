//! The file of the store: read for too long by somebody else, on a disk that has become read-only, damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use wakeful_test_server::{Server, clean, printed, program};

use super::limits::NO_MOUNT;
use super::server;
use crate::waiting::until;
use crate::{Case, Measured, Scale, Skipped};

pub const STORE_FILE: Case = Case {
    name: "store_file",
    rows: "26",
    provoked: "a reader holds an old snapshot while megabytes are written; the disk of the data directory becomes read-only; pages of the file are damaged",
    must_hold: "the log's growth is told and ends with the reader; a read-only disk is a clear error, and a backup can still be read from it; the damage is found, no backup is made of it, an earlier one works",
    run: |scale, seed| Box::pin(store_file(scale, seed)),
};

/// Beyond it `doctor` warns.
const LOG_WARNED_MIB: u64 = 128;
/// What is left of the log once nobody reads it.
const LOG_KEPT_MIB: u64 = 64;
const MIB: u64 = 1024 * 1024;
const NOTE_BYTES: usize = 900 * 1024;

async fn store_file(scale: Scale, seed: u64) -> Measured {
    let grown = long_reader().await;
    let Some(read_only) = read_only_disk().await else { return Err(Skipped(NO_MOUNT)) };
    let damaged = damaged_pages(scale.of(2, 20), seed).await;
    Ok(format!("{grown}; {read_only}; {damaged}"))
}

fn log_mib(server: &Server) -> u64 {
    fs::metadata(server.path().join("wakeful.db-wal")).map_or(0, |metadata| metadata.len() / MIB)
}

/// Large wakes for an hour from now, one after another, until the log has this much.
async fn write(server: &Server, agent: &str, log: u64) -> usize {
    let body = json!({ "delay_ms": 3_600_000, "payload": { "note": "x".repeat(NOTE_BYTES) } });
    let mut written = 0;
    while log_mib(server) < log && written < 10_000 {
        server.wake(agent, body.clone()).await;
        written += 1;
    }
    written
}

async fn doctor(server: &Server) -> (i32, Vec<Value>) {
    let printed = server.cli(&["doctor", "--json"]).await;
    let document: Value = serde_json::from_str(&printed.stdout).unwrap();
    let findings = document["findings"].as_array().unwrap().iter().filter(|found| found["subject"] == "store");
    (printed.code, findings.cloned().collect())
}

async fn long_reader() -> String {
    let server = server(1, &[]).await;
    let agent = server.process_agent("ann", "true").await;
    let reader = rusqlite::Connection::open(server.path().join("wakeful.db")).unwrap();
    reader.execute_batch("begin").unwrap();
    reader.query_row("select count(*) from wakeups", [], |_| Ok(())).unwrap();
    let wakes = write(&server, &agent, LOG_WARNED_MIB + 2).await;
    let (_, told) = doctor(&server).await;
    let is_told = |found: &Value| found["verdict"] == "warning" && found["detail"].to_string().contains("old snapshot");
    assert!(told.iter().any(is_told), "nobody is told of the log: {told:#?}");
    let metrics = server.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("wakeful_store_wal_bytes"), "{metrics}");
    let most = log_mib(&server);
    reader.execute_batch("rollback").unwrap();
    until("a log that is cut", Duration::from_secs(30), async || {
        server.wake(&agent, json!({ "delay_ms": 3_600_000 })).await;
        log_mib(&server) <= LOG_KEPT_MIB
    })
    .await;
    server.assert_sound().await;
    format!(
        "the log grew to {most} MiB behind a reader and {wakes} large wakes, `doctor` warned, and it was cut to {} MiB after it",
        log_mib(&server)
    )
}

/// A file system of its own whose mount can be made read-only.
struct Disk(PathBuf);

impl Disk {
    fn mount(target: &Path) -> Option<Disk> {
        fs::create_dir_all(target).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=256m,mode=700", "wakeful-faults"]).arg(target);
        works(&mut mount).then(|| Disk(target.to_owned()))
    }

    fn set(&self, option: &str) -> bool {
        works(Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(&self.0))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

fn works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

async fn read_only_disk() -> Option<String> {
    let dir = tempfile::Builder::new().prefix("wakeful-disk-").tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let disk = Disk::mount(&dir.path().join("data"))?;
    let mut server = Server::start_in(dir, &[], &[]).await;
    let agent = server.process_agent("ann", "true").await;
    server.run_of(&agent, json!({})).await;
    // What it has written last stands in the log alone.
    server.kill9();
    assert!(disk.set("ro"), "the disk was not made read-only");
    let run = |arguments: Vec<String>| {
        let mut command = Command::new(program());
        clean(&mut command, outside.path()).args(arguments).arg("--data-dir").arg(server.path());
        printed(command)
    };
    let up = run(vec!["up".into(), "--listen".into(), "127.0.0.1:0".into()]).await;
    up.assert_failed(1, &["Read-only file system", server.path().to_str().unwrap()]);
    let backup = outside.path().join("rescued.tar.zst").display().to_string();
    let made = run(vec!["backup".into(), backup.clone()]).await;
    assert_eq!(made.code, 0, "no backup from a read-only disk: {}", made.stderr);
    let refused = run(vec!["restore".into(), backup.clone()]).await;
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("Read-only file system"), "{}", refused.stderr);
    assert!(disk.set("rw"));
    server.start_again().await;
    server.run_of(&agent, json!({})).await;
    server.assert_sound().await;
    // Before its directory goes with the server.
    drop(disk);
    Some("on a read-only disk `up` and `restore` say so, a backup was read from it, and all went on after it".into())
}

/// The first page of each table and index: those are in use for certain.
fn roots(store: &Path) -> Vec<usize> {
    let store = rusqlite::Connection::open(store).unwrap();
    let mut find = store.prepare("select rootpage from sqlite_master where rootpage > 1").unwrap();
    let found = find.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    found.map(|page| usize::try_from(page.unwrap()).unwrap()).collect()
}

async fn damaged_pages(rounds: usize, seed: u64) -> String {
    let mut rng = Rng::with_seed(seed);
    let mut server = server(4, &[]).await;
    let agent = server.process_agent("ann", "true").await;
    for _ in 0..20 {
        server.run_of(&agent, json!({})).await;
    }
    let backup = server.outside().join("good.tar.zst").display().to_string();
    server.cli(&["backup", &backup]).await.ok();
    server.stop().await;
    let store = server.path().join("wakeful.db");
    let whole = fs::read(&store).unwrap();
    let page = usize::from(u16::from_be_bytes([whole[16], whole[17]]));
    let roots = roots(&store);
    for _ in 0..rounds {
        let mut damaged = whole.clone();
        // The head of a page says of what kind it is, and how much stands in it.
        let at = (roots[rng.usize(..roots.len())] - 1) * page + [0, 3][rng.usize(..2)];
        damaged[at] ^= 0x80 | rng.u8(1..128);
        fs::write(&store, &damaged).unwrap();
        let (code, found) = doctor(&server).await;
        assert_eq!(code, 1, "byte {at} is not found: {found:#?}");
        assert!(found[0]["remedy"].to_string().contains("wakeful restore FILE"), "{found:#?}");
        let again = server.outside().join("bad.tar.zst");
        let made = server.cli(&["backup", again.to_str().unwrap()]).await;
        assert_eq!(made.code, 1, "a backup of a damaged store: {}", made.stdout);
        assert!(!again.exists(), "it is kept");
    }
    server.cli(&["restore", &backup]).await.ok();
    server.start_again().await;
    server.cli(&["restore", "--go-on"]).await.ok();
    server.run_of(&agent, json!({})).await;
    server.assert_sound().await;
    format!(
        "{rounds} of {rounds} bytes flipped in heads of pages in use found by `doctor` and by `backup`, which kept none; the earlier one works"
    )
}
