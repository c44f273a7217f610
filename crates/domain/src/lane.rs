//! A lane: the pair (agent, task) or (agent, no task). It holds pending wakeups and at most one live run.

use std::fmt;

use crate::id::{AgentId, TaskId};

/// Which lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneKey {
    pub agent: AgentId,
    pub task: Option<TaskId>,
}

impl fmt::Display for LaneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.task {
            Some(task) => write!(f, "{}/{task}", self.agent),
            None => write!(f, "{}", self.agent),
        }
    }
}

/// At most this many wakeups go into one batch; the rest make the next run.
pub const BATCH_WAKEUPS_MAX: i64 = 1_000;
/// At most this many bytes of payload and context go into one batch (the first wakeup always goes).
pub const BATCH_BYTES_MAX: i64 = 8 * 1024 * 1024;
