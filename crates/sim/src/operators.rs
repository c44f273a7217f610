//! What people do besides waking: at any node that is up, at any moment, sense or not.

use wakeful_domain::agent::AgentEvent;
use wakeful_domain::company::CompanyState;
use wakeful_domain::id::{AgentId, RunId, TaskId, WakeupId};
use wakeful_domain::run::StopRequest;
use wakeful_domain::task::TaskStatus;
use wakeful_domain::wakeup::WakeupStatus;
use wakeful_store::ops::agents::{self, AgentChange};
use wakeful_store::ops::companies::{self, CompanyChange};
use wakeful_store::ops::tasks::{self, TaskChange};
use wakeful_store::ops::{runs, wakeups};

use crate::deed::Deed;
use crate::invariants::Broken;
use crate::letters;
use crate::town;
use crate::world::World;

/// A person does one thing.
pub fn meddle(world: &mut World, node: usize) -> Result<(), Broken> {
    let retries = retries_of_children(world);
    if !retries.is_empty() && world.chance.bool() {
        return cancel_one_of(world, node, &retries);
    }
    match world.chance.u32(0..20) {
        0..3 => cancel_wakeup(world, node),
        3..6 => retry_wakeup(world, node),
        6..9 => stop_run(world, node),
        9..13 => {
            let event = match world.chance.u32(0..12) {
                0 => AgentEvent::Terminate,
                1..5 => AgentEvent::Pause,
                5 => AgentEvent::Approve,
                _ => AgentEvent::Resume,
            };
            let agents = world.town.agents.clone();
            match world.one_of(&agents) {
                Some(agent) => agent_state(world, node, agent, event),
                None => Ok(()),
            }
        }
        13..15 => {
            let state = if world.chance.u32(0..3) == 0 { CompanyState::Paused } else { CompanyState::Active };
            let companies = world.town.companies.clone();
            match world.one_of(&companies) {
                Some(company) => company_state(world, node, company, state),
                None => Ok(()),
            }
        }
        15 => change_agent(world, node),
        16 => change_company(world, node),
        17..19 => change_task(world, node, None),
        _ => match world.chance.u32(0..4) {
            0 => letters::comment(world, node, None),
            1 => letters::send(world, node, None),
            2 => letters::read_outside(world, node),
            _ => found_more(world, node),
        },
    }
}

fn cancel_wakeup(world: &mut World, node: usize) -> Result<(), Broken> {
    let all: Vec<_> = world.mirror.wakeups.keys().copied().collect();
    let pending: Vec<_> = world.mirror.pending().map(|(id, _)| *id).collect();
    let among = if world.chance.bool() && !pending.is_empty() { pending } else { all };
    cancel_one_of(world, node, &among)
}

fn cancel_one_of(world: &mut World, node: usize, among: &[WakeupId]) -> Result<(), Broken> {
    let Some(wakeup) = world.one_of(among) else { return Ok(()) };
    let now = world.clock(node);
    let told = format!("somebody cancels {}", world.name(wakeup));
    world.write(&told, Deed::Cancel { now, wakeup }, &(now, wakeup), |tx, (now, wakeup)| {
        Box::pin(wakeups::cancel(tx, *now, *wakeup))
    })?;
    Ok(())
}

/// What a child's run has left to be tried again: who calls it off ends more than a wakeup.
fn retries_of_children(world: &World) -> Vec<WakeupId> {
    let rows = &world.mirror;
    let is_child = |task: TaskId| rows.tasks.get(&task).is_some_and(|task| task.parent.is_some());
    let retries = rows
        .pending()
        .filter(|(id, row)| row.task.is_some_and(is_child) && rows.batches.values().any(|batch| batch.contains(*id)));
    retries.map(|(id, _)| *id).collect()
}

