//! The server in the background: started, found, asked, stopped and started again with its runs alive; what it is told
//! by signals and tells a service manager; what became of the lives before.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use wakeful_test_server::{Client, PATIENCE, Printed, clean, printed, program};

/// A data directory with servers in the background, ended with it.
struct Daemon {
    dir: TempDir,
}

impl Daemon {
    fn new() -> Daemon {
        Daemon { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        clean(&mut command, self.dir.path()).env("WAKEFUL_DATA_DIR", self.path()).args(arguments);
        command
    }

    async fn cli(&self, arguments: &[&str]) -> Printed {
        printed(self.command(arguments)).await
    }

    async fn start(&self, options: &[&str]) -> Value {
        let start = ["daemon", "start", "--listen", "127.0.0.1:0", "--json"];
        self.cli(&[start.as_slice(), options].concat()).await.json()
    }

    async fn status(&self) -> Value {
        serde_json::from_str(&self.cli(&["daemon", "status", "--json"]).await.stdout).unwrap()
    }

    fn client(&self, started: &Value) -> Client {
        let token = std::fs::read_to_string(self.path().join("admin.token")).unwrap();
        Client::new(started["address"].as_str().unwrap(), token.trim())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Best effort: some have ended by themselves.
        self.command(&["daemon", "stop"]).output().ok();
        wakeful_test_server::end_all_of(self.dir.path());
    }
}

fn pid_of(status: &Value) -> Pid {
    Pid::from_raw(i32::try_from(status["pid"].as_i64().unwrap()).unwrap()).unwrap()
}

async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("it comes in time");
}

#[tokio::test]
async fn it_starts_in_the_background_says_how_it_stands_and_a_run_survives_its_restart() {
    let daemon = Daemon::new();
    assert_eq!(daemon.cli(&["daemon", "status"]).await.code, 3);
    assert_eq!(daemon.cli(&["daemon", "stop"]).await.code, 3);
    let started = daemon.start(&[]).await;
    let again = daemon.cli(&["daemon", "start"]).await;
    let (pid, address) = (started["pid"].to_string(), started["address"].as_str().unwrap());
    again.assert_failed(5, &[&pid, address]);
    let status = daemon.status().await;
    assert_eq!((&status["running"], &status["pid"]), (&json!(true), &started["pid"]));
    assert_eq!((&status["store"], &status["live_runs"]), (&json!("sqlite"), &json!(0)), "{status:#}");
    assert!(status["uptime_s"].is_u64() && status["tick_age_ms"].is_u64() && status["version"].is_string());

    let client = daemon.client(&started);
    let agent = client.process_agent("worker", "sleep 6; echo done > result").await;
    let wakeup = client.wake(&agent, json!({})).await;
    let run = client.running(&wakeup).await;
    let stopped = daemon.cli(&["daemon", "stop", "--json"]).await.json();
    assert_eq!(
        (&stopped["stopped"], &stopped["live_runs"], &stopped["in_time"]),
        (&json!(true), &json!(1), &json!(true))
    );
    let started = daemon.cli(&["daemon", "restart", "--json"]).await.json();
    let client = daemon.client(&started);
    let ended = client.finished(run["id"].as_str().unwrap()).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    assert_eq!(daemon.status().await.get("last_crash"), None);
    let log = daemon.cli(&["daemon", "logs", "-n", "200"]).await.ok();
    assert!(log.contains("listens on") && log.contains("live runs go on"), "{log}");
}

#[tokio::test]
async fn a_start_that_fails_says_why_with_the_last_lines_of_the_log() {
    let daemon = Daemon::new();
    let failed = daemon.cli(&["daemon", "start", "--listen", "203.0.113.1:1"]).await;
    failed.assert_failed(1, &["cannot listen on 203.0.113.1:1"]);
}

#[tokio::test]
async fn a_crash_is_told_and_three_soon_after_their_start_lead_to_safe_mode_under_a_manager_only() {
    let daemon = Daemon::new();
    for _ in 0..3 {
        let started = daemon.start(&[]).await;
        kill_process(pid_of(&started), Signal::KILL).unwrap();
        until(async || daemon.status().await["running"] == false).await;
    }
    let crash = &daemon.status().await["last_crash"];
    assert!(crash["at"].is_string() && crash["log"].as_str().unwrap().contains("listens on"), "{crash:#}");
    let started = daemon.start(&[]).await;
    let status = daemon.status().await;
    assert!(status["safe_mode"].as_str().unwrap().contains("3 times in a row"), "{status:#}");
    let client = daemon.client(&started);
    let agent = client.process_agent("idle", "true").await;
    let wakeup = client.wake(&agent, json!({})).await;
    let is_held = |found: &Value| found["waiting"]["reason"] == "safe_mode";
    client.until(&format!("/wakeups/{wakeup}"), is_held).await;
    // One command to go on.
    let started = daemon.cli(&["daemon", "restart", "--json"]).await.json();
    assert_eq!(daemon.status().await["safe_mode"], Value::Null);
    assert_eq!(daemon.client(&started).settled(&wakeup).await["status"], "completed");
}

