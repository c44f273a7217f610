//! A store that was restored from a backup: what it waits for, and that it goes on.

use axum::Json;
use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_store::ops::restore::MissedSlots;

use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::wire::{ReleaseBody, RestoreView};
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(show)).routes(routes!(release))
}

async fn view(api: &Api) -> Result<Json<RestoreView>, Problem> {
    let plan = api.engine.restore_plan().await?;
    let is_held = api.engine.held().is_some();
    Ok(Json(RestoreView::of(plan, is_held, api.engine.ended_for_restore())))
}

/// Says whether the store was restored and waits to be told to go on, and what would happen then.
#[utoipa::path(get, path = "/restore", tag = "instance", responses((status = 200, body = RestoreView)))]
async fn show(State(api): State<Api>, principal: Principal) -> Result<Json<RestoreView>, Problem> {
    principal.require(Permission::Instance)?;
    view(&api).await
}

/// Lets a restored store go on.
#[utoipa::path(post, path = "/restore/release", tag = "instance", request_body = ReleaseBody,
    responses((status = 200, body = RestoreView),
        (status = 409, body = ProblemDocument, description = "`not_held`: nothing waits to be told to go on")))]
async fn release(
    State(api): State<Api>,
    principal: Principal,
    body: Body<ReleaseBody>,
) -> Result<Json<RestoreView>, Problem> {
    principal.require(Permission::Instance)?;
    let slots = if body.value.skip_missed { MissedSlots::Skip } else { MissedSlots::CatchUp };
    api.engine.release_restored(slots).await?;
    view(&api).await
}
