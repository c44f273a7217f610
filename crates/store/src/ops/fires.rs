//! What a slot that fires does: wakes an agent, makes a task, or carries out an action that is built in.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value as Json, json as object};
use wakeful_domain::actor::Actor;
use wakeful_domain::id::{AgentId, IdSource, ScheduleId};
use wakeful_domain::run::StopRequest;
use wakeful_domain::schedule::template::Variables;
use wakeful_domain::schedule::{
    Overlap, OverlapVerdict, Schedule, SkippedReason, SlotStatus, Target, TaskTemplate, Zone,
};
use wakeful_domain::task::Task;
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{MODEL_KEY, SCHEDULE_KEY, Source, WakeupStatus};

use crate::ops::firing::Fired;
use crate::ops::origin::Origin;
use crate::ops::slots::{self, Earlier, Fate};
use crate::ops::wake::{self, Maker, Wake};
use crate::ops::{actions, budget_holds, heartbeats, runs, tasks};
use crate::{Refusal, Tx};

/// A slot at the moment in which it fires.
#[derive(Clone, Copy)]
pub(crate) struct Moment<'a> {
    pub now: Timestamp,
    pub schedule: &'a Schedule,
    pub zone: &'a Zone,
    pub slot: Timestamp,
    /// When what it wakes is due.
    pub at: Timestamp,
}

/// What a gate that said yes had to say.
#[derive(Debug, Clone, Default)]
pub(crate) struct FromGate {
    pub message: Option<String>,
    pub payload: Map<String, Json>,
}

/// What a slot is to wake an agent with.
pub(crate) struct Wanted<'a> {
    pub agent: AgentId,
    pub reason: String,
    pub priority: Option<i64>,
    pub payload: Map<String, Json>,
    pub model: Option<&'a str>,
}

/// Ids of what a slot makes come from the slot, so that an operation that is run again makes the same.
/// `what` keeps those of different things apart.
pub(crate) fn ids_of(schedule: ScheduleId, slot: Timestamp, what: &str) -> IdSource {
    let mut hasher = DefaultHasher::new();
    (schedule.to_string(), slot.as_micros(), what).hash(&mut hasher);
    IdSource::new(hasher.finish())
}

/// What becomes of a slot that need not fire, whatever a gate would say.
pub(crate) async fn passed_over(tx: &mut Tx, moment: &Moment<'_>) -> Result<Option<Fate>, Refusal> {
    let schedule = moment.schedule;
    if budget_holds::is_spent(tx, moment.now, schedule.company, schedule.id).await? {
        return Ok(Some(Fate::without(SlotStatus::Skipped, SkippedReason::BudgetExhausted.as_str())));
    }
    match heartbeats::is_one(schedule) {
        true => heartbeats::passed_over(tx, schedule).await,
        false => Ok(None),
    }
}

/// Whether something earlier that is live or waits would stand for what fires now.
pub(crate) async fn stands(tx: &mut Tx, moment: &Moment<'_>) -> Result<bool, Refusal> {
    let schedule = moment.schedule;
    match &schedule.target {
        Target::Wake(_) if heartbeats::is_one(schedule) => Ok(heartbeats::stands(tx, schedule).await?),
        Target::Wake(_) => Ok(match slots::earlier(tx, schedule.id).await? {
            Earlier::Over => false,
            Earlier::Waiting(_) => schedule.overlap != Overlap::Queue,
            Earlier::Live(_) => matches!(schedule.overlap, Overlap::Coalesce | Overlap::Skip),
        }),
        Target::Task(_) | Target::Action(_) => Ok(false),
    }
}

/// Does what the schedule is for.
pub(crate) async fn act(tx: &mut Tx, moment: &Moment<'_>, told: FromGate, fired: &mut Fired) -> Result<Fate, Refusal> {
    let schedule = moment.schedule;
    match &schedule.target {
        Target::Wake(target) => {
            let mut payload = target.payload.as_ref().and_then(Json::as_object).cloned().unwrap_or_default();
            payload.extend(told.payload);
            let is_heartbeat = heartbeats::is_one(schedule);
            let reason = told.message.or_else(|| target.reason.clone());
            let of_its_own =
                || if is_heartbeat { "its timer".into() } else { format!("the schedule `{}`", schedule.name) };
            let wanted = Wanted {
                agent: target.agent,
                reason: reason.unwrap_or_else(of_its_own),
                priority: target.priority,
                payload,
                model: target.model.as_deref(),
            };
            match is_heartbeat {
                true => heartbeats::tick(tx, moment, &wanted).await,
                false => wake_agent(tx, moment, &wanted, fired).await,
            }
        }
        Target::Task(template) => make_task(tx, moment, template).await,
        Target::Action(action) => actions::carry_out(tx, moment, action).await,
    }
}

/// What every wake of a slot has in common.
pub(crate) fn wake_of(moment: &Moment<'_>, wanted: &Wanted<'_>, source: Source, trigger: &str) -> Wake {
    let mut context =
        Map::from_iter([(SCHEDULE_KEY.into(), object!(moment.schedule.id)), ("slot_at".into(), object!(moment.slot))]);
    context.extend(wanted.model.map(|model| (MODEL_KEY.into(), object!(model))));
    Wake {
        id: ids_of(moment.schedule.id, moment.slot, "wakeup").next(moment.now),
        company: Some(moment.schedule.company),
        agent: wanted.agent,
        task: None,
        source,
        trigger_detail: Some(trigger.to_owned()),
        reason: Some(wanted.reason.clone()),
        priority: wanted.priority,
        payload: wanted.payload.clone(),
        context,
        actor: Actor::system(),
        idempotency_key: None,
        request_hash: None,
        now: moment.now,
        due_at: (moment.at > moment.now).then_some(moment.at),
        expires_at: None,
        max_attempts: None,
        by_run: None,
        maker: Maker::Wakeful,
    }
}

