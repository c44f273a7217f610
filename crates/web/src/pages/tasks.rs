//! Tasks: as a list, on a board, or as trees of what is part of what.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use serde::Deserialize;

use super::{Shown, page};
use crate::call::query;
use crate::choices::{self, Choice};
use crate::failure::Failure;
use crate::frame::Frame;
use crate::pieces;
use crate::seen::{List, Names};
use crate::visit::Visit;

/// Every state of a task, in the order of a board.
pub const STATUSES: &[&str] = &["backlog", "todo", "in_progress", "in_review", "blocked", "done", "cancelled"];
/// Every priority, the least first.
pub const PRIORITIES: &[&str] = &["low", "medium", "high", "critical"];
const VIEWS: &[(&str, &str)] = &[("list", "List"), ("board", "Board"), ("tree", "Tree")];
/// Tasks of one page of the list, and of one column of the board.
const SHOWN: &str = "50";
/// Calls for a tree, of 200 tasks each: a larger one is not read by anybody.
const TREE_CALLS_MAX: usize = 5;
/// Deeper tasks are drawn at the depth of this one.
const DEPTH_DRAWN_MAX: usize = 9;

/// A task, as lists show it.
#[derive(Debug, Clone, Deserialize)]
pub struct Task {
    pub id: String,
    pub key: String,
    pub title: String,
    pub status: String,
    pub priority: String,
    pub assignee: Option<String>,
    pub parent: Option<String>,
    pub blocked_by: Vec<String>,
    /// Those of them that still hold it up.
    pub open_blockers: Vec<String>,
    pub labels: Vec<String>,
    pub held_by: Option<String>,
    pub updated_at: String,
}

#[derive(Template)]
#[template(path = "tasks.html")]
struct TasksPage {
    frame: Frame,
    filter: Filter,
    view: &'static str,
    /// Of the list, or of the tree: with its depth, each behind the one that it is a part of.
    rows: Vec<(usize, Task)>,
    next: Option<String>,
    columns: Vec<Column>,
    /// Whether there are more than the tree holds.
    is_cut: bool,
    names: Names,
    agents: Vec<Choice>,
    projects: Vec<Choice>,
    goals: Vec<Choice>,
}

/// The tasks of one state.
#[derive(Debug)]
struct Column {
    status: &'static str,
    tasks: Vec<Task>,
    has_more: bool,
}

/// What is asked for, as it stands in the address.
#[derive(Debug)]
struct Filter {
    status: String,
    assignee: String,
    project: String,
    goal: String,
}

impl Filter {
    fn of(visit: &Visit) -> Filter {
        let asked = |name| visit.asked(name);
        Filter { status: asked("status"), assignee: asked("assignee"), project: asked("project"), goal: asked("goal") }
    }

    fn is_set(&self) -> bool {
        [&self.status, &self.assignee, &self.project, &self.goal].iter().any(|value| !value.is_empty())
    }

    /// The parameters of the page or of the API, with some more.
    fn query(&self, more: &[(&str, &str)]) -> String {
        let Filter { status, assignee, project, goal } = self;
        let own = [("status", status), ("assignee", assignee), ("project", project), ("goal", goal)];
        let own = own.iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
        let pairs: Vec<(&str, &str)> =
            own.map(|(name, value)| (*name, value.as_str())).chain(more.iter().copied()).collect();
        query(&pairs)
    }
}

impl TasksPage {
    fn views(&self) -> &'static [(&'static str, &'static str)] {
        VIEWS
    }

    fn statuses(&self) -> &'static [&'static str] {
        STATUSES
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.columns.iter().all(|column| column.tasks.is_empty())
    }

    fn all(&self) -> String {
        self.frame.path(&format!("tasks?view={}", self.view))
    }
}

