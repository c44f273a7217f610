//! Backups: taken beside a working server, checked, damaged, put back; what runs and waits after that.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::access::company_key;
use crate::shape::assert_problem;
use crate::support::{Server, clean, id, is_alive, printed, program, run_token, shim_pid};

async fn backup(server: &Server, name: &str) -> PathBuf {
    let path = server.outside().join(name);
    server.cli(&["backup", path.to_str().unwrap()]).await.ok();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_backup_of_a_working_server_is_private_checked_and_says_what_is_in_it() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "echo hello").await;
    let run = id(&server.run_of(&agent, json!({})).await);
    let plain = server.outside().join("plain.tar.zst");
    let made = server.cli(&["backup", text(&plain), "--json"]).await.json();
    assert_eq!(made["file"], text(&plain));
    let manifest = &made["manifest"];
    assert_eq!((&manifest["rows"]["agents"], &manifest["rows"]["runs"]), (&json!(1), &json!(1)));
    assert_eq!((&manifest["logs"], &manifest["epoch"]), (&Value::Null, &json!(0)));
    assert_eq!(fs::metadata(&plain).unwrap().permissions().mode() & 0o777, 0o600);
    let checked = server.cli(&["backup", "--verify", text(&plain), "--json"]).await.json();
    assert_eq!(checked["manifest"], *manifest);
    let folder = server.outside().join("nightly");
    fs::create_dir(&folder).unwrap();
    let with_logs = server.cli(&["backup", text(&folder), "--with-logs", "--json"]).await.json();
    assert_eq!(with_logs["manifest"]["logs"]["files"], 1);
    let name = PathBuf::from(with_logs["file"].as_str().unwrap());
    assert!(name.parent() == Some(&folder) && name.to_str().unwrap().ends_with(".tar.zst"));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no scratch is left");
    let listed = Command::new("sh").arg("-c").arg(format!("tar --zstd -tf {}", name.display())).output().unwrap();
    if listed.status.success() {
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.contains(&run) && listed.ends_with("manifest.json\n"), "{listed}");
    }
}

#[tokio::test]
async fn no_half_backup_is_left_where_none_can_be_written() {
    let server = Server::start().await;
    let nowhere = server.outside().join("not-there/store.tar.zst");
    server.cli(&["backup", text(&nowhere)]).await.assert_failed(1, &["cannot write", "not-there"]);
    server.cli(&["backup", "--verify"]).await.assert_failed(2, &["--verify wants the file"]);
    server.cli(&["backup", "--verify", text(&nowhere)]).await.assert_failed(3, &["cannot read"]);
    let mut command = Command::new(program());
    clean(&mut command, server.outside()).args(["backup", "--data-dir", text(&server.outside().join("empty"))]);
    printed(command).await.assert_failed(3, &["there is no store"]);
}

#[tokio::test]
async fn whatever_is_damaged_in_a_backup_is_found_before_it_is_used() {
    let mut server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    server.run_of(&agent, json!({})).await;
    let whole = fs::read(backup(&server, "whole.tar.zst").await).unwrap();
    server.stop().await;
    let bad = server.outside().join("bad.tar.zst");
    let mut damages: Vec<Vec<u8>> = vec![Vec::new(), b"no backup".to_vec()];
    damages.extend([1, 2, 3].map(|part| whole[..whole.len() * part / 4].to_vec()));
    damages.extend((1..12).map(|part| {
        let mut flipped = whole.clone();
        flipped[whole.len() * part / 12] ^= 0x10;
        flipped
    }));
    for damaged in damages {
        fs::write(&bad, &damaged).unwrap();
        for command in [["backup", "--verify"].as_slice(), &["restore"]] {
            let printed = server.cli(&[command, &[text(&bad)]].concat()).await;
            assert_eq!((printed.code, printed.stdout.as_str()), (1, ""), "{}", printed.stderr);
            assert!(printed.stderr.contains("backup"), "{}", printed.stderr);
        }
    }
    server.start_again().await;
    assert_eq!(server.show(&format!("/agents/{agent}")).await["totals"]["runs"], 1, "the store is as it was");
}

