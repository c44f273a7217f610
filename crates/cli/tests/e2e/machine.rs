//! A machine of a test's own, on which servers run in the background.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use wakeful_test_server::{Client, Printed, clean, end_all_of, printed, program};

/// A machine with nothing of Wakeful's on it.
pub struct Machine {
    dir: TempDir,
    pub variables: Vec<(String, String)>,
}

impl Machine {
    pub fn new() -> Machine {
        Machine { dir: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        clean(&mut command, self.dir.path()).env("WAKEFUL_DATA_DIR", self.data_dir());
        command.envs(self.variables.iter().map(|(name, value)| (name, value))).args(arguments);
        command
    }

    pub async fn cli(&self, arguments: &[&str]) -> Printed {
        printed(self.command(arguments)).await
    }

    /// The configuration of the data directory.
    pub fn write(&self, text: &str) -> PathBuf {
        fs::create_dir_all(self.data_dir()).unwrap();
        let path = self.data_dir().join("wakeful.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// What a setting would be, who says so, and where.
    pub async fn setting(&self, name: &str, options: &[&str]) -> (Value, String, String) {
        let shown = self.cli(&[&["config", "show", "--json"], options].concat()).await.json();
        let one = shown["settings"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone();
        let text = |field: &str| one[field].as_str().unwrap().to_owned();
        (one["value"].clone(), text("layer"), text("from"))
    }

    pub async fn status(&self) -> Value {
        serde_json::from_str(&self.cli(&["daemon", "status", "--json"]).await.stdout).unwrap()
    }

    pub async fn until(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        let looking = async {
            loop {
                let status = self.status().await;
                if is_so(&status) {
                    return status;
                }
                tokio::time::sleep(wakeful_test_server::LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(wakeful_test_server::PATIENCE, looking).await.expect("it comes in time")
    }

    pub fn client(&self, status: &Value) -> Client {
        let token = fs::read_to_string(self.data_dir().join("admin.token")).unwrap();
        Client::new(status["address"].as_str().unwrap(), token.trim())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        end_all_of(self.dir.path());
    }
}
