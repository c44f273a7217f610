//! Companies.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::company::{
    Company, CompanyState, MAX_CONCURRENT_RUNS_DEFAULT, MAX_CONCURRENT_RUNS_MAX, MAX_RUNS_PER_ROOT_HOUR_DEFAULT,
    MAX_RUNS_PER_ROOT_HOUR_MAX, slug_problem,
};
use wakeful_domain::id::CompanyId;
use wakeful_domain::time::Timestamp;
use wakeful_engine::clock;
use wakeful_store::ops::companies::{self, CompanyChange};
use wakeful_store::ops::{request_keys, stats};

use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::idempotency::request_key;
use crate::parameters::{IdempotencyKey, Parameters, PathCompany, check_text, check_zone, id_in_option, limit, within};
use crate::wire::{CompanyPatch, CompanyView, NewCompany, Page, StateChange, StatsView};
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(show, change))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(statistics))
}

fn check_name(name: &str) -> Result<(), Problem> {
    match name.trim().is_empty() || name.chars().count() > 200 {
        true => Err(Problem::invalid("name", "must have 1 to 200 characters")),
        false => Ok(()),
    }
}

/// A company as it is asked for; refuses what it cannot be.
pub(crate) fn drafted(new: NewCompany, id: CompanyId, now: Timestamp) -> Result<Company, Problem> {
    if let Some(problem) = slug_problem(&new.slug) {
        return Err(Problem::invalid("slug", problem));
    }
    check_name(&new.name)?;
    let cap = new.max_concurrent_runs.unwrap_or(MAX_CONCURRENT_RUNS_DEFAULT);
    within("max_concurrent_runs", Some(cap), 1, MAX_CONCURRENT_RUNS_MAX)?;
    let per_root = new.max_runs_per_root_hour.unwrap_or(MAX_RUNS_PER_ROOT_HOUR_DEFAULT);
    within("max_runs_per_root_hour", Some(per_root), 1, MAX_RUNS_PER_ROOT_HOUR_MAX)?;
    let time_zone = new.time_zone.unwrap_or_else(|| "UTC".into());
    check_zone("time_zone", &time_zone)?;
    Ok(Company {
        id,
        slug: new.slug,
        name: new.name,
        time_zone,
        max_concurrent_runs: cap,
        max_runs_per_root_hour: per_root,
        state: CompanyState::Active,
        state_reason: None,
        live_runs: 0,
        created_at: now,
        updated_at: now,
    })
}

/// Makes a company.
#[utoipa::path(post, path = "/companies", tag = "companies", request_body = NewCompany,
    responses((status = 201, body = CompanyView), (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument)))]
