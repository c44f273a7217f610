//! Secrets: set, listed by name, removed. There is no route that shows a value.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::id::CompanyId;
use wakeful_domain::secret::{name_problem, value_problem};
use wakeful_engine::clock;
use wakeful_store::ops::request_keys;
use wakeful_store::ops::secrets::{self, Sealed};

use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::idempotency::request_key;
use crate::parameters::{IdempotencyKey, Parameters, PathCompany, limit, path_parameter};
use crate::wire::{NewSecret, Page, PutSecret, SecretValue, SecretView};
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(put, remove))
}

/// The `{name}` of a path.
struct PathName(String);

impl FromRequestParts<Api> for PathName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        path_parameter(parts, api, "name").await.map(PathName)
    }
}

/// The sealed value, if name and value may be kept.
fn sealed(api: &Api, company: CompanyId, name: &str, value: &SecretValue) -> Result<Sealed, Problem> {
    if let Some(problem) = name_problem(name) {
        return Err(Problem::invalid("name", problem));
    }
    if let Some(problem) = value_problem(&value.0) {
        return Err(Problem::invalid("value", problem));
    }
    api.engine.config().vault.seal_secret(company, name, &value.0).map_err(|error| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_sealed", format!("the value could not be sealed: {error}"))
    })
}

/// Makes a secret. One of the same name is refused: replace it with PUT.
#[utoipa::path(post, path = "/companies/{company}/secrets", tag = "secrets", params(("company" = String, Path, description = "id or slug")),
    request_body = NewSecret, responses((status = 201, body = SecretView), (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument)))]
async fn create(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    IdempotencyKey(key): IdempotencyKey,
    body: Body<NewSecret>,
) -> Result<(StatusCode, Json<SecretView>), Problem> {
    principal.require(Permission::Manage)?;
    let key = request_key(key, &principal, &format!("POST /companies/{}/secrets", company.id), &body.bytes);
    let new = body.value;
    let sealed = sealed(&api, company.id, &new.name, &new.value)?;
    let made = api
        .engine
        .write(
            "secret.create",
            (clock::now(), company.id, new.name, sealed, key),
            |tx, (now, company, name, sealed, key)| {
                Box::pin(async move {
                    if let Some(key) = key
                        && request_keys::find(tx, Some(*company), key).await?.is_some()
                        && let Some(made) = secrets::find(tx, *company, name).await?
                    {
                        return Ok(made);
                    }
                    let made = secrets::insert(tx, *now, *company, name, sealed).await?;
                    if let Some(key) = key {
                        request_keys::keep(tx, *now, Some(*company), key, name).await?;
                    }
                    Ok(made)
                })
            },
        )
        .await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// Makes a secret, or replaces its value: runs that start from now on get the new one.
#[utoipa::path(put, path = "/companies/{company}/secrets/{name}", tag = "secrets",
    params(("company" = String, Path, description = "id or slug"), ("name" = String, Path)), request_body = PutSecret,
    responses((status = 200, body = SecretView), (status = 422, body = ProblemDocument)))]
async fn put(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    PathName(name): PathName,
    body: Body<PutSecret>,
) -> Result<Json<SecretView>, Problem> {
    principal.require(Permission::Manage)?;
    let sealed = sealed(&api, company.id, &name, &body.value.value)?;
    let kept = api
        .engine
        .write("secret.put", (clock::now(), company.id, name, sealed), |tx, (now, company, name, sealed)| {
            Box::pin(secrets::put(tx, *now, *company, name, sealed))
        })
        .await?;
    Ok(Json(kept.into()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<i64>,
    cursor: Option<String>,
}

/// Lists a company's secrets by name, without their values.
#[utoipa::path(get, path = "/companies/{company}/secrets", tag = "secrets",
    params(("company" = String, Path, description = "id or slug"), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<SecretView>)))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<SecretView>>, Problem> {
    principal.require(Permission::Manage)?;
    let arguments = (company.id, query.cursor.unwrap_or_default(), limit(query.limit)?);
    let page = api
        .engine
        .db()
        .read("secret.list", arguments, |tx, (company, after, limit)| {
            Box::pin(secrets::list(tx, *company, after, *limit))
        })
        .await?;
    Ok(Json(Page::of(page, SecretView::from)))
}

/// Removes a secret. Agents that refer to it fail to start until there is one of that name again.
#[utoipa::path(delete, path = "/companies/{company}/secrets/{name}", tag = "secrets",
    params(("company" = String, Path, description = "id or slug"), ("name" = String, Path)),
    responses((status = 204), (status = 404, body = ProblemDocument)))]
async fn remove(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    PathName(name): PathName,
) -> Result<StatusCode, Problem> {
    principal.require(Permission::Manage)?;
    api.engine
        .write("secret.remove", (company.id, name), |tx, (company, name)| Box::pin(secrets::remove(tx, *company, name)))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
