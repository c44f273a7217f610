//! Agents whose CLIs cannot be run here: Cursor's, after its documented format, and one that is only
//! described. Scripts speak in their place.

use serde_json::{Value, json};
use wakeful_domain::time::Timestamp;

use crate::support::{Server, id};

/// Speaks as Cursor's agent does; what it was told and started with is its answer.
const CURSOR: &str = r#"
    told=$(cat | tr -cd 'a-z ' | tail -c 2000)
    id=c6b62c6f-7ead-4fd6-9922-e952131177ff
    case "$*" in *"--resume gone"*) echo 'Error: Chat not found' >&2; exit 1;; esac
    case "$*" in *"--resume $id"*) [ -e gone ] && { echo 'Error: Chat not found' >&2; exit 1; };; esac
    echo "{\"type\":\"system\",\"subtype\":\"init\",\"apiKeySource\":\"login\",\"session_id\":\"$id\",\"model\":\"auto\"}"
    echo "{\"type\":\"assistant\",\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"half\"}]},\"session_id\":\"$id\"}"
    case "$*" in *--resume*) how=resumed;; *) how=fresh;; esac
    echo "{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"result\":\"$how: $told\",\"session_id\":\"$id\"}"
"#;

/// A CLI of its own kind: the prompt in a file, the session by an option, figures in dollars.
const DESCRIBED: &str = r#"
    file=$1; shift
    [ "$*" = "--continue s-1" ] && [ -e gone ] && { echo 'no conversation s-1 here' >&2; exit 4; }
    grep -q 'spend it all' "$file" && { echo '{"kind":"end","ok":false,"why":"You are out of credit"}'; exit 1; }
    echo '{"kind":"begin","sid":"s-1"}'
    echo "{\"kind\":\"say\",\"text\":\"told in $(wc -l < "$file" | tr -d ' ') lines, options: $*\"}"
    echo '{"kind":"end","ok":true,"used":{"in":7,"out":2,"usd":0.0025}}'
    exit 3
"#;

fn script(text: &str) -> Value {
    json!(["/bin/sh", "-c", text, "agent"])
}

#[tokio::test]
async fn an_agent_that_speaks_as_cursors_does_is_resumed_and_replaced_when_its_chat_is_gone() {
    let server = Server::start().await;
    let cwd = server.path().join("work");
    std::fs::create_dir_all(&cwd).unwrap();
    let adapter = json!({ "type": "cursor", "command": script(CURSOR), "cwd": cwd });
    let agent = server.agent(&json!({ "name": "curt", "adapter": adapter })).await;
    let first = server.run_of(&agent, json!({ "reason": "say hello" })).await;
    assert_eq!(first["status"], "succeeded", "{first:#}");
    let summary = |run: &Value| run["summary"].as_str().unwrap_or_default().to_owned();
    assert!(summary(&first).starts_with("fresh: ") && summary(&first).contains("say hello"), "{first:#}");
    let second = server.run_of(&agent, json!({})).await;
    assert!(summary(&second).starts_with("resumed: "), "{second:#}");
    std::fs::write(cwd.join("gone"), "").unwrap();
    let third = server.run_of(&agent, json!({})).await;
    assert_eq!((&third["status"], &third["session"]["choice"]), (&json!("succeeded"), &json!("fresh")), "{third:#}");
    server.assert_sound().await;
}

#[tokio::test]
async fn a_cli_that_is_described_is_started_read_and_judged_as_described() {
    let server = Server::start().await;
    let cwd = server.path().join("work");
    std::fs::create_dir_all(&cwd).unwrap();
    let adapter = json!({
        "type": "cli",
        "command": ["/bin/sh", "-c", DESCRIBED, "agent", "{prompt_file}"],
        "cwd": cwd,
        "prompt_via": "file",
        "session_args": ["--continue", "{session}"],
        "events": "json_lines",
        "fields": {
            "session_id": "/sid",
            "text": "/text",
            "error": "/why",
            "input_tokens": "/used/in",
            "output_tokens": "/used/out",
            "cost_dollars": "/used/usd",
        },
        "success": { "/kind": "end", "/ok": true },
        "failure": { "/kind": "end", "/ok": false },
        "session_unknown": ["no conversation"],
        "error_patterns": { "out of credit": "usage_limit" },
    });
    let agent = server.agent(&json!({ "name": "dee", "adapter": adapter })).await;
    let first = server.run_of(&agent, json!({})).await;
    assert_eq!((&first["status"], &first["cost_micros"]), (&json!("succeeded"), &json!(2500)), "{first:#}");
    assert_eq!((&first["usage"]["input_tokens"], &first["session_after"]), (&json!(7), &json!("s-1")));
    let second = server.run_of(&agent, json!({})).await;
    assert!(second["summary"].as_str().unwrap().ends_with("options: --continue s-1"), "{second:#}");
    std::fs::write(cwd.join("gone"), "").unwrap();
    let third = server.run_of(&agent, json!({})).await;
    assert_eq!((&third["status"], &third["session"]["choice"]), (&json!("succeeded"), &json!("fresh")), "{third:#}");
    std::fs::remove_file(cwd.join("gone")).unwrap();
    let wakeup = server.wake(&agent, json!({ "reason": "spend it all" })).await;
    let run = server.finished(&id(&server.running(&wakeup).await)).await;
    assert_eq!(
        (&run["error_code"], &run["error"]),
        (&json!("usage_limit"), &json!("You are out of credit")),
        "{run:#}"
    );
    server.assert_sound().await;
}

#[tokio::test]
async fn a_usage_limit_without_a_time_that_can_be_is_waited_for_a_while_and_costs_no_attempt() {
    let server = Server::start().await;
    let said = [
        "Credit balance is too low",
        "Claude AI usage limit reached|1000000000",
        "You've hit your limit · resets Jan 2, 2199, 3pm (UTC)",
        "You've hit your limit · resets 3pm (Mars/Olympus)",
    ];
    for (number, words) in said.iter().enumerate() {
        let result = json!({ "type": "result", "subtype": "success", "is_error": true, "result": words });
        let script = format!("head -n 1 > /dev/null; echo '{}'", result.to_string().replace('\'', "'\\''"));
        // An account each: a limit is everybody's who shares it.
        let adapter =
            json!({ "type": "claude", "account": format!("a{number}"), "command": ["/bin/sh", "-c", script] });
        let agent = server.agent(&json!({ "name": format!("limited-{number}"), "adapter": adapter })).await;
        let wakeup = server.wake(&agent, json!({})).await;
        let run = server.finished(&id(&server.running(&wakeup).await)).await;
        assert_eq!(run["error_code"], "usage_limit", "{words}: {run:#}");
        let waiting = server.show(&format!("/wakeups/{wakeup}")).await;
        assert_eq!((&waiting["status"], &waiting["attempt"]), (&json!("pending"), &json!(0)), "{words}: {waiting:#}");
        let at = |of: &Value, field: &str| of[field].as_str().unwrap().parse::<Timestamp>().unwrap().as_millis();
        let waits_s = (at(&waiting, "due_at") - at(&run, "finished_at")) / 1_000;
        assert!((890..=970).contains(&waits_s), "{words}: waits {waits_s} s");
    }
    server.assert_sound().await;
}
