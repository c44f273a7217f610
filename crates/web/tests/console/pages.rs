//! Every page as the server gives it, empty and furnished.

use std::collections::BTreeSet;

use serde_json::json;

use crate::access::{get, session};
use crate::support::Server;

/// What a furnished server holds that pages are about.
pub struct Made {
    agent: String,
    task: String,
    schedule: String,
    failed_run: String,
    live_run: String,
    failed_wakeup: String,
    thread: String,
    channel: String,
}

impl Made {
    /// Every page, in its main states.
    pub fn pages(&self) -> Vec<String> {
        let Made { agent, task, schedule, failed_run, live_run, failed_wakeup, thread, channel } = self;
        let mut pages: Vec<String> = LISTS.iter().map(|page| (*page).to_owned()).collect();
        pages.extend([
            "runs?status=lost".to_owned(),
            format!("runs/{failed_run}?tab=events"),
            format!("runs/{failed_run}?tab=context"),
            format!("runs/{failed_run}?tab=cost"),
            format!("runs/{live_run}?tab=transcript"),
            format!("runs/{failed_run}?tab=log"),
            format!("runs/{live_run}?tab=process"),
            format!("wakes/{failed_wakeup}"),
            format!("schedules/{schedule}"),
            format!("schedules/{schedule}/edit"),
            format!("agents/{agent}"),
            format!("agents/{agent}?tab=runs"),
            format!("agents/{agent}?tab=sessions"),
            format!("agents/{agent}?tab=configuration"),
            format!("agents/{agent}/edit"),
            format!("tasks/{task}"),
            format!("tasks/{task}/edit"),
            format!("mail?thread={thread}"),
            format!("notifications/channels/{channel}/edit"),
        ]);
        pages
    }
}

/// Pages that need nothing to be about.
const LISTS: &[&str] = &[
    "inbox",
    "now",
    "runs",
    "wakes",
    "timeline",
    "agents",
    "agents/new",
    "agents/new?kind=claude",
    "tasks",
    "tasks?view=board",
    "tasks?view=tree",
    "tasks/new",
    "schedules",
    "schedules/new",
    "schedules/new?does=task",
    "schedules/new?does=action",
    "schedules/plan",
    "subscriptions",
    "subscriptions/new",
    "mail",
    "costs",
    "costs?by=day",
    "notifications",
    "notifications/channels/new",
    "settings",
    "settings?tab=tokens",
    "settings?tab=secrets",
    "settings?tab=retention",
    "settings?tab=projects",
    "settings?tab=goals",
    "settings?tab=escalations",
    "settings?tab=companies",
    "health",
];

async fn made(server: &Server, path: &str, body: serde_json::Value) -> String {
    let (status, made) = server.post(&format!("/companies/default/{path}"), &body).await;
    assert_eq!(status, 201, "{path}: {made}");
    made["id"].as_str().unwrap().to_owned()
}

/// Something on every page: what runs, waits, failed, is planned, was said and asked.
pub async fn furnish(server: &Server) -> Made {
    let agent = server.process_agent("builder", "sleep 300").await;
    let failing = server.process_agent("tester", "echo 'assertion failed: 1 + 1' >&2; exit 3").await;
    let live = server.wake(&agent, json!({ "reason": "build the release" })).await;
    let live_run = server.running(&live).await["id"].as_str().unwrap().to_owned();
    server.wake(&agent, json!({ "reason": "build it again", "priority": 90 })).await;
    server.wake(&failing, json!({ "reason": "later", "delay_ms": 3_600_000 })).await;
    let failed_wakeup = server.wake(&failing, json!({ "reason": "test the release" })).await;
    let failed = server.settled(&failed_wakeup).await;
    let failed_run = failed["run_id"].as_str().unwrap().to_owned();
    let task = made(server, "tasks", json!({ "title": "Ship the release", "description": "All of it." })).await;
    made(server, "tasks", json!({ "title": "Write the notes", "parent": task, "status": "backlog" })).await;
    let (status, comment) = server.post(&format!("/tasks/{task}/comments"), &json!({ "body": "Nearly there." })).await;
    assert_eq!(status, 201, "{comment}");
    let wake = json!({ "agent": agent, "reason": "the nightly build" });
    let nightly = json!({ "name": "nightly", "trigger": { "cron": "0 3 * * *" }, "target": { "wake": wake } });
    let schedule = made(server, "schedules", nightly).await;
    made(
        server,
        "subscriptions",
        json!({ "agent": agent, "source": { "topic": "deploys" }, "on": ["topic.published"] }),
    )
    .await;
    made(server, "budgets", json!({ "metric": "runs", "window": "day", "limit": 100 })).await;
    made(server, "escalations", json!({ "title": "Which branch?", "detail": "There are two.", "severity": "high" }))
        .await;
    let thread = made(
        server,
        "messages",
        json!({ "to": "builder", "subject": "Release", "body": "Please take the second branch." }),
    )
    .await;
    let (status, secret) =
        server.post("/companies/default/secrets", &json!({ "name": "deploy_key", "value": "s3cret-value" })).await;
    assert_eq!(status, 201, "{secret}");
    let hook = json!({ "url": "https://hooks.example/T/k3y", "headers": { "x-key": "s3cret-value" } });
    let channel = made(server, "channels", json!({ "name": "ops", "target": { "webhook": hook } })).await;
    Made { agent, task, schedule, failed_run, live_run, failed_wakeup, thread, channel }
}