async fn create(
    State(api): State<Api>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    body: Body<NewCompany>,
) -> Result<(StatusCode, Json<CompanyView>), Problem> {
    principal.require(Permission::Instance)?;
    let company = drafted(body.value, api.engine.new_id(), clock::now())?;
    let key = request_key(key, &principal, "POST /companies", &body.bytes);
    let made = api
        .engine
        .write("company.create", (company, key), |tx, (company, key)| {
            Box::pin(async move {
                let made = request_keys::made_before(tx, company.created_at, None, key.as_ref(), company.id).await?;
                if let Some(earlier) = made {
                    return companies::get(tx, earlier).await;
                }
                companies::insert(tx, company).await?;
                companies::get(tx, company.id).await
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

/// Lists the companies that the token may see.
#[utoipa::path(get, path = "/companies", tag = "companies",
    params(("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<CompanyView>)))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<CompanyView>>, Problem> {
    principal.require(Permission::Read)?;
    id_in_option::<wakeful_domain::id::kind::Company>("cursor", query.cursor.as_ref())?;
    let arguments = (principal.company(), query.cursor, limit(query.limit)?);
    let page = api
        .engine
        .db()
        .read("company.list", arguments, |tx, (only, cursor, limit)| {
            Box::pin(companies::list(tx, *only, cursor.clone(), *limit))
        })
        .await?;
    Ok(Json(Page::of(page, CompanyView::from)))
}

/// Shows a company.
#[utoipa::path(get, path = "/companies/{company}", tag = "companies", params(("company" = String, Path, description = "id or slug")),
    responses((status = 200, body = CompanyView), (status = 404, body = ProblemDocument)))]
async fn show(principal: Principal, PathCompany(company): PathCompany) -> Result<Json<CompanyView>, Problem> {
    principal.require(Permission::Read)?;
    Ok(Json(company.into()))
}

/// Changes a company.
#[utoipa::path(patch, path = "/companies/{company}", tag = "companies", params(("company" = String, Path, description = "id or slug")),
    request_body = CompanyPatch, responses((status = 200, body = CompanyView), (status = 422, body = ProblemDocument)))]
async fn change(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    body: Body<CompanyPatch>,
) -> Result<Json<CompanyView>, Problem> {
    principal.require(Permission::Manage)?;
    let patch = body.value;
    patch.name.as_deref().map(check_name).transpose()?;
    within("max_concurrent_runs", patch.max_concurrent_runs, 1, MAX_CONCURRENT_RUNS_MAX)?;
    within("max_runs_per_root_hour", patch.max_runs_per_root_hour, 1, MAX_RUNS_PER_ROOT_HOUR_MAX)?;
    patch.time_zone.as_deref().map(|zone| check_zone("time_zone", zone)).transpose()?;
    let change = CompanyChange {
        name: patch.name,
        max_concurrent_runs: patch.max_concurrent_runs,
        max_runs_per_root_hour: patch.max_runs_per_root_hour,
        time_zone: patch.time_zone,
    };
    let changed = api
        .engine
        .write("company.change", (clock::now(), company.id, change), |tx, (now, id, change)| {
            Box::pin(companies::change(tx, *now, *id, change))
        })
        .await?;
    Ok(Json(changed.into()))
}

async fn set_state(
    api: &Api,
    principal: &Principal,
    id: CompanyId,
    state: CompanyState,
    change: StateChange,
) -> Result<Json<CompanyView>, Problem> {
    principal.require(Permission::Manage)?;
    check_text("reason", change.reason.as_ref())?;
    let company = api.engine.change_company_state(id, state, change.reason, change.cancel_runs).await?;
    Ok(Json(company.into()))
}

/// Pauses a company: nothing new starts.
#[utoipa::path(post, path = "/companies/{company}/pause", tag = "companies", params(("company" = String, Path, description = "id or slug")),
    request_body = StateChange, responses((status = 200, body = CompanyView)))]
async fn pause(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    body: Body<StateChange>,
) -> Result<Json<CompanyView>, Problem> {
    set_state(&api, &principal, company.id, CompanyState::Paused, body.value).await
}

/// Lets a company's agents start again.
#[utoipa::path(post, path = "/companies/{company}/resume", tag = "companies", params(("company" = String, Path, description = "id or slug")),
    request_body = StateChange, responses((status = 200, body = CompanyView)))]
async fn resume(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    body: Body<StateChange>,
) -> Result<Json<CompanyView>, Problem> {
    set_state(&api, &principal, company.id, CompanyState::Active, body.value).await
}

/// Counts wakeups and runs by status.
#[utoipa::path(get, path = "/companies/{company}/stats", tag = "companies", params(("company" = String, Path, description = "id or slug")),
    responses((status = 200, body = StatsView)))]
async fn statistics(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
) -> Result<Json<StatsView>, Problem> {
    principal.require(Permission::Read)?;
    let counted = api
        .engine
        .db()
        .read("stats.count", company.id, |tx, company| {
            Box::pin(async move { Ok((stats::count(tx, *company).await?, stats::pending(tx, Some(*company)).await?)) })
        })
        .await?;
    Ok(Json(StatsView::new(counted.0, counted.1, api.engine.host(), clock::now())))
}
