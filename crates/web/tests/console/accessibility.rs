//! What axe-core finds on every page, in both themes, and that nothing scrolls sideways on a phone.

use serde_json::{Value, json};

use crate::browser::Console;
use crate::pages;

/// Serious findings are failures; what is less is for a person to judge.
const RUN: &str = "
    const done = arguments[arguments.length - 1];
    axe.run(document, { resultTypes: ['violations'] }).then(found => done(found.violations
        .filter(violation => ['serious', 'critical'].includes(violation.impact))
        .map(violation => violation.id + ': ' + violation.nodes.map(node => node.html.slice(0, 200)).slice(0, 5).join(' | '))));";

/// The script that looks for what is not accessible.
#[expect(clippy::disallowed_methods, reason = "a test is told by its environment where things are")]
fn axe() -> String {
    let path = std::env::var("WAKEFUL_TEST_AXE").expect("`cargo xtask test` says where axe-core is");
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn no_page_has_a_serious_finding_by_day() {
    check("light").await;
}

#[tokio::test]
async fn no_page_has_a_serious_finding_by_night() {
    check("dark").await;
}

/// Every page in its main states, and what an agent has said and done.
async fn furnished(console: &Console) -> Vec<String> {
    let mut pages = pages::furnish(&console.server).await.pages();
    pages.push(format!("runs/{}?tab=transcript", pages::spoken(&console.server).await));
    pages
}

async fn check(theme: &str) {
    let console = Console::open().await;
    let script = axe();
    let mut found = Vec::new();
    for page in furnished(&console).await {
        console.goto(&page).await;
        console.ask(&format!("document.documentElement.dataset.theme = '{theme}'")).await;
        console.driver.execute(&script, vec![]).await.unwrap();
        let answer = console.driver.execute_async(RUN, vec![]).await.unwrap();
        let findings: Vec<Value> = answer.as_array().unwrap().clone();
        found.extend(findings.into_iter().map(|finding| format!("{page}: {finding}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test]
async fn no_page_scrolls_sideways_on_a_phone() {
    let console = Console::open().await;
    let pages = furnished(&console).await;
    let metrics = json!({ "width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": true });
    console.tell_browser("Emulation.setDeviceMetricsOverride", metrics).await;
    for page in pages {
        console.goto(&page).await;
        console.ask("document.querySelectorAll('.transcript details').forEach(folded => folded.open = true)").await;
        let width = console.ask("return document.scrollingElement.scrollWidth").await.as_i64().unwrap();
        assert!(width <= 360, "{page} is {width} px wide");
    }
}
