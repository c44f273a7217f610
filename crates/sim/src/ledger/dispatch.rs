//! What time does by itself, and which lanes must start then: wakes.md §3 and §4.

use wakeful_domain::agent::AgentState;
use wakeful_domain::company::CompanyState;
use wakeful_domain::id::{CompanyId, RunId, WakeupId};
use wakeful_domain::run::RunStatus;
use wakeful_domain::task::TaskStatus;
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::WakeupStatus;

use super::accept::{is_takeable, take};
use super::{Ledger, Written, expect};
use crate::heard::Told;
use crate::invariants::{
    BATCH_IS_DUE, BEST_GOES_FIRST, Broken, FENCE_RISES, STARTS_BELOW_CAPS, STARTS_WHAT_IS_READY, require,
};
use crate::mirror::{Lane, Mirror, Run};

/// A lane that may start, with what decides who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ready {
    company: CompanyId,
    lane: Lane,
    rank: i64,
}

impl Ledger {
    pub(super) fn dispatch(
        &mut self,
        written: &Written<'_>,
        now: Timestamp,
        requests: &[RunId],
        mirror: &Mirror,
    ) -> Result<(), Broken> {
        expect(written, None)?;
        if !written.is_kept {
            return Ok(());
        }
        self.subscriptions_due(now, mirror)?;
        self.pass_time(now);
        self.tell_untold(now, mirror)?;
        for request in requests {
            let mut ready = self.ready();
            while self.hold_back_one(&self.best(&ready), now, mirror) {
                ready = self.ready();
            }
            let Some(run) = mirror.runs.get(request) else {
                let told = || format!("with room for another run, {ready:?} were left behind");
                require(ready.is_empty(), STARTS_WHAT_IS_READY, told)?;
                break;
            };
            self.check_choice(run.lane(), &ready)?;
            let before = run.task.and_then(|task| self.rows.tasks.get(&task)).map(|task| task.status);
            self.claim(*request, run, now)?;
            if let Some((task, before)) = run.task.zip(before) {
                self.tell_status(now, task, before, Some(*request), mirror)?;
            }
            let lead = mirror.batches.get(request).into_iter().flatten().find(|id| self.rows.wakeups[id].is_lead);
            require(lead.is_some(), BATCH_IS_DUE, || format!("{request} has a batch without its best wakeup"))?;
        }
        if let Some(Told::Dispatched { claimed, .. }) = written.told {
            for (run, batch) in claimed {
                self.check_order(*run, batch)?;
            }
        }
        Ok(())
    }

    fn pass_time(&mut self, now: Timestamp) {
        for row in self.rows.wakeups.values_mut().filter(|row| row.status == WakeupStatus::Pending) {
            if row.expires_at.is_some_and(|at| at <= now) {
                (row.status, row.status_reason) = (WakeupStatus::Expired, Some("expired".into()));
                row.finished_at = Some(now);
            } else if row.eligible_at <= now {
                row.is_eligible = true;
            }
        }
        for agent in self.rows.agents.values_mut() {
            agent.quota_until = agent.quota_until.filter(|until| *until > now);
        }
    }

    /// Every lane that may start now.
    fn ready(&self) -> Vec<Ready> {
        let mut ready: Vec<Ready> = Vec::new();
        for row in self.rows.wakeups.values() {
            if row.status != WakeupStatus::Pending || !row.is_eligible || self.obstacle(row.lane()).is_some() {
                continue;
            }
            match ready.iter_mut().find(|found| found.lane == row.lane()) {
                Some(found) => found.rank = found.rank.min(row.rank),
                None => ready.push(Ready { company: row.company, lane: row.lane(), rank: row.rank }),
            }
        }
        ready
    }

