//! The shims and the fake agents under them. They live on a machine, not in a node: a node's crash does not touch them,
//! and what they leave (an exit record, or nothing) is there for whoever looks later.

use std::time::Duration;

use wakeful_domain::id::RunId;
use wakeful_domain::outcome::{End, Outcome, SessionChange, SessionState};
use wakeful_domain::time::Timestamp;
use wakeful_domain::usage::Usage;

use crate::world::World;

/// How a fake agent ends, unless something else ends it before.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    Succeed,
    /// Fails with this code.
    Fail(&'static str),
    /// A usage limit, named or not.
    Quota(Option<Timestamp>),
    /// The session it was to resume does not exist.
    SessionUnknown,
    /// Never ends by itself.
    Hang,
    /// The shim dies and leaves nothing.
    Die,
}

/// What a shim leaves behind.
#[derive(Debug, Clone, PartialEq)]
pub struct ExitRecord {
    pub plan: Plan,
    pub was_stopped: bool,
    pub timed_out: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Described, but not yet there: it may be kept from coming.
    Coming,
    /// A marker stands in its way; it never comes.
    Barred,
    Running,
    Ended(ExitRecord),
    Died,
}

/// One launch of a run.
#[derive(Debug, Clone)]
pub struct Shim {
    pub node: usize,
    pub fence: i64,
    pub state: State,
    pub plan: Plan,
    pub ends_at: Timestamp,
    /// The limit of its agent on the time that a run may take.
    pub times_out_at: Option<Timestamp>,
    pub is_asked_to_stop: bool,
    /// Ignores the stop signal; only the kill after the grace period ends it.
    pub is_stubborn: bool,
    /// What it still wants to do before it ends.
    pub acts_left: u32,
    /// Lines of output so far.
    pub lines: i64,
}

impl Shim {
    /// A shim on its way, its agent's fate drawn.
    pub fn launched(world: &mut World, node: usize, fence: i64, number: usize) -> Shim {
        let plan = plan(world, number);
        let lasts = match world.chance.u32(0..10) {
            _ if world.temper.is_hopeless => Duration::ZERO,
            0 => Duration::from_secs(world.chance.u64(60..7_200)),
            1..4 => Duration::ZERO,
            _ => Duration::from_millis(world.chance.u64(1..20_000)),
        };
        let limit = world.chance.u32(0..10) == 0 || plan == Plan::Hang && world.chance.bool();
        let limit = limit.then(|| Duration::from_secs(world.chance.u64(30..4_000)));
        Shim {
            node,
            fence,
            state: State::Coming,
            plan,
            ends_at: world.now + lasts,
            times_out_at: limit.map(|limit| world.now + limit),
            is_asked_to_stop: false,
            is_stubborn: world.chance.u32(0..8) == 0,
            acts_left: if world.is_troubled && !world.temper.is_hopeless { world.chance.u32(0..5) } else { 0 },
            lines: 0,
        }
    }

    pub fn is_alive(&self) -> bool {
        matches!(self.state, State::Coming | State::Running)
    }
}

const CODES: &[&str] = &[
    "exit_nonzero",
    "agent_error",
    "killed",
    "out_of_memory",
    "overloaded",
    "no_result",
    "never_seen_before",
    "stalled",
    "auth_required",
    "command_not_found",
    "refused",
    "max_turns",
];

fn plan(world: &mut World, number: usize) -> Plan {
    if !world.is_troubled || !world.happens(world.temper.failing) {
        return Plan::Succeed;
    }
    match world.chance.u32(0..12) {
        0 => {
            let named = world.chance.bool();
            let ahead = Duration::from_secs(world.chance.u64(1..20_000));
            Plan::Quota(named.then(|| world.now + ahead))
        }
        1 if number == 1 => Plan::SessionUnknown,
        2 => Plan::Hang,
        3 => Plan::Die,
        _ => Plan::Fail(CODES[world.chance.usize(0..CODES.len())]),
    }
}

/// What a run's end is judged to be; `None` asks for one fresh start.
pub fn judge(world: &mut World, record: &ExitRecord) -> Option<Outcome> {
    let used = Usage { input_tokens: 10, output_tokens: 1, ..Usage::default() };
    let outcome = if record.was_stopped {
        Outcome::ended(End::Lost, "drained", "the run was stopped from outside")
    } else if record.timed_out {
        Outcome::ended(End::TimedOut, "timed_out", "the run took too long")
    } else {
        match &record.plan {
            Plan::Succeed | Plan::Hang | Plan::Die => Outcome::succeeded(),
            Plan::Fail(code) => Outcome::failed(code, "as planned"),
            Plan::Quota(retry_at) => Outcome { retry_at: *retry_at, ..Outcome::failed("usage_limit", "as planned") },
            Plan::SessionUnknown => return None,
        }
    };
    let session = match world.chance.u32(0..3) {
        0 => SessionChange::Keep,
        1 => SessionChange::Clear,
        _ => SessionChange::Set(SessionState::new(serde_json::json!({}), "session")),
    };
    Some(Outcome { session, usage: Some(used), cost_micros: Some(7), ..outcome })
}

impl World {
    /// The last launch of a run.
    pub fn shim(&mut self, run: RunId) -> Option<&mut Shim> {
        self.shims.get_mut(&run).and_then(|launches| launches.last_mut())
    }

    /// Runs whose last launch is alive.
    pub fn alive(&self) -> Vec<RunId> {
        let last = self.shims.iter().filter(|(_, launches)| launches.last().is_some_and(Shim::is_alive));
        last.map(|(run, _)| *run).collect()
    }

    /// Time and signals take their effect on a shim. False if it is not alive, or goes on.
    pub fn shim_moves(&mut self, run: RunId) -> bool {
        let (now, draw) = (self.now, self.chance.u32(0..3));
        let Some(shim) = self.shim(run) else { return false };
        let ended = |plan: &Plan, was_stopped, timed_out| {
            State::Ended(ExitRecord { plan: plan.clone(), was_stopped, timed_out })
        };
        let next = match &shim.state {
            State::Coming => State::Running,
            State::Barred | State::Ended(_) | State::Died => return false,
            State::Running if shim.is_asked_to_stop && (!shim.is_stubborn || draw == 0) => {
                // An agent may just have ended by itself: then nothing was stopped.
                ended(&shim.plan, draw > 0 || shim.plan == Plan::Hang, false)
            }
            State::Running if shim.times_out_at.is_some_and(|at| at <= now) => ended(&shim.plan, false, true),
            State::Running if shim.plan == Plan::Hang || shim.ends_at > now || shim.acts_left > 0 => return false,
            State::Running if shim.plan == Plan::Die => State::Died,
            State::Running => ended(&shim.plan, false, false),
        };
        shim.state = next;
        let told = match self.shim(run).map(|shim| shim.state.clone()) {
            Some(State::Running) => "comes up".to_owned(),
            Some(State::Ended(record)) if record.was_stopped => "is stopped".to_owned(),
            Some(State::Ended(record)) if record.timed_out => "times out".to_owned(),
            Some(State::Ended(record)) => format!("ends: {:?}", record.plan).replace("Some(", "(until "),
            Some(State::Died) => "dies".to_owned(),
            Some(State::Coming | State::Barred) | None => String::new(),
        };
        let name = self.name(run);
        self.tell(&format!("shim of {name} {told}"));
        true
    }
}
