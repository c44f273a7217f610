//! Budgets: what a company, an agent, a task with all below it or a schedule may spend.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::budget::{Budget, Level, Scope, problem};
use wakeful_domain::id::{BudgetId, kind};
use wakeful_domain::time::Timestamp;
use wakeful_engine::clock;
use wakeful_store::ops::budgets::{self, BudgetChange};
use wakeful_store::ops::request_keys;

use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::idempotency::request_key;
use crate::parameters::{IdempotencyKey, Parameters, PathCompany, PathId, id_in_option, limit};
use crate::wire::{BudgetPatch, BudgetView, NewBudget, Page};
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(show, change, remove))
}

/// The budget, if the caller may see it.
async fn visible(api: &Api, principal: &Principal, id: BudgetId) -> Result<Budget, Problem> {
    let read =
        api.engine.db().read("budget.get", (clock::now(), id), |tx, (now, id)| Box::pin(budgets::get(tx, *now, *id)));
    let budget = read.await?;
    match principal.sees(budget.company) {
        true => Ok(budget),
        false => Err(Problem::not_found("budget", &id.to_string())),
    }
}

fn scope(new: &NewBudget) -> Result<Scope, Problem> {
    let agent = id_in_option::<kind::Agent>("agent", new.agent.as_ref())?.map(Scope::Agent);
    let task = id_in_option::<kind::Task>("task", new.task.as_ref())?.map(Scope::Task);
    let schedule = id_in_option::<kind::Schedule>("schedule", new.schedule.as_ref())?.map(Scope::Schedule);
    let mut named = [("agent", agent), ("task", task), ("schedule", schedule)]
        .into_iter()
        .filter_map(|(field, scope)| Some((field, scope?)));
    match (named.next(), named.next()) {
        (None, _) => Ok(Scope::Company),
        (Some((_, scope)), None) => Ok(scope),
        (Some(_), Some((field, _))) => Err(Problem::invalid(
            field,
            "a budget is about one of `agent`, `task` and `schedule`, or about the company",
        )),
    }
}

/// Makes a budget. It counts what is used from now on; live runs count with what they use from now on.
#[utoipa::path(post, path = "/companies/{company}/budgets", tag = "budgets", params(("company" = String, Path, description = "id or slug")),
    request_body = NewBudget, responses((status = 201, body = BudgetView), (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument)))]
async fn create(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    IdempotencyKey(key): IdempotencyKey,
    body: Body<NewBudget>,
) -> Result<(StatusCode, Json<BudgetView>), Problem> {
    principal.require(Permission::Manage)?;
    let key = request_key(key, &principal, &format!("POST /companies/{}/budgets", company.id), &body.bytes);
    let new = body.value;
    if let Some((field, told)) = problem(new.window, new.metric, new.limit, new.reserve) {
        return Err(Problem::invalid(field, told));
    }
    let now = clock::now();
    let budget = Budget {
        id: api.engine.new_id(),
        company: company.id,
        scope: scope(&new)?,
        window: new.window,
        metric: new.metric,
        limit: new.limit,
        reserve: new.reserve,
        spent: 0,
        window_started_at: Timestamp::from_micros(0),
        window_ends_at: None,
        told: Level::Ok,
        created_at: now,
        updated_at: now,
    };
    let made = api
        .engine
        .write("budget.create", (budget, key), |tx, (budget, key)| {
            Box::pin(async move {
                let now = budget.created_at;
                match request_keys::made_before(tx, now, Some(budget.company), key.as_ref(), budget.id).await? {
                    Some(earlier) => budgets::get(tx, now, earlier).await,
                    None => budgets::insert(tx, budget).await,
                }
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

/// Lists a company's budgets, each with what has been spent of it.
#[utoipa::path(get, path = "/companies/{company}/budgets", tag = "budgets",
    params(("company" = String, Path, description = "id or slug"), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<BudgetView>)))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<BudgetView>>, Problem> {
    principal.require(Permission::Read)?;
    id_in_option::<kind::Budget>("cursor", query.cursor.as_ref())?;
    let arguments = (clock::now(), company.id, query.cursor, limit(query.limit)?);
    let page = api
        .engine
        .db()
        .read("budget.list", arguments, |tx, (now, company, cursor, limit)| {
            Box::pin(budgets::list(tx, *now, *company, cursor.clone(), *limit))
        })
        .await?;
    Ok(Json(Page::of(page, BudgetView::from)))
}

/// Shows a budget and what has been spent of it.
#[utoipa::path(get, path = "/budgets/{id}", tag = "budgets", params(("id" = String, Path)),
    responses((status = 200, body = BudgetView), (status = 404, body = ProblemDocument)))]
async fn show(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Budget>,
) -> Result<Json<BudgetView>, Problem> {
    principal.require(Permission::Read)?;
    Ok(Json(visible(&api, &principal, id).await?.into()))
}

/// Changes a budget. With a higher limit, what it has kept back starts at once.
#[utoipa::path(patch, path = "/budgets/{id}", tag = "budgets", params(("id" = String, Path)), request_body = BudgetPatch,
    responses((status = 200, body = BudgetView), (status = 422, body = ProblemDocument)))]
async fn change(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Budget>,
    body: Body<BudgetPatch>,
) -> Result<Json<BudgetView>, Problem> {
    principal.require(Permission::Manage)?;
    visible(&api, &principal, id).await?;
    let change = BudgetChange { limit: body.value.limit, reserve: body.value.reserve };
    let changed = api
        .engine
        .write("budget.change", (clock::now(), id, change), |tx, (now, id, change)| {
            Box::pin(budgets::change(tx, *now, *id, *change))
        })
        .await?;
    Ok(Json(changed.into()))
}

/// Removes a budget. What it has kept back starts at once.
#[utoipa::path(delete, path = "/budgets/{id}", tag = "budgets", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = ProblemDocument)))]
async fn remove(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Budget>,
) -> Result<StatusCode, Problem> {
    principal.require(Permission::Manage)?;
    visible(&api, &principal, id).await?;
    api.engine
        .write("budget.remove", (clock::now(), id), |tx, (now, id)| Box::pin(budgets::remove(tx, *now, *id)))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
