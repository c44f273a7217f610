//! `wakeful task …`

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use wakeful_domain::url::percent_encoded;

use super::Session;
use crate::arguments::{TaskAddArguments, TaskVerb};
use crate::environment;
use crate::failure::Failure;
use crate::output::{items, short, text, time};

pub async fn run(session: &Session, verb: &TaskVerb) -> Result<(), Failure> {
    match verb {
        TaskVerb::Add(task) => add(session, task).await,
        TaskVerb::Ls { status, assignee } => list(session, status.as_deref(), assignee.as_deref()).await,
        TaskVerb::Show { task } => show(session, task).await,
        TaskVerb::Set { task, status } => change(session, task, &json!({ "status": status })).await,
        TaskVerb::Assign { task, agent } => {
            let agent = match agent {
                Some(agent) => Some(session.agent_id(agent).await?),
                None => None,
            };
            change(session, task, &json!({ "assignee": agent })).await
        }
        TaskVerb::Comment { task, message, reopen } => {
            let path = format!("/api/v1/tasks/{}/comments", session.task_id(task).await?);
            let made = session.client.post(&path, &json!({ "body": message, "reopen": reopen })).await?;
            session.output.show(&made, || format!("{} added", text(&made, "/id")));
            Ok(())
        }
        TaskVerb::Reject { task, reason } => {
            let path = format!("/api/v1/tasks/{}/reject", session.task_id(task).await?);
            let task = session.client.post(&path, &json!({ "reason": reason })).await?;
            session.output.show(&task, || format!("{} is {} again", text(&task, "/key"), text(&task, "/status")));
            Ok(())
        }
        TaskVerb::Checkout { task } => hold(session, task, "checkout").await,
        TaskVerb::Release { task } => hold(session, task, "release").await,
    }
}

async fn add(session: &Session, arguments: &TaskAddArguments) -> Result<(), Failure> {
    let mut body = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(key.to_owned(), value);
        }
    };
    put("title", Some(json!(arguments.title)));
    put("description", arguments.description.as_ref().map(|text| json!(text)));
    put("priority", arguments.priority.as_ref().map(|text| json!(text)));
    put("project", arguments.project.as_ref().map(|text| json!(text)));
    put("goal", arguments.goal.as_ref().map(|text| json!(text)));
    put("due_at", arguments.due.as_ref().map(|text| json!(text)));
    put("labels", (!arguments.label.is_empty()).then(|| json!(arguments.label)));
    put("workspace", arguments.worktree.then(|| json!({ "worktree": true })));
    if let Some(agent) = &arguments.assignee {
        put("assignee", Some(json!(session.agent_id(agent).await?)));
    }
    if let Some(parent) = &arguments.parent {
        put("parent", Some(json!(parent_id(session, parent).await?)));
    }
    put("wake_parent", arguments.wake_parent.as_ref().map(|text| json!(text)));
    let mut blockers = Vec::new();
    for blocker in &arguments.blocked_by {
        blockers.push(session.task_id(blocker).await?);
    }
    put("blocked_by", (!blockers.is_empty()).then(|| json!(blockers)));
    let task = session.client.post(&session.of_company("/tasks"), &Value::Object(body)).await?;
    session.output.show(&task, || {
        let made = format!("{} ({}) added", text(&task, "/key"), text(&task, "/id"));
        match arguments.assignee {
            Some(_) if !arguments.blocked_by.is_empty() => {
                format!("{made}; its assignee is woken once nothing blocks it")
            }
            Some(_) => format!("{made}; its assignee is woken"),
            None => format!("{made}; give it to an agent with: wakeful task assign {} AGENT", text(&task, "/key")),
        }
    });
    Ok(())
}

/// The task that a new one is a part of; of a run without another word, its own.
async fn parent_id(session: &Session, parent: &str) -> Result<String, Failure> {
    if !parent.is_empty() {
        return session.task_id(parent).await;
    }
    environment::task().ok_or_else(|| {
        Failure::usage("--parent has no value, and this is no run with a task").hint("name one: --parent T-12")
    })
}

async fn change(session: &Session, task: &str, body: &Value) -> Result<(), Failure> {
    let id = session.task_id(task).await?;
    let task = session.client.patch(&format!("/api/v1/tasks/{id}"), body).await?;
    session.output.show(&task, || say(&task));
    Ok(())
}

async fn hold(session: &Session, task: &str, verb: &str) -> Result<(), Failure> {
    let id = session.task_id(task).await?;
    let task = session.client.post(&format!("/api/v1/tasks/{id}/{verb}"), &json!({})).await?;
    session.output.show(&task, || say(&task));
    Ok(())
}

async fn list(session: &Session, status: Option<&str>, assignee: Option<&str>) -> Result<(), Failure> {
    let mut path = session.of_company("/tasks?limit=200");
    if let Some(status) = status {
        path.push_str(&format!("&status={}", percent_encoded(status)));
    }
    if let Some(agent) = assignee {
        path.push_str(&format!("&assignee={}", session.agent_id(agent).await?));
    }
    let tasks = session.client.get(&path).await?;
    let names = session.agent_names().await?;
    let output = session.output;
    output.show(&tasks, || {
        let row = |task: &Value| {
            vec![
                text(task, "/key"),
                output.status(&text(task, "/status")),
                text(task, "/priority"),
                named(&names, &text(task, "/assignee")),
                short(&text(task, "/title"), 60),
                text(task, "/id"),
            ]
        };
        output.table(&["key", "status", "priority", "assignee", "title", "id"], items(&tasks).iter().map(row).collect())
    });
    Ok(())
}

async fn show(session: &Session, task: &str) -> Result<(), Failure> {
    let path = format!("/api/v1/tasks/{}", session.task_id(task).await?);
    let task = session.client.get(&path).await?;
    if session.output.is_json {
        session.output.show(&task, String::new);
        return Ok(());
    }
    let comments = session.client.get(&format!("{path}/comments?limit=50")).await?;
    let names = session.agent_names().await?;
    session.output.show(&task, || {
        let mut lines = vec![say(&task)];
        for comment in items(&comments).iter().rev() {
            let who = named(&names, &text(comment, "/actor/id"));
            let head = format!("\n{} {who}:", time(comment, "/created_at"));
            lines.push(format!("{head}\n  {}", text(comment, "/body").replace('\n', "\n  ")));
        }
        lines.join("\n")
    });
    Ok(())
}

/// An agent by its name where that is known.
fn named(names: &HashMap<String, String>, id: &str) -> String {
    names.get(id).cloned().unwrap_or_else(|| id.to_owned())
}

fn say(task: &Value) -> String {
    let mut lines = vec![format!("{} {} ({})", text(task, "/key"), text(task, "/title"), text(task, "/id"))];
    let list = |pointer: &str| {
        let values = task.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let rows = [
        ("status", text(task, "/status")),
        ("priority", text(task, "/priority")),
        ("assignee", text(task, "/assignee")),
        ("held by", text(task, "/held_by")),
        ("project", text(task, "/project")),
        ("goal", text(task, "/goal")),
        ("parent", text(task, "/parent")),
        ("blocked by", list("/blocked_by")),
        ("labels", list("/labels")),
        ("due", text(task, "/due_at")),
    ];
    for (name, value) in rows {
        if !value.is_empty() || matches!(name, "assignee" | "held by") {
            lines.push(format!("  {name:<10} {}", if value.is_empty() { "nobody" } else { &value }));
        }
    }
    if !text(task, "/description").is_empty() {
        lines.push(format!("\n{}", text(task, "/description")));
    }
    lines.join("\n")
}
