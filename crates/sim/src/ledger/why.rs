//! Why a pending wakeup waits, by the ledger's own reading of wakes.md §3, in the words of the API.

use wakeful_domain::agent::AgentState;
use wakeful_domain::company::CompanyState;
use wakeful_domain::id::WakeupId;
use wakeful_domain::time::Timestamp;
use wakeful_domain::waiting::{Host, WaitingReason};

use super::Ledger;

pub type Reason = WaitingReason;

impl Ledger {
    /// The first condition that does not hold.
    pub fn why(&self, id: WakeupId, host: Host, now: Timestamp) -> Reason {
        let row = &self.rows.wakeups[&id];
        let agent = &self.rows.agents[&row.agent];
        let company = &self.rows.companies[&agent.company];
        let lane = self.rows.lanes.get(&row.lane());
        let task = row.task.and_then(|task| self.rows.tasks.get(&task));
        if row.due_at > now {
            return Reason::NotDue;
        }
        if row.eligible_at > now {
            return Reason::QuietHours;
        }
        if lane.is_some_and(|lane| lane.live_run.is_some()) {
            return Reason::LaneBusy;
        }
        if task.is_some_and(|task| task.held_by.is_some()) {
            return Reason::TaskHeld;
        }
        if company.state == CompanyState::Paused {
            return Reason::CompanyPaused;
        }
        match agent.state {
            AgentState::Active => {}
            AgentState::Paused => return Reason::AgentPaused,
            AgentState::PendingApproval | AgentState::Terminated => return Reason::AgentPendingApproval,
        }
        if lane.is_some_and(|lane| lane.circuit_opened_at.is_some()) {
            return Reason::CircuitOpen;
        }
        if host.is_draining {
            return Reason::Draining;
        }
        if host.is_in_safe_mode {
            return Reason::SafeMode;
        }
        if agent.live_runs >= agent.cap {
            return Reason::AgentAtCapacity;
        }
        if company.live_runs >= company.cap {
            return Reason::CompanyAtCapacity;
        }
        if host.live_runs >= host.live_runs_max {
            return Reason::HostAtCapacity;
        }
        if agent.quota_until.is_some_and(|until| until > now) {
            return Reason::QuotaUntil;
        }
        if host.pressure.is_some() {
            return Reason::HostPressure;
        }
        Reason::Dispatching
    }
}
