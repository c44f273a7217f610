//! Schedules whose time has come: every slot gets its row, and what is to fire fires, in one
//! transaction. So a crash before its commit has fired nothing, and one after it cannot fire again.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, json as object};
use wakeful_domain::actor::Actor;
use wakeful_domain::id::{AgentId, IdSource, RunId, ScheduleId};
use wakeful_domain::run::StopRequest;
use wakeful_domain::schedule::template::Variables;
use wakeful_domain::schedule::{
    Overlap, OverlapVerdict, Schedule, SkippedReason, SlotDecision, SlotStatus, State, Target, TaskTemplate, Verdict,
    Zone, due,
};
use wakeful_domain::task::Task;
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{Source, WakeupStatus};

use crate::ops::origin::Origin;
use crate::ops::schedules::{self, zone_of};
use crate::ops::slots::{self, Earlier, Fate, Slot};
use crate::ops::wake::{self, Maker, Wake};
use crate::ops::{companies, events, heartbeats, ready, runs, tasks};
use crate::{Error, Refusal, Tx};

/// Schedules in one transaction; the rest follow in the next.
const BITE: i64 = 100;

/// What was fired.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fired {
    /// Schedules whose slots were decided.
    pub schedules: usize,
    /// Slots that fired.
    pub fires: usize,
    /// Runs that are to stop for a new fire.
    pub stops: Vec<RunId>,
}

/// When the next schedule is due.
pub(crate) const NEXT_DUE: &str = "
    select due_at
    from schedules
    where due_at is not null
    order by due_at
    limit 1";

const DUE: &str = "
    select id, agent_id
    from schedules
    where due_at is not null
      and due_at <= $1
    order by due_at, id
    limit $2
    {skip_locked}";

