//! Who wakes whom: people, timers and runs, one by one and in bulk, with keys that are sent again when no answer came.

use std::time::Duration;

use serde_json::Map;
use wakeful_domain::actor::Actor;
use wakeful_domain::id::{AgentId, RunId};
use wakeful_domain::run::RunFence;
use wakeful_domain::wakeup::Source;
use wakeful_store::ops::wake::{self, Maker, Wake};

use crate::deed::Deed;
use crate::invariants::Broken;
use crate::world::{Answer, World};

/// Wakes in one request.
const BULK_MAX: usize = 6;
/// How often a client sends a request again that was not answered.
const SENT_MAX: usize = 3;

/// A wake of some agent, drawn.
pub fn draft(world: &mut World, node: usize, by_run: Option<RunId>) -> Option<Wake> {
    let agents = world.town.agents.clone();
    let agent = world.one_of(&agents)?;
    Some(draft_for(world, node, agent, by_run))
}

fn draft_for(world: &mut World, node: usize, agent: AgentId, by_run: Option<RunId>) -> Wake {
    let now = world.clock(node);
    let company = world.mirror.agents.get(&agent).map(|agent| agent.company);
    let tasks: Vec<_> = match world.chance.u32(0..20) {
        // A task of anybody.
        0 => world.town.tasks.clone(),
        1..8 => Vec::new(),
        _ => {
            let of_company = world.mirror.tasks.iter().filter(|(_, task)| Some(task.company) == company);
            of_company.map(|(id, _)| *id).collect()
        }
    };
    let task = world.one_of(&tasks);
    let source = match world.chance.u32(0..4) {
        0 => Source::Timer,
        _ => Source::ALL[world.chance.usize(0..Source::ALL.len())].1,
    };
    let later = world.happens(world.temper.later);
    let due_at = later.then(|| now + Duration::from_secs(world.chance.u64(0..4_000)));
    let expires = world.happens(world.temper.expiring);
    let from = due_at.unwrap_or(now);
    let expires_at = expires.then(|| from + Duration::from_secs(world.chance.u64(1..3_000)));
    let key = (world.chance.u32(0..4) == 0).then(|| world.chance.u32(0..6));
    let id = world.id();
    world.name(id);
    Wake {
        id,
        company: if world.chance.bool() { company } else { None },
        agent,
        task,
        source,
        trigger_detail: None,
        reason: None,
        priority: if world.chance.bool() { Some(world.chance.i64(0..=100)) } else { None },
        payload: Map::new(),
        context: Map::new(),
        actor: Actor::user("somebody"),
        idempotency_key: key.map(|key| format!("key-{key}")),
        request_hash: key.map(|_| world.chance.u32(0..8).min(1).to_string()),
        now,
        due_at,
        expires_at,
        max_attempts: if world.chance.u32(0..4) == 0 && !world.temper.is_hopeless {
            Some(world.chance.i64(1..=3))
        } else {
            None
        },
        by_run: by_run.map(|run| RunFence { run, fence: world.mirror.runs[&run].fence }),
        maker: if world.chance.u32(0..5) == 0 { Maker::Wakeful } else { Maker::Request },
    }
}

/// One wake. A client that gets no answer sends the same again, under its key: at another node, at another time.
pub fn wake(world: &mut World, node: usize, by_run: Option<RunId>) -> Result<(), Broken> {
    let Some(mut wake) = draft(world, node, by_run) else { return Ok(()) };
    for _ in 0..SENT_MAX {
        let told = format!("node {node} takes a wake: {}", said(world, &wake));
        let deed = Deed::Accept(Box::new(wake.clone()));
        let answer = world.write(&told, deed, &wake, |tx, wake| Box::pin(wake::accept(tx, wake)))?;
        if !matches!(answer, Answer::Nothing) || wake.idempotency_key.is_none() {
            return Ok(());
        }
        let Some(node) = world.one_of(&world.awake()) else { return Ok(()) };
        wake = Wake { id: world.id(), now: world.clock(node), ..wake };
        world.name(wake.id);
    }
    Ok(())
}

/// Many wakes in one request.
pub fn wake_many(world: &mut World, node: usize) -> Result<(), Broken> {
    let count = world.chance.usize(1..=BULK_MAX);
    let wakes: Vec<Wake> = (0..count).filter_map(|_| draft(world, node, None)).collect();
    let said: Vec<String> = wakes.iter().map(|wake| said(world, wake)).collect();
    let told = format!("node {node} takes wakes: {}", said.join("; "));
    let deed = Deed::AcceptAll(wakes.clone());
    world.write(&told, deed, &wakes, |tx, wakes| Box::pin(wake::accept_all(tx, wakes)))?;
    Ok(())
}

/// A wake of exactly this lane, now.
pub fn wake_lane(world: &mut World, node: usize, lane: crate::mirror::Lane) -> Result<(), Broken> {
    let wake = draft_for(world, node, lane.0, None);
    let wake = Wake { task: lane.1, company: None, idempotency_key: None, request_hash: None, due_at: None, ..wake };
    let told = format!("node {node} takes a wake: {}", said(world, &wake));
    let deed = Deed::Accept(Box::new(wake.clone()));
    world.write(&told, deed, &wake, |tx, wake| Box::pin(wake::accept(tx, wake)))?;
    Ok(())
}

fn said(world: &mut World, wake: &Wake) -> String {
    let mut said = format!("{} for {}", wake.source.as_str(), world.name(wake.agent));
    if wake.maker == Maker::Wakeful {
        said.push_str(" by itself");
    }
    if let Some(task) = wake.task {
        said.push_str(&format!(" on {}", world.name(task)));
    }
    if let Some(own) = wake.by_run {
        said.push_str(&format!(" by {}", world.name(own.run)));
    }
    if let Some(key) = &wake.idempotency_key {
        said.push_str(&format!(" under {key}/{}", wake.request_hash.as_deref().unwrap_or("")));
    }
    if let Some(due_at) = wake.due_at {
        said.push_str(&format!(" due in {} s", due_at.since(wake.now).as_secs()));
    }
    if let Some(expires_at) = wake.expires_at {
        said.push_str(&format!(" for {} s", expires_at.since(wake.now).as_secs()));
    }
    said
}
