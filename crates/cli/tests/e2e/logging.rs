//! The log of a server in the background: its levels, its form, its turns from file to file.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::machine::Machine;
use crate::support::{Client, LOOK_EVERY, PATIENCE};

/// The files of the log, oldest first, and what they hold.
fn files(machine: &Machine) -> Vec<(PathBuf, String)> {
    let log = machine.data_dir().join("wakeful.log");
    let numbered = (1..).map(|number| log.with_extension(format!("log.{number}"))).take_while(|path| path.exists());
    let mut paths: Vec<PathBuf> = numbered.collect();
    paths.reverse();
    paths.push(log);
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("it comes in time");
}

/// Each request is a line of the log.
async fn talk(client: &Client) {
    let asked = (0..500).map(|_| client.show("/server"));
    futures_util::future::join_all(asked).await;
}

#[tokio::test]
async fn a_log_turns_to_new_files_stays_within_its_bounds_and_is_followed_without_a_gap() {
    let machine = Machine::new();
    machine.write("[server]\nlisten = \"127.0.0.1:0\"\n[log]\nlevel = \"trace\"\nmax_file_mb = 1\nmax_files = 6\n");
    machine.cli(&["daemon", "start"]).await.ok();
    let status = machine.until(|status| status["running"] == true).await;
    let client = machine.client(&status);
    let followed = machine.data_dir().join("followed");
    let mut command = machine.command(&["daemon", "logs", "-f", "-n", "100000"]);
    command.stdout(fs::File::create(&followed).unwrap()).stderr(Stdio::null());
    let mut following = command.spawn().unwrap();
    // Until the third file has begun.
    until(async || {
        talk(&client).await;
        files(&machine).len() >= 3
    })
    .await;
    machine.cli(&["daemon", "stop"]).await.ok();
    let kept = files(&machine);
    let whole: String = kept.iter().map(|(_, text)| text.as_str()).collect();
    assert!(whole.contains(" listens on "), "nothing has gone yet");
    until(async || fs::read_to_string(&followed).unwrap().len() >= whole.len()).await;
    following.kill().unwrap();
    following.wait().unwrap();
    assert!(fs::read_to_string(&followed).unwrap() == whole, "what was followed is not what was written");
    for (path, text) in &kept {
        assert!(text.len() <= 1024 * 1024 && text.ends_with('\n'), "{}: {} bytes", path.display(), text.len());
    }

    // With fewer files to keep, the oldest go at the next turn.
    machine.cli(&["daemon", "start", "--log-max-files", "2"]).await.ok();
    let client = machine.client(&machine.until(|status| status["running"] == true).await);
    until(async || {
        talk(&client).await;
        files(&machine).len() == 2
    })
    .await;
    let last = machine.cli(&["daemon", "logs", "-n", "3"]).await.ok();
    assert_eq!(last.lines().count(), 3);
    machine.cli(&["daemon", "stop"]).await.ok();
}

#[tokio::test]
async fn in_json_every_line_is_an_object_with_the_same_names_and_levels_change_while_it_runs() {
    let machine = Machine::new();
    let configuration = |level: &str| {
        machine.write(&format!("[server]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\nlevel = \"{level}\"\n"));
    };
    configuration("info");
    machine.cli(&["daemon", "start"]).await.ok();
    let status = machine.until(|status| !status["configuration"].is_null()).await;
    let client = machine.client(&status);
    let agent = client.process_agent("ann", "true").await;
    client.run_of(&agent, json!({})).await;
    let lines = || {
        let text = files(&machine).pop().unwrap().1;
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    for line in lines() {
        for name in ["timestamp", "level", "target", "message"] {
            assert!(line[name].is_string(), "{name} in {line}");
        }
    }
    let finer = || lines().iter().filter(|line| line["level"] == "DEBUG").count();
    assert_eq!(finer(), 0);
    configuration("info,wakeful_api=debug");
    machine.cli(&["daemon", "reload"]).await.ok();
    until(async || {
        client.show("/server").await;
        finer() > 0
    })
    .await;
    configuration("loud");
    machine.cli(&["daemon", "reload"]).await.ok();
    let refused = machine.until(|status| status["configuration"]["error"].is_string()).await;
    assert!(refused["configuration"]["error"].as_str().unwrap().contains("`loud` is no level"), "{refused:#}");
    configuration("off");
    machine.cli(&["daemon", "reload"]).await.ok();
    machine.until(|status| status["configuration"]["error"].is_null()).await;
    let count = lines().len();
    client.show("/server").await;
    assert_eq!(lines().len(), count);
    machine.cli(&["daemon", "stop"]).await.ok();
}

#[tokio::test]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let machine = Machine::new();
    let mut command = machine.command(&["up", "--listen", "127.0.0.1:0", "--log-level", "debug"]);
    // As a full disk answers.
    command.stdin(Stdio::null()).stderr(fs::File::options().write(true).open("/dev/full").unwrap());
    let mut server = command.spawn().unwrap();
    let status = machine.until(|status| status["live_runs"] == 0).await;
    let client = machine.client(&status);
    let agent = client.process_agent("ann", "true").await;
    assert_eq!(client.run_of(&agent, json!({})).await["status"], "succeeded");
    machine.cli(&["daemon", "stop"]).await.ok();
    assert!(server.wait().unwrap().success());
}
