//! From nothing to a woken agent, its log, and a stop: what somebody does in the first minute.

use crate::browser::Console;

#[tokio::test]
async fn a_first_agent_is_added_woken_watched_and_stopped() {
    let console = Console::open().await;
    console.until(".empty h2", |text| text == "Welcome to Wakeful").await;
    console.click(".empty a.primary").await;
    console.until_script("return location.pathname", vec![], |path| path == "/c/default/agents/new").await;
    console.fill("[name=name]", "greeter").await;
    console.fill("[name='adapter.command']", "echo hello from the first agent; sleep 60").await;
    console.click("#page form[action$='/agents'] button[type=submit]").await;
    console.until("h1", |text| text.contains("greeter")).await;
    console.fill("form[action$='/wake'] [name=reason]", "try it out").await;
    console.click("form[action$='/wake'] button[type=submit]").await;
    // The command below the form says the reason, too: what tells is the page of the wakeup.
    let path = "return location.pathname";
    console.until_script(path, vec![], |path| path.as_str().is_some_and(|path| path.contains("/wakes/wak_"))).await;
    console.until_shown("try it out").await;
    console.goto("runs").await;
    console.until("tr[data-row]", |text| text.contains("running")).await;
    console.click("tr[data-row] td.main a").await;
    console.until("h1", |text| text.contains("greeter")).await;
    console.until("log-view", |text| text.contains("hello from the first agent")).await;
    console.click(".page-head .danger").await;
    console.click("dialog.confirm[open] button.danger").await;
    console.until("h1", |text| text.contains("cancelled")).await;
    assert!(console.server.left_over().is_empty());
}

#[tokio::test]
async fn a_mistake_is_told_at_its_field() {
    let console = Console::open().await;
    console.goto("agents/new").await;
    console.fill("[name=name]", "not a name!").await;
    console.fill("[name='adapter.command']", "true").await;
    console.click("#page form[action$='/agents'] button[type=submit]").await;
    console.until(".field .error", |text| !text.is_empty()).await;
    let wrong = console.ask("return document.querySelector('[aria-invalid=true]').name").await;
    assert_eq!(wrong, "name");
    assert_eq!(console.ask("return document.activeElement.name").await, "name");
}
