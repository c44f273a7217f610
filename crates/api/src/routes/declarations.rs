//! What a configuration has made, so that whoever applies one again knows what is its own.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_engine::clock;
use wakeful_store::ops::declarations::{self, Declaration};

use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::parameters::{Parameters, PathCompany, check_text};
use crate::wire::{DeclarationView, Whole};
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, put, forget))
}

/// Lists all that a configuration has made in a company.
#[utoipa::path(get, path = "/companies/{company}/declarations", tag = "configuration",
    params(("company" = String, Path, description = "id or slug")), responses((status = 200, body = Whole<DeclarationView>)))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
) -> Result<Json<Whole<DeclarationView>>, Problem> {
    principal.require(Permission::Manage)?;
    let found = api
        .engine
        .db()
        .read("declaration.list", company.id, |tx, company| Box::pin(declarations::list(tx, *company)))
        .await?;
    Ok(Json(Whole { items: found.into_iter().map(DeclarationView::from).collect() }))
}

/// Notes that a configuration has made something, or what it has made of it.
#[utoipa::path(put, path = "/companies/{company}/declarations", tag = "configuration",
    params(("company" = String, Path, description = "id or slug")), request_body = DeclarationView,
    responses((status = 200, body = DeclarationView), (status = 422, body = ProblemDocument)))]
async fn put(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    body: Body<DeclarationView>,
) -> Result<Json<DeclarationView>, Problem> {
    principal.require(Permission::Manage)?;
    let declared = body.value;
    let texts = [
        ("kind", &declared.kind),
        ("name", &declared.name),
        ("configuration", &declared.configuration),
        ("id", &declared.id),
    ];
    for (field, text) in texts {
        check_text(field, Some(text))?;
    }
    let arguments = (clock::now(), company.id, Declaration::from(declared));
    let kept = api
        .engine
        .write("declaration.put", arguments, |tx, (now, company, declared)| {
            Box::pin(async move { declarations::put(tx, *now, *company, declared).await.map(|()| declared.clone()) })
        })
        .await?;
    Ok(Json(kept.into()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    kind: String,
    name: String,
}

/// Forgets that a configuration has made something; what it made stays.
#[utoipa::path(delete, path = "/companies/{company}/declarations", tag = "configuration",
    params(("company" = String, Path, description = "id or slug"), ("kind" = String, Query), ("name" = String, Query)),
    responses((status = 204)))]
async fn forget(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(named): Parameters<Named>,
) -> Result<StatusCode, Problem> {
    principal.require(Permission::Manage)?;
    api.engine
        .write("declaration.forget", (company.id, named.kind, named.name), |tx, (company, kind, name)| {
            Box::pin(declarations::forget(tx, *company, kind, name))
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