#[tokio::test]
async fn a_restore_is_refused_while_a_server_runs_and_keeps_aside_what_was_there() {
    let mut server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    let before = id(&server.run_of(&agent, json!({})).await);
    let path = backup(&server, "store.tar.zst").await;
    let after = id(&server.run_of(&agent, json!({})).await);
    server.cli(&["restore", text(&path)]).await.assert_failed(5, &["in use by process", "stop that server"]);
    server.stop().await;
    let done = server.cli(&["restore", text(&path), "--json"]).await.json();
    assert_eq!((&done["restored"]["epoch"], &done["restored"]["lost_runs"]), (&json!(1), &json!(0)));
    let aside = PathBuf::from(done["kept_aside"].as_str().unwrap());
    assert!(aside.join("wakeful.db").exists());
    server.start_again().await;
    server.show(&format!("/runs/{before}")).await;
    assert_eq!(server.get(&format!("/runs/{after}")).await.0, 404);
    let restored = server.show("/companies/default/events").await;
    let is_told = |event: &Value| event["type"] == "store.restored";
    assert!(restored["items"].as_array().unwrap().iter().any(is_told), "{restored:#}");
    server.assert_sound().await;
}

#[tokio::test]
async fn after_a_restore_nothing_starts_before_somebody_says_so() {
    let mut server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    let often = json!({ "name": "often", "trigger": { "every": "1s" }, "target": { "wake": { "agent": agent } } });
    let waits = server.wake(&agent, json!({ "delay_ms": 1_500, "reason": "look at it" })).await;
    let schedule = json!({ "name": "hourly", "trigger": { "every": "1h" }, "target": { "wake": { "agent": agent } } });
    assert_eq!(server.post("/companies/default/schedules", &schedule).await.0, 201);
    assert_eq!(server.post("/companies/default/schedules", &often).await.0, 201);
    let path = backup(&server, "store.tar.zst").await;
    assert_eq!(server.settled(&waits).await["status"], "completed");
    server.stop().await;
    server.cli(&["restore", text(&path)]).await.ok();
    server.start_again().await;
    let found = server.until(&format!("/wakeups/{waits}"), |found| found["waiting"]["reason"] == "restored").await;
    assert!(found["waiting"]["detail"].as_str().unwrap().contains("`wakeful restore --go-on`"), "{found:#}");
    let new = server.wake(&agent, json!({})).await;
    assert_eq!(server.show(&format!("/wakeups/{new}")).await["waiting"]["reason"], "restored");
    let why = server.cli(&["why", &new]).await.ok();
    assert!(why.contains("wakeful restore --go-on"), "{why}");
    let plan = server.cli(&["restore", "--plan", "--json"]).await.json();
    assert_eq!((&plan["is_held"], &plan["epoch"]), (&json!(true), &json!(1)));
    assert_eq!((&plan["schedules"][0]["name"], plan["schedules"].as_array().unwrap().len()), (&json!("often"), 1));
    let names = |plan: &Value| plan["wakeups"].as_array().unwrap().iter().map(id).collect::<Vec<_>>();
    assert!(names(&plan).contains(&waits) && names(&plan).contains(&new), "{plan:#}");
    let said = server.cli(&["restore", "--plan"]).await.ok();
    assert!(said.contains("look at it") && said.contains(&waits), "{said}");
    let status = server.show("/server").await;
    assert!(status["restored_from"].is_string());
    assert_eq!(server.post(&format!("/wakeups/{waits}/cancel"), &json!({})).await.0, 200);
    let gone_on = server.cli(&["restore", "--go-on", "--skip-missed", "--json"]).await.json();
    assert_eq!(gone_on["is_held"], false);
    assert_eq!(server.settled(&new).await["status"], "completed");
    assert_eq!(server.settled(&waits).await["status"], "cancelled");
    server.cli(&["restore", "--go-on"]).await.assert_failed(5, &["not held"]);
    server.stop().await;
    server.start_again().await;
    assert_eq!(server.show("/restore").await["is_held"], false);
    server.assert_sound().await;
}

#[tokio::test]
async fn a_stranger_may_neither_see_nor_release_a_restored_store() {
    let server = Server::start().await;
    let company = id(&server.show("/companies/default").await);
    let operator = company_key(&server, &company, "admin");
    assert_eq!(operator.get("/restore").await.0, 403);
    assert_eq!(operator.post("/restore/release", &json!({})).await.0, 403);
    let refused = server.post("/restore/release", &json!({})).await;
    assert_problem(&refused, 409);
    assert_eq!(refused.1["code"], "not_held");
    let (status, problem) = server.post("/restore/release", &json!({ "skip": true })).await;
    assert_eq!(status, 422, "{problem}");
}

