//! Comments on tasks, oldest first by their ids. Whom one wakes: [`crate::ops::comment_wakes`].

use serde_json::json as object;
use wakeful_domain::actor::{Actor, ActorType};
use wakeful_domain::comment::Comment;
use wakeful_domain::id::{AgentId, CommentId, RunId, TaskId};
use wakeful_domain::task::TaskStatus;
use wakeful_domain::time::Timestamp;

use crate::ops::filter::{List, Page};
use crate::ops::origin::Origin;
use crate::ops::tasks::{self, TaskChange};
use crate::ops::{agents, comment_wakes, events, subscriptions};
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
    let mentioned = comment_wakes::lock(tx, new.task, &new.body).await?;
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
    let by = match (origin.actor.kind, origin.actor.id.parse()) {
        (ActorType::Agent, Ok(agent)) => agents::get(tx, agent).await?.name,
        (ActorType::User | ActorType::System | ActorType::Agent, _) => origin.actor.id.clone(),
    };
    let data = object!({ "comment": new.id, "actor": origin.actor, "by": by, "run": origin.run() });
    events::append(tx, task.company, origin.now, "task.commented", &task.id.to_string(), &data).await?;
    let comment = get(tx, new.id).await?;
    let task = tasks::get(tx, new.task).await?;
    comment_wakes::wake(tx, origin, &task, &comment, &mentioned).await?;
    subscriptions::happening::commented(tx, origin, &task, &comment, &by).await?;
    Ok(comment)
}

/// The comment with this id.
pub async fn get(tx: &mut Tx, id: CommentId) -> Result<Comment, Refusal> {
    let sql = format!("select {COLUMNS} from comments where id = $1");
    let found = tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()?;
    found.ok_or_else(|| Refusal::not_found(id))
}

/// Comments that a run is started with: the newest; the others can be asked for.
const TOLD_MAX: i64 = 50;

const LAST_RUN: &str = "
    select created_at
    from runs
    where task_id = $1
      and task_id <> ''
      and agent_id = $2
      and id < $3
    order by id desc
    limit 1";

/// What was said about a task since the agent's last run on it began, oldest first.
pub(crate) async fn since_last_run(
    tx: &mut Tx,
    agent: AgentId,
    task: TaskId,
    run: RunId,
) -> Result<Vec<Comment>, Error> {
    let since: Timestamp = match tx.query_first(LAST_RUN, &[task.into(), agent.into(), run.into()]).await? {
        Some(mut row) => row.get()?,
        None => Timestamp::from_micros(0),
    };
    let sql =
        format!("select {COLUMNS} from comments where task_id = $1 and created_at >= $2 order by id desc limit $3");
    let rows = tx.query(&sql, &[task.into(), since.into(), TOLD_MAX.into()]).await?;
    let mut told: Vec<Comment> = rows.into_iter().map(read).collect::<Result<_, _>>()?;
    told.reverse();
    Ok(told)
}

/// A page of a task's comments, newest first.
pub async fn list(tx: &mut Tx, task: TaskId, cursor: Option<String>, limit: i64) -> Result<Page<Comment>, Refusal> {
    let list = List::of(COLUMNS, "comments").and("task_id = $", task);
    Ok(list.page(tx, cursor, limit, read, |comment| comment.id.to_string()).await?)
}
