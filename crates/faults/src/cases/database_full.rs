//! PostgreSQL has no room left for its tables.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use wakeful_test_postgres::{Cluster, unprivileged};
use wakeful_test_server::{Server, id};

use super::limits::{NO_MOUNT, Tmpfs};
use super::store_full::told_what_to_do;
use crate::fakes::assert_ended;
use crate::waiting::{nothing_is_left, seconds};
use crate::{Case, Measured, Scale, Skipped};

pub const DATABASE_FULL: Case = Case {
    name: "database_full",
    rows: "11",
    provoked: "the disk that holds PostgreSQL's tables is filled to the last byte while wakes are accepted; then there is room",
    must_hold: "writes that need room are refused (507) and nothing is half written, reads are answered, everything that was answered is there; with room all goes on by itself",
    run: |scale, seed| Box::pin(database_full(scale, seed)),
};

const DISK_MIB: u64 = 96;
const NOTE_BYTES: usize = 700 * 1024;

fn fill(ballast: &Path) {
    let mut file = File::options().create(true).append(true).open(ballast).unwrap();
    for size in [1024 * 1024, 4_096, 1] {
        let chunk = vec![1; size];
        while file.write_all(&chunk).is_ok() {}
    }
}

/// Letters that no compression makes smaller: PostgreSQL packs what is large.
fn noise(seed: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| rng.alphanumeric()).take(NOTE_BYTES).collect()
}

async fn database_full(scale: Scale, seed: u64) -> Measured {
    let wanted = scale.of(5, 50);
    let dir = tempfile::Builder::new().prefix("wakeful-full-").tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let owner = unprivileged().map(|(uid, gid)| format!(",uid={uid},gid={gid}")).unwrap_or_default();
    let space = dir.path().join("space");
    let Some(disk) = Tmpfs::mount(&space, DISK_MIB, &owner) else { return Err(Skipped(NO_MOUNT)) };
    let cluster = Cluster::start(&["max_connections=100"]).unwrap();
    cluster.run(&format!("create tablespace small location '{}'", space.display())).unwrap();
    // What the store makes lies there; the log of PostgreSQL does not, so it goes on.
    cluster.run("alter database postgres set default_tablespace = small").unwrap();
    let server = Server::start_with(&["--database", &cluster.url()], &[]).await;
    let agent = server.process_agent("ann", "true").await;
    let before = server.run_of(&agent, json!({})).await;
    assert_ended(&before, "succeeded", "");

    let (ballast, path) = (space.join("ballast"), format!("/agents/{agent}/wake"));
    let (mut answered, mut refused) = (Vec::new(), 0);
    let began = Instant::now();
    while refused < wanted {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing is ever refused");
        if answered.len() >= 2 {
            fill(&ballast);
        }
        let body = json!({ "delay_ms": 3_600_000, "payload": { "note": noise(seed + answered.len() as u64) } });
        let (status, found) = server.post(&path, &body).await;
        match status {
            202 => answered.push(id(&found)),
            507 => refused += told_what_to_do(&found),
            _ => panic!("neither taken nor refused for lack of room: {status} {found}"),
        }
    }
    for wakeup in &answered {
        assert_eq!(server.get(&format!("/wakeups/{wakeup}")).await.0, 200);
    }
    server.assert_sound().await;

    fs::remove_file(&ballast).unwrap();
    let freed = Instant::now();
    assert_ended(&server.run_of(&agent, json!({})).await, "succeeded", "");
    let resumed = freed.elapsed();
    // What was refused left nothing.
    let pending = server.all(&format!("/companies/default/wakeups?status=pending&agent={agent}")).await;
    assert_eq!(pending.len(), answered.len());
    nothing_is_left(&server).await;
    server.assert_sound().await;
    drop(server);
    drop(cluster);
    drop(disk);
    Ok(format!(
        "{DISK_MIB} MiB filled; {} large wakes taken, then {refused} of {refused} refused with 507; a run {} after there was room, and of what was refused nothing was left",
        answered.len(),
        seconds(resumed)
    ))
}
