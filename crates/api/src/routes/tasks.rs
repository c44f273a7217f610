//! Tasks: made, listed, shown, changed.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::id::{AgentId, CompanyId, TaskId, kind};
use wakeful_domain::task::{AdapterOverrides, BLOCKERS_MAX, LABEL_CHARS_MAX, LABELS_MAX, Task, TaskStatus};
use wakeful_domain::time::Timestamp;
use wakeful_runner::adapters::Adapter;
use wakeful_store::ops::tasks::{self, TaskChange};
use wakeful_store::ops::{agents, blockers, filter, request_keys};

use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::idempotency::request_key;
use crate::named::{task_of, task_of_option};
use crate::parameters::{IdempotencyKey, Parameters, PathCompany, PathId, id_in_option, limit, time_in, within};
use crate::wire::{NewTask, Page, TaskPatch, TaskView};
use crate::{Api, Problem};

/// Longer titles are refused.
const TITLE_CHARS_MAX: usize = 500;
/// A higher reward is refused: a million dollars.
const REWARD_MAX: i64 = 1_000_000_000_000;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(show, change))
}

/// The task, if the caller may see it.
pub async fn visible(api: &Api, principal: &Principal, id: TaskId) -> Result<Task, Problem> {
    let task = api.engine.db().read("task.get", id, |tx, id| Box::pin(tasks::get(tx, *id))).await?;
    match principal.sees(task.company) {
        true => Ok(task),
        false => Err(Problem::not_found("task", &id.to_string())),
    }
}

/// A single task, with the tasks it waits for.
pub async fn view(api: &Api, principal: &Principal, task: Task) -> Result<Json<TaskView>, Problem> {
    let blocked_by =
        api.engine.db().read("task.blockers", task.id, |tx, id| Box::pin(blockers::of_task(tx, *id))).await?;
    Ok(Json(TaskView::new(task, &blocked_by, principal.require(Permission::Manage).is_ok())))
}

fn check_title(title: &str) -> Result<(), Problem> {
    match title.trim().is_empty() || title.chars().count() > TITLE_CHARS_MAX {
        true => Err(Problem::invalid("title", format!("must have 1 to {TITLE_CHARS_MAX} characters"))),
        false => Ok(()),
    }
}

fn check_labels(labels: &[String]) -> Result<(), Problem> {
    if labels.len() > LABELS_MAX {
        return Err(Problem::invalid("labels", format!("are {}; at most {LABELS_MAX} are allowed", labels.len())));
    }
    for (place, label) in labels.iter().enumerate() {
        if label.trim().is_empty() || label.chars().count() > LABEL_CHARS_MAX {
            let field = format!("labels[{place}]");
            return Err(Problem::invalid(&field, format!("must have 1 to {LABEL_CHARS_MAX} characters")));
        }
    }
    Ok(())
}

fn check_overrides(overrides: Option<&AdapterOverrides>) -> Result<(), Problem> {
    let problem = overrides.and_then(AdapterOverrides::problem);
    problem.map_or(Ok(()), |(field, message)| Err(Problem::invalid(&field, message)))
}

/// Refuses what the assignee's adapter would refuse when it is started.
async fn check_overlay(
    api: &Api,
    company: CompanyId,
    overrides: Option<&AdapterOverrides>,
    assignee: Option<AgentId>,
) -> Result<(), Problem> {
    let (Some(overrides), Some(assignee)) = (overrides, assignee) else { return Ok(()) };
    let found = api.engine.db().read("agent.get", assignee, |tx, id| Box::pin(agents::get(tx, *id))).await;
    // An assignee that is not there is refused by its own field.
    let Ok(agent) = found else { return Ok(()) };
    if agent.company != company || overrides.config.is_none() {
        return Ok(());
    }
    Adapter::of(&overrides.over(&agent.adapter)).map(|_| ()).map_err(|error| {
        let field = error.field.replacen("adapter", "adapter_overrides.config", 1);
        Problem::invalid(&field, format!("{} (with the configuration of agent `{}`)", error.message, agent.name))
    })
}

/// What is laid over an agent's adapter decides what is started: as with the adapter itself, not every token may.
fn may_override(principal: &Principal, is_asked: bool) -> Result<(), Problem> {
    match is_asked {
        true => principal.require(Permission::Manage),
        false => Ok(()),
    }
}

