//! What is done in a life of schedules, by nodes and by people.

use std::time::Duration;

use serde_json::json as object;
use wakeful_domain::active_hours::{ActiveHours, ClockTime};
use wakeful_domain::agent::{Agent, AgentEvent, AgentState, Heartbeat, Limits};
use wakeful_domain::company::{Company, CompanyState};
use wakeful_domain::id::{AgentId, RunId, ScheduleId};
use wakeful_domain::outcome::Outcome;
use wakeful_domain::retry::RetryPolicy;
use wakeful_domain::schedule::{CatchUp, Gate, Jitter, Overlap, Schedule, Standing, State, Target, Trigger};
use wakeful_domain::session::SessionPolicy;
use wakeful_store::ops::claim::ClaimRequest;
use wakeful_store::ops::dispatch::dispatch;
use wakeful_store::ops::finish::{FinishRequest, finish};
use wakeful_store::ops::questions::{self, Answered};
use wakeful_store::ops::{agents, companies, firing, schedules};

use super::Calendar;
use super::ledger::Deed;
use super::line::Line;
use super::nominal::Timing;
use crate::invariants::{Broken, EVERYTHING_ENDS, OPERATION_WORKS, require};

/// At most so many schedules at once.
const SCHEDULES_MAX: usize = 8;
/// Looks in peace.
const ROUNDS_MIN: u32 = 20;
/// Looks after which what was asked before it must be settled; active hours may put a question off for a day.
const ROUNDS_MAX: u32 = 200;

impl Calendar {
    pub(super) fn found(&mut self) -> Result<(), Broken> {
        let crash_share = std::mem::take(&mut self.crash_share);
        let company = Company {
            id: self.company,
            slug: "town".into(),
            name: "town".into(),
            time_zone: "UTC".into(),
            max_concurrent_runs: 4,
            max_runs_per_root_hour: 100,
            state: CompanyState::Active,
            state_reason: None,
            live_runs: 0,
            created_at: self.now,
            updated_at: self.now,
        };
        self.write(0, Deed::Other, &company, |tx, draft| Box::pin(companies::insert(tx, draft)))?;
        for number in 0..self.chance.usize(1..=3) {
            self.agent(number)?;
        }
        for _ in 0..self.chance.usize(1..=SCHEDULES_MAX) {
            self.make(0)?;
        }
        self.crash_share = crash_share;
        Ok(())
    }

    fn agent(&mut self, number: usize) -> Result<(), Broken> {
        let draft = Agent {
            id: self.id(),
            company: self.company,
            name: format!("agent {number}"),
            title: None,
            adapter: object!({ "type": "process" }),
            capabilities: vec![],
            heartbeat: Heartbeat::default(),
            max_concurrent_runs: 2,
            retry: RetryPolicy::default(),
            limits: Limits::default(),
            session: SessionPolicy::default(),
            state: AgentState::Active,
            state_reason: None,
            quota_until: None,
            live_runs: 0,
            created_at: self.now,
            updated_at: self.now,
        };
        self.write(0, Deed::Other, &draft, |tx, draft| Box::pin(agents::insert(tx, draft)))?;
        self.agents.push(draft.id);
        Ok(())
    }

