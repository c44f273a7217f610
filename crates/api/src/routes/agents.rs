//! Agents.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::active_hours::ActiveHours;
use wakeful_domain::agent::{
    Agent, AgentEvent, AgentState, AgentStatus, Heartbeat, Limits, MAX_CONCURRENT_RUNS_DEFAULT,
    MAX_CONCURRENT_RUNS_MAX, name_problem,
};
use wakeful_domain::id::{AgentId, CompanyId, kind};
use wakeful_domain::retry::RetryPolicy;
use wakeful_domain::schedule::{Gate, TriggerError, Zone};
use wakeful_domain::session::SessionPolicy;
use wakeful_domain::signature::secret_text;
use wakeful_domain::time::Timestamp;
use wakeful_engine::clock;
use wakeful_runner::adapters::Adapter;
use wakeful_store::ops::agents::{self, AgentChange, AgentFilter};
use wakeful_store::ops::{request_keys, sessions};

use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::idempotency::request_key;
use crate::parameters::{
    IdempotencyKey, Parameters, PathCompany, PathId, check_text, check_zone, id_in, id_in_option, limit, sought_in,
    within,
};
use crate::wire::{AgentPatch, AgentView, NewAgent, Page, SessionView, SigningSecretView, StateChange, Whole};
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(show, change, delete))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(terminate))
        .routes(routes!(approve))
        .routes(routes!(list_sessions, reset_sessions))
        .routes(routes!(signing_secret))
}

/// The agent, if the caller may see it.
pub async fn visible(api: &Api, principal: &Principal, id: AgentId) -> Result<Agent, Problem> {
    let agent = api.engine.db().read("agent.get", id, |tx, id| Box::pin(agents::get(tx, *id))).await?;
    match principal.sees(agent.company) {
        true => Ok(agent),
        false => Err(Problem::not_found("agent", &id.to_string())),
    }
}

async fn view(api: &Api, principal: &Principal, agent: Agent) -> Result<Json<AgentView>, Problem> {
    let figures = api.engine.db().read("agent.figures", agent.id, |tx, id| Box::pin(agents::figures(tx, *id))).await?;
    Ok(Json(AgentView::new(agent, figures, principal.require(Permission::Manage).is_ok())))
}

fn check_name(name: &str) -> Result<(), Problem> {
    name_problem(name).map_or(Ok(()), |problem| Err(Problem::invalid("name", problem)))
}

fn check_adapter(adapter: &Value) -> Result<(), Problem> {
    Adapter::of(adapter).map(|_| ()).map_err(|error| Problem::invalid(&error.field, error.message))
}

fn check_session(policy: &SessionPolicy) -> Result<(), Problem> {
    policy.problem().map_or(Ok(()), |(field, message)| Err(Problem::invalid(field, message)))
}

fn check_retry(policy: &RetryPolicy) -> Result<(), Problem> {
    policy.problem().map_or(Ok(()), |(field, message)| Err(Problem::invalid(field, message)))
}

/// Refuses a model that an adapter cannot be told.
pub(super) fn check_model(field: &str, adapter: &Value, model: Option<&String>) -> Result<(), Problem> {
    let (Some(model), Some(settings)) = (model, adapter.as_object()) else { return Ok(()) };
    let mut settings = settings.clone();
    settings.insert("model".into(), model.as_str().into());
    Adapter::of(&Value::Object(settings)).map(|_| ()).map_err(|error| {
        let told = format!("this agent's adapter cannot be told a model: {} {}", error.field, error.message);
        Problem::invalid(field, told)
    })
}

/// How often a timer ticks that nobody has said it of.
const HEARTBEAT_EVERY_DEFAULT: &str = "30m";

