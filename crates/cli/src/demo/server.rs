//! The demo's server: a child process that can be killed without warning and started again.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::config::settings::settings;
use crate::data_dir::DataDir;
use crate::environment;
use crate::failure::Failure;

/// How long a server may take to be ready.
const READY: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A real server in a process of its own.
#[derive(Debug)]
pub struct DemoServer {
    child: Child,
    address: String,
}

impl DemoServer {
    /// Starts one on a free port and waits until it is ready.
    pub async fn start(dir: &DataDir) -> Result<DemoServer, Failure> {
        DemoServer::start_on(dir, "127.0.0.1:0").await
    }

    async fn start_on(dir: &DataDir, listen: &str) -> Result<DemoServer, Failure> {
        let log = File::options().create(true).append(true).open(dir.path().join("server.log"))?;
        let mut command = Command::new(environment::program()?);
        // It is a server of its own, whatever the settings of the real one are.
        for setting in settings() {
            command.env_remove(setting.variable());
        }
        let mut child = command
            .env_remove("WAKEFUL_CONFIG")
            .args(["up", "--listen", listen, "--data-dir"])
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id();
        let ready = async {
            loop {
                if let Some(status) = child.try_wait()? {
                    let log = std::fs::read_to_string(dir.path().join("server.log")).unwrap_or_default();
                    let last = log.lines().last().unwrap_or_default().to_owned();
                    return Err(Failure::failed(format!("the server ended at its start ({status}): {last}")));
                }
                if let Some(address) = dir.address_of(pid)
                    && reqwest::get(format!("{address}/readyz")).await.is_ok_and(|answer| answer.status().is_success())
                {
                    return Ok(address);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let address = tokio::time::timeout(READY, ready)
            .await
            .map_err(|_| Failure::failed(format!("the server was not ready within {READY:?}")))??;
        Ok(DemoServer { child, address })
    }

    /// Kills the server without warning (SIGKILL) and waits until it is gone.
    pub async fn kill(mut self) -> Result<Killed, Failure> {
        let pid = self.child.id();
        self.child.kill().await?;
        Ok(Killed { pid, address: self.address })
    }

    /// Asks the server to stop and waits until it has.
    pub async fn stop(&mut self) {
        if let Some(pid) =
            self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw)
        {
            // It may have ended by itself.
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        self.wait().await;
    }

    /// Waits until the server ends, or Ctrl-C.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.child.wait() => {}
            _ = tokio::signal::ctrl_c() => {
                self.child.wait().await.ok();
            }
        }
    }

    pub fn address(&self) -> &str {
        &self.address
    }
}

/// A server that was killed.
#[derive(Debug)]
pub struct Killed {
    pub pid: Option<u32>,
    address: String,
}

impl Killed {
    /// Starts it again on the same address and directory.
    pub async fn start_again(&self, dir: &DataDir) -> Result<DemoServer, Failure> {
        let listen = self.address.trim_start_matches("http://").to_owned();
        DemoServer::start_on(dir, &listen).await
    }
}
