//! One task: what is to be done, how it stands and why, what it is part of and waits for, what was said about it.

use askama::Template;
use serde::Deserialize;

use super::tasks::{PRIORITIES, STATUSES, Task};
use super::{Shown, page};
use crate::call::query;
use crate::choices::{self, Choice};
use crate::failure::Failure;
use crate::frame::Frame;
use crate::pieces;
use crate::seen::{Actor, List, Names, Run, Why};
use crate::visit::Visit;

/// Runs, comments and parts that are shown at most.
const SHOWN: &str = "50";
/// Blockers that are shown with their states.
const BLOCKERS_SHOWN: usize = 20;
/// Tasks above this one that are shown.
const PARENTS_SHOWN: usize = 10;

/// What is shown of a task beyond what lists show.
#[derive(Debug, Deserialize)]
struct Whole {
    #[serde(flatten)]
    task: Task,
    description: Option<String>,
    goal: Option<String>,
    project: Option<String>,
    wake_parent: String,
    due_at: Option<String>,
    reward: Option<i64>,
    created_at: String,
    closed_at: Option<String>,
}

/// What somebody said.
#[derive(Debug, Deserialize)]
struct Comment {
    id: String,
    actor: Actor,
    run: Option<String>,
    body: String,
    created_at: String,
}

#[derive(Template)]
#[template(path = "task.html")]
struct TaskPage {
    frame: Frame,
    whole: Whole,
    why: Why,
    /// What it is part of, the root first.
    parents: Vec<Task>,
    children: Vec<Task>,
    has_more_children: bool,
    blockers: Vec<Task>,
    /// Oldest first.
    comments: Vec<Comment>,
    older_comments: Option<String>,
    runs: Vec<Run>,
    names: Names,
    agents: Vec<Choice>,
    projects: Vec<Choice>,
    goals: Vec<Choice>,
}

impl TaskPage {
    fn task(&self) -> &Task {
        &self.whole.task
    }

    fn statuses(&self) -> &'static [&'static str] {
        STATUSES
    }

    fn priorities(&self) -> &'static [&'static str] {
        PRIORITIES
    }

    fn is_closed(&self) -> bool {
        matches!(self.whole.task.status.as_str(), "done" | "cancelled")
    }

    /// What wakes the parent's agent, in words.
    fn parent_words(&self) -> &'static str {
        match self.whole.wake_parent.as_str() {
            "all" => "once all its parts are closed",
            "never" => "not by this one",
            _ => "when this one is closed",
        }
    }
}

/// Shows a task.
pub async fn show(visit: Visit) -> Shown {
    let calls = &visit.calls;
    let whole: Whole = calls.get(&format!("/tasks/{}", visit.id)).await?;
    let task = &whole.task;
    let frame = Frame::around(&visit, "tasks", "task run wakeup").await?;
    let frame = frame.titled(format!("{} {}", task.key, task.title));
    let why: Why = calls.get(&format!("/tasks/{}/why", task.id)).await?;
    let parents = parents(&visit, task).await?;
    let of_task = query(&[("parent", &task.id), ("limit", SHOWN)]);
    let children: List<Task> = calls.get(&visit.of_company(&format!("tasks{of_task}"))).await?;
    let mut blockers = Vec::new();
    for id in task.blocked_by.iter().take(BLOCKERS_SHOWN) {
        blockers.extend(calls.find::<Task>(&format!("/tasks/{id}")).await?);
    }
    let said = query(&[("limit", SHOWN), ("cursor", &visit.asked("comments"))]);
    let comments: List<Comment> = calls.get(&format!("/tasks/{}/comments{said}", task.id)).await?;
    let of_task = query(&[("task", &task.id), ("limit", SHOWN)]);
    let runs: List<Run> = calls.get(&visit.of_company(&format!("runs{of_task}"))).await?;
    let speakers = comments.items.iter().filter(|comment| comment.actor.r#type == "agent");
    let speakers = speakers.map(|comment| comment.actor.id.as_str());
    let workers = children.items.iter().chain([task]).filter_map(|task| task.assignee.as_deref());
    let ids = speakers.chain(workers).chain(runs.items.iter().map(|run| run.agent.as_str())).collect();
    let names = Names::of(calls, &visit.company, ids).await?;
    let (agents, projects) = (choices::agents(&visit).await?, choices::projects(&visit).await?);
    let goals = choices::goals(&visit).await?;
    page(&TaskPage {
        frame,
        why,
        parents,
        has_more_children: children.next_cursor.is_some(),
        children: children.items,
        blockers,
        comments: comments.items.into_iter().rev().collect(),
        older_comments: comments.next_cursor,
        runs: runs.items,
        names,
        agents,
        projects,
        goals,
        whole,
    })
}

/// What a task is part of, and what that is part of, the root first.
async fn parents(visit: &Visit, task: &Task) -> Result<Vec<Task>, Failure> {
    let (mut parents, mut above) = (Vec::new(), task.parent.clone());
    while let Some(id) = above.take().filter(|_| parents.len() < PARENTS_SHOWN) {
        let Some(parent) = visit.calls.find::<Task>(&format!("/tasks/{id}")).await? else { break };
        above.clone_from(&parent.parent);
        parents.push(parent);
    }
    parents.reverse();
    Ok(parents)
}
