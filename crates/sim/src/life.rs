//! One life: a world is founded, lives its steps in trouble, and is left in peace until everything has ended.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use wakeful_domain::agent::{AgentEvent, AgentState};
use wakeful_domain::company::CompanyState;
use wakeful_domain::id::RunId;
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::WakeupStatus;
use wakeful_store::Direct;

use crate::invariants::{Broken, EVERYTHING_ENDS, OPERATION_WORKS, PROCESSES_ARE_RUNS, SUBSCRIBED_IS_TOLD, require};
use crate::node::is_ending;
use crate::shim::State;
use crate::world::World;
use crate::{acts, operators, subscribers, town, wakes};

/// Where the store of a life is.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    Memory,
    File(&'a Path),
}

/// What came of a life.
#[derive(Debug)]
pub struct Lived {
    pub trace: String,
    pub steps: u32,
    pub wakeups: usize,
    pub runs: usize,
    /// Of schedules, and how often something crashed; in lives of schedules.
    pub slots: u64,
    pub crashes: u64,
}

/// What went wrong in a life.
#[derive(Debug)]
pub struct Failed {
    pub seed: u64,
    /// The steps of trouble that the life was to have.
    pub steps: u32,
    pub step: u32,
    pub broken: Broken,
    /// The last lines of the trace.
    pub tail: Vec<String>,
    /// What else to type for a life of this kind.
    pub flag: &'static str,
}

/// Steps of trouble in a life: enough for every kind of trouble to meet every other, few enough to be read.
pub const STEPS_DEFAULT: u32 = 100;
/// Lines of the trace that a failure shows.
pub(crate) const TAIL_LINES: usize = 40;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the last lines of seed {}:", self.seed)?;
        for line in &self.tail {
            writeln!(f, "{line}")?;
        }
        let Broken { invariant, detail } = &self.broken;
        writeln!(f, "\n`{}` does not hold at step {}: {}", invariant.name, self.step, invariant.statement)?;
        writeln!(f, "{detail}\n\nagain: cargo xtask sim{} --seed {} --steps {}", self.flag, self.seed, self.steps)
    }
}

/// Lives one life.
pub fn live(seed: u64, steps: u32, place: Place<'_>) -> Result<Lived, Box<Failed>> {
    let failed = |step, broken, tail| Box::new(Failed { seed, steps, step, broken, tail, flag: "" });
    let store = open(place).map_err(|broken| failed(0, broken, Vec::new()))?;
    let mut world = World::new(store, seed).map_err(|broken| failed(0, broken, Vec::new()))?;
    match live_in(&mut world, steps) {
        Ok(()) => Ok(Lived {
            trace: world.trace.text().to_owned(),
            steps: world.trace.step,
            wakeups: world.mirror.wakeups.len(),
            runs: world.mirror.runs.len(),
            slots: 0,
            crashes: 0,
        }),
        Err(broken) => {
            let detail = world.trace.shortened(&broken.detail);
            Err(failed(world.trace.step, Broken { detail, ..broken }, world.trace.tail(TAIL_LINES)))
        }
    }
}

/// The store of a life.
pub(crate) fn open(place: Place<'_>) -> Result<Direct, Broken> {
    let opened = match place {
        Place::Memory => Direct::in_memory(),
        Place::File(path) => Direct::open(path),
    };
    opened.map_err(|error| Broken::new(OPERATION_WORKS, error.to_string()))
}

fn live_in(world: &mut World, steps: u32) -> Result<(), Broken> {
    town::found(world)?;
    for step in 1..=steps {
        world.trace.step = step;
        trouble(world)?;
        step_on(world)?;
    }
    calm(world)
}

