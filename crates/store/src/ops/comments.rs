//! Comments on tasks, oldest first by their ids. Whom one wakes comes with subscriptions.

use serde_json::json as object;
use wakeful_domain::actor::Actor;
use wakeful_domain::comment::Comment;
use wakeful_domain::id::{CommentId, TaskId};
use wakeful_domain::task::TaskStatus;

use crate::ops::events;
use crate::ops::filter::{List, Page};
use crate::ops::origin::Origin;
use crate::ops::tasks::{self, TaskChange};
use crate::value::name;
use crate::{Error, Refusal, Row, Tx};

const COLUMNS: &str = "id, company_id, task_id, actor_type, actor_id, run_id, body, created_at";

fn read(mut row: Row) -> Result<Comment, Error> {
    Ok(Comment {
        id: row.get()?,
        company: row.get()?,
        task: row.get()?,
        actor: Actor { kind: row.name()?, id: row.get()? },
        run: row.get()?,
        body: row.get()?,
        created_at: row.get()?,
    })
}

/// A comment to be made.
#[derive(Debug, Clone)]
pub struct NewComment {
    pub id: CommentId,
    pub task: TaskId,
    pub body: String,
    /// Whether a closed task is opened again.
    pub reopen: bool,
}

const INSERT: &str = "
    insert into comments (id, company_id, task_id, actor_type, actor_id, run_id, body, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8)";

/// Adds a comment. A closed task opens again only if asked.
pub async fn insert(tx: &mut Tx, origin: &Origin, new: &NewComment) -> Result<Comment, Refusal> {
    let task = tasks::get(tx, new.task).await?;
    match new.reopen && task.status.is_closed() {
        true => {
            let change = TaskChange { status: Some(TaskStatus::Todo), ..TaskChange::default() };
            tasks::change(tx, origin, task.id, &change).await?;
        }
        false => origin.prove(tx).await?,
    }
    let parameters = [
        new.id.into(),
        task.company.into(),
        task.id.into(),
        name(&origin.actor.kind),
        (&origin.actor.id).into(),
        origin.run().into(),
        (&new.body).into(),
        origin.now.into(),
    ];
    tx.execute(INSERT, &parameters).await?;
    let data = object!({ "comment": new.id, "actor": origin.actor, "run": origin.run() });
    events::append(tx, task.company, origin.now, "task.commented", &task.id.to_string(), &data).await?;
    get(tx, new.id).await
}

/// The comment with this id.
pub async fn get(tx: &mut Tx, id: CommentId) -> Result<Comment, Refusal> {
    let sql = format!("select {COLUMNS} from comments where id = $1");
    let found = tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()?;
    found.ok_or_else(|| Refusal::not_found(id))
}

/// A page of a task's comments, newest first.
pub async fn list(tx: &mut Tx, task: TaskId, cursor: Option<String>, limit: i64) -> Result<Page<Comment>, Refusal> {
    let list = List::of(COLUMNS, "comments").and("task_id = $", task);
    Ok(list.page(tx, cursor, limit, read, |comment| comment.id.to_string()).await?)
}