    /// Makes a schedule of any kind.
    fn make(&mut self, node: usize) -> Result<(), Broken> {
        let (now, agent) = (self.clock(node), self.agents[self.chance.usize(0..self.agents.len())]);
        let timing = self.timing();
        let id: ScheduleId = self.id();
        let mut rarely = |share: u32| self.chance.u32(0..100) < share;
        let (is_asked, is_bounded, is_counted, can_be_stale) = (rarely(30), rarely(15), rarely(20), rarely(25));
        let (starts_later, has_hours, has_jitter) = (rarely(15), rarely(15), rarely(40));
        let after = |most: u64, chance: &mut fastrand::Rng| Duration::from_secs(chance.u64(1..most));
        let clock = |hour: u32| ClockTime::try_from(format!("{hour:02}:00")).ok();
        let (from, to) = (clock(self.chance.u32(0..12)), clock(self.chance.u32(8..24)));
        let width = if has_jitter { after(90, &mut self.chance) } else { Duration::ZERO };
        let draft = Schedule {
            id,
            company: self.company,
            name: id.to_string(),
            trigger: serde_json::from_value::<Trigger>(timing.trigger()).map_err(unread)?,
            target: self.target(agent)?,
            gate: match is_asked {
                true => Some(
                    serde_json::from_value::<Gate>(object!({ "command": ["gate"], "timeout": "30s" }))
                        .map_err(unread)?,
                ),
                false => None,
            },
            active_hours: from.zip(to).map(|(from, to)| ActiveHours { from, to, days: None }).filter(|_| has_hours),
            jitter: Jitter::up_to(width),
            overlap: Overlap::ALL[self.chance.usize(0..Overlap::ALL.len())].1,
            catch_up: CatchUp::ALL[self.chance.usize(0..CatchUp::ALL.len())].1,
            stale_after: can_be_stale.then(|| after(7_200, &mut self.chance)),
            starts_at: starts_later.then(|| now + after(3_600, &mut self.chance)),
            ends_at: is_bounded.then(|| now + Duration::from_secs(3_600) + after(40_000, &mut self.chance)),
            max_fires: is_counted.then(|| self.chance.u64(1..6)),
            fires: 0,
            standing: Standing::default(),
            state: State::Active,
            next_slot_at: None,
            last_slot: None,
            created_at: now,
            updated_at: now,
        };
        let mut line = Line {
            timing,
            catch_up: draft.catch_up,
            stale_after: draft.stale_after,
            has_hours: draft.active_hours.is_some(),
            created: now,
            starts: draft.starts_at,
            ends: draft.ends_at,
            max_fires: draft.max_fires.map(u64::cast_signed),
            offset: draft.jitter.offset(id),
            state: "active".into(),
            settled: now,
            due: Default::default(),
            rows: Default::default(),
            by_hand: Default::default(),
            fires: 0,
        };
        line.settled = line.start();
        self.write(node, Deed::Make(id, Box::new(line)), &draft, |tx, draft| Box::pin(schedules::insert(tx, draft)))?;
        Ok(())
    }

    fn timing(&mut self) -> Timing {
        match self.chance.u32(0..10) {
            0..5 => Timing::Every { seconds: [10, 60, 90, 300, 3_600, 5_000][self.chance.usize(0..6)] },
            5..8 => Timing::Pattern { number: self.chance.usize(0..Timing::PATTERNS) },
            8 => Timing::Nightly,
            _ => Timing::At(self.now + Duration::from_secs(self.chance.u64(60..20_000))),
        }
    }

    fn target(&mut self, agent: AgentId) -> Result<Target, Broken> {
        let target = match self.chance.u32(0..10) {
            0..7 => object!({ "wake": { "agent": agent } }),
            7..9 => object!({ "task": { "title": "Of {{slot}}", "assignee": agent } }),
            _ => object!({ "action": { "name": "own", "config": { "command": ["action"] } } }),
        };
        serde_json::from_value(target).map_err(unread)
    }

    /// Somebody does the next thing, after a while.
    pub(super) fn step(&mut self) -> Result<(), Broken> {
        let passed = match self.chance.u32(0..1_000) {
            0..500 => self.chance.u64(0..15),
            500..980 => self.chance.u64(0..240),
            980..995 => self.chance.u64(600..10_000),
            _ if self.has_downtimes => self.chance.u64(20_000..200_000),
            _ => 600,
        };
        self.now = self.now + Duration::from_secs(passed);
        let node = self.chance.usize(0..self.nodes.len());
        match self.chance.u32(0..100) {
            0..50 => {
                let wanted = self.chance.usize(0..3);
                self.look(node, wanted)
            }
            50..62 => self.ask(node),
            62..78 => self.answer(node),
            78..88 => self.end_run(node),
            88 if self.has_clocks_set => self.set_clock(node),
            _ => self.meddle(node),
        }
    }

