//! Schedules: made, listed, changed, paused, fired by hand. Their slots are `slots`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::id::{CompanyId, ScheduleId, kind};
use wakeful_domain::schedule::{
    HEARTBEAT_PREFIX, Jitter, Schedule, Standing, State as ScheduleState, Target, Trigger, TriggerText, Zone,
};
use wakeful_domain::signature::secret_text;
use wakeful_domain::time::{Timestamp, parse_duration};
use wakeful_engine::clock;
use wakeful_store::Refusal;
use wakeful_store::ops::{agents, companies, request_keys, schedules};

use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::idempotency::request_key;
use crate::named::check_own;
use crate::parameters::{IdempotencyKey, Parameters, PathCompany, PathId, check_text, id_in_option, limit};
use crate::routes::agents::check_model;
use crate::wire::{Empty, NewSchedule, Page, PauseRequest, SchedulePatch, ScheduleView, SigningSecretView, SlotView};
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(show, change, remove))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(run))
        .routes(routes!(signing_secret))
}

/// The schedule with its company's zone, if the caller may see it.
pub(super) async fn visible(api: &Api, principal: &Principal, id: ScheduleId) -> Result<(Schedule, Zone), Problem> {
    let found = api
        .engine
        .db()
        .read("schedule.get", id, |tx, id| {
            Box::pin(async move {
                let schedule = schedules::get(tx, *id).await?;
                let zone = schedules::zone_of(&companies::get(tx, schedule.company).await?);
                Ok((schedule, zone))
            })
        })
        .await?;
    match principal.sees(found.0.company) {
        true => Ok(found),
        false => Err(Problem::not_found("schedule", &id.to_string())),
    }
}

fn trigger_of(text: TriggerText) -> Result<Trigger, Problem> {
    Trigger::try_from(text).map_err(|error| {
        let field = if error.field == "trigger" { "trigger".to_owned() } else { format!("trigger.{}", error.field) };
        Problem::invalid(&field, error.message)
    })
}

/// What is built in has a time of its own.
fn default_trigger(target: &Target) -> Result<TriggerText, Problem> {
    let cron = match target {
        Target::Action(action) => match action.problem() {
            Some((field, message)) => return Err(Problem::invalid(&field, message)),
            None => action.cron_default(),
        },
        Target::Wake(_) | Target::Task(_) => None,
    };
    let told = "must be given: `{\"cron\": …}`, `{\"every\": …}` or `{\"at\": …}`";
    let cron = cron.ok_or_else(|| Problem::invalid("trigger", told))?;
    Ok(TriggerText { cron: Some(cron.to_owned()), ..TriggerText::default() })
}

fn duration_in(field: &str, text: Option<&String>) -> Result<Option<Duration>, Problem> {
    text.map(|text| parse_duration(text).map_err(|error| Problem::invalid(field, error.to_string()))).transpose()
}

fn check_name(name: &str) -> Result<(), Problem> {
    match name.starts_with(HEARTBEAT_PREFIX) {
        true => Err(Problem::invalid("name", format!("must not begin with `{HEARTBEAT_PREFIX}`: agents' timers do"))),
        false => check_text("name", Some(&name.to_owned())),
    }
}

/// The timer of an agent is changed with the agent.
fn refuse_heartbeat(schedule: &Schedule) -> Result<(), Problem> {
    if !schedule.name.starts_with(HEARTBEAT_PREFIX) {
        return Ok(());
    }
    let agent = schedule.target.agent();
    let told = "this is the timer of an agent: change the agent's `heartbeat` instead";
    Err(Refusal::conflict("heartbeat", told, serde_json::json!({ "agent": agent })).into())
}

/// Refuses what could never fire.
fn check(schedule: &Schedule, zone: &Zone, now: Timestamp) -> Result<(), Problem> {
    if let Some((field, message)) = schedule.problem() {
        return Err(Problem::invalid(&field, message));
    }
    if let Some(error) = schedule.trigger.problem(zone, schedule.anchor(), now) {
        return Err(Problem::invalid(&format!("trigger.{}", error.field), error.message));
    }
    Ok(())
}

