//! What was going on in a company from one time to another.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_engine::clock;
use wakeful_store::ops::timeline;

use crate::access::{Permission, Principal};
use crate::errors::ProblemDocument;
use crate::parameters::{Parameters, PathCompany, window_in};
use crate::wire::TimelineView;
use crate::{Api, Problem};

/// The longest window: a year.
const WINDOW_MAX: Duration = Duration::from_secs(366 * 86_400);
const WINDOW_DEFAULT: Duration = Duration::from_secs(86_400);

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(show_timeline))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TimelineQuery {
    from: Option<String>,
    to: Option<String>,
}

/// Shows the runs that overlap a window (the last day by default), the wakeups that were requested in it or have waited since before,
/// and its slots of which nothing came.
#[utoipa::path(get, path = "/companies/{company}/timeline", tag = "runs",
    params(("company" = String, Path, description = "id or slug"), ("from" = Option<String>, Query), ("to" = Option<String>, Query)),
    responses((status = 200, body = TimelineView), (status = 422, body = ProblemDocument)))]
async fn show_timeline(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<TimelineQuery>,
) -> Result<Json<TimelineView>, Problem> {
    principal.require(Permission::Read)?;
    let (from, to) = window_in((query.from.as_ref(), query.to.as_ref()), clock::now(), WINDOW_DEFAULT, WINDOW_MAX)?;
    let found = api
        .engine
        .db()
        .read("timeline.of", (company.id, from, to), |tx, (company, from, to)| {
            Box::pin(timeline::of(tx, *company, *from, *to))
        })
        .await?;
    Ok(Json(TimelineView::new((from.to_string(), to.to_string()), found)))
}
