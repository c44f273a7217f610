//! The command line: exit codes, what goes where, names and ids, hints.

use serde_json::{Value, json};

use crate::support::{Server, id};

#[tokio::test]
async fn a_newcomers_session_works_with_names_alone() {
    let server = Server::start().await;
    let added =
        server.cli(&["agent", "add", "greeter", "--", "sh", "-c", "echo \"hello, $WAKEFUL_REASON\""]).await.ok();
    assert!(added.contains("wakeful wake greeter --wait"), "{added}");
    let woken = server.cli(&["wake", "greeter", "-m", "world", "--wait"]).await;
    assert_eq!(woken.code, 0, "{}", woken.stderr);
    assert!(woken.stdout.starts_with("hello, world\n") && woken.stdout.contains("succeeded"), "{}", woken.stdout);
    let agent = server.cli(&["agent", "show", "greeter", "--json"]).await.json();
    assert_eq!(agent["adapter"]["command"], json!(["sh", "-c", "echo \"hello, $WAKEFUL_REASON\""]));
    assert!(server.cli(&["agent", "ls"]).await.ok().contains("greeter"));
    assert!(server.cli(&["run", "ls"]).await.ok().contains("succeeded"));
    assert!(server.cli(&["wakeup", "ls", "--agent", "greeter"]).await.ok().contains("world"));
    assert!(server.cli(&["events"]).await.ok().contains("wakeup.completed"));
    assert!(server.cli(&["agent", "pause", "greeter", "--reason", "lunch"]).await.ok().contains("paused"));
    assert!(server.cli(&["why", "greeter"]).await.ok().contains("lunch"));
    assert!(server.cli(&["agent", "resume", "greeter"]).await.ok().contains("active"));
    assert!(server.cli(&["agent", "rm", "greeter"]).await.ok().contains("terminated"));
    assert!(server.cli(&["agent", "ls"]).await.ok().contains("no agents yet"));
}

#[tokio::test]
async fn wake_wait_exits_with_the_outcome_of_the_run_even_if_that_is_over_at_once() {
    let server = Server::start().await;
    let policy = json!({ "retry": { "delays_s": [3_600], "jitter": 0 } });
    server.process_agent_with("bad", "echo trouble >&2; exit 3", policy.clone()).await;
    for _ in 0..5 {
        let woken = server.cli(&["wake", "bad", "--wait"]).await;
        assert_eq!(woken.code, 1, "{}{}", woken.stdout, woken.stderr);
        assert!(
            woken.stderr.contains("status 3: trouble") && woken.stderr.contains("hint: `wakeful why run_"),
            "{}",
            woken.stderr
        );
    }
    server.process_agent("good", "echo fine").await;
    let run = server.cli(&["wake", "good", "--wait", "--json"]).await.json();
    assert_eq!((&run["status"], &run["exit_code"]), (&json!("succeeded"), &json!(0)));
    let quota = r#"echo '{"outcome": "failed", "error_code": "usage_limit"}' > "$WAKEFUL_RESULT_FILE""#;
    server.process_agent_with("limited", quota, policy).await;
    assert_eq!(server.cli(&["wake", "limited", "--wait"]).await.code, 75);
}

#[tokio::test]
async fn wake_wait_goes_on_over_a_crash_of_the_server() {
    let mut server = Server::start().await;
    let agent = server.process_agent("ann", "echo one; until test -e go; do sleep 0.02; done; echo two").await;
    let mut command = std::process::Command::new(crate::support::program());
    crate::support::clean(&mut command, server.outside())
        .env("WAKEFUL_DATA_DIR", server.path())
        .args(["wake", "ann", "--wait"]);
    let home = server.path().join("agents").join(&agent);
    let waiting = crate::support::printed(command);
    let crash = async {
        server.until("/companies/default/runs", |runs| runs["items"][0]["status"] == "running").await;
        server.kill9();
        server.start_again().await;
        std::fs::write(home.join("go"), "").unwrap();
    };
    let (printed, ()) = tokio::join!(waiting, crash);
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    assert!(printed.stdout.starts_with("one\ntwo\n\nrun_"), "{}", printed.stdout);
}

