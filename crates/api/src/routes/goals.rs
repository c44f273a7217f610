//! Goals.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, json};
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::goal::{Goal, description_problem, title_problem};
use wakeful_domain::id::{GoalId, kind};
use wakeful_domain::wakeup::{GOAL_KEY, Source};
use wakeful_engine::clock;
use wakeful_store::ops::goals::{self, GoalChange};
use wakeful_store::ops::request_keys;
use wakeful_store::ops::wake::{Maker, Wake};

use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::idempotency::{fingerprint, request_key};
use crate::parameters::{IdempotencyKey, Parameters, PathCompany, PathId, check_text, id_in, id_in_option, limit};
use crate::wire::{DecomposeRequest, GoalPatch, GoalView, NewGoal, Page, WakeupView};
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(show, change)).routes(routes!(decompose))
}

/// The goal, if the caller may see it.
async fn visible(api: &Api, principal: &Principal, id: GoalId) -> Result<Goal, Problem> {
    let goal = api.engine.db().read("goal.get", id, |tx, id| Box::pin(goals::get(tx, *id))).await?;
    match principal.sees(goal.company) {
        true => Ok(goal),
        false => Err(Problem::not_found("goal", &id.to_string())),
    }
}

fn check_title(title: &str) -> Result<(), Problem> {
    title_problem(title).map_or(Ok(()), |problem| Err(Problem::invalid("title", problem)))
}

fn check_description(description: &str) -> Result<(), Problem> {
    description_problem(description).map_or(Ok(()), |problem| Err(Problem::invalid("description", problem)))
}

/// Makes a goal.
#[utoipa::path(post, path = "/companies/{company}/goals", tag = "goals", params(("company" = String, Path, description = "id or slug")),
    request_body = NewGoal, responses((status = 201, body = GoalView), (status = 422, body = ProblemDocument)))]
async fn create(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    IdempotencyKey(key): IdempotencyKey,
    body: Body<NewGoal>,
) -> Result<(StatusCode, Json<GoalView>), Problem> {
    principal.require(Permission::Work)?;
    let key = request_key(key, &principal, &format!("POST /companies/{}/goals", company.id), &body.bytes);
    let new = body.value;
    check_title(&new.title)?;
    new.description.as_deref().map(check_description).transpose()?;
    let now = clock::now();
    let goal = Goal {
        id: api.engine.new_id(),
        company: company.id,
        parent: id_in_option("parent", new.parent.as_ref())?,
        title: new.title,
        description: new.description,
        created_at: now,
        updated_at: now,
    };
    let made = api
        .engine
        .write("goal.create", (goal, key), |tx, (goal, key)| {
            Box::pin(async move {
                let made =
                    request_keys::made_before(tx, goal.created_at, Some(goal.company), key.as_ref(), goal.id).await?;
                if let Some(earlier) = made {
                    return goals::get(tx, earlier).await;
                }
                goals::insert(tx, goal).await?;
                goals::get(tx, goal.id).await
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
    parent: Option<String>,
}

/// Lists a company's goals, or those right below one.
#[utoipa::path(get, path = "/companies/{company}/goals", tag = "goals",
    params(("company" = String, Path, description = "id or slug"), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query),
        ("parent" = Option<String>, Query)),
    responses((status = 200, body = Page<GoalView>)))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<GoalView>>, Problem> {
    principal.require(Permission::Read)?;
    id_in_option::<kind::Goal>("cursor", query.cursor.as_ref())?;
    let parent = id_in_option("parent", query.parent.as_ref())?;
    let arguments = (company.id, parent, query.cursor, limit(query.limit)?);
    let page = api
        .engine
        .db()
        .read("goal.list", arguments, |tx, (company, parent, cursor, limit)| {
            Box::pin(goals::list(tx, *company, *parent, cursor.clone(), *limit))
        })
        .await?;
    Ok(Json(Page::of(page, GoalView::from)))
}

/// Shows a goal.
#[utoipa::path(get, path = "/goals/{id}", tag = "goals", params(("id" = String, Path)),
    responses((status = 200, body = GoalView), (status = 404, body = ProblemDocument)))]
async fn show(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Goal>,
) -> Result<Json<GoalView>, Problem> {
    principal.require(Permission::Read)?;
    Ok(Json(visible(&api, &principal, id).await?.into()))
}

/// Changes a goal. A parent that is below the goal is refused.
#[utoipa::path(patch, path = "/goals/{id}", tag = "goals", params(("id" = String, Path)), request_body = GoalPatch,
    responses((status = 200, body = GoalView), (status = 422, body = ProblemDocument)))]
async fn change(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Goal>,
    body: Body<GoalPatch>,
) -> Result<Json<GoalView>, Problem> {
    principal.require(Permission::Work)?;
    visible(&api, &principal, id).await?;
    let patch = body.value;
    patch.title.as_deref().map(check_title).transpose()?;
    patch.description.as_ref().and_then(Option::as_deref).map(check_description).transpose()?;
    let change = GoalChange {
        title: patch.title,
        description: patch.description,
        parent: patch.parent.map(|text| id_in_option("parent", text.as_ref())).transpose()?,
    };
    let changed = api
        .engine
        .write("goal.change", (clock::now(), id, change), |tx, (now, id, change)| {
            Box::pin(goals::change(tx, *now, *id, change))
        })
        .await?;
    Ok(Json(changed.into()))
}

/// Asks an agent to break a goal down into tasks: it is woken, and told the goal and those above it.
#[utoipa::path(post, path = "/goals/{id}/decompose", tag = "goals", params(("id" = String, Path)), request_body = DecomposeRequest,
    responses((status = 202, body = WakeupView), (status = 404, body = ProblemDocument), (status = 409, body = ProblemDocument)))]
async fn decompose(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Goal>,
    IdempotencyKey(key): IdempotencyKey,
    body: Body<DecomposeRequest>,
) -> Result<(StatusCode, Json<WakeupView>), Problem> {
    principal.require(Permission::Work)?;
    let goal = visible(&api, &principal, id).await?;
    let DecomposeRequest { agent, reason } = body.value;
    check_text("reason", reason.as_ref())?;
    let asked = format!("break down the goal `{}` into tasks", goal.title);
    let reason = reason.map_or_else(|| asked.clone(), |more| format!("{asked}: {more}"));
    let request_hash = key.as_ref().map(|_| fingerprint(&[id.to_string().as_bytes(), &body.bytes]));
    let wake = Wake {
        id: api.engine.new_id(),
        company: Some(goal.company),
        agent: id_in("agent", &agent)?,
        task: None,
        source: Source::Goal,
        trigger_detail: Some("decompose".into()),
        reason: Some(reason),
        priority: None,
        payload: Map::from_iter([("goal".to_owned(), json!({ "id": goal.id, "title": goal.title }))]),
        context: Map::from_iter([(GOAL_KEY.to_owned(), json!(goal.id))]),
        actor: principal.actor(),
        idempotency_key: key,
        request_hash,
        now: clock::now(),
        due_at: None,
        expires_at: None,
        max_attempts: None,
        by_run: principal.own_run(),
        maker: Maker::Request,
    };
    let (accepted, waiting) = api.engine.accept(wake).await?;
    let status = if accepted.is_new { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(WakeupView::new(accepted.wakeup, waiting))))
}
