//! What things are called, many at once: a console shows names where answers have ids.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_store::ops::names;

use crate::access::{Permission, Principal};
use crate::errors::ProblemDocument;
use crate::parameters::{Parameters, PathCompany};
use crate::wire::{NamedView, Whole};
use crate::{Api, Problem};

/// Ids in one request: those of a page, and of what its rows are about.
const IDS_MAX: usize = 200;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_names))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamesQuery {
    ids: Option<String>,
}

/// Tells what things are called. What the company does not have, and what has no name, is left out.
#[utoipa::path(get, path = "/companies/{company}/names", tag = "companies",
    params(("company" = String, Path, description = "id or slug"),
        ("ids" = String, Query, description = "at most 200, with commas in between")),
    responses((status = 200, body = Whole<NamedView>), (status = 422, body = ProblemDocument)))]
async fn list_names(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<NamesQuery>,
) -> Result<Json<Whole<NamedView>>, Problem> {
    principal.require(Permission::Read)?;
    let text = query.ids.ok_or_else(|| Problem::invalid("ids", "is missing: send ids with commas in between"))?;
    let ids: Vec<String> = text.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect();
    if ids.len() > IDS_MAX {
        return Err(Problem::invalid("ids", format!("are {}; at most {IDS_MAX} go into one request", ids.len())));
    }
    let found = api
        .engine
        .db()
        .read("name.list", (company.id, ids.clone()), |tx, (company, ids)| Box::pin(names::of(tx, *company, ids)))
        .await?;
    let named = |id: String| found.get(&id).map(|name| NamedView { name: name.clone(), id });
    Ok(Json(Whole { items: ids.into_iter().filter_map(named).collect() }))
}
