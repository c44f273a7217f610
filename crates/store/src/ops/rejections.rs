//! A result that was handed in and found wanting: the task is open again, and its assignee is told why.

use serde_json::json as object;
use wakeful_domain::id::{CommentId, TaskId};
use wakeful_domain::task::{Task, TaskStatus};

use crate::ops::comment_wakes;
use crate::ops::comments::{self, NewComment};
use crate::ops::origin::Origin;
use crate::ops::tasks::{self, TaskChange};
use crate::{Refusal, Tx};

/// A rejection, with its reason as a comment.
#[derive(Debug, Clone)]
pub struct Rejection {
    pub task: TaskId,
    pub comment: CommentId,
    pub reason: String,
}

const MARK: &str = "
    update tasks
    set rejected_at = $2
    where id = $1";

/// Rejects what was handed in. It stays marked until something is handed in again.
pub async fn reject(tx: &mut Tx, origin: &Origin, rejection: &Rejection) -> Result<Task, Refusal> {
    let body = format!("Rejected: {}", rejection.reason);
    comment_wakes::lock(tx, rejection.task, &body).await?;
    let task = tasks::get(tx, rejection.task).await?;
    match task.status {
        TaskStatus::InReview | TaskStatus::Done => {}
        status => {
            let told = format!("the task is {}: only what is in review or done can be rejected", status.in_words());
            return Err(Refusal::conflict("nothing_handed_in", told, object!({ "status": status })));
        }
    }
    let change = TaskChange { status: Some(TaskStatus::Todo), ..TaskChange::default() };
    tasks::change(tx, origin, task.id, &change).await?;
    let comment = NewComment { id: rejection.comment, task: task.id, body, reopen: false };
    comments::insert(tx, origin, &comment).await?;
    tx.execute(MARK, &[task.id.into(), origin.now.into()]).await?;
    tasks::get(tx, task.id).await
}
