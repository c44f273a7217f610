//! One PostgreSQL for all test processes: started by whoever comes first, under a file lock, and stopped by a
//! small shell loop next to it once no test has asked for it for a while. Each test makes a database of its own.
//!
//! It listens on a unix socket only, and as an unprivileged user when the tests run as root, because PostgreSQL
//! refuses to run as root. Nothing of it outlives its folder; a killed cluster is replaced, never repaired.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// Socket paths must be short (107 bytes), so that neither the target folder nor `TMPDIR` will do.
const HOME: &str = "/tmp";
/// Minutes without a new test after which the cluster stops.
const IDLE_MINUTES: u32 = 2;
/// How long a cluster may take to answer for the first time.
const START_MAX: Duration = Duration::from_secs(60);

/// Fast, small, and quick to find a deadlock; durability is not what these tests ask PostgreSQL about.
const SETTINGS: &[&str] = &[
    "listen_addresses=",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "autovacuum=off",
    "jit=off",
    "shared_buffers=32MB",
    "max_connections=400",
    "deadlock_timeout=100ms",
];

/// Stops the cluster when `used` has not been touched for a while. It moves the mark away first, so that a test
/// that comes at that moment either finds no mark and starts anew, or has touched it in time.
const WATCH: &str = r#"
home=$1 minutes=$2; shift 2
"$@" >"$home/log" 2>&1 </dev/null &
server=$!
while kill -0 "$server" 2>/dev/null; do
  sleep 2
  [ -n "$(find "$home/used" -mmin +"$minutes")" ] || continue
  mv "$home/used" "$home/unused"
  if [ -n "$(find "$home/unused" -mmin +"$minutes")" ]; then break; fi
  mv "$home/unused" "$home/used"
done
kill -INT "$server" 2>/dev/null
wait "$server"
rm -rf "$home/data" "$home/used" "$home/unused"
"#;

/// The loop that this process has started, if it did; it is not waited for, it outlives the tests for a while.
static WATCH_PROCESS: OnceLock<Child> = OnceLock::new();

/// The cluster's socket folder; the cluster is started if need be.
pub async fn socket() -> PathBuf {
    let owner = fs::metadata("/proc/self").unwrap().uid();
    let base = Path::new(HOME).join(format!("wakeful-store-tests-{owner}"));
    fs::create_dir_all(&base).unwrap();
    assert_eq!(fs::metadata(&base).unwrap().uid(), owner, "{} belongs to someone else", base.display());
    let lock = File::create(base.join("lock")).unwrap();
    lock.lock().unwrap();
    let current = base.join("current");
    if let Ok(home) = fs::read_to_string(&current).map(PathBuf::from) {
        if is_kept_for_us(&home) {
            return home;
        }
        // Its server is gone or about to go; the watch no longer needs what is left.
        fs::remove_dir_all(&home).ok();
    }
    let programs = wakeful_test_postgres::programs().unwrap();
    let home = tempfile::Builder::new().prefix("pg-").tempdir_in(&base).unwrap().keep();
    start(&home, &programs).await;
    fs::write(&current, home.to_str().unwrap()).unwrap();
    home
}

fn is_answering(home: &Path) -> bool {
    UnixStream::connect(home.join(".s.PGSQL.5432")).is_ok()
}

fn is_kept_for_us(home: &Path) -> bool {
    // A write moves the time of the last change, without a clock of ours.
    let touched = File::options().write(true).open(home.join("used")).and_then(|mut mark| mark.write_all(b"."));
    touched.is_ok() && is_answering(home)
}

async fn start(home: &Path, programs: &Path) {
    fs::set_permissions(home, fs::Permissions::from_mode(0o755)).unwrap();
    let user = wakeful_test_postgres::unprivileged();
    if let Some((uid, gid)) = user {
        chown(home, Some(uid), Some(gid)).unwrap();
    }
    let as_user = |program: &Path| {
        let mut command = Command::new(program);
        command.current_dir(home).stdin(Stdio::null()).env("LC_ALL", "C").env("HOME", home);
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
        command
    };
    let made = as_user(&programs.join("initdb"))
        .args(["--username=wakeful", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "--pgdata"])
        .arg(home.join("data"))
        .output()
        .unwrap();
    assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
    File::create(home.join("used")).unwrap();
    let mut watch = as_user(Path::new("/bin/sh"));
    watch.args(["-c", WATCH, "watch"]).arg(home).arg(IDLE_MINUTES.to_string());
    watch.arg(programs.join("postgres")).arg("-D").arg(home.join("data")).arg("-k").arg(home);
    for setting in SETTINGS {
        watch.args(["-c", setting]);
    }
    // Out of the test runner's process group, so that it serves the tests that come after this one.
    let watch = watch.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap();
    WATCH_PROCESS.set(watch).ok();
    let answered = tokio::time::timeout(START_MAX, async {
        while !is_answering(home) || try_sql(home, "select 1").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    if answered.await.is_err() {
        let log = fs::read_to_string(home.join("log")).unwrap_or_default();
        panic!("PostgreSQL did not answer within {START_MAX:?}; its log says:\n{log}");
    }
}

/// The address of a database of the cluster.
pub fn address(home: &Path, database: &str) -> String {
    format!("host={} user=wakeful dbname={database}", home.display())
}

/// Carries out a statement outside of any transaction.
pub async fn sql(home: &Path, statement: &str) {
    try_sql(home, statement).await.unwrap();
}

async fn try_sql(home: &Path, statement: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(&address(home, "postgres"), tokio_postgres::NoTls).await?;
    tokio::select! {
        ended = connection => ended,
        done = client.batch_execute(statement) => done,
    }
}
