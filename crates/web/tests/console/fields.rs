//! Forms that make and change: what stands in them arrives, what is wrong is told at its field, secrets are not shown.

use serde_json::{Value, json};

use crate::browser::Console;

async fn value_of(console: &Console, css: &str) -> Value {
    console.ask(&format!("return document.querySelector(`{css}`).value")).await
}

async fn choose(console: &Console, css: &str, value: &str) {
    console.ask(&format!("document.querySelector(`{css}`).value = '{value}'")).await;
}

/// The schedule whose page is open, once its form has led there.
async fn saved(console: &Console) -> Value {
    let path = "return location.pathname";
    let path = console.until_script(path, vec![], |path| {
        let path = path.as_str().unwrap_or_default();
        path.contains("/schedules/sch_") && !path.ends_with("/edit")
    });
    let path = path.await;
    console.server.show(&format!("/schedules/{}", path.as_str().unwrap().rsplit('/').next().unwrap())).await
}

#[tokio::test]
async fn a_schedule_that_makes_a_task_has_a_field_for_each_part() {
    let console = Console::open().await;
    let agent = console.server.process_agent("writer", "true").await;
    console.goto("schedules/new?does=task").await;
    console.fill("#name", "report").await;
    console.fill("#every", "1h").await;
    console.fill("#title", "Report of {{date}}").await;
    console.fill("#description", "What happened?").await;
    choose(&console, "#assignee", &agent).await;
    choose(&console, "#priority", "high").await;
    console.fill("#labels", "a, {{week}}").await;
    console.fill("#reward", "1.5").await;
    console.fill("#due_in", "soon").await;
    console.click("button.primary[type=submit]").await;
    console.until(".field:has(#due_in) .error", |text| !text.is_empty()).await;
    console.fill("#due_in", "4h").await;
    console.click("button.primary[type=submit]").await;
    let made = saved(&console).await;
    let expected = json!({ "title": "Report of {{date}}", "description": "What happened?", "assignee": agent,
        "priority": "high", "labels": ["a", "{{week}}"], "reward": 1_500_000, "due_in": "4h" });
    assert_eq!(made["target"]["task"], expected);
    console.goto(&format!("schedules/{}/edit", made["id"].as_str().unwrap())).await;
    for (field, shown) in [("#due_in", "4h"), ("#reward", "1.5"), ("#labels", "a, {{week}}"), ("#priority", "high")] {
        assert_eq!(value_of(&console, field).await, shown, "{field}");
    }
    console.fill("#title", "Report").await;
    console.fill("#reward", " ").await;
    console.click("button.primary[type=submit]").await;
    let changed = saved(&console).await;
    let mut expected = expected;
    expected["title"] = "Report".into();
    expected.as_object_mut().unwrap().remove("reward");
    assert_eq!(changed["target"]["task"], expected, "what is emptied is taken away, what stays stays");
}

#[tokio::test]
async fn a_schedule_that_runs_an_action_offers_those_there_are() {
    let console = Console::open().await;
    let agent = console.server.process_agent("scout", "true").await;
    console.goto("schedules/new?does=action").await;
    let offered = console.ask("return [...document.querySelectorAll('#actions option')].map(o => o.value)").await;
    assert_eq!(offered, json!(["task-scan", "daily-summary", "portfolio-monitor"]));
    console.fill("#name", "scan").await;
    console.fill("#action", "task-scan").await;
    console.click("button.primary[type=submit]").await;
    console.until(".field:has(#agent) .error", |text| text.contains("must be given")).await;
    choose(&console, "#agent", &agent).await;
    console.fill("#config", "{\"min_reward\": \"much\"}").await;
    console.click("button.primary[type=submit]").await;
    console.until(".field:has(#config) .error", |text| !text.is_empty()).await;
    console.fill("#config", "{\"min_reward\": 100}").await;
    console.click("button.primary[type=submit]").await;
    let action = json!({ "name": "task-scan", "agent": agent, "config": { "min_reward": 100 } });
    assert_eq!(saved(&console).await["target"], json!({ "action": action }));
    let own = json!({ "action": { "name": "mail-check", "config": { "command": ["check"] } } });
    let body = json!({ "name": "mail", "trigger": { "every": "1h" }, "target": own });
    let (status, made) = console.server.post("/companies/default/schedules", &body).await;
    assert_eq!(status, 201, "{made}");
    console.goto(&format!("schedules/{}/edit", made["id"].as_str().unwrap())).await;
    assert_eq!(value_of(&console, "#action").await, "mail-check");
    assert_eq!(value_of(&console, "#actions option:last-child").await, "mail-check");
}

#[tokio::test]
async fn a_channel_is_changed_and_its_secrets_stay_unseen() {
    let console = Console::open().await;
    let hook = json!({ "url": "https://hooks.example/T/k3y", "headers": { "x-key": "s3cret-value", "x-team": "red" } });
    let body = json!({ "name": "ops", "target": { "webhook": hook }, "filter": { "min_level": "warning" } });
    let (status, made) = console.server.post("/companies/default/channels", &body).await;
    assert_eq!(status, 201, "{made}");
    console.goto("notifications").await;
    console.click("#channels a[href$='/edit']").await;
    console.until("h1", |text| text == "Edit ops").await;
    let page = console.ask("return document.documentElement.outerHTML").await;
    let page = page.as_str().unwrap();
    assert!(page.contains("https://hooks.example/…") && page.contains("x-key, x-team"));
    assert!(!page.contains("k3y") && !page.contains("s3cret-value"), "secrets are not on the page");
    console.fill("#name", "alarms").await;
    console.fill("#headers", "{\"x-team\": null}").await;
    choose(&console, "#min_level", "").await;
    console.fill("#kinds", "nonsense").await;
    console.click("button.primary[type=submit]").await;
    console.until(".field:has(#kinds) .error", |text| !text.is_empty()).await;
    console.fill("#kinds", "escalation").await;
    console.click("button.primary[type=submit]").await;
    console.until("#channels", |text| text.contains("alarms")).await;
    let changed = console.server.show(&format!("/channels/{}", made["id"].as_str().unwrap())).await;
    let hook = json!({ "url": "https://hooks.example/T/k3y", "headers": { "x-key": "s3cret-value" } });
    assert_eq!(changed["target"], json!({ "webhook": hook }), "what stayed empty is as it was");
    assert_eq!(changed["filter"], json!({ "kinds": ["escalation"] }));
    let list = console.ask("return document.documentElement.outerHTML").await;
    assert!(!list.as_str().unwrap().contains("s3cret-value"));
}

#[tokio::test]
async fn agents_are_filtered_by_the_server() {
    let console = Console::open().await;
    let coder = console.server.process_agent("coder", "sleep 60").await;
    let adapter = json!({ "type": "process", "command": ["true"] });
    console.server.agent(&json!({ "name": "tester", "title": "looks after Code", "adapter": adapter })).await;
    console.server.running(&console.server.wake(&coder, json!({})).await).await;
    console.goto("agents?name=code").await;
    console.until("table", |text| text.contains("coder") && text.contains("tester")).await;
    console.goto("agents?name=code&state=running").await;
    console.until("table", |text| text.contains("coder") && !text.contains("tester")).await;
    console.goto("agents?state=failing").await;
    console.until_shown("No agent is like this").await;
}
