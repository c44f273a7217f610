//! The server under measurement: the real binary, in a temporary directory.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::http::Connection;

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    dir: tempfile::TempDir,
    address: String,
    token: String,
    /// From its start to the first healthy answer.
    pub healthy_after: Duration,
}

impl Server {
    /// Starts the binary with this many live runs at most.
    pub fn start(binary: &Path, live_runs_max: usize) -> Result<Server> {
        let dir = tempfile::tempdir()?;
        let started = Instant::now();
        let child = Command::new(binary)
            .args(["up", "--listen", "127.0.0.1:0", "--max-live-runs", &live_runs_max.to_string(), "--data-dir"])
            .arg(dir.path())
            .env("WAKEFUL_LOG_LEVEL", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let mut server =
            Server { child, dir, address: String::new(), token: String::new(), healthy_after: Duration::ZERO };
        while started.elapsed() < Duration::from_secs(20) {
            if server.is_healthy() {
                server.healthy_after = started.elapsed();
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        bail!("the server was not healthy within 20 s")
    }

    fn is_healthy(&mut self) -> bool {
        let read = |name: &str| std::fs::read_to_string(self.dir.path().join(name)).ok();
        let published: Option<Value> = read("server.json").and_then(|text| serde_json::from_str(&text).ok());
        let (Some(published), Some(token)) = (published, read("admin.token")) else { return false };
        let address = published["address"].as_str().unwrap_or_default().trim_start_matches("http://").to_owned();
        (self.address, self.token) = (address, token.trim().to_owned());
        self.connect()
            .and_then(|mut connection| connection.request("GET", "/healthz", ""))
            .is_ok_and(|(status, _)| status == 200)
    }

    /// A new connection.
    pub fn connect(&self) -> Result<Connection> {
        Connection::open(&self.address, &self.token)
    }

    /// A new connection with a session of the console, signed in by a link.
    pub fn console(&self) -> Result<Connection> {
        let link = self.connect()?.json("POST", "/api/v1/session/links", &json!({}))?;
        let path = link["path"].as_str().context("a link has a path")?;
        let code = path.rsplit('/').next().unwrap_or_default();
        let begin = json!({ "link": code }).to_string();
        let cookie = Connection::open_console(&self.address, "")?.cookie_of("/api/v1/session", &begin)?;
        Connection::open_console(&self.address, &cookie)
    }

    /// Makes a process agent.
    pub fn agent(&self, name: &str, command: &Value, more: &Value) -> Result<String> {
        let mut body = json!({ "name": name, "adapter": { "type": "process", "command": command } });
        if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
            body.extend(more.clone());
        }
        let agent = self.connect()?.json("POST", "/api/v1/companies/default/agents", &body)?;
        Ok(agent["id"].as_str().unwrap_or_default().to_owned())
    }

    /// The process id of the server.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it keeps its data.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