async fn blockers_in(api: &Api, company: CompanyId, texts: Vec<String>) -> Result<Vec<TaskId>, Problem> {
    if texts.len() > BLOCKERS_MAX {
        let told = format!("has {} entries; at most {BLOCKERS_MAX} are allowed", texts.len());
        return Err(Problem::invalid("blocked_by", told));
    }
    let mut blockers = Vec::with_capacity(texts.len());
    for (place, text) in texts.into_iter().enumerate() {
        blockers.push(task_of(api, company, &format!("blocked_by[{place}]"), text).await?);
    }
    Ok(blockers)
}

/// The task that a request describes.
async fn draft(api: &Api, company: CompanyId, new: NewTask, now: Timestamp) -> Result<Task, Problem> {
    check_title(&new.title)?;
    check_overrides(new.adapter_overrides.as_ref())?;
    within("reward", new.reward, 0, REWARD_MAX)?;
    let labels = new.labels.unwrap_or_default();
    check_labels(&labels)?;
    Ok(Task {
        description: new.description,
        status: new.status.unwrap_or(TaskStatus::Todo),
        priority: new.priority.unwrap_or_default(),
        assignee: id_in_option("assignee", new.assignee.as_ref())?,
        goal: id_in_option("goal", new.goal.as_ref())?,
        project: id_in_option("project", new.project.as_ref())?,
        parent: task_of_option(api, company, "parent", new.parent).await?,
        wake_parent: new.wake_parent.unwrap_or_default(),
        due_at: new.due_at.as_deref().map(|text| time_in("due_at", text)).transpose()?,
        labels,
        reward: new.reward,
        adapter_overrides: new.adapter_overrides,
        workspace: new.workspace.unwrap_or_default(),
        ..Task::new(api.engine.new_id(), company, new.title, now)
    })
}

/// Makes a task; the agent it is assigned to is woken.
#[utoipa::path(post, path = "/companies/{company}/tasks", tag = "tasks", params(("company" = String, Path, description = "id or slug")),
    request_body = NewTask, responses((status = 201, body = TaskView), (status = 422, body = ProblemDocument)))]
async fn create(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    IdempotencyKey(key): IdempotencyKey,
    body: Body<NewTask>,
) -> Result<(StatusCode, Json<TaskView>), Problem> {
    principal.require(Permission::Work)?;
    let key = request_key(key, &principal, &format!("POST /companies/{}/tasks", company.id), &body.bytes);
    let mut new = body.value;
    may_override(&principal, new.adapter_overrides.is_some())?;
    let blocked_by = blockers_in(&api, company.id, new.blocked_by.take().unwrap_or_default()).await?;
    let origin = principal.origin(&api);
    let task = draft(&api, company.id, new, origin.now).await?;
    check_overlay(&api, company.id, task.adapter_overrides.as_ref(), task.assignee).await?;
    let made = api
        .engine
        .write("task.create", (origin, task, blocked_by, key), |tx, (origin, task, blocked_by, key)| {
            Box::pin(async move {
                let made = request_keys::made_before(tx, origin.now, Some(task.company), key.as_ref(), task.id).await?;
                if let Some(earlier) = made {
                    return tasks::get(tx, earlier).await;
                }
                tasks::insert(tx, origin, task, blocked_by).await
            })
        })
        .await?;
    Ok((StatusCode::CREATED, view(&api, &principal, made).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    key: Option<String>,
    status: Option<TaskStatus>,
    assignee: Option<String>,
    parent: Option<String>,
    project: Option<String>,
    goal: Option<String>,
}

/// Lists a company's tasks.
#[utoipa::path(get, path = "/companies/{company}/tasks", tag = "tasks",
    params(("company" = String, Path, description = "id or slug"), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query),
        ("key" = Option<String>, Query), ("status" = Option<String>, Query), ("assignee" = Option<String>, Query),
        ("parent" = Option<String>, Query), ("project" = Option<String>, Query), ("goal" = Option<String>, Query)),
    responses((status = 200, body = Page<TaskView>)))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<TaskView>>, Problem> {
    principal.require(Permission::Read)?;
    id_in_option::<kind::Task>("cursor", query.cursor.as_ref())?;
    let wanted = tasks::TaskFilter {
        company: Some(company.id),
        key: query.key,
        status: query.status,
        assignee: id_in_option("assignee", query.assignee.as_ref())?,
        parent: id_in_option("parent", query.parent.as_ref())?,
        project: id_in_option("project", query.project.as_ref())?,
        goal: id_in_option("goal", query.goal.as_ref())?,
    };
    let page = api
        .engine
        .db()
        .read("task.list", (wanted, query.cursor, limit(query.limit)?), |tx, (wanted, cursor, limit)| {
            Box::pin(async move {
                let page = tasks::list(tx, wanted, cursor.clone(), *limit).await?;
                let mut items = Vec::with_capacity(page.items.len());
                for task in page.items {
                    items.push((blockers::of_task(tx, task.id).await?, task));
                }
                Ok(filter::Page { items, next_cursor: page.next_cursor })
            })
        })
        .await?;
    let shows_keys = principal.require(Permission::Manage).is_ok();
    Ok(Json(Page::of(page, |(blocked_by, task)| TaskView::new(task, &blocked_by, shows_keys))))
}

