//! `wakeful why ID`: reads like an explanation by a colleague.

use serde_json::Value;

use super::Session;
use crate::failure::Failure;
use crate::output::{text, time};

pub async fn run(session: &Session, id: &str) -> Result<(), Failure> {
    let path = match id.split_once('_').map(|(prefix, _)| prefix) {
        Some("wak") => format!("/api/v1/wakeups/{id}/why"),
        Some("run") => format!("/api/v1/runs/{id}/why"),
        Some("tsk") => format!("/api/v1/tasks/{id}/why"),
        None if is_task_key(id) => format!("/api/v1/tasks/{}/why", session.task_id(id).await?),
        Some(_) | None => format!("/api/v1/agents/{}/why", session.agent_id(id).await?),
    };
    let why = session.client.get(&path).await?;
    session.output.show(&why, || say(&why));
    Ok(())
}

fn is_task_key(text: &str) -> bool {
    text.strip_prefix("T-").is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

fn say(why: &Value) -> String {
    let mut lines = vec![text(why, "/summary"), String::new()];
    for link in why.get("chain").and_then(Value::as_array).map_or(&[][..], Vec::as_slice) {
        lines.push(format!("  {}  {}", time(link, "/at"), text(link, "/text")));
    }
    if !text(why, "/next").is_empty() {
        lines.push(String::new());
        lines.push(format!("Next: {}", text(why, "/next")));
    }
    lines.join("\n")
}
