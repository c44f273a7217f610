//! Making and changing a task: one form for both.

use askama::Template;
use serde::Deserialize;
use serde_json::Value;

use super::tasks::{PRIORITIES, STATUSES};
use super::{Shown, page};
use crate::choices::{self, Choice};
use crate::frame::Frame;
use crate::visit::Visit;

const DOLLAR: f64 = 1_000_000.0;

/// A task as the form holds it.
#[derive(Debug, Deserialize)]
struct Draft {
    id: String,
    key: String,
    title: String,
    description: Option<String>,
    status: String,
    priority: String,
    assignee: Option<String>,
    goal: Option<String>,
    project: Option<String>,
    parent: Option<String>,
    wake_parent: String,
    blocked_by: Vec<String>,
    due_at: Option<String>,
    labels: Vec<String>,
    /// Millionths of a dollar.
    reward: Option<i64>,
    adapter_overrides: Option<Value>,
    workspace: Value,
}

impl Draft {
    /// One to be made; what it is part of and who is to do it may stand in the address.
    fn new(visit: &Visit) -> Draft {
        let asked = |name| Some(visit.asked(name)).filter(|value| !value.is_empty());
        Draft {
            id: String::new(),
            key: String::new(),
            title: visit.asked("title"),
            description: None,
            status: "todo".into(),
            priority: "medium".into(),
            assignee: asked("assignee"),
            goal: asked("goal"),
            project: asked("project"),
            parent: asked("parent"),
            wake_parent: "each".into(),
            blocked_by: Vec::new(),
            due_at: None,
            labels: Vec::new(),
            reward: None,
            adapter_overrides: None,
            workspace: Value::Null,
        }
    }
}

#[derive(Template)]
#[template(path = "task_form.html")]
struct FormPage {
    frame: Frame,
    task: Draft,
    agents: Vec<Choice>,
    projects: Vec<Choice>,
    goals: Vec<Choice>,
}

impl FormPage {
    fn is_new(&self) -> bool {
        self.task.id.is_empty()
    }

    fn statuses(&self) -> &'static [&'static str] {
        STATUSES
    }

    fn priorities(&self) -> &'static [&'static str] {
        PRIORITIES
    }

    /// Where the form goes to.
    fn action(&self) -> String {
        if self.is_new() { self.frame.api("tasks") } else { format!("/api/v1/tasks/{}", self.task.id) }
    }

    /// An amount as people write it.
    fn reward(&self) -> String {
        self.task.reward.map(|micros| (micros as f64 / DOLLAR).to_string()).unwrap_or_default()
    }

    fn pretty(&self, value: Option<&Value>) -> String {
        let value = value.filter(|value| !value.is_null());
        value.and_then(|value| serde_json::to_string_pretty(value).ok()).unwrap_or_default()
    }
}

/// Shows the form for a task to be made.
pub async fn make(visit: Visit) -> Shown {
    let draft = Draft::new(&visit);
    form(visit, draft).await
}

/// Shows the form for a task to be changed.
pub async fn edit(visit: Visit) -> Shown {
    let draft = visit.calls.get(&format!("/tasks/{}", visit.id)).await?;
    form(visit, draft).await
}

async fn form(visit: Visit, task: Draft) -> Shown {
    // No events: what is being written stays as it is.
    let title = if task.id.is_empty() { "New task".into() } else { format!("Edit {}", task.key) };
    let frame = Frame::around(&visit, "tasks", "").await?.titled(title);
    let (agents, projects) = (choices::agents(&visit).await?, choices::projects(&visit).await?);
    let goals = choices::goals(&visit).await?;
    page(&FormPage { frame, task, agents, projects, goals })
}