/// The policy with its defaults filled in, if it can be kept.
fn checked_heartbeat(mut heartbeat: Heartbeat) -> Result<Heartbeat, Problem> {
    if let Some(zone) = &heartbeat.time_zone {
        check_zone("heartbeat.time_zone", zone)?;
    }
    if heartbeat.every.is_some() && heartbeat.cron.is_some() {
        return Err(Problem::invalid("heartbeat.cron", "cannot stand beside `every`: leave one out"));
    }
    if heartbeat.enabled && heartbeat.every.is_none() && heartbeat.cron.is_none() {
        heartbeat.every = Some(HEARTBEAT_EVERY_DEFAULT.into());
    }
    let now = clock::now();
    let refused = |error: TriggerError| Problem::invalid(&format!("heartbeat.{}", error.field), error.message);
    // What is not enabled is checked, too: it may be tomorrow.
    let trigger = Heartbeat { enabled: true, ..heartbeat.clone() }.trigger().map_err(refused)?;
    if let Some(error) = trigger.and_then(|trigger| trigger.problem(&Zone::utc(), now, now)) {
        return Err(refused(error));
    }
    if let Some((field, message)) = heartbeat.gate.as_ref().and_then(Gate::problem) {
        return Err(Problem::invalid(&format!("heartbeat.{field}"), message));
    }
    let problem = heartbeat.active_hours.as_ref().and_then(ActiveHours::problem);
    problem.map_or(Ok(heartbeat), |(field, message)| Err(Problem::invalid(field, message)))
}

/// An agent as it is asked for; refuses what it cannot be.
pub(crate) fn drafted(new: NewAgent, id: AgentId, company: CompanyId, now: Timestamp) -> Result<Agent, Problem> {
    check_name(&new.name)?;
    check_adapter(&new.adapter)?;
    let cap = new.max_concurrent_runs.unwrap_or(MAX_CONCURRENT_RUNS_DEFAULT);
    within("max_concurrent_runs", Some(cap), 1, MAX_CONCURRENT_RUNS_MAX)?;
    let retry = new.retry.unwrap_or_default();
    check_retry(&retry)?;
    let session = new.session.unwrap_or_default();
    check_session(&session)?;
    let heartbeat = new.heartbeat.map(checked_heartbeat).transpose()?.unwrap_or_default();
    check_model("heartbeat.model", &new.adapter, heartbeat.model.as_ref())?;
    Ok(Agent {
        id,
        company,
        name: new.name,
        title: new.title,
        adapter: new.adapter,
        capabilities: new.capabilities,
        heartbeat,
        max_concurrent_runs: cap,
        retry,
        limits: new.limits.map(checked_limits).transpose()?.unwrap_or_default(),
        session,
        state: AgentState::Active,
        state_reason: None,
        quota_until: None,
        live_runs: 0,
        created_at: now,
        updated_at: now,
    })
}

/// Makes an agent.
#[utoipa::path(post, path = "/companies/{company}/agents", tag = "agents", params(("company" = String, Path, description = "id or slug")),
    request_body = NewAgent,
    responses((status = 201, body = AgentView), (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument)))]
async fn create(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    IdempotencyKey(key): IdempotencyKey,
    body: Body<NewAgent>,
) -> Result<(StatusCode, Json<AgentView>), Problem> {
    principal.require(Permission::Manage)?;
    let agent = drafted(body.value, api.engine.new_id(), company.id, clock::now())?;
    let key = request_key(key, &principal, &format!("POST /companies/{}/agents", company.id), &body.bytes);
    let made = api
        .engine
        .write("agent.create", (agent, key), |tx, (agent, key)| {
            Box::pin(async move {
                let made = request_keys::made_before(tx, agent.created_at, Some(agent.company), key.as_ref(), agent.id)
                    .await?;
                if let Some(earlier) = made {
                    return agents::get(tx, earlier).await;
                }
                agents::insert(tx, agent).await?;
                agents::get(tx, agent.id).await
            })
        })
        .await?;
    Ok((StatusCode::CREATED, view(&api, &principal, made).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    name: Option<String>,
    /// Part of the name or the title.
    q: Option<String>,
    status: Option<AgentStatus>,
}

/// Lists a company's agents, or the one with a name; those with a text in name or title, in either case; those of a status: `running`, `idle`,
/// `parked`, `paused`, `pending_approval` or `terminated`.
#[utoipa::path(get, path = "/companies/{company}/agents", tag = "agents",
    params(("company" = String, Path, description = "id or slug"), ("limit" = Option<i64>, Query),
        ("cursor" = Option<String>, Query), ("name" = Option<String>, Query), ("q" = Option<String>, Query), ("status" = Option<String>, Query)),
    responses((status = 200, body = Page<AgentView>)))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<AgentView>>, Problem> {
    principal.require(Permission::Read)?;
    id_in_option::<kind::Agent>("cursor", query.cursor.as_ref())?;
    let shows_keys = principal.require(Permission::Manage).is_ok();
    let filter = AgentFilter { name: query.name, text: sought_in(query.q.as_deref())?, status: query.status };
    let arguments = (company.id, query.cursor, limit(query.limit)?, filter, shows_keys);
    let page = api
        .engine
        .db()
        .read("agent.list", arguments, |tx, (company, cursor, limit, filter, shows_keys)| {
            Box::pin(async move {
                let page = agents::list(tx, *company, filter, cursor.clone(), *limit).await?;
                let mut items = Vec::with_capacity(page.items.len());
                for agent in page.items {
                    let figures = agents::figures(tx, agent.id).await?;
                    items.push(AgentView::new(agent, figures, *shows_keys));
                }
                Ok(Page { items, next_cursor: page.next_cursor })
            })
        })
        .await?;
    Ok(Json(page))
}

/// Shows an agent.
#[utoipa::path(get, path = "/agents/{id}", tag = "agents", params(("id" = String, Path)),
    responses((status = 200, body = AgentView), (status = 404, body = ProblemDocument)))]
