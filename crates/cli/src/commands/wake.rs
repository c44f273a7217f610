//! `wakeful wake …`: wakes an agent, and with `--wait` follows the run to its end.

use serde_json::{Map, Value, json};
use wakeful_domain::time::{Timestamp, parse_duration};

use super::{Session, run, watch};
use crate::arguments::WakeArguments;
use crate::event_stream::{EventStream, StreamEvent};
use crate::failure::{FAILED, Failure, TEMPORARY};
use crate::output::{message, text};

pub async fn run(session: &Session, arguments: &WakeArguments) -> Result<(), Failure> {
    let id = session.agent_id(&arguments.agent).await?;
    let task = match &arguments.task {
        Some(task) => Some(session.task_id(task).await?),
        None => None,
    };
    let body = body(arguments, task)?;
    // Opened before the wake, so that nothing of it is missed.
    let events = match arguments.wait {
        true => Some(EventStream::open(&session.client, &session.of_company("/events")).await?),
        false => None,
    };
    let wakeup = session.client.post(&format!("/api/v1/agents/{id}/wake"), &body).await?;
    match events {
        Some(events) if text(&wakeup, "/status") != "skipped" => wait(session, &text(&wakeup, "/id"), events).await,
        Some(_) | None => {
            session.output.show(&wakeup, || say(&arguments.agent, &wakeup));
            Ok(())
        }
    }
}

fn body(arguments: &WakeArguments, task: Option<String>) -> Result<Value, Failure> {
    let mut body = Map::new();
    let mut put = |key: &str, value: Value| body.insert(key.to_owned(), value);
    if let Some(reason) = &arguments.message {
        put("reason", json!(reason));
    }
    if let Some(task) = task {
        put("task", json!(task));
    }
    if let Some(priority) = arguments.priority {
        put("priority", json!(priority));
    }
    if let Some(key) = &arguments.key {
        put("idempotency_key", json!(key));
    }
    if let Some(after) = &arguments.after {
        let delay = parse_duration(after).map_err(|error| Failure::usage(format!("--in: {error}")))?;
        put("delay_ms", json!(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)));
    }
    if let Some(at) = &arguments.at {
        let at: Timestamp = at.parse().map_err(|error| Failure::usage(format!("--at: {error}")))?;
        put("due_at", json!(at));
    }
    if let Some(payload) = &arguments.payload {
        let payload: Map<String, Value> = serde_json::from_str(payload)
            .map_err(|error| Failure::usage(format!("--payload is not a JSON object: {error}")))?;
        put("payload", Value::Object(payload));
    }
    Ok(Value::Object(body))
}

fn say(agent: &str, wakeup: &Value) -> String {
    let id = text(wakeup, "/id");
    match text(wakeup, "/status").as_str() {
        "skipped" => format!("{id} was skipped: {}", text(wakeup, "/status_reason").replace('_', " ")),
        "pending" if !text(wakeup, "/waiting/detail").is_empty() => {
            let until = text(wakeup, "/waiting/until");
            let until = if until.is_empty() { until } else { format!(" (until {until})") };
            format!("{id} accepted; {}{until}", text(wakeup, "/waiting/detail"))
        }
        status => format!("{id} accepted for {agent}: {status}"),
    }
}

/// Waits until the run that takes the wakeup is over, or the wakeup ends without one.
async fn wait(session: &Session, wakeup_id: &str, mut events: EventStream) -> Result<(), Failure> {
    let path = format!("/api/v1/wakeups/{wakeup_id}");
    let mut told = String::new();
    let run_id = loop {
        let wakeup = session.client.get(&path).await?;
        let run_id = text(&wakeup, "/run_id");
        if !run_id.is_empty() {
            break run_id;
        }
        match text(&wakeup, "/status").as_str() {
            "pending" => {
                let detail = text(&wakeup, "/waiting/detail");
                if detail != told && text(&wakeup, "/waiting/reason") != "dispatching" {
                    message(&format!("waiting: {detail}"));
                    told = detail;
                }
            }
            status => return Err(Failure::failed(format!("the wakeup ended without a run: {status}"))),
        }
        // Its run may have ended before anyone asked, and have put it back: then it names no run any more.
        let event = events.next().await?;
        if let Some(run_id) = run_that_took(&event, wakeup_id) {
            break run_id;
        }
    };
    let run = watch::run(session, &run_id, events).await?;
    session.output.show(&run, || format!("\n{}", run::say(session.output, &run)));
    outcome(&run)
}

/// The run that took the wakeup, if that is what the event tells.
fn run_that_took(event: &StreamEvent, wakeup_id: &str) -> Option<String> {
    if event.kind != "wakeup.claimed" {
        return None;
    }
    let event: Value = serde_json::from_str(&event.data).ok()?;
    (text(&event, "/subject") == wakeup_id).then(|| text(&event, "/data/run"))
}

/// The exit code of an awaited run.
fn outcome(run: &Value) -> Result<(), Failure> {
    let status = text(run, "/status");
    if status == "succeeded" {
        return Ok(());
    }
    let code = if text(run, "/error_code") == "usage_limit" { TEMPORARY } else { FAILED };
    let error = text(run, "/error");
    Err(Failure::new(code, format!("the run {}: {error}", status.replace('_', " ")))
        .hint(format!("`wakeful why {}` tells what happens next", text(run, "/id"))))
}
