//! A node: one server with its clock, its dispatcher and the runs it follows. All of that is gone when it crashes;
//! what it left on its machine and in the store is found again.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use wakeful_domain::id::RunId;
use wakeful_domain::time::Timestamp;
use wakeful_domain::waiting::Host;
use wakeful_store::Refusal;
use wakeful_store::ops::claim::ClaimRequest;
use wakeful_store::ops::dispatch::{Dispatched, dispatch};
use wakeful_store::ops::{runs, standing, wakeups};

use crate::deed::Deed;
use crate::follow::{Following, Phase};
use crate::invariants::{Broken, OPERATION_WORKS, STARTS_BELOW_CAPS, WAITING_HAS_A_REASON, require};
use crate::ledger::Reason;
use crate::shim::State;
use crate::temper::Temper;
use crate::world::{Answer, Home, World};

/// Whoever lets a run go unattended for longer has lost it.
pub const LEASE: Duration = Duration::from_secs(60);

/// One server.
#[derive(Debug)]
pub struct Node {
    pub number: usize,
    pub is_up: bool,
    /// What its clock is ahead of the world's, in microseconds; may be behind.
    pub skew_micros: i64,
    pub live_runs_max: usize,
    pub is_draining: bool,
    pub is_in_safe_mode: bool,
    pub is_short_of_memory: bool,
    /// It does nothing before this time, and does not know.
    pub stalled_until: Timestamp,
    pub live: BTreeMap<RunId, Following>,
}

impl Node {
    pub fn new(number: usize, chance: &mut Rng, temper: &Temper) -> Node {
        let micros = i64::try_from(temper.skew_s * 1_000_000).unwrap_or(0);
        Node {
            number,
            is_up: true,
            skew_micros: if micros == 0 { 0 } else { chance.i64(-micros..=micros) },
            live_runs_max: if chance.u32(0..3) == 0 { chance.usize(1..=3) } else { 64 },
            is_draining: false,
            is_in_safe_mode: false,
            is_short_of_memory: false,
            stalled_until: Timestamp::from_micros(0),
            live: BTreeMap::new(),
        }
    }
}

impl World {
    /// What a node takes for the time.
    pub fn clock(&self, node: usize) -> Timestamp {
        Timestamp::from_micros(self.now.as_micros().saturating_add(self.nodes[node].skew_micros))
    }

    /// Nodes that do something when they are asked to.
    pub fn awake(&self) -> Vec<usize> {
        let awake = self.nodes.iter().filter(|node| node.is_up && node.stalled_until <= self.now);
        awake.map(|node| node.number).collect()
    }

    pub fn host(&self, node: usize) -> Host {
        let node = &self.nodes[node];
        Host {
            live_runs: node.live.len(),
            live_runs_max: node.live_runs_max,
            is_draining: node.is_draining,
            is_in_safe_mode: node.is_in_safe_mode,
            restored_from: None,
            pressure: node.is_short_of_memory.then_some("short of memory"),
        }
    }

    /// A node looks once. Tells whether it may have left something that is due or ready.
    pub fn look(&mut self, node: usize, wanted: usize) -> Result<bool, Broken> {
        let now = self.clock(node);
        let host = self.host(node);
        let room = if host.starts_nothing() { 0 } else { host.live_runs_max.saturating_sub(host.live_runs) };
        let wanted = room.min(wanted);
        let requests: Vec<ClaimRequest> = (0..wanted)
            .map(|_| {
                let run: RunId = self.id();
                ClaimRequest { now, run, token_hash: run.to_string() }
            })
            .collect();
        let runs: Vec<RunId> = requests.iter().map(|request| request.run).collect();
        let deed = Deed::Dispatch { now, requests: runs.clone() };
        let told = format!("node {node} looks for {wanted}");
        for run in &runs {
            // Named in the order of the requests, whatever the store answers.
            self.name(*run);
        }
        let answer = self.write(&told, deed, &(now, requests), |tx, told| Box::pin(dispatch(tx, told)))?;
        for run in runs.iter().filter(|run| self.mirror.runs.contains_key(run)) {
            self.homes.insert(*run, Home { node, lease_until: self.now + LEASE });
        }
        let Answer::Done(Dispatched { timers, claimed, .. }) = answer else { return Ok(true) };
        let started = claimed.len();
        for claimed in claimed {
            self.nodes[node].live.insert(claimed.run.id, Following::claimed(&claimed));
        }
        let host = self.host(node);
        let is_within = started == 0 || host.live_runs <= host.live_runs_max;
        require(is_within, STARTS_BELOW_CAPS, || format!("node {node} has {host:?}"))?;
        let has_more = timers.next_at.is_some_and(|at| at <= now);
        if started < wanted && !has_more {
            self.ask_why(node, now)?;
        }
        Ok(has_more || started > 0 && started == wanted)
    }

