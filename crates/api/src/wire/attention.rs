//! What needs a person, in answers.

use serde::Serialize;
use utoipa::ToSchema;
use wakeful_store::ops::attention::{Attention, MissedSlots};

/// What needs a person; 100 of one kind stands for as many or more.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttentionView {
    /// Open ones.
    pub escalations: i64,
    /// Agents that nobody has approved yet.
    pub approvals: i64,
    /// Wakeups that failed for good.
    pub dead_letters: i64,
    /// Unread mail to people.
    pub mail: i64,
    /// Notifications that a channel did not take.
    pub deliveries: i64,
    /// Schedules with missed slots.
    pub missed: Vec<MissedView>,
}

/// Slots of a schedule that came while nothing could fire them.
#[derive(Debug, Serialize, ToSchema)]
pub struct MissedView {
    /// The id of the schedule.
    pub schedule: String,
    pub name: String,
    pub count: i64,
    pub last_at: String,
}

impl From<Attention> for AttentionView {
    fn from(Attention { escalations, approvals, dead_letters, mail, deliveries, missed }: Attention) -> Self {
        AttentionView {
            escalations,
            approvals,
            dead_letters,
            mail,
            deliveries,
            missed: missed.into_iter().map(MissedView::from).collect(),
        }
    }
}

impl From<MissedSlots> for MissedView {
    fn from(missed: MissedSlots) -> Self {
        MissedView {
            schedule: missed.schedule.to_string(),
            name: missed.name,
            count: missed.count,
            last_at: missed.last_at.to_string(),
        }
    }
}
