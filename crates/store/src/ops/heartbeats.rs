//! Timers of agents: a schedule that the agent's own policy makes, changes and takes away. An agent
//! that has nothing to do is passed over, so that an idle fleet costs nothing.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use wakeful_domain::agent::{Agent, AgentState};
use wakeful_domain::id::{AgentId, IdSource, ScheduleId};
use wakeful_domain::schedule::target::Wake as WakeTarget;
use wakeful_domain::schedule::{
    CatchUp, Gate, HEARTBEAT_PREFIX, Jitter, Overlap, Schedule, SkippedReason, SlotStatus, Standing, State, Target,
    Trigger,
};
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::Source;

use crate::ops::fires::{Moment, Wanted};
use crate::ops::schedules::{self, zone_of};
use crate::ops::slots::Fate;
use crate::ops::{agents, companies, fires};
use crate::{Error, Refusal, Tx};

/// Whether a schedule is the timer of an agent.
pub(crate) fn is_one(schedule: &Schedule) -> bool {
    schedule.name.starts_with(HEARTBEAT_PREFIX)
}

fn name_of(agent: AgentId) -> String {
    format!("{HEARTBEAT_PREFIX}{agent}")
}

/// Brings the timer of an agent in line with its policy.
pub(crate) async fn keep(tx: &mut Tx, now: Timestamp, agent: &Agent) -> Result<(), Refusal> {
    let found = schedules::of_name(tx, agent.company, &name_of(agent.id)).await?;
    let trigger = agent.heartbeat.trigger().map_err(|error| Refusal::invalid("heartbeat", error.to_string()))?;
    let (trigger, found) = match (trigger, found) {
        (None, None) => return Ok(()),
        (None, Some(id)) => return schedules::remove(tx, now, id).await,
        (Some(trigger), found) => (trigger, found),
    };
    let zone = zone_of(&companies::get(tx, agent.company).await?);
    let period = trigger.period(&zone, now, now).unwrap_or_default();
    let jitter = Jitter::of_heartbeat(period);
    let model = agent.heartbeat.model.clone();
    let target = WakeTarget { agent: agent.id, payload: None, priority: None, reason: None, model };
    if let Some(id) = found {
        let settings = (trigger, jitter, target, agent.heartbeat.gate.clone());
        let change = |(trigger, jitter, target, gate): &(_, _, WakeTarget, Option<Gate>), schedule: &mut Schedule| {
            (schedule.trigger, schedule.jitter) = (Clone::clone(trigger), *jitter);
            (schedule.target, schedule.gate) = (Target::Wake(target.clone()), gate.clone());
            Ok(())
        };
        schedules::change(tx, now, id, &settings, change).await?;
        return Ok(());
    }
    let mut hasher = DefaultHasher::new();
    (agent.id.to_string(), now.as_micros()).hash(&mut hasher);
    let mut ids = IdSource::new(hasher.finish());
    let id: ScheduleId = ids.next(now);
    // Agents that are made together tick apart: the first tick comes anywhere within the period. On the second, so that
    // those of one second are one transaction.
    let this_second = Timestamp::from_micros(now.as_micros() - now.as_micros().rem_euclid(1_000_000));
    let begins_at = match trigger {
        Trigger::Every(_) => Some(this_second + Duration::from_secs(1 + ids.rng().u64(0..period.as_secs().max(1)))),
        Trigger::Cron { .. } | Trigger::At(_) => None,
    };
    let schedule = Schedule {
        id,
        company: agent.company,
        name: name_of(agent.id),
        trigger,
        target: Target::Wake(target),
        gate: agent.heartbeat.gate.clone(),
        active_hours: None,
        jitter,
        overlap: Overlap::Coalesce,
        catch_up: CatchUp::Latest,
        stale_after: None,
        starts_at: begins_at,
        ends_at: None,
        max_fires: None,
        fires: 0,
        standing: Standing::default(),
        state: State::Active,
        next_slot_at: None,
        last_slot: None,
        created_at: now,
        updated_at: now,
    };
    schedules::insert(tx, &schedule).await.map(|_| ())
}

/// Open work that nothing holds up, or a wakeup that waits.
const WORK: &str = "
    select 1
    from agents
    where id = $1
      and (exists (
          select 1
          from wakeups
          where wakeups.agent_id = agents.id
            and wakeups.status = 'pending')
        or exists (
          select 1
          from tasks
          where tasks.assignee_id = agents.id
            and tasks.company_id = agents.company_id
            and tasks.status in ('todo', 'in_progress')
            and not exists (
              select 1
              from task_blockers
              join tasks as blockers on blockers.id = task_blockers.blocker_id
              where task_blockers.task_id = tasks.id
                and blockers.status not in ('done', 'cancelled'))))";

async fn has_work(tx: &mut Tx, agent: AgentId) -> Result<bool, Error> {
    Ok(tx.query_first(WORK, &[agent.into()]).await?.is_some())
}

/// What becomes of a tick of an agent that is not to be woken; the caller has locked the agent.
pub(crate) async fn passed_over(tx: &mut Tx, schedule: &Schedule) -> Result<Option<Fate>, Refusal> {
    let Some(agent) = schedule.target.agent() else { return Err(Refusal::not_found(schedule.id)) };
    let agent = agents::get(tx, agent).await?;
    match agent.state {
        AgentState::Active => {}
        AgentState::Paused | AgentState::PendingApproval | AgentState::Terminated => {
            return Ok(Some(Fate::without(SlotStatus::Skipped, format!("agent_{}", agent.state.as_str()))));
        }
    }
    let is_idle = agent.heartbeat.only_when_work && !has_work(tx, agent.id).await?;
    Ok(is_idle.then(|| Fate::without(SlotStatus::Skipped, SkippedReason::NothingToDo.as_str())))
}

const STANDS: &str = "
    select 1
    from agents
    where id = $1
      and (exists (
          select 1
          from lanes
          where lanes.agent_id = agents.id
            and lanes.task_id = ''
            and lanes.live_run_id is not null)
        or exists (
          select 1
          from wakeups
          where wakeups.agent_id = agents.id
            and wakeups.task_id = ''
            and wakeups.status = 'pending'
            and wakeups.source = 'timer'))";

/// Whether a live run or a tick that waits would stand for the next one.
pub(crate) async fn stands(tx: &mut Tx, schedule: &Schedule) -> Result<bool, Error> {
    let Some(agent) = schedule.target.agent() else { return Ok(false) };
    Ok(tx.query_first(STANDS, &[agent.into()]).await?.is_some())
}

/// A tick of an agent's timer; the caller has locked the agent.
pub(crate) async fn tick(tx: &mut Tx, moment: &Moment<'_>, wanted: &Wanted<'_>) -> Result<Fate, Refusal> {
    fires::accepted(tx, &fires::wake_of(moment, wanted, Source::Timer, "heartbeat")).await
}
