//! Following one run, from its claim to its end, the way the engine does it: every step may be the last before a crash,
//! every write may get no answer.

use wakeful_domain::id::RunId;
use wakeful_domain::outcome::{End, Outcome};
use wakeful_domain::run::{ProcessIdentity, Run, SessionChoice, Workspace};
use wakeful_domain::session::Start;
use wakeful_domain::time::Timestamp;
use wakeful_store::ops::claim::Claimed;
use wakeful_store::ops::finish::{FinishRequest, finish};
use wakeful_store::ops::run_events::NewRunEvent;
use wakeful_store::ops::runs::{self, Observed, Started};

use crate::deed::Deed;
use crate::invariants::Broken;
use crate::mirror;
use crate::node::is_fenced;
use crate::shim::{Shim, State, judge};
use crate::world::{Answer, World};

/// What a node knows of a run that it follows.
#[derive(Debug, Clone)]
pub struct Following {
    pub run: RunId,
    pub fence: i64,
    pub phase: Phase,
    /// A stop has reached the follower.
    pub is_stopped: bool,
}

#[derive(Debug, Clone)]
pub enum Phase {
    /// Claimed, nothing started.
    Launching,
    /// Attached to the shim of the last launch.
    Listening { has_noted_start: bool, lines_read: i64 },
    /// A run of an earlier life of the node: what became of it is still to be found out.
    Finding,
    /// The end is known and is being written.
    Ending(Box<FinishRequest>),
}

/// What the next step of a follower leads to.
type Next = Result<Option<Following>, Broken>;

impl Following {
    pub fn claimed(claimed: &Claimed) -> Following {
        let run = &claimed.run;
        Following { run: run.id, fence: run.fence, phase: Phase::Launching, is_stopped: run.stop.is_some() }
    }

    pub fn found(run: &Run) -> Following {
        Following { run: run.id, fence: run.fence, phase: Phase::Finding, is_stopped: run.stop.is_some() }
    }

    /// A run that its node left alone; what became of it is not known here.
    pub fn lost(world: &mut World, run: RunId, row: &mirror::Run, now: Timestamp) -> Following {
        let outcome = Outcome::ended(End::Lost, "process_lost", "its node is gone");
        let following = Following { run, fence: row.fence, phase: Phase::Finding, is_stopped: false };
        following.ending(world, now, outcome)
    }

    fn ending(&self, world: &mut World, now: Timestamp, outcome: Outcome) -> Following {
        let request = FinishRequest {
            now,
            draw: world.chance.f64(),
            id_seed: world.chance.u64(..),
            run: self.run,
            fence: self.fence,
            outcome,
            exit_code: None,
            signal: None,
            log: None,
        };
        Following { phase: Phase::Ending(Box::new(request)), ..self.clone() }
    }

    /// The next step.
    pub fn advance(self, world: &mut World, node: usize) -> Next {
        match &self.phase {
            Phase::Launching => self.launch(world, node),
            Phase::Listening { has_noted_start, lines_read } => {
                let (has_noted_start, lines_read) = (*has_noted_start, *lines_read);
                self.listen(world, node, has_noted_start, lines_read)
            }
            Phase::Finding => self.find(world, node),
            Phase::Ending(request) => {
                let request = request.as_ref().clone();
                self.end(world, &request)
            }
        }
    }

    fn launch(self, world: &mut World, node: usize) -> Next {
        let now = world.clock(node);
        if self.is_stopped {
            let outcome = Outcome::ended(End::Cancelled, "cancelled", "stopped while it started");
            return Ok(Some(self.ending(world, now, outcome)));
        }
        if world.is_troubled && world.happens(40) {
            let code = if world.chance.bool() { "bad_config" } else { "spawn_failed" };
            let name = world.name(self.run);
            world.tell(&format!("node {node} cannot start {name}: {code}"));
            return Ok(Some(self.ending(world, now, Outcome::failed(code, "as planned"))));
        }
        self.launch_once_more(world, node)
    }

    fn launch_once_more(self, world: &mut World, node: usize) -> Next {
        let number = world.shims.get(&self.run).map_or(0, Vec::len) + 1;
        let shim = Shim::launched(world, node, self.fence, number);
        let name = world.name(self.run);
        world.tell(&format!("node {node} launches {name} ({number}): {:?}", shim.plan));
        world.shims.entry(self.run).or_default().push(shim);
        Ok(Some(Following { phase: Phase::Listening { has_noted_start: false, lines_read: 0 }, ..self }))
    }

    fn listen(self, world: &mut World, node: usize, has_noted_start: bool, lines_read: i64) -> Next {
        let now = world.clock(node);
        let Some(shim) = world.shim(self.run).cloned() else { return Ok(None) };
        if self.is_stopped && shim.is_alive() && !shim.is_asked_to_stop {
            world.ask_shim_to_stop(self.run);
            return Ok(Some(self));
        }
        match shim.state {
            State::Coming => Ok(Some(self)),
            State::Running | State::Ended(_) if !has_noted_start => self.note_start(world, node, lines_read),
            State::Running | State::Ended(_) if shim.lines > lines_read => self.read_on(world, node, shim.lines),
            State::Running => Ok(Some(self)),
            State::Ended(record) => match judge(world, &record) {
                Some(outcome) => Ok(Some(self.ending(world, now, outcome))),
                None => self.start_afresh(world, node),
            },
            State::Died => {
                let outcome = Outcome::ended(End::Lost, "process_lost", "the shim died");
                Ok(Some(self.ending(world, now, outcome)))
            }
            State::Barred => {
                let outcome = Outcome::ended(End::Lost, "launch_interrupted", "never started");
                Ok(Some(self.ending(world, now, outcome)))
            }
        }
    }