/// Refuses an agent, a goal or a project that is not the company's.
async fn check_target(api: &Api, company: CompanyId, target: &Target) -> Result<(), Problem> {
    if let Target::Task(task) = target {
        let goal = task.goal.map(|goal| ("target.task.goal".to_owned(), goal.to_string()));
        let project = task.project.map(|project| ("target.task.project".to_owned(), project.to_string()));
        check_own(api, company, goal.into_iter().chain(project).collect()).await?;
    }
    let Some(agent) = target.agent() else { return Ok(()) };
    let field = match target {
        Target::Task(_) => "target.task.assignee",
        Target::Wake(_) => "target.wake.agent",
        Target::Action(_) => "target.action.agent",
    };
    let found = api.engine.db().read("agent.get", agent, |tx, agent| Box::pin(agents::get(tx, *agent))).await;
    match found {
        Ok(agent) if agent.company == company => match target {
            Target::Wake(wake) => check_model("target.wake.model", &agent.adapter, wake.model.as_ref()),
            Target::Task(_) | Target::Action(_) => Ok(()),
        },
        Ok(_) | Err(Refusal::NotFound { .. }) => {
            Err(Problem::invalid(field, format!("there is no agent `{agent}` in this company")))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// A schedule as it is asked for; refuses what could never fire.
pub(crate) fn drafted(
    new: NewSchedule,
    id: ScheduleId,
    company: CompanyId,
    zone: &Zone,
    now: Timestamp,
) -> Result<Schedule, Problem> {
    check_name(&new.name)?;
    let schedule = Schedule {
        id,
        company,
        name: new.name,
        trigger: trigger_of(new.trigger.map_or_else(|| default_trigger(&new.target), Ok)?)?,
        target: new.target,
        gate: new.gate,
        active_hours: new.active_hours,
        jitter: Jitter::up_to(duration_in("jitter", new.jitter.as_ref())?.unwrap_or_default()),
        overlap: new.overlap.unwrap_or_default(),
        catch_up: new.catch_up.unwrap_or_default(),
        stale_after: duration_in("stale_after", new.stale_after.as_ref())?,
        starts_at: new.starts_at,
        ends_at: new.ends_at,
        max_fires: new.max_fires,
        fires: 0,
        standing: Standing::default(),
        state: ScheduleState::Active,
        next_slot_at: None,
        last_slot: None,
        created_at: now,
        updated_at: now,
    };
    check(&schedule, zone, now)?;
    Ok(schedule)
}

/// Makes a schedule. Its first slot lies after now.
#[utoipa::path(post, path = "/companies/{company}/schedules", tag = "schedules", params(("company" = String, Path, description = "id or slug")),
    request_body = NewSchedule, responses((status = 201, body = ScheduleView), (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument)))]
async fn create(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    IdempotencyKey(key): IdempotencyKey,
    body: Body<NewSchedule>,
) -> Result<(StatusCode, Json<ScheduleView>), Problem> {
    principal.require(Permission::Manage)?;
    let key = request_key(key, &principal, &format!("POST /companies/{}/schedules", company.id), &body.bytes);
    let (now, zone) = (clock::now(), schedules::zone_of(&company));
    let schedule = drafted(body.value, api.engine.new_id(), company.id, &zone, now)?;
    check_target(&api, company.id, &schedule.target).await?;
    let made = api
        .engine
        .write("schedule.create", (schedule, key), |tx, (schedule, key)| {
            Box::pin(async move {
                let made = request_keys::made_before(
                    tx,
                    schedule.created_at,
                    Some(schedule.company),
                    key.as_ref(),
                    schedule.id,
                );
                match made.await? {
                    Some(earlier) => schedules::get(tx, earlier).await,
                    None => schedules::insert(tx, schedule).await,
                }
            })
        })
        .await?;
    Ok((StatusCode::CREATED, Json(ScheduleView::new(made, &zone, now, true))))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    name: Option<String>,
}

/// Shows the key that requests to the schedule's gate or action are signed with.
#[utoipa::path(get, path = "/schedules/{id}/signing-secret", tag = "schedules", params(("id" = String, Path)),
    responses((status = 200, body = SigningSecretView), (status = 404, body = ProblemDocument)))]
