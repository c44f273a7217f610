//! A server of one's own: the real binary on a free port, a temporary data directory, an environment
//! with nothing of the caller in it. Dropping it leaves no process behind, whatever the test did.

use std::fs::{self, File};
use std::ops::Deref;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::client::Client;

/// What a test waits for comes within this, or never.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that is about to happen.
pub const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Where agents and the server find the programs that they use.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Rounds of find and kill when a test is over.
const SWEEPS_MAX: usize = 1_000;

/// The program under test: the `wakeful` that was built beside this one.
pub fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let own = std::env::current_exe().unwrap();
        let found = own.ancestors().skip(1).take(2).map(|dir| dir.join("wakeful")).find(|path| path.is_file());
        found
            .unwrap_or_else(|| panic!("there is no `wakeful` beside {}: build it", own.display()))
            .display()
            .to_string()
    })
}

/// A server of this test alone. It can be killed and started again; what talks to it stays the same.
#[derive(Debug)]
pub struct Server {
    dir: TempDir,
    data: PathBuf,
    child: Option<Child>,
    program: PathBuf,
    options: Vec<String>,
    variables: Vec<(String, String)>,
    client: Client,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Printed {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Server {
    /// A server on SQLite.
    pub async fn start() -> Server {
        Server::start_with(&[], &[]).await
    }

    /// A server with more options of `up` (as `--max-live-runs 20`) and more variables in its environment.
    pub async fn start_with(options: &[&str], variables: &[(&str, &str)]) -> Server {
        Server::start_in(tempfile::Builder::new().prefix("wakeful-e2e-").tempdir().unwrap(), options, variables).await
    }

    /// A server whose data directory is `data` in this directory.
    pub async fn start_in(dir: TempDir, options: &[&str], variables: &[(&str, &str)]) -> Server {
        let client = Client::new("", "");
        let mut server = Server {
            data: dir.path().join("data"),
            dir,
            child: None,
            program: program().into(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            client,
        };
        server.launch("127.0.0.1:0").await.unwrap();
        server.ready().await;
        server
    }

    /// Starts another build of the program from now on.
    pub fn use_program(&mut self, program: &Path) {
        program.clone_into(&mut self.program);
    }

    /// Starts it again where it was: same directory, same address.
    pub async fn start_again(&mut self) {
        self.start_again_at_once().await;
        self.ready().await;
    }

    /// Starts it again and returns when it listens, which is before it has found everything again.
    pub async fn start_again_at_once(&mut self) {
        assert!(self.child.is_none(), "kill or stop it first");
        let listen = self.client.base.trim_start_matches("http://").to_owned();
        // Another program may hold the port for a moment as the near end of a connection.
        let again = async {
            while let Err(log) = self.launch(&listen).await {
                assert!(log.contains("cannot listen on"), "{log}");
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(PATIENCE, again).await.unwrap_or_else(|_| panic!("{listen} is never free again"));
    }

    /// Starts the process and waits until it listens; gives its log if it ends instead.
    async fn launch(&mut self, listen: &str) -> Result<(), String> {
        let log_path = self.dir.path().join("server.log");
        let log = File::options().create(true).append(true).open(&log_path).unwrap();
        let began = log.metadata().unwrap().len();
        let child = clean(&mut Command::new(&self.program), self.outside())
            .args(["up", "--listen", listen, "--data-dir"])
            .arg(self.path())
            .args(&self.options)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let pid = child.id();
        self.child = Some(child);
        let listening = async {
            loop {
                if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                    self.child = None;
                    let log = fs::read(&log_path).unwrap();
                    return Err(String::from_utf8_lossy(&log[usize::try_from(began).unwrap()..]).into_owned());
                }
                if let Some(address) = self.published(pid) {
                    return Ok(address);
                }
                sleep(LOOK_EVERY).await;
            }
        };
        let address = timeout(PATIENCE, listening).await.unwrap_or_else(|_| panic!("{}", self.log()))?;
        self.client.base = address;
        self.client.token = fs::read_to_string(self.path().join("admin.token")).unwrap().trim().to_owned();
        Ok(())
    }

    /// The address in `server.json`, if it is of this process.
    fn published(&self, pid: u32) -> Option<String> {
        let text = fs::read_to_string(self.path().join("server.json")).ok()?;
        let published: Value = serde_json::from_str(&text).ok()?;
        (published["pid"] == pid).then(|| published["address"].as_str().unwrap().to_owned())
    }

    async fn ready(&self) {
        let ready = async {
            while !self
                .http
                .get(format!("{}/readyz", self.base))
                .send()
                .await
                .is_ok_and(|ready| ready.status().is_success())
            {
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(PATIENCE, ready).await.unwrap_or_else(|_| panic!("never ready:\n{}", self.log()));
    }

    /// The data directory.
    pub fn path(&self) -> &Path {
        &self.data
    }

    /// A directory beside it, for what a test or its agents want to keep.
    pub fn outside(&self) -> &Path {
        self.dir.path()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// What it has logged so far, all starts together.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("server.log")).unwrap_or_default()
    }

    /// The directory of a run's log and records.
    pub fn run_dir(&self, run: &str) -> PathBuf {
        self.path().join("runs").join(run)
    }

    /// SIGKILL, with no time for anything.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM; returns once it has ended.
    pub async fn stop(&mut self) -> ExitStatus {
        signal(self.pid(), Signal::TERM);
        self.ended().await
    }

    /// Returns once it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let ended = async {
            loop {
                if let Some(status) = child.try_wait().unwrap() {
                    return status;
                }
                sleep(LOOK_EVERY).await;
            }
        };
        let ended = timeout(PATIENCE, ended).await;
        ended.unwrap_or_else(|_| {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it does not end:\n{}", self.log())
        })
    }

    /// Runs the command line against this server, with the data directory in `WAKEFUL_DATA_DIR`.
    pub async fn cli(&self, arguments: &[&str]) -> Printed {
        self.cli_with(arguments, &[]).await
    }

    /// The same, with more variables.
    pub async fn cli_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Printed {
        let mut command = Command::new(program());
        clean(&mut command, self.outside()).env("WAKEFUL_DATA_DIR", self.path()).args(arguments);
        command.envs(variables.iter().copied());
        printed(command).await
    }

    /// The processes that belong to this data directory, its server apart: agents by what their
    /// environment names, shims by the records they left.
    pub fn left_over(&self) -> Vec<u32> {
        let mark = self.outside().to_str().unwrap().as_bytes();
        let shims = shims_below(&self.path().join("runs"));
        let own = self.child.as_ref().map(Child::id);
        every_pid()
            .filter(|pid| Some(*pid) != own)
            .filter(|pid| shims.contains(pid) && is_shim(*pid) || mentions(*pid, mark))
            .collect()
    }
}

impl Printed {
    /// Standard output of a command that succeeded and had nothing else to say.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{}", self.stdout);
        self.stdout
    }

    /// The one document on standard output.
    #[track_caller]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// Fails unless it failed with this code, nothing on standard output, and these words on standard error.
    #[track_caller]
    pub fn assert_failed(&self, code: i32, words: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (code, ""), "{}", self.stderr);
        words.iter().for_each(|word| assert!(self.stderr.contains(word), "`{word}` in: {}", self.stderr));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            child.kill().ok();
            child.wait().ok();
        }
        for _ in 0..SWEEPS_MAX {
            let left = self.left_over();
            if left.is_empty() {
                break;
            }
            left.into_iter().for_each(|pid| signal(pid, Signal::KILL));
            std::thread::yield_now();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the server\n{}", self.log());
        }
    }
}

impl Deref for Server {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// The `id` of a document.
pub fn id(document: &Value) -> String {
    document["id"].as_str().unwrap_or_else(|| panic!("no id: {document}")).to_owned()
}

/// The token that a live run was given, from the environment of its process.
pub fn run_token(run: &Value) -> String {
    variable(u32::try_from(run["process"]["pid"].as_u64().unwrap()).unwrap(), "WAKEFUL_TOKEN").unwrap()
}

/// A variable of the environment that a process was started with.
pub fn variable(pid: u32, name: &str) -> Option<String> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let text = String::from_utf8_lossy(&environ);
    text.split('\0').find_map(|entry| entry.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
}

/// Takes everything of the caller out of a command's environment.
pub fn clean<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    command.env_clear().env("PATH", PATH).env("HOME", home).current_dir(home)
}

/// Runs a command to its end.
pub async fn printed(command: Command) -> Printed {
    let mut command = tokio::process::Command::from(command);
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(PATIENCE * 4, running).await.unwrap_or_else(|_| panic!("{command:?} does not end")).unwrap();
    Printed {
        code: output.status.code().unwrap_or_else(|| -output.status.signal().unwrap_or_default()),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Signals a process that may be gone.
pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).ok();
}

/// Whether a process is there and no zombie.
pub fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Every process there is.
pub fn every_pid() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Ends every process that was started with `home` in its environment: servers in the background, agents, shims.
pub fn end_all_of(home: &Path) {
    let mark = home.to_str().unwrap_or_else(|| panic!("{} is no text", home.display())).as_bytes();
    for _ in 0..SWEEPS_MAX {
        let left: Vec<u32> = every_pid().filter(|pid| *pid != std::process::id() && mentions(*pid, mark)).collect();
        if left.is_empty() {
            return;
        }
        left.into_iter().for_each(|pid| signal(pid, Signal::KILL));
        std::thread::yield_now();
    }
}

fn mentions(pid: u32, mark: &[u8]) -> bool {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ.windows(mark.len()).any(|part| part == mark)
}

fn is_shim(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"\0shim\0"))
}

/// The pids of the shims of all launches.
fn shims_below(runs: &Path) -> Vec<u32> {
    let of_run = |run: fs::DirEntry| fs::read_dir(run.path()).into_iter().flatten().flatten();
    let files = fs::read_dir(runs).into_iter().flatten().flatten().flat_map(of_run);
    files
        .filter(|file| file.file_name().to_str().is_some_and(|name| name.starts_with("shim-")))
        .filter_map(|file| shim_pid(&file.path()))
        .collect()
}

/// The pid in a shim's own record.
pub fn shim_pid(path: &Path) -> Option<u32> {
    let text = fs::read_to_string(path).ok()?;
    let record: Value = serde_json::from_str(text.lines().next()?).ok()?;
    u32::try_from(record["shim"]["identity"]["pid"].as_u64()?).ok()
}