fn configuration(dir: &Path, text: &str) -> String {
    let path = dir.join("wakeful.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_configuration_is_read_again_and_one_with_a_mistake_is_refused_and_the_old_one_stays() {
    let daemon = Daemon::new();
    let agent =
        |name: &str| format!("[[agents]]\nname = \"{name}\"\nadapter = {{ type = \"process\", command = \"true\" }}\n");
    let path = configuration(daemon.dir.path(), &agent("ann"));
    let started = daemon.start(&["--config", &path]).await;
    let client = daemon.client(&started);
    let names = async || {
        let agents = client.show("/companies/default/agents").await;
        agents["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    until(async || names().await == ["ann"]).await;
    configuration(daemon.dir.path(), &(agent("ann") + "colour = \"red\"\n"));
    daemon.cli(&["daemon", "reload"]).await.ok();
    until(async || daemon.status().await["configuration"]["error"].is_string()).await;
    let told = daemon.cli(&["daemon", "status"]).await.stdout;
    assert!(told.contains("configuration refused") && told.contains("colour"), "{told}");
    assert_eq!(names().await, ["ann"]);
    configuration(daemon.dir.path(), &(agent("ann") + &agent("ben")));
    daemon.cli(&["daemon", "reload"]).await.ok();
    until(async || names().await.len() == 2).await;
    until(async || daemon.status().await["configuration"]["error"].is_null()).await;
}

/// What a service manager has been told until now.
fn told(socket: &UnixDatagram) -> Vec<String> {
    let mut told = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok(count) = socket.recv(&mut bytes) {
        told.extend(String::from_utf8_lossy(&bytes[..count]).lines().map(str::to_owned));
    }
    told
}

#[tokio::test]
async fn a_service_manager_is_told_and_its_watchdog_is_fed_by_beats() {
    let daemon = Daemon::new();
    let path = configuration(daemon.dir.path(), "");
    let at = daemon.dir.path().join("notify");
    let socket = UnixDatagram::bind(&at).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut command = daemon.command(&["up", "--listen", "127.0.0.1:0", "--service", "--config", &path]);
    command.env("NOTIFY_SOCKET", &at).env("WATCHDOG_USEC", "300000");
    let mut server =
        tokio::process::Command::from(command).kill_on_drop(true).stderr(std::process::Stdio::null()).spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(server.id().unwrap()).unwrap()).unwrap();
    let mut heard: Vec<String> = Vec::new();
    let mut hear = async |wanted: &str, count: usize| {
        until(async || {
            heard.extend(told(&socket));
            heard.iter().filter(|line| line.starts_with(wanted)).count() >= count
        })
        .await;
    };
    hear("READY=1", 1).await;
    hear("STATUS=listens on http://127.0.0.1:", 1).await;
    hear("WATCHDOG=1", 3).await;
    kill_process(pid, Signal::HUP).unwrap();
    hear("RELOADING=1", 1).await;
    hear("MONOTONIC_USEC=", 1).await;
    hear("READY=1", 2).await;
    // One that hangs feeds nothing, and is ended by whoever watches.
    kill_process(pid, Signal::STOP).unwrap();
    told(&socket);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(told(&socket).is_empty());
    kill_process(pid, Signal::CONT).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    hear("STOPPING=1", 1).await;
    assert!(server.wait().await.unwrap().success());
}

/// Enforces the watchdog of a service as systemd does: whoever says nothing for so long is ended and started anew.
struct FakeSystemd<'a> {
    daemon: &'a Daemon,
    socket: UnixDatagram,
    watchdog: Duration,
}

impl FakeSystemd<'_> {
    fn start(&self) -> tokio::process::Child {
        let mut command = self.daemon.command(&["up", "--listen", "127.0.0.1:0", "--service"]);
        command.env("NOTIFY_SOCKET", self.daemon.dir.path().join("notify"));
        command.env("WATCHDOG_USEC", self.watchdog.as_micros().to_string());
        let command = &mut tokio::process::Command::from(command);
        command.kill_on_drop(true).stderr(std::process::Stdio::null()).spawn().unwrap()
    }

    /// Until it is ready, which may take as long as it likes.
    async fn ready(&self) {
        until(async || told(&self.socket).iter().any(|line| line == "READY=1")).await;
    }

    /// Returns once it has been silent for longer than it may.
    async fn silence(&self) {
        let mut heard_at = tokio::time::Instant::now();
        while heard_at.elapsed() < self.watchdog {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if told(&self.socket).iter().any(|line| line == "WATCHDOG=1") {
                heard_at = tokio::time::Instant::now();
            }
        }
    }
}

