//! `wakeful wakeup …`

use serde_json::{Value, json};
use wakeful_domain::url::percent_encoded;

use super::Session;
use crate::arguments::WakeupVerb;
use crate::failure::Failure;
use crate::output::{items, short, text, time};

pub async fn run(session: &Session, verb: &WakeupVerb) -> Result<(), Failure> {
    match verb {
        WakeupVerb::Ls { agent, status, limit } => list(session, agent.as_deref(), status.as_deref(), *limit).await,
        WakeupVerb::Show { wakeup } => {
            let wakeup = session.client.get(&format!("/api/v1/wakeups/{}", percent_encoded(wakeup))).await?;
            session.output.show(&wakeup, || say(&wakeup));
            Ok(())
        }
        WakeupVerb::Cancel { wakeup } => change(session, wakeup, "cancel").await,
        WakeupVerb::Retry { wakeup } => change(session, wakeup, "retry").await,
        WakeupVerb::Ack { wakeup } => change(session, wakeup, "ack").await,
    }
}

async fn change(session: &Session, wakeup: &str, verb: &str) -> Result<(), Failure> {
    let wakeup =
        session.client.post(&format!("/api/v1/wakeups/{}/{verb}", percent_encoded(wakeup)), &json!({})).await?;
    session.output.show(&wakeup, || format!("{} is {}", text(&wakeup, "/id"), text(&wakeup, "/status")));
    Ok(())
}

async fn list(session: &Session, agent: Option<&str>, status: Option<&str>, limit: i64) -> Result<(), Failure> {
    let mut path = session.of_company(&format!("/wakeups?limit={limit}"));
    if let Some(agent) = agent {
        path.push_str(&format!("&agent={}", session.agent_id(agent).await?));
    }
    if let Some(status) = status {
        path.push_str(&format!("&status={}", percent_encoded(status)));
    }
    let wakeups = session.client.get(&path).await?;
    let output = session.output;
    output.show(&wakeups, || {
        let row = |wakeup: &Value| {
            let waits = text(wakeup, "/waiting/reason");
            let why = if waits.is_empty() { text(wakeup, "/status_reason") } else { waits };
            vec![
                text(wakeup, "/id"),
                output.status(&text(wakeup, "/status")),
                why,
                text(wakeup, "/source"),
                time(wakeup, "/requested_at"),
                short(&text(wakeup, "/reason"), 50),
            ]
        };
        output
            .table(&["id", "status", "why", "source", "requested", "reason"], items(&wakeups).iter().map(row).collect())
    });
    Ok(())
}

fn say(wakeup: &Value) -> String {
    let mut lines = vec![format!("{} {}", text(wakeup, "/id"), text(wakeup, "/status"))];
    let mut add = |label: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("  {label:<10} {value}"));
        }
    };
    add("because", text(wakeup, "/status_reason"));
    add("waits", text(wakeup, "/waiting/detail"));
    add("until", text(wakeup, "/waiting/until"));
    add("source", text(wakeup, "/source"));
    add("reason", text(wakeup, "/reason"));
    add("asked by", text(wakeup, "/actor/id"));
    add("requested", time(wakeup, "/requested_at"));
    add("due", time(wakeup, "/due_at"));
    add("attempt", format!("{} of {}", text(wakeup, "/attempt"), text(wakeup, "/max_attempts")));
    add("run", text(wakeup, "/run_id"));
    add("error", text(wakeup, "/error"));
    lines.join("\n")
}