/// Wakes an agent, unless an earlier fire that still goes on stands for this one.
pub(crate) async fn wake_agent(
    tx: &mut Tx,
    moment: &Moment<'_>,
    wanted: &Wanted<'_>,
    fired: &mut Fired,
) -> Result<Fate, Refusal> {
    let (now, schedule) = (moment.now, moment.schedule);
    let wake = wake_of(moment, wanted, Source::Schedule, &schedule.name);
    match slots::earlier(tx, schedule.id).await? {
        Earlier::Over => {}
        // One that waits stands for all that come until it is claimed, unless each is to have its own.
        Earlier::Waiting(wakeup) if schedule.overlap != Overlap::Queue => {
            wake::count(tx, wakeup).await?;
            return Ok(Fate::of_wakeup(SlotStatus::Coalesced, wakeup));
        }
        Earlier::Waiting(_) => {}
        Earlier::Live(run) => match schedule.overlap.verdict(true) {
            OverlapVerdict::Fire | OverlapVerdict::Queue => {}
            OverlapVerdict::Skip => {
                return Ok(Fate::without(SlotStatus::Skipped, SkippedReason::Overlap.as_str()));
            }
            OverlapVerdict::Coalesce => {
                let counted = slots::coalesced_into(tx, schedule.id, run).await?;
                let wakeup = match counted {
                    Some(wakeup) => wake::count(tx, wakeup).await.map(|()| wakeup)?,
                    None => wake::coalesce(tx, &wake, run).await?,
                };
                return Ok(Fate::of_wakeup(SlotStatus::Coalesced, wakeup));
            }
            OverlapVerdict::CancelAndFire => {
                let reason = format!("the schedule `{}` fires again, and cancels what is live", schedule.name);
                match runs::request_stop(tx, run, &StopRequest::cancel(reason, now)).await {
                    Ok(_) => fired.stops.push(run),
                    // It has ended meanwhile.
                    Err(Refusal::Conflict { .. }) => {}
                    Err(refusal) => return Err(refusal),
                }
            }
        },
    }
    accepted(tx, &wake).await
}

/// Wakes an agent whatever else is live or waits: what it is told is told once.
pub(crate) async fn wake_of_its_own(tx: &mut Tx, moment: &Moment<'_>, wanted: &Wanted<'_>) -> Result<Fate, Refusal> {
    accepted(tx, &wake_of(moment, wanted, Source::Schedule, &moment.schedule.name)).await
}

/// What becomes of a slot whose wake is accepted, passed over or refused.
pub(crate) async fn accepted(tx: &mut Tx, wake: &Wake) -> Result<Fate, Refusal> {
    let accepted = match wake::accept_held(tx, wake).await {
        Ok(accepted) => accepted,
        Err(refusal) => return failed(refusal),
    };
    let status = match accepted.wakeup.status {
        WakeupStatus::Skipped => SlotStatus::Skipped,
        // One that waits or is live stands for it.
        WakeupStatus::Coalesced => SlotStatus::Coalesced,
        _ if !accepted.is_new => SlotStatus::Coalesced,
        _ => SlotStatus::Fired,
    };
    let reason = accepted.wakeup.status_reason.clone().filter(|_| status == SlotStatus::Skipped);
    Ok(Fate { reason, ..Fate::of_wakeup(status, accepted.wakeup.id) })
}

/// A slot that is refused what it asks for has failed; an error of the store is the whole transaction's.
fn failed(refusal: Refusal) -> Result<Fate, Refusal> {
    match refusal {
        Refusal::Store(error) => Err(error.into()),
        refusal => Ok(Fate::without(SlotStatus::Failed, refusal.to_string())),
    }
}

async fn make_task(tx: &mut Tx, moment: &Moment<'_>, template: &TaskTemplate) -> Result<Fate, Refusal> {
    let Moment { now, schedule, zone, slot, .. } = *moment;
    let variables = Variables { slot, zone, schedule: &schedule.name, fire: schedule.fires + 1 };
    let filled = match template.fill(&variables) {
        Ok(filled) => filled,
        Err(error) => return Ok(Fate::without(SlotStatus::Failed, error.to_string())),
    };
    let mut ids = ids_of(schedule.id, slot, "task");
    let id = ids.next(now);
    let task = Task {
        description: filled.description,
        priority: filled.priority,
        assignee: filled.assignee,
        goal: filled.goal,
        project: filled.project,
        labels: filled.labels,
        reward: filled.reward,
        due_at: filled.due_in.map(|after| slot + after),
        ..Task::new(id, schedule.company, filled.title, now)
    };
    let origin = Origin { now, actor: Actor::system(), by_run: None, id_seed: ids.rng().u64(..) };
    match tasks::insert(tx, &origin, &task, &[]).await {
        Ok(task) => Ok(Fate { task: Some(task.id), ..Fate::of(SlotStatus::Fired) }),
        Err(refusal) => failed(refusal),
    }
}
