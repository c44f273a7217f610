//! The timeline of a company, in answers.

use serde::Serialize;
use utoipa::ToSchema;
use wakeful_store::ops::timeline::{MissedSlot, RunSpan, Timeline, WakeMark};

/// A run that was live at some time of the window.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunSpanView {
    pub id: String,
    pub agent: String,
    pub task: Option<String>,
    pub status: String,
    pub created_at: String,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
}

impl From<RunSpan> for RunSpanView {
    fn from(run: RunSpan) -> Self {
        RunSpanView {
            id: run.id.to_string(),
            agent: run.agent.to_string(),
            task: run.task.map(|task| task.to_string()),
            status: run.status.as_str().into(),
            created_at: run.created_at.to_string(),
            started_at: run.started_at.map(|at| at.to_string()),
            finished_at: run.finished_at.map(|at| at.to_string()),
        }
    }
}

/// A wakeup that was requested in the window, or has waited since before.
#[derive(Debug, Serialize, ToSchema)]
pub struct WakeMarkView {
    pub id: String,
    pub agent: String,
    pub task: Option<String>,
    pub source: String,
    pub status: String,
    pub requested_at: String,
    pub due_at: String,
    /// When its run took it.
    pub claimed_at: Option<String>,
    pub run_id: Option<String>,
}

impl From<WakeMark> for WakeMarkView {
    fn from(wakeup: WakeMark) -> Self {
        WakeMarkView {
            id: wakeup.id.to_string(),
            agent: wakeup.agent.to_string(),
            task: wakeup.task.map(|task| task.to_string()),
            source: wakeup.source.as_str().into(),
            status: wakeup.status.as_str().into(),
            requested_at: wakeup.requested_at.to_string(),
            due_at: wakeup.due_at.to_string(),
            claimed_at: wakeup.claimed_at.map(|at| at.to_string()),
            run_id: wakeup.run.map(|run| run.to_string()),
        }
    }
}

/// A slot of which nothing came.
#[derive(Debug, Serialize, ToSchema)]
pub struct MissedSlotView {
    pub schedule: String,
    pub name: String,
    pub slot_at: String,
    /// `missed`, `skipped` or `failed`.
    pub status: String,
    pub reason: Option<String>,
}

impl From<MissedSlot> for MissedSlotView {
    fn from(slot: MissedSlot) -> Self {
        MissedSlotView {
            schedule: slot.schedule.to_string(),
            name: slot.name,
            slot_at: slot.slot_at.to_string(),
            status: slot.status.as_str().into(),
            reason: slot.reason,
        }
    }
}

/// What was going on from one time to another, each part newest first and at most 2,000 long.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimelineView {
    pub from: String,
    pub to: String,
    pub runs: Vec<RunSpanView>,
    pub wakeups: Vec<WakeMarkView>,
    pub missed: Vec<MissedSlotView>,
    /// There was more of something.
    pub truncated: bool,
}

impl TimelineView {
    /// A timeline with its window.
    pub fn new((from, to): (String, String), timeline: Timeline) -> TimelineView {
        TimelineView {
            from,
            to,
            runs: timeline.runs.into_iter().map(RunSpanView::from).collect(),
            wakeups: timeline.wakeups.into_iter().map(WakeMarkView::from).collect(),
            missed: timeline.missed.into_iter().map(MissedSlotView::from).collect(),
            truncated: timeline.is_truncated,
        }
    }
}
