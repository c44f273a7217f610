//! `wakeful doctor`: what it finds wrong, what it says against it, and what it mends itself.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use wakeful_test_server::{Printed, clean, printed, program};

use crate::support::Server;

async fn doctor(home: &Path, data: &Path, more: &[&str]) -> (Vec<Value>, Printed) {
    let mut command = Command::new(program());
    clean(&mut command, home).env("WAKEFUL_DATA_DIR", data).args(["doctor", "--json"]).args(more);
    let printed = printed(command).await;
    let document: Value = serde_json::from_str(&printed.stdout).unwrap();
    (document["findings"].as_array().unwrap().clone(), printed)
}

fn about<'a>(findings: &'a [Value], subject: &str) -> Option<&'a Value> {
    findings.iter().find(|finding| finding["subject"] == subject)
}

fn assert_failed(findings: &[Value], subject: &str, words: &str) {
    let found = about(findings, subject).unwrap_or_else(|| panic!("nothing about {subject}: {findings:#?}"));
    assert_eq!(found["verdict"], "failed", "{found:#}");
    assert!(found.to_string().contains(words), "`{words}` in {found:#}");
    assert!(found["remedy"].is_string(), "{found:#}");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn it_mends_what_can_be_mended_without_harm() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let (findings, _) = doctor(home.path(), &data, &[]).await;
    let found = about(&findings, "data directory").unwrap();
    assert_eq!((&found["verdict"], &found["fixed"]), (&json!("warning"), &json!(false)));
    assert!(!data.exists(), "without --fix nothing is touched");
    doctor(home.path(), &data, &["--fix"]).await;
    assert_eq!(mode(&data), 0o700);

    let server = Server::start().await;
    let files = [server.path().to_owned(), server.path().join("admin.token"), server.path().join("master.key")];
    files.iter().for_each(|path| open_to_all(path));
    let (findings, printed) = doctor(server.outside(), server.path(), &[]).await;
    assert_eq!(printed.code, 1);
    assert_failed(&findings, "private files", "admin.token");
    assert_failed(&findings, "master key", "set the secrets anew");
    let (findings, _) = doctor(server.outside(), server.path(), &["--fix"]).await;
    let fixed: Vec<&Value> = findings.iter().filter(|finding| finding["fixed"] == true).collect();
    assert_eq!(fixed.len(), 3, "{findings:#?}");
    assert!(fixed.iter().all(|finding| finding["verdict"] == "ok"));
    assert_eq!(files.map(|path| mode(&path)), [0o700, 0o600, 0o600]);
}

#[tokio::test]
async fn a_server_that_could_not_start_is_told_why_before_it_is_started() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    fs::create_dir(&data).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    fs::write(data.join("wakeful.toml"), format!("[server]\nlisten = \"{address}\"\n")).unwrap();
    let (findings, printed) = doctor(home.path(), &data, &[]).await;
    assert_eq!(printed.code, 1);
    assert_failed(&findings, "port", &address);
    fs::write(data.join("wakeful.toml"), "[server]\nlisten = 7\n").unwrap();
    let (findings, _) = doctor(home.path(), &data, &[]).await;
    assert_failed(&findings, "configuration", "wakeful.toml:2");
}

#[tokio::test]
async fn a_clock_that_was_set_back_is_told() {
    let mut server = Server::start().await;
    server.stop().await;
    let store = fs::File::options().write(true).open(server.path().join("wakeful.db")).unwrap();
    let written_at = store.metadata().unwrap().modified().unwrap();
    store.set_modified(written_at + Duration::from_secs(86_400)).unwrap();
    let (findings, _) = doctor(server.outside(), server.path(), &[]).await;
    assert_failed(&findings, "clock", "was last written");
}
