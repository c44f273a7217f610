//! Sessions over many runs: resumed, rotated at their limits with a note to the next, reset by the operator.

use serde_json::{Value, json};

use crate::support::{Server, id};
use crate::workspaces::context;

/// Reports the same session and an account, as an agent would that keeps one file.
const SCRIPT: &str =
    r#"echo "${WAKEFUL_SESSION:-none}"; echo '{"session":"s-1","summary":"did it"}' > "$WAKEFUL_RESULT_FILE""#;

fn choice(run: &Value) -> (&str, &str) {
    (run["session"]["choice"].as_str().unwrap(), run["session"]["reason"].as_str().unwrap())
}

#[tokio::test]
async fn a_session_is_rotated_after_its_last_run_and_the_next_is_told_of_it() {
    let server = Server::start().await;
    let agent = server.process_agent_with("ann", SCRIPT, json!({ "session": { "max_runs": 2 } })).await;
    let shown = server.show(&format!("/agents/{agent}")).await;
    assert_eq!(shown["session"], json!({ "max_runs": 2, "max_tokens": 50_000_000, "max_age_s": 2_592_000 }));
    let first = server.run_of(&agent, json!({})).await;
    assert_eq!(choice(&first).0, "fresh");
    let second = server.run_of(&agent, json!({})).await;
    assert_eq!((choice(&second).0, context(&server, &second)["handover"].clone()), ("resumed", Value::Null));

    let third = server.run_of(&agent, json!({})).await;
    let reason = "session s-1 was rotated: it took part in 2 runs; 2 is the limit (session.max_runs)";
    assert_eq!(choice(&third), ("rotated", reason), "{third:#}");
    assert_eq!((server.stdout(&id(&third)).await.as_str(), &third["session_before"]), ("none\n", &Value::Null));
    let note = &context(&server, &third)["handover"];
    let last = json!({ "id": id(&second), "status": "succeeded", "summary": "did it", "error": null });
    assert_eq!(*note, json!({ "session": "s-1", "reason": reason, "runs": 2, "last_run": last, "checkpoint": null }));
    let told = server.cli(&["run", "show", &id(&third)]).await.stdout;
    assert!(told.contains("rotated s-1") && told.contains(reason), "{told}");
    let why = server.cli(&["why", &id(&third)]).await.stdout;
    assert!(why.contains(reason), "{why}");

    let fourth = server.run_of(&agent, json!({})).await;
    assert_eq!(choice(&fourth).0, "resumed", "the one that began anew goes on: {fourth:#}");
    server.patch(&format!("/agents/{agent}"), &json!({ "session": { "max_runs": 0 } })).await;
    for _ in 0..3 {
        assert_eq!(choice(&server.run_of(&agent, json!({})).await).0, "resumed", "no limit");
    }
    server.assert_sound().await;
}

#[tokio::test]
async fn a_reset_and_another_directory_begin_afresh_and_say_so() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", SCRIPT).await;
    server.run_of(&agent, json!({})).await;
    let (status, _) = server.delete(&format!("/agents/{agent}/sessions?task=none")).await;
    assert_eq!((status, server.show(&format!("/agents/{agent}/sessions")).await), (204, json!({ "items": [] })));
    let after = server.run_of(&agent, json!({})).await;
    assert_eq!(choice(&after), ("fresh", "session s-1 is not resumed: the operator reset it"));
    assert_eq!(context(&server, &after)["handover"], Value::Null, "whoever resets wants nothing of it");
    assert_eq!(choice(&server.run_of(&agent, json!({})).await).0, "resumed");

    let moved = json!({ "adapter": { "type": "process", "command": SCRIPT, "cwd": "/" } });
    server.patch(&format!("/agents/{agent}"), &moved).await;
    let elsewhere = server.run_of(&agent, json!({})).await;
    let (chosen, reason) = choice(&elsewhere);
    assert!(chosen == "fresh" && reason.ends_with("this run works in /"), "{reason}");
    assert_eq!(context(&server, &elsewhere)["handover"]["session"], "s-1");
    assert_eq!(choice(&server.run_of(&agent, json!({})).await).0, "resumed");
}

#[tokio::test]
async fn limits_of_sessions_have_bounds() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    for (session, field) in [
        (json!({ "max_runs": -1 }), "session.max_runs"),
        (json!({ "max_tokens": -1 }), "session.max_tokens"),
        (json!({ "max_age_s": 1_000_000_000 }), "session.max_age_s"),
        (json!({ "max_turns": 1 }), "session.max_turns"),
    ] {
        let (status, problem) = server.patch(&format!("/agents/{agent}"), &json!({ "session": session })).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(field)), "{problem}");
    }
}
