//! What needs a person, counted.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::time::Timestamp;
use wakeful_engine::clock;
use wakeful_store::ops::attention;

use crate::access::{Permission, Principal};
use crate::errors::ProblemDocument;
use crate::parameters::{Parameters, PathCompany};
use crate::wire::AttentionView;
use crate::{Api, Problem};

/// How far back it looks unless it is said: a week.
const SINCE_DEFAULT: Duration = Duration::from_secs(7 * 86_400);

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(show_attention))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AttentionQuery {
    since: Option<Timestamp>,
}

/// Counts what needs a person, each up to 100: open escalations, agents to approve, what failed for good, unread mail to people,
/// notifications that a channel did not take (of these two, what nobody has acknowledged), schedules with missed slots.
#[utoipa::path(get, path = "/companies/{company}/attention", tag = "companies",
    params(("company" = String, Path, description = "id or slug"),
        ("since" = Option<String>, Query, description = "of what failed and was missed; a week ago by default")),
    responses((status = 200, body = AttentionView), (status = 422, body = ProblemDocument)))]
async fn show_attention(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<AttentionQuery>,
) -> Result<Json<AttentionView>, Problem> {
    principal.require(Permission::Read)?;
    let since = query.since.unwrap_or(clock::now() - SINCE_DEFAULT);
    let found = api
        .engine
        .db()
        .read("attention", (company.id, since), |tx, (company, since)| Box::pin(attention::of(tx, *company, *since)))
        .await?;
    Ok(Json(found.into()))
}
