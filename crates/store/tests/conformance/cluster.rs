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
    let programs = programs();
    let home = tempfile::Builder::new().prefix("pg-").tempdir_in(&base).unwrap().keep();
    start(&home, &programs, owner == 0).await;
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

async fn start(home: &Path, programs: &Path, is_root: bool) {
    fs::set_permissions(home, fs::Permissions::from_mode(0o755)).unwrap();
    let user = is_root.then(unprivileged);
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

/// The folder of `initdb` and `postgres`.
#[expect(clippy::disallowed_methods, reason = "where PostgreSQL is, is a fact of the machine the tests run on")]
fn programs() -> PathBuf {
    let chosen = std::env::var_os("WAKEFUL_TEST_PG_BIN").map(PathBuf::from);
    let mut packaged: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    packaged.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates: Vec<PathBuf> = match chosen {
        Some(folder) => vec![folder],
        None => packaged.into_iter().map(|(_, folder)| folder).chain(std::env::split_paths(&path)).collect(),
    };
    let found = candidates.iter().find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file());
    found.cloned().unwrap_or_else(|| {
        panic!(
            "these tests need PostgreSQL: no folder of {candidates:?} holds `initdb` and `postgres`. \
             Install it (Debian: postgresql) or name its folder in WAKEFUL_TEST_PG_BIN"
        )
    })
}

/// Whom PostgreSQL runs as when the tests run as root.
fn unprivileged() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let ids_of = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids_of("postgres").or_else(|| ids_of("nobody")).unwrap_or((65_534, 65_534))
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