#[tokio::test]
async fn a_mistake_in_the_command_line_exits_2() {
    let server = Server::start().await;
    server.process_agent("ann", "true").await;
    let cases: &[(&[&str], &[&str])] = &[
        (&["nope"], &["nope"]),
        (&["wake"], &["AGENT"]),
        (&["wake", "ann", "--nope"], &["--nope"]),
        (&["wake", "ann", "--in", "soon"], &["--in"]),
        (&["wake", "ann", "--at", "noon"], &["--at"]),
        (&["wake", "ann", "--in", "5m", "--at", "2026-11-21T09:00:00Z"], &["--at"]),
        (&["wake", "ann", "--payload", "[1]"], &["--payload"]),
        (&["wake", "ann", "--priority", "101"], &["priority", "100"]),
        (&["agent", "add", "two words", "--", "true"], &["name"]),
        (&["agent", "add", "bob"], &["adapter.command"]),
        (&["agent", "add", "bob", "--adapter", "abacus"], &["adapter.type"]),
        (&["agent", "add", "bob", "--env", "NOVALUE", "--", "true"], &["NAME=VALUE"]),
        (&["agent", "add", "bob", "--retry", "often", "--", "true"], &["--retry"]),
        (&["run", "ls", "--status", "asleep"], &["status"]),
        (&["run", "ls", "--limit", "0"], &["limit"]),
        (&["inbox"], &["WAKEFUL_RUN"]),
        (&["done"], &["WAKEFUL_RUN"]),
    ];
    for (arguments, words) in cases {
        server.cli(arguments).await.assert_failed(2, words);
    }
    let elsewhere = server.outside().join("elsewhere");
    let listen = |address| ["up", "--listen", address, "--data-dir", elsewhere.to_str().unwrap()];
    server.cli(&listen("nowhere")).await.assert_failed(2, &["--listen", "must be HOST:PORT"]);
    server.cli(&listen("203.0.113.1:1")).await.assert_failed(2, &["hint: name a free address with --listen"]);
    assert_eq!(server.all("/companies/default/agents").await.len(), 1);
    assert_eq!(server.all("/companies/default/wakeups").await.len(), 0);
    assert_eq!(server.cli(&["--version"]).await.ok(), format!("wakeful {}\n", env!("CARGO_PKG_VERSION")));
    assert!(server.cli(&["help", "wake"]).await.ok().contains("--payload"));
}

#[tokio::test]
async fn what_is_not_there_exits_3_what_does_not_answer_4_and_a_refusal_5() {
    let mut server = Server::start().await;
    let ann = server.process_agent("ann", "true").await;
    let nothing = "00000000000000000000000000";
    for arguments in [
        ["agent", "show", "nobody"],
        ["wake", "nobody", "--json"],
        ["run", "show", &format!("run_{nothing}")],
        ["run", "logs", &format!("run_{nothing}")],
        ["wakeup", "show", &format!("wak_{nothing}")],
        ["agent", "show", &format!("agt_{nothing}")],
        ["--company", "nowhere", "events"],
        ["--json", "why", "nobody"],
        ["--json", "why", &format!("wak_{nothing}")],
        ["run", "show", "../companies"],
    ] {
        server.cli(&arguments).await.assert_failed(3, &["error: "]);
    }
    server.cli(&["agent", "show", "nobody"]).await.assert_failed(3, &["hint: `wakeful agent ls`"]);
    server.post(&format!("/agents/{ann}/pause"), &json!({})).await;
    server.cli(&["wake", "ann"]).await.assert_failed(5, &["paused", "resume"]);
    server.cli(&["agent", "add", "ann", "--", "true"]).await.assert_failed(5, &["ann"]);
    let wrong = server.outside().join("wrong.token");
    std::fs::write(&wrong, "nope\n").unwrap();
    server.cli(&["agent", "ls", "--token-file", wrong.to_str().unwrap()]).await.assert_failed(5, &["token"]);
    server.cli(&["agent", "ls", "--server", "http://127.0.0.1:1"]).await.assert_failed(4, &["127.0.0.1:1", "hint: "]);
    let empty = server.outside().join("empty");
    server
        .cli(&["--data-dir", empty.to_str().unwrap(), "agent", "ls"])
        .await
        .assert_failed(4, &["hint: start one with `wakeful up`"]);
    server.kill9();
    server.cli(&["agent", "ls"]).await.assert_failed(4, &["does not answer", "hint: "]);
}

