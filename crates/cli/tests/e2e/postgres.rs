//! The same server on PostgreSQL: a run, a crash, a recovery. The store's own rules are shown on
//! both engines by its conformance tests; here only the whole is shown to stand on this engine too.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::support::{LOOK_EVERY, PATIENCE, Server, id, signal};

/// A cluster of this test alone, on a unix socket.
struct Cluster {
    home: TempDir,
    server: Child,
}

impl Cluster {
    async fn start() -> Cluster {
        // Socket paths must be short.
        let home = tempfile::Builder::new().prefix("wakeful-e2e-pg-").tempdir_in("/tmp").unwrap();
        fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
        if let Some((uid, gid)) = unprivileged() {
            chown(home.path(), Some(uid), Some(gid)).unwrap();
        }
        let options = ["--username=wakeful", "--auth=trust", "--no-sync", "--pgdata=data"];
        assert!(command(home.path(), "initdb").args(options).status().unwrap().success());
        let settings = ["-clisten_addresses=", "-cfsync=off", "-cmax_connections=100"];
        let server = command(home.path(), "postgres")
            .args(["-D", "data", "-k"])
            .arg(home.path())
            .args(settings)
            .spawn()
            .unwrap();
        let cluster = Cluster { home, server };
        let answering = async {
            while !command(cluster.home.path(), "pg_isready")
                .args(["-q", "-h"])
                .arg(cluster.home.path())
                .status()
                .unwrap()
                .success()
            {
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(PATIENCE, answering).await.unwrap();
        cluster
    }

    fn address(&self) -> String {
        format!("host={} user=wakeful dbname=postgres", self.home.path().display())
    }
}

/// A program of PostgreSQL, in the cluster's directory and as its user.
fn command(home: &Path, name: &str) -> Command {
    let mut command = Command::new(programs().join(name));
    command.current_dir(home).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some((uid, gid)) = unprivileged() {
        command.uid(uid).gid(gid);
    }
    command
}

impl Drop for Cluster {
    fn drop(&mut self) {
        signal(self.server.id(), Signal::QUIT);
        self.server.wait().ok();
    }
}

/// The newest PostgreSQL of the machine, unless `WAKEFUL_TEST_PG_BIN` names another.
#[expect(clippy::disallowed_methods, reason = "where PostgreSQL is, is a fact of the machine the tests run on")]
fn programs() -> PathBuf {
    if let Some(named) = std::env::var_os("WAKEFUL_TEST_PG_BIN") {
        return named.into();
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.max_by_key(|version| version.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    newest
        .expect("these tests need PostgreSQL: install it, or name its folder in WAKEFUL_TEST_PG_BIN")
        .path()
        .join("bin")
}

/// Whom PostgreSQL runs as when the tests run as root, which it refuses.
fn unprivileged() -> Option<(u32, u32)> {
    const NOBODY: u32 = 65_534;
    rustix::process::geteuid().is_root().then_some((NOBODY, NOBODY))
}

#[tokio::test]
async fn on_postgresql_a_run_outlives_a_crash_of_the_server_too() {
    let cluster = Cluster::start().await;
    let mut server = Server::start_with(&["--database", &cluster.address()], &[]).await;
    assert!(!Path::exists(&server.path().join("wakeful.db")));
    let agent = server.process_agent("ann", "echo one; until test -e go; do sleep 0.02; done; echo two; rm go").await;
    let wakeup = server.wake(&agent, json!({ "reason": "begin" })).await;
    let run = id(&server.running(&wakeup).await);
    let accepted = server.wake(&agent, json!({ "reason": "and again" })).await;
    server.kill9();
    let home = server.path().join("agents").join(&agent);
    fs::write(home.join("go"), "").unwrap();
    server.start_again().await;
    assert_eq!(server.finished(&run).await["status"], "succeeded");
    assert_eq!(server.stdout(&run).await, "one\ntwo\n");
    assert_eq!(server.settled(&wakeup).await["status"], "completed");
    let follow_up = server.running(&accepted).await;
    fs::write(home.join("go"), "").unwrap();
    assert_eq!(server.finished(&id(&follow_up)).await["status"], "succeeded");
    assert_eq!(server.settled(&accepted).await["run_id"], follow_up["id"]);
    server.assert_sound().await;
}
