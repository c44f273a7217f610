//! Who waits for what: agents in their runs and outside of them, and people, subscribe to anything there is, declare the
//! same key again, take back what they asked for, and publish.

use std::time::Duration;

use serde_json::json as object;
use wakeful_domain::actor::Actor;
use wakeful_domain::agent::AgentEvent;
use wakeful_domain::id::{AgentId, CompanyId, RunId, SubscriptionId, TaskId};
use wakeful_domain::run::RunFence;
use wakeful_domain::subscription::{EventName, Filter, Source, Subscription};
use wakeful_store::ops::subscriptions::{self, declare, topics};

use crate::deed::Deed;
use crate::invariants::Broken;
use crate::world::World;
use crate::{operators, town};

const TOPICS: &[&str] = &["deploy", "ci:main"];
/// So many are open at most: everyone who waits is woken, and wakes others in turn.
const OPEN_MAX: usize = 12;

/// Somebody subscribes, takes it back or publishes.
pub fn act(world: &mut World, node: usize, by_run: Option<RunId>) -> Result<(), Broken> {
    let open = world.mirror.subscriptions.values().filter(|row| row.is_open()).count();
    match world.chance.u32(0..10) {
        0..3 => publish(world, node, by_run, None),
        3 if world.chance.bool() => unsubscribe(world),
        4 if world.chance.u32(0..4) == 0 => flip(world, node),
        _ if open >= OPEN_MAX => unsubscribe(world),
        _ => subscribe(world, node, by_run, None),
    }
}

/// A script changes its mind about an agent, within one tick of the clock.
fn flip(world: &mut World, node: usize) -> Result<(), Broken> {
    let agents = world.town.agents.clone();
    let Some(agent) = world.one_of(&agents) else { return Ok(()) };
    for event in [AgentEvent::Pause, AgentEvent::Resume, AgentEvent::Pause, AgentEvent::Resume] {
        operators::agent_state(world, node, agent, event)?;
    }
    Ok(())
}

/// A write of a run that is over, or under a fence that never was.
pub fn late(world: &mut World, node: usize, own: RunFence) -> Result<(), Broken> {
    match world.chance.bool() {
        true => publish(world, node, Some(own.run), Some(own)),
        false => subscribe(world, node, Some(own.run), Some(own)),
    }
}

fn subscribe(world: &mut World, node: usize, by_run: Option<RunId>, late: Option<RunFence>) -> Result<(), Broken> {
    let now = world.clock(node);
    let own = by_run.map(|run| RunFence { run, fence: world.mirror.runs[&run].fence });
    let own = late.or(own);
    let agents = world.town.agents.clone();
    let agent = match by_run {
        Some(run) => Some(world.mirror.runs[&run].agent),
        None => world.one_of(&agents),
    };
    let Some(agent) = agent else { return Ok(()) };
    let company = world.mirror.agents[&agent].company;
    let task = match world.chance.u32(0..4) {
        0 => by_run.and_then(|run| world.mirror.runs[&run].task),
        1 => task(world, company),
        _ => None,
    };
    let Some(source) = source(world, company) else { return Ok(()) };
    let mut on: Vec<EventName> = source.events().iter().filter(|_| world.chance.u32(0..3) == 0).copied().collect();
    if on.is_empty() {
        on.push(source.default_event());
    }
    let filter: Filter = match (&source, world.chance.bool()) {
        (Source::Topic(_), true) => {
            serde_json::from_value(object!({ "n": world.chance.i64(0..3) })).unwrap_or_default()
        }
        _ => Filter::default(),
    };
    let created_by = match world.chance.bool() {
        true => Actor::agent(agent),
        false => Actor::user("somebody"),
    };
    let subscription = Subscription {
        id: world.id(),
        company,
        agent,
        task,
        source,
        on,
        filter,
        once: world.chance.u32(0..5) < 3,
        debounce: (world.chance.u32(0..4) == 0).then(|| Duration::from_secs(world.chance.u64(1..120))),
        timeout: (world.chance.u32(0..3) == 0).then(|| Duration::from_secs(world.chance.u64(1..7_200))),
        include_result: true,
        payload: serde_json::Map::new(),
        key: (world.chance.u32(0..3) == 0).then(|| format!("k{}", world.chance.u32(0..2))),
        created_by,
        by_run: own.map(|own| own.run),
        matches: 0,
        wakeups: 0,
        last_match_at: None,
        window: None,
        timeout_at: None,
        created_at: now,
        updated_at: now,
        ended_at: None,
        end_reason: None,
    };
    let names: Vec<&str> = subscription.on.iter().map(|name| name.as_str()).collect();
    world.name(subscription.id);
    let told = format!(
        "{} subscribes to {}: {}{}{}, key {:?}, window {:?}, timeout {:?}",
        world.name(agent),
        subscription.source,
        names.join(" "),
        task.map(|task| format!(", for {}", world.name(task))).unwrap_or_default(),
        if subscription.once { ", once" } else { "" },
        subscription.key,
        subscription.debounce,
        subscription.timeout,
    );
    let told = world.trace.shortened(&told);
    let declaration = declare::Declaration { subscription, by_run: own, request_key: None };
    let deed = if late.is_some() { Deed::Late } else { Deed::Subscribe(Box::new(declaration.clone())) };
    world.write(&told, deed, &declaration, |tx, declaration| Box::pin(declare::declare(tx, declaration)))?;
    Ok(())
}