#[tokio::test]
async fn runs_of_the_life_before_are_ended_with_their_trees_and_can_change_nothing() {
    let mut server = Server::start().await;
    let tree = "setsid sh -c 'exec sleep 600' & exec sleep 600";
    let (known, unknown) = (server.process_agent("known", tree).await, server.process_agent("unknown", tree).await);
    let first = server.wake(&known, json!({})).await;
    let in_backup = server.running(&first).await;
    let path = backup(&server, "store.tar.zst").await;
    let after = server.running(&server.wake(&unknown, json!({})).await).await;
    let tokens = [run_token(&in_backup), run_token(&after)];
    let shims = [&in_backup, &after].map(|run| shim_pid(&server.run_dir(&id(run)).join("shim-1.json")).unwrap());
    server.kill9();
    assert!(shims.iter().all(|pid| is_alive(*pid)), "they outlive the server");
    server.cli(&["restore", text(&path)]).await.ok();
    server.start_again().await;
    // The trees are gone when it is ready; a shim that has said so ends a moment later.
    assert!(server.left_over().iter().all(|pid| shims.contains(pid)), "{:?}", server.left_over());
    let lost = server.show(&format!("/runs/{}", id(&in_backup))).await;
    assert_eq!((&lost["status"], &lost["error_code"]), (&json!("lost"), &json!("restored")));
    let dead = server.settled(&first).await;
    assert_eq!((&dead["status"], &dead["error_code"]), (&json!("failed"), &json!("restored")));
    let plan = server.show("/restore").await;
    assert_eq!((&plan["lost_runs"], plan["ended_processes_of"].as_array().unwrap().len()), (&json!(1), 2));
    let (known, unknown) = (server.with_token(&tokens[0]), server.with_token(&tokens[1]));
    let report = json!({ "fence": in_backup["fence"], "outcome": "succeeded" });
    let refused = known.post(&format!("/runs/{}/finish", id(&in_backup)), &report).await;
    assert_problem(&refused, 409);
    assert_eq!(refused.1["code"], "fenced");
    assert_eq!(known.get("/me").await.0, 401);
    let report = json!({ "fence": after["fence"], "outcome": "succeeded" });
    assert_eq!(unknown.post(&format!("/runs/{}/finish", id(&after)), &report).await.0, 401);
    server.cli(&["restore", "--go-on"]).await.ok();
    assert_eq!(server.show(&format!("/wakeups/{first}")).await["status"], "failed", "it is not run again by itself");
    assert_eq!(server.post(&format!("/wakeups/{first}/retry"), &json!({})).await.0, 200);
    let taken = server.until(&format!("/wakeups/{first}"), |found| found["status"] == "claimed").await;
    let again = server.show(&format!("/runs/{}", taken["run_id"].as_str().unwrap())).await;
    assert!(again["fence"].as_i64() > in_backup["fence"].as_i64().map(|fence| fence + 1));
    server.assert_sound().await;
}

#[tokio::test]
async fn a_reader_of_the_life_before_misses_nothing_that_happens_after_a_restore() {
    let mut server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    let path = backup(&server, "store.tar.zst").await;
    for _ in 0..3 {
        server.run_of(&agent, json!({})).await;
    }
    let seen = server.all("/companies/default/events").await;
    let cursor = id(seen.last().unwrap());
    server.stop().await;
    server.cli(&["restore", text(&path)]).await.ok();
    server.start_again().await;
    let new = server.wake(&agent, json!({})).await;
    let items = server.show(&format!("/companies/default/events?after={cursor}")).await["items"].clone();
    let items = items.as_array().unwrap();
    assert_eq!(items[0]["type"], "store.restored", "{items:#?}");
    assert!(items.iter().any(|event| event["type"] == "wakeup.accepted" && event["subject"] == json!(new)));
}

