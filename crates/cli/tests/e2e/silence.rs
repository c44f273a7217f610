//! Live runs from which nothing is heard: nudged, shown to a person, stopped, once each. What is
//! said to an agent while it works reaches it or waits for it, and is never lost.

use serde_json::{Value, json};

use crate::support::{Server, id};

async fn events(server: &Server, run: &str) -> Vec<String> {
    let events = server.show(&format!("/runs/{run}/events")).await;
    let kind = |event: &Value| event["type"].as_str().unwrap().to_owned();
    events["items"].as_array().unwrap().iter().map(kind).collect()
}

#[tokio::test]
async fn a_silent_run_is_nudged_shown_and_stopped() {
    let server = Server::start().await;
    let more = json!({ "limits": { "stale_after_s": 1, "grace_s": 1 } });
    let agent = server.process_agent_with("mute", "sleep 600", more).await;
    let wakeup = server.wake(&agent, json!({})).await;
    let run = id(&server.running(&wakeup).await);
    let open =
        |found: &Value| found["items"].as_array().is_some_and(|items| items.iter().any(|one| one["kind"] == "silent"));
    server.until("/companies/default/escalations", open).await;
    let ended = server.finished(&run).await;
    assert_eq!((&ended["status"], &ended["error_code"]), (&json!("failed"), &json!("stalled")), "{ended:#}");
    let kinds = events(&server, &run).await;
    let count = |kind: &str| kinds.iter().filter(|found| *found == kind).count();
    assert_eq!((count("nudged"), count("silent"), count("stalled")), (1, 1, 1), "{kinds:?}");
    let escalations = server.show("/companies/default/escalations").await;
    let silent = escalations["items"].as_array().unwrap().iter().find(|one| one["kind"] == "silent").unwrap();
    assert_eq!(silent["status"], "resolved", "the end of the run resolves it");
    server.assert_sound().await;
}

#[tokio::test]
async fn output_and_progress_are_signs_of_work_and_a_mere_process_is_none() {
    let server = Server::start().await;
    let more = json!({ "limits": { "stale_after_s": 2 } });
    let script = "for i in 1 2 3 4 5 6; do sleep 0.8; echo $i; done";
    let talking = server.process_agent_with("talking", script, more.clone()).await;
    let script =
        "for i in 1 2 3 4 5 6; do sleep 0.8; wakeful escalate >/dev/null 2>&1; curl -s --version >/dev/null; done";
    let mute = server.process_agent_with("mute", script, more).await;
    let (first, second) = (server.wake(&talking, json!({})).await, server.wake(&mute, json!({})).await);
    let (first, second) = (id(&server.running(&first).await), id(&server.running(&second).await));
    assert_eq!(server.finished(&first).await["status"], "succeeded");
    assert_eq!(server.finished(&second).await["status"], "succeeded");
    assert!(!events(&server, &first).await.contains(&"nudged".to_owned()));
    assert!(events(&server, &second).await.contains(&"nudged".to_owned()));
}

/// An agent that speaks as Claude Code does: each message is a turn, the end of its input its end.
const CONVERSATION: &str = r#"
    echo '{"type":"system","subtype":"init","session_id":"6f6b1c1e-0000-4000-8000-000000000000"}'
    while read -r line; do
        printf '%s\n' "$line" | sed 's/^{/{"isReplay":true,"session_id":"6f6b1c1e-0000-4000-8000-000000000000",/'
        n=$((n + 1)); sleep 0.5
        echo '{"type":"result","subtype":"success","is_error":false,"result":"turn '$n'","session_id":"6f6b1c1e-0000-4000-8000-000000000000"}'
    done
"#;

#[tokio::test]
async fn what_is_said_to_a_live_agent_is_its_next_turn_and_its_run_takes_the_wakeup_over() {
    let server = Server::start().await;
    let adapter = json!({ "type": "claude", "command": ["/bin/sh", "-c", CONVERSATION] });
    let agent = server.agent(&json!({ "name": "ann", "adapter": adapter, "retry": { "delays_s": [] } })).await;
    let first = server.wake(&agent, json!({})).await;
    let run = id(&server.running(&first).await);
    let printed = server.cli(&["run", "steer", &run, "-m", "look at the tests first", "--json"]).await;
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    let steered: Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!(steered["delivery"], "session", "{steered:#}");
    let ended = server.finished(&run).await;
    assert_eq!((&ended["status"], &ended["summary"]), (&json!("succeeded"), &json!("turn 2")), "{ended:#}");
    assert!(events(&server, &run).await.contains(&"steered".to_owned()));
    let wakeup = server.settled(steered["wakeup"]["id"].as_str().unwrap()).await;
    assert_eq!((&wakeup["status"], &wakeup["run_id"]), (&json!("completed"), &json!(run)), "{wakeup:#}");
    assert_eq!(server.post(&format!("/runs/{run}/steer"), &json!({ "message": "late" })).await.0, 409);
    server.assert_sound().await;
}

