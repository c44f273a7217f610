//! `wakeful escalation …`, `wakeful escalate` and `wakeful drain`: what goes to and from the operator.

use serde_json::{Value, json};

use super::Session;
use crate::arguments::{EscalateArguments, EscalationVerb};
use crate::failure::Failure;
use crate::output::{items, short, text, time};

pub async fn run(session: &Session, verb: &EscalationVerb) -> Result<(), Failure> {
    match verb {
        EscalationVerb::Ls { all } => list(session, *all).await,
        EscalationVerb::Ack { escalation } => move_on(session, escalation, "ack").await,
        EscalationVerb::Resolve { escalation } => move_on(session, escalation, "resolve").await,
    }
}

async fn list(session: &Session, all: bool) -> Result<(), Failure> {
    let wanted: &[&str] = if all { &[""] } else { &["&status=open", "&status=acknowledged"] };
    let mut found = json!({ "items": [] });
    for filter in wanted {
        let page = session.client.get(&session.of_company(&format!("/escalations?limit=200{filter}"))).await?;
        if let Some(shown) = found.get_mut("items").and_then(Value::as_array_mut) {
            shown.extend(items(&page).iter().cloned());
        }
    }
    let output = session.output;
    output.show(&found, || {
        if items(&found).is_empty() {
            return "nothing waits for you".into();
        }
        let row = |escalation: &Value| {
            vec![
                text(escalation, "/id"),
                output.status(&text(escalation, "/status")),
                text(escalation, "/severity"),
                time(escalation, "/last_at"),
                text(escalation, "/count"),
                short(&text(escalation, "/title"), 60),
                short(&text(escalation, "/detail"), 100),
            ]
        };
        let head = ["id", "status", "severity", "last", "times", "title", "detail"];
        output.table(&head, items(&found).iter().map(row).collect())
    });
    Ok(())
}

async fn move_on(session: &Session, escalation: &str, verb: &str) -> Result<(), Failure> {
    let path = session.of_company(&format!("/escalations/{escalation}/{verb}"));
    let moved = session.client.post(&path, &json!({})).await?;
    session.output.show(&moved, || format!("{} is {}", text(&moved, "/id"), text(&moved, "/status")));
    Ok(())
}

/// Asks for a person's attention.
pub async fn escalate(session: &Session, arguments: &EscalateArguments) -> Result<(), Failure> {
    let body = json!({
        "title": arguments.title,
        "detail": arguments.detail,
        "severity": arguments.severity,
        "key": arguments.key,
    });
    let raised = session.client.post(&session.of_company("/escalations"), &body).await?;
    session.output.show(&raised, || format!("{} raised", text(&raised, "/id")));
    Ok(())
}

/// Lets the server start nothing new, or ends that.
pub async fn drain(session: &Session, off: bool) -> Result<(), Failure> {
    let path = if off { "/api/v1/undrain" } else { "/api/v1/drain" };
    let host = session.client.post(path, &json!({})).await?;
    session.output.show(&host, || {
        let live = text(&host, "/live_runs");
        match off {
            true => format!("the server starts runs again; {live} are live"),
            false => format!("the server starts nothing new; {live} runs go on; `wakeful drain --off` ends it"),
        }
    });
    Ok(())
}
