//! Gates and actions with real programs and a real service: what they are asked, what follows from their answers,
//! and that nothing of them is left.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use wakeful_domain::signature::{key_of, verify};
use wakeful_domain::time::Timestamp;

use crate::support::service::{Reply, Service};
use crate::support::{LOOK_EVERY, Server, id};

/// A schedule that fires by hand alone.
async fn schedule(server: &Server, name: &str, target: Value, gate: Value) -> String {
    let body = json!({ "name": name, "trigger": { "at": "2030-01-01T00:00:00Z" }, "target": target, "gate": gate });
    let (status, made) = server.post("/companies/default/schedules", &body).await;
    assert_eq!(status, 201, "{made}");
    id(&made)
}

fn sh(script: &str) -> Value {
    json!(["/bin/sh", "-c", script])
}

/// Fires a schedule, and waits for what becomes of the slot.
async fn fired(server: &Server, schedule: &str) -> Value {
    let (status, slot) = server.post(&format!("/schedules/{schedule}/run"), &json!({})).await;
    assert_eq!((status, &slot["status"]), (202, &json!("asked")), "{slot}");
    settled(server, schedule, &slot).await
}

async fn settled(server: &Server, schedule: &str, slot: &Value) -> Value {
    let same = |slots: &Value| {
        let slots = slots["items"].as_array()?;
        slots.iter().find(|known| known["slot_at"] == slot["slot_at"] && known["status"] != "asked").cloned()
    };
    let slots = server.until(&format!("/schedules/{schedule}/slots"), |slots| same(slots).is_some()).await;
    same(&slots).unwrap()
}

#[tokio::test]
async fn a_program_decides_whether_an_agent_is_woken() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    let heard = server.path().join("heard.json");
    let script = format!(
        "cat > {0}; if grep -q seen {0}; then echo '{{\"wake\": false}}'; else \
         echo '{{\"wake\": true, \"message\": \"2 mails\", \"payload\": {{\"n\": 2}}, \"state\": {{\"seen\": 2}}}}'; fi",
        heard.display()
    );
    let wake = json!({ "wake": { "agent": agent } });
    let schedule_id = schedule(&server, "mail", wake, json!({ "command": sh(&script) })).await;
    let slot = fired(&server, &schedule_id).await;
    assert_eq!((&slot["status"], &slot["answer"]["gate"]["message"]), (&json!("fired"), &json!("2 mails")), "{slot:#}");
    let wakeup = server.settled(slot["wakeup"].as_str().unwrap()).await;
    assert_eq!((&wakeup["reason"], &wakeup["payload"]), (&json!("2 mails"), &json!({ "n": 2 })), "{wakeup:#}");
    let asked: Value = serde_json::from_slice(&fs::read(&heard).unwrap()).unwrap();
    assert_eq!((&asked["schedule"]["name"], &asked["slot_at"]), (&json!("mail"), &slot["slot_at"]), "{asked:#}");

    let slot = fired(&server, &schedule_id).await;
    assert_eq!((&slot["status"], &slot["reason"]), (&json!("skipped"), &json!("gate")), "{slot:#}");
    assert_eq!(server.show(&format!("/schedules/{schedule_id}")).await["wakes_avoided"], 1);
    assert_eq!(server.show("/companies/default/stats").await["wakes_avoided"], 1);
    let said = server.cli(&["schedule", "show", "mail"]).await.ok();
    assert!(said.contains("1 wakes for which there was nothing to do") && said.contains("skipped gate"), "{said}");
    server.assert_sound().await;
}

#[tokio::test]
async fn a_gate_that_hangs_is_ended_with_all_it_started_and_counts_as_it_says() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    let pid_file = server.path().join("pid");
    let script = format!("(trap '' TERM; setsid sleep 300 & echo $! > {}); sleep 300", pid_file.display());
    let gate = json!({ "command": sh(&script), "timeout": "1s" });
    let open = schedule(&server, "open", json!({ "wake": { "agent": agent } }), gate.clone()).await;
    let slot = fired(&server, &open).await;
    assert_eq!(slot["status"], "fired", "{slot:#}");
    assert!(slot["answer"]["gate"]["error"].as_str().unwrap().contains("longer than 1 s"), "{slot:#}");
    let pid = fs::read_to_string(&pid_file).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "what it started is gone");
    let mut gate = gate;
    gate["on_failure"] = json!("fail_closed");
    let closed = schedule(&server, "closed", json!({ "wake": { "agent": agent } }), gate).await;
    let slot = fired(&server, &closed).await;
    assert_eq!((&slot["status"], &slot["reason"]), (&json!("skipped"), &json!("gate_failed")), "{slot:#}");
    let left = fs::read_dir(server.path().join("asked")).unwrap().count();
    assert_eq!(left, 0, "no directory is left");
    server.assert_sound().await;
}

