//! Views of a person's own: saved, listed, renamed and removed in the browser, whatever else stands in its storage.

use fantoccini::key::Key;
use serde_json::json;

use crate::browser::Console;

const KEY: &str = "wakeful-views:default:runs";
const SHOWN: &str = "return [...document.querySelectorAll('saved-views a')].map(a => a.textContent)";

async fn until_named(console: &Console, names: serde_json::Value) {
    console.until_script(SHOWN, vec![], |shown| *shown == names).await;
}

#[tokio::test]
async fn a_view_is_saved_renamed_and_removed_by_key() {
    let console = Console::open().await;
    console.goto("runs").await;
    console.until("saved-views", |text| text.contains("Filter the list")).await;
    console.goto("runs?status=failed&since=24h&cursor=").await;
    console.ask("document.querySelector('saved-views button').focus()").await;
    console.key(Key::Enter).await;
    console.press("Failed <b>today</b>").await;
    console.key(Key::Enter).await;
    until_named(&console, json!(["Failed <b>today</b>"])).await;
    // What is saved is named at once, and stays over refreshes of the page.
    console.until_live().await;
    let agent = console.server.process_agent("builder", "exit 3").await;
    let wakeup = console.server.wake(&agent, json!({ "reason": "a new row", "max_attempts": 1 })).await;
    console.server.settled(&wakeup).await;
    console.until_shown("a new row").await;
    until_named(&console, json!(["Failed <b>today</b>"])).await;
    console.goto("runs").await;
    console.click("saved-views a").await;
    console.until_script("return location.search", vec![], |query| query == "?since=24h&status=failed").await;
    console
        .until_script("return document.querySelector('saved-views a').ariaCurrent", vec![], |now| now == "page")
        .await;
    console.click("saved-views [data-act=rename]").await;
    console.fill("#view-name", "Bad day").await;
    console.key(Key::Enter).await;
    until_named(&console, json!(["Bad day"])).await;
    console.goto("wakes").await;
    until_named(&console, json!([])).await;
    console.goto("runs?since=24h&status=failed").await;
    console.click("saved-views [data-act=remove]").await;
    console.click("dialog.confirm[open] button.danger").await;
    until_named(&console, json!([])).await;
    assert_eq!(console.ask(&format!("return localStorage.getItem('{KEY}')")).await, "[]");
}

#[tokio::test]
async fn whatever_stands_in_the_storage_is_text_or_nothing() {
    let console = Console::open().await;
    console.goto("runs").await;
    let long = "x".repeat(3_000);
    for garbage in [
        "{",
        "null",
        "7",
        "{\"name\":\"a\"}",
        "[null,7,{\"name\":{}},{\"name\":\"a\"},{\"name\":\" \",\"query\":\"\"}]",
    ] {
        console.driver.execute("localStorage.setItem(...arguments)", vec![json!(KEY), json!(garbage)]).await.unwrap();
        console.goto("runs?status=live").await;
        console.goto("runs?status=lost&since=1h").await;
        console.until("saved-views", |text| text == "Save this view").await;
    }
    let evil = json!([
        { "name": "<img src=x onerror=window.pwned=1>", "query": "javascript:window.pwned=1" },
        { "name": "<img src=x onerror=window.pwned=1>", "query": "again" },
        { "name": "long", "query": long },
        { "name": "out", "query": "//example.org/" },
    ]);
    let arguments = vec![json!(KEY), json!(evil.to_string())];
    console.driver.execute("localStorage.setItem(...arguments)", arguments).await.unwrap();
    console.goto("runs").await;
    until_named(&console, json!(["<img src=x onerror=window.pwned=1>", "out"])).await;
    let places = "return [...document.querySelectorAll('saved-views a')].map(a => a.origin + a.pathname)";
    let here = console.ask("return location.origin + location.pathname").await;
    assert_eq!(console.ask(places).await, json!([here, here]), "a view leads to the same page");
    assert_eq!(console.ask("return document.querySelectorAll('saved-views img').length").await, 0);
    assert_eq!(console.ask("return window.pwned ?? null").await, json!(null));
    // A name that is taken is refused, and is not lost.
    console.goto("runs?status=lost&since=1h").await;
    console.click("saved-views [data-act=save]").await;
    console.fill("#view-name", "out").await;
    console.key(Key::Enter).await;
    console.until("#view-error", |text| text.contains("of this name")).await;
    console.key(Key::Escape).await;
    until_named(&console, json!(["<img src=x onerror=window.pwned=1>", "out"])).await;
}