/// A task of the company, and now and then of another one.
fn task(world: &mut World, company: CompanyId) -> Option<TaskId> {
    let all = world.town.tasks.clone();
    if world.chance.u32(0..12) == 0 {
        return world.one_of(&all);
    }
    let of_company: Vec<TaskId> = all.into_iter().filter(|id| world.mirror.tasks[id].company == company).collect();
    world.one_of(&of_company)
}

fn source(world: &mut World, company: CompanyId) -> Option<Source> {
    match world.chance.u32(0..12) {
        0..3 => {
            let is_live = world.chance.u32(0..3) > 0;
            let runs = world.mirror.runs.iter().filter(|(_, run)| run.company == company);
            let runs: Vec<RunId> = runs.filter(|(_, run)| run.status.is_live() == is_live).map(|(id, _)| *id).collect();
            world.one_of(&runs).map(Source::Run)
        }
        3..5 => task(world, company).map(Source::Task),
        5..7 => {
            let parents = world.mirror.tasks.values().filter(|task| task.company == company);
            let parents: Vec<TaskId> = parents.filter_map(|task| task.parent).collect();
            let parent = if world.chance.u32(0..5) == 0 { task(world, company) } else { world.one_of(&parents) };
            parent.map(Source::Children)
        }
        7..9 => {
            let mut agents: Vec<AgentId> = world.town.agents.clone();
            if world.chance.u32(0..12) > 0 {
                agents.retain(|id| world.mirror.agents[id].company == company);
            }
            world.one_of(&agents).map(Source::Agent)
        }
        _ => world.one_of(TOPICS).map(|name| Source::Topic(name.to_owned())),
    }
}

fn unsubscribe(world: &mut World) -> Result<(), Broken> {
    let all: Vec<SubscriptionId> = world.mirror.subscriptions.keys().copied().collect();
    let id = match world.one_of(&all).filter(|_| world.chance.u32(0..10) > 0) {
        Some(id) => id,
        None => world.id(),
    };
    let told = format!("{} is removed", world.name(id));
    world.write(&told, Deed::Unsubscribe(id), &id, |tx, id| Box::pin(subscriptions::remove(tx, *id)))?;
    Ok(())
}

fn publish(world: &mut World, node: usize, by_run: Option<RunId>, late: Option<RunFence>) -> Result<(), Broken> {
    let companies = world.town.companies.clone();
    let company = match by_run {
        Some(run) => Some(world.mirror.runs[&run].company),
        None => world.one_of(&companies),
    };
    let (Some(company), Some(topic)) = (company, world.one_of(TOPICS)) else { return Ok(()) };
    let now = world.clock(node);
    let mut origin = town::origin(world, now, by_run);
    origin.by_run = late.or(origin.by_run);
    let says = world.chance.i64(0..3);
    let data = [("n".to_owned(), says.into())].into_iter().collect();
    let publication = topics::Publication { company, topic: topic.to_owned(), data, request_key: None };
    let told = format!("{says} is published to {topic} in {}", world.name(company));
    let deed = match late {
        Some(_) => Deed::Late,
        None => Deed::Publish { origin: origin.clone(), publication: Box::new(publication.clone()) },
    };
    world.write(&told, deed, &(origin, publication), |tx, (origin, publication)| {
        Box::pin(topics::publish(tx, origin, publication))
    })?;
    Ok(())
}