/// Shows a task.
#[utoipa::path(get, path = "/tasks/{id}", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = TaskView), (status = 404, body = ProblemDocument)))]
async fn show(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Task>,
) -> Result<Json<TaskView>, Problem> {
    principal.require(Permission::Read)?;
    let task = visible(&api, &principal, id).await?;
    view(&api, &principal, task).await
}

async fn change_in(api: &Api, company: CompanyId, patch: TaskPatch) -> Result<TaskChange, Problem> {
    patch.title.as_deref().map(check_title).transpose()?;
    patch.labels.as_deref().map(check_labels).transpose()?;
    check_overrides(patch.adapter_overrides.as_ref().and_then(Option::as_ref))?;
    within("reward", patch.reward.flatten(), 0, REWARD_MAX)?;
    let time = |text: Option<String>| text.map(|text| time_in("due_at", &text)).transpose();
    let parent = match patch.parent {
        Some(text) => Some(task_of_option(api, company, "parent", text).await?),
        None => None,
    };
    let blocked_by = match patch.blocked_by {
        Some(texts) => Some(blockers_in(api, company, texts).await?),
        None => None,
    };
    Ok(TaskChange {
        title: patch.title,
        description: patch.description,
        status: patch.status,
        priority: patch.priority,
        assignee: patch.assignee.map(|text| id_in_option("assignee", text.as_ref())).transpose()?,
        goal: patch.goal.map(|text| id_in_option("goal", text.as_ref())).transpose()?,
        project: patch.project.map(|text| id_in_option("project", text.as_ref())).transpose()?,
        parent,
        wake_parent: patch.wake_parent,
        blocked_by,
        due_at: patch.due_at.map(time).transpose()?,
        labels: patch.labels,
        reward: patch.reward,
        adapter_overrides: patch.adapter_overrides,
        workspace: patch.workspace,
    })
}

/// Changes a task. Another assignee is woken, and what waits for the former one is called off.
#[utoipa::path(patch, path = "/tasks/{id}", tag = "tasks", params(("id" = String, Path)), request_body = TaskPatch,
    responses((status = 200, body = TaskView), (status = 422, body = ProblemDocument)))]
async fn change(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Task>,
    body: Body<TaskPatch>,
) -> Result<Json<TaskView>, Problem> {
    principal.require(Permission::Work)?;
    let old = visible(&api, &principal, id).await?;
    may_override(&principal, body.value.adapter_overrides.is_some())?;
    let change = change_in(&api, old.company, body.value).await?;
    if change.adapter_overrides.is_some() || change.assignee.is_some() {
        let overrides = change.adapter_overrides.as_ref().unwrap_or(&old.adapter_overrides);
        let assignee = change.assignee.unwrap_or(old.assignee);
        check_overlay(&api, old.company, overrides.as_ref(), assignee).await?;
    }
    let arguments = (principal.origin(&api), id, change);
    let changed = api
        .engine
        .write("task.change", arguments, |tx, (origin, id, change)| Box::pin(tasks::change(tx, origin, *id, change)))
        .await?;
    view(&api, &principal, changed).await
}