/// What a tool returns on [`spoken`]'s page: tags, a colour, a mark that turns text around, and a word too long for any
/// page.
pub const HOSTILE: &str =
    "<script>window.pwned=1</script><img src=x onerror=\"window.pwned=1\">\n\u{1b}[31mred\u{1b}[0m \u{202e}thgir";

/// A live run of an agent that has used tools: one returned much, one failed, one has not returned yet.
pub async fn spoken(server: &Server) -> String {
    let session = "c6b62c6f-7ead-4fd6-9922-e952131177ff";
    let told = |kind: &str, content: serde_json::Value| {
        json!({ "type": kind, "session_id": session, "message": { "id": "m", "content": [content] } }).to_string()
    };
    let call = |id: &str, command: &str| {
        let input = json!({ "command": command });
        told("assistant", json!({ "type": "tool_use", "id": id, "name": "Bash", "input": input }))
    };
    let result = |id: &str, text: &str, is_error: bool| {
        told("user", json!({ "type": "tool_result", "tool_use_id": id, "content": text, "is_error": is_error }))
    };
    let lines = [
        json!({ "type": "system", "subtype": "init", "session_id": session, "model": "m-1" }).to_string(),
        told("assistant", json!({ "type": "text", "text": "I look at it." })),
        call("t1", "cat page.html"),
        call("t2", "cargo test"),
        result("t1", &format!("{HOSTILE}{}\nthe end", "x".repeat(9_000)), false),
        result("t2", "Exit code 101\nno such test", true),
        call("t3", "sleep 300"),
    ];
    let script = format!("cat > /dev/null\ncat <<'EOF'\n{}\nEOF\nsleep 300", lines.join("\n"));
    let adapter = json!({ "type": "claude", "command": ["/bin/sh", "-c", script], "steering": false });
    let agent = server.agent(&json!({ "name": "ann", "adapter": adapter })).await;
    let run = server.running(&server.wake(&agent, json!({})).await).await["id"].as_str().unwrap().to_owned();
    server.until(&format!("/runs/{run}/events"), |events| events.to_string().contains("sleep 300")).await;
    run
}

/// The page's own part, with what differs from run to run taken out.
fn normal(page: &str) -> String {
    let page = page.replace("%3A", ":");
    let main = page
        .split_once("<main")
        .and_then(|(_, rest)| rest.split_once("</main>"))
        .map_or(page.as_str(), |(main, _)| main);
    let mut text = String::new();
    let mut rest = main;
    while let Some((before, from)) = rest.split_once("<svg") {
        text.push_str(before);
        rest = from.split_once("</svg>").map_or("", |(_, behind)| behind);
    }
    text.push_str(rest);
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-:.+".contains(c);
    let ends: BTreeSet<&str> = text.split(|c| !is_word(c)).filter_map(id_in).map(|id| &id[id.len() - 8..]).collect();
    let mut shown = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\n']) {
        if is_word(c) {
            word.push(c);
            continue;
        }
        shown.push_str(&plain(&word, &ends));
        word.clear();
        shown.push(c);
    }
    let shown = ["[n] min [n] s", "[n] h [n] min", "[n] ms", "0 ms", "[n] min", "[n] s", "[n] h"]
        .iter()
        .fold(shown, |shown, span| shown.replace(span, "[span]"));
    let lines: Vec<&str> = shown.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

