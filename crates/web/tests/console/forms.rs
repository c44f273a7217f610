//! Forms: what is typed stays, is said back as a command, and arrives as the API takes it.

use serde_json::{Value, json};

use crate::browser::Console;

async fn value_of(console: &Console, css: &str) -> Value {
    console.ask(&format!("return document.querySelector(\"{css}\")?.value ?? null")).await
}

/// Chooses in a select, as a person does.
async fn choose(console: &Console, css: &str, value: &str) {
    let script = "const field = document.querySelector(arguments[0]); field.value = arguments[1];
        field.dispatchEvent(new Event('input', { bubbles: true }));
        field.dispatchEvent(new Event('change', { bubbles: true })); return field.value;";
    console.until_script(script, vec![json!(css), json!(value)], |chosen| chosen == value).await;
}

#[tokio::test]
async fn what_was_typed_goes_along_to_another_kind_and_the_command_says_it() {
    let console = Console::open().await;
    console.goto("agents/new").await;
    console.fill("[name=name]", "greeter").await;
    console.fill("[name='adapter.command']", "echo it's me").await;
    console.until("code[data-command]", |text| text == r"wakeful agent add greeter -- sh -c 'echo it'\''s me'").await;
    let copied = console.ask("return document.querySelector('code[data-command] ~ copy-text').dataset.text").await;
    assert!(copied.as_str().unwrap().contains("greeter"), "{copied}");
    console.click("nav[data-carry] a[href='?kind=claude']").await;
    console.until("nav[data-carry] a[aria-current] h2", |text| text == "Claude Code").await;
    console.until_script("return document.querySelector('[name=name]').value", vec![], |name| name == "greeter").await;
    console.fill("[name='adapter.model']", "opus").await;
    console.until("code[data-command]", |text| text == "wakeful agent add greeter --adapter claude --model opus").await;
    choose(&console, "[name='adapter.permission_mode']", "plan").await;
    console.until("code[data-command]", |text| text.ends_with(r#" --config '{"permission_mode":"plan"}'"#)).await;
    console.click("nav[data-carry] a[href='?kind=process']").await;
    console.until("nav[data-carry] a[aria-current] h2", |text| text == "A command").await;
    let command = "return document.querySelector('[name=\"adapter.command\"]')?.value ?? null";
    console.until_script(command, vec![], |command| command == "echo it's me").await;
    // Whoever begins anew finds nothing of it.
    console.goto("now").await;
    console.goto("agents/new").await;
    assert_eq!(value_of(&console, "[name=name]").await, "hello");
}

#[tokio::test]
async fn hints_are_those_of_what_is_chosen() {
    let console = Console::open().await;
    console.goto("schedules/new").await;
    console.until("[data-hint-of=overlap]", |text| text.trim() == "The live run stands for it.").await;
    choose(&console, "#overlap", "skip").await;
    console.until("[data-hint-of=overlap]", |text| text.trim() == "It is skipped.").await;
}

#[tokio::test]
async fn a_budget_is_given_in_dollars() {
    let console = Console::open().await;
    console.goto("costs").await;
    console.click("details.needs-manage > summary").await;
    console.fill("#limit", "much").await;
    console.click("form[action$='/budgets'] button[type=submit]").await;
    console.until(".field .error", |text| text == "Limit is not a number").await;
    console.fill("#limit", "$0.25").await;
    console.click("form[action$='/budgets'] button[type=submit]").await;
    console.until_shown("$0 of $0.25").await;
    let budgets = console.server.show("/companies/default/budgets").await;
    assert_eq!(
        (&budgets["items"][0]["metric"], &budgets["items"][0]["limit"]),
        (&json!("cost_micros"), &json!(250_000))
    );
}

#[tokio::test]
async fn an_agent_is_changed_in_the_words_it_was_made_with() {
    let console = Console::open().await;
    let agent = console.server.process_agent("builder", "echo one").await;
    let path = format!("/agents/{agent}");
    let before = console.server.show(&path).await;
    console.goto(&format!("agents/{agent}/edit")).await;
    console.click("#page form.form button[type=submit]").await;
    console.until("h1", |text| text.contains("builder") && !text.contains("Edit")).await;
    let after = console.server.show(&path).await;
    for field in ["retry", "limits", "session", "heartbeat"] {
        assert_eq!(after[field], before[field], "{field} is what it was");
    }
    console.goto(&format!("agents/{agent}/edit")).await;
    console.fill("[name='adapter.command']", "echo two").await;
    console.click("#page form.form button[type=submit]").await;
    console.until("h1", |text| text.contains("builder") && !text.contains("Edit")).await;
    let adapter = console.server.show(&path).await["adapter"].clone();
    assert_eq!(adapter["type"], "process");
    assert!(adapter["command"].to_string().contains("echo two"), "{adapter}");
}

#[tokio::test]
async fn a_time_is_picked_and_stays_what_it_was() {
    let console = Console::open().await;
    let due = json!({ "title": "Ship it", "due_at": "2026-12-24T18:00:30.500Z" });
    let (_, task) = console.server.post("/companies/default/tasks", &due).await;
    let id = task["id"].as_str().unwrap();
    console.goto(&format!("tasks/{id}/edit")).await;
    let filled = "return document.querySelector('#due_at').value";
    console.until_script(filled, vec![], |value| value.as_str().is_some_and(|at| at.contains(":30.5"))).await;
    console.fill("#title", "Ship it all").await;
    console.click("#page form.form button[type=submit]").await;
    console.until("h1", |text| text.contains("Ship it all")).await;
    assert_eq!(console.server.show(&format!("/tasks/{id}")).await["due_at"], task["due_at"]);
}

#[tokio::test]
async fn a_token_that_is_shown_once_is_whole_and_there_to_be_copied() {
    let console = Console::open().await;
    console.goto("settings?tab=tokens").await;
    console.fill("form[action$='/tokens'] [name=name]", "laptop").await;
    console.click("form[action$='/tokens'] button[type=submit]").await;
    console.until("dialog.reveal .primary", |text| text == "Copy").await;
    let is_whole = console
        .ask("const shown = document.querySelector('dialog.reveal pre'); return shown.scrollWidth <= shown.clientWidth")
        .await;
    assert_eq!(is_whole, true);
}

#[tokio::test]
async fn an_agent_that_failed_too_often_is_started_again_from_the_inbox() {
    let console = Console::open().await;
    let agent = console.server.process_agent("clumsy", "exit 3").await;
    for _ in 0..5 {
        console.server.run_of(&agent, json!({})).await;
    }
    let waiting = console.server.wake(&agent, json!({})).await;
    for page in [format!("agents/{agent}"), format!("wakes/{waiting}"), "now".into(), "wakes?status=pending".into()] {
        console.goto(&page).await;
        console.until("form[action$='/resume'] button", |text| text.contains("Let it start again")).await;
    }
    console.goto("inbox").await;
    let badge = "return document.querySelector('#side .badge').innerText";
    console.until_script(badge, vec![], |count| count == "6").await;
    console.click("form[action$='/resume'] button").await;
    console.server.settled(&waiting).await;
    console
        .until_script("return document.querySelector('form[action$=\"/resume\"]')", vec![], |form| form.is_null())
        .await;
}

#[tokio::test]
async fn a_test_of_a_channel_that_fails_is_not_called_a_success() {
    let console = Console::open().await;
    let target = json!({ "command": { "command": ["sh", "-c", "echo no >&2; exit 3"] } });
    let (status, made) =
        console.server.post("/companies/default/channels", &json!({ "name": "ops", "target": target })).await;
    assert_eq!(status, 201, "{made}");
    console.goto("notifications").await;
    console.click("form[action$='/test'] button").await;
    console.until(".toast.bad", |text| text.contains("It was not taken")).await;
    console.until(".notice.bad", |text| text.contains("It was not taken")).await;
    console.goto("inbox").await;
    console.until("#undelivered", |_| true).await;
    console.until("tr[id^=dlv_]", |text| text.contains("ops") && text.contains("3")).await;
}
