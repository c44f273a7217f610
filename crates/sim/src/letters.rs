//! What agents and people say: comments that mention others, mail, and who reads it.

use wakeful_domain::actor::Actor;
use wakeful_domain::agent::AgentState;
use wakeful_domain::id::{AgentId, MessageId, RunId, TaskId};
use wakeful_domain::mail::MessageKind;
use wakeful_store::ops::comments::{self, NewComment};
use wakeful_store::ops::mail::{self, NewMessage};
use wakeful_store::ops::origin::Origin;

use crate::deed::Deed;
use crate::invariants::Broken;
use crate::town;
use crate::world::World;

/// Where something said comes from: a run's agent, an agent outside any run, or a person.
fn origin(world: &mut World, node: usize, by_run: Option<RunId>) -> Origin {
    let now = world.clock(node);
    let origin = town::origin(world, now, by_run);
    let agents = world.town.agents.clone();
    let author = match by_run {
        Some(run) => Some(world.mirror.runs[&run].agent),
        None if world.chance.u32(0..4) == 0 => world.one_of(&agents),
        None => None,
    };
    Origin { actor: author.map_or(origin.actor.clone(), Actor::agent), ..origin }
}

/// Somebody comments on a task, mentions colleagues, and perhaps opens it again.
pub fn comment(world: &mut World, node: usize, by_run: Option<RunId>) -> Result<(), Broken> {
    let tasks = world.town.tasks.clone();
    let Some(task) = world.one_of(&tasks) else { return Ok(()) };
    let company = world.mirror.tasks[&task].company;
    let there = world.mirror.agents.iter();
    let there = there.filter(|(_, agent)| agent.company == company && agent.state != AgentState::Terminated);
    let there: Vec<AgentId> = there.map(|(id, _)| *id).collect();
    let mentioned: Vec<AgentId> = there.into_iter().filter(|_| world.chance.u32(0..4) == 0).collect();
    let names: Vec<String> = mentioned.iter().map(|agent| format!("@{}", world.name(*agent))).collect();
    let body = format!("look {}.", names.join(", "));
    let reopen = world.chance.bool();
    let origin = origin(world, node, by_run);
    let new = NewComment { id: world.id(), task, body, reopen };
    let told = format!("{:?} comments on {}: {}", origin.actor.kind, world.name(task), new.body);
    let told = world.trace.shortened(&told);
    let deed = Deed::Comment { origin: origin.clone(), task, mentioned, reopen };
    world.write(&told, deed, &(origin, new), |tx, (origin, new)| Box::pin(comments::insert(tx, origin, new)))?;
    Ok(())
}

/// Somebody writes to an agent, of its company or not, about a task or not.
pub fn send(world: &mut World, node: usize, by_run: Option<RunId>) -> Result<(), Broken> {
    let (agents, tasks) = (world.town.agents.clone(), world.town.tasks.clone());
    let Some(to) = world.one_of(&agents) else { return Ok(()) };
    let task: Option<TaskId> = if world.chance.bool() { world.one_of(&tasks) } else { None };
    let origin = origin(world, node, by_run);
    let company = match by_run {
        Some(run) => world.mirror.runs[&run].company,
        None => world.mirror.agents[&to].company,
    };
    let letter = NewMessage {
        id: world.id(),
        company,
        to: Some(to),
        subject: String::new(),
        body: "look".into(),
        thread: None,
        kind: MessageKind::Note,
        task,
    };
    let about = task.map(|task| format!(" about {}", world.name(task))).unwrap_or_default();
    let told = format!("{:?} writes {} to {}{about}", origin.actor.kind, world.name(letter.id), world.name(to));
    let deed = Deed::Send { origin: origin.clone(), letter: Box::new(letter.clone()) };
    world.write(&told, deed, &(origin, letter), |tx, (origin, letter)| Box::pin(mail::send(tx, origin, letter)))?;
    Ok(())
}

/// Some of the mail of a run's agent, and now and then somebody else's.
pub fn to_read(world: &mut World, run: RunId) -> Vec<MessageId> {
    let agent = world.mirror.runs.get(&run).map(|run| run.agent);
    let own = world.mirror.letters.iter().filter(|(_, letter)| Some(letter.to) == agent);
    let own: Vec<MessageId> = own.map(|(id, _)| *id).collect();
    let mut read: Vec<MessageId> = own.into_iter().filter(|_| world.chance.u32(0..4) == 0).collect();
    if world.chance.u32(0..8) == 0 {
        let all: Vec<MessageId> = world.mirror.letters.keys().copied().collect();
        read.extend(world.one_of(&all));
    }
    read
}

/// A person, or an agent with its own key, reads a message outside any run.
pub fn read_outside(world: &mut World, node: usize) -> Result<(), Broken> {
    let all: Vec<MessageId> = world.mirror.letters.keys().copied().collect();
    let Some(message) = world.one_of(&all) else { return Ok(()) };
    let now = world.clock(node);
    let told = format!("{} is read outside", world.name(message));
    world.write(&told, Deed::ReadOutside { now, message }, &(now, message), |tx, (now, message)| {
        Box::pin(mail::acknowledge_outside(tx, *now, *message))
    })?;
    Ok(())
}
