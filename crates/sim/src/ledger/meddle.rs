//! What people do: cancel, retry, pause, resume, terminate, stop, change.

use wakeful_domain::agent::{AgentEvent, AgentState};
use wakeful_domain::company::CompanyState;
use wakeful_domain::id::{AgentId, CompanyId, RunId, TaskId, WakeupId};
use wakeful_domain::run::StopRequest;
use wakeful_domain::task::TaskStatus;
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{Source, WakeupStatus};
use wakeful_store::ops::agents::AgentChange;
use wakeful_store::ops::companies::CompanyChange;

use super::{Ledger, Written, expect, guards, rank_of};
use crate::heard::Told;
use crate::invariants::{Broken, STOP_IS_OBEYED, require};
use crate::mirror::{Mirror, Wakeup};

impl Ledger {
    pub(super) fn cancel(&mut self, written: &Written<'_>, now: Timestamp, id: WakeupId) -> Result<(), Broken> {
        let Some(row) = self.rows.wakeups.get_mut(&id) else { return expect(written, Some("not_found")) };
        let refusal = match row.status {
            WakeupStatus::Pending => None,
            WakeupStatus::Claimed => Some("wakeup_claimed"),
            _ => Some("wakeup_terminal"),
        };
        if written.is_kept && refusal.is_none() {
            (row.status, row.finished_at) = (WakeupStatus::Cancelled, Some(now));
        }
        expect(written, refusal)
    }

    pub(super) fn retry(&mut self, written: &Written<'_>, now: Timestamp, id: WakeupId) -> Result<(), Broken> {
        let stands_for_it = self.rows.wakeups.get(&id).is_some_and(|row| self.has_timer_at_hand(row));
        let Some(row) = self.rows.wakeups.get_mut(&id) else { return expect(written, Some("not_found")) };
        let is_gone = self.rows.agents[&row.agent].state == AgentState::Terminated;
        let refusal = match row.status {
            WakeupStatus::Failed if is_gone => Some("agent_terminated"),
            WakeupStatus::Failed if stands_for_it => Some("timer_pending"),
            WakeupStatus::Failed => None,
            _ => Some("wakeup_not_failed"),
        };
        if written.is_kept && refusal.is_none() {
            (row.status, row.run, row.is_lead) = (WakeupStatus::Pending, None, false);
            (row.attempt, row.finished_at, row.expires_at) = (0, None, None);
            (row.due_at, row.rank, row.is_eligible) = (now, rank_of(now, row.priority), true);
            row.eligible_at = now;
            let lane = row.lane();
            self.rows.lanes.entry(lane).and_modify(guards::closed);
        }
        expect(written, refusal)
    }

    /// Whether a timer's lane has another one that waits or is with a run.
    fn has_timer_at_hand(&self, timer: &Wakeup) -> bool {
        let mut of_lane = self.rows.wakeups.values().filter(|row| row.lane() == timer.lane());
        timer.source == Source::Timer && of_lane.any(|row| row.source == Source::Timer && !row.status.is_terminal())
    }

    #[expect(clippy::too_many_arguments, reason = "what was done to an agent, and what came of it")]
    pub(super) fn agent_state(
        &mut self,
        written: &Written<'_>,
        now: Timestamp,
        id: AgentId,
        event: AgentEvent,
        stop: Option<&StopRequest>,
        is_deleted: bool,
        mirror: &Mirror,
    ) -> Result<(), Broken> {
        let Some(agent) = self.rows.agents.get_mut(&id) else { return expect(written, Some("not_found")) };
        let after = match (agent.state, event) {
            (_, AgentEvent::Terminate) => Ok(AgentState::Terminated),
            (AgentState::Terminated, _) => Err("agent_terminated"),
            (AgentState::Active | AgentState::Paused, AgentEvent::Pause) => Ok(AgentState::Paused),
            (AgentState::Active | AgentState::Paused, AgentEvent::Resume) => Ok(AgentState::Active),
            (AgentState::Active | AgentState::PendingApproval, AgentEvent::Approve) => Ok(AgentState::Active),
            (AgentState::PendingApproval, AgentEvent::Pause | AgentEvent::Resume)
            | (AgentState::Paused, AgentEvent::Approve) => Err("agent_state"),
        };
        expect(written, after.err())?;
        let (Ok(state), true) = (after, written.is_kept) else { return Ok(()) };
        let is_new = agent.state != state;
        agent.state = state;
        if state == AgentState::Active {
            agent.quota_until = None;
        }
        if event == AgentEvent::Resume {
            let lanes = self.rows.lanes.iter_mut().filter(|((agent, _), _)| *agent == id);
            lanes.for_each(|(_, lane)| guards::closed(lane));
        }
        if state == AgentState::Terminated {
            let waiting = self.rows.wakeups.values_mut();
            for row in waiting.filter(|row| row.agent == id && row.status == WakeupStatus::Pending) {
                (row.status, row.finished_at) = (WakeupStatus::Cancelled, Some(now));
            }
            let own: Vec<TaskId> =
                self.rows.tasks.iter().filter(|(_, task)| task.assignee == Some(id)).map(|(id, _)| *id).collect();
            self.forget_untold(|agent, task| agent == id && own.contains(&task));
            if is_new {
                self.agent_is_gone(now, id, mirror)?;
            }
        }
        if is_new {
            self.tell_state(now, id, mirror)?;
        }
        if is_deleted {
            self.deleted.insert(id);
            self.unsubscribe_all(id);
            let open = self.rows.tasks.values_mut().filter(|task| task.assignee == Some(id));
            for task in open.filter(|task| !matches!(task.status, TaskStatus::Done | TaskStatus::Cancelled)) {
                task.assignee = None;
            }
        }
        self.stop_all(written, stop, |_, agent| agent == id)
    }