#[tokio::test]
async fn global_options_stand_before_or_after_the_subcommand() {
    let server = Server::start().await;
    server.process_agent("ann", "true").await;
    server.post("/companies", &json!({ "slug": "other", "name": "Other" })).await;
    let elsewhere = server.outside().join("elsewhere");
    std::fs::write(&elsewhere, server.token()).unwrap();
    let (dir, token) = (server.path().to_str().unwrap(), elsewhere.to_str().unwrap());
    let variables = [("WAKEFUL_DATA_DIR", "/nowhere")];
    for arguments in [
        vec!["--data-dir", dir, "--json", "agent", "ls"],
        vec!["agent", "ls", "--data-dir", dir, "--json"],
        vec!["agent", "--data-dir", dir, "ls", "--json", "--company", "default"],
        vec!["--server", server.address(), "--token-file", token, "agent", "ls", "--json"],
        vec!["agent", "ls", "--json", "--server", server.address(), "--token-file", token],
    ] {
        let list = server.cli_with(&arguments, &variables).await.json();
        assert_eq!(list["items"][0]["name"], "ann", "{arguments:?}");
    }
    let variables =
        [("WAKEFUL_DATA_DIR", "/nowhere"), ("WAKEFUL_URL", server.address()), ("WAKEFUL_TOKEN", server.token())];
    assert_eq!(server.cli_with(&["agent", "ls", "--json"], &variables).await.json()["items"][0]["name"], "ann");
    let list = server.cli_with(&["agent", "ls", "--json", "--company", "other"], &variables).await.json();
    assert_eq!(list["items"], json!([]));
}

