//! Pages follow what happens, over cuts of the stream and restarts of the server.

use serde_json::json;

use crate::browser::Console;

/// Works until somebody lets it go on, and says so first.
const WAITS: &str = "echo at work; while [ ! -e go ]; do sleep 0.05; done; echo done";

async fn rows(console: &Console) -> i64 {
    console.ask("return document.querySelectorAll('tr[data-row]').length").await.as_i64().unwrap()
}

fn let_go(console: &Console, agent: &str) {
    std::fs::write(console.server.path().join("agents").join(agent).join("go"), "").unwrap();
}

#[tokio::test]
async fn a_wake_that_comes_mid_run_appears_and_so_does_its_follow_up() {
    let console = Console::open().await;
    let agent = console.server.process_agent("builder", WAITS).await;
    console.goto("now").await;
    console.until_shown("Nothing runs").await;
    console.until_live().await;
    console.server.wake(&agent, json!({ "reason": "the first" })).await;
    console.until_shown("the first").await;
    console.server.wake(&agent, json!({ "reason": "the second" })).await;
    console.until("#waiting ~ *", |text| text.contains("the second") && text.contains("lane busy")).await;
    let_go(&console, &agent);
    console.until_shown("Nothing waits").await;
    console.goto("runs").await;
    console.until("tr[data-row]", |text| text.contains("the second")).await;
}

#[tokio::test]
async fn a_log_is_followed_while_it_grows() {
    let console = Console::open().await;
    let agent = console.server.process_agent("builder", WAITS).await;
    let wakeup = console.server.wake(&agent, json!({})).await;
    let run = console.server.running(&wakeup).await;
    console.goto(&format!("runs/{}?tab=log", run["id"].as_str().unwrap())).await;
    console.until("log-view", |text| text.contains("at work")).await;
    let_go(&console, &agent);
    console.until("log-view", |text| text.contains("done")).await;
    console.until("h1", |text| text.contains("succeeded")).await;
}

#[tokio::test]
async fn a_stream_that_was_cut_goes_on_where_it_was() {
    let console = Console::open().await;
    let agent = console.server.process_agent("builder", "true").await;
    console.goto("runs").await;
    console.until_live().await;
    let network = |is_offline: bool| json!({ "offline": is_offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
    console.tell_browser("Network.emulateNetworkConditions", network(true)).await;
    console
        .until_script("return document.querySelector('live-pill').dataset.state", vec![], |state| state != "live")
        .await;
    let wakeup = console.server.wake(&agent, json!({ "reason": "behind its back" })).await;
    console.server.settled(&wakeup).await;
    assert_eq!(rows(&console).await, 0);
    console.tell_browser("Network.emulateNetworkConditions", network(false)).await;
    console.until_shown("behind its back").await;
    console.until_live().await;
}

#[tokio::test]
async fn a_page_outlives_a_restart_of_the_server() {
    let mut console = Console::open().await;
    let agent = console.server.process_agent("builder", "true").await;
    console.goto("runs").await;
    console.until_live().await;
    console.server.kill9();
    console
        .until_script("return document.querySelector('live-pill').dataset.state", vec![], |state| state != "live")
        .await;
    console.until("h1", |text| text == "Runs").await;
    console.server.start_again().await;
    let wakeup = console.server.wake(&agent, json!({ "reason": "after the restart" })).await;
    console.server.settled(&wakeup).await;
    console.until_shown("after the restart").await;
}

#[tokio::test]
async fn a_list_is_left_alone_under_the_pointer() {
    let console = Console::open().await;
    let agent = console.server.process_agent("builder", "true").await;
    let first = console.server.wake(&agent, json!({ "reason": "the first" })).await;
    console.server.settled(&first).await;
    console.goto("runs").await;
    console.until_shown("the first").await;
    console.until_live().await;
    console.point_at("tr[data-row]").await;
    let second = console.server.wake(&agent, json!({ "reason": "the second" })).await;
    console.server.settled(&second).await;
    console.until(".notice.new", |text| text.contains("new")).await;
    assert_eq!(rows(&console).await, 1);
    console.click(".notice.new button").await;
    console.until_shown("the second").await;
}

#[tokio::test]
async fn what_is_being_typed_stays() {
    let console = Console::open().await;
    let agent = console.server.process_agent("builder", WAITS).await;
    let wakeup = console.server.wake(&agent, json!({})).await;
    let run = console.server.running(&wakeup).await;
    console.goto(&format!("runs/{}?tab=events", run["id"].as_str().unwrap())).await;
    console.until_live().await;
    console.fill("#message", "please also").await;
    let_go(&console, &agent);
    console.until("h1", |text| text.contains("succeeded")).await;
    let kept = console.ask("return document.querySelector('#message')?.value ?? null").await;
    assert_eq!(kept, "please also", "a form with words in it is not taken away");
}
