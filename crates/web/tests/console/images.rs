//! Pictures of every page for the documents: desktop and phone, light and dark. `cargo xtask images` makes them.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::browser::Console;
use crate::support::Server;

/// Speaks as Claude Code does: says something, uses two tools, says how it went.
const SPEAKS: &str = r#"
    cat > /dev/null
    say() { echo "{\"type\":\"assistant\",\"message\":{\"id\":\"$1\",\"content\":[$2],\"usage\":{\"input_tokens\":1200,\"output_tokens\":310}},\"session_id\":\"c6b62c6f-7ead-4fd6-9922-e952131177ff\"}"; }
    returned() { printf '%s\n' "{\"type\":\"user\",\"message\":{\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"$1\",\"content\":$2,\"is_error\":$3}]}}"; }
    echo '{"type":"system","subtype":"init","session_id":"c6b62c6f-7ead-4fd6-9922-e952131177ff","model":"claude-sonnet-4-5","tools":["Bash","Edit"]}'
    say m1 '{"type":"text","text":"I read the failing test first, then the parser."}'
    sleep 0.4
    say m2 '{"type":"tool_use","id":"t1","name":"Bash","input":{"command":"cargo test parser::"}}'
    sleep 0.9
    returned t1 '"running 12 tests\ntest parser::fields ... ok\ntest parser::last_field_is_empty ... FAILED\n\ntest result: FAILED. 11 passed; 1 failed"' true
    say m3 '{"type":"text","text":"The parser drops the last field when a line ends in a comma. I keep an empty one instead."}'
    say m4 '{"type":"tool_use","id":"t2","name":"Edit","input":{"file_path":"src/parser.rs"}}'
    returned t2 '"The file src/parser.rs has been updated."' false
    sleep 0.5
    say m5 '{"type":"tool_use","id":"t3","name":"Bash","input":{"command":"cargo test"}}'
    sleep 0.8
    returned t3 '"test result: ok. 214 passed; 0 failed; finished in 1.92s"' false
    echo '{"type":"result","subtype":"success","is_error":false,"result":"The parser keeps empty last fields; 214 tests pass.","session_id":"c6b62c6f-7ead-4fd6-9922-e952131177ff","num_turns":3,"total_cost_usd":0.0421,"usage":{"input_tokens":4210,"output_tokens":980,"cache_read_input_tokens":31200,"cache_creation_input_tokens":5200}}'
"#;

/// Pages, by the name of their picture.
const PAGES: &[(&str, &str)] = &[
    ("inbox", "inbox"),
    ("now", "now"),
    ("runs", "runs"),
    ("wakes", "wakes"),
    ("timeline", "timeline?zoom=1h"),
    ("agents", "agents"),
    ("new-agent", "agents/new?kind=claude"),
    ("tasks", "tasks?view=board"),
    ("schedules", "schedules"),
    ("subscriptions", "subscriptions"),
    ("mail", "mail"),
    ("costs", "costs"),
    ("notifications", "notifications"),
    ("settings", "settings"),
    ("health", "health"),
];

async fn made(server: &Server, path: &str, body: Value) -> String {
    let (status, made) = server.post(&format!("/companies/default/{path}"), &body).await;
    assert_eq!(status, 201, "{path}: {made}");
    made["id"].as_str().unwrap().to_owned()
}

