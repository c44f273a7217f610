//! `wakeful run …`

use serde_json::{Value, json};
use wakeful_domain::url::percent_encoded;

use super::Session;
use crate::arguments::RunVerb;
use crate::event_stream::EventStream;
use crate::failure::Failure;
use crate::output::{Output, items, short, text, time};

pub async fn run(session: &Session, verb: &RunVerb) -> Result<(), Failure> {
    match verb {
        RunVerb::Ls { agent, status, limit } => list(session, agent.as_deref(), status.as_deref(), *limit).await,
        RunVerb::Show { run } => {
            let path = format!("/api/v1/runs/{}", percent_encoded(run));
            let run = session.client.get(&path).await?;
            let tree = match text(&run, "/finished_at").is_empty() && !session.output.is_json {
                true => session.client.get(&format!("{path}/processes")).await?,
                false => Value::Null,
            };
            session.output.show(&run, || {
                [say(session.output, &run)].into_iter().chain(processes(&tree)).collect::<Vec<_>>().join("\n")
            });
            Ok(())
        }
        RunVerb::Logs { run, follow, tail } => logs(session, &percent_encoded(run), *follow, *tail).await,
        RunVerb::Steer { run, message } => {
            let path = format!("/api/v1/runs/{}/steer", percent_encoded(run));
            let steered = session.client.post(&path, &json!({ "message": message })).await?;
            session.output.show(&steered, || match text(&steered, "/delivery").as_str() {
                "session" => "on its way into the live session; the run's event `steered` confirms it".into(),
                "skipped" => format!("it was skipped: {}", text(&steered, "/wakeup/status_reason")),
                _ => "it waits in the run's inbox, and for the next run if the agent does not look".into(),
            });
            Ok(())
        }
        RunVerb::Pin { run } => {
            let run = session.client.post(&format!("/api/v1/runs/{}/pin", percent_encoded(run)), &json!({})).await?;
            session.output.show(&run, || format!("{} is kept whatever its age", text(&run, "/id")));
            Ok(())
        }
        RunVerb::Unpin { run } => {
            let run = session.client.post(&format!("/api/v1/runs/{}/unpin", percent_encoded(run)), &json!({})).await?;
            session.output.show(&run, || format!("{} goes when it is old", text(&run, "/id")));
            Ok(())
        }
        RunVerb::Cancel { run, reason } => {
            let body = json!({ "reason": reason });
            let run = session.client.post(&format!("/api/v1/runs/{}/cancel", percent_encoded(run)), &body).await?;
            session.output.show(&run, || format!("{} is being stopped", text(&run, "/id")));
            Ok(())
        }
    }
}

async fn list(session: &Session, agent: Option<&str>, status: Option<&str>, limit: i64) -> Result<(), Failure> {
    let mut path = session.of_company(&format!("/runs?limit={limit}"));
    if let Some(agent) = agent {
        path.push_str(&format!("&agent={}", session.agent_id(agent).await?));
    }
    if let Some(status) = status {
        path.push_str(&format!("&status={}", percent_encoded(status)));
    }
    let runs = session.client.get(&path).await?;
    let output = session.output;
    output.show(&runs, || {
        let row = |run: &Value| {
            vec![
                text(run, "/id"),
                output.status(&text(run, "/status")),
                time(run, "/created_at"),
                short(&said(run), 70),
            ]
        };
        output.table(&["id", "status", "created", "outcome"], items(&runs).iter().map(row).collect())
    });
    Ok(())
}

fn said(run: &Value) -> String {
    match text(run, "/error") {
        error if error.is_empty() => text(run, "/summary"),
        error => error,
    }
}

