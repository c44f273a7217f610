//! The settings of the server: by file, variable and option, shown with who says them, written for a beginning, and
//! read again while it runs.

use std::fs;

use serde_json::{Value, json};

use crate::machine::Machine;

#[tokio::test]
async fn an_option_goes_before_a_variable_that_before_the_file_and_that_before_the_default() {
    let mut machine = Machine::new();
    let name = "server.listen";
    assert_eq!(machine.setting(name, &[]).await.1, "default");
    let path = machine.write("[server]\nlisten = \"127.0.0.1:1\"\n");
    let place = format!("{}:2", path.display());
    assert_eq!(machine.setting(name, &[]).await, (json!("127.0.0.1:1"), "file".into(), place));
    machine.set("WAKEFUL_LISTEN", "127.0.0.1:2");
    let by_variable = (json!("127.0.0.1:2"), "environment".into(), "WAKEFUL_LISTEN".into());
    assert_eq!(machine.setting(name, &[]).await, by_variable);
    let by_option = (json!("127.0.0.1:3"), "option".into(), "--listen".into());
    assert_eq!(machine.setting(name, &["--listen", "127.0.0.1:3"]).await, by_option);

    // There is one master key: who says it last says where.
    machine.write("[server]\nmaster_key_file = \"own.key\"\n");
    let key = machine.setting("server.master_key_file", &[]).await.0;
    assert_eq!(key, json!(machine.data_dir().join("own.key")), "it lies beside the file that names it");
    let (key, layer, _) = machine.setting("server.master_key_file", &["--master-key-command", "true"]).await;
    assert_eq!((key, layer.as_str()), (Value::Null, "default"));
}

#[tokio::test]
async fn a_password_is_not_shown_and_lists_are_read_in_every_form() {
    let mut machine = Machine::new();
    machine.set("WAKEFUL_DATABASE", "postgres://ann:canary@db/wakeful");
    machine.set("WAKEFUL_HTTP_ALLOW", "10.0.0.0/8, fd00::/8");
    for form in [&["config", "show"][..], &["config", "show", "--json"]] {
        let shown = machine.cli(form).await.ok();
        assert!(shown.contains("postgres://ann:***@db/wakeful") && !shown.contains("canary"), "{shown}");
    }
    assert_eq!(machine.setting("server.http_allow", &[]).await.0, json!(["10.0.0.0/8", "fd00::/8"]));
    let options = ["--http-allow", "10.1.0.0/16", "--http-allow", "10.2.0.0/16"];
    assert_eq!(machine.setting("server.http_allow", &options).await.0, json!(["10.1.0.0/16", "10.2.0.0/16"]));
}

#[tokio::test]
async fn every_mistake_of_file_and_environment_is_told_in_one_pass_with_its_place() {
    let mut machine = Machine::new();
    let path = machine.write("[server]\nlissten = \"a:1\"\nmax_live_runs = \"many\"\n\n[daemon]\ndrain = 30\n");
    machine.set("WAKEFUL_MIN_FREE_DISK_MB", "lots");
    machine.set("WAKEFUL_MAX_LIVE_RUN", "3");
    machine.set("WAKEFUL_OF_MY_OWN", "is left alone");
    machine.set("WAKEFUL_DATABASE", "mysql://ann:canary@db/wakeful");
    for arguments in [&["check"][..], &["up"], &["daemon", "start"], &["config", "show"]] {
        let path = path.display();
        let told = machine.cli(arguments).await;
        told.assert_failed(
            2,
            &[
                &format!("{path}:2:1: unknown key `lissten`: did you mean `listen`?"),
                &format!("{path}:3:1: `server.max_live_runs` must be a whole number from 0 to 10000; it is \"many\""),
                &format!("{path}:6:1: `daemon.drain` must be a duration, as 90s, 5m or 2h30m; it is 30"),
                "WAKEFUL_MIN_FREE_DISK_MB must be a whole number from 0 to 1048576; it is \"lots\"",
                "WAKEFUL_DATABASE must be a URL, as postgres://user@host/name",
                "WAKEFUL_MAX_LIVE_RUN is no setting: did you mean WAKEFUL_MAX_LIVE_RUNS?",
            ],
        );
        assert!(!told.stderr.contains("canary") && !told.stderr.contains("OF_MY_OWN"), "{}", told.stderr);
    }
    machine
        .cli(&["up", "--max-live-runs", "many"])
        .await
        .assert_failed(2, &["--max-live-runs", "must be a whole number"]);
    machine.cli(&["check", "--config", "/nowhere/w.toml"]).await.assert_failed(2, &["cannot read /nowhere/w.toml"]);
    assert!(!machine.data_dir().join("wakeful.pid").exists(), "no server has begun");
}

