//! Everything by key.

use fantoccini::key::Key;
use serde_json::{Value, json};

use crate::browser::Console;

/// A console with three runs of one agent.
async fn with_runs() -> Console {
    let console = Console::open().await;
    let agent = console.server.process_agent("builder", "true").await;
    for reason in ["one", "two", "three"] {
        let wakeup = console.server.wake(&agent, json!({ "reason": reason })).await;
        console.server.settled(&wakeup).await;
    }
    console
}

#[tokio::test]
async fn two_keys_go_to_every_page() {
    let console = Console::open().await;
    let pages = [
        ("i", "inbox"),
        ("n", "now"),
        ("r", "runs"),
        ("w", "wakes"),
        ("s", "schedules"),
        ("t", "timeline"),
        ("a", "agents"),
        ("k", "tasks"),
        ("m", "mail"),
        ("c", "costs"),
        ("o", "notifications"),
        (",", "settings"),
        ("h", "health"),
    ];
    for (key, page) in pages {
        console.press("g").await;
        console.press(key).await;
        console.until_script("return document.body.dataset.page", vec![], |open| open == page).await;
    }
}

#[tokio::test]
async fn a_list_is_walked_and_opened() {
    let console = with_runs().await;
    console.goto("runs").await;
    console.until("tr[data-row]", |text| text.contains("three")).await;
    let at = "return document.querySelector('tr.at')?.innerText ?? ''";
    console.press("j").await;
    console.until_script(at, vec![], |text| text.as_str().unwrap().contains("three")).await;
    console.press("j").await;
    console.until_script(at, vec![], |text| text.as_str().unwrap().contains("two")).await;
    console.press("k").await;
    console.until_script(at, vec![], |text| text.as_str().unwrap().contains("three")).await;
    console.press("x").await;
    console.until(".toast", |text| text.contains("Nothing in this list")).await;
    console.press("j").await;
    console.key(Key::Enter).await;
    console.until("h1", |text| text.contains("builder")).await;
    let second = console.path().await;
    console.press("J").await;
    console.until_script("return location.pathname", vec![], |path| path != second.as_str()).await;
    console.press("K").await;
    console.until_script("return location.pathname", vec![], |path| path == second.as_str()).await;
}

#[tokio::test]
async fn the_palette_finds_pages_and_things() {
    let console = with_runs().await;
    console.goto("runs").await;
    console.with_control('k').await;
    console
        .until_script("return document.activeElement?.closest('dialog.palette') !== null", vec![], |found| {
            found == true
        })
        .await;
    console.press("build").await;
    console.until("dialog.palette [role=listbox]", |text| text.contains("builder")).await;
    console.key(Key::Enter).await;
    console
        .until_script("return location.pathname", vec![], |path| path.as_str().unwrap().contains("/agents/agt_"))
        .await;
}

#[tokio::test]
async fn help_search_theme_and_pause_have_keys() {
    let console = with_runs().await;
    console.goto("runs").await;
    console.until_live().await;
    console.press("?").await;
    console.until("dialog.keys[open]", |text| text.contains("search and commands")).await;
    console.key(Key::Escape).await;
    console.until_script("return document.querySelector('dialog[open]')", vec![], |open| open.is_null()).await;
    console.press("t").await;
    console.until_script("return document.documentElement.dataset.theme", vec![], |theme| theme != "system").await;
    console.press("p").await;
    console
        .until_script("return document.querySelector('live-pill').dataset.state", vec![], |state| state == "paused")
        .await;
    console.press("p").await;
    console.until_live().await;
    console.press("/").await;
    console.press("two").await;
    console.key(Key::Enter).await;
    console.until_script("return location.search", vec![], |query| query.as_str().unwrap().contains("q=two")).await;
    // In a field a key is a letter.
    assert_eq!(console.ask("return document.querySelector('[data-search]').value").await, "two");
}

#[tokio::test]
async fn a_run_is_stopped_and_told_something_by_key() {
    let console = Console::open().await;
    let agent = console.server.process_agent("builder", "sleep 60").await;
    let wakeup = console.server.wake(&agent, json!({})).await;
    let run = console.server.running(&wakeup).await;
    let id = run["id"].as_str().unwrap();
    console.goto(&format!("runs/{id}?tab=events")).await;
    console.press("s").await;
    console.until_script("return document.activeElement?.id", vec![], |focus| focus == "message").await;
    console.key(Key::Escape).await;
    console.press(".").await;
    console.until("dialog.confirm[open]", |text| text.contains("Stop this run")).await;
    console.key(Key::Enter).await;
    console.until("h1", |text| text.contains("cancelled")).await;
    console.press("r").await;
    console
        .until_script("return location.pathname", vec![], |path| path.as_str().unwrap().contains("/wakes/wak_"))
        .await;
}

#[tokio::test]
async fn rows_of_failed_runs_are_tried_again_by_key_one_or_many() {
    let console = Console::open().await;
    let agent = console.server.process_agent("builder", "exit 3").await;
    for reason in ["one", "two"] {
        let wakeup = console.server.wake(&agent, json!({ "reason": reason })).await;
        console.server.settled(&wakeup).await;
    }
    let path = "/companies/default/runs?status=ended";
    let is = |count: usize| move |list: &Value| list["items"].as_array().is_some_and(|runs| runs.len() == count);
    console.goto("runs").await;
    console.until_live().await;
    console.press("?").await;
    console.until("dialog.keys[open]", |text| text.contains("Retry") && text.contains("select the row")).await;
    console.key(Key::Escape).await;
    console.until_script("return document.querySelector('dialog[open]')", vec![], |open| open.is_null()).await;
    console.press("j").await;
    console.press("r").await;
    console.server.until(path, is(3)).await;
    console.goto("runs").await;
    console.until_live().await;
    console.press("j").await;
    console.press("x").await;
    console.press("j").await;
    console.press("j").await;
    console.press("X").await;
    console.until(".notice.picked", |text| text.contains("3 selected")).await;
    console.press("r").await;
    console.until("dialog.confirm[open]", |text| text.contains("Retry")).await;
    console.key(Key::Enter).await;
    // Two rows are runs of one wakeup, which is tried again once; both wakeups may come to one run.
    console.until(".toast", |text| text == "Retry: 3 done").await;
    let is_more = |list: &Value| list["items"].as_array().is_some_and(|runs| runs.len() > 3);
    console.server.until(path, is_more).await;
}