/// What nobody asked for.
fn trouble(world: &mut World) -> Result<(), Broken> {
    let all: Vec<usize> = (0..world.nodes.len()).collect();
    let Some(node) = world.one_of(&all) else { return Ok(()) };
    if !world.nodes[node].is_up {
        return if world.happens(300) { world.restart(node) } else { Ok(()) };
    }
    if world.happens(world.temper.crashes) {
        world.crash(node);
    }
    if world.happens(world.temper.machine_deaths) {
        world.crash(node);
        let here = |world: &mut World, run| world.shim(run).is_some_and(|shim| shim.node == node);
        for run in world.alive() {
            if here(world, run)
                && let Some(shim) = world.shim(run)
            {
                shim.state = if shim.state == State::Coming { State::Barred } else { State::Died };
            }
        }
        world.tell(&format!("the machine of node {node} dies"));
    }
    if world.happens(world.temper.stalls) {
        let stalled = Duration::from_secs(world.chance.u64(1..600));
        world.nodes[node].stalled_until = world.now + stalled;
        world.tell(&format!("node {node} stalls for {} s", stalled.as_secs()));
    }
    if world.happens(world.temper.clock_jumps) {
        let most = if world.chance.bool() { 5_000_000 } else { 5_400_000_000 };
        world.nodes[node].skew_micros = world.chance.i64(-most..=most);
        world.tell(&format!("the clock of node {node} jumps to {} ms", world.nodes[node].skew_micros / 1_000));
    }
    if world.happens(5) {
        let mut now_and_then = || world.chance.u32(0..4) == 0;
        let (drains, is_safe, is_short) = (now_and_then(), now_and_then(), now_and_then());
        let host = &mut world.nodes[node];
        (host.is_draining, host.is_in_safe_mode, host.is_short_of_memory) = (drains, is_safe, is_short);
        world.tell(&format!("node {node} drains: {drains}, safe mode: {is_safe}, short of memory: {is_short}"));
    }
    Ok(())
}

/// Somebody does the next thing, and a little time passes.
fn step_on(world: &mut World) -> Result<(), Broken> {
    let passed = match world.chance.u32(0..10) {
        0..5 => Duration::ZERO,
        5..9 => Duration::from_millis(world.chance.u64(1..3_000)),
        _ => Duration::from_secs(world.chance.u64(3..90)),
    };
    world.pass(passed);
    if world.happens(world.temper.long_waits) {
        let passed = Duration::from_secs(world.chance.u64(60..9_000));
        world.pass(passed);
    }
    let Some(node) = world.one_of(&world.awake()) else { return Ok(()) };
    world.renew_leases(node);
    if world.happens(world.temper.late_writes) {
        return acts::late_write(world, node);
    }
    let temper = world.temper.clone();
    let weights = [temper.operators, temper.dispatch, temper.following, temper.agents];
    let mut draw = world.chance.u32(0..weights.iter().sum());
    let mut who = 0;
    while draw >= weights[who] {
        draw -= weights[who];
        who += 1;
    }
    match who {
        0 => operate(world, node),
        1 => dispatch(world, node),
        2 => {
            let busy: Vec<RunId> = world.nodes[node].live.keys().copied().collect();
            let busy: Vec<RunId> = busy.into_iter().filter(|run| world.has_something_to_do(node, *run)).collect();
            match world.one_of(&busy) {
                Some(run) => world.advance(node, run),
                None => operate(world, node),
            }
        }
        _ => match world.one_of(&world.alive()) {
            Some(run) => acts::act(world, run),
            None => dispatch(world, node),
        },
    }
}

fn operate(world: &mut World, node: usize) -> Result<(), Broken> {
    if world.is_about_subscriptions() {
        return subscribers::act(world, node, None);
    }
    if world.happens(world.temper.meddling) {
        return operators::meddle(world, node);
    }
    let busy: Vec<_> = world.mirror.live().map(|(_, run)| run.lane()).collect();
    match world.chance.u32(0..10) {
        0 => wakes::wake_many(world, node),
        1..4 => match world.one_of(&busy) {
            Some(lane) => wakes::wake_lane(world, node, lane),
            None => wakes::wake(world, node, None),
        },
        _ => wakes::wake(world, node, None),
    }
}

fn dispatch(world: &mut World, node: usize) -> Result<(), Broken> {
    if world.happens(100) {
        world.take_over(node);
        world.adopt(node, "sweeps up")?;
    }
    let wanted = [1, 1, 2, 16][world.chance.usize(0..4)];
    world.look(node, wanted).map(drop)
}

/// Rounds of peace after which everything must have ended. A wakeup may have twenty attempts before it.
const ROUNDS_MAX: u32 = 400;