async fn show(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Agent>,
) -> Result<Json<AgentView>, Problem> {
    principal.require(Permission::Read)?;
    let agent = visible(&api, &principal, id).await?;
    view(&api, &principal, agent).await
}

/// Changes an agent's configuration; live runs keep what they were started with.
#[utoipa::path(patch, path = "/agents/{id}", tag = "agents", params(("id" = String, Path)), request_body = AgentPatch,
    responses((status = 200, body = AgentView), (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument)))]
async fn change(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Agent>,
    body: Body<AgentPatch>,
) -> Result<Json<AgentView>, Problem> {
    principal.require(Permission::Manage)?;
    let known = visible(&api, &principal, id).await?;
    let patch = body.value;
    patch.name.as_deref().map(check_name).transpose()?;
    patch.adapter.as_ref().map(check_adapter).transpose()?;
    within("max_concurrent_runs", patch.max_concurrent_runs, 1, MAX_CONCURRENT_RUNS_MAX)?;
    patch.retry.as_ref().map(check_retry).transpose()?;
    patch.session.as_ref().map(check_session).transpose()?;
    let heartbeat = patch.heartbeat.map(checked_heartbeat).transpose()?;
    let model = heartbeat.as_ref().unwrap_or(&known.heartbeat).model.as_ref();
    check_model("heartbeat.model", patch.adapter.as_ref().unwrap_or(&known.adapter), model)?;
    let change = AgentChange {
        name: patch.name,
        title: patch.title,
        adapter: patch.adapter,
        capabilities: patch.capabilities,
        heartbeat,
        max_concurrent_runs: patch.max_concurrent_runs,
        retry: patch.retry,
        limits: patch.limits.map(checked_limits).transpose()?,
        session: patch.session,
    };
    let changed = api
        .engine
        .write("agent.change", (clock::now(), id, change), |tx, (now, id, change)| {
            Box::pin(agents::change(tx, *now, *id, change))
        })
        .await?;
    view(&api, &principal, changed).await
}

/// Terminates an agent and hides it; its runs stay readable.
#[utoipa::path(delete, path = "/agents/{id}", tag = "agents", params(("id" = String, Path)), responses((status = 204)))]
async fn delete(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Agent>,
) -> Result<StatusCode, Problem> {
    principal.require(Permission::Manage)?;
    visible(&api, &principal, id).await?;
    api.engine.delete_agent(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn set_state(
    api: &Api,
    principal: &Principal,
    id: AgentId,
    event: AgentEvent,
    change: StateChange,
) -> Result<Json<AgentView>, Problem> {
    principal.require(Permission::Manage)?;
    visible(api, principal, id).await?;
    check_text("reason", change.reason.as_ref())?;
    let agent = api.engine.change_agent_state(id, event, change.reason, change.cancel_runs).await?;
    view(api, principal, agent).await
}

/// Pauses an agent: nothing new starts; with `cancel_runs` its live runs are stopped and their wakeups put back.
#[utoipa::path(post, path = "/agents/{id}/pause", tag = "agents", params(("id" = String, Path)), request_body = StateChange,
    responses((status = 200, body = AgentView), (status = 409, body = ProblemDocument)))]
