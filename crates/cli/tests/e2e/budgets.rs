//! Budgets with real processes: counted from the stream of a live agent, told at 80 %, stopped at 100 %, and
//! started again when there is more to spend.

use serde_json::{Value, json};

use crate::support::{Server, id};

/// Speaks as Claude Code does, and uses 100 tokens every fifth of a second, for ever.
const SPENDER: &str = r#"
    echo '{"type":"system","subtype":"init","session_id":"6f6b1c1e-0000-4000-8000-000000000000"}'
    while true; do
        n=$((n + 1)); sleep 0.2
        echo '{"type":"assistant","message":{"id":"m'$n'","usage":{"input_tokens":40,"cache_read_input_tokens":50,"output_tokens":10},"content":[{"type":"text","text":"step '$n'"}]}}'
    done
"#;

#[tokio::test]
async fn a_live_agent_is_told_then_stopped_in_its_stream_and_goes_on_when_the_limit_is_raised() {
    let server = Server::start().await;
    let adapter = json!({ "type": "claude", "command": ["/bin/sh", "-c", SPENDER] });
    let agent = server.agent(&json!({ "name": "ann", "adapter": adapter, "limits": { "grace_s": 1 } })).await;
    let added =
        server.cli(&["budget", "add", "--agent", "ann", "--per", "lifetime", "--tokens", "1000", "--json"]).await;
    assert_eq!(added.code, 0, "{}", added.stderr);
    let budget: Value = serde_json::from_str(&added.stdout).unwrap();
    assert_eq!((&budget["scope"], &budget["agent"]), (&json!("agent"), &json!(agent)));

    let wakeup = server.wake(&agent, json!({})).await;
    let run = id(&server.running(&wakeup).await);
    let ended = server.finished(&run).await;
    assert_eq!((&ended["status"], &ended["error_code"]), (&json!("cancelled"), &json!("paused")), "{ended:#}");
    let told = format!("{:?}", server.show(&format!("/runs/{run}/events")).await);
    assert!(told.contains("budget_warned") && told.contains("800 are spent"), "{told}");
    let spent = server.show(&format!("/budgets/{}", id(&budget))).await;
    let count = spent["spent"].as_i64().unwrap();
    // Beyond the limit comes what an agent uses between two looks at its output, and until its tree is gone.
    assert!((1_000..3_000).contains(&count) && spent["level"] == "exhausted", "{spent:#}");
    let waiting = server.show(&format!("/wakeups/{wakeup}")).await;
    let is_held = |wakeup: &Value| wakeup["waiting"]["reason"] == "budget_exhausted";
    assert_eq!(waiting["status"], "pending");
    let waiting = server.until(&format!("/wakeups/{wakeup}"), is_held).await;
    assert_eq!(waiting["attempt"], 0, "it is not the wakeup's fault");
    let why = server.cli(&["why", &wakeup]).await.stdout;
    assert!(why.contains("the budget of 1000 tokens in all") && why.contains("wakeful budget set"), "{why}");
    let escalated = server.show("/companies/default/escalations").await;
    assert_eq!(escalated["items"][0]["kind"], "budget_exhausted", "{escalated:#}");
    let listed = server.cli(&["budget", "ls"]).await.stdout;
    assert!(listed.contains("exhausted"), "{listed}");

    assert_eq!(server.cli(&["budget", "set", &id(&budget), "--limit", "1000000"]).await.code, 0);
    server.running(&wakeup).await;
    let resolved = |found: &Value| found["items"][0]["status"] == "resolved";
    server.until("/companies/default/escalations", resolved).await;
    assert_eq!(server.cli(&["budget", "rm", &id(&budget)]).await.code, 0);
    assert_eq!(server.cli(&["budget", "show", &id(&budget)]).await.code, 3);
    server.assert_sound().await;
}

#[tokio::test]
async fn a_budget_that_cannot_be_meant_is_refused_by_its_field() {
    let server = Server::start().await;
    let agent = server.process_agent("a", "true").await;
    let task = id(&server.post("/companies/default/tasks", &json!({ "title": "t" })).await.1);
    for (body, field) in [
        (json!({ "window": "day", "metric": "tokens", "limit": 0 }), "limit"),
        (json!({ "window": "day", "metric": "tokens", "limit": 5, "reserve": 6 }), "reserve"),
        (json!({ "window": "run", "metric": "runs", "limit": 5 }), "metric"),
        (json!({ "window": "week", "metric": "runs", "limit": 5 }), "window"),
        (json!({ "window": "day", "metric": "cents", "limit": 5 }), "metric"),
        (json!({ "window": "day", "metric": "runs", "limit": 5, "agent": agent, "task": task }), "task"),
        (json!({ "window": "day", "metric": "runs", "limit": 5, "agent": "agt_01h455vb4pex5vsknk084sn02q" }), "agent"),
        (json!({ "window": "day", "metric": "runs", "limit": 5, "currency": "eur" }), "currency"),
    ] {
        let (status, problem) = server.post("/companies/default/budgets", &body).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(field)), "{body} {problem:#}");
    }
    let body = json!({ "window": "day", "metric": "runs", "limit": 5 });
    let made = id(&server.post("/companies/default/budgets", &body).await.1);
    let (status, problem) = server.post("/companies/default/budgets", &body).await;
    assert_eq!((status, &problem["code"], &problem["budget"]), (409, &json!("budget_exists"), &json!(made)));
    assert_eq!(server.cli(&["budget", "add", "--tokens", "5", "--runs", "5"]).await.code, 2);
    assert_eq!(server.cli(&["budget", "set", &made]).await.code, 2);
}
