//! Slots: what became of those that have come, and those to come, of one schedule and of all.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::id::{CompanyId, ScheduleId, kind};
use wakeful_domain::schedule::{Schedule, State as ScheduleState, next_slot, plan};
use wakeful_domain::time::Timestamp;
use wakeful_engine::clock;
use wakeful_store::ops::slots::Slot;
use wakeful_store::ops::{schedules, slots};

use super::schedules::visible;
use crate::access::{Permission, Principal};
use crate::errors::ProblemDocument;
use crate::parameters::{Parameters, PathCompany, PathId, id_in_option, limit};
use crate::wire::{OftenView, Page, PlanView, PlannedView, SlotView, Whole};
use crate::{Api, Problem};

/// Slots in one plan.
const PLAN_MAX: usize = 10_000;
/// Schedules in one plan.
const PLANNED_SCHEDULES_MAX: i64 = 10_000;
/// A plan may reach this far ahead: a year.
const PLAN_AHEAD: Duration = Duration::from_secs(366 * 86_400);
/// A plan reaches this far ahead unless it is said.
const PLAN_AHEAD_DEFAULT: Duration = Duration::from_secs(86_400);
const NEXT_DEFAULT: usize = 5;
const NEXT_MAX: usize = 100;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(next)).routes(routes!(list_slots)).routes(routes!(show_plan))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NextQuery {
    n: Option<usize>,
}

/// Lists the nominal times of the slots to come.
#[utoipa::path(get, path = "/schedules/{id}/next", tag = "schedules", params(("id" = String, Path), ("n" = Option<u64>, Query)),
    responses((status = 200, body = Whole<String>), (status = 422, body = ProblemDocument)))]
async fn next(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Schedule>,
    Parameters(query): Parameters<NextQuery>,
) -> Result<Json<Whole<String>>, Problem> {
    principal.require(Permission::Read)?;
    let count = query.n.unwrap_or(NEXT_DEFAULT);
    if !(1..=NEXT_MAX).contains(&count) {
        return Err(Problem::invalid("n", format!("is {count}; it must lie between 1 and {NEXT_MAX}")));
    }
    let (schedule, zone) = visible(&api, &principal, id).await?;
    let mut after = clock::now();
    let mut times = Vec::with_capacity(count);
    while times.len() < count
        && let Some(coming) = next_slot(&schedule, &zone, after)
    {
        times.push(coming.slot.to_string());
        after = coming.slot;
    }
    Ok(Json(Whole { items: times }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SlotsQuery {
    limit: Option<i64>,
    /// The time of the last slot that was seen.
    cursor: Option<Timestamp>,
}

/// Lists what became of a schedule's slots, newest first.
#[utoipa::path(get, path = "/schedules/{id}/slots", tag = "schedules",
    params(("id" = String, Path), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<SlotView>)))]
