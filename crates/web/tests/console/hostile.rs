//! What agents write is shown, and does nothing.

use serde_json::json;

use crate::browser::Console;
use crate::pages;

/// Tags, escapes that colour, link, retitle and clear, marks that turn text around, bytes that are no text, and a line
/// longer than anybody reads.
const SCRIPT: &str = r#"printf '<script>window.pwned=1</script><img src=x onerror="window.pwned=1">\n'
printf '\033[31mred\033[0m plain \033]0;title\007\033]8;;javascript:window.pwned=1\033\\link\033]8;;\033\\ \033[2J\033[H end\n'
printf 'left \342\200\256thgir\n'
printf 'bytes \377\376 end\n'
head -c 10000000 /dev/zero | tr '\0' 'x'; echo
printf 'last line\n'"#;

#[tokio::test]
async fn a_hostile_log_is_text() {
    let console = Console::open().await;
    let agent = console.server.process_agent("hostile", SCRIPT).await;
    let reason = "<img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script>";
    let wakeup = console.server.wake(&agent, json!({ "reason": reason })).await;
    let settled = console.server.settled(&wakeup).await;
    let run = settled["run_id"].as_str().unwrap().to_owned();
    console.goto("runs").await;
    console.until_shown(reason).await;
    console.goto(&format!("runs/{run}?tab=log")).await;
    console.until("log-view", |text| text.contains("<script>window.pwned=1</script>")).await;
    console
        .until("log-view", |text| text.contains("plain") && text.contains("link") && text.contains("bytes \u{fffd}"))
        .await;
    let red = console
        .ask("return [...document.querySelectorAll('log-view [class*=ansi-fg-1]')].map(e => e.innerText).join()")
        .await;
    assert_eq!(red, "red");
    assert_eq!(
        console
            .ask(
                "return document.querySelectorAll('log-view script, log-view img, log-view a[href^=javascript]').length"
            )
            .await,
        0
    );
    let text = console.ask("return document.querySelector('log-view').textContent").await;
    let text = text.as_str().unwrap();
    assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "no escape reaches the page");
    assert!(!text.contains('\u{202e}') && text.contains("U+202E"), "marks that turn text around are named");
    console.click("log-view .log-end").await;
    console.until("log-view", |text| text.contains("last line")).await;
    assert_eq!(console.ask("return window.pwned ?? null").await, json!(null));
    assert!(console.ask("return document.title").await.as_str().unwrap().contains("Wakeful"));
}

#[tokio::test]
async fn a_name_is_no_markup() {
    let console = Console::open().await;
    let (status, task) = console
        .server
        .post("/companies/default/tasks", &json!({ "title": "<img src=x onerror=window.pwned=1>" }))
        .await;
    assert_eq!(status, 201, "{task}");
    for page in ["tasks".to_owned(), format!("tasks/{}", task["id"].as_str().unwrap()), "tasks?view=board".to_owned()] {
        console.goto(&page).await;
        console.until_shown("<img src=x onerror=window.pwned=1>").await;
        assert_eq!(console.ask("return window.pwned ?? null").await, json!(null), "{page}");
    }
}

#[tokio::test]
async fn what_a_tool_returned_is_text_below_its_call() {
    let console = Console::open().await;
    let run = pages::spoken(&console.server).await;
    console.goto(&format!("runs/{run}?tab=transcript")).await;
    console.until(".transcript", |text| text.contains("No result yet.")).await;
    let ask = async |script: &str| console.ask(&format!("return {script}")).await;
    assert_eq!(ask("document.querySelectorAll('.transcript > .t-tool').length").await, 3);
    assert_eq!(ask("document.querySelectorAll('.transcript :is(script, img)').length").await, 0);
    assert_eq!(
        ask("document.querySelector('.transcript .s-failed > p').innerText").await.as_str().unwrap().lines().next(),
        Some("failed")
    );
    let folded = ".transcript .returned details";
    assert_eq!(ask(&format!("document.querySelector('{folded}').open")).await, false);
    console.click(&format!("{folded} summary")).await;
    console.until(folded, |text| text.contains("bytes left out") && text.ends_with("the end")).await;
    let text = ask(&format!("document.querySelector('{folded}').textContent")).await;
    let text = text.as_str().unwrap();
    assert!(text.contains("<script>window.pwned=1</script>") && text.contains("\nred ⟦U+202E⟧thgir"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
    assert_eq!(ask("window.pwned ?? null").await, json!(null));
}
