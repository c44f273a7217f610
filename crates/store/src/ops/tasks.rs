//! Tasks: made, read, changed. What wakes whom about them comes with subscriptions.

use wakeful_domain::id::{AgentId, CompanyId, TaskId};
use wakeful_domain::task::{Task, TaskStatus};
use wakeful_domain::time::Timestamp;

use serde_json::json as object;

use crate::ops::events;
use crate::ops::filter::{List, Page};
use crate::value::name;
use crate::{Error, Refusal, Row, Tx};

const COLUMNS: &str = "id, company_id, key, title, description, status, priority, assignee_id, goal_id, project_id, parent_id, \
    wake_parent, due_at, labels, reward, adapter_overrides, workspace, held_by_run, created_at, updated_at, closed_at";

fn read(mut row: Row) -> Result<Task, Error> {
    Ok(Task {
        id: row.get()?,
        company: row.get()?,
        key: row.get()?,
        title: row.get()?,
        description: row.get()?,
        status: row.name()?,
        priority: row.name()?,
        assignee: row.get()?,
        goal: row.get()?,
        project: row.get()?,
        parent: row.get()?,
        wake_parent: row.name()?,
        due_at: row.get()?,
        labels: row.json()?,
        reward: row.get()?,
        adapter_overrides: row.json_option()?,
        workspace: row.json()?,
        held_by: row.get()?,
        created_at: row.get()?,
        updated_at: row.get()?,
        closed_at: row.get()?,
    })
}

const INSERT: &str = "
    insert into tasks (id, company_id, title, description, status, assignee_id, created_at, updated_at)
    values ($1, $2, $3, $4, $5, $6, $7, $7)";

/// Makes a task.
pub async fn insert(tx: &mut Tx, task: &Task) -> Result<(), Refusal> {
    let parameters = [
        task.id.into(),
        task.company.into(),
        (&task.title).into(),
        (&task.description).into(),
        name(&task.status),
        task.assignee.into(),
        task.created_at.into(),
    ];
    tx.execute(INSERT, &parameters).await?;
    let data = object!({ "title": task.title, "status": task.status, "assignee": task.assignee });
    events::append(tx, task.company, task.created_at, "task.created", &task.id.to_string(), &data).await?;
    Ok(())
}

/// The task with this id, if there is one.
pub async fn find(tx: &mut Tx, id: TaskId) -> Result<Option<Task>, Error> {
    let sql = format!("select {COLUMNS} from tasks where id = $1");
    tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()
}

/// The task with this id.
pub async fn get(tx: &mut Tx, id: TaskId) -> Result<Task, Refusal> {
    find(tx, id).await?.ok_or_else(|| Refusal::not_found(id))
}

/// What a list of tasks is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    pub company: Option<CompanyId>,
    pub status: Option<TaskStatus>,
    pub assignee: Option<AgentId>,
}

/// A page of tasks.
pub async fn list(tx: &mut Tx, filter: &TaskFilter, cursor: Option<String>, limit: i64) -> Result<Page<Task>, Refusal> {
    let list = List::of(COLUMNS, "tasks")
        .and_if("company_id = $", filter.company)
        .and_if("status = $", filter.status.map(|status| name(&status)))
        .and_if("assignee_id = $", filter.assignee);
    Ok(list.page(tx, cursor, limit, read, |task| task.id.to_string()).await?)
}

/// Changes to a task; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct TaskChange {
    pub title: Option<String>,
    pub description: Option<Option<String>>,
    pub status: Option<TaskStatus>,
    pub assignee: Option<Option<AgentId>>,
}

const UPDATE: &str = "
    update tasks
    set title = $2,
      description = $3,
      status = $4,
      assignee_id = $5,
      updated_at = $6
    where id = $1";

const LOCK: &str = "select id from tasks where id = $1 {for_update}";

/// Changes a task.
pub async fn change(tx: &mut Tx, now: Timestamp, id: TaskId, change: &TaskChange) -> Result<Task, Refusal> {
    tx.lock(LOCK, &[id.into()]).await?;
    let old = get(tx, id).await?;
    let parameters = [
        id.into(),
        change.title.as_ref().unwrap_or(&old.title).into(),
        change.description.as_ref().unwrap_or(&old.description).into(),
        name(&change.status.unwrap_or(old.status)),
        change.assignee.unwrap_or(old.assignee).into(),
        now.into(),
    ];
    tx.execute(UPDATE, &parameters).await?;
    let task = get(tx, id).await?;
    let data = object!({ "status": task.status, "assignee": task.assignee });
    events::append(tx, task.company, now, "task.updated", &id.to_string(), &data).await?;
    Ok(task)
}

const HOLD: &str = "
    update tasks
    set held_by_run = $2
    where id = $1
      and held_by_run is null";
const RELEASE: &str = "
    update tasks
    set held_by_run = null
    where id = $1
      and held_by_run = $2";

/// The run takes the task for itself; tells whether it got it.
pub(crate) async fn hold(tx: &mut Tx, id: TaskId, run: wakeful_domain::id::RunId) -> Result<bool, Error> {
    Ok(tx.execute(HOLD, &[id.into(), run.into()]).await? == 1)
}

/// The run lets the task go.
pub(crate) async fn release(tx: &mut Tx, id: TaskId, run: wakeful_domain::id::RunId) -> Result<(), Error> {
    tx.execute(RELEASE, &[id.into(), run.into()]).await?;
    Ok(())
}

/// The status of a task in words.
pub fn status_name(task: &Task) -> String {
    match name(&task.status) {
        crate::Value::Text(text) => text.replace('_', " "),
        crate::Value::Null | crate::Value::Int(_) | crate::Value::Real(_) => String::new(),
    }
}