    fn look(&mut self, node: usize, wanted: usize) -> Result<(), Broken> {
        let now = self.clock(node);
        let requests: Vec<ClaimRequest> = (0..wanted)
            .map(|_| {
                let run: RunId = self.id();
                ClaimRequest { now, run, token_hash: run.to_string() }
            })
            .collect();
        let looked = self.write(node, Deed::Look(now), &(now, requests), |tx, told| Box::pin(dispatch(tx, told)))?;
        let claimed = looked.into_iter().flat_map(|looked| looked.claimed);
        self.runs.extend(claimed.map(|claimed| (claimed.run.id, claimed.run.fence)));
        Ok(())
    }

    fn ask(&mut self, node: usize) -> Result<(), Broken> {
        let asked =
            self.write(node, Deed::Ask, &self.clock(node), |tx, now| Box::pin(questions::claim(tx, *now, 3)))?;
        self.nodes[node].questions.extend(asked.unwrap_or_default());
        Ok(())
    }

    /// An answer comes: to a question of before, or once more.
    fn answer(&mut self, node: usize) -> Result<(), Broken> {
        if self.chance.u32(0..4) == 0
            && let Some(answered) = self.nodes[node].answer.take()
        {
            return self.tell(node, answered);
        }
        if self.nodes[node].questions.is_empty() {
            return self.ask(node);
        }
        let place = self.chance.usize(0..self.nodes[node].questions.len());
        let question = self.nodes[node].questions.remove(place);
        let said: Result<&str, &str> = match (question.part, self.chance.u32(0..10)) {
            (_, 0) => Err("it has run out of time"),
            (_, 1) => Ok("nonsense"),
            (questions::Part::Gate, 2..6) => Ok("{\"wake\":false,\"state\":{\"seen\":1}}"),
            (questions::Part::Gate, _) => Ok("{\"wake\":true,\"message\":\"there is something\"}"),
            (questions::Part::Action, 2..6) => Ok("{\"notify\":false}"),
            (questions::Part::Action, _) => Ok("{\"notify\":true,\"message\":\"there is something\"}"),
        };
        let answered = Answered {
            schedule: question.schedule,
            slot: question.slot,
            until: question.until,
            part: question.part,
            answer: said.map(|said| said.as_bytes().to_vec()).map_err(str::to_owned),
            took: Duration::from_secs(1),
        };
        self.nodes[node].answer = Some(answered.clone());
        self.tell(node, answered)
    }

    fn tell(&mut self, node: usize, answered: Answered) -> Result<(), Broken> {
        let deed = Deed::Answer(answered.clone());
        self.write(node, deed, &(self.clock(node), answered), |tx, (now, answered)| {
            Box::pin(questions::answer(tx, *now, answered))
        })?;
        Ok(())
    }

    /// A run ends, well or not. One that a crash has hidden from its node is found as every node finds them.
    fn end_run(&mut self, node: usize) -> Result<(), Broken> {
        let live = self.read(&(), |tx, ()| Box::pin(wakeful_store::ops::runs::live(tx)))?;
        let Some(run) = self.one_of(&live) else { return Ok(()) };
        let outcome = match self.chance.u32(0..5) {
            0 => Outcome::failed("exit_nonzero", "as planned"),
            _ => Outcome::succeeded(),
        };
        let request = FinishRequest {
            now: self.clock(node),
            draw: self.chance.f64(),
            id_seed: self.chance.u64(..),
            run: run.id,
            fence: run.fence,
            outcome,
            exit_code: None,
            signal: None,
            log: None,
        };
        self.write(node, Deed::Other, &request, |tx, request| Box::pin(finish(tx, request)))?;
        Ok(())
    }

    /// A clock is set, and a node that has noticed takes back what it did in a time that has not come.
    fn set_clock(&mut self, node: usize) -> Result<(), Broken> {
        self.nodes[node].skew_s = match self.chance.u32(0..3) {
            0 => self.chance.i64(-20..=20),
            1 => self.chance.i64(-7_200..=7_200),
            _ => self.chance.i64(-100_000..=100_000),
        };
        self.rewind(node)
    }

