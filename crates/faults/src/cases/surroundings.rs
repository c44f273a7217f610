//! The machine is an odd one: no home, a home that cannot be written, no room for temporary files, nothing that may be
//! executed where data lies. It works, or it says what is wrong and what to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use wakeful_test_server::{Client, Printed, clean, end_all_of, id, printed, program};

use super::limits::{NO_MOUNT, Tmpfs};
use crate::fakes::assert_ended;
use crate::{Case, Measured, Scale, Skipped};

pub const SURROUNDINGS: Case = Case {
    name: "surroundings",
    rows: "41",
    provoked: "`LANG=C`, no HOME, a read-only HOME, TMPDIR missing, full, and noexec, a data directory that is noexec",
    must_hold: "the server starts in the background and a run with a secret succeeds, or it is said what is wrong and what to do",
    run: |scale, seed| Box::pin(surroundings(scale, seed)),
};

/// A machine of its own: a home, and a data directory elsewhere.
struct Machine {
    dir: TempDir,
    /// Variables that are set, and those that are taken away.
    variables: Vec<(&'static str, Option<String>)>,
}

impl Machine {
    fn new() -> Machine {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("home")).unwrap();
        let variables = vec![
            ("HOME", Some(dir.path().join("home").display().to_string())),
            ("WAKEFUL_DATA_DIR", Some(dir.path().join("store").display().to_string())),
            ("WAKEFUL_LISTEN", Some("127.0.0.1:0".into())),
        ];
        Machine { dir, variables }
    }

    fn with(mut self, name: &'static str, value: &str) -> Machine {
        self.variables.push((name, Some(value.to_owned())));
        self
    }

    fn without(mut self, name: &'static str) -> Machine {
        self.variables.push((name, None));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn cli(&self, arguments: &[&str]) -> Printed {
        let mut command = Command::new(program());
        clean(&mut command, self.dir.path());
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.args(arguments);
        printed(command).await
    }

    /// Starts a server in the background, and has an agent do something that needs all that a run needs.
    async fn works(&self) -> Client {
        let started = self.cli(&["daemon", "start", "--json"]).await.json();
        let token = fs::read_to_string(self.path("store/admin.token")).unwrap();
        let client = Client::new(started["address"].as_str().unwrap(), token.trim());
        client.put("/companies/default/secrets/key", &json!({ "value": "open sesame" })).await;
        let env = json!({ "KEY_FILE": { "secret": "key", "file": true } });
        let script = "test \"$(cat $KEY_FILE)\" = 'open sesame' && wakeful inbox > inbox && echo 'größer ☃'";
        let adapter = json!({ "type": "process", "command": script, "env": env });
        let agent = client.agent(&json!({ "name": "worker", "adapter": adapter })).await;
        let over = client.run_of(&agent, json!({})).await;
        assert_ended(&over, "succeeded", "");
        assert_eq!(client.stdout(&id(&over)).await, "größer ☃\n");
        client
    }

    async fn works_and_stops(self) {
        let client = self.works().await;
        client.assert_sound().await;
        self.cli(&["daemon", "stop"]).await.ok();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        end_all_of(self.dir.path());
    }
}

/// A file system in memory with no room left.
fn full(target: &Path) -> Option<Tmpfs> {
    let disk = Tmpfs::mount(target, 1, "")?;
    let filled = fs::write(target.join("ballast"), vec![1; 2 * 1024 * 1024]);
    assert!(filled.is_err(), "it is not full");
    Some(disk)
}

async fn surroundings(_scale: Scale, _seed: u64) -> Measured {
    let mut worked = vec!["LANG=C", "no HOME", "TMPDIR missing"];
    Machine::new().with("LANG", "C").with("LC_ALL", "C").works_and_stops().await;
    Machine::new().without("HOME").works_and_stops().await;
    Machine::new().with("TMPDIR", "/nowhere/at/all").works_and_stops().await;
    let lost = Machine::new().without("HOME").without("WAKEFUL_DATA_DIR");
    lost.cli(&["daemon", "start"]).await.assert_failed(2, &["no data directory is known", "--data-dir"]);
    let mut told = vec!["no HOME and no data directory"];

    let machine = Machine::new();
    let Some(read_only) = Tmpfs::mount(&machine.path("home"), 1, ",ro") else {
        return Err(Skipped(NO_MOUNT));
    };
    machine.works_and_stops().await;
    drop(read_only);
    worked.push("HOME read-only");
    let machine = Machine::new().without("WAKEFUL_DATA_DIR");
    let _read_only = Tmpfs::mount(&machine.path("home"), 1, ",ro");
    let failed = machine.cli(&["daemon", "start"]).await;
    failed.assert_failed(1, &["cannot create the data directory", "Read-only file system", "--data-dir"]);
    told.push("HOME read-only and no data directory");

    let machine = Machine::new();
    let temporary = machine.path("tmp");
    let _full = full(&temporary);
    machine.with("TMPDIR", &temporary.display().to_string()).works_and_stops().await;
    worked.push("TMPDIR full");
    let machine = Machine::new();
    let temporary = machine.path("tmp");
    let _noexec = Tmpfs::mount(&temporary, 8, ",noexec");
    machine.with("TMPDIR", &temporary.display().to_string()).works_and_stops().await;
    worked.push("TMPDIR noexec");

    let machine = Machine::new();
    let noexec = Tmpfs::mount(&machine.path("store"), 256, ",noexec");
    let client = machine.works().await;
    let adapter = json!({ "type": "process", "command": ["./own"] });
    let agent = client.agent(&json!({ "name": "own", "adapter": adapter })).await;
    let own = machine.path("store/agents").join(&agent).join("own");
    fs::create_dir_all(own.parent().unwrap()).unwrap();
    fs::copy("/bin/true", &own).unwrap();
    let over = client.run_of(&agent, json!({})).await;
    assert_ended(&over, "failed", "not_executable");
    assert_ne!(over["error"], Value::Null);
    machine.cli(&["daemon", "stop"]).await.ok();
    drop(noexec);
    worked.push("data directory noexec");
    told.push("a program in a directory that is noexec (`not_executable`)");
    Ok(format!("worked: {}; told: {}", worked.join(", "), told.join(", ")))
}
