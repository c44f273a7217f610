//! Tasks: made, read, changed. Who is woken about a change is [`crate::ops::assignments`].

use serde_json::json as object;
use wakeful_domain::id::{AgentId, CompanyId, GoalId, ProjectId, TaskId};
use wakeful_domain::task::{AdapterOverrides, DEPTH_MAX, Task, TaskPriority, TaskStatus, TaskWorkspace, WakeParent};
use wakeful_domain::time::Timestamp;

use crate::ops::filter::{List, Page};
use crate::ops::origin::Origin;
use crate::ops::subscriptions::waiting;
use crate::ops::{assignments, blockers, budgets_due, events, ready, subscriptions};
use crate::value::{json, json_option, name};
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

const NEXT_KEY: &str = "
    update companies
    set tasks_made = tasks_made + 1
    where id = $1
    returning tasks_made";
const INSERT: &str = "
    insert into tasks (id, company_id, key, title, description, status, priority, assignee_id, goal_id, project_id,
      parent_id, wake_parent, due_at, labels, reward, adapter_overrides, workspace, created_at, updated_at, closed_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $18, $19)";

/// Makes a task with the next key of its company, and wakes the agent it is assigned to.
pub async fn insert(tx: &mut Tx, origin: &Origin, draft: &Task, blocked_by: &[TaskId]) -> Result<Task, Refusal> {
    ready::lock(tx, blocked_by.to_vec(), draft.assignee.into_iter().collect()).await?;
    origin.prove(tx).await?;
    check_links(tx, draft, None).await?;
    blockers::check(tx, draft.company, draft.id, blocked_by).await?;
    let number: i64 = tx.query_one(NEXT_KEY, &[draft.company.into()]).await?.get()?;
    let closed_at = draft.status.is_closed().then_some(origin.now);
    let parameters = [
        draft.id.into(),
        draft.company.into(),
        format!("T-{number}").into(),
        (&draft.title).into(),
        (&draft.description).into(),
        name(&draft.status),
        name(&draft.priority),
        draft.assignee.into(),
        draft.goal.into(),
        draft.project.into(),
        draft.parent.into(),
        name(&draft.wake_parent),
        draft.due_at.into(),
        json(&draft.labels),
        draft.reward.into(),
        json_option(draft.adapter_overrides.as_ref()),
        json(&draft.workspace),
        origin.now.into(),
        closed_at.into(),
    ];
    tx.execute(INSERT, &parameters).await?;
    blockers::set(tx, draft.id, blocked_by).await?;
    let task = get(tx, draft.id).await?;
    let data = object!({ "key": task.key, "title": task.title, "status": task.status, "assignee": task.assignee });
    events::append(tx, task.company, origin.now, "task.created", &task.id.to_string(), &data).await?;
    assignments::after_insert(tx, origin, &task).await?;
    Ok(task)
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

/// What accepting a wake needs to know of a task.
#[derive(Debug)]
pub(crate) struct TaskBrief {
    pub company: CompanyId,
    pub key: String,
    pub status: TaskStatus,
}

const BRIEF: &str = "select company_id, key, status from tasks where id = $1";

pub(crate) async fn brief(tx: &mut Tx, id: TaskId) -> Result<Option<TaskBrief>, Error> {
    match tx.query_first(BRIEF, &[id.into()]).await? {
        Some(mut row) => Ok(Some(TaskBrief { company: row.get()?, key: row.get()?, status: row.name()? })),
        None => Ok(None),
    }
}

/// What a list of tasks is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    pub company: Option<CompanyId>,
    pub key: Option<String>,
    pub status: Option<TaskStatus>,
    pub assignee: Option<AgentId>,
    pub parent: Option<TaskId>,
    pub project: Option<ProjectId>,
    pub goal: Option<GoalId>,
}

/// A page of tasks.
pub async fn list(tx: &mut Tx, filter: &TaskFilter, cursor: Option<String>, limit: i64) -> Result<Page<Task>, Refusal> {
    let list = List::of(COLUMNS, "tasks")
        .and_if("company_id = $", filter.company)
        .and_if("key = $", filter.key.clone())
        .and_if("status = $", filter.status.map(|status| name(&status)))
        .and_if("assignee_id = $", filter.assignee)
        .and_if("parent_id = $", filter.parent)
        .and_if("project_id = $", filter.project)
        .and_if("goal_id = $", filter.goal);
    Ok(list.page(tx, cursor, limit, read, |task| task.id.to_string()).await?)
}