fn retry_wakeup(world: &mut World, node: usize) -> Result<(), Broken> {
    let all: Vec<_> = world.mirror.wakeups.keys().copied().collect();
    let failed = world.mirror.wakeups.iter().filter(|(_, row)| row.status == WakeupStatus::Failed);
    let failed: Vec<_> = failed.map(|(id, _)| *id).collect();
    let among = if world.chance.u32(0..4) > 0 && !failed.is_empty() { failed } else { all };
    let Some(wakeup) = world.one_of(&among) else { return Ok(()) };
    let now = world.clock(node);
    let told = format!("somebody retries {}", world.name(wakeup));
    world.write(&told, Deed::Retry { now, wakeup }, &(now, wakeup), |tx, (now, wakeup)| {
        Box::pin(wakeups::retry(tx, *now, *wakeup))
    })?;
    Ok(())
}

fn stop_run(world: &mut World, node: usize) -> Result<(), Broken> {
    let live: Vec<RunId> = world.mirror.live().map(|(id, _)| *id).collect();
    let all: Vec<RunId> = world.mirror.runs.keys().copied().collect();
    let among = if world.chance.u32(0..5) > 0 { live } else { all };
    let Some(run) = world.one_of(&among) else { return Ok(()) };
    let stop = StopRequest::cancel("by a person", world.clock(node));
    let told = format!("somebody stops {}", world.name(run));
    let arguments = (run, stop.clone());
    let answer = world.write(&told, Deed::Stop { run, stop }, &arguments, |tx, (run, stop)| {
        Box::pin(runs::request_stop(tx, *run, stop))
    })?;
    if answer.done().is_some() {
        world.signal_stop(node, &[run]);
    }
    Ok(())
}

/// Changes the state of an agent, as the engine does: live runs are asked to stop in the same transaction.
pub fn agent_state(world: &mut World, node: usize, agent: AgentId, event: AgentEvent) -> Result<(), Broken> {
    let now = world.clock(node);
    let is_terminated = event == AgentEvent::Terminate;
    let is_deleted = is_terminated && world.chance.bool();
    let stops = is_terminated || event == AgentEvent::Pause && world.chance.bool();
    let puts_back = event == AgentEvent::Pause;
    let stop = stops.then(|| StopRequest { puts_back, ..StopRequest::cancel("the agent is to rest", now) });
    let told = format!("somebody wants {}: {event:?}{}", world.name(agent), if stops { ", runs too" } else { "" });
    let deed = Deed::AgentState { now, agent, event, stop: stop.clone(), is_deleted };
    let arguments = (now, agent, event, stop, is_deleted);
    let answer = world.write(&told, deed, &arguments, |tx, (now, agent, event, stop, is_deleted)| {
        Box::pin(async move {
            let row = match is_deleted {
                true => agents::delete(tx, *now, *agent).await?,
                false => agents::set_state(tx, *now, *agent, *event, None).await?,
            };
            let stopped = match stop {
                Some(stop) => runs::stop_all_of_agent(tx, *agent, stop).await?,
                None => Vec::new(),
            };
            Ok((row, stopped))
        })
    })?;
    if let Some((_, stopped)) = answer.done() {
        world.signal_stop(node, &stopped);
    }
    Ok(())
}

/// Pauses or resumes a company, its runs too or not.
pub fn company_state(
    world: &mut World,
    node: usize,
    company: wakeful_domain::id::CompanyId,
    state: CompanyState,
) -> Result<(), Broken> {
    let now = world.clock(node);
    let stops = state == CompanyState::Paused && world.chance.bool();
    let stop = stops.then(|| StopRequest::pause("the company is to rest", now));
    let told = format!("somebody wants {} {state:?}{}", world.name(company), if stops { ", runs too" } else { "" });
    let deed = Deed::CompanyState { company, state, stop: stop.clone() };
    let arguments = (now, company, state, stop);
    let answer = world.write(&told, deed, &arguments, |tx, (now, company, state, stop)| {
        Box::pin(async move {
            let row = companies::set_state(tx, *now, *company, *state, None).await?;
            let stopped = match stop {
                Some(stop) => runs::stop_all_of_company(tx, *company, stop).await?,
                None => Vec::new(),
            };
            Ok((row, stopped))
        })
    })?;
    if let Some((_, stopped)) = answer.done() {
        world.signal_stop(node, &stopped);
    }
    Ok(())
}