async fn signing_secret(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Schedule>,
) -> Result<Json<SigningSecretView>, Problem> {
    principal.require(Permission::Manage)?;
    visible(&api, &principal, id).await?;
    Ok(Json(SigningSecretView { signing_secret: secret_text(api.engine.signing_key(id).as_slice()) }))
}

/// Lists a company's schedules.
#[utoipa::path(get, path = "/companies/{company}/schedules", tag = "schedules",
    params(("company" = String, Path, description = "id or slug"), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query),
        ("name" = Option<String>, Query)),
    responses((status = 200, body = Page<ScheduleView>)))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<ScheduleView>>, Problem> {
    principal.require(Permission::Read)?;
    id_in_option::<kind::Schedule>("cursor", query.cursor.as_ref())?;
    let (now, zone) = (clock::now(), schedules::zone_of(&company));
    let arguments = (company.id, query.name, query.cursor, limit(query.limit)?);
    let page = api
        .engine
        .db()
        .read("schedule.list", arguments, |tx, (company, name, cursor, limit)| {
            Box::pin(schedules::list(tx, *company, name.clone(), cursor.clone(), *limit))
        })
        .await?;
    let shows_keys = principal.require(Permission::Manage).is_ok();
    Ok(Json(Page::of(page, |schedule| ScheduleView::new(schedule, &zone, now, shows_keys))))
}

/// Shows a schedule.
#[utoipa::path(get, path = "/schedules/{id}", tag = "schedules", params(("id" = String, Path)),
    responses((status = 200, body = ScheduleView), (status = 404, body = ProblemDocument)))]
async fn show(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Schedule>,
) -> Result<Json<ScheduleView>, Problem> {
    principal.require(Permission::Read)?;
    let (schedule, zone) = visible(&api, &principal, id).await?;
    let shows_keys = principal.require(Permission::Manage).is_ok();
    Ok(Json(ScheduleView::new(schedule, &zone, clock::now(), shows_keys)))
}

/// Changes a schedule. What is changed begins now: slots that have passed are not made up.
#[utoipa::path(patch, path = "/schedules/{id}", tag = "schedules", params(("id" = String, Path)), request_body = SchedulePatch,
    responses((status = 200, body = ScheduleView), (status = 422, body = ProblemDocument)))]
async fn change(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Schedule>,
    body: Body<SchedulePatch>,
) -> Result<Json<ScheduleView>, Problem> {
    principal.require(Permission::Manage)?;
    let (mut changed, zone) = visible(&api, &principal, id).await?;
    refuse_heartbeat(&changed)?;
    let (patch, now) = (body.value, clock::now());
    if let Some(name) = patch.name {
        check_name(&name)?;
        changed.name = name;
    }
    if let Some(trigger) = patch.trigger {
        changed.trigger = trigger_of(trigger)?;
    }
    if let Some(target) = patch.target {
        check_target(&api, changed.company, &target).await?;
        changed.target = target;
    }
    changed.gate = patch.gate.unwrap_or(changed.gate);
    changed.overlap = patch.overlap.unwrap_or(changed.overlap);
    changed.catch_up = patch.catch_up.unwrap_or(changed.catch_up);
    if let Some(text) = patch.stale_after {
        changed.stale_after = duration_in("stale_after", text.as_ref())?;
    }
    if let Some(text) = patch.jitter {
        changed.jitter = Jitter::up_to(duration_in("jitter", text.as_ref())?.unwrap_or_default());
    }
    changed.active_hours = patch.active_hours.unwrap_or(changed.active_hours);
    changed.starts_at = patch.starts_at.unwrap_or(changed.starts_at);
    changed.ends_at = patch.ends_at.unwrap_or(changed.ends_at);
    changed.max_fires = patch.max_fires.unwrap_or(changed.max_fires);
    check(&changed, &zone, now)?;
    let kept = api
        .engine
        .write("schedule.change", (now, id, changed), |tx, (now, id, changed)| {
            Box::pin(schedules::change(tx, *now, *id, changed, |changed, schedule| {
                // How far it has come, and whether it fires, are not the patch's business.
                let Schedule { fires, standing, state, last_slot, .. } = schedule.clone();
                *schedule = Schedule { fires, standing, state, last_slot, ..changed.clone() };
                Ok(())
            }))
        })
        .await?;
    Ok(Json(ScheduleView::new(kept, &zone, now, true)))
}

