//! What agents, clients and machines do that nobody meant them to: each was once a way to lose a
//! wake, to hang the server or to call a failure a success.

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Server, answer, id, signal};

#[tokio::test]
async fn a_pipe_as_result_file_holds_nobody_up() {
    let server = Server::start().await;
    let agent = server.process_agent("plumber", "mkfifo \"$WAKEFUL_RESULT_FILE\"").await;
    for _ in 0..4 {
        assert_eq!(server.run_of(&agent, json!({})).await["status"], "succeeded");
    }
}

#[tokio::test]
async fn a_run_whose_shim_is_ended_from_outside_is_lost_and_its_wakeup_waits_uncounted() {
    let server = Server::start().await;
    let agent = server.process_agent("long", "test -e \"$HOME/once\" && exit 0; touch \"$HOME/once\"; sleep 60").await;
    let wakeup = server.wake(&agent, json!({})).await;
    let run = id(&server.running(&wakeup).await);
    // A shell that was stopped before it has noted so would sleep once more.
    server.until("/me", |_| server.outside().join("once").exists()).await;
    let record = std::fs::read_to_string(server.run_dir(&run).join("shim-1.json")).unwrap();
    let shim: Value = serde_json::from_str(record.lines().next().unwrap()).unwrap();
    signal(u32::try_from(shim["shim"]["identity"]["pid"].as_u64().unwrap()).unwrap(), Signal::TERM);
    let ended = server.finished(&run).await;
    assert_eq!((&ended["status"], &ended["error_code"]), (&json!("lost"), &json!("drained")), "{ended:#}");
    let wakeup = server.settled(&wakeup).await;
    assert_eq!((&wakeup["status"], &wakeup["attempt"]), (&json!("completed"), &json!(1)), "{wakeup:#}");
    server.assert_sound().await;
}

#[tokio::test]
async fn a_failure_that_an_agent_reports_beats_the_success_of_its_cli() {
    let server = Server::start().await;
    let script = r#"cat > /dev/null; printf '{"outcome":"failed","error":"the tests do not pass"}' > "$WAKEFUL_RESULT_FILE"
        echo '{"type":"result","subtype":"success","is_error":false,"result":"all done","session_id":"s"}'"#;
    let adapter = json!({ "type": "claude", "command": ["/bin/sh", "-c", script], "steering": false });
    let agent = server.agent(&json!({ "name": "honest", "adapter": adapter, "retry": { "delays_s": [] } })).await;
    let run = server.run_of(&agent, json!({})).await;
    assert_eq!((&run["status"], &run["error"]), (&json!("failed"), &json!("the tests do not pass")), "{run:#}");
}

#[tokio::test]
async fn a_report_that_would_not_be_understood_is_refused_when_it_is_made() {
    let server = Server::start().await;
    let agent = server.process_agent("long", "sleep 60").await;
    let run = server.running(&server.wake(&agent, json!({})).await).await;
    let path = format!("/runs/{}/finish", id(&run));
    for report in [
        json!({ "outcome": "succeeded", "error_code": "x" }),
        json!({ "outcome": "failed", "error_code": "Not A Code" }),
        json!({ "outcome": "failed", "error_code": "drained" }),
        json!({ "outcome": "succeeded", "cost_micros": i64::MAX }),
        json!({ "outcome": "succeeded", "usage": { "input_tokens": -1 } }),
    ] {
        let mut body = report.clone();
        body["fence"] = run["fence"].clone();
        assert_eq!(server.post(&path, &body).await.0, 422, "{report}");
    }
}

#[tokio::test]
async fn a_list_of_wakes_that_is_sent_again_under_its_key_wakes_nobody_twice() {
    let server = Server::start().await;
    let agent = server.process_agent("quick", "true").await;
    let body = json!({ "wakes": [{ "agent": agent, "reason": "one" }, { "agent": "quick", "reason": "two" }] });
    let send = || {
        let request = server.request(Method::POST, "/companies/default/wakes");
        answer(request.header("idempotency-key", "list-1").json(&body))
    };
    let ids = |answer: &Value| answer["items"].as_array().unwrap().iter().map(id).collect::<Vec<_>>();
    let (first, second) = (send().await, send().await);
    assert_eq!((first.0, ids(&first.1)), (202, ids(&second.1)));
    assert_eq!(server.all("/companies/default/wakeups").await.len(), 2);
}

#[tokio::test]
async fn reasons_have_bounds_and_hold_no_nul() {
    let server = Server::start().await;
    let agent = server.process_agent("quick", "true").await;
    let long = "x".repeat(17 * 1024);
    for reason in [long.as_str(), "a\0b"] {
        for path in [format!("/agents/{agent}/wake"), format!("/agents/{agent}/pause")] {
            let (status, problem) = server.post(&path, &json!({ "reason": reason })).await;
            assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("reason")), "{path}");
        }
    }
}
