//! A configuration file against a real server: applied, applied again, changed, and never against a person's hand.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Server, id};

const FIRST: &str = r#"
[[companies]]
slug = "acme"
name = "Acme"
time_zone = "Europe/Paris"

[[agents]]
company = "acme"
name = "ann"
adapter = { type = "process", command = "true" }
heartbeat = { enabled = true, every = "30m" }
capabilities = ["rust"]

[[schedules]]
company = "acme"
name = "standup"
trigger = { cron = "0 9 * * MON-FRI" }
target = { wake = { agent = "ann", reason = "stand up" } }

[[channels]]
company = "acme"
name = "ops"
target = { command = { command = ["true"] } }
filter = { min_level = "warning", agents = ["ann"] }

[heartbeat]
company = "acme"
enabled = true
actions = [
  { name = "task-scan", schedule = "*/5 * * * *", agent = "ann", config = { min_reward = 100 } },
  { name = "daily-summary" },
]
"#;

async fn apply(server: &Server, text: &str) -> Vec<(String, String)> {
    let file = server.path().join("wakeful.toml");
    fs::write(&file, text).unwrap();
    let said = server.cli(&["--json", "apply", "--config", file.to_str().unwrap()]).await.ok();
    let said: Value = serde_json::from_str(&said).unwrap();
    let acts = said["items"].as_array().unwrap().iter();
    let acts = acts.map(|act| (act["name"].as_str().unwrap().to_owned(), act["step"].as_str().unwrap().to_owned()));
    acts.filter(|(_, step)| step != "same").collect()
}

fn acts(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, step)| ((*name).to_owned(), (*step).to_owned())).collect()
}

async fn named(server: &Server, list: &str, name: &str) -> Value {
    server.show(&format!("/companies/acme/{list}?name={name}")).await["items"][0].clone()
}

#[tokio::test]
async fn what_is_declared_is_made_once_and_changes_only_as_the_declaration_does() {
    let server = Server::start().await;
    let made = apply(&server, FIRST).await;
    let names = ["acme", "ann", "ops", "standup", "task-scan for ann", "daily-summary"];
    assert_eq!(made, acts(&names.map(|name| (name, "create"))));
    assert_eq!(apply(&server, FIRST).await, acts(&[]), "again is nothing");
    let standup = named(&server, "schedules", "standup").await;
    assert!(standup["words"].as_str().unwrap().contains("Europe/Paris"), "{standup:#}");
    let ann = named(&server, "agents", "ann").await;
    assert_eq!(standup["target"]["wake"]["agent"], ann["id"]);
    assert_eq!(named(&server, "channels", "ops").await["filter"]["agents"], json!([ann["id"]]));
    let summary = named(&server, "schedules", "daily-summary").await;
    assert!(summary["words"].as_str().unwrap().starts_with("every day at 09:00"), "{summary:#}");

    // What a person has switched off stays off, whatever else the declaration changes.
    let off = json!({ "heartbeat": { "enabled": false, "every": "30m" } });
    server.patch(&format!("/agents/{}", id(&ann)), &off).await;
    server.post(&format!("/schedules/{}/pause", id(&standup)), &json!({ "note": "holidays" })).await;
    let changed = FIRST.replace("every = \"30m\"", "every = \"10m\"").replace("0 9 * * MON-FRI", "30 9 * * MON-FRI");
    assert_eq!(apply(&server, &changed).await, acts(&[("ann", "change"), ("standup", "change")]));
    let ann = named(&server, "agents", "ann").await;
    assert_eq!((&ann["heartbeat"]["enabled"], &ann["heartbeat"]["every"]), (&json!(false), &json!("10m")));
    let standup = named(&server, "schedules", "standup").await;
    assert_eq!((&standup["state"], &standup["trigger"]["cron"]), (&json!("paused"), &json!("30 9 * * MON-FRI")));

    // What a person has removed stays so.
    server.delete(&format!("/schedules/{}", id(&summary))).await;
    assert_eq!(apply(&server, &changed).await, acts(&[("daily-summary", "gone")]));

    // A section that is switched off rests; one that is declared no more goes, and nothing else does.
    server
        .post("/companies/acme/agents", &json!({ "name": "bob", "adapter": { "type": "process", "command": "true" } }))
        .await;
    let resting = changed.replace("enabled = true\nactions", "enabled = false\nactions");
    let told = apply(&server, &resting).await;
    assert_eq!(told, acts(&[("task-scan for ann", "change"), ("daily-summary", "gone")]));
    let scan = named(&server, "schedules", "task-scan%20for%20ann").await;
    assert_eq!(scan["state"], "paused");
    let less = resting.replace("{ name = \"daily-summary\" },", "");
    let less = less.replace("[[schedules]]", "[[unused]]").split("[[unused]]").next().unwrap().to_owned();
    let gone = apply(&server, &less).await;
    assert_eq!(
        gone,
        acts(&[("daily-summary", "remove"), ("standup", "remove"), ("task-scan for ann", "remove"), ("ops", "remove")])
    );
    assert_eq!(named(&server, "agents", "bob").await["state"], "active");
    server.assert_sound().await;
}