/// Shows tasks.
pub async fn show(visit: Visit) -> Shown {
    let frame = Frame::around(&visit, "tasks", "task run").await?.titled("Tasks");
    let filter = Filter::of(&visit);
    let asked = visit.asked("view");
    let view = VIEWS.iter().find(|(name, _)| *name == asked).map_or("list", |(name, _)| name);
    let (mut rows, mut next, mut columns, mut is_cut) = (Vec::new(), None, Vec::new(), false);
    match view {
        "board" => columns = board(&visit, &filter).await?,
        "tree" => {
            let found;
            (found, is_cut) = many(&visit, &filter).await?;
            rows = grown(found);
        }
        _ => {
            let list = some(&visit, &filter, &[("limit", SHOWN), ("cursor", &visit.asked("cursor"))]).await?;
            next = list.next_cursor.map(|cursor| filter.query(&[("cursor", &cursor)]));
            rows = list.items.into_iter().map(|task| (0, task)).collect();
        }
    }
    let in_columns = columns.iter().flat_map(|column: &Column| &column.tasks);
    let all = rows.iter().map(|(_, task)| task).chain(in_columns);
    let ids = all.flat_map(|task| task.assignee.iter().chain(&task.open_blockers)).map(String::as_str).collect();
    let names = Names::of(&visit.calls, &visit.company, ids).await?;
    let (agents, projects) = (choices::agents(&visit).await?, choices::projects(&visit).await?);
    let goals = choices::goals(&visit).await?;
    page(&TasksPage { frame, filter, view, rows, next, columns, is_cut, names, agents, projects, goals })
}

async fn some(visit: &Visit, filter: &Filter, more: &[(&str, &str)]) -> Result<List<Task>, Failure> {
    visit.calls.get(&visit.of_company(&format!("tasks{}", filter.query(more)))).await
}

/// One column a state, or only the one that is asked for.
async fn board(visit: &Visit, filter: &Filter) -> Result<Vec<Column>, Failure> {
    let mut columns = Vec::new();
    for status in STATUSES.iter().filter(|status| filter.status.is_empty() || filter.status == **status) {
        let list = some(visit, filter, &[("status", status), ("limit", SHOWN)]).await?;
        columns.push(Column { status, has_more: list.next_cursor.is_some(), tasks: list.items });
    }
    Ok(columns)
}

/// The newest tasks, and whether there are more.
async fn many(visit: &Visit, filter: &Filter) -> Result<(Vec<Task>, bool), Failure> {
    let (mut tasks, mut cursor) = (Vec::new(), String::new());
    for _ in 0..TREE_CALLS_MAX {
        let list = some(visit, filter, &[("limit", "200"), ("cursor", &cursor)]).await?;
        tasks.extend(list.items);
        match list.next_cursor {
            Some(next) => cursor = next,
            None => return Ok((tasks, false)),
        }
    }
    Ok((tasks, true))
}

/// Each task behind the one that it is a part of. What is part of a task that is not here stands at the top.
fn grown(tasks: Vec<Task>) -> Vec<(usize, Task)> {
    let here: BTreeSet<String> = tasks.iter().map(|task| task.id.clone()).collect();
    let mut below: BTreeMap<String, Vec<Task>> = BTreeMap::new();
    let mut to_do: Vec<(usize, Task)> = Vec::new();
    for task in tasks.into_iter().rev() {
        match task.parent.clone().filter(|parent| here.contains(parent)) {
            Some(parent) => below.entry(parent).or_default().push(task),
            None => to_do.push((0, task)),
        }
    }
    let mut tree = Vec::new();
    // Roots newest first, parts in the order of their making.
    while let Some((depth, task)) = to_do.pop() {
        let parts = below.remove(&task.id).unwrap_or_default();
        to_do.extend(parts.into_iter().rev().map(|part| ((depth + 1).min(DEPTH_DRAWN_MAX), part)));
        tree.push((depth, task));
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str, parent: Option<&str>) -> Task {
        Task {
            id: id.into(),
            key: id.into(),
            title: id.into(),
            status: "todo".into(),
            priority: "medium".into(),
            assignee: None,
            parent: parent.map(str::to_owned),
            blocked_by: Vec::new(),
            open_blockers: Vec::new(),
            labels: Vec::new(),
            held_by: None,
            updated_at: "2026-11-22T05:00:00.000Z".into(),
        }
    }

    #[test]
    fn parts_stand_behind_what_they_are_part_of() {
        // Newest first, as the API lists them.
        let tasks = vec![
            task("6", Some("3")),
            task("5", Some("elsewhere")),
            task("4", Some("2")),
            task("3", Some("1")),
            task("2", Some("1")),
            task("1", None),
        ];
        let drawn: Vec<_> = grown(tasks).into_iter().map(|(depth, task)| (depth, task.id)).collect();
        let expected = [(0, "5"), (0, "1"), (1, "2"), (2, "4"), (1, "3"), (2, "6")];
        assert_eq!(drawn, expected.map(|(depth, id)| (depth, id.to_owned())));
    }
}