/// No more faults: everything is resumed, nothing hangs, and time passes until nothing waits any more.
fn calm(world: &mut World) -> Result<(), Broken> {
    world.trace.step += 1;
    world.is_troubled = false;
    world.tell("peace");
    for node in 0..world.nodes.len() {
        let up = &mut world.nodes[node];
        (up.is_draining, up.is_in_safe_mode, up.is_short_of_memory) = (false, false, false);
        (up.stalled_until, up.skew_micros) = (Timestamp::from_micros(0), 0);
        if world.nodes[node].is_up {
            world.adopt(node, "sweeps up")?;
        } else {
            world.restart(node)?;
        }
    }
    resume_all(world)?;
    for _ in 0..ROUNDS_MAX {
        world.trace.step += 1;
        settle(world)?;
        let is_over = world.mirror.wakeups.values().all(|row| row.status.is_terminal());
        let is_due = world.mirror.subscriptions.values().any(|row| row.window.is_some() || row.timeout_at.is_some());
        if is_over && !is_due && world.mirror.live().next().is_none() {
            // Once more, so that what is over lets go of its processes.
            settle(world)?;
            return ended(world);
        }
        if world.mirror.lanes.values().any(|lane| lane.circuit_opened_at.is_some()) {
            resume_all(world)?;
        }
        let passed = Duration::from_secs(world.chance.u64(1_800..7_200));
        world.pass(passed);
    }
    let left: Vec<_> = world.mirror.wakeups.iter().filter(|(_, row)| !row.status.is_terminal()).collect();
    let runs: Vec<_> = world.mirror.live().collect();
    Err(Broken::new(EVERYTHING_ENDS, format!("still there: {left:?} {runs:?}")))
}

fn resume_all(world: &mut World) -> Result<(), Broken> {
    for company in world.town.companies.clone() {
        operators::company_state(world, 0, company, CompanyState::Active)?;
    }
    for agent in world.town.agents.clone() {
        match world.mirror.agents.get(&agent).map(|agent| agent.state) {
            Some(AgentState::Active | AgentState::Paused) => {
                operators::agent_state(world, 0, agent, AgentEvent::Resume)?;
            }
            Some(AgentState::PendingApproval) => operators::agent_state(world, 0, agent, AgentEvent::Approve)?,
            Some(AgentState::Terminated) | None => {}
        }
    }
    Ok(())
}

/// Everybody does what can be done at this moment.
fn settle(world: &mut World) -> Result<(), Broken> {
    (0..world.nodes.len()).for_each(|node| world.renew_leases(node));
    for node in 0..world.nodes.len() {
        world.take_over(node);
        while world.look(node, 16)? {}
    }
    for run in world.alive() {
        if let Some(shim) = world.shim(run) {
            // Nobody waits for ever for one that hangs.
            shim.is_asked_to_stop |= shim.plan == crate::shim::Plan::Hang;
            (shim.is_stubborn, shim.acts_left) = (false, 0);
        }
        while world.shim_moves(run) {}
    }
    for node in 0..world.nodes.len() {
        world.renew_leases(node);
        for _ in 0..4 {
            for run in world.nodes[node].live.keys().copied().collect::<Vec<_>>() {
                world.advance(node, run)?;
                if world.nodes[node].live.get(&run).is_some_and(is_ending) {
                    world.advance(node, run)?;
                }
            }
        }
    }
    Ok(())
}

/// Nothing is left of what is over.
fn ended(world: &mut World) -> Result<(), Broken> {
    let told = |what: &str| what.to_owned();
    let alive = world.alive();
    let alive: Vec<RunId> = alive
        .into_iter()
        .filter(|run| world.shim(*run).is_some_and(|shim| !shim.is_asked_to_stop && shim.state == State::Running))
        .collect();
    require(alive.is_empty(), PROCESSES_ARE_RUNS, || format!("alive without a run: {alive:?}"))?;
    let held = world.mirror.tasks.values().any(|task| task.held_by.is_some());
    require(!held, EVERYTHING_ENDS, || told("a task is held by nobody"))?;
    let counted = world.mirror.agents.values().any(|agent| agent.live_runs != 0);
    require(!counted, EVERYTHING_ENDS, || told("an agent has runs that are over"))?;
    let left = world.ledger.left_untold();
    require(left.is_none(), SUBSCRIBED_IS_TOLD, || format!("waits for ever: {left:?}"))?;
    let ready = world.ledger.is_anything_ready();
    require(!ready, EVERYTHING_ENDS, || told("something is ready and nobody takes it"))?;
    let completed = world.mirror.wakeups.values().filter(|row| row.status == WakeupStatus::Completed).count();
    let expected = usize::try_from(world.ledger.completed).unwrap_or(usize::MAX);
    require(completed == expected, EVERYTHING_ENDS, || format!("{completed} completed, not {expected}"))
}