#[tokio::test]
async fn what_init_writes_passes_check_is_never_overwritten_and_starts_a_server_without_options() {
    let mut machine = Machine::new();
    machine.cli(&["check"]).await.assert_failed(2, &["there is no configuration", "wakeful init"]);
    let written = machine.cli(&["init", "--json"]).await.json();
    assert_eq!(written["path"], json!(machine.data_dir().join("wakeful.toml")));
    assert_eq!(written["next"][0], "wakeful up");
    let checked = machine.cli(&["check", "--json"]).await.json();
    assert_eq!((&checked["objects"], &checked["path"]), (&json!(1), &written["path"]));
    machine.cli(&["init"]).await.assert_failed(5, &["is there already"]);
    machine.cli(&["init", "--config", "w.json"]).await.assert_failed(2, &["JSON"]);

    machine.set("WAKEFUL_LISTEN", "127.0.0.1:0");
    machine.cli(&["daemon", "start"]).await.ok();
    let status = machine.until(|status| !status["configuration"].is_null()).await;
    assert_eq!(status["configuration"]["error"], Value::Null, "{status:#}");
    let agents = machine.client(&status).show("/companies/default/agents").await;
    assert_eq!(agents["items"][0]["name"], written["agent"]);

    // A restart without what it was started with would be another server.
    let told = {
        let variables = std::mem::take(&mut machine.variables);
        let told = machine.cli(&["daemon", "restart"]).await;
        machine.variables = variables;
        told
    };
    told.assert_failed(5, &["WAKEFUL_LISTEN"]);
    machine.cli(&["daemon", "restart"]).await.ok();
    let unit = machine.cli(&["daemon", "install", "--print"]).await.ok();
    assert!(unit.contains("Environment=\"WAKEFUL_LISTEN=127.0.0.1:0\""), "{unit}");
    machine.cli(&["daemon", "stop"]).await.ok();
}

#[tokio::test]
async fn a_reload_changes_what_can_change_and_names_what_takes_a_restart() {
    let machine = Machine::new();
    machine.write("[server]\nlisten = \"127.0.0.1:0\"\nmax_live_runs = 3\n");
    machine.cli(&["daemon", "start"]).await.ok();
    let began = machine.until(|status| !status["configuration"].is_null()).await;
    assert_eq!(began["live_runs_max"], 3);
    machine.write("[server]\nlisten = \"127.0.0.1:1\"\nmax_live_runs = 5\n");
    machine.cli(&["daemon", "reload"]).await.ok();
    machine.until(|status| status["live_runs_max"] == 5).await;
    let changed = machine.until(|status| status["configuration"]["read_at"] != began["configuration"]["read_at"]).await;
    assert_eq!(changed["configuration"]["needs_restart"], json!(["server.listen"]));
    assert_eq!(changed["address"], began["address"]);
    let told = machine.cli(&["daemon", "status"]).await.ok();
    assert!(told.contains("server.listen: `wakeful daemon restart`"), "{told}");
    let log = machine.cli(&["daemon", "logs"]).await.ok();
    assert!(log.contains("server.max_live_runs is 5 now") && log.contains("a restart is needed"), "{log}");

    // One with a mistake changes nothing, and one that has gone is a mistake.
    machine.write("[server]\nmax_live_runs = -1\n");
    machine.cli(&["daemon", "reload"]).await.ok();
    let refused = machine.until(|status| status["configuration"]["error"].is_string()).await;
    assert_eq!(
        (&refused["live_runs_max"], &refused["configuration"]["needs_restart"]),
        (&json!(5), &json!(["server.listen"]))
    );
    fs::remove_file(machine.data_dir().join("wakeful.toml")).unwrap();
    machine.cli(&["daemon", "reload"]).await.ok();
    let is_gone =
        |status: &Value| status["configuration"]["error"].as_str().is_some_and(|told| told.contains("cannot read"));
    assert_eq!(machine.until(is_gone).await["live_runs_max"], 5);

    // What is as it runs needs nothing any more.
    machine.write("[server]\nlisten = \"127.0.0.1:0\"\n[limits]\nmin_free_disk_mb = 1000000\n");
    machine.cli(&["daemon", "reload"]).await.ok();
    let settled = machine.until(|status| status["configuration"]["error"].is_null()).await;
    assert_eq!(settled["configuration"]["needs_restart"], json!([]));
    let client = machine.client(&settled);
    let agent = client.process_agent("ann", "true").await;
    let wakeup = client.wake(&agent, json!({})).await;
    client.until(&format!("/wakeups/{wakeup}"), |found| found["waiting"]["reason"] == "host_pressure").await;
    machine.cli(&["daemon", "stop"]).await.ok();
}