    /// What waits after a look that left nothing behind has a reason, and it is the right one.
    fn ask_why(&mut self, node: usize, now: Timestamp) -> Result<(), Broken> {
        let pending: Vec<_> = self.mirror.pending().map(|(id, _)| *id).collect();
        let Some(id) = self.one_of(&pending) else { return Ok(()) };
        let standing = self.read(&id, |tx, id| {
            Box::pin(async move {
                let wakeup = wakeups::get(tx, *id).await?;
                standing::of(tx, &wakeup).await
            })
        })?;
        let host = self.host(node);
        let found = wakeful_domain::waiting::why_waiting(&standing, host, now).reason;
        let expected = self.ledger.why(id, host, now);
        require(found == expected, WAITING_HAS_A_REASON, || format!("{id} waits for {found:?}, not {expected:?}"))?;
        for id in pending {
            let reason = self.ledger.why(id, host, now);
            require(reason != Reason::Dispatching, WAITING_HAS_A_REASON, || {
                format!("{id} could start at {now}, but node {node} has looked and it has not")
            })?;
        }
        Ok(())
    }

    /// Gives every live run of this node that nobody follows to a task, as at a start and in a sweep.
    pub fn adopt(&mut self, node: usize, told: &str) -> Result<(), Broken> {
        let live = self.read(&(), |tx, ()| Box::pin(runs::live(tx)))?;
        let expected: Vec<RunId> = self.mirror.live().map(|(id, _)| *id).collect();
        let found: Vec<RunId> = live.iter().map(|run| run.id).collect();
        require(found == expected, OPERATION_WORKS, || format!("live are {found:?} instead of {expected:?}"))?;
        for run in live {
            let is_ours = self.homes.get(&run.id).is_some_and(|home| home.node == node);
            if is_ours && !self.nodes[node].live.contains_key(&run.id) {
                let name = self.name(run.id);
                self.tell(&format!("node {node} {told} {name}"));
                self.nodes[node].live.insert(run.id, Following::found(&run));
            }
        }
        // What lives on the machine without a live run is nobody's any more.
        for run in self.alive() {
            let is_here = self.shim(run).is_some_and(|shim| shim.node == node);
            let is_live = self.mirror.runs.get(&run).is_some_and(|run| run.status.is_live());
            if is_here && !is_live {
                self.ask_shim_to_stop(run);
            }
        }
        Ok(())
    }

    /// A node takes over the runs of others that have been left alone for too long, and gives them up for lost.
    pub fn take_over(&mut self, node: usize) {
        let (now, home_now) = (self.clock(node), self.now);
        let left_alone: Vec<RunId> = self
            .mirror
            .live()
            .map(|(id, _)| *id)
            .filter(|id| self.homes.get(id).is_some_and(|home| home.node != node && home.lease_until < home_now))
            .collect();
        for id in left_alone {
            let Some(run) = self.mirror.runs.get(&id).cloned() else { continue };
            self.homes.insert(id, Home { node, lease_until: self.now + LEASE });
            let lost = Following::lost(self, id, &run, now);
            let name = self.name(id);
            self.tell(&format!("node {node} takes over {name}, which was left alone"));
            self.nodes[node].live.insert(id, lost);
        }
    }

    /// The runs that a node follows are in good hands.
    pub fn renew_leases(&mut self, node: usize) {
        let until = self.now + LEASE;
        for run in self.nodes[node].live.keys() {
            if let Some(home) = self.homes.get_mut(run).filter(|home| home.node == node) {
                home.lease_until = until;
            }
        }
    }

    /// A node is gone, with all that it knew.
    pub fn crash(&mut self, node: usize) {
        self.tell(&format!("node {node} crashes"));
        let node = &mut self.nodes[node];
        (node.is_up, node.is_draining, node.is_in_safe_mode) = (false, false, false);
        node.live.clear();
    }

    /// A node is back: it finds again what was running, then dispatches.
    pub fn restart(&mut self, node: usize) -> Result<(), Broken> {
        self.tell(&format!("node {node} starts"));
        self.nodes[node].is_up = true;
        self.nodes[node].stalled_until = Timestamp::from_micros(0);
        self.adopt(node, "finds again")
    }

    /// A node does the next thing for one of its runs.
    pub fn advance(&mut self, node: usize, run: RunId) -> Result<(), Broken> {
        let Some(following) = self.nodes[node].live.get(&run).cloned() else { return Ok(()) };
        match following.advance(self, node)? {
            Some(following) => self.nodes[node].live.insert(run, following),
            None => self.nodes[node].live.remove(&run),
        };
        Ok(())
    }

    /// Whether a follower waits for nothing but its turn.
    pub fn has_something_to_do(&mut self, node: usize, run: RunId) -> bool {
        let Some(following) = self.nodes[node].live.get(&run).cloned() else { return false };
        let Phase::Listening { has_noted_start, lines_read } = following.phase else { return true };
        self.shim(run).is_none_or(|shim| {
            let is_to_be_stopped = following.is_stopped && shim.is_alive() && !shim.is_asked_to_stop;
            let is_told = has_noted_start && shim.lines <= lines_read;
            is_to_be_stopped || shim.state == State::Running && !is_told || !shim.is_alive()
        })
    }

    /// The lines to those who follow these runs carry a stop, wherever the operator's node can reach them: its own.
    pub fn signal_stop(&mut self, node: usize, runs: &[RunId]) {
        for run in runs {
            if let Some(following) = self.nodes[node].live.get_mut(run) {
                following.is_stopped = true;
            }
        }
    }
}

/// Whether a follower still has to write something.
pub fn is_ending(following: &Following) -> bool {
    matches!(following.phase, Phase::Ending(_))
}

/// A refusal because the run takes no more writes.
pub fn is_fenced(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Conflict { code: "fenced", .. })
}