#[tokio::test]
async fn a_question_survives_a_kill_of_the_server_and_wakes_once() {
    let mut server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    let count = server.path().join("count");
    let script = format!("echo x >> {}; sleep 2; echo '{{\"wake\": true}}'", count.display());
    let gate = json!({ "command": sh(&script), "timeout": "3s" });
    let gated = schedule(&server, "slow", json!({ "wake": { "agent": agent } }), gate).await;
    let (_, slot) = server.post(&format!("/schedules/{gated}/run"), &json!({})).await;
    while !count.exists() {
        sleep(LOOK_EVERY).await;
    }
    server.kill9();
    server.start_again().await;
    let slot = settled(&server, &gated, &slot).await;
    assert_eq!(slot["status"], "fired", "{slot:#}");
    let wakeups = server.show("/companies/default/wakeups?source=schedule").await;
    assert_eq!(wakeups["items"].as_array().unwrap().len(), 1, "{wakeups:#}");
    assert_eq!(fs::read_to_string(&count).unwrap().lines().count(), 2, "it was asked again");
    server.assert_sound().await;
}

#[tokio::test]
async fn a_service_is_asked_with_a_signature_and_an_action_of_ones_own_tells_people() {
    let server = Server::start_with(&["--http-allow", "127.0.0.0/8"], &[]).await;
    let service = Service::start().await;
    let url = format!("{}/gate", service.address);
    let action = json!({ "action": { "name": "disk-watch", "config": { "command": sh("cat >/dev/null; \
        echo '{\"notify\": true, \"message\": \"the disk is nearly full\", \"metadata\": {\"free\": 3}}'") } } });
    let watched = schedule(&server, "watch", action, json!({ "url": url })).await;
    service.reply(Reply::new(200, r#"{"wake": true, "state": {"n": 1}}"#));
    let slot = fired(&server, &watched).await;
    assert_eq!(slot["status"], "fired", "{slot:#}");
    assert_eq!(slot["answer"]["gate"]["wake"], true);
    assert_eq!(slot["answer"]["action"]["message"], "the disk is nearly full");
    assert!(slot["answer"]["action"]["notification"].as_str().unwrap().starts_with("ntf_"), "{slot:#}");
    let received = service.received().remove(0);
    let secret = server.show(&format!("/schedules/{watched}/signing-secret")).await;
    let key = key_of(secret["signing_secret"].as_str().unwrap());
    let header = |name: &str| received.headers[name].to_str().unwrap();
    let at_s = header("webhook-timestamp").parse().unwrap();
    let now = Timestamp::from_millis(at_s * 1_000);
    assert!(verify(&key, header("webhook-id"), at_s, &received.bytes, header("webhook-signature"), now));

    service.reply(Reply::new(500, "oops").after(Duration::from_millis(10)));
    let slot = fired(&server, &watched).await;
    assert!(slot["answer"]["gate"]["error"].as_str().unwrap().contains("status 500"), "{slot:#}");
    assert_eq!(service.received()[1].body["state"], json!({ "n": 1 }));
    server.assert_sound().await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_its_field() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    let wake = json!({ "wake": { "agent": agent } });
    let every = json!({ "every": "5m" });
    let check = async |body: Value, field: &str| {
        let (status, problem) = server.post("/companies/default/schedules", &body).await;
        assert_eq!((status, problem["errors"][0]["field"].as_str()), (422, Some(field)), "{problem:#}");
    };
    check(json!({ "name": "a", "trigger": every, "target": wake, "gate": {} }), "gate").await;
    check(json!({ "name": "a", "trigger": every, "target": wake, "gate": { "command": [] } }), "gate.command").await;
    let too_long = json!({ "url": "https://x/", "timeout": "10m" });
    check(json!({ "name": "a", "trigger": every, "target": wake, "gate": too_long }), "gate.timeout").await;
    let action = |action: Value| json!({ "name": "a", "target": { "action": action } });
    check(action(json!({ "name": "task-scan" })), "target.action.agent").await;
    check(action(json!({ "name": "tsk-scan", "agent": agent })), "target.action.config").await;
    check(json!({ "name": "a", "target": wake }), "trigger").await;
    let model = json!({ "name": "a", "trigger": every, "target": { "wake": { "agent": agent, "model": "small" } } });
    check(model, "target.wake.model").await;
    let heartbeat = json!({ "name": "b", "adapter": { "type": "process", "command": "true" },
        "heartbeat": { "enabled": true, "model": "small" } });
    let (status, problem) = server.post("/companies/default/agents", &heartbeat).await;
    assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("heartbeat.model")), "{problem:#}");

    // What is built in has a time of its own.
    let said = server.cli(&["schedule", "add", "daily", "--action", "daily-summary"]).await.ok();
    assert!(said.starts_with("daily: every day at 09:00"), "{said}");
}