    fn note_start(mut self, world: &mut World, node: usize, lines_read: i64) -> Next {
        let start = started(world.clock(node), self.run, self.fence);
        let told = format!("node {node} notes that {} runs", world.name(self.run));
        let answer =
            world.write(&told, Deed::Started(self.run), &start, |tx, start| Box::pin(runs::started(tx, start)))?;
        match answer {
            // A stop may have been asked for before anyone listened.
            Answer::Done(before) => self.is_stopped |= before.stop.is_some(),
            Answer::Nothing => return Ok(Some(self)),
            Answer::Refused(refusal) if is_fenced(&refusal) => return Ok(self.given_up(world)),
            Answer::Refused(_) => {}
        }
        Ok(Some(Following { phase: Phase::Listening { has_noted_start: true, lines_read }, ..self }))
    }

    fn read_on(self, world: &mut World, node: usize, lines: i64) -> Next {
        let seen = Observed {
            now: world.clock(node),
            run: self.run,
            fence: self.fence,
            log_bytes: lines * 10,
            log_lines: lines,
            read_seq: lines,
            events: vec![NewRunEvent::plain("output", "a line", serde_json::json!({}))],
            usage: None,
            cost_micros: None,
        };
        let told = format!("node {node} reads {} up to line {lines}", world.name(self.run));
        let answer = world.write(&told, Deed::Tell, &seen, |tx, seen| Box::pin(runs::observed(tx, seen)))?;
        match answer {
            Answer::Nothing => Ok(Some(self)),
            Answer::Refused(_) => Ok(self.given_up(world)),
            Answer::Done(_) => {
                Ok(Some(Following { phase: Phase::Listening { has_noted_start: true, lines_read: lines }, ..self }))
            }
        }
    }

    /// The one fresh start within a run.
    fn start_afresh(self, world: &mut World, node: usize) -> Next {
        let note = NewRunEvent::warn("session_unknown", "starts once more", serde_json::json!({}));
        let told = format!("node {node} starts {} afresh", world.name(self.run));
        let arguments = (world.clock(node), self.run, self.fence, note);
        let answer = world.write(&told, Deed::Tell, &arguments, |tx, (now, run, fence, note)| {
            Box::pin(runs::note(tx, *now, *run, *fence, note))
        })?;
        match answer {
            Answer::Refused(_) => Ok(None),
            Answer::Done(()) | Answer::Nothing if self.is_stopped => {
                let outcome = Outcome::ended(End::Cancelled, "cancelled", "stopped before it started afresh");
                let now = world.clock(node);
                Ok(Some(self.ending(world, now, outcome)))
            }
            Answer::Done(()) | Answer::Nothing => self.launch_once_more(world, node),
        }
    }

    /// Asks the machine what became of the last launch. One that never came is kept from coming.
    fn find(self, world: &mut World, node: usize) -> Next {
        if let Some(shim) = world.shim(self.run)
            && shim.state == State::Coming
        {
            shim.state = State::Barred;
        }
        match world.shim(self.run).map(|shim| shim.state.clone()) {
            None | Some(State::Barred | State::Coming) => {
                let outcome = Outcome::ended(End::Lost, "launch_interrupted", "never started");
                let now = world.clock(node);
                Ok(Some(self.ending(world, now, outcome)))
            }
            Some(State::Running | State::Ended(_) | State::Died) => {
                let has_noted_start = world.chance.bool();
                Ok(Some(Following { phase: Phase::Listening { has_noted_start, lines_read: 0 }, ..self }))
            }
        }
    }

    fn end(self, world: &mut World, request: &FinishRequest) -> Next {
        let name = world.name(self.run);
        let outcome = &request.outcome;
        let told = format!("{name} ends {:?} {}", outcome.end, outcome.error_code.as_deref().unwrap_or(""));
        let deed = Deed::Finish(Box::new(request.clone()));
        match world.write(&told, deed, request, |tx, request| Box::pin(finish(tx, request)))? {
            // Asked again, with the same words.
            Answer::Nothing => Ok(Some(self)),
            Answer::Done(_) => Ok(None),
            Answer::Refused(_) => Ok(self.given_up(world)),
        }
    }

    /// The run belongs to others, or has ended: what lives of it here is stopped.
    fn given_up(&self, world: &mut World) -> Option<Following> {
        world.ask_shim_to_stop(self.run);
        None
    }
}

/// The start of a process, as the node would tell it.
pub fn started(now: Timestamp, run: RunId, fence: i64) -> Started {
    Started {
        now,
        run,
        fence,
        process: Some(ProcessIdentity { pid: 7, start_time: 1, boot_id: "boot".into() }),
        session_before: None,
        session_choice: SessionChoice { choice: Start::Fresh, reason: "as planned".into() },
        workspace: Workspace {
            cwd: "/srv/agent".into(),
            source: "agent_home".into(),
            reason: "as planned".into(),
            worktree: None,
        },
    }
}

impl World {
    /// A stop on its way to a shim.
    pub fn ask_shim_to_stop(&mut self, run: RunId) {
        if let Some(shim) = self.shim(run).filter(|shim| shim.is_alive() && !shim.is_asked_to_stop) {
            shim.is_asked_to_stop = true;
            let name = self.name(run);
            self.tell(&format!("shim of {name} is asked to stop"));
        }
    }
}