/// What changes with the day that the test is run on.
const DAYS: &[&str] = &["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: &[&str] = &["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The id that a word is, or ends in behind a dash.
fn id_in(word: &str) -> Option<&str> {
    let last = word.rsplit('-').next()?;
    let (kind, key) = last.split_once('_')?;
    (kind.len() <= 4 && key.len() == 26).then_some(last)
}

/// A word that is the same in every run.
fn plain(word: &str, ends: &BTreeSet<&str>) -> String {
    let is_date = |part: &[u8]| part.starts_with(b"20") && part[4] == b'-' && part[7] == b'-';
    if let Some(id) = id_in(word) {
        let before = &word[..word.len() - id.len()];
        return format!("{before}[{}]", id.split('_').next().unwrap_or_default());
    }
    match word {
        word if word.len() > 18 && word.starts_with("20") && word.contains('T') => "[time]".into(),
        word if word.as_bytes().windows(10).any(is_date) => "[day]".into(),
        word if DAYS.contains(&word) || MONTHS.contains(&word) => "[day]".into(),
        word if word.parse::<f64>().is_ok() && word != "0" => "[n]".into(),
        word if ends.contains(word) => "[end]".into(),
        word => word.to_owned(),
    }
}

#[tokio::test]
async fn every_page_is_as_it_was() {
    let server = Server::start().await;
    let cookie = session(&server, server.token()).await;
    let directory = server.path().display().to_string();
    let mut shown = String::new();
    for page in LISTS {
        let answer = get(&server, &cookie, &format!("/c/default/{page}")).await;
        assert_eq!(answer.status(), 200, "{page}");
        let text = answer.text().await.unwrap().replace(&directory, "[data]");
        shown.push_str(&format!("\n=== {page}\n{}\n", normal(&text)));
    }
    insta::assert_snapshot!("empty", shown);
}

/// Whether a furnished page is the same whatever the time of day, and however far a process has come.
fn is_steady(page: &str) -> bool {
    let moves = page.starts_with("timeline") || page.ends_with("tab=process") || page.ends_with("tab=log");
    let plans = page == "schedules"
        || page == "schedules/plan"
        || (page.starts_with("schedules/sch_") && !page.ends_with("edit"));
    !moves && !plans
}

#[tokio::test]
async fn every_furnished_page_is_as_it_was() {
    let server = Server::start().await;
    let cookie = session(&server, server.token()).await;
    let directory = server.path().display().to_string();
    let made = furnish(&server).await;
    let mut shown = String::new();
    for page in made.pages() {
        let answer = get(&server, &cookie, &format!("/c/default/{page}")).await;
        let status = answer.status();
        let text = answer.text().await.unwrap().replace(&directory, "[data]");
        assert_eq!(status, 200, "{page}: {text}");
        assert!(!text.contains("s3cret-value"), "{page} shows a secret");
        if is_steady(&page) {
            shown.push_str(&format!("\n=== {}\n{}\n", normal(&page), normal(&text)));
        }
    }
    insta::assert_snapshot!("furnished", shown);
}

/// Everything that a first visit loads, compressed.
const FIRST_LOAD_BYTES_MAX: usize = 120_000;

#[tokio::test]
async fn the_first_load_is_light() {
    let server = Server::start().await;
    let cookie = session(&server, server.token()).await;
    furnish(&server).await;
    let page = get(&server, &cookie, "/c/default/runs").await.text().await.unwrap();
    let named = page.split('"').filter(|part| part.starts_with("/assets/")).map(|part| part.split('#').next().unwrap());
    let mut paths: Vec<&str> = named.collect();
    paths.sort_unstable();
    paths.dedup();
    paths.push("/c/default/runs");
    let mut bytes = 0;
    for path in &paths {
        let request = reqwest::Client::new().get(format!("{}{path}", server.address())).header("cookie", &cookie);
        let answer = request.header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!(answer.headers()["content-encoding"], "gzip", "{path}");
        bytes += answer.bytes().await.unwrap().len();
    }
    assert!(paths.len() > 8, "{paths:?}");
    assert!(bytes <= FIRST_LOAD_BYTES_MAX, "{bytes} bytes");
}

#[tokio::test]
async fn what_is_not_there_is_said_so() {
    let server = Server::start().await;
    let cookie = session(&server, server.token()).await;
    for path in [
        "/c/default/runs/run_01m80tmn6pevjtt1x2br3d4sr5",
        "/c/nobody/runs",
        "/c/default/nothing",
        "/c/default/runs/..%2Fme",
    ] {
        let answer = get(&server, &cookie, path).await;
        assert_eq!(answer.status(), 404, "{path}");
        assert!(answer.text().await.unwrap().contains("Not here"), "{path}");
    }
    let wrong = get(&server, &cookie, "/c/default/runs?status=nonsense").await;
    assert_eq!(wrong.status(), 422);
    assert!(wrong.text().await.unwrap().contains("status"));
}