#[tokio::test]
async fn a_scheduler_that_hangs_while_the_process_lives_is_started_anew_and_loses_nothing() {
    let daemon = Daemon::new();
    let socket = UnixDatagram::bind(daemon.dir.path().join("notify")).unwrap();
    socket.set_nonblocking(true).unwrap();
    let manager = FakeSystemd { daemon: &daemon, socket, watchdog: Duration::from_secs(3) };
    let mut server = manager.start();
    manager.ready().await;
    let client = daemon.client(&daemon.status().await);
    let agent = client.process_agent("worker", "until test -e go; do sleep 0.05; done").await;
    let run = client.running(&client.wake(&agent, json!({})).await).await;
    let waiting = client.wake(&agent, json!({})).await;

    // Somebody holds the store's lock: the API answers, the dispatcher cannot move, and its timer feeds nothing.
    let other = rusqlite::Connection::open(daemon.path().join("wakeful.db")).unwrap();
    other.execute_batch("begin immediate").unwrap();
    // A dispatcher that has nothing to do stands still, too; it is nudged.
    let nudging = async {
        loop {
            client.post(&format!("/agents/{agent}/wake"), &json!({ "idempotency_key": "one" })).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        () = manager.silence() => {}
        () = nudging => {}
    }
    assert!(client.get("/runs?limit=1").await.0 > 0, "the process lives and answers");
    server.kill().await.unwrap();
    drop(other);

    let mut server = manager.start();
    manager.ready().await;
    let status = daemon.status().await;
    let client = daemon.client(&status);
    until(async || daemon.status().await["recovery"]["took_ms"].is_u64()).await;
    let recovery = daemon.status().await["recovery"].clone();
    let counts = ["live_runs", "attached", "died", "never_started", "violations"].map(|name| recovery[name].as_u64());
    assert_eq!(counts, [Some(1), Some(1), Some(0), Some(0), Some(0)], "{recovery:#}");
    assert!(status["last_crash"]["exit"].is_string(), "{status:#}");
    std::fs::write(daemon.path().join("agents").join(&agent).join("go"), "").unwrap();
    assert_eq!(client.finished(run["id"].as_str().unwrap()).await["status"], "succeeded");
    assert_eq!(client.settled(&waiting).await["status"], "completed");
    kill_process(Pid::from_raw(i32::try_from(server.id().unwrap()).unwrap()).unwrap(), Signal::TERM).unwrap();
    assert!(server.wait().await.unwrap().success());
}

#[tokio::test]
async fn the_unit_says_what_systemd_has_to_know() {
    let daemon = Daemon::new();
    let unit = daemon.cli(&["daemon", "install", "--print", "--max-live-runs", "3"]).await.ok();
    for line in [
        "Type=notify",
        "WatchdogSec=60",
        "Restart=on-failure",
        "RestartSec=10",
        "KillMode=process",
        "LimitNOFILE=16384",
        "WantedBy=default.target",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line} in {unit}");
    }
    assert!(unit.contains("\"--max-live-runs=3\" ") && unit.contains("\"--service\""), "{unit}");
    let path = daemon.dir.path().join("wakeful.service");
    std::fs::write(&path, &unit).unwrap();
    // Where systemd's own judge is, it has nothing to say.
    if let Ok(judged) = Command::new("systemd-analyze").arg("verify").arg(&path).output() {
        let said = String::from_utf8_lossy(&judged.stderr).into_owned();
        assert!(!said.contains("wakeful.service:"), "{said}");
    }
    let list = daemon.cli(&["daemon", "install", "--print", "--launchd"]).await.ok();
    assert!(list.contains("<key>KeepAlive</key>") && list.contains("<string>--service</string>"), "{list}");
}