async fn pause(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Agent>,
    body: Body<StateChange>,
) -> Result<Json<AgentView>, Problem> {
    set_state(&api, &principal, id, AgentEvent::Pause, body.value).await
}

/// Lets an agent start again.
#[utoipa::path(post, path = "/agents/{id}/resume", tag = "agents", params(("id" = String, Path)), request_body = StateChange,
    responses((status = 200, body = AgentView), (status = 409, body = ProblemDocument)))]
async fn resume(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Agent>,
    body: Body<StateChange>,
) -> Result<Json<AgentView>, Problem> {
    set_state(&api, &principal, id, AgentEvent::Resume, body.value).await
}

/// Ends an agent for good: pending wakeups are cancelled, live runs stopped.
#[utoipa::path(post, path = "/agents/{id}/terminate", tag = "agents", params(("id" = String, Path)), request_body = StateChange,
    responses((status = 200, body = AgentView)))]
async fn terminate(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Agent>,
    body: Body<StateChange>,
) -> Result<Json<AgentView>, Problem> {
    set_state(&api, &principal, id, AgentEvent::Terminate, body.value).await
}

/// Approves an agent that was waiting for it.
#[utoipa::path(post, path = "/agents/{id}/approve", tag = "agents", params(("id" = String, Path)), request_body = StateChange,
    responses((status = 200, body = AgentView), (status = 409, body = ProblemDocument)))]
async fn approve(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Agent>,
    body: Body<StateChange>,
) -> Result<Json<AgentView>, Problem> {
    set_state(&api, &principal, id, AgentEvent::Approve, body.value).await
}

/// Lists an agent's newest 200 sessions.
#[utoipa::path(get, path = "/agents/{id}/sessions", tag = "agents", params(("id" = String, Path)),
    responses((status = 200, body = Whole<SessionView>)))]
async fn list_sessions(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Agent>,
) -> Result<Json<Whole<SessionView>>, Problem> {
    principal.require(Permission::Read)?;
    visible(&api, &principal, id).await?;
    let found = api.engine.db().read("session.list", id, |tx, id| Box::pin(sessions::of_agent(tx, *id))).await?;
    Ok(Json(Whole { items: found.into_iter().map(SessionView::from).collect() }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResetQuery {
    /// A task; `none` for the agent's own lane; absent for all.
    task: Option<String>,
}

/// Ends sessions: the next run of the lane starts afresh, and says why.
#[utoipa::path(delete, path = "/agents/{id}/sessions", tag = "agents",
    params(("id" = String, Path), ("task" = Option<String>, Query, description = "a task, or `none` for the agent's own lane")),
    responses((status = 204)))]
async fn reset_sessions(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Agent>,
    Parameters(query): Parameters<ResetQuery>,
) -> Result<StatusCode, Problem> {
    principal.require(Permission::Manage)?;
    visible(&api, &principal, id).await?;
    let lane = match query.task.as_deref() {
        None => None,
        Some("none") => Some(None),
        Some(task) => Some(Some(id_in::<kind::Task>("task", task)?)),
    };
    let arguments = (clock::now(), id, lane);
    api.engine
        .write("session.reset", arguments, |tx, (now, id, lane)| Box::pin(sessions::reset(tx, *now, *id, *lane)))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn checked_limits(limits: Limits) -> Result<Limits, Problem> {
    match limits.problem() {
        Some((field, problem)) => Err(Problem::invalid(field, problem)),
        None => Ok(limits),
    }
}

/// Shows the key that requests to the agent's service are signed with, unless its settings name a secret.
#[utoipa::path(get, path = "/agents/{id}/signing-secret", tag = "agents", params(("id" = String, Path)),
    responses((status = 200, body = SigningSecretView), (status = 404, body = ProblemDocument)))]
async fn signing_secret(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Agent>,
) -> Result<Json<SigningSecretView>, Problem> {
    principal.require(Permission::Manage)?;
    visible(&api, &principal, id).await?;
    Ok(Json(SigningSecretView { signing_secret: secret_text(api.engine.signing_key(id).as_slice()) }))
}