#[tokio::test]
async fn each_of_several_messages_is_a_turn_of_its_own_and_none_is_said_twice() {
    let server = Server::start().await;
    let adapter = json!({ "type": "claude", "command": ["/bin/sh", "-c", CONVERSATION] });
    let agent = server.agent(&json!({ "name": "ann", "adapter": adapter, "retry": { "delays_s": [] } })).await;
    let run = id(&server.running(&server.wake(&agent, json!({})).await).await);
    let mut said = Vec::new();
    for number in 0..5 {
        let body = json!({ "message": format!("message {number}") });
        let (status, steered) = server.post(&format!("/runs/{run}/steer"), &body).await;
        assert_eq!((status, &steered["delivery"]), (202, &json!("session")), "{steered:#}");
        said.push(id(&steered["wakeup"]));
    }
    let ended = server.finished(&run).await;
    assert_eq!((&ended["status"], &ended["summary"]), (&json!("succeeded"), &json!("turn 6")), "{ended:#}");
    for wakeup in said {
        assert_eq!(server.settled(&wakeup).await["run_id"], json!(run));
    }
    assert_eq!(server.all("/companies/default/runs").await.len(), 1);
}

#[tokio::test]
async fn a_run_that_talked_while_the_server_was_away_was_not_silent() {
    let mut server = Server::start().await;
    let more = json!({ "limits": { "stale_after_s": 1 } });
    let script = "i=0; while [ $i -lt 24 ]; do i=$((i + 1)); sleep 0.3; echo $i; done";
    let agent = server.process_agent_with("talking", script, more).await;
    let run = id(&server.running(&server.wake(&agent, json!({})).await).await);
    server.kill9();
    // Longer than the time after which a silent run is stopped.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    server.start_again().await;
    assert_eq!(server.finished(&run).await["status"], "succeeded");
}

#[tokio::test]
async fn what_an_agent_does_not_take_waits_for_its_next_run() {
    let server = Server::start().await;
    let agent = server.process_agent("deaf", "test -e \"$HOME/once\" || { touch \"$HOME/once\"; sleep 1; }").await;
    let run = id(&server.running(&server.wake(&agent, json!({})).await).await);
    let (status, steered) = server.post(&format!("/runs/{run}/steer"), &json!({ "message": "hear me" })).await;
    assert_eq!((status, &steered["delivery"]), (202, &json!("inbox")), "{steered:#}");
    let wakeup = server.settled(steered["wakeup"]["id"].as_str().unwrap()).await;
    assert_eq!(wakeup["status"], "completed", "{wakeup:#}");
    assert_ne!(wakeup["run_id"], json!(run), "the follow-up run had it");
}

#[tokio::test]
async fn an_agent_that_lives_on_after_its_result_is_ended_and_its_result_stands() {
    let server = Server::start().await;
    let script = r#"echo '{"type":"system","subtype":"init","session_id":"s"}'
        echo '{"type":"result","subtype":"success","is_error":false,"result":"all done","session_id":"s"}'
        trap '' TERM; sleep 600"#;
    let adapter = json!({ "type": "claude", "command": ["/bin/sh", "-c", script] });
    // That it says nothing more is no silence: it is done.
    let limits = json!({ "grace_s": 1, "stale_after_s": 1 });
    let agent = server.agent(&json!({ "name": "ann", "adapter": adapter, "limits": limits })).await;
    let run = server.run_of(&agent, json!({})).await;
    assert_eq!((&run["status"], &run["summary"]), (&json!("succeeded"), &json!("all done")), "{run:#}");
    assert!(events(&server, &id(&run)).await.contains(&"left_behind".to_owned()));
}

#[tokio::test]
async fn an_agent_that_never_says_a_word_is_ended() {
    let server = Server::start().await;
    let adapter = json!({ "type": "claude", "command": ["/bin/sh", "-c", "sleep 600"] });
    let limits = json!({ "first_output_s": 1, "grace_s": 1 });
    let body = json!({ "name": "ann", "adapter": adapter, "limits": limits, "retry": { "delays_s": [] } });
    let run = server.run_of(&server.agent(&body).await, json!({})).await;
    assert_eq!((&run["status"], &run["error_code"]), (&json!("failed"), &json!("no_first_output")), "{run:#}");
}