/// A run as people read it.
pub fn say(output: Output, run: &Value) -> String {
    let mut lines = vec![format!("{} {}", text(run, "/id"), output.status(&text(run, "/status")))];
    let mut add = |label: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("  {label:<10} {value}"));
        }
    };
    add("error", text(run, "/error"));
    add("code", text(run, "/error_code"));
    add("summary", text(run, "/summary"));
    add("started", time(run, "/started_at"));
    add("finished", time(run, "/finished_at"));
    add("exit", text(run, "/exit_code"));
    add("signal", text(run, "/signal"));
    add("session", [text(run, "/session/choice"), text(run, "/session_after")].join(" ").trim().to_owned());
    add("because", text(run, "/session/reason"));
    add("model", text(run, "/model"));
    let tokens = |kind: &str| text(run, &format!("/usage/{kind}_tokens"));
    let [input, output, read, written] = ["input", "output", "cache_read", "cache_write"].map(tokens);
    if [&input, &output, &read, &written].iter().any(|count| *count != "0") {
        add("tokens", format!("{input} in, {output} out, {read} cache read, {written} cache write"));
    }
    let cost = text(run, "/cost_micros");
    add("cost", if cost.is_empty() { cost } else { format!("{cost} micro-dollars") });
    add("directory", text(run, "/workspace/cwd"));
    add("because", text(run, "/workspace/reason"));
    add("branch", text(run, "/workspace/worktree/branch"));
    add("log", format!("{} bytes in {} records", text(run, "/log/bytes"), text(run, "/log/lines")));
    for wakeup in run.get("wakeups").and_then(Value::as_array).map_or(&[][..], Vec::as_slice) {
        add("woken by", format!("{} [{}] {}", text(wakeup, "/id"), text(wakeup, "/source"), text(wakeup, "/reason")));
    }
    lines.join("\n")
}

/// The process tree of a live run, children below their parents.
fn processes(tree: &Value) -> Vec<String> {
    let mut depths = std::collections::HashMap::new();
    let line = |process: &Value| {
        let depth = depths.get(&text(process, "/parent")).map_or(0, |depth| depth + 1);
        depths.insert(text(process, "/pid"), depth);
        let number = |at: &str| process.pointer(at).and_then(Value::as_u64).unwrap_or(0);
        format!(
            "  {:<10} {:>7} {} {:>5} MiB {:>6.1} s  {}{}",
            if depths.len() == 1 { "processes" } else { "" },
            text(process, "/pid"),
            text(process, "/state"),
            number("/rss_bytes") / (1024 * 1024),
            number("/cpu_ms") as f64 / 1_000.0,
            "  ".repeat(depth),
            short(&text(process, "/command"), 80)
        )
    };
    items(tree).iter().map(line).collect()
}

async fn logs(session: &Session, run: &str, follow: bool, tail: Option<usize>) -> Result<(), Failure> {
    if session.output.is_json {
        return records(session, run, follow).await;
    }
    if follow {
        return follow_log(session, run).await;
    }
    let query = tail.map(|lines| format!("?tail={lines}")).unwrap_or_default();
    session.output.raw(&session.client.text(&format!("/api/v1/runs/{run}/log/text{query}")).await?);
    Ok(())
}

/// The records as they are kept.
async fn records(session: &Session, run: &str, follow: bool) -> Result<(), Failure> {
    if !follow {
        let is_over = !text(&session.client.get(&format!("/api/v1/runs/{run}")).await?, "/finished_at").is_empty();
        if !is_over {
            let mut offset = 0;
            loop {
                let part = session.client.text(&format!("/api/v1/runs/{run}/log?offset={offset}")).await?;
                if part.is_empty() {
                    return Ok(());
                }
                offset += part.len();
                session.output.raw(&part);
            }
        }
    }
    let mut stream = EventStream::open(&session.client, &format!("/api/v1/runs/{run}/log")).await?;
    loop {
        let event = stream.next().await?;
        match event.kind.as_str() {
            "end" => return Ok(()),
            _ => session.output.raw(&format!("{}\n", event.data)),
        }
    }
}

/// Prints what a run writes, until it is over.
pub async fn follow_log(session: &Session, run: &str) -> Result<(), Failure> {
    let mut stream = EventStream::open(&session.client, &format!("/api/v1/runs/{run}/log")).await?;
    loop {
        let event = stream.next().await?;
        if event.kind == "end" {
            return Ok(());
        }
        let record: Value = serde_json::from_str(&event.data).unwrap_or(Value::Null);
        let end = if record.get("partial").and_then(Value::as_bool).unwrap_or(false) { "" } else { "\n" };
        match record.get("text").and_then(Value::as_str) {
            Some(text) => session.output.raw(&format!("{text}{end}")),
            None => {
                session.output.raw(&format!("[{} bytes that are no text]{end}", text(&record, "/base64").len() * 3 / 4))
            }
        }
    }
}
