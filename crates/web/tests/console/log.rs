//! The log viewer over many records: colours that go on, long lines in pieces, calls longer than a page.

use serde_json::json;

use crate::browser::Console;

/// Opens the log of a run of a script, at a line if one is named.
async fn open(console: &Console, name: &str, script: &str, line: &str) -> String {
    let agent = console.server.process_agent(name, script).await;
    let wakeup = console.server.wake(&agent, json!({})).await;
    let settled = console.server.settled(&wakeup).await;
    let run = settled["run_id"].as_str().unwrap().to_owned();
    console.goto(&format!("runs/{run}?tab=log{line}")).await;
    run
}

/// What is written in a colour of the line with this number.
async fn until_coloured(console: &Console, line: u64, class: &str, expected: &str) {
    let script = "return document.querySelector(`[data-line=\"${arguments[0]}\"] .${arguments[1]}`)?.innerText ?? null";
    console.until_script(script, vec![json!(line), json!(class)], |text| text == expected).await;
}

#[tokio::test]
async fn colours_go_on_in_the_next_line_of_their_stream() {
    let console = Console::open().await;
    let script = r"printf '\033[31mred\n'; sleep 0.2; printf 'plain\n' >&2; sleep 0.2
printf '\033[1mstill\n'; sleep 0.2; printf '\033[32mgreen\nleaf\n' >&2; sleep 0.2; printf 'more\033[0m none\nover\n'";
    open(&console, "painter", script, "").await;
    until_coloured(&console, 1, "ansi-fg-1", "red").await;
    until_coloured(&console, 3, "ansi-fg-1.ansi-bold", "still").await;
    until_coloured(&console, 5, "ansi-fg-2", "leaf").await;
    until_coloured(&console, 6, "ansi-fg-1.ansi-bold", "more").await;
    let plain = "return [2, 7].map(line => document.querySelectorAll(`[data-line=\"${line}\"] span span`).length)";
    assert_eq!(console.ask(plain).await, json!([0, 0]), "streams have their own, and a reset ends it");
}

#[tokio::test]
async fn colours_are_right_where_a_log_is_opened_in_the_middle() {
    let console = Console::open().await;
    let script = r"seq -f 'line %05.0f' 1 14900; printf '\033[33m'; seq -f 'line %05.0f' 14901 20000";
    open(&console, "painter", script, "#L15000").await;
    until_coloured(&console, 15000, "ansi-fg-3", "line 15000").await;
    console.ask("document.querySelector('.log-body').scrollTop = 0").await;
    console.until("[data-line='1']", |text| text.contains("line 00001")).await;
    assert_eq!(console.ask("return document.querySelectorAll('.log-line [class*=ansi-]').length").await, 0);
}

#[tokio::test]
async fn a_long_line_in_pieces_is_one_line() {
    let console = Console::open().await;
    let script = r#"echo first; head -c 200000 /dev/zero | tr '\0' 'x'; echo the-end
printf '{"type":"result","result":"'; head -c 150000 /dev/zero | tr '\0' 'y'; echo '"}'
head -c 10000000 /dev/zero | tr '\0' 'z'; echo; echo last"#;
    let run = open(&console, "talker", script, "").await;
    console.until("[data-line='2']", |text| text.contains("show all 196 KiB")).await;
    console.until("log-view", |text| text.contains("last") && text.contains("result")).await;
    let rows = console.ask("return document.querySelectorAll('.log-line').length").await.as_i64().unwrap();
    assert!(rows <= 7, "{rows} rows: a line is one, or one for every 4 MiB");
    console.until("log-view .log-fold[data-fold^='j']", |text| text.contains("result")).await;
    console.click("[data-line='2'] .log-fold").await;
    let length = "return document.querySelector('[data-line=\"2\"] .log-text').textContent.length";
    console.until_script(length, vec![], |length| length == 200_007).await;
    // A piece has its address too.
    console.goto("runs").await;
    console.goto(&format!("runs/{run}?tab=log#L4")).await;
    console.until_script(length, vec![], |length| length == 200_007).await;
    console
        .until_script("return document.querySelector('[data-line=\"2\"]').className", vec![], |class| {
            class.as_str().unwrap().contains("marked")
        })
        .await;
}

#[tokio::test]
async fn a_call_longer_than_a_page_is_folded_whole() {
    let console = Console::open().await;
    let script = r#"echo before; seq 1 6000 | sed 's/.*/{"type":"progress","tool_use_id":"call-1","text":"step & of the work that is done here"}/'
echo after"#;
    let run = open(&console, "builder", script, "").await;
    console.until("[data-line='2'] .log-fold", |text| text.contains("6,000 lines of one call")).await;
    console.until("[data-line='6002']", |text| text.contains("after")).await;
    assert_eq!(console.ask("return document.querySelectorAll('.log-line').length").await, 3);
    console.goto("runs").await;
    console.goto(&format!("runs/{run}?tab=log#L3000")).await;
    console.until("[data-line='3000']", |text| text.contains("step 2999 of")).await;
    console
        .until_script("return document.querySelector('[data-line=\"3000\"]').className", vec![], |class| {
            class.as_str().unwrap().contains("marked")
        })
        .await;
}