fn change_agent(world: &mut World, node: usize) -> Result<(), Broken> {
    let agents = world.town.agents.clone();
    let Some(agent) = world.one_of(&agents) else { return Ok(()) };
    let heartbeat = (world.chance.u32(0..3) == 0).then(|| town::heartbeat(world));
    let change =
        AgentChange { max_concurrent_runs: Some(world.chance.i64(1..=4)), heartbeat, ..AgentChange::default() };
    let told = format!("somebody gives {} room for {:?}", world.name(agent), change.max_concurrent_runs);
    let now = world.clock(node);
    let deed = Deed::AgentChange { now, agent, change: Box::new(change.clone()) };
    world.write(&told, deed, &(now, agent, change), |tx, (now, agent, change)| {
        Box::pin(agents::change(tx, *now, *agent, change))
    })?;
    Ok(())
}

fn change_company(world: &mut World, node: usize) -> Result<(), Broken> {
    let companies = world.town.companies.clone();
    let Some(company) = world.one_of(&companies) else { return Ok(()) };
    let change = CompanyChange {
        max_concurrent_runs: Some(world.chance.i64(1..=5)),
        max_runs_per_root_hour: (world.chance.bool()).then(|| world.chance.i64(1..=6)),
        ..CompanyChange::default()
    };
    let told = format!("somebody gives {} room for {:?}", world.name(company), change.max_concurrent_runs);
    let deed = Deed::CompanyChange { company, change: change.clone() };
    world.write(&told, deed, &(world.clock(node), company, change), |tx, (now, company, change)| {
        Box::pin(companies::change(tx, *now, *company, change))
    })?;
    Ok(())
}

const STATUSES: &[TaskStatus] = &[
    TaskStatus::Backlog,
    TaskStatus::Todo,
    TaskStatus::Todo,
    TaskStatus::InProgress,
    TaskStatus::InReview,
    TaskStatus::Blocked,
    TaskStatus::Done,
    TaskStatus::Cancelled,
];

/// A task gets another status or another assignee, whoever works on it.
pub fn change_task(world: &mut World, node: usize, by_run: Option<RunId>) -> Result<(), Broken> {
    let tasks = world.town.tasks.clone();
    let Some(task) = world.one_of(&tasks) else { return Ok(()) };
    let company = world.mirror.tasks.get(&task).map(|task| task.company);
    let colleagues = world.mirror.agents.iter().filter(|(_, agent)| Some(agent.company) == company);
    let colleagues: Vec<AgentId> = colleagues.map(|(id, _)| *id).collect();
    let status = world.one_of(STATUSES).filter(|_| world.chance.bool());
    let assignee = if status.is_none() || world.chance.bool() { Some(world.one_of(&colleagues)) } else { None };
    let others = world.town.tasks.clone();
    let blocked_by = (world.chance.u32(0..5) == 0).then(|| world.one_of(&others).into_iter().collect());
    let change = TaskChange { status, assignee, blocked_by, ..TaskChange::default() };
    let whom = match assignee.flatten() {
        Some(agent) => world.name(agent),
        None => "nobody".into(),
    };
    let whom = if assignee.is_some() { format!(", given to {whom}") } else { String::new() };
    let told = format!("somebody changes {}: {status:?}{whom}, blockers {:?}", world.name(task), change.blocked_by);
    let told = world.trace.shortened(&told);
    let now = world.clock(node);
    let origin = town::origin(world, now, by_run);
    let deed = Deed::TaskChange { origin: origin.clone(), task, change: Box::new(change.clone()) };
    world.write(&told, deed, &(origin, task, change), |tx, (origin, task, change)| {
        Box::pin(tasks::change(tx, origin, *task, change))
    })?;
    Ok(())
}

/// Agents and tasks come while others work.
fn found_more(world: &mut World, node: usize) -> Result<(), Broken> {
    let companies = world.town.companies.clone();
    let Some(company) = world.one_of(&companies) else { return Ok(()) };
    let told = format!("node {node} is told of somebody or something new in {}", world.name(company));
    world.tell(&told);
    if world.chance.bool() && world.town.agents.len() < 12 {
        town::agent(world, company, 1).map(drop)
    } else {
        town::task(world, company)
    }
}