/// Changes to a task; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct TaskChange {
    pub title: Option<String>,
    pub description: Option<Option<String>>,
    pub status: Option<TaskStatus>,
    pub priority: Option<TaskPriority>,
    pub assignee: Option<Option<AgentId>>,
    pub goal: Option<Option<GoalId>>,
    pub project: Option<Option<ProjectId>>,
    pub parent: Option<Option<TaskId>>,
    pub wake_parent: Option<WakeParent>,
    pub blocked_by: Option<Vec<TaskId>>,
    pub due_at: Option<Option<Timestamp>>,
    pub labels: Option<Vec<String>>,
    pub reward: Option<Option<i64>>,
    pub adapter_overrides: Option<Option<AdapterOverrides>>,
    pub workspace: Option<TaskWorkspace>,
}

impl TaskChange {
    fn applied_to(&self, old: &Task, now: Timestamp) -> Task {
        let change = self.clone();
        let status = change.status.unwrap_or(old.status);
        let closed_at = status.is_closed().then(|| old.closed_at.unwrap_or(now));
        Task {
            title: change.title.unwrap_or_else(|| old.title.clone()),
            description: change.description.unwrap_or_else(|| old.description.clone()),
            status,
            priority: change.priority.unwrap_or(old.priority),
            assignee: change.assignee.unwrap_or(old.assignee),
            goal: change.goal.unwrap_or(old.goal),
            project: change.project.unwrap_or(old.project),
            parent: change.parent.unwrap_or(old.parent),
            wake_parent: change.wake_parent.unwrap_or(old.wake_parent),
            due_at: change.due_at.unwrap_or(old.due_at),
            labels: change.labels.unwrap_or_else(|| old.labels.clone()),
            reward: change.reward.unwrap_or(old.reward),
            adapter_overrides: change.adapter_overrides.unwrap_or_else(|| old.adapter_overrides.clone()),
            workspace: change.workspace.unwrap_or(old.workspace),
            updated_at: now,
            closed_at,
            ..old.clone()
        }
    }
}

const UPDATE: &str = "
    update tasks
    set title = $2,
      description = $3,
      status = $4,
      priority = $5,
      assignee_id = $6,
      goal_id = $7,
      project_id = $8,
      parent_id = $9,
      wake_parent = $10,
      due_at = $11,
      labels = $12,
      reward = $13,
      adapter_overrides = $14,
      workspace = $15,
      updated_at = $16,
      closed_at = $17,
      rejected_at = case when $4 in ('todo', 'in_progress', 'blocked') then rejected_at end
    where id = $1";

/// Changes a task, and wakes or calls off whom the change concerns.
pub async fn change(tx: &mut Tx, origin: &Origin, id: TaskId, change: &TaskChange) -> Result<Task, Refusal> {
    let mut concerned = change.blocked_by.clone().unwrap_or_default();
    let mut agents: Vec<AgentId> = change.assignee.flatten().into_iter().collect();
    // Under another parent, those who wait for something below it are told of what is changed with it.
    if let Some(parent) = change.parent.flatten() {
        let waiting = waiting::of_task(tx, parent).await?;
        concerned.extend(waiting.tasks_with([parent]));
        agents.extend(waiting.agents_with([]));
    }
    assignments::lock(tx, id, &concerned, &agents).await?;
    origin.prove(tx).await?;
    let old = get(tx, id).await?;
    let new = change.applied_to(&old, origin.now);
    check_links(tx, &new, Some(&old)).await?;
    if let Some(blocked_by) = &change.blocked_by {
        blockers::check(tx, old.company, id, blocked_by).await?;
    }
    let before = assignments::Call::of(tx, &old).await?;
    let parameters = [
        id.into(),
        (&new.title).into(),
        (&new.description).into(),
        name(&new.status),
        name(&new.priority),
        new.assignee.into(),
        new.goal.into(),
        new.project.into(),
        new.parent.into(),
        name(&new.wake_parent),
        new.due_at.into(),
        json(&new.labels),
        new.reward.into(),
        json_option(new.adapter_overrides.as_ref()),
        json(&new.workspace),
        origin.now.into(),
        new.closed_at.into(),
    ];
    tx.execute(UPDATE, &parameters).await?;
    if let Some(blocked_by) = &change.blocked_by {
        blockers::set(tx, id, blocked_by).await?;
    }
    let data = object!({ "status": new.status, "assignee": new.assignee, "from": { "status": old.status, "assignee": old.assignee } });
    events::append(tx, new.company, origin.now, "task.updated", &id.to_string(), &data).await?;
    assignments::after_change(tx, origin, &old, before, &new).await?;
    if new.parent != old.parent {
        budgets_due::trees_changed(tx, origin.now, new.company).await?;
    }
    let by = (&origin.actor, origin.run());
    subscriptions::happening::status_changed(tx, origin.now, &new, old.status, by).await?;
    if let Some(parent) = old.parent.filter(|_| new.parent != old.parent) {
        subscriptions::happening::moved_away(tx, origin.now, &new, parent, by).await?;
    }
    get(tx, id).await
}