    fn rewind(&mut self, node: usize) -> Result<(), Broken> {
        let now = self.clock(node);
        self.write(node, Deed::Rewind(now), &now, |tx, now| Box::pin(schedules::rewind(tx, *now)))?;
        Ok(())
    }

    fn meddle(&mut self, node: usize) -> Result<(), Broken> {
        let now = self.clock(node);
        let all: Vec<ScheduleId> = self.ledger.lines.keys().copied().collect();
        let Some(id) = self.one_of(&all) else { return self.make(node) };
        match self.chance.u32(0..10) {
            0..2 => self.set_state(node, id, State::Paused { note: None }),
            2..5 => self.set_state(node, id, State::Active),
            5..7 => {
                let deed = Deed::ByHand(now, id);
                self.write(node, deed, &(now, id), |tx, (now, id)| Box::pin(firing::fire_now(tx, *now, *id))).map(drop)
            }
            7 => self
                .write(node, Deed::Remove(id), &(now, id), |tx, told| Box::pin(schedules::remove(tx, told.0, told.1)))
                .map(drop),
            8 if all.len() < SCHEDULES_MAX => self.make(node),
            _ => {
                let agent = self.agents[self.chance.usize(0..self.agents.len())];
                let event = if self.chance.bool() { AgentEvent::Pause } else { AgentEvent::Resume };
                self.write(node, Deed::Other, &(now, agent, event), |tx, (now, agent, event)| {
                    Box::pin(agents::set_state(tx, *now, *agent, *event, None))
                })
                .map(drop)
            }
        }
    }

    fn set_state(&mut self, node: usize, id: ScheduleId, state: State) -> Result<(), Broken> {
        let now = self.clock(node);
        let name = if state == State::Active { "active" } else { "paused" };
        self.write(node, Deed::Change(now, id, name), &(now, id, state), |tx, (now, id, state)| {
            Box::pin(schedules::change(tx, *now, *id, state, |state, schedule| {
                schedule.state = state.clone();
                Ok(())
            }))
        })?;
        Ok(())
    }

    /// No more crashes: clocks are right, what is asked is answered, and nothing that has come is left.
    pub(super) fn calm(&mut self) -> Result<(), Broken> {
        self.trace.tell(self.now, "peace");
        self.crash_share = 0;
        self.nodes.iter_mut().for_each(|node| node.skew_s = 0);
        self.rewind(0)?;
        let paused: Vec<ScheduleId> =
            self.ledger.lines.iter().filter(|(_, line)| line.state == "paused").map(|(id, _)| *id).collect();
        for id in paused {
            self.set_state(0, id, State::Active)?;
        }
        let asked: Vec<_> = self.ledger.asked().into_iter().map(|(id, slot, _)| (id, slot)).collect();
        for round in 0..ROUNDS_MAX {
            self.now = self.now + Duration::from_secs(if round < ROUNDS_MIN { 120 } else { 1_000 });
            self.look(0, 2)?;
            self.ask(0)?;
            while !self.nodes[0].questions.is_empty() {
                self.answer(0)?;
                if self.nodes[0].questions.is_empty() {
                    self.ask(0)?;
                }
            }
            self.end_run(0)?;
            if round >= ROUNDS_MIN && !self.ledger.asked().iter().any(|(id, slot, _)| asked.contains(&(*id, *slot))) {
                break;
            }
        }
        let left = self.ledger.asked();
        let is_left = left.iter().any(|(id, slot, _)| asked.contains(&(*id, *slot)));
        require(!is_left, EVERYTHING_ENDS, || format!("asked for ever: {left:?}"))?;
        // What came in peace and is still asked about is called off.
        for id in self.ledger.lines.keys().copied().collect::<Vec<_>>() {
            self.set_state(0, id, State::Paused { note: None })?;
        }
        Ok(())
    }
}

fn unread(error: serde_json::Error) -> Broken {
    Broken::new(OPERATION_WORKS, error.to_string())
}
