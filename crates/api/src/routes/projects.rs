//! Projects, and the worktrees that were made for tasks.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::id::{AgentId, ProjectId, TaskId, kind};
use wakeful_domain::project::{Project, ProjectWorkspace, name_problem, workspaces_problem};
use wakeful_domain::worktree::WorktreeState;
use wakeful_engine::clock;
use wakeful_store::ops::projects::{self, ProjectChange};
use wakeful_store::ops::{request_keys, worktrees};

use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::idempotency::request_key;
use crate::parameters::{IdempotencyKey, Parameters, PathCompany, PathId, id_in, id_in_option, limit};
use crate::wire::{NewProject, Page, ProjectPatch, ProjectView, WorktreeView};
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(show, change)).routes(routes!(list_worktrees))
}

/// The project, if the caller may see it.
async fn visible(api: &Api, principal: &Principal, id: ProjectId) -> Result<Project, Problem> {
    let project = api.engine.db().read("project.get", id, |tx, id| Box::pin(projects::get(tx, *id))).await?;
    match principal.sees(project.company) {
        true => Ok(project),
        false => Err(Problem::not_found("project", &id.to_string())),
    }
}

fn check_name(name: &str) -> Result<(), Problem> {
    name_problem(name).map_or(Ok(()), |problem| Err(Problem::invalid("name", problem)))
}

fn check_workspaces(workspaces: &[ProjectWorkspace]) -> Result<(), Problem> {
    workspaces_problem(workspaces).map_or(Ok(()), |(field, message)| Err(Problem::invalid(&field, message)))
}

/// Makes a project: directories and repositories in which tasks are worked on.
#[utoipa::path(post, path = "/companies/{company}/projects", tag = "projects", params(("company" = String, Path, description = "id or slug")),
    request_body = NewProject, responses((status = 201, body = ProjectView), (status = 422, body = ProblemDocument)))]
async fn create(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    IdempotencyKey(key): IdempotencyKey,
    body: Body<NewProject>,
) -> Result<(StatusCode, Json<ProjectView>), Problem> {
    principal.require(Permission::Manage)?;
    let key = request_key(key, &principal, &format!("POST /companies/{}/projects", company.id), &body.bytes);
    let new = body.value;
    check_name(&new.name)?;
    check_workspaces(&new.workspaces)?;
    let now = clock::now();
    let project = Project {
        id: api.engine.new_id(),
        company: company.id,
        name: new.name,
        workspaces: new.workspaces,
        created_at: now,
        updated_at: now,
    };
    let made = api
        .engine
        .write("project.create", (project, key), |tx, (project, key)| {
            Box::pin(async move {
                let made =
                    request_keys::made_before(tx, project.created_at, Some(project.company), key.as_ref(), project.id)
                        .await?;
                if let Some(earlier) = made {
                    return projects::get(tx, earlier).await;
                }
                projects::insert(tx, project).await?;
                projects::get(tx, project.id).await
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
}

/// Lists a company's projects.
#[utoipa::path(get, path = "/companies/{company}/projects", tag = "projects",
    params(("company" = String, Path, description = "id or slug"), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<ProjectView>)))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<ProjectView>>, Problem> {
    principal.require(Permission::Read)?;
    id_in_option::<kind::Project>("cursor", query.cursor.as_ref())?;
    let page = api
        .engine
        .db()
        .read("project.list", (company.id, query.cursor, limit(query.limit)?), |tx, (company, cursor, limit)| {
            Box::pin(projects::list(tx, *company, cursor.clone(), *limit))
        })
        .await?;
    Ok(Json(Page::of(page, ProjectView::from)))
}

/// Shows a project.
#[utoipa::path(get, path = "/projects/{id}", tag = "projects", params(("id" = String, Path)),
    responses((status = 200, body = ProjectView), (status = 404, body = ProblemDocument)))]
async fn show(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Project>,
) -> Result<Json<ProjectView>, Problem> {
    principal.require(Permission::Read)?;
    Ok(Json(visible(&api, &principal, id).await?.into()))
}

/// Changes a project; `workspaces` replaces the whole list. Live runs stay where they are.
#[utoipa::path(patch, path = "/projects/{id}", tag = "projects", params(("id" = String, Path)), request_body = ProjectPatch,
    responses((status = 200, body = ProjectView), (status = 422, body = ProblemDocument)))]
async fn change(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Project>,
    body: Body<ProjectPatch>,
) -> Result<Json<ProjectView>, Problem> {
    principal.require(Permission::Manage)?;
    visible(&api, &principal, id).await?;
    let patch = body.value;
    patch.name.as_deref().map(check_name).transpose()?;
    patch.workspaces.as_deref().map(check_workspaces).transpose()?;
    let change = ProjectChange { name: patch.name, workspaces: patch.workspaces };
    let changed = api
        .engine
        .write("project.change", (clock::now(), id, change), |tx, (now, id, change)| {
            Box::pin(projects::change(tx, *now, *id, change))
        })
        .await?;
    Ok(Json(changed.into()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorktreeQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    state: Option<WorktreeState>,
}

/// `<task>.<agent>`: worktrees have no ids of their own.
fn cursor_in(text: &str) -> Result<(TaskId, AgentId), Problem> {
    let parts = text.split_once('.').ok_or_else(|| Problem::invalid("cursor", "is none that a page ended with"))?;
    Ok((id_in("cursor", parts.0)?, id_in("cursor", parts.1)?))
}

/// Lists the worktrees that are there, newest task first: those in use, and those kept because something in them would
/// be lost.
#[utoipa::path(get, path = "/companies/{company}/worktrees", tag = "projects",
    params(("company" = String, Path, description = "id or slug"), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query),
        ("state" = Option<String>, Query, description = "active, kept or removed; all that are not removed if absent")),
    responses((status = 200, body = Page<WorktreeView>)))]
async fn list_worktrees(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<WorktreeQuery>,
) -> Result<Json<Page<WorktreeView>>, Problem> {
    principal.require(Permission::Read)?;
    let cursor = query.cursor.as_deref().map(cursor_in).transpose()?;
    let arguments = (company.id, query.state, cursor, limit(query.limit)?);
    let page = api
        .engine
        .db()
        .read("worktree.list", arguments, |tx, (company, state, cursor, limit)| {
            Box::pin(worktrees::list(tx, *company, *state, *cursor, *limit))
        })
        .await?;
    Ok(Json(Page::of(page, WorktreeView::from)))
}