/// A small fleet at work; gives the run whose page is shown.
async fn fleet(server: &Server) -> String {
    let adapter = json!({ "type": "claude", "command": ["/bin/sh", "-c", SPEAKS, "claude"], "steering": false });
    let ann = server.agent(&json!({ "name": "ann", "title": "Looks after the parser", "adapter": adapter })).await;
    let builder =
        server.process_agent_with("builder", "echo building; sleep 600", json!({ "title": "Builds releases" })).await;
    let tester = server
        .process_agent_with("tester", "echo '3 of 214 tests failed' >&2; exit 3", json!({ "title": "Runs the tests" }))
        .await;
    let scribe = server.process_agent_with("scribe", "echo written", json!({ "title": "Writes the notes" })).await;
    let parser =
        made(server, "tasks", json!({ "title": "Keep empty last fields", "assignee": ann, "priority": "high" })).await;
    let release = made(
        server,
        "tasks",
        json!({ "title": "Release 1.4", "description": "When the parser is right.", "blocked_by": [parser] }),
    )
    .await;
    made(server, "tasks", json!({ "title": "Write the notes of 1.4", "parent": release, "status": "backlog" })).await;
    made(server, "tasks", json!({ "title": "Build for arm64", "parent": release, "status": "in_review" })).await;
    let nightly = json!({ "wake": { "agent": scribe, "reason": "the notes of the day" } });
    made(server, "schedules", json!({ "name": "notes", "trigger": { "every": "5s" }, "target": nightly })).await;
    let build = json!({ "wake": { "agent": builder, "reason": "the nightly build" } });
    let cron = json!({ "cron": "0 3 * * MON-FRI", "time_zone": "Europe/Paris" });
    made(server, "schedules", json!({ "name": "nightly", "trigger": cron, "target": build })).await;
    made(
        server,
        "subscriptions",
        json!({ "agent": tester, "source": { "topic": "deploys" }, "on": ["topic.published"] }),
    )
    .await;
    made(server, "budgets", json!({ "metric": "runs", "window": "day", "limit": 40 })).await;
    made(server, "escalations", json!({ "title": "Which branch is to be released?", "detail": "main and 1.4 have gone apart.", "severity": "high" })).await;
    made(
        server,
        "messages",
        json!({ "to": "ann", "subject": "The parser", "body": "Please keep what empty fields there are." }),
    )
    .await;
    let live = server.wake(&builder, json!({ "reason": "build 1.4" })).await;
    server.running(&live).await;
    server.wake(&builder, json!({ "reason": "build it again, the notes have changed" })).await;
    server.wake(&ann, json!({ "reason": "look at the issues", "delay_ms": 5_400_000 })).await;
    let failed = server.wake(&tester, json!({ "reason": "test the release" })).await;
    server.settled(&failed).await;
    let spoken = server.wake(&ann, json!({ "reason": "the test of the parser fails", "task": parser })).await;
    let settled = server.settled(&spoken).await;
    tokio::time::sleep(std::time::Duration::from_secs(15)).await;
    settled["run_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
#[ignore = "makes the pictures of the documents: cargo xtask images"]
async fn pictures() {
    let console = Console::open().await;
    let run = fleet(&console.server).await;
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/images");
    std::fs::create_dir_all(&folder).unwrap();
    let of_run = [("run", format!("runs/{run}")), ("log", format!("runs/{run}?tab=log"))];
    let pages = PAGES.iter().map(|(name, page)| (*name, (*page).to_owned())).chain(of_run);
    let pages: Vec<(&str, String)> = pages.collect();
    for (size, width, height) in [("desktop", 1_280, 860), ("phone", 360, 740)] {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone" });
        console.tell_browser("Emulation.setDeviceMetricsOverride", metrics).await;
        for theme in ["light", "dark"] {
            console.ask(&format!("document.cookie = 'wakeful_theme={theme}; path=/'")).await;
            for (name, page) in &pages {
                console.goto(page).await;
                let ready = "return !document.body.dataset.live || document.querySelector('live-pill')?.dataset.state === 'live'";
                console.until_script(ready, vec![], |ready| ready == true).await;
                if *name == "log" {
                    console.until("log-view", |text| text.contains("failing test first")).await;
                    console.ask("document.querySelector('.tabs').scrollIntoView()").await;
                }
                let path = folder.join(format!("{name}-{size}-{theme}.png"));
                std::fs::write(path, console.driver.screenshot().await.unwrap()).unwrap();
            }
        }
    }
}
