//! A PostgreSQL of one's own in a temporary folder, for tests and benchmarks. It listens on a unix socket only, and
//! runs as an unprivileged user where the caller is root, because PostgreSQL refuses to run as root.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Names the folder of `initdb` and `postgres`, if it is not Debian's and not in the PATH.
const PROGRAMS_VARIABLE: &str = "WAKEFUL_TEST_PG_BIN";
/// Looks for the first answer, and the pause between them: 30 s in all.
const LOOKS: u32 = 600;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A cluster that ends with this value.
#[derive(Debug)]
pub struct Cluster {
    home: TempDir,
    settings: Vec<String>,
    server: Child,
}

impl Cluster {
    /// Makes a cluster with these settings (`name=value`) and waits until it answers.
    pub fn start(settings: &[&str]) -> io::Result<Cluster> {
        // Socket paths must be short (107 bytes), so that neither the target folder nor `TMPDIR` will do.
        let home = tempfile::Builder::new().prefix("wakeful-pg-").tempdir_in("/tmp")?;
        fs::set_permissions(home.path(), Permissions::from_mode(0o755))?;
        if let Some((uid, gid)) = unprivileged() {
            chown(home.path(), Some(uid), Some(gid))?;
        }
        let options = ["--username=wakeful", "--auth=trust", "--no-sync", "--pgdata=data"];
        let made = command(home.path(), "initdb")?.args(options).output()?;
        if !made.status.success() {
            return Err(io::Error::other(format!("initdb failed: {}", String::from_utf8_lossy(&made.stderr))));
        }
        let settings: Vec<String> = settings.iter().map(|setting| format!("-c{setting}")).collect();
        let server = launch(home.path(), &settings)?;
        let cluster = Cluster { home, settings, server };
        cluster.until_it_answers()?;
        Ok(cluster)
    }

    #[expect(clippy::disallowed_methods, reason = "PostgreSQL tells nobody that it is ready; it has to be asked")]
    fn until_it_answers(&self) -> io::Result<()> {
        for _ in 0..LOOKS {
            let mut ready = command(self.home.path(), "pg_isready")?;
            if ready.args(["-q", "-h"]).arg(self.home.path()).status()?.success() {
                return Ok(());
            }
            sleep(LOOK_EVERY);
        }
        let log = fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
        Err(io::Error::other(format!("PostgreSQL does not answer; its log says:\n{log}")))
    }

    /// Ends it at once, as a crash would: it has to recover when it is started again.
    pub fn crash(&mut self) {
        // One that has been waited for is gone, and its number may be somebody else's.
        let is_over = self.server.try_wait().is_ok_and(|ended| ended.is_some());
        if let Some(pid) = i32::try_from(self.server.id()).ok().filter(|_| !is_over).and_then(Pid::from_raw) {
            kill_process(pid, Signal::QUIT).ok();
        }
        self.server.wait().ok();
    }

    /// Starts it again after a crash and waits until it answers.
    pub fn start_again(&mut self) -> io::Result<()> {
        self.server = launch(self.home.path(), &self.settings)?;
        self.until_it_answers()
    }

    /// Ends every connection to it.
    pub fn end_connections(&self) -> io::Result<()> {
        self.run("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")
    }

    /// Runs a statement in its database `postgres`, as its superuser.
    pub fn run(&self, statement: &str) -> io::Result<()> {
        let mut psql = command(self.home.path(), "psql")?;
        let options = ["-q", "-U", "wakeful", "-d", "postgres", "-c", statement, "-h"];
        let output = psql.args(options).arg(self.home.path()).output()?;
        match output.status.success() {
            true => Ok(()),
            false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
        }
    }

    /// How to reach its database `postgres`.
    pub fn address(&self) -> String {
        format!("host={} user=wakeful dbname=postgres", self.home.path().display())
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("postgres://wakeful@{}/postgres", self.home.path().to_string_lossy().replace('/', "%2F"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nothing in it is worth a checkpoint.
        self.crash();
    }
}

fn launch(home: &Path, settings: &[String]) -> io::Result<Child> {
    command(home, "postgres")?
        .args(["-D", "data", "-clisten_addresses=", "-k"])
        .arg(home)
        .args(settings)
        .stdout(Stdio::null())
        .stderr(fs::OpenOptions::new().create(true).append(true).open(home.join("log"))?)
        .spawn()
}

/// A program of PostgreSQL, in the cluster's folder and as its user.
fn command(home: &Path, name: &str) -> io::Result<Command> {
    let mut command = Command::new(programs()?.join(name));
    command.current_dir(home).env("LC_ALL", "C").stdin(Stdio::null());
    if let Some((uid, gid)) = unprivileged() {
        command.uid(uid).gid(gid);
    }
    Ok(command)
}

/// The folder of `initdb` and `postgres`: the one that `WAKEFUL_TEST_PG_BIN` names, the newest of Debian's, or one
/// in the PATH.
#[expect(clippy::disallowed_methods, reason = "where PostgreSQL is, is a fact of the machine")]
pub fn programs() -> io::Result<PathBuf> {
    let chosen = std::env::var_os(PROGRAMS_VARIABLE).map(PathBuf::from);
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
    found.cloned().ok_or_else(|| {
        io::Error::other(format!(
            "PostgreSQL is needed: no folder of {candidates:?} holds `initdb` and `postgres`. \
             Install it (Debian: postgresql) or name its folder in {PROGRAMS_VARIABLE}"
        ))
    })
}

/// The user and group whom PostgreSQL runs as when the caller is root.
pub fn unprivileged() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids_of = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(ids_of("postgres").or_else(|| ids_of("nobody")).unwrap_or((65_534, 65_534)))
}
