//! `why`: one sentence, the chain of causes, what it waits for, what happens next.

use axum::Json;
use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::id::kind;
use wakeful_engine::Explanation;

use super::{agents, runs, tasks, wakeups};
use crate::access::{Permission, Principal};
use crate::parameters::PathId;
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(wakeup)).routes(routes!(run)).routes(routes!(agent)).routes(routes!(task))
}

/// Why a wakeup waits, or what became of it.
#[utoipa::path(get, path = "/wakeups/{id}/why", tag = "why", params(("id" = String, Path)), responses((status = 200, body = Object)))]
async fn wakeup(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Wakeup>,
) -> Result<Json<Explanation>, Problem> {
    principal.require(Permission::Read)?;
    wakeups::visible(&api, &principal, id).await?;
    Ok(Json(api.engine.why_wakeup(id).await?))
}

/// Why a run started, and how it stands or ended.
#[utoipa::path(get, path = "/runs/{id}/why", tag = "why", params(("id" = String, Path)), responses((status = 200, body = Object)))]
async fn run(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Run>,
) -> Result<Json<Explanation>, Problem> {
    principal.require(Permission::Read)?;
    runs::visible(&api, &principal, id).await?;
    Ok(Json(api.engine.why_run(id).await?))
}

/// How an agent stands, and what it did last.
#[utoipa::path(get, path = "/agents/{id}/why", tag = "why", params(("id" = String, Path)), responses((status = 200, body = Object)))]
async fn agent(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Agent>,
) -> Result<Json<Explanation>, Problem> {
    principal.require(Permission::Read)?;
    agents::visible(&api, &principal, id).await?;
    Ok(Json(api.engine.why_agent(id).await?))
}

/// How a task stands, and who worked on it.
#[utoipa::path(get, path = "/tasks/{id}/why", tag = "why", params(("id" = String, Path)), responses((status = 200, body = Object)))]
async fn task(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Task>,
) -> Result<Json<Explanation>, Problem> {
    principal.require(Permission::Read)?;
    tasks::visible(&api, &principal, id).await?;
    Ok(Json(api.engine.why_task(id).await?))
}