#[tokio::test]
async fn json_documents_are_those_of_the_api() {
    let server = Server::start().await;
    let json = async |arguments: &[&str]| server.cli(&[&["--json"], arguments].concat()).await.json();
    let ann = json(&[
        "agent",
        "add",
        "ann",
        "--title",
        "Painter",
        "--retry",
        "none",
        "--max-duration",
        "1m30s",
        "--",
        "echo",
        "hi",
    ])
    .await;
    assert_eq!((&ann["title"], &ann["retry"]["delays_s"]), (&json!("Painter"), &json!([])));
    assert_eq!((&ann["limits"]["max_duration_s"], &ann["adapter"]["command"]), (&json!(90), &json!(["echo", "hi"])));
    assert_eq!(json(&["agent", "show", &id(&ann)]).await, json(&["agent", "show", "ann"]).await);
    assert_eq!(json(&["agent", "ls"]).await["items"][0]["id"], ann["id"]);
    let task = json(&["task", "add", "Paint", "--assignee", "ann"]).await;
    assert_eq!(json(&["task", "show", &id(&task)]).await["assignee"], ann["id"]);
    assert_eq!(json(&["task", "ls"]).await["items"][0]["id"], task["id"]);
    let later = json(&[
        "wake",
        "ann",
        "--task",
        &id(&task),
        "-m",
        "x",
        "--priority",
        "5",
        "--in",
        "1h",
        "--key",
        "k",
        "--payload",
        "{\"a\": 1}",
    ])
    .await;
    assert_eq!(
        (&later["payload"], &later["priority"], &later["idempotency_key"]),
        (&json!({ "a": 1 }), &json!(5), &json!("k"))
    );
    assert_eq!(json(&["wakeup", "show", &id(&later)]).await["waiting"]["reason"], "not_due");
    assert_eq!(json(&["wakeup", "ls", "--status", "pending"]).await["items"][0]["id"], later["id"]);
    assert_eq!(json(&["wakeup", "cancel", &id(&later)]).await["status"], "cancelled");
    assert_eq!(json(&["task", "set", &id(&task), "done"]).await["status"], "done");
    let run = json(&["wake", "ann", "--wait"]).await;
    assert_eq!(json(&["run", "show", &id(&run)]).await, run);
    assert_eq!(json(&["run", "ls"]).await["items"][0], run);
    assert_eq!(json(&["run", "logs", &id(&run)]).await["text"], "hi");
    assert_eq!(server.cli(&["run", "logs", &id(&run), "--tail", "1"]).await.ok(), "hi\n");
    assert_eq!(server.cli(&["run", "logs", "-f", &id(&run)]).await.ok(), "hi\n");
    for subject in ["ann", &id(&later), &id(&run), &id(&task)] {
        assert!(json(&["why", subject]).await["summary"].is_string());
    }
    let events = server.cli(&["events", "--json"]).await.ok();
    let kinds: Vec<Value> =
        events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].clone()).collect();
    assert!(kinds.contains(&json!("run.finished")) && kinds.contains(&json!("agent.status")), "{kinds:?}");
    assert!(
        json(&["doctor"]).await["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|finding| finding["subject"] == "invariants")
    );
    for verb in ["pause", "resume"] {
        assert_eq!(json(&["agent", verb, "ann"]).await["id"], ann["id"]);
    }
    assert_eq!(json(&["agent", "rm", "ann"]).await, json!({ "removed": ann["id"] }));
}

#[tokio::test]
async fn a_run_is_cancelled_from_the_command_line_and_a_dead_letter_tried_again() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "test -e go && exit 0; touch go; exec sleep 600").await;
    let wakeup = server.wake(&agent, json!({})).await;
    let run = id(&server.running(&wakeup).await);
    server.until("/me", |_| server.path().join("agents").join(&agent).join("go").exists()).await;
    assert!(server.cli(&["run", "cancel", &run, "--reason", "enough"]).await.ok().contains("being stopped"));
    assert_eq!(server.finished(&run).await["stop"]["reason"], "enough");
    server.cli(&["wakeup", "retry", &wakeup]).await.assert_failed(5, &["cancelled"]);
    server.cli(&["run", "cancel", &run]).await.assert_failed(5, &["cancelled"]);
    let broken = server.process_agent("broken", "exit 1").await;
    let run = server.run_of(&broken, json!({})).await;
    let wakeup = id(&run["wakeups"][0]);
    assert!(server.cli(&["wakeup", "retry", &wakeup]).await.ok().contains("pending"));
    assert_eq!(server.settled(&wakeup).await["status"], "failed");
}

#[tokio::test]
async fn completions_are_printed_for_every_shell() {
    let server = Server::start().await;
    for shell in ["bash", "zsh", "fish"] {
        let script = server.cli(&["completions", shell]).await.ok();
        assert!(script.contains("wakeful") && script.contains("max-concurrent-runs"), "{shell}");
    }
}

#[tokio::test]
async fn the_demo_passes_and_leaves_nothing_behind() {
    let server = Server::start().await;
    let place = server.outside().join("demo");
    std::fs::create_dir(&place).unwrap();
    let demo = server.cli_with(&["demo"], &[("TMPDIR", place.to_str().unwrap())]).await.ok();
    assert!(!demo.contains("BROKEN") && !demo.contains('✗'), "{demo}");
    assert!(demo.contains("every wakeup has one fate"), "{demo}");
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
    server.until("/me", |_| server.left_over().is_empty()).await;
}