const ASSIGNEE: &str = "select 1 from agents where id = $1 and company_id = $2 and state <> 'terminated'";
const GOAL: &str = "select 1 from goals where id = $1 and company_id = $2";
const PROJECT: &str = "select 1 from projects where id = $1 and company_id = $2";
const PARENT: &str = "select 1 from tasks where id = $1 and company_id = $2";

/// Whatever a task newly names must be there, in its own company. What it named before may have gone meanwhile: a
/// task of a terminated agent can still be closed.
async fn check_links(tx: &mut Tx, task: &Task, old: Option<&Task>) -> Result<(), Refusal> {
    let assignee = task.assignee.filter(|_| old.is_none_or(|old| old.assignee != task.assignee));
    let goal = task.goal.filter(|_| old.is_none_or(|old| old.goal != task.goal));
    let project = task.project.filter(|_| old.is_none_or(|old| old.project != task.project));
    let parent = task.parent.filter(|_| old.is_none_or(|old| old.parent != task.parent));
    let links = [
        ("assignee", ASSIGNEE, "active agent", assignee.map(|id| id.to_string())),
        ("goal", GOAL, "goal", goal.map(|id| id.to_string())),
        ("project", PROJECT, "project", project.map(|id| id.to_string())),
        ("parent", PARENT, "task", parent.map(|id| id.to_string())),
    ];
    for (field, sql, noun, id) in links {
        let Some(id) = id else { continue };
        if tx.query_first(sql, &[(&id).into(), task.company.into()]).await?.is_none() {
            return Err(Refusal::invalid(field, format!("there is no {noun} `{id}` in this company")));
        }
    }
    match parent {
        Some(parent) => check_parent(tx, task.company, task.id, parent).await,
        None => Ok(()),
    }
}

const HEIGHT: &str = "
    with recursive below (id, height) as (
      select cast($1 as text), cast(1 as bigint)
      union all
      select tasks.id, below.height + 1
      from tasks
      join below on tasks.parent_id = below.id
      where below.height <= $2)
    select max(height) from below";

/// A task cannot be its own ancestor, nor lie too deep with what is below it.
async fn check_parent(tx: &mut Tx, company: CompanyId, task: TaskId, parent: TaskId) -> Result<(), Refusal> {
    // Two changes at once could close a circle that neither sees.
    ready::lock_company(tx, company).await?;
    let above = chain(tx, parent).await?;
    if above.iter().any(|ancestor| ancestor.id == task) {
        return Err(Refusal::invalid(
            "parent",
            format!("`{parent}` lies below this task: a task cannot be its own ancestor"),
        ));
    }
    let height: i64 = tx.query_one(HEIGHT, &[task.into(), (DEPTH_MAX as i64).into()]).await?.get()?;
    let depth = above.len() + usize::try_from(height).unwrap_or(usize::MAX);
    match depth > DEPTH_MAX {
        true => {
            Err(Refusal::invalid("parent", format!("would make the tree {depth} tasks deep; {DEPTH_MAX} is the limit")))
        }
        false => Ok(()),
    }
}

/// A task and those above it, up to the root; empty if there is no such task.
pub async fn chain(tx: &mut Tx, id: TaskId) -> Result<Vec<Task>, Error> {
    let mut chain: Vec<Task> = Vec::new();
    let mut next = Some(id);
    while let Some(id) = next
        && chain.len() <= DEPTH_MAX
    {
        let Some(task) = find(tx, id).await? else { break };
        next = task.parent;
        chain.push(task);
    }
    Ok(chain)
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
