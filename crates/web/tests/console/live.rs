//! Pages follow what happens, over cuts of the stream and restarts of the server.

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

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
    let wire = Wire::to(console.server.address()).await;
    // Its cookie is for the host, whatever the port.
    console.driver.goto(&format!("{}/c/default/runs", wire.address)).await.unwrap();
    console.until_live().await;
    wire.cut();
    let state = "return document.querySelector('live-pill').dataset.state";
    console.until_script(state, vec![], |state| state != "live").await;
    let wakeup = console.server.wake(&agent, json!({ "reason": "behind its back" })).await;
    console.server.settled(&wakeup).await;
    assert_eq!(rows(&console).await, 0);
    wire.mend();
    console.until_shown("behind its back").await;
    console.until_live().await;
}

/// What lies between the browser and the server, and can be cut.
struct Wire {
    address: String,
    is_cut: tokio::sync::watch::Sender<bool>,
}

impl Wire {
    #[expect(clippy::disallowed_methods, reason = "a wire has no engine: it goes with its test")]
    async fn to(server: &str) -> Wire {
        let server = server.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (is_cut, cut) = tokio::sync::watch::channel(false);
        tokio::task::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (server, mut cut) = (server.clone(), cut.clone());
                tokio::task::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = cut.wait_for(|is_cut| *is_cut) => {}
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    }
                });
            }
        });
        Wire { address, is_cut }
    }

    fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    fn mend(&self) {
        self.is_cut.send_replace(false);
    }
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
