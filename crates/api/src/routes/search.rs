//! What a person means by a few letters: for a palette of commands.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_store::ops::search::{self, Hit};

use crate::access::{Permission, Principal};
use crate::errors::ProblemDocument;
use crate::parameters::{Parameters, PathCompany, sought_in};
use crate::wire::Whole;
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(find))
}

/// Something that was found.
#[derive(Debug, Serialize, ToSchema)]
struct HitView {
    /// As `agent`, `task`, `schedule`, `project`, `goal`, or whatever has the id.
    kind: &'static str,
    id: String,
    name: String,
    /// A title, or a status.
    detail: Option<String>,
}

impl From<Hit> for HitView {
    fn from(hit: Hit) -> Self {
        HitView { kind: hit.kind, id: hit.id, name: hit.name, detail: hit.detail }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchQuery {
    q: Option<String>,
}

/// Finds agents, schedules, tasks, projects and goals by a part of their names (of tasks the newest 10,000), and anything by its id. At most
/// 20, those first that begin with what is sought.
#[utoipa::path(get, path = "/companies/{company}/search", tag = "companies",
    params(("company" = String, Path, description = "id or slug"), ("q" = String, Query)),
    responses((status = 200, body = Whole<HitView>), (status = 422, body = ProblemDocument)))]
async fn find(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<SearchQuery>,
) -> Result<Json<Whole<HitView>>, Problem> {
    principal.require(Permission::Read)?;
    let Some(letters) = sought_in(query.q.as_deref())? else { return Ok(Json(Whole { items: Vec::new() })) };
    let found = api
        .engine
        .db()
        .read("search.find", (company.id, letters), |tx, (company, letters)| {
            Box::pin(async move {
                match search::by_id(tx, *company, letters).await? {
                    Some(hit) => Ok(vec![hit]),
                    None => search::by_name(tx, *company, letters).await,
                }
            })
        })
        .await?;
    Ok(Json(Whole { items: found.into_iter().map(HitView::from).collect() }))
}