#[tokio::test]
async fn configurations_leave_each_others_objects_alone_and_what_is_said_no_more_is_as_if_never_said() {
    let server = Server::start().await;
    let agent = |name: &str, more: &str| {
        format!("[[agents]]\nname = \"{name}\"\nadapter = {{ type = \"process\", command = \"true\" }}\n{more}\n")
    };
    let ann = agent("ann", "heartbeat = { enabled = true, every = \"1h\" }\nmax_concurrent_runs = 3");
    assert_eq!(apply(&server, &ann).await, acts(&[("ann", "create")]));
    let other = format!("configuration = \"others\"\n{}", agent("bob", ""));
    assert_eq!(apply(&server, &other).await, acts(&[("bob", "create")]));
    assert_eq!(apply(&server, &ann).await, acts(&[]), "each its own");
    let theirs = format!("configuration = \"others\"\n{}{}", agent("bob", ""), agent("ann", "title = \"x\""));
    fs::write(server.path().join("wakeful.toml"), &theirs).unwrap();
    let file = server.path().join("wakeful.toml");
    let refused = server.cli(&["apply", "--config", file.to_str().unwrap()]).await;
    assert_eq!(refused.code, 5, "{}", refused.stdout);

    // Its timer is gone with its words, and its other settings are as they would be without.
    let timers = "/companies/default/schedules";
    assert_eq!(server.show(timers).await["items"].as_array().unwrap().len(), 1);
    assert_eq!(apply(&server, &agent("ann", "")).await, acts(&[("ann", "change")]));
    assert_eq!(server.show(timers).await["items"].as_array().unwrap().len(), 0);
    let listed = server.show("/companies/default/agents?name=ann").await;
    assert_eq!(listed["items"][0]["max_concurrent_runs"], 1);
    server.assert_sound().await;
}

#[tokio::test]
async fn what_is_there_already_is_taken_over_only_when_asked_for() {
    let server = Server::start().await;
    server.process_agent("ann", "sleep 1").await;
    let text = "[[agents]]\nname = \"ann\"\nadapter = { type = \"process\", command = \"true\" }\n";
    let file = server.path().join("wakeful.toml");
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let refused = server.cli(&["apply", "--config", file]).await;
    assert_eq!(refused.code, 5);
    assert!(refused.stdout.contains("! agent ann: is there already"), "{}", refused.stdout);
    let dry = server.cli(&["apply", "--config", file, "--adopt", "--dry-run"]).await.ok();
    assert!(dry.contains("+ agent ann, taken over"), "{dry}");
    let listed = server.show("/companies/default/agents?name=ann").await;
    assert_eq!(listed["items"][0]["adapter"]["command"], "sleep 1");
    server.cli(&["apply", "--config", file, "--adopt"]).await.ok();
    let listed = server.show("/companies/default/agents?name=ann").await;
    assert_eq!(listed["items"][0]["adapter"]["command"], "true");
    assert_eq!(server.cli(&["apply", "--config", file]).await.ok().trim(), "= 1 as declared");
}

#[tokio::test]
async fn a_server_starts_with_a_configuration_and_refuses_one_with_mistakes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("wakeful.json");
    let agent = json!({ "name": "ann", "adapter": { "type": "process", "command": "true" } });
    let actions = json!([{ "name": "task-scan", "schedule": "*/5 * * * *", "agent": "ann", "config": {} }]);
    let text = json!({ "agents": [agent], "heartbeat": { "enabled": true, "actions": actions } });
    fs::write(&file, text.to_string()).unwrap();
    let server = Server::start_with(&["--config", file.to_str().unwrap()], &[]).await;
    let is_there = |list: &Value| list["items"].as_array().is_some_and(|items| !items.is_empty());
    let found = server.until("/companies/default/schedules?name=task-scan%20for%20ann", is_there).await;
    assert_eq!(found["items"][0]["target"]["action"]["name"], "task-scan");

    let bad = dir.path().join("bad.toml");
    fs::write(&bad, "[[agents]]\nname = \"ann\"\nadaptr = 1\n\n[[schedules]]\nname = 3\n").unwrap();
    let told = server.cli(&["check", "--config", bad.to_str().unwrap()]).await;
    assert_eq!(told.code, 2);
    assert!(told.stderr.contains("bad.toml:3:1: unknown key `adaptr`: did you mean `adapter`?"), "{}", told.stderr);
    assert!(told.stderr.contains("bad.toml:6:1: needs a `name`, a text"), "{}", told.stderr);
    let other = dir.path().join("data");
    let up =
        ["--data-dir", other.to_str().unwrap(), "up", "--listen", "127.0.0.1:0", "--config", bad.to_str().unwrap()];
    let refused = server.cli(&up).await;
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(!other.exists(), "nothing was made");
}