    pub(super) fn company_state(
        &mut self,
        written: &Written<'_>,
        id: CompanyId,
        state: CompanyState,
        stop: Option<&StopRequest>,
    ) -> Result<(), Broken> {
        expect(written, None)?;
        match self.rows.companies.get_mut(&id).filter(|_| written.is_kept) {
            None => return Ok(()),
            Some(company) => company.state = state,
        }
        self.stop_all(written, stop, |company, _| company == id)
    }

    /// Asks all these live runs to stop; the answer names exactly them.
    fn stop_all(
        &mut self,
        written: &Written<'_>,
        stop: Option<&StopRequest>,
        is_meant: impl Fn(CompanyId, AgentId) -> bool,
    ) -> Result<(), Broken> {
        let mut stopped: Vec<RunId> = Vec::new();
        if let Some(stop) = stop {
            let live = self.rows.live().filter(|(_, run)| is_meant(run.company, run.agent));
            stopped = live.map(|(id, _)| *id).collect();
            stopped.iter().for_each(|run| self.ask_to_stop(*run, stop));
        }
        let Some(Told::Stopped(found)) = written.told else { return Ok(()) };
        let mut found = found.clone();
        found.sort_unstable();
        require(found == stopped, STOP_IS_OBEYED, || format!("stops {found:?} instead of {stopped:?}"))
    }

    pub(super) fn stop(&mut self, written: &Written<'_>, run: RunId, stop: &StopRequest) -> Result<(), Broken> {
        let is_live = self.rows.runs.get(&run).is_some_and(|run| run.status.is_live());
        expect(written, (!is_live).then_some("run_terminal"))?;
        if written.is_kept {
            self.ask_to_stop(run, stop);
        }
        Ok(())
    }

    pub(super) fn agent_change(
        &mut self,
        written: &Written<'_>,
        now: Timestamp,
        id: AgentId,
        change: &AgentChange,
    ) -> Result<(), Broken> {
        let Some(agent) = self.rows.agents.get_mut(&id) else { return expect(written, Some("not_found")) };
        let is_gone = agent.state == AgentState::Terminated;
        let mut is_other_rhythm = false;
        if written.is_kept && !is_gone {
            agent.cap = change.max_concurrent_runs.unwrap_or(agent.cap);
            let old = agent.heartbeat.clone();
            agent.heartbeat = change.heartbeat.clone().unwrap_or_else(|| old.clone());
            is_other_rhythm = agent.heartbeat != old;
            agent.retry = change.retry.clone().unwrap_or_else(|| agent.retry.clone());
        }
        if is_other_rhythm {
            self.look_at_hours_again(id, now);
        }
        expect(written, is_gone.then_some("agent_terminated"))
    }

    pub(super) fn company_change(
        &mut self,
        written: &Written<'_>,
        id: CompanyId,
        change: &CompanyChange,
    ) -> Result<(), Broken> {
        if let Some(company) = self.rows.companies.get_mut(&id).filter(|_| written.is_kept) {
            company.cap = change.max_concurrent_runs.unwrap_or(company.cap);
            company.runs_per_root_hour = change.max_runs_per_root_hour.unwrap_or(company.runs_per_root_hour);
        }
        expect(written, None)
    }
}