/// Decides about every slot that has come, of up to a bite of schedules.
pub async fn fire_due(tx: &mut Tx, now: Timestamp) -> Result<Fired, Refusal> {
    let mut due: Vec<(ScheduleId, Option<AgentId>)> = Vec::new();
    for mut row in tx.query(DUE, &[now.into(), BITE.into()]).await? {
        due.push((row.get()?, row.get()?));
    }
    // All agents at once and in their order, as everywhere.
    ready::lock(tx, Vec::new(), due.iter().filter_map(|(_, agent)| *agent).collect()).await?;
    let mut fired = Fired::default();
    for (id, _) in due {
        match schedules::get_locked(tx, id).await {
            Ok(schedule) => fire(tx, now, schedule, &mut fired).await?,
            // One that cannot be read, as after a change of zones, must not hold up all the others.
            Err(Refusal::Store(error @ Error::Column { .. })) => {
                schedules::disable(tx, now, id, &format!("it cannot be read any more: {error}")).await?;
            }
            // It has been removed meanwhile.
            Err(Refusal::NotFound { .. }) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(fired)
}

/// Fires a schedule now, whatever its slots say: the slot is this moment.
pub async fn fire_now(tx: &mut Tx, now: Timestamp, id: ScheduleId) -> Result<(Slot, Fired), Refusal> {
    let agent = schedules::get(tx, id).await?.target.agent();
    ready::lock(tx, Vec::new(), agent.into_iter().collect()).await?;
    let mut schedule = schedules::get_locked(tx, id).await?;
    let zone = zone_of(&companies::get(tx, schedule.company).await?);
    let verdict = Verdict::Fire { at: now, is_late: false };
    let decision = SlotDecision { slot: now, last: now, count: 1, verdict };
    let mut fired = Fired::default();
    decide(tx, now, &mut schedule, &zone, &decision, &mut fired).await?;
    let next = wakeful_domain::schedule::next_slot(&schedule, &zone, schedule.settled_until());
    schedules::fired(tx, &schedule, next).await?;
    Ok((slots::get(tx, id, now).await?, fired))
}

async fn fire(tx: &mut Tx, now: Timestamp, mut schedule: Schedule, fired: &mut Fired) -> Result<(), Refusal> {
    let zone = zone_of(&companies::get(tx, schedule.company).await?);
    let due = due(&schedule, &zone, schedule.settled_until(), now);
    for decision in &due.slots {
        decide(tx, now, &mut schedule, &zone, decision, fired).await?;
    }
    schedule.last_slot = due.last_slot().or(schedule.last_slot);
    if due.next.is_none() && schedule.state == State::Active {
        schedule.state = State::Disabled { reason: "it has had its last slot".into() };
    }
    fired.schedules += 1;
    Ok(schedules::fired(tx, &schedule, due.next).await?)
}

/// Does what a decision asks for, and enters the slot.
async fn decide(
    tx: &mut Tx,
    now: Timestamp,
    schedule: &mut Schedule,
    zone: &Zone,
    decision: &SlotDecision,
    fired: &mut Fired,
) -> Result<(), Refusal> {
    let fate = match decision.verdict {
        Verdict::Missed(reason) => Fate::without(SlotStatus::Missed, reason.as_str()),
        Verdict::Skipped(reason) => Fate::without(SlotStatus::Skipped, reason.as_str()),
        Verdict::Fire { at, .. } => {
            let fate = match &schedule.target {
                Target::Wake(_) if heartbeats::is_one(schedule) => {
                    heartbeats::tick(tx, now, schedule, decision.slot, at).await?
                }
                Target::Wake(_) => wake_agent(tx, now, schedule, decision.slot, at, fired).await?,
                Target::Task(template) => make_task(tx, now, schedule, zone, template, decision.slot).await?,
                Target::Action(_) => Fate::without(SlotStatus::Failed, "this build has no actions"),
            };
            if fate.status == SlotStatus::Fired {
                fired.fires += 1;
                schedule.fires += 1;
            }
            fate
        }
    };
    slots::insert(tx, now, schedule.id, decision, &fate).await?;
    let event = match fate.status {
        SlotStatus::Missed => "schedule.missed",
        SlotStatus::Fired | SlotStatus::Coalesced | SlotStatus::Skipped | SlotStatus::Failed => "schedule.fired",
    };
    let data = object!({
        "name": schedule.name,
        "slot_at": decision.slot,
        "count": decision.count,
        "status": fate.status,
        "reason": fate.reason,
        "wakeup": fate.wakeup,
        "task": fate.task,
    });
    events::append(tx, schedule.company, now, event, &schedule.id.to_string(), &data).await?;
    Ok(())
}

/// Ids of what a slot makes come from the slot, so that an operation that is run again makes the same.
fn seed_of(schedule: ScheduleId, slot: Timestamp) -> u64 {
    let mut hasher = DefaultHasher::new();
    (schedule.to_string(), slot.as_micros()).hash(&mut hasher);
    hasher.finish()
}

/// What every wake of a slot has in common.
pub(crate) fn wake_of(
    now: Timestamp,
    schedule: &Schedule,
    agent: AgentId,
    source: Source,
    slot: Timestamp,
    at: Timestamp,
) -> Wake {
    Wake {
        id: IdSource::new(seed_of(schedule.id, slot)).next(now),
        company: Some(schedule.company),
        agent,
        task: None,
        source,
        trigger_detail: None,
        reason: None,
        priority: None,
        payload: Map::new(),
        context: Map::from_iter([("schedule".into(), object!(schedule.id)), ("slot_at".into(), object!(slot))]),
        actor: Actor::system(),
        idempotency_key: None,
        request_hash: None,
        now,
        due_at: (at > now).then_some(at),
        expires_at: None,
        max_attempts: None,
        by_run: None,
        maker: Maker::Wakeful,
    }
}

async fn wake_agent(
    tx: &mut Tx,
    now: Timestamp,
    schedule: &Schedule,
    slot: Timestamp,
    at: Timestamp,
    fired: &mut Fired,
) -> Result<Fate, Refusal> {
    let Target::Wake(target) = &schedule.target else { return Err(Refusal::not_found(schedule.id)) };
    let wake = Wake {
        trigger_detail: Some(schedule.name.clone()),
        reason: Some(target.reason.clone().unwrap_or_else(|| format!("the schedule `{}`", schedule.name))),
        priority: target.priority,
        payload: target.payload.as_ref().and_then(|payload| payload.as_object().cloned()).unwrap_or_default(),
        ..wake_of(now, schedule, target.agent, Source::Schedule, slot, at)
    };
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
    match wake::accept_held(tx, &wake).await {
        Ok(accepted) if accepted.wakeup.status == WakeupStatus::Skipped => Ok(Fate {
            reason: accepted.wakeup.status_reason.clone(),
            ..Fate::of_wakeup(SlotStatus::Skipped, accepted.wakeup.id)
        }),
        Ok(accepted) => Ok(Fate::of_wakeup(SlotStatus::Fired, accepted.wakeup.id)),
        Err(Refusal::Store(error)) => Err(error.into()),
        Err(refusal) => Ok(Fate::without(SlotStatus::Failed, refusal.to_string())),
    }
}

async fn make_task(
    tx: &mut Tx,
    now: Timestamp,
    schedule: &Schedule,
    zone: &Zone,
    template: &TaskTemplate,
    slot: Timestamp,
) -> Result<Fate, Refusal> {
    let variables = Variables { slot, zone, schedule: &schedule.name, fire: schedule.fires + 1 };
    let filled = match template.fill(&variables) {
        Ok(filled) => filled,
        Err(error) => return Ok(Fate::without(SlotStatus::Failed, error.to_string())),
    };
    let seed = seed_of(schedule.id, slot);
    let id = IdSource::new(seed).next(now);
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
    let origin = Origin { now, actor: Actor::system(), by_run: None, id_seed: seed.wrapping_add(1) };
    match tasks::insert(tx, &origin, &task, &[]).await {
        Ok(task) => Ok(Fate { status: SlotStatus::Fired, reason: None, wakeup: None, task: Some(task.id) }),
        Err(Refusal::Store(error)) => Err(error.into()),
        Err(refusal) => Ok(Fate::without(SlotStatus::Failed, refusal.to_string())),
    }
}
