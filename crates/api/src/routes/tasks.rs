//! Tasks.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::id::{AgentId, CompanyId, TaskId, kind};
use wakeful_domain::task::{Task, TaskStatus};
use wakeful_engine::clock;
use wakeful_store::ops::request_keys;
use wakeful_store::ops::tasks::{self, TaskChange};

use super::agents;
use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::idempotency::request_key;
use crate::parameters::{IdempotencyKey, Parameters, PathCompany, PathId, id_in, id_in_option, limit};
use crate::wire::{NewTask, Page, TaskPatch, TaskView};
use crate::{Api, Problem};

/// Longer titles are refused.
const TITLE_CHARS_MAX: usize = 500;

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

fn check_title(title: &str) -> Result<(), Problem> {
    match title.trim().is_empty() || title.chars().count() > TITLE_CHARS_MAX {
        true => Err(Problem::invalid("title", format!("must have 1 to {TITLE_CHARS_MAX} characters"))),
        false => Ok(()),
    }
}

/// The agent that a task is to be assigned to; it must be of the same company.
async fn assignee(api: &Api, principal: &Principal, company: CompanyId, text: &str) -> Result<AgentId, Problem> {
    let id = id_in::<kind::Agent>("assignee", text)?;
    let is_there = agents::visible(api, principal, id).await.is_ok_and(|agent| agent.company == company);
    match is_there {
        true => Ok(id),
        false => Err(Problem::invalid("assignee", format!("there is no agent `{text}` in this company"))),
    }
}

/// Makes a task.
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
    let new = body.value;
    check_title(&new.title)?;
    let assignee = match &new.assignee {
        Some(text) => Some(assignee(&api, &principal, company.id, text).await?),
        None => None,
    };
    let now = clock::now();
    let task = Task {
        id: api.engine.new_id(),
        company: company.id,
        title: new.title,
        description: new.description,
        status: new.status.unwrap_or(TaskStatus::Todo),
        assignee,
        held_by: None,
        created_at: now,
        updated_at: now,
    };
    let key = request_key(key, &format!("POST /companies/{}/tasks", company.id), &body.bytes);
    let made = api
        .engine
        .write("task.create", (task, key), |tx, (task, key)| {
            Box::pin(async move {
                if let Some(key) = key {
                    if let Some(id) = request_keys::find(tx, Some(task.company), key).await? {
                        return tasks::get(tx, id.parse().unwrap_or(task.id)).await;
                    }
                    request_keys::keep(tx, task.created_at, Some(task.company), key, &task.id.to_string()).await?;
                }
                tasks::insert(tx, task).await?;
                tasks::get(tx, task.id).await
            })
        })
        .await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    status: Option<TaskStatus>,
    assignee: Option<String>,
}

/// Lists a company's tasks.
#[utoipa::path(get, path = "/companies/{company}/tasks", tag = "tasks",
    params(("company" = String, Path, description = "id or slug"), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query),
        ("status" = Option<String>, Query), ("assignee" = Option<String>, Query)),
    responses((status = 200, body = Page<TaskView>)))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<TaskView>>, Problem> {
    principal.require(Permission::Read)?;
    id_in_option::<kind::Task>("cursor", query.cursor.as_ref())?;
    let filter = tasks::TaskFilter {
        company: Some(company.id),
        status: query.status,
        assignee: id_in_option("assignee", query.assignee.as_ref())?,
    };
    let page = api
        .engine
        .db()
        .read("task.list", (filter, query.cursor, limit(query.limit)?), |tx, (filter, cursor, limit)| {
            Box::pin(tasks::list(tx, filter, cursor.clone(), *limit))
        })
        .await?;
    Ok(Json(Page::of(page, TaskView::from)))
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
    Ok(Json(visible(&api, &principal, id).await?.into()))
}

/// Changes a task.
#[utoipa::path(patch, path = "/tasks/{id}", tag = "tasks", params(("id" = String, Path)), request_body = TaskPatch,
    responses((status = 200, body = TaskView), (status = 422, body = ProblemDocument)))]
async fn change(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Task>,
    body: Body<TaskPatch>,
) -> Result<Json<TaskView>, Problem> {
    principal.require(Permission::Work)?;
    let task = visible(&api, &principal, id).await?;
    let patch = body.value;
    patch.title.as_deref().map(check_title).transpose()?;
    let assignee = match &patch.assignee {
        Some(Some(text)) => Some(Some(assignee(&api, &principal, task.company, text).await?)),
        Some(None) => Some(None),
        None => None,
    };
    let change = TaskChange { title: patch.title, description: patch.description, status: patch.status, assignee };
    let changed = api
        .engine
        .write("task.change", (clock::now(), id, change), |tx, (now, id, change)| {
            Box::pin(tasks::change(tx, *now, *id, change))
        })
        .await?;
    Ok(Json(changed.into()))
}
