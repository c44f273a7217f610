//! What a restored store waits for.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wakeful_store::ops::restore::{Plan, PlannedSchedule, PlannedWakeup};

/// How a restored store stands, and what would happen if it went on.
#[derive(Debug, Serialize, ToSchema)]
pub struct RestoreView {
    /// Whether nothing starts, fires or is sent before somebody says so.
    pub is_held: bool,
    /// Restores that led to this store.
    pub epoch: i64,
    /// When the backup was taken; null if the store was never restored.
    pub taken_at: Option<String>,
    pub restored_at: Option<String>,
    pub released_at: Option<String>,
    /// Runs that were live in the backup.
    pub lost_runs: i64,
    /// Runs of the life before whose processes this server has ended.
    pub ended_processes_of: Vec<String>,
    pub pending_wakeups: i64,
    /// The oldest hundred of them.
    pub wakeups: Vec<PlannedWakeupView>,
    /// Schedules whose slots have come.
    pub due_schedules: i64,
    /// The first hundred of them.
    pub schedules: Vec<PlannedScheduleView>,
    /// Notifications on their way. Those that went out after the backup was taken go out again.
    pub deliveries: i64,
}

impl RestoreView {
    /// A plan as the contract shows it; whether it is held says the server.
    pub fn of(plan: Plan, is_held: bool, ended_processes_of: Vec<String>) -> RestoreView {
        let restored = plan.restored;
        RestoreView {
            is_held,
            epoch: restored.as_ref().map_or(0, |restored| restored.epoch),
            taken_at: restored.as_ref().map(|restored| restored.taken_at.to_string()),
            restored_at: restored.as_ref().map(|restored| restored.restored_at.to_string()),
            released_at: restored.as_ref().and_then(|restored| restored.released_at).map(|at| at.to_string()),
            lost_runs: restored.as_ref().map_or(0, |restored| restored.lost_runs),
            ended_processes_of,
            pending_wakeups: plan.pending_wakeups,
            wakeups: plan.wakeups.into_iter().map(PlannedWakeupView::from).collect(),
            due_schedules: plan.due_schedules,
            schedules: plan.schedules.into_iter().map(PlannedScheduleView::from).collect(),
            deliveries: plan.deliveries,
        }
    }
}

/// A wakeup that would run.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlannedWakeupView {
    pub id: String,
    /// Slug.
    pub company: String,
    /// Name.
    pub agent: String,
    pub source: String,
    pub reason: Option<String>,
    pub requested_at: String,
    pub due_at: String,
}

impl From<PlannedWakeup> for PlannedWakeupView {
    fn from(planned: PlannedWakeup) -> Self {
        PlannedWakeupView {
            id: planned.id.to_string(),
            company: planned.company,
            agent: planned.agent,
            source: planned.source,
            reason: planned.reason,
            requested_at: planned.requested_at.to_string(),
            due_at: planned.due_at.to_string(),
        }
    }
}

/// A schedule whose slots have come since the backup was taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlannedScheduleView {
    pub id: String,
    /// Slug.
    pub company: String,
    pub name: String,
    /// The first slot without a row.
    pub since: String,
    /// How many have come.
    pub slots: u64,
    /// How many of them its catch-up policy would fire.
    pub fires: u64,
}

impl From<PlannedSchedule> for PlannedScheduleView {
    fn from(planned: PlannedSchedule) -> Self {
        PlannedScheduleView {
            id: planned.id.to_string(),
            company: planned.company,
            name: planned.name,
            since: planned.since.to_string(),
            slots: planned.slots,
            fires: planned.fires,
        }
    }
}

/// How a restored store is to go on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseBody {
    /// Enter the slots that have come since the backup as missed, instead of catching up with them.
    #[serde(default)]
    pub skip_missed: bool,
}