#[tokio::test]
async fn two_restores_of_one_backup_are_two_lives_with_numbers_of_their_own() {
    let mut server = Server::start().await;
    // Nothing has happened yet: no event has had a number.
    let path = backup(&server, "store.tar.zst").await;
    let mut cursors = Vec::new();
    for epoch in 1..=3 {
        let agent = server.process_agent("ann", "true").await;
        server.wake(&agent, json!({})).await;
        cursors.push(id(server.all("/companies/default/events").await.last().unwrap()));
        server.stop().await;
        let done = server.cli(&["restore", text(&path), "--json"]).await.json();
        let (restored, replaced) = (&done["restored"], &done["replaced"]);
        assert_eq!((&restored["epoch"], &replaced["epoch"]), (&json!(epoch), &json!(epoch - 1)), "{done:#}");
        assert_eq!(done["unreadable"], Value::Null);
        server.start_again().await;
        for cursor in &cursors {
            let items = server.show(&format!("/companies/default/events?after={cursor}")).await["items"].clone();
            assert_eq!(items[0]["type"], "store.restored", "{items:#}");
        }
    }
    server.assert_sound().await;
    server.stop().await;
    // Of a store that cannot be read nothing is known, and that is said.
    fs::write(server.path().join("wakeful.db"), "no store").unwrap();
    let told = server.cli(&["restore", text(&path)]).await.ok();
    assert!(told.contains("(epoch 1)") && told.contains("cannot be read"), "{told}");
}

#[tokio::test]
async fn a_restore_that_was_broken_off_is_not_started_over_and_is_done_again() {
    let mut server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    let path = backup(&server, "store.tar.zst").await;
    server.stop().await;
    // As a crash between the two moves leaves it.
    let aside = server.path().join("before-restore-1");
    fs::create_dir(&aside).unwrap();
    fs::rename(server.path().join("wakeful.db"), aside.join("wakeful.db")).unwrap();
    fs::write(server.path().join("restoring.json"), json!({ "aside": aside }).to_string()).unwrap();
    let unpacked = server.path().join("unpacked-by-the-one-that-was-killed");
    fs::create_dir(&unpacked).unwrap();
    let mut command = Command::new(program());
    clean(&mut command, server.outside()).args(["up", "--listen", "127.0.0.1:0", "--data-dir"]).arg(server.path());
    printed(command).await.assert_failed(5, &["was broken off", "wakeful restore FILE"]);
    let done = server.cli(&["restore", text(&path), "--json"]).await.json();
    assert_eq!(done["kept_aside"], text(&aside));
    assert!(!unpacked.exists() && !server.path().join("restoring.json").exists());
    server.start_again().await;
    server.show(&format!("/agents/{agent}")).await;
}

#[tokio::test]
async fn a_backup_can_be_restored_elsewhere_with_its_logs_and_says_what_it_lacks() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "echo hello").await;
    let run = id(&server.run_of(&agent, json!({})).await);
    assert_eq!(server.put("/companies/default/secrets/KEY", &json!({ "value": "a long value" })).await.0, 200);
    let path = server.outside().join("all.tar.zst");
    server.cli(&["backup", text(&path), "--with-logs"]).await.ok();
    let elsewhere = server.outside().join("elsewhere");
    let mut command = Command::new(program());
    clean(&mut command, server.outside()).args(["restore", text(&path), "--data-dir", text(&elsewhere)]);
    let said = printed(command).await.ok();
    assert!(said.contains("1 secrets: put their master key"), "{said}");
    assert!(!said.contains("kept in"), "nothing was there: {said}");
    let log = fs::read_dir(elsewhere.join("runs").join(&run)).unwrap().count();
    assert_eq!(log, 1);
    assert!(!elsewhere.join("master.key").exists() && !elsewhere.join("admin.token").exists());
}

#[tokio::test]
async fn a_store_in_postgresql_is_left_to_its_own_tools_by_name() {
    let server = Server::start().await;
    let url = "postgres://localhost/none";
    server.cli(&["backup", "--database", url]).await.assert_failed(2, &["PostgreSQL", "pg_dump --format=custom"]);
    let restored = server.cli(&["restore", "some.file", "--database", url]).await;
    restored.assert_failed(2, &["PostgreSQL", "pg_restore"]);
    server.cli(&["restore"]).await.assert_failed(2, &["wakeful restore FILE"]);
    let skip = server.cli(&["restore", "--skip-missed"]).await;
    assert_eq!(skip.code, 2);
}
