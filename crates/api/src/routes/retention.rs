//! What is kept: old things collected, or what would go; runs pinned.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::id::{RunId, kind};
use wakeful_domain::run::Run;

use super::runs::{view, visible};
use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::parameters::PathId;
use crate::wire::{Empty, GcBody, GcView, RunView};
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(gc)).routes(routes!(pin)).routes(routes!(unpin))
}

/// Removes what is old, in bites that hold nobody up; or says what would go, and what keeps the rest.
#[utoipa::path(post, path = "/gc", tag = "instance", request_body = GcBody, responses((status = 200, body = GcView)))]
async fn gc(State(api): State<Api>, principal: Principal, body: Body<GcBody>) -> Result<Json<GcView>, Problem> {
    principal.require(Permission::Instance)?;
    Ok(Json(GcView::from(api.engine.gc(body.value.dry_run).await?)))
}

/// Keeps a run whatever its age: its row, its events, its wakeups and its log.
#[utoipa::path(post, path = "/runs/{id}/pin", tag = "runs", params(("id" = String, Path)), request_body = Empty,
    responses((status = 200, body = RunView), (status = 404, body = ProblemDocument)))]
async fn pin(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Run>,
    _: Body<Empty>,
) -> Result<Json<RunView>, Problem> {
    set(&api, &principal, id, true).await
}

/// Lets a run go when it is old.
#[utoipa::path(post, path = "/runs/{id}/unpin", tag = "runs", params(("id" = String, Path)), request_body = Empty,
    responses((status = 200, body = RunView), (status = 404, body = ProblemDocument)))]
async fn unpin(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Run>,
    _: Body<Empty>,
) -> Result<Json<RunView>, Problem> {
    set(&api, &principal, id, false).await
}

async fn set(api: &Api, principal: &Principal, id: RunId, is_pinned: bool) -> Result<Json<RunView>, Problem> {
    principal.require(Permission::Manage)?;
    visible(api, principal, id).await?;
    view(api, api.engine.pin_run(id, is_pinned).await?).await
}

/// Refuses to read the log of a run if its body is gone.
pub fn require_log(run: &Run) -> Result<(), Problem> {
    match run.log_removed_at {
        None => Ok(()),
        Some(at) => Err(Problem::new(
            StatusCode::GONE,
            "log_removed",
            format!(
                "the log of {} ({} bytes, {} lines) was removed at {at}, as all that are older than --retain-logs-days; pinned runs keep theirs",
                run.id, run.log.bytes, run.log.lines
            ),
        )),
    }
}