async fn list_slots(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Schedule>,
    Parameters(query): Parameters<SlotsQuery>,
) -> Result<Json<Page<SlotView>>, Problem> {
    principal.require(Permission::Read)?;
    visible(&api, &principal, id).await?;
    let before = query.cursor.unwrap_or(clock::now() + PLAN_AHEAD);
    let page = api
        .engine
        .db()
        .read("slot.list", (id, before, limit(query.limit)?), |tx, (id, before, limit)| {
            Box::pin(slots::list(tx, *id, *before, *limit))
        })
        .await?;
    Ok(Json(Page::of(page, SlotView::from)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanQuery {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    /// Only of this one.
    schedule: Option<String>,
    /// Schedules with more slots to come are named, and their slots left out.
    each: Option<usize>,
}

/// Lists the slots to come of all schedules of a company, by the code that fires them; with a `from` that has passed,
/// what became of those since then as well.
#[utoipa::path(get, path = "/companies/{company}/plan", tag = "schedules",
    params(("company" = String, Path, description = "id or slug"), ("from" = Option<String>, Query), ("to" = Option<String>, Query),
        ("schedule" = Option<String>, Query, description = "only of this one"),
        ("each" = Option<u64>, Query, description = "leaves out schedules with more slots to come than this, and names them in `often`")),
    responses((status = 200, body = PlanView), (status = 404, body = ProblemDocument), (status = 422, body = ProblemDocument)))]
async fn show_plan(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<PlanQuery>,
) -> Result<Json<PlanView>, Problem> {
    principal.require(Permission::Read)?;
    let now = clock::now();
    let from = query.from.unwrap_or(now);
    let to = query.to.unwrap_or(from.max(now) + PLAN_AHEAD_DEFAULT);
    for (field, at) in [("from", from), ("to", to)] {
        if at > now + PLAN_AHEAD {
            return Err(Problem::invalid(field, format!("{at} is more than a year ahead")));
        }
    }
    if to < from {
        return Err(Problem::invalid("to", "is before `from`"));
    }
    let each = query.each.unwrap_or(PLAN_MAX);
    if !(1..=PLAN_MAX).contains(&each) {
        return Err(Problem::invalid("each", format!("is {each}; it must lie between 1 and {PLAN_MAX}")));
    }
    let only = id_in_option::<kind::Schedule>("schedule", query.schedule.as_ref())?;
    let found = planned(&api, &principal, company.id, only).await?;
    let zone = schedules::zone_of(&company);
    let mut often = Vec::new();
    let mut items = passed(&api, company.id, only, (from, to.min(now))).await?;
    let mut until = items.get(PLAN_MAX).map_or(to, |(slot, _)| *slot);
    for schedule in &found {
        let from = from.max(schedule.settled_until());
        if query.each.is_some() && plan(schedule, &zone, (from, to), each + 1).len() > each {
            often.push(OftenView::new(schedule, &zone));
            continue;
        }
        let planned = plan(schedule, &zone, (from, until), PLAN_MAX + 1);
        items.extend(planned.into_iter().map(|(next, skipped)| {
            (next.slot, PlannedView::new(schedule, next, skipped.map(|reason| reason.as_str())))
        }));
        // Of each schedule its first ones, so that the first of all are among them.
        items.sort_by_key(|(slot, _)| *slot);
        items.truncate(PLAN_MAX + 1);
        // What comes behind the last of them need not be worked out.
        if let Some((slot, _)) = items.get(PLAN_MAX) {
            until = *slot;
        }
        tokio::task::yield_now().await;
    }
    let truncated = items.len() > PLAN_MAX;
    items.truncate(PLAN_MAX);
    Ok(Json(PlanView { items: items.into_iter().map(|(_, planned)| planned).collect(), truncated, often }))
}

/// The schedules that a plan is made of: those that fire, or the one that is asked for if it does.
async fn planned(
    api: &Api,
    principal: &Principal,
    company: CompanyId,
    only: Option<ScheduleId>,
) -> Result<Vec<Schedule>, Problem> {
    if let Some(id) = only {
        let (schedule, _) = visible(api, principal, id).await?;
        return match schedule.company == company {
            true => Ok(Some(schedule).filter(|schedule| schedule.state == ScheduleState::Active).into_iter().collect()),
            false => Err(Problem::not_found("schedule", &id.to_string())),
        };
    }
    let read = api.engine.db().read("schedule.active", company, |tx, company| {
        Box::pin(schedules::active(tx, *company, PLANNED_SCHEDULES_MAX))
    });
    Ok(read.await?)
}

/// What became of the slots from one time to another, of all schedules or of one, each with its time.
async fn passed(
    api: &Api,
    company: CompanyId,
    only: Option<ScheduleId>,
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<(Timestamp, PlannedView)>, Problem> {
    if from >= to {
        return Ok(Vec::new());
    }
    let read = api.engine.db().read("slot.passed", (company, only, from, to), |tx, (company, only, from, to)| {
        Box::pin(async move {
            let slots = slots::passed(tx, *company, *only, (*from, *to), PLAN_MAX as i64 + 1).await?;
            let mut known: BTreeMap<ScheduleId, Schedule> = BTreeMap::new();
            for id in slots.iter().map(|slot| slot.schedule) {
                if let Entry::Vacant(unknown) = known.entry(id) {
                    unknown.insert(schedules::get(tx, id).await?);
                }
            }
            Ok((slots, known))
        })
    });
    let (slots, known) = read.await?;
    let view = |slot: Slot| Some((slot.slot_at, PlannedView::passed(known.get(&slot.schedule)?, slot)));
    Ok(slots.into_iter().filter_map(view).collect())
}