/// Removes a schedule and its ledger. What it has woken goes on.
#[utoipa::path(delete, path = "/schedules/{id}", tag = "schedules", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = ProblemDocument)))]
async fn remove(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Schedule>,
) -> Result<StatusCode, Problem> {
    principal.require(Permission::Manage)?;
    refuse_heartbeat(&visible(&api, &principal, id).await?.0)?;
    api.engine
        .write("schedule.remove", (clock::now(), id), |tx, (now, id)| Box::pin(schedules::remove(tx, *now, *id)))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn set_state(
    api: &Api,
    id: ScheduleId,
    zone: &Zone,
    state: ScheduleState,
) -> Result<Json<ScheduleView>, Problem> {
    let now = clock::now();
    let kept = api
        .engine
        .write("schedule.state", (now, id, state), |tx, (now, id, state)| {
            Box::pin(schedules::change(tx, *now, *id, state, |state, schedule| {
                schedule.state = state.clone();
                Ok(())
            }))
        })
        .await?;
    Ok(Json(ScheduleView::new(kept, zone, now, true)))
}

/// Pauses a schedule: it has no slots meanwhile, and none is missed.
#[utoipa::path(post, path = "/schedules/{id}/pause", tag = "schedules", params(("id" = String, Path)), request_body = PauseRequest,
    responses((status = 200, body = ScheduleView), (status = 404, body = ProblemDocument)))]
async fn pause(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Schedule>,
    body: Body<PauseRequest>,
) -> Result<Json<ScheduleView>, Problem> {
    principal.require(Permission::Manage)?;
    let (_, zone) = visible(&api, &principal, id).await?;
    check_text("note", body.value.note.as_ref())?;
    set_state(&api, id, &zone, ScheduleState::Paused { note: body.value.note }).await
}

/// Lets a schedule fire again, from now on.
#[utoipa::path(post, path = "/schedules/{id}/resume", tag = "schedules", params(("id" = String, Path)), request_body = Empty,
    responses((status = 200, body = ScheduleView), (status = 404, body = ProblemDocument)))]
async fn resume(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Schedule>,
    _body: Body<Empty>,
) -> Result<Json<ScheduleView>, Problem> {
    principal.require(Permission::Manage)?;
    let (_, zone) = visible(&api, &principal, id).await?;
    set_state(&api, id, &zone, ScheduleState::Active).await
}

/// Fires a schedule now, beside its slots; also one that is paused.
#[utoipa::path(post, path = "/schedules/{id}/run", tag = "schedules", params(("id" = String, Path)), request_body = Empty,
    responses((status = 202, body = SlotView), (status = 404, body = ProblemDocument)))]
async fn run(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Schedule>,
    _body: Body<Empty>,
) -> Result<(StatusCode, Json<SlotView>), Problem> {
    principal.require(Permission::Manage)?;
    visible(&api, &principal, id).await?;
    let slot = api.engine.fire_schedule(id).await?;
    Ok((StatusCode::ACCEPTED, Json(slot.into())))
}
