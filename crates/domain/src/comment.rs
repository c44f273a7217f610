//! A comment: what somebody said about a task.

use crate::actor::Actor;
use crate::id::{CommentId, CompanyId, RunId, TaskId};
use crate::time::Timestamp;

/// Longer comments are refused.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// What somebody said about a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Comment {
    pub id: CommentId,
    pub company: CompanyId,
    pub task: TaskId,
    pub actor: Actor,
    /// The run that said it, if one did.
    pub run: Option<RunId>,
    pub body: String,
    pub created_at: Timestamp,
}