    /// What keeps a lane from starting, whatever waits in it.
    fn obstacle(&self, lane: Lane) -> Option<&'static str> {
        let agent = &self.rows.agents[&lane.0];
        let company = &self.rows.companies[&agent.company];
        let row = self.rows.lanes.get(&lane);
        let is_held = lane.1.and_then(|task| self.rows.tasks.get(&task)).is_some_and(|task| task.held_by.is_some());
        if row.is_some_and(|lane| lane.live_run.is_some()) {
            Some("lane_busy")
        } else if row.is_some_and(|lane| lane.circuit_opened_at.is_some()) {
            Some("circuit_open")
        } else if is_held {
            Some("task_held")
        } else if company.state != CompanyState::Active {
            Some("company_paused")
        } else if agent.state != AgentState::Active {
            Some("agent_not_active")
        } else if agent.live_runs >= agent.cap {
            Some("agent_at_capacity")
        } else if company.live_runs >= company.cap {
            Some("company_at_capacity")
        } else if agent.quota_until.is_some() {
            Some("quota_until")
        } else {
            None
        }
    }

    /// Fair between companies, then the smallest rank; among equals anyone may go.
    fn check_choice(&self, lane: Lane, ready: &[Ready]) -> Result<(), Broken> {
        let Some(chosen) = ready.iter().find(|found| found.lane == lane) else {
            let obstacle = self.obstacle(lane).unwrap_or("nothing that is due");
            let is_full = obstacle.ends_with("at_capacity");
            let invariant = if is_full { STARTS_BELOW_CAPS } else { STARTS_WHAT_IS_READY };
            return Err(Broken::new(invariant, format!("{lane:?} started in spite of {obstacle}")));
        };
        let is_best = self.best(ready).contains(&lane);
        require(is_best, BEST_GOES_FIRST, || format!("{chosen:?} started before others of {ready:?}"))
    }

    /// Those of which one must be looked at first.
    fn best(&self, ready: &[Ready]) -> Vec<Lane> {
        let best_of = |company: CompanyId| {
            let ranks = ready.iter().filter(|found| found.company == company).map(|found| found.rank);
            ranks.min().unwrap_or(i64::MAX)
        };
        let place = |found: &Ready| (self.rows.companies[&found.company].live_runs, best_of(found.company), found.rank);
        let best = ready.iter().map(place).min();
        ready.iter().filter(|found| Some(place(found)) == best).map(|found| found.lane).collect()
    }

    fn claim(&mut self, id: RunId, found: &Run, now: Timestamp) -> Result<(), Broken> {
        let lane = found.lane();
        let due = self.rows.wakeups.iter_mut().filter(|(_, row)| row.lane() == lane && is_takeable(row, now));
        let mut batch: Vec<_> = due.collect();
        batch.sort_by_key(|(id, row)| (row.rank, **id));
        let lead = batch.first().map(|(id, _)| **id);
        self.leads.extend(lead.map(|lead| (id, lead)));
        require(lead.is_some(), BATCH_IS_DUE, || format!("{id} was started with nothing that is due"))?;
        let taken = self.rows.batches.entry(id).or_default();
        for (wakeup, row) in batch {
            take(row, id);
            row.is_lead = Some(*wakeup) == lead;
            taken.insert(*wakeup);
        }
        let row = self.rows.lanes.get_mut(&lane);
        let Some(row) = row else { return Err(Broken::new(FENCE_RISES, format!("{lane:?} is no lane"))) };
        row.fence += 1;
        row.live_run = Some(id);
        let fence = row.fence;
        if let Some(task) = lane.1.and_then(|task| self.rows.tasks.get_mut(&task)) {
            task.held_by = Some(id);
            if task.status == TaskStatus::Todo && task.assignee == Some(lane.0) {
                task.status = TaskStatus::InProgress;
            }
        }
        let company = self.rows.agents[&lane.0].company;
        let run = Run {
            company,
            agent: lane.0,
            task: lane.1,
            fence,
            status: RunStatus::Starting,
            stop_puts_back: None,
            is_reassigned: false,
            finished_at: None,
        };
        self.rows.runs.insert(id, run);
        self.count(company, lane, 1);
        self.count_for_roots(id, now);
        Ok(())
    }

    /// The live runs of a company and an agent become more or fewer.
    pub(super) fn count(&mut self, company: CompanyId, lane: Lane, by: i64) {
        if let Some(agent) = self.rows.agents.get_mut(&lane.0) {
            agent.live_runs += by;
        }
        if let Some(company) = self.rows.companies.get_mut(&company) {
            company.live_runs += by;
        }
    }

    /// A batch is handed over by request, then in the order of acceptance.
    fn check_order(&self, run: RunId, batch: &[WakeupId]) -> Result<(), Broken> {
        let mut expected: Vec<WakeupId> = self.rows.batches.get(&run).into_iter().flatten().copied().collect();
        expected.sort_by_key(|id| (self.rows.wakeups[id].requested_at, *id));
        require(batch == expected, BATCH_IS_DUE, || format!("{run} was handed {batch:?} instead of {expected:?}"))
    }

    /// Whether anything could start now, were there room on a host.
    pub fn is_anything_ready(&self) -> bool {
        !self.ready().is_empty()
    }
}
