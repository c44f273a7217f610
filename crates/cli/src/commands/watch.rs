//! Watching a run until it is over: a plain process by what it writes, an agent with an event
//! stream of its own by what that means.

use serde_json::Value;

use super::{Session, run};
use crate::event_stream::EventStream;
use crate::failure::Failure;
use crate::output::{short, text};

/// Kinds of run events that say what an agent does; the others are about the run itself.
const TELLING: &[&str] = &["message", "tool", "rate_limit", "error", "progress", "session_unknown"];

/// Prints what the run does, until it is over; gives the run as it ended.
pub async fn run(session: &Session, run_id: &str, mut events: EventStream) -> Result<Value, Failure> {
    let path = format!("/api/v1/runs/{run_id}");
    let is_process = text(&session.client.get(&path).await?, "/adapter") == "process";
    if is_process && !session.output.is_json {
        run::follow_log(session, run_id).await?;
    }
    let mut seen = 0;
    loop {
        // Asked first: a run that is over adds no events to what is read below.
        let run = session.client.get(&path).await?;
        if !is_process && !session.output.is_json {
            seen = tell(session, &path, seen).await?;
        }
        if !text(&run, "/finished_at").is_empty() {
            return Ok(run);
        }
        events.next().await?;
    }
}

async fn tell(session: &Session, path: &str, mut seen: i64) -> Result<i64, Failure> {
    loop {
        let page = session.client.get(&format!("{path}/events?after={seen}")).await?;
        let events = crate::output::items(&page);
        if events.is_empty() {
            return Ok(seen);
        }
        for event in events {
            seen = event.get("seq").and_then(Value::as_i64).unwrap_or(seen);
            let kind = text(event, "/type");
            if TELLING.contains(&kind.as_str()) {
                let told = text(event, "/message");
                let line = if kind == "message" { told } else { format!("[{kind}] {}", short(&told, 200)) };
                session.output.raw(&format!("{line}\n"));
            }
        }
    }
}
